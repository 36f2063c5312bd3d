//! The record of changes over HTTP: who changed what, from where, and why.

use serde::{Deserialize, Serialize};

use crate::names;
use crate::time::Timestamp;

names! {
    /// What was done.
    #[derive(utoipa::ToSchema)]
    pub enum AuditAction {
        /// Jobs were cancelled, or their cancel was requested.
        CancelJobs = "cancel_jobs",
        /// Jobs were cancelled without waiting for their workers.
        ForceCancelJobs = "force_cancel_jobs",
        /// Ended jobs were retried.
        RetryJobs = "retry_jobs",
        /// Jobs of dead letters were retried.
        RetryDeadLetters = "retry_dead_letters",
        /// Dead letters were deleted.
        DeleteDeadLetters = "delete_dead_letters",
        /// Ended jobs were deleted.
        DeleteJobs = "delete_jobs",
        /// An operation over many jobs started.
        StartOperation = "start_operation",
        /// An operation over many jobs ended, or was cancelled.
        EndOperation = "end_operation",
        /// Workers were drained.
        DrainWorkers = "drain_workers",
        /// Workers were resumed.
        ResumeWorkers = "resume_workers",
        /// Workers were fenced.
        FenceWorkers = "fence_workers",
        /// A queue was paused.
        PauseQueue = "pause_queue",
        /// A queue was resumed.
        ResumeQueue = "resume_queue",
        /// A schedule was added.
        AddSchedule = "add_schedule",
        /// A schedule was changed.
        ChangeSchedule = "change_schedule",
        /// A schedule was removed.
        RemoveSchedule = "remove_schedule",
        /// A schedule was paused.
        PauseSchedule = "pause_schedule",
        /// A schedule was resumed.
        ResumeSchedule = "resume_schedule",
        /// A schedule ran at a person's request.
        TriggerSchedule = "trigger_schedule",
        /// Past slots of a schedule ran.
        BackfillSchedule = "backfill_schedule",
        /// The leader was asked to step down.
        StepDown = "step_down",
        /// A node was drained.
        DrainNode = "drain_node",
        /// A drained node was resumed.
        ResumeNode = "resume_node",
        /// A token was created.
        CreateToken = "create_token",
        /// Tokens were revoked.
        RevokeTokens = "revoke_tokens",
    }
}

/// Which records to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Most rows of the page: 1 to 500, default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Cursor: `next` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
    /// Only this action, such as `pause_queue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// Grows with each change.
    pub id: u64,
    /// When it was made.
    pub at: Timestamp,
    /// What was done: a name such as `pause_queue`.
    pub action: String,
    /// What it was done to: names or ids, or a filter.
    pub object: String,
    /// How many objects changed.
    pub changed: u64,
    /// The token of the caller, by its note or id.
    pub token: String,
    /// The address of the caller; absent for a change from within the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The person, as the request names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The reason, as the request gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A page of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditPage {
    /// Version of the format: 1.
    pub v: u32,
    /// The changes, newest first. They are stored for 90 days, and 100000 at most.
    pub entries: Vec<AuditEntry>,
    /// Cursor of the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}
