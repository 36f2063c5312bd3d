//! Tracks whether the store takes writes. A service reports a failed write here; one task then checks the
//! store until it takes writes again, and publishes its condition to the clients that wait for jobs. Writes
//! that only take long are tracked as well, because heartbeats wait behind them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use orx_model::Backoff;
use orx_model::wire::Condition;
use orx_store::StoreError;
use orx_transport::Wakeups;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{Context, Now};

/// Between tries while the store takes no writes.
pub(crate) const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
/// The condition becomes [`Condition::StoreAway`] after this long without a write.
const AWAY_AFTER: Duration = Duration::from_secs(2);

pub(crate) struct Health {
    wakeups: Wakeups,
    /// Since when the store takes no writes.
    since: Mutex<Option<Duration>>,
    doubted: Notify,
    /// When it last took writes again, on the monotonic clock in milliseconds.
    back: AtomicU64,
    /// The writes under way that [`Self::watch_write`] watches: when each began, and its number.
    under_way: Mutex<(Vec<(u64, Duration)>, u64)>,
}

/// A write under way. Ends when dropped.
pub(crate) struct WatchedWrite<'a> {
    context: &'a Context,
    number: u64,
    began: Duration,
}

impl Drop for WatchedWrite<'_> {
    fn drop(&mut self) {
        let health = &self.context.health;
        health.under_way.lock().0.retain(|(number, _)| *number != self.number);
        let now = self.context.now();
        if now.mono.saturating_sub(self.began) >= self.context.settings.heartbeat {
            health.count_silence_from(now);
        }
    }
}

impl Health {
    pub(crate) fn new(wakeups: Wakeups) -> Self {
        Self {
            wakeups,
            since: Mutex::default(),
            doubted: Notify::new(),
            back: AtomicU64::new(0),
            under_way: Mutex::default(),
        }
    }

    /// Watches a write that records heartbeats, or that takes as long as one that does. If it takes longer
    /// than the interval of heartbeats, those that came meanwhile could not be recorded in time.
    pub(crate) fn watch_write(context: &Context) -> WatchedWrite<'_> {
        let began = context.now().mono;
        let mut under_way = context.health.under_way.lock();
        under_way.1 += 1;
        let number = under_way.1;
        under_way.0.push((number, began));
        WatchedWrite { context, number, began }
    }

    /// Whether heartbeats may wait to be recorded for longer than their interval: the store failed and took
    /// no write since, or a watched write has been under way for that long.
    pub(crate) fn holds_up_heartbeats(&self, now: Duration, heartbeat: Duration) -> bool {
        let is_slow = |(_, began): &(u64, Duration)| now.saturating_sub(*began) >= heartbeat;
        self.is_doubted() || self.under_way.lock().0.iter().any(is_slow)
    }

    fn count_silence_from(&self, now: Now) {
        let ms = u64::try_from(now.mono.as_millis()).unwrap_or(u64::MAX);
        self.back.fetch_max(ms, Ordering::AcqRel);
    }

    /// A call failed, and its service will retry it. `now`: both clocks at the failure.
    pub(crate) fn failed(&self, error: &StoreError, now: Now) {
        let since = {
            let mut since = self.since.lock();
            if since.is_none() {
                tracing::warn!(%error, "the store does not take writes, trying again");
            }
            *since.get_or_insert(now.mono)
        };
        match error {
            StoreError::Full => self.wakeups.set_store_condition(Condition::StoreFull),
            _ if now.mono.saturating_sub(since) >= AWAY_AFTER => {
                self.wakeups.set_store_condition(Condition::StoreAway);
            }
            _ => {}
        }
        self.doubted.notify_one();
    }

    /// A call failed, and no write succeeded since.
    pub(crate) fn is_doubted(&self) -> bool {
        self.since.lock().is_some()
    }

    /// Since when heartbeats can be recorded. Silence before does not count.
    pub(crate) fn back_at(&self) -> Duration {
        Duration::from_millis(self.back.load(Ordering::Acquire))
    }

    fn is_back(&self, now: Now, heartbeat: Duration) {
        self.wakeups.set_store_condition(Condition::Well);
        let since = self.since.lock().take();
        let Some(since) = since else { return };
        tracing::info!("the store takes writes again");
        // A shorter outage fails one heartbeat at most, and no lease runs out.
        if now.mono.saturating_sub(since) >= heartbeat {
            self.count_silence_from(now);
        }
    }
}

/// Checks whether the store takes writes, from a failed call until the next success.
///
/// # Errors
/// The store can be used no longer.
pub(crate) async fn watch(context: &Context) -> Result<(), StoreError> {
    let health = &context.health;
    loop {
        // Callers that enqueue jobs may find it full first.
        while !health.is_doubted() && health.wakeups.store_condition().is_well() {
            tokio::select! {
                biased;
                () = health.doubted.notified() => {}
                () = health.wakeups.store_unwell() => {}
            }
        }
        let mut backoff = RETRY;
        loop {
            match context.store.check_writable().await {
                Ok(()) => break health.is_back(context.now(), context.settings.heartbeat),
                Err(error) if is_the_end(&error) => return Err(error),
                Err(error) => health.failed(&error, context.now()),
            }
            tokio::time::sleep(backoff.failed()).await;
        }
    }
}

/// Whether no further call can succeed.
pub(crate) fn is_the_end(error: &StoreError) -> bool {
    matches!(error, StoreError::Failed | StoreError::Closed | StoreError::Moved { .. })
}
