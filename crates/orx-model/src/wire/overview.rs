//! The overview of a cluster: numbers for a dashboard, and what needs a person.

use serde::{Deserialize, Serialize};

use super::queues::StatusCounts;
use crate::ids::{Incarnation, Name};
use crate::schedule::wire::{PauseView, ScheduleCounts};
use crate::time::Timestamp;

/// The state of the cluster in numbers. A node computes it once for all its readers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Overview {
    /// Version of the format: 1.
    pub v: u32,
    /// The node that responds.
    pub node: Incarnation,
    /// The time at this node when the numbers were read.
    pub now: Timestamp,
    /// The leader; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<Incarnation>,
    /// The name of the leader, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_name: Option<Name>,
    /// The leader's epoch, which grows with each new leader; 0 without a leader.
    pub epoch: u64,
    /// Coordinators with a recent heartbeat.
    pub nodes_live: u32,
    /// Coordinators that the store lists.
    pub nodes: u32,
    /// Workers within their lease.
    pub workers_live: u32,
    /// Workers that the store lists.
    pub workers: u32,
    /// Slots of all live workers together.
    pub slots: u32,
    /// Slots that are busy.
    pub active: u32,
    /// Prefetched jobs that wait at live workers for a free slot.
    pub prefetched: u32,
    /// Jobs by status, as stored.
    pub counts: StatusCounts,
    /// Jobs that ended within the last hour, by their final status. Counted from the events of this node
    /// since `rates.since`.
    pub last_hour: StatusCounts,
    /// Queues with open jobs or a pause first, the longest wait before the others; 50 at most.
    pub queues: Vec<QueueOverview>,
    /// Number of queues that are not listed.
    pub queues_more: u32,
    /// Changes over time.
    pub rates: Rates,
    /// From due to start, of the last 5 minutes.
    pub wait: Percentiles,
    /// From start to end of attempts, of the last 5 minutes.
    pub run: Percentiles,
    /// Number of dead letters, counted up to 100000.
    pub dead_letters: u64,
    /// Schedules that need attention.
    pub schedules: ScheduleCounts,
    /// Whether the store accepts writes.
    pub store_ok: bool,
    /// Whether every link of this node to the transport is connected.
    pub transport_ok: bool,
    /// What needs a person, worst first.
    pub attention: Vec<Attention>,
}

/// A queue in an overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueOverview {
    /// Its name.
    pub queue: Name,
    /// Jobs by status.
    pub counts: StatusCounts,
    /// How long its oldest ready job has waited since it was due, milliseconds; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<u64>,
    /// Who paused it, when and why; absent where it is not paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseView>,
}

/// Accepted and ended jobs over the last 5 minutes, counted from the events that reach this node. Each
/// list has one number for each bucket, oldest first; the last bucket is not over yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rates {
    /// Length of a bucket, milliseconds.
    pub bucket_ms: u64,
    /// When this node began to count.
    pub since: Timestamp,
    /// Some events did not reach this node in that time: the numbers are lower bounds.
    pub partial: bool,
    /// Jobs accepted.
    pub accepted: Vec<u32>,
    /// Jobs completed.
    pub completed: Vec<u32>,
    /// Jobs failed or timed out for good.
    pub failed: Vec<u32>,
    /// Jobs accepted per second, over the last 30 s.
    pub accepted_per_s: f64,
    /// Jobs completed per second, over the last 30 s.
    pub completed_per_s: f64,
    /// Jobs failed or timed out for good per second, over the last 30 s.
    pub failed_per_s: f64,
}

/// Percentiles of durations, each at most a tenth above the true value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Percentiles {
    /// Number of durations; without any, the others are 0.
    pub count: u64,
    /// Median, milliseconds.
    pub p50_ms: u64,
    /// 95 % are at most this, milliseconds.
    pub p95_ms: u64,
    /// 99 % are at most this, milliseconds.
    pub p99_ms: u64,
    /// The longest, milliseconds.
    pub max_ms: u64,
}

/// Something that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Attention {
    /// What it is.
    pub kind: AttentionKind,
    /// The queue, worker, node or schedule that it is about; absent if it is about the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// For people.
    pub text: String,
}

/// What needs a person, worst first.
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
pub enum AttentionKind {
    /// The store accepts no writes, or the server stops.
    Store,
    /// No node leads: no job is dispatched.
    NoLeader,
    /// Jobs are ready, and no live worker is there.
    NoWorker,
    /// A node's heartbeat stopped.
    NodeLost,
    /// A worker's heartbeat stopped.
    WorkerLost,
    /// A link of this node to the transport is down.
    Link,
    /// A queue waits too long.
    QueueWaits,
    /// A schedule is overdue.
    ScheduleOverdue,
    /// A schedule missed due times.
    SlotsMissed,
    /// Dead letters grow in number, or wait for a decision.
    DeadLetters,
    /// The wall clock was set.
    Clock,
    /// The nodes have different time zone databases.
    Zones,
    /// A kind of a later version.
    #[serde(other)]
    Other,
}
