//! The request for a schedule.

use serde::{Deserialize, Serialize};

use super::catch_up::CatchUp;
use super::overlap::Overlap;
use super::when::{When, ZoneName};
use crate::ids::Name;
use crate::time::Timestamp;
use crate::wire::EnqueueRequest;

/// A schedule. Absent fields get the defaults given here; absent fields of the job, the server's.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Its id, unique in the store.
    pub id: Name,
    /// What makes it due.
    pub timing: When,
    /// Time zone of a cron expression; UTC if left out.
    #[serde(default)]
    pub zone: ZoneName,
    /// Longest random delay after the due time, milliseconds: at most a day. The delay is the same for the
    /// same schedule and due time, and ends before the next due time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub jitter_ms: u64,
    /// Time before which it is not due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Time after which it is not due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Number of runs after which it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_runs: Option<u64>,
    /// How many missed due times it catches up.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// Age up to which missed due times are caught up, milliseconds: at most ten years, default seven days.
    #[serde(default = "window_default")]
    pub window_ms: u64,
    /// What it does while its previous run has not ended.
    #[serde(default)]
    pub overlap: Overlap,
    /// A slot without a record this many milliseconds after its firing time is reported as missed: 1 s to
    /// ten years, default five minutes.
    #[serde(default = "tolerance_default")]
    pub tolerance_ms: u64,
    /// Type of the job that is created for each slot reported as missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_missed: Option<Name>,
    /// Type of the job that is created when a run fails for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Name>,
    /// The source of an imported schedule. It has no effect on the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
    /// The job that each slot creates, without `key`, `run_at`, `delay_ms` and `deadline`, which the slot
    /// determines.
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
    /// The default window, seven days: a weekly run missed during an outage is caught up.
    pub const WINDOW_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
    /// Five minutes.
    pub const TOLERANCE_MS: u64 = 5 * 60 * 1_000;
    /// A day.
    pub const JITTER_MAX_MS: u64 = 24 * 60 * 60 * 1_000;

    /// A schedule with every other field at its default.
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

/// The source of an imported schedule, and a digest of what the import wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Imported {
    /// The name of the host, then the file or the owner of the crontab.
    pub source: String,
    /// Line in the source, from 1.
    pub line: u64,
    /// Identifies its command among those of the source.
    pub key: String,
    /// Digest of the schedule as the import wrote it; a schedule with another digest was changed since.
    pub fingerprint: String,
}

impl Imported {
    /// Longest of its texts, in bytes.
    pub const TEXT_BYTES: usize = 1_024;
}
