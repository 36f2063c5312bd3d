//! What must hold between the parts of a cluster: seen where they meet, at the store, on the way to a
//! worker, at its start of an attempt. What must hold of the jobs alone is the [`Checker`]'s.

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

/// A node may decide by what a worker said so long ago: one that stood still, by what it said before.
const OLD_NEWS: Duration = Duration::from_secs(90);
/// An answer to a heartbeat that was sent so long after a change tells of it: the slowest call to the
/// store takes less.
const TOLD_AFTER: Duration = Duration::from_secs(15);

/// A lease, a round of the monitor, and what the store takes for it.
const FOUND_DEAD: Duration = Duration::from_secs(30 + 5 + 15);
/// A leader knows after so long that a worker takes nothing, whichever node heard it.
const KNOWN_CLOSED: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(crate) struct Watch {
    /// Every term there was.
    terms: BTreeMap<u64, Incarnation>,
    workers: BTreeMap<Incarnation, Said>,
    spent: BTreeMap<JobId, Spent>,
    /// Whose cancel was asked for, and when.
    cancelling: BTreeMap<ExecutionId, Duration>,
    ended: BTreeMap<ExecutionId, Duration>,
    /// The job that each key gave.
    keys: BTreeMap<String, JobId>,
    /// Keys of which each request was refused.
    refused: BTreeSet<String>,
    /// Whom a person gave up.
    fenced: BTreeSet<Incarnation>,
    /// What the store has as ordered of workers, and since when.
    orders: BTreeMap<Incarnation, (WorkerDirective, Duration)>,
    /// When the newest term began.
    led: Duration,
    /// Workers that ended or died, and when.
    gone: BTreeMap<Incarnation, Duration>,
}

/// What a worker told of itself.
#[derive(Default)]
struct Said {
    slots: u32,
    /// When, and how much it takes.
    capacity: Vec<(Duration, u32)>,
    /// When the newest heartbeat was sent that was answered.
    heard: Option<Duration>,
    /// When it was last out of contact, or nearly.
    lapsed: Duration,
    /// When something that it said came last to a node.
    reached: Duration,
    /// Since when it is known that it takes nothing.
    closed: Option<Duration>,
}

/// What became of the attempts of a job since a person last asked for it.
#[derive(Debug, Default, Clone, Copy)]
struct Spent {
    claims: u32,
    failed: u32,
    lost: u32,
    server_lost: u32,
    returned: u32,
    /// Costs nothing.
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
    /// I7: no two terms have the same epoch, and each is above all there were.
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

    /// I6: whoever believes to lead was elected last.
    pub(crate) fn leads(&self, node: Incarnation, term: Term) -> Checked {
        let newest = self.newest_term();
        if term.node == node && newest == Some(term) {
            return Ok(());
        }
        Err(format!("I6: {} believes to lead in {}, and not {newest:?}", node.0, term.epoch))
    }

    pub(crate) fn is_gone(&mut self, worker: Incarnation, clock: Duration) -> Checked {
        self.gone.insert(worker, clock);
        Ok(())
    }

    pub(crate) fn reached(&mut self, by: Incarnation, clock: Duration) -> Checked {
        self.workers.entry(by).or_default().reached = clock;
        Ok(())
    }

    /// I14: no worker has attempts for long after it was heard last, where one leader could listen to it
    /// all the time.
    pub(crate) fn given_up(&self, live: &[Live], calm: Duration, clock: Duration) -> Checked {
        for attempt in live {
            let Some(gone) = self.gone.get(&attempt.worker) else { continue };
            let reached = self.workers.get(&attempt.worker).map_or(Duration::ZERO, |it| it.reached);
            if clock > gone.max(&reached).max(&calm).max(&self.led).saturating_add(FOUND_DEAD) {
                let (job, worker) = (attempt.job, attempt.worker.0);
                return Err(format!("I14: {job} is with {worker}, which is gone since {gone:?}"));
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

    /// With its row what is ordered of a worker is forgotten, but for a fence.
    pub(crate) fn removed(&mut self, workers: &[Incarnation], removal: WorkerRemoval) -> Checked {
        self.orders
            .retain(|worker, (order, _)| removal.spares(Some(*order)) || !workers.contains(worker));
        Ok(())
    }

    /// I20: nothing is given to whom it has been known for long that it takes nothing.
    pub(crate) fn takes(&self, claimed: &[Claimed], clock: Duration, calm: Duration) -> Checked {
        for worker in claimed.iter().map(|claim| claim.worker) {
            let ordered = self.orders.get(&worker).map(|(_, since)| *since);
            let closed = self.workers.get(&worker).and_then(|said| said.closed);
            let known = ordered.into_iter().chain(closed).min();
            if known.is_some_and(|known| clock > known.max(calm) + KNOWN_CLOSED) {
                return Err(format!("I20: {} is given jobs, and takes none", worker.0));
            }
        }
        Ok(())
    }

    /// I6: what only a leader does was done, in that term.
    pub(crate) fn led(&mut self, term: Term) -> Checked {
        let newest = self.newest();
        if term.epoch < newest {
            return Err(format!("I6: {} acts in {}, after {newest}", term.node.0, term.epoch));
        }
        Ok(())
    }

    /// I18: nothing is given out while something more urgent is ready that its worker would take.
    pub(crate) fn claimed(
        &mut self,
        before: &[Job],
        requests: &[ClaimRequest],
        claimed: &[Claimed],
        now: Timestamp,
    ) -> Checked {
        let urgency = |job: &Job| (Reverse(job.spec.priority), job.state.run_at, job.id);
        let given: BTreeSet<JobId> = claimed.iter().map(|it| it.dispatch.job).collect();
        let over = |job: &Job| {
            [job.spec.expires_at, job.spec.deadline].into_iter().flatten().any(|at| at <= now)
        };
        let left: Vec<&Job> = before
            .iter()
            .filter(|job| job.state.status == JobStatus::Pending && !given.contains(&job.id))
            .filter(|job| !job.state.ends.runs_alone() && !over(job))
            .collect();
        for claim in claimed.iter().filter(|claim| !claim.alone) {
            let Some(request) = requests.iter().find(|it| it.worker == claim.worker) else {
                return Err(format!("I20: {} asked for nothing", claim.worker.0));
            };
            let Some(job) = before.iter().find(|job| job.id == claim.dispatch.job) else {
                return Err(format!("I1: {} was claimed, and is not there", claim.dispatch.job));
            };
            let urgent = left.iter().find(|other| {
                let lane = Lane {
                    queue: other.spec.queue.clone(),
                    handler: other.spec.handler().cloned(),
                    require: other.spec.require.clone(),
                };
                urgency(other) < urgency(job) && request.offer.takes(&lane)
            });
            if let Some(urgent) = urgent {
                return Err(format!("I18: {} was given out before {}", job.id, urgent.id));
            }
        }
        for request in requests {
            let given = claimed.iter().filter(|it| it.worker == request.worker).count();
            if given > request.executions.len() {
                let asked = request.executions.len();
                return Err(format!("I20: {} got {given} of {asked}", request.worker.0));
            }
        }
        Ok(())
    }

    /// I4: what is accepted is of a live execution, and what is of a live one is accepted.
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
                    return Err(format!("I4: the outcome of {execution} of {job} is lost"));
                }
                (Recorded::Stale { .. } | Recorded::Missing, false) => {}
            }
        }
        Ok(())
    }

    /// G7: an attempt whose cancel was answered is followed by no other, unless a person asks for one.
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

    /// I2, I10 and I35: a key gives one job, a slot makes one, and each is tried within its limits.
    pub(crate) fn rows(&self, jobs: &[Job]) -> Checked {
        let (mut keys, mut slots) = (BTreeSet::new(), BTreeSet::new());
        for job in jobs {
            if let Some(key) = &job.spec.key {
                if !keys.insert(key) {
                    return Err(format!("I2: {key} gave {} and another", job.id));
                }
                if self.refused.contains(key) && !self.keys.contains_key(key) {
                    return Err(format!("I2: {} is there, and was refused", job.id));
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
                return Err(format!("I13: the cancel of {} was answered, and is not kept", job.id));
            }
            let spent = self.spent.get(&job.id).copied().unwrap_or_default();
            let most = job.spec.retry.retries + 1 + 3 + 3 + 20 + 1 + spent.free;
            let over = spent.failed > job.spec.retry.retries + 1
                || spent.lost > 3
                || spent.server_lost > 3
                || spent.returned > 20
                || spent.claims > most;
            if over {
                return Err(format!("I35: {} was tried beyond its limits: {spent:?}", job.id));
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
            Some(before) if before != job => Err(format!("I2: {key} gave {before}, then {job}")),
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
        self.workers.insert(worker, Said { slots, ..Said::default() });
        Ok(())
    }

    pub(crate) fn beats(&mut self, of: Incarnation, capacity: u32, clock: Duration) -> Checked {
        let said = self.workers.entry(of).or_default();
        said.capacity.push((clock, capacity));
        if capacity > 0 {
            said.closed = None;
        }
        Ok(())
    }

    /// I4, I18, I20 and I35, on the way to a worker: what it may forget is recorded; what it is given
    /// comes in order, is no more than it takes, and is by itself where it runs alone.
    pub(crate) fn sends(
        &mut self,
        to: Incarnation,
        message: &Message,
        live: &[Live],
        checker: &Checker,
        clock: Duration,
    ) -> Checked {
        // The place of what the worker has told is free, though that may be under way.
        let open = |it: &&Live| it.worker == to && !checker.told.contains(&(to, it.execution));
        let held = || live.iter().filter(open);
        match message {
            Message::JobResultAck { executions } => Self::acknowledged(to, executions, live),
            Message::JobDispatch { jobs, .. } => {
                let urgency = |job: &Dispatch| (Reverse(job.priority), job.run_at, job.job);
                if !jobs.iter().map(urgency).is_sorted() {
                    return Err(format!("I18: {} gets jobs out of order", to.0));
                }
                let count = held().count();
                if count > 1 && held().any(|attempt| attempt.alone) {
                    return Err(format!("I35: {} holds {count}, and one that runs alone", to.0));
                }
                let Some(said) = self.workers.get(&to) else {
                    return Err(format!("I20: a dispatch to {}, a stranger", to.0));
                };
                let recent = said.capacity.partition_point(|(at, _)| *at + OLD_NEWS < clock);
                // The newest of the old ones, too.
                let known = said.capacity.iter().skip(recent.saturating_sub(1));
                let most = known.map(|(_, capacity)| *capacity).max().unwrap_or(said.slots);
                if count > most as usize {
                    return Err(format!("I20: {} holds {count} of {most}", to.0));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// G1: whoever told an outcome may forget it only once it is recorded.
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

    /// I13 and I17: an answer says what of the heartbeat is to be cancelled, and what to be stopped.
    pub(crate) fn heard(
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
            && sent_at >= *since + TOLD_AFTER
        {
            return Err(format!("I17: {} is fenced, and does not hear of it", worker.0));
        }
        let said = self.workers.entry(worker).or_default();
        if said.capacity.last() == Some(&(sent_at, 0)) {
            said.closed.get_or_insert(clock);
        }
        let before = said.heard.unwrap_or(sent_at);
        if sent_at > before + Duration::from_secs(20) {
            said.lapsed = clock;
        }
        said.heard = Some(before.max(sent_at));
        for execution in running {
            let since = |at: &Duration| sent_at >= *at + TOLD_AFTER;
            let stops = answer.stop.iter().any(|it| it.execution == *execution);
            let cancels = answer.cancel.iter().any(|it| it.execution == *execution);
            if self.ended.get(execution).is_some_and(since) && !stops {
                return Err(format!("I17: {} goes on with {execution}", worker.0));
            }
            if self.cancelling.get(execution).is_some_and(since) && !stops && !cancels {
                return Err(format!("I13: {} is not told to cancel {execution}", worker.0));
            }
        }
        Ok(())
    }

    /// I30: whoever was in contact all the time is not lost. `calm` is since when nothing but clocks
    /// was wrong.
    pub(crate) fn lost(&self, worker: Incarnation, clock: Duration, calm: Duration) -> Checked {
        let Some(said) = self.workers.get(&worker) else { return Ok(()) };
        let long = Duration::from_secs(60);
        let heard = said.heard.is_some_and(|heard| heard + Duration::from_secs(20) > clock);
        if heard && calm + long < clock && said.lapsed + long < clock {
            return Err(format!("I30: {} was in contact, and is given up", worker.0));
        }
        Ok(())
    }

    /// I19.
    pub(crate) fn fits(&self, worker: Incarnation, running: usize) -> Checked {
        let slots = self.workers.get(&worker).map_or(0, |said| said.slots);
        if running >= slots as usize {
            return Err(format!("I19: {} runs {} in {slots} slots", worker.0, running + 1));
        }
        Ok(())
    }

    /// I30: a schedule goes on with the right time: its newest slot is not older than that.
    pub(crate) fn goes_on(id: &Name, newest: Option<Timestamp>, at_least: Timestamp) -> Checked {
        if newest.is_none_or(|newest| newest < at_least) {
            return Err(format!("I30: {id} came to {newest:?}, and not to {at_least:?}"));
        }
        Ok(())
    }
}
