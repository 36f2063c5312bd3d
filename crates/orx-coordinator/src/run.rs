//! A coordinator that runs: one task owns the engine, woken by events, by accepted work, by due
//! times, and by a slow round in case a wake-up was lost.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orx_model::message::{
    Body, Envelope, HeartbeatAnswer, Message, VERSION, WorkerHeartbeat, WorkerRegistration,
};
use orx_model::{Incarnation, MessageId};
use orx_store::{Store, StoreError};
use orx_transport::{
    Channel, Delivery, Gateway, GatewayError, Notices, Shard, Subscription, Transport,
    TransportError,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Events, Outbox};
use crate::{Clock, Now, Settings};

/// Envelopes taken in one round; each carries a batch itself.
const EVENT_ENVELOPES: usize = 512;
/// Calls of workers that wait for the task.
const CALLS: usize = 256;
/// A full inbox is its reader's trouble; recovery heals what it misses.
const SEND_WAIT: Duration = Duration::from_millis(200);
/// Between tries while the store takes nothing.
const STORE_PAUSE: Duration = Duration::from_millis(50);
const STORE_PAUSE_MAX: Duration = Duration::from_secs(1);
const PRUNE_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    #[error("the coordinator cannot go on: its store failed")]
    Store(#[from] StoreError),
    #[error("the coordinator cannot go on: its transport failed")]
    Transport(#[from] TransportError),
}

/// Who is needed to run a coordinator.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub transport: Arc<dyn Transport>,
    pub notices: Notices,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
    pub node: Incarnation,
    /// Start of all randomness of this coordinator.
    pub seed: u64,
}

enum Call {
    Register(WorkerRegistration, oneshot::Sender<Result<HeartbeatAnswer, GatewayError>>),
    Heartbeat(WorkerHeartbeat, oneshot::Sender<Result<HeartbeatAnswer, GatewayError>>),
}

/// What others hold of a running coordinator. Cheap to clone.
#[derive(Clone)]
pub struct Coordinator {
    calls: mpsc::Sender<Call>,
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
        let now = parts.clock.now();
        let mut engine = Engine::new(
            Arc::clone(&parts.store),
            parts.settings.clone(),
            parts.node,
            parts.seed,
            now,
        );
        let rescued = engine.rescue_hosted(now).await?;
        parts.notices.changed(rescued.changed);
        let events = parts.transport.subscribe_events(Shard::all().collect()).await?;
        let (calls, called) = mpsc::channel(CALLS);
        let (idle_is, idle) = watch::channel(false);
        let rng = StdRng::seed_from_u64(parts.seed.wrapping_add(1));
        let task = Task { engine, parts, events, called, idle_is, rng, stop };
        Ok((Self { calls, idle }, tokio::spawn(task.run())))
    }

    /// `true` while no attempt is live, nothing waits for a time, and what is ready (if anything)
    /// is for workers that are not here.
    #[must_use]
    pub fn idle(&self) -> watch::Receiver<bool> {
        self.idle.clone()
    }

    async fn call(
        &self,
        call: Call,
        answer: oneshot::Receiver<Result<HeartbeatAnswer, GatewayError>>,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        let ended = || GatewayError::Unreachable("the coordinator has ended".to_owned());
        self.calls.send(call).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

#[async_trait]
impl Gateway for Coordinator {
    async fn register(
        &self,
        registration: WorkerRegistration,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        let (answer, answered) = oneshot::channel();
        self.call(Call::Register(registration, answer), answered).await
    }

    async fn heartbeat(&self, heartbeat: WorkerHeartbeat) -> Result<HeartbeatAnswer, GatewayError> {
        let (answer, answered) = oneshot::channel();
        self.call(Call::Heartbeat(heartbeat, answer), answered).await
    }
}

struct Task {
    engine: Engine,
    parts: Parts,
    events: Box<dyn Subscription>,
    called: mpsc::Receiver<Call>,
    idle_is: watch::Sender<bool>,
    rng: StdRng,
    stop: CancellationToken,
}

impl Task {
    async fn run(mut self) -> Result<(), CoordinatorError> {
        let mut pause = STORE_PAUSE;
        let mut away = false;
        let mut monitored = self.now().mono;
        let mut pruned = monitored;
        loop {
            let now = self.now();
            let monitor_at = monitored + self.parts.settings.monitor;
            let mut sleep = monitor_at.saturating_sub(now.mono);
            if let Some(due) = self.engine.next_due() {
                sleep = sleep.min(due.saturating_since(now.wall));
            }
            if self.engine.has_more() {
                sleep = Duration::ZERO;
            }
            let mut deliveries = Vec::new();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                Some(call) = self.called.recv() => self.answer(call).await,
                told = self.events.next(EVENT_ENVELOPES) => deliveries = told?,
                () = self.parts.notices.wait_for_work() => {}
                () = tokio::time::sleep(sleep) => {}
            }
            if let Some(due) = self.parts.notices.take_due() {
                self.engine.due_at(due);
            }
            let now = self.now();
            let monitoring = now.mono >= monitored + self.parts.settings.monitor;
            let round = async {
                self.engine.promote(now).await?;
                if monitoring {
                    let healed = self.engine.monitor(now).await?;
                    deliver(&self.parts, &mut self.rng, healed, now).await;
                }
                let outbox = self.engine.round(gather(&deliveries), now).await?;
                Ok::<Outbox, StoreError>(outbox)
            };
            let mut result = round.await;
            if let Ok(outbox) = &mut result {
                let again = outbox.again.take();
                deliver(&self.parts, &mut self.rng, std::mem::take(outbox), now).await;
                if let Some(error) = again {
                    result = Err(error);
                }
            }
            match result {
                Ok(_) => {
                    for delivery in deliveries {
                        delivery.ack();
                    }
                    if monitoring {
                        monitored = now.mono;
                    }
                    if away {
                        tracing::info!("the store takes writes again");
                        self.engine.store_was_away(now);
                        (away, pause) = (false, STORE_PAUSE);
                    }
                    let idle = self.engine.fleet().is_idle()
                        && self.engine.next_due().is_none()
                        && !self.engine.has_more();
                    self.idle_is.send_if_modified(|was| std::mem::replace(was, idle) != idle);
                }
                Err(error @ (StoreError::Failed | StoreError::Closed)) => return Err(error.into()),
                Err(error) => {
                    if !away {
                        tracing::warn!(%error, "the store does not take writes: trying on");
                        away = true;
                    }
                    // Unanswered, they come again.
                    drop(deliveries);
                    tokio::select! {
                        () = self.stop.cancelled() => return Ok(()),
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(STORE_PAUSE_MAX);
                }
            }
            if !away && now.mono >= pruned + PRUNE_EVERY {
                match self.engine.prune(now).await {
                    Ok(more) if more => {}
                    Ok(_) => pruned = now.mono,
                    Err(error) => {
                        tracing::warn!(%error, "could not forget old jobs");
                        pruned = now.mono;
                    }
                }
            }
        }
    }

    fn now(&self) -> Now {
        self.parts.clock.now()
    }

    async fn answer(&mut self, call: Call) {
        let now = self.now();
        let unwell = |error: StoreError| GatewayError::Unreachable(error.to_string());
        // Whoever asked may be gone: then nobody hears the answer, and that is all.
        match call {
            Call::Register(registration, answer) => {
                let registered = self.engine.register(registration, true, now).await;
                let _ = answer.send(registered.map_err(unwell));
            }
            Call::Heartbeat(heartbeat, answer) => {
                match self.engine.heartbeat(&heartbeat, true, now).await {
                    Ok((said, outbox)) => {
                        deliver(&self.parts, &mut self.rng, outbox, now).await;
                        let _ = answer.send(Ok(said));
                    }
                    Err(error) => {
                        let _ = answer.send(Err(unwell(error)));
                    }
                }
            }
        }
    }
}

fn gather(deliveries: &[Box<dyn Delivery>]) -> Events {
    let mut events = Events::default();
    for delivery in deliveries {
        let envelope = delivery.envelope();
        match &envelope.body {
            Body::Known(message) => {
                if !events.add(envelope.from, message.clone()) {
                    tracing::warn!(kind = message.kind(), "set aside: not for a coordinator");
                }
            }
            Body::Unknown(_) => {
                tracing::warn!(version = envelope.version, "set aside: of an unknown type");
            }
        }
    }
    events
}

async fn deliver(parts: &Parts, rng: &mut StdRng, outbox: Outbox, now: Now) {
    for (to, message) in outbox.send {
        let kind = message.kind();
        let envelope = envelope(parts.node, to, message, rng, now);
        let publish = parts.transport.publish(Channel::Inbox(to), vec![envelope]);
        match tokio::time::timeout(SEND_WAIT, publish).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(kind, %error, "not sent: recovery will heal it");
            }
            Err(_) => tracing::debug!(kind, "not sent in time: recovery will heal it"),
        }
    }
    parts.notices.changed(outbox.changed);
}

fn envelope(
    from: Incarnation,
    to: Incarnation,
    message: Message,
    rng: &mut StdRng,
    now: Now,
) -> Envelope {
    Envelope {
        id: MessageId::random(rng),
        version: VERSION,
        at: now.wall,
        from,
        to: Some(to),
        trace: None,
        body: Body::Known(message),
    }
}
