//! HTTP over the operations of `orx-control`: routes, tokens, problem documents, OpenAPI, metrics;
//! and under it the connections, their TLS, and what strangers may take of them.
//!
//! Depends on `orx-control`, `orx-model` and the traits of `orx-transport`. Decides nothing: each handler turns a request into one
//! call and its answer into JSON. Every refusal, panics included, is a problem document.

mod document;
mod extract;
mod gateway;
mod idle;
mod limits;
mod metrics;
mod middleware;
mod peers;
mod routes;
mod schedule_routes;
mod serve;
mod slow;
mod tls;
mod token_expiry;
mod token_routes;
mod unread;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use orx_control::ControlPanel;
use orx_model::{Code, Problem, Timestamp};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub use gateway::WorkerGatewayState;
pub use limits::Limits;
pub use routes::openapi_json;
pub use serve::{Serving, serve};
pub use tls::{Tls, TlsError};

/// Whether anybody asks for anything. For a server that ends when nobody does.
pub struct RequestTracker {
    open: AtomicUsize,
    /// When the newest request came, or ended: milliseconds after `made`.
    last_ms: AtomicU64,
    made: Instant,
}

impl Default for RequestTracker {
    fn default() -> Self {
        Self { open: AtomicUsize::new(0), last_ms: AtomicU64::new(0), made: Instant::now() }
    }
}

impl RequestTracker {
    fn begin(self: &Arc<Self>) -> InFlightGuard {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.stir();
        InFlightGuard { tracker: Arc::clone(self) }
    }

    fn stir(&self) {
        let now = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.fetch_max(now, Ordering::AcqRel);
    }

    /// Requests that are being answered.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// For how long there has been no request, on the monotonic clock; nothing while one is being
    /// answered.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        if self.open() > 0 {
            return Duration::ZERO;
        }
        let last = Duration::from_millis(self.last_ms.load(Ordering::Acquire));
        self.made.elapsed().saturating_sub(last)
    }
}

/// A request that is being answered; streams hold it to their end.
struct InFlightGuard {
    tracker: Arc<RequestTracker>,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        // Before it counts as gone: nobody sees no request, and a quiet time from before this one.
        self.tracker.stir();
        self.tracker.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the API needs beside the operations.
#[derive(Clone)]
pub struct ApiSettings {
    /// Host names, without port, by which requests may call this server beside loopback's.
    pub hosts: Vec<String>,
    pub tracker: Arc<RequestTracker>,
    /// How workers and nodes in other processes are reached; `None` to take none.
    pub worker_gateway: Option<WorkerGatewayState>,
    /// Cancelled when the server ends: its streams end then.
    pub closing: CancellationToken,
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

#[derive(Clone)]
struct App {
    panel: ControlPanel,
    settings: ApiSettings,
    metrics: Arc<metrics::Metrics>,
    guard: Arc<Guard>,
}

/// What holds strangers off.
struct Guard {
    limits: Limits,
    failures: peers::Failures,
    /// Tokens from addresses that have shown too many wrong ones, looked up at once.
    look_ups: tokio::sync::Semaphore,
    watchers: Arc<tokio::sync::Semaphore>,
    ready: Ready,
}

/// Whether the store takes writes, for callers who show no token. To find out may take a read, so
/// strangers share one: one at a time, and none where one has just succeeded.
struct Ready {
    asking: tokio::sync::Semaphore,
    since: Mutex<Option<tokio::time::Instant>>,
}

impl Ready {
    const HOLDS: Duration = Duration::from_secs(1);

    fn is_fresh(&self) -> bool {
        let since = self.since.lock();
        since.is_some_and(|since| since.elapsed() < Self::HOLDS)
    }

    async fn check(&self, panel: &ControlPanel) -> Result<(), Problem> {
        if self.is_fresh() {
            return Ok(());
        }
        let _one = self.asking.acquire().await.ok();
        if self.is_fresh() {
            return Ok(());
        }
        let asked = panel.ready().await;
        let since = asked.is_ok().then(tokio::time::Instant::now);
        *self.since.lock() = since;
        asked
    }
}

impl Guard {
    fn new(limits: Limits) -> Arc<Self> {
        let watchers = Arc::new(tokio::sync::Semaphore::new(limits.watchers));
        let ready = Ready { asking: tokio::sync::Semaphore::new(1), since: Mutex::new(None) };
        let (failures, look_ups) = (peers::Failures::default(), tokio::sync::Semaphore::new(4));
        Arc::new(Self { limits, failures, look_ups, watchers, ready })
    }

    /// A place for a request that stays: a long poll or a stream.
    fn watch(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.watchers).try_acquire_owned().map_err(|_| {
            let most = self.limits.watchers;
            let detail = format!("{most} requests wait or follow already, which is the most");
            Problem::new(Code::Unavailable, detail).hint("ask again later")
        })
    }
}

/// All routes, ready to be served.
pub fn router(panel: ControlPanel, settings: ApiSettings) -> axum::Router {
    router_with(panel, settings, Limits::default())
}

/// All routes, with limits of their own.
pub fn router_with(panel: ControlPanel, settings: ApiSettings, limits: Limits) -> axum::Router {
    let app = App { panel, settings, metrics: Arc::default(), guard: Guard::new(limits) };
    routes::router(app)
}
