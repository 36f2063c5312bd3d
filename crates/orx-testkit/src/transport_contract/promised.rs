//! Cases that hold under every fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orx_model::message::Envelope;
use orx_model::wire::Receipt;
use orx_model::{Incarnation, JobId};
use orx_transport::{Channel, Shard, SubscriptionState, TransportError};

use super::{
    ATransport, QUIET, SOON, competed, envelope, of_any, publish, publish_each, read_all,
    reader_of, some, start_of,
};

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
