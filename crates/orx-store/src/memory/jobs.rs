//! Jobs in the reference model.

use std::collections::BTreeMap;

use async_trait::async_trait;
use orx_model::filter::Filter;
use orx_model::job::{AttemptCounts, CancelRequest};
use orx_model::outcome::Resolution;
use orx_model::wire::{Count, StatusCounts};
use orx_model::{
    Attempt, AttemptStatus, Job, JobEvent, JobId, JobStatus, JobSummary, Name, NewJob, Outcome,
    OutcomeKind, Timestamp, next,
};

use super::{Memory, State, matches};
use crate::{
    CancelAnswer, CancelCommand, DeleteAnswer, Enqueued, Jobs, ListRequest, Page, Result,
    RetryAnswer,
};

#[async_trait]
impl Jobs for Memory {
    async fn enqueue(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Enqueued>> {
        let mut state = self.state()?;
        let mut answers = Vec::new();
        for job in jobs {
            let known = job.spec.key.as_ref().and_then(|key| state.keys.get(key).copied());
            if let Some(entry) = known.and_then(|known| state.jobs.get(&known)) {
                let (id, status) = (entry.job.id, entry.job.state.status);
                answers.push(if entry.key_hash == job.key_hash {
                    Enqueued::Existing { id, status }
                } else {
                    Enqueued::KeyConflict { id, status, hash: entry.key_hash.clone() }
                });
                continue;
            }
            let retained =
                job.spec.key.as_ref().and_then(|key| state.retained_keys.get(key).cloned());
            if let Some(retained) = retained {
                if retained.kept_until > now {
                    answers.push(if retained.hash == job.key_hash {
                        Enqueued::Existing { id: retained.job, status: retained.status }
                    } else {
                        Enqueued::KeyConflict {
                            id: retained.job,
                            status: retained.status,
                            hash: retained.hash,
                        }
                    });
                    continue;
                }
                state.retained_keys.remove(&retained.key);
            }
            let status = match job.run_at {
                Some(run_at) if run_at > now => JobStatus::Scheduled,
                _ => JobStatus::Pending,
            };
            let id = state.add(job, status, None, now);
            answers.push(Enqueued::New { id, status });
        }
        Ok(answers)
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        Ok(self.state()?.view(id))
    }

    async fn jobs(&self, ids: Vec<JobId>) -> Result<Vec<Job>> {
        let state = self.state()?;
        let ids: std::collections::BTreeSet<JobId> = ids.into_iter().collect();
        Ok(ids.into_iter().filter_map(|id| state.view(id)).collect())
    }

    async fn job_by_key(&self, key: &str) -> Result<Option<Job>> {
        let state = self.state()?;
        Ok(state.keys.get(key).and_then(|id| state.view(*id)))
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>> {
        let state = self.state()?;
        let Some(entry) = state.jobs.get(&id) else { return Ok(Vec::new()) };
        let mut all = entry.ended.clone();
        if let Some(live) = &entry.job.state.live {
            all.push(Attempt {
                job: id,
                number: entry.job.state.attempt,
                execution: live.execution,
                worker: live.worker,
                worker_name: live.worker_name.clone(),
                epoch: live.epoch,
                status: match live.started_at {
                    Some(_) => AttemptStatus::Running,
                    None => AttemptStatus::Dispatched,
                },
                claimed_at: live.claimed_at,
                started_at: live.started_at,
                ended_at: None,
                error: None,
                exit: None,
                dropped_bytes: 0,
            });
        }
        for attempt in &mut all {
            let log = (id, attempt.number, 0)..=(id, attempt.number, u64::MAX);
            let dropped = state.logs.range(log).map(|(_, chunk)| chunk.dropped_bytes);
            let most = i64::MAX.unsigned_abs();
            attempt.dropped_bytes = dropped.fold(0, u64::saturating_add).min(most);
        }
        Ok(all)
    }

    async fn list(&self, request: ListRequest, now: Timestamp) -> Result<Page<JobSummary>> {
        let state = self.state()?;
        Ok(state.page(&request, now, |_| true))
    }

    async fn count(&self, filter: Filter, most: u64, now: Timestamp) -> Result<Count> {
        let state = self.state()?;
        let all = state.jobs.keys().filter_map(|id| state.view(*id));
        let count = all.filter(|job| matches(&filter, job, now)).count() as u64;
        Ok(Count { count: count.min(most), exact: count <= most })
    }

    async fn queue_counts(&self) -> Result<Vec<(Name, StatusCounts)>> {
        let state = self.state()?;
        let mut queues: BTreeMap<Name, StatusCounts> =
            state.queues.iter().map(|queue| (queue.clone(), StatusCounts::default())).collect();
        for entry in state.jobs.values() {
            *queues
                .entry(entry.job.spec.queue.clone())
                .or_default()
                .slot(entry.job.state.status) += 1;
        }
        Ok(queues.into_iter().collect())
    }

    async fn oldest_due(&self) -> Result<Vec<(Name, Timestamp)>> {
        let state = self.state()?;
        let mut oldest: BTreeMap<Name, Timestamp> = BTreeMap::new();
        for entry in
            state.jobs.values().filter(|entry| entry.job.state.status == JobStatus::Pending)
        {
            let known =
                oldest.entry(entry.job.spec.queue.clone()).or_insert(entry.job.state.run_at);
            *known = (*known).min(entry.job.state.run_at);
        }
        Ok(oldest.into_iter().collect())
    }

    async fn cancel(
        &self,
        cancels: Vec<CancelCommand>,
        now: Timestamp,
    ) -> Result<Vec<CancelAnswer>> {
        let mut state = self.state()?;
        cancels.into_iter().map(|cancel| state.cancel_one(cancel, now)).collect()
    }

    async fn retry(&self, ids: Vec<JobId>, now: Timestamp) -> Result<Vec<RetryAnswer>> {
        let mut state = self.state()?;
        ids.into_iter().map(|id| state.retry_one(id, now)).collect()
    }

    async fn delete_jobs(
        &self,
        ids: Vec<JobId>,
        expected: Option<JobStatus>,
    ) -> Result<Vec<DeleteAnswer>> {
        let mut state = self.state()?;
        let delete = |id| match state.deletable(id) {
            Ok(status) if expected.is_some_and(|expected| expected != status) => {
                DeleteAnswer::NotInState { status }
            }
            Ok(_) => {
                state.delete_chunks(id, usize::MAX);
                state.delete_row(id);
                DeleteAnswer::Deleted
            }
            Err(answer) => answer,
        };
        Ok(ids.into_iter().map(delete).collect())
    }
}

impl State {
    pub(super) fn cancel_one(
        &mut self,
        cancel: CancelCommand,
        now: Timestamp,
    ) -> Result<CancelAnswer> {
        let Some(entry) = self.jobs.get_mut(&cancel.id) else {
            return Ok(CancelAnswer::Missing);
        };
        let status = entry.job.state.status;
        if cancel.expected.is_some_and(|expected| expected != status) {
            return Ok(CancelAnswer::NotInState { status });
        }
        if status.is_final() {
            return Ok(CancelAnswer::AlreadyFinal { status });
        }
        entry.job.state.cancel.get_or_insert(CancelRequest {
            at: now,
            reason: cancel.reason,
            by: cancel.by,
        });
        let live = entry.job.state.live.clone();
        let ends = entry.job.state.ends;
        Ok(match live {
            None => {
                self.finish(cancel.id, JobEvent::Cancel, None, now, None)?;
                CancelAnswer::Cancelled { stop: None }
            }
            Some(live) if !cancel.force => {
                CancelAnswer::Cancelling { worker: live.worker, execution: live.execution, status }
            }
            Some(live) => {
                let outcome = Outcome {
                    job: cancel.id,
                    execution: live.execution,
                    kind: OutcomeKind::Cancelled,
                    started_at: live.started_at,
                    ended_at: now,
                    error: Some("cancelled by force".to_owned()),
                    exit: None,
                };
                let event = JobEvent::Stopped;
                let resolved = Resolution { event, ends, run_at: None, dead: None };
                self.end_attempt(&outcome, &resolved, None, now)?;
                CancelAnswer::Cancelled { stop: Some((live.worker, live.execution)) }
            }
        })
    }

    pub(super) fn retry_one(&mut self, id: JobId, now: Timestamp) -> Result<RetryAnswer> {
        let Some(entry) = self.jobs.get(&id) else { return Ok(RetryAnswer::Missing) };
        let status = entry.job.state.status;
        if next(status, JobEvent::Revive).is_err() {
            return Ok(RetryAnswer::NotInState { status });
        }
        self.change(id, JobEvent::Revive, None)?;
        self.dead.remove(&id);
        if let Some(entry) = self.jobs.get_mut(&id) {
            entry.expire_at = entry.job.spec.deadline;
            let job = &mut entry.job;
            job.state.run_at = now;
            job.state.finished_at = None;
            job.state.ends = AttemptCounts::default();
            job.state.cancel = None;
            job.state.error = None;
            job.state.exit = None;
            job.state.result = None;
        }
        Ok(RetryAnswer::Retried)
    }

    /// The status of a job that a person may delete.
    pub(super) fn deletable(&self, id: JobId) -> std::result::Result<JobStatus, DeleteAnswer> {
        let entry = self.jobs.get(&id).ok_or(DeleteAnswer::Missing)?;
        let status = entry.job.state.status;
        if !status.is_final() {
            return Err(DeleteAnswer::NotInState { status });
        }
        if self.schedules.is_in_use(id) {
            return Err(DeleteAnswer::InUse { status });
        }
        Ok(status)
    }

    /// Deletes the first chunks of a job's log; returns how many.
    pub(super) fn delete_chunks(&mut self, id: JobId, most: usize) -> usize {
        let whole = (id, 0, 0)..=(id, u32::MAX, u64::MAX);
        let first: Vec<_> = self.logs.range(whole).map(|(place, _)| *place).take(most).collect();
        for place in &first {
            self.logs.remove(place);
        }
        first.len()
    }

    /// Deletes a job with its key and dead letter.
    pub(super) fn delete_row(&mut self, id: JobId) {
        self.dead.remove(&id);
        if let Some(entry) = self.jobs.remove(&id)
            && let Some(key) = entry.job.spec.key
        {
            self.keys.remove(&key);
        }
    }
}
