//! Claims, starts and progress in the reference model.

use async_trait::async_trait;
use orx_model::message::{ExecutionProgress, ExecutionRef, Started};
use orx_model::{Incarnation, JobEvent, JobId, JobStatus, Lane, LiveAttempt, Outcome, Timestamp};

use super::{Entry, Memory};
use crate::codec;
use crate::lane_merge::{Given, Takers};
use crate::{
    ClaimRequest, Claimed, Claims, ClockJump, Dispatching, Holder, Live, Promoted, Recorded,
    Result, Term,
};

#[async_trait]
impl Dispatching for Memory {
    async fn claim_ready(
        &self,
        requests: Vec<ClaimRequest>,
        term: Term,
        now: Timestamp,
    ) -> Result<Claims> {
        let mut state = self.state()?;
        state.leads(term)?;
        let mut ready: Vec<(std::cmp::Reverse<u8>, Timestamp, JobId)> = state
            .jobs
            .values()
            .filter(|entry| entry.job.state.status == JobStatus::Pending)
            .filter(|entry| !state.paused.contains_key(&entry.job.spec.queue))
            .map(|e| (std::cmp::Reverse(e.job.spec.priority.rank()), e.job.state.run_at, e.job.id))
            .collect();
        ready.sort_unstable();
        let mut takers = Takers::new(&requests);
        let (mut claimed, mut expired) = (Vec::new(), Vec::new());
        for (_, _, id) in ready {
            let Some(entry) = state.jobs.get(&id) else { continue };
            let (job, expire_at) = (&entry.job, entry.expire_at);
            let lane = Lane {
                queue: job.spec.queue.clone(),
                handler: job.spec.handler().cloned(),
                require: job.spec.require.clone(),
            };
            if takers.left() == 0 {
                break;
            }
            let takes = |request: &usize| requests[*request].offer.takes(&lane);
            let fits = (0..requests.len()).filter(takes);
            if !fits.clone().any(|request| takers.takes_more(request)) {
                continue;
            }
            if expire_at.is_some_and(|at| at <= now) {
                state.expire(id, term, now)?;
                expired.push(id);
                continue;
            }
            let alone = job.state.ends.runs_alone();
            let Some(Given { request, execution }) = takers.give(fits, alone) else { continue };
            let request = &requests[request];
            let execution = request.executions[execution];
            if let Some(entry) = state.jobs.get_mut(&id) {
                entry.job.state.attempt += 1;
                entry.expire_at = None;
                entry.job.state.live = Some(LiveAttempt {
                    execution,
                    worker: request.worker,
                    worker_name: request.worker_name.clone(),
                    epoch: term.epoch,
                    claimed_at: now,
                    started_at: None,
                    progress: None,
                });
            }
            state.change(id, JobEvent::Claim, Some(term))?;
            if let Some(job) = state.jobs.get(&id).map(|entry| &entry.job) {
                let (failed, spec) = (job.state.ends.failed, job.spec.clone());
                let dispatch = codec::dispatch(
                    id,
                    job.state.attempt,
                    execution,
                    job.state.run_at,
                    failed,
                    spec,
                );
                claimed.push(Claimed { worker: request.worker, dispatch, alone });
            }
        }
        Ok(Claims { claimed, expired })
    }

    async fn promote_due(&self, term: Term, now: Timestamp, limit: u32) -> Result<Promoted> {
        let mut state = self.state()?;
        state.leads(term)?;
        let limit = limit as usize;
        let mut over: Vec<(Timestamp, JobId)> = state
            .jobs
            .values()
            .filter_map(|entry| Some((entry.expire_at?, entry.job.id)))
            .filter(|(at, _)| *at <= now)
            .collect();
        over.sort_unstable();
        over.truncate(limit);
        for (_, id) in &over {
            state.expire(*id, term, now)?;
        }
        let mut due: Vec<(Timestamp, JobId)> = state
            .jobs
            .values()
            .filter(|entry| {
                entry.job.state.status == JobStatus::Scheduled && entry.job.state.run_at <= now
            })
            .map(|entry| (entry.job.state.run_at, entry.job.id))
            .collect();
        due.sort_unstable();
        due.truncate(limit);
        for (_, id) in &due {
            state.change(*id, JobEvent::Due, Some(term))?;
        }
        let more = due.len() >= limit || over.len() >= limit;
        let ids = |found: Vec<(Timestamp, JobId)>| {
            let mut ids: Vec<JobId> = found.into_iter().map(|(_, id)| id).collect();
            ids.sort_unstable();
            ids
        };
        Ok(Promoted { due: ids(due), expired: ids(over), more })
    }

    async fn clock_was_set(&self, jump: ClockJump, term: Term, now: Timestamp) -> Result<u64> {
        let mut state = self.state()?;
        state.leads(term)?;
        let set = |at: Timestamp| Timestamp::from_millis(at.as_millis().saturating_add(jump.by_ms));
        let mut waits = 0;
        for entry in state.jobs.values_mut() {
            let job = &mut entry.job;
            match job.state.status {
                JobStatus::Scheduled if job.state.attempt > 0 && job.state.run_at > jump.before => {
                    job.state.run_at = set(job.state.run_at).max(now);
                    waits += 1;
                }
                JobStatus::Pending if jump.by_ms < 0 => {
                    job.state.run_at = job.state.run_at.min(now)
                }
                _ => {}
            }
            if let Some(live) = &mut job.state.live {
                live.claimed_at = set(live.claimed_at);
                live.started_at = live.started_at.map(set);
            }
        }
        Ok(waits)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        let state = self.state()?;
        let times = state.jobs.values().flat_map(|entry| {
            let scheduled = entry.job.state.status == JobStatus::Scheduled;
            [scheduled.then_some(entry.job.state.run_at), entry.expire_at]
        });
        Ok(times.flatten().min())
    }

    async fn mark_started(&self, started: Vec<Started>, now: Timestamp) -> Result<()> {
        let mut state = self.state()?;
        for report in started {
            let Some(entry) = state.jobs.get_mut(&report.job) else { continue };
            let dispatched = entry.job.state.status == JobStatus::Dispatched;
            match &mut entry.job.state.live {
                Some(live) if live.execution == report.execution && dispatched => {
                    live.started_at = Some(report.at.min(now).max(live.claimed_at));
                    state.change(report.job, JobEvent::Start, None)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn record_progress(&self, progress: Vec<ExecutionProgress>) -> Result<()> {
        let mut state = self.state()?;
        for report in progress {
            let live =
                state.jobs.get_mut(&report.job).and_then(|entry| entry.job.state.live.as_mut());
            if let Some(live) = live.filter(|live| live.execution == report.execution) {
                live.progress = Some(report.progress);
            }
        }
        Ok(())
    }

    async fn record_outcomes(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        self.state()?.record(&outcomes, draws, None, now)
    }

    async fn record_outcomes_as_leader(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        term: Term,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        let mut state = self.state()?;
        state.leads(term)?;
        state.record(&outcomes, draws, Some(term), now)
    }

    async fn live_attempts(&self) -> Result<Vec<Live>> {
        Ok(self.state()?.jobs.values().filter_map(live).collect())
    }

    async fn live_attempts_of(&self, workers: Vec<Incarnation>) -> Result<Vec<Live>> {
        let all = self.live_attempts().await?;
        Ok(all.into_iter().filter(|attempt| workers.contains(&attempt.worker)).collect())
    }

    async fn holders(&self, executions: Vec<ExecutionRef>) -> Result<Vec<Option<Holder>>> {
        let state = self.state()?;
        let holder = |of: &ExecutionRef| {
            let entry = state.jobs.get(&of.job)?;
            let live = entry.job.state.live.as_ref().filter(|live| live.execution == of.execution);
            if let Some(live) = live {
                return Some(Holder { worker: live.worker, attempt: entry.job.state.attempt });
            }
            let ended = entry.ended.iter().find(|ended| ended.execution == of.execution)?;
            Some(Holder { worker: ended.worker, attempt: ended.number })
        };
        Ok(executions.iter().map(holder).collect())
    }
}

fn live(entry: &Entry) -> Option<Live> {
    let live = entry.job.state.live.as_ref()?;
    Some(Live {
        job: entry.job.id,
        attempt: entry.job.state.attempt,
        execution: live.execution,
        worker: live.worker,
        status: entry.job.state.status,
        claimed_at: live.claimed_at,
        started_at: live.started_at,
        timeout_ms: entry.job.spec.timeout_ms,
        deadline: entry.job.spec.deadline,
        cancel_requested: entry.job.state.cancel.is_some(),
        alone: entry.job.state.ends.runs_alone(),
    })
}
