//! The worker's side of the protocol, without I/O: which executions it holds, starts and reports.
//!
//! Every message may arrive twice, late, out of order or never, so each input is safe to repeat. The
//! protocol promises:
//! - It starts an execution at most once, and never after the execution was cancelled, refused or handed
//!   back, nor when another worker may run the job by now.
//! - It holds an outcome, which counts against the capacity, until a coordinator answers that the store
//!   has recorded it or never will.
//! - The slots bound the running attempts, and the capacity bounds everything that is held.
//! - A job that gets no slot within [`SLOT_WAIT`] is handed back, so that priorities hold.

mod effect;
mod ended;
mod fence;
#[cfg(test)]
mod held_tests;
mod input;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use orx_model::message::{
    Dispatch, ExecutionRef, HeartbeatAnswer, Message, Started, WorkerHeartbeat, WorkerState,
};
use orx_model::{ExecutionId, Incarnation, JobId, Name, Outcome, OutcomeKind, Timestamp};

pub use self::effect::Effect;
use self::ended::EndedExecutions;
use self::fence::Fence;
pub use self::input::{Input, Moment};

/// Attempts that take less than this on average are short: the worker then prefetches jobs.
const SHORT: Duration = Duration::from_millis(50);
/// How long a prefetched job waits for a slot. Then it goes back to the leader, which knows the jobs of
/// higher priority and the workers with free slots.
pub const SLOT_WAIT: Duration = Duration::from_millis(100);
/// Most jobs to prefetch, in multiples of the slots.
const PREFETCH_SLOTS: u32 = 3;
/// Most jobs to prefetch.
const PREFETCH_MAX: u32 = 1_000;

/// A dispatched job that waits for a slot.
#[derive(Debug)]
struct WaitingJob {
    dispatch: Dispatch,
    /// When it arrived, on the monotonic clock.
    since: Duration,
}

#[derive(Debug)]
struct Running {
    job: JobId,
    /// When it was started, on the monotonic clock.
    since: Duration,
    /// When the runtime started it, on the wall clock.
    started_at: Option<Timestamp>,
    /// Whether it is interrupted before the lease expires, so that no other attempt of its job runs
    /// beside it.
    must_not_overlap: bool,
    /// Whether its outcome is not reported.
    abandoned: bool,
}

/// What a worker knows at its start.
#[derive(Debug, Clone)]
pub struct CoreOptions {
    /// The incarnation that was registered.
    pub incarnation: Incarnation,
    /// Most attempts at once, at least 1.
    pub slots: u32,
    /// How long a job waits for a slot before it is handed back.
    pub slot_wait: Duration,
    /// Handlers whose attempts must not run beside another attempt of their job.
    pub must_not_overlap: BTreeSet<Name>,
    /// When the registration was sent, on the monotonic clock.
    pub registered_at: Duration,
}

/// The state of a worker.
#[derive(Debug)]
pub struct Core {
    incarnation: Incarnation,
    slots: u32,
    slot_wait: Duration,
    must_not_overlap: BTreeSet<Name>,
    fence: Fence,
    state: WorkerState,
    /// Whether it ends: from then on no coordinator can make it accept work.
    ending: bool,
    is_fenced: bool,
    /// How many heartbeats were sent.
    heartbeats: u64,
    /// By descending priority, then in order of arrival.
    waiting: VecDeque<WaitingJob>,
    running: BTreeMap<ExecutionId, Running>,
    unacknowledged: BTreeMap<ExecutionId, Outcome>,
    ended: EndedExecutions,
    /// Moving average of the durations of attempts; `None` before the first end.
    average_duration: Option<Duration>,
    /// How many executions it accepts beyond the slots.
    prefetch: u32,
    /// Whether the coordinator knows [`OutcomeKind::HandedBack`], which costs the job nothing.
    takes_back: bool,
    /// The capacity in the newest heartbeat.
    reported_capacity: u32,
}

impl Core {
    /// A worker that has just registered and holds no execution.
    #[must_use]
    pub fn new(options: CoreOptions) -> Self {
        let slots = options.slots.max(1);
        Self {
            incarnation: options.incarnation,
            slots,
            slot_wait: options.slot_wait,
            must_not_overlap: options.must_not_overlap,
            fence: Fence::new(options.registered_at),
            state: WorkerState::Running,
            ending: false,
            is_fenced: false,
            heartbeats: 0,
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            unacknowledged: BTreeMap::new(),
            ended: EndedExecutions::default(),
            average_duration: None,
            prefetch: 0,
            takes_back: false,
            reported_capacity: slots,
        }
    }

    /// The state that heartbeats report.
    #[must_use]
    pub fn state(&self) -> WorkerState {
        self.state
    }

    /// How many attempts run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether no job waits or runs, and every outcome is acknowledged.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.unacknowledged.is_empty()
    }

    /// How many executions it accepts at once, as heartbeats report.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        if self.state != WorkerState::Running {
            return 0;
        }
        self.slots.saturating_add(self.prefetch)
    }

    /// How many jobs start within [`SHORT`] by the average duration. Slots whose attempt has run for
    /// longer already do not count.
    fn prefetch(&self, now: Duration) -> u32 {
        let Some(average) = self.average_duration.filter(|average| *average < SHORT) else {
            return 0;
        };
        let long = self.running.values().filter(|running| running.since + SHORT < now).count();
        let short = self.slots.saturating_sub(u32::try_from(long).unwrap_or(u32::MAX));
        let times = if average * PREFETCH_SLOTS < SHORT { PREFETCH_SLOTS } else { 1 };
        short.saturating_mul(times).min(PREFETCH_MAX)
    }

    /// When a waiting job must be handed back, on the monotonic clock; `None` while none waits.
    #[must_use]
    pub fn hand_back_at(&self) -> Option<Duration> {
        self.waiting.iter().map(|waiting| waiting.since + self.slot_wait).min()
    }

    /// When attempts that must not overlap are interrupted, on the monotonic clock, unless a heartbeat
    /// is answered before; `None` while there are none.
    #[must_use]
    pub fn unreachable_at(&self) -> Option<Duration> {
        let any = self.running.values().any(|running| running.must_not_overlap);
        any.then(|| self.fence.exclusive_until())
    }

    /// The next heartbeat, which the caller sends at `now` on the monotonic clock.
    #[must_use]
    pub fn heartbeat(&mut self, now: Duration) -> WorkerHeartbeat {
        self.heartbeats += 1;
        self.fence.sent(self.heartbeats, now);
        self.reported_capacity = self.capacity();
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
            capacity: self.reported_capacity,
            running: waiting.chain(running).collect(),
            unacknowledged: unacknowledged.collect(),
            load: None,
        }
    }

    /// Processes an input and returns what the runtime must do.
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
        let (now, reported) = (self.capacity(), self.reported_capacity);
        // The next heartbeat reports smaller changes.
        if now.abs_diff(reported) >= self.slots.div_ceil(2) {
            self.reported_capacity = now;
            effects.push(Effect::HeartbeatNow);
        }
        effects
    }

    fn message(&mut self, message: Message, at: Moment, effects: &mut Vec<Effect>) {
        let now = at.wall;
        match message {
            Message::JobDispatch { jobs, heartbeat_seq: Some(seq) }
                if !self.fence.accepts(seq, at.mono) =>
            {
                self.return_unstarted(jobs, "it came too late", now, effects);
            }
            Message::JobDispatch { jobs, .. } if self.state == WorkerState::Running => {
                for dispatch in jobs {
                    if self.knows(dispatch.execution) {
                        continue;
                    }
                    let before = |held: &WaitingJob| held.dispatch.priority >= dispatch.priority;
                    let index = self.waiting.partition_point(before);
                    self.waiting.insert(index, WaitingJob { dispatch, since: at.mono });
                }
            }
            Message::JobDispatch { jobs, .. } => {
                self.return_unstarted(jobs, "the worker is stopping", now, effects);
            }
            Message::JobCancel { executions } => self.cancel(&executions, now, effects),
            Message::JobResultAck { executions } => {
                for execution in executions {
                    if self.unacknowledged.remove(&execution).is_some() {
                        self.ended.insert(execution);
                    }
                }
            }
            Message::Heartbeat {} => effects.push(Effect::HeartbeatNow),
            // Messages to coordinators.
            Message::JobStatus { .. }
            | Message::JobProgress { .. }
            | Message::JobLog { .. }
            | Message::JobResult { .. }
            | Message::Notification(_) => {}
        }
    }

    /// Returns the jobs that are not known here; they never start here.
    fn return_unstarted(
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

    /// Hands back the jobs that have waited too long for a slot; they never start here.
    fn hand_back(&mut self, at: Moment, effects: &mut Vec<Effect>) {
        let slot_wait = self.slot_wait;
        let overdue = |waiting: &WaitingJob| waiting.since + slot_wait <= at.mono;
        let (back, rest): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(overdue);
        self.waiting = rest;
        if back.is_empty() {
            return;
        }
        // The running attempts are not short: no prefetch until several short ones have ended.
        self.average_duration = Some(self.average_duration.unwrap_or_default().max(SHORT * 2));
        let kind = if self.takes_back { OutcomeKind::HandedBack } else { OutcomeKind::Interrupted };
        let why = "no slot became free for it in time";
        let returned = back.iter().map(|waiting| {
            never_started(waiting.dispatch.execution_ref(), kind.clone(), why, at.wall)
        });
        self.report(returned.collect(), effects);
        // Outcomes whose acknowledgement was lost may occupy the slots: the answer acknowledges them.
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
                // From now on refused, so that another worker may get the job. If the execution ended
                // here, the store has recorded its outcome, and this one is stale.
                let why = "the worker does not hold it";
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
        // A coordinator that does not know the worker does not know its directives.
        if self.ending || answer.register {
            return;
        }
        match (answer.drain, self.state) {
            (true, WorkerState::Running) => self.drain(WorkerState::Draining, now, effects),
            (false, WorkerState::Draining) => self.state = WorkerState::Running,
            _ => {}
        }
    }

    /// Stops everything and reports nothing: no report would count.
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

    /// Stops the attempts that must not overlap: from now on another attempt may run.
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

    /// The last heartbeat of this incarnation, which reports that it has ended.
    #[must_use]
    pub fn last_heartbeat(&mut self, now: Duration) -> WorkerHeartbeat {
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
            self.waiting.retain(|waiting| waiting.dispatch.execution != cancel.execution);
            // A job that waited here or has not arrived yet never starts. One that ended has its outcome.
            if !self.knows(cancel.execution) {
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
            let average = self.average_duration;
            self.average_duration = Some(average.map_or(took, |before| (before * 9 + took) / 10));
        }
        if running.abandoned {
            self.ended.insert(outcome.execution);
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
        self.ended.insert(execution);
    }

    fn drain(&mut self, state: WorkerState, now: Timestamp, effects: &mut Vec<Effect>) {
        self.state = state;
        let interrupted = |waiting: WaitingJob| {
            let why = "the worker is stopping";
            never_started(waiting.dispatch.execution_ref(), OutcomeKind::Interrupted, why, now)
        };
        let returned = self.waiting.drain(..).map(interrupted).collect();
        self.report(returned, effects);
    }

    fn start_waiting(&mut self, at: Moment, effects: &mut Vec<Effect>) {
        // Unacknowledged outcomes count against the capacity, not against the slots: short jobs would
        // otherwise wait for a commit after each.
        let most = self.capacity() as usize;
        while self.running.len() < self.slots as usize
            && self.running.len() + self.unacknowledged.len() < most
        {
            let Some(WaitingJob { dispatch, .. }) = self.waiting.pop_front() else { break };
            // Another worker may run the job by now, or it may be cancelled.
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
            || self.ended.contains(execution)
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
