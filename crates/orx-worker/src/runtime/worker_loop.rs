//! The loop of a worker: it owns the protocol, passes inputs to it and carries out its effects.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use orx_model::message::{
    Body, Dispatch, Envelope, ExecutionRef, HeartbeatAnswer, WorkerHeartbeat, WorkerRegistration,
};
use orx_model::{ExecutionId, Outcome, OutcomeKind, Timestamp};
use orx_transport::{Gateway, GatewayError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::ServerClock;
use super::publisher::EventBatch;
use super::{AttemptContext, OwnedTask, RuntimeRequest, WorkerEnd, WorkerOptions};
use crate::attempt::{AttemptRunner, StopReason};
use crate::command;
use crate::handler::{HANDLER_PANICKED, HandlerError, JobContext};
use crate::inbox::{Incoming, WorkerInbox};
use crate::machine::LoadMeter;
use crate::protocol::{Core, Effect, Input, Moment};

/// How long a worker waits after its grace for the last outcomes to be acknowledged.
const LAST_ACKS_WAIT: Duration = Duration::from_secs(5);
/// How long a worker waits for the answer to its last heartbeat.
const LAST_HEARTBEAT_WAIT: Duration = Duration::from_secs(2);

/// An answer of the gateway, received by a task of its own.
pub(super) enum GatewayAnswer {
    /// With the sequence number of the heartbeat.
    Heartbeat(u64, Result<HeartbeatAnswer, GatewayError>),
    Registration(Result<HeartbeatAnswer, GatewayError>),
}

pub(super) struct WorkerLoop {
    pub(super) core: Core,
    pub(super) registration: WorkerRegistration,
    pub(super) clock: ServerClock,
    pub(super) options: WorkerOptions,
    pub(super) context: Arc<AttemptContext>,
    pub(super) gateway: Arc<dyn Gateway>,
    pub(super) inbox: WorkerInbox,
    /// Inputs from attempts.
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) requests: mpsc::Receiver<RuntimeRequest>,
    /// At most one heartbeat is in flight.
    pub(super) answers: mpsc::Receiver<GatewayAnswer>,
    pub(super) answers_to: mpsc::Sender<GatewayAnswer>,
    pub(super) attempts: JoinSet<Outcome>,
    /// The execution of each task: a task that panicked returns none.
    pub(super) tasks: HashMap<task::Id, ExecutionRef>,
    pub(super) stops: HashMap<ExecutionId, watch::Sender<Option<StopReason>>>,
    /// As the newest answer asks for.
    pub(super) heartbeat_interval: Duration,
    pub(super) heartbeat_in_flight: bool,
    pub(super) heartbeat_wanted: bool,
    pub(super) fenced: bool,
    pub(super) load: LoadMeter,
    /// Zero of the protocol's monotonic clock.
    pub(super) registered_at: Instant,
    /// The events to publish after those in `publishing`.
    pub(super) unpublished: EventBatch,
    /// A full transport delays this future and nothing else.
    pub(super) publishing: Option<BoxFuture<'static, ()>>,
    pub(super) ctx_server: OwnedTask,
}

impl WorkerLoop {
    /// Runs until the worker is stopped or fenced. `first` is the answer to the registration.
    pub(super) async fn run(mut self, first: HeartbeatAnswer) -> Option<WorkerEnd> {
        self.adopt_interval(&first);
        let mut heartbeat = heartbeat_ticks(self.heartbeat_interval);
        let mut stopping: Option<oneshot::Sender<()>> = None;
        let mut interrupt_at: Option<Instant> = None;
        let mut end_at: Option<Instant> = None;
        self.step(vec![Input::Answered { heartbeat: 0, answer: first }]);
        loop {
            if self.heartbeat_wanted && !self.heartbeat_in_flight {
                self.send_heartbeat();
            }
            let mut inputs = Vec::new();
            let time_of = |after: Duration| self.registered_at.checked_add(after);
            let hand_back_at = self.core.hand_back_at().and_then(time_of);
            let unreachable_at = self.core.unreachable_at().and_then(time_of);
            tokio::select! {
                biased;
                // First: a worker process that was suspended checks this before it publishes anything.
                () = at(unreachable_at) => {
                    tracing::warn!("no coordinator answers: stopping attempts that must not overlap");
                    inputs.push(Input::Unreachable);
                }
                Some(RuntimeRequest::Stop { grace, done }) = self.requests.recv() => {
                    self.context.stopping.send_replace(true);
                    inputs.push(Input::Drain);
                    stopping = Some(done);
                    interrupt_at = Some(Instant::now() + grace);
                }
                () = at(interrupt_at) => {
                    interrupt_at = None;
                    end_at = Some(Instant::now() + self.options.kill_grace + LAST_ACKS_WAIT);
                    inputs.push(Input::Stop);
                }
                () = at(end_at) => {
                    tracing::warn!("ending although some outcomes are not acknowledged");
                    break;
                }
                ended = self.attempts.join_next_with_id(), if !self.attempts.is_empty() => {
                    let mut next = ended;
                    while let Some(ended) = next {
                        inputs.extend(self.joined(ended).map(Input::Ended));
                        next = self.attempts.try_join_next_with_id();
                    }
                }
                incoming = self.inbox.next() => match incoming {
                    Incoming::Envelopes(envelopes) => inputs.extend(messages(envelopes)),
                    Incoming::Connected => self.heartbeat_wanted = true,
                },
                () = finished(&mut self.publishing) => self.publishing = None,
                Some(input) = self.inputs.recv() => {
                    inputs.push(input);
                    while let Ok(input) = self.inputs.try_recv() {
                        inputs.push(input);
                    }
                }
                Some(answer) = self.answers.recv() => {
                    let (of, answer) = match answer {
                        GatewayAnswer::Registration(answer) => (None, answer),
                        GatewayAnswer::Heartbeat(number, answer) => {
                            self.heartbeat_in_flight = false;
                            (Some(number), answer)
                        }
                    };
                    let of_heartbeat = |answer| match of {
                        Some(heartbeat) => Input::Answered { heartbeat, answer },
                        None => Input::Registered(answer),
                    };
                    match answer {
                        Ok(answer) => {
                            if self.adopt_interval(&answer) {
                                heartbeat = heartbeat_ticks(self.heartbeat_interval);
                            }
                            inputs.push(of_heartbeat(answer));
                        }
                        Err(error @ GatewayError::NotThisWorker(_)) => {
                            tracing::error!(%error, "another worker holds this incarnation: ending it");
                            let fenced = HeartbeatAnswer { fenced: true, ..Default::default() };
                            inputs.push(of_heartbeat(fenced));
                        }
                        Err(error) => tracing::warn!(%error, "a heartbeat was not answered"),
                    }
                }
                _ = heartbeat.tick() => self.heartbeat_wanted = true,
                // Last: an attempt that has ended meanwhile frees a slot for a waiting job.
                () = at(hand_back_at) => inputs.push(Input::Overdue),
            }
            self.step(inputs);
            if (stopping.is_some() || self.fenced) && self.core.is_idle() {
                break;
            }
        }
        self.attempts.shutdown().await;
        if !self.fenced {
            // The coordinator then need not wait until the lease expires.
            let last = self.core.last_heartbeat(self.registered_at.elapsed());
            let last = self.gateway.heartbeat(last);
            if !matches!(tokio::time::timeout(LAST_HEARTBEAT_WAIT, last).await, Ok(Ok(_))) {
                tracing::debug!("the last heartbeat was not answered: the lease will expire");
            }
        }
        drop(self.ctx_server);
        if let Some(done) = stopping {
            let _ = done.send(());
        }
        self.fenced.then_some(WorkerEnd::Fenced)
    }

    /// The outcome of an attempt whose task ended.
    fn joined(&mut self, ended: Result<(task::Id, Outcome), JoinError>) -> Option<Outcome> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let of = self.tasks.remove(&id)?;
        self.stops.remove(&of.execution);
        Some(match ended {
            Ok((_, outcome)) => outcome,
            Err(error) => {
                tracing::error!(job = %of.job, %error, "the task of an attempt panicked");
                panicked(of, (self.options.now)())
            }
        })
    }

    /// Adopts the heartbeat interval of an answer. Returns whether it changed.
    fn adopt_interval(&mut self, answer: &HeartbeatAnswer) -> bool {
        let interval = Duration::from_millis(answer.heartbeat_ms);
        let changes = !interval.is_zero() && interval != self.heartbeat_interval;
        if changes {
            self.heartbeat_interval = interval;
        }
        changes
    }

    /// Passes the inputs to the protocol, carries out its effects, and publishes their events together.
    fn step(&mut self, inputs: Vec<Input>) {
        let mut inputs: VecDeque<Input> = inputs.into();
        while let Some(input) = inputs.pop_front() {
            let at = Moment { wall: (self.options.now)(), mono: self.registered_at.elapsed() };
            for effect in self.core.step(input, at) {
                match effect {
                    Effect::Start(dispatch) => {
                        if let Some(ended) = self.start(dispatch) {
                            inputs.push_back(Input::Ended(ended));
                        }
                    }
                    Effect::Cancel(execution) => self.stop(execution, StopReason::Cancel),
                    Effect::Abandon(execution) => self.stop(execution, StopReason::Abandon),
                    Effect::Interrupt(execution) => self.stop(execution, StopReason::Interrupt),
                    Effect::Publish(message) => self.unpublished.add(message),
                    Effect::HeartbeatNow => self.heartbeat_wanted = true,
                    Effect::Fenced => {
                        tracing::warn!("this worker is fenced: stopping all attempts");
                        self.fenced = true;
                    }
                    Effect::Register => {
                        let registration = self.registration.clone();
                        let gateway = Arc::clone(&self.gateway);
                        let answers = self.answers_to.clone();
                        tokio::spawn(async move {
                            let answer = gateway.register(registration).await;
                            let _ = answers.send(GatewayAnswer::Registration(answer)).await;
                        });
                        self.heartbeat_wanted = true;
                    }
                }
            }
        }
        self.publish();
    }

    /// Publishes one batch at a time; events that occur meanwhile form the next. The wait of a batch is
    /// bounded, so the next stays small.
    fn publish(&mut self) {
        while self.publishing.is_none() && !self.unpublished.is_empty() {
            let publisher = self.context.publisher.clone();
            let batch = std::mem::take(&mut self.unpublished);
            let mut publishing: BoxFuture<'static, ()> = Box::pin(batch.publish(publisher));
            // A transport with free space accepts it at once.
            if (&mut publishing).now_or_never().is_none() {
                self.publishing = Some(publishing);
            }
        }
    }

    /// Starts an attempt. Returns the outcome of an instant handler, which runs without a task.
    fn start(&mut self, dispatch: Dispatch) -> Option<Outcome> {
        let (stop, stopped) = watch::channel(None);
        let execution = dispatch.execution;
        if dispatch.command.is_none()
            && let Some(handler) = self.options.rust_handlers.get(&dispatch.name)
        {
            if handler.is_instant() {
                return Some(self.instant(dispatch));
            }
            let handler = Arc::clone(handler);
            let of = dispatch.execution_ref();
            let attempt = self.attempt(dispatch, stopped);
            let task = self.attempts.spawn(attempt.run_handler(handler));
            self.tasks.insert(task.id(), of);
            self.stops.insert(execution, stop);
            return None;
        }
        let prepared = match (&dispatch.command, self.options.handlers.get(&dispatch.name)) {
            (Some(given), _) if self.options.commands => command::given(given),
            (Some(_), _) => Err("this worker does not accept commands given with jobs".to_owned()),
            (None, Some(handler)) => handler.prepare(&dispatch),
            (None, None) => Err(format!("this worker has no handler `{}`", dispatch.name)),
        };
        let of = dispatch.execution_ref();
        let attempt = self.attempt(dispatch, stopped);
        let task = self.attempts.spawn(attempt.run_command(prepared));
        self.tasks.insert(task.id(), of);
        self.stops.insert(execution, stop);
        None
    }

    fn attempt(
        &self,
        dispatch: Dispatch,
        stop: watch::Receiver<Option<StopReason>>,
    ) -> AttemptRunner {
        AttemptRunner { context: Arc::clone(&self.context), dispatch: Arc::new(dispatch), stop }
    }

    fn instant(&self, dispatch: Dispatch) -> Outcome {
        let now = (self.options.now)();
        let (job, execution) = (dispatch.job, dispatch.execution);
        let dispatch = Arc::new(dispatch);
        let stop = CancellationToken::new();
        let context = JobContext { dispatch: Arc::clone(&dispatch), requests: None, stop };
        let handler = self.options.rust_handlers.get(&dispatch.name);
        let ended = handler.and_then(|handler| {
            // In a block, so that a panic before the first await is caught too.
            let run = async { handler.run(context, &dispatch.args).await };
            AssertUnwindSafe(run).catch_unwind().now_or_never()
        });
        let ended =
            ended.map(|ended| ended.unwrap_or_else(|_| Err(HandlerError::retry(HANDLER_PANICKED))));
        let (kind, error) = match ended {
            Some(Ok(result)) => (OutcomeKind::Succeeded { result }, None),
            Some(Err(error)) => {
                let retryable = error.retryable;
                (OutcomeKind::Failed { retryable, retry_after_ms: None }, Some(error.message))
            }
            None => {
                let why = "a handler that claims to be instant waited".to_owned();
                (OutcomeKind::Failed { retryable: false, retry_after_ms: None }, Some(why))
            }
        };
        let ended_at = (self.options.now)();
        Outcome { job, execution, kind, started_at: Some(now), ended_at, error, exit: None }
    }

    fn stop(&self, execution: ExecutionId, why: StopReason) {
        if let Some(stop) = self.stops.get(&execution) {
            // The first reason decides the outcome; `Abandon` after it only shortens the grace.
            stop.send_if_modified(|stop| {
                let new = stop.is_none() || (why == StopReason::Abandon && *stop != Some(why));
                if new {
                    *stop = Some(why);
                }
                new
            });
        }
    }

    fn send_heartbeat(&mut self) {
        (self.heartbeat_wanted, self.heartbeat_in_flight) = (false, true);
        let sent_at = Instant::now();
        let mut heartbeat: WorkerHeartbeat = self.core.heartbeat(sent_at - self.registered_at);
        let number = heartbeat.seq;
        heartbeat.load = self.load.read();
        let gateway = Arc::clone(&self.gateway);
        let answers = self.answers_to.clone();
        let (timeout, clock) = (self.heartbeat_interval, self.clock.clone());
        tokio::spawn(async move {
            let late = |_| Err(GatewayError::Unreachable("no answer in time".to_owned()));
            let answer = tokio::time::timeout(timeout, gateway.heartbeat(heartbeat)).await;
            let answer = answer.unwrap_or_else(late);
            if let Ok(answer) = &answer {
                clock.adjust(answer.now, sent_at.elapsed());
            }
            let _ = answers.send(GatewayAnswer::Heartbeat(number, answer)).await;
        });
    }
}

fn messages(envelopes: Vec<Envelope>) -> impl Iterator<Item = Input> {
    envelopes.into_iter().filter_map(|envelope| match envelope.body {
        Body::Known(message) => Some(Input::Message(message)),
        Body::Unknown(_) => {
            tracing::warn!("ignored a message of an unknown type");
            None
        }
    })
}

/// The outcome of an attempt whose task panicked. Its processes were killed when the task was dropped.
fn panicked(of: ExecutionRef, now: Timestamp) -> Outcome {
    Outcome {
        job: of.job,
        execution: of.execution,
        kind: OutcomeKind::Failed { retryable: true, retry_after_ms: None },
        started_at: None,
        ended_at: now,
        error: Some("the worker panicked while it ran this attempt".to_owned()),
        exit: None,
    }
}

/// The first tick is due at once.
fn heartbeat_ticks(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

/// Resolves at `time`; never for `None`.
pub(crate) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Resolves with the future; never for `None`.
async fn finished(future: &mut Option<BoxFuture<'static, ()>>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
