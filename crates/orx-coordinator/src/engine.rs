//! Carries the fleet's decisions out on a store. No transport and no timers: what is to be sent is
//! returned, and time is an argument. The simulation drives this very code.
//!
//! Every method may be called again after an error: nothing is assumed to have been done.
//!
//! A node that follows records what workers tell it and answers their heartbeats from the store;
//! claiming, promoting, giving up and forgetting are for the one that leads, and carry its term.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use orx_model::gate;
use orx_model::log::LogChunk;
use orx_model::message::{
    Dispatch, ExecutionProgress, ExecutionRef, HeartbeatAnswer, Message, Started, WorkerHeartbeat,
    WorkerOrder, WorkerRegistration, WorkerState,
};
use orx_model::{
    ExecutionId, Incarnation, JobId, JobStatus, LostWith, Name, Outcome, OutcomeKind, SecretHash,
    Timestamp, policy,
};
use orx_store::{
    CLAIM_MOST, CancelAnswer, CancelCommand, Claimed, ClockJump, ClockNote, Fire, Holder, Live,
    PruneRequest, Recorded, Result, Run, RunAfter, ScheduleRecord, Settle, SlotRequest, Store,
    StoreError, Term, WorkerPut, WorkerReport,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::clock::{self, Jump};
use crate::fleet::{self, Fleet, Seat};
use crate::holders::Holders;
use crate::schedules::{self, Step};
use crate::{Now, Settings};

/// Jobs sent in one message weigh about so much: far less than any link refuses.
const DISPATCH_BYTES: usize = 4 << 20;
/// Scheduled jobs made ready in one transaction.
const PROMOTE_MOST: u32 = 2_000;
/// Jobs, or rows of ledgers, forgotten in one transaction.
const PRUNE_MOST: u32 = 500;
/// Chunks of logs forgotten in one transaction.
const PRUNE_CHUNKS: u32 = 1_000;
/// Schedules fired in one transaction.
const FIRE_MOST: u32 = 500;
/// Jobs and rows that a transaction of firings writes, unless one schedule alone has more: what any
/// database does well within a call's deadline.
const FIRE_WRITES: usize = 5_000;
/// A schedule that a person changed while it fired is looked at again after this.
const FIRE_AGAIN: Duration = Duration::from_millis(20);
/// Watched runs settled in one transaction, and how often they are looked at.
const SETTLE_MOST: u32 = 500;
const SETTLE_EVERY: Duration = Duration::from_millis(100);
/// A fence is remembered so long after its worker was last heard of: a process that was stopped for
/// less, and goes on, finds it.
const FENCE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// A token that ended is shown so long.
const TOKEN_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// What the clock shows is noted so often, and schedules ahead of it are looked for.
const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// After the clock was set ahead, or where nobody led for longer than [`AWAY_LONG`], nothing is
/// forgotten for so long: if it is wrong, that shows by then.
const KEEP_FOR: Duration = Duration::from_secs(60 * 60);
const AWAY_LONG: Duration = Duration::from_secs(24 * 60 * 60);
/// Rows of a ledger read at once.
const RAN_PAGE: u32 = 100;
/// A node that was silent for so many heartbeats is forgotten.
const NODE_BEATS: u32 = 60;

/// What follows from a call: messages for inboxes, and jobs whose watchers should look.
#[derive(Debug, Default)]
pub struct Outbox {
    pub send: Vec<(Incarnation, Message)>,
    pub changed: Vec<JobId>,
    /// Places at workers became free: whoever leads should know.
    pub room: bool,
    /// What is known of a worker changed: whoever leads should know.
    pub workers: bool,
    /// Of the outcomes that were told, those that changed nothing.
    pub stale: BTreeSet<ExecutionId>,
    /// Something was not taken: the same events should be told again.
    pub again: Option<StoreError>,
    /// The output that was told is not in the store, or not all of it; all else was done as if it
    /// were. It is for the caller to try it in parts.
    pub unkept: Option<StoreError>,
    /// Nothing could be claimed, though all that was told is recorded.
    pub failed: Option<StoreError>,
}

impl Outbox {
    fn add(&mut self, other: Self) {
        self.send.extend(other.send);
        self.changed.extend(other.changed);
        self.stale.extend(other.stale);
        self.room |= other.room;
        self.workers |= other.workers;
    }
}

/// What workers told, gathered over many envelopes.
#[derive(Debug, Default)]
pub struct Events {
    /// Each with who told it.
    pub started: Vec<(Incarnation, Started)>,
    pub progress: Vec<(Incarnation, ExecutionProgress)>,
    pub chunks: Vec<(Incarnation, LogChunk)>,
    /// The answer goes to whoever told it.
    pub outcomes: Vec<(Incarnation, Outcome)>,
}

impl Events {
    /// Takes what a worker tells; answers `false` for a message that is not for coordinators.
    pub fn add(&mut self, from: Incarnation, mut message: Message) -> bool {
        // Whatever carried it: what is recorded can be read by everybody.
        gate::make_fit(&mut message);
        match message {
            Message::JobStatus { started } => self.started.extend(by(from, started)),
            Message::JobProgress { progress } => self.progress.extend(by(from, progress)),
            Message::JobLog { chunks } => self.chunks.extend(by(from, chunks)),
            Message::JobResult { outcomes } => self.outcomes.extend(by(from, outcomes)),
            Message::JobDispatch { .. }
            | Message::JobCancel { .. }
            | Message::JobResultAck { .. }
            | Message::Heartbeat {}
            | Message::Hint(_) => return false,
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

    /// Every execution of which something is told.
    fn executions(&self) -> impl Iterator<Item = ExecutionRef> {
        let started = self.started.iter().map(|(_, it)| (it.job, it.execution));
        let progress = self.progress.iter().map(|(_, it)| (it.job, it.execution));
        let chunks = self.chunks.iter().map(|(_, it)| (it.job, it.execution));
        let outcomes = self.outcomes.iter().map(|(_, it)| (it.job, it.execution));
        let all = started.chain(progress).chain(chunks).chain(outcomes);
        all.map(|(job, execution)| ExecutionRef { job, execution })
    }

    /// Keeps what is told by the worker that was given the execution. Answers the outcomes that
    /// others told.
    fn keep_of_holders(&mut self, holders: &Holders) -> Vec<(Incarnation, ExecutionId)> {
        let holds = |from: Incarnation, job: JobId, execution: ExecutionId| {
            let holder = holders.of(ExecutionRef { job, execution });
            if holder.is_some_and(|holder| holder.worker != from) {
                tracing::warn!(worker = %from, %job, "set aside: another worker has that attempt");
            }
            holder.filter(|holder| holder.worker == from)
        };
        self.started.retain(|(from, it)| holds(*from, it.job, it.execution).is_some());
        self.progress.retain(|(from, it)| holds(*from, it.job, it.execution).is_some());
        self.chunks.retain(|(from, it)| {
            holds(*from, it.job, it.execution).is_some_and(|holder| holder.attempt == it.attempt)
        });
        let mut others = Vec::new();
        self.outcomes.retain(|(from, it)| {
            let held = holds(*from, it.job, it.execution).is_some();
            if !held {
                others.push((*from, it.execution));
            }
            held
        });
        others
    }

    /// A start, and progress, whose end has come as well need no writes of their own.
    fn collapse(&mut self) {
        if self.outcomes.is_empty() {
            return;
        }
        let ended: BTreeSet<ExecutionId> =
            self.outcomes.iter().map(|(_, outcome)| outcome.execution).collect();
        self.started.retain(|(_, started)| !ended.contains(&started.execution));
        self.progress.retain(|(_, progress)| !ended.contains(&progress.execution));
    }
}

fn by<T>(from: Incarnation, told: Vec<T>) -> impl Iterator<Item = (Incarnation, T)> {
    told.into_iter().map(move |one| (from, one))
}

fn told<T>(by: Vec<(Incarnation, T)>) -> Vec<T> {
    by.into_iter().map(|(_, told)| told).collect()
}

pub struct Engine {
    store: Arc<dyn Store>,
    settings: Settings,
    fleet: Fleet,
    /// This coordinator.
    node: Incarnation,
    /// `None` while it follows.
    term: Option<Term>,
    rng: StdRng,
    /// By which the store knows the workers that live and die with this process. No secret has this
    /// hash, so nobody shows it from outside.
    hosted: SecretHash,
    holders: Holders,
    /// When something falls due next, as far as known; the monitor reads it afresh.
    next_due: Option<Timestamp>,
    /// The last round claimed as many as it may at once: there may be more to claim.
    more: bool,
    /// When a schedule fires next, as far as known.
    next_fire: Option<Timestamp>,
    /// Schedules that the store could not take, until the monitor's next round.
    passed_over: BTreeSet<Name>,
    /// Runs of schedules wait for others, or are to be told of when they fail.
    watching: bool,
    /// When to look at them next; `None` once nothing has ended since.
    settle_at: Option<Timestamp>,
    settled_at: Timestamp,
    /// Runs cancelled for the next of their schedule, which nobody need ask again.
    told_to_end: BTreeSet<JobId>,
    clock: ClockKeeping,
}

/// What follows from a clock that is set.
#[derive(Debug, Default)]
struct ClockKeeping {
    watch: clock::Watch,
    /// Noticed, and not yet acted on.
    jump: Option<Jump>,
    note: ClockNote,
    /// When what is noted, and schedules ahead of the clock, are looked at next.
    look_at: Duration,
    /// Schedules that did not fire as they were read: one of their slots ran before, perhaps.
    unfired: BTreeSet<Name>,
    /// Of those, the ones that are looked at again in this pass.
    tried: BTreeSet<Name>,
    /// It was set ahead by so much, and what that made due was not decided yet.
    ahead_by: Option<i64>,
    /// Until then nothing is forgotten: it was set ahead lately, or nobody led for long, and may be
    /// wrong.
    keep_until: Duration,
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
        let mut rng = StdRng::seed_from_u64(seed);
        let mut hosted = [0; 32];
        rng.fill_bytes(&mut hosted);
        Self {
            store,
            settings,
            fleet,
            node,
            term: None,
            rng,
            hosted: SecretHash(hosted),
            holders: Holders::default(),
            next_due: None,
            more: false,
            next_fire: None,
            passed_over: BTreeSet::new(),
            watching: false,
            settle_at: None,
            settled_at: Timestamp::default(),
            told_to_end: BTreeSet::new(),
            clock: ClockKeeping::default(),
        }
    }

    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// When something falls due: a job, a schedule, a look at runs that wait.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        [self.next_due, self.next_fire, self.settle_at].into_iter().flatten().min()
    }

    /// Another round may find more to claim, or to make ready, at once.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// A job was accepted that is due, or over, at `at`, or a schedule made that fires then.
    pub fn due_at(&mut self, at: Timestamp) {
        for next in [&mut self.next_due, &mut self.next_fire] {
            *next = Some(next.map_or(at, |known| known.min(at)));
        }
    }

    /// The store was away, or this process stood still: silence in that time is nobody's death.
    pub fn was_away(&mut self, now: Now) {
        self.fleet.was_away(now);
    }

    /// The term in which it leads.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.term
    }

    /// From now on it leads: what that rests on is read anew.
    pub async fn lead(&mut self, term: Term, now: Now) -> Result<()> {
        let rows = self.store.workers(now.wall).await?;
        let live = self.store.live_attempts().await?;
        let next_due = self.store.next_due().await?;
        let note = self.store.clock().await?;
        self.watching = self.store.is_watching().await?;
        self.clock.begins(note, now);
        self.fleet.term_begins(now);
        self.fleet.live_is(&live);
        self.fleet.rows_are(&rows, now);
        self.next_due = next_due;
        // Whatever is due, and however long it has been, is looked at first.
        self.next_fire = Some(now.wall);
        self.settle_at = self.watching.then_some(now.wall);
        self.term = Some(term);
        Ok(())
    }

    /// From now on another leads.
    pub fn follow(&mut self) {
        self.term = None;
        self.next_due = None;
        self.next_fire = None;
        self.passed_over.clear();
        self.settle_at = None;
        self.told_to_end.clear();
        self.more = false;
    }

    /// Where the store is of one process at a time, which its lock proves: what an earlier server
    /// hosted died with it, so its jobs are given back at once.
    pub async fn rescue_hosted(&mut self, now: Now) -> Result<Outbox> {
        let workers = self.store.workers(now.wall).await?;
        let node = self.node;
        let dead: BTreeSet<Incarnation> = workers
            .iter()
            .filter(|worker| worker.report.hosted_by.is_some_and(|host| host != node))
            .map(|worker| worker.report.registration.incarnation)
            .collect();
        let live = self.store.live_attempts().await?;
        let why = "the server ended under it";
        let lost = live
            .iter()
            .filter(|attempt| dead.contains(&attempt.worker))
            .map(|attempt| (attempt.worker, fleet::lost(attempt, LostWith::Server, why, now.wall)))
            .collect();
        let outbox = self.give_up_all(lost, now).await?;
        dead.iter().for_each(|worker| self.fleet.remove(*worker));
        self.store.remove_workers(dead.into_iter().collect(), true).await?;
        self.recount().await?;
        Ok(outbox)
    }

    /// `secret` is the hash of what the worker showed, or `None` for one that lives and dies with
    /// this process. `None` is answered where the incarnation is known by another secret.
    pub async fn register(
        &mut self,
        registration: WorkerRegistration,
        secret: Option<SecretHash>,
        now: Now,
    ) -> Result<Option<(HeartbeatAnswer, Outbox)>> {
        let report = WorkerReport {
            state: WorkerState::Running,
            capacity: registration.slots,
            heartbeat: 0,
            load: None,
            hosted_by: secret.is_none().then_some(self.node),
            node: Some(self.node),
            registration: registration.clone(),
        };
        // Stored before the first dispatch, so that after a crash it is known whose the attempts
        // were.
        let WorkerPut::Kept(order) = self.put(report, secret, now).await? else {
            return Ok(None);
        };
        let answer = self.fleet.register(registration, order, now);
        Ok(Some((answer, Outbox { workers: true, ..Outbox::default() })))
    }

    /// As [`Self::register`].
    pub async fn heartbeat(
        &mut self,
        heartbeat: &WorkerHeartbeat,
        secret: Option<SecretHash>,
        now: Now,
    ) -> Result<Option<(HeartbeatAnswer, Outbox)>> {
        let Some(seat) = self.fleet.seat(heartbeat.incarnation) else {
            // Its outcomes and attempts are looked at once it has registered.
            let answer = HeartbeatAnswer { register: true, ..self.fleet.answer(None, now) };
            return Ok(Some((answer, Outbox::default())));
        };
        let report = WorkerReport {
            registration: seat.registration.clone(),
            state: heartbeat.state,
            capacity: heartbeat.capacity,
            heartbeat: heartbeat.seq,
            load: heartbeat.load,
            hosted_by: secret.is_none().then_some(self.node),
            node: Some(self.node),
        };
        // Before anything that it says is believed.
        let WorkerPut::Kept(order) = self.put(report, secret, now).await? else {
            return Ok(None);
        };
        let changed = self.fleet.heard(heartbeat, now);
        let live = self.store.live_attempts_of(heartbeat.incarnation).await?;
        if heartbeat.state == WorkerState::Stopped {
            return self.goodbye(heartbeat, &live, now).await.map(Some);
        }
        let reconciled = self.fleet.heartbeat(heartbeat, &live, order, now);
        let mut outbox = Outbox { workers: changed, ..Outbox::default() };
        if !reconciled.forget.is_empty() {
            let ack = Message::JobResultAck { executions: reconciled.forget };
            outbox.send.push((heartbeat.incarnation, ack));
        }
        Ok(Some((reconciled.answer, outbox)))
    }

    /// The worker ended in good order. What was on its way to it never starts there.
    async fn goodbye(
        &mut self,
        heartbeat: &WorkerHeartbeat,
        live: &[Live],
        now: Now,
    ) -> Result<(HeartbeatAnswer, Outbox)> {
        let worker = heartbeat.incarnation;
        let told = live.iter().map(|attempt| (worker, fleet::returned(attempt, now.wall)));
        let mut outbox = self.record(told.collect(), None, now).await?;
        self.store.remove_workers(vec![worker], false).await?;
        self.fleet.remove(worker);
        outbox.workers = true;
        Ok((self.fleet.answer(None, now), outbox))
    }

    async fn put(
        &self,
        report: WorkerReport,
        secret: Option<SecretHash>,
        now: Now,
    ) -> Result<WorkerPut> {
        let report = (secret.unwrap_or(self.hosted), report);
        let answers = self.store.put_workers(vec![report], now.wall).await?;
        answers.first().copied().ok_or(StoreError::Unknown)
    }

    /// Reads what other nodes heard of workers, and what is ordered of them.
    pub async fn refresh(&mut self, now: Now) -> Result<Outbox> {
        let mut outbox = Outbox::default();
        if self.term.is_none() {
            return Ok(outbox);
        }
        let rows = self.store.workers(now.wall).await?;
        self.fleet.rows_are(&rows, now);
        for worker in self.fleet.fenced() {
            tracing::warn!(worker = %worker, "worker fenced: its attempts are given up");
            outbox.add(self.give_up(worker, "its worker was fenced", now).await?);
        }
        let keep = now.mono < self.clock.keep_until;
        let old = rows.iter().filter(|row| {
            row.order == Some(WorkerOrder::Fence) && row.silent > FENCE_KEPT && !keep
        });
        let old: Vec<_> = old.map(|row| row.report.registration.incarnation).collect();
        if !old.is_empty() {
            self.store.remove_workers(old, true).await?;
        }
        Ok(outbox)
    }

    /// One round: records what workers told and gives out what they have room for, at once, but for
    /// logs, which go before the outcomes that they belong to.
    pub async fn round(&mut self, mut events: Events, now: Now) -> Result<Outbox> {
        self.look_for_holders(&events).await?;
        let others = events.keep_of_holders(&self.holders);
        events.collapse();
        let mut touched: Vec<JobId> = Vec::new();
        touched.extend(events.started.iter().map(|(_, started)| started.job));
        touched.extend(events.progress.iter().map(|(_, progress)| progress.job));
        touched.extend(events.chunks.iter().map(|(_, chunk)| chunk.job));
        // A store may write both at once, in any order, and whoever follows a job stops at its end.
        let mut unkept = None;
        if !events.outcomes.is_empty() && !events.chunks.is_empty() {
            let kept = self.store.append_logs(told(std::mem::take(&mut events.chunks))).await;
            unkept = no_output(kept)?;
        }
        // The outcomes' places count as free for the claims beside them.
        for (from, outcome) in &events.outcomes {
            self.fleet.ended(*from, outcome.execution);
            if matches!(outcome.kind, OutcomeKind::HandedBack) {
                self.fleet.had_no_slot(*from);
            }
        }
        let term = self.term;
        let requests = match term {
            Some(_) => self.fleet.claims(&mut self.rng, now),
            None => Vec::new(),
        };
        let store = Arc::clone(&self.store);
        let logs = async {
            if events.chunks.is_empty() {
                Ok(())
            } else {
                store.append_logs(told(events.chunks)).await
            }
        };
        let started = async {
            if events.started.is_empty() {
                Ok(())
            } else {
                store.mark_started(told(events.started), now.wall).await
            }
        };
        let progress = async {
            if events.progress.is_empty() {
                Ok(())
            } else {
                store.record_progress(told(events.progress)).await
            }
        };
        let claims = async {
            match term {
                Some(term) if !requests.is_empty() => {
                    store.claim_ready(requests, term, now.wall).await
                }
                _ => Ok(Vec::new()),
            }
        };
        // Polled in this order: a store that gathers writes makes one transaction of them.
        let (logs, started, progress, recorded, claimed) = {
            let record = self.record(events.outcomes, None, now);
            tokio::join!(biased; logs, started, progress, record, claims)
        };
        let (mut outbox, again) = match recorded {
            Ok(outbox) => (outbox, None),
            Err(error) => {
                // The places are not free after all, or it is unknown: the store says. What was
                // claimed beside it is claimed, and nobody else would send it.
                let recounted = self.recount().await;
                (Outbox::default(), Some(recounted.err().unwrap_or(error)))
            }
        };
        let claimed = match claimed {
            Ok(claimed) => claimed,
            // What was recorded stands, and is told; the claims are for another round.
            Err(error) => {
                outbox.failed = Some(error);
                Vec::new()
            }
        };
        let logs = match no_output(logs) {
            Ok(None) => Ok(()),
            Ok(error) => {
                unkept = error;
                Ok(())
            }
            Err(error) => Err(error),
        };
        outbox.unkept = unkept;
        self.fleet.claimed(&claimed, now);
        for claim in &claimed {
            let holder = Holder { worker: claim.worker, attempt: claim.dispatch.attempt };
            self.holders.note(claim.dispatch.execution_ref(), holder);
        }
        outbox.stale.extend(others.iter().map(|(_, execution)| *execution));
        outbox.send.extend(acks(others));
        self.more = claimed.len() == CLAIM_MOST;
        outbox.changed.extend(claimed.iter().map(|claim| claim.dispatch.job));
        outbox.send.extend(self.dispatches(claimed));
        outbox.changed.extend(touched);
        outbox.again =
            again.or_else(|| [logs, started, progress].into_iter().find_map(Result::err));
        Ok(outbox)
    }

    /// A part of the output of an attempt comes from the worker that was given it; known from the round
    /// in which it was told.
    pub(crate) fn is_of_holder(&self, from: Incarnation, chunk: &LogChunk) -> bool {
        let holder = self.holders.of(ExecutionRef { job: chunk.job, execution: chunk.execution });
        holder.is_some_and(|holder| holder.worker == from && holder.attempt == chunk.attempt)
    }

    /// Reads who was given what the events are about, where that is not known yet.
    async fn look_for_holders(&mut self, events: &Events) -> Result<()> {
        let unknown: BTreeSet<ExecutionRef> =
            events.executions().filter(|of| !self.holders.knows(of.execution)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let unknown: Vec<ExecutionRef> = unknown.into_iter().collect();
        let found = self.store.holders(unknown.clone()).await?;
        for (of, holder) in unknown.into_iter().zip(found) {
            if let Some(holder) = holder {
                self.holders.note(of, holder);
            }
        }
        Ok(())
    }

    /// Jobs whose time has come become ready.
    pub async fn promote(&mut self, now: Now) -> Result<()> {
        if let Some(term) = self.term
            && self.next_due.is_some_and(|due| due <= now.wall)
        {
            let promoted = self.store.promote_due(term, now.wall, PROMOTE_MOST).await?;
            self.next_due =
                if promoted.more { Some(now.wall) } else { self.store.next_due().await? };
        }
        Ok(())
    }

    /// Fires a batch of the schedules that are due; the rest comes with the next call.
    pub async fn fire(&mut self, now: Now) -> Result<()> {
        self.look_at_clock(now);
        let Some(term) = self.term else { return Ok(()) };
        match self.keep_clock(term, now).await {
            // What cannot be stored of it keeps no schedule from firing.
            Err(error @ StoreError::Backend { .. }) => {
                tracing::error!(%error, "what follows from the clock could not be done");
                self.clock.look_at = now.mono + CLOCK_EVERY;
            }
            kept => kept?,
        }
        if self.next_fire.is_none_or(|at| at > now.wall) {
            return Ok(());
        }
        let (mut due, mut more) = self.due_schedules(now).await?;
        // A person ran one by hand, perhaps: such runs are watched too.
        if !self.watching {
            self.watching = self.store.is_watching().await?;
            self.look_at_runs(now);
        }
        let held =
            if self.watching && !due.is_empty() { self.held().await? } else { BTreeSet::new() };
        self.clock.tried = std::mem::take(&mut self.clock.unfired);
        let (mut fires, mut writes): (Vec<Fire>, usize) = (Vec::new(), 0);
        for record in &due {
            let fire = self.decided(record, &held, now).await?;
            writes += fire.runs.len() + fire.rows.len();
            if !fires.is_empty() && writes > FIRE_WRITES {
                break;
            }
            fires.push(fire);
        }
        more |= fires.len() < due.len();
        due.truncate(fires.len());
        let watches = |run: &Run| run.on_failure.is_some() || run.after != RunAfter::Nothing;
        let watched = fires.iter().flat_map(|fire| &fire.runs).any(watches);
        let fired = match self.fire_all(fires, term, now).await {
            Err(StoreError::Backend { .. }) => self.fire_singly(&due, &held, term, now).await?,
            fired => fired?,
        };
        if watched {
            self.watching = true;
            self.look_at_runs(now);
        }
        // Those look at what ran before next time; who does so already waits a moment.
        let unlooked = self.clock.unfired.iter().any(|id| !self.clock.tried.contains(id));
        self.next_fire = if more || unlooked {
            Some(now.wall)
        } else if fired < due.len() {
            Some(now.wall.saturating_add(FIRE_AGAIN))
        } else {
            self.clock.ahead_by = None;
            self.store.next_fire(now.wall).await?
        };
        Ok(())
    }

    /// What is to be done for a schedule that is due.
    async fn decided(
        &mut self,
        record: &ScheduleRecord,
        held: &BTreeSet<JobId>,
        now: Now,
    ) -> Result<Fire> {
        let again = self.clock.tried.contains(record.id()) || schedules::is_again(record);
        let mut fire = schedules::decide(record, held, &BTreeSet::new(), now.wall);
        // A row of a slot that made a job would tell nothing of the time that comes again.
        if again || !fire.rows.is_empty() || schedules::is_late(&fire) {
            let ran = self.ran(record, record.plan.position.handled, now).await?;
            fire = schedules::decide(record, held, &ran, now.wall);
        }
        if let Some(by_ms) = self.clock.ahead_by
            && schedules::is_late(&fire)
        {
            fire.rows.push(schedules::clock_set(record, by_ms, now.wall));
        }
        Ok(fire)
    }

    /// Slots after then that made a job, as far as a decision asks.
    async fn ran(
        &self,
        record: &ScheduleRecord,
        after: Timestamp,
        now: Now,
    ) -> Result<BTreeSet<Timestamp>> {
        let until = schedules::horizon(record, now.wall);
        let mut before = Some(until.saturating_add(Duration::from_millis(1)));
        let mut ran = BTreeSet::new();
        loop {
            let (id, limit) = (record.id().clone(), RAN_PAGE);
            let request = SlotRequest { id, before, missed: false, limit };
            let rows = self.store.slots(request).await?;
            let newer = rows.iter().filter(|row| row.slot > after && row.outcome.job().is_some());
            ran.extend(newer.map(|row| row.slot));
            before = rows.last().map(|row| row.slot);
            let is_last = rows.len() < RAN_PAGE as usize;
            if is_last || before.is_none_or(|before| before <= after) {
                return Ok(ran);
            }
        }
    }

    /// Whether the clock was set since the last pass.
    fn look_at_clock(&mut self, now: Now) {
        let Some(jump) = self.clock.watch.look(now) else { return };
        tracing::warn!(by_ms = jump.by_ms, "the clock of this machine was set {}", jump.words());
        self.clock.noticed(jump, now);
    }

    /// A leader's: once the clock was set, waits are as long as before, and schedules go on from the
    /// right now; and what the clock shows is noted, for who leads next.
    async fn keep_clock(&mut self, term: Term, now: Now) -> Result<()> {
        let jump = self.clock.jump;
        if jump.is_none() && now.mono < self.clock.look_at {
            return Ok(());
        }
        if let Some(Jump { before, by_ms }) = jump {
            let waits =
                self.store.clock_was_set(ClockJump { before, by_ms }, term, now.wall).await?;
            if waits > 0 {
                tracing::info!(waits, "waits of jobs go on as if the clock had not been set");
            }
            self.clock.note.jumps += 1;
            self.clock.note.last = Some((now.wall, by_ms));
            self.clock.jump = None;
            self.next_due = self.store.next_due().await?;
            self.next_fire = Some(now.wall);
        }
        self.clock.note.seen = now.wall;
        self.store.note_clock(self.clock.note, term).await?;
        self.set_back(jump.map(|jump| jump.by_ms), term, now).await?;
        self.clock.look_at = now.mono + CLOCK_EVERY;
        Ok(())
    }

    /// Schedules that stand ahead of the clock go on from now.
    async fn set_back(&mut self, by_ms: Option<i64>, term: Term, now: Now) -> Result<()> {
        let ahead_of = now.wall.saturating_add(clock::NOTICED);
        loop {
            let ahead = self.store.schedules_ahead(ahead_of, FIRE_MOST).await?;
            let mut rewinds = Vec::with_capacity(ahead.len());
            for record in &ahead {
                let ran = self.ran(record, now.wall, now).await?;
                let stood = record.plan.position.handled.as_millis();
                let apart = now.wall.as_millis().saturating_sub(stood);
                let by_ms = by_ms.filter(|by_ms| *by_ms < 0).unwrap_or(apart);
                rewinds.push(schedules::rewind(record, &ran, by_ms, now.wall));
            }
            if rewinds.is_empty() {
                return Ok(());
            }
            tracing::warn!(
                schedules = rewinds.len(),
                "schedules stood ahead of the clock: their next due times are found anew"
            );
            let done = self.store.rewind(rewinds, term, now.wall).await?;
            self.next_fire = Some(now.wall);
            // Those that others changed meanwhile are looked at with the next note.
            if ahead.len() < FIRE_MOST as usize || !done.contains(&true) {
                return Ok(());
            }
        }
    }

    /// Runs that ended before their turn came, while what they waited for goes on.
    async fn held(&self) -> Result<BTreeSet<JobId>> {
        let mut most = SETTLE_MOST;
        loop {
            let watched = self.store.watched(most).await?;
            if watched.len() < most as usize {
                return Ok(schedules::held(&watched));
            }
            most = most.saturating_mul(4);
        }
    }

    /// A batch, and whether there may be more. Those that are passed over hide no others.
    async fn due_schedules(&self, now: Now) -> Result<(Vec<ScheduleRecord>, bool)> {
        let mut most = FIRE_MOST;
        loop {
            let mut due = self.store.due_schedules(now.wall, most).await?;
            let full = due.len() >= most as usize;
            due.retain(|record| !self.passed_over.contains(record.id()));
            if !due.is_empty() || !full {
                let more = full || due.len() > FIRE_MOST as usize;
                due.truncate(FIRE_MOST as usize);
                return Ok((due, more));
            }
            most = most.saturating_mul(4);
        }
    }

    /// Answers for how many it was done.
    async fn fire_all(&mut self, fires: Vec<Fire>, term: Term, now: Now) -> Result<usize> {
        if fires.is_empty() {
            return Ok(0);
        }
        let ids: Vec<Name> = fires.iter().map(|fire| fire.basis.id.clone()).collect();
        let answers = self.store.fire(fires, Some(term), now.wall).await?;
        let not = ids.into_iter().zip(&answers).filter(|(_, answer)| answer.is_none());
        self.clock.unfired.extend(not.map(|(id, _)| id));
        Ok(answers.iter().flatten().count())
    }

    /// One that the store cannot take is passed over until the monitor's next round.
    async fn fire_singly(
        &mut self,
        due: &[ScheduleRecord],
        held: &BTreeSet<JobId>,
        term: Term,
        now: Now,
    ) -> Result<usize> {
        let mut fired = 0;
        for record in due {
            let fire = self.decided(record, held, now).await?;
            match self.fire_all(vec![fire], term, now).await {
                Ok(done) => fired += done,
                Err(error @ StoreError::Backend { .. }) => {
                    tracing::error!(schedule = %record.id(), %error, "a schedule could not fire");
                    self.passed_over.insert(record.id().clone());
                    fired += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(fired)
    }

    /// Something ended that a run may wait for.
    fn look_at_runs(&mut self, now: Now) {
        if self.watching {
            let at = now.wall.max(self.settled_at.saturating_add(SETTLE_EVERY));
            // Where the clock was put back, that is too far away.
            let at = at.min(now.wall.saturating_add(SETTLE_EVERY));
            self.settle_at = Some(self.settle_at.map_or(at, |known| known.min(at)));
        }
    }

    /// What is to be done now about watched runs, and whether there may be more.
    async fn steps(&mut self) -> Result<(Vec<Step>, bool)> {
        let mut most = SETTLE_MOST;
        loop {
            let watched = self.store.watched(most).await?;
            let mut steps = schedules::steps(&watched);
            let asked = |step: &Step| match step {
                Step::Cancel(job) => Some(*job),
                Step::Settle(_) => None,
            };
            let wanted: BTreeSet<JobId> = steps.iter().filter_map(asked).collect();
            self.told_to_end.retain(|job| wanted.contains(job));
            steps.retain(|step| asked(step).is_none_or(|job| !self.told_to_end.contains(&job)));
            let full = watched.len() >= most as usize;
            // Those for which there is nothing to do yet must not hide others.
            if !steps.is_empty() || !full {
                return Ok((steps, full));
            }
            most = most.saturating_mul(4);
        }
    }

    /// Lets runs go on whose predecessors have ended, cancels predecessors, and tells of failures.
    pub async fn settle(&mut self, now: Now) -> Result<Outbox> {
        let mut outbox = Outbox::default();
        let Some(term) = self.term else { return Ok(outbox) };
        if self.settle_at.is_none_or(|at| at > now.wall) {
            return Ok(outbox);
        }
        let (steps, full) = self.steps().await?;
        let mut settles = Vec::new();
        let mut cancels: BTreeSet<JobId> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Settle(settle) => settles.push(settle),
                Step::Cancel(job) => _ = cancels.insert(job),
            }
        }
        if !settles.is_empty() {
            outbox.changed.extend(settles.iter().map(Settle::job));
            self.store.settle(settles, term, now.wall).await?;
        }
        if !cancels.is_empty() {
            outbox.changed.extend(&cancels);
            let command = |id: &JobId| CancelCommand {
                id: *id,
                reason: Some("the next run of its schedule is due".to_owned()),
                by: Some("orx".to_owned()),
                force: false,
                expected: None,
            };
            let commands = cancels.iter().map(command).collect();
            let answers = self.store.cancel(commands, now.wall).await?;
            self.told_to_end.extend(&cancels);
            for (job, answer) in cancels.into_iter().zip(answers) {
                if let CancelAnswer::Cancelling { worker, execution, .. } = answer {
                    let executions = vec![ExecutionRef { job, execution }];
                    outbox.send.push((worker, Message::JobCancel { executions }));
                }
            }
        }
        self.settled_at = now.wall;
        self.settle_at = None;
        self.watching = self.store.is_watching().await?;
        if full || !outbox.changed.is_empty() {
            self.look_at_runs(now);
        }
        Ok(outbox)
    }

    /// The slow round: leases, timeouts, due times, and a comparison with the store.
    pub async fn monitor(&mut self, now: Now) -> Result<Outbox> {
        if self.term.is_none() {
            self.fleet.forget_silent(now);
            return Ok(Outbox::default());
        }
        let mut outbox = self.refresh(now).await?;
        for worker in self.fleet.lost(now) {
            tracing::warn!(worker = %worker, "worker not heard of within its lease: lost");
            outbox.add(self.give_up(worker, "its worker was not heard of any more", now).await?);
            // A fence outlives the silence of its worker, also one that was ordered just now.
            self.store.remove_workers(vec![worker], false).await?;
        }
        let live = self.store.live_attempts().await?;
        let overdue = self.fleet.overdue(&live, now);
        let owner = |outcome: Outcome| {
            let attempt = live.iter().find(|attempt| attempt.execution == outcome.execution);
            attempt.map(|attempt| (attempt.worker, outcome))
        };
        let overdue: Vec<_> = overdue.into_iter().filter_map(owner).collect();
        if !overdue.is_empty() {
            outbox.add(self.give_up_all(overdue, now).await?);
        }
        self.recount().await?;
        self.next_due = self.store.next_due().await?;
        // Those that should have fired, too.
        self.passed_over.clear();
        self.next_fire = self.store.next_fire(Timestamp::from_millis(i64::MIN)).await?;
        self.watching = self.store.is_watching().await?;
        self.look_at_runs(now);
        Ok(outbox)
    }

    /// Forgets nodes that have been silent, and tokens that have ended, for long.
    pub async fn forget_old(&mut self, now: Now) -> Result<()> {
        if now.mono >= self.clock.keep_until {
            self.store.forget_tokens(now.wall.saturating_sub(TOKEN_KEPT)).await?;
        }
        let old = self.settings.node_heartbeat * NODE_BEATS;
        let nodes = self.store.nodes(now.wall).await?;
        let old: Vec<_> = nodes
            .iter()
            .filter(|node| node.silent > old && node.report.node != self.node)
            .map(|node| node.report.node)
            .collect();
        if old.is_empty() { Ok(()) } else { self.store.remove_nodes(old).await }
    }

    /// Another node recorded that something ended.
    pub async fn room_elsewhere(&mut self, now: Now) -> Result<()> {
        self.look_at_runs(now);
        self.recount().await
    }

    /// Reads who has what from the store.
    pub async fn recount(&mut self) -> Result<()> {
        self.fleet.live_is(&self.store.live_attempts().await?);
        Ok(())
    }

    /// Forgets a few old jobs, rows of ledgers and keys; answers whether there may be more. Nothing
    /// while the clock may be wrong: what is forgotten does not come back with the right time.
    pub async fn prune(&mut self, now: Now) -> Result<bool> {
        if now.mono < self.clock.keep_until {
            return Ok(false);
        }
        let ago = |age: Duration| now.wall.saturating_sub(age);
        let request = PruneRequest {
            completed_before: ago(self.settings.keep_completed),
            others_before: ago(self.settings.keep_others),
            limit: PRUNE_MOST,
            chunks: PRUNE_CHUNKS,
        };
        let Some(term) = self.term else { return Ok(false) };
        let pruned = self.store.prune(request, term).await?;
        let before = ago(self.settings.keep_slots);
        let rows = self.store.prune_slots(before, PRUNE_MOST, term).await?;
        let keys = self.store.forget_keys(now.wall, PRUNE_MOST, term).await?;
        Ok(pruned.more || rows.max(keys) >= u64::from(PRUNE_MOST))
    }

    /// One message to each worker, or a few where the jobs are large.
    fn dispatches(&self, claimed: Vec<Claimed>) -> Vec<(Incarnation, Message)> {
        let mut by_worker: BTreeMap<Incarnation, Vec<Dispatch>> = BTreeMap::new();
        for claim in claimed {
            by_worker.entry(claim.worker).or_default().push(claim.dispatch);
        }
        let mut messages = Vec::new();
        for (worker, jobs) in by_worker {
            let heard = self.fleet.seat(worker).map(Seat::heartbeat);
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

    async fn give_up(&mut self, worker: Incarnation, why: &str, now: Now) -> Result<Outbox> {
        let held = self.store.live_attempts_of(worker).await?;
        let with = self.fleet.lost_with(worker);
        let lost = held.iter().map(|attempt| (worker, fleet::lost(attempt, with, why, now.wall)));
        let outbox = self.give_up_all(lost.collect(), now).await?;
        self.fleet.remove(worker);
        Ok(outbox)
    }

    async fn give_up_all(&mut self, lost: Vec<(Incarnation, Outcome)>, now: Now) -> Result<Outbox> {
        match self.term {
            Some(term) => self.record(lost, Some(term), now).await,
            None => Err(StoreError::Deposed),
        }
    }

    /// With a term, as its leader; without, as whoever was told.
    async fn record(
        &mut self,
        told: Vec<(Incarnation, Outcome)>,
        term: Option<Term>,
        now: Now,
    ) -> Result<Outbox> {
        let mut outbox = Outbox::default();
        if told.is_empty() {
            return Ok(outbox);
        }
        let draws = told.iter().map(|_| policy::draw(&mut self.rng)).collect();
        let outcomes = told.iter().map(|(_, outcome)| outcome.clone()).collect();
        let answers = match term {
            Some(term) => self.store.give_up(outcomes, draws, term, now.wall).await?,
            None => self.store.record_outcomes(outcomes, draws, now.wall).await?,
        };
        if answers.len() != told.len() {
            return Err(StoreError::Unknown);
        }
        let mut final_for = Vec::with_capacity(answers.len());
        for ((from, outcome), answer) in told.into_iter().zip(answers) {
            self.fleet.ended(from, outcome.execution);
            // Applied, stale or of an unknown job: all are final, the worker may forget it.
            final_for.push((from, outcome.execution));
            match answer {
                Recorded::Applied { status, run_at } => {
                    outbox.room = true;
                    outbox.changed.push(outcome.job);
                    match run_at {
                        Some(run_at) => self.due_at(run_at),
                        // Ready again, and perhaps too late for the claims of this round.
                        None if status == JobStatus::Pending => self.due_at(now.wall),
                        None => self.look_at_runs(now),
                    }
                }
                Recorded::Stale { .. } | Recorded::Missing => {
                    outbox.stale.insert(outcome.execution);
                }
            }
        }
        outbox.send.extend(acks(final_for));
        Ok(outbox)
    }
}

/// One message to each worker.
fn acks(outcomes: Vec<(Incarnation, ExecutionId)>) -> impl Iterator<Item = (Incarnation, Message)> {
    let mut by_worker: BTreeMap<Incarnation, Vec<ExecutionId>> = BTreeMap::new();
    for (to, execution) in outcomes {
        by_worker.entry(to).or_default().push(execution);
    }
    by_worker.into_iter().map(|(to, executions)| (to, Message::JobResultAck { executions }))
}

impl ClockKeeping {
    /// A term begins; `note` is what the leader before it left.
    fn begins(&mut self, note: Option<ClockNote>, now: Now) {
        self.look_at = now.mono;
        self.unfired.clear();
        (self.jump, self.ahead_by) = (None, None);
        let Some(note) = note else { return };
        self.note = note;
        if let Some((at, 1..)) = note.last {
            let left = KEEP_FOR.saturating_sub(now.wall.saturating_since(at));
            self.keep_until = self.keep_until.max(now.mono + left);
        }
        let Some(jump) = Jump::between(note.seen, now.wall) else { return };
        if jump.is_back() {
            let by_ms = jump.by_ms;
            tracing::warn!(by_ms, "the clock went {} since somebody led last", jump.words());
            self.jump = Some(jump);
        } else if now.wall.saturating_since(note.seen) > AWAY_LONG {
            self.keep_until = now.mono + KEEP_FOR;
        }
    }

    fn noticed(&mut self, jump: Jump, now: Now) {
        self.jump = match self.jump {
            Some(first) => Jump::between(first.before, now.wall),
            None => Some(jump),
        };
        self.ahead_by = Some(jump.by_ms).filter(|_| !jump.is_back());
        if !jump.is_back() {
            self.keep_until = now.mono + KEEP_FOR;
        }
    }
}

/// Why output was not kept, where that is no reason to leave the rest undone: a disk without room for
/// it, or output that the store does not take. The other errors are of the store as a whole.
fn no_output(kept: Result<()>) -> Result<Option<StoreError>> {
    match kept {
        Ok(()) => Ok(None),
        Err(error @ (StoreError::Full | StoreError::Backend { .. })) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use orx_store::{CancelCommand, Jobs as _, Lead, LeadRequest, Leases as _, Memory};

    use super::*;

    #[test]
    fn what_is_kept_for_longer_than_there_is_time_is_kept() {
        let store = Arc::new(Memory::new());
        let now = Now { wall: Timestamp::from_millis(1_000_000), mono: Duration::ZERO };
        let spec = serde_json::json!({
            "name": "work", "queue": "default", "priority": "normal", "args": {},
            "retry": orx_model::RetryPolicy::default(),
        });
        let spec = serde_json::from_value(spec).expect("a spec");
        store.enqueue(vec![spec], now.wall).now_or_never().expect("ready").expect("enqueued");
        let cancel =
            CancelCommand { id: JobId(1), reason: None, by: None, force: false, expected: None };
        store.cancel(vec![cancel], now.wall).now_or_never().expect("ready").expect("cancelled");
        let node = Incarnation(1);
        let lead = LeadRequest { node, ttl: Duration::from_secs(60), above: 0 };
        let lead = store.lead(lead, now.wall).now_or_never().expect("ready");
        let Ok(Lead::Leading(term)) = lead else { panic!("{lead:?}") };
        let settings = Settings { keep_others: Duration::MAX, ..Settings::default() };
        let mut engine = Engine::new(Arc::<Memory>::clone(&store), settings, node, 1, now);
        engine.lead(term, now).now_or_never().expect("ready").expect("leads");

        engine.prune(now).now_or_never().expect("ready").expect("pruned");

        assert_eq!(store.all_jobs().len(), 1);
    }
}
