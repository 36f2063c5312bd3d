//! `direct` in one process: bounded queues, no serialisation, no broker. Between processes
//! [`crate::http`] carries to and from such a hub.
//!
//! What was published and not acked lives as long as the hub: readers may come and go. An inbox that
//! nobody has read for [`INBOX_KEPT`] is given up with what waits in it; recovery heals that.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use orx_model::Incarnation;
use orx_model::message::Envelope;
use orx_model::wire::Receipt;
use tokio::sync::{Notify, broadcast, oneshot};
use tokio::time::Instant;

use crate::{Channel, Delivery, Shard, Subscription, Transport, TransportError};

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
        };
        Self { hub: Arc::new(hub) }
    }

    /// Somebody reads that inbox here, now.
    #[must_use]
    pub fn reaches(&self, of: Incarnation) -> bool {
        lock(&self.hub.inboxes).get(&of).is_some_and(|inbox| inbox.left_at.is_none())
    }

    /// As [`Transport::publish`]; what becomes of each envelope is told once its reader answers. A
    /// receipt that never comes says that it is still there.
    ///
    /// # Errors
    /// [`TransportError::Full`], [`TransportError::NoReader`].
    pub async fn publish_for_receipts(
        &self,
        to: Channel,
        envelopes: Vec<Envelope>,
    ) -> Result<Vec<oneshot::Receiver<Receipt>>, TransportError> {
        let mut receipts = Vec::with_capacity(envelopes.len());
        let items = envelopes.into_iter().map(|envelope| {
            let (receipt, told) = oneshot::channel();
            receipts.push(told);
            Item { envelope, receipt: Some(receipt), place: 0 }
        });
        let items = items.collect();
        self.push(to, items).await?;
        Ok(receipts)
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

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        let reader = match channel {
            Channel::Broadcast => {
                return Ok(Box::new(Listener { receiver: self.hub.broadcast.subscribe() }));
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
        Ok(Box::new(Reader { queues: vec![self.queue(channel)?], first: 0, reader }))
    }

    async fn subscribe_events(
        &self,
        shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        let queues = shards.into_iter().map(|shard| self.queue(Channel::Events(shard)));
        Ok(Box::new(Reader { queues: queues.collect::<Result<_, _>>()?, first: 0, reader: None }))
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

struct Reader {
    /// All wake the same `changed`.
    queues: Vec<Arc<Queue>>,
    /// Where the next round begins, so that no queue starves behind a busy one.
    first: usize,
    reader: Option<(Incarnation, u64, Weak<Hub>)>,
}

impl Reader {
    fn taken_over(&self) -> bool {
        let Some((of, number, hub)) = &self.reader else { return false };
        let Some(hub) = hub.upgrade() else { return true };
        lock(&hub.inboxes).get(of).is_none_or(|inbox| inbox.reader != *number)
    }

    fn take(&mut self, most: usize) -> Vec<Box<dyn Delivery>> {
        let mut taken: Vec<Box<dyn Delivery>> = Vec::new();
        let count = self.queues.len();
        for step in 0..count {
            let queue = &self.queues[(self.first + step) % count];
            for item in queue.take(most - taken.len()) {
                taken.push(Box::new(Pending { item: Some(item), queue: Arc::clone(queue) }));
            }
            if taken.len() >= most {
                break;
            }
        }
        self.first = (self.first + 1) % count.max(1);
        taken
    }
}

#[async_trait]
impl Subscription for Reader {
    async fn next(&mut self, most: usize) -> Result<Vec<Box<dyn Delivery>>, TransportError> {
        let Some(changed) = self.queues.first().map(|queue| Arc::clone(&queue.changed)) else {
            return Err(TransportError::Closed);
        };
        loop {
            // Armed before looking: what comes in between is not missed.
            let armed = changed.notified();
            if self.taken_over() {
                return Err(TransportError::Closed);
            }
            let taken = self.take(most.max(1));
            if !taken.is_empty() {
                return Ok(taken);
            }
            armed.await;
        }
    }
}

impl Drop for Reader {
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

struct Pending {
    /// `None` once answered.
    item: Option<Item>,
    queue: Arc<Queue>,
}

impl Delivery for Pending {
    fn envelope(&self) -> &Envelope {
        match &self.item {
            Some(item) => &item.envelope,
            None => unreachable!("only `answer` takes the item, and takes the delivery with it"),
        }
    }

    fn answer(mut self: Box<Self>, receipt: Receipt) -> Envelope {
        match self.item.take() {
            Some(item) => {
                if let Some(teller) = item.receipt {
                    // Whoever asked may be gone.
                    let _ = teller.send(receipt);
                }
                item.envelope
            }
            None => unreachable!("a delivery is answered once: `answer` takes it"),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.queue.give_back(item);
        }
    }
}

struct Listener {
    receiver: broadcast::Receiver<Arc<Envelope>>,
}

#[async_trait]
impl Subscription for Listener {
    async fn next(&mut self, most: usize) -> Result<Vec<Box<dyn Delivery>>, TransportError> {
        let mut heard: Vec<Box<dyn Delivery>> = Vec::new();
        loop {
            match self.receiver.recv().await {
                Ok(envelope) => heard.push(Box::new(Heard(envelope))),
                // Some were missed: allowed on this channel.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return Err(TransportError::Closed),
            }
            if heard.len() >= most || self.receiver.is_empty() {
                return Ok(heard);
            }
        }
    }
}

struct Heard(Arc<Envelope>);

impl Delivery for Heard {
    fn envelope(&self) -> &Envelope {
        &self.0
    }

    fn answer(self: Box<Self>, _receipt: Receipt) -> Envelope {
        Envelope::clone(&self.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that holds one of these locks can leave its data half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
