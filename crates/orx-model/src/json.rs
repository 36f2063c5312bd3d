//! Validation of JSON text from outside, and its canonical form.
//!
//! The code walks the text token by token, without a tree and without recursion, so that no input can
//! exhaust the stack. Every JSON reader can read what [`check`] accepts: valid Unicode, numbers within a
//! double, limited depth and size.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// The deepest nesting of arrays and objects, below the limits of common JSON readers.
pub const NESTING: usize = 64;

/// Why JSON text is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The text is too long.
    #[error("expected at most {most} bytes, found {found}")]
    TooLarge {
        /// The limit, in bytes.
        most: usize,
        /// The size of the text, in bytes.
        found: usize,
    },
    /// Arrays and objects are nested too deep.
    #[error("nested deeper than {NESTING} levels")]
    TooDeep,
    /// A surrogate without its other half.
    #[error("`{found}` is half of a character: text must be valid Unicode")]
    HalfCharacter {
        /// The escape as it was written.
        found: String,
    },
    /// A number that no double holds.
    #[error("the number `{found}` is outside the range of a double")]
    Number {
        /// The number as it was written.
        found: String,
    },
    /// The text is not JSON.
    #[error("invalid JSON at byte {at}")]
    Syntax {
        /// The first byte that is wrong, from 0.
        at: usize,
    },
}

impl Unfit {
    /// What the sender can do next, if known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge { .. } => {
                Some("keep large data in a file or object store, and pass its name")
            }
            Self::Number { .. } => Some("give it as text"),
            Self::HalfCharacter { .. } => Some("give bytes that are no text as base64"),
            Self::TooDeep | Self::Syntax { .. } => None,
        }
    }
}

/// Validates JSON from clients and workers: at most `most` bytes, and readable by every JSON reader.
///
/// # Errors
/// The first violation.
pub fn check(text: &str, most: usize) -> Result<(), Unfit> {
    if text.len() > most {
        return Err(Unfit::TooLarge { most, found: text.len() });
    }
    let mut walk = Walk::new(text);
    while walk.next()?.is_some() {}
    Ok(())
}

/// Deserializes an object, and rejects an array of its values.
///
/// # Errors
/// The value is not an object, or not one of this type.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_map(Object(PhantomData))
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// As [`object`], for a value that may be absent or `null`.
///
/// # Errors
/// As [`object`].
pub fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    struct Optional<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Optional<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_none<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Option<T>, D::Error> {
            object(from).map(Some)
        }
    }

    from.deserialize_option(Optional(PhantomData))
}

/// A token of JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Object,
    Array,
    /// The end of the innermost object or array.
    End,
    /// The text with its quotes.
    Key(&'a str),
    /// The text with its quotes.
    Text(&'a str),
    Number(&'a str),
    /// `true`, `false` or `null`.
    Word(&'a str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Value,
    /// A value or a key, or the end at once.
    First,
    Key,
    /// `,` or the end.
    Next,
}

#[derive(Debug)]
pub(crate) struct Walk<'a> {
    text: &'a str,
    at: usize,
    /// One bit for each open container: whether it is an object.
    open: Vec<bool>,
    expected: Expected,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, open: Vec::new(), expected: Expected::Value }
    }

    /// The number of open arrays and objects.
    pub(crate) fn depth(&self) -> usize {
        self.open.len()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong<T>(&self) -> Result<T, Unfit> {
        Err(Unfit::Syntax { at: self.at })
    }

    fn skip_space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// `None` at the end of the text.
    pub(crate) fn next(&mut self) -> Result<Option<Token<'a>>, Unfit> {
        loop {
            self.skip_space();
            let inside = self.open.last().copied();
            match (self.expected, inside, self.byte()) {
                (Expected::Next, None, None) => return Ok(None),
                (Expected::First | Expected::Next, Some(object), Some(byte))
                    if byte == if object { b'}' } else { b']' } =>
                {
                    self.at += 1;
                    self.open.pop();
                    self.expected = Expected::Next;
                    return Ok(Some(Token::End));
                }
                (Expected::Next, Some(object), Some(b',')) => {
                    self.at += 1;
                    self.expected = if object { Expected::Key } else { Expected::Value };
                }
                (Expected::Key, ..) | (Expected::First, Some(true), _) => {
                    return self.key().map(Some);
                }
                (Expected::Value, ..) | (Expected::First, Some(false), _) => {
                    return self.value().map(Some);
                }
                _ => return self.wrong(),
            }
        }
    }

    fn key(&mut self) -> Result<Token<'a>, Unfit> {
        let key = self.string()?;
        self.skip_space();
        if self.byte() != Some(b':') {
            return self.wrong();
        }
        self.at += 1;
        self.expected = Expected::Value;
        Ok(Token::Key(key))
    }

    fn value(&mut self) -> Result<Token<'a>, Unfit> {
        let token = match self.byte() {
            Some(byte @ (b'{' | b'[')) => {
                if self.open.len() == NESTING {
                    return Err(Unfit::TooDeep);
                }
                self.at += 1;
                self.open.push(byte == b'{');
                self.expected = Expected::First;
                return Ok(if byte == b'{' { Token::Object } else { Token::Array });
            }
            Some(b'"') => Token::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => Token::Number(self.number()?),
            _ => {
                let rest = &self.text[self.at..];
                let word =
                    ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word));
                let Some(word) = word else { return self.wrong() };
                self.at += word.len();
                Token::Word(word)
            }
        };
        self.expected = Expected::Next;
        Ok(token)
    }

    /// The text with its quotes. Whatever is escaped in it is a character.
    fn string(&mut self) -> Result<&'a str, Unfit> {
        let start = self.at;
        if self.byte() != Some(b'"') {
            return self.wrong();
        }
        self.at += 1;
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at]);
                }
                Some(b'\\') => self.escape()?,
                Some(0x20..) => self.at += 1,
                Some(_) | None => return self.wrong(),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Unfit> {
        let rest = &self.text.as_bytes()[self.at + 1..];
        match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                return Ok(());
            }
            Some(b'u') => {}
            Some(_) | None => return self.wrong(),
        }
        let Some(unit) = unit(&rest[1..]) else { return self.wrong() };
        let low = || rest.get(5..7).filter(|two| *two == b"\\u").and_then(|_| unit_at(rest, 7));
        match unit {
            0xd800..=0xdbff if matches!(low(), Some(0xdc00..=0xdfff)) => self.at += 12,
            0xd800..=0xdfff => {
                let found = self.text[self.at..self.at + 6].to_owned();
                return Err(Unfit::HalfCharacter { found });
            }
            _ => self.at += 6,
        }
        Ok(())
    }

    fn number(&mut self) -> Result<&'a str, Unfit> {
        /// An exponent below this fits any double.
        const SAFE: usize = 300;
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let mut exponent = false;
        if let Some(b'e' | b'E') = self.byte() {
            exponent = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        let number = &self.text[start..self.at];
        let known = !exponent && number.len() <= SAFE;
        if known || number.parse::<f64>().is_ok_and(f64::is_finite) {
            return Ok(number);
        }
        Err(Unfit::Number { found: number.chars().take(40).collect() })
    }

    fn digits(&mut self) -> Result<(), Unfit> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.wrong() } else { Ok(()) }
    }
}

fn unit_at(bytes: &[u8], at: usize) -> Option<u16> {
    unit(bytes.get(at..)?)
}

/// Four hexadecimal digits.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The content of a string token.
pub(crate) fn plain(written: &str) -> Cow<'_, str> {
    let inner = written.get(1..written.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    // The walk has checked its escapes.
    serde_json::from_str::<String>(written).map_or(Cow::Borrowed(inner), Cow::Owned)
}

/// Feeds the canonical form of JSON text: whitespace, key order, escapes and number format (`1`, `1.0`,
/// `10e-1`) make no difference. Each piece is delimited, so that different values give different bytes.
/// Numbers are not rounded.
///
/// # Errors
/// The text is rejected, as by [`check`].
pub fn canonical(text: &str, feed: &mut impl FnMut(&[u8])) -> Result<(), Unfit> {
    if in_order(text)? {
        let mut walk = Walk::new(text);
        while let Some(token) = walk.next()? {
            feed_token(token, feed);
        }
        return Ok(());
    }
    feed_value(text, feed)
}

/// Whether the keys of every object are written in ascending order, each once.
fn in_order(text: &str) -> Result<bool, Unfit> {
    let mut walk = Walk::new(text);
    let mut last: Vec<Option<&str>> = Vec::new();
    while let Some(token) = walk.next()? {
        match token {
            Token::Object | Token::Array => last.push(None),
            Token::End => _ = last.pop(),
            Token::Key(key) => {
                let inner = &key[1..key.len() - 1];
                let before = last.last_mut().and_then(|last| last.replace(inner));
                if inner.contains('\\') || before.is_some_and(|before| before >= inner) {
                    return Ok(false);
                }
            }
            Token::Text(_) | Token::Number(_) | Token::Word(_) => {}
        }
    }
    Ok(true)
}

/// As [`canonical`], for text with keys in any order.
fn feed_value(text: &str, feed: &mut impl FnMut(&[u8])) -> Result<(), Unfit> {
    let mut walk = Walk::new(text);
    let Some(first) = walk.next()? else { return Ok(()) };
    feed_token(first, feed);
    if !matches!(first, Token::Object | Token::Array) {
        return Ok(());
    }
    let mut members: Vec<(Cow<'_, str>, &str)> = Vec::new();
    let mut key = Cow::Borrowed("");
    loop {
        walk.skip_space();
        let mut start = walk.at;
        match walk.next()? {
            None | Some(Token::End) => break,
            Some(Token::Key(written)) => {
                key = plain(written);
                continue;
            }
            Some(Token::Object | Token::Array) => {
                while walk.depth() > 1 {
                    walk.next()?;
                }
            }
            Some(Token::Text(_) | Token::Number(_) | Token::Word(_)) => {}
        }
        // After a comma, the value begins with it.
        start +=
            text[start..walk.at].find(|c: char| c != ',' && !c.is_ascii_whitespace()).unwrap_or(0);
        members.push((std::mem::take(&mut key), &text[start..walk.at]));
    }
    if first == Token::Object {
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    for (key, value) in members {
        if first == Token::Object {
            feed_text(b'k', &key, feed);
        }
        feed_value(value, feed)?;
    }
    feed_token(Token::End, feed);
    Ok(())
}

fn feed_token(token: Token<'_>, feed: &mut impl FnMut(&[u8])) {
    match token {
        Token::Object => feed(b"{"),
        Token::Array => feed(b"["),
        Token::End => feed(b"]"),
        Token::Key(key) => feed_text(b'k', &plain(key), feed),
        Token::Text(text) => feed_text(b's', &plain(text), feed),
        Token::Number(number) => feed_number(number, feed),
        Token::Word(word) => feed(&word.as_bytes()[..1]),
    }
}

fn feed_text(kind: u8, text: &str, feed: &mut impl FnMut(&[u8])) {
    feed(&[kind]);
    feed(&(text.len() as u64).to_le_bytes());
    feed(text.as_bytes());
}

/// The digits of a number without zeros at either end, and their power of ten.
fn feed_number(number: &str, feed: &mut impl FnMut(&[u8])) {
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let joined: Cow<'_, str> = match fraction {
        "" => Cow::Borrowed(whole),
        fraction => Cow::Owned(format!("{whole}{fraction}")),
    };
    let digits = joined.trim_start_matches('0');
    let trimmed = digits.trim_end_matches('0');
    if trimmed.is_empty() {
        return feed_text(b'n', "0", feed);
    }
    let Ok(exponent) = exponent.parse::<i64>() else {
        // The exponent does not fit: the number is fed as it is written.
        return feed_text(b'n', number, feed);
    };
    let moved = (digits.len() - trimmed.len()) as i64 - fraction.len() as i64;
    feed_text(if negative { b'm' } else { b'n' }, trimmed, feed);
    feed(&exponent.saturating_add(moved).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn fit(text: &str) -> bool {
        check(text, 1 << 20).is_ok()
    }

    fn meaning(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        canonical(text, &mut |piece: &[u8]| bytes.extend_from_slice(piece)).expect("fit JSON");
        bytes
    }

    #[test]
    fn what_somebody_cannot_read_is_refused_wherever_it_stands() {
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        for good in [
            "{}",
            " [1 , 2.5e3,-0]\n",
            r#"{"a":{"b":[null,true,false,"ä"]}}"#,
            r#""😀 \ud83d\ude00""#,
            "1e308",
            &deep(NESTING),
            &"9".repeat(300),
        ] {
            assert!(fit(good), "{good}");
        }
        for bad in [
            r#""\ud800""#,
            r#"{"\udfff":1}"#,
            r#"[{"a":["x\ud800\ud800"]}]"#,
            r#""\ud800x""#,
            "1e999",
            "[-1e999]",
            &"9".repeat(400),
            &deep(NESTING + 1),
            "01",
            "1.",
            ".5",
            "+1",
            "NaN",
            "Infinity",
            "{,}",
            "[1,]",
            r#"{"a"}"#,
            r#"{"a":1,}"#,
            "[1 2]",
            "1 2",
            "",
            "\"\u{1}\"",
            r#""\x""#,
            "tru",
            "[",
            "]",
            "{]",
            "\"a",
        ] {
            assert!(!fit(bad), "{bad}");
        }
        assert_eq!(check("[1,2]", 4), Err(Unfit::TooLarge { most: 4, found: 5 }));
    }

    #[test]
    fn how_it_is_written_makes_no_difference_to_what_it_means() {
        for same in [
            &[
                r#"{"a":1,"b":[2]}"#,
                r#" { "b" : [ 2.0 ] , "a" : 1 } "#,
                r#"{"\u0062":[20e-1],"a":1e0}"#,
            ][..],
            &["0", "-0", "0.0", "0e7"],
            &["100", "1e2", "1.00E+2"],
            &[r#"{"x":{"b":1,"a":2},"y":1}"#, r#"{"y":1,"x":{"a":2,"b":1}}"#],
        ] {
            for other in same {
                assert_eq!(meaning(same[0]), meaning(other), "{other}");
            }
        }
        let different = [
            "1",
            "-1",
            "10",
            "\"1\"",
            "[1]",
            "[[1]]",
            "[1,1]",
            "{}",
            "[]",
            "null",
            "true",
            "\"\"",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"["a",1]"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":{},"b":1}"#,
            "12345678901234567890123",
            "12345678901234567890124",
            "0.1",
            "0.01",
        ];
        let meanings: std::collections::BTreeSet<_> =
            different.iter().map(|it| meaning(it)).collect();
        assert_eq!(meanings.len(), different.len());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |it| it.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn backwards(value: &Value) -> String {
        match value {
            Value::Object(map) => {
                let member = |(key, value): (&String, &Value)| {
                    format!("{} :\t{}", Value::from(key.as_str()), backwards(value))
                };
                let members: Vec<String> = map.iter().rev().map(member).collect();
                format!("{{ {} }}", members.join(" , "))
            }
            Value::Array(items) => {
                format!("[{}]", items.iter().map(backwards).collect::<Vec<_>>().join(" ,"))
            }
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_by_a_program_is_fit_and_means_the_same_in_any_order(value in any_json()) {
            prop_assert!(fit(&value.to_string()));
            prop_assert_eq!(meaning(&value.to_string()), meaning(&backwards(&value)));
        }

        #[test]
        fn what_is_fit_can_be_read(text in r#"[\[\]{}",:\\ud80-9eE+.\-a-ftrunls ]{0,24}"#) {
            if fit(&text) {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
            } else {
                prop_assert!(serde_json::from_str::<Value>(&text).is_err(), "{}", text);
            }
        }
    }
}
