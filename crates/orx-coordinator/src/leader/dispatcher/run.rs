//! Claims for the room that there is, and sends what was claimed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orx_model::event::{Event, JobRef, KnownEvent};
use orx_model::message::{Dispatch, Message};
use orx_model::{ExecutionId, Incarnation, JobStatus};
use orx_store::{ClaimRequest, Claimed, Holder, Result, StoreError, Term};
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;

use super::plan::LiveReader;
use crate::Context;
use crate::health::Backoff;
use crate::leader::{is_over, pause};

/// Jobs sent in one message weigh about so much: far less than any link refuses.
const DISPATCH_BYTES: usize = 4 << 20;

/// Runs while its term does.
pub struct Dispatcher {
    context: Arc<Context>,
    term: Term,
    rng: StdRng,
    waiting: Vec<Waiting>,
    /// It is unknown what was claimed: who has what is read at once. What is not seen then may still
    /// become true, which [`super::plan::Rooms`] bears in mind.
    in_doubt: bool,
}

/// Claimed for the place of attempts whose ends are not recorded yet. A worker has no slot for it before
/// it hears that they are, and would hand it back.
struct Waiting {
    behind: BTreeSet<ExecutionId>,
    worker: Incarnation,
    message: Message,
}

impl Dispatcher {
    #[must_use]
    pub fn new(context: Arc<Context>, term: Term, rng: StdRng) -> Self {
        Self { context, term, rng, waiting: Vec::new(), in_doubt: false }
    }

    /// Until the term is over.
    ///
    /// # Errors
    /// The store refuses the term, or is of no use any more.
    pub async fn run(mut self, over: CancellationToken) -> Result<()> {
        let mut backoff = Backoff::default();
        loop {
            match self.pass().await {
                Ok(()) => backoff.reset(),
                Err(error) if is_over(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "nothing could be claimed: trying again");
                    self.context.health.failed(&error, self.context.now());
                    pause(&over, backoff.next()).await;
                    if over.is_cancelled() {
                        return Ok(());
                    }
                    continue;
                }
            }
            if over.is_cancelled() {
                return Ok(());
            }
            if self.context.rooms().has_more() {
                // The others go on meanwhile.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                biased;
                () = over.cancelled() => return Ok(()),
                () = self.context.wakeups.wait_for_work() => self.context.rooms().work_came(),
                () = self.context.wakes.dispatcher.notified() => {}
            }
        }
    }

    /// Offers all the room that there is, once, and sends out what was claimed for it.
    ///
    /// # Errors
    /// Nothing was claimed, or that is unknown.
    pub async fn pass(&mut self) -> Result<()> {
        let context = &self.context;
        let now = context.now();
        if context.lead.term(now.mono) != Some(self.term) {
            return Err(StoreError::Deposed);
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.send_in_time(waiting);
        let context = &self.context;
        if self.in_doubt {
            context.rooms().reading(LiveReader::Dispatcher, now);
            let live = context.store.live_attempts().await?;
            context.rooms().live_is(LiveReader::Dispatcher, &live, context.now());
            self.in_doubt = false;
        }
        let requests = context.rooms().claims(&mut self.rng, now);
        if requests.is_empty() {
            context.look_idle();
            return Ok(());
        }
        let offer = |request: &ClaimRequest| (request.worker, request.executions.len());
        let offers: BTreeMap<Incarnation, usize> = requests.iter().map(offer).collect();
        let claimed = match context.store.claim_ready(requests, self.term, now.wall).await {
            Ok(claimed) => claimed,
            Err(error) => {
                self.in_doubt = true;
                let is_unknown = matches!(error, StoreError::Unknown);
                context.rooms().not_claimed(is_unknown, context.now());
                return Err(error);
            }
        };
        context.rooms().claimed(&offers, &claimed, context.now());
        {
            let mut holders = context.holders();
            for claim in &claimed {
                let holder = Holder { worker: claim.worker, attempt: claim.dispatch.attempt };
                holders.note(claim.dispatch.execution_ref(), holder);
            }
        }
        context.look_idle();
        let given = |claim: &Claimed| {
            let dispatch = &claim.dispatch;
            let (name, queue) = (Some(dispatch.name.clone()), Some(dispatch.queue.clone()));
            let event = KnownEvent::JobMoved {
                job: JobRef { id: dispatch.job, name, queue },
                from: Some(JobStatus::Pending),
                to: JobStatus::Dispatched,
                attempt: Some(dispatch.attempt),
            };
            Event::new(now.wall, event)
        };
        let moved: Vec<Event> = claimed.iter().map(given).collect();
        let messages = self.messages(claimed);
        let messages = messages.into_iter().map(|(worker, message)| {
            let behind = self.context.rooms().before(worker);
            Waiting { behind, worker, message }
        });
        let messages = messages.collect();
        self.send_in_time(messages);
        self.context.wakeups.feed().publish(moved);
        Ok(())
    }

    /// Sends what its worker can start, and keeps the rest until it can.
    fn send_in_time(&mut self, messages: Vec<Waiting>) {
        let (wait, send): (Vec<_>, Vec<_>) = {
            let rooms = self.context.rooms();
            messages.into_iter().partition(|one| rooms.has_any(one.worker, &one.behind))
        };
        self.waiting.extend(wait);
        let send = send.into_iter().map(|one| (one.worker, one.message));
        self.context.post.send(send, self.context.now().wall);
    }

    /// One message to each worker, or a few where the jobs are large.
    fn messages(&self, claimed: Vec<Claimed>) -> Vec<(Incarnation, Message)> {
        let mut by_worker: BTreeMap<Incarnation, Vec<Dispatch>> = BTreeMap::new();
        for claim in claimed {
            by_worker.entry(claim.worker).or_default().push(claim.dispatch);
        }
        let mut messages = Vec::new();
        for (worker, jobs) in by_worker {
            let Some(heard) = self.context.rooms().heartbeat_of(worker) else {
                // It was given up meanwhile, and what was claimed for it is too.
                continue;
            };
            let heard = Some(heard);
            let (mut batch, mut bytes) = (Vec::new(), 0);
            for job in jobs {
                if bytes > 0 && bytes + job.weight() > DISPATCH_BYTES {
                    let jobs = std::mem::take(&mut batch);
                    messages.push((worker, Message::JobDispatch { jobs, heard }));
                    bytes = 0;
                }
                bytes += job.weight();
                batch.push(job);
            }
            messages.push((worker, Message::JobDispatch { jobs: batch, heard }));
        }
        messages
    }
}
