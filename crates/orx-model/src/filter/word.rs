//! Words of the text of a filter, and the terms that they mean.

use std::ops::Range;

use super::condition::{Age, CountField, Field, Op, Pattern, Test};
use super::{FilterError, FilterTerm};
use crate::policy::Priority;
use crate::status::JobStatus;
use crate::text::nearest;
use crate::time::{Timestamp, Toward, WallClock, parse_duration, parse_time};

const KEYS: [&str; 22] = [
    "id", "status", "name", "queue", "priority", "worker", "schedule", "key", "corr", "error",
    "cause", "attempts", "age", "waited", "took", "since", "until", "by", "tag.NAME", "arg.NAME",
    "tag", "arg",
];

/// A word of the input, split at its operator.
pub(super) struct Word {
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

pub(super) fn split(input: &str) -> Result<Vec<Word>, FilterError> {
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
    pub(super) fn term(
        &self,
        now: Timestamp,
        clock: &dyn WallClock,
    ) -> Result<FilterTerm, FilterError> {
        let term = |test| FilterTerm { negated: self.negated, test };
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
            "cause" => {
                self.only_equals()?;
                let each = |value: &String| {
                    let hint = "`orx dlq top` lists the causes of dead letters with their ids";
                    let wrong = |_| self.wrong_value("the id of a cause", Some(hint.to_owned()));
                    value.parse().map_err(wrong)
                };
                let causes = self.values.iter().map(each).collect::<Result<_, _>>()?;
                return Ok(self.maybe_not(Test::Cause(causes)));
            }
            "id" => return Ok(term(self.number(CountField::Id)?)),
            "attempts" => return Ok(term(self.number(CountField::Attempts)?)),
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
                        || format!("keys are {}", KEYS[..19].join(", ")),
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

    fn maybe_not(&self, test: Test) -> FilterTerm {
        FilterTerm { negated: self.negated != (self.op == "!="), test }
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

    fn number(&self, of: CountField) -> Result<Test, FilterError> {
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
