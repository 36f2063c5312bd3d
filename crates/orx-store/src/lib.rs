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
//! **Errors.** Every async method can return [`StoreError::Away`], [`StoreError::Full`],
//! [`StoreError::Busy`], [`StoreError::Unknown`], [`StoreError::Failed`], [`StoreError::Closed`] and
//! [`StoreError::Backend`]. A method documents the errors that it returns beyond these.

mod budget;
mod codec;
mod columns;
mod error;
mod filter_pushdown;
mod lane_merge;
mod memory;
mod postgres;
mod prepared_firing;
mod prepared_job;
mod schedules;
mod sqlite;
mod walk;

use std::time::Duration;

use async_trait::async_trait;
use orx_model::filter::Filter;
use orx_model::job::{DeadReason, Labels};
use orx_model::log::{LogChunk, LogCursor, Stream};
use orx_model::message::{
    Dispatch, ExecutionProgress, ExecutionRef, Load, Started, WorkerDirective, WorkerRegistration,
    WorkerState,
};
use orx_model::wire::{Count, StatusCounts};
use orx_model::{
    Attempt, Capabilities, ExecutionId, Incarnation, Job, JobId, JobStatus, JobSummary, Name,
    NewJob, Outcome, SecretHash, Timestamp,
};

pub use error::StoreError;
pub use memory::{Memory, Transition};
pub use postgres::{Postgres, PostgresOptions};
pub use schedules::{
    Changed, DependencyStep, ExpectedVersion, Fired, Firing, LastRun, Outlook, Paused, Position,
    Rewind, Run, RunAfter, RunDependency, SLOTS_KEPT, SchedulePlan, ScheduleRecord, Schedules,
    Settled, SlotRequest, Templates,
};
pub use sqlite::{Sqlite, SqliteOptions, sqlite_store_id};

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
    Jobs + Dispatching + Schedules + Logs + Workers + Leases + DeadLetters + Tokens + Transfer + Upkeep
{
}

impl<T> Store for T where
    T: Jobs
        + Dispatching
        + Schedules
        + Logs
        + Workers
        + Leases
        + DeadLetters
        + Tokens
        + Transfer
        + Upkeep
{
}

/// One period of leadership. No two terms have the same epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// The node that leads.
    pub node: Incarnation,
    /// Grows with each new leader.
    pub epoch: u64,
}

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

/// Accepts, reads, cancels and retries jobs.
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
}

/// A worker that can take jobs.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The worker to dispatch to.
    pub worker: Incarnation,
    /// Recorded with each attempt.
    pub worker_name: Name,
    /// The jobs that the worker can run.
    pub offer: Capabilities,
    /// One execution id for each job that the worker can take: its free slots plus its prefetch.
    pub executions: Vec<ExecutionId>,
    /// How many of those jobs would wait at the worker for a free slot. A worker of short jobs
    /// prefetches some to keep its slots busy. The store prefetches a job only where no worker has a
    /// free slot for it.
    pub prefetch: usize,
    /// Attempts that the worker already holds.
    pub held: usize,
}

/// One job that [`Dispatching::claim_ready`] assigned to a worker.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The worker that gets the job.
    pub worker: Incarnation,
    /// The message to the worker.
    pub dispatch: Dispatch,
    /// The worker may get no other job until this attempt ends ([`AttemptCounts::runs_alone`]).
    ///
    /// [`AttemptCounts::runs_alone`]: orx_model::job::AttemptCounts::runs_alone
    pub alone: bool,
}

/// What one claim did.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// Jobs that got an attempt, in the order of dispatch.
    pub claimed: Vec<Claimed>,
    /// Jobs that the claim cancelled, because they expired or their deadline passed.
    pub expired: Vec<JobId>,
}

/// Jobs that one transaction claims, over all requests, at most.
pub const CLAIM_MOST: usize = 2_000;

/// An attempt that a worker holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// The job of the attempt.
    pub job: JobId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Names the attempt in every report of the worker.
    pub execution: ExecutionId,
    /// The worker that holds the attempt.
    pub worker: Incarnation,
    /// Dispatched or running.
    pub status: JobStatus,
    /// When the leader claimed the job, by the leader's clock.
    pub claimed_at: Timestamp,
    /// When the worker started it; `None` until the worker reports that.
    pub started_at: Option<Timestamp>,
    /// Longest run of the attempt, in milliseconds; `None` for no limit.
    pub timeout_ms: Option<u64>,
    /// The job has to end by then.
    pub deadline: Option<Timestamp>,
    /// A cancel of the job is recorded.
    pub cancel_requested: bool,
    /// No other attempt runs at its worker meanwhile.
    pub alone: bool,
}

/// The worker and the attempt number of an execution. Both never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The worker that got the execution.
    pub worker: Incarnation,
    /// Number of the attempt, from 1.
    pub attempt: u32,
}

/// The result of recording one outcome. Each is final: the worker may drop the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a stale outcome is an answer, not an error: the caller decides what follows"]
pub enum Recorded {
    /// The attempt ended, and the job moved on.
    Applied {
        /// The new status of the job.
        status: JobStatus,
        /// When the job is due again, if it is.
        run_at: Option<Timestamp>,
    },
    /// The execution is not the job's live one. Nothing was changed.
    Stale {
        /// The current status of the job.
        status: JobStatus,
    },
    /// The store has no such job.
    Missing,
}

/// The jobs that one [`Dispatching::promote_due`] changed, each list ordered by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Promoted {
    /// Scheduled jobs that are pending now.
    pub due: Vec<JobId>,
    /// Waiting jobs that expired or missed their deadline, and are cancelled now.
    pub expired: Vec<JobId>,
    /// A list reached the limit: call again.
    pub more: bool,
}

/// Claims ready jobs for workers and records the life of their attempts.
#[async_trait]
pub trait Dispatching: Send + Sync {
    /// Leader only. Advisory. Counts an attempt of each job that it claims.
    ///
    /// Merges all lanes that a worker's offer takes into one order (priority descending, due time,
    /// id). Claims for each worker at most as many jobs as it has execution ids, and at most
    /// [`CLAIM_MOST`] in all. Prefers the worker with the most free slots, then the one with the most
    /// prefetch.
    ///
    /// A job that runs alone goes to an idle worker, which then gets no other job. If no worker is
    /// idle, the one with the fewest attempts gets no other job in this call, so that it becomes
    /// idle. A job that expired or missed its deadline is cancelled instead.
    async fn claim_ready(
        &self,
        requests: Vec<ClaimRequest>,
        term: Term,
        now: Timestamp,
    ) -> Result<Claims>;

    /// Leader only. Durable. Makes due scheduled jobs pending, and cancels waiting jobs that expired or
    /// missed their deadline, at most `limit` of each.
    async fn promote_due(&self, term: Term, now: Timestamp, limit: u32) -> Result<Promoted>;

    /// Leader only. Durable. Adapts jobs to a clock that was set: a retry delay and the run time of a
    /// live attempt keep their length, and a pending job is due by `now` at the latest. Times that a
    /// request named stay. Returns the number of jobs with a changed retry delay.
    async fn clock_was_set(&self, jump: ClockJump, term: Term, now: Timestamp) -> Result<u64>;

    /// When [`Self::promote_due`] next changes a job.
    async fn next_due(&self) -> Result<Option<Timestamp>>;

    /// Advisory. Records attempts as running; skips unknown and stale ones. A start before the claim or
    /// after `now`, which a wrong clock of the worker can report, is moved into that range.
    async fn mark_started(&self, started: Vec<Started>, now: Timestamp) -> Result<()>;

    /// Advisory. Skips unknown and stale attempts.
    async fn record_progress(&self, progress: Vec<ExecutionProgress>) -> Result<()>;

    /// Durable. Ends attempts as [`orx_model::settle::settle`] decides. Results are in the order of
    /// `outcomes`. `draws` has one uniform number in 0..1 for each outcome; it spreads the retries. An
    /// end before the claim or after `now`, which a wrong clock of the worker can report, is moved into
    /// that range.
    async fn record_outcomes(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        now: Timestamp,
    ) -> Result<Vec<Recorded>>;

    /// Leader only. As [`Self::record_outcomes`], for attempts that the leader ends in place of a lost
    /// or fenced worker.
    async fn give_up(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        term: Term,
        now: Timestamp,
    ) -> Result<Vec<Recorded>>;

    /// Every live attempt, ordered by job id.
    async fn live_attempts(&self) -> Result<Vec<Live>>;

    /// The live attempts of these workers, ordered by job id.
    async fn live_attempts_of(&self, workers: Vec<Incarnation>) -> Result<Vec<Live>>;

    /// Results are in the order of `executions`, live or ended; `None` for an unknown one.
    async fn holders(&self, executions: Vec<ExecutionRef>) -> Result<Vec<Option<Holder>>>;
}

/// A part of a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRequest {
    /// The job to read the log of.
    pub job: JobId,
    /// Only chunks after this cursor.
    pub after: LogCursor,
    /// Only this attempt.
    pub attempt: Option<u32>,
    /// Only these streams; empty means all.
    pub streams: Vec<Stream>,
    /// Reading stops after the chunk that reaches this many bytes, so it returns at least one chunk.
    pub limit_bytes: usize,
}

/// Stores and reads the output of jobs.
#[async_trait]
pub trait Logs: Send + Sync {
    /// Advisory. Ignores a chunk that the store already has, and chunks of unknown jobs. Stores chunks
    /// of an execution that has ended.
    async fn append_logs(&self, chunks: Vec<LogChunk>) -> Result<()>;

    /// Ordered by attempt, then sequence.
    async fn read_logs(&self, request: LogRequest) -> Result<Vec<LogChunk>>;

    /// The cursor after which about the last `lines` lines begin, counted as newlines of the requested
    /// streams; [`LogRequest::after`] if there are fewer.
    async fn log_tail(&self, request: LogRequest, lines: u32) -> Result<LogCursor>;
}

/// The registration or heartbeat of a worker, as a coordinator received it.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerReport {
    /// What the worker sent when it registered.
    pub registration: WorkerRegistration,
    /// As the worker reports it.
    pub state: WorkerState,
    /// Executions that the worker can hold at once.
    pub capacity: u32,
    /// Number of the newest heartbeat; 0 in a registration.
    pub heartbeat: u64,
    /// As the worker reports it; `None` in a registration.
    pub load: Option<Load>,
    /// The node whose process runs the worker, if it has no process of its own.
    pub hosted_by: Option<Incarnation>,
    /// The node that received the report and that can reach the worker.
    pub node: Option<Incarnation>,
}

/// The result of one report of [`Workers::put_workers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a report with another's secret is an answer, not an error"]
pub enum WorkerPut {
    /// The report is recorded. Holds the standing directive for the worker.
    Kept(Option<WorkerDirective>),
    /// The worker registered with another secret. Nothing was changed.
    OtherSecret,
    /// A heartbeat of a worker without a row: the worker has to register first. Nothing was changed.
    Unregistered,
}

/// Why workers are removed. Decides which rows stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerRemoval {
    /// They stopped cleanly. The rows of fenced workers stay, because a person may fence a worker
    /// while it stops.
    Stopped,
    /// They were lost, and may return. The rows of workers with a directive stay, so that it still
    /// applies when they return.
    Lost,
    /// They never return. No row stays.
    Gone,
}

impl WorkerRemoval {
    /// Whether the row of a worker with this directive stays.
    #[must_use]
    pub fn spares(self, order: Option<WorkerDirective>) -> bool {
        match self {
            Self::Stopped => order == Some(WorkerDirective::Fence),
            Self::Lost => order.is_some(),
            Self::Gone => false,
        }
    }
}

/// A worker as of its last report.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerRecord {
    /// The newest report.
    pub report: WorkerReport,
    /// When a coordinator received a report last.
    pub seen_at: Timestamp,
    /// Time since the last report, by the clock of the store.
    pub silent: Duration,
    /// The directive that a person gave the worker, if one stands.
    pub order: Option<WorkerDirective>,
}

/// Registrations and heartbeats of workers, and the directives for them.
#[async_trait]
pub trait Workers: Send + Sync {
    /// Advisory. Results are in the order of `workers`. A registration (heartbeat number 0) inserts the
    /// worker's row, or replaces the row with the same incarnation and secret. A row of an orx version
    /// without secrets gets the first secret that arrives. A heartbeat replaces a row and never inserts
    /// one, because it can arrive after its worker stopped or was lost. A heartbeat older than the
    /// recorded one updates only `seen_at`. A report of a fenced worker changes nothing.
    async fn put_workers(
        &self,
        workers: Vec<(SecretHash, WorkerReport)>,
        now: Timestamp,
    ) -> Result<Vec<WorkerPut>>;

    /// `None` for an unknown worker, and for a row of an orx version without secrets.
    async fn worker_secret(&self, worker: Incarnation) -> Result<Option<SecretHash>>;

    /// Ordered by name, then incarnation.
    async fn workers(&self, now: Timestamp) -> Result<Vec<WorkerRecord>>;

    /// Durable. `None` revokes a drain; a fence stays for ever. Returns for each worker whether it is
    /// known and the directive now stands.
    async fn order_workers(
        &self,
        workers: Vec<Incarnation>,
        order: Option<WorkerDirective>,
    ) -> Result<Vec<bool>>;

    /// Advisory. Workers without a row are ignored.
    async fn remove_workers(&self, workers: Vec<Incarnation>, removal: WorkerRemoval)
    -> Result<()>;
}

/// A coordinator's request to acquire or renew the leader's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeadRequest {
    /// The coordinator that asks.
    pub node: Incarnation,
    /// Length of the lease from now on.
    pub ttl: Duration,
    /// The highest epoch that the node has seen. A new epoch is higher even if the store was restored
    /// from a backup.
    pub above: u64,
}

/// The result of a [`LeadRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// The node holds the lease. The epoch is new if another node held the lease, or it had expired.
    Leading(Term),
    /// Another node leads.
    Following {
        /// The term of that node.
        leader: Term,
        /// Time until its lease expires unless it renews it.
        left: Duration,
    },
}

/// A coordinator, as it reports itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// Drawn at each start of the process.
    pub node: Incarnation,
    /// As configured.
    pub name: Name,
    /// Where other nodes and workers reach it.
    pub url: Option<String>,
    /// Version of orx.
    pub version: String,
    /// Version of the time zone database that it reads; `None` from a node of an older version.
    pub zone_version: Option<String>,
    /// When its process started.
    pub started_at: Timestamp,
}

/// A coordinator as of its last report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The newest report.
    pub report: NodeReport,
    /// When the node reported last.
    pub seen_at: Timestamp,
    /// Time since the last report, by the clock of the store.
    pub silent: Duration,
}

/// The leader's lease, and the nodes that can hold it.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Durable. Acquires the leader's lease if it is free or expired, and renews the node's own. A new
    /// epoch is above every earlier one, above [`LeadRequest::above`], and above the seconds since
    /// 1970.
    ///
    /// # Errors
    /// [`StoreError::Moved`] if several nodes share the store and it has moved.
    async fn lead(&self, request: LeadRequest, now: Timestamp) -> Result<Lead>;

    /// Durable. Releases the lease if `term` still holds it; returns whether it did.
    async fn step_down(&self, term: Term) -> Result<bool>;

    /// The leader, and the time until its lease expires without renewal. `None` without a leader.
    async fn leader(&self, now: Timestamp) -> Result<Option<(Term, Duration)>>;

    /// Advisory. Inserts the node, or replaces the row with the same incarnation.
    async fn put_node(&self, node: NodeReport, now: Timestamp) -> Result<()>;

    /// Ordered by name, then incarnation.
    async fn nodes(&self, now: Timestamp) -> Result<Vec<NodeRecord>>;

    /// Advisory. Ignores unknown nodes.
    async fn remove_nodes(&self, nodes: Vec<Incarnation>) -> Result<()>;
}

/// A job that failed for good, until a person retries it or deletes its dead letter.
#[derive(Debug, Clone)]
pub struct DeadLetterRow {
    /// The job, without arguments and result.
    pub job: JobSummary,
    /// Why the job failed for good.
    pub reason: DeadReason,
    /// When the store recorded that.
    pub at: Timestamp,
}

/// Lists and deletes dead letters.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// The dead letters of matching jobs, in the order of job ids; otherwise as [`Jobs::list`].
    ///
    /// # Errors
    /// As [`Jobs::list`].
    async fn dead_letters(
        &self,
        request: ListRequest,
        now: Timestamp,
    ) -> Result<Page<DeadLetterRow>>;

    /// Counts up to `most`.
    async fn dead_letter_count(&self, most: u64) -> Result<u64>;

    /// Durable. Deletes the dead letters, not the jobs. Returns for each id, in order, whether there was
    /// one.
    async fn delete_dead_letters(&self, ids: Vec<JobId>) -> Result<Vec<bool>>;
}

/// An API token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The public part of the token.
    pub id: String,
    /// SHA-256 of the secret part.
    pub hash: [u8; 32],
    /// `service`, `read`, `admin`, `exec`, `worker`, `node`.
    pub scopes: Vec<String>,
    /// When a person made the token.
    pub created_at: Timestamp,
    /// The token is invalid from then on; `None` for a token that never expires.
    pub expires_at: Option<Timestamp>,
    /// When a person revoked the token.
    pub revoked_at: Option<Timestamp>,
    /// Free text of the person who made the token.
    pub note: String,
}

/// Stores API tokens, without their secrets.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// Durable. Inserts the token, or replaces the one with the same id.
    async fn put_token(&self, token: TokenRecord) -> Result<()>;

    /// The token with this id, valid or not.
    async fn token(&self, id: &str) -> Result<Option<TokenRecord>>;

    /// Every token, valid or not.
    async fn tokens(&self) -> Result<Vec<TokenRecord>>;

    /// Durable. Deletes tokens that were revoked or expired before then; returns how many.
    async fn forget_tokens(&self, ended_before: Timestamp) -> Result<u64>;
}

/// A job without its log, to be copied from one store to another.
#[derive(Debug, Clone)]
pub struct JobExport {
    /// [`Job::unreadable`] in place of a job whose row cannot be read; no store can import that.
    pub job: Job,
    /// Hash of the request that holds the job's key.
    pub key_hash: Option<String>,
    /// While the job waits: when it expires or misses its deadline.
    pub expire_at: Option<Timestamp>,
    /// When the store recorded its dead letter.
    pub dead_at: Option<Timestamp>,
    /// The readable attempts that ended, oldest first.
    pub attempts: Vec<Attempt>,
}

/// Rows of a store that belong to its jobs and schedules, readable or not. Shows how many rows an
/// export skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Attempts that ended.
    pub attempts: u64,
    /// Chunks of logs.
    pub log_chunks: u64,
    /// Keys of pruned jobs.
    pub keys: u64,
    /// Rows of the ledgers of schedules.
    pub slots: u64,
    /// Run dependencies.
    pub watched: u64,
    /// Tokens, valid or not.
    pub tokens: u64,
}

/// A key that outlives its pruned job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainedKey {
    /// As the enqueue request gave it.
    pub key: String,
    /// The pruned job.
    pub job: JobId,
    /// Hash of the request that holds the key.
    pub hash: Option<String>,
    /// The status that the job ended in.
    pub status: JobStatus,
    /// A new job can take the key from then on.
    pub kept_until: Timestamp,
}

/// Tells copies of a store apart, so that only one of them is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Home {
    /// Drawn when the store was created. A copy of its file or database has the same id.
    pub id: String,
    /// The store that replaced this one. A store with this field set is not served.
    pub moved_to: Option<String>,
    /// The source of an unfinished copy. A store with this field set is incomplete.
    pub copying_from: Option<String>,
    /// Path of the store's file when it was last served.
    pub served_at: Option<String>,
}

impl Home {
    /// The rows that a store keeps, without the id.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let facts = [
            ("moved_to", &self.moved_to),
            ("copying_from", &self.copying_from),
            ("served_at", &self.served_at),
        ];
        facts.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?)))
    }

    pub(crate) fn set(&mut self, key: &str, value: String) {
        match key {
            "id" => self.id = value,
            "moved_to" => self.moved_to = Some(value),
            "copying_from" => self.copying_from = Some(value),
            "served_at" => self.served_at = Some(value),
            // Written by a newer orx.
            _ => {}
        }
    }
}

/// Copies everything from one store to another and keeps the ids. No one else may use either store
/// meanwhile.
#[async_trait]
pub trait Transfer: Send + Sync {
    /// Counts every row, readable or not.
    async fn row_counts(&self) -> Result<RowCounts>;

    /// Oldest first, with ids above `after`.
    async fn export(&self, after: Option<JobId>, limit: u32) -> Result<Vec<JobExport>>;

    /// Durable. Skips a job with an existing id; returns the number of imported jobs.
    async fn import(&self, jobs: Vec<JobExport>) -> Result<u64>;

    /// Ordered by key, above `after`. Skips keys whose row cannot be read; they do not count towards
    /// `limit`.
    async fn export_keys(&self, after: Option<String>, limit: u32) -> Result<Vec<RetainedKey>>;

    /// Durable. Skips an existing key.
    async fn import_keys(&self, keys: Vec<RetainedKey>) -> Result<()>;

    /// The id that the next job gets.
    async fn next_job(&self) -> Result<JobId>;

    /// Durable. Every later job gets `next` or a higher id.
    async fn skip_jobs(&self, next: JobId) -> Result<()>;

    /// As [`Self::put_home`] wrote it, with the id of the store.
    async fn home(&self) -> Result<Home>;

    /// Durable. Replaces every field but the id. On a shared store that has moved, [`Leases::lead`]
    /// returns [`StoreError::Moved`].
    async fn put_home(&self, home: Home) -> Result<()>;
}

/// Which jobs to delete. Jobs with a dead letter stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneRequest {
    /// Completed jobs that finished before this.
    pub completed_before: Timestamp,
    /// Other final jobs that finished before this.
    pub others_before: Timestamp,
    /// Jobs to delete with their rows, at most.
    pub limit: u32,
    /// Log chunks to delete, at least 1, at most this many. A job with more loses its first chunks, and is
    /// deleted in a later call.
    pub chunks: u32,
}

/// The result of one [`Upkeep::prune`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Deleted jobs.
    pub jobs: u64,
    /// The call reached a limit: there may be more to delete.
    pub more: bool,
}

/// A change of the clock, such as an operator's correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockJump {
    /// The time that the unchanged clock would have shown at that moment.
    pub before: Timestamp,
    /// Milliseconds that the clock moved forward; negative if it moved back.
    pub by_ms: i64,
}

/// The clock as leaders recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockNote {
    /// The last time that a leader read from the clock.
    pub seen: Timestamp,
    /// How many times leaders noticed that the clock was set.
    pub jumps: u64,
    /// When the clock was last set, by the new time, and by how many milliseconds.
    pub last: Option<(Timestamp, i64)>,
}

/// Describes a store to operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// `memory`, `sqlite`, `postgres`.
    pub kind: &'static str,
    /// `full`, or a sentence about the loss that an accepted job risks.
    pub durability: &'static str,
    /// Version of the schema, from 1.
    pub schema: u32,
}

/// Health, pruning and shutdown of a store.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Describes the store without reading it.
    fn info(&self) -> StoreInfo;

    /// Checks without a write that the store can take writes: it can be reached, is not read-only, and
    /// its disk is not full.
    async fn look(&self) -> Result<()> {
        Ok(())
    }

    /// Makes a durable write without content; fails while the store cannot take writes.
    async fn check_writable(&self) -> Result<()>;

    /// Leader only. Durable. Deletes the oldest jobs first.
    async fn prune(&self, request: PruneRequest, term: Term) -> Result<Pruned>;

    /// Leader only. Durable. Deletes at most `limit` keys of pruned jobs that reached
    /// [`RetainedKey::kept_until`]; returns how many.
    async fn forget_keys(&self, now: Timestamp, limit: u32, term: Term) -> Result<u64>;

    /// `None` before the first [`Self::note_clock`].
    async fn clock(&self) -> Result<Option<ClockNote>>;

    /// Leader only. Advisory. Replaces the recorded clock.
    async fn note_clock(&self, note: ClockNote, term: Term) -> Result<()>;

    /// Syncs every change and closes the store; later calls return [`StoreError::Closed`].
    async fn close(&self) -> Result<()>;
}

/// The text that identifies the labels of a lane in a store: JSON with sorted keys.
pub(crate) fn labels_key(labels: &Labels) -> String {
    serde_json::to_string(labels).unwrap_or_default()
}
