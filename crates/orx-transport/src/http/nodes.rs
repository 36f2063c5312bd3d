//! A coordinator's side: its own hub, and the hubs of other nodes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use orx_model::message::Envelope;
use orx_model::wire::{NodeChannel, NodePublishRequest, PublishAnswer, path};
use orx_model::{Code, Incarnation};

use super::{CallError, Token, Who, post};
use crate::{Channel, Direct, Peer, Peers, Shard, Subscription, Transport, TransportError};

/// What one node tells another is short, and others wait for it.
const WITHIN: Duration = Duration::from_secs(2);
/// Workers of which it is remembered which node reaches them.
const REMEMBERED: usize = 10_000;

/// Events and requests are read from the own hub, which the API of this node fills. Inboxes are
/// where their readers are: here, or at another node. What is broadcast goes to all.
pub struct Nodes {
    hub: Direct,
    peers: Peers,
    http: reqwest::Client,
    token: Token,
    /// Which node reached a worker last.
    reached: Mutex<HashMap<Incarnation, Incarnation>>,
}

impl Nodes {
    /// `token` has the scope `node`; `http` is how other nodes are called.
    #[must_use]
    pub fn new(hub: Direct, peers: Peers, http: reqwest::Client, token: Token) -> Self {
        Self { hub, peers, http, token, reached: Mutex::default() }
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
                Err(TransportError::NoReader { channel: self.channel(channel) })
            }
            Err(CallError::Problem(problem)) => {
                Err(TransportError::Unreachable(problem.to_string()))
            }
            Err(error @ (CallError::Away(_) | CallError::Silent)) => {
                Err(TransportError::Unreachable(error.why()))
            }
        }
    }

    fn channel(&self, channel: NodeChannel) -> Channel {
        match channel {
            NodeChannel::Inbox(of) => Channel::Inbox(of),
            NodeChannel::Broadcast => Channel::Broadcast,
            NodeChannel::Enqueue => Channel::Enqueue,
            NodeChannel::Events(number) => {
                Shard::from_number(number).map_or(Channel::Broadcast, Channel::Events)
            }
        }
    }

    async fn to_inbox(
        &self,
        of: Incarnation,
        envelopes: Vec<Envelope>,
    ) -> Result<(), TransportError> {
        let list = self.peers.get();
        if self.hub.reaches(of) || list.peers.is_empty() {
            return self.hub.publish(Channel::Inbox(of), envelopes).await;
        }
        let known = {
            let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
            reached.get(&of).copied()
        };
        // The one that reached it last, then the others: whoever it went to takes it.
        let mut order: Vec<&Peer> = list.peers.iter().collect();
        order.sort_by_key(|peer| Some(peer.node) != known);
        let channel = NodeChannel::Inbox(of);
        for peer in order {
            match self.send(peer, channel, &envelopes).await {
                Ok(()) => {
                    let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.hub.publish(Channel::Inbox(of), envelopes).await
    }

    async fn to_all(&self, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        let list = self.peers.get();
        let send = |peer| self.send(peer, NodeChannel::Broadcast, &envelopes);
        let sent = futures_util::future::join_all(list.peers.iter().map(send)).await;
        self.hub.publish(Channel::Broadcast, envelopes).await?;
        // Loss is allowed here; that somebody was not reached is said all the same.
        sent.into_iter().collect()
    }
}

#[async_trait]
impl Transport for Nodes {
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        match to {
            Channel::Inbox(of) => self.to_inbox(of, envelopes).await,
            Channel::Broadcast => self.to_all(envelopes).await,
            Channel::Enqueue | Channel::Events(_) => self.hub.publish(to, envelopes).await,
        }
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        self.hub.subscribe(channel).await
    }

    async fn subscribe_events(
        &self,
        shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        self.hub.subscribe_events(shards).await
    }
}
