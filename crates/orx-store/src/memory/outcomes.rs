//! The ends of attempts in the reference model.

use orx_model::outcome::{Resolution, RetryInputs, resolve_outcome};
use orx_model::{Attempt, AttemptStatus, JobStatus, Outcome, OutcomeKind, Timestamp};

use super::State;
use crate::codec::{capped, span};
use crate::{Recorded, Result, StoreError, Term};

impl State {
    pub(super) fn record(
        &mut self,
        outcomes: &[Outcome],
        draws: Vec<f64>,
        by: Option<Term>,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        let mut answers = Vec::new();
        let draws = draws.into_iter().chain(std::iter::repeat(0.5));
        for (outcome, draw) in outcomes.iter().zip(draws) {
            let Some(job) = self.jobs.get(&outcome.job).map(|entry| &entry.job) else {
                answers.push(Recorded::Missing);
                continue;
            };
            if job.state.live.as_ref().map(|live| live.execution) != Some(outcome.execution) {
                answers.push(Recorded::Stale { status: job.state.status });
                continue;
            }
            let inputs = RetryInputs {
                ends: job.state.ends,
                retry: job.spec.retry,
                on_lost: job.spec.on_lost,
                deadline: job.spec.deadline,
                cancel_requested: job.state.cancel.is_some(),
            };
            let resolved = resolve_outcome(&inputs, outcome, now, draw);
            let status = self.end_attempt(outcome, &resolved, by, now)?;
            if let OutcomeKind::Succeeded { result: Some(result) } = &outcome.kind
                && let Some(entry) = self.jobs.get_mut(&outcome.job)
            {
                entry.job.state.result = Some(result.clone());
            }
            answers.push(Recorded::Applied { status, run_at: resolved.run_at });
        }
        Ok(answers)
    }

    pub(super) fn end_attempt(
        &mut self,
        ended: &Outcome,
        resolved: &Resolution,
        by: Option<Term>,
        now: Timestamp,
    ) -> Result<JobStatus> {
        let (id, status) = (ended.job, ended.kind.status());
        let live = self.jobs.get(&id).and_then(|entry| entry.job.state.live.clone());
        let live = live.ok_or(StoreError::Unknown)?;
        let started_at = ended.started_at.or(live.started_at);
        let (started_at, ended_at) = span(live.claimed_at, started_at, ended.ended_at, now);
        let dead = resolved.dead.map(|reason| (reason, now));
        let to = self.finish(id, resolved.event, by, ended_at, dead)?;
        let entry = self.jobs.get_mut(&id).ok_or(StoreError::Unknown)?;
        entry.job.state.live = None;
        // A success has no error, even if its worker reports one.
        let failed = status != AttemptStatus::Succeeded;
        let error = ended.error.as_deref().filter(|_| failed).map(|text| capped(text).to_owned());
        entry.ended.push(Attempt {
            job: id,
            number: entry.job.state.attempt,
            execution: live.execution,
            worker: live.worker,
            worker_name: live.worker_name.clone(),
            epoch: live.epoch,
            status,
            claimed_at: live.claimed_at,
            started_at,
            ended_at: Some(ended_at),
            error: error.clone(),
            exit: ended.exit,
            dropped_bytes: 0,
        });
        let job = &mut entry.job;
        job.state.ends = resolved.ends;
        job.state.run_at = resolved.run_at.unwrap_or(job.state.run_at);
        job.state.started_at = started_at;
        job.state.worker = Some(live.worker_name);
        job.state.error = error;
        job.state.exit = ended.exit;
        Ok(to)
    }
}
