//! The events that the services of a coordinator publish in the feed of its node.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use orx_coordinator::recorder::plan::Events;
use orx_coordinator::run::Parts;
use orx_coordinator::{Clock, Coordinator, Now, Settings};
use orx_feed::{FeedFilter, FeedReader, News};
use orx_model::event::{EventKind, KnownEvent, NodeEvent, WorkerRef};
use orx_model::message::{WorkerHeartbeat, WorkerRegistration, WorkerState};
use orx_model::{Capabilities, Incarnation, JobId, JobSpec, JobStatus, SecretHash};
use orx_store::{Jobs, Lead, LeadRequest, Leases, Memory, NodeReport, Store};
use orx_testkit::make::{NOW, job, name, not_before};
use orx_transport::{Direct, PeerNodes, Wakeups};
use tokio_util::sync::CancellationToken;

#[path = "common/stepped.rs"]
mod stepped;

use stepped::Stepped;

const NODE: Incarnation = Incarnation(1);
const SECRET: SecretHash = SecretHash([7; 32]);

fn done<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the reference store answers at once")
}

fn at(seconds: u64) -> Now {
    let wall = NOW.saturating_add(Duration::from_secs(seconds));
    Now { wall, mono: Duration::from_secs(seconds) }
}

struct World {
    store: Arc<Memory>,
    engine: Stepped,
    reader: FeedReader,
}

impl World {
    /// A leader, and a reader of its feed.
    fn new() -> Self {
        let store = Arc::new(Memory::default());
        let shared = Arc::clone(&store) as Arc<dyn Store>;
        let mut engine = Stepped::new(shared, Settings::default(), NODE, 7, at(0));
        let request = LeadRequest { node: NODE, ttl: Duration::from_secs(1 << 30), above: 0 };
        let Ok(Lead::Leading(term)) = done(store.lead(request, NOW)) else { panic!("it leads") };
        engine.lead(term, at(0)).expect("leads");
        let reader = engine.feed().read(FeedFilter::all());
        Self { store, engine, reader }
    }

    fn events(&mut self) -> Vec<KnownEvent> {
        match self.reader.try_next(100) {
            None => Vec::new(),
            Some(News::Events(events)) => {
                let known = |one: &orx_feed::FeedEvent| one.event.known().expect("known").clone();
                events.iter().map(known).collect()
            }
            Some(News::Reset) => panic!("nothing was lost"),
        }
    }

    fn beat(&mut self, seq: u64, state: WorkerState, now: Now) {
        let beat = WorkerHeartbeat {
            incarnation: Incarnation(2),
            seq,
            state,
            capacity: 3,
            running: Vec::new(),
            unacknowledged: Vec::new(),
            load: None,
        };
        self.engine.heartbeat(&beat, Some(SECRET), now);
    }

    fn register(&mut self, now: Now) {
        let registration = WorkerRegistration {
            incarnation: Incarnation(2),
            name: name("w"),
            host: "h".into(),
            pid: 1,
            version: "1".into(),
            offer: Capabilities { handlers: [name("work")].into(), ..Capabilities::default() },
            slots: 3,
            started_at: NOW,
        };
        self.engine.register(registration, Some(SECRET), now);
    }
}

fn moved(id: i64, from: Option<JobStatus>, to: JobStatus) -> KnownEvent {
    KnownEvent::JobMoved { job: JobId(id).into(), from, to, attempt: None }
}

fn worker() -> WorkerRef {
    WorkerRef { incarnation: Incarnation(2), name: Some(name("w")) }
}

#[test]
fn each_job_that_becomes_due_or_expires_is_an_event() {
    let mut world = World::new();
    let after = |seconds| at(seconds).wall;
    let jobs = vec![
        not_before(after(5), job()),
        not_before(after(6), job()),
        JobSpec { expires_at: Some(after(5)), ..job() }.into(),
        not_before(after(50), job()),
    ];
    done(world.store.enqueue(jobs, NOW)).expect("accepted");
    world.engine.due_at(at(5).wall);
    world.engine.promote(at(4)).expect("promoted");
    assert_eq!(world.events(), []);
    world.engine.promote(at(6)).expect("promoted");
    let ready = |id| moved(id, Some(JobStatus::Scheduled), JobStatus::Pending);
    assert_eq!(world.events(), [ready(1), ready(2), moved(3, None, JobStatus::Cancelled)]);
}

#[test]
fn a_job_that_a_claim_finds_expired_is_published_as_cancelled() {
    let mut world = World::new();
    world.register(at(1));
    world.beat(1, WorkerState::Running, at(2));
    world.events();
    let job = JobSpec { expires_at: Some(at(5).wall), ..job() };
    done(world.store.enqueue(vec![job.into()], NOW)).expect("accepted");
    let outbox = world.engine.round(Events::default(), at(6));
    assert!(outbox.failed.is_none() && outbox.send.is_empty(), "{outbox:?}");
    assert_eq!(world.events(), [moved(1, None, JobStatus::Cancelled)]);
}

#[test]
fn each_change_of_a_workers_state_is_an_event() {
    let mut world = World::new();
    let moved = |from, to| KnownEvent::WorkerMoved { worker: worker(), from, to };
    world.register(at(1));
    assert_eq!(world.events(), [moved(None, Some(WorkerState::Running))]);
    world.beat(1, WorkerState::Running, at(2));
    assert_eq!(world.events(), []);
    world.beat(2, WorkerState::Draining, at(3));
    world.beat(3, WorkerState::Draining, at(4));
    let draining = moved(Some(WorkerState::Running), Some(WorkerState::Draining));
    assert_eq!(world.events(), [draining]);
    world.beat(4, WorkerState::Stopped, at(5));
    assert_eq!(world.events(), [moved(Some(WorkerState::Draining), None)]);
}

#[test]
fn a_worker_that_falls_silent_is_lost_once() {
    let mut world = World::new();
    world.register(at(1));
    world.beat(1, WorkerState::Running, at(2));
    world.events();
    world.engine.monitor(at(10)).expect("a round");
    assert_eq!(world.events(), []);
    world.engine.monitor(at(60)).expect("a round");
    world.engine.monitor(at(70)).expect("a round");
    assert_eq!(world.events(), [KnownEvent::WorkerLost { worker: worker() }]);
}

struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        at(0)
    }
}

#[tokio::test]
async fn a_node_publishes_that_it_joins_leads_and_follows() {
    let wakeups = Wakeups::shared(NODE);
    let mut reader = wakeups.feed().read(FeedFilter::all().kinds([EventKind::Node]));
    let node = NodeReport {
        node: NODE,
        name: name("n"),
        url: None,
        version: "1".into(),
        zone_version: None,
        started_at: NOW,
    };
    let parts = Parts {
        store: Arc::new(Memory::default()),
        transport: Arc::new(Direct::new()),
        wakeups: wakeups.clone(),
        clock: Arc::new(Still),
        settings: Settings::default(),
        node,
        exclusive: true,
        peers: PeerNodes::default(),
        seed: 1,
    };
    let stop = CancellationToken::new();
    let (_coordinator, running) = Coordinator::start(parts, stop.clone()).await.expect("started");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(changes(soon(&mut reader).await));
    }
    let [NodeEvent::Leads { epoch }, NodeEvent::Joined] = seen[..] else { panic!("{seen:?}") };
    assert!(epoch > 0);
    stop.cancel();
    running.await.expect("no panic").expect("in good order");
    assert_eq!(changes(soon(&mut reader).await), [NodeEvent::Follows]);
}

async fn soon(reader: &mut FeedReader) -> News {
    let news = tokio::time::timeout(Duration::from_secs(30), reader.next(10)).await;
    news.expect("an event in time")
}

fn changes(news: News) -> Vec<NodeEvent> {
    let News::Events(events) = news else { panic!("nothing was lost") };
    let change = |one: &orx_feed::FeedEvent| match one.event.known() {
        Some(KnownEvent::NodeChanged { node: NODE, change, .. }) => *change,
        other => panic!("{other:?}"),
    };
    events.iter().map(change).collect()
}
