//! Due times in a time zone.
//!
//! Clock changes follow the rule of Vixie cron:
//!
//! - An expression whose minute or hour field starts with `*` is a *wildcard* one. It is due at each
//!   instant whose wall clock matches: `*/15 * * * *` every 15 minutes of real time through both
//!   changes. A matching time that the clock skips does not occur; one that it shows twice occurs twice.
//! - Every other expression names *fixed* times. Each is due at the first instant at which the wall
//!   clock shows it or has passed it: a time that is skipped runs right after the jump, once with
//!   all others that the same jump skips; a time shown twice runs the first time only.
//!
//! The seconds field does not matter here. Vixie cron treats a jump of three hours or more as a manually
//! set clock; here it is a jump like any other (Apia skipped a day).
//!
//! Intervals follow elapsed time, independent of any zone.

use std::time::Duration;

use orx_model::schedule::{Due, When};
use orx_model::{Name, Timestamp, limits};

use crate::cron::{Cron, CronError};
use crate::zone::NamedZone;

/// Shortest interval, in milliseconds.
const EVERY_MIN_MS: u64 = When::EVERY_MIN_MS;

/// What makes a schedule due, with parsed texts. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueRule {
    /// A cron expression on the wall clock of a zone.
    Cron(Cron),
    /// A fixed interval of elapsed time, counted from 1970-01-01 UTC plus the offset.
    Interval {
        /// Milliseconds, 1000 to ten years.
        every_ms: u64,
        /// Milliseconds, less than `every_ms`.
        offset_ms: u64,
    },
    /// At one instant.
    Once(Timestamp),
}

impl TryFrom<&When> for DueRule {
    type Error = CronError;

    fn try_from(when: &When) -> Result<Self, CronError> {
        Ok(match when {
            When::Cron(expr) => Self::Cron(expr.as_str().parse()?),
            When::Interval { every_ms, offset_ms } => {
                Self::Interval { every_ms: *every_ms, offset_ms: *offset_ms }
            }
            When::Once(at) => Self::Once(*at),
        })
    }
}

impl DueRule {
    /// The first value out of range, in words: an interval shorter than a second or longer than ten years, or
    /// an offset as long as it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self::Interval { every_ms, offset_ms } = self else { return Ok(()) };
        let most = limits::DELAY_MAX.as_millis() as u64;
        if !(EVERY_MIN_MS..=most).contains(every_ms) {
            return Err(format!(
                "expected an interval of 1 s to ten years (`every_ms` {EVERY_MIN_MS} to {most}), \
                 found {every_ms}"
            ));
        }
        if offset_ms >= every_ms {
            return Err(format!(
                "expected `offset_ms` less than `every_ms` {every_ms}, found {offset_ms}"
            ));
        }
        Ok(())
    }
}

/// Everything that decides when a schedule is due. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    pattern: DueRule,
    zone: NamedZone,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    jitter_ms: u64,
    seed: u64,
}

impl Timing {
    /// Due times without bounds and without jitter.
    #[must_use]
    pub fn new(pattern: DueRule, zone: NamedZone) -> Self {
        Self { pattern, zone, start: None, end: None, jitter_ms: 0, seed: 0 }
    }

    /// Limits the slots to `start` to `end`, inclusive.
    #[must_use]
    pub fn between(self, start: Option<Timestamp>, end: Option<Timestamp>) -> Self {
        Self { start, end, ..self }
    }

    /// Adds a delay of up to this many milliseconds after each slot. It is derived from the schedule's id
    /// and the slot, so that it is the same on every node and after every restart.
    #[must_use]
    pub fn with_jitter(self, id: &Name, jitter_ms: u64) -> Self {
        Self { jitter_ms, seed: hash(id.as_str().as_bytes()), ..self }
    }

    pub(crate) fn pattern(&self) -> &DueRule {
        &self.pattern
    }

    pub(crate) fn zone(&self) -> &NamedZone {
        &self.zone
    }

    /// The first slot after an instant.
    #[must_use]
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let just_before =
            self.start.map(|start| Timestamp::from_millis(start.as_millis().saturating_sub(1)));
        let after = just_before.map_or(instant, |before| instant.max(before));
        let slot = match &self.pattern {
            DueRule::Once(at) => (*at > after).then_some(*at),
            DueRule::Interval { every_ms, offset_ms } => {
                next_interval(*every_ms, *offset_ms, after.as_millis())
            }
            DueRule::Cron(expr) => {
                let after = after.as_millis().div_euclid(1_000);
                let at = if expr.is_wildcard() {
                    self.next_elapsed(expr, after)
                } else {
                    self.next_fixed(expr, after)
                };
                at.and_then(|at| at.checked_mul(1_000)).map(Timestamp::from_millis)
            }
        };
        slot.filter(|slot| self.end.is_none_or(|end| *slot <= end))
    }

    /// The first slot after an instant, with its firing time.
    #[must_use]
    pub fn next_due(&self, instant: Timestamp) -> Option<Due> {
        self.next_after(instant).map(|slot| self.due(slot))
    }

    /// Whether a time that the clock shows twice fires twice: true for intervals and wildcard expressions.
    #[must_use]
    pub fn repeats(&self) -> bool {
        match &self.pattern {
            DueRule::Interval { .. } => true,
            DueRule::Cron(expr) => expr.is_wildcard(),
            DueRule::Once(_) => false,
        }
    }

    /// The firing time of a slot.
    #[must_use]
    pub fn due(&self, slot: Timestamp) -> Due {
        if self.jitter_ms == 0 {
            return Due { slot, fire_at: slot };
        }
        // Before the next slot, so that firings stay in order.
        let gap = self.next_after(slot).map_or(u64::MAX, |next| {
            next.as_millis().saturating_sub(slot.as_millis()).max(1).unsigned_abs()
        });
        let choices = self.jitter_ms.saturating_add(1).min(gap);
        let draw = mix(self.seed ^ mix(slot.as_millis() as u64));
        // The high bits of a product: as even as a remainder, and no power of two stands out.
        let delay = (u128::from(draw) * u128::from(choices)) >> 64;
        Due { slot, fire_at: slot.saturating_add(Duration::from_millis(delay as u64)) }
    }

    /// A wildcard expression: the first instant whose wall clock matches. In seconds.
    fn next_elapsed(&self, expr: &Cron, after: i64) -> Option<i64> {
        let offsets = self.zone.offsets();
        let mut segment = offsets.at(after);
        let mut from = after.saturating_add(segment.offset);
        let mut wall = expr.next_wall(from)?;
        loop {
            let at = wall.saturating_sub(segment.offset);
            if at < segment.end {
                return Some(at);
            }
            segment = offsets.next(segment)?;
            let here = segment.start.saturating_add(segment.offset) - 1;
            // The match stays the first unless the clock went back or past it.
            if here < from || here >= wall {
                wall = expr.next_wall(here)?;
            }
            from = here;
        }
    }

    /// Fixed times: the first instant that shows or passes one not yet shown or passed. In seconds.
    fn next_fixed(&self, expr: &Cron, after: i64) -> Option<i64> {
        let offsets = self.zone.offsets();
        expr.next_wall(offsets.highest(after)).map(|wall| offsets.first_reaching(wall))
    }
}

fn next_interval(every_ms: u64, offset_ms: u64, after: i64) -> Option<Timestamp> {
    let (every, offset) = (i128::from(every_ms.max(1)), i128::from(offset_ms));
    let turns = (i128::from(after) - offset).div_euclid(every) + 1;
    i64::try_from(turns * every + offset).ok().map(Timestamp::from_millis)
}

/// FNV-1a. Written out: due times and ids must not change with a compiler or a library.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finish of splitmix64: one changed bit changes half of all.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
