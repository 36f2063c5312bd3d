//! A coordinator that runs: its services under one supervisor, which starts them, ends with the first
//! of them that cannot go on, and stops them in order within a bound.

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

/// A node that ends waits so long for the store, and for others to hear of it.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    #[error("the coordinator cannot go on: its store failed")]
    Store(#[from] StoreError),
    #[error("the coordinator cannot go on: its transport failed")]
    Transport(#[from] TransportError),
    #[error("the coordinator cannot go on: its {service} broke")]
    Broke { service: &'static str, source: tokio::task::JoinError },
}

/// Who is needed to run a coordinator.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub transport: Arc<dyn Transport>,
    pub wakeups: Wakeups,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
    pub node: NodeReport,
    /// The store is of this process alone, which its lock proves: it leads at once, and what others
    /// hosted on it is dead.
    pub exclusive: bool,
    /// Where a coordinator writes which other nodes there are.
    pub peers: PeerNodes,
    /// Start of all randomness of this coordinator.
    pub seed: u64,
}

/// What others hold of a running coordinator. Cheap to clone.
#[derive(Clone)]
pub struct Coordinator {
    context: Arc<Context>,
    calls: Calls,
    idle: watch::Receiver<bool>,
}

impl Coordinator {
    /// Rescues what died with the server before, then runs until `stop`. The task's end with an
    /// error means that the daemon should end.
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
        services.spawn("look at the store", async move { Ok(health::watch(&health).await?) });
        let speak = nodes::speak(Arc::clone(&context), parts.node, parts.peers);
        services.spawn("word to other nodes", async move { Ok(speak.await?) });
        let hear = nodes::hear(Arc::clone(&context), hints);
        services.spawn("ear for other nodes", async move { Ok(hear.await?) });
        let pass_on = nodes::pass_on(Arc::clone(&context));
        services.spawn("word to other nodes", async move {
            pass_on.await;
            Ok(())
        });
        let idle = context.idle.subscribe();
        let recorder = Recorder::new(Arc::clone(&context), StdRng::from_rng(&mut rng));
        let coordinator = Self { context: Arc::clone(&context), calls, idle };
        let supervisor = Supervisor { context, services, leader, recorder, events, links, stop };
        Ok((coordinator, tokio::spawn(supervisor.run())))
    }

    /// `true` while no attempt is live, nothing waits for a time, and what is ready (if anything)
    /// is for workers that are not here.
    #[must_use]
    pub fn idle(&self) -> watch::Receiver<bool> {
        self.idle.clone()
    }

    /// The term in which this node believes to lead, while it trusts its lease.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.context.term()
    }

    /// The gateway for workers that live and die with this process.
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

/// The services that end at once when they are told to.
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

    /// The first that ends, which none does while it can go on. Never, without one.
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
    /// Shown while it runs.
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
            // Nothing is given out any more.
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
        // What was taken from workers is recorded: they do not tell it again. Then others lead at once,
        // and need not wait for the end of a lease.
        let led = tokio::time::timeout(LAST_WORDS * 2, &mut leading.0).await;
        match tokio::time::timeout(LAST_WORDS, &mut recording.0).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "the last that workers told is not recorded");
            }
            Ok(Err(error)) => tracing::error!(%error, "the recorder broke"),
            Err(_) => tracing::warn!("the last that workers told is not recorded in time"),
        }
        services.running.shutdown().await;
        let last = async {
            if let Ok(Ok(Ok(Some(term)))) = led {
                context.store.step_down(term).await?;
            }
            context.store.remove_nodes(vec![context.node]).await
        };
        match tokio::time::timeout(LAST_WORDS, last).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "ended without a word to the store"),
            Err(_) => tracing::debug!("ended without a word to the store: it did not answer"),
        }
        let hint = Message::Hint(Notification { nodes: true, ..Notification::default() });
        let envelope = context.post.envelope(None, hint, context.now().wall);
        let told = async {
            // Whoever does not hear it finds out by the lease.
            let _ = context.transport.publish(Channel::Broadcast, vec![envelope]).await;
            context.post.sent().await;
        };
        let _ = tokio::time::timeout(LAST_WORDS, told).await;
        Ok(())
    }
}

/// Until it is told to stop, and then what is left.
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
