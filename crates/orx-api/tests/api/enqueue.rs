//! Enqueuing jobs: one or many, with keys, warnings and bad input.

use axum::body::Body;
use axum::http::{Method, Request};
use orx_model::wire::path;
use orx_testkit::make::NOW;
use serde_json::{Value, json};

use crate::cluster::worker;
use crate::server::{call, read, server};

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
async fn the_same_key_is_the_same_job_and_another_body_a_conflict() {
    let server = server().await;
    let (first, job) = server.post(path::JOBS, json!({"name": "work", "key": "k"})).await;
    let (again, same) = server.post(path::JOBS, json!({"key": "k", "name": "work"})).await;
    assert_eq!((first, again, &job["id"]), (201, 200, &same["id"]));
    // From another host, with another token, with omitted fields written out.
    let elsewhere = json!({"name": "work", "key": "k", "args": {}, "tags": {}, "by": "b@other"});
    let body = elsewhere.to_string();
    let (again, same) = server.as_scope("service", Method::POST, path::JOBS, &body).await;
    assert_eq!((again, &same["id"], &same["created"]), (200, &job["id"], &json!(false)));
    // An explicit default is the default.
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
async fn a_batch_is_answered_line_by_line_and_a_bad_line_affects_no_other() {
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
async fn an_unknown_job_type_is_accepted_with_a_warning_that_names_the_nearest() {
    let server = server().await;
    server.store_dyn().put_workers(vec![worker("report.daily", 1)], NOW).await.expect("stored");
    let (code, answer) = server.post(path::JOBS, json!({"name": "report.dayly"})).await;
    let warning = answer["warning"].as_str().unwrap_or_default();
    assert!(code == 201 && warning.contains("did you mean `report.daily`?"), "{answer}");
    let (_, known) = server.post(path::JOBS, json!({"name": "report.daily"})).await;
    assert!(known["warning"].is_null(), "{known}");
}
