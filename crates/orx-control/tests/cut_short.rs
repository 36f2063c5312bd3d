//! A change of many jobs that fails in the middle answers what it did and names the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::FutureExt as _;
use orx_control::{Caller, ControlPanel};
use orx_model::wire::{Change, ChangeAnswer, ChangeRequest};
use orx_model::{Code, JobId, Problem, Timestamp, limits};
use orx_store::{Jobs as _, Memory, Store, Upkeep as _};
use orx_testkit::make::{NOW, control_settings, job};
use orx_transport::{Direct, Wakeups};

const JOBS: usize = 2 * limits::BATCH_JOBS + 7;

/// A panel whose store closes when the clock is read for the `look`th time.
async fn until(look: i64) -> (ControlPanel, Arc<AtomicI64>) {
    let store = Arc::new(Memory::new());
    store.enqueue(vec![job().into(); JOBS], NOW).await.expect("enqueued");
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let (closing, count) = (Arc::clone(&store), Arc::clone(&left));
    let now: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(move || {
        if count.fetch_sub(1, Ordering::SeqCst) == 0 {
            closing.close().now_or_never().expect("at once").expect("closed");
        }
        NOW
    });
    let shared: Arc<dyn Store> = store;
    let panel =
        ControlPanel::new(shared, Arc::new(Direct::new()), Wakeups::new(), now, control_settings());
    left.store(look, Ordering::SeqCst);
    (panel, left)
}

fn all() -> ChangeRequest {
    ChangeRequest { ids: (1..=JOBS as i64).map(JobId).collect(), ..ChangeRequest::default() }
}

/// Every job is answered, in order, or named as the rest.
fn complete(answer: &ChangeAnswer, change: Change) {
    let rest = answer.rest.as_ref().expect("a rest");
    assert_eq!(rest.problem.code, Code::Unavailable, "{:?}", rest.problem);
    assert!(answer.jobs.iter().all(|job| job.change == change));
    assert_eq!(answer.jobs.len() % limits::BATCH_JOBS, 0);
    assert_eq!(rest.count as usize, rest.jobs.len());
    let named = answer.jobs.iter().map(|job| job.id).chain(rest.jobs.iter().copied());
    assert_eq!(named.collect::<Vec<_>>(), all().ids);
}

#[tokio::test]
async fn a_change_that_is_cut_short_answers_what_it_did_and_names_the_rest() {
    for chunks in 1..=2 {
        let (panel, _) = until(chunks).await;
        let answer = panel.cancel(&Caller::local(), all()).await.expect("an answer");
        assert_eq!(answer.affected, chunks as u64 * limits::BATCH_JOBS as u64);
        complete(&answer, Change::Cancelled);

        let (panel, _) = until(chunks).await;
        let answer = panel.retry(&Caller::local(), all()).await.expect("an answer");
        complete(&answer, Change::NotInState);
    }
    // Nothing was done: the error alone is the answer.
    let (panel, _) = until(0).await;
    let refused: Result<ChangeAnswer, Problem> = panel.cancel(&Caller::local(), all()).await;
    assert_eq!(refused.expect_err("refused").code, Code::Unavailable);
}
