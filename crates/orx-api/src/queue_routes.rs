//! Routes that pause and resume queues.

use axum::extract::State;
use axum::response::Response;
use orx_model::Problem;
use orx_model::wire::{QueueOrder, QueueView, path};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::{AdminCaller, HandlerResult, JsonBody, PathParam, ok};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(pause_queue)).routes(routes!(resume_queue))
}

/// Pause a queue: none of its jobs starts until it is resumed.
#[utoipa::path(
    post, path = path::QUEUE_PAUSE, tag = "admin", request_body = QueueOrder,
    params(("queue" = String, Path, description = "a name")),
    responses(
        (status = 200, body = QueueView, description = "the queue as it is now"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn pause_queue(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    PathParam(queue): PathParam,
    JsonBody(order): JsonBody<QueueOrder>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.pause_queue(&caller, &queue, order).await?))
}

/// Resume a queue.
#[utoipa::path(
    post, path = path::QUEUE_RESUME, tag = "admin", request_body = QueueOrder,
    params(("queue" = String, Path, description = "a name")),
    responses(
        (status = 200, body = QueueView, description = "the queue as it is now"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn resume_queue(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    PathParam(queue): PathParam,
    JsonBody(order): JsonBody<QueueOrder>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.resume_queue(&caller, &queue, order).await?))
}
