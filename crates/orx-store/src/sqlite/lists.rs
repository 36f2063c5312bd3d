//! Lists of jobs and dead letters, and counts of what matches a filter.

use std::fmt::Write as _;

use orx_model::JobId;
use orx_model::filter::Filter;
use rusqlite::{Connection, OptionalExtension, params};

use super::db_error::DbResult;
use super::{jobs, row};
use crate::columns::{JobColumn, Row as _};
use crate::filter_pushdown::{self, Dialect, LANES_MAX, LaneRow, Plan, SourceSql};
use crate::walk::{Found, WINDOW_BYTES, Walk, WindowRequest};

/// A walk between two windows.
pub(super) struct Walking {
    pub(super) walk: Walk,
    pub(super) dead: bool,
    /// Made with the first window.
    pub(super) plan: Option<Plan>,
}

/// Reads the next window of a walk; returns the one after it.
pub(super) fn step(conn: &Connection, walking: &mut Walking) -> DbResult<Option<WindowRequest>> {
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
        true => jobs::queue_counts(conn)?,
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
fn window(conn: &Connection, plan: &Plan, walk: &mut Walk, want: WindowRequest) -> DbResult<()> {
    // Bound parameters, so that the next page of the list reuses the prepared statement.
    let (sources, oldest_first) = (&plan.sources, walk.oldest_first);
    let sql = filter_pushdown::ids::<InSqlite>(sources, plan.upto, oldest_first, "?1", "?2");
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
                row::SqliteColumns(row).optional_time(JobColumn::dead_at).ok().flatten(),
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
