//! Workers in a store: their registrations and heartbeats, and the directives for them.

use std::time::Duration;

use async_trait::async_trait;
use orx_model::message::{Load, WorkerDirective, WorkerRegistration, WorkerState};
use orx_model::{Incarnation, SecretHash, Timestamp};

use crate::Result;

/// The registration or heartbeat of a worker, as a coordinator received it.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerReport {
    /// What the worker sent when it registered.
    pub registration: WorkerRegistration,
    /// As the worker reports it.
    pub state: WorkerState,
    /// Executions that the worker can hold at once.
    pub capacity: u32,
    /// Number of the newest heartbeat; 0 in a registration.
    pub heartbeat: u64,
    /// As the worker reports it; `None` in a registration.
    pub load: Option<Load>,
    /// The node whose process runs the worker, if it has no process of its own.
    pub hosted_by: Option<Incarnation>,
    /// The node that received the report and that can reach the worker.
    pub node: Option<Incarnation>,
}

/// The result of one report of [`Workers::put_workers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a report with another's secret is an answer, not an error"]
pub enum WorkerPut {
    /// The report is recorded. Holds the standing directive for the worker.
    Stored(Option<WorkerDirective>),
    /// The worker registered with another secret. Nothing was changed.
    OtherSecret,
    /// A heartbeat of a worker without a row: the worker has to register first. Nothing was changed.
    Unregistered,
}

/// Why workers are removed. Decides which rows stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerRemoval {
    /// They stopped cleanly. The rows of fenced workers stay, because a person may fence a worker
    /// while it stops.
    Stopped,
    /// They were lost, and may return. The rows of workers with a directive stay, so that it still
    /// applies when they return.
    Lost,
    /// They never return. No row stays.
    Gone,
}

impl WorkerRemoval {
    /// Whether the row of a worker with this directive stays.
    #[must_use]
    pub fn spares(self, order: Option<WorkerDirective>) -> bool {
        match self {
            Self::Stopped => order == Some(WorkerDirective::Fence),
            Self::Lost => order.is_some(),
            Self::Gone => false,
        }
    }
}

/// A worker as of its last report.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerRecord {
    /// The newest report.
    pub report: WorkerReport,
    /// When a coordinator received a report last.
    pub seen_at: Timestamp,
    /// Time since the last report, by the clock of the store.
    pub silent: Duration,
    /// The directive that a person gave the worker, if one stands.
    pub order: Option<WorkerDirective>,
}

/// Registrations and heartbeats of workers, and the directives for them.
#[async_trait]
pub trait Workers: Send + Sync {
    /// Advisory. Results are in the order of `workers`. A registration (heartbeat number 0) inserts the
    /// worker's row, or replaces the row with the same incarnation and secret. A row of an orx version
    /// without secrets gets the first secret that arrives. A heartbeat replaces a row and never inserts
    /// one, because it can arrive after its worker stopped or was lost. A heartbeat older than the
    /// recorded one updates only `seen_at`. A report of a fenced worker changes nothing.
    async fn put_workers(
        &self,
        workers: Vec<(SecretHash, WorkerReport)>,
        now: Timestamp,
    ) -> Result<Vec<WorkerPut>>;

    /// `None` for an unknown worker, and for a row of an orx version without secrets.
    async fn worker_secret(&self, worker: Incarnation) -> Result<Option<SecretHash>>;

    /// Ordered by name, then incarnation.
    async fn workers(&self, now: Timestamp) -> Result<Vec<WorkerRecord>>;

    /// Durable. `None` revokes a drain; a fence stays for ever. Returns for each worker whether it is
    /// known and the directive now stands.
    async fn order_workers(
        &self,
        workers: Vec<Incarnation>,
        order: Option<WorkerDirective>,
    ) -> Result<Vec<bool>>;

    /// Advisory. Workers without a row are ignored.
    async fn remove_workers(&self, workers: Vec<Incarnation>, removal: WorkerRemoval)
    -> Result<()>;
}
