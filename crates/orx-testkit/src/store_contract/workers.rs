//! Cases of workers: their reports, directives and secrets.

use std::time::Duration;

use orx_model::message::{Load, WorkerDirective, WorkerRegistration, WorkerState};
use orx_model::{Incarnation, SecretHash};
use orx_store::{WorkerPut, WorkerRemoval, WorkerReport};

use super::AStore;
use crate::make::{NOW, name};

fn report(n: u128, who: &str) -> WorkerReport {
    WorkerReport {
        registration: WorkerRegistration {
            incarnation: Incarnation(n),
            name: name(who),
            host: "h".into(),
            pid: 1,
            version: "1".into(),
            offer: orx_model::Capabilities::default(),
            slots: 2,
            started_at: NOW,
        },
        state: WorkerState::Running,
        capacity: 2,
        heartbeat: 0,
        load: None,
        hosted_by: Some(Incarnation(9)),
        node: Some(Incarnation(9)),
    }
}

async fn reports(store: &AStore) -> Vec<WorkerReport> {
    let all = store.workers(NOW).await.expect("read");
    all.into_iter().map(|worker| worker.report).collect()
}

/// The secret of the workers in these cases.
const SECRET: SecretHash = SecretHash([7; 32]);

async fn put(store: &AStore, reports: Vec<WorkerReport>) -> Vec<WorkerPut> {
    let reports = reports.into_iter().map(|report| (SECRET, report)).collect();
    store.put_workers(reports, NOW).await.expect("put")
}

/// A report replaces the older one of its worker; a late heartbeat changes only the time of
/// the latest heartbeat.
pub async fn workers_are_stored_replaced_and_removed(store: AStore) {
    let all = vec![report(2, "b"), report(1, "b"), report(3, "a")];
    assert_eq!(put(&store, all).await, [WorkerPut::Stored(None); 3]);
    let load = Load { cpu: 0.5, memory_used_bytes: 1, memory_bytes: 2 };
    let later = WorkerReport {
        state: WorkerState::Draining,
        capacity: 0,
        heartbeat: 5,
        load: Some(load),
        hosted_by: None,
        node: Some(Incarnation(8)),
        ..report(3, "a")
    };
    put(&store, vec![later.clone()]).await;
    assert_eq!(reports(&store).await, [later.clone(), report(1, "b"), report(2, "b")]);
    // A late heartbeat only shows that the worker is alive.
    let late = WorkerReport { heartbeat: 4, capacity: 9, ..later.clone() };
    put(&store, vec![late]).await;
    assert_eq!(reports(&store).await[0], later);
    let seen = store.workers(NOW).await.expect("read");
    assert!(seen.iter().all(|worker| worker.silent < Duration::from_secs(60)), "{seen:?}");
    let removed = vec![Incarnation(1), Incarnation(7)];
    store.remove_workers(removed, WorkerRemoval::Stopped).await.expect("remove");
    assert_eq!(reports(&store).await.len(), 2);
}

/// A directive is returned to each report of the worker until it is withdrawn.
pub async fn a_directive_stands_until_it_is_withdrawn(store: AStore) {
    let (one, other) = (Incarnation(1), Incarnation(2));
    put(&store, vec![report(1, "w")]).await;
    let drain = Some(WorkerDirective::Drain);
    let ordered = store.order_workers(vec![one, other], drain).await.expect("ordered");
    assert_eq!(ordered, [true, false]);
    assert_eq!(put(&store, vec![report(1, "w")]).await, [WorkerPut::Stored(drain)]);
    assert_eq!(store.workers(NOW).await.expect("read")[0].order, drain);
    assert_eq!(store.order_workers(vec![one], None).await.expect("ordered"), [true]);
    assert_eq!(put(&store, vec![report(1, "w")]).await, [WorkerPut::Stored(None)]);
}

/// A drain stays for a lost worker that comes back, and goes with one that stops.
pub async fn a_drain_outlives_the_loss_of_its_worker_but_not_its_stop(store: AStore) {
    let (drained, other) = (Incarnation(1), Incarnation(2));
    put(&store, vec![report(1, "w"), report(2, "w")]).await;
    let drain = Some(WorkerDirective::Drain);
    assert_eq!(store.order_workers(vec![drained], drain).await.expect("ordered"), [true]);
    store.remove_workers(vec![drained, other], WorkerRemoval::Lost).await.expect("removed");
    let rows = store.workers(NOW).await.expect("read");
    assert_eq!(rows.iter().map(|row| row.order).collect::<Vec<_>>(), [drain]);
    // The worker comes back, and is still drained.
    assert_eq!(put(&store, vec![report(1, "w")]).await, [WorkerPut::Stored(drain)]);
    store.remove_workers(vec![drained], WorkerRemoval::Stopped).await.expect("removed");
    assert_eq!(reports(&store).await, []);
}

/// A heartbeat that arrives after its worker stopped or was lost does not add the worker again.
pub async fn a_heartbeat_without_a_registration_adds_no_worker(store: AStore) {
    let beat = |n| WorkerReport { heartbeat: 3, ..report(n, "w") };
    assert_eq!(put(&store, vec![beat(1)]).await, [WorkerPut::Unregistered]);
    assert_eq!(reports(&store).await, []);
    let stored = WorkerPut::Stored(None);
    let both = vec![beat(1), report(2, "w"), beat(2)];
    assert_eq!(put(&store, both).await, [WorkerPut::Unregistered, stored, stored]);
    assert_eq!(reports(&store).await, [beat(2)]);
    store.remove_workers(vec![Incarnation(2)], WorkerRemoval::Stopped).await.expect("removed");
    assert_eq!(put(&store, vec![beat(2)]).await, [WorkerPut::Unregistered]);
    assert_eq!(store.worker_secret(Incarnation(2)).await.expect("read"), None);
    assert_eq!(reports(&store).await, []);
}

/// No report, directive or removal lifts a fence, until the worker is gone.
pub async fn a_fenced_worker_stays_fenced(store: AStore) {
    let fence = Some(WorkerDirective::Fence);
    put(&store, vec![report(1, "w")]).await;
    let fenced = store.order_workers(vec![Incarnation(1)], fence).await.expect("ordered");
    assert_eq!(fenced, [true]);
    let again = WorkerReport { capacity: 9, heartbeat: 7, ..report(1, "w") };
    assert_eq!(put(&store, vec![again]).await, [WorkerPut::Stored(fence)]);
    assert_eq!(reports(&store).await, [report(1, "w")]);
    for order in [None, Some(WorkerDirective::Drain)] {
        let taken_back = store.order_workers(vec![Incarnation(1)], order).await.expect("answered");
        assert_eq!(taken_back, [false]);
    }
    // The fence was ordered while the worker was lost, or stopped.
    for removal in [WorkerRemoval::Lost, WorkerRemoval::Stopped] {
        store.remove_workers(vec![Incarnation(1)], removal).await.expect("ignored");
        assert_eq!(store.workers(NOW).await.expect("read")[0].order, fence);
    }
    store.remove_workers(vec![Incarnation(1)], WorkerRemoval::Gone).await.expect("removed");
    assert!(store.workers(NOW).await.expect("read").is_empty());
}

/// A report with another secret than the registered one is rejected.
pub async fn a_report_with_another_secret_changes_nothing(store: AStore) {
    let one = Incarnation(1);
    assert_eq!(store.worker_secret(one).await.expect("read"), None);
    put(&store, vec![report(1, "w")]).await;
    assert_eq!(store.worker_secret(one).await.expect("read"), Some(SECRET));
    let other = SecretHash([8; 32]);
    let strange = WorkerReport { capacity: 9, heartbeat: 7, ..report(1, "x") };
    let batch = vec![
        (other, strange.clone()),
        (other, report(2, "y")),
        (SECRET, WorkerReport { capacity: 3, heartbeat: 1, ..report(1, "w") }),
        (other, WorkerReport { heartbeat: 0, ..strange }),
    ];
    let stored = WorkerPut::Stored(None);
    assert_eq!(
        store.put_workers(batch, NOW).await.expect("put"),
        [WorkerPut::OtherSecret, stored, stored, WorkerPut::OtherSecret]
    );
    let all = reports(&store).await;
    assert_eq!((all[0].capacity, all[0].heartbeat), (3, 1));
    assert_eq!(store.worker_secret(one).await.expect("read"), Some(SECRET));
    // After the removal, a registration with another secret is a new worker.
    store.remove_workers(vec![one], WorkerRemoval::Lost).await.expect("removed");
    assert_eq!(store.worker_secret(one).await.expect("read"), None);
    let again = store.put_workers(vec![(other, report(1, "x"))], NOW).await.expect("put");
    assert_eq!(again, [stored]);
}
