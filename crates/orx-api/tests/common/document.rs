//! The description of the API.

use orx_api::openapi_json;
use serde_json::Value;

pub(crate) fn document() -> Value {
    serde_json::from_str(&openapi_json()).expect("json")
}

/// Each with its method and route.
pub(crate) fn operations(document: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (route, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            all.push((format!("{} {route}", method.to_uppercase()), operation.clone()));
        }
    }
    all
}
