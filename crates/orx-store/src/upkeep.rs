//! Health, pruning, clock and end of a store.

use async_trait::async_trait;
use orx_model::Timestamp;

use crate::{Result, Term};

/// Which jobs to delete. Jobs with a dead letter stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneRequest {
    /// Completed jobs that finished before this.
    pub completed_before: Timestamp,
    /// Other final jobs that finished before this.
    pub others_before: Timestamp,
    /// Jobs to delete with their rows, at most.
    pub limit: u32,
    /// Log chunks to delete, at least 1, at most this many. A job with more loses its first chunks, and is
    /// deleted in a later call.
    pub chunks: u32,
}

/// The result of one [`Upkeep::prune`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Deleted jobs.
    pub jobs: u64,
    /// The call reached a limit: there may be more to delete.
    pub more: bool,
}

/// A change of the clock, such as an operator's correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockJump {
    /// The time that the unchanged clock would have shown at that moment.
    pub before: Timestamp,
    /// Milliseconds that the clock moved forward; negative if it moved back.
    pub by_ms: i64,
}

/// The clock as leaders recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockNote {
    /// The last time that a leader read from the clock.
    pub seen: Timestamp,
    /// How many times leaders noticed that the clock was set.
    pub jumps: u64,
    /// When the clock was last set, by the new time, and by how many milliseconds.
    pub last: Option<(Timestamp, i64)>,
}

/// Describes a store to operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// `memory`, `sqlite`, `postgres`.
    pub kind: &'static str,
    /// `full`, or a sentence about the loss that an accepted job risks.
    pub durability: &'static str,
    /// Version of the schema, from 1.
    pub schema: u32,
}

/// Health, pruning and shutdown of a store.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Describes the store without reading it.
    fn info(&self) -> StoreInfo;

    /// Checks without a write that the store can take writes: it can be reached, is not read-only, and
    /// its disk is not full.
    async fn look(&self) -> Result<()> {
        Ok(())
    }

    /// Makes a durable write without content; fails while the store cannot take writes.
    async fn check_writable(&self) -> Result<()>;

    /// Leader only. Durable. Deletes the oldest jobs first.
    async fn prune(&self, request: PruneRequest, term: Term) -> Result<Pruned>;

    /// Leader only. Durable. Deletes at most `limit` keys of pruned jobs that reached
    /// [`RetainedKey::kept_until`]; returns how many.
    ///
    /// [`RetainedKey::kept_until`]: crate::RetainedKey::kept_until
    async fn forget_keys(&self, now: Timestamp, limit: u32, term: Term) -> Result<u64>;

    /// `None` before the first [`Self::note_clock`].
    async fn clock(&self) -> Result<Option<ClockNote>>;

    /// Leader only. Advisory. Replaces the recorded clock.
    async fn note_clock(&self, note: ClockNote, term: Term) -> Result<()>;

    /// Syncs every change and closes the store; later calls return [`StoreError::Closed`].
    ///
    /// [`StoreError::Closed`]: crate::StoreError::Closed
    async fn close(&self) -> Result<()>;
}
