//! Cancel, retry, delete: one job or many, by ids or by filter.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use orx_model::event::{Event, KnownEvent};
use orx_model::filter::Filter;
use orx_model::message::{Body, Envelope, ExecutionRef, Message, VERSION};
use orx_model::wire::{Change, ChangeAnswer, ChangeRequest, Changed, Rest, V};
use orx_model::{
    Code, ExecutionId, Incarnation, Job, JobId, JobStatus, JobSummary, MessageId, Problem,
    Timestamp, limits,
};
use orx_schedule::{ParseZoneError, Zone};
use orx_store::{CancelAnswer, CancelCommand, ListRequest, RetryAnswer, StoreError};
use orx_transport::Channel;

use crate::{Caller, ControlPanel, Result, Scope, store_problem};

/// Jobs of one change, at most.
const CHANGE_MOST: usize = 100_000;
/// A worker that cannot be told at once is told by its heartbeat.
const TELL_WITHIN: Duration = Duration::from_millis(500);
/// Of a change by filter, so many are named in the answer.
const NAMED: usize = 1_000;

impl ControlPanel {
    /// # Errors
    /// [`Code::TooMany`] over `max_affected`; what is wrong with the request. Jobs that are not
    /// there, or have ended, are answered each, not errors.
    pub async fn cancel(&self, caller: &Caller, request: ChangeRequest) -> Result<ChangeAnswer> {
        caller.need(if request.force { Scope::Admin } else { Scope::Service })?;
        let targets = self.targets(&request).await?;
        if request.dry_run {
            return self.dry_run(targets, |job| !job.status.is_final()).await;
        }
        let mut changed = Vec::new();
        let mut stops: BTreeMap<Incarnation, Vec<ExecutionRef>> = BTreeMap::new();
        let (mut freed, mut rest) = (false, None);
        for ids in targets.ids.chunks(limits::BATCH_JOBS) {
            let cancels: Vec<CancelCommand> = ids
                .iter()
                .map(|id| CancelCommand {
                    id: *id,
                    reason: request.reason.clone(),
                    by: request.by.clone().or_else(|| Some(caller.name.clone())),
                    force: request.force,
                    expected: request.expected,
                })
                .collect();
            let now = self.now();
            let answers = match self.store().cancel(cancels, now).await {
                Ok(answers) => answers,
                Err(error) => {
                    self.feed().publish(changes(ids, now));
                    rest = Some(cut_short(error, changed.len(), &targets.ids)?);
                    break;
                }
            };
            let first = changed.len();
            for (&id, answer) in ids.iter().zip(answers) {
                let (changed_to, stop) = cancelled(id, answer);
                freed |= stop.is_some() && changed_to.change == Change::Cancelled;
                if let Some((worker, execution)) = stop {
                    stops.entry(worker).or_default().push(ExecutionRef { job: id, execution });
                }
                changed.push(changed_to);
            }
            self.report_changed(&changed[first..], now);
        }
        if freed {
            // Places at workers are free.
            self.inner.wakeups.work();
        }
        // Last, and all at once: what slow workers are not told of is done all the same.
        let told = stops.into_iter().map(|(worker, executions)| {
            self.tell_worker(worker, Message::JobCancel { executions })
        });
        futures_util::future::join_all(told).await;
        Ok(answer(changed, rest, &request))
    }

    /// Publishes what became of jobs.
    fn report_changed(&self, changed: &[Changed], now: Timestamp) {
        let event = |changed: &Changed| {
            let job = changed.id.into();
            let moved = |job, to| KnownEvent::JobMoved { job, from: None, to, attempt: None };
            let what = match changed.change {
                Change::Cancelled => moved(job, JobStatus::Cancelled),
                Change::Retried => moved(job, JobStatus::Pending),
                Change::Cancelling => KnownEvent::JobCancelling { job },
                Change::Deleted => KnownEvent::JobChanged { job },
                Change::AlreadyFinal | Change::NotInState | Change::NotFound | Change::Would => {
                    return None;
                }
            };
            Some(Event::new(now, what))
        };
        self.feed().publish(changed.iter().filter_map(event).collect());
    }

    /// Best effort: the next heartbeat says the same.
    pub(crate) async fn tell_worker(&self, worker: Incarnation, message: Message) {
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
        match tokio::time::timeout(TELL_WITHIN, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(kind, %error, "not sent: its heartbeat will do"),
            Err(_) => tracing::debug!(kind, "not sent in time: its heartbeat will do"),
        }
    }

    /// # Errors
    /// As [`Self::cancel`].
    pub async fn retry(&self, caller: &Caller, request: ChangeRequest) -> Result<ChangeAnswer> {
        caller.need(Scope::Admin)?;
        let targets = self.targets(&request).await?;
        if request.dry_run {
            return self.dry_run(targets, |job| job.status.is_final()).await;
        }
        self.retry_ids(targets.ids, &request).await
    }

    async fn retry_ids(
        &self,
        targets: Vec<JobId>,
        request: &ChangeRequest,
    ) -> Result<ChangeAnswer> {
        let (mut changed, mut rest) = (Vec::new(), None);
        for ids in targets.chunks(limits::BATCH_JOBS) {
            let now = self.now();
            let answers = match self.store().retry(ids.to_vec(), now).await {
                Ok(answers) => answers,
                Err(error) => {
                    self.feed().publish(changes(ids, now));
                    rest = Some(cut_short(error, changed.len(), &targets)?);
                    break;
                }
            };
            let first = changed.len();
            for (id, answer) in ids.iter().zip(answers) {
                let (change, status) = match answer {
                    RetryAnswer::Retried => (Change::Retried, Some(JobStatus::Pending)),
                    RetryAnswer::NotInState { status } => (Change::NotInState, Some(status)),
                    RetryAnswer::Missing => (Change::NotFound, None),
                };
                changed.push(Changed { id: *id, change, status });
            }
            self.report_changed(&changed[first..], now);
        }
        self.inner.wakeups.work();
        Ok(answer(changed, rest, request))
    }

    /// Retries the jobs of dead letters; without ids or filter, of all of them.
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
        self.retry_ids(targets.ids, &request).await
    }

    /// Forgets dead letters; their jobs stay in the history.
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
        let (mut changed, mut rest) = (Vec::new(), None);
        for ids in targets.ids.chunks(limits::BATCH_JOBS) {
            let now = self.now();
            let deleted = match self.store().delete_dead_letters(ids.to_vec()).await {
                Ok(deleted) => deleted,
                Err(error) => {
                    self.feed().publish(changes(ids, now));
                    rest = Some(cut_short(error, changed.len(), &targets.ids)?);
                    break;
                }
            };
            let first = changed.len();
            for (id, deleted) in ids.iter().zip(deleted) {
                let change = if deleted { Change::Deleted } else { Change::NotFound };
                changed.push(Changed { id: *id, change, status: None });
            }
            self.report_changed(&changed[first..], now);
        }
        Ok(answer(changed, rest, &request))
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
            if after.is_none() || targets.ids.len() > CHANGE_MOST {
                break;
            }
        }
        within(request, &targets.ids)?;
        Ok(targets)
    }

    fn filter(&self, request: &ChangeRequest) -> Result<Filter> {
        parse_filter(request.filter.as_deref(), request.tz.as_deref(), self.now())
    }

    /// The jobs meant, each once.
    async fn targets(&self, request: &ChangeRequest) -> Result<Targets> {
        let targets = match (&request.filter, request.ids.is_empty()) {
            (Some(_), false) => {
                let detail = "`ids` and `filter` exclude each other";
                return Err(Problem::new(Code::BadRequest, detail));
            }
            (None, true) => {
                return Err(Problem::new(Code::BadRequest, "name jobs by `ids` or a `filter`"));
            }
            (None, false) => {
                let mut seen = std::collections::HashSet::new();
                let ids = request.ids.iter().copied().filter(|id| seen.insert(*id)).collect();
                Targets { ids, seen: Vec::new() }
            }
            (Some(_), true) => self.matching(self.filter(request)?).await?,
        };
        within(request, &targets.ids)?;
        Ok(targets)
    }

    async fn matching(&self, filter: Filter) -> Result<Targets> {
        if filter.is_empty() {
            // Everything at once is never meant by a slip.
            let detail = "an empty filter would mean every job";
            return Err(Problem::new(Code::BadRequest, detail).hint("`id>0` says that in words"));
        }
        let (mut targets, mut after) = (Targets::default(), None);
        loop {
            let request = whole_page(&filter, after);
            let page = self.store().list(request, self.now()).await.map_err(store_problem)?;
            targets.extend(page.rows.iter());
            after = page.next;
            if after.is_none() || targets.ids.len() > CHANGE_MOST {
                return Ok(targets);
            }
        }
    }

    async fn seen(&self, targets: &Targets) -> Result<HashMap<JobId, JobSnapshot>> {
        if !targets.seen.is_empty() {
            return Ok(targets.ids.iter().copied().zip(targets.seen.iter().copied()).collect());
        }
        let mut seen = HashMap::new();
        for ids in targets.ids.chunks(limits::PAGE_ROWS) {
            let jobs = self.store().jobs(ids.to_vec()).await.map_err(store_problem)?;
            seen.extend(jobs.iter().map(|job| (job.id, job.into())));
        }
        Ok(seen)
    }

    async fn dry_run(
        &self,
        targets: Targets,
        would: impl Fn(JobSnapshot) -> bool,
    ) -> Result<ChangeAnswer> {
        let mut jobs = Vec::new();
        let mut affected = 0;
        let seen = self.seen(&targets).await?;
        for id in targets.ids {
            let seen = seen.get(&id).copied();
            let change = match seen {
                None => Change::NotFound,
                Some(job) if would(job) => {
                    affected += 1;
                    Change::Would
                }
                Some(job) if job.status.is_final() => Change::AlreadyFinal,
                Some(_) => Change::NotInState,
            };
            if jobs.len() < NAMED {
                jobs.push(Changed { id, change, status: seen.map(|job| job.status) });
            }
        }
        Ok(ChangeAnswer { v: V, dry_run: true, affected, jobs, rest: None })
    }
}

fn whole_page(filter: &Filter, after: Option<JobId>) -> ListRequest {
    let (filter, limit) = (filter.clone(), limits::PAGE_ROWS as u32);
    ListRequest { filter, oldest_first: true, after, limit }
}

/// A step that failed may have been done all the same, to any of its jobs.
fn changes(ids: &[JobId], at: Timestamp) -> Vec<Event> {
    let changed = |id: &JobId| Event::new(at, KnownEvent::JobChanged { job: (*id).into() });
    ids.iter().map(changed).collect()
}

/// The jobs meant by a change.
#[derive(Default)]
struct Targets {
    ids: Vec<JobId>,
    /// Each as its filter found it. Empty where they are named by their ids: those are not read.
    seen: Vec<JobSnapshot>,
}

/// What a dry run looks at: jobs as a whole may be large.
#[derive(Clone, Copy)]
struct JobSnapshot {
    status: JobStatus,
    dead: bool,
}

impl From<&Job> for JobSnapshot {
    fn from(job: &Job) -> Self {
        Self { status: job.status, dead: job.dead.is_some() }
    }
}

impl From<&JobSummary> for JobSnapshot {
    fn from(job: &JobSummary) -> Self {
        Self { status: job.status, dead: job.dead.is_some() }
    }
}

impl Targets {
    fn extend<'a>(&mut self, jobs: impl Iterator<Item = &'a JobSummary>) {
        for job in jobs {
            self.ids.push(job.id);
            self.seen.push(job.into());
        }
    }
}

/// What became of a job, and the execution to be stopped.
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
    let most = request.max_affected.unwrap_or(CHANGE_MOST as u64).min(CHANGE_MOST as u64);
    if ids.len() as u64 > most {
        let found = if ids.len() > CHANGE_MOST {
            format!("more than {CHANGE_MOST}")
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

/// What was changed stands, and is told; so is the rest.
///
/// # Errors
/// Nothing was changed yet: then that alone is the answer.
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
        jobs.truncate(NAMED);
        if let Some(rest) = &mut rest {
            rest.jobs.truncate(NAMED);
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
