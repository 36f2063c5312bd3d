//! HTTP client of orx: the operations of the API as functions.
//!
//! Depends on `orx-model` only. Knows no terminal and no files.
//!
//! A call that was cut off may have been done. Reading is asked again; an enqueue carries an
//! idempotency key, so asking again gives the same job; a change is not repeated by itself.
//! [`Client::wait`] and [`Client::follow`] go on across the death of a server that has answered once,
//! and lose or repeat nothing.

mod address;
mod lines;
mod tls;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use orx_model::schedule::ScheduleSpec;
use orx_model::schedule::wire::{
    BackfillAnswer, BackfillRequest, PutScheduleRequest, RemoveScheduleQuery, ScheduleAnswer,
    ScheduleChangeAnswer, ScheduleOrder, SchedulePage, SchedulesQuery, SetScheduleRequest,
    SlotPage, SlotsQuery, TriggerAnswer, path as schedules,
};
use orx_model::token::{self, RevokeAnswer, RevokeRequest, TokenList, TokenMade, TokenRequest};
use orx_model::wire::{
    BatchLine, ChangeAnswer, ChangeRequest, ClusterStatus, Condition, DeadLetterPage,
    EnqueueAnswer, EnqueueRequest, JobDetail, JobPage, ListQuery, LogEvent, LogsQuery, QueueList,
    QueueView, ResultAnswer, WaitAnswer, WaitQuery, WorkerDetail, WorkerList, WorkersOrderAnswer,
    WorkersOrderRequest, path,
};
use orx_model::{Code, Job, JobStatus, MessageId, Problem, limits};
use parking_lot::Mutex;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use lines::Lines;

pub use address::ServerUrl;
pub use tls::Trust;

/// An answer that is no stream comes within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A long poll of a wait.
const POLL: Duration = Duration::from_secs(25);
/// A stream that says nothing for so long is dead; servers ping every 5 s.
const SILENT: Duration = Duration::from_secs(20);
/// A server that is there takes a connection in this, TLS included.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Tries of a call that may be repeated.
const TRIES: u32 = 4;
/// Bytes of one body of a batch: far fewer than a server takes, and soon answered.
pub const BATCH_BYTES: usize = 8 << 20;
/// What is said of lines of a batch that have no answer.
const NOT_KNOWN: &str = "it is not known whether the line was accepted; with the same key it is safe \
                         to send it again";
const NOT_TRIED: &str = "the line was not tried";

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("could not reach the server at {url}")]
    Unreachable { url: String, cause: String },
    /// It was reached, but is not believed to be who it should be, or speaks no TLS.
    #[error("could not speak with the server at {url} in safety")]
    Untrusted { url: String, cause: String, hint: &'static str },
    #[error("{0}")]
    Problem(Box<Problem>),
    #[error("the server at {url} does not answer as orx does")]
    Strange { url: String, cause: String },
    /// Where the server is could not be found out, or none could be started.
    #[error("{message}")]
    NoServer { message: String, cause: Option<String>, hint: Option<String> },
}

impl From<Problem> for ClientError {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl ClientError {
    #[must_use]
    pub fn no_server(message: impl Into<String>) -> Self {
        Self::NoServer { message: message.into(), cause: None, hint: None }
    }

    /// Asking again, later or elsewhere, may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem(problem) => matches!(problem.code, Code::Unavailable | Code::TimedOut),
            Self::Strange { .. } | Self::NoServer { .. } | Self::Untrusted { .. } => false,
        }
    }
}

pub type Result<T> = std::result::Result<T, ClientError>;

/// Where a server is, and what to show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As [`ServerUrl`] takes it: `http://127.0.0.1:7070`, without a slash at the end.
    pub url: String,
    pub token: Option<String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the token, nor a password.
        let url = orx_model::mask::without_userinfo(&self.url);
        f.debug_struct("Endpoint").field("url", &url).finish_non_exhaustive()
    }
}

/// Finds the server: asked at the start, and again whenever it cannot be reached, since a server
/// that was started anew may be elsewhere.
#[async_trait]
pub trait Locate: Send + Sync {
    async fn endpoint(&self) -> Result<Endpoint>;

    /// How many servers there are to choose from. Where the one that was answered last cannot be
    /// connected to, it is asked so often for another before the call fails.
    fn places(&self) -> usize {
        1
    }

    /// Nothing may be changed: whatever would is refused before it is sent.
    fn read_only(&self) -> bool {
        false
    }

    /// One was found, and is expected back should it not answer any more.
    fn expects_one(&self) -> bool {
        false
    }

    /// The server that was answered last says that it is about to end: another is to be awaited
    /// rather than started.
    fn server_stops(&self) {}

    /// Whose certificates are believed, where the endpoint answered last is `https://`.
    fn trust(&self) -> Trust {
        Trust::System
    }
}

#[async_trait]
impl Locate for Endpoint {
    async fn endpoint(&self) -> Result<Endpoint> {
        Ok(self.clone())
    }
}

/// What [`Client::follow`] and [`Client::wait`] tell of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    Lost,
    /// A server answers that it does not answer this now, and why.
    Refused(String),
    Back,
    /// What the server says of itself has changed.
    Server(Condition),
}

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Made when the first `https://` address is called, and again when other trust is asked for.
    https: Arc<Mutex<Option<(Trust, reqwest::Client)>>>,
    locate: Arc<dyn Locate>,
    endpoint: Arc<Mutex<Option<Endpoint>>>,
    /// How long [`Self::follow`] and [`Self::wait`] look for a server that was found and never
    /// answered, or that cannot be started. One that has answered is awaited without end.
    patience: Duration,
    /// A server has answered, whatever it was: only such a one is expected back.
    reached: Arc<AtomicBool>,
}

impl Client {
    /// # Errors
    /// The HTTP library cannot be set up.
    pub fn new(locate: Arc<dyn Locate>, patience: Duration) -> Result<Self> {
        let http = http_client(tls::none(), false)?;
        Ok(Self {
            http,
            https: Arc::default(),
            locate,
            endpoint: Arc::default(),
            patience,
            reached: Arc::default(),
        })
    }

    /// A call that asks nothing of the server: what any call costs.
    ///
    /// # Errors
    /// No server answers.
    pub async fn reach(&self) -> Result<()> {
        let response = self.send(Method::GET, path::HEALTHZ, |call| call).await?;
        let url = response.url().to_string();
        let read = response.bytes().await;
        read.map(drop).map_err(|error| unreachable_at(&url, &chain(&error)))
    }

    pub async fn enqueue(&self, mut request: EnqueueRequest) -> Result<EnqueueAnswer> {
        request.key.get_or_insert_with(|| MessageId::random(&mut rand::rng()).to_string());
        self.repeated(Method::POST, path::JOBS, |call| call.json(&request)).await
    }

    /// Answers are in the order of the lines, one for each. What does not fit into one body is sent in
    /// several; where one of those fails, its lines are answered as not known, and those behind it as
    /// not tried. Each line carries its key already: the caller draws them, so that it can ask again.
    ///
    /// # Errors
    /// The first body failed: nothing is known of any line.
    pub async fn enqueue_batch(&self, requests: &[EnqueueRequest]) -> Result<Vec<BatchLine>> {
        let mut answers: Vec<BatchLine> = Vec::with_capacity(requests.len());
        let mut rest = requests;
        while !rest.is_empty() {
            let (body, lines) = one_body(rest)?;
            let first = answers.len() as u64;
            let answered = match self.batch_body(body).await {
                Ok(answered) => answered,
                Err(error) if answers.is_empty() => return Err(error),
                Err(error) => {
                    let problem = match error {
                        ClientError::Problem(problem) => *problem,
                        error => Problem::new(Code::Unavailable, error.to_string()),
                    };
                    for place in 0..rest.len() {
                        let what = if place < lines { NOT_KNOWN } else { NOT_TRIED };
                        let error = Problem {
                            detail: format!("{what}: {}", problem.detail),
                            ..problem.clone()
                        };
                        answers.push(unanswered(first + place as u64 + 1, error));
                    }
                    return Ok(answers);
                }
            };
            let told = answered.len().min(lines);
            answers.extend(
                answered
                    .into_iter()
                    .take(lines)
                    .map(|it| BatchLine { line: it.line + first, ..it }),
            );
            for place in told..lines {
                let problem = Problem::new(Code::Unavailable, NOT_KNOWN);
                answers.push(unanswered(first + place as u64 + 1, problem));
            }
            rest = &rest[lines..];
        }
        Ok(answers)
    }

    async fn batch_body(&self, body: bytes::Bytes) -> Result<Vec<BatchLine>> {
        let mut pause = PAUSE;
        for tries in 1.. {
            let sent = self
                .send(Method::POST, path::JOBS_BATCH, |call| {
                    call.header("content-type", "application/x-ndjson").body(body.clone())
                })
                .await;
            let answer = match sent {
                Ok(response) => self.batch_lines(response).await,
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if error.is_passing() && tries < TRIES => {
                    self.forget_endpoint();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                answered => return answered,
            }
        }
        unreachable!("the loop ends by its tries")
    }

    async fn batch_lines(&self, response: Response) -> Result<Vec<BatchLine>> {
        let url = response.url().to_string();
        let mut lines = Lines::new(response);
        let mut answers = Vec::new();
        while let Some(line) = lines.next().await.map_err(|error| unreachable_at(&url, &error))? {
            answers.push(serde_json::from_slice(&line).map_err(|error| strange(&url, error))?);
        }
        Ok(answers)
    }

    pub async fn job(&self, reference: &str) -> Result<JobDetail> {
        self.get(&place(path::JOB, "{job}", reference), &()).await
    }

    pub async fn result(&self, reference: &str) -> Result<ResultAnswer> {
        self.get(&place(path::JOB_RESULT, "{job}", reference), &()).await
    }

    pub async fn list(&self, query: &ListQuery) -> Result<JobPage> {
        self.get(path::JOBS, query).await
    }

    pub async fn cancel(&self, request: &ChangeRequest) -> Result<ChangeAnswer> {
        self.repeated(Method::POST, path::JOBS_CANCEL, |call| call.json(request)).await
    }

    pub async fn retry(&self, request: &ChangeRequest) -> Result<ChangeAnswer> {
        self.once(Method::POST, path::JOBS_RETRY, |call| call.json(request)).await
    }

    pub async fn queues(&self) -> Result<QueueList> {
        self.get(path::QUEUES, &()).await
    }

    pub async fn queue(&self, name: &str) -> Result<QueueView> {
        self.get(&place(path::QUEUE, "{queue}", name), &()).await
    }

    pub async fn dead_letters(&self, query: &ListQuery) -> Result<DeadLetterPage> {
        self.get(path::DEAD_LETTERS, query).await
    }

    pub async fn retry_dead(&self, request: &ChangeRequest) -> Result<ChangeAnswer> {
        self.once(Method::POST, path::DEAD_LETTERS_RETRY, |call| call.json(request)).await
    }

    pub async fn delete_dead(&self, request: &ChangeRequest) -> Result<ChangeAnswer> {
        self.once(Method::POST, path::DEAD_LETTERS_DELETE, |call| call.json(request)).await
    }

    pub async fn workers(&self) -> Result<WorkerList> {
        self.get(path::WORKERS, &()).await
    }

    /// Not repeated: an answer that was lost leaves a token that nobody has, to be revoked.
    pub async fn create_token(&self, request: &TokenRequest) -> Result<TokenMade> {
        self.once(Method::POST, token::path::TOKENS, |call| call.json(request)).await
    }

    pub async fn tokens(&self) -> Result<TokenList> {
        self.get(token::path::TOKENS, &()).await
    }

    pub async fn revoke_tokens(&self, request: &RevokeRequest) -> Result<RevokeAnswer> {
        self.repeated(Method::POST, token::path::TOKENS_REVOKE, |call| call.json(request)).await
    }

    pub async fn worker(&self, name: &str) -> Result<WorkerDetail> {
        self.get(&place(path::WORKER, "{worker}", name), &()).await
    }

    pub async fn order_workers(&self, request: &WorkersOrderRequest) -> Result<WorkersOrderAnswer> {
        self.repeated(Method::POST, path::WORKERS_ORDER, |call| call.json(request)).await
    }

    pub async fn cluster(&self) -> Result<ClusterStatus> {
        self.get(path::CLUSTER, &()).await
    }

    /// Not repeated: an id that was taken meanwhile would be one's own.
    pub async fn add_schedule(&self, spec: &ScheduleSpec) -> Result<ScheduleChangeAnswer> {
        self.once(Method::POST, schedules::SCHEDULES, |call| call.json(spec)).await
    }

    pub async fn schedules(&self, query: &SchedulesQuery) -> Result<SchedulePage> {
        self.get(schedules::SCHEDULES, query).await
    }

    pub async fn schedule(&self, id: &str) -> Result<ScheduleAnswer> {
        self.get(&place(schedules::SCHEDULE, "{schedule}", id), &()).await
    }

    pub async fn put_schedule(&self, request: &PutScheduleRequest) -> Result<ScheduleChangeAnswer> {
        let route = place(schedules::SCHEDULE, "{schedule}", request.spec.id.as_str());
        self.repeated(Method::PUT, &route, |call| call.json(request)).await
    }

    pub async fn set_schedule(
        &self,
        id: &str,
        request: &SetScheduleRequest,
    ) -> Result<ScheduleChangeAnswer> {
        let route = place(schedules::SCHEDULE, "{schedule}", id);
        self.once(Method::PATCH, &route, |call| call.json(request)).await
    }

    pub async fn remove_schedule(
        &self,
        id: &str,
        query: &RemoveScheduleQuery,
    ) -> Result<ScheduleChangeAnswer> {
        let route = place(schedules::SCHEDULE, "{schedule}", id);
        self.once(Method::DELETE, &route, |call| call.query(query)).await
    }

    pub async fn schedule_slots(&self, id: &str, query: &SlotsQuery) -> Result<SlotPage> {
        self.get(&place(schedules::SLOTS, "{schedule}", id), query).await
    }

    /// Not repeated: each is a run.
    pub async fn trigger_schedule(&self, id: &str, order: &ScheduleOrder) -> Result<TriggerAnswer> {
        let route = place(schedules::TRIGGER, "{schedule}", id);
        self.once(Method::POST, &route, |call| call.json(order)).await
    }

    /// What was run by the first of two is passed over by the second.
    pub async fn backfill_schedule(
        &self,
        id: &str,
        request: &BackfillRequest,
    ) -> Result<BackfillAnswer> {
        let route = place(schedules::BACKFILL, "{schedule}", id);
        self.once(Method::POST, &route, |call| call.json(request)).await
    }

    pub async fn pause_schedule(&self, id: &str, order: &ScheduleOrder) -> Result<ScheduleAnswer> {
        let route = place(schedules::PAUSE, "{schedule}", id);
        self.repeated(Method::POST, &route, |call| call.json(order)).await
    }

    pub async fn resume_schedule(&self, id: &str, order: &ScheduleOrder) -> Result<ScheduleAnswer> {
        let route = place(schedules::RESUME, "{schedule}", id);
        self.repeated(Method::POST, &route, |call| call.json(order)).await
    }

    /// Until the job has ended, or is in `status`. Goes on while a server that was reached is away.
    pub async fn wait(
        &self,
        reference: &str,
        status: Option<JobStatus>,
        mut link: impl FnMut(ConnectionEvent),
    ) -> Result<Job> {
        let mut query =
            WaitQuery { timeout_ms: Some(POLL.as_millis() as u64), status, known: None };
        let route = place(path::JOB_WAIT, "{job}", reference);
        let mut away = Away::default();
        loop {
            query.known = Some(away.server);
            let asked = self.once(Method::GET, &route, |call| call.query(&query));
            match asked.await {
                Ok(WaitAnswer { reached: true, job, .. }) => {
                    away.back(&mut link);
                    return Ok(job);
                }
                Ok(WaitAnswer { condition, .. }) => {
                    away.back(&mut link);
                    away.server_is(self, condition, &mut link);
                }
                Err(error) => away.lost(self, error, &mut link).await?,
            }
        }
    }

    /// The log of a job as it comes, until the job has ended: then the job. `on` may break off,
    /// then `None`. Goes on from the same place after the link was lost.
    pub async fn follow(
        &self,
        reference: &str,
        mut query: LogsQuery,
        mut on: impl FnMut(LogEvent) -> ControlFlow<()>,
        mut link: impl FnMut(ConnectionEvent),
    ) -> Result<Option<Job>> {
        let route = place(path::JOB_LOGS, "{job}", reference);
        let mut away = Away::default();
        // Only the last line says where nothing begins.
        let mut passes = query.tail == Some(0);
        if passes {
            query.tail = Some(1);
        }
        loop {
            let opened = self.send(Method::GET, &route, |call| call.query(&query)).await;
            let response = match opened {
                Ok(response) => response,
                Err(error) => {
                    away.lost(self, error, &mut link).await?;
                    continue;
                }
            };
            away.back(&mut link);
            let url = response.url().to_string();
            let mut lines = Lines::new(response);
            let error = loop {
                let line = match tokio::time::timeout(SILENT, lines.next()).await {
                    Ok(Ok(Some(line))) => line,
                    Ok(Ok(None)) => break "the stream ended early".to_owned(),
                    Ok(Err(error)) => break error,
                    Err(_) => break "the server says nothing".to_owned(),
                };
                let event: LogEvent =
                    serde_json::from_slice(&line).map_err(|error| strange(&url, error))?;
                match event {
                    LogEvent::End { job, .. } => return Ok(Some(*job)),
                    LogEvent::Chunk(part) => {
                        // From here on, should the link be lost.
                        query.cursor = Some(part.cursor.clone());
                        query.tail = None;
                        if !passes && on(LogEvent::Chunk(part)).is_break() {
                            return Ok(None);
                        }
                    }
                    other => {
                        if let LogEvent::Ping { condition } = other {
                            away.server_is(self, condition, &mut link);
                        }
                        if matches!(other, LogEvent::Live {}) {
                            // Of what comes from here on nothing is left out, though the link be
                            // lost before any of it.
                            (query.tail, passes) = (None, false);
                        }
                        if on(other).is_break() {
                            return Ok(None);
                        }
                    }
                }
            };
            away.lost(self, unreachable_at(&url, &error), &mut link).await?;
        }
    }

    async fn get<T: DeserializeOwned>(&self, route: &str, query: &impl Serialize) -> Result<T> {
        self.repeated(Method::GET, route, |call| call.query(query)).await
    }

    /// A call that may be made again.
    async fn repeated<T: DeserializeOwned>(
        &self,
        method: Method,
        route: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<T> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.once(method.clone(), route, &build).await {
                Err(error) if error.is_passing() => {
                    self.forget_endpoint();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                answered => return answered,
            }
        }
        self.once(method, route, build).await
    }

    async fn once<T: DeserializeOwned>(
        &self,
        method: Method,
        route: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<T> {
        let whole = async {
            let response = self.send(method, route, build).await?;
            let url = response.url().to_string();
            let bytes =
                response.bytes().await.map_err(|error| unreachable_at(&url, &chain(&error)))?;
            serde_json::from_slice(&bytes).map_err(|error| strange(&url, error))
        };
        match tokio::time::timeout(ANSWER_WITHIN + POLL, whole).await {
            Ok(answered) => answered,
            Err(_) => Err(unreachable_at(route, "no answer in time")),
        }
    }

    /// The answer's head: 2xx, or an error.
    async fn send(
        &self,
        method: Method,
        route: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response> {
        if method != Method::GET && self.locate.read_only() {
            let detail = "this context is for reading only";
            let problem = Problem::new(Code::NotAllowed, detail)
                .hint("another context, or `read_only = false` in this one, allows changes");
            return Err(problem.into());
        }
        let mut tried = 0;
        let (endpoint, response) = loop {
            let endpoint = self.endpoint().await?;
            let url = format!("{}{route}", endpoint.url);
            let mut call = self.http_for(&endpoint)?.request(method.clone(), &url);
            if let Some(token) = &endpoint.token {
                call = call.bearer_auth(token);
            }
            tried += 1;
            match build(call).send().await {
                Ok(response) => break (endpoint, response),
                // Nothing was sent, so another can be asked, whatever it is that is asked.
                Err(error) if error.is_connect() && tried < self.locate.places() => {
                    self.forget_endpoint();
                }
                Err(error) => {
                    if !error.is_connect() && !error.is_builder() {
                        // It took the connection, and was gone before it answered.
                        self.reached.store(true, Ordering::Relaxed);
                    }
                    return Err(not_sent(&endpoint.url, &error, tried));
                }
            }
        };
        self.reached.store(true, Ordering::Relaxed);
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(problem.into()),
            Err(_) => Err(strange(&endpoint.url, format!("it answered {status}"))),
        }
    }

    async fn endpoint(&self) -> Result<Endpoint> {
        let lock = || self.endpoint.lock();
        if let Some(known) = lock().clone() {
            return Ok(known);
        }
        let found = self.locate.endpoint().await?;
        ServerUrl::parse(&found.url).map_err(ClientError::no_server)?;
        *lock() = Some(found.clone());
        Ok(found)
    }

    fn http_for(&self, endpoint: &Endpoint) -> Result<reqwest::Client> {
        if !endpoint.url.starts_with("https:") {
            return Ok(self.http.clone());
        }
        let trust = self.locate.trust();
        let mut https = self.https.lock();
        if let Some((known, client)) = &*https
            && *known == trust
        {
            return Ok(client.clone());
        }
        let near = ServerUrl::parse(&endpoint.url).is_ok_and(|url| url.is_loopback());
        let client = http_client(tls::config(&trust), !near)?;
        *https = Some((trust, client.clone()));
        Ok(client)
    }

    fn forget_endpoint(&self) {
        *self.endpoint.lock() = None;
    }
}

/// `proxied`: by the proxy that `HTTPS_PROXY` names, unless `NO_PROXY` excepts the server.
fn http_client(
    config: std::result::Result<rustls::ClientConfig, String>,
    proxied: bool,
) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(config.map_err(ClientError::no_server)?)
        .connect_timeout(CONNECT_WITHIN)
        // An answer that sends on elsewhere would take the token there.
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .user_agent(concat!("orx/", env!("CARGO_PKG_VERSION")));
    if !proxied {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| ClientError::no_server(chain(&error)))
}

/// How daemons call each other: no proxy stands between them. `None` where none speaks TLS: then
/// nothing of it is set up.
///
/// # Errors
/// The authorities cannot be used.
pub fn daemon_client(trust: Option<&Trust>) -> std::result::Result<reqwest::Client, String> {
    let config = trust.map_or_else(tls::none, tls::config);
    http_client(config, false).map_err(|error| error.to_string())
}

/// Why nothing came of a call.
fn not_sent(url: &str, error: &reqwest::Error, tried: usize) -> ClientError {
    if let Some((cause, hint)) = tls::explain(error) {
        return ClientError::Untrusted { url: url.to_owned(), cause, hint };
    }
    let mut cause = if error.is_timeout() { "no answer in time".to_owned() } else { chain(error) };
    if tried > 1 {
        cause = format!("{cause}; nor any other of {tried} addresses");
    }
    unreachable_at(url, &cause)
}

/// How long the server has been away.
#[derive(Default)]
struct Away {
    since: Option<tokio::time::Instant>,
    pause: Duration,
    tries: u32,
    told: bool,
    /// What the server said last of itself.
    server: Condition,
}

impl Away {
    fn back(&mut self, link: &mut impl FnMut(ConnectionEvent)) {
        if self.told {
            link(ConnectionEvent::Back);
        }
        *self = Self { server: self.server, ..Self::default() };
    }

    fn server_is(
        &mut self,
        client: &Client,
        server: Condition,
        link: &mut impl FnMut(ConnectionEvent),
    ) {
        if self.server == server {
            return;
        }
        self.server = server;
        if server == Condition::Stopping {
            client.locate.server_stops();
        }
        link(ConnectionEvent::Server(server));
    }

    async fn lost(
        &mut self,
        client: &Client,
        error: ClientError,
        link: &mut impl FnMut(ConnectionEvent),
    ) -> Result<()> {
        let answered = client.reached.load(Ordering::Relaxed);
        let reached = answered || client.locate.expects_one();
        let since = *self.since.get_or_insert_with(tokio::time::Instant::now);
        self.tries += 1;
        let (passing, over) = if reached {
            let no_server = matches!(error, ClientError::NoServer { .. });
            // There is a cause where one cannot be started: that does not pass by waiting.
            let hopeless = matches!(error, ClientError::NoServer { cause: Some(_), .. });
            let impatient = hopeless || !answered;
            (error.is_passing() || no_server, impatient && since.elapsed() >= client.patience)
        } else {
            // As with any other call: one that was never there is not waited for.
            (error.is_passing(), self.tries >= TRIES)
        };
        if !passing || over {
            return Err(error);
        }
        if reached && !self.told {
            self.told = true;
            // One that said that it stops is awaited already.
            match error {
                _ if self.server == Condition::Stopping => {}
                ClientError::Problem(problem) => link(ConnectionEvent::Refused(problem.detail)),
                _ => link(ConnectionEvent::Lost),
            }
        }
        // Of the next one nothing is known.
        self.server = Condition::Well;
        client.forget_endpoint();
        self.pause = (self.pause * 2).clamp(PAUSE, PAUSE_MAX);
        tokio::time::sleep(self.pause).await;
        Ok(())
    }
}

fn place(route: &str, part: &str, value: &str) -> String {
    let mut escaped = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    route.replace(part, &escaped)
}

fn unreachable_at(url: &str, cause: &str) -> ClientError {
    ClientError::Unreachable { url: url.to_owned(), cause: cause.to_owned() }
}

fn strange(url: &str, cause: impl ToString) -> ClientError {
    ClientError::Strange { url: url.to_owned(), cause: cause.to_string() }
}

/// The innermost cause says most: `connection refused`.
fn chain(error: &reqwest::Error) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    source.to_string()
}

/// Used by [`lines`].
pub(crate) async fn next_piece(
    stream: &mut (impl futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Unpin),
) -> Option<std::result::Result<bytes::Bytes, String>> {
    stream.next().await.map(|piece| piece.map_err(|error| chain(&error)))
}

/// The lines that fit into one body, one at least, and how many they are.
fn one_body(requests: &[EnqueueRequest]) -> Result<(bytes::Bytes, usize)> {
    let mut body = Vec::new();
    let mut lines = 0;
    for request in requests.iter().take(limits::BATCH_JOBS) {
        let line = serde_json::to_vec(request).map_err(|error| strange("", error))?;
        if lines > 0 && body.len() + line.len() >= BATCH_BYTES {
            break;
        }
        body.extend(line);
        body.push(b'\n');
        lines += 1;
    }
    Ok((body.into(), lines))
}

fn unanswered(line: u64, problem: Problem) -> BatchLine {
    BatchLine { line, id: None, created: None, error: Some(problem) }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers one call after the other with a log that ends too early; what was asked for.
    fn serve(bodies: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let serving = std::thread::spawn(move || {
            let answer = |body: &&str| {
                let (mut stream, _) = listener.accept().expect("a call");
                let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
                let first = lines.next().expect("a line").expect("text");
                for line in lines.map(|line| line.expect("text")) {
                    if line.is_empty() {
                        break;
                    }
                }
                let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
                stream.write_all(format!("{head}{body}").as_bytes()).expect("answered");
                first
            };
            bodies.iter().map(answer).collect()
        });
        (url, serving)
    }

    const LIVE: &str = "{\"live\":{}}\n";
    const ONE: &str = "{\"chunk\":{\"cursor\":\"1:1\",\"attempt\":1,\"stream\":\"out\",\
        \"at\":\"2026-01-01T00:00:00Z\",\"data\":\"one\\n\"}}\n{\"live\":{}}\n";
    const TWO: &str = "{\"chunk\":{\"cursor\":\"1:2\",\"attempt\":1,\"stream\":\"out\",\
        \"at\":\"2026-01-01T00:00:00Z\",\"data\":\"two\\n\"}}\n{\"live\":{}}\n";

    /// Follows until a line is shown; that line, and what was asked for.
    async fn follow(tail: u32, bodies: &'static [&'static str]) -> (String, Vec<String>) {
        let (url, serving) = serve(bodies);
        let locate = Arc::new(Endpoint { url, token: None });
        // Whoever has answered once is awaited, with no patience too.
        let client = Client::new(locate, Duration::ZERO).expect("a client");
        let query = LogsQuery { follow: Some(true), tail: Some(tail), ..LogsQuery::default() };
        let mut shown = String::new();
        let on = |event| match event {
            LogEvent::Chunk(part) => {
                shown = String::from_utf8(part.data).expect("text");
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        };
        client.follow("1", query, on, |_| {}).await.expect("followed");
        (shown, serving.join().expect("served"))
    }

    #[tokio::test]
    async fn what_is_printed_while_the_link_is_lost_is_not_cut_to_the_tail() {
        let (shown, asked) = follow(5, &[LIVE, ONE]).await;
        assert_eq!(shown, "one\n");
        assert!(asked[0].contains("tail=5") && !asked[1].contains("tail"), "{asked:?}");
    }

    #[tokio::test]
    async fn a_tail_of_nothing_is_followed_from_its_place_after_the_link_was_lost() {
        let (shown, asked) = follow(0, &[ONE, TWO]).await;
        assert_eq!(shown, "two\n");
        assert!(asked[1].contains("cursor=1") && !asked[1].contains("tail"), "{asked:?}");
    }
}
