//! A real coordinator, on a store and a transport that are played.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use orx_coordinator::run::Parts;
use orx_coordinator::{Clock, Coordinator, Now, Settings};
use orx_model::message::Envelope;
use orx_model::{Incarnation, Timestamp};
use orx_store::{Leases, NodeReport, Store};
use orx_transport::{PeerNodes, Wakeups};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::name;
use crate::net::NodeTransport;
use crate::store::{SlowStore, done};
use crate::worker::LOOK;
use crate::world::World;

/// A node that is told to end has done so after this, whatever is stuck: I23.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// What waits for a reader.
#[derive(Default)]
pub(crate) struct Mailbox {
    waiting: Mutex<VecDeque<Envelope>>,
    some: Notify,
}

impl Mailbox {
    pub(crate) fn put(&self, envelope: Envelope) {
        self.waiting.lock().push_back(envelope);
        self.some.notify_waiters();
    }

    pub(crate) fn take(&self, most: usize) -> Vec<Envelope> {
        let mut waiting = self.waiting.lock();
        let count = most.min(waiting.len());
        waiting.drain(..count).collect()
    }

    /// At least one, once there is one.
    pub(crate) async fn next(&self, most: usize) -> Vec<Envelope> {
        loop {
            let armed = self.some.notified();
            let taken = self.take(most);
            if !taken.is_empty() {
                return taken;
            }
            armed.await;
        }
    }
}

pub(crate) struct Node {
    pub(crate) id: Incarnation,
    alive: AtomicBool,
    /// It was told to end.
    ending: AtomicBool,
    /// Until then whatever it calls, or is called for, waits.
    still_until: Mutex<Option<Instant>>,
    /// Until then it does not reach the store.
    pub(crate) away_until: Mutex<Option<Instant>>,
    /// By how much its clock is wrong.
    ahead_ms: AtomicI64,
    pub(crate) events: Mailbox,
    pub(crate) hints: Mailbox,
    pub(crate) inbox: Mailbox,
    pub(crate) wakeups: Wakeups,
    coordinator: OnceLock<Coordinator>,
    stop: CancellationToken,
    died: CancellationToken,
}

impl Node {
    /// Starts one, which is there for others from now on.
    pub(crate) async fn start(world: &Arc<World>, id: Incarnation, ahead_ms: i64) -> Arc<Self> {
        let alone = world.alone;
        let node = Arc::new(Self {
            id,
            alive: AtomicBool::new(true),
            ending: AtomicBool::new(false),
            still_until: Mutex::new(None),
            away_until: Mutex::new(None),
            ahead_ms: AtomicI64::new(ahead_ms),
            events: Mailbox::default(),
            hints: Mailbox::default(),
            inbox: Mailbox::default(),
            wakeups: if alone { Wakeups::new() } else { Wakeups::shared(id) },
            coordinator: OnceLock::new(),
            stop: CancellationToken::new(),
            died: CancellationToken::new(),
        });
        if alone && let Some((term, _)) = done(world.memory.leader(world.wall())).expect("read") {
            // The store's lock proves that whoever had it is gone.
            done(world.memory.step_down(term)).expect("stepped down");
        }
        world.nodes().insert(id, Arc::clone(&node));
        world.nodes_changed();
        world.say(|| format!("node {} starts", id.0));
        tokio::spawn(run(Arc::clone(world), Arc::clone(&node)));
        node
    }

    /// Resolves when it acts as a process does that goes on: late where it stands still, never where
    /// it is dead.
    pub(crate) async fn goes_on(&self) {
        loop {
            if !self.is_alive() {
                return std::future::pending().await;
            }
            let until = *self.still_until.lock();
            match until.filter(|until| Instant::now() < *until) {
                Some(until) => sleep_until(until.min(Instant::now() + LOOK)).await,
                None => return,
            }
        }
    }

    pub(crate) fn is_going(&self) -> bool {
        let until = *self.still_until.lock();
        self.is_alive() && until.is_none_or(|until| until <= Instant::now())
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// People and workers come to it.
    pub(crate) fn is_open(&self) -> bool {
        self.is_alive() && !self.ending.load(Ordering::Relaxed)
    }

    pub(crate) fn coordinator(&self) -> Option<&Coordinator> {
        self.coordinator.get().filter(|_| self.is_alive())
    }

    pub(crate) fn clock(&self, world: &World) -> Now {
        let ahead = self.ahead_ms.load(Ordering::Relaxed);
        let wall = Timestamp::from_millis(world.wall().as_millis() + ahead);
        // Since some moment that no other node knows.
        let since = Duration::from_secs(self.id.0 as u64 % 1_000);
        Now { wall, mono: since + world.elapsed() }
    }

    pub(crate) fn set_clock(&self, ahead_ms: i64) {
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }

    pub(crate) fn loses_store(&self, until: Instant) {
        *self.away_until.lock() = Some(until);
    }

    pub(crate) fn stand_still(&self, until: Instant) {
        *self.still_until.lock() = Some(until);
    }

    /// At once, in the middle of whatever it does.
    pub(crate) fn die(&self) {
        self.alive.store(false, Ordering::Relaxed);
        self.died.cancel();
        // What of it waits for nothing but this ends.
        self.stop.cancel();
    }

    /// In good order.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
        self.wakeups.set_stopping();
        self.stop.cancel();
    }

    pub(crate) fn store(self: &Arc<Self>, world: &Arc<World>) -> SlowStore {
        SlowStore { world: Arc::clone(world), node: Arc::clone(self) }
    }

    pub(crate) fn transport(self: &Arc<Self>, world: &Arc<World>) -> NodeTransport {
        NodeTransport { world: Arc::clone(world), node: Arc::clone(self) }
    }
}

/// As its process does it: from its start, which is tried again where the store does not answer, to
/// its end.
async fn run(world: Arc<World>, node: Arc<Node>) {
    let outcome = tokio::select! {
        biased;
        () = node.died.cancelled() => Ok(()),
        outcome = live(&world, &node) => outcome,
    };
    if let Err(why) = outcome {
        world.fail(format!("node {}: {why}", node.id.0));
    }
    node.alive.store(false, Ordering::Relaxed);
    world.nodes().remove(&node.id);
    world.nodes_changed();
    world.say(|| format!("node {} is gone", node.id.0));
}

async fn live(world: &Arc<World>, node: &Arc<Node>) -> Result<(), String> {
    let running = loop {
        match Coordinator::start(parts(world, node), node.stop.clone()).await {
            Ok((coordinator, running)) => {
                let _ = node.coordinator.set(coordinator);
                break running;
            }
            Err(error) => world.say(|| format!("node {} does not start: {error}", node.id.0)),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        if node.stop.is_cancelled() {
            return Ok(());
        }
    };
    // It ends with whoever waits for it here.
    let running = AbortOnDropHandle::new(running);
    let late = async {
        node.stop.cancelled().await;
        tokio::time::sleep(ENDS_WITHIN).await;
    };
    let outcome = tokio::select! {
        biased;
        outcome = running => outcome,
        () = late => return Err("I23: it was told to end, and goes on".to_owned()),
    };
    match outcome {
        Ok(Ok(())) if node.stop.is_cancelled() => Ok(()),
        Ok(Ok(())) => Err("I23: it ended by itself".to_owned()),
        Ok(Err(error)) => Err(format!("I23: it ended by itself: {error}")),
        Err(error) => Err(format!("it broke: {error}")),
    }
}

fn parts(world: &Arc<World>, node: &Arc<Node>) -> Parts {
    let store: Arc<dyn Store> = Arc::new(node.store(world));
    Parts {
        store,
        transport: Arc::new(node.transport(world)),
        wakeups: node.wakeups.clone(),
        clock: Arc::new(NodeClock { world: Arc::clone(world), node: Arc::clone(node) }),
        settings: Settings::default(),
        node: NodeReport {
            node: node.id,
            name: name("n"),
            url: Some(format!("http://{}", node.id.0)),
            version: "1".into(),
            zone_version: None,
            started_at: node.clock(world).wall,
        },
        exclusive: world.alone,
        peers: PeerNodes::default(),
        seed: node.id.0 as u64,
    }
}

struct NodeClock {
    world: Arc<World>,
    node: Arc<Node>,
}

impl Clock for NodeClock {
    fn now(&self) -> Now {
        self.node.clock(&self.world)
    }
}
