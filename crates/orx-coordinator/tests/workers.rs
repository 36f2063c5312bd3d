//! Which jobs a leader claims for its workers, and when it records their attempts as lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use orx_coordinator::leader::dispatcher::plan::LiveReader;
use orx_coordinator::recorder::plan::Events;
use orx_coordinator::{Now, Settings};
use orx_feed::{FeedFilter, News};
use orx_model::event::KnownEvent;
use orx_model::message::{
    Message, WorkerDirective, WorkerHeartbeat, WorkerRegistration, WorkerState,
};
use orx_model::{
    Capabilities, ExecutionId, Incarnation, Job, JobId, JobSpec, JobStatus, NewJob, SecretHash,
};
use orx_store::{Jobs, Lead, LeadRequest, Leases, Live, Memory, Store, WorkerRemoval, Workers};
use orx_testkit::make::{NOW, job, json, name, succeeded};
use rand::SeedableRng;
use rand::rngs::StdRng;

#[path = "common/stepped.rs"]
mod stepped;

use stepped::Stepped;

/// Secret of all workers.
const SECRET: SecretHash = SecretHash([7; 32]);

/// The output of a future that is ready at once, as all futures on the reference store are.
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
        offer: Capabilities {
            handlers: [name("work")].into(),
            queues: queues.iter().map(|queue| name(queue)).collect(),
            ..Capabilities::default()
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
    engine: Stepped,
    heartbeats: u64,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(Memory::default());
        let node = Incarnation(1);
        let shared = Arc::clone(&store) as Arc<dyn Store>;
        let mut engine = Stepped::new(shared, Settings::default(), node, 7, at(0));
        let request = LeadRequest { node, ttl: Duration::from_secs(1 << 30), above: 0 };
        let Ok(Lead::Leading(term)) = done(store.lead(request, NOW)) else { panic!("it leads") };
        engine.lead(term, at(0)).expect("leads");
        Self { store, engine, heartbeats: 0 }
    }

    fn worker(&mut self, worker: u128, slots: u32, queues: &[&str], now: Now) {
        self.engine.register(registration(worker, slots, queues), Some(SECRET), now);
        self.beat(worker, slots, now);
    }

    fn beat(&mut self, worker: u128, slots: u32, now: Now) {
        self.heartbeats += 1;
        let beat = heartbeat(worker, self.heartbeats, slots, WorkerState::Running);
        self.engine.heartbeat(&beat, Some(SECRET), now);
    }

    fn enqueue(&self, jobs: impl IntoIterator<Item = JobSpec>) {
        done(self.store.enqueue(jobs.into_iter().map(NewJob::from).collect(), NOW))
            .expect("accepted");
    }

    /// Rounds until a claim leaves nothing more to claim. Returns all messages that were sent.
    fn rounds(&mut self, now: Now) -> Vec<(Incarnation, Message)> {
        let mut sent = Vec::new();
        for _ in 0..100 {
            let outbox = self.engine.round(Events::default(), now);
            sent.extend(outbox.send);
            if !self.engine.has_more() {
                return sent;
            }
        }
        panic!("rounds without end");
    }

    /// Number of jobs dispatched to each worker.
    fn dispatched(&mut self, now: Now) -> BTreeMap<u128, usize> {
        let mut dispatched = BTreeMap::new();
        for (to, message) in self.rounds(now) {
            if let Message::JobDispatch { jobs, .. } = message {
                *dispatched.entry(to.0).or_default() += jobs.len();
            }
        }
        dispatched
    }

    fn jobs(&self) -> Vec<Job> {
        self.store.all_jobs()
    }
}

fn on(queue: &str) -> JobSpec {
    JobSpec { queue: name(queue), ..job() }
}

#[test]
fn a_worker_gets_its_jobs_though_others_have_far_more_free_slots() {
    let mut world = World::new();
    world.worker(1, 5_000, &["other"], at(0));
    world.worker(2, 10, &["mail"], at(0));
    world.enqueue((0..20).map(|_| on("mail")));
    assert_eq!(world.dispatched(at(1)), [(2, 10)].into());
}

#[test]
fn a_worker_with_many_slots_is_filled_though_other_workers_are_idle() {
    let mut world = World::new();
    for worker in 1..300 {
        world.worker(worker, 50, &["other"], at(0));
    }
    world.worker(1_000, 4_000, &["mail"], at(0));
    world.enqueue((0..5_000).map(|_| on("mail")));
    assert_eq!(world.dispatched(at(1)), [(1_000, 4_000)].into());
}

#[test]
fn a_worker_that_stopped_at_another_node_gets_no_more_jobs() {
    let mut world = World::new();
    world.worker(1, 4, &[], at(0));
    let removed = world.store.remove_workers(vec![Incarnation(1)], WorkerRemoval::Stopped);
    done(removed).expect("removed");
    world.engine.refresh(at(1)).expect("refreshed");
    world.enqueue([job()]);
    assert!(world.dispatched(at(2)).is_empty());
    assert_eq!(world.jobs()[0].state.status, JobStatus::Pending);
}

#[test]
fn the_attempts_of_a_worker_without_a_row_are_lost_after_a_lease() {
    let mut world = World::new();
    world.worker(1, 4, &[], at(0));
    world.enqueue([job()]);
    assert_eq!(world.dispatched(at(1)), [(1, 1)].into());
    let removed = world.store.remove_workers(vec![Incarnation(1)], WorkerRemoval::Stopped);
    done(removed).expect("removed");
    world.engine.refresh(at(2)).expect("refreshed");
    assert_eq!(world.jobs()[0].state.status, JobStatus::Dispatched);
    world.engine.monitor(at(40)).expect("a look");
    assert_eq!(world.jobs()[0].state.status, JobStatus::Pending);
}

/// The server dies with its worker, and a new server with a new worker opens the store.
fn server_dies(world: &mut World, next: u128, now: Now) {
    let shared = Arc::clone(&world.store) as Arc<dyn Store>;
    let node = Incarnation(next);
    let (term, _) = done(world.store.leader(now.wall)).expect("read").expect("one leads");
    done(world.store.step_down(term)).expect("it is gone");
    world.engine = Stepped::new(shared, Settings::default(), node, next as u64, now);
    let request = LeadRequest { node, ttl: Duration::from_secs(1 << 30), above: 0 };
    let Ok(Lead::Leading(term)) = done(world.store.lead(request, now.wall)) else {
        panic!("leads")
    };
    world.engine.lead(term, now).expect("leads");
    world.engine.rescue_hosted(now).expect("rescued");
    let hosted = registration(next + 1, 10, &[]);
    world.engine.register(hosted, None, now);
}

#[test]
fn a_job_that_kills_its_server_becomes_a_dead_letter_and_the_others_complete() {
    let mut world = World::new();
    world.enqueue((0..100).map(|_| job()));
    // Each start of one of these kills the server.
    let deadly = [orx_model::JobId(3), orx_model::JobId(7)];
    let (mut deaths, mut running, mut worker) = (0, BTreeMap::new(), 0);
    for second in 1..2_000 {
        let now = at(second);
        if second == 1 || running.keys().any(|job| deadly.contains(job)) {
            deaths += 1;
            running.clear();
            worker = 100 * u128::from(second) + 1;
            server_dies(&mut world, worker - 1, now);
        }
        world.heartbeats += 1;
        let beat = heartbeat(worker, world.heartbeats, 10, WorkerState::Running);
        world.engine.heartbeat(&beat, None, now);
        world.engine.promote(now).expect("promoted");
        for (_, message) in world.rounds(now) {
            let Message::JobDispatch { jobs, .. } = message else { continue };
            running.extend(jobs.iter().map(|dispatch| (dispatch.job, dispatch.execution)));
        }
        let suspect = |job: &Job| job.state.ends.runs_alone() && job.state.live.is_some();
        assert!(running.len() == 1 || !world.jobs().iter().any(suspect));
        // All others complete, a second after they started.
        if !running.keys().any(|job| deadly.contains(job)) {
            let mut events = Events::default();
            for (job, execution) in std::mem::take(&mut running) {
                let outcome = orx_testkit::make::outcome(job, execution.0, succeeded());
                events.outcomes.push((Incarnation(worker), outcome));
            }
            world.engine.round(events, now);
            running = world
                .jobs()
                .iter()
                .filter_map(|job| Some((job.id, job.state.live.as_ref()?.execution)))
                .collect();
        }
        if world.jobs().iter().all(|job| job.state.status.is_final()) {
            break;
        }
    }
    for job in world.jobs() {
        let expected = if deadly.contains(&job.id) {
            (JobStatus::Failed, Some(orx_model::job::DeadReason::Poison))
        } else {
            (JobStatus::Completed, None)
        };
        assert_eq!((job.state.status, job.state.dead), expected, "{}", job.id);
        assert!(job.state.ends.server_lost <= 3);
    }
    // `deaths` also counts the first start; two deaths with both jobs live, one with each of them alone.
    assert!(deaths <= 1 + 2 + 2, "{deaths}");
}

#[test]
fn a_drained_or_fenced_worker_that_dies_is_lost_once_and_its_row_stays_for_a_day() {
    for (order, lost) in [(WorkerDirective::Drain, 1), (WorkerDirective::Fence, 0)] {
        let mut world = World::new();
        let mut reader = world.engine.feed().read(FeedFilter::all());
        world.worker(1, 4, &[], at(0));
        done(world.store.order_workers(vec![Incarnation(1)], Some(order))).expect("ordered");
        let rows = |world: &World, now: Now| done(world.store.workers(now.wall)).expect("read");
        for look in [1, 40, 45, 50] {
            world.engine.monitor(at(look)).expect("a look");
            assert_eq!(rows(&world, at(look)).len(), 1, "{order:?}");
        }
        let Some(News::Events(events)) = reader.try_next(100) else { panic!("some events") };
        let is_lost = |one: &&orx_feed::FeedEvent| {
            matches!(one.event.known(), Some(KnownEvent::WorkerLost { .. }))
        };
        assert_eq!(events.iter().filter(is_lost).count(), lost, "{order:?}");
        const DAY: u64 = 24 * 60 * 60;
        world.engine.monitor(at(DAY + 10)).expect("a look");
        assert_eq!(rows(&world, at(DAY + 10)).len(), 0, "{order:?}");
    }
}

#[test]
fn a_drain_holds_for_a_worker_that_was_lost_and_comes_back() {
    let mut world = World::new();
    world.worker(1, 4, &[], at(0));
    let order = |world: &World, order| {
        let ordered = done(world.store.order_workers(vec![Incarnation(1)], order));
        assert_eq!(ordered.expect("ordered"), [true]);
    };
    order(&world, Some(WorkerDirective::Drain));
    world.engine.monitor(at(1)).expect("a look");
    world.engine.monitor(at(40)).expect("a look");
    world.enqueue([job()]);
    // It was disconnected or suspended, and sends its next heartbeat.
    world.heartbeats += 1;
    let beat = heartbeat(1, world.heartbeats, 4, WorkerState::Running);
    let (answer, _) = world.engine.heartbeat(&beat, Some(SECRET), at(41));
    assert!(answer.register, "{answer:?}");
    let (answer, _) = world.engine.register(registration(1, 4, &[]), Some(SECRET), at(41));
    assert!(answer.drain, "{answer:?}");
    world.beat(1, 4, at(42));
    assert!(world.dispatched(at(42)).is_empty());
    order(&world, None);
    world.engine.refresh(at(43)).expect("refreshed");
    assert_eq!(world.dispatched(at(43)), [(1, 1)].into());
}

#[test]
fn a_late_heartbeat_of_a_stopped_worker_does_not_bring_it_back() {
    let mut world = World::new();
    world.worker(1, 4, &[], at(0));
    // It moves to another node, where it stops in good order.
    let shared = Arc::clone(&world.store) as Arc<dyn Store>;
    let mut other = Stepped::new(shared, Settings::default(), Incarnation(2), 8, at(1));
    other.register(registration(1, 4, &[]), Some(SECRET), at(1));
    let stopped = heartbeat(1, 9, 0, WorkerState::Stopped);
    other.heartbeat(&stopped, Some(SECRET), at(2));
    assert_eq!(done(world.store.workers(at(2).wall)).expect("read"), []);
    // The worker is still in the table of the first node when this heartbeat arrives.
    let late = heartbeat(1, 8, 4, WorkerState::Running);
    let (answer, _) = world.engine.heartbeat(&late, Some(SECRET), at(3));
    assert!(answer.register, "{answer:?}");
    assert_eq!(done(world.store.workers(at(3).wall)).expect("read"), []);
    world.enqueue([job()]);
    world.engine.refresh(at(4)).expect("refreshed");
    assert!(world.dispatched(at(4)).is_empty());
    assert_eq!(world.jobs()[0].state.status, JobStatus::Pending);
}

#[test]
fn free_slots_are_claimed_for_as_soon_as_an_unanswered_claim_can_take_effect_no_longer() {
    let (mut world, mut rng) = (World::new(), StdRng::seed_from_u64(1));
    unanswered_claim(&mut world, &mut rng);
    world.enqueue([job()]);
    // The claim failed at second 2, and the store's deadline is 10 s. No round of the monitor comes.
    assert_eq!(world.engine.slots().next_resolved(), Some(Duration::from_secs(12)));
    assert!(world.dispatched(at(11)).is_empty());
    assert_eq!(world.dispatched(at(12)), [(1, 1)].into());
    assert_eq!(world.engine.slots().next_resolved(), None);
}

#[test]
fn large_jobs_are_split_into_messages_below_the_size_limit() {
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

fn live(execution: ExecutionId) -> Live {
    Live {
        job: JobId(1),
        attempt: 1,
        execution,
        worker: Incarnation(1),
        status: JobStatus::Dispatched,
        claimed_at: NOW,
        started_at: None,
        timeout_ms: None,
        deadline: None,
        cancel_requested: false,
        alone: false,
    }
}

/// A claim without an answer of the store, and a later read that does not show it.
fn unanswered_claim(world: &mut World, rng: &mut StdRng) -> ExecutionId {
    world.worker(1, 2, &[], at(0));
    let mut slots = world.engine.slots();
    let asked = slots.claim_requests(rng, at(1));
    assert_eq!(asked[0].executions.len(), 2);
    slots.claim_failed(true, at(2));
    slots.begin_read(LiveReader::Dispatcher, at(3));
    slots.finish_read(LiveReader::Dispatcher, &[], at(3));
    assert!(slots.claim_requests(rng, at(4)).is_empty(), "it may still take effect");
    asked[0].executions[0]
}

#[test]
fn a_claim_that_takes_effect_after_the_read_that_follows_it_takes_its_slots() {
    let (mut world, mut rng) = (World::new(), StdRng::seed_from_u64(1));
    let execution = unanswered_claim(&mut world, &mut rng);
    let mut slots = world.engine.slots();
    let live = live(execution);
    slots.begin_read(LiveReader::Monitor, at(5));
    slots.finish_read(LiveReader::Monitor, &[live], at(5));
    // The other slot was part of the same claim, which took effect without it.
    assert_eq!(slots.claim_requests(&mut rng, at(6))[0].executions.len(), 1);
}

#[test]
fn slots_of_an_unanswered_claim_are_free_again_when_it_is_resolved_or_the_term_is_new() {
    let (mut world, mut rng) = (World::new(), StdRng::seed_from_u64(1));
    unanswered_claim(&mut world, &mut rng);
    {
        let mut slots = world.engine.slots();
        // This read began too early to decide it.
        slots.begin_read(LiveReader::Monitor, at(11));
        slots.finish_read(LiveReader::Monitor, &[], at(13));
        assert!(slots.claim_requests(&mut rng, at(13)).is_empty());
        slots.begin_read(LiveReader::Monitor, at(12));
        slots.finish_read(LiveReader::Monitor, &[], at(13));
        assert_eq!(slots.claim_requests(&mut rng, at(13)).len(), 1);
    }
    // The last claim is unanswered when its dispatcher ends. In the same term it still counts.
    let rows = done(world.store.workers(NOW)).expect("read");
    let mut slots = world.engine.slots();
    for (epoch, offered) in [(5, 1), (5, 0), (6, 1)] {
        slots.begin_term(epoch, at(14));
        slots.update_workers(&rows, at(14));
        slots.finish_read(LiveReader::Monitor, &[], at(14));
        assert_eq!(slots.claim_requests(&mut rng, at(14)).len(), offered, "{epoch}");
    }
}

#[test]
fn a_read_that_is_answered_after_a_newer_one_undoes_nothing() {
    let (mut world, mut rng) = (World::new(), StdRng::seed_from_u64(1));
    world.worker(1, 2, &[], at(0));
    let mut slots = world.engine.slots();
    slots.begin_read(LiveReader::Monitor, at(1));
    // Claimed meanwhile, and shown by the newer read.
    slots.begin_read(LiveReader::Dispatcher, at(2));
    slots.finish_read(LiveReader::Dispatcher, &[live(ExecutionId(7))], at(2));
    slots.finish_read(LiveReader::Monitor, &[], at(3));
    assert_eq!(slots.claim_requests(&mut rng, at(3))[0].executions.len(), 1);
}
