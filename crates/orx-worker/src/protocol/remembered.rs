//! Which executions are over.

use std::collections::{BTreeSet, VecDeque};

use orx_model::ExecutionId;

/// Executions remembered after they are over, so that a late copy of their dispatch is known. A
/// dispatch that comes later than so many others is not held back by any transport we have.
const REMEMBERED: usize = 65_536;

/// The newest [`REMEMBERED`] executions that are over.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    known: BTreeSet<ExecutionId>,
    order: VecDeque<ExecutionId>,
}

impl Remembered {
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
