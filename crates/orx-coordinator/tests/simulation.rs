//! The real decisions of coordinator and workers under thousands of random orders of events: loss,
//! doubling, delay of messages, crashes of workers and of the server, cancels and retries in
//! between. The invariants of the product are checked after each step, and that all converges once
//! the trouble is over.
//!
//! `ORX_SIM_SEEDS` says how many; `ORX_SIM_SEED` replays one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use orx_coordinator::engine::Events;
use orx_coordinator::{Engine, Now, Outbox, Settings};
use orx_model::job::{Labels, json_null};
use orx_model::message::{
    Dispatch, ExecutionRef, HeartbeatAnswer, Message, WorkerHeartbeat, WorkerRegistration,
};
use orx_model::{
    ExecutionId, Incarnation, JobEvent, JobId, JobSpec, JobStatus, Name, Offer, OnLost, Outcome,
    OutcomeKind, Priority, RetryPolicy, Timestamp, next,
};
use orx_store::{
    CancelAnswer, CancelCommand, Dispatching, Enqueued, Jobs, Lead, LeadRequest, Leases, Memory,
    RetryAnswer, Store,
};
use orx_worker::protocol::{Core, Effect, Input};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The memory store never waits, so neither does what runs on it.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the reference store answers at once")
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

struct Worker {
    core: Core,
    registration: WorkerRegistration,
    running: BTreeMap<ExecutionId, (JobId, Option<OutcomeKind>)>,
    started: BTreeSet<ExecutionId>,
    registered: bool,
}

/// A message on its way.
#[derive(Clone)]
enum Mail {
    ToWorker(Incarnation, Message),
    ToCoordinator(Incarnation, Message),
    Heartbeat(WorkerHeartbeat),
    Answer(Incarnation, HeartbeatAnswer),
}

/// What is checked: facts as they come, against what must hold.
#[derive(Default)]
struct Checker {
    accepted: BTreeSet<JobId>,
    status: BTreeMap<JobId, JobStatus>,
    attempt: BTreeMap<JobId, u32>,
    live: BTreeMap<JobId, ExecutionId>,
    ended: BTreeSet<ExecutionId>,
    /// Cancelled, and not retried since.
    cancelled: BTreeSet<JobId>,
    started: BTreeSet<(Incarnation, ExecutionId)>,
}

impl Checker {
    /// I3, I4, I5, I8: a job's moves are those of the table, one end for each execution, numbers
    /// that only grow, one live execution.
    fn transition(&mut self, it: &orx_store::Transition) -> Result<(), String> {
        let known = self.status.insert(it.job, it.to);
        if known != it.from {
            return Err(format!("I3: {} was {known:?}, moved from {:?}", it.job, it.from));
        }
        if let (Some(from), Some(event)) = (it.from, it.event)
            && next(from, event) != Ok(it.to)
        {
            return Err(format!("I3: {} may not go from {from} to {} by {event:?}", it.job, it.to));
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
                let execution = self.live.remove(&it.job).ok_or("an end without a start")?;
                if !self.ended.insert(execution) {
                    return Err(format!("I4: two ends of {execution}"));
                }
            }
            Some(JobEvent::Revive) => {
                self.cancelled.remove(&it.job);
            }
            _ => {}
        }
        if it.to == JobStatus::Cancelled {
            self.cancelled.insert(it.job);
        }
        Ok(())
    }

    /// I12: nothing starts twice at one worker, or when it was cancelled before it was dispatched.
    fn start(&mut self, worker: Incarnation, dispatch: &Dispatch) -> Result<(), String> {
        if !self.started.insert((worker, dispatch.execution)) {
            return Err(format!("I12: {} started twice", dispatch.execution));
        }
        Ok(())
    }
}

struct World {
    rng: StdRng,
    store: Arc<Memory>,
    engine: Engine,
    node: u128,
    workers: BTreeMap<Incarnation, Worker>,
    mail: Vec<Mail>,
    clock: Duration,
    checker: Checker,
    trace: Vec<String>,
    /// Messages are lost and doubled, and things die.
    trouble: bool,
    ids: u128,
}

const START: i64 = 1_800_000_000_000;

impl World {
    fn new(seed: u64) -> Self {
        let store = Arc::new(Memory::new());
        let clock = Duration::ZERO;
        let mut engine = engine(&store, 1, seed, clock);
        let wall = Timestamp::from_millis(START);
        lead(&mut engine, &store, Now { wall, mono: clock });
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed),
            store,
            engine,
            node: 1,
            workers: BTreeMap::new(),
            mail: Vec::new(),
            clock,
            checker: Checker::default(),
            trace: Vec::new(),
            trouble: true,
            ids: 100,
        };
        for _ in 0..3 {
            world.add_worker();
        }
        world
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(START + self.clock.as_millis() as i64)
    }

    fn instant(&self) -> Now {
        Now { wall: self.wall(), mono: self.clock }
    }

    fn say(&mut self, what: String) {
        self.trace.push(what);
    }

    fn add_worker(&mut self) {
        self.ids += 1;
        let incarnation = Incarnation(self.ids);
        let slots = self.rng.random_range(1..4);
        let registration = WorkerRegistration {
            incarnation,
            name: name("w"),
            host: "h".into(),
            pid: 1,
            version: "1".into(),
            offer: Offer { handlers: [name("work")].into(), ..Offer::default() },
            slots,
            started_at: self.wall(),
        };
        let worker = Worker {
            core: Core::new(incarnation, slots),
            registration,
            running: BTreeMap::new(),
            started: BTreeSet::new(),
            registered: false,
        };
        self.workers.insert(incarnation, worker);
        self.register(incarnation);
    }

    fn register(&mut self, incarnation: Incarnation) {
        let at = self.instant();
        if let Some(worker) = self.workers.get_mut(&incarnation) {
            let registration = worker.registration.clone();
            worker.registered = true;
            let told = now(self.engine.register(registration, true, at)).expect("registered");
            self.deliver(told.1);
        }
    }

    fn deliver(&mut self, outbox: Outbox) {
        for (to, message) in outbox.send {
            self.post(Mail::ToWorker(to, message));
        }
    }

    fn post(&mut self, mail: Mail) {
        if self.trouble && self.rng.random_bool(0.15) {
            self.say("lost a message".into());
            return;
        }
        if self.trouble && self.rng.random_bool(0.1) {
            self.mail.push(mail.clone());
        }
        self.mail.push(mail);
    }

    fn step_worker(&mut self, of: Incarnation, input: Input) -> Result<(), String> {
        let at = self.wall();
        let Some(worker) = self.workers.get_mut(&of) else { return Ok(()) };
        let effects = worker.core.step(input, at);
        let mut register = false;
        for effect in effects {
            match effect {
                Effect::Start(dispatch) => {
                    let worker = self.workers.get_mut(&of).expect("the worker");
                    worker.running.insert(dispatch.execution, (dispatch.job, None));
                    worker.started.insert(dispatch.execution);
                    self.trace.push(format!("{} starts {}", of.0, dispatch.job));
                    self.checker.start(of, &dispatch)?;
                    let execution = dispatch.execution;
                    let started = Input::Started { execution, at };
                    self.step_worker(of, started)?;
                }
                Effect::Cancel(execution) => self.will_end(of, execution, OutcomeKind::Cancelled),
                Effect::Abandon(execution) => self.will_end(of, execution, OutcomeKind::Cancelled),
                Effect::Interrupt(execution) => {
                    self.will_end(of, execution, OutcomeKind::Interrupted);
                }
                Effect::Publish(message) => self.post(Mail::ToCoordinator(of, message)),
                Effect::HeartbeatNow => self.heartbeat(of),
                Effect::Register => register = true,
                Effect::Fenced => {}
            }
        }
        if register {
            self.register(of);
        }
        Ok(())
    }

    fn will_end(&mut self, of: Incarnation, execution: ExecutionId, kind: OutcomeKind) {
        let running = self.workers.get_mut(&of).and_then(|w| w.running.get_mut(&execution));
        if let Some((_, end)) = running {
            *end = Some(kind);
        }
    }

    fn heartbeat(&mut self, of: Incarnation) {
        if let Some(worker) = self.workers.get_mut(&of) {
            let heartbeat = worker.core.heartbeat();
            self.post(Mail::Heartbeat(heartbeat));
        }
    }

    fn end_attempt(&mut self, of: Incarnation) -> Result<(), String> {
        let Some(worker) = self.workers.get_mut(&of) else { return Ok(()) };
        let count = worker.running.len();
        if count == 0 {
            return Ok(());
        }
        let place = self.rng.random_range(0..count);
        let execution = *worker.running.keys().nth(place).expect("a place");
        let (job, told) = worker.running.remove(&execution).expect("it runs");
        let kind = told.unwrap_or_else(|| match self.rng.random_range(0..8) {
            0..4 => OutcomeKind::Succeeded { result: None },
            4 => OutcomeKind::TimedOut,
            5 => OutcomeKind::Failed { retryable: false, retry_after_ms: None },
            _ => OutcomeKind::Failed { retryable: true, retry_after_ms: None },
        });
        self.trace.push(format!("{} ends {job} {}", of.0, kind.status()));
        let outcome = Outcome {
            job,
            execution,
            kind,
            started_at: Some(self.wall()),
            ended_at: self.wall(),
            error: None,
            exit: None,
        };
        self.step_worker(of, Input::Ended(outcome))
    }

    fn round(&mut self, events: Events) -> Result<(), String> {
        let at = self.instant();
        now(self.engine.promote(at)).expect("promoted");
        let before: BTreeMap<Incarnation, usize> =
            self.engine.fleet().seats().map(|s| (s.registration.incarnation, s.room())).collect();
        let outbox = now(self.engine.round(events, at)).expect("a round");
        self.check_dispatches(&outbox, &before)?;
        self.deliver(outbox);
        Ok(())
    }

    /// I18 and I20: what is given out goes by priority, due time and id, within the room.
    fn check_dispatches(
        &mut self,
        outbox: &Outbox,
        before: &BTreeMap<Incarnation, usize>,
    ) -> Result<(), String> {
        let live = now(self.store.live_attempts()).expect("read");
        for (to, message) in &outbox.send {
            let Message::JobDispatch { jobs } = message else { continue };
            let order: Vec<_> = jobs
                .iter()
                .map(|job| (std::cmp::Reverse(job.priority), job.run_at, job.job))
                .collect();
            if !order.is_sorted() {
                return Err(format!("I18: {} got {order:?}", to.0));
            }
            let seat = self.engine.fleet().seat(*to).ok_or("I20: a dispatch to a stranger")?;
            let held = live.iter().filter(|attempt| attempt.worker == *to).count();
            let most = (seat.capacity as usize).max(before.get(to).copied().unwrap_or_default());
            if held > most {
                return Err(format!("I20: {} holds {held} of {most}", to.0));
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        let some_worker = {
            let place = self.rng.random_range(0..self.workers.len().max(1));
            self.workers.keys().nth(place).copied()
        };
        match self.rng.random_range(0..100) {
            0..14 => self.enqueue(),
            14..44 => self.take_mail()?,
            44..58 => {
                if let Some(of) = some_worker {
                    self.end_attempt(of)?;
                }
            }
            58..68 => self.round(Events::default())?,
            68..76 => {
                if let Some(of) = some_worker {
                    self.heartbeat(of);
                }
            }
            76..82 => {
                let seconds = self.rng.random_range(0..12);
                self.clock += Duration::from_millis(seconds * 1_000 + 7);
                self.say(format!("{} ms", self.clock.as_millis()));
            }
            82..86 => self.monitor()?,
            86..92 => self.cancel(),
            92..94 => self.retry(),
            94..96 => {
                if let Some(of) = some_worker.filter(|_| self.trouble) {
                    self.say(format!("{} dies", of.0));
                    self.workers.remove(&of);
                    self.add_worker();
                }
            }
            96..97 => {
                if let Some(of) = some_worker.filter(|_| self.trouble) {
                    self.say(format!("{} stops", of.0));
                    let how = if self.rng.random_bool(0.5) { Input::Drain } else { Input::Stop };
                    self.step_worker(of, how)?;
                    self.heartbeat(of);
                    self.add_worker();
                }
            }
            97..98 if self.trouble => self.crash()?,
            _ => {}
        }
        self.check()
    }

    fn enqueue(&mut self) {
        let at = self.wall();
        let rng = &mut self.rng;
        let after = |seconds: u64| at.saturating_add(Duration::from_secs(seconds));
        let spec = JobSpec {
            name: name("work"),
            queue: name(if rng.random_bool(0.5) { "a" } else { "b" }),
            priority: Priority::from_rank(rng.random_range(0..4)).unwrap_or_default(),
            args: json_null(),
            command: None,
            run_at: rng.random_bool(0.2).then(|| after(rng.random_range(0..30))),
            retry: RetryPolicy { retries: rng.random_range(0..3), ..RetryPolicy::default() },
            timeout_ms: rng.random_bool(0.3).then_some(20_000),
            deadline: rng.random_bool(0.1).then(|| after(rng.random_range(1..90))),
            expires_at: rng.random_bool(0.1).then(|| after(rng.random_range(1..40))),
            on_lost: if rng.random_bool(0.2) { OnLost::Fail } else { OnLost::Retry },
            require: Labels::new(),
            tags: Labels::new(),
            corr: None,
            key: None,
            key_hash: None,
            by: None,
        };
        let due = [spec.run_at, spec.expires_at, spec.deadline].into_iter().flatten().min();
        if let Enqueued::New { id, .. } = now(self.store.enqueue(vec![spec], at)).expect("kept")[0]
        {
            self.checker.accepted.insert(id);
            self.say(format!("accepted {id}"));
        }
        if let Some(due) = due {
            self.engine.due_at(due);
        }
    }

    fn take_mail(&mut self) -> Result<(), String> {
        if self.mail.is_empty() {
            return Ok(());
        }
        // Any of them: late and out of order.
        let place = self.rng.random_range(0..self.mail.len());
        match self.mail.swap_remove(place) {
            Mail::ToWorker(to, message) => self.step_worker(to, Input::Message(message)),
            Mail::ToCoordinator(from, message) => {
                let mut events = Events::default();
                events.add(from, message);
                self.round(events)
            }
            Mail::Heartbeat(heartbeat) => {
                let at = self.instant();
                let told = now(self.engine.heartbeat(&heartbeat, true, at)).expect("answered");
                self.deliver(told.1);
                self.post(Mail::Answer(heartbeat.incarnation, told.0));
                Ok(())
            }
            Mail::Answer(to, answer) => self.step_worker(to, Input::Answered(answer)),
        }
    }

    fn monitor(&mut self) -> Result<(), String> {
        let at = self.instant();
        let outbox = now(self.engine.monitor(at)).expect("a monitor's round");
        self.deliver(outbox);
        self.round(Events::default())
    }

    fn some_job(&mut self) -> Option<JobId> {
        let count = self.checker.accepted.len();
        if count == 0 {
            return None;
        }
        let place = self.rng.random_range(0..count);
        self.checker.accepted.iter().nth(place).copied()
    }

    fn cancel(&mut self) {
        let Some(id) = self.some_job() else { return };
        let force = self.rng.random_bool(0.2);
        let cancel = CancelCommand { id, reason: None, by: None, force, expected: None };
        let answer = now(self.store.cancel(vec![cancel], self.wall())).expect("answered")[0];
        self.say(format!("cancel {id}: {answer:?}"));
        let stop = match answer {
            CancelAnswer::Cancelled { stop } => stop,
            CancelAnswer::Cancelling { worker, execution, .. } => Some((worker, execution)),
            _ => None,
        };
        if let Some((worker, execution)) = stop {
            let executions = vec![ExecutionRef { job: id, execution }];
            self.post(Mail::ToWorker(worker, Message::JobCancel { executions }));
        }
    }

    fn retry(&mut self) {
        let Some(id) = self.some_job() else { return };
        let answer = now(self.store.retry(vec![id], self.wall())).expect("answered")[0];
        if answer == RetryAnswer::Retried {
            self.say(format!("retry {id}"));
        }
    }

    /// The server with all that it hosts; the store is what is left.
    fn crash(&mut self) -> Result<(), String> {
        self.say("the server dies".into());
        self.node += 1;
        self.mail.clear();
        self.workers.clear();
        let seed = self.rng.random();
        self.engine = engine(&self.store, self.node, seed, self.clock);
        let at = self.instant();
        lead(&mut self.engine, &self.store, at);
        let outbox = now(self.engine.rescue_hosted(at)).expect("rescued");
        self.deliver(outbox);
        for _ in 0..2 {
            self.add_worker();
        }
        Ok(())
    }

    /// After each step.
    fn check(&mut self) -> Result<(), String> {
        for transition in self.store.take_history() {
            self.checker.transition(&transition)?;
        }
        // I1: what was accepted is there.
        let jobs = self.store.all_jobs();
        let there: BTreeSet<JobId> = jobs.iter().map(|job| job.id).collect();
        if !self.checker.accepted.is_subset(&there) {
            return Err("I1: an accepted job is gone".into());
        }
        for job in &jobs {
            let limit = u32::max(1, job.retry.retries + 1) + 3 + 20;
            if job.ends.failed > job.retry.retries + 1
                || job.ends.lost > 3
                || job.ends.returned > 20
            {
                return Err(format!("I5: {} tried beyond its limits ({limit})", job.id));
            }
        }
        Ok(())
    }

    /// I17: without trouble, everything ends within a bounded number of periods.
    fn settle(&mut self) -> Result<(), String> {
        self.trouble = false;
        self.say("the trouble is over".into());
        self.add_worker();
        // Enough for every retry of every job to come due, each with a lease or two in between.
        for _ in 0..400 {
            self.clock += Duration::from_secs(10);
            for of in self.workers.keys().copied().collect::<Vec<_>>() {
                self.heartbeat(of);
            }
            self.monitor()?;
            while !self.mail.is_empty() {
                self.take_mail()?;
            }
            for of in self.workers.keys().copied().collect::<Vec<_>>() {
                while self.workers.get(&of).is_some_and(|worker| !worker.running.is_empty()) {
                    self.end_attempt(of)?;
                }
            }
            while !self.mail.is_empty() {
                self.take_mail()?;
            }
            self.check()?;
            let open = self.store.all_jobs().iter().any(|job| !job.status.is_final());
            if !open && self.workers.values().all(|worker| worker.core.is_idle()) {
                return Ok(());
            }
        }
        let open: Vec<String> = self
            .store
            .all_jobs()
            .iter()
            .filter(|job| !job.status.is_final())
            .map(|job| format!("{} {} {:?}", job.id, job.status, job.live))
            .collect();
        Err(format!("I17: it does not come to rest: {}", open.join(", ")))
    }
}

fn engine(store: &Arc<Memory>, node: u128, seed: u64, clock: Duration) -> Engine {
    let shared: Arc<dyn Store> = Arc::<Memory>::clone(store);
    let wall = Timestamp::from_millis(START + clock.as_millis() as i64);
    let at = Now { wall, mono: clock };
    Engine::new(shared, Settings::default(), Incarnation(node), seed, at)
}

/// The store is of one node, and whoever had it before is gone.
fn lead(engine: &mut Engine, store: &Memory, at: Now) {
    if let Some((term, _)) = now(store.leader(at.wall)).expect("read") {
        now(store.step_down(term)).expect("stepped down");
    }
    let request = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(1 << 30), above: 0 };
    let Lead::Leading(term) = now(store.lead(request, at.wall)).expect("an answer") else {
        panic!("another leads")
    };
    now(engine.lead(term, at)).expect("leads");
}

fn simulate(seed: u64) -> Result<Vec<String>, (String, Vec<String>)> {
    let mut world = World::new(seed);
    let steps = world.rng.random_range(20..220);
    for _ in 0..steps {
        if let Err(error) = world.step() {
            return Err((error, world.trace));
        }
    }
    match world.settle() {
        Ok(()) => Ok(world.trace),
        Err(error) => Err((error, world.trace)),
    }
}

#[test]
fn the_invariants_hold_in_every_order_of_events() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("ORX_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ORX_SIM_SEEDS").unwrap_or(3_000),
    };
    for seed in seeds {
        if let Err((error, trace)) = simulate(seed) {
            let last = &trace[trace.len().saturating_sub(60)..];
            panic!("ORX_SIM_SEED={seed}: {error}\n{}", last.join("\n"));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [1, 2, 3] {
        assert_eq!(simulate(seed), simulate(seed));
    }
}

fn moved(
    job: i64,
    execution: Option<u128>,
    attempt: u32,
    event: Option<JobEvent>,
    from: Option<JobStatus>,
    to: JobStatus,
) -> orx_store::Transition {
    let execution = execution.map(ExecutionId);
    orx_store::Transition { job: JobId(job), attempt, execution, event, from, to, epoch: None }
}

#[test]
fn the_checker_refuses_histories_that_must_not_be() {
    use JobStatus::{Cancelled, Completed, Dispatched, Pending};
    let accepted = moved(1, None, 0, None, None, Pending);
    let claim = |execution, attempt| {
        moved(1, Some(execution), attempt, Some(JobEvent::Claim), Some(Pending), Dispatched)
    };
    let succeed = moved(1, Some(7), 1, Some(JobEvent::Succeed), Some(Dispatched), Completed);
    let give_back = moved(1, Some(7), 1, Some(JobEvent::GiveBack), Some(Dispatched), Pending);
    let cancel = moved(1, None, 0, Some(JobEvent::Cancel), Some(Pending), Cancelled);
    let broken: [(&str, Vec<orx_store::Transition>); 5] = [
        ("I3", vec![accepted, succeed]),
        (
            "I3",
            vec![accepted, moved(1, None, 0, Some(JobEvent::Succeed), Some(Pending), Completed)],
        ),
        ("I5", vec![accepted, claim(7, 2)]),
        ("I4", vec![accepted, claim(7, 1), give_back, claim(7, 2), give_back]),
        ("I3", vec![accepted, cancel, claim(7, 1)]),
    ];
    for (invariant, history) in broken {
        let mut checker = Checker::default();
        let refused = history.iter().find_map(|it| checker.transition(it).err());
        assert!(refused.as_ref().is_some_and(|why| why.starts_with(invariant)), "{refused:?}");
    }
    let mut checker = Checker::default();
    let fine = [accepted, claim(7, 1), succeed];
    assert!(fine.iter().all(|it| checker.transition(it).is_ok()));
}
