//! A real coordinator and real workers over a transport that duplicates, delays, reorders and loses messages,
//! and restarts: every accepted job ends, its end is recorded once, and no cancel is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use orx_coordinator::run::Parts;
use orx_coordinator::{Clock, Coordinator, Now, Settings};
use orx_feed::{FeedFilter, FeedReader};
use orx_model::job::{Json, Labels};
use orx_model::message::{Body, Envelope, ExecutionRef, Message, VERSION};
use orx_model::{
    ExecutionId, Incarnation, Job, JobId, JobSpec, JobStatus, MessageId, NewJob, Timestamp,
};
use orx_store::{CancelAnswer, CancelCommand, Enqueued, Jobs, Memory, NodeReport, Store};
use orx_testkit::make::{job, name};
use orx_testkit::unreliable::{Faults, Unreliable};
use orx_transport::{
    Channel, Direct, PeerNodes, Shard, Subscription, Transport, TransportError, Wakeups,
};
use orx_worker::{Handler, HandlerError, Handlers, JobContext, Worker, WorkerOptions};
use parking_lot::Mutex;
use rand::RngExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const NODE: Incarnation = Incarnation(1);
/// Deadline for each wait: far more than recovery takes with these settings.
const IN_TIME: Duration = Duration::from_secs(60);
const JOBS: usize = 120;

struct Real(Instant);

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_millis(i64::try_from(since.as_millis()).expect("before the end of time"))
}

impl Clock for Real {
    fn now(&self) -> Now {
        Now { wall: wall(), mono: self.0.elapsed() }
    }
}

/// The executions that began, by job.
type Began = Arc<Mutex<BTreeMap<JobId, Vec<ExecutionId>>>>;

fn began(all: &Began, context: &JobContext) {
    let mut all = all.lock();
    all.entry(context.dispatch.job).or_default().push(context.dispatch.execution);
}

/// Its jobs succeed at once.
struct Short(Began);

#[async_trait]
impl Handler for Short {
    async fn run(&self, context: JobContext, _: &Json) -> Result<Option<Json>, HandlerError> {
        began(&self.0, &context);
        Ok(None)
    }
}

/// Its jobs run until they are cancelled.
struct Endless(Began);

#[async_trait]
impl Handler for Endless {
    async fn run(&self, context: JobContext, _: &Json) -> Result<Option<Json>, HandlerError> {
        began(&self.0, &context);
        context.cancelled().await;
        Err(HandlerError::retry("it was cancelled"))
    }
}

struct World {
    store: Arc<Memory>,
    transport: Unreliable,
    wakeups: Wakeups,
    began: Began,
    reader: FeedReader,
    workers: Vec<Worker>,
    stop: CancellationToken,
    running: JoinHandle<()>,
    messages: u128,
}

/// Confirms every message of a worker, and loses the share `lost` of them, like a queue that is dropped
/// before a coordinator reads it.
struct Forgetful {
    inner: Unreliable,
    lost: f64,
}

#[async_trait]
impl Transport for Forgetful {
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        if rand::rng().random_bool(self.lost) {
            return Ok(());
        }
        self.inner.publish(to, envelopes).await
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        self.inner.subscribe(channel).await
    }

    async fn subscribe_events(
        &self,
        shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        self.inner.subscribe_events(shards).await
    }
}

impl World {
    /// `lost`: the share of confirmed worker messages that is lost.
    async fn start(faults: Faults, lost: f64, seed: u64) -> Self {
        let store = Arc::new(Memory::default());
        let transport = Unreliable::new(Arc::new(Direct::new()), faults, seed);
        let wakeups = Wakeups::of_node(NODE);
        let settings = Settings {
            lease: Duration::from_secs(20),
            heartbeat: Duration::from_millis(100),
            ask_after: Duration::from_millis(400),
            monitor: Duration::from_millis(200),
            ..Settings::default()
        };
        let node = NodeReport {
            node: NODE,
            name: name("n"),
            url: None,
            version: "1".into(),
            zone_version: None,
            started_at: wall(),
        };
        let parts = Parts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            transport: Arc::new(transport.clone()),
            wakeups: wakeups.clone(),
            clock: Arc::new(Real(Instant::now())),
            settings,
            node,
            exclusive: true,
            peers: PeerNodes::default(),
            seed,
        };
        let stop = CancellationToken::new();
        let (coordinator, running) = Coordinator::start(parts, stop.clone()).await.expect("starts");
        let running = tokio::spawn(async move {
            running.await.expect("no panic").expect("it goes on");
        });
        let began = Began::default();
        let mut workers = Vec::new();
        for worker in 0..2 {
            let short: Arc<dyn Handler> = Arc::new(Short(Arc::clone(&began)));
            let endless: Arc<dyn Handler> = Arc::new(Endless(Arc::clone(&began)));
            let options = WorkerOptions {
                name: name("w"),
                host: "h".to_owned(),
                incarnation: Incarnation::random(&mut rand::rng()),
                slots: 4,
                queues: Vec::new(),
                labels: Labels::new(),
                commands: false,
                handlers: BTreeMap::new(),
                rust_handlers: Handlers::from([(name("work"), short), (name("endless"), endless)]),
                kill_grace: Duration::from_secs(5),
                slot_wait: Duration::from_millis(100),
                heartbeat: Duration::from_millis(100),
                guard: Vec::new(),
                now: Arc::new(wall),
                seed: seed + worker,
            };
            let carries = Arc::new(Forgetful { inner: transport.clone(), lost });
            let worker = Worker::start(options, carries, coordinator.hosting()).await;
            workers.push(worker.expect("a worker"));
        }
        let reader = wakeups.feed().read(FeedFilter::all());
        Self { store, transport, wakeups, began, reader, workers, stop, running, messages: 0 }
    }

    async fn enqueue(&self, jobs: Vec<JobSpec>) -> Vec<JobId> {
        let accepted = self
            .store
            .enqueue(jobs.into_iter().map(NewJob::from).collect(), wall())
            .await
            .expect("accepted");
        self.wakeups.work();
        let id = |one: Enqueued| match one {
            Enqueued::New { id, .. } => id,
            other => panic!("{other:?}"),
        };
        accepted.into_iter().map(id).collect()
    }

    /// Cancels like the API: stores the request, and sends the worker a message that may be lost.
    async fn cancel(&mut self, id: JobId) -> CancelAnswer {
        let command = CancelCommand { id, reason: None, by: None, force: false, expected: None };
        let answers = self.store.cancel(vec![command], wall()).await.expect("an answer");
        if let CancelAnswer::Cancelling { worker, execution, .. } = answers[0] {
            self.messages += 1;
            let executions = vec![ExecutionRef { job: id, execution }];
            let envelope = Envelope {
                id: MessageId(self.messages),
                version: VERSION,
                at: wall(),
                from: NODE,
                to: Some(worker),
                trace: None,
                body: Body::Known(Message::JobCancel { executions }),
            };
            // If it is lost, the answer to the worker's next heartbeat repeats it.
            let _ = self.transport.publish(Channel::Inbox(worker), vec![envelope]).await;
        }
        answers[0]
    }

    /// Waits until `holds` is true for all jobs. Panics with `what` after [`IN_TIME`].
    async fn until(&mut self, what: &str, holds: impl Fn(&[Job]) -> bool) {
        let end = tokio::time::Instant::now() + IN_TIME;
        loop {
            let jobs = self.store.all_jobs();
            if holds(&jobs) {
                return;
            }
            if tokio::time::timeout_at(end, self.reader.next(1_000)).await.is_err() {
                let left: Vec<&Job> =
                    jobs.iter().filter(|job| !job.state.status.is_final()).collect();
                let began = self.began.lock();
                panic!("{what}: not in time: {left:#?}; began {began:?}");
            }
        }
    }

    async fn end(self) {
        for worker in self.workers {
            worker.stop(Duration::ZERO).await;
        }
        self.stop.cancel();
        self.running.await.expect("no panic");
    }
}

async fn all_end_once(faults: Faults, lost: f64, seed: u64) {
    let mut world = World::start(faults, lost, seed).await;
    let endless = JobSpec { name: name("endless"), ..job() };
    let mut ids: BTreeSet<JobId> = BTreeSet::new();
    let mut cancelled: BTreeMap<JobId, CancelAnswer> = BTreeMap::new();
    for round in 0..JOBS / 8 {
        let mut jobs = vec![job(); 7];
        jobs.push(endless.clone());
        let new = world.enqueue(jobs).await;
        ids.extend(&new);
        let long = new[7];
        if round % 2 == 0 {
            // Cancelled while it runs; in the other rounds while it is pending, dispatched or running.
            world
                .until("its start", |jobs| {
                    let of = jobs.iter().find(|job| job.id == long);
                    of.is_some_and(|job| job.state.status == JobStatus::Running)
                })
                .await;
        }
        cancelled.insert(long, world.cancel(long).await);
    }
    world.until("the end of all", |jobs| jobs.iter().all(|job| job.state.status.is_final())).await;
    let history = world.store.take_history();
    let began = world.began.lock().clone();
    for job in world.store.all_jobs() {
        let expected = match cancelled.get(&job.id) {
            Some(_) => JobStatus::Cancelled,
            None => JobStatus::Completed,
        };
        assert_eq!(job.state.status, expected, "seed {seed}: {job:#?}");
        let ends = history.iter().filter(|it| it.job == job.id && it.to.is_final()).count();
        assert_eq!(ends, 1, "seed {seed}: job {} ended {ends} times", job.id);
        let began = began.get(&job.id).map(Vec::as_slice).unwrap_or_default();
        let executions: BTreeSet<&ExecutionId> = began.iter().collect();
        assert_eq!(executions.len(), began.len(), "seed {seed}: an execution began twice");
        let never = matches!(cancelled.get(&job.id), Some(CancelAnswer::Cancelled { .. }));
        assert!(!never || began.is_empty(), "seed {seed}: {} began after its cancel", job.id);
    }
    assert_eq!(ids.len(), world.store.all_jobs().len());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_ends_once_under_duplicates_delays_and_restarts() {
    for seed in seeds() {
        all_end_once(Faults::MANY, 0.0, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_ends_once_under_lost_messages() {
    for seed in seeds() {
        all_end_once(Faults { lost: 0.1, ..Faults::MANY }, 0.0, seed).await;
    }
}

/// A confirmation of the transport does not mean that a coordinator records the message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_ends_once_under_lost_confirmed_messages() {
    for seed in seeds() {
        all_end_once(Faults::NONE, 0.2, seed).await;
    }
}

/// The seeds of a run; `ORX_SEED` replays a single one.
fn seeds() -> std::ops::Range<u64> {
    let seed = std::env::var("ORX_SEED").ok().and_then(|seed| seed.parse().ok());
    seed.map_or(1..4, |seed: u64| seed..seed + 1)
}
