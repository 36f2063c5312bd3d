//! `direct` in one process: bounded queues, no serialisation, no broker. Between processes
//! [`crate::http`] carries to and from such a hub.
//!
//! What was published and not acked lives as long as the hub: readers may come and go. An inbox that
//! nobody has read for [`INBOX_KEPT`] is given up with what waits in it; recovery heals that.

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

/// Envelopes that wait in one channel; each may carry many jobs.
const CHANNEL_ENVELOPES: usize = 1_024;
/// How long a publisher waits for room.
const PUBLISH_WAIT: Duration = Duration::from_secs(5);
/// A reader that is away for less finds its inbox as it left it.
pub const INBOX_KEPT: Duration = Duration::from_secs(60);

/// Cheap to clone; all clones are one hub.
#[derive(Clone)]
pub struct Direct {
    hub: Arc<Hub>,
}

struct Hub {
    enqueue: Arc<Queue>,
    events: Vec<Arc<Queue>>,
    /// Only inboxes that have, or had, a reader and are not yet given up.
    inboxes: Mutex<HashMap<Incarnation, Inbox>>,
    broadcast: broadcast::Sender<Arc<Envelope>>,
    /// Never anything but connected.
    state: watch::Sender<SubscriptionState>,
}

struct Inbox {
    queue: Arc<Queue>,
    /// Grows with each reader: who is not the newest has been taken over from.
    reader: u64,
    /// Since when nobody reads; `None` while somebody does.
    left_at: Option<Instant>,
}

impl Default for Direct {
    fn default() -> Self {
        Self::new()
    }
}

impl Direct {
    #[must_use]
    pub fn new() -> Self {
        let events_changed = Arc::new(Notify::new());
        let hub = Hub {
            enqueue: Arc::new(Queue::default()),
            events: Shard::all().map(|_| Arc::new(Queue::waking(&events_changed))).collect(),
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

    fn queue(&self, channel: Channel) -> Result<Arc<Queue>, TransportError> {
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
                // An error says that nobody listens, which is allowed here.
                let _ = self.hub.broadcast.send(Arc::new(envelope));
            }
            return Ok(());
        }
        let plain = |envelope| Item { envelope, receipt: None, place: 0 };
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
            let (receipt, told) = oneshot::channel();
            receipts.push(told);
            Item { envelope, receipt: Some(receipt), place: 0 }
        });
        let items = items.collect();
        self.push(to, items).await?;
        Ok(Receipts::told(receipts))
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        let reader = match channel {
            Channel::Broadcast => {
                let (receiver, state) =
                    (self.hub.broadcast.subscribe(), self.hub.state.subscribe());
                return Ok(Box::new(Listener { receiver, state }));
            }
            Channel::Inbox(of) => {
                let mut inboxes = lock(&self.hub.inboxes);
                inboxes.retain(|_, inbox| {
                    inbox.left_at.is_none_or(|left_at| left_at.elapsed() < INBOX_KEPT)
                });
                let inbox = inboxes.entry(of).or_insert_with(|| Inbox {
                    queue: Arc::new(Queue::default()),
                    reader: 0,
                    left_at: None,
                });
                inbox.reader += 1;
                inbox.left_at = None;
                let number = inbox.reader;
                // The reader before may be asleep on the queue: it wakes, and finds that it is over.
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

/// What waits in a queue, with who wants to know what becomes of it.
struct Item {
    envelope: Envelope,
    receipt: Option<oneshot::Sender<Receipt>>,
    /// Grows along its queue, which gives it.
    place: u64,
}

/// Bounded, with room counted in envelopes. A batch larger than the bound goes in when it is empty.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Shared by the queues of all shards, so that one reader can sleep on many.
    changed: Arc<Notify>,
    room: Notify,
}

#[derive(Default)]
struct Waiting {
    /// By their places.
    items: VecDeque<Item>,
    /// How many there have been.
    placed: u64,
}

impl Queue {
    fn waking(changed: &Arc<Notify>) -> Self {
        Self { changed: Arc::clone(changed), ..Self::default() }
    }

    async fn push(&self, items: Vec<Item>) {
        loop {
            // Armed before looking: room made in between is not missed.
            let room = self.room.notified();
            {
                let mut waiting = lock(&self.waiting);
                let there = waiting.items.len();
                if there == 0 || there + items.len() <= CHANNEL_ENVELOPES {
                    for item in items {
                        waiting.placed += 1;
                        let place = waiting.placed;
                        waiting.items.push_back(Item { place, ..item });
                    }
                    drop(waiting);
                    self.changed.notify_waiters();
                    return;
                }
            }
            room.await;
        }
    }

    fn take(&self, most: usize) -> Vec<Item> {
        let mut waiting = lock(&self.waiting);
        let count = most.min(waiting.items.len());
        let taken: Vec<Item> = waiting.items.drain(..count).collect();
        drop(waiting);
        if !taken.is_empty() {
            self.room.notify_waiters();
        }
        taken
    }

    /// Back to its place: before those that wait, and in order with others that are given back.
    fn give_back(&self, item: Item) {
        let mut waiting = lock(&self.waiting);
        let before = waiting.items.partition_point(|other| other.place < item.place);
        waiting.items.insert(before, item);
        drop(waiting);
        self.changed.notify_waiters();
    }
}

struct DirectReader {
    /// All wake the same `changed`.
    queues: Vec<Arc<Queue>>,
    /// Where the next round begins, so that no queue starves behind a busy one.
    first: usize,
    reader: Option<(Incarnation, u64, Weak<Hub>)>,
    state: watch::Receiver<SubscriptionState>,
}

impl DirectReader {
    /// A newer reader has the inbox, or it was given up.
    fn taken_over(&self) -> Option<TransportError> {
        let (of, number, hub) = self.reader.as_ref()?;
        let Some(hub) = hub.upgrade() else { return Some(TransportError::Closed) };
        let is_newest = lock(&hub.inboxes).get(of).is_some_and(|inbox| inbox.reader == *number);
        (!is_newest).then_some(TransportError::TakenOver { channel: Channel::Inbox(*of) })
    }

    fn take(&mut self, most: usize) -> Option<Deliveries> {
        let mut envelopes = Vec::new();
        let mut taken = Taken::default();
        let mut receipts = BTreeMap::new();
        let count = self.queues.len();
        for step in 0..count {
            let queue = &self.queues[(self.first + step) % count];
            for item in queue.take(most - envelopes.len()) {
                if let Some(receipt) = item.receipt {
                    receipts.insert(envelopes.len(), receipt);
                }
                taken.places.push((Arc::clone(queue), item.place));
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
            // Armed before looking: what comes in between is not missed.
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
struct Taken {
    /// Of each envelope where it was, to give it back.
    places: Vec<(Arc<Queue>, u64)>,
    /// Of those whose publishers want to know what becomes of them, and that are not answered.
    receipts: Mutex<BTreeMap<usize, oneshot::Sender<Receipt>>>,
}

#[async_trait]
impl Acknowledge for Taken {
    async fn ack(&self, answered: Vec<(usize, Receipt)>) -> Result<(), TransportError> {
        let mut receipts = lock(&self.receipts);
        if !receipts.is_empty() {
            for (index, receipt) in answered {
                if let Some(teller) = receipts.remove(&index) {
                    // Whoever asked may be gone.
                    let _ = teller.send(receipt);
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
            if let Some((queue, place)) = self.places.get(index) {
                let receipt = lock(&self.receipts).remove(&index);
                queue.give_back(Item { envelope, receipt, place: *place });
            }
        }
    }
}

struct Listener {
    receiver: broadcast::Receiver<Arc<Envelope>>,
    state: watch::Receiver<SubscriptionState>,
}

#[async_trait]
impl Subscription for Listener {
    async fn next(&mut self, most: usize) -> Result<Deliveries, TransportError> {
        let mut heard = Vec::new();
        loop {
            match self.receiver.recv().await {
                Ok(envelope) => heard.push(Arc::unwrap_or_clone(envelope)),
                // Some were missed: allowed on this channel.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return Err(TransportError::Closed),
            }
            if heard.len() >= most || self.receiver.is_empty() {
                return Ok(Deliveries::unanswered(heard));
            }
        }
    }

    fn state(&self) -> watch::Receiver<SubscriptionState> {
        self.state.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that holds one of these locks can leave its data half-changed.
    mutex.lock()
}
