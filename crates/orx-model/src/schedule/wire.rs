//! Schedules over HTTP.

use serde::{Deserialize, Serialize};

use super::{Due, FieldChange, ScheduleSpec, Slot, SpecChange};
use crate::ids::{JobId, Name};
use crate::status::JobStatus;
use crate::time::Timestamp;

/// Paths; `{schedule}` is an id.
pub mod path {
    /// Make a schedule, or list schedules.
    pub const SCHEDULES: &str = "/api/v1/schedules";
    /// One schedule.
    pub const SCHEDULE: &str = "/api/v1/schedules/{schedule}";
    /// The ledger of a schedule.
    pub const SLOTS: &str = "/api/v1/schedules/{schedule}/slots";
    /// Run a schedule now.
    pub const TRIGGER: &str = "/api/v1/schedules/{schedule}/trigger";
    /// Run past due times of a schedule.
    pub const BACKFILL: &str = "/api/v1/schedules/{schedule}/backfill";
    /// Pause a schedule.
    pub const PAUSE: &str = "/admin/v1/schedules/{schedule}/pause";
    /// Resume a schedule.
    pub const RESUME: &str = "/admin/v1/schedules/{schedule}/resume";
}

/// Whether a schedule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleState {
    /// It fires at its due times.
    Active,
    /// It does not fire until it is resumed.
    Paused,
    /// It is not due any more.
    Ended,
}

impl ScheduleState {
    /// The name as JSON has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}

/// Who paused a schedule, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PauseView {
    /// When it was paused.
    pub at: Timestamp,
    /// Why, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who asked, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A run of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RunView {
    /// Its job.
    pub job: JobId,
    /// None once the job was forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
}

/// A schedule as it stands. Secrets in its job are masked.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScheduleView {
    /// Its id.
    pub id: Name,
    /// What is kept of it cannot be read, and why: a newer version wrote it, say. It does not fire,
    /// and `spec` is none that anyone asked for; made anew under its id, it is whole again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Whether it fires.
    pub state: ScheduleState,
    /// 1, and one more with each change.
    pub version: u64,
    /// What was asked for, secrets masked.
    pub spec: ScheduleSpec,
    /// The next due time, and when it fires for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Due>,
    /// It should have fired longer ago than its tolerance, and did not.
    pub overdue: bool,
    /// It was imported from a crontab, and somebody changed it since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edited: bool,
    /// Due times of the last 24 hours that were recorded as missed.
    pub missed: u64,
    /// Due times that made a job.
    pub runs: u64,
    /// The job of its newest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<RunView>,
    /// Who paused it, when and why; absent where it is not paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseView>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// Who made it, or changed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Which page of schedules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SchedulesQuery {
    /// 1 to 500; 50 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A page of schedules.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SchedulePage {
    /// Version of the format: 1.
    pub v: u32,
    /// By id.
    pub schedules: Vec<ScheduleView>,
    /// Cursor of the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One schedule.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScheduleAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// The schedule.
    pub schedule: ScheduleView,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleChanged {
    /// It was made.
    Created,
    /// It is another now.
    Changed,
    /// It was so already.
    Unchanged,
    /// It is gone.
    Removed,
}

impl ScheduleChanged {
    /// The name as JSON has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
        }
    }
}

/// Of a dry run: what would be.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScheduleChangeAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// Its id.
    pub id: Name,
    /// What became of it.
    pub change: ScheduleChanged,
    /// Nothing was changed: this is what would be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Its version afterwards.
    pub version: u64,
    /// What differs from before, secrets masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// The next due time; absent where none is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Due>,
    /// Done, but something looks wrong: no live worker has such a handler, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A schedule as it should be: made where it is not there, changed where it is another.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutScheduleRequest {
    /// The schedule as it should be.
    #[serde(deserialize_with = "crate::json::object")]
    pub spec: ScheduleSpec,
    /// Only if it stands at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Only say what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Who asks, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What is named is changed, the rest stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetScheduleRequest {
    /// What to change.
    #[serde(default)]
    pub change: SpecChange,
    /// Only if it stands at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Only say what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Who asks, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Which version to remove.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RemoveScheduleQuery {
    /// Only if it stands at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// To pause, resume or trigger: by whom, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleOrder {
    /// Why, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who asks, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A run that a person started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TriggerAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// Its id.
    pub id: Name,
    /// The run, beside the due times.
    pub job: JobId,
}

/// Run the due times of a stretch that made no job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillRequest {
    /// The first due time that counts.
    pub from: Timestamp,
    /// The last one; now if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Only say what would run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Who asks, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A due time that runs now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Backfilled {
    /// The due time.
    pub slot: Timestamp,
    /// None in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
}

/// What a backfill ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BackfillAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// Its id.
    pub id: Name,
    /// Nothing was changed: this is what would be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Oldest first.
    pub runs: Vec<Backfilled>,
    /// Due times of the stretch that had run before.
    pub ran_before: u64,
}

/// Which rows of the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SlotsQuery {
    /// Only those that were missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<bool>,
    /// 1 to 500; 50 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Timestamp>,
}

/// A page of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SlotPage {
    /// Version of the format: 1.
    pub v: u32,
    /// Its id.
    pub id: Name,
    /// Newest first.
    pub slots: Vec<Slot>,
    /// Cursor of the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
}

/// Schedules in the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScheduleCounts {
    /// Due times of the last 24 hours that were recorded as missed.
    pub missed: u64,
    /// Schedules that should have fired longer ago than their tolerance, and did not.
    pub overdue: u64,
}
