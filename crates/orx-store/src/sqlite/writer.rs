//! The writer: one thread that batches waiting commands into one transaction, commits it with one
//! sync, and then replies to all of them.
//!
//! The writer adds no delay to fill a batch: commands gather while the previous commit syncs. Commands
//! of the control plane go first. A batch takes only a limited weight of API requests, so that it is
//! short and the control plane does not wait for the next one.
//!
//! If a command fails, the writer rolls the batch back and runs each command in its own transaction.
//! That is rare, and needs no savepoint in the common case. On a full disk the whole batch fails and
//! the writer continues. After any other failure of the disk its content is unknown: the writer reports
//! that and ends.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::cache::Cache;
use super::db_error::{DbError, DbResult};
use crate::{ADVISORY_SYNC, Durability, StoreError};

/// Commands in one transaction, of the control plane and of API requests each, at most.
const BATCH_COMMANDS: usize = 512;
/// Weight of the control plane's commands in one transaction, at most.
const BATCH_WEIGHT: u32 = 8 * 1024;
/// Weight of API requests in one transaction, at most: some milliseconds of work, for which the control
/// plane waits. One heavier command goes alone.
const CALLERS_WEIGHT: u32 = 2 * 1024;
/// The writer syncs advisory writes after this, so that the sync ends within [`ADVISORY_SYNC`].
const SYNC_AFTER: Duration = Duration::from_millis(ADVISORY_SYNC.as_millis() as u64 / 2);
/// Estimated pages in the write-ahead log at which the writer checkpoints it. SQLite then overwrites the
/// log, which syncs faster than a growing one.
const CHECKPOINT_PAGES: u64 = 4 * 1024;
/// Pages that the smallest commit writes.
const COMMIT_PAGES: u64 = 6;
/// Written rows for each further page of a commit.
const PAGE_ROWS: u64 = 8;

/// An open transaction.
pub(super) struct Tx<'a> {
    pub(super) conn: &'a Connection,
    pub(super) cache: &'a mut Cache,
}

/// A command for the writer.
pub(super) trait WriteCommand: Send {
    /// The caller no longer waits for the result.
    fn abandoned(&self) -> bool;
    /// May be called again after a rollback.
    fn run(&mut self, tx: &mut Tx<'_>) -> DbResult<()>;
    /// Replies to the caller. `Ok`: the last run is committed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A command in the queue.
pub(super) struct Queued {
    pub(super) command: Box<dyn WriteCommand>,
    pub(super) durable: bool,
    /// Sent by the control plane.
    pub(super) urgent: bool,
    /// Estimated rows; the permit holds as many places of the queue.
    pub(super) weight: u32,
    pub(super) permit: OwnedSemaphorePermit,
}

pub(super) enum Order {
    Write(Queued),
    /// Sync, checkpoint, and end.
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// A command that runs a closure and replies with its result.
pub(super) struct WriteCall<F, T> {
    pub(super) action: &'static str,
    pub(super) run: F,
    pub(super) result: Option<T>,
    pub(super) reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> WriteCommand for WriteCall<F, T>
where
    F: FnMut(&mut Tx<'_>) -> DbResult<T> + Send,
    T: Send,
{
    fn abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> DbResult<()> {
        self.result = None;
        self.result = Some((self.run)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (committed, self.result) {
            (Ok(()), Some(result)) => Ok(result),
            (Ok(()), None) => Err(StoreError::Unknown),
            (Err(StoreError::Backend { source, .. }), _) => {
                Err(StoreError::Backend { action: self.action, source })
            }
            (Err(error), _) => Err(error),
        };
        // A caller that timed out can read the change from the store.
        drop(self.reply.send(answer));
    }
}

/// Received commands. Their permits bound them.
#[derive(Default)]
struct WriteQueue {
    urgent: VecDeque<Queued>,
    callers: VecDeque<Queued>,
    close: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl WriteQueue {
    fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.callers.is_empty()
    }

    fn add(&mut self, order: Order) {
        match order {
            Order::Write(queued) if queued.urgent => self.urgent.push_back(queued),
            Order::Write(queued) => self.callers.push_back(queued),
            Order::Close(reply) => self.close = Some(reply),
        }
    }

    /// The next batch. It has at least one command of each non-empty queue.
    fn batch(&mut self) -> Vec<Queued> {
        let mut batch = Vec::new();
        take(&mut self.urgent, BATCH_WEIGHT, &mut batch);
        take(&mut self.callers, CALLERS_WEIGHT, &mut batch);
        batch
    }
}

fn take(from: &mut VecDeque<Queued>, most: u32, batch: &mut Vec<Queued>) {
    let mut weight = 0_u32;
    for taken in 0..BATCH_COMMANDS {
        let Some(next) = from.front() else { return };
        weight = weight.saturating_add(next.weight);
        if taken > 0 && weight > most {
            return;
        }
        batch.extend(from.pop_front());
    }
}

pub(super) struct Writer {
    conn: Connection,
    cache: Cache,
    durability: Durability,
    /// Whether `PRAGMA synchronous` is FULL.
    syncs: bool,
    /// When the oldest unsynced write was committed.
    unsynced_since: Option<Instant>,
    /// Estimated pages in the write-ahead log since the last checkpoint.
    log_pages: u64,
    failed: watch::Sender<bool>,
}

impl Writer {
    pub(super) fn new(
        conn: Connection,
        cache: Cache,
        durability: Durability,
        failed: watch::Sender<bool>,
    ) -> Self {
        let syncs = true;
        Self { conn, cache, durability, syncs, unsynced_since: None, log_pages: 0, failed }
    }

    /// Ends on [`Order::Close`], when all senders are dropped, or when the disk failed.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        let mut waiting = WriteQueue::default();
        while self.gather(orders, &mut waiting) {
            self.batch(&mut waiting.batch());
            // A batch without changes does not sync earlier writes.
            if self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_AFTER)
                && let Err(failure) = self.sync()
            {
                self.note(&failure);
            }
            if *self.failed.borrow() {
                // The dropped commands return `Failed` to their callers.
                return;
            }
            if waiting.is_empty()
                && let Some(reply) = waiting.close.take()
            {
                let done = self.close();
                drop(reply.send(done));
                return;
            }
            if self.log_pages >= CHECKPOINT_PAGES {
                self.checkpoint("PASSIVE");
            }
        }
        if let Err(failure) = self.sync() {
            self.note(&failure);
        }
    }

    /// Receives every sent order. If none waits, blocks until one arrives or a sync is due. `false`: no
    /// order waits, and all senders are dropped.
    fn gather(&self, orders: &Receiver<Order>, waiting: &mut WriteQueue) -> bool {
        if waiting.is_empty() {
            let came = match self.unsynced_since {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(since) => orders.recv_timeout(SYNC_AFTER.saturating_sub(since.elapsed())),
            };
            match came {
                Ok(order) => waiting.add(order),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        while let Ok(order) = orders.try_recv() {
            waiting.add(order);
        }
        true
    }

    fn batch(&mut self, gathered: &mut Vec<Queued>) {
        gathered.retain(|queued| !queued.command.abandoned());
        if gathered.is_empty() {
            return;
        }
        match self.transact(gathered) {
            Ok(()) => answer(gathered.drain(..), || Ok(())),
            Err(DbError::Full) => answer(gathered.drain(..), || Err(StoreError::Full)),
            Err(failure @ DbError::Disk(_)) => {
                self.note(&failure);
                answer(gathered.drain(..), || Err(StoreError::Failed));
            }
            Err(failure @ DbError::Command(_)) if gathered.len() == 1 => {
                self.note(&failure);
                let mut error = Some(failure.for_caller("change the store"));
                answer(gathered.drain(..), || Err(error.take().unwrap_or(StoreError::Unknown)));
            }
            Err(DbError::Command(_)) => {
                for queued in std::mem::take(gathered) {
                    let mut alone = vec![queued];
                    self.batch(&mut alone);
                    if *self.failed.borrow() {
                        return;
                    }
                }
            }
        }
    }

    /// Runs one transaction. An error leaves the file and the cache unchanged.
    fn transact(&mut self, gathered: &mut [Queued]) -> DbResult<()> {
        let due = self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_AFTER);
        let durable = gathered.iter().any(|queued| queued.durable);
        let sync = self.durability == Durability::Full && (durable || due);
        let changes = self.conn.total_changes();
        let result = self.set_sync(sync).and_then(|()| self.try_transact(gathered));
        if result.is_err() {
            self.roll_back()?;
            return result;
        }
        self.cache.committed();
        if self.conn.total_changes() == changes {
            // A transaction without changes writes and syncs nothing.
            return Ok(());
        }
        if sync {
            self.unsynced_since = None;
        } else if self.durability == Durability::Full && self.unsynced_since.is_none() {
            self.unsynced_since = Some(Instant::now());
        }
        let rows: u64 = gathered.iter().map(|queued| u64::from(queued.weight)).sum();
        self.log_pages += COMMIT_PAGES + rows / PAGE_ROWS;
        Ok(())
    }

    fn try_transact(&mut self, gathered: &mut [Queued]) -> DbResult<()> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut tx = Tx { conn: &self.conn, cache: &mut self.cache };
        for queued in gathered {
            queued.command.run(&mut tx)?;
        }
        self.cache.write(&self.conn)?;
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    fn roll_back(&mut self) -> DbResult<()> {
        self.cache.rolled_back();
        // SQLite itself rolls back on some errors.
        if !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK")?;
        }
        Ok(())
    }

    /// Must be called outside a transaction.
    fn set_sync(&mut self, sync: bool) -> DbResult<()> {
        if sync != self.syncs {
            let sql =
                if sync { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
            self.conn.execute_batch(sql)?;
            self.syncs = sync;
        }
        Ok(())
    }

    /// Syncs earlier commits: a small synced commit syncs the write-ahead log that holds them.
    fn sync(&mut self) -> DbResult<()> {
        if self.unsynced_since.is_none() {
            return Ok(());
        }
        let bump = "UPDATE meta SET value = value + 1 WHERE key = 'synced'";
        let result = self.set_sync(true).and_then(|()| {
            self.conn.prepare_cached(bump)?.execute([])?;
            Ok(())
        });
        // After a failure on a full disk the next attempt follows one period later.
        self.unsynced_since = result.is_err().then(Instant::now);
        result
    }

    /// Copies the write-ahead log into the file, so that the log does not grow. If that fails, no write
    /// is lost, and the next checkpoint repeats it.
    fn checkpoint(&mut self, mode: &str) {
        self.log_pages = 0;
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        if let Err(error) = self.conn.query_row(&sql, [], |_| Ok(())) {
            self.note(&DbError::from(error));
        }
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.sync().map_err(|failure| {
            self.note(&failure);
            failure.for_caller("sync the store")
        })?;
        self.checkpoint("TRUNCATE");
        if *self.failed.borrow() { Err(StoreError::Failed) } else { Ok(()) }
    }

    fn note(&self, failure: &DbError) {
        match failure {
            DbError::Full => tracing::warn!("the disk of the store is full"),
            DbError::Disk(error) => {
                tracing::error!(%error, "the disk of the store failed");
                self.failed.send_replace(true);
            }
            DbError::Command(error) => tracing::error!(%error, "a command of the store failed"),
        }
    }
}

fn answer(queued: impl Iterator<Item = Queued>, mut with: impl FnMut() -> Result<(), StoreError>) {
    for Queued { command, permit, .. } in queued {
        command.answer(with());
        drop(permit);
    }
}
