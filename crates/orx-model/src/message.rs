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

/// A message with its sender, its recipient and its time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    /// Its id: a message that comes twice has the same.
    pub id: MessageId,
    /// Version of the format, [`VERSION`].
    pub version: u32,
    /// When it was written, by the sender's clock.
    pub at: Timestamp,
    /// The sender.
    pub from: Incarnation,
    /// `None` on channels that many read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Incarnation>,
    /// W3C trace context, `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The message.
    pub body: Body,
}

/// A message this version knows, or one it sets aside: `{"job_dispatch": {…}}`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// Of this version.
    Known(Message),
    /// Of a later version, as it came.
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

/// What workers and nodes send each other.
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
    /// To a worker: send a heartbeat now; its answer says what is new.
    Heartbeat {},
    /// Worker to store: these started.
    JobStatus {
        /// The executions that started.
        started: Vec<Started>,
    },
    /// Worker to store: how far these are.
    JobProgress {
        /// The newest report of each execution.
        progress: Vec<ExecutionProgress>,
    },
    /// Worker to store: what these printed.
    JobLog {
        /// The chunks, in the order of their numbers.
        chunks: Vec<LogChunk>,
    },
    /// Worker to store: these ended.
    JobResult {
        /// How each ended.
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

    /// The name of its type, as JSON has it.
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

    /// It contains nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds attempts that ended; beyond [`Self::NAMED`] only that there are more.
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

/// A claimed job on its way to its worker: all that is needed to run it.
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
    /// No attempt starts after it, and none is retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// When the job was due.
    pub run_at: Timestamp,
    /// Attempts that failed or timed out before this one.
    pub retry: u32,
    /// `corr` in JSON.
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

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionProgress {
    /// The job.
    pub job: JobId,
    /// The execution.
    pub execution: ExecutionId,
    /// What the attempt last reported of itself.
    pub progress: Progress,
}

/// What a worker does.
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
    /// It registers.
    Starting,
    /// It takes jobs.
    Running,
    /// Finishes what it has and takes nothing new.
    Draining,
    /// It stops what still runs.
    Stopping,
    /// It has ended in good order.
    Stopped,
}

impl WorkerState {
    /// The name as JSON has it.
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
    /// The name as JSON has it.
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
    /// Memory in use, bytes.
    pub memory_used_bytes: u64,
    /// Memory of the machine, bytes.
    pub memory_bytes: u64,
}

/// A worker's first word to a coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerRegistration {
    /// The incarnation: a new one with every start.
    pub incarnation: Incarnation,
    /// The worker's name, for people.
    pub name: Name,
    /// Name of its machine.
    pub host: String,
    /// Process id on its machine.
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

/// What a worker reports of itself every few seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerHeartbeat {
    /// The incarnation: a new one with every start.
    pub incarnation: Incarnation,
    /// Counts up: an older one that comes late changes nothing.
    pub seq: u64,
    /// What it does.
    pub state: WorkerState,
    /// Executions it may hold at once: its slots, and a few more where jobs are short. 0 while it
    /// drains.
    pub capacity: u32,
    /// Executions it holds and has not ended.
    pub running: Vec<ExecutionRef>,
    /// Executions that ended and whose outcome nobody has acknowledged.
    pub unacknowledged: Vec<ExecutionRef>,
    /// How busy its machine is, where the system tells it.
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
    /// The time at the coordinator, by which the worker reports times.
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
