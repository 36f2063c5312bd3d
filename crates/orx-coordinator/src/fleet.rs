//! What a coordinator knows of its workers, and what follows from it. No I/O: every function goes
//! from state and input to a decision.
//!
//! The store is true; this is a copy of the little that dispatch asks on every round (who has
//! room). It is built from the store when a node begins to lead, follows every claim and outcome,
//! and is compared with the store whenever a worker is heard of. A node that follows keeps a seat
//! for each worker that registered with it, to answer its heartbeats, and decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orx_model::message::{
    ExecutionRef, HeartbeatAnswer, WorkerHeartbeat, WorkerOrder, WorkerRegistration, WorkerState,
};
use orx_model::{ExecutionId, Incarnation, LostWith, Outcome, OutcomeKind, Timestamp};
use orx_store::{CLAIM_MOST, ClaimRequest, Claimed, Live, WorkerRecord};
use rand::Rng;

use crate::{Now, Settings};

#[derive(Debug, Clone)]
pub struct Seat {
    pub registration: WorkerRegistration,
    pub state: WorkerState,
    /// Executions it may hold at once.
    pub capacity: u32,
    /// What a person wants of it.
    pub order: Option<WorkerOrder>,
    /// When it was last heard of, here or by another node, on the monotonic clock.
    pub seen: Duration,
    /// Of the newest heartbeat; an older one that comes late is passed over.
    heartbeat: u64,
    /// What its row said last of when it was heard. Only that this changes says that it lives: how
    /// long ago it was depends on a clock that may have been set.
    told: Timestamp,
    live: Attempts,
}

/// Live attempts of a worker, each with whether it runs alone.
type Attempts = BTreeMap<ExecutionId, bool>;

/// Since when this node knows of a live attempt, on its own monotonic clock. The times in the
/// attempt's row are of other clocks, or of this one before it was set.
#[derive(Debug, Clone, Copy)]
struct Learned {
    since: Duration,
    /// That it has started.
    started: Option<Duration>,
    /// What was left to its deadline then.
    left: Option<Duration>,
}

impl Seat {
    /// Jobs it may be given now. None before its first heartbeat, which it sends at once: only by a
    /// heartbeat it knows whether a job that reaches it late is still its own.
    #[must_use]
    pub fn room(&self) -> usize {
        let alone = self.live.values().any(|alone| *alone);
        if self.order.is_some() || self.heartbeat == 0 || alone {
            return 0;
        }
        match self.state {
            WorkerState::Running => (self.capacity as usize).saturating_sub(self.live.len()),
            WorkerState::Starting
            | WorkerState::Draining
            | WorkerState::Stopping
            | WorkerState::Stopped => 0,
        }
    }

    /// The newest heartbeat that it was heard by; 0 for its registration.
    #[must_use]
    pub fn heartbeat(&self) -> u64 {
        self.heartbeat
    }

    #[must_use]
    pub fn active(&self) -> usize {
        self.live.len()
    }
}

#[derive(Debug)]
pub struct Fleet {
    settings: Settings,
    seats: BTreeMap<Incarnation, Seat>,
    /// Live attempts of workers that have not registered since this coordinator started.
    strangers: BTreeMap<Incarnation, Attempts>,
    /// From when silence counts: the start of this term, or the end of a time in which
    /// nobody could be heard.
    counting_from: Duration,
    /// When the rows of workers were last read in this term.
    looked: Option<Duration>,
    learned: BTreeMap<(Incarnation, ExecutionId), Learned>,
}

/// What a heartbeat leads to.
#[derive(Debug, Default, PartialEq)]
pub struct Reconciled {
    pub answer: HeartbeatAnswer,
    /// Outcomes the worker may forget.
    pub forget: Vec<ExecutionId>,
}

impl Fleet {
    #[must_use]
    pub fn new(settings: Settings, now: Now) -> Self {
        Self {
            settings,
            seats: BTreeMap::new(),
            strangers: BTreeMap::new(),
            counting_from: now.mono,
            looked: None,
            learned: BTreeMap::new(),
        }
    }

    pub fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.seats.values()
    }

    #[must_use]
    pub fn seat(&self, worker: Incarnation) -> Option<&Seat> {
        self.seats.get(&worker)
    }

    /// No attempt is with any worker.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.strangers.is_empty() && self.seats.values().all(|seat| seat.live.is_empty())
    }

    /// Replaces what is known of live attempts by what the store says.
    pub fn live_is(&mut self, live: &[Live]) {
        self.strangers.clear();
        for seat in self.seats.values_mut() {
            seat.live.clear();
        }
        for attempt in live {
            let live = match self.seats.get_mut(&attempt.worker) {
                Some(seat) => &mut seat.live,
                None => self.strangers.entry(attempt.worker).or_default(),
            };
            live.insert(attempt.execution, attempt.alone);
        }
    }

    /// What the store knows of workers, other nodes' news among it.
    pub fn rows_are(&mut self, rows: &[WorkerRecord], now: Now) {
        let known: BTreeSet<Incarnation> =
            rows.iter().map(|row| row.report.registration.incarnation).collect();
        // It said goodbye to another node, or was given up there. A row is written before its seat.
        let gone: Vec<Incarnation> =
            self.seats.keys().filter(|worker| !known.contains(worker)).copied().collect();
        for worker in gone {
            if let Some(seat) = self.seats.remove(&worker)
                && !seat.live.is_empty()
            {
                self.strangers.insert(worker, seat.live);
            }
        }
        for row in rows {
            let report = &row.report;
            let worker = report.registration.incarnation;
            let seen = now.mono.saturating_sub(row.silent);
            // Of what is new since the last look it was heard since then.
            let seen = self.looked.map_or(seen, |looked| seen.max(looked));
            let fenced = row.order == Some(WorkerOrder::Fence);
            if fenced && !self.seats.contains_key(&worker) && !self.strangers.contains_key(&worker)
            {
                continue;
            }
            let live = self.strangers.remove(&worker);
            let seat = self.seats.entry(worker).or_insert_with(|| Seat {
                registration: report.registration.clone(),
                state: report.state,
                capacity: report.capacity,
                order: row.order,
                seen,
                heartbeat: report.heartbeat,
                told: row.seen_at,
                live: Attempts::new(),
            });
            seat.live.extend(live.into_iter().flatten());
            seat.order = row.order;
            if seat.told != row.seen_at {
                seat.told = row.seen_at;
                seat.seen = seat.seen.max(seen);
            }
            if report.heartbeat > seat.heartbeat {
                seat.heartbeat = report.heartbeat;
                seat.capacity = report.capacity;
                seat.state = report.state;
            }
        }
        self.looked = Some(now.mono);
    }

    /// A term begins: what was silent before it is nobody's fault yet.
    pub fn term_begins(&mut self, now: Now) {
        self.counting_from = now.mono;
        self.looked = None;
    }

    /// The store could not be reached for a while, or this process stood still: nobody could be
    /// heard, so nobody was silent.
    pub fn was_away(&mut self, now: Now) {
        self.counting_from = now.mono;
    }

    pub fn register(
        &mut self,
        registration: WorkerRegistration,
        order: Option<WorkerOrder>,
        now: Now,
    ) -> HeartbeatAnswer {
        let live = self.strangers.remove(&registration.incarnation).unwrap_or_default();
        let seat = self.seats.entry(registration.incarnation).or_insert_with(|| Seat {
            state: WorkerState::Running,
            capacity: registration.slots,
            order,
            seen: now.mono,
            heartbeat: 0,
            told: Timestamp::default(),
            live,
            registration: registration.clone(),
        });
        seat.registration = registration;
        seat.order = order;
        seat.seen = now.mono;
        self.answer(order, now)
    }

    /// Takes in what a worker that has registered here says of itself. Answers whether its room
    /// changed with it.
    pub fn heard(&mut self, heartbeat: &WorkerHeartbeat, now: Now) -> bool {
        let Some(seat) = self.seats.get_mut(&heartbeat.incarnation) else { return false };
        seat.seen = now.mono;
        let mut changed = false;
        if heartbeat.seq > seat.heartbeat {
            let first = seat.heartbeat == 0;
            changed = first || seat.capacity != heartbeat.capacity || seat.state != heartbeat.state;
            seat.heartbeat = heartbeat.seq;
            seat.capacity = heartbeat.capacity;
            seat.state = heartbeat.state;
        }
        changed
    }

    /// Reconciliation of a worker that has registered here. `live` is what the store holds for it,
    /// read after the heartbeat came; `order` is what the store says is wanted of it.
    pub fn heartbeat(
        &mut self,
        heartbeat: &WorkerHeartbeat,
        live: &[Live],
        order: Option<WorkerOrder>,
        now: Now,
    ) -> Reconciled {
        let mut answer = self.answer(order, now);
        self.learn(live, now);
        if let Some(seat) = self.seats.get_mut(&heartbeat.incarnation) {
            seat.order = order;
            seat.live = live.iter().map(|attempt| (attempt.execution, attempt.alone)).collect();
        }
        if answer.fenced {
            return Reconciled { answer, forget: Vec::new() };
        }
        let held: BTreeMap<ExecutionId, &Live> =
            live.iter().map(|attempt| (attempt.execution, attempt)).collect();
        for running in &heartbeat.running {
            match held.get(&running.execution) {
                None => answer.stop.push(*running),
                Some(attempt) if attempt.cancel_requested => answer.cancel.push(*running),
                Some(_) => {}
            }
        }
        let mut forget = Vec::new();
        for ended in &heartbeat.unacknowledged {
            match held.get(&ended.execution) {
                Some(_) => answer.resend.push(ended.execution),
                None => forget.push(ended.execution),
            }
        }
        let known: BTreeSet<ExecutionId> = heartbeat
            .running
            .iter()
            .chain(&heartbeat.unacknowledged)
            .map(|known| known.execution)
            .collect();
        self.forget_learned(heartbeat.incarnation, |execution| held.contains_key(execution));
        for attempt in live.iter().filter(|attempt| !known.contains(&attempt.execution)) {
            // Perhaps this heartbeat was written before the dispatch arrived. Only the worker's own
            // word that it does not have it gives the job to another.
            let learned = self.learned.get(&(attempt.worker, attempt.execution));
            let known_for = learned.map_or(Duration::ZERO, |it| now.mono.saturating_sub(it.since));
            if known_for >= self.settings.ask_after {
                let asked = ExecutionRef { job: attempt.job, execution: attempt.execution };
                answer.asked.push(asked);
            }
        }
        Reconciled { answer, forget }
    }

    /// One request for each worker with room. Execution ids are drawn here.
    ///
    /// All of the room is offered: how many jobs are claimed at once is for the store to bound, as it
    /// alone knows what is ready for whom.
    pub fn claims(&self, rng: &mut impl Rng, now: Now) -> Vec<ClaimRequest> {
        let mut requests = Vec::new();
        for seat in self.seats.values() {
            // Later in its lease it would give back what it cannot tell from what it has lost.
            let lease = self.settings.lease;
            let silent = now.mono.saturating_sub(seat.seen) >= lease - lease / 3;
            let room = if silent { 0 } else { seat.room().min(CLAIM_MOST) };
            if room == 0 {
                continue;
            }
            let free = (seat.registration.slots as usize).saturating_sub(seat.live.len());
            requests.push(ClaimRequest {
                ahead: room.saturating_sub(free),
                held: seat.live.len(),
                worker: seat.registration.incarnation,
                worker_name: seat.registration.name.clone(),
                offer: seat.registration.offer.clone(),
                executions: (0..room).map(|_| ExecutionId::random(rng)).collect(),
            });
        }
        requests
    }

    pub fn claimed(&mut self, claimed: &[Claimed], now: Now) {
        for claim in claimed {
            if let Some(seat) = self.seats.get_mut(&claim.worker) {
                seat.live.insert(claim.dispatch.execution, claim.alone);
            }
            let left = claim.dispatch.deadline.map(|deadline| deadline.saturating_since(now.wall));
            let learned = Learned { since: now.mono, started: None, left };
            self.learned.insert((claim.worker, claim.dispatch.execution), learned);
        }
    }

    /// Attempts that are live now, whoever gave them out.
    fn learn(&mut self, live: &[Live], now: Now) {
        for attempt in live {
            let left = attempt.deadline.map(|deadline| deadline.saturating_since(now.wall));
            let new = Learned { since: now.mono, started: None, left };
            let learned = self.learned.entry((attempt.worker, attempt.execution)).or_insert(new);
            if attempt.started_at.is_some() && learned.started.is_none() {
                learned.started = Some(now.mono);
            }
        }
    }

    /// Of a worker's attempts keeps those only.
    fn forget_learned(&mut self, worker: Incarnation, keep: impl Fn(&ExecutionId) -> bool) {
        let all = (worker, ExecutionId(0))..=(worker, ExecutionId(u128::MAX));
        let gone = self.learned.range(all).map(|(key, _)| *key).filter(|(_, it)| !keep(it));
        for key in gone.collect::<Vec<_>>() {
            self.learned.remove(&key);
        }
    }

    /// It had no slot for what was sent ahead to it. Until its next heartbeat says how much it takes,
    /// it gets only what starts at once.
    pub fn had_no_slot(&mut self, worker: Incarnation) {
        if let Some(seat) = self.seats.get_mut(&worker) {
            seat.capacity = seat.capacity.min(seat.registration.slots);
        }
    }

    /// The attempt has ended: its place is free.
    pub fn ended(&mut self, worker: Incarnation, execution: ExecutionId) {
        self.learned.remove(&(worker, execution));
        if let Some(seat) = self.seats.get_mut(&worker) {
            seat.live.remove(&execution);
        }
        if let Some(live) = self.strangers.get_mut(&worker) {
            live.remove(&execution);
            if live.is_empty() {
                self.strangers.remove(&worker);
            }
        }
    }

    /// Workers whose lease is over.
    #[must_use]
    pub fn lost(&self, now: Now) -> Vec<Incarnation> {
        let silent_since = |seen: Duration| now.mono.saturating_sub(seen.max(self.counting_from));
        let seats =
            self.seats.iter().filter(|(_, seat)| silent_since(seat.seen) > self.settings.lease);
        let strangers = self
            .strangers
            .keys()
            .filter(|_| silent_since(self.counting_from) > self.settings.lease);
        seats.map(|(worker, _)| *worker).chain(strangers.copied()).collect()
    }

    /// What a worker that is given up died of. One that was heard of in this term died by itself;
    /// one that fell silent while nobody led may have died with a node.
    #[must_use]
    pub fn lost_with(&self, worker: Incarnation) -> LostWith {
        match self.seats.get(&worker) {
            Some(seat) if seat.order == Some(WorkerOrder::Fence) => LostWith::Fence,
            Some(seat) if seat.seen >= self.counting_from => LostWith::Worker,
            _ => LostWith::Server,
        }
    }

    /// Workers that a person gave up and that still hold attempts.
    #[must_use]
    pub fn fenced(&self) -> Vec<Incarnation> {
        let fenced = self
            .seats
            .iter()
            .filter(|(_, seat)| seat.order == Some(WorkerOrder::Fence) && !seat.live.is_empty());
        fenced.map(|(worker, _)| *worker).collect()
    }

    /// The worker is gone.
    pub fn remove(&mut self, worker: Incarnation) {
        self.strangers.remove(&worker);
        self.seats.remove(&worker);
        self.forget_learned(worker, |_| false);
    }

    /// Follows: forgets workers that registered here and went elsewhere, or died.
    pub fn forget_silent(&mut self, now: Now) {
        let lease = self.settings.lease;
        self.seats.retain(|_, seat| now.mono.saturating_sub(seat.seen) <= lease);
        let seats = &self.seats;
        self.learned.retain(|(worker, _), _| seats.contains_key(worker));
    }

    /// Attempts that outlived their timeout or deadline so far that their worker is not believed to
    /// end them any more. Their worker times them; here they are timed from when this node learned of
    /// them, and of their start: no clock that may be set decides it, and none of another machine.
    #[must_use]
    pub fn overdue(&mut self, live: &[Live], now: Now) -> Vec<Outcome> {
        self.learn(live, now);
        let alive: BTreeSet<_> = live.iter().map(|it| (it.worker, it.execution)).collect();
        self.learned.retain(|key, _| alive.contains(key));
        let over = |attempt: &&Live| {
            let Some(learned) = self.learned.get(&(attempt.worker, attempt.execution)) else {
                return false;
            };
            let for_longer = |since: Duration, than: Duration| {
                now.mono.saturating_sub(since) > than.saturating_add(self.settings.timeout_margin)
            };
            let timeout = attempt.timeout_ms.map(Duration::from_millis);
            let started = learned.started.unwrap_or(learned.since);
            // A deadline is of the calendar: it has to have passed by the calendar as well.
            let deadline = learned.left.zip(attempt.deadline);
            timeout.is_some_and(|timeout| for_longer(started, timeout))
                || deadline
                    .is_some_and(|(left, at)| for_longer(learned.since, left) && at < now.wall)
        };
        live.iter().filter(over).map(|attempt| timed_out(attempt, now.wall)).collect()
    }

    /// What is answered to whom nothing else is known of.
    #[must_use]
    pub fn answer(&self, order: Option<WorkerOrder>, now: Now) -> HeartbeatAnswer {
        HeartbeatAnswer {
            drain: order == Some(WorkerOrder::Drain),
            fenced: order == Some(WorkerOrder::Fence),
            takes_back: true,
            lease_ms: self.settings.lease.as_millis() as u64,
            heartbeat_ms: self.settings.heartbeat.as_millis() as u64,
            now: now.wall,
            ..HeartbeatAnswer::default()
        }
    }
}

fn timed_out(attempt: &Live, now: Timestamp) -> Outcome {
    Outcome {
        job: attempt.job,
        execution: attempt.execution,
        kind: OutcomeKind::TimedOut,
        started_at: attempt.started_at,
        ended_at: now,
        error: Some("ran past its time, and its worker did not end it".to_owned()),
        exit: None,
    }
}

/// The attempt of a worker that is gone.
#[must_use]
pub fn lost(attempt: &Live, with: LostWith, why: &str, now: Timestamp) -> Outcome {
    Outcome {
        job: attempt.job,
        execution: attempt.execution,
        kind: OutcomeKind::Lost { with },
        started_at: attempt.started_at,
        ended_at: now,
        error: Some(why.to_owned()),
        exit: None,
    }
}

/// The attempt of a worker that ended in good order without it.
#[must_use]
pub fn returned(attempt: &Live, now: Timestamp) -> Outcome {
    Outcome {
        job: attempt.job,
        execution: attempt.execution,
        kind: OutcomeKind::Interrupted,
        started_at: attempt.started_at,
        ended_at: now,
        error: Some("its worker stopped".to_owned()),
        exit: None,
    }
}
