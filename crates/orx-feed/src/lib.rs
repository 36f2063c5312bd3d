//! The feed of a node: numbered events of changes, of which the newest stay in memory. Clients that wait for
//! a job, follow its log, or show every change read it.
//!
//! Depends on `orx-model` and on tokio's `sync`; uses no store, no transport and no clock. An event reports
//! that something changed; the store holds the truth.
//!
//! A publisher never waits for a reader: it takes one short lock, and a reader that falls behind loses
//! events. A reader gets every event that its filter takes, in the order of publication, or a
//! [`News::Reset`] in place of events that it can no longer have: then it reads the store again and continues.
//! A reader that comes back with a cursor of another node, or of this node before a restart, is reset too.
//!
//! A service publishes its changes once they are committed:
//!
//! ```
//! use orx_feed::Feed;
//! use orx_model::event::{Event, JobRef, KnownEvent};
//! use orx_model::{Incarnation, JobId, JobStatus, Timestamp};
//!
//! let feed = Feed::new(Incarnation(1));
//! // One call a batch: each takes the lock and wakes readers once.
//! let recorded = [(JobId(7), JobStatus::Running, JobStatus::Completed)];
//! let now = Timestamp::from_millis(1_767_225_600_000);
//! let moved = recorded.map(|(id, from, to)| {
//!     // With `name` and `queue` where they are at hand.
//!     let job = JobRef::from(id);
//!     Event::new(now, KnownEvent::JobMoved { job, from: Some(from), to, attempt: Some(1) })
//! });
//! feed.publish(moved.to_vec());
//! ```
//!
//! To wait for a job, make the reader before reading the store, so that no change is missed:
//!
//! ```
//! # use orx_feed::{Feed, FeedFilter, News};
//! # use orx_model::{Incarnation, JobId};
//! # async fn read_the_job() {}
//! # async fn wait(feed: &Feed) {
//! let mut reader = feed.read(FeedFilter::job(JobId(7)));
//! read_the_job().await;
//! match reader.next(100).await {
//!     News::Events(events) => { /* of this job alone */ }
//!     News::Reset => read_the_job().await,
//! }
//! # }
//! ```

mod filter;
mod reader;
mod ring;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orx_model::event::{Event, EventCursor};
use orx_model::{Incarnation, JobId};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

pub use filter::FeedFilter;
pub use reader::{FeedEvent, FeedReader, News};

use ring::{Batch, Ring};

/// Events in the ring: some seconds of a busy node, and some megabytes.
const CAPACITY: usize = 32_768;
/// Most events of a batch, which enters and leaves the ring as a whole.
const BATCH: usize = 512;

/// The feed of one node. Cheap to clone; all clones share the same events.
#[derive(Clone)]
pub struct Feed {
    inner: Arc<FeedShared>,
}

struct FeedShared {
    node: Incarnation,
    state: Mutex<FeedState>,
    /// Wakes the readers that do not name jobs.
    published: watch::Sender<()>,
}

struct FeedState {
    ring: Ring,
    /// The bells of readers that name jobs, by job. Bounded by the number of open requests.
    bells: HashMap<JobId, Vec<Arc<Bell>>>,
}

/// Wakes one reader that names jobs.
struct Bell {
    /// Number of the first unread event for the reader; `MAX` for none.
    from: AtomicU64,
    rung: Notify,
}

impl Bell {
    fn new() -> Self {
        Self { from: AtomicU64::new(u64::MAX), rung: Notify::new() }
    }

    fn mark(&self, from: u64) {
        self.from.fetch_min(from, Ordering::AcqRel);
    }

    fn take(&self) -> Option<u64> {
        let from = self.from.swap(u64::MAX, Ordering::AcqRel);
        (from != u64::MAX).then_some(from)
    }
}

/// Which readers that name jobs a batch wakes.
enum Concerned<'a> {
    JobsOfEvents,
    These(&'a [JobId]),
    All,
}

impl Feed {
    /// The feed of a node. A cursor of an earlier incarnation of the node is unknown here.
    #[must_use]
    pub fn new(node: Incarnation) -> Self {
        Self::keeping(node, CAPACITY)
    }

    /// A feed whose ring holds about `events`, at least 1.
    #[must_use]
    pub fn keeping(node: Incarnation, events: usize) -> Self {
        let state = FeedState { ring: Ring::new(events.max(1)), bells: HashMap::new() };
        let published = watch::Sender::new(());
        Self { inner: Arc::new(FeedShared { node, state: Mutex::new(state), published }) }
    }

    /// The incarnation of the node.
    #[must_use]
    pub fn node(&self) -> Incarnation {
        self.inner.node
    }

    /// Publishes changes of this node, in the order of their commits.
    pub fn publish(&self, events: Vec<Event>) {
        self.add_events(self.inner.node, true, events);
    }

    /// Publishes changes that another node sent. They are not sent to further nodes.
    pub fn publish_from(&self, node: Incarnation, events: Vec<Event>) {
        self.add_events(node, false, events);
    }

    /// Resets every reader: this node changed something without an event.
    pub fn gap(&self) {
        self.add(self.inner.node, true, Vec::new(), Concerned::All);
    }

    /// Events of another node were lost. Readers of single jobs are reset only if the lost events
    /// were about one of their jobs, where those are known.
    pub fn gap_from(&self, node: Incarnation, jobs: Option<&[JobId]>) {
        let concerned = jobs.map_or(Concerned::All, Concerned::These);
        self.add(node, false, Vec::new(), concerned);
    }

    fn add_events(&self, origin: Incarnation, own: bool, mut events: Vec<Event>) {
        let most = BATCH.min(self.state().ring.capacity());
        while events.len() > most {
            let rest = events.split_off(most);
            self.add(origin, own, events, Concerned::JobsOfEvents);
            events = rest;
        }
        if !events.is_empty() {
            self.add(origin, own, events, Concerned::JobsOfEvents);
        }
    }

    /// Adds one batch. A batch without events is a gap.
    fn add(&self, origin: Incarnation, own: bool, events: Vec<Event>, concerned: Concerned<'_>) {
        // A boxed slice, since a vector would hold its spare capacity as long as the events.
        let batch = Arc::new(Batch { origin, own, events: events.into_boxed_slice() });
        let mut rung: Vec<Arc<Bell>> = Vec::new();
        let mut ring_bells = |bells: Option<&Vec<Arc<Bell>>>, from: u64| {
            for bell in bells.into_iter().flatten() {
                bell.mark(from);
                rung.push(Arc::clone(bell));
            }
        };
        let gone = {
            let mut state = self.state();
            let FeedState { ring, bells } = &mut *state;
            let (first, gone) = ring.push(Arc::clone(&batch));
            if !bells.is_empty() {
                match concerned {
                    Concerned::JobsOfEvents => {
                        for (seq, event) in (first..).zip(&batch.events) {
                            if let Some(job) = event.job() {
                                ring_bells(bells.get(&job.id), seq);
                            }
                        }
                    }
                    Concerned::These(jobs) => {
                        jobs.iter().for_each(|job| ring_bells(bells.get(job), first));
                    }
                    Concerned::All => {
                        bells.values().for_each(|bells| ring_bells(Some(bells), first));
                    }
                }
            }
            gone
        };
        // Readers are woken and memory is freed outside the lock.
        rung.iter().for_each(|bell| bell.rung.notify_one());
        self.inner.published.send_replace(());
        drop(gone);
    }

    /// The cursor after everything that was published until now.
    #[must_use]
    pub fn cursor(&self) -> EventCursor {
        EventCursor { node: self.inner.node, seq: self.state().ring.next() - 1 }
    }

    /// A reader of what is published from now on.
    #[must_use]
    pub fn read(&self, filter: FeedFilter) -> FeedReader {
        FeedReader::new(self.clone(), filter, None)
    }

    /// A reader of what follows a cursor. It is reset first where those events have left the ring, or never
    /// were in it.
    #[must_use]
    pub fn resume(&self, after: EventCursor, filter: FeedFilter) -> FeedReader {
        FeedReader::new(self.clone(), filter, Some(after))
    }

    /// A reader of everything that the ring holds, and of what follows.
    #[must_use]
    pub fn replay(&self, filter: FeedFilter) -> FeedReader {
        let before = self.state().ring.oldest().saturating_sub(1);
        let after = EventCursor { node: self.inner.node, seq: before };
        FeedReader::new(self.clone(), filter, Some(after))
    }

    fn state(&self) -> MutexGuard<'_, FeedState> {
        self.inner.state.lock()
    }
}
