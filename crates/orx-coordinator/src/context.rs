//! The shared state of the services of one node: the store, the transport, the feed, and the tables of
//! workers and attempts. A lock here is held for one read or change, never across an `await`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use orx_model::event::{Event, KnownEvent};
use orx_model::{Incarnation, SecretHash, Timestamp};
use orx_store::{Store, Term};
use orx_transport::{Transport, Wakeups};
use parking_lot::{Mutex, MutexGuard};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, watch};

use crate::gateway::plan::WorkerTable;
use crate::health::Health;
use crate::leader::dispatcher::plan::SlotTable;
use crate::post::Post;
use crate::recorder::holders::Holders;
use crate::{Clock, Now, Settings};

/// Shared by all services of a node.
pub struct Context {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    /// This coordinator.
    pub(crate) node: Incarnation,
    pub(crate) wakeups: Wakeups,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) post: Post,
    pub(crate) health: Health,
    pub(crate) lead: LeaderState,
    pub(crate) wakes: Wakes,
    pub(crate) idle: IdleState,
    /// The secret hash of workers that run in this process. No secret has this hash, so no caller from
    /// outside can show it.
    pub(crate) hosted: SecretHash,
    /// Nothing is deleted by its age before this, on the monotonic clock in milliseconds: the wall clock
    /// may be wrong, because it was set forward lately, or no node led for long.
    retain_until: AtomicU64,
    worker_table: Mutex<WorkerTable>,
    slots: Mutex<SlotTable>,
    holders: Mutex<Holders>,
}

impl Context {
    /// The shared state of a node. `seed` is the start of all randomness in it.
    #[must_use]
    pub fn new(
        (store, transport, wakeups): (Arc<dyn Store>, Arc<dyn Transport>, Wakeups),
        clock: Arc<dyn Clock>,
        settings: Settings,
        node: Incarnation,
        seed: u64,
    ) -> Arc<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut hosted = [0; 32];
        rng.fill_bytes(&mut hosted);
        Arc::new(Self {
            post: Post::new(Arc::clone(&transport), node, rng.next_u64()),
            health: Health::new(wakeups.clone()),
            lead: LeaderState::default(),
            wakes: Wakes::default(),
            idle: IdleState::default(),
            hosted: SecretHash(hosted),
            retain_until: AtomicU64::new(0),
            worker_table: Mutex::new(WorkerTable::new(settings.clone())),
            slots: Mutex::new(SlotTable::new(settings.clone())),
            holders: Mutex::default(),
            store,
            clock,
            settings,
            node,
            wakeups,
            transport,
        })
    }

    /// Both clocks, now.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Publishes changes in the feed of this node, once they are committed.
    pub(crate) fn publish(&self, events: impl IntoIterator<Item = KnownEvent>, now: Now) {
        let events = events.into_iter().map(|what| Event::new(now.wall, what)).collect();
        self.wakeups.feed().publish(events);
    }

    /// The term in which this node leads. `None`: it does not lead, or its lease may have run out.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.lead.term(self.now().mono)
    }

    /// Sets the term in which this node leads, and until when it may trust that, on the monotonic clock.
    pub fn set_term(&self, own: Option<(Term, Duration)>) {
        self.lead.set(own.map(|(term, _)| term), own);
    }

    /// Workers that send their heartbeats to this node.
    pub(crate) fn worker_table(&self) -> MutexGuard<'_, WorkerTable> {
        lock(&self.worker_table)
    }

    /// Workers with their live attempts and free slots; empty while another node leads.
    pub fn slots(&self) -> MutexGuard<'_, SlotTable> {
        lock(&self.slots)
    }

    pub(crate) fn holders(&self) -> MutexGuard<'_, Holders> {
        lock(&self.holders)
    }

    /// Whether data may be deleted by its age now.
    pub(crate) fn may_delete_by_age(&self, now: Now) -> bool {
        now.mono.as_millis() >= u128::from(self.retain_until.load(Ordering::Acquire))
    }

    /// Nothing is deleted by its age until then, on the monotonic clock.
    pub(crate) fn retain_until(&self, mono: Duration) {
        let ms = u64::try_from(mono.as_millis()).unwrap_or(u64::MAX);
        self.retain_until.fetch_max(ms, Ordering::AcqRel);
    }

    /// Updates whether the dispatcher has nothing to do.
    pub(crate) fn update_idle(&self) {
        let idle = self.slots().is_idle();
        self.idle.dispatcher(idle);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No holder of one of these locks can panic between changes that belong together.
    mutex.lock()
}

/// Which node leads, by the newest answer of the store.
#[derive(Default)]
pub(crate) struct LeaderState {
    known: Mutex<KnownTerms>,
}

#[derive(Default)]
struct KnownTerms {
    leader: Option<Term>,
    /// The term of this node, and until when it may be trusted, on the monotonic clock.
    own: Option<(Term, Duration)>,
}

impl LeaderState {
    /// `own`: the term of this node, and until when it may be trusted, on the monotonic clock.
    pub(crate) fn set(&self, leader: Option<Term>, own: Option<(Term, Duration)>) {
        *lock(&self.known) = KnownTerms { leader, own };
    }

    pub(crate) fn leader(&self) -> Option<Term> {
        lock(&self.known).leader
    }

    pub(crate) fn term(&self, mono: Duration) -> Option<Term> {
        lock(&self.known).own.filter(|(_, until)| mono < *until).map(|(term, _)| term)
    }
}

/// Wake-ups between the services of a node. A wake-up carries no data: the woken service reads the store.
pub(crate) struct Wakes {
    /// Slots became free, or a worker registered.
    pub(crate) dispatcher: Notify,
    pub(crate) scheduler: Notify,
    pub(crate) monitor: Notify,
    /// The lease should be requested now.
    pub(crate) leader: Notify,
    /// The row of this node should be written now.
    pub(crate) nodes: Notify,
    /// Other nodes joined or left.
    pub(crate) peers: Notify,
    /// The earliest due time that the scheduler has not taken; milliseconds, `MAX` for none.
    due: AtomicI64,
    ended: AtomicBool,
    round: AtomicBool,
}

impl Default for Wakes {
    fn default() -> Self {
        Self {
            dispatcher: Notify::new(),
            scheduler: Notify::new(),
            monitor: Notify::new(),
            leader: Notify::new(),
            nodes: Notify::new(),
            peers: Notify::new(),
            due: AtomicI64::new(i64::MAX),
            ended: AtomicBool::new(false),
            round: AtomicBool::new(false),
        }
    }
}

impl Wakes {
    /// A job becomes due or expires at that time, or a schedule fires then.
    pub(crate) fn due(&self, at: Timestamp) {
        self.due.fetch_min(at.as_millis(), Ordering::AcqRel);
        self.scheduler.notify_one();
    }

    pub(crate) fn take_due(&self) -> Option<Timestamp> {
        let due = self.due.swap(i64::MAX, Ordering::AcqRel);
        (due != i64::MAX).then(|| Timestamp::from_millis(due))
    }

    /// A job ended, and a run of a schedule may wait for it.
    pub(crate) fn ended(&self) {
        self.ended.store(true, Ordering::Release);
        self.scheduler.notify_one();
    }

    pub(crate) fn take_ended(&self) -> bool {
        self.ended.swap(false, Ordering::AcqRel)
    }

    /// The monitor should make a round now.
    pub(crate) fn make_round(&self) {
        self.round.store(true, Ordering::Release);
        self.monitor.notify_one();
    }

    pub(crate) fn take_round(&self) -> bool {
        self.round.swap(false, Ordering::AcqRel)
    }
}

/// Whether this node has nothing to do: no attempt is live, no job waits for a time, no ready job is for a
/// worker that is here, and no operation runs.
pub(crate) struct IdleState {
    parts: Mutex<(bool, bool, bool)>,
    all: watch::Sender<bool>,
}

impl Default for IdleState {
    fn default() -> Self {
        Self { parts: Mutex::default(), all: watch::Sender::new(false) }
    }
}

impl IdleState {
    pub(crate) fn dispatcher(&self, idle: bool) {
        self.set(|parts| parts.0 = idle);
    }

    pub(crate) fn scheduler(&self, idle: bool) {
        self.set(|parts| parts.1 = idle);
    }

    pub(crate) fn operations(&self, idle: bool) {
        self.set(|parts| parts.2 = idle);
    }

    fn set(&self, change: impl FnOnce(&mut (bool, bool, bool))) {
        let mut parts = lock(&self.parts);
        change(&mut parts);
        let idle = parts.0 && parts.1 && parts.2;
        self.all.send_if_modified(|was| std::mem::replace(was, idle) != idle);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.all.subscribe()
    }
}
