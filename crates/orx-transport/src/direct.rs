//! The transport `direct` within one process: bounded queues, no serialisation, no broker. Between
//! processes [`crate::http`] carries to and from such a hub.
//!
//! Envelopes that are not acknowledged live as long as the hub, whether or not they have a reader. The
//! hub discards an inbox, with its envelopes, that has had no reader for [`INBOX_RETENTION`]; recovery
//! heals that loss.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use orx_model::Incarnation;
use orx_model::message::Envelope;
use orx_model::wire::Receipt;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::time::Instant;

use crate::{
    Acknowledge, Channel, Deliveries, Receipts, Shard, Subscription, SubscriptionState, Transport,
    TransportError,
};

/// Most envelopes that wait in one channel; each may carry many jobs.
const CHANNEL_ENVELOPES: usize = 1_024;
/// How long a publisher waits for space in a channel.
const PUBLISH_WAIT: Duration = Duration::from_secs(5);
/// How long an inbox without a reader is retained.
const INBOX_RETENTION: Duration = Duration::from_secs(60);

/// Queues in this process. All clones share one hub.
#[derive(Clone)]
pub struct Direct {
    hub: Arc<Hub>,
}

struct Hub {
    enqueue: Arc<EnvelopeQueue>,
    events: Vec<Arc<EnvelopeQueue>>,
    /// The inboxes that have a reader, or had one within [`INBOX_RETENTION`].
    inboxes: Mutex<HashMap<Incarnation, InboxQueue>>,
    broadcast: broadcast::Sender<Arc<Envelope>>,
    /// Always connected.
    state: watch::Sender<SubscriptionState>,
}

struct InboxQueue {
    queue: Arc<EnvelopeQueue>,
    /// Number of the newest reader. It took over from those with a lower number.
    reader: u64,
    /// When the last reader was dropped; `None` while there is a reader.
    left_at: Option<Instant>,
}

impl Default for Direct {
    fn default() -> Self {
        Self::new()
    }
}

impl Direct {
    /// An empty hub.
    #[must_use]
    pub fn new() -> Self {
        let events_changed = Arc::new(Notify::new());
        let hub = Hub {
            enqueue: Arc::new(EnvelopeQueue::default()),
            events: Shard::all()
                .map(|_| Arc::new(EnvelopeQueue::waking(&events_changed)))
                .collect(),
            inboxes: Mutex::new(HashMap::new()),
            broadcast: broadcast::channel(CHANNEL_ENVELOPES).0,
            state: watch::Sender::new(SubscriptionState::connected(Instant::now())),
        };
        Self { hub: Arc::new(hub) }
    }

    async fn push(&self, to: Channel, items: Vec<Item>) -> Result<(), TransportError> {
        let queue = self.queue(to)?;
        match tokio::time::timeout(PUBLISH_WAIT, queue.push(items)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(TransportError::Full { channel: to }),
        }
    }

    fn queue(&self, channel: Channel) -> Result<Arc<EnvelopeQueue>, TransportError> {
        match channel {
            Channel::Enqueue => Ok(Arc::clone(&self.hub.enqueue)),
            Channel::Events(shard) => self
                .hub
                .events
                .get(usize::from(shard.number()))
                .map(Arc::clone)
                .ok_or(TransportError::NoReader { channel }),
            Channel::Inbox(of) => lock(&self.hub.inboxes)
                .get(&of)
                .map(|inbox| Arc::clone(&inbox.queue))
                .ok_or(TransportError::NoReader { channel }),
            Channel::Broadcast => Err(TransportError::NoReader { channel }),
        }
    }
}

#[async_trait]
impl Transport for Direct {
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        if let Channel::Broadcast = to {
            for envelope in envelopes {
                // An error means that there is no reader, which is allowed here.
                let _ = self.hub.broadcast.send(Arc::new(envelope));
            }
            return Ok(());
        }
        let plain = |envelope| Item { envelope, receipt: None, position: 0 };
        self.push(to, envelopes.into_iter().map(plain).collect()).await
    }

    async fn publish_for_receipts(
        &self,
        to: Channel,
        envelopes: Vec<Envelope>,
    ) -> Result<Receipts, TransportError> {
        if let Channel::Broadcast = to {
            let count = envelopes.len();
            self.publish(to, envelopes).await?;
            return Ok(Receipts::taken(count));
        }
        let mut receipts = Vec::with_capacity(envelopes.len());
        let items = envelopes.into_iter().map(|envelope| {
            let (receipt, receiver) = oneshot::channel();
            receipts.push(receiver);
            Item { envelope, receipt: Some(receipt), position: 0 }
        });
        let items = items.collect();
        self.push(to, items).await?;
        Ok(Receipts::pending(receipts))
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        let reader = match channel {
            Channel::Broadcast => {
                let (receiver, state) =
                    (self.hub.broadcast.subscribe(), self.hub.state.subscribe());
                return Ok(Box::new(BroadcastReader { receiver, state }));
            }
            Channel::Inbox(of) => {
                let mut inboxes = lock(&self.hub.inboxes);
                inboxes.retain(|_, inbox| {
                    inbox.left_at.is_none_or(|left_at| left_at.elapsed() < INBOX_RETENTION)
                });
                let inbox = inboxes.entry(of).or_insert_with(|| InboxQueue {
                    queue: Arc::new(EnvelopeQueue::default()),
                    reader: 0,
                    left_at: None,
                });
                inbox.reader += 1;
                inbox.left_at = None;
                let number = inbox.reader;
                // The previous reader may wait on the queue: it wakes and finds itself superseded.
                inbox.queue.changed.notify_waiters();
                Some((of, number, Arc::downgrade(&self.hub)))
            }
            Channel::Enqueue | Channel::Events(_) => None,
        };
        let queues = vec![self.queue(channel)?];
        Ok(Box::new(DirectReader { queues, first: 0, reader, state: self.hub.state.subscribe() }))
    }

    async fn subscribe_events(
        &self,
        shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        let queues = shards.into_iter().map(|shard| self.queue(Channel::Events(shard)));
        let queues = queues.collect::<Result<_, _>>()?;
        let state = self.hub.state.subscribe();
        Ok(Box::new(DirectReader { queues, first: 0, reader: None, state }))
    }
}

/// An envelope in a queue.
struct Item {
    envelope: Envelope,
    /// `None` if the publisher waits for no receipt.
    receipt: Option<oneshot::Sender<Receipt>>,
    /// Its position in the order of its queue, which assigns it.
    position: u64,
}

/// Bounded by a count of envelopes. A batch larger than the bound is accepted by an empty queue.
#[derive(Default)]
struct EnvelopeQueue {
    waiting: Mutex<QueuedItems>,
    /// Shared by the queues of all shards, so that one reader can wait on many.
    changed: Arc<Notify>,
    space: Notify,
}

#[derive(Default)]
struct QueuedItems {
    /// Ordered by position.
    items: VecDeque<Item>,
    last_position: u64,
}

impl EnvelopeQueue {
    fn waking(changed: &Arc<Notify>) -> Self {
        Self { changed: Arc::clone(changed), ..Self::default() }
    }

    async fn push(&self, items: Vec<Item>) {
        loop {
            // Armed before the check: space freed in between is not missed.
            let space = self.space.notified();
            {
                let mut waiting = lock(&self.waiting);
                let there = waiting.items.len();
                if there == 0 || there + items.len() <= CHANNEL_ENVELOPES {
                    for item in items {
                        waiting.last_position += 1;
                        let position = waiting.last_position;
                        waiting.items.push_back(Item { position, ..item });
                    }
                    drop(waiting);
                    self.changed.notify_waiters();
                    return;
                }
            }
            space.await;
        }
    }

    fn take(&self, most: usize) -> Vec<Item> {
        let mut waiting = lock(&self.waiting);
        let count = most.min(waiting.items.len());
        let taken: Vec<Item> = waiting.items.drain(..count).collect();
        drop(waiting);
        if !taken.is_empty() {
            self.space.notify_waiters();
        }
        taken
    }

    /// Returns an item to its position, before the items that were never taken.
    fn put_back(&self, item: Item) {
        let mut waiting = lock(&self.waiting);
        let before = waiting.items.partition_point(|other| other.position < item.position);
        waiting.items.insert(before, item);
        drop(waiting);
        self.changed.notify_waiters();
    }
}

struct DirectReader {
    /// They share one `changed`.
    queues: Vec<Arc<EnvelopeQueue>>,
    /// Index of the queue with which the next round begins, so that no queue starves behind a busy one.
    first: usize,
    /// For an inbox: whose it is, the number of this reader, and the hub.
    reader: Option<(Incarnation, u64, Weak<Hub>)>,
    state: watch::Receiver<SubscriptionState>,
}

impl DirectReader {
    /// The error to end with if a newer reader took over the inbox, or the hub discarded it.
    fn taken_over(&self) -> Option<TransportError> {
        let (of, number, hub) = self.reader.as_ref()?;
        let Some(hub) = hub.upgrade() else { return Some(TransportError::Closed) };
        let is_newest = lock(&hub.inboxes).get(of).is_some_and(|inbox| inbox.reader == *number);
        (!is_newest).then_some(TransportError::TakenOver { channel: Channel::Inbox(*of) })
    }

    fn take(&mut self, most: usize) -> Option<Deliveries> {
        let mut envelopes = Vec::new();
        let mut taken = TakenBatch::default();
        let mut receipts = BTreeMap::new();
        let count = self.queues.len();
        for step in 0..count {
            let queue = &self.queues[(self.first + step) % count];
            for item in queue.take(most - envelopes.len()) {
                if let Some(receipt) = item.receipt {
                    receipts.insert(envelopes.len(), receipt);
                }
                taken.positions.push((Arc::clone(queue), item.position));
                envelopes.push(item.envelope);
            }
            if envelopes.len() >= most {
                break;
            }
        }
        self.first = (self.first + 1) % count.max(1);
        if envelopes.is_empty() {
            return None;
        }
        taken.receipts = Mutex::new(receipts);
        Some(Deliveries::new(envelopes, Arc::new(taken)))
    }
}

#[async_trait]
impl Subscription for DirectReader {
    async fn next(&mut self, most: usize) -> Result<Deliveries, TransportError> {
        let Some(changed) = self.queues.first().map(|queue| Arc::clone(&queue.changed)) else {
            return Err(TransportError::Closed);
        };
        loop {
            // Armed before the check: an item that arrives in between is not missed.
            let armed = changed.notified();
            if let Some(over) = self.taken_over() {
                return Err(over);
            }
            if let Some(taken) = self.take(most.max(1)) {
                return Ok(taken);
            }
            armed.await;
        }
    }

    fn state(&self) -> watch::Receiver<SubscriptionState> {
        self.state.clone()
    }
}

impl Drop for DirectReader {
    fn drop(&mut self) {
        let Some((of, number, hub)) = &self.reader else { return };
        let Some(hub) = hub.upgrade() else { return };
        if let Some(inbox) = lock(&hub.inboxes).get_mut(of)
            && inbox.reader == *number
        {
            inbox.left_at = Some(Instant::now());
        }
    }
}

/// One batch that a reader took.
#[derive(Default)]
struct TakenBatch {
    /// The queue of each envelope and its position there, to return it.
    positions: Vec<(Arc<EnvelopeQueue>, u64)>,
    /// By index of the envelope: the receipts that publishers still wait for.
    receipts: Mutex<BTreeMap<usize, oneshot::Sender<Receipt>>>,
}

#[async_trait]
impl Acknowledge for TakenBatch {
    async fn ack(&self, answered: Vec<(usize, Receipt)>) -> Result<(), TransportError> {
        let mut receipts = lock(&self.receipts);
        if !receipts.is_empty() {
            for (index, receipt) in answered {
                if let Some(sender) = receipts.remove(&index) {
                    // The publisher may have stopped waiting.
                    let _ = sender.send(receipt);
                }
            }
        }
        Ok(())
    }

    async fn nack(&self, returned: Vec<(usize, Envelope)>) -> Result<(), TransportError> {
        self.dropped(returned);
        Ok(())
    }

    fn dropped(&self, returned: Vec<(usize, Envelope)>) {
        for (index, envelope) in returned {
            if let Some((queue, position)) = self.positions.get(index) {
                let receipt = lock(&self.receipts).remove(&index);
                queue.put_back(Item { envelope, receipt, position: *position });
            }
        }
    }
}

struct BroadcastReader {
    receiver: broadcast::Receiver<Arc<Envelope>>,
    state: watch::Receiver<SubscriptionState>,
}

#[async_trait]
impl Subscription for BroadcastReader {
    async fn next(&mut self, most: usize) -> Result<Deliveries, TransportError> {
        let mut received = Vec::new();
        loop {
            match self.receiver.recv().await {
                Ok(envelope) => received.push(Arc::unwrap_or_clone(envelope)),
                // Envelopes were lost, which is allowed on this channel.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return Err(TransportError::Closed),
            }
            if received.len() >= most || self.receiver.is_empty() {
                return Ok(Deliveries::unanswered(received));
            }
        }
    }

    fn state(&self) -> watch::Receiver<SubscriptionState> {
        self.state.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No holder of one of these locks can panic between changes that belong together.
    mutex.lock()
}
