//! Reading, waiting for, following and changing jobs and dead letters.

use axum::body::Body;
use axum::http::Method;
use futures_util::StreamExt;
use orx_model::JobId;
use orx_model::log::{LogChunk, Stream};
use orx_model::wire::path;
use orx_testkit::make::NOW;
use serde_json::{Value, json};

use crate::server::{call, fail, finish, server};

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
    server.store_dyn().append_logs(vec![chunk(1)]).await.expect("stored");
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
    server.store_dyn().append_logs(vec![chunk(2)]).await.expect("stored");
    server.changed(id);
    let second = lines.next().await.expect("an event");
    assert_eq!(
        (&second["chunk"]["data"], &second["chunk"]["cursor"]),
        (&json!("line 2\n"), &json!("1:2"))
    );
    server.store_dyn().append_logs(vec![chunk(3)]).await.expect("stored");
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
async fn a_change_answers_what_changed_for_each_job() {
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
async fn dead_letters_are_counted_and_selected_by_cause() {
    let server = server().await;
    for error in [
        "gone",
        "no answer of db://me:sesame@host, try 7",
        "no answer of db://me:sesame@host, try 12",
    ] {
        let queue = if error == "gone" { "mail" } else { "work" };
        let job = json!({"name": "work", "queue": queue, "retries": 0});
        let (_, job) = server.post(path::JOBS, job).await;
        fail(&server, job["id"].as_i64().expect("an id"), error).await;
    }
    let causes = async |query: &str| {
        let (status, page) = server.get(&format!("{}{query}", path::DEAD_LETTERS_CAUSES)).await;
        assert_eq!(status, 200, "{page}");
        page
    };
    let all = causes("").await;
    let seen = |page: &Value| {
        let groups = page["causes"].as_array().expect("causes").iter();
        groups.map(|it| (it["count"].as_u64(), it["cause"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(
        seen(&all),
        [(Some(2), json!("no answer of db://***@host, try #")), (Some(1), json!("gone"))]
    );
    let most = &all["causes"][0];
    assert_eq!((&most["reasons"], &most["sample"]), (&json!(["exhausted"]), &json!(3)));
    let first = causes("?limit=1").await;
    let rest = causes(&format!("?limit=1&cursor={}", first["next"].as_str().expect("more"))).await;
    assert_eq!((seen(&rest), &rest["next"]), (vec![(Some(1), json!("gone"))], &Value::Null));
    assert_eq!(seen(&causes("?filter=queue:mail").await), [(Some(1), json!("gone"))]);
    for wrong in ["?cursor=1", "?cursor=%2B1.0000000000000001", "?limit=0", "?filter=cause:x"] {
        let (status, problem) = server.get(&format!("{}{wrong}", path::DEAD_LETTERS_CAUSES)).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_request")), "{wrong}");
    }
    let of_cause = format!("cause:{}", most["cause_id"].as_str().expect("an id"));
    let (_, list) = server.get(&format!("{}?filter={of_cause}", path::DEAD_LETTERS)).await;
    let letters = list["dead_letters"].as_array().expect("dead letters");
    assert_eq!(letters.len(), 2);
    assert!(
        letters.iter().all(|it| it["cause_id"] == most["cause_id"] && it["cause"] == most["cause"])
    );
    let (_, retried) = server.post(path::DEAD_LETTERS_RETRY, json!({"filter": of_cause})).await;
    assert_eq!(retried["affected"], 2);
    assert_eq!(seen(&causes("").await), [(Some(1), json!("gone"))]);
}

#[tokio::test]
async fn dead_letters_are_listed_retried_and_deleted() {
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
    // It is none any more.
    let (_, again) = server.post(path::DEAD_LETTERS_RETRY, json!({"ids": [9, 1]})).await;
    let changes = again["jobs"].as_array().expect("jobs").iter();
    assert_eq!(
        changes.map(|it| (&it["id"], &it["change"])).collect::<Vec<_>>(),
        [(&json!(9), &json!("not_found")), (&json!(1), &json!("not_in_state"))]
    );
    assert_eq!(again["affected"], 0);
    let (_, deleted) = server.post(path::DEAD_LETTERS_DELETE, json!({"filter": "id>0"})).await;
    assert_eq!(deleted["affected"], 1);
    let (_, list) = server.get(path::DEAD_LETTERS).await;
    assert_eq!(list["dead_letters"], json!([]));
    let (_, cluster) = server.get(path::CLUSTER).await;
    assert_eq!((&cluster["counts"]["failed"], &cluster["dead_letters"]), (&json!(1), &json!(0)));
}
