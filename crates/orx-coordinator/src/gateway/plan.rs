//! Decides the answers to heartbeats, without I/O. [`WorkerTable`] holds the workers that send theirs to
//! this node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orx_model::event::WorkerRef;
use orx_model::message::{
    ExecutionRef, HeartbeatAnswer, WorkerDirective, WorkerHeartbeat, WorkerRegistration,
    WorkerState,
};
use orx_model::{ExecutionId, Incarnation, JobStatus, Outcome, OutcomeKind, Timestamp};
use orx_store::{Live, WorkerReport};

use crate::{Now, Settings};

/// A worker, as its newest heartbeat reported it.
#[derive(Debug)]
struct WorkerEntry {
    registration: WorkerRegistration,
    state: WorkerState,
    capacity: u32,
    /// Number of its newest heartbeat. An older one that comes late is ignored.
    heartbeat: u64,
    /// When its last heartbeat came, on the monotonic clock.
    seen: Duration,
    /// Its live attempts, with the time when this node claimed or first read each, on that clock.
    known: BTreeMap<ExecutionId, Duration>,
}

/// The result of reconciling a heartbeat with the store.
#[derive(Debug, Default, PartialEq)]
pub struct Reconciled {
    /// The answer to it.
    pub answer: HeartbeatAnswer,
    /// Outcomes to acknowledge.
    pub acknowledge: Vec<ExecutionId>,
}

/// What a heartbeat changed in [`WorkerTable`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkerChange {
    /// The leader has to know: the worker takes more or fewer jobs now.
    pub(crate) for_leader: bool,
    /// The state before, if the state changed.
    pub(crate) moved_from: Option<WorkerState>,
}

/// The workers that send their heartbeats to this node.
#[derive(Debug)]
pub struct WorkerTable {
    settings: Settings,
    entries: BTreeMap<Incarnation, WorkerEntry>,
}

impl WorkerTable {
    /// An empty table.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, entries: BTreeMap::new() }
    }

    /// The row of a worker that registers.
    #[must_use]
    pub(crate) fn first_report(&self, registration: &WorkerRegistration) -> WorkerReport {
        WorkerReport {
            state: WorkerState::Running,
            capacity: registration.slots,
            heartbeat: 0,
            load: None,
            hosted_by: None,
            node: None,
            registration: registration.clone(),
        }
    }

    /// The row of a worker after a heartbeat. `None`: the worker has not registered at this node.
    #[must_use]
    pub(crate) fn report(&self, heartbeat: &WorkerHeartbeat) -> Option<WorkerReport> {
        let entry = self.entries.get(&heartbeat.incarnation)?;
        Some(WorkerReport {
            registration: entry.registration.clone(),
            state: heartbeat.state,
            capacity: heartbeat.capacity,
            heartbeat: heartbeat.seq,
            load: heartbeat.load,
            hosted_by: None,
            node: None,
        })
    }

    /// Adds a worker, or replaces its registration; returns the answer to the registration.
    pub fn register(
        &mut self,
        registration: WorkerRegistration,
        directive: Option<WorkerDirective>,
        now: Now,
    ) -> HeartbeatAnswer {
        let entry = self.entries.entry(registration.incarnation).or_insert_with(|| WorkerEntry {
            state: WorkerState::Running,
            capacity: registration.slots,
            heartbeat: 0,
            seen: now.mono,
            known: BTreeMap::new(),
            registration: registration.clone(),
        });
        entry.registration = registration;
        entry.seen = now.mono;
        self.answer(directive, now)
    }

    /// Takes over the state and capacity that a heartbeat reports.
    pub(crate) fn update(&mut self, heartbeat: &WorkerHeartbeat, now: Now) -> WorkerChange {
        let Some(entry) = self.entries.get_mut(&heartbeat.incarnation) else {
            return WorkerChange::default();
        };
        entry.seen = now.mono;
        if heartbeat.seq <= entry.heartbeat {
            return WorkerChange::default();
        }
        let moved_from = (entry.state != heartbeat.state).then_some(entry.state);
        let first = entry.heartbeat == 0;
        let for_leader = first || entry.capacity != heartbeat.capacity || moved_from.is_some();
        entry.heartbeat = heartbeat.seq;
        entry.capacity = heartbeat.capacity;
        entry.state = heartbeat.state;
        WorkerChange { for_leader, moved_from }
    }

    /// A worker of this table, and its state.
    #[must_use]
    pub(crate) fn state_of(&self, worker: Incarnation) -> Option<(WorkerRef, WorkerState)> {
        let entry = self.entries.get(&worker)?;
        let name = Some(entry.registration.name.clone());
        Some((WorkerRef { incarnation: worker, name }, entry.state))
    }

    /// Reconciles a worker with the store, which heals every lost message. `live`: its live attempts, read
    /// from the store after the heartbeat came. `directive`: what the operator requested. `claimed`: when
    /// this node claimed or first read attempts, if it leads.
    pub fn heartbeat(
        &mut self,
        heartbeat: &WorkerHeartbeat,
        live: &[Live],
        directive: Option<WorkerDirective>,
        claimed: &BTreeMap<ExecutionId, Duration>,
        now: Now,
    ) -> Reconciled {
        let mut answer = self.answer(directive, now);
        let ask_after = self.settings.ask_after;
        let held: BTreeMap<ExecutionId, &Live> =
            live.iter().map(|attempt| (attempt.execution, attempt)).collect();
        let Some(entry) = self.entries.get_mut(&heartbeat.incarnation) else {
            // It was lost meanwhile.
            return Reconciled {
                answer: HeartbeatAnswer { register: true, ..answer },
                acknowledge: Vec::new(),
            };
        };
        entry.known.retain(|execution, _| held.contains_key(execution));
        for execution in held.keys() {
            let since = claimed.get(execution).copied().unwrap_or(now.mono);
            entry.known.entry(*execution).or_insert(since);
        }
        if answer.fenced {
            return Reconciled { answer, acknowledge: Vec::new() };
        }
        for running in &heartbeat.running {
            match held.get(&running.execution) {
                None => answer.stop.push(*running),
                Some(attempt) if attempt.cancel_requested => answer.cancel.push(*running),
                Some(_) => {}
            }
        }
        let mut acknowledge = Vec::new();
        for ended in &heartbeat.unacknowledged {
            match held.get(&ended.execution) {
                Some(_) => answer.resend.push(ended.execution),
                None => acknowledge.push(ended.execution),
            }
        }
        let reported: BTreeSet<ExecutionId> = heartbeat
            .running
            .iter()
            .chain(&heartbeat.unacknowledged)
            .map(|one| one.execution)
            .collect();
        // The worker did not report it, or the store has no start of it: a start can be lost while the
        // attempt runs for hours.
        let unreported = |attempt: &&Live| {
            attempt.status == JobStatus::Dispatched || !reported.contains(&attempt.execution)
        };
        for attempt in live.iter().filter(unreported) {
            // The heartbeat may have been written before the dispatch arrived. The job goes to another
            // worker only once this one answers that it does not have it.
            let since = entry.known.get(&attempt.execution).copied().unwrap_or(now.mono);
            if now.mono.saturating_sub(since) >= ask_after {
                let asked = ExecutionRef { job: attempt.job, execution: attempt.execution };
                answer.asked.push(asked);
            }
        }
        Reconciled { answer, acknowledge }
    }

    /// All workers of this table.
    #[must_use]
    pub(crate) fn workers(&self) -> Vec<Incarnation> {
        self.entries.keys().copied().collect()
    }

    /// The worker stopped or was lost.
    pub(crate) fn remove(&mut self, worker: Incarnation) {
        self.entries.remove(&worker);
    }

    /// Removes workers that send their heartbeats to another node now, or died.
    pub(crate) fn remove_silent(&mut self, now: Now) {
        let lease = self.settings.lease;
        self.entries.retain(|_, entry| now.mono.saturating_sub(entry.seen) <= lease * 2);
    }

    /// An answer that holds nothing but the directive, and the times of the coordinator.
    #[must_use]
    pub(crate) fn answer(&self, directive: Option<WorkerDirective>, now: Now) -> HeartbeatAnswer {
        HeartbeatAnswer {
            drain: directive == Some(WorkerDirective::Drain),
            fenced: directive == Some(WorkerDirective::Fence),
            takes_back: true,
            lease_ms: self.settings.lease.as_millis() as u64,
            heartbeat_ms: self.settings.heartbeat.as_millis() as u64,
            now: now.wall,
            ..HeartbeatAnswer::default()
        }
    }
}

/// The directive that a worker gets: the one in its row, else a drain while its node drains and the worker
/// runs in the same process, so that it cannot move to another node.
#[must_use]
pub(crate) fn effective_directive(
    stored: Option<WorkerDirective>,
    hosted: bool,
    node_drains: bool,
) -> Option<WorkerDirective> {
    stored.or_else(|| (hosted && node_drains).then_some(WorkerDirective::Drain))
}

/// The outcome of an attempt that a worker had when it stopped in good order.
#[must_use]
pub(crate) fn interrupted(attempt: &Live, now: Timestamp) -> Outcome {
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

#[cfg(test)]
mod tests {
    use orx_model::{Capabilities, JobId};

    use super::*;

    const WORKER: Incarnation = Incarnation(7);

    fn at(seconds: u64) -> Now {
        let mono = Duration::from_secs(seconds);
        Now { wall: Timestamp::default().saturating_add(mono), mono }
    }

    fn attempt(status: JobStatus) -> Live {
        Live {
            job: JobId(1),
            attempt: 1,
            execution: ExecutionId(1),
            worker: WORKER,
            status,
            claimed_at: Timestamp::default(),
            started_at: None,
            timeout_ms: None,
            deadline: None,
            cancel_requested: false,
            alone: false,
        }
    }

    fn worker_table() -> WorkerTable {
        let mut worker_table = WorkerTable::new(Settings::default());
        let registration = WorkerRegistration {
            incarnation: WORKER,
            name: "w".parse().expect("a name"),
            host: "h".into(),
            pid: 1,
            version: "1".into(),
            offer: Capabilities::default(),
            slots: 1,
            started_at: Timestamp::default(),
        };
        worker_table.register(registration, None, at(0));
        worker_table
    }

    fn heartbeat(seq: u64, running: bool) -> WorkerHeartbeat {
        let execution = ExecutionRef { job: JobId(1), execution: ExecutionId(1) };
        WorkerHeartbeat {
            incarnation: WORKER,
            seq,
            state: WorkerState::Running,
            capacity: 1,
            running: if running { vec![execution] } else { Vec::new() },
            unacknowledged: Vec::new(),
            load: None,
        }
    }

    fn asked(
        worker_table: &mut WorkerTable,
        beat: &WorkerHeartbeat,
        live: JobStatus,
        now: Now,
    ) -> usize {
        worker_table.update(beat, now);
        let claimed = BTreeMap::new();
        worker_table.heartbeat(beat, &[attempt(live)], None, &claimed, now).answer.asked.len()
    }

    #[test]
    fn a_worker_drains_with_the_node_whose_process_it_shares() {
        use WorkerDirective::{Drain, Fence};
        assert_eq!(effective_directive(None, true, true), Some(Drain));
        assert_eq!(effective_directive(None, false, true), None, "it moves to another node");
        assert_eq!(effective_directive(None, true, false), None);
        assert_eq!(effective_directive(Some(Fence), true, true), Some(Fence));
    }

    #[test]
    fn an_attempt_that_its_worker_does_not_name_is_asked_about_after_a_while() {
        let mut worker_table = worker_table();
        let beat = |seq| heartbeat(seq, false);
        assert_eq!(asked(&mut worker_table, &beat(1), JobStatus::Running, at(1)), 0);
        assert_eq!(asked(&mut worker_table, &beat(2), JobStatus::Running, at(15)), 0);
        assert_eq!(asked(&mut worker_table, &beat(3), JobStatus::Running, at(16)), 1);
    }

    #[test]
    fn a_start_that_was_lost_is_asked_for_until_it_is_known() {
        let mut worker_table = worker_table();
        let beat = |seq| heartbeat(seq, true);
        assert_eq!(asked(&mut worker_table, &beat(1), JobStatus::Dispatched, at(1)), 0);
        assert_eq!(asked(&mut worker_table, &beat(2), JobStatus::Dispatched, at(16)), 1);
        assert_eq!(asked(&mut worker_table, &beat(3), JobStatus::Dispatched, at(26)), 1);
        assert_eq!(asked(&mut worker_table, &beat(4), JobStatus::Running, at(36)), 0);
    }
}
