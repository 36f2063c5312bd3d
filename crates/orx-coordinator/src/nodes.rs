//! This node among others: says that it lives, finds the others, and passes on to each other what
//! changed. What a node passes on only hastens: the store is the truth for all of them.

use std::sync::Arc;
use std::time::Duration;

use orx_model::message::{Body, Hint, Message};
use orx_store::{NodeReport, StoreError};
use orx_transport::{Channel, Peer, PeerList, Peers, Subscription, TransportError};

use crate::Context;
use crate::health::is_the_end;

/// What other nodes tell, taken at once.
const HINTS: usize = 256;

/// Says that this node lives, and looks which others do, every so often and when it is asked to.
///
/// # Errors
/// The store is of no use any more.
pub(crate) async fn speak(
    context: Arc<Context>,
    report: NodeReport,
    peers: Peers,
) -> Result<(), StoreError> {
    let every = context.settings.node_heartbeat;
    let mut told: Option<Duration> = None;
    loop {
        let now = context.now();
        let is_new = told.is_none();
        if told.is_none_or(|told| now.mono >= told + every) {
            match tell_of_node(&context, &report).await {
                Err(error) if is_the_end(&error) => return Err(error),
                Err(error) => tracing::debug!(%error, "could not say that this node lives"),
                Ok(()) => {}
            }
            told = Some(now.mono);
        }
        if let Err(error) = look_for_peers(&context, &peers).await {
            tracing::debug!(%error, "could not look for other nodes");
        }
        if is_new {
            context.notices.nodes();
        }
        let wait = (told.unwrap_or_default() + every).saturating_sub(context.now().mono);
        tokio::select! {
            biased;
            () = context.wakes.nodes.notified() => told = None,
            () = context.wakes.peers.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn tell_of_node(context: &Context, report: &NodeReport) -> Result<(), StoreError> {
    let zones = orx_model::zone::source().data();
    let zone_version = Some(zones.version.unwrap_or_else(|| "unknown".to_owned()));
    let node = NodeReport { zone_version, ..report.clone() };
    context.store.put_node(node, context.now().wall).await
}

/// Reads which other nodes there are, for those who send to them.
async fn look_for_peers(context: &Context, peers: &Peers) -> Result<(), StoreError> {
    let nodes = context.store.nodes(context.now().wall).await?;
    let lives = context.settings.node_heartbeat * 3;
    let others = nodes
        .into_iter()
        .filter(|node| node.silent < lives && node.report.node != context.node)
        .filter_map(|node| Some(Peer { node: node.report.node, url: node.report.url? }));
    let leader = context.lead.leader().map(|term| term.node);
    peers.set(PeerList { peers: others.collect(), leader });
    Ok(())
}

/// Hears what other nodes tell.
///
/// # Errors
/// The transport is closed.
pub(crate) async fn hear(
    context: Arc<Context>,
    mut hints: Box<dyn Subscription>,
) -> Result<(), TransportError> {
    loop {
        // Nothing of the broadcast comes again, so nothing is acknowledged.
        for envelope in hints.next(HINTS).await?.accept().0 {
            match envelope.body {
                Body::Known(Message::Hint(hint)) if envelope.from != context.node => {
                    heard(&context, &hint);
                }
                Body::Known(_) => {}
                Body::Unknown(_) => {
                    tracing::warn!(version = envelope.version, "set aside: of an unknown type");
                }
            }
        }
    }
}

/// What another node told: wakes those whom it concerns.
pub fn heard(context: &Context, hint: &Hint) {
    // Those who wait here for jobs, and who gives out, if that is this node.
    context.notices.heard(hint);
    if hint.room {
        {
            let mut rooms = context.rooms();
            hint.ended.iter().for_each(|it| rooms.ended_elsewhere(it.worker, it.execution));
        }
        context.wakes.ended();
        context.wakes.dispatcher.notify_one();
        if !hint.all_ended {
            context.wakes.look_at_all();
        }
    }
    if hint.nodes {
        context.wakes.leader.notify_one();
        context.wakes.peers.notify_one();
    }
}

/// Tells other nodes what they should look at. While one hint is on its way the next gathers.
pub(crate) async fn pass_on(context: Arc<Context>) {
    loop {
        let hint = context.notices.for_others().await;
        let message = Message::Hint(hint);
        let envelope = context.post.envelope(None, message, context.now().wall);
        let told = context.transport.publish(Channel::Broadcast, vec![envelope]);
        if let Err(error) = told.await {
            tracing::debug!(%error, "other nodes were not told: they look by themselves");
        }
    }
}
