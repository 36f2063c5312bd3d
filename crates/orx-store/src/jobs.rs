//! Jobs in a store: enqueue, read, list, count, cancel and retry.

use async_trait::async_trait;
use orx_model::filter::Filter;
use orx_model::wire::{Count, StatusCounts};
use orx_model::{
    Attempt, ExecutionId, Incarnation, Job, JobId, JobStatus, JobSummary, Name, NewJob, Timestamp,
};

use crate::Result;

/// The result of one job of [`Jobs::enqueue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// The store accepted the job.
    New {
        /// The id that the store assigned.
        id: JobId,
        /// Pending or scheduled.
        status: JobStatus,
    },
    /// A job with this key and the same request exists. Nothing was accepted.
    Existing {
        /// The job that holds the key.
        id: JobId,
        /// The current status of that job.
        status: JobStatus,
    },
    /// A job with this key and another request exists. Nothing was accepted.
    KeyConflict {
        /// The job that holds the key.
        id: JobId,
        /// The current status of that job.
        status: JobStatus,
        /// Hash of the request of that job.
        hash: Option<String>,
    },
}

/// One page of a list of jobs, in the order of ids.
#[derive(Debug, Clone)]
pub struct ListRequest {
    /// Only jobs that match.
    pub filter: Filter,
    /// The order of the list: newest first unless this is set.
    pub oldest_first: bool,
    /// The last id of the previous page.
    pub after: Option<JobId>,
    /// Rows of the page, at most.
    pub limit: u32,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// At most as many as requested.
    pub rows: Vec<T>,
    /// The id of the last row, where more rows may follow it.
    pub next: Option<JobId>,
}

/// A request to cancel one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelCommand {
    /// The job to cancel.
    pub id: JobId,
    /// Free text of the requester.
    pub reason: Option<String>,
    /// The requester.
    pub by: Option<String>,
    /// Records a job that a worker holds as cancelled at once; a later report of its attempt is stale.
    pub force: bool,
    /// Cancels the job only if it is in this status.
    pub expected: Option<JobStatus>,
}

/// The result of one [`CancelCommand`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelAnswer {
    /// The job was waiting, or the cancel was forced. It is cancelled.
    Cancelled {
        /// The execution that its worker has to stop, where the job was forced off a worker.
        stop: Option<(Incarnation, ExecutionId)>,
    },
    /// The request is recorded, now or by an earlier cancel. The attempt's end decides the status.
    Cancelling {
        /// The worker that holds the job.
        worker: Incarnation,
        /// The execution that the worker has to stop.
        execution: ExecutionId,
        /// Dispatched or running.
        status: JobStatus,
    },
    /// The job had ended. Nothing was changed.
    AlreadyFinal {
        /// The status that it ended in.
        status: JobStatus,
    },
    /// The job is not in [`CancelCommand::expected`]. Nothing was changed.
    NotInState {
        /// The current status.
        status: JobStatus,
    },
    /// The store has no job with this id.
    Missing,
}

/// The result of one job of [`Jobs::retry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAnswer {
    /// The job is pending again, with a new retry budget and without its dead letter. Its attempt
    /// numbers continue.
    Retried,
    /// The job has not ended. Nothing was changed.
    NotInState {
        /// The current status.
        status: JobStatus,
    },
    /// The store has no job with this id.
    Missing,
}

/// The result of one job of [`Jobs::delete_jobs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteAnswer {
    /// The job is deleted, with its attempts, log, result, key and dead letter.
    Deleted,
    /// The job has not ended, or is not in the expected status. Nothing was changed.
    NotInState {
        /// The current status.
        status: JobStatus,
    },
    /// The job has ended, but the jobs that wait for its end have not been released yet, or it depends on
    /// unfinished jobs itself. Nothing was changed.
    InUse {
        /// The current status.
        status: JobStatus,
    },
    /// The store has no job with this id.
    Missing,
}

/// Accepts, reads, cancels, retries and deletes jobs.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Durable. Results are in the order of `jobs`; ids ascend in that order. With `run_at` after
    /// `now` the job is scheduled, else pending with `run_at = now`. A key that occurs twice in one
    /// batch counts as if it came in two batches.
    async fn enqueue(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Enqueued>>;

    /// Returns [`Job::unreadable`] in place of a job whose row cannot be read, as lists do.
    async fn job(&self, id: JobId) -> Result<Option<Job>>;

    /// Returns each existing job once, in the order of ids. Whole jobs may be large: pass at most a
    /// page of ids.
    async fn jobs(&self, ids: Vec<JobId>) -> Result<Vec<Job>>;

    /// The job that holds this key.
    async fn job_by_key(&self, key: &str) -> Result<Option<Job>>;

    /// Oldest first, the live one last. Empty for an unknown job.
    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>>;

    /// Ages in the filter count back from `now`. A page ends before it exceeds [`PAGE_BYTES`], but
    /// has at least one row.
    ///
    /// # Errors
    /// [`StoreError::TooBroad`] if the filter has to read too many rows for one page.
    ///
    /// [`PAGE_BYTES`]: orx_model::limits::PAGE_BYTES
    /// [`StoreError::TooBroad`]: crate::StoreError::TooBroad
    async fn list(&self, request: ListRequest, now: Timestamp) -> Result<Page<JobSummary>>;

    /// Counts up to `most`; where more match, returns `most`, marked as inexact.
    ///
    /// # Errors
    /// As [`Self::list`].
    async fn count(&self, filter: Filter, most: u64, now: Timestamp) -> Result<Count>;

    /// Jobs by queue and status, for every queue that ever had a job, ordered by name.
    async fn queue_counts(&self) -> Result<Vec<(Name, StatusCounts)>>;

    /// When the longest-waiting pending job of each queue became due.
    async fn oldest_due(&self) -> Result<Vec<(Name, Timestamp)>>;

    /// Durable. Results are in the order of `cancels`. After `Cancelled` the job never starts again,
    /// unless a person retries it.
    async fn cancel(
        &self,
        cancels: Vec<CancelCommand>,
        now: Timestamp,
    ) -> Result<Vec<CancelAnswer>>;

    /// Durable. Makes final jobs pending again, at a person's request. Results are in the order of
    /// `ids`.
    async fn retry(&self, ids: Vec<JobId>, now: Timestamp) -> Result<Vec<RetryAnswer>>;

    /// Durable. Deletes final jobs at a person's request, with dead letters and keys: unlike after a prune, a
    /// new job can take the key. Only jobs in the `expected` status, if there is one. Results are in the order
    /// of `ids`.
    async fn delete_jobs(
        &self,
        ids: Vec<JobId>,
        expected: Option<JobStatus>,
    ) -> Result<Vec<DeleteAnswer>>;
}
