//! Cases of lost, interrupted and handed back attempts, and of jobs that must run alone.

use orx_model::job::{AttemptCounts, DeadReason};
use orx_model::{JobId, JobSpec, JobStatus, LostWith, OnLost, Outcome, OutcomeKind, RetryPolicy};
use orx_store::Recorded;

use super::{AStore, add, claim, claimed_ids, get, send, status};
use crate::make::{NOW, at, job, lost, not_before, outcome, request};

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

/// A job that its worker hands back uses no retry and stays before later jobs.
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
    let returned = get(&store, first).await;
    assert_eq!(
        (returned.state.ends, returned.state.run_at, returned.state.dead),
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
