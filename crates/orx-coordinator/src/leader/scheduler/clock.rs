//! Detects that the wall clock was set, by comparing its progress with that of the monotonic clock. No I/O.

use std::time::Duration;

use orx_model::Timestamp;

use crate::Now;

/// Smallest deviation that counts as a jump. Slewing, and the moment between the readings of the two
/// clocks, explain a smaller one.
pub(crate) const NOTICED: Duration = Duration::from_secs(2);

/// A jump of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jump {
    /// What the wall clock would show now without the jump.
    pub(crate) before: Timestamp,
    /// Length of the jump in milliseconds; negative if the clock was set back.
    pub(crate) by_ms: i64,
}

impl Jump {
    /// The jump from the expected time `before` to the actual time `now`. `None` if they differ by less
    /// than [`NOTICED`].
    #[must_use]
    pub(crate) fn between(before: Timestamp, now: Timestamp) -> Option<Self> {
        let by_ms = now.as_millis().saturating_sub(before.as_millis());
        (u128::from(by_ms.unsigned_abs()) >= NOTICED.as_millis()).then_some(Self { before, by_ms })
    }

    /// Whether the clock was set back.
    #[must_use]
    pub(crate) fn is_back(&self) -> bool {
        self.by_ms < 0
    }

    /// The jump for log lines: `forward by 10m`, `back by 2h`.
    #[must_use]
    pub(crate) fn words(&self) -> String {
        orx_model::time::jump_words(self.by_ms)
    }
}

/// Compares each reading of the clocks with the last one.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    last: Option<Now>,
}

impl Watch {
    /// Returns the jump of the wall clock since the last call, if it jumped.
    pub(crate) fn look(&mut self, now: Now) -> Option<Jump> {
        let last = self.last.replace(now)?;
        let passed = now.mono.saturating_sub(last.mono);
        Jump::between(last.wall.saturating_add(passed), now.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64, mono: u64) -> Now {
        Now { wall: Timestamp::from_millis(wall), mono: Duration::from_millis(mono) }
    }

    #[test]
    fn a_clock_that_runs_with_the_monotonic_clock_has_no_jump() {
        let mut watch = Watch::default();
        let looks =
            [(1_000_000, 5_000), (1_000_000, 5_000), (1_060_000, 65_000), (1_061_500, 65_000)];
        for (wall, mono) in looks {
            assert_eq!(watch.look(at(wall, mono)), None);
        }
    }

    #[test]
    fn a_jump_is_returned_once_with_the_expected_time() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(at(1_000_000, 0)), None);
        let forward = Jump { before: Timestamp::from_millis(1_005_000), by_ms: 600_000 };
        assert_eq!(watch.look(at(1_605_000, 5_000)), Some(forward));
        assert_eq!(watch.look(at(1_610_000, 10_000)), None);
        let back = Jump { before: Timestamp::from_millis(1_611_000), by_ms: -7_200_000 };
        assert_eq!(watch.look(at(-5_589_000, 11_000)), Some(back));
        assert_eq!(
            (back.words().as_str(), forward.words().as_str()),
            ("back by 2h", "forward by 10m")
        );
    }
}
