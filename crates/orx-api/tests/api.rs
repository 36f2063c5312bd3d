//! The API as its callers meet it: the real router over the reference store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use futures_util::StreamExt;
use orx_api::{openapi_json, router};
use orx_control::Scope;
use orx_model::event::{Event, KnownEvent};
use orx_model::log::{LogChunk, Stream};
use orx_model::schedule::wire::path as schedules;
use orx_model::wire::path;
use orx_model::{Incarnation, JobId, Timestamp};
use orx_store::{Lead, LeadRequest, Memory, Store};
use orx_testkit::make::{NOW, at, control_panel, failed, job, name, outcome, request, succeeded};
use orx_transport::Wakeups;
use serde_json::{Value, json};
use tower::ServiceExt;

#[path = "common/api.rs"]
mod api;

struct Server {
    router: axum::Router,
    store: Arc<Memory>,
    wakeups: Wakeups,
    tokens: BTreeMap<&'static str, String>,
}

async fn server() -> Server {
    let store = Arc::new(Memory::new());
    let wakeups = Wakeups::new();
    let panel = control_panel(Arc::<Memory>::clone(&store), wakeups.clone());
    let mut tokens = BTreeMap::new();
    for scope in Scope::ALL {
        let token = panel.make_token(vec![scope], "test").await.expect("a token");
        tokens.insert(scope.as_str(), token);
    }
    Server { router: router(panel, api::settings()), store, wakeups, tokens }
}

fn call(method: Method, uri: &str, body: &str) -> axum::http::request::Builder {
    let builder = Request::builder().method(method).uri(uri).header("host", "127.0.0.1:7070");
    if body.is_empty() { builder } else { builder.header("content-type", "application/json") }
}

impl Server {
    async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.expect("an answer")
    }

    async fn as_scope(&self, scope: &str, method: Method, uri: &str, body: &str) -> (u16, Value) {
        let token = format!("Bearer {}", self.tokens[scope]);
        let request = call(method, uri, body).header("authorization", token);
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        read(self.send(request).await).await
    }

    async fn post(&self, uri: &str, body: Value) -> (u16, Value) {
        self.as_scope("admin", Method::POST, uri, &body.to_string()).await
    }

    async fn get(&self, uri: &str) -> (u16, Value) {
        self.as_scope("admin", Method::GET, uri, "").await
    }

    async fn enqueue(&self) -> i64 {
        let (code, answer) = self.post(path::JOBS, json!({"name": "work"})).await;
        assert_eq!(code, 201, "{answer}");
        answer["id"].as_i64().expect("an id")
    }
}

async fn read(response: Response) -> (u16, Value) {
    let code = response.status().as_u16();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().expect("text"));
    if code >= 400 {
        assert_eq!(kind, Some("application/problem+json"), "a refusal is a problem document");
    }
    assert!(response.headers().contains_key("x-request-id"));
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 24).await.expect("a body");
    let value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned()));
    if code >= 400 {
        for field in ["type", "title", "status", "code", "detail", "request_id"] {
            assert!(!value[field].is_null(), "{field} is missing: {value}");
        }
    }
    (code, value)
}

#[tokio::test]
async fn every_route_asks_for_a_token_and_its_scope() {
    let server = server().await;
    let reads = ["read", "service", "admin"];
    let put = r#"{"spec":{"id":"daily","timing":{"cron":"@daily"},"job":{"name":"work"}}}"#;
    let put_command = r#"{"spec":{"id":"daily","timing":{"cron":"@daily"},
                                  "job":{"command":{"argv":["true"]}}}}"#;
    let backfill = r#"{"from":"2001-01-01T00:00:00Z","to":"2001-01-01T00:00:00Z"}"#;
    // In this order each of them finds the schedule.
    let table: [(Method, &str, &str, &[&str]); 29] = [
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
        (Method::GET, "/admin/v1/queues", "", &["read", "admin"]),
        (Method::GET, "/admin/v1/queues/default", "", &["read", "admin"]),
        (Method::GET, "/admin/v1/dead-letters", "", &["read", "admin"]),
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
        path::QUEUES,
        path::QUEUE,
        path::DEAD_LETTERS,
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
async fn bad_input_is_a_problem_with_its_code_and_changes_nothing() {
    let server = server().await;
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let large = format!("{{\"name\":\"x\",\"args\":\"{}\"}}", "y".repeat(300 * 1024));
    let huge = format!("{{\"name\":\"x\",\"args\":\"{}\"}}", "y".repeat(2 * 1024 * 1024));
    let endless = format!("{{\"name\":\"x\",\"args\":{}}}", "9".repeat(400));
    let cases: [(&str, u16, &str); 35] = [
        ("{", 400, "bad_request"),
        ("[]", 400, "bad_request"),
        ("{}", 400, "bad_request"),
        (r#"{"name":"bad name"}"#, 400, "bad_request"),
        (r#"{"name":"x","colour":1}"#, 400, "bad_request"),
        (r#"{"name":"x","priority":"urgent"}"#, 400, "bad_request"),
        (r#"{"name":"x","retries":5000}"#, 400, "bad_request"),
        (r#"{"name":"x","run_at":"2026-01-01T00:00:00Z","delay_ms":1}"#, 400, "bad_request"),
        (r#"{"name":"x","deadline":"2001-01-01T00:00:00Z"}"#, 400, "bad_request"),
        (r#"{"name":"x","key":""}"#, 400, "bad_request"),
        (r#"{"command":{"argv":[]}}"#, 400, "bad_request"),
        (r#"{"command":{"argv":["a\u0000b"]}}"#, 400, "bad_request"),
        (r#"{"command":{"argv":["a"],"stdin":"%"}}"#, 400, "bad_request"),
        (&format!(r#"{{"name":"x","args":{deep}}}"#), 400, "bad_request"),
        (r#"{"name":"x","args":[1e400]}"#, 400, "bad_request"),
        (&endless, 400, "bad_request"),
        (r#"{"name":"x","args":"\ud800"}"#, 400, "bad_request"),
        (r#"{"name":"x","args":[{"a\udfff":1}]}"#, 400, "bad_request"),
        (r#"{"name":"x","args":{"a":["\ud83dx"]}}"#, 400, "bad_request"),
        (r#"["x"]"#, 400, "bad_request"),
        (r#"["x",{},null,null,null,null,null,null,null,null,null,null,null]"#, 400, "bad_request"),
        (r#"{"command":[["true"]]}"#, 400, "bad_request"),
        (r#"{"command":{"argv":["a"],"cwd":""}}"#, 400, "bad_request"),
        (r#"{"command":{"argv":["a"],"cwd":"tmp"}}"#, 400, "bad_request"),
        (r#"{"command":{"argv":["a"],"cwd":"../tmp"}}"#, 400, "bad_request"),
        (r#"{"name":"x","corr":"a\u0000b"}"#, 400, "bad_request"),
        (r#"{"name":"x","corr":"a\nb"}"#, 400, "bad_request"),
        (r#"{"name":"x","key":"a\u0000b"}"#, 400, "bad_request"),
        (r#"{"name":"x","by":"a\u001bb"}"#, 400, "bad_request"),
        (r#"{"name":"x","tags":{"a":"\u0000"}}"#, 400, "bad_request"),
        (r#"{"name":"x","require":{"a\u0007":"b"}}"#, 400, "bad_request"),
        (r#"{"name":"x","deadline":"9999-12-31T23:59:59-23:59"}"#, 400, "bad_request"),
        (r#"{"name":"x","run_at":"+262142-01-01T00:00:00Z"}"#, 400, "bad_request"),
        (&large, 413, "too_large"),
        (&huge, 413, "too_large"),
    ];
    for (body, status, code) in cases {
        let (found, answer) = server.as_scope("admin", Method::POST, path::JOBS, body).await;
        let shown: String = body.chars().take(80).collect();
        assert_eq!((found, answer["code"].as_str()), (status, Some(code)), "{shown}: {answer}");
    }
    for (method, uri, status, code) in [
        (Method::GET, "/nowhere", 404, "not_found"),
        (Method::DELETE, "/api/v1/jobs", 405, "method_not_allowed"),
        (Method::GET, "/api/v1/jobs/99", 404, "not_found"),
        (Method::GET, "/api/v1/jobs/x", 400, "bad_request"),
        (Method::GET, "/api/v1/jobs/key:none", 404, "not_found"),
        (Method::GET, "/api/v1/jobs?limit=0", 400, "bad_request"),
        (Method::GET, "/api/v1/jobs?colour=red", 400, "bad_request"),
        (Method::GET, "/api/v1/jobs?filter=stauts:x", 400, "bad_request"),
        (Method::GET, "/api/v1/jobs?cursor=x", 400, "bad_request"),
        (Method::GET, "/admin/v1/queues/none", 404, "not_found"),
    ] {
        let (found, answer) = server.as_scope("admin", method, uri, "").await;
        assert_eq!((found, answer["code"].as_str()), (status, Some(code)), "{uri}: {answer}");
    }
    assert!(server.store.all_jobs().is_empty());
}

#[tokio::test]
async fn web_pages_and_bodies_that_are_no_json_are_refused() {
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

#[tokio::test]
async fn the_same_key_is_the_same_job_and_another_body_a_conflict() {
    let server = server().await;
    let (first, job) = server.post(path::JOBS, json!({"name": "work", "key": "k"})).await;
    let (again, same) = server.post(path::JOBS, json!({"key": "k", "name": "work"})).await;
    assert_eq!((first, again, &job["id"]), (201, 200, &same["id"]));
    // From another host, by another token, with what is left out written down.
    let elsewhere = json!({"name": "work", "key": "k", "args": {}, "tags": {}, "by": "b@other"});
    let body = elsewhere.to_string();
    let (again, same) = server.as_scope("service", Method::POST, path::JOBS, &body).await;
    assert_eq!((again, &same["id"], &same["created"]), (200, &job["id"], &json!(false)));
    // A default said outright is the default.
    let outright = json!({"name": "work", "key": "k", "queue": "default", "retries": 3});
    let (again, same) = server.post(path::JOBS, outright).await;
    assert_eq!((again, &same["id"]), (200, &job["id"]));
    let (other, problem) = server.post(path::JOBS, json!({"name": "other", "key": "k"})).await;
    assert_eq!((other, &problem["code"]), (409, &json!("key_conflict")));
    let token = format!("Bearer {}", server.tokens["service"]);
    let request = call(Method::POST, path::JOBS, "x")
        .header("authorization", token)
        .header("idempotency-key", "k")
        .body(Body::from(r#"{"name":"work"}"#))
        .expect("a request");
    let (header, found) = read(server.send(request).await).await;
    assert_eq!((header, &found["id"]), (200, &job["id"]));
    let (found, by_key) = server.get("/api/v1/jobs/key:k").await;
    assert_eq!((found, &by_key["id"]), (200, &job["id"]));
}

#[tokio::test]
async fn a_batch_is_answered_line_by_line_and_a_bad_line_sinks_no_other() {
    let server = server().await;
    let mut body = String::from("{\"name\":\"a\"}\n\nnot json\n{\"name\":\"bad name\"}\n");
    for _ in 0..2_500 {
        body.push_str("{\"name\":\"b\",\"args\":{\"n\":1}}\n");
    }
    body.push_str("{\"name\":\"last, without newline\"");
    let token = format!("Bearer {}", server.tokens["service"]);
    let request = Request::builder()
        .method(Method::POST)
        .uri(path::JOBS_BATCH)
        .header("host", "localhost")
        .header("authorization", token)
        .header("content-type", "application/x-ndjson")
        .body(Body::from(body))
        .expect("a request");
    let response = server.send(request).await;
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 24).await.expect("a body");
    let lines: Vec<Value> = String::from_utf8_lossy(&bytes)
        .lines()
        .map(|line| serde_json::from_str(line).expect("json"))
        .collect();
    assert_eq!(lines.len(), 2_504);
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["line"], n as u64 + 1);
        let bad = matches!(n, 1 | 2 | 2_503);
        assert_eq!(line["error"].is_null(), !bad, "{line}");
        assert_eq!(line["id"].is_null(), bad, "{line}");
    }
    assert_eq!(server.store.all_jobs().len(), 2_501);
}

#[tokio::test]
async fn pages_go_to_the_end_without_loss_or_repeat_while_jobs_come() {
    let server = server().await;
    for _ in 0..25 {
        server.enqueue().await;
    }
    let (mut seen, mut uri) = (Vec::new(), "/api/v1/jobs?limit=10&count=true".to_owned());
    loop {
        let (_, page) = server.get(&uri).await;
        let jobs = page["jobs"].as_array().expect("a list");
        seen.extend(jobs.iter().map(|job| job["id"].as_i64().expect("an id")));
        server.enqueue().await;
        let Some(next) = page["next"].as_str() else { break };
        uri = format!("/api/v1/jobs?limit=10&cursor={next}");
    }
    assert_eq!(seen, (1..=25).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn secrets_in_args_are_masked_wherever_a_job_is_shown() {
    let server = server().await;
    let args = json!({
        "user": "x", "db": {"password": "canary"}, "argv": ["--pwd", "canary", "--token=canary"],
        "dsn": "host=h password=canary", "headers": [["Authorization", "canary"]],
    });
    let tags = json!({"api_key": "canary"});
    server.post(path::JOBS, json!({"name": "work", "args": args, "tags": tags})).await;
    let argv = ["curl", "-H", "Authorization: Bearer canary", "--pass", "canary"];
    let command = json!({"argv": argv, "env": {"API_TOKEN": "canary", "PGPWD": "canary"}});
    server.post(path::JOBS, json!({"command": command})).await;
    for uri in
        ["/api/v1/jobs", "/api/v1/jobs/1", "/api/v1/jobs/2", "/api/v1/jobs/1/wait?timeout_ms=1"]
    {
        let (code, answer) = server.get(uri).await;
        assert_eq!(code, 200);
        assert!(!answer.to_string().contains("canary"), "{uri}: {answer}");
        assert!(answer.to_string().contains("***"), "{uri}: {answer}");
    }
}

/// The job is claimed and ends, as a worker would bring it about.
async fn finish(server: &Server, id: i64, ok: bool) {
    let lead = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(60), above: 0 };
    let Lead::Leading(term) = server.store_dyn().lead(lead, NOW).await.expect("an answer") else {
        panic!("another leads")
    };
    let claimed = server.store_dyn().claim_ready(vec![request(1, id as u128, 1)], term, at(1));
    let claimed = claimed.await.expect("claim");
    assert_eq!(claimed[0].dispatch.job, JobId(id));
    let kind = if ok { succeeded() } else { failed() };
    let outcomes = vec![outcome(JobId(id), id as u128, kind)];
    let told = server.store_dyn().record_outcomes(outcomes, vec![0.5], at(2)).await;
    assert_eq!(told.expect("recorded").len(), 1);
    server.changed(id);
}

impl Server {
    fn changed(&self, id: i64) {
        let changed = KnownEvent::JobChanged { job: JobId(id).into() };
        self.wakeups.feed().publish(vec![Event::new(NOW, changed)]);
    }

    fn store_dyn(&self) -> &dyn Store {
        &*self.store
    }
}

#[tokio::test]
async fn a_wait_ends_with_the_job_and_not_before() {
    let server = server().await;
    let id = server.enqueue().await;
    let (_, early) = server.get(&format!("/api/v1/jobs/{id}/wait?timeout_ms=1")).await;
    assert_eq!((&early["reached"], &early["job"]["status"]), (&json!(false), &json!("pending")));
    let uri = format!("/api/v1/jobs/{id}/wait?timeout_ms=30000");
    let waiting = server.get(&uri);
    let ((_, late), ()) = tokio::join!(biased; waiting, finish(&server, id, true));
    assert_eq!((&late["reached"], &late["job"]["status"]), (&json!(true), &json!("completed")));
}

#[tokio::test]
async fn a_follower_sees_every_chunk_in_order_and_then_the_end() {
    let server = server().await;
    let id = server.enqueue().await;
    let chunk = |seq: u64| LogChunk {
        job: JobId(id),
        attempt: 1,
        execution: orx_model::ExecutionId(id as u128),
        seq,
        stream: Stream::Out,
        at: NOW,
        dropped_bytes: 0,
        bytes: format!("line {seq}\n").into_bytes(),
    };
    server.store_dyn().append_logs(vec![chunk(1)]).await.expect("kept");
    let token = format!("Bearer {}", server.tokens["read"]);
    let uri = format!("/api/v1/jobs/{id}/logs?follow=true");
    let request = call(Method::GET, &uri, "").header("authorization", token);
    let response = server.send(request.body(Body::empty()).expect("a request")).await;
    let mut lines = response.into_body().into_data_stream().map(|line| {
        let line = line.expect("a line");
        serde_json::from_slice::<Value>(&line).expect("json")
    });
    assert_eq!(lines.next().await.expect("an event")["status"]["status"], "pending");
    assert_eq!(lines.next().await.expect("an event")["chunk"]["data"], "line 1\n");
    assert_eq!(lines.next().await.expect("an event"), json!({"live": {}}), "that is all until now");
    server.store_dyn().append_logs(vec![chunk(2)]).await.expect("kept");
    server.changed(id);
    let second = lines.next().await.expect("an event");
    assert_eq!(
        (&second["chunk"]["data"], &second["chunk"]["cursor"]),
        (&json!("line 2\n"), &json!("1:2"))
    );
    server.store_dyn().append_logs(vec![chunk(3)]).await.expect("kept");
    finish(&server, id, true).await;
    let rest: Vec<Value> = lines.collect().await;
    let kinds: Vec<&str> = rest
        .iter()
        .map(|event| {
            event.as_object().and_then(|event| event.keys().next()).expect("a kind").as_str()
        })
        .collect();
    assert_eq!(kinds, ["status", "chunk", "end"]);
    assert_eq!(rest[2]["end"]["job"]["status"], "completed");
}

#[tokio::test]
async fn changes_name_what_became_of_each_job() {
    let server = server().await;
    let ids = [server.enqueue().await, server.enqueue().await, server.enqueue().await];
    finish(&server, ids[0], true).await;
    let request = json!({"ids": [ids[0], ids[1], 99, ids[1]], "reason": "why"});
    let (code, answer) = server.post(path::JOBS_CANCEL, request).await;
    let changes: Vec<&str> = answer["jobs"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|job| job["change"].as_str())
        .collect();
    assert_eq!((code, changes), (200, vec!["already_final", "cancelled", "not_found"]));
    let (_, dry) =
        server.post(path::JOBS_CANCEL, json!({"filter": "status:pending", "dry_run": true})).await;
    assert_eq!(
        (dry["affected"].as_u64(), server.store.all_jobs()[2].state.status.as_str()),
        (Some(1), "pending")
    );
    let (many, problem) =
        server.post(path::JOBS_CANCEL, json!({"filter": "id>0", "max_affected": 2})).await;
    assert_eq!((many, &problem["code"]), (422, &json!("too_many")));
    let (empty, _) = server.post(path::JOBS_CANCEL, json!({"filter": ""})).await;
    assert_eq!(empty, 400);
    let (_, retried) = server.post(path::JOBS_RETRY, json!({"ids": [ids[0]]})).await;
    assert_eq!(retried["jobs"][0]["change"], "retried");
}

#[tokio::test]
async fn dead_letters_are_listed_retried_and_forgotten() {
    let server = server().await;
    for _ in 0..2 {
        let (_, job) = server.post(path::JOBS, json!({"name": "work", "retries": 0})).await;
        finish(&server, job["id"].as_i64().expect("an id"), false).await;
    }
    let (_, list) = server.get(path::DEAD_LETTERS).await;
    assert_eq!(list["dead_letters"].as_array().map(Vec::len), Some(2));
    assert_eq!(list["dead_letters"][0]["reason"], "exhausted");
    let (_, retried) = server.post(path::DEAD_LETTERS_RETRY, json!({"ids": [1]})).await;
    assert_eq!(retried["affected"], 1);
    let (_, deleted) = server.post(path::DEAD_LETTERS_DELETE, json!({"filter": "id>0"})).await;
    assert_eq!(deleted["affected"], 1);
    let (_, list) = server.get(path::DEAD_LETTERS).await;
    assert_eq!(list["dead_letters"], json!([]));
    let (_, cluster) = server.get(path::CLUSTER).await;
    assert_eq!((&cluster["counts"]["failed"], &cluster["dead_letters"]), (&json!(1), &json!(0)));
}

/// The worker 5, with a handler.
fn worker(handler: &str, slots: u32) -> (orx_model::SecretHash, orx_store::WorkerReport) {
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
async fn no_more_slots_are_busy_than_there_are_and_what_waits_for_one_is_counted_apart() {
    let server = server().await;
    let store = server.store_dyn();
    store.put_workers(vec![worker("work", 2)], NOW).await.expect("kept");
    let lead = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(60), above: 0 };
    let Ok(Lead::Leading(term)) = store.lead(lead, NOW).await else { panic!("nobody leads") };
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
async fn an_unknown_job_type_is_accepted_with_a_warning_that_names_the_nearest() {
    let server = server().await;
    server.store_dyn().put_workers(vec![worker("report.daily", 1)], NOW).await.expect("kept");
    let (code, answer) = server.post(path::JOBS, json!({"name": "report.dayly"})).await;
    let warning = answer["warning"].as_str().unwrap_or_default();
    assert!(code == 201 && warning.contains("did you mean `report.daily`?"), "{answer}");
    let (_, known) = server.post(path::JOBS, json!({"name": "report.daily"})).await;
    assert!(known["warning"].is_null(), "{known}");
}

#[tokio::test]
async fn a_store_that_takes_nothing_is_said_and_readiness_with_it() {
    let server = server().await;
    let ready = || call(Method::GET, path::READYZ, "").body(Body::empty()).expect("a request");
    assert_eq!(server.send(ready()).await.status(), StatusCode::OK);
    server.store_dyn().close().await.expect("closed");
    // What was found out a moment ago holds so long, and no longer.
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let (code, problem) = server.post(path::JOBS, json!({"name": "work"})).await;
    assert_eq!((code, &problem["code"]), (503, &json!("unavailable")));
    assert_eq!(read(server.send(ready()).await).await.0, 503);
}

#[tokio::test]
async fn figures_are_those_of_the_store() {
    let server = server().await;
    server.enqueue().await;
    let (code, page) = server.get(path::METRICS).await;
    let page = page.as_str().expect("text");
    assert_eq!(code, 200);
    assert!(page.contains("orx_jobs{queue=\"default\",status=\"pending\"} 1"), "{page}");
    assert!(page.contains("orx_http_requests_total"), "{page}");
}

/// A schedule that is due each so many milliseconds, of a job type that nobody knows.
fn every(id: &str, ms: u64) -> Value {
    json!({"id": id, "timing": {"interval": {"every_ms": ms}}, "job": {"name": "work"}})
}

#[tokio::test]
async fn a_schedule_that_is_wrong_is_a_problem_with_its_field_and_changes_nothing() {
    let server = server().await;
    let (code, answer) = server.post(schedules::SCHEDULES, every("kept", 3_600_000)).await;
    assert_eq!(code, 201, "{answer}");
    let with = |field: &str, value: Value| {
        let mut spec = every("new", 1_000);
        spec[field] = value;
        spec.to_string()
    };
    let job = |field: &str, value: Value| {
        let mut spec = every("new", 1_000);
        spec["job"][field] = value;
        spec.to_string()
    };
    let large = job("args", json!("y".repeat(300 * 1024)));
    let huge = job("args", json!("y".repeat(2 * 1024 * 1024)));
    let deep = "[".repeat(100) + &"]".repeat(100);
    let deep = format!(
        r#"{{"id":"new","timing":{{"cron":"@daily"}},"job":{{"name":"x","args":{deep}}}}}"#
    );
    let cases: [(&str, u16, &str, &str); 27] = [
        ("{", 400, "bad_request", ""),
        ("[]", 400, "bad_request", ""),
        ("{}", 400, "bad_request", "`id`"),
        (&with("colour", json!("red")), 400, "bad_request", "colour"),
        (&with("id", json!("no id")), 400, "bad_request", "no id"),
        (&with("id", json!(7)), 400, "bad_request", ""),
        (&with("id", json!("x".repeat(1_000))), 400, "bad_request", ""),
        (&with("timing", json!("@daily")), 400, "bad_request", ""),
        (&with("timing", json!({"cron": "* * *"})), 400, "bad_request", "field"),
        (&with("timing", json!({"cron": "0 0 31 2 *"})), 400, "bad_request", "never due"),
        (&with("timing", json!({"cron": "*".repeat(100_000)})), 400, "bad_request", ""),
        (&with("timing", json!({"once": "2001-01-01T00:00:00Z"})), 400, "bad_request", "never due"),
        (&with("timing", json!({"interval": {"every_ms": 1}})), 400, "bad_request", "`timing`"),
        (&with("timing", json!({"interval": {"every_ms": -1}})), 400, "bad_request", ""),
        (&with("zone", json!("Mars/Base")), 400, "bad_request", "Mars/Base"),
        (&with("jitter_ms", json!("1m")), 400, "bad_request", ""),
        (&with("jitter_ms", json!(99_999_999_999_u64)), 400, "bad_request", "`jitter_ms`"),
        (&with("max_runs", json!(0)), 400, "bad_request", "`max_runs`"),
        (&with("catch_up", json!("all:0")), 400, "bad_request", "all:N"),
        (&with("overlap", json!("queue")), 400, "bad_request", "queue"),
        (&with("job", json!({})), 400, "bad_request", "`job.name`"),
        (&job("key", json!("k")), 400, "bad_request", "`job.key`"),
        (&job("colour", json!(1)), 400, "bad_request", "colour"),
        (&job("retries", json!(5_000)), 400, "bad_request", "retries"),
        (&deep, 400, "bad_request", ""),
        (&large, 413, "too_large", ""),
        (&huge, 413, "too_large", ""),
    ];
    for (body, status, code, says) in cases {
        let shown: String = body.chars().take(120).collect();
        let put = format!(r#"{{"spec":{body}}}"#);
        for (method, uri, body) in [
            (Method::POST, "/api/v1/schedules", body),
            (Method::PUT, "/api/v1/schedules/new", put.as_str()),
        ] {
            let (found, answer) = server.as_scope("admin", method.clone(), uri, body).await;
            let got = (found, answer["code"].as_str());
            assert_eq!(got, (status, Some(code)), "{method} {shown}: {answer}");
            let told = format!("{} {}", answer["detail"], answer["cause"]);
            assert!(told.contains(says), "{method} {shown}: {answer}");
        }
    }
    let kept = "/api/v1/schedules/kept";
    let reason = format!(r#"{{"reason":"{}"}}"#, "y".repeat(100_000));
    for (method, uri, body, status) in [
        (Method::POST, "/api/v1/schedules", &*every("kept", 1_000).to_string(), 409),
        (Method::PUT, kept, &*format!(r#"{{"spec":{}}}"#, every("other", 1_000)), 400),
        (Method::PUT, kept, &*format!(r#"{{"spec":{},"version":7}}"#, every("kept", 1_000)), 409),
        (Method::PUT, "/api/v1/schedules/none", r#"{"version":1}"#, 400),
        (Method::PATCH, kept, "{}", 400),
        (Method::PATCH, kept, r#"{"change":{"job":{"key":"k"}}}"#, 400),
        (Method::PATCH, kept, r#"{"change":{"zone":null}}"#, 400),
        (Method::PATCH, kept, r#"{"change":{"max_runs":0}}"#, 400),
        (Method::PATCH, kept, r#"{"change":{"timing":{"once":"2001-01-01T00:00:00Z"}}}"#, 400),
        (Method::PATCH, kept, r#"{"change":{"max_runs":5},"version":7}"#, 409),
        (Method::PATCH, "/api/v1/schedules/none", r#"{"change":{"max_runs":5}}"#, 404),
        (Method::DELETE, "/api/v1/schedules/kept?version=7", "", 409),
        (Method::DELETE, "/api/v1/schedules/none", "", 404),
        (Method::GET, "/api/v1/schedules/none", "", 404),
        (Method::GET, "/api/v1/schedules/%20", "", 404),
        (Method::GET, "/api/v1/schedules?limit=0", "", 400),
        (Method::GET, "/api/v1/schedules?limit=501", "", 400),
        (Method::GET, "/api/v1/schedules?cursor=%20", "", 400),
        (Method::GET, "/api/v1/schedules/kept/slots?cursor=x", "", 400),
        (Method::GET, "/api/v1/schedules/kept/slots?colour=red", "", 400),
        (Method::GET, "/api/v1/schedules/none/slots", "", 404),
        (Method::POST, "/api/v1/schedules/kept/trigger", r#"{"colour":1}"#, 400),
        (Method::POST, "/api/v1/schedules/none/trigger", "{}", 404),
        (Method::POST, "/api/v1/schedules/kept/backfill", "{}", 400),
        (
            Method::POST,
            "/api/v1/schedules/kept/backfill",
            r#"{"from":"2999-01-01T00:00:00Z"}"#,
            400,
        ),
        (
            Method::POST,
            "/api/v1/schedules/kept/backfill",
            r#"{"from":"1970-01-01T00:00:00Z"}"#,
            422,
        ),
        (Method::POST, "/admin/v1/schedules/kept/pause", &*reason, 413),
        (Method::POST, "/admin/v1/schedules/none/pause", "{}", 404),
        (Method::POST, "/admin/v1/schedules/none/resume", "{}", 404),
    ] {
        let (found, answer) = server.as_scope("admin", method.clone(), uri, body).await;
        let shown: String = body.chars().take(120).collect();
        assert_eq!(found, status, "{method} {uri} {shown}: {answer}");
    }
    let (_, all) = server.get(schedules::SCHEDULES).await;
    let all = all["schedules"].as_array().expect("a list").clone();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((&all[0]["version"], &all[0]["state"]), (&json!(1), &json!("active")));
    assert!(server.store.all_jobs().is_empty());
}

#[tokio::test]
async fn schedules_and_their_due_times_come_by_pages_without_loss_or_repeat() {
    let server = server().await;
    let mut made = BTreeSet::new();
    for n in 0..25 {
        let id = format!("s-{n}");
        assert_eq!(server.post(schedules::SCHEDULES, every(&id, 3_600_000)).await.0, 201);
        made.insert(id);
    }
    let (mut seen, mut uri) = (Vec::new(), "/api/v1/schedules?limit=10".to_owned());
    loop {
        let (code, page) = server.get(&uri).await;
        assert_eq!(code, 200, "{page}");
        let rows = page["schedules"].as_array().expect("a list");
        seen.extend(rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()));
        // One that comes behind the page, and one that goes before it.
        if seen.len() == 10 {
            assert_eq!(server.post(schedules::SCHEDULES, every("a-late", 1_000)).await.0, 201);
            let uri = format!("/api/v1/schedules/{}", seen[0]);
            assert_eq!(server.as_scope("service", Method::DELETE, &uri, "").await.0, 200);
        }
        match page["next"].as_str() {
            Some(next) => uri = format!("/api/v1/schedules?limit=10&cursor={next}"),
            None => break,
        }
    }
    assert!(seen.is_sorted());
    assert_eq!(seen.iter().cloned().collect::<BTreeSet<_>>(), made);
    assert_eq!(seen.len(), made.len());

    let hour = 3_600_000;
    let from = Timestamp::from_millis(NOW.as_millis() - 25 * hour + 1);
    let (code, answer) = server.post("/api/v1/schedules/s-7/backfill", json!({"from": from})).await;
    assert_eq!(code, 200, "{answer}");
    let runs = answer["runs"].as_array().expect("a list").clone();
    assert_eq!(runs.len(), 25);
    let (mut seen, mut uri) = (Vec::new(), "/api/v1/schedules/s-7/slots?limit=10".to_owned());
    loop {
        let (code, page) = server.get(&uri).await;
        assert_eq!((code, &page["id"]), (200, &json!("s-7")), "{page}");
        let rows = page["slots"].as_array().expect("a list").clone();
        assert!(!rows.is_empty() && rows.len() <= 10);
        seen.extend(rows);
        match page["next"].as_str() {
            Some(next) => uri = format!("/api/v1/schedules/s-7/slots?limit=10&cursor={next}"),
            None => break,
        }
    }
    let slots = |rows: &[Value]| -> Vec<(Value, Value)> {
        rows.iter().map(|row| (row["slot"].clone(), row["job"].clone())).collect()
    };
    seen.reverse();
    assert_eq!(slots(&seen), slots(&runs));
}
