//! Cases of the lease of the leader, and of the registered nodes.

use std::time::Duration;

use orx_model::{AttemptStatus, Incarnation, JobStatus, LostWith};
use orx_store::{Lead, LeadRequest, NodeReport, PruneRequest, Recorded, Term};

use super::{AStore, HOUR, LEADER, add, lead, status};
use crate::make::{NOW, at, job, lost, name, not_before, outcome, request};

/// A lease is held by one node, renewed in its epoch, and free after a step down.
pub async fn one_node_leads_until_it_steps_down(store: AStore) {
    let other = Incarnation(78);
    let request = LeadRequest { node: other, ttl: HOUR, above: 0 };
    let refused = store.lead(request, NOW).await.expect("an answer");
    let Lead::Following { leader, left } = refused else { panic!("{refused:?}") };
    assert_eq!(leader, store.term);
    assert!(left > HOUR / 2 && left <= HOUR, "{left:?}");
    // A renewal keeps the epoch.
    assert_eq!(lead(&*store, LEADER, HOUR).await, Some(store.term));
    assert_eq!(store.leader(NOW).await.expect("read").map(|(term, _)| term), Some(store.term));
    assert!(
        !store.step_down(Term { epoch: store.term.epoch + 1, ..store.term }).await.expect("no")
    );
    assert!(store.step_down(store.term).await.expect("stepped down"));
    assert_eq!(store.leader(NOW).await.expect("read"), None);
    let next = lead(&*store, other, HOUR).await.expect("free");
    assert!(next.epoch > store.term.epoch);
}

/// A new epoch is above the `above` of its request and above the seconds since 1970.
pub async fn an_epoch_is_above_the_requested_minimum_and_the_seconds_since_1970(store: AStore) {
    assert!(store.term.epoch > NOW.as_millis().unsigned_abs() / 1_000 / 2);
    assert!(store.step_down(store.term).await.expect("stepped down"));
    let above = store.term.epoch + 1_000_000_000;
    let request = LeadRequest { node: LEADER, ttl: HOUR, above };
    let Lead::Leading(term) = store.lead(request, NOW).await.expect("free") else {
        panic!("the lead is free")
    };
    assert!(term.epoch > above);
}

/// After a lease expires another node leads, and every write of the old term is `Deposed`.
pub async fn an_expired_lease_goes_to_another_node_and_fences_its_old_holder(store: AStore) {
    let id = add(&store, job()).await;
    let due = add(&store, not_before(at(1), job())).await;
    assert!(store.step_down(store.term).await.expect("stepped down"));
    // Long enough that another node asks while the lease lasts.
    let short = Duration::from_secs(2);
    let old = lead(&*store, LEADER, short).await.expect("free");
    let mut waited = 0;
    let new = loop {
        let request = LeadRequest { node: Incarnation(78), ttl: HOUR, above: 0 };
        // The lease expires by the store's own clock, or by this parameter.
        let later = orx_model::Timestamp::from_millis(NOW.as_millis() + waited);
        match store.lead(request, later).await.expect("an answer") {
            Lead::Leading(term) => break term,
            Lead::Following { .. } | Lead::Barred => {
                tokio::time::sleep(Duration::from_millis(10)).await
            }
        }
        waited += 10;
    };
    assert!(new.epoch > old.epoch && waited > 0);

    use orx_store::StoreError::Deposed;
    let claimed = store.claim_ready(vec![request(1, 1, 1)], old, at(1)).await;
    assert!(matches!(claimed, Err(Deposed)), "{claimed:?}");
    let promoted = store.promote_due(old, at(9), 9).await;
    assert!(matches!(promoted, Err(Deposed)), "{promoted:?}");
    let request_ =
        PruneRequest { completed_before: at(90), others_before: at(90), limit: 9, chunks: 99 };
    let pruned = store.prune(request_, old).await;
    assert!(matches!(pruned, Err(Deposed)), "{pruned:?}");
    let forgotten = store.forget_keys(at(90), 9, old).await;
    assert!(matches!(forgotten, Err(Deposed)), "{forgotten:?}");
    assert_eq!(status(&store, id).await, JobStatus::Pending);
    assert_eq!(status(&store, due).await, JobStatus::Scheduled);

    let claimed =
        store.claim_ready(vec![request(1, 1, 1)], new, at(1)).await.expect("claim").claimed;
    assert_eq!(claimed[0].dispatch.job, id);
    let lost = outcome(id, 1, lost(LostWith::Worker));
    let released = store.record_outcomes_as_leader(vec![lost.clone()], vec![0.5], old, at(2)).await;
    assert!(matches!(released, Err(Deposed)), "{released:?}");
    assert_eq!(status(&store, id).await, JobStatus::Dispatched);
    let released =
        store.record_outcomes_as_leader(vec![lost], vec![0.5], new, at(2)).await.expect("recorded");
    assert!(matches!(released[0], Recorded::Applied { .. }), "{released:?}");
    let attempts = store.attempts(id).await.expect("read");
    assert_eq!((attempts[0].status, attempts[0].epoch), (AttemptStatus::Lost, new.epoch));
}

/// A report replaces the older one of its node; removed nodes are gone.
pub async fn nodes_are_stored_replaced_and_removed(store: AStore) {
    let node = |n: u128, who: &str| NodeReport {
        node: Incarnation(n),
        name: name(who),
        url: Some(format!("http://h:{n}")),
        version: "1".into(),
        zone_version: (n == 2).then(|| "2026a".into()),
        started_at: NOW,
    };
    for report in [node(1, "b"), node(2, "a"), node(1, "c")] {
        store.put_node(report, NOW).await.expect("put");
    }
    let all = store.nodes(NOW).await.expect("read");
    assert!(all.iter().all(|node| node.silent < Duration::from_secs(60)), "{all:?}");
    let all: Vec<NodeReport> = all.into_iter().map(|node| node.report).collect();
    assert_eq!(all, [node(2, "a"), node(1, "c")]);
    store.remove_nodes(vec![Incarnation(2), Incarnation(3)]).await.expect("remove");
    assert_eq!(store.nodes(NOW).await.expect("read").len(), 1);
}

/// A node that drains keeps its lease until it releases it, and takes none; others do. A report changes
/// nothing about the drain, which ends when it is taken back or with the node's row.
pub async fn a_node_that_drains_acquires_no_lease(store: AStore) {
    let report = |n: u128| NodeReport {
        node: Incarnation(n),
        name: name(&format!("n{n}")),
        url: None,
        version: "1".into(),
        zone_version: None,
        started_at: NOW,
    };
    let ask = |n: u128| {
        let ttl = Duration::from_secs(60);
        store.lead(LeadRequest { node: Incarnation(n), ttl, above: 0 }, NOW)
    };
    let (one, two) = (Incarnation(1), Incarnation(2));
    assert!(store.step_down(store.term).await.expect("stepped down"));
    assert!(!store.drain_node(one, true, NOW).await.expect("answered"), "it has no row");
    for n in [1, 2] {
        store.put_node(report(n), NOW).await.expect("put");
    }
    let Lead::Leading(term) = ask(1).await.expect("free") else { panic!("it is free") };
    assert!(store.drain_node(one, true, NOW).await.expect("drained"));
    assert!(!store.drain_node(one, true, NOW).await.expect("answered"), "it drains already");
    store.put_node(report(1), NOW).await.expect("put");
    let drains = |nodes: Vec<orx_store::NodeRecord>| -> Vec<bool> {
        nodes.into_iter().map(|node| node.draining_since.is_some()).collect()
    };
    assert_eq!(drains(store.nodes(NOW).await.expect("read")), [true, false]);

    assert_eq!(ask(1).await.expect("renewed"), Lead::Leading(term));
    assert!(store.step_down(term).await.expect("released"));
    assert_eq!(ask(1).await.expect("answered"), Lead::Barred);
    let Lead::Leading(next) = ask(2).await.expect("free") else { panic!("it is free") };
    let Lead::Following { leader, .. } = ask(1).await.expect("answered") else { panic!("held") };
    assert_eq!((leader, next.epoch > term.epoch), (next, true));
    assert!(store.step_down(next).await.expect("released"));

    assert!(store.drain_node(one, false, NOW).await.expect("resumed"));
    assert!(!store.drain_node(one, false, NOW).await.expect("answered"), "it does not drain");
    assert!(matches!(ask(1).await.expect("free"), Lead::Leading(_)));

    assert!(store.drain_node(two, true, NOW).await.expect("drained"));
    store.remove_nodes(vec![two]).await.expect("remove");
    store.put_node(report(2), NOW).await.expect("put");
    assert_eq!(drains(store.nodes(NOW).await.expect("read")), [false, false]);
}
