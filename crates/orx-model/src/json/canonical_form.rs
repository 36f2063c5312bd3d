//! The canonical form of JSON text.

use std::borrow::Cow;

use super::Unfit;
use super::walk::{JsonWalk, Token, plain};

/// Feeds the canonical form of JSON text: whitespace, key order, escapes and number format (`1`, `1.0`,
/// `10e-1`) make no difference. Each piece is delimited, so that different values give different bytes.
/// Numbers are not rounded.
///
/// # Errors
/// The text is rejected, as by [`check`](super::check).
pub fn canonical(text: &str, feed: &mut impl FnMut(&[u8])) -> Result<(), Unfit> {
    if in_order(text)? {
        let mut walk = JsonWalk::new(text);
        while let Some(token) = walk.next()? {
            feed_token(token, feed);
        }
        return Ok(());
    }
    feed_value(text, feed)
}

/// Whether the keys of every object are written in ascending order, each once.
fn in_order(text: &str) -> Result<bool, Unfit> {
    let mut walk = JsonWalk::new(text);
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
    let mut walk = JsonWalk::new(text);
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

/// Feeds the digits of a number without zeros at either end, and their power of ten.
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
