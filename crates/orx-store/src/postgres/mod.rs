//! The store in a PostgreSQL database, which several nodes share.
//!
//! Every write is one statement with bound values ([`sql`]): one transaction, and one message once the
//! session has prepared it. Calls that many callers make at once are gathered into one statement over
//! arrays ([`group`]). The store relies on no state of a session except its prepared statements, so a
//! transaction-pooling proxy may stand in front of the server if it supports those. A statement that only
//! the leader may run compares the lease itself.
//!
//! A node has a few sessions, split as [`crate::budget`] describes: some for the control plane, others for
//! callers, and one for elections, which therefore wait for no other call.
//!
//! A write that times out, or that loses its session, is [`StoreError::Unknown`]: it may still commit. The
//! store itself repeats only idempotent statements. It reconnects once the server is back.
//!
//! The text of a statement contains no value. A server that logs failed statements, the default, therefore
//! logs no argument of a job; a server that logs all statements logs their values too.

mod audit;
mod claim;
mod db_error;
mod dead_letters;
mod dependencies;
mod dispatch;
mod enqueue;
mod executor;
mod fire;
mod group;
mod jobs;
mod lanes;
mod leases;
mod lists;
mod logs;
mod open;
mod operations;
mod outcomes;
#[cfg(test)]
mod plan_tests;
mod queues;
mod retention;
mod row;
mod schedules;
mod sessions;
mod sql;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod tokens;
mod transfer;
mod workers;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use orx_model::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::group::Groups;
use self::lanes::LaneCache;
use self::sessions::Sessions;
use crate::budget;
use crate::filter_pushdown::SCAN_MAX;
use crate::{Durability, Result, StoreError};

const TOO_BROAD: StoreError = StoreError::TooBroad { limit: SCAN_MAX };

/// How a [`Postgres`] connects and how long it waits. [`PostgresOptions::new`] sets the defaults.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?sslmode=…`. Missing parts come from the usual variables
    /// (`PGHOST`, `PGPASSWORD`, …) and from `~/.pgpass`.
    pub url: String,
    /// Maximum number of concurrent sessions with the server. Values below 3 count as 3; default 10.
    pub sessions: usize,
    /// Maximum number of concurrent scans of callers, and as many reads of pieces. The store lowers it below
    /// the number of callers' sessions. Default: half of the cores.
    pub scans: usize,
    /// With [`Durability::Full`], the default, opening rejects a server whose settings may lose commits.
    pub durability: Durability,
    /// Name of the sessions in `pg_stat_activity`; default `orx`.
    pub application_name: String,
    /// Maximum number of rows that wait to be written, for the control plane and for callers each. Each
    /// kilobyte of arguments or logs counts as a row. Default 262,144.
    pub waiting_max: u32,
    /// A call that gets no session, or no place in the queue of writes, within this time is
    /// [`StoreError::Busy`]. Default 5 s.
    pub busy_after: Duration,
    /// A write without an answer after this time is [`StoreError::Unknown`]. Default
    /// [`crate::WRITE_DEADLINE`].
    pub write_deadline: Duration,
    /// A read without an answer after this time fails. Default 5 s.
    pub read_deadline: Duration,
    /// A statement that waits longer than this for another transaction's lock is [`StoreError::Busy`].
    /// Default 2 s.
    pub lock_deadline: Duration,
    /// A server that accepts no connection within this time is [`StoreError::Unavailable`]. Default 3 s.
    pub connect_deadline: Duration,
}

impl PostgresOptions {
    /// The defaults, with this URL.
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

/// A store in a PostgreSQL database. A handle belongs to the control plane or to callers
/// ([`Postgres::callers`]); both share one store.
#[derive(Debug)]
pub struct Postgres {
    inner: Arc<PgBudget>,
    all: Arc<All>,
}

#[derive(Debug)]
struct All {
    control: Arc<PgBudget>,
    callers: Arc<PgBudget>,
    electing: Arc<PgBudget>,
}

/// One budget: the sessions and the queue of writes that the calls of one handle share.
#[derive(Debug)]
struct PgBudget {
    options: PostgresOptions,
    /// The URL without the password, for error texts.
    name: String,
    sessions: Sessions,
    groups: Groups,
    /// Permits for waiting rows.
    permits: Arc<Semaphore>,
    common: Arc<Common>,
}

/// State that all budgets share.
#[derive(Debug, Default)]
struct Common {
    lanes: LaneCache,
    closed: AtomicBool,
    /// Statements that wrote counts since the last summing.
    counted: AtomicU32,
}

impl Postgres {
    /// Connects, checks the settings of the server, and migrates the schema. Nodes that open at once wait
    /// for each other.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the server cannot be reached, [`StoreError::Tls`] if its certificate is not
    /// trusted, [`StoreError::Unsafe`] if its settings do not provide the durability in `options`,
    /// [`StoreError::NewerSchema`], [`StoreError::Full`], and [`StoreError::Open`] for any other cause.
    pub async fn open(options: PostgresOptions, _now: Timestamp) -> Result<Self> {
        let connect = open::connect_options(&options)?;
        let name = open::shown(&connect);
        let common = Arc::<Common>::default();
        let settings = open::session_settings(&options);
        let with_settings = connect.clone().options(settings);
        let budget = |sessions: usize, scans: usize| {
            let deadline = options.connect_deadline;
            Arc::new(PgBudget {
                sessions: Sessions::new(
                    [with_settings.clone(), connect.clone()],
                    sessions,
                    scans,
                    deadline,
                ),
                options: options.clone(),
                name: name.clone(),
                groups: Groups::default(),
                permits: Arc::new(Semaphore::new(options.waiting_max as usize)),
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
        inner.refresh_lanes().await.map_err(|failure| open::failed(failure, &inner.name))?;
        Ok(Self { inner, all: Arc::new(all) })
    }

    /// The handle for callers from outside the control plane. The control plane never waits for their calls.
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
        // All permits are free once every accepted row is written.
        let written = futures_util::future::join(
            control.permits.acquire_many(most),
            callers.permits.acquire_many(most),
        );
        let waited = timeout(deadline, written).await;
        // A synced commit also syncs every earlier unsynced one.
        let synced = control.touch().await;
        for budget in [control, callers, electing] {
            budget.permits.close();
            budget.sessions.close().await;
        }
        match waited {
            Ok(_) => synced.map_err(|failure| control.map_error(failure, "sync the store", false)),
            Err(_) => Err(StoreError::Unknown),
        }
    }
}
