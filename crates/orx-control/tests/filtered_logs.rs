//! The output of all jobs that match a filter, as one live stream.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use orx_control::{Caller, ControlPanel, Frame};
use orx_model::event::{Event, KnownEvent};
use orx_model::log::{LogChunk, LogCursor, Stream as LogStream};
use orx_model::wire::EnqueueRequest;
use orx_model::wire::live::{JobLogPart, LiveEvent, LiveFilteredLogsQuery, LiveTopic};
use orx_model::{Code, ExecutionId, Incarnation, JobId};
use orx_store::{Logs as _, Memory};
use orx_testkit::make::{NOW, control_settings};
use orx_transport::{Direct, Wakeups};
use serde_json::json;

struct World {
    panel: ControlPanel,
    store: Arc<Memory>,
    wakeups: Wakeups,
}

fn node(store: &Arc<Memory>, number: u128) -> (ControlPanel, Wakeups) {
    let wakeups = Wakeups::of_node(Incarnation(number));
    let panel = ControlPanel::new(
        Arc::<Memory>::clone(store),
        Arc::new(Direct::new()),
        wakeups.clone(),
        Arc::new(|| NOW),
        control_settings(),
    );
    (panel, wakeups)
}

fn topic(filter: &str) -> LiveTopic {
    let filter = Some(filter.to_owned()).filter(|filter| !filter.is_empty());
    LiveTopic::FilteredLogs(LiveFilteredLogsQuery { filter, tz: None })
}

struct Reader {
    frames: Pin<Box<dyn Stream<Item = Frame> + Send>>,
    last: Option<Arc<str>>,
}

impl Reader {
    async fn open(panel: &ControlPanel, filter: &str, last: Option<&str>) -> Self {
        let frames = panel.live(&Caller::local(), &topic(filter), last).await.expect("a stream");
        Self { frames: Box::pin(frames), last: None }
    }

    /// The next event that is not a ping.
    async fn event(&mut self) -> LiveEvent {
        loop {
            let waits = tokio::time::timeout(Duration::from_secs(60), self.frames.next());
            let frame = waits.await.expect("a frame").expect("the stream continues");
            if frame.name != "ping" {
                self.last = frame.id.or(self.last.take());
                return LiveEvent::parse(frame.name, &frame.data)
                    .expect("an event")
                    .expect("known");
            }
        }
    }

    async fn logs(&mut self) -> Vec<JobLogPart> {
        match self.event().await {
            LiveEvent::FilteredLogsReceived(received) => received.logs,
            other => panic!("{other:?}"),
        }
    }

    /// What is sent until the stream is live: the job and the text of each piece.
    async fn texts(&mut self) -> Vec<(JobId, String)> {
        let text =
            |one: JobLogPart| (one.job, String::from_utf8_lossy(&one.part.data).into_owned());
        let mut all = Vec::new();
        loop {
            match self.event().await {
                LiveEvent::FilteredLogsReceived(received) => {
                    all.extend(received.logs.into_iter().map(text));
                }
                LiveEvent::LogLive(_) => return all,
                other => panic!("{other:?}"),
            }
        }
    }
}

impl World {
    fn new() -> Self {
        let store = Arc::new(Memory::new());
        let (panel, wakeups) = node(&store, 0xa);
        Self { panel, store, wakeups }
    }

    async fn enqueue(&self, queue: &str) -> JobId {
        let request = json!({"name": "work", "queue": queue});
        let request: EnqueueRequest = serde_json::from_value(request).expect("a request");
        self.panel.enqueue(&Caller::local(), request).await.expect("accepted").id
    }

    async fn store(&self, job: JobId, seq: u64, text: &str) {
        let chunk = LogChunk {
            job,
            attempt: 1,
            execution: ExecutionId(7),
            seq,
            stream: LogStream::Out,
            at: NOW.saturating_add(Duration::from_millis(seq)),
            dropped_bytes: 0,
            bytes: text.as_bytes().to_vec(),
        };
        self.store.append_logs(vec![chunk]).await.expect("stored");
    }

    async fn print(&self, job: JobId, seq: u64, text: &str) {
        self.store(job, seq, text).await;
        let grew = KnownEvent::JobLogGrew { job: job.into() };
        self.wakeups.feed().publish(vec![Event::new(NOW, grew)]);
    }
}

#[tokio::test(start_paused = true)]
async fn it_begins_with_the_end_of_the_newest_logs_and_goes_on_with_those_that_match() {
    let world = World::new();
    let (one, two) = (world.enqueue("mail").await, world.enqueue("mail").await);
    let other = world.enqueue("media").await;
    for seq in 1..=20 {
        world.store(one, seq, &format!("one {seq}")).await;
    }
    world.store(two, 15, "two").await;
    world.store(other, 1, "of another queue").await;
    let mut reader = Reader::open(&world.panel, "queue:mail", None).await;
    let begun = reader.texts().await;
    let expected: Vec<_> = (13..=20).map(|seq| (one, format!("one {seq}"))).collect();
    assert_eq!(begun.iter().filter(|(job, _)| *job == one).cloned().collect::<Vec<_>>(), expected);
    assert_eq!(begun.iter().position(|(job, _)| *job == two), Some(2), "by time: {begun:?}");
    assert_eq!(begun.len(), 9);

    world.print(other, 2, "of another queue").await;
    world.print(two, 16, "more of two").await;
    let logs = reader.logs().await;
    assert_eq!(logs.len(), 1);
    assert_eq!((logs[0].job, logs[0].name.as_str()), (two, "work"));
    let new = world.enqueue("mail").await;
    world.store(new, 1, "its first line").await;
    world.print(new, 2, "its second").await;
    let seqs: Vec<_> = reader.logs().await.iter().filter_map(|it| it.part.position()).collect();
    let at = |seq| LogCursor { attempt: 1, seq };
    assert_eq!(seqs, [at(1), at(2)], "a new log is read from its start");
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_at_another_node_without_a_loss() {
    let world = World::new();
    let (one, two) = (world.enqueue("q").await, world.enqueue("q").await);
    world.store(one, 1, "a").await;
    let mut reader = Reader::open(&world.panel, "", None).await;
    assert_eq!(reader.texts().await, [(one, "a".to_owned())]);
    world.print(two, 1, "b").await;
    assert_eq!(reader.logs().await.len(), 1);
    let last = reader.last.clone().expect("an id");
    assert_eq!(&*last, format!("{two}:1:1,{one}:1:1"));
    drop(reader);
    for seq in 2..=40 {
        world.print(one, seq, &format!("{seq} ")).await;
    }
    let three = world.enqueue("q").await;
    world.print(three, 1, "c").await;
    let (panel, _wakeups) = node(&world.store, 0xb);
    let mut reader = Reader::open(&panel, "", Some(&last)).await;
    let mut texts = BTreeMap::<JobId, String>::new();
    for (job, text) in reader.texts().await {
        texts.entry(job).or_default().push_str(&text);
    }
    let all: String = (2..=40).map(|seq| format!("{seq} ")).collect();
    assert_eq!(texts, BTreeMap::from([(one, all), (three, "c".to_owned())]));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_grows_faster_than_it_is_sent_shows_its_end() {
    let world = World::new();
    let id = world.enqueue("q").await;
    let mut reader = Reader::open(&world.panel, "", None).await;
    assert!(reader.texts().await.is_empty());
    let text = "x".repeat(32 * 1024);
    for seq in 1..=200 {
        world.print(id, seq, &text).await;
    }
    let (mut sent, mut last) = (0, 0);
    while last < 200 {
        for one in reader.logs().await {
            let seq = one.part.position().expect("a position").seq;
            assert!(seq > last, "in order");
            (last, sent) = (seq, sent + 1);
        }
    }
    assert!(sent < 40, "{sent} pieces were sent");
}

#[tokio::test(start_paused = true)]
async fn many_jobs_that_print_at_once_are_all_shown() {
    let world = World::new();
    let mut reader = Reader::open(&world.panel, "", None).await;
    assert!(reader.texts().await.is_empty());
    let mut seen = BTreeMap::<JobId, u64>::new();
    for _ in 0..300 {
        let id = world.enqueue("q").await;
        world.print(id, 1, "line\n").await;
        seen.insert(id, 0);
    }
    let began = tokio::time::Instant::now();
    while seen.values().any(|count| *count == 0) {
        for one in reader.logs().await {
            *seen.get_mut(&one.job).expect("a job of ours") += 1;
        }
    }
    assert!(seen.values().all(|count| *count == 1), "each once");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_wrong_filter_is_refused_and_an_id_of_another_topic_begins_anew() {
    let world = World::new();
    let id = world.enqueue("q").await;
    world.store(id, 1, "a").await;
    let refused = world.panel.live(&Caller::local(), &topic("statsu:failed"), None).await;
    assert_eq!(refused.err().map(|problem| problem.code), Some(Code::BadRequest));
    let mut reader = Reader::open(&world.panel, "", Some("nonsense")).await;
    assert_eq!(reader.texts().await, [(id, "a".to_owned())]);
}
