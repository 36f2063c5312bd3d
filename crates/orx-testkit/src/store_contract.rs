//! The contract of every store. A back end runs all cases with one line:
//! `orx_testkit::store_contract!(open);`, where `open` returns a new, empty store and a guard that must
//! live as long as the store.

use std::sync::Arc;
use std::time::Duration;

use orx_model::filter::Filter;
use orx_model::job::{AttemptCounts, DeadReason, Labels};
use orx_model::log::{LogChunk, LogCursor, Stream};
use orx_model::message::{
    ExecutionProgress, ExecutionRef, Load, Started, WorkerDirective, WorkerRegistration,
    WorkerState,
};
use orx_model::time::UtcClock;
use orx_model::wire::StatusCounts;
use orx_model::{
    AttemptStatus, Command, ExecutionId, Exit, Incarnation, Job, JobId, JobSpec, JobStatus,
    LostWith, NewJob, OnLost, Origin, Outcome, OutcomeKind, Priority, RetryPolicy, SecretHash,
    Timestamp,
};
use orx_store::{
    CLAIM_MOST, CancelAnswer, CancelCommand, ClockJump, ClockNote, Enqueued, Holder, Home, Lead,
    LeadRequest, ListRequest, Live, LogRequest, NodeReport, Promoted, PruneRequest, Recorded,
    RetainedKey, RetryAnswer, Store, StoreError, Term, TokenRecord, WorkerPut, WorkerRemoval,
    WorkerReport,
};

use crate::make::{
    NOW, at, failed, job, json, lost, name, not_before, outcome, request, succeeded,
};

/// Runs every case against the store that `$open` returns.
#[macro_export]
macro_rules! store_contract {
    ($open:expr) => {
        $crate::store_contract!(@cases $open,
            ids_ascend_and_jobs_due_later_are_scheduled
            the_same_key_gives_the_same_job_and_another_request_is_a_conflict
            a_key_twice_in_one_batch_is_one_job
            jobs_are_read_by_their_ids_each_once
            claims_go_by_priority_then_due_time_then_id_over_all_lanes
            one_claim_takes_at_most_its_limit
            a_worker_gets_no_more_than_its_free_slots_and_only_what_it_takes
            the_worker_with_the_most_free_slots_gets_the_next
            a_free_slot_comes_before_a_prefetch_place
            expired_jobs_are_cancelled_instead_of_claimed
            promotion_makes_due_jobs_ready_and_cancels_expired_ones
            a_deadline_holds_between_attempts_too
            a_cancelled_waiting_job_is_never_claimed
            a_cancel_of_a_dispatched_job_waits_for_the_attempts_end
            a_success_that_commits_first_wins_over_a_cancel
            a_forced_cancel_leaves_the_late_outcome_stale
            a_cancel_in_another_status_or_of_no_job_changes_nothing
            failures_back_off_until_the_retries_are_used_up
            a_timeout_without_retries_left_ends_as_timed_out
            losses_that_count_end_as_poison
            losses_by_a_fence_use_no_retry
            the_first_death_of_a_server_costs_nothing_and_the_third_is_poison
            a_job_that_runs_alone_waits_for_an_empty_worker
            a_job_handed_back_uses_no_retry_and_keeps_its_place
            a_job_with_on_lost_fail_fails_when_lost
            a_job_with_on_lost_fail_fails_when_interrupted_after_its_start
            late_result_of_an_old_execution_changes_nothing
            an_outcome_reported_twice_is_recorded_once
            stale_outcomes_of_a_batch_do_not_block_the_others
            a_start_is_recorded_for_the_live_execution_only
            times_that_a_worker_reports_are_bounded_by_the_stores_clock
            progress_is_stored_with_the_live_attempt
            a_manual_retry_resets_the_counts_and_continues_the_numbers
            dead_letters_are_listed_newest_first_and_can_be_deleted
            results_errors_and_exits_are_stored
            counts_follow_every_move
            lists_page_in_both_directions_without_loss
            filters_are_applied_to_lists_and_counts
            filters_find_by_name_queue_tag_and_schedule
            lists_contain_no_args_and_are_bounded_in_bytes
            an_attempt_counts_its_dropped_output_bytes
            log_chunks_are_stored_once_and_read_by_position
            the_tail_of_a_log_is_found
            workers_are_stored_replaced_and_removed
            a_directive_stands_until_it_is_withdrawn
            a_drain_outlives_the_loss_of_its_worker_but_not_its_stop
            a_heartbeat_without_a_registration_adds_no_worker
            a_fenced_worker_stays_fenced
            a_report_with_another_secret_changes_nothing
            the_holder_of_an_execution_is_known_live_or_ended
            one_node_leads_until_it_steps_down
            an_epoch_is_above_the_requested_minimum_and_the_seconds_since_1970
            an_expired_lease_goes_to_another_node_and_fences_its_old_holder
            waits_are_as_long_as_before_when_the_clock_is_set
            the_leader_notes_the_clock
            live_attempts_are_known_by_worker
            nodes_are_stored_replaced_and_removed
            an_export_imports_unchanged
            imported_jobs_continue_as_in_the_store_they_came_from
            tokens_are_stored_and_replaced
            tokens_that_ended_long_ago_are_forgotten
            pruning_deletes_old_jobs_spares_dead_letters_and_reuses_no_id
            a_long_log_is_pruned_a_few_chunks_at_a_time
            retained_keys_are_deleted_when_their_time_is_over
            a_retained_key_starts_no_job_until_it_expires
            the_home_of_a_store_is_stored
            a_closed_store_rejects_writes
        );
    };
    (@cases $open:expr, $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (store, _guard) = $open().await;
                $crate::store_contract::$case($crate::store_contract::AStore::led(store).await)
                    .await;
            }
        )*
    };
}

/// The node that leads in these cases.
const LEADER: Incarnation = Incarnation(77);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// A new store, and a node that leads in it. Dereferences to the store.
pub struct AStore {
    store: Arc<dyn Store>,
    /// The term of that node, valid for an hour.
    pub term: Term,
}

impl std::ops::Deref for AStore {
    type Target = dyn Store;

    fn deref(&self) -> &(dyn Store + 'static) {
        &*self.store
    }
}

impl AStore {
    /// Takes the lead in this store.
    ///
    /// # Panics
    /// Where another node leads.
    pub async fn led(store: Arc<dyn Store>) -> Self {
        let term = lead(&*store, LEADER, HOUR).await.expect("the lead is free");
        Self { store, term }
    }
}

pub(crate) async fn lead(store: &dyn Store, node: Incarnation, ttl: Duration) -> Option<Term> {
    match store.lead(LeadRequest { node, ttl, above: 0 }, NOW).await.expect("an answer") {
        Lead::Leading(term) => Some(term),
        Lead::Following { .. } => None,
    }
}

pub(crate) async fn add(store: &AStore, job: impl Into<NewJob>) -> JobId {
    match &store.enqueue(vec![job.into()], NOW).await.expect("enqueue")[0] {
        Enqueued::New { id, .. } => *id,
        other => panic!("expected a new job, found {other:?}"),
    }
}

pub(crate) async fn claim(store: &AStore, execution: u128) -> JobId {
    let claimed = store
        .claim_ready(vec![request(1, execution, 1)], store.term, at(1))
        .await
        .expect("claim")
        .claimed;
    assert_eq!(claimed.len(), 1, "one job is ready");
    claimed[0].dispatch.job
}

pub(crate) async fn send(store: &AStore, outcome: Outcome) -> Recorded {
    store.record_outcomes(vec![outcome], vec![0.5], at(2)).await.expect("record")[0]
}

pub(crate) async fn get(store: &AStore, id: JobId) -> Job {
    store.job(id).await.expect("read").expect("the job")
}

pub(crate) async fn status(store: &AStore, id: JobId) -> JobStatus {
    get(store, id).await.state.status
}

pub(crate) fn cancel_of(id: JobId) -> CancelCommand {
    CancelCommand { id, reason: Some("why".into()), by: None, force: false, expected: None }
}

pub(crate) async fn cancel(store: &AStore, command: CancelCommand) -> CancelAnswer {
    store.cancel(vec![command], at(1)).await.expect("cancel")[0]
}

async fn claimed_ids(store: &AStore, free_slots: usize) -> Vec<i64> {
    let claimed = store
        .claim_ready(vec![request(1, 100, free_slots)], store.term, at(5))
        .await
        .expect("claim")
        .claimed;
    claimed.iter().map(|claim| claim.dispatch.job.0).collect()
}

/// A batch gets ascending ids; a job with a later `run_at` is `scheduled`, any other `pending`.
pub async fn ids_ascend_and_jobs_due_later_are_scheduled(store: AStore) {
    let (later, past) = (not_before(at(60), job()), not_before(at(-60), job()));
    let kept = store.enqueue(vec![job().into(), later, past], NOW).await.expect("enqueue");
    let ids: Vec<(i64, JobStatus)> = kept
        .iter()
        .map(|kept| match kept {
            Enqueued::New { id, status } => (id.0, *status),
            other => panic!("expected new jobs, found {other:?}"),
        })
        .collect();
    assert!(ids.is_sorted_by_key(|(id, _)| *id), "{ids:?}");
    assert_eq!(
        ids.iter().map(|(_, status)| *status).collect::<Vec<_>>(),
        [JobStatus::Pending, JobStatus::Scheduled, JobStatus::Pending]
    );
    assert_eq!(store.next_due().await.expect("read"), Some(at(60)));
    assert_eq!(get(&store, JobId(ids[2].0)).await.state.run_at, NOW);
}

fn keyed(key: &str, hash: &str) -> NewJob {
    let spec = JobSpec { key: Some(key.into()), ..job() };
    NewJob { key_hash: Some(hash.into()), ..spec.into() }
}

/// A key with the same request hash returns the existing job; with another hash, a conflict.
pub async fn the_same_key_gives_the_same_job_and_another_request_is_a_conflict(store: AStore) {
    let id = add(&store, keyed("k", "a")).await;
    let again = store.enqueue(vec![keyed("k", "a"), keyed("k", "b")], NOW).await.expect("enqueue");
    let status = JobStatus::Pending;
    let hash = Some("a".to_owned());
    let conflict = Enqueued::KeyConflict { id, status, hash };
    assert_eq!(again, [Enqueued::Existing { id, status }, conflict]);
    assert_eq!(store.job_by_key("k").await.expect("read").map(|job| job.id), Some(id));
    assert!(store.job_by_key("x").await.expect("read").is_none());
    assert_eq!(claimed_ids(&store, 9).await, [id.0]);
}

/// Two jobs of one batch with one key become one job.
pub async fn a_key_twice_in_one_batch_is_one_job(store: AStore) {
    let batch = vec![keyed("k", "a"), keyed("k", "a"), job().into()];
    let kept = store.enqueue(batch, NOW).await.expect("enqueue");
    let Enqueued::New { id, status } = kept[0] else { panic!("{kept:?}") };
    assert_eq!(kept[1], Enqueued::Existing { id, status });
    assert!(matches!(kept[2], Enqueued::New { .. }));
    assert_eq!(claimed_ids(&store, 9).await.len(), 2);
}

/// A read by ids returns each existing job once, in the order of ids.
pub async fn jobs_are_read_by_their_ids_each_once(store: AStore) {
    let ids = [add(&store, job()).await, add(&store, job()).await, add(&store, job()).await];
    let asked = vec![ids[2], JobId(1_000_000), ids[0], ids[2]];
    let read = store.jobs(asked).await.expect("read");
    assert_eq!(read.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[0], ids[2]]);
    assert!(store.jobs(Vec::new()).await.expect("read").is_empty());
}

/// A claim takes jobs by priority, then due time, then id, whatever lane they are in.
pub async fn claims_go_by_priority_then_due_time_then_id_over_all_lanes(store: AStore) {
    let on = |queue: &str, priority, due: i64| {
        not_before(at(due), JobSpec { queue: name(queue), priority, ..job() })
    };
    let jobs = vec![
        on("a", Priority::Low, -50),
        on("b", Priority::Normal, 3),
        on("a", Priority::Normal, 2),
        on("c", Priority::Critical, 4),
        on("b", Priority::Normal, 2),
        on("a", Priority::High, 4),
    ];
    store.enqueue(jobs, at(-60)).await.expect("enqueue");
    store.promote_due(store.term, at(5), 100).await.expect("promote");
    assert_eq!(claimed_ids(&store, 4).await, [4, 6, 3, 5]);
    let rest = store
        .claim_ready(vec![request(2, 500, 9)], store.term, at(5))
        .await
        .expect("claim")
        .claimed;
    let rest: Vec<i64> = rest.iter().map(|claim| claim.dispatch.job.0).collect();
    assert_eq!(rest, [2, 1]);
}

/// One claim takes at most [`CLAIM_MOST`] jobs.
pub async fn one_claim_takes_at_most_its_limit(store: AStore) {
    let jobs = (0..CLAIM_MOST + 7).map(|_| job().into()).collect();
    store.enqueue(jobs, NOW).await.expect("accepted");
    for (first, expected) in [(1, CLAIM_MOST), (10_000, 7), (20_000, 0)] {
        let asked = vec![request(1, first, 1_500), request(2, first + 5_000, 1_500)];
        let claimed = store.claim_ready(asked, store.term, at(1)).await.expect("claimed").claimed;
        assert_eq!(claimed.len(), expected);
    }
}

/// A worker gets at most as many jobs as it has free slots, and only jobs that match its queues,
/// handlers, labels and command permission.
pub async fn a_worker_gets_no_more_than_its_free_slots_and_only_what_it_takes(store: AStore) {
    let other = JobSpec { name: name("other"), ..job() };
    let command = orx_model::Command { argv: vec!["true".into()], ..orx_model::Command::default() };
    let command = JobSpec { command: Some(command), ..job() };
    let picky = JobSpec { require: [("gpu".to_owned(), "a".to_owned())].into(), ..job() };
    let elsewhere = JobSpec { queue: name("media"), ..job() };
    let jobs = [other, command, picky, elsewhere, job(), job()].map(NewJob::from);
    store.enqueue(jobs.into(), NOW).await.expect("enqueue");
    let mut plain = request(1, 10, 2);
    plain.offer.queues = [name("default")].into();
    plain.offer.commands = false;
    let claimed = store.claim_ready(vec![plain], store.term, at(1)).await.expect("claim").claimed;
    let ids: Vec<i64> = claimed.iter().map(|claim| claim.dispatch.job.0).collect();
    assert_eq!(ids, [5, 6]);
    let mut able = request(2, 20, 9);
    able.offer.labels = [("gpu".to_owned(), "a".to_owned())].into();
    let claimed = store.claim_ready(vec![able], store.term, at(1)).await.expect("claim").claimed;
    let ids: Vec<i64> = claimed.iter().map(|claim| claim.dispatch.job.0).collect();
    assert_eq!(ids, [2, 3, 4]);
    assert_eq!(claimed[0].dispatch.execution, ExecutionId(20));
    assert!(claimed[0].dispatch.command.is_some());
}

/// Each job goes to the worker that has the most free slots at that moment.
pub async fn the_worker_with_the_most_free_slots_gets_the_next(store: AStore) {
    store.enqueue(vec![job().into(); 5], NOW).await.expect("enqueue");
    let requests = vec![request(1, 10, 2), request(2, 20, 4)];
    let claimed = store.claim_ready(requests, store.term, at(1)).await.expect("claim").claimed;
    let workers: Vec<u128> = claimed.iter().map(|claim| claim.worker.0).collect();
    assert_eq!(workers, [2, 2, 1, 2, 1]);
}

/// A worker with a free slot gets a job before a worker that only prefetches it.
pub async fn a_free_slot_comes_before_a_prefetch_place(store: AStore) {
    store.enqueue(vec![job().into(); 5], NOW).await.expect("enqueue");
    let busy = orx_store::ClaimRequest { prefetch: 3, ..request(1, 10, 4) };
    let claimed = store.claim_ready(vec![busy, request(2, 20, 2)], store.term, at(1)).await;
    let workers: Vec<u128> =
        claimed.expect("claim").claimed.iter().map(|claim| claim.worker.0).collect();
    assert_eq!(workers, [2, 1, 2, 1, 1]);
}

/// A claim cancels a job past its expiry or deadline, and records the reason.
pub async fn expired_jobs_are_cancelled_instead_of_claimed(store: AStore) {
    let expired = add(&store, JobSpec { expires_at: Some(at(1)), ..job() }).await;
    let late = add(&store, JobSpec { deadline: Some(at(2)), ..job() }).await;
    let fine = add(&store, JobSpec { expires_at: Some(at(60)), ..job() }).await;
    assert_eq!(claimed_ids(&store, 9).await, [fine.0]);
    for (id, reason) in [(expired, "expired"), (late, "deadline passed")] {
        let job = get(&store, id).await;
        assert_eq!(job.state.status, JobStatus::Cancelled);
        assert_eq!(job.state.cancel.and_then(|cancel| cancel.reason).as_deref(), Some(reason));
    }
}

/// Promotion moves due jobs to `pending` and expired ones to `cancelled`; later jobs stay.
pub async fn promotion_makes_due_jobs_ready_and_cancels_expired_ones(store: AStore) {
    let due = add(&store, not_before(at(10), job())).await;
    let later = add(&store, not_before(at(90), job())).await;
    let short = add(&store, JobSpec { expires_at: Some(at(5)), ..job() }).await;
    assert_eq!(store.next_due().await.expect("read"), Some(at(5)));
    let promoted = store.promote_due(store.term, at(10), 100).await.expect("promote");
    assert_eq!(promoted, Promoted { due: vec![due], expired: vec![short], more: false });
    assert_eq!(status(&store, due).await, JobStatus::Pending);
    assert_eq!(status(&store, later).await, JobStatus::Scheduled);
    assert_eq!(status(&store, short).await, JobStatus::Cancelled);
    assert_eq!(store.next_due().await.expect("read"), Some(at(90)));
}

/// A job whose deadline passes while it waits for a retry is cancelled.
pub async fn a_deadline_holds_between_attempts_too(store: AStore) {
    let id = add(&store, JobSpec { deadline: Some(at(30)), ..job() }).await;
    claim(&store, 1).await;
    let _ = send(&store, outcome(id, 1, failed())).await;
    assert_eq!(status(&store, id).await, JobStatus::Scheduled);
    store.promote_due(store.term, at(31), 100).await.expect("promote");
    assert_eq!(status(&store, id).await, JobStatus::Cancelled);
}

/// Cancelling a `pending` or `scheduled` job takes effect at once.
pub async fn a_cancelled_waiting_job_is_never_claimed(store: AStore) {
    let pending = add(&store, job()).await;
    let scheduled = add(&store, not_before(at(2), job())).await;
    for id in [pending, scheduled] {
        let answer = cancel(&store, cancel_of(id)).await;
        assert_eq!(answer, CancelAnswer::Cancelled { stop: None });
    }
    store.promote_due(store.term, at(60), 100).await.expect("promote");
    assert_eq!(claimed_ids(&store, 9).await, [0_i64; 0]);
    let job = get(&store, pending).await;
    assert_eq!((job.state.status, job.state.finished_at), (JobStatus::Cancelled, Some(at(1))));
}

/// A cancel of a dispatched job is recorded; the end of the attempt makes it `cancelled`, not a
/// dead letter.
pub async fn a_cancel_of_a_dispatched_job_waits_for_the_attempts_end(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 7).await;
    let answer = cancel(&store, cancel_of(id)).await;
    let (worker, execution) = (Incarnation(1), ExecutionId(7));
    let status_now = JobStatus::Dispatched;
    assert_eq!(answer, CancelAnswer::Cancelling { worker, execution, status: status_now });
    assert_eq!(status(&store, id).await, JobStatus::Dispatched);
    assert!(store.live_attempts().await.expect("read")[0].cancel_requested);
    let _ = send(&store, outcome(id, 7, failed())).await;
    assert_eq!(status(&store, id).await, JobStatus::Cancelled);
    assert_eq!(store.dead_letter_count(9).await.expect("read"), 0);
}

/// An attempt that succeeds after the cancel request leaves the job `completed`.
pub async fn a_success_that_commits_first_wins_over_a_cancel(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 7).await;
    cancel(&store, cancel_of(id)).await;
    let _ = send(&store, outcome(id, 7, succeeded())).await;
    assert_eq!(status(&store, id).await, JobStatus::Completed);
    let late = cancel(&store, cancel_of(id)).await;
    assert_eq!(late, CancelAnswer::AlreadyFinal { status: JobStatus::Completed });
}

/// A forced cancel ends a dispatched job at once; the outcome that follows is stale.
pub async fn a_forced_cancel_leaves_the_late_outcome_stale(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 7).await;
    let answer = cancel(&store, CancelCommand { force: true, ..cancel_of(id) }).await;
    let stop = Some((Incarnation(1), ExecutionId(7)));
    assert_eq!(answer, CancelAnswer::Cancelled { stop });
    assert!(store.live_attempts().await.expect("read").is_empty());
    let late = send(&store, outcome(id, 7, succeeded())).await;
    assert_eq!(late, Recorded::Stale { status: JobStatus::Cancelled });
    let attempts = store.attempts(id).await.expect("read");
    assert_eq!(attempts[0].status, AttemptStatus::Cancelled);
}

/// A cancel that expects another status, or names no job, changes nothing and returns which.
pub async fn a_cancel_in_another_status_or_of_no_job_changes_nothing(store: AStore) {
    let id = add(&store, job()).await;
    let expected = Some(JobStatus::Running);
    let answer = cancel(&store, CancelCommand { expected, ..cancel_of(id) }).await;
    assert_eq!(answer, CancelAnswer::NotInState { status: JobStatus::Pending });
    assert_eq!(cancel(&store, cancel_of(JobId(999))).await, CancelAnswer::Missing);
    assert_eq!(claimed_ids(&store, 9).await, [id.0]);
}

/// A failure delays the job by the backoff; the last one makes it a dead letter.
pub async fn failures_back_off_until_the_retries_are_used_up(store: AStore) {
    let retry = RetryPolicy { retries: 1, ..job().retry };
    let id = add(&store, JobSpec { retry, ..job() }).await;
    claim(&store, 1).await;
    let first = send(&store, outcome(id, 1, failed())).await;
    let run_at = Some(at(12));
    assert_eq!(first, Recorded::Applied { status: JobStatus::Scheduled, run_at });
    store.promote_due(store.term, at(12), 10).await.expect("promote");
    claim(&store, 2).await;
    let second = send(&store, outcome(id, 2, failed())).await;
    assert_eq!(second, Recorded::Applied { status: JobStatus::Failed, run_at: None });
    let job = get(&store, id).await;
    assert_eq!((job.state.attempt, job.state.dead), (2, Some(DeadReason::Exhausted)));
    assert_eq!(store.attempts(id).await.expect("read").len(), 2);
}

/// A timeout with no retries left makes the job `timed_out`.
pub async fn a_timeout_without_retries_left_ends_as_timed_out(store: AStore) {
    let id = add(&store, JobSpec { retry: RetryPolicy::none(), ..job() }).await;
    claim(&store, 1).await;
    let _ = send(&store, outcome(id, 1, OutcomeKind::TimedOut)).await;
    assert_eq!(status(&store, id).await, JobStatus::TimedOut);
}

/// The third attempt that is lost with its worker makes the job a dead letter: poison.
pub async fn losses_that_count_end_as_poison(store: AStore) {
    let id = add(&store, job()).await;
    for execution in 1..=3 {
        store.promote_due(store.term, at(100_000), 10).await.expect("promote");
        let claimed = store
            .claim_ready(vec![request(1, execution, 1)], store.term, at(100_000))
            .await
            .expect("claim")
            .claimed;
        assert_eq!(claimed.len(), 1);
        let _ = send(&store, outcome(id, execution, lost(LostWith::Worker))).await;
    }
    let job = get(&store, id).await;
    assert_eq!((job.state.status, job.state.dead), (JobStatus::Failed, Some(DeadReason::Poison)));
}

/// An attempt lost to a fence uses no retry, however often.
pub async fn losses_by_a_fence_use_no_retry(store: AStore) {
    let id = add(&store, JobSpec { retry: RetryPolicy::none(), ..job() }).await;
    for execution in 1..=5 {
        claim(&store, execution).await;
        let _ = send(&store, outcome(id, execution, lost(LostWith::Fence))).await;
        assert_eq!(status(&store, id).await, JobStatus::Pending);
    }
}

/// The first loss with a server is free, the second makes the job run alone, the third is poison; a
/// manual retry starts the counts anew.
pub async fn the_first_death_of_a_server_costs_nothing_and_the_third_is_poison(store: AStore) {
    let id = add(&store, JobSpec { retry: RetryPolicy::none(), ..job() }).await;
    claim(&store, 1).await;
    let first = send(&store, outcome(id, 1, lost(LostWith::Server))).await;
    assert_eq!(first, Recorded::Applied { status: JobStatus::Pending, run_at: Some(at(2)) });
    let claimed = store.claim_ready(vec![request(1, 2, 1)], store.term, at(2)).await;
    assert!(!claimed.expect("claimed").claimed[0].alone);
    let second = send(&store, outcome(id, 2, lost(LostWith::Server))).await;
    assert_eq!(second, Recorded::Applied { status: JobStatus::Scheduled, run_at: Some(at(12)) });
    store.promote_due(store.term, at(12), 10).await.expect("promoted");
    let claimed = store.claim_ready(vec![request(1, 3, 1)], store.term, at(12)).await;
    assert!(claimed.expect("claimed").claimed[0].alone);
    assert!(store.live_attempts().await.expect("read")[0].alone);
    let _ = send(&store, outcome(id, 3, lost(LostWith::Server))).await;
    let dead = get(&store, id).await;
    assert_eq!((dead.state.status, dead.state.dead), (JobStatus::Failed, Some(DeadReason::Poison)));
    assert_eq!(dead.state.ends, AttemptCounts { server_lost: 3, ..AttemptCounts::default() });

    // A manual retry starts the counts anew.
    store.retry(vec![id], at(20)).await.expect("retried");
    let claimed = store.claim_ready(vec![request(1, 4, 1)], store.term, at(20)).await;
    assert!(!claimed.expect("claimed").claimed[0].alone);
    assert_eq!(get(&store, id).await.state.ends, AttemptCounts::default());
}

/// Adds a job whose server was lost twice, so that it must run alone.
async fn add_suspect(store: &AStore) -> JobId {
    let retry = RetryPolicy { backoff_ms: 0, jitter: 0.0, ..RetryPolicy::default() };
    let id = add(store, JobSpec { retry, ..job() }).await;
    for execution in [900, 901] {
        let execution = execution + id.0 as u128 * 1_000;
        let claimed = store.claim_ready(vec![request(9, execution, 1)], store.term, at(1)).await;
        assert_eq!(claimed.expect("claimed").claimed[0].dispatch.job, id);
        let _ = send(store, outcome(id, execution, lost(LostWith::Server))).await;
        store.promote_due(store.term, at(2), 10).await.expect("promoted");
    }
    id
}

/// A job that must run alone goes to a worker without other jobs, which gets nothing beside it.
pub async fn a_job_that_runs_alone_waits_for_an_empty_worker(store: AStore) {
    let suspect = add_suspect(&store).await;
    let healthy: Vec<JobId> = {
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(add(&store, not_before(at(3), job())).await);
        }
        ids
    };
    store.promote_due(store.term, at(3), 10).await.expect("promoted");
    let claim = async |requests| {
        let claimed =
            store.claim_ready(requests, store.term, at(4)).await.expect("claimed").claimed;
        claimed.iter().map(|it| (it.worker.0, it.dispatch.job, it.alone)).collect::<Vec<_>>()
    };
    let busy = |worker, first, held| orx_store::ClaimRequest { held, ..request(worker, first, 2) };

    // The suspect comes first and no worker is empty: the worker that must become empty gets nothing.
    assert_eq!(claim(vec![busy(1, 10, 1)]).await, []);
    // Of two workers, the one with fewer jobs becomes empty, and the other continues.
    let went_on = claim(vec![busy(1, 20, 1), busy(2, 30, 3)]).await;
    assert_eq!(went_on, [(2, healthy[0], false), (2, healthy[1], false)]);
    // The suspect goes to an empty worker, which gets no other job.
    let alone = claim(vec![busy(1, 40, 0)]).await;
    assert_eq!(alone, [(1, suspect, true)]);
    assert_eq!(claim(vec![busy(2, 50, 2)]).await, [(2, healthy[2], false)]);
}

/// A job that its worker hands back uses no retry and stays ahead of later jobs.
pub async fn a_job_handed_back_uses_no_retry_and_keeps_its_place(store: AStore) {
    let first = add(&store, job()).await;
    let second = add(&store, not_before(at(1), job())).await;
    store.promote_due(store.term, at(1), 10).await.expect("promoted");
    for execution in 1..=30 {
        let claimed = store.claim_ready(vec![request(1, execution, 1)], store.term, at(90)).await;
        assert_eq!(claimed.expect("claimed").claimed[0].dispatch.job, first);
        let back = send(&store, outcome(first, execution, OutcomeKind::HandedBack)).await;
        assert_eq!(back, Recorded::Applied { status: JobStatus::Pending, run_at: None });
    }
    let kept = get(&store, first).await;
    assert_eq!(
        (kept.state.ends, kept.state.run_at, kept.state.dead),
        (AttemptCounts::default(), NOW, None)
    );
    assert_eq!(claimed_ids(&store, 9).await, [first.0, second.0]);
}

/// With `on_lost: fail`, a lost attempt ends the job as a dead letter.
pub async fn a_job_with_on_lost_fail_fails_when_lost(store: AStore) {
    let id = add(&store, JobSpec { on_lost: OnLost::Fail, ..job() }).await;
    claim(&store, 1).await;
    let _ = send(&store, outcome(id, 1, lost(LostWith::Server))).await;
    let job = get(&store, id).await;
    assert_eq!((job.state.status, job.state.dead), (JobStatus::Failed, Some(DeadReason::Lost)));
}

/// With `on_lost: fail`, an interruption before the start returns the job, and one after it ends
/// it.
pub async fn a_job_with_on_lost_fail_fails_when_interrupted_after_its_start(store: AStore) {
    let id = add(&store, JobSpec { on_lost: OnLost::Fail, ..job() }).await;
    claim(&store, 1).await;
    let returned = Outcome { started_at: None, ..outcome(id, 1, OutcomeKind::Interrupted) };
    let back = send(&store, returned).await;
    assert!(matches!(back, Recorded::Applied { status: JobStatus::Pending, .. }), "{back:?}");
    claim(&store, 2).await;
    let _ = send(&store, outcome(id, 2, OutcomeKind::Interrupted)).await;
    let job = get(&store, id).await;
    assert_eq!((job.state.status, job.state.dead), (JobStatus::Failed, Some(DeadReason::Lost)));
}

/// The outcome of an execution that was replaced is stale.
pub async fn late_result_of_an_old_execution_changes_nothing(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 1).await;
    let _ = send(&store, outcome(id, 1, OutcomeKind::Interrupted)).await;
    claim(&store, 2).await;
    let late = send(&store, outcome(id, 1, succeeded())).await;
    assert_eq!(late, Recorded::Stale { status: JobStatus::Dispatched });
    let job = get(&store, id).await;
    assert_eq!(job.state.live.map(|live| live.execution), Some(ExecutionId(2)));
}

/// The second outcome of one execution is stale, within one batch too.
pub async fn an_outcome_reported_twice_is_recorded_once(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 1).await;
    let twice = vec![outcome(id, 1, succeeded()), outcome(id, 1, failed())];
    let both = store.record_outcomes(twice, vec![0.5; 2], at(2)).await.expect("record");
    assert_eq!(both[0], Recorded::Applied { status: JobStatus::Completed, run_at: None });
    assert_eq!(both[1], Recorded::Stale { status: JobStatus::Completed });
    assert_eq!(store.attempts(id).await.expect("read").len(), 1);
}

/// Missing and stale outcomes of a batch do not keep the valid ones from being recorded.
pub async fn stale_outcomes_of_a_batch_do_not_block_the_others(store: AStore) {
    let one = add(&store, job()).await;
    let two = add(&store, job()).await;
    store.claim_ready(vec![request(1, 1, 2)], store.term, at(1)).await.expect("claim");
    let batch = vec![
        outcome(JobId(999), 5, succeeded()),
        outcome(one, 9, succeeded()),
        outcome(two, 2, succeeded()),
    ];
    let each = store.record_outcomes(batch, vec![0.5; 3], at(2)).await.expect("record");
    assert_eq!(each[0], Recorded::Missing);
    assert!(matches!(each[1], Recorded::Stale { .. }));
    assert!(matches!(each[2], Recorded::Applied { .. }));
    assert_eq!(status(&store, one).await, JobStatus::Dispatched);
}

/// A start makes the job `running` for the live execution only, and never reopens an ended job.
pub async fn a_start_is_recorded_for_the_live_execution_only(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 1).await;
    let start = |execution| Started { job: id, execution: ExecutionId(execution), at: at(1) };
    store.mark_started(vec![start(9)], at(1)).await.expect("mark");
    assert_eq!(status(&store, id).await, JobStatus::Dispatched);
    store.mark_started(vec![start(1), start(1)], at(1)).await.expect("mark");
    assert_eq!(status(&store, id).await, JobStatus::Running);
    let attempts = store.attempts(id).await.expect("read");
    assert_eq!(attempts[0].status, AttemptStatus::Running);
    let _ = send(&store, outcome(id, 1, succeeded())).await;
    store.mark_started(vec![start(1)], at(1)).await.expect("mark");
    assert_eq!(status(&store, id).await, JobStatus::Completed);
}

/// Start and end times are clamped between the claim and the moment of the report.
pub async fn times_that_a_worker_reports_are_bounded_by_the_stores_clock(store: AStore) {
    let year = 365 * 24 * 3_600;
    // Claimed at 1 s and reported at 2 s, whatever the worker's clock shows.
    for (execution, sent, kept) in [(1, -year, 1), (2, year, 2), (3, 1, 1), (4, 2, 2)] {
        let id = add(&store, job()).await;
        claim(&store, execution).await;
        let started = Started { job: id, execution: ExecutionId(execution), at: at(sent) };
        store.mark_started(vec![started], at(2)).await.expect("mark");
        let live = get(&store, id).await.state.live.expect("an attempt");
        assert_eq!(live.started_at, Some(at(kept)));
        let (started_at, ended_at) = (Some(at(sent)), at(sent));
        let sent = Outcome { started_at, ended_at, ..outcome(id, execution, succeeded()) };
        assert!(matches!(send(&store, sent).await, Recorded::Applied { .. }));
        let job = get(&store, id).await;
        assert_eq!((job.state.started_at, job.state.finished_at), (Some(at(kept)), Some(at(kept))));
        let attempt = store.attempts(id).await.expect("read").remove(0);
        assert_eq!((attempt.started_at, attempt.ended_at), (Some(at(kept)), Some(at(kept))));
    }
    // Retention uses the clamped times.
    let prune = async |before| {
        let request =
            PruneRequest { completed_before: before, others_before: before, limit: 9, chunks: 99 };
        store.prune(request, store.term).await.expect("prune").jobs
    };
    assert_eq!(prune(at(1)).await, 0);
    assert_eq!(prune(at(3)).await, 4);
}

/// Progress is stored for the live execution and ignored for any other.
pub async fn progress_is_stored_with_the_live_attempt(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 1).await;
    let progress = orx_model::job::Progress { percent: 50.0, text: Some("half".into()) };
    let sent = |execution| ExecutionProgress {
        job: id,
        execution: ExecutionId(execution),
        progress: progress.clone(),
    };
    store.record_progress(vec![sent(9)]).await.expect("record");
    assert_eq!(get(&store, id).await.state.live.and_then(|live| live.progress), None);
    store.record_progress(vec![sent(1)]).await.expect("record");
    assert_eq!(get(&store, id).await.state.live.and_then(|live| live.progress), Some(progress));
}

/// When the clock is set, backoffs and claim times move with it; calendar times stay.
pub async fn waits_are_as_long_as_before_when_the_clock_is_set(store: AStore) {
    let tried = add(&store, job()).await;
    claim(&store, 1).await;
    let _ = send(&store, outcome(tried, 1, failed())).await;
    let live = add(&store, job()).await;
    claim(&store, 2).await;
    let calendar = add(&store, not_before(at(100), job())).await;
    let ready = add(&store, job()).await;
    let before = get(&store, tried).await.state.run_at;
    assert_eq!((status(&store, tried).await, before), (JobStatus::Scheduled, at(12)));
    let claimed_at = get(&store, live).await.state.live.expect("an attempt").claimed_at;
    let moved = |by: i64| Timestamp::from_millis(claimed_at.as_millis() + by * 1_000);

    let set = |before, by: i64| ClockJump { before: at(before), by_ms: by * 1_000 };
    let waits = store.clock_was_set(set(3, 600), store.term, at(603)).await.expect("set");
    assert_eq!((waits, get(&store, tried).await.state.run_at), (1, at(612)));
    assert_eq!(get(&store, calendar).await.state.run_at, at(100), "of the calendar");
    let attempt = get(&store, live).await.state.live.expect("an attempt");
    assert_eq!(attempt.claimed_at, moved(600));
    assert_eq!(get(&store, ready).await.state.run_at, NOW);

    let waits = store.clock_was_set(set(605, -7_200), store.term, at(605 - 7_200)).await;
    assert_eq!((waits.expect("set"), get(&store, tried).await.state.run_at), (1, at(612 - 7_200)));
    assert_eq!(get(&store, calendar).await.state.run_at, at(100));
    assert_eq!(
        get(&store, ready).await.state.run_at,
        at(605 - 7_200),
        "it does not wait for hours"
    );
    let attempt = get(&store, live).await.state.live.expect("an attempt");
    assert_eq!(attempt.claimed_at, moved(600 - 7_200));
    // A job that is due by now stays due.
    let waits = store.clock_was_set(set(612, 60), store.term, at(612)).await.expect("set");
    assert_eq!((waits, get(&store, tried).await.state.run_at), (0, at(612 - 7_200)));

    let old = store.term;
    assert!(store.step_down(old).await.expect("stepped down"));
    let refused = store.clock_was_set(set(3, 600), old, at(603)).await;
    assert!(matches!(refused, Err(StoreError::Deposed)), "{refused:?}");
}

/// The leader stores what its clock shows; a deposed one cannot.
pub async fn the_leader_notes_the_clock(store: AStore) {
    assert_eq!(store.clock().await.expect("read"), None);
    let first = ClockNote { seen: at(1), ..ClockNote::default() };
    let second = ClockNote { seen: at(-7_000), jumps: 1, last: Some((at(-7_001), -7_200_000)) };
    for note in [first, second] {
        store.note_clock(note, store.term).await.expect("noted");
        assert_eq!(store.clock().await.expect("read"), Some(note));
    }
    let old = store.term;
    assert!(store.step_down(old).await.expect("stepped down"));
    let refused = store.note_clock(first, old).await;
    assert!(matches!(refused, Err(StoreError::Deposed)), "{refused:?}");
    assert_eq!(store.clock().await.expect("read"), Some(second));
}

/// A manual retry resets the counts of a dead letter; attempt numbers continue.
pub async fn a_manual_retry_resets_the_counts_and_continues_the_numbers(store: AStore) {
    let id = add(&store, JobSpec { retry: RetryPolicy::none(), ..job() }).await;
    claim(&store, 1).await;
    let _ = send(&store, outcome(id, 1, failed())).await;
    let answers = store.retry(vec![id, JobId(999)], at(3)).await.expect("retry");
    assert_eq!(answers, [RetryAnswer::Retried, RetryAnswer::Missing]);
    let job = get(&store, id).await;
    assert_eq!(
        (job.state.status, job.state.dead, job.state.ends.failed),
        (JobStatus::Pending, None, 0)
    );
    let again = store.retry(vec![id], at(3)).await.expect("retry");
    assert_eq!(again, [RetryAnswer::NotInState { status: JobStatus::Pending }]);
    let claimed =
        store.claim_ready(vec![request(1, 2, 1)], store.term, at(4)).await.expect("claim").claimed;
    assert_eq!(claimed[0].dispatch.attempt, 2);
    let _ = send(&store, outcome(id, 2, succeeded())).await;
    assert_eq!(status(&store, id).await, JobStatus::Completed);
}

/// Dead letters are listed newest first, filtered, counted, and deleted without their jobs.
pub async fn dead_letters_are_listed_newest_first_and_can_be_deleted(store: AStore) {
    let mut ids = Vec::new();
    for execution in 1..=3 {
        let id = add(&store, JobSpec { retry: RetryPolicy::none(), ..job() }).await;
        claim(&store, execution).await;
        let _ = send(&store, outcome(id, execution, failed())).await;
        ids.push(id);
    }
    let request = |after, filter: &str| {
        let filter = Filter::parse(filter, NOW, &UtcClock).expect("a filter");
        ListRequest { filter, oldest_first: false, after, limit: 2 }
    };
    let first = store.dead_letters(request(None, ""), NOW).await.expect("list");
    let found: Vec<JobId> = first.rows.iter().map(|row| row.job.id).collect();
    assert_eq!((found, first.next), (vec![ids[2], ids[1]], Some(ids[1])));
    let rest = store.dead_letters(request(first.next, ""), NOW).await.expect("list");
    assert_eq!((rest.rows.len(), rest.next), (1, None));
    assert_eq!(rest.rows[0].reason, DeadReason::Exhausted);
    let one = format!("id:{} name:work status:failed", ids[1]);
    let one = store.dead_letters(request(None, &one), NOW).await.expect("list");
    assert_eq!(one.rows.iter().map(|row| row.job.id).collect::<Vec<_>>(), [ids[1]]);
    let none = store.dead_letters(request(None, "name:other"), NOW).await.expect("list");
    assert_eq!((none.rows.len(), none.next), (0, None));
    assert_eq!(store.dead_letter_count(2).await.expect("count"), 2);
    let deleted = store.delete_dead_letters(vec![ids[0], JobId(999)]).await.expect("delete");
    assert_eq!(deleted, [true, false]);
    assert_eq!(store.dead_letter_count(9).await.expect("count"), 2);
    assert_eq!(status(&store, ids[0]).await, JobStatus::Failed);
}

/// Arguments and results are stored byte for byte, errors up to their limit, exits with them.
pub async fn results_errors_and_exits_are_stored(store: AStore) {
    let args = json(r#"{"b": 1.0, "a": [123456789012345678901234567890]}"#);
    let id = add(&store, JobSpec { args: args.clone(), ..job() }).await;
    assert_eq!(get(&store, id).await.spec.args.get(), args.get());
    claim(&store, 1).await;
    let failure = Outcome {
        error: Some("x".repeat(10_000)),
        exit: Some(Exit::Code(3)),
        ..outcome(id, 1, failed())
    };
    let _ = send(&store, failure).await;
    let job = get(&store, id).await;
    assert_eq!(job.state.exit, Some(Exit::Code(3)));
    assert_eq!(job.state.error.map(|error| error.len()), Some(orx_model::limits::ERROR_BYTES));
    store.promote_due(store.term, at(60), 10).await.expect("promote");
    claim(&store, 2).await;
    let result = json(r#"{"z":1.50}"#);
    let kind = OutcomeKind::Succeeded { result: Some(result.clone()) };
    let _ = send(&store, outcome(id, 2, kind)).await;
    let job = get(&store, id).await;
    assert_eq!(job.state.result.as_ref().map(|kept| kept.get()), Some(result.get()));
    assert_eq!((job.state.error, job.state.exit, job.state.attempt), (None, None, 2));
    assert_eq!(job.state.worker, Some(name("w")));
}

/// The counts of each queue match the statuses after every transition.
pub async fn counts_follow_every_move(store: AStore) {
    let a = add(&store, job()).await;
    let b = add(&store, JobSpec { queue: name("media"), ..job() }).await;
    add(&store, not_before(at(60), job())).await;
    store.claim_ready(vec![request(1, 1, 1)], store.term, at(1)).await.expect("claim");
    cancel(&store, cancel_of(b)).await;
    let _ = send(&store, outcome(a, 1, succeeded())).await;
    let counts = store.queue_counts().await.expect("counts");
    let default = StatusCounts { completed: 1, scheduled: 1, ..StatusCounts::default() };
    let media = StatusCounts { cancelled: 1, ..StatusCounts::default() };
    assert_eq!(counts, [(name("default"), default), (name("media"), media)]);
    store.promote_due(store.term, at(60), 10).await.expect("promote");
    let oldest = store.oldest_due().await.expect("read");
    assert_eq!(oldest, [(name("default"), at(60))]);
}

/// Pages contain every job once, in either direction.
pub async fn lists_page_in_both_directions_without_loss(store: AStore) {
    store.enqueue(vec![job().into(); 7], NOW).await.expect("enqueue");
    for oldest_first in [false, true] {
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let request = ListRequest { filter: Filter::default(), oldest_first, after, limit: 3 };
            let page = store.list(request, NOW).await.expect("list");
            seen.extend(page.rows.iter().map(|job| job.id.0));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let mut all: Vec<i64> = (1..=7).collect();
        if !oldest_first {
            all.reverse();
        }
        assert_eq!(seen, all);
    }
}

/// A filter selects the same jobs for a list and for a count; a count stops at its limit.
pub async fn filters_are_applied_to_lists_and_counts(store: AStore) {
    let tagged = JobSpec { tags: [("tenant".to_owned(), "acme".to_owned())].into(), ..job() };
    let media = JobSpec { queue: name("media"), priority: Priority::High, ..job() };
    store.enqueue([tagged, media, job()].map(NewJob::from).into(), NOW).await.expect("enqueue");
    claim(&store, 1).await;
    for (text, expected) in [
        ("", vec![3, 2, 1]),
        ("status:pending", vec![3, 1]),
        ("-status:pending", vec![2]),
        ("queue:media", vec![2]),
        ("queue:MEDIA,default id<3", vec![2, 1]),
        ("priority:high status:dispatched", vec![2]),
        ("tag.tenant:ac*", vec![1]),
        ("attempts>=1", vec![2]),
        ("name:w*k age<1m", vec![3, 2, 1]),
        ("status:completed", vec![]),
        ("worker:w", vec![2]),
        ("acme", vec![1]),
    ] {
        let filter = Filter::parse(text, NOW, &UtcClock).expect("a filter");
        let request =
            ListRequest { filter: filter.clone(), oldest_first: false, after: None, limit: 10 };
        let page = store.list(request, at(1)).await.expect("list");
        let ids: Vec<i64> = page.rows.iter().map(|job| job.id.0).collect();
        assert_eq!(ids, expected, "{text}");
        let count = store.count(filter, 100, at(1)).await.expect("count");
        assert_eq!((count.count, count.exact), (expected.len() as u64, true), "{text}");
    }
    let count = store.count(Filter::default(), 2, at(1)).await.expect("count");
    assert_eq!((count.count, count.exact), (2, false));
}

/// Filters on indexed fields select the same jobs, alone and combined, page by page.
pub async fn filters_find_by_name_queue_tag_and_schedule(store: AStore) {
    let tags = |tenant: &str| Labels::from([("tenant".to_owned(), tenant.to_owned())]);
    let origin = |id: &str| Some(Origin { id: name(id), slot: None });
    let command = || Some(Command { argv: vec!["make".to_owned()], ..Command::default() });
    let (media, make) = (|| name("media"), || name("make"));
    let jobs = [
        JobSpec { name: name("video.cut"), queue: media(), ..job() },
        JobSpec { name: name("video.mix"), tags: tags("\u{c4}rger"), ..job() },
        JobSpec { name: make(), command: command(), ..job() },
        JobSpec {
            name: name("Make"),
            command: command(),
            queue: media(),
            tags: tags("acme"),
            ..job()
        },
        JobSpec { name: make(), schedule: origin("nightly"), ..job() },
        JobSpec {
            schedule: origin("Hourly"),
            tags: tags("ACME"),
            priority: Priority::Low,
            ..job()
        },
    ];
    store.enqueue(jobs.map(NewJob::from).into(), NOW).await.expect("enqueue");
    let cases: [(&str, &[i64]); 21] = [
        ("name:make", &[5, 4, 3]),
        ("name:MAKE,video.cut", &[5, 4, 3, 1]),
        ("name:video.*", &[2, 1]),
        ("-name:make", &[6, 2, 1]),
        ("name:make queue:media", &[4]),
        ("name:make status:pending", &[5, 4, 3]),
        ("name:make status:completed", &[]),
        ("name:none", &[]),
        ("queue:media", &[4, 1]),
        ("-queue:media", &[6, 5, 3, 2]),
        ("queue:none", &[]),
        ("tag.tenant:acme", &[6, 4]),
        ("tag.tenant:\u{e4}rger,acme", &[6, 4, 2]),
        ("-tag.tenant:acme", &[5, 3, 2, 1]),
        ("tag.tenant:acme queue:media", &[4]),
        ("tag.Tenant:acme", &[]),
        ("schedule:nightly", &[5]),
        ("schedule:nightly,HOURLY", &[6, 5]),
        ("schedule:*ly -priority:low", &[5]),
        ("priority:low", &[6]),
        ("name:make,make,work -tag.tenant:acme id>=3", &[5, 3]),
    ];
    for (text, expected) in cases {
        let filter = Filter::parse(text, NOW, &UtcClock).expect("a filter");
        for oldest_first in [false, true] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let filter = filter.clone();
                let request = ListRequest { filter, oldest_first, after, limit: 2 };
                let page = store.list(request, NOW).await.expect("list");
                found.extend(page.rows.iter().map(|job| job.id.0));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            if oldest_first {
                found.reverse();
            }
            assert_eq!(found, expected, "{text}");
        }
        let count = store.count(filter, 100, NOW).await.expect("count");
        assert_eq!((count.count, count.exact), (expected.len() as u64, true), "{text}");
    }
}

/// A page contains no arguments and at most `PAGE_BYTES` bytes; filters and claims still see the
/// arguments.
pub async fn lists_contain_no_args_and_are_bounded_in_bytes(store: AStore) {
    let args = |n: usize| json(&format!(r#"{{"n": {n}, "x": "{}"}}"#, "x".repeat(20_000)));
    let tags: Labels = (0..30).map(|n| (format!("t{n}"), "y".repeat(250))).collect();
    let large = |n| NewJob::from(JobSpec { args: args(n), tags: tags.clone(), ..job() });
    for some in (0..100).collect::<Vec<_>>().chunks(20) {
        store.enqueue(some.iter().copied().map(large).collect(), NOW).await.expect("enqueue");
    }
    let list = async |text: &str, after| {
        let filter = Filter::parse(text, NOW, &UtcClock).expect("a filter");
        let request = ListRequest { filter, oldest_first: true, after, limit: 500 };
        store.list(request, NOW).await.expect("list")
    };
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = list("", after).await;
        let bytes = serde_json::to_string(&page.rows).expect("json").len();
        assert!(bytes <= orx_model::limits::PAGE_BYTES, "{bytes} bytes");
        found.extend(page.rows.iter().map(|job| job.id.0));
        (after, pages) = (page.next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, (1..=100).collect::<Vec<_>>());
    assert!(pages > 1, "{pages} pages");
    // Filters and claims still see the whole arguments.
    let one = list("arg.n:70 id>60 id<=80", None).await;
    assert_eq!(one.rows.iter().map(|job| job.id.0).collect::<Vec<_>>(), [71]);
    assert_eq!(get(&store, JobId(71)).await.spec.args.get(), args(70).get());
    let claimed =
        store.claim_ready(vec![request(1, 1, 1)], store.term, NOW).await.expect("claim").claimed;
    assert_eq!(claimed[0].dispatch.args.get(), args(0).get());
}

fn chunk(job: JobId, attempt: u32, seq: u64, stream: Stream, text: &str) -> LogChunk {
    LogChunk {
        job,
        attempt,
        execution: ExecutionId(u128::from(attempt)),
        seq,
        stream,
        at: at(1),
        dropped_bytes: seq % 2,
        bytes: text.as_bytes().to_vec(),
    }
}

fn whole(job: JobId) -> LogRequest {
    LogRequest {
        job,
        after: LogCursor::default(),
        attempt: None,
        streams: Vec::new(),
        limit_bytes: 1 << 20,
    }
}

/// An attempt sums up the dropped bytes that its log chunks report, without overflow.
pub async fn an_attempt_counts_its_dropped_output_bytes(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 1).await;
    let dropped = |attempt, seq, dropped_bytes| LogChunk {
        dropped_bytes,
        ..chunk(id, attempt, seq, Stream::Out, "")
    };
    let all = |numbers: &[u64]| numbers.to_vec();
    let sums = async || {
        let attempts = store.attempts(id).await.expect("read");
        attempts.iter().map(|attempt| attempt.dropped_bytes).collect::<Vec<u64>>()
    };
    store.append_logs(vec![dropped(1, 1, 0)]).await.expect("append");
    assert_eq!(sums().await, all(&[0]));
    store.append_logs(vec![dropped(1, 2, 40), dropped(1, 3, 2)]).await.expect("append");
    assert_eq!(sums().await, all(&[42]), "while it runs");
    let _ = send(&store, outcome(id, 1, failed())).await;
    assert_eq!(sums().await, all(&[42]), "when it has ended");
    // Too large a number from a worker is no error.
    let most = i64::MAX.unsigned_abs();
    store.append_logs(vec![dropped(1, 4, most), dropped(1, 5, most)]).await.expect("append");
    assert!(sums().await[0] >= most - 1024);
}

/// A log chunk is stored once, without a job not at all, and is read by attempt, sequence number
/// and stream.
pub async fn log_chunks_are_stored_once_and_read_by_position(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 1).await;
    let odd = LogChunk { bytes: vec![0, 255, 27], ..chunk(id, 1, 2, Stream::Err, "") };
    let chunks = vec![
        odd.clone(),
        chunk(id, 1, 1, Stream::Out, "one\n"),
        chunk(id, 2, 1, Stream::Out, "again\n"),
        chunk(id, 1, 1, Stream::Out, "one\n"),
        chunk(JobId(999), 1, 1, Stream::Out, "nobody's"),
    ];
    store.append_logs(chunks.clone()).await.expect("append");
    store.append_logs(chunks).await.expect("append");
    let read = store.read_logs(whole(id)).await.expect("read");
    let places: Vec<(u32, u64)> = read.iter().map(|chunk| (chunk.attempt, chunk.seq)).collect();
    assert_eq!(places, [(1, 1), (1, 2), (2, 1)]);
    assert_eq!(read[1], odd);
    assert_eq!(store.attempts(id).await.expect("read")[0].dropped_bytes, 1);
    let after = LogCursor { attempt: 1, seq: 1 };
    let errors = LogRequest { after, streams: vec![Stream::Err], ..whole(id) };
    assert_eq!(store.read_logs(errors).await.expect("read").len(), 1);
    let second = LogRequest { attempt: Some(2), ..whole(id) };
    assert_eq!(store.read_logs(second).await.expect("read")[0].bytes, b"again\n");
    let little = LogRequest { limit_bytes: 1, ..whole(id) };
    assert_eq!(store.read_logs(little).await.expect("read").len(), 1);
    assert!(store.read_logs(whole(JobId(999))).await.expect("read").is_empty());
}

/// The tail cursor is the position from which the last lines can be read.
pub async fn the_tail_of_a_log_is_found(store: AStore) {
    let id = add(&store, job()).await;
    let lines = (1..=5).map(|seq| chunk(id, 1, seq, Stream::Out, &format!("{seq}\n")));
    store.append_logs(lines.collect()).await.expect("append");
    let tail = store.log_tail(whole(id), 2).await.expect("tail");
    let read = store.read_logs(LogRequest { after: tail, ..whole(id) }).await.expect("read");
    let text: Vec<u8> = read.into_iter().flat_map(|chunk| chunk.bytes).collect();
    assert!(text.ends_with(b"4\n5\n") && text.len() <= 6, "{text:?}");
    let all = store.log_tail(whole(id), 50).await.expect("tail");
    assert_eq!(all, LogCursor::default());
}

fn report(n: u128, who: &str) -> WorkerReport {
    WorkerReport {
        registration: WorkerRegistration {
            incarnation: Incarnation(n),
            name: name(who),
            host: "h".into(),
            pid: 1,
            version: "1".into(),
            offer: orx_model::Capabilities::default(),
            slots: 2,
            started_at: NOW,
        },
        state: WorkerState::Running,
        capacity: 2,
        heartbeat: 0,
        load: None,
        hosted_by: Some(Incarnation(9)),
        node: Some(Incarnation(9)),
    }
}

async fn reports(store: &AStore) -> Vec<WorkerReport> {
    let all = store.workers(NOW).await.expect("read");
    all.into_iter().map(|worker| worker.report).collect()
}

/// The secret of the workers in these cases.
const SECRET: SecretHash = SecretHash([7; 32]);

async fn put(store: &AStore, reports: Vec<WorkerReport>) -> Vec<WorkerPut> {
    let reports = reports.into_iter().map(|report| (SECRET, report)).collect();
    store.put_workers(reports, NOW).await.expect("put")
}

/// A report replaces the older one of its worker; a late heartbeat changes nothing but the contact
/// time.
pub async fn workers_are_stored_replaced_and_removed(store: AStore) {
    let all = vec![report(2, "b"), report(1, "b"), report(3, "a")];
    assert_eq!(put(&store, all).await, [WorkerPut::Kept(None); 3]);
    let load = Load { cpu: 0.5, memory_used_bytes: 1, memory_bytes: 2 };
    let later = WorkerReport {
        state: WorkerState::Draining,
        capacity: 0,
        heartbeat: 5,
        load: Some(load),
        hosted_by: None,
        node: Some(Incarnation(8)),
        ..report(3, "a")
    };
    put(&store, vec![later.clone()]).await;
    assert_eq!(reports(&store).await, [later.clone(), report(1, "b"), report(2, "b")]);
    // A late heartbeat only shows that the worker is alive.
    let late = WorkerReport { heartbeat: 4, capacity: 9, ..later.clone() };
    put(&store, vec![late]).await;
    assert_eq!(reports(&store).await[0], later);
    let seen = store.workers(NOW).await.expect("read");
    assert!(seen.iter().all(|worker| worker.silent < Duration::from_secs(60)), "{seen:?}");
    let removed = vec![Incarnation(1), Incarnation(7)];
    store.remove_workers(removed, WorkerRemoval::Stopped).await.expect("remove");
    assert_eq!(reports(&store).await.len(), 2);
}

/// A directive is returned to each report of the worker until it is withdrawn.
pub async fn a_directive_stands_until_it_is_withdrawn(store: AStore) {
    let (one, other) = (Incarnation(1), Incarnation(2));
    put(&store, vec![report(1, "w")]).await;
    let drain = Some(WorkerDirective::Drain);
    let ordered = store.order_workers(vec![one, other], drain).await.expect("ordered");
    assert_eq!(ordered, [true, false]);
    assert_eq!(put(&store, vec![report(1, "w")]).await, [WorkerPut::Kept(drain)]);
    assert_eq!(store.workers(NOW).await.expect("read")[0].order, drain);
    assert_eq!(store.order_workers(vec![one], None).await.expect("ordered"), [true]);
    assert_eq!(put(&store, vec![report(1, "w")]).await, [WorkerPut::Kept(None)]);
}

/// A drain stays for a lost worker that comes back, and goes with one that stops.
pub async fn a_drain_outlives_the_loss_of_its_worker_but_not_its_stop(store: AStore) {
    let (drained, other) = (Incarnation(1), Incarnation(2));
    put(&store, vec![report(1, "w"), report(2, "w")]).await;
    let drain = Some(WorkerDirective::Drain);
    assert_eq!(store.order_workers(vec![drained], drain).await.expect("ordered"), [true]);
    store.remove_workers(vec![drained, other], WorkerRemoval::Lost).await.expect("removed");
    let rows = store.workers(NOW).await.expect("read");
    assert_eq!(rows.iter().map(|row| row.order).collect::<Vec<_>>(), [drain]);
    // The worker comes back, and is still drained.
    assert_eq!(put(&store, vec![report(1, "w")]).await, [WorkerPut::Kept(drain)]);
    store.remove_workers(vec![drained], WorkerRemoval::Stopped).await.expect("removed");
    assert_eq!(reports(&store).await, []);
}

pub async fn a_heartbeat_without_a_registration_adds_no_worker(store: AStore) {
    let beat = |n| WorkerReport { heartbeat: 3, ..report(n, "w") };
    assert_eq!(put(&store, vec![beat(1)]).await, [WorkerPut::Unregistered]);
    assert_eq!(reports(&store).await, []);
    let kept = WorkerPut::Kept(None);
    let both = vec![beat(1), report(2, "w"), beat(2)];
    assert_eq!(put(&store, both).await, [WorkerPut::Unregistered, kept, kept]);
    assert_eq!(reports(&store).await, [beat(2)]);
    store.remove_workers(vec![Incarnation(2)], WorkerRemoval::Stopped).await.expect("removed");
    assert_eq!(put(&store, vec![beat(2)]).await, [WorkerPut::Unregistered]);
    assert_eq!(store.worker_secret(Incarnation(2)).await.expect("read"), None);
    assert_eq!(reports(&store).await, []);
}

/// No report, directive or removal lifts a fence, until the worker is gone.
pub async fn a_fenced_worker_stays_fenced(store: AStore) {
    let fence = Some(WorkerDirective::Fence);
    put(&store, vec![report(1, "w")]).await;
    let fenced = store.order_workers(vec![Incarnation(1)], fence).await.expect("ordered");
    assert_eq!(fenced, [true]);
    let again = WorkerReport { capacity: 9, heartbeat: 7, ..report(1, "w") };
    assert_eq!(put(&store, vec![again]).await, [WorkerPut::Kept(fence)]);
    assert_eq!(reports(&store).await, [report(1, "w")]);
    for order in [None, Some(WorkerDirective::Drain)] {
        let taken_back = store.order_workers(vec![Incarnation(1)], order).await.expect("answered");
        assert_eq!(taken_back, [false]);
    }
    // The fence was ordered while the worker was lost, or stopped.
    for removal in [WorkerRemoval::Lost, WorkerRemoval::Stopped] {
        store.remove_workers(vec![Incarnation(1)], removal).await.expect("ignored");
        assert_eq!(store.workers(NOW).await.expect("read")[0].order, fence);
    }
    store.remove_workers(vec![Incarnation(1)], WorkerRemoval::Gone).await.expect("removed");
    assert!(store.workers(NOW).await.expect("read").is_empty());
}

/// A report with another secret than the registered one is rejected.
pub async fn a_report_with_another_secret_changes_nothing(store: AStore) {
    let one = Incarnation(1);
    assert_eq!(store.worker_secret(one).await.expect("read"), None);
    put(&store, vec![report(1, "w")]).await;
    assert_eq!(store.worker_secret(one).await.expect("read"), Some(SECRET));
    let other = SecretHash([8; 32]);
    let strange = WorkerReport { capacity: 9, heartbeat: 7, ..report(1, "x") };
    let batch = vec![
        (other, strange.clone()),
        (other, report(2, "y")),
        (SECRET, WorkerReport { capacity: 3, heartbeat: 1, ..report(1, "w") }),
        (other, WorkerReport { heartbeat: 0, ..strange }),
    ];
    let kept = WorkerPut::Kept(None);
    assert_eq!(
        store.put_workers(batch, NOW).await.expect("put"),
        [WorkerPut::OtherSecret, kept, kept, WorkerPut::OtherSecret]
    );
    let all = reports(&store).await;
    assert_eq!((all[0].capacity, all[0].heartbeat), (3, 1));
    assert_eq!(store.worker_secret(one).await.expect("read"), Some(SECRET));
    // After the removal, a registration with another secret is a new worker.
    store.remove_workers(vec![one], WorkerRemoval::Lost).await.expect("removed");
    assert_eq!(store.worker_secret(one).await.expect("read"), None);
    let again = store.put_workers(vec![(other, report(1, "x"))], NOW).await.expect("put");
    assert_eq!(again, [kept]);
}

/// The worker and attempt number of an execution are found while it is live and after its end.
pub async fn the_holder_of_an_execution_is_known_live_or_ended(store: AStore) {
    let (one, two) = (add(&store, job()).await, add(&store, job()).await);
    claim(&store, 1).await;
    let _ = send(&store, outcome(one, 1, OutcomeKind::Interrupted)).await;
    store.claim_ready(vec![request(2, 20, 2)], store.term, at(3)).await.expect("claim");
    let live = store.attempts(one).await.expect("read")[1].execution;
    let other = store.attempts(two).await.expect("read")[0].execution;
    let of = |job, execution| ExecutionRef { job, execution };
    let asked = vec![
        of(two, other),
        of(one, ExecutionId(1)),
        of(one, live),
        // Of another job, of no job, and one that was never dispatched.
        of(two, live),
        of(JobId(99), ExecutionId(1)),
        of(one, ExecutionId(9)),
    ];
    let holder = |worker, attempt| Some(Holder { worker: Incarnation(worker), attempt });
    assert_eq!(
        store.holders(asked).await.expect("read"),
        [holder(2, 1), holder(1, 1), holder(2, 2), None, None, None]
    );
    assert_eq!(store.holders(Vec::new()).await.expect("read"), []);
}

/// A lease is held by one node, renewed in its epoch, and free after a step down.
pub async fn one_node_leads_until_it_steps_down(store: AStore) {
    let other = Incarnation(78);
    let request = LeadRequest { node: other, ttl: HOUR, above: 0 };
    let refused = store.lead(request, NOW).await.expect("an answer");
    let Lead::Following { leader, left } = refused else { panic!("{refused:?}") };
    assert_eq!(leader, store.term);
    assert!(left > HOUR / 2 && left <= HOUR, "{left:?}");
    // A renewal keeps the epoch.
    assert_eq!(lead(&*store, LEADER, HOUR).await, Some(store.term));
    assert_eq!(store.leader(NOW).await.expect("read").map(|(term, _)| term), Some(store.term));
    assert!(
        !store.step_down(Term { epoch: store.term.epoch + 1, ..store.term }).await.expect("no")
    );
    assert!(store.step_down(store.term).await.expect("stepped down"));
    assert_eq!(store.leader(NOW).await.expect("read"), None);
    let next = lead(&*store, other, HOUR).await.expect("free");
    assert!(next.epoch > store.term.epoch);
}

/// A new epoch is above the `above` of its request and above the seconds since 1970.
pub async fn an_epoch_is_above_the_requested_minimum_and_the_seconds_since_1970(store: AStore) {
    assert!(store.term.epoch > NOW.as_millis().unsigned_abs() / 1_000 / 2);
    assert!(store.step_down(store.term).await.expect("stepped down"));
    let above = store.term.epoch + 1_000_000_000;
    let request = LeadRequest { node: LEADER, ttl: HOUR, above };
    let Lead::Leading(term) = store.lead(request, NOW).await.expect("free") else {
        panic!("the lead is free")
    };
    assert!(term.epoch > above);
}

/// After a lease expires another node leads, and every write of the old term is `Deposed`.
pub async fn an_expired_lease_goes_to_another_node_and_fences_its_old_holder(store: AStore) {
    let id = add(&store, job()).await;
    let due = add(&store, not_before(at(1), job())).await;
    assert!(store.step_down(store.term).await.expect("stepped down"));
    // Long enough that another node asks while the lease lasts.
    let short = Duration::from_secs(2);
    let old = lead(&*store, LEADER, short).await.expect("free");
    let mut waited = 0;
    let new = loop {
        let request = LeadRequest { node: Incarnation(78), ttl: HOUR, above: 0 };
        // The lease expires by the store's own clock, or by this parameter.
        let later = orx_model::Timestamp::from_millis(NOW.as_millis() + waited);
        match store.lead(request, later).await.expect("an answer") {
            Lead::Leading(term) => break term,
            Lead::Following { .. } => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        waited += 10;
    };
    assert!(new.epoch > old.epoch && waited > 0);

    use orx_store::StoreError::Deposed;
    let claimed = store.claim_ready(vec![request(1, 1, 1)], old, at(1)).await;
    assert!(matches!(claimed, Err(Deposed)), "{claimed:?}");
    let promoted = store.promote_due(old, at(9), 9).await;
    assert!(matches!(promoted, Err(Deposed)), "{promoted:?}");
    let request_ =
        PruneRequest { completed_before: at(90), others_before: at(90), limit: 9, chunks: 99 };
    let pruned = store.prune(request_, old).await;
    assert!(matches!(pruned, Err(Deposed)), "{pruned:?}");
    let forgotten = store.forget_keys(at(90), 9, old).await;
    assert!(matches!(forgotten, Err(Deposed)), "{forgotten:?}");
    assert_eq!(status(&store, id).await, JobStatus::Pending);
    assert_eq!(status(&store, due).await, JobStatus::Scheduled);

    let claimed =
        store.claim_ready(vec![request(1, 1, 1)], new, at(1)).await.expect("claim").claimed;
    assert_eq!(claimed[0].dispatch.job, id);
    let lost = outcome(id, 1, lost(LostWith::Worker));
    let released = store.give_up(vec![lost.clone()], vec![0.5], old, at(2)).await;
    assert!(matches!(released, Err(Deposed)), "{released:?}");
    assert_eq!(status(&store, id).await, JobStatus::Dispatched);
    let released = store.give_up(vec![lost], vec![0.5], new, at(2)).await.expect("given up");
    assert!(matches!(released[0], Recorded::Applied { .. }), "{released:?}");
    let attempts = store.attempts(id).await.expect("read");
    assert_eq!((attempts[0].status, attempts[0].epoch), (AttemptStatus::Lost, new.epoch));
}

/// The live attempts of some workers are exactly their share of all live attempts.
pub async fn live_attempts_are_known_by_worker(store: AStore) {
    store.enqueue(vec![job().into(); 3], NOW).await.expect("enqueue");
    let requests = vec![request(1, 10, 2), request(2, 20, 1)];
    store.claim_ready(requests, store.term, at(1)).await.expect("claim");
    let all = store.live_attempts().await.expect("read");
    for workers in [vec![], vec![1], vec![2], vec![3], vec![2, 1]] {
        let is_own = |it: &&Live| workers.contains(&it.worker.0);
        let own: Vec<_> = all.iter().filter(is_own).cloned().collect();
        let workers = workers.iter().map(|worker| Incarnation(*worker)).collect();
        assert_eq!(store.live_attempts_of(workers).await.expect("read"), own);
    }
    assert_eq!(all.len(), 3);
}

/// A report replaces the older one of its node; removed nodes are gone.
pub async fn nodes_are_stored_replaced_and_removed(store: AStore) {
    let node = |n: u128, who: &str| NodeReport {
        node: Incarnation(n),
        name: name(who),
        url: Some(format!("http://h:{n}")),
        version: "1".into(),
        zone_version: (n == 2).then(|| "2026a".into()),
        started_at: NOW,
    };
    for report in [node(1, "b"), node(2, "a"), node(1, "c")] {
        store.put_node(report, NOW).await.expect("put");
    }
    let all = store.nodes(NOW).await.expect("read");
    assert!(all.iter().all(|node| node.silent < Duration::from_secs(60)), "{all:?}");
    let all: Vec<NodeReport> = all.into_iter().map(|node| node.report).collect();
    assert_eq!(all, [node(2, "a"), node(1, "c")]);
    store.remove_nodes(vec![Incarnation(2), Incarnation(3)]).await.expect("remove");
    assert_eq!(store.nodes(NOW).await.expect("read").len(), 1);
}

/// Adds a job in every status, with attempts, logs and a dead letter.
pub async fn all_sorts(store: &AStore) {
    let many = vec![
        keyed("k", "a"),
        not_before(at(900), JobSpec { deadline: Some(at(990)), ..job() }),
        JobSpec { retry: RetryPolicy::none(), priority: Priority::High, ..job() }.into(),
        JobSpec { require: [("gpu".to_owned(), "a".to_owned())].into(), ..job() }.into(),
        JobSpec { expires_at: Some(at(99)), queue: name("media"), ..job() }.into(),
        job().into(),
        job().into(),
    ];
    store.enqueue(many, NOW).await.expect("enqueue");
    let claimed = store.claim_ready(vec![request(1, 50, 5)], store.term, at(1)).await;
    let claimed = claimed.expect("claim").claimed;
    let of = |place: usize| (claimed[place].dispatch.job, claimed[place].dispatch.execution);
    let (first, started) = of(0);
    let started = vec![Started { job: first, execution: started, at: at(1) }];
    store.mark_started(started, at(1)).await.expect("started");
    let (dead, execution) = of(1);
    let _ = send(store, outcome(dead, execution.0, failed())).await;
    let (done, execution) = of(2);
    let result = OutcomeKind::Succeeded { result: Some(json(r#"{"b":1.0,"a":[]}"#)) };
    let _ = send(store, outcome(done, execution.0, result)).await;
    cancel(store, cancel_of(of(3).0)).await;
    let (orphan, execution) = of(4);
    let _ = send(store, outcome(orphan, execution.0, lost(LostWith::Server))).await;
    store.append_logs(vec![chunk(done, 1, 1, Stream::Out, "x\n")]).await.expect("append");
}

/// Every job exported from this store reads the same in the one that imports it; a second import
/// adds nothing.
pub async fn an_export_imports_unchanged(store: AStore) {
    all_sorts(&store).await;
    let there = AStore::led(Arc::new(orx_store::Memory::new())).await;
    carry(&store, &there).await;
    assert_eq!(seen(&there).await, seen(&store).await);
    assert_eq!(there.next_job().await.expect("read"), store.next_job().await.expect("read"));
    // Importing the same ids again adds nothing.
    assert_eq!(store.import(there.export(None, 100).await.expect("read")).await.expect("in"), 0);
}

/// Imported jobs can be claimed, ended, deduplicated and promoted.
pub async fn imported_jobs_continue_as_in_the_store_they_came_from(store: AStore) {
    let from = AStore::led(Arc::new(orx_store::Memory::new())).await;
    all_sorts(&from).await;
    carry(&from, &store).await;
    assert_eq!(seen(&store).await, seen(&from).await);
    store.skip_jobs(JobId(100)).await.expect("skipped");
    assert!(add(&store, job()).await.0 >= 100);
    let again = store.enqueue(vec![keyed("k", "a")], NOW).await.expect("enqueue");
    assert!(matches!(again[0], Enqueued::Existing { .. }), "{again:?}");
    let live = store.live_attempts().await.expect("read");
    let ended = send(&store, outcome(live[0].job, live[0].execution.0, succeeded())).await;
    assert!(matches!(ended, Recorded::Applied { .. }), "{ended:?}");
    store.promote_due(store.term, at(901), 9).await.expect("promote");
    let ready = store.claim_ready(vec![request(3, 900, 9)], store.term, at(905)).await;
    assert!(ready.expect("claim").claimed.iter().any(|claim| claim.dispatch.job == JobId(2)));
    let key = RetainedKey {
        key: "old".into(),
        job: JobId(1),
        hash: Some("h".into()),
        status: JobStatus::Completed,
        kept_until: at(9_000),
    };
    store.import_keys(vec![key]).await.expect("in");
}

async fn carry(from: &AStore, to: &AStore) {
    let mut after = None;
    loop {
        let exports = from.export(after, 2).await.expect("read");
        let Some(last) = exports.last().map(|export| export.job.id) else { break };
        let count = exports.len() as u64;
        assert_eq!(to.import(exports).await.expect("in"), count);
        after = Some(last);
    }
    to.skip_jobs(from.next_job().await.expect("read")).await.expect("skipped");
}

/// Everything that a store returns about its jobs, as text.
async fn seen(store: &AStore) -> Vec<String> {
    let mut seen = Vec::new();
    for export in store.export(None, 100).await.expect("read") {
        seen.push(serde_json::to_string(&export.job).expect("json"));
        seen.push(serde_json::to_string(&export.attempts).expect("json"));
        seen.push(format!("{:?}", (&export.key_hash, export.expire_at, export.dead_at)));
    }
    seen.push(format!("{:?}", store.live_attempts().await.expect("read")));
    seen.push(format!("{:?}", store.queue_counts().await.expect("read")));
    seen.push(format!("{:?}", store.oldest_due().await.expect("read")));
    seen.push(format!("{:?}", store.next_due().await.expect("read")));
    seen.push(format!("{:?}", store.dead_letter_count(9).await.expect("read")));
    seen
}

/// A token is stored by id; a second put replaces it.
pub async fn tokens_are_stored_and_replaced(store: AStore) {
    let token = TokenRecord {
        id: "a".into(),
        hash: [7; 32],
        scopes: vec!["admin".into()],
        created_at: NOW,
        expires_at: Some(at(9)),
        revoked_at: None,
        note: "note".into(),
    };
    store.put_token(token.clone()).await.expect("put");
    assert_eq!(store.token("a").await.expect("read"), Some(token.clone()));
    assert_eq!(store.token("b").await.expect("read"), None);
    let revoked = TokenRecord { revoked_at: Some(at(1)), ..token };
    store.put_token(revoked.clone()).await.expect("put");
    assert_eq!(store.tokens().await.expect("read"), [revoked]);
}

/// Tokens that expired or were revoked before the given time are deleted.
pub async fn tokens_that_ended_long_ago_are_forgotten(store: AStore) {
    let token = |id: &str, expires: Option<i64>, revoked: Option<i64>| TokenRecord {
        id: id.into(),
        hash: [7; 32],
        scopes: vec!["read".into()],
        created_at: NOW,
        expires_at: expires.map(at),
        revoked_at: revoked.map(at),
        note: String::new(),
    };
    for one in [
        token("a", None, None),
        token("b", Some(5), None),
        token("c", Some(900), Some(5)),
        token("d", Some(900), None),
        token("e", None, Some(60)),
    ] {
        store.put_token(one).await.expect("put");
    }
    assert_eq!(store.forget_tokens(at(60)).await.expect("forgotten"), 2);
    let left: Vec<String> =
        store.tokens().await.expect("read").into_iter().map(|token| token.id).collect();
    assert_eq!(left, ["a", "d", "e"]);
}

/// Pruning deletes old jobs with attempts and logs; dead letters stay, and ids are not reused.
pub async fn pruning_deletes_old_jobs_spares_dead_letters_and_reuses_no_id(store: AStore) {
    let done = add(&store, job()).await;
    claim(&store, 1).await;
    store.append_logs(vec![chunk(done, 1, 1, Stream::Out, "x")]).await.expect("append");
    let _ = send(&store, outcome(done, 1, succeeded())).await;
    let dead = add(&store, JobSpec { retry: RetryPolicy::none(), ..job() }).await;
    claim(&store, 2).await;
    let _ = send(&store, outcome(dead, 2, failed())).await;
    let waiting = add(&store, job()).await;
    let early =
        PruneRequest { completed_before: at(1), others_before: at(90), limit: 9, chunks: 99 };
    assert_eq!(store.prune(early, store.term).await.expect("prune").jobs, 0);
    let request =
        PruneRequest { completed_before: at(90), others_before: at(90), limit: 9, chunks: 99 };
    assert_eq!(store.prune(request, store.term).await.expect("prune").jobs, 1);
    assert!(store.job(done).await.expect("read").is_none());
    assert!(store.attempts(done).await.expect("read").is_empty());
    assert!(store.read_logs(whole(done)).await.expect("read").is_empty());
    assert!(store.job(dead).await.expect("read").is_some());
    cancel(&store, cancel_of(waiting)).await;
    assert_eq!(store.prune(request, store.term).await.expect("prune").jobs, 1);
    let new = add(&store, job()).await;
    assert!(new > waiting, "{new} was used before");
    let counts = store.queue_counts().await.expect("counts");
    let left = StatusCounts { pending: 1, failed: 1, ..StatusCounts::default() };
    assert_eq!(counts, [(name("default"), left)]);
}

/// One prune deletes a bounded number of log chunks; a job goes with its last chunk.
pub async fn a_long_log_is_pruned_a_few_chunks_at_a_time(store: AStore) {
    // Jobs with this many chunks each.
    let mut jobs = Vec::new();
    for (execution, chunks) in [(1, 2), (2, 7), (3, 0), (4, 1)] {
        let id = add(&store, job()).await;
        claim(&store, execution).await;
        let chunks = (1..=chunks).map(|seq| chunk(id, 1, seq, Stream::Out, "x")).collect();
        store.append_logs(chunks).await.expect("append");
        let _ = send(&store, outcome(id, execution, succeeded())).await;
        jobs.push(id);
    }
    let left = async || {
        let mut left = Vec::new();
        for id in &jobs {
            let log = store.read_logs(whole(*id)).await.expect("read");
            let known = store.job(*id).await.expect("read").is_some();
            left.push(known.then(|| log.iter().map(|chunk| chunk.seq).collect::<Vec<_>>()));
            assert!(known || log.is_empty(), "a log without its job");
        }
        left
    };
    let prune = async || {
        let (before, limit, chunks) = (at(90), 9, 4);
        let request =
            PruneRequest { completed_before: before, others_before: before, limit, chunks };
        let pruned = store.prune(request, store.term).await.expect("prune");
        (pruned.jobs, pruned.more)
    };
    let all = async |jobs: u64| {
        let counts = store.queue_counts().await.expect("counts");
        assert_eq!(counts[0].1.completed, jobs);
    };
    assert_eq!(prune().await, (1, true));
    assert_eq!(left().await, [None, Some(vec![3, 4, 5, 6, 7]), Some(vec![]), Some(vec![1])]);
    all(3).await;
    assert_eq!(prune().await, (0, true));
    assert_eq!(left().await, [None, Some(vec![7]), Some(vec![]), Some(vec![1])]);
    assert_eq!(prune().await, (3, false));
    assert_eq!(left().await, [None, None, None, None]);
    all(0).await;
    assert_eq!(prune().await, (0, false));
}

/// Retained keys are deleted after `KEY_KEPT`, a limited number at a time.
pub async fn retained_keys_are_deleted_when_their_time_is_over(store: AStore) {
    end_and_prune(&store).await;
    let forget = async |now, limit| store.forget_keys(now, limit, store.term).await.expect("done");
    let over = at(2).saturating_add(orx_model::limits::KEY_KEPT);
    assert_eq!(forget(over.saturating_sub(Duration::from_millis(1)), 9).await, 0);
    assert_eq!(forget(over, 2).await, 2);
    assert_eq!(forget(over, 2).await, 1);
    assert!(store.export_keys(None, 9).await.expect("read").is_empty());
}

/// Ends three jobs with the keys `a`, `b`, `c` at 2 s, and prunes them.
async fn end_and_prune(store: &AStore) -> Vec<JobId> {
    let mut ids = Vec::new();
    for (execution, key) in [(1, "a"), (2, "b"), (3, "c")] {
        let id = add(store, keyed(key, "h")).await;
        claim(store, execution).await;
        let _ = send(store, outcome(id, execution, succeeded())).await;
        ids.push(id);
    }
    let request =
        PruneRequest { completed_before: at(3), others_before: at(3), limit: 9, chunks: 99 };
    assert_eq!(store.prune(request, store.term).await.expect("prune").jobs, 3);
    ids
}

/// The key of a pruned job still returns that job until the key expires.
pub async fn a_retained_key_starts_no_job_until_it_expires(store: AStore) {
    let ids = end_and_prune(&store).await;
    assert!(store.job(ids[0]).await.expect("read").is_none());
    let kept = store.export_keys(Some("a".into()), 9).await.expect("read");
    let known = |key: &RetainedKey| (key.key.clone(), key.job, key.status);
    let expected =
        [("b", ids[1]), ("c", ids[2])].map(|(key, id)| (key.to_owned(), id, JobStatus::Completed));
    assert_eq!(kept.iter().map(known).collect::<Vec<_>>(), expected);
    let over = kept[0].kept_until;
    assert_eq!(over, at(2).saturating_add(orx_model::limits::KEY_KEPT));

    let last = over.saturating_sub(Duration::from_millis(1));
    let again = vec![keyed("a", "h"), keyed("b", "other"), keyed("a", "h"), keyed("new", "h")];
    let made = store.enqueue(again, last).await.expect("enqueue");
    let known = Enqueued::Existing { id: ids[0], status: JobStatus::Completed };
    let (id, status, hash) = (ids[1], JobStatus::Completed, Some("h".to_owned()));
    let conflict = Enqueued::KeyConflict { id, status, hash };
    assert_eq!(made[..3], [known.clone(), conflict, known]);
    assert!(matches!(made[3], Enqueued::New { .. }), "{made:?}");
    assert!(store.job_by_key("a").await.expect("read").is_none());

    let made = store.enqueue(vec![keyed("a", "h"), keyed("a", "h")], over).await.expect("enqueue");
    let Enqueued::New { id, .. } = made[0] else { panic!("{made:?}") };
    assert_eq!(made[1], Enqueued::Existing { id, status: JobStatus::Pending });
}

/// The home record is stored; its id never changes.
pub async fn the_home_of_a_store_is_stored(store: AStore) {
    let made = store.home().await.expect("read");
    assert_eq!(made, Home { id: made.id.clone(), ..Home::default() });
    let some = |text: &str| Some(text.to_owned());
    let moved = Home { moved_to: some("there's"), served_at: some("/here"), ..made.clone() };
    store.put_home(Home { id: "another".into(), ..moved.clone() }).await.expect("put");
    assert_eq!(store.home().await.expect("read"), moved);
    let copied = Home { copying_from: some("x"), ..made };
    store.put_home(copied.clone()).await.expect("put");
    assert_eq!(store.home().await.expect("read"), copied);
}

/// After `close`, writes return `StoreError::Closed`.
pub async fn a_closed_store_rejects_writes(store: AStore) {
    add(&store, job()).await;
    store.check_writable().await.expect("writable");
    store.close().await.expect("close");
    let refused = store.enqueue(vec![job().into()], NOW).await;
    assert!(matches!(refused, Err(orx_store::StoreError::Closed)), "{refused:?}");
}
