//! The next due times, with a mark on days with a clock change.

use std::fmt;

use chrono::{DateTime, NaiveDateTime};
use orx_model::Timestamp;
use orx_model::names;
use orx_model::time::format_exact;
use serde::{Deserialize, Serialize};

use crate::rules::Segment;
use crate::timing::{DueRule, Timing};

names! {
    /// The effect of a clock change on a due time.
    pub enum DayMark {
        /// The clock skips the time; it is due right after the jump.
        Skipped = "skipped",
        /// The clock shows the time twice.
        Repeated = "repeated",
        /// The clock changes on this day, at another time.
        Shifted = "shifted",
    }
}

/// The clock change behind a mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayEffect {
    /// The effect of the change.
    pub mark: DayMark,
    /// When the clock changes.
    pub at: Timestamp,
    /// What the clock would have shown: `2026-03-29 02:00`.
    pub from: String,
    /// What it shows instead: `2026-03-29 03:00`.
    pub to: String,
    /// For a skipped due time, the wall-clock time that does not occur: `2026-03-29 02:30`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
}

/// A due time to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previewed {
    /// The due time.
    pub slot: Timestamp,
    /// Its firing time, jitter included.
    pub fire_at: Timestamp,
    /// The slot in the schedule's zone, with its offset: `2026-03-29 03:00:00 +02:00`.
    pub local: String,
    /// The clock change of its day, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<DayEffect>,
}

/// `2026-03-29 03:00:00 +02:00  skipped 2026-03-29 02:30`, with the time of firing where a jitter
/// moves it.
impl fmt::Display for Previewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.local)?;
        if self.fire_at != self.slot {
            write!(f, " + {}", format_exact(self.fire_at.saturating_since(self.slot)))?;
        }
        let Some(effect) = &self.effect else { return Ok(()) };
        write!(f, "  {}", effect.mark.as_str())?;
        if let Some(wanted) = &effect.wanted {
            write!(f, " {wanted}")?;
        }
        write!(f, " (clock {} > {})", effect.from, effect.to)
    }
}

/// The most due times of one preview.
pub const PREVIEW_MAX: usize = 1_000;

/// The next `most` due times after an instant; at most [`PREVIEW_MAX`].
#[must_use]
pub fn preview(timing: &Timing, after: Timestamp, most: usize) -> Vec<Previewed> {
    let mut shown = Vec::new();
    let mut at = after;
    while shown.len() < most.min(PREVIEW_MAX) {
        let Some(due) = timing.next_due(at) else { break };
        at = due.slot;
        shown.push(Previewed {
            slot: due.slot,
            fire_at: due.fire_at,
            local: local(timing, due.slot),
            effect: effect(timing, due.slot),
        });
    }
    shown
}

fn local(timing: &Timing, slot: Timestamp) -> String {
    let seconds = slot.as_millis().div_euclid(1_000);
    let segment = timing.zone().offsets().at(seconds);
    let offset = segment.offset;
    let (sign, size) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    let (hours, minutes) = (size / 3_600, size / 60 % 60);
    let wall = wall(seconds.saturating_add(offset));
    format!("{} {sign}{hours:02}:{minutes:02}", wall.format("%Y-%m-%d %H:%M:%S"))
}

/// A wall clock from its seconds since 1970.
fn wall(seconds: i64) -> NaiveDateTime {
    DateTime::from_timestamp(seconds, 0).map_or(NaiveDateTime::MAX, |time| time.naive_utc())
}

pub(crate) fn minute_text(seconds: i64) -> String {
    wall(seconds).format("%Y-%m-%d %H:%M").to_string()
}

/// A clock change, with the wall-clock times around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClockChange {
    pub(crate) at: i64,
    /// What the clock would have shown.
    pub(crate) from: i64,
    /// What it shows.
    pub(crate) to: i64,
}

impl ClockChange {
    pub(crate) fn between(before: Segment, after: Segment) -> Self {
        Self { at: after.start, from: before.end_wall(), to: after.start + after.offset }
    }
}

fn effect(timing: &Timing, slot: Timestamp) -> Option<DayEffect> {
    const DAY: i64 = 24 * 60 * 60;
    // Intervals and instants do not follow a wall clock.
    let DueRule::Cron(expr) = timing.pattern() else { return None };
    let at = slot.as_millis().div_euclid(1_000);
    let offsets = timing.zone().offsets();
    let here = offsets.at(at);
    let day = (at + here.offset).div_euclid(DAY);

    let before = offsets.previous(here).map(|before| ClockChange::between(before, here));
    let after = offsets.next(here).map(|after| ClockChange::between(here, after));
    let change = before.into_iter().chain(after).find(|change| {
        // The days that are shorter for it, up to the end of the jump, or longer.
        let (first, last) = match change.to > change.from {
            true => (change.from, change.to),
            false => (change.to, change.from - 1),
        };
        (first.div_euclid(DAY)..=last.div_euclid(DAY)).contains(&day)
    })?;

    let mut wanted = None;
    let mark = if change.to > change.from {
        let skipped = expr.next_wall(change.from - 1).filter(|wall| *wall < change.to);
        if !expr.is_wildcard() && change.at == at && skipped.is_some() {
            wanted = skipped.map(minute_text);
            DayMark::Skipped
        } else {
            DayMark::Shifted
        }
    } else if (change.to..change.from).contains(&(at + here.offset)) {
        DayMark::Repeated
    } else {
        DayMark::Shifted
    };
    Some(DayEffect {
        mark,
        at: Timestamp::from_millis(change.at.saturating_mul(1_000)),
        from: minute_text(change.from),
        to: minute_text(change.to),
        wanted,
    })
}
