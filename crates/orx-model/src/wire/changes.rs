//! Changes of jobs over HTTP: cancels, retries and deletions.

use serde::{Deserialize, Serialize};

use crate::ids::JobId;
use crate::problem::Problem;
use crate::status::JobStatus;

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
    /// Unchanged: it has ended, but its end has not reached the jobs that wait for it.
    InUse,
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
