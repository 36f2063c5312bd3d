//! A schedule as it is asked for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::catch_up::{CatchUp, Rule};
use super::imported::Imported;
use super::overlap::Overlap;
use super::timing::{Timing, When};
use super::zone::ZoneName;
use crate::ids::Name;
use crate::limits;
use crate::time::Timestamp;
use crate::wire::EnqueueRequest;

/// A schedule to keep. What is left out gets the values said here; of the job, the server's.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    pub id: Name,
    pub timing: When,
    /// Where a cron expression's wall clock stands; UTC if left out.
    #[serde(default)]
    pub zone: ZoneName,
    /// Fire up to so many milliseconds after the due time: at most a day. How many is the same for
    /// the same schedule and due time. Always before the next due time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub jitter_ms: u64,
    /// Not due before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Not due after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Ends after so many runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_runs: Option<u64>,
    #[serde(default)]
    pub catch_up: CatchUp,
    /// Nothing older is caught up: milliseconds, at most ten years; seven days if left out.
    #[serde(default = "window_default")]
    pub window_ms: u64,
    #[serde(default)]
    pub overlap: Overlap,
    /// A slot with nothing recorded so many milliseconds after it should have fired is reported as
    /// missed: 1 s to ten years; five minutes if left out.
    #[serde(default = "tolerance_default")]
    pub tolerance_ms: u64,
    /// A job of this type is made for each missed slot reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_missed: Option<Name>,
    /// A job of this type is made when a run fails for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Name>,
    /// Where it was imported from. Of no weight for what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
    /// The job that each slot makes. Without `key`, `run_at`, `delay_ms` and `deadline`: the slot
    /// decides them.
    #[serde(deserialize_with = "crate::json::object")]
    pub job: EnqueueRequest,
}

fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

fn window_default() -> u64 {
    ScheduleSpec::WINDOW_MS
}

fn tolerance_default() -> u64 {
    ScheduleSpec::TOLERANCE_MS
}

impl ScheduleSpec {
    /// Seven days: a weekly run that fell on an outage of a weekend is caught up.
    pub const WINDOW_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
    pub const TOLERANCE_MS: u64 = 5 * 60 * 1_000;
    /// A day.
    pub const JITTER_MAX_MS: u64 = 24 * 60 * 60 * 1_000;

    #[must_use]
    pub fn new(id: Name, timing: When, job: EnqueueRequest) -> Self {
        Self {
            id,
            timing,
            zone: ZoneName::default(),
            jitter_ms: 0,
            start: None,
            end: None,
            max_runs: None,
            catch_up: CatchUp::default(),
            window_ms: Self::WINDOW_MS,
            overlap: Overlap::default(),
            tolerance_ms: Self::TOLERANCE_MS,
            on_missed: None,
            on_failure: None,
            imported: None,
            job,
        }
    }

    /// When it is due.
    #[must_use]
    pub fn timing(&self) -> Timing {
        Timing::new(self.timing.clone(), self.zone.clone())
            .between(self.start, self.end)
            .with_jitter(&self.id, self.jitter_ms)
    }

    /// What to do about slots that nobody was there for.
    #[must_use]
    pub fn rule(&self) -> Rule {
        let window = std::time::Duration::from_millis(self.window_ms);
        Rule { catch_up: self.catch_up, window }
    }

    /// Everything that is out of range or cannot be. The job's own values are checked where jobs
    /// are accepted.
    ///
    /// # Errors
    ///
    /// Every field that is wrong, in the order of the fields.
    pub fn check(&self) -> Result<(), SpecProblems> {
        let mut problems = Vec::new();
        let mut add = |field, text| problems.push(SpecProblem { field, text });
        let timing = self.timing.check();
        let due = timing.is_ok();
        if let Err(text) = timing {
            add("timing", text);
        }
        let most = limits::DELAY_MAX.as_millis() as u64;
        if self.jitter_ms > Self::JITTER_MAX_MS {
            let (most, found) = (Self::JITTER_MAX_MS, self.jitter_ms);
            add("jitter_ms", format!("expected 0 to {most} (a day), found {found}"));
        }
        let ordered = match (self.start, self.end) {
            (Some(start), Some(end)) => start <= end,
            _ => true,
        };
        if let (false, Some(start), Some(end)) = (ordered, self.start, self.end) {
            add("end", format!("expected `start` `{start}` or later, found `{end}`"));
        }
        if due && ordered {
            let from = self.start.unwrap_or(Timestamp::from_millis(0));
            let before = Timestamp::from_millis(from.as_millis().saturating_sub(1));
            if self.timing().next_after(before).is_none() {
                add("timing", format!("`{}` is never due{}", self.timing, self.bounds()));
            }
        }
        if self.max_runs == Some(0) {
            add("max_runs", "expected 1 or more, found 0".to_owned());
        }
        if self.window_ms > most {
            let found = self.window_ms;
            add("window_ms", format!("expected 0 to {most} (ten years), found {found}"));
        }
        if !(1_000..=most).contains(&self.tolerance_ms) {
            let found = self.tolerance_ms;
            add("tolerance_ms", format!("expected 1000 to {most} (ten years), found {found}"));
        }
        if let Some(Err(text)) = self.imported.as_ref().map(Imported::check) {
            add("imported", text);
        }
        let job = &self.job;
        if job.name.is_none() && job.command.is_none() {
            add("job.name", "expected a job type, or a `command`, found neither".to_owned());
        }
        for (field, given) in [
            ("job.key", job.key.is_some()),
            ("job.run_at", job.run_at.is_some()),
            ("job.delay_ms", job.delay_ms.is_some()),
            ("job.deadline", job.deadline.is_some()),
        ] {
            if given {
                let text = "expected nothing: each slot makes a job of its own, due at the slot";
                add(field, text.to_owned());
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(SpecProblems(problems)) }
    }

    /// The stretch of time in which it may be due, in words.
    fn bounds(&self) -> String {
        match (self.start, self.end) {
            (None, None) => String::new(),
            (Some(start), None) => format!(" from `start` `{start}` on"),
            (None, Some(end)) => format!(" until `end` `{end}`"),
            (Some(start), Some(end)) => format!(" from `start` `{start}` to `end` `{end}`"),
        }
    }

    /// In one line: `cron 0 2 * * * in Europe/Berlin`, `every 15m`, `once at …`.
    #[must_use]
    pub fn when_text(&self) -> String {
        match &self.timing {
            When::Cron(expr) => format!("cron {expr} in {}", self.zone),
            When::Interval { .. } | When::Once(_) => self.timing.to_string(),
        }
    }
}

/// One thing that is wrong with a [`ScheduleSpec`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error, utoipa::ToSchema)]
#[error("`{field}`: {text}")]
pub struct SpecProblem {
    /// The field as JSON has it: `window_ms`, `job.name`.
    pub field: &'static str,
    /// What was expected, and what was found.
    pub text: String,
}

/// Everything that is wrong with a [`ScheduleSpec`], one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecProblems(pub Vec<SpecProblem>);

impl fmt::Display for SpecProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for SpecProblems {}
