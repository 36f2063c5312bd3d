//! Cases of the move of jobs to another store, and of the home of a store.

use std::sync::Arc;

use orx_model::log::Stream;
use orx_model::message::Started;
use orx_model::{JobId, JobSpec, JobStatus, LostWith, OutcomeKind, Priority, RetryPolicy};
use orx_store::{Enqueued, Home, Recorded, RetainedKey};

use super::logs::chunk;
use super::{AStore, add, cancel, cancel_of, keyed, send};
use crate::make::{
    NOW, at, failed, job, json, lost, name, not_before, outcome, request, succeeded,
};

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

pub(super) async fn carry(from: &AStore, to: &AStore) {
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
