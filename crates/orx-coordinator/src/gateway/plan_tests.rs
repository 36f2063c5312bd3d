//! What a heartbeat changes, and the answer to it.

use std::collections::BTreeMap;
use std::time::Duration;

use orx_model::message::{
    ExecutionRef, HeartbeatAnswer, WorkerDirective, WorkerHeartbeat, WorkerRegistration,
    WorkerState,
};
use orx_model::{Capabilities, ExecutionId, Incarnation, JobId, JobStatus, OutcomeKind, Timestamp};
use orx_store::Live;

use super::plan::{Reconciled, WorkerChange, WorkerTable, interrupted};
use crate::{Now, Settings};

const WORKER: Incarnation = Incarnation(7);

fn at(seconds: u64) -> Now {
    let mono = Duration::from_secs(seconds);
    Now { wall: Timestamp::default().saturating_add(mono), mono }
}

fn registration(slots: u32) -> WorkerRegistration {
    WorkerRegistration {
        incarnation: WORKER,
        name: "w".parse().expect("a name"),
        host: "h".into(),
        pid: 1,
        version: "1".into(),
        offer: Capabilities::default(),
        slots,
        started_at: Timestamp::default(),
    }
}

fn table() -> WorkerTable {
    let mut table = WorkerTable::new(Settings::default());
    table.register(registration(4), None, at(0));
    table
}

fn reference(number: u128) -> ExecutionRef {
    ExecutionRef { job: JobId(number as i64), execution: ExecutionId(number) }
}

fn attempt(number: u128, cancel_requested: bool) -> Live {
    Live {
        job: JobId(number as i64),
        attempt: 1,
        execution: ExecutionId(number),
        worker: WORKER,
        status: JobStatus::Running,
        claimed_at: Timestamp::default(),
        started_at: Some(Timestamp::from_millis(5)),
        timeout_ms: None,
        deadline: None,
        cancel_requested,
        alone: false,
    }
}

fn heartbeat(seq: u64, running: &[u128], unacknowledged: &[u128]) -> WorkerHeartbeat {
    let references = |numbers: &[u128]| numbers.iter().copied().map(reference).collect();
    WorkerHeartbeat {
        incarnation: WORKER,
        seq,
        state: WorkerState::Running,
        capacity: 4,
        running: references(running),
        unacknowledged: references(unacknowledged),
        load: None,
    }
}

fn reconciled(beat: &WorkerHeartbeat, live: &[Live], order: Option<WorkerDirective>) -> Reconciled {
    let mut table = table();
    table.update(beat, at(1));
    table.heartbeat(beat, live, order, &BTreeMap::new(), at(1))
}

#[test]
fn an_answer_holds_the_order_and_the_times_of_the_coordinator() {
    let table = table();
    let plain = HeartbeatAnswer {
        takes_back: true,
        lease_ms: 30_000,
        heartbeat_ms: 10_000,
        now: at(9).wall,
        ..HeartbeatAnswer::default()
    };
    assert_eq!(table.answer(None, at(9)), plain);
    let drain = HeartbeatAnswer { drain: true, ..plain.clone() };
    assert_eq!(table.answer(Some(WorkerDirective::Drain), at(9)), drain);
    let fenced = HeartbeatAnswer { fenced: true, ..plain };
    assert_eq!(table.answer(Some(WorkerDirective::Fence), at(9)), fenced);
}

#[test]
fn running_attempts_go_on_are_cancelled_or_are_stopped_by_what_the_store_holds() {
    let live = [attempt(1, false), attempt(2, true)];
    let Reconciled { answer, acknowledge } =
        reconciled(&heartbeat(1, &[1, 2, 3], &[]), &live, None);
    assert_eq!((answer.cancel, answer.stop), (vec![reference(2)], vec![reference(3)]));
    assert_eq!((answer.asked, answer.resend, acknowledge), (vec![], vec![], vec![]));
    assert!(!answer.register);
}

#[test]
fn an_outcome_is_asked_for_again_until_the_store_has_it_and_then_acknowledged() {
    let beat = heartbeat(1, &[], &[1, 2]);
    let Reconciled { answer, acknowledge } = reconciled(&beat, &[attempt(1, false)], None);
    assert_eq!(answer.resend, [ExecutionId(1)]);
    assert_eq!(acknowledge, [ExecutionId(2)]);
}

#[test]
fn a_fenced_worker_gets_no_other_answer() {
    let beat = heartbeat(1, &[3], &[4]);
    let Reconciled { answer, acknowledge } =
        reconciled(&beat, &[attempt(2, false)], Some(WorkerDirective::Fence));
    assert!(answer.fenced);
    assert_eq!((answer.stop, acknowledge), (vec![], vec![]));
}

#[test]
fn a_worker_that_was_lost_meanwhile_registers_again() {
    let mut table = table();
    table.remove(WORKER);
    let beat = heartbeat(1, &[3], &[4]);
    assert!(table.report(&beat).is_none());
    assert!(table.state_of(WORKER).is_none());
    assert_eq!(table.update(&beat, at(1)), WorkerChange::default());
    let Reconciled { answer, acknowledge } =
        table.heartbeat(&beat, &[], None, &BTreeMap::new(), at(1));
    assert!(answer.register);
    assert_eq!((answer.stop, acknowledge), (vec![], vec![]));
}

#[test]
fn the_leader_hears_of_the_first_heartbeat_and_of_changes_alone() {
    let mut table = table();
    let same = WorkerChange { for_leader: false, moved_from: None };
    let changed = WorkerChange { for_leader: true, moved_from: None };
    assert_eq!(table.update(&heartbeat(1, &[], &[]), at(1)), changed);
    assert_eq!(table.update(&heartbeat(2, &[], &[]), at(2)), same);
    let more = WorkerHeartbeat { capacity: 9, ..heartbeat(3, &[], &[]) };
    assert_eq!(table.update(&more, at(3)), changed);
    let drains = WorkerHeartbeat { seq: 4, state: WorkerState::Draining, ..more };
    let moved = WorkerChange { for_leader: true, moved_from: Some(WorkerState::Running) };
    assert_eq!(table.update(&drains, at(4)), moved);
    assert_eq!(table.state_of(WORKER).map(|(_, state)| state), Some(WorkerState::Draining));
    // Late copies change nothing.
    for seq in [4, 1] {
        let late = WorkerHeartbeat { capacity: 1, ..heartbeat(seq, &[], &[]) };
        assert_eq!(table.update(&late, at(5)), same);
    }
    assert_eq!(table.state_of(WORKER).map(|(_, state)| state), Some(WorkerState::Draining));
}

#[test]
fn the_rows_of_a_worker_hold_what_it_registered_and_what_it_reported_last() {
    let table = table();
    let first = table.first_report(&registration(4));
    assert_eq!((first.state, first.capacity, first.heartbeat), (WorkerState::Running, 4, 0));
    let beat =
        WorkerHeartbeat { capacity: 9, state: WorkerState::Draining, ..heartbeat(3, &[], &[]) };
    let report = table.report(&beat).expect("a registered worker");
    let reported = (report.state, report.capacity, report.heartbeat);
    assert_eq!(reported, (WorkerState::Draining, 9, 3));
    assert_eq!(report.registration.incarnation, WORKER);
}

#[test]
fn a_worker_is_forgotten_when_it_was_silent_for_more_than_two_leases() {
    let mut table = table();
    table.remove_silent(at(60));
    assert!(table.state_of(WORKER).is_some());
    // A late copy of a heartbeat also shows that the worker lives.
    table.update(&heartbeat(1, &[], &[]), at(10));
    table.update(&heartbeat(1, &[], &[]), at(20));
    table.remove_silent(at(80));
    assert!(table.state_of(WORKER).is_some());
    table.remove_silent(at(81));
    assert!(table.state_of(WORKER).is_none());
}

#[test]
fn an_attempt_is_asked_about_by_the_time_at_which_the_leader_claimed_it() {
    let mut table = table();
    let claimed = BTreeMap::from([(ExecutionId(1), at(10).mono)]);
    let asked = |table: &mut WorkerTable, seq, now| {
        let beat = heartbeat(seq, &[], &[]);
        table.heartbeat(&beat, &[attempt(1, false)], None, &claimed, now).answer.asked
    };
    assert_eq!(asked(&mut table, 1, at(24)), []);
    assert_eq!(asked(&mut table, 2, at(25)), [reference(1)]);
}

#[test]
fn a_worker_that_stops_interrupts_its_attempts() {
    let outcome = interrupted(&attempt(3, false), Timestamp::from_millis(9));
    assert!(matches!(outcome.kind, OutcomeKind::Interrupted));
    assert_eq!((outcome.job, outcome.execution), (JobId(3), ExecutionId(3)));
    assert_eq!(outcome.started_at, Some(Timestamp::from_millis(5)));
    assert_eq!(outcome.ended_at, Timestamp::from_millis(9));
}
