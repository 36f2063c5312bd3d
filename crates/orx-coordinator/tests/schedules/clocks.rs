//! The wall clock is set forward, back, or both while schedules run, also across a restart: no slot runs
//! twice, and the next due time follows from the corrected clock.

use std::collections::BTreeSet;

use orx_model::schedule::{CatchUp, Overlap, ScheduleSpec, SlotOutcome, When};
use orx_model::{JobStatus, OutcomeKind, Timestamp};
use orx_store::{Position, SchedulePlan, Schedules, Upkeep};

use crate::world::{HOUR, MINUTE, SECOND, START, World, done, hourly, ms, parsed, spec};

const YEARS: i64 = 10 * 365 * 24 * HOUR;

fn every(seconds: i64) -> ScheduleSpec {
    let timing = When::Interval { every_ms: (seconds * SECOND) as u64, offset_ms: 0 };
    ScheduleSpec { overlap: Overlap::Allow, ..spec("s", timing) }
}

fn cron(text: &str) -> ScheduleSpec {
    let timing = When::Cron(text.parse().expect("an expression"));
    ScheduleSpec { overlap: Overlap::Allow, ..spec("s", timing) }
}

/// Number of runs in the next `for_ms` milliseconds. Checks that no slot ran twice.
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

fn clock_rows(world: &World) -> Vec<i64> {
    let by = |outcome| match outcome {
        SlotOutcome::ClockSet { by_ms } => Some(by_ms),
        _ => None,
    };
    world.ledger("s").iter().filter_map(|slot| by(slot.outcome)).collect()
}

#[test]
fn the_next_time_of_a_fixed_schedule_is_one_that_has_not_run() {
    let mut world = World::new();
    world.add(cron("0 9 * * *"));
    world.pass(3 * 24 * HOUR);
    assert_eq!(world.jobs_of("work").len(), 3);
    world.set_clock(-2 * 24 * HOUR);
    let next = world.record("s").plan.position.next.expect("a next time");
    assert_eq!(next.slot, ms(START + HOUR + 3 * 24 * HOUR), "all before it ran");
}

#[test]
fn a_clock_that_was_set_years_forward_for_seconds_stops_no_schedule() {
    for restart in [false, true] {
        for spec in [every(10), cron("* * * * *"), cron("0 * * * *"), cron("30 9 * * *")] {
            let mut world = World::new();
            world.add(spec.clone());
            world.pass(MINUTE);
            world.set_clock(YEARS);
            world.pass(11 * SECOND);
            if restart {
                // No node runs when the clock is corrected.
                (world.clock, world.set) = (world.clock - YEARS + 5 * SECOND, world.set - YEARS);
                world.down_until(world.clock);
            } else {
                world.set_clock(-YEARS);
            }
            let next = world.record("s").plan.position.next.expect("it goes on").slot;
            let right = parsed(&spec).timing().next_after(ms(world.clock)).expect("a slot");
            assert_eq!(next, right, "{spec:?} {restart}");
            let wait = right.as_millis() - world.clock;
            assert_eq!(runs_in(&mut world, wait), 1, "{spec:?}");
            let rows = clock_rows(&world);
            assert!(rows.iter().any(|by| *by < -YEARS + HOUR), "{rows:?}");
            let missed = done(world.store.missed_since(ms(START))).expect("read");
            assert!(missed.iter().all(|(_, count)| *count < 60), "{missed:?}");
        }
    }
}

#[test]
fn a_clock_that_is_set_back_stops_no_repeating_schedule() {
    for (spec, period) in [(every(10), 10 * SECOND), (cron("*/5 * * * *"), 5 * MINUTE)] {
        let mut world = World::new();
        world.add(spec);
        world.pass(3 * HOUR + SECOND);
        world.set_clock(-2 * HOUR);
        for _ in 0..30 {
            assert_eq!(runs_in(&mut world, period), 1);
        }
        // The clock is set back once more, into the same hours.
        world.set_clock(-HOUR);
        assert_eq!(runs_in(&mut world, 12 * period), 12);
        // It reaches times that it has not shown before.
        world.until(START + 5 * HOUR);
        no_slot_twice(&world);
        assert_eq!(runs_in(&mut world, 12 * period), 12);
        let next = world.record("s").plan.position.next.expect("it goes on");
        assert_eq!(next.slot.as_millis() % SECOND, 0, "a due time of the schedule again");
        assert_eq!(BTreeSet::from_iter(clock_rows(&world)), [-2 * HOUR, -HOUR].into());
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
    // The slot at 11:00 runs when its time comes.
    world.until(START + 3 * HOUR);
    assert_eq!(world.jobs_of("work").len(), 2);
}

#[test]
fn a_paused_schedule_is_rewound_as_well() {
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
fn a_clock_that_is_set_forward_follows_the_catch_up_policy_and_has_a_row() {
    let mut world = World::new();
    let all = CatchUp::All(2);
    world.add(ScheduleSpec { catch_up: all, overlap: Overlap::Allow, ..hourly("s") });
    world.set_clock(10 * MINUTE);
    assert!(clock_rows(&world).is_empty(), "no slot was due");
    world.set_clock(5 * HOUR);
    assert_eq!(world.jobs_of("work").len(), 2);
    assert_eq!(clock_rows(&world), [5 * HOUR]);
    no_slot_twice(&world);
}

#[test]
fn a_clock_jump_leaves_the_wait_of_a_retry_as_long_as_it_was() {
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
fn the_clock_note_counts_jumps() {
    let mut world = World::new();
    world.pass(MINUTE);
    world.set_clock(-2 * HOUR);
    let note = done(world.store.clock()).expect("read").expect("a note");
    assert_eq!((note.jumps, note.last), (1, Some((ms(world.clock), -2 * HOUR))));
    // The next leader finds the clock as the note says.
    world.down_until(world.clock + HOUR);
    let note = done(world.store.clock()).expect("read").expect("a note");
    assert_eq!((note.jumps, note.seen), (1, ms(world.clock)));
}

#[test]
fn a_clock_that_was_set_years_forward_for_a_while_deletes_nothing() {
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
    // A server that starts while the clock is wrong deletes nothing either.
    world.down_until(world.clock + MINUTE);
    prune(&mut world);
    world.set_clock(-YEARS);
    prune(&mut world);
    // By the clock, no node led for years. It is trusted after an hour without a jump.
    world.down_until(world.clock + YEARS);
    prune(&mut world);
    assert_eq!((world.runs().len(), world.ledger("s").is_empty()), (1, false));
    world.pass(HOUR + MINUTE);
    prune(&mut world);
    assert!(world.runs().is_empty());
}
