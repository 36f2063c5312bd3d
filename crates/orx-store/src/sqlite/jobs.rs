//! Jobs: their reads, counts, cancels and retries.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use orx_model::filter::Filter;
use orx_model::wire::{Count, StatusCounts};
use orx_model::{
    Attempt, AttemptStatus, Incarnation, Job, JobEvent, JobId, JobStatus, JobSummary, Name, NewJob,
    Timestamp, next,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::db_error::DbResult;
use super::finish::{AttemptEnd, CancelWords, Ending, finish};
use super::outcomes::seen;
use super::row::{self, ATTEMPT, JOB, status_code};
use super::writer::Tx;
use super::{ROW_BYTES, Sqlite, TOO_BROAD, WriteKind, dependencies, enqueue, retention};
use crate::budget::Reads;
use crate::codec::{FORCED, capped};
use crate::error::prepared;
use crate::prepared_job::PreparedJob;
use crate::walk::Walk;
use crate::{
    CancelAnswer, CancelCommand, DeleteAnswer, Enqueued, Jobs, ListRequest, Page, Result,
    RetryAnswer, filter_pushdown,
};

/// Chunks of logs that one transaction of a deletion deletes, at most.
const DELETE_CHUNKS: usize = 1_000;

fn job(conn: &Connection, id: JobId) -> DbResult<Option<Job>> {
    let mut find = conn.prepare_cached(&format!("{JOB} WHERE j.id = ?1"))?;
    Ok(find.query_row([id.0], row::job_or_stub).optional()?)
}

/// One statement per job: there is no round trip to save.
fn jobs(conn: &Connection, ids: &[JobId]) -> DbResult<Vec<Job>> {
    let ids: BTreeSet<JobId> = ids.iter().copied().collect();
    ids.into_iter().filter_map(|id| job(conn, id).transpose()).collect()
}

fn job_by_key(conn: &Connection, key: &str) -> DbResult<Option<Job>> {
    let mut find =
        conn.prepare_cached(&format!("{JOB} WHERE j.id = (SELECT job FROM keys WHERE key = ?1)"))?;
    Ok(find.query_row([key], row::job_or_stub).optional()?)
}

fn attempts(conn: &Connection, id: JobId) -> DbResult<Vec<Attempt>> {
    let mut ended =
        conn.prepare_cached(&format!("{ATTEMPT} WHERE a.job = ?1 ORDER BY a.number"))?;
    let ended = ended.query_map([id.0], row::attempt)?;
    let mut all = row::readable("an attempt", ended)?;
    let mut live = conn.prepare_cached(
        "SELECT attempt, execution, worker, worker_name, status, claimed_at, started_at, epoch \
         FROM jobs WHERE id = ?1 AND execution IS NOT NULL",
    )?;
    let live = live.query_row([id.0], |row| {
        Ok(Attempt {
            job: id,
            number: row.get(0)?,
            execution: row::execution(row, 1)?,
            worker: row::incarnation(row, 2)?,
            worker_name: row::name(row, 3)?,
            epoch: row.get::<_, Option<i64>>(7)?.unwrap_or_default().unsigned_abs(),
            status: match row::status(row, 4)? {
                JobStatus::Running => AttemptStatus::Running,
                _ => AttemptStatus::Dispatched,
            },
            claimed_at: row::time(row, 5)?,
            started_at: row::optional_time(row, 6)?,
            ended_at: None,
            error: None,
            exit: None,
            dropped_bytes: 0,
        })
    });
    all.extend(row::readable("an attempt", live.optional().transpose().into_iter())?);
    // A float: a sum of integers can overflow, because workers report any number.
    let mut dropped = conn.prepare_cached(
        "SELECT attempt, TOTAL(dropped_bytes) FROM logs WHERE job = ?1 GROUP BY attempt",
    )?;
    let dropped = dropped.query_map([id.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let dropped = dropped.collect::<std::result::Result<BTreeMap<u32, f64>, _>>()?;
    for attempt in &mut all {
        attempt.dropped_bytes =
            dropped.get(&attempt.number).map_or(0, |bytes| *bytes as i64).unsigned_abs();
    }
    Ok(all)
}

pub(super) fn queue_counts(conn: &Connection) -> DbResult<Vec<(Name, StatusCounts)>> {
    let mut read = conn.prepare_cached(
        "SELECT q.name, c.status, c.jobs \
         FROM queues q LEFT JOIN counts c ON c.queue = q.id ORDER BY q.name",
    )?;
    let mut rows = read.query([])?;
    let mut queues: Vec<(Name, StatusCounts)> = Vec::new();
    while let Some(row) = rows.next()? {
        let Ok(name) = row::name(row, 0) else { continue };
        if queues.last().is_none_or(|(last, _)| *last != name) {
            queues.push((name, StatusCounts::default()));
        }
        if let (Some((_, counts)), Some(jobs)) = (queues.last_mut(), row.get::<_, Option<i64>>(2)?)
        {
            *counts.slot(row::status(row, 1)?) = jobs.unsigned_abs();
        }
    }
    Ok(queues)
}

fn oldest_due(conn: &Connection) -> DbResult<Vec<(Name, Timestamp)>> {
    let mut read = conn.prepare_cached(include_str!("oldest_due.sql"))?;
    let rows = read.query_map([], |row| Ok((row::name(row, 0)?, row::time(row, 1)?)))?;
    Ok(row::readable("a queue", rows)?)
}

fn cancel(
    tx: &mut Tx<'_>,
    cancels: &[CancelCommand],
    now: Timestamp,
) -> DbResult<Vec<CancelAnswer>> {
    let mut answers = Vec::with_capacity(cancels.len());
    for command in cancels {
        answers.push(cancel_one(tx, command, now)?);
    }
    Ok(answers)
}

pub(super) fn cancel_one(
    tx: &mut Tx<'_>,
    command: &CancelCommand,
    now: Timestamp,
) -> DbResult<CancelAnswer> {
    let Some(seen) = seen(tx, command.id)? else { return Ok(CancelAnswer::Missing) };
    let status = seen.status;
    if command.expected.is_some_and(|expected| expected != status) {
        return Ok(CancelAnswer::NotInState { status });
    }
    if status.is_final() {
        return Ok(CancelAnswer::AlreadyFinal { status });
    }
    let words = CancelWords {
        reason: command.reason.as_deref().map(capped),
        by: command.by.as_deref().map(capped),
    };
    let (id, of) = (command.id, (seen.lane, status));
    let live = seen.execution.zip(seen.worker.map(Incarnation::from_bytes));
    let Some((execution, worker)) = live else {
        finish(tx, id, of, JobEvent::Cancel, now, &Ending::Wait(words))?;
        return Ok(CancelAnswer::Cancelled { stop: None });
    };
    if !seen.cancel_requested {
        record_cancel(tx, id, &words, now)?;
        dependencies::cancel_requested(tx, id, true)?;
    }
    if command.force {
        // Later reports of the attempt are stale.
        let ending = Ending::Attempt(AttemptEnd {
            status: AttemptStatus::Cancelled,
            started_at: seen.started_at,
            error: Some(FORCED),
            exit_code: None,
            exit_signal: None,
            ends: seen.ends,
            run_at: None,
            deadline: seen.deadline,
            dead: None,
        });
        finish(tx, id, of, JobEvent::Stopped, now, &ending)?;
        return Ok(CancelAnswer::Cancelled { stop: Some((worker, execution)) });
    }
    Ok(CancelAnswer::Cancelling { worker, execution, status })
}

/// Records the request until the attempt ends. The caller keeps the first request.
fn record_cancel(tx: &Tx<'_>, job: JobId, words: &CancelWords<'_>, now: Timestamp) -> DbResult<()> {
    tx.conn
        .prepare_cached(
            "UPDATE jobs SET cancel_at = ?2, cancel_reason = ?3, cancel_by = ?4 WHERE id = ?1",
        )?
        .execute(params![job.0, now.as_millis(), words.reason, words.by])?;
    Ok(())
}

fn retry(tx: &mut Tx<'_>, ids: &[JobId], now: Timestamp) -> DbResult<Vec<RetryAnswer>> {
    ids.iter().map(|id| retry_one(tx, *id, now)).collect()
}

pub(super) fn retry_one(tx: &mut Tx<'_>, id: JobId, now: Timestamp) -> DbResult<RetryAnswer> {
    let Some(seen) = seen(tx, id)? else { return Ok(RetryAnswer::Missing) };
    let Ok(to) = next(seen.status, JobEvent::Revive) else {
        return Ok(RetryAnswer::NotInState { status: seen.status });
    };
    tx.conn.prepare_cached(include_str!("revive.sql"))?.execute(params![
        id.0,
        status_code(to),
        now.as_millis()
    ])?;
    tx.conn.prepare_cached("DELETE FROM results WHERE job = ?1")?.execute([id.0])?;
    dependencies::cancel_requested(tx, id, false)?;
    tx.cache.moved(seen.lane, Some(seen.status), Some(to));
    Ok(RetryAnswer::Retried)
}

/// Deletes jobs until the bound of log chunks is reached. The answers are those of the first jobs.
fn delete(
    tx: &mut Tx<'_>,
    ids: &[JobId],
    expected: Option<JobStatus>,
) -> DbResult<Vec<DeleteAnswer>> {
    let (mut answers, mut chunks) = (Vec::new(), DELETE_CHUNKS);
    // The id of a deleted job is not used again.
    tx.cache.keep_next_job(tx.conn)?;
    for id in ids {
        let Some(answer) = retention::delete_one(tx, *id, expected, &mut chunks)? else { break };
        answers.push(answer);
    }
    Ok(answers)
}

#[async_trait]
impl Jobs for Sqlite {
    async fn enqueue(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Enqueued>> {
        let action = "accept the jobs";
        let jobs =
            jobs.into_iter().map(PreparedJob::new).collect::<std::result::Result<Vec<_>, _>>();
        let jobs = prepared(action, jobs)?;
        let weight = jobs.iter().map(|job| 1 + job.bytes() / ROW_BYTES).sum();
        let run = move |tx: &mut Tx<'_>| enqueue::enqueue(tx, &jobs, now);
        self.write(action, WriteKind::Durable, weight, run).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.read("read the job", move |conn| job(conn, id)).await
    }

    async fn jobs(&self, ids: Vec<JobId>) -> Result<Vec<Job>> {
        let read = move |conn: &Connection| jobs(conn, &ids);
        self.read_of(Reads::Scan, "read the jobs", read).await
    }

    async fn job_by_key(&self, key: &str) -> Result<Option<Job>> {
        let key = key.to_owned();
        self.read("read the job", move |conn| job_by_key(conn, &key)).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>> {
        self.read("read the attempts", move |conn| attempts(conn, id)).await
    }

    async fn list(&self, request: ListRequest, now: Timestamp) -> Result<Page<JobSummary>> {
        let walk = self.walk("list the jobs", Walk::page(request, now), false).await?;
        walk.into_page(|found| found.job).ok_or(TOO_BROAD)
    }

    async fn count(&self, filter: Filter, most: u64, now: Timestamp) -> Result<Count> {
        if filter_pushdown::is_counted(&filter) {
            let count = filter_pushdown::counted(&filter, &self.queue_counts().await?);
            return Ok(Count { count: count.min(most), exact: count <= most });
        }
        let walk = self.walk("count the jobs", Walk::count(filter, most, now), false).await?;
        walk.into_count().ok_or(TOO_BROAD)
    }

    async fn queue_counts(&self) -> Result<Vec<(Name, StatusCounts)>> {
        self.read_of(Reads::Piece, "count the jobs", queue_counts).await
    }

    async fn oldest_due(&self) -> Result<Vec<(Name, Timestamp)>> {
        self.read_of(Reads::Piece, "read the due times", oldest_due).await
    }

    async fn cancel(
        &self,
        cancels: Vec<CancelCommand>,
        now: Timestamp,
    ) -> Result<Vec<CancelAnswer>> {
        let weight = cancels.len();
        let run = move |tx: &mut Tx<'_>| cancel(tx, &cancels, now);
        self.write("cancel the jobs", WriteKind::Durable, weight, run).await
    }

    async fn retry(&self, ids: Vec<JobId>, now: Timestamp) -> Result<Vec<RetryAnswer>> {
        let weight = ids.len();
        let run = move |tx: &mut Tx<'_>| retry(tx, &ids, now);
        self.write("retry the jobs", WriteKind::Durable, weight, run).await
    }

    async fn delete_jobs(
        &self,
        ids: Vec<JobId>,
        expected: Option<JobStatus>,
    ) -> Result<Vec<DeleteAnswer>> {
        let mut answers = Vec::with_capacity(ids.len());
        // Each round deletes all that is left, or as many chunks of logs as one transaction may.
        while answers.len() < ids.len() {
            let left = ids[answers.len()..].to_vec();
            let weight = left.len() + DELETE_CHUNKS;
            let run = move |tx: &mut Tx<'_>| delete(tx, &left, expected);
            answers.extend(self.write("delete the jobs", WriteKind::Durable, weight, run).await?);
        }
        Ok(answers)
    }
}
