//! What is read of jobs.

use std::fmt::Write as _;

use orx_model::filter::{Field, Filter, Op, Term, Test};
use orx_model::wire::{Count, StatusCounts};
use orx_model::{
    Attempt, AttemptStatus, ExecutionId, Incarnation, Job, JobId, JobStatus, Name, Timestamp,
};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::row::{self, ATTEMPT, JOB, status_code};
use super::trouble::Done;
use crate::{DeadLetterRow, ListRequest, Live, Page};

/// Jobs looked at for one page, or one count.
pub(super) const SCAN_MAX: u64 = 200_000;

pub(super) fn job(conn: &Connection, id: JobId) -> Done<Option<Job>> {
    let mut find = conn.prepare_cached(&format!("{JOB} WHERE j.id = ?1"))?;
    Ok(find.query_row([id.0], row::job).optional()?)
}

pub(super) fn job_by_key(conn: &Connection, key: &str) -> Done<Option<Job>> {
    let mut find =
        conn.prepare_cached(&format!("{JOB} WHERE j.id = (SELECT job FROM keys WHERE key = ?1)"))?;
    Ok(find.query_row([key], row::job).optional()?)
}

pub(super) fn attempts(conn: &Connection, id: JobId) -> Done<Vec<Attempt>> {
    let mut ended = conn.prepare_cached(&format!("{ATTEMPT} WHERE job = ?1 ORDER BY number"))?;
    let ended = ended.query_map([id.0], |row| row::attempt(id, row))?;
    let mut all = ended.collect::<Result<Vec<_>, _>>()?;
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
        })
    });
    all.extend(live.optional()?);
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
    if let Some(count) = counted(conn, filter)? {
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

/// Where the filter asks for statuses and queues alone, the answer stands in the counts.
fn counted(conn: &Connection, filter: &Filter) -> Done<Option<u64>> {
    let by_counts =
        |term: &Term| matches!(term.test, Test::Status(_) | Test::Text(Field::Queue, _));
    if !filter.terms.iter().all(by_counts) {
        return Ok(None);
    }
    let holds = |queue: &Name, status: JobStatus| {
        filter.terms.iter().all(|term| {
            let holds = match &term.test {
                Test::Status(statuses) => statuses.contains(&status),
                Test::Text(_, patterns) => patterns.iter().any(|it| it.matches(queue.as_str())),
                _ => true,
            };
            holds != term.negated
        })
    };
    let queues = queue_counts(conn)?;
    let cells = queues.iter().flat_map(|(queue, counts)| {
        JobStatus::ALL.map(|status| (queue, status, counts.of(status)))
    });
    Ok(Some(cells.filter(|(queue, status, _)| holds(queue, *status)).map(|cell| cell.2).sum()))
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
        if !take(find.query_row([row.get::<_, i64>(0)?], row::job)?) {
            return Ok(true);
        }
    }
    Ok(true)
}

/// The ids of jobs by what SQL can tell of a filter: it gives too many jobs, never too few. `None`: nothing matches.
/// The whole filter is asked of each job afterwards.
pub(super) fn plan(
    filter: &Filter,
    oldest_first: bool,
    after: Option<JobId>,
) -> Option<(String, Vec<Value>)> {
    let (order, beyond) = if oldest_first { ("ASC", '>') } else { ("DESC", '<') };
    let mut values = Vec::new();
    let mut place = |value: Value| {
        values.push(value);
        values.len()
    };
    let mut and = String::new();
    // Writing to a string does not fail.
    if let Some(after) = after {
        let _ = write!(and, " AND id {beyond} ?{}", place(after.0.into()));
    }
    if let Some(queue) = filter.queue() {
        let name = place(queue.to_lowercase().into());
        let _ = write!(
            and,
            " AND lane IN (SELECT l.id FROM lanes l JOIN queues q ON q.id = l.queue \
             WHERE lower(q.name) = ?{name})"
        );
    }
    for term in filter.terms.iter().filter(|term| !term.negated) {
        match &term.test {
            Test::Since(at) => {
                let _ = write!(and, " AND created_at >= ?{}", place(at.as_millis().into()));
            }
            Test::Until(at) => {
                let _ = write!(and, " AND created_at < ?{}", place(at.as_millis().into()));
            }
            Test::Number(count, op, number) => {
                let column = match count {
                    orx_model::filter::Count::Id => "id",
                    orx_model::filter::Count::Attempts => "attempt",
                };
                let _ = write!(and, " AND {column} {} ?{}", sql_op(*op), place((*number).into()));
            }
            _ => {}
        }
    }
    let ids = match filter.statuses() {
        None => format!("SELECT id FROM jobs WHERE 1{and}"),
        Some(statuses) if statuses.is_empty() => return None,
        Some(statuses) if statuses.contains(&JobStatus::Completed) => {
            let codes: Vec<String> =
                statuses.iter().map(|status| status_code(*status).to_string()).collect();
            format!("SELECT id FROM jobs WHERE +status IN ({}){and}", codes.join(", "))
        }
        // Each status stands in `jobs_status` by id: SQLite merges them in order, and sorts nothing.
        Some(statuses) => {
            let parts = statuses.iter().map(|status| {
                let code = status_code(*status);
                format!("SELECT id FROM jobs WHERE status = {code} AND status <> 5{and}")
            });
            parts.collect::<Vec<_>>().join(" UNION ALL ")
        }
    };
    Some((format!("{ids} ORDER BY id {order}"), values))
}

fn sql_op(op: Op) -> &'static str {
    match op {
        Op::Is => "=",
        Op::Not => "<>",
        Op::Less => "<",
        Op::AtMost => "<=",
        Op::More => ">",
        Op::AtLeast => ">=",
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
        let name = row::name(row, 0)?;
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
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn next_due(conn: &Connection) -> Done<Option<Timestamp>> {
    let mut read = conn.prepare_cached(include_str!("next_due.sql"))?;
    Ok(read.query_row([], |row| row::optional_time(row, 0))?)
}

const LIVE: &str = "SELECT id, attempt, execution, worker, status, claimed_at, started_at, \
     timeout_ms, deadline, cancel_at FROM jobs";

pub(super) fn live_attempts(conn: &Connection) -> Done<Vec<Live>> {
    let sql = format!("{LIVE} WHERE status IN (3, 4) AND status <> 5 ORDER BY id");
    let mut read = conn.prepare_cached(&sql)?;
    let rows = read.query_map([], live)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn live_attempts_of(conn: &Connection, worker: Incarnation) -> Done<Vec<Live>> {
    let mut read = conn.prepare_cached(&format!("{LIVE} WHERE worker = ?1 ORDER BY id"))?;
    let rows = read.query_map([worker.to_bytes()], live)?;
    Ok(rows.collect::<Result<_, _>>()?)
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
        Ok((row::job(row)?, row::time(row, 28)?))
    })?;
    let mut letters = Vec::new();
    for row in rows {
        let (job, at) = row?;
        if let Some(reason) = job.dead {
            letters.push(DeadLetterRow { job, reason, at });
        }
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
