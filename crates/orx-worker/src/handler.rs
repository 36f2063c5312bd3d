//! Handlers that are Rust functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use orx_model::Name;
use orx_model::job::Json;
use orx_model::log::Level;
use orx_model::message::Dispatch;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ctx::{CtxMessage, CtxRequest};

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HandlerError {
    /// The reason, for people.
    pub message: String,
    /// `false`: the job is not retried.
    pub retryable: bool,
}

impl HandlerError {
    /// The attempt failed, and the job is retried as its policy allows.
    pub fn retry(message: impl Into<String>) -> Self {
        Self { message: message.into(), retryable: true }
    }

    /// The attempt failed, and a retry would fail too.
    pub fn no_retry(message: impl Into<String>) -> Self {
        Self { message: message.into(), retryable: false }
    }
}

/// Runs a job type in Rust. Jobs run at least once: a handler may be called again for the same job, in
/// another attempt.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Runs one attempt and returns the result of the job. When `context.cancelled()` resolves it should
    /// end soon; after the worker's kill grace it is dropped at an await.
    ///
    /// # Errors
    /// The attempt failed; see [`HandlerError`].
    async fn run(&self, context: JobContext, args: &Json) -> Result<Option<Json>, HandlerError>;

    /// Whether [`Self::run`] never waits and takes microseconds. The worker then runs it without a task
    /// of its own.
    fn is_instant(&self) -> bool {
        false
    }
}

/// The error text of an attempt whose handler panicked.
pub(crate) const HANDLER_PANICKED: &str = "the handler panicked";

/// Handlers by job type.
pub type Handlers = BTreeMap<Name, Arc<dyn Handler>>;

/// What a handler knows about its attempt, and how it reports progress and log lines.
#[derive(Clone)]
pub struct JobContext {
    /// The job and the attempt, as the coordinator dispatched them.
    pub dispatch: Arc<Dispatch>,
    /// `None` for an instant handler.
    pub(crate) requests: Option<mpsc::Sender<CtxMessage>>,
    pub(crate) stop: CancellationToken,
}

impl JobContext {
    /// Resolves when the attempt should end: cancelled, out of time, or the worker is stopping.
    pub async fn cancelled(&self) {
        self.stop.cancelled().await;
    }

    /// Whether the attempt should end; see [`Self::cancelled`].
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Reports progress. `percent` is clamped to 0 to 100; `text` is for people.
    pub async fn progress(&self, percent: f64, text: Option<String>) {
        self.send(CtxRequest::Progress { percent: percent.clamp(0.0, 100.0), text }).await;
    }

    /// Adds a line to the log of the attempt.
    pub async fn log(&self, level: Level, message: impl Into<String>) {
        self.send(CtxRequest::Log { level, message: message.into() }).await;
    }

    async fn send(&self, request: CtxRequest) {
        if let Some(requests) = &self.requests {
            // Best effort: it fails after the attempt has ended.
            let _ = requests.send(CtxMessage { request, applied: oneshot::channel().0 }).await;
        }
    }
}

/// A handler that succeeds at once. Benchmarks drain its jobs.
pub struct Noop;

/// The job type of [`Noop`].
pub const NOOP: &str = "orx.noop";

#[async_trait]
impl Handler for Noop {
    async fn run(&self, _context: JobContext, _args: &Json) -> Result<Option<Json>, HandlerError> {
        Ok(None)
    }

    fn is_instant(&self) -> bool {
        true
    }
}
