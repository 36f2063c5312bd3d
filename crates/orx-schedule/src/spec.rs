//! A schedule with parsed texts.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use orx_model::schedule::{ScheduleSpec, SpecProblem, When};
use orx_model::wire::EnqueueRequest;
use orx_model::{Name, Timestamp, limits};
use serde::{Deserialize, Serialize};

use crate::catch_up::CatchUpRule;
use crate::imported;
use crate::timing::{DueRule, Timing};
use crate::zone::NamedZone;

/// A [`ScheduleSpec`] with a parsed cron expression and time zone. It serializes as the spec, with
/// normalised texts: a zone as the database spells it, a cron expression with single spaces.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "ScheduleSpec", into = "ScheduleSpec")]
pub struct Schedule {
    spec: ScheduleSpec,
    due: Timing,
}

impl Deref for Schedule {
    type Target = ScheduleSpec;

    fn deref(&self) -> &ScheduleSpec {
        &self.spec
    }
}

impl From<Schedule> for ScheduleSpec {
    fn from(schedule: Schedule) -> Self {
        schedule.spec
    }
}

impl TryFrom<ScheduleSpec> for Schedule {
    type Error = SpecProblems;

    fn try_from(spec: ScheduleSpec) -> Result<Self, SpecProblems> {
        Self::new(spec)
    }
}

impl Schedule {
    /// Parses the texts of a schedule; [`Schedule::check`] finds any other error.
    ///
    /// # Errors
    ///
    /// `timing` for an invalid cron expression, `zone` for an unknown time zone.
    pub fn new(mut spec: ScheduleSpec) -> Result<Self, SpecProblems> {
        let zone: Result<NamedZone, _> = spec.zone.as_str().parse();
        let (pattern, zone) = match (DueRule::try_from(&spec.timing), zone) {
            (Ok(pattern), Ok(zone)) => (pattern, zone),
            (pattern, zone) => {
                let problem = |field, text| SpecProblem { field, text };
                let pattern = pattern.err().map(|error| problem("timing", error.to_string()));
                let zone = zone.err().map(|error| problem("zone", error.to_string()));
                return Err(SpecProblems(pattern.into_iter().chain(zone).collect()));
            }
        };
        if let DueRule::Cron(cron) = &pattern {
            spec.timing = When::Cron(cron.expr().clone());
        }
        spec.zone = zone.name().clone();
        let due = Timing::new(pattern, zone)
            .between(spec.start, spec.end)
            .with_jitter(&spec.id, spec.jitter_ms);
        Ok(Self { spec, due })
    }

    /// Parses and checks a schedule.
    ///
    /// # Errors
    ///
    /// The errors of [`Schedule::new`] and [`Schedule::check`].
    pub fn checked(spec: ScheduleSpec) -> Result<Self, SpecProblems> {
        let schedule = Self::new(spec)?;
        schedule.check()?;
        Ok(schedule)
    }

    /// A schedule that is due at one instant.
    #[must_use]
    pub fn once(id: Name, at: Timestamp, job: EnqueueRequest) -> Self {
        let due = Timing::new(DueRule::Once(at), NamedZone::default());
        Self { spec: ScheduleSpec::new(id, When::Once(at), job), due }
    }

    /// The schedule as data.
    #[must_use]
    pub fn spec(&self) -> &ScheduleSpec {
        &self.spec
    }

    /// When it is due.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.due
    }

    /// How to handle missed slots.
    #[must_use]
    pub fn rule(&self) -> CatchUpRule {
        let window = Duration::from_millis(self.window_ms);
        CatchUpRule { catch_up: self.catch_up, window }
    }

    /// Checks ranges and combinations. The server checks the values of the job when it accepts jobs.
    ///
    /// # Errors
    ///
    /// Every field that is wrong, in the order of the fields.
    pub fn check(&self) -> Result<(), SpecProblems> {
        let mut problems = Vec::new();
        let mut add = |field, text| problems.push(SpecProblem { field, text });
        let timing = self.due.pattern().check();
        let due = timing.is_ok();
        if let Err(text) = timing {
            add("timing", text);
        }
        let most = limits::DELAY_MAX.as_millis() as u64;
        if self.jitter_ms > ScheduleSpec::JITTER_MAX_MS {
            let (most, found) = (ScheduleSpec::JITTER_MAX_MS, self.jitter_ms);
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
            if self.due.next_after(before).is_none() {
                add("timing", format!("`{}` is never due{}", self.spec.timing, self.bounds()));
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
        if let Some(Err(text)) = self.imported.as_ref().map(imported::check) {
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

    /// The range of time in which it may be due, in words.
    fn bounds(&self) -> String {
        match (self.start, self.end) {
            (None, None) => String::new(),
            (Some(start), None) => format!(" from `start` `{start}` on"),
            (None, Some(end)) => format!(" until `end` `{end}`"),
            (Some(start), Some(end)) => format!(" from `start` `{start}` to `end` `{end}`"),
        }
    }
}

/// All errors in a [`ScheduleSpec`], printed one a line.
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
