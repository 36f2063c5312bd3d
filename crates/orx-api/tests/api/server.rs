//! The server of these tests, and what they do to it beside the API.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::Response;
use orx_api::router;
use orx_control::Scope;
use orx_model::event::{Event, KnownEvent};
use orx_model::wire::path;
use orx_model::{Incarnation, JobId, Outcome};
use orx_store::{Lead, LeadRequest, Memory, Store};
use orx_testkit::make::{NOW, at, control_panel, failed, outcome, request, succeeded};
use orx_transport::Wakeups;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::settings;

pub(crate) struct Server {
    pub(crate) router: axum::Router,
    pub(crate) store: Arc<Memory>,
    pub(crate) wakeups: Wakeups,
    pub(crate) tokens: BTreeMap<&'static str, String>,
}

pub(crate) async fn server() -> Server {
    let store = Arc::new(Memory::new());
    let wakeups = Wakeups::new();
    let panel = control_panel(Arc::<Memory>::clone(&store), wakeups.clone());
    let mut tokens = BTreeMap::new();
    for scope in Scope::ALL {
        let token = panel.make_token(vec![scope], "test").await.expect("a token");
        tokens.insert(scope.as_str(), token);
    }
    Server { router: router(panel, settings::settings()), store, wakeups, tokens }
}

pub(crate) fn call(method: Method, uri: &str, body: &str) -> axum::http::request::Builder {
    let builder = Request::builder().method(method).uri(uri).header("host", "127.0.0.1:7070");
    if body.is_empty() { builder } else { builder.header("content-type", "application/json") }
}

impl Server {
    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.expect("an answer")
    }

    pub(crate) async fn as_scope(
        &self,
        scope: &str,
        method: Method,
        uri: &str,
        body: &str,
    ) -> (u16, Value) {
        let token = format!("Bearer {}", self.tokens[scope]);
        let request = call(method, uri, body).header("authorization", token);
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        read(self.send(request).await).await
    }

    pub(crate) async fn post(&self, uri: &str, body: Value) -> (u16, Value) {
        self.as_scope("admin", Method::POST, uri, &body.to_string()).await
    }

    pub(crate) async fn get(&self, uri: &str) -> (u16, Value) {
        self.as_scope("admin", Method::GET, uri, "").await
    }

    pub(crate) async fn enqueue(&self) -> i64 {
        let (code, answer) = self.post(path::JOBS, json!({"name": "work"})).await;
        assert_eq!(code, 201, "{answer}");
        answer["id"].as_i64().expect("an id")
    }
}

pub(crate) async fn read(response: Response) -> (u16, Value) {
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

/// Claims a job and ends it, as a leader and a worker do.
pub(crate) async fn finish(server: &Server, id: i64, ok: bool) {
    end(server, outcome(JobId(id), id as u128, if ok { succeeded() } else { failed() })).await;
}

/// Claims a job and ends it with this error.
pub(crate) async fn fail(server: &Server, id: i64, error: &str) {
    let error = Some(error.to_owned());
    end(server, Outcome { error, ..outcome(JobId(id), id as u128, failed()) }).await;
}

async fn end(server: &Server, outcome: Outcome) {
    let id = outcome.job.0;
    let lead = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(60), above: 0 };
    let Lead::Leading(term) = server.store_dyn().lead(lead, NOW).await.expect("an answer") else {
        panic!("another leads")
    };
    let claimed = server.store_dyn().claim_ready(vec![request(1, id as u128, 1)], term, at(1));
    let claimed = claimed.await.expect("claim");
    assert_eq!(claimed.claimed[0].dispatch.job, JobId(id));
    let recorded = server.store_dyn().record_outcomes(vec![outcome], vec![0.5], at(2)).await;
    assert_eq!(recorded.expect("recorded").len(), 1);
    server.changed(id);
}

impl Server {
    pub(crate) fn changed(&self, id: i64) {
        let changed = KnownEvent::JobChanged { job: JobId(id).into() };
        self.wakeups.feed().publish(vec![Event::new(NOW, changed)]);
    }

    pub(crate) fn store_dyn(&self) -> &dyn Store {
        &*self.store
    }
}
