//! What is true: jobs, attempts, logs, schedules, workers, nodes and who leads, dead letters, tokens.
//!
//! Depends on `orx-model` only. Knows nothing of transports, coordinators or HTTP.
//!
//! The methods are operations of the domain, each one transaction over a batch. A part of a batch
//! that is stale is answered, not an error, and never sinks the rest. No method hands out a row to
//! be changed and saved back: every change of a status is a compare-and-set inside the store, along
//! [`orx_model::next`].
//!
//! **Durability.** *Durable* methods return once the change is synced to disk. *Advisory* ones
//! (claims, started, progress, logs, workers) return once the change is visible; it is synced
//! within [`ADVISORY_SYNC`], and losing one costs a repeat, never a job. What a durable method
//! returned is never lost by a crash of the process, of the machine, or of its power.
//!
//! **Leading.** What only a leader may do takes its [`Term`], which is compared in the same
//! transaction as the change: a leader that was replaced changes nothing and hears
//! [`StoreError::Deposed`].
//!
//! **Time.** `now` is the caller's clock. Leases, and how long a worker or node has been silent, are
//! measured by the store's own clock where several machines share it.
//!
//! **Order.** What one caller awaited is seen by every later call on the same store. Calls in
//! flight at once take effect in some order; of those to one method that gathers (enqueue, outcomes,
//! logs, started, progress), those sent first by one task, first.

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
    Changed, DependencyStep, ExpectedVersion, Firing, LastRun, Outlook, Paused, Position, Rewind,
    Run, RunAfter, RunDependency, SLOTS_KEPT, SchedulePlan, ScheduleRecord, Schedules, Settled,
    SlotRequest, Templates,
};
pub use sqlite::{Sqlite, SqliteOptions, sqlite_store_id};

/// Advisory changes are on disk after this at the latest.
pub const ADVISORY_SYNC: Duration = Duration::from_secs(1);

/// A write that is not answered within this is [`StoreError::Unknown`]; it takes effect within this, or
/// never.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// What a power loss may cost, or a crash of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Nothing that was answered.
    #[default]
    Full,
    /// The last moments before it; a crash of this process alone costs nothing.
    Relaxed,
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// All that the daemons need of a store.
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

/// One time of leading. No two ever have the same epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    pub node: Incarnation,
    /// Grows with each new leader.
    pub epoch: u64,
}

/// What became of one job of an enqueue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    New {
        id: JobId,
        status: JobStatus,
    },
    /// Its key is known, with the same request: this is the job.
    Existing {
        id: JobId,
        status: JobStatus,
    },
    /// Its key is known, with another request, whose hash this is. Nothing was accepted.
    KeyConflict {
        id: JobId,
        status: JobStatus,
        hash: Option<String>,
    },
}

/// Newest first, or oldest first, from the far side of `after`.
#[derive(Debug, Clone)]
pub struct ListRequest {
    pub filter: Filter,
    pub oldest_first: bool,
    /// The last id of the page before.
    pub after: Option<JobId>,
    pub limit: u32,
}

#[derive(Debug, Clone)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// There may be more after the last row, which is at `JobId`.
    pub next: Option<JobId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelCommand {
    pub id: JobId,
    pub reason: Option<String>,
    pub by: Option<String>,
    /// A job that is under a worker is recorded as cancelled at once; what its attempt says later
    /// is stale.
    pub force: bool,
    /// Only if the job is in this status.
    pub expected: Option<JobStatus>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelAnswer {
    /// It waited, or was forced. With the execution to be stopped, if it was forced off a worker.
    Cancelled {
        stop: Option<(Incarnation, ExecutionId)>,
    },
    /// The request is kept; the attempt's end decides. Also when it was asked for before.
    Cancelling {
        worker: Incarnation,
        execution: ExecutionId,
        status: JobStatus,
    },
    AlreadyFinal {
        status: JobStatus,
    },
    NotInState {
        status: JobStatus,
    },
    Missing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAnswer {
    /// Pending again, with a new budget; its dead letter is gone. Attempt numbers go on.
    Retried,
    NotInState {
        status: JobStatus,
    },
    Missing,
}

#[async_trait]
pub trait Jobs: Send + Sync {
    /// Durable. Answers are in the order of `jobs`; ids ascend in that order. With `run_at` after
    /// `now` the job is scheduled, else pending with `run_at = now`. A key that comes twice in one
    /// batch is treated as if in two.
    async fn enqueue(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Enqueued>>;

    /// One that cannot be read is answered as such ([`Job::unreadable`]), here and in lists.
    async fn job(&self, id: JobId) -> Result<Option<Job>>;

    /// Those that are there, each once, by their ids. Whole jobs may be large: ask for a page of
    /// them at once.
    async fn jobs(&self, ids: Vec<JobId>) -> Result<Vec<Job>>;

    async fn job_by_key(&self, key: &str) -> Result<Option<Job>>;

    /// Oldest first, the live one last. Empty for an unknown job.
    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>>;

    /// `now` is what ages in the filter are measured against. A page ends early before it is over
    /// [`PAGE_BYTES`], with one row at least.
    ///
    /// # Errors
    /// [`StoreError::TooBroad`] where the filter would have to read too many rows for one page.
    ///
    /// [`PAGE_BYTES`]: orx_model::limits::PAGE_BYTES
    async fn list(&self, request: ListRequest, now: Timestamp) -> Result<Page<JobSummary>>;

    /// Counts up to `most`; beyond, the answer is inexact and `most`.
    ///
    /// # Errors
    /// As [`Self::list`].
    async fn count(&self, filter: Filter, most: u64, now: Timestamp) -> Result<Count>;

    /// Jobs by queue and status, for every queue that has had a job. In the order of names.
    async fn queue_counts(&self) -> Result<Vec<(Name, StatusCounts)>>;

    /// When the longest-waiting pending job of each queue became due.
    async fn oldest_due(&self) -> Result<Vec<(Name, Timestamp)>>;

    /// Durable. Answers are in the order of `cancels`. Once answered `Cancelled` the job does not
    /// start again, except by a person's retry.
    async fn cancel(
        &self,
        cancels: Vec<CancelCommand>,
        now: Timestamp,
    ) -> Result<Vec<CancelAnswer>>;

    /// Durable. A person's retry of final jobs.
    async fn retry(&self, ids: Vec<JobId>, now: Timestamp) -> Result<Vec<RetryAnswer>>;
}

/// A worker that can take jobs.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    pub worker: Incarnation,
    pub worker_name: Name,
    pub offer: Capabilities,
    /// One for each job that the worker may be given: its free slots and its prefetch.
    pub executions: Vec<ExecutionId>,
    /// How many of those jobs would wait at the worker for a slot. A worker of short jobs takes some, so
    /// that its slots never stand empty. A prefetched job is given only where no worker has a free slot.
    pub prefetch: usize,
    /// Attempts that the worker has already.
    pub held: usize,
}

#[derive(Debug, Clone)]
pub struct Claimed {
    pub worker: Incarnation,
    pub dispatch: Dispatch,
    /// Nothing else may be given to the worker until this has ended ([`AttemptCounts::runs_alone`]).
    ///
    /// [`AttemptCounts::runs_alone`]: orx_model::job::AttemptCounts::runs_alone
    pub alone: bool,
}

/// Jobs claimed in one transaction, over all requests.
pub const CLAIM_MOST: usize = 2_000;

/// An attempt that is with a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    pub job: JobId,
    pub attempt: u32,
    pub execution: ExecutionId,
    pub worker: Incarnation,
    pub status: JobStatus,
    pub claimed_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub timeout_ms: Option<u64>,
    pub deadline: Option<Timestamp>,
    pub cancel_requested: bool,
    /// Nothing else runs at its worker meanwhile.
    pub alone: bool,
}

/// Who was given an execution, and as which attempt of its job. That never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub worker: Incarnation,
    pub attempt: u32,
}

/// What became of one outcome. All three are final: the worker may forget it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a stale outcome is an answer, not an error: the caller decides what follows"]
pub enum Recorded {
    /// `run_at` where the job is due again.
    Applied {
        status: JobStatus,
        run_at: Option<Timestamp>,
    },
    /// Nothing was changed: the execution is not, or no longer, the job's live one.
    Stale {
        status: JobStatus,
    },
    Missing,
}

/// What one call promoted: of each at most its limit, by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Promoted {
    /// Scheduled jobs made pending.
    pub due: Vec<JobId>,
    /// Waiting jobs cancelled because they expired, or their deadline passed.
    pub expired: Vec<JobId>,
    /// More are due than one call takes: call again.
    pub more: bool,
}

#[async_trait]
pub trait Dispatching: Send + Sync {
    /// A leader's. Advisory, except that what it returns was durably due before. Gives each worker at
    /// most as many as it has execution ids, and all together at most [`CLAIM_MOST`], from all lanes its offer takes, in the
    /// order (priority descending, due time, id) over all of them; where several workers fit, the one
    /// with the most free slots gets the next, and then the one that may prefetch most. A job that
    /// runs alone goes to a worker that has nothing, and is all that it gets; where none has nothing,
    /// the one that has least gets nothing more in this call, so that it comes to that. A job that
    /// expired, or whose deadline passed, is cancelled instead. Counts the attempt.
    async fn claim_ready(
        &self,
        requests: Vec<ClaimRequest>,
        term: Term,
        now: Timestamp,
    ) -> Result<Vec<Claimed>>;

    /// A leader's. Durable. Scheduled jobs whose time has come become pending, waiting ones whose
    /// time is over are cancelled (with the reason), at most `limit` of each.
    async fn promote_due(&self, term: Term, now: Timestamp, limit: u32) -> Result<Promoted>;

    /// A leader's. Durable. The clock was set: waits that run for so long (before another try, or of a
    /// live attempt) are as long as they were, and what is ready is due by now at the latest. What was
    /// asked for by the calendar stays. Answers for how many jobs a wait was changed.
    async fn clock_was_set(&self, jump: ClockJump, term: Term, now: Timestamp) -> Result<u64>;

    /// When [`Self::promote_due`] next has something to do.
    async fn next_due(&self) -> Result<Option<Timestamp>>;

    /// Advisory. Unknown or stale ones are passed over. As with an outcome, no attempt started before
    /// it was claimed or after `now`, whatever its worker's clock says.
    async fn mark_started(&self, started: Vec<Started>, now: Timestamp) -> Result<()>;

    /// Advisory. Unknown or stale ones are passed over.
    async fn record_progress(&self, progress: Vec<ExecutionProgress>) -> Result<()>;

    /// Durable. `draws` are uniform in 0..1, one for each outcome, and spread the retries. Answers
    /// are in the order of `outcomes`. Decides by [`orx_model::settle::settle`]. No attempt ended
    /// before it was claimed or after `now`, whatever its worker's clock says.
    async fn record_outcomes(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        now: Timestamp,
    ) -> Result<Vec<Recorded>>;

    /// A leader's. As [`Self::record_outcomes`], for attempts whose worker is given up.
    async fn give_up(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        term: Term,
        now: Timestamp,
    ) -> Result<Vec<Recorded>>;

    /// Every live attempt, by job id.
    async fn live_attempts(&self) -> Result<Vec<Live>>;

    /// Those of these workers, by job id.
    async fn live_attempts_of(&self, workers: Vec<Incarnation>) -> Result<Vec<Live>>;

    /// In the order of `executions`, live or ended; `None` for those that are not known.
    async fn holders(&self, executions: Vec<ExecutionRef>) -> Result<Vec<Option<Holder>>>;
}

/// What to read of a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRequest {
    pub job: JobId,
    /// Chunks after this place.
    pub after: LogCursor,
    /// Only this attempt.
    pub attempt: Option<u32>,
    /// Only these; empty means all.
    pub streams: Vec<Stream>,
    /// Stops after the chunk that reaches it, so at least one chunk is read.
    pub limit_bytes: usize,
}

#[async_trait]
pub trait Logs: Send + Sync {
    /// Advisory. A chunk that is there already changes nothing; chunks of an execution that ended
    /// are still taken, those of unknown jobs are not.
    async fn append_logs(&self, chunks: Vec<LogChunk>) -> Result<()>;

    /// In the order (attempt, sequence).
    async fn read_logs(&self, request: LogRequest) -> Result<Vec<LogChunk>>;

    /// The place after which about the last `lines` lines (counted as newlines over the wanted
    /// streams) begin; the start if there are fewer.
    async fn log_tail(&self, request: LogRequest, lines: u32) -> Result<LogCursor>;
}

/// What a coordinator heard of a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerReport {
    pub registration: WorkerRegistration,
    pub state: WorkerState,
    /// Executions it may hold at once.
    pub capacity: u32,
    /// Number of the newest heartbeat; 0 in a registration.
    pub heartbeat: u64,
    pub load: Option<Load>,
    /// The node it lives and dies with, if it is part of one.
    pub hosted_by: Option<Incarnation>,
    /// The node that it was heard by, and that reaches it.
    pub node: Option<Incarnation>,
}

/// What became of one report of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a report with another's secret is an answer, not an error"]
pub enum WorkerPut {
    /// With what is ordered of the worker.
    Kept(Option<WorkerDirective>),
    /// The worker is known by another secret. Nothing was changed.
    OtherSecret,
    /// A heartbeat of a worker that has no row: it has to register first. Nothing was changed.
    Unregistered,
}

/// Why workers are removed, which decides whose rows stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerRemoval {
    /// They stopped in good order. The rows of fenced workers stay: a fence may be ordered meanwhile.
    Stopped,
    /// They were lost, and may come back. The rows of workers with an order stay, so that the order holds
    /// for them then.
    Lost,
    /// They will not come back. No row stays.
    Gone,
}

impl WorkerRemoval {
    /// Whether the row of a worker with this order stays.
    #[must_use]
    pub fn spares(self, order: Option<WorkerDirective>) -> bool {
        match self {
            Self::Stopped => order == Some(WorkerDirective::Fence),
            Self::Lost => order.is_some(),
            Self::Gone => false,
        }
    }
}

/// A worker as it was last heard of.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerRecord {
    pub report: WorkerReport,
    pub seen_at: Timestamp,
    /// How long ago that was, by the clock of the store.
    pub silent: Duration,
    /// What a person wants of it.
    pub order: Option<WorkerDirective>,
}

#[async_trait]
pub trait Workers: Send + Sync {
    /// Advisory. A registration (heartbeat number 0) inserts the worker's row, or replaces the one with
    /// the same incarnation and the same secret; the secret of a row that an orx without secrets wrote
    /// is the first that comes. A heartbeat replaces a row, and never inserts one: it may come late,
    /// after its worker stopped or was lost. A heartbeat older than the recorded one only shows that the
    /// worker lives, and a report of a fenced worker changes nothing.
    async fn put_workers(
        &self,
        workers: Vec<(SecretHash, WorkerReport)>,
        now: Timestamp,
    ) -> Result<Vec<WorkerPut>>;

    /// `None` for a worker that is not known, or that an orx kept which knew no secrets.
    async fn worker_secret(&self, worker: Incarnation) -> Result<Option<SecretHash>>;

    /// By name, then incarnation.
    async fn workers(&self, now: Timestamp) -> Result<Vec<WorkerRecord>>;

    /// Durable. `None` takes an order back, but a fence stands for ever. Answers, for each, whether
    /// the worker is known and the order now stands.
    async fn order_workers(
        &self,
        workers: Vec<Incarnation>,
        order: Option<WorkerDirective>,
    ) -> Result<Vec<bool>>;

    /// Advisory. Workers without a row are ignored.
    async fn remove_workers(&self, workers: Vec<Incarnation>, removal: WorkerRemoval)
    -> Result<()>;
}

/// A coordinator that wants to lead, or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeadRequest {
    pub node: Incarnation,
    /// How long the lease holds from now on.
    pub ttl: Duration,
    /// The highest epoch heard of: a store that was put back to an earlier state gives a higher one
    /// all the same.
    pub above: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// The lease is the asker's. Its epoch is a new one where the lease was another's, or had run
    /// out.
    Leading(Term),
    /// Another leads; its lease runs out after so long unless it is renewed.
    Following { leader: Term, left: Duration },
}

/// A coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    pub node: Incarnation,
    pub name: Name,
    /// Where other nodes and workers reach it.
    pub url: Option<String>,
    pub version: String,
    /// Of the time zone database that it reads; none from a node of an older version.
    pub zone_version: Option<String>,
    pub started_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    pub report: NodeReport,
    pub seen_at: Timestamp,
    /// How long ago that was, by the clock of the store.
    pub silent: Duration,
}

#[async_trait]
pub trait Leases: Send + Sync {
    /// Durable. Takes the lease of the leader where it is free or has run out, and renews one's own.
    /// A new epoch is above every one there was, above [`LeadRequest::above`], and above the seconds
    /// since 1970.
    async fn lead(&self, request: LeadRequest, now: Timestamp) -> Result<Lead>;

    /// Durable. Gives the lease back, if it is still this one; answers whether it was.
    async fn step_down(&self, term: Term) -> Result<bool>;

    /// Who leads, and how much longer without renewal. `None`: nobody does.
    async fn leader(&self, now: Timestamp) -> Result<Option<(Term, Duration)>>;

    /// Advisory. Inserts, or replaces the one with the same incarnation.
    async fn put_node(&self, node: NodeReport, now: Timestamp) -> Result<()>;

    /// By name, then incarnation.
    async fn nodes(&self, now: Timestamp) -> Result<Vec<NodeRecord>>;

    /// Advisory. Unknown ones are passed over.
    async fn remove_nodes(&self, nodes: Vec<Incarnation>) -> Result<()>;
}

#[derive(Debug, Clone)]
pub struct DeadLetterRow {
    pub job: JobSummary,
    pub reason: DeadReason,
    pub at: Timestamp,
}

#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Those whose jobs match, by job id; in all else as [`Jobs::list`].
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

    /// Durable. Forgets the letters, keeps the jobs; answers whether there was one, in order.
    async fn delete_dead_letters(&self, ids: Vec<JobId>) -> Result<Vec<bool>>;
}

/// What is known of a token: never the token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The part of the token that is no secret.
    pub id: String,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
    /// `service`, `read`, `admin`, `exec`, `worker`, `node`.
    pub scopes: Vec<String>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub note: String,
}

#[async_trait]
pub trait Tokens: Send + Sync {
    /// Durable. Inserts, or replaces the one with the same id.
    async fn put_token(&self, token: TokenRecord) -> Result<()>;

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>>;

    async fn tokens(&self) -> Result<Vec<TokenRecord>>;

    /// Durable. Forgets those that were revoked, or ran out, before then; answers how many.
    async fn forget_tokens(&self, ended_before: Timestamp) -> Result<u64>;
}

/// A job with all that belongs to it but its log, on its way from one store to another.
#[derive(Debug, Clone)]
pub struct JobExport {
    /// One that cannot be read is exported as such ([`Job::unreadable`]); no store can import it.
    pub job: Job,
    pub key_hash: Option<String>,
    /// While it waits: when its waiting is over.
    pub expire_at: Option<Timestamp>,
    /// Since when its dead letter is kept.
    pub dead_at: Option<Timestamp>,
    /// Those that ended and can be read, oldest first.
    pub attempts: Vec<Attempt>,
}

/// How many rows a store keeps of what belongs to its jobs and schedules, readable or not: what an
/// export passes over shows as a difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// That ended.
    pub attempts: u64,
    pub log_chunks: u64,
    /// Of forgotten jobs.
    pub keys: u64,
    /// Of ledgers.
    pub slots: u64,
    pub watched: u64,
    pub tokens: u64,
}

/// A key that outlives its pruned job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainedKey {
    pub key: String,
    pub job: JobId,
    pub hash: Option<String>,
    pub status: JobStatus,
    pub kept_until: Timestamp,
}

/// Which of several copies of a store is the one that is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Home {
    /// Drawn when the store was made. A copy of its file, or of its database, has the same.
    pub id: String,
    /// Everything was copied there: this store is served no more.
    pub moved_to: Option<String>,
    /// A copy from there has not ended: this store is not whole.
    pub copying_from: Option<String>,
    /// The file of the store, as it was named when it was last served.
    pub served_at: Option<String>,
}

impl Home {
    /// As a store keeps it, but for the id.
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
            // Of a newer orx.
            _ => {}
        }
    }
}

/// Everything from one store to another, ids kept. For stores that nobody else uses meanwhile.
#[async_trait]
pub trait Transfer: Send + Sync {
    async fn row_counts(&self) -> Result<RowCounts>;

    /// Oldest first, from above `after`.
    async fn export(&self, after: Option<JobId>, limit: u32) -> Result<Vec<JobExport>>;

    /// Durable. A job whose id is there already is passed over; answers how many were not.
    async fn import(&self, parcels: Vec<JobExport>) -> Result<u64>;

    /// By key, from above `after`. Those that cannot be read are passed over, and fill no page.
    async fn export_keys(&self, after: Option<String>, limit: u32) -> Result<Vec<RetainedKey>>;

    /// Durable. A key that is there already is passed over.
    async fn import_keys(&self, keys: Vec<RetainedKey>) -> Result<()>;

    /// The id that the next job gets.
    async fn next_job(&self) -> Result<JobId>;

    /// Durable. No job gets an id below this one any more.
    async fn skip_jobs(&self, next: JobId) -> Result<()>;

    async fn home(&self) -> Result<Home>;

    /// Durable. Replaces all but the id. Where several nodes share a store, none leads on one that
    /// has moved: [`Leases::lead`] answers [`StoreError::Moved`].
    async fn put_home(&self, home: Home) -> Result<()>;
}

/// What may be forgotten. A job with a dead letter is spared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneRequest {
    /// Completed jobs that finished before this.
    pub completed_before: Timestamp,
    /// Other final jobs that finished before this.
    pub others_before: Timestamp,
    /// At most so many jobs, with all that belongs to them.
    pub limit: u32,
    /// At most so many chunks of their logs, 1 or more. A job that has more loses its first ones, and goes in
    /// one of the next calls.
    pub chunks: u32,
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    pub jobs: u64,
    /// There may be more: what was asked for at most was reached.
    pub more: bool,
}

/// The clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockJump {
    /// What it would have shown then, had it not been.
    pub before: Timestamp,
    /// By so many milliseconds, back where it is less than nothing.
    pub by_ms: i64,
}

/// What leaders know of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockNote {
    /// What it showed last.
    pub seen: Timestamp,
    /// How often it was set, as far as leaders noticed.
    pub jumps: u64,
    /// When that was last, by the new time, and by how many milliseconds.
    pub last: Option<(Timestamp, i64)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// `memory`, `sqlite`, `postgres`.
    pub kind: &'static str,
    /// `full`, or in words what an accepted job may lose.
    pub durability: &'static str,
    pub schema: u32,
}

#[async_trait]
pub trait Upkeep: Send + Sync {
    fn info(&self) -> StoreInfo;

    /// Writes nothing: fails while it can be seen that the store takes no writes, because it is not
    /// reached, may only be read, or has no room on its disk.
    async fn look(&self) -> Result<()> {
        Ok(())
    }

    /// A durable write of nothing: fails while the store cannot take one.
    async fn check_writable(&self) -> Result<()>;

    /// A leader's. Durable. Forgets the oldest first.
    async fn prune(&self, request: PruneRequest, term: Term) -> Result<Pruned>;

    /// A leader's. Durable. Forgets so many keys, at most, that were kept long enough after their job
    /// was forgotten; answers how many it were.
    async fn forget_keys(&self, now: Timestamp, limit: u32, term: Term) -> Result<u64>;

    /// `None` before the first note.
    async fn clock(&self) -> Result<Option<ClockNote>>;

    /// A leader's. Advisory.
    async fn note_clock(&self, note: ClockNote, term: Term) -> Result<()>;

    /// Syncs everything and ends; later calls answer [`StoreError::Closed`].
    async fn close(&self) -> Result<()>;
}

/// Labels as a lane is known by in a store: JSON with sorted keys.
pub(crate) fn labels_key(labels: &Labels) -> String {
    serde_json::to_string(labels).unwrap_or_default()
}
