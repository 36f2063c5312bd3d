//! The OpenAPI description: complete, with names for every schema, and with the limits in force.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request};
use orx_api::router;
use orx_control::Scope;
use orx_model::limits;
use orx_model::schedule::wire::path::SCHEDULES;
use orx_model::token::path::TOKENS;
use orx_model::wire::path::JOBS;
use orx_store::Memory;
use orx_testkit::make::control_panel;
use orx_transport::Wakeups;
use serde_json::{Value, json};
use tower::ServiceExt;

#[path = "common/api.rs"]
mod api;
#[path = "common/document.rs"]
mod document;

use document::{document, operations};

struct Server {
    router: axum::Router,
    admin: String,
}

async fn server() -> Server {
    let panel = control_panel(Arc::new(Memory::new()), Wakeups::new());
    let admin = panel.make_token(vec![Scope::Admin], "a").await.expect("a token");
    Server { router: router(panel, api::settings()), admin }
}

impl Server {
    /// The status and the body.
    async fn call(&self, method: Method, uri: &str, body: Option<&Value>) -> (u16, String) {
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("host", "127.0.0.1:7070")
            .header("authorization", format!("Bearer {}", self.admin));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Body::from(text)).expect("a request");
        let answer = self.router.clone().oneshot(request).await.expect("an answer");
        let status = answer.status().as_u16();
        let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        if kind == Some("text/event-stream") {
            // It has no end.
            return (status, String::new());
        }
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 24).await.expect("a body");
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[test]
fn the_description_describes_each_answer_and_names_no_type_of_rust() {
    let document = document();
    for (line, operation) in operations(&document) {
        for (status, answer) in operation["responses"].as_object().expect("answers") {
            let text = answer["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{line} {status}");
        }
    }
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let of_rust =
        |name: &&String| ["BTreeMap", "HashMap", "Vec", "Option"].contains(&name.as_str());
    assert_eq!(schemas.keys().find(of_rust), None);
    // Every reference resolves.
    let text = document.to_string();
    for found in text.split("#/components/schemas/").skip(1) {
        let name = found.split('"').next().unwrap_or_default();
        assert!(schemas.contains_key(name), "{name}");
    }
}

#[test]
fn arbitrary_json_has_no_type_and_a_choice_is_between_named_schemas() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for (name, property) in [
        ("EnqueueRequest", "args"),
        ("Job", "args"),
        ("Job", "result"),
        ("JobChange", "args"),
        ("ResultAnswer", "result"),
        ("FieldChange", "old"),
        ("FieldChange", "new"),
    ] {
        let schema = schemas[name]["properties"][property].as_object().expect("a schema");
        assert!(!schema.contains_key("type") && !schema.contains_key("oneOf"), "{name}.{property}");
    }
    let mut choices = 0;
    for (name, schema) in schemas {
        let Some(items) = schema["oneOf"].as_array() else { continue };
        let nameless = |item: &&Value| item.get("properties").is_some();
        // `{"base64": "…"}` is the only one: text in another encoding.
        assert!(name == "TextOrBytes" || !items.iter().any(|item| nameless(&item)), "{name}");
        choices += 1;
    }
    assert!(choices > 5, "{choices}");
}

/// The least and the most that a schema allows, each with a value just beyond.
fn edges(document: &Value, schema: &Value) -> Vec<(Value, Value)> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.trim_start_matches('#');
        return edges(document, document.pointer(pointer).expect("a schema"));
    }
    let number = |name: &str| schema[name].as_u64();
    let text = |length: u64| Value::from("x".repeat(length as usize));
    let list = |length: u64| Value::from(vec!["read"; length as usize]);
    let map = |length: u64| {
        let entries = (0..length).map(|n| (format!("k{n}"), Value::from("x")));
        Value::from(entries.collect::<serde_json::Map<_, _>>())
    };
    let mut edges = Vec::new();
    if let Some(most) = number("maxLength").filter(|_| schema.get("pattern").is_none()) {
        edges.push((text(most), text(most + 1)));
    }
    if let Some(least @ 1..) = number("minLength") {
        edges.push((text(least), text(least - 1)));
    }
    if let Some(most) = number("maximum") {
        edges.push((most.into(), (most + 1).into()));
    }
    if let Some(least @ 1..) = number("minimum") {
        edges.push((least.into(), (least - 1).into()));
    }
    if let Some(least @ 1..) = number("minItems") {
        edges.push((list(least), list(least - 1)));
    }
    if let Some(most) = number("maxProperties") {
        edges.push((map(most), map(most + 1)));
        let key = number("maxLength").unwrap_or(limits::TAG_BYTES as u64) as usize;
        let long = |length: usize| json!({"k": "x".repeat(length)});
        edges.push((long(key), long(key + 1)));
    }
    edges
}

#[tokio::test]
async fn values_that_the_description_allows_are_accepted_and_values_just_beyond_are_refused() {
    let (server, document) = (server().await, document());
    let (mut seen, mut number) = (0, 0);
    for (name, uri) in
        [("EnqueueRequest", JOBS), ("ScheduleSpec", SCHEDULES), ("TokenRequest", TOKENS)]
    {
        let properties = &document["components"]["schemas"][name]["properties"];
        for (property, schema) in properties.as_object().expect("properties") {
            for (right, wrong) in edges(&document, schema) {
                for (value, expected) in [(right, true), (wrong, false)] {
                    number += 1;
                    let mut body = match name {
                        "EnqueueRequest" => json!({"name": "work"}),
                        "TokenRequest" => json!({"scopes": ["read"]}),
                        _ => json!({"id": format!("s{number}"), "job": {"name": "work"},
                                    "timing": {"interval": {"every_ms": 172_800_000}}}),
                    };
                    body[property.as_str()] = value;
                    let (status, answer) = server.call(Method::POST, uri, Some(&body)).await;
                    let shown: String = body.to_string().chars().take(200).collect();
                    assert_eq!(status < 300, expected, "{name}.{property}: {shown}: {answer}");
                    assert!(expected || matches!(status, 400 | 413 | 422), "{status}: {shown}");
                }
                seen += 1;
            }
        }
    }
    for (line, operation) in operations(&document) {
        let Some(uri) = line.strip_prefix("GET ").filter(|uri| !uri.contains('{')) else {
            continue;
        };
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if parameter["name"] != "limit" {
                continue;
            }
            for (right, wrong) in edges(&document, &parameter["schema"]) {
                let status = async |value: &Value| {
                    server.call(Method::GET, &format!("{uri}?limit={value}"), None).await.0
                };
                assert_eq!((status(&right).await, status(&wrong).await), (200, 400), "{line}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 25, "{seen}");
}
