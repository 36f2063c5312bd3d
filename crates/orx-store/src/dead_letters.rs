//! Dead letters in a store.

use async_trait::async_trait;
use orx_model::job::DeadReason;
use orx_model::{JobId, JobSummary, Timestamp};

use crate::{ListRequest, Page, Result};

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
    ///
    /// [`Jobs::list`]: crate::Jobs::list
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
