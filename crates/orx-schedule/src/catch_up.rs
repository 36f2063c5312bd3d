//! Handling of slots that became due while no leader could fire them.

use std::time::Duration;

use orx_model::Timestamp;
use orx_model::schedule::{CatchUp, Due};

use crate::timing::{DueRule, Timing};

/// How to handle missed slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUpRule {
    /// How many of them are caught up.
    pub catch_up: CatchUp,
    /// Age up to which slots are caught up.
    pub window: Duration,
}

impl CatchUpRule {
    /// Delay up to which the newest slot is on time and fires under any policy: by then a new leader has
    /// taken over.
    pub const ON_TIME: Duration = Duration::from_secs(60);
    /// Delay up to which older slots are on time: a schedule of every second survives a slow second, and
    /// does not fire a minute of slots at once.
    pub const PROMPT: Duration = Duration::from_secs(2);
    /// The most missed slots recorded one by one; older ones share one row.
    pub const MISSED_ROWS: usize = 100;
    /// The limit for counting the slots of a range.
    pub const COUNT_MAX: u64 = 10_000;
}

/// A slot to fire now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueSlot {
    /// The due time.
    pub slot: Timestamp,
    /// Its firing time, jitter included.
    pub fire_at: Timestamp,
    /// Whether it was missed and is caught up now.
    pub caught_up: bool,
}

/// Missed slots that are recorded as one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissedRange {
    /// The oldest slot.
    pub first: Timestamp,
    /// The newest slot; may be the same.
    pub last: Timestamp,
    /// Number of slots, up to the counting limit.
    pub count: u64,
    /// `false`: there were more than `count`.
    pub exact: bool,
}

/// The decision on every slot up to now, for one transaction that sets `next` as the new due time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatchUpPlan {
    /// All slots that were missed before those in `missed`.
    pub range: Option<MissedRange>,
    /// Slots to record as missed, oldest first; at most [`CatchUpRule::MISSED_ROWS`].
    pub missed: Vec<Timestamp>,
    /// Slots to fire, oldest first; at most [`CatchUp::ALL_MAX`] and the few that are on time.
    pub fire: Vec<DueSlot>,
    /// The next slot.
    pub next: Option<Due>,
}

/// Decides on every slot after `handled`, up to now. `handled` is the newest slot that has its row
/// in the ledger, or the time when the schedule was created or resumed.
#[must_use]
pub fn missed(
    timing: &Timing,
    handled: Timestamp,
    now: Timestamp,
    rule: CatchUpRule,
) -> CatchUpPlan {
    let limit = match rule.catch_up {
        CatchUp::None => 0,
        CatchUp::One => 1,
        CatchUp::All(most) => most.min(CatchUp::ALL_MAX) as usize,
    };
    // Slots are 1 s apart or more, so of those on time there are few.
    let on_time_most = 2 + CatchUpRule::PROMPT.as_secs() as usize;
    let wanted = limit + on_time_most + CatchUpRule::MISSED_ROWS + 1;
    let mut slots = latest(timing, handled, now, wanted);

    let mut plan = CatchUpPlan::default();
    // The newest may still wait for its share of the jitter.
    if let Some(due) = slots.last().map(|slot| timing.due(*slot)).filter(|due| due.fire_at > now) {
        slots.pop();
        plan.next = Some(due);
    } else {
        plan.next = timing.next_due(now.max(handled));
    }

    let mut caught_up = 0;
    let mut newest = true;
    while let Some(slot) = slots.pop() {
        let fire_at = timing.due(slot).fire_at;
        let late = now.saturating_since(fire_at);
        let on_time = late <= if newest { CatchUpRule::ON_TIME } else { CatchUpRule::PROMPT };
        newest = false;
        let in_window = now.saturating_since(slot) <= rule.window;
        // One run is enough; a slot that is on time is that run.
        let enough = match rule.catch_up {
            CatchUp::One => !plan.fire.is_empty(),
            CatchUp::None | CatchUp::All(_) => caught_up >= limit,
        };
        if on_time {
            plan.fire.push(DueSlot { slot, fire_at, caught_up: false });
        } else if in_window && !enough {
            caught_up += 1;
            plan.fire.push(DueSlot { slot, fire_at, caught_up: true });
        } else if in_window && plan.missed.len() < CatchUpRule::MISSED_ROWS {
            plan.missed.push(slot);
        } else {
            plan.range = timing.next_after(handled).map(|first| {
                let (count, exact) = count(timing, handled, slot);
                MissedRange { first, last: slot, count, exact }
            });
            break;
        }
    }
    plan.fire.reverse();
    plan.missed.reverse();
    plan
}

/// The newest `most` slots after `after` and up to `until`, oldest first. Takes some walks of twice
/// as many, however long the time between.
pub(crate) fn latest(
    timing: &Timing,
    after: Timestamp,
    until: Timestamp,
    most: usize,
) -> Vec<Timestamp> {
    let cap = 2 * most;
    // All slots after `from`, or one more than the cap.
    let walk = |from: Timestamp| {
        let mut slots = Vec::new();
        let mut at = from;
        while slots.len() <= cap {
            match timing.next_after(at).filter(|slot| *slot <= until) {
                Some(slot) => slots.push(slot),
                None => break,
            }
            at = slots.last().copied().unwrap_or(at);
        }
        slots
    };
    let newest = |mut slots: Vec<Timestamp>| slots.split_off(slots.len().saturating_sub(most));

    let mut slots = walk(after);
    if slots.len() <= cap {
        return newest(slots);
    }
    // From `low` there are too many, from `high` too few.
    let (mut low, mut high) = (after.as_millis(), until.as_millis());
    // Most schedules are even: three quarters of the stretch that held them all holds enough.
    let span = match (slots.first(), slots.last()) {
        (Some(first), Some(last)) => last.as_millis() - first.as_millis(),
        _ => 0,
    };
    let mut guess = high.saturating_sub(span / 4 * 3);
    while high - low > 1 {
        let middle = if low < guess && guess < high { guess } else { low + (high - low) / 2 };
        guess = low;
        slots = walk(Timestamp::from_millis(middle));
        if slots.len() > cap {
            low = middle;
        } else if slots.len() < most {
            high = middle;
        } else {
            break;
        }
    }
    newest(slots)
}

/// How many slots after `after` and up to `until`, and whether that is exact.
fn count(timing: &Timing, after: Timestamp, until: Timestamp) -> (u64, bool) {
    if let DueRule::Interval { every_ms, .. } = timing.pattern() {
        let Some(first) = timing.next_after(after).filter(|first| *first <= until) else {
            return (0, true);
        };
        let span = until.as_millis().abs_diff(first.as_millis());
        return (span / (*every_ms).max(1) + 1, true);
    }
    let (mut at, mut count) = (after, 0);
    while let Some(slot) = timing.next_after(at).filter(|slot| *slot <= until) {
        if count == CatchUpRule::COUNT_MAX {
            return (count, false);
        }
        (at, count) = (slot, count + 1);
    }
    (count, true)
}
