//! The route that asks the leader to step down.

use axum::extract::State;
use axum::response::Response;
use orx_model::Problem;
use orx_model::wire::{StepDownAnswer, StepDownRequest, path};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::{AdminCaller, HandlerResult, JsonBody, ok};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(step_down))
}

/// Ask the leader to step down, so that another node leads.
#[utoipa::path(
    post, path = path::STEP_DOWN, tag = "admin", request_body = StepDownRequest,
    responses(
        (status = 200, body = StepDownAnswer, description = "the node that led, and the one that leads now"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn step_down(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    JsonBody(request): JsonBody<StepDownRequest>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.step_down(&caller, request).await?))
}
