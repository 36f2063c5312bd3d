//! Reads of jobs and attempts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use orx_model::filter::Filter;
use orx_model::message::ExecutionRef;
use orx_model::settle::ALONE_FROM;
use orx_model::wire::StatusCounts;
use orx_model::{
    Attempt, AttemptStatus, ExecutionId, Incarnation, Job, JobId, JobStatus, Name, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::db_error::DbResult;
use super::row::{self, ATTEMPT, JOB};
use crate::columns::{JobColumn, Row as _};
use crate::filter_pushdown::{self, Dialect, LANES_MAX, LaneRow, Plan, SourceSql};
use crate::walk::{Found, WINDOW_BYTES, Walk, Want};
use crate::{Holder, Live};

pub(super) fn job(conn: &Connection, id: JobId) -> DbResult<Option<Job>> {
    let mut find = conn.prepare_cached(&format!("{JOB} WHERE j.id = ?1"))?;
    Ok(find.query_row([id.0], row::job_or_stub).optional()?)
}

/// One statement per job: there is no round trip to save.
pub(super) fn jobs(conn: &Connection, ids: &[JobId]) -> DbResult<Vec<Job>> {
    let ids: BTreeSet<JobId> = ids.iter().copied().collect();
    ids.into_iter().filter_map(|id| job(conn, id).transpose()).collect()
}

pub(super) fn job_by_key(conn: &Connection, key: &str) -> DbResult<Option<Job>> {
    let mut find =
        conn.prepare_cached(&format!("{JOB} WHERE j.id = (SELECT job FROM keys WHERE key = ?1)"))?;
    Ok(find.query_row([key], row::job_or_stub).optional()?)
}

pub(super) fn attempts(conn: &Connection, id: JobId) -> DbResult<Vec<Attempt>> {
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
    let dropped = dropped.collect::<Result<BTreeMap<u32, f64>, _>>()?;
    for attempt in &mut all {
        attempt.dropped_bytes =
            dropped.get(&attempt.number).map_or(0, |bytes| *bytes as i64).unsigned_abs();
    }
    Ok(all)
}

/// A walk between two windows.
pub(super) struct Walking {
    pub(super) walk: Walk,
    pub(super) dead: bool,
    /// Made with the first window.
    pub(super) plan: Option<Plan>,
}

/// Reads the next window of a walk; returns the one after it.
pub(super) fn step(conn: &Connection, walking: &mut Walking) -> DbResult<Option<Want>> {
    let Walking { walk, dead, plan: found } = walking;
    if found.is_none() {
        *found = plan(conn, walk.filter(), *dead)?;
    }
    match (&found, walk.want()) {
        (Some(plan), Some(want)) => window(conn, plan, walk, want)?,
        _ => walk.nothing(),
    }
    Ok(walk.want())
}

/// `None`: nothing matches.
pub(super) fn plan(conn: &Connection, filter: &Filter, dead: bool) -> DbResult<Option<Plan>> {
    let lanes = match filter_pushdown::needs_lanes(filter) {
        true => Some(lanes(conn)?).filter(|lanes| lanes.len() <= LANES_MAX),
        false => None,
    };
    let counts = match filter_pushdown::needs_counts(filter) {
        true => queue_counts(conn)?,
        false => Vec::new(),
    };
    Ok(filter_pushdown::plan::<InSqlite>(filter, dead, lanes.as_deref(), &counts))
}

/// At most one more than [`LANES_MAX`], which shows that there are too many.
fn lanes(conn: &Connection) -> DbResult<Vec<LaneRow>> {
    let mut read = conn.prepare_cached(
        "SELECT l.id, q.name, l.handler FROM lanes l JOIN queues q ON q.id = l.queue LIMIT ?1",
    )?;
    let rows = read.query_map([LANES_MAX as i64 + 1], |row| {
        Ok(LaneRow { id: row.get(0)?, queue: row.get(1)?, handler: row.get(2)? })
    })?;
    Ok(row::readable("a lane", rows)?)
}

/// Reads ids from the indexes, then each job by its id; there is no round trip to save.
fn window(conn: &Connection, plan: &Plan, walk: &mut Walk, want: Want) -> DbResult<()> {
    // Bound parameters, so that the next page of the list reuses the prepared statement.
    let sql = filter_pushdown::ids::<InSqlite>(&plan.sources, walk.oldest_first, "?1", "?2");
    let beyond = if walk.oldest_first { i64::MIN } else { i64::MAX };
    let after = want.after.map_or(beyond, |after| after.0);
    let with_args = walk.needs_args();
    let columns = if with_args { row::WITH_ARGS } else { row::SUMMARY };
    let mut find = conn.prepare_cached(&format!("{columns} WHERE j.id = ?1{}", plan.conditions))?;
    let mut ids = conn.prepare_cached(&sql)?;
    let mut ids = ids.query(params![after, row::integer(want.rows)])?;
    let (mut looked, mut bytes) = (0, 0);
    while let Some(id) = ids.next()? {
        let id: i64 = id.get(0)?;
        let found = find.query_row([id], |row| {
            let job = row::job_or_stub(row)?;
            Ok(Found::new(
                job,
                row::Columns(row).optional_time(JobColumn::dead_at).ok().flatten(),
                with_args,
            ))
        });
        let found = found.optional()?;
        looked += 1;
        bytes += found.as_ref().map_or(0, Found::bytes);
        if !walk.look(JobId(id), found) {
            return Ok(());
        }
        if bytes >= WINDOW_BYTES {
            walk.end_window(false);
            return Ok(());
        }
    }
    walk.end_window(looked < want.rows);
    Ok(())
}

/// The indexes of this store.
pub(super) enum InSqlite {}

impl Dialect for InSqlite {
    const LANES_OF_ALL: bool = true;

    fn lane(lane: i64) -> SourceSql {
        SourceSql::new("jobs", "id", format!("lane = {lane}"))
    }

    fn term(term: &str) -> SourceSql {
        // Hex, so that user text cannot change the statement.
        let mut hex = String::with_capacity(term.len() * 2);
        for byte in term.bytes() {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
        SourceSql::new("terms", "job", format!("term = CAST(x'{hex}' AS TEXT)"))
    }

    fn unindexed() -> SourceSql {
        let last = "SELECT value FROM meta WHERE key = 'terms_after'";
        SourceSql::new("jobs", "id", format!("id <= ({last})"))
    }

    /// SQLite merges the parts in order, without a sort.
    fn union(parts: &[String], end: &str) -> String {
        format!("{} {end}", parts.join(" UNION "))
    }
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

pub(super) fn oldest_due(conn: &Connection) -> DbResult<Vec<(Name, Timestamp)>> {
    let mut read = conn.prepare_cached(include_str!("oldest_due.sql"))?;
    let rows = read.query_map([], |row| Ok((row::name(row, 0)?, row::time(row, 1)?)))?;
    Ok(row::readable("a queue", rows)?)
}

pub(super) fn next_due(conn: &Connection) -> DbResult<Option<Timestamp>> {
    let mut read = conn.prepare_cached(include_str!("next_due.sql"))?;
    Ok(read.query_row([], |row| row::optional_time(row, 0))?)
}

const LIVE: &str = "SELECT id, attempt, execution, worker, status, claimed_at, started_at, \
     timeout_ms, deadline, cancel_at, max(server_lost, lost) FROM jobs";

pub(super) fn live_attempts(conn: &Connection) -> DbResult<Vec<Live>> {
    let sql = format!("{LIVE} WHERE status IN (3, 4) AND status <> 5 ORDER BY id");
    let mut read = conn.prepare_cached(&sql)?;
    let rows = read.query_map([], live)?;
    Ok(row::readable("a live attempt", rows)?)
}

pub(super) fn live_attempts_of(conn: &Connection, workers: &[Incarnation]) -> DbResult<Vec<Live>> {
    let mut read = conn.prepare_cached(&format!("{LIVE} WHERE worker = ?1 ORDER BY id"))?;
    let mut all = Vec::new();
    for worker in workers {
        let rows = read.query_map([worker.to_bytes()], live)?;
        all.extend(row::readable("a live attempt", rows)?);
    }
    all.sort_by_key(|attempt| attempt.job);
    Ok(all)
}

pub(super) fn holders(
    conn: &Connection,
    executions: &[ExecutionRef],
) -> DbResult<Vec<Option<Holder>>> {
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
            // An unreadable holder counts as unknown.
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

pub(super) fn dead_letter_count(conn: &Connection, most: u64) -> DbResult<u64> {
    let mut read = conn.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE dead IS NOT NULL LIMIT ?1)",
    )?;
    Ok(read.query_row([row::integer(most)], |row| row.get::<_, i64>(0))?.unsigned_abs())
}
