//! This node among others: it writes its own row, reads the rows of other nodes, and exchanges notifications
//! with them. A notification only saves time: every node reads the truth from the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orx_model::event::{Event, KnownEvent, NodeEvent};
use orx_model::message::{Body, Message, Notification};
use orx_model::{Incarnation, Name};
use orx_store::{NodeRecord, NodeReport, StoreError};
use orx_transport::{Channel, Peer, PeerList, PeerNodes, Subscription, TransportError};

use crate::Context;
use crate::health::is_the_end;

/// The pause between two notifications of a node that knows no other node.
const ALONE_PAUSE: Duration = Duration::from_millis(20);
/// Notifications of other nodes read at once.
const NOTIFICATIONS: usize = 256;

/// Writes the row of this node, and reads the rows of other nodes: every `node_heartbeat`, and when woken.
///
/// # Errors
/// The store can be used no longer.
pub(crate) async fn heartbeat(
    context: Arc<Context>,
    report: NodeReport,
    peers: PeerNodes,
) -> Result<(), StoreError> {
    let every = context.settings.node_heartbeat;
    let mut written: Option<Duration> = None;
    let mut seen = SeenNodes::default();
    loop {
        let now = context.now();
        let is_new = written.is_none();
        if written.is_none_or(|at| now.mono >= at + every) {
            match write_own_row(&context, &report).await {
                Err(error) if is_the_end(&error) => return Err(error),
                Err(error) => tracing::debug!(%error, "could not write the row of this node"),
                Ok(()) => {}
            }
            written = Some(now.mono);
        }
        if let Err(error) = read_peers(&context, &peers, &mut seen).await {
            tracing::debug!(%error, "could not read the rows of other nodes");
        }
        if is_new {
            context.wakeups.nodes();
        }
        let wait = (written.unwrap_or_default() + every).saturating_sub(context.now().mono);
        tokio::select! {
            biased;
            () = context.wakes.nodes.notified() => written = None,
            () = context.wakes.peers.notified() => {}
            () = context.wakeups.wait_for_own_row() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn write_own_row(context: &Context, report: &NodeReport) -> Result<(), StoreError> {
    let zones = orx_schedule::rules::source().data();
    let zone_version = Some(zones.version.unwrap_or_else(|| "unknown".to_owned()));
    let node = NodeReport { zone_version, ..report.clone() };
    context.store.put_node(node, context.now().wall).await
}

/// Reads which other nodes are alive, for services that send to them.
async fn read_peers(
    context: &Context,
    peers: &PeerNodes,
    seen: &mut SeenNodes,
) -> Result<(), StoreError> {
    let nodes = context.store.nodes(context.now().wall).await?;
    let lives = context.settings.node_heartbeat * 3;
    let at = context.now().wall;
    for (node, name, change) in seen.changes(context.node, &nodes, lives) {
        let event = KnownEvent::NodeChanged { node, name: Some(name), change };
        // Every node reads the same rows, so this event is not sent to other nodes.
        context.wakeups.feed().publish_from(node, vec![Event::new(at, event)]);
    }
    // A node without a row has not written it yet, or was taken for lost: a drain ends with the row.
    let own = nodes.iter().find(|node| node.report.node == context.node);
    let drains = own.is_some_and(|node| node.draining_since.is_some());
    let changed = context.wakeups.set_draining(drains);
    let others = nodes
        .into_iter()
        .filter(|node| node.silent < lives && node.report.node != context.node)
        .filter_map(|node| Some(Peer { node: node.report.node, url: node.report.url? }));
    let leader = context.lead.leader().map(|term| term.node);
    let new_leader = leader != peers.get().leader;
    peers.set(PeerList { peers: others.collect(), leader });
    if changed || drains && new_leader {
        if changed {
            tracing::info!(drains, "the drain of this node changed");
        }
        // The answers to their heartbeats move them.
        let workers = context.worker_table().workers();
        let heartbeat = |worker| (worker, Message::Heartbeat {});
        context.post.send(workers.into_iter().map(heartbeat), context.now().wall);
    }
    Ok(())
}

/// The nodes of the last read.
#[derive(Debug, Default)]
struct SeenNodes {
    nodes: Option<BTreeMap<Incarnation, SeenNode>>,
}

#[derive(Debug, Clone)]
struct SeenNode {
    name: Name,
    alive: bool,
    drains: bool,
}

impl SeenNodes {
    /// The changes of nodes since the last read. The first read reports this node only.
    fn changes(
        &mut self,
        own: Incarnation,
        rows: &[NodeRecord],
        lives: Duration,
    ) -> Vec<(Incarnation, Name, NodeEvent)> {
        let found: BTreeMap<Incarnation, SeenNode> = rows
            .iter()
            .map(|row| {
                let alive = row.report.node == own || row.silent < lives;
                let (name, drains) = (row.report.name.clone(), row.draining_since.is_some());
                (row.report.node, SeenNode { name, alive, drains })
            })
            .collect();
        let is_first = self.nodes.is_none();
        let before = self.nodes.take().unwrap_or_default();
        let mut changes = Vec::new();
        for (node, now) in &found {
            let was = before.get(node);
            let change = match (was.is_some_and(|was| was.alive), now.alive) {
                (false, true) if !is_first || *node == own => Some(NodeEvent::Joined),
                (true, false) => Some(NodeEvent::Lost),
                (false, _) | (true, true) => None,
            };
            changes.extend(change.map(|change| (*node, now.name.clone(), change)));
            let change = match (was.is_some_and(|was| was.drains), now.drains) {
                (false, true) if !is_first => Some(NodeEvent::Drains),
                (true, false) => Some(NodeEvent::Resumes),
                (false, _) | (true, true) => None,
            };
            changes.extend(change.map(|change| (*node, now.name.clone(), change)));
        }
        let gone = before.into_iter().filter(|(node, was)| was.alive && !found.contains_key(node));
        changes.extend(gone.map(|(node, was)| (node, was.name, NodeEvent::Left)));
        self.nodes = Some(found);
        changes
    }
}

/// Reads the notifications of other nodes.
///
/// # Errors
/// The transport is closed.
pub(crate) async fn receive(
    context: Arc<Context>,
    mut hints: Box<dyn Subscription>,
) -> Result<(), TransportError> {
    loop {
        // A broadcast is not redelivered, so nothing is acknowledged.
        for envelope in hints.next(NOTIFICATIONS).await?.accept().0 {
            match envelope.body {
                Body::Known(Message::Notification(hint)) if envelope.from != context.node => {
                    apply_notification(&context, &hint);
                }
                Body::Known(_) => {}
                Body::Unknown(_) => {
                    tracing::warn!(version = envelope.version, "message ignored: unknown type");
                }
            }
        }
    }
}

/// Takes over a notification of another node: wakes the services that it concerns.
pub fn apply_notification(context: &Context, hint: &Notification) {
    // Readers of the feed of this node, and the dispatcher, if this node leads.
    context.wakeups.apply(hint);
    if hint.slots_freed {
        {
            let mut slots = context.slots();
            hint.ended.iter().for_each(|it| slots.attempt_ended(it.worker, it.execution));
        }
        context.wakes.ended();
        context.wakes.dispatcher.notify_one();
        if !hint.all_ended {
            context.wakes.make_round();
        }
    }
    if hint.nodes {
        context.wakes.leader.notify_one();
        context.wakes.peers.notify_one();
    }
}

/// Sends notifications to other nodes. While one is being sent, the next gathers; while no other node is
/// known, it gathers for [`ALONE_PAUSE`] longer.
pub(crate) async fn send(context: Arc<Context>, peers: PeerNodes) {
    loop {
        let hint = context.wakeups.for_others().await;
        let message = Message::Notification(hint);
        let envelope = context.post.envelope(None, message, context.now().wall);
        let sent = context.transport.publish(Channel::Broadcast, vec![envelope]);
        if let Err(error) = sent.await {
            tracing::debug!(%error, "could not notify other nodes: they read the store on their own timers");
        }
        if peers.get().peers.is_empty() {
            tokio::time::sleep(ALONE_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use orx_model::Timestamp;

    use super::*;

    const OWN: Incarnation = Incarnation(1);
    const OTHER: Incarnation = Incarnation(2);
    const LIVES: Duration = Duration::from_secs(30);

    fn row(node: Incarnation, silent: u64) -> NodeRecord {
        let report = NodeReport {
            node,
            name: "n".parse().expect("a name"),
            url: None,
            version: "1".to_owned(),
            zone_version: None,
            started_at: Timestamp::default(),
        };
        let silent = Duration::from_secs(silent);
        NodeRecord { report, seen_at: Timestamp::default(), silent, draining_since: None }
    }

    #[test]
    fn a_drain_and_its_end_are_reported_once_each() {
        let mut seen = SeenNodes::default();
        let mut look = |drains: bool| {
            let draining_since = drains.then(Timestamp::default);
            let rows = [row(OWN, 0), NodeRecord { draining_since, ..row(OTHER, 0) }];
            let changes = seen.changes(OWN, &rows, LIVES);
            changes.into_iter().map(|(node, _, change)| (node, change)).collect::<Vec<_>>()
        };
        assert_eq!(look(true), [(OWN, NodeEvent::Joined)]);
        assert_eq!(look(false), [(OTHER, NodeEvent::Resumes)]);
        assert_eq!(look(true), [(OTHER, NodeEvent::Drains)]);
        assert_eq!(look(true), []);
    }

    #[test]
    fn a_node_joins_is_lost_comes_back_and_leaves_once_each() {
        let mut seen = SeenNodes::default();
        let mut look = |rows: &[NodeRecord]| {
            let changes = seen.changes(OWN, rows, LIVES);
            changes.into_iter().map(|(node, _, change)| (node, change)).collect::<Vec<_>>()
        };
        let none: [(Incarnation, NodeEvent); 0] = [];
        // The first read reports no other node, dead or alive.
        let third = Incarnation(3);
        assert_eq!(look(&[row(OWN, 0), row(third, 99)]), [(OWN, NodeEvent::Joined)]);
        assert_eq!(look(&[row(OWN, 0), row(third, 99)]), none);
        assert_eq!(look(&[row(OWN, 0), row(OTHER, 0)]), [(OTHER, NodeEvent::Joined)]);
        // This node counts as alive, however old its own row is.
        assert_eq!(look(&[row(OWN, 99), row(OTHER, 30)]), [(OTHER, NodeEvent::Lost)]);
        assert_eq!(look(&[row(OWN, 0), row(OTHER, 99)]), none);
        assert_eq!(look(&[row(OWN, 0), row(OTHER, 1)]), [(OTHER, NodeEvent::Joined)]);
        assert_eq!(look(&[row(OWN, 0)]), [(OTHER, NodeEvent::Left)]);
        // The removal of a lost node's row reports nothing.
        look(&[row(OWN, 0), row(third, 0)]);
        assert_eq!(look(&[row(OWN, 0), row(third, 31)]), [(third, NodeEvent::Lost)]);
        assert_eq!(look(&[row(OWN, 0)]), none);
    }
}
