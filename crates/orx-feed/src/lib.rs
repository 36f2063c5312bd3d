//! What changed at a node: events with numbers, of which the newest are kept in memory, for those who
//! wait for a job, follow its log, or watch all of it.
//!
//! Depends on `orx-model` and on tokio's `sync`. Knows no store, no transport and no clock, and
//! decides nothing. An event says that something changed; what is true stands in the store.
//!
//! A publisher waits for nobody: it takes one short lock, and a reader that falls behind loses events
//! and not the publisher time. A reader gets every event that its filter takes, in the order of
//! publication, or a [`News::Reset`] in place of those it can no longer have: then it reads the store
//! anew and goes on. So does a reader that comes back with a cursor of another node, or of this node
//! before its restart.
//!
//! How a service publishes what it has changed, once that is committed:
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
//! How somebody waits for a job: the reader is there before the store is read, so no change is missed.
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

/// Events kept: some seconds of a busy node, and some megabytes.
const KEPT: usize = 32_768;
/// Events that are kept, and lost, as one.
const BATCH: usize = 512;

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Feed {
    inner: Arc<Inner>,
}

struct Inner {
    node: Incarnation,
    state: Mutex<State>,
    /// Wakes the readers of more than single jobs.
    published: watch::Sender<()>,
}

struct State {
    ring: Ring,
    /// Of readers of single jobs, under each of these: bounded by open requests.
    bells: HashMap<JobId, Vec<Arc<Bell>>>,
}

/// Wakes one reader of single jobs.
struct Bell {
    /// The first event that is for the reader and that it has not looked at; `MAX` for none.
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

/// Whose readers of single jobs are woken by a batch.
enum Concerned<'a> {
    JobsOfEvents,
    These(&'a [JobId]),
    All,
}

impl Feed {
    /// Of a node, which is an incarnation: a cursor of an earlier one is unknown here.
    #[must_use]
    pub fn new(node: Incarnation) -> Self {
        Self::keeping(node, KEPT)
    }

    /// One that keeps about `events`, at least 1.
    #[must_use]
    pub fn keeping(node: Incarnation, events: usize) -> Self {
        let state = State { ring: Ring::new(events.max(1)), bells: HashMap::new() };
        let published = watch::Sender::new(());
        Self { inner: Arc::new(Inner { node, state: Mutex::new(state), published }) }
    }

    #[must_use]
    pub fn node(&self) -> Incarnation {
        self.inner.node
    }

    /// What this node changed, after it was committed and in that order.
    pub fn publish(&self, events: Vec<Event>) {
        self.add_events(self.inner.node, true, events);
    }

    /// What another node changed, as it passed it on. It goes no further.
    pub fn publish_from(&self, node: Incarnation, events: Vec<Event>) {
        self.add_events(node, false, events);
    }

    /// Something changed at this node that no event tells: every reader is reset.
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

    /// No events are a gap.
    fn add(&self, origin: Incarnation, own: bool, events: Vec<Event>, concerned: Concerned<'_>) {
        // A vector with room to spare would keep that as long as its events.
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
            let State { ring, bells } = &mut *state;
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
        // Neither is anybody woken, nor memory given back, under the lock.
        rung.iter().for_each(|bell| bell.rung.notify_one());
        self.inner.published.send_replace(());
        drop(gone);
    }

    /// The place after all that was published until now.
    #[must_use]
    pub fn cursor(&self) -> EventCursor {
        EventCursor { node: self.inner.node, seq: self.state().ring.next() - 1 }
    }

    /// Reads what is published from now on.
    #[must_use]
    pub fn read(&self, filter: FeedFilter) -> FeedReader {
        FeedReader::new(self.clone(), filter, None)
    }

    /// Reads on after a place: with a reset first where what followed it is not there any more, or
    /// never was.
    #[must_use]
    pub fn resume(&self, after: EventCursor, filter: FeedFilter) -> FeedReader {
        FeedReader::new(self.clone(), filter, Some(after))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock()
    }
}
