//! The store in one SQLite file.
//!
//! All writes go through one thread ([`writer`]), which gathers what waits into one transaction
//! and one sync; reads have connections of their own ([`readers`]). Whose command is written first,
//! and who shares readers with whom, is said in [`crate::budget`]. What changes of a job stands in
//! one narrow row, what is written once beside it: see the migrations.
//!
//! A write that is not answered in time is [`StoreError::Unknown`]: it may still be committed. When
//! the disk fails, every call answers [`StoreError::Failed`] and [`Sqlite::failed`] resolves: the
//! file has to be opened again, by a new process.

mod cache;
mod change;
mod claim;
mod db_error;
mod enqueue;
mod keep;
mod open;
mod outcome;
mod read;
mod read_beside;
mod readers;
mod row;
mod schedules;
mod store;
#[cfg(test)]
mod tests;
mod transfer;
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
use self::read::Walking;
use self::readers::Readers;
use self::writer::{Call, Order, Queued, Tx, Writer};
use crate::budget::{self, Reads};
use crate::walk::{Walk, Want};
use crate::{Durability, Result, StoreError};

/// A walk over jobs ends after so many times the deadline of a read: it waits for others who walk.
const READS_OF_A_WALK: u32 = 4;

/// The id of the store in a file, which this process must not have open; `None` where it is none.
#[must_use]
pub fn sqlite_store_id(path: &std::path::Path) -> Option<String> {
    open::store_id(path)
}

#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The database file; it is made where it is not there.
    pub path: PathBuf,
    pub durability: Durability,
    /// Rows that may wait for the writer, of the control plane and of callers each, counting a
    /// kilobyte of arguments or logs as a row.
    pub waiting_max: u32,
    /// A call that finds no room for so long is [`StoreError::Busy`].
    pub busy_after: Duration,
    /// A write not answered for so long is [`StoreError::Unknown`].
    pub write_deadline: Duration,
    pub read_deadline: Duration,
    /// Reads of the control plane at once, and reads by key of callers.
    pub readers: usize,
    /// Scans of callers at once, and as many reads of pieces.
    pub scans: usize,
}

impl SqliteOptions {
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

/// A handle of the control plane, or of callers; all are of one store.
#[derive(Debug)]
pub struct Sqlite {
    shared: Arc<Shared>,
    by: By,
}

#[derive(Debug)]
struct Shared {
    options: SqliteOptions,
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    control: Budget,
    callers: Budget,
    failed: watch::Receiver<bool>,
    closed: AtomicBool,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Control,
    Callers,
}

#[derive(Debug)]
struct Budget {
    points: Arc<Readers>,
    pieces: Arc<Readers>,
    scans: Arc<Readers>,
    /// Room for what waits for the writer.
    room: Arc<Semaphore>,
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

/// Whether a write is synced before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Durable,
    Advisory,
}

impl Sqlite {
    /// Locks the file, brings its schema up to date, and starts the writer. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Held`], [`StoreError::NewerSchema`], [`StoreError::Damaged`],
    /// [`StoreError::Full`], [`StoreError::Open`].
    pub fn open(options: SqliteOptions, _now: Timestamp) -> Result<Self> {
        let path = &options.path;
        let lock = Arc::new(open::lock(path)?);
        let conn = open::writer(path)?;
        let cache = Cache::load(&conn).map_err(|trouble| match trouble {
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
            // Held until the last write has ended.
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
        let room = || Arc::new(Semaphore::new(options.waiting_max as usize));
        let all = readers(options.readers);
        let (pieces, scans) = (Arc::clone(&all), Arc::clone(&all));
        let control = Budget { points: all, pieces, scans, room: room() };
        let callers = Budget {
            points: readers(options.readers),
            pieces: readers(options.scans),
            scans: readers(options.scans),
            room: room(),
        };
        let shared = Shared {
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

    /// The handle for whoever asks from outside: nothing of the control plane waits for it.
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

    /// Resolves once the disk has failed under the store, and never otherwise.
    pub async fn failed(&self) {
        let mut failed = self.shared.failed.clone();
        if failed.wait_for(|failed| *failed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Hands `run` to the writer; it may be run again after a rollback. `weight` is about the rows
    /// it writes.
    async fn write<T: Send + 'static>(
        &self,
        action: &'static str,
        kind: Kind,
        weight: usize,
        run: impl FnMut(&mut Tx<'_>) -> DbResult<T> + Send + 'static,
    ) -> Result<T> {
        self.usable()?;
        let options = &self.shared.options;
        let weight = u32::try_from(weight).unwrap_or(u32::MAX).clamp(1, options.waiting_max);
        let room = Arc::clone(&self.budget().room).acquire_many_owned(weight);
        let permit = timeout(options.busy_after, room)
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let command = Box::new(Call { action, run, result: None, reply });
        let (durable, urgent) = (kind == Kind::Durable, self.by == By::Control);
        self.shared.send(Order::Write(Queued { command, durable, urgent, weight, permit }))?;
        match timeout(options.write_deadline, answer).await {
            Ok(Ok(answer)) => answer,
            // The writer ended without an answer.
            Ok(Err(_)) => Err(self.shared.ended()),
            Err(_) => Err(StoreError::Unknown),
        }
    }

    /// Some rows, by their key.
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

    /// Window by window, each a read of its own: between two the connection goes to whoever else scans,
    /// and no old snapshot keeps the write-ahead log from beginning anew.
    async fn walk(&self, action: &'static str, walk: Walk, dead: bool) -> Result<Walk> {
        let until = Instant::now() + READS_OF_A_WALK * self.shared.options.read_deadline;
        let mut want = walk.want();
        let walking = Arc::new(Mutex::new(Walking { walk, dead, plan: None }));
        while let Some(Want { reads, .. }) = want {
            let walking = Arc::clone(&walking);
            let step = move |conn: &rusqlite::Connection| read::step(conn, &mut walking.lock());
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

impl Shared {
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

    /// Why nobody answers. A writer that ended before it was told to has failed, also where it
    /// had no time to say so.
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

    /// Until the thread has ended.
    async fn join(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // A panic of the writer was noted where it was caught.
            drop(tokio::task::spawn_blocking(|| thread.join()).await);
        }
    }
}

impl Drop for Shared {
    /// Waits for the writer's last commit, so that the file can be opened again afterwards.
    fn drop(&mut self) {
        drop(self.orders.lock().take());
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }
}
