//! A transport that does all that a transport may: it doubles, delays and reorders what it carries,
//! loses what may be lost, and restarts, each by a seed. What works over it relies on no more than
//! [`Transport`] promises.

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

/// How often what goes wrong, of 1; what is not named here goes well.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// An envelope comes twice.
    pub doubled: f64,
    /// An envelope comes late, after others that were published after it.
    pub late: f64,
    /// An envelope does not come, where its channel allows loss.
    pub lost: f64,
    /// Whatever carries restarts when something is published or acknowledged.
    pub restarts: f64,
    /// How long something is late, or a restart takes, at most.
    pub most: Duration,
}

impl Faults {
    /// None, until they are changed.
    pub const NONE: Self =
        Self { doubled: 0.0, late: 0.0, lost: 0.0, restarts: 0.0, most: Duration::ZERO };

    /// All of what no reader may mind, but that nothing is lost.
    pub const MANY: Self = Self {
        doubled: 0.2,
        late: 0.3,
        lost: 0.0,
        restarts: 0.02,
        most: Duration::from_millis(20),
    };
}

/// Around any other transport. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Unreliable {
    inner: Arc<dyn Transport>,
    shared: Arc<Shared>,
}

struct Shared {
    faults: Faults,
    rng: Mutex<StdRng>,
    /// Grows with each restart: what was delivered before is not acknowledged after it.
    restarts: Mutex<Restarts>,
    state: watch::Sender<SubscriptionState>,
}

struct Restarts {
    count: u64,
    /// Until then it is away.
    until: Instant,
}

impl Unreliable {
    #[must_use]
    pub fn new(inner: Arc<dyn Transport>, faults: Faults, seed: u64) -> Self {
        let shared = Shared {
            faults,
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            restarts: Mutex::new(Restarts { count: 0, until: Instant::now() }),
            state: watch::Sender::new(SubscriptionState::connected(Instant::now())),
        };
        Self { inner, shared: Arc::new(shared) }
    }

    /// Restarts now, and is away for that long.
    pub fn restart(&self, away: Duration) {
        self.shared.restart(away);
    }

    fn subscription(&self, inner: Box<dyn Subscription>, may_lose: bool) -> Box<dyn Subscription> {
        let shared = Arc::clone(&self.shared);
        let known = shared.restarts().count;
        Box::new(Reader { inner, shared, may_lose, held: Vec::new(), known })
    }
}

impl Shared {
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

    fn restart(&self, away: Duration) {
        let now = Instant::now();
        {
            let mut restarts = self.restarts();
            restarts.count += 1;
            restarts.until = restarts.until.max(now + away);
        }
        let why = "it restarts".to_owned();
        let connection = ConnectionState::Reconnecting { since: now, why };
        self.state.send_replace(SubscriptionState { connection, last_echo: None });
    }

    fn perhaps_restart(&self) {
        if self.happens(self.faults.restarts) {
            self.restart(self.some_time());
        }
    }

    fn is_away(&self) -> bool {
        Instant::now() < self.restarts().until
    }

    /// Returns once it is there, with the number of its restarts.
    async fn back(&self) -> u64 {
        loop {
            let (count, until) = {
                let restarts = self.restarts();
                (restarts.count, restarts.until)
            };
            if until <= Instant::now() {
                self.state.send_if_modified(|state| {
                    let was_away = !state.is_connected();
                    if was_away {
                        *state = SubscriptionState::connected(Instant::now());
                    }
                    was_away
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
        if self.shared.is_away() {
            // It may have been taken before the restart.
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
    /// `None`: a copy, which is nobody's to acknowledge.
    original: Option<Deliveries>,
    until: Instant,
}

struct Reader {
    inner: Box<dyn Subscription>,
    shared: Arc<Shared>,
    may_lose: bool,
    held: Vec<Held>,
    /// Restarts that it has noticed.
    known: u64,
}

impl Reader {
    /// Gives each envelope of it its fate.
    fn take(&mut self, mut deliveries: Deliveries) {
        let now = Instant::now();
        let faults = self.shared.faults;
        while !deliveries.is_empty() {
            let rest = deliveries.split_off(1);
            let one = std::mem::replace(&mut deliveries, rest);
            let Some(envelope) = one.envelopes().next().cloned() else { continue };
            if self.may_lose && self.shared.happens(faults.lost) {
                // Whatever carried it thinks that it was read.
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

    /// What is not late any more, in any order.
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
        let given = Given {
            originals: Mutex::new(originals),
            shared: Arc::clone(&self.shared),
            known: self.known,
        };
        Some(Deliveries::new(envelopes, Arc::new(given)))
    }
}

#[async_trait]
impl Subscription for Reader {
    async fn next(&mut self, most: usize) -> Result<Deliveries, TransportError> {
        loop {
            let count = self.shared.back().await;
            if self.known != count {
                self.known = count;
                // What was on its way is delivered anew, after what the connection brings first.
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
                // Another restart is waited for above.
                () = self.shared.restarted(count) => {}
            }
        }
    }

    fn state(&self) -> watch::Receiver<SubscriptionState> {
        self.shared.state.subscribe()
    }
}

impl Shared {
    async fn restarted(&self, known: u64) {
        let mut state = self.state.subscribe();
        while self.restarts().count == known {
            if state.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// Never, without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// One batch that a reader was given.
struct Given {
    /// `None`: a copy, or it is answered.
    originals: Mutex<Vec<Option<Deliveries>>>,
    shared: Arc<Shared>,
    /// Restarts before it was given.
    known: u64,
}

impl Given {
    fn original(&self, index: usize) -> Option<Deliveries> {
        let mut originals = self.originals.lock();
        originals.get_mut(index).and_then(Option::take)
    }

    /// A restart forgot that it was delivered.
    fn is_forgotten(&self) -> bool {
        self.shared.perhaps_restart();
        self.shared.restarts().count != self.known
    }
}

#[async_trait]
impl Acknowledge for Given {
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
