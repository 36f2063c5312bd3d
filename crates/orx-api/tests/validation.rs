//! Everything that a route accepts can be listed, shown and exported, and stays masked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use futures_util::FutureExt as _;
use orx_api::{ApiSettings, WorkerGatewayState, router};
use orx_control::{ControlPanel, Scope};
use orx_coordinator::recorder::plan;
use orx_coordinator::recorder::run::Recorder;
use orx_coordinator::{Clock, Context, Now, Settings};
use orx_model::message::HeartbeatAnswer;
use orx_model::schedule::wire::{SchedulePage, path as schedules};
use orx_model::secret::WORKER_SECRET;
use orx_model::wire::{JobDetail, JobPage, path};
use orx_model::{Incarnation, JobStatus};
use orx_store::{Dispatching as _, Jobs as _, Lead, LeadRequest, Leases as _, Memory, Store, Term};
use orx_testkit::make::{NOW, control_settings, request};
use orx_transport::{Direct, Shard, Subscription, Transport, Wakeups};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tower::ServiceExt;

#[path = "common/answers.rs"]
mod answers;
#[path = "common/api.rs"]
mod api;

use answers::Answers;

/// In place of a secret.
const CANARY: &str = "CANARY";

struct World {
    router: axum::Router,
    store: Arc<Memory>,
    recorder: Recorder,
    events: Box<dyn Subscription>,
    term: Term,
    admin: String,
    worker: String,
    secret: String,
}

struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        Now { wall: NOW, mono: Duration::ZERO }
    }
}

impl World {
    async fn new() -> Self {
        let store = Arc::new(Memory::new());
        let shared: Arc<dyn Store> = Arc::<Memory>::clone(&store);
        let hub = Direct::new();
        let events = hub.subscribe_events(Shard::all().collect()).await.expect("a reader");
        let carrier: Arc<dyn Transport> = Arc::new(hub.clone());
        let panel = ControlPanel::new(
            Arc::clone(&shared),
            Arc::clone(&carrier),
            Wakeups::new(),
            Arc::new(|| NOW),
            control_settings(),
        );
        let admin = panel.make_token(vec![Scope::Admin], "a").await.expect("a token");
        let worker = panel.make_token(vec![Scope::Worker], "w").await.expect("a token");
        let api = ApiSettings {
            worker_gateway: Some(WorkerGatewayState {
                transport: Arc::new(hub),
                peers: None,
                coordinator: Arc::new(Answers {
                    store: Arc::clone(&shared),
                    answer: HeartbeatAnswer::default(),
                }),
            }),
            ..api::settings()
        };
        let node = Incarnation(1);
        let lead = LeadRequest { node, ttl: Duration::from_secs(3_600), above: 0 };
        let Lead::Leading(term) = store.lead(lead, NOW).await.expect("an answer") else {
            panic!("another leads")
        };
        let parts = (shared, carrier, Wakeups::new());
        let context = Context::new(parts, Arc::new(Still), Settings::default(), node, 1);
        let recorder = Recorder::new(context, StdRng::seed_from_u64(1));
        let (router, secret) = (router(panel, api), String::new());
        let mut world = Self { router, store, recorder, events, term, admin, worker, secret };
        let registration = json!({
            "incarnation": format!("{:032x}", 5), "name": "w", "host": "h", "pid": 1,
            "version": "1", "offer": {}, "slots": 1, "started_at": NOW,
        });
        let body = registration.to_string();
        let (_, answer) =
            world.call(&world.worker, Method::POST, path::WORKER_REGISTER, &body).await;
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        world.secret = answer["secret"].as_str().expect("a secret").to_owned();
        world
    }

    async fn call(&self, token: &str, method: Method, uri: &str, body: &str) -> (u16, String) {
        let kind =
            if uri == path::JOBS_BATCH { "application/x-ndjson" } else { "application/json" };
        let mut request = Request::builder();
        if !self.secret.is_empty() {
            request = request.header(WORKER_SECRET, &self.secret);
        }
        let request = request
            .method(method)
            .uri(uri)
            .header("host", "localhost")
            .header("content-type", kind)
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from(body.to_owned()))
            .expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 26).await.expect("a body");
        (status, String::from_utf8(bytes.to_vec()).expect("text"))
    }

    async fn post(&self, uri: &str, body: &str) -> u16 {
        self.call(&self.admin, Method::POST, uri, body).await.0
    }

    async fn get(&self, uri: &str) -> String {
        let (status, text) = self.call(&self.admin, Method::GET, uri, "").await;
        assert_eq!(status, 200, "{uri}: {text}");
        text
    }

    /// Records the reports of workers.
    async fn record(&mut self) {
        while let Some(events) = self.events.next(64).now_or_never() {
            let (envelopes, acknowledged) = events.expect("a reader").accept();
            acknowledged.await.expect("acknowledged");
            self.recorder.record(plan::gather(envelopes.iter())).await.expect("recorded");
        }
    }

    /// Reads every view of everything.
    async fn all_can_be_read(&self) {
        let list = self.get("/api/v1/jobs?limit=500").await;
        let page: JobPage = serde_json::from_str(&list).expect("a page");
        let mut views = vec![list];
        for job in &page.jobs {
            let shown = self.get(&format!("/api/v1/jobs/{}", job.id)).await;
            serde_json::from_str::<JobDetail>(&shown).expect("a job");
            views.push(shown);
            views.push(self.get(&format!("/api/v1/jobs/{}/wait?timeout_ms=0", job.id)).await);
            let result = self.get(&format!("/api/v1/jobs/{}/result", job.id)).await;
            serde_json::from_str::<Value>(&result).expect("JSON");
        }
        let all = self.get(&format!("{}?limit=500", schedules::SCHEDULES)).await;
        serde_json::from_str::<SchedulePage>(&all).expect("a page");
        views.push(all);
        views.push(self.get(path::DEAD_LETTERS).await);
        for view in views {
            // Every view must parse, and none may contain a secret.
            serde_json::from_str::<Value>(&view).expect("JSON");
            assert!(!view.contains(CANARY), "{view}");
        }
    }
}

/// JSON text, valid or not.
fn any_text() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        Just(r#""\ud800""#.to_owned()),
        Just(r#""\udfff x""#.to_owned()),
        Just(r#"{"\ud800":1}"#.to_owned()),
        Just(r#""\u0000\u001b[2J""#.to_owned()),
        Just("1e999".to_owned()),
        Just("-1e400".to_owned()),
        Just("9".repeat(400)),
        Just("123456789012345678901234567890.5e-7".to_owned()),
        Just(format!("{}1{}", "[".repeat(70), "]".repeat(70))),
        Just(format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200))),
        Just("[]".to_owned()),
        Just("null".to_owned()),
    ];
    let plain = any::<String>().prop_map(|text| Value::from(text).to_string());
    let secret = prop_oneof![
        Just(format!(r#"{{"password":"{CANARY}"}}"#)),
        Just(format!(r#"{{"db":[{{"api_key":"{CANARY}"}}]}}"#)),
        Just(format!(r#"["--pwd","{CANARY}","--token={CANARY}"]"#)),
        Just(format!(r#"{{"p\u0061ssword":"{CANARY}","password":null}}"#)),
        Just(format!(r#"{{"url":"https://u:{CANARY}@h/","h":"Authorization: Bearer {CANARY}"}}"#)),
    ];
    let leaf = prop_oneof![3 => odd, 2 => plain, 3 => secret];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3)
                .prop_map(|items| format!("[{}]", items.join(","))),
            ("[a-z]{1,3}", inner.clone(), "[a-z]{1,3}", inner)
                .prop_map(|(a, x, b, y)| format!(r#"{{"{a}":{x},"{b}":{y}}}"#)),
        ]
    })
}

fn any_time() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("9999-12-31T23:59:59Z".to_owned()),
        Just("9999-12-31T23:59:59-23:59".to_owned()),
        Just("+262142-01-01T00:00:00Z".to_owned()),
        Just("0000-01-01T00:00:00+10:00".to_owned()),
        Just("2031-01-01T00:00:00Z".to_owned()),
    ]
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(i64::MAX as u64), Just(u64::MAX), any::<u64>()]
}

/// The text of a request for a job.
fn any_request() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        4 => any_text().prop_map(|args| format!(r#""args":{args}"#)),
        1 => any_time().prop_map(|at| format!(r#""run_at":"{at}""#)),
        1 => any_time().prop_map(|at| format!(r#""deadline":"{at}""#)),
        1 => any_number().prop_map(|ms| format!(r#""delay_ms":{ms}"#)),
        1 => any_number().prop_map(|ms| format!(r#""expires_ms":{ms}"#)),
        1 => any_number().prop_map(|ms| format!(r#""timeout_ms":{ms}"#)),
        1 => any_number().prop_map(|ms| format!(r#""backoff_ms":{ms}"#)),
        1 => any_text().prop_map(|text| format!(r#""corr":{text}"#)),
        1 => any_text().prop_map(|text| format!(r#""by":{text}"#)),
        1 => any_text().prop_map(|text| format!(r#""tags":{{"a":{text},"api_key":"{CANARY}"}}"#)),
        1 => any_text().prop_map(|text| format!(r#""require":{{"a":{text}}}"#)),
        1 => any_text().prop_map(|text| format!(
            r#""command":{{"argv":["a","--pass","{CANARY}",{text}],"env":{{"DB_PWD":"{CANARY}"}}}}"#
        )),
        1 => any_text().prop_map(|text| format!(r#""command":{{"argv":["a"],"cwd":{text}}}"#)),
        1 => any_text().prop_map(|text| format!(r#""command":{text}"#)),
    ];
    (proptest::collection::vec(field, 0..3), 0..12_u8).prop_map(|(fields, shape)| match shape {
        0 => format!(r#"["work",{{{}}}]"#, fields.join(",")),
        _ => {
            let fields: Vec<String> =
                std::iter::once(r#""name":"work""#.to_owned()).chain(fields).collect();
            format!("{{{}}}", fields.join(","))
        }
    })
}

/// The text of an outcome that a worker reports.
fn any_end() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any_text().prop_map(|result| format!(r#"{{"succeeded":{{"result":{result}}}}}"#)),
        1 => any_number().prop_map(|ms| format!(r#"{{"snoozed":{{"for_ms":{ms}}}}}"#)),
        1 => any_number()
            .prop_map(|ms| format!(r#"{{"failed":{{"retryable":true,"retry_after_ms":{ms}}}}}"#)),
        1 => Just(r#"{"lost":{"with":"worker"}}"#.to_owned()),
        1 => any_text(),
        1 => Just(format!(r#"{{"succeeded":{{"result":"{}"}}}}"#, "x".repeat(300 * 1024))),
    ]
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn everything_that_clients_may_send_can_be_read(
        requests in proptest::collection::vec(any_request(), 1..8),
    ) {
        on_a_runtime(async {
            let world = World::new().await;
            for request in &requests {
                world.post(path::JOBS, request).await;
            }
            world.post(path::JOBS_BATCH, &requests.join("\n")).await;
            for (number, request) in requests.iter().enumerate() {
                let every = r#"{"interval":{"every_ms":60000}}"#;
                let spec = format!(r#"{{"id":"s{number}","timing":{every},"job":{request}}}"#);
                world.post(schedules::SCHEDULES, &spec).await;
            }
            world.all_can_be_read().await;
        });
    }

    #[test]
    fn everything_that_workers_may_report_can_be_read_and_ends_the_attempt(
        end in any_end(), error in any_text(), percent in any_number(),
    ) {
        on_a_runtime(async {
            let mut world = World::new().await;
            assert_eq!(world.post(path::JOBS, r#"{"name":"work"}"#).await, 201);
            let claimed = world.store.claim_ready(vec![request(5, 7, 1)], world.term, NOW).await;
            let claimed = claimed.expect("claimed");
            let execution = claimed.claimed[0].dispatch.execution;
            let at = NOW.to_string();
            let outcome = |error: &str| format!(
                r#"{{"job_result":{{"outcomes":[{{"job":1,"execution":"{execution}","kind":{end},"ended_at":"{at}"{error}}}]}}}}"#
            );
            let progress = format!(
                r#"{{"job_progress":{{"progress":[{{"job":1,"execution":"{execution}","progress":{{"percent":{percent}.5,"text":{error}}}}}]}}}}"#
            );
            for (n, body) in
                [progress, outcome(&format!(r#","error":{error}"#)), outcome("")].iter().enumerate()
            {
                let id = format!("{:032x}", n + 1);
                let from = format!("{:032x}", 5);
                let envelope = format!(
                    r#"{{"id":"{id}","version":1,"at":"{at}","from":"{from}","body":{body}}}"#
                );
                let body = format!(r#"{{"wait_ms":0,"envelopes":[{envelope}]}}"#);
                world.call(&world.worker, Method::POST, path::WORKER_PUBLISH, &body).await;
                world.record().await;
            }
            world.all_can_be_read().await;
            let job = world.store.job(orx_model::JobId(1)).await.expect("read").expect("a job");
            // Only `lost` is refused: a worker cannot report its own loss.
            assert!(job.state.live.is_none() || end.contains("lost"), "{job:?}");
            if end.len() > 256 * 1024 {
                assert_eq!(job.state.status, JobStatus::Failed);
                let why = job.state.error.unwrap_or_default();
                // or its error is invalid, which is reported first.
                assert!(why.contains("result was refused") || why.contains("invalid outcome"));
            }
        });
    }
}

#[tokio::test]
async fn a_secret_in_a_result_is_shown_only_by_the_result_route() {
    let mut world = World::new().await;
    assert_eq!(world.post(path::JOBS, r#"{"name":"work"}"#).await, 201);
    let claimed = world.store.claim_ready(vec![request(5, 7, 1)], world.term, NOW).await;
    let execution = claimed.expect("claimed").claimed[0].dispatch.execution;
    let (at, id, from) = (NOW.to_string(), format!("{:032x}", 1), format!("{:032x}", 5));
    let kind = format!(r#"{{"succeeded":{{"result":{{"password":"{CANARY}"}}}}}}"#);
    let outcome =
        format!(r#"{{"job":1,"execution":"{execution}","kind":{kind},"ended_at":"{at}"}}"#);
    let envelope = format!(
        r#"{{"id":"{id}","version":1,"at":"{at}","from":"{from}","body":{{"job_result":{{"outcomes":[{outcome}]}}}}}}"#
    );
    let body = format!(r#"{{"wait_ms":0,"envelopes":[{envelope}]}}"#);
    world.call(&world.worker, Method::POST, path::WORKER_PUBLISH, &body).await;
    world.record().await;
    world.all_can_be_read().await;
    assert!(world.get("/api/v1/jobs/1").await.contains(r#""result":{"password":"***"}"#));
    assert!(world.get("/api/v1/jobs/1/result").await.contains(CANARY));
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_with_a_problem_and_a_newer_type_ignored() {
    let world = World::new().await;
    let envelope = |n: u128, body: Value| {
        let (id, from) = (format!("{n:032x}"), format!("{:032x}", 5));
        json!({"id": id, "version": 1, "at": NOW, "from": from, "body": body})
    };
    let lost = json!({"job": 1, "execution": format!("{:032x}", 7), "ended_at": NOW,
                      "kind": {"lost": {"with": "worker"}}});
    let envelopes = vec![
        envelope(1, json!({"job_result": {"outcomes": [{"kind": "banana"}]}})),
        envelope(2, json!({"job_teleport": {"to": "mars"}})),
        envelope(3, json!({"job_result": {"outcomes": [lost]}})),
    ];
    let body = json!({"wait_ms": 0, "envelopes": envelopes}).to_string();
    let (status, text) = world.call(&world.worker, Method::POST, path::WORKER_PUBLISH, &body).await;
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["receipts"], json!(["refused", "not_for_us", "refused"]));
    let refused: BTreeMap<u64, &Value> = answer["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| (it["place"].as_u64().expect("a place"), &it["problem"]["detail"]))
        .collect();
    assert!(refused[&0].as_str().expect("why").contains("cannot be read"), "{refused:?}");
    assert!(refused[&2].as_str().expect("why").contains("lost"), "{refused:?}");
}
