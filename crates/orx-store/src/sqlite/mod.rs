//! The store of one machine: an SQLite file in WAL mode, one thread that writes, readers apart.
//!
//! A batch with anything durable in it commits with `synchronous=FULL`; one of advisory changes
//! alone with `NORMAL`, and is synced within [`crate::ADVISORY_SYNC`]. SQLite's own documentation
//! says what that means: a `NORMAL` commit survives the death of the process and may be lost with
//! the machine's power, together with the commits after it but never one before a `FULL` one.

mod dispatch;
mod jobs;
mod read;
mod rows;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use orx_model::filter::Filter;
use orx_model::log::{LogChunk, LogCursor};
use orx_model::message::{ExecutionProgress, Started};
use orx_model::wire::{Count, StatusCounts};
use orx_model::{Attempt, Incarnation, Job, JobId, JobSpec, Name, Outcome, Timestamp};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::{
    CancelAnswer, CancelCommand, ClaimRequest, Claimed, DeadLetterRow, DeadLetters, Dispatching,
    Enqueued, Jobs, ListRequest, Live, LogRequest, Logs, Page, Promoted, PruneRequest, Recorded,
    Result, RetryAnswer, StoreError, StoreInfo, TokenRecord, Tokens, Upkeep, WorkerRecord, Workers,
};
use writer::{Call, Order, Tx, WRITE_DEADLINE, Writer, failed};

const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_initial.sql")];
/// Of this kind of file, in its header: `orx1`.
const APPLICATION_ID: i32 = 0x6f72_7831;
/// Writes that wait or run; further callers wait, with a deadline.
const WRITES: usize = 4_096;
const READERS: usize = 4;
const READ_DEADLINE: Duration = Duration::from_secs(5);
/// Write-ahead log pages before they are moved to the main file: 16 MiB.
const CHECKPOINT_PAGES: u32 = 4_096;

/// What an accepted job can survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The loss of power.
    #[default]
    Full,
    /// The death of the process; the last moments may go with the power.
    Relaxed,
}

#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The database file; beside it stand its `-wal`, `-shm` and `.lock`.
    pub path: PathBuf,
    pub durability: Durability,
    /// The file grows no larger: beyond, writes are refused as on a full disk.
    pub max_bytes: Option<u64>,
}

impl SqliteOptions {
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), durability: Durability::Full, max_bytes: None }
    }
}

pub struct Sqlite {
    orders: Mutex<Option<SyncSender<Order>>>,
    writes: Arc<Semaphore>,
    readers: Readers,
    durability: Durability,
    failed: watch::Receiver<bool>,
    /// Held while the store is open; the system frees it however the process ends.
    _lock: File,
}

impl Sqlite {
    /// Opens or makes the file, takes its lock, and brings its schema up to date. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Held`], [`StoreError::NewerSchema`], [`StoreError::Damaged`],
    /// [`StoreError::Full`], or [`StoreError::Open`].
    pub fn open(options: SqliteOptions) -> Result<Self> {
        let path = &options.path;
        let lock = lock(path)?;
        let mut db = connect(path, false)?;
        let damaged_or_open = |error: rusqlite::Error| open_error(path, error);
        db.pragma_update(None, "journal_mode", "WAL").map_err(damaged_or_open)?;
        db.pragma_update(None, "synchronous", "FULL").map_err(damaged_or_open)?;
        db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(damaged_or_open)?;
        db.pragma_update(None, "journal_size_limit", 64 << 20).map_err(damaged_or_open)?;
        db.pragma_update(None, "cache_size", -32_768).map_err(damaged_or_open)?;
        migrate(&mut db, path)?;
        if let Some(bytes) = options.max_bytes {
            let page: u64 = db
                .pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))
                .map_err(damaged_or_open)? as u64;
            db.pragma_update(None, "max_page_count", (bytes / page.max(1)) as i64)
                .map_err(damaged_or_open)?;
        }
        db.set_prepared_statement_cache_capacity(128);
        let readers = Readers::open(path)?;
        let (orders, ordered) = sync_channel(WRITES + 1);
        let (failed_is, failed) = watch::channel(false);
        let writer =
            Writer { db, durability: options.durability, orders: ordered, failed: failed_is };
        std::thread::Builder::new()
            .name("orx-store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Open { path: path.clone(), source: error.into() })?;
        Ok(Self {
            orders: Mutex::new(Some(orders)),
            writes: Arc::new(Semaphore::new(WRITES)),
            readers,
            durability: options.durability,
            failed,
            _lock: lock,
        })
    }

    /// Resolves once the disk failed under the store: the process should end, and be started anew.
    pub async fn failed(&self) {
        let mut failed = self.failed.clone();
        // An error says that the writer is gone, which is as bad.
        let _ = failed.wait_for(|failed| *failed).await;
    }

    fn order(&self, order: Order) -> Result<()> {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = orders.as_ref().ok_or(StoreError::Closed)?;
        // The semaphore keeps the channel from ever being full; closed, the writer is gone.
        sender.try_send(order).map_err(|_| {
            if *self.failed.borrow() { StoreError::Failed } else { StoreError::Closed }
        })
    }

    async fn write<R: Send + 'static>(
        &self,
        durable: bool,
        f: impl FnMut(&mut Tx<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let acquire = Arc::clone(&self.writes).acquire_owned();
        let permit = tokio::time::timeout(WRITE_DEADLINE, acquire)
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let durable = durable && self.durability == Durability::Full;
        self.order(Order::Run(Box::new(Call { f, found: None, reply, durable })))?;
        let answered = tokio::time::timeout(WRITE_DEADLINE, answer).await;
        drop(permit);
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) if *self.failed.borrow() => Err(StoreError::Failed),
            // The writer ended with the order in hand: done or not, nobody knows.
            Ok(Err(_)) | Err(_) => Err(StoreError::Unknown),
        }
    }

    async fn durable<R: Send + 'static>(
        &self,
        f: impl FnMut(&mut Tx<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.write(true, f).await
    }

    async fn advisory<R: Send + 'static>(
        &self,
        f: impl FnMut(&mut Tx<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.write(false, f).await
    }
}

fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let open = |source: std::io::Error| StoreError::Open {
        path: path.to_owned(),
        source: source.into(),
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(PathBuf::from(name))
        .map_err(open)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let folder = path.parent().unwrap_or(path);
            Err(StoreError::Held { path: folder.to_owned() })
        }
        Err(error) => Err(open(error.into())),
    }
}

fn connect(path: &Path, read_only: bool) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_READ_WRITE
        | if read_only { OpenFlags::empty() } else { OpenFlags::SQLITE_OPEN_CREATE };
    let db = Connection::open_with_flags(path, flags).map_err(|error| open_error(path, error))?;
    db.busy_timeout(Duration::from_secs(5)).map_err(|error| open_error(path, error))?;
    if read_only {
        db.pragma_update(None, "query_only", true).map_err(|error| open_error(path, error))?;
        db.set_prepared_statement_cache_capacity(64);
    }
    Ok(db)
}

fn open_error(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged { path: path.to_owned(), detail: error.to_string() }
        }
        Some(ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Open { path: path.to_owned(), source: Box::new(error) },
    }
}

fn migrate(db: &mut Connection, path: &Path) -> Result<()> {
    let error = |error| open_error(path, error);
    let transaction = db
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(error)?;
    let read = |name: &str| {
        transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(error)
    };
    let (found, kind) = (read("user_version")?, read("application_id")?);
    let known = MIGRATIONS.len() as u32;
    let found = found.max(0) as u32;
    if found > known {
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, known });
    }
    let tables: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(error)?;
    if kind != APPLICATION_ID && tables > 0 {
        let detail = "it is a database of another program".to_owned();
        return Err(StoreError::Damaged { path: path.to_owned(), detail });
    }
    if found == known {
        return Ok(());
    }
    for migration in &MIGRATIONS[found as usize..] {
        transaction.execute_batch(migration).map_err(error)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(error)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(error)?;
    transaction.commit().map_err(error)
}

/// A few connections that cannot write.
struct Readers {
    free: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    fn open(path: &Path) -> Result<Self> {
        let free: Result<Vec<_>> = (0..READERS).map(|_| connect(path, true)).collect();
        let permits = Arc::new(Semaphore::new(READERS));
        Ok(Self { free: Arc::new(Mutex::new(free?)), permits })
    }

    async fn read<R: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let acquire = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout(READ_DEADLINE, acquire)
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Closed)?;
        let lock = |free: &Mutex<Vec<Connection>>| {
            free.lock().unwrap_or_else(PoisonError::into_inner).pop()
        };
        let db = lock(&self.free).ok_or(StoreError::Closed)?;
        let interrupt = db.get_interrupt_handle();
        let free = Arc::clone(&self.free);
        let mut task = tokio::task::spawn_blocking(move || {
            let result = f(&db);
            free.lock().unwrap_or_else(PoisonError::into_inner).push(db);
            drop(permit);
            result
        });
        match tokio::time::timeout(READ_DEADLINE, &mut task).await {
            Ok(done) => done.unwrap_or(Err(StoreError::Unknown)),
            Err(_) => {
                interrupt.interrupt();
                task.await.unwrap_or(Err(StoreError::Unknown))
            }
        }
    }
}

#[async_trait]
impl Jobs for Sqlite {
    async fn enqueue(&self, jobs: Vec<JobSpec>, now: Timestamp) -> Result<Vec<Enqueued>> {
        self.durable(move |tx| tx.enqueue(&jobs, now)).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.readers.read(move |db| read::job(db, id)).await
    }

    async fn job_by_key(&self, key: &str) -> Result<Option<Job>> {
        let key = key.to_owned();
        self.readers.read(move |db| read::job_by_key(db, &key)).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>> {
        self.readers.read(move |db| read::attempts(db, id)).await
    }

    async fn list(&self, request: ListRequest, now: Timestamp) -> Result<Page<Job>> {
        self.readers.read(move |db| read::list(db, &request, now)).await
    }

    async fn count(&self, filter: Filter, most: u64, now: Timestamp) -> Result<Count> {
        self.readers.read(move |db| read::count(db, &filter, most, now)).await
    }

    async fn queue_counts(&self) -> Result<Vec<(Name, StatusCounts)>> {
        self.readers.read(read::queue_counts).await
    }

    async fn oldest_due(&self) -> Result<Vec<(Name, Timestamp)>> {
        self.readers.read(read::oldest_due).await
    }

    async fn cancel(
        &self,
        cancels: Vec<CancelCommand>,
        now: Timestamp,
    ) -> Result<Vec<CancelAnswer>> {
        self.durable(move |tx| tx.cancel(&cancels, now)).await
    }

    async fn retry(&self, ids: Vec<JobId>, now: Timestamp) -> Result<Vec<RetryAnswer>> {
        self.durable(move |tx| tx.retry(&ids, now)).await
    }
}

#[async_trait]
impl Dispatching for Sqlite {
    async fn claim_ready(
        &self,
        requests: Vec<ClaimRequest>,
        now: Timestamp,
    ) -> Result<Vec<Claimed>> {
        self.advisory(move |tx| tx.claim_ready(&requests, now)).await
    }

    async fn promote_due(&self, now: Timestamp, limit: u32) -> Result<Promoted> {
        self.durable(move |tx| tx.promote_due(now, limit)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.readers.read(read::next_due).await
    }

    async fn mark_started(&self, started: Vec<Started>) -> Result<()> {
        self.advisory(move |tx| tx.mark_started(&started)).await
    }

    async fn record_progress(&self, progress: Vec<ExecutionProgress>) -> Result<()> {
        self.advisory(move |tx| tx.record_progress(&progress)).await
    }

    async fn record_outcomes(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        self.durable(move |tx| tx.record_outcomes(&outcomes, &draws, now)).await
    }

    async fn live_attempts(&self) -> Result<Vec<Live>> {
        self.readers.read(read::live_attempts).await
    }
}

#[async_trait]
impl Logs for Sqlite {
    async fn append_logs(&self, chunks: Vec<LogChunk>) -> Result<()> {
        self.advisory(move |tx| tx.append_logs(&chunks)).await
    }

    async fn read_logs(&self, request: LogRequest) -> Result<Vec<LogChunk>> {
        self.readers.read(move |db| read::logs(db, &request)).await
    }

    async fn log_tail(&self, request: LogRequest, lines: u32) -> Result<LogCursor> {
        self.readers.read(move |db| read::log_tail(db, &request, lines)).await
    }
}

#[async_trait]
impl Workers for Sqlite {
    async fn put_workers(&self, workers: Vec<WorkerRecord>) -> Result<()> {
        self.advisory(move |tx| tx.put_workers(&workers)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.readers.read(read::workers).await
    }

    async fn remove_workers(&self, workers: Vec<Incarnation>) -> Result<()> {
        self.advisory(move |tx| {
            for worker in &workers {
                tx.db
                    .prepare_cached("DELETE FROM workers WHERE incarnation = ?1")
                    .and_then(|mut delete| delete.execute([worker.to_bytes()]))
                    .map_err(|error| failed("forget a worker", error))?;
            }
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl DeadLetters for Sqlite {
    async fn dead_letters(&self, after: Option<JobId>, limit: u32) -> Result<Page<DeadLetterRow>> {
        self.readers.read(move |db| read::dead_letters(db, after, limit)).await
    }

    async fn dead_letter_count(&self) -> Result<u64> {
        self.readers.read(read::dead_letter_count).await
    }

    async fn delete_dead_letters(&self, ids: Vec<JobId>) -> Result<Vec<bool>> {
        self.durable(move |tx| tx.delete_dead_letters(&ids)).await
    }
}

#[async_trait]
impl Tokens for Sqlite {
    async fn put_token(&self, token: TokenRecord) -> Result<()> {
        self.durable(move |tx| {
            let record = (
                &token.scopes,
                token.created_at,
                token.expires_at,
                token.revoked_at,
                &token.note,
            );
            let write = || {
                tx.db
                    .prepare_cached(
                        "INSERT OR REPLACE INTO tokens (id, hash, record) VALUES (?1, ?2, ?3)",
                    )?
                    .execute((&token.id, token.hash, rows::to_json(&record)?))
            };
            write().map(drop).map_err(|error| failed("keep a token", error))
        })
        .await
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>> {
        let id = id.to_owned();
        self.readers.read(move |db| Ok(read::tokens(db, Some(&id))?.pop())).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        self.readers.read(|db| read::tokens(db, None)).await
    }
}

#[async_trait]
impl Upkeep for Sqlite {
    fn info(&self) -> StoreInfo {
        StoreInfo {
            kind: "sqlite",
            durability: match self.durability {
                Durability::Full => "full",
                Durability::Relaxed => "the last moments may be lost with the power",
            },
            schema: MIGRATIONS.len() as u32,
        }
    }

    async fn check_writable(&self) -> Result<()> {
        self.durable(|tx| {
            tx.db
                .prepare_cached("UPDATE meta SET value = value + 1 WHERE key = 'tick'")
                .and_then(|mut update| update.execute([]))
                .map(drop)
                .map_err(|error| failed("write", error))
        })
        .await
    }

    async fn prune(&self, request: PruneRequest) -> Result<u64> {
        self.durable(move |tx| tx.prune(request)).await
    }

    async fn close(&self) -> Result<()> {
        let (reply, closed) = oneshot::channel();
        self.order(Order::Close(reply))?;
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).take();
        match tokio::time::timeout(WRITE_DEADLINE, closed).await {
            Ok(Ok(closed)) => closed,
            Ok(Err(_)) | Err(_) => Err(StoreError::Unknown),
        }
    }
}

#[cfg(test)]
mod tests;
