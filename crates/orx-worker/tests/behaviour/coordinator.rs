//! A coordinator that dispatches what a test asks for, collects the reports and acknowledges them.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use orx_model::job::{Json, Labels, json_null};
use orx_model::log::{LogChunk, Stream};
use orx_model::message::{
    Body, Dispatch, Envelope, ExecutionRef, HeartbeatAnswer, Message, VERSION, WorkerHeartbeat,
    WorkerRegistration,
};
use orx_model::{
    Command, ExecutionId, Incarnation, JobId, MessageId, Name, Outcome, Priority, Timestamp,
};
use orx_transport::{
    Channel, Direct, Gateway, GatewayError, Shard, Subscription, Transport, TransportError,
};
use orx_worker::{CommandHandler, Handlers, Worker, WorkerOptions};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

/// Longer than anything here takes, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_millis(i64::try_from(since.as_millis()).expect("before the end of time"))
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// The settings of the worker, as a test changes them.
pub(crate) struct Setup {
    pub(crate) slots: u32,
    pub(crate) kill_grace: Duration,
    pub(crate) handlers: BTreeMap<Name, CommandHandler>,
    pub(crate) rust_handlers: Handlers,
    pub(crate) commands: bool,
    pub(crate) guard: Vec<OsString>,
    pub(crate) heartbeat: Duration,
    /// The usual answer to its heartbeats.
    pub(crate) usual: HeartbeatAnswer,
    pub(crate) logs: Logs,
}

/// How the transport accepts log chunks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logs {
    Accepted,
    /// Each after a time.
    Slow(Duration),
    NeverAccepted,
    /// The first is accepted without a confirmation.
    FirstUnconfirmed,
    /// Nothing is accepted, log chunks or not.
    NothingAccepted,
    /// The transport panics.
    Broken,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            slots: 4,
            kill_grace: Duration::from_secs(5),
            handlers: BTreeMap::new(),
            rust_handlers: Handlers::new(),
            commands: true,
            guard: Vec::new(),
            heartbeat: Duration::from_millis(50),
            usual: HeartbeatAnswer::default(),
            logs: Logs::Accepted,
        }
    }
}

impl Setup {
    pub(crate) fn handler(mut self, job: &str, handler: serde_json::Value) -> Self {
        let handler: CommandHandler = serde_json::from_value(handler).expect("a handler");
        handler.check().expect("a valid handler");
        self.handlers.insert(name(job), handler);
        self
    }

    pub(crate) async fn start(self) -> Coordinator {
        let incarnation = Incarnation::random(&mut rand::rng());
        let direct = Direct::new();
        let no_inbox = Arc::new(AtomicBool::new(false));
        let progress = watch::Sender::new(false);
        let transport = Arc::new(TestTransport {
            direct: direct.clone(),
            logs: self.logs,
            unconfirmed: AtomicBool::new(false),
            no_inbox: Arc::clone(&no_inbox),
            progress: progress.clone(),
        });
        let gateway = Arc::new(Heartbeats::default());
        gateway.usually(self.usual);
        let seen = watch::Sender::new(Vec::new());
        tokio::spawn(listen(direct.clone(), incarnation, seen.clone()));
        let options = WorkerOptions {
            name: name("w1"),
            host: "testhost".to_owned(),
            incarnation,
            slots: self.slots,
            queues: Vec::new(),
            labels: Labels::new(),
            commands: self.commands,
            handlers: self.handlers,
            rust_handlers: self.rust_handlers,
            kill_grace: self.kill_grace,
            // Longer than any test, so that no job is handed back.
            slot_wait: Duration::from_secs(600),
            heartbeat: self.heartbeat,
            guard: self.guard,
            now: Arc::new(now),
            seed: 7,
        };
        let worker =
            Worker::start(options, transport, Arc::clone(&gateway) as Arc<dyn Gateway>).await;
        let worker = Some(worker.expect("a worker"));
        Coordinator { direct, gateway, incarnation, seen, worker, no_inbox, progress }
    }
}

pub(crate) struct Coordinator {
    direct: Direct,
    pub(crate) gateway: Arc<Heartbeats>,
    pub(crate) incarnation: Incarnation,
    /// Every report of the worker, in the order of each job.
    seen: watch::Sender<Vec<Message>>,
    pub(crate) worker: Option<Worker>,
    no_inbox: Arc<AtomicBool>,
    progress: watch::Sender<bool>,
}

impl Coordinator {
    pub(crate) async fn send(&self, message: Message) {
        self.send_all(vec![message]).await;
    }

    /// In one batch.
    pub(crate) async fn send_all(&self, messages: Vec<Message>) {
        let to = Channel::Inbox(self.incarnation);
        let envelopes = messages.into_iter().map(envelope).collect();
        self.direct.publish(to, envelopes).await.expect("an inbox");
    }

    pub(crate) async fn dispatch(&self, job: &Dispatch) {
        self.send(Message::JobDispatch { jobs: vec![job.clone()], heartbeat_seq: None }).await;
    }

    pub(crate) async fn cancel(&self, job: &Dispatch) {
        self.send(Message::JobCancel { executions: vec![job.execution_ref()] }).await;
    }

    /// Waits until the worker published progress, accepted or not.
    pub(crate) async fn progress_offered(&self) {
        let mut progress = self.progress.subscribe();
        let offered = progress.wait_for(|offered| *offered);
        tokio::time::timeout(DEADLINE, offered).await.expect("in time").expect("a transport");
    }

    /// Takes over the worker's inbox, which the worker cannot open again.
    pub(crate) async fn take_inbox(&self) -> Box<dyn Subscription> {
        self.no_inbox.store(true, Ordering::Release);
        let inbox = self.direct.subscribe(Channel::Inbox(self.incarnation)).await;
        inbox.expect("the inbox")
    }

    /// Dispatches a job and waits for its outcome.
    pub(crate) async fn run(&self, job: &Dispatch) -> Outcome {
        self.dispatch(job).await;
        self.outcome(job).await
    }

    pub(crate) async fn outcome(&self, job: &Dispatch) -> Outcome {
        let of_job = |messages: &[Message]| outcomes_in(messages, job.execution).into_iter().next();
        self.until("an outcome", of_job).await
    }

    pub(crate) async fn started(&self, job: &Dispatch) {
        self.until("a start", |messages| started_in(messages, job.execution).then_some(())).await;
    }

    /// Waits until `look` finds something in the reports.
    pub(crate) async fn until<T>(&self, what: &str, look: impl Fn(&[Message]) -> Option<T>) -> T {
        let mut seen = self.seen.subscribe();
        let found = seen.wait_for(|messages| look(messages).is_some());
        let found = tokio::time::timeout(DEADLINE, found).await;
        let messages = found.unwrap_or_else(|_| panic!("{what} did not come")).expect("a sender");
        look(&messages).expect("found a moment ago")
    }

    /// The words of the first whole line of standard output.
    pub(crate) async fn first_line(&self, job: &Dispatch) -> Vec<String> {
        self.until("a line", |messages| {
            let bytes = bytes(&chunks_in(messages, job.execution), Stream::Out);
            let text = String::from_utf8(bytes).ok()?;
            let (line, _) = text.split_once('\n')?;
            Some(line.split_whitespace().map(str::to_owned).collect())
        })
        .await
    }

    pub(crate) async fn pids(&self, job: &Dispatch) -> Vec<u32> {
        let words = self.first_line(job).await;
        words.iter().map(|word| word.parse().expect("a process id")).collect()
    }

    pub(crate) fn seen(&self) -> Vec<Message> {
        self.seen.borrow().clone()
    }

    pub(crate) fn chunks(&self, job: &Dispatch) -> Vec<LogChunk> {
        chunks_in(&self.seen(), job.execution)
    }

    pub(crate) fn text(&self, job: &Dispatch, stream: Stream) -> String {
        String::from_utf8(bytes(&self.chunks(job), stream)).expect("UTF-8")
    }

    pub(crate) async fn stop(&mut self, grace: Duration) {
        self.worker.take().expect("a running worker").stop(grace).await;
    }
}

pub(crate) fn chunks_in(messages: &[Message], of: ExecutionId) -> Vec<LogChunk> {
    let logs = messages.iter().filter_map(|message| match message {
        Message::JobLog { chunks } => Some(chunks),
        _ => None,
    });
    logs.flatten().filter(|chunk| chunk.execution == of).cloned().collect()
}

pub(crate) fn outcomes_in(messages: &[Message], of: ExecutionId) -> Vec<Outcome> {
    let results = messages.iter().filter_map(|message| match message {
        Message::JobResult { outcomes } => Some(outcomes),
        _ => None,
    });
    results.flatten().filter(|outcome| outcome.execution == of).cloned().collect()
}

pub(crate) fn started_in(messages: &[Message], of: ExecutionId) -> bool {
    messages.iter().any(|message| match message {
        Message::JobStatus { started } => started.iter().any(|started| started.execution == of),
        _ => false,
    })
}

pub(crate) fn bytes(chunks: &[LogChunk], stream: Stream) -> Vec<u8> {
    chunks.iter().filter(|chunk| chunk.stream == stream).flat_map(|c| c.bytes.clone()).collect()
}

/// A job for a handler of the worker.
pub(crate) fn job(of: &str, args: serde_json::Value) -> Dispatch {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    let args: Json = serde_json::value::to_raw_value(&args).map(Json::from).expect("JSON");
    Dispatch {
        job: JobId(NEXT.fetch_add(1, Ordering::Relaxed)),
        attempt: 2,
        execution: ExecutionId::random(&mut rand::rng()),
        name: name(of),
        queue: name("default"),
        priority: Priority::Normal,
        args,
        command: None,
        timeout_ms: None,
        deadline: None,
        run_at: now(),
        retry: 1,
        correlation_id: None,
        tags: Labels::new(),
        schedule: None,
    }
}

/// A command given with its job.
pub(crate) fn command(argv: &[&str]) -> Dispatch {
    let command =
        Command { argv: argv.iter().map(|&word| word.to_owned()).collect(), ..Command::default() };
    Dispatch {
        command: Some(command),
        args: json_null(),
        ..job("command", serde_json::Value::Null)
    }
}

pub(crate) fn script(text: &str) -> Dispatch {
    command(&["sh", "-c", text])
}

async fn listen(direct: Direct, worker: Incarnation, seen: watch::Sender<Vec<Message>>) {
    let events = direct.subscribe_events(Shard::all().collect()).await;
    let mut events = events.expect("the events");
    while let Ok(deliveries) = events.next(64).await {
        let (envelopes, acknowledged) = deliveries.accept();
        acknowledged.await.expect("acknowledged");
        for report in envelopes {
            let Body::Known(message) = report.body else { continue };
            if let Message::JobResult { outcomes } = &message {
                let executions = outcomes.iter().map(|outcome| outcome.execution).collect();
                let ack = envelope(Message::JobResultAck { executions });
                // The worker may have ended.
                let _ = direct.publish(Channel::Inbox(worker), vec![ack]).await;
            }
            seen.send_modify(|seen| seen.push(message));
        }
    }
}

fn envelope(message: Message) -> Envelope {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Envelope {
        id: MessageId(u128::from(NEXT.fetch_add(1, Ordering::Relaxed))),
        version: VERSION,
        at: now(),
        from: Incarnation(1),
        to: None,
        trace: None,
        body: Body::Known(message),
    }
}

/// Answers each heartbeat with the next answer that a test queued, else with the usual one.
#[derive(Default)]
pub(crate) struct Heartbeats {
    /// Whether heartbeats fail.
    pub(crate) unreachable: AtomicBool,
    answered: watch::Sender<u64>,
    usual: Mutex<HeartbeatAnswer>,
    answers: Mutex<VecDeque<HeartbeatAnswer>>,
    pub(crate) registered: Mutex<Vec<WorkerRegistration>>,
    pub(crate) received: AtomicU64,
}

impl Heartbeats {
    /// Waits until `count` more heartbeats were answered.
    pub(crate) async fn beats(&self, count: u64) {
        let mut answered = self.answered.subscribe();
        let until = *answered.borrow_and_update() + count;
        let beaten = answered.wait_for(|answered| *answered >= until);
        tokio::time::timeout(DEADLINE, beaten).await.expect("in time").expect("a gateway");
    }

    /// Sets the usual answer.
    pub(crate) fn usually(&self, answer: HeartbeatAnswer) {
        *lock(&self.usual) = answer;
    }

    pub(crate) fn answer(&self, answer: HeartbeatAnswer) {
        lock(&self.answers).push_back(answer);
    }
}

#[async_trait]
impl Gateway for Heartbeats {
    async fn register(
        &self,
        registration: WorkerRegistration,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        lock(&self.registered).push(registration);
        Ok(leased(lock(&self.usual).clone()))
    }

    async fn heartbeat(&self, _: WorkerHeartbeat) -> Result<HeartbeatAnswer, GatewayError> {
        self.received.fetch_add(1, Ordering::Relaxed);
        if self.unreachable.load(Ordering::Acquire) {
            return Err(GatewayError::Unreachable("on purpose".to_owned()));
        }
        self.answered.send_modify(|answered| *answered += 1);
        let next = lock(&self.answers).pop_front();
        Ok(leased(next.unwrap_or_else(|| lock(&self.usual).clone())))
    }
}

/// Adds a lease, which every answer of a coordinator has.
fn leased(answer: HeartbeatAnswer) -> HeartbeatAnswer {
    let lease_ms = if answer.lease_ms == 0 { 30_000 } else { answer.lease_ms };
    HeartbeatAnswer { lease_ms, ..answer }
}

pub(crate) fn asked(job: &Dispatch) -> HeartbeatAnswer {
    HeartbeatAnswer { asked: vec![job.execution_ref()], ..HeartbeatAnswer::default() }
}

pub(crate) fn no_longer_current(job: &Dispatch) -> HeartbeatAnswer {
    let stop: Vec<ExecutionRef> = vec![job.execution_ref()];
    HeartbeatAnswer { stop, ..HeartbeatAnswer::default() }
}

/// The worker's side of the transport.
struct TestTransport {
    direct: Direct,
    logs: Logs,
    /// Whether a log chunk was accepted without a confirmation.
    unconfirmed: AtomicBool,
    no_inbox: Arc<AtomicBool>,
    progress: watch::Sender<bool>,
}

#[async_trait]
impl Transport for TestTransport {
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        let log = |e: &Envelope| matches!(&e.body, Body::Known(Message::JobLog { .. }));
        let progress = |e: &Envelope| matches!(&e.body, Body::Known(Message::JobProgress { .. }));
        if envelopes.iter().any(progress) {
            self.progress.send_replace(true);
        }
        match self.logs {
            Logs::NothingAccepted => std::future::pending().await,
            Logs::NeverAccepted if envelopes.iter().any(log) => std::future::pending().await,
            Logs::Broken if envelopes.iter().any(log) => panic!("on purpose"),
            Logs::FirstUnconfirmed
                if envelopes.iter().any(log) && !self.unconfirmed.swap(true, Ordering::AcqRel) =>
            {
                self.direct.publish(to, envelopes).await?;
                return std::future::pending().await;
            }
            Logs::Slow(time) if envelopes.iter().any(log) => tokio::time::sleep(time).await,
            _ => {}
        }
        self.direct.publish(to, envelopes).await
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        if self.no_inbox.load(Ordering::Acquire) {
            return Err(TransportError::NoReader { channel });
        }
        self.direct.subscribe(channel).await
    }

    async fn subscribe_events(
        &self,
        shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        self.direct.subscribe_events(shards).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
