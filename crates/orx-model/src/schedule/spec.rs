//! A schedule as it is asked for, and what became of each of its slots.

use serde::{Deserialize, Serialize};

use super::catch_up::{CatchUp, Overlap, Rule};
use super::timing::{Timing, When};
use super::zone::ZoneName;
use crate::ids::{JobId, Name};
use crate::limits;
use crate::time::{Timestamp, format_exact};
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
    /// The job that each slot makes. Without `key`, `run_at`, `delay_ms` and `deadline`: the slot
    /// decides them.
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
            job,
        }
    }

    /// When it is due.
    #[must_use]
    pub fn timing(&self) -> Timing {
        Timing::new(self.timing.clone(), self.zone)
            .between(self.start, self.end)
            .with_jitter(&self.id, self.jitter_ms)
    }

    /// What to do about slots that nobody was there for.
    #[must_use]
    pub fn rule(&self) -> Rule {
        let window = std::time::Duration::from_millis(self.window_ms);
        Rule { catch_up: self.catch_up, window }
    }

    /// What is out of range or cannot be, in words. The job itself is checked where jobs are
    /// accepted.
    pub fn check(&self) -> Result<(), String> {
        self.timing.check()?;
        let most = limits::DELAY_MAX.as_millis() as u64;
        if self.jitter_ms > Self::JITTER_MAX_MS {
            return Err(format!(
                "`jitter_ms` is at most {} (a day), found {}",
                Self::JITTER_MAX_MS,
                self.jitter_ms
            ));
        }
        if self.window_ms > most {
            return Err(format!("`window_ms` is at most {most}, found {}", self.window_ms));
        }
        if !(1_000..=most).contains(&self.tolerance_ms) {
            return Err(format!("`tolerance_ms` is 1000 to {most}, found {}", self.tolerance_ms));
        }
        if self.max_runs == Some(0) {
            return Err("`max_runs` is 1 or more, found 0".to_owned());
        }
        if let (Some(start), Some(end)) = (self.start, self.end) {
            if end < start {
                return Err(format!("`end` must not be before `start` `{start}`, found `{end}`"));
            }
        }
        let job = &self.job;
        if job.name.is_none() && job.command.is_none() {
            return Err("the job of a schedule needs a `name`, or a `command`".to_owned());
        }
        for (what, given) in [
            ("key", job.key.is_some()),
            ("run_at", job.run_at.is_some()),
            ("delay_ms", job.delay_ms.is_some()),
            ("deadline", job.deadline.is_some()),
        ] {
            if given {
                return Err(format!(
                    "the job of a schedule takes no `{what}`: each slot makes a job of its own"
                ));
            }
        }
        let from = self.start.unwrap_or(Timestamp::from_millis(0));
        let before = Timestamp::from_millis(from.as_millis().saturating_sub(1));
        if self.timing().next_after(before).is_none() {
            return Err(match (self.start, self.end) {
                (None, None) => "the schedule is never due".to_owned(),
                _ => "the schedule is never due between `start` and `end`".to_owned(),
            });
        }
        Ok(())
    }

    /// In one line: `cron 0 2 * * * in Europe/Berlin`, `every 15m`, `once at …`.
    #[must_use]
    pub fn when_text(&self) -> String {
        match &self.timing {
            When::Cron(expr) => format!("cron {expr} in {}", self.zone),
            When::Interval { every_ms, offset_ms } => {
                let span = |ms| format_exact(std::time::Duration::from_millis(ms));
                match offset_ms {
                    0 => format!("every {}", span(*every_ms)),
                    offset_ms => format!("every {} offset {}", span(*every_ms), span(*offset_ms)),
                }
            }
            When::Once(at) => format!("once at {at}"),
        }
    }
}

/// Why a slot made no job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The previous run had not ended, and overlap is `skip`.
    Overlap,
    /// A run waits for the previous one already, and overlap is `queue_one`.
    OneWaits,
    /// The schedule was paused.
    Paused,
    /// Its job was refused as a request would be.
    Refused,
}

impl SkipReason {
    /// As a person reads it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Overlap => "the previous run had not ended",
            Self::OneWaits => "a run was waiting already",
            Self::Paused => "the schedule was paused",
            Self::Refused => "the job was refused",
        }
    }
}

/// What became of a slot. `late_ms` counts from when it should have fired, jitter included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum SlotOutcome {
    Ran {
        job: JobId,
        late_ms: u64,
    },
    Skipped {
        reason: SkipReason,
    },
    /// Nobody was there, and it was not caught up.
    Missed,
    /// Nobody was there, and it was run afterwards.
    CaughtUp {
        job: JobId,
        late_ms: u64,
    },
}

impl SlotOutcome {
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ran { .. } => "ran",
            Self::Skipped { .. } => "skipped",
            Self::Missed => "missed",
            Self::CaughtUp { .. } => "caught_up",
        }
    }

    /// The job that it made.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Ran { job, .. } | Self::CaughtUp { job, .. } => Some(*job),
            Self::Skipped { .. } | Self::Missed => None,
        }
    }
}

/// One row of the ledger: a slot, or a range of missed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Slot {
    /// The due time; of a range the oldest.
    pub slot: Timestamp,
    /// Of a range the newest due time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// How many slots the row stands for.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
    /// `false`: it stands for more than `count`.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub exact: bool,
    #[serde(flatten)]
    pub outcome: SlotOutcome,
    pub recorded_at: Timestamp,
}

fn one() -> u64 {
    1
}

fn is_one(count: &u64) -> bool {
    *count == 1
}

fn yes() -> bool {
    true
}

fn is_yes(exact: &bool) -> bool {
    *exact
}
