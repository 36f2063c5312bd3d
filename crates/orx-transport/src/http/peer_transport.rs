//! A coordinator's side of `direct` over HTTP: carries within this process and to other nodes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orx_model::message::Envelope;
use orx_model::wire::{NodeChannel, NodePublishRequest, PublishAnswer, path};
use orx_model::{Code, Incarnation};
use parking_lot::Mutex;

use tokio::sync::watch;

use super::{BearerToken, CallError, Credentials, post};
use crate::{
    Channel, Deliveries, LinkOf, Links, OpenLink, Peer, PeerNodes, PeerServer, Receipts, Shard,
    Subscription, SubscriptionState, Transport, TransportError,
};

/// Timeout of a call to another node. The messages are short, and jobs wait for them.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Most workers for which the node that hosts their inbox is remembered.
const INBOX_HOSTS_MAX: usize = 10_000;

/// Carries between nodes without a broker. This node reads events and enqueue requests from its local
/// transport, which its API fills. An inbox is hosted by the node at which the worker reads it, this one
/// or another. A broadcast goes to every node.
pub struct PeerTransport {
    /// Carries within this process.
    local: Arc<dyn Transport>,
    /// Among them the inboxes that are read here.
    links: Links,
    peers: PeerNodes,
    http: reqwest::Client,
    token: BearerToken,
    /// By worker: the node that accepted an envelope for its inbox last.
    inbox_hosts: Mutex<HashMap<Incarnation, Incarnation>>,
}

impl PeerTransport {
    /// `local` carries within this process, `links` states which inboxes are read here, `token` has the
    /// scope `node`, and `http` calls the other nodes.
    #[must_use]
    pub fn new(
        local: Arc<dyn Transport>,
        peers: PeerNodes,
        links: Links,
        http: reqwest::Client,
        token: BearerToken,
    ) -> Self {
        Self { local, links, peers, http, token, inbox_hosts: Mutex::default() }
    }

    /// Whether this inbox has a reader at this node now.
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
        let credentials = Credentials { token: &self.token, secret: None };
        let sent: Result<PublishAnswer, _> =
            post(&self.http, &peer.url, path::NODE_PUBLISH, credentials, &request, CALL_TIMEOUT)
                .await;
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
            Err(error @ (CallError::NoAnswer(_) | CallError::TimedOut)) => {
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
            let hosts = self.inbox_hosts.lock();
            hosts.get(&of).copied()
        };
        // First the node that hosted the inbox last, then the others: the host accepts, the rest refuse.
        let mut order: Vec<&Peer> = list.peers.iter().collect();
        order.sort_by_key(|peer| Some(peer.node) != known);
        let channel = NodeChannel::Inbox(of);
        for peer in order {
            match self.send(peer, channel, &envelopes).await {
                Ok(()) => {
                    let mut hosts = self.inbox_hosts.lock();
                    if hosts.len() >= INBOX_HOSTS_MAX {
                        hosts.clear();
                    }
                    hosts.insert(of, peer.node);
                    return Ok(());
                }
                Err(TransportError::NoReader { .. }) => {}
                Err(error) => {
                    tracing::debug!(%error, node = %peer.node, "could not publish to a node");
                }
            }
        }
        // The worker may return to this node.
        self.local.publish(Channel::Inbox(of), envelopes).await
    }

    async fn to_all(&self, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        let list = self.peers.get();
        let send = |peer| self.send(peer, NodeChannel::Broadcast, &envelopes);
        let sent = futures_util::future::join_all(list.peers.iter().map(send)).await;
        self.local.publish(Channel::Broadcast, envelopes).await?;
        // Loss is allowed on this channel, but the caller learns that a node was not reached.
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
                Box::new(LinkedReader { subscription, _link: link })
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
            // Only if its reader is here: the sender then tries another node.
            Channel::Inbox(of) if !self.reads(of) => Err(TransportError::NoReader { channel: to }),
            _ => self.local.publish(to, envelopes).await,
        }
    }
}

/// Keeps the link of its inbox open.
struct LinkedReader {
    subscription: Box<dyn Subscription>,
    _link: OpenLink,
}

#[async_trait]
impl Subscription for LinkedReader {
    async fn next(&mut self, most: usize) -> Result<Deliveries, TransportError> {
        self.subscription.next(most).await
    }

    fn state(&self) -> watch::Receiver<SubscriptionState> {
        self.subscription.state()
    }
}
