//! Carries the fleet's decisions out on a store. No transport and no timers: what is to be sent is
//! returned, and time is an argument. The simulation drives this very code.
//!
//! Every method may be called again after an error: nothing is assumed to have been done.

use std::collections::BTreeSet;
use std::sync::Arc;

use orx_model::log::LogChunk;
use orx_model::message::{
    ExecutionProgress, HeartbeatAnswer, Message, Started, WorkerHeartbeat, WorkerRegistration,
    WorkerState,
};
use orx_model::{ExecutionId, Incarnation, JobId, Outcome, Timestamp, policy};
use orx_store::{Claimed, Live, PruneRequest, Recorded, Result, Store, StoreError, WorkerRecord};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::fleet::{self, Fleet};
use crate::{Now, Settings};

/// Jobs claimed in one transaction, over all workers.
const CLAIM_MOST: usize = 2_000;
/// Scheduled jobs made ready in one transaction.
const PROMOTE_MOST: u32 = 2_000;
/// Jobs forgotten in one transaction.
const PRUNE_MOST: u32 = 500;

/// What follows from a call: messages for inboxes, and jobs whose watchers should look.
#[derive(Debug, Default)]
pub struct Outbox {
    pub send: Vec<(Incarnation, Message)>,
    pub changed: Vec<JobId>,
    /// Something advisory was not taken: the same events should be told again.
    pub again: Option<StoreError>,
}

/// What workers told, gathered over many envelopes.
#[derive(Debug, Default)]
pub struct Events {
    pub started: Vec<Started>,
    pub progress: Vec<ExecutionProgress>,
    pub chunks: Vec<LogChunk>,
    /// With who told it, to whom the answer goes.
    pub outcomes: Vec<(Incarnation, Outcome)>,
}

impl Events {
    /// Takes what a worker tells; answers `false` for a message that is not for coordinators.
    pub fn add(&mut self, from: Incarnation, message: Message) -> bool {
        match message {
            Message::JobStatus { started } => self.started.extend(started),
            Message::JobProgress { progress } => self.progress.extend(progress),
            Message::JobLog { chunks } => self.chunks.extend(chunks),
            Message::JobResult { outcomes } => {
                self.outcomes.extend(outcomes.into_iter().map(|outcome| (from, outcome)));
            }
            Message::JobDispatch { .. }
            | Message::JobCancel { .. }
            | Message::JobResultAck { .. } => return false,
        }
        true
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.started.is_empty()
            && self.progress.is_empty()
            && self.chunks.is_empty()
            && self.outcomes.is_empty()
    }

    /// A start, and progress, whose end has come as well need no writes of their own.
    fn collapse(&mut self) {
        if self.outcomes.is_empty() {
            return;
        }
        let ended: BTreeSet<ExecutionId> =
            self.outcomes.iter().map(|(_, outcome)| outcome.execution).collect();
        self.started.retain(|started| !ended.contains(&started.execution));
        self.progress.retain(|progress| !ended.contains(&progress.execution));
    }
}

pub struct Engine {
    store: Arc<dyn Store>,
    settings: Settings,
    fleet: Fleet,
    /// This coordinator.
    node: Incarnation,
    rng: StdRng,
    /// When something falls due next, as far as known; the monitor reads it afresh.
    next_due: Option<Timestamp>,
    /// The claims of the last round took all the room there was: there may be more to claim.
    more: bool,
}

impl Engine {
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        settings: Settings,
        node: Incarnation,
        seed: u64,
        now: Now,
    ) -> Self {
        let fleet = Fleet::new(settings.clone(), now);
        let rng = StdRng::seed_from_u64(seed);
        Self { store, settings, fleet, node, rng, next_due: None, more: false }
    }

    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.next_due
    }

    /// Another round may find more to claim, or to make ready, at once.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// A job was accepted that is due, or over, at `at`.
    pub fn due_at(&mut self, at: Timestamp) {
        self.next_due = Some(self.next_due.map_or(at, |known| known.min(at)));
    }

    /// The store was away: silence in that time is nobody's death.
    pub fn store_was_away(&mut self, now: Now) {
        self.fleet.store_was_away(now);
    }

    /// Before anything else: what an earlier server on this store hosted died with it, which the
    /// lock on the store proves, so its jobs are given back at once.
    pub async fn rescue_hosted(&mut self, now: Now) -> Result<Outbox> {
        let workers = self.store.workers().await?;
        let dead: BTreeSet<Incarnation> = workers
            .iter()
            .filter(|worker| worker.hosted_by.is_some_and(|node| node != self.node))
            .map(|worker| worker.registration.incarnation)
            .collect();
        let live = self.store.live_attempts().await?;
        let why = "the server ended under it";
        let lost = live
            .iter()
            .filter(|attempt| dead.contains(&attempt.worker))
            .map(|attempt| (attempt.worker, fleet::lost(attempt, false, why, now.wall)))
            .collect();
        let outbox = self.record(lost, now).await?;
        self.store.remove_workers(dead.into_iter().collect()).await?;
        self.fleet.live_is(&self.store.live_attempts().await?);
        self.next_due = self.store.next_due().await?;
        Ok(outbox)
    }

    pub async fn register(
        &mut self,
        registration: WorkerRegistration,
        hosted: bool,
        now: Now,
    ) -> Result<HeartbeatAnswer> {
        let record = WorkerRecord {
            registration: registration.clone(),
            state: WorkerState::Running,
            seen_at: now.wall,
            hosted_by: hosted.then_some(self.node),
        };
        // Stored before the first dispatch, so that after a crash it is known whose the attempts
        // were.
        self.store.put_workers(vec![record]).await?;
        Ok(self.fleet.register(registration, now))
    }

    pub async fn heartbeat(
        &mut self,
        heartbeat: &WorkerHeartbeat,
        hosted: bool,
        now: Now,
    ) -> Result<(HeartbeatAnswer, Outbox)> {
        let mut live = self.store.live_attempts().await?;
        live.retain(|attempt| attempt.worker == heartbeat.incarnation);
        let reconciled = self.fleet.heartbeat(heartbeat, &live, now);
        if let Some(seat) = self.fleet.seat(heartbeat.incarnation) {
            let record = WorkerRecord {
                registration: seat.registration.clone(),
                state: seat.state,
                seen_at: now.wall,
                hosted_by: hosted.then_some(self.node),
            };
            self.store.put_workers(vec![record]).await?;
        }
        let mut outbox = Outbox::default();
        if !reconciled.forget.is_empty() {
            let ack = Message::JobResultAck { executions: reconciled.forget };
            outbox.send.push((heartbeat.incarnation, ack));
        }
        Ok((reconciled.answer, outbox))
    }

    /// The worker said goodbye with nothing left to tell.
    pub async fn unregister(&mut self, worker: Incarnation, now: Now) -> Result<Outbox> {
        let outbox = self.give_up(worker, "its worker stopped", now).await?;
        self.store.remove_workers(vec![worker]).await?;
        Ok(outbox)
    }

    /// One round: records what workers told and gives out what they have room for, in one
    /// transaction where the store gathers writes.
    pub async fn round(&mut self, mut events: Events, now: Now) -> Result<Outbox> {
        events.collapse();
        // The outcomes' places count as free for the claims, which the store makes after them.
        for (from, outcome) in &events.outcomes {
            self.fleet.ended(*from, outcome.execution);
        }
        let requests = self.fleet.claims(CLAIM_MOST, &mut self.rng, now);
        let room: usize = requests.iter().map(|request| request.executions.len()).sum();
        let mut touched: Vec<JobId> = Vec::new();
        touched.extend(events.started.iter().map(|started| started.job));
        touched.extend(events.progress.iter().map(|progress| progress.job));
        touched.extend(events.chunks.iter().map(|chunk| chunk.job));

        let store = Arc::clone(&self.store);
        let logs = async {
            if events.chunks.is_empty() { Ok(()) } else { store.append_logs(events.chunks).await }
        };
        let started = async {
            if events.started.is_empty() {
                Ok(())
            } else {
                store.mark_started(events.started).await
            }
        };
        let progress = async {
            if events.progress.is_empty() {
                Ok(())
            } else {
                store.record_progress(events.progress).await
            }
        };
        let claims = async {
            if room == 0 { Ok(Vec::new()) } else { store.claim_ready(requests, now.wall).await }
        };
        // Polled in this order, so the store takes them in this order: logs before the outcome
        // they belong to, outcomes before the claims that use their places.
        let (logs, started, progress, recorded, claimed) = {
            let record = self.record(events.outcomes, now);
            tokio::join!(biased; logs, started, progress, record, claims)
        };
        let mut outbox = match recorded {
            Ok(outbox) => outbox,
            Err(error) => {
                // The places are not free after all, or it is unknown: the store says.
                self.recount().await?;
                return Err(error);
            }
        };
        let claimed = claimed?;
        self.fleet.claimed(&claimed);
        self.more = room > 0 && claimed.len() == room && room == CLAIM_MOST;
        outbox.changed.extend(claimed.iter().map(|claim| claim.dispatch.job));
        outbox.send.extend(dispatches(claimed));
        outbox.changed.extend(touched);
        outbox.again = [logs, started, progress].into_iter().find_map(Result::err);
        Ok(outbox)
    }

    /// Jobs whose time has come become ready.
    pub async fn promote(&mut self, now: Now) -> Result<()> {
        if self.next_due.is_some_and(|due| due <= now.wall) {
            let promoted = self.store.promote_due(now.wall, PROMOTE_MOST).await?;
            self.next_due =
                if promoted.more { Some(now.wall) } else { self.store.next_due().await? };
        }
        Ok(())
    }

    /// The slow round: leases, timeouts, due times, and a comparison with the store.
    pub async fn monitor(&mut self, now: Now) -> Result<Outbox> {
        let mut outbox = Outbox::default();
        for worker in self.fleet.lost(now) {
            tracing::warn!(worker = %worker, "worker not heard of within its lease: lost");
            let given_up =
                self.give_up(worker, "its worker was not heard of any more", now).await?;
            outbox.send.extend(given_up.send);
            outbox.changed.extend(given_up.changed);
            self.store.remove_workers(vec![worker]).await?;
        }
        let live = self.store.live_attempts().await?;
        let overdue = self.fleet.overdue(&live, now.wall);
        let owner = |outcome: Outcome| {
            let attempt = live.iter().find(|attempt| attempt.execution == outcome.execution);
            attempt.map(|attempt| (attempt.worker, outcome))
        };
        let overdue: Vec<_> = overdue.into_iter().filter_map(owner).collect();
        if !overdue.is_empty() {
            let timed_out = self.record(overdue, now).await?;
            outbox.send.extend(timed_out.send);
            outbox.changed.extend(timed_out.changed);
        }
        self.recount().await?;
        self.next_due = self.store.next_due().await?;
        Ok(outbox)
    }

    /// Reads who has what from the store.
    pub async fn recount(&mut self) -> Result<()> {
        self.fleet.live_is(&self.store.live_attempts().await?);
        Ok(())
    }

    /// Forgets a few old jobs; answers whether there may be more.
    pub async fn prune(&mut self, now: Now) -> Result<bool> {
        let ago = |age: std::time::Duration| {
            Timestamp::from_millis(now.wall.as_millis().saturating_sub(age.as_millis() as i64))
        };
        let request = PruneRequest {
            completed_before: ago(self.settings.keep_completed),
            others_before: ago(self.settings.keep_others),
            limit: PRUNE_MOST,
        };
        let pruned = self.store.prune(request).await?;
        Ok(pruned >= u64::from(PRUNE_MOST))
    }

    async fn give_up(&mut self, worker: Incarnation, why: &str, now: Now) -> Result<Outbox> {
        let live = self.store.live_attempts().await?;
        let held: Vec<&Live> = live.iter().filter(|attempt| attempt.worker == worker).collect();
        let heard_of = self.fleet.seat(worker).is_some();
        let lost =
            held.iter().map(|attempt| (worker, fleet::lost(attempt, heard_of, why, now.wall)));
        let outbox = self.record(lost.collect(), now).await?;
        self.fleet.remove(worker);
        Ok(outbox)
    }

    async fn record(&mut self, told: Vec<(Incarnation, Outcome)>, now: Now) -> Result<Outbox> {
        let mut outbox = Outbox::default();
        if told.is_empty() {
            return Ok(outbox);
        }
        let draws = told.iter().map(|_| policy::draw(&mut self.rng)).collect();
        let outcomes = told.iter().map(|(_, outcome)| outcome.clone()).collect();
        let answers = self.store.record_outcomes(outcomes, draws, now.wall).await?;
        if answers.len() != told.len() {
            return Err(StoreError::Unknown);
        }
        let mut acks: std::collections::BTreeMap<Incarnation, Vec<ExecutionId>> =
            std::collections::BTreeMap::new();
        for ((from, outcome), answer) in told.into_iter().zip(answers) {
            self.fleet.ended(from, outcome.execution);
            // Applied, stale or of an unknown job: all are final, the worker may forget it.
            acks.entry(from).or_default().push(outcome.execution);
            if let Recorded::Applied { run_at, .. } = answer {
                outbox.changed.push(outcome.job);
                if let Some(run_at) = run_at {
                    self.due_at(run_at);
                }
            }
        }
        let ack = |(to, executions)| (to, Message::JobResultAck { executions });
        outbox.send.extend(acks.into_iter().map(ack));
        Ok(outbox)
    }
}

/// One message to each worker.
fn dispatches(claimed: Vec<Claimed>) -> impl Iterator<Item = (Incarnation, Message)> {
    let mut by_worker: std::collections::BTreeMap<Incarnation, Vec<_>> =
        std::collections::BTreeMap::new();
    for claim in claimed {
        by_worker.entry(claim.worker).or_default().push(claim.dispatch);
    }
    by_worker.into_iter().map(|(worker, jobs)| (worker, Message::JobDispatch { jobs }))
}
