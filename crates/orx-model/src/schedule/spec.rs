//! A schedule as it is asked for.

use serde::{Deserialize, Serialize};

use super::catch_up::CatchUp;
use super::overlap::Overlap;
use super::when::{When, ZoneName};
use crate::ids::Name;
use crate::time::Timestamp;
use crate::wire::EnqueueRequest;

/// A schedule to keep. What is left out gets the values said here; of the job, the server's.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Its id, in use once.
    pub id: Name,
    /// What makes it due.
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
    /// How many missed due times it runs afterwards.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// Nothing older is caught up: milliseconds, at most ten years; seven days if left out.
    #[serde(default = "window_default")]
    pub window_ms: u64,
    /// What it does while its previous run goes on.
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
    /// Five minutes.
    pub const TOLERANCE_MS: u64 = 5 * 60 * 1_000;
    /// A day.
    pub const JITTER_MAX_MS: u64 = 24 * 60 * 60 * 1_000;

    /// A schedule with all else as if it were left out.
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

    /// In one line: `cron 0 2 * * * in Europe/Berlin`, `every 15m`, `once at …`.
    #[must_use]
    pub fn when_text(&self) -> String {
        match &self.timing {
            When::Cron(expr) => format!("cron {expr} in {}", self.zone),
            When::Interval { .. } | When::Once(_) => self.timing.to_string(),
        }
    }
}

/// Where an import took a schedule from, and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Imported {
    /// The file, or whose crontab it is, after the name of its machine.
    pub source: String,
    /// From 1.
    pub line: u64,
    /// What tells its command apart from others of the source.
    pub key: String,
    /// Of the schedule as the import wrote it. One that differs was changed since.
    pub fingerprint: String,
}

impl Imported {
    /// The longest of its texts, in bytes.
    pub const TEXT_BYTES: usize = 1_024;
}
