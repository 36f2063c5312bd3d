//! Statements and the values that are bound to them.
//!
//! The text of a statement contains names (`:jobs`) in place of its values: the server parses and plans it
//! once per session, and cannot log an argument of a job. A statement is one message and one transaction, so
//! no transaction is open between two messages: a process that stops or loses its network holds no lock, and
//! a transaction-pooling proxy may send each message to another session.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgTypeInfo};
use sqlx::{Arguments as _, Encode, Postgres, Type};

use crate::Term;

/// Replaces U+0000, the one character that a text column cannot store.
const NO_NUL: &str = "\u{fffd}";

/// The beginning of a leader's statement: returns a row if the caller holds the lease. The row stays locked
/// until the commit, and is read again if an election changed it meanwhile. This orders each statement
/// before or after each election.
const LEASE: &str = "select 1 from (:settings) s, lease \
     where holder = :lease_holder and epoch = :lease_epoch for share of lease";

#[derive(Debug, Clone)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Id(u128),
    Bytes(Vec<u8>),
    Ints(Vec<Option<i64>>),
    Floats(Vec<Option<f64>>),
    Bools(Vec<bool>),
    Ids(Vec<Option<Id>>),
    Texts(Vec<Option<String>>),
    ByteStrings(Vec<Vec<u8>>),
    /// Expands to [`LEASE`] and its two values; without a term, to a query that always returns a row.
    Lease(Option<Term>),
}

/// A statement with its values, in the order of `$1`, `$2`, ….
#[derive(Debug)]
pub(super) struct Statement {
    /// In a statement that writes, `:settings` stands for a query of one row that changes the settings of the
    /// transaction. The server runs it before it waits for a lock.
    pub(super) text: String,
    pub(super) values: Vec<Value>,
}

impl From<&str> for Statement {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), values: Vec::new() }
    }
}

impl From<String> for Statement {
    fn from(text: String) -> Self {
        Self { text, values: Vec::new() }
    }
}

pub(super) fn arguments(values: &[Value]) -> Result<PgArguments, BoxDynError> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Int(number) => arguments.add(*number)?,
            Value::Text(text) => arguments.add(text.as_deref())?,
            Value::Id(id) => arguments.add(Id(*id))?,
            Value::Bytes(bytes) => arguments.add(bytes.as_slice())?,
            Value::Ints(numbers) => arguments.add(numbers)?,
            Value::Floats(numbers) => arguments.add(numbers)?,
            Value::Bools(values) => arguments.add(values)?,
            Value::Ids(ids) => arguments.add(ids)?,
            Value::Texts(texts) => arguments.add(texts)?,
            Value::ByteStrings(values) => arguments.add(values)?,
            // `fill` has replaced it by text.
            Value::Lease(_) => {}
        }
    }
    Ok(arguments)
}

/// Fills in a template and removes its comment lines. A name without a value stays in the text, and the
/// server rejects it.
pub(super) fn fill(
    template: &str,
    values: impl IntoIterator<Item = (&'static str, Value)>,
) -> Statement {
    let mut named: Vec<(&'static str, Option<Value>, usize)> = Vec::new();
    let mut lease = None;
    for (name, value) in values {
        match value {
            Value::Lease(term) => {
                if let Some(Term { node, epoch }) = term {
                    let epoch = int(crate::codec::integer(epoch));
                    named.push(("lease_holder", Some(id(node.0)), 0));
                    named.push(("lease_epoch", Some(epoch), 0));
                }
                lease = Some(if term.is_some() { LEASE } else { ":settings" });
            }
            value => named.push((name, Some(value), 0)),
        }
    }
    let mut filled = Statement { text: String::with_capacity(template.len()), values: Vec::new() };
    for line in template.lines().filter(|line| !line.trim_start().starts_with("--")) {
        match lease {
            Some(lease) if line.contains(":lease") => {
                add_line(&mut filled, &line.replace(":lease", lease), &mut named);
            }
            _ => add_line(&mut filled, line, &mut named),
        }
    }
    filled
}

fn add_line(
    filled: &mut Statement,
    mut rest: &str,
    named: &mut [(&'static str, Option<Value>, usize)],
) {
    while let Some(colon) = rest.find(':') {
        let (before, after) = rest.split_at(colon);
        filled.text.push_str(before);
        let name = &after[1..];
        let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '_');
        let name = &name[..end.unwrap_or(name.len())];
        // A cast, `::`, has no name after its first colon.
        match named.iter_mut().find(|(known, ..)| !name.is_empty() && *known == name) {
            Some((_, value, place)) => {
                if let Some(value) = value.take() {
                    filled.values.push(value);
                    *place = filled.values.len();
                }
                filled.text.push_str(&format!("${place}"));
                rest = &after[1 + name.len()..];
            }
            None => {
                let colons = if after.starts_with("::") { 2 } else { 1 };
                filled.text.push_str(&after[..colons]);
                rest = &after[colons..];
            }
        }
    }
    filled.text.push_str(rest);
    filled.text.push('\n');
}

pub(super) fn int(number: i64) -> Value {
    Value::Int(Some(number))
}

pub(super) fn optional_int(number: Option<i64>) -> Value {
    Value::Int(number)
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(Some(held(text)))
}

pub(super) fn optional_text(text: Option<&str>) -> Value {
    Value::Text(text.map(held))
}

/// A 128-bit id, as a `uuid`.
pub(super) fn id(id: u128) -> Value {
    Value::Id(id)
}

pub(super) fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.to_vec())
}

pub(super) fn ints(numbers: impl IntoIterator<Item = impl Into<Option<i64>>>) -> Value {
    Value::Ints(numbers.into_iter().map(Into::into).collect())
}

pub(super) fn floats(numbers: impl IntoIterator<Item = impl Into<Option<f64>>>) -> Value {
    Value::Floats(numbers.into_iter().map(Into::into).collect())
}

pub(super) fn bools(values: impl IntoIterator<Item = bool>) -> Value {
    Value::Bools(values.into_iter().collect())
}

pub(super) fn ids(ids: impl IntoIterator<Item = impl Into<Option<u128>>>) -> Value {
    Value::Ids(ids.into_iter().map(|id| id.into().map(Id)).collect())
}

pub(super) fn texts<'a>(texts: impl IntoIterator<Item = impl Into<Option<&'a str>>>) -> Value {
    Value::Texts(texts.into_iter().map(|text| text.into().map(held)).collect())
}

pub(super) fn byte_strings<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Value {
    Value::ByteStrings(values.into_iter().map(<[u8]>::to_vec).collect())
}

/// The text with U+0000 replaced, as a text column stores it.
pub(super) fn held(text: &str) -> String {
    text.replace('\0', NO_NUL)
}

/// An array literal: the text that `::text[]` parses.
pub(super) fn elements<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut elements = String::from("{");
    for (place, text) in texts.into_iter().enumerate() {
        elements.push_str(if place > 0 { ",\"" } else { "\"" });
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                elements.push('\\');
            }
            elements.push(c);
        }
        elements.push('"');
    }
    elements.push('}');
    elements
}

/// A `uuid`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Id(u128);

impl Type<Postgres> for Id {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(2950))
    }
}

impl PgHasArrayType for Id {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(2951))
    }
}

impl Encode<'_, Postgres> for Id {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_parameters_and_casts_and_comments_do_not() {
        let template = "-- of :a\nselect :a::int, :ab, :a, ':c'\n  -- :a\n";
        let filled = fill(template, [("ab", optional_int(None)), ("a", int(-1))]);
        assert_eq!(filled.text, "select $1::int, $2, $1, ':c'\n");
        assert!(matches!(filled.values[..], [Value::Int(Some(-1)), Value::Int(None)]));
    }

    #[test]
    fn the_text_contains_no_value() {
        let filled = fill("select :a", [("a", text(":a -- $ canary")), ("b", text("canary"))]);
        assert_eq!(filled.text, "select $1\n");
        assert_eq!(filled.values.len(), 1);
    }

    #[test]
    fn a_leaders_statement_checks_its_lease() {
        let term = Term { node: orx_model::Incarnation(7), epoch: 3 };
        let filled =
            fill("with l as (:lease) :a", [("a", int(1)), ("lease", Value::Lease(Some(term)))]);
        assert!(filled.text.contains("holder = $1 and epoch = $2 for share"), "{}", filled.text);
        assert!(filled.text.contains(") $3"), "{}", filled.text);
        let filled = fill("with l as (:lease)", [("lease", Value::Lease(None))]);
        assert_eq!(filled.text, "with l as (:settings)\n");
    }
}
