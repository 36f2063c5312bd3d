//! A cache of the worker that each execution was dispatched to. That never changes, so the recorder reads it
//! from the store once; a leader adds its own claims without a read.

use std::collections::HashMap;

use orx_model::message::ExecutionRef;
use orx_model::{ExecutionId, JobId};
use orx_store::Holder;

/// Executions in each of two generations: the older one is dropped when the younger is full.
const GENERATION: usize = 16_384;

#[derive(Debug, Default)]
pub(crate) struct Holders {
    young: HashMap<ExecutionId, (JobId, Holder)>,
    old: HashMap<ExecutionId, (JobId, Holder)>,
}

impl Holders {
    pub(crate) fn note(&mut self, of: ExecutionRef, holder: Holder) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(of.execution, (of.job, holder));
    }

    pub(crate) fn knows(&self, execution: ExecutionId) -> bool {
        self.young.contains_key(&execution) || self.old.contains_key(&execution)
    }

    /// `None` also for an execution of another job.
    pub(crate) fn of(&self, of: ExecutionRef) -> Option<Holder> {
        let known = self.young.get(&of.execution).or_else(|| self.old.get(&of.execution));
        known.filter(|(job, _)| *job == of.job).map(|(_, holder)| *holder)
    }
}
