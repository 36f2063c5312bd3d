//! Decides how many jobs each worker may be given, without I/O.
//!
//! [`SlotTable`] is the leader's copy of the workers, their live attempts and their free slots. The
//! store is the truth; the copy saves a read of all live attempts before each claim.
//!
//! - The monitor fills the table from the store when a term begins, and compares it with the store once
//!   a round. What was read does not revert changes that happened during the read: see
//!   [`SlotTable::begin_read`].
//! - Every claim adds attempts, and every recorded outcome removes one, also an outcome that another
//!   node recorded.
//! - A claim that the store did not answer may take effect after any later read. Until the store's
//!   deadline for it has passed, or a read shows its attempts, its workers are given nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orx_model::message::{WorkerDirective, WorkerHeartbeat, WorkerRegistration, WorkerState};
use orx_model::{ExecutionId, Incarnation, Name};
use orx_store::{CLAIM_MOST, ClaimRequest, Claimed, Live, WorkerRecord};
use rand::Rng;

use crate::{Now, Settings};

/// A worker and its live attempts.
#[derive(Debug, Clone)]
pub struct WorkerLoad {
    registration: WorkerRegistration,
    state: WorkerState,
    /// Attempts it may hold at once: its slots, and its prefetch.
    capacity: u32,
    /// The operator's directive in its row: drain or fence.
    directive: Option<WorkerDirective>,
    /// When its newest heartbeat reached this node or another one, on the monotonic clock.
    seen: Duration,
    /// Number of its newest heartbeat, 0 before the first. An older one that comes late is ignored.
    heartbeat: u64,
    live: BTreeMap<ExecutionId, HeldAttempt>,
    /// The last claim found fewer jobs than this worker had slots for. It is left out of claims until
    /// some job becomes ready.
    found_too_few: bool,
}

/// A live attempt of a worker.
#[derive(Debug, Clone, Copy)]
struct HeldAttempt {
    /// While it is live, its worker gets no other job.
    alone: bool,
    /// [`SlotTable::change`] when a claim added it; 0 if it was read from the store.
    change: u64,
    /// When it was claimed, or first read, on the monotonic clock.
    since: Duration,
}

impl WorkerLoad {
    /// Name of the worker, for people.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.registration.name
    }

    /// Jobs it may be given now: its free slots, and its prefetch. 0 before its first heartbeat: a worker
    /// needs one to decide whether a dispatch that reaches it late is still valid.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        let alone = self.live.values().any(|held| held.alone);
        if self.directive.is_some() || self.heartbeat == 0 || alone {
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

    /// Number of its live attempts.
    #[must_use]
    pub fn active(&self) -> usize {
        self.live.len()
    }

    fn update(&mut self, heartbeat: u64, capacity: u32, state: WorkerState) {
        // After a first heartbeat, or in a new state, a job may be ready for it.
        self.found_too_few &= self.heartbeat != 0 && self.state == state;
        self.heartbeat = heartbeat;
        self.capacity = capacity;
        self.state = state;
    }
}

/// Which duty of the leader reads all live attempts from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LiveReader {
    /// Once a round.
    Monitor,
    /// After a claim without an answer.
    Dispatcher,
}

/// A read of all live attempts that is under way.
#[derive(Debug)]
struct LiveRead {
    number: u64,
    /// [`SlotTable::change`] when it began.
    change: u64,
    /// When it began, on the monotonic clock.
    began: Duration,
    /// Attempts whose outcome was recorded since.
    ended: BTreeSet<ExecutionId>,
}

/// A claim that is under way, or that the store did not answer. It may take effect after any read.
#[derive(Debug)]
struct UnconfirmedClaim {
    /// By then it has taken effect or never will, on the monotonic clock.
    resolved_at: Duration,
    /// The attempts that it would make, by worker.
    executions: BTreeMap<Incarnation, BTreeSet<ExecutionId>>,
}

/// All workers with their live attempts. Empty while another node leads.
#[derive(Debug)]
pub struct SlotTable {
    settings: Settings,
    leads: bool,
    /// Epoch of the term that the table is for.
    epoch: u64,
    workers: BTreeMap<Incarnation, WorkerLoad>,
    /// Live attempts of workers that have no row in the store.
    orphaned: BTreeMap<Incarnation, BTreeSet<ExecutionId>>,
    /// Attempts whose outcome is being recorded, by worker. `None`: the table did not hold it.
    ending: BTreeMap<Incarnation, BTreeMap<ExecutionId, Option<HeldAttempt>>>,
    /// Grows with each claim that was answered.
    change: u64,
    reads: BTreeMap<LiveReader, LiveRead>,
    /// Number of the newest read that began, and of the newest that was answered. The answer of an older
    /// read is out of date.
    last_read: u64,
    newest_answered: u64,
    /// Number of the newest claim.
    claim: u64,
    /// By the number of the claim.
    unconfirmed: BTreeMap<u64, UnconfirmedClaim>,
    /// Grows whenever jobs become ready; its value when the newest claim was made.
    ready: u64,
    ready_at_claim: u64,
    may_have_more: bool,
}

impl SlotTable {
    /// An empty table, of a node that does not lead.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            leads: false,
            epoch: 0,
            workers: BTreeMap::new(),
            orphaned: BTreeMap::new(),
            ending: BTreeMap::new(),
            change: 0,
            reads: BTreeMap::new(),
            last_read: 0,
            newest_answered: 0,
            claim: 0,
            unconfirmed: BTreeMap::new(),
            ready: 0,
            ready_at_claim: 0,
            may_have_more: false,
        }
    }

    /// A term begins, or begins again after an error. The caller now reads workers and live attempts,
    /// and hands them to [`Self::update_workers`] and [`Self::finish_read`].
    pub fn begin_term(&mut self, epoch: u64, now: Now) {
        self.end_term();
        self.leads = true;
        if self.epoch != epoch {
            // The store refuses claims of an older term.
            self.epoch = epoch;
            self.unconfirmed.clear();
        }
        // This process may have been suspended, and may send such a claim only now.
        let resolved_at = now.mono + self.settings.store_deadline * 2;
        self.unconfirmed.values_mut().for_each(|claim| claim.resolved_at = resolved_at);
        self.begin_read(LiveReader::Monitor, now);
    }

    /// This node leads no longer.
    pub fn end_term(&mut self) {
        *self = Self {
            epoch: self.epoch,
            claim: self.claim,
            unconfirmed: std::mem::take(&mut self.unconfirmed),
            ..Self::new(self.settings.clone())
        };
    }

    /// A worker with its attempts. `None`: it has no row in the store.
    #[must_use]
    pub fn worker(&self, worker: Incarnation) -> Option<&WorkerLoad> {
        self.workers.get(&worker)
    }

    /// Number of a worker's newest heartbeat, 0 after its registration alone.
    #[must_use]
    pub(crate) fn heartbeat_of(&self, worker: Incarnation) -> Option<u64> {
        self.workers.get(&worker).map(|load| load.heartbeat)
    }

    /// No worker has a live attempt, and no job is ready for the workers that are here.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.may_have_more
            && self.unconfirmed.is_empty()
            && self.orphaned.is_empty()
            && self.ending.is_empty()
            && self.workers.values().all(|load| load.live.is_empty())
    }

    /// The newest claim took as many jobs as one claim may, so another may find more at once.
    #[must_use]
    pub fn may_have_more(&self) -> bool {
        self.may_have_more
    }

    /// The live attempts of a worker, and when this node claimed or first read each, on the monotonic
    /// clock.
    #[must_use]
    pub(crate) fn attempts_of(&self, worker: Incarnation) -> BTreeMap<ExecutionId, Duration> {
        let live = self.workers.get(&worker).map(|load| &load.live);
        live.into_iter().flatten().map(|(execution, held)| (*execution, held.since)).collect()
    }

    /// A worker registered at this node.
    pub(crate) fn worker_registered(
        &mut self,
        registration: WorkerRegistration,
        directive: Option<WorkerDirective>,
        now: Now,
    ) {
        if !self.leads {
            return;
        }
        let worker = registration.incarnation;
        let load = self.workers.entry(worker).or_insert_with(|| WorkerLoad {
            state: WorkerState::Running,
            capacity: registration.slots,
            directive,
            seen: now.mono,
            heartbeat: 0,
            live: BTreeMap::new(),
            found_too_few: false,
            registration: registration.clone(),
        });
        load.registration = registration;
        load.directive = directive;
        load.seen = now.mono;
        self.adopt_orphans(worker, now);
    }

    fn adopt_orphans(&mut self, worker: Incarnation, now: Now) {
        let Some(load) = self.workers.get_mut(&worker) else { return };
        let own = self.orphaned.remove(&worker).unwrap_or_default();
        let held = HeldAttempt { alone: false, change: 0, since: now.mono };
        load.live.extend(own.into_iter().map(|execution| (execution, held)));
    }

    /// A worker's heartbeat came to this node.
    pub(crate) fn worker_reported(
        &mut self,
        heartbeat: &WorkerHeartbeat,
        directive: Option<WorkerDirective>,
        now: Now,
    ) {
        let Some(load) = self.workers.get_mut(&heartbeat.incarnation) else { return };
        load.seen = now.mono;
        load.directive = directive;
        if heartbeat.seq > load.heartbeat {
            load.update(heartbeat.seq, heartbeat.capacity, heartbeat.state);
        }
    }

    /// Takes over the worker rows of the store, which hold the heartbeats that came to other nodes.
    pub fn update_workers(&mut self, rows: &[WorkerRecord], now: Now) {
        if !self.leads {
            return;
        }
        let known: BTreeSet<Incarnation> =
            rows.iter().map(|row| row.report.registration.incarnation).collect();
        // Its row is written before its entry here, so a worker without a row stopped or was lost.
        let gone: Vec<Incarnation> =
            self.workers.keys().filter(|worker| !known.contains(worker)).copied().collect();
        for worker in gone {
            if let Some(load) = self.workers.remove(&worker)
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
            if fenced && !self.workers.contains_key(&worker) && !has_some {
                continue;
            }
            let load = self.workers.entry(worker).or_insert_with(|| WorkerLoad {
                registration: report.registration.clone(),
                state: report.state,
                capacity: report.capacity,
                directive: row.order,
                seen,
                heartbeat: report.heartbeat,
                live: BTreeMap::new(),
                found_too_few: false,
            });
            load.directive = row.order;
            load.seen = load.seen.max(seen);
            if report.heartbeat > load.heartbeat {
                load.update(report.heartbeat, report.capacity, report.state);
            }
            self.adopt_orphans(worker, now);
        }
    }

    /// A read of all live attempts begins; its answer goes to [`Self::finish_read`]. From now on the
    /// table notes which attempts are claimed and which end, so that the answer does not undo them.
    pub fn begin_read(&mut self, by: LiveReader, now: Now) {
        self.last_read += 1;
        let (number, change) = (self.last_read, self.change);
        let read = LiveRead { number, change, began: now.mono, ended: BTreeSet::new() };
        self.reads.insert(by, read);
    }

    /// Takes over the live attempts that were read, except for what changed since the read began.
    pub fn finish_read(&mut self, by: LiveReader, live: &[Live], now: Now) {
        let Some(LiveRead { number, change, began, ended }) = self.reads.remove(&by) else {
            return;
        };
        if number < self.newest_answered {
            return;
        }
        self.newest_answered = number;
        // A claim is one transaction: once one of its attempts is there, all of them are.
        let there: BTreeSet<ExecutionId> = live.iter().map(|attempt| attempt.execution).collect();
        self.unconfirmed.retain(|_, claim| {
            began < claim.resolved_at
                && claim.executions.values().all(|asked| asked.is_disjoint(&there))
        });
        let mut since = BTreeMap::new();
        for load in self.workers.values_mut() {
            let old = std::mem::take(&mut load.live);
            for (execution, held) in old {
                since.insert(execution, held.since);
                if held.change > change {
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
            let since = since.get(&execution).copied().unwrap_or(now.mono);
            let held = HeldAttempt { alone: attempt.alone, change: 0, since };
            match self.workers.get_mut(&attempt.worker) {
                Some(load) => _ = load.live.entry(execution).or_insert(held),
                None => {
                    self.orphaned.entry(attempt.worker).or_default().insert(execution);
                }
            }
        }
    }

    /// The outcome that a worker reported is about to be recorded. The slot of the attempt counts as free
    /// from now on, so that one transaction can record the outcome and claim for the slot.
    pub(crate) fn outcome_sent(&mut self, worker: Incarnation, execution: ExecutionId) {
        if self.leads {
            let held = self.release_slot(worker, execution);
            self.ending.entry(worker).or_default().entry(execution).or_insert(held);
        }
    }

    fn release_slot(&mut self, worker: Incarnation, execution: ExecutionId) -> Option<HeldAttempt> {
        if let Some(others) = self.orphaned.get_mut(&worker) {
            others.remove(&execution);
            if others.is_empty() {
                self.orphaned.remove(&worker);
            }
        }
        let load = self.workers.get_mut(&worker)?;
        let held = load.live.remove(&execution);
        // A job that runs alone may have waited for a worker without attempts.
        if load.live.is_empty() {
            load.found_too_few = false;
        }
        held
    }

    /// The store has the outcome.
    pub(crate) fn outcome_recorded(&mut self, worker: Incarnation, execution: ExecutionId) {
        self.take_ending(worker, execution);
        for read in self.reads.values_mut() {
            read.ended.insert(execution);
        }
    }

    fn take_ending(&mut self, worker: Incarnation, execution: ExecutionId) -> Option<HeldAttempt> {
        let of_worker = self.ending.get_mut(&worker)?;
        let held = of_worker.remove(&execution).flatten();
        if of_worker.is_empty() {
            self.ending.remove(&worker);
        }
        held
    }

    /// The store refused the outcome, or did not answer: the slot counts as taken again.
    pub(crate) fn outcome_failed(&mut self, worker: Incarnation, execution: ExecutionId) {
        let held = self.take_ending(worker, execution);
        if let (Some(load), Some(held)) = (self.workers.get_mut(&worker), held) {
            load.live.insert(execution, held);
        }
    }

    /// The store has the outcome of an attempt that was not announced by [`Self::outcome_sent`]: another
    /// node recorded it, or the monitor decided it.
    pub(crate) fn attempt_ended(&mut self, worker: Incarnation, execution: ExecutionId) {
        if self.leads {
            self.release_slot(worker, execution);
            self.outcome_recorded(worker, execution);
        }
    }

    /// The attempts with outcomes that have to be acknowledged before the worker has a slot for a job that
    /// is claimed for it now. None for a worker that prefetches.
    #[must_use]
    pub(crate) fn outcomes_before_dispatch(&self, worker: Incarnation) -> BTreeSet<ExecutionId> {
        let prefetches =
            self.workers.get(&worker).is_some_and(|load| load.capacity > load.registration.slots);
        let ending = self.ending.get(&worker).filter(|_| !prefetches);
        ending.into_iter().flat_map(BTreeMap::keys).copied().collect()
    }

    /// Whether the table still holds one of these attempts as live or ending: its outcome is not recorded.
    #[must_use]
    pub(crate) fn has_unrecorded(
        &self,
        worker: Incarnation,
        executions: &BTreeSet<ExecutionId>,
    ) -> bool {
        let live = self.workers.get(&worker).map(|load| &load.live);
        let ending = self.ending.get(&worker);
        executions.iter().any(|execution| {
            live.is_some_and(|live| live.contains_key(execution))
                || ending.is_some_and(|ending| ending.contains_key(execution))
        })
    }

    /// A worker returned a prefetched job that found no slot. Until its next heartbeat reports a
    /// capacity, it is given only jobs that start at once.
    pub(crate) fn stop_prefetch(&mut self, worker: Incarnation) {
        if let Some(load) = self.workers.get_mut(&worker) {
            load.capacity = load.capacity.min(load.registration.slots);
        }
    }

    /// The worker stopped or was lost.
    pub fn remove(&mut self, worker: Incarnation) {
        self.orphaned.remove(&worker);
        self.workers.remove(&worker);
    }

    /// Jobs became ready, or may have.
    pub fn jobs_ready(&mut self) {
        self.ready += 1;
        self.workers.values_mut().for_each(|load| load.found_too_few = false);
    }

    /// One request for each worker with free slots for which a job may be ready, with fresh execution
    /// ids. Only the store has the ready jobs, so every free slot is part of the claim.
    pub fn claim_requests(&mut self, rng: &mut impl Rng, now: Now) -> Vec<ClaimRequest> {
        self.ready_at_claim = self.ready;
        let mut requests: Vec<ClaimRequest> = Vec::new();
        for (worker, load) in self.workers.iter().filter(|(_, load)| !load.found_too_few) {
            if self.unconfirmed.values().any(|claim| claim.executions.contains_key(worker)) {
                continue;
            }
            // In the last third of its lease a worker rejects new jobs: it may have lost them before they
            // reach it.
            let lease = self.settings.lease;
            let silent = now.mono.saturating_sub(load.seen) >= lease - lease / 3;
            let most = if silent { 0 } else { load.free_slots().min(CLAIM_MOST) };
            if most == 0 {
                continue;
            }
            let start_at_once = (load.registration.slots as usize).saturating_sub(load.live.len());
            requests.push(ClaimRequest {
                prefetch: most.saturating_sub(start_at_once),
                held: load.live.len(),
                worker: load.registration.incarnation,
                worker_name: load.registration.name.clone(),
                offer: load.registration.offer.clone(),
                executions: (0..most).map(|_| ExecutionId::random(rng)).collect(),
            });
        }
        if !requests.is_empty() {
            self.claim += 1;
            // The store accepts the call within one of its deadlines, and ends it within another.
            let resolved_at = now.mono + self.settings.store_deadline * 2;
            let asked = |request: &ClaimRequest| {
                (request.worker, request.executions.iter().copied().collect())
            };
            let executions = requests.iter().map(asked).collect();
            self.unconfirmed.insert(self.claim, UnconfirmedClaim { resolved_at, executions });
        }
        requests
    }

    /// The newest claim failed. `unknown`: the store did not answer, so the claim may still take effect.
    pub fn claim_failed(&mut self, unknown: bool, now: Now) {
        let resolved_at = now.mono + self.settings.store_deadline;
        match self.unconfirmed.get_mut(&self.claim) {
            Some(claim) if unknown => claim.resolved_at = resolved_at,
            _ => _ = self.unconfirmed.remove(&self.claim),
        }
    }

    /// When the first claim without an answer has taken effect or never will, on the monotonic clock. After a
    /// read that begins then, the slots of its workers count as free again.
    #[must_use]
    pub fn next_resolved(&self) -> Option<Duration> {
        self.unconfirmed.values().map(|claim| claim.resolved_at).min()
    }

    /// The store answered the newest claim. `asked`: most jobs that the claim allowed for each worker.
    pub(crate) fn claim_answered(
        &mut self,
        asked: &BTreeMap<Incarnation, usize>,
        claimed: &[Claimed],
        now: Now,
    ) {
        self.change += 1;
        self.unconfirmed.remove(&self.claim);
        self.may_have_more = claimed.len() >= CLAIM_MOST;
        let mut given: BTreeMap<Incarnation, usize> = BTreeMap::new();
        for claim in claimed {
            *given.entry(claim.worker).or_default() += 1;
            let execution = claim.dispatch.execution;
            if let Some(load) = self.workers.get_mut(&claim.worker) {
                let held = HeldAttempt { alone: claim.alone, change: self.change, since: now.mono };
                load.live.insert(execution, held);
            } else if self.leads {
                self.orphaned.entry(claim.worker).or_default().insert(execution);
            }
        }
        if claimed.iter().any(|claim| claim.alone) {
            // Jobs behind the one that runs alone had to wait until a worker was without attempts.
            self.jobs_ready();
        }
        if self.may_have_more || self.ready_at_claim != self.ready {
            return;
        }
        for (worker, asked) in asked {
            let given = given.get(worker).copied().unwrap_or_default();
            if let Some(load) = self.workers.get_mut(worker) {
                load.found_too_few = given < *asked;
            }
        }
    }
}
