//! What a node tells of each change of a job, worker, queue, schedule or node: small, and never with
//! args, results or output. Events say what happened; what is true stands in the store.
//!
//! The format is versioned by what carries it: an envelope between nodes, an answer of the API. An
//! event of a later version is kept as it came. A later version goes on reporting each change of a
//! status as [`KnownEvent::JobMoved`], so that who waits for a job needs to know no other event.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::ids::{Incarnation, JobId, Name, ParseIdError};
use crate::job::{Job, Json};
use crate::message::{WorkerDirective, WorkerState};
use crate::status::JobStatus;
use crate::time::Timestamp;

/// One change, and when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// By the clock of the node that made the change; 0 where that was not reported.
    pub at: Timestamp,
    /// What happened.
    pub what: EventBody,
}

impl Event {
    /// An event of this version.
    #[must_use]
    pub fn new(at: Timestamp, what: KnownEvent) -> Self {
        Self { at, what: EventBody::Known(what) }
    }

    /// `None` for an event of a later version.
    #[must_use]
    pub fn known(&self) -> Option<&KnownEvent> {
        match &self.what {
            EventBody::Known(known) => Some(known),
            EventBody::Unknown(_) => None,
        }
    }

    /// The job that it is about.
    #[must_use]
    pub fn job(&self) -> Option<&JobRef> {
        self.known()?.job()
    }
}

/// An event that this version knows, or one that it keeps as it came: `{"job_moved": {…}}`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum EventBody {
    /// Of this version.
    Known(KnownEvent),
    /// Of a later version, as it came.
    Unknown(Json),
}

impl<'de> Deserialize<'de> for EventBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        Ok(match serde_json::from_str(text.get()) {
            Ok(known) => Self::Known(known),
            Err(_) => Self::Unknown(text.into()),
        })
    }
}

impl PartialEq for EventBody {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Known(one), Self::Known(other)) => one == other,
            (Self::Unknown(one), Self::Unknown(other)) => one.get() == other.get(),
            (Self::Known(_), Self::Unknown(_)) | (Self::Unknown(_), Self::Known(_)) => false,
        }
    }
}

impl Eq for EventBody {}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownEvent {
    /// A job that was not there before.
    JobAccepted {
        /// The new job.
        job: JobRef,
        /// Its first status, where the reporter knows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<JobStatus>,
    },
    /// A job has another status.
    JobMoved {
        /// The job.
        job: JobRef,
        /// `None` where whoever reports it did not see it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<JobStatus>,
        /// Its status from now on.
        to: JobStatus,
        /// The attempt that is live, or was the last: 0 before the first, `None` if not reported.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
    },
    /// A person wants it cancelled; the end of its attempt decides.
    JobCancelling {
        /// The job.
        job: JobRef,
    },
    /// Its worker reported progress: read the job.
    JobProgressed {
        /// The job.
        job: JobRef,
    },
    /// Its log has grown: read the log.
    JobLogGrew {
        /// The job.
        job: JobRef,
    },
    /// Its status, its log or anything else of it, and the reporter does not know what.
    JobChanged {
        /// The job.
        job: JobRef,
    },
    /// `from` is `None` for a worker that registered, `to` for one that is gone.
    WorkerMoved {
        /// The worker.
        worker: WorkerRef,
        /// Its state before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<WorkerState>,
        /// Its state from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<WorkerState>,
    },
    /// Its lease ended without a word of it.
    WorkerLost {
        /// The worker.
        worker: WorkerRef,
    },
    /// What a person wants of it from now on; `None` is what it does by itself.
    WorkerOrdered {
        /// The worker.
        worker: WorkerRef,
        /// The order that stands from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order: Option<WorkerDirective>,
    },
    /// A queue was paused, resumed or limited.
    QueueChanged {
        /// The queue.
        queue: Name,
        /// What was done to it.
        change: QueueEvent,
    },
    /// A schedule was changed, or fired.
    ScheduleChanged {
        /// The schedule's id.
        schedule: Name,
        /// What was done to it, or what it did.
        change: ScheduleEvent,
    },
    /// A node joined, left, or leads.
    NodeChanged {
        /// The node's incarnation.
        node: Incarnation,
        /// The name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Name>,
        /// What it did.
        change: NodeEvent,
    },
}

impl KnownEvent {
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::JobAccepted { .. }
            | Self::JobMoved { .. }
            | Self::JobCancelling { .. }
            | Self::JobProgressed { .. }
            | Self::JobChanged { .. } => EventKind::Job,
            Self::JobLogGrew { .. } => EventKind::Log,
            Self::WorkerMoved { .. } | Self::WorkerLost { .. } | Self::WorkerOrdered { .. } => {
                EventKind::Worker
            }
            Self::QueueChanged { .. } => EventKind::Queue,
            Self::ScheduleChanged { .. } => EventKind::Schedule,
            Self::NodeChanged { .. } => EventKind::Node,
        }
    }

    /// The job that it is about, where it is one.
    #[must_use]
    pub fn job(&self) -> Option<&JobRef> {
        match self {
            Self::JobAccepted { job, .. }
            | Self::JobMoved { job, .. }
            | Self::JobCancelling { job }
            | Self::JobProgressed { job }
            | Self::JobLogGrew { job }
            | Self::JobChanged { job } => Some(job),
            Self::WorkerMoved { .. }
            | Self::WorkerLost { .. }
            | Self::WorkerOrdered { .. }
            | Self::QueueChanged { .. }
            | Self::ScheduleChanged { .. }
            | Self::NodeChanged { .. } => None,
        }
    }

    /// The queue that it is about, or whose job it is about, where that was reported.
    #[must_use]
    pub fn queue(&self) -> Option<&Name> {
        match self {
            Self::QueueChanged { queue, .. } => Some(queue),
            other => other.job()?.queue.as_ref(),
        }
    }
}

/// A job, with as much of what it is as its reporter has at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRef {
    /// Its id.
    pub id: JobId,
    /// Its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Its queue, where the reporter knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Name>,
}

impl From<JobId> for JobRef {
    fn from(id: JobId) -> Self {
        Self { id, name: None, queue: None }
    }
}

impl From<&Job> for JobRef {
    fn from(job: &Job) -> Self {
        let (name, queue) = (job.spec.name.clone(), job.spec.queue.clone());
        Self { id: job.id, name: Some(name), queue: Some(queue) }
    }
}

/// A worker, as far as the reporter knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRef {
    /// The incarnation: a new one with every start.
    pub incarnation: Incarnation,
    /// Its name, where the reporter knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
}

/// What was done to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueEvent {
    /// Nothing of it starts.
    Paused,
    /// Its jobs start again.
    Resumed,
    /// Its limits.
    Limited,
}

/// What was done to a schedule, or what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleEvent {
    /// It was made.
    Added,
    /// It was changed.
    Changed,
    /// It was removed.
    Removed,
    /// It does not fire until it is resumed.
    Paused,
    /// It fires again.
    Resumed,
    /// It made jobs, or recorded that a due time made none.
    Fired,
}

/// What a node did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeEvent {
    /// It started.
    Joined,
    /// It stopped in good order.
    Left,
    /// Its heartbeat stopped.
    Lost,
    /// From this epoch on.
    Leads {
        /// Its epoch, which grows with each new leader.
        epoch: u64,
    },
    /// It led, and does no longer.
    Follows,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// Jobs, but for their logs.
    Job,
    /// Logs of jobs.
    Log,
    /// Workers.
    Worker,
    /// Queues.
    Queue,
    /// Schedules.
    Schedule,
    /// Nodes.
    Node,
}

impl EventKind {
    /// Every one, in order.
    pub const ALL: [Self; 6] =
        [Self::Job, Self::Log, Self::Worker, Self::Queue, Self::Schedule, Self::Node];

    /// The name as JSON has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Log => "log",
            Self::Worker => "worker",
            Self::Queue => "queue",
            Self::Schedule => "schedule",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| ParseIdError::new("a kind of event such as `job`", text))
    }
}

/// A place in the events of one node: after the event with this number. Printed and read as
/// `node-incarnation:seq`. At any other node, and after a restart, it is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventCursor {
    /// The node whose feed it is of.
    pub node: Incarnation,
    /// 0 is before the first.
    pub seq: u64,
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node, self.seq)
    }
}

impl FromStr for EventCursor {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = || ParseIdError::new("a place in the events such as `NODE:17`", text);
        let (node, seq) = text.split_once(':').ok_or_else(error)?;
        if !seq.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        Ok(Self {
            node: node.parse().map_err(|_| error())?,
            seq: seq.parse().map_err(|_| error())?,
        })
    }
}

impl Serialize for EventCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventCursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What one node passes on to others of its own events, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEvents {
    /// Whose events they are. A node passes on its own alone, so that none goes round.
    pub node: Incarnation,
    /// Up to here they were passed on before: a reader that has not had those has missed some.
    pub after: u64,
    /// Up to here they are passed on with these.
    pub upto: u64,
    /// The events, oldest first.
    #[serde(default)]
    pub events: Vec<Event>,
    /// There were more than are passed on: what they were about is to be read anew.
    #[serde(default)]
    pub gap: bool,
}

impl NodeEvents {
    /// Events passed on at once.
    pub const MOST: usize = 500;
    /// An event of a later version that is larger, as JSON, is taken as a gap.
    pub const UNKNOWN_BYTES: usize = 1_024;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved() -> Event {
        let name = |text: &str| Some(text.parse().expect("a name"));
        Event::new(
            Timestamp::from_millis(1_767_225_600_000),
            KnownEvent::JobMoved {
                job: JobRef { id: JobId(7), name: name("mail.send"), queue: name("default") },
                from: Some(JobStatus::Running),
                to: JobStatus::TimedOut,
                attempt: Some(2),
            },
        )
    }

    #[test]
    fn an_event_is_small_and_reads_as_it_is_written() {
        let text = serde_json::to_string(&moved()).expect("json");
        insta::assert_snapshot!(text, @r#"{"at":"2026-01-01T00:00:00.000Z","what":{"job_moved":{"job":{"id":7,"name":"mail.send","queue":"default"},"from":"running","to":"timed_out","attempt":2}}}"#);
        assert_eq!(serde_json::from_str::<Event>(&text).expect("an event"), moved());
        // A ring of events, and each batch of them, holds this many bytes an event.
        assert!(size_of::<Event>() <= 80, "{}", size_of::<Event>());
    }

    #[test]
    fn an_event_of_a_later_version_is_kept_as_it_came() {
        for what in [r#"{"job_teleported":{"to":"mars"}}"#, r#"{"node_changed":{"node":7}}"#] {
            let text = format!(r#"{{"at":"2026-01-01T00:00:00.000Z","what":{what},"hue":3}}"#);
            let event: Event = serde_json::from_str(&text).expect("an event");
            let EventBody::Unknown(kept) = &event.what else { panic!("known: {event:?}") };
            assert_eq!(kept.get(), what);
            let again = serde_json::to_string(&event).expect("json");
            assert_eq!(serde_json::from_str::<Event>(&again).expect("an event"), event);
        }
    }

    #[test]
    fn a_cursor_reads_as_it_prints_and_nothing_else_is_one() {
        let cursor = EventCursor { node: Incarnation(0xab), seq: 17 };
        assert_eq!(cursor.to_string(), "000000000000000000000000000000ab:17");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", ":", "17", "ab:17", "000000000000000000000000000000ab:", ":17"] {
            assert!(text.parse::<EventCursor>().is_err(), "{text}");
        }
        let text = "000000000000000000000000000000ab:+17";
        assert!(text.parse::<EventCursor>().is_err());
        assert!("x".repeat(500).parse::<EventCursor>().expect_err("none").found.len() <= 80);
    }
}
