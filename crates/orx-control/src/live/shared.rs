//! Topics that all their readers share: a node reads and encodes each of them once, however many
//! dashboards are open. The first reader of a topic starts its task, and the last one ends it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use orx_feed::{FeedFilter, FeedReader};
use orx_model::event::{EventCursor, EventKind};
use orx_model::wire::live::LiveState;
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::changes::Changes;
use super::jobs::ChangedJobs;
use super::pacer::Pacer;
use super::source::TopicSource;
use super::{Frame, RETRY, UNCONCERNED, problem_frame};
use crate::ControlPanel;

/// Batches that a slow reader may be behind; after that it starts over.
const BEHIND: usize = 16;

/// A topic that all its readers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    Overview,
    Jobs,
    Workers,
    Queues,
    Schedules,
    DeadLetters,
    Cluster,
}

impl Topic {
    /// Events after which the topic is read again.
    fn kinds(self) -> &'static [EventKind] {
        use EventKind::{Job, Node, Queue, Schedule, Worker};
        match self {
            Self::Overview => &[Job, Queue, Schedule, Worker, Node],
            Self::Jobs | Self::DeadLetters => &[Job],
            Self::Workers => &[Worker],
            Self::Queues => &[Job, Queue],
            Self::Schedules => &[Schedule],
            Self::Cluster => &[Node, Worker],
        }
    }

    fn pacer(self) -> Pacer {
        let (gap_ms, burst) = match self {
            Self::Jobs | Self::Queues | Self::Schedules => (250, 4),
            Self::Overview | Self::Workers => (500, 2),
            Self::DeadLetters | Self::Cluster => (1_000, 2),
        };
        Pacer::new(Duration::from_millis(gap_ms), burst)
    }

    /// How often it is read without an event: it contains states that change without one.
    fn refresh(self) -> Duration {
        Duration::from_secs(match self {
            Self::Overview | Self::Workers | Self::Cluster => 2,
            Self::Queues | Self::DeadLetters => 10,
            Self::Jobs | Self::Schedules => 3_600,
        })
    }
}

/// What a topic sends to all its readers.
pub(crate) enum LiveBatch {
    Frame(Frame),
    /// Each reader filters the jobs.
    Jobs(ChangedJobs),
    /// Nothing to send: the state of the topic was read for the first time.
    FirstState,
}

/// The state of a topic, for readers that join.
#[derive(Clone)]
pub(crate) struct CurrentState {
    pub(crate) state: Arc<LiveState>,
    pub(crate) cursor: EventCursor,
}

/// A topic with at least one reader.
pub(crate) struct SharedTopic {
    current: Mutex<Option<CurrentState>>,
    sender: broadcast::Sender<Arc<LiveBatch>>,
    task: OnceLock<AbortHandle>,
}

impl Drop for SharedTopic {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl SharedTopic {
    /// What follows the state that is returned with it.
    pub(crate) fn subscribe(&self) -> (broadcast::Receiver<Arc<LiveBatch>>, Option<CurrentState>) {
        let current = self.current.lock();
        (self.sender.subscribe(), current.clone())
    }

    fn publish(&self, current: Option<CurrentState>, batches: Vec<LiveBatch>) {
        let mut known = self.current.lock();
        let first = known.is_none() && current.is_some();
        if current.is_some() {
            *known = current;
        }
        for batch in first.then_some(LiveBatch::FirstState).into_iter().chain(batches) {
            // An error means that nobody reads at this moment.
            let _ = self.sender.send(Arc::new(batch));
        }
    }
}

/// The shared topics of a node.
#[derive(Default)]
pub(crate) struct TopicHub {
    topics: Mutex<HashMap<Topic, Weak<SharedTopic>>>,
}

impl TopicHub {
    /// A topic, whose task runs while somebody holds it.
    pub(crate) fn topic(&self, panel: &ControlPanel, topic: Topic) -> Arc<SharedTopic> {
        let mut topics = self.topics.lock();
        if let Some(shared) = topics.get(&topic).and_then(Weak::upgrade) {
            return shared;
        }
        let (sender, _) = broadcast::channel(BEHIND);
        let shared =
            Arc::new(SharedTopic { current: Mutex::new(None), sender, task: OnceLock::new() });
        // Made here and not in the task, so that a reader that joins now misses no event.
        let reader = panel.feed().read(FeedFilter::all().kinds(topic.kinds().iter().copied()));
        let task = tokio::spawn(run(panel.clone(), topic, Arc::downgrade(&shared), reader));
        let _ = shared.task.set(task.abort_handle());
        topics.insert(topic, Arc::downgrade(&shared));
        shared
    }
}

/// Reads a topic after its events, and now and then without one, until the last reader is gone.
async fn run(panel: ControlPanel, topic: Topic, shared: Weak<SharedTopic>, mut reader: FeedReader) {
    let mut pacer = topic.pacer();
    let mut source = TopicSource::new(topic);
    let mut changes = Changes::default();
    let mut failed: Option<String> = None;
    loop {
        pacer.wait().await;
        changes.drain(&mut reader);
        // Before the read, so that a later change is not taken for one that the state contains.
        let cursor = reader.cursor();
        let loaded = source.load(&panel, &changes, cursor).await;
        let Some(shared) = shared.upgrade() else { return };
        match loaded {
            Ok((state, batches)) => {
                failed = None;
                changes = Changes::default();
                let current = state.map(|state| CurrentState { state: Arc::new(state), cursor });
                shared.publish(current, batches);
            }
            Err(problem) => {
                if failed.as_ref() != Some(&problem.detail) {
                    failed = Some(problem.detail.clone());
                    shared.publish(None, vec![LiveBatch::Frame(problem_frame(problem))]);
                }
            }
        }
        drop(shared);
        let wait = if failed.is_some() { RETRY } else { topic.refresh() };
        let again = Instant::now() + wait;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(again) => break,
                () = reader.ready(), if failed.is_none() => {}
            }
            changes.drain(&mut reader);
            if !changes.is_empty() {
                break;
            }
            tokio::time::sleep(UNCONCERNED).await;
        }
    }
}
