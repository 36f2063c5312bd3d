//! A reader and its cursor in the feed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use orx_model::Incarnation;
use orx_model::event::{Event, EventCursor};
use tokio::sync::watch;

use crate::{Bell, Feed, FeedFilter};

/// Batches read under one lock.
const BATCHES: usize = 64;

/// An event as a reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEvent {
    /// The cursor after it, at the node that is read.
    pub cursor: EventCursor,
    /// The node that made the change.
    pub origin: Incarnation,
    /// The change.
    pub event: Event,
}

/// The result of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// At least one event, in order, without a hole.
    Events(Vec<FeedEvent>),
    /// Events are missing here: read the store again, and go on.
    Reset,
}

/// Reads the feed from a cursor on. A reader that names jobs is woken by events of those jobs alone, any other
/// by each publication. A reader for people should pause between two calls; it then gets at once what was
/// published meanwhile.
pub struct FeedReader {
    feed: Feed,
    filter: FeedFilter,
    /// Number of the first unread event.
    next: u64,
    /// The cursor that it could not resume from, until it has returned a reset.
    lost: Option<EventCursor>,
    wake: Wake,
}

enum Wake {
    Published(watch::Receiver<()>),
    Jobs(Arc<Bell>),
}

impl FeedReader {
    pub(crate) fn new(feed: Feed, filter: FeedFilter, after: Option<EventCursor>) -> Self {
        let wake = if filter.jobs.is_some() {
            Wake::Jobs(Arc::new(Bell::new()))
        } else {
            Wake::Published(feed.inner.published.subscribe())
        };
        let mut state = feed.state();
        let now = state.ring.next();
        let next = after.map_or(now, |after| after.seq.saturating_add(1));
        let is_here = |after: &EventCursor| {
            after.node == feed.inner.node && state.ring.from(next, 0).is_some()
        };
        let lost = after.filter(|after| !is_here(after));
        if let Wake::Jobs(bell) = &wake {
            for job in filter.jobs.iter().flatten() {
                state.bells.entry(*job).or_default().push(Arc::clone(bell));
            }
            if lost.is_none() && next < now {
                bell.mark(next);
            }
        }
        drop(state);
        Self { feed, filter, next, lost, wake }
    }

    /// Waits for events, and returns at most `most` of them, or 1 if that is 0. Cancelling loses nothing.
    pub async fn next(&mut self, most: usize) -> News {
        loop {
            if let Some(news) = self.try_next(most) {
                return news;
            }
            self.ready().await;
        }
    }

    /// Returns events that are already published, at most `most` of them, or 1 if that is 0; `None` if there
    /// are none.
    pub fn try_next(&mut self, most: usize) -> Option<News> {
        if self.lost.take().is_some() {
            return Some(self.reset());
        }
        if let Wake::Published(published) = &mut self.wake {
            published.mark_unchanged();
        }
        // A publication after this wakes the reader again.
        let upto = {
            let state = self.feed.state();
            if let Wake::Jobs(bell) = &self.wake {
                self.next = self.next.max(bell.take()?);
            }
            state.ring.next()
        };
        let mut events = Vec::new();
        while self.next < upto {
            let Some(batches) = self.feed.state().ring.from(self.next, BATCHES) else {
                return Some(self.reset());
            };
            for (first, batch) in batches {
                if first >= upto {
                    break;
                }
                let taken = self.filter.takes_batch(&batch);
                if taken && batch.is_gap() {
                    return Some(self.reset());
                }
                let looked_at = usize::try_from(self.next - first).unwrap_or(usize::MAX);
                if taken {
                    for (seq, event) in (first..).zip(&batch.events).skip(looked_at) {
                        if !self.filter.takes(&event.what) {
                            continue;
                        }
                        if events.len() >= most.max(1) {
                            self.next = seq;
                            if let Wake::Jobs(bell) = &self.wake {
                                bell.mark(seq);
                            }
                            return Some(News::Events(events));
                        }
                        let cursor = EventCursor { node: self.feed.inner.node, seq };
                        events.push(FeedEvent {
                            cursor,
                            origin: batch.origin,
                            event: event.clone(),
                        });
                    }
                }
                self.next = first + batch.numbers() as u64;
            }
        }
        if events.is_empty() { None } else { Some(News::Events(events)) }
    }

    /// Resolves when there may be something to read, after [`Self::try_next`] returned `None`.
    pub async fn ready(&mut self) {
        match &mut self.wake {
            Wake::Published(published) => {
                // An error would mean that the feed is gone, but this reader holds it.
                let _ = published.changed().await;
            }
            Wake::Jobs(bell) => bell.rung.notified().await,
        }
    }

    /// The cursor from which another reader with this filter reads on as this one would. After a reset,
    /// nothing is missing from it on.
    pub fn cursor(&mut self) -> EventCursor {
        if let Some(after) = self.lost {
            return after;
        }
        if let Wake::Jobs(bell) = &self.wake {
            // The bell is marked under the lock, so every event before its mark is for other readers.
            let state = self.feed.state();
            let from = bell.from.load(Ordering::Acquire).min(state.ring.next());
            self.next = self.next.max(from);
        }
        EventCursor { node: self.feed.inner.node, seq: self.next.saturating_sub(1) }
    }

    fn reset(&mut self) -> News {
        let state = self.feed.state();
        if let Wake::Jobs(bell) = &self.wake {
            bell.take();
        }
        self.next = state.ring.next();
        drop(state);
        News::Reset
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        let Wake::Jobs(own) = &self.wake else { return };
        let mut state = self.feed.state();
        for job in self.filter.jobs.iter().flatten() {
            if let Some(bells) = state.bells.get_mut(job) {
                bells.retain(|bell| !Arc::ptr_eq(bell, own));
                if bells.is_empty() {
                    state.bells.remove(job);
                }
            }
        }
    }
}
