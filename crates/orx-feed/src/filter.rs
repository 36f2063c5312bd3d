//! Which events a reader gets.

use orx_model::event::{EventBody, EventKind};
use orx_model::{JobId, Name};

use crate::ring::Batch;

/// A filter of events. An event passes if it fits every part that was set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeedFilter {
    /// Only events of these jobs, and nothing else wakes the reader.
    pub(crate) jobs: Option<Vec<JobId>>,
    queue: Option<Name>,
    kinds: Option<Vec<EventKind>>,
    own: bool,
}

impl FeedFilter {
    /// Takes every event.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Takes the events of one job, its log included.
    #[must_use]
    pub fn job(job: JobId) -> Self {
        Self::all().jobs([job])
    }

    /// Takes only events of these jobs.
    #[must_use]
    pub fn jobs(mut self, jobs: impl IntoIterator<Item = JobId>) -> Self {
        let mut jobs: Vec<JobId> = jobs.into_iter().collect();
        jobs.sort_unstable();
        jobs.dedup();
        self.jobs = Some(jobs);
        self
    }

    /// Takes only events of a queue and its jobs. A job whose event names no queue may be one of them.
    #[must_use]
    pub fn queue(mut self, queue: Name) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Takes only events of these kinds.
    #[must_use]
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = EventKind>) -> Self {
        self.kinds = Some(kinds.into_iter().collect());
        self
    }

    /// Takes only changes of this node.
    #[must_use]
    pub fn own(mut self) -> Self {
        self.own = true;
        self
    }

    pub(crate) fn takes_batch(&self, batch: &Batch) -> bool {
        batch.own || !self.own
    }

    /// An event of a later release passes only an empty filter, since its subject is unknown.
    pub(crate) fn takes(&self, what: &EventBody) -> bool {
        let EventBody::Known(known) = what else {
            return self.jobs.is_none() && self.queue.is_none() && self.kinds.is_none();
        };
        let job = known.job();
        let of_jobs = self
            .jobs
            .as_ref()
            .is_none_or(|jobs| job.is_some_and(|job| jobs.binary_search(&job.id).is_ok()));
        let of_queue = self.queue.as_ref().is_none_or(|queue| match known.queue() {
            Some(reported) => reported == queue,
            None => job.is_some(),
        });
        let of_kinds = self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&known.kind()));
        of_jobs && of_queue && of_kinds
    }
}
