//! A coordinator that dispatches what a test wants, keeps what it is told and acknowledges it.

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

/// Nothing here takes so long, on a busy machine neither.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_millis(i64::try_from(since.as_millis()).expect("before the end of time"))
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// What a test wants to differ from the usual worker.
pub(crate) struct Setup {
    pub(crate) slots: u32,
    pub(crate) kill_grace: Duration,
    pub(crate) handlers: BTreeMap<Name, CommandHandler>,
    pub(crate) rust_handlers: Handlers,
    pub(crate) commands: bool,
    pub(crate) guard: Vec<OsString>,
    pub(crate) heartbeat: Duration,
    /// What its heartbeats are answered.
    pub(crate) standing: HeartbeatAnswer,
    pub(crate) logs: Logs,
}

/// How the transport takes log chunks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logs {
    Taken,
    /// Each after a time.
    Slow(Duration),
    NeverTaken,
    /// The first is, but nobody says so.
    FirstUnanswered,
    /// Nor is anything else.
    NothingTaken,
    /// By code that panics.
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
            standing: HeartbeatAnswer::default(),
            logs: Logs::Taken,
        }
    }
}

impl Setup {
    pub(crate) fn handler(mut self, job: &str, handler: serde_json::Value) -> Self {
        let handler: CommandHandler = serde_json::from_value(handler).expect("a handler");
        handler.check().expect("a right handler");
        self.handlers.insert(name(job), handler);
        self
    }

    pub(crate) async fn start(self) -> Coordinator {
        let incarnation = Incarnation::random(&mut rand::rng());
        let direct = Direct::new();
        let no_inbox = Arc::new(AtomicBool::new(false));
        let progress = watch::Sender::new(false);
        let transport = Arc::new(Through {
            direct: direct.clone(),
            logs: self.logs,
            unanswered: AtomicBool::new(false),
            no_inbox: Arc::clone(&no_inbox),
            progress: progress.clone(),
        });
        let gateway = Arc::new(Heartbeats::default());
        gateway.stand(self.standing);
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
            // No machine is so busy that a test hands back what it wants to wait.
            waits_most: Duration::from_secs(600),
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
    /// Everything the worker told, in the order of each job.
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

    /// Progress was to be told, whether or not it was taken.
    pub(crate) async fn progress_offered(&self) {
        let mut progress = self.progress.subscribe();
        let offered = progress.wait_for(|offered| *offered);
        tokio::time::timeout(DEADLINE, offered).await.expect("in time").expect("a transport");
    }

    /// The worker cannot read its inbox from now on.
    pub(crate) async fn take_inbox(&self) -> Box<dyn Subscription> {
        self.no_inbox.store(true, Ordering::Release);
        let inbox = self.direct.subscribe(Channel::Inbox(self.incarnation)).await;
        inbox.expect("the inbox")
    }

    /// Runs it to its end.
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

    /// Waits until what was told until now has what is looked for.
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
        corr: None,
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
        for told in envelopes {
            let Body::Known(message) = told.body else { continue };
            if let Message::JobResult { outcomes } = &message {
                let executions = outcomes.iter().map(|outcome| outcome.execution).collect();
                let ack = envelope(Message::JobResultAck { executions });
                // The worker may be gone.
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

/// Answers each heartbeat once with what a test put in, else with what stands.
#[derive(Default)]
pub(crate) struct Heartbeats {
    /// No heartbeat is answered.
    pub(crate) away: AtomicBool,
    answered: watch::Sender<u64>,
    standing: Mutex<HeartbeatAnswer>,
    answers: Mutex<VecDeque<HeartbeatAnswer>>,
    pub(crate) registered: Mutex<Vec<WorkerRegistration>>,
    pub(crate) heard: AtomicU64,
}

impl Heartbeats {
    /// Until so many more heartbeats were answered.
    pub(crate) async fn beats(&self, count: u64) {
        let mut answered = self.answered.subscribe();
        let until = *answered.borrow_and_update() + count;
        let beaten = answered.wait_for(|answered| *answered >= until);
        tokio::time::timeout(DEADLINE, beaten).await.expect("in time").expect("a gateway");
    }

    /// From now on, where nothing else is to be answered.
    pub(crate) fn stand(&self, answer: HeartbeatAnswer) {
        *lock(&self.standing) = answer;
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
        Ok(leased(lock(&self.standing).clone()))
    }

    async fn heartbeat(&self, _: WorkerHeartbeat) -> Result<HeartbeatAnswer, GatewayError> {
        self.heard.fetch_add(1, Ordering::Relaxed);
        if self.away.load(Ordering::Acquire) {
            return Err(GatewayError::Unreachable("on purpose".to_owned()));
        }
        self.answered.send_modify(|answered| *answered += 1);
        let next = lock(&self.answers).pop_front();
        Ok(leased(next.unwrap_or_else(|| lock(&self.standing).clone())))
    }
}

/// As every coordinator's answer is.
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
struct Through {
    direct: Direct,
    logs: Logs,
    /// Some log chunk was taken without an answer.
    unanswered: AtomicBool,
    no_inbox: Arc<AtomicBool>,
    progress: watch::Sender<bool>,
}

#[async_trait]
impl Transport for Through {
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        let log = |e: &Envelope| matches!(&e.body, Body::Known(Message::JobLog { .. }));
        let progress = |e: &Envelope| matches!(&e.body, Body::Known(Message::JobProgress { .. }));
        if envelopes.iter().any(progress) {
            self.progress.send_replace(true);
        }
        match self.logs {
            Logs::NothingTaken => std::future::pending().await,
            Logs::NeverTaken if envelopes.iter().any(log) => std::future::pending().await,
            Logs::Broken if envelopes.iter().any(log) => panic!("as told"),
            Logs::FirstUnanswered
                if envelopes.iter().any(log) && !self.unanswered.swap(true, Ordering::AcqRel) =>
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
