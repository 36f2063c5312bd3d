//! Statements with their values in them.
//!
//! A message of the simple protocol is one round trip and, with all its statements, one
//! transaction: nothing is left open between two messages, so a process that is stopped or cut off
//! holds no lock, and a proxy that pools transactions may give each message to another session.
//! The extended protocol as the driver speaks it prepares in one message and runs in the next,
//! which such a proxy can send to different sessions. The price is that values stand in the text.
//! They come into it here and nowhere else, and text always in dollar quotes: inside those the
//! server knows no escapes, whatever its settings, and looks only for the closing tag.

use std::fmt::Write as _;

/// What stands for a value in a text column that cannot hold it: these hold any text but U+0000.
const NO_NUL: char = '\u{fffd}';

/// The statement with each `:name` replaced by the value of that name, and without its comments. A
/// name without a value stays, and the server refuses it.
pub(super) fn fill(template: &str, values: &[(&str, String)]) -> String {
    let room = values.iter().map(|(_, value)| value.len()).sum::<usize>();
    let mut sql = String::with_capacity(template.len() + room);
    for line in template.lines().filter(|line| !line.trim_start().starts_with("--")) {
        let mut rest = line;
        while let Some(colon) = rest.find(':') {
            let (before, after) = rest.split_at(colon);
            sql.push_str(before);
            let name = &after[1..];
            let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '_');
            let name = &name[..end.unwrap_or(name.len())];
            // A cast, `::`, has no name after its first colon.
            match values.iter().find(|(known, _)| !name.is_empty() && *known == name) {
                Some((_, value)) => {
                    sql.push_str(value);
                    rest = &after[1 + name.len()..];
                }
                None => {
                    let colons = if after.starts_with("::") { 2 } else { 1 };
                    sql.push_str(&after[..colons]);
                    rest = &after[colons..];
                }
            }
        }
        sql.push_str(rest);
        sql.push('\n');
    }
    sql
}

pub(super) fn int(number: i64) -> String {
    // In parentheses, or `- -1` would begin a comment.
    format!("({number})::bigint")
}

pub(super) fn optional_int(number: Option<i64>) -> String {
    number.map_or_else(|| "null::bigint".to_owned(), int)
}

pub(super) fn text(text: &str) -> String {
    let mut sql = String::with_capacity(text.len() + 16);
    quote(&mut sql, &text.replace('\0', NO_NUL.encode_utf8(&mut [0; 4])));
    sql.push_str("::text");
    sql
}

pub(super) fn optional_text(value: Option<&str>) -> String {
    value.map_or_else(|| "null::text".to_owned(), text)
}

/// 16 bytes of an id.
pub(super) fn id(id: u128) -> String {
    format!("'{id:032x}'::uuid")
}

pub(super) fn bytes(bytes: &[u8]) -> String {
    let mut sql = String::with_capacity(bytes.len() * 2 + 16);
    sql.push_str("$o$\\x");
    hex(&mut sql, bytes);
    sql.push_str("$o$::bytea");
    sql
}

pub(super) fn ints(numbers: impl IntoIterator<Item = impl Into<Option<i64>>>) -> String {
    array("bigint", numbers, |sql, number| {
        let _ = write!(sql, "{number}");
    })
}

pub(super) fn floats(numbers: impl IntoIterator<Item = impl Into<Option<f64>>>) -> String {
    array("float8", numbers, |sql, number: f64| {
        let _ = write!(sql, "{number}");
    })
}

pub(super) fn bools(values: impl IntoIterator<Item = bool>) -> String {
    array("bool", values, |sql, value| sql.push_str(if value { "t" } else { "f" }))
}

pub(super) fn ids(ids: impl IntoIterator<Item = impl Into<Option<u128>>>) -> String {
    array("uuid", ids, |sql, id| {
        let _ = write!(sql, "{id:032x}");
    })
}

pub(super) fn texts<'a>(texts: impl IntoIterator<Item = impl Into<Option<&'a str>>>) -> String {
    let elements = elements(texts);
    let mut sql = String::with_capacity(elements.len() + 32);
    quote(&mut sql, &elements);
    sql.push_str("::text[]");
    sql
}

/// An array of texts as text: what `::text[]` reads.
pub(super) fn elements<'a>(texts: impl IntoIterator<Item = impl Into<Option<&'a str>>>) -> String {
    let mut elements = String::from("{");
    for (place, text) in texts.into_iter().enumerate() {
        if place > 0 {
            elements.push(',');
        }
        let Some(text) = text.into() else {
            elements.push_str("NULL");
            continue;
        };
        elements.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => {
                    elements.push('\\');
                    elements.push(c);
                }
                '\0' => elements.push(NO_NUL),
                _ => elements.push(c),
            }
        }
        elements.push('"');
    }
    elements.push('}');
    elements
}

pub(super) fn byte_strings<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut sql = String::from("$o${");
    for (place, bytes) in values.into_iter().enumerate() {
        sql.push_str(if place > 0 { ",\"\\\\x" } else { "\"\\\\x" });
        hex(&mut sql, bytes);
        sql.push('"');
    }
    sql.push_str("}$o$::bytea[]");
    sql
}

fn array<T>(
    kind: &str,
    values: impl IntoIterator<Item = impl Into<Option<T>>>,
    mut push: impl FnMut(&mut String, T),
) -> String {
    let mut sql = String::from("'{");
    for (place, value) in values.into_iter().enumerate() {
        if place > 0 {
            sql.push(',');
        }
        match value.into() {
            Some(value) => push(&mut sql, value),
            None => sql.push_str("NULL"),
        }
    }
    let _ = write!(sql, "}}'::{kind}[]");
    sql
}

/// In dollar quotes whose tag the text does not begin anywhere.
fn quote(sql: &mut String, text: &str) {
    let mut tag = String::from("$o");
    // A tag that nobody can foresee is not in the text but by accident.
    while text.contains(&tag) {
        tag = format!("$o{:016x}", rand::random::<u64>());
    }
    let _ = write!(sql, "{tag}${text}{tag}$");
}

fn hex(sql: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        sql.push(char::from(DIGITS[usize::from(byte >> 4)]));
        sql.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_casts_and_comments_are_not() {
        let template = "-- of :a\nselect :a::int, :ab, ':c'\n  -- :a\n";
        let sql = fill(template, &[("a", int(-1)), ("ab", optional_int(None))]);
        assert_eq!(sql, "select (-1)::bigint::int, null::bigint, ':c'\n");
    }

    #[test]
    fn a_value_is_not_looked_into() {
        assert_eq!(fill("select :a", &[("a", text(":a -- $")), ("b", int(1))]).lines().count(), 1);
        assert_eq!(text("it's \\ :a"), "$o$it's \\ :a$o$::text");
    }

    #[test]
    fn a_text_that_holds_the_tag_gets_another() {
        for text_ in ["$o$", "a$o", "$o$; drop table jobs; --"] {
            let sql = text(text_);
            assert!(!sql.starts_with("$o$"), "{sql}");
            assert!(sql.contains(text_), "{sql}");
        }
    }
}
