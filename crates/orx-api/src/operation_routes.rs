//! Routes of operations over many jobs, and of the deletion of jobs.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use orx_model::Problem;
use orx_model::wire::{
    ChangeAnswer, ChangeRequest, OperationAnswer, OperationPage, OperationRequest, OperationView,
    OperationsQuery, path,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::{
    AdminCaller, HandlerResult, JsonBody, PathParam, QueryParams, json, ok, take_key,
};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(delete_jobs))
        .routes(routes!(start_operation))
        .routes(routes!(operations))
        .routes(routes!(operation))
        .routes(routes!(cancel_operation))
}

/// Delete ended jobs with their logs, attempts, keys and dead letters.
#[utoipa::path(
    post, path = path::JOBS_DELETE, tag = "admin", request_body = ChangeRequest,
    responses(
        (status = 200, body = ChangeAnswer, description = "what changed, for each job"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn delete_jobs(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    JsonBody(request): JsonBody<ChangeRequest>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.delete_jobs(&caller, request).await?))
}

/// Start an operation: the leader cancels, retries or deletes many jobs, batch by batch. With `dry_run`, only
/// report what it would change.
#[utoipa::path(
    post, path = path::OPERATIONS, tag = "admin", request_body = OperationRequest,
    params(("idempotency-key" = Option<String>, Header, description = "as `key` of the body")),
    responses(
        (status = 202, body = OperationAnswer, description = "the operation is stored and runs"),
        (status = 200, body = OperationAnswer, description = "what a dry run found"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn start_operation(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    headers: HeaderMap,
    JsonBody(mut request): JsonBody<OperationRequest>,
) -> HandlerResult<Response> {
    take_key(&headers, &mut request.key)?;
    let answer = app.panel.start_operation(&caller, request).await?;
    let status = if answer.dry_run { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(json(status, &answer))
}

/// Operations, newest first, by pages.
#[utoipa::path(
    get, path = path::OPERATIONS, tag = "admin", params(OperationsQuery),
    responses(
        (status = 200, body = OperationPage, description = "a page of operations"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn operations(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    QueryParams(query): QueryParams<OperationsQuery>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.operations(&caller, &query).await?))
}

/// One operation, with what it changed so far.
#[utoipa::path(
    get, path = path::OPERATION, tag = "admin",
    params(("operation" = String, Path, description = "the id of an operation")),
    responses(
        (status = 200, body = OperationView, description = "the operation as it is now"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn operation(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    PathParam(operation): PathParam,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.operation(&caller, &operation).await?))
}

/// Cancel an operation. After the answer it changes no more jobs; what it has changed stays.
#[utoipa::path(
    post, path = path::OPERATION_CANCEL, tag = "admin",
    params(("operation" = String, Path, description = "the id of an operation")),
    responses(
        (status = 200, body = OperationView, description = "the operation as it ended"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn cancel_operation(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    PathParam(operation): PathParam,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.cancel_operation(&caller, &operation).await?))
}
