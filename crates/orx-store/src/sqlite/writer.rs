//! The one writer: a thread that gathers what waits into one transaction, commits it with one
//! sync, and answers all of it together.
//!
//! It waits for nothing: while one commit syncs, the next batch gathers. What the control plane asks
//! goes first, and of what callers ask each batch takes only so much that the next one is soon: so many
//! rows, or kilobytes. A command that fails must
//! not sink the others, and that is rare: the batch is rolled back and each command done in a
//! transaction of its own, which costs the common case no savepoint. A full disk refuses the whole
//! batch, and the writer goes on. After any other failure of the disk what is on it is unknown, so
//! nothing is tried again: the writer ends, and says so.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::cache::Cache;
use super::db_error::{DbError, DbResult};
use crate::{ADVISORY_SYNC, Durability, StoreError};

/// What one transaction takes at most.
const BATCH_COMMANDS: usize = 512;
const BATCH_WEIGHT: u32 = 8 * 1024;
/// What it takes of callers, but for one command that alone is more: some milliseconds' work, which the
/// control plane waits for.
const CALLERS_WEIGHT: u32 = 2 * 1024;
/// Advisory writes are synced after this, so that the sync has ended within [`ADVISORY_SYNC`].
const SYNC_AFTER: Duration = Duration::from_millis(ADVISORY_SYNC.as_millis() as u64 / 2);
/// Pages the write-ahead log takes, by estimate, before it is carried over into the file and begun
/// anew. A log that is written over syncs faster than one that grows.
const CHECKPOINT_PAGES: u64 = 4 * 1024;
/// Pages of one commit: those that even the smallest one writes, and how many rows fill another.
const COMMIT_PAGES: u64 = 6;
const PAGE_ROWS: u64 = 8;

/// A transaction while it is open.
pub(super) struct Tx<'a> {
    pub(super) conn: &'a Connection,
    pub(super) cache: &'a mut Cache,
}

/// A command on its way through the writer.
pub(super) trait WriteCommand: Send {
    /// Nobody waits for the answer any more.
    fn abandoned(&self) -> bool;
    /// May be called again after a rollback.
    fn run(&mut self, tx: &mut Tx<'_>) -> DbResult<()>;
    /// With `Ok` the last run is committed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

pub(super) struct Queued {
    pub(super) command: Box<dyn WriteCommand>,
    pub(super) durable: bool,
    /// Of the control plane.
    pub(super) urgent: bool,
    /// Roughly its rows; the permit holds as much of the queue's room.
    pub(super) weight: u32,
    pub(super) permit: OwnedSemaphorePermit,
}

pub(super) enum Order {
    Write(Queued),
    /// Sync all, tidy up and end.
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// The usual command: a function over its input, and a place for its result.
pub(super) struct Call<F, T> {
    pub(super) action: &'static str,
    pub(super) run: F,
    pub(super) result: Option<T>,
    pub(super) reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> WriteCommand for Call<F, T>
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
        // A caller that is gone has its answer in the store.
        drop(self.reply.send(answer));
    }
}

/// What was sent and is not written yet, which the room of its callers bounds.
#[derive(Default)]
struct Waiting {
    urgent: VecDeque<Queued>,
    callers: VecDeque<Queued>,
    close: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl Waiting {
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

    /// The next batch. At least one command of each who waits is in it.
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
    /// What `PRAGMA synchronous` stands at.
    syncs: bool,
    /// Since when a committed write has not been synced.
    unsynced_since: Option<Instant>,
    /// What stands in the log since it was last carried over, by estimate.
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

    /// Ends on [`Order::Close`], when nobody can send any more, or when the disk failed.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        let mut waiting = Waiting::default();
        while self.gather(orders, &mut waiting) {
            self.batch(&mut waiting.batch());
            // Also where a batch changed nothing, and so brought nothing else to the disk.
            if self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_AFTER)
                && let Err(trouble) = self.sync()
            {
                self.note(&trouble);
            }
            if *self.failed.borrow() {
                // What is dropped unanswered is answered as failed by the caller's side.
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
        if let Err(trouble) = self.sync() {
            self.note(&trouble);
        }
    }

    /// Takes all that was sent. Where nothing waits, until something comes, or is to be synced. `false`:
    /// nothing waits, and nobody can send any more.
    fn gather(&self, orders: &Receiver<Order>, waiting: &mut Waiting) -> bool {
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
            Err(trouble @ DbError::Disk(_)) => {
                self.note(&trouble);
                answer(gathered.drain(..), || Err(StoreError::Failed));
            }
            Err(trouble @ DbError::Command(_)) if gathered.len() == 1 => {
                self.note(&trouble);
                let mut error = Some(trouble.for_caller("change the store"));
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

    /// One transaction. After an error nothing of it is left, in the file or in the cache.
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
            // Nothing was written, and nothing synced.
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

    /// Not possible inside a transaction, so between two, and only where it changes.
    fn set_sync(&mut self, sync: bool) -> DbResult<()> {
        if sync != self.syncs {
            let sql =
                if sync { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
            self.conn.execute_batch(sql)?;
            self.syncs = sync;
        }
        Ok(())
    }

    /// Forces what was committed without a sync to the disk: a small synced commit syncs the log
    /// that all of it stands in.
    fn sync(&mut self) -> DbResult<()> {
        if self.unsynced_since.is_none() {
            return Ok(());
        }
        let bump = "UPDATE meta SET value = value + 1 WHERE key = 'synced'";
        let result = self.set_sync(true).and_then(|()| {
            self.conn.prepare_cached(bump)?.execute([])?;
            Ok(())
        });
        // Also after a failure on a full disk: the next try is one period away.
        self.unsynced_since = result.is_err().then(Instant::now);
        result
    }

    /// Carries the log over into the file, so that it does not grow. Nothing is lost where it
    /// cannot: the next one does it.
    fn checkpoint(&mut self, mode: &str) {
        self.log_pages = 0;
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        if let Err(error) = self.conn.query_row(&sql, [], |_| Ok(())) {
            self.note(&DbError::from(error));
        }
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.sync().map_err(|trouble| {
            self.note(&trouble);
            trouble.for_caller("sync the store")
        })?;
        self.checkpoint("TRUNCATE");
        if *self.failed.borrow() { Err(StoreError::Failed) } else { Ok(()) }
    }

    fn note(&self, trouble: &DbError) {
        match trouble {
            DbError::Full => tracing::warn!("no room on the disk of the store"),
            DbError::Disk(error) => {
                tracing::error!(%error, "the disk of the store failed");
                self.failed.send_replace(true);
            }
            DbError::Command(error) => tracing::error!(%error, "the store could not do a command"),
        }
    }
}

fn answer(queued: impl Iterator<Item = Queued>, mut with: impl FnMut() -> Result<(), StoreError>) {
    for Queued { command, permit, .. } in queued {
        command.answer(with());
        drop(permit);
    }
}
