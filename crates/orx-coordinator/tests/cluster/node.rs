//! A real coordinator, on a simulated store and transport.

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
use crate::worker::POLL;
use crate::world::World;

/// I23: a stopping node has ended after this, whatever does not answer.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Envelopes that wait for a reader.
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

    /// Waits for at least one envelope.
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
    /// The node is stopping.
    ending: AtomicBool,
    /// Until then the node is suspended: its calls and calls to it wait.
    suspended_until: Mutex<Option<Instant>>,
    /// Until then the node does not reach the store.
    pub(crate) no_store_until: Mutex<Option<Instant>>,
    /// How fast its clock is, in milliseconds.
    offset_ms: AtomicI64,
    pub(crate) events: Mailbox,
    pub(crate) hints: Mailbox,
    pub(crate) inbox: Mailbox,
    pub(crate) wakeups: Wakeups,
    coordinator: OnceLock<Coordinator>,
    stop: CancellationToken,
    died: CancellationToken,
}

impl Node {
    /// Starts a node, which the others see from now on.
    pub(crate) async fn start(world: &Arc<World>, id: Incarnation, offset_ms: i64) -> Arc<Self> {
        let alone = world.alone;
        let node = Arc::new(Self {
            id,
            alive: AtomicBool::new(true),
            ending: AtomicBool::new(false),
            suspended_until: Mutex::new(None),
            no_store_until: Mutex::new(None),
            offset_ms: AtomicI64::new(offset_ms),
            events: Mailbox::default(),
            hints: Mailbox::default(),
            inbox: Mailbox::default(),
            wakeups: if alone { Wakeups::new() } else { Wakeups::shared(id) },
            coordinator: OnceLock::new(),
            stop: CancellationToken::new(),
            died: CancellationToken::new(),
        });
        if alone && let Some((term, _)) = done(world.memory.leader(world.wall())).expect("read") {
            // The store's lock proves that the former leader is gone.
            done(world.memory.step_down(term)).expect("stepped down");
        }
        world.nodes().insert(id, Arc::clone(&node));
        world.nodes_changed();
        world.log(|| format!("node {} starts", id.0));
        tokio::spawn(run(Arc::clone(world), Arc::clone(&node)));
        node
    }

    /// Resolves while the process runs: after its suspension if it is suspended, never if it is dead.
    pub(crate) async fn resumed(&self) {
        loop {
            if !self.is_alive() {
                return std::future::pending().await;
            }
            let until = *self.suspended_until.lock();
            match until.filter(|until| Instant::now() < *until) {
                Some(until) => sleep_until(until.min(Instant::now() + POLL)).await,
                None => return,
            }
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        let until = *self.suspended_until.lock();
        self.is_alive() && until.is_none_or(|until| until <= Instant::now())
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Whether people and workers can reach it.
    pub(crate) fn is_open(&self) -> bool {
        self.is_alive() && !self.ending.load(Ordering::Relaxed)
    }

    pub(crate) fn coordinator(&self) -> Option<&Coordinator> {
        self.coordinator.get().filter(|_| self.is_alive())
    }

    pub(crate) fn clock(&self, world: &World) -> Now {
        let offset = self.offset_ms.load(Ordering::Relaxed);
        let wall = Timestamp::from_millis(world.wall().as_millis() + offset);
        // The start of the monotonic clock differs from node to node.
        let since = Duration::from_secs(self.id.0 as u64 % 1_000);
        Now { wall, mono: since + world.elapsed() }
    }

    pub(crate) fn set_clock(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    pub(crate) fn loses_store(&self, until: Instant) {
        *self.no_store_until.lock() = Some(until);
    }

    pub(crate) fn suspend(&self, until: Instant) {
        *self.suspended_until.lock() = Some(until);
    }

    /// Kills the node at once.
    pub(crate) fn die(&self) {
        self.alive.store(false, Ordering::Relaxed);
        self.died.cancel();
        // Stops its tasks that wait for this token alone.
        self.stop.cancel();
    }

    /// Stops the node in good order.
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

/// The life of a node's process, from its start to its end. A start that fails is retried.
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
    world.log(|| format!("node {} is gone", node.id.0));
}

async fn live(world: &Arc<World>, node: &Arc<Node>) -> Result<(), String> {
    let running = loop {
        match Coordinator::start(parts(world, node), node.stop.clone()).await {
            Ok((coordinator, running)) => {
                let _ = node.coordinator.set(coordinator);
                break running;
            }
            Err(error) => world.log(|| format!("node {} does not start: {error}", node.id.0)),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        if node.stop.is_cancelled() {
            return Ok(());
        }
    };
    // The coordinator ends with this task.
    let running = AbortOnDropHandle::new(running);
    let late = async {
        node.stop.cancelled().await;
        tokio::time::sleep(ENDS_WITHIN).await;
    };
    let outcome = tokio::select! {
        biased;
        outcome = running => outcome,
        () = late => return Err("I23: it was stopped, and goes on".to_owned()),
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
