//! Every operation that a person or program can ask for, in one place: the HTTP API is thin over
//! it, and so is use from Rust in the same process.
//!
//! Depends on `orx-model`, `orx-feed`, and the traits of `orx-store` and `orx-transport`. Knows no HTTP
//! and no terminal. Bad input is refused before anything changes; what is answered as done is durable.

mod accept;
mod change;
mod follow;
mod key;
mod links;
mod nodes;
mod schedules;
mod token_admin;
mod tokens;
mod view;
mod worker_secrets;
mod workers;

use std::sync::Arc;

use orx_feed::Feed;
use orx_model::job::Labels;
use orx_model::{
    AttemptId, Capabilities, Code, Incarnation, Job, JobId, Name, Priority, Problem, RetryPolicy,
    Timestamp,
};
use orx_store::{Store, StoreError};
use orx_transport::{Transport, Wakeups};
use parking_lot::Mutex;

pub use nodes::NodeToken;
pub use tokens::Scope;
pub use worker_secrets::WorkerIdentity;

pub type Result<T> = std::result::Result<T, Problem>;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Of the token, for people.
    pub name: String,
    pub scopes: Vec<Scope>,
}

impl Caller {
    /// Whoever runs in this process.
    #[must_use]
    pub fn local() -> Self {
        Self { name: "local".to_owned(), scopes: vec![Scope::Admin] }
    }

    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes
            .iter()
            .any(|own| *own == scope || (*own == Scope::Admin && scope != Scope::Node))
    }

    /// # Errors
    /// [`Code::NotAllowed`], naming the scope.
    pub fn need(&self, scope: Scope) -> Result<()> {
        if self.may(scope) {
            return Ok(());
        }
        let detail = format!("this needs a token with the scope `{scope}`");
        let own: Vec<&str> = self.scopes.iter().map(|scope| scope.as_str()).collect();
        Err(Problem::new(Code::NotAllowed, detail)
            .cause(format!("the token's scopes are: {}", own.join(", "))))
    }
}

/// What a request leaves out, for all jobs or those of one type.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Defaults {
    pub queue: Option<Name>,
    pub priority: Option<Priority>,
    pub retry: Option<RetryPolicy>,
    pub timeout_ms: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct ControlSettings {
    /// This coordinator.
    pub node: Incarnation,
    pub started_at: Timestamp,
    pub version: String,
    pub transport: &'static str,
    pub defaults: Defaults,
    /// By job type, before `defaults`.
    pub by_name: std::collections::BTreeMap<Name, Defaults>,
    /// Commands given with jobs are taken at all.
    pub allow_commands: bool,
    /// Workers not heard of for so long do not count as live, milliseconds.
    pub lease_ms: u64,
    /// Nodes not heard of for so long do not count as live, milliseconds.
    pub node_lives_ms: u64,
    /// Shown with the cluster's status.
    pub settings_ms: std::collections::BTreeMap<String, u64>,
}

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct ControlPanel {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    transport: Arc<dyn Transport>,
    wakeups: Wakeups,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    settings: ControlSettings,
    tokens: tokens::Cache,
    worker_secrets: worker_secrets::Cache,
    /// What live workers take, and when that was read: a warning needs no fresher answer.
    offers: Mutex<Option<(Timestamp, Arc<Vec<Capabilities>>)>>,
}

impl ControlPanel {
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        transport: Arc<dyn Transport>,
        wakeups: Wakeups,
        now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        settings: ControlSettings,
    ) -> Self {
        let inner = Inner {
            store,
            transport,
            wakeups,
            now,
            settings,
            tokens: tokens::Cache::default(),
            worker_secrets: worker_secrets::Cache::default(),
            offers: Mutex::new(None),
        };
        Self { inner: Arc::new(inner) }
    }

    fn store(&self) -> &dyn Store {
        &*self.inner.store
    }

    fn feed(&self) -> &Feed {
        self.inner.wakeups.feed()
    }

    fn now(&self) -> Timestamp {
        (self.inner.now)()
    }

    /// `1423`, or `key:` and an idempotency key.
    async fn find(&self, reference: &str) -> Result<Job> {
        if let Some(key) = reference.strip_prefix("key:") {
            let found = self.store().job_by_key(key).await.map_err(store_problem)?;
            return found.ok_or_else(|| {
                Problem::new(Code::NotFound, format!("there is no job with the key `{key}`"))
            });
        }
        let attempt: Option<AttemptId> = reference.parse().ok();
        let id = match attempt {
            Some(attempt) => attempt.job,
            None => reference.parse().map_err(|error: orx_model::ids::ParseIdError| {
                Problem::new(Code::BadRequest, error.to_string())
            })?,
        };
        let found = self.store().job(id).await.map_err(store_problem)?;
        let job = found.ok_or_else(|| no_job(id))?;
        match attempt {
            Some(attempt) if attempt.number.get() > job.attempt => {
                let hint = match job.attempt {
                    0 => format!("`orx show {id}` shows the job, which was not tried yet"),
                    last => format!("the last is `{id}.{last}`; `orx show {id}` shows all"),
                };
                let detail = format!("there is no attempt `{attempt}`");
                Err(Problem::new(Code::NotFound, detail).hint(hint))
            }
            _ => Ok(job),
        }
    }
}

fn no_job(id: JobId) -> Problem {
    Problem::new(Code::NotFound, format!("there is no job `{id}`"))
        .hint("`orx jobs` lists the newest; finished jobs are forgotten after a time")
}

/// A store's refusal in the words of the API.
pub fn store_problem(error: StoreError) -> Problem {
    let code = match &error {
        StoreError::Full => Code::StoreFull,
        StoreError::Busy | StoreError::Closed | StoreError::Failed => Code::Unavailable,
        StoreError::Unknown => Code::TimedOut,
        StoreError::TooBroad { .. } => Code::TooBroad,
        // Only leaders hear it, of their own loops.
        StoreError::Deposed | StoreError::Away { .. } => Code::Unavailable,
        StoreError::NewerSchema { .. }
        | StoreError::Held { .. }
        | StoreError::Damaged { .. }
        | StoreError::Open { .. }
        | StoreError::Unsafe { .. }
        | StoreError::Tls { .. }
        | StoreError::Moved { .. }
        | StoreError::Backend { .. } => Code::Internal,
    };
    let mut problem = Problem::new(code, error.to_string());
    if let StoreError::Backend { source, .. } = &error {
        tracing::error!(%error, %source, "the store refused");
    }
    if let StoreError::Unknown = error {
        problem = problem.hint("it may have been done: asking again with the same key is safe");
    } else if let Some(hint) = error.hint() {
        problem = problem.hint(hint);
    }
    problem
}

fn check_labels(what: &str, labels: &Labels) -> Result<()> {
    orx_model::gate::check_labels(what, "a job", labels)
        .map_err(|wrong| Problem::new(Code::BadRequest, wrong))
}
