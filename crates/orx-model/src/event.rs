//! Events: a node's reports about each change of a job, worker, queue, schedule or node. They are small
//! and contain no args, results or output. An event states what happened; the store holds the truth.
//!
//! The envelope or API response that contains events versions their format. A reader passes on an event
//! of a later version unchanged. Every version reports each change of a status as
//! [`KnownEvent::JobMoved`], so that a client that waits for a job needs no other event.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::ids::{Incarnation, JobId, Name, ParseIdError};
use crate::job::{Job, Json};
use crate::message::{WorkerDirective, WorkerState};
use crate::names;
use crate::status::JobStatus;
use crate::time::Timestamp;

/// One change, and when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Time by the clock of the node that made the change; 0 where that was not reported.
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

    /// The job that the event is about.
    #[must_use]
    pub fn job(&self) -> Option<&JobRef> {
        self.known()?.job()
    }
}

/// An event of a known type, or an unchanged one of a later version: `{"job_moved": {…}}`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum EventBody {
    /// An event of this version.
    Known(KnownEvent),
    /// An event of a later version, unchanged.
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

/// The events of this version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KnownEvent {
    /// A new job.
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
        /// The status before; `None` where the reporter did not see it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<JobStatus>,
        /// Its status from now on.
        to: JobStatus,
        /// Number of the live or latest attempt: 0 before the first, `None` if not reported.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
    },
    /// A cancel was requested for a live job; the end of its attempt decides.
    JobCancelling {
        /// The job.
        job: JobRef,
    },
    /// The worker of a job reported progress, which is in the job.
    JobProgressed {
        /// The job.
        job: JobRef,
    },
    /// The log of a job has grown.
    JobLogGrew {
        /// The job.
        job: JobRef,
    },
    /// A job changed in its status, its log or another way that the reporter does not know.
    JobChanged {
        /// The job.
        job: JobRef,
    },
    /// A worker changed its state; `from` is `None` when it registered, `to` when it is gone.
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
    /// The lease of a worker expired.
    WorkerLost {
        /// The worker.
        worker: WorkerRef,
    },
    /// An operator's directive to a worker changed; `None`: withdrawn.
    WorkerOrdered {
        /// The worker.
        worker: WorkerRef,
        /// The directive in force from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order: Option<WorkerDirective>,
    },
    /// A queue was paused, resumed or limited.
    QueueChanged {
        /// The queue.
        queue: Name,
        /// The change.
        change: QueueEvent,
    },
    /// A schedule was changed, or fired.
    ScheduleChanged {
        /// The schedule's id.
        schedule: Name,
        /// The change, or what the schedule did.
        change: ScheduleEvent,
    },
    /// A node joined, left, or leads.
    NodeChanged {
        /// The node's incarnation.
        node: Incarnation,
        /// The name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Name>,
        /// What the node did.
        change: NodeEvent,
    },
}

impl KnownEvent {
    /// The topic of the event.
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

    /// The job that the event is about, if any.
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

    /// The queue that the event or its job belongs to, where that was reported.
    #[must_use]
    pub fn queue(&self) -> Option<&Name> {
        match self {
            Self::QueueChanged { queue, .. } => Some(queue),
            other => other.job()?.queue.as_ref(),
        }
    }
}

/// A job, with the details that the reporter knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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

/// A worker, with the details that the reporter knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerRef {
    /// The incarnation: a new one with every start.
    pub incarnation: Incarnation,
    /// Its name, where the reporter knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
}

/// A change of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueueEvent {
    /// Paused: none of its jobs start.
    Paused,
    /// Resumed: its jobs start again.
    Resumed,
    /// Its limits changed.
    Limited,
}

/// A change of a schedule, or an action of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleEvent {
    /// It was created.
    Added,
    /// It was changed.
    Changed,
    /// It was removed.
    Removed,
    /// It was paused, and does not fire until it is resumed.
    Paused,
    /// It was resumed, and fires again.
    Resumed,
    /// It created jobs, or recorded a due time without a job.
    Fired,
}

/// An action of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeEvent {
    /// It started.
    Joined,
    /// It stopped in good order.
    Left,
    /// Its heartbeat stopped.
    Lost,
    /// It leads, from this epoch on.
    Leads {
        /// Its epoch, which grows with each new leader.
        epoch: u64,
    },
    /// It no longer leads.
    Follows,
    /// It drains: it leads no more, and its workers move to other nodes.
    Drains,
    /// Its drain was taken back.
    Resumes,
}

names! {
    /// The topic of an event.
    #[derive(PartialOrd, Ord)]
    pub enum EventKind {
        /// Jobs, without their logs.
        Job = "job",
        /// Logs of jobs.
        Log = "log",
        /// Workers.
        Worker = "worker",
        /// Queues.
        Queue = "queue",
        /// Schedules.
        Schedule = "schedule",
        /// The nodes.
        Node = "node",
    }
}

impl FromStr for EventKind {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::of_name(text).ok_or_else(|| ParseIdError::new("a kind of event such as `job`", text))
    }
}

/// A position in the events of one node: after the event with this number. Printed and parsed as
/// `node-incarnation:seq`. Unknown at any other node, and after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventCursor {
    /// The node whose feed it belongs to.
    pub node: Incarnation,
    /// Number of the event; 0 is before the first.
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

/// Events that one node sends to the others, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEvents {
    /// The node whose events they are. A node sends only its own, so that none circulate.
    pub node: Incarnation,
    /// Number of the last event sent before. A reader without it has missed some.
    pub after: u64,
    /// Number of the last event sent with these.
    pub upto: u64,
    /// The events, oldest first.
    #[serde(default)]
    pub events: Vec<Event>,
    /// There were more events than are sent: readers must read their subjects anew.
    #[serde(default)]
    pub gap: bool,
}

impl NodeEvents {
    /// The most events sent at once.
    pub const MOST: usize = 500;
    /// An event of a later version that is larger than this, as JSON, in bytes, counts as a gap.
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
    fn an_event_of_a_later_version_is_passed_on_unchanged() {
        for what in [r#"{"job_teleported":{"to":"mars"}}"#, r#"{"node_changed":{"node":7}}"#] {
            let text = format!(r#"{{"at":"2026-01-01T00:00:00.000Z","what":{what},"hue":3}}"#);
            let event: Event = serde_json::from_str(&text).expect("an event");
            let EventBody::Unknown(raw) = &event.what else { panic!("known: {event:?}") };
            assert_eq!(raw.get(), what);
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
