//! Due times over clock changes: golden tables, and the minute-by-minute walk.

use std::collections::BTreeSet;

use orx_model::schedule::{ScheduleSpec, When};
use orx_model::{Name, Timestamp};
use proptest::prelude::*;

use crate::oracle::{
    self, Tz, at, changes, cron, different_zones, expression, nth, slots, utc, walk, zone, zones,
};
use crate::walk::walks;
use crate::{Cron, DueRule, NamedZone, Schedule, Timing, preview};

const DAY: i64 = 86_400;

fn table(zone_name: &str, expr: &str, after: &str, count: usize) -> String {
    let timing = cron(expr, zone(zone_name));
    let rows = preview(&timing, at(after), count).into_iter().map(|row| {
        let mark = row.effect.map_or(String::new(), |effect| {
            let wanted = effect.wanted.map(|wanted| format!(" {wanted}")).unwrap_or_default();
            format!(" {}{wanted} ({} > {})", effect.mark.as_str(), effect.from, effect.to)
        });
        format!("{} {}{mark}", row.slot, row.local)
    });
    rows.collect::<Vec<_>>().join("\n")
}

#[test]
fn new_york_skips_half_past_two_and_repeats_half_past_one() {
    insta::assert_snapshot!(
        table("America/New_York", "30 2 * * *", "2026-03-06T12:00:00Z", 3), @r"
    2026-03-07T07:30:00.000Z 2026-03-07 02:30:00 -05:00
    2026-03-08T07:00:00.000Z 2026-03-08 03:00:00 -04:00 skipped 2026-03-08 02:30 (2026-03-08 02:00 > 2026-03-08 03:00)
    2026-03-09T06:30:00.000Z 2026-03-09 02:30:00 -04:00
    ");
    insta::assert_snapshot!(
        table("America/New_York", "30 1 * * *", "2026-10-31T12:00:00Z", 3), @r"
    2026-11-01T05:30:00.000Z 2026-11-01 01:30:00 -04:00 repeated (2026-11-01 02:00 > 2026-11-01 01:00)
    2026-11-02T06:30:00.000Z 2026-11-02 01:30:00 -05:00
    2026-11-03T06:30:00.000Z 2026-11-03 01:30:00 -05:00
    ");
    insta::assert_snapshot!(
        table("America/New_York", "*/30 * * * *", "2026-03-08T06:00:00Z", 4), @r"
    2026-03-08T06:30:00.000Z 2026-03-08 01:30:00 -05:00 shifted (2026-03-08 02:00 > 2026-03-08 03:00)
    2026-03-08T07:00:00.000Z 2026-03-08 03:00:00 -04:00 shifted (2026-03-08 02:00 > 2026-03-08 03:00)
    2026-03-08T07:30:00.000Z 2026-03-08 03:30:00 -04:00 shifted (2026-03-08 02:00 > 2026-03-08 03:00)
    2026-03-08T08:00:00.000Z 2026-03-08 04:00:00 -04:00 shifted (2026-03-08 02:00 > 2026-03-08 03:00)
    ");
    insta::assert_snapshot!(
        table("America/New_York", "*/30 * * * *", "2026-11-01T05:00:00Z", 6), @r"
    2026-11-01T05:30:00.000Z 2026-11-01 01:30:00 -04:00 repeated (2026-11-01 02:00 > 2026-11-01 01:00)
    2026-11-01T06:00:00.000Z 2026-11-01 01:00:00 -05:00 repeated (2026-11-01 02:00 > 2026-11-01 01:00)
    2026-11-01T06:30:00.000Z 2026-11-01 01:30:00 -05:00 repeated (2026-11-01 02:00 > 2026-11-01 01:00)
    2026-11-01T07:00:00.000Z 2026-11-01 02:00:00 -05:00 shifted (2026-11-01 02:00 > 2026-11-01 01:00)
    2026-11-01T07:30:00.000Z 2026-11-01 02:30:00 -05:00 shifted (2026-11-01 02:00 > 2026-11-01 01:00)
    2026-11-01T08:00:00.000Z 2026-11-01 03:00:00 -05:00 shifted (2026-11-01 02:00 > 2026-11-01 01:00)
    ");
}

#[test]
fn berlin_runs_what_the_jump_skips_once_and_right_after_it() {
    insta::assert_snapshot!(
        table("Europe/Berlin", "0,30 2,3 * * *", "2026-03-28T23:00:00Z", 4), @r"
    2026-03-29T01:00:00.000Z 2026-03-29 03:00:00 +02:00 skipped 2026-03-29 02:00 (2026-03-29 02:00 > 2026-03-29 03:00)
    2026-03-29T01:30:00.000Z 2026-03-29 03:30:00 +02:00 shifted (2026-03-29 02:00 > 2026-03-29 03:00)
    2026-03-30T00:00:00.000Z 2026-03-30 02:00:00 +02:00
    2026-03-30T00:30:00.000Z 2026-03-30 02:30:00 +02:00
    ");
    insta::assert_snapshot!(
        table("Europe/Berlin", "0 1-4 * * *", "2026-10-24T22:30:00Z", 5), @r"
    2026-10-24T23:00:00.000Z 2026-10-25 01:00:00 +02:00 shifted (2026-10-25 03:00 > 2026-10-25 02:00)
    2026-10-25T00:00:00.000Z 2026-10-25 02:00:00 +02:00 repeated (2026-10-25 03:00 > 2026-10-25 02:00)
    2026-10-25T02:00:00.000Z 2026-10-25 03:00:00 +01:00 shifted (2026-10-25 03:00 > 2026-10-25 02:00)
    2026-10-25T03:00:00.000Z 2026-10-25 04:00:00 +01:00 shifted (2026-10-25 03:00 > 2026-10-25 02:00)
    2026-10-26T00:00:00.000Z 2026-10-26 01:00:00 +01:00
    ");
    insta::assert_snapshot!(
        table("Europe/Berlin", "0 */2 * * *", "2026-10-24T21:30:00Z", 5), @r"
    2026-10-24T22:00:00.000Z 2026-10-25 00:00:00 +02:00 shifted (2026-10-25 03:00 > 2026-10-25 02:00)
    2026-10-25T00:00:00.000Z 2026-10-25 02:00:00 +02:00 repeated (2026-10-25 03:00 > 2026-10-25 02:00)
    2026-10-25T01:00:00.000Z 2026-10-25 02:00:00 +01:00 repeated (2026-10-25 03:00 > 2026-10-25 02:00)
    2026-10-25T03:00:00.000Z 2026-10-25 04:00:00 +01:00 shifted (2026-10-25 03:00 > 2026-10-25 02:00)
    2026-10-25T05:00:00.000Z 2026-10-25 06:00:00 +01:00 shifted (2026-10-25 03:00 > 2026-10-25 02:00)
    ");
}

#[test]
fn lord_howe_changes_by_half_an_hour() {
    insta::assert_snapshot!(
        table("Australia/Lord_Howe", "15 2 * * *", "2026-10-02T00:00:00Z", 3), @r"
    2026-10-02T15:45:00.000Z 2026-10-03 02:15:00 +10:30
    2026-10-03T15:30:00.000Z 2026-10-04 02:30:00 +11:00 skipped 2026-10-04 02:15 (2026-10-04 02:00 > 2026-10-04 02:30)
    2026-10-04T15:15:00.000Z 2026-10-05 02:15:00 +11:00
    ");
    insta::assert_snapshot!(
        table("Australia/Lord_Howe", "45 1 * * *", "2026-04-03T00:00:00Z", 3), @r"
    2026-04-03T14:45:00.000Z 2026-04-04 01:45:00 +11:00
    2026-04-04T14:45:00.000Z 2026-04-05 01:45:00 +11:00 repeated (2026-04-05 02:00 > 2026-04-05 01:30)
    2026-04-05T15:15:00.000Z 2026-04-06 01:45:00 +10:30
    ");
    insta::assert_snapshot!(
        table("Australia/Lord_Howe", "*/15 * * * *", "2026-04-04T14:29:00Z", 5), @r"
    2026-04-04T14:30:00.000Z 2026-04-05 01:30:00 +11:00 repeated (2026-04-05 02:00 > 2026-04-05 01:30)
    2026-04-04T14:45:00.000Z 2026-04-05 01:45:00 +11:00 repeated (2026-04-05 02:00 > 2026-04-05 01:30)
    2026-04-04T15:00:00.000Z 2026-04-05 01:30:00 +10:30 repeated (2026-04-05 02:00 > 2026-04-05 01:30)
    2026-04-04T15:15:00.000Z 2026-04-05 01:45:00 +10:30 repeated (2026-04-05 02:00 > 2026-04-05 01:30)
    2026-04-04T15:30:00.000Z 2026-04-05 02:00:00 +10:30 shifted (2026-04-05 02:00 > 2026-04-05 01:30)
    ");
}

#[test]
fn santiago_has_a_day_without_midnight_and_one_with_two_last_hours() {
    insta::assert_snapshot!(
        table("America/Santiago", "@daily", "2026-09-04T12:00:00Z", 3), @r"
    2026-09-05T04:00:00.000Z 2026-09-05 00:00:00 -04:00
    2026-09-06T04:00:00.000Z 2026-09-06 01:00:00 -03:00 skipped 2026-09-06 00:00 (2026-09-06 00:00 > 2026-09-06 01:00)
    2026-09-07T03:00:00.000Z 2026-09-07 00:00:00 -03:00
    ");
    insta::assert_snapshot!(
        table("America/Santiago", "30 23 * * sat", "2026-03-30T12:00:00Z", 2), @r"
    2026-04-05T02:30:00.000Z 2026-04-04 23:30:00 -03:00 repeated (2026-04-05 00:00 > 2026-04-04 23:00)
    2026-04-12T03:30:00.000Z 2026-04-11 23:30:00 -04:00
    ");
}

#[test]
fn apia_skipped_a_day() {
    insta::assert_snapshot!(
        table("Pacific/Apia", "0 12 * * *", "2011-12-29T00:00:00Z", 4), @r"
    2011-12-29T22:00:00.000Z 2011-12-29 12:00:00 -10:00
    2011-12-30T10:00:00.000Z 2011-12-31 00:00:00 +14:00 skipped 2011-12-30 12:00 (2011-12-30 00:00 > 2011-12-31 00:00)
    2011-12-30T22:00:00.000Z 2011-12-31 12:00:00 +14:00 shifted (2011-12-30 00:00 > 2011-12-31 00:00)
    2011-12-31T22:00:00.000Z 2012-01-01 12:00:00 +14:00
    ");
    insta::assert_snapshot!(
        table("Pacific/Apia", "0 0,12 30 12 *", "2011-12-01T00:00:00Z", 1), @r"2011-12-30T10:00:00.000Z 2011-12-31 00:00:00 +14:00 skipped 2011-12-30 00:00 (2011-12-30 00:00 > 2011-12-31 00:00)");
    insta::assert_snapshot!(
        table("Pacific/Apia", "0 */6 * * *", "2011-12-30T02:00:00Z", 4), @r"
    2011-12-30T04:00:00.000Z 2011-12-29 18:00:00 -10:00
    2011-12-30T10:00:00.000Z 2011-12-31 00:00:00 +14:00 shifted (2011-12-30 00:00 > 2011-12-31 00:00)
    2011-12-30T16:00:00.000Z 2011-12-31 06:00:00 +14:00 shifted (2011-12-30 00:00 > 2011-12-31 00:00)
    2011-12-30T22:00:00.000Z 2011-12-31 12:00:00 +14:00 shifted (2011-12-30 00:00 > 2011-12-31 00:00)
    ");
}

#[test]
fn a_quarter_of_an_hour_is_one_of_real_time_through_every_change() {
    for name in ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago"] {
        let timing = cron("*/15 * * * *", zone(name));
        let from = at("2026-01-01T00:00:00Z").as_millis() / 1_000;
        let all = slots(&timing, from, from + 365 * DAY);
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] == 900), "{name}");
        assert_eq!(all.len(), 365 * 96, "{name}");
    }
}

#[test]
fn seconds_are_walked_as_minutes_are() {
    for (expr, zone_name, around) in [
        ("*/20 30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("*/20 30 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00Z"),
        ("5,10 */20 * * * *", "Europe/Berlin", "2026-10-25T01:00:00Z"),
        ("59 59 1,2 * * *", "America/New_York", "2026-03-08T07:00:00Z"),
    ] {
        let zone = zone(zone_name);
        let around = at(around).as_millis() / 1_000;
        let (from, until) = (around - 7_200, around + 7_200);
        let expected = walk(zone, expr, from, until, 1);
        assert_eq!(slots(&cron(expr, zone), from, until), expected, "{expr}");
        assert!(!expected.is_empty());
    }
}

/// Zones whose clocks change alike are walked once.
fn zones_with_changes(from: i64, until: i64) -> Vec<(Tz, Vec<i64>)> {
    let mut seen = BTreeSet::new();
    different_zones()
        .into_iter()
        .map(|zone| (zone, changes(zone, from, until)))
        .filter(|(zone, changes)| {
            !changes.is_empty() && seen.insert((oracle::wall(*zone, from), changes.clone()))
        })
        .collect()
}

/// I11: over all zones and all their changes of ten years, due times strictly increase and none is
/// lost.
#[test]
fn every_change_of_ten_years_in_every_zone_gives_what_a_walk_by_minutes_gives() {
    let from = at("2016-01-01T00:00:00Z").as_millis() / 1_000;
    let zones = zones_with_changes(from, from + 3_653 * DAY);
    assert!(zones.len() > 50, "{}", zones.len());
    let exprs = ["30 1,2 * * *", "0 0 * * *", "*/20 */2 * * *", "59 0-23 * * *", "45 1,23 * * 0,6"];
    for (place, (zone, changes)) in zones.iter().enumerate() {
        for (turn, change) in changes.iter().enumerate() {
            let (from, until) = (change - DAY, change + DAY);
            let expr = exprs[(place + turn) % exprs.len()];
            let expected = walk(*zone, expr, from, until, 60);
            assert_eq!(
                slots(&cron(expr, *zone), from, until),
                expected,
                "{} {expr} {change}",
                zone.name
            );
        }
    }
}

#[test]
fn the_table_of_a_zone_has_every_change_that_asking_every_hour_finds() {
    let from = at("1970-01-01T00:00:00Z").as_millis() / 1_000;
    for zone in different_zones().into_iter().step_by(4) {
        let named = zone.named();
        let offsets = named.offsets();
        for hour in (0..60 * 366 * 24).step_by(5) {
            let at = from + hour * 3_600;
            assert_eq!(at + offsets.at(at).offset, oracle::wall(zone, at), "{} {at}", zone.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// I11 with any expression: near a change, in any zone.
    #[test]
    fn due_times_are_those_of_a_walk_by_minutes(
        place in 0..zones(),
        expr in expression(),
        day in 0_i64..3_653,
        minute in -2_000_i64..1_000,
    ) {
        let zone = nth(place);
        let day = at("2016-01-01T00:00:00Z").as_millis() / 1_000 + day * DAY;
        let near = changes(zone, day, day + 200 * DAY).first().copied().unwrap_or(day);
        let (from, until) = (near + minute * 60, near + minute * 60 + 2 * DAY);
        let Ok(parsed) = expr.parse::<Cron>() else { return Ok(()) };
        let timing = Timing::new(DueRule::Cron(parsed), zone.named());
        prop_assert_eq!(
            slots(&timing, from, until), walk(zone, &expr, from, until, 60), "{} {}", zone.name, expr);
    }

    /// From any instant, also between slots and with milliseconds, the next slot is the same.
    #[test]
    fn the_next_slot_is_the_same_from_every_instant_before_it(
        place in 0..zones(), expr in expression(), ms in 0_i64..4_000_000_000_000,
        back in 0_i64..100_000_000,
    ) {
        let Ok(parsed) = expr.parse::<Cron>() else { return Ok(()) };
        let timing = Timing::new(DueRule::Cron(parsed), nth(place).named());
        let from = Timestamp::from_millis(ms);
        let Some(slot) = timing.next_after(from) else { return Ok(()) };
        let mut before = Timestamp::from_millis((slot.as_millis() - back).max(ms));
        if before == slot {
            before = Timestamp::from_millis(slot.as_millis() - 1);
        }
        prop_assert_eq!(timing.next_after(before), Some(slot));
    }

    #[test]
    fn no_instant_panics(ms in any::<i64>(), place in 0..zones(), every in any::<u64>()) {
        let zone = nth(place).named();
        let cron: Cron = "*/7 3 * * 1".parse().expect("an expression");
        for when in [
            DueRule::Cron(cron),
            DueRule::Cron("@monthly".parse().expect("an expression")),
            DueRule::Interval { every_ms: every, offset_ms: every / 3 },
            DueRule::Once(Timestamp::from_millis(ms)),
        ] {
            let from = Timestamp::from_millis(ms);
            let next = Timing::new(when, zone.clone()).next_after(from);
            prop_assert!(next.is_none_or(|next| next > from));
        }
    }

    #[test]
    fn a_firing_stays_between_its_slot_and_the_next(
        jitter_ms in 0_u64..200_000, ms in 0_i64..2_000_000_000_000, id in "[a-z]{1,8}",
    ) {
        let id: Name = id.parse().expect("a name");
        let timing = cron("* * * * *", utc()).with_jitter(&id, jitter_ms);
        let due = timing.next_due(Timestamp::from_millis(ms)).expect("a slot");
        let late = due.fire_at.as_millis() - due.slot.as_millis();
        prop_assert!((0..60_000.min(jitter_ms as i64 + 1)).contains(&late), "{}", late);
        prop_assert_eq!(timing.due(due.slot), due);
    }
}

#[test]
fn jitter_spreads_and_is_the_same_for_the_same_schedule_and_slot() {
    let fire = |id: &str, slot: &str| {
        let id: Name = id.parse().expect("a name");
        let timing = cron("@daily", utc()).with_jitter(&id, 3_600_000);
        timing.due(at(slot)).fire_at.to_string()
    };
    // Golden: a release that changes them moves everyone's firings.
    assert_eq!(fire("nightly", "2026-01-01T00:00:00Z"), "2026-01-01T00:12:10.949Z");
    assert_eq!(fire("nightly", "2026-01-02T00:00:00Z"), "2026-01-02T00:05:56.389Z");
    let quarters: BTreeSet<String> = (0..100)
        .map(|n| fire(&format!("s-{n}"), "2026-01-01T00:00:00Z")[14..15].to_owned())
        .collect();
    assert_eq!(quarters.len(), 6, "{quarters:?}");
}

#[test]
fn an_interval_counts_from_1970_and_its_offset() {
    let timing = |every_ms, offset_ms| {
        Timing::new(DueRule::Interval { every_ms, offset_ms }, NamedZone::default())
    };
    let next = |timing: Timing, from| timing.next_after(at(from)).map(|slot| slot.to_string());
    let hour = 3_600_000;
    let from = "2026-01-01T10:00:00Z";
    assert_eq!(next(timing(hour, 0), from).as_deref(), Some("2026-01-01T11:00:00.000Z"));
    assert_eq!(next(timing(hour, 60_000), from).as_deref(), Some("2026-01-01T10:01:00.000Z"));
    assert_eq!(
        next(timing(hour, 0), "1969-12-31T23:30:00Z").as_deref(),
        Some("1970-01-01T00:00:00.000Z")
    );
    let bounded =
        timing(hour, 0).between(Some(at("2026-01-02T00:00:00Z")), Some(at("2026-01-02T01:00:00Z")));
    assert_eq!(slots(&bounded, 0, i64::from(i32::MAX)).len(), 2, "both ends belong to it");
}

/// In Berlin the second after 01:59:59 shows 03:00:00 that day. What the jump skips last, 02:59:59, comes no
/// more.
#[test]
fn the_last_second_that_a_jump_skips_is_not_due() {
    let timing = cron("59 59 * * * *", zone("Europe/Berlin"));
    let before = at("2026-03-29T00:59:59Z");
    assert_eq!(timing.next_after(before), Some(at("2026-03-29T01:59:59Z")));
}

#[test]
fn wildcards_and_intervals_repeat_and_fixed_times_do_not() {
    let repeats = |expr| cron(expr, utc()).repeats();
    assert!(repeats("*/5 * * * *") && repeats("0 * * * *") && !repeats("30 2 * * *"));
    let interval = DueRule::Interval { every_ms: 60_000, offset_ms: 0 };
    assert!(Timing::new(interval, NamedZone::default()).repeats());
    let once = DueRule::Once(at("2026-01-01T10:00:00Z"));
    assert!(!Timing::new(once, NamedZone::default()).repeats());
}

#[test]
fn once_is_due_once() {
    let timing = Timing::new(DueRule::Once(at("2026-01-01T10:00:00Z")), NamedZone::default());
    assert_eq!(timing.next_after(at("2026-01-01T09:59:59Z")), Some(at("2026-01-01T10:00:00Z")));
    assert_eq!(timing.next_after(at("2026-01-01T10:00:00Z")), None);
}

/// Ten thousand schedules due at once must not keep a leader for a second: the calendar is walked
/// once, and again only for each change of the clock before the next due time.
#[test]
fn the_next_due_time_takes_few_walks() {
    let from = at("2026-06-01T00:00:00Z");
    for (expr, most) in [
        ("*/5 * * * *", 2),
        ("30 2 * * mon-fri", 1),
        ("0 0 29 2 *", 1),
        ("0 0 13 * fri", 1),
        ("* * 29 feb *", 6),
        ("0 */7 29 2 */7", 40),
    ] {
        let timing = cron(expr, zone("Europe/Berlin"));
        for n in 0..1_000 {
            let before = walks();
            let _ = timing.next_after(Timestamp::from_millis(from.as_millis() + n * 61_000_000));
            assert!(walks() - before <= most, "{expr} took {}", walks() - before);
        }
    }
}

#[test]
fn a_spec_gives_its_timing() {
    let job = orx_model::wire::EnqueueRequest { name: "report".parse().ok(), ..Default::default() };
    let when = When::Cron("0 2 * * *".into());
    let mut spec = ScheduleSpec::new("nightly".parse().expect("a name"), when, job);
    spec.zone = "Europe/Berlin".into();
    let schedule = Schedule::new(spec).expect("a schedule");
    assert_eq!(
        schedule.timing().next_after(at("2026-01-01T00:00:00Z")),
        Some(at("2026-01-01T01:00:00Z"))
    );
}
