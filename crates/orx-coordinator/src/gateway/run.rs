//! Answers registrations and heartbeats. Calls that come together share one write and one read of the
//! store; a call whose caller is gone is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orx_model::event::{KnownEvent, WorkerRef};
use orx_model::message::{
    HeartbeatAnswer, Message, WorkerHeartbeat, WorkerRegistration, WorkerState,
};
use orx_model::{ExecutionId, Incarnation, SecretHash};
use orx_store::{Live, StoreError, WorkerPut, WorkerRemoval, WorkerReport};
use orx_transport::{Gateway, GatewayError, GatewayServer, PeerNodes};
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot};

use super::plan;
use crate::health::{Health, is_the_end};
use crate::{Context, Now};

/// Calls that wait at most, and that are answered together.
const CALLS: usize = 256;
/// How often workers that went to another node are removed from the table.
const REMOVE_EVERY: Duration = Duration::from_secs(10);

type Answered = Result<HeartbeatAnswer, GatewayError>;

/// A call of a worker, with the channel for the answer.
pub struct GatewayCall {
    request: WorkerCall,
    /// The hash of the secret that the caller showed. `None`: the worker runs in this process.
    secret: Option<SecretHash>,
    reply: oneshot::Sender<Answered>,
}

/// The kinds of calls.
#[derive(Debug)]
pub enum WorkerCall {
    /// The worker registers.
    Registration(WorkerRegistration),
    /// The worker sends a heartbeat.
    Heartbeat(WorkerHeartbeat),
}

impl GatewayCall {
    /// A call, and the receiver of its answer, which closes without one if the coordinator ends.
    #[must_use]
    pub fn new(
        request: WorkerCall,
        secret: Option<SecretHash>,
    ) -> (Self, oneshot::Receiver<Result<HeartbeatAnswer, GatewayError>>) {
        let (reply, answered) = oneshot::channel();
        (Self { request, secret, reply }, answered)
    }
}

impl WorkerCall {
    fn worker(&self) -> Incarnation {
        match self {
            Self::Registration(registration) => registration.incarnation,
            Self::Heartbeat(heartbeat) => heartbeat.incarnation,
        }
    }
}

/// The queue of calls. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Calls(mpsc::Sender<GatewayCall>);

impl Calls {
    pub(crate) fn new() -> (Self, mpsc::Receiver<GatewayCall>) {
        let (calls, called) = mpsc::channel(CALLS);
        (Self(calls), called)
    }

    async fn call(&self, request: WorkerCall, secret: Option<SecretHash>) -> Answered {
        let ended = || GatewayError::Unreachable("the coordinator has ended".to_owned());
        let (call, answered) = GatewayCall::new(request, secret);
        self.0.send(call).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

#[async_trait]
impl GatewayServer for Calls {
    async fn register(&self, registration: WorkerRegistration, secret: SecretHash) -> Answered {
        self.call(WorkerCall::Registration(registration), Some(secret)).await
    }

    async fn heartbeat(&self, heartbeat: WorkerHeartbeat, secret: SecretHash) -> Answered {
        self.call(WorkerCall::Heartbeat(heartbeat), Some(secret)).await
    }
}

/// The gateway of workers that run in this process.
pub(crate) struct Hosting(pub(crate) Calls);

#[async_trait]
impl Gateway for Hosting {
    async fn register(&self, registration: WorkerRegistration) -> Answered {
        self.0.call(WorkerCall::Registration(registration), None).await
    }

    async fn heartbeat(&self, heartbeat: WorkerHeartbeat) -> Answered {
        self.0.call(WorkerCall::Heartbeat(heartbeat), None).await
    }
}

/// The task that answers the calls.
pub struct Answering {
    context: Arc<Context>,
    peers: PeerNodes,
    rng: StdRng,
}

impl Answering {
    /// `peers` holds the address of the leader, for the answers of a follower.
    #[must_use]
    pub fn new(context: Arc<Context>, peers: PeerNodes, rng: StdRng) -> Self {
        Self { context, peers, rng }
    }

    /// # Errors
    /// The store can be used no longer.
    pub(crate) async fn run(
        mut self,
        mut called: mpsc::Receiver<GatewayCall>,
    ) -> Result<(), StoreError> {
        let mut remove = tokio::time::interval(REMOVE_EVERY);
        remove.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut calls = Vec::with_capacity(CALLS);
        loop {
            tokio::select! {
                biased;
                count = called.recv_many(&mut calls, CALLS) => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.answer_all(std::mem::take(&mut calls)).await?;
                }
                _ = remove.tick() => {
                    let now = self.context.now();
                    self.context.worker_table().remove_silent(now);
                }
            }
        }
    }

    /// Answers calls with one write and one read. Two calls of one worker are answered one after the other.
    ///
    /// # Errors
    /// The store can be used no longer.
    pub async fn answer_all(&mut self, calls: Vec<GatewayCall>) -> Result<(), StoreError> {
        let mut rest = calls;
        while !rest.is_empty() {
            let (mut batch, mut later): (Vec<GatewayCall>, Vec<GatewayCall>) =
                (Vec::new(), Vec::new());
            let mut workers = BTreeSet::new();
            for call in rest {
                // The caller has disconnected, and sends a newer heartbeat.
                if call.reply.is_closed() {
                    continue;
                }
                match workers.insert(call.request.worker()) {
                    true => batch.push(call),
                    false => later.push(call),
                }
            }
            self.answer_batch(batch).await?;
            rest = later;
        }
        Ok(())
    }

    async fn answer_batch(&mut self, calls: Vec<GatewayCall>) -> Result<(), StoreError> {
        let context = Arc::clone(&self.context);
        // The calls that come meanwhile wait for this batch.
        let _write = Health::watch_write(&context);
        let now = context.now();
        let (mut known, mut reports) = (Vec::new(), Vec::new());
        for call in calls {
            match self.report(&call) {
                Some(report) => {
                    reports.push((call.secret.unwrap_or(self.context.hosted), report));
                    known.push(call);
                }
                None => {
                    // Its outcomes and attempts are reconciled once it has registered.
                    let answer = self.context.worker_table().answer(None, now);
                    let answer = HeartbeatAnswer { register: true, ..answer };
                    self.reply(call.reply, Ok(answer));
                }
            }
        }
        if known.is_empty() {
            return Ok(());
        }
        // Rows are written before the first dispatch, so that the owner of each attempt is known after a
        // crash, and before a heartbeat is reconciled, so that its secret is checked.
        let puts = self.put(reports, now).await;
        let beats = known.iter().filter(|call| matches!(call.request, WorkerCall::Heartbeat(_)));
        let workers: Vec<Incarnation> = beats.map(|call| call.request.worker()).collect();
        let live = match workers.is_empty() {
            true => Ok(Vec::new()),
            false => self.context.store.live_attempts_of(workers).await,
        };
        let live = match live {
            Ok(live) => live,
            Err(error) => return self.refuse(known, error, now),
        };
        let mut by_worker: BTreeMap<Incarnation, Vec<Live>> = BTreeMap::new();
        for attempt in live {
            by_worker.entry(attempt.worker).or_default().push(attempt);
        }
        let mut end = None;
        for (call, put) in known.into_iter().zip(puts) {
            let answer = match put {
                Ok(WorkerPut::Stored(directive)) => {
                    let drains = self.context.wakeups.is_draining();
                    let hosted = call.secret.is_none();
                    let directive = plan::effective_directive(directive, hosted, drains);
                    let live = by_worker.remove(&call.request.worker()).unwrap_or_default();
                    self.answer(&call.request, directive, &live, now).await
                }
                // Another node removed its row. It has to register again, if it still runs.
                Ok(WorkerPut::Unregistered) => {
                    let mut worker_table = self.context.worker_table();
                    worker_table.remove(call.request.worker());
                    let answer = worker_table.answer(None, now);
                    Ok(HeartbeatAnswer { register: true, ..answer })
                }
                Ok(WorkerPut::OtherSecret) => {
                    let why = "this incarnation was registered with another secret".to_owned();
                    self.reply(call.reply, Err(GatewayError::NotThisWorker(why)));
                    continue;
                }
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => self.reply(call.reply, Ok(answer)),
                Err(error) => {
                    self.reply(call.reply, Err(GatewayError::Unreachable(error.to_string())));
                    self.context.health.failed(&error, now);
                    end = Some(error).filter(is_the_end).or(end);
                }
            }
        }
        end.map_or(Ok(()), Err)
    }

    /// The row that a call writes. `None`: the worker has to register first.
    fn report(&self, call: &GatewayCall) -> Option<WorkerReport> {
        let worker_table = self.context.worker_table();
        let report = match &call.request {
            WorkerCall::Registration(registration) => worker_table.first_report(registration),
            WorkerCall::Heartbeat(heartbeat) => worker_table.report(heartbeat)?,
        };
        let node = self.context.node;
        let hosted_by = call.secret.is_none().then_some(node);
        Some(WorkerReport { hosted_by, node: Some(node), ..report })
    }

    /// Writes rows of workers, each alone if the store does not take them together.
    async fn put(
        &self,
        reports: Vec<(SecretHash, WorkerReport)>,
        now: Now,
    ) -> Vec<Result<WorkerPut, StoreError>> {
        let count = reports.len();
        let puts = self.context.store.put_workers(reports.clone(), now.wall).await;
        match puts {
            Ok(puts) if puts.len() == count => return puts.into_iter().map(Ok).collect(),
            Ok(_) => return (0..count).map(|_| Err(StoreError::Unknown)).collect(),
            Err(StoreError::Backend { .. }) if count > 1 => {}
            Err(error) => {
                let mut all = vec![Err(error)];
                all.extend((1..count).map(|_| Err(StoreError::Unknown)));
                return all;
            }
        }
        let mut all = Vec::with_capacity(count);
        for report in reports {
            let put = self.context.store.put_workers(vec![report], now.wall).await;
            all.push(put.and_then(|put| put.first().copied().ok_or(StoreError::Unknown)));
        }
        all
    }

    fn refuse(
        &self,
        calls: Vec<GatewayCall>,
        error: StoreError,
        now: Now,
    ) -> Result<(), StoreError> {
        for call in calls {
            self.reply(call.reply, Err(GatewayError::Unreachable(error.to_string())));
        }
        self.context.health.failed(&error, now);
        if is_the_end(&error) { Err(error) } else { Ok(()) }
    }

    async fn answer(
        &mut self,
        request: &WorkerCall,
        directive: Option<orx_model::message::WorkerDirective>,
        live: &[Live],
        now: Now,
    ) -> Result<HeartbeatAnswer, StoreError> {
        let context = Arc::clone(&self.context);
        let heartbeat = match request {
            WorkerCall::Registration(registration) => {
                let answer = context.worker_table().register(registration.clone(), directive, now);
                context.slots().worker_registered(registration.clone(), directive, now);
                self.wake_leader();
                let name = Some(registration.name.clone());
                let worker = WorkerRef { incarnation: registration.incarnation, name };
                self.moved(worker, None, Some(WorkerState::Running), now);
                return Ok(answer);
            }
            WorkerCall::Heartbeat(heartbeat) => heartbeat,
        };
        let worker = heartbeat.incarnation;
        if heartbeat.state == WorkerState::Stopped {
            // It stopped in good order. A dispatch that is still on its way never starts there.
            let interrupted = |attempt| (worker, plan::interrupted(attempt, now.wall));
            let outcomes: Vec<_> = live.iter().map(interrupted).collect();
            context.record(&outcomes, None, &mut self.rng, now).await?;
            context.store.remove_workers(vec![worker], WorkerRemoval::Stopped).await?;
            let was = context.worker_table().state_of(worker);
            context.worker_table().remove(worker);
            context.slots().remove(worker);
            self.wake_leader();
            if let Some((worker, state)) = was {
                self.moved(worker, Some(state), None, now);
            }
            return Ok(context.worker_table().answer(None, now));
        }
        let claimed: BTreeMap<ExecutionId, Duration> = context.slots().attempts_of(worker);
        let (change, of, reconciled) = {
            let mut worker_table = context.worker_table();
            let change = worker_table.update(heartbeat, now);
            let of = change.moved_from.and_then(|_| worker_table.state_of(worker));
            (change, of, worker_table.heartbeat(heartbeat, live, directive, &claimed, now))
        };
        context.slots().worker_reported(heartbeat, directive, now);
        if change.for_leader {
            self.wake_leader();
        }
        if let Some((of, state)) = of {
            self.moved(of, change.moved_from, Some(state), now);
        }
        if !reconciled.acknowledge.is_empty() {
            let ack = Message::JobResultAck { executions: reconciled.acknowledge };
            context.post.send([(worker, ack)], now.wall);
        }
        Ok(reconciled.answer)
    }

    fn moved(
        &self,
        worker: WorkerRef,
        from: Option<WorkerState>,
        to: Option<WorkerState>,
        now: Now,
    ) {
        let moved = KnownEvent::WorkerMoved { worker, from, to };
        self.context.publish([moved], now);
    }

    /// Wakes the dispatcher of the leader: a worker changed.
    fn wake_leader(&self) {
        if self.context.term().is_some() {
            self.context.wakes.dispatcher.notify_one();
        } else {
            self.context.wakeups.workers();
        }
    }

    fn reply(&self, reply: oneshot::Sender<Answered>, answer: Answered) {
        let answer = answer.map(|mut answer| {
            if self.context.term().is_none() {
                answer.leader = self.peers.leader_url();
            }
            answer.node_drains = self.context.wakeups.is_draining();
            answer
        });
        // The caller may have disconnected.
        let _ = reply.send(answer);
    }
}
