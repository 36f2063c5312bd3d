//! Queues and dead letters over HTTP.

use serde::{Deserialize, Serialize};

use crate::cause::CauseId;
use crate::ids::Name;
use crate::job::{DeadReason, JobSummary};
use crate::schedule::wire::PauseView;
use crate::status::JobStatus;
use crate::time::Timestamp;

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
    /// Who paused it, when and why; absent where it is not paused. None of its jobs start meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseView>,
}

/// The sender and reason of a pause or resume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueOrder {
    /// The reason, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who sends the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
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
    /// Names its cause in a filter: `cause:ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause_id: Option<CauseId>,
    /// Its cause: the error, with `#` for what varies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
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
