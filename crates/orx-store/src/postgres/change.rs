//! Changes by people and by the clock: cancel, retry, promotion, expiry.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use orx_model::{
    AttemptStatus, ExecutionId, Incarnation, JobEvent, JobId, JobStatus, Timestamp, next,
};
use sqlx::postgres::PgRow;

use super::db_error::{DbError, DbResult};
use super::executor::Kind;
use super::row::Columns;
use super::sql::{Statement, Value};
use super::{Inner, sql};
use crate::codec::{FORCED, capped, over, status_code};
use crate::columns::Row as _;
use crate::{CancelAnswer, CancelCommand, Promoted, RetryAnswer, Term};

/// Indexes of the commands without an answer; of several for one job, the first, so that commands for one
/// job run one after the other.
pub(super) fn firsts<A>(answers: &[Option<A>], job: impl Fn(usize) -> JobId) -> Vec<usize> {
    let mut jobs = HashSet::new();
    let left = (0..answers.len()).filter(|index| answers[*index].is_none());
    left.filter(|index| jobs.insert(job(*index))).collect()
}

/// The statuses in which `event` is legal, and the status that it leads to from each of them.
fn sources_and_target(event: JobEvent) -> DbResult<(Vec<JobStatus>, JobStatus)> {
    let from: Vec<JobStatus> =
        JobStatus::ALL.into_iter().filter(|status| next(*status, event).is_ok()).collect();
    let to = next(from.first().copied().unwrap_or(JobStatus::Created), event)?;
    Ok((from, to))
}

fn codes(statuses: &[JobStatus]) -> Value {
    sql::ints(statuses.iter().map(|status| status_code(*status)))
}

impl Inner {
    pub(super) async fn cancel(
        self: &Arc<Self>,
        cancels: &[CancelCommand],
        now: Timestamp,
    ) -> DbResult<Vec<CancelAnswer>> {
        let mut answers: Vec<Option<CancelAnswer>> = vec![None; cancels.len()];
        loop {
            let left = firsts(&answers, |index| cancels[index].id);
            if left.is_empty() {
                return answers.into_iter().collect::<Option<Vec<_>>>().ok_or(DbError::Busy);
            }
            let commands: Vec<&CancelCommand> = left.iter().map(|index| &cancels[*index]).collect();
            let done = answers.iter().any(Option::is_some);
            let rows = self.rows(Kind::Durable, cancel_statement(&commands, now)?).await;
            let rows = rows.map_err(|failure| failure.after(done))?;
            self.count();
            let mut before = before(&rows)?;
            for (index, command) in left.into_iter().zip(commands) {
                answers[index] = match before.remove(&command.id) {
                    None => Some(CancelAnswer::Missing),
                    Some(before) => before.stood.then(|| before.answer(command)),
                };
            }
        }
    }

    pub(super) async fn retry(
        self: &Arc<Self>,
        ids: &[JobId],
        now: Timestamp,
    ) -> DbResult<Vec<RetryAnswer>> {
        let (from, to) = sources_and_target(JobEvent::Revive)?;
        let mut answers: Vec<Option<RetryAnswer>> = vec![None; ids.len()];
        loop {
            let left = firsts(&answers, |index| ids[index]);
            if left.is_empty() {
                return answers.into_iter().collect::<Option<Vec<_>>>().ok_or(DbError::Busy);
            }
            let values = [
                ("jobs", sql::ints(left.iter().map(|index| ids[*index].0))),
                ("from", codes(&from)),
                ("to", sql::int(status_code(to))),
                ("now", sql::int(now.as_millis())),
            ];
            let statement = sql::fill(include_str!("revive.sql"), values);
            let done = answers.iter().any(Option::is_some);
            let rows = self.rows(Kind::Durable, statement).await;
            let rows = rows.map_err(|failure| failure.after(done))?;
            self.count();
            let mut before = before(&rows)?;
            for index in left {
                answers[index] = match before.remove(&ids[index]) {
                    None => Some(RetryAnswer::Missing),
                    Some(Before { stood: false, .. }) => None,
                    Some(Before { status, .. }) if from.contains(&status) => {
                        Some(RetryAnswer::Retried)
                    }
                    Some(Before { status, .. }) => Some(RetryAnswer::NotInState { status }),
                };
            }
        }
    }

    pub(super) async fn delete_dead_letters(&self, ids: &[JobId]) -> DbResult<Vec<bool>> {
        let message = sql::fill(
            include_str!("delete_dead.sql"),
            [("jobs", sql::ints(ids.iter().map(|id| id.0)))],
        );
        let rows = self.rows(Kind::Durable, message).await?;
        let forgotten = rows.iter().map(|row| Columns(row).job(0));
        let mut forgotten: HashSet<JobId> = forgotten.collect::<DbResult<_>>()?;
        // A job has one dead letter, so the first of equal ids gets it.
        Ok(ids.iter().map(|id| forgotten.remove(id)).collect())
    }

    pub(super) async fn promote(
        self: &Arc<Self>,
        term: Term,
        now: Timestamp,
        limit: u32,
    ) -> DbResult<Promoted> {
        let (_, due) = sources_and_target(JobEvent::Due)?;
        let (_, cancelled) = sources_and_target(JobEvent::Cancel)?;
        let values = [
            ("lease", Value::Lease(Some(term))),
            ("now", sql::int(now.as_millis())),
            ("limit", sql::int(i64::from(limit))),
            ("pending", sql::int(status_code(due))),
            ("scheduled", sql::int(status_code(JobStatus::Scheduled))),
            ("cancelled", sql::int(status_code(cancelled))),
            // The reason after a deadline, and the reason otherwise.
            ("late", sql::text(over(Some(now), now))),
            ("expired", sql::text(over(None, now))),
        ];
        let message = sql::fill(include_str!("promote.sql"), values);
        let rows = self.rows(Kind::Durable, message).await?;
        let row = Columns(rows.first().ok_or(DbError::Deposed)?);
        let (expired, due) = (row.jobs(0)?, row.jobs(1)?);
        if !expired.is_empty() || !due.is_empty() {
            self.count();
        }
        let more = due.len() >= limit as usize || expired.len() >= limit as usize;
        Ok(Promoted { due, expired, more })
    }
}

/// A job as it was before the statement.
struct Before {
    status: JobStatus,
    live: Option<(Incarnation, ExecutionId)>,
    /// Whether the job stayed unchanged while the statement waited for its lock.
    stood: bool,
}

impl Before {
    fn answer(&self, command: &CancelCommand) -> CancelAnswer {
        let status = self.status;
        if command.expected.is_some_and(|expected| expected != status) {
            return CancelAnswer::NotInState { status };
        }
        match self.live {
            _ if status.is_final() => CancelAnswer::AlreadyFinal { status },
            None => CancelAnswer::Cancelled { stop: None },
            Some(live) if command.force => CancelAnswer::Cancelled { stop: Some(live) },
            Some((worker, execution)) => CancelAnswer::Cancelling { worker, execution, status },
        }
    }
}

/// Parses the rows of cancel.sql and revive.sql.
fn before(rows: &[PgRow]) -> DbResult<HashMap<JobId, Before>> {
    let before = |row| {
        let row = Columns(row);
        let live = row.optional_id(2)?.zip(row.optional_id(3)?);
        let live = live.map(|(worker, execution)| (Incarnation(worker), ExecutionId(execution)));
        Ok((row.job(0)?, Before { status: row.status(1)?, live, stood: row.bool(4)? }))
    };
    rows.iter().map(before).collect()
}

fn cancel_statement(commands: &[&CancelCommand], now: Timestamp) -> DbResult<Statement> {
    let (waiting, cancelled) = sources_and_target(JobEvent::Cancel)?;
    let (live, stopped) = sources_and_target(JobEvent::Stopped)?;
    let texts = |of: fn(&CancelCommand) -> Option<&str>| {
        sql::texts(commands.iter().map(move |command| of(command).map(capped)))
    };
    let expected = commands.iter().map(|command| command.expected.map(status_code));
    let values = [
        ("jobs", sql::ints(commands.iter().map(|command| command.id.0))),
        ("force", sql::bools(commands.iter().map(|command| command.force))),
        ("expected", sql::ints(expected)),
        ("reasons", texts(|command| command.reason.as_deref())),
        ("bys", texts(|command| command.by.as_deref())),
        ("waiting", codes(&waiting)),
        ("live", codes(&live)),
        ("cancelled", sql::int(status_code(cancelled))),
        ("stopped", sql::int(status_code(stopped))),
        ("ended", sql::text(AttemptStatus::Cancelled.as_str())),
        ("error", sql::text(FORCED)),
        ("now", sql::int(now.as_millis())),
    ];
    Ok(sql::fill(include_str!("cancel.sql"), values))
}
