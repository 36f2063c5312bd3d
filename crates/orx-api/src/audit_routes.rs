//! The route of the record of changes.

use axum::extract::State;
use axum::response::Response;
use orx_model::Problem;
use orx_model::wire::{AuditPage, AuditQuery, path};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::{AdminCaller, HandlerResult, QueryParams, ok};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(audit))
}

/// The changes that people and programs made, newest first, by pages.
#[utoipa::path(
    get, path = path::AUDIT, tag = "admin", params(AuditQuery),
    responses(
        (status = 200, body = AuditPage, description = "a page of changes"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn audit(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    QueryParams(query): QueryParams<AuditQuery>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.audit(&caller, &query).await?))
}
