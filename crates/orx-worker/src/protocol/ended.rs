//! Remembers executions that have ended.

use std::collections::{BTreeSet, VecDeque};

use orx_model::ExecutionId;

/// How many are remembered, to recognise a late copy of their dispatch. No transport delays a dispatch
/// behind this many others.
pub(super) const REMEMBERED: usize = 65_536;

/// The last [`REMEMBERED`] executions that ended, or that never start.
#[derive(Debug, Default)]
pub(super) struct EndedExecutions {
    known: BTreeSet<ExecutionId>,
    /// The oldest first.
    order: VecDeque<ExecutionId>,
}

impl EndedExecutions {
    pub(super) fn insert(&mut self, execution: ExecutionId) {
        if self.known.insert(execution) {
            self.order.push_back(execution);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
    }

    pub(super) fn contains(&self, execution: ExecutionId) -> bool {
        self.known.contains(&execution)
    }
}
