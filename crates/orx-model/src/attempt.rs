//! One try to run a job: its outcome, and the stored record.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ExecutionId, Incarnation, JobId, Name};
use crate::job::Json;
use crate::names;
use crate::time::Timestamp;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Exit)]
pub enum ProcessExit {
    /// The process ended with this code.
    Code(i32),
    /// This signal ended the process.
    Signal(i32),
}

impl ProcessExit {
    /// The code a shell would report: the exit code, or 128 plus the signal number.
    #[must_use]
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }
}

impl fmt::Display for ProcessExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

names! {
    /// How far an attempt is, or how it ended.
    #[derive(utoipa::ToSchema)]
    pub enum AttemptStatus {
        /// On its way to the worker.
        Dispatched = "dispatched",
        /// The worker reported its start.
        Running = "running",
        /// Ended without an error.
        Succeeded = "succeeded",
        /// Ended with an error.
        Failed = "failed",
        /// Stopped at its timeout.
        TimedOut = "timed_out",
        /// Stopped by a cancel.
        Cancelled = "cancelled",
        /// Stopped by an orderly shutdown of its worker.
        Interrupted = "interrupted",
        /// Its worker or server was lost while it ran.
        Lost = "lost",
        /// Never started: the worker cannot run it, or had no free slot for it in time.
        Refused = "refused",
    }
}

/// The record of an attempt, live or ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Attempt {
    /// The job.
    pub job: JobId,
    /// Number of the attempt, from 1.
    pub number: u32,
    /// The execution.
    pub execution: ExecutionId,
    /// The worker's incarnation.
    pub worker: Incarnation,
    /// The worker's name.
    pub worker_name: Name,
    /// Epoch of the leader that dispatched it; 0 where that is not known.
    #[serde(default)]
    pub epoch: u64,
    /// How far it is, or how it ended.
    pub status: AttemptStatus,
    /// When it was claimed for the worker.
    pub claimed_at: Timestamp,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why it failed; absent where nothing failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How its process ended; absent for an attempt without a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ProcessExit>,
    /// Bytes of its output that are not in its log: beyond the quota of an attempt (16 MiB from its start
    /// and 256 KiB from its end), or dropped while no coordinator accepted them.
    #[serde(default)]
    pub dropped_bytes: u64,
}

/// What was lost together with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostWith {
    /// Its worker alone: the leader was running and saw the worker's lease expire.
    Worker,
    /// Its whole server; or its worker, while no node led.
    Server,
    /// Nothing: an operator fenced the worker.
    Fence,
}

/// How an attempt ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Ended without an error.
    Succeeded {
        /// What the handler returned, any JSON.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Json>,
    },
    /// Ended with an error, or could not start its program.
    Failed {
        /// `false`: another try is useless.
        retryable: bool,
        /// The wait that the handler asks for instead of the policy's, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// Stopped at its timeout.
    TimedOut,
    /// Stopped by a cancel.
    Cancelled,
    /// Stopped by an orderly shutdown of its worker; uses no retry.
    Interrupted,
    /// Never started: the worker cannot run it; uses no retry.
    Refused,
    /// Never started: it was prefetched, and no slot became free in time. It keeps its place in the order
    /// of dispatch and uses no retry.
    HandedBack,
    /// Its worker or server was lost, or fenced.
    Lost {
        /// What was lost.
        with: LostWith,
    },
    /// Postponed by its own handler; uses no retry.
    Snoozed {
        /// Milliseconds until it is due again.
        for_ms: u64,
    },
}

impl OutcomeKind {
    /// The status that the attempt ends with.
    #[must_use]
    pub fn status(&self) -> AttemptStatus {
        match self {
            Self::Succeeded { .. } => AttemptStatus::Succeeded,
            Self::Failed { .. } => AttemptStatus::Failed,
            Self::TimedOut => AttemptStatus::TimedOut,
            Self::Cancelled => AttemptStatus::Cancelled,
            Self::Interrupted | Self::Snoozed { .. } => AttemptStatus::Interrupted,
            Self::Refused | Self::HandedBack => AttemptStatus::Refused,
            Self::Lost { .. } => AttemptStatus::Lost,
        }
    }
}

/// The end of one attempt, as its worker reports it; for a lost worker, as the leader records it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The job.
    pub job: JobId,
    /// The execution.
    pub execution: ExecutionId,
    /// How it ended.
    pub kind: OutcomeKind,
    /// When the attempt's process or function started, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended, by the worker's clock as its server reads it.
    pub ended_at: Timestamp,
    /// Why it failed; absent where nothing failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How its process ended; absent for an attempt without a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ProcessExit>,
}
