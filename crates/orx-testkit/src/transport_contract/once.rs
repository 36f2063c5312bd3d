//! Cases that only a transport without faults passes: delivery in order, and once.

use std::sync::Arc;
use std::time::Duration;

use orx_model::{Incarnation, JobId, MessageId};
use orx_transport::{Channel, Deliveries, Shard, TransportError};

use super::{ATransport, SOON, competed, envelope, is_quiet, of_any, read, reader_of, start_of};

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
