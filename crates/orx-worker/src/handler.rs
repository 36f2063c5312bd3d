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

use crate::ctx::{CtxMessage, Request};

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HandlerError {
    pub message: String,
    /// `false`: another try is useless.
    pub retryable: bool,
}

impl HandlerError {
    pub fn retry(message: impl Into<String>) -> Self {
        Self { message: message.into(), retryable: true }
    }

    pub fn give_up(message: impl Into<String>) -> Self {
        Self { message: message.into(), retryable: false }
    }
}

/// A job type in Rust. At least once: it may run again for the same job, as another attempt.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Runs one attempt; the value is the job's result. When `context.cancelled()` resolves it
    /// should end soon; after the worker's grace it is dropped at an await.
    async fn run(&self, context: JobContext, args: &Json) -> Result<Option<Json>, HandlerError>;

    /// It never waits and takes microseconds: it is run without a task of its own.
    fn is_instant(&self) -> bool {
        false
    }
}

/// Why an attempt failed whose handler panicked.
pub(crate) const HANDLER_PANICKED: &str = "the handler panicked";

/// Handlers by job type.
pub type Handlers = BTreeMap<Name, Arc<dyn Handler>>;

/// What a handler knows and can tell of the attempt it runs.
#[derive(Clone)]
pub struct JobContext {
    pub dispatch: Arc<Dispatch>,
    pub(crate) tell: Option<mpsc::Sender<CtxMessage>>,
    pub(crate) stop: CancellationToken,
}

impl JobContext {
    /// Resolves when the attempt should end: cancelled, out of time, or the worker is stopping.
    pub async fn cancelled(&self) {
        self.stop.cancelled().await;
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// `percent` is 0 to 100.
    pub async fn progress(&self, percent: f64, text: Option<String>) {
        self.tell(Request::Progress { percent: percent.clamp(0.0, 100.0), text }).await;
    }

    pub async fn log(&self, level: Level, message: impl Into<String>) {
        self.tell(Request::Log { level, message: message.into() }).await;
    }

    async fn tell(&self, request: Request) {
        if let Some(tell) = &self.tell {
            // Best effort: an attempt that has ended takes no more of it.
            let _ = tell.send(CtxMessage { request, taken: oneshot::channel().0 }).await;
        }
    }
}

/// Succeeds at once: what benches drain.
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
