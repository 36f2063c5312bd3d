//! Keeps the counters of a node up to date with its feed.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use orx_feed::{Feed, FeedFilter, News};
use orx_model::Timestamp;
use orx_model::event::EventKind;
use orx_model::wire::{Percentiles, Rates, StatusCounts};
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::counters::Counters;
use crate::ControlPanel;

/// Events are gathered for this long: the feed holds far more than come in that time.
const GATHER: Duration = Duration::from_millis(250);
/// Events taken from the feed under one lock.
const EVENTS: usize = 1_000;

/// The counters, and the task that reads the feed for them.
#[derive(Default)]
pub(crate) struct Counting {
    started: OnceLock<(Arc<Mutex<Counters>>, AbortHandle)>,
}

impl Drop for Counting {
    fn drop(&mut self) {
        if let Some((_, task)) = self.started.get() {
            task.abort();
        }
    }
}

impl Counting {
    pub(crate) fn read(
        &self,
        panel: &ControlPanel,
    ) -> (Rates, StatusCounts, Percentiles, Percentiles) {
        let now = panel.now();
        match self.started.get() {
            Some((counters, _)) => counters.lock().read(now),
            None => Counters::new(now).read(now),
        }
    }
}

impl ControlPanel {
    /// Begins to count accepted and ended jobs for overviews, unless it has begun before. A server calls
    /// it at its start, so that its first overview shows the last minutes. Must be called within a tokio
    /// runtime.
    pub fn count_events(&self) {
        self.inner.live.counters.started.get_or_init(|| {
            let counters = Arc::new(Mutex::new(Counters::new(self.now())));
            let (feed, now) = (self.feed().clone(), Arc::clone(&self.inner.now));
            let task = tokio::spawn(count(feed, now, Arc::clone(&counters)));
            (counters, task.abort_handle())
        });
    }
}

async fn count(
    feed: Feed,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    counters: Arc<Mutex<Counters>>,
) {
    let mut reader = feed.read(FeedFilter::all().kinds([EventKind::Job]));
    loop {
        while let Some(news) = reader.try_next(EVENTS) {
            let mut counters = counters.lock();
            match news {
                News::Reset => counters.gap(now()),
                News::Events(events) => counters.count(events.iter().map(|it| &it.event), now()),
            }
        }
        reader.ready().await;
        tokio::time::sleep(GATHER).await;
    }
}
