//! What is read of jobs.

use std::collections::{BTreeMap, BTreeSet};

use orx_model::filter::Filter;
use orx_model::job::DeadReason;
use orx_model::message::ExecutionRef;
use orx_model::settle::ALONE_FROM;
use orx_model::wire::{Count, StatusCounts};
use orx_model::{
    Attempt, AttemptStatus, ExecutionId, Incarnation, Job, JobId, JobStatus, Name, Timestamp,
};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::row::{self, ATTEMPT, JOB, status_code};
use super::trouble::Done;
pub(super) use crate::plan::SCAN_MAX;
use crate::plan::{self, Statuses};
use crate::{DeadLetterRow, Holder, ListRequest, Live, Page};

pub(super) fn job(conn: &Connection, id: JobId) -> Done<Option<Job>> {
    let mut find = conn.prepare_cached(&format!("{JOB} WHERE j.id = ?1"))?;
    Ok(find.query_row([id.0], row::job_or_stub).optional()?)
}

/// One by one: nothing lies between this and the file.
pub(super) fn jobs(conn: &Connection, ids: &[JobId]) -> Done<Vec<Job>> {
    let ids: BTreeSet<JobId> = ids.iter().copied().collect();
    ids.into_iter().filter_map(|id| job(conn, id).transpose()).collect()
}

pub(super) fn job_by_key(conn: &Connection, key: &str) -> Done<Option<Job>> {
    let mut find =
        conn.prepare_cached(&format!("{JOB} WHERE j.id = (SELECT job FROM keys WHERE key = ?1)"))?;
    Ok(find.query_row([key], row::job_or_stub).optional()?)
}

pub(super) fn attempts(conn: &Connection, id: JobId) -> Done<Vec<Attempt>> {
    let mut ended = conn.prepare_cached(&format!("{ATTEMPT} WHERE job = ?1 ORDER BY number"))?;
    let ended = ended.query_map([id.0], |row| row::attempt(id, row))?;
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
    // A float, for a sum of integers can overflow: workers say what they like.
    let mut dropped = conn.prepare_cached(
        "SELECT attempt, TOTAL(dropped_bytes) FROM logs WHERE job = ?1 GROUP BY attempt",
    )?;
    let dropped = dropped.query_map([id.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let dropped = dropped.collect::<Result<BTreeMap<u32, f64>, _>>()?;
    for attempt in &mut all {
        attempt.dropped_bytes =
            dropped.get(&attempt.number).map_or(0, |bytes| *bytes as i64).unsigned_abs();
    }
    Ok(all)
}

/// `None` where too many jobs would have to be looked at.
pub(super) fn list(
    conn: &Connection,
    request: &ListRequest,
    now: Timestamp,
) -> Done<Option<Page<Job>>> {
    let limit = request.limit as usize;
    let mut rows: Vec<Job> = Vec::new();
    let mut more = false;
    let ended = scan(conn, &request.filter, request.oldest_first, request.after, |job| {
        if request.filter.matches(&job, now) {
            more = rows.len() == limit;
            if !more {
                rows.push(job);
            }
        }
        !more
    })?;
    // A full page stands, also where it was not found out whether another row follows.
    if !ended && rows.len() < limit {
        return Ok(None);
    }
    let next = rows.last().filter(|_| more || !ended).map(|job| job.id);
    Ok(Some(Page { rows, next }))
}

/// `None` where too many jobs would have to be looked at.
pub(super) fn count(
    conn: &Connection,
    filter: &Filter,
    most: u64,
    now: Timestamp,
) -> Done<Option<Count>> {
    if plan::is_counted(filter) {
        let count = plan::counted(filter, &queue_counts(conn)?);
        return Ok(Some(Count { count: count.min(most), exact: count <= most }));
    }
    let mut count = 0;
    let ended = scan(conn, filter, false, None, |job| {
        count += u64::from(filter.matches(&job, now));
        count <= most
    })?;
    let known = ended || count > most;
    Ok(known.then_some(Count { count: count.min(most), exact: count <= most }))
}

/// Gives every job that may match to `take`, by id, until it says `false`. Answers whether all were
/// given or `take` had enough, rather than [`SCAN_MAX`] reached.
fn scan(
    conn: &Connection,
    filter: &Filter,
    oldest_first: bool,
    after: Option<JobId>,
    mut take: impl FnMut(Job) -> bool,
) -> Done<bool> {
    let Some((sql, values)) = plan(filter, oldest_first, after) else { return Ok(true) };
    let mut statement = conn.prepare_cached(&sql)?;
    let mut find = conn.prepare_cached(&format!("{JOB} WHERE j.id = ?1"))?;
    let mut ids = statement.query(params_from_iter(values))?;
    let mut seen = 0;
    while let Some(row) = ids.next()? {
        if seen == SCAN_MAX {
            return Ok(false);
        }
        seen += 1;
        if !take(find.query_row([row.get::<_, i64>(0)?], row::job_or_stub)?) {
            return Ok(true);
        }
    }
    Ok(true)
}

/// The ids of jobs that may match, with the values of the statement. `None`: nothing matches.
pub(super) fn plan(
    filter: &Filter,
    oldest_first: bool,
    after: Option<JobId>,
) -> Option<(String, Vec<Value>)> {
    let order = if oldest_first { "ASC" } else { "DESC" };
    let mut values = Bound(Vec::new());
    let and = plan::conditions(filter, oldest_first, after, &mut values);
    let ids = match plan::statuses(filter) {
        Statuses::None => return None,
        Statuses::Any => format!("SELECT id FROM jobs WHERE 1{and}"),
        Statuses::Many(statuses) => {
            let codes: Vec<String> =
                statuses.iter().map(|status| status_code(*status).to_string()).collect();
            format!("SELECT id FROM jobs WHERE +status IN ({}){and}", codes.join(", "))
        }
        // SQLite merges them in order, and sorts nothing.
        Statuses::Few(statuses) => {
            let parts = statuses.iter().map(|status| {
                let code = status_code(*status);
                format!("SELECT id FROM jobs WHERE status = {code} AND status <> 5{and}")
            });
            parts.collect::<Vec<_>>().join(" UNION ALL ")
        }
    };
    Some((format!("{ids} ORDER BY id {order}"), values.0))
}

/// Values beside the statement, which has their places.
struct Bound(Vec<Value>);

impl Bound {
    fn place(&mut self, value: Value) -> String {
        self.0.push(value);
        format!("?{}", self.0.len())
    }
}

impl plan::Values for Bound {
    fn int(&mut self, value: i64) -> String {
        self.place(value.into())
    }

    fn float(&mut self, value: f64) -> String {
        self.place(value.into())
    }

    fn text(&mut self, value: &str) -> String {
        self.place(value.to_owned().into())
    }
}

pub(super) fn queue_counts(conn: &Connection) -> Done<Vec<(Name, StatusCounts)>> {
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

pub(super) fn oldest_due(conn: &Connection) -> Done<Vec<(Name, Timestamp)>> {
    let mut read = conn.prepare_cached(include_str!("oldest_due.sql"))?;
    let rows = read.query_map([], |row| Ok((row::name(row, 0)?, row::time(row, 1)?)))?;
    Ok(row::readable("a queue", rows)?)
}

pub(super) fn next_due(conn: &Connection) -> Done<Option<Timestamp>> {
    let mut read = conn.prepare_cached(include_str!("next_due.sql"))?;
    Ok(read.query_row([], |row| row::optional_time(row, 0))?)
}

const LIVE: &str = "SELECT id, attempt, execution, worker, status, claimed_at, started_at, \
     timeout_ms, deadline, cancel_at, server_lost FROM jobs";

pub(super) fn live_attempts(conn: &Connection) -> Done<Vec<Live>> {
    let sql = format!("{LIVE} WHERE status IN (3, 4) AND status <> 5 ORDER BY id");
    let mut read = conn.prepare_cached(&sql)?;
    let rows = read.query_map([], live)?;
    Ok(row::readable("a live attempt", rows)?)
}

pub(super) fn live_attempts_of(conn: &Connection, workers: &[Incarnation]) -> Done<Vec<Live>> {
    let mut read = conn.prepare_cached(&format!("{LIVE} WHERE worker = ?1 ORDER BY id"))?;
    let mut all = Vec::new();
    for worker in workers {
        let rows = read.query_map([worker.to_bytes()], live)?;
        all.extend(row::readable("a live attempt", rows)?);
    }
    all.sort_by_key(|attempt| attempt.job);
    Ok(all)
}

pub(super) fn holders(conn: &Connection, executions: &[ExecutionRef]) -> Done<Vec<Option<Holder>>> {
    let mut read = conn.prepare_cached(
        "SELECT worker, attempt FROM jobs WHERE id = ?1 AND execution = ?2 \
         UNION ALL SELECT worker, number FROM attempts WHERE job = ?1 AND execution = ?2 LIMIT 1",
    )?;
    let mut holders = Vec::with_capacity(executions.len());
    for of in executions {
        let holder = read.query_row(params![of.job.0, of.execution.to_bytes()], |row| {
            Ok(Holder { worker: Incarnation::from_bytes(row.get(0)?), attempt: row.get(1)? })
        });
        holders.push(match holder.optional() {
            // Nobody is known to hold it.
            Err(error) if row::is_unreadable(&error) => None,
            holder => holder?,
        });
    }
    Ok(holders)
}

fn live(row: &rusqlite::Row<'_>) -> rusqlite::Result<Live> {
    Ok(Live {
        job: JobId(row.get(0)?),
        attempt: row.get(1)?,
        execution: ExecutionId::from_bytes(row.get(2)?),
        worker: Incarnation::from_bytes(row.get(3)?),
        status: row::status(row, 4)?,
        claimed_at: row::time(row, 5)?,
        started_at: row::optional_time(row, 6)?,
        timeout_ms: row.get::<_, Option<i64>>(7)?.and_then(|ms| u64::try_from(ms).ok()),
        deadline: row::optional_time(row, 8)?,
        cancel_requested: row.get::<_, Option<i64>>(9)?.is_some(),
        alone: row.get::<_, u32>(10)? >= ALONE_FROM,
    })
}

pub(super) fn dead_letters(
    conn: &Connection,
    after: Option<JobId>,
    limit: u32,
) -> Done<Page<DeadLetterRow>> {
    let mut read = conn.prepare_cached(&format!(
        "{JOB} WHERE j.dead IS NOT NULL AND j.id < ?1 ORDER BY j.id DESC LIMIT ?2"
    ))?;
    let from = after.map_or(i64::MAX, |after| after.0);
    let rows = read.query_map(params![from, i64::from(limit) + 1], |row| {
        let job = row::job_or_stub(row)?;
        let at = row::time(row, 28).unwrap_or(job.created_at);
        Ok((job, at))
    })?;
    let mut letters = Vec::new();
    for row in rows {
        let (job, at) = row?;
        let reason = job.dead.unwrap_or(DeadReason::NotRetryable);
        letters.push(DeadLetterRow { job, reason, at });
    }
    let more = letters.len() > limit as usize;
    letters.truncate(limit as usize);
    let next = letters.last().filter(|_| more).map(|row| row.job.id);
    Ok(Page { rows: letters, next })
}

pub(super) fn dead_letter_count(conn: &Connection) -> Done<u64> {
    let mut read = conn.prepare_cached("SELECT count(*) FROM jobs WHERE dead IS NOT NULL")?;
    Ok(read.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
}
