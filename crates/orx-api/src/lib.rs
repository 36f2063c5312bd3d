//! The HTTP API over the operations of `orx-control`: routes, tokens, problem documents, OpenAPI and
//! metrics; and the server below it: connections, TLS and limits.
//!
//! Depends on `orx-control`, `orx-model` and the traits of `orx-transport`. It must not know stores, and
//! it decides nothing: each handler turns a request into one call and its result into JSON. Every
//! failure, a panic included, is answered with a problem document.

mod audit_routes;
mod cause_routes;
mod cluster_routes;
mod document;
mod extract;
mod gateway;
mod idle_connections;
mod limits;
mod live_routes;
mod metrics;
mod middleware;
mod operation_routes;
mod peers;
mod queue_routes;
mod request_body;
mod routes;
mod schedule_routes;
mod serve;
mod server_routes;
mod tls;
mod token_expiry;
mod token_routes;
mod write_timeout;

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

/// Counts the requests in flight, and measures for how long there was none. A server with
/// `--exit-when-idle` ends by it.
pub struct RequestTracker {
    open: AtomicUsize,
    /// When a request began or ended last: milliseconds after `created`.
    last_ms: AtomicU64,
    created: Instant,
}

impl Default for RequestTracker {
    fn default() -> Self {
        Self { open: AtomicUsize::new(0), last_ms: AtomicU64::new(0), created: Instant::now() }
    }
}

impl RequestTracker {
    fn begin(self: &Arc<Self>) -> InFlightGuard {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.touch();
        InFlightGuard { tracker: Arc::clone(self) }
    }

    fn touch(&self) {
        let now = u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.fetch_max(now, Ordering::AcqRel);
    }

    /// How many requests are in flight.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// For how long there has been no request, on the monotonic clock; zero while one is in flight.
    #[must_use]
    pub fn idle(&self) -> Duration {
        if self.open() > 0 {
            return Duration::ZERO;
        }
        let last = Duration::from_millis(self.last_ms.load(Ordering::Acquire));
        self.created.elapsed().saturating_sub(last)
    }
}

/// One request in flight. A streamed answer holds it to the end.
struct InFlightGuard {
    tracker: Arc<RequestTracker>,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        // In this order, so that `idle` never returns a time from before this request.
        self.tracker.touch();
        self.tracker.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the API needs in addition to the operations.
#[derive(Clone)]
pub struct ApiSettings {
    /// Host names, without port, that a request may have in `Host`, in addition to those of loopback.
    pub hosts: Vec<String>,
    /// Counts the requests.
    pub tracker: Arc<RequestTracker>,
    /// Serves workers and nodes in other processes; `None` to reject them.
    pub worker_gateway: Option<WorkerGatewayState>,
    /// Cancelled when the server ends: its streams end then.
    pub closing: CancellationToken,
    /// Reads the wall clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

#[derive(Clone)]
struct App {
    panel: ControlPanel,
    settings: ApiSettings,
    metrics: Arc<metrics::Metrics>,
    access: Arc<AccessControl>,
}

/// Bounds what callers may use of the server.
struct AccessControl {
    limits: Limits,
    failures: peers::TokenFailures,
    /// Bounds the concurrent token look-ups of addresses that have sent too many wrong tokens.
    token_lookups: tokio::sync::Semaphore,
    watchers: Arc<tokio::sync::Semaphore>,
    store_check: StoreCheck,
}

/// Whether the store accepts writes, for callers without a token. A check may read the store, so these
/// callers share one at a time, and its success holds for a while.
struct StoreCheck {
    running: tokio::sync::Semaphore,
    /// When it succeeded last.
    succeeded: Mutex<Option<tokio::time::Instant>>,
}

impl StoreCheck {
    const VALID: Duration = Duration::from_secs(1);

    fn is_fresh(&self) -> bool {
        let succeeded = self.succeeded.lock();
        succeeded.is_some_and(|at| at.elapsed() < Self::VALID)
    }

    async fn check(&self, panel: &ControlPanel) -> Result<(), Problem> {
        if self.is_fresh() {
            return Ok(());
        }
        let _one = self.running.acquire().await.ok();
        if self.is_fresh() {
            return Ok(());
        }
        let checked = panel.check_store().await;
        let succeeded = checked.is_ok().then(tokio::time::Instant::now);
        *self.succeeded.lock() = succeeded;
        checked
    }
}

impl AccessControl {
    fn new(limits: Limits) -> Arc<Self> {
        let watchers = Arc::new(tokio::sync::Semaphore::new(limits.watchers));
        let running = tokio::sync::Semaphore::new(1);
        let store_check = StoreCheck { running, succeeded: Mutex::new(None) };
        let token_lookups = tokio::sync::Semaphore::new(4);
        let failures = peers::TokenFailures::default();
        Arc::new(Self { limits, failures, token_lookups, watchers, store_check })
    }

    /// Admits a long poll or a stream, which holds the permit to its end.
    fn admit_watcher(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.watchers).try_acquire_owned().map_err(|_| {
            let most = self.limits.watchers;
            let detail = format!("{most} requests wait or follow already, which is the limit");
            Problem::new(Code::Unavailable, detail).hint("try again later")
        })
    }
}

/// All routes, with the default limits.
pub fn router(panel: ControlPanel, settings: ApiSettings) -> axum::Router {
    router_with(panel, settings, Limits::default())
}

/// All routes.
pub fn router_with(panel: ControlPanel, settings: ApiSettings, limits: Limits) -> axum::Router {
    let app = App { panel, settings, metrics: Arc::default(), access: AccessControl::new(limits) };
    routes::router(app)
}
