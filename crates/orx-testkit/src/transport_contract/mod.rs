//! The contract of every transport. A back end runs all cases with one line:
//! `orx_testkit::transport_contract!(open);`, where `open` returns a new transport.
//!
//! There are two kinds of cases. The *promised* ones hold under every fault, and are all that a reader
//! may rely on: `transport_contract!(under_faults open);` runs these for many seeds over the
//! [`Unreliable`](crate::unreliable::Unreliable) transport that `open` returns, and
//! `transport_contract!(under_restarts open);` runs those about restarts. The others check a transport
//! without faults: delivery in order, and once.

mod once;
mod promised;
mod restarts;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orx_model::message::{Body, Envelope, Message, Started, VERSION};
use orx_model::{ExecutionId, Incarnation, JobId, MessageId};
use orx_transport::{Channel, Deliveries, Shard, Subscription, Transport, TransportError};

use crate::make::NOW;

pub use once::*;
pub use promised::*;
pub use restarts::*;

/// Runs every case against the transport that `$open` returns.
#[macro_export]
macro_rules! transport_contract {
    ($open:expr) => {
        $crate::transport_contract!(@promised once $open);
        $crate::transport_contract!(@cases once $open,
            published_envelopes_arrive_in_order_and_once_when_acknowledged
            a_delivery_that_is_dropped_comes_again
            a_batch_that_is_dropped_comes_again_in_its_order
            events_go_to_the_reader_of_their_shard
            readers_of_one_shard_share_its_events
            an_inbox_is_read_by_the_newest_reader_only
            a_broadcast_reaches_every_subscriber
            a_cancelled_wait_loses_nothing
            a_reader_takes_no_more_than_it_asked_for
            a_full_channel_makes_its_publisher_wait
        );
    };
    (under_faults $open:expr) => {
        $crate::transport_contract!(@promised seeded $open);
    };
    (under_restarts $open:expr) => {
        $crate::transport_contract!(@cases seeded_restarting $open,
            readers_see_no_error_of_a_restart
            unanswered_envelopes_come_again_after_a_restart
        );
    };
    (@promised $how:ident $open:expr) => {
        $crate::transport_contract!(@cases $how $open,
            every_confirmed_envelope_arrives_and_nothing_else
            envelopes_not_acknowledged_come_again
            parts_of_a_batch_are_answered_apart
            competing_readers_together_take_every_envelope
            events_reach_no_reader_of_another_shard
            a_newer_reader_takes_over_an_inbox
            an_inbox_without_a_reader_is_an_error
            no_reader_gets_more_than_it_asked_for
            waits_that_are_cancelled_lose_nothing
            a_receipt_is_the_readers_answer_or_taken
            a_reader_reports_that_it_is_connected
        );
    };
    (@cases once $open:expr, $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::transport_contract::$case($open().await).await;
            }
        )*
    };
    (@cases seeded $open:expr, $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                for seed in $crate::transport_contract::SEEDS {
                    $crate::transport_contract::$case($open(seed).await).await;
                }
            }
        )*
    };
    (@cases seeded_restarting $open:expr, $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                for seed in $crate::transport_contract::SEEDS {
                    let transport = $open(seed).await;
                    $crate::transport_contract::$case(transport.clone(), transport).await;
                }
            }
        )*
    };
}

/// The seeds with which each case under faults runs.
pub const SEEDS: std::ops::Range<u64> = 0..6;

/// A transport that can be made to restart.
#[async_trait]
pub trait Restart: Send + Sync {
    /// Returns once the restart has begun or ended; readers may not have noticed yet.
    async fn restart(&self);
}

/// The transport that a case checks.
type ATransport = Arc<dyn Transport>;

/// A reader without a delivery for this long counts as quiet.
const QUIET: Duration = Duration::from_millis(50);
/// Time limit for each expected delivery.
const SOON: Duration = Duration::from_secs(60);

fn envelope(n: u128) -> Envelope {
    start_of(JobId(i64::try_from(n).expect("a small number")), n)
}

/// A start that a worker reports: event channels carry such envelopes only.
fn start_of(job: JobId, n: u128) -> Envelope {
    let started = vec![Started { job, execution: ExecutionId(n), at: NOW }];
    Envelope {
        id: MessageId(n),
        version: VERSION,
        at: NOW,
        from: Incarnation(1),
        to: None,
        trace: None,
        body: Body::Known(Message::JobStatus { started }),
    }
}

/// Reads and acknowledges `count` envelopes, and returns their ids.
async fn read(subscription: &mut Box<dyn Subscription>, count: usize) -> Vec<u128> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let taken = tokio::time::timeout(SOON, subscription.next(count - seen.len()))
            .await
            .expect("a delivery in time")
            .expect("a reader");
        let (envelopes, acknowledged) = taken.accept();
        acknowledged.await.expect("acknowledged");
        seen.extend(envelopes.iter().map(|envelope| envelope.id.0));
    }
    seen
}

async fn is_quiet(subscription: &mut Box<dyn Subscription>) -> bool {
    tokio::time::timeout(QUIET, subscription.next(1)).await.is_err()
}

/// Channels whose readers compete.
fn competed() -> [Channel; 2] {
    [Channel::Enqueue, Channel::Events(Shard::of(JobId(3)))]
}

/// An envelope that fits each of [`competed`].
fn of_any(n: u128) -> Envelope {
    start_of(JobId(3), n)
}

async fn reader_of(transport: &ATransport, channel: Channel) -> Box<dyn Subscription> {
    let reader = match channel {
        Channel::Events(shard) => transport.subscribe_events(vec![shard]).await,
        other => transport.subscribe(other).await,
    };
    reader.expect("a reader")
}

/// Publishes until the transport confirms, with the same ids on each try, as every publisher may.
async fn publish(transport: &ATransport, to: Channel, envelopes: Vec<Envelope>) {
    let confirmed = async {
        loop {
            match transport.publish(to, envelopes.clone()).await {
                Ok(()) => return,
                Err(TransportError::Unreachable(_) | TransportError::Full { .. }) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => panic!("not published: {error}"),
            }
        }
    };
    tokio::time::timeout(SOON, confirmed).await.expect("confirmed in time");
}

async fn publish_each(transport: &ATransport, to: Channel, ids: std::ops::RangeInclusive<u128>) {
    for n in ids {
        publish(transport, to, vec![envelope(n)]).await;
    }
}

async fn some(subscription: &mut Box<dyn Subscription>, most: usize) -> Deliveries {
    let taken = tokio::time::timeout(SOON, subscription.next(most)).await;
    let taken = taken.expect("a delivery in time").expect("a reader");
    assert!((1..=most).contains(&taken.len()), "asked for {most}, found {}", taken.len());
    taken
}

/// Reads and acknowledges until each of these ids was delivered. A failed acknowledgement is ignored: the
/// envelope comes again.
async fn read_all(subscription: &mut Box<dyn Subscription>, ids: impl IntoIterator<Item = u128>) {
    let mut missing: BTreeSet<u128> = ids.into_iter().collect();
    while !missing.is_empty() {
        let taken = some(subscription, 16).await;
        for envelope in taken.envelopes() {
            missing.remove(&envelope.id.0);
        }
        // After an error they may come again.
        let _ = taken.ack().await;
    }
}
