//! The server's time, estimated from its answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use orx_model::Timestamp;

use super::Now;

/// The wall clock of the server. Deadlines of jobs are in its time, and people read the times that a
/// worker reports beside those of the server.
#[derive(Clone)]
pub(super) struct ServerClock {
    own: Now,
    /// Server's time minus own time, in milliseconds.
    offset_ms: Arc<AtomicI64>,
}

impl ServerClock {
    pub(super) fn new(own: Now) -> Self {
        Self { own, offset_ms: Arc::default() }
    }

    fn now(&self) -> Timestamp {
        let offset = self.offset_ms.load(Ordering::Relaxed);
        Timestamp::from_millis((self.own)().as_millis().saturating_add(offset))
    }

    pub(super) fn as_now(&self) -> Now {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }

    /// Adjusts the offset by an answer that contains the server's time and arrived just now,
    /// `round_trip` after its request was sent.
    pub(super) fn adjust(&self, server: Timestamp, round_trip: Duration) {
        if server == Timestamp::default() {
            // The answer contains no time.
            return;
        }
        let half = round_trip / 2;
        let error = server.saturating_add(half).as_millis().saturating_sub(self.now().as_millis());
        // An error that the round trip can explain changes nothing, so that the times of one attempt
        // stay in order. Rounding accounts for a millisecond.
        if u128::from(error.unsigned_abs()) > half.as_millis() + 1 {
            self.offset_ms.fetch_add(error, Ordering::Relaxed);
        }
    }
}
