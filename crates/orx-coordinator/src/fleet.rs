//! What a coordinator knows of its workers, and what follows from it. No I/O: every function goes
//! from state and input to a decision.
//!
//! The store is true; this is a copy of the little that dispatch asks on every round (who has
//! room). It is built from the store at start, follows every claim and outcome, and is compared
//! with the store whenever a worker is heard of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orx_model::message::{
    ExecutionRef, HeartbeatAnswer, WorkerHeartbeat, WorkerRegistration, WorkerState,
};
use orx_model::{ExecutionId, Incarnation, Outcome, OutcomeKind, Timestamp};
use orx_store::{ClaimRequest, Claimed, Live};
use rand::Rng;

use crate::{Now, Settings};

#[derive(Debug, Clone)]
pub struct Seat {
    pub registration: WorkerRegistration,
    pub state: WorkerState,
    /// Executions it may hold at once.
    pub capacity: u32,
    /// When it was last heard of, on the monotonic clock.
    pub seen: Duration,
    pub seen_at: Timestamp,
    /// Of the newest heartbeat; an older one that comes late is passed over.
    heartbeat: u64,
    live: BTreeSet<ExecutionId>,
}

impl Seat {
    /// Jobs it may be given now.
    #[must_use]
    pub fn room(&self) -> usize {
        match self.state {
            WorkerState::Running => (self.capacity as usize).saturating_sub(self.live.len()),
            WorkerState::Starting
            | WorkerState::Draining
            | WorkerState::Stopping
            | WorkerState::Stopped => 0,
        }
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
    strangers: BTreeMap<Incarnation, BTreeSet<ExecutionId>>,
    /// From when silence counts: the start of this coordinator, or the end of a store's outage.
    counting_from: Duration,
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
            match self.seats.get_mut(&attempt.worker) {
                Some(seat) => seat.live.insert(attempt.execution),
                None => self.strangers.entry(attempt.worker).or_default().insert(attempt.execution),
            };
        }
    }

    /// The store could not be reached for a while: nobody could be heard, so nobody was silent.
    pub fn store_was_away(&mut self, now: Now) {
        self.counting_from = now.mono;
    }

    pub fn register(&mut self, registration: WorkerRegistration, now: Now) -> HeartbeatAnswer {
        let live = self.strangers.remove(&registration.incarnation).unwrap_or_default();
        let seat = self.seats.entry(registration.incarnation).or_insert_with(|| Seat {
            state: WorkerState::Running,
            capacity: registration.slots,
            seen: now.mono,
            seen_at: now.wall,
            heartbeat: 0,
            live,
            registration: registration.clone(),
        });
        seat.registration = registration;
        seat.seen = now.mono;
        seat.seen_at = now.wall;
        self.answer(now)
    }

    /// Reconciliation. `live` is what the store holds for this worker, read after the heartbeat
    /// came.
    pub fn heartbeat(
        &mut self,
        heartbeat: &WorkerHeartbeat,
        live: &[Live],
        now: Now,
    ) -> Reconciled {
        let mut answer = self.answer(now);
        let Some(seat) = self.seats.get_mut(&heartbeat.incarnation) else {
            // Its outcomes and attempts are looked at once it has registered.
            answer.register = true;
            return Reconciled { answer, forget: Vec::new() };
        };
        seat.seen = now.mono;
        seat.seen_at = now.wall;
        if heartbeat.seq > seat.heartbeat {
            seat.heartbeat = heartbeat.seq;
            seat.capacity = heartbeat.capacity;
            seat.state = heartbeat.state;
        }
        seat.live = live.iter().map(|attempt| attempt.execution).collect();

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
        for attempt in live.iter().filter(|attempt| !known.contains(&attempt.execution)) {
            // Perhaps this heartbeat was written before the dispatch arrived. Only the worker's own
            // word that it does not have it gives the job to another.
            if now.wall.saturating_since(attempt.claimed_at) >= self.settings.ask_after {
                let asked = ExecutionRef { job: attempt.job, execution: attempt.execution };
                answer.asked.push(asked);
            }
        }
        Reconciled { answer, forget }
    }

    /// One request for each worker with room. Execution ids are drawn here.
    pub fn claims(&self, most: usize, rng: &mut impl Rng, now: Now) -> Vec<ClaimRequest> {
        let mut requests = Vec::new();
        let mut left = most;
        for seat in self.seats.values() {
            let silent = now.mono.saturating_sub(seat.seen) >= self.settings.lease;
            let room = if silent { 0 } else { seat.room().min(left) };
            if room == 0 {
                continue;
            }
            left -= room;
            requests.push(ClaimRequest {
                worker: seat.registration.incarnation,
                worker_name: seat.registration.name.clone(),
                offer: seat.registration.offer.clone(),
                executions: (0..room).map(|_| ExecutionId::random(rng)).collect(),
            });
        }
        requests
    }

    pub fn claimed(&mut self, claimed: &[Claimed]) {
        for claim in claimed {
            if let Some(seat) = self.seats.get_mut(&claim.worker) {
                seat.live.insert(claim.dispatch.execution);
            }
        }
    }

    /// The attempt has ended: its place is free.
    pub fn ended(&mut self, worker: Incarnation, execution: ExecutionId) {
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

    /// The worker is gone. Answers whether it had been heard of since this coordinator started:
    /// only then its death is its own, and counts against the jobs it ran.
    pub fn remove(&mut self, worker: Incarnation) -> bool {
        self.strangers.remove(&worker);
        self.seats.remove(&worker).is_some()
    }

    /// Attempts that outlived their timeout or deadline so far that their worker is not believed to
    /// end them any more.
    #[must_use]
    pub fn overdue(&self, live: &[Live], now: Timestamp) -> Vec<Outcome> {
        let over = |attempt: &&Live| {
            let since = attempt.started_at.unwrap_or(attempt.claimed_at);
            let timeout =
                attempt.timeout_ms.map(|ms| since.saturating_add(Duration::from_millis(ms)));
            let ends = [timeout, attempt.deadline].into_iter().flatten().min();
            ends.is_some_and(|end| now > end.saturating_add(self.settings.timeout_margin))
        };
        live.iter().filter(over).map(|attempt| timed_out(attempt, now)).collect()
    }

    fn answer(&self, now: Now) -> HeartbeatAnswer {
        HeartbeatAnswer {
            lease_ms: self.settings.lease.as_millis() as u64,
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
pub fn lost(attempt: &Live, counted: bool, why: &str, now: Timestamp) -> Outcome {
    Outcome {
        job: attempt.job,
        execution: attempt.execution,
        kind: OutcomeKind::Lost { counted },
        started_at: attempt.started_at,
        ended_at: now,
        error: Some(why.to_owned()),
        exit: None,
    }
}
