//! Silence that proves nothing: heartbeats that wait in a slow store, and a process that was suspended.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use orx_model::message::{WorkerRegistration, WorkerState};
use orx_model::{Capabilities, Incarnation, SecretHash, Timestamp};
use orx_store::{Lead, LeadRequest, Leases as _, Memory, Store, WorkerReport, Workers as _};
use orx_transport::{Direct, Wakeups};
use parking_lot::Mutex;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::run::Monitor;
use crate::health::Health;
use crate::{Clock, Context, Now, Settings};

const NODE: Incarnation = Incarnation(1);
const WORKER: Incarnation = Incarnation(7);

/// Both clocks, in seconds since the start of the test.
#[derive(Default)]
struct TestClock(Mutex<u64>);

impl Clock for TestClock {
    fn now(&self) -> Now {
        let mono = Duration::from_secs(*self.0.lock());
        Now { wall: Timestamp::default().saturating_add(mono), mono }
    }
}

/// The output of a future that is ready at once, as all futures on the reference store are.
fn done<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the reference store answers at once")
}

/// A leader with a worker that sent its last heartbeat at 0 s. Leases last 30 s, heartbeats come every 10 s.
struct World {
    clock: Arc<TestClock>,
    store: Arc<Memory>,
    context: Arc<Context>,
    monitor: Monitor,
}

impl World {
    fn new() -> Self {
        let (clock, store) = (Arc::new(TestClock::default()), Arc::new(Memory::default()));
        let parts = (
            Arc::clone(&store) as Arc<dyn Store>,
            Arc::new(Direct::new()) as _,
            Wakeups::of_node(NODE),
        );
        let settings = Settings::default();
        let context = Context::new(parts, Arc::clone(&clock) as _, settings, NODE, 1);
        let request = LeadRequest { node: NODE, ttl: Duration::from_secs(1 << 30), above: 0 };
        let Ok(Lead::Leading(term)) = done(store.lead(request, Timestamp::default())) else {
            panic!("it leads")
        };
        let registration = WorkerRegistration {
            incarnation: WORKER,
            name: "w".parse().expect("a name"),
            host: "h".into(),
            pid: 1,
            version: "1".into(),
            offer: Capabilities::default(),
            slots: 1,
            started_at: Timestamp::default(),
        };
        let report = WorkerReport {
            registration,
            state: WorkerState::Running,
            capacity: 1,
            heartbeat: 0,
            load: None,
            hosted_by: None,
            node: Some(NODE),
        };
        let reports = vec![(SecretHash([7; 32]), report)];
        let _ = done(store.put_workers(reports, Timestamp::default())).expect("written");
        context.set_term(Some((term, Duration::from_secs(1 << 30))));
        let rng = StdRng::seed_from_u64(1);
        let monitor = done(Monitor::begin(Arc::clone(&context), term, rng)).expect("read");
        Self { clock, store, context, monitor }
    }

    fn at(&self, seconds: u64) {
        *self.clock.0.lock() = seconds;
    }

    /// A round that began at `began` and read the store at `seconds`. Returns whether the worker is lost.
    fn loses_worker(&mut self, began: u64, seconds: u64) -> bool {
        self.at(seconds);
        done(self.monitor.round(Duration::from_secs(began))).expect("a round");
        done(self.store.workers(self.context.now().wall)).expect("read").is_empty()
    }
}

#[test]
fn a_worker_is_lost_when_it_was_silent_for_longer_than_its_lease() {
    let mut world = World::new();
    assert!(!world.loses_worker(30, 30));
    assert!(world.loses_worker(31, 31));
}

#[test]
fn a_worker_whose_heartbeats_wait_for_a_slow_write_is_not_lost() {
    let mut world = World::new();
    let context = Arc::clone(&world.context);
    world.at(5);
    let write = Health::watch_write(&context);
    assert!(!world.loses_worker(40, 40), "the write is under way");
    drop(write);
    assert!(!world.loses_worker(45, 45), "its heartbeat follows the write");
    assert!(!world.loses_worker(70, 70));
    assert!(world.loses_worker(71, 71), "none came for a lease");
}

#[test]
fn a_write_that_is_as_fast_as_usual_changes_no_lease() {
    let mut world = World::new();
    let context = Arc::clone(&world.context);
    world.at(21);
    let write = Health::watch_write(&context);
    world.at(30);
    drop(write);
    world.at(31);
    let _write = Health::watch_write(&context);
    assert!(world.loses_worker(31, 31));
}

#[test]
fn a_leader_that_was_suspended_in_a_round_begins_all_leases_anew() {
    let mut world = World::new();
    assert!(!world.loses_worker(29, 60));
    assert!(!world.loses_worker(90, 90));
    assert!(world.loses_worker(91, 91));
}
