//! Jobs that tell of runs that were missed, or failed.

use orx_model::schedule::{CatchUp, ScheduleSpec};
use orx_model::{JobStatus, OutcomeKind};
use orx_store::{CancelCommand, Jobs, RetryAnswer};

use crate::world::{HOUR, MINUTE, START, World, done, hourly, ms, name};

fn args(world: &World, kind: &str) -> Vec<String> {
    world.jobs_of(kind).iter().map(|job| job.spec.args.get().to_owned()).collect()
}

#[test]
fn missed_runs_are_told_of_once_with_how_many_and_when() {
    let mut world = World::new();
    let spec = ScheduleSpec { on_missed: Some(name("page")), ..hourly("s") };
    world.add(ScheduleSpec { catch_up: CatchUp::None, ..spec });
    world.until(START + HOUR);
    assert_eq!(world.jobs_of("page").len(), 0, "nothing was missed");
    world.down_until(START + 4 * HOUR + 30 * MINUTE);
    assert_eq!(world.words("s"), "1 ran, 2 missed, 3 missed, 4 missed");
    let told = r#"{"schedule":"s","slots":3,"first":"2027-01-15T10:00:00.000Z","last":"2027-01-15T12:00:00.000Z"}"#;
    assert_eq!(args(&world, "page"), [told]);
    assert_eq!(world.jobs_of("page")[0].spec.schedule, None, "it is no run of the schedule");
    world.until(START + 5 * HOUR);
    world.down_until(START + 5 * HOUR + MINUTE);
    assert_eq!(world.jobs_of("page").len(), 1, "and never again");
}

#[test]
fn a_run_that_is_later_than_the_tolerance_is_told_of_and_an_earlier_one_is_not() {
    for (late, told) in [(4 * MINUTE, 0), (6 * MINUTE, 1)] {
        let mut world = World::new();
        world.add(ScheduleSpec { on_missed: Some(name("page")), ..hourly("s") });
        world.down_until(START + HOUR + late);
        assert_eq!(world.words("s"), "1 caught_up");
        assert_eq!(world.jobs_of("page").len(), told);
    }
}

fn failing() -> (World, orx_model::JobId) {
    let mut world = World::new();
    world.add(ScheduleSpec { on_failure: Some(name("wake")), ..hourly("s") });
    world.until(START + HOUR);
    let run = world.runs()[0].0;
    (world, run)
}

const RETRYABLE: OutcomeKind = OutcomeKind::Failed { retryable: true, retry_after_ms: None };

#[test]
fn a_run_that_fails_for_good_is_told_of_once() {
    let (mut world, run) = failing();
    world.end(run, RETRYABLE);
    assert_eq!(world.jobs_of("wake").len(), 0, "it is retried");
    world.pass(10 * MINUTE);
    world.end(run, RETRYABLE);
    assert_eq!(world.status(run), JobStatus::Failed);
    let told = format!(
        r#"{{"schedule":"s","slot":"2027-01-15T09:00:00.000Z","job":{},"status":"failed"}}"#,
        run.0
    );
    assert_eq!(args(&world, "wake"), [told]);
    world.pass(10 * MINUTE);
    world.down_until(START + HOUR + 40 * MINUTE);
    assert_eq!(world.jobs_of("wake").len(), 1, "and never again");
}

#[test]
fn a_run_that_times_out_is_told_of_as_such() {
    let (mut world, run) = failing();
    world.end(run, OutcomeKind::TimedOut);
    world.pass(10 * MINUTE);
    world.end(run, OutcomeKind::TimedOut);
    assert_eq!(world.status(run), JobStatus::TimedOut);
    assert!(
        args(&world, "wake")[0].ends_with(r#""status":"timed_out"}"#),
        "{:?}",
        args(&world, "wake")
    );
}

#[test]
fn nobody_is_told_of_a_run_that_was_retried_to_success() {
    let (mut world, run) = failing();
    world.end(run, RETRYABLE);
    world.pass(10 * MINUTE);
    world.succeed(run);
    world.pass(10 * MINUTE);
    assert_eq!(world.status(run), JobStatus::Completed);
    assert_eq!(world.jobs_of("wake").len(), 0);
}

#[test]
fn nobody_is_told_of_a_run_that_was_cancelled() {
    let (mut world, run) = failing();
    let cancel = CancelCommand { id: run, reason: None, by: None, force: false, expected: None };
    done(world.store.cancel(vec![cancel], ms(world.clock))).expect("cancelled");
    world.end(run, OutcomeKind::Cancelled);
    world.pass(10 * MINUTE);
    assert_eq!(world.status(run), JobStatus::Cancelled);
    assert_eq!(world.jobs_of("wake").len(), 0);
    let again = done(world.store.retry(vec![run], ms(world.clock))).expect("answered");
    assert_eq!(again, [RetryAnswer::Retried], "a person's retry is that person's");
}
