//! What a leader gives to its workers, and when it lets go of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use orx_coordinator::engine::Events;
use orx_coordinator::{Engine, Now, Settings};
use orx_model::message::{Message, WorkerHeartbeat, WorkerOrder, WorkerRegistration, WorkerState};
use orx_model::{Incarnation, Job, JobSpec, JobStatus, Offer, SecretHash};
use orx_store::{Jobs, Lead, LeadRequest, Leases, Memory, Store, Workers};
use orx_testkit::make::{NOW, job, json, name};

/// Of all workers here.
const SECRET: SecretHash = SecretHash([7; 32]);

/// The memory store never waits, so neither does what runs on it.
fn done<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the reference store answers at once")
}

fn at(seconds: u64) -> Now {
    let wall = NOW.saturating_add(Duration::from_secs(seconds));
    Now { wall, mono: Duration::from_secs(seconds) }
}

fn registration(worker: u128, slots: u32, queues: &[&str]) -> WorkerRegistration {
    WorkerRegistration {
        incarnation: Incarnation(worker),
        name: name("w"),
        host: "h".into(),
        pid: 1,
        version: "1".into(),
        offer: Offer {
            handlers: [name("work")].into(),
            queues: queues.iter().map(|queue| name(queue)).collect(),
            ..Offer::default()
        },
        slots,
        started_at: NOW,
    }
}

fn heartbeat(worker: u128, seq: u64, capacity: u32, state: WorkerState) -> WorkerHeartbeat {
    WorkerHeartbeat {
        incarnation: Incarnation(worker),
        seq,
        state,
        capacity,
        running: Vec::new(),
        unacknowledged: Vec::new(),
        load: None,
    }
}

struct World {
    store: Arc<Memory>,
    engine: Engine,
    heartbeats: u64,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(Memory::default());
        let node = Incarnation(1);
        let shared = Arc::clone(&store) as Arc<dyn Store>;
        let mut engine = Engine::new(shared, Settings::default(), node, 7, at(0));
        let request = LeadRequest { node, ttl: Duration::from_secs(1 << 30), above: 0 };
        let Ok(Lead::Leading(term)) = done(store.lead(request, NOW)) else { panic!("it leads") };
        done(engine.lead(term, at(0))).expect("leads");
        Self { store, engine, heartbeats: 0 }
    }

    fn worker(&mut self, worker: u128, slots: u32, queues: &[&str], now: Now) {
        let told = self.engine.register(registration(worker, slots, queues), Some(SECRET), now);
        done(told).expect("an answer").expect("known");
        self.beat(worker, slots, now);
    }

    fn beat(&mut self, worker: u128, slots: u32, now: Now) {
        self.heartbeats += 1;
        let beat = heartbeat(worker, self.heartbeats, slots, WorkerState::Running);
        done(self.engine.heartbeat(&beat, Some(SECRET), now)).expect("an answer").expect("heard");
    }

    fn enqueue(&self, jobs: impl IntoIterator<Item = JobSpec>) {
        done(self.store.enqueue(jobs.into_iter().collect(), NOW)).expect("accepted");
    }

    /// Rounds while there is more at once; all that was sent.
    fn rounds(&mut self, now: Now) -> Vec<(Incarnation, Message)> {
        let mut sent = Vec::new();
        for _ in 0..100 {
            let outbox = done(self.engine.round(Events::default(), now)).expect("a round");
            sent.extend(outbox.send);
            if !self.engine.has_more() {
                return sent;
            }
        }
        panic!("rounds without end");
    }

    fn given(&mut self, now: Now) -> BTreeMap<u128, usize> {
        let mut given = BTreeMap::new();
        for (to, message) in self.rounds(now) {
            if let Message::JobDispatch { jobs, .. } = message {
                *given.entry(to.0).or_default() += jobs.len();
            }
        }
        given
    }

    fn jobs(&self) -> Vec<Job> {
        self.store.all_jobs()
    }
}

fn on(queue: &str) -> JobSpec {
    JobSpec { queue: name(queue), ..job() }
}

#[test]
fn a_worker_gets_its_jobs_though_others_have_all_the_room_in_the_world() {
    let mut world = World::new();
    world.worker(1, 5_000, &["other"], at(0));
    world.worker(2, 10, &["mail"], at(0));
    world.enqueue((0..20).map(|_| on("mail")));
    assert_eq!(world.given(at(1)), [(2, 10)].into());
}

#[test]
fn a_worker_of_many_places_is_filled_though_others_wait_for_work() {
    let mut world = World::new();
    for worker in 1..300 {
        world.worker(worker, 50, &["other"], at(0));
    }
    world.worker(1_000, 4_000, &["mail"], at(0));
    world.enqueue((0..5_000).map(|_| on("mail")));
    assert_eq!(world.given(at(1)), [(1_000, 4_000)].into());
}

#[test]
fn a_worker_that_said_goodbye_to_another_node_is_given_nothing_more() {
    let mut world = World::new();
    world.worker(1, 4, &[], at(0));
    done(world.store.remove_workers(vec![Incarnation(1)], false)).expect("removed");
    done(world.engine.refresh(at(1))).expect("refreshed");
    world.enqueue([job()]);
    assert!(world.given(at(2)).is_empty());
    assert_eq!(world.jobs()[0].status, JobStatus::Pending);
}

#[test]
fn what_a_worker_holds_whose_row_is_gone_is_given_up_after_a_lease() {
    let mut world = World::new();
    world.worker(1, 4, &[], at(0));
    world.enqueue([job()]);
    assert_eq!(world.given(at(1)), [(1, 1)].into());
    done(world.store.remove_workers(vec![Incarnation(1)], false)).expect("removed");
    done(world.engine.refresh(at(2))).expect("refreshed");
    assert_eq!(world.jobs()[0].status, JobStatus::Dispatched);
    done(world.engine.monitor(at(40))).expect("a look");
    assert_eq!(world.jobs()[0].status, JobStatus::Pending);
}

#[test]
fn a_drained_worker_that_dies_is_lost_once_and_a_fenced_one_is_remembered() {
    for (order, kept) in [(WorkerOrder::Drain, 0), (WorkerOrder::Fence, 1)] {
        let mut world = World::new();
        world.worker(1, 4, &[], at(0));
        done(world.store.order_workers(vec![Incarnation(1)], Some(order))).expect("ordered");
        for look in [1, 40, 45] {
            done(world.engine.monitor(at(look))).expect("a look");
        }
        let rows = done(world.store.workers(at(45).wall)).expect("read");
        assert_eq!(rows.len(), kept, "{order:?}");
    }
}

#[test]
fn large_jobs_travel_in_messages_that_a_link_takes() {
    const EACH: usize = 250_000;
    let mut world = World::new();
    world.worker(1, 100, &[], at(0));
    let args = json(&format!("\"{}\"", "x".repeat(EACH)));
    world.enqueue((0..100).map(|_| JobSpec { args: args.clone(), ..job() }));
    let sent = world.rounds(at(1));
    let sizes: Vec<usize> = sent
        .iter()
        .filter_map(|(_, message)| match message {
            Message::JobDispatch { jobs, .. } => Some(jobs.len()),
            _ => None,
        })
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 100);
    assert!(sizes.iter().all(|jobs| jobs * EACH < 8 << 20), "{sizes:?}");
}
