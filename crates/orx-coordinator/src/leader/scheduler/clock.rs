//! Whether the wall clock was set: its progress is compared with the monotonic clock's. No I/O.

use std::time::Duration;

use orx_model::Timestamp;

use crate::Now;

/// A clock that is apart from where it should stand by less than this was not set: it is slewed, and
/// its two readings are not of the same moment.
pub const NOTICED: Duration = Duration::from_secs(2);

/// The clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// What it would show now, had it not been.
    pub before: Timestamp,
    /// By so many milliseconds, back where it is less than nothing.
    pub by_ms: i64,
}

impl Jump {
    /// From where it should stand to where it does, if that is a jump.
    #[must_use]
    pub fn between(before: Timestamp, now: Timestamp) -> Option<Self> {
        let by_ms = now.as_millis().saturating_sub(before.as_millis());
        (u128::from(by_ms.unsigned_abs()) >= NOTICED.as_millis()).then_some(Self { before, by_ms })
    }

    #[must_use]
    pub fn is_back(&self) -> bool {
        self.by_ms < 0
    }

    /// As a person reads it: `ahead by 10m`, `back by 2h`.
    #[must_use]
    pub fn words(&self) -> String {
        orx_model::time::jump_words(self.by_ms)
    }
}

/// Looks at the clock again and again.
#[derive(Debug, Default)]
pub struct Watch {
    last: Option<Now>,
}

impl Watch {
    /// Answers what happened to it since the last look.
    pub fn look(&mut self, now: Now) -> Option<Jump> {
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
    fn a_clock_that_goes_on_as_time_passes_was_not_set() {
        let mut watch = Watch::default();
        let looks =
            [(1_000_000, 5_000), (1_000_000, 5_000), (1_060_000, 65_000), (1_061_500, 65_000)];
        for (wall, mono) in looks {
            assert_eq!(watch.look(at(wall, mono)), None);
        }
    }

    #[test]
    fn a_clock_that_was_set_is_noticed_once_with_where_it_should_stand() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(at(1_000_000, 0)), None);
        let ahead = Jump { before: Timestamp::from_millis(1_005_000), by_ms: 600_000 };
        assert_eq!(watch.look(at(1_605_000, 5_000)), Some(ahead));
        assert_eq!(watch.look(at(1_610_000, 10_000)), None);
        let back = Jump { before: Timestamp::from_millis(1_611_000), by_ms: -7_200_000 };
        assert_eq!(watch.look(at(-5_589_000, 11_000)), Some(back));
        assert_eq!((back.words().as_str(), ahead.words().as_str()), ("back by 2h", "ahead by 10m"));
    }
}
