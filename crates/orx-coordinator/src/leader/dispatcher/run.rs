//! Claims ready jobs for free slots, and sends the claimed jobs to their workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orx_model::event::{Event, JobRef, KnownEvent};
use orx_model::message::{Dispatch, Message};
use orx_model::{ExecutionId, Incarnation, JobId, JobStatus};
use orx_store::{ClaimRequest, Claimed, Claims, Holder, Result, StoreError, Term};
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;

use super::plan::LiveReader;
use crate::Context;
use crate::health::RETRY;
use crate::leader::{is_over, pause};

/// Bytes of jobs in one message, about: far less than any transport refuses.
const DISPATCH_BYTES: usize = 4 << 20;

/// Runs as long as its term.
pub struct Dispatcher {
    context: Arc<Context>,
    term: Term,
    rng: StdRng,
    held_back: Vec<HeldBack>,
    /// The last claim failed: live attempts are read before the next one.
    must_read: bool,
}

/// A dispatch for slots whose attempts end in the same transaction. The worker has no slot for it before
/// the outcomes of those attempts are acknowledged, and would return it.
struct HeldBack {
    /// The attempts whose outcomes have to be recorded before this is sent.
    until_recorded: BTreeSet<ExecutionId>,
    worker: Incarnation,
    message: Message,
}

impl Dispatcher {
    /// The dispatcher of one term; `rng` draws the execution ids.
    #[must_use]
    pub fn new(context: Arc<Context>, term: Term, rng: StdRng) -> Self {
        Self { context, term, rng, held_back: Vec::new(), must_read: false }
    }

    /// Runs until the term is over.
    ///
    /// # Errors
    /// The store refuses the term, or can be used no longer.
    pub(crate) async fn run(mut self, over: CancellationToken) -> Result<()> {
        let mut backoff = RETRY;
        loop {
            match self.pass().await {
                Ok(()) => backoff.succeeded(),
                Err(error) if is_over(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "could not claim jobs, trying again");
                    self.context.health.failed(&error, self.context.now());
                    pause(&over, backoff.failed()).await;
                    if over.is_cancelled() {
                        return Ok(());
                    }
                    continue;
                }
            }
            if over.is_cancelled() {
                return Ok(());
            }
            let (more, resolved) = {
                let slots = self.context.slots();
                (slots.may_have_more(), slots.next_resolved())
            };
            if more {
                // Other tasks of this node run in between.
                tokio::task::yield_now().await;
                continue;
            }
            let resolved = resolved.map(|at| at.saturating_sub(self.context.now().mono));
            tokio::select! {
                biased;
                () = over.cancelled() => return Ok(()),
                () = self.context.wakeups.wait_for_work() => self.context.slots().jobs_ready(),
                () = self.context.wakes.dispatcher.notified() => {}
                () = tokio::time::sleep(resolved.unwrap_or_default()), if resolved.is_some() => {}
            }
        }
    }

    /// One claim for all free slots; sends the jobs that were claimed.
    ///
    /// # Errors
    /// Nothing was claimed, or the store did not answer.
    pub async fn pass(&mut self) -> Result<()> {
        let context = Arc::clone(&self.context);
        let now = context.now();
        if context.lead.term(now.mono) != Some(self.term) {
            return Err(StoreError::Deposed);
        }
        let held_back = std::mem::take(&mut self.held_back);
        self.send_in_time(held_back);
        self.read_after_failure(now).await?;
        let requests = context.slots().claim_requests(&mut self.rng, now);
        if requests.is_empty() {
            context.update_idle();
            return Ok(());
        }
        let asked = |request: &ClaimRequest| (request.worker, request.executions.len());
        let asked: BTreeMap<Incarnation, usize> = requests.iter().map(asked).collect();
        let Claims { claimed, expired } =
            match context.store.claim_ready(requests, self.term, now.wall).await {
                Ok(claims) => claims,
                Err(error) => {
                    self.must_read = true;
                    let is_unknown = matches!(error, StoreError::Unknown);
                    context.slots().claim_failed(is_unknown, context.now());
                    return Err(error);
                }
            };
        context.slots().claim_answered(&asked, &claimed, context.now());
        {
            let mut holders = context.holders();
            for claim in &claimed {
                let holder = Holder { worker: claim.worker, attempt: claim.dispatch.attempt };
                holders.note(claim.dispatch.execution_ref(), holder);
            }
        }
        context.update_idle();
        let dispatched = |claim: &Claimed| {
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
        let cancelled = |job: &JobId| {
            let (job, to) = ((*job).into(), JobStatus::Cancelled);
            Event::new(now.wall, KnownEvent::JobMoved { job, from: None, to, attempt: None })
        };
        let moved: Vec<Event> =
            claimed.iter().map(dispatched).chain(expired.iter().map(cancelled)).collect();
        let messages = self.messages(claimed);
        let messages = messages.into_iter().map(|(worker, message)| {
            let until_recorded = context.slots().outcomes_before_dispatch(worker);
            HeldBack { until_recorded, worker, message }
        });
        self.send_in_time(messages.collect());
        context.wakeups.feed().publish(moved);
        if !expired.is_empty() {
            context.wakes.ended();
        }
        Ok(())
    }

    /// Reads live attempts at once after a failed claim, and again when a claim that the store did not
    /// answer can take effect no longer.
    async fn read_after_failure(&mut self, now: crate::Now) -> Result<()> {
        let resolved = self.context.slots().next_resolved();
        if !self.must_read && resolved.is_none_or(|at| now.mono < at) {
            return Ok(());
        }
        self.context.slots().begin_read(LiveReader::Dispatcher, now);
        let live = self.context.store.live_attempts().await?;
        self.context.slots().finish_read(LiveReader::Dispatcher, &live, self.context.now());
        self.must_read = false;
        Ok(())
    }

    /// Sends the messages whose workers have a slot for them, and holds back the others.
    fn send_in_time(&mut self, messages: Vec<HeldBack>) {
        let (wait, send): (Vec<_>, Vec<_>) = {
            let slots = self.context.slots();
            messages
                .into_iter()
                .partition(|one| slots.has_unrecorded(one.worker, &one.until_recorded))
        };
        self.held_back.extend(wait);
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
            let Some(seq) = self.context.slots().heartbeat_of(worker) else {
                // The worker was lost meanwhile, and these attempts with it.
                continue;
            };
            let heartbeat_seq = Some(seq);
            let (mut batch, mut bytes) = (Vec::new(), 0);
            for job in jobs {
                if bytes > 0 && bytes + job.weight() > DISPATCH_BYTES {
                    let jobs = std::mem::take(&mut batch);
                    messages.push((worker, Message::JobDispatch { jobs, heartbeat_seq }));
                    bytes = 0;
                }
                bytes += job.weight();
                batch.push(job);
            }
            messages.push((worker, Message::JobDispatch { jobs: batch, heartbeat_seq }));
        }
        messages
    }
}
