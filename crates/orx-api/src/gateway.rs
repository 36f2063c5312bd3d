//! The server's side of `direct` over HTTP: the worker gateway, and what nodes publish to each other.
//!
//! A worker in any language needs four routes: it registers, sends heartbeats, reads its inbox and
//! publishes events. A node serves them whichever transport its cluster uses.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use orx_control::{Scope, WorkerIdentity};
use orx_model::message::{HeartbeatAnswer, WorkerHeartbeat, WorkerRegistration};
use orx_model::ndjson::to_lines;
use orx_model::secret::WORKER_SECRET;
use orx_model::validation::{self, Admitted};
use orx_model::wire::{
    self, InboxLine, InboxQuery, NodeChannel, NodePublishRequest, PublishAnswer, PublishRequest,
    Receipt, RefusedEnvelope, V,
};
use orx_model::{Code, Incarnation, Problem, WorkerSecret, limits};
use orx_transport::{
    Acknowledgement, Channel, GatewayError, GatewayServer, PeerServer, Receipts, Shard,
    Subscription, Transport, TransportError,
};
use tokio_util::sync::CancellationToken;

use crate::extract::{Auth, HandlerResult, LargeJson, NodeCaller, QueryParams, WorkerCaller, ok};
use crate::{App, InFlightGuard};

/// How often an idle inbox stream sends a ping.
const PING: Duration = Duration::from_secs(5);
/// Most envelopes in one chunk of an inbox stream.
const BATCH: usize = 64;
/// How long a publish waits for receipts, unless the request asks otherwise.
const WAIT_DEFAULT_MS: u64 = 10_000;
const WAIT_MAX_MS: u64 = 30_000;

/// What workers and nodes in other processes reach through the gateway.
#[derive(Clone)]
pub struct WorkerGatewayState {
    /// Carries the inboxes of workers, and the events that they publish.
    pub transport: Arc<dyn Transport>,
    /// Receives what other nodes publish; `None` if a broker carries between nodes.
    pub peers: Option<Arc<dyn PeerServer>>,
    /// Handles registrations and heartbeats.
    pub coordinator: Arc<dyn GatewayServer>,
}

fn worker_gateway(app: &App) -> Result<&WorkerGatewayState, Problem> {
    app.settings.worker_gateway.as_ref().ok_or_else(|| {
        Problem::new(Code::NotFound, "this server does not accept workers of other processes")
    })
}

fn gateway_problem(error: GatewayError) -> Problem {
    match error {
        GatewayError::Unreachable(why) => Problem::new(Code::Unavailable, why),
        GatewayError::Refused(why) => Problem::new(Code::NotAllowed, why),
        GatewayError::NotThisWorker(why) => Problem::new(Code::NotThisWorker, why),
    }
}

/// The secret that the request presents to prove which worker sent it.
fn presented_secret(headers: &HeaderMap) -> Result<Option<WorkerSecret>, Problem> {
    let Some(header) = headers.get(WORKER_SECRET) else { return Ok(None) };
    // The error does not repeat the value.
    let secret = header.to_str().ok().and_then(WorkerSecret::parse).ok_or_else(|| {
        let detail = format!("the header `{WORKER_SECRET}` is not a secret of a worker");
        Problem::new(Code::BadRequest, detail)
            .hint("send the `secret` of the answer to the registration unchanged")
    })?;
    Ok(Some(secret))
}

/// Identifies the worker that sent the request.
async fn identify(
    app: &App,
    headers: &HeaderMap,
    worker: Incarnation,
) -> Result<WorkerIdentity, Problem> {
    app.panel.identify_worker(worker, presented_secret(headers)?.as_ref()).await
}

/// Register a worker with its capabilities.
///
/// The answer for a new incarnation contains its `secret`, which every later call of this worker sends in
/// `orx-worker-secret`. With the secret, a registration is safe to repeat. If the answer is lost, so is
/// the secret: the worker registers as a new incarnation. Jobs are dispatched after the first heartbeat.
#[utoipa::path(
    post, path = wire::path::WORKER_REGISTER, tag = "workers", request_body = WorkerRegistration,
    params(("orx-worker-secret" = Option<WorkerSecret>, Header,
            description = "the worker's secret, if it has one")),
    responses(
        (status = 200, body = HeartbeatAnswer, description = "registered"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
pub(crate) async fn register(
    State(app): State<App>,
    _: WorkerCaller,
    headers: HeaderMap,
    LargeJson(mut registration): LargeJson<WorkerRegistration>,
) -> HandlerResult<Response> {
    validation::fit_registration(&mut registration)
        .map_err(|why| Problem::new(Code::BadRequest, why))?;
    let coordinator = &worker_gateway(&app)?.coordinator;
    let (new, hash) = match identify(&app, &headers, registration.incarnation).await? {
        WorkerIdentity::Known(hash) | WorkerIdentity::Unregistered(Some(hash)) => (None, hash),
        WorkerIdentity::Unregistered(None) => {
            let (secret, hash) = app.panel.new_worker_secret();
            (Some(secret), hash)
        }
    };
    let mut answer = coordinator.register(registration, hash).await.map_err(gateway_problem)?;
    answer.secret = new;
    Ok(ok(&answer))
}

/// Renew a worker's lease and report the executions that it holds. The answer lists what to stop, to
/// cancel and to report again; `register` asks the worker to register first.
#[utoipa::path(
    post, path = wire::path::WORKER_HEARTBEAT, tag = "workers", request_body = WorkerHeartbeat,
    params(("orx-worker-secret" = WorkerSecret, Header, description = "the worker's secret")),
    responses(
        (status = 200, body = HeartbeatAnswer, description = "what the worker should do"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
pub(crate) async fn heartbeat(
    State(app): State<App>,
    _: WorkerCaller,
    headers: HeaderMap,
    LargeJson(heartbeat): LargeJson<WorkerHeartbeat>,
) -> HandlerResult<Response> {
    let coordinator = &worker_gateway(&app)?.coordinator;
    let answer = match identify(&app, &headers, heartbeat.incarnation).await? {
        WorkerIdentity::Known(secret) | WorkerIdentity::Unregistered(Some(secret)) => {
            coordinator.heartbeat(heartbeat, secret).await.map_err(gateway_problem)?
        }
        // It may have registered at a coordinator without secrets; a new registration gives it one.
        WorkerIdentity::Unregistered(None) => HeartbeatAnswer {
            register: true,
            lease_ms: app.panel.lease_ms(),
            now: (app.settings.now)(),
            ..HeartbeatAnswer::default()
        },
    };
    Ok(ok(&answer))
}

/// Publish a worker's events: starts, progress, logs, outcomes. The answer has a receipt for each
/// envelope; an envelope that was neither recorded nor taken must be sent again. Safe to repeat. All
/// envelopes are `from` the worker whose secret is sent. Events of an attempt are recorded only if the
/// attempt was dispatched to that worker.
#[utoipa::path(
    post, path = wire::path::WORKER_PUBLISH, tag = "workers", request_body = PublishRequest,
    params(("orx-worker-secret" = WorkerSecret, Header, description = "the worker's secret")),
    responses(
        (status = 200, body = PublishAnswer, description = "a receipt for each envelope"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
pub(crate) async fn publish(
    State(app): State<App>,
    _: WorkerCaller,
    headers: HeaderMap,
    LargeJson(request): LargeJson<PublishRequest>,
) -> HandlerResult<Response> {
    let transport = &worker_gateway(&app)?.transport;
    bounded(request.envelopes.len())?;
    if let Some(first) = request.envelopes.first() {
        let from = first.from;
        if request.envelopes.iter().any(|envelope| envelope.from != from) {
            let detail =
                "the envelopes are `from` several workers: a request may contain those of one";
            return Err(Problem::new(Code::BadRequest, detail).into());
        }
        identify(&app, &headers, from).await?.known()?;
    }
    let wait = Duration::from_millis(request.wait_ms.unwrap_or(WAIT_DEFAULT_MS).min(WAIT_MAX_MS));
    let mut receipts = Vec::with_capacity(request.envelopes.len());
    let mut refused: Vec<RefusedEnvelope> = Vec::new();
    // Consecutive envelopes of one shard are published together, in order.
    let (mut waiting, mut indexes) = (Receipts::default(), Vec::new());
    let mut run: Vec<orx_model::message::Envelope> = Vec::new();
    let mut run_shard: Option<Shard> = None;
    let mut full = false;
    let mut envelopes = request.envelopes.into_iter();
    loop {
        let next =
            envelopes.next().map(|envelope| validation::admit(envelope, (app.settings.now)()));
        let shard = next.as_ref().map(|next| match next {
            Admitted::Taken(envelope) => shard_of(&envelope.body),
            Admitted::Unknown | Admitted::Refused(_) => None,
        });
        let ends = shard.is_none_or(|shard| shard != run_shard) || shard == Some(None);
        if ends && let (Some(shard), false) = (run_shard, run.is_empty()) {
            let count = run.len();
            let published = if full {
                None
            } else {
                let events = std::mem::take(&mut run);
                transport.publish_for_receipts(Channel::Events(shard), events).await.ok()
            };
            run.clear();
            match published {
                Some(pending) => {
                    indexes.extend(receipts.len()..receipts.len() + count);
                    receipts.extend(std::iter::repeat_n(Receipt::Taken, count));
                    waiting.append(pending);
                }
                None => {
                    // Later envelopes must not overtake these.
                    full = true;
                    receipts.extend(std::iter::repeat_n(Receipt::TryAgain, count));
                }
            }
        }
        let (Some(next), Some(shard)) = (next, shard) else { break };
        run_shard = shard;
        match next {
            Admitted::Taken(envelope) if shard.is_some() => run.push(envelope),
            Admitted::Refused(why) => {
                tracing::warn!(why, "rejected an envelope of a worker");
                let problem = Problem::new(Code::BadRequest, why);
                refused.push(RefusedEnvelope { place: receipts.len(), problem });
                receipts.push(Receipt::Refused);
            }
            Admitted::Taken(_) | Admitted::Unknown => {
                tracing::warn!("ignored an envelope of an unknown type, or not for a coordinator");
                receipts.push(Receipt::NotForUs);
            }
        }
    }
    if !wait.is_zero() {
        for (index, receipt) in indexes.into_iter().zip(waiting.within(wait).await) {
            receipts[index] = receipt;
        }
    }
    Ok(ok(&PublishAnswer { v: V, receipts, refused }))
}

fn bounded(envelopes: usize) -> Result<(), Problem> {
    let most = limits::PUBLISH_ENVELOPES;
    if envelopes > most {
        let detail = format!("at most {most} envelopes at once, found {envelopes}");
        return Err(Problem::new(Code::TooLarge, detail));
    }
    Ok(())
}

/// `None` for a message that no worker publishes.
fn shard_of(body: &orx_model::message::Body) -> Option<Shard> {
    use orx_model::message::{Body, Message};
    let Body::Known(message) = body else { return None };
    let job = match message {
        Message::JobStatus { started } => started.first()?.job,
        Message::JobProgress { progress } => progress.first()?.job,
        Message::JobLog { chunks } => chunks.first()?.job,
        Message::JobResult { outcomes } => outcomes.first()?.job,
        Message::JobDispatch { .. }
        | Message::JobCancel { .. }
        | Message::JobResultAck { .. }
        | Message::Heartbeat {}
        | Message::Notification(_) => return None,
    };
    Some(Shard::of(job))
}

/// Read a worker's inbox, as NDJSON, until the connection closes. A second reader takes over.
#[utoipa::path(
    get, path = wire::path::WORKER_INBOX, tag = "workers",
    params(InboxQuery, ("orx-worker-secret" = WorkerSecret, Header,
                        description = "the worker's secret")),
    responses(
        (status = 200, body = InboxLine, content_type = "application/x-ndjson", description = "a line for each envelope, and pings"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
pub(crate) async fn inbox(
    State(app): State<App>,
    Auth(caller): Auth,
    headers: HeaderMap,
    QueryParams(query): QueryParams<InboxQuery>,
) -> HandlerResult<Response> {
    caller.need(Scope::Worker)?;
    let worker = query.worker.ok_or_else(|| {
        Problem::new(Code::BadRequest, "`worker` must name the incarnation whose inbox is read")
    })?;
    identify(&app, &headers, worker).await?.known()?;
    let in_flight = app.settings.tracker.begin();
    let subscription = worker_gateway(&app)?
        .transport
        .subscribe(Channel::Inbox(worker))
        .await
        .map_err(|error| Problem::new(Code::Unavailable, error.to_string()))?;
    let closing = app.settings.closing.clone();
    let stream = InboxStream {
        subscription,
        acknowledging: None,
        closing,
        _in_flight: in_flight,
        over: false,
    };
    let lines = lines(stream);
    let kind = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((StatusCode::OK, kind, Body::from_stream(lines)).into_response())
}

struct InboxStream {
    subscription: Box<dyn Subscription>,
    /// The acknowledgement of the last batch, sent once the connection asks for the next.
    acknowledging: Option<Acknowledgement>,
    /// Cancelled when the server ends: the stream ends, and its reader goes to another node.
    closing: CancellationToken,
    _in_flight: InFlightGuard,
    over: bool,
}

fn lines(stream: InboxStream) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    futures_util::stream::unfold(stream, |mut stream| async move {
        if let Some(acknowledging) = stream.acknowledging.take()
            && let Err(error) = acknowledging.await
        {
            tracing::debug!(%error, "not acknowledged: the envelopes may come again");
        }
        if stream.over {
            return None;
        }
        let batch = tokio::select! {
            biased;
            () = stream.closing.cancelled() => return None,
            taken = stream.subscription.next(BATCH) => match taken {
                Ok(deliveries) => {
                    let (envelopes, acknowledging) = deliveries.accept();
                    stream.acknowledging = Some(acknowledging);
                    let line = |envelope| InboxLine::Envelope(Box::new(envelope));
                    envelopes.into_iter().map(line).collect()
                }
                Err(_) => {
                    stream.over = true;
                    vec![InboxLine::TakenOver {}]
                }
            },
            () = tokio::time::sleep(PING) => vec![InboxLine::Ping {}],
        };
        Some((Ok(Bytes::from(to_lines(&batch))), stream))
    })
}

/// Publish to the readers at this node, from another node.
#[utoipa::path(
    post, path = wire::path::NODE_PUBLISH, tag = "nodes", request_body = NodePublishRequest,
    responses(
        (status = 200, body = PublishAnswer, description = "a receipt for each envelope"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
pub(crate) async fn node_publish(
    State(app): State<App>,
    _: NodeCaller,
    LargeJson(request): LargeJson<NodePublishRequest>,
) -> HandlerResult<Response> {
    let peers = worker_gateway(&app)?.peers.as_ref().ok_or_else(|| {
        Problem::new(Code::NotFound, "nodes do not publish to this server: a broker carries")
    })?;
    bounded(request.envelopes.len())?;
    let channel = match request.channel {
        NodeChannel::Inbox(of) => Channel::Inbox(of),
        NodeChannel::Broadcast => Channel::Broadcast,
    };
    let receipts = vec![Receipt::Taken; request.envelopes.len()];
    match peers.publish_here(channel, request.envelopes).await {
        Ok(()) => Ok(ok(&PublishAnswer { v: V, receipts, refused: Vec::new() })),
        Err(error @ TransportError::NoReader { .. }) => {
            Err(Problem::new(Code::NotFound, error.to_string()).into())
        }
        Err(error) => Err(Problem::new(Code::Unavailable, error.to_string()).into()),
    }
}
