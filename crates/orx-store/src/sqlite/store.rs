//! Implements the traits of the store: each method sends a command to the writer or reads.

use std::time::Duration;

use async_trait::async_trait;
use orx_model::filter::Filter;
use orx_model::log::{LogChunk, LogCursor};
use orx_model::message::{ExecutionProgress, ExecutionRef, Started, WorkerDirective};
use orx_model::schedule::Slot;
use orx_model::wire::{Count, StatusCounts};
use orx_model::{
    Attempt, Incarnation, Job, JobId, JobSummary, Name, NewJob, Outcome, OutcomeKind, SecretHash,
    Timestamp,
};
use rusqlite::Connection;

use super::claim::Taken;
use super::db_error::DbResult;
use super::keep::WorkerRow;
use super::transfer::PreparedImport;
use super::writer::Tx;
use super::{Kind, Sqlite, change, claim, enqueue, keep, open, outcome};
use super::{read, read_beside, schedules, transfer};
use crate::budget::Reads;
use crate::error::prepared;
use crate::filter_pushdown;
use crate::prepared_firing::{self, NewPlan, NewSettle, PreparedFiring};
use crate::prepared_job::PreparedJob;
use crate::walk::{Found, Walk};
use crate::{
    CancelAnswer, CancelCommand, Changed, ClaimRequest, Claims, ClockJump, ClockNote,
    DeadLetterRow, DeadLetters, DependencyStep, Dispatching, Durability, Enqueued, Fired, Firing,
    Holder, Home, JobExport, Jobs, Lead, LeadRequest, Leases, ListRequest, Live, LogRequest, Logs,
    NodeRecord, NodeReport, Page, Promoted, PruneRequest, Pruned, Recorded, Result, RetainedKey,
    RetryAnswer, Rewind, RowCounts, RunDependency, SchedulePlan, ScheduleRecord, Schedules,
    Settled, SlotRequest, StoreError, StoreInfo, Term, TokenRecord, Tokens, Transfer, Upkeep,
    WorkerPut, WorkerRecord, WorkerRemoval, WorkerReport, Workers,
};

const TOO_BROAD: StoreError = StoreError::TooBroad { limit: filter_pushdown::SCAN_MAX };
/// Bytes that count as one row in the weight of a write.
const ROW_BYTES: usize = 1024;

impl Sqlite {
    /// Runs a leader-only write, and compares the term in the same transaction.
    async fn lead_write<T: Send + 'static>(
        &self,
        action: &'static str,
        kind: Kind,
        weight: usize,
        term: Term,
        mut run: impl FnMut(&mut Tx<'_>) -> DbResult<T> + Send + 'static,
    ) -> Result<T> {
        let fenced = move |tx: &mut Tx<'_>| {
            // `None` instead of an error, which would roll back the other commands of the batch.
            if tx.cache.leads(term) { run(tx).map(Some) } else { Ok(None) }
        };
        self.write(action, kind, weight, fenced).await?.ok_or(StoreError::Deposed)
    }
}

#[async_trait]
impl Jobs for Sqlite {
    async fn enqueue(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Enqueued>> {
        let action = "accept the jobs";
        let jobs =
            jobs.into_iter().map(PreparedJob::new).collect::<std::result::Result<Vec<_>, _>>();
        let jobs = prepared(action, jobs)?;
        let weight = jobs.iter().map(|job| 1 + job.bytes() / ROW_BYTES).sum();
        let run = move |tx: &mut Tx<'_>| enqueue::enqueue(tx, &jobs, now);
        self.write(action, Kind::Durable, weight, run).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.read("read the job", move |conn| read::job(conn, id)).await
    }

    async fn jobs(&self, ids: Vec<JobId>) -> Result<Vec<Job>> {
        let read = move |conn: &Connection| read::jobs(conn, &ids);
        self.read_of(Reads::Scan, "read the jobs", read).await
    }

    async fn job_by_key(&self, key: &str) -> Result<Option<Job>> {
        let key = key.to_owned();
        self.read("read the job", move |conn| read::job_by_key(conn, &key)).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>> {
        self.read("read the attempts", move |conn| read::attempts(conn, id)).await
    }

    async fn list(&self, request: ListRequest, now: Timestamp) -> Result<Page<JobSummary>> {
        let walk = self.walk("list the jobs", Walk::page(request, now), false).await?;
        walk.into_page(|found| found.job).ok_or(TOO_BROAD)
    }

    async fn count(&self, filter: Filter, most: u64, now: Timestamp) -> Result<Count> {
        if filter_pushdown::is_counted(&filter) {
            let count = filter_pushdown::counted(&filter, &self.queue_counts().await?);
            return Ok(Count { count: count.min(most), exact: count <= most });
        }
        let walk = self.walk("count the jobs", Walk::count(filter, most, now), false).await?;
        walk.into_count().ok_or(TOO_BROAD)
    }

    async fn queue_counts(&self) -> Result<Vec<(Name, StatusCounts)>> {
        self.read_of(Reads::Piece, "count the jobs", read::queue_counts).await
    }

    async fn oldest_due(&self) -> Result<Vec<(Name, Timestamp)>> {
        self.read_of(Reads::Piece, "read the due times", read::oldest_due).await
    }

    async fn cancel(
        &self,
        cancels: Vec<CancelCommand>,
        now: Timestamp,
    ) -> Result<Vec<CancelAnswer>> {
        let weight = cancels.len();
        let run = move |tx: &mut Tx<'_>| change::cancel(tx, &cancels, now);
        self.write("cancel the jobs", Kind::Durable, weight, run).await
    }

    async fn retry(&self, ids: Vec<JobId>, now: Timestamp) -> Result<Vec<RetryAnswer>> {
        let weight = ids.len();
        let run = move |tx: &mut Tx<'_>| change::retry(tx, &ids, now);
        self.write("retry the jobs", Kind::Durable, weight, run).await
    }
}

#[async_trait]
impl Dispatching for Sqlite {
    async fn claim_ready(
        &self,
        requests: Vec<ClaimRequest>,
        term: Term,
        now: Timestamp,
    ) -> Result<Claims> {
        let action = "claim jobs";
        let weight = requests.iter().map(|request| request.executions.len()).sum();
        let run = move |tx: &mut Tx<'_>| claim::claim(tx, &requests, term.epoch, now);
        let (taken, expired) = self.lead_write(action, Kind::Advisory, weight, term, run).await?;
        let claimed = taken.into_iter().filter_map(Taken::dispatch).collect();
        Ok(Claims { claimed, expired })
    }

    async fn promote_due(&self, term: Term, now: Timestamp, limit: u32) -> Result<Promoted> {
        let run = move |tx: &mut Tx<'_>| change::promote(tx, now, limit);
        let (action, weight) = ("promote due jobs", limit as usize);
        self.lead_write(action, Kind::Durable, weight, term, run).await
    }

    async fn clock_was_set(&self, jump: ClockJump, term: Term, now: Timestamp) -> Result<u64> {
        let run = move |tx: &mut Tx<'_>| change::clock_was_set(tx, jump, now);
        self.lead_write("adjust the waits of jobs", Kind::Durable, 1, term, run).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.read("read the due times", read::next_due).await
    }

    async fn mark_started(&self, started: Vec<Started>, now: Timestamp) -> Result<()> {
        let weight = started.len();
        let run = move |tx: &mut Tx<'_>| outcome::mark_started(tx, &started, now);
        self.write("record the started attempts", Kind::Advisory, weight, run).await
    }

    async fn record_progress(&self, progress: Vec<ExecutionProgress>) -> Result<()> {
        let weight = progress.len();
        let run = move |tx: &mut Tx<'_>| outcome::record_progress(tx, &progress);
        self.write("record progress", Kind::Advisory, weight, run).await
    }

    async fn record_outcomes(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        let weight = outcomes_weight(&outcomes);
        let run = move |tx: &mut Tx<'_>| outcome::record(tx, &outcomes, &draws, now);
        self.write("record the outcomes", Kind::Durable, weight, run).await
    }

    async fn give_up(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        term: Term,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        let weight = outcomes_weight(&outcomes);
        let run = move |tx: &mut Tx<'_>| outcome::record(tx, &outcomes, &draws, now);
        self.lead_write("record lost attempts", Kind::Durable, weight, term, run).await
    }

    async fn live_attempts(&self) -> Result<Vec<Live>> {
        self.read_of(Reads::Piece, "read the live attempts", read::live_attempts).await
    }

    async fn live_attempts_of(&self, workers: Vec<Incarnation>) -> Result<Vec<Live>> {
        let read = move |conn: &Connection| read::live_attempts_of(conn, &workers);
        self.read("read the live attempts", read).await
    }

    async fn holders(&self, executions: Vec<ExecutionRef>) -> Result<Vec<Option<Holder>>> {
        let read = move |conn: &Connection| read::holders(conn, &executions);
        self.read("read the holders of executions", read).await
    }
}

fn outcomes_weight(outcomes: &[Outcome]) -> usize {
    let weight = outcomes.iter().map(|outcome| match &outcome.kind {
        OutcomeKind::Succeeded { result: Some(result) } => 1 + result.get().len() / ROW_BYTES,
        _ => 1,
    });
    weight.sum()
}

#[async_trait]
impl Schedules for Sqlite {
    async fn add_schedule(&self, plan: SchedulePlan, now: Timestamp) -> Result<bool> {
        let action = "store the schedule";
        let plan = prepared(action, NewPlan::new(plan))?;
        let run = move |tx: &mut Tx<'_>| schedules::add(tx, &plan, now);
        self.write(action, Kind::Durable, 2, run).await
    }

    async fn schedule(&self, id: &Name) -> Result<Option<ScheduleRecord>> {
        let id = id.clone();
        self.read("read the schedule", move |conn| schedules::one(conn, &id)).await
    }

    async fn schedules(&self, after: Option<Name>, limit: u32) -> Result<Vec<ScheduleRecord>> {
        let read = move |conn: &Connection| {
            schedules::list(conn, after.as_ref().map_or("", Name::as_str), limit)
        };
        self.read_of(Reads::Piece, "read the schedules", read).await
    }

    async fn change_schedule(
        &self,
        version: u64,
        handled: Timestamp,
        plan: SchedulePlan,
        row: Option<Slot>,
        now: Timestamp,
    ) -> Result<Changed> {
        let action = "change the schedule";
        let plan = prepared(action, NewPlan::new(plan))?;
        let run = move |tx: &mut Tx<'_>| {
            schedules::change(tx, (version, handled), &plan, row.as_ref(), now)
        };
        self.write(action, Kind::Durable, 3, run).await
    }

    async fn remove_schedule(&self, id: &Name, version: Option<u64>) -> Result<Changed> {
        let id = id.clone();
        let run = move |tx: &mut Tx<'_>| schedules::remove(tx, &id, version);
        self.write("remove the schedule", Kind::Durable, 10, run).await
    }

    async fn due_schedules(&self, now: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>> {
        let read = move |conn: &Connection| schedules::due(conn, now, limit);
        self.read_of(Reads::Piece, "read the due schedules", read).await
    }

    async fn next_fire(&self, after: Timestamp) -> Result<Option<Timestamp>> {
        self.read("read the due times", move |conn| schedules::next_fire(conn, after)).await
    }

    async fn fire(
        &self,
        fires: Vec<Firing>,
        term: Option<Term>,
        now: Timestamp,
    ) -> Result<Vec<Option<Fired>>> {
        let action = "fire the schedules";
        let fires = prepared(action, PreparedFiring::all(fires))?;
        let weight = fires.iter().map(PreparedFiring::weight).sum();
        let run = move |tx: &mut Tx<'_>| schedules::fire(tx, &fires, now);
        match term {
            Some(term) => self.lead_write(action, Kind::Durable, weight, term, run).await,
            None => self.write(action, Kind::Durable, weight, run).await,
        }
    }

    async fn slots(&self, request: SlotRequest) -> Result<Vec<Slot>> {
        let read = move |conn: &Connection| schedules::slots(conn, &request);
        self.read_of(Reads::Piece, "read the ledger", read).await
    }

    async fn missed_since(&self, since: Timestamp) -> Result<Vec<(Name, u64)>> {
        let read = move |conn: &Connection| schedules::missed_since(conn, since);
        self.read_of(Reads::Piece, "read the missed slots", read).await
    }

    async fn is_watching(&self) -> Result<bool> {
        self.read("read the run dependencies", schedules::is_watching).await
    }

    async fn watched(&self, limit: u32) -> Result<Vec<RunDependency>> {
        let read = move |conn: &Connection| schedules::watched(conn, limit);
        self.read("read the run dependencies", read).await
    }

    async fn settle(
        &self,
        settles: Vec<DependencyStep>,
        term: Term,
        now: Timestamp,
    ) -> Result<Vec<Settled>> {
        let action = "settle the run dependencies";
        let settles = prepared(action, NewSettle::all(settles))?;
        let weight = settles.len() * 3;
        let run = move |tx: &mut Tx<'_>| schedules::settle(tx, &settles, now);
        self.lead_write(action, Kind::Durable, weight, term, run).await
    }

    async fn schedules_ahead(&self, of: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>> {
        let action = "read the schedules ahead of the clock";
        self.read(action, move |conn| schedules::ahead(conn, of, limit)).await
    }

    async fn rewind(&self, rewinds: Vec<Rewind>, term: Term, _now: Timestamp) -> Result<Vec<bool>> {
        let weight = rewinds.len() * 4;
        let run = move |tx: &mut Tx<'_>| schedules::rewind(tx, &rewinds);
        self.lead_write("rewind the schedules", Kind::Durable, weight, term, run).await
    }

    async fn prune_slots(&self, before: Timestamp, limit: u32, term: Term) -> Result<u64> {
        let run = move |tx: &mut Tx<'_>| schedules::prune(tx, before, limit);
        let (action, weight) = ("delete old slots", limit as usize);
        self.lead_write(action, Kind::Durable, weight, term, run).await
    }

    async fn import_schedules(&self, all: Vec<(ScheduleRecord, Vec<Slot>)>) -> Result<()> {
        let action = "import the schedules";
        let weight = all.iter().map(|(_, slots)| 2 + slots.len()).sum();
        let all = prepared(action, prepared_firing::imports(all))?;
        let run = move |tx: &mut Tx<'_>| schedules::import(tx, &all);
        self.write(action, Kind::Durable, weight, run).await
    }

    async fn all_watched(&self) -> Result<Vec<RunDependency>> {
        self.read_of(Reads::Scan, "read the run dependencies", schedules::all_watched).await
    }

    async fn import_watched(&self, watched: Vec<RunDependency>) -> Result<()> {
        let action = "import the run dependencies";
        let all = prepared(action, prepared_firing::watched(watched))?;
        let weight = all.len();
        let run = move |tx: &mut Tx<'_>| schedules::import_watched(tx, &all);
        self.write(action, Kind::Durable, weight, run).await
    }
}

#[async_trait]
impl Logs for Sqlite {
    async fn append_logs(&self, chunks: Vec<LogChunk>) -> Result<()> {
        let weight = chunks.iter().map(|chunk| 1 + chunk.bytes.len() / ROW_BYTES).sum();
        let run = move |tx: &mut Tx<'_>| keep::append_logs(tx, &chunks);
        self.write("store the log", Kind::Advisory, weight, run).await
    }

    async fn read_logs(&self, request: LogRequest) -> Result<Vec<LogChunk>> {
        let read = move |conn: &Connection| read_beside::read_logs(conn, &request);
        self.read_of(Reads::Piece, "read the log", read).await
    }

    async fn log_tail(&self, request: LogRequest, lines: u32) -> Result<LogCursor> {
        let read = move |conn: &Connection| read_beside::log_tail(conn, &request, lines);
        self.read_of(Reads::Scan, "read the log", read).await
    }
}

#[async_trait]
impl Workers for Sqlite {
    async fn put_workers(
        &self,
        workers: Vec<(SecretHash, WorkerReport)>,
        now: Timestamp,
    ) -> Result<Vec<WorkerPut>> {
        let action = "record the workers";
        let rows = workers.iter().map(WorkerRow::new).collect::<std::result::Result<Vec<_>, _>>();
        let rows = prepared(action, rows)?;
        let weight = rows.len();
        let run = move |tx: &mut Tx<'_>| keep::put_workers(tx, &rows, now);
        self.write(action, Kind::Advisory, weight, run).await
    }

    async fn worker_secret(&self, worker: Incarnation) -> Result<Option<SecretHash>> {
        let read = move |conn: &Connection| read_beside::worker_secret(conn, worker);
        self.read("read the secret of a worker", read).await
    }

    async fn workers(&self, now: Timestamp) -> Result<Vec<WorkerRecord>> {
        self.read("read the workers", move |conn| read_beside::workers(conn, now)).await
    }

    async fn order_workers(
        &self,
        workers: Vec<Incarnation>,
        order: Option<WorkerDirective>,
    ) -> Result<Vec<bool>> {
        let weight = workers.len();
        let run = move |tx: &mut Tx<'_>| keep::order_workers(tx, &workers, order);
        self.write("order the workers", Kind::Durable, weight, run).await
    }

    async fn remove_workers(
        &self,
        workers: Vec<Incarnation>,
        removal: WorkerRemoval,
    ) -> Result<()> {
        let weight = workers.len();
        let run = move |tx: &mut Tx<'_>| keep::remove_workers(tx, &workers, removal);
        self.write("delete the workers", Kind::Advisory, weight, run).await
    }
}

#[async_trait]
impl Leases for Sqlite {
    async fn lead(&self, request: LeadRequest, now: Timestamp) -> Result<Lead> {
        let run = move |tx: &mut Tx<'_>| keep::lead(tx, &request, now);
        self.write("take the lead", Kind::Durable, 1, run).await
    }

    async fn step_down(&self, term: Term) -> Result<bool> {
        let run = move |tx: &mut Tx<'_>| keep::step_down(tx, term);
        self.write("step down", Kind::Durable, 1, run).await
    }

    async fn leader(&self, now: Timestamp) -> Result<Option<(Term, Duration)>> {
        // The lease is in the memory of the writer. This command writes nothing.
        let run = move |tx: &mut Tx<'_>| Ok(keep::leader(tx, now));
        self.write("read the leader", Kind::Advisory, 1, run).await
    }

    async fn put_node(&self, node: NodeReport, now: Timestamp) -> Result<()> {
        let run = move |tx: &mut Tx<'_>| keep::put_node(tx, &node, now);
        self.write("record the node", Kind::Advisory, 1, run).await
    }

    async fn nodes(&self, now: Timestamp) -> Result<Vec<NodeRecord>> {
        self.read("read the nodes", move |conn| read_beside::nodes(conn, now)).await
    }

    async fn remove_nodes(&self, nodes: Vec<Incarnation>) -> Result<()> {
        let weight = nodes.len();
        let run = move |tx: &mut Tx<'_>| keep::remove_nodes(tx, &nodes);
        self.write("delete the nodes", Kind::Advisory, weight, run).await
    }
}

#[async_trait]
impl Transfer for Sqlite {
    async fn row_counts(&self) -> Result<RowCounts> {
        self.read_of(Reads::Scan, "count the rows", read_beside::row_counts).await
    }

    async fn export(&self, after: Option<JobId>, limit: u32) -> Result<Vec<JobExport>> {
        let after = after.map_or(0, |after| after.0);
        let read = move |conn: &Connection| read_beside::export(conn, after, limit);
        self.read_of(Reads::Scan, "read the jobs", read).await
    }

    async fn import(&self, jobs: Vec<JobExport>) -> Result<u64> {
        let action = "import the jobs";
        let imports = jobs.into_iter().map(PreparedImport::new);
        let imports = imports.collect::<std::result::Result<Vec<_>, _>>();
        let imports = prepared(action, imports)?;
        let weight = imports.iter().map(|one| 1 + one.bytes() / ROW_BYTES).sum();
        let run = move |tx: &mut Tx<'_>| transfer::import(tx, &imports);
        self.write(action, Kind::Durable, weight, run).await
    }

    async fn export_keys(&self, after: Option<String>, limit: u32) -> Result<Vec<RetainedKey>> {
        let after = after.unwrap_or_default();
        let read = move |conn: &Connection| read_beside::kept_keys(conn, &after, limit);
        self.read_of(Reads::Scan, "read the keys", read).await
    }

    async fn home(&self) -> Result<Home> {
        self.read("read where the store is served", transfer::home).await
    }

    async fn put_home(&self, home: Home) -> Result<()> {
        let run = move |tx: &mut Tx<'_>| transfer::put_home(tx, &home);
        self.write("record where the store is served", Kind::Durable, 1, run).await
    }

    async fn import_keys(&self, keys: Vec<RetainedKey>) -> Result<()> {
        let weight = keys.len();
        let run = move |tx: &mut Tx<'_>| transfer::import_keys(tx, &keys);
        self.write("import the keys", Kind::Durable, weight, run).await
    }

    async fn next_job(&self) -> Result<JobId> {
        let run = |tx: &mut Tx<'_>| Ok(JobId(tx.cache.peek_next_job()));
        self.write("read the next id", Kind::Advisory, 1, run).await
    }

    async fn skip_jobs(&self, next: JobId) -> Result<()> {
        let run = move |tx: &mut Tx<'_>| transfer::skip_jobs(tx, next.0);
        self.write("skip ids", Kind::Durable, 1, run).await
    }
}

#[async_trait]
impl DeadLetters for Sqlite {
    async fn dead_letters(
        &self,
        request: ListRequest,
        now: Timestamp,
    ) -> Result<Page<DeadLetterRow>> {
        let walk = self.walk("read the dead letters", Walk::page(request, now), true).await?;
        walk.into_page(Found::letter).ok_or(TOO_BROAD)
    }

    async fn dead_letter_count(&self, most: u64) -> Result<u64> {
        let read = move |conn: &Connection| read::dead_letter_count(conn, most);
        self.read_of(Reads::Piece, "count the dead letters", read).await
    }

    async fn delete_dead_letters(&self, ids: Vec<JobId>) -> Result<Vec<bool>> {
        let weight = ids.len();
        let run = move |tx: &mut Tx<'_>| change::delete_dead_letters(tx, &ids);
        self.write("delete the dead letters", Kind::Durable, weight, run).await
    }
}

#[async_trait]
impl Tokens for Sqlite {
    async fn put_token(&self, token: TokenRecord) -> Result<()> {
        let run = move |tx: &mut Tx<'_>| keep::put_token(tx, &token);
        self.write("store the token", Kind::Durable, 1, run).await
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>> {
        let id = id.to_owned();
        self.read("read the token", move |conn| read_beside::token(conn, &id)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        self.read("read the tokens", read_beside::tokens).await
    }

    async fn forget_tokens(&self, ended_before: Timestamp) -> Result<u64> {
        let run = move |tx: &mut Tx<'_>| keep::forget_tokens(tx, ended_before);
        self.write("delete old tokens", Kind::Durable, 1, run).await
    }
}

/// With less free space on its disk a store counts as full: the largest write might fail.
const MIN_FREE_BYTES: u64 = 1024 * 1024;

/// Bytes that this process can still write to the disk; `None` if the system does not report them.
fn free_bytes(path: &std::path::Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    let free = if rustix::process::geteuid().is_root() { disk.f_bfree } else { disk.f_bavail };
    Some(free.saturating_mul(disk.f_frsize))
}

#[async_trait]
impl Upkeep for Sqlite {
    fn info(&self) -> StoreInfo {
        let durability = match self.shared.options.durability {
            Durability::Full => "full",
            Durability::Relaxed => "may lose the last moments at power loss",
        };
        StoreInfo { kind: "sqlite", durability, schema: open::SCHEMA }
    }

    async fn look(&self) -> Result<()> {
        self.usable()?;
        // The small row of `check_writable` may still fit on a disk that is full for other writes.
        if free_bytes(&self.shared.options.path).is_some_and(|free| free < MIN_FREE_BYTES) {
            return Err(StoreError::Full);
        }
        Ok(())
    }

    async fn check_writable(&self) -> Result<()> {
        self.look().await?;
        self.write("write to the store", Kind::Durable, 1, keep::touch).await
    }

    async fn prune(&self, request: PruneRequest, term: Term) -> Result<Pruned> {
        let run = move |tx: &mut Tx<'_>| keep::prune(tx, &request);
        let (action, weight) =
            ("delete old jobs", request.limit.saturating_add(request.chunks) as usize);
        self.lead_write(action, Kind::Durable, weight, term, run).await
    }

    async fn forget_keys(&self, now: Timestamp, limit: u32, term: Term) -> Result<u64> {
        let run = move |tx: &mut Tx<'_>| keep::forget_keys(tx, now, limit);
        let (action, weight) = ("delete old keys", limit as usize);
        self.lead_write(action, Kind::Durable, weight, term, run).await
    }

    async fn clock(&self) -> Result<Option<ClockNote>> {
        self.read("read the clock note", read_beside::clock).await
    }

    async fn note_clock(&self, note: ClockNote, term: Term) -> Result<()> {
        let run = move |tx: &mut Tx<'_>| keep::note_clock(tx, &note);
        self.lead_write("record the clock", Kind::Advisory, 1, term, run).await
    }

    async fn close(&self) -> Result<()> {
        self.shared.end().await
    }
}
