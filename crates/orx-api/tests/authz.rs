//! Who may call what. The rows come from the API's own description, so a route that is added has a
//! row here at once, and fails until a person accepts the row.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use axum::http::Request;
use orx_api::{ApiSettings, openapi_json, router};
use orx_control::{Caller, ControlPanel, Scope};
use orx_model::Timestamp;
use orx_model::token::{RevokeRequest, TokenRequest};
use orx_store::Memory;
use orx_testkit::make::{NOW, control_settings};
use orx_transport::{Direct, Wakeups};
use serde_json::{Value, json};
use tower::ServiceExt;

#[path = "common/api.rs"]
mod api;

/// A server with one job, one schedule, and a token of each kind.
struct Server {
    router: axum::Router,
    tokens: BTreeMap<&'static str, String>,
}

async fn server() -> Server {
    let clock = Arc::new(AtomicI64::new(NOW.as_millis()));
    let settings = control_settings();
    let read = Arc::clone(&clock);
    let now: Arc<dyn Fn() -> Timestamp + Send + Sync> =
        Arc::new(move || Timestamp::from_millis(read.load(Ordering::Relaxed)));
    let (store, transport) = (Arc::new(Memory::new()), Arc::new(Direct::new()));
    let panel = ControlPanel::new(store, transport, Wakeups::new(), Arc::clone(&now), settings);
    let mut tokens = BTreeMap::new();
    for scope in Scope::ALL {
        let token = panel.make_token(vec![scope], "test").await.expect("a token");
        tokens.insert(scope.as_str(), token);
    }
    tokens.insert("no scope", panel.make_token(Vec::new(), "test").await.expect("a token"));
    let mut wrong = tokens["admin"].clone();
    wrong.replace_range(wrong.len() - 1.., if wrong.ends_with('0') { "1" } else { "0" });
    tokens.insert("wrong", wrong);
    let local = Caller::local();
    let request =
        TokenRequest { scopes: vec!["admin".into()], note: None, expires_ms: Some(1_000) };
    let made = panel.create_token(&local, request.clone()).await.expect("a token");
    tokens.insert("expired", made.token);
    let request = TokenRequest { expires_ms: None, ..request };
    let made = panel.create_token(&local, request).await.expect("a token");
    tokens.insert("revoked", made.token);
    panel.revoke_tokens(&local, RevokeRequest { ids: vec![made.id] }).await.expect("revoked");
    clock.fetch_add(2_000, Ordering::Relaxed);
    let request = serde_json::from_value(json!({"name": "work"})).expect("a request");
    panel.enqueue(&local, request).await.expect("a job");
    let spec = json!({"id": "1", "timing": {"cron": "@daily"}, "job": {"name": "work"}});
    let spec = serde_json::from_value(spec).expect("a schedule");
    panel.add_schedule(&local, spec).await.expect("a schedule");
    let api = ApiSettings { now, ..api::settings() };
    Server { router: router(panel, api), tokens }
}

/// A value that a schema accepts, with its required fields only.
fn sample(document: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().expect("a name");
        return sample(document, &document["components"]["schemas"][name]);
    }
    for word in ["oneOf", "anyOf"] {
        if let Some(first) =
            schema[word].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null"))
        {
            return sample(document, first);
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let mut whole = serde_json::Map::new();
        for part in parts {
            if let Value::Object(part) = sample(document, part) {
                whole.extend(part);
            }
        }
        return Value::Object(whole);
    }
    for word in ["const", "default", "example"] {
        if !schema[word].is_null() {
            return schema[word].clone();
        }
    }
    if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
        return first.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null").unwrap_or(&Value::Null),
        kind => kind,
    };
    match kind.as_str().unwrap_or("object") {
        "string" if schema["format"] == "date-time" => json!("2026-01-01T00:00:00Z"),
        "string" => {
            // An id, by the pattern `^[0-9a-f]{32}$`; else a name, or anything.
            let hex = schema["pattern"].as_str().and_then(|pattern| {
                pattern.strip_prefix("^[0-9a-f]{")?.strip_suffix("}$")?.parse().ok()
            });
            json!(hex.map_or("x".to_owned(), |digits: usize| "1".repeat(digits)))
        }
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or(json!(1)),
        "boolean" => json!(false),
        "array" if schema["minItems"].as_u64().unwrap_or(0) == 0 => json!([]),
        "array" => json!([sample(document, &schema["items"])]),
        _ => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let mut object = serde_json::Map::new();
            for name in required.iter().filter_map(Value::as_str) {
                object.insert(name.to_owned(), sample(document, &schema["properties"][name]));
            }
            Value::Object(object)
        }
    }
}

/// A route with what its description requires for a call.
struct Call {
    method: String,
    route: String,
    uri: String,
    body: Option<(String, String)>,
    open: bool,
}

fn calls() -> Vec<Call> {
    let document: Value = serde_json::from_str(&openapi_json()).expect("json");
    let mut calls = Vec::new();
    for (route, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            if !["get", "put", "post", "delete", "patch", "head"].contains(&method.as_str()) {
                continue;
            }
            let mut uri = route.clone();
            let mut query = Vec::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().expect("a name");
                let needed = parameter["required"] == true;
                match parameter["in"].as_str() {
                    Some("path") => uri = uri.replace(&format!("{{{name}}}"), "1"),
                    Some("query") if needed => {
                        let value = sample(&document, &parameter["schema"]);
                        let text = value.as_str().map_or(value.to_string(), str::to_owned);
                        query.push(format!("{name}={text}"));
                    }
                    _ => {}
                }
            }
            assert!(!uri.contains('{'), "`{route}` describes not all of its path's parts");
            if !query.is_empty() {
                uri = format!("{uri}?{}", query.join("&"));
            }
            let body = operation["requestBody"]["content"].as_object().and_then(|kinds| {
                let (kind, content) = kinds.iter().next()?;
                Some((kind.clone(), sample(&document, &content["schema"]).to_string()))
            });
            let open = operation["security"] == json!([{}]);
            let method = method.to_uppercase();
            calls.push(Call { method, route: route.clone(), uri, body, open });
        }
    }
    calls.sort_by(|a, b| (&a.route, &a.method).cmp(&(&b.route, &b.method)));
    calls
}

impl Call {
    async fn code(&self, token: Option<&str>) -> u16 {
        let server = server().await;
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(&self.uri)
            .header("host", "127.0.0.1:7070");
        if let Some(token) = token {
            let token = server.tokens.get(token).map_or("nonsense", String::as_str);
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some((kind, _)) = &self.body {
            request = request.header("content-type", kind);
        }
        let body = self.body.as_ref().map_or(Body::empty(), |(_, text)| Body::from(text.clone()));
        let request = request.body(body).expect("a request");
        server.router.oneshot(request).await.expect("an answer").status().as_u16()
    }
}

// Time advances only while every task sleeps, so that a long poll takes no time.
#[tokio::test(start_paused = true)]
async fn every_route_admits_the_callers_of_its_row_and_no_other() {
    let mut table = String::from("ok: let in, whatever came of it\n");
    for call in calls() {
        write!(table, "\n{} {}\n ", call.method, call.route).expect("text");
        for who in [None, Some("nonsense"), Some("wrong"), Some("revoked"), Some("expired")] {
            let code = call.code(who).await;
            let name = who.unwrap_or("no token");
            let expected = if call.open { code < 400 } else { code == 401 };
            assert!(expected, "{} {} with {name}: {code}", call.method, call.route);
        }
        let code = call.code(Some("no scope")).await;
        // A 400 here would mean that bodies are read before scopes are checked, or that the
        // sample is not a valid request, so that the row below proves nothing.
        let expected = if call.open { code < 400 } else { code == 403 };
        assert!(expected, "{} {} without a scope: {code}", call.method, call.route);
        if call.open {
            table.push_str(" open to all");
            continue;
        }
        for scope in Scope::ALL {
            let code = call.code(Some(scope.as_str())).await;
            assert_ne!(code, 401, "{} {} as {scope}", call.method, call.route);
            let word = if code == 403 { "403" } else { "ok" };
            write!(table, " {scope} {word}").expect("text");
        }
    }
    insta::assert_snapshot!("authz", table);
}

/// `routes!` describes what it routes; a route added in another way would have no row above.
#[test]
fn every_route_is_in_the_description() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a file");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for made in [".route(", ".route_service(", ".nest_service("] {
                assert!(!code.contains(made), "{} makes a route with `{made}`", path.display());
            }
        }
    }
}
