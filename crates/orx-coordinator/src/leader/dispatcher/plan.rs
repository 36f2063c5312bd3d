//! The room that workers have, and what it is offered for. No I/O.
//!
//! The store is true; this is a copy of the little that dispatch asks on every round. It is read from
//! the store when a term begins, and follows each claim and each end from then on, also those that
//! other nodes tell of. The monitor compares it with the store once a round; what happens while it
//! reads is not undone by what it read ([`Rooms::reading`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orx_model::message::{WorkerDirective, WorkerHeartbeat, WorkerRegistration, WorkerState};
use orx_model::{ExecutionId, Incarnation, Name};
use orx_store::{CLAIM_MOST, ClaimRequest, Claimed, Live, WorkerRecord};
use rand::Rng;

use crate::{Now, Settings};

/// A worker, and the attempts that it has.
#[derive(Debug, Clone)]
pub struct WorkerLoad {
    registration: WorkerRegistration,
    state: WorkerState,
    /// Executions it may hold at once.
    capacity: u32,
    /// What a person wants of it.
    order: Option<WorkerDirective>,
    /// When it was last heard of, here or by another node, on the monotonic clock.
    seen: Duration,
    /// Of the newest heartbeat; an older one that comes late is passed over.
    heartbeat: u64,
    live: BTreeMap<ExecutionId, Held>,
    /// It was offered more room than there was something ready for. Until something becomes ready,
    /// what becomes free there is offered to nobody.
    sated: bool,
}

/// A live attempt.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// Nothing else may be given to its worker.
    alone: bool,
    /// The number of the change by which it came.
    change: u64,
    /// When it was given out, on the monotonic clock; where it was read, when that was.
    given: Duration,
}

impl WorkerLoad {
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.registration.name
    }

    /// Executions it may hold at once, as it said last.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Jobs it may be given now. None before its first heartbeat, which it sends at once: only by a
    /// heartbeat it knows whether a job that reaches it late is still its own.
    #[must_use]
    pub fn room(&self) -> usize {
        let alone = self.live.values().any(|held| held.alone);
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

    /// Attempts it has.
    #[must_use]
    pub fn active(&self) -> usize {
        self.live.len()
    }
}

/// Who reads all live attempts from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LiveReader {
    Monitor,
    Dispatcher,
}

#[derive(Debug)]
struct Reading {
    number: u64,
    /// The change before which it began, and when, on the monotonic clock.
    began: u64,
    at: Duration,
    /// What has ended since.
    ended: BTreeSet<ExecutionId>,
}

/// A claim of which it is not known whether it takes effect: it is under way, or was not answered. The
/// store may carry it out later than any read that follows.
#[derive(Debug)]
struct Doubt {
    /// Until it takes effect or never will, on the monotonic clock.
    until: Duration,
    /// What would be live, by worker.
    asked: BTreeMap<Incarnation, BTreeSet<ExecutionId>>,
}

/// All workers and their room. Empty while another node leads.
#[derive(Debug)]
pub struct Rooms {
    settings: Settings,
    leads: bool,
    /// Of the term that it is for.
    epoch: u64,
    loads: BTreeMap<Incarnation, WorkerLoad>,
    /// Live attempts of workers that are not known (any more).
    orphaned: BTreeMap<Incarnation, BTreeSet<ExecutionId>>,
    /// Attempts whose end is being recorded, by their worker, as they were held, if they were.
    ending: BTreeMap<Incarnation, BTreeMap<ExecutionId, Option<Held>>>,
    /// Counts what changes here.
    change: u64,
    /// Readings of the store that are under way, by who reads.
    readings: BTreeMap<LiveReader, Reading>,
    /// How many readings there were, and the newest whose answer came. What an older one says is old.
    read: u64,
    newest: u64,
    /// Counts claims.
    claim: u64,
    /// By the number of the claim. Their workers are offered nothing else.
    doubts: BTreeMap<u64, Doubt>,
    /// Counts how often something became ready, and what that was when room was offered last.
    work: u64,
    offered_at: u64,
    more: bool,
}

impl Rooms {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            leads: false,
            epoch: 0,
            loads: BTreeMap::new(),
            orphaned: BTreeMap::new(),
            ending: BTreeMap::new(),
            change: 0,
            readings: BTreeMap::new(),
            read: 0,
            newest: 0,
            claim: 0,
            doubts: BTreeMap::new(),
            work: 0,
            offered_at: 0,
            more: false,
        }
    }

    /// A term begins, or goes on: what it rests on is read from now on, for [`Self::rows_are`] and
    /// [`Self::live_is`].
    pub fn begin(&mut self, epoch: u64, now: Now) {
        self.end();
        self.leads = true;
        if self.epoch != epoch {
            // The store refuses whatever is under way of an older term.
            self.epoch = epoch;
            self.doubts.clear();
        }
        self.reading(LiveReader::Monitor, now);
    }

    /// Another leads from now on.
    pub fn end(&mut self) {
        *self = Self {
            change: self.change,
            epoch: self.epoch,
            claim: self.claim,
            doubts: std::mem::take(&mut self.doubts),
            ..Self::new(self.settings.clone())
        };
    }

    #[must_use]
    pub fn load(&self, worker: Incarnation) -> Option<&WorkerLoad> {
        self.loads.get(&worker)
    }

    /// Each worker with how many jobs it may be given.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Incarnation, usize> {
        self.loads.iter().map(|(worker, load)| (*worker, load.room())).collect()
    }

    /// The newest heartbeat that a worker was heard by; 0 for its registration.
    #[must_use]
    pub fn heartbeat_of(&self, worker: Incarnation) -> Option<u64> {
        self.loads.get(&worker).map(|load| load.heartbeat)
    }

    /// No attempt is with any worker, and nothing more is ready for those that are here.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.more
            && self.doubts.is_empty()
            && self.orphaned.is_empty()
            && self.ending.is_empty()
            && self.loads.values().all(|load| load.live.is_empty())
    }

    /// Another call may find more to claim at once.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// The attempts of a worker, and when they were given to it.
    #[must_use]
    pub fn given_to(&self, worker: Incarnation) -> BTreeMap<ExecutionId, Duration> {
        let live = self.loads.get(&worker).map(|load| &load.live);
        live.into_iter().flatten().map(|(execution, held)| (*execution, held.given)).collect()
    }

    pub fn registered(
        &mut self,
        registration: WorkerRegistration,
        order: Option<WorkerDirective>,
        now: Now,
    ) {
        if !self.leads {
            return;
        }
        let worker = registration.incarnation;
        let load = self.loads.entry(worker).or_insert_with(|| WorkerLoad {
            state: WorkerState::Running,
            capacity: registration.slots,
            order,
            seen: now.mono,
            heartbeat: 0,
            live: BTreeMap::new(),
            sated: false,
            registration: registration.clone(),
        });
        load.registration = registration;
        load.order = order;
        load.seen = now.mono;
        self.seat_strangers(worker, now);
    }

    fn seat_strangers(&mut self, worker: Incarnation, now: Now) {
        let Some(load) = self.loads.get_mut(&worker) else { return };
        let own = self.orphaned.remove(&worker).unwrap_or_default();
        let held = Held { alone: false, change: 0, given: now.mono };
        load.live.extend(own.into_iter().map(|execution| (execution, held)));
    }

    /// What a worker says of itself.
    pub fn heard(&mut self, heartbeat: &WorkerHeartbeat, order: Option<WorkerDirective>, now: Now) {
        let Some(load) = self.loads.get_mut(&heartbeat.incarnation) else { return };
        load.seen = now.mono;
        load.order = order;
        if heartbeat.seq > load.heartbeat {
            load.heard(heartbeat.seq, heartbeat.capacity, heartbeat.state);
        }
    }

    /// What the store knows of workers, other nodes' news among it.
    pub fn rows_are(&mut self, rows: &[WorkerRecord], now: Now) {
        if !self.leads {
            return;
        }
        let known: BTreeSet<Incarnation> =
            rows.iter().map(|row| row.report.registration.incarnation).collect();
        // It said goodbye to another node, or was given up there. A row is written before its seat.
        let gone: Vec<Incarnation> =
            self.loads.keys().filter(|worker| !known.contains(worker)).copied().collect();
        for worker in gone {
            if let Some(load) = self.loads.remove(&worker)
                && !load.live.is_empty()
            {
                self.orphaned.entry(worker).or_default().extend(load.live.into_keys());
            }
        }
        for row in rows {
            let report = &row.report;
            let worker = report.registration.incarnation;
            let seen = now.mono.saturating_sub(row.silent);
            let fenced = row.order == Some(WorkerDirective::Fence);
            let has_some = self.orphaned.contains_key(&worker);
            if fenced && !self.loads.contains_key(&worker) && !has_some {
                continue;
            }
            let load = self.loads.entry(worker).or_insert_with(|| WorkerLoad {
                registration: report.registration.clone(),
                state: report.state,
                capacity: report.capacity,
                order: row.order,
                seen,
                heartbeat: report.heartbeat,
                live: BTreeMap::new(),
                sated: false,
            });
            load.order = row.order;
            load.seen = load.seen.max(seen);
            if report.heartbeat > load.heartbeat {
                load.heard(report.heartbeat, report.capacity, report.state);
            }
            self.seat_strangers(worker, now);
        }
    }

    /// Live attempts are read from now on; for [`Self::live_is`].
    pub fn reading(&mut self, by: LiveReader, now: Now) {
        self.read += 1;
        let (number, began) = (self.read, self.change);
        let reading = Reading { number, began, at: now.mono, ended: BTreeSet::new() };
        self.readings.insert(by, reading);
    }

    /// The live attempts that were read. What was given out, and what has ended, since the reading
    /// began is not undone by it.
    pub fn live_is(&mut self, by: LiveReader, live: &[Live], now: Now) {
        let Some(Reading { number, began, at, ended }) = self.readings.remove(&by) else { return };
        if number < self.newest {
            return;
        }
        self.newest = number;
        // A claim takes effect as a whole: one of its attempts is there, or none.
        let there: BTreeSet<ExecutionId> = live.iter().map(|attempt| attempt.execution).collect();
        self.doubts.retain(|_, doubt| {
            at < doubt.until && doubt.asked.values().all(|asked| asked.is_disjoint(&there))
        });
        let mut given = BTreeMap::new();
        for load in self.loads.values_mut() {
            let old = std::mem::take(&mut load.live);
            for (execution, held) in old {
                given.insert(execution, held.given);
                if held.change > began {
                    load.live.insert(execution, held);
                }
            }
        }
        self.orphaned.clear();
        for attempt in live {
            let execution = attempt.execution;
            let ending = self.ending.get(&attempt.worker);
            if ended.contains(&execution)
                || ending.is_some_and(|ending| ending.contains_key(&execution))
            {
                continue;
            }
            let given = given.get(&execution).copied().unwrap_or(now.mono);
            let held = Held { alone: attempt.alone, change: 0, given };
            match self.loads.get_mut(&attempt.worker) {
                Some(load) => _ = load.live.entry(execution).or_insert(held),
                None => {
                    self.orphaned.entry(attempt.worker).or_default().insert(execution);
                }
            }
        }
    }

    /// The end of an attempt is on its way into the store: its place counts as free.
    pub fn ending(&mut self, worker: Incarnation, execution: ExecutionId) {
        if self.leads {
            let held = self.take(worker, execution);
            self.ending.entry(worker).or_default().entry(execution).or_insert(held);
        }
    }

    fn take(&mut self, worker: Incarnation, execution: ExecutionId) -> Option<Held> {
        if let Some(others) = self.orphaned.get_mut(&worker) {
            others.remove(&execution);
            if others.is_empty() {
                self.orphaned.remove(&worker);
            }
        }
        let load = self.loads.get_mut(&worker)?;
        let held = load.live.remove(&execution);
        // What runs alone waits for a worker that has nothing.
        if load.live.is_empty() {
            load.sated = false;
        }
        held
    }

    /// The store has it.
    pub fn ended(&mut self, worker: Incarnation, execution: ExecutionId) {
        self.no_longer_ending(worker, execution);
        for reading in self.readings.values_mut() {
            reading.ended.insert(execution);
        }
    }

    fn no_longer_ending(&mut self, worker: Incarnation, execution: ExecutionId) -> Option<Held> {
        let of_worker = self.ending.get_mut(&worker)?;
        let held = of_worker.remove(&execution).flatten();
        if of_worker.is_empty() {
            self.ending.remove(&worker);
        }
        held
    }

    /// The store does not have it, or that is unknown.
    pub fn not_ended(&mut self, worker: Incarnation, execution: ExecutionId) {
        let held = self.no_longer_ending(worker, execution);
        if let (Some(load), Some(held)) = (self.loads.get_mut(&worker), held) {
            load.live.insert(execution, held);
        }
    }

    /// The attempts whose ends have to be recorded, and the worker has to hear of it, before it starts
    /// what is claimed for it now. None where its jobs are short, and it takes some ahead.
    #[must_use]
    pub fn before(&self, worker: Incarnation) -> BTreeSet<ExecutionId> {
        let takes_ahead =
            self.loads.get(&worker).is_some_and(|load| load.capacity > load.registration.slots);
        let ending = self.ending.get(&worker).filter(|_| !takes_ahead);
        ending.into_iter().flat_map(BTreeMap::keys).copied().collect()
    }

    /// One of these is not over, as far as is known.
    #[must_use]
    pub fn has_any(&self, worker: Incarnation, executions: &BTreeSet<ExecutionId>) -> bool {
        let live = self.loads.get(&worker).map(|load| &load.live);
        let ending = self.ending.get(&worker);
        executions.iter().any(|execution| {
            live.is_some_and(|live| live.contains_key(execution))
                || ending.is_some_and(|ending| ending.contains_key(execution))
        })
    }

    /// Another node recorded that it ended.
    pub fn ended_elsewhere(&mut self, worker: Incarnation, execution: ExecutionId) {
        if self.leads {
            self.take(worker, execution);
            self.ended(worker, execution);
        }
    }

    /// It had no slot for what was sent ahead to it. Until its next heartbeat says how much it takes,
    /// it gets only what starts at once.
    pub fn had_no_slot(&mut self, worker: Incarnation) {
        if let Some(load) = self.loads.get_mut(&worker) {
            load.capacity = load.capacity.min(load.registration.slots);
        }
    }

    /// The worker is gone.
    pub fn remove(&mut self, worker: Incarnation) {
        self.orphaned.remove(&worker);
        self.loads.remove(&worker);
    }

    /// Something became ready, or may have.
    pub fn work_came(&mut self) {
        self.work += 1;
        self.loads.values_mut().for_each(|load| load.sated = false);
    }

    /// One request for each worker with room for which something may be ready. Execution ids are drawn
    /// here.
    ///
    /// All of the room is offered: how many jobs are claimed at once is for the store to bound, as it
    /// alone knows what is ready for whom.
    pub fn claims(&mut self, rng: &mut impl Rng, now: Now) -> Vec<ClaimRequest> {
        self.offered_at = self.work;
        let mut requests: Vec<ClaimRequest> = Vec::new();
        for (worker, load) in self.loads.iter().filter(|(_, load)| !load.sated) {
            if self.doubts.values().any(|doubt| doubt.asked.contains_key(worker)) {
                continue;
            }
            // Later in its lease it would give back what it cannot tell from what it has lost.
            let lease = self.settings.lease;
            let silent = now.mono.saturating_sub(load.seen) >= lease - lease / 3;
            let room = if silent { 0 } else { load.room().min(CLAIM_MOST) };
            if room == 0 {
                continue;
            }
            let free = (load.registration.slots as usize).saturating_sub(load.live.len());
            requests.push(ClaimRequest {
                ahead: room.saturating_sub(free),
                held: load.live.len(),
                worker: load.registration.incarnation,
                worker_name: load.registration.name.clone(),
                offer: load.registration.offer.clone(),
                executions: (0..room).map(|_| ExecutionId::random(rng)).collect(),
            });
        }
        if !requests.is_empty() {
            self.claim += 1;
            // The store takes it within one of its deadlines, and is done with it after another.
            let until = now.mono + self.settings.store_deadline * 2;
            let asked = |request: &ClaimRequest| {
                (request.worker, request.executions.iter().copied().collect())
            };
            let asked = requests.iter().map(asked).collect();
            self.doubts.insert(self.claim, Doubt { until, asked });
        }
        requests
    }

    /// The last claim failed. `unknown`: it may take effect all the same.
    pub fn not_claimed(&mut self, unknown: bool, now: Now) {
        let until = now.mono + self.settings.store_deadline;
        match self.doubts.get_mut(&self.claim) {
            Some(doubt) if unknown => doubt.until = until,
            _ => _ = self.doubts.remove(&self.claim),
        }
    }

    /// What was claimed for these offers: how many jobs each worker might have been given.
    pub fn claimed(
        &mut self,
        offers: &BTreeMap<Incarnation, usize>,
        claimed: &[Claimed],
        now: Now,
    ) {
        self.change += 1;
        self.doubts.remove(&self.claim);
        self.more = claimed.len() >= CLAIM_MOST;
        let mut given: BTreeMap<Incarnation, usize> = BTreeMap::new();
        for claim in claimed {
            *given.entry(claim.worker).or_default() += 1;
            let execution = claim.dispatch.execution;
            if let Some(load) = self.loads.get_mut(&claim.worker) {
                let held = Held { alone: claim.alone, change: self.change, given: now.mono };
                load.live.insert(execution, held);
            } else if self.leads {
                self.orphaned.entry(claim.worker).or_default().insert(execution);
            }
        }
        if claimed.iter().any(|claim| claim.alone) {
            // What waited behind it, so that a worker comes to have nothing, waits no longer.
            self.work_came();
        }
        if self.more || self.offered_at != self.work {
            return;
        }
        for (worker, offered) in offers {
            let given = given.get(worker).copied().unwrap_or_default();
            if let Some(load) = self.loads.get_mut(worker) {
                load.sated = given < *offered;
            }
        }
    }
}

impl WorkerLoad {
    fn heard(&mut self, heartbeat: u64, capacity: u32, state: WorkerState) {
        // A first heartbeat, more places, or an order taken back: something may be ready for it.
        self.sated &= self.heartbeat != 0 && self.state == state;
        self.heartbeat = heartbeat;
        self.capacity = capacity;
        self.state = state;
    }
}
