//! Pauses of queues in a store.

use async_trait::async_trait;
use orx_model::Name;

use crate::{Paused, Result};

/// Pauses queues. No job of a paused queue is claimed; whatever was claimed before goes on.
#[async_trait]
pub trait Queues: Send + Sync {
    /// Durable, and in force for every later claim. A second pause replaces reason and person, and the
    /// queue stays paused since the first. Returns `false` for a queue that never had a job.
    async fn pause_queue(&self, queue: Name, pause: Paused) -> Result<bool>;

    /// Durable. Returns whether the queue was paused.
    async fn resume_queue(&self, queue: Name) -> Result<bool>;

    /// The paused queues, ordered by name.
    async fn paused_queues(&self) -> Result<Vec<(Name, Paused)>>;
}
