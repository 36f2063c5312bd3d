//! A coordinator's side: what is carried in its own process, and in those of other nodes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orx_model::message::Envelope;
use orx_model::wire::{NodeChannel, NodePublishRequest, PublishAnswer, path};
use orx_model::{Code, Incarnation};
use parking_lot::Mutex;

use tokio::sync::watch;

use super::{CallError, Token, Who, post};
use crate::{
    Channel, Deliveries, LinkOf, Links, OpenLink, Peer, PeerNodes, PeerServer, Receipts, Shard,
    Subscription, SubscriptionState, Transport, TransportError,
};

/// What one node tells another is short, and others wait for it.
const WITHIN: Duration = Duration::from_secs(2);
/// Workers of which it is remembered which node reaches them.
const REMEMBERED: usize = 10_000;

/// Events and requests are read from the transport of this process, which the API of this node fills.
/// Inboxes are where their readers are: here, or at another node. What is broadcast goes to all.
pub struct PeerTransport {
    /// Of this process.
    local: Arc<dyn Transport>,
    /// Inboxes that are read here are among them.
    links: Links,
    peers: PeerNodes,
    http: reqwest::Client,
    token: Token,
    /// Which node reached a worker last.
    reached: Mutex<HashMap<Incarnation, Incarnation>>,
}

impl PeerTransport {
    /// `local` carries within this process, `links` says what is read here. `token` has the scope
    /// `node`; `http` is how other nodes are called.
    #[must_use]
    pub fn new(
        local: Arc<dyn Transport>,
        peers: PeerNodes,
        links: Links,
        http: reqwest::Client,
        token: Token,
    ) -> Self {
        Self { local, links, peers, http, token, reached: Mutex::default() }
    }

    /// Somebody reads that inbox here, now.
    #[must_use]
    pub fn reads(&self, inbox: Incarnation) -> bool {
        self.links.is_open(LinkOf::Inbox(inbox))
    }

    async fn send(
        &self,
        peer: &Peer,
        channel: NodeChannel,
        envelopes: &[Envelope],
    ) -> Result<(), TransportError> {
        let request = NodePublishRequest { channel, envelopes: envelopes.to_vec() };
        let who = Who { token: &self.token, secret: None };
        let sent: Result<PublishAnswer, _> =
            post(&self.http, &peer.url, path::NODE_PUBLISH, who, &request, WITHIN).await;
        match sent {
            Ok(_) => Ok(()),
            Err(CallError::Problem(problem)) if problem.code == Code::NotFound => {
                let channel = match channel {
                    NodeChannel::Inbox(of) => Channel::Inbox(of),
                    NodeChannel::Broadcast => Channel::Broadcast,
                };
                Err(TransportError::NoReader { channel })
            }
            Err(CallError::Problem(problem)) => {
                Err(TransportError::Unreachable(problem.to_string()))
            }
            Err(error @ (CallError::Away(_) | CallError::Silent)) => {
                Err(TransportError::Unreachable(error.why()))
            }
        }
    }

    async fn to_inbox(
        &self,
        of: Incarnation,
        envelopes: Vec<Envelope>,
    ) -> Result<(), TransportError> {
        let list = self.peers.get();
        if self.reads(of) || list.peers.is_empty() {
            return self.local.publish(Channel::Inbox(of), envelopes).await;
        }
        let known = {
            let reached = self.reached.lock();
            reached.get(&of).copied()
        };
        // The one that reached it last, then the others: whoever it went to takes it.
        let mut order: Vec<&Peer> = list.peers.iter().collect();
        order.sort_by_key(|peer| Some(peer.node) != known);
        let channel = NodeChannel::Inbox(of);
        for peer in order {
            match self.send(peer, channel, &envelopes).await {
                Ok(()) => {
                    let mut reached = self.reached.lock();
                    if reached.len() >= REMEMBERED {
                        reached.clear();
                    }
                    reached.insert(of, peer.node);
                    return Ok(());
                }
                Err(TransportError::NoReader { .. }) => {}
                Err(error) => tracing::debug!(%error, node = %peer.node, "a node was not reached"),
            }
        }
        // Its reader may come back here.
        self.local.publish(Channel::Inbox(of), envelopes).await
    }

    async fn to_all(&self, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        let list = self.peers.get();
        let send = |peer| self.send(peer, NodeChannel::Broadcast, &envelopes);
        let sent = futures_util::future::join_all(list.peers.iter().map(send)).await;
        self.local.publish(Channel::Broadcast, envelopes).await?;
        // Loss is allowed here; that somebody was not reached is said all the same.
        sent.into_iter().collect()
    }
}

#[async_trait]
impl Transport for PeerTransport {
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        match to {
            Channel::Inbox(of) => self.to_inbox(of, envelopes).await,
            Channel::Broadcast => self.to_all(envelopes).await,
            Channel::Enqueue | Channel::Events(_) => self.local.publish(to, envelopes).await,
        }
    }

    async fn publish_for_receipts(
        &self,
        to: Channel,
        envelopes: Vec<Envelope>,
    ) -> Result<Receipts, TransportError> {
        match to {
            Channel::Inbox(_) | Channel::Broadcast => {
                let count = envelopes.len();
                self.publish(to, envelopes).await?;
                Ok(Receipts::taken(count))
            }
            Channel::Enqueue | Channel::Events(_) => {
                self.local.publish_for_receipts(to, envelopes).await
            }
        }
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        let subscription = self.local.subscribe(channel).await?;
        Ok(match channel {
            Channel::Inbox(of) => {
                let link = self.links.open(LinkOf::Inbox(of), subscription.state());
                Box::new(InboxReader { subscription, _link: link })
            }
            Channel::Enqueue | Channel::Events(_) | Channel::Broadcast => subscription,
        })
    }

    async fn subscribe_events(
        &self,
        shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        self.local.subscribe_events(shards).await
    }
}

#[async_trait]
impl PeerServer for PeerTransport {
    async fn publish_here(
        &self,
        to: Channel,
        envelopes: Vec<Envelope>,
    ) -> Result<(), TransportError> {
        match to {
            // Only where its reader is: whoever sends looks elsewhere else.
            Channel::Inbox(of) if !self.reads(of) => Err(TransportError::NoReader { channel: to }),
            _ => self.local.publish(to, envelopes).await,
        }
    }
}

/// Says that its inbox is read here while it lives.
struct InboxReader {
    subscription: Box<dyn Subscription>,
    _link: OpenLink,
}

#[async_trait]
impl Subscription for InboxReader {
    async fn next(&mut self, most: usize) -> Result<Deliveries, TransportError> {
        self.subscription.next(most).await
    }

    fn state(&self) -> watch::Receiver<SubscriptionState> {
        self.subscription.state()
    }
}
