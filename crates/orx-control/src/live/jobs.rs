//! The topic of jobs: the changed jobs are read once for all readers, and each reader filters them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use orx_model::event::EventCursor;
use orx_model::filter::Filter;
use orx_model::job::Json;
use orx_model::wire::V;
use orx_model::wire::live::{JobProgress, JobStatusUpdated, LiveEvent, ProgressOf, Refetch};
use orx_model::{Job, JobId, JobSummary, Timestamp};

use super::Frame;
use super::changes::Changes;
use crate::view::masked_summary;
use crate::{ControlPanel, Result, store_problem};

/// Jobs that changed, as they are now.
pub(crate) struct ChangedJobs {
    cursor: EventCursor,
    changed: ChangeSet,
    /// The frames of a reader without a filter.
    unfiltered: OnceLock<Vec<Frame>>,
}

enum ChangeSet {
    /// More than an event may name, or unknown ones; the number of changes.
    Many(u64),
    These {
        moved: Vec<StoredJob>,
        progressed: Vec<StoredJob>,
        gone: Vec<JobId>,
    },
}

/// A job as it is stored. Filters see it unmasked, readers do not.
struct StoredJob {
    job: JobSummary,
    args: Json,
}

impl From<Job> for StoredJob {
    fn from(job: Job) -> Self {
        let args = job.spec.args.clone();
        Self { job: job.into(), args }
    }
}

impl ChangedJobs {
    /// Reads the changed jobs.
    pub(crate) async fn read(
        panel: &ControlPanel,
        changes: &Changes,
        cursor: EventCursor,
    ) -> Result<Self> {
        let changed = match changes.jobs() {
            None => ChangeSet::Many(if changes.gap { 0 } else { changes.count }),
            Some(jobs) => Self::find(panel, jobs).await?,
        };
        Ok(Self { cursor, changed, unfiltered: OnceLock::new() })
    }

    async fn find(panel: &ControlPanel, jobs: &BTreeMap<JobId, bool>) -> Result<ChangeSet> {
        let ids: Vec<JobId> = jobs.keys().copied().collect();
        let found = panel.store().jobs(ids.clone()).await.map_err(store_problem)?;
        let mut gone = ids;
        let (mut moved, mut progressed) = (Vec::new(), Vec::new());
        for job in found {
            gone.retain(|id| *id != job.id);
            let list = if jobs.get(&job.id) == Some(&true) { &mut moved } else { &mut progressed };
            list.push(StoredJob::from(job));
        }
        Ok(ChangeSet::These { moved, progressed, gone })
    }

    /// What a reader with this filter receives.
    pub(crate) fn frames(&self, filter: &Filter, now: Timestamp) -> Vec<Frame> {
        if filter.is_empty() {
            return self.unfiltered.get_or_init(|| self.filtered(filter, now)).clone();
        }
        self.filtered(filter, now)
    }

    fn filtered(&self, filter: &Filter, now: Timestamp) -> Vec<Frame> {
        let event = |event: LiveEvent| Frame::new(Some(self.cursor.to_string()), &event);
        let (moved, progressed, gone) = match &self.changed {
            ChangeSet::Many(changed) => {
                return vec![event(LiveEvent::Refetch(Refetch { v: V, changed: *changed }))];
            }
            ChangeSet::These { moved, progressed, gone } => (moved, progressed, gone),
        };
        let matches = |found: &&StoredJob| filter.matches(&found.job, Some(&found.args), now);
        let (matching, others): (Vec<&StoredJob>, Vec<&StoredJob>) =
            moved.iter().partition(matches);
        let mut frames = Vec::new();
        if !(matching.is_empty() && others.is_empty() && gone.is_empty()) {
            frames.push(event(LiveEvent::JobStatusUpdated(JobStatusUpdated {
                v: V,
                jobs: matching.into_iter().map(|it| masked_summary(it.job.clone())).collect(),
                unmatched: others.into_iter().map(|it| it.job.id).collect(),
                gone: gone.clone(),
                attempts: Vec::new(),
            })));
        }
        let progress: Vec<ProgressOf> =
            progressed.iter().filter(matches).filter_map(|it| progress_of(&it.job)).collect();
        if !progress.is_empty() {
            frames.push(event(LiveEvent::JobProgress(JobProgress { v: V, jobs: progress })));
        }
        frames
    }
}

/// The newest progress of a job.
pub(crate) fn progress_of(job: &JobSummary) -> Option<ProgressOf> {
    let progress = job.state.live.as_ref()?.progress.clone()?;
    Some(ProgressOf { id: job.id, attempt: job.state.attempt, progress })
}
