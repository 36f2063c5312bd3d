//! What goes over HTTP between clients and the server, and where. Times are RFC 3339 UTC,
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

/// The version that every JSON answer carries as `"v"`.
pub const V: u32 = 1;

/// Paths. `{job}` is an id, an attempt such as `1423.2`, or `key:` and an idempotency key.
pub mod path {
    /// Enqueue one job, or list jobs.
    pub const JOBS: &str = "/api/v1/jobs";
    /// NDJSON in, NDJSON out, line by line in order.
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
    /// Dead letters, by pages.
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
    /// The cluster as it stands.
    pub const CLUSTER: &str = "/admin/v1/cluster";
    /// A worker registers.
    pub const WORKER_REGISTER: &str = "/worker/v1/register";
    /// A worker's heartbeat.
    pub const WORKER_HEARTBEAT: &str = "/worker/v1/heartbeat";
    /// NDJSON of [`super::InboxLine`], for as long as the worker reads.
    pub const WORKER_INBOX: &str = "/worker/v1/inbox";
    /// A worker sends messages.
    pub const WORKER_PUBLISH: &str = "/worker/v1/publish";
    /// A node sends messages to another.
    pub const NODE_PUBLISH: &str = "/node/v1/publish";
    /// The description of the API.
    pub const OPENAPI: &str = "/openapi.json";
    /// The process lives.
    pub const HEALTHZ: &str = "/healthz";
    /// The node can take jobs.
    pub const READYZ: &str = "/readyz";
    /// Metrics for Prometheus.
    pub const METRICS: &str = "/metrics";
}

/// Header whose value makes a repeated enqueue the same job, like [`EnqueueRequest::key`].
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A job to accept. What is left out gets the server's defaults.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnqueueRequest {
    /// The job type. May be left out with `command`: then it is named after the program.
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
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// Not before so long from now; not together with `run_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Further tries after the first; if left out, as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Wait before the first retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<u64>,
    /// Longest time of one attempt; 0 is without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// No attempt starts or goes on after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Cancelled if not started so long from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// What happens when its worker or server dies under it; if left out, as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_lost: Option<OnLost>,
    /// Labels the worker must have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub require: Labels,
    /// Tags: names and values to look for.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub tags: Labels,
    /// Correlation id: passed on to the handler, and to look for. `corr` in JSON.
    #[serde(rename = "corr", default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Idempotency key: the same key gives the same job, for 24 h after it ended at least, whoever
    /// sends it. With another job it is a conflict: all that is said of the job counts but `by`,
    /// args by what they mean (the order of keys and the writing of numbers make no difference),
    /// and left out they are `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Who asks, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What became of a job to enqueue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EnqueueAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// The job.
    pub id: JobId,
    /// The status that it is in.
    pub status: JobStatus,
    /// `false`: the key was known, and this is the job it made before.
    pub created: bool,
    /// Accepted, but something looks wrong: no live worker has such a handler, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Answer to one line of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BatchLine {
    /// From 1.
    pub line: u64,
    /// The job, where it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<JobId>,
    /// `false`: the key was known, and `id` is the job it made before.
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
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Oldest first instead of newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_first: Option<bool>,
    /// Time zone for wall-clock times in the filter; UTC if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
    /// Count what matches as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<bool>,
}

/// A page of jobs.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobPage {
    /// Version of the format: 1.
    pub v: u32,
    /// Without args, command and result, which the one job has. A page is bounded in bytes too: it may
    /// have fewer than `limit` and go on with `next`.
    pub jobs: Vec<JobSummary>,
    /// Where the next page starts; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many match in all, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
}

/// How many match: exact, or at least so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Count {
    /// How many.
    pub count: u64,
    /// `false`: there are at least so many.
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
    /// Oldest first; the live one last.
    pub attempts: Vec<Attempt>,
}

/// By hand: serde reads a flattened part through a buffer that cannot hold JSON as text.
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
    /// What its handler returned; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub result: Option<Json>,
}

/// What to wait for, and for how long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// Answer at the latest after so long; at most 60000, 30000 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Wait for this status, or any final one; without it for any final one.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
    /// What the server said last of itself: as soon as that has changed it answers, reached or not.
    /// Without it, it does not answer for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Condition>,
}

/// What stands in the way of a server's jobs, told to those who wait for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Nothing does.
    #[default]
    Well,
    /// It was told to end: another server goes on with its jobs.
    Stopping,
    /// There is no room on the disk of its store.
    StoreFull,
    /// Its store takes no writes.
    StoreAway,
    /// What a later version says.
    #[serde(other)]
    Other,
}

impl Condition {
    /// Nothing stands in the way.
    #[must_use]
    pub fn is_well(&self) -> bool {
        *self == Self::Well
    }
}

/// A job that was waited for.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WaitAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// The job is in the awaited status, or a final one.
    pub reached: bool,
    /// What stands in the way of the server's jobs.
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
    /// Start after this place: `attempt:seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Only this attempt; without it all, oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Only these streams, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Only about the last so many lines (whole chunks; a client cuts them exactly).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// Stay until the job has ended and everything has been sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<bool>,
}

/// One line of the NDJSON that `GET …/logs` answers.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogEvent {
    /// Output.
    Chunk(LogPart),
    /// Sent about every 5 s while nothing else is: the link lives. While following also as soon as
    /// what the server says of itself has changed.
    Ping {
        /// What stands in the way of the server's jobs.
        #[serde(default, skip_serializing_if = "Condition::is_well")]
        condition: Condition,
    },
    /// While following: all that was printed before has been sent. Sent once.
    Live {},
    /// The status changed: sent once at the start too, while following.
    Status {
        /// The status from now on.
        status: JobStatus,
        /// The attempt that is live, or was the last; 0 before the first.
        attempt: u32,
    },
    /// All has been sent. While following: the job has ended.
    End {
        /// Where to go on should the job be retried.
        cursor: String,
        /// The job as it stands then.
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
    /// Which output it is of.
    pub stream: Stream,
    /// When the worker read it.
    pub at: Timestamp,
    /// Bytes that were left out directly before.
    #[serde(default)]
    pub dropped_bytes: u64,
    /// Text, or `{"base64": "…"}` where the bytes are not UTF-8.
    #[serde(with = "crate::log::text_or_bytes")]
    #[schema(value_type = crate::log::TextOrBytes)]
    pub data: Vec<u8>,
}

impl LogPart {
    /// The cursor, read.
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
    /// Why, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who asked, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Change nothing, say what would be.
    #[serde(default)]
    pub dry_run: bool,
    /// Change nothing if more would be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_affected: Option<u64>,
    /// Cancel only: do not wait for the worker.
    #[serde(default)]
    pub force: bool,
    /// Only jobs still in this status are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<JobStatus>,
}

/// What became of one job of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It will not run.
    Cancelled,
    /// Asked for: the attempt's end decides.
    Cancelling,
    /// It runs again.
    Retried,
    /// It is gone.
    Deleted,
    /// Left alone: it had already ended.
    AlreadyFinal,
    /// Left alone: it has not ended, or its status is not the expected one.
    NotInState,
    /// There is no such job.
    NotFound,
    /// What a dry run would change.
    Would,
}

/// One job of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Changed {
    /// The job.
    pub id: JobId,
    /// What became of it.
    pub change: Change,
    /// Its status afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ChangeAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// Nothing was changed: this is what would be.
    pub dry_run: bool,
    /// How many were changed, or would be.
    pub affected: u64,
    /// In the order asked for; with a filter the first 1000.
    pub jobs: Vec<Changed>,
    /// What the change did not come to, where it was cut short: `jobs` stand as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
}

/// Jobs of a change of which it is not known whether they were changed, or which were not tried.
/// To ask again for them is safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rest {
    /// What cut it short.
    pub problem: Problem,
    /// How many there are.
    pub count: u64,
    /// In the order asked for; with a filter the first 1000.
    pub jobs: Vec<JobId>,
}

/// How many jobs stand where.
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
    /// Run.
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

    /// How many jobs are in a status.
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

/// A queue as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueView {
    /// Its name.
    pub queue: Name,
    /// Jobs by status.
    pub counts: StatusCounts,
    /// When the longest-waiting ready job became due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_due: Option<Timestamp>,
}

/// All queues that have jobs or settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueList {
    /// Version of the format: 1.
    pub v: u32,
    /// By name.
    pub queues: Vec<QueueView>,
}

/// A job that used up its tries.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadLetter {
    /// The job.
    pub job: JobSummary,
    /// Why it is a dead letter.
    pub reason: DeadReason,
    /// When it became one.
    pub at: Timestamp,
}

/// A page of dead letters.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadLetterPage {
    /// Version of the format: 1.
    pub v: u32,
    /// Newest first.
    pub dead_letters: Vec<DeadLetter>,
    /// Where the next page starts; none at the end. A page is bounded in bytes too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A worker as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerView {
    /// The incarnation: a new one with every start.
    pub incarnation: Incarnation,
    /// The name.
    pub name: Name,
    /// Name of its machine.
    pub host: String,
    /// Process id on its machine.
    pub pid: u32,
    /// Version of its program.
    pub version: String,
    /// Its state.
    pub state: WorkerState,
    /// What is ordered of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<WorkerDirective>,
    /// Heard of within its lease.
    pub live: bool,
    /// What it can run: queues, handlers and labels.
    pub offer: Capabilities,
    /// Attempts it runs at once.
    pub slots: u32,
    /// Slots that are busy.
    pub active: u32,
    /// Prefetched jobs that wait at the worker for a slot.
    #[serde(default)]
    pub prefetched: u32,
    /// Executions it may hold at once; 0 while it takes nothing.
    #[serde(default)]
    pub capacity: u32,
    /// How busy its machine is, where the system tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// The node that reaches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Incarnation>,
    /// When it started, by its own clock.
    pub started_at: Timestamp,
    /// When its heartbeat came last, by the store's clock.
    pub seen_at: Timestamp,
}

/// All workers that are live, or were lately.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerList {
    /// Version of the format: 1.
    pub v: u32,
    /// The workers.
    pub workers: Vec<WorkerView>,
}

/// The cluster as a node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClusterStatus {
    /// Version of the format: 1.
    pub v: u32,
    /// Version of the node's program.
    pub version: String,
    /// The node that answers.
    pub node: Incarnation,
    /// When the node started.
    pub started_at: Timestamp,
    /// The time at the node that answers.
    pub now: Timestamp,
    /// `sqlite`, `postgres` or `memory`.
    pub store: String,
    /// `full`, or how much an accepted job may lose.
    pub durability: String,
    /// `direct`, or the broker that carries messages.
    pub transport: String,
    /// The time zone database that this coordinator reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_data: Option<ZoneData>,
    /// Who leads; none while nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<Incarnation>,
    /// Of the leader; it grows with each new one.
    #[serde(default)]
    pub epoch: u64,
    /// The coordinators that share the store.
    #[serde(default)]
    pub nodes: Vec<NodeView>,
    /// Jobs by status.
    pub counts: StatusCounts,
    /// Counted up to 100000.
    pub dead_letters: u64,
    /// Schedules that need a look.
    #[serde(default)]
    pub schedules: ScheduleCounts,
    /// Workers within their lease.
    pub workers_live: u32,
    /// Of live workers, all together.
    pub slots: u32,
    /// Slots that are busy.
    pub active: u32,
    /// Prefetched jobs that wait at live workers for a slot.
    #[serde(default)]
    pub prefetched: u32,
    /// Whether the clock was set; none before a leader noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockView>,
    /// What this node reads, and what workers read that are heard here.
    #[serde(default)]
    pub links: Vec<LinkView>,
    /// What needs a person, worst first.
    pub attention: Vec<String>,
    /// Times that hold: lease, heartbeat and so on, milliseconds by name.
    pub settings_ms: std::collections::BTreeMap<String, u64>,
}

/// Something that is read from whatever carries messages, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LinkView {
    /// What is read.
    pub of: LinkKind,
    /// Whose inbox it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Incarnation>,
    /// The name of that worker, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_name: Option<Name>,
    /// Else it is reconnected to, without end.
    pub connected: bool,
    /// Since when that is so; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why it is not connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When a message that its reader published itself last came back to it; none where whatever carries
    /// does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_echo: Option<Timestamp>,
}

/// What is read from a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// What workers tell, read by the node.
    Events,
    /// What nodes tell each other, read by the node.
    Broadcast,
    /// What is sent to a worker, read by it.
    Inbox,
}

impl LinkKind {
    /// The name as JSON has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Broadcast => "broadcast",
            Self::Inbox => "inbox",
        }
    }
}

/// What leaders noticed of the wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClockView {
    /// How often it was set.
    pub jumps: u64,
    /// When that was last, by the new time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// By how many milliseconds; less than nothing where it went back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_by_ms: Option<i64>,
}

/// What a worker sends: envelopes with what it tells of its jobs.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PublishRequest {
    /// The messages.
    #[schema(value_type = Vec<Object>)]
    pub envelopes: Vec<Envelope>,
    /// How long to wait for what becomes of them, milliseconds, at most 30000; 10000 if left out.
    /// With 0 the answer is `taken`, and the inbox says the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// What became of one envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// It is in the store.
    Recorded,
    /// Its outcomes are of executions that are no longer current: nothing was changed. Final.
    Stale,
    /// It waits to be recorded. If nothing more is heard of it, it is to be sent again.
    Taken,
    /// Not taken: send it again later, here or elsewhere.
    TryAgain,
    /// Not a message for coordinators, or of a type that is not known here: set aside.
    NotForUs,
    /// It cannot be read, or is no worker's to tell: final, and `refused` says why.
    Refused,
}

/// What became of the messages of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PublishAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// In the order of the envelopes.
    pub receipts: Vec<Receipt>,
    /// Why envelopes were refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedEnvelope>,
}

/// A message that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RefusedEnvelope {
    /// Its place in the request, from 0.
    pub place: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// Whose inbox to read.
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
    /// Sent about every 5 s while nothing else is: the link lives.
    Ping {},
    /// Another reader has it from now on. The last line.
    TakenOver {},
}

/// Where nodes send to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeChannel {
    /// The inbox of a worker that this node reaches, or the node's own.
    Inbox(Incarnation),
    /// What all nodes hear.
    Broadcast,
}

/// Messages of a node to another.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodePublishRequest {
    /// Where they go.
    pub channel: NodeChannel,
    /// The messages.
    #[schema(value_type = Vec<Object>)]
    pub envelopes: Vec<Envelope>,
}

/// What is ordered of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerCommand {
    /// Take nothing new, finish the rest, and stay.
    Drain,
    /// Take work again.
    Resume,
    /// Give the incarnation up: its attempts are lost at once and run elsewhere, and nothing it says
    /// counts any more. Not to be taken back.
    Fence,
}

/// An order to workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkersOrderRequest {
    /// What to order.
    pub command: WorkerCommand,
    /// Names, or incarnations (the first digits are enough). A name means every live worker of it.
    pub workers: Vec<String>,
    /// Why, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who asked, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Change nothing, say what would be.
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of an order to one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerOrdered {
    /// The incarnation: a new one with every start.
    pub incarnation: Incarnation,
    /// The name.
    pub name: Name,
    /// The order stands. `false`: the worker is gone, or fenced.
    pub done: bool,
    /// Attempts it held at that time.
    pub active: u32,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkersOrderAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// Nothing was changed: this is what would be.
    pub dry_run: bool,
    /// The workers.
    pub workers: Vec<WorkerOrdered>,
}

/// One worker with what it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerDetail {
    /// Version of the format: 1.
    pub v: u32,
    /// The worker.
    pub worker: WorkerView,
    /// What it holds.
    pub attempts: Vec<WorkerAttempt>,
}

/// What a worker holds.
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
    /// A person wants it cancelled.
    pub cancel_requested: bool,
}

/// A coordinator, as the others know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeView {
    /// The node's incarnation.
    pub node: Incarnation,
    /// The name.
    pub name: Name,
    /// Where other nodes reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Version of its program.
    pub version: String,
    /// Of the time zone database that it reads: `2025b`, or `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_version: Option<String>,
    /// It is the leader.
    pub leads: bool,
    /// Heard of lately.
    pub live: bool,
    /// When it started.
    pub started_at: Timestamp,
    /// When its heartbeat came last.
    pub seen_at: Timestamp,
}

/// Which time zone database a node reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ZoneData {
    /// A folder, or `compiled in`.
    pub source: String,
    /// Of the IANA database: `2025b`. Absent where the folder does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl ZoneData {
    /// For people: the version, or that it is unknown.
    #[must_use]
    pub fn version_text(&self) -> &str {
        self.version.as_deref().unwrap_or("of unknown version")
    }
}
