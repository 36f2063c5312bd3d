//! Statements to the server, each with a deadline on both sides.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _, SqlStr};
use tokio::time::{Instant, sleep, timeout_at};

use super::db_error::{DbError, DbResult};
use super::row::PgColumns;
use super::sql::{SqlValue, Statement};
use super::{PgBudget, sql};
use crate::budget::Reads;
use crate::columns::Row as _;
use crate::{Durability, Result, StoreError};

/// What a message does: decides whether it is synced, and whether it is repeated when its session is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageKind {
    /// A read of some rows by key. Repeated once if its session is lost.
    Read,
    /// As `Read`, with the budget of [`Reads::Piece`].
    Piece,
    /// As `Read`, with the budget of [`Reads::Scan`].
    Scan,
    /// A write that is synced before the answer. Not repeated.
    Durable,
    /// As `Durable`, but idempotent: repeated once if its session is lost.
    Repeatable,
    /// A write that the server syncs within [`crate::ADVISORY_SYNC`]. Not repeated.
    Unsynced,
    /// As `Unsynced`, but idempotent: repeated once if its session is lost.
    Advisory,
}

impl MessageKind {
    pub(super) fn changes_nothing(self) -> bool {
        matches!(self, Self::Read | Self::Piece | Self::Scan)
    }

    fn syncs(self) -> bool {
        matches!(self, Self::Durable | Self::Repeatable)
    }

    fn may_repeat(self) -> bool {
        self.changes_nothing() || matches!(self, Self::Repeatable | Self::Advisory)
    }

    pub(super) fn read(reads: Reads) -> Self {
        match reads {
            Reads::Point => Self::Read,
            Reads::Piece => Self::Piece,
            Reads::Scan => Self::Scan,
        }
    }

    fn reads(self) -> Reads {
        match self {
            Self::Piece => Reads::Piece,
            Self::Scan => Reads::Scan,
            Self::Read | Self::Durable | Self::Repeatable | Self::Unsynced | Self::Advisory => {
                Reads::Point
            }
        }
    }
}

enum SqlMessage {
    Bound(SqlStr, Vec<SqlValue>),
    Script(SqlStr),
}

impl SqlMessage {
    async fn send(&self, session: &mut PgConnection) -> sqlx::Result<Vec<PgRow>> {
        match self {
            Self::Bound(text, values) => {
                let arguments = sql::arguments(values).map_err(sqlx::Error::Encode)?;
                session.fetch_all(sqlx::query_with(text.clone(), arguments)).await
            }
            Self::Script(script) => session.fetch_all(sqlx::raw_sql(script.clone())).await,
        }
    }
}

/// Repetitions of a message that the server rolled back because of a conflict.
const TRIES: u32 = 5;
/// The client waits this much longer than the deadline, so that the server times out first.
const ANSWER_GRACE: Duration = Duration::from_millis(500);
/// Statements that write counts between two summings, and the maximum number of rows of one summing.
const SUM_EVERY: u32 = 500;
const SUM_ROWS: i64 = 20_000;

impl PgBudget {
    /// # Errors
    /// [`StoreError::Closed`] if the store is closed.
    pub(super) fn usable(&self) -> Result<()> {
        if self.common.closed.load(Ordering::Acquire) { Err(StoreError::Closed) } else { Ok(()) }
    }

    /// The error for a caller. Logs one that is neither the load nor the state of the server.
    pub(super) fn map_error(
        &self,
        failure: DbError,
        action: &'static str,
        reads: bool,
    ) -> StoreError {
        if let DbError::Command(error) | DbError::Unreadable(error) = &failure {
            tracing::error!(%error, action, "the store could not run a command");
        }
        failure.for_caller(action, &self.name, reads)
    }

    /// Runs a read of a caller.
    pub(super) async fn read<T>(
        &self,
        action: &'static str,
        run: impl Future<Output = DbResult<T>>,
    ) -> Result<T> {
        self.usable()?;
        run.await.map_err(|failure| self.map_error(failure, action, true))
    }

    /// Runs a write of a caller.
    pub(super) async fn write<T>(
        &self,
        action: &'static str,
        run: impl Future<Output = DbResult<T>>,
    ) -> Result<T> {
        self.usable()?;
        run.await.map_err(|failure| self.map_error(failure, action, false))
    }

    /// Runs a statement as one transaction.
    pub(super) async fn rows(
        &self,
        kind: MessageKind,
        statement: impl Into<Statement>,
    ) -> DbResult<Vec<PgRow>> {
        let mut statement: Statement = statement.into();
        if statement.text.contains(":settings") {
            statement.text = statement.text.replace(":settings", &self.settings(kind));
        } else {
            debug_assert!(kind.changes_nothing(), "it changes no settings: {}", statement.text);
        }
        let text = AssertSqlSafe(std::mem::take(&mut statement.text)).into_sql_str();
        let deadline = match kind.changes_nothing() {
            true => self.options.read_deadline,
            false => self.options.write_deadline,
        };
        self.send(kind, deadline, &SqlMessage::Bound(text, statement.values)).await
    }

    /// Runs statements without values in one transaction, which the server ends after `deadline`.
    pub(super) async fn script(&self, deadline: Duration, script: &str) -> DbResult<()> {
        let deadlines = deadline.as_millis();
        let script: SqlStr = AssertSqlSafe(format!(
            "set local statement_timeout = {deadlines}; set local lock_timeout = {deadlines};\n{script}"
        ))
        .into_sql_str();
        self.send(MessageKind::Repeatable, deadline, &SqlMessage::Script(script)).await.map(drop)
    }

    async fn send(
        &self,
        kind: MessageKind,
        deadline: Duration,
        message: &SqlMessage,
    ) -> DbResult<Vec<PgRow>> {
        let until = Instant::now() + deadline;
        let (mut rolled_back, mut lost) = (0, false);
        loop {
            let failure = match self.send_once(kind, message, until).await {
                Ok(rows) => return Ok(rows),
                Err(failure) => failure,
            };
            match failure {
                DbError::Again if rolled_back < TRIES => {
                    rolled_back += 1;
                    let pause = 2_u64.pow(rolled_back) * (1 + rand::random::<u64>() % 4);
                    sleep(Duration::from_millis(pause)).await;
                }
                DbError::Lost(_) if kind.may_repeat() && !lost => lost = true,
                // The first message may have been committed, whatever happened to the second.
                failure => return Err(failure.after(lost && !kind.changes_nothing())),
            }
            if Instant::now() >= until {
                return Err(if lost { DbError::Late } else { DbError::Busy });
            }
        }
    }

    /// The query that changes the settings of a writing transaction.
    fn settings(&self, kind: MessageKind) -> String {
        let lock_deadline = self.options.lock_deadline.as_millis();
        let mut settings = format!("select set_config('lock_timeout', '{lock_deadline}', true)");
        if !kind.syncs() || self.options.durability == Durability::Relaxed {
            settings.push_str(", set_config('synchronous_commit', 'off', true)");
        }
        settings
    }

    async fn send_once(
        &self,
        kind: MessageKind,
        message: &SqlMessage,
        until: Instant,
    ) -> DbResult<Vec<PgRow>> {
        let busy_at = until.min(Instant::now() + self.options.busy_after);
        let mut lent = self.sessions.checkout(busy_at, kind.reads()).await?;
        let Some(session) = lent.session() else { return Err(DbError::Closed) };
        let answer = match timeout_at(until + ANSWER_GRACE, message.send(session)).await {
            Ok(answer) => answer.map_err(DbError::from),
            Err(_) => Err(DbError::Late),
        };
        match &answer {
            Err(DbError::Late) => drop(lent),
            Err(failure) if failure.ends_session() => lent.discard(),
            _ => lent.release(),
        }
        answer
    }

    /// Call this after each statement that wrote counts. From time to time it starts a task that sums them.
    /// The task skips rows that another node is summing.
    pub(super) fn count(self: &Arc<Self>) {
        if self.common.counted.fetch_add(1, Ordering::Relaxed) + 1 < SUM_EVERY {
            return;
        }
        self.common.counted.store(0, Ordering::Relaxed);
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(failure) = inner.sum_counts().await {
                tracing::debug!(?failure, "could not sum the counts");
            }
        });
    }

    pub(super) async fn sum_counts(&self) -> DbResult<()> {
        let values = [("rows", sql::int(SUM_ROWS))];
        let statement = sql::fill(include_str!("sum_counts.sql"), values);
        self.rows(MessageKind::Unsynced, statement).await?;
        let values = [("rows", sql::int(SUM_ROWS))];
        let statement = sql::fill(include_str!("sum_cause_counts.sql"), values);
        self.rows(MessageKind::Unsynced, statement).await.map(drop)
    }

    /// Checks that the server answers and is not read-only.
    pub(super) async fn look(&self) -> DbResult<()> {
        let message = "select current_setting('transaction_read_only')";
        let rows = self.rows(MessageKind::Read, message).await?;
        match rows.first().map(|row| PgColumns(row).text(0)).transpose()?.as_deref() {
            Some("on") => Err(DbError::ReadOnly("it is read-only".into())),
            _ => Ok(()),
        }
    }

    /// A synced write without content. Also syncs every earlier write.
    pub(super) async fn touch(&self) -> DbResult<()> {
        let message = "update meta set value = value + 1 from (:settings) s where key = 'touched'";
        self.rows(MessageKind::Repeatable, message).await.map(drop)
    }

    /// Checks that a write succeeds and the disk is not full.
    pub(super) async fn check_writable(&self) -> DbResult<()> {
        self.touch().await?;
        self.script(self.options.write_deadline, include_str!("check_writable.sql")).await
    }
}
