//! Which workers are lost, and with what.

use std::time::Duration;

use orx_model::message::{WorkerDirective, WorkerRegistration, WorkerState};
use orx_model::{Capabilities, ExecutionId, Incarnation, JobId, JobStatus, LostWith, Timestamp};
use orx_store::{Live, WorkerRecord, WorkerReport};

use super::plan::Watchlist;
use crate::{Now, Settings};

const WORKER: Incarnation = Incarnation(7);
const OTHER: Incarnation = Incarnation(8);

fn at(seconds: u64) -> Now {
    let mono = Duration::from_secs(seconds);
    Now { wall: Timestamp::default().saturating_add(mono), mono }
}

/// The row of a worker whose last heartbeat came at `seen`, read at `now`.
fn row(worker: Incarnation, seen: u64, now: u64, order: Option<WorkerDirective>) -> WorkerRecord {
    let registration = WorkerRegistration {
        incarnation: worker,
        name: "w".parse().expect("a name"),
        host: "h".into(),
        pid: 1,
        version: "1".into(),
        offer: Capabilities::default(),
        slots: 1,
        started_at: Timestamp::default(),
    };
    WorkerRecord {
        report: WorkerReport {
            registration,
            state: WorkerState::Running,
            capacity: 1,
            heartbeat: 1,
            load: None,
            hosted_by: None,
            node: None,
        },
        seen_at: at(seen).wall,
        silent: Duration::from_secs(now - seen),
        order,
    }
}

fn attempt(worker: Incarnation, number: u128) -> Live {
    Live {
        job: JobId(number as i64),
        attempt: 1,
        execution: ExecutionId(number),
        worker,
        status: JobStatus::Running,
        claimed_at: Timestamp::default(),
        started_at: Some(Timestamp::default()),
        timeout_ms: Some(1_000),
        deadline: None,
        cancel_requested: false,
        alone: false,
    }
}

/// A term that began 100 s after the start.
fn watchlist() -> Watchlist {
    Watchlist::new(Settings::default(), at(100))
}

#[test]
fn a_worker_that_sent_a_heartbeat_in_this_term_died_by_itself() {
    let mut list = watchlist();
    list.update_workers(&[row(WORKER, 100, 101, None), row(OTHER, 99, 101, None)], at(101));
    assert_eq!(list.lost_with(WORKER), LostWith::Worker);
    // No node led when this one fell silent: it may have died with the leader.
    assert_eq!(list.lost_with(OTHER), LostWith::Server);
    assert_eq!(list.lost_with(Incarnation(9)), LostWith::Server);
}

#[test]
fn the_attempts_of_a_fenced_worker_are_lost_by_the_order() {
    let mut list = watchlist();
    let fenced = row(WORKER, 100, 101, Some(WorkerDirective::Fence));
    let drained = row(OTHER, 100, 101, Some(WorkerDirective::Drain));
    list.update_workers(&[fenced, drained], at(101));
    assert_eq!(list.fenced(), [WORKER]);
    assert_eq!(list.lost_with(WORKER), LostWith::Fence);
    assert_eq!(list.lost_with(OTHER), LostWith::Worker);
    // A fenced worker is not reported as silent on top of that.
    assert_eq!(list.lost(at(131)), [OTHER]);
}

#[test]
fn silence_counts_from_when_heartbeats_could_be_recorded() {
    let mut list = watchlist();
    list.update_workers(&[row(WORKER, 100, 101, None)], at(101));
    assert_eq!(list.lost(at(130)), []);
    assert_eq!(list.lost(at(131)), [WORKER]);
    list.count_silence_from(at(120).mono);
    assert_eq!(list.lost(at(150)), []);
    assert_eq!(list.lost(at(151)), [WORKER]);
    // An earlier time takes nothing back.
    list.count_silence_from(at(110).mono);
    assert_eq!(list.lost(at(150)), []);
    // Its last heartbeat was before that time: it may have died with the store.
    assert_eq!(list.lost_with(WORKER), LostWith::Server);
}

#[test]
fn a_lost_worker_takes_its_own_attempts_along_and_no_others() {
    let mut list = watchlist();
    let rows = [row(WORKER, 100, 100, None), row(OTHER, 100, 100, None)];
    list.update_workers(&rows, at(100));
    let live = [attempt(WORKER, 1), attempt(OTHER, 2)];
    list.update_attempts(&live, at(100));
    assert!(list.holds(WORKER) && list.holds(OTHER) && !list.holds(Incarnation(9)));
    assert_eq!(list.overdue(&live, at(200)).len(), 2);
    list.lose(WORKER);
    assert!(!list.holds(WORKER) && list.holds(OTHER));
    let overdue: Vec<JobId> = list.overdue(&live, at(200)).iter().map(|it| it.job).collect();
    assert_eq!(overdue, [JobId(2)]);
}

#[test]
fn a_deadline_has_to_be_over_by_the_calendar_too() {
    let mut list = watchlist();
    let live = [Live { timeout_ms: None, deadline: Some(at(110).wall), ..attempt(WORKER, 1) }];
    list.update_attempts(&live, at(100));
    let overdue = |wall_ms: i64| {
        let now = Now { wall: Timestamp::from_millis(wall_ms), ..at(200) };
        list.overdue(&live, now).len()
    };
    assert_eq!((overdue(110_000), overdue(110_001)), (0, 1));
}
