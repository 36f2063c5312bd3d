//! Reads of logs, workers, nodes, tokens and the clock, and exports.

use std::collections::HashMap;

use orx_model::log::{LogChunk, LogCursor};
use orx_model::message::WorkerState;
use orx_model::{ExecutionId, Incarnation, JobId, SecretHash, Timestamp};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::db_error::DbResult;
use super::row;
use crate::codec::{self, clock_note};
use crate::columns::{JobColumn, Row as _};
use crate::{
    ClockNote, JobExport, LogRequest, NodeRecord, NodeReport, RetainedKey, RowCounts, TokenRecord,
    WorkerRecord, WorkerReport,
};

pub(super) fn read_logs(conn: &Connection, request: &LogRequest) -> DbResult<Vec<LogChunk>> {
    let mut read = conn.prepare_cached(
        "SELECT attempt, seq, execution, stream, at, dropped_bytes, bytes FROM logs \
         WHERE job = ?1 AND (attempt, seq) > (?2, ?3) AND (?4 IS NULL OR attempt = ?4) \
         ORDER BY attempt, seq",
    )?;
    let mut rows = read.query(params![
        request.job.0,
        request.after.attempt,
        seq(request.after),
        request.attempt
    ])?;
    let (mut bytes, mut chunks) = (0, Vec::new());
    while let Some(row) = rows.next()? {
        let read = row::readable("a chunk of a log", std::iter::once(chunk(request.job, row)))?;
        let Some(chunk) = read.into_iter().next() else { continue };
        if !request.streams.is_empty() && !request.streams.contains(&chunk.stream) {
            continue;
        }
        // An empty chunk counts as one byte, so that a log of empty chunks reaches the limit too.
        bytes += chunk.bytes.len().max(1);
        chunks.push(chunk);
        if bytes >= request.limit_bytes {
            break;
        }
    }
    Ok(chunks)
}

fn chunk(job: JobId, row: &Row<'_>) -> rusqlite::Result<LogChunk> {
    Ok(LogChunk {
        job,
        attempt: row.get(0)?,
        execution: ExecutionId::from_bytes(row.get(2)?),
        seq: row.get::<_, i64>(1)?.unsigned_abs(),
        stream: row::stream(row, 3)?,
        at: row::time(row, 4)?,
        dropped_bytes: row.get::<_, i64>(5)?.unsigned_abs(),
        bytes: row.get(6)?,
    })
}

pub(super) fn log_tail(conn: &Connection, request: &LogRequest, lines: u32) -> DbResult<LogCursor> {
    let mut read = conn.prepare_cached(
        "SELECT attempt, seq, stream, bytes FROM logs \
         WHERE job = ?1 AND (attempt, seq) > (?2, ?3) AND (?4 IS NULL OR attempt = ?4) \
         ORDER BY attempt DESC, seq DESC",
    )?;
    let mut rows = read.query(params![
        request.job.0,
        request.after.attempt,
        seq(request.after),
        request.attempt
    ])?;
    // One more than requested: the newline before the first requested line ends the line before it.
    let mut left = u64::from(lines) + 1;
    while let Some(row) = rows.next()? {
        let Ok(stream) = row::stream(row, 2) else { continue };
        if !request.streams.is_empty() && !request.streams.contains(&stream) {
            continue;
        }
        let bytes = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        let newlines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        if newlines >= left {
            let seq = row.get::<_, i64>(1)?.unsigned_abs();
            let before = LogCursor { attempt: row.get(0)?, seq: seq.saturating_sub(1) };
            return Ok(before.max(request.after));
        }
        left -= newlines;
    }
    Ok(request.after)
}

fn seq(cursor: LogCursor) -> i64 {
    i64::try_from(cursor.seq).unwrap_or(i64::MAX)
}

pub(super) fn worker_secret(
    conn: &Connection,
    worker: Incarnation,
) -> DbResult<Option<SecretHash>> {
    let mut read = conn.prepare_cached("SELECT secret FROM workers WHERE incarnation = ?1")?;
    let kept = read.query_row([worker.to_bytes()], |row| row.get::<_, Option<[u8; 32]>>(0));
    Ok(kept.optional()?.flatten().map(SecretHash))
}

pub(super) fn workers(conn: &Connection, now: Timestamp) -> DbResult<Vec<WorkerRecord>> {
    let mut read = conn.prepare_cached(
        "SELECT registration, state, capacity, heartbeat, load, hosted_by, node, seen_at, ordered, \
         incarnation, name FROM workers ORDER BY name, incarnation",
    )?;
    let rows = read.query_map([], |row| {
        let incarnation = |column| -> rusqlite::Result<Option<Incarnation>> {
            Ok(row.get::<_, Option<_>>(column)?.map(Incarnation::from_bytes))
        };
        let seen_at = row::time(row, 7)?;
        let registration = match row::json(row, 0) {
            Err(error) if row::is_unreadable(&error) => {
                let (worker, name) = (row::incarnation(row, 9)?, row.get_ref(10)?.as_str()?);
                codec::unreadable_worker(worker, name, seen_at, &error)
            }
            read => read?,
        };
        Ok(WorkerRecord {
            report: WorkerReport {
                registration,
                state: worker_state(row, 1)?,
                capacity: row.get(2)?,
                heartbeat: row.get::<_, i64>(3)?.unsigned_abs(),
                load: match row.get_ref(4)? {
                    ValueRef::Null => None,
                    // Only shown to people, so an unreadable load is left out.
                    _ => row::json(row, 4).ok(),
                },
                hosted_by: incarnation(5)?,
                node: incarnation(6)?,
            },
            seen_at,
            silent: now.saturating_since(seen_at),
            order: row::order(row, 8)?,
        })
    })?;
    Ok(row::readable("a worker", rows)?)
}

fn worker_state(row: &Row<'_>, column: usize) -> rusqlite::Result<WorkerState> {
    let text = row.get_ref(column)?.as_str()?;
    crate::codec::worker_state(text).ok_or_else(|| row::wrong(column, Type::Text, text))
}

pub(super) fn nodes(conn: &Connection, now: Timestamp) -> DbResult<Vec<NodeRecord>> {
    let mut read = conn.prepare_cached(
        "SELECT node, name, url, version, started_at, seen_at, zone_version FROM nodes \
         ORDER BY name, node",
    )?;
    let rows = read.query_map([], |row| {
        let seen_at = row::time(row, 5)?;
        Ok(NodeRecord {
            report: NodeReport {
                node: row::incarnation(row, 0)?,
                name: row::name(row, 1)?,
                url: row.get(2)?,
                version: row.get(3)?,
                started_at: row::time(row, 4)?,
                zone_version: row.get(6)?,
            },
            seen_at,
            silent: now.saturating_since(seen_at),
        })
    })?;
    Ok(row::readable("a node", rows)?)
}

/// Jobs and their attempts, ordered by id, above `after`.
pub(super) fn export(conn: &Connection, after: i64, limit: u32) -> DbResult<Vec<JobExport>> {
    let sql = format!("{} WHERE j.id > ?1 ORDER BY j.id LIMIT ?2", row::JOB);
    let mut read = conn.prepare_cached(&sql)?;
    let rows = read.query_map(params![after, limit], |row| {
        Ok(JobExport {
            job: row::job_or_stub(row)?,
            key_hash: None,
            expire_at: row::Columns(row).optional_time(JobColumn::expire_at)?,
            dead_at: row::Columns(row).optional_time(JobColumn::dead_at)?,
            attempts: Vec::new(),
        })
    })?;
    let mut exports = rows.collect::<Result<Vec<_>, _>>()?;
    let mut ended =
        conn.prepare_cached(&format!("{} WHERE a.job = ?1 ORDER BY a.number", row::ATTEMPT))?;
    let mut hash = conn.prepare_cached("SELECT hash FROM keys WHERE key = ?1")?;
    for export in &mut exports {
        let id = export.job.id;
        if let Some(key) = &export.job.spec.key {
            export.key_hash = hash.query_row([key], |row| row.get(0)).optional()?.flatten();
        }
        let attempts = ended.query_map([id.0], row::attempt)?;
        export.attempts = row::readable("an attempt", attempts)?;
    }
    Ok(exports)
}

pub(super) fn row_counts(conn: &Connection) -> DbResult<RowCounts> {
    let mut read = conn.prepare_cached(include_str!("../row_counts.sql"))?;
    let count = |row: &Row<'_>, column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    Ok(read.query_row([], |row| {
        Ok(RowCounts {
            attempts: count(row, 0)?,
            log_chunks: count(row, 1)?,
            keys: count(row, 2)?,
            slots: count(row, 3)?,
            watched: count(row, 4)?,
            tokens: count(row, 5)?,
        })
    })?)
}

pub(super) fn kept_keys(conn: &Connection, after: &str, limit: u32) -> DbResult<Vec<RetainedKey>> {
    let mut read = conn.prepare_cached(
        "SELECT key, job, hash, status, kept_until FROM keys \
         WHERE kept_until IS NOT NULL AND key > ?1 ORDER BY key",
    )?;
    let mut rows = read.query([after])?;
    let mut keys = Vec::new();
    while keys.len() < limit as usize
        && let Some(row) = rows.next()?
    {
        keys.extend(row::readable("a key", std::iter::once(kept_key(row)))?);
    }
    Ok(keys)
}

fn kept_key(row: &Row<'_>) -> rusqlite::Result<RetainedKey> {
    Ok(RetainedKey {
        key: row.get(0)?,
        job: JobId(row.get(1)?),
        hash: row.get(2)?,
        status: row::status(row, 3)?,
        kept_until: row::time(row, 4)?,
    })
}

const TOKEN: &str = "SELECT id, hash, scopes, created_at, expires_at, revoked_at, note FROM tokens";

pub(super) fn token(conn: &Connection, id: &str) -> DbResult<Option<TokenRecord>> {
    let mut read = conn.prepare_cached(&format!("{TOKEN} WHERE id = ?1"))?;
    Ok(read.query_row([id], token_row).optional()?)
}

pub(super) fn tokens(conn: &Connection) -> DbResult<Vec<TokenRecord>> {
    let mut read = conn.prepare_cached(&format!("{TOKEN} ORDER BY id"))?;
    let rows = read.query_map([], token_row)?;
    Ok(row::readable("a token", rows)?)
}

fn token_row(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    Ok(TokenRecord {
        id: row.get(0)?,
        hash: row.get(1)?,
        scopes: row::json(row, 2)?,
        created_at: row::time(row, 3)?,
        expires_at: row::optional_time(row, 4)?,
        revoked_at: row::optional_time(row, 5)?,
        note: row.get(6)?,
    })
}

pub(super) fn clock(conn: &Connection) -> DbResult<Option<ClockNote>> {
    let mut read = conn.prepare_cached("SELECT key, value FROM meta WHERE key LIKE 'clock_%'")?;
    let rows = read.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let values: HashMap<String, i64> = rows.collect::<Result<_, _>>()?;
    Ok(clock_note(&values))
}
