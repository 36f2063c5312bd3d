//! Operations over HTTP: a cancel, retry or deletion of many jobs that the leader carries out batch by batch.
//!
//! An operation selects jobs by a filter or by ids. It reaches them in the order of their ids, up to the last
//! job that existed at its start, and changes each job that matches when it is reached, once.

use serde::{Deserialize, Serialize};

use super::StatusCounts;
use super::jobs::Count;
use crate::ids::{JobId, Name, OperationId};
use crate::names;
use crate::status::JobStatus;
use crate::time::Timestamp;

names! {
    /// What an operation does to each job.
    #[derive(utoipa::ToSchema)]
    pub enum OperationAction {
        /// Cancels jobs that have not ended.
        Cancel = "cancel",
        /// Runs ended jobs again, with a new budget of retries.
        Retry = "retry",
        /// Deletes ended jobs with their logs, attempts, keys and dead letters.
        Remove = "rm",
        /// Deletes the dead letters of jobs; the jobs stay.
        RemoveDeadLetters = "rm_dead_letters",
    }
}

impl OperationAction {
    /// The statuses of the jobs that it can change.
    #[must_use]
    pub fn statuses(self) -> Vec<JobStatus> {
        let ended = self != Self::Cancel;
        JobStatus::ALL.into_iter().filter(|status| status.is_final() == ended).collect()
    }

    /// The past participle, for people: `cancelled`.
    #[must_use]
    pub fn done(self) -> &'static str {
        match self {
            Self::Cancel => "cancelled",
            Self::Retry => "retried",
            Self::Remove => "deleted",
            Self::RemoveDeadLetters => "removed the dead letters of",
        }
    }
}

names! {
    /// How far an operation is.
    #[derive(utoipa::ToSchema)]
    pub enum OperationStatus {
        /// Changes jobs, or waits for its turn.
        Running = "running",
        /// Reached its last job.
        Done = "done",
        /// A person or program cancelled it; the jobs that it had not reached are unchanged.
        Cancelled = "cancelled",
        /// It cannot go on; `problem` states why.
        Failed = "failed",
    }
}

/// An operation to start. It needs `ids` or a `filter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationRequest {
    /// What to do.
    pub action: OperationAction,
    /// These jobs, at most 100000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<JobId>,
    /// All jobs that match this filter and whose status allows the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Time zone of wall-clock times in the filter; UTC if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
    /// With a filter: only jobs with a dead letter. An empty filter then selects every dead letter.
    #[serde(default)]
    pub dead: bool,
    /// For a cancel only: do not wait for the workers.
    #[serde(default)]
    pub force: bool,
    /// Dry run: store and change nothing, and report what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Start nothing if more than this many jobs would change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_affected: Option<u64>,
    /// Change at most this many jobs a second, 1 to 100000; without it, as fast as the store allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// The reason, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who sends the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Idempotency key: a repeated request with it returns the same operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl OperationRequest {
    /// An action without jobs yet.
    #[must_use]
    pub fn new(action: OperationAction) -> Self {
        Self {
            action,
            ids: Vec::new(),
            filter: None,
            tz: None,
            dead: false,
            force: false,
            dry_run: false,
            max_affected: None,
            rate: None,
            reason: None,
            by: None,
            key: None,
        }
    }
}

/// The answer to a started operation, or to its dry run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperationAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// A dry run: nothing was stored or changed.
    pub dry_run: bool,
    /// Jobs that would change as of now. With ids, those that exist and whose status allows the action.
    pub matched: Count,
    /// With a dry run: `matched` by status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_status: Option<StatusCounts>,
    /// With a dry run: the first of these jobs, at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<OperationExample>,
    /// The operation; absent after a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationView>,
}

/// One job that an operation would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperationExample {
    /// The job.
    pub id: JobId,
    /// Its type.
    pub name: Name,
    /// Its queue.
    pub queue: Name,
    /// Its status.
    pub status: JobStatus,
}

/// Jobs that an operation reached and left as they were, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LeftAlone {
    /// They had already ended.
    pub already_ended: u64,
    /// They have not ended; for dead letters: they have none.
    pub not_ended: u64,
    /// They do not exist.
    pub not_found: u64,
    /// They have ended, but their ends have not reached the jobs that wait for them.
    pub in_use: u64,
}

impl LeftAlone {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.already_ended + self.not_ended + self.not_found + self.in_use
    }
}

/// An operation as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperationView {
    /// Version of the format: 1.
    pub v: u32,
    /// Its id.
    pub id: OperationId,
    /// What it does.
    pub action: OperationAction,
    /// How far it is.
    pub status: OperationStatus,
    /// The filter that selects its jobs; absent if it names ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Only jobs with a dead letter.
    #[serde(default)]
    pub dead: bool,
    /// It does not wait for the workers.
    #[serde(default)]
    pub force: bool,
    /// Jobs that it changes a second, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Jobs that would have changed as of its start.
    pub matched: Count,
    /// Jobs that it changed.
    pub changed: u64,
    /// Those of `changed` whose cancel was requested: the end of each attempt decides.
    pub stopping: u64,
    /// Jobs that it reached and left as they were.
    pub left_alone: LeftAlone,
    /// The last job that it can reach: later ones did not exist at its start.
    pub upto: JobId,
    /// It has reached all its jobs up to this id.
    pub reached: JobId,
    /// When it started.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Who cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The token of who started it, by its note or id.
    pub token: String,
    /// The address of who started it; absent for one from within the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The person, as the request names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The reason, as the request gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which operations to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OperationsQuery {
    /// Most rows of the page: 1 to 500, default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Cursor: `next` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<OperationId>,
}

/// A page of operations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperationPage {
    /// Version of the format: 1.
    pub v: u32,
    /// The operations, newest first. They are stored for 30 days after their end.
    pub operations: Vec<OperationView>,
    /// Cursor of the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<OperationId>,
}
