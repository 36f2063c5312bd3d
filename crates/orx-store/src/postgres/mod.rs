//! The store in a PostgreSQL database, which several nodes share.
//!
//! Every write is one statement with bound values ([`sql`]): one message once its session has prepared
//! it, and one transaction. What may be asked for by many callers at once ([`group`]) is gathered into
//! one statement over arrays. Nothing of a session is relied on but its prepared statements, so a proxy
//! that pools transactions may stand before the server if it keeps those. What only the leader may do
//! compares its lease in the statement that does it.
//!
//! A node has a few sessions, and who shares them with whom is said in [`crate::budget`]: the control
//! plane has some, callers have others, and one elects, which so waits behind nothing.
//!
//! A write that is not answered in time, or whose session ends under it, is
//! [`StoreError::Unknown`]: it may still be committed. Only what changes nothing when done twice is
//! sent again by the store itself. Sessions come back by themselves once the server does.
//!
//! No value stands in the text of a statement. So a server that logs statements which fail, as it does
//! by itself, logs no argument of a job; one that logs all of them logs their values too.

mod change;
mod claim;
mod db_error;
mod enqueue;
mod executor;
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
use crate::budget;
use crate::{Durability, Result, StoreError};

#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?sslmode=…`. What it leaves out comes from the
    /// usual variables (`PGHOST`, `PGPASSWORD`, …) and from `~/.pgpass`.
    pub url: String,
    /// Sessions with the server at once, at most; 3 at least.
    pub sessions: usize,
    /// Of those of callers, so many scan at once, and as many read pieces.
    pub scans: usize,
    /// With [`Durability::Full`], a server that may lose what it committed is refused.
    pub durability: Durability,
    /// What `pg_stat_activity` shows.
    pub application_name: String,
    /// Rows that may wait to be written, of the control plane and of callers each, counting a kilobyte
    /// of arguments or logs as a row.
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
            scans: budget::half_of_cores(),
            durability: Durability::Full,
            application_name: "orx".to_owned(),
            waiting_max: 256 * 1024,
            busy_after: Duration::from_secs(5),
            write_deadline: crate::WRITE_DEADLINE,
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
            .field("scans", &self.scans)
            .field("durability", &self.durability)
            .field("application_name", &self.application_name)
            .finish_non_exhaustive()
    }
}

/// A handle of the control plane, or of callers; all are of one store.
#[derive(Debug)]
pub struct Postgres {
    inner: Arc<Inner>,
    all: Arc<All>,
}

#[derive(Debug)]
struct All {
    control: Arc<Inner>,
    callers: Arc<Inner>,
    electing: Arc<Inner>,
}

/// One budget: what is asked through it shares sessions and room in the queue. Calls share it with the
/// tasks that write for them.
#[derive(Debug)]
struct Inner {
    options: PostgresOptions,
    /// As errors name it.
    name: String,
    sessions: Sessions,
    groups: Groups,
    /// Room for what waits.
    room: Arc<Semaphore>,
    common: Arc<Common>,
}

/// Of all budgets.
#[derive(Debug, Default)]
struct Common {
    lanes: Lanes,
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
        let common = Arc::<Common>::default();
        let settings = open::session_settings(&options);
        let with_settings = connect.clone().options(settings);
        let budget = |sessions: usize, scans: usize| {
            let deadline = options.connect_deadline;
            Arc::new(Inner {
                sessions: Sessions::new(
                    [with_settings.clone(), connect.clone()],
                    sessions,
                    scans,
                    deadline,
                ),
                options: options.clone(),
                name: name.clone(),
                groups: Groups::default(),
                room: Arc::new(Semaphore::new(options.waiting_max as usize)),
                common: Arc::clone(&common),
            })
        };
        let shared = options.sessions.max(3) - 1;
        let (control, callers) = (shared / 2, shared - shared / 2);
        let all = All {
            control: budget(control, control),
            callers: budget(callers, options.scans.clamp(1, (callers - 1).max(1))),
            electing: budget(1, 1),
        };
        let inner = Arc::clone(&all.control);
        open::check_settings(&inner).await?;
        open::check_proxy(&inner, &all.electing).await?;
        open::migrate(&inner).await?;
        inner.refresh_lanes().await.map_err(|trouble| open::failed(trouble, &inner.name))?;
        Ok(Self { inner, all: Arc::new(all) })
    }

    /// The handle for whoever asks from outside: nothing of the control plane waits for it.
    #[must_use]
    pub fn callers(&self) -> Self {
        Self { inner: Arc::clone(&self.all.callers), all: Arc::clone(&self.all) }
    }

    async fn end(&self) -> Result<()> {
        let All { control, callers, electing } = &*self.all;
        if control.common.closed.swap(true, Ordering::AcqRel) {
            return Err(StoreError::Closed);
        }
        let (most, deadline) = (control.options.waiting_max, control.options.write_deadline);
        // What was accepted is written first.
        let written = futures_util::future::join(
            control.room.acquire_many(most),
            callers.room.acquire_many(most),
        );
        let waited = timeout(deadline, written).await;
        // The last synced commit syncs all that were not before it.
        let synced = control.touch().await;
        for budget in [control, callers, electing] {
            budget.room.close();
            budget.sessions.close().await;
        }
        match waited {
            Ok(_) => synced.map_err(|trouble| control.tell(trouble, "sync the store", false)),
            Err(_) => Err(StoreError::Unknown),
        }
    }
}
