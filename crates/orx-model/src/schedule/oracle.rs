//! Used in tests only: crontab's meaning and the clock rules written down a second time, in the
//! plainest way, sharing nothing with the code under test but chrono's calendar and zones.

use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeZone, Timelike};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::timing::{Timing, When};
use crate::time::Timestamp;

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

pub(super) fn zone(text: &str) -> Tz {
    text.parse().expect("a zone")
}

pub(super) fn cron(text: &str, zone: Tz) -> Timing {
    let expr = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    Timing::new(When::Cron(expr), super::ZoneName(zone))
}

/// Every slot after `after` and up to `until`, in seconds.
pub(super) fn slots(timing: &Timing, after: i64, until: i64) -> Vec<i64> {
    let mut found = Vec::new();
    let mut at = Timestamp::from_millis(after * 1_000);
    while let Some(slot) = timing.next_after(at) {
        assert!(slot > at, "{slot} does not follow {at}");
        at = slot;
        if slot.as_millis() > until * 1_000 {
            break;
        }
        found.push(slot.as_millis() / 1_000);
    }
    found
}

/// A time and its expression, matched by reading the text anew for every question.
pub(super) struct Plain(Vec<String>);

impl Plain {
    pub(super) fn new(text: &str) -> Self {
        let mut words: Vec<String> = text.split(' ').map(str::to_lowercase).collect();
        if words.len() == 5 {
            words.insert(0, "0".to_owned());
        }
        let names = |word: &str, names: &str, first: usize| {
            let mut word = word.to_owned();
            for (place, name) in names.split(' ').enumerate() {
                word = word.replace(name, &(place + first).to_string());
            }
            word
        };
        words[4] = names(&words[4], "jan feb mar apr may jun jul aug sep oct nov dec", 1);
        words[5] = names(&words[5], "sun mon tue wed thu fri sat", 0);
        Self(words)
    }

    fn field(&self, field: usize, value: u32, first: u32) -> bool {
        self.0[field].split(',').any(|item| {
            let (range, step) = item.split_once('/').unwrap_or((item, "1"));
            let step: u32 = step.parse().expect("a step");
            let (low, high) = match range.split_once('-') {
                Some((low, high)) => (low.parse().expect("low"), high.parse().expect("high")),
                None if range == "*" => (first, 99),
                None => (range.parse().expect("a value"), range.parse().expect("a value")),
            };
            (low..=high).contains(&value) && (value - low) % step == 0
        })
    }

    pub(super) fn matches(&self, wall: NaiveDateTime) -> bool {
        let weekday = wall.weekday().num_days_from_sunday();
        let on_weekday = self.field(5, weekday, 0) || weekday == 0 && self.field(5, 7, 0);
        let on_day = self.field(3, wall.day(), 1);
        let day = if self.0[3].starts_with('*') || self.0[5].starts_with('*') {
            on_day && on_weekday
        } else {
            on_day || on_weekday
        };
        day && self.field(0, wall.second(), 0)
            && self.field(1, wall.minute(), 0)
            && self.field(2, wall.hour(), 0)
            && self.field(4, wall.month(), 1)
    }

    fn wildcard(&self) -> bool {
        self.0[1].starts_with('*') || self.0[2].starts_with('*')
    }
}

fn naive(seconds: i64) -> NaiveDateTime {
    DateTime::from_timestamp(seconds, 0).expect("a time").naive_utc()
}

pub(super) fn wall(zone: Tz, at: i64) -> i64 {
    let offset = zone.offset_from_utc_datetime(&naive(at)).fix().local_minus_utc();
    at + i64::from(offset)
}

/// Walks real time in steps of a minute (or a second), as cron itself does, and says at which
/// instants it starts the command.
pub(super) fn walk(zone: Tz, text: &str, after: i64, until: i64, step: i64) -> Vec<i64> {
    let expr = Plain::new(text);
    let mut found = Vec::new();
    // Far enough back to know which wall times have been shown before `after`.
    let mut now = after.div_euclid(step) * step - 30 * 3_600;
    let mut shown = wall(zone, now);
    while now + step <= until {
        now += step;
        let here = wall(zone, now);
        let due = if expr.wildcard() {
            expr.matches(naive(here))
        } else {
            let mut passed = (shown + step..=here).step_by(step as usize);
            passed.any(|wall| expr.matches(naive(wall)))
        };
        shown = shown.max(here);
        if due && now > after {
            found.push(now);
        }
    }
    found
}

/// Instants at which the zone's clock changes, found by asking it every quarter of an hour.
pub(super) fn changes(zone: Tz, from: i64, until: i64) -> Vec<i64> {
    let offset = |at| wall(zone, at) - at;
    let mut found = Vec::new();
    let mut at = from;
    while at < until {
        if offset(at) != offset(at + 900) {
            let minute = (at..at + 900).step_by(60).find(|at| offset(*at) != offset(at + 60));
            found.push(minute.expect("a change at a full minute") + 60);
        }
        at += 900;
    }
    found
}

/// Text of one field, of every form that crontab has.
fn field(low: u32, high: u32, names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let value = move |value: u32| match names.get(value.wrapping_sub(low) as usize) {
        Some(name) if value % 2 == 0 => (*name).to_owned(),
        _ => value.to_string(),
    };
    let item = prop_oneof![
        4 => (low..=high).prop_map(value),
        2 => (low..=high, low..=high).prop_map(move |(a, b)| {
            format!("{}-{}", a.min(b), a.max(b))
        }),
        1 => (low..=high, low..=high, 1..=high).prop_map(move |(a, b, step)| {
            format!("{}-{}/{step}", a.min(b), a.max(b))
        }),
        1 => (1..=high).prop_map(|step| format!("*/{step}")),
    ];
    prop_oneof![
        3 => Just("*".to_owned()),
        1 => (1..=high / 2).prop_map(|step| format!("*/{step}")),
        4 => proptest::collection::vec(item, 1..4).prop_map(|items| items.join(",")),
    ]
}

const MONTHS: &[&str] =
    &["jan", "FEB", "Mar", "apr", "MAY", "jun", "Jul", "aug", "sep", "OCT", "nov", "dec"];
const DAYS: &[&str] = &["sun", "MON", "Tue", "wed", "thu", "FRI", "sat"];

/// Five fields. Hours lean to those in which clocks change, and days to all.
pub(super) fn expression() -> impl Strategy<Value = String> {
    let hour = prop_oneof![2 => field(0, 23, &[]), 3 => field(0, 4, &[])];
    let day = prop_oneof![3 => Just("*".to_owned()), 2 => field(1, 31, &[])];
    let month = prop_oneof![3 => Just("*".to_owned()), 1 => field(1, 12, MONTHS)];
    let weekday = prop_oneof![3 => Just("*".to_owned()), 2 => field(0, 7, DAYS)];
    (field(0, 59, &[]), hour, day, month, weekday).prop_map(
        |(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"),
    )
}
