//! Carries out operations over many jobs, batch by batch. A batch is one transaction that also moves the
//! cursor of its operation, so the next leader goes on exactly where this one stopped. Operations take turns,
//! and between two batches other calls reach the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orx_model::event::KnownEvent;
use orx_model::filter::{CountField, Filter, FilterTerm, Op, Test};
use orx_model::message::{ExecutionRef, Message};
use orx_model::wire::{AuditAction, OperationAction, OperationStatus};
use orx_model::{JobId, JobStatus, OperationId, limits};
use orx_schedule::Zone;
use orx_store::{
    AuditRecord, BatchAnswer, BatchOutcome, BatchedJob, ListRequest, OperationBatch, OperationEnd,
    OperationRecord, Result, StoreError, Target, Term,
};
use tokio_util::sync::CancellationToken;

use crate::leader::{is_over, pause};
use crate::{Context, Now};

/// How often the running operations are read without a wake-up, which may be lost.
const READ_EVERY: Duration = Duration::from_secs(30);
/// Pause between two batches, at least; it is as long as the batch took, so operations take at most half of
/// the store's time.
const PAUSE: Duration = Duration::from_millis(5);
/// Pause after an error of the store.
const RETRY: Duration = Duration::from_secs(1);
/// Log chunks deleted in one batch.
const CHUNKS: u32 = 1_000;
/// Ids that one read covers once the filter of an operation was too broad for a read of all.
const ID_WINDOW: i64 = 100_000;

/// Runs as long as its term.
pub struct OperationRunner {
    context: Arc<Context>,
    term: Term,
    /// What this term knows of each running operation.
    paces: BTreeMap<OperationId, Pace>,
}

/// When an operation may go on, and how it reads.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    /// On the monotonic clock.
    next_at: Duration,
    /// Its filter was too broad to read all ids at once.
    windows: bool,
}

impl OperationRunner {
    /// The runner of one term.
    #[must_use]
    pub fn new(context: Arc<Context>, term: Term) -> Self {
        Self { context, term, paces: BTreeMap::new() }
    }

    /// Runs until the term is over.
    ///
    /// # Errors
    /// The store refuses the term, or can be used no longer.
    pub(crate) async fn run(mut self, over: CancellationToken) -> Result<()> {
        while !over.is_cancelled() {
            let wait = match self.pass(&over).await {
                Ok(wait) => wait,
                Err(error) if is_over(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "an operation over many jobs waits");
                    pause(&over, RETRY).await;
                    continue;
                }
            };
            tokio::select! {
                biased;
                () = over.cancelled() => return Ok(()),
                () = self.context.wakeups.wait_for_operations() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(())
    }

    /// Gives each running operation that may go on a batch. Returns how long to wait for the next pass.
    ///
    /// # Errors
    /// A batch was not done.
    pub async fn pass(&mut self, over: &CancellationToken) -> Result<Duration> {
        let most = limits::OPERATIONS_RUNNING as u32;
        let running = self.context.store.running_operations(most).await?;
        self.context.idle.operations(running.is_empty());
        self.paces.retain(|id, _| running.iter().any(|operation| operation.id == *id));
        let mut wait = READ_EVERY;
        for operation in running {
            if over.is_cancelled() {
                break;
            }
            let id = operation.id;
            let pace = self.paces.get(&id).copied().unwrap_or_default();
            let began = self.context.now();
            if pace.next_at > began.mono {
                wait = wait.min(pace.next_at - began.mono);
                continue;
            }
            let pace = self.next_batch(operation, pace, began).await?;
            self.paces.insert(id, pace);
            let ended = self.context.now().mono;
            wait = wait.min(pace.next_at.saturating_sub(ended));
            pause(over, ended.saturating_sub(began.mono).max(PAUSE)).await;
        }
        Ok(wait)
    }

    /// Carries out the next batch of an operation.
    async fn next_batch(&self, operation: OperationRecord, pace: Pace, now: Now) -> Result<Pace> {
        let (id, rate) = (operation.id, operation.rate);
        let most =
            rate.map_or(limits::OPERATION_BATCH, |rate| limits::OPERATION_BATCH.min(rate as usize));
        let batch = match self.read(operation.clone(), most, pace.windows, now).await {
            Ok(Ok(batch)) => batch,
            Err(StoreError::TooBroad { .. }) if !pace.windows => {
                return Ok(Pace { windows: true, ..pace });
            }
            Err(error) => return Err(error),
            Ok(Err(error)) => {
                self.fail(id, error, now).await?;
                return Ok(pace);
            }
        };
        let store = &self.context.store;
        let ids: Vec<JobId> = batch.jobs.iter().map(|target| target.job).collect();
        let (after, jobs) = match store.run_batch(batch, now.wall, self.term).await {
            Ok(BatchAnswer::Done { operation, jobs }) => (*operation, jobs),
            Ok(BatchAnswer::Stale) => return Ok(pace),
            Err(error) => {
                // The store may have changed the jobs nevertheless; the next pass reads the cursor.
                let changed = |job: JobId| KnownEvent::JobChanged { job: job.into() };
                self.context.publish(ids.into_iter().map(changed), now);
                return Err(error);
            }
        };
        self.follow(&after, &jobs, now);
        if after.status != OperationStatus::Running {
            self.record_end(&after).await;
        }
        let changed = after.changed.saturating_sub(operation.changed);
        let slow = match rate {
            Some(rate) => Duration::from_secs(1).mul_f64(changed as f64 / f64::from(rate.max(1))),
            None => Duration::ZERO,
        };
        Ok(Pace { next_at: now.mono.saturating_add(slow), ..pace })
    }

    /// Reads the next jobs of an operation. The inner error is one that no retry overcomes.
    async fn read(
        &self,
        operation: OperationRecord,
        most: usize,
        windows: bool,
        now: Now,
    ) -> Result<std::result::Result<OperationBatch, String>> {
        let (store, cursor) = (&self.context.store, operation.cursor);
        let batch = |operation: OperationRecord, jobs: Vec<Target>, upto| OperationBatch {
            operation,
            jobs,
            upto,
            chunks: CHUNKS,
        };
        if operation.filter.is_none() {
            let mut ids = store.operation_targets(operation.id, cursor).await?;
            ids.truncate(most);
            let upto = ids.last().copied().unwrap_or(operation.upto);
            let jobs = ids.into_iter().map(|job| Target { job, seen: None }).collect();
            return Ok(Ok(batch(operation, jobs, upto)));
        }
        let end = match windows {
            true => JobId(operation.upto.0.min(cursor.0.saturating_add(ID_WINDOW))),
            false => operation.upto,
        };
        let filter = match filter_of(&operation, end) {
            Ok(filter) => filter,
            Err(error) => return Ok(Err(error)),
        };
        // Ages count back from the start of the operation, as the person who started it saw them.
        let at = operation.created_at.min(now.wall);
        let limit = most as u32;
        let page = ListRequest { filter, oldest_first: true, after: Some(cursor), limit };
        let target = |job: JobId, status: JobStatus| Target { job, seen: Some(status) };
        let (jobs, next): (Vec<Target>, _) = match operation.dead {
            true => {
                let page = store.dead_letters(page, at).await?;
                let rows = page.rows.iter().map(|row| &row.job);
                (rows.map(|job| target(job.id, job.state.status)).collect(), page.next)
            }
            false => {
                let page = store.list(page, at).await?;
                let rows = page.rows.iter();
                (rows.map(|job| target(job.id, job.state.status)).collect(), page.next)
            }
        };
        Ok(Ok(batch(operation, jobs, next.unwrap_or(end))))
    }

    /// Tells workers and readers what a batch changed.
    fn follow(&self, operation: &OperationRecord, jobs: &[BatchedJob], now: Now) {
        let context = &self.context;
        let changed = |job: &&BatchedJob| {
            matches!(job.outcome, BatchOutcome::Changed | BatchOutcome::Stopping)
        };
        let event = |one: &BatchedJob| {
            let job = one.job.into();
            let moved = |job, to| KnownEvent::JobMoved { job, from: None, to, attempt: None };
            match (operation.action, one.outcome) {
                (OperationAction::Cancel, BatchOutcome::Stopping) => {
                    KnownEvent::JobCancelling { job }
                }
                (OperationAction::Cancel, _) => moved(job, JobStatus::Cancelled),
                (OperationAction::Retry, _) => moved(job, JobStatus::Pending),
                (OperationAction::Remove | OperationAction::RemoveDeadLetters, _) => {
                    KnownEvent::JobChanged { job }
                }
            }
        };
        context.publish(jobs.iter().filter(changed).map(event), now);
        match operation.action {
            OperationAction::Retry => context.wakeups.work(),
            OperationAction::Cancel => {
                let stops = jobs.iter().filter(changed).filter_map(|job| {
                    let (worker, execution) = job.held?;
                    let executions = vec![ExecutionRef { job: job.job, execution }];
                    Some((worker, Message::JobCancel { executions }))
                });
                context.post.send(stops, now.wall);
                context.wakes.ended();
                if operation.force {
                    // Slots at workers became free.
                    context.wakeups.work();
                }
            }
            OperationAction::Remove | OperationAction::RemoveDeadLetters => {}
        }
    }

    async fn fail(&self, id: OperationId, error: String, now: Now) -> Result<()> {
        tracing::error!(operation = %id, error, "an operation over many jobs cannot go on");
        let end = OperationEnd::Failed { error };
        if let Some((record, true)) = self.context.store.end_operation(id, end, now.wall).await? {
            self.record_end(&record).await;
        }
        Ok(())
    }

    /// Records the end of an operation, with what it changed.
    async fn record_end(&self, operation: &OperationRecord) {
        let record = AuditRecord {
            id: 0,
            at: self.context.now().wall,
            action: AuditAction::EndOperation.as_str().to_owned(),
            object: operation.summary(),
            changed: operation.changed,
            token: operation.token.clone(),
            address: operation.address.clone(),
            person: operation.person.clone(),
            reason: operation.reason.clone(),
        };
        if let Err(error) = self.context.store.record_change(record).await {
            let summary = operation.summary();
            tracing::error!(%error, summary, "could not record the end of an operation");
        }
    }
}

/// The filter of an operation, limited to jobs that it can change, up to an id.
fn filter_of(operation: &OperationRecord, upto: JobId) -> std::result::Result<Filter, String> {
    let zone = operation.zone.as_deref().map_or(Ok(Zone::Utc), str::parse);
    let zone = zone.map_err(|error| format!("its time zone cannot be read: {error}"))?;
    let text = operation.filter.as_deref().unwrap_or_default();
    let mut filter = Filter::parse(text, operation.created_at, &zone)
        .map_err(|error| format!("its filter cannot be read: {error}"))?;
    let statuses = Test::Status(operation.action.statuses().into_iter().collect());
    let ids = Test::Number(CountField::Id, Op::AtMost, upto.0 as f64);
    filter.terms.extend([statuses, ids].map(|test| FilterTerm { negated: false, test }));
    Ok(filter)
}
