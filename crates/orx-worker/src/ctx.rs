//! The side channel: a running command tells progress, log lines, its result, and how it wants to
//! end, so that its standard output stays its own.
//!
//! A socket in the abstract namespace (it leaves no file behind) and a secret per attempt, both in
//! `ORX_CTX`. One JSON object a line each way: `{"secret":…,"op":"progress","percent":50}` is
//! answered `{"ok":true}` or `{"ok":false,"error":"…"}`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orx_model::limits;
use orx_model::log::Level;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// The variable that names the channel: `NAME:SECRET`.
pub const VARIABLE: &str = "ORX_CTX";
/// A result, and what stands around it.
const LINE_BYTES: u64 = (limits::RESULT_BYTES * 2 + 16 * 1024) as u64;
const CONNECTIONS: usize = 64;
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
                let bytes = serde_json::to_string(value).map_or(0, |text| text.len());
                if bytes > limits::RESULT_BYTES {
                    let most = limits::RESULT_BYTES;
                    return Err(format!("a result is at most {most} bytes, found {bytes}"));
                }
                Ok(())
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
pub(crate) struct Told {
    pub(crate) request: Request,
    pub(crate) taken: oneshot::Sender<()>,
}

/// The worker's end: one socket for all its attempts.
#[derive(Clone)]
pub(crate) struct Channel {
    name: Arc<str>,
    attempts: Arc<Mutex<HashMap<String, mpsc::Sender<Told>>>>,
}

impl Channel {
    /// Listens until every clone's task is dropped with the runtime.
    pub(crate) fn open(name: String) -> std::io::Result<(Self, tokio::task::JoinHandle<()>)> {
        let address = SocketAddr::from_abstract_name(&name)?;
        let listener = std::os::unix::net::UnixListener::bind_addr(&address)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let channel = Self { name: name.into(), attempts: Arc::default() };
        let task = tokio::spawn(channel.clone().serve(listener));
        Ok((channel, task))
    }

    /// The value of [`VARIABLE`] for an attempt, and what it tells.
    pub(crate) fn register(&self, secret: String) -> (String, mpsc::Receiver<Told>) {
        let (tell, told) = mpsc::channel(16);
        let place = format!("{}:{secret}", self.name);
        self.attempts().insert(secret, tell);
        (place, told)
    }

    pub(crate) fn unregister(&self, secret: &str) {
        self.attempts().remove(secret);
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<Told>>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self, listener: UnixListener) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let channel = self.clone();
                    tokio::spawn(async move {
                        // Whoever says nothing loses its place.
                        let _ = tokio::time::timeout(WAIT, channel.converse(stream)).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the side channel takes no connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn converse(&self, stream: tokio::net::UnixStream) -> std::io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut lines = tokio::io::BufReader::new(read.take(LINE_BYTES * 4));
        loop {
            let mut line = Vec::new();
            let read = (&mut lines).take(LINE_BYTES).read_until(b'\n', &mut line).await?;
            if read == 0 {
                return Ok(());
            }
            let answer = match self.tell(&line).await {
                Ok(()) => Answer { ok: true, error: None },
                Err(error) => Answer { ok: false, error: Some(error) },
            };
            let mut text = serde_json::to_string(&answer)?;
            text.push('\n');
            write.write_all(text.as_bytes()).await?;
        }
    }

    async fn tell(&self, line: &[u8]) -> Result<(), String> {
        let line: Line =
            serde_json::from_slice(line).map_err(|error| format!("not understood: {error}"))?;
        line.request.check()?;
        let attempt = self.attempts().get(&line.secret).cloned();
        let attempt = attempt.ok_or_else(|| "no such attempt, or it has ended".to_owned())?;
        let (taken, answer) = oneshot::channel();
        let ended = |_| "the attempt has ended".to_owned();
        attempt.send(Told { request: line.request, taken }).await.map_err(|_| ended(()))?;
        answer.await.map_err(|_| ended(()))
    }
}
