//! What the scheduler does about a wall clock that is set: waits keep their length, schedules go on from the
//! new time, and nothing is deleted by its age while the clock may be wrong.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orx_model::Name;
use orx_store::{ClockJump, ClockNote, Result};

use super::clock::{self, Jump};
use super::plan;
use super::run::{FIRE_MOST, Scheduler};
use crate::Now;

/// How often the time is noted in the store, and schedules ahead of the clock are read.
pub(super) const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// Nothing is deleted by its age for this long after the clock was set forward, or after no node led for
/// [`LEADERLESS_LONG`]: a wrong clock is noticed by then.
const RETAIN_FOR: Duration = Duration::from_secs(60 * 60);
const LEADERLESS_LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// What the scheduler knows of jumps of the wall clock.
#[derive(Debug, Default)]
pub(super) struct ClockState {
    watch: clock::Watch,
    /// A jump that was noticed and not yet acted on.
    jump: Option<Jump>,
    /// What the store has of the clock, for the next leader.
    note: ClockNote,
    /// When the time is noted next, on the monotonic clock.
    pub(super) note_at: Duration,
    /// Schedules that did not fire as decided, perhaps since one of their slots ran before.
    pub(super) unfired: BTreeSet<Name>,
    /// Those of them that this pass decides again, with the slots that ran.
    pub(super) retried: BTreeSet<Name>,
    /// The clock was set forward by this many milliseconds, and what became due by that is not decided yet.
    pub(super) forward_by: Option<i64>,
}

impl ClockState {
    /// A term begins; `note` is from the leader before. Returns until when nothing may be deleted by its
    /// age, on the monotonic clock.
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

    /// The clock was set. Returns the same as [`Self::begin`].
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
    /// Notices whether the clock was set since the last pass.
    pub(super) fn check_clock(&mut self, now: Now) {
        let Some(jump) = self.clock.watch.look(now) else { return };
        tracing::warn!(by_ms = jump.by_ms, "the clock of this machine was set {}", jump.words());
        if let Some(retain_until) = self.clock.noticed(jump, now) {
            self.context.retain_until(retain_until);
        }
    }

    /// After a jump of the clock: waits stay as long as they were, and schedules go on from the new time.
    /// Every so often: notes the time in the store, for the next leader.
    ///
    /// # Errors
    /// Some of it was not done.
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
                tracing::info!(waits, "waits of jobs go on as if the clock had not been set");
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

    /// Sets schedules that stand ahead of the clock back to now.
    async fn rewind_schedules(&mut self, by_ms: Option<i64>, now: Now) -> Result<()> {
        let ahead_of = now.wall.saturating_add(clock::NOTICED);
        loop {
            let ahead = self.context.store.schedules_ahead(ahead_of, FIRE_MOST).await?;
            let mut rewinds = Vec::with_capacity(ahead.len());
            for record in &ahead {
                let ran = self.ran(record, now.wall, now).await?;
                let stood = record.plan.position.handled.as_millis();
                let apart = now.wall.as_millis().saturating_sub(stood);
                let by_ms = by_ms.filter(|by_ms| *by_ms < 0).unwrap_or(apart);
                rewinds.push(plan::rewind(record, &ran, by_ms, now.wall));
            }
            if rewinds.is_empty() {
                return Ok(());
            }
            tracing::warn!(
                schedules = rewinds.len(),
                "schedules stood ahead of the clock: their next due times start from now"
            );
            let done = self.context.store.rewind(rewinds, self.term, now.wall).await?;
            self.next_fire = Some(now.wall);
            // Schedules that were changed meanwhile are read again with the next note.
            if ahead.len() < FIRE_MOST as usize || !done.contains(&true) {
                return Ok(());
            }
        }
    }
}
