//! Rows of jobs that were pruned or that cannot be read.

use super::*;

#[tokio::test]
async fn ids_and_unexpired_keys_outlive_their_jobs() {
    let folder = folder();
    let store = open(folder.path());
    let keyed = JobSpec { key: Some("k".to_owned()), ..spec() };
    let ids = enqueue(&store, vec![spec(), keyed.clone()]).await;
    for claimed in claim(&store, "video", 1, 2).await {
        let _ = end(&store, &claimed, OutcomeKind::Succeeded { result: Some(json_null()) }).await;
    }
    let all = PruneRequest { completed_before: LATER, others_before: LATER, limit: 9, chunks: 99 };
    assert_eq!(store.prune(all, term(&store).await).await.expect("prune").jobs, 2);
    drop(store);

    let store = open(folder.path());
    assert!(store.job(ids[1]).await.expect("read").is_none());
    let again =
        store.enqueue(vec![keyed.clone().into(), spec().into()], NOW).await.expect("enqueue");
    assert_eq!(again[0], Enqueued::Existing { id: ids[1], status: JobStatus::Completed });
    assert_eq!(again[1], Enqueued::New { id: JobId(3), status: JobStatus::Pending });
    let day_later = NOW.saturating_add(orx_model::limits::KEY_KEPT);
    let fresh = store.enqueue(vec![keyed.into()], day_later).await.expect("enqueue");
    assert_eq!(fresh, [Enqueued::New { id: JobId(4), status: JobStatus::Pending }]);
}

#[tokio::test]
async fn an_unreadable_job_fails_no_other() {
    let folder = folder();
    let store = open(folder.path());
    let keyed = |key: &str| JobSpec { key: Some(key.to_owned()), ..spec() };
    let ids =
        enqueue(&store, vec![keyed("a"), keyed("b"), keyed("c"), keyed("d"), keyed("e")]).await;
    let (cut, gone, odd) = (ids[1].0, ids[2].0, ids[3].0);
    let damage = move |tx: &mut Tx<'_>| {
        tx.conn.execute("UPDATE specs SET spec = '{' WHERE job = ?1", [cut])?;
        tx.conn.execute("DELETE FROM specs WHERE job = ?1", [gone])?;
        tx.conn.execute("UPDATE specs SET spec = CAST(x'ff' AS TEXT) WHERE job = ?1", [odd])?;
        Ok(())
    };
    store.write("damage", WriteKind::Durable, 1, damage).await.expect("damaged");

    let claimed = claim(&store, "video", 1, 5).await;
    let found: Vec<JobId> = claimed.iter().map(|claim| claim.dispatch.job).collect();
    assert_eq!(found, [ids[0], ids[4]]);
    let live = store.live_attempts().await.expect("read");
    let report = |index: usize, kind| {
        let live = live.iter().find(|live| live.job == ids[index]);
        let live = live.expect("the leader handles it as a lost dispatch");
        outcome_of(live.job, live.execution, kind)
    };
    let failed = || OutcomeKind::Failed { retryable: true, retry_after_ms: None };
    let never_started = |outcome| Outcome { started_at: None, ..outcome };
    let outcomes = vec![
        report(0, failed()),
        never_started(report(1, OutcomeKind::Interrupted)),
        report(2, failed()),
        report(3, failed()),
        report(4, OutcomeKind::Succeeded { result: None }),
    ];
    let recorded = store.record_outcomes(outcomes, vec![0.5; 5], NOW).await.expect("recorded");
    let statuses: Vec<JobStatus> = recorded.iter().map(applied).collect();
    use JobStatus::{Completed, Failed, Pending, Scheduled};
    assert_eq!(statuses, [Scheduled, Pending, Failed, Failed, Completed]);
    // No worker gets the unreadable job, and it fails in the end.
    let mut status = Pending;
    for execution in 10..40 {
        assert_eq!(claim(&store, "video", execution, 1).await.len(), 0);
        if status == Pending {
            let outcome = outcome_of(ids[1], ExecutionId(execution), OutcomeKind::Interrupted);
            let outcomes = vec![never_started(outcome)];
            let recorded = store.record_outcomes(outcomes, vec![0.5], NOW).await.expect("recorded");
            status = applied(&recorded[0]);
        }
    }
    assert_eq!(status, Failed);
    store.delete_dead_letters(ids).await.expect("deleted");
    let all = PruneRequest { completed_before: LATER, others_before: LATER, limit: 9, chunks: 9 };
    assert_eq!(store.prune(all, term(&store).await).await.expect("prune").jobs, 4);
    // Their keys are kept as long as those of other jobs.
    let over = NOW.saturating_add(orx_model::limits::KEY_KEPT);
    assert_eq!(store.forget_keys(over, 9, term(&store).await).await.expect("forgotten"), 4);
}

fn applied(recorded: &Recorded) -> JobStatus {
    match *recorded {
        Recorded::Applied { status, .. } => status,
        Recorded::Stale { .. } | Recorded::Missing => panic!("{recorded:?}"),
    }
}
