//! The side channel: a running command sends its progress, log lines, result, and how it wants to end.
//! Its standard output stays its own.
//!
//! It is a socket in the abstract namespace (which leaves no file behind) and a secret per attempt, both
//! in `ORX_CTX`. Each side sends one JSON object a line: the request
//! `{"secret":…,"op":"progress","percent":50}` is answered `{"ok":true}` or `{"ok":false,"error":"…"}`.
//! A connection with a valid secret may be idle without limit; it closes when its attempt ends.
//!
//! Every process on the machine can connect. The server answers only processes of the worker's own user
//! and of root, and closes connections that present no valid secret in time.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use orx_model::limits;
use orx_model::log::Level;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// The variable that names the channel: `NAME:SECRET`.
pub(crate) const VARIABLE: &str = "ORX_CTX";
/// Most bytes in one line: a result, escaped, and the fields around it.
const LINE_BYTES: u64 = (limits::RESULT_BYTES * 2 + 16 * 1024) as u64;
/// Most connections that have not presented a valid secret yet, in total.
const UNKNOWN_CONNECTIONS: usize = 64;
/// Most connections of one attempt.
const ATTEMPT_CONNECTIONS: usize = 64;
/// How long the server waits for a secret, and a client for its answer.
const WAIT: Duration = Duration::from_secs(10);

/// What a command sends to its attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum CtxRequest {
    /// Replaces the progress of the attempt.
    Progress {
        /// 0 to 100.
        percent: f64,
        /// What the command does now, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Adds a structured line to the log of the attempt.
    Log {
        /// The severity.
        level: Level,
        /// The text.
        message: String,
    },
    /// Sets the result of the job. It counts if the attempt succeeds; a later one replaces it.
    Result {
        /// At most [`limits::RESULT_BYTES`] as JSON.
        value: serde_json::Value,
    },
    /// Finishes the attempt as snoozed, whatever its exit code: the job is due again without a retry being
    /// used up.
    Snooze {
        /// Milliseconds from the end of the attempt until the job is due; at most ten years.
        for_ms: u64,
    },
    /// Finishes the attempt as failed, whatever its exit code.
    Fail {
        /// Why, for people.
        message: String,
        /// Whether the job may be retried.
        retry: bool,
    },
}

impl CtxRequest {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Progress { percent, .. } if !(0.0..=100.0).contains(percent) => {
                Err(format!("percent must be 0 to 100, found {percent}"))
            }
            Self::Result { value } => {
                orx_model::json::check(&value.to_string(), limits::RESULT_BYTES)
                    .map_err(|unfit| format!("the result: {unfit}"))
            }
            Self::Snooze { for_ms } if Duration::from_millis(*for_ms) > limits::DELAY_MAX => {
                Err("a snooze is at most ten years".to_owned())
            }
            Self::Progress { .. } | Self::Log { .. } | Self::Snooze { .. } | Self::Fail { .. } => {
                Ok(())
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct CtxLine {
    secret: String,
    #[serde(flatten)]
    request: CtxRequest,
}

#[derive(Serialize, Deserialize)]
struct CtxAnswer {
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl CtxAnswer {
    fn line(&self) -> serde_json::Result<String> {
        Ok(format!("{}\n", serde_json::to_string(self)?))
    }
}

/// Why a request was not applied.
#[derive(Debug, thiserror::Error)]
pub enum CtxError {
    /// This process does not run in a job.
    #[error("this is not inside a job: `ORX_CTX` is not set")]
    Outside,
    /// The connection to the worker failed.
    #[error("the worker cannot be reached")]
    Unreachable(#[from] std::io::Error),
    /// The worker rejected the request. Holds the reason.
    #[error("the worker refused: {0}")]
    Refused(String),
}

/// Sends a request to the worker that runs this process, and waits until it is applied. Blocks.
///
/// # Errors
/// Any [`CtxError`].
pub fn send(request: CtxRequest) -> Result<(), CtxError> {
    request.check().map_err(CtxError::Refused)?;
    let address = std::env::var(VARIABLE).map_err(|_| CtxError::Outside)?;
    let (name, secret) = address.rsplit_once(':').ok_or(CtxError::Outside)?;
    let address = SocketAddr::from_abstract_name(name)?;
    let mut stream = UnixStream::connect_addr(&address)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    let line = CtxLine { secret: secret.to_owned(), request };
    let mut text = serde_json::to_string(&line).map_err(std::io::Error::from)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(64 * 1024)).read_line(&mut answer)?;
    let answer: CtxAnswer = serde_json::from_str(&answer).map_err(std::io::Error::from)?;
    if answer.ok {
        Ok(())
    } else {
        Err(CtxError::Refused(answer.error.unwrap_or_else(|| "no reason given".to_owned())))
    }
}

/// A request for an attempt, which confirms it once it is applied.
pub(crate) struct CtxMessage {
    pub(crate) request: CtxRequest,
    pub(crate) applied: oneshot::Sender<()>,
}

/// The worker's end: one socket for all its attempts.
#[derive(Clone)]
pub(crate) struct CtxServer {
    name: Arc<str>,
    /// By secret.
    attempts: Arc<Mutex<HashMap<String, AttemptEntry>>>,
    /// How long a connection may take to present a secret.
    wait: Duration,
}

/// A registered attempt.
#[derive(Clone)]
struct AttemptEntry {
    requests: mpsc::Sender<CtxMessage>,
    /// One permit a connection.
    free_connections: Arc<Semaphore>,
    ended: CancellationToken,
}

impl CtxServer {
    /// Listens until the returned task is aborted.
    pub(crate) fn open(name: String) -> std::io::Result<(Self, tokio::task::JoinHandle<()>)> {
        Self::open_with(name, WAIT)
    }

    fn open_with(
        name: String,
        wait: Duration,
    ) -> std::io::Result<(Self, tokio::task::JoinHandle<()>)> {
        let address = SocketAddr::from_abstract_name(&name)?;
        let listener = std::os::unix::net::UnixListener::bind_addr(&address)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let server = Self { name: name.into(), attempts: Arc::default(), wait };
        let task = tokio::spawn(server.clone().serve(listener));
        Ok((server, task))
    }

    /// Registers an attempt. Returns its value of [`VARIABLE`] and its requests.
    pub(crate) fn register(&self, secret: String) -> (String, mpsc::Receiver<CtxMessage>) {
        let (requests_to, requests) = mpsc::channel(16);
        let address = format!("{}:{secret}", self.name);
        let entry = AttemptEntry {
            requests: requests_to,
            free_connections: Arc::new(Semaphore::new(ATTEMPT_CONNECTIONS)),
            ended: CancellationToken::new(),
        };
        self.attempts.lock().insert(secret, entry);
        (address, requests)
    }

    pub(crate) fn unregister(&self, secret: &str) {
        if let Some(attempt) = self.attempts.lock().remove(secret) {
            attempt.ended.cancel();
        }
    }

    async fn serve(self, listener: UnixListener) {
        let free_connections = Arc::new(Semaphore::new(UNKNOWN_CONNECTIONS));
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Err(error) = check_peer(&stream) {
                        // Without waiting for a foreign process.
                        let refused = CtxAnswer { ok: false, error: Some(error) }.line();
                        let _ = refused.map(|line| stream.try_write(line.as_bytes()));
                        continue;
                    }
                    let permit = Arc::clone(&free_connections).acquire_owned().await;
                    let Ok(permit) = permit else { return };
                    let server = self.clone();
                    tokio::spawn(async move {
                        // An error means that the client has disconnected.
                        let _ = server.serve_connection(stream, permit).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the side channel cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve_connection(
        &self,
        stream: tokio::net::UnixStream,
        unknown: OwnedSemaphorePermit,
    ) -> std::io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut lines = tokio::io::BufReader::new(read);
        let first = self.authenticate(&mut lines, &mut write);
        let Ok(first) = tokio::time::timeout(self.wait, first).await else { return Ok(()) };
        let Some((mut line, attempt)) = first? else { return Ok(()) };
        let Ok(_known) = Arc::clone(&attempt.free_connections).try_acquire_owned() else {
            let error = format!("an attempt has at most {ATTEMPT_CONNECTIONS} connections at once");
            return answer(&mut write, Err(error)).await;
        };
        drop(unknown);
        loop {
            answer(&mut write, self.handle(&line).await).await?;
            let next = tokio::select! {
                biased;
                next = next_line(&mut lines) => next?,
                () = attempt.ended.cancelled() => None,
            };
            let Some(next) = next else { return Ok(()) };
            line = next;
        }
    }

    /// Reads up to the first line with a valid secret. Returns that line and its attempt.
    async fn authenticate(
        &self,
        lines: &mut CtxLines,
        write: &mut OwnedWriteHalf,
    ) -> std::io::Result<Option<(Vec<u8>, AttemptEntry)>> {
        while let Some(line) = next_line(lines).await? {
            match parse(&line).and_then(|(secret, _)| self.attempt(&secret)) {
                Ok(attempt) => return Ok(Some((line, attempt))),
                Err(error) => answer(write, Err(error)).await?,
            }
        }
        Ok(None)
    }

    fn attempt(&self, secret: &str) -> Result<AttemptEntry, String> {
        let attempt = self.attempts.lock().get(secret).cloned();
        attempt.ok_or_else(|| "no such attempt, or it has ended".to_owned())
    }

    async fn handle(&self, line: &[u8]) -> Result<(), String> {
        let (secret, request) = parse(line)?;
        let request: CtxRequest = serde_json::from_value(request).map_err(not_understood)?;
        request.check()?;
        let attempt = self.attempt(&secret)?;
        let (applied, confirmed) = oneshot::channel();
        let ended = |_| "the attempt has ended".to_owned();
        attempt.requests.send(CtxMessage { request, applied }).await.map_err(|_| ended(()))?;
        confirmed.await.map_err(|_| ended(()))
    }
}

type CtxLines = tokio::io::BufReader<OwnedReadHalf>;

/// `None` at the end.
async fn next_line(lines: &mut CtxLines) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = lines.take(LINE_BYTES).read_until(b'\n', &mut line).await?;
    if read as u64 == LINE_BYTES && line.last() != Some(&b'\n') {
        return Err(ErrorKind::InvalidData.into());
    }
    Ok((read > 0).then_some(line))
}

/// Separates the secret of a line from its request.
fn parse(line: &[u8]) -> Result<(String, Value), String> {
    let mut value: Value = serde_json::from_slice(line).map_err(not_understood)?;
    match value.as_object_mut().and_then(|object| object.remove("secret")) {
        Some(Value::String(secret)) => Ok((secret, value)),
        _ => Err("not understood: `secret` is missing".to_owned()),
    }
}

fn not_understood(error: serde_json::Error) -> String {
    format!("not understood: {error}")
}

/// Fails if the client does not read the answer in time.
async fn answer(write: &mut OwnedWriteHalf, handled: Result<(), String>) -> std::io::Result<()> {
    let text = CtxAnswer { ok: handled.is_ok(), error: handled.err() }.line()?;
    let written = tokio::time::timeout(WAIT, write.write_all(text.as_bytes())).await;
    written.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

/// Fails unless the peer is a process of the worker's own user or of root.
fn check_peer(stream: &tokio::net::UnixStream) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred().map(|peer| peer.uid()) {
        Ok(uid) if uid == own || uid == 0 => Ok(()),
        Ok(uid) => Err(format!("only processes of user {own} may connect, not those of {uid}")),
        Err(error) => Err(format!("the user of the connecting process is unknown: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type CtxClient = (tokio::io::Lines<tokio::io::BufReader<OwnedReadHalf>>, OwnedWriteHalf);

    fn connect(ctx_address: &str) -> CtxClient {
        let (name, _) = ctx_address.rsplit_once(':').expect("an address");
        let address = SocketAddr::from_abstract_name(name).expect("an address");
        let stream = UnixStream::connect_addr(&address).expect("a channel");
        stream.set_nonblocking(true).expect("set");
        let stream = tokio::net::UnixStream::from_std(stream).expect("a stream");
        let (read, write) = stream.into_split();
        (tokio::io::BufReader::new(read).lines(), write)
    }

    /// `None` if the server closes the connection.
    async fn request(client: &mut CtxClient, ctx_address: &str) -> Option<CtxAnswer> {
        let (_, secret) = ctx_address.rsplit_once(':').expect("an address");
        let line = format!("{{\"secret\":\"{secret}\",\"op\":\"progress\",\"percent\":1}}\n");
        client.1.write_all(line.as_bytes()).await.ok()?;
        let answer = client.0.next_line().await.ok()??;
        Some(serde_json::from_str(&answer).expect("an answer"))
    }

    fn confirm_all(mut requests: mpsc::Receiver<CtxMessage>) {
        tokio::spawn(async move {
            while let Some(message) = requests.recv().await {
                let _ = message.applied.send(());
            }
        });
    }

    fn open(name: &str, wait: Duration) -> CtxServer {
        let name = format!("orx-test-{name}-{}", std::process::id());
        CtxServer::open_with(name, wait).expect("a server").0
    }

    #[tokio::test]
    async fn a_connection_with_a_secret_outlives_one_without_and_ends_with_its_attempt() {
        let server = open("life", Duration::from_millis(100));
        let (address, requests) = server.register("one".to_owned());
        confirm_all(requests);
        let (mut known, mut silent) = (connect(&address), connect(&address));
        assert!(request(&mut known, &address).await.is_some_and(|answer| answer.ok));
        assert_eq!(silent.0.next_line().await.expect("an end"), None, "it presented no secret");
        assert!(request(&mut known, &address).await.is_some_and(|answer| answer.ok), "still open");
        server.unregister("one");
        assert_eq!(known.0.next_line().await.expect("an end"), None, "its attempt has ended");
    }

    #[tokio::test]
    async fn idle_connections_of_one_attempt_do_not_block_another_attempt() {
        let server = open("connections", Duration::from_secs(60));
        let (hostile, requests) = server.register("hostile".to_owned());
        confirm_all(requests);
        let (other, requests) = server.register("other".to_owned());
        confirm_all(requests);
        let mut held = Vec::new();
        for _ in 0..ATTEMPT_CONNECTIONS.max(UNKNOWN_CONNECTIONS) {
            let mut client = connect(&hostile);
            assert!(request(&mut client, &hostile).await.is_some_and(|answer| answer.ok));
            held.push(client);
        }
        let refused = request(&mut connect(&hostile), &hostile).await.expect("an answer");
        assert!(refused.error.is_some_and(|error| error.contains("connections at once")));
        assert!(request(&mut connect(&other), &other).await.is_some_and(|answer| answer.ok));
    }
}
