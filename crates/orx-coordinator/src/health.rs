//! Tracks whether the store takes writes. A service reports a failed write here; one task then checks the
//! store until it takes writes again, and publishes its condition to the clients that wait for jobs.

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
}

impl Health {
    pub(crate) fn new(wakeups: Wakeups) -> Self {
        Self { wakeups, since: Mutex::default(), doubted: Notify::new(), back: AtomicU64::new(0) }
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
            let ms = u64::try_from(now.mono.as_millis()).unwrap_or(u64::MAX);
            self.back.store(ms, Ordering::Release);
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
