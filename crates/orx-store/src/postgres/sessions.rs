//! The pool of sessions of one budget. Each is checked out for one message at a time.
//!
//! A session that may be in the middle of a message is closed: after a timeout, or when its caller was
//! dropped. When a session fails, the pool closes all idle ones, since the cause, usually a restart of the
//! server, ended them too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orx_model::Backoff;
use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::db_error::{DbError, DbResult};
use super::tls;
use crate::budget::Reads;

/// A session that was idle for longer is pinged before use, so that a connection dropped by a firewall or a
/// restart is found before a message is sent.
const PING_AFTER: Duration = Duration::from_secs(1);
/// Deadline of a ping, and of closing a session.
const PING_DEADLINE: Duration = Duration::from_secs(2);
/// A session that was idle for this long is closed.
const REST_MAX: Duration = Duration::from_secs(10 * 60);
/// Pauses between attempts to connect.
const CONNECT_AGAIN: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));

#[derive(Debug)]
pub(super) struct Sessions {
    /// The options with the settings of a session, and without them.
    options: [PgConnectOptions; 2],
    /// Whether a proxy rejected the settings.
    without: AtomicBool,
    permits: Arc<Semaphore>,
    /// Fewer permits than sessions, as in `scans`: the other sessions stay free for reads by key and writes.
    pieces: Arc<Semaphore>,
    scans: Arc<Semaphore>,
    resting: Arc<Mutex<Resting>>,
    connect_deadline: Duration,
}

#[derive(Debug, Default)]
struct Resting {
    /// A stack: the session used last is used next, so that surplus ones expire.
    sessions: Vec<(PgConnection, Instant)>,
    /// Grows when all idle sessions are closed. A session of an earlier generation does not return.
    generation: u64,
    closed: bool,
}

/// A session that is checked out. Dropping it without [`CheckedOutSession::release`] closes it.
pub(super) struct CheckedOutSession {
    session: Option<PgConnection>,
    generation: u64,
    resting: Arc<Mutex<Resting>>,
    _permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl CheckedOutSession {
    pub(super) fn session(&mut self) -> Option<&mut PgConnection> {
        self.session.as_mut()
    }

    /// Returns the session to the pool.
    pub(super) fn release(mut self) {
        let mut resting = self.resting.lock();
        if let Some(session) = self.session.take()
            && resting.generation == self.generation
            && !resting.closed
        {
            resting.sessions.push((session, Instant::now()));
        }
    }

    /// Closes the session and all idle ones: the server stopped, or is not the primary any more.
    pub(super) fn discard(self) {
        let mut resting = self.resting.lock();
        if resting.generation == self.generation {
            resting.generation += 1;
            resting.sessions.clear();
        }
    }
}

impl Sessions {
    /// A pool of at most `most` sessions: at once `scans` of them for scans, and as many for pieces.
    pub(super) fn new(
        options: [PgConnectOptions; 2],
        most: usize,
        scans: usize,
        connect_deadline: Duration,
    ) -> Self {
        Self {
            options,
            without: AtomicBool::new(false),
            permits: Arc::new(Semaphore::new(most)),
            pieces: Arc::new(Semaphore::new(scans)),
            scans: Arc::new(Semaphore::new(scans)),
            resting: Arc::default(),
            connect_deadline,
        }
    }

    /// Checks out a session. Waits until one is free, and for a server that is starting, but not beyond
    /// `until`.
    pub(super) async fn checkout(
        &self,
        until: Instant,
        reads: Reads,
    ) -> DbResult<CheckedOutSession> {
        let acquire = async |permits: &Arc<Semaphore>| {
            timeout_at(until, Arc::clone(permits).acquire_owned())
                .await
                .map_err(|_| DbError::Busy)?
                .map_err(|_| DbError::Closed)
        };
        let few = match reads {
            Reads::Point => None,
            Reads::Piece => Some(acquire(&self.pieces).await?),
            Reads::Scan => Some(acquire(&self.scans).await?),
        };
        let permits = (acquire(&self.permits).await?, few);
        loop {
            let (rested, generation) = {
                let mut resting = self.resting.lock();
                let old = |(_, since): &(_, Instant)| since.elapsed() < REST_MAX;
                resting.sessions.retain(old);
                (resting.sessions.pop(), resting.generation)
            };
            let Some((mut session, since)) = rested else {
                return Ok(self.checked_out(self.connect(until).await?, generation, permits));
            };
            if since.elapsed() < PING_AFTER
                || matches!(timeout(PING_DEADLINE, session.ping()).await, Ok(Ok(())))
            {
                return Ok(self.checked_out(session, generation, permits));
            }
        }
    }

    fn checked_out(
        &self,
        session: PgConnection,
        generation: u64,
        permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
    ) -> CheckedOutSession {
        let resting = Arc::clone(&self.resting);
        CheckedOutSession { session: Some(session), generation, resting, _permits: permits }
    }

    /// Tries again while the server is down, so that a quick restart causes no error.
    async fn connect(&self, until: Instant) -> DbResult<PgConnection> {
        let until = until.min(Instant::now() + self.connect_deadline);
        let mut backoff = CONNECT_AGAIN;
        loop {
            let without = self.without.load(Ordering::Relaxed);
            let options = &self.options[usize::from(without)];
            let error: Box<dyn std::error::Error + Send + Sync> =
                match timeout_at(until, options.connect()).await {
                    Ok(Ok(session)) => return Ok(session),
                    Ok(Err(error)) if !without && is_refused_setting(&error) => {
                        self.without.store(true, Ordering::Relaxed);
                        continue;
                    }
                    Ok(Err(error)) if !passes(&error) => {
                        return Err(DbError::NotSent(error.into()));
                    }
                    Ok(Err(error)) => error.into(),
                    Err(late) => return Err(DbError::NotSent(late.into())),
                };
            let pause = backoff.failed();
            if Instant::now() + pause >= until {
                return Err(DbError::NotSent(error));
            }
            sleep(pause).await;
        }
    }

    /// Closes the idle sessions and checks out no more.
    pub(super) async fn close(&self) {
        for permits in [&self.permits, &self.pieces, &self.scans] {
            permits.close();
        }
        let sessions = {
            let mut resting = self.resting.lock();
            resting.closed = true;
            std::mem::take(&mut resting.sessions)
        };
        for (session, _) in sessions {
            // Dropping a session that does not close in time closes its connection.
            drop(timeout(PING_DEADLINE, session.close()).await);
        }
    }
}

/// Whether a transaction-pooling proxy rejected a setting of the session.
fn is_refused_setting(error: &sqlx::Error) -> bool {
    let refused = error.as_database_error();
    refused.is_some_and(|refused| refused.message().contains("startup parameter"))
}

/// Whether the error is temporary: the server is restarting, or has no connection left.
fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => tls::failure(error).is_none(),
        sqlx::Error::Database(refused) => {
            let code = refused.code().unwrap_or_default();
            code.starts_with("57P") || code.starts_with("08") || code == "53300"
        }
        _ => false,
    }
}
