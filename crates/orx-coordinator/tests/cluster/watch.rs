//! Invariants between the parts of a cluster, checked at the store, at messages to a worker, and at the start
//! of an attempt. [`Checker`] has the invariants of jobs alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orx_model::message::{Dispatch, HeartbeatAnswer, Message, WorkerDirective};
use orx_model::{
    ExecutionId, Incarnation, Job, JobEvent, JobId, JobStatus, Lane, LostWith, Name, Outcome,
    OutcomeKind, Timestamp,
};
use orx_store::{
    CancelAnswer, ClaimRequest, Claimed, Live, Recorded, Term, Transition, WorkerRemoval,
};

use crate::checker::Checker;

type Checked = Result<(), String>;

/// A node may decide by a heartbeat of this age: a suspended node decides by the heartbeat before.
const OLD_HEARTBEAT: Duration = Duration::from_secs(90);
/// The answer to a heartbeat that was sent this long after a change must contain the change: the slowest
/// call to the store takes less.
const ANSWERED_AFTER: Duration = Duration::from_secs(15);

/// A dead worker is lost within this: a lease, a round of the monitor, and its calls to the store.
const LOST_WITHIN: Duration = Duration::from_secs(30 + 5 + 15);
/// Within this a leader has read that a worker takes no jobs, whichever node got the heartbeat.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(crate) struct Watch {
    /// The leader of each term, by epoch.
    terms: BTreeMap<u64, Incarnation>,
    workers: BTreeMap<Incarnation, WorkerView>,
    spent: BTreeMap<JobId, Spent>,
    /// Attempts with an accepted cancel request, and when it was accepted.
    cancelling: BTreeMap<ExecutionId, Duration>,
    ended: BTreeMap<ExecutionId, Duration>,
    /// The job of each key.
    keys: BTreeMap<String, JobId>,
    /// Keys of rejected requests.
    refused: BTreeSet<String>,
    /// Workers that a person fenced.
    fenced: BTreeSet<Incarnation>,
    /// The order that the store has for each worker, and since when.
    orders: BTreeMap<Incarnation, (WorkerDirective, Duration)>,
    /// When the newest term began.
    led: Duration,
    /// Workers that stopped or died, and when.
    gone: BTreeMap<Incarnation, Duration>,
}

/// What a worker reported of itself.
#[derive(Default)]
struct WorkerView {
    slots: u32,
    /// Each reported capacity, with the time of its heartbeat.
    capacity: Vec<(Duration, u32)>,
    /// When the newest answered heartbeat was sent.
    answered: Option<Duration>,
    /// When it last had a gap of more than 20 s between answered heartbeats.
    lapsed: Duration,
    /// When a call of it last reached a node.
    reached: Duration,
    /// When a heartbeat with capacity 0 was first answered.
    closed: Option<Duration>,
}

/// The outcomes of a job's attempts since a person last retried it.
#[derive(Debug, Default, Clone, Copy)]
struct Spent {
    claims: u32,
    failed: u32,
    lost: u32,
    server_lost: u32,
    returned: u32,
    /// Outcomes that count against no limit.
    free: u32,
}

impl Spent {
    fn count(&mut self, kind: &OutcomeKind) {
        match kind {
            OutcomeKind::Failed { .. } | OutcomeKind::TimedOut => self.failed += 1,
            OutcomeKind::Lost { with: LostWith::Worker } => self.lost += 1,
            OutcomeKind::Lost { with: LostWith::Server } => self.server_lost += 1,
            OutcomeKind::Interrupted | OutcomeKind::Refused => self.returned += 1,
            OutcomeKind::HandedBack
            | OutcomeKind::Lost { with: LostWith::Fence }
            | OutcomeKind::Snoozed { .. } => self.free += 1,
            OutcomeKind::Succeeded { .. } | OutcomeKind::Cancelled => {}
        }
    }
}

impl Watch {
    /// I7: each new term has a higher epoch than all before.
    pub(crate) fn elected(&mut self, term: Term, clock: Duration) -> Checked {
        if self.is_new(term) {
            self.led = clock;
        }
        let newest = self.newest();
        match self.terms.insert(term.epoch, term.node) {
            Some(node) if node == term.node && term.epoch == newest => Ok(()),
            Some(node) => {
                Err(format!("I7: {} leads in {}, after {}", term.node.0, term.epoch, node.0))
            }
            None if term.epoch < newest => {
                Err(format!("I7: {} leads in {}, after {newest}", term.node.0, term.epoch))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn is_new(&self, term: Term) -> bool {
        !self.terms.contains_key(&term.epoch)
    }

    fn newest(&self) -> u64 {
        self.terms.last_key_value().map_or(0, |(epoch, _)| *epoch)
    }

    pub(crate) fn newest_term(&self) -> Option<Term> {
        self.term_before(Term { node: Incarnation(0), epoch: u64::MAX })
    }

    pub(crate) fn term_before(&self, term: Term) -> Option<Term> {
        let before = self.terms.range(..term.epoch).next_back();
        before.map(|(epoch, node)| Term { node: *node, epoch: *epoch })
    }

    /// I6: a node that counts itself as leader has the newest term.
    pub(crate) fn leads(&self, node: Incarnation, term: Term) -> Checked {
        let newest = self.newest_term();
        if term.node == node && newest == Some(term) {
            return Ok(());
        }
        Err(format!("I6: {} counts itself as leader in {}, and not {newest:?}", node.0, term.epoch))
    }

    pub(crate) fn is_gone(&mut self, worker: Incarnation, clock: Duration) -> Checked {
        self.gone.insert(worker, clock);
        Ok(())
    }

    pub(crate) fn reached(&mut self, by: Incarnation, clock: Duration) -> Checked {
        self.workers.entry(by).or_default().reached = clock;
        Ok(())
    }

    /// I14: a gone worker has no live attempts once [`LOST_WITHIN`] has passed since its last call, the start
    /// of the term, and the last fault.
    pub(crate) fn lost_in_time(&self, live: &[Live], calm: Duration, clock: Duration) -> Checked {
        for attempt in live {
            let Some(gone) = self.gone.get(&attempt.worker) else { continue };
            let reached = self.workers.get(&attempt.worker).map_or(Duration::ZERO, |it| it.reached);
            if clock > gone.max(&reached).max(&calm).max(&self.led).saturating_add(LOST_WITHIN) {
                let (job, worker) = (attempt.job, attempt.worker.0);
                return Err(format!(
                    "I14: {job} is live at {worker}, which is gone since {gone:?}"
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn ordered(
        &mut self,
        worker: Incarnation,
        order: Option<WorkerDirective>,
        clock: Duration,
    ) -> Checked {
        match order {
            Some(order) => _ = self.orders.insert(worker, (order, clock)),
            None => _ = self.orders.remove(&worker),
        }
        Ok(())
    }

    /// The removal of a worker's row removes its order, unless the removal spares it.
    pub(crate) fn removed(&mut self, workers: &[Incarnation], removal: WorkerRemoval) -> Checked {
        self.orders
            .retain(|worker, (order, _)| removal.spares(Some(*order)) || !workers.contains(worker));
        Ok(())
    }

    /// I20: no job is claimed for a worker that has been closed for longer than [`CLOSED_WITHIN`].
    pub(crate) fn takes(&self, claimed: &[Claimed], clock: Duration, calm: Duration) -> Checked {
        for worker in claimed.iter().map(|claim| claim.worker) {
            let ordered = self.orders.get(&worker).map(|(_, since)| *since);
            let closed = self.workers.get(&worker).and_then(|view| view.closed);
            let since = ordered.into_iter().chain(closed).min();
            if since.is_some_and(|since| clock > since.max(calm) + CLOSED_WITHIN) {
                return Err(format!("I20: jobs are claimed for {}, which takes none", worker.0));
            }
        }
        Ok(())
    }

    /// I6: only the newest leader's writes are applied. This one was, in that term.
    pub(crate) fn led(&mut self, term: Term) -> Checked {
        let newest = self.newest();
        if term.epoch < newest {
            return Err(format!("I6: {} acts in {}, after {newest}", term.node.0, term.epoch));
        }
        Ok(())
    }

    /// I18: no job is claimed while the store has a ready job of a higher rank that the worker takes.
    pub(crate) fn claimed(
        &mut self,
        before: &[Job],
        requests: &[ClaimRequest],
        claimed: &[Claimed],
        now: Timestamp,
    ) -> Checked {
        let rank = |job: &Job| (Reverse(job.spec.priority), job.state.run_at, job.id);
        let taken: BTreeSet<JobId> = claimed.iter().map(|it| it.dispatch.job).collect();
        let over = |job: &Job| {
            [job.spec.expires_at, job.spec.deadline].into_iter().flatten().any(|at| at <= now)
        };
        let left: Vec<&Job> = before
            .iter()
            .filter(|job| job.state.status == JobStatus::Pending && !taken.contains(&job.id))
            .filter(|job| !job.state.ends.runs_alone() && !over(job))
            .collect();
        for claim in claimed.iter().filter(|claim| !claim.alone) {
            let Some(request) = requests.iter().find(|it| it.worker == claim.worker) else {
                return Err(format!("I20: no request for {}", claim.worker.0));
            };
            let Some(job) = before.iter().find(|job| job.id == claim.dispatch.job) else {
                return Err(format!("I1: {} was claimed and does not exist", claim.dispatch.job));
            };
            let first = left.iter().find(|other| {
                let lane = Lane {
                    queue: other.spec.queue.clone(),
                    handler: other.spec.handler().cloned(),
                    require: other.spec.require.clone(),
                };
                rank(other) < rank(job) && request.offer.takes(&lane)
            });
            if let Some(first) = first {
                return Err(format!("I18: {} was claimed before {}", job.id, first.id));
            }
        }
        for request in requests {
            let got = claimed.iter().filter(|it| it.worker == request.worker).count();
            if got > request.executions.len() {
                let asked = request.executions.len();
                return Err(format!("I20: {} got {got} of {asked}", request.worker.0));
            }
        }
        Ok(())
    }

    /// I4: the store applies exactly the outcomes of live executions.
    pub(crate) fn recorded(
        &mut self,
        outcomes: &[Outcome],
        answers: &[Recorded],
        live: &BTreeMap<ExecutionId, Incarnation>,
    ) -> Checked {
        let mut live: BTreeSet<ExecutionId> = live.keys().copied().collect();
        for (outcome, answer) in outcomes.iter().zip(answers) {
            let (job, execution) = (outcome.job, outcome.execution);
            match (answer, live.remove(&execution)) {
                (Recorded::Applied { .. }, true) => {
                    self.spent.entry(job).or_default().count(&outcome.kind);
                }
                (Recorded::Applied { .. }, false) => {
                    return Err(format!("I4: {job} ended with {execution}, which is not live"));
                }
                (Recorded::Stale { .. } | Recorded::Missing, true) => {
                    return Err(format!("I4: the outcome of {execution} of {job} is dropped"));
                }
                (Recorded::Stale { .. } | Recorded::Missing, false) => {}
            }
        }
        Ok(())
    }

    /// G7: no attempt follows one with an accepted cancel, unless a person retries the job.
    pub(crate) fn moved(&mut self, it: &Transition, clock: Duration) -> Checked {
        let was_cancelled = it.execution.filter(|it| self.cancelling.contains_key(it));
        match it.event {
            Some(JobEvent::Claim) => self.spent.entry(it.job).or_default().claims += 1,
            Some(JobEvent::Revive) => _ = self.spent.remove(&it.job),
            Some(
                JobEvent::Succeed
                | JobEvent::RetryLater
                | JobEvent::GiveBack
                | JobEvent::GiveUp
                | JobEvent::GiveUpTimedOut
                | JobEvent::Stopped,
            ) => {
                if let Some(execution) = it.execution {
                    self.ended.insert(execution, clock);
                    self.cancelling.remove(&execution);
                }
                if let Some(execution) = was_cancelled
                    && !matches!(it.to, JobStatus::Cancelled | JobStatus::Completed)
                {
                    let (job, to) = (it.job, it.to);
                    return Err(format!("I13: {execution} of {job} was cancelled, and is {to}"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// I2, I10 and I35: one job for each key and each slot, and no job has more attempts than its limits.
    pub(crate) fn rows(&self, jobs: &[Job]) -> Checked {
        let (mut keys, mut slots) = (BTreeSet::new(), BTreeSet::new());
        for job in jobs {
            if let Some(key) = &job.spec.key {
                if !keys.insert(key) {
                    return Err(format!("I2: {key} has {} and another job", job.id));
                }
                if self.refused.contains(key) && !self.keys.contains_key(key) {
                    return Err(format!("I2: {} exists, and was rejected", job.id));
                }
            }
            if let Some(origin) = &job.spec.schedule
                && let Some(slot) = origin.slot
                && !slots.insert((&origin.id, slot))
            {
                return Err(format!("I10: {} has fired twice for {slot:?}", origin.id));
            }
            if let Some(live) = &job.state.live
                && self.cancelling.contains_key(&live.execution)
                && job.state.cancel.is_none()
            {
                return Err(format!("I13: the accepted cancel of {} is not stored", job.id));
            }
            let spent = self.spent.get(&job.id).copied().unwrap_or_default();
            let most = job.spec.retry.retries + 1 + 3 + 3 + 20 + 1 + spent.free;
            let over = spent.failed > job.spec.retry.retries + 1
                || spent.lost > 3
                || spent.server_lost > 3
                || spent.returned > 20
                || spent.claims > most;
            if over {
                return Err(format!("I35: {} has attempts beyond its limits: {spent:?}", job.id));
            }
        }
        Ok(())
    }

    pub(crate) fn enqueued(&mut self, key: &str, job: Option<JobId>) -> Checked {
        let Some(job) = job else {
            self.refused.insert(key.to_owned());
            return Ok(());
        };
        match self.keys.insert(key.to_owned(), job) {
            Some(before) if before != job => Err(format!("I2: {key} has {before}, then {job}")),
            _ => Ok(()),
        }
    }

    pub(crate) fn cancelled(
        &mut self,
        checker: &mut Checker,
        job: JobId,
        answer: CancelAnswer,
        clock: Duration,
    ) {
        match answer {
            CancelAnswer::Cancelled { stop } => {
                checker.promised(job);
                checker.forced.extend(stop.map(|(_, execution)| execution));
            }
            CancelAnswer::Cancelling { execution, .. } => {
                self.cancelling.entry(execution).or_insert(clock);
            }
            _ => {}
        }
    }

    pub(crate) fn fenced(&mut self, worker: Incarnation) -> Checked {
        self.fenced.insert(worker);
        Ok(())
    }

    pub(crate) fn is_fenced(&self, worker: Incarnation) -> bool {
        self.fenced.contains(&worker)
    }

    pub(crate) fn registered(&mut self, worker: Incarnation, slots: u32) -> Checked {
        self.workers.insert(worker, WorkerView { slots, ..WorkerView::default() });
        Ok(())
    }

    pub(crate) fn beats(&mut self, of: Incarnation, capacity: u32, clock: Duration) -> Checked {
        let view = self.workers.entry(of).or_default();
        view.capacity.push((clock, capacity));
        if capacity > 0 {
            view.closed = None;
        }
        Ok(())
    }

    /// I4, I18, I20 and I35, for a message to a worker: acknowledged outcomes are recorded; dispatched jobs
    /// are in order of rank and within its capacity; a job that runs alone is its only one.
    pub(crate) fn sends(
        &mut self,
        to: Incarnation,
        message: &Message,
        live: &[Live],
        checker: &Checker,
        clock: Duration,
    ) -> Checked {
        // An attempt with a reported outcome takes no slot, though the report may be under way.
        let open = |it: &&Live| it.worker == to && !checker.reported.contains(&(to, it.execution));
        let held = || live.iter().filter(open);
        match message {
            Message::JobResultAck { executions } => Self::acknowledged(to, executions, live),
            Message::JobDispatch { jobs, .. } => {
                let rank = |job: &Dispatch| (Reverse(job.priority), job.run_at, job.job);
                if !jobs.iter().map(rank).is_sorted() {
                    return Err(format!("I18: {} gets jobs out of order", to.0));
                }
                let count = held().count();
                if count > 1 && held().any(|attempt| attempt.alone) {
                    return Err(format!("I35: {} holds {count}, and one that runs alone", to.0));
                }
                let Some(view) = self.workers.get(&to) else {
                    return Err(format!("I20: a dispatch to {}, which is not registered", to.0));
                };
                let recent = view.capacity.partition_point(|(at, _)| *at + OLD_HEARTBEAT < clock);
                // And the newest of the old ones.
                let capacities = view.capacity.iter().skip(recent.saturating_sub(1));
                let most = capacities.map(|(_, capacity)| *capacity).max().unwrap_or(view.slots);
                if count > most as usize {
                    return Err(format!("I20: {} holds {count} of {most}", to.0));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// G1: an outcome is acknowledged only once it is recorded.
    pub(crate) fn acknowledged(
        from: Incarnation,
        executions: &[ExecutionId],
        live: &[Live],
    ) -> Checked {
        let open = live
            .iter()
            .find(|attempt| attempt.worker == from && executions.contains(&attempt.execution));
        match open {
            Some(Live { job, execution, .. }) => {
                Err(format!("G1: {execution} of {job} is acknowledged, and not recorded"))
            }
            None => Ok(()),
        }
    }

    /// I13 and I17: the answer to a heartbeat names the attempts to cancel and the attempts to stop.
    pub(crate) fn beat_answered(
        &mut self,
        worker: Incarnation,
        sent_at: Duration,
        clock: Duration,
        running: &[ExecutionId],
        answer: &HeartbeatAnswer,
    ) -> Checked {
        if answer.register || answer.fenced {
            return Ok(());
        }
        if let Some((WorkerDirective::Fence, since)) = self.orders.get(&worker)
            && sent_at >= *since + ANSWERED_AFTER
        {
            return Err(format!("I17: {} is fenced, and the answer does not contain it", worker.0));
        }
        let view = self.workers.entry(worker).or_default();
        if view.capacity.last() == Some(&(sent_at, 0)) {
            view.closed.get_or_insert(clock);
        }
        let before = view.answered.unwrap_or(sent_at);
        if sent_at > before + Duration::from_secs(20) {
            view.lapsed = clock;
        }
        view.answered = Some(before.max(sent_at));
        for execution in running {
            let since = |at: &Duration| sent_at >= *at + ANSWERED_AFTER;
            let stops = answer.stop.iter().any(|it| it.execution == *execution);
            let cancels = answer.cancel.iter().any(|it| it.execution == *execution);
            if self.ended.get(execution).is_some_and(since) && !stops {
                return Err(format!("I17: {} does not stop {execution}", worker.0));
            }
            if self.cancelling.get(execution).is_some_and(since) && !stops && !cancels {
                return Err(format!("I13: {} does not cancel {execution}", worker.0));
            }
        }
        Ok(())
    }

    /// I30: a worker that was connected all the time is not lost. `calm`: since when the only faults are
    /// wrong clocks.
    pub(crate) fn lost(&self, worker: Incarnation, clock: Duration, calm: Duration) -> Checked {
        let Some(view) = self.workers.get(&worker) else { return Ok(()) };
        let long = Duration::from_secs(60);
        let connected = view.answered.is_some_and(|at| at + Duration::from_secs(20) > clock);
        if connected && calm + long < clock && view.lapsed + long < clock {
            return Err(format!("I30: {} was connected, and is lost", worker.0));
        }
        Ok(())
    }

    /// I19: a worker runs no more attempts than it has slots.
    pub(crate) fn fits(&self, worker: Incarnation, running: usize) -> Checked {
        let slots = self.workers.get(&worker).map_or(0, |view| view.slots);
        if running >= slots as usize {
            return Err(format!("I19: {} runs {} in {slots} slots", worker.0, running + 1));
        }
        Ok(())
    }

    /// I30: a schedule continues with the corrected clock: its newest slot is not older than `at_least`.
    pub(crate) fn goes_on(id: &Name, newest: Option<Timestamp>, at_least: Timestamp) -> Checked {
        if newest.is_none_or(|newest| newest < at_least) {
            return Err(format!("I30: the newest slot of {id} is {newest:?}, before {at_least:?}"));
        }
        Ok(())
    }
}
