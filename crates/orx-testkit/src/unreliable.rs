//! A transport with every fault that [`Transport`] allows: it duplicates, delays and reorders envelopes,
//! loses them where the channel allows it, and restarts, all derived from a seed. Code that works over it
//! relies on nothing but the contract.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orx_model::message::Envelope;
use orx_model::wire::Receipt;
use orx_transport::{
    Acknowledge, Channel, ConnectionState, Deliveries, Receipts, Shard, Subscription,
    SubscriptionState, Transport, TransportError,
};
use parking_lot::{Mutex, MutexGuard};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::transport_contract::Restart;

/// The probability of each fault, from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// An envelope is delivered twice.
    pub doubled: f64,
    /// An envelope is delayed, and later ones overtake it.
    pub late: f64,
    /// An envelope is lost, where its channel allows loss.
    pub lost: f64,
    /// A publish or an acknowledgement triggers a restart.
    pub restarts: f64,
    /// The longest delay of an envelope and the longest restart.
    pub most: Duration,
}

impl Faults {
    /// No fault.
    pub const NONE: Self =
        Self { doubled: 0.0, late: 0.0, lost: 0.0, restarts: 0.0, most: Duration::ZERO };

    /// Every fault that a reader must tolerate, except loss.
    pub const MANY: Self = Self {
        doubled: 0.2,
        late: 0.3,
        lost: 0.0,
        restarts: 0.02,
        most: Duration::from_millis(20),
    };
}

/// Wraps another transport. Cheap to clone; clones share one state.
#[derive(Clone)]
pub struct Unreliable {
    inner: Arc<dyn Transport>,
    shared: Arc<UnreliableState>,
}

struct UnreliableState {
    faults: Faults,
    rng: Mutex<StdRng>,
    /// A delivery from before a restart cannot be acknowledged after it.
    restarts: Mutex<Restarts>,
    state: watch::Sender<SubscriptionState>,
}

struct Restarts {
    count: u64,
    /// The transport is unreachable until then.
    until: Instant,
}

impl Unreliable {
    /// Wraps `inner`; equal seeds give equal decisions.
    #[must_use]
    pub fn new(inner: Arc<dyn Transport>, faults: Faults, seed: u64) -> Self {
        let shared = UnreliableState {
            faults,
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            restarts: Mutex::new(Restarts { count: 0, until: Instant::now() }),
            state: watch::Sender::new(SubscriptionState::connected(Instant::now())),
        };
        Self { inner, shared: Arc::new(shared) }
    }

    /// Restarts now, and is unreachable for `down`.
    pub fn restart(&self, down: Duration) {
        self.shared.restart(down);
    }

    fn subscription(&self, inner: Box<dyn Subscription>, may_lose: bool) -> Box<dyn Subscription> {
        let shared = Arc::clone(&self.shared);
        let known = shared.restarts().count;
        Box::new(UnreliableSubscription { inner, shared, may_lose, held: Vec::new(), known })
    }
}

impl UnreliableState {
    fn rng(&self) -> MutexGuard<'_, StdRng> {
        self.rng.lock()
    }

    fn restarts(&self) -> MutexGuard<'_, Restarts> {
        self.restarts.lock()
    }

    fn happens(&self, share: f64) -> bool {
        self.rng().random_bool(share)
    }

    fn some_time(&self) -> Duration {
        self.faults.most.mul_f64(self.rng().random_range(0.0..=1.0))
    }

    fn restart(&self, down: Duration) {
        let now = Instant::now();
        {
            let mut restarts = self.restarts();
            restarts.count += 1;
            restarts.until = restarts.until.max(now + down);
        }
        let why = "the transport restarts".to_owned();
        let connection = ConnectionState::Reconnecting { since: now, why };
        self.state.send_replace(SubscriptionState { connection, last_echo: None });
    }

    fn perhaps_restart(&self) {
        if self.happens(self.faults.restarts) {
            self.restart(self.some_time());
        }
    }

    fn is_down(&self) -> bool {
        Instant::now() < self.restarts().until
    }

    /// Waits until the transport is reachable and returns the number of restarts.
    async fn back(&self) -> u64 {
        loop {
            let (count, until) = {
                let restarts = self.restarts();
                (restarts.count, restarts.until)
            };
            if until <= Instant::now() {
                self.state.send_if_modified(|state| {
                    let was_down = !state.is_connected();
                    if was_down {
                        *state = SubscriptionState::connected(Instant::now());
                    }
                    was_down
                });
                return count;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

fn restarting() -> TransportError {
    TransportError::Unreachable("a transport that restarts".to_owned())
}

#[async_trait]
impl Transport for Unreliable {
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        self.publish_for_receipts(to, envelopes).await.map(drop)
    }

    async fn publish_for_receipts(
        &self,
        to: Channel,
        envelopes: Vec<Envelope>,
    ) -> Result<Receipts, TransportError> {
        self.shared.perhaps_restart();
        if self.shared.is_down() {
            // The broker may have accepted it before the restart.
            if self.shared.happens(0.5) {
                let _ = self.inner.publish(to, envelopes).await;
            }
            return Err(restarting());
        }
        self.inner.publish_for_receipts(to, envelopes).await
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        let may_lose = matches!(channel, Channel::Inbox(_) | Channel::Broadcast);
        Ok(self.subscription(self.inner.subscribe(channel).await?, may_lose))
    }

    async fn subscribe_events(
        &self,
        shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        Ok(self.subscription(self.inner.subscribe_events(shards).await?, false))
    }
}

/// An envelope on its way to its reader.
struct Held {
    envelope: Envelope,
    /// `None`: a duplicate, which needs no acknowledgement.
    original: Option<Deliveries>,
    until: Instant,
}

struct UnreliableSubscription {
    inner: Box<dyn Subscription>,
    shared: Arc<UnreliableState>,
    may_lose: bool,
    held: Vec<Held>,
    /// The number of restarts that this reader has seen.
    known: u64,
}

impl UnreliableSubscription {
    /// Decides which envelopes to lose, duplicate or delay.
    fn take(&mut self, mut deliveries: Deliveries) {
        let now = Instant::now();
        let faults = self.shared.faults;
        while !deliveries.is_empty() {
            let rest = deliveries.split_off(1);
            let one = std::mem::replace(&mut deliveries, rest);
            let Some(envelope) = one.envelopes().next().cloned() else { continue };
            if self.may_lose && self.shared.happens(faults.lost) {
                // The inner transport counts it as read.
                drop(one.accept());
                continue;
            }
            if self.shared.happens(faults.doubled) {
                let until = now + self.shared.some_time();
                self.held.push(Held { envelope: envelope.clone(), original: None, until });
            }
            let late = self.shared.happens(faults.late);
            let until = if late { now + self.shared.some_time() } else { now };
            self.held.push(Held { envelope, original: Some(one), until });
        }
    }

    /// At most `most` envelopes whose delay is over, in random order.
    fn give(&mut self, most: usize) -> Option<Deliveries> {
        let now = Instant::now();
        let (mut due, late): (Vec<Held>, Vec<Held>) =
            std::mem::take(&mut self.held).into_iter().partition(|held| held.until <= now);
        self.held = late;
        if self.shared.faults.late > 0.0 {
            due.shuffle(&mut *self.shared.rng());
        }
        let rest = due.split_off(due.len().min(most));
        self.held.extend(rest);
        if due.is_empty() {
            return None;
        }
        let (mut envelopes, mut originals) = (Vec::new(), Vec::new());
        for held in due {
            envelopes.push(held.envelope);
            originals.push(held.original);
        }
        let given = UnreliableDelivery {
            originals: Mutex::new(originals),
            shared: Arc::clone(&self.shared),
            known: self.known,
        };
        Some(Deliveries::new(envelopes, Arc::new(given)))
    }
}

#[async_trait]
impl Subscription for UnreliableSubscription {
    async fn next(&mut self, most: usize) -> Result<Deliveries, TransportError> {
        loop {
            let count = self.shared.back().await;
            if self.known != count {
                self.known = count;
                // The inner transport delivers these again.
                self.held.clear();
            }
            if let Some(given) = self.give(most.max(1)) {
                return Ok(given);
            }
            let due = self.held.iter().map(|held| held.until).min();
            tokio::select! {
                biased;
                taken = self.inner.next(most) => {
                    let taken = taken?;
                    self.take(taken);
                }
                () = at(due) => {}
                // The loop waits for the end of this restart above.
                () = self.shared.restarted(count) => {}
            }
        }
    }

    fn state(&self) -> watch::Receiver<SubscriptionState> {
        self.shared.state.subscribe()
    }
}

impl UnreliableState {
    async fn restarted(&self, known: u64) {
        let mut state = self.state.subscribe();
        while self.restarts().count == known {
            if state.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// Returns at this time; never without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// One batch that a reader received.
struct UnreliableDelivery {
    /// `None`: a duplicate, or already answered.
    originals: Mutex<Vec<Option<Deliveries>>>,
    shared: Arc<UnreliableState>,
    /// The number of restarts before the delivery.
    known: u64,
}

impl UnreliableDelivery {
    fn original(&self, index: usize) -> Option<Deliveries> {
        let mut originals = self.originals.lock();
        originals.get_mut(index).and_then(Option::take)
    }

    /// Whether the transport restarted since the delivery.
    fn is_forgotten(&self) -> bool {
        self.shared.perhaps_restart();
        self.shared.restarts().count != self.known
    }
}

#[async_trait]
impl Acknowledge for UnreliableDelivery {
    async fn ack(&self, answered: Vec<(usize, Receipt)>) -> Result<(), TransportError> {
        let forgotten = self.is_forgotten();
        for (index, receipt) in answered {
            let Some(original) = self.original(index) else { continue };
            // It may have been acknowledged before the restart.
            if !forgotten || self.shared.happens(0.5) {
                original.answer(|_| receipt).await?;
            }
        }
        if forgotten { Err(restarting()) } else { Ok(()) }
    }

    async fn nack(&self, returned: Vec<(usize, Envelope)>) -> Result<(), TransportError> {
        let forgotten = self.is_forgotten();
        self.dropped(returned);
        if forgotten { Err(restarting()) } else { Ok(()) }
    }

    fn dropped(&self, returned: Vec<(usize, Envelope)>) {
        for (index, _) in returned {
            drop(self.original(index));
        }
    }
}

#[async_trait]
impl Restart for Unreliable {
    async fn restart(&self) {
        Self::restart(self, Duration::from_millis(20));
    }
}
