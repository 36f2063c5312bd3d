//! The contract of every transport. A back end runs all cases with one line:
//! `orx_testkit::transport_contract!(open);`, where `open` returns a new transport.
//!
//! There are two kinds of cases. The *promised* ones hold under every fault, and are all that a reader
//! may rely on: `transport_contract!(under_faults open);` runs these for many seeds over the
//! [`Unreliable`](crate::unreliable::Unreliable) transport that `open` returns, and
//! `transport_contract!(under_restarts open);` runs those about restarts. The others check a transport
//! without faults: delivery in order, and once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orx_model::message::{Body, Envelope, Message, Started, VERSION};
use orx_model::wire::Receipt;
use orx_model::{ExecutionId, Incarnation, JobId, MessageId};
use orx_transport::{
    Channel, ConnectionState, Deliveries, Shard, Subscription, SubscriptionState, Transport,
    TransportError,
};

use crate::make::NOW;

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

/// Acknowledged envelopes arrive once, in the order of publishing.
pub async fn published_envelopes_arrive_in_order_and_once_when_acknowledged(transport: ATransport) {
    for channel in competed() {
        let mut reader = reader_of(&transport, channel).await;
        transport.publish(channel, vec![of_any(1), of_any(2)]).await.expect("published");
        transport.publish(channel, vec![of_any(3)]).await.expect("published");
        assert_eq!(read(&mut reader, 3).await, [1, 2, 3]);
        drop(reader);
        let mut next = reader_of(&transport, channel).await;
        assert!(is_quiet(&mut next).await);
    }
}

/// A dropped batch is delivered again in its order, without what was acknowledged of it.
pub async fn a_batch_that_is_dropped_comes_again_in_its_order(transport: ATransport) {
    let channel = Channel::Inbox(Incarnation(7));
    let mut inbox = transport.subscribe(channel).await.expect("a reader");
    transport.publish(channel, (1..=6).map(envelope).collect()).await.expect("published");
    let mut taken: Vec<Deliveries> = Vec::new();
    let mut count = 0;
    while count < 4 {
        let more = tokio::time::timeout(SOON, inbox.next(4 - count)).await;
        let more = more.expect("a delivery in time").expect("a reader");
        count += more.len();
        taken.push(more);
    }
    // One of them is acknowledged; the order of the others stays.
    for part in taken {
        let (second, rest) = part.partition(|envelope| envelope.id == MessageId(2));
        second.ack().await.expect("acknowledged");
        drop(rest);
    }
    assert_eq!(read(&mut inbox, 5).await, [1, 3, 4, 5, 6]);
}

/// A delivery that is dropped without an answer is delivered again.
pub async fn a_delivery_that_is_dropped_comes_again(transport: ATransport) {
    let shard = Shard::of(JobId(5));
    transport.publish(Channel::Events(shard), vec![envelope(5)]).await.expect("published");
    let mut reader = transport.subscribe_events(vec![shard]).await.expect("a reader");
    let taken = tokio::time::timeout(SOON, reader.next(9)).await.expect("a delivery in time");
    let taken = taken.expect("a delivery");
    assert_eq!(taken.envelopes().next().map(|envelope| envelope.id), Some(MessageId(5)));
    drop(taken);
    assert_eq!(read(&mut reader, 1).await, [5]);
}

/// Events reach the reader of their shard alone.
pub async fn events_go_to_the_reader_of_their_shard(transport: ATransport) {
    let (one, two) = (Shard::of(JobId(1)), Shard::of(JobId(2)));
    let mut ones = transport.subscribe_events(vec![one]).await.expect("a reader");
    let mut twos = transport.subscribe_events(vec![two]).await.expect("a reader");
    transport.publish(Channel::Events(two), vec![envelope(2)]).await.expect("published");
    transport.publish(Channel::Events(one), vec![envelope(1)]).await.expect("published");
    assert_eq!(read(&mut ones, 1).await, [1]);
    assert_eq!(read(&mut twos, 1).await, [2]);
    assert!(is_quiet(&mut ones).await && is_quiet(&mut twos).await);
    assert_eq!(Shard::of(JobId(65)), one);
}

/// Two readers of a shard each get a part of its events.
pub async fn readers_of_one_shard_share_its_events(transport: ATransport) {
    let shard = Shard::of(JobId(1));
    let mut a = transport.subscribe_events(vec![shard]).await.expect("a reader");
    let mut b = transport.subscribe_events(vec![shard]).await.expect("a reader");
    let both = (1..=4).map(|n| start_of(JobId(1), n)).collect();
    transport.publish(Channel::Events(shard), both).await.expect("published");
    let mut seen = read(&mut a, 2).await;
    seen.extend(read(&mut b, 2).await);
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4]);
}

/// A new reader of an inbox ends the older one.
pub async fn an_inbox_is_read_by_the_newest_reader_only(transport: ATransport) {
    let inbox = Channel::Inbox(Incarnation(7));
    let mut old = transport.subscribe(inbox).await.expect("a reader");
    let mut new = transport.subscribe(inbox).await.expect("a reader");
    transport.publish(inbox, vec![envelope(1)]).await.expect("published");
    let ended = tokio::time::timeout(SOON, old.next(1)).await.expect("an answer");
    assert!(matches!(ended, Err(TransportError::TakenOver { .. })));
    assert_eq!(read(&mut new, 1).await, [1]);
}

/// A broadcast reaches each reader subscribed at that moment.
pub async fn a_broadcast_reaches_every_subscriber(transport: ATransport) {
    transport.publish(Channel::Broadcast, vec![envelope(1)]).await.expect("published");
    let mut a = transport.subscribe(Channel::Broadcast).await.expect("a reader");
    let mut b = transport.subscribe(Channel::Broadcast).await.expect("a reader");
    transport.publish(Channel::Broadcast, vec![envelope(2)]).await.expect("published");
    assert_eq!((read(&mut a, 1).await, read(&mut b, 1).await), (vec![2], vec![2]));
}

/// Dropping the future of `next` loses no envelope.
pub async fn a_cancelled_wait_loses_nothing(transport: ATransport) {
    for channel in competed() {
        let mut reader = reader_of(&transport, channel).await;
        for n in 1..=20 {
            let waiting = tokio::time::timeout(Duration::from_micros(1), reader.next(1)).await;
            assert!(waiting.is_err() || n > 1);
            transport.publish(channel, vec![of_any(n)]).await.expect("published");
            assert_eq!(read(&mut reader, 1).await, [n]);
        }
    }
}

/// `next(n)` returns at most `n` envelopes; the rest stays for the next call.
pub async fn a_reader_takes_no_more_than_it_asked_for(transport: ATransport) {
    let many = (1..=5).map(envelope).collect();
    transport.publish(Channel::Enqueue, many).await.expect("published");
    let mut reader = transport.subscribe(Channel::Enqueue).await.expect("a reader");
    let taken = reader.next(2).await.expect("deliveries");
    assert_eq!(taken.len(), 2);
    taken.ack().await.expect("acknowledged");
    assert_eq!(read(&mut reader, 3).await, [3, 4, 5]);
}

/// A publisher waits while its channel is full, and loses nothing.
pub async fn a_full_channel_makes_its_publisher_wait(transport: ATransport) {
    for channel in competed() {
        // More than any transport stores unread: the publisher waits until a reader reads.
        let publisher = Arc::clone(&transport);
        let publishing = tokio::spawn(async move {
            for n in 1..=5_000 {
                publisher.publish(channel, vec![of_any(n)]).await.expect("published");
            }
        });
        let mut reader = reader_of(&transport, channel).await;
        let seen = read(&mut reader, 5_000).await;
        assert!(seen.iter().copied().eq(1..=5_000));
        publishing.await.expect("the publisher");
    }
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

/// Promised: every confirmed envelope arrives, unchanged, and no other.
pub async fn every_confirmed_envelope_arrives_and_nothing_else(transport: ATransport) {
    let [enqueue, events] = competed();
    for channel in [enqueue, events, Channel::Inbox(Incarnation(7))] {
        let mut reader = reader_of(&transport, channel).await;
        let sent: BTreeMap<u128, Envelope> = (1..=100).map(|n| (n, of_any(n))).collect();
        let batches: Vec<Vec<Envelope>> =
            sent.values().cloned().collect::<Vec<_>>().chunks(7).map(<[_]>::to_vec).collect();
        let publishing = async {
            for batch in batches {
                publish(&transport, channel, batch).await;
            }
        };
        let text = |envelope: &Envelope| serde_json::to_string(envelope).expect("JSON");
        let reading = async {
            let mut seen = BTreeSet::new();
            while seen.len() < sent.len() {
                let taken = some(&mut reader, 16).await;
                for envelope in taken.envelopes() {
                    let sent = sent.get(&envelope.id.0).expect("one that was published");
                    assert_eq!(text(envelope), text(sent));
                    seen.insert(envelope.id.0);
                }
                let _ = taken.ack().await;
            }
        };
        tokio::join!(publishing, reading);
    }
}

/// Promised: envelopes that were dropped or returned are delivered again, to a new reader too.
pub async fn envelopes_not_acknowledged_come_again(transport: ATransport) {
    let channel = Channel::Inbox(Incarnation(7));
    let mut reader = transport.subscribe(channel).await.expect("a reader");
    publish_each(&transport, channel, 1..=10).await;
    let dropped = some(&mut reader, 3).await;
    let returned = some(&mut reader, 3).await;
    drop(dropped);
    // After an error they come again later.
    let _ = returned.nack().await;
    let held = some(&mut reader, 3).await;
    drop(reader);
    drop(held);
    let mut next = transport.subscribe(channel).await.expect("a reader");
    read_all(&mut next, 1..=10).await;
}

/// Promised: parts of a batch are acknowledged, returned and dropped independently.
pub async fn parts_of_a_batch_are_answered_apart(transport: ATransport) {
    let shard = Shard::of(JobId(1));
    let mut reader = transport.subscribe_events(vec![shard]).await.expect("a reader");
    let all = (1..=12).map(|n| start_of(JobId(1), n)).collect();
    publish(&transport, Channel::Events(shard), all).await;
    // Envelopes without an answer stay with their reader and block no other.
    let (mut held, mut held_ids, mut answered) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    while (1..=12).any(|id| !held_ids.contains(&id) && !answered.contains(&id)) {
        let (even, odd) = some(&mut reader, 5).await.partition(|it| it.id.0.is_multiple_of(2));
        answered.extend(even.envelopes().map(|envelope| envelope.id.0));
        // After an error they may come again, or not.
        let _ = even.ack().await;
        held_ids.extend(odd.envelopes().map(|envelope| envelope.id.0));
        held.push(odd);
    }
    for mut part in held {
        let rest = part.split_off(1);
        drop(part);
        // After an error they come again later.
        let _ = rest.nack().await;
    }
    read_all(&mut reader, held_ids).await;
}

/// Promised: competing readers together get every envelope.
pub async fn competing_readers_together_take_every_envelope(transport: ATransport) {
    let mut a = transport.subscribe(Channel::Enqueue).await.expect("a reader");
    let mut b = transport.subscribe(Channel::Enqueue).await.expect("a reader");
    publish_each(&transport, Channel::Enqueue, 1..=40).await;
    let mut missing: BTreeSet<u128> = (1..=40).collect();
    while !missing.is_empty() {
        let taken = tokio::time::timeout(SOON, async {
            tokio::select! {
                biased;
                taken = a.next(3) => taken,
                taken = b.next(3) => taken,
            }
        });
        let taken = taken.await.expect("a delivery in time").expect("a reader");
        for envelope in taken.envelopes() {
            missing.remove(&envelope.id.0);
        }
        let _ = taken.ack().await;
        std::mem::swap(&mut a, &mut b);
    }
}

/// Promised: no event reaches a reader of another shard.
pub async fn events_reach_no_reader_of_another_shard(transport: ATransport) {
    let (one, two) = (Shard::of(JobId(1)), Shard::of(JobId(2)));
    let mut ones = transport.subscribe_events(vec![one]).await.expect("a reader");
    let mut twos = transport.subscribe_events(vec![two]).await.expect("a reader");
    publish(&transport, Channel::Events(two), vec![envelope(2)]).await;
    publish(&transport, Channel::Events(one), vec![envelope(1)]).await;
    for (reader, id) in [(&mut ones, 1), (&mut twos, 2)] {
        read_all(reader, [id]).await;
        while let Ok(more) = tokio::time::timeout(QUIET, reader.next(1)).await {
            let more = more.expect("a reader");
            assert!(more.envelopes().all(|envelope| envelope.id.0 == id));
            let _ = more.ack().await;
        }
    }
}

/// Promised: a newer reader takes an inbox over; the older one gets `TakenOver`.
pub async fn a_newer_reader_takes_over_an_inbox(transport: ATransport) {
    let inbox = Channel::Inbox(Incarnation(7));
    let mut old = transport.subscribe(inbox).await.expect("a reader");
    let mut new = transport.subscribe(inbox).await.expect("a reader");
    publish(&transport, inbox, vec![envelope(1)]).await;
    let ended = tokio::time::timeout(SOON, old.next(1)).await.expect("an answer");
    assert!(matches!(ended, Err(TransportError::TakenOver { .. })));
    read_all(&mut new, [1]).await;
}

/// Promised: publishing to an inbox without a reader returns `NoReader`.
pub async fn an_inbox_without_a_reader_is_an_error(transport: ATransport) {
    let inbox = Channel::Inbox(Incarnation(8));
    let refused = loop {
        match transport.publish(inbox, vec![envelope(1)]).await {
            Err(TransportError::Unreachable(_)) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            answered => break answered,
        }
    };
    assert!(matches!(refused, Err(TransportError::NoReader { .. })), "{refused:?}");
}

/// Promised: `next(n)` returns at most `n` envelopes, duplicates included.
pub async fn no_reader_gets_more_than_it_asked_for(transport: ATransport) {
    publish(&transport, Channel::Enqueue, (1..=20).map(envelope).collect()).await;
    let mut reader = transport.subscribe(Channel::Enqueue).await.expect("a reader");
    let mut missing: BTreeSet<u128> = (1..=20).collect();
    while !missing.is_empty() {
        // `some` checks the number.
        let taken = some(&mut reader, 2).await;
        for envelope in taken.envelopes() {
            missing.remove(&envelope.id.0);
        }
        let _ = taken.ack().await;
    }
}

/// Promised: dropping the future of `next` loses no envelope.
pub async fn waits_that_are_cancelled_lose_nothing(transport: ATransport) {
    let mut reader = transport.subscribe(Channel::Enqueue).await.expect("a reader");
    for n in 1..=20 {
        if let Ok(early) = tokio::time::timeout(Duration::from_micros(1), reader.next(4)).await {
            drop(early.expect("a reader"));
        }
        publish(&transport, Channel::Enqueue, vec![envelope(n)]).await;
        read_all(&mut reader, [n]).await;
    }
}

/// Promised: a receipt is what the reader answered, or `Taken` when that is unknown.
pub async fn a_receipt_is_the_readers_answer_or_taken(transport: ATransport) {
    let shard = Shard::of(JobId(1));
    let mut reader = transport.subscribe_events(vec![shard]).await.expect("a reader");
    let receipt = |id: u128| match id % 3 {
        0 => Receipt::Recorded,
        1 => Receipt::Stale,
        _ => Receipt::NotForUs,
    };
    let reading = async {
        let mut missing: BTreeSet<u128> = (1..=9).collect();
        while !missing.is_empty() {
            let taken = some(&mut reader, 4).await;
            for envelope in taken.envelopes() {
                missing.remove(&envelope.id.0);
            }
            let _ = taken.answer(|envelope| receipt(envelope.id.0)).await;
        }
    };
    let publishing = async {
        let all: Vec<Envelope> = (1..=9).map(|n| start_of(JobId(1), n)).collect();
        let receipts = loop {
            match transport.publish_for_receipts(Channel::Events(shard), all.clone()).await {
                Ok(receipts) => break receipts,
                Err(TransportError::Unreachable(_)) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => panic!("not published: {error}"),
            }
        };
        assert_eq!(receipts.len(), 9);
        let receipts = receipts.within(QUIET).await;
        for (id, got) in (1..=9).zip(receipts) {
            assert!(got == Receipt::Taken || got == receipt(id), "{id}: {got:?}");
        }
    };
    tokio::join!(reading, publishing);
}

/// Promised: the state of a reader becomes connected.
pub async fn a_reader_reports_that_it_is_connected(transport: ATransport) {
    let readers = [
        transport.subscribe(Channel::Enqueue).await.expect("a reader"),
        transport.subscribe(Channel::Inbox(Incarnation(7))).await.expect("a reader"),
        transport.subscribe(Channel::Broadcast).await.expect("a reader"),
        transport.subscribe_events(Shard::all().collect()).await.expect("a reader"),
    ];
    for reader in readers {
        let mut state = reader.state();
        let connected = state.wait_for(SubscriptionState::is_connected);
        tokio::time::timeout(SOON, connected).await.expect("in time").expect("a transport");
    }
}

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
