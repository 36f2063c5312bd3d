//! Copies everything from one store to another: jobs with their attempts and logs, dead letters, keys,
//! schedules with their ledgers, tokens. Ids stay the same, so that those in scripts and notes stay valid.
//!
//! Meanwhile this process locks both stores: a folder by its lock, a database by the leader's lease, which
//! no coordinator gets then. At every point of interruption at most one of the two can be served: first
//! the target is marked as incomplete, at the end the source as moved, and then the target as complete.

use std::collections::BTreeMap;
use std::time::Duration;

use orx_model::log::LogCursor;
use orx_model::schedule::Slot;
use orx_model::wire::StatusCounts;
use orx_model::{Incarnation, Job, JobId, Name};
use orx_store::{
    Home, JobExport, Lead, LeadRequest, LogRequest, SLOTS_KEPT, SlotRequest, Store, StoreError,
    Term,
};
use serde::Serialize;

use super::block_on;
use super::home::refuse_moved;
use super::store::{Opened, StoreLocation, store_error};
use crate::clock::wall;
use crate::config::Config;
use crate::error::{CliError, Exit};

/// Jobs read and written at once.
const PAGE: u32 = 500;
/// The most rows that are read of one ledger. A ledger has more only until it is pruned.
const SLOTS_MOST: u32 = SLOTS_KEPT * 2;
/// Bytes of a log that are read at once.
const LOG_BYTES: usize = 4 * 1024 * 1024;
/// The leader's lease of both stores, renewed with every page.
const LEAD: Duration = Duration::from_secs(60);
/// The most unreadable rows of one kind that are named.
const NAMED_MOST: usize = 100;
/// A node with a heartbeat within this time is live.
const NODE_LIVES: Duration = Duration::from_secs(30);
/// Time between two progress reports to the caller.
const PROGRESS_PERIOD: Duration = Duration::from_secs(5);

pub(crate) struct CopyOptions {
    pub(crate) from: StoreLocation,
    pub(crate) to: StoreLocation,
    /// Continue a copy that was interrupted.
    pub(crate) resume: bool,
    /// Accept a source that is already marked as moved.
    pub(crate) force_source: bool,
    /// Accept a copy without the rows that cannot be read.
    pub(crate) skip_unreadable: bool,
    pub(crate) config: Config,
}

/// The result of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Copied {
    pub(crate) v: u32,
    pub(crate) from: String,
    pub(crate) to: String,
    /// Jobs added to the target; with `resume` fewer than it contains.
    pub(crate) jobs: u64,
    pub(crate) log_chunks: u64,
    pub(crate) keys: u64,
    /// Numbers of the source, including rows that the target already had.
    pub(crate) schedules: u64,
    pub(crate) tokens: u64,
    /// The id of the next job, equal in both stores.
    pub(crate) next_job: i64,
    /// Whether the source is marked as moved.
    pub(crate) moved: bool,
    /// The rows of the source that cannot be read.
    pub(crate) unreadable: Unreadable,
}

/// Rows of the source that cannot be read and are not in the copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Unreadable {
    /// The first of them, each with the reason.
    pub(crate) jobs: Vec<UnreadableRow<JobId>>,
    pub(crate) schedules: Vec<UnreadableRow<Name>>,
    pub(crate) job_count: u64,
    pub(crate) schedule_count: u64,
    /// Those of the jobs and schedules above are among the following.
    pub(crate) attempts: u64,
    pub(crate) log_chunks: u64,
    pub(crate) keys: u64,
    pub(crate) slots: u64,
    /// Dependencies of jobs, and alerts of runs.
    pub(crate) dependencies: u64,
    pub(crate) tokens: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct UnreadableRow<I> {
    pub(crate) id: I,
    pub(crate) why: String,
}

impl Unreadable {
    /// Each kind with its number of rows.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = [
            ("jobs", self.job_count),
            ("schedules", self.schedule_count),
            ("attempts", self.attempts),
            ("log chunks", self.log_chunks),
            ("keys", self.keys),
            ("rows of ledgers", self.slots),
            ("run dependencies", self.dependencies),
            ("tokens", self.tokens),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0)
    }

    fn is_empty(&self) -> bool {
        self.counts().next().is_none()
    }

    fn job(&mut self, job: &Job, why: String) {
        tracing::warn!(job = %job.id, %why, "a job that cannot be read is not copied");
        self.job_count += 1;
        if self.jobs.len() < NAMED_MOST {
            self.jobs.push(UnreadableRow { id: job.id, why });
        }
    }

    fn schedule(&mut self, id: &Name, why: String) {
        tracing::warn!(schedule = %id, %why, "a schedule that cannot be read is not copied");
        self.schedule_count += 1;
        if self.schedules.len() < NAMED_MOST {
            self.schedules.push(UnreadableRow { id: id.clone(), why });
        }
    }
}

/// Totals of the jobs that were read from the source, to compare with the target.
#[derive(Debug, Default)]
struct JobsRead {
    counts: BTreeMap<Name, StatusCounts>,
    jobs: u64,
    dead: u64,
    attempts: u64,
}

impl JobsRead {
    fn add(&mut self, export: &JobExport) {
        let job = &export.job;
        *self.counts.entry(job.spec.queue.clone()).or_default().slot(job.state.status) += 1;
        self.jobs += 1;
        self.dead += u64::from(job.state.dead.is_some() && export.dead_at.is_some());
        self.attempts += export.attempts.len() as u64;
    }
}

/// Copies everything. Blocks. Calls `progress` at intervals with the number of copied jobs.
///
/// # Errors
/// A store cannot be opened or is in use, or the target is not empty. After an error, the copied part stays
/// and `resume` continues it.
pub(crate) fn copy(options: CopyOptions, progress: impl Fn(&str)) -> Result<Copied, CliError> {
    block_on(run(options, progress))
}

async fn run(options: CopyOptions, progress: impl Fn(&str)) -> Result<Copied, CliError> {
    let from = Opened::open(&options.from, &options.config).await?;
    let to = Opened::open(&options.to, &options.config).await?;
    let (source, target) = (from.shared(), to.shared());
    if finish(&*source, &*target, &options).await? {
        let next_job = target.next_job().await.map_err(store_error)?.0;
        let (from, to) = (options.from.shown(), options.to.shown());
        let v = orx_model::wire::V;
        return Ok(Copied { v, from, to, next_job, moved: true, ..Copied::default() });
    }
    let node = Incarnation::random(&mut rand::rng());
    let mut both = Both {
        source: HeldStore::take(&*source, &options.from, node).await?,
        target: HeldStore::take(&*target, &options.to, node).await?,
    };
    let copied = both.copy(&options, progress).await;
    both.source.release().await;
    both.target.release().await;
    for store in [&source, &target] {
        if let Err(error) = store.close().await {
            tracing::debug!(%error, "a store did not close in order");
        }
    }
    copied
}

/// Whether an earlier copy is complete except for its last mark, which this function sets.
///
/// # Errors
/// One of the two stores is not a home.
async fn finish(
    source: &dyn Store,
    target: &dyn Store,
    options: &CopyOptions,
) -> Result<bool, CliError> {
    let (from, to) = (options.from.name(), options.to.name());
    let mut here = source.home().await.map_err(store_error)?;
    let mut there = target.home().await.map_err(store_error)?;
    if here.moved_to.as_ref() == Some(&to) && there.copying_from.as_ref() == Some(&from) {
        there.copying_from = None;
        target.put_home(there).await.map_err(store_error)?;
        return Ok(true);
    }
    if options.force_source && here.moved_to.take().is_some() {
        source.put_home(here.clone()).await.map_err(store_error)?;
    }
    refuse_moved(&here, &options.from)?;
    let not_whole = |place: &StoreLocation, from: &str| {
        let message = format!("the store `{}` is a copy that is not whole", place.shown());
        CliError::new(Exit::Conflict, "not_whole", message)
            .cause(format!("the copy from `{from}` was interrupted"))
    };
    if let Some(first) = &here.copying_from {
        return Err(not_whole(&options.from, first)
            .hint(format!("`orx store copy --resume {first} {from}` continues it")));
    }
    if let Some(elsewhere) = &there.moved_to {
        let message =
            format!("the store `{}` has itself moved to `{elsewhere}`", options.to.shown());
        return Err(CliError::new(Exit::Conflict, "moved", message).hint("copy into an empty one"));
    }
    match &there.copying_from {
        Some(other) if *other != from => {
            Err(not_whole(&options.to, other)
                .hint("continue that copy, or copy into an empty store"))
        }
        _ => Ok(false),
    }
}

/// A locked store, which no other process changes.
struct HeldStore<'s> {
    store: &'s dyn Store,
    shown: String,
    term: Term,
}

impl<'s> HeldStore<'s> {
    async fn take(
        store: &'s dyn Store,
        place: &StoreLocation,
        node: Incarnation,
    ) -> Result<Self, CliError> {
        let shown = place.shown();
        let in_use = |by: String| {
            CliError::new(Exit::Conflict, "in_use", format!("the store `{shown}` is in use"))
                .cause(by)
                .hint("stop every coordinator on it, then copy")
        };
        if let Some(node) = live_node(store).await? {
            return Err(in_use(format!("the node `{node}` is live on it")));
        }
        let mut held = Self { store, shown: shown.clone(), term: Term { node, epoch: 0 } };
        match held.renew().await {
            Ok(()) => Ok(held),
            Err(StoreError::Deposed) => Err(in_use("a coordinator on it is the leader".to_owned())),
            Err(error) => Err(store_error(error)),
        }
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        let request = LeadRequest { node: self.term.node, ttl: LEAD, above: 0 };
        match self.store.lead(request, wall()).await? {
            Lead::Leading(term) => {
                self.term = term;
                Ok(())
            }
            Lead::Following { .. } | Lead::Barred => Err(StoreError::Deposed),
        }
    }

    async fn release(&self) {
        if let Err(error) = self.store.step_down(self.term).await {
            tracing::debug!(%error, "the lease was not given back: it expires by itself");
        }
    }
}

/// The name of a node on this store that is live.
async fn live_node(store: &dyn Store) -> Result<Option<Name>, CliError> {
    let nodes = store.nodes(wall()).await.map_err(store_error)?;
    let live = nodes.into_iter().find(|node| node.silent < NODE_LIVES);
    Ok(live.map(|node| node.report.name))
}

struct Both<'s> {
    source: HeldStore<'s>,
    target: HeldStore<'s>,
}

impl Both<'_> {
    async fn copy(
        &mut self,
        options: &CopyOptions,
        progress: impl Fn(&str),
    ) -> Result<Copied, CliError> {
        let (source, target) = (self.source.store, self.target.store);
        let mut copied = Copied {
            v: orx_model::wire::V,
            from: self.source.shown.clone(),
            to: self.target.shown.clone(),
            ..Copied::default()
        };
        let there = target.export(None, 1).await.map_err(store_error)?;
        if !there.is_empty() && !options.resume {
            let message = format!("the store `{}` is not empty", self.target.shown);
            return Err(CliError::new(Exit::Conflict, "not_empty", message)
                .cause(format!("it has job `{}`", there[0].job.id))
                .hint("copy into an empty one; `--resume` continues a copy of the same store"));
        }
        let there = target.schedules(None, 1).await.map_err(store_error)?;
        if let Some(first) = there.first().filter(|_| !options.resume) {
            let message = format!("the store `{}` is not empty", self.target.shown);
            return Err(CliError::new(Exit::Conflict, "not_empty", message)
                .cause(format!("it has the schedule `{}`", first.id()))
                .hint("copy into an empty one; `--resume` continues a copy of the same store"));
        }
        self.mark_target(Some(options.from.name())).await?;
        let all = total(source).await.map_err(store_error)?;
        let began = tokio::time::Instant::now();
        let mut reported_at = began;
        let mut after = None;
        let mut read = JobsRead::default();
        loop {
            let exports = source.export(after, PAGE).await.map_err(store_error)?;
            let Some(last) = exports.last().map(|export| export.job.id) else { break };
            let mut readable = Vec::with_capacity(exports.len());
            for export in exports {
                match &export.job.state.unreadable {
                    Some(why) => copied.unreadable.job(&export.job, why.clone()),
                    None => {
                        read.add(&export);
                        readable.push(export);
                    }
                }
            }
            let exports = readable;
            if options.resume {
                self.same_there(&exports, after).await?;
            }
            let ids: Vec<JobId> = exports.iter().map(|export| export.job.id).collect();
            copied.jobs += target.import(exports).await.map_err(store_error)?;
            for id in ids {
                copied.log_chunks += self.log(id).await.map_err(store_error)?;
            }
            after = Some(last);
            for held in [&mut self.source, &mut self.target] {
                held.renew().await.map_err(store_error)?;
            }
            if reported_at.elapsed() >= PROGRESS_PERIOD {
                reported_at = tokio::time::Instant::now();
                let done = read.jobs + copied.unreadable.job_count;
                progress(&format!("{done} of {all} jobs"));
            }
        }
        copied.keys = self.keys().await.map_err(store_error)?;
        self.pauses().await.map_err(store_error)?;
        let (slots, dependencies) = self.schedules(&mut copied).await.map_err(store_error)?;
        let tokens = self.tokens(&mut copied).await.map_err(store_error)?;
        let rows = source.row_counts().await.map_err(store_error)?;
        let unreadable = &mut copied.unreadable;
        unreadable.attempts = rows.attempts.saturating_sub(read.attempts);
        unreadable.log_chunks = rows.log_chunks.saturating_sub(copied.log_chunks);
        unreadable.keys = rows.keys.saturating_sub(copied.keys);
        unreadable.slots = rows.slots.saturating_sub(slots);
        unreadable.dependencies = rows.dependencies.saturating_sub(dependencies);
        unreadable.tokens = rows.tokens.saturating_sub(tokens);
        let next = source.next_job().await.map_err(store_error)?;
        target.skip_jobs(next).await.map_err(store_error)?;
        copied.next_job = target.next_job().await.map_err(store_error)?.0;
        // This also syncs earlier writes that were not synced at once.
        target.check_writable().await.map_err(store_error)?;
        if read.jobs + copied.unreadable.job_count != all {
            return Err(not_same("the source has other jobs than it counts"));
        }
        self.compare(read).await?;
        // A node that started meanwhile did not lead, but may have accepted jobs that are not in the copy.
        if let Some(node) = live_node(source).await? {
            let message =
                format!("a node started on the store `{}` during the copy", self.source.shown);
            return Err(CliError::new(Exit::Conflict, "in_use", message)
                .cause(format!("the node `{node}` is live on it"))
                .hint("stop it, then copy into another empty store"));
        }
        if !copied.unreadable.is_empty() && !options.skip_unreadable {
            return Ok(copied);
        }
        let mut home = source.home().await.map_err(store_error)?;
        home.moved_to = Some(options.to.name());
        source.put_home(home).await.map_err(store_error)?;
        self.mark_target(None).await?;
        copied.moved = true;
        Ok(copied)
    }

    async fn mark_target(&self, copying_from: Option<String>) -> Result<(), CliError> {
        let target = self.target.store;
        let home = target.home().await.map_err(store_error)?;
        target.put_home(Home { copying_from, ..home }).await.map_err(store_error)
    }

    /// A job that exists in the target under the same id must be the same job.
    async fn same_there(
        &self,
        exports: &[JobExport],
        after: Option<JobId>,
    ) -> Result<(), CliError> {
        let there = self.target.store.export(after, PAGE).await.map_err(store_error)?;
        let of =
            |job: &Job| (job.id, job.state.created_at, job.spec.name.clone(), job.spec.key.clone());
        for known in &there {
            let same = exports.iter().find(|export| export.job.id == known.job.id);
            if let Some(export) = same
                && of(&export.job) != of(&known.job)
            {
                let message = format!("job `{}` of the target is another job", known.job.id);
                return Err(CliError::new(Exit::Conflict, "not_same", message)
                    .cause(format!("`{}` has accepted jobs itself", self.target.shown))
                    .hint("copy into an empty store"));
            }
        }
        Ok(())
    }

    async fn log(&self, job: JobId) -> Result<u64, StoreError> {
        let mut request = LogRequest {
            job,
            after: LogCursor::default(),
            attempt: None,
            streams: Vec::new(),
            limit_bytes: LOG_BYTES,
        };
        let mut count = 0;
        loop {
            let chunks = self.source.store.read_logs(request.clone()).await?;
            let Some(last) = chunks.last() else { return Ok(count) };
            request.after = LogCursor { attempt: last.attempt, seq: last.seq };
            count += chunks.len() as u64;
            self.target.store.append_logs(chunks).await?;
        }
    }

    async fn keys(&self) -> Result<u64, StoreError> {
        let (mut count, mut after) = (0, None);
        loop {
            let keys = self.source.store.export_keys(after, PAGE).await?;
            let Some(last) = keys.last().map(|key| key.key.clone()) else { return Ok(count) };
            count += keys.len() as u64;
            self.target.store.import_keys(keys).await?;
            after = Some(last);
        }
    }

    /// Pauses the queues that are paused.
    async fn pauses(&self) -> Result<(), StoreError> {
        for (queue, pause) in self.source.store.paused_queues().await? {
            // The target knows the queues of the jobs that it has.
            if !self.target.store.pause_queue(queue.clone(), pause).await? {
                tracing::warn!(%queue, "the pause of a queue without jobs is not copied");
            }
        }
        Ok(())
    }

    /// Copies each schedule with its ledger in one transaction, so that an interrupted copy contains it whole
    /// or not at all. Returns the numbers of ledger rows, and of dependencies and alerts, that were read.
    async fn schedules(&mut self, copied: &mut Copied) -> Result<(u64, u64), StoreError> {
        let (mut rows, mut after) = (0, None);
        loop {
            let page = self.source.store.schedules(after, PAGE).await?;
            let Some(last) = page.last().map(|record| record.id().clone()) else { break };
            for record in page {
                if let Some(why) = &record.unreadable {
                    copied.unreadable.schedule(record.id(), why.clone());
                    continue;
                }
                let slots = self.ledger(record.id()).await?;
                rows += slots.len() as u64;
                self.target.store.import_schedules(vec![(record, slots)]).await?;
                copied.schedules += 1;
            }
            after = Some(last);
            self.source.renew().await?;
            self.target.renew().await?;
        }
        let (dependencies, alerts) = self.source.store.dependencies().await?;
        let count = (dependencies.len() + alerts.len()) as u64;
        self.target.store.import_dependencies(dependencies, alerts).await?;
        Ok((rows, count))
    }

    async fn ledger(&self, id: &Name) -> Result<Vec<Slot>, StoreError> {
        let (mut slots, mut before) = (Vec::new(), None);
        loop {
            let request = SlotRequest { id: id.clone(), before, missed: false, limit: PAGE };
            let page = self.source.store.slots(request).await?;
            before = page.last().map(|slot| slot.slot);
            slots.extend(page);
            if before.is_none() || slots.len() as u32 > SLOTS_MOST {
                return Ok(slots);
            }
        }
    }

    /// Copies tokens, except those of nodes, which create their own. Returns how many were read.
    async fn tokens(&self, copied: &mut Copied) -> Result<u64, StoreError> {
        let tokens = self.source.store.tokens().await?;
        let read = tokens.len() as u64;
        for token in tokens {
            if token.scopes.iter().all(|scope| scope == "node") {
                continue;
            }
            self.target.store.put_token(token).await?;
            copied.tokens += 1;
        }
        Ok(read)
    }

    /// # Errors
    /// The target differs in its jobs, their statuses, or its dead letters.
    async fn compare(&self, read: JobsRead) -> Result<(), CliError> {
        let mut there = self.target.store.queue_counts().await.map_err(store_error)?;
        there.retain(|(_, counts)| *counts != StatusCounts::default());
        let dead = self.target.store.dead_letter_count(u64::MAX).await.map_err(store_error)?;
        if !read.counts.into_iter().eq(there) || dead != read.dead {
            return Err(not_same("jobs by queue and status, or dead letters, differ"));
        }
        Ok(())
    }
}

fn not_same(cause: &str) -> CliError {
    let message = "the copy is not the same as what was copied";
    CliError::new(Exit::Failed, "not_same", message)
        .cause(cause)
        .hint("nothing may use either store meanwhile: copy again into an empty one")
}

async fn total(store: &dyn Store) -> Result<u64, StoreError> {
    let mut all = StatusCounts::default();
    for (_, counts) in store.queue_counts().await? {
        all.add(&counts);
    }
    Ok(orx_model::JobStatus::ALL.into_iter().map(|status| all.of(status)).sum())
}
