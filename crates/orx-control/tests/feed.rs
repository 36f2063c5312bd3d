//! The events of each change, and when waiting callers and followers read the store.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use orx_control::{Caller, ControlPanel};
use orx_feed::{FeedFilter, FeedReader, News};
use orx_model::event::{Event, EventKind, JobRef, KnownEvent, ScheduleEvent, WorkerRef};
use orx_model::log::{LogChunk, Stream as LogStream};
use orx_model::message::{WorkerDirective, WorkerRegistration, WorkerState};
use orx_model::schedule::wire::{ScheduleOrder, SetScheduleRequest};
use orx_model::wire::{
    ChangeRequest, EnqueueRequest, LogEvent, LogsQuery, WaitQuery, WorkerCommand,
    WorkersOrderRequest,
};
use orx_model::{
    Capabilities, Code, ExecutionId, Incarnation, JobId, JobStatus, Problem, SecretHash,
};
use orx_store::{
    Dispatching as _, Lead, LeadRequest, Leases as _, Logs as _, Memory, Upkeep as _, WorkerReport,
    Workers as _,
};
use orx_testkit::make::{NOW, at, control_settings, name, outcome, request, succeeded};
use orx_transport::{Direct, Wakeups};
use serde_json::json;

struct World {
    panel: ControlPanel,
    store: Arc<Memory>,
    wakeups: Wakeups,
    reader: FeedReader,
}

fn world() -> World {
    world_of(Arc::new(Memory::new()), Wakeups::new())
}

fn world_of(store: Arc<Memory>, wakeups: Wakeups) -> World {
    let panel = ControlPanel::new(
        Arc::<Memory>::clone(&store),
        Arc::new(Direct::new()),
        wakeups.clone(),
        Arc::new(|| NOW),
        control_settings(),
    );
    let reader = wakeups.feed().read(FeedFilter::all());
    World { panel, store, wakeups, reader }
}

fn work() -> EnqueueRequest {
    serde_json::from_value(json!({"name": "work", "queue": "q"})).expect("a request")
}

fn ids(ids: &[i64]) -> ChangeRequest {
    ChangeRequest { ids: ids.iter().map(|id| JobId(*id)).collect(), ..ChangeRequest::default() }
}

fn accepted(id: i64, to: Option<JobStatus>) -> KnownEvent {
    let (name, queue) = (Some(name("work")), Some(name("q")));
    KnownEvent::JobAccepted { job: JobRef { id: JobId(id), name, queue }, to }
}

fn moved(id: i64, to: JobStatus) -> KnownEvent {
    KnownEvent::JobMoved { job: JobId(id).into(), from: None, to, attempt: None }
}

/// The events published since the last call.
fn published(reader: &mut FeedReader) -> Vec<KnownEvent> {
    let events = match reader.try_next(10_000) {
        None => Vec::new(),
        Some(News::Events(events)) => events,
        Some(News::Reset) => panic!("reset"),
    };
    let known = |event: Event| {
        assert_eq!(event.at, NOW);
        event.known().cloned().expect("known")
    };
    events.into_iter().map(|one| known(one.event)).collect()
}

impl World {
    fn published(&mut self) -> Vec<KnownEvent> {
        published(&mut self.reader)
    }

    fn publish(&self, what: KnownEvent) {
        self.wakeups.feed().publish(vec![Event::new(NOW, what)]);
    }

    async fn enqueue(&self) {
        self.panel.enqueue(&Caller::local(), work()).await.expect("accepted");
    }

    /// Claims the job as a leader does.
    async fn claim(&self, id: i64) {
        let lead = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(60), above: 0 };
        let Lead::Leading(term) = self.store.lead(lead, NOW).await.expect("an answer") else {
            panic!("another leads")
        };
        let claimed = self.store.claim_ready(vec![request(1, id as u128, 1)], term, at(1)).await;
        assert_eq!(claimed.expect("claimed").claimed[0].dispatch.job, JobId(id));
    }

    async fn complete(&self, id: i64) {
        let outcomes = vec![outcome(JobId(id), id as u128, succeeded())];
        let recorded = self.store.record_outcomes(outcomes, vec![0.5], at(2)).await;
        assert_eq!(recorded.expect("recorded").len(), 1);
    }

    async fn print(&self, id: i64, seq: u64) {
        let chunk = LogChunk {
            job: JobId(id),
            attempt: 1,
            execution: ExecutionId(id as u128),
            seq,
            stream: LogStream::Out,
            at: NOW,
            dropped_bytes: 0,
            bytes: vec![b'x'],
        };
        self.store.append_logs(vec![chunk]).await.expect("stored");
    }
}

#[tokio::test]
async fn enqueues_cancels_and_retries_are_published() {
    let mut world = world();
    let caller = Caller::local();
    world.enqueue().await;
    world.panel.enqueue_batch(&caller, vec![Ok(work()), Ok(work())], 1).await;
    let pending = Some(JobStatus::Pending);
    assert_eq!(world.published(), [1, 2, 3].map(|id| accepted(id, pending)));
    world.claim(1).await;

    world.panel.cancel(&caller, ids(&[1, 2, 99])).await.expect("an answer");
    let cancelling = KnownEvent::JobCancelling { job: JobId(1).into() };
    assert_eq!(world.published(), [cancelling, moved(2, JobStatus::Cancelled)]);
    let dry_run = ChangeRequest { dry_run: true, ..ids(&[3]) };
    world.panel.cancel(&caller, dry_run).await.expect("an answer");
    assert_eq!(world.published(), []);

    world.panel.retry(&caller, ids(&[2, 3])).await.expect("an answer");
    assert_eq!(world.published(), [moved(2, JobStatus::Pending)]);
}

#[tokio::test]
async fn changes_of_a_schedule_are_published() {
    let mut world = world();
    let caller = Caller::local();
    let spec = json!({"id": "s", "timing": {"interval": {"every_ms": 3_600_000}}, "job": {"name": "work", "queue": "q"}});
    let spec = serde_json::from_value(spec).expect("a schedule");
    world.panel.add_schedule(&caller, spec).await.expect("added");
    let set: SetScheduleRequest =
        serde_json::from_value(json!({"change": {"every_ms": 7_200_000}})).expect("a change");
    world.panel.set_schedule(&caller, "s", set.clone()).await.expect("changed");
    // It is paused already.
    world.panel.set_schedule(&caller, "s", set).await.expect("unchanged");
    for _ in 0..2 {
        world.panel.pause_schedule(&caller, "s", ScheduleOrder::default()).await.expect("paused");
    }
    world.panel.resume_schedule(&caller, "s", ScheduleOrder::default()).await.expect("resumed");
    world.panel.trigger_schedule(&caller, "s", ScheduleOrder::default()).await.expect("a run");
    world.panel.remove_schedule(&caller, "s", None).await.expect("removed");
    let is = |change| KnownEvent::ScheduleChanged { schedule: name("s"), change };
    use ScheduleEvent as E;
    let wanted = [
        is(E::Added),
        is(E::Changed),
        is(E::Paused),
        is(E::Resumed),
        accepted(1, None),
        is(E::Fired),
        is(E::Removed),
    ];
    assert_eq!(world.published(), wanted);
}

#[tokio::test]
async fn directives_to_workers_are_published() {
    let mut world = world();
    let registration = WorkerRegistration {
        incarnation: Incarnation(7),
        name: name("w7"),
        host: "h".into(),
        pid: 1,
        version: "1".into(),
        offer: Capabilities::default(),
        slots: 1,
        started_at: NOW,
    };
    let report = WorkerReport {
        registration,
        state: WorkerState::Running,
        capacity: 1,
        heartbeat: 0,
        load: None,
        hosted_by: None,
        node: None,
    };
    world.store.put_workers(vec![(SecretHash([7; 32]), report)], NOW).await.expect("stored");
    let order = |command| WorkersOrderRequest {
        workers: vec!["w7".to_owned()],
        command,
        dry_run: false,
        reason: None,
        by: None,
    };
    for command in [WorkerCommand::Drain, WorkerCommand::Resume] {
        world.panel.order_workers(&Caller::local(), order(command)).await.expect("ordered");
    }
    let worker = WorkerRef { incarnation: Incarnation(7), name: Some(name("w7")) };
    let is = |order| KnownEvent::WorkerOrdered { worker: worker.clone(), order };
    assert_eq!(world.published(), [is(Some(WorkerDirective::Drain)), is(None)]);
}

#[tokio::test]
async fn a_wait_reads_the_job_again_only_for_an_event_that_may_end_it() {
    let world = world();
    world.enqueue().await;
    let caller = Caller::local();
    let query = WaitQuery { status: Some(JobStatus::Running), ..WaitQuery::default() };
    let mut wait = pin!(world.panel.wait(&caller, "1", &query));
    let mut poll = || wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    // From now on every read of the store fails.
    world.store.close().await.expect("closed");
    world.publish(moved(1, JobStatus::Dispatched));
    world.publish(moved(1, JobStatus::Pending));
    world.publish(KnownEvent::JobProgressed { job: JobId(1).into() });
    world.publish(KnownEvent::JobLogGrew { job: JobId(1).into() });
    world.publish(KnownEvent::JobCancelling { job: JobId(1).into() });
    world.publish(moved(2, JobStatus::Completed));
    assert!(poll().is_pending());
    world.publish(moved(1, JobStatus::Running));
    let std::task::Poll::Ready(Err(Problem { code, .. })) = poll() else { panic!("not read") };
    assert_eq!(code, Code::Unavailable);
}

#[tokio::test]
async fn a_wait_answers_what_the_store_contains_whatever_the_event_stated() {
    let world = world();
    world.enqueue().await;
    let caller = Caller::local();
    let query = WaitQuery::default();
    let mut wait = pin!(world.panel.wait(&caller, "1", &query));
    assert!((&mut wait).now_or_never().is_none());
    // A late event of another node, after a person's retry.
    world.publish(moved(1, JobStatus::Failed));
    assert!((&mut wait).now_or_never().is_none());
    world.claim(1).await;
    world.complete(1).await;
    assert!((&mut wait).now_or_never().is_none(), "no event");
    world.publish(moved(1, JobStatus::Completed));
    let answer = wait.await.expect("an answer");
    assert_eq!((answer.reached, answer.job.state.status), (true, JobStatus::Completed));
}

#[tokio::test]
async fn a_wait_reads_the_job_again_after_events_were_lost() {
    let world = world();
    world.enqueue().await;
    let caller = Caller::local();
    for (id, lose) in [
        (1, (|wakeups| wakeups.feed().gap()) as fn(&Wakeups)),
        (2, |wakeups| wakeups.feed().gap_from(Incarnation(9), Some(&[JobId(2)]))),
        (3, |wakeups| {
            let changed = KnownEvent::JobChanged { job: JobId(3).into() };
            wakeups.feed().publish(vec![Event::new(NOW, changed)]);
        }),
    ] {
        world.enqueue().await;
        let (query, reference) = (WaitQuery::default(), id.to_string());
        let mut wait = pin!(world.panel.wait(&caller, &reference, &query));
        assert!((&mut wait).now_or_never().is_none());
        world.claim(id).await;
        world.complete(id).await;
        lose(&world.wakeups);
        let answer = tokio::time::timeout(Duration::from_secs(5), wait).await;
        assert!(answer.expect("in time").expect("an answer").reached);
    }
}

#[tokio::test]
async fn a_wait_at_one_node_ends_with_what_another_has_recorded() {
    let store = Arc::new(Memory::new());
    let node = |node: u128| world_of(Arc::clone(&store), Wakeups::shared(Incarnation(node)));
    let here = node(1);
    let World { panel, wakeups: there, mut reader, .. } = node(2);
    let (caller, query) = (Caller::local(), WaitQuery::default());
    for id in [1, 2] {
        here.enqueue().await;
        there.apply(&here.wakeups.for_others().await);
        assert_eq!(published(&mut reader), [accepted(id, Some(JobStatus::Pending))]);
        let reference = id.to_string();
        let mut wait = pin!(panel.wait(&caller, &reference, &query));
        assert!((&mut wait).now_or_never().is_none());
        here.claim(id).await;
        here.complete(id).await;
        here.publish(moved(id, JobStatus::Completed));
        there.apply(&here.wakeups.for_others().await);
        let answer = (&mut wait).now_or_never().expect("at once").expect("an answer");
        assert_eq!(answer.job.state.status, JobStatus::Completed);
        assert_eq!(published(&mut reader), [moved(id, JobStatus::Completed)]);
    }
    // A node does not relay the events of another.
    assert!(there.for_others().now_or_never().is_none());
}

/// The next event of a stream, if it is there at once.
fn next(stream: &mut Pin<&mut impl Stream<Item = Result<LogEvent, Problem>>>) -> Option<LogEvent> {
    stream.next().now_or_never().map(|event| event.expect("no end").expect("an event"))
}

#[tokio::test]
async fn a_follower_reads_only_the_log_when_only_the_log_has_grown() {
    let world = world();
    world.enqueue().await;
    let query = LogsQuery { follow: Some(true), ..LogsQuery::default() };
    let caller = Caller::local();
    let mut follows = pin!(world.panel.logs(&caller, "1", &query).await.expect("a log"));
    let Some(LogEvent::Status { status, .. }) = next(&mut follows) else { panic!("no status") };
    assert_eq!(status, JobStatus::Pending);
    assert!(matches!(next(&mut follows), Some(LogEvent::Live {})));
    assert!(next(&mut follows).is_none());

    world.claim(1).await;
    world.print(1, 1).await;
    assert!(next(&mut follows).is_none(), "no event");
    world.publish(KnownEvent::JobLogGrew { job: JobId(1).into() });
    assert!(matches!(next(&mut follows), Some(LogEvent::Chunk(_))));
    assert!(next(&mut follows).is_none(), "the job was not read");
    world.publish(moved(1, JobStatus::Dispatched));
    let Some(LogEvent::Status { status, attempt }) = next(&mut follows) else { panic!("none") };
    assert_eq!((status, attempt), (JobStatus::Dispatched, 1));

    world.print(1, 2).await;
    world.complete(1).await;
    world.publish(moved(1, JobStatus::Completed));
    let rest: Vec<_> = follows.map(|event| event.expect("an event")).collect().await;
    let [LogEvent::Status { .. }, LogEvent::Chunk(_), LogEvent::End { .. }] = &rest[..] else {
        panic!("{rest:?}")
    };
}

#[test]
fn every_kind_of_event_can_be_requested_by_name() {
    for kind in EventKind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
}
