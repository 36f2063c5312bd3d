//! Workers over HTTP, and commands to them.

use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, JobId, Name};
use crate::lane::Capabilities;
use crate::message::{Load, WorkerDirective, WorkerState};
use crate::status::JobStatus;
use crate::time::Timestamp;

/// The state of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerView {
    /// The incarnation: a new one with every start.
    pub incarnation: Incarnation,
    /// The name.
    pub name: Name,
    /// Name of its host.
    pub host: String,
    /// Process id on its host.
    pub pid: u32,
    /// Version of its program.
    pub version: String,
    /// Its state.
    pub state: WorkerState,
    /// The directive in force; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<WorkerDirective>,
    /// Whether its lease is valid.
    pub live: bool,
    /// What it can run: queues, handlers and labels.
    pub offer: Capabilities,
    /// Attempts it runs at once.
    pub slots: u32,
    /// Slots that are busy.
    pub active: u32,
    /// Prefetched jobs that wait at the worker for a free slot.
    #[serde(default)]
    pub prefetched: u32,
    /// Executions that it may hold at once; 0 while it accepts no jobs.
    #[serde(default)]
    pub capacity: u32,
    /// Load of its host; absent where the system does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// The node that it is connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Incarnation>,
    /// When it started, by its own clock.
    pub started_at: Timestamp,
    /// When its last heartbeat arrived, by the store's clock.
    pub seen_at: Timestamp,
}

/// All workers that are or recently were live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerList {
    /// Version of the format: 1.
    pub v: u32,
    /// The workers.
    pub workers: Vec<WorkerView>,
}

/// An operator's command to workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerCommand {
    /// Accept no new jobs, finish the rest, and stay.
    Drain,
    /// Accept jobs again.
    Resume,
    /// Declare the incarnation lost: its attempts are lost at once and run elsewhere, and its reports are
    /// rejected. This is permanent.
    Fence,
}

/// A command to workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkersOrderRequest {
    /// The command.
    pub command: WorkerCommand,
    /// Names, or incarnations (the first digits are enough). A name means every live worker of it.
    pub workers: Vec<String>,
    /// The reason, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who sends the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Dry run: change nothing and report what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// The result of a command for one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerOrdered {
    /// The incarnation: a new one with every start.
    pub incarnation: Incarnation,
    /// The name.
    pub name: Name,
    /// Whether the command is in force; `false` where the worker is gone or fenced.
    pub done: bool,
    /// Attempts it held at that time.
    pub active: u32,
}

/// The result of a command to workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkersOrderAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// A dry run: nothing was changed, and the rest states what would be.
    pub dry_run: bool,
    /// The workers.
    pub workers: Vec<WorkerOrdered>,
}

/// One worker with its attempts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerDetail {
    /// Version of the format: 1.
    pub v: u32,
    /// The worker.
    pub worker: WorkerView,
    /// The attempts that it holds.
    pub attempts: Vec<WorkerAttempt>,
}

/// An attempt that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerAttempt {
    /// The job.
    pub job: JobId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The job type.
    pub name: Name,
    /// The status.
    pub status: JobStatus,
    /// When it was claimed for the worker.
    pub claimed_at: Timestamp,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// A cancel was requested.
    pub cancel_requested: bool,
}
