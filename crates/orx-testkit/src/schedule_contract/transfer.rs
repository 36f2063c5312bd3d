//! Cases of schedules and dependencies that come from another store.

use orx_model::schedule::{Due, SkipReason, Slot, SlotOutcome};
use orx_model::{JobId, JobStatus};
use orx_store::{Paused, RunAfter, RunDependency, ScheduleRecord};

use super::{
    all_of, fire_one, firing, make, missed, plan, ran_as, read, ripe_jobs, row, rows_only, run,
    shown, slots,
};
use crate::make::{at, job, name};
use crate::store_contract::{AStore, cancel, cancel_of};

/// An imported schedule reads as in its old store and continues; one with an id in use is skipped.
pub async fn imported_schedules_are_as_they_were(store: AStore) {
    let here = make(&store, "here").await;
    fire_one(&store, rows_only(&here, vec![missed(30)])).await;
    let here = read(&store, "here").await;
    let ended = crate::store_contract::add(&store, job()).await;
    cancel(&store, cancel_of(ended)).await;
    let mut from = plan("a", Some(Due { slot: at(60), fire_at: at(61) }));
    from.paused = Some(Paused { at: at(3), reason: None, by: Some("who".into()) });
    from.by = Some("a person".into());
    let record = ScheduleRecord {
        unreadable: None,
        plan: from,
        version: 7,
        created_at: at(1),
        updated_at: at(2),
        runs: 12,
        last_run: Some(orx_store::LastRun { job: ended, status: Some(JobStatus::Cancelled) }),
    };
    let plain = ScheduleRecord { plan: plan("b", None), last_run: None, ..record.clone() };
    let rows = vec![
        ran_as(60, ended),
        Slot { last: Some(at(50)), count: 11, exact: false, ..missed(30) },
        row(20, SlotOutcome::Skipped { reason: SkipReason::Paused }),
    ];
    let other = ScheduleRecord { plan: plan("here", None), ..record.clone() };
    let all = vec![
        (other, vec![missed(40)]),
        (record.clone(), rows.clone()),
        (plain.clone(), Vec::new()),
    ];
    store.import_schedules(all.clone()).await.expect("imported");
    let found = store.schedules(None, 9).await.expect("a page");
    assert_eq!(shown(&found), shown(&[record.clone(), plain, here]));
    assert_eq!(slots(&store, all_of("a")).await, rows);
    assert_eq!(slots(&store, all_of("here")).await, [missed(30)], "the ledger of the existing one");
    store.import_schedules(all).await.expect("imported");
    assert_eq!(store.schedules(None, 9).await.expect("a page").len(), 3);
    // It continues as in its old store.
    let one = firing(&record, vec![run(&record, 120, RunAfter::Nothing)]);
    fire_one(&store, one).await;
    assert_eq!(read(&store, "a").await.runs, 13);
}

/// Imported dependencies read as in their old store; one that exists is skipped.
pub async fn imported_dependencies_are_as_they_were(store: AStore) {
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(crate::store_contract::add(&store, job()).await);
    }
    let ended = jobs[0];
    cancel(&store, cancel_of(ended)).await;
    let watched = |job, after, on_failure| RunDependency {
        job,
        schedule: name("a"),
        slot: Some(at(60)),
        status: Some(JobStatus::Pending),
        after,
        cancel: false,
        on_failure,
    };
    let from = vec![
        watched(jobs[2], Some((jobs[1], Some(JobStatus::Pending))), None),
        watched(jobs[1], None, Some(job())),
        RunDependency {
            slot: None,
            status: None,
            cancel: true,
            ..watched(JobId(900), Some((ended, Some(JobStatus::Cancelled))), None)
        },
    ];
    store.import_watched(from.clone()).await.expect("imported");
    let shown = |watched: &[RunDependency]| -> Vec<String> {
        watched.iter().map(|watched| format!("{watched:?}")).collect()
    };
    let mut expected = from.clone();
    expected.sort_by_key(|watched| watched.job);
    let found = store.all_watched().await.expect("read");
    assert_eq!(shown(&found), shown(&expected));
    assert_eq!(ripe_jobs(&store).await, [JobId(900)]);
    // A dependency that exists is skipped.
    let other = RunDependency { schedule: name("b"), ..from[0].clone() };
    store.import_watched(vec![other]).await.expect("imported");
    assert_eq!(shown(&store.all_watched().await.expect("read")), shown(&expected));
    assert!(store.watched(0).await.expect("read").is_empty());
}
