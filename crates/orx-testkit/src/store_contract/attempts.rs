//! Cases of live attempts: their start, progress, times and holder.

use orx_model::message::{ExecutionProgress, ExecutionRef, Started};
use orx_model::{AttemptStatus, ExecutionId, Incarnation, JobId, JobStatus, Outcome, OutcomeKind};
use orx_store::{Holder, Live, PruneRequest, Recorded};

use super::{AStore, add, claim, get, send, status};
use crate::make::{NOW, at, job, outcome, request, succeeded};

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
    for (execution, sent, recorded) in [(1, -year, 1), (2, year, 2), (3, 1, 1), (4, 2, 2)] {
        let id = add(&store, job()).await;
        claim(&store, execution).await;
        let started = Started { job: id, execution: ExecutionId(execution), at: at(sent) };
        store.mark_started(vec![started], at(2)).await.expect("mark");
        let live = get(&store, id).await.state.live.expect("an attempt");
        assert_eq!(live.started_at, Some(at(recorded)));
        let (started_at, ended_at) = (Some(at(sent)), at(sent));
        let sent = Outcome { started_at, ended_at, ..outcome(id, execution, succeeded()) };
        assert!(matches!(send(&store, sent).await, Recorded::Applied { .. }));
        let job = get(&store, id).await;
        assert_eq!(
            (job.state.started_at, job.state.finished_at),
            (Some(at(recorded)), Some(at(recorded)))
        );
        let attempt = store.attempts(id).await.expect("read").remove(0);
        assert_eq!(
            (attempt.started_at, attempt.ended_at),
            (Some(at(recorded)), Some(at(recorded)))
        );
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
