//! HTTP over the operations of `orx-control`: routes, tokens, problem documents, OpenAPI, metrics.
//!
//! Depends on `orx-control` and `orx-model`. Decides nothing: each handler turns a request into one
//! call and its answer into JSON. Every refusal, panics included, is a problem document.

mod ends;
mod extract;
mod gate;
mod metrics;
mod routes;
mod serve;
mod token_routes;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use orx_control::ControlPanel;
use orx_model::Timestamp;

pub use routes::openapi_json;
pub use serve::serve;

/// Whether anybody asks for anything. For a server that ends when nobody does.
#[derive(Default)]
pub struct Activity {
    open: AtomicUsize,
    last: AtomicI64,
}

impl Activity {
    fn begin(self: &Arc<Self>, now: Timestamp) -> Busy {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.last.fetch_max(now.as_millis(), Ordering::AcqRel);
        Busy { activity: Arc::clone(self) }
    }

    /// Requests that are being answered.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// When the newest request came.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        Timestamp::from_millis(self.last.load(Ordering::Acquire))
    }
}

/// A request that is being answered; streams hold it to their end.
struct Busy {
    activity: Arc<Activity>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.activity.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the API needs beside the operations.
#[derive(Clone)]
pub struct ApiSettings {
    /// Host names, without port, by which requests may call this server beside loopback's.
    pub hosts: Vec<String>,
    pub activity: Arc<Activity>,
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

#[derive(Clone)]
struct App {
    panel: ControlPanel,
    settings: ApiSettings,
    metrics: Arc<metrics::Metrics>,
}

/// All routes, ready to be served.
pub fn router(panel: ControlPanel, settings: ApiSettings) -> axum::Router {
    let app = App { panel, settings, metrics: Arc::default() };
    routes::router(app)
}
