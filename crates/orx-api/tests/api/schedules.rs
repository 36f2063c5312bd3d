//! Schedules and their ledgers.

use std::collections::BTreeSet;

use axum::http::Method;
use orx_model::Timestamp;
use orx_model::schedule::wire::path as schedules;
use orx_testkit::make::NOW;
use serde_json::{Value, json};

use crate::server::server;

/// A schedule with an interval in milliseconds, of a job type without a handler.
fn every(id: &str, ms: u64) -> Value {
    json!({"id": id, "timing": {"interval": {"every_ms": ms}}, "job": {"name": "work"}})
}

#[tokio::test]
async fn a_wrong_schedule_is_a_problem_with_its_field_and_changes_nothing() {
    let server = server().await;
    let (code, answer) = server.post(schedules::SCHEDULES, every("daily", 3_600_000)).await;
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
    for (body, status, code, part) in cases {
        let shown: String = body.chars().take(120).collect();
        let put = format!(r#"{{"spec":{body}}}"#);
        for (method, uri, body) in [
            (Method::POST, "/api/v1/schedules", body),
            (Method::PUT, "/api/v1/schedules/new", put.as_str()),
        ] {
            let (found, answer) = server.as_scope("admin", method.clone(), uri, body).await;
            let got = (found, answer["code"].as_str());
            assert_eq!(got, (status, Some(code)), "{method} {shown}: {answer}");
            let text = format!("{} {}", answer["detail"], answer["cause"]);
            assert!(text.contains(part), "{method} {shown}: {answer}");
        }
    }
    let daily = "/api/v1/schedules/daily";
    let reason = format!(r#"{{"reason":"{}"}}"#, "y".repeat(100_000));
    for (method, uri, body, status) in [
        (Method::POST, "/api/v1/schedules", &*every("daily", 1_000).to_string(), 409),
        (Method::PUT, daily, &*format!(r#"{{"spec":{}}}"#, every("other", 1_000)), 400),
        (Method::PUT, daily, &*format!(r#"{{"spec":{},"version":7}}"#, every("daily", 1_000)), 409),
        (Method::PUT, "/api/v1/schedules/none", r#"{"version":1}"#, 400),
        (Method::PATCH, daily, "{}", 400),
        (Method::PATCH, daily, r#"{"change":{"job":{"key":"k"}}}"#, 400),
        (Method::PATCH, daily, r#"{"change":{"zone":null}}"#, 400),
        (Method::PATCH, daily, r#"{"change":{"max_runs":0}}"#, 400),
        (Method::PATCH, daily, r#"{"change":{"timing":{"once":"2001-01-01T00:00:00Z"}}}"#, 400),
        (Method::PATCH, daily, r#"{"change":{"max_runs":5},"version":7}"#, 409),
        (Method::PATCH, "/api/v1/schedules/none", r#"{"change":{"max_runs":5}}"#, 404),
        (Method::DELETE, "/api/v1/schedules/daily?version=7", "", 409),
        (Method::DELETE, "/api/v1/schedules/none", "", 404),
        (Method::GET, "/api/v1/schedules/none", "", 404),
        (Method::GET, "/api/v1/schedules/%20", "", 404),
        (Method::GET, "/api/v1/schedules?limit=0", "", 400),
        (Method::GET, "/api/v1/schedules?limit=501", "", 400),
        (Method::GET, "/api/v1/schedules?cursor=%20", "", 400),
        (Method::GET, "/api/v1/schedules/daily/slots?cursor=x", "", 400),
        (Method::GET, "/api/v1/schedules/daily/slots?colour=red", "", 400),
        (Method::GET, "/api/v1/schedules/none/slots", "", 404),
        (Method::POST, "/api/v1/schedules/daily/trigger", r#"{"colour":1}"#, 400),
        (Method::POST, "/api/v1/schedules/none/trigger", "{}", 404),
        (Method::POST, "/api/v1/schedules/daily/backfill", "{}", 400),
        (
            Method::POST,
            "/api/v1/schedules/daily/backfill",
            r#"{"from":"2999-01-01T00:00:00Z"}"#,
            400,
        ),
        (
            Method::POST,
            "/api/v1/schedules/daily/backfill",
            r#"{"from":"1970-01-01T00:00:00Z"}"#,
            422,
        ),
        (Method::POST, "/admin/v1/schedules/daily/pause", &*reason, 413),
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
async fn schedules_and_their_slots_come_by_pages_without_loss_or_repeat() {
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
        // One is added behind the page, and one before it is removed.
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
