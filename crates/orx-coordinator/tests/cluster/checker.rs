//! Checks each change of a job in a simulated cluster against the invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orx_model::message::Dispatch;
use orx_model::{
    Attempt, ExecutionId, Incarnation, Job, JobEvent, JobId, JobStatus, Timestamp, next,
};
use orx_store::Transition;

#[derive(Default)]
pub(crate) struct Checker {
    pub(crate) accepted: BTreeSet<JobId>,
    status: BTreeMap<JobId, JobStatus>,
    attempt: BTreeMap<JobId, u32>,
    live: BTreeMap<JobId, ExecutionId>,
    ended: BTreeSet<ExecutionId>,
    /// Jobs that were cancelled, and not retried since.
    cancelled: BTreeSet<JobId>,
    /// Jobs that were cancelled while they waited: they never start.
    never: BTreeSet<JobId>,
    /// Executions that a person ended by force: a dispatch that is under way may still start.
    pub(crate) forced: BTreeSet<ExecutionId>,
    /// Executions that a leader claimed.
    claimed: BTreeSet<ExecutionId>,
    started: BTreeSet<(Incarnation, ExecutionId)>,
    /// Executions with an outcome that the worker reported.
    pub(crate) reported: BTreeSet<(Incarnation, ExecutionId)>,
    /// The highest epoch of a leader's write.
    epoch: u64,
    /// Time since the start, by a correct clock.
    pub(crate) clock: Duration,
    /// When each execution was claimed.
    claimed_at: BTreeMap<ExecutionId, Duration>,
    /// How long each ended execution was live.
    lived: BTreeMap<ExecutionId, Duration>,
}

impl Checker {
    /// I3, I4, I5, I6, I8: only legal transitions, one end for each execution, attempt numbers without gaps,
    /// epochs that never shrink, one live execution for each job.
    pub(crate) fn transition(&mut self, it: &Transition) -> Result<(), String> {
        let known = self.status.insert(it.job, it.to);
        if known != it.from {
            return Err(format!("I3: {} was {known:?}, moved from {:?}", it.job, it.from));
        }
        if let (Some(from), Some(event)) = (it.from, it.event)
            && next(from, event) != Ok(it.to)
        {
            return Err(format!("I3: {} may not go from {from} to {} by {event:?}", it.job, it.to));
        }
        if let Some(epoch) = it.epoch {
            if epoch < self.epoch {
                let (late, event) = (self.epoch, it.event);
                return Err(format!("I6: {event:?} of {} by {epoch}, after {late}", it.job));
            }
            self.epoch = epoch;
        }
        match it.event {
            Some(JobEvent::Claim) => {
                let before = self.attempt.insert(it.job, it.attempt).unwrap_or_default();
                if it.attempt != before + 1 {
                    return Err(format!(
                        "I5: {} went from attempt {before} to {}",
                        it.job, it.attempt
                    ));
                }
                let execution = it.execution.ok_or("a claim without an execution")?;
                if it.epoch.is_none() {
                    return Err(format!("I6: {} was claimed without a term", it.job));
                }
                self.claimed.insert(execution);
                self.claimed_at.insert(execution, self.clock);
                if let Some(other) = self.live.insert(it.job, execution) {
                    return Err(format!("I8: {} has two live executions, {other} too", it.job));
                }
                if self.cancelled.contains(&it.job) {
                    return Err(format!("I12: {} was claimed after it was cancelled", it.job));
                }
            }
            Some(
                JobEvent::Succeed
                | JobEvent::RetryLater
                | JobEvent::GiveBack
                | JobEvent::GiveUp
                | JobEvent::GiveUpTimedOut
                | JobEvent::Stopped,
            ) => {
                let execution = self.live.remove(&it.job).ok_or("an end without a claim")?;
                if !self.ended.insert(execution) {
                    return Err(format!("I4: two ends of {execution}"));
                }
                if let Some(at) = self.claimed_at.get(&execution) {
                    self.lived.insert(execution, self.clock - *at);
                }
            }
            Some(JobEvent::Cancel) => {
                self.never.insert(it.job);
            }
            Some(JobEvent::Revive) => {
                self.cancelled.remove(&it.job);
                self.never.remove(&it.job);
            }
            _ => {}
        }
        if it.to == JobStatus::Cancelled {
            self.cancelled.insert(it.job);
        }
        Ok(())
    }

    /// A cancel of a waiting job was accepted, whatever the store did with it.
    pub(crate) fn promised(&mut self, cancelled: JobId) {
        self.cancelled.insert(cancelled);
        self.never.insert(cancelled);
    }

    /// I12: an execution starts once at a worker; it does not start after the worker reported its end, after
    /// it was recorded as lost, or after its job was cancelled.
    pub(crate) fn start(&mut self, worker: Incarnation, dispatch: &Dispatch) -> Result<(), String> {
        let Dispatch { job, execution, .. } = dispatch;
        if !self.started.insert((worker, *execution)) {
            return Err(format!("I12: {execution} started twice"));
        }
        if !self.claimed.contains(execution) {
            return Err(format!("I12: {execution} of {job} started without a claim"));
        }
        if self.reported.contains(&(worker, *execution)) {
            return Err(format!("I12: {execution} of {job} started after its end was reported"));
        }
        // An overdue attempt is ended while its worker is connected, where it may still wait.
        let timed = dispatch.timeout_ms.is_some() || dispatch.deadline.is_some();
        if self.ended.contains(execution) && !self.forced.contains(execution) && !timed {
            return Err(format!("I12: {execution} of {job} started after its end"));
        }
        if self.never.contains(job) && !self.forced.contains(execution) {
            return Err(format!("I12: {job} started after it was cancelled"));
        }
        Ok(())
    }

    /// A worker reports the outcome of an execution.
    pub(crate) fn reports(&mut self, worker: Incarnation, execution: ExecutionId) {
        self.reported.insert((worker, execution));
    }

    /// I1, I5 and I8: each accepted job exists, has no more attempts than its limits, and has the live
    /// execution of its transitions.
    pub(crate) fn rows(&self, jobs: &[Job]) -> Result<(), String> {
        let there: BTreeSet<JobId> = jobs.iter().map(|job| job.id).collect();
        if !self.accepted.is_subset(&there) {
            return Err("I1: an accepted job is gone".into());
        }
        for job in jobs {
            let ends = job.state.ends;
            let most = [ends.lost <= 3, ends.server_lost <= 3, ends.returned <= 20];
            if ends.failed > job.spec.retry.retries + 1 || most.contains(&false) {
                return Err(format!("I5: {} has attempts beyond its limits: {ends:?}", job.id));
            }
            let live = job.state.live.as_ref().map(|live| live.execution);
            if live != self.live.get(&job.id).copied() {
                return Err(format!("I8: {} has {live:?} in its row", job.id));
            }
        }
        Ok(())
    }

    /// I17: some time after the last fault, no live attempt is older than `since`, and no job that was due
    /// before `due` is still scheduled.
    pub(crate) fn converged(
        &self,
        jobs: &[Job],
        since: Duration,
        due: Timestamp,
    ) -> Result<(), String> {
        for job in jobs {
            if job.state.status == JobStatus::Scheduled && job.state.run_at < due {
                return Err(format!("I17: {} is due since {:?}", job.id, job.state.run_at));
            }
            let Some(live) = &job.state.live else { continue };
            if self.claimed_at.get(&live.execution).is_some_and(|at| *at < since) {
                let (status, execution) = (job.state.status, live.execution);
                return Err(format!("I17: {} is still {status} with {execution}", job.id));
            }
        }
        Ok(())
    }

    /// I30: an attempt that a leader timed out was live for at least its timeout, whatever the clocks showed.
    pub(crate) fn timed_out(&self, job: &Job, attempts: &[Attempt]) -> Result<(), String> {
        let Some(timeout) = job.spec.timeout_ms.filter(|_| job.spec.deadline.is_none()) else {
            return Ok(());
        };
        let timed_out = |attempt: &&Attempt| {
            attempt.error.as_ref().is_some_and(|error| error.starts_with("ran past its time"))
        };
        for attempt in attempts.iter().filter(timed_out) {
            let lived = self.lived.get(&attempt.execution).copied().unwrap_or_default();
            if lived < Duration::from_millis(timeout) {
                return Err(format!("I30: {} ran out of time after {lived:?}", job.id));
            }
        }
        Ok(())
    }
}

#[test]
fn the_checker_rejects_histories_that_violate_an_invariant() {
    use JobStatus::{Cancelled, Completed, Dispatched, Pending};
    let moved = |execution: Option<u128>, attempt, event, from, to, epoch| Transition {
        job: JobId(1),
        attempt,
        execution: execution.map(ExecutionId),
        event,
        from,
        to,
        epoch,
    };
    let accepted = moved(None, 0, None, None, Pending, None);
    let claim = |execution, attempt, epoch| {
        moved(Some(execution), attempt, Some(JobEvent::Claim), Some(Pending), Dispatched, epoch)
    };
    let (first, second) = (claim(7, 1, Some(5)), claim(8, 2, Some(5)));
    let end = |event, to| moved(Some(7), 1, Some(event), Some(Dispatched), to, None);
    let (succeed, hand_back) =
        (end(JobEvent::Succeed, Completed), end(JobEvent::GiveBack, Pending));
    let cancel = moved(None, 0, Some(JobEvent::Cancel), Some(Pending), Cancelled, None);
    let nowhere = moved(None, 0, Some(JobEvent::Succeed), Some(Pending), Completed, None);
    let broken: [(&str, Vec<Transition>); 8] = [
        ("I3", vec![accepted, succeed]),
        ("I3", vec![accepted, nowhere]),
        ("I3", vec![accepted, cancel, first]),
        ("I4", vec![accepted, first, hand_back, claim(7, 2, Some(5)), hand_back]),
        ("I5", vec![accepted, claim(7, 2, Some(5))]),
        ("I6", vec![accepted, claim(7, 1, None)]),
        ("I6", vec![accepted, first, hand_back, claim(8, 2, Some(4))]),
        ("I3", vec![accepted, first, second]),
    ];
    for (invariant, history) in broken {
        let mut checker = Checker::default();
        let refused = history.iter().find_map(|it| checker.transition(it).err());
        assert!(refused.as_ref().is_some_and(|why| why.starts_with(invariant)), "{refused:?}");
    }
    let mut checker = Checker::default();
    let fine = [accepted, first, hand_back, second];
    assert!(fine.iter().all(|it| checker.transition(it).is_ok()));
}
