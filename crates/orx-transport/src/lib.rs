//! Carries envelopes between coordinators and workers: the [`Transport`] trait and its
//! implementations. The store holds the truth; a transport only carries.
//!
//! Depends on `orx-model` and `orx-feed`. It must not know stores, and it decides nothing about jobs.
//!
//! Delivery is at least once and in no promised order: a reader may receive one
//! [`Envelope::id`](orx_model::message::Envelope::id) twice and must treat the second delivery as a
//! no-op. Every queue is bounded: publishing to a full channel waits, then fails.
//!
//! A transport reconnects by itself. A reader never sees a connection error: it waits, and
//! [`Subscription::state`] reports the state of the connection. A publisher does see the error, and the
//! transport may have accepted the envelopes nevertheless.

mod delivery;
mod direct;
pub mod http;
mod links;
mod peers;
mod wakeups;

use std::fmt;

use async_trait::async_trait;
use orx_model::message::{Envelope, HeartbeatAnswer, WorkerHeartbeat, WorkerRegistration};
use orx_model::{Incarnation, JobId, SecretHash};
use tokio::sync::watch;
use tokio::time::Instant;

pub use delivery::{Acknowledge, Acknowledgement, Deliveries, Receipts};
pub use direct::Direct;
pub use links::{LinkOf, Links, OpenLink};
pub use peers::{Peer, PeerList, PeerNodes};
pub use wakeups::Wakeups;

/// The destination of an envelope. Every transport offers these four kinds and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Requests to enqueue jobs. Readers compete: one node receives each request and acknowledges it
    /// after the commit, so that none is lost.
    Enqueue,
    /// Messages to one worker or node. The reconcilers heal a loss.
    Inbox(Incarnation),
    /// Reports of workers about the jobs of one shard. Its owner reads them and acknowledges each after
    /// the commit.
    Events(Shard),
    /// Messages to every live node. Loss is allowed.
    Broadcast,
}

/// One of the [`Shard::COUNT`] parts of all jobs: `job id mod 64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    /// How many shards there are, in every cluster.
    pub const COUNT: u8 = 64;

    /// The shard of a job.
    #[must_use]
    pub fn of(job: JobId) -> Self {
        Self(job.0.rem_euclid(i64::from(Self::COUNT)) as u8)
    }

    /// All shards, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// From 0 to [`Self::COUNT`] - 1.
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

/// Why a transport did not carry.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The channel had no free space for as long as a publisher waits. Nothing was accepted.
    #[error("the channel {channel:?} is full")]
    Full {
        /// The channel that was published to.
        channel: Channel,
    },
    /// The channel has no reader: its owner has ended or has not started yet. Nothing was accepted.
    #[error("nobody reads {channel:?}")]
    NoReader {
        /// The channel that was published to, or that cannot be read here.
        channel: Channel,
    },
    /// No answer came: the envelopes may or may not have been accepted. Holds the reason.
    #[error("could not reach {0}")]
    Unreachable(String),
    /// A newer reader took over this inbox.
    #[error("another reader took over {channel:?}")]
    TakenOver {
        /// The inbox.
        channel: Channel,
    },
    /// The transport has shut down.
    #[error("the transport is closed")]
    Closed,
}

/// Carries batches of envelopes to channels, and lets readers subscribe to them.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Publishes all envelopes or none, as one batch. Returns once the carrier (a broker, a node, or a
    /// queue in this process) has confirmed that it holds them; until then they may be lost. A queue in
    /// this process loses them when the process ends, or when its owner discards the queue. A sender
    /// that must not lose an envelope therefore keeps it until the reader has answered it, by a receipt
    /// or a message.
    ///
    /// After a cancelled call the envelopes may have been accepted. Publishing them again with the same
    /// ids does no harm.
    ///
    /// # Errors
    /// Any [`TransportError`]. After [`TransportError::Unreachable`] the envelopes may have been
    /// accepted.
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError>;

    /// As [`Self::publish`]; the receipts resolve to what the reader did with each envelope. Over a
    /// broker each is [`Receipt::Taken`](orx_model::wire::Receipt::Taken): it knows no more.
    ///
    /// # Errors
    /// As [`Self::publish`].
    async fn publish_for_receipts(
        &self,
        to: Channel,
        envelopes: Vec<Envelope>,
    ) -> Result<Receipts, TransportError> {
        let count = envelopes.len();
        self.publish(to, envelopes).await?;
        Ok(Receipts::taken(count))
    }

    /// Subscribes to one channel. An inbox has one reader: a second takes over from the first. Readers
    /// of `Enqueue` compete. Each reader of `Broadcast` receives what is published from now on. When a
    /// subscription is dropped, the next reader receives its unanswered deliveries.
    ///
    /// Returns once the subscription is connected. One that cannot connect within some seconds is
    /// returned as well, and continues to try.
    ///
    /// # Errors
    /// This process cannot read that channel; trying again does not help.
    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError>;

    /// Subscribes to the events of several shards. Readers of one shard compete. Otherwise as
    /// [`Self::subscribe`].
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    async fn subscribe_events(
        &self,
        shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError>;
}

/// A reader of one channel, or of the events of several shards.
#[async_trait]
pub trait Subscription: Send {
    /// Waits for a delivery and returns it with those that wait already, at most `most` (at least 1).
    /// While the connection is broken it waits. Cancelling loses nothing.
    ///
    /// # Errors
    /// [`TransportError::TakenOver`] and [`TransportError::Closed`]: no more deliveries follow.
    async fn next(&mut self, most: usize) -> Result<Deliveries, TransportError>;

    /// The state of the connection to the carrier, now and as it changes.
    fn state(&self) -> watch::Receiver<SubscriptionState>;
}

/// How a subscription is connected to its carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionState {
    /// Whether it is connected, and since when.
    pub connection: ConnectionState,
    /// When a message that this process published last came back to it. `None`: not yet, or the
    /// transport does not measure it.
    pub last_echo: Option<Instant>,
}

impl SubscriptionState {
    /// Connected, without an echo so far.
    #[must_use]
    pub fn connected(since: Instant) -> Self {
        Self { connection: ConnectionState::Connected { since }, last_echo: None }
    }

    /// Whether the subscription is connected now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.connection, ConnectionState::Connected { .. })
    }
}

/// The connection of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// Envelopes sent before `since` may be lost where their channel allows loss.
    Connected {
        /// When it was connected.
        since: Instant,
    },
    /// The subscription tries to reconnect, without limit.
    Reconnecting {
        /// When the connection broke, or when the first attempt to connect began.
        since: Instant,
        /// The reason of the last failure, for people.
        why: String,
    },
}

/// How a worker registers and renews its lease: calls to any coordinator, whatever the transport.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Registers a new incarnation of a worker.
    ///
    /// # Errors
    /// Any [`GatewayError`].
    async fn register(
        &self,
        registration: WorkerRegistration,
    ) -> Result<HeartbeatAnswer, GatewayError>;

    /// Renews the lease of a registered incarnation and reports its state.
    ///
    /// # Errors
    /// Any [`GatewayError`].
    async fn heartbeat(&self, heartbeat: WorkerHeartbeat) -> Result<HeartbeatAnswer, GatewayError>;
}

/// The coordinator's side of [`Gateway`] for workers in other processes. `secret` is the hash of the
/// secret that the caller presented; the coordinator accepts a caller as the worker only if the worker
/// registered with that secret.
#[async_trait]
pub trait GatewayServer: Send + Sync {
    /// Registers a new incarnation, bound to this secret.
    ///
    /// # Errors
    /// Any [`GatewayError`].
    async fn register(
        &self,
        registration: WorkerRegistration,
        secret: SecretHash,
    ) -> Result<HeartbeatAnswer, GatewayError>;

    /// Renews the lease of a registered incarnation and records its state.
    ///
    /// # Errors
    /// [`GatewayError::NotThisWorker`] if the incarnation registered with another secret; otherwise any
    /// [`GatewayError`].
    async fn heartbeat(
        &self,
        heartbeat: WorkerHeartbeat,
        secret: SecretHash,
    ) -> Result<HeartbeatAnswer, GatewayError>;
}

/// Receives what other nodes publish to this one, where no broker carries between them.
#[async_trait]
pub trait PeerServer: Send + Sync {
    /// Publishes to the readers at this node only: nothing is relayed to a third node.
    ///
    /// # Errors
    /// [`TransportError::NoReader`] if the inbox is not read here; otherwise as [`Transport::publish`].
    async fn publish_here(
        &self,
        to: Channel,
        envelopes: Vec<Envelope>,
    ) -> Result<(), TransportError>;
}

/// Why a registration or a heartbeat failed. Each holds the reason, for people.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No coordinator answered. The call may be repeated, there or at another coordinator.
    #[error("no coordinator answered: {0}")]
    Unreachable(String),
    /// The coordinator rejected the worker. Trying again does not help.
    #[error("the coordinator refused this worker: {0}")]
    Refused(String),
    /// The incarnation is registered with another secret: by another worker, or by this one, which
    /// never received the answer. Only a new incarnation can go on.
    #[error("the coordinator knows this worker by another secret: {0}")]
    NotThisWorker(String),
}
