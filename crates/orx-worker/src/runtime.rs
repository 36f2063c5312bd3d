//! A worker that runs: one task owns the protocol, attempts are tasks beside it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use orx_model::job::Labels;
use orx_model::message::{
    Body, Dispatch, Envelope, ExecutionRef, HeartbeatAnswer, Message, VERSION, WorkerHeartbeat,
    WorkerRegistration,
};
use orx_model::{
    Capabilities, ExecutionId, Incarnation, JobId, MessageId, Name, Outcome, OutcomeKind, Timestamp,
};
use orx_transport::{Channel, Gateway, GatewayError, Shard, Transport, TransportError};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{self, JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::attempt::{Attempt, Stop};
use crate::command::{self, CommandHandler, PASSED_ON, WhenUnreachable};
use crate::ctx;
use crate::guard::Guard;
use crate::handler::{HANDLER_PANICKED, HandlerError, Handlers, JobContext};
use crate::inbox::{Inbox, Incoming};
use crate::machine::Machine;
use crate::output::EarlyChunks;
use crate::protocol::{Core, CoreOptions, Effect, Input, Moment};

/// What attempts have told and the worker has not looked at.
const TOLD: usize = 1_024;
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(100);
pub(crate) const RETRY_MOST: Duration = Duration::from_secs(5);
/// After its grace a worker waits so long for the last outcomes to be acknowledged.
const LAST_ACKS: Duration = Duration::from_secs(5);
/// The last word of a worker waits so long for its answer.
const LAST_WORD: Duration = Duration::from_secs(2);
/// Telling waits so long for room. What is not told then is kept, and asked for.
const TELL_WAIT: Duration = Duration::from_secs(1);

/// Where time comes from.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The server's time, as far as its answers tell it: a job's deadline is of that time, and what is
/// told of a job is read beside it.
#[derive(Clone)]
struct Clock {
    own: Now,
    /// How far the server's is ahead of it.
    ahead_ms: Arc<AtomicI64>,
}

impl Clock {
    fn new(own: Now) -> Self {
        Self { own, ahead_ms: Arc::default() }
    }

    fn now(&self) -> Timestamp {
        let ahead = self.ahead_ms.load(Ordering::Relaxed);
        Timestamp::from_millis((self.own)().as_millis().saturating_add(ahead))
    }

    fn as_now(&self) -> Now {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }

    /// The server said that time in an answer that came just now, so long after it was asked for.
    fn heard(&self, server: Timestamp, took: Duration) {
        if server == Timestamp::default() {
            // It says none.
            return;
        }
        let half = took / 2;
        let apart = server.saturating_add(half).as_millis().saturating_sub(self.now().as_millis());
        // What the way may have taken is no reason to move: times of one attempt stay in order. A
        // millisecond is lost where times are rounded.
        if u128::from(apart.unsigned_abs()) > half.as_millis() + 1 {
            self.ahead_ms.fetch_add(apart, Ordering::Relaxed);
        }
    }
}

pub struct WorkerOptions {
    pub name: Name,
    pub host: String,
    /// Another is drawn where the answer to its registration is lost.
    pub incarnation: Incarnation,
    /// Attempts at once, at least 1.
    pub slots: u32,
    /// Queues served; empty for all.
    pub queues: Vec<Name>,
    pub labels: Labels,
    /// Takes commands given with jobs.
    pub commands: bool,
    pub handlers: BTreeMap<Name, CommandHandler>,
    pub rust_handlers: Handlers,
    /// From SIGTERM to SIGKILL.
    pub kill_grace: Duration,
    /// A prefetched job that finds no slot for this long is handed back.
    pub waits_most: Duration,
    /// How often it says that it lives, until a coordinator asks for another period.
    pub heartbeat: Duration,
    /// Command line of the guard of child processes; see [`crate::guard`].
    pub guard: Vec<OsString>,
    pub now: Now,
    /// Start of all randomness of this worker.
    pub seed: u64,
}

/// Why a worker ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A person gave this incarnation up, or another holds it. All that it ran was killed; another
    /// may start.
    Fenced,
}

#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("the worker cannot open its side channel")]
    Channel(#[source] std::io::Error),
    #[error("the worker cannot read its inbox")]
    Inbox(#[from] TransportError),
    #[error("the worker cannot register")]
    Register(#[from] GatewayError),
}

/// A running worker.
pub struct Worker {
    incarnation: Incarnation,
    requests: mpsc::Sender<RuntimeRequest>,
    ended: watch::Receiver<Option<Ended>>,
    task: OwnTask,
}

/// Ends with its owner.
struct OwnTask(JoinHandle<()>);

impl Drop for OwnTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum RuntimeRequest {
    Stop { grace: Duration, done: oneshot::Sender<()> },
}

/// What attempts share.
pub(crate) struct Shared {
    pub(crate) publisher: Publisher,
    pub(crate) channel: ctx::Channel,
    pub(crate) guard: Guard,
    pub(crate) worker: String,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) kill_grace: Duration,
    told: mpsc::Sender<Input>,
    /// The worker was told to stop.
    stopping: watch::Sender<bool>,
    now: Now,
    secrets: parking_lot::Mutex<StdRng>,
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }

    pub(crate) async fn started(&self, execution: ExecutionId, at: Timestamp) {
        // The worker's task ends last: while attempts run it listens.
        let _ = self.told.send(Input::Started { execution, at }).await;
    }

    /// Whether the worker was told to stop, or is within this time.
    pub(crate) async fn stops_within(&self, time: Duration) -> bool {
        let mut stopping = self.stopping.subscribe();
        let told = stopping.wait_for(|stopping| *stopping);
        matches!(tokio::time::timeout(time, told).await, Ok(Ok(_)))
    }

    pub(crate) fn new_secret(&self) -> String {
        let mut rng = self.secrets.lock();
        MessageId::random(&mut *rng).to_string()
    }
}

/// Sends what is told of a job to its shard.
#[derive(Clone)]
pub(crate) struct Publisher {
    transport: Arc<dyn Transport>,
    from: Incarnation,
    now: Now,
    pub(crate) early: Arc<EarlyChunks>,
}

impl Publisher {
    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }

    pub(crate) async fn publish(&self, job: JobId, message: Message) -> Result<(), TransportError> {
        self.to_shard(Shard::of(job), message).await
    }

    async fn to_shard(&self, shard: Shard, message: Message) -> Result<(), TransportError> {
        let envelope = Envelope {
            id: MessageId::random(&mut rand::rng()),
            version: VERSION,
            at: self.now(),
            from: self.from,
            to: None,
            trace: None,
            body: Body::Known(message),
        };
        self.transport.publish(Channel::Events(shard), vec![envelope]).await
    }
}

impl Worker {
    /// Registers, and runs until [`Self::stop`]. Dropped, it kills what it runs.
    ///
    /// # Errors
    /// The first coordinator refused it, or the side channel or inbox cannot be had.
    pub async fn start(
        mut options: WorkerOptions,
        transport: Arc<dyn Transport>,
        gateway: Arc<dyn Gateway>,
    ) -> Result<Self, WorkerError> {
        let clock = Clock::new(Arc::clone(&options.now));
        options.now = clock.as_now();
        let mut rng = StdRng::seed_from_u64(options.seed);
        let mut registration = registration(&options);
        let (answer, asked_at) = register(&*gateway, &mut registration, &mut rng).await?;
        let incarnation = registration.incarnation;
        options.incarnation = incarnation;
        clock.heard(answer.now, asked_at.elapsed());
        let channel_name = format!("orx-{incarnation}");
        let (channel, listening) =
            ctx::Channel::open(channel_name).map_err(WorkerError::Channel)?;
        // Nothing is sent to it before its first heartbeat.
        let inbox = Inbox::open(Arc::clone(&transport), incarnation).await?;
        let (told_to, told) = mpsc::channel(TOLD);
        let secrets = StdRng::from_rng(&mut rng);
        let from_env = |name: &&str| Some((OsString::from(name), std::env::var_os(name)?));
        let shared = Arc::new(Shared {
            publisher: Publisher {
                transport,
                from: incarnation,
                now: Arc::clone(&options.now),
                early: Arc::new(EarlyChunks::new()),
            },
            channel,
            guard: Guard::new(options.guard.clone(), incarnation.to_string()),
            worker: incarnation.to_string(),
            environment: PASSED_ON.iter().filter_map(from_env).collect(),
            kill_grace: options.kill_grace,
            told: told_to,
            stopping: watch::Sender::new(false),
            now: Arc::clone(&options.now),
            secrets: parking_lot::Mutex::new(secrets),
        });
        let (commands, requested) = mpsc::channel(8);
        let (answers_to, answers) = mpsc::channel(8);
        let core = CoreOptions {
            incarnation,
            slots: options.slots,
            waits_most: options.waits_most,
            must_not_overlap: must_not_overlap(&options),
            registered_at: Duration::ZERO,
        };
        let task = Task {
            core: Core::new(core),
            registration,
            clock,
            heartbeat_every: options.heartbeat,
            options,
            shared,
            gateway,
            inbox,
            told,
            requested,
            answers,
            answers_to,
            attempts: JoinSet::new(),
            tasks: HashMap::new(),
            stops: HashMap::new(),
            heartbeat_out: false,
            heartbeat_wanted: true,
            fenced: false,
            machine: Machine::new(),
            registered_at: asked_at,
            to_tell: Batch::default(),
            telling: None,
            listening: OwnTask(listening),
        };
        let (ended_to, ended) = watch::channel(None);
        let running = async move {
            let why = task.run(answer).await;
            ended_to.send_replace(why);
        };
        Ok(Self { incarnation, requests: commands, ended, task: OwnTask(tokio::spawn(running)) })
    }

    /// As it is registered.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Resolves when the worker has ended by itself, and never otherwise.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        loop {
            if let Some(why) = *ended.borrow_and_update() {
                return why;
            }
            if ended.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// In good order: takes nothing new, gives back what has not started, lets what runs have the
    /// grace, then interrupts it. Returns when all of that is told and acknowledged, or when nobody
    /// acknowledges it any more.
    pub async fn stop(mut self, grace: Duration) {
        let (done, stopped) = oneshot::channel();
        if self.requests.send(RuntimeRequest::Stop { grace, done }).await.is_ok() {
            // An error says that the task has ended, which is what is waited for.
            let _ = stopped.await;
        }
        let _ = (&mut self.task.0).await;
    }
}

fn registration(options: &WorkerOptions) -> WorkerRegistration {
    let commands = options.handlers.keys();
    let handlers = commands.chain(options.rust_handlers.keys()).cloned().collect();
    WorkerRegistration {
        incarnation: options.incarnation,
        name: options.name.clone(),
        host: options.host.clone(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        offer: Capabilities {
            queues: options.queues.iter().cloned().collect(),
            handlers,
            commands: options.commands,
            labels: options.labels.clone(),
        },
        slots: options.slots.max(1),
        started_at: (options.now)(),
    }
}

fn must_not_overlap(options: &WorkerOptions) -> BTreeSet<Name> {
    let stops = |handler: &CommandHandler| handler.when_unreachable == WhenUnreachable::Stop;
    let commands = options.handlers.iter().filter(|(_, handler)| stops(handler));
    let names = commands.map(|(name, _)| name);
    names.filter(|name| !options.rust_handlers.contains_key(*name)).cloned().collect()
}

async fn register(
    gateway: &dyn Gateway,
    registration: &mut WorkerRegistration,
    rng: &mut StdRng,
) -> Result<(HeartbeatAnswer, Instant), GatewayError> {
    let mut pause = RETRY_FIRST;
    loop {
        let asked_at = Instant::now();
        match gateway.register(registration.clone()).await {
            Err(GatewayError::Unreachable(why)) => {
                tracing::warn!(%why, "not registered: trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MOST);
            }
            // An answer was lost, and with it the secret of that incarnation. It was given nothing.
            Err(GatewayError::NotThisWorker(_)) => {
                registration.incarnation = Incarnation::random(rng);
            }
            answered => return answered.map(|answer| (answer, asked_at)),
        }
    }
}

enum Answer {
    /// With its number.
    Heartbeat(u64, Result<HeartbeatAnswer, GatewayError>),
    Registration(Result<HeartbeatAnswer, GatewayError>),
}

struct Task {
    core: Core,
    registration: WorkerRegistration,
    clock: Clock,
    options: WorkerOptions,
    shared: Arc<Shared>,
    gateway: Arc<dyn Gateway>,
    inbox: Inbox,
    told: mpsc::Receiver<Input>,
    requested: mpsc::Receiver<RuntimeRequest>,
    /// Answers to heartbeats, which are asked in tasks of their own, one at a time; and to
    /// registrations.
    answers: mpsc::Receiver<Answer>,
    answers_to: mpsc::Sender<Answer>,
    attempts: JoinSet<Outcome>,
    /// What each of those runs: a task that panics cannot say.
    tasks: HashMap<task::Id, ExecutionRef>,
    stops: HashMap<ExecutionId, watch::Sender<Option<Stop>>>,
    /// As the newest answer asked for it.
    heartbeat_every: Duration,
    heartbeat_out: bool,
    heartbeat_wanted: bool,
    fenced: bool,
    machine: Machine,
    /// From when the protocol counts.
    registered_at: Instant,
    /// What follows what is being told.
    to_tell: Batch,
    /// A link that takes nothing holds this up, and nothing else.
    telling: Option<BoxFuture<'static, ()>>,
    /// The side channel.
    listening: OwnTask,
}

impl Task {
    async fn run(mut self, first: HeartbeatAnswer) -> Option<Ended> {
        self.hear_period(&first);
        let mut heartbeat = beats(self.heartbeat_every);
        let mut stopping: Option<oneshot::Sender<()>> = None;
        let mut interrupt_at: Option<tokio::time::Instant> = None;
        let mut end_at: Option<tokio::time::Instant> = None;
        self.step(vec![Input::Answered { heartbeat: 0, answer: first }]);
        loop {
            if self.heartbeat_wanted && !self.heartbeat_out {
                self.send_heartbeat();
            }
            let mut inputs = Vec::new();
            let time_of = |after: Duration| self.registered_at.checked_add(after);
            let hand_back_at = self.core.hand_back_at().and_then(time_of);
            let unreachable_at = self.core.unreachable_at().and_then(time_of);
            tokio::select! {
                biased;
                // First of all: a worker that was stopped for long looks here before it says a word.
                () = at(unreachable_at) => {
                    tracing::warn!("out of contact: stopping what must not run twice");
                    inputs.push(Input::Unreachable);
                }
                Some(RuntimeRequest::Stop { grace, done }) = self.requested.recv() => {
                    self.shared.stopping.send_replace(true);
                    inputs.push(Input::Drain);
                    stopping = Some(done);
                    interrupt_at = Some(tokio::time::Instant::now() + grace);
                }
                () = at(interrupt_at) => {
                    interrupt_at = None;
                    let killed_by = self.options.kill_grace + LAST_ACKS;
                    end_at = Some(tokio::time::Instant::now() + killed_by);
                    inputs.push(Input::Stop);
                }
                () = at(end_at) => {
                    tracing::warn!("ending, though outcomes are not acknowledged");
                    break;
                }
                ended = self.attempts.join_next_with_id(), if !self.attempts.is_empty() => {
                    let mut next = ended;
                    while let Some(ended) = next {
                        inputs.extend(self.joined(ended).map(Input::Ended));
                        next = self.attempts.try_join_next_with_id();
                    }
                }
                incoming = self.inbox.next() => match incoming {
                    Incoming::Envelopes(envelopes) => inputs.extend(messages(envelopes)),
                    Incoming::Connected => self.heartbeat_wanted = true,
                },
                () = finished(&mut self.telling) => self.telling = None,
                Some(told) = self.told.recv() => {
                    inputs.push(told);
                    while let Ok(told) = self.told.try_recv() {
                        inputs.push(told);
                    }
                }
                Some(answer) = self.answers.recv() => {
                    let (of, answer) = match answer {
                        Answer::Registration(answer) => (None, answer),
                        Answer::Heartbeat(number, answer) => {
                            self.heartbeat_out = false;
                            (Some(number), answer)
                        }
                    };
                    let of_heartbeat = |answer| match of {
                        Some(heartbeat) => Input::Answered { heartbeat, answer },
                        None => Input::Registered(answer),
                    };
                    match answer {
                        Ok(answer) => {
                            if self.hear_period(&answer) {
                                heartbeat = beats(self.heartbeat_every);
                            }
                            inputs.push(of_heartbeat(answer));
                        }
                        Err(error @ GatewayError::NotThisWorker(_)) => {
                            tracing::error!(%error, "this incarnation is another's: giving it up");
                            let fenced = HeartbeatAnswer { fenced: true, ..Default::default() };
                            inputs.push(of_heartbeat(fenced));
                        }
                        Err(error) => tracing::warn!(%error, "a heartbeat was not answered"),
                    }
                }
                _ = heartbeat.tick() => self.heartbeat_wanted = true,
                // Last: an attempt that has ended meanwhile makes room for what waits.
                () = at(hand_back_at) => inputs.push(Input::Overdue),
            }
            self.step(inputs);
            if (stopping.is_some() || self.fenced) && self.core.is_idle() {
                break;
            }
        }
        self.attempts.shutdown().await;
        if !self.fenced {
            // So that nobody waits for the end of its lease.
            let goodbye = self.core.goodbye(self.registered_at.elapsed());
            let goodbye = self.gateway.heartbeat(goodbye);
            if !matches!(tokio::time::timeout(LAST_WORD, goodbye).await, Ok(Ok(_))) {
                tracing::debug!("ended without a word: its lease will tell");
            }
        }
        drop(self.listening);
        if let Some(done) = stopping {
            let _ = done.send(());
        }
        self.fenced.then_some(Ended::Fenced)
    }

    /// An attempt's task is over.
    fn joined(&mut self, ended: Result<(task::Id, Outcome), JoinError>) -> Option<Outcome> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let of = self.tasks.remove(&id)?;
        self.stops.remove(&of.execution);
        Some(match ended {
            Ok((_, outcome)) => outcome,
            Err(error) => {
                tracing::error!(job = %of.job, %error, "an attempt's task broke");
                broken(of, (self.options.now)())
            }
        })
    }

    /// Answers whether the period has changed.
    fn hear_period(&mut self, answer: &HeartbeatAnswer) -> bool {
        let every = Duration::from_millis(answer.heartbeat_ms);
        let changes = !every.is_zero() && every != self.heartbeat_every;
        if changes {
            self.heartbeat_every = every;
        }
        changes
    }

    /// Carries out what follows from the inputs, together.
    fn step(&mut self, inputs: Vec<Input>) {
        let mut inputs: VecDeque<Input> = inputs.into();
        while let Some(input) = inputs.pop_front() {
            let at = Moment { wall: (self.options.now)(), mono: self.registered_at.elapsed() };
            for effect in self.core.step(input, at) {
                match effect {
                    Effect::Start(dispatch) => {
                        if let Some(ended) = self.start(dispatch) {
                            inputs.push_back(Input::Ended(ended));
                        }
                    }
                    Effect::Cancel(execution) => self.stop(execution, Stop::Cancel),
                    Effect::Abandon(execution) => self.stop(execution, Stop::Abandon),
                    Effect::Interrupt(execution) => self.stop(execution, Stop::Interrupt),
                    Effect::Publish(message) => self.to_tell.add(message),
                    Effect::HeartbeatNow => self.heartbeat_wanted = true,
                    Effect::Fenced => {
                        tracing::warn!("fenced: stopping all that runs here");
                        self.fenced = true;
                    }
                    Effect::Register => {
                        let registration = self.registration.clone();
                        let gateway = Arc::clone(&self.gateway);
                        let answers = self.answers_to.clone();
                        tokio::spawn(async move {
                            let answer = gateway.register(registration).await;
                            let _ = answers.send(Answer::Registration(answer)).await;
                        });
                        self.heartbeat_wanted = true;
                    }
                }
            }
        }
        self.tell();
    }

    /// One batch at a time; what comes meanwhile is the next one. A batch is soon told or given up,
    /// so what waits for it is little.
    fn tell(&mut self) {
        while self.telling.is_none() && !self.to_tell.is_empty() {
            let told = std::mem::take(&mut self.to_tell).tell(self.shared.publisher.clone());
            let mut told: BoxFuture<'static, ()> = Box::pin(told);
            // Where there is room it is told by now.
            if (&mut told).now_or_never().is_none() {
                self.telling = Some(told);
            }
        }
    }

    /// Answers the outcome at once for what needs no task.
    fn start(&mut self, dispatch: Dispatch) -> Option<Outcome> {
        let (stop, stopped) = watch::channel(None);
        let execution = dispatch.execution;
        if dispatch.command.is_none()
            && let Some(handler) = self.options.rust_handlers.get(&dispatch.name)
        {
            if handler.is_instant() {
                return Some(self.instant(dispatch));
            }
            let handler = Arc::clone(handler);
            let of = dispatch.execution_ref();
            let attempt = self.attempt(dispatch, stopped);
            let task = self.attempts.spawn(attempt.run_handler(handler));
            self.tasks.insert(task.id(), of);
            self.stops.insert(execution, stop);
            return None;
        }
        let prepared = match (&dispatch.command, self.options.handlers.get(&dispatch.name)) {
            (Some(given), _) if self.options.commands => command::given(given),
            (Some(_), _) => Err("this worker takes no commands with jobs".to_owned()),
            (None, Some(handler)) => handler.prepare(&dispatch),
            (None, None) => Err(format!("this worker has no handler `{}`", dispatch.name)),
        };
        let of = dispatch.execution_ref();
        let attempt = self.attempt(dispatch, stopped);
        let task = self.attempts.spawn(attempt.run_command(prepared));
        self.tasks.insert(task.id(), of);
        self.stops.insert(execution, stop);
        None
    }

    fn attempt(&self, dispatch: Dispatch, stop: watch::Receiver<Option<Stop>>) -> Attempt {
        Attempt { shared: Arc::clone(&self.shared), dispatch: Arc::new(dispatch), stop }
    }

    fn instant(&self, dispatch: Dispatch) -> Outcome {
        let now = (self.options.now)();
        let (job, execution) = (dispatch.job, dispatch.execution);
        let dispatch = Arc::new(dispatch);
        let stop = tokio_util::sync::CancellationToken::new();
        let context = JobContext { dispatch: Arc::clone(&dispatch), tell: None, stop };
        let handler = self.options.rust_handlers.get(&dispatch.name);
        let ended = handler.and_then(|handler| {
            // Also what panics before there is a future.
            let run = async { handler.run(context, &dispatch.args).await };
            AssertUnwindSafe(run).catch_unwind().now_or_never()
        });
        let ended =
            ended.map(|ended| ended.unwrap_or_else(|_| Err(HandlerError::retry(HANDLER_PANICKED))));
        let (kind, error) = match ended {
            Some(Ok(result)) => (OutcomeKind::Succeeded { result }, None),
            Some(Err(error)) => {
                let retryable = error.retryable;
                (OutcomeKind::Failed { retryable, retry_after_ms: None }, Some(error.message))
            }
            None => {
                let why = "an instant handler waited".to_owned();
                (OutcomeKind::Failed { retryable: false, retry_after_ms: None }, Some(why))
            }
        };
        let ended_at = (self.options.now)();
        Outcome { job, execution, kind, started_at: Some(now), ended_at, error, exit: None }
    }

    fn stop(&self, execution: ExecutionId, why: Stop) {
        if let Some(stop) = self.stops.get(&execution) {
            // The first order decides how it ends. That nobody waits for it any more only hastens it.
            stop.send_if_modified(|stop| {
                let new = stop.is_none() || (why == Stop::Abandon && *stop != Some(why));
                if new {
                    *stop = Some(why);
                }
                new
            });
        }
    }

    fn send_heartbeat(&mut self) {
        (self.heartbeat_wanted, self.heartbeat_out) = (false, true);
        let asked_at = Instant::now();
        let mut heartbeat: WorkerHeartbeat = self.core.heartbeat(asked_at - self.registered_at);
        let number = heartbeat.seq;
        heartbeat.load = self.machine.load();
        let gateway = Arc::clone(&self.gateway);
        let answers = self.answers_to.clone();
        let (most, clock) = (self.heartbeat_every, self.clock.clone());
        tokio::spawn(async move {
            let late = |_| Err(GatewayError::Unreachable("no answer in time".to_owned()));
            let answer = tokio::time::timeout(most, gateway.heartbeat(heartbeat)).await;
            let answer = answer.unwrap_or_else(late);
            if let Ok(answer) = &answer {
                clock.heard(answer.now, asked_at.elapsed());
            }
            let _ = answers.send(Answer::Heartbeat(number, answer)).await;
        });
    }
}

fn messages(envelopes: Vec<Envelope>) -> impl Iterator<Item = Input> {
    envelopes.into_iter().filter_map(|envelope| match envelope.body {
        Body::Known(message) => Some(Input::Message(message)),
        Body::Unknown(_) => {
            tracing::warn!("set aside a message of an unknown type");
            None
        }
    })
}

/// Its task panicked. What it had started is gone with it.
fn broken(of: ExecutionRef, now: Timestamp) -> Outcome {
    Outcome {
        job: of.job,
        execution: of.execution,
        kind: OutcomeKind::Failed { retryable: true, retry_after_ms: None },
        started_at: None,
        ended_at: now,
        error: Some("the worker panicked while it ran this attempt".to_owned()),
        exit: None,
    }
}

/// What is told in one step, one message of a kind to each shard.
#[derive(Default)]
struct Batch {
    started: Vec<orx_model::message::Started>,
    outcomes: Vec<Outcome>,
}

impl Batch {
    fn add(&mut self, message: Message) {
        match message {
            Message::JobStatus { started } => self.started.extend(started),
            Message::JobResult { outcomes } => self.outcomes.extend(outcomes),
            _ => debug_assert!(false, "the protocol tells starts and outcomes only"),
        }
    }

    fn is_empty(&self) -> bool {
        self.started.is_empty() && self.outcomes.is_empty()
    }

    /// Shards wait for room beside each other.
    async fn tell(self, publisher: Publisher) {
        let shards = self.by_shard().into_iter().map(|(shard, messages)| {
            let publisher = &publisher;
            async move {
                for message in messages {
                    publisher.to_shard(shard, message).await?;
                }
                Ok::<(), TransportError>(())
            }
        });
        let shards = shards.map(|told| tokio::time::timeout(TELL_WAIT, told));
        // What is not sent is kept: the heartbeat names it, and the answer asks for it.
        for told in futures_util::future::join_all(shards).await {
            match told {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "could not tell the coordinator: recovery will ask");
                }
                Err(_) => tracing::warn!("too much is to be told: recovery will ask for the rest"),
            }
        }
    }

    /// Of each shard the starts come before the ends.
    fn by_shard(mut self) -> BTreeMap<Shard, Vec<Message>> {
        // A start whose end is told with it says nothing new.
        if !self.outcomes.is_empty() && !self.started.is_empty() {
            let ended: std::collections::HashSet<ExecutionId> =
                self.outcomes.iter().map(|outcome| outcome.execution).collect();
            self.started.retain(|started| !ended.contains(&started.execution));
        }
        let mut started: BTreeMap<Shard, Vec<_>> = BTreeMap::new();
        for one in self.started {
            started.entry(Shard::of(one.job)).or_default().push(one);
        }
        let mut outcomes: BTreeMap<Shard, Vec<_>> = BTreeMap::new();
        for one in self.outcomes {
            outcomes.entry(Shard::of(one.job)).or_default().push(one);
        }
        let mut all: BTreeMap<Shard, Vec<Message>> = BTreeMap::new();
        for (shard, started) in started {
            all.entry(shard).or_default().push(Message::JobStatus { started });
        }
        for (shard, outcomes) in outcomes {
            all.entry(shard).or_default().push(Message::JobResult { outcomes });
        }
        all
    }
}

/// The first is due at once.
fn beats(every: Duration) -> tokio::time::Interval {
    let mut beats = tokio::time::interval(every);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    beats
}

/// Never, without a time.
pub(crate) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Never, without one.
async fn finished(future: &mut Option<BoxFuture<'static, ()>>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
