//! Live streams: server-sent events, one stream a topic.
//!
//! The name of a server-sent event is [`LiveEvent::name`], its data the JSON of the variant's content. A
//! stream begins with `snapshot`. Each later event replaces the state of the objects that it names. An
//! event that has an id can be resumed after: send the id as `Last-Event-ID`. A client skips names that it
//! does not know.

use serde::{Deserialize, Serialize};

use super::cluster::ClusterStatus;
use super::jobs::{Condition, Count, JobDetail, JobPage};
use super::logs::LogPart;
use super::overview::Overview;
use super::queues::{DeadLetterPage, QueueList, QueueView};
use super::workers::{WorkerList, WorkerView};
use crate::attempt::Attempt;
use crate::event::{EventBody, EventCursor, KnownEvent};
use crate::ids::{Incarnation, JobId, Name};
use crate::job::{JobSummary, Progress};
use crate::problem::Problem;
use crate::schedule::wire::{SchedulePage, ScheduleView};
use crate::status::JobStatus;
use crate::time::Timestamp;

/// Paths of the streams.
pub mod path {
    /// The overview of the cluster.
    pub const OVERVIEW: &str = "/live/v1/overview";
    /// Jobs that match a filter.
    pub const JOBS: &str = "/live/v1/jobs";
    /// One job: status, attempts and progress.
    pub const JOB: &str = "/live/v1/jobs/{job}";
    /// The output of one job.
    pub const JOB_LOGS: &str = "/live/v1/jobs/{job}/logs";
    /// The output of all jobs that match a filter.
    pub const LOGS: &str = "/live/v1/logs";
    /// Workers.
    pub const WORKERS: &str = "/live/v1/workers";
    /// Queues.
    pub const QUEUES: &str = "/live/v1/queues";
    /// Schedules.
    pub const SCHEDULES: &str = "/live/v1/schedules";
    /// Dead letters.
    pub const DEAD_LETTERS: &str = "/live/v1/dead-letters";
    /// The state of the cluster.
    pub const CLUSTER: &str = "/live/v1/cluster";
    /// Every change, in order.
    pub const EVENTS: &str = "/live/v1/events";
}

/// The header of a client that resumes a stream: the id of the last event that it received.
pub const LAST_EVENT_ID: &str = "last-event-id";

/// Which jobs to watch.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::IntoParams,
)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LiveJobsQuery {
    /// Filter expression; every job if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Time zone for wall-clock times in the filter; UTC if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
    /// Rows of the snapshot at most, 1 to 500; 50 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Which output of a job to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LiveLogsQuery {
    /// Only this attempt; by default all, oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Only these streams, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Begin with about this many last lines; with everything if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// Begin after this position: `attempt:seq`. A `Last-Event-ID` takes precedence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The output of which jobs to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LiveFilteredLogsQuery {
    /// Filter expression; every job if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Time zone for wall-clock times in the filter; UTC if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
}

/// Which events to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LiveEventsQuery {
    /// Only these kinds, separated by commas: `job`, `log`, `worker`, `queue`, `schedule`, `node`. If left
    /// out, all but `job` and `log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<String>,
}

/// A topic, with what of it to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveTopic {
    /// The overview of the cluster.
    Overview,
    /// Jobs that match a filter.
    Jobs(LiveJobsQuery),
    /// One job, by id, attempt or `key:`.
    Job(String),
    /// The output of one job.
    Logs(String, LiveLogsQuery),
    /// The output of all jobs that match a filter.
    FilteredLogs(LiveFilteredLogsQuery),
    /// Workers.
    Workers,
    /// Queues.
    Queues,
    /// Schedules.
    Schedules,
    /// Dead letters.
    DeadLetters,
    /// The state of the cluster.
    Cluster,
    /// Every change, in order.
    Events(LiveEventsQuery),
}

/// The state of a topic at the start of its stream, and again after `reset`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiveSnapshot {
    /// Version of the format: 1.
    pub v: u32,
    /// The time at the server.
    pub now: Timestamp,
    /// The state, by topic.
    pub state: LiveState,
}

/// The state of a topic.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LiveState {
    /// Of `overview`.
    Overview(Box<Overview>),
    /// Of `jobs`: the first page, newest first.
    Jobs(JobPage),
    /// Of `job`.
    Job(Box<JobDetail>),
    /// Of `workers`.
    Workers(WorkerList),
    /// Of `queues`.
    Queues(QueueList),
    /// Of `schedules`: the first page.
    Schedules(SchedulePage),
    /// Of `dead-letters`: the first page, newest first.
    DeadLetters(DeadLetterPage),
    /// Of `cluster`.
    Cluster(Box<ClusterStatus>),
    /// Of `events`: the newest that the node still has, at most 100.
    Events(EventsReceived),
}

/// Jobs with another status, or otherwise changed.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobStatusUpdated {
    /// Version of the format: 1.
    pub v: u32,
    /// Jobs that match the filter, as they are now. A job that the client does not know is new to it.
    pub jobs: Vec<JobSummary>,
    /// Jobs that changed and do not match the filter (any more).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmatched: Vec<JobId>,
    /// Jobs that no longer exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<JobId>,
    /// For the topic of one job: its attempts, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
}

/// Progress of running jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobProgress {
    /// Version of the format: 1.
    pub v: u32,
    /// The newest report of each job.
    pub jobs: Vec<ProgressOf>,
}

/// Progress of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProgressOf {
    /// The job.
    pub id: JobId,
    /// Number of its live attempt, from 1.
    pub attempt: u32,
    /// Its newest report.
    pub progress: Progress,
}

/// Output of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogReceived {
    /// Version of the format: 1.
    pub v: u32,
    /// Pieces of output, in order.
    pub parts: Vec<LogPart>,
}

/// Output of several jobs. Where the numbers of the chunks of an attempt have a gap, its output grew faster
/// than the stream sends: the log of the job has the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FilteredLogsReceived {
    /// Version of the format: 1.
    pub v: u32,
    /// Pieces of output, by time; those of one job in order. After a reconnect some can come again.
    pub logs: Vec<JobLogPart>,
}

/// A piece of the output of a job, and the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobLogPart {
    /// The job.
    pub job: JobId,
    /// Its name.
    pub name: Name,
    /// The piece.
    pub part: LogPart,
}

/// The job has ended, and all its output was sent. The stream ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogEnded {
    /// Version of the format: 1.
    pub v: u32,
    /// The position to continue at if the job is retried.
    pub cursor: String,
    /// The final status of the job.
    pub status: JobStatus,
}

/// Workers that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerStatusUpdated {
    /// Version of the format: 1.
    pub v: u32,
    /// Workers as they are now.
    pub workers: Vec<WorkerView>,
    /// Workers that are no longer listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Incarnation>,
}

/// Queues that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueUpdated {
    /// Version of the format: 1.
    pub v: u32,
    /// Queues as they are now.
    pub queues: Vec<QueueView>,
    /// Queues that are no longer listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Name>,
}

/// Schedules that changed or fired.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScheduleUpdated {
    /// Version of the format: 1.
    pub v: u32,
    /// Schedules as they are now.
    pub schedules: Vec<ScheduleView>,
    /// Schedules that no longer exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Name>,
}

/// Dead letters came, were retried or deleted: fetch the visible page again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadLettersUpdated {
    /// Version of the format: 1.
    pub v: u32,
    /// Their number.
    pub count: Count,
}

/// The cluster changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClusterEvent {
    /// Version of the format: 1.
    pub v: u32,
    /// Its status now.
    pub status: Box<ClusterStatus>,
    /// The changes of nodes since the last event, oldest first; the newest 25.
    pub changes: Vec<EventLine>,
}

/// Changes as they were published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventsReceived {
    /// Version of the format: 1.
    pub v: u32,
    /// The events, oldest first.
    pub events: Vec<EventLine>,
    /// Number of older events that were left out, because there were too many at once.
    #[serde(default)]
    pub skipped: u64,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventLine {
    /// Its id at the node that sends it: `node-incarnation:seq`.
    #[schema(value_type = String, example = "7f3a00000000000000000000000000c1:17")]
    pub id: EventCursor,
    /// When it happened, by the clock of the node that made the change.
    pub at: Timestamp,
    /// The node that made the change.
    pub node: Incarnation,
    /// What happened.
    #[schema(value_type = KnownEvent)]
    pub what: EventBody,
}

/// Many objects changed at once: fetch what is visible again, at most once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Refetch {
    /// Version of the format: 1.
    pub v: u32,
    /// How many changes there were; 0 where that is unknown.
    pub changed: u64,
}

/// What the client has may be out of date. A `snapshot` follows at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reset {
    /// Version of the format: 1.
    pub v: u32,
    /// Why.
    pub why: ResetReason,
}

/// Why a stream starts over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// The id to resume from is of another node, or of this node before a restart.
    OtherNode,
    /// The id to resume from is too old.
    Past,
    /// Changes did not reach this node.
    Gap,
    /// The client reads too slowly.
    Slow,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

/// The client reads too slowly, so events were left out. `reset` and `snapshot` follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Slow {
    /// Version of the format: 1.
    pub v: u32,
    /// How many events were left out.
    pub skipped: u64,
}

/// Shows that the connection is alive, at least every 5 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LivePing {
    /// Version of the format: 1.
    pub v: u32,
    /// The time at the server.
    pub now: Timestamp,
    /// The server's condition.
    #[serde(default, skip_serializing_if = "Condition::is_well")]
    pub condition: Condition,
}

/// All output before the start of the stream was sent. Sent once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogLive {
    /// Version of the format: 1.
    pub v: u32,
}

macro_rules! live_events {
    ($($(#[$doc:meta])* $variant:ident($content:ty) = $name:literal,)*) => {
        /// An event of a live stream. As JSON, the key is the name of the server-sent event, and the value
        /// its data.
        #[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
        pub enum LiveEvent {
            $($(#[$doc])* #[serde(rename = $name)] $variant($content),)*
        }

        impl LiveEvent {
            /// The name of the server-sent event.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// Its data: JSON on one line.
            ///
            /// # Errors
            /// A map with keys that are not text, which no content has.
            pub fn data(&self) -> Result<String, serde_json::Error> {
                let text = match self { $(Self::$variant(content) => serde_json::to_string(content),)* }?;
                Ok(one_line(text))
            }

            /// Reads an event. `None`: a later version of orx sent it.
            ///
            /// # Errors
            /// The data does not have the form of the name.
            pub fn parse(name: &str, data: &str) -> Result<Option<Self>, serde_json::Error> {
                Ok(Some(match name {
                    $($name => Self::$variant(serde_json::from_str(data)?),)*
                    _ => return Ok(None),
                }))
            }
        }
    };
}

live_events! {
    /// The whole state of the topic: it replaces what the client has.
    Snapshot(LiveSnapshot) = "snapshot",
    /// Of `overview`.
    OverviewUpdated(Box<Overview>) = "overview_updated",
    /// Of `jobs` and `job`.
    JobStatusUpdated(JobStatusUpdated) = "job_status_updated",
    /// Of `jobs` and `job`.
    JobProgress(JobProgress) = "job_progress",
    /// Of `logs`. The id is the position of the last part, valid at every node.
    LogReceived(LogReceived) = "log_received",
    /// Of the logs of all jobs that match a filter. The id names the position in the log of each job that
    /// printed last, and is valid at every node.
    FilteredLogsReceived(FilteredLogsReceived) = "filtered_logs_received",
    /// Of `logs`.
    LogLive(LogLive) = "log_live",
    /// Of `logs` of one job, as its last event.
    LogEnded(LogEnded) = "log_ended",
    /// Of `workers`.
    WorkerStatusUpdated(WorkerStatusUpdated) = "worker_status_updated",
    /// Of `queues`.
    QueueUpdated(QueueUpdated) = "queue_updated",
    /// Of `schedules`.
    ScheduleUpdated(ScheduleUpdated) = "schedule_updated",
    /// Of `dead-letters`.
    DeadLettersUpdated(DeadLettersUpdated) = "dead_letters_updated",
    /// Of `cluster`.
    ClusterEvent(ClusterEvent) = "cluster_event",
    /// Of `events`.
    EventsReceived(EventsReceived) = "events_received",
    /// In place of events about many objects.
    Refetch(Refetch) = "refetch",
    /// A `snapshot` follows.
    Reset(Reset) = "reset",
    /// `reset` and `snapshot` follow.
    Slow(Slow) = "slow",
    /// Nothing, but that the connection is alive.
    Ping(LivePing) = "ping",
    /// The state could not be read. The stream goes on; the next state follows once it can be read.
    Problem(Problem) = "problem",
}

/// JSON of users is passed on as they wrote it, and may contain line breaks between its parts. Inside of
/// strings JSON has none.
fn one_line(text: String) -> String {
    if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_it_is_written_and_its_data_is_one_line() {
        let ping = LiveEvent::Ping(LivePing {
            v: 1,
            now: Timestamp::from_millis(1_767_225_600_000),
            condition: Condition::StoreFull,
        });
        let data = ping.data().expect("json");
        insta::assert_snapshot!(data, @r#"{"v":1,"now":"2026-01-01T00:00:00.000Z","condition":"store_full"}"#);
        let read = LiveEvent::parse(ping.name(), &data).expect("an event").expect("known");
        assert_eq!(read.data().expect("json"), data);
        assert!(LiveEvent::parse("comet_seen", "{}").expect("skipped").is_none());
        assert!(LiveEvent::parse("ping", "{}").is_err());
        assert_eq!(one_line("{\"a\":\r\n1}".to_owned()), "{\"a\":  1}");
    }
}
