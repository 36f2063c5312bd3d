//! Routes that ask the leader to step down, that drain and resume nodes, and that show their settings.

use axum::extract::State;
use axum::response::Response;
use orx_model::Problem;
use orx_model::wire::{
    NodeDrainAnswer, NodeDrainRequest, ServerSettings, StepDownAnswer, StepDownRequest, path,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::{AdminCaller, HandlerResult, JsonBody, PathParam, ok};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(step_down))
        .routes(routes!(drain_node))
        .routes(routes!(resume_node))
        .routes(routes!(settings))
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

/// Drain a node: another node leads, and the workers that are connected to it move to other nodes. It
/// answers requests as before, except that it is not ready. The drain ends with the node's process.
#[utoipa::path(
    post, path = path::NODE_DRAIN, tag = "admin", request_body = NodeDrainRequest,
    params(("node" = String, Path, description = "a name, or the first digits of an incarnation")),
    responses(
        (status = 200, body = NodeDrainAnswer, description = "the node as it is now"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn drain_node(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    PathParam(node): PathParam,
    JsonBody(request): JsonBody<NodeDrainRequest>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.drain_node(&caller, &node, request).await?))
}

/// Take back the drain of a node.
#[utoipa::path(
    post, path = path::NODE_RESUME, tag = "admin", request_body = NodeDrainRequest,
    params(("node" = String, Path, description = "a name, or the first digits of an incarnation")),
    responses(
        (status = 200, body = NodeDrainAnswer, description = "the node as it is now"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn resume_node(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    PathParam(node): PathParam,
    JsonBody(request): JsonBody<NodeDrainRequest>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.resume_node(&caller, &node, request).await?))
}

/// All settings in force at the node that answers, with their origins. Secrets are masked.
#[utoipa::path(
    get, path = path::SETTINGS, tag = "admin",
    responses(
        (status = 200, body = ServerSettings, description = "the settings"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn settings(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.settings(&caller)?))
}
