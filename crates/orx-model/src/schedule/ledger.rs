//! The ledger: the outcome of each slot of a schedule.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::JobId;
use crate::time::{Timestamp, format_duration, jump_words};

/// Why a slot made no job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The previous run had not ended, and overlap is `skip`.
    Overlap,
    /// Another run already waits for the previous one, and overlap is `queue_one`.
    OneWaits,
    /// The schedule was paused.
    Paused,
}

impl SkipReason {
    /// The reason for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Overlap => "the previous run had not ended",
            Self::OneWaits => "a run was waiting already",
            Self::Paused => "the schedule was paused",
        }
    }
}

/// The outcome of a slot. `late_ms` counts from its firing time, jitter included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum SlotOutcome {
    /// It created a job in time.
    Ran {
        /// The job that it created.
        job: JobId,
        /// Milliseconds.
        late_ms: u64,
    },
    /// It created no job on purpose.
    Skipped {
        /// The reason.
        reason: SkipReason,
    },
    /// No leader fired it in time, and it was not caught up.
    Missed,
    /// No leader fired it in time, and it was caught up later.
    CaughtUp {
        /// The job that it created.
        job: JobId,
        /// Milliseconds.
        late_ms: u64,
    },
    /// Not a slot: the clock was set by this many milliseconds, negative for back. Later slots count from
    /// the new time.
    ClockSet {
        /// Milliseconds.
        by_ms: i64,
    },
}

impl SlotOutcome {
    /// The name in JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ran { .. } => "ran",
            Self::Skipped { .. } => "skipped",
            Self::Missed => "missed",
            Self::CaughtUp { .. } => "caught_up",
            Self::ClockSet { .. } => "clock_set",
        }
    }

    /// The job that it created, if any.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Ran { job, .. } | Self::CaughtUp { job, .. } => Some(*job),
            Self::Skipped { .. } | Self::Missed | Self::ClockSet { .. } => None,
        }
    }
}

/// For people: `ran as 1423, 2.0s late`, `skipped: the previous run had not ended`.
impl fmt::Display for SlotOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = |ms: u64| match ms {
            0..1_000 => String::new(),
            ms => format!(", {} late", format_duration(Duration::from_millis(ms))),
        };
        match self {
            Self::Ran { job, late_ms } => write!(f, "ran as {job}{}", late(*late_ms)),
            Self::Skipped { reason } => write!(f, "skipped: {}", reason.words()),
            Self::Missed => f.write_str("missed"),
            Self::CaughtUp { job, late_ms } => write!(f, "caught up as {job}{}", late(*late_ms)),
            Self::ClockSet { by_ms } => write!(f, "the clock was set {}", jump_words(*by_ms)),
        }
    }
}

/// One row of the ledger: a slot, or a range of missed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Slot {
    /// The due time; for a range the oldest.
    pub slot: Timestamp,
    /// The newest due time of a range; absent for a single slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// How many slots the row covers.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
    /// `false`: the row covers more than `count` slots.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub exact: bool,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: SlotOutcome,
    /// When the row was last written.
    pub recorded_at: Timestamp,
}

impl Slot {
    /// A row for one due time.
    #[must_use]
    pub fn of(slot: Timestamp, outcome: SlotOutcome, recorded_at: Timestamp) -> Self {
        Self { slot, last: None, count: 1, exact: true, outcome, recorded_at }
    }
}

/// For people, times in UTC: `2026-01-01T02:00:00.000Z missed`.
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            None => write!(f, "{} {}", self.slot, self.outcome),
            Some(last) => {
                let (count, more) = (self.count, if self.exact { "" } else { " or more" });
                write!(f, "{} to {last}, {count}{more} due times: {}", self.slot, self.outcome)
            }
        }
    }
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
