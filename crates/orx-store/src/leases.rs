//! The leader's lease in a store, and the nodes that can hold it.

use std::time::Duration;

use async_trait::async_trait;
use orx_model::{Incarnation, Name, Timestamp};

use crate::Result;

/// One period of leadership. No two terms have the same epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// The node that leads.
    pub node: Incarnation,
    /// Grows with each new leader.
    pub epoch: u64,
}

/// A coordinator's request to acquire or renew the leader's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeadRequest {
    /// The coordinator that asks.
    pub node: Incarnation,
    /// Length of the lease from now on.
    pub ttl: Duration,
    /// The highest epoch that the node has seen. A new epoch is higher even if the store was restored
    /// from a backup.
    pub above: u64,
}

/// The result of a [`LeadRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// The node holds the lease. The epoch is new if another node held the lease, or it had expired.
    Leading(Term),
    /// Another node leads.
    Following {
        /// The term of that node.
        leader: Term,
        /// Time until its lease expires unless it renews it.
        left: Duration,
    },
    /// No node leads, and this node may not: it drains.
    Barred,
}

/// A coordinator, as it reports itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// Drawn at each start of the process.
    pub node: Incarnation,
    /// As configured.
    pub name: Name,
    /// Where other nodes and workers reach it.
    pub url: Option<String>,
    /// Version of orx.
    pub version: String,
    /// Version of the time zone database that it reads; `None` from a node of an older version.
    pub zone_version: Option<String>,
    /// When its process started.
    pub started_at: Timestamp,
}

/// A coordinator as of its last report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The newest report.
    pub report: NodeReport,
    /// When the node reported last.
    pub seen_at: Timestamp,
    /// Time since the last report, by the clock of the store.
    pub silent: Duration,
    /// Since when the node drains. `None`: it does not.
    pub draining_since: Option<Timestamp>,
}

/// The leader's lease, and the nodes that can hold it.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Durable. Acquires the leader's lease if it is free or expired, and renews the node's own. A new
    /// epoch is above every earlier one, above [`LeadRequest::above`], and above the seconds since
    /// 1970. A node that drains renews its lease, and acquires none.
    ///
    /// # Errors
    /// [`StoreError::Moved`] if several nodes share the store and it has moved.
    ///
    /// [`StoreError::Moved`]: crate::StoreError::Moved
    async fn lead(&self, request: LeadRequest, now: Timestamp) -> Result<Lead>;

    /// Durable. Releases the lease if `term` still holds it; returns whether it did.
    async fn step_down(&self, term: Term) -> Result<bool>;

    /// The leader, and the time until its lease expires without renewal. `None` without a leader.
    async fn leader(&self, now: Timestamp) -> Result<Option<(Term, Duration)>>;

    /// Advisory. Inserts the node, or replaces the report in the row with the same incarnation.
    async fn put_node(&self, node: NodeReport, now: Timestamp) -> Result<()>;

    /// Durable. Starts or ends the drain of a node; returns whether that changed anything. The drain ends
    /// with the node's row.
    async fn drain_node(&self, node: Incarnation, drain: bool, now: Timestamp) -> Result<bool>;

    /// Ordered by name, then incarnation.
    async fn nodes(&self, now: Timestamp) -> Result<Vec<NodeRecord>>;

    /// Advisory. Ignores unknown nodes.
    async fn remove_nodes(&self, nodes: Vec<Incarnation>) -> Result<()>;
}
