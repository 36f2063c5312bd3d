//! Cases of dead letters and of manual retries.

use orx_model::filter::Filter;
use orx_model::job::DeadReason;
use orx_model::time::UtcClock;
use orx_model::{JobId, JobSpec, JobStatus, RetryPolicy};
use orx_store::{ListRequest, RetryAnswer};

use super::{AStore, add, claim, get, send, status};
use crate::make::{NOW, at, failed, job, outcome, request, succeeded};

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
