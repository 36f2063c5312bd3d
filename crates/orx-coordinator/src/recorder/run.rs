//! Records the reports of workers in batches. A batch that the store cannot write is split until the part
//! that fails is alone. That part is set aside, unacknowledged, and tried again alone, ever less often;
//! the rest is recorded and acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use orx_model::event::KnownEvent;
use orx_model::log::LogChunk;
use orx_model::message::ExecutionRef;
use orx_model::wire::Condition;
use orx_model::{Backoff, ExecutionId, Incarnation, JobId, JobStatus, Outcome};
use orx_store::{Result, StoreError};
use orx_transport::{Deliveries, Subscription};
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Events, without_workers};
use crate::health::{RETRY, is_the_end};
use crate::outcomes::acks;
use crate::run::CoordinatorError;
use crate::{Context, Now};

/// Envelopes read at once; each carries many reports.
const ENVELOPES: usize = 512;
/// Marks of dropped output that wait until the store takes them, at most.
const MARKS: usize = 4_096;
/// How often the marks are tried.
const MARK_EVERY: Duration = Duration::from_secs(1);
/// Envelopes set aside at most. Beyond that, recording stops until one is written.
const ASIDE: usize = 256;
/// Between tries of an envelope that was set aside.
const SET_ASIDE: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(60));

/// Records the reports of workers.
pub struct Recorder {
    context: Arc<Context>,
    rng: StdRng,
    /// Marks where output is missing because the store did not take it.
    marks: VecDeque<LogChunk>,
    /// Envelopes that the store does not take even alone.
    aside: Vec<Aside>,
    /// Rows written together at most. Fewer while the store does not answer in time.
    rows_most: usize,
}

struct Aside {
    /// One envelope.
    delivery: Deliveries,
    /// When it is tried again, on the monotonic clock.
    at: Duration,
    backoff: Backoff,
}

/// The outcomes of a batch that were not applied.
#[derive(Debug, Default)]
pub struct BatchReport {
    /// Outcomes that came too late and changed nothing.
    pub stale: BTreeSet<ExecutionId>,
    /// Outcomes that the store does not take.
    pub aside: BTreeSet<ExecutionId>,
}

impl Recorder {
    /// The recorder of a node.
    #[must_use]
    pub fn new(context: Arc<Context>, rng: StdRng) -> Self {
        Self { context, rng, marks: VecDeque::new(), aside: Vec::new(), rows_most: plan::ROWS }
    }

    /// Runs until `stop`.
    ///
    /// # Errors
    /// The store or the transport can be used no longer.
    pub(crate) async fn run(
        &mut self,
        events: &mut dyn Subscription,
        stop: &CancellationToken,
    ) -> std::result::Result<(), CoordinatorError> {
        let mut backoff = RETRY;
        loop {
            let retry = self.retry_in();
            let deliveries = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                deliveries = events.next(ENVELOPES) => deliveries?,
                () = tokio::time::sleep(retry.unwrap_or_default()), if retry.is_some() => {
                    Deliveries::default()
                }
            };
            let recorded = match self.record_all(deliveries).await {
                Ok(()) => self.retry_aside().await,
                Err(error) => Err(error),
            };
            match recorded {
                Ok(()) => backoff.succeeded(),
                Err(error) if is_the_end(&error) => return Err(error.into()),
                Err(error) => {
                    self.context.health.failed(&error, self.context.now());
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return Ok(()),
                        () = tokio::time::sleep(backoff.failed()) => {}
                    }
                }
            }
            self.mark_missing_output().await;
        }
    }

    /// Records the reports that the node already took: their workers do not send them again.
    ///
    /// # Errors
    /// Some reports are not recorded.
    pub(crate) async fn record_the_rest(
        &mut self,
        events: &mut dyn Subscription,
    ) -> std::result::Result<(), CoordinatorError> {
        while let Some(deliveries) = events.next(ENVELOPES).now_or_never() {
            self.record_all(deliveries?).await?;
        }
        Ok(())
    }

    /// Time until something that the store did not take is tried again.
    fn retry_in(&self) -> Option<Duration> {
        let now = self.context.now().mono;
        let aside = self.aside.iter().map(|aside| aside.at.saturating_sub(now)).min();
        let marks = (!self.marks.is_empty()).then_some(MARK_EVERY);
        aside.into_iter().chain(marks).min()
    }

    /// Retries the envelopes that were set aside, each alone.
    async fn retry_aside(&mut self) -> Result<()> {
        let now = self.context.now().mono;
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.aside).into_iter().partition(|aside| aside.at <= now);
        self.aside = later;
        let mut due = due.into_iter();
        while let Some(Aside { delivery, mut backoff, .. }) = due.next() {
            let events = plan::gather(delivery.envelopes());
            match self.record(events).await {
                Ok(done) if done.aside.is_empty() => acknowledge(delivery, &done).await,
                Ok(_) | Err(StoreError::Unknown | StoreError::Backend { .. }) => {
                    self.aside.push(Aside { delivery, at: now + backoff.failed(), backoff });
                }
                Err(error) => {
                    let at = now + backoff.peek();
                    self.aside.push(Aside { delivery, at, backoff });
                    self.aside.extend(due);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Sets deliveries aside, so that they do not delay the others.
    fn set_aside(&mut self, mut deliveries: Deliveries) -> Result<()> {
        while !deliveries.is_empty() {
            if self.aside.len() >= ASIDE {
                // The rest is not acknowledged, so the transport delivers it again.
                return Err(StoreError::Busy);
            }
            let rest = deliveries.split_off(1);
            let delivery = std::mem::replace(&mut deliveries, rest);
            for envelope in delivery.envelopes() {
                tracing::error!(worker = %envelope.from, "report set aside: the store does not take it");
            }
            let mut backoff = SET_ASIDE;
            let at = self.context.now().mono + backoff.failed();
            self.aside.push(Aside { delivery, at, backoff });
        }
        Ok(())
    }

    /// Records in batches, each acknowledged once it is recorded. The transport delivers the rest again.
    async fn record_all(&mut self, mut deliveries: Deliveries) -> Result<()> {
        while !deliveries.is_empty() {
            let rest = deliveries.split_off(plan::batch(deliveries.envelopes(), self.rows_most));
            let batch = std::mem::replace(&mut deliveries, rest);
            let events = plan::gather(batch.envelopes());
            let done = match self.record(events).await {
                Ok(done) => done,
                Err(error) => {
                    self.batch_failed(error, batch).await?;
                    continue;
                }
            };
            self.rows_most = (self.rows_most * 2).min(plan::ROWS);
            let (bad, good) =
                batch.partition(|envelope| plan::has_outcome_of(&envelope.body, &done.aside));
            acknowledge(good, &done).await;
            self.set_aside(bad)?;
        }
        Ok(())
    }

    /// Halves the batches after one that could not be written, or not in time. Sets an envelope aside for
    /// which that is so alone.
    async fn batch_failed(&mut self, error: StoreError, batch: Deliveries) -> Result<()> {
        if !matches!(error, StoreError::Unknown | StoreError::Backend { .. }) {
            return Err(error);
        }
        if batch.len() > 1 {
            self.rows_most = (self.rows_most.min(batch.len() * 2) / 2).max(1);
            return Err(error);
        }
        tracing::error!(%error, "a report of a worker cannot be recorded");
        self.set_aside(batch)
    }

    /// Records reports. Output is recorded before the outcome of its attempt, at which followers stop.
    ///
    /// # Errors
    /// Some reports are not recorded: all of them have to be sent again.
    pub async fn record(&mut self, mut events: Events) -> Result<BatchReport> {
        let context = Arc::clone(&self.context);
        let now = context.now();
        self.read_holders(&events).await?;
        let others = events.drop_of_others(&context.holders());
        events.collapse();
        let running = |job: JobId| KnownEvent::JobMoved {
            job: job.into(),
            from: Some(JobStatus::Dispatched),
            to: JobStatus::Running,
            attempt: None,
        };
        let progressed = |job: JobId| KnownEvent::JobProgressed { job: job.into() };
        let started = events.started.iter().map(|(_, it)| running(it.job));
        let progress = events.progress.iter().map(|(_, it)| progressed(it.job));
        let touched: Vec<KnownEvent> = started.chain(progress).collect();
        let chunks = without_workers(events.chunks);
        let with_outcomes = !events.outcomes.is_empty();
        // A store may write both at once, in any order.
        let (first, beside) =
            if with_outcomes { (chunks, Vec::new()) } else { (Vec::new(), chunks) };
        self.append(first).await?;
        let store = Arc::clone(&context.store);
        let started = async {
            let started = without_workers(events.started);
            if started.is_empty() { Ok(()) } else { store.mark_started(started, now.wall).await }
        };
        let progress = async {
            let progress = without_workers(events.progress);
            if progress.is_empty() { Ok(()) } else { store.record_progress(progress).await }
        };
        // Polled in this order: a store that gathers writes makes one transaction of them.
        let (started, progress, recorded) = {
            let both = async {
                self.append(beside).await?;
                self.outcomes(events.outcomes, now).await
            };
            tokio::join!(biased; started, progress, both)
        };
        let mut done = recorded?;
        for information in [started, progress] {
            match information {
                Err(error @ StoreError::Backend { .. }) => {
                    tracing::warn!(%error, "starts or progress of attempts are not recorded");
                }
                recorded => recorded?,
            }
        }
        done.stale.extend(others.iter().map(|(_, execution)| *execution));
        context.post.send(acks(others.into_iter()), now.wall);
        context.publish(touched, now);
        Ok(done)
    }

    /// Reads from the store which workers the executions were dispatched to, unless the cache has them.
    async fn read_holders(&mut self, events: &Events) -> Result<()> {
        let unknown: Vec<ExecutionRef> = {
            let holders = self.context.holders();
            let unknown: BTreeSet<ExecutionRef> =
                events.executions().filter(|of| !holders.knows(of.execution)).collect();
            unknown.into_iter().collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let found = self.context.store.holders(unknown.clone()).await?;
        let mut holders = self.context.holders();
        for (of, holder) in unknown.into_iter().zip(found) {
            if let Some(holder) = holder {
                holders.note(of, holder);
            }
        }
        Ok(())
    }

    /// Records outcomes, in ever smaller parts where the store does not take them together.
    async fn outcomes(
        &mut self,
        outcomes: Vec<(Incarnation, Outcome)>,
        now: Now,
    ) -> Result<BatchReport> {
        let mut done = BatchReport::default();
        let mut parts = vec![outcomes];
        while let Some(mut part) = parts.pop() {
            match self.context.record(&part, None, &mut self.rng, now).await {
                Ok(stale) => done.stale.extend(stale),
                Err(StoreError::Backend { .. }) if part.len() > 1 => {
                    parts.push(part.split_off(part.len() / 2));
                    parts.push(part);
                }
                Err(error @ StoreError::Backend { .. }) => {
                    for (worker, outcome) in part {
                        let job = outcome.job;
                        tracing::error!(%job, %worker, %error, "an outcome cannot be recorded");
                        done.aside.insert(outcome.execution);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Stores output. Output that the store takes neither in the batch nor alone is dropped, so that no
    /// outcome waits for it, and marked later.
    async fn append(&mut self, chunks: Vec<LogChunk>) -> Result<()> {
        if chunks.is_empty() {
            return Ok(());
        }
        match self.context.store.append_logs(chunks.clone()).await {
            Ok(()) => {
                self.logs_grew(chunks.iter().map(|chunk| chunk.job));
                return Ok(());
            }
            Err(StoreError::Full) => self.context.wakeups.set_store_condition(Condition::StoreFull),
            Err(StoreError::Backend { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut by_job: BTreeMap<JobId, Vec<LogChunk>> = BTreeMap::new();
        for chunk in chunks {
            by_job.entry(chunk.job).or_default().push(chunk);
        }
        for (job, chunks) in by_job {
            match self.context.store.append_logs(chunks.clone()).await {
                Ok(()) => {
                    self.logs_grew([job]);
                    continue;
                }
                Err(error @ (StoreError::Full | StoreError::Backend { .. })) => {
                    tracing::warn!(%job, %error, "output is dropped");
                }
                Err(error) => return Err(error),
            }
            self.drop_output(chunks);
        }
        Ok(())
    }

    fn logs_grew(&self, jobs: impl IntoIterator<Item = JobId>) {
        let jobs: BTreeSet<JobId> = jobs.into_iter().collect();
        let grew = |job: JobId| KnownEvent::JobLogGrew { job: job.into() };
        self.context.publish(jobs.into_iter().map(grew), self.context.now());
    }

    fn drop_output(&mut self, chunks: Vec<LogChunk>) {
        for chunk in chunks {
            let dropped_bytes = chunk.dropped_bytes + chunk.bytes.len() as u64;
            self.marks.push_back(LogChunk { dropped_bytes, bytes: Vec::new(), ..chunk });
        }
        while self.marks.len() > MARKS {
            self.marks.pop_front();
        }
    }

    async fn mark_missing_output(&mut self) {
        if self.marks.is_empty() {
            return;
        }
        let marks: Vec<LogChunk> = self.marks.iter().cloned().collect();
        let jobs: Vec<JobId> = marks.iter().map(|mark| mark.job).collect();
        match self.context.store.append_logs(marks).await {
            Ok(()) => {
                self.marks.clear();
                self.logs_grew(jobs);
            }
            Err(error) => tracing::debug!(%error, "dropped output is not marked yet"),
        }
    }
}

/// Acknowledges deliveries whose reports are recorded.
async fn acknowledge(deliveries: Deliveries, done: &BatchReport) {
    let answered = deliveries.answer(|envelope| plan::receipt(&envelope.body, &done.stale));
    if let Err(error) = answered.await {
        tracing::debug!(%error, "could not acknowledge: recorded reports may come again, which changes nothing");
    }
}
