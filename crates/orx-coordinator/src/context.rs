//! What the services of one node share: the store, the way to workers and to those who wait here, and
//! what is known of workers. Every lock here is held for a look or a change, never across a wait.

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
    pub(crate) lead: Leading,
    pub(crate) wakes: Wakes,
    pub(crate) idle: Idle,
    /// By which the store knows the workers that live and die with this process. No secret has this
    /// hash, so nobody shows it from outside.
    pub(crate) hosted: SecretHash,
    /// Until then, on the monotonic clock in milliseconds, nothing is forgotten: the wall clock was set
    /// ahead lately, or nobody led for long, and may be wrong.
    keep_until: AtomicU64,
    worker_table: Mutex<WorkerTable>,
    slots: Mutex<SlotTable>,
    holders: Mutex<Holders>,
}

impl Context {
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
            lead: Leading::default(),
            wakes: Wakes::default(),
            idle: Idle::default(),
            hosted: SecretHash(hosted),
            keep_until: AtomicU64::new(0),
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

    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Tells whoever waits, follows or watches. It is committed.
    pub(crate) fn publish(&self, events: impl IntoIterator<Item = KnownEvent>, now: Now) {
        let events = events.into_iter().map(|what| Event::new(now.wall, what)).collect();
        self.wakeups.feed().publish(events);
    }

    /// The term in which this node leads, while it may be trusted.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.lead.term(self.now().mono)
    }

    /// This node leads in that term, or does not, and may trust it until then, on the monotonic clock.
    pub fn leads(&self, own: Option<(Term, Duration)>) {
        self.lead.set(own.map(|(term, _)| term), own);
    }

    /// Workers that are heard here.
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

    /// Whether things may be forgotten now.
    pub(crate) fn may_forget(&self, now: Now) -> bool {
        now.mono.as_millis() >= u128::from(self.keep_until.load(Ordering::Acquire))
    }

    pub(crate) fn keep_until(&self, mono: Duration) {
        let ms = u64::try_from(mono.as_millis()).unwrap_or(u64::MAX);
        self.keep_until.fetch_max(ms, Ordering::AcqRel);
    }

    /// What waits for a leader is with one now, or not any more: whether this node has nothing to do.
    pub(crate) fn look_idle(&self) {
        let idle = self.slots().is_idle();
        self.idle.dispatcher(idle);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that holds one of these locks can leave its data half-changed.
    mutex.lock()
}

/// Who leads, as far as is known here.
#[derive(Default)]
pub(crate) struct Leading {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    leader: Option<Term>,
    /// The own term, with how long it may be trusted.
    own: Option<(Term, Duration)>,
}

impl Leading {
    /// `own` with how long it may be trusted, on the monotonic clock.
    pub(crate) fn set(&self, leader: Option<Term>, own: Option<(Term, Duration)>) {
        *lock(&self.known) = Known { leader, own };
    }

    pub(crate) fn leader(&self) -> Option<Term> {
        lock(&self.known).leader
    }

    pub(crate) fn term(&self, mono: Duration) -> Option<Term> {
        lock(&self.known).own.filter(|(_, until)| mono < *until).map(|(term, _)| term)
    }
}

/// Wake-ups between the services of a node. A wake-up carries no data: whoever hears it looks.
pub(crate) struct Wakes {
    /// Places at workers became free, or a worker came.
    pub(crate) dispatcher: Notify,
    pub(crate) scheduler: Notify,
    pub(crate) monitor: Notify,
    /// The lease is to be asked for, or given up.
    pub(crate) leader: Notify,
    /// Other nodes should hear of this one now.
    pub(crate) nodes: Notify,
    /// Other nodes came or went.
    pub(crate) peers: Notify,
    /// Earliest due time told, and not taken by the scheduler; milliseconds, `MAX` for none.
    due: AtomicI64,
    ended: AtomicBool,
    all: AtomicBool,
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
            all: AtomicBool::new(false),
        }
    }
}

impl Wakes {
    /// A job is due, or over, at that time, or a schedule fires then.
    pub(crate) fn due(&self, at: Timestamp) {
        self.due.fetch_min(at.as_millis(), Ordering::AcqRel);
        self.scheduler.notify_one();
    }

    pub(crate) fn take_due(&self) -> Option<Timestamp> {
        let due = self.due.swap(i64::MAX, Ordering::AcqRel);
        (due != i64::MAX).then(|| Timestamp::from_millis(due))
    }

    /// Something ended that a run of a schedule may wait for.
    pub(crate) fn ended(&self) {
        self.ended.store(true, Ordering::Release);
        self.scheduler.notify_one();
    }

    pub(crate) fn take_ended(&self) -> bool {
        self.ended.swap(false, Ordering::AcqRel)
    }

    /// The monitor should compare all with the store, and not wait for its round.
    pub(crate) fn look_at_all(&self) {
        self.all.store(true, Ordering::Release);
        self.monitor.notify_one();
    }

    pub(crate) fn take_all(&self) -> bool {
        self.all.swap(false, Ordering::AcqRel)
    }
}

/// Whether this node has nothing to do: no attempt is live, nothing waits for a time, and what is
/// ready (if anything) is for workers that are not here.
pub(crate) struct Idle {
    parts: Mutex<(bool, bool)>,
    all: watch::Sender<bool>,
}

impl Default for Idle {
    fn default() -> Self {
        Self { parts: Mutex::default(), all: watch::Sender::new(false) }
    }
}

impl Idle {
    pub(crate) fn dispatcher(&self, idle: bool) {
        self.set(|parts| parts.0 = idle);
    }

    pub(crate) fn scheduler(&self, idle: bool) {
        self.set(|parts| parts.1 = idle);
    }

    fn set(&self, change: impl FnOnce(&mut (bool, bool))) {
        let mut parts = lock(&self.parts);
        change(&mut parts);
        let idle = parts.0 && parts.1;
        self.all.send_if_modified(|was| std::mem::replace(was, idle) != idle);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.all.subscribe()
    }
}
