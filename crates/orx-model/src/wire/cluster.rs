//! The state of the cluster over HTTP.

use serde::{Deserialize, Serialize};

use super::queues::StatusCounts;
use crate::ids::{Incarnation, Name};
use crate::names;
use crate::schedule::wire::ScheduleCounts;
use crate::time::Timestamp;

/// The state of the cluster, as one node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClusterStatus {
    /// Version of the format: 1.
    pub v: u32,
    /// Version of the node's program.
    pub version: String,
    /// The node that responds.
    pub node: Incarnation,
    /// When the node started.
    pub started_at: Timestamp,
    /// The time at this node.
    pub now: Timestamp,
    /// `sqlite`, `postgres` or `memory`.
    pub store: String,
    /// `full`, or what a crash may lose of accepted jobs.
    pub durability: String,
    /// `direct`, or the broker that carries messages.
    pub transport: String,
    /// The time zone database of this coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_data: Option<ZoneData>,
    /// The leader; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<Incarnation>,
    /// The leader's epoch, which grows with each new leader.
    #[serde(default)]
    pub epoch: u64,
    /// The coordinators that share the store.
    #[serde(default)]
    pub nodes: Vec<NodeView>,
    /// Jobs by status.
    pub counts: StatusCounts,
    /// Number of dead letters, counted up to 100000.
    pub dead_letters: u64,
    /// Schedules that need attention.
    #[serde(default)]
    pub schedules: ScheduleCounts,
    /// Workers within their lease.
    pub workers_live: u32,
    /// Slots of all live workers together.
    pub slots: u32,
    /// Slots that are busy.
    pub active: u32,
    /// Prefetched jobs that wait at live workers for a free slot.
    #[serde(default)]
    pub prefetched: u32,
    /// Changes of the wall clock; absent before a leader recorded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockView>,
    /// Subscriptions of this node, and of the workers connected to it.
    #[serde(default)]
    pub links: Vec<LinkView>,
    /// Problems that need an operator, worst first.
    pub attention: Vec<String>,
    /// Intervals in force, such as lease and heartbeat: milliseconds by name.
    pub settings_ms: std::collections::BTreeMap<String, u64>,
}

/// The sender and reason of a request to step down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepDownRequest {
    /// The reason, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who sends the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The change of the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StepDownAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// The node that led.
    pub from: Name,
    /// The node that leads now; absent if none did within 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Name>,
    /// The epoch of the new leader; 0 without one.
    pub epoch: u64,
}

/// A subscription to the transport, and its connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LinkView {
    /// The channel that is read.
    pub of: LinkKind,
    /// The worker whose inbox it is; absent for other channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Incarnation>,
    /// The name of that worker, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_name: Option<Name>,
    /// Whether it is connected; if not, the reader keeps reconnecting.
    pub connected: bool,
    /// Since when; absent where that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why it is not connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When the reader last received a message that it published itself; absent where the transport does
    /// not report that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_echo: Option<Timestamp>,
}

names! {
    /// A channel of the transport.
    #[derive(utoipa::ToSchema)]
    pub enum LinkKind {
        /// Reports of workers, which a node reads.
        Events = "events",
        /// Notifications between nodes, which a node reads.
        Broadcast = "broadcast",
        /// Messages to one worker, which that worker reads.
        Inbox = "inbox",
    }
}

/// Changes of the wall clock that leaders noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClockView {
    /// How often the clock was set.
    pub jumps: u64,
    /// When it was set last, by the new time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// By how many milliseconds; negative where it went back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_by_ms: Option<i64>,
}

/// A coordinator, as it registered in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeView {
    /// The node's incarnation.
    pub node: Incarnation,
    /// The name.
    pub name: Name,
    /// The URL at which other nodes reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Version of its program.
    pub version: String,
    /// Version of its time zone database: `2025b`, or `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_version: Option<String>,
    /// Whether it is the leader.
    pub leads: bool,
    /// Whether its heartbeat is recent.
    pub live: bool,
    /// How far its drain is; absent unless it drains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<NodeDrain>,
    /// Since when it drains; absent unless it drains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining_since: Option<Timestamp>,
    /// When it started.
    pub started_at: Timestamp,
    /// When its last heartbeat arrived.
    pub seen_at: Timestamp,
}

names! {
    /// How far the drain of a node is.
    #[derive(utoipa::ToSchema)]
    pub enum NodeDrain {
        /// It leads, or workers are connected to it.
        Draining = "draining",
        /// It does not lead, and no worker is connected to it: it may be stopped.
        Drained = "drained",
    }
}

impl NodeView {
    /// What the node does, in one word.
    #[must_use]
    pub fn role(&self) -> &'static str {
        match (self.leads, self.live) {
            (true, _) => "leads",
            (false, true) => "follows",
            (false, false) => "silent",
        }
    }
}

/// The sender and reason of a request to drain or resume a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeDrainRequest {
    /// The reason, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who sends the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The node after a request to drain or resume it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeDrainAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// Whether the request changed anything.
    pub changed: bool,
    /// The node.
    pub node: NodeView,
}

/// The time zone database of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ZoneData {
    /// A folder, or `compiled in`.
    pub source: String,
    /// Version of the IANA database: `2025b`. Absent where the folder does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl ZoneData {
    /// The version for people, or `unknown`.
    #[must_use]
    pub fn version_text(&self) -> &str {
        self.version.as_deref().unwrap_or("of unknown version")
    }
}
