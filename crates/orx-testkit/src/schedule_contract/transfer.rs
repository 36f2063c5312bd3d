//! Cases of schedules and dependencies that come from another store.

use orx_model::schedule::{Due, SkipReason, Slot, SlotOutcome};
use orx_model::{JobId, JobStatus};
use orx_store::{Dependency, Paused, RunAfter, RunAlert, ScheduleRecord};

use super::{
    all_of, counted, fire_one, firing, make, missed, plan, ran_as, read, release, row, rows_only,
    run, run_one, shown, slots, to_cancel,
};
use crate::make::{at, job, name};
use crate::store_contract::{AStore, cancel, cancel_of, status};

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
        last_run: Some(orx_store::LastRun {
            job: ended,
            status: Some(JobStatus::Cancelled),
            depends: false,
        }),
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

/// Imported dependencies and alerts read as in their old store; those that exist, or whose jobs do not, are
/// skipped. A run that waits for none that exists is ready.
pub async fn imported_dependencies_are_as_they_were(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: false }).await;
    let other = crate::store_contract::add(&store, job()).await;
    let ended = crate::store_contract::add(&store, job()).await;
    cancel(&store, cancel_of(ended)).await;
    let of = |parent, child, cancel| Dependency { parent, child, cancel };
    let from = vec![
        of(first, waits, true),
        of(other, waits, true),
        of(ended, other, false),
        of(JobId(900), waits, false),
        of(first, JobId(900), false),
    ];
    let alert = |job, schedule| RunAlert {
        job,
        schedule: name(schedule),
        slot: (job == waits).then_some(at(60)),
        on_failure: crate::make::job(),
    };
    let alerts = vec![alert(waits, "a"), alert(ended, "a"), alert(JobId(900), "a")];
    for _ in 0..2 {
        store.import_dependencies(from.clone(), alerts.clone()).await.expect("imported");
        let (found, alerts) = store.dependencies().await.expect("read");
        let expected =
            vec![of(first, waits, false), of(other, waits, true), of(ended, other, false)];
        assert_eq!(found, expected, "ordered by parent and child");
        let shown: Vec<_> =
            alerts.iter().map(|it| (it.job, it.schedule.as_str(), it.slot)).collect();
        assert_eq!(shown, [(waits, "a", Some(at(60))), (ended, "a", None)]);
    }
    store.import_dependencies(Vec::new(), vec![alert(ended, "b")]).await.expect("imported");
    assert_eq!(store.dependencies().await.expect("read").1[1].schedule.as_str(), "a");
    assert_eq!(super::ended(&store).await, [ended]);
    assert_eq!(to_cancel(&store).await, [other]);
    assert_eq!(release(&store, &[ended]).await, []);

    // Of a run that waits, the job that it waits for was not imported.
    let record = read(&store, "a").await;
    let mut export = store.export(Some(JobId(waits.0 - 1)), 1).await.expect("read").remove(0);
    export.job.id = JobId(50);
    export.job.spec.key = None;
    assert_eq!(store.import(vec![export]).await.expect("imported"), 1);
    let lost = vec![of(JobId(49), JobId(50), false)];
    store.import_dependencies(lost, Vec::new()).await.expect("imported");
    assert_eq!(status(&store, JobId(50)).await, JobStatus::Pending);
    assert_eq!(counted(&store).await, (1, 3, 5));
    assert_eq!(record.last_run.map(|run| run.job), Some(waits));
}
