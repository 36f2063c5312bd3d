//! Free slots, and claims for them, by what the leader knows of its workers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orx_model::message::{WorkerDirective, WorkerHeartbeat, WorkerRegistration, WorkerState};
use orx_model::{Capabilities, ExecutionId, Incarnation, JobId, JobStatus, Timestamp};
use orx_store::{CLAIM_MOST, ClaimRequest, Claimed, Live, WorkerRecord, WorkerReport};
use orx_testkit::make;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::plan::{LiveReader, SlotTable};
use crate::{Now, Settings};

const WORKER: Incarnation = Incarnation(7);
const OTHER: Incarnation = Incarnation(8);

fn at(seconds: u64) -> Now {
    let mono = Duration::from_secs(seconds);
    Now { wall: Timestamp::default().saturating_add(mono), mono }
}

fn registration(worker: Incarnation, slots: u32) -> WorkerRegistration {
    WorkerRegistration {
        incarnation: worker,
        name: "w".parse().expect("a name"),
        host: "h".into(),
        pid: 1,
        version: "1".into(),
        offer: Capabilities::default(),
        slots,
        started_at: Timestamp::default(),
    }
}

fn heartbeat(seq: u64, capacity: u32) -> WorkerHeartbeat {
    WorkerHeartbeat {
        incarnation: WORKER,
        seq,
        state: WorkerState::Running,
        capacity,
        running: Vec::new(),
        unacknowledged: Vec::new(),
        load: None,
    }
}

fn row(worker: Incarnation, heartbeat: u64, capacity: u32) -> WorkerRecord {
    WorkerRecord {
        report: WorkerReport {
            registration: registration(worker, 2),
            state: WorkerState::Running,
            capacity,
            heartbeat,
            load: None,
            hosted_by: None,
            node: None,
        },
        seen_at: Timestamp::default(),
        silent: Duration::ZERO,
        order: None,
    }
}

fn live(worker: Incarnation, number: u128, alone: bool) -> Live {
    Live {
        job: JobId(number as i64),
        attempt: 1,
        execution: ExecutionId(number),
        worker,
        status: JobStatus::Running,
        claimed_at: Timestamp::default(),
        started_at: None,
        timeout_ms: None,
        deadline: None,
        cancel_requested: false,
        alone,
    }
}

/// A leader with an empty store and one worker of two slots, which has sent one heartbeat.
fn table() -> SlotTable {
    let mut table = empty();
    table.worker_registered(registration(WORKER, 2), None, at(0));
    table.worker_reported(&heartbeat(1, 2), None, at(0));
    table
}

fn empty() -> SlotTable {
    let mut table = SlotTable::new(Settings::default());
    table.begin_term(1, at(0));
    table.finish_read(LiveReader::Monitor, &[], at(0));
    table
}

fn claim(table: &mut SlotTable, now: Now) -> Vec<ClaimRequest> {
    table.claim_requests(&mut StdRng::seed_from_u64(1), now)
}

/// The free slots that a claim asks for, by worker.
fn asked(requests: &[ClaimRequest]) -> BTreeMap<Incarnation, usize> {
    requests.iter().map(|request| (request.worker, request.executions.len())).collect()
}

fn claimed(worker: Incarnation, execution: ExecutionId, alone: bool) -> Claimed {
    let spec = make::job();
    let dispatch = orx_model::message::Dispatch {
        job: JobId(1),
        attempt: 1,
        execution,
        name: spec.name,
        queue: spec.queue,
        priority: spec.priority,
        args: spec.args,
        command: None,
        timeout_ms: None,
        deadline: None,
        run_at: Timestamp::default(),
        retry: 0,
        correlation_id: None,
        tags: spec.tags,
        schedule: None,
    };
    Claimed { worker, dispatch, alone }
}

/// Claims, and answers with the first `jobs` of the asked executions of each worker.
fn claim_and_get(table: &mut SlotTable, jobs: usize, now: Now) -> Vec<ExecutionId> {
    let requests = claim(table, now);
    let got: Vec<Claimed> = requests
        .iter()
        .flat_map(|request| {
            let executions = request.executions.iter().take(jobs);
            executions.map(|execution| claimed(request.worker, *execution, false))
        })
        .collect();
    table.claim_answered(&asked(&requests), &got, now);
    got.iter().map(|claim| claim.dispatch.execution).collect()
}

fn free_slots(table: &SlotTable) -> usize {
    table.worker(WORKER).map_or(0, |load| load.free_slots())
}

fn active(table: &SlotTable) -> usize {
    table.worker(WORKER).map_or(0, |load| load.active())
}

#[test]
fn a_worker_gets_jobs_after_its_first_heartbeat_while_no_order_stands() {
    let mut table = empty();
    table.worker_registered(registration(WORKER, 2), None, at(0));
    assert_eq!((table.heartbeat_of(WORKER), free_slots(&table)), (Some(0), 0));
    table.worker_reported(&heartbeat(3, 2), None, at(0));
    assert_eq!((table.heartbeat_of(WORKER), free_slots(&table)), (Some(3), 2));
    assert_eq!(table.heartbeat_of(OTHER), None);
    table.worker_reported(&heartbeat(4, 2), Some(WorkerDirective::Drain), at(0));
    assert_eq!(free_slots(&table), 0);
    assert_eq!(asked(&claim(&mut table, at(0))), BTreeMap::new());
}

#[test]
fn a_worker_with_an_attempt_that_runs_alone_gets_no_other_job() {
    let mut table = table();
    table.begin_read(LiveReader::Monitor, at(1));
    table.finish_read(LiveReader::Monitor, &[live(WORKER, 1, true)], at(1));
    assert_eq!((active(&table), free_slots(&table)), (1, 0));
    table.attempt_ended(WORKER, ExecutionId(1));
    assert_eq!((active(&table), free_slots(&table)), (0, 2));
}

#[test]
fn a_worker_that_found_no_jobs_is_left_out_until_something_changes() {
    let mut table = table();
    claim_and_get(&mut table, 1, at(0));
    assert!(claim(&mut table, at(0)).is_empty());
    // A heartbeat with nothing new is no reason to ask again; a change of state is one.
    table.worker_reported(&heartbeat(2, 2), None, at(0));
    assert!(claim(&mut table, at(0)).is_empty());
    let draining = WorkerHeartbeat { state: WorkerState::Draining, ..heartbeat(3, 2) };
    table.worker_reported(&draining, None, at(0));
    table.worker_reported(&heartbeat(4, 2), None, at(0));
    let requests = claim(&mut table, at(0));
    assert_eq!(asked(&requests), [(WORKER, 1)].into());
    table.claim_answered(&asked(&requests), &[], at(0));
    assert!(claim(&mut table, at(0)).is_empty());
    table.jobs_ready();
    assert_eq!(asked(&claim(&mut table, at(0))), [(WORKER, 1)].into());
}

#[test]
fn a_worker_that_got_all_it_asked_for_is_asked_for_again() {
    let mut table = table();
    let got = claim_and_get(&mut table, 2, at(0));
    assert_eq!((got.len(), active(&table), free_slots(&table)), (2, 2, 0));
    table.outcome_sent(WORKER, got[0]);
    assert_eq!(asked(&claim(&mut table, at(0))), [(WORKER, 1)].into());
}

#[test]
fn the_first_heartbeat_of_a_worker_is_a_reason_to_ask_for_jobs() {
    let mut table = empty();
    let mut unreported = row(WORKER, 0, 2);
    unreported.report.registration.slots = 2;
    table.update_workers(&[unreported], at(0));
    assert!(claim(&mut table, at(0)).is_empty());
    table.worker_reported(&heartbeat(1, 2), None, at(0));
    assert_eq!(asked(&claim(&mut table, at(0))), [(WORKER, 2)].into());
}

#[test]
fn a_worker_that_registers_again_during_a_claim_is_asked_for_again() {
    let mut table = table();
    let requests = claim(&mut table, at(0));
    table.remove(WORKER);
    table.worker_registered(registration(WORKER, 2), None, at(0));
    table.claim_answered(&asked(&requests), &[], at(0));
    table.worker_reported(&heartbeat(1, 2), None, at(0));
    assert_eq!(asked(&claim(&mut table, at(0))), [(WORKER, 2)].into());
}

#[test]
fn jobs_that_become_ready_during_a_claim_are_claimed_next() {
    for rounds in 1..3 {
        let mut table = table();
        for _ in 0..rounds {
            let requests = claim(&mut table, at(0));
            table.jobs_ready();
            table.claim_answered(&asked(&requests), &[], at(0));
        }
        assert_eq!(asked(&claim(&mut table, at(0))), [(WORKER, 2)].into());
    }
}

#[test]
fn a_claim_that_took_all_it_may_leaves_nobody_out() {
    let mut table = table();
    table.worker_registered(registration(OTHER, 9_000), None, at(0));
    let mut beat = heartbeat(1, 9_000);
    beat.incarnation = OTHER;
    table.worker_reported(&beat, None, at(0));
    let requests = claim(&mut table, at(0));
    assert_eq!(asked(&requests), [(WORKER, 2), (OTHER, CLAIM_MOST)].into());
    assert!(!table.may_have_more());
    let executions = requests[1].executions.iter();
    let got: Vec<Claimed> = executions.map(|it| claimed(OTHER, *it, false)).collect();
    table.claim_answered(&asked(&requests), &got, at(0));
    assert!(table.may_have_more());
    assert!(asked(&claim(&mut table, at(0))).contains_key(&WORKER));
}

#[test]
fn jobs_that_waited_behind_one_that_runs_alone_are_claimed_next() {
    let mut table = table();
    table.worker_registered(registration(OTHER, 2), None, at(0));
    let mut beat = heartbeat(1, 2);
    beat.incarnation = OTHER;
    table.worker_reported(&beat, None, at(0));
    let requests = claim(&mut table, at(0));
    let got = [claimed(WORKER, requests[0].executions[0], true)];
    table.claim_answered(&asked(&requests), &got, at(0));
    assert_eq!(asked(&claim(&mut table, at(0))), [(OTHER, 2)].into());
}

#[test]
fn in_the_last_third_of_its_lease_a_worker_gets_nothing() {
    let mut table = table();
    assert!(claim(&mut table, at(20)).is_empty());
    let before = Now { mono: at(20).mono - Duration::from_millis(1), ..at(20) };
    assert_eq!(asked(&claim(&mut table, before)), [(WORKER, 2)].into());
}

#[test]
fn prefetch_is_what_exceeds_the_free_slots() {
    let mut table = table();
    table.worker_reported(&heartbeat(2, 5), None, at(0));
    let requests = claim(&mut table, at(0));
    let request = &requests[0];
    assert_eq!((request.executions.len(), request.prefetch, request.held), (5, 3, 0));
    table.claim_answered(
        &asked(&requests),
        &[claimed(WORKER, request.executions[0], false)],
        at(0),
    );
    table.jobs_ready();
    let request = &claim(&mut table, at(0))[0];
    assert_eq!((request.executions.len(), request.prefetch, request.held), (4, 3, 1));
}

#[test]
fn a_worker_that_returned_a_prefetched_job_prefetches_again_after_a_new_heartbeat() {
    let mut table = table();
    table.worker_reported(&heartbeat(2, 5), None, at(0));
    table.stop_prefetch(WORKER);
    assert_eq!(free_slots(&table), 2);
    // Neither a copy of the heartbeat nor its row shows a new capacity.
    table.worker_reported(&heartbeat(2, 5), None, at(0));
    table.update_workers(&[row(WORKER, 2, 5)], at(0));
    assert_eq!(free_slots(&table), 2);
    table.worker_reported(&heartbeat(3, 5), None, at(0));
    assert_eq!(free_slots(&table), 5);
}

#[test]
fn heartbeats_that_came_to_other_nodes_are_taken_from_the_rows() {
    let mut table = table();
    table.update_workers(&[row(WORKER, 4, 9), row(OTHER, 1, 2)], at(0));
    assert_eq!((table.heartbeat_of(WORKER), free_slots(&table)), (Some(4), 9));
    table.update_workers(&[row(WORKER, 3, 1), row(OTHER, 1, 2)], at(0));
    assert_eq!((table.heartbeat_of(WORKER), free_slots(&table)), (Some(4), 9));
}

#[test]
fn a_fenced_worker_is_in_the_table_only_while_it_was_or_has_attempts() {
    let fenced = WorkerRecord { order: Some(WorkerDirective::Fence), ..row(WORKER, 4, 2) };
    let mut new = empty();
    new.update_workers(std::slice::from_ref(&fenced), at(0));
    assert!(new.worker(WORKER).is_none());

    let mut holding = empty();
    holding.begin_read(LiveReader::Monitor, at(0));
    holding.finish_read(LiveReader::Monitor, &[live(WORKER, 1, false)], at(0));
    holding.update_workers(std::slice::from_ref(&fenced), at(0));
    assert_eq!((active(&holding), free_slots(&holding)), (1, 0));

    let mut before = table();
    before.update_workers(&[fenced], at(0));
    assert!(before.worker(WORKER).is_some());
    assert_eq!(free_slots(&before), 0);
}

#[test]
fn the_attempts_of_a_worker_whose_row_is_gone_count_until_they_end() {
    let mut table = table();
    let got = claim_and_get(&mut table, 2, at(0));
    table.update_workers(&[], at(0));
    assert!(table.worker(WORKER).is_none());
    assert!(!table.is_idle());
    // The worker registers again: they are its own.
    table.worker_registered(registration(WORKER, 2), None, at(5));
    assert_eq!(active(&table), 2);
    table.attempt_ended(WORKER, got[0]);
    table.update_workers(&[], at(6));
    table.attempt_ended(WORKER, got[1]);
    assert!(table.is_idle());
}

#[test]
fn a_worker_without_attempts_leaves_nothing_behind() {
    let mut table = table();
    table.update_workers(&[], at(0));
    assert!(table.is_idle());
}

#[test]
fn the_table_is_idle_while_no_attempt_is_live_claimed_or_ending() {
    let mut table = table();
    assert!(table.is_idle());
    let requests = claim(&mut table, at(0));
    assert!(!table.is_idle(), "a claim is under way");
    let execution = requests[0].executions[0];
    table.claim_answered(&asked(&requests), &[claimed(WORKER, execution, false)], at(0));
    assert!(!table.is_idle(), "an attempt is live");
    table.outcome_sent(WORKER, execution);
    assert!(!table.is_idle(), "an outcome is being recorded");
    table.outcome_recorded(WORKER, execution);
    assert!(table.is_idle());
}

#[test]
fn the_table_is_not_idle_while_more_jobs_may_be_ready() {
    let mut table = empty();
    let got: Vec<Claimed> =
        (0..CLAIM_MOST as u128).map(|it| claimed(WORKER, ExecutionId(it), false)).collect();
    table.claim_answered(&BTreeMap::new(), &got, at(0));
    got.iter().for_each(|claim| table.attempt_ended(WORKER, claim.dispatch.execution));
    assert!(!table.is_idle());
    table.claim_answered(&BTreeMap::new(), &[], at(0));
    assert!(table.is_idle());
}

#[test]
fn the_time_of_a_claim_is_known_until_the_attempt_ends() {
    let mut table = table();
    let got = claim_and_get(&mut table, 1, at(4));
    assert_eq!(table.attempts_of(WORKER), [(got[0], at(4).mono)].into());
    assert_eq!(table.attempts_of(OTHER), BTreeMap::new());
    // A read shows the same attempt later, and another one for the first time.
    table.begin_read(LiveReader::Monitor, at(9));
    let read = [live(WORKER, got[0].0, false), live(WORKER, 1, false)];
    table.finish_read(LiveReader::Monitor, &read, at(9));
    let expected = [(got[0], at(4).mono), (ExecutionId(1), at(9).mono)].into();
    assert_eq!(table.attempts_of(WORKER), expected);
}

#[test]
fn a_read_takes_back_neither_claims_nor_ends_that_happened_during_it() {
    let mut table = table();
    table.begin_read(LiveReader::Monitor, at(0));
    table.finish_read(LiveReader::Monitor, &[live(WORKER, 1, false)], at(0));
    table.begin_read(LiveReader::Monitor, at(1));
    table.attempt_ended(WORKER, ExecutionId(1));
    let got = claim_and_get(&mut table, 1, at(1));
    table.finish_read(LiveReader::Monitor, &[live(WORKER, 1, false)], at(2));
    let held: Vec<ExecutionId> = table.attempts_of(WORKER).into_keys().collect();
    assert_eq!(held, got);
    // A later read decides: an attempt that it does not show is gone.
    table.begin_read(LiveReader::Monitor, at(3));
    table.finish_read(LiveReader::Monitor, &[], at(3));
    assert_eq!(active(&table), 0);
}

#[test]
fn claims_of_an_earlier_term_are_not_newer_than_a_read() {
    let mut table = table();
    claim_and_get(&mut table, 1, at(0));
    table.begin_term(1, at(1));
    assert!(table.worker(WORKER).is_none(), "the rows are read anew");
    table.worker_registered(registration(WORKER, 2), None, at(1));
    let got = {
        table.worker_reported(&heartbeat(1, 2), None, at(1));
        claim_and_get(&mut table, 1, at(1))
    };
    table.finish_read(LiveReader::Monitor, &[], at(2));
    let held: Vec<ExecutionId> = table.attempts_of(WORKER).into_keys().collect();
    assert_eq!(held, got, "claimed after the read of the term began");
}

#[test]
fn an_outcome_that_is_being_recorded_frees_its_slot_and_a_failure_takes_it_again() {
    let mut table = table();
    let got = claim_and_get(&mut table, 2, at(0));
    table.outcome_sent(WORKER, got[0]);
    assert_eq!(free_slots(&table), 1);
    // Meanwhile a read still shows the attempt.
    table.begin_read(LiveReader::Monitor, at(1));
    let read = [live(WORKER, got[0].0, false), live(WORKER, got[1].0, false)];
    table.finish_read(LiveReader::Monitor, &read, at(1));
    assert_eq!(free_slots(&table), 1);
    table.outcome_failed(WORKER, got[0]);
    assert_eq!((active(&table), free_slots(&table)), (2, 0));
    // What was recorded is not taken again.
    table.outcome_sent(WORKER, got[0]);
    table.outcome_recorded(WORKER, got[0]);
    table.outcome_failed(WORKER, got[0]);
    assert_eq!(free_slots(&table), 1);
}

#[test]
fn a_dispatch_waits_for_the_outcomes_that_hold_its_slot() {
    let mut table = table();
    let got = claim_and_get(&mut table, 2, at(0));
    assert_eq!(table.outcomes_before_dispatch(WORKER), BTreeSet::new());
    table.outcome_sent(WORKER, got[0]);
    assert_eq!(table.outcomes_before_dispatch(WORKER), [got[0]].into());
    let of = |number: usize| BTreeSet::from([got[number]]);
    assert!(table.has_unrecorded(WORKER, &of(0)), "it is being recorded");
    assert!(table.has_unrecorded(WORKER, &of(1)), "it is live");
    assert!(!table.has_unrecorded(WORKER, &BTreeSet::new()));
    assert!(!table.has_unrecorded(OTHER, &of(0)));
    // A worker that prefetches takes the dispatch at once.
    table.worker_reported(&heartbeat(2, 3), None, at(0));
    assert_eq!(table.outcomes_before_dispatch(WORKER), BTreeSet::new());
    table.outcome_recorded(WORKER, got[0]);
    assert!(!table.has_unrecorded(WORKER, &of(0)));
}

#[test]
fn a_claim_without_an_answer_blocks_its_workers_until_it_can_take_effect_no_longer() {
    let deadline = Settings::default().store_deadline;
    let mut table = table();
    claim(&mut table, at(10));
    // The store accepts it within one deadline, and ends it within another.
    assert_eq!(table.next_resolved(), Some(at(10).mono + deadline * 2));
    assert!(claim(&mut table, at(11)).is_empty());
    table.claim_failed(true, at(12));
    assert_eq!(table.next_resolved(), Some(at(12).mono + deadline));
    // A read that begins before then proves nothing, one that begins then frees the slots.
    for (seconds, free) in [(0, false), (1, true)] {
        let mono =
            at(12).mono + deadline + Duration::from_millis(seconds) - Duration::from_millis(1);
        let now = Now { mono, ..at(12) };
        table.begin_read(LiveReader::Dispatcher, now);
        table.finish_read(LiveReader::Dispatcher, &[], now);
        assert_eq!(table.next_resolved().is_none(), free);
    }
}

#[test]
fn a_claim_that_the_store_rejected_blocks_nothing() {
    let mut table = table();
    claim(&mut table, at(0));
    table.claim_failed(false, at(0));
    assert_eq!(table.next_resolved(), None);
    assert_eq!(asked(&claim(&mut table, at(0))), [(WORKER, 2)].into());
}

#[test]
fn claims_of_several_rounds_are_told_apart() {
    let mut table = table();
    claim(&mut table, at(0));
    table.claim_failed(true, at(0));
    // Another worker comes: a second claim, which is answered. The first is still open.
    table.worker_registered(registration(OTHER, 2), None, at(1));
    let mut beat = heartbeat(1, 2);
    beat.incarnation = OTHER;
    table.worker_reported(&beat, None, at(1));
    let requests = claim(&mut table, at(1));
    assert_eq!(asked(&requests), [(OTHER, 2)].into());
    table.claim_answered(&asked(&requests), &[], at(1));
    assert!(table.next_resolved().is_some());
    assert!(!asked(&claim(&mut table, at(1))).contains_key(&WORKER));
}

#[test]
fn a_term_that_begins_again_waits_for_claims_that_may_be_sent_only_now() {
    let deadline = Settings::default().store_deadline;
    let mut table = table();
    claim(&mut table, at(0));
    table.begin_term(1, at(50));
    assert_eq!(table.next_resolved(), Some(at(50).mono + deadline * 2));
    // Claims that follow have numbers of their own.
    table.worker_registered(registration(OTHER, 2), None, at(50));
    let mut beat = heartbeat(1, 2);
    beat.incarnation = OTHER;
    table.worker_reported(&beat, None, at(50));
    let requests = claim(&mut table, at(50));
    table.claim_answered(&asked(&requests), &[], at(50));
    assert!(table.next_resolved().is_some());
    // The store refuses claims of an older term.
    table.begin_term(2, at(60));
    assert_eq!(table.next_resolved(), None);
}

#[test]
fn a_node_that_leads_no_longer_forgets_its_workers() {
    let mut table = table();
    claim_and_get(&mut table, 1, at(0));
    table.end_term();
    assert!(table.worker(WORKER).is_none());
    assert!(table.is_idle());
    table.worker_registered(registration(WORKER, 2), None, at(1));
    table.update_workers(&[row(WORKER, 1, 2)], at(1));
    table.outcome_sent(WORKER, ExecutionId(1));
    assert!(table.worker(WORKER).is_none() && table.is_idle());
}
