//! Routes about the server itself: its description, health and metrics.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use orx_model::{Problem, wire};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::{Auth, HandlerResult};
use crate::routes::openapi_json;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(openapi))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
}

/// This description.
#[utoipa::path(
    get, path = wire::path::OPENAPI, tag = "server", security(()),
    responses((status = 200, content_type = "application/json", description = "this document")),
)]
async fn openapi() -> Response {
    // Made once, because callers without a token may request it.
    static TEXT: std::sync::LazyLock<String> = std::sync::LazyLock::new(openapi_json);
    (StatusCode::OK, [(CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

/// Whether the process is alive.
#[utoipa::path(
    get, path = wire::path::HEALTHZ, tag = "server", security(()),
    responses((status = 200, content_type = "text/plain", description = "it is alive")),
)]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the node is ready: the store accepts writes, the links to workers and other nodes are
/// connected, and the node neither stops nor drains. The answer names each link and since when it is connected.
#[utoipa::path(
    get, path = wire::path::READYZ, tag = "server", security(()),
    responses(
        (status = 200, content_type = "text/plain", description = "the node is ready"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn readyz(State(app): State<App>) -> HandlerResult<String> {
    app.panel.check_condition()?;
    app.panel.check_drain()?;
    let links = app.panel.check_links()?;
    app.access.store_check.check(&app.panel).await?;
    Ok(format!("ok\n{links}"))
}

/// Metrics for Prometheus.
#[utoipa::path(
    get, path = wire::path::METRICS, tag = "server",
    responses(
        (status = 200, content_type = "text/plain", description = "metrics in the format of OpenMetrics"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn metrics(State(app): State<App>, Auth(caller): Auth) -> HandlerResult<Response> {
    caller.need(orx_control::Scope::Read)?;
    let text = app.metrics.page(&app.panel).await?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok((StatusCode::OK, [(CONTENT_TYPE, kind)], text).into_response())
}
