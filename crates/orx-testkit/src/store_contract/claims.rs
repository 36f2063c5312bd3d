//! Cases of claims, and of jobs that become due or expire.

use orx_model::{ExecutionId, JobSpec, JobStatus, NewJob, Priority};
use orx_store::{CLAIM_MOST, Promoted};

use super::{AStore, add, claim, claimed_ids, get, send, status};
use crate::make::{NOW, at, failed, job, name, not_before, outcome, request};

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
