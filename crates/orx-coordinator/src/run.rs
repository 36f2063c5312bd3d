//! The supervisor of a coordinator: it starts the services, ends with the first of them that cannot go on,
//! and stops them in order within a bound.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orx_model::SecretHash;
use orx_model::message::{
    HeartbeatAnswer, Message, Notification, WorkerHeartbeat, WorkerRegistration,
};
use orx_store::{NodeReport, Store, StoreError, Term};
use orx_transport::{
    Channel, Gateway, GatewayError, GatewayServer, LinkOf, OpenLink, PeerNodes, Shard,
    Subscription, Transport, TransportError, Wakeups,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::gateway::run::{Answering, Calls, Hosting};
use crate::leader::run::Leader;
use crate::recorder::run::Recorder;
use crate::{Clock, Context, Settings, health, nodes};

/// A node that ends waits this long for each last write and message.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// Why a coordinator ended.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The store can be used no longer.
    #[error("the coordinator cannot go on: its store failed")]
    Store(#[from] StoreError),
    /// The transport can be used no longer.
    #[error("the coordinator cannot go on: its transport failed")]
    Transport(#[from] TransportError),
    /// The task of a service panicked.
    #[error("the coordinator cannot go on: its {service} broke")]
    Broke {
        /// Which one, for people.
        service: &'static str,
        /// The panic.
        source: tokio::task::JoinError,
    },
}

/// The parts of a coordinator.
pub struct Parts {
    /// The store that all nodes share.
    pub store: Arc<dyn Store>,
    /// The way to workers and other nodes.
    pub transport: Arc<dyn Transport>,
    /// Wake-ups and the feed of this node.
    pub wakeups: Wakeups,
    /// Both clocks.
    pub clock: Arc<dyn Clock>,
    /// Durations.
    pub settings: Settings,
    /// The row of this node, which it writes with each heartbeat.
    pub node: NodeReport,
    /// The lock of the store proves that no other process uses it: this node leads at once, and workers of
    /// an earlier process are dead.
    pub exclusive: bool,
    /// Where the coordinator writes which other nodes are alive.
    pub peers: PeerNodes,
    /// The start of all randomness of this coordinator.
    pub seed: u64,
}

/// A handle of a running coordinator. Cheap to clone.
#[derive(Clone)]
pub struct Coordinator {
    context: Arc<Context>,
    calls: Calls,
    idle: watch::Receiver<bool>,
}

impl Coordinator {
    /// Starts the services, which run until `stop`. If the task ends with an error, the daemon should end.
    ///
    /// # Errors
    /// The store or the transport cannot be used.
    pub async fn start(
        parts: Parts,
        stop: CancellationToken,
    ) -> Result<(Self, JoinHandle<Result<(), CoordinatorError>>), CoordinatorError> {
        let mut rng = StdRng::seed_from_u64(parts.seed);
        let context = Context::new(
            (parts.store, parts.transport, parts.wakeups),
            parts.clock,
            parts.settings,
            parts.node.node,
            rng.next_u64(),
        );
        let transport = &context.transport;
        let events = transport.subscribe_events(Shard::all().collect()).await?;
        let hints = transport.subscribe(Channel::Broadcast).await?;
        let links = context.wakeups.links();
        let links = [
            links.open(LinkOf::Events, events.state()),
            links.open(LinkOf::Broadcast, hints.state()),
        ];
        let (calls, called) = Calls::new();
        let mut leader = Leader::new(Arc::clone(&context), StdRng::from_rng(&mut rng));
        if parts.exclusive {
            leader.take_over().await?;
        }
        let mut services = Services::default();
        let answering =
            Answering::new(Arc::clone(&context), parts.peers.clone(), StdRng::from_rng(&mut rng));
        services.spawn("gateway", async move { Ok(answering.run(called).await?) });
        let health = Arc::clone(&context);
        services.spawn("check of the store", async move { Ok(health::watch(&health).await?) });
        let heartbeat = nodes::heartbeat(Arc::clone(&context), parts.node, parts.peers.clone());
        services.spawn("heartbeat of the node", async move { Ok(heartbeat.await?) });
        let receive = nodes::receive(Arc::clone(&context), hints);
        services.spawn("receiver of notifications", async move { Ok(receive.await?) });
        let send = nodes::send(Arc::clone(&context), parts.peers);
        services.spawn("sender of notifications", async move {
            send.await;
            Ok(())
        });
        let idle = context.idle.subscribe();
        let recorder = Recorder::new(Arc::clone(&context), StdRng::from_rng(&mut rng));
        let coordinator = Self { context: Arc::clone(&context), calls, idle };
        let supervisor = Supervisor { context, services, leader, recorder, events, links, stop };
        Ok((coordinator, tokio::spawn(supervisor.run())))
    }

    /// `true` while no attempt is live, no job waits for a time, and no ready job is for a worker that is
    /// here.
    #[must_use]
    pub fn idle(&self) -> watch::Receiver<bool> {
        self.idle.clone()
    }

    /// The term in which this node believes to lead, while it trusts its lease.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.context.term()
    }

    /// The gateway for workers that run in this process.
    #[must_use]
    pub fn hosting(&self) -> Arc<dyn Gateway> {
        Arc::new(Hosting(self.calls.clone()))
    }
}

#[async_trait]
impl GatewayServer for Coordinator {
    async fn register(
        &self,
        registration: WorkerRegistration,
        secret: SecretHash,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        self.calls.register(registration, secret).await
    }

    async fn heartbeat(
        &self,
        heartbeat: WorkerHeartbeat,
        secret: SecretHash,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        self.calls.heartbeat(heartbeat, secret).await
    }
}

/// The services that can be stopped at any time.
#[derive(Default)]
struct Services {
    running: JoinSet<Result<(), CoordinatorError>>,
    names: std::collections::HashMap<tokio::task::Id, &'static str>,
}

impl Services {
    fn spawn(
        &mut self,
        name: &'static str,
        service: impl Future<Output = Result<(), CoordinatorError>> + Send + 'static,
    ) {
        let id = self.running.spawn(service).id();
        self.names.insert(id, name);
    }

    /// Resolves when a service ends, which none does while it can go on.
    async fn ended(&mut self) -> Result<(), CoordinatorError> {
        match self.running.join_next_with_id().await {
            Some(Ok((_, ended))) => ended,
            Some(Err(source)) => {
                let service = self.names.get(&source.id()).copied().unwrap_or("service");
                Err(CoordinatorError::Broke { service, source })
            }
            None => std::future::pending().await,
        }
    }
}

struct Supervisor {
    context: Arc<Context>,
    services: Services,
    leader: Leader,
    recorder: Recorder,
    events: Box<dyn Subscription>,
    /// The subscriptions, shown by `cluster status` while they are open.
    links: [OpenLink; 2],
    stop: CancellationToken,
}

impl Supervisor {
    async fn run(self) -> Result<(), CoordinatorError> {
        let Self { context, mut services, mut leader, recorder, events, links: _links, stop } =
            self;
        let recording = record(recorder, events, stop.clone());
        let mut recording = AbortOnDrop(tokio::spawn(recording));
        let leader_stops = stop.clone();
        let mut leading = AbortOnDrop(tokio::spawn(async move {
            let led = tokio::select! {
                biased;
                () = leader_stops.cancelled() => Ok(()),
                led = leader.run() => led,
            };
            // No job is claimed from here on.
            let term = leader.stop().await;
            led.map(|()| term)
        }));
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            ended = services.ended() => ended,
            led = &mut leading.0 => return joined("leader", led).map(|_| ()),
            recorded = &mut recording.0 => return joined("recorder", recorded),
        };
        first?;
        // First records the reports that were taken from workers, which do not send them again. Then steps
        // down, so that another node leads at once and need not wait for the end of the lease.
        let led = tokio::time::timeout(STOP_WAIT * 2, &mut leading.0).await;
        match tokio::time::timeout(STOP_WAIT, &mut recording.0).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "the last reports of workers are not recorded");
            }
            Ok(Err(error)) => tracing::error!(%error, "the recorder broke"),
            Err(_) => tracing::warn!("the last reports of workers are not recorded in time"),
        }
        services.running.shutdown().await;
        let last = async {
            if let Ok(Ok(Ok(Some(term)))) = led {
                context.store.step_down(term).await?;
            }
            context.store.remove_nodes(vec![context.node]).await
        };
        match tokio::time::timeout(STOP_WAIT, last).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "ended without stepping down in the store"),
            Err(_) => tracing::debug!("ended without stepping down: the store did not answer"),
        }
        let hint = Message::Notification(Notification { nodes: true, ..Notification::default() });
        let envelope = context.post.envelope(None, hint, context.now().wall);
        let notified = async {
            // A node that misses it finds out when the lease ends.
            let _ = context.transport.publish(Channel::Broadcast, vec![envelope]).await;
            context.post.sent().await;
        };
        let _ = tokio::time::timeout(STOP_WAIT, notified).await;
        Ok(())
    }
}

/// Records reports until `stop`, and then those that are left.
async fn record(
    mut recorder: Recorder,
    mut events: Box<dyn Subscription>,
    stop: CancellationToken,
) -> Result<(), CoordinatorError> {
    recorder.run(&mut *events, &stop).await?;
    recorder.record_the_rest(&mut *events).await
}

/// A task that does not outlive its owner.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn joined<T, E: Into<CoordinatorError>>(
    service: &'static str,
    ended: Result<Result<T, E>, tokio::task::JoinError>,
) -> Result<T, CoordinatorError> {
    match ended {
        Ok(ended) => ended.map_err(Into::into),
        Err(source) => Err(CoordinatorError::Broke { service, source }),
    }
}
