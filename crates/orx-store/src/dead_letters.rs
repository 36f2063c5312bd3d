//! Dead letters in a store.

use async_trait::async_trait;
use std::collections::BTreeSet;

use orx_model::filter::Filter;
use orx_model::job::DeadReason;
use orx_model::{CauseId, JobId, JobSummary, Name, Timestamp};

use crate::{ListRequest, Page, Result, Term};

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

/// Which causes of dead letters to list.
#[derive(Debug, Clone)]
pub struct CausesRequest {
    /// Counts only dead letters whose jobs match.
    pub filter: Filter,
    /// The count and id of the last cause of the page before.
    pub after: Option<(u64, CauseId)>,
    /// Causes of the page, at most.
    pub limit: u32,
}

/// The dead letters of one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CauseRow {
    /// The cause.
    pub id: CauseId,
    /// The job type of these jobs.
    pub name: Name,
    /// See [`orx_model::cause::cause_text`].
    pub text: String,
    /// How many there are.
    pub count: u64,
    /// The queues of their jobs.
    pub queues: BTreeSet<Name>,
    /// Why the jobs failed for good.
    pub reasons: BTreeSet<DeadReason>,
    /// When the store recorded the oldest of them.
    pub first: Timestamp,
    /// When the store recorded the newest of them.
    pub last: Timestamp,
    /// The job with the highest id among them.
    pub sample: JobId,
}

/// A page of causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CausesPage {
    /// The most frequent cause first, equal counts in the order of [`CauseId::to_signed`].
    pub rows: Vec<CauseRow>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<(u64, CauseId)>,
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

    /// The causes of the dead letters of matching jobs, with exact counts. Without a filter, or with one that
    /// names causes only, the store reads counts that it keeps; otherwise it matches the dead letters.
    ///
    /// # Errors
    /// As [`Jobs::list`].
    ///
    /// [`Jobs::list`]: crate::Jobs::list
    async fn causes(&self, request: CausesRequest, now: Timestamp) -> Result<CausesPage>;

    /// Leader only. Durable. Computes the cause of at most `limit` dead letters that have none: those of
    /// before schema 15, and those that an older node recorded. Returns how many there were.
    async fn assign_causes(&self, limit: u32, term: Term) -> Result<u64>;

    /// Durable. Deletes the dead letters, not the jobs. Returns for each id, in order, whether there was
    /// one.
    async fn delete_dead_letters(&self, ids: Vec<JobId>) -> Result<Vec<bool>>;
}
