//! Cases of enqueued jobs, their keys, and a closed store.

use orx_model::{JobId, JobStatus};
use orx_store::Enqueued;

use super::{AStore, add, claimed_ids, get, keyed};
use crate::make::{NOW, at, job, not_before};

/// A batch gets ascending ids; a job with a later `run_at` is `scheduled`, any other `pending`.
pub async fn ids_ascend_and_jobs_due_later_are_scheduled(store: AStore) {
    let (later, past) = (not_before(at(60), job()), not_before(at(-60), job()));
    let answers = store.enqueue(vec![job().into(), later, past], NOW).await.expect("enqueue");
    let ids: Vec<(i64, JobStatus)> = answers
        .iter()
        .map(|answer| match answer {
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
    let answers = store.enqueue(batch, NOW).await.expect("enqueue");
    let Enqueued::New { id, status } = answers[0] else { panic!("{answers:?}") };
    assert_eq!(answers[1], Enqueued::Existing { id, status });
    assert!(matches!(answers[2], Enqueued::New { .. }));
    assert_eq!(claimed_ids(&store, 9).await.len(), 2);
}

/// After `close`, writes return `StoreError::Closed`.
pub async fn a_closed_store_rejects_writes(store: AStore) {
    add(&store, job()).await;
    store.check_writable().await.expect("writable");
    store.close().await.expect("close");
    let refused = store.enqueue(vec![job().into()], NOW).await;
    assert!(matches!(refused, Err(orx_store::StoreError::Closed)), "{refused:?}");
}
