//! One try to run a job: how it ended, and the record kept of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ExecutionId, Incarnation, JobId, Name};
use crate::job::Json;
use crate::time::Timestamp;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It ended with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// As a shell gives it: the code, or 128 and the signal's number.
    #[must_use]
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// How far an attempt is, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStatus {
    /// On its way to the worker.
    Dispatched,
    /// The worker reported its start.
    Running,
    /// Ended as it should.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Stopped at its timeout.
    TimedOut,
    /// Stopped by a cancel.
    Cancelled,
    /// Stopped by an orderly shutdown of its worker.
    Interrupted,
    /// Its worker or server died under it.
    Lost,
    /// Never started: the worker could not take it, or had no slot for it soon enough.
    Refused,
}

impl AttemptStatus {
    /// The name as JSON has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Lost => "lost",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for AttemptStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The record of an attempt, live or ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Attempt {
    /// The job.
    pub job: JobId,
    /// From 1.
    pub number: u32,
    /// The execution.
    pub execution: ExecutionId,
    /// The worker's incarnation.
    pub worker: Incarnation,
    /// The worker's name.
    pub worker_name: Name,
    /// Of the leader that gave it out.
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
    /// Why it failed, in one text; absent where nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How its process ended, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Bytes of its output that its log does not have: over the quota of an attempt
    /// (16 MiB from its start and 256 KiB from its end), or while nobody took them.
    #[serde(default)]
    pub dropped_bytes: u64,
}

/// What ended under an attempt that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostWith {
    /// Its worker alone: the leader lived on, and saw its lease end.
    Worker,
    /// Its whole server; or its worker, while no node led.
    Server,
    /// Nothing: a person fenced the worker.
    Fence,
}

/// How an attempt ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Ended as it should.
    Succeeded {
        /// What the handler returned, any JSON.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Json>,
    },
    /// Ended with an error, or could not start its program.
    Failed {
        /// `false`: another try is useless.
        retryable: bool,
        /// The wait the handler asked for instead of the policy's, milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// Stopped at its timeout.
    TimedOut,
    /// Stopped by a cancel.
    Cancelled,
    /// Stopped by an orderly shutdown of its worker; costs no retry.
    Interrupted,
    /// Never started: the worker cannot run it; costs no retry.
    Refused,
    /// Never started: it was prefetched, and no slot became free for it soon. It keeps its place in
    /// the order of dispatch, and this costs it nothing.
    HandedBack,
    /// Its worker is gone.
    Lost {
        /// What died.
        with: LostWith,
    },
    /// Put off by the handler itself: due again after the wait, milliseconds; costs no retry.
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

/// The end of one attempt, as its worker (or whoever gave the worker up) tells it.
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
    /// Why it failed, in one text; absent where nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How its process ended, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}
