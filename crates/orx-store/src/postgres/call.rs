//! Messages to the server, each with a deadline on both sides.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Either, Executor as _};
use tokio::time::{Instant, sleep, timeout_at};

use super::row::Columns;
use super::trouble::{Done, Trouble};
use super::{Inner, sql};
use crate::budget::Reads;
use crate::{Durability, Result, StoreError};

/// What a message does, and so what follows when its end is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Some rows, by their key. Sent again once, if its session ended under it.
    Read,
    /// Likewise, but as [`Reads::Piece`].
    Piece,
    /// Likewise, but as [`Reads::Scan`].
    Scan,
    /// Synced before it is answered.
    Durable,
    /// Synced, and the same when done twice: sent again once.
    Repeatable,
    /// Synced within [`crate::ADVISORY_SYNC`] by the server itself; not sent again.
    Unsynced,
    /// As before, and the same when done twice: sent again once.
    Advisory,
}

impl Kind {
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

/// The rows of each statement of a message.
pub(super) type Sets = Vec<Vec<PgRow>>;

/// Tries of a message that the server undid because of others.
const TRIES: u32 = 5;
/// The server gives up by itself before the caller stops to listen.
const LISTEN: Duration = Duration::from_millis(500);
/// Statements that wrote counts between two summings-up, and rows that one takes at most.
const SUM_EVERY: u32 = 500;
const SUM_ROWS: i64 = 20_000;

impl Inner {
    pub(super) fn usable(&self) -> Result<()> {
        if self.common.closed.load(Ordering::Acquire) { Err(StoreError::Closed) } else { Ok(()) }
    }

    pub(super) fn tell(&self, trouble: Trouble, action: &'static str, reads: bool) -> StoreError {
        if let Trouble::Command(error) | Trouble::Unreadable(error) = &trouble {
            tracing::error!(%error, action, "the store could not do a command");
        }
        trouble.for_caller(action, &self.name, reads)
    }

    /// A read for a caller.
    pub(super) async fn read<T>(
        &self,
        action: &'static str,
        run: impl Future<Output = Done<T>>,
    ) -> Result<T> {
        self.usable()?;
        run.await.map_err(|trouble| self.tell(trouble, action, true))
    }

    /// A write for a caller.
    pub(super) async fn write<T>(
        &self,
        action: &'static str,
        run: impl Future<Output = Done<T>>,
    ) -> Result<T> {
        self.usable()?;
        run.await.map_err(|trouble| self.tell(trouble, action, false))
    }

    pub(super) async fn rows(&self, kind: Kind, message: String) -> Done<Vec<PgRow>> {
        Ok(self.send(kind, message).await?.into_iter().next().unwrap_or_default())
    }

    /// Sends a message: one transaction, whose statements are answered in order.
    pub(super) async fn send(&self, kind: Kind, message: String) -> Done<Sets> {
        let deadline = match kind.changes_nothing() {
            true => self.options.read_deadline,
            false => self.options.write_deadline,
        };
        self.send_within(kind, deadline, self.options.lock_deadline, message).await
    }

    pub(super) async fn send_within(
        &self,
        kind: Kind,
        deadline: Duration,
        lock_deadline: Duration,
        message: String,
    ) -> Done<Sets> {
        let until = Instant::now() + deadline;
        let (message, before) = self.timed(kind, deadline, lock_deadline, &message);
        let message: Arc<str> = message.into();
        let (mut undone, mut lost) = (0, false);
        loop {
            let trouble = match self.send_once(kind, Arc::clone(&message), until).await {
                Ok(mut sets) => {
                    sets.drain(..before.min(sets.len()));
                    return Ok(sets);
                }
                Err(trouble) => trouble,
            };
            match trouble {
                Trouble::Again if undone < TRIES => {
                    undone += 1;
                    let pause = 2_u64.pow(undone) * (1 + rand::random::<u64>() % 4);
                    sleep(Duration::from_millis(pause)).await;
                }
                Trouble::Lost(_) if kind.may_repeat() && !lost => lost = true,
                // Of two, the first may have been done, whatever became of the second.
                trouble => return Err(trouble.after(lost && !kind.changes_nothing())),
            }
            if Instant::now() >= until {
                return Err(if lost { Trouble::Late } else { Trouble::Busy });
            }
        }
    }

    /// The message with the deadlines of the server's side before it, and how many statements those
    /// are. They hold for this transaction alone.
    fn timed(
        &self,
        kind: Kind,
        deadline: Duration,
        lock_deadline: Duration,
        message: &str,
    ) -> (String, usize) {
        let mut timed = String::with_capacity(message.len() + 128);
        let mut before = 1;
        // Writing to a string does not fail.
        let _ = write!(timed, "set local statement_timeout = {};", deadline.as_millis());
        let changes = !kind.changes_nothing();
        if changes {
            let _ = write!(timed, "set local lock_timeout = {};", lock_deadline.as_millis());
            before += 1;
        }
        if changes && (!kind.syncs() || self.options.durability == Durability::Relaxed) {
            timed.push_str("set local synchronous_commit = off;");
            before += 1;
        }
        timed.push('\n');
        timed.push_str(message);
        (timed, before)
    }

    async fn send_once(&self, kind: Kind, message: Arc<str>, until: Instant) -> Done<Sets> {
        let busy_at = until.min(Instant::now() + self.options.busy_after);
        let mut lent = self.sessions.lend(busy_at, kind.reads()).await?;
        let Some(session) = lent.session() else { return Err(Trouble::Closed) };
        let answer = match timeout_at(until + LISTEN, sets(session, message)).await {
            Ok(answer) => answer.map_err(Trouble::from),
            Err(_) => Err(Trouble::Late),
        };
        match &answer {
            Err(Trouble::Late) => drop(lent),
            Err(trouble) if trouble.ends_session() => lent.forsake(),
            _ => lent.give_back(),
        }
        answer
    }

    /// To be called after a statement that wrote counts: sums them up from time to time, beside
    /// what is asked for. Rows that another node sums up are passed over.
    pub(super) fn count(self: &Arc<Self>) {
        if self.common.counted.fetch_add(1, Ordering::Relaxed) + 1 < SUM_EVERY {
            return;
        }
        self.common.counted.store(0, Ordering::Relaxed);
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(trouble) = inner.sum_counts().await {
                tracing::debug!(?trouble, "counts were not summed up");
            }
        });
    }

    pub(super) async fn sum_counts(&self) -> Done<()> {
        let values = [("rows", sql::int(SUM_ROWS))];
        let message = sql::fill(include_str!("sum_counts.sql"), &values);
        self.send(Kind::Unsynced, message).await.map(drop)
    }

    /// It is reached, and takes writes as far as it says.
    pub(super) async fn look(&self) -> Done<()> {
        let message = "select current_setting('transaction_read_only')";
        let rows = self.rows(Kind::Read, message.to_owned()).await?;
        match rows.first().map(|row| Columns(row).text(0)).transpose()?.as_deref() {
            Some("on") => Err(Trouble::ReadOnly("it takes no writes".into())),
            _ => Ok(()),
        }
    }

    /// A write of nothing, which needs all that any other needs.
    pub(super) async fn touch(&self) -> Done<()> {
        self.send(Kind::Repeatable, include_str!("touch.sql").to_owned()).await.map(drop)
    }
}

async fn sets(session: &mut PgConnection, message: Arc<str>) -> sqlx::Result<Sets> {
    let message = sqlx::raw_sql(AssertSqlSafe(message));
    let mut stream = session.fetch_many(message);
    let (mut sets, mut rows) = (Vec::new(), Vec::new());
    while let Some(next) = stream.try_next().await? {
        match next {
            Either::Left(_) => sets.push(std::mem::take(&mut rows)),
            Either::Right(row) => rows.push(row),
        }
    }
    Ok(sets)
}
