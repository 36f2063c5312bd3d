//! Carries envelopes between coordinators and workers. The store is true; this only carries.
//!
//! Depends on `orx-model` and `orx-feed` only. Knows no store and decides nothing.
//!
//! Delivery is at least once and in no promised order: a reader can see one
//! [`Envelope::id`](orx_model::message::Envelope::id) twice, and is written so that the second time
//! changes nothing. Nothing here grows without bound: a full channel makes its publishers wait, and
//! then refuses them.
//!
//! Whatever carries, a broker or this process, is reconnected to by itself: readers see no error of a
//! connection, they wait, and [`Subscription::state`] says how it stands. Publishers see it, and what
//! they tried to publish may have been taken.

mod delivery;
pub mod direct;
pub mod http;
mod links;
pub mod notice;
mod peers;

use std::fmt;

use async_trait::async_trait;
use orx_model::message::{Envelope, HeartbeatAnswer, WorkerHeartbeat, WorkerRegistration};
use orx_model::{Incarnation, JobId, SecretHash};
use tokio::sync::watch;
use tokio::time::Instant;

pub use delivery::{Acknowledge, Acknowledgement, Deliveries, Receipts};
pub use direct::Direct;
pub use links::{LinkOf, Links, OpenLink};
pub use notice::Wakeups;
pub use peers::{Peer, PeerList, PeerNodes};

/// Where an envelope goes: every transport offers these four and nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Requests for jobs; any one node takes each. Acked after commit, so none is lost.
    Enqueue,
    /// What one worker or node reads. Loss is healed by reconcilers.
    Inbox(Incarnation),
    /// What workers tell about the jobs of one shard, read by its owner. Acked after commit.
    Events(Shard),
    /// Read by every node that is alive; loss is allowed.
    Broadcast,
}

/// One of 64 parts of all jobs: `job id mod 64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    pub const COUNT: u8 = 64;

    #[must_use]
    pub fn of(job: JobId) -> Self {
        Self(job.0.rem_euclid(i64::from(Self::COUNT)) as u8)
    }

    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// `None` for a number that is none.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Nobody took from the channel for as long as a publisher waits. Nothing was accepted.
    #[error("the channel {channel:?} is full")]
    Full { channel: Channel },
    /// Nobody reads that inbox: its owner is gone, or not yet there. Nothing was accepted.
    #[error("nobody reads {channel:?}")]
    NoReader { channel: Channel },
    /// Nobody answered: it may have been done, or not.
    #[error("could not reach {0}")]
    Unreachable(String),
    /// A newer reader has that inbox.
    #[error("another reader took over {channel:?}")]
    TakenOver { channel: Channel },
    #[error("the transport is closed")]
    Closed,
}

#[async_trait]
pub trait Transport: Send + Sync {
    /// Takes all envelopes or none, in one batch. Returns once whatever carries has confirmed that it
    /// has them; until then they may be lost. Where that is a queue of this process, they are lost with
    /// the process, and where nobody takes them out of it: what must not be lost is kept until its
    /// reader has answered it, by a receipt or a message. Cancelled, or failed as [`TransportError::Unreachable`]:
    /// they may have been taken. Tried again with the same ids they do no harm.
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError>;

    /// As [`Self::publish`], and what becomes of each envelope, as far as its reader tells: a broker
    /// only knows that it has them.
    async fn publish_for_receipts(
        &self,
        to: Channel,
        envelopes: Vec<Envelope>,
    ) -> Result<Receipts, TransportError> {
        let count = envelopes.len();
        self.publish(to, envelopes).await?;
        Ok(Receipts::taken(count))
    }

    /// A reader of `Enqueue`, of one inbox, or of the broadcast. Of an inbox it is the only one: a
    /// second takes over from the first. On `Enqueue` readers compete. On `Broadcast` each sees
    /// what is published from now on. Dropped, its unanswered deliveries come to the next reader.
    ///
    /// Returns once it is connected, or has tried for some seconds and goes on trying.
    ///
    /// # Errors
    /// That channel cannot be read here; trying again will not help.
    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError>;

    /// One reader of the events of several shards. Readers of one shard compete. Otherwise as
    /// [`Self::subscribe`].
    async fn subscribe_events(
        &self,
        shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError>;
}

#[async_trait]
pub trait Subscription: Send {
    /// At least one delivery, and those that wait already, at most `most` (at least 1). While the
    /// connection is broken it waits. Cancelling loses nothing.
    ///
    /// # Errors
    /// [`TransportError::TakenOver`] and [`TransportError::Closed`]: nothing more comes here.
    async fn next(&mut self, most: usize) -> Result<Deliveries, TransportError>;

    /// How it stands with whatever carries, now and from now on.
    fn state(&self) -> watch::Receiver<SubscriptionState>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionState {
    pub connection: Connection,
    /// When a message that this process published itself last came back to it. `None`: not yet, or
    /// that is not known here.
    pub last_echo: Option<Instant>,
}

impl SubscriptionState {
    #[must_use]
    pub fn connected(since: Instant) -> Self {
        Self { connection: Connection::Connected { since }, last_echo: None }
    }

    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.connection, Connection::Connected { .. })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// What was sent while it was not connected may be lost, where its channel allows loss.
    Connected { since: Instant },
    /// It is tried without end.
    Reconnecting { since: Instant, why: String },
}

/// How a worker registers and stays alive: a call and its answer, to any coordinator, whatever the
/// transport.
#[async_trait]
pub trait Gateway: Send + Sync {
    async fn register(
        &self,
        registration: WorkerRegistration,
    ) -> Result<HeartbeatAnswer, GatewayError>;

    async fn heartbeat(&self, heartbeat: WorkerHeartbeat) -> Result<HeartbeatAnswer, GatewayError>;
}

/// A coordinator's side of it, for workers in other processes: whoever calls has shown the secret of
/// which this is the hash, and is believed to be the worker only if that is the secret it registered
/// with.
#[async_trait]
pub trait GatewayServer: Send + Sync {
    /// A new incarnation is from now on known by this secret.
    async fn register(
        &self,
        registration: WorkerRegistration,
        secret: SecretHash,
    ) -> Result<HeartbeatAnswer, GatewayError>;

    async fn heartbeat(
        &self,
        heartbeat: WorkerHeartbeat,
        secret: SecretHash,
    ) -> Result<HeartbeatAnswer, GatewayError>;
}

/// A node's side of what other nodes publish to it, where nothing else carries between them.
#[async_trait]
pub trait PeerServer: Send + Sync {
    /// To those who read here, and to nobody at a third node.
    async fn publish_here(
        &self,
        to: Channel,
        envelopes: Vec<Envelope>,
    ) -> Result<(), TransportError>;
}

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Try again, here or elsewhere.
    #[error("no coordinator answered: {0}")]
    Unreachable(String),
    /// Trying again will not help.
    #[error("the coordinator refused this worker: {0}")]
    Refused(String),
    /// Another registered this incarnation, or this one did and never heard the answer: only a new
    /// incarnation can go on.
    #[error("the coordinator knows this worker by another secret: {0}")]
    NotThisWorker(String),
}
