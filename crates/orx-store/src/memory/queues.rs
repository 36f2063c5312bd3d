//! Pauses of queues in the reference model.

use async_trait::async_trait;
use orx_model::Name;

use super::Memory;
use crate::{Paused, Queues, Result};

#[async_trait]
impl Queues for Memory {
    async fn pause_queue(&self, queue: Name, pause: Paused) -> Result<bool> {
        let mut state = self.state()?;
        if !state.queues.contains(&queue) {
            return Ok(false);
        }
        let at = state.paused.get(&queue).map_or(pause.at, |paused| paused.at);
        state.paused.insert(queue, Paused { at, ..pause });
        Ok(true)
    }

    async fn resume_queue(&self, queue: Name) -> Result<bool> {
        Ok(self.state()?.paused.remove(&queue).is_some())
    }

    async fn paused_queues(&self) -> Result<Vec<(Name, Paused)>> {
        let state = self.state()?;
        Ok(state.paused.iter().map(|(name, pause)| (name.clone(), pause.clone())).collect())
    }
}
