//! What coordinators and workers tell each other. JSON at the wire, versioned; unknown fields are
//! passed over, unknown types are kept and reported. Every one may be lost, doubled, late or out
//! of order: a reader is written so that the second time changes nothing.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::attempt::Outcome;
use crate::event::NodeEvents;
use crate::ids::{ExecutionId, Incarnation, JobId, MessageId, Name};
use crate::job::{Command, Json, Labels, Origin, Progress};
use crate::lane::Capabilities;
use crate::log::LogChunk;
use crate::policy::Priority;
use crate::secret::WorkerSecret;
use crate::time::Timestamp;

/// Version of the message format. Readers take this one and the one before it.
pub const VERSION: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    pub id: MessageId,
    pub version: u32,
    pub at: Timestamp,
    pub from: Incarnation,
    /// `None` on channels that many read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Incarnation>,
    /// W3C trace context, `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    pub body: Body,
}

/// A message this version knows, or one it sets aside: `{"job_dispatch": {…}}`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Body {
    Known(Message),
    Unknown(Json),
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        // A known type with a payload that is none of ours is as strange as an unknown type.
        Ok(match serde_json::from_str(text.get()) {
            Ok(message) => Self::Known(message),
            Err(_) => Self::Unknown(text.into()),
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Leader to worker: run these.
    JobDispatch {
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
        executions: Vec<ExecutionRef>,
    },
    /// To a worker: the store has these outcomes, or never will.
    JobResultAck {
        executions: Vec<ExecutionId>,
    },
    /// To a worker: send a heartbeat now; its answer says what is new.
    Heartbeat {},
    /// Worker to store: these started.
    JobStatus {
        started: Vec<Started>,
    },
    JobProgress {
        progress: Vec<ExecutionProgress>,
    },
    JobLog {
        chunks: Vec<LogChunk>,
    },
    JobResult {
        outcomes: Vec<Outcome>,
    },
    /// Node to node: look at the store, something is not as it was.
    Hint(Notification),
}

impl Message {
    /// Every one of them.
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
            Self::Hint(_) => "hint",
        }
    }
}

/// What one node tells the others of what it changed. It carries no state that is relied on: whoever
/// acts on it reads the store, so a lost or doubled one costs nothing but time.
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
    /// What is known of workers, or ordered of them, changed.
    #[serde(default)]
    pub workers: bool,
    /// Nodes came, went, or the leader stepped down.
    #[serde(default)]
    pub nodes: bool,
    /// Jobs that changed, or whose logs did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<JobId>,
    /// More jobs changed than are named.
    #[serde(default)]
    pub more: bool,
    /// What changed at the node, and how. A node of the version before does not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<NodeEvents>,
}

impl Notification {
    /// Jobs named in one; beyond, it only says that there are more.
    pub const NAMED: usize = 1_000;

    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn add_ended(&mut self, ended: impl IntoIterator<Item = (Incarnation, ExecutionId)>) {
        // The first call names all there are so far: none.
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

    pub fn add_due(&mut self, at: Timestamp) {
        self.due = Some(self.due.map_or(at, |known| known.min(at)));
    }
}

/// An attempt that has ended, and its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedAt {
    pub worker: Incarnation,
    pub execution: ExecutionId,
}

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
    pub job: JobId,
    pub execution: ExecutionId,
}

/// A claimed job on its way to its worker: all that is needed to run it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dispatch {
    pub job: JobId,
    pub attempt: u32,
    pub execution: ExecutionId,
    pub name: Name,
    pub queue: Name,
    pub priority: Priority,
    pub args: Json,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// When the job was due.
    pub run_at: Timestamp,
    /// Attempts that failed or timed out before this one.
    pub retry: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corr: Option<String>,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub tags: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Origin>,
}

impl Dispatch {
    /// About how many bytes it is as JSON.
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

    /// The time that the job is for: its schedule's due time, else its own.
    #[must_use]
    pub fn scheduled_at(&self) -> Timestamp {
        self.schedule.as_ref().and_then(|origin| origin.slot).unwrap_or(self.run_at)
    }

    #[must_use]
    pub fn execution_ref(&self) -> ExecutionRef {
        ExecutionRef { job: self.job, execution: self.execution }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub job: JobId,
    pub execution: ExecutionId,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionProgress {
    pub job: JobId,
    pub execution: ExecutionId,
    pub progress: Progress,
}

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
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    Starting,
    Running,
    /// Finishes what it has and takes nothing new.
    Draining,
    Stopping,
    Stopped,
}

impl WorkerState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// What a person wants of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerDirective {
    /// Take nothing new, finish the rest, and stay.
    Drain,
    /// This incarnation is given up: its attempts are lost, and nothing it says counts any more.
    Fence,
}

impl WorkerDirective {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Fence => "fence",
        }
    }
}

/// How busy a worker's machine is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Load {
    /// Share of all its cores that was busy since the heartbeat before, 0 to 1.
    pub cpu: f64,
    pub memory_used_bytes: u64,
    pub memory_bytes: u64,
}

/// A worker's first word to a coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerRegistration {
    pub incarnation: Incarnation,
    pub name: Name,
    pub host: String,
    pub pid: u32,
    /// Version of the worker's program.
    pub version: String,
    pub offer: Capabilities,
    /// Attempts it runs at once, at least 1.
    pub slots: u32,
    pub started_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerHeartbeat {
    pub incarnation: Incarnation,
    /// Counts up: an older one that comes late changes nothing.
    pub seq: u64,
    pub state: WorkerState,
    /// Executions it may hold at once: its slots, and a few more where jobs are short. 0 while it
    /// drains.
    pub capacity: u32,
    /// Executions it holds and has not ended.
    pub running: Vec<ExecutionRef>,
    /// Executions that ended and whose outcome nobody has acknowledged.
    pub unacknowledged: Vec<ExecutionRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
}

/// What the worker should do. All of it is safe to repeat.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HeartbeatAnswer {
    /// The coordinator does not know this incarnation: register again.
    pub register: bool,
    /// From when the heartbeat was sent, the worker counts as alive so long, milliseconds.
    pub lease_ms: u64,
    /// How often this worker should be heard, milliseconds; 0 leaves it as it is.
    #[serde(default)]
    pub heartbeat_ms: u64,
    /// Runs, but is no longer current: stop it and tell nobody.
    pub stop: Vec<ExecutionRef>,
    /// A person wants it cancelled.
    pub cancel: Vec<ExecutionRef>,
    /// Dispatched to the worker and not heard of, or not of their start: it tells again when those that
    /// it runs began, and refuses for ever what it does not hold.
    pub asked: Vec<ExecutionRef>,
    /// Outcomes to send again.
    pub resend: Vec<ExecutionId>,
    /// Take nothing new while this is said.
    pub drain: bool,
    /// This incarnation was given up: stop all it runs and end it.
    #[serde(default)]
    pub fenced: bool,
    /// Attempts may end as handed back: a coordinator of the version before does not know it.
    #[serde(default)]
    pub takes_back: bool,
    /// Where the leader is, for a worker whose inbox is elsewhere. `None`: here, or nobody leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// In the answer to the registration of a new incarnation only: what the worker shows from then
    /// on, in the header `orx-worker-secret`. It is shown here, and nowhere again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<WorkerSecret>,
    pub now: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_a_later_version_is_set_aside_not_lost() {
        let text = r#"{"id":"00000000000000000000000000000001","version":2,"at":"2026-01-01T00:00:00.000Z","from":"00000000000000000000000000000002","body":{"job_teleport":{"to":"mars"}}}"#;
        let envelope: Envelope = serde_json::from_str(text).expect("an envelope");
        let Body::Unknown(kept) = envelope.body else { panic!("known: {:?}", envelope.body) };
        assert_eq!(kept.get(), r#"{"job_teleport":{"to":"mars"}}"#);
    }

    #[test]
    fn an_unknown_field_is_passed_over() {
        let text = r#"{"id":"00000000000000000000000000000001","version":1,"at":"2026-01-01T00:00:00.000Z","from":"00000000000000000000000000000002","hue":3,"body":{"job_result_ack":{"executions":[],"mood":"good"}}}"#;
        let envelope: Envelope = serde_json::from_str(text).expect("an envelope");
        assert!(matches!(envelope.body, Body::Known(Message::JobResultAck { .. })));
    }

    #[test]
    fn json_of_a_person_goes_through_a_message_as_it_is() {
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
        let crate::OutcomeKind::Succeeded { result: Some(kept) } = &outcomes[0].kind else {
            panic!("{text}")
        };
        assert_eq!(kept.get(), result.get());
    }
}
