//! Sessions with the server: a few of one budget, each lent to one message at a time.
//!
//! None is kept that may be in the middle of something: a message whose caller went away, or that
//! was not answered in time, takes its session with it. When one is found dead, all that rest are
//! let go, since what killed it (a restart, mostly) killed them too.

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

/// A session that has rested for longer is asked whether it lives. A firewall that forgot it, or a
/// server that went, is then found before anything is sent.
const ASK_AFTER: Duration = Duration::from_secs(1);
const ASK_FOR: Duration = Duration::from_secs(2);
/// One that has rested for so long is let go.
const REST_MAX: Duration = Duration::from_secs(10 * 60);
/// Between tries to reach the server.
const CONNECT_AGAIN: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));

#[derive(Debug)]
pub(super) struct Sessions {
    /// With the settings of a session, and without.
    options: [PgConnectOptions; 2],
    /// Something between here and the server takes no settings.
    without: AtomicBool,
    room: Arc<Semaphore>,
    /// Of these fewer than there are: they leave the rest to reads by key, and to what is written.
    pieces: Arc<Semaphore>,
    scans: Arc<Semaphore>,
    resting: Arc<Mutex<Resting>>,
    connect_deadline: Duration,
}

#[derive(Debug, Default)]
struct Resting {
    /// The one used last is used next, so that those over the need grow old and go.
    sessions: Vec<(PgConnection, Instant)>,
    /// Counts how often all were let go; a session of an earlier count does not come back.
    generation: u64,
    closed: bool,
}

/// A session while it is lent. Dropped without [`Lent::release`], it is closed.
pub(super) struct Lent {
    session: Option<PgConnection>,
    generation: u64,
    resting: Arc<Mutex<Resting>>,
    _permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl Lent {
    pub(super) fn session(&mut self) -> Option<&mut PgConnection> {
        self.session.as_mut()
    }

    pub(super) fn release(mut self) {
        let mut resting = self.resting.lock();
        if let Some(session) = self.session.take()
            && resting.generation == self.generation
            && !resting.closed
        {
            resting.sessions.push((session, Instant::now()));
        }
    }

    /// Its server is gone, or is no primary any more: the others go too.
    pub(super) fn discard(self) {
        let mut resting = self.resting.lock();
        if resting.generation == self.generation {
            resting.generation += 1;
            resting.sessions.clear();
        }
    }
}

impl Sessions {
    /// `most` at once, and of those `scans` that scan, and as many that read pieces.
    pub(super) fn new(
        options: [PgConnectOptions; 2],
        most: usize,
        scans: usize,
        connect_deadline: Duration,
    ) -> Self {
        Self {
            options,
            without: AtomicBool::new(false),
            room: Arc::new(Semaphore::new(most)),
            pieces: Arc::new(Semaphore::new(scans)),
            scans: Arc::new(Semaphore::new(scans)),
            resting: Arc::default(),
            connect_deadline,
        }
    }

    /// A session that nobody else uses. Waits for one that is lent, and for a server that is
    /// starting, but not beyond `until`.
    pub(super) async fn checkout(&self, until: Instant, reads: Reads) -> DbResult<Lent> {
        let room_in = async |room: &Arc<Semaphore>| {
            timeout_at(until, Arc::clone(room).acquire_owned())
                .await
                .map_err(|_| DbError::Busy)?
                .map_err(|_| DbError::Closed)
        };
        let few = match reads {
            Reads::Point => None,
            Reads::Piece => Some(room_in(&self.pieces).await?),
            Reads::Scan => Some(room_in(&self.scans).await?),
        };
        let permits = (room_in(&self.room).await?, few);
        loop {
            let (rested, generation) = {
                let mut resting = self.resting.lock();
                let old = |(_, since): &(_, Instant)| since.elapsed() < REST_MAX;
                resting.sessions.retain(old);
                (resting.sessions.pop(), resting.generation)
            };
            let Some((mut session, since)) = rested else {
                return Ok(self.lent(self.connect(until).await?, generation, permits));
            };
            if since.elapsed() < ASK_AFTER
                || matches!(timeout(ASK_FOR, session.ping()).await, Ok(Ok(())))
            {
                return Ok(self.lent(session, generation, permits));
            }
        }
    }

    fn lent(
        &self,
        session: PgConnection,
        generation: u64,
        permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
    ) -> Lent {
        let resting = Arc::clone(&self.resting);
        Lent { session: Some(session), generation, resting, _permits: permits }
    }

    /// Tries again while the server is not there, so that a quick restart is not noticed.
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

    /// Lets the resting ones go in good order; none is lent any more.
    pub(super) async fn close(&self) {
        for room in [&self.room, &self.pieces, &self.scans] {
            room.close();
        }
        let sessions = {
            let mut resting = self.resting.lock();
            resting.closed = true;
            std::mem::take(&mut resting.sessions)
        };
        for (session, _) in sessions {
            // One that cannot say goodbye is closed by being dropped.
            drop(timeout(ASK_FOR, session.close()).await);
        }
    }
}

/// A proxy that pools transactions knows no settings of a session.
fn is_refused_setting(error: &sqlx::Error) -> bool {
    let refused = error.as_database_error();
    refused.is_some_and(|refused| refused.message().contains("startup parameter"))
}

/// A server that is restarting, or has no slot left, comes right by itself.
fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => tls::trouble(error).is_none(),
        sqlx::Error::Database(refused) => {
            let code = refused.code().unwrap_or_default();
            code.starts_with("57P") || code.starts_with("08") || code == "53300"
        }
        _ => false,
    }
}
