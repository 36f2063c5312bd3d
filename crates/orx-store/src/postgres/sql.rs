//! Statements and the values that are bound to them.
//!
//! The text of a statement contains names (`:jobs`) in place of its values: the server parses and plans it
//! once per session, and cannot log an argument of a job. A statement is one message and one transaction, so
//! no transaction is open between two messages: a process that stops or loses its network holds no lock, and
//! a transaction-pooling proxy may send each message to another session.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::RwLock;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgTypeInfo};
use sqlx::{Arguments as _, Encode, Postgres, Type};

use crate::Term;
use crate::columns::operation_columns;

/// Replaces U+0000, the one character that a text column cannot store.
const NO_NUL: &str = "\u{fffd}";

/// The beginning of a leader's statement: returns a row if the caller holds the lease. The row stays locked
/// until the commit, and is read again if an election changed it meanwhile. This orders each statement
/// before or after each election.
const LEASE: &str = "select 1 from (:settings) s, lease \
     where holder = :lease_holder and epoch = :lease_epoch for share of lease";

/// Parts that several statements share: what a name alone on its line stands for.
const PARTS: [(&str, &str); 11] = [
    (":cancel_jobs", include_str!("parts/cancel_jobs.sql")),
    (":revive_jobs", include_str!("parts/revive_jobs.sql")),
    (":delete_jobs", include_str!("parts/delete_jobs.sql")),
    (":operation_gate", include_str!("parts/operation_gate.sql")),
    (":operation_progress", include_str!("parts/operation_progress.sql")),
    (":operation_columns", operation_columns!()),
    (":cancel_waiting", include_str!("parts/cancel_waiting.sql")),
    (":end_attempt", include_str!("parts/end_attempt.sql")),
    (":clear_attempt", include_str!("parts/clear_attempt.sql")),
    (":insert_attempts", include_str!("parts/insert_attempts.sql")),
    (":count_moves", include_str!("parts/count_moves.sql")),
];

#[derive(Debug, Clone)]
pub(super) enum SqlValue {
    Int(Option<i64>),
    Text(Option<String>),
    Id(u128),
    Bytes(Vec<u8>),
    Ints(Vec<Option<i64>>),
    Floats(Vec<Option<f64>>),
    Bools(Vec<bool>),
    Ids(Vec<Option<Id>>),
    Texts(Texts),
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
    pub(super) values: Vec<SqlValue>,
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

pub(super) fn arguments(values: &[SqlValue]) -> Result<PgArguments, BoxDynError> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            SqlValue::Int(number) => arguments.add(*number)?,
            SqlValue::Text(text) => arguments.add(text.as_deref())?,
            SqlValue::Id(id) => arguments.add(Id(*id))?,
            SqlValue::Bytes(bytes) => arguments.add(bytes.as_slice())?,
            SqlValue::Ints(numbers) => arguments.add(numbers)?,
            SqlValue::Floats(numbers) => arguments.add(numbers)?,
            SqlValue::Bools(values) => arguments.add(values)?,
            SqlValue::Ids(ids) => arguments.add(ids)?,
            SqlValue::Texts(texts) => arguments.add(texts)?,
            SqlValue::ByteStrings(values) => arguments.add(values)?,
            // `fill` has replaced it by text.
            SqlValue::Lease(_) => {}
        }
    }
    Ok(arguments)
}

/// A template that was filled in before.
#[derive(Debug)]
struct Filled {
    /// The names of the values, in the order in which the caller gives them.
    names: Vec<&'static str>,
    text: String,
    /// For `$1`, `$2`, …: the place of the value in `names`.
    order: Vec<usize>,
}

/// As [`fill`], and remembers the text, for the statements that run with each job. Each caller gives the same
/// names at each call.
pub(super) fn fill_again(
    template: &'static str,
    values: impl IntoIterator<Item = (&'static str, SqlValue)>,
) -> Statement {
    /// Templates by their address and length, and whether they check the lease.
    type Key = (usize, usize, bool);
    static KNOWN: LazyLock<RwLock<HashMap<Key, Arc<Filled>>>> = LazyLock::new(RwLock::default);
    let values: Vec<_> = values.into_iter().collect();
    let leads = values.iter().any(|(_, value)| matches!(value, SqlValue::Lease(Some(_))));
    let key = (template.as_ptr() as usize, template.len(), leads);
    let known = KNOWN.read().get(&key).cloned();
    let values = expanded(values);
    let (names, mut values): (Vec<&'static str>, Vec<Option<SqlValue>>) =
        values.into_iter().map(|(name, value)| (name, Some(value))).unzip();
    let known = match known.filter(|known| known.names == names) {
        Some(known) => known,
        None => {
            let numbered = (0..).map(|place| SqlValue::Int(Some(place)));
            let filled = fill_expanded(template, Some(leads), names.iter().copied().zip(numbered));
            let place = |value| match value {
                SqlValue::Int(Some(place)) => usize::try_from(place).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            let order = filled.values.into_iter().map(place).collect();
            let known = Arc::new(Filled { names, text: filled.text, order });
            KNOWN.write().insert(key, Arc::clone(&known));
            known
        }
    };
    let value = |place: &usize| values.get_mut(*place).and_then(Option::take);
    let values = known.order.iter().filter_map(value).collect();
    Statement { text: known.text.clone(), values }
}

/// Fills in a template with its parts and removes its comment lines. A name without a value stays in the text,
/// and the server rejects it.
pub(super) fn fill(
    template: &str,
    values: impl IntoIterator<Item = (&'static str, SqlValue)>,
) -> Statement {
    let mut leads = None;
    let values: Vec<_> = values
        .into_iter()
        .inspect(|(_, value)| {
            if let SqlValue::Lease(term) = value {
                leads = Some(term.is_some());
            }
        })
        .collect();
    fill_expanded(template, leads, expanded(values))
}

/// Replaces a term by its two values.
fn expanded(
    values: impl IntoIterator<Item = (&'static str, SqlValue)>,
) -> Vec<(&'static str, SqlValue)> {
    let mut all = Vec::new();
    for (name, value) in values {
        match value {
            SqlValue::Lease(Some(Term { node, epoch })) => {
                all.push(("lease_holder", id(node.0)));
                all.push(("lease_epoch", int(crate::codec::integer(epoch))));
            }
            SqlValue::Lease(None) => {}
            value => all.push((name, value)),
        }
    }
    all
}

/// `leads`: whether `:lease` checks the lease; `None` for a template without it.
fn fill_expanded(
    template: &str,
    leads: Option<bool>,
    values: impl IntoIterator<Item = (&'static str, SqlValue)>,
) -> Statement {
    let mut named: Vec<(&'static str, Option<SqlValue>, usize)> =
        values.into_iter().map(|(name, value)| (name, Some(value), 0)).collect();
    let lease = leads.map(|leads| if leads { LEASE } else { ":settings" });
    let mut filled = Statement { text: String::with_capacity(template.len()), values: Vec::new() };
    fill_lines(&mut filled, template, lease, &mut named);
    filled
}

/// A part may contain other parts.
fn fill_lines(
    filled: &mut Statement,
    template: &str,
    lease: Option<&str>,
    named: &mut [(&'static str, Option<SqlValue>, usize)],
) {
    for line in template.lines() {
        // The comma after a part belongs to the template.
        let (name, comma) = match line.trim().strip_suffix(',') {
            Some(name) => (name, ","),
            None => (line.trim(), ""),
        };
        match PARTS.into_iter().find(|(part, _)| *part == name) {
            Some((_, part)) => {
                fill_lines(filled, part, lease, named);
                filled.text.push_str(comma);
            }
            None => fill_line(filled, line, lease, named),
        }
    }
}

fn fill_line(
    filled: &mut Statement,
    line: &str,
    lease: Option<&str>,
    named: &mut [(&'static str, Option<SqlValue>, usize)],
) {
    if line.trim_start().starts_with("--") {
        return;
    }
    match lease {
        Some(lease) if line.contains(":lease") => {
            add_line(filled, &line.replace(":lease", lease), named);
        }
        _ => add_line(filled, line, named),
    }
}

fn add_line(
    filled: &mut Statement,
    mut rest: &str,
    named: &mut [(&'static str, Option<SqlValue>, usize)],
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

pub(super) fn int(number: i64) -> SqlValue {
    SqlValue::Int(Some(number))
}

pub(super) fn optional_int(number: Option<i64>) -> SqlValue {
    SqlValue::Int(number)
}

pub(super) fn text(text: &str) -> SqlValue {
    SqlValue::Text(Some(held(text).into_owned()))
}

pub(super) fn optional_text(text: Option<&str>) -> SqlValue {
    SqlValue::Text(text.map(|text| held(text).into_owned()))
}

/// A 128-bit id, as a `uuid`.
pub(super) fn id(id: u128) -> SqlValue {
    SqlValue::Id(id)
}

pub(super) fn bytes(bytes: &[u8]) -> SqlValue {
    SqlValue::Bytes(bytes.to_vec())
}

pub(super) fn ints(numbers: impl IntoIterator<Item = impl Into<Option<i64>>>) -> SqlValue {
    SqlValue::Ints(numbers.into_iter().map(Into::into).collect())
}

pub(super) fn floats(numbers: impl IntoIterator<Item = impl Into<Option<f64>>>) -> SqlValue {
    SqlValue::Floats(numbers.into_iter().map(Into::into).collect())
}

pub(super) fn bools(values: impl IntoIterator<Item = bool>) -> SqlValue {
    SqlValue::Bools(values.into_iter().collect())
}

pub(super) fn ids(ids: impl IntoIterator<Item = impl Into<Option<u128>>>) -> SqlValue {
    SqlValue::Ids(ids.into_iter().map(|id| id.into().map(Id)).collect())
}

pub(super) fn texts<'a>(texts: impl IntoIterator<Item = impl Into<Option<&'a str>>>) -> SqlValue {
    SqlValue::Texts(Texts::new(texts.into_iter().map(Into::into)))
}

pub(super) fn byte_strings<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> SqlValue {
    SqlValue::ByteStrings(values.into_iter().map(<[u8]>::to_vec).collect())
}

/// The text with U+0000 replaced, as a text column stores it.
pub(super) fn held(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', NO_NUL)),
        false => Cow::Borrowed(text),
    }
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

/// An array of texts, as the server receives it. It is written from the texts at once: a copy of each would
/// cost more than the rest of its way.
#[derive(Debug, Clone)]
pub(super) struct Texts(Vec<u8>);

impl Texts {
    fn new<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> Self {
        const TEXT: u32 = 25;
        // One dimension, with nulls, of texts, from index 1; the length comes last.
        let mut bytes = Vec::with_capacity(20 + 32 * texts.size_hint().0);
        for number in [1, 1, TEXT, 0, 1] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        let mut count = 0_u32;
        for text in texts {
            count += 1;
            let Some(text) = text.map(held) else {
                bytes.extend_from_slice(&(-1_i32).to_be_bytes());
                continue;
            };
            // Longer than any text that the store accepts.
            let length = i32::try_from(text.len()).unwrap_or(i32::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes[12..16].copy_from_slice(&count.to_be_bytes());
        Self(bytes)
    }
}

impl Type<Postgres> for Texts {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1009))
    }
}

impl Encode<'_, Postgres> for Texts {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
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
        assert!(matches!(filled.values[..], [SqlValue::Int(Some(-1)), SqlValue::Int(None)]));
    }

    #[test]
    fn the_text_contains_no_value() {
        let filled = fill("select :a", [("a", text(":a -- $ canary")), ("b", text("canary"))]);
        assert_eq!(filled.text, "select $1\n");
        assert_eq!(filled.values.len(), 1);
    }

    #[test]
    fn a_template_that_was_filled_in_before_takes_the_values_of_the_call() {
        const TEMPLATE: &str = "with l as (:lease) select :b, :a, :b";
        let term = Term { node: orx_model::Incarnation(7), epoch: 3 };
        for number in [1, 2] {
            for term in [None, Some(term)] {
                let values =
                    || [("a", int(number)), ("l", SqlValue::Lease(term)), ("b", int(-number))];
                let (again, fresh) = (fill_again(TEMPLATE, values()), fill(TEMPLATE, values()));
                assert_eq!(again.text, fresh.text);
                assert_eq!(format!("{:?}", again.values), format!("{:?}", fresh.values));
            }
        }
    }

    #[test]
    fn a_leaders_statement_checks_its_lease() {
        let term = Term { node: orx_model::Incarnation(7), epoch: 3 };
        let filled =
            fill("with l as (:lease) :a", [("a", int(1)), ("lease", SqlValue::Lease(Some(term)))]);
        assert!(filled.text.contains("holder = $1 and epoch = $2 for share"), "{}", filled.text);
        assert!(filled.text.contains(") $3"), "{}", filled.text);
        let filled = fill("with l as (:lease)", [("lease", SqlValue::Lease(None))]);
        assert_eq!(filled.text, "with l as (:settings)\n");
    }
}
