//! Answers workers. What many say at once is one write and one read; a call whose caller is gone is
//! dropped.

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
use crate::health::is_the_end;
use crate::{Context, Now};

/// Calls of workers that wait, and that are answered together.
const CALLS: usize = 256;
/// The entries of workers that went elsewhere are looked for so often.
const FORGET_EVERY: Duration = Duration::from_secs(10);

type Answered = Result<HeartbeatAnswer, GatewayError>;

/// What a worker says, and where it awaits the answer.
pub struct Call {
    said: WorkerCall,
    /// The hash of the secret that was shown. `None`: by a worker that lives and dies with this
    /// process.
    secret: Option<SecretHash>,
    reply: oneshot::Sender<Answered>,
}

/// What workers say.
#[derive(Debug)]
pub enum WorkerCall {
    Registration(WorkerRegistration),
    Heartbeat(WorkerHeartbeat),
}

impl Call {
    #[must_use]
    pub fn new(
        said: WorkerCall,
        secret: Option<SecretHash>,
    ) -> (Self, oneshot::Receiver<Result<HeartbeatAnswer, GatewayError>>) {
        let (reply, answered) = oneshot::channel();
        (Self { said, secret, reply }, answered)
    }
}

impl WorkerCall {
    fn by(&self) -> Incarnation {
        match self {
            Self::Registration(registration) => registration.incarnation,
            Self::Heartbeat(heartbeat) => heartbeat.incarnation,
        }
    }
}

/// Where workers call. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Calls(mpsc::Sender<Call>);

impl Calls {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Call>) {
        let (calls, called) = mpsc::channel(CALLS);
        (Self(calls), called)
    }

    async fn call(&self, said: WorkerCall, secret: Option<SecretHash>) -> Answered {
        let ended = || GatewayError::Unreachable("the coordinator has ended".to_owned());
        let (call, answered) = Call::new(said, secret);
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

/// For workers that live and die with this process.
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

/// Answers the calls.
pub struct Answering {
    context: Arc<Context>,
    peers: PeerNodes,
    rng: StdRng,
}

impl Answering {
    #[must_use]
    pub fn new(context: Arc<Context>, peers: PeerNodes, rng: StdRng) -> Self {
        Self { context, peers, rng }
    }

    /// # Errors
    /// The store is of no use any more.
    pub(crate) async fn run(mut self, mut called: mpsc::Receiver<Call>) -> Result<(), StoreError> {
        let mut forget = tokio::time::interval(FORGET_EVERY);
        forget.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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
                _ = forget.tick() => {
                    let now = self.context.now();
                    self.context.worker_table().forget_silent(now);
                }
            }
        }
    }

    /// In one write and one read. Two calls of one worker are answered one after the other.
    ///
    /// # Errors
    /// The store is of no use any more.
    pub async fn answer_all(&mut self, calls: Vec<Call>) -> Result<(), StoreError> {
        let mut rest = calls;
        while !rest.is_empty() {
            let (mut batch, mut later): (Vec<Call>, Vec<Call>) = (Vec::new(), Vec::new());
            let mut workers = BTreeSet::new();
            for call in rest {
                // Nobody waits for the answer any more: a newer heartbeat is on its way.
                if call.reply.is_closed() {
                    continue;
                }
                match workers.insert(call.said.by()) {
                    true => batch.push(call),
                    false => later.push(call),
                }
            }
            self.answer_batch(batch).await?;
            rest = later;
        }
        Ok(())
    }

    async fn answer_batch(&mut self, calls: Vec<Call>) -> Result<(), StoreError> {
        let now = self.context.now();
        let (mut known, mut reports) = (Vec::new(), Vec::new());
        for call in calls {
            match self.report(&call) {
                Some(report) => {
                    reports.push((call.secret.unwrap_or(self.context.hosted), report));
                    known.push(call);
                }
                None => {
                    // Its outcomes and attempts are looked at once it has registered.
                    let answer = self.context.worker_table().answer(None, now);
                    let answer = HeartbeatAnswer { register: true, ..answer };
                    self.reply(call.reply, Ok(answer));
                }
            }
        }
        if known.is_empty() {
            return Ok(());
        }
        // Stored before the first dispatch, so that after a crash it is known whose the attempts
        // were; and before anything that a heartbeat says is believed.
        let kept = self.keep(reports, now).await;
        let beats = known.iter().filter(|call| matches!(call.said, WorkerCall::Heartbeat(_)));
        let workers: Vec<Incarnation> = beats.map(|call| call.said.by()).collect();
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
        for (call, kept) in known.into_iter().zip(kept) {
            let answer = match kept {
                Ok(WorkerPut::Kept(order)) => {
                    let live = by_worker.remove(&call.said.by()).unwrap_or_default();
                    self.answer(&call.said, order, &live, now).await
                }
                // Another node removed its row. It has to register again, if it still runs.
                Ok(WorkerPut::Unregistered) => {
                    let mut worker_table = self.context.worker_table();
                    worker_table.remove(call.said.by());
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

    /// What is kept of a call. `None`: by a worker that has to register first.
    fn report(&self, call: &Call) -> Option<WorkerReport> {
        let worker_table = self.context.worker_table();
        let report = match &call.said {
            WorkerCall::Registration(registration) => worker_table.first_report(registration),
            WorkerCall::Heartbeat(heartbeat) => worker_table.report(heartbeat)?,
        };
        let node = self.context.node;
        let hosted_by = call.secret.is_none().then_some(node);
        Some(WorkerReport { hosted_by, node: Some(node), ..report })
    }

    /// Answers for each. Where the store does not take them together, each is tried alone.
    async fn keep(
        &self,
        reports: Vec<(SecretHash, WorkerReport)>,
        now: Now,
    ) -> Vec<Result<WorkerPut, StoreError>> {
        let count = reports.len();
        let kept = self.context.store.put_workers(reports.clone(), now.wall).await;
        match kept {
            Ok(kept) if kept.len() == count => return kept.into_iter().map(Ok).collect(),
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
            let kept = self.context.store.put_workers(vec![report], now.wall).await;
            all.push(kept.and_then(|kept| kept.first().copied().ok_or(StoreError::Unknown)));
        }
        all
    }

    fn refuse(&self, calls: Vec<Call>, error: StoreError, now: Now) -> Result<(), StoreError> {
        for call in calls {
            self.reply(call.reply, Err(GatewayError::Unreachable(error.to_string())));
        }
        self.context.health.failed(&error, now);
        if is_the_end(&error) { Err(error) } else { Ok(()) }
    }

    async fn answer(
        &mut self,
        said: &WorkerCall,
        order: Option<orx_model::message::WorkerDirective>,
        live: &[Live],
        now: Now,
    ) -> Result<HeartbeatAnswer, StoreError> {
        let context = Arc::clone(&self.context);
        let heartbeat = match said {
            WorkerCall::Registration(registration) => {
                let answer = context.worker_table().register(registration.clone(), order, now);
                context.slots().worker_registered(registration.clone(), order, now);
                self.tell_leader();
                let name = Some(registration.name.clone());
                let worker = WorkerRef { incarnation: registration.incarnation, name };
                self.moved(worker, None, Some(WorkerState::Running), now);
                return Ok(answer);
            }
            WorkerCall::Heartbeat(heartbeat) => heartbeat,
        };
        let worker = heartbeat.incarnation;
        if heartbeat.state == WorkerState::Stopped {
            // It ended in good order. What was on its way to it never starts there.
            let told = live.iter().map(|attempt| (worker, plan::returned(attempt, now.wall)));
            let told: Vec<_> = told.collect();
            context.record(&told, None, &mut self.rng, now).await?;
            context.store.remove_workers(vec![worker], WorkerRemoval::Stopped).await?;
            let was = context.worker_table().state_of(worker);
            context.worker_table().remove(worker);
            context.slots().remove(worker);
            self.tell_leader();
            if let Some((worker, state)) = was {
                self.moved(worker, Some(state), None, now);
            }
            return Ok(context.worker_table().answer(None, now));
        }
        let given: BTreeMap<ExecutionId, Duration> = context.slots().attempts_of(worker);
        let (news, of, reconciled) = {
            let mut worker_table = context.worker_table();
            let news = worker_table.heard(heartbeat, now);
            let of = news.moved_from.and_then(|_| worker_table.state_of(worker));
            (news, of, worker_table.heartbeat(heartbeat, live, order, &given, now))
        };
        context.slots().worker_reported(heartbeat, order, now);
        if news.for_leader {
            self.tell_leader();
        }
        if let Some((of, state)) = of {
            self.moved(of, news.moved_from, Some(state), now);
        }
        if !reconciled.forget.is_empty() {
            let ack = Message::JobResultAck { executions: reconciled.forget };
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

    /// What is known of a worker changed.
    fn tell_leader(&self) {
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
            answer
        });
        // Whoever asked may be gone: then nobody hears the answer, and that is all.
        let _ = reply.send(answer);
    }
}
