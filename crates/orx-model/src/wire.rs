//! Paths and bodies of HTTP between clients, workers and servers. Times are RFC 3339 UTC,
//! durations `…_ms`, names snake_case; fields are added, never renamed within a version.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::attempt::Attempt;
use crate::ids::{Incarnation, JobId, Name};
use crate::job::{Command, DeadReason, Job, JobSummary, Json, Labels};
use crate::lane::Capabilities;
use crate::log::{LogCursor, Stream};
use crate::message::{Envelope, Load, WorkerDirective, WorkerState};
use crate::policy::{OnLost, Priority};
use crate::problem::Problem;
use crate::schedule::wire::ScheduleCounts;
use crate::status::JobStatus;
use crate::time::Timestamp;

/// The version that every JSON response contains as `"v"`.
pub const V: u32 = 1;

/// Paths. `{job}` is an id, an attempt such as `1423.2`, or `key:` and an idempotency key.
pub mod path {
    /// Enqueue one job, or list jobs.
    pub const JOBS: &str = "/api/v1/jobs";
    /// Enqueue a batch: NDJSON in, NDJSON out, line by line in order.
    pub const JOBS_BATCH: &str = "/api/v1/jobs/batch";
    /// Cancel jobs.
    pub const JOBS_CANCEL: &str = "/api/v1/jobs/cancel";
    /// One job.
    pub const JOB: &str = "/api/v1/jobs/{job}";
    /// Wait for a job.
    pub const JOB_WAIT: &str = "/api/v1/jobs/{job}/wait";
    /// Output of a job.
    pub const JOB_LOGS: &str = "/api/v1/jobs/{job}/logs";
    /// Result of a job.
    pub const JOB_RESULT: &str = "/api/v1/jobs/{job}/result";
    /// Retry jobs that have ended.
    pub const JOBS_RETRY: &str = "/admin/v1/jobs/retry";
    /// All queues.
    pub const QUEUES: &str = "/admin/v1/queues";
    /// One queue.
    pub const QUEUE: &str = "/admin/v1/queues/{queue}";
    /// Dead letters, page by page.
    pub const DEAD_LETTERS: &str = "/admin/v1/dead-letters";
    /// Retry dead letters.
    pub const DEAD_LETTERS_RETRY: &str = "/admin/v1/dead-letters/retry";
    /// Delete dead letters.
    pub const DEAD_LETTERS_DELETE: &str = "/admin/v1/dead-letters/delete";
    /// All workers.
    pub const WORKERS: &str = "/admin/v1/workers";
    /// One worker.
    pub const WORKER: &str = "/admin/v1/workers/{worker}";
    /// Drain, resume or fence workers.
    pub const WORKERS_ORDER: &str = "/admin/v1/workers/order";
    /// The state of the cluster.
    pub const CLUSTER: &str = "/admin/v1/cluster";
    /// A worker registers.
    pub const WORKER_REGISTER: &str = "/worker/v1/register";
    /// A worker's heartbeat.
    pub const WORKER_HEARTBEAT: &str = "/worker/v1/heartbeat";
    /// A worker's inbox: NDJSON of [`super::InboxLine`], for as long as the worker reads.
    pub const WORKER_INBOX: &str = "/worker/v1/inbox";
    /// A worker sends messages.
    pub const WORKER_PUBLISH: &str = "/worker/v1/publish";
    /// A node sends messages to another.
    pub const NODE_PUBLISH: &str = "/node/v1/publish";
    /// The description of the API.
    pub const OPENAPI: &str = "/openapi.json";
    /// Liveness of the process.
    pub const HEALTHZ: &str = "/healthz";
    /// Readiness of the node to accept jobs.
    pub const READYZ: &str = "/readyz";
    /// Metrics for Prometheus.
    pub const METRICS: &str = "/metrics";
}

/// Header with an idempotency key: a repeated enqueue returns the same job, as with
/// [`EnqueueRequest::key`].
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A job to enqueue. Absent fields get the server's defaults.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnqueueRequest {
    /// The job type. Optional with `command`: the job is then named after the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Any JSON; `{}` if left out. At most 256 KiB, nested at most 64 deep; numbers that a double
    /// holds, and valid Unicode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub args: Option<Json>,
    /// Run this instead of a handler.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::json::optional_object"
    )]
    pub command: Option<Command>,
    /// The queue; if left out, that of the job type, else `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Name>,
    /// The priority; if left out, that of the job type or queue, else normal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// The job does not start before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// Delay from now before which the job does not start, milliseconds; not together with `run_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Further tries after the first; if left out, as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Wait before the first retry, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<u64>,
    /// Longest time of one attempt, milliseconds; 0 is without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// No attempt starts or continues after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The job is cancelled if it has not started this long from now, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// What happens when its worker or server is lost; if left out, as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_lost: Option<OnLost>,
    /// Labels the worker must have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub require: Labels,
    /// Tags: names and values for filters.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub tags: Labels,
    /// Correlation id, for the handler and for filters. `corr` in JSON.
    #[serde(rename = "corr", default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Idempotency key: the same key returns the same job, for at least 24 h after the job ended, whoever
    /// sends it. A different job with the same key is a conflict. All fields but `by` count for that;
    /// `args` count by their meaning (key order and number format make no difference), and default to `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Who sends the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The result of an enqueue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EnqueueAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// The job.
    pub id: JobId,
    /// The status of the job.
    pub status: JobStatus,
    /// `false`: the key was used before, and this is its job.
    pub created: bool,
    /// Problems that do not prevent the job from being accepted, such as no live worker with its handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// The result of one line of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BatchLine {
    /// Number of the line, from 1.
    pub line: u64,
    /// The job, where it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<JobId>,
    /// `false`: the key was used before, and `id` is its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<bool>,
    /// Why it was not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// Which jobs to list, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Filter expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Rows of the page at most, 1 to 500; 50 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Cursor: `next` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Oldest first instead of newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_first: Option<bool>,
    /// Time zone for wall-clock times in the filter; UTC if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
    /// Also count the matching jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<bool>,
}

/// A page of jobs.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobPage {
    /// Version of the format: 1.
    pub v: u32,
    /// The jobs, without args, command and result, which the single job contains. A page is also limited
    /// in bytes: it may contain fewer than `limit` jobs and continue at `next`.
    pub jobs: Vec<JobSummary>,
    /// Cursor of the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many jobs match in all; absent unless requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
}

/// A number of matching jobs, exact or a lower bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Count {
    /// The number.
    pub count: u64,
    /// `false`: there are at least this many.
    pub exact: bool,
}

/// One job with its attempts.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct JobDetail {
    /// Version of the format: 1.
    pub v: u32,
    /// The job.
    #[serde(flatten)]
    pub job: Job,
    /// The attempts, oldest first; the live one is last.
    pub attempts: Vec<Attempt>,
}

/// Not derived: serde reads a flattened part through a buffer that cannot hold raw JSON text.
impl<'de> Deserialize<'de> for JobDetail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct DetailParts {
            v: u32,
            attempts: Vec<Attempt>,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let job = serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
        let DetailParts { v, attempts } =
            serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { v, job, attempts })
    }
}

/// The result of a job.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ResultAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// The job.
    pub id: JobId,
    /// The status.
    pub status: JobStatus,
    /// What its handler returned; absent until there is a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub result: Option<Json>,
}

/// What to wait for, and for how long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// Respond after this many milliseconds at the latest; at most 60000, default 30000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Wait for this status or any final one; by default for any final one.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
    /// The server condition of the previous response: the server responds as soon as its condition is
    /// another one, even if the status is not reached. Absent: it does not respond for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Condition>,
}

/// A condition of the server that delays jobs, reported to clients that wait for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// None: jobs proceed.
    #[default]
    Well,
    /// The server is shutting down: another server continues its jobs.
    Stopping,
    /// The disk of its store is full.
    StoreFull,
    /// Its store accepts no writes.
    StoreAway,
    /// A condition of a later version.
    #[serde(other)]
    Other,
}

impl Condition {
    /// Whether jobs proceed.
    #[must_use]
    pub fn is_well(&self) -> bool {
        *self == Self::Well
    }
}

/// The result of a wait.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WaitAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// Whether the job has the awaited status or a final one.
    pub reached: bool,
    /// The server's condition.
    #[serde(default, skip_serializing_if = "Condition::is_well")]
    pub condition: Condition,
    /// The job.
    pub job: Job,
}

/// Which output to send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogsQuery {
    /// Start after this position: `attempt:seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Only this attempt; by default all, oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Only these streams, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// About this many last lines: the server sends whole chunks, and a client cuts them exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// Keep sending until the job has ended and all output has been sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<bool>,
}

/// One line of the NDJSON response to `GET …/logs`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogEvent {
    /// Output.
    Chunk(LogPart),
    /// Sent about every 5 s without other lines, to show that the connection is open. While following,
    /// also sent as soon as the server's condition changes.
    Ping {
        /// The server's condition.
        #[serde(default, skip_serializing_if = "Condition::is_well")]
        condition: Condition,
    },
    /// While following: all earlier output has been sent. Sent once.
    Live {},
    /// While following: the status, once at the start and after each change.
    Status {
        /// The status from now on.
        status: JobStatus,
        /// Number of the live or latest attempt; 0 before the first.
        attempt: u32,
    },
    /// All output has been sent. While following: the job has ended.
    End {
        /// The position to continue at if the job is retried.
        cursor: String,
        /// The job at that moment.
        job: Box<Job>,
    },
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogPart {
    /// `attempt:seq` of this chunk: start after it with `cursor=`.
    #[schema(example = "1:17")]
    pub cursor: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The output that it belongs to.
    pub stream: Stream,
    /// When the worker read it.
    pub at: Timestamp,
    /// Bytes that were dropped directly before this chunk.
    #[serde(default)]
    pub dropped_bytes: u64,
    /// Text, or `{"base64": "…"}` where the bytes are not UTF-8.
    #[serde(with = "crate::log::text_or_bytes")]
    #[schema(value_type = crate::log::TextOrBytes)]
    pub data: Vec<u8>,
}

impl LogPart {
    /// The parsed cursor.
    #[must_use]
    pub fn position(&self) -> Option<LogCursor> {
        self.cursor.parse().ok()
    }
}

/// Which jobs a change is for: ids, or all that match a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// These jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<JobId>,
    /// All jobs that match this filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Time zone of wall-clock times in the filter; UTC if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
    /// The reason, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who sends the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Dry run: change nothing and report what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Change nothing if more than this many jobs would change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_affected: Option<u64>,
    /// For a cancel only: do not wait for the worker.
    #[serde(default)]
    pub force: bool,
    /// Only jobs still in this status are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<JobStatus>,
}

/// The result of a change for one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Cancelled: it will not run.
    Cancelled,
    /// Cancel requested: the end of the attempt decides.
    Cancelling,
    /// Retried: it runs again.
    Retried,
    /// Deleted.
    Deleted,
    /// Unchanged: it had already ended.
    AlreadyFinal,
    /// Unchanged: it has not ended, or its status is not the expected one.
    NotInState,
    /// There is no such job.
    NotFound,
    /// A dry run would change it.
    Would,
}

/// One job of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Changed {
    /// The job.
    pub id: JobId,
    /// The result.
    pub change: Change,
    /// Its status afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
}

/// The result of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ChangeAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// A dry run: nothing was changed, and the rest states what would be.
    pub dry_run: bool,
    /// How many were changed, or would be.
    pub affected: u64,
    /// The jobs, in the order of the request; with a filter the first 1000.
    pub jobs: Vec<Changed>,
    /// The rest of a change that was cut short; the results in `jobs` are certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
}

/// Jobs that a change did not reach, or for which its result is unknown. Repeating the request is safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rest {
    /// The cause.
    pub problem: Problem,
    /// The number of these jobs.
    pub count: u64,
    /// The jobs, in the order of the request; with a filter the first 1000.
    pub jobs: Vec<JobId>,
}

/// Numbers of jobs by status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusCounts {
    /// Wait for other jobs.
    pub created: u64,
    /// Ready to run.
    pub pending: u64,
    /// Due later.
    pub scheduled: u64,
    /// On their way to a worker.
    pub dispatched: u64,
    /// Running.
    pub running: u64,
    /// Succeeded.
    pub completed: u64,
    /// Failed for good.
    pub failed: u64,
    /// Timed out for good.
    pub timed_out: u64,
    /// Cancelled.
    pub cancelled: u64,
}

impl StatusCounts {
    /// The count of a status.
    pub fn slot(&mut self, status: JobStatus) -> &mut u64 {
        match status {
            JobStatus::Created => &mut self.created,
            JobStatus::Pending => &mut self.pending,
            JobStatus::Scheduled => &mut self.scheduled,
            JobStatus::Dispatched => &mut self.dispatched,
            JobStatus::Running => &mut self.running,
            JobStatus::Completed => &mut self.completed,
            JobStatus::Failed => &mut self.failed,
            JobStatus::TimedOut => &mut self.timed_out,
            JobStatus::Cancelled => &mut self.cancelled,
        }
    }

    /// The number of jobs in a status.
    #[must_use]
    pub fn of(&self, status: JobStatus) -> u64 {
        let mut counts = *self;
        *counts.slot(status)
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Self) {
        for status in JobStatus::ALL {
            *self.slot(status) += other.of(status);
        }
    }
}

/// The state of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueView {
    /// Its name.
    pub queue: Name,
    /// Jobs by status.
    pub counts: StatusCounts,
    /// When the ready job that waits longest became due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_due: Option<Timestamp>,
}

/// All queues that have jobs or settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueList {
    /// Version of the format: 1.
    pub v: u32,
    /// The queues, by name.
    pub queues: Vec<QueueView>,
}

/// A dead letter: a job with no further tries.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadLetter {
    /// The job.
    pub job: JobSummary,
    /// Why it is a dead letter.
    pub reason: DeadReason,
    /// When it became a dead letter.
    pub at: Timestamp,
}

/// A page of dead letters.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadLetterPage {
    /// Version of the format: 1.
    pub v: u32,
    /// The dead letters, newest first.
    pub dead_letters: Vec<DeadLetter>,
    /// Cursor of the next page; absent at the end. A page is also limited in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The state of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerView {
    /// The incarnation: a new one with every start.
    pub incarnation: Incarnation,
    /// The name.
    pub name: Name,
    /// Name of its host.
    pub host: String,
    /// Process id on its host.
    pub pid: u32,
    /// Version of its program.
    pub version: String,
    /// Its state.
    pub state: WorkerState,
    /// The directive in force; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<WorkerDirective>,
    /// Whether its lease is valid.
    pub live: bool,
    /// What it can run: queues, handlers and labels.
    pub offer: Capabilities,
    /// Attempts it runs at once.
    pub slots: u32,
    /// Slots that are busy.
    pub active: u32,
    /// Prefetched jobs that wait at the worker for a free slot.
    #[serde(default)]
    pub prefetched: u32,
    /// Executions that it may hold at once; 0 while it accepts no jobs.
    #[serde(default)]
    pub capacity: u32,
    /// Load of its host; absent where the system does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// The node that it is connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Incarnation>,
    /// When it started, by its own clock.
    pub started_at: Timestamp,
    /// When its last heartbeat arrived, by the store's clock.
    pub seen_at: Timestamp,
}

/// All workers that are or recently were live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerList {
    /// Version of the format: 1.
    pub v: u32,
    /// The workers.
    pub workers: Vec<WorkerView>,
}

/// The state of the cluster, as one node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClusterStatus {
    /// Version of the format: 1.
    pub v: u32,
    /// Version of the node's program.
    pub version: String,
    /// The node that responds.
    pub node: Incarnation,
    /// When the node started.
    pub started_at: Timestamp,
    /// The time at this node.
    pub now: Timestamp,
    /// `sqlite`, `postgres` or `memory`.
    pub store: String,
    /// `full`, or what a crash may lose of accepted jobs.
    pub durability: String,
    /// `direct`, or the broker that carries messages.
    pub transport: String,
    /// The time zone database of this coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_data: Option<ZoneData>,
    /// The leader; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<Incarnation>,
    /// The leader's epoch, which grows with each new leader.
    #[serde(default)]
    pub epoch: u64,
    /// The coordinators that share the store.
    #[serde(default)]
    pub nodes: Vec<NodeView>,
    /// Jobs by status.
    pub counts: StatusCounts,
    /// Number of dead letters, counted up to 100000.
    pub dead_letters: u64,
    /// Schedules that need attention.
    #[serde(default)]
    pub schedules: ScheduleCounts,
    /// Workers within their lease.
    pub workers_live: u32,
    /// Slots of all live workers together.
    pub slots: u32,
    /// Slots that are busy.
    pub active: u32,
    /// Prefetched jobs that wait at live workers for a free slot.
    #[serde(default)]
    pub prefetched: u32,
    /// Changes of the wall clock; absent before a leader recorded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockView>,
    /// Subscriptions of this node, and of the workers connected to it.
    #[serde(default)]
    pub links: Vec<LinkView>,
    /// Problems that need an operator, worst first.
    pub attention: Vec<String>,
    /// Intervals in force, such as lease and heartbeat: milliseconds by name.
    pub settings_ms: std::collections::BTreeMap<String, u64>,
}

/// A subscription to the transport, and its connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LinkView {
    /// The channel that is read.
    pub of: LinkKind,
    /// The worker whose inbox it is; absent for other channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Incarnation>,
    /// The name of that worker, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_name: Option<Name>,
    /// Whether it is connected; if not, the reader keeps reconnecting.
    pub connected: bool,
    /// Since when; absent where that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why it is not connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When the reader last received a message that it published itself; absent where the transport does
    /// not report that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_echo: Option<Timestamp>,
}

/// A channel of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// Reports of workers, which a node reads.
    Events,
    /// Notifications between nodes, which a node reads.
    Broadcast,
    /// Messages to one worker, which that worker reads.
    Inbox,
}

impl LinkKind {
    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Broadcast => "broadcast",
            Self::Inbox => "inbox",
        }
    }
}

/// Changes of the wall clock that leaders noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClockView {
    /// How often the clock was set.
    pub jumps: u64,
    /// When it was set last, by the new time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// By how many milliseconds; negative where it went back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_by_ms: Option<i64>,
}

/// A worker's request: envelopes with reports about its jobs.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PublishRequest {
    /// The messages.
    #[schema(value_type = Vec<Object>)]
    pub envelopes: Vec<Envelope>,
    /// How long to wait for the receipts, milliseconds: at most 30000, default 10000. With 0 each receipt
    /// is `taken`, and acknowledgements follow in the inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// The receipt for one envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// Recorded in the store.
    Recorded,
    /// Final: its outcomes are of executions that are no longer current, and nothing was changed.
    Stale,
    /// Queued to be recorded. Without an acknowledgement, send it again.
    Taken,
    /// Not accepted: send it again later, here or to another node.
    TryAgain,
    /// Set aside: not a message for coordinators, or of an unknown type.
    NotForUs,
    /// Final: it cannot be read, or a worker may not report it; `refused` contains the reason.
    Refused,
}

/// The receipts for the messages of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PublishAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// One receipt for each envelope, in order.
    pub receipts: Vec<Receipt>,
    /// The reasons for refused envelopes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedEnvelope>,
}

/// A refused message, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RefusedEnvelope {
    /// Its index in the request, from 0.
    pub place: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// The inbox to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InboxQuery {
    /// The incarnation whose inbox is read. A second reader takes over from the first.
    pub worker: Option<Incarnation>,
}

/// One line of a worker's inbox.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InboxLine {
    /// A message.
    #[schema(value_type = Object)]
    Envelope(Box<Envelope>),
    /// Sent about every 5 s without other lines, to show that the connection is open.
    Ping {},
    /// Another reader has taken over the inbox. The last line.
    TakenOver {},
}

/// The destination of messages between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeChannel {
    /// The inbox of a worker connected to this node, or the node's own.
    Inbox(Incarnation),
    /// The broadcast to all nodes.
    Broadcast,
}

/// Messages of a node to another.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodePublishRequest {
    /// Their destination.
    pub channel: NodeChannel,
    /// The messages.
    #[schema(value_type = Vec<Object>)]
    pub envelopes: Vec<Envelope>,
}

/// An operator's command to workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerCommand {
    /// Accept no new jobs, finish the rest, and stay.
    Drain,
    /// Accept jobs again.
    Resume,
    /// Declare the incarnation lost: its attempts are lost at once and run elsewhere, and its reports are
    /// rejected. This cannot be undone.
    Fence,
}

/// A command to workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkersOrderRequest {
    /// The command.
    pub command: WorkerCommand,
    /// Names, or incarnations (the first digits are enough). A name means every live worker of it.
    pub workers: Vec<String>,
    /// The reason, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who sends the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Dry run: change nothing and report what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// The result of a command for one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerOrdered {
    /// The incarnation: a new one with every start.
    pub incarnation: Incarnation,
    /// The name.
    pub name: Name,
    /// Whether the command is in force; `false` where the worker is gone or fenced.
    pub done: bool,
    /// Attempts it held at that time.
    pub active: u32,
}

/// The result of a command to workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkersOrderAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// A dry run: nothing was changed, and the rest states what would be.
    pub dry_run: bool,
    /// The workers.
    pub workers: Vec<WorkerOrdered>,
}

/// One worker with its attempts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerDetail {
    /// Version of the format: 1.
    pub v: u32,
    /// The worker.
    pub worker: WorkerView,
    /// The attempts that it holds.
    pub attempts: Vec<WorkerAttempt>,
}

/// An attempt that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerAttempt {
    /// The job.
    pub job: JobId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The job type.
    pub name: Name,
    /// The status.
    pub status: JobStatus,
    /// When it was claimed for the worker.
    pub claimed_at: Timestamp,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// A cancel was requested.
    pub cancel_requested: bool,
}

/// A coordinator, as it registered in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeView {
    /// The node's incarnation.
    pub node: Incarnation,
    /// The name.
    pub name: Name,
    /// The URL at which other nodes reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Version of its program.
    pub version: String,
    /// Version of its time zone database: `2025b`, or `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_version: Option<String>,
    /// Whether it is the leader.
    pub leads: bool,
    /// Whether its heartbeat is recent.
    pub live: bool,
    /// When it started.
    pub started_at: Timestamp,
    /// When its last heartbeat arrived.
    pub seen_at: Timestamp,
}

/// The time zone database of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ZoneData {
    /// A folder, or `compiled in`.
    pub source: String,
    /// Version of the IANA database: `2025b`. Absent where the folder does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl ZoneData {
    /// The version for people, or `unknown`.
    #[must_use]
    pub fn version_text(&self) -> &str {
        self.version.as_deref().unwrap_or("of unknown version")
    }
}
