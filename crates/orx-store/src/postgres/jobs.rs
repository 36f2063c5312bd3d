//! Jobs: their reads, counts, cancels and retries.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use orx_model::filter::Filter;
use orx_model::wire::{Count, StatusCounts};
use orx_model::{
    Attempt, AttemptStatus, ExecutionId, Incarnation, Job, JobEvent, JobId, JobStatus, JobSummary,
    Name, NewJob, Timestamp, next,
};
use sqlx::postgres::PgRow;

use super::db_error::{DbError, DbResult};
use super::enqueue::Enqueue;
use super::executor::MessageKind;
use super::row::{self, JOB, PgColumns};
use super::sql::{self, SqlValue, Statement};
use super::{PgBudget, Postgres, TOO_BROAD};
use crate::codec::{FORCED, capped, status_code};
use crate::columns::Row as _;
use crate::error::prepared;
use crate::prepared_job::PreparedJob;
use crate::{
    CancelAnswer, CancelCommand, DeleteAnswer, Enqueued, Jobs, ListRequest, Page, Result,
    RetryAnswer,
};

/// Indexes of the commands without an answer; of several for one job, the first, so that commands for one
/// job run one after the other.
pub(super) fn firsts<A>(answers: &[Option<A>], job: impl Fn(usize) -> JobId) -> Vec<usize> {
    let mut jobs = HashSet::new();
    let left = (0..answers.len()).filter(|index| answers[*index].is_none());
    left.filter(|index| jobs.insert(job(*index))).collect()
}

/// The statuses in which `event` is legal, and the status that it leads to from each of them.
pub(super) fn sources_and_target(event: JobEvent) -> DbResult<(Vec<JobStatus>, JobStatus)> {
    let from: Vec<JobStatus> =
        JobStatus::ALL.into_iter().filter(|status| next(*status, event).is_ok()).collect();
    let to = next(from.first().copied().unwrap_or(JobStatus::Created), event)?;
    Ok((from, to))
}

pub(super) fn codes(statuses: &[JobStatus]) -> SqlValue {
    sql::ints(statuses.iter().map(|status| status_code(*status)))
}

pub(super) fn final_codes() -> SqlValue {
    let all = JobStatus::ALL.into_iter().filter(|status| status.is_final());
    sql::ints(all.map(status_code))
}

/// Chunks of logs that one statement of a deletion deletes, at most.
const DELETE_CHUNKS: i64 = 1_000;

impl PgBudget {
    async fn job(&self, id: JobId) -> DbResult<Option<Job>> {
        self.one_job(&format!("{JOB} WHERE j.id = :id"), [("id", sql::int(id.0))]).await
    }

    async fn jobs(&self, ids: &[JobId]) -> DbResult<Vec<Job>> {
        let query = format!("{JOB} WHERE j.id = any(:ids) ORDER BY j.id");
        let message = sql::fill(&query, [("ids", sql::ints(ids.iter().map(|id| id.0)))]);
        self.rows(MessageKind::Scan, message).await?.iter().map(row::job_or_stub).collect()
    }

    async fn job_by_key(&self, key: &str) -> DbResult<Option<Job>> {
        let query = format!("{JOB} WHERE j.id = (SELECT job FROM keys WHERE key = :key)");
        self.one_job(&query, [("key", sql::text(key))]).await
    }

    async fn one_job(
        &self,
        query: &str,
        values: [(&'static str, SqlValue); 1],
    ) -> DbResult<Option<Job>> {
        let rows = self.rows(MessageKind::Read, sql::fill(query, values)).await?;
        rows.first().map(row::job_or_stub).transpose()
    }

    async fn attempts(&self, id: JobId) -> DbResult<Vec<Attempt>> {
        let values = [
            ("job", sql::int(id.0)),
            ("running", sql::text(AttemptStatus::Running.as_str())),
            ("dispatched", sql::text(AttemptStatus::Dispatched.as_str())),
        ];
        let message = sql::fill(include_str!("attempts.sql"), values);
        row::readable("an attempt", &self.rows(MessageKind::Read, message).await?, row::attempt)
    }

    pub(super) async fn queue_counts(&self) -> DbResult<Vec<(Name, StatusCounts)>> {
        let message = include_str!("queue_counts.sql");
        let mut queues: Vec<(Name, StatusCounts)> = Vec::new();
        for row in &self.rows(MessageKind::Piece, message).await? {
            let row = PgColumns(row);
            let Ok(name) = row.name(0) else { continue };
            if queues.last().is_none_or(|(last, _)| *last != name) {
                queues.push((name, StatusCounts::default()));
            }
            if let (Some((_, counts)), Some(_)) = (queues.last_mut(), row.optional_int(1)?) {
                *counts.slot(row.status(1)?) = row.unsigned(2)?;
            }
        }
        Ok(queues)
    }

    async fn oldest_due(&self) -> DbResult<Vec<(Name, Timestamp)>> {
        let rows = self.rows(MessageKind::Piece, include_str!("oldest_due.sql")).await?;
        row::readable("a queue", &rows, |row| {
            Ok((PgColumns(row).name(0)?, PgColumns(row).time(1)?))
        })
    }

    async fn cancel(
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
            let rows = self.rows(MessageKind::Durable, cancel_statement(&commands, now)?).await;
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

    async fn retry(self: &Arc<Self>, ids: &[JobId], now: Timestamp) -> DbResult<Vec<RetryAnswer>> {
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
            let rows = self.rows(MessageKind::Durable, statement).await;
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

    async fn delete_jobs(
        self: &Arc<Self>,
        ids: &[JobId],
        expected: Option<JobStatus>,
    ) -> DbResult<Vec<DeleteAnswer>> {
        let mut answers: Vec<Option<DeleteAnswer>> = vec![None; ids.len()];
        loop {
            let left = firsts(&answers, |index| ids[index]);
            if left.is_empty() {
                return answers.into_iter().collect::<Option<Vec<_>>>().ok_or(DbError::Busy);
            }
            let values = [
                ("jobs", sql::ints(left.iter().map(|index| ids[*index].0))),
                ("final", final_codes()),
                ("expected", sql::optional_int(expected.map(status_code))),
                ("chunks", sql::int(DELETE_CHUNKS)),
            ];
            let statement = sql::fill(include_str!("delete_jobs.sql"), values);
            let done = answers.iter().any(Option::is_some);
            let rows = self.rows(MessageKind::Durable, statement).await;
            let rows = rows.map_err(|failure| failure.after(done))?;
            self.count();
            let answer = |row| {
                let row = PgColumns(row);
                let status = row.status(1)?;
                let answer = match (row.bool(2)?, row.bool(3)?, row.bool(4)?) {
                    (_, _, true) => Some(DeleteAnswer::Deleted),
                    // It changed meanwhile, or its log has more chunks.
                    (false, ..) | (_, true, _) => None,
                    _ if !status.is_final() || expected.is_some_and(|it| it != status) => {
                        Some(DeleteAnswer::NotInState { status })
                    }
                    _ => Some(DeleteAnswer::InUse { status }),
                };
                Ok((row.job(0)?, answer))
            };
            let found: HashMap<JobId, Option<DeleteAnswer>> =
                rows.iter().map(answer).collect::<DbResult<_>>()?;
            for index in left {
                answers[index] = match found.get(&ids[index]) {
                    Some(answer) => *answer,
                    None => Some(DeleteAnswer::Missing),
                };
            }
        }
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
        let row = PgColumns(row);
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

#[async_trait]
impl Jobs for Postgres {
    async fn enqueue(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Enqueued>> {
        let action = "accept the jobs";
        let jobs =
            jobs.into_iter().map(PreparedJob::new).collect::<std::result::Result<Vec<_>, _>>();
        let jobs = prepared(action, jobs)?;
        if jobs.is_empty() {
            return self.inner.usable().map(|()| Vec::new());
        }
        self.inner.gather(Enqueue { jobs, now }).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.inner.read("read the job", self.inner.job(id)).await
    }

    async fn jobs(&self, ids: Vec<JobId>) -> Result<Vec<Job>> {
        self.inner.read("read the jobs", self.inner.jobs(&ids)).await
    }

    async fn job_by_key(&self, key: &str) -> Result<Option<Job>> {
        self.inner.read("read the job", self.inner.job_by_key(key)).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>> {
        self.inner.read("read the attempts", self.inner.attempts(id)).await
    }

    async fn list(&self, request: ListRequest, now: Timestamp) -> Result<Page<JobSummary>> {
        let found = self.inner.read("list the jobs", self.inner.list(request, now)).await?;
        found.ok_or(TOO_BROAD)
    }

    async fn count(&self, filter: Filter, most: u64, now: Timestamp) -> Result<Count> {
        let count = self.inner.count_jobs(filter, most, now);
        self.inner.read("count the jobs", count).await?.ok_or(TOO_BROAD)
    }

    async fn queue_counts(&self) -> Result<Vec<(Name, StatusCounts)>> {
        self.inner.read("count the jobs", self.inner.queue_counts()).await
    }

    async fn oldest_due(&self) -> Result<Vec<(Name, Timestamp)>> {
        self.inner.read("read the due times", self.inner.oldest_due()).await
    }

    async fn cancel(
        &self,
        cancels: Vec<CancelCommand>,
        now: Timestamp,
    ) -> Result<Vec<CancelAnswer>> {
        self.inner.write("cancel the jobs", self.inner.cancel(&cancels, now)).await
    }

    async fn retry(&self, ids: Vec<JobId>, now: Timestamp) -> Result<Vec<RetryAnswer>> {
        self.inner.write("retry the jobs", self.inner.retry(&ids, now)).await
    }

    async fn delete_jobs(
        &self,
        ids: Vec<JobId>,
        expected: Option<JobStatus>,
    ) -> Result<Vec<DeleteAnswer>> {
        self.inner.write("delete the jobs", self.inner.delete_jobs(&ids, expected)).await
    }
}
