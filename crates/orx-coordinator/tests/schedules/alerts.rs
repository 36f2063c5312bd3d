//! Alert jobs for missed and failed runs.

use orx_feed::{FeedEvent, FeedFilter, News};
use orx_model::event::KnownEvent;
use orx_model::schedule::{CatchUp, ScheduleSpec};
use orx_model::{JobStatus, OutcomeKind};
use orx_store::{CancelCommand, Jobs, RetryAnswer};

use crate::world::{HOUR, MINUTE, START, World, done, hourly, ms, name};

fn args(world: &World, kind: &str) -> Vec<String> {
    world.jobs_of(kind).iter().map(|job| job.spec.args.get().to_owned()).collect()
}

#[test]
fn missed_runs_make_one_alert_with_their_count_and_times() {
    let mut world = World::new();
    let spec = ScheduleSpec { on_missed: Some(name("page")), ..hourly("s") };
    world.add(ScheduleSpec { catch_up: CatchUp::None, ..spec });
    world.until(START + HOUR);
    assert_eq!(world.jobs_of("page").len(), 0, "no run was missed");
    world.down_until(START + 4 * HOUR + 30 * MINUTE);
    assert_eq!(world.words("s"), "1 ran, 2 missed, 3 missed, 4 missed");
    let missed = r#"{"schedule":"s","slots":3,"first":"2027-01-15T10:00:00.000Z","last":"2027-01-15T12:00:00.000Z"}"#;
    assert_eq!(args(&world, "page"), [missed]);
    assert_eq!(world.jobs_of("page")[0].spec.schedule, None, "an alert is no run of the schedule");
    world.until(START + 5 * HOUR);
    world.down_until(START + 5 * HOUR + MINUTE);
    assert_eq!(world.jobs_of("page").len(), 1, "no second alert");
}

#[test]
fn an_alert_is_published_as_an_accepted_job() {
    let mut world = World::new();
    let spec = ScheduleSpec { on_missed: Some(name("page")), ..hourly("s") };
    world.add(ScheduleSpec { catch_up: CatchUp::None, ..spec });
    let mut reader = world.engine.feed().read(FeedFilter::all());
    world.clock = START + 4 * HOUR + 30 * MINUTE;
    world.engine.fire(world.now()).expect("fired");
    let page = world.jobs_of("page")[0].id;
    let Some(News::Events(events)) = reader.try_next(100) else { panic!("no events") };
    let is_accepted = |one: &FeedEvent| matches!(one.event.known(), Some(KnownEvent::JobAccepted { job, .. }) if job.id == page);
    assert!(events.iter().any(is_accepted), "{events:?}");
}

#[test]
fn only_a_run_that_is_later_than_the_tolerance_makes_an_alert() {
    for (late, alerts) in [(4 * MINUTE, 0), (6 * MINUTE, 1)] {
        let mut world = World::new();
        world.add(ScheduleSpec { on_missed: Some(name("page")), ..hourly("s") });
        world.down_until(START + HOUR + late);
        assert_eq!(world.words("s"), "1 caught_up");
        assert_eq!(world.jobs_of("page").len(), alerts);
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
fn a_run_that_fails_for_good_makes_one_alert() {
    let (mut world, run) = failing();
    world.end(run, RETRYABLE);
    assert_eq!(world.jobs_of("wake").len(), 0, "it is retried");
    world.pass(10 * MINUTE);
    world.end(run, RETRYABLE);
    assert_eq!(world.status(run), JobStatus::Failed);
    let failed = format!(
        r#"{{"schedule":"s","slot":"2027-01-15T09:00:00.000Z","job":{},"status":"failed"}}"#,
        run.0
    );
    assert_eq!(args(&world, "wake"), [failed]);
    world.pass(10 * MINUTE);
    world.down_until(START + HOUR + 40 * MINUTE);
    assert_eq!(world.jobs_of("wake").len(), 1, "no second alert");
}

#[test]
fn the_alert_of_a_run_that_timed_out_has_that_status() {
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
fn a_run_that_succeeds_in_a_retry_makes_no_alert() {
    let (mut world, run) = failing();
    world.end(run, RETRYABLE);
    world.pass(10 * MINUTE);
    world.succeed(run);
    world.pass(10 * MINUTE);
    assert_eq!(world.status(run), JobStatus::Completed);
    assert_eq!(world.jobs_of("wake").len(), 0);
}

#[test]
fn a_cancelled_run_makes_no_alert() {
    let (mut world, run) = failing();
    let cancel = CancelCommand { id: run, reason: None, by: None, force: false, expected: None };
    done(world.store.cancel(vec![cancel], ms(world.clock))).expect("cancelled");
    world.end(run, OutcomeKind::Cancelled);
    world.pass(10 * MINUTE);
    assert_eq!(world.status(run), JobStatus::Cancelled);
    assert_eq!(world.jobs_of("wake").len(), 0);
    let again = done(world.store.retry(vec![run], ms(world.clock))).expect("answered");
    assert_eq!(again, [RetryAnswer::Retried], "a manual retry makes no alert either");
}
