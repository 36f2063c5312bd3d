//! The contract of every store for schedules: `orx_testkit::schedule_contract!(open);`, as
//! [`mod@crate::store_contract`].

use orx_model::schedule::{Due, ScheduleSpec, SkipReason, Slot, SlotOutcome, When};
use orx_model::wire::EnqueueRequest;
use orx_model::{Incarnation, JobId, JobSpec, JobStatus, Origin, Timestamp};
use orx_schedule::Schedule;
use orx_store::{
    CancelAnswer, Changed, DependencyStep, ExpectedVersion, Firing, Paused, Position, PruneRequest,
    Rewind, Run, RunAfter, RunDependency, SLOTS_KEPT, SchedulePlan, ScheduleRecord, Settled,
    SlotRequest, StoreError, Templates, Term,
};

use crate::make::{NOW, at, failed, job, name, outcome, request, succeeded};
use crate::store_contract::{AStore, HOUR, cancel, cancel_of, get, lead, send, status};

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
            a_run_that_waits_for_none_is_ready_at_once
            a_last_run_is_asked_to_stop_once
            runs_of_one_firing_go_one_after_the_other
            a_waiting_run_that_is_cancelled_is_released_unchanged
            a_waiting_run_expires
            a_run_with_an_alert_has_a_dependency_until_it_ends
            one_run_settled_twice_in_a_batch_is_settled_in_turn
            a_dependency_outlives_its_schedule
            a_row_takes_the_place_of_one_that_made_no_job
            a_slot_that_made_a_job_makes_no_other
            a_schedule_ahead_of_the_clock_is_set_back_as_it_was_read
            a_rewind_deletes_rows_of_slots_to_come
            of_two_rows_of_one_slot_the_last_counts
            a_ledger_is_read_newest_first_page_by_page
            only_missed_slots_are_counted_and_only_those_recorded_since
            a_deposed_leader_fires_settles_and_prunes_nothing
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
    Firing { basis: record.basis(), runs, rows: Vec::new(), alerts: Vec::new(), to }
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

async fn ripe(store: &AStore) -> Vec<RunDependency> {
    store.watched(100).await.expect("watched")
}

async fn ripe_jobs(store: &AStore) -> Vec<JobId> {
    ripe(store).await.iter().map(|watched| watched.job).collect()
}

async fn settle(store: &AStore, settles: Vec<DependencyStep>) -> Vec<bool> {
    settled(store, settles).await.into_iter().map(Settled::is_done).collect()
}

async fn settled(store: &AStore, settles: Vec<DependencyStep>) -> Vec<Settled> {
    store.settle(settles, store.term, at(70)).await.expect("settled")
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

/// A schedule reads as it was added; pages are in the byte order of ids.
pub async fn schedules_are_stored_and_listed_by_id(store: AStore) {
    let mut whole = plan("b", Some(Due { slot: at(60), fire_at: at(63) }));
    whole.templates.on_missed = Some(JobSpec { name: name("page"), ..job() });
    whole.templates.on_failure = Some(JobSpec { name: name("warn"), ..job() });
    whole.by = Some("a \0 $o$ \\ 'person'".replace('\0', ""));
    whole.paused = Some(Paused { at: at(-5), reason: Some("why".into()), by: Some("who".into()) });
    assert!(store.add_schedule(whole.clone(), at(1)).await.expect("added"));
    for id in ["c", "a", "B"] {
        make(&store, id).await;
    }
    let expected = ScheduleRecord {
        unreadable: None,
        plan: whole,
        version: 1,
        created_at: at(1),
        updated_at: at(1),
        runs: 0,
        last_run: None,
    };
    assert_eq!(shown(&[read(&store, "b").await]), shown(&[expected]));
    assert!(find(&store, "d").await.is_none());
    let all = store.schedules(None, 9).await.expect("a page");
    assert_eq!(ids(&all), ["B", "a", "b", "c"]);
    let first = store.schedules(None, 2).await.expect("a page");
    assert_eq!(shown(&first), shown(&all[..2]));
    let rest = store.schedules(Some(name("a")), 2).await.expect("a page");
    assert_eq!(shown(&rest), shown(&all[2..]));
    assert!(store.schedules(Some(name("c")), 2).await.expect("a page").is_empty());
}

/// A schedule with an id in use is not added; after a removal it is.
pub async fn an_id_in_use_is_not_taken_again(store: AStore) {
    let before = make(&store, "a").await;
    let mut other = plan("a", due(90));
    other.by = Some("another".into());
    assert!(!store.add_schedule(other.clone(), at(9)).await.expect("an answer"));
    assert_eq!(shown(&[read(&store, "a").await]), shown(&[before]));
    store.remove_schedule(&name("a"), None).await.expect("removed");
    assert!(store.add_schedule(other, at(9)).await.expect("added"));
    assert_eq!(read(&store, "a").await.plan.by.as_deref(), Some("another"));
}

/// A change at another version or position is stale, and of an unknown schedule missing.
pub async fn a_change_needs_the_version_and_the_position_that_were_read(store: AStore) {
    let before = make(&store, "a").await;
    let mut to = plan("a", due(90));
    to.position.handled = at(30);
    to.paused = Some(Paused { at: at(9), reason: None, by: None });
    to.by = Some("a person".into());
    for (version, handled) in [(2, NOW), (0, NOW), (1, at(1))] {
        let changed = store.change_schedule(version, handled, to.clone(), None, at(9)).await;
        assert_eq!(changed.expect("an answer"), Changed::Stale, "{version} {handled}");
    }
    assert_eq!(shown(&[read(&store, "a").await]), shown(std::slice::from_ref(&before)));
    let changed = store.change_schedule(1, NOW, to.clone(), None, at(9)).await;
    assert_eq!(changed.expect("an answer"), Changed::Done { version: 2 });
    let after = ScheduleRecord { plan: to.clone(), version: 2, updated_at: at(9), ..before };
    assert_eq!(shown(&[read(&store, "a").await]), shown(&[after]));
    let again = store.change_schedule(1, NOW, to.clone(), None, at(9)).await;
    assert_eq!(again.expect("an answer"), Changed::Stale);
    let other = ScheduleSpec { id: name("b"), ..to.spec.into() };
    to.spec = Schedule::new(other).expect("a schedule");
    let missing = store.change_schedule(2, at(30), to, None, at(9)).await;
    assert_eq!(missing.expect("an answer"), Changed::Missing);
}

/// A change adds its ledger row when it is made; a stale one does not.
pub async fn a_change_writes_its_row_and_only_if_it_was_made(store: AStore) {
    make(&store, "a").await;
    let skipped = row(60, SlotOutcome::Skipped { reason: SkipReason::Paused });
    for (version, expected) in [(7, Vec::new()), (1, vec![skipped])] {
        let plan = plan("a", due(90));
        store.change_schedule(version, NOW, plan, Some(skipped), at(9)).await.expect("an answer");
        assert_eq!(slots(&store, all_of("a")).await, expected);
    }
    let range = Slot { last: Some(at(75)), count: 16, exact: false, ..missed(60) };
    let plan = plan("a", due(90));
    store.change_schedule(2, NOW, plan, Some(range), at(9)).await.expect("an answer");
    assert_eq!(slots(&store, all_of("a")).await, [range], "it takes the other's place");
}

/// Removing a schedule deletes its ledger; its jobs stay.
pub async fn a_removed_schedule_takes_its_ledger_along_and_leaves_its_jobs(store: AStore) {
    for id in ["a", "b"] {
        make(&store, id).await;
    }
    let gone = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let other = run_one(&store, "b", 60, RunAfter::Nothing).await;
    let removed = store.remove_schedule(&name("a"), None).await.expect("an answer");
    assert_eq!(removed, Changed::Done { version: 1 });
    assert!(find(&store, "a").await.is_none());
    assert!(slots(&store, all_of("a")).await.is_empty());
    assert_eq!(status(&store, gone).await, JobStatus::Pending);
    assert_eq!(slots(&store, all_of("b")).await, [ran_as(60, other)]);
    assert_eq!(store.next_fire(NOW).await.expect("read"), Some(at(120)));
    let again = store.remove_schedule(&name("a"), None).await.expect("an answer");
    assert_eq!(again, Changed::Missing);
}

/// A removal at another version is stale.
pub async fn a_schedule_is_removed_only_at_the_version_that_was_read(store: AStore) {
    make(&store, "a").await;
    run_one(&store, "a", 60, RunAfter::Nothing).await;
    let removed = store.remove_schedule(&name("a"), Some(2)).await.expect("an answer");
    assert_eq!(removed, Changed::Stale);
    assert_eq!(slots(&store, all_of("a")).await.len(), 1);
    let removed = store.remove_schedule(&name("a"), Some(1)).await.expect("an answer");
    assert_eq!(removed, Changed::Done { version: 1 });
    assert!(find(&store, "a").await.is_none());
}

/// Due schedules are ordered by firing time, then slot; the next firing time is after the given
/// one.
pub async fn due_schedules_come_longest_due_first(store: AStore) {
    for (id, slot, fire_at) in [("a", 10, 30), ("b", 20, 20), ("c", 5, 10), ("d", 5, 30)] {
        let next = Some(Due { slot: at(slot), fire_at: at(fire_at) });
        assert!(store.add_schedule(plan(id, next), NOW).await.expect("added"));
    }
    for (now, limit, expected) in [
        (9, 9, &[][..]),
        (10, 9, &["c"][..]),
        (29, 9, &["c", "b"]),
        (30, 9, &["c", "b", "a", "d"]),
        (30, 3, &["c", "b", "a"]),
    ] {
        let due = store.due_schedules(at(now), limit).await.expect("due");
        assert_eq!(ids(&due), expected, "at {now}");
    }
    for (after, expected) in
        [(0, Some(10)), (9, Some(10)), (10, Some(20)), (29, Some(30)), (30, None)]
    {
        let next = store.next_fire(at(after)).await.expect("read");
        assert_eq!(next, expected.map(at), "after {after}");
    }
}

/// A schedule without a next slot is never due.
pub async fn paused_and_ended_schedules_are_never_due(store: AStore) {
    let mut paused = plan("a", None);
    paused.paused = Some(Paused { at: NOW, reason: None, by: None });
    assert!(store.add_schedule(paused, NOW).await.expect("added"));
    make(&store, "b").await;
    assert_eq!(ids(&store.due_schedules(at(60), 9).await.expect("due")), ["b"]);
    let record = read(&store, "b").await;
    let last = Firing {
        to: Some(Position { handled: at(60), next: None }),
        ..firing(&record, vec![run(&record, 60, RunAfter::Nothing)])
    };
    fire_one(&store, last).await;
    assert!(store.due_schedules(at(9_999), 9).await.expect("due").is_empty());
    assert_eq!(store.next_fire(NOW).await.expect("read"), None);
    let position = Position { handled: at(60), next: None };
    assert_eq!(read(&store, "b").await.plan.position, position);
}

/// A firing creates its jobs and ledger rows and moves the position in one step.
pub async fn a_firing_makes_jobs_and_rows_and_moves_the_schedule(store: AStore) {
    let mut asked = plan("a", due(60));
    let mut spec = ScheduleSpec::from(asked.spec);
    spec.job.expires_ms = Some(5_000);
    asked.spec = Schedule::new(spec).expect("a schedule");
    asked.templates.job.tags = [("k".to_owned(), "$o$ \\ '".to_owned())].into();
    assert!(store.add_schedule(asked, NOW).await.expect("added"));
    let record = read(&store, "a").await;
    let caught_up = row(60, SlotOutcome::CaughtUp { job: JobId(0), late_ms: 60_000 });
    let one = Firing {
        rows: vec![missed(30), row(40, SlotOutcome::Skipped { reason: SkipReason::Overlap })],
        ..firing(
            &record,
            vec![
                Run { row: Some(caught_up), ..run(&record, 60, RunAfter::Nothing) },
                run(&record, 120, RunAfter::Nothing),
            ],
        )
    };
    let jobs = fire_one(&store, one).await;
    assert!(jobs.len() == 2 && jobs[0] < jobs[1], "{jobs:?}");
    for (id, slot) in [(jobs[0], 60), (jobs[1], 120)] {
        let job = get(&store, id).await;
        assert_eq!(
            (job.state.status, job.state.run_at, job.state.created_at),
            (JobStatus::Pending, at(60), at(60))
        );
        assert_eq!(job.spec.schedule, Some(Origin { id: name("a"), slot: Some(at(slot)) }));
        assert_eq!(job.spec.expires_at, Some(at(slot + 5)));
        assert_eq!(job.spec.tags, record.plan.templates.job.tags);
    }
    let caught_up = SlotOutcome::CaughtUp { job: jobs[0], late_ms: 60_000 };
    let expected = [
        ran_as(120, jobs[1]),
        row(60, caught_up),
        row(40, SlotOutcome::Skipped { reason: SkipReason::Overlap }),
        missed(30),
    ];
    assert_eq!(slots(&store, all_of("a")).await, expected);
    let after = read(&store, "a").await;
    assert_eq!(after.plan.position, Position { handled: at(120), next: due(180) });
    assert_eq!((after.version, after.runs, after.updated_at), (1, 2, NOW));
    assert_eq!(after.last_run.map(|run| run.job), Some(jobs[1]));
    assert_eq!(after.last_run.and_then(|run| run.status), Some(JobStatus::Pending));
    assert_eq!(counted(&store).await, (0, 2, 2));
    assert!(!store.is_watching().await.expect("read"), "there is no dependency");
    assert_eq!(claimed(&store, 1).await, jobs);
}

/// An alert becomes a job, and counts neither as a run nor as the last run.
pub async fn an_alert_is_a_job_and_no_run(store: AStore) {
    let record = make(&store, "a").await;
    let page = JobSpec { name: name("page"), queue: name("alerts"), ..job() };
    let one = Firing { alerts: vec![page], ..rows_only(&record, vec![missed(60)]) };
    let fired = store.fire(vec![one], Some(store.term), at(60)).await.expect("fired");
    let fired = fired[0].as_ref().expect("its basis stands");
    assert_eq!((fired.runs.len(), fired.alerts.len()), (0, 1));
    assert_eq!(get(&store, fired.alerts[0]).await.spec.name, name("page"));
    let after = read(&store, "a").await;
    assert_eq!((after.runs, after.last_run), (0, None));
    assert_eq!(counted(&store).await, (0, 1, 1));
    let oldest = store.oldest_due().await.expect("read");
    assert_eq!(oldest, [(name("alerts"), at(60))]);
}

/// A manual run makes a job without a ledger row and leaves the position as it is.
pub async fn a_manual_run_leaves_the_slots_alone(store: AStore) {
    let record = make(&store, "a").await;
    let fires = vec![record.manual("person".to_owned(), at(9))];
    assert!(fires[0].to.is_none());
    let answers = store.fire(fires, None, at(9)).await.expect("fired");
    let jobs = answers[0].clone().expect("the expected version").runs;
    let made = get(&store, jobs[0]).await;
    assert_eq!(made.spec.schedule, Some(Origin { id: name("a"), slot: None }));
    let after = read(&store, "a").await;
    assert_eq!(after.plan.position, record.plan.position);
    assert_eq!((after.runs, after.last_run.map(|run| run.job)), (0, Some(jobs[0])));
    assert!(slots(&store, all_of("a")).await.is_empty());
    // The last run has changed, so a firing on the old record is stale.
    let again = firing(&record, vec![run(&record, 60, RunAfter::Nothing)]);
    assert_eq!(fire(&store, vec![again]).await, [None]);
    assert_eq!(counted(&store).await, (0, 1, 1));
}

/// A run alongside the last is ready at once; successors wait for both.
pub async fn a_run_beside_the_last_is_ready_at_once_and_stands_for_both(store: AStore) {
    make(&store, "a").await;
    let before = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let record = read(&store, "a").await;
    let answers = store.fire(vec![record.manual("person".to_owned(), at(61))], None, at(61)).await;
    let manual = answers.expect("fired")[0].clone().expect("the expected version").runs[0];
    assert_eq!(status(&store, manual).await, JobStatus::Pending);
    // The next slot waits for this run, and through it for the previous one.
    let after = read(&store, "a").await;
    assert_eq!((after.runs, after.last_run.map(|run| run.job)), (1, Some(manual)));
    assert!(ripe(&store).await.is_empty(), "both go on");
    assert_eq!(claimed(&store, 1).await, [before, manual]);
    let _ = send(&store, outcome(manual, 2, succeeded())).await;
    let found = ripe(&store).await;
    assert_eq!((found[0].job, found[0].status), (manual, Some(JobStatus::Completed)));
    assert_eq!(found[0].after, Some((before, Some(JobStatus::Dispatched))));
    let _ = send(&store, outcome(before, 1, succeeded())).await;
    assert_eq!(
        settle(&store, vec![DependencyStep::End { job: manual, alert: None }]).await,
        [true]
    );
    assert!(!store.is_watching().await.expect("read"));
}

/// The end of the previous run releases the dependency and does not change the run beside it.
pub async fn a_run_beside_the_last_goes_on_as_it_is_once_that_has_ended(store: AStore) {
    make(&store, "a").await;
    let before = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let beside = run_one(&store, "a", 120, RunAfter::Beside).await;
    assert_eq!(claimed(&store, 1).await, [before, beside]);
    let _ = send(&store, outcome(before, 1, succeeded())).await;
    assert_eq!(settle(&store, vec![DependencyStep::Release { job: beside }]).await, [true]);
    assert_eq!(status(&store, beside).await, JobStatus::Dispatched);
    assert!(!store.is_watching().await.expect("read"));
}

/// A firing with rows alone moves the position and leaves the last run.
pub async fn rows_alone_move_the_schedule_without_a_run(store: AStore) {
    make(&store, "a").await;
    let before = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let record = read(&store, "a").await;
    let to = Position { handled: at(300), next: due(360) };
    let one = Firing { to: Some(to), ..rows_only(&record, vec![missed(120)]) };
    assert_eq!(fire_one(&store, one).await, []);
    let after = read(&store, "a").await;
    assert_eq!((after.plan.position, after.runs), (to, 1));
    assert_eq!(after.last_run.map(|run| run.job), Some(before));
}

/// A firing on another version, position or last run does nothing; the others of its batch are
/// done.
pub async fn a_stale_firing_does_nothing_and_blocks_no_other(store: AStore) {
    for id in ["a", "b", "c", "d", "e"] {
        make(&store, id).await;
    }
    let mut fires = Vec::new();
    for id in ["a", "b", "c", "d", "e"] {
        let record = read(&store, id).await;
        let mut one = firing(&record, vec![run(&record, 60, RunAfter::Nothing)]);
        one.rows = vec![missed(30)];
        one.alerts = vec![job()];
        match id {
            "a" => one.basis.version = 2,
            "b" => one.basis.handled = at(1),
            "c" => one.basis.last_run = Some((JobId(1), true)),
            "d" => one.basis.id = name("absent"),
            _ => {}
        }
        fires.push(one);
    }
    let before = shown(&store.schedules(None, 4).await.expect("a page"));
    let answers = fire(&store, fires).await;
    assert_eq!(answers[..4], [None, None, None, None]);
    assert_eq!(answers[4].as_ref().map(Vec::len), Some(1));
    assert_eq!(shown(&store.schedules(None, 4).await.expect("a page")), before);
    for id in ["a", "b", "c", "d", "absent"] {
        assert!(slots(&store, all_of(id)).await.is_empty(), "{id}");
    }
    assert_eq!(slots(&store, all_of("e")).await.len(), 2);
    assert_eq!(counted(&store).await, (0, 2, 2));
    assert_eq!(read(&store, "e").await.runs, 1);
}

/// A firing is stale when the last run has ended since the read; a pruned run counts as ended.
pub async fn the_end_of_the_last_run_is_part_of_the_expected_version(store: AStore) {
    make(&store, "a").await;
    let last = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let live = read(&store, "a").await;
    assert_eq!(live.basis().last_run, Some((last, false)));
    let mut wrong = firing(&live, vec![run(&live, 120, RunAfter::Nothing)]);
    wrong.basis.last_run = Some((last, true));
    assert_eq!(fire(&store, vec![wrong]).await, [None], "it has not ended");
    assert_eq!(claimed(&store, 1).await, [last]);
    let _ = send(&store, outcome(last, 1, succeeded())).await;
    let stale = firing(&live, vec![run(&live, 120, RunAfter::Nothing)]);
    assert_eq!(fire(&store, vec![stale]).await, [None], "it has ended meanwhile");
    let ended = read(&store, "a").await;
    assert_eq!(ended.basis().last_run, Some((last, true)));
    let request =
        PruneRequest { completed_before: at(99), others_before: at(99), limit: 9, chunks: 99 };
    assert_eq!(store.prune(request, store.term).await.expect("pruned").jobs, 1);
    let forgotten = read(&store, "a").await;
    assert_eq!(forgotten.last_run.map(|run| (run.job, run.status)), Some((last, None)));
    // A pruned run counts as ended.
    let one = firing(&ended, vec![run(&ended, 120, RunAfter::Nothing)]);
    assert_eq!(fire_one(&store, one).await.len(), 1);
}

/// Of several firings of one schedule in a batch only the first is considered.
pub async fn one_batch_fires_a_schedule_once(store: AStore) {
    let (a, b) = (make(&store, "a").await, make(&store, "b").await);
    let mut stale = firing(&b, vec![run(&b, 60, RunAfter::Nothing)]);
    stale.basis.version = 9;
    let answers = fire(
        &store,
        vec![
            firing(&a, vec![run(&a, 60, RunAfter::Nothing)]),
            firing(&a, vec![run(&a, 60, RunAfter::Nothing)]),
            stale,
            // Up to date, but not the first of its schedule.
            firing(&b, vec![run(&b, 60, RunAfter::Nothing)]),
        ],
    )
    .await;
    let done: Vec<bool> = answers.iter().map(Option::is_some).collect();
    assert_eq!(done, [true, false, false, false]);
    assert_eq!(counted(&store).await, (0, 1, 1));
    assert_eq!((read(&store, "a").await.runs, read(&store, "b").await.runs), (1, 0));
}

/// Job ids ascend in the order of a batch and of its runs.
pub async fn jobs_are_numbered_in_the_order_of_a_batch(store: AStore) {
    let (a, b) = (make(&store, "a").await, make(&store, "b").await);
    let of = |record: &ScheduleRecord| {
        let runs = [60, 120, 180].map(|slot| run(record, slot, RunAfter::Nothing));
        firing(record, runs.into())
    };
    let answers = fire(&store, vec![of(&b), of(&a)]).await;
    let jobs: Vec<JobId> = answers.into_iter().flatten().flatten().collect();
    assert!(jobs.len() == 6 && jobs.is_sorted(), "{jobs:?}");
    let names = ["b", "b", "b", "a", "a", "a"].map(name);
    for (job, id) in jobs.iter().zip(names) {
        assert_eq!(get(&store, *job).await.spec.schedule.map(|from| from.id), Some(id));
    }
}

/// Jobs, rows and last runs of a large batch belong to the schedule that fired.
pub async fn each_schedule_of_a_large_batch_gets_its_own_jobs(store: AStore) {
    // Not in the order of ids, with different numbers of runs.
    let count = 120;
    let mut fires = Vec::new();
    for number in 0..count {
        let kept = make(&store, &format!("s{}", (number * 77) % count)).await;
        let slots = (0..number % 4).map(|more| 60 + more);
        let runs = slots.map(|slot| run(&kept, slot, RunAfter::Nothing)).collect();
        let alerts = vec![job(); usize::from(number % 5 == 0)];
        fires.push(Firing { rows: vec![missed(number - 200)], alerts, ..firing(&kept, runs) });
    }
    let answers = fire(&store, fires.clone()).await;
    let mut jobs = Vec::new();
    for (fired, answer) in fires.iter().zip(answers) {
        let id = fired.basis.id.as_str();
        let made = answer.expect("the expected version");
        assert_eq!(made.len(), fired.runs.len(), "{id}");
        for (job, run) in made.iter().zip(&fired.runs) {
            assert_eq!(get(&store, *job).await.spec.schedule, run.job.schedule);
        }
        let rows = slots(&store, all_of(id)).await;
        let of_runs: Vec<JobId> = rows.iter().rev().filter_map(|row| row.outcome.job()).collect();
        assert_eq!((&of_runs, rows.len()), (&made, made.len() + 1), "{id}");
        let found = read(&store, id).await;
        assert_eq!(found.last_run.map(|run| run.job), made.last().copied(), "{id}");
        assert_eq!(found.runs, made.len() as u64, "{id}");
        jobs.extend(made);
    }
    assert!(jobs.is_sorted(), "{jobs:?}");
    let all = jobs.len() + fires.iter().map(|fired| fired.alerts.len()).sum::<usize>();
    assert_eq!(counted(&store).await, (0, all as u64, all as u64));
}

/// Of concurrent firings of one slot exactly one is done, without a deadlock.
pub async fn of_firings_of_one_slot_at_once_one_is_done(store: AStore) {
    let (a, b) = (make(&store, "a").await, make(&store, "b").await);
    let one = |record: &ScheduleRecord| firing(record, vec![run(record, 60, RunAfter::Nothing)]);
    // In both orders, which must not deadlock.
    let there = vec![one(&a), one(&b)];
    let back = vec![one(&b), one(&a)];
    let (x, y, z) =
        tokio::join!(fire(&store, there.clone()), fire(&store, back), fire(&store, there));
    let of_a = [&x[0], &y[1], &z[0]].into_iter().flatten().count();
    let of_b = [&x[1], &y[0], &z[1]].into_iter().flatten().count();
    assert_eq!((of_a, of_b), (1, 1));
    for id in ["a", "b"] {
        assert_eq!(read(&store, id).await.runs, 1);
        assert_eq!(slots(&store, all_of(id)).await.len(), 1);
    }
    assert_eq!(counted(&store).await, (0, 2, 2));
}

/// Of concurrent changes at one version exactly one is made.
pub async fn of_changes_at_once_one_is_made(store: AStore) {
    let was = make(&store, "a").await;
    let change = async |by: &str| {
        let plan = SchedulePlan { by: Some(by.to_owned()), ..was.plan.clone() };
        store.change_schedule(1, NOW, plan, None, at(1)).await.expect("an answer")
    };
    let (bob, cat, dan) = tokio::join!(change("bob"), change("cat"), change("dan"));
    let found = read(&store, "a").await;
    assert_eq!(found.version, 2);
    for (by, changed) in [("bob", bob), ("cat", cat), ("dan", dan)] {
        let won = found.plan.by.as_deref() == Some(by);
        let expected = if won { Changed::Done { version: 2 } } else { Changed::Stale };
        assert_eq!(changed, expected, "{by}");
    }
}

/// Every job fired while others are claimed is claimed once.
pub async fn firings_of_two_schedules_and_claims_at_once_lose_nothing(store: AStore) {
    const ROUNDS: usize = 12;
    for id in ["a", "b"] {
        make(&store, id).await;
    }
    // The last run may end between the read and the firing, which is then stale and repeated.
    let firing = async |id: &str| {
        let mut jobs: Vec<JobId> = Vec::new();
        while jobs.len() < ROUNDS {
            let record = read(&store, id).await;
            let slot = 60 * (jobs.len() as i64 + 1);
            let fires = vec![firing(&record, vec![run(&record, slot, RunAfter::Nothing)])];
            jobs.extend(fire(&store, fires).await.remove(0).unwrap_or_default());
        }
        jobs
    };
    let claiming = async {
        let mut jobs = Vec::new();
        for round in 0..ROUNDS as u128 {
            for job in claimed(&store, 100 * (round + 1)).await {
                let live = store.job(job).await.expect("read").and_then(|job| job.state.live);
                let execution = live.expect("it was claimed").execution.0;
                let _ = send(&store, outcome(job, execution, succeeded())).await;
                jobs.push(job);
            }
        }
        jobs
    };
    let (a, b, mut got) = tokio::join!(firing("a"), firing("b"), claiming);
    for round in 0..ROUNDS as u128 {
        got.extend(claimed(&store, 10_000 + 100 * round).await);
    }
    got.sort_unstable();
    let mut made = [a, b].concat();
    made.sort_unstable();
    assert_eq!(got, made);
    for id in ["a", "b"] {
        assert_eq!(read(&store, id).await.runs, ROUNDS as u64);
        assert_eq!(slots(&store, all_of(id)).await.len(), ROUNDS);
    }
}

/// A run that waits for the last is `created`, and `pending` only after that run has ended.
pub async fn a_run_that_waits_is_ready_only_once_the_last_has_ended(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: false }).await;
    assert_eq!(status(&store, waits).await, JobStatus::Created);
    assert_eq!(counted(&store).await, (1, 1, 2));
    assert!(store.is_watching().await.expect("read"));
    assert!(ripe(&store).await.is_empty(), "what it waits for has not ended");
    assert_eq!(claimed(&store, 1).await, [first]);
    assert_eq!(claimed(&store, 10).await, [], "a waiting run is not dispatched");
    store.promote_due(store.term, at(65), 9).await.expect("promoted");
    assert_eq!(status(&store, waits).await, JobStatus::Created);
    let _ = send(&store, outcome(first, 1, succeeded())).await;
    let found = ripe(&store).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].job, found[0].slot), (waits, Some(at(120))));
    assert_eq!((found[0].schedule.as_str(), found[0].cancel), ("a", false));
    assert_eq!(found[0].status, Some(JobStatus::Created));
    assert_eq!(found[0].after, Some((first, Some(JobStatus::Completed))));
    assert_eq!(settle(&store, vec![DependencyStep::Release { job: waits }]).await, [true]);
    let job = get(&store, waits).await;
    assert_eq!(
        (job.state.status, job.state.run_at, job.state.created_at),
        (JobStatus::Pending, at(70), at(60))
    );
    assert_eq!(counted(&store).await, (0, 1, 2));
    assert!(!store.is_watching().await.expect("read"));
    assert_eq!(settle(&store, vec![DependencyStep::Release { job: waits }]).await, [false]);
    let asked = vec![request(1, 20, 9)];
    let ready = store.claim_ready(asked, store.term, at(71)).await.expect("claimed").claimed;
    assert_eq!(ready.iter().map(|it| it.dispatch.job).collect::<Vec<_>>(), [waits]);
}

/// Without a previous run there is nothing to wait for.
pub async fn a_run_that_waits_for_none_is_ready_at_once(store: AStore) {
    let record = make(&store, "a").await;
    let runs = vec![
        run(&record, 60, RunAfter::Last { cancel: true }),
        run(&record, 120, RunAfter::Nothing),
    ];
    let jobs = fire_one(&store, firing(&record, runs)).await;
    let record = make(&store, "b").await;
    let first = fire_one(&store, firing(&record, vec![run(&record, 60, RunAfter::Before)])).await;
    assert_eq!(claimed(&store, 1).await, [jobs[0], jobs[1], first[0]]);
    assert!(!store.is_watching().await.expect("read"));
}

/// A dependency that cancels is ripe until the cancel was requested, and again after the end.
pub async fn a_last_run_is_asked_to_stop_once(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    assert_eq!(claimed(&store, 1).await, [first]);
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: true }).await;
    let found = ripe(&store).await;
    assert_eq!(found.len(), 1, "no cancel was requested");
    assert!(found[0].cancel);
    assert_eq!(found[0].after, Some((first, Some(JobStatus::Dispatched))));
    cancel(&store, cancel_of(first)).await;
    assert!(ripe(&store).await.is_empty(), "requested, and not ended");
    assert_eq!(status(&store, waits).await, JobStatus::Created);
    let _ = send(&store, outcome(first, 1, failed())).await;
    let found = ripe(&store).await;
    assert_eq!(found[0].after, Some((first, Some(JobStatus::Cancelled))));
    assert_eq!(settle(&store, vec![DependencyStep::Release { job: waits }]).await, [true]);
    assert_eq!(status(&store, waits).await, JobStatus::Pending);
}

/// Each run of a firing waits for the one before it.
pub async fn runs_of_one_firing_go_one_after_the_other(store: AStore) {
    let record = make(&store, "a").await;
    let runs = vec![
        run(&record, 60, RunAfter::Nothing),
        run(&record, 120, RunAfter::Before),
        run(&record, 180, RunAfter::Before),
    ];
    let jobs = fire_one(&store, Firing { alerts: vec![job()], ..firing(&record, runs) }).await;
    assert_eq!(jobs.len(), 3);
    assert_eq!(counted(&store).await, (2, 2, 4));
    assert!(ripe(&store).await.is_empty());
    cancel(&store, cancel_of(jobs[0])).await;
    let found = ripe(&store).await;
    assert_eq!(found.len(), 1, "the third waits for the second");
    assert_eq!(found[0].job, jobs[1]);
    assert_eq!(found[0].after, Some((jobs[0], Some(JobStatus::Cancelled))));
    assert_eq!(settle(&store, vec![DependencyStep::Release { job: jobs[1] }]).await, [true]);
    assert!(ripe(&store).await.is_empty());
    cancel(&store, cancel_of(jobs[1])).await;
    assert_eq!(ripe_jobs(&store).await, [jobs[2]]);
    assert_eq!(read(&store, "a").await.last_run.map(|run| run.job), Some(jobs[2]));
}

/// A waiting run that is cancelled is released and stays `cancelled`.
pub async fn a_waiting_run_that_is_cancelled_is_released_unchanged(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: false }).await;
    let answer = cancel(&store, cancel_of(waits)).await;
    assert_eq!(answer, CancelAnswer::Cancelled { stop: None });
    let found = ripe(&store).await;
    assert_eq!((found[0].job, found[0].status), (waits, Some(JobStatus::Cancelled)));
    assert_eq!(found[0].after, Some((first, Some(JobStatus::Pending))));
    let released = vec![DependencyStep::Release { job: waits }];
    assert_eq!(settled(&store, released).await, [Settled::Done]);
    assert_eq!(status(&store, waits).await, JobStatus::Cancelled);
    assert_eq!(counted(&store).await, (0, 1, 2));
    assert!(!store.is_watching().await.expect("read"));
}

/// Promotion cancels a waiting run past its expiry.
pub async fn a_waiting_run_expires(store: AStore) {
    make(&store, "a").await;
    run_one(&store, "a", 60, RunAfter::Nothing).await;
    let record = read(&store, "a").await;
    let mut waits = run(&record, 120, RunAfter::Last { cancel: false });
    waits.job.expires_at = Some(at(150));
    let job = fire_one(&store, firing(&record, vec![waits])).await[0];
    assert_eq!(store.next_due().await.expect("read"), Some(at(150)));
    let promoted = store.promote_due(store.term, at(149), 9).await.expect("promoted");
    assert_eq!(promoted.expired, []);
    let promoted = store.promote_due(store.term, at(150), 9).await.expect("promoted");
    assert_eq!(promoted.expired, [job]);
    assert_eq!(status(&store, job).await, JobStatus::Cancelled);
    assert_eq!(ripe_jobs(&store).await, [job]);
    assert_eq!(settle(&store, vec![DependencyStep::End { job, alert: None }]).await, [true]);
    assert!(!store.is_watching().await.expect("read"));
}

/// A run with an `on_failure` alert keeps its dependency until it ends; the alert is sent once.
pub async fn a_run_with_an_alert_has_a_dependency_until_it_ends(store: AStore) {
    make(&store, "a").await;
    run_one(&store, "a", 60, RunAfter::Nothing).await;
    let record = read(&store, "a").await;
    let page = JobSpec { name: name("warn"), queue: name("alerts"), ..job() };
    let mut watched = run(&record, 120, RunAfter::Last { cancel: false });
    watched.on_failure = Some(page.clone());
    let mut plain = run(&record, 180, RunAfter::Nothing);
    plain.on_failure = Some(page.clone());
    let jobs = fire_one(&store, firing(&record, vec![watched, plain])).await;
    let (waits, plain) = (jobs[0], jobs[1]);
    let first = claimed(&store, 1).await[0];
    assert_eq!(status(&store, plain).await, JobStatus::Dispatched);
    let _ = send(&store, outcome(first, 1, succeeded())).await;
    assert_eq!(settle(&store, vec![DependencyStep::Release { job: waits }]).await, [true]);
    assert!(store.is_watching().await.expect("read"));
    assert!(ripe(&store).await.is_empty(), "neither has ended");
    assert_eq!(settle(&store, vec![DependencyStep::Release { job: waits }]).await, [false]);
    cancel(&store, cancel_of(waits)).await;
    let _ = send(&store, outcome(plain, 2, succeeded())).await;
    let found = ripe(&store).await;
    assert_eq!(ripe_jobs(&store).await, [waits, plain]);
    assert_eq!(found[0].after, None);
    assert_eq!(
        found[0].on_failure.as_ref().map(|spec| serde_json::to_string(spec).expect("json")),
        Some(serde_json::to_string(&page).expect("json"))
    );
    let before = counted(&store).await.2;
    let both = || {
        vec![
            DependencyStep::End { job: waits, alert: Some(page.clone()) },
            DependencyStep::End { job: plain, alert: None },
        ]
    };
    assert_eq!(settle(&store, both()).await, [true, true]);
    assert_eq!(settle(&store, both()).await, [false, false], "an alert is sent once");
    assert_eq!(counted(&store).await.2, before + 1);
    assert_eq!(store.oldest_due().await.expect("read"), [(name("alerts"), at(70))]);
    assert!(!store.is_watching().await.expect("read"));
    assert_eq!(read(&store, "a").await.last_run.map(|run| run.job), Some(plain));
}

/// Several steps for one run in a batch apply in order.
pub async fn one_run_settled_twice_in_a_batch_is_settled_in_turn(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let record = read(&store, "a").await;
    let mut waits = run(&record, 120, RunAfter::Last { cancel: false });
    waits.on_failure = Some(job());
    let waits = fire_one(&store, firing(&record, vec![waits])).await[0];
    cancel(&store, cancel_of(first)).await;
    let settles = vec![
        DependencyStep::Release { job: waits },
        DependencyStep::Release { job: waits },
        DependencyStep::End { job: JobId(999), alert: Some(job()) },
        DependencyStep::End { job: waits, alert: Some(job()) },
        DependencyStep::End { job: waits, alert: Some(job()) },
    ];
    let alert = JobId(waits.0 + 1);
    let expected = [
        Settled::Admitted,
        Settled::Nothing,
        Settled::Nothing,
        Settled::Alerted(alert),
        Settled::Nothing,
    ];
    assert_eq!(settled(&store, settles).await, expected);
    assert_eq!(status(&store, alert).await, JobStatus::Pending);
    assert_eq!(counted(&store).await, (0, 2, 3));
}

/// A dependency stays after its schedule is removed and the run it waits for is pruned.
pub async fn a_dependency_outlives_its_schedule(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: false }).await;
    store.remove_schedule(&name("a"), None).await.expect("removed");
    cancel(&store, cancel_of(first)).await;
    let request =
        PruneRequest { completed_before: at(99), others_before: at(99), limit: 9, chunks: 99 };
    assert_eq!(store.prune(request, store.term).await.expect("pruned").jobs, 1);
    let found = ripe(&store).await;
    assert_eq!(found[0].after, Some((first, None)), "a pruned run has ended");
    assert_eq!(settle(&store, vec![DependencyStep::Release { job: waits }]).await, [true]);
    assert_eq!(status(&store, waits).await, JobStatus::Pending);
}

/// A ledger row replaces one of its slot that made no job, and never one that did.
pub async fn a_row_takes_the_place_of_one_that_made_no_job(store: AStore) {
    let record = make(&store, "a").await;
    let range = Slot { last: Some(at(50)), count: 11, exact: false, ..missed(30) };
    fire_one(&store, rows_only(&record, vec![range, missed(60)])).await;
    let record = read(&store, "a").await;
    let job = fire_one(&store, firing(&record, vec![run(&record, 60, RunAfter::Nothing)])).await[0];
    assert_eq!(slots(&store, all_of("a")).await, [ran_as(60, job), range]);
    let record = read(&store, "a").await;
    let skipped = row(60, SlotOutcome::Skipped { reason: SkipReason::OneWaits });
    fire_one(&store, rows_only(&record, vec![skipped, missed(30)])).await;
    assert_eq!(slots(&store, all_of("a")).await, [ran_as(60, job), missed(30)]);
}

/// A firing of a slot that already made a job is rejected; the rest of the batch is done.
pub async fn a_slot_that_made_a_job_makes_no_other(store: AStore) {
    make(&store, "a").await;
    let job = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let other = make(&store, "b").await;
    // With the current version: only that slot is rejected.
    let record = read(&store, "a").await;
    let again = firing(&record, vec![run(&record, 60, RunAfter::Nothing)]);
    let beside = firing(&other, vec![run(&other, 60, RunAfter::Nothing)]);
    let answers = fire(&store, vec![again.clone(), beside]).await;
    assert_eq!((answers[0].clone(), answers[1].as_ref().map(Vec::len)), (None, Some(1)));
    assert_eq!(store.fire(vec![again], None, at(60)).await.expect("fired"), [None]);
    assert_eq!(
        shown(&[read(&store, "a").await]),
        shown(std::slice::from_ref(&record)),
        "nothing was done"
    );
    assert_eq!(slots(&store, all_of("a")).await, [ran_as(60, job)]);
    fire_one(&store, firing(&record, vec![run(&record, 61, RunAfter::Nothing)])).await;
}

/// A rewind by a minute, with the next slot in half a minute.
fn set_back(record: &ScheduleRecord) -> Rewind {
    Rewind {
        basis: record.basis(),
        row: row(0, SlotOutcome::ClockSet { by_ms: -60_000 }),
        to: Position { handled: at(0), next: due(30) },
    }
}

/// A rewind sets the position back and adds a row, at the expected version and under the leading
/// term only.
pub async fn a_schedule_ahead_of_the_clock_is_set_back_as_it_was_read(store: AStore) {
    make(&store, "a").await;
    let job = run_one(&store, "a", 60, RunAfter::Nothing).await;
    make(&store, "b").await;
    let ahead = store.schedules_ahead(at(59), 10).await.expect("read");
    assert_eq!(ids(&ahead), ["a"]);
    assert!(store.schedules_ahead(at(60), 10).await.expect("read").is_empty());
    let record = read(&store, "a").await;
    let stale =
        Rewind { basis: ExpectedVersion { version: 9, ..record.basis() }, ..set_back(&record) };
    let none = Rewind {
        basis: ExpectedVersion { id: name("none"), ..record.basis() },
        ..set_back(&record)
    };
    let all = vec![stale, none];
    assert_eq!(store.rewind(all, store.term, at(0)).await.expect("answered"), [false, false]);
    assert_eq!(read(&store, "a").await.plan.position, record.plan.position);

    let done = store.rewind(vec![set_back(&record)], store.term, at(0)).await.expect("set back");
    assert_eq!(done, [true]);
    let found = read(&store, "a").await;
    assert_eq!(found.plan.position, Position { handled: at(0), next: due(30) });
    assert_eq!((found.version, found.runs), (record.version, record.runs));
    let kept = Slot { recorded_at: at(0), ..ran_as(60, job) };
    let mark = row(0, SlotOutcome::ClockSet { by_ms: -60_000 });
    assert_eq!(slots(&store, all_of("a")).await, [kept, mark]);
    // A second rewind on the same record is stale.
    let again = store.rewind(vec![set_back(&record)], store.term, at(0)).await;
    assert_eq!(again.expect("answered"), [false]);

    let old = store.term;
    other_leader(&store).await;
    let refused = store.rewind(vec![set_back(&found)], old, at(0)).await;
    assert!(matches!(refused, Err(StoreError::Deposed)), "{refused:?}");
}

/// A rewind deletes the rows without jobs after the new position, and cuts ranges that cross it.
pub async fn a_rewind_deletes_rows_of_slots_to_come(store: AStore) {
    let record = make(&store, "a").await;
    let range = Slot { last: Some(at(50)), count: 61, ..missed(-10) };
    let skipped = row(40, SlotOutcome::Skipped { reason: SkipReason::Overlap });
    let before = row(-20, SlotOutcome::Skipped { reason: SkipReason::Overlap });
    let mut one = firing(&record, vec![run(&record, 60, RunAfter::Nothing)]);
    one.rows = vec![before, range, skipped, missed(55)];
    let job = fire_one(&store, one).await[0];
    let record = read(&store, "a").await;
    let done = store.rewind(vec![set_back(&record)], store.term, at(0)).await.expect("set back");
    assert_eq!(done, [true]);
    let cut = Slot { last: Some(at(0)), count: 1, exact: false, ..range };
    let mark = row(0, SlotOutcome::ClockSet { by_ms: -60_000 });
    let kept = Slot { recorded_at: at(0), ..ran_as(60, job) };
    assert_eq!(slots(&store, all_of("a")).await, [kept, mark, cut, before]);
    assert_eq!(store.missed_since(at(1)).await.expect("read"), []);
}

/// Of two rows for one slot in a firing the last is stored.
pub async fn of_two_rows_of_one_slot_the_last_counts(store: AStore) {
    let record = make(&store, "a").await;
    let skipped = row(60, SlotOutcome::Skipped { reason: SkipReason::OneWaits });
    let one = Firing {
        rows: vec![missed(30), missed(60), skipped, row(30, skipped.outcome)],
        ..rows_only(&record, Vec::new())
    };
    assert_eq!(fire_one(&store, one).await.len(), 0);
    assert_eq!(slots(&store, all_of("a")).await, [skipped, row(30, skipped.outcome)]);
}

/// The ledger is read newest first, page by page, optionally missed slots alone.
pub async fn a_ledger_is_read_newest_first_page_by_page(store: AStore) {
    let (record, other) = (make(&store, "a").await, make(&store, "b").await);
    let range = Slot { last: Some(at(28)), count: 9, exact: false, ..missed(20) };
    let skipped = |slot| row(slot, SlotOutcome::Skipped { reason: SkipReason::Overlap });
    let all = [skipped(50), missed(40), skipped(30), range, missed(10)];
    fire(
        &store,
        vec![
            rows_only(&record, all.iter().rev().copied().collect()),
            rows_only(&other, vec![missed(35)]),
        ],
    )
    .await;
    assert_eq!(slots(&store, all_of("a")).await, all);
    let page = |before: Option<i64>, missed, limit| SlotRequest {
        before: before.map(at),
        missed,
        limit,
        ..all_of("a")
    };
    assert_eq!(slots(&store, page(None, false, 2)).await, all[..2]);
    assert_eq!(slots(&store, page(Some(40), false, 2)).await, all[2..4]);
    assert_eq!(slots(&store, page(Some(20), false, 2)).await, all[4..]);
    assert_eq!(slots(&store, page(Some(10), false, 2)).await, []);
    assert_eq!(slots(&store, page(None, true, 2)).await, [missed(40), range]);
    assert_eq!(slots(&store, page(Some(20), true, 2)).await, [missed(10)]);
    assert_eq!(slots(&store, all_of("absent")).await, []);
}

/// Missed slots are summed up by schedule, from the given time of recording on.
pub async fn only_missed_slots_are_counted_and_only_those_recorded_since(store: AStore) {
    assert!(store.missed_since(NOW).await.expect("read").is_empty());
    let (a, b, c) = (make(&store, "a").await, make(&store, "b").await, make(&store, "c").await);
    let miss = |slot, count, recorded| Slot { count, recorded_at: at(recorded), ..missed(slot) };
    fire(
        &store,
        vec![
            rows_only(&b, vec![miss(5, 10, 100), miss(20, 3, 101), miss(99, 1, 99)]),
            rows_only(
                &a,
                vec![
                    miss(5, 1, 200),
                    row(300, SlotOutcome::Skipped { reason: SkipReason::Overlap }),
                ],
            ),
            rows_only(&c, vec![miss(5, 7, 99)]),
        ],
    )
    .await;
    let since = store.missed_since(at(100)).await.expect("read");
    assert_eq!(since, [(name("a"), 1), (name("b"), 13)]);
    assert!(store.missed_since(at(201)).await.expect("read").is_empty());
}

/// Under an old term, firing, settling and pruning return `Deposed` and change nothing.
pub async fn a_deposed_leader_fires_settles_and_prunes_nothing(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: false }).await;
    cancel(&store, cancel_of(first)).await;
    let record = read(&store, "a").await;
    let before = (shown(std::slice::from_ref(&record)), slots(&store, all_of("a")).await);
    let old = store.term;
    let new = other_leader(&store).await;
    let fires = || vec![firing(&record, vec![run(&record, 180, RunAfter::Nothing)])];
    let fired = store.fire(fires(), Some(old), at(180)).await;
    assert!(matches!(fired, Err(StoreError::Deposed)), "{fired:?}");
    let settles = || vec![DependencyStep::Release { job: waits }];
    let settled = store.settle(settles(), old, at(180)).await;
    assert!(matches!(settled, Err(StoreError::Deposed)), "{settled:?}");
    let pruned = store.prune_slots(at(999), 9, old).await;
    assert!(matches!(pruned, Err(StoreError::Deposed)), "{pruned:?}");
    let found = read(&store, "a").await;
    assert_eq!((shown(&[found]), slots(&store, all_of("a")).await), before);
    assert_eq!(status(&store, waits).await, JobStatus::Created);
    assert_eq!(ripe_jobs(&store).await, [waits]);
    // The new leader can still do the same.
    assert!(store.fire(fires(), Some(new), at(180)).await.expect("fired")[0].is_some());
    let settled = store.settle(settles(), new, at(180)).await.expect("settled");
    assert!(settled[0].is_done(), "{settled:?}");
    assert_eq!(store.prune_slots(at(999), 9, new).await.expect("pruned"), 3);
}

/// Pruning deletes rows recorded before the given time, up to its limit.
pub async fn old_rows_are_pruned_a_limited_number_at_once(store: AStore) {
    let (a, b) = (make(&store, "a").await, make(&store, "b").await);
    fire(
        &store,
        vec![
            rows_only(&a, [10, 20, 30, 40].map(missed).into()),
            // The time of recording counts, not the slot.
            rows_only(&b, vec![Slot { recorded_at: at(60), ..missed(5) }, missed(25)]),
        ],
    )
    .await;
    let prune = async |before, limit| store.prune_slots(at(before), limit, store.term).await;
    assert_eq!(prune(10, 100).await.expect("pruned"), 0);
    assert_eq!(prune(40, 2).await.expect("pruned"), 2);
    assert_eq!(prune(40, 100).await.expect("pruned"), 2);
    assert_eq!(slots(&store, all_of("a")).await, [missed(40)]);
    assert_eq!(slots(&store, all_of("b")).await.len(), 1);
    assert_eq!(prune(40, 100).await.expect("pruned"), 0);
}

/// This many rows from a slot on, a second apart.
fn many(first: i64, rows: i64) -> Vec<Slot> {
    (first..first + rows).map(|slot| Slot { recorded_at: at(90_000), ..missed(slot) }).collect()
}

/// Pruning cuts a ledger of more than a tenth above [`SLOTS_KEPT`] rows back to the newest.
pub async fn a_long_ledger_is_cut_back_to_its_newest_rows(store: AStore) {
    let kept = i64::from(SLOTS_KEPT);
    let record = make(&store, "a").await;
    fire_one(&store, rows_only(&record, many(1, kept + kept / 10))).await;
    let prune = async || store.prune_slots(at(0), 100_000, store.term).await.expect("pruned");
    assert_eq!(prune().await, 0, "a few more are left");
    let last = kept + kept / 10 + 1;
    fire_one(&store, rows_only(&record, many(last, 1))).await;
    assert_eq!(prune().await, (last - kept).unsigned_abs());
    let left = slots(&store, SlotRequest { limit: SLOTS_KEPT * 2, ..all_of("a") }).await;
    assert_eq!(left.len() as i64, kept);
    assert_eq!((left[0].slot, left[left.len() - 1].slot), (at(last), at(last - kept + 1)));
    assert_eq!(prune().await, 0);
    // The same for an imported ledger.
    let long = ScheduleRecord { plan: plan("b", None), ..read(&store, "a").await };
    store.import_schedules(vec![(long, many(1, last))]).await.expect("imported");
    assert_eq!(prune().await, (last - kept).unsigned_abs());
    assert_eq!(slots(&store, all_of("b")).await[0].slot, at(last));
}

/// An imported schedule reads as in its old store and continues; one with an id in use is skipped.
pub async fn imported_schedules_are_as_they_were(store: AStore) {
    let here = make(&store, "here").await;
    fire_one(&store, rows_only(&here, vec![missed(30)])).await;
    let here = read(&store, "here").await;
    let ended = crate::store_contract::add(&store, job()).await;
    cancel(&store, cancel_of(ended)).await;
    let mut from = plan("a", Some(Due { slot: at(60), fire_at: at(61) }));
    from.paused = Some(Paused { at: at(3), reason: None, by: Some("who".into()) });
    from.by = Some("a person".into());
    let record = ScheduleRecord {
        unreadable: None,
        plan: from,
        version: 7,
        created_at: at(1),
        updated_at: at(2),
        runs: 12,
        last_run: Some(orx_store::LastRun { job: ended, status: Some(JobStatus::Cancelled) }),
    };
    let plain = ScheduleRecord { plan: plan("b", None), last_run: None, ..record.clone() };
    let rows = vec![
        ran_as(60, ended),
        Slot { last: Some(at(50)), count: 11, exact: false, ..missed(30) },
        row(20, SlotOutcome::Skipped { reason: SkipReason::Paused }),
    ];
    let other = ScheduleRecord { plan: plan("here", None), ..record.clone() };
    let all = vec![
        (other, vec![missed(40)]),
        (record.clone(), rows.clone()),
        (plain.clone(), Vec::new()),
    ];
    store.import_schedules(all.clone()).await.expect("imported");
    let found = store.schedules(None, 9).await.expect("a page");
    assert_eq!(shown(&found), shown(&[record.clone(), plain, here]));
    assert_eq!(slots(&store, all_of("a")).await, rows);
    assert_eq!(slots(&store, all_of("here")).await, [missed(30)], "the ledger of the existing one");
    store.import_schedules(all).await.expect("imported");
    assert_eq!(store.schedules(None, 9).await.expect("a page").len(), 3);
    // It continues as in its old store.
    let one = firing(&record, vec![run(&record, 120, RunAfter::Nothing)]);
    fire_one(&store, one).await;
    assert_eq!(read(&store, "a").await.runs, 13);
}

/// Imported dependencies read as in their old store; one that exists is skipped.
pub async fn imported_dependencies_are_as_they_were(store: AStore) {
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(crate::store_contract::add(&store, job()).await);
    }
    let ended = jobs[0];
    cancel(&store, cancel_of(ended)).await;
    let watched = |job, after, on_failure| RunDependency {
        job,
        schedule: name("a"),
        slot: Some(at(60)),
        status: Some(JobStatus::Pending),
        after,
        cancel: false,
        on_failure,
    };
    let from = vec![
        watched(jobs[2], Some((jobs[1], Some(JobStatus::Pending))), None),
        watched(jobs[1], None, Some(job())),
        RunDependency {
            slot: None,
            status: None,
            cancel: true,
            ..watched(JobId(900), Some((ended, Some(JobStatus::Cancelled))), None)
        },
    ];
    store.import_watched(from.clone()).await.expect("imported");
    let shown = |watched: &[RunDependency]| -> Vec<String> {
        watched.iter().map(|watched| format!("{watched:?}")).collect()
    };
    let mut expected = from.clone();
    expected.sort_by_key(|watched| watched.job);
    let found = store.all_watched().await.expect("read");
    assert_eq!(shown(&found), shown(&expected));
    assert_eq!(ripe_jobs(&store).await, [JobId(900)]);
    // A dependency that exists is skipped.
    let other = RunDependency { schedule: name("b"), ..from[0].clone() };
    store.import_watched(vec![other]).await.expect("imported");
    assert_eq!(shown(&store.all_watched().await.expect("read")), shown(&expected));
    assert!(store.watched(0).await.expect("read").is_empty());
}
