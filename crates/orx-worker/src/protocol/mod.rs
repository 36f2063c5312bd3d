//! The worker's side of the protocol, without I/O: what it holds, what it starts, what it tells.
//!
//! Every message may come twice, late, out of order or never, so each input is safe to repeat.
//! These promises rest on it:
//! - an execution is started at most once by this worker, and never after it was cancelled,
//!   refused or given back, nor when another worker may have its job by now;
//! - an outcome is kept, and takes up a slot, until a coordinator acknowledges that the store has it or
//!   never will;
//! - what is held is bounded: running attempts by the slots, all of it by the capacity;
//! - what finds no slot within its time, [`WAITS_MOST`], is handed back, so that priorities hold.

mod fence;
mod remembered;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use orx_model::message::{
    Dispatch, ExecutionRef, HeartbeatAnswer, Message, Started, WorkerHeartbeat, WorkerState,
};
use orx_model::{ExecutionId, Incarnation, JobId, Name, Outcome, OutcomeKind, Timestamp};

use self::fence::Fence;
use self::remembered::Remembered;

/// Attempts shorter than this on average are short: more than the free slots are asked for.
const SHORT: Duration = Duration::from_millis(50);
/// A prefetched job waits here for a slot at most this long. Then the leader has it again, who
/// knows what is more urgent, and which other worker has a slot.
pub const WAITS_MOST: Duration = Duration::from_millis(100);
/// How far beyond its slots a worker asks for short jobs, in multiples of the slots.
const PREFETCH_SLOTS: u32 = 3;
const PREFETCH_MAX: u32 = 1_000;

/// A moment, as people read it and on the clock that only goes forward.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub wall: Timestamp,
    pub mono: Duration,
}

#[derive(Debug, Clone)]
pub enum Input {
    /// From the inbox.
    Message(Message),
    /// What a coordinator answered to the heartbeat of this number, or to the first registration: 0.
    Answered { heartbeat: u64, answer: HeartbeatAnswer },
    /// What a coordinator answered to a later registration. No lease rests on it: it says nothing of
    /// what is held here.
    Registered(HeartbeatAnswer),
    /// The runtime started what it was told to.
    Started { execution: ExecutionId, at: Timestamp },
    /// The runtime's attempt has ended, for whatever reason.
    Ended(Outcome),
    /// The time that [`Core::hand_back_at`] named has come.
    Overdue,
    /// The time that [`Core::unreachable_at`] named has come.
    Unreachable,
    /// Take nothing new, give back what has not started, finish the rest.
    Drain,
    /// The same, and interrupt what runs.
    Stop,
}

#[derive(Debug, Clone)]
pub enum Effect {
    /// Run it; [`Input::Started`] and [`Input::Ended`] follow.
    Start(Dispatch),
    /// Stop it, a person wants it; its end is reported as cancelled.
    Cancel(ExecutionId),
    /// Stop it, it is no longer ours; its end is reported to nobody.
    Abandon(ExecutionId),
    /// Stop it in good order, it goes to another worker; its end is reported as interrupted.
    Interrupt(ExecutionId),
    /// Tell the store, by way of the events of each job's shard.
    Publish(Message),
    /// The coordinator should hear of this worker now.
    HeartbeatNow,
    /// The coordinator does not know this worker.
    Register,
    /// This incarnation was given up: nothing it has is its own any more.
    Fenced,
}

#[derive(Debug)]
struct Waiting {
    dispatch: Dispatch,
    /// On the monotonic clock, as all that is counted here.
    since: Duration,
}

#[derive(Debug)]
struct Running {
    job: JobId,
    since: Duration,
    started_at: Option<Timestamp>,
    /// It must not run beside another attempt of its job: out of contact it is interrupted.
    must_not_overlap: bool,
    /// Its end is nobody's business any more.
    abandoned: bool,
}

/// What a worker is from its start.
#[derive(Debug, Clone)]
pub struct CoreOptions {
    pub incarnation: Incarnation,
    /// Attempts at once, at least 1.
    pub slots: u32,
    /// What finds no slot for this long is handed back.
    pub waits_most: Duration,
    /// Handlers whose attempts must not run beside another attempt of their job.
    pub must_not_overlap: BTreeSet<Name>,
    /// When the registration was sent, on the monotonic clock.
    pub registered_at: Duration,
}

#[derive(Debug)]
pub struct Core {
    incarnation: Incarnation,
    slots: u32,
    waits_most: Duration,
    must_not_overlap: BTreeSet<Name>,
    fence: Fence,
    state: WorkerState,
    /// It was told to end: no order of a coordinator makes it take work again.
    ending: bool,
    is_fenced: bool,
    heartbeats: u64,
    /// Highest priority first, then as they came.
    waiting: VecDeque<Waiting>,
    running: BTreeMap<ExecutionId, Running>,
    unacknowledged: BTreeMap<ExecutionId, Outcome>,
    over: Remembered,
    /// Moving average of how long attempts take; `None` before the first end.
    took: Option<Duration>,
    /// Executions asked for beyond the slots.
    prefetch: u32,
    /// The coordinators take back prefetched jobs, which costs those jobs nothing.
    takes_back: bool,
    /// What the newest heartbeat said.
    told_capacity: u32,
}

impl Core {
    #[must_use]
    pub fn new(options: CoreOptions) -> Self {
        let slots = options.slots.max(1);
        Self {
            incarnation: options.incarnation,
            slots,
            waits_most: options.waits_most,
            must_not_overlap: options.must_not_overlap,
            fence: Fence::new(options.registered_at),
            state: WorkerState::Running,
            ending: false,
            is_fenced: false,
            heartbeats: 0,
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            unacknowledged: BTreeMap::new(),
            over: Remembered::default(),
            took: None,
            prefetch: 0,
            takes_back: false,
            told_capacity: slots,
        }
    }

    #[must_use]
    pub fn state(&self) -> WorkerState {
        self.state
    }

    /// Attempts that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Nothing waits or runs, and every outcome is acknowledged.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.unacknowledged.is_empty()
    }

    /// Executions it may hold at once, as heartbeats say.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        if self.state != WorkerState::Running {
            return 0;
        }
        self.slots.saturating_add(self.prefetch)
    }

    /// As much as starts within [`SHORT`], going by how long attempts took lately. Slots that are
    /// taken for longer now do not count.
    fn prefetch(&self, now: Duration) -> u32 {
        let Some(took) = self.took.filter(|took| *took < SHORT) else { return 0 };
        let stuck = self.running.values().filter(|running| running.since + SHORT < now).count();
        let quick = self.slots.saturating_sub(u32::try_from(stuck).unwrap_or(u32::MAX));
        let times = if took * PREFETCH_SLOTS < SHORT { PREFETCH_SLOTS } else { 1 };
        quick.saturating_mul(times).min(PREFETCH_MAX)
    }

    /// When something has waited here for too long, on the monotonic clock.
    #[must_use]
    pub fn hand_back_at(&self) -> Option<Duration> {
        self.waiting.iter().map(|waiting| waiting.since + self.waits_most).min()
    }

    /// When attempts that must not overlap are to be interrupted, on the monotonic clock, unless a
    /// coordinator hears of this worker before; `None` while there are none.
    #[must_use]
    pub fn unreachable_at(&self) -> Option<Duration> {
        let any = self.running.values().any(|running| running.must_not_overlap);
        any.then(|| self.fence.exclusive_until())
    }

    /// The next heartbeat, sent at that time on the monotonic clock. Sending it is the caller's.
    #[must_use]
    pub fn heartbeat(&mut self, now: Duration) -> WorkerHeartbeat {
        self.heartbeats += 1;
        self.fence.sends(self.heartbeats, now);
        self.told_capacity = self.capacity();
        let waiting = self.waiting.iter().map(|waiting| waiting.dispatch.execution_ref());
        let running =
            self.running.iter().filter(|(_, running)| !running.abandoned).map(
                |(execution, running)| ExecutionRef { job: running.job, execution: *execution },
            );
        let unacknowledged = self
            .unacknowledged
            .iter()
            .map(|(execution, outcome)| ExecutionRef { job: outcome.job, execution: *execution });
        WorkerHeartbeat {
            incarnation: self.incarnation,
            seq: self.heartbeats,
            state: self.state,
            capacity: self.told_capacity,
            running: waiting.chain(running).collect(),
            unacknowledged: unacknowledged.collect(),
            load: None,
        }
    }

    pub fn step(&mut self, input: Input, at: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        let now = at.wall;
        match input {
            Input::Message(message) => self.message(message, at, &mut effects),
            Input::Answered { heartbeat, answer } => {
                if !answer.register && !answer.fenced {
                    let lease = Duration::from_millis(answer.lease_ms);
                    self.fence.answered(heartbeat, lease);
                }
                self.answered(answer, now, &mut effects);
            }
            Input::Registered(answer) => self.answered(answer, now, &mut effects),
            Input::Overdue => self.hand_back(at, &mut effects),
            Input::Unreachable => self.unreachable(at.mono, &mut effects),
            Input::Started { execution, at } => {
                if let Some(running) = self.running.get_mut(&execution) {
                    running.started_at = Some(at);
                    if !running.abandoned {
                        let started = Started { job: running.job, execution, at };
                        effects.push(publish_started(vec![started]));
                    }
                }
            }
            Input::Ended(outcome) => self.ended(outcome, at.mono, &mut effects),
            Input::Drain => {
                self.ending = true;
                self.drain(WorkerState::Draining, now, &mut effects);
            }
            Input::Stop => {
                self.ending = true;
                self.drain(WorkerState::Stopping, now, &mut effects);
                effects.extend(self.running.keys().map(|execution| Effect::Interrupt(*execution)));
            }
        }
        self.prefetch = self.prefetch(at.mono);
        self.start_waiting(at, &mut effects);
        let (is, told) = (self.capacity(), self.told_capacity);
        // Smaller changes are told by the next heartbeat.
        if is.abs_diff(told) >= self.slots.div_ceil(2) || (is == 0) != (told == 0) {
            self.told_capacity = is;
            effects.push(Effect::HeartbeatNow);
        }
        effects
    }

    fn message(&mut self, message: Message, at: Moment, effects: &mut Vec<Effect>) {
        let now = at.wall;
        match message {
            Message::JobDispatch { jobs, heartbeat_seq: Some(seq) }
                if !self.fence.takes(seq, at.mono) =>
            {
                self.give_back(jobs, "it came too late", now, effects);
            }
            Message::JobDispatch { jobs, .. } if self.state == WorkerState::Running => {
                for dispatch in jobs {
                    if self.knows(dispatch.execution) {
                        continue;
                    }
                    let after = |held: &Waiting| held.dispatch.priority >= dispatch.priority;
                    let place = self.waiting.partition_point(after);
                    self.waiting.insert(place, Waiting { dispatch, since: at.mono });
                }
            }
            Message::JobDispatch { jobs, .. } => {
                self.give_back(jobs, "the worker is stopping", now, effects);
            }
            Message::JobCancel { executions } => self.cancel(&executions, now, effects),
            Message::JobResultAck { executions } => {
                for execution in executions {
                    if self.unacknowledged.remove(&execution).is_some() {
                        self.over.insert(execution);
                    }
                }
            }
            Message::Heartbeat {} => effects.push(Effect::HeartbeatNow),
            // What workers tell is not for workers.
            Message::JobStatus { .. }
            | Message::JobProgress { .. }
            | Message::JobLog { .. }
            | Message::JobResult { .. }
            | Message::Hint(_) => {}
        }
    }

    /// Of those that are not known here, none ever starts here.
    fn give_back(
        &mut self,
        jobs: Vec<Dispatch>,
        why: &str,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let kind = OutcomeKind::Interrupted;
        let unknown = jobs.iter().filter(|dispatch| !self.knows(dispatch.execution));
        let returned: Vec<Outcome> = unknown
            .map(|dispatch| never_started(dispatch.execution_ref(), kind.clone(), why, now))
            .collect();
        self.report(returned, effects);
    }

    /// What finds no slot here goes back to where it came from, and never starts here.
    fn hand_back(&mut self, at: Moment, effects: &mut Vec<Effect>) {
        let waits_most = self.waits_most;
        let overdue = |waiting: &Waiting| waiting.since + waits_most <= at.mono;
        let (back, rest): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(overdue);
        self.waiting = rest;
        if back.is_empty() {
            return;
        }
        // What runs here is not short: nothing is prefetched until several in a row were.
        self.took = Some(self.took.unwrap_or_default().max(SHORT * 2));
        let kind = if self.takes_back { OutcomeKind::HandedBack } else { OutcomeKind::Interrupted };
        let why = "no slot became free for it in time";
        let returned = back.iter().map(|waiting| {
            never_started(waiting.dispatch.execution_ref(), kind.clone(), why, at.wall)
        });
        self.report(returned.collect(), effects);
        // Perhaps nothing runs, and what is in the way is an outcome whose acknowledgement was lost.
        effects.push(Effect::HeartbeatNow);
    }

    fn answered(&mut self, answer: HeartbeatAnswer, now: Timestamp, effects: &mut Vec<Effect>) {
        if answer.fenced {
            if !self.is_fenced {
                self.fenced(effects);
            }
            return;
        }
        if answer.register {
            effects.push(Effect::Register);
        }
        self.takes_back = answer.takes_back;
        for stop in answer.stop {
            self.forget(stop.execution, effects);
        }
        self.cancel(&answer.cancel, now, effects);
        let mut refused = Vec::new();
        let mut started = Vec::new();
        let mut again = Vec::new();
        for asked in answer.asked {
            if let Some(running) = self.running.get(&asked.execution) {
                if let Some(at) = running.started_at {
                    started.push(Started { job: asked.job, execution: asked.execution, at });
                }
            } else if let Some(outcome) = self.unacknowledged.get(&asked.execution) {
                again.push(outcome.clone());
            } else if !self.is_waiting(asked.execution) {
                // Not held, and from now on refused: whoever asked may give the job to another. If
                // it did end here, the store has the outcome, and this one is stale.
                let why = "the worker does not have it";
                refused.push(never_started(asked, OutcomeKind::Refused, why, now));
            }
        }
        for execution in answer.resend {
            if let Some(outcome) = self.unacknowledged.get(&execution) {
                again.push(outcome.clone());
            }
        }
        if !started.is_empty() {
            effects.push(publish_started(started));
        }
        if !again.is_empty() {
            effects.push(Effect::Publish(Message::JobResult { outcomes: again }));
        }
        self.report(refused, effects);
        // Who does not know the worker does not know what is ordered of it.
        if self.ending || answer.register {
            return;
        }
        match (answer.drain, self.state) {
            (true, WorkerState::Running) => self.drain(WorkerState::Draining, now, effects),
            (false, WorkerState::Draining) => self.state = WorkerState::Running,
            _ => {}
        }
    }

    /// Nothing is told any more: it would not count.
    fn fenced(&mut self, effects: &mut Vec<Effect>) {
        self.is_fenced = true;
        self.ending = true;
        self.state = WorkerState::Stopping;
        self.waiting.clear();
        self.unacknowledged.clear();
        for (execution, running) in &mut self.running {
            if !running.abandoned {
                running.abandoned = true;
                effects.push(Effect::Abandon(*execution));
            }
        }
        effects.push(Effect::Fenced);
    }

    /// Stops what must not run beside another attempt of its job, which there may be from now on.
    fn unreachable(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if now < self.fence.exclusive_until() {
            return;
        }
        for (execution, running) in &mut self.running {
            if std::mem::take(&mut running.must_not_overlap) && !running.abandoned {
                effects.push(Effect::Interrupt(*execution));
            }
        }
    }

    /// The last heartbeat says that it has ended.
    #[must_use]
    pub fn goodbye(&mut self, now: Duration) -> WorkerHeartbeat {
        self.ending = true;
        self.state = WorkerState::Stopped;
        self.heartbeat(now)
    }

    fn cancel(&mut self, refs: &[ExecutionRef], now: Timestamp, effects: &mut Vec<Effect>) {
        let mut never = Vec::new();
        for cancel in refs {
            if self.running.contains_key(&cancel.execution) {
                effects.push(Effect::Cancel(cancel.execution));
                continue;
            }
            let before = self.waiting.len();
            self.waiting.retain(|waiting| waiting.dispatch.execution != cancel.execution);
            // Waiting here, or not yet seen: it never starts. Already over: nothing to say.
            if self.waiting.len() < before || !self.knows(cancel.execution) {
                let why = "cancelled before it started";
                never.push(never_started(*cancel, OutcomeKind::Cancelled, why, now));
            }
        }
        self.report(never, effects);
    }

    fn ended(&mut self, outcome: Outcome, now: Duration, effects: &mut Vec<Effect>) {
        let Some(running) = self.running.remove(&outcome.execution) else { return };
        if outcome.started_at.is_some() && !running.abandoned {
            let took = now.saturating_sub(running.since);
            self.took = Some(self.took.map_or(took, |before| (before * 9 + took) / 10));
        }
        if running.abandoned {
            self.over.insert(outcome.execution);
        } else {
            self.report(vec![outcome], effects);
        }
    }

    fn forget(&mut self, execution: ExecutionId, effects: &mut Vec<Effect>) {
        if let Some(running) = self.running.get_mut(&execution) {
            if !running.abandoned {
                running.abandoned = true;
                effects.push(Effect::Abandon(execution));
            }
            return;
        }
        self.waiting.retain(|waiting| waiting.dispatch.execution != execution);
        self.unacknowledged.remove(&execution);
        self.over.insert(execution);
    }

    fn drain(&mut self, state: WorkerState, now: Timestamp, effects: &mut Vec<Effect>) {
        self.state = state;
        let give_back = |waiting: Waiting| {
            let why = "the worker is stopping";
            never_started(waiting.dispatch.execution_ref(), OutcomeKind::Interrupted, why, now)
        };
        let returned = self.waiting.drain(..).map(give_back).collect();
        self.report(returned, effects);
    }

    fn start_waiting(&mut self, at: Moment, effects: &mut Vec<Effect>) {
        // Unacknowledged outcomes take up capacity, but not the slots of short jobs: those would wait
        // for a commit after each.
        let most = self.capacity() as usize;
        while self.running.len() < self.slots as usize
            && self.running.len() + self.unacknowledged.len() < most
        {
            let Some(Waiting { dispatch, .. }) = self.waiting.pop_front() else { break };
            // The job may be another's by now, or cancelled. What runs already is another matter.
            if at.mono >= self.fence.exclusive_until() {
                let (of, kind) = (dispatch.execution_ref(), OutcomeKind::Interrupted);
                let why = "the worker reaches no coordinator";
                self.report(vec![never_started(of, kind, why, at.wall)], effects);
                continue;
            }
            let running = Running {
                job: dispatch.job,
                since: at.mono,
                started_at: None,
                must_not_overlap: dispatch.command.is_none()
                    && self.must_not_overlap.contains(&dispatch.name),
                abandoned: false,
            };
            self.running.insert(dispatch.execution, running);
            effects.push(Effect::Start(dispatch));
        }
    }

    fn report(&mut self, outcomes: Vec<Outcome>, effects: &mut Vec<Effect>) {
        if outcomes.is_empty() {
            return;
        }
        for outcome in &outcomes {
            self.unacknowledged.insert(outcome.execution, outcome.clone());
        }
        effects.push(Effect::Publish(Message::JobResult { outcomes }));
    }

    fn is_waiting(&self, execution: ExecutionId) -> bool {
        self.waiting.iter().any(|waiting| waiting.dispatch.execution == execution)
    }

    fn knows(&self, execution: ExecutionId) -> bool {
        self.running.contains_key(&execution)
            || self.unacknowledged.contains_key(&execution)
            || self.over.contains(execution)
            || self.is_waiting(execution)
    }
}

fn publish_started(started: Vec<Started>) -> Effect {
    Effect::Publish(Message::JobStatus { started })
}

fn never_started(of: ExecutionRef, kind: OutcomeKind, why: &str, now: Timestamp) -> Outcome {
    Outcome {
        job: of.job,
        execution: of.execution,
        kind,
        started_at: None,
        ended_at: now,
        error: Some(why.to_owned()),
        exit: None,
    }
}
