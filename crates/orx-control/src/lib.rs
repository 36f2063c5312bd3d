//! The control panel: every operation that a person or program can ask for. The HTTP API is a thin layer
//! over it, and so is its use from Rust in the same process.
//!
//! Depends on `orx-model`, `orx-feed`, and the traits of `orx-store` and `orx-transport`. It must not
//! know HTTP or terminals. It validates a request before it changes anything, and answers success only
//! after the change is durable.

mod accept;
mod audit;
mod causes;
mod change;
mod follow;
mod key;
mod links;
mod live;
mod node_drain;
mod nodes;
mod operations;
mod queues;
mod schedules;
mod step_down;
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

pub use live::Frame;
pub use nodes::NodeToken;
pub use orx_model::token::Scope;
pub use worker_secrets::WorkerIdentity;

/// The result of an operation. A failure is a [`Problem`], as the HTTP API answers it.
pub type Result<T> = std::result::Result<T, Problem>;

/// Who asks for an operation, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The note of the token, or its id, for people.
    pub name: String,
    /// The scopes of the token.
    pub scopes: Vec<Scope>,
    /// The address of the caller, for people; `None` within this process.
    pub address: Option<String>,
}

impl Caller {
    /// Code in this process, with the scope `admin`.
    #[must_use]
    pub fn local() -> Self {
        Self { name: "local".to_owned(), scopes: vec![Scope::Admin], address: None }
    }

    /// Whether the caller has the scope. `admin` includes all scopes but `node`.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes
            .iter()
            .any(|own| *own == scope || (*own == Scope::Admin && scope != Scope::Node))
    }

    /// Fails unless the caller has the scope.
    ///
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

/// Values for fields that a request omits, for all jobs or for one job type. `None` leaves a field to
/// the next source.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Defaults {
    /// The queue.
    pub queue: Option<Name>,
    /// The priority.
    pub priority: Option<Priority>,
    /// The retry policy.
    pub retry: Option<RetryPolicy>,
    /// The timeout of each attempt, in milliseconds.
    pub timeout_ms: Option<u64>,
}

/// What the control panel knows of its node and configuration.
#[derive(Debug, Clone)]
pub struct ControlSettings {
    /// The incarnation of this coordinator.
    pub node: Incarnation,
    /// When it started.
    pub started_at: Timestamp,
    /// Its version of orx.
    pub version: String,
    /// The kind of its transport, for people: `direct`.
    pub transport: &'static str,
    /// For all jobs.
    pub defaults: Defaults,
    /// By job type; they take precedence over `defaults`.
    pub by_name: std::collections::BTreeMap<Name, Defaults>,
    /// Whether jobs may come with commands.
    pub allow_commands: bool,
    /// How long a worker counts as live after its last heartbeat, in milliseconds.
    pub lease_ms: u64,
    /// How long a node counts as live after its last heartbeat, in milliseconds.
    pub node_lives_ms: u64,
    /// The durations in force by setting, in milliseconds; shown with the status of the cluster.
    pub settings_ms: std::collections::BTreeMap<String, u64>,
    /// All settings in force with their origins, secrets masked.
    pub in_force: Vec<orx_model::wire::ServerSetting>,
}

/// All operations. All clones share one state.
#[derive(Clone)]
pub struct ControlPanel {
    inner: Arc<PanelState>,
}

struct PanelState {
    store: Arc<dyn Store>,
    transport: Arc<dyn Transport>,
    wakeups: Wakeups,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    settings: ControlSettings,
    tokens: tokens::TokenCache,
    worker_secrets: worker_secrets::SecretCache,
    /// The capabilities of live workers, and when they were read. Only warnings use them.
    capabilities: Mutex<Option<(Timestamp, Arc<Vec<Capabilities>>)>>,
    live: live::LiveStreams,
}

impl ControlPanel {
    /// `store` is the handle of callers, with its own budget; `now` reads the wall clock.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        transport: Arc<dyn Transport>,
        wakeups: Wakeups,
        now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        settings: ControlSettings,
    ) -> Self {
        let inner = PanelState {
            store,
            transport,
            wakeups,
            now,
            settings,
            tokens: tokens::TokenCache::default(),
            worker_secrets: worker_secrets::SecretCache::default(),
            capabilities: Mutex::new(None),
            live: live::LiveStreams::default(),
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

    /// Finds a job by its id (`1423`), by an attempt (`1423.2`), or by `key:` and an idempotency key.
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
            Some(attempt) if attempt.number.get() > job.state.attempt => {
                let hint = match job.state.attempt {
                    0 => format!("`orx show {id}` shows the job, which has no attempt yet"),
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
        .hint("`orx jobs` lists the newest; finished jobs are deleted after their retention")
}

/// The problem that the API answers for an error of the store.
pub(crate) fn store_problem(error: StoreError) -> Problem {
    let code = match &error {
        StoreError::Full => Code::StoreFull,
        StoreError::Busy | StoreError::Closed | StoreError::Failed => Code::Unavailable,
        StoreError::Unknown => Code::TimedOut,
        StoreError::TooBroad { .. } => Code::TooBroad,
        // Only the leader's duties get these.
        StoreError::Deposed | StoreError::Unavailable { .. } => Code::Unavailable,
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
        tracing::error!(%error, %source, "an operation of the store failed");
    }
    if let StoreError::Unknown = error {
        problem = problem.hint("it may have been done: repeating it with the same key is safe");
    } else if let Some(hint) = error.hint() {
        problem = problem.hint(hint);
    }
    problem
}

fn check_labels(what: &str, labels: &Labels) -> Result<()> {
    orx_model::validation::check_labels(what, "a job", labels)
        .map_err(|wrong| Problem::new(Code::BadRequest, wrong))
}
