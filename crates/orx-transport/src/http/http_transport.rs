//! A worker's side of `direct` over HTTP: it calls one coordinator of a list, and the next when that
//! one fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use orx_model::message::{Envelope, HeartbeatAnswer, WorkerHeartbeat, WorkerRegistration};
use orx_model::wire::path;
use orx_model::{Code, Incarnation, WorkerSecret};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use super::endpoints::EndpointSelector;
use super::inbox::{InboxReader, Returned};
use super::outbox::Outbox;
use super::{BearerToken, CallError, Credentials, PUBLISH_WAIT, is_final, post};
use crate::{
    Channel, Gateway, GatewayError, Shard, Subscription, SubscriptionState, Transport,
    TransportError,
};

/// Timeout of a call, unless heartbeats are due so often that it must be shorter.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);
/// Most incarnations whose secrets are held: a worker starts a new incarnation after a fence.
const SECRETS_MAX: usize = 64;

/// What [`HttpTransport::new`] needs.
pub struct HttpTransportOptions {
    /// The coordinators, `http://host:port`, at least one; the first is tried first.
    pub urls: Vec<String>,
    /// With the scope `worker`.
    pub token: BearerToken,
    /// The client for all calls to coordinators.
    pub http: reqwest::Client,
}

/// The transport and the gateway of a worker. All clones share one state; its tasks end with the last
/// of them.
#[derive(Clone)]
pub struct HttpTransport {
    session: Arc<HttpSession>,
    outbox: Outbox,
}

/// What all calls of one [`HttpTransport`] share.
pub(super) struct HttpSession {
    pub(super) endpoints: EndpointSelector,
    pub(super) http: reqwest::Client,
    pub(super) returned: Returned,
    token: BearerToken,
    /// The secrets of the incarnations that this process registered.
    secrets: Mutex<BTreeMap<Incarnation, WorkerSecret>>,
    /// Timeout of a call in milliseconds: a worker leaves a coordinator that hangs before the worker's
    /// lease ends.
    call_timeout_ms: AtomicU64,
}

impl HttpTransport {
    /// Spawns the task that sends; call it inside a runtime.
    ///
    /// # Errors
    /// A text for people, if `urls` is empty.
    pub fn new(options: HttpTransportOptions) -> Result<Self, String> {
        let session = Arc::new(HttpSession {
            endpoints: EndpointSelector::new(&options.urls).ok_or("no coordinator is named")?,
            http: options.http,
            returned: Returned::default(),
            token: options.token,
            secrets: Mutex::default(),
            call_timeout_ms: AtomicU64::new(CALL_TIMEOUT.as_millis() as u64),
        });
        let outbox = Outbox::new(Arc::clone(&session));
        Ok(Self { session, outbox })
    }

    async fn call(
        &self,
        of: Incarnation,
        route: &str,
        body: &impl Serialize,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        let session = &self.session;
        let url = session.endpoints.current();
        let secret = session.secret(of);
        let credentials = session.credentials(secret.as_ref());
        let answer: Result<HeartbeatAnswer, _> =
            post(&session.http, &url, route, credentials, body, session.call_timeout()).await;
        match answer {
            Ok(mut answer) => {
                if let Some(secret) = answer.secret.take() {
                    session.store_secret(of, secret);
                }
                session.adapt_call_timeout(&answer);
                session.endpoints.reached(&url);
                if let Some(leader) = &answer.leader {
                    session.endpoints.follow(&url, leader, Instant::now());
                }
                if answer.node_drains {
                    // Unless it follows the leader already.
                    session.endpoints.move_on(&url, false, Instant::now());
                }
                Ok(answer)
            }
            Err(CallError::Problem(problem)) if problem.code == Code::NotThisWorker => {
                Err(GatewayError::NotThisWorker(format!("{url}: {problem}")))
            }
            Err(CallError::Problem(problem)) if is_final(problem.code) => {
                Err(GatewayError::Refused(format!("{url}: {problem}")))
            }
            Err(CallError::Problem(problem)) => {
                session.endpoints.move_on(&url, false, Instant::now());
                Err(GatewayError::Unreachable(format!("{url}: {problem}")))
            }
            Err(error @ (CallError::NoAnswer(_) | CallError::TimedOut)) => {
                session.endpoints.move_on(&url, error.is_timeout(), Instant::now());
                Err(GatewayError::Unreachable(format!("{url}: {}", error.why())))
            }
        }
    }
}

impl HttpSession {
    pub(super) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms.load(Ordering::Relaxed))
    }

    /// Sets the timeout to four fifths of the heartbeat interval, so that the next heartbeat can go to
    /// another coordinator.
    fn adapt_call_timeout(&self, answer: &HeartbeatAnswer) {
        let interval = Duration::from_millis(answer.heartbeat_ms);
        if !interval.is_zero() {
            let timeout = (interval * 4 / 5).min(CALL_TIMEOUT);
            self.call_timeout_ms.store(timeout.as_millis() as u64, Ordering::Relaxed);
        }
    }

    /// The credentials for a request; `secret` once the worker has registered.
    pub(super) fn credentials<'a>(&'a self, secret: Option<&'a WorkerSecret>) -> Credentials<'a> {
        Credentials { token: &self.token, secret }
    }

    pub(super) fn secret(&self, of: Incarnation) -> Option<WorkerSecret> {
        self.secrets.lock().get(&of).cloned()
    }

    fn store_secret(&self, of: Incarnation, secret: WorkerSecret) {
        let mut secrets = self.secrets.lock();
        if secrets.len() >= SECRETS_MAX {
            secrets.clear();
        }
        secrets.insert(of, secret);
    }
}

#[async_trait]
impl Gateway for HttpTransport {
    async fn register(
        &self,
        registration: WorkerRegistration,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        self.call(registration.incarnation, path::WORKER_REGISTER, &registration).await
    }

    async fn heartbeat(&self, heartbeat: WorkerHeartbeat) -> Result<HeartbeatAnswer, GatewayError> {
        self.call(heartbeat.incarnation, path::WORKER_HEARTBEAT, &heartbeat).await
    }
}

#[async_trait]
impl Transport for HttpTransport {
    /// Events only: a worker publishes nothing else.
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        match to {
            Channel::Events(_) => self.outbox.push(to, envelopes).await,
            _ => Err(TransportError::NoReader { channel: to }),
        }
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        let Channel::Inbox(of) = channel else {
            return Err(TransportError::NoReader { channel });
        };
        let reader = InboxReader::open(&self.session, of);
        let mut state = reader.state();
        // Once it is connected, no envelope to this inbox is refused for want of a reader. If it cannot
        // be connected now, the worker starts nevertheless.
        let connected = state.wait_for(SubscriptionState::is_connected);
        let _ = tokio::time::timeout(PUBLISH_WAIT, connected).await;
        Ok(Box::new(reader))
    }

    async fn subscribe_events(
        &self,
        _shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        Err(TransportError::NoReader { channel: Channel::Enqueue })
    }
}
