//! The worker gateway, and what nodes tell each other: the server's side of `direct` over HTTP.
//!
//! A worker in any language registers, reads its inbox, publishes what it tells, and sends
//! heartbeats: four routes. A node serves them whichever transport its cluster uses.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use orx_control::{Scope, WorkerIdentity};
use orx_model::gate::{self, Admitted};
use orx_model::message::{HeartbeatAnswer, WorkerHeartbeat, WorkerRegistration};
use orx_model::secret::WORKER_SECRET;
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

use crate::extract::{Answer, Auth, Large, Node, Params, Worker, ok};
use crate::routes::ndjson;
use crate::{App, InFlightGuard};

/// A quiet link says so often that it lives.
const PING: Duration = Duration::from_secs(5);
/// Envelopes of one piece of a stream.
const PIECE: usize = 64;
const WAIT_DEFAULT_MS: u64 = 10_000;
const WAIT_MAX_MS: u64 = 30_000;

/// What workers and nodes reach by HTTP.
#[derive(Clone)]
pub struct WorkerGatewayState {
    /// Where inboxes are read, and where what workers tell is published.
    pub transport: Arc<dyn Transport>,
    /// `None`: what carries between nodes is not this server.
    pub peers: Option<Arc<dyn PeerServer>>,
    /// Who is told of registrations and heartbeats.
    pub coordinator: Arc<dyn GatewayServer>,
}

fn worker_gateway(app: &App) -> Result<&WorkerGatewayState, Problem> {
    app.settings.worker_gateway.as_ref().ok_or_else(|| {
        Problem::new(Code::NotFound, "this server takes no workers from other processes")
    })
}

fn refused(error: GatewayError) -> Problem {
    match error {
        GatewayError::Unreachable(why) => Problem::new(Code::Unavailable, why),
        GatewayError::Refused(why) => Problem::new(Code::NotAllowed, why),
        GatewayError::NotThisWorker(why) => Problem::new(Code::NotThisWorker, why),
    }
}

/// What the request shows to prove which worker it is of.
fn shown(headers: &HeaderMap) -> Result<Option<WorkerSecret>, Problem> {
    let Some(shown) = headers.get(WORKER_SECRET) else { return Ok(None) };
    // Nothing of it is repeated.
    let secret = shown.to_str().ok().and_then(WorkerSecret::parse).ok_or_else(|| {
        let detail = format!("the header `{WORKER_SECRET}` is not a secret of a worker");
        Problem::new(Code::BadRequest, detail)
            .hint("send the `secret` of the answer to the registration as it is")
    })?;
    Ok(Some(secret))
}

/// Who the worker is that the request is of.
async fn identify(
    app: &App,
    headers: &HeaderMap,
    worker: Incarnation,
) -> Result<WorkerIdentity, Problem> {
    app.panel.identify_worker(worker, shown(headers)?.as_ref()).await
}

/// A worker's first word: what it is and what it takes.
///
/// The answer for a new incarnation holds its `secret`, which every later call of this worker shows in
/// `orx-worker-secret`; with it a registration is safe to repeat. Where the answer was lost, the secret
/// is too: the worker registers as another incarnation. Work comes after the first heartbeat.
#[utoipa::path(
    post, path = wire::path::WORKER_REGISTER, tag = "workers", request_body = WorkerRegistration,
    params(("orx-worker-secret" = Option<WorkerSecret>, Header,
            description = "the worker's secret, where it has one")),
    responses(
        (status = 200, body = HeartbeatAnswer, description = "registered"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
pub(crate) async fn register(
    State(app): State<App>,
    _: Worker,
    headers: HeaderMap,
    Large(mut registration): Large<WorkerRegistration>,
) -> Answer<Response> {
    gate::fit_registration(&mut registration).map_err(|why| Problem::new(Code::BadRequest, why))?;
    let coordinator = &worker_gateway(&app)?.coordinator;
    let (new, kept) = match identify(&app, &headers, registration.incarnation).await? {
        WorkerIdentity::Known(kept) | WorkerIdentity::Unregistered(Some(kept)) => (None, kept),
        WorkerIdentity::Unregistered(None) => {
            let (secret, kept) = app.panel.new_worker_secret();
            (Some(secret), kept)
        }
    };
    let mut answer = coordinator.register(registration, kept).await.map_err(refused)?;
    answer.secret = new;
    Ok(ok(&answer))
}

/// A worker lives, and says what it holds. The answer says what to stop, to cancel and to tell again;
/// `register` asks it to register first.
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
    _: Worker,
    headers: HeaderMap,
    Large(heartbeat): Large<WorkerHeartbeat>,
) -> Answer<Response> {
    let coordinator = &worker_gateway(&app)?.coordinator;
    let answer = match identify(&app, &headers, heartbeat.incarnation).await? {
        WorkerIdentity::Known(secret) | WorkerIdentity::Unregistered(Some(secret)) => {
            coordinator.heartbeat(heartbeat, secret).await.map_err(refused)?
        }
        // By a coordinator that knew no secrets, perhaps: it gets one when it registers again.
        WorkerIdentity::Unregistered(None) => HeartbeatAnswer {
            register: true,
            lease_ms: app.panel.lease_ms(),
            now: (app.settings.now)(),
            ..HeartbeatAnswer::default()
        },
    };
    Ok(ok(&answer))
}

/// What a worker tells of its jobs: starts, progress, logs, outcomes. Answered for each envelope;
/// what was not recorded, or taken, is to be sent again. Safe to repeat. All of them are `from` the
/// worker whose secret is shown, and of an attempt only what its own worker tells is recorded.
#[utoipa::path(
    post, path = wire::path::WORKER_PUBLISH, tag = "workers", request_body = PublishRequest,
    params(("orx-worker-secret" = WorkerSecret, Header, description = "the worker's secret")),
    responses(
        (status = 200, body = PublishAnswer, description = "what became of each envelope"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
pub(crate) async fn publish(
    State(app): State<App>,
    _: Worker,
    headers: HeaderMap,
    Large(request): Large<PublishRequest>,
) -> Answer<Response> {
    let transport = &worker_gateway(&app)?.transport;
    bounded(request.envelopes.len())?;
    if let Some(first) = request.envelopes.first() {
        let from = first.from;
        if request.envelopes.iter().any(|envelope| envelope.from != from) {
            let detail = "the envelopes are `from` several workers: one request is of one worker";
            return Err(Problem::new(Code::BadRequest, detail).into());
        }
        identify(&app, &headers, from).await?.known()?;
    }
    let wait = Duration::from_millis(request.wait_ms.unwrap_or(WAIT_DEFAULT_MS).min(WAIT_MAX_MS));
    let mut receipts = Vec::with_capacity(request.envelopes.len());
    let mut refused: Vec<RefusedEnvelope> = Vec::new();
    // Runs of one shard go in together, in their order.
    let (mut waiting, mut places) = (Receipts::default(), Vec::new());
    let mut run: Vec<orx_model::message::Envelope> = Vec::new();
    let mut run_shard: Option<Shard> = None;
    let mut full = false;
    let mut envelopes = request.envelopes.into_iter();
    loop {
        let next = envelopes.next().map(|envelope| gate::admit(envelope, (app.settings.now)()));
        let shard = next.as_ref().map(|next| match next {
            Admitted::Taken(envelope) => shard_of(&envelope.body),
            Admitted::Unknown | Admitted::Refused(_) => None,
        });
        let ends = shard.is_none_or(|shard| shard != run_shard) || shard == Some(None);
        if ends && let (Some(shard), false) = (run_shard, run.is_empty()) {
            let count = run.len();
            let taken = if full {
                None
            } else {
                let told = std::mem::take(&mut run);
                transport.publish_for_receipts(Channel::Events(shard), told).await.ok()
            };
            run.clear();
            match taken {
                Some(told) => {
                    places.extend(receipts.len()..receipts.len() + count);
                    receipts.extend(std::iter::repeat_n(Receipt::Taken, count));
                    waiting.append(told);
                }
                None => {
                    // What comes behind must not overtake it.
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
                tracing::warn!(why, "refused what a worker told");
                let problem = Problem::new(Code::BadRequest, why);
                refused.push(RefusedEnvelope { place: receipts.len(), problem });
                receipts.push(Receipt::Refused);
            }
            Admitted::Taken(_) | Admitted::Unknown => {
                tracing::warn!("set aside: not for a coordinator, or of an unknown type");
                receipts.push(Receipt::NotForUs);
            }
        }
    }
    if !wait.is_zero() {
        for (place, receipt) in places.into_iter().zip(waiting.within(wait).await) {
            receipts[place] = receipt;
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

/// `None` for what is nothing that a worker tells.
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
        | Message::Hint(_) => return None,
    };
    Some(Shard::of(job))
}

/// What is sent to a worker, as NDJSON, for as long as it reads. A second reader takes over.
#[utoipa::path(
    get, path = wire::path::WORKER_INBOX, tag = "workers",
    params(InboxQuery, ("orx-worker-secret" = WorkerSecret, Header,
                        description = "the worker's secret")),
    responses(
        (status = 200, body = InboxLine, content_type = "application/x-ndjson", description = "a line for each envelope, and for signs of life"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
pub(crate) async fn inbox(
    State(app): State<App>,
    Auth(caller): Auth,
    headers: HeaderMap,
    Params(query): Params<InboxQuery>,
) -> Answer<Response> {
    caller.need(Scope::Worker)?;
    let worker = query.worker.ok_or_else(|| {
        Problem::new(Code::BadRequest, "`worker` must name the incarnation whose inbox is read")
    })?;
    identify(&app, &headers, worker).await?.known()?;
    let busy = app.settings.tracker.begin();
    let subscription = worker_gateway(&app)?
        .transport
        .subscribe(Channel::Inbox(worker))
        .await
        .map_err(|error| Problem::new(Code::Unavailable, error.to_string()))?;
    let closing = app.settings.closing.clone();
    let lines =
        lines(Reading { subscription, acknowledging: None, closing, _busy: busy, over: false });
    let kind = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((StatusCode::OK, kind, Body::from_stream(lines)).into_response())
}

struct Reading {
    subscription: Box<dyn Subscription>,
    /// Of what the connection took last: acknowledged once it asks for more.
    acknowledging: Option<Acknowledgement>,
    /// The server ends: so do its streams, and their readers go elsewhere.
    closing: CancellationToken,
    _busy: InFlightGuard,
    over: bool,
}

fn lines(reading: Reading) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    futures_util::stream::unfold(reading, |mut reading| async move {
        if let Some(acknowledging) = reading.acknowledging.take()
            && let Err(error) = acknowledging.await
        {
            tracing::debug!(%error, "what was sent to a worker may come again");
        }
        if reading.over {
            return None;
        }
        let piece = tokio::select! {
            biased;
            () = reading.closing.cancelled() => return None,
            taken = reading.subscription.next(PIECE) => match taken {
                Ok(deliveries) => {
                    let (envelopes, acknowledging) = deliveries.accept();
                    reading.acknowledging = Some(acknowledging);
                    let line = |envelope| InboxLine::Envelope(Box::new(envelope));
                    envelopes.into_iter().map(line).collect()
                }
                Err(_) => {
                    reading.over = true;
                    vec![InboxLine::TakenOver {}]
                }
            },
            () = tokio::time::sleep(PING) => vec![InboxLine::Ping {}],
        };
        Some((Ok(ndjson(&piece)), reading))
    })
}

/// What one node tells another, or passes on to a worker that the other reaches.
#[utoipa::path(
    post, path = wire::path::NODE_PUBLISH, tag = "nodes", request_body = NodePublishRequest,
    responses(
        (status = 200, body = PublishAnswer, description = "what became of each envelope"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
pub(crate) async fn node_publish(
    State(app): State<App>,
    _: Node,
    Large(request): Large<NodePublishRequest>,
) -> Answer<Response> {
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
