//! Who may call, and in which form.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use orx_api::openapi_json;
use orx_control::Scope;
use orx_model::schedule::wire::path as schedules;
use orx_model::wire::live::path as live;
use orx_model::wire::path;
use serde_json::{Value, json};

use crate::server::{call, read, server};

#[tokio::test]
async fn every_route_requires_a_token_and_its_scope() {
    let server = server().await;
    let reads = ["read", "service", "admin"];
    let put = r#"{"spec":{"id":"daily","timing":{"cron":"@daily"},"job":{"name":"work"}}}"#;
    let put_command = r#"{"spec":{"id":"daily","timing":{"cron":"@daily"},
                                  "job":{"command":{"argv":["true"]}}}}"#;
    let backfill = r#"{"from":"2001-01-01T00:00:00Z","to":"2001-01-01T00:00:00Z"}"#;
    // In this order, so that each finds the schedule.
    let table: [(Method, &str, &str, &[&str]); 35] = [
        (Method::PUT, "/api/v1/schedules/daily", put_command, &["admin"]),
        (Method::POST, "/api/v1/schedules/daily/trigger", "{}", &["admin"]),
        (Method::POST, "/api/v1/schedules/daily/backfill", backfill, &["admin"]),
        (Method::PUT, "/api/v1/schedules/daily", put, &["service", "admin"]),
        (Method::GET, "/api/v1/schedules", "", &reads),
        (Method::GET, "/api/v1/schedules/daily", "", &reads),
        (Method::GET, "/api/v1/schedules/daily/slots", "", &reads),
        (
            Method::PATCH,
            "/api/v1/schedules/daily",
            r#"{"change":{"jitter_ms":1}}"#,
            &["service", "admin"],
        ),
        (Method::POST, "/api/v1/schedules/daily/trigger", "{}", &["service", "admin"]),
        (Method::POST, "/api/v1/schedules/daily/backfill", backfill, &["service", "admin"]),
        (Method::POST, "/admin/v1/schedules/daily/pause", "{}", &["admin"]),
        (Method::POST, "/admin/v1/schedules/daily/resume", "{}", &["admin"]),
        (Method::POST, "/api/v1/jobs", r#"{"name":"work"}"#, &["service", "admin"]),
        (Method::GET, "/api/v1/jobs", "", &reads),
        (Method::POST, "/api/v1/jobs/cancel", r#"{"ids":[1]}"#, &["service", "admin"]),
        (Method::POST, "/api/v1/jobs/cancel", r#"{"ids":[1],"force":true}"#, &["admin"]),
        (Method::GET, "/api/v1/jobs/1", "", &reads),
        (Method::GET, "/api/v1/jobs/1/wait?timeout_ms=1", "", &reads),
        (Method::GET, "/api/v1/jobs/1/logs", "", &reads),
        (Method::GET, "/api/v1/jobs/1/result", "", &reads),
        (Method::POST, "/admin/v1/jobs/retry", r#"{"ids":[1]}"#, &["admin"]),
        (Method::POST, "/admin/v1/jobs/delete", r#"{"ids":[999]}"#, &["admin"]),
        (
            Method::POST,
            "/admin/v1/operations",
            r#"{"action":"cancel","filter":"name:nobody"}"#,
            &["admin"],
        ),
        (Method::GET, "/admin/v1/operations", "", &["admin"]),
        (Method::GET, "/admin/v1/operations/1", "", &["admin"]),
        (Method::POST, "/admin/v1/operations/1/cancel", "", &["admin"]),
        (Method::GET, "/admin/v1/queues", "", &["read", "admin"]),
        (Method::GET, "/admin/v1/queues/default", "", &["read", "admin"]),
        (Method::GET, "/admin/v1/dead-letters", "", &["read", "admin"]),
        (Method::GET, "/admin/v1/dead-letters/causes", "", &["read", "admin"]),
        (Method::POST, "/admin/v1/dead-letters/retry", r#"{"ids":[1]}"#, &["admin"]),
        (Method::POST, "/admin/v1/dead-letters/delete", r#"{"ids":[1]}"#, &["admin"]),
        (Method::GET, "/admin/v1/workers", "", &["read", "admin"]),
        (Method::GET, "/admin/v1/cluster", "", &["read", "admin"]),
        (Method::GET, "/metrics", "", &["read", "admin"]),
    ];
    for (method, uri, body, allowed) in table {
        let bare = call(method.clone(), uri, body).body(Body::from(body)).expect("a request");
        assert_eq!(read(server.send(bare).await).await.0, 401, "{method} {uri} without a token");
        let mut wrong = server.tokens["admin"].clone();
        wrong.replace_range(wrong.len() - 1.., if wrong.ends_with('0') { "1" } else { "0" });
        let request =
            call(method.clone(), uri, body).header("authorization", format!("Bearer {wrong}"));
        let request = request.body(Body::from(body)).expect("a request");
        assert_eq!(read(server.send(request).await).await.0, 401, "{method} {uri}, wrong token");
        for scope in Scope::ALL {
            let (code, answer) = server.as_scope(scope.as_str(), method.clone(), uri, body).await;
            let expected = allowed.contains(&scope.as_str());
            assert_eq!(code < 400, expected, "{method} {uri} as {scope}: {code} {answer}");
            assert!(expected || code == 403, "{method} {uri} as {scope}: {code}");
        }
    }
    for uri in [path::HEALTHZ, path::READYZ, path::OPENAPI] {
        let open = call(Method::GET, uri, "").body(Body::empty()).expect("a request");
        assert_eq!(server.send(open).await.status(), StatusCode::OK, "{uri}");
    }
}

#[tokio::test]
async fn commands_with_jobs_need_a_scope_of_their_own() {
    let server = server().await;
    let body = json!({"command": {"argv": ["true"]}}).to_string();
    let by = async |scope| server.as_scope(scope, Method::POST, path::JOBS, &body).await.0;
    assert_eq!((by("service").await, by("exec").await, by("admin").await), (403, 403, 201));
}

#[tokio::test]
async fn the_document_describes_exactly_the_routes_there_are() {
    let document: Value = serde_json::from_str(&openapi_json()).expect("json");
    let described: BTreeSet<&str> =
        document["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
    let routes = [
        path::JOBS,
        path::JOBS_BATCH,
        path::JOBS_CANCEL,
        path::JOB,
        path::JOB_WAIT,
        path::JOB_LOGS,
        path::JOB_RESULT,
        path::JOBS_RETRY,
        path::JOBS_DELETE,
        path::OPERATIONS,
        path::OPERATION,
        path::OPERATION_CANCEL,
        path::QUEUES,
        path::QUEUE,
        path::DEAD_LETTERS,
        path::DEAD_LETTERS_CAUSES,
        path::DEAD_LETTERS_RETRY,
        path::DEAD_LETTERS_DELETE,
        path::WORKERS,
        path::WORKER,
        path::WORKERS_ORDER,
        path::WORKER_REGISTER,
        path::WORKER_HEARTBEAT,
        path::WORKER_INBOX,
        path::WORKER_PUBLISH,
        path::NODE_PUBLISH,
        path::CLUSTER,
        path::STEP_DOWN,
        path::SETTINGS,
        path::NODE_DRAIN,
        path::NODE_RESUME,
        path::AUDIT,
        path::OVERVIEW,
        path::QUEUE_PAUSE,
        path::QUEUE_RESUME,
        live::OVERVIEW,
        live::JOBS,
        live::JOB,
        live::JOB_LOGS,
        live::LOGS,
        live::WORKERS,
        live::QUEUES,
        live::SCHEDULES,
        live::DEAD_LETTERS,
        live::CLUSTER,
        live::EVENTS,
        path::OPENAPI,
        path::HEALTHZ,
        path::READYZ,
        path::METRICS,
        orx_model::token::path::TOKENS,
        orx_model::token::path::TOKENS_REVOKE,
        schedules::SCHEDULES,
        schedules::SCHEDULE,
        schedules::SLOTS,
        schedules::TRIGGER,
        schedules::BACKFILL,
        schedules::PAUSE,
        schedules::RESUME,
    ];
    assert_eq!(described, BTreeSet::from(routes));
}

#[tokio::test]
async fn web_pages_and_bodies_that_are_not_json_are_refused() {
    let server = server().await;
    let token = format!("Bearer {}", server.tokens["admin"]);
    let request = |header: &str, value: &str, kind: &str| {
        let mut builder = Request::builder()
            .method(Method::POST)
            .uri(path::JOBS)
            .header("authorization", &token)
            .header("content-type", kind);
        if header != "host" {
            builder = builder.header("host", "localhost");
        }
        builder.header(header, value).body(Body::from(r#"{"name":"x"}"#)).expect("a request")
    };
    for (header, value, kind, status) in [
        ("origin", "http://127.0.0.1:7070", "application/json", 403),
        ("host", "evil.example", "application/json", 403),
        ("host", "127.0.0.1.evil.example:7070", "application/json", 403),
        ("accept", "*/*", "text/plain", 415),
        ("host", "[::1]:7070", "application/json", 201),
        ("host", "localhost", "application/json; charset=utf-8", 201),
    ] {
        let (found, answer) = read(server.send(request(header, value, kind)).await).await;
        assert_eq!(found, status, "{header}: {value}, {kind}: {answer}");
    }
}
