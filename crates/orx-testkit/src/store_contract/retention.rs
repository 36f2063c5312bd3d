//! Cases of pruning and of retained keys.

use std::time::Duration;

use orx_model::log::Stream;
use orx_model::wire::StatusCounts;
use orx_model::{JobId, JobSpec, JobStatus, RetryPolicy};
use orx_store::{Enqueued, PruneRequest, RetainedKey};

use super::logs::{chunk, whole};
use super::{AStore, add, cancel, cancel_of, claim, keyed, send};
use crate::make::{at, failed, job, name, outcome, succeeded};

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

/// Finishes three jobs with the keys `a`, `b`, `c` at 2 s, and prunes them.
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
    let keys = store.export_keys(Some("a".into()), 9).await.expect("read");
    let known = |key: &RetainedKey| (key.key.clone(), key.job, key.status);
    let expected =
        [("b", ids[1]), ("c", ids[2])].map(|(key, id)| (key.to_owned(), id, JobStatus::Completed));
    assert_eq!(keys.iter().map(known).collect::<Vec<_>>(), expected);
    let over = keys[0].kept_until;
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
