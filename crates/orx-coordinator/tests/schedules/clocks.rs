//! The clock is set while schedules run, forward, back, to and fro, also over a restart: no slot runs
//! twice, and the next one is found from the right now.

use std::collections::BTreeSet;

use orx_model::schedule::{CatchUp, Overlap, ScheduleSpec, SlotOutcome, When};
use orx_model::{JobStatus, OutcomeKind, Timestamp};
use orx_store::{Position, SchedulePlan, Schedules, Upkeep};

use crate::world::{HOUR, MINUTE, SECOND, START, World, done, hourly, ms, spec, understood};

const YEARS: i64 = 10 * 365 * 24 * HOUR;

fn every(seconds: i64) -> ScheduleSpec {
    let timing = When::Interval { every_ms: (seconds * SECOND) as u64, offset_ms: 0 };
    ScheduleSpec { overlap: Overlap::Allow, ..spec("s", timing) }
}

fn cron(text: &str) -> ScheduleSpec {
    let timing = When::Cron(text.parse().expect("an expression"));
    ScheduleSpec { overlap: Overlap::Allow, ..spec("s", timing) }
}

/// How many runs there were in a stretch, after a check that no slot ran twice.
fn runs_in(world: &mut World, for_ms: i64) -> usize {
    let before = world.jobs_of("work").len();
    world.pass(for_ms);
    no_slot_twice(world);
    world.jobs_of("work").len() - before
}

fn no_slot_twice(world: &World) {
    let jobs = world.jobs_of("work");
    let slots: Vec<Timestamp> =
        jobs.iter().filter_map(|job| job.spec.schedule.as_ref()?.slot).collect();
    assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), slots.len(), "{slots:?}");
}

fn told_of_clock(world: &World) -> Vec<i64> {
    let by = |outcome| match outcome {
        SlotOutcome::ClockSet { by_ms } => Some(by_ms),
        _ => None,
    };
    world.ledger("s").iter().filter_map(|slot| by(slot.outcome)).collect()
}

#[test]
fn a_clock_that_was_years_ahead_for_seconds_stops_no_schedule() {
    for restart in [false, true] {
        for spec in [every(10), cron("* * * * *"), cron("0 * * * *"), cron("30 9 * * *")] {
            let mut world = World::new();
            world.add(spec.clone());
            world.pass(MINUTE);
            world.set_clock(YEARS);
            world.pass(11 * SECOND);
            if restart {
                // Nobody was there when it was put right.
                (world.clock, world.set) = (world.clock - YEARS + 5 * SECOND, world.set - YEARS);
                world.down_until(world.clock);
            } else {
                world.set_clock(-YEARS);
            }
            let next = world.record("s").plan.position.next.expect("it goes on").slot;
            let right = understood(&spec).timing().next_after(ms(world.clock)).expect("a slot");
            assert_eq!(next, right, "{spec:?} {restart}");
            let wait = right.as_millis() - world.clock;
            assert_eq!(runs_in(&mut world, wait), 1, "{spec:?}");
            let told = told_of_clock(&world);
            assert!(told.iter().any(|by| *by < -YEARS + HOUR), "{told:?}");
            let missed = done(world.store.missed_since(ms(START))).expect("read");
            assert!(missed.iter().all(|(_, count)| *count < 60), "{missed:?}");
        }
    }
}

#[test]
fn a_clock_that_goes_back_stops_nothing_that_is_due_every_so_often() {
    for (spec, period) in [(every(10), 10 * SECOND), (cron("*/5 * * * *"), 5 * MINUTE)] {
        let mut world = World::new();
        world.add(spec);
        world.pass(3 * HOUR + SECOND);
        world.set_clock(-2 * HOUR);
        for _ in 0..30 {
            assert_eq!(runs_in(&mut world, period), 1);
        }
        // Again, into the same hours.
        world.set_clock(-HOUR);
        assert_eq!(runs_in(&mut world, 12 * period), 12);
        // And on into times that it never showed.
        world.until(START + 5 * HOUR);
        no_slot_twice(&world);
        assert_eq!(runs_in(&mut world, 12 * period), 12);
        let next = world.record("s").plan.position.next.expect("it goes on");
        assert_eq!(next.slot.as_millis() % SECOND, 0, "its own times again");
        assert_eq!(BTreeSet::from_iter(told_of_clock(&world)), [-2 * HOUR, -HOUR].into());
    }
}

#[test]
fn a_fixed_time_that_the_clock_shows_again_runs_once() {
    let mut world = World::new();
    // At 09:00, an hour after the start.
    world.add(cron("0 9,11 * * *"));
    world.pass(HOUR + MINUTE);
    assert_eq!(world.jobs_of("work").len(), 1);
    world.set_clock(-30 * MINUTE);
    let next = world.record("s").plan.position.next.expect("it goes on");
    assert_eq!(next.slot, ms(START + 3 * HOUR));
    assert_eq!(runs_in(&mut world, HOUR), 0);
    // What was missed or skipped the first time runs when it is shown again.
    world.until(START + 3 * HOUR);
    assert_eq!(world.jobs_of("work").len(), 2);
}

#[test]
fn what_is_paused_is_found_anew_as_well() {
    let mut world = World::new();
    world.add(every(10));
    world.set_clock(YEARS);
    world.pass(11 * SECOND);
    let record = world.record("s");
    let paused = orx_store::Paused { at: ms(world.clock), reason: None, by: None };
    let position = Position { next: None, ..record.plan.position };
    let plan = SchedulePlan { paused: Some(paused), position, ..record.plan.clone() };
    let handled = record.plan.position.handled;
    let changed = world.store.change_schedule(record.version, handled, plan, None, ms(world.clock));
    done(changed).expect("paused");
    world.set_clock(-YEARS);
    let position = world.record("s").plan.position;
    assert_eq!(position, Position { handled: ms(world.clock), next: None });
}

#[test]
fn a_clock_that_goes_ahead_follows_the_policy_and_is_told_of() {
    let mut world = World::new();
    let all = CatchUp::All(2);
    world.add(ScheduleSpec { catch_up: all, overlap: Overlap::Allow, ..hourly("s") });
    world.set_clock(10 * MINUTE);
    assert!(told_of_clock(&world).is_empty(), "nothing was due");
    world.set_clock(5 * HOUR);
    assert_eq!(world.jobs_of("work").len(), 2);
    assert_eq!(told_of_clock(&world), [5 * HOUR]);
    no_slot_twice(&world);
}

#[test]
fn a_retry_waits_as_long_as_it_was_to() {
    let mut world = World::new();
    world.add(ScheduleSpec { max_runs: Some(1), ..every(10) });
    world.pass(10 * SECOND);
    let job = world.runs()[0].0;
    let failed = OutcomeKind::Failed { retryable: true, retry_after_ms: Some(60_000) };
    world.end(job, failed);
    for by in [10 * MINUTE, YEARS, -YEARS, -2 * HOUR] {
        world.set_clock(by);
        world.pass(SECOND);
        assert_eq!(world.status(job), JobStatus::Scheduled, "after {by} ms");
    }
    world.pass(60 * SECOND);
    assert_eq!(world.status(job), JobStatus::Dispatched);
}

#[test]
fn what_the_clock_did_is_noted() {
    let mut world = World::new();
    world.pass(MINUTE);
    world.set_clock(-2 * HOUR);
    let note = done(world.store.clock()).expect("read").expect("a note");
    assert_eq!((note.jumps, note.last), (1, Some((ms(world.clock), -2 * HOUR))));
    // Whoever leads next finds it right.
    world.down_until(world.clock + HOUR);
    let note = done(world.store.clock()).expect("read").expect("a note");
    assert_eq!((note.jumps, note.seen), (1, ms(world.clock)));
}

#[test]
fn nothing_is_forgotten_because_the_clock_was_years_ahead_for_a_while() {
    let mut world = World::new();
    world.add(ScheduleSpec { max_runs: Some(1), ..every(10) });
    world.pass(10 * SECOND);
    let job = world.runs()[0].0;
    world.succeed(job);
    let prune = |world: &mut World| {
        world.engine.prune(world.now()).expect("pruned");
        world.engine.forget_old(world.now()).expect("forgotten");
    };
    world.set_clock(YEARS);
    prune(&mut world);
    // Nor by a server that starts while it is wrong.
    world.down_until(world.clock + MINUTE);
    prune(&mut world);
    world.set_clock(-YEARS);
    prune(&mut world);
    // Nobody was there for years, or so it seems: it is believed once it was steady for an hour.
    world.down_until(world.clock + YEARS);
    prune(&mut world);
    assert_eq!((world.runs().len(), world.ledger("s").is_empty()), (1, false));
    world.pass(HOUR + MINUTE);
    prune(&mut world);
    assert!(world.runs().is_empty());
}
