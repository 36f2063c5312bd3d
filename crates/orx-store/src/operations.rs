//! Operations over many jobs in a store: their rows, and the batches in which the leader carries them out.

use async_trait::async_trait;
use orx_model::wire::{Count, LeftAlone, OperationAction, OperationStatus};
use orx_model::{
    ExecutionId, Incarnation, JobId, JobStatus, OperationId, Timestamp, limits, names,
};

use crate::{CancelAnswer, DeleteAnswer, Result, RetryAnswer, Term};

/// An operation to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOperation {
    /// What it does to each job.
    pub action: OperationAction,
    /// The filter that selects its jobs. `None`: it names `ids`.
    pub filter: Option<String>,
    /// Time zone of wall-clock times in the filter.
    pub zone: Option<String>,
    /// The jobs, without a filter. Each once, in the order of ids.
    pub ids: Vec<JobId>,
    /// Only jobs with a dead letter.
    pub dead: bool,
    /// A cancel that does not wait for workers.
    pub force: bool,
    /// Jobs to change a second, at most.
    pub rate: Option<u32>,
    /// Jobs that would change now.
    pub matched: Count,
    /// Free text of the requester.
    pub reason: Option<String>,
    /// The person, as the request names them.
    pub person: Option<String>,
    /// The token of the requester, by its note or id.
    pub token: String,
    /// The address of the requester.
    pub address: Option<String>,
    /// Idempotency key, and the hash of the request.
    pub key: Option<(String, String)>,
}

/// The result of [`Operations::add_operation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddedOperation {
    /// The operation was added, and runs.
    New(OperationRecord),
    /// An operation with this key and the same request exists. Nothing was added.
    Existing(OperationRecord),
    /// An operation with this key and another request exists. Nothing was added.
    KeyConflict(OperationId),
}

/// An operation as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRecord {
    /// Its id.
    pub id: OperationId,
    /// What it does to each job.
    pub action: OperationAction,
    /// The filter that selects its jobs. `None`: it names ids, see [`Operations::operation_targets`].
    pub filter: Option<String>,
    /// Time zone of wall-clock times in the filter.
    pub zone: Option<String>,
    /// Only jobs with a dead letter.
    pub dead: bool,
    /// A cancel that does not wait for workers.
    pub force: bool,
    /// Jobs to change a second, at most.
    pub rate: Option<u32>,
    /// Jobs that would have changed at its start.
    pub matched: Count,
    /// The last job that it can reach: later ones did not exist at its start.
    pub upto: JobId,
    /// It has reached all its jobs up to this one.
    pub cursor: JobId,
    /// How far it is.
    pub status: OperationStatus,
    /// Jobs that it changed.
    pub changed: u64,
    /// Those of `changed` that it only asked their workers to stop.
    pub stopping: u64,
    /// Jobs that it reached and left as they were.
    pub left: LeftAlone,
    /// Free text of the requester.
    pub reason: Option<String>,
    /// The person, as the request names them.
    pub person: Option<String>,
    /// The token of the requester.
    pub token: String,
    /// The address of the requester.
    pub address: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// Who cancelled it.
    pub ended_by: Option<String>,
    /// When it started.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A job of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The job.
    pub job: JobId,
    /// The status in which the filter matched it. `None`: the operation names it by its id.
    pub seen: Option<JobStatus>,
}

/// The next jobs of an operation, to change in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationBatch {
    /// The operation, as read last.
    pub operation: OperationRecord,
    /// Its next jobs, in the order of ids, at most [`limits::OPERATION_BATCH`].
    pub jobs: Vec<Target>,
    /// Between the cursor and this id, the operation has no other jobs.
    pub upto: JobId,
    /// Log chunks to delete, at least 1, at most this many.
    pub chunks: u32,
}

names! {
    /// What a batch did to one job.
    pub enum BatchOutcome {
        /// Cancelled, retried, or deleted.
        Changed = "changed",
        /// Its worker was asked to stop it.
        Stopping = "stopping",
        /// Left as it was: it had already ended.
        AlreadyEnded = "already_ended",
        /// Left as it was: it has not ended, or has no dead letter.
        NotEnded = "not_ended",
        /// It does not exist.
        NotFound = "not_found",
        /// Left as it was: its end has not been followed up.
        InUse = "in_use",
    }
}

/// One job that a batch reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchedJob {
    /// The job.
    pub job: JobId,
    /// What became of it.
    pub outcome: BatchOutcome,
    /// The worker and execution that held it before the batch.
    pub held: Option<(Incarnation, ExecutionId)>,
}

/// The result of [`Operations::run_batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchAnswer {
    /// The batch is done, up to the cursor of the operation.
    Done {
        /// The operation afterwards.
        operation: Box<OperationRecord>,
        /// The jobs that the batch reached, in the order of ids.
        jobs: Vec<BatchedJob>,
    },
    /// The operation has ended, or has another cursor. Nothing was changed.
    Stale,
}

/// Adds, reads and carries out operations over many jobs.
#[async_trait]
pub trait Operations: Send + Sync {
    /// Durable. The operation runs, and can reach the jobs that exist now.
    async fn add_operation(&self, new: NewOperation, now: Timestamp) -> Result<AddedOperation>;

    /// One operation.
    async fn operation(&self, id: OperationId) -> Result<Option<OperationRecord>>;

    /// Newest first, with ids below `before`.
    async fn operations(
        &self,
        before: Option<OperationId>,
        limit: u32,
    ) -> Result<Vec<OperationRecord>>;

    /// The operations that run, oldest first.
    async fn running_operations(&self, limit: u32) -> Result<Vec<OperationRecord>>;

    /// The next ids above `after` of an operation without a filter, in order: at most
    /// [`limits::OPERATION_BATCH`], and none at the end.
    async fn operation_targets(&self, id: OperationId, after: JobId) -> Result<Vec<JobId>>;

    /// Leader only. Durable. Changes the jobs of a batch in their order, and moves the cursor of the
    /// operation in the same transaction. Stops before the first job that is no longer in the status in which
    /// the filter matched it: the next batch matches it again. An operation that reaches its last job is done.
    async fn run_batch(
        &self,
        batch: OperationBatch,
        now: Timestamp,
        term: Term,
    ) -> Result<BatchAnswer>;

    /// Durable. Ends an operation that runs; nothing changes by it afterwards. Returns the operation and
    /// whether this call ended it.
    async fn end_operation(
        &self,
        id: OperationId,
        end: OperationEnd,
        now: Timestamp,
    ) -> Result<Option<(OperationRecord, bool)>>;

    /// Leader only. Durable. Deletes operations that ended before a time, and the oldest that ended beyond
    /// [`limits::OPERATIONS_KEPT`], at most `limit`; returns how many.
    async fn forget_operations(
        &self,
        ended_before: Timestamp,
        limit: u32,
        term: Term,
    ) -> Result<u64>;
}

/// An end of an operation before its last job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationEnd {
    /// A person or program cancelled it.
    Cancelled {
        /// Who did.
        by: String,
    },
    /// It cannot go on.
    Failed {
        /// Why.
        error: String,
    },
}

impl OperationEnd {
    /// The status, the error and the person that it leaves.
    pub(crate) fn parts(&self) -> (OperationStatus, Option<&str>, Option<&str>) {
        match self {
            Self::Cancelled { by } => (OperationStatus::Cancelled, None, Some(by)),
            Self::Failed { error } => (OperationStatus::Failed, Some(error), None),
        }
    }
}

impl NewOperation {
    /// The record of a new operation.
    pub(crate) fn record(self, id: OperationId, upto: JobId, now: Timestamp) -> OperationRecord {
        OperationRecord {
            id,
            action: self.action,
            filter: self.filter,
            zone: self.zone,
            dead: self.dead,
            force: self.force,
            rate: self.rate,
            matched: self.matched,
            upto,
            cursor: JobId(0),
            status: OperationStatus::Running,
            changed: 0,
            stopping: 0,
            left: LeftAlone::default(),
            reason: self.reason,
            person: self.person,
            token: self.token,
            address: self.address,
            error: None,
            ended_by: None,
            created_at: now,
            ended_at: None,
        }
    }
}

impl CancelAnswer {
    pub(crate) fn outcome(self) -> BatchOutcome {
        match self {
            Self::Cancelled { .. } => BatchOutcome::Changed,
            Self::Cancelling { .. } => BatchOutcome::Stopping,
            Self::AlreadyFinal { .. } | Self::NotInState { .. } => BatchOutcome::AlreadyEnded,
            Self::Missing => BatchOutcome::NotFound,
        }
    }
}

impl RetryAnswer {
    pub(crate) fn outcome(self) -> BatchOutcome {
        match self {
            Self::Retried => BatchOutcome::Changed,
            Self::NotInState { .. } => BatchOutcome::NotEnded,
            Self::Missing => BatchOutcome::NotFound,
        }
    }
}

impl DeleteAnswer {
    pub(crate) fn outcome(self) -> BatchOutcome {
        match self {
            Self::Deleted => BatchOutcome::Changed,
            Self::NotInState { .. } => BatchOutcome::NotEnded,
            Self::InUse { .. } => BatchOutcome::InUse,
            Self::Missing => BatchOutcome::NotFound,
        }
    }
}

impl OperationRecord {
    /// What it did, for the record of changes.
    #[must_use]
    pub fn summary(&self) -> String {
        let Self { id, action, status, changed, left, .. } = self;
        format!("{id} {action}: {status}, changed {changed}, left alone {}", left.total())
    }

    /// Who cancels its jobs, for people.
    pub(crate) fn by(&self) -> Option<String> {
        self.person.clone().or_else(|| Some(self.token.clone()))
    }

    /// Counts the jobs of a batch, moves the cursor, and ends the operation at its last job.
    pub(crate) fn advance(&mut self, jobs: &[BatchedJob], cursor: JobId, now: Timestamp) {
        for job in jobs {
            match job.outcome {
                BatchOutcome::Changed => self.changed += 1,
                BatchOutcome::Stopping => {
                    (self.changed, self.stopping) = (self.changed + 1, self.stopping + 1)
                }
                BatchOutcome::AlreadyEnded => self.left.already_ended += 1,
                BatchOutcome::NotEnded => self.left.not_ended += 1,
                BatchOutcome::NotFound => self.left.not_found += 1,
                BatchOutcome::InUse => self.left.in_use += 1,
            }
        }
        self.cursor = cursor;
        if cursor >= self.upto {
            (self.status, self.ended_at) = (OperationStatus::Done, Some(now));
        }
    }
}

/// Ids in pieces of at most a batch: the last id of each, and the ids as text. A piece is a row, so that the
/// ids of an operation are few rows to write, to read and to delete.
pub(crate) fn pieces(ids: &[JobId]) -> Vec<(i64, String)> {
    let piece = |ids: &[JobId]| {
        let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        (ids.last().map_or(0, |id| id.0), texts.join(","))
    };
    ids.chunks(limits::OPERATION_BATCH).map(piece).collect()
}

/// The ids of a piece that follow an id. An unreadable one is skipped.
pub(crate) fn targets_after(piece: Option<&str>, after: JobId) -> Vec<JobId> {
    let ids = piece.unwrap_or_default().split(',').filter_map(|id| id.parse().ok());
    ids.filter(|id| *id > after).collect()
}
