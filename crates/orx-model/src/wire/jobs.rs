//! Jobs over HTTP: enqueued, listed, read and waited for.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::attempt::Attempt;
use crate::ids::{JobId, Name};
use crate::job::{Command, Job, JobSummary, Json, Labels};
use crate::policy::{OnLost, Priority};
use crate::problem::Problem;
use crate::status::JobStatus;
use crate::time::Timestamp;

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
