//! Routes for live streams: server-sent events over the topics of orx-control.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use orx_control::{Caller, Frame};
use orx_model::Problem;
use orx_model::wire::Overview;
use orx_model::wire::live::{
    LAST_EVENT_ID, LiveEvent, LiveEventsQuery, LiveFilteredLogsQuery, LiveJobsQuery, LiveLogsQuery,
    LiveTopic, path,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::{Auth, HandlerResult, PathParam, QueryParams, ok};

/// Keeps proxies from holding events back.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(overview))
        .routes(routes!(live_overview))
        .routes(routes!(live_jobs))
        .routes(routes!(live_job))
        .routes(routes!(live_logs))
        .routes(routes!(live_filtered_logs))
        .routes(routes!(live_workers))
        .routes(routes!(live_queues))
        .routes(routes!(live_schedules))
        .routes(routes!(live_dead_letters))
        .routes(routes!(live_cluster))
        .routes(routes!(live_events))
}

/// Answers with the events of a topic, until the client leaves or the server ends.
async fn stream(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    topic: LiveTopic,
) -> HandlerResult<Response> {
    let permit = app.access.admit_watcher()?;
    let in_flight = app.settings.tracker.begin();
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let frames = app.panel.live(caller, &topic, last).await?;
    let closing = app.settings.closing.clone();
    let frames = frames.take_until(Box::pin(async move { closing.cancelled().await }));
    let events = frames.map(move |frame| {
        // The stream owns both until its end.
        let _ = (&in_flight, &permit);
        Ok::<_, std::convert::Infallible>(server_sent(&frame))
    });
    let head =
        [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache"), (UNBUFFERED, "no")];
    Ok((StatusCode::OK, head, Body::from_stream(events)).into_response())
}

fn server_sent(frame: &Frame) -> String {
    let Frame { id, name, data } = frame;
    let id = id.as_ref().map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}event: {name}\ndata: {data}\n\n")
}

/// The overview of the cluster: numbers for a dashboard, and what needs a person.
#[utoipa::path(
    get, path = orx_model::wire::path::OVERVIEW, tag = "admin",
    responses(
        (status = 200, body = Overview, description = "the overview"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn overview(State(app): State<App>, Auth(caller): Auth) -> HandlerResult<Response> {
    Ok(ok(&app.panel.overview(&caller).await?))
}

/// Watch the overview of the cluster.
#[utoipa::path(
    get, path = path::OVERVIEW, tag = "live",
    params(("last-event-id" = Option<String>, Header, description = "the id of the last event that was received")),
    responses(
        (status = 200, body = LiveEvent, content_type = "text/event-stream", description = "server-sent events: the name of each is a key of the schema, its data the value"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn live_overview(
    State(app): State<App>,
    Auth(caller): Auth,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    stream(&app, &caller, &headers, LiveTopic::Overview).await
}

/// Watch the jobs that match a filter.
#[utoipa::path(
    get, path = path::JOBS, tag = "live",
    params(LiveJobsQuery, ("last-event-id" = Option<String>, Header, description = "the id of the last event that was received")),
    responses(
        (status = 200, body = LiveEvent, content_type = "text/event-stream", description = "server-sent events: the name of each is a key of the schema, its data the value"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn live_jobs(
    State(app): State<App>,
    Auth(caller): Auth,
    headers: HeaderMap,
    QueryParams(query): QueryParams<LiveJobsQuery>,
) -> HandlerResult<Response> {
    stream(&app, &caller, &headers, LiveTopic::Jobs(query)).await
}

/// Watch one job: its status, attempts and progress.
#[utoipa::path(
    get, path = path::JOB, tag = "live",
    params(("job" = String, Path, description = "an id, an attempt of it such as `1423.2`, or `key:` and an idempotency key"),
           ("last-event-id" = Option<String>, Header, description = "the id of the last event that was received")),
    responses(
        (status = 200, body = LiveEvent, content_type = "text/event-stream", description = "server-sent events: the name of each is a key of the schema, its data the value"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn live_job(
    State(app): State<App>,
    Auth(caller): Auth,
    headers: HeaderMap,
    PathParam(job): PathParam,
) -> HandlerResult<Response> {
    stream(&app, &caller, &headers, LiveTopic::Job(job)).await
}

/// Watch the output of one job. The ids are positions in its log, which every node knows.
#[utoipa::path(
    get, path = path::JOB_LOGS, tag = "live",
    params(("job" = String, Path, description = "an id, an attempt of it such as `1423.2`, or `key:` and an idempotency key"),
           LiveLogsQuery,
           ("last-event-id" = Option<String>, Header, description = "the id of the last event that was received")),
    responses(
        (status = 200, body = LiveEvent, content_type = "text/event-stream", description = "server-sent events: the name of each is a key of the schema, its data the value"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn live_logs(
    State(app): State<App>,
    Auth(caller): Auth,
    headers: HeaderMap,
    PathParam(job): PathParam,
    QueryParams(query): QueryParams<LiveLogsQuery>,
) -> HandlerResult<Response> {
    stream(&app, &caller, &headers, LiveTopic::Logs(job, query)).await
}

/// Watch the output of all jobs that match a filter: the end of the newest logs, then what is printed. The
/// ids are positions in the logs, which every node knows.
#[utoipa::path(
    get, path = path::LOGS, tag = "live",
    params(LiveFilteredLogsQuery, ("last-event-id" = Option<String>, Header, description = "the id of the last event that was received")),
    responses(
        (status = 200, body = LiveEvent, content_type = "text/event-stream", description = "server-sent events: the name of each is a key of the schema, its data the value"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn live_filtered_logs(
    State(app): State<App>,
    Auth(caller): Auth,
    headers: HeaderMap,
    QueryParams(query): QueryParams<LiveFilteredLogsQuery>,
) -> HandlerResult<Response> {
    stream(&app, &caller, &headers, LiveTopic::FilteredLogs(query)).await
}

/// Watch workers.
#[utoipa::path(
    get, path = path::WORKERS, tag = "live",
    params(("last-event-id" = Option<String>, Header, description = "the id of the last event that was received")),
    responses(
        (status = 200, body = LiveEvent, content_type = "text/event-stream", description = "server-sent events: the name of each is a key of the schema, its data the value"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn live_workers(
    State(app): State<App>,
    Auth(caller): Auth,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    stream(&app, &caller, &headers, LiveTopic::Workers).await
}

/// Watch queues.
#[utoipa::path(
    get, path = path::QUEUES, tag = "live",
    params(("last-event-id" = Option<String>, Header, description = "the id of the last event that was received")),
    responses(
        (status = 200, body = LiveEvent, content_type = "text/event-stream", description = "server-sent events: the name of each is a key of the schema, its data the value"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn live_queues(
    State(app): State<App>,
    Auth(caller): Auth,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    stream(&app, &caller, &headers, LiveTopic::Queues).await
}

/// Watch schedules.
#[utoipa::path(
    get, path = path::SCHEDULES, tag = "live",
    params(("last-event-id" = Option<String>, Header, description = "the id of the last event that was received")),
    responses(
        (status = 200, body = LiveEvent, content_type = "text/event-stream", description = "server-sent events: the name of each is a key of the schema, its data the value"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn live_schedules(
    State(app): State<App>,
    Auth(caller): Auth,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    stream(&app, &caller, &headers, LiveTopic::Schedules).await
}

/// Watch the number of dead letters.
#[utoipa::path(
    get, path = path::DEAD_LETTERS, tag = "live",
    params(("last-event-id" = Option<String>, Header, description = "the id of the last event that was received")),
    responses(
        (status = 200, body = LiveEvent, content_type = "text/event-stream", description = "server-sent events: the name of each is a key of the schema, its data the value"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn live_dead_letters(
    State(app): State<App>,
    Auth(caller): Auth,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    stream(&app, &caller, &headers, LiveTopic::DeadLetters).await
}

/// Watch the state of the cluster.
#[utoipa::path(
    get, path = path::CLUSTER, tag = "live",
    params(("last-event-id" = Option<String>, Header, description = "the id of the last event that was received")),
    responses(
        (status = 200, body = LiveEvent, content_type = "text/event-stream", description = "server-sent events: the name of each is a key of the schema, its data the value"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn live_cluster(
    State(app): State<App>,
    Auth(caller): Auth,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    stream(&app, &caller, &headers, LiveTopic::Cluster).await
}

/// Watch every change, in order.
#[utoipa::path(
    get, path = path::EVENTS, tag = "live",
    params(LiveEventsQuery, ("last-event-id" = Option<String>, Header, description = "the id of the last event that was received")),
    responses(
        (status = 200, body = LiveEvent, content_type = "text/event-stream", description = "server-sent events: the name of each is a key of the schema, its data the value"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn live_events(
    State(app): State<App>,
    Auth(caller): Auth,
    headers: HeaderMap,
    QueryParams(query): QueryParams<LiveEventsQuery>,
) -> HandlerResult<Response> {
    stream(&app, &caller, &headers, LiveTopic::Events(query)).await
}
