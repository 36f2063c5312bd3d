//! The cause of a dead letter: what failed, without what varies from job to job. Dead letters of one job
//! type whose errors differ only in numbers, ids, addresses or quoted data have one cause.
//!
//! A store keeps the [`CauseId`] of each dead letter. After a change of [`cause_text`], a migration has to
//! clear them, so that the store computes them again.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{Name, ParseIdError};
use crate::job::{DeadReason, JobSummary};
use crate::text::{clean_line, truncate_bytes, truncate_cells};

/// Cells of the text of a cause, at most.
pub const CAUSE_CELLS: usize = 120;
/// Bytes of the text of a cause, at most. Characters without width take no cell.
pub const CAUSE_BYTES: usize = 4 * CAUSE_CELLS;
/// Bytes of an error that are read.
const READ_BYTES: usize = 4 * 1024;
/// Characters of a quoted value that stays.
const QUOTED_MAX: usize = 40;
/// Stands for what varies.
const VARIES: char = '#';
/// Words with digits that are names.
const NAMES: [&str; 37] = [
    "h264", "h265", "x264", "x265", "mp3", "mp4", "av1", "vp8", "vp9", "utf8", "utf16", "ipv4",
    "ipv6", "sha1", "sha256", "sha512", "md5", "base64", "s3", "ec2", "k8s", "http1", "http2",
    "http3", "tls1", "x86", "x64", "arm64", "amd64", "i32", "i64", "u8", "u32", "u64", "f32",
    "f64", "win32",
];
/// A short number after one of these words says what failed.
const SPEAKING: [&str; 8] =
    ["exit", "code", "signal", "status", "errno", "http", "sqlstate", "exited"];
/// Units of a duration, and the letters within a timestamp.
const UNITS: [&str; 10] = ["ns", "us", "ms", "s", "m", "h", "d", "w", "T", "Z"];

/// Names a cause: a hash of the job type and of the text of the cause. 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, example = "9c1f3ab27704d1e8")]
pub struct CauseId(pub u64);

impl CauseId {
    /// The id of the cause with this text, for jobs of this name.
    #[must_use]
    pub fn new(name: &Name, text: &str) -> Self {
        // FNV-1a, and then a mix, as its low bits spread poorly. Stores keep the value, so it never changes.
        let bytes = name.as_str().bytes().chain([0xff]).chain(text.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        Self(hash ^ (hash >> 33))
    }

    /// The value as a signed number with the same bits, as databases keep it.
    #[must_use]
    pub fn to_signed(self) -> i64 {
        self.0.cast_signed()
    }

    /// The id with these bits.
    #[must_use]
    pub fn from_signed(bits: i64) -> Self {
        Self(bits.cast_unsigned())
    }
}

impl fmt::Display for CauseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for CauseId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u64::from_str_radix(text, 16) {
            Ok(id) if digits => Ok(Self(id)),
            _ => Err(ParseIdError::new("the id of a cause, such as `9c1f3ab27704d1e8`", text)),
        }
    }
}

impl Serialize for CauseId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CauseId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The cause of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Its id.
    pub id: CauseId,
    /// Its text, for people.
    pub text: String,
}

impl Cause {
    /// The cause of a dead letter of a job with this name and last error.
    #[must_use]
    pub fn new(name: &Name, error: Option<&str>, reason: DeadReason) -> Self {
        let text = cause_text(error, reason);
        Self { id: CauseId::new(name, &text), text }
    }

    /// `None` if the job is no dead letter.
    #[must_use]
    pub fn of(job: &JobSummary) -> Option<Self> {
        let reason = job.state.dead?;
        Some(Self::new(&job.spec.name, job.state.error.as_deref(), reason))
    }
}

/// The line of an error that names the cause, with `#` for what varies; without an error, the reason. It is
/// safe to show, and has at most [`CAUSE_CELLS`] cells and [`CAUSE_BYTES`] bytes.
#[must_use]
pub fn cause_text(error: Option<&str>, reason: DeadReason) -> String {
    let error = truncate_bytes(error.unwrap_or_default(), READ_BYTES);
    let line = clean_line(telling_line(error));
    let text = normalized(&line);
    if text.is_empty() {
        return reason.as_str().replace('_', " ");
    }
    let text = truncate_cells(truncate_bytes(&text, CAUSE_BYTES - 1), CAUSE_CELLS, true);
    text.trim_end().to_owned()
}

/// The first line with text; of a Python traceback the last, which has the exception.
fn telling_line(error: &str) -> &str {
    let mut lines = error.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    if first.ends_with("Traceback (most recent call last):") {
        return lines.next_back().unwrap_or(first);
    }
    first
}

fn normalized(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    // The last word in letters, to know `exit 1`.
    let mut before = "";
    while let Some(c) = rest.chars().next() {
        if let Some((value, after)) = quoted(c, rest, &out) {
            out.push(c);
            if is_word(value) {
                out.push_str(value)
            } else {
                out.push(VARIES)
            }
            out.push(c);
            (before, rest) = ("", after);
        } else if c.is_whitespace() {
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
            }
            rest = &rest[c.len_utf8()..];
        } else if let Some(after) = after_groups(rest, &out) {
            push_varying(&mut out);
            (before, rest) = ("", after);
        } else if c.is_alphanumeric() {
            let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            let speaks = SPEAKING.iter().any(|word| before.eq_ignore_ascii_case(word));
            match kept(run, speaks) {
                Kept::Whole => out.push_str(run),
                Kept::Nothing => push_varying(&mut out),
                Kept::Letters => push_letters(&mut out, run),
            }
            (before, rest) = (run, after);
        } else {
            out.push(c);
            if !matches!(c, ':' | '=' | '(' | '/') {
                before = "";
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// A quoted value at the start of `rest`, and what follows. An apostrophe within a word quotes nothing.
fn quoted<'t>(quote: char, rest: &'t str, before: &str) -> Option<(&'t str, &'t str)> {
    if !matches!(quote, '"' | '\'' | '`') || before.ends_with(char::is_alphanumeric) {
        return None;
    }
    let (value, after) = rest[1..].split_once(quote)?;
    Some((value, after))
}

/// What follows groups of hexadecimal digits at the start of `rest`: a UUID, or an address with colons.
fn after_groups<'t>(rest: &'t str, before: &str) -> Option<&'t str> {
    if before.ends_with(char::is_alphanumeric) {
        return None;
    }
    let of = |joiner: char| {
        let end = rest.find(|c: char| !c.is_ascii_hexdigit() && c != joiner);
        let span = &rest[..end.unwrap_or(rest.len())];
        span.trim_end_matches(joiner)
    };
    let uuid = of('-');
    let is_uuid = uuid.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let address = of(':');
    let digits = address.bytes().any(|byte| byte.is_ascii_digit());
    let is_address = digits && address.bytes().filter(|byte| *byte == b':').count() >= 2;
    let span = if is_uuid {
        uuid
    } else if is_address {
        address
    } else {
        return None;
    };
    let after = &rest[span.len()..];
    (!after.starts_with(char::is_alphanumeric)).then_some(after)
}

/// Whether a quoted value is a word of a program, such as a field or a type, rather than data.
fn is_word(value: &str) -> bool {
    let word = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '.' | '-' | ':' | VARIES);
    value.len() <= QUOTED_MAX && value.chars().all(word)
}

/// What stays of a run of letters and digits.
enum Kept {
    Whole,
    Letters,
    Nothing,
}

fn kept(run: &str, speaks: bool) -> Kept {
    let digits = run.chars().filter(|c| c.is_numeric()).count();
    if digits == 0 {
        return Kept::Whole;
    }
    if digits == run.chars().count() {
        return if speaks && digits <= 5 { Kept::Whole } else { Kept::Nothing };
    }
    if NAMES.iter().any(|name| run.eq_ignore_ascii_case(name)) {
        return Kept::Whole;
    }
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_hex = (run.len() >= 6 && hex(run))
        || run.strip_prefix("0x").or_else(|| run.strip_prefix("0X")).is_some_and(hex);
    // A name has its digits in one place; a random id has them anywhere.
    let places = run.split(char::is_numeric).filter(|part| !part.is_empty()).count();
    let random = run.len() >= 8 && (digits >= 4 || places >= 3);
    if is_hex || random || is_span(run) { Kept::Nothing } else { Kept::Letters }
}

/// Whether the run is a duration such as `4m12s`, or a part of a timestamp.
fn is_span(run: &str) -> bool {
    let mut units = run.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty());
    run.starts_with(|c: char| c.is_ascii_digit()) && units.all(|unit| UNITS.contains(&unit))
}

/// Adds the letters of a run, with one `#` for each number.
fn push_letters(out: &mut String, run: &str) {
    for c in run.chars() {
        match c.is_numeric() {
            true => push_varying(out),
            false => out.push(c),
        }
    }
}

/// Adds `#`. With the numbers before it and what joins them, such as in an address, a time or a UUID, it
/// becomes one.
fn push_varying(out: &mut String) {
    let joined = out.trim_end_matches(['-', '.', ':', '_', '/', ',', '+', 'T', 'x', '%']);
    if joined.ends_with(VARIES) && out.len() - joined.len() <= 2 {
        out.truncate(joined.len());
        return;
    }
    // The sign of a number varies too.
    if let Some(signed) = out.strip_suffix(['-', '+'])
        && !signed.ends_with(|c: char| c.is_alphanumeric() || c == VARIES)
    {
        out.truncate(signed.len());
    }
    out.push(VARIES);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(error: &str) -> String {
        cause_text(Some(error), DeadReason::Exhausted)
    }

    #[test]
    fn what_varies_is_left_out_and_what_speaks_stays() {
        for (error, cause) in [
            ("exit 1", "exit 1"),
            ("exit 1: moov atom not found", "exit 1: moov atom not found"),
            ("signal 9", "signal 9"),
            ("exit code: 137", "exit code: 137"),
            ("HTTP 503 from upstream", "HTTP 503 from upstream"),
            ("HTTP/1 404", "HTTP/1 #"),
            ("over 10m", "over #"),
            ("timed out after 4m12s", "timed out after #"),
            ("exit 1: frame 10042 of clip-20260131.mp4", "exit 1: frame # of clip-#.mp4"),
            ("row 7 of 12", "row # of #"),
            ("balance is -5", "balance is #"),
            ("took 1.5s, limit 0.25 s", "took #, limit # s"),
            ("load 93%", "load #%"),
            ("job 3f2504e0-4f89-11d3-9a0c-0305e82c3301 is gone", "job # is gone"),
            ("job abcdefab-abcd-abcd-abcd-abcdefabcdef died", "job # died"),
            ("dial fe80::1:2%eth0 and 00:1b:44:11:3a:b7", "dial #%eth# and #"),
            ("std::fmt::Error at 10:42:07", "std::fmt::Error at #"),
            ("commit 7f3a9c1 not found", "commit # not found"),
            ("segfault at 0x7ffe12 ip 0X00", "segfault at # ip #"),
            ("dial tcp 10.0.0.7:5432: connection refused", "dial tcp #: connection refused"),
            ("no route to db-3.internal:5432", "no route to db-#.internal:#"),
            ("at 2026-01-31T10:42:07.123Z: late", "at #: late"),
            ("open /tmp/job-8f3a2b/in.mp4: no such file", "open /tmp/job-#/in.mp4: no such file"),
            (
                "GET https://api.example.com/users/991/posts",
                "GET https://api.example.com/users/#/posts",
            ),
            ("user \"bob@acme.com\" is unknown", "user \"#\" is unknown"),
            ("KeyError: 'user_id'", "KeyError: 'user_id'"),
            ("can't open 'a b' (isn't there)", "can't open '#' (isn't there)"),
            ("invalid digit in `12x`", "invalid digit in `#`"),
            ("worker-17 lost", "worker-# lost"),
            ("codec h264 needs ipv6 and sha256", "codec h264 needs ipv6 and sha256"),
            ("token aB3dE9x1Q refused", "token # refused"),
            ("  \n\n  second line is first \nthird", "second line is first"),
            ("tabs\tand   blanks", "tabs and blanks"),
            ("ratio 3/4", "ratio #"),
            ("größe 12 zu groß", "größe # zu groß"),
            ("\u{1b}[31mred 5\u{1b}[0m", "red #"),
            (
                "Traceback (most recent call last):\n  File \"a.py\", line 3\nValueError: bad 7\n",
                "ValueError: bad #",
            ),
            ("Traceback (most recent call last):", "Traceback (most recent call last):"),
        ] {
            assert_eq!(text(error), cause, "of {error:?}");
        }
        assert_eq!(cause_text(None, DeadReason::NotRetryable), "not retryable");
        assert_eq!(cause_text(Some(" \n "), DeadReason::Poison), "poison");
    }

    #[test]
    fn the_id_is_of_the_name_and_the_text_and_never_changes() {
        let name = |text: &str| text.parse::<Name>().expect("a name");
        let cause = |of: &str, error| Cause::new(&name(of), Some(error), DeadReason::Exhausted);
        assert_eq!(cause("mail", "row 7"), cause("mail", "row 81"));
        assert_ne!(cause("mail", "row 7").id, cause("video", "row 7").id);
        assert_ne!(cause("mail", "row 7").id, cause("mail", "rows 7").id);
        // Stores hold ids that earlier versions computed.
        assert_eq!(cause("mail", "exit 1").id.to_string(), "3fff32c511016f4b");
    }

    #[test]
    fn an_id_reads_back_from_its_text_and_its_bits() {
        for id in [CauseId(0), CauseId(u64::MAX), CauseId(0x9c1f_3ab2_7704_d1e8)] {
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(CauseId::from_signed(id.to_signed()), id);
            let json = serde_json::to_string(&id).expect("json");
            assert_eq!(serde_json::from_str::<CauseId>(&json).expect("an id"), id);
        }
        for wrong in ["", "9c1f", "+c1f3ab27704d1e8", "zc1f3ab27704d1e8", "9c1f3ab27704d1e80"] {
            assert!(wrong.parse::<CauseId>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_error_has_a_short_clean_cause(error in "\\PC{0,300}|[ -~\n\t\u{1b}#]{0,300}|.{0,200}") {
            let cause = text(&error);
            prop_assert!(!cause.is_empty());
            prop_assert!(cause.len() <= CAUSE_BYTES, "{} bytes", cause.len());
            prop_assert!(crate::text::cells(&cause) <= CAUSE_CELLS);
            prop_assert_eq!(clean_line(&cause), cause.as_str());
            prop_assert_eq!(text(&error), cause);
        }

        #[test]
        fn numbers_do_not_make_another_cause(a in any::<u32>(), b in 0_u64..1_000_000_000_000, c in 0_u8..9) {
            let of = |x: String| text(&format!("exit {c}: row {x} at /var/{x}/part-{x}, took {x}ms"));
            prop_assert_eq!(of(a.to_string()), of(b.to_string()));
        }
    }
}
