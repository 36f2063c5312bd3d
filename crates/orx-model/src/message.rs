//! Messages between coordinators and workers: versioned JSON. Readers skip unknown fields, and set
//! unknown types aside and report them. Every message may be lost, duplicated, late or out of order, so
//! processing one twice must change nothing.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::attempt::Outcome;
use crate::event::NodeEvents;
use crate::ids::{ExecutionId, Incarnation, JobId, MessageId, Name};
use crate::job::{Command, Json, Labels, Origin, Progress};
use crate::lane::Capabilities;
use crate::log::LogChunk;
use crate::names;
use crate::policy::Priority;
use crate::secret::WorkerSecret;
use crate::time::Timestamp;

/// Version of the message format. Readers accept this version and the one before.
pub const VERSION: u32 = 1;

/// A message with its sender, its recipient and its time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    /// Id of the message; a duplicate has the same.
    pub id: MessageId,
    /// Version of the format, [`VERSION`].
    pub version: u32,
    /// When it was written, by the sender's clock.
    pub at: Timestamp,
    /// The sender.
    pub from: Incarnation,
    /// The recipient; `None` on channels with many readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Incarnation>,
    /// W3C trace context, `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The message.
    pub body: Body,
}

/// A message of a known type, or one that this version sets aside: `{"job_dispatch": {…}}`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// A type of this version.
    Known(Message),
    /// A type of a later version, unchanged.
    Unknown(Json),
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        // A known type with an unknown payload is treated as an unknown type.
        Ok(match serde_json::from_str(text.get()) {
            Ok(message) => Self::Known(message),
            Err(_) => Self::Unknown(text.into()),
        })
    }
}

/// The messages that workers and nodes send each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Leader to worker: run these.
    JobDispatch {
        /// The claimed jobs.
        jobs: Vec<Dispatch>,
        /// Number of the worker's heartbeat that this dispatch is based on, 0 for its registration.
        /// The worker derives from it until when the dispatch is valid. On the wire it is still
        /// written as `heard`, which a worker of the release before reads.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            rename = "heard",
            alias = "heartbeat_seq"
        )]
        heartbeat_seq: Option<u64>,
    },
    /// To a worker: stop these, under a cancel. Also for executions it has not seen yet.
    JobCancel {
        /// The executions to stop.
        executions: Vec<ExecutionRef>,
    },
    /// To a worker: the store has these outcomes, or never will.
    JobResultAck {
        /// The executions whose outcomes need not be sent again.
        executions: Vec<ExecutionId>,
    },
    /// To a worker: send a heartbeat now; the response contains the news.
    Heartbeat {},
    /// Worker to store: these started.
    JobStatus {
        /// The executions that started.
        started: Vec<Started>,
    },
    /// Worker to store: progress of these.
    JobProgress {
        /// The newest report of each execution.
        progress: Vec<ExecutionProgress>,
    },
    /// Worker to store: output of these.
    JobLog {
        /// The chunks, in the order of their numbers.
        chunks: Vec<LogChunk>,
    },
    /// Worker to store: these ended.
    JobResult {
        /// How each ended.
        outcomes: Vec<Outcome>,
    },
    /// Node to node: something in the store has changed.
    #[serde(rename = "hint")]
    Notification(Notification),
}

impl Message {
    /// Every type name.
    pub(crate) const KINDS: [&str; 9] = [
        "job_dispatch",
        "job_cancel",
        "job_result_ack",
        "heartbeat",
        "job_status",
        "job_progress",
        "job_log",
        "job_result",
        "hint",
    ];

    /// The name of its type in JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::JobDispatch { .. } => "job_dispatch",
            Self::JobCancel { .. } => "job_cancel",
            Self::JobResultAck { .. } => "job_result_ack",
            Self::Heartbeat {} => "heartbeat",
            Self::JobStatus { .. } => "job_status",
            Self::JobProgress { .. } => "job_progress",
            Self::JobLog { .. } => "job_log",
            Self::JobResult { .. } => "job_result",
            Self::Notification(_) => "hint",
        }
    }
}

/// A node's report to the others about its changes. A reader reads the store before it acts, so a lost
/// or duplicate notification costs only time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Notification {
    /// Jobs became ready.
    #[serde(default)]
    pub work: bool,
    /// Attempts have ended, so their workers have free slots. On the wire it is still written as
    /// `room`, which a node of the release before reads.
    #[serde(default, rename = "room", alias = "slots_freed")]
    pub slots_freed: bool,
    /// The attempts that ended, at most [`Self::NAMED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<EndedAt>,
    /// `ended` names every attempt that ended.
    #[serde(default)]
    pub all_ended: bool,
    /// A job was accepted that is due, or over, at this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Worker records or directives changed.
    #[serde(default)]
    pub workers: bool,
    /// An operation over many jobs started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub operations: bool,
    /// A node joined or left, or the leader stepped down.
    #[serde(default)]
    pub nodes: bool,
    /// A person asks the leader of this epoch to step down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_down: Option<u64>,
    /// Jobs that changed, or whose logs did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<JobId>,
    /// More jobs changed than are named.
    #[serde(default)]
    pub more: bool,
    /// The events of the changes. A node of the version before does not send them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<NodeEvents>,
}

impl Notification {
    /// The most jobs that one notification names; beyond that, it only states that there are more.
    pub const NAMED: usize = 1_000;

    /// Whether it contains nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds attempts that ended; beyond [`Self::NAMED`] only that there are more.
    pub fn add_ended(&mut self, ended: impl IntoIterator<Item = (Incarnation, ExecutionId)>) {
        // Before the first call nothing has ended, so all are named.
        self.all_ended |= !self.slots_freed;
        self.slots_freed = true;
        for (worker, execution) in ended {
            if self.ended.len() >= Self::NAMED {
                self.all_ended = false;
                return;
            }
            self.ended.push(EndedAt { worker, execution });
        }
    }

    /// Adds that something is due at this time.
    pub fn add_due(&mut self, at: Timestamp) {
        self.due = Some(self.due.map_or(at, |known| known.min(at)));
    }
}

/// An attempt that has ended, and its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedAt {
    /// The worker that has a free slot for it.
    pub worker: Incarnation,
    /// The execution.
    pub execution: ExecutionId,
}

/// A job and one execution of it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
pub struct ExecutionRef {
    /// The job.
    pub job: JobId,
    /// The execution.
    pub execution: ExecutionId,
}

/// A claimed job on its way to its worker, with everything needed to run it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dispatch {
    /// The job.
    pub job: JobId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The execution id of this attempt.
    pub execution: ExecutionId,
    /// The job type.
    pub name: Name,
    /// The queue.
    pub queue: Name,
    /// The priority.
    pub priority: Priority,
    /// The arguments, any JSON.
    pub args: Json,
    /// The command to run, for a job without a handler of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// Longest run of an attempt, milliseconds; 0 or absent is without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// No attempt starts after this time, and none is retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// When the job was due.
    pub run_at: Timestamp,
    /// Attempts that failed or timed out before this one.
    pub retry: u32,
    /// Correlation id; `corr` in JSON.
    #[serde(rename = "corr", default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Tags: names and values to look for.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub tags: Labels,
    /// The schedule that made the job, and for which due time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Origin>,
}

impl Dispatch {
    /// Its approximate size as JSON, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        const REST: usize = 500;
        let of_command = |command: &Command| {
            let env = command.env.iter().map(|(name, value)| name.len() + value.len());
            let words = command.argv.iter().chain(&command.cwd).chain(&command.stdin);
            words.map(String::len).sum::<usize>() + env.sum::<usize>()
        };
        let tags: usize = self.tags.iter().map(|(name, value)| name.len() + value.len()).sum();
        REST + self.args.get().len() + tags + self.command.as_ref().map_or(0, of_command)
    }

    /// The time that the job is for: the slot of its schedule, else its due time.
    #[must_use]
    pub fn scheduled_at(&self) -> Timestamp {
        self.schedule.as_ref().and_then(|origin| origin.slot).unwrap_or(self.run_at)
    }

    /// The job and its execution.
    #[must_use]
    pub fn execution_ref(&self) -> ExecutionRef {
        ExecutionRef { job: self.job, execution: self.execution }
    }
}

/// An attempt that started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The job.
    pub job: JobId,
    /// The execution.
    pub execution: ExecutionId,
    /// When, by the worker's clock.
    pub at: Timestamp,
}

/// Progress of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionProgress {
    /// The job.
    pub job: JobId,
    /// The execution.
    pub execution: ExecutionId,
    /// The progress that the attempt reported last.
    pub progress: Progress,
}

names! {
    /// The state of a worker, as it reports it.
    #[derive(PartialOrd, Ord, utoipa::ToSchema)]
    pub enum WorkerState {
        /// Registers.
        Starting = "starting",
        /// Accepts jobs.
        Running = "running",
        /// Finishes the jobs it has and accepts no new ones.
        Draining = "draining",
        /// Stops its running jobs.
        Stopping = "stopping",
        /// Ended in good order.
        Stopped = "stopped",
    }
}

names! {
    /// An operator's directive to a worker.
    #[derive(utoipa::ToSchema)]
    pub enum WorkerDirective {
        /// Accept no new jobs, finish the rest, and stay.
        Drain = "drain",
        /// Declare this incarnation lost: its attempts are lost, and its reports are rejected.
        Fence = "fence",
    }
}

/// Load of a worker's host.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Load {
    /// Used share of all its cores since the previous heartbeat, 0 to 1.
    pub cpu: f64,
    /// Memory in use, bytes.
    pub memory_used_bytes: u64,
    /// Memory of the host, bytes.
    pub memory_bytes: u64,
}

/// A worker's registration with a coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerRegistration {
    /// The incarnation: a new one with every start.
    pub incarnation: Incarnation,
    /// The worker's name, for people.
    pub name: Name,
    /// Name of its host.
    pub host: String,
    /// Process id on its host.
    pub pid: u32,
    /// Version of the worker's program.
    pub version: String,
    /// What it can run: queues, handlers and labels.
    pub offer: Capabilities,
    /// Attempts it runs at once, at least 1.
    pub slots: u32,
    /// When the worker started, by its own clock.
    pub started_at: Timestamp,
}

/// A worker's regular report about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerHeartbeat {
    /// The incarnation: a new one with every start.
    pub incarnation: Incarnation,
    /// Sequence number, which counts up: a late heartbeat with a lower one changes nothing.
    pub seq: u64,
    /// The state of the worker.
    pub state: WorkerState,
    /// Executions that the worker may hold at once: its slots plus its prefetch. 0 while it drains.
    pub capacity: u32,
    /// Executions it holds and has not ended.
    pub running: Vec<ExecutionRef>,
    /// Executions that ended, with an outcome that is not yet acknowledged.
    pub unacknowledged: Vec<ExecutionRef>,
    /// Load of its host; absent where the system does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
}

/// The response to a heartbeat: what the worker should do. Every part is safe to repeat.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HeartbeatAnswer {
    /// The coordinator does not know this incarnation: register again.
    pub register: bool,
    /// Lease of the worker from the moment it sent the heartbeat, milliseconds.
    pub lease_ms: u64,
    /// Time between two heartbeats of this worker, milliseconds; 0 leaves it as it is.
    #[serde(default)]
    pub heartbeat_ms: u64,
    /// Running, but no longer current: stop them and report no outcome.
    pub stop: Vec<ExecutionRef>,
    /// Cancel requested: stop them.
    pub cancel: Vec<ExecutionRef>,
    /// Dispatched to the worker without a report, or without a report of the start. The worker reports
    /// again when those that it runs started, and refuses for good those that it does not hold.
    pub asked: Vec<ExecutionRef>,
    /// Outcomes to send again.
    pub resend: Vec<ExecutionId>,
    /// Accept no new jobs while this is set.
    pub drain: bool,
    /// This incarnation is fenced: stop every job and end.
    #[serde(default)]
    pub fenced: bool,
    /// Attempts may end as handed back. A coordinator of the version before does not support it.
    #[serde(default)]
    pub takes_back: bool,
    /// URL of the leader, for a worker whose inbox is at another node. `None`: this node, or no leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// The node that answers drains: the worker moves to another node, the leader if it is named.
    #[serde(default)]
    pub node_drains: bool,
    /// In the response to the registration of a new incarnation only: the secret that the worker sends
    /// from then on in the header `orx-worker-secret`. No other response contains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<WorkerSecret>,
    /// Time at the coordinator; the worker reports times by this clock.
    pub now: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_a_later_version_is_set_aside_not_lost() {
        let text = r#"{"id":"00000000000000000000000000000001","version":2,"at":"2026-01-01T00:00:00.000Z","from":"00000000000000000000000000000002","body":{"job_teleport":{"to":"mars"}}}"#;
        let envelope: Envelope = serde_json::from_str(text).expect("an envelope");
        let Body::Unknown(raw) = envelope.body else { panic!("known: {:?}", envelope.body) };
        assert_eq!(raw.get(), r#"{"job_teleport":{"to":"mars"}}"#);
    }

    #[test]
    fn an_unknown_field_is_skipped() {
        let text = r#"{"id":"00000000000000000000000000000001","version":1,"at":"2026-01-01T00:00:00.000Z","from":"00000000000000000000000000000002","hue":3,"body":{"job_result_ack":{"executions":[],"mood":"good"}}}"#;
        let envelope: Envelope = serde_json::from_str(text).expect("an envelope");
        assert!(matches!(envelope.body, Body::Known(Message::JobResultAck { .. })));
    }

    #[test]
    fn json_of_a_user_passes_a_message_unchanged() {
        let result: Json =
            serde_json::from_str(r#"{"b":1.0,"a":123456789012345678901234567890}"#).expect("json");
        let outcome = Outcome {
            job: JobId(1),
            execution: ExecutionId(2),
            kind: crate::OutcomeKind::Succeeded { result: Some(result.clone()) },
            started_at: None,
            ended_at: Timestamp::default(),
            error: None,
            exit: None,
        };
        let envelope = Envelope {
            id: MessageId(1),
            version: VERSION,
            at: Timestamp::default(),
            from: Incarnation(1),
            to: None,
            trace: None,
            body: Body::Known(Message::JobResult { outcomes: vec![outcome] }),
        };
        let text = serde_json::to_string(&envelope).expect("json");
        let back: Envelope = serde_json::from_str(&text).expect("an envelope");
        let Body::Known(Message::JobResult { outcomes }) = back.body else { panic!("{text}") };
        let crate::OutcomeKind::Succeeded { result: Some(raw) } = &outcomes[0].kind else {
            panic!("{text}")
        };
        assert_eq!(raw.get(), result.get());
    }
}
