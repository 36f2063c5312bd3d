//! A worker: its real decisions, with simulated attempts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use orx_model::message::{Body, Dispatch, HeartbeatAnswer, WorkerRegistration, WorkerState};
use orx_model::{Capabilities, ExecutionId, Incarnation, JobId, Outcome, OutcomeKind, Timestamp};
use orx_transport::GatewayError;
use orx_worker::protocol::{Core, CoreOptions, Effect, Input, Moment, SLOT_WAIT};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::bug;
use crate::name;
use crate::net::{Call, call};
use crate::node::Mailbox;
use crate::people::LONG_TIMEOUT_MS;
use crate::world::World;

const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often a suspended process checks whether its suspension has ended.
pub(crate) const POLL: Duration = Duration::from_millis(500);
/// Type of jobs with a random outcome.
pub(crate) const WORK: &str = "work";
/// Type of jobs with attempts that must not overlap.
pub(crate) const ALONE: &str = "alone";
/// Type of jobs that end only when they are stopped.
pub(crate) const ENDLESS: &str = "endless";
/// Type of jobs that kill their worker.
pub(crate) const POISON: &str = "poison";

/// The side of a worker that the rest of the simulation sees.
pub(crate) struct Worker {
    pub(crate) id: Incarnation,
    /// It lives and dies with its node.
    pub(crate) is_hosted: bool,
    alive: AtomicBool,
    suspended_until: Mutex<Option<Instant>>,
    /// The worker is suspended, and has not noticed the end of the suspension yet.
    suspended: AtomicBool,
    cut_off_until: Mutex<Option<Instant>>,
    offset_ms: AtomicI64,
    pub(crate) inbox: Mailbox,
    /// The node that gets its calls; `None`: the next call picks one.
    pub(crate) link: Mutex<Option<Incarnation>>,
    pub(crate) running: Mutex<BTreeMap<ExecutionId, Attempt>>,
    orders: mpsc::Sender<Order>,
    died: CancellationToken,
}

#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) job: JobId,
    pub(crate) ends_at: Instant,
    how: OutcomeKind,
    /// The worker core has stopped it.
    pub(crate) stopping: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Drain,
    Stop,
}

impl Worker {
    pub(crate) fn start(world: &Arc<World>, id: Incarnation, offset_ms: i64) {
        let (orders, ordered) = mpsc::channel(8);
        let worker = Arc::new(Self {
            id,
            is_hosted: world.alone && !id.0.is_multiple_of(4),
            alive: AtomicBool::new(true),
            suspended_until: Mutex::new(None),
            suspended: AtomicBool::new(false),
            cut_off_until: Mutex::new(None),
            offset_ms: AtomicI64::new(offset_ms),
            inbox: Mailbox::default(),
            link: Mutex::new(None),
            running: Mutex::default(),
            orders,
            died: CancellationToken::new(),
        });
        world.workers().insert(id, Arc::clone(&worker));
        world.log(|| format!("worker {} starts", id.0));
        let (of, world) = (Arc::clone(&worker), Arc::clone(world));
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = of.died.cancelled() => world.log(|| format!("worker {} dies", of.id.0)),
                () = live(&world, &of, ordered) => world.log(|| format!("worker {} ends", of.id.0)),
            }
            of.die();
            world.workers().remove(&of.id);
            let clock = world.elapsed();
            world.check(|watch, _| watch.is_gone(of.id, clock));
        });
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Kills the worker at once, with its attempts.
    pub(crate) fn die(&self) {
        self.alive.store(false, Ordering::Relaxed);
        self.running.lock().clear();
        self.died.cancel();
    }

    pub(crate) fn order(&self, order: Order) {
        let _ = self.orders.try_send(order);
    }

    pub(crate) fn suspend(&self, until: Instant) {
        *self.suspended_until.lock() = Some(until);
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.must_wait() || self.suspended.load(Ordering::Relaxed)
    }

    pub(crate) fn cut_off(&self, until: Instant) {
        *self.cut_off_until.lock() = Some(until);
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off_until.lock().is_some_and(|until| Instant::now() < until)
    }

    pub(crate) async fn link_is_whole(&self) {
        while self.is_cut_off() {
            sleep(POLL).await;
        }
    }

    pub(crate) fn set_clock(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// The next call picks another node.
    pub(crate) fn moves(&self) {
        *self.link.lock() = None;
    }

    fn wall(&self, world: &World) -> Timestamp {
        let offset = self.offset_ms.load(Ordering::Relaxed);
        Timestamp::from_millis(world.wall().as_millis() + offset)
    }

    async fn resumed(&self) {
        while self.must_wait() {
            self.suspended.store(true, Ordering::Relaxed);
            sleep(POLL).await;
        }
        self.suspended.store(false, Ordering::Relaxed);
    }

    fn must_wait(&self) -> bool {
        self.suspended_until.lock().is_some_and(|until| Instant::now() < until)
    }
}

/// Carries out the effects of the worker core, like the runtime of a real worker.
struct Runtime<'w> {
    world: &'w Arc<World>,
    worker: &'w Arc<Worker>,
    core: Core,
    rng: StdRng,
    registration: WorkerRegistration,
    answers: mpsc::Sender<Answered>,
    heartbeat_wanted: bool,
    heartbeat_out: bool,
    is_fenced: bool,
}

enum Answered {
    /// The number of the heartbeat, and its answer.
    Heartbeat(u64, Result<HeartbeatAnswer, GatewayError>),
    Registration(Result<HeartbeatAnswer, GatewayError>),
}

async fn live(world: &Arc<World>, worker: &Arc<Worker>, mut ordered: mpsc::Receiver<Order>) {
    let mut rng = StdRng::seed_from_u64(world.draw(|rng| rng.random()));
    let slots = rng.random_range(1..4);
    let handlers = [WORK, ALONE, ENDLESS, POISON].map(name).into();
    // Workers that start after the faults take every job.
    let is_choosy = rng.random_bool(0.2) && !world.is_over();
    let queues = if is_choosy { [name("a")].into() } else { BTreeSet::new() };
    let registration = WorkerRegistration {
        incarnation: worker.id,
        name: name("w"),
        host: "h".into(),
        pid: 1,
        version: "1".into(),
        offer: Capabilities { handlers, queues, ..Capabilities::default() },
        slots,
        started_at: worker.wall(world),
    };
    world.check(|watch, _| watch.registered(worker.id, slots));
    let (registered_at, first) = loop {
        let asked_at = Instant::now();
        match call(world, worker, Call::Registration(registration.clone())).await {
            Ok(answer) => break (asked_at, answer),
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    };
    let (answers, mut answered) = mpsc::channel(8);
    let core = Core::new(CoreOptions {
        incarnation: worker.id,
        slots,
        slot_wait: SLOT_WAIT,
        must_not_overlap: [name(ALONE)].into(),
        registered_at: registered_at - world.start,
    });
    let mut runtime = Runtime {
        world,
        worker,
        core,
        rng,
        registration,
        answers,
        heartbeat_wanted: true,
        heartbeat_out: false,
        is_fenced: false,
    };
    let answer = bug::answer(world, first);
    runtime.step(vec![Input::Answered { heartbeat: 0, answer }]);
    let mut beats = interval(HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ending = false;
    loop {
        worker.resumed().await;
        if runtime.heartbeat_wanted && !runtime.heartbeat_out {
            runtime.send_heartbeat();
        }
        let hand_back_at = runtime.core.hand_back_at().map(|at| world.start + at);
        let unreachable_at = runtime.core.unreachable_at();
        let unreachable_at = unreachable_at.and_then(|at| world.start.checked_add(at));
        let mut inputs = Vec::new();
        tokio::select! {
            biased;
            () = at(unreachable_at) => inputs.push(Input::Unreachable),
            Some(order) = ordered.recv() => {
                ending = true;
                inputs.push(match order {
                    Order::Drain => Input::Drain,
                    Order::Stop => Input::Stop,
                });
            }
            () = at(runtime.next_end()) => inputs.extend(runtime.ended()),
            mail = worker.inbox.next(64) => {
                for envelope in mail {
                    if let Body::Known(message) = envelope.body {
                        inputs.push(Input::Message(message));
                    }
                }
            }
            Some(answer) = answered.recv() => inputs.extend(runtime.answered(answer)),
            _ = beats.tick() => runtime.heartbeat_wanted = true,
            () = at(hand_back_at) => inputs.push(Input::Overdue),
        }
        if worker.is_suspended() {
            // The worker was suspended meanwhile.
            worker.resumed().await;
        }
        runtime.step(inputs);
        if (ending || runtime.is_fenced) && runtime.core.is_idle() {
            break;
        }
    }
    if !runtime.is_fenced {
        let goodbye = runtime.core.last_heartbeat(world.elapsed());
        let _ = call(world, worker, Call::Heartbeat(goodbye)).await;
    }
}

impl Runtime<'_> {
    fn send_heartbeat(&mut self) {
        (self.heartbeat_wanted, self.heartbeat_out) = (false, true);
        let heartbeat = self.core.heartbeat(self.world.elapsed() + bug::lease_clock(self.world));
        let (number, capacity) = (heartbeat.seq, heartbeat.capacity);
        let clock = self.world.elapsed();
        self.world.check(|watch, _| watch.beats(self.worker.id, capacity, clock));
        let (world, worker) = (Arc::clone(self.world), Arc::clone(self.worker));
        let (answers, sent_at) = (self.answers.clone(), Instant::now());
        tokio::spawn(async move {
            let running: Vec<ExecutionId> =
                heartbeat.running.iter().map(|running| running.execution).collect();
            let answer = call(&world, &worker, Call::Heartbeat(heartbeat)).await;
            if let Ok(answer) = &answer {
                world.beat_answered(&worker, sent_at, &running, answer);
            }
            let _ = answers.send(Answered::Heartbeat(number, answer)).await;
        });
    }

    fn answered(&mut self, answered: Answered) -> Option<Input> {
        let (of, answer) = match answered {
            Answered::Registration(answer) => (None, answer),
            Answered::Heartbeat(number, answer) => {
                self.heartbeat_out = false;
                (Some(number), answer)
            }
        };
        let answer = match answer {
            Ok(answer) => bug::answer(self.world, answer),
            Err(GatewayError::NotThisWorker(_)) => {
                HeartbeatAnswer { fenced: true, ..HeartbeatAnswer::default() }
            }
            Err(_) => return None,
        };
        if let Some(leader) = self.world.node_at(answer.leader.as_deref())
            && self.rng.random_bool(0.5)
        {
            *self.worker.link.lock() = Some(leader);
        }
        Some(match of {
            Some(heartbeat) => Input::Answered { heartbeat, answer },
            None => Input::Registered(answer),
        })
    }

    fn step(&mut self, inputs: Vec<Input>) {
        let mut inputs: std::collections::VecDeque<Input> = inputs.into();
        while let Some(input) = inputs.pop_front() {
            let wall = self.worker.wall(self.world);
            let moment = Moment { wall, mono: self.world.elapsed() };
            for effect in self.core.step(input, moment) {
                match effect {
                    Effect::Start(dispatch) => {
                        self.start(&dispatch);
                        let execution = dispatch.execution;
                        inputs.push_back(Input::Started { execution, at: wall });
                    }
                    Effect::Cancel(execution) => self.stop(execution, OutcomeKind::Cancelled, 3),
                    Effect::Abandon(execution) => self.stop(execution, OutcomeKind::Cancelled, 0),
                    Effect::Interrupt(execution) => {
                        self.stop(execution, OutcomeKind::Interrupted, 3);
                    }
                    Effect::Publish(message) => {
                        self.world.reports(self.worker.id, &message);
                        self.world.send(self.worker, message);
                    }
                    Effect::HeartbeatNow => self.heartbeat_wanted = true,
                    Effect::Register => self.register(),
                    Effect::Fenced => self.is_fenced = true,
                }
            }
        }
        if self.core.state() == WorkerState::Running {
            // I18: a prefetched job that waits too long is returned.
            let now = self.world.elapsed();
            let overdue = self.core.hand_back_at().is_some_and(|at| at + SLOT_WAIT < now);
            if overdue && !self.worker.is_suspended() {
                let worker = self.worker.id.0;
                self.world.fail(format!("I18: {worker} does not return a job that finds no slot"));
            }
        }
    }

    fn register(&mut self) {
        let (world, worker) = (Arc::clone(self.world), Arc::clone(self.worker));
        let (answers, registration) = (self.answers.clone(), self.registration.clone());
        tokio::spawn(async move {
            let answer = call(&world, &worker, Call::Registration(registration)).await;
            let _ = answers.send(Answered::Registration(answer)).await;
        });
        self.heartbeat_wanted = true;
    }

    fn start(&mut self, dispatch: &Dispatch) {
        let Dispatch { job, execution, .. } = dispatch;
        self.world.log(|| format!("{} starts {job} {execution}", self.worker.id.0));
        self.world.starts(self.worker, dispatch);
        let now = Instant::now();
        let long = self.rng.random_bool(0.3);
        let most = match long {
            true if dispatch.timeout_ms == Some(LONG_TIMEOUT_MS) => 80_000,
            true => 40_000,
            false => 800,
        };
        let mut takes = Duration::from_millis(self.rng.random_range(0..most));
        let mut how = match self.rng.random_range(0..8) {
            0..4 => OutcomeKind::Succeeded { result: None },
            4 => OutcomeKind::TimedOut,
            5 => OutcomeKind::Failed { retryable: false, retry_after_ms: None },
            _ => OutcomeKind::Failed { retryable: true, retry_after_ms: None },
        };
        match dispatch.name.as_str() {
            ENDLESS => takes = Duration::from_secs(3_600),
            POISON => {
                let worker = Arc::clone(self.worker);
                let after = Duration::from_millis(self.rng.random_range(0..200));
                self.world.dies_of(worker, *job, after);
                takes = Duration::from_secs(3_600);
            }
            // Some of these outlive the lease of their worker.
            ALONE if !self.world.is_over() && self.rng.random_bool(0.5) => {
                takes = Duration::from_millis(self.rng.random_range(30_000..80_000));
            }
            _ => {}
        }
        // Sometimes a worker does not end an overdue attempt, unless it must not overlap with the next one.
        let timeout = dispatch.timeout_ms.map(Duration::from_millis);
        if let Some(timeout) = timeout.filter(|timeout| *timeout < takes) {
            if self.rng.random_bool(0.8) || dispatch.name.as_str() == ALONE {
                (takes, how) = (timeout, OutcomeKind::TimedOut);
            } else {
                takes = Duration::from_secs(3_600);
            }
        }
        let attempt = Attempt { job: *job, ends_at: now + takes, how, stopping: false };
        self.worker.running.lock().insert(*execution, attempt);
    }

    /// Finishes an attempt within so many seconds.
    fn stop(&mut self, execution: ExecutionId, how: OutcomeKind, seconds: u64) {
        let grace = Duration::from_millis(self.rng.random_range(0..=seconds * 1_000));
        if let Some(attempt) = self.worker.running.lock().get_mut(&execution) {
            let by = Instant::now() + grace;
            attempt.ends_at = attempt.ends_at.min(by);
            // The first order decides.
            if !attempt.stopping {
                (attempt.stopping, attempt.how) = (true, how);
            }
        }
    }

    fn next_end(&self) -> Option<Instant> {
        let running = self.worker.running.lock();
        running.values().map(|attempt| attempt.ends_at).min()
    }

    fn ended(&mut self) -> Vec<Input> {
        let (now, wall) = (Instant::now(), self.worker.wall(self.world));
        let mut running = self.worker.running.lock();
        let over: Vec<ExecutionId> =
            running.iter().filter(|(_, it)| it.ends_at <= now).map(|(of, _)| *of).collect();
        let end = |execution: ExecutionId| {
            let Attempt { job, how, .. } = running.remove(&execution)?;
            self.world.log(|| format!("{} ends {job} {how:?}", self.worker.id.0));
            let (started_at, ended_at) = (Some(wall), wall);
            Some(Input::Ended(Outcome {
                job,
                execution,
                kind: how,
                started_at,
                ended_at,
                error: None,
                exit: None,
            }))
        };
        over.into_iter().filter_map(end).collect()
    }
}

/// Waits until this time; forever without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
