//! Messages over HTTP between workers and nodes, and between nodes.

use serde::{Deserialize, Serialize};

use crate::ids::Incarnation;
use crate::message::Envelope;
use crate::problem::Problem;

/// A worker's request: envelopes with reports about its jobs.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PublishRequest {
    /// The messages.
    #[schema(value_type = Vec<Object>)]
    pub envelopes: Vec<Envelope>,
    /// How long to wait for the receipts, milliseconds: at most 30000, default 10000. With 0 each receipt
    /// is `taken`, and acknowledgements follow in the inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// The receipt for one envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// Recorded in the store.
    Recorded,
    /// Final: its outcomes are of executions that are no longer current, and nothing was changed.
    Stale,
    /// Queued to be recorded. Without an acknowledgement, send it again.
    Taken,
    /// Not accepted: send it again later, here or to another node.
    TryAgain,
    /// Set aside: not a message for coordinators, or of an unknown type.
    NotForUs,
    /// Final: it cannot be read, or a worker may not report it; `refused` contains the reason.
    Refused,
}

/// The receipts for the messages of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PublishAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// One receipt for each envelope, in order.
    pub receipts: Vec<Receipt>,
    /// The reasons for refused envelopes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedEnvelope>,
}

/// A refused message, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RefusedEnvelope {
    /// Its index in the request, from 0.
    pub place: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// The inbox to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InboxQuery {
    /// The incarnation whose inbox is read. A second reader takes over from the first.
    pub worker: Option<Incarnation>,
}

/// One line of a worker's inbox.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InboxLine {
    /// A message.
    #[schema(value_type = Object)]
    Envelope(Box<Envelope>),
    /// Sent about every 5 s without other lines, to show that the connection is open.
    Ping {},
    /// Another reader has taken over the inbox. The last line.
    TakenOver {},
}

/// The destination of messages between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeChannel {
    /// The inbox of a worker connected to this node, or the node's own.
    Inbox(Incarnation),
    /// The broadcast to all nodes.
    Broadcast,
}

/// Messages of a node to another.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodePublishRequest {
    /// Their destination.
    pub channel: NodeChannel,
    /// The messages.
    #[schema(value_type = Vec<Object>)]
    pub envelopes: Vec<Envelope>,
}
