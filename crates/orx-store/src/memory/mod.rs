//! The reference model of a store: maps behind one lock, nothing on disk. Simulations run on it, and tests
//! compare the other stores with it. It is simple rather than fast.

mod audit;
mod dead_letters;
mod dispatching;
mod jobs;
mod leases;
mod logs;
mod operations;
mod outcomes;
mod queues;
mod schedules;
mod tokens;
mod transfer;
mod upkeep;
mod workers;

use std::collections::{BTreeMap, VecDeque};

use orx_model::filter::Filter;
use orx_model::job::{CancelRequest, DeadReason};
use orx_model::log::LogChunk;
use orx_model::message::WorkerDirective;
use orx_model::{
    Attempt, ExecutionId, Incarnation, Job, JobEvent, JobId, JobState, JobStatus, JobSummary, Name,
    NewJob, SecretHash, Timestamp, limits, next,
};
use parking_lot::{Mutex, MutexGuard};

use crate::{
    AuditRecord, ClockNote, Home, ListRequest, NodeReport, Page, Paused, Result, RetainedKey,
    StoreError, Term, TokenRecord, WorkerReport,
};

/// One change of a job's status, recorded by [`Memory`] for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The job that changed.
    pub job: JobId,
    /// Number of the job's latest attempt, from 1; 0 before the first claim.
    pub attempt: u32,
    /// Execution of the attempt that is live at the change, or that the change ends.
    pub execution: Option<ExecutionId>,
    /// The event that caused the change; `None` if the job was added.
    pub event: Option<JobEvent>,
    /// The status before; `None` if the job was added.
    pub from: Option<JobStatus>,
    /// The status after.
    pub to: JobStatus,
    /// Epoch of the leader that made the change; `None` for a change that needs no lease.
    pub epoch: Option<u64>,
}

/// A store in memory; dropping it loses everything. All methods take one lock and never wait for I/O.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    next_job: i64,
    jobs: BTreeMap<JobId, Entry>,
    keys: BTreeMap<String, JobId>,
    /// Keys of pruned jobs.
    retained_keys: BTreeMap<String, RetainedKey>,
    home: Home,
    dead: BTreeMap<JobId, (DeadReason, Timestamp)>,
    logs: BTreeMap<(JobId, u32, u64), LogChunk>,
    workers: BTreeMap<Incarnation, StoredWorker>,
    nodes: BTreeMap<Incarnation, (NodeReport, Timestamp)>,
    draining: BTreeMap<Incarnation, Timestamp>,
    epoch: u64,
    lease: Option<(Incarnation, Timestamp)>,
    tokens: BTreeMap<String, TokenRecord>,
    queues: std::collections::BTreeSet<Name>,
    paused: BTreeMap<Name, Paused>,
    audit: VecDeque<AuditRecord>,
    operations: operations::OperationTable,
    history: Vec<Transition>,
    schedules: schedules::ScheduleTables,
    clock: Option<ClockNote>,
}

struct Entry {
    job: Job,
    /// When a waiting job expires: the earlier of its deadline and, until its first claim, its `expires_at`.
    expire_at: Option<Timestamp>,
    key_hash: Option<String>,
    ended: Vec<Attempt>,
}

struct StoredWorker {
    report: WorkerReport,
    secret: SecretHash,
    seen_at: Timestamp,
    order: Option<WorkerDirective>,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes and returns the recorded changes of status, oldest first; at most a million are stored.
    #[must_use]
    pub fn take_history(&self) -> Vec<Transition> {
        let mut state = self.state.lock();
        std::mem::take(&mut state.history)
    }

    /// Every job, in the order of ids.
    #[must_use]
    pub fn all_jobs(&self) -> Vec<Job> {
        let state = self.state.lock();
        state.jobs.keys().filter_map(|id| state.view(*id)).collect()
    }

    fn state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.closed { Err(StoreError::Closed) } else { Ok(state) }
    }
}

fn matches(filter: &Filter, job: &Job, now: Timestamp) -> bool {
    filter.matches(&job.clone().into(), Some(&job.spec.args), now)
}

/// Maximum number of changes stored for [`Memory::take_history`]. Beyond it, the older half is dropped.
const HISTORY: usize = 1_000_000;

impl State {
    fn view(&self, id: JobId) -> Option<Job> {
        let mut job = self.jobs.get(&id)?.job.clone();
        job.state.dead = self.dead.get(&id).map(|(reason, _)| *reason);
        Some(job)
    }

    /// A page of the jobs that `of` selects and the filter matches.
    fn page(
        &self,
        request: &ListRequest,
        now: Timestamp,
        of: impl Fn(JobId) -> bool,
    ) -> Page<JobSummary> {
        let mut ids: Vec<JobId> = self.jobs.keys().copied().filter(|id| of(*id)).collect();
        if !request.oldest_first {
            ids.reverse();
        }
        let beyond = |id: &JobId| match request.after {
            Some(after) if request.oldest_first => *id > after,
            Some(after) => *id < after,
            None => true,
        };
        let found = ids.into_iter().filter(beyond).filter_map(|id| self.view(id));
        let (mut rows, mut bytes, mut more) = (Vec::<JobSummary>::new(), 0, false);
        for job in found.filter(|job| matches(&request.filter, job, now)) {
            let job = JobSummary::from(job);
            bytes += job.bytes();
            if rows.len() >= request.limit as usize
                || (!rows.is_empty() && bytes > limits::PAGE_BYTES)
            {
                more = true;
                break;
            }
            rows.push(job);
        }
        let next = rows.last().filter(|_| more).map(|job| job.id);
        Page { rows, next }
    }

    /// Adds a job.
    fn add(
        &mut self,
        job: impl Into<NewJob>,
        status: JobStatus,
        by: Option<Term>,
        now: Timestamp,
    ) -> JobId {
        let NewJob { spec, run_at, key_hash } = job.into();
        self.next_job += 1;
        let id = JobId(self.next_job);
        self.queues.insert(spec.queue.clone());
        if let Some(key) = &spec.key {
            self.keys.insert(key.clone(), id);
        }
        self.history.push(Transition {
            job: id,
            attempt: 0,
            execution: None,
            event: None,
            from: None,
            to: status,
            epoch: by.map(|term| term.epoch),
        });
        let expire_at = [spec.expires_at, spec.deadline].into_iter().flatten().min();
        let state = JobState::new(status, now, run_at.map_or(now, |run_at| run_at.max(now)));
        let job = Job { id, spec, state };
        self.jobs.insert(id, Entry { job, expire_at, key_hash, ended: Vec::new() });
        id
    }

    /// Changes a status. Every change goes through here.
    fn change(&mut self, id: JobId, event: JobEvent, by: Option<Term>) -> Result<JobStatus> {
        let entry = self.jobs.get_mut(&id).ok_or(StoreError::Unknown)?;
        let from = entry.job.state.status;
        let to = next(from, event).map_err(|_| StoreError::Unknown)?;
        entry.job.state.status = to;
        let transition = Transition {
            job: id,
            attempt: entry.job.state.attempt,
            execution: entry.job.state.live.as_ref().map(|live| live.execution),
            event: Some(event),
            from: Some(from),
            to,
            epoch: by.map(|term| term.epoch),
        };
        self.schedules.status_changed(id, to);
        if self.history.len() >= HISTORY {
            self.history.drain(..HISTORY / 2);
        }
        self.history.push(transition);
        Ok(to)
    }

    /// Ends a job's attempt or wait at a time. No other function makes a job final.
    fn finish(
        &mut self,
        id: JobId,
        event: JobEvent,
        by: Option<Term>,
        at: Timestamp,
        dead: Option<(DeadReason, Timestamp)>,
    ) -> Result<JobStatus> {
        let to = self.change(id, event, by)?;
        if let Some(entry) = self.jobs.get_mut(&id) {
            entry.job.state.finished_at = to.is_final().then_some(at);
            entry.expire_at = entry.job.spec.deadline.filter(|_| !to.is_final());
        }
        if let Some(dead) = dead {
            self.dead.insert(id, dead);
        }
        Ok(to)
    }

    fn expire(&mut self, id: JobId, by: Term, now: Timestamp) -> Result<()> {
        if let Some(entry) = self.jobs.get_mut(&id) {
            let late = entry.job.spec.deadline.is_some_and(|deadline| deadline <= now);
            let reason = if late { "deadline passed" } else { "expired" };
            entry.job.state.cancel = Some(CancelRequest {
                at: now,
                reason: Some(reason.to_owned()),
                by: Some("orx".to_owned()),
            });
        }
        self.finish(id, JobEvent::Cancel, Some(by), now, None).map(drop)
    }

    /// # Errors
    /// [`StoreError::Deposed`] if `term` does not hold the lease.
    fn leads(&self, term: Term) -> Result<()> {
        let leads = self.lease.is_some_and(|(node, _)| node == term.node);
        if leads && self.epoch == term.epoch { Ok(()) } else { Err(StoreError::Deposed) }
    }
}
