//! The side channel: a running command tells progress, log lines, its result, and how it wants to
//! end, so that its standard output stays its own.
//!
//! A socket in the abstract namespace (it leaves no file behind) and a secret per attempt, both in
//! `ORX_CTX`. One JSON object a line each way: `{"secret":…,"op":"progress","percent":50}` is
//! answered `{"ok":true}` or `{"ok":false,"error":"…"}`. A connection lives as long as the attempt
//! whose secret it gave; it may keep silent for as long as it likes.
//!
//! Every process on the machine can connect, so only those of the worker's own user, and root's, are
//! answered, and only those that know a secret keep their place.

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
pub const VARIABLE: &str = "ORX_CTX";
/// A result, and what stands around it.
const LINE_BYTES: u64 = (limits::RESULT_BYTES * 2 + 16 * 1024) as u64;
/// Connections that have not given a secret yet, all together.
const UNKNOWN_CONNECTIONS: usize = 64;
/// Connections of one attempt.
const ATTEMPT_CONNECTIONS: usize = 64;
/// A secret is given within this; a client waits so long for its answer.
const WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Progress {
        /// 0 to 100.
        percent: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    Log {
        level: Level,
        message: String,
    },
    /// The newest one counts, once the attempt has succeeded.
    Result {
        value: serde_json::Value,
    },
    /// However it exits: due again after this, without using up a retry.
    Snooze {
        for_ms: u64,
    },
    /// However it exits: failed.
    Fail {
        message: String,
        retry: bool,
    },
}

impl Request {
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
struct Line {
    secret: String,
    #[serde(flatten)]
    request: Request,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Answer {
    fn line(&self) -> serde_json::Result<String> {
        Ok(format!("{}\n", serde_json::to_string(self)?))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CtxError {
    #[error("this is not inside a job: `ORX_CTX` is not set")]
    Outside,
    #[error("the worker cannot be reached")]
    Unreachable(#[from] std::io::Error),
    #[error("the worker refused: {0}")]
    Refused(String),
}

/// Tells the worker of the job this process runs in, and waits for its answer. Blocks.
pub fn send(request: Request) -> Result<(), CtxError> {
    request.check().map_err(CtxError::Refused)?;
    let place = std::env::var(VARIABLE).map_err(|_| CtxError::Outside)?;
    let (name, secret) = place.rsplit_once(':').ok_or(CtxError::Outside)?;
    let address = SocketAddr::from_abstract_name(name)?;
    let mut stream = UnixStream::connect_addr(&address)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    let line = Line { secret: secret.to_owned(), request };
    let mut text = serde_json::to_string(&line).map_err(std::io::Error::from)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(64 * 1024)).read_line(&mut answer)?;
    let answer: Answer = serde_json::from_str(&answer).map_err(std::io::Error::from)?;
    if answer.ok {
        Ok(())
    } else {
        Err(CtxError::Refused(answer.error.unwrap_or_else(|| "no reason given".to_owned())))
    }
}

/// A request on its way to its attempt, which says when it has it.
pub(crate) struct CtxMessage {
    pub(crate) request: Request,
    pub(crate) taken: oneshot::Sender<()>,
}

/// The worker's end: one socket for all its attempts.
#[derive(Clone)]
pub(crate) struct Channel {
    name: Arc<str>,
    attempts: Arc<Mutex<HashMap<String, Speaker>>>,
    /// Of the connections without a secret.
    wait: Duration,
}

/// An attempt, as the channel knows it.
#[derive(Clone)]
struct Speaker {
    tell: mpsc::Sender<CtxMessage>,
    places: Arc<Semaphore>,
    ended: CancellationToken,
}

impl Channel {
    /// Listens until every clone's task is dropped with the runtime.
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
        let channel = Self { name: name.into(), attempts: Arc::default(), wait };
        let task = tokio::spawn(channel.clone().serve(listener));
        Ok((channel, task))
    }

    /// The value of [`VARIABLE`] for an attempt, and what it tells.
    pub(crate) fn register(&self, secret: String) -> (String, mpsc::Receiver<CtxMessage>) {
        let (tell, told) = mpsc::channel(16);
        let place = format!("{}:{secret}", self.name);
        let places = Arc::new(Semaphore::new(ATTEMPT_CONNECTIONS));
        self.attempts().insert(secret, Speaker { tell, places, ended: CancellationToken::new() });
        (place, told)
    }

    pub(crate) fn unregister(&self, secret: &str) {
        if let Some(speaker) = self.attempts().remove(secret) {
            speaker.ended.cancel();
        }
    }

    fn attempts(&self) -> parking_lot::MutexGuard<'_, HashMap<String, Speaker>> {
        self.attempts.lock()
    }

    async fn serve(self, listener: UnixListener) {
        let places = Arc::new(Semaphore::new(UNKNOWN_CONNECTIONS));
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Err(error) = is_ours(&stream) {
                        // Whoever it is is not waited for.
                        let refused = Answer { ok: false, error: Some(error) }.line();
                        let _ = refused.map(|line| stream.try_write(line.as_bytes()));
                        continue;
                    }
                    let place = Arc::clone(&places).acquire_owned().await;
                    let Ok(place) = place else { return };
                    let channel = self.clone();
                    tokio::spawn(async move {
                        // A client that has gone waits for nothing.
                        let _ = channel.converse(stream, place).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the side channel takes no connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn converse(
        &self,
        stream: tokio::net::UnixStream,
        place: OwnedSemaphorePermit,
    ) -> std::io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut lines = tokio::io::BufReader::new(read);
        let first = self.first_word(&mut lines, &mut write);
        // Whoever names no attempt loses its place.
        let Ok(first) = tokio::time::timeout(self.wait, first).await else { return Ok(()) };
        let Some((mut line, speaker)) = first? else { return Ok(()) };
        let Ok(_own_place) = Arc::clone(&speaker.places).try_acquire_owned() else {
            let error = format!("an attempt has at most {ATTEMPT_CONNECTIONS} connections at once");
            return answer(&mut write, Err(error)).await;
        };
        drop(place);
        loop {
            answer(&mut write, self.tell(&line).await).await?;
            let next = tokio::select! {
                biased;
                next = next_line(&mut lines) => next?,
                () = speaker.ended.cancelled() => None,
            };
            let Some(next) = next else { return Ok(()) };
            line = next;
        }
    }

    /// The first line with the secret of an attempt.
    async fn first_word(
        &self,
        lines: &mut Lines,
        write: &mut OwnedWriteHalf,
    ) -> std::io::Result<Option<(Vec<u8>, Speaker)>> {
        while let Some(line) = next_line(lines).await? {
            match parse(&line).and_then(|(secret, _)| self.speaker(&secret)) {
                Ok(speaker) => return Ok(Some((line, speaker))),
                Err(error) => answer(write, Err(error)).await?,
            }
        }
        Ok(None)
    }

    fn speaker(&self, secret: &str) -> Result<Speaker, String> {
        let speaker = self.attempts().get(secret).cloned();
        speaker.ok_or_else(|| "no such attempt, or it has ended".to_owned())
    }

    async fn tell(&self, line: &[u8]) -> Result<(), String> {
        let (secret, request) = parse(line)?;
        let request: Request = serde_json::from_value(request).map_err(not_understood)?;
        request.check()?;
        let speaker = self.speaker(&secret)?;
        let (taken, answer) = oneshot::channel();
        let ended = |_| "the attempt has ended".to_owned();
        speaker.tell.send(CtxMessage { request, taken }).await.map_err(|_| ended(()))?;
        answer.await.map_err(|_| ended(()))
    }
}

type Lines = tokio::io::BufReader<OwnedReadHalf>;

/// `None` at the end.
async fn next_line(lines: &mut Lines) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = lines.take(LINE_BYTES).read_until(b'\n', &mut line).await?;
    if read as u64 == LINE_BYTES && line.last() != Some(&b'\n') {
        return Err(ErrorKind::InvalidData.into());
    }
    Ok((read > 0).then_some(line))
}

/// The secret of a line, and what it asks for.
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

/// A client that does not read is not waited for.
async fn answer(write: &mut OwnedWriteHalf, told: Result<(), String>) -> std::io::Result<()> {
    let text = Answer { ok: told.is_ok(), error: told.err() }.line()?;
    let written = tokio::time::timeout(WAIT, write.write_all(text.as_bytes())).await;
    written.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

/// Whether it is of the worker's own user, or root's.
fn is_ours(stream: &tokio::net::UnixStream) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred().map(|peer| peer.uid()) {
        Ok(uid) if uid == own || uid == 0 => Ok(()),
        Ok(uid) => {
            Err(format!("only processes of user {own} may speak here, this one is of {uid}"))
        }
        Err(error) => Err(format!("whose process this is cannot be told: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Client = (tokio::io::Lines<tokio::io::BufReader<OwnedReadHalf>>, OwnedWriteHalf);

    fn connect(place: &str) -> Client {
        let (name, _) = place.rsplit_once(':').expect("a place");
        let address = SocketAddr::from_abstract_name(name).expect("an address");
        let stream = UnixStream::connect_addr(&address).expect("a channel");
        stream.set_nonblocking(true).expect("set");
        let stream = tokio::net::UnixStream::from_std(stream).expect("a stream");
        let (read, write) = stream.into_split();
        (tokio::io::BufReader::new(read).lines(), write)
    }

    /// Answers what the worker does; `None` where it hangs up.
    async fn say(client: &mut Client, place: &str) -> Option<Answer> {
        let (_, secret) = place.rsplit_once(':').expect("a place");
        let line = format!("{{\"secret\":\"{secret}\",\"op\":\"progress\",\"percent\":1}}\n");
        client.1.write_all(line.as_bytes()).await.ok()?;
        let answer = client.0.next_line().await.ok()??;
        Some(serde_json::from_str(&answer).expect("an answer"))
    }

    fn hear(mut told: mpsc::Receiver<CtxMessage>) {
        tokio::spawn(async move {
            while let Some(told) = told.recv().await {
                let _ = told.taken.send(());
            }
        });
    }

    fn open(name: &str, wait: Duration) -> Channel {
        let name = format!("orx-test-{name}-{}", std::process::id());
        Channel::open_with(name, wait).expect("a channel").0
    }

    #[tokio::test]
    async fn a_connection_that_speaks_outlives_one_that_never_did_and_ends_with_its_attempt() {
        let channel = open("life", Duration::from_millis(100));
        let (place, told) = channel.register("one".to_owned());
        hear(told);
        let (mut speaks, mut silent) = (connect(&place), connect(&place));
        assert!(say(&mut speaks, &place).await.is_some_and(|answer| answer.ok));
        assert_eq!(silent.0.next_line().await.expect("an end"), None, "it never spoke");
        assert!(say(&mut speaks, &place).await.is_some_and(|answer| answer.ok), "it lives on");
        channel.unregister("one");
        assert_eq!(speaks.0.next_line().await.expect("an end"), None, "its attempt has ended");
    }

    #[tokio::test]
    async fn silent_connections_of_one_attempt_keep_no_other_attempt_from_speaking() {
        let channel = open("places", Duration::from_secs(60));
        let (hostile, told) = channel.register("hostile".to_owned());
        hear(told);
        let (other, told) = channel.register("other".to_owned());
        hear(told);
        let mut held = Vec::new();
        for _ in 0..ATTEMPT_CONNECTIONS.max(UNKNOWN_CONNECTIONS) {
            let mut client = connect(&hostile);
            assert!(say(&mut client, &hostile).await.is_some_and(|answer| answer.ok));
            held.push(client);
        }
        let refused = say(&mut connect(&hostile), &hostile).await.expect("an answer");
        assert!(refused.error.is_some_and(|error| error.contains("connections at once")));
        assert!(say(&mut connect(&other), &other).await.is_some_and(|answer| answer.ok));
    }
}
