//! The overlap policies: what a due time does while the previous run has not ended.

use orx_model::message::Notification;
use orx_model::schedule::{CatchUp, Overlap, ScheduleSpec, When};
use orx_model::{JobId, JobStatus, OutcomeKind};
use orx_store::{CancelCommand, Jobs, Schedules};

use crate::world::{HOUR, MINUTE, SECOND, START, World, done, hourly, ms, spec};

use JobStatus::{Cancelled, Completed, Created, Dispatched};

fn with(overlap: Overlap) -> ScheduleSpec {
    ScheduleSpec { overlap, ..hourly("s") }
}

/// The clock shows the second hour, and the run of the first hour has not ended.
fn second_hour(overlap: Overlap) -> World {
    let mut world = World::new();
    world.add(with(overlap));
    world.until(START + HOUR);
    assert_eq!(world.run_status(), [Dispatched]);
    world.until(START + 2 * HOUR);
    world
}

#[test]
fn skip_makes_no_job_while_the_previous_run_has_not_ended() {
    let mut world = second_hour(Overlap::Skip);
    assert_eq!(world.run_status(), [Dispatched]);
    world.pass(30 * MINUTE);
    world.succeed(world.runs()[0].0);
    world.until(START + 3 * HOUR);
    assert_eq!(world.words("s"), "1 ran, 2 skipped, 3 ran");
    assert_eq!(world.run_status(), [Completed, Dispatched]);
}

#[test]
fn allow_starts_a_run_beside_the_previous_one() {
    let world = second_hour(Overlap::Allow);
    assert_eq!(world.words("s"), "1 ran, 2 ran");
    assert_eq!(world.run_status(), [Dispatched, Dispatched]);
}

#[test]
fn queue_one_makes_one_run_wait_that_starts_once_its_predecessor_has_ended() {
    let mut world = second_hour(Overlap::QueueOne);
    world.until(START + 3 * HOUR);
    assert_eq!(world.words("s"), "1 ran, 2 ran, 3 skipped");
    assert_eq!(world.run_status(), [Dispatched, Created]);
    world.succeed(world.runs()[0].0);
    assert_eq!(world.run_status(), [Completed, Dispatched]);
    world.until(START + 4 * HOUR);
    assert_eq!(world.run_status(), [Completed, Dispatched, Created]);
}

#[test]
fn a_run_that_is_retried_has_not_ended() {
    let mut world = second_hour(Overlap::QueueOne);
    let first = world.runs()[0].0;
    world.end(first, OutcomeKind::Failed { retryable: true, retry_after_ms: None });
    assert_eq!(world.run_status()[1], Created, "it waits for the retry");
    world.pass(10 * MINUTE);
    assert_eq!(world.run_status(), [Dispatched, Created]);
    world.end(first, OutcomeKind::Failed { retryable: true, retry_after_ms: None });
    assert_eq!(world.run_status(), [JobStatus::Failed, Dispatched]);
}

#[test]
fn cancel_old_cancels_once_and_the_new_run_waits_for_the_end_of_the_old_one() {
    let mut world = second_hour(Overlap::CancelOld);
    let old = world.runs()[0].0;
    world.pass(10 * MINUTE);
    assert_eq!(world.cancels_of(old), 1);
    assert_eq!(world.run_status(), [Dispatched, Created]);
    let cancel = world.job(old).state.cancel.expect("a cancel request");
    assert_eq!(cancel.reason.as_deref(), Some("the next run of its schedule is due"));
    world.end(old, OutcomeKind::Cancelled);
    assert_eq!(world.run_status(), [Cancelled, Dispatched]);
}

#[test]
fn cancel_old_replaces_a_run_that_waits_and_the_newest_still_waits_for_the_oldest() {
    let mut world = second_hour(Overlap::CancelOld);
    world.until(START + 4 * HOUR);
    assert_eq!(world.words("s"), "1 ran, 2 ran, 3 ran, 4 ran");
    assert_eq!(world.run_status(), [Dispatched, Cancelled, Cancelled, Created]);
    let oldest = world.runs()[0].0;
    // The runs that replaced its successor wait for the same end.
    assert_eq!(world.cancels_of(oldest), 1, "no further cancels");
    world.end(oldest, OutcomeKind::Cancelled);
    assert_eq!(world.run_status(), [Cancelled, Cancelled, Cancelled, Dispatched]);
}

/// A person cancels the run that waits; its predecessor goes on.
fn third_hour_after_the_waiting_run_was_cancelled(overlap: Overlap) -> World {
    let spec = ScheduleSpec { catch_up: CatchUp::All(2), ..with(overlap) };
    let mut world = World::new();
    world.add(spec);
    world.down_until(START + 2 * HOUR + 5 * MINUTE);
    assert_eq!(world.run_status(), [Dispatched, Created]);
    let id = world.runs()[1].0;
    let cancel = CancelCommand { id, reason: None, by: None, force: false, expected: None };
    done(world.store.cancel(vec![cancel], ms(world.clock))).expect("cancelled");
    let hint = Notification { slots_freed: true, all_ended: true, ..Notification::default() };
    world.engine.notified(&hint, world.now());
    world.until(START + 3 * HOUR);
    world
}

#[test]
fn after_the_waiting_run_was_cancelled_the_next_run_waits_for_the_first() {
    let world = third_hour_after_the_waiting_run_was_cancelled(Overlap::Skip);
    assert_eq!(world.run_status(), [Dispatched, Cancelled]);
    assert_eq!(world.words("s"), "1 caught_up, 2 caught_up, 3 skipped");

    let mut world = third_hour_after_the_waiting_run_was_cancelled(Overlap::QueueOne);
    assert_eq!(world.run_status(), [Dispatched, Cancelled, Created]);
    world.succeed(world.runs()[0].0);
    assert_eq!(world.run_status(), [Completed, Cancelled, Dispatched]);

    let mut world = third_hour_after_the_waiting_run_was_cancelled(Overlap::CancelOld);
    assert_eq!(world.run_status(), [Dispatched, Cancelled, Created]);
    assert_eq!(world.cancels_of(world.runs()[0].0), 1);
    world.end(world.runs()[0].0, OutcomeKind::Cancelled);
    assert_eq!(world.run_status(), [Cancelled, Cancelled, Dispatched]);
}

#[test]
fn of_two_runs_that_are_due_at_once_the_second_waits_for_the_first() {
    let mut world = World::new();
    let timing = When::Interval { every_ms: SECOND as u64, offset_ms: 0 };
    world.add(ScheduleSpec { overlap: Overlap::CancelOld, ..spec("s", timing) });
    world.until(START + SECOND);
    let old = world.runs()[0].0;
    assert_eq!(world.run_status(), [Dispatched]);
    // The leader was busy for a second.
    world.clock += 2 * SECOND;
    world.wake();
    assert_eq!(world.run_status(), [Dispatched, Created, Created]);
    world.end(old, OutcomeKind::Cancelled);
    assert_eq!(world.run_status(), [Cancelled, Dispatched, Created]);
}

#[test]
fn all_3_catches_up_three_missed_runs_one_after_the_other() {
    for overlap in [Overlap::Skip, Overlap::QueueOne, Overlap::CancelOld] {
        let mut world = World::new();
        world.add(ScheduleSpec { catch_up: CatchUp::All(3), ..with(overlap) });
        world.down_until(START + 5 * HOUR + 10 * MINUTE);
        assert_eq!(
            world.words("s"),
            "1 missed, 2 missed, 3 caught_up, 4 caught_up, 5 caught_up",
            "{overlap}"
        );
        assert_eq!(world.run_status(), [Dispatched, Created, Created]);
        world.succeed(world.runs()[0].0);
        assert_eq!(world.run_status(), [Completed, Dispatched, Created]);
        world.succeed(world.runs()[1].0);
        assert_eq!(world.run_status(), [Completed, Completed, Dispatched]);
        assert_eq!(world.cancels_of(world.runs()[0].0), 0);
    }
}

#[test]
fn a_new_leader_releases_waiting_runs() {
    let mut world = second_hour(Overlap::QueueOne);
    let first = world.runs()[0].0;
    let cancel = CancelCommand { id: first, reason: None, by: None, force: true, expected: None };
    done(world.store.cancel(vec![cancel], ms(world.clock))).expect("cancelled");
    world.down_until(START + 2 * HOUR + MINUTE);
    assert_eq!(world.run_status(), [Cancelled, Dispatched]);
}

/// The run of the first hour goes on, and a person has triggered a manual run beside it.
fn triggered_beside(overlap: Overlap) -> (World, JobId, JobId) {
    let mut world = World::new();
    world.add(with(overlap));
    world.until(START + HOUR);
    world.pass(MINUTE);
    let first = world.runs()[0].0;
    let manual = world.trigger("s");
    assert_eq!(world.run_status(), [Dispatched, Dispatched], "a manual run waits for no other");
    (world, first, manual)
}

#[test]
fn a_due_time_is_skipped_while_a_manual_run_goes_on() {
    let (mut world, first, _) = triggered_beside(Overlap::Skip);
    world.succeed(first);
    world.until(START + 2 * HOUR);
    assert_eq!(world.words("s"), "1 ran, 2 skipped");
}

#[test]
fn a_due_time_is_skipped_while_the_run_beside_an_ended_manual_run_goes_on() {
    let (mut world, first, manual) = triggered_beside(Overlap::Skip);
    world.succeed(manual);
    world.until(START + 2 * HOUR);
    assert_eq!(world.words("s"), "1 ran, 2 skipped");
    world.succeed(first);
    world.until(START + 3 * HOUR);
    assert_eq!(world.words("s"), "1 ran, 2 skipped, 3 ran");
}

#[test]
fn a_queued_run_waits_for_a_manual_run_and_for_the_run_beside_it() {
    for (one, other) in [(0, 1), (1, 0)] {
        let (mut world, ..) = triggered_beside(Overlap::QueueOne);
        world.until(START + 2 * HOUR);
        let runs = world.runs();
        assert_eq!(world.run_status(), [Dispatched, Dispatched, Created]);
        world.succeed(runs[one].0);
        assert_eq!(world.run_status()[2], Created);
        world.succeed(runs[other].0);
        assert_eq!(world.run_status()[2], Dispatched);
    }
}

#[test]
fn cancel_old_cancels_a_manual_run_and_the_run_beside_it() {
    let (mut world, first, manual) = triggered_beside(Overlap::CancelOld);
    world.until(START + 2 * HOUR);
    world.pass(200);
    assert_eq!(world.cancels_of(manual), 1);
    world.end(manual, OutcomeKind::Cancelled);
    assert_eq!(world.cancels_of(first), 1);
    assert_eq!(world.run_status()[2], Created, "one run still goes on");
    world.end(first, OutcomeKind::Cancelled);
    assert_eq!(world.run_status(), [Cancelled, Cancelled, Dispatched]);
}

#[test]
fn no_dependency_is_left_once_all_runs_have_ended() {
    let (mut world, first, manual) = triggered_beside(Overlap::Skip);
    world.succeed(manual);
    world.succeed(first);
    assert!(!done(world.store.has_dependencies()).expect("read"));
}
