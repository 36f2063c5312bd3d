//! The source of truth: jobs, attempts, logs, schedules, workers, nodes, the leader's lease, dead
//! letters and tokens.
//!
//! Depends on `orx-model` and `orx-schedule` only. Knows no transport, no coordinator and no HTTP.
//!
//! The methods are operations of the domain. Each takes a batch and is one transaction. A stale item
//! of a batch is a return value, not an error, and never fails the other items. No method returns a
//! row for the caller to change and save: every change of a status is a compare-and-set inside the
//! store that follows [`orx_model::next`].
//!
//! **Durability.** A *durable* method returns once the change is synced to disk; no crash of the
//! process, the machine or its power loses the change afterwards. An *advisory* method (claims,
//! starts, progress, logs, workers) returns once the change is visible; the store syncs it within
//! [`ADVISORY_SYNC`]. A lost advisory change costs a repeated attempt or report, never a job.
//!
//! **Leading.** A *leader-only* method takes the leader's [`Term`] and compares it in the same
//! transaction as the change. With the term of a former leader it changes nothing and returns
//! [`StoreError::Deposed`].
//!
//! **Time.** `now` is the caller's clock. Where several machines share a store, the store's own clock
//! measures leases and the silence of workers and nodes.
//!
//! **Order.** A call sees every change that an earlier awaited call on the same store made.
//! Concurrent calls take effect in any order, except that calls of one task to one batching method
//! (enqueue, outcomes, logs, starts, progress) take effect in the order in which they were sent.
//!
//! **Errors.** Every async method can return [`StoreError::Unavailable`], [`StoreError::Full`],
//! [`StoreError::Busy`], [`StoreError::Unknown`], [`StoreError::Failed`], [`StoreError::Closed`] and
//! [`StoreError::Backend`]. A method documents the errors that it returns beyond these.

mod audit;
mod budget;
mod cause_groups;
mod codec;
mod columns;
mod dead_letters;
mod dispatching;
mod error;
mod filter_pushdown;
mod jobs;
mod lane_merge;
#[cfg(test)]
mod lane_merge_tests;
mod leases;
mod logs;
mod memory;
mod operations;
mod postgres;
mod prepared_firing;
mod prepared_job;
mod queues;
mod schedules;
mod sqlite;
mod tokens;
mod transfer;
mod upkeep;
mod walk;
mod workers;

use std::time::Duration;

use orx_model::job::Labels;

pub use audit::{AUDIT_FOR, AUDIT_MOST, Audit, AuditRecord, AuditRequest};
pub use dead_letters::{CauseRow, CausesPage, CausesRequest, DeadLetterRow, DeadLetters};
pub use dispatching::{
    CLAIM_MOST, ClaimRequest, Claimed, Claims, Dispatching, Holder, Live, Promoted, Recorded,
};
pub use error::StoreError;
pub use jobs::{
    CancelAnswer, CancelCommand, DeleteAnswer, Enqueued, Jobs, ListRequest, Page, RetryAnswer,
};
pub use leases::{Lead, LeadRequest, Leases, NodeRecord, NodeReport, Term};
pub use logs::{LogRequest, Logs, LogsRequest};
pub use memory::{Memory, Transition};
pub use operations::{
    AddedOperation, BatchAnswer, BatchOutcome, BatchedJob, NewOperation, OperationBatch,
    OperationEnd, OperationRecord, Operations, Target,
};
pub use postgres::{Postgres, PostgresOptions};
pub use queues::Queues;
pub use schedules::{
    Dependency, ExpectedVersion, Fired, Firing, FollowUp, LastRun, Outlook, Paused, Position,
    Release, Released, Rewind, Run, RunAfter, RunAlert, SLOTS_KEPT, SchedulePlan, ScheduleRecord,
    ScheduleUpdate, Schedules, SlotRequest, Templates,
};
pub use sqlite::{Sqlite, SqliteOptions, sqlite_store_id};
pub use tokens::{TokenRecord, Tokens};
pub use transfer::{Home, JobExport, RetainedKey, RowCounts, StoreCopy};
pub use upkeep::{ClockJump, ClockNote, PruneRequest, Pruned, StoreInfo, Upkeep};
pub use workers::{WorkerPut, WorkerRecord, WorkerRemoval, WorkerReport, Workers};

/// The store syncs an advisory change to disk within this time.
pub const ADVISORY_SYNC: Duration = Duration::from_secs(1);

/// A write without a result after this time returns [`StoreError::Unknown`]. The write takes effect
/// within this time, or never.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// What a power loss, or a crash of the database, may lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// No change of a durable method that returned.
    #[default]
    Full,
    /// The last moments before the power loss. A crash of this process alone loses nothing.
    Relaxed,
}

/// The result of every store method.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Every capability that the daemons need of a store.
pub trait Store:
    Jobs
    + Queues
    + Dispatching
    + Schedules
    + Logs
    + Workers
    + Leases
    + DeadLetters
    + Tokens
    + Audit
    + Operations
    + StoreCopy
    + Upkeep
{
}

impl<T> Store for T where
    T: Jobs
        + Queues
        + Dispatching
        + Schedules
        + Logs
        + Workers
        + Leases
        + DeadLetters
        + Tokens
        + Audit
        + Operations
        + StoreCopy
        + Upkeep
{
}

/// The text that identifies the labels of a lane in a store: JSON with sorted keys.
pub(crate) fn labels_key(labels: &Labels) -> String {
    serde_json::to_string(labels).unwrap_or_default()
}
