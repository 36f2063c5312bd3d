//! Handles jumps of the wall clock: waits of jobs stay as long as they were, schedules continue from the new
//! time, and the janitor deletes nothing by age while the clock may be wrong.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orx_model::Name;
use orx_store::{ClockJump, ClockNote, Result};

use super::clock::{self, Jump};
use super::plan;
use super::run::{FIRE_MOST, Scheduler};
use crate::Now;

/// How often the scheduler writes the [`ClockNote`], and reads schedules whose position is after the clock.
pub(super) const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// For this long after the clock was set forward, or after no node led for [`LEADERLESS_LONG`], the janitor
/// deletes nothing by age: an operator notices a wrong clock by then.
const RETAIN_FOR: Duration = Duration::from_secs(60 * 60);
const LEADERLESS_LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// The jumps of the wall clock that the scheduler has noticed.
#[derive(Debug, Default)]
pub(super) struct ClockState {
    watch: clock::Watch,
    /// A jump that is not applied to the store yet.
    jump: Option<Jump>,
    /// The note as last written to the store, for the next leader.
    note: ClockNote,
    /// When to write the note next, on the monotonic clock.
    pub(super) note_at: Duration,
    /// Schedules whose firing the store did not apply, for instance because one of the slots already ran.
    pub(super) unfired: BTreeSet<Name>,
    /// The `unfired` of the last pass: this pass decides them again, without the slots that ran.
    pub(super) retried: BTreeSet<Name>,
    /// Length of a forward jump in milliseconds, until the slots that it made due are decided.
    pub(super) forward_by: Option<i64>,
}

impl ClockState {
    /// Begins a term; `note` is from the previous leader. Returns the time, on the monotonic clock, before
    /// which nothing may be deleted by age.
    pub(super) fn begin(&mut self, note: Option<ClockNote>, now: Now) -> Option<Duration> {
        self.note_at = now.mono;
        let note = note?;
        self.note = note;
        let mut retain_until = None;
        if let Some((at, 1..)) = note.last {
            let left = RETAIN_FOR.saturating_sub(now.wall.saturating_since(at));
            retain_until = Some(now.mono + left);
        }
        match Jump::between(note.seen, now.wall) {
            Some(jump) if jump.is_back() => {
                let by_ms = jump.by_ms;
                tracing::warn!(by_ms, "the clock went {} since a node last led", jump.words());
                self.jump = Some(jump);
            }
            Some(_) if now.wall.saturating_since(note.seen) > LEADERLESS_LONG => {
                retain_until = Some(now.mono + RETAIN_FOR);
            }
            Some(_) | None => {}
        }
        retain_until
    }

    /// Records a jump. Returns the same as [`Self::begin`].
    fn noticed(&mut self, jump: Jump, now: Now) -> Option<Duration> {
        self.jump = match self.jump {
            Some(first) => Jump::between(first.before, now.wall),
            None => Some(jump),
        };
        self.forward_by = Some(jump.by_ms).filter(|_| !jump.is_back());
        (!jump.is_back()).then_some(now.mono + RETAIN_FOR)
    }
}

impl Scheduler {
    /// Checks whether the clock was set since the last pass.
    pub(super) fn check_clock(&mut self, now: Now) {
        let Some(jump) = self.clock.watch.look(now) else { return };
        tracing::warn!(by_ms = jump.by_ms, "the clock of this machine was set {}", jump.words());
        if let Some(retain_until) = self.clock.noticed(jump, now) {
            self.context.retain_until(retain_until);
        }
    }

    /// After a jump: shifts the waits of jobs, so that they stay as long as they were, and continues
    /// schedules from the new time. Every [`CLOCK_EVERY`]: writes the clock note for the next leader.
    ///
    /// # Errors
    /// Of the store. The next pass does the rest.
    pub(super) async fn apply_clock(&mut self, now: Now) -> Result<()> {
        let jump = self.clock.jump;
        if jump.is_none() && now.mono < self.clock.note_at {
            return Ok(());
        }
        let store = Arc::clone(&self.context.store);
        if let Some(Jump { before, by_ms }) = jump {
            let waits =
                store.clock_was_set(ClockJump { before, by_ms }, self.term, now.wall).await?;
            if waits > 0 {
                tracing::info!(waits, "waits of jobs stay as long as they were");
                self.jobs_became_ready();
            }
            self.clock.note.jumps += 1;
            self.clock.note.last = Some((now.wall, by_ms));
            self.clock.jump = None;
            self.next_due = store.next_due().await?;
            self.next_fire = Some(now.wall);
        }
        self.clock.note.seen = now.wall;
        store.note_clock(self.clock.note, self.term).await?;
        self.rewind_schedules(jump.map(|jump| jump.by_ms), now).await?;
        self.clock.note_at = now.mono + CLOCK_EVERY;
        Ok(())
    }

    /// Sets schedules whose position is after the clock back to now.
    async fn rewind_schedules(&mut self, by_ms: Option<i64>, now: Now) -> Result<()> {
        let latest = now.wall.saturating_add(clock::NOTICED);
        loop {
            let records = self.context.store.schedules_ahead(latest, FIRE_MOST).await?;
            let mut rewinds = Vec::with_capacity(records.len());
            for record in &records {
                let ran = self.ran(record, now.wall, now).await?;
                let handled = record.plan.position.handled.as_millis();
                let back_ms = now.wall.as_millis().saturating_sub(handled);
                let by_ms = by_ms.filter(|by_ms| *by_ms < 0).unwrap_or(back_ms);
                rewinds.push(plan::rewind(record, &ran, by_ms, now.wall));
            }
            if rewinds.is_empty() {
                return Ok(());
            }
            tracing::warn!(
                schedules = rewinds.len(),
                "the positions of schedules were after the clock: they continue from now"
            );
            let done = self.context.store.rewind(rewinds, self.term, now.wall).await?;
            self.next_fire = Some(now.wall);
            // The store skips schedules that changed meanwhile. They are read again with the next note.
            if records.len() < FIRE_MOST as usize || !done.contains(&true) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use orx_model::Timestamp;

    use super::*;

    const HOUR: u64 = 3_600;

    /// `seconds` after a node last led, `since` seconds after this node began to lead.
    fn at(seconds: i64, since: u64) -> Now {
        let wall = Timestamp::from_millis((1_000_000 + seconds) * 1_000);
        Now { wall, mono: Duration::from_secs(since) }
    }

    fn seen(last: Option<(Timestamp, i64)>) -> Option<ClockNote> {
        Some(ClockNote { seen: at(0, 0).wall, last, ..ClockNote::default() })
    }

    /// Until when nothing is deleted by age, and the jump to apply, in milliseconds.
    fn begun(note: Option<ClockNote>, now: Now) -> (Option<Duration>, Option<i64>) {
        let mut state = ClockState::default();
        let until = state.begin(note, now);
        assert_eq!(state.note_at, now.mono);
        (until, state.jump.map(|jump| jump.by_ms))
    }

    #[test]
    fn a_short_time_without_a_leader_changes_nothing() {
        assert_eq!(begun(None, at(0, 5)), (None, None));
        assert_eq!(begun(seen(None), at(60, 5)), (None, None));
        let day = 24 * HOUR as i64;
        assert_eq!(begun(seen(None), at(day, 5)), (None, None));
    }

    #[test]
    fn after_more_than_a_day_without_a_leader_nothing_is_deleted_for_an_hour() {
        let now = at(24 * HOUR as i64 + 1, 5);
        assert_eq!(begun(seen(None), now), (Some(Duration::from_secs(HOUR + 5)), None));
    }

    #[test]
    fn a_clock_that_went_back_while_no_node_led_is_a_jump() {
        assert_eq!(begun(seen(None), at(-60, 5)), (None, Some(-60_000)));
    }

    #[test]
    fn the_hour_after_a_jump_forward_outlives_its_leader() {
        let jumped = |by_ms| seen(Some((at(-1_200, 0).wall, by_ms)));
        let left = Duration::from_secs(HOUR - 1_200 + 5);
        assert_eq!(begun(jumped(9_000), at(0, 5)), (Some(left), None));
        assert_eq!(begun(jumped(-9_000), at(0, 5)), (None, None));
        // It is over, and the hour before it does not come again.
        let long_ago = seen(Some((at(-9_000, 0).wall, 9_000)));
        assert_eq!(begun(long_ago, at(0, 5)), (Some(Duration::from_secs(5)), None));
    }

    #[test]
    fn a_jump_forward_holds_deletions_back_and_one_back_does_not() {
        let mut state = ClockState::default();
        let ahead = Jump { before: at(0, 0).wall, by_ms: 9_000 };
        let until = Duration::from_secs(HOUR + 5);
        assert_eq!(state.noticed(ahead, at(9, 5)), Some(until));
        assert_eq!((state.jump, state.forward_by), (Some(ahead), Some(9_000)));

        let mut state = ClockState::default();
        let back = Jump { before: at(0, 0).wall, by_ms: -9_000 };
        assert_eq!(state.noticed(back, at(-9, 5)), None);
        assert_eq!((state.jump, state.forward_by), (Some(back), None));
    }

    #[test]
    fn two_jumps_before_the_store_has_the_first_are_one() {
        let mut state = ClockState::default();
        state.noticed(Jump { before: at(0, 0).wall, by_ms: 9_000 }, at(9, 5));
        state.noticed(Jump { before: at(9, 0).wall, by_ms: 20_000 }, at(29, 5));
        assert_eq!(state.jump, Some(Jump { before: at(0, 0).wall, by_ms: 29_000 }));
        state.noticed(Jump { before: at(29, 0).wall, by_ms: -29_000 }, at(0, 5));
        assert_eq!(state.jump, None);
    }
}
