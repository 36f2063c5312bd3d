//! The clocks of the system. The one place of the project that reads the wall clock: all others are
//! given a [`Clock`], or a function or a time in its place.

use std::time::{Duration, Instant, SystemTime};

use orx_coordinator::{Clock, Now};
use orx_model::Timestamp;

/// [`SystemClock`] reads both clocks within this time.
const READ_WITHIN: Duration = Duration::from_millis(500);

/// The wall clock, and a monotonic clock that starts at zero with this value.
pub(crate) struct SystemClock {
    started: Instant,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        loop {
            let before = self.started.elapsed();
            let wall = wall();
            let mono = self.started.elapsed();
            // A process that was stopped between the two readings reads again: times of two moments
            // look like a wall clock that was set.
            if mono - before < READ_WITHIN {
                return Now { wall, mono };
            }
        }
    }
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn wall() -> Timestamp {
    Timestamp::from_millis(i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX))
}

/// The wall clock, in full precision; zero before 1970.
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
