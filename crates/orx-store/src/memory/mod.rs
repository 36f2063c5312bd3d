//! The reference model of a store: maps behind one lock, nothing on disk. Simulations run on it, and tests
//! compare the other stores with it. It is simple rather than fast.

mod schedules;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use orx_model::filter::Filter;
use orx_model::job::{AttemptCounts, CancelRequest, DeadReason};
use orx_model::log::{LogChunk, LogCursor};
use orx_model::message::{ExecutionProgress, ExecutionRef, Started, WorkerDirective};
use orx_model::settle::{self, settle};
use orx_model::wire::{Count, StatusCounts};
use orx_model::{
    Attempt, AttemptStatus, ExecutionId, Incarnation, Job, JobEvent, JobId, JobState, JobStatus,
    JobSummary, Lane, LiveAttempt, Name, NewJob, Outcome, OutcomeKind, SecretHash, Timestamp,
    limits, next,
};
use parking_lot::{Mutex, MutexGuard};

use crate::codec::{self, span};
use crate::lane_merge::{Given, Takers};
use crate::{
    CancelAnswer, CancelCommand, ClaimRequest, Claimed, Claims, ClockJump, ClockNote,
    DeadLetterRow, DeadLetters, Dispatching, Enqueued, Holder, Home, JobExport, Jobs, Lead,
    LeadRequest, Leases, ListRequest, Live, LogRequest, Logs, NodeRecord, NodeReport, Page,
    Promoted, PruneRequest, Pruned, Recorded, Result, RetainedKey, RetryAnswer, RowCounts,
    StoreError, StoreInfo, Term, TokenRecord, Tokens, Transfer, Upkeep, WorkerPut, WorkerRecord,
    WorkerRemoval, WorkerReport, Workers,
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
    kept_keys: BTreeMap<String, RetainedKey>,
    home: Home,
    dead: BTreeMap<JobId, (DeadReason, Timestamp)>,
    logs: BTreeMap<(JobId, u32, u64), LogChunk>,
    workers: BTreeMap<Incarnation, WorkerRow>,
    nodes: BTreeMap<Incarnation, (NodeReport, Timestamp)>,
    epoch: u64,
    lease: Option<(Incarnation, Timestamp)>,
    tokens: BTreeMap<String, TokenRecord>,
    queues: std::collections::BTreeSet<Name>,
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

struct WorkerRow {
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
        if self.history.len() >= HISTORY {
            self.history.drain(..HISTORY / 2);
        }
        self.history.push(transition);
        Ok(to)
    }

    fn cancel_waiting(&mut self, id: JobId, by: Option<Term>, now: Timestamp) -> Result<()> {
        self.change(id, JobEvent::Cancel, by)?;
        if let Some(entry) = self.jobs.get_mut(&id) {
            entry.job.state.finished_at = Some(now);
            entry.expire_at = None;
        }
        Ok(())
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
        self.cancel_waiting(id, Some(by), now)
    }

    /// # Errors
    /// [`StoreError::Deposed`] if `term` does not hold the lease.
    fn leads(&self, term: Term) -> Result<()> {
        let leads = self.lease.is_some_and(|(node, _)| node == term.node);
        if leads && self.epoch == term.epoch { Ok(()) } else { Err(StoreError::Deposed) }
    }

    fn record(
        &mut self,
        outcomes: &[Outcome],
        draws: Vec<f64>,
        by: Option<Term>,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        let mut answers = Vec::new();
        let draws = draws.into_iter().chain(std::iter::repeat(0.5));
        for (outcome, draw) in outcomes.iter().zip(draws) {
            let Some(job) = self.jobs.get(&outcome.job).map(|entry| &entry.job) else {
                answers.push(Recorded::Missing);
                continue;
            };
            if job.state.live.as_ref().map(|live| live.execution) != Some(outcome.execution) {
                answers.push(Recorded::Stale { status: job.state.status });
                continue;
            }
            let inputs = settle::RetryInputs {
                ends: job.state.ends,
                retry: job.spec.retry,
                on_lost: job.spec.on_lost,
                deadline: job.spec.deadline,
                cancel_requested: job.state.cancel.is_some(),
            };
            let settled = settle(&inputs, outcome, now, draw);
            let ended = outcome.kind.status();
            let (event, run_at) = (settled.event, settled.run_at);
            let status =
                self.end_attempt(outcome, (event, by), ended, settled.ends, run_at, now)?;
            if let OutcomeKind::Succeeded { result: Some(result) } = &outcome.kind
                && let Some(entry) = self.jobs.get_mut(&outcome.job)
            {
                entry.job.state.result = Some(result.clone());
            }
            if let Some(reason) = settled.dead {
                self.dead.insert(outcome.job, (reason, now));
            }
            answers.push(Recorded::Applied { status, run_at });
        }
        Ok(answers)
    }

    fn end_attempt(
        &mut self,
        ended: &Outcome,
        (event, by): (JobEvent, Option<Term>),
        status: AttemptStatus,
        ends: AttemptCounts,
        run_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<JobStatus> {
        let id = ended.job;
        let to = self.change(id, event, by)?;
        let entry = self.jobs.get_mut(&id).ok_or(StoreError::Unknown)?;
        let live = entry.job.state.live.take().ok_or(StoreError::Unknown)?;
        let started_at = ended.started_at.or(live.started_at);
        let (started_at, ended_at) = span(live.claimed_at, started_at, ended.ended_at, now);
        entry.expire_at = entry.job.spec.deadline.filter(|_| !to.is_final());
        // A success has no error, even if its worker reports one.
        let failed = status != AttemptStatus::Succeeded;
        let error = ended.error.as_deref().filter(|_| failed).map(|text| {
            let mut end = text.len().min(orx_model::limits::ERROR_BYTES);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text[..end].to_owned()
        });
        entry.ended.push(Attempt {
            job: id,
            number: entry.job.state.attempt,
            execution: live.execution,
            worker: live.worker,
            worker_name: live.worker_name.clone(),
            epoch: live.epoch,
            status,
            claimed_at: live.claimed_at,
            started_at,
            ended_at: Some(ended_at),
            error: error.clone(),
            exit: ended.exit,
            dropped_bytes: 0,
        });
        let job = &mut entry.job;
        job.state.ends = ends;
        job.state.run_at = run_at.unwrap_or(job.state.run_at);
        job.state.finished_at = to.is_final().then_some(ended_at);
        job.state.started_at = started_at;
        job.state.worker = Some(live.worker_name);
        job.state.error = error;
        job.state.exit = ended.exit;
        Ok(to)
    }
}

#[async_trait]
impl Jobs for Memory {
    async fn enqueue(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Enqueued>> {
        let mut state = self.state()?;
        let mut answers = Vec::new();
        for job in jobs {
            let known = job.spec.key.as_ref().and_then(|key| state.keys.get(key).copied());
            if let Some(entry) = known.and_then(|known| state.jobs.get(&known)) {
                let (id, status) = (entry.job.id, entry.job.state.status);
                answers.push(if entry.key_hash == job.key_hash {
                    Enqueued::Existing { id, status }
                } else {
                    Enqueued::KeyConflict { id, status, hash: entry.key_hash.clone() }
                });
                continue;
            }
            let kept = job.spec.key.as_ref().and_then(|key| state.kept_keys.get(key).cloned());
            if let Some(kept) = kept {
                if kept.kept_until > now {
                    answers.push(if kept.hash == job.key_hash {
                        Enqueued::Existing { id: kept.job, status: kept.status }
                    } else {
                        Enqueued::KeyConflict { id: kept.job, status: kept.status, hash: kept.hash }
                    });
                    continue;
                }
                state.kept_keys.remove(&kept.key);
            }
            let status = match job.run_at {
                Some(run_at) if run_at > now => JobStatus::Scheduled,
                _ => JobStatus::Pending,
            };
            let id = state.add(job, status, None, now);
            answers.push(Enqueued::New { id, status });
        }
        Ok(answers)
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        Ok(self.state()?.view(id))
    }

    async fn jobs(&self, ids: Vec<JobId>) -> Result<Vec<Job>> {
        let state = self.state()?;
        let ids: std::collections::BTreeSet<JobId> = ids.into_iter().collect();
        Ok(ids.into_iter().filter_map(|id| state.view(id)).collect())
    }

    async fn job_by_key(&self, key: &str) -> Result<Option<Job>> {
        let state = self.state()?;
        Ok(state.keys.get(key).and_then(|id| state.view(*id)))
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>> {
        let state = self.state()?;
        let Some(entry) = state.jobs.get(&id) else { return Ok(Vec::new()) };
        let mut all = entry.ended.clone();
        if let Some(live) = &entry.job.state.live {
            all.push(Attempt {
                job: id,
                number: entry.job.state.attempt,
                execution: live.execution,
                worker: live.worker,
                worker_name: live.worker_name.clone(),
                epoch: live.epoch,
                status: match live.started_at {
                    Some(_) => AttemptStatus::Running,
                    None => AttemptStatus::Dispatched,
                },
                claimed_at: live.claimed_at,
                started_at: live.started_at,
                ended_at: None,
                error: None,
                exit: None,
                dropped_bytes: 0,
            });
        }
        for attempt in &mut all {
            let log = (id, attempt.number, 0)..=(id, attempt.number, u64::MAX);
            let dropped = state.logs.range(log).map(|(_, chunk)| chunk.dropped_bytes);
            let most = i64::MAX.unsigned_abs();
            attempt.dropped_bytes = dropped.fold(0, u64::saturating_add).min(most);
        }
        Ok(all)
    }

    async fn list(&self, request: ListRequest, now: Timestamp) -> Result<Page<JobSummary>> {
        let state = self.state()?;
        Ok(state.page(&request, now, |_| true))
    }

    async fn count(&self, filter: Filter, most: u64, now: Timestamp) -> Result<Count> {
        let state = self.state()?;
        let all = state.jobs.keys().filter_map(|id| state.view(*id));
        let count = all.filter(|job| matches(&filter, job, now)).count() as u64;
        Ok(Count { count: count.min(most), exact: count <= most })
    }

    async fn queue_counts(&self) -> Result<Vec<(Name, StatusCounts)>> {
        let state = self.state()?;
        let mut queues: BTreeMap<Name, StatusCounts> =
            state.queues.iter().map(|queue| (queue.clone(), StatusCounts::default())).collect();
        for entry in state.jobs.values() {
            *queues
                .entry(entry.job.spec.queue.clone())
                .or_default()
                .slot(entry.job.state.status) += 1;
        }
        Ok(queues.into_iter().collect())
    }

    async fn oldest_due(&self) -> Result<Vec<(Name, Timestamp)>> {
        let state = self.state()?;
        let mut oldest: BTreeMap<Name, Timestamp> = BTreeMap::new();
        for entry in
            state.jobs.values().filter(|entry| entry.job.state.status == JobStatus::Pending)
        {
            let known =
                oldest.entry(entry.job.spec.queue.clone()).or_insert(entry.job.state.run_at);
            *known = (*known).min(entry.job.state.run_at);
        }
        Ok(oldest.into_iter().collect())
    }

    async fn cancel(
        &self,
        cancels: Vec<CancelCommand>,
        now: Timestamp,
    ) -> Result<Vec<CancelAnswer>> {
        let mut state = self.state()?;
        let mut answers = Vec::new();
        for cancel in cancels {
            let Some(entry) = state.jobs.get_mut(&cancel.id) else {
                answers.push(CancelAnswer::Missing);
                continue;
            };
            let status = entry.job.state.status;
            if cancel.expected.is_some_and(|expected| expected != status) {
                answers.push(CancelAnswer::NotInState { status });
                continue;
            }
            if status.is_final() {
                answers.push(CancelAnswer::AlreadyFinal { status });
                continue;
            }
            entry.job.state.cancel.get_or_insert(CancelRequest {
                at: now,
                reason: cancel.reason,
                by: cancel.by,
            });
            let live = entry.job.state.live.clone();
            let ends = entry.job.state.ends;
            answers.push(match live {
                None => {
                    state.cancel_waiting(cancel.id, None, now)?;
                    CancelAnswer::Cancelled { stop: None }
                }
                Some(live) if !cancel.force => CancelAnswer::Cancelling {
                    worker: live.worker,
                    execution: live.execution,
                    status,
                },
                Some(live) => {
                    let outcome = Outcome {
                        job: cancel.id,
                        execution: live.execution,
                        kind: OutcomeKind::Cancelled,
                        started_at: live.started_at,
                        ended_at: now,
                        error: Some("cancelled by force".to_owned()),
                        exit: None,
                    };
                    let event = (JobEvent::Stopped, None);
                    state.end_attempt(
                        &outcome,
                        event,
                        AttemptStatus::Cancelled,
                        ends,
                        None,
                        now,
                    )?;
                    CancelAnswer::Cancelled { stop: Some((live.worker, live.execution)) }
                }
            });
        }
        Ok(answers)
    }

    async fn retry(&self, ids: Vec<JobId>, now: Timestamp) -> Result<Vec<RetryAnswer>> {
        let mut state = self.state()?;
        let mut answers = Vec::new();
        for id in ids {
            let Some(entry) = state.jobs.get(&id) else {
                answers.push(RetryAnswer::Missing);
                continue;
            };
            let status = entry.job.state.status;
            if next(status, JobEvent::Revive).is_err() {
                answers.push(RetryAnswer::NotInState { status });
                continue;
            }
            state.change(id, JobEvent::Revive, None)?;
            state.dead.remove(&id);
            if let Some(entry) = state.jobs.get_mut(&id) {
                entry.expire_at = entry.job.spec.deadline;
                let job = &mut entry.job;
                job.state.run_at = now;
                job.state.finished_at = None;
                job.state.ends = AttemptCounts::default();
                job.state.cancel = None;
                job.state.error = None;
                job.state.exit = None;
                job.state.result = None;
            }
            answers.push(RetryAnswer::Retried);
        }
        Ok(answers)
    }
}

#[async_trait]
impl Dispatching for Memory {
    async fn claim_ready(
        &self,
        requests: Vec<ClaimRequest>,
        term: Term,
        now: Timestamp,
    ) -> Result<Claims> {
        let mut state = self.state()?;
        state.leads(term)?;
        let mut ready: Vec<(std::cmp::Reverse<u8>, Timestamp, JobId)> = state
            .jobs
            .values()
            .filter(|entry| entry.job.state.status == JobStatus::Pending)
            .map(|e| (std::cmp::Reverse(e.job.spec.priority.rank()), e.job.state.run_at, e.job.id))
            .collect();
        ready.sort_unstable();
        let mut takers = Takers::new(&requests);
        let (mut claimed, mut expired) = (Vec::new(), Vec::new());
        for (_, _, id) in ready {
            let Some(entry) = state.jobs.get(&id) else { continue };
            let (job, expire_at) = (&entry.job, entry.expire_at);
            let lane = Lane {
                queue: job.spec.queue.clone(),
                handler: job.spec.handler().cloned(),
                require: job.spec.require.clone(),
            };
            if takers.left() == 0 {
                break;
            }
            let takes = |request: &usize| requests[*request].offer.takes(&lane);
            let fits = (0..requests.len()).filter(takes);
            if !fits.clone().any(|request| takers.takes_more(request)) {
                continue;
            }
            if expire_at.is_some_and(|at| at <= now) {
                state.expire(id, term, now)?;
                expired.push(id);
                continue;
            }
            let alone = job.state.ends.runs_alone();
            let Some(Given { request, execution }) = takers.give(fits, alone) else { continue };
            let request = &requests[request];
            let execution = request.executions[execution];
            if let Some(entry) = state.jobs.get_mut(&id) {
                entry.job.state.attempt += 1;
                entry.expire_at = None;
                entry.job.state.live = Some(LiveAttempt {
                    execution,
                    worker: request.worker,
                    worker_name: request.worker_name.clone(),
                    epoch: term.epoch,
                    claimed_at: now,
                    started_at: None,
                    progress: None,
                });
            }
            state.change(id, JobEvent::Claim, Some(term))?;
            if let Some(job) = state.jobs.get(&id).map(|entry| &entry.job) {
                let (failed, spec) = (job.state.ends.failed, job.spec.clone());
                let dispatch = codec::dispatch(
                    id,
                    job.state.attempt,
                    execution,
                    job.state.run_at,
                    failed,
                    spec,
                );
                claimed.push(Claimed { worker: request.worker, dispatch, alone });
            }
        }
        Ok(Claims { claimed, expired })
    }

    async fn promote_due(&self, term: Term, now: Timestamp, limit: u32) -> Result<Promoted> {
        let mut state = self.state()?;
        state.leads(term)?;
        let limit = limit as usize;
        let mut over: Vec<(Timestamp, JobId)> = state
            .jobs
            .values()
            .filter_map(|entry| Some((entry.expire_at?, entry.job.id)))
            .filter(|(at, _)| *at <= now)
            .collect();
        over.sort_unstable();
        over.truncate(limit);
        for (_, id) in &over {
            state.expire(*id, term, now)?;
        }
        let mut due: Vec<(Timestamp, JobId)> = state
            .jobs
            .values()
            .filter(|entry| {
                entry.job.state.status == JobStatus::Scheduled && entry.job.state.run_at <= now
            })
            .map(|entry| (entry.job.state.run_at, entry.job.id))
            .collect();
        due.sort_unstable();
        due.truncate(limit);
        for (_, id) in &due {
            state.change(*id, JobEvent::Due, Some(term))?;
        }
        let more = due.len() >= limit || over.len() >= limit;
        let ids = |found: Vec<(Timestamp, JobId)>| {
            let mut ids: Vec<JobId> = found.into_iter().map(|(_, id)| id).collect();
            ids.sort_unstable();
            ids
        };
        Ok(Promoted { due: ids(due), expired: ids(over), more })
    }

    async fn clock_was_set(&self, jump: ClockJump, term: Term, now: Timestamp) -> Result<u64> {
        let mut state = self.state()?;
        state.leads(term)?;
        let set = |at: Timestamp| Timestamp::from_millis(at.as_millis().saturating_add(jump.by_ms));
        let mut waits = 0;
        for entry in state.jobs.values_mut() {
            let job = &mut entry.job;
            match job.state.status {
                JobStatus::Scheduled if job.state.attempt > 0 && job.state.run_at > jump.before => {
                    job.state.run_at = set(job.state.run_at).max(now);
                    waits += 1;
                }
                JobStatus::Pending if jump.by_ms < 0 => {
                    job.state.run_at = job.state.run_at.min(now)
                }
                _ => {}
            }
            if let Some(live) = &mut job.state.live {
                live.claimed_at = set(live.claimed_at);
                live.started_at = live.started_at.map(set);
            }
        }
        Ok(waits)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        let state = self.state()?;
        let times = state.jobs.values().flat_map(|entry| {
            let scheduled = entry.job.state.status == JobStatus::Scheduled;
            [scheduled.then_some(entry.job.state.run_at), entry.expire_at]
        });
        Ok(times.flatten().min())
    }

    async fn mark_started(&self, started: Vec<Started>, now: Timestamp) -> Result<()> {
        let mut state = self.state()?;
        for report in started {
            let Some(entry) = state.jobs.get_mut(&report.job) else { continue };
            let dispatched = entry.job.state.status == JobStatus::Dispatched;
            match &mut entry.job.state.live {
                Some(live) if live.execution == report.execution && dispatched => {
                    live.started_at = Some(report.at.min(now).max(live.claimed_at));
                    state.change(report.job, JobEvent::Start, None)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn record_progress(&self, progress: Vec<ExecutionProgress>) -> Result<()> {
        let mut state = self.state()?;
        for report in progress {
            let live =
                state.jobs.get_mut(&report.job).and_then(|entry| entry.job.state.live.as_mut());
            if let Some(live) = live.filter(|live| live.execution == report.execution) {
                live.progress = Some(report.progress);
            }
        }
        Ok(())
    }

    async fn record_outcomes(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        self.state()?.record(&outcomes, draws, None, now)
    }

    async fn give_up(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        term: Term,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        let mut state = self.state()?;
        state.leads(term)?;
        state.record(&outcomes, draws, Some(term), now)
    }

    async fn live_attempts(&self) -> Result<Vec<Live>> {
        Ok(self.state()?.jobs.values().filter_map(live).collect())
    }

    async fn live_attempts_of(&self, workers: Vec<Incarnation>) -> Result<Vec<Live>> {
        let all = self.live_attempts().await?;
        Ok(all.into_iter().filter(|attempt| workers.contains(&attempt.worker)).collect())
    }

    async fn holders(&self, executions: Vec<ExecutionRef>) -> Result<Vec<Option<Holder>>> {
        let state = self.state()?;
        let holder = |of: &ExecutionRef| {
            let entry = state.jobs.get(&of.job)?;
            let live = entry.job.state.live.as_ref().filter(|live| live.execution == of.execution);
            if let Some(live) = live {
                return Some(Holder { worker: live.worker, attempt: entry.job.state.attempt });
            }
            let ended = entry.ended.iter().find(|ended| ended.execution == of.execution)?;
            Some(Holder { worker: ended.worker, attempt: ended.number })
        };
        Ok(executions.iter().map(holder).collect())
    }
}

fn live(entry: &Entry) -> Option<Live> {
    let live = entry.job.state.live.as_ref()?;
    Some(Live {
        job: entry.job.id,
        attempt: entry.job.state.attempt,
        execution: live.execution,
        worker: live.worker,
        status: entry.job.state.status,
        claimed_at: live.claimed_at,
        started_at: live.started_at,
        timeout_ms: entry.job.spec.timeout_ms,
        deadline: entry.job.spec.deadline,
        cancel_requested: entry.job.state.cancel.is_some(),
        alone: entry.job.state.ends.runs_alone(),
    })
}

#[async_trait]
impl Logs for Memory {
    async fn append_logs(&self, chunks: Vec<LogChunk>) -> Result<()> {
        let mut state = self.state()?;
        for chunk in chunks {
            if state.jobs.contains_key(&chunk.job) {
                let place = (chunk.job, chunk.attempt, chunk.seq);
                state.logs.entry(place).or_insert(chunk);
            }
        }
        Ok(())
    }

    async fn read_logs(&self, request: LogRequest) -> Result<Vec<LogChunk>> {
        let state = self.state()?;
        let mut bytes = 0;
        let mut read = Vec::new();
        for chunk in wanted(&state, &request) {
            let after = LogCursor { attempt: chunk.attempt, seq: chunk.seq } > request.after;
            if after && bytes < request.limit_bytes.max(1) {
                bytes += chunk.bytes.len().max(1);
                read.push(chunk.clone());
            }
        }
        Ok(read)
    }

    async fn log_tail(&self, request: LogRequest, lines: u32) -> Result<LogCursor> {
        let state = self.state()?;
        let mut left = u64::from(lines) + 1;
        for chunk in wanted(&state, &request).collect::<Vec<_>>().into_iter().rev() {
            let newlines = chunk.bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            if newlines >= left {
                let before = LogCursor { attempt: chunk.attempt, seq: chunk.seq - 1 };
                return Ok(before.max(request.after));
            }
            left -= newlines;
        }
        Ok(request.after)
    }
}

fn wanted<'s>(
    state: &'s State,
    request: &'s LogRequest,
) -> impl Iterator<Item = &'s LogChunk> + use<'s> {
    let whole = (request.job, 0, 0)..=(request.job, u32::MAX, u64::MAX);
    state.logs.range(whole).map(|(_, chunk)| chunk).filter(|chunk| {
        request.attempt.is_none_or(|only| only == chunk.attempt)
            && (request.streams.is_empty() || request.streams.contains(&chunk.stream))
    })
}

#[async_trait]
impl Workers for Memory {
    async fn put_workers(
        &self,
        workers: Vec<(SecretHash, WorkerReport)>,
        now: Timestamp,
    ) -> Result<Vec<WorkerPut>> {
        let mut state = self.state()?;
        let mut answers = Vec::new();
        for (secret, report) in workers {
            let incarnation = report.registration.incarnation;
            if report.heartbeat > 0 && !state.workers.contains_key(&incarnation) {
                answers.push(WorkerPut::Unregistered);
                continue;
            }
            let row = state.workers.entry(incarnation).or_insert_with(|| WorkerRow {
                report: report.clone(),
                secret,
                seen_at: now,
                order: None,
            });
            if row.secret != secret {
                answers.push(WorkerPut::OtherSecret);
                continue;
            }
            if row.order != Some(WorkerDirective::Fence) {
                if report.heartbeat == 0 || report.heartbeat >= row.report.heartbeat {
                    row.report = report;
                }
                row.seen_at = now;
            }
            answers.push(WorkerPut::Kept(row.order));
        }
        Ok(answers)
    }

    async fn worker_secret(&self, worker: Incarnation) -> Result<Option<SecretHash>> {
        Ok(self.state()?.workers.get(&worker).map(|row| row.secret))
    }

    async fn workers(&self, now: Timestamp) -> Result<Vec<WorkerRecord>> {
        let state = self.state()?;
        let mut workers: Vec<WorkerRecord> = state
            .workers
            .values()
            .map(|row| WorkerRecord {
                report: row.report.clone(),
                seen_at: row.seen_at,
                silent: now.saturating_since(row.seen_at),
                order: row.order,
            })
            .collect();
        workers.sort_by_key(|worker| {
            let registration = &worker.report.registration;
            (registration.name.clone(), registration.incarnation)
        });
        Ok(workers)
    }

    async fn order_workers(
        &self,
        workers: Vec<Incarnation>,
        order: Option<WorkerDirective>,
    ) -> Result<Vec<bool>> {
        let mut state = self.state()?;
        let mut give = |worker: &Incarnation| {
            let Some(row) = state.workers.get_mut(worker) else { return false };
            if row.order != Some(WorkerDirective::Fence) {
                row.order = order;
            }
            row.order == order
        };
        Ok(workers.iter().map(&mut give).collect())
    }

    async fn remove_workers(
        &self,
        workers: Vec<Incarnation>,
        removal: WorkerRemoval,
    ) -> Result<()> {
        let mut state = self.state()?;
        state.workers.retain(|incarnation, worker| {
            removal.spares(worker.order) || !workers.contains(incarnation)
        });
        Ok(())
    }
}

#[async_trait]
impl Leases for Memory {
    async fn lead(&self, request: LeadRequest, now: Timestamp) -> Result<Lead> {
        let mut state = self.state()?;
        let LeadRequest { node, ttl, above } = request;
        let current = state.lease.filter(|(_, until)| *until > now);
        if let Some((holder, until)) = current.filter(|(holder, _)| *holder != node) {
            let leader = Term { node: holder, epoch: state.epoch };
            return Ok(Lead::Following { leader, left: until.saturating_since(now) });
        }
        if current.is_none() {
            let seconds = now.as_millis().div_euclid(1_000).max(0).unsigned_abs();
            state.epoch = state.epoch.max(above).max(seconds) + 1;
        }
        state.lease = Some((node, now.saturating_add(ttl)));
        Ok(Lead::Leading(Term { node, epoch: state.epoch }))
    }

    async fn step_down(&self, term: Term) -> Result<bool> {
        let mut state = self.state()?;
        let led = state.leads(term).is_ok();
        if led {
            state.lease = None;
        }
        Ok(led)
    }

    async fn leader(&self, now: Timestamp) -> Result<Option<(Term, Duration)>> {
        let state = self.state()?;
        let current = state.lease.filter(|(_, until)| *until > now);
        Ok(current
            .map(|(node, until)| (Term { node, epoch: state.epoch }, until.saturating_since(now))))
    }

    async fn put_node(&self, node: NodeReport, now: Timestamp) -> Result<()> {
        self.state()?.nodes.insert(node.node, (node, now));
        Ok(())
    }

    async fn nodes(&self, now: Timestamp) -> Result<Vec<NodeRecord>> {
        let state = self.state()?;
        let mut nodes: Vec<NodeRecord> = state
            .nodes
            .values()
            .map(|(report, seen_at)| NodeRecord {
                report: report.clone(),
                seen_at: *seen_at,
                silent: now.saturating_since(*seen_at),
            })
            .collect();
        nodes.sort_by_key(|node| (node.report.name.clone(), node.report.node));
        Ok(nodes)
    }

    async fn remove_nodes(&self, nodes: Vec<Incarnation>) -> Result<()> {
        self.state()?.nodes.retain(|incarnation, _| !nodes.contains(incarnation));
        Ok(())
    }
}

#[async_trait]
impl DeadLetters for Memory {
    async fn dead_letters(
        &self,
        request: ListRequest,
        now: Timestamp,
    ) -> Result<Page<DeadLetterRow>> {
        let state = self.state()?;
        let page = state.page(&request, now, |id| state.dead.contains_key(&id));
        let letter = |job: JobSummary| {
            let (reason, at) = state.dead.get(&job.id).copied()?;
            Some(DeadLetterRow { job, reason, at })
        };
        Ok(Page { rows: page.rows.into_iter().filter_map(letter).collect(), next: page.next })
    }

    async fn dead_letter_count(&self, most: u64) -> Result<u64> {
        Ok((self.state()?.dead.len() as u64).min(most))
    }

    async fn delete_dead_letters(&self, ids: Vec<JobId>) -> Result<Vec<bool>> {
        let mut state = self.state()?;
        Ok(ids.iter().map(|id| state.dead.remove(id).is_some()).collect())
    }
}

#[async_trait]
impl Tokens for Memory {
    async fn put_token(&self, token: TokenRecord) -> Result<()> {
        self.state()?.tokens.insert(token.id.clone(), token);
        Ok(())
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>> {
        Ok(self.state()?.tokens.get(id).cloned())
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        Ok(self.state()?.tokens.values().cloned().collect())
    }

    async fn forget_tokens(&self, ended_before: Timestamp) -> Result<u64> {
        let mut state = self.state()?;
        let before = state.tokens.len();
        state.tokens.retain(|_, token| {
            let ended = [token.revoked_at, token.expires_at].into_iter().flatten().min();
            ended.is_none_or(|at| at >= ended_before)
        });
        Ok((before - state.tokens.len()) as u64)
    }
}

#[async_trait]
impl Upkeep for Memory {
    fn info(&self) -> StoreInfo {
        StoreInfo { kind: "memory", durability: "nothing outlives the process", schema: 1 }
    }

    async fn look(&self) -> Result<()> {
        self.state().map(drop)
    }

    async fn check_writable(&self) -> Result<()> {
        self.state().map(drop)
    }

    async fn prune(&self, request: PruneRequest, term: Term) -> Result<Pruned> {
        let mut state = self.state()?;
        state.leads(term)?;
        let mut old: Vec<(Timestamp, JobId)> = state
            .jobs
            .values()
            .filter(|entry| !state.dead.contains_key(&entry.job.id))
            .filter_map(|entry| {
                let completed = entry.job.state.status == JobStatus::Completed;
                let before =
                    if completed { request.completed_before } else { request.others_before };
                let finished = entry.job.state.finished_at.filter(|at| *at < before)?;
                Some((finished, entry.job.id))
            })
            .collect();
        old.sort_unstable();
        old.truncate(request.limit as usize);
        let (mut jobs, mut chunks) = (0, request.chunks as usize);
        for (_, id) in &old {
            let whole = (*id, 0, 0)..=(*id, u32::MAX, u64::MAX);
            let first: Vec<_> =
                state.logs.range(whole).map(|(place, _)| *place).take(chunks).collect();
            for place in &first {
                state.logs.remove(place);
            }
            chunks -= first.len();
            if chunks == 0 {
                break;
            }
            if let Some(Entry { job, key_hash, .. }) = state.jobs.remove(id)
                && let Some(key) = job.spec.key
            {
                state.keys.remove(&key);
                let ended = job.state.finished_at.unwrap_or(job.state.created_at);
                let kept_until = ended.saturating_add(orx_model::limits::KEY_KEPT);
                let (hash, status) = (key_hash, job.state.status);
                let kept = RetainedKey { key: key.clone(), job: *id, hash, status, kept_until };
                state.kept_keys.insert(key, kept);
            }
            jobs += 1;
        }
        Ok(Pruned { jobs, more: chunks == 0 || jobs == u64::from(request.limit) })
    }

    async fn forget_keys(&self, now: Timestamp, limit: u32, term: Term) -> Result<u64> {
        let mut state = self.state()?;
        state.leads(term)?;
        let over = state.kept_keys.values().filter(|kept| kept.kept_until <= now);
        let over: Vec<String> = over.map(|kept| kept.key.clone()).take(limit as usize).collect();
        for key in &over {
            state.kept_keys.remove(key);
        }
        Ok(over.len() as u64)
    }

    async fn clock(&self) -> Result<Option<ClockNote>> {
        Ok(self.state()?.clock)
    }

    async fn note_clock(&self, note: ClockNote, term: Term) -> Result<()> {
        let mut state = self.state()?;
        state.leads(term)?;
        state.clock = Some(note);
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.state()?.closed = true;
        Ok(())
    }
}

#[async_trait]
impl Transfer for Memory {
    async fn row_counts(&self) -> Result<RowCounts> {
        let state = self.state()?;
        Ok(RowCounts {
            attempts: state.jobs.values().map(|entry| entry.ended.len() as u64).sum(),
            log_chunks: state.logs.len() as u64,
            keys: state.kept_keys.len() as u64,
            slots: state.schedules.slots.len() as u64,
            watched: state.schedules.watched.len() as u64,
            tokens: state.tokens.len() as u64,
        })
    }

    async fn export(&self, after: Option<JobId>, limit: u32) -> Result<Vec<JobExport>> {
        let state = self.state()?;
        let above = state.jobs.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
        let export = |(id, entry): (&JobId, &Entry)| {
            Some(JobExport {
                job: state.view(*id)?,
                key_hash: entry.key_hash.clone(),
                expire_at: entry.expire_at,
                dead_at: state.dead.get(id).map(|(_, at)| *at),
                attempts: entry.ended.clone(),
            })
        };
        Ok(above.filter_map(export).take(limit as usize).collect())
    }

    async fn import(&self, exports: Vec<JobExport>) -> Result<u64> {
        let mut state = self.state()?;
        let mut new = 0;
        for JobExport { mut job, key_hash, expire_at, dead_at, attempts } in exports {
            let id = job.id;
            if state.jobs.contains_key(&id) {
                continue;
            }
            new += 1;
            state.next_job = state.next_job.max(id.0);
            state.queues.insert(job.spec.queue.clone());
            if let Some(key) = &job.spec.key {
                state.keys.insert(key.clone(), id);
            }
            if let Some((reason, at)) = job.state.dead.take().zip(dead_at) {
                state.dead.insert(id, (reason, at));
            }
            state.jobs.insert(id, Entry { job, expire_at, key_hash, ended: attempts });
        }
        Ok(new)
    }

    async fn export_keys(&self, after: Option<String>, limit: u32) -> Result<Vec<RetainedKey>> {
        let state = self.state()?;
        let above = |kept: &&RetainedKey| after.as_ref().is_none_or(|after| kept.key > *after);
        Ok(state.kept_keys.values().filter(above).take(limit as usize).cloned().collect())
    }

    async fn import_keys(&self, keys: Vec<RetainedKey>) -> Result<()> {
        let mut state = self.state()?;
        for kept in keys {
            if !state.keys.contains_key(&kept.key) {
                state.kept_keys.entry(kept.key.clone()).or_insert(kept);
            }
        }
        Ok(())
    }

    async fn next_job(&self) -> Result<JobId> {
        Ok(JobId(self.state()?.next_job + 1))
    }

    async fn skip_jobs(&self, next: JobId) -> Result<()> {
        let mut state = self.state()?;
        state.next_job = state.next_job.max(next.0 - 1);
        Ok(())
    }

    async fn home(&self) -> Result<Home> {
        Ok(self.state()?.home.clone())
    }

    async fn put_home(&self, home: Home) -> Result<()> {
        let mut state = self.state()?;
        state.home = Home { id: std::mem::take(&mut state.home.id), ..home };
        Ok(())
    }
}
