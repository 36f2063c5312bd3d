//! The contract of every store for schedules: `orx_testkit::schedule_contract!(open);`, as
//! [`mod@crate::store_contract`].

mod dependencies;
mod firings;
mod ledger;
mod rewinds;
mod schedules;
mod transfer;

use orx_model::schedule::{Due, ScheduleSpec, Slot, SlotOutcome, When};
use orx_model::wire::EnqueueRequest;
use orx_model::{Incarnation, JobId, JobStatus, Timestamp};
use orx_schedule::Schedule;
use orx_store::{
    Firing, Position, Release, Released, Run, RunAfter, SchedulePlan, ScheduleRecord, SlotRequest,
    Templates, Term,
};

use crate::make::{NOW, at, job, name, request};
use crate::store_contract::{AStore, HOUR, lead};

pub use dependencies::*;
pub use firings::*;
pub use ledger::*;
pub use rewinds::*;
pub use schedules::*;
pub use transfer::*;

/// Runs every case against the store that `$open` returns.
#[macro_export]
macro_rules! schedule_contract {
    ($open:expr) => {
        $crate::schedule_contract!(@cases $open,
            schedules_are_stored_and_listed_by_id
            an_id_in_use_is_not_taken_again
            a_change_needs_the_version_and_the_position_that_were_read
            a_change_writes_its_row_and_only_if_it_was_made
            a_removed_schedule_takes_its_ledger_along_and_leaves_its_jobs
            a_schedule_is_removed_only_at_the_version_that_was_read
            due_schedules_come_longest_due_first
            paused_and_ended_schedules_are_never_due
            a_firing_makes_jobs_and_rows_and_moves_the_schedule
            an_alert_is_a_job_and_no_run
            a_manual_run_leaves_the_slots_alone
            a_run_beside_the_last_is_ready_at_once_and_stands_for_both
            a_run_beside_the_last_goes_on_as_it_is_once_that_has_ended
            rows_alone_move_the_schedule_without_a_run
            a_stale_firing_does_nothing_and_blocks_no_other
            the_end_of_the_last_run_is_part_of_the_expected_version
            one_batch_fires_a_schedule_once
            jobs_are_numbered_in_the_order_of_a_batch
            each_schedule_of_a_large_batch_gets_its_own_jobs
            of_firings_of_one_slot_at_once_one_is_done
            of_changes_at_once_one_is_made
            firings_of_two_schedules_and_claims_at_once_lose_nothing
            a_run_that_waits_is_ready_only_once_the_last_has_ended
            every_way_to_end_a_job_releases_the_next
            the_end_of_a_retried_job_is_followed_up_when_it_ends_again
            a_run_that_waits_for_none_is_ready_at_once
            a_run_that_waits_for_one_that_has_ended_is_released
            a_last_run_is_asked_to_stop_once
            a_last_run_that_stops_already_is_not_asked_again
            runs_of_one_firing_go_one_after_the_other
            a_run_after_a_cancelled_one_waits_for_the_run_before_both
            a_chain_of_runs_that_end_together_is_released_at_once
            a_job_with_several_parents_waits_for_all
            a_waiting_run_expires
            a_run_has_its_alert_until_it_ends
            one_job_released_twice_in_a_batch_is_released_once
            a_dependency_outlives_its_schedule
            a_row_takes_the_place_of_one_that_made_no_job
            a_slot_that_made_a_job_makes_no_other
            a_schedule_ahead_of_the_clock_is_set_back_as_it_was_read
            a_rewind_deletes_rows_of_slots_to_come
            of_two_rows_of_one_slot_the_last_counts
            a_ledger_is_read_newest_first_page_by_page
            only_missed_slots_are_counted_and_only_those_recorded_since
            a_deposed_leader_fires_releases_and_prunes_nothing
            old_rows_are_pruned_a_limited_number_at_once
            a_long_ledger_is_cut_back_to_its_newest_rows
            imported_schedules_are_as_they_were
            imported_dependencies_are_as_they_were
        );
    };
    (@cases $open:expr, $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (store, _guard) = $open().await;
                let store = $crate::store_contract::AStore::led(store).await;
                $crate::schedule_contract::$case(store).await;
            }
        )*
    };
}

fn due(seconds: i64) -> Option<Due> {
    Some(Due { slot: at(seconds), fire_at: at(seconds) })
}

fn plan(id: &str, next: Option<Due>) -> SchedulePlan {
    let asked = EnqueueRequest { name: Some(name("work")), ..EnqueueRequest::default() };
    let when = When::Cron("0 2 * * *".parse().expect("an expression"));
    SchedulePlan {
        spec: Schedule::new(ScheduleSpec::new(name(id), when, asked)).expect("a schedule"),
        templates: Templates { job: job(), on_missed: None, on_failure: None },
        paused: None,
        position: Position { handled: NOW, next },
        by: None,
    }
}

async fn make(store: &AStore, id: &str) -> ScheduleRecord {
    assert!(store.add_schedule(plan(id, due(60)), NOW).await.expect("added"), "{id} is new");
    read(store, id).await
}

async fn find(store: &AStore, id: &str) -> Option<ScheduleRecord> {
    store.schedule(&name(id)).await.expect("read")
}

async fn read(store: &AStore, id: &str) -> ScheduleRecord {
    find(store, id).await.expect("the schedule")
}

fn shown(records: &[ScheduleRecord]) -> Vec<String> {
    records.iter().map(|record| format!("{record:?}")).collect()
}

fn ids(records: &[ScheduleRecord]) -> Vec<&str> {
    records.iter().map(|record| record.id().as_str()).collect()
}

fn row(slot: i64, outcome: SlotOutcome) -> Slot {
    Slot { slot: at(slot), last: None, count: 1, exact: true, outcome, recorded_at: at(slot) }
}

fn missed(slot: i64) -> Slot {
    row(slot, SlotOutcome::Missed)
}

/// The row of a slot that runs; the store fills in the job.
fn ran(slot: i64) -> Slot {
    row(slot, SlotOutcome::Ran { job: JobId(0), late_ms: 250 })
}

fn ran_as(slot: i64, job: JobId) -> Slot {
    row(slot, SlotOutcome::Ran { job, late_ms: 250 })
}

fn run(record: &ScheduleRecord, slot: i64, after: RunAfter) -> Run {
    let job = record.job_for(Some(at(slot)), at(slot));
    Run { job, after, row: Some(ran(slot)), on_failure: None }
}

/// A firing whose last slot becomes the position; the next slot is a minute later.
fn firing(record: &ScheduleRecord, runs: Vec<Run>) -> Firing {
    let slots = runs.iter().filter_map(|run| run.row.map(|row| row.slot));
    let to = slots.max().map(|handled| {
        let next = Timestamp::from_millis(handled.as_millis() + 60_000);
        Position { handled, next: Some(Due { slot: next, fire_at: next }) }
    });
    Firing { expected: record.expected(), runs, rows: Vec::new(), alerts: Vec::new(), to }
}

fn rows_only(record: &ScheduleRecord, rows: Vec<Slot>) -> Firing {
    Firing { rows, to: Some(record.plan.position), ..firing(record, Vec::new()) }
}

async fn fire(store: &AStore, fires: Vec<Firing>) -> Vec<Option<Vec<JobId>>> {
    let fired = store.fire(fires, Some(store.term), at(60)).await.expect("fired");
    fired.into_iter().map(|fired| fired.map(|fired| fired.runs)).collect()
}

async fn fire_one(store: &AStore, one: Firing) -> Vec<JobId> {
    let mut answers = fire(store, vec![one]).await;
    assert_eq!(answers.len(), 1);
    answers.remove(0).expect("the expected version")
}

/// Fires one run for a slot of the schedule as it is stored now.
async fn run_one(store: &AStore, id: &str, slot: i64, after: RunAfter) -> JobId {
    let record = read(store, id).await;
    let jobs = fire_one(store, firing(&record, vec![run(&record, slot, after)])).await;
    assert_eq!(jobs.len(), 1);
    jobs[0]
}

fn all_of(id: &str) -> SlotRequest {
    SlotRequest { id: name(id), before: None, missed: false, limit: 1_000 }
}

async fn slots(store: &AStore, request: SlotRequest) -> Vec<Slot> {
    store.slots(request).await.expect("the ledger")
}

/// Claims all ready jobs, with execution ids from this number on.
async fn claimed(store: &AStore, execution: u128) -> Vec<JobId> {
    let asked = vec![request(1, execution, 9)];
    let claimed = store.claim_ready(asked, store.term, at(61)).await.expect("claimed").claimed;
    claimed.iter().map(|claimed| claimed.dispatch.job).collect()
}

/// Jobs whose end has to be followed up.
async fn ended(store: &AStore) -> Vec<JobId> {
    store.follow_ups(100).await.expect("read").iter().map(|it| it.job).collect()
}

async fn to_cancel(store: &AStore) -> Vec<JobId> {
    store.jobs_to_cancel(100).await.expect("read")
}

/// The jobs that a job depends on.
async fn depends_on(store: &AStore, child: JobId) -> Vec<JobId> {
    let (all, _) = store.dependencies().await.expect("read");
    all.iter().filter(|it| it.child == child).map(|it| it.parent).collect()
}

/// Follows up the ends of these jobs. Returns the jobs that are pending now.
async fn release(store: &AStore, jobs: &[JobId]) -> Vec<JobId> {
    let releases = jobs.iter().map(|job| Release { job: *job, alert: None }).collect();
    released(store, releases).await.admitted
}

async fn released(store: &AStore, releases: Vec<Release>) -> Released {
    store.release(releases, store.term, at(70)).await.expect("released")
}

/// How many jobs are in these statuses: created, pending, and all.
async fn counted(store: &AStore) -> (u64, u64, u64) {
    let counts = store.queue_counts().await.expect("counts");
    let of = |status| counts.iter().map(|(_, counts)| counts.of(status)).sum::<u64>();
    (of(JobStatus::Created), of(JobStatus::Pending), JobStatus::ALL.into_iter().map(of).sum())
}

async fn other_leader(store: &AStore) -> Term {
    assert!(store.step_down(store.term).await.expect("stepped down"));
    lead(&**store, Incarnation(78), HOUR).await.expect("the lead is free")
}
