//! The store in one SQLite file.
//!
//! One thread ([`writer`]) makes all writes. It batches waiting commands into one transaction and one
//! sync. Reads have their own connections ([`readers`]). [`crate::budget`] describes how the control
//! plane and API requests share both. The columns of a job that change are in one narrow row; the
//! columns that are written once are in other tables (see the migrations).
//!
//! A write that times out returns [`StoreError::Unknown`]: it may still be committed. When the disk
//! fails, every call returns [`StoreError::Failed`] and [`Sqlite::failed`] resolves: a new process has
//! to open the file.

mod audit;
mod cache;
mod claim;
mod db_error;
mod dead_letters;
mod dependencies;
mod dispatch;
mod enqueue;
mod finish;
mod fire;
mod jobs;
mod leases;
mod lists;
mod logs;
mod open;
mod operations;
mod outcomes;
mod queues;
mod readers;
mod retention;
mod row;
mod schedules;
mod store;
#[cfg(test)]
mod tests;
mod tokens;
mod transfer;
mod workers;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use orx_model::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout};

use self::cache::Cache;
use self::db_error::{DbError, DbResult};
use self::lists::Walking;
use self::readers::Readers;
use self::writer::{Order, Queued, Tx, WriteCall, Writer};
use crate::budget::{self, Reads};
use crate::filter_pushdown;
use crate::walk::{Walk, WindowRequest};
use crate::{Durability, Result, StoreError, Term};

/// A walk over jobs times out after this many read deadlines. It is longer than one read, because
/// concurrent walks wait for each other.
const READS_OF_A_WALK: u32 = 4;
const TOO_BROAD: StoreError = StoreError::TooBroad { limit: filter_pushdown::SCAN_MAX };
/// Bytes that count as one row in the weight of a write.
const ROW_BYTES: usize = 1024;

/// The id of the store in a file that this process does not have open; `None` if the file is no store.
#[must_use]
pub fn sqlite_store_id(path: &std::path::Path) -> Option<String> {
    open::store_id(path)
}

/// How to open a store in a file.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The database file; opening creates it if it is missing. Default `orx.db`.
    pub path: PathBuf,
    /// What a power loss may lose. Default [`Durability::Full`].
    pub durability: Durability,
    /// Rows that may wait for the writer, of the control plane and of API requests each. A kilobyte of
    /// arguments or logs counts as a row. Default 262,144.
    pub waiting_max: u32,
    /// A write that waits this long for a place in the queue returns [`StoreError::Busy`]. Default 5 s.
    pub busy_after: Duration,
    /// A write without a result after this time returns [`StoreError::Unknown`]. Default
    /// [`WRITE_DEADLINE`](crate::WRITE_DEADLINE).
    pub write_deadline: Duration,
    /// A read that waits this long for a connection returns [`StoreError::Busy`]; one that has a
    /// connection by then, but no result, returns [`StoreError::Unknown`]. Default 5 s.
    pub read_deadline: Duration,
    /// Concurrent reads of the control plane, and concurrent reads by key of API requests.
    /// Default 4.
    pub readers: usize,
    /// Concurrent scans of API requests, and concurrent reads of small tables and logs. Default
    /// half of the cores.
    pub scans: usize,
}

impl SqliteOptions {
    /// The defaults for a file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            path: PathBuf::from("orx.db"),
            durability: Durability::Full,
            waiting_max: 256 * 1024,
            busy_after: Duration::from_secs(5),
            write_deadline: crate::WRITE_DEADLINE,
            read_deadline: Duration::from_secs(5),
            readers: 4,
            scans: budget::half_of_cores(),
        }
    }
}

/// A handle of a store in a file: that of the control plane, or of API requests.
#[derive(Debug)]
pub struct Sqlite {
    shared: Arc<SqliteShared>,
    by: By,
}

#[derive(Debug)]
struct SqliteShared {
    options: SqliteOptions,
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    control: Budget,
    callers: Budget,
    failed: watch::Receiver<bool>,
    closed: AtomicBool,
}

/// The kind of a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Control,
    Callers,
}

/// The connections of one kind of handle, and its queue for writes.
#[derive(Debug)]
struct Budget {
    points: Arc<Readers>,
    pieces: Arc<Readers>,
    scans: Arc<Readers>,
    /// A permit for each row that may still wait for the writer.
    permits: Arc<Semaphore>,
}

impl Budget {
    fn readers(&self, reads: Reads) -> &Readers {
        match reads {
            Reads::Point => &self.points,
            Reads::Piece => &self.pieces,
            Reads::Scan => &self.scans,
        }
    }
}

/// Whether a write is synced before it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteKind {
    Durable,
    Advisory,
}

impl Sqlite {
    /// Locks the file, migrates its schema, and starts the writer. Blocks. Returns the handle of the
    /// control plane.
    ///
    /// # Errors
    /// [`StoreError::Held`], [`StoreError::NewerSchema`], [`StoreError::Damaged`],
    /// [`StoreError::Full`], [`StoreError::Open`].
    pub fn open(options: SqliteOptions, _now: Timestamp) -> Result<Self> {
        let path = &options.path;
        let lock = Arc::new(open::lock(path)?);
        let conn = open::writer(path)?;
        let cache = Cache::load(&conn).map_err(|failure| match failure {
            DbError::Full => StoreError::Full,
            DbError::Disk(error) => open::open_error(path, error),
            DbError::Command(error) => {
                StoreError::Damaged { store: open::shown(path), detail: error.to_string() }
            }
        })?;
        let (orders, receiver) = mpsc::channel();
        let (failing, failed) = watch::channel(false);
        let writer = Writer::new(conn, cache, options.durability, failing.clone());
        let writers_lock = Arc::clone(&lock);
        let run = move || {
            let run = std::panic::AssertUnwindSafe(|| writer.run(&receiver));
            if std::panic::catch_unwind(run).is_err() {
                tracing::error!("the writer of the store panicked");
                failing.send_replace(true);
            }
            // The lock outlives the last write.
            drop(writers_lock);
        };
        let thread = std::thread::Builder::new()
            .name("orx-store".to_owned())
            .spawn(run)
            .map_err(|error| StoreError::Open { store: open::shown(path), source: error.into() })?;
        let readers = |most: usize| {
            let lock = Arc::clone(&lock);
            Arc::new(Readers::new(path.clone(), lock, most, options.read_deadline))
        };
        let permits = || Arc::new(Semaphore::new(options.waiting_max as usize));
        let all = readers(options.readers);
        let (pieces, scans) = (Arc::clone(&all), Arc::clone(&all));
        let control = Budget { points: all, pieces, scans, permits: permits() };
        let callers = Budget {
            points: readers(options.readers),
            pieces: readers(options.scans),
            scans: readers(options.scans),
            permits: permits(),
        };
        let shared = SqliteShared {
            orders: Mutex::new(Some(orders)),
            thread: Mutex::new(Some(thread)),
            control,
            callers,
            options,
            failed,
            closed: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared), by: By::Control })
    }

    /// The handle of API requests; the control plane never waits for them.
    #[must_use]
    pub fn callers(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), by: By::Callers }
    }

    fn budget(&self) -> &Budget {
        match self.by {
            By::Control => &self.shared.control,
            By::Callers => &self.shared.callers,
        }
    }

    /// Resolves once the disk of the store has failed, and never otherwise.
    pub async fn failed(&self) {
        let mut failed = self.shared.failed.clone();
        if failed.wait_for(|failed| *failed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Sends `run` to the writer, which may run it again after a rollback. `weight` estimates the rows
    /// that it writes.
    async fn write<T: Send + 'static>(
        &self,
        action: &'static str,
        kind: WriteKind,
        weight: usize,
        run: impl FnMut(&mut Tx<'_>) -> DbResult<T> + Send + 'static,
    ) -> Result<T> {
        self.usable()?;
        let options = &self.shared.options;
        let weight = u32::try_from(weight).unwrap_or(u32::MAX).clamp(1, options.waiting_max);
        let acquired = Arc::clone(&self.budget().permits).acquire_many_owned(weight);
        let permit = timeout(options.busy_after, acquired)
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let command = Box::new(WriteCall { action, run, result: None, reply });
        let (durable, urgent) = (kind == WriteKind::Durable, self.by == By::Control);
        self.shared.send(Order::Write(Queued { command, durable, urgent, weight, permit }))?;
        match timeout(options.write_deadline, answer).await {
            Ok(Ok(answer)) => answer,
            // The writer ended before it replied.
            Ok(Err(_)) => Err(self.shared.ended()),
            Err(_) => Err(StoreError::Unknown),
        }
    }

    /// Runs a leader-only write, and compares the term in the same transaction.
    async fn lead_write<T: Send + 'static>(
        &self,
        action: &'static str,
        kind: WriteKind,
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

    /// Reads some rows by key.
    async fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        read: impl Fn(&rusqlite::Connection) -> DbResult<T> + Send + 'static,
    ) -> Result<T> {
        self.read_of(Reads::Point, action, read).await
    }

    async fn read_of<T: Send + 'static>(
        &self,
        reads: Reads,
        action: &'static str,
        read: impl Fn(&rusqlite::Connection) -> DbResult<T> + Send + 'static,
    ) -> Result<T> {
        self.usable()?;
        self.budget().readers(reads).read(action, StoreError::Unknown, read).await
    }

    /// Reads a walk window by window. It releases the connection between two windows, so that other scans
    /// progress and no old snapshot blocks a checkpoint of the write-ahead log.
    async fn walk(&self, action: &'static str, walk: Walk, dead: bool) -> Result<Walk> {
        let until = Instant::now() + READS_OF_A_WALK * self.shared.options.read_deadline;
        let mut want = walk.want();
        let walking = Arc::new(Mutex::new(Walking { walk, dead, plan: None }));
        while let Some(WindowRequest { reads, .. }) = want {
            let walking = Arc::clone(&walking);
            let step = move |conn: &rusqlite::Connection| lists::step(conn, &mut walking.lock());
            want = self.read_of(reads, action, step).await?;
            if want.is_some() && Instant::now() >= until {
                return Err(StoreError::Busy);
            }
        }
        let ended = Arc::into_inner(walking).ok_or(StoreError::Unknown)?;
        Ok(ended.into_inner().walk)
    }

    fn usable(&self) -> Result<()> {
        self.shared.usable()
    }
}

impl SqliteShared {
    fn send(&self, order: Order) -> Result<()> {
        let orders = self.orders.lock();
        let sent = orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        drop(orders);
        if sent { Ok(()) } else { Err(self.ended()) }
    }

    fn usable(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) || *self.failed.borrow() {
            return Err(self.ended());
        }
        Ok(())
    }

    /// The error of a call after the writer ended. A writer that ended without [`Order::Close`] has
    /// failed, even if it did not report that.
    fn ended(&self) -> StoreError {
        let closed = self.closed.load(Ordering::Acquire) && !*self.failed.borrow();
        if closed { StoreError::Closed } else { StoreError::Failed }
    }

    async fn end(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Err(self.ended());
        }
        let (reply, answer) = oneshot::channel();
        self.send(Order::Close(reply))?;
        let answer = answer.await.unwrap_or_else(|_| Err(self.ended()));
        for budget in [&self.control, &self.callers] {
            for readers in [&budget.points, &budget.pieces, &budget.scans] {
                readers.close();
            }
        }
        self.join().await;
        answer
    }

    /// Waits until the thread has ended.
    async fn join(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // The thread has caught and logged a panic of the writer.
            drop(tokio::task::spawn_blocking(|| thread.join()).await);
        }
    }
}

impl Drop for SqliteShared {
    /// Waits for the writer's last commit, so that the file can be opened again.
    fn drop(&mut self) {
        drop(self.orders.lock().take());
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }
}
