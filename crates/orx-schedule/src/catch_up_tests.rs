//! Catch-up after downtime, compared with a walk minute by minute.

use std::time::Duration;

use orx_model::schedule::{CatchUp, Overlap};
use orx_model::{Name, Timestamp};
use proptest::prelude::*;

use crate::catch_up::latest;
use crate::oracle::{at, cron, expression, nth, utc, walk, zones};
use crate::walk::walks;
use crate::{
    CatchUpPlan, CatchUpRule, Cron, DueRule, DueSlot, MissedRange, NamedZone, Timing, missed,
};

const DAY: Duration = Duration::from_secs(86_400);

fn rule(catch_up: &str, window: Duration) -> CatchUpRule {
    CatchUpRule { catch_up: catch_up.parse().expect("a policy"), window }
}

fn shown(plan: &CatchUpPlan) -> String {
    let time = |at: Timestamp| at.to_string()[..19].to_owned();
    let mut lines = Vec::new();
    if let Some(range) = plan.range {
        let more = if range.exact { "" } else { "+" };
        let (first, last) = (time(range.first), time(range.last));
        lines.push(format!("missed {first} to {last}: {}{more}", range.count));
    }
    lines.extend(plan.missed.iter().map(|slot| format!("missed {}", time(*slot))));
    lines.extend(plan.fire.iter().map(|firing| {
        let what = if firing.caught_up { "catch up" } else { "run" };
        format!("{what} {}", time(firing.slot))
    }));
    lines.extend(plan.next.map(|due| format!("next {}", time(due.slot))));
    lines.join("\n")
}

fn nightly(catch_up: &str, now: &str) -> String {
    let timing = cron("0 2 * * *", utc());
    shown(&missed(&timing, at("2026-01-01T02:00:00Z"), at(now), rule(catch_up, 7 * DAY)))
}

#[test]
fn a_slot_that_is_just_due_runs_whatever_the_policy() {
    for policy in ["none", "one", "all"] {
        assert_eq!(
            nightly(policy, "2026-01-02T02:00:40Z"),
            "run 2026-01-02T02:00:00\nnext 2026-01-03T02:00:00"
        );
    }
    assert_eq!(nightly("one", "2026-01-02T01:59:59Z"), "next 2026-01-02T02:00:00");
}

#[test]
fn three_nights_of_downtime_under_each_policy() {
    insta::assert_snapshot!(nightly("none", "2026-01-04T09:00:00Z"), @r"
    missed 2026-01-02T02:00:00
    missed 2026-01-03T02:00:00
    missed 2026-01-04T02:00:00
    next 2026-01-05T02:00:00
    ");
    insta::assert_snapshot!(nightly("one", "2026-01-04T09:00:00Z"), @r"
    missed 2026-01-02T02:00:00
    missed 2026-01-03T02:00:00
    catch up 2026-01-04T02:00:00
    next 2026-01-05T02:00:00
    ");
    insta::assert_snapshot!(nightly("all:2", "2026-01-04T09:00:00Z"), @r"
    missed 2026-01-02T02:00:00
    catch up 2026-01-03T02:00:00
    catch up 2026-01-04T02:00:00
    next 2026-01-05T02:00:00
    ");
    insta::assert_snapshot!(nightly("all", "2026-01-04T02:00:01Z"), @r"
    catch up 2026-01-02T02:00:00
    catch up 2026-01-03T02:00:00
    run 2026-01-04T02:00:00
    next 2026-01-05T02:00:00
    ");
    insta::assert_snapshot!(nightly("one", "2026-01-04T02:00:01Z"), @r"
    missed 2026-01-02T02:00:00
    missed 2026-01-03T02:00:00
    run 2026-01-04T02:00:00
    next 2026-01-05T02:00:00
    ");
}

#[test]
fn what_is_older_than_the_window_is_one_row() {
    let timing = cron("0 2 * * *", utc());
    let plan = |window| {
        missed(&timing, at("2025-01-01T02:00:00Z"), at("2026-01-04T09:00:00Z"), rule("all", window))
    };
    insta::assert_snapshot!(shown(&plan(2 * DAY)), @r"
    missed 2025-01-02T02:00:00 to 2026-01-02T02:00:00: 366
    catch up 2026-01-03T02:00:00
    catch up 2026-01-04T02:00:00
    next 2026-01-05T02:00:00
    ");
    insta::assert_snapshot!(shown(&plan(Duration::ZERO)), @r"
    missed 2025-01-02T02:00:00 to 2026-01-04T02:00:00: 368
    next 2026-01-05T02:00:00
    ");
    let to_the_newest = Duration::from_secs(7 * 3_600);
    insta::assert_snapshot!(shown(&plan(to_the_newest)), @r"
    missed 2025-01-02T02:00:00 to 2026-01-03T02:00:00: 367
    catch up 2026-01-04T02:00:00
    next 2026-01-05T02:00:00
    ");
}

#[test]
fn a_year_of_seconds_is_decided_at_once_and_in_few_rows() {
    for when in [
        DueRule::Cron("* * * * * *".parse().expect("an expression")),
        DueRule::Interval { every_ms: 1_000, offset_ms: 0 },
    ] {
        let interval = matches!(when, DueRule::Interval { .. });
        let timing = Timing::new(when, NamedZone::default());
        let (from, now) = (at("2025-01-01T00:00:00Z"), at("2026-01-01T00:00:00.5Z"));
        let start = std::time::Instant::now();
        let plan = missed(&timing, from, now, rule("all", 400 * DAY));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert_eq!((plan.fire.len(), plan.missed.len()), (1_002, 100));
        let range = plan.range.expect("a range");
        let all = 365 * 86_400 - 1_102;
        let count = if interval { (all, true) } else { (CatchUpRule::COUNT_MAX, false) };
        assert_eq!((range.count, range.exact), count);
        assert_eq!(
            plan.missed.first().map(|slot| slot.as_millis()),
            Some(range.last.as_millis() + 1_000)
        );
    }
    // Bursts: due every second of one hour a year.
    let timing = cron("* * 0 1 1 *", utc());
    let plan = missed(
        &timing,
        at("2020-06-01T00:00:00Z"),
        at("2025-06-01T00:00:00Z"),
        rule("one", 400 * DAY),
    );
    assert_eq!(plan.fire.len(), 1);
    assert_eq!(plan.fire[0].slot, at("2025-01-01T00:59:59Z"));
    assert_eq!(plan.range.map(|range| range.first), Some(at("2021-01-01T00:00:00Z")));
}

#[test]
fn a_schedule_of_every_second_loses_no_slot_between_its_rows() {
    // Three are on time, a hundred get a row each, and the oldest is a range of its own.
    let timing =
        Timing::new(DueRule::Interval { every_ms: 1_000, offset_ms: 0 }, NamedZone::default());
    let (from, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:01:44Z"));
    let plan = missed(&timing, from, now, rule("none", DAY));
    assert_eq!((plan.fire.len(), plan.missed.len()), (3, 100));
    let range = plan.range.map(|range| (range.first, range.last, range.count));
    let oldest = at("2026-01-01T00:00:01Z");
    assert_eq!(range, Some((oldest, oldest, 1)));
}

#[test]
fn the_newest_slots_of_an_even_schedule_are_found_in_two_walks() {
    let timing = cron("* * * * *", utc());
    let (from, until) = (at("2015-01-01T00:00:00Z"), at("2025-01-01T00:00:00Z"));
    let before = walks();
    let slots = latest(&timing, from, until, 100);
    assert_eq!((slots.len(), slots.last()), (100, Some(&until)));
    // A walk takes a step for each slot, up to one more than twice as many as are wanted.
    let steps = walks() - before;
    assert!(steps <= 2 * 201, "{steps} steps");
}

#[test]
fn what_waits_for_its_jitter_is_neither_missed_nor_lost() {
    let id: Name = "nightly".parse().expect("a name");
    let timing = cron("@hourly", utc()).with_jitter(&id, 600_000);
    let due = timing.next_due(at("2026-01-01T00:00:00Z")).expect("a slot");
    assert!(due.fire_at > due.slot);
    let early = Timestamp::from_millis(due.fire_at.as_millis() - 1);
    let handled = at("2026-01-01T00:00:00Z");
    let plan = missed(&timing, handled, early, rule("one", DAY));
    assert_eq!(plan, CatchUpPlan { next: Some(due), ..CatchUpPlan::default() });
    let plan = missed(&timing, handled, due.fire_at, rule("one", DAY));
    let firing = DueSlot { slot: due.slot, fire_at: due.fire_at, caught_up: false };
    assert_eq!(plan.fire, [firing]);
    assert_eq!(plan.next, timing.next_due(due.slot));
}

#[test]
fn policies_read_as_they_print() {
    for text in ["none", "one", "all", "all:1", "all:5", "all:999"] {
        let policy: CatchUp = text.parse().expect("a policy");
        assert_eq!(policy.to_string(), text);
        assert_eq!(serde_json::to_string(&policy).expect("json"), format!("\"{text}\""));
    }
    for text in ["", "all:", "all:0", "all:+1", "all:1001", "all:99999999999", "two", "ALL"] {
        let error = text.parse::<CatchUp>().expect_err(text).to_string();
        assert!(error.ends_with(&format!("found `{text}`")), "{error}");
    }
    for overlap in Overlap::ALL {
        assert_eq!(overlap.to_string().parse(), Ok(overlap));
        let json = serde_json::to_string(&overlap).expect("json");
        assert_eq!(serde_json::from_str::<Overlap>(&json).expect("an overlap"), overlap);
    }
    assert_eq!("queue_one".parse(), Ok(Overlap::QueueOne));
    assert_eq!(serde_json::from_str::<Overlap>("\"cancel-old\"").ok(), Some(Overlap::CancelOld));
    assert_eq!(serde_json::to_string(&Overlap::QueueOne).ok().as_deref(), Some("\"queue_one\""));
    assert!("queue".parse::<Overlap>().is_err());
}

/// The rule once more, on a plain list of every slot.
fn expected(all: &[i64], now_ms: i64, rule: CatchUpRule) -> (Vec<(i64, bool)>, Vec<i64>) {
    let late = |slot: &i64| now_ms - slot * 1_000;
    let newest = all.last().copied();
    let on_time = |slot: &i64| late(slot) <= if Some(*slot) == newest { 60_000 } else { 2_000 };
    let prompt: Vec<i64> = all.iter().copied().filter(on_time).collect();
    let window = rule.window.as_millis() as i64;
    let candidates: Vec<i64> =
        all.iter().copied().filter(|slot| !on_time(slot) && late(slot) <= window).collect();
    let most = match rule.catch_up {
        CatchUp::None => 0,
        CatchUp::One => usize::from(prompt.is_empty()),
        CatchUp::All(most) => most as usize,
    };
    let caught_up = &candidates[candidates.len().saturating_sub(most)..];
    let mut fire: Vec<(i64, bool)> = caught_up.iter().map(|slot| (*slot, true)).collect();
    fire.extend(prompt.iter().map(|slot| (*slot, false)));
    let fired = |slot: &i64| fire.iter().any(|(fired, _)| fired == slot);
    let lost = all.iter().copied().filter(|slot| !fired(slot)).collect();
    (fire, lost)
}

fn check(timing: &Timing, all: &[i64], from: i64, now_ms: i64, rule: CatchUpRule) {
    let plan =
        missed(timing, Timestamp::from_millis(from * 1_000), Timestamp::from_millis(now_ms), rule);
    let (fire, lost) = expected(all, now_ms, rule);
    let fired: Vec<(i64, bool)> =
        plan.fire.iter().map(|f| (f.slot.as_millis() / 1_000, f.caught_up)).collect();
    assert_eq!(fired, fire);
    assert!(plan.missed.len() <= CatchUpRule::MISSED_ROWS);
    // Each slot has its row: in the range, by itself, or fired.
    let rows = lost.len() - plan.missed.len();
    let by_itself: Vec<i64> = plan.missed.iter().map(|slot| slot.as_millis() / 1_000).collect();
    assert_eq!(by_itself, lost[rows..]);
    let range = (rows > 0).then(|| MissedRange {
        first: Timestamp::from_millis(lost[0] * 1_000),
        last: Timestamp::from_millis(lost[rows - 1] * 1_000),
        count: (rows as u64).min(CatchUpRule::COUNT_MAX),
        exact: rows as u64 <= CatchUpRule::COUNT_MAX,
    });
    assert_eq!(plan.range, range);
    let next = plan.next.map(|due| due.slot);
    assert_eq!(next, timing.next_after(Timestamp::from_millis(now_ms)));
}

fn policy() -> impl Strategy<Value = CatchUp> {
    prop_oneof![
        Just(CatchUp::None),
        Just(CatchUp::One),
        (1_u32..20).prop_map(CatchUp::All),
        Just(CatchUp::All(CatchUp::ALL_MAX)),
    ]
}

fn window() -> impl Strategy<Value = Duration> {
    prop_oneof![0_u64..300, 0_u64..600_000].prop_map(Duration::from_secs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// I11: after downtime, the slots that fire and the slots that are recorded follow the rule, applied to
    /// the slots that a walk minute by minute finds.
    #[test]
    fn after_downtime_each_slot_is_fired_or_recorded_once(
        place in 0..zones(), expr in expression(), hour in 0_i64..87_000,
        down in prop_oneof![0_i64..200, 0_i64..6_000], late_ms in 0_i64..60_000,
        catch_up in policy(), window in window(),
    ) {
        let zone = nth(place);
        let Ok(parsed) = expr.parse::<Cron>() else { return Ok(()) };
        let timing = Timing::new(DueRule::Cron(parsed), zone.named());
        let from = at("2016-01-01T00:00:00Z").as_millis() / 1_000 + hour * 3_600;
        let now_ms = (from + down * 60) * 1_000 + late_ms;
        let all = walk(zone, &expr, from, now_ms / 1_000, 60);
        check(&timing, &all, from, now_ms, CatchUpRule { catch_up, window });
    }

    #[test]
    fn intervals_too(
        every in 1_i64..5_000, from in 0_i64..2_000_000_000, down in 0_i64..2_000_000,
        late_ms in 0_i64..1_000, catch_up in policy(), window in window(),
    ) {
        let when = DueRule::Interval { every_ms: every as u64 * 1_000, offset_ms: 0 };
        let timing = Timing::new(when, NamedZone::default());
        let down = down.min(every * 9_000);
        let all: Vec<i64> =
            (from + 1..=from + down).filter(|at| at % every == 0).collect();
        check(&timing, &all, from, (from + down) * 1_000 + late_ms, CatchUpRule { catch_up, window });
    }

    #[test]
    fn no_text_panics(text in ".{0,20}", number in any::<u64>()) {
        let _ = text.parse::<CatchUp>();
        let _ = format!("all:{number}").parse::<CatchUp>();
        let _ = text.parse::<Overlap>();
        let _ = text.parse::<NamedZone>();
    }
}
