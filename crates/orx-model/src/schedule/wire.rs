//! Schedules over HTTP.

use serde::{Deserialize, Serialize};

use super::{Due, FieldChange, ScheduleSpec, Slot, SpecChange};
use crate::ids::{JobId, Name};
use crate::names;
use crate::status::JobStatus;
use crate::time::Timestamp;

/// Paths; `{schedule}` is an id.
pub mod path {
    /// Create a schedule, or list schedules.
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

names! {
    /// Whether a schedule fires.
    #[derive(utoipa::ToSchema)]
    pub enum ScheduleState {
        /// It fires at its due times.
        Active = "active",
        /// It does not fire until it is resumed.
        Paused = "paused",
        /// It has ended: no due time is left.
        Ended = "ended",
    }
}

/// Who paused a schedule or a queue, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PauseView {
    /// When it was paused.
    pub at: Timestamp,
    /// The reason, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who sent the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A run of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RunView {
    /// Its job.
    pub job: JobId,
    /// Status of the job; absent once the job was pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
}

/// The state of a schedule. Secrets in its job are masked.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScheduleView {
    /// Its id.
    pub id: Name,
    /// Why its stored record cannot be read, for example because a newer version wrote it. It does not
    /// fire, and `spec` is a placeholder; creating it again under its id repairs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Whether it fires.
    pub state: ScheduleState,
    /// Version, from 1, increased with each change.
    pub version: u64,
    /// The request, secrets masked.
    pub spec: ScheduleSpec,
    /// The next due time and its firing time; absent where none is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Due>,
    /// Whether its firing time is past by more than its tolerance.
    pub overdue: bool,
    /// Whether it was changed after its import from a crontab.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edited: bool,
    /// Number of due times in the last 24 hours that were recorded as missed.
    pub missed: u64,
    /// Number of due times that created a job.
    pub runs: u64,
    /// The job of its newest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<RunView>,
    /// Who paused it, when and why; absent where it is not paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseView>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who created or last changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The page of schedules to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SchedulesQuery {
    /// Most rows of the page: 1 to 500, default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Cursor: `next` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A page of schedules.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SchedulePage {
    /// Version of the format: 1.
    pub v: u32,
    /// The schedules, by id.
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

names! {
    /// The kind of a change.
    #[derive(utoipa::ToSchema)]
    pub enum ScheduleChanged {
        /// The schedule was created.
        Created = "created",
        /// The schedule was changed.
        Changed = "changed",
        /// The schedule was already as requested.
        Unchanged = "unchanged",
        /// The schedule was removed.
        Removed = "removed",
    }
}

/// The result of a change; for a dry run, what would change.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScheduleChangeAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// Its id.
    pub id: Name,
    /// The kind of the change.
    pub change: ScheduleChanged,
    /// A dry run: nothing was changed, and the rest states what would be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Its version after the change.
    pub version: u64,
    /// The differences, secrets masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// The next due time; absent where none is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Due>,
    /// Problems that do not prevent the change, such as no live worker with its handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A schedule to create, or to change where it exists and differs.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutScheduleRequest {
    /// The schedule.
    #[serde(deserialize_with = "crate::json::object")]
    pub spec: ScheduleSpec,
    /// Only if its version is this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Dry run: change nothing and report what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Who sends the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A partial change of a schedule.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetScheduleRequest {
    /// The change.
    #[serde(default)]
    pub change: SpecChange,
    /// Only if its version is this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Dry run: change nothing and report what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Who sends the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Options for removing a schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RemoveScheduleQuery {
    /// Only if its version is this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// The sender and reason of a pause, resume or trigger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleOrder {
    /// The reason, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who sends the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The result of a manual run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TriggerAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// Its id.
    pub id: Name,
    /// The run, which belongs to no due time.
    pub job: JobId,
}

/// A backfill: runs the due times in a range that created no job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillRequest {
    /// Start of the range, inclusive.
    pub from: Timestamp,
    /// End of the range, inclusive; now if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Dry run: run nothing and report what would run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Who sends the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A due time that a backfill runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Backfilled {
    /// The due time.
    pub slot: Timestamp,
    /// Its job; absent in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
}

/// The result of a backfill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BackfillAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// Its id.
    pub id: Name,
    /// A dry run: nothing was changed, and the rest states what would be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// The due times, oldest first.
    pub runs: Vec<Backfilled>,
    /// Number of due times in the range that had run before.
    pub ran_before: u64,
}

/// The rows of the ledger to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SlotsQuery {
    /// Only missed slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<bool>,
    /// Most rows of the page: 1 to 500, default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Cursor: `next` of the previous page.
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
    /// The rows, newest first.
    pub slots: Vec<Slot>,
    /// Cursor of the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
}

/// Totals over all schedules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScheduleCounts {
    /// Number of due times in the last 24 hours that were recorded as missed.
    pub missed: u64,
    /// Number of schedules whose firing time is past by more than their tolerance.
    pub overdue: u64,
}
