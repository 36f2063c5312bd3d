//! The routes, with their descriptions.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, Stream, StreamExt};
use orx_model::ndjson::{LineBuffer, to_lines};
use orx_model::wire::{
    self, BatchLine, ChangeAnswer, ChangeRequest, ClusterStatus, DeadLetterPage, EnqueueAnswer,
    EnqueueRequest, JobDetail, JobPage, ListQuery, LogEvent, LogsQuery, QueueList, QueueView,
    ResultAnswer, WaitAnswer, WaitQuery, WorkerDetail, WorkerList, WorkersOrderAnswer,
    WorkersOrderRequest,
};
use orx_model::{Code, Problem, limits};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::extract::{
    AdminCaller, Auth, HandlerResult, JsonBody, PathParam, ProblemResponse, QueryParams,
    ServiceCaller, json, need_type, ok, parse, take_key,
};
use crate::middleware::around;
use crate::{App, gateway};

/// How long a followed log continues when the server stops.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Most chunks of a batch's answer that wait for a slow reader.
const BATCH_CHUNKS: usize = 4;
/// Lines of a batch that are enqueued in one transaction, and how many transactions are under way at once: the
/// next lines are checked while the store writes the ones before.
const BATCH_PART: usize = 250;
const BATCH_PARTS: usize = 4;

fn documented() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(crate::document::start())
        .routes(routes!(enqueue, list))
        .routes(routes!(enqueue_batch))
        .routes(routes!(cancel))
        .routes(routes!(get))
        .routes(routes!(wait))
        .routes(routes!(logs))
        .routes(routes!(result))
        .routes(routes!(retry))
        .routes(routes!(queues))
        .routes(routes!(queue))
        .routes(routes!(dead_letters))
        .routes(routes!(retry_dead))
        .routes(routes!(delete_dead))
        .routes(routes!(workers))
        .routes(routes!(worker))
        .routes(routes!(order_workers))
        .routes(routes!(cluster))
        .routes(routes!(gateway::register))
        .routes(routes!(gateway::heartbeat))
        .routes(routes!(gateway::inbox))
        .routes(routes!(gateway::publish))
        .routes(routes!(gateway::node_publish))
        .merge(crate::server_routes::routes())
        .merge(crate::schedule_routes::routes())
        .merge(crate::live_routes::routes())
        .merge(crate::queue_routes::routes())
        .merge(crate::audit_routes::routes())
        .merge(crate::operation_routes::routes())
        .merge(crate::cause_routes::routes())
        .merge(crate::cluster_routes::routes())
        .merge(crate::token_routes::routes())
}

pub(crate) fn router(app: App) -> Router {
    let (router, _) = documented().split_for_parts();
    router
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        // The outermost layer, so that it wraps the fallbacks too.
        .layer(axum::middleware::from_fn_with_state(app.clone(), around))
        .with_state(app)
}

/// The OpenAPI description, as it is served and checked in.
#[must_use]
pub fn openapi_json() -> String {
    let (_, document) = documented().split_for_parts();
    crate::document::finish(document)
}

async fn no_route(request: Request) -> ProblemResponse {
    let path: String = request.uri().path().chars().take(200).collect();
    ProblemResponse(
        Problem::new(Code::NotFound, format!("there is no route `{path}`"))
            .hint("`/openapi.json` describes all of them"),
    )
}

async fn wrong_method(request: Request) -> ProblemResponse {
    let path: String = request.uri().path().chars().take(200).collect();
    let detail = format!("`{path}` does not accept {}", request.method());
    ProblemResponse(Problem::new(Code::MethodNotAllowed, detail))
}

/// Enqueue a job. The answer comes once the job is on disk.
#[utoipa::path(
    post, path = wire::path::JOBS, tag = "jobs", request_body = EnqueueRequest,
    params(("idempotency-key" = Option<String>, Header, description = "as `key` of the body")),
    responses(
        (status = 201, body = EnqueueAnswer, description = "accepted"),
        (status = 200, body = EnqueueAnswer, description = "the key was used before: the job that it made"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn enqueue(
    State(app): State<App>,
    ServiceCaller(caller): ServiceCaller,
    headers: HeaderMap,
    JsonBody(mut request): JsonBody<EnqueueRequest>,
) -> HandlerResult<Response> {
    take_key(&headers, &mut request.key)?;
    let answer = app.panel.enqueue(&caller, request).await?;
    let status = if answer.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &answer))
}

/// Enqueue many jobs. Request and answer are NDJSON: a line of the answer for each line, in order.
#[utoipa::path(
    post, path = wire::path::JOBS_BATCH, tag = "jobs",
    request_body(content = EnqueueRequest, content_type = "application/x-ndjson"),
    responses(
        (status = 200, body = BatchLine, content_type = "application/x-ndjson", description = "a line for each line of the batch"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn enqueue_batch(
    State(app): State<App>,
    ServiceCaller(caller): ServiceCaller,
    request: Request,
) -> HandlerResult<Response> {
    need_type(request.headers(), "application/x-ndjson")?;
    let mut body = request.into_body().into_data_stream();
    let (to, answers) = tokio::sync::mpsc::channel::<Bytes>(BATCH_CHUNKS);
    tokio::spawn(async move {
        let mut reader = BatchReader::default();
        let mut number = 0_u64;
        let mut ended = false;
        let mut parts = FuturesOrdered::new();
        loop {
            // The store gets the parts in their order: polling a new part hands its jobs to the store.
            while parts.len() < BATCH_PARTS
                && let Some(lines) = reader.take(ended)
            {
                let requests: Vec<_> = lines.into_iter().map(|line| parse_line(&line)).collect();
                let first = number + 1;
                number += requests.len() as u64;
                parts.push_back(app.panel.enqueue_batch(&caller, requests, first));
                if let Some(Some(answers)) = parts.next().now_or_never()
                    && to.send(to_lines(&answers).into()).await.is_err()
                {
                    return;
                }
            }
            let too_large = parts.len() < BATCH_PARTS && reader.too_large();
            tokio::select! {
                biased;
                Some(answers) = parts.next() => {
                    if to.send(to_lines(&answers).into()).await.is_err() {
                        return;
                    }
                }
                () = std::future::ready(()), if too_large && parts.is_empty() => {
                    let line = BatchLine {
                        line: number + 1,
                        id: None,
                        created: None,
                        error: Some(Problem::new(
                            Code::TooLarge,
                            "a line, or the whole batch, is too large; the rest was not read",
                        )),
                    };
                    // The client may have disconnected.
                    let _ = to.send(to_lines(&[line]).into()).await;
                    return;
                }
                bytes = body.next(), if !ended && !too_large && parts.len() < BATCH_PARTS => {
                    match bytes {
                        Some(Ok(bytes)) => reader.push(&bytes),
                        // The connection was lost: whole lines are enqueued, the rest is not a line.
                        Some(Err(_)) => return parts.for_each(async |_| ()).await,
                        None => ended = true,
                    }
                }
                else => return,
            }
        }
    });
    let stream = tokio_stream(answers).map(Ok::<_, Infallible>);
    let kind = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((StatusCode::OK, kind, Body::from_stream(stream)).into_response())
}

fn tokio_stream(mut from: tokio::sync::mpsc::Receiver<Bytes>) -> impl Stream<Item = Bytes> {
    futures_util::stream::poll_fn(move |context| from.poll_recv(context))
}

fn parse_line(line: &[u8]) -> Result<EnqueueRequest, Problem> {
    if line.len() > limits::BODY_BYTES {
        let most = limits::BODY_BYTES;
        return Err(Problem::new(Code::TooLarge, format!("a line is at most {most} bytes")));
    }
    parse(line)
}

/// Cuts a body into lines: at a time, as many as one transaction takes.
#[derive(Default)]
struct BatchReader {
    lines: LineBuffer,
    read: usize,
}

impl BatchReader {
    fn push(&mut self, bytes: &[u8]) {
        self.read += bytes.len();
        self.lines.push(bytes);
    }

    fn too_large(&self) -> bool {
        self.read > limits::BATCH_BODY_BYTES || self.lines.waiting_bytes() > 2 * limits::BODY_BYTES
    }

    /// Whole lines that have come; at the end of the body the last one too, newline or not.
    fn take(&mut self, ended: bool) -> Option<Vec<Vec<u8>>> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < BATCH_PART && bytes < limits::BATCH_BYTES {
            let line = match self.lines.next_line() {
                None if ended => self.lines.take_unfinished(),
                line => line,
            };
            let Some(line) = line else { break };
            bytes += line.len() + 1;
            if !line.iter().all(u8::is_ascii_whitespace) {
                taken.push(line);
            }
        }
        (!taken.is_empty()).then_some(taken)
    }
}

/// Jobs, newest first, by pages.
#[utoipa::path(
    get, path = wire::path::JOBS, tag = "jobs", params(ListQuery),
    responses(
        (status = 200, body = JobPage, description = "a page of jobs"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    QueryParams(query): QueryParams<ListQuery>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.list(&caller, &query).await?))
}

/// Cancel jobs: those that have not started at once, running ones through their workers.
#[utoipa::path(
    post, path = wire::path::JOBS_CANCEL, tag = "jobs", request_body = ChangeRequest,
    responses(
        (status = 200, body = ChangeAnswer, description = "what changed, for each job"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn cancel(
    State(app): State<App>,
    ServiceCaller(caller): ServiceCaller,
    JsonBody(request): JsonBody<ChangeRequest>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.cancel(&caller, request).await?))
}

/// One job with its attempts.
#[utoipa::path(
    get, path = wire::path::JOB, tag = "jobs",
    params(("job" = String, Path, description = "an id, an attempt of it such as `1423.2`, or `key:` and an idempotency key")),
    responses(
        (status = 200, body = JobDetail, description = "the job with its attempts"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn get(
    State(app): State<App>,
    Auth(caller): Auth,
    PathParam(job): PathParam,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.get(&caller, &job).await?))
}

/// Wait until a job is final or in a status.
#[utoipa::path(
    get, path = wire::path::JOB_WAIT, tag = "jobs",
    params(("job" = String, Path, description = "an id, an attempt of it such as `1423.2`, or `key:` and an idempotency key"), WaitQuery),
    responses(
        (status = 200, body = WaitAnswer, description = "the job, and whether it is as awaited"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn wait(
    State(app): State<App>,
    Auth(caller): Auth,
    PathParam(job): PathParam,
    QueryParams(query): QueryParams<WaitQuery>,
) -> HandlerResult<Response> {
    let _permit = app.access.admit_watcher()?;
    Ok(ok(&app.panel.wait(&caller, &job, &query).await?))
}

/// Read the log of a job as NDJSON; with `follow` until the job is final.
#[utoipa::path(
    get, path = wire::path::JOB_LOGS, tag = "jobs",
    params(("job" = String, Path, description = "an id, an attempt of it such as `1423.2`, or `key:` and an idempotency key"), LogsQuery),
    responses(
        (status = 200, body = LogEvent, content_type = "application/x-ndjson", description = "a line for each event"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn logs(
    State(app): State<App>,
    Auth(caller): Auth,
    PathParam(job): PathParam,
    QueryParams(query): QueryParams<LogsQuery>,
) -> HandlerResult<Response> {
    let permit = app.access.admit_watcher()?;
    let in_flight = app.settings.tracker.begin();
    let events = app.panel.logs(&caller, &job, &query).await?;
    // When the server stops, the stream continues briefly: a job that ends with the server is seen to
    // end. Afterwards the reader continues from its cursor, here or at another node.
    let closing = app.settings.closing.clone();
    let cut = async move {
        closing.cancelled().await;
        tokio::time::sleep(LAST_LINES).await;
    };
    let events = events.take_until(Box::pin(cut));
    let lines = events.map(move |event| {
        // The stream owns both until its end.
        let _ = (&in_flight, &permit);
        // An error ends the stream without `end`: the reader tries again.
        event.map(|event| to_lines(&[event])).map_err(std::io::Error::other)
    });
    let kind = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((StatusCode::OK, kind, Body::from_stream(lines)).into_response())
}

/// The result of a job.
#[utoipa::path(
    get, path = wire::path::JOB_RESULT, tag = "jobs",
    params(("job" = String, Path, description = "an id, an attempt of it such as `1423.2`, or `key:` and an idempotency key")),
    responses(
        (status = 200, body = ResultAnswer, description = "the job's result"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn result(
    State(app): State<App>,
    Auth(caller): Auth,
    PathParam(job): PathParam,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.result(&caller, &job).await?))
}

/// Retry final jobs.
#[utoipa::path(
    post, path = wire::path::JOBS_RETRY, tag = "admin", request_body = ChangeRequest,
    responses(
        (status = 200, body = ChangeAnswer, description = "what changed, for each job"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn retry(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    JsonBody(request): JsonBody<ChangeRequest>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.retry(&caller, request).await?))
}

/// Every queue with its counts.
#[utoipa::path(
    get, path = wire::path::QUEUES, tag = "admin",
    responses(
        (status = 200, body = QueueList, description = "every queue"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn queues(State(app): State<App>, Auth(caller): Auth) -> HandlerResult<Response> {
    Ok(ok(&app.panel.queues(&caller).await?))
}

/// One queue.
#[utoipa::path(
    get, path = wire::path::QUEUE, tag = "admin",
    params(("queue" = String, Path)),
    responses(
        (status = 200, body = QueueView, description = "the queue"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn queue(
    State(app): State<App>,
    Auth(caller): Auth,
    PathParam(name): PathParam,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.queue(&caller, &name).await?))
}

/// Dead letters, newest first, by pages.
#[utoipa::path(
    get, path = wire::path::DEAD_LETTERS, tag = "admin", params(ListQuery),
    responses(
        (status = 200, body = DeadLetterPage, description = "a page of dead letters"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn dead_letters(
    State(app): State<App>,
    Auth(caller): Auth,
    QueryParams(query): QueryParams<ListQuery>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.dead_letters(&caller, &query).await?))
}

/// Retry the jobs of dead letters.
#[utoipa::path(
    post, path = wire::path::DEAD_LETTERS_RETRY, tag = "admin", request_body = ChangeRequest,
    responses(
        (status = 200, body = ChangeAnswer, description = "what changed, for each job"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn retry_dead(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    JsonBody(request): JsonBody<ChangeRequest>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.retry_dead(&caller, request).await?))
}

/// Delete dead letters. Their jobs stay in the history.
#[utoipa::path(
    post, path = wire::path::DEAD_LETTERS_DELETE, tag = "admin", request_body = ChangeRequest,
    responses(
        (status = 200, body = ChangeAnswer, description = "what changed, for each dead letter"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn delete_dead(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    JsonBody(request): JsonBody<ChangeRequest>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.delete_dead(&caller, request).await?))
}

/// Every worker.
#[utoipa::path(
    get, path = wire::path::WORKERS, tag = "admin",
    responses(
        (status = 200, body = WorkerList, description = "every worker"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn workers(State(app): State<App>, Auth(caller): Auth) -> HandlerResult<Response> {
    Ok(ok(&app.panel.workers(&caller).await?))
}

/// One worker with its attempts, by its name or the first digits of its incarnation.
#[utoipa::path(
    get, path = wire::path::WORKER, tag = "admin",
    params(("worker" = String, Path)),
    responses(
        (status = 200, body = WorkerDetail, description = "the worker with its attempts"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn worker(
    State(app): State<App>,
    Auth(caller): Auth,
    PathParam(name): PathParam,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.worker(&caller, &name).await?))
}

/// Drain, resume or fence workers.
#[utoipa::path(
    post, path = wire::path::WORKERS_ORDER, tag = "admin", request_body = WorkersOrderRequest,
    responses(
        (status = 200, body = WorkersOrderAnswer, description = "for each worker, whether it got the directive"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn order_workers(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    JsonBody(request): JsonBody<WorkersOrderRequest>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.order_workers(&caller, request).await?))
}

/// The status of the cluster: counts, nodes, workers, links, and what needs attention.
#[utoipa::path(
    get, path = wire::path::CLUSTER, tag = "admin",
    responses(
        (status = 200, body = ClusterStatus, description = "the status of the cluster"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn cluster(State(app): State<App>, Auth(caller): Auth) -> HandlerResult<Response> {
    Ok(ok(&app.panel.cluster(&caller).await?))
}
