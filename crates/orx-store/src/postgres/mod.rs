//! The store in a PostgreSQL database, which several nodes share.
//!
//! Every write is one message ([`sql`]), and what may be asked for by many callers at once
//! ([`group`]) is gathered into one statement over arrays. Nothing of a session is relied on but
//! the message itself, so a proxy that pools transactions may stand before the server. What only
//! the leader may do compares its lease in the statement that does it.
//!
//! A write that is not answered in time, or whose session ends under it, is
//! [`StoreError::Unknown`]: it may still be committed. Only what changes nothing when done twice is
//! sent again by the store itself. Sessions come back by themselves once the server does.
//!
//! Values stand in the text of statements, so a server that logs statements, or those that fail,
//! logs arguments of jobs.

mod call;
mod change;
mod claim;
mod enqueue;
mod fire;
mod group;
mod keep;
mod lanes;
mod lease;
mod open;
mod outcome;
mod read;
mod read_beside;
mod row;
mod schedules;
mod sessions;
mod sql;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod transfer;
mod trouble;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use orx_model::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::group::Groups;
use self::lanes::Lanes;
use self::sessions::Sessions;
use crate::{Durability, Result, StoreError};

#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?sslmode=…`. What it leaves out comes from the
    /// usual variables (`PGHOST`, `PGPASSWORD`, …) and from `~/.pgpass`.
    pub url: String,
    /// Sessions with the server at once, at most.
    pub sessions: usize,
    /// With [`Durability::Full`], a server that may lose what it committed is refused.
    pub durability: Durability,
    /// What `pg_stat_activity` shows.
    pub application_name: String,
    /// Rows that may wait to be written, counting a kilobyte of arguments or logs as a row.
    pub waiting_max: u32,
    /// A call that finds no room or no session for so long is [`StoreError::Busy`].
    pub busy_after: Duration,
    /// A write not answered for so long is [`StoreError::Unknown`].
    pub write_deadline: Duration,
    pub read_deadline: Duration,
    /// Another transaction is waited for so long.
    pub lock_deadline: Duration,
    /// A server that cannot be reached for so long is [`StoreError::Away`].
    pub connect_deadline: Duration,
}

impl PostgresOptions {
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            sessions: 10,
            durability: Durability::Full,
            application_name: "orx".to_owned(),
            waiting_max: 256 * 1024,
            busy_after: Duration::from_secs(5),
            write_deadline: Duration::from_secs(10),
            read_deadline: Duration::from_secs(5),
            lock_deadline: Duration::from_secs(2),
            connect_deadline: Duration::from_secs(3),
        }
    }
}

impl fmt::Debug for PostgresOptions {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("sessions", &self.sessions)
            .field("durability", &self.durability)
            .field("application_name", &self.application_name)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub struct Postgres {
    inner: Arc<Inner>,
}

/// What calls share with the tasks that write for them.
#[derive(Debug)]
struct Inner {
    options: PostgresOptions,
    /// As errors name it.
    name: String,
    sessions: Sessions,
    lanes: Lanes,
    groups: Groups,
    /// Room for what waits.
    room: Arc<Semaphore>,
    closed: AtomicBool,
    /// Statements that wrote counts since they were last summed up.
    counted: AtomicU32,
}

impl Postgres {
    /// Connects, refuses a server whose settings do not hold what is promised, and brings the
    /// schema up to date. Nodes that open at once wait for each other.
    ///
    /// # Errors
    /// [`StoreError::Away`], [`StoreError::Unsafe`], [`StoreError::NewerSchema`],
    /// [`StoreError::Damaged`], [`StoreError::Full`], [`StoreError::Open`].
    pub async fn open(options: PostgresOptions, _now: Timestamp) -> Result<Self> {
        let connect = open::connect_options(&options)?;
        let name = open::shown(&connect);
        let sessions = Sessions::new(connect, options.sessions.max(2), options.connect_deadline);
        let inner = Inner {
            room: Arc::new(Semaphore::new(options.waiting_max as usize)),
            options,
            name,
            sessions,
            lanes: Lanes::default(),
            groups: Groups::default(),
            closed: AtomicBool::new(false),
            counted: AtomicU32::new(0),
        };
        open::check_settings(&inner).await?;
        open::migrate(&inner).await?;
        inner.refresh_lanes().await.map_err(|trouble| open::failed(trouble, &inner.name))?;
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn end(&self) -> Result<()> {
        let inner = &self.inner;
        if inner.closed.swap(true, Ordering::AcqRel) {
            return Err(StoreError::Closed);
        }
        // What was accepted is written first.
        let all = inner.room.acquire_many(inner.options.waiting_max);
        let waited = timeout(inner.options.write_deadline, all).await;
        // The last synced commit syncs all that were not before it.
        let synced = inner.touch().await;
        inner.room.close();
        inner.sessions.close().await;
        match waited {
            Ok(_) => synced.map_err(|trouble| inner.tell(trouble, "sync the store", false)),
            Err(_) => Err(StoreError::Unknown),
        }
    }
}
