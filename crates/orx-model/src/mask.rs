//! Masks values that look secret. Masking fails closed: text that cannot be parsed is masked as a whole.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::job::{Json, Labels};
use crate::json::{JsonWalk, Token, Unfit, plain};

/// The text that replaces a secret.
pub const MASK: &str = "***";
const MASKED: &str = "\"***\"";

/// Whether a key is probably that of a secret value.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    /// Secret anywhere in a key.
    const MARKS: [&str; 14] = [
        "password",
        "passwd",
        "passphrase",
        "passcode",
        "pwd",
        "secret",
        "token",
        "apikey",
        "authorization",
        "bearer",
        "credential",
        "privatekey",
        "accesskey",
        "cookie",
    ];
    /// Secret only as a whole word of a key.
    const WORDS: [&str; 8] = ["pass", "pw", "auth", "jwt", "otp", "psk", "sas", "signature"];
    let plain: String =
        key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    MARKS.iter().any(|mark| plain.contains(mark))
        || words(key).any(|word| WORDS.iter().any(|secret| word.eq_ignore_ascii_case(secret)))
}

/// The words of a key: `userPass`, `user_pass` and `user-pass` have two.
fn words(key: &str) -> impl Iterator<Item = &str> {
    key.split(|c: char| !c.is_ascii_alphanumeric()).flat_map(|part| {
        let mut rest = part;
        std::iter::from_fn(move || {
            let bytes = rest.as_bytes();
            let hump =
                |at: &usize| bytes[at - 1].is_ascii_lowercase() && bytes[*at].is_ascii_uppercase();
            let end = (1..bytes.len()).find(hump).unwrap_or(bytes.len());
            let (word, next) = rest.split_at(end);
            rest = next;
            (!word.is_empty()).then_some(word)
        })
    })
}

/// A URL without user and password, for people to read. Everything before the last `@` counts as user and
/// password, because an invalid URL may contain a password anywhere.
#[must_use]
pub fn without_userinfo(url: &str) -> Cow<'_, str> {
    let Some((before, after)) = url.rsplit_once('@') else { return Cow::Borrowed(url) };
    match before.split_once("://") {
        Some((scheme, _)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') => {
            Cow::Owned(format!("{scheme}://{MASK}@{after}"))
        }
        _ => Cow::Owned(format!("{MASK}@{after}")),
    }
}

/// Masks user and password of every URL in a text.
#[must_use]
pub fn mask_urls(text: &str) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        let ends = |c: char| c.is_whitespace() || "/?#\"'<>\\".contains(c);
        let authority = &after[..after.find(ends).unwrap_or(after.len())];
        rest = match authority.rsplit_once('@') {
            Some((user, _)) => {
                masked.push_str(MASK);
                &after[user.len()..]
            }
            None => after,
        };
    }
    if masked.len() + rest.len() == text.len() && !masked.contains(MASK) {
        return Cow::Borrowed(text);
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

/// Masks secrets in a text: users and passwords of URLs, `name=value` and `"name": "value"`
/// with a secret name, and the rest of a line that begins as a header does (`Authorization: …`,
/// `Bearer …`).
#[must_use]
pub fn mask_text(text: &str) -> Cow<'_, str> {
    let mut masked = mask_urls(text);
    for range in secrets(&masked).into_iter().rev() {
        masked.to_mut().replace_range(range, MASK);
    }
    masked
}

/// The ranges of the values of secret names, in order.
fn secrets(text: &str) -> Vec<Range<usize>> {
    if let Some(range) = header(text) {
        return vec![range];
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, sign) in text.match_indices(['=', ':']) {
        if found.last().is_some_and(|last| at < last.end) {
            continue;
        }
        let before = text[..at].trim_end();
        let named = match before.strip_suffix(['"', '\'']) {
            Some(quoted) => quoted.trim_end_matches('\\'),
            // `name: value` without quotes is often prose.
            None if sign == ":" => continue,
            None => before,
        };
        let part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let name = &named[named.trim_end_matches(part).len()..];
        if !is_secret_key(name) {
            continue;
        }
        let after = &text[at + 1..];
        let value = after.trim_start_matches([' ', '\\']);
        let (start, end) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                (1, value[1..].find(quote).map_or(value.len(), |end| end + 1))
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || "&;,\"'}])".contains(c);
                (0, value.find(ends).unwrap_or(value.len()))
            }
        };
        let from = at + 1 + (after.len() - value.len());
        if start < end {
            found.push(from + start..from + end);
        }
    }
    found
}

/// The value of a text that is a header with a secret name, or the value of such a header.
fn header(text: &str) -> Option<Range<usize>> {
    let scheme = |name: &str| {
        let (start, rest) = text.split_at_checked(name.len())?;
        let one_word = !rest.contains(char::is_whitespace);
        (start.eq_ignore_ascii_case(name) && one_word).then_some(name.len())
    };
    // A user and a password.
    let basic = || {
        let start = scheme("Basic ")?;
        let user = STANDARD.decode(&text[start..]).ok()?;
        user.contains(&b':').then_some(start)
    };
    let named = || {
        let (name, value) = text.split_once(':')?;
        let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_header = name.chars().all(part) && is_secret_key(name) && !value.starts_with("//");
        is_header.then(|| text.len() - value.trim_start().len())
    };
    let start = scheme("Bearer ").or_else(basic).or_else(named)?;
    (start < text.len()).then_some(start..text.len())
}

/// The decision about a word of a command, or an item of an array.
struct Words {
    after_secret: bool,
}

impl Words {
    /// `None`: shown unchanged.
    fn mask(&mut self, word: &str) -> Option<String> {
        let name = word.split('=').next().unwrap_or_default();
        let part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let secret = is_secret_key(name) && name.chars().all(part);
        let bare = secret && word.starts_with('-') && name.len() == word.len();
        // The word after a flag such as `--password-stdin` may be its value or the next flag, and is
        // treated as both.
        if std::mem::replace(&mut self.after_secret, bare) {
            return Some(MASK.to_owned());
        }
        if secret && name.len() < word.len() {
            return Some(format!("{name}={MASK}"));
        }
        match mask_text(word) {
            Cow::Owned(masked) => Some(masked),
            Cow::Borrowed(_) => None,
        }
    }
}

/// Masks secrets in the words of a command: `--password=X`, `--password X`, `TOKEN=X`, and what
/// [`mask_text`] finds in each.
pub fn mask_words(words: &mut [String]) {
    let mut state = Words { after_secret: false };
    for word in words {
        if let Some(masked) = state.mask(word) {
            *word = masked;
        }
    }
}

/// Masks the values of secret names, and what [`mask_text`] finds in the others.
pub fn mask_labels(labels: &mut Labels) {
    for (name, value) in labels {
        if is_secret_key(name) {
            MASK.clone_into(value);
        } else if let Cow::Owned(masked) = mask_text(value) {
            *value = masked;
        }
    }
}

/// JSON with its secrets masked. Invalid JSON is masked as a whole.
#[must_use]
pub fn mask_json(json: &Json) -> Json {
    let masked = match mask_json_text(json.get()) {
        Ok(None) => return json.clone(),
        Ok(Some(masked)) => masked,
        Err(_) => MASKED.to_owned(),
    };
    let raw = serde_json::value::RawValue::from_string(masked);
    raw.map_or_else(|_| crate::job::json_null(), Json::from)
}

/// As [`mask_json`], for a parsed value.
pub fn mask_value(value: &mut Value) {
    *value = match mask_json_text(&value.to_string()) {
        Ok(None) => return,
        Ok(Some(masked)) => serde_json::from_str(&masked).unwrap_or_else(|_| Value::from(MASK)),
        Err(_) => Value::from(MASK),
    };
}

/// An object or array that is being written.
struct Open {
    object: bool,
    /// The number of values so far.
    count: usize,
    words: Words,
    /// The next value is a secret's, by its key.
    secret: bool,
    /// The next value is part of a pair such as `{"name": "PASSWORD", "value": "x"}`.
    beside: Option<Neighbour>,
    /// The name of the pair is that of a secret.
    named_secret: bool,
    /// Position of the pair's value in the output.
    value: Option<Range<usize>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Neighbour {
    Name,
    Value,
}

impl Neighbour {
    fn of(key: &str) -> Option<Self> {
        let is = |names: &[&str]| names.iter().any(|name| key.eq_ignore_ascii_case(name));
        if is(&["name", "key", "header", "field", "env", "variable"]) {
            Some(Self::Name)
        } else if is(&["value", "val"]) {
            Some(Self::Value)
        } else {
            None
        }
    }
}

impl Open {
    fn new(object: bool) -> Self {
        let words = Words { after_secret: false };
        let (secret, named_secret) = (false, false);
        Self { object, count: 0, words, secret, beside: None, named_secret, value: None }
    }
}

/// `None`: there is nothing to mask.
fn mask_json_text(json: &str) -> Result<Option<String>, Unfit> {
    let mut out = String::with_capacity(json.len());
    let mut open: Vec<Open> = Vec::new();
    let mut masked = false;
    let mut walk = JsonWalk::new(json);
    while let Some(token) = walk.next()? {
        if token == Token::End {
            let Some(inner) = open.pop() else { continue };
            // Some formats write a member of an object as a pair of name and value.
            let pair = inner.object || inner.count == 2;
            if let Some(value) = inner.value.filter(|_| inner.named_secret && pair) {
                out.replace_range(value, MASKED);
                masked = true;
            }
            out.push(if inner.object { '}' } else { ']' });
            if let Some(outer) = open.last_mut() {
                outer.written(out.len());
            }
            continue;
        }
        let opened = match token {
            Token::Object => Some(Open::new(true)),
            Token::Array => Some(Open::new(false)),
            _ => None,
        };
        let Some(inner) = open.last_mut() else {
            masked |= put(token, None, &mut out);
            open.extend(opened);
            continue;
        };
        if let Token::Key(key) = token {
            comma(inner.count, &mut out);
            out.push_str(key);
            out.push(':');
            let key = plain(key);
            inner.secret = is_secret_key(&key);
            inner.beside = Neighbour::of(&key);
            continue;
        }
        if !inner.object {
            comma(inner.count, &mut out);
            inner.beside =
                [Some(Neighbour::Name), Some(Neighbour::Value)].get(inner.count).copied().flatten();
        }
        inner.count += 1;
        let secret = std::mem::take(&mut inner.secret)
            || (!inner.object
                && !matches!(token, Token::Text(_))
                && std::mem::take(&mut inner.words.after_secret));
        if secret && token != Token::Word("null") {
            skip(&mut walk, token)?;
            out.push_str(MASKED);
            masked = true;
            continue;
        }
        if let (Some(Neighbour::Name), Token::Text(text)) = (inner.beside, token) {
            inner.named_secret |= is_secret_key(&plain(text));
        }
        if inner.beside == Some(Neighbour::Value) {
            inner.value = Some(out.len()..out.len());
        }
        let words = (!inner.object).then_some(&mut inner.words);
        masked |= put(token, words, &mut out);
        if opened.is_none() {
            inner.written(out.len());
        }
        open.extend(opened);
    }
    Ok(masked.then_some(out))
}

impl Open {
    /// A value of it ends there.
    fn written(&mut self, end: usize) {
        if self.beside.take() == Some(Neighbour::Value)
            && let Some(value) = &mut self.value
        {
            value.end = end;
        }
    }
}

fn comma(before: usize, out: &mut String) {
    if before > 0 {
        out.push(',');
    }
}

/// Masks a value in place; returns whether anything was masked.
fn put(token: Token<'_>, words: Option<&mut Words>, out: &mut String) -> bool {
    match token {
        Token::Object => out.push('{'),
        Token::Array => out.push('['),
        Token::Text(written) => {
            let text = plain(written);
            let masked = match words {
                Some(words) => words.mask(&text),
                None => match mask_text(&text) {
                    Cow::Owned(masked) => Some(masked),
                    Cow::Borrowed(_) => None,
                },
            };
            if let Some(masked) = masked {
                out.push_str(&Value::from(masked).to_string());
                return true;
            }
            out.push_str(written);
        }
        Token::Number(text) | Token::Word(text) => out.push_str(text),
        Token::Key(_) | Token::End => {}
    }
    false
}

/// The rest of a value.
fn skip(walk: &mut JsonWalk<'_>, token: Token<'_>) -> Result<(), Unfit> {
    if matches!(token, Token::Object | Token::Array) {
        let around = walk.depth() - 1;
        while walk.depth() > around {
            walk.next()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(json: &str) -> String {
        mask_json(&serde_json::from_str(json).expect("json")).get().to_owned()
    }

    #[test]
    fn what_looks_secret_in_a_command_is_masked() {
        let masked = |words: &[&str]| {
            let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            mask_words(&mut words);
            words.join(" ")
        };
        assert_eq!(masked(&["a", "--password=x", "-v"]), "a --password=*** -v");
        assert_eq!(masked(&["a", "--api-token", "x", "y"]), "a --api-token *** y");
        assert_eq!(masked(&["a", "--password", "-x", "y"]), "a --password *** y");
        assert_eq!(
            masked(&["a", "--password-stdin", "--token", "x", "y"]),
            "a --password-stdin *** *** y"
        );
        assert_eq!(masked(&["env", "DB_PASSWORD=x", "a"]), "env DB_PASSWORD=*** a");
        assert_eq!(
            masked(&["sh", "-c", "cd /; PGPASSWORD=x psql"]),
            "sh -c cd /; PGPASSWORD=*** psql"
        );
        assert_eq!(
            masked(&["curl", "-H", "Authorization: Basic x y"]),
            "curl -H Authorization: ***"
        );
        assert_eq!(
            masked(&["curl", "-d", r#"{"pwd": "x", "n": 1}"#]),
            r#"curl -d {"pwd": "***", "n": 1}"#
        );
        assert_eq!(
            masked(&["curl", "https://u:p@h/x?token=y&z=1"]),
            "curl https://***@h/x?token=***&z=1"
        );
        assert_eq!(masked(&["a", "--verbose", "x=y"]), "a --verbose x=y");
    }

    #[test]
    fn urls_in_a_text_lose_their_passwords_and_nothing_else_changes() {
        for (text, shown) in [
            ("from s3://k:s@a/b to http://c/d@e", "from s3://***@a/b to http://c/d@e"),
            ("mail a@b, see https://c", "mail a@b, see https://c"),
            ("", ""),
        ] {
            assert_eq!(mask_urls(text), shown);
        }
        assert!(matches!(mask_urls("https://a/b"), Cow::Borrowed(_)));
    }

    #[test]
    fn prose_stays_as_it_is() {
        for text in [
            "unexpected token: `}`",
            "Basic usage",
            "basic training",
            "the author: me",
            "a=b, c:d",
            "pass",
        ] {
            assert!(matches!(mask_text(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("https://host/path", "https://host/path"),
            ("postgres://user:pa@ss/w@host/db", "postgres://***@host/db"),
            ("user:pass@host", "***@host"),
        ] {
            assert_eq!(without_userinfo(url), shown);
        }
    }

    #[test]
    fn secrets_are_masked_at_any_depth_and_the_rest_stays_as_it_was_written() {
        for (json, wanted) in [
            (
                r#"{"user":"x","db":[{"Api-Key":5,"port":1.50}]}"#,
                r#"{"user":"x","db":[{"Api-Key":"***","port":1.50}]}"#,
            ),
            (
                r#"{"pwd":"x","dbPass":["x"],"bearer":{"a":"x"}}"#,
                r#"{"pwd":"***","dbPass":"***","bearer":"***"}"#,
            ),
            (r#"["--password","x","--n",1]"#, r#"["--password","***","--n",1]"#),
            (
                r#"{"argv":["--token=x","--otp",7,"-v"]}"#,
                r#"{"argv":["--token=***","--otp","***","-v"]}"#,
            ),
            (
                r#"["--password-stdin","--otp",{"a":7},"y"]"#,
                r#"["--password-stdin","***","***","y"]"#,
            ),
            (r#"{"pass\u0077ord":"x"}"#, r#"{"pass\u0077ord":"***"}"#),
            (r#"{"password":"x","password":null}"#, r#"{"password":"***","password":null}"#),
            (
                r#"[{"name":"DB_PASSWORD","value":"x"}]"#,
                r#"[{"name":"DB_PASSWORD","value":"***"}]"#,
            ),
            (r#"{"value":{"a":"x"},"name":"token"}"#, r#"{"value":"***","name":"token"}"#),
            (
                r#"[["Authorization","x"],["Accept","y"]]"#,
                r#"[["Authorization","***"],["Accept","y"]]"#,
            ),
        ] {
            assert_eq!(shown(json), wanted);
        }
        for same in [r#"{ "author" : "x", "b":[1, 2] }"#, "null", r#""x""#] {
            assert_eq!(shown(same), same);
        }
    }

    #[test]
    fn what_cannot_be_read_is_masked_as_a_whole() {
        let deep = format!(r#"{}{{"password":"x"}}{}"#, "[".repeat(80), "]".repeat(80));
        for json in [r#"{"a":"\ud800","password":"x"}"#, r#"{"password":"x","n":1e999}"#, &deep] {
            assert_eq!(shown(json), MASKED);
        }
    }

    fn with_secrets() -> impl Strategy<Value = Value> {
        let secret = || Just(Value::from("CANARY"));
        let plain =
            prop_oneof![any::<String>().prop_map(Value::from), any::<i64>().prop_map(Value::from)];
        let leaf = prop_oneof![
            plain,
            ("[-]{0,2}[a-z_]{0,6}(password|pwd|api_key|Bearer|token)", secret())
                .prop_map(|(key, secret)| Value::Object([(key, secret)].into_iter().collect())),
            ("--(password|pwd|api-key)", secret())
                .prop_map(|(flag, secret)| Value::from(vec![Value::from(flag), secret])),
            "--(password|pwd|token)=CANARY".prop_map(Value::from),
            "https://u:CANARY@host/[a-z]{0,5}".prop_map(Value::from),
            "Authorization: (Basic|Bearer) CANARY".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_secret_is_shown_and_what_is_shown_can_be_read(value in with_secrets()) {
            let shown = shown(&value.to_string());
            prop_assert!(!shown.contains("CANARY"), "{}", shown);
            prop_assert!(serde_json::from_str::<Value>(&shown).is_ok(), "{}", shown);
        }

        #[test]
        fn no_text_stops_the_masking(text in any::<String>()) {
            let _ = mask_text(&text);
            let _ = is_secret_key(&text);
        }
    }
}
