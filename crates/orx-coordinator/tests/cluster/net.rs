//! The simulated transport: between nodes, to the inboxes of workers, and from workers to nodes. By seed,
//! messages are lost, duplicated, late and out of order, as far as the transport's contract allows.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orx_model::message::{
    Body, Envelope, HeartbeatAnswer, Message, VERSION, WorkerHeartbeat, WorkerRegistration,
};
use orx_model::wire::Receipt;
use orx_model::{Incarnation, MessageId, SecretHash};
use orx_transport::{
    Acknowledge, Channel, Deliveries, GatewayError, GatewayServer, Shard, Subscription,
    SubscriptionState, Transport, TransportError,
};
use rand::RngExt;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use crate::bug;
use crate::node::{Mailbox, Node};
use crate::worker::Worker;
use crate::world::World;

/// A call of a worker times out after this.
const CALL: Duration = Duration::from_secs(10);

/// Secret of all workers.
pub(crate) const SECRET: SecretHash = SecretHash([7; 32]);

/// The transport of a node.
pub(crate) struct NodeTransport {
    pub(crate) world: Arc<World>,
    pub(crate) node: Arc<Node>,
}

#[async_trait]
impl Transport for NodeTransport {
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        self.node.resumed().await;
        match to {
            Channel::Inbox(of) => {
                let Some(worker) = self.world.worker(of).filter(|worker| worker.is_alive()) else {
                    return Err(TransportError::NoReader { channel: to });
                };
                for envelope in envelopes {
                    if let Body::Known(message) = &envelope.body {
                        self.world.sends(of, message);
                    }
                    self.world.to_inbox(&worker, &envelope);
                }
            }
            Channel::Broadcast => {
                let others: Vec<_> = self.world.nodes().values().cloned().collect();
                for other in others.iter().filter(|other| other.id != self.node.id) {
                    for envelope in &envelopes {
                        self.world.to_node(other, |node| &node.hints, envelope);
                    }
                }
            }
            Channel::Events(_) | Channel::Enqueue => {
                return Err(TransportError::NoReader { channel: to });
            }
        }
        Ok(())
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        let of: fn(&Node) -> &Mailbox = match channel {
            Channel::Broadcast => |node| &node.hints,
            Channel::Inbox(of) if of == self.node.id => |node| &node.inbox,
            _ => return Err(TransportError::NoReader { channel }),
        };
        Ok(Box::new(Reader { world: Arc::clone(&self.world), node: Arc::clone(&self.node), of }))
    }

    async fn subscribe_events(
        &self,
        _shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        let (world, node) = (Arc::clone(&self.world), Arc::clone(&self.node));
        Ok(Box::new(Reader { world, node, of: |node| &node.events }))
    }
}

struct Reader {
    world: Arc<World>,
    node: Arc<Node>,
    of: fn(&Node) -> &Mailbox,
}

#[async_trait]
impl Subscription for Reader {
    async fn next(&mut self, most: usize) -> Result<Deliveries, TransportError> {
        self.node.resumed().await;
        let envelopes = (self.of)(&self.node).next(most).await;
        let taken = Taken {
            world: Arc::clone(&self.world),
            node: Arc::clone(&self.node),
            of: self.of,
            envelopes: envelopes.clone(),
        };
        Ok(Deliveries::new(envelopes, Arc::new(taken)))
    }

    fn state(&self) -> watch::Receiver<SubscriptionState> {
        watch::channel(SubscriptionState::connected(Instant::now())).1
    }
}

/// One batch. Envelopes without an answer are delivered again.
struct Taken {
    world: Arc<World>,
    node: Arc<Node>,
    of: fn(&Node) -> &Mailbox,
    envelopes: Vec<Envelope>,
}

#[async_trait]
impl Acknowledge for Taken {
    async fn ack(&self, answered: Vec<(usize, Receipt)>) -> Result<(), TransportError> {
        for (index, receipt) in answered {
            if matches!(receipt, Receipt::Recorded | Receipt::Stale) {
                self.world.answered(&self.envelopes[index]);
            }
        }
        Ok(())
    }

    async fn nack(&self, returned: Vec<(usize, Envelope)>) -> Result<(), TransportError> {
        self.dropped(returned);
        Ok(())
    }

    fn dropped(&self, returned: Vec<(usize, Envelope)>) {
        for (_, envelope) in returned {
            if self.node.is_alive() {
                (self.of)(&self.node).put(envelope);
            }
        }
    }
}

impl World {
    /// A message on a cut link is lost, or arrives when the link is back.
    fn to_inbox(self: &Arc<Self>, worker: &Arc<Worker>, envelope: &Envelope) {
        for after in self.copies() {
            let (worker, envelope) = (Arc::clone(worker), envelope.clone());
            let waits = self.draw(|rng| rng.random_bool(0.5));
            tokio::spawn(async move {
                sleep(after).await;
                if waits {
                    worker.link_is_whole().await;
                }
                if !worker.is_cut_off() {
                    worker.inbox.put(envelope);
                }
            });
        }
    }

    fn to_node(self: &Arc<Self>, node: &Arc<Node>, of: fn(&Node) -> &Mailbox, it: &Envelope) {
        for after in self.copies() {
            let (node, envelope) = (Arc::clone(node), it.clone());
            tokio::spawn(async move {
                sleep(after).await;
                if node.is_alive() {
                    of(&node).put(envelope);
                }
            });
        }
    }

    /// Sends a message to the node of the worker.
    pub(crate) fn send(self: &Arc<Self>, worker: &Worker, message: Message) {
        let Some(node) = self.node_of(worker) else { return };
        if worker.is_cut_off() {
            return;
        }
        let envelope = self.envelope(worker.id, message);
        self.to_node(&node, |node| &node.events, &envelope);
    }

    pub(crate) fn envelope(&self, from: Incarnation, message: Message) -> Envelope {
        Envelope {
            id: MessageId(self.draw(|rng| rng.random())),
            version: VERSION,
            at: self.wall(),
            from,
            to: None,
            trace: None,
            body: Body::Known(message),
        }
    }
}

/// A call of a worker, which a coordinator answers.
#[derive(Clone)]
pub(crate) enum Call {
    Registration(WorkerRegistration),
    Heartbeat(WorkerHeartbeat),
}

impl Call {
    pub(crate) fn by(&self) -> Incarnation {
        match self {
            Self::Registration(it) => it.incarnation,
            Self::Heartbeat(it) => it.incarnation,
        }
    }
}

/// Calls over a link on which the call may be lost, late or duplicated, and its answer lost or late.
pub(crate) async fn call(
    world: &Arc<World>,
    worker: &Arc<Worker>,
    call: Call,
) -> Result<HeartbeatAnswer, GatewayError> {
    let silent = || GatewayError::Unreachable("no answer in time".to_owned());
    let (to, answered) = oneshot::channel();
    let Some(node) = world.node_of(worker) else {
        return Err(silent());
    };
    let there = world.copies();
    let back = world.copies().into_iter().next();
    let mut to = Some(to);
    for (number, after) in there.into_iter().enumerate() {
        let (node, worker, call) = (Arc::clone(&node), Arc::clone(worker), call.clone());
        let world = Arc::clone(world);
        let to = to.take_if(|_| number == 0);
        tokio::spawn(async move {
            sleep(after).await;
            if worker.is_cut_off() {
                // The call is lost.
                return std::future::pending().await;
            }
            let answer = ask(&world, &node, worker.is_hosted, call).await;
            let answer = answer.map(|answer| bug::answers(&world, answer));
            let (Some(to), Some(after)) = (to, back) else { return };
            sleep(after).await;
            if !worker.is_cut_off() {
                let _ = to.send(answer);
            }
        });
    }
    // The sender lives until then, so that a lost call times out and does not fail at once.
    let answer = tokio::time::timeout(CALL, answered).await;
    drop(to);
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => Err(silent()),
    };
    if answer.is_err() && world.draw(|rng| rng.random_bool(0.5)) {
        worker.moves();
    }
    answer
}

async fn ask(
    world: &World,
    node: &Node,
    hosted: bool,
    call: Call,
) -> Result<HeartbeatAnswer, GatewayError> {
    let gone = || GatewayError::Unreachable("the connection was refused".to_owned());
    if !node.is_alive() {
        return Err(gone());
    }
    node.resumed().await;
    world.reached(&call);
    let coordinator = node.coordinator().ok_or_else(gone)?;
    match (call, hosted) {
        (Call::Registration(it), true) => coordinator.hosting().register(it).await,
        (Call::Heartbeat(it), true) => coordinator.hosting().heartbeat(bug::beat(world, it)).await,
        (Call::Registration(it), false) => GatewayServer::register(coordinator, it, SECRET).await,
        (Call::Heartbeat(it), false) => {
            GatewayServer::heartbeat(coordinator, bug::beat(world, it), SECRET).await
        }
    }
}
