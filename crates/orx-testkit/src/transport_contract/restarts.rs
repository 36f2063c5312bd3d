//! Cases about restarts of the broker.

use std::sync::Arc;

use orx_model::Incarnation;
use orx_transport::{Channel, ConnectionState, Deliveries, SubscriptionState};

use super::{ATransport, Restart, SOON, envelope, publish, publish_each, read_all, some};

/// Promised: a restart shows in the state of a reader, not as an error of `next`.
pub async fn readers_see_no_error_of_a_restart(transport: ATransport, broker: Arc<dyn Restart>) {
    let channel = Channel::Inbox(Incarnation(7));
    let mut reader = transport.subscribe(channel).await.expect("a reader");
    let mut state = reader.state();
    for n in 1..=5 {
        let noticed = async {
            broker.restart().await;
            let broken = state.wait_for(|state| match &state.connection {
                ConnectionState::Reconnecting { why, .. } => !why.is_empty(),
                ConnectionState::Connected { .. } => false,
            });
            broken.await.expect("a transport");
            publish(&transport, channel, vec![envelope(n)]).await;
        };
        tokio::join!(noticed, read_all(&mut reader, [n]));
        // An acknowledgement may have triggered another restart: the next read connects again.
        let waiting = async {
            loop {
                let _ = some(&mut reader, 4).await.ack().await;
            }
        };
        let connected = state.wait_for(SubscriptionState::is_connected);
        let connected = tokio::time::timeout(SOON, connected);
        tokio::select! {
            connected = connected => drop(connected.expect("in time").expect("a transport")),
            () = waiting => {}
        }
    }
}

/// Promised: after a restart, an older batch cannot be acknowledged; its envelopes come again.
pub async fn unanswered_envelopes_come_again_after_a_restart(
    transport: ATransport,
    broker: Arc<dyn Restart>,
) {
    let mut reader = transport.subscribe(Channel::Enqueue).await.expect("a reader");
    publish_each(&transport, Channel::Enqueue, 1..=10).await;
    let (one, two) = (some(&mut reader, 3).await, some(&mut reader, 3).await);
    let ids = |of: &Deliveries| of.envelopes().map(|envelope| envelope.id.0).collect::<Vec<_>>();
    let (first, second) = (ids(&one), ids(&two));
    broker.restart().await;
    // An older batch cannot be acknowledged, though the broker may have recorded it.
    assert!(one.ack().await.is_err(), "{first:?}");
    drop(two);
    read_all(&mut reader, (1..=10).filter(|id| !first.contains(id) || second.contains(id))).await;
}
