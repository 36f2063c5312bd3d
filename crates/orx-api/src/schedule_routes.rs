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
use crate::extract::{Admin, Answer, Auth, Json, Params, Part, Service, json, ok};

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

/// Make a schedule. Answered when it is on disk.
#[utoipa::path(
    post, path = path::SCHEDULES, tag = "schedules", request_body = ScheduleSpec,
    responses(
        (status = 201, body = ScheduleChangeAnswer, description = "made"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn add_schedule(
    State(app): State<App>,
    Service(caller): Service,
    Json(request): Json<ScheduleSpec>,
) -> Answer<Response> {
    let made = app.panel.add_schedule(&caller, request).await?;
    Ok(json(StatusCode::CREATED, &made))
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
    Params(query): Params<SchedulesQuery>,
) -> Answer<Response> {
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
    Part(id): Part,
) -> Answer<Response> {
    Ok(ok(&app.panel.schedule(&caller, &id).await?))
}

/// Make a schedule, or change it into this one.
#[utoipa::path(
    put, path = path::SCHEDULE, tag = "schedules", request_body = PutScheduleRequest, params(("schedule" = String, Path, description = "an id")),
    responses(
        (status = 200, body = ScheduleChangeAnswer, description = "changed, or as it was"),
        (status = 201, body = ScheduleChangeAnswer, description = "it was made"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn put_schedule(
    State(app): State<App>,
    Service(caller): Service,
    Part(id): Part,
    Json(request): Json<PutScheduleRequest>,
) -> Answer<Response> {
    let answer = app.panel.put_schedule(&caller, &id, request).await?;
    let made = answer.change == ScheduleChanged::Created && !answer.dry_run;
    Ok(json(if made { StatusCode::CREATED } else { StatusCode::OK }, &answer))
}

/// Change what is named of a schedule.
#[utoipa::path(
    patch, path = path::SCHEDULE, tag = "schedules", request_body = SetScheduleRequest, params(("schedule" = String, Path, description = "an id")),
    responses(
        (status = 200, body = ScheduleChangeAnswer, description = "changed, or as it was"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn set_schedule(
    State(app): State<App>,
    Service(caller): Service,
    Part(id): Part,
    Json(request): Json<SetScheduleRequest>,
) -> Answer<Response> {
    Ok(ok(&app.panel.set_schedule(&caller, &id, request).await?))
}

/// Remove a schedule with its ledger; the jobs that it made stay.
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
    Part(id): Part,
    Params(query): Params<RemoveScheduleQuery>,
) -> Answer<Response> {
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
    Part(id): Part,
    Params(query): Params<SlotsQuery>,
) -> Answer<Response> {
    Ok(ok(&app.panel.schedule_slots(&caller, &id, &query).await?))
}

/// Run a schedule now, beside its due times.
#[utoipa::path(
    post, path = path::TRIGGER, tag = "schedules", request_body = ScheduleOrder, params(("schedule" = String, Path, description = "an id")),
    responses(
        (status = 201, body = TriggerAnswer, description = "the run that was made"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn trigger_schedule(
    State(app): State<App>,
    Service(caller): Service,
    Part(id): Part,
    Json(request): Json<ScheduleOrder>,
) -> Answer<Response> {
    let made = app.panel.trigger_schedule(&caller, &id, request).await?;
    Ok(json(StatusCode::CREATED, &made))
}

/// Run the due times of a stretch that made no job.
#[utoipa::path(
    post, path = path::BACKFILL, tag = "schedules", request_body = BackfillRequest, params(("schedule" = String, Path, description = "an id")),
    responses(
        (status = 200, body = BackfillAnswer, description = "the runs that were made"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn backfill_schedule(
    State(app): State<App>,
    Service(caller): Service,
    Part(id): Part,
    Json(request): Json<BackfillRequest>,
) -> Answer<Response> {
    Ok(ok(&app.panel.backfill_schedule(&caller, &id, request).await?))
}

/// Let a schedule rest: nothing of it fires until it is resumed.
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
    Admin(caller): Admin,
    Part(id): Part,
    Json(request): Json<ScheduleOrder>,
) -> Answer<Response> {
    Ok(ok(&app.panel.pause_schedule(&caller, &id, request).await?))
}

/// Let a schedule go on. What came due meanwhile is skipped.
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
    Admin(caller): Admin,
    Part(id): Part,
    Json(request): Json<ScheduleOrder>,
) -> Answer<Response> {
    Ok(ok(&app.panel.resume_schedule(&caller, &id, request).await?))
}
