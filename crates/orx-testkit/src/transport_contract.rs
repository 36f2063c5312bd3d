//! What every transport must do. A back end runs all cases with one line:
//! `orx_testkit::transport_contract!(open);`, where `open` gives a new transport.

use std::sync::Arc;
use std::time::Duration;

use orx_model::message::{Body, Envelope, Message, Started, VERSION};
use orx_model::{ExecutionId, Incarnation, JobId, MessageId};
use orx_transport::{Channel, Shard, Subscription, Transport, TransportError};

use crate::make::NOW;

/// Runs every case against the transport that `$open` gives.
#[macro_export]
macro_rules! transport_contract {
    ($open:expr) => {
        $crate::transport_contract!(@cases $open,
            what_is_published_arrives_in_order_and_once_when_acked
            what_is_dropped_unanswered_comes_again
            a_batch_that_is_dropped_comes_again_in_its_order
            events_go_to_the_reader_of_their_shard
            readers_of_one_shard_share_its_events
            an_inbox_is_read_by_the_newest_reader_only
            an_inbox_nobody_reads_is_said
            a_broadcast_reaches_everyone_who_listens
            a_cancelled_wait_loses_nothing
            a_reader_takes_no_more_than_it_asked_for
            a_full_channel_makes_its_publisher_wait
        );
    };
    (@cases $open:expr, $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::transport_contract::$case($open().await).await;
            }
        )*
    };
}

type ATransport = Arc<dyn Transport>;

/// Nothing comes within this, where nothing should.
const QUIET: Duration = Duration::from_millis(50);
/// What should come, comes within this.
const SOON: Duration = Duration::from_secs(60);

fn envelope(n: u128) -> Envelope {
    told_of(JobId(i64::try_from(n).expect("a small number")), n)
}

/// What a worker tells of a job: events carry nothing else.
fn told_of(job: JobId, n: u128) -> Envelope {
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

/// Reads so many, acking each.
async fn read(subscription: &mut Box<dyn Subscription>, count: usize) -> Vec<u128> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let taken = tokio::time::timeout(SOON, subscription.next(count - seen.len()))
            .await
            .expect("something comes")
            .expect("a reader");
        seen.extend(taken.into_iter().map(|delivery| delivery.ack().id.0));
    }
    seen
}

async fn is_quiet(subscription: &mut Box<dyn Subscription>) -> bool {
    tokio::time::timeout(QUIET, subscription.next(1)).await.is_err()
}

pub async fn what_is_published_arrives_in_order_and_once_when_acked(transport: ATransport) {
    let mut reader = transport.subscribe(Channel::Enqueue).await.expect("a reader");
    transport.publish(Channel::Enqueue, vec![envelope(1), envelope(2)]).await.expect("published");
    transport.publish(Channel::Enqueue, vec![envelope(3)]).await.expect("published");
    assert_eq!(read(&mut reader, 3).await, [1, 2, 3]);
    drop(reader);
    let mut next = transport.subscribe(Channel::Enqueue).await.expect("a reader");
    assert!(is_quiet(&mut next).await);
}

pub async fn a_batch_that_is_dropped_comes_again_in_its_order(transport: ATransport) {
    let channel = Channel::Inbox(Incarnation(7));
    let mut inbox = transport.subscribe(channel).await.expect("a reader");
    transport.publish(channel, (1..=6).map(envelope).collect()).await.expect("published");
    let mut taken = Vec::new();
    while taken.len() < 4 {
        let more = tokio::time::timeout(SOON, inbox.next(4 - taken.len())).await;
        taken.extend(more.expect("something comes").expect("a reader"));
    }
    // One of them is answered; neither what went before nor what comes after changes places.
    taken.remove(1).ack();
    drop(taken);
    assert_eq!(read(&mut inbox, 5).await, [1, 3, 4, 5, 6]);
}

pub async fn what_is_dropped_unanswered_comes_again(transport: ATransport) {
    let shard = Shard::of(JobId(5));
    transport.publish(Channel::Events(shard), vec![envelope(5)]).await.expect("published");
    let mut reader = transport.subscribe_events(vec![shard]).await.expect("a reader");
    let taken = tokio::time::timeout(SOON, reader.next(9)).await.expect("something comes");
    let taken = taken.expect("a delivery");
    assert_eq!(taken[0].envelope().id, MessageId(5));
    drop(taken);
    assert_eq!(read(&mut reader, 1).await, [5]);
}

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

pub async fn readers_of_one_shard_share_its_events(transport: ATransport) {
    let shard = Shard::of(JobId(1));
    let mut a = transport.subscribe_events(vec![shard]).await.expect("a reader");
    let mut b = transport.subscribe_events(vec![shard]).await.expect("a reader");
    let both = (1..=4).map(|n| told_of(JobId(1), n)).collect();
    transport.publish(Channel::Events(shard), both).await.expect("published");
    let mut seen = read(&mut a, 2).await;
    seen.extend(read(&mut b, 2).await);
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4]);
}

pub async fn an_inbox_is_read_by_the_newest_reader_only(transport: ATransport) {
    let inbox = Channel::Inbox(Incarnation(7));
    let mut old = transport.subscribe(inbox).await.expect("a reader");
    let mut new = transport.subscribe(inbox).await.expect("a reader");
    transport.publish(inbox, vec![envelope(1)]).await.expect("published");
    let ended = tokio::time::timeout(SOON, old.next(1)).await.expect("an answer");
    assert!(matches!(ended, Err(TransportError::Closed)));
    assert_eq!(read(&mut new, 1).await, [1]);
}

pub async fn an_inbox_nobody_reads_is_said(transport: ATransport) {
    let refused = transport.publish(Channel::Inbox(Incarnation(8)), vec![envelope(1)]).await;
    assert!(matches!(refused, Err(TransportError::NoReader { .. })), "{refused:?}");
}

pub async fn a_broadcast_reaches_everyone_who_listens(transport: ATransport) {
    transport.publish(Channel::Broadcast, vec![envelope(1)]).await.expect("published");
    let mut a = transport.subscribe(Channel::Broadcast).await.expect("a reader");
    let mut b = transport.subscribe(Channel::Broadcast).await.expect("a reader");
    transport.publish(Channel::Broadcast, vec![envelope(2)]).await.expect("published");
    assert_eq!((read(&mut a, 1).await, read(&mut b, 1).await), (vec![2], vec![2]));
}

pub async fn a_cancelled_wait_loses_nothing(transport: ATransport) {
    let mut reader = transport.subscribe(Channel::Enqueue).await.expect("a reader");
    for n in 1..=20 {
        let waiting = tokio::time::timeout(Duration::from_micros(1), reader.next(1)).await;
        assert!(waiting.is_err() || n > 1);
        transport.publish(Channel::Enqueue, vec![envelope(n)]).await.expect("published");
        assert_eq!(read(&mut reader, 1).await, [n]);
    }
}

pub async fn a_reader_takes_no_more_than_it_asked_for(transport: ATransport) {
    let many = (1..=5).map(envelope).collect();
    transport.publish(Channel::Enqueue, many).await.expect("published");
    let mut reader = transport.subscribe(Channel::Enqueue).await.expect("a reader");
    let taken = reader.next(2).await.expect("deliveries");
    assert_eq!(taken.len(), 2);
    for delivery in taken {
        delivery.ack();
    }
    assert_eq!(read(&mut reader, 3).await, [3, 4, 5]);
}

pub async fn a_full_channel_makes_its_publisher_wait(transport: ATransport) {
    // More than any transport keeps unread: the publisher is held until somebody reads.
    let publisher = Arc::clone(&transport);
    let publishing = tokio::spawn(async move {
        for n in 1..=5_000 {
            publisher.publish(Channel::Enqueue, vec![envelope(n)]).await.expect("published");
        }
    });
    let mut reader = transport.subscribe(Channel::Enqueue).await.expect("a reader");
    let seen = read(&mut reader, 5_000).await;
    assert!(seen.iter().copied().eq(1..=5_000));
    publishing.await.expect("the publisher");
}
