//! Conditions on a job, and whether they hold.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::cause::{Cause, CauseId};
use crate::job::{JobSummary, Json};
use crate::policy::Priority;
use crate::status::JobStatus;
use crate::time::Timestamp;

/// A condition on a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// In one of these statuses.
    Status(BTreeSet<JobStatus>),
    /// Of one of these priorities.
    Priority(BTreeSet<Priority>),
    /// A dead letter of one of these causes.
    Cause(BTreeSet<CauseId>),
    /// One of the patterns matches this text.
    Text(Field, Vec<Pattern>),
    /// This number compares so.
    Number(CountField, Op, f64),
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
pub enum CountField {
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

    pub(super) fn as_str(self) -> &'static str {
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

impl Test {
    pub(super) fn holds(&self, job: &JobSummary, args: Option<&Json>, now: Timestamp) -> bool {
        match self {
            Self::Status(statuses) => statuses.contains(&job.state.status),
            Self::Priority(priorities) => priorities.contains(&job.spec.priority),
            Self::Cause(causes) => Cause::of(job).is_some_and(|cause| causes.contains(&cause.id)),
            Self::Text(field, patterns) => field
                .of(job, args)
                .is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(&text))),
            Self::Number(CountField::Id, op, number) => op.holds(job.id.0 as f64, *number),
            Self::Number(CountField::Attempts, op, number) => {
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
