//! The status of the cluster, readiness and metrics.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use orx_model::Incarnation;
use orx_model::wire::path;
use orx_store::{Lead, LeadRequest};
use orx_testkit::make::{NOW, job, name, request};
use serde_json::{Value, json};

use crate::server::{call, read, server};

/// The worker 5, with a handler.
pub(crate) fn worker(
    handler: &str,
    slots: u32,
) -> (orx_model::SecretHash, orx_store::WorkerReport) {
    let registration = orx_model::message::WorkerRegistration {
        incarnation: Incarnation(5),
        name: name("w"),
        host: "h".into(),
        pid: 1,
        version: "1".into(),
        offer: orx_model::Capabilities { handlers: [name(handler)].into(), ..Default::default() },
        slots,
        started_at: NOW,
    };
    let report = orx_store::WorkerReport {
        registration,
        state: orx_model::message::WorkerState::Running,
        capacity: slots,
        heartbeat: 0,
        load: None,
        hosted_by: None,
        node: None,
    };
    (orx_model::SecretHash([7; 32]), report)
}

#[tokio::test]
async fn jobs_beyond_the_slots_count_as_prefetched_and_not_as_active() {
    let server = server().await;
    let store = server.store_dyn();
    store.put_workers(vec![worker("work", 2)], NOW).await.expect("stored");
    let lead = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(60), above: 0 };
    let Ok(Lead::Leading(term)) = store.lead(lead, NOW).await else { panic!("no leader") };
    store.enqueue(vec![job().into(); 5], NOW).await.expect("accepted");
    store.claim_ready(vec![request(5, 1, 5)], term, NOW).await.expect("claimed");
    let figures = |of: &Value| ["slots", "active", "prefetched"].map(|figure| of[figure].clone());
    let (_, cluster) = server.get(path::CLUSTER).await;
    assert_eq!(figures(&cluster), [2, 2, 3]);
    let (_, list) = server.get(path::WORKERS).await;
    assert_eq!(figures(&list["workers"][0]), [2, 2, 3]);
    let (_, page) = server.get(path::METRICS).await;
    let page = page.as_str().expect("text");
    for line in ["orx_slots 2\n", "orx_slots_active 2\n", "orx_jobs_prefetched 3\n"] {
        assert!(page.contains(line), "{page}");
    }
}

#[tokio::test]
async fn a_store_that_accepts_no_writes_fails_readiness() {
    let server = server().await;
    let ready = || call(Method::GET, path::READYZ, "").body(Body::empty()).expect("a request");
    assert_eq!(server.send(ready()).await.status(), StatusCode::OK);
    server.store_dyn().close().await.expect("closed");
    // A successful check holds for a moment, and no longer.
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let (code, problem) = server.post(path::JOBS, json!({"name": "work"})).await;
    assert_eq!((code, &problem["code"]), (503, &json!("unavailable")));
    assert_eq!(read(server.send(ready()).await).await.0, 503);
}

#[tokio::test]
async fn metrics_match_the_store() {
    let server = server().await;
    server.enqueue().await;
    let (code, page) = server.get(path::METRICS).await;
    let page = page.as_str().expect("text");
    assert_eq!(code, 200);
    assert!(page.contains("orx_jobs{queue=\"default\",status=\"pending\"} 1"), "{page}");
    assert!(page.contains("orx_http_requests_total"), "{page}");
}
