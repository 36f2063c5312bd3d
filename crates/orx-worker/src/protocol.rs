//! The worker's side of the protocol, without I/O: what it holds, what it starts, what it tells.
//!
//! Every message may come twice, late, out of order or never, so each input is safe to repeat.
//! Three promises rest on this file:
//! - an execution is started at most once by this worker, and never after it was cancelled,
//!   refused or given back;
//! - an outcome is kept, and takes up room, until somebody says that the store has it or never will;
//! - what is held is bounded: running attempts by the slots, all of it by the capacity;
//! - what finds no slot within its time, [`WAITS_MOST`], is handed back, so that priorities hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use orx_model::message::{
    Dispatch, ExecutionRef, HeartbeatAnswer, Message, Started, WorkerHeartbeat, WorkerState,
};
use orx_model::{ExecutionId, Incarnation, JobId, Outcome, OutcomeKind, Timestamp};

/// Executions remembered after they are over, so that a late copy of their dispatch is known. A
/// dispatch that comes later than so many others is not held back by any transport we have.
const REMEMBERED: usize = 65_536;
/// Attempts shorter than this on average are short: more than the free slots are asked for.
const SHORT: Duration = Duration::from_millis(50);
/// A job that was sent ahead waits here for a slot so long at most. Then the leader has it again, who
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
    /// Dispatches that were under way for so long that the jobs may be others' by now.
    Late(Vec<Dispatch>),
    /// What a heartbeat was answered.
    Answered(HeartbeatAnswer),
    /// The runtime started what it was told to.
    Started { execution: ExecutionId, at: Timestamp },
    /// The runtime's attempt has ended, for whatever reason.
    Ended(Outcome),
    /// The time that [`Core::hand_back_at`] named has come.
    Overdue,
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
    /// Its end is nobody's business any more.
    abandoned: bool,
}

#[derive(Debug)]
pub struct Core {
    incarnation: Incarnation,
    slots: u32,
    /// What finds no slot for this long is handed back.
    waits_most: Duration,
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
    /// The coordinators take back what was sent ahead, and count it for nothing.
    takes_back: bool,
    /// What the newest heartbeat said.
    told_capacity: u32,
}

impl Core {
    /// `slots` is at least 1.
    #[must_use]
    pub fn new(incarnation: Incarnation, slots: u32, waits_most: Duration) -> Self {
        let slots = slots.max(1);
        Self {
            incarnation,
            slots,
            waits_most,
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

    /// The next heartbeat. Sending it is the caller's.
    #[must_use]
    pub fn heartbeat(&mut self) -> WorkerHeartbeat {
        self.heartbeats += 1;
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
            Input::Late(jobs) => self.give_back(jobs, "it came too late", now, &mut effects),
            Input::Answered(answer) => self.answered(answer, now, &mut effects),
            Input::Overdue => self.hand_back(at, &mut effects),
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
        self.start_waiting(at.mono, &mut effects);
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
        // What runs here is not short: nothing is asked for ahead until several in a row were.
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

    /// The last heartbeat says that it has ended.
    #[must_use]
    pub fn goodbye(&mut self) -> WorkerHeartbeat {
        self.ending = true;
        self.state = WorkerState::Stopped;
        self.heartbeat()
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

    fn start_waiting(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        // Unacknowledged outcomes take up room, but not the slots of short jobs: those would wait
        // for a commit after each.
        let most = self.capacity() as usize;
        while self.running.len() < self.slots as usize
            && self.running.len() + self.unacknowledged.len() < most
        {
            let Some(Waiting { dispatch, .. }) = self.waiting.pop_front() else { break };
            let job = dispatch.job;
            let running = Running { job, since: now, started_at: None, abandoned: false };
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

/// The newest [`REMEMBERED`] executions that are over.
#[derive(Debug, Default)]
struct Remembered {
    known: BTreeSet<ExecutionId>,
    order: VecDeque<ExecutionId>,
}

impl Remembered {
    fn insert(&mut self, execution: ExecutionId) {
        if self.known.insert(execution) {
            self.order.push_back(execution);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
    }

    fn contains(&self, execution: ExecutionId) -> bool {
        self.known.contains(&execution)
    }
}

#[cfg(test)]
mod tests {
    use orx_model::job::{Labels, json_null};
    use orx_model::{Name, Priority};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);
    const AT: Moment = Moment { wall: NOW, mono: Duration::ZERO };

    fn later(ms: u64) -> Moment {
        Moment { wall: NOW, mono: Duration::from_millis(ms) }
    }

    fn core(slots: u32) -> Core {
        Core::new(Incarnation(1), slots, WAITS_MOST)
    }

    fn job(id: i64, execution: u128, priority: Priority) -> Dispatch {
        let name: Name = "test".parse().expect("a name");
        Dispatch {
            job: JobId(id),
            attempt: 1,
            execution: ExecutionId(execution),
            name: name.clone(),
            queue: name,
            priority,
            args: json_null(),
            command: None,
            timeout_ms: None,
            deadline: None,
            run_at: NOW,
            retry: 0,
            corr: None,
            tags: Labels::new(),
            schedule: None,
        }
    }

    fn dispatch(core: &mut Core, jobs: Vec<Dispatch>) -> Vec<Effect> {
        core.step(Input::Message(Message::JobDispatch { jobs, heard: None }), AT)
    }

    fn starts(effects: &[Effect]) -> Vec<u128> {
        let start = |effect: &Effect| match effect {
            Effect::Start(dispatch) => Some(dispatch.execution.0),
            _ => None,
        };
        effects.iter().filter_map(start).collect()
    }

    fn outcomes(effects: &[Effect]) -> Vec<(u128, &'static str)> {
        let mut all = Vec::new();
        for effect in effects {
            if let Effect::Publish(Message::JobResult { outcomes }) = effect {
                all.extend(outcomes.iter().map(|o| (o.execution.0, o.kind.status().as_str())));
            }
        }
        all
    }

    fn succeeded(id: i64, execution: u128) -> Input {
        Input::Ended(Outcome {
            job: JobId(id),
            execution: ExecutionId(execution),
            kind: OutcomeKind::Succeeded { result: None },
            started_at: Some(NOW),
            ended_at: NOW,
            error: None,
            exit: None,
        })
    }

    fn ack(execution: u128) -> Input {
        Input::Message(Message::JobResultAck { executions: vec![ExecutionId(execution)] })
    }

    fn cancel(id: i64, execution: u128) -> Input {
        let executions = vec![ExecutionRef { job: JobId(id), execution: ExecutionId(execution) }];
        Input::Message(Message::JobCancel { executions })
    }

    #[test]
    fn a_doubled_dispatch_starts_once_even_long_after_its_end() {
        let mut core = core(1);
        let first = job(1, 7, Priority::Normal);
        assert_eq!(starts(&dispatch(&mut core, vec![first.clone(), first.clone()])), [7]);
        assert_eq!(starts(&dispatch(&mut core, vec![first.clone()])), []);
        core.step(succeeded(1, 7), later(1_000));
        assert_eq!(starts(&dispatch(&mut core, vec![first.clone()])), []);
        core.step(ack(7), AT);
        assert_eq!(starts(&dispatch(&mut core, vec![first])), []);
    }

    #[test]
    fn a_cancel_that_comes_before_its_dispatch_keeps_it_from_starting() {
        let mut core = core(1);
        assert_eq!(outcomes(&core.step(cancel(1, 7), AT)), [(7, "cancelled")]);
        assert_eq!(starts(&dispatch(&mut core, vec![job(1, 7, Priority::Normal)])), []);
    }

    #[test]
    fn what_it_does_not_have_it_refuses_for_ever() {
        let mut core = core(1);
        let asked = vec![ExecutionRef { job: JobId(1), execution: ExecutionId(7) }];
        let answer = HeartbeatAnswer { asked, ..HeartbeatAnswer::default() };
        assert_eq!(outcomes(&core.step(Input::Answered(answer), AT)), [(7, "refused")]);
        assert_eq!(starts(&dispatch(&mut core, vec![job(1, 7, Priority::Normal)])), []);
    }

    #[test]
    fn an_outcome_is_kept_until_it_is_acknowledged() {
        let mut core = core(1);
        dispatch(&mut core, vec![job(1, 7, Priority::Normal), job(2, 8, Priority::Normal)]);
        let effects = core.step(succeeded(1, 7), later(60_000));
        assert_eq!(outcomes(&effects), [(7, "succeeded")]);
        // Long jobs: the slot stays taken.
        assert_eq!(starts(&effects), []);
        let beat = core.heartbeat();
        assert_eq!(beat.unacknowledged.len(), 1);
        let resend = HeartbeatAnswer { resend: vec![ExecutionId(7)], ..Default::default() };
        assert_eq!(outcomes(&core.step(Input::Answered(resend), AT)), [(7, "succeeded")]);
        assert_eq!(starts(&core.step(ack(7), AT)), [8]);
        assert!(!core.is_idle());
    }

    #[test]
    fn short_jobs_raise_the_capacity_and_tell_the_coordinator_at_once() {
        let mut core = core(4);
        assert_eq!(core.heartbeat().capacity, 4);
        dispatch(&mut core, vec![job(1, 7, Priority::Normal)]);
        let effects = core.step(succeeded(1, 7), later(1));
        assert!(effects.iter().any(|effect| matches!(effect, Effect::HeartbeatNow)));
        assert_eq!(core.heartbeat().capacity, 16);
    }

    #[test]
    fn a_higher_priority_overtakes_what_waits_here() {
        let mut core = core(1);
        dispatch(&mut core, vec![job(1, 7, Priority::Normal), job(2, 8, Priority::Normal)]);
        dispatch(&mut core, vec![job(3, 9, Priority::Critical)]);
        core.step(succeeded(1, 7), later(60_000));
        assert_eq!(starts(&core.step(ack(7), AT)), [9]);
    }

    #[test]
    fn stopping_gives_back_what_waits_and_interrupts_what_runs() {
        let mut core = core(1);
        dispatch(&mut core, vec![job(1, 7, Priority::Normal), job(2, 8, Priority::Normal)]);
        let effects = core.step(Input::Stop, AT);
        assert_eq!(outcomes(&effects), [(8, "interrupted")]);
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Interrupt(ExecutionId(7)))));
        assert_eq!(core.capacity(), 0);
        let late = dispatch(&mut core, vec![job(3, 9, Priority::Normal)]);
        assert_eq!((starts(&late).len(), outcomes(&late)), (0, vec![(9, "interrupted")]));
    }

    /// Two run and four wait, at a worker that asked for them when its jobs were short.
    fn ahead(core: &mut Core) -> Vec<u128> {
        dispatch(core, vec![job(1, 1, Priority::Normal)]);
        core.step(succeeded(1, 1), AT);
        core.step(ack(1), AT);
        assert_eq!(core.capacity(), 8);
        let jobs = (2..8).map(|id| job(id, id as u128, Priority::Normal)).collect();
        starts(&dispatch(core, jobs))
    }

    #[test]
    fn what_finds_no_slot_is_handed_back_and_nothing_more_is_asked_for() {
        let mut core = core(2);
        let takes_back = HeartbeatAnswer { takes_back: true, ..HeartbeatAnswer::default() };
        answered(&mut core, takes_back);
        assert_eq!(ahead(&mut core), [2, 3]);
        assert_eq!(core.hand_back_at(), Some(WAITS_MOST));
        assert_eq!(outcomes(&core.step(Input::Overdue, later(99))), []);
        // One more starts before the others are handed back.
        assert_eq!(starts(&core.step(succeeded(2, 2), later(99))), [4]);
        let effects = core.step(Input::Overdue, later(100));
        assert_eq!(outcomes(&effects), [(5, "refused"), (6, "refused"), (7, "refused")]);
        assert!(effects.iter().any(|effect| matches!(effect, Effect::HeartbeatNow)));
        assert_eq!((core.capacity(), core.hand_back_at()), (2, None));
        assert_eq!(starts(&dispatch(&mut core, vec![job(5, 5, Priority::Normal)])), []);

        // One short one does not make the worker ask for more again, many do.
        for (id, ends) in (10..40).enumerate() {
            let again = core.capacity() > 2;
            assert!(!again || id > 5, "after {id}");
            if again {
                return;
            }
            core.step(ack(ends), later(101));
            core.running.clear();
            core.unacknowledged.clear();
            dispatch(&mut core, vec![job(ends as i64, ends, Priority::Normal)]);
            core.step(succeeded(ends as i64, ends), AT);
        }
        panic!("never again");
    }

    #[test]
    fn who_does_not_know_of_handing_back_is_told_of_an_interruption() {
        let mut core = core(2);
        ahead(&mut core);
        let effects = core.step(Input::Overdue, later(100));
        assert_eq!(outcomes(&effects)[0], (4, "interrupted"));
    }

    #[test]
    fn slots_that_are_taken_for_long_are_no_reason_to_ask_for_more() {
        let mut core = core(2);
        ahead(&mut core);
        core.step(succeeded(2, 2), later(60));
        // One is quick: the other is taken for 60 ms now.
        assert_eq!(core.capacity(), 2 + 3);
    }

    fn answered(core: &mut Core, answer: HeartbeatAnswer) -> Vec<Effect> {
        core.step(Input::Answered(answer), AT)
    }

    #[test]
    fn an_order_to_drain_holds_while_it_is_said() {
        let mut core = core(1);
        dispatch(&mut core, vec![job(1, 7, Priority::Normal), job(2, 8, Priority::Normal)]);
        let drain = HeartbeatAnswer { drain: true, ..HeartbeatAnswer::default() };
        assert_eq!(outcomes(&answered(&mut core, drain)), [(8, "interrupted")]);
        assert_eq!((core.state(), core.capacity()), (WorkerState::Draining, 0));
        // A coordinator that does not know the worker says nothing of what is ordered.
        let stranger = HeartbeatAnswer { register: true, ..HeartbeatAnswer::default() };
        answered(&mut core, stranger);
        assert_eq!(core.state(), WorkerState::Draining);
        let effects = answered(&mut core, HeartbeatAnswer::default());
        assert!(effects.iter().any(|effect| matches!(effect, Effect::HeartbeatNow)));
        assert_eq!((core.state(), core.capacity()), (WorkerState::Running, 1));
    }

    #[test]
    fn who_was_told_to_end_takes_no_work_again() {
        let mut core = core(1);
        core.step(Input::Drain, AT);
        answered(&mut core, HeartbeatAnswer::default());
        assert_eq!((core.state(), core.capacity()), (WorkerState::Draining, 0));
    }

    #[test]
    fn who_was_fenced_stops_all_and_tells_nothing() {
        let mut core = core(1);
        dispatch(&mut core, vec![job(1, 7, Priority::Normal), job(2, 8, Priority::Normal)]);
        let fenced = HeartbeatAnswer { fenced: true, ..HeartbeatAnswer::default() };
        let effects = answered(&mut core, fenced);
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Abandon(ExecutionId(7)))));
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Fenced)));
        assert_eq!(outcomes(&effects), []);
        assert_eq!(outcomes(&core.step(succeeded(1, 7), later(60_000))), []);
        assert!(core.is_idle() && core.capacity() == 0);
    }

    #[test]
    fn what_is_no_longer_ours_is_stopped_and_not_reported() {
        let mut core = core(1);
        dispatch(&mut core, vec![job(1, 7, Priority::Normal)]);
        let stop = vec![ExecutionRef { job: JobId(1), execution: ExecutionId(7) }];
        let answer = HeartbeatAnswer { stop, ..HeartbeatAnswer::default() };
        let effects = core.step(Input::Answered(answer), AT);
        assert!(matches!(effects[0], Effect::Abandon(ExecutionId(7))));
        assert_eq!(outcomes(&core.step(succeeded(1, 7), later(60_000))), []);
        assert!(core.is_idle());
    }
}
