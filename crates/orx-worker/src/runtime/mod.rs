//! The runtime of a worker: one task runs the protocol, and each attempt is a task beside it.

mod clock;
mod publisher;
mod worker_loop;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use orx_model::job::Labels;
use orx_model::message::{HeartbeatAnswer, WorkerRegistration};
use orx_model::{Backoff, Capabilities, ExecutionId, Incarnation, MessageId, Name, Timestamp};
use orx_transport::{Gateway, GatewayError, Transport, TransportError};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use self::clock::ServerClock;
use self::publisher::EventBatch;
pub(crate) use self::publisher::Publisher;
use self::worker_loop::WorkerLoop;
pub(crate) use self::worker_loop::at;
use crate::command::{CommandHandler, INHERITED_VARIABLES, WhenUnreachable};
use crate::ctx::CtxServer;
use crate::guard::GuardHandle;
use crate::handler::Handlers;
use crate::inbox::WorkerInbox;
use crate::machine::LoadMeter;
use crate::protocol::{Core, CoreOptions, Input};

/// Most inputs of attempts that wait for the loop.
const INPUTS: usize = 1_024;
/// Between tries of a call.
pub(crate) const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Reads the wall clock.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a worker runs.
pub struct WorkerOptions {
    /// The name of the worker, for people; it need not be unique.
    pub name: Name,
    /// The host on which it runs, for people.
    pub host: String,
    /// The id of this start. The worker draws another if the answer to its registration is lost.
    pub incarnation: Incarnation,
    /// Most attempts at once, at least 1.
    pub slots: u32,
    /// The queues it serves; empty for all.
    pub queues: Vec<Name>,
    /// Labels that jobs may require.
    pub labels: Labels,
    /// Whether it runs commands given with jobs.
    pub commands: bool,
    /// Command handlers by job type.
    pub handlers: BTreeMap<Name, CommandHandler>,
    /// Rust handlers by job type. They take precedence over command handlers.
    pub rust_handlers: Handlers,
    /// From SIGTERM to SIGKILL.
    pub kill_grace: Duration,
    /// How long a prefetched job waits for a slot before it is handed back.
    pub slot_wait: Duration,
    /// The heartbeat interval, until an answer asks for another.
    pub heartbeat: Duration,
    /// Command line of the guard of child processes; see [`crate::guard`]. Empty for no guard.
    pub guard: Vec<OsString>,
    /// The wall clock of this machine.
    pub now: Now,
    /// Seed of all random numbers of this worker but the ids of its messages.
    pub seed: u64,
}

/// Why a worker stopped without a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerEnd {
    /// A person fenced this incarnation, or another worker holds it. All its processes were killed; a
    /// new incarnation may start.
    Fenced,
}

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The socket of the side channel cannot be opened.
    #[error("the worker cannot open its side channel")]
    Channel(#[source] std::io::Error),
    /// The transport cannot read the worker's inbox.
    #[error("the worker cannot read its inbox")]
    Inbox(#[from] TransportError),
    /// A coordinator rejected the registration.
    #[error("the worker cannot register")]
    Register(#[from] GatewayError),
}

/// A running worker.
pub struct Worker {
    incarnation: Incarnation,
    requests: mpsc::Sender<RuntimeRequest>,
    end: watch::Receiver<Option<WorkerEnd>>,
    task: OwnedTask,
}

/// A task that is aborted when this is dropped.
struct OwnedTask(JoinHandle<()>);

impl Drop for OwnedTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum RuntimeRequest {
    Stop { grace: Duration, done: oneshot::Sender<()> },
}

/// What all attempts of a worker share.
pub(crate) struct AttemptContext {
    pub(crate) publisher: Publisher,
    pub(crate) ctx: CtxServer,
    pub(crate) guard: GuardHandle,
    /// The worker's incarnation.
    pub(crate) worker: String,
    /// The variables that attempts inherit from the worker.
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) kill_grace: Duration,
    inputs: mpsc::Sender<Input>,
    /// Whether [`Worker::stop`] was called.
    stopping: watch::Sender<bool>,
    now: Now,
    secrets: parking_lot::Mutex<StdRng>,
}

impl AttemptContext {
    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }

    pub(crate) async fn started(&self, execution: ExecutionId, at: Timestamp) {
        // It cannot fail: the loop outlives the attempts.
        let _ = self.inputs.send(Input::Started { execution, at }).await;
    }

    /// Whether the worker stops now or begins to within this time.
    pub(crate) async fn stops_within(&self, time: Duration) -> bool {
        let mut stopping = self.stopping.subscribe();
        let begun = stopping.wait_for(|stopping| *stopping);
        matches!(tokio::time::timeout(time, begun).await, Ok(Ok(_)))
    }

    pub(crate) fn new_secret(&self) -> String {
        let mut rng = self.secrets.lock();
        MessageId::random(&mut *rng).to_string()
    }
}

impl Worker {
    /// Registers, and runs until [`Self::stop`]. A worker that is dropped kills its attempts. While no
    /// coordinator answers, this waits.
    ///
    /// # Errors
    /// Any [`WorkerError`].
    pub async fn start(
        mut options: WorkerOptions,
        transport: Arc<dyn Transport>,
        gateway: Arc<dyn Gateway>,
    ) -> Result<Self, WorkerError> {
        let clock = ServerClock::new(Arc::clone(&options.now));
        options.now = clock.as_now();
        let mut rng = StdRng::seed_from_u64(options.seed);
        let mut registration = registration(&options);
        let (answer, sent_at) = register(&*gateway, &mut registration, &mut rng).await?;
        let incarnation = registration.incarnation;
        options.incarnation = incarnation;
        clock.adjust(answer.now, sent_at.elapsed());
        let (ctx, ctx_task) =
            CtxServer::open(format!("orx-{incarnation}")).map_err(WorkerError::Channel)?;
        // It is open before the first heartbeat, and nothing is dispatched before that.
        let inbox = WorkerInbox::open(Arc::clone(&transport), incarnation).await?;
        let (inputs_to, inputs) = mpsc::channel(INPUTS);
        let secrets = StdRng::from_rng(&mut rng);
        let from_env = |name: &&str| Some((OsString::from(name), std::env::var_os(name)?));
        let context = Arc::new(AttemptContext {
            publisher: Publisher::new(transport, incarnation, Arc::clone(&options.now)),
            ctx,
            guard: GuardHandle::new(options.guard.clone(), incarnation.to_string()),
            worker: incarnation.to_string(),
            environment: INHERITED_VARIABLES.iter().filter_map(from_env).collect(),
            kill_grace: options.kill_grace,
            inputs: inputs_to,
            stopping: watch::Sender::new(false),
            now: Arc::clone(&options.now),
            secrets: parking_lot::Mutex::new(secrets),
        });
        let (requests_to, requests) = mpsc::channel(8);
        let (answers_to, answers) = mpsc::channel(8);
        let core = CoreOptions {
            incarnation,
            slots: options.slots,
            slot_wait: options.slot_wait,
            must_not_overlap: must_not_overlap(&options),
            registered_at: Duration::ZERO,
        };
        let worker_loop = WorkerLoop {
            core: Core::new(core),
            registration,
            clock,
            heartbeat_interval: options.heartbeat,
            options,
            context,
            gateway,
            inbox,
            inputs,
            requests,
            answers,
            answers_to,
            attempts: JoinSet::new(),
            tasks: HashMap::new(),
            stops: HashMap::new(),
            heartbeat_in_flight: false,
            heartbeat_wanted: true,
            fenced: false,
            load: LoadMeter::new(),
            registered_at: sent_at,
            unpublished: EventBatch::default(),
            publishing: None,
            ctx_server: OwnedTask(ctx_task),
        };
        let (end_to, end) = watch::channel(None);
        let running = async move {
            let why = worker_loop.run(answer).await;
            end_to.send_replace(why);
        };
        let task = OwnedTask(tokio::spawn(running));
        Ok(Self { incarnation, requests: requests_to, end, task })
    }

    /// The incarnation that is registered: the one of the options, or one drawn in its place.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Resolves when the worker has ended by itself, and never otherwise.
    pub async fn ended(&self) -> WorkerEnd {
        let mut end = self.end.clone();
        loop {
            if let Some(why) = *end.borrow_and_update() {
                return why;
            }
            if end.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Stops in an orderly way: accepts no dispatch, hands back the jobs that have not started, lets
    /// running attempts continue for `grace`, then interrupts them. Returns once all outcomes are
    /// acknowledged, or some seconds after the grace.
    pub async fn stop(mut self, grace: Duration) {
        let (done, stopped) = oneshot::channel();
        if self.requests.send(RuntimeRequest::Stop { grace, done }).await.is_ok() {
            // An error means that the task has ended already.
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
    let mut backoff = RETRY;
    loop {
        let sent_at = Instant::now();
        match gateway.register(registration.clone()).await {
            Err(GatewayError::Unreachable(why)) => {
                tracing::warn!(%why, "could not register; trying again");
                tokio::time::sleep(backoff.failed()).await;
            }
            // The answer to an earlier call was lost, and with it the secret of that incarnation, to
            // which no job was dispatched.
            Err(GatewayError::NotThisWorker(_)) => {
                registration.incarnation = Incarnation::random(rng);
            }
            answered => return answered.map(|answer| (answer, sent_at)),
        }
    }
}
