//! Routes for schedules.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orx_model::Problem;
use orx_model::schedule::ScheduleSpec;
use orx_model::schedule::wire::{
    BackfillAnswer, BackfillRequest, PutScheduleRequest, RemoveScheduleQuery, ScheduleAnswer,
    ScheduleChangeAnswer, ScheduleChanged, ScheduleOrder, SchedulePage, SchedulesQuery,
    SetScheduleRequest, SlotPage, SlotsQuery, TriggerAnswer, path,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::{
    AdminCaller, Auth, HandlerResult, JsonBody, PathParam, QueryParams, ServiceCaller, json, ok,
};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(add_schedule, list_schedules))
        .routes(routes!(get_schedule, put_schedule, set_schedule, remove_schedule))
        .routes(routes!(list_slots))
        .routes(routes!(trigger_schedule))
        .routes(routes!(backfill_schedule))
        .routes(routes!(pause_schedule))
        .routes(routes!(resume_schedule))
}

/// Add a schedule. The answer comes once it is on disk.
#[utoipa::path(
    post, path = path::SCHEDULES, tag = "schedules", request_body = ScheduleSpec,
    responses(
        (status = 201, body = ScheduleChangeAnswer, description = "added"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn add_schedule(
    State(app): State<App>,
    ServiceCaller(caller): ServiceCaller,
    JsonBody(request): JsonBody<ScheduleSpec>,
) -> HandlerResult<Response> {
    let added = app.panel.add_schedule(&caller, request).await?;
    Ok(json(StatusCode::CREATED, &added))
}

/// Schedules by id, by pages.
#[utoipa::path(
    get, path = path::SCHEDULES, tag = "schedules", params(SchedulesQuery),
    responses(
        (status = 200, body = SchedulePage, description = "a page of schedules"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn list_schedules(
    State(app): State<App>,
    Auth(caller): Auth,
    QueryParams(query): QueryParams<SchedulesQuery>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.schedules(&caller, &query).await?))
}

/// One schedule.
#[utoipa::path(
    get, path = path::SCHEDULE, tag = "schedules", params(("schedule" = String, Path, description = "an id")),
    responses(
        (status = 200, body = ScheduleAnswer, description = "the schedule"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn get_schedule(
    State(app): State<App>,
    Auth(caller): Auth,
    PathParam(id): PathParam,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.schedule(&caller, &id).await?))
}

/// Add a schedule, or replace the one with this id.
#[utoipa::path(
    put, path = path::SCHEDULE, tag = "schedules", request_body = PutScheduleRequest, params(("schedule" = String, Path, description = "an id")),
    responses(
        (status = 200, body = ScheduleChangeAnswer, description = "changed, or unchanged"),
        (status = 201, body = ScheduleChangeAnswer, description = "added"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn put_schedule(
    State(app): State<App>,
    ServiceCaller(caller): ServiceCaller,
    PathParam(id): PathParam,
    JsonBody(request): JsonBody<PutScheduleRequest>,
) -> HandlerResult<Response> {
    let answer = app.panel.put_schedule(&caller, &id, request).await?;
    let added = answer.change == ScheduleChanged::Created && !answer.dry_run;
    Ok(json(if added { StatusCode::CREATED } else { StatusCode::OK }, &answer))
}

/// Change some fields of a schedule.
#[utoipa::path(
    patch, path = path::SCHEDULE, tag = "schedules", request_body = SetScheduleRequest, params(("schedule" = String, Path, description = "an id")),
    responses(
        (status = 200, body = ScheduleChangeAnswer, description = "changed, or unchanged"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn set_schedule(
    State(app): State<App>,
    ServiceCaller(caller): ServiceCaller,
    PathParam(id): PathParam,
    JsonBody(request): JsonBody<SetScheduleRequest>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.set_schedule(&caller, &id, request).await?))
}

/// Remove a schedule and its ledger. Its jobs stay.
#[utoipa::path(
    delete, path = path::SCHEDULE, tag = "schedules", params(("schedule" = String, Path, description = "an id"), RemoveScheduleQuery),
    responses(
        (status = 200, body = ScheduleChangeAnswer, description = "removed"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn remove_schedule(
    State(app): State<App>,
    Auth(caller): Auth,
    PathParam(id): PathParam,
    QueryParams(query): QueryParams<RemoveScheduleQuery>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.remove_schedule(&caller, &id, query.version).await?))
}

/// The ledger of a schedule: what became of each due time, newest first, by pages.
#[utoipa::path(
    get, path = path::SLOTS, tag = "schedules", params(("schedule" = String, Path, description = "an id"), SlotsQuery),
    responses(
        (status = 200, body = SlotPage, description = "a page of the ledger"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn list_slots(
    State(app): State<App>,
    Auth(caller): Auth,
    PathParam(id): PathParam,
    QueryParams(query): QueryParams<SlotsQuery>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.schedule_slots(&caller, &id, &query).await?))
}

/// Run a schedule now, in addition to its due times.
#[utoipa::path(
    post, path = path::TRIGGER, tag = "schedules", request_body = ScheduleOrder, params(("schedule" = String, Path, description = "an id")),
    responses(
        (status = 201, body = TriggerAnswer, description = "the job of the run"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn trigger_schedule(
    State(app): State<App>,
    ServiceCaller(caller): ServiceCaller,
    PathParam(id): PathParam,
    JsonBody(request): JsonBody<ScheduleOrder>,
) -> HandlerResult<Response> {
    let run = app.panel.trigger_schedule(&caller, &id, request).await?;
    Ok(json(StatusCode::CREATED, &run))
}

/// Run the due times of a time range that made no job.
#[utoipa::path(
    post, path = path::BACKFILL, tag = "schedules", request_body = BackfillRequest, params(("schedule" = String, Path, description = "an id")),
    responses(
        (status = 200, body = BackfillAnswer, description = "the runs with their jobs"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn backfill_schedule(
    State(app): State<App>,
    ServiceCaller(caller): ServiceCaller,
    PathParam(id): PathParam,
    JsonBody(request): JsonBody<BackfillRequest>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.backfill_schedule(&caller, &id, request).await?))
}

/// Pause a schedule: it does not fire until it is resumed.
#[utoipa::path(
    post, path = path::PAUSE, tag = "admin", request_body = ScheduleOrder, params(("schedule" = String, Path, description = "an id")),
    responses(
        (status = 200, body = ScheduleAnswer, description = "the schedule, paused"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn pause_schedule(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    PathParam(id): PathParam,
    JsonBody(request): JsonBody<ScheduleOrder>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.pause_schedule(&caller, &id, request).await?))
}

/// Resume a schedule. Due times that passed meanwhile are skipped.
#[utoipa::path(
    post, path = path::RESUME, tag = "admin", request_body = ScheduleOrder, params(("schedule" = String, Path, description = "an id")),
    responses(
        (status = 200, body = ScheduleAnswer, description = "the schedule, resumed"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn resume_schedule(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    PathParam(id): PathParam,
    JsonBody(request): JsonBody<ScheduleOrder>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.resume_schedule(&caller, &id, request).await?))
}
