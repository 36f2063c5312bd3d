//! The filter language: one grammar for `--filter` and the API.
//!
//! `status:failed,timedout queue:media name:video.* age>10m attempts>=2 tag.tenant:acme -worker:w3
//! since:2h text`: a space is AND, a comma OR, `-` in front negates, quotes include spaces, `*` is the
//! only wildcard. A bare word searches id, name, key, tag values and error.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::job::{JobSummary, Json};
use crate::policy::Priority;
use crate::status::JobStatus;
use crate::text::nearest;
use crate::time::{Timestamp, Toward, WallClock, format_exact, parse_duration, parse_time};

const TERMS: usize = 64;

/// A filter that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// What is wrong.
    pub message: String,
    /// The bytes of the input that are wrong.
    pub at: Range<usize>,
    /// A suggestion.
    pub hint: Option<String>,
}

impl FilterError {
    /// The input with carets under the wrong bytes.
    #[must_use]
    pub fn caret(&self, input: &str) -> String {
        let before = input.get(..self.at.start).map_or(0, crate::text::cells);
        let under = input.get(self.at.clone()).map_or(1, crate::text::cells).max(1);
        format!("{input}\n{}{}", " ".repeat(before), "^".repeat(under))
    }
}

/// Selects the jobs for which every term holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// The terms; all must hold.
    pub terms: Vec<Term>,
}

/// One condition of a filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// The condition must not hold.
    pub negated: bool,
    /// The condition.
    pub test: Test,
}

/// A condition on a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// In one of these statuses.
    Status(BTreeSet<JobStatus>),
    /// Of one of these priorities.
    Priority(BTreeSet<Priority>),
    /// One of the patterns matches this text.
    Text(Field, Vec<Pattern>),
    /// This number compares so.
    Number(Count, Op, f64),
    /// This span of time compares so.
    Span(Age, Op, Duration),
    /// Created at or after this time.
    Since(Timestamp),
    /// Created before this time.
    Until(Timestamp),
    /// The word is in the id, name, key, a tag value or the error.
    Word(String),
}

/// A text of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// Its job type.
    Name,
    /// Its queue.
    Queue,
    /// The name of its worker.
    Worker,
    /// Its idempotency key.
    Key,
    /// Its correlation id.
    CorrelationId,
    /// The id of the schedule that created it.
    Schedule,
    /// The error of its last attempt.
    Error,
    /// Who enqueued it.
    By,
    /// Its tag of this name.
    Tag(String),
    /// Its argument of this name.
    Arg(String),
}

/// A number of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Its id.
    Id,
    /// The number of its attempts.
    Attempts,
}

/// A span of time of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Since it was accepted.
    Age,
    /// From due to start, or until now.
    Waited,
    /// From start to end, or until now.
    Took,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `=`
    Is,
    /// `!=`
    Not,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

impl Op {
    fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Self::Is => left == right,
            Self::Not => left != right,
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::More => left > right,
            Self::AtLeast => left >= right,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Is => "=",
            Self::Not => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
        }
    }
}

/// Text in which `*` matches any text, also the empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(pub String);

impl Pattern {
    /// Whether it contains no `*`, and so matches one text only.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether the text matches, ignoring case. Linear in the text for each `*`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.to_lowercase(), text.to_lowercase());
        let mut parts = pattern.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let mut last = None;
        for part in parts {
            if let Some(before) = last.replace(part) {
                let Some(found) = rest.find(before) else { return false };
                rest = &rest[found + before.len()..];
            }
        }
        match last {
            Some(end) => rest.ends_with(end),
            None => rest.is_empty(),
        }
    }
}

const KEYS: [&str; 21] = [
    "id", "status", "name", "queue", "priority", "worker", "schedule", "key", "corr", "error",
    "attempts", "age", "waited", "took", "since", "until", "by", "tag.NAME", "arg.NAME", "tag",
    "arg",
];

impl Filter {
    /// Longest text of a filter, in bytes.
    pub const MAX_BYTES: usize = 4 * 1024;

    /// Parses a filter. Relative times in `since` and `until` become absolute here.
    ///
    /// # Errors
    ///
    /// The first word that cannot be parsed, and its position.
    pub fn parse(input: &str, now: Timestamp, clock: &dyn WallClock) -> Result<Self, FilterError> {
        if input.len() > Self::MAX_BYTES {
            let message = format!("a filter is at most {} bytes", Self::MAX_BYTES);
            return Err(FilterError { message, at: 0..0, hint: None });
        }
        let words = split(input)?;
        if words.len() > TERMS {
            let message = format!("a filter has at most {TERMS} terms");
            return Err(FilterError { message, at: 0..0, hint: None });
        }
        let terms = words.iter().map(|word| word.term(now, clock)).collect::<Result<_, _>>()?;
        Ok(Self { terms })
    }

    /// Whether it matches every job.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether a job matches. Spans such as `age` are measured at `now`. Without `args`, no term on an
    /// argument holds.
    #[must_use]
    pub fn matches(&self, job: &JobSummary, args: Option<&Json>, now: Timestamp) -> bool {
        self.terms.iter().all(|term| term.test.holds(job, args, now) != term.negated)
    }

    /// Whether a term depends on the args of a job.
    #[must_use]
    pub fn needs_args(&self) -> bool {
        let on_args = |term: &Term| matches!(term.test, Test::Text(Field::Arg(_), _));
        self.terms.iter().any(on_args)
    }

    /// The only statuses that can match; `None` where the filter does not limit them.
    #[must_use]
    pub fn statuses(&self) -> Option<BTreeSet<JobStatus>> {
        let mut found: Option<BTreeSet<JobStatus>> = None;
        for term in &self.terms {
            let Test::Status(statuses) = &term.test else { continue };
            let allowed: BTreeSet<JobStatus> = JobStatus::ALL
                .into_iter()
                .filter(|status| statuses.contains(status) != term.negated)
                .collect();
            found = Some(match found {
                Some(before) => &before & &allowed,
                None => allowed,
            });
        }
        found
    }
}

impl Test {
    fn holds(&self, job: &JobSummary, args: Option<&Json>, now: Timestamp) -> bool {
        match self {
            Self::Status(statuses) => statuses.contains(&job.state.status),
            Self::Priority(priorities) => priorities.contains(&job.spec.priority),
            Self::Text(field, patterns) => field
                .of(job, args)
                .is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(&text))),
            Self::Number(Count::Id, op, number) => op.holds(job.id.0 as f64, *number),
            Self::Number(Count::Attempts, op, number) => {
                op.holds(f64::from(job.state.attempt), *number)
            }
            Self::Span(age, op, span) => age.of(job, now).is_some_and(|it| op.holds(it, *span)),
            Self::Since(at) => job.state.created_at >= *at,
            Self::Until(at) => job.state.created_at < *at,
            Self::Word(word) => {
                let word = word.to_lowercase();
                let has = |text: &str| text.to_lowercase().contains(&word);
                job.id.to_string() == word
                    || has(job.spec.name.as_str())
                    || job.spec.key.as_deref().is_some_and(has)
                    || job.spec.tags.values().any(|value| has(value))
                    || job.state.error.as_deref().is_some_and(has)
            }
        }
    }
}

impl Field {
    fn of(&self, job: &JobSummary, args: Option<&Json>) -> Option<String> {
        match self {
            Self::Name => Some(job.spec.name.to_string()),
            Self::Queue => Some(job.spec.queue.to_string()),
            Self::Worker => {
                let live = job.state.live.as_ref().map(|live| &live.worker_name);
                live.or(job.state.worker.as_ref()).map(ToString::to_string)
            }
            Self::Key => job.spec.key.clone(),
            Self::CorrelationId => job.spec.correlation_id.clone(),
            Self::Schedule => job.spec.schedule.as_ref().map(|origin| origin.id.to_string()),
            Self::Error => job.state.error.clone(),
            Self::By => job.spec.by.clone(),
            Self::Tag(name) if crate::mask::is_secret_key(name) => None,
            Self::Tag(name) => job.spec.tags.get(name).cloned(),
            Self::Arg(path) => {
                // A filter must not reveal values that views mask.
                let shown = crate::mask::mask_json(args?);
                let args: serde_json::Value = serde_json::from_str(shown.get()).ok()?;
                let found = path.split('.').try_fold(&args, |at, step| at.get(step))?;
                Some(match found {
                    serde_json::Value::String(text) => text.clone(),
                    other => other.to_string(),
                })
            }
        }
    }
}

impl Age {
    fn of(self, job: &JobSummary, now: Timestamp) -> Option<Duration> {
        let live = job.state.live.as_ref();
        let started = live.map_or(job.state.started_at, |live| live.started_at);
        match self {
            Self::Age => Some(now.saturating_since(job.state.created_at)),
            Self::Waited => {
                let end = started.or(job.state.finished_at).unwrap_or(now);
                Some(end.saturating_since(job.state.run_at))
            }
            Self::Took => {
                let end = if live.is_some() { now } else { job.state.finished_at.unwrap_or(now) };
                started.map(|started| end.saturating_since(started))
            }
        }
    }
}

/// A word of the input, split at its operator.
struct Word {
    negated: bool,
    /// Empty for a bare word.
    key: String,
    op: String,
    value: String,
    /// Commas inside quotes do not separate values.
    values: Vec<String>,
    key_at: Range<usize>,
    value_at: Range<usize>,
}

fn split(input: &str) -> Result<Vec<Word>, FilterError> {
    let mut words = Vec::new();
    let mut chars = input.char_indices().peekable();
    while let Some(&(start, c)) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
            continue;
        }
        let negated = c == '-';
        if negated {
            chars.next();
        }
        let mut word = Word {
            negated,
            key: String::new(),
            op: String::new(),
            value: String::new(),
            values: vec![String::new()],
            key_at: start..start,
            value_at: start..start,
        };
        let mut text = String::new();
        let mut end = start + usize::from(negated);
        while let Some(&(at, c)) = chars.peek() {
            if c.is_whitespace() {
                break;
            }
            chars.next();
            end = at + c.len_utf8();
            let in_value = !word.op.is_empty();
            match c {
                '"' => {
                    let mut closed = false;
                    for (at, c) in chars.by_ref() {
                        end = at + c.len_utf8();
                        if c == '"' {
                            closed = true;
                            break;
                        }
                        text.push(c);
                        if let (true, Some(last)) = (in_value, word.values.last_mut()) {
                            last.push(c);
                        }
                    }
                    if !closed {
                        let message = "a quote is not closed".to_owned();
                        return Err(FilterError { message, at: at..end, hint: None });
                    }
                }
                ':' | '=' | '<' | '>' | '!' if !in_value && !text.is_empty() => {
                    word.op.push(c);
                    if let Some(&(at, '=')) = chars.peek()
                        && matches!(c, '<' | '>' | '!')
                    {
                        chars.next();
                        word.op.push('=');
                        end = at + 1;
                    }
                    word.key = std::mem::take(&mut text);
                    word.key_at = start + usize::from(negated)..at;
                    word.value_at = end..end;
                }
                ',' if in_value => {
                    text.push(c);
                    word.values.push(String::new());
                }
                c => {
                    text.push(c);
                    if let (true, Some(last)) = (in_value, word.values.last_mut()) {
                        last.push(c);
                    }
                }
            }
        }
        word.value = text;
        word.value_at.end = end;
        words.push(word);
    }
    Ok(words)
}

impl Word {
    fn term(&self, now: Timestamp, clock: &dyn WallClock) -> Result<Term, FilterError> {
        let term = |test| Term { negated: self.negated, test };
        if self.op.is_empty() {
            if self.value.is_empty() {
                return Err(self.wrong_value("a word after `-`", None));
            }
            return Ok(term(Test::Word(self.value.clone())));
        }
        let field = match self.key.as_str() {
            "status" => {
                let statuses = self.each(
                    |value| value.parse().ok(),
                    || {
                        let names = JobStatus::ALL.map(JobStatus::as_str);
                        ("a status", names.to_vec())
                    },
                )?;
                self.only_equals()?;
                return Ok(self.maybe_not(Test::Status(statuses.into_iter().collect())));
            }
            "priority" => {
                let priorities = self.each(
                    |value| value.parse().ok(),
                    || ("a priority", Priority::ALL.map(Priority::as_str).to_vec()),
                )?;
                self.only_equals()?;
                return Ok(self.maybe_not(Test::Priority(priorities.into_iter().collect())));
            }
            "id" => return Ok(term(self.number(Count::Id)?)),
            "attempts" => return Ok(term(self.number(Count::Attempts)?)),
            "age" => return Ok(term(self.span(Age::Age)?)),
            "waited" => return Ok(term(self.span(Age::Waited)?)),
            "took" => return Ok(term(self.span(Age::Took)?)),
            "since" => return Ok(term(Test::Since(self.time(now, clock)?))),
            "until" => return Ok(term(Test::Until(self.time(now, clock)?))),
            "name" => Field::Name,
            "queue" => Field::Queue,
            "worker" => Field::Worker,
            "key" => Field::Key,
            "corr" => Field::CorrelationId,
            "schedule" => Field::Schedule,
            "error" => Field::Error,
            "by" => Field::By,
            key => match key.split_once('.') {
                Some(("tag", name)) if !name.is_empty() => Field::Tag(name.to_owned()),
                Some(("arg", path)) if !path.is_empty() => Field::Arg(path.to_owned()),
                _ => {
                    let shown: String = key.chars().take(40).collect();
                    let hint = nearest(key, KEYS).map_or_else(
                        || format!("keys are {}", KEYS[..18].join(", ")),
                        |near| format!("did you mean `{near}`?"),
                    );
                    return Err(FilterError {
                        message: format!("there is no filter key `{shown}`"),
                        at: self.key_at.clone(),
                        hint: Some(hint),
                    });
                }
            },
        };
        self.only_equals()?;
        if self.values.iter().any(String::is_empty) {
            return Err(self.wrong_value("a value", None));
        }
        let patterns = self.values.iter().map(|value| {
            // An error matches by any part of it.
            let whole = field != Field::Error || value.contains('*');
            Pattern(if whole { value.clone() } else { format!("*{value}*") })
        });
        let patterns = patterns.collect();
        Ok(self.maybe_not(Test::Text(field, patterns)))
    }

    fn maybe_not(&self, test: Test) -> Term {
        Term { negated: self.negated != (self.op == "!="), test }
    }

    fn only_equals(&self) -> Result<(), FilterError> {
        if matches!(self.op.as_str(), ":" | "=" | "!=") {
            return Ok(());
        }
        Err(FilterError {
            message: format!("`{}` cannot be compared with `{}`", self.key, self.op),
            at: self.key_at.start..self.value_at.end,
            hint: Some(format!("write `{}:{}`", self.key, self.value)),
        })
    }

    fn op(&self) -> Result<Op, FilterError> {
        Ok(match self.op.as_str() {
            ":" | "=" => Op::Is,
            "!=" => Op::Not,
            "<" => Op::Less,
            "<=" => Op::AtMost,
            ">" => Op::More,
            ">=" => Op::AtLeast,
            _ => return Err(self.wrong_value("one of = != < <= > >=", None)),
        })
    }

    fn each<T>(
        &self,
        parse: impl Fn(&str) -> Option<T>,
        allowed: impl Fn() -> (&'static str, Vec<&'static str>),
    ) -> Result<Vec<T>, FilterError> {
        let each = |value: &String| {
            parse(value).ok_or_else(|| {
                let (what, names) = allowed();
                let hint = nearest(value, names.iter().copied()).map_or_else(
                    || format!("one of {}", names.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                self.wrong_value(what, Some(hint))
            })
        };
        self.values.iter().map(each).collect()
    }

    fn number(&self, of: Count) -> Result<Test, FilterError> {
        let number: f64 = self.value.parse().map_err(|_| self.wrong_value("a number", None))?;
        if !number.is_finite() {
            return Err(self.wrong_value("a number", None));
        }
        Ok(Test::Number(of, self.op()?, number))
    }

    fn span(&self, of: Age) -> Result<Test, FilterError> {
        let span = parse_duration(&self.value)
            .map_err(|_| self.wrong_value("a duration such as `10m`", None))?;
        Ok(Test::Span(of, self.op()?, span))
    }

    fn time(&self, now: Timestamp, clock: &dyn WallClock) -> Result<Timestamp, FilterError> {
        self.only_equals()?;
        if let Ok(span) = parse_duration(&self.value) {
            return Ok(now.saturating_sub(span));
        }
        parse_time(&self.value, now, clock, Toward::Past)
            .map_err(|_| self.wrong_value("a time, or how long ago, such as `03:00` or `2h`", None))
    }

    fn wrong_value(&self, expected: &str, hint: Option<String>) -> FilterError {
        let found: String = self.value.chars().take(40).collect();
        FilterError {
            message: format!("expected {expected}, found `{found}`"),
            at: self.value_at.clone(),
            hint,
        }
    }
}

/// The filter as text that parses to the same filter.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, term) in self.terms.iter().enumerate() {
            if place > 0 {
                f.write_str(" ")?;
            }
            if term.negated {
                f.write_str("-")?;
            }
            match &term.test {
                Test::Status(all) => write!(f, "status:{}", join(all.iter().map(|s| s.as_str())))?,
                Test::Priority(all) => {
                    write!(f, "priority:{}", join(all.iter().map(|p| p.as_str())))?;
                }
                Test::Text(field, patterns) => {
                    let quoted = patterns.iter().map(|pattern| format!("\"{}\"", pattern.0));
                    let values: Vec<String> = quoted.collect();
                    write!(f, "{field}:{}", values.join(","))?;
                }
                Test::Number(Count::Id, op, n) => write!(f, "id{}{n}", op.as_str())?,
                Test::Number(Count::Attempts, op, n) => write!(f, "attempts{}{n}", op.as_str())?,
                Test::Span(age, op, span) => {
                    let key = match age {
                        Age::Age => "age",
                        Age::Waited => "waited",
                        Age::Took => "took",
                    };
                    write!(f, "{key}{}{}", op.as_str(), format_exact(*span))?;
                }
                Test::Since(at) => write!(f, "since:{at}")?,
                Test::Until(at) => write!(f, "until:{at}")?,
                Test::Word(word) => write!(f, "\"{word}\"")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("name"),
            Self::Queue => f.write_str("queue"),
            Self::Worker => f.write_str("worker"),
            Self::Key => f.write_str("key"),
            Self::CorrelationId => f.write_str("corr"),
            Self::Schedule => f.write_str("schedule"),
            Self::Error => f.write_str("error"),
            Self::By => f.write_str("by"),
            Self::Tag(name) => write!(f, "tag.{name}"),
            Self::Arg(path) => write!(f, "arg.{path}"),
        }
    }
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::UtcClock;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn parse(input: &str) -> Result<Filter, FilterError> {
        Filter::parse(input, NOW, &UtcClock)
    }

    #[test]
    fn the_example_of_the_manual_reads_back_from_its_own_text() {
        let input = "status:failed,timedout queue:media name:video.* age>10m attempts>=2 \
                     error:\"connection refused\" tag.tenant:acme -worker:wrk-3 since:2h text";
        let filter = parse(input).expect("a filter");
        assert_eq!(filter.terms.len(), 10);
        assert_eq!(filter.statuses().map(|all| all.len()), Some(2));
        assert_eq!(parse(&filter.to_string()), Ok(filter));
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_stands_with_the_nearest() {
        let input = "queue:media stauts:failed";
        let error = parse(input).expect_err("unknown key");
        assert_eq!(error.hint.as_deref(), Some("did you mean `status`?"));
        assert_eq!(error.caret(input), format!("{input}\n            ^^^^^^"));
        let error = parse("status:faild").expect_err("unknown status");
        assert_eq!(error.hint.as_deref(), Some("did you mean `failed`?"));
        for input in ["age>x", "name>a", "error:\"open", "status:", "name:", "-"] {
            assert!(parse(input).is_err(), "{input}");
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        let matches = |pattern: &str, text| Pattern(pattern.to_owned()).matches(text);
        assert!(matches("video.*", "video.process") && !matches("video.*", "mail.video.x"));
        assert!(matches("*a*b", "xaxxb") && !matches("*a*b", "xaxxbc"));
        assert!(matches("*", "") && matches("a*a", "aa") && !matches("a*a", "a"));
    }

    proptest! {
        #[test]
        fn no_input_panics_and_what_parses_reads_back(input in "[ -~äß\n]{0,60}") {
            if let Ok(filter) = parse(&input) {
                let text = filter.to_string();
                prop_assert_eq!(parse(&text), Ok(filter), "{}", text);
            } else if let Err(error) = parse(&input) {
                let _ = error.caret(&input);
            }
        }

        #[test]
        fn made_filters_read_back(
            status in proptest::sample::select(JobStatus::ALL.to_vec()),
            name in "[a-z.*]{1,8}", negated in any::<bool>(), seconds in 0_u64..100_000,
        ) {
            let minus = if negated { "-" } else { "" };
            let input = format!("{minus}status:{status} name:{name} age>{seconds}s {minus}word");
            let filter = parse(&input).expect("a filter");
            prop_assert_eq!(parse(&filter.to_string()), Ok(filter));
        }
    }
}
