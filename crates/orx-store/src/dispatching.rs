//! Attempts in a store: the claims of ready jobs, and the starts, progress and ends of attempts.

use async_trait::async_trait;
use orx_model::message::{Dispatch, ExecutionProgress, ExecutionRef, Started};
use orx_model::{
    Capabilities, ExecutionId, Incarnation, JobId, JobStatus, Name, Outcome, Timestamp,
};

use crate::{ClockJump, Result, Term};

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

    /// Durable. Ends attempts as [`orx_model::outcome::resolve_outcome`] decides. Results are in the order of
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
    async fn record_outcomes_as_leader(
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
