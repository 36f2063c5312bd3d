//! The contract of every store. A back end runs all cases with one line:
//! `orx_testkit::store_contract!(open);`, where `open` returns a new, empty store and a guard that must
//! live as long as the store.

mod attempts;
mod audit;
mod cancels;
mod causes;
mod claims;
mod clock;
mod dead_letters;
mod enqueue;
mod leases;
mod lists;
mod logs;
mod losses;
mod operations;
mod outcomes;
mod queues;
mod retention;
mod tokens;
mod transfer;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use orx_model::{Incarnation, Job, JobId, JobSpec, JobStatus, NewJob, Outcome};
use orx_store::{CancelAnswer, CancelCommand, Enqueued, Lead, LeadRequest, Recorded, Store, Term};

use crate::make::{NOW, at, job, request};

pub use attempts::*;
pub use audit::*;
pub use cancels::*;
pub use causes::*;
pub use claims::*;
pub use clock::*;
pub use dead_letters::*;
pub use enqueue::*;
pub use leases::*;
pub use lists::*;
pub use logs::*;
pub use losses::*;
pub use operations::*;
pub use outcomes::*;
pub use queues::*;
pub use retention::*;
pub use tokens::*;
pub use transfer::*;
pub use workers::*;

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
            no_job_of_a_paused_queue_is_claimed_until_it_is_resumed
            a_pause_stays_since_its_first_and_an_unknown_queue_cannot_be_paused
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
            dead_letters_are_grouped_by_their_cause
            equal_counts_of_causes_page_without_loss
            counts_of_causes_follow_every_change
            imported_dead_letters_are_counted_by_cause
            results_errors_and_exits_are_stored
            counts_follow_every_move
            lists_page_in_both_directions_without_loss
            filters_are_applied_to_lists_and_counts
            filters_find_by_name_queue_tag_and_schedule
            lists_contain_no_args_and_are_bounded_in_bytes
            an_attempt_counts_its_dropped_output_bytes
            log_chunks_are_stored_once_and_read_by_position
            the_tail_of_a_log_is_found
            the_logs_of_several_jobs_are_read_at_once
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
            a_node_that_drains_acquires_no_lease
            an_export_imports_unchanged
            imported_jobs_continue_as_in_the_store_they_came_from
            changes_are_recorded_and_read_newest_first
            old_records_of_changes_are_deleted
            a_deleted_job_leaves_nothing_behind_and_frees_its_key
            jobs_that_have_not_ended_or_are_missing_are_not_deleted
            operations_are_stored_and_read_newest_first
            an_idempotency_key_starts_one_operation
            a_batch_changes_its_jobs_counts_them_and_moves_the_cursor
            a_batch_from_an_old_cursor_or_an_old_leader_changes_nothing
            a_batch_ends_before_a_job_that_changed_since_it_was_read
            a_cancelled_operation_changes_nothing_more
            a_batch_of_a_cancel_stops_live_jobs_or_ends_them_by_force
            a_batch_of_a_deletion_deletes_a_few_chunks_of_logs_at_a_time
            a_batch_removes_dead_letters_and_leaves_their_jobs
            batches_keep_the_counts_of_causes
            the_ids_of_an_operation_are_read_piece_by_piece
            old_operations_are_deleted
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
        Lead::Following { .. } | Lead::Barred => None,
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

fn keyed(key: &str, hash: &str) -> NewJob {
    let spec = JobSpec { key: Some(key.into()), ..job() };
    NewJob { key_hash: Some(hash.into()), ..spec.into() }
}
