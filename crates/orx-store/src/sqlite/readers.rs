//! Readers: a few connections that can only read, each read in one snapshot, with a deadline.

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
    room: Arc<Semaphore>,
    deadline: Duration,
}

/// Connections at rest. Before them `lock` is not given up.
#[derive(Debug)]
struct Idle {
    conns: Vec<Connection>,
    /// `None` once the readers were ended: connections that come back later are closed.
    lock: Option<Arc<StoreLock>>,
}

/// A connection that goes back when it is dropped, wherever that is.
struct Lent {
    conn: Option<Connection>,
    idle: Arc<Mutex<Idle>>,
    _lock: Arc<StoreLock>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            let mut idle = self.idle.lock();
            if idle.lock.is_some() {
                idle.conns.push(conn);
            }
        }
    }
}

/// Stops the read of a caller that went away.
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
        Self { path, idle, room: Arc::new(Semaphore::new(most)), deadline }
    }

    /// Ends the readers: later reads answer closed.
    pub(super) fn close(&self) {
        self.room.close();
        let mut idle = self.idle.lock();
        idle.conns.clear();
        idle.lock = None;
    }

    /// `late` is what a read that takes too long is answered with.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        late: StoreError,
        read: impl Fn(&Connection) -> DbResult<T> + Send + 'static,
    ) -> Result<T> {
        let until = tokio::time::Instant::now() + self.deadline;
        let permit = tokio::time::timeout_at(until, Arc::clone(&self.room).acquire_owned())
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
        let lent = Lent { conn: Some(conn), idle, _lock: lock, _permit: permit };
        let mut reading = tokio::task::spawn_blocking(move || {
            let result = match &lent.conn {
                // An interrupt meant for the caller before may come late: not for this one.
                Some(conn) => match snapshot(conn, &read) {
                    Err(trouble) if is_interrupt(&trouble) && !stopped.load(Ordering::SeqCst) => {
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
        // Nobody is to be stopped any more, before another gets the connection.
        stop.handle = None;
        let (lent, result) =
            done.map_err(|error| StoreError::Backend { action, source: error.into() })?;
        drop(lent);
        result.map_err(|trouble| match trouble {
            // A reader writes nothing: what it finds broken is said, and the writer decides.
            DbError::Disk(error) => StoreError::Backend { action, source: error.into() },
            trouble => trouble.for_caller(action),
        })
    }
}

fn snapshot<T>(conn: &Connection, read: &impl Fn(&Connection) -> DbResult<T>) -> DbResult<T> {
    let tx = conn.unchecked_transaction()?;
    let result = read(&tx);
    tx.finish()?;
    result
}

fn is_interrupt(trouble: &DbError) -> bool {
    let DbError::Command(error) = trouble else { return false };
    let error = error.downcast_ref::<rusqlite::Error>();
    error.and_then(rusqlite::Error::sqlite_error_code) == Some(ErrorCode::OperationInterrupted)
}
