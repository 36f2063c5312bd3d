//! The walk through JSON text, token by token.

use std::borrow::Cow;

use super::{NESTING, Unfit};

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
pub(crate) struct JsonWalk<'a> {
    text: &'a str,
    pub(super) at: usize,
    /// For each open object or array, outermost first, whether it is an object.
    open: Vec<bool>,
    expected: Expected,
}

impl<'a> JsonWalk<'a> {
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

    pub(super) fn skip_space(&mut self) {
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

    /// The text with its quotes. Every escape in it is a valid character.
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
        /// A number with at most this many digits fits any double.
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
