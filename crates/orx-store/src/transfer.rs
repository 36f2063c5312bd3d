//! Copies of a whole store, and the identity that tells copies apart.

use async_trait::async_trait;
use orx_model::{Attempt, Job, JobId, JobStatus, Timestamp};

use crate::Result;

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
    /// Dependencies of jobs, and alerts of runs.
    pub dependencies: u64,
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
pub trait StoreCopy: Send + Sync {
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
    ///
    /// [`Leases::lead`]: crate::Leases::lead
    /// [`StoreError::Moved`]: crate::StoreError::Moved
    async fn put_home(&self, home: Home) -> Result<()>;
}
