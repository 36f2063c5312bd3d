//! A pool of read-only connections. Each read has one snapshot and a deadline.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, InterruptHandle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::db_error::{DbError, DbResult};
use super::open::{self, StoreLock};
use crate::{Result, StoreError};

#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Idle>>,
    permits: Arc<Semaphore>,
    deadline: Duration,
}

/// Idle connections. The pool keeps the lock as long as it has connections.
#[derive(Debug)]
struct Idle {
    conns: Vec<Connection>,
    /// `None` after [`Readers::close`]: connections released later are closed.
    lock: Option<Arc<StoreLock>>,
}

/// A connection in use. Dropping it returns the connection to the pool.
struct CheckedOutReader {
    conn: Option<Connection>,
    idle: Arc<Mutex<Idle>>,
    _lock: Arc<StoreLock>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for CheckedOutReader {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            let mut idle = self.idle.lock();
            if idle.lock.is_some() {
                idle.conns.push(conn);
            }
        }
    }
}

/// Interrupts the read when the caller drops its call.
struct Stop {
    handle: Option<InterruptHandle>,
    stopped: Arc<AtomicBool>,
}

impl Stop {
    fn now(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.stopped.store(true, Ordering::SeqCst);
            handle.interrupt();
        }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.now();
    }
}

impl Readers {
    pub(super) fn new(
        path: PathBuf,
        lock: Arc<StoreLock>,
        most: usize,
        deadline: Duration,
    ) -> Self {
        let idle = Arc::new(Mutex::new(Idle { conns: Vec::new(), lock: Some(lock) }));
        Self { path, idle, permits: Arc::new(Semaphore::new(most)), deadline }
    }

    /// Closes the pool: later reads return [`StoreError::Closed`].
    pub(super) fn close(&self) {
        self.permits.close();
        let mut idle = self.idle.lock();
        idle.conns.clear();
        idle.lock = None;
    }

    /// Runs `read` on a connection of the pool. A read that exceeds the deadline returns `late`; one that
    /// gets no connection by then returns [`StoreError::Busy`].
    pub(super) async fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        late: StoreError,
        read: impl Fn(&Connection) -> DbResult<T> + Send + 'static,
    ) -> Result<T> {
        let until = tokio::time::Instant::now() + self.deadline;
        let permit = tokio::time::timeout_at(until, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Closed)?;
        let (known, lock) = {
            let mut idle = self.idle.lock();
            (idle.conns.pop(), idle.lock.clone().ok_or(StoreError::Closed)?)
        };
        let conn = match known {
            Some(conn) => conn,
            None => open::reader(&self.path)?,
        };
        let stopped = Arc::new(AtomicBool::new(false));
        let handle = Some(conn.get_interrupt_handle());
        let mut stop = Stop { handle, stopped: Arc::clone(&stopped) };
        let idle = Arc::clone(&self.idle);
        let lent = CheckedOutReader { conn: Some(conn), idle, _lock: lock, _permit: permit };
        let mut reading = tokio::task::spawn_blocking(move || {
            let result = match &lent.conn {
                // A late interrupt of the previous read must not fail this one.
                Some(conn) => match snapshot(conn, &read) {
                    Err(failure) if is_interrupt(&failure) && !stopped.load(Ordering::SeqCst) => {
                        snapshot(conn, &read)
                    }
                    result => result,
                },
                None => Err(DbError::Command("no connection".into())),
            };
            (lent, result)
        });
        let done = match tokio::time::timeout_at(until, &mut reading).await {
            Ok(done) => done,
            Err(_) => {
                stop.now();
                return Err(late);
            }
        };
        // Disarmed before another read gets the connection.
        stop.handle = None;
        let (lent, result) =
            done.map_err(|error| StoreError::Backend { action, source: error.into() })?;
        drop(lent);
        result.map_err(|failure| match failure {
            // A reader reports a failing disk for this read only; the writer decides whether the store
            // has failed.
            DbError::Disk(error) => StoreError::Backend { action, source: error.into() },
            failure => failure.for_caller(action),
        })
    }
}

fn snapshot<T>(conn: &Connection, read: &impl Fn(&Connection) -> DbResult<T>) -> DbResult<T> {
    let tx = conn.unchecked_transaction()?;
    let result = read(&tx);
    tx.finish()?;
    result
}

fn is_interrupt(failure: &DbError) -> bool {
    let DbError::Command(error) = failure else { return false };
    let error = error.downcast_ref::<rusqlite::Error>();
    error.and_then(rusqlite::Error::sqlite_error_code) == Some(ErrorCode::OperationInterrupted)
}
