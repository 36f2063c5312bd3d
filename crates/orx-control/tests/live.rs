//! Live streams: a snapshot, what changed since, and a new start where that is unknown.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use orx_control::{Caller, ControlPanel, Frame, Scope};
use orx_model::event::{Event, JobRef, KnownEvent, NodeEvent, WorkerRef};
use orx_model::log::{LogChunk, Stream as LogStream};
use orx_model::message::{ExecutionProgress, WorkerRegistration, WorkerState};
use orx_model::wire::live::{
    LiveEvent, LiveEventsQuery, LiveJobsQuery, LiveLogsQuery, LiveState, LiveTopic, ResetReason,
};
use orx_model::wire::{AttentionKind, ChangeRequest, EnqueueRequest};
use orx_model::{Capabilities, Code, ExecutionId, Incarnation, JobId, JobStatus, SecretHash};
use orx_store::{
    Dispatching as _, Lead, LeadRequest, Leases as _, Logs as _, Memory, NodeReport, WorkerReport,
    Workers as _,
};
use orx_testkit::make::{NOW, at, control_settings, name, outcome, request, succeeded};
use orx_transport::{Direct, Wakeups};
use serde_json::json;
use tokio::time::Instant;

struct World {
    panel: ControlPanel,
    store: Arc<Memory>,
    wakeups: Wakeups,
}

fn world() -> World {
    let (store, wakeups) = (Arc::new(Memory::new()), Wakeups::of_node(Incarnation(0xa)));
    let panel = ControlPanel::new(
        Arc::<Memory>::clone(&store),
        Arc::new(Direct::new()),
        wakeups.clone(),
        Arc::new(|| NOW),
        control_settings(),
    );
    World { panel, store, wakeups }
}

type Frames = Pin<Box<dyn Stream<Item = Frame> + Send>>;

/// A reader that skips pings.
struct Reader {
    frames: Frames,
    last: Option<Arc<str>>,
}

impl Reader {
    async fn frame(&mut self) -> Frame {
        let waits = async {
            loop {
                let frame = self.frames.next().await.expect("the stream continues");
                if frame.name != "ping" {
                    return frame;
                }
            }
        };
        let frame = tokio::time::timeout(Duration::from_secs(60), waits).await.expect("a frame");
        if frame.id.is_some() {
            self.last.clone_from(&frame.id);
        }
        frame
    }

    async fn event(&mut self) -> LiveEvent {
        let frame = self.frame().await;
        LiveEvent::parse(frame.name, &frame.data).expect("an event").expect("a known name")
    }

    async fn state(&mut self) -> LiveState {
        match self.event().await {
            LiveEvent::Snapshot(snapshot) => snapshot.state,
            other => panic!("no snapshot: {other:?}"),
        }
    }

    async fn names(&mut self, count: usize) -> Vec<&'static str> {
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(self.frame().await.name);
        }
        names
    }

    /// Whether nothing but pings comes for 30 s.
    async fn is_quiet(&mut self) -> bool {
        let until = Instant::now() + Duration::from_secs(30);
        while let Ok(frame) = tokio::time::timeout_at(until, self.frames.next()).await {
            if frame.expect("the stream continues").name != "ping" {
                return false;
            }
        }
        true
    }
}

impl World {
    async fn read_after(&self, topic: LiveTopic, last: Option<&str>) -> Reader {
        let frames = self.panel.live(&Caller::local(), &topic, last).await.expect("a stream");
        Reader { frames: Box::pin(frames), last: None }
    }

    async fn read(&self, topic: LiveTopic) -> Reader {
        self.read_after(topic, None).await
    }

    async fn enqueue(&self, queue: &str) -> JobId {
        let request = json!({"name": "work", "queue": queue, "tags": {"password": "tell-nobody"}});
        let request: EnqueueRequest = serde_json::from_value(request).expect("a request");
        self.panel.enqueue(&Caller::local(), request).await.expect("accepted").id
    }

    async fn cancel(&self, id: JobId) {
        let request = ChangeRequest { ids: vec![id], ..ChangeRequest::default() };
        self.panel.cancel(&Caller::local(), request).await.expect("an answer");
    }

    fn publish(&self, what: Vec<KnownEvent>) {
        let events = what.into_iter().map(|what| Event::new(NOW, what));
        self.wakeups.feed().publish(events.collect());
    }

    fn moved(&self, id: i64) -> KnownEvent {
        let (job, to) = (JobId(id).into(), JobStatus::Running);
        KnownEvent::JobMoved { job, from: None, to, attempt: None }
    }

    /// Starts the oldest job as execution 7 of worker 1.
    async fn start(&self) {
        let lead = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(60), above: 0 };
        let Lead::Leading(term) = self.store.lead(lead, NOW).await.expect("an answer") else {
            panic!("another leads")
        };
        self.store.claim_ready(vec![request(1, 7, 1)], term, at(1)).await.expect("claimed");
    }
}

fn jobs(filter: Option<&str>) -> LiveTopic {
    LiveTopic::Jobs(LiveJobsQuery { filter: filter.map(str::to_owned), ..LiveJobsQuery::default() })
}

#[tokio::test(start_paused = true)]
async fn jobs_begin_with_a_page_and_go_on_with_what_changed_filtered_and_masked() {
    let world = world();
    let first = world.enqueue("q").await;
    let mut all = world.read(jobs(None)).await;
    let mut mail = world.read(jobs(Some("queue:mail"))).await;
    let LiveState::Jobs(page) = all.state().await else { panic!("another topic") };
    assert_eq!(page.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [first]);
    let LiveState::Jobs(page) = mail.state().await else { panic!("another topic") };
    assert!(page.jobs.is_empty());

    let began = Instant::now();
    let second = world.enqueue("mail").await;
    for reader in [&mut all, &mut mail] {
        let frame = reader.frame().await;
        assert!(!frame.data.contains("tell-nobody"), "{}", frame.data);
        let Ok(Some(LiveEvent::JobStatusUpdated(updated))) =
            LiveEvent::parse(frame.name, &frame.data)
        else {
            panic!("{frame:?}")
        };
        assert_eq!(updated.jobs[0].id, second);
    }
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());

    world.cancel(first).await;
    let LiveEvent::JobStatusUpdated(updated) = all.event().await else { panic!("no update") };
    assert_eq!(updated.jobs[0].state.status, JobStatus::Cancelled);
    let LiveEvent::JobStatusUpdated(updated) = mail.event().await else { panic!("no update") };
    assert_eq!((updated.jobs.len(), updated.unmatched), (0, vec![first]));
    // A job of which an event is left, and nothing in the store.
    world.publish(vec![world.moved(99)]);
    let LiveEvent::JobStatusUpdated(updated) = all.event().await else { panic!("no update") };
    assert_eq!(updated.gone, [JobId(99)]);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_changes_a_second_are_a_few_frames_a_second() {
    let world = world();
    let mut reader = world.read(jobs(None)).await;
    reader.state().await;
    let began = Instant::now();
    let busy = async {
        for _ in 0..300 {
            world.publish((1..=100).map(|id| world.moved(id)).collect());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let counts = async {
        let mut frames = 0;
        let mut changed = 0;
        while began.elapsed() < Duration::from_millis(4_500) {
            let waits = Duration::from_millis(500);
            let Ok(event) = tokio::time::timeout(waits, reader.event()).await else { continue };
            frames += 1;
            match event {
                LiveEvent::Refetch(refetch) => changed += refetch.changed,
                other => panic!("{other:?}"),
            }
        }
        (frames, changed)
    };
    let ((), (frames, changed)) = tokio::join!(busy, counts);
    assert!((3..=5).contains(&frames), "{frames}");
    assert_eq!(changed, 30_000);
}

#[tokio::test(start_paused = true)]
async fn a_known_id_resumes_and_an_unknown_one_resets() {
    let world = world();
    let first = world.enqueue("q").await;
    let mut reader = world.read(jobs(None)).await;
    reader.state().await;
    let last = reader.last.clone().expect("an id");
    drop(reader);
    // Nothing was missed.
    let mut reader = world.read_after(jobs(None), Some(&last)).await;
    assert!(reader.is_quiet().await);
    drop(reader);
    world.cancel(first).await;
    let mut reader = world.read_after(jobs(None), Some(&last)).await;
    let LiveEvent::JobStatusUpdated(updated) = reader.event().await else { panic!("no update") };
    assert_eq!(updated.jobs[0].id, first);
    drop(reader);

    // More than the feed holds.
    world.publish((1..=40_000).map(|id| world.moved(id)).collect());
    let mut reader = world.read_after(jobs(None), Some(&last)).await;
    let LiveEvent::Reset(reset) = reader.event().await else { panic!("no reset") };
    assert_eq!(reset.why, ResetReason::Past);
    reader.state().await;
    for unknown in ["000000000000000000000000000000bb:3", "nonsense"] {
        for topic in [jobs(None), LiveTopic::Workers, LiveTopic::Job(first.to_string())] {
            let mut reader = world.read_after(topic, Some(unknown)).await;
            let LiveEvent::Reset(reset) = reader.event().await else { panic!("no reset") };
            assert_eq!(reset.why, ResetReason::OtherNode);
            reader.state().await;
        }
    }
    let mut reader = world.read_after(LiveTopic::Workers, Some(&last)).await;
    reader.state().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_starts_over_and_holds_up_nobody() {
    let world = world();
    let mut slow = world.read(jobs(None)).await;
    let mut quick = world.read(jobs(None)).await;
    slow.state().await;
    quick.state().await;
    let mut last = JobId(0);
    for _ in 0..40 {
        last = world.enqueue("q").await;
        loop {
            let LiveEvent::JobStatusUpdated(updated) = quick.event().await else { panic!("other") };
            if updated.jobs.iter().any(|job| job.id == last) {
                break;
            }
        }
    }
    assert_eq!(slow.names(2).await, ["slow", "reset"]);
    let LiveState::Jobs(page) = slow.state().await else { panic!("another topic") };
    assert_eq!(page.jobs[0].id, last);
    assert!(slow.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn one_job_shows_each_step_at_once_and_its_progress() {
    let world = world();
    let id = world.enqueue("q").await;
    let mut reader = world.read(LiveTopic::Job(id.to_string())).await;
    let LiveState::Job(detail) = reader.state().await else { panic!("another topic") };
    assert_eq!(detail.job.state.status, JobStatus::Pending);
    world.start().await;
    let began = Instant::now();
    world.publish(vec![world.moved(id.0)]);
    let LiveEvent::JobStatusUpdated(updated) = reader.event().await else { panic!("no update") };
    assert_eq!((updated.jobs[0].state.status, updated.attempts.len()), (JobStatus::Dispatched, 1));
    let execution = ExecutionId(7);
    let progress = json!({"job": id, "execution": execution, "progress": {"percent": 40.0}});
    let progress: ExecutionProgress = serde_json::from_value(progress).expect("progress");
    world.store.record_progress(vec![progress]).await.expect("recorded");
    world.publish(vec![KnownEvent::JobProgressed { job: id.into() }]);
    let LiveEvent::JobProgress(progress) = reader.event().await else { panic!("no progress") };
    assert_eq!((progress.jobs[0].attempt, progress.jobs[0].progress.percent), (1, 40.0));
    let done = world.store.record_outcomes(vec![outcome(id, 7, succeeded())], vec![0.5], at(2));
    assert_eq!(done.await.expect("recorded").len(), 1);
    world.publish(vec![world.moved(id.0)]);
    let LiveEvent::JobStatusUpdated(updated) = reader.event().await else { panic!("no update") };
    assert_eq!(updated.jobs[0].state.status, JobStatus::Completed);
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    // A grown log and an unchanged job are no news.
    world.publish(vec![KnownEvent::JobLogGrew { job: id.into() }, world.moved(id.0)]);
    assert!(reader.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn a_log_goes_on_at_another_node_without_a_loss() {
    let world = world();
    let id = world.enqueue("q").await;
    world.start().await;
    let print = async |seq: u64| {
        let chunk = LogChunk {
            job: id,
            attempt: 1,
            execution: ExecutionId(7),
            seq,
            stream: LogStream::Out,
            at: NOW,
            dropped_bytes: 0,
            bytes: format!("line {seq}\n").into_bytes(),
        };
        world.store.append_logs(vec![chunk]).await.expect("stored");
        world.publish(vec![KnownEvent::JobLogGrew { job: id.into() }]);
    };
    print(1).await;
    print(2).await;
    let topic = || LiveTopic::Logs(id.to_string(), LiveLogsQuery::default());
    let mut reader = world.read(topic()).await;
    let received = |event: LiveEvent| match event {
        LiveEvent::LogReceived(received) => received
            .parts
            .iter()
            .map(|part| String::from_utf8_lossy(&part.data).into_owned())
            .collect::<String>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(received(reader.event().await), "line 1\nline 2\n");
    assert_eq!(reader.frame().await.name, "log_live");
    let last = reader.last.clone().expect("an id");
    assert_eq!(&*last, "1:2");
    drop(reader);
    print(3).await;
    // Another node has a feed of its own, and the same store.
    let other = ControlPanel::new(
        Arc::<Memory>::clone(&world.store),
        Arc::new(Direct::new()),
        Wakeups::of_node(Incarnation(0xb)),
        Arc::new(|| NOW),
        control_settings(),
    );
    let frames = other.live(&Caller::local(), &topic(), Some(&last)).await.expect("a stream");
    let mut reader = Reader { frames: Box::pin(frames), last: None };
    assert_eq!(received(reader.event().await), "line 3\n");
    assert_eq!(reader.frame().await.name, "log_live");
    let done = world.store.record_outcomes(vec![outcome(id, 7, succeeded())], vec![0.5], at(2));
    assert_eq!(done.await.expect("recorded").len(), 1);
    let LiveEvent::LogEnded(ended) = reader.event().await else { panic!("not ended") };
    assert_eq!((ended.status, ended.cursor.as_str()), (JobStatus::Completed, "1:3"));
    assert!(reader.frames.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_overview_is_made_once_for_all_and_says_what_needs_a_person() {
    let world = world();
    world.panel.count_events();
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(world.read(LiveTopic::Overview).await);
    }
    for reader in &mut readers {
        reader.state().await;
    }
    world.enqueue("q").await;
    let mut shared: Option<Arc<str>> = None;
    for reader in &mut readers {
        let frame = reader.frame().await;
        assert_eq!(frame.name, "overview_updated");
        let first = shared.get_or_insert_with(|| Arc::clone(&frame.data));
        assert!(Arc::ptr_eq(first, &frame.data), "the frame was encoded again");
    }
    drop(readers);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let overview = world.panel.overview(&Caller::local()).await.expect("an overview");
    assert_eq!((overview.counts.pending, overview.queues[0].counts.pending), (1, 1));
    assert_eq!(overview.rates.accepted.iter().sum::<u32>(), 1);
    let kinds: Vec<AttentionKind> = overview.attention.iter().map(|item| item.kind).collect();
    assert_eq!(kinds, [AttentionKind::NoLeader, AttentionKind::NoWorker]);
}

#[tokio::test]
async fn a_node_that_runs_again_under_its_name_needs_nobody() {
    let world = world();
    for (node, name_of, seen) in [(1, "n1", -600), (2, "n2", -600), (3, "n1", 0)] {
        let report = NodeReport {
            node: Incarnation(node),
            name: name(name_of),
            url: None,
            version: "1".into(),
            zone_version: None,
            started_at: at(seen),
        };
        world.store.put_node(report, at(seen)).await.expect("written");
    }
    let overview = world.panel.overview(&Caller::local()).await.expect("an overview");
    let silent = overview.attention.iter().filter(|item| item.kind == AttentionKind::NodeLost);
    let silent: Vec<&str> = silent.map(|item| item.text.as_str()).collect();
    assert_eq!(silent, ["node n2 is silent"]);
}

#[tokio::test(start_paused = true)]
async fn workers_queues_and_the_cluster_send_what_changed() {
    let world = world();
    let mut workers = world.read(LiveTopic::Workers).await;
    let mut queues = world.read(LiveTopic::Queues).await;
    let mut cluster = world.read(LiveTopic::Cluster).await;
    for reader in [&mut workers, &mut queues, &mut cluster] {
        reader.state().await;
    }
    world.enqueue("mail").await;
    let LiveEvent::QueueUpdated(updated) = queues.event().await else { panic!("no update") };
    assert_eq!((updated.queues[0].queue.as_str(), updated.queues[0].counts.pending), ("mail", 1));
    let registration = WorkerRegistration {
        incarnation: Incarnation(1),
        name: name("w"),
        host: "h".to_owned(),
        pid: 1,
        version: "1".to_owned(),
        offer: Capabilities::default(),
        slots: 4,
        started_at: NOW,
    };
    let report = WorkerReport {
        state: WorkerState::Running,
        capacity: 4,
        heartbeat: 0,
        load: None,
        hosted_by: None,
        node: None,
        registration,
    };
    world.store.put_workers(vec![(SecretHash([1; 32]), report)], NOW).await.expect("stored");
    let worker = WorkerRef { incarnation: Incarnation(1), name: None };
    world.publish(vec![KnownEvent::WorkerMoved {
        worker,
        from: None,
        to: Some(WorkerState::Running),
    }]);
    let LiveEvent::WorkerStatusUpdated(updated) = workers.event().await else {
        panic!("no update")
    };
    assert_eq!((updated.workers[0].slots, updated.gone.len()), (4, 0));
    world.publish(vec![KnownEvent::NodeChanged {
        node: Incarnation(0xa),
        name: Some(name("n1")),
        change: NodeEvent::Leads { epoch: 3 },
    }]);
    let mut changes = Vec::new();
    while changes.is_empty() {
        let LiveEvent::ClusterEvent(event) = cluster.event().await else { panic!("no event") };
        changes = event.changes;
    }
    assert!(matches!(
        changes[0].what,
        orx_model::event::EventBody::Known(KnownEvent::NodeChanged {
            change: NodeEvent::Leads { epoch: 3 },
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn events_come_in_order_with_the_newest_of_the_past_and_jobs_only_on_request() {
    let world = world();
    let job = |id: i64| KnownEvent::JobChanged { job: JobRef::from(JobId(id)) };
    let node = |epoch| KnownEvent::NodeChanged {
        node: Incarnation(0xa),
        name: None,
        change: NodeEvent::Leads { epoch },
    };
    world.publish(vec![job(1), node(1), node(2)]);
    let mut reader = world.read(LiveTopic::Events(LiveEventsQuery::default())).await;
    let LiveState::Events(past) = reader.state().await else { panic!("another topic") };
    assert_eq!(past.events.len(), 2);
    let kinds = LiveEventsQuery { kinds: Some("job".to_owned()) };
    let mut of_jobs = world.read(LiveTopic::Events(kinds)).await;
    of_jobs.state().await;
    world.publish((1..=100).flat_map(|id| [job(id), node(id as u64)]).collect());
    let LiveEvent::EventsReceived(received) = reader.event().await else { panic!("no events") };
    assert_eq!((received.events.len(), received.skipped), (25, 75));
    assert!(received.events.windows(2).all(|two| two[0].id.seq < two[1].id.seq));
    let last = reader.last.clone().expect("an id");
    drop(reader);
    world.publish(vec![node(500)]);
    let topic = LiveTopic::Events(LiveEventsQuery::default());
    let mut reader = world.read_after(topic, Some(&last)).await;
    let LiveEvent::EventsReceived(received) = reader.event().await else { panic!("no events") };
    assert_eq!(received.events.len(), 1);
    let LiveEvent::EventsReceived(received) = of_jobs.event().await else { panic!("no events") };
    assert!(received.events.iter().all(|line| matches!(
        line.what,
        orx_model::event::EventBody::Known(KnownEvent::JobChanged { .. })
    )));
    let bad = LiveTopic::Events(LiveEventsQuery { kinds: Some("comet".to_owned()) });
    let refused = world.panel.live(&Caller::local(), &bad, None).now_or_never().expect("at once");
    assert_eq!(refused.err().expect("an error").code, Code::BadRequest);
}

#[tokio::test(start_paused = true)]
async fn a_ping_with_the_time_comes_at_least_every_five_seconds() {
    let world = world();
    let mut reader = world.read(jobs(None)).await;
    reader.state().await;
    let mut last = Instant::now();
    for _ in 0..5 {
        let frame = reader.frames.next().await.expect("the stream continues");
        assert!(last.elapsed() <= Duration::from_secs(5));
        last = Instant::now();
        let Ok(Some(LiveEvent::Ping(ping))) = LiveEvent::parse(frame.name, &frame.data) else {
            panic!("{frame:?}")
        };
        assert_eq!(ping.now, NOW);
    }
}

#[tokio::test]
async fn a_stream_needs_the_scope_of_its_topic() {
    let world = world();
    let id = world.enqueue("q").await;
    let caller = |scope| Caller { name: "t".to_owned(), scopes: vec![scope], address: None };
    for (topic, service) in [
        (jobs(None), true),
        (LiveTopic::Job(id.to_string()), true),
        (LiveTopic::Logs(id.to_string(), LiveLogsQuery::default()), true),
        (LiveTopic::Overview, false),
        (LiveTopic::Events(LiveEventsQuery::default()), false),
    ] {
        for (scope, allowed) in
            [(Scope::Read, true), (Scope::Service, service), (Scope::Worker, false)]
        {
            let answer = world.panel.live(&caller(scope), &topic, None).await;
            assert_eq!(answer.is_ok(), allowed, "{topic:?} {scope}");
        }
    }
}
