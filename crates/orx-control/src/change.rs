//! Cancels, retries and deletes jobs and dead letters, by ids or by filter.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use orx_model::event::{Event, KnownEvent};
use orx_model::filter::Filter;
use orx_model::message::{Body, Envelope, ExecutionRef, Message, VERSION};
use orx_model::wire::{AuditAction, Change, ChangeAnswer, ChangeRequest, Changed, Rest, V};
use orx_model::{
    Code, ExecutionId, Incarnation, Job, JobId, JobStatus, JobSummary, MessageId, Problem,
    Timestamp, limits,
};
use orx_schedule::{ParseZoneError, Zone};
use orx_store::{CancelAnswer, CancelCommand, DeleteAnswer, ListRequest, RetryAnswer, StoreError};
use orx_transport::Channel;

use crate::audit::{MadeChange, named};
use crate::{Caller, ControlPanel, Result, Scope, store_problem};

/// Most jobs of one change.
const CHANGE_MAX: usize = 100_000;
/// How long a message to a worker may take. The answer to the worker's next heartbeat repeats it.
const SEND_WAIT: Duration = Duration::from_millis(500);
/// Most jobs that the answer to a change by filter names.
const NAMED_MAX: usize = 1_000;

impl ControlPanel {
    /// Cancels jobs. The answer states for each what changed; a job that does not exist or is final is
    /// no error.
    ///
    /// # Errors
    /// [`Code::TooMany`] over `max_affected`; [`Code::BadRequest`], [`Code::NotAllowed`], and an error of
    /// the store if it changed nothing before.
    pub async fn cancel(&self, caller: &Caller, request: ChangeRequest) -> Result<ChangeAnswer> {
        caller.need(if request.force { Scope::Admin } else { Scope::Service })?;
        let targets = self.targets(&request).await?;
        if request.dry_run {
            return self.dry_run(targets, |job| !job.status.is_final()).await;
        }
        let by = request.by.clone().or_else(|| Some(caller.name.clone()));
        let command = |id: JobId| CancelCommand {
            id,
            reason: request.reason.clone(),
            by: by.clone(),
            force: request.force,
            expected: request.expected,
        };
        let cancel =
            |ids: Vec<JobId>, now| self.store().cancel(ids.into_iter().map(command).collect(), now);
        let mut stops: BTreeMap<Incarnation, Vec<ExecutionRef>> = BTreeMap::new();
        let mut freed = false;
        let done = self.in_chunks(&targets.ids, limits::BATCH_JOBS, cancel, |job, answer| {
            let (changed, stop) = cancelled(job, answer);
            freed |= stop.is_some() && changed.change == Change::Cancelled;
            if let Some((worker, execution)) = stop {
                stops.entry(worker).or_default().push(ExecutionRef { job, execution });
            }
            changed
        });
        let (changed, rest) = done.await?;
        if freed {
            // Slots at workers became free.
            self.inner.wakeups.work();
        }
        // Last, and concurrently: the cancels are recorded, whether or not slow workers get the message.
        let sent = stops.into_iter().map(|(worker, executions)| {
            self.send_to_worker(worker, Message::JobCancel { executions })
        });
        futures_util::future::join_all(sent).await;
        let action = match request.force {
            true => AuditAction::ForceCancelJobs,
            false => AuditAction::CancelJobs,
        };
        let answer = answer(changed, rest, &request);
        Ok(self.recorded(caller, action, &request, answer).await)
    }

    /// Changes jobs by `call`, at most `size` at once, and publishes what `changed_to` makes of each answer. An
    /// error of the store ends it; then the jobs that were not answered for are returned too.
    async fn in_chunks<A, F>(
        &self,
        targets: &[JobId],
        size: usize,
        call: impl Fn(Vec<JobId>, Timestamp) -> F,
        mut changed_to: impl FnMut(JobId, A) -> Changed,
    ) -> Result<(Vec<Changed>, Option<Rest>)>
    where
        F: Future<Output = orx_store::Result<Vec<A>>>,
    {
        let mut changed = Vec::new();
        for ids in targets.chunks(size) {
            let now = self.now();
            let answers = match call(ids.to_vec(), now).await {
                Ok(answers) => answers,
                Err(error) => {
                    self.feed().publish(changes(ids, now));
                    let rest = cut_short(error, changed.len(), targets)?;
                    return Ok((changed, Some(rest)));
                }
            };
            let first = changed.len();
            changed.extend(ids.iter().zip(answers).map(|(id, answer)| changed_to(*id, answer)));
            self.publish_changed(&changed[first..], now);
        }
        Ok((changed, None))
    }

    /// Publishes the events of changed jobs.
    fn publish_changed(&self, changed: &[Changed], now: Timestamp) {
        let event = |changed: &Changed| {
            let job = changed.id.into();
            let moved = |job, to| KnownEvent::JobMoved { job, from: None, to, attempt: None };
            let what = match changed.change {
                Change::Cancelled => moved(job, JobStatus::Cancelled),
                Change::Retried => moved(job, JobStatus::Pending),
                Change::Cancelling => KnownEvent::JobCancelling { job },
                Change::Deleted => KnownEvent::JobChanged { job },
                Change::AlreadyFinal
                | Change::NotInState
                | Change::InUse
                | Change::NotFound
                | Change::Would => return None,
            };
            Some(Event::new(now, what))
        };
        self.feed().publish(changed.iter().filter_map(event).collect());
    }

    /// Best effort: the answer to the next heartbeat repeats the message.
    pub(crate) async fn send_to_worker(&self, worker: Incarnation, message: Message) {
        let kind = message.kind();
        let envelope = Envelope {
            id: MessageId::random(&mut rand::rng()),
            version: VERSION,
            at: self.now(),
            from: self.inner.settings.node,
            to: Some(worker),
            trace: None,
            body: Body::Known(message),
        };
        let sent = self.inner.transport.publish(Channel::Inbox(worker), vec![envelope]);
        match tokio::time::timeout(SEND_WAIT, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(kind, %error, "not sent; the answer to a heartbeat will repeat it");
            }
            Err(_) => {
                tracing::debug!(kind, "not sent in time; the answer to a heartbeat will repeat it");
            }
        }
    }

    /// Retries final jobs, with a new budget of retries.
    ///
    /// # Errors
    /// As [`Self::cancel`].
    pub async fn retry(&self, caller: &Caller, request: ChangeRequest) -> Result<ChangeAnswer> {
        caller.need(Scope::Admin)?;
        let targets = self.targets(&request).await?;
        if request.dry_run {
            return self.dry_run(targets, |job| job.status.is_final()).await;
        }
        let answer = self.retry_ids(targets.ids, &request).await?;
        Ok(self.recorded(caller, AuditAction::RetryJobs, &request, answer).await)
    }

    /// Records a change of jobs.
    async fn recorded(
        &self,
        caller: &Caller,
        action: AuditAction,
        request: &ChangeRequest,
        answer: ChangeAnswer,
    ) -> ChangeAnswer {
        let object = match &request.filter {
            Some(filter) => filter.clone(),
            None if request.ids.is_empty() => "all".to_owned(),
            None => named(request.ids.iter()),
        };
        let (by, reason) = (request.by.as_deref(), request.reason.as_deref());
        let change = MadeChange { action, object, changed: answer.affected, by, reason };
        self.record_change(caller, change).await;
        answer
    }

    async fn retry_ids(
        &self,
        targets: Vec<JobId>,
        request: &ChangeRequest,
    ) -> Result<ChangeAnswer> {
        let retry = |ids, now| self.store().retry(ids, now);
        let done = self.in_chunks(&targets, limits::BATCH_JOBS, retry, |id, answer| {
            let (change, status) = match answer {
                RetryAnswer::Retried => (Change::Retried, Some(JobStatus::Pending)),
                RetryAnswer::NotInState { status } => (Change::NotInState, Some(status)),
                RetryAnswer::Missing => (Change::NotFound, None),
            };
            Changed { id, change, status }
        });
        let (changed, rest) = done.await?;
        self.inner.wakeups.work();
        Ok(answer(changed, rest, request))
    }

    /// Deletes final jobs with their logs, attempts, keys and dead letters.
    ///
    /// # Errors
    /// As [`Self::cancel`].
    pub async fn delete_jobs(
        &self,
        caller: &Caller,
        request: ChangeRequest,
    ) -> Result<ChangeAnswer> {
        caller.need(Scope::Admin)?;
        let targets = self.targets(&request).await?;
        if request.dry_run {
            return self.dry_run(targets, |job| job.status.is_final()).await;
        }
        let delete = |ids, _| self.store().delete_jobs(ids, request.expected);
        let done = self.in_chunks(&targets.ids, limits::OPERATION_BATCH, delete, |id, answer| {
            let (change, status) = match answer {
                DeleteAnswer::Deleted => (Change::Deleted, None),
                DeleteAnswer::NotInState { status } => (Change::NotInState, Some(status)),
                DeleteAnswer::InUse { status } => (Change::InUse, Some(status)),
                DeleteAnswer::Missing => (Change::NotFound, None),
            };
            Changed { id, change, status }
        });
        let (changed, rest) = done.await?;
        let answer = answer(changed, rest, &request);
        Ok(self.recorded(caller, AuditAction::DeleteJobs, &request, answer).await)
    }

    /// Retries the jobs of dead letters; without ids or filter, of all dead letters. Leaves a named job that is
    /// none as it is.
    ///
    /// # Errors
    /// As [`Self::cancel`].
    pub async fn retry_dead(
        &self,
        caller: &Caller,
        request: ChangeRequest,
    ) -> Result<ChangeAnswer> {
        caller.need(Scope::Admin)?;
        let targets = self.dead_targets(&request).await?;
        if request.dry_run {
            return self.dry_run(targets, |job| job.dead).await;
        }
        // Someone else may have retried a named job since, and it may have completed: it must not run again.
        let snapshots = self.snapshots(&targets).await?;
        let is_dead = |id: &JobId| snapshots.get(id).is_some_and(|job| job.dead);
        let (dead, others): (Vec<JobId>, Vec<JobId>) = targets.ids.into_iter().partition(is_dead);
        let mut answer = match dead.is_empty() {
            true => answer(Vec::new(), None, &request),
            false => self.retry_ids(dead, &request).await?,
        };
        let alone = |id: JobId| match snapshots.get(&id) {
            Some(job) => Changed { id, change: Change::NotInState, status: Some(job.status) },
            None => Changed { id, change: Change::NotFound, status: None },
        };
        answer.jobs.extend(others.into_iter().map(alone));
        let place: HashMap<JobId, usize> = request.ids.iter().copied().zip(0..).collect();
        answer.jobs.sort_by_key(|job| place.get(&job.id).copied());
        Ok(self.recorded(caller, AuditAction::RetryDeadLetters, &request, answer).await)
    }

    /// Deletes dead letters. Their jobs stay in the history.
    ///
    /// # Errors
    /// As [`Self::cancel`].
    pub async fn delete_dead(
        &self,
        caller: &Caller,
        request: ChangeRequest,
    ) -> Result<ChangeAnswer> {
        caller.need(Scope::Admin)?;
        let targets = self.dead_targets(&request).await?;
        if request.dry_run {
            return self.dry_run(targets, |job| job.dead).await;
        }
        let delete = |ids, _| self.store().delete_dead_letters(ids);
        let done = self.in_chunks(&targets.ids, limits::BATCH_JOBS, delete, |id, deleted| {
            let change = if deleted { Change::Deleted } else { Change::NotFound };
            Changed { id, change, status: None }
        });
        let (changed, rest) = done.await?;
        let answer = answer(changed, rest, &request);
        Ok(self.recorded(caller, AuditAction::DeleteDeadLetters, &request, answer).await)
    }

    async fn dead_targets(&self, request: &ChangeRequest) -> Result<Targets> {
        if !request.ids.is_empty() {
            return self.targets(request).await;
        }
        let filter = self.filter(request)?;
        let (mut targets, mut after) = (Targets::default(), None);
        loop {
            let page = ListRequest { oldest_first: false, ..whole_page(&filter, after) };
            let page = self.store().dead_letters(page, self.now()).await.map_err(store_problem)?;
            targets.extend(page.rows.iter().map(|letter| &letter.job));
            after = page.next;
            if after.is_none() || targets.ids.len() > CHANGE_MAX {
                break;
            }
        }
        within(request, &targets.ids)?;
        Ok(targets)
    }

    fn filter(&self, request: &ChangeRequest) -> Result<Filter> {
        parse_filter(request.filter.as_deref(), request.tz.as_deref(), self.now())
    }

    /// The jobs that a request names, each once.
    async fn targets(&self, request: &ChangeRequest) -> Result<Targets> {
        by_ids_or_filter(&request.ids, request.filter.as_deref())?;
        let targets = match request.filter {
            None => {
                let mut known = std::collections::HashSet::new();
                let ids = request.ids.iter().copied().filter(|id| known.insert(*id)).collect();
                Targets { ids, snapshots: Vec::new() }
            }
            Some(_) => self.matching(self.filter(request)?).await?,
        };
        within(request, &targets.ids)?;
        Ok(targets)
    }

    async fn matching(&self, filter: Filter) -> Result<Targets> {
        if filter.is_empty() {
            return Err(every_job());
        }
        let (mut targets, mut after) = (Targets::default(), None);
        loop {
            let request = whole_page(&filter, after);
            let page = self.store().list(request, self.now()).await.map_err(store_problem)?;
            targets.extend(page.rows.iter());
            after = page.next;
            if after.is_none() || targets.ids.len() > CHANGE_MAX {
                return Ok(targets);
            }
        }
    }

    async fn snapshots(&self, targets: &Targets) -> Result<HashMap<JobId, TargetState>> {
        if !targets.snapshots.is_empty() {
            let snapshots = targets.snapshots.iter().copied();
            return Ok(targets.ids.iter().copied().zip(snapshots).collect());
        }
        let mut snapshots = HashMap::new();
        for ids in targets.ids.chunks(limits::PAGE_ROWS) {
            let jobs = self.store().jobs(ids.to_vec()).await.map_err(store_problem)?;
            snapshots.extend(jobs.iter().map(|job| (job.id, job.into())));
        }
        Ok(snapshots)
    }

    async fn dry_run(
        &self,
        targets: Targets,
        would: impl Fn(TargetState) -> bool,
    ) -> Result<ChangeAnswer> {
        let mut jobs = Vec::new();
        let mut affected = 0;
        let snapshots = self.snapshots(&targets).await?;
        for id in targets.ids {
            let snapshot = snapshots.get(&id).copied();
            let change = match snapshot {
                None => Change::NotFound,
                Some(job) if would(job) => {
                    affected += 1;
                    Change::Would
                }
                Some(job) if job.status.is_final() => Change::AlreadyFinal,
                Some(_) => Change::NotInState,
            };
            if jobs.len() < NAMED_MAX {
                jobs.push(Changed { id, change, status: snapshot.map(|job| job.status) });
            }
        }
        Ok(ChangeAnswer { v: V, dry_run: true, affected, jobs, rest: None })
    }
}

/// Refuses a request that names jobs in both ways or in none.
pub(crate) fn by_ids_or_filter(ids: &[JobId], filter: Option<&str>) -> Result<()> {
    let detail = match (filter, ids.is_empty()) {
        (Some(_), false) => "`ids` and `filter` exclude each other",
        (None, true) => "name jobs by `ids` or a `filter`",
        _ => return Ok(()),
    };
    Err(Problem::new(Code::BadRequest, detail))
}

/// The refusal of an empty filter: an omitted filter must not change every job by accident.
pub(crate) fn every_job() -> Problem {
    let detail = "an empty filter would mean every job";
    Problem::new(Code::BadRequest, detail).hint("`id>0` selects every job")
}

fn whole_page(filter: &Filter, after: Option<JobId>) -> ListRequest {
    let (filter, limit) = (filter.clone(), limits::PAGE_ROWS as u32);
    ListRequest { filter, oldest_first: true, after, limit }
}

/// Events after an error: the store may have changed any of these jobs nevertheless.
fn changes(ids: &[JobId], at: Timestamp) -> Vec<Event> {
    let changed = |id: &JobId| Event::new(at, KnownEvent::JobChanged { job: (*id).into() });
    ids.iter().map(changed).collect()
}

/// The jobs that a change applies to.
#[derive(Default)]
struct Targets {
    ids: Vec<JobId>,
    /// Each job as the filter found it. Empty if the request names ids, which are not read.
    snapshots: Vec<TargetState>,
}

/// What a dry run needs of a job: whole jobs may be large.
#[derive(Clone, Copy)]
struct TargetState {
    status: JobStatus,
    dead: bool,
}

impl From<&Job> for TargetState {
    fn from(job: &Job) -> Self {
        Self { status: job.state.status, dead: job.state.dead.is_some() }
    }
}

impl From<&JobSummary> for TargetState {
    fn from(job: &JobSummary) -> Self {
        Self { status: job.state.status, dead: job.state.dead.is_some() }
    }
}

impl Targets {
    fn extend<'a>(&mut self, jobs: impl Iterator<Item = &'a JobSummary>) {
        for job in jobs {
            self.ids.push(job.id);
            self.snapshots.push(job.into());
        }
    }
}

/// What changed, and the execution to stop.
fn cancelled(id: JobId, answer: CancelAnswer) -> (Changed, Option<(Incarnation, ExecutionId)>) {
    let (change, status, stop) = match answer {
        CancelAnswer::Cancelled { stop } => (Change::Cancelled, Some(JobStatus::Cancelled), stop),
        CancelAnswer::Cancelling { worker, execution, status } => {
            (Change::Cancelling, Some(status), Some((worker, execution)))
        }
        CancelAnswer::AlreadyFinal { status } => (Change::AlreadyFinal, Some(status), None),
        CancelAnswer::NotInState { status } => (Change::NotInState, Some(status), None),
        CancelAnswer::Missing => (Change::NotFound, None, None),
    };
    (Changed { id, change, status }, stop)
}

fn within(request: &ChangeRequest, ids: &[JobId]) -> Result<()> {
    let most = request.max_affected.unwrap_or(CHANGE_MAX as u64).min(CHANGE_MAX as u64);
    if ids.len() as u64 > most {
        let found = if ids.len() > CHANGE_MAX {
            format!("more than {CHANGE_MAX}")
        } else {
            ids.len().to_string()
        };
        return Err(Problem::new(
            Code::TooMany,
            format!("this would change {found} jobs, at most {most} are allowed"),
        )
        .hint("nothing was changed; narrow the filter, or raise `--max-affected`"));
    }
    Ok(())
}

/// The rest of a change that failed after some jobs were changed, which the answer names.
///
/// # Errors
/// The problem itself, if nothing was changed before.
fn cut_short(error: StoreError, changed: usize, targets: &[JobId]) -> Result<Rest> {
    let problem = store_problem(error);
    if changed == 0 {
        return Err(problem);
    }
    let jobs = targets[changed..].to_vec();
    Ok(Rest { problem, count: jobs.len() as u64, jobs })
}

fn answer(mut jobs: Vec<Changed>, mut rest: Option<Rest>, request: &ChangeRequest) -> ChangeAnswer {
    let done = |changed: &&Changed| {
        matches!(
            changed.change,
            Change::Cancelled | Change::Cancelling | Change::Retried | Change::Deleted
        )
    };
    let affected = jobs.iter().filter(done).count() as u64;
    if request.filter.is_some() {
        jobs.truncate(NAMED_MAX);
        if let Some(rest) = &mut rest {
            rest.jobs.truncate(NAMED_MAX);
        }
    }
    ChangeAnswer { v: V, dry_run: false, affected, jobs, rest }
}

pub(crate) fn parse_filter(
    filter: Option<&str>,
    zone: Option<&str>,
    now: orx_model::Timestamp,
) -> Result<Filter> {
    let Some(text) = filter else { return Ok(Filter::default()) };
    let zone: Zone = zone
        .map_or(Ok(Zone::Utc), str::parse)
        .map_err(|error: ParseZoneError| Problem::new(Code::BadRequest, error.to_string()))?;
    Filter::parse(text, now, &zone).map_err(|error| {
        let problem =
            Problem::new(Code::BadRequest, error.message.clone()).cause(error.caret(text));
        match error.hint {
            Some(hint) => problem.hint(hint),
            None => problem.hint("`orx help filters` explains the language"),
        }
    })
}
