//! Logs of attempts, in chunks.

use async_trait::async_trait;
use orx_model::log::{LogChunk, LogCursor};
use orx_model::{ExecutionId, JobId};
use rusqlite::{Connection, Row, params};

use super::db_error::DbResult;
use super::row::{self, stream_code};
use super::writer::Tx;
use super::{ROW_BYTES, Sqlite, WriteKind};
use crate::budget::Reads;
use crate::{LogRequest, Logs, LogsRequest, Result};

fn append_logs(tx: &mut Tx<'_>, chunks: &[LogChunk]) -> DbResult<()> {
    let mut known = tx.conn.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?;
    let mut insert = tx.conn.prepare_cached(
        "INSERT OR IGNORE INTO logs \
         (job, attempt, seq, execution, stream, at, dropped_bytes, bytes) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    // Consecutive chunks usually belong to one job.
    let mut last: Option<(JobId, bool)> = None;
    for chunk in chunks {
        let exists = match last {
            Some((job, exists)) if job == chunk.job => exists,
            _ => known.exists([chunk.job.0])?,
        };
        last = Some((chunk.job, exists));
        if exists {
            insert.execute(params![
                chunk.job.0,
                chunk.attempt,
                i64::try_from(chunk.seq).unwrap_or(i64::MAX),
                chunk.execution.to_bytes(),
                stream_code(chunk.stream),
                chunk.at.as_millis(),
                i64::try_from(chunk.dropped_bytes).unwrap_or(i64::MAX),
                chunk.bytes,
            ])?;
        }
    }
    Ok(())
}

fn read_logs(conn: &Connection, request: &LogRequest) -> DbResult<Vec<LogChunk>> {
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

fn read_logs_of(conn: &Connection, request: &LogsRequest) -> DbResult<Vec<LogChunk>> {
    let order = if request.newest { "DESC" } else { "ASC" };
    let mut read = conn.prepare_cached(&format!(
        "SELECT attempt, seq, execution, stream, at, dropped_bytes, bytes FROM logs \
         WHERE job = ?1 AND (attempt, seq) > (?2, ?3) \
         ORDER BY attempt {order}, seq {order} LIMIT ?4",
    ))?;
    let (mut bytes, mut chunks) = (0, Vec::new());
    for (job, after) in &request.jobs {
        let mut rows = read.query(params![job.0, after.attempt, seq(*after), request.chunks])?;
        let mut of_job = Vec::new();
        while let Some(row) = rows.next()? {
            of_job.extend(row::readable("a chunk of a log", std::iter::once(chunk(*job, row)))?);
        }
        if request.newest {
            of_job.reverse();
        }
        for chunk in of_job {
            if bytes >= request.limit_bytes.max(1) {
                return Ok(chunks);
            }
            bytes += chunk.bytes.len().max(1);
            chunks.push(chunk);
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

fn log_tail(conn: &Connection, request: &LogRequest, lines: u32) -> DbResult<LogCursor> {
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

#[async_trait]
impl Logs for Sqlite {
    async fn append_logs(&self, chunks: Vec<LogChunk>) -> Result<()> {
        let weight = chunks.iter().map(|chunk| 1 + chunk.bytes.len() / ROW_BYTES).sum();
        let run = move |tx: &mut Tx<'_>| append_logs(tx, &chunks);
        self.write("store the log", WriteKind::Advisory, weight, run).await
    }

    async fn read_logs(&self, request: LogRequest) -> Result<Vec<LogChunk>> {
        let read = move |conn: &Connection| read_logs(conn, &request);
        self.read_of(Reads::Piece, "read the log", read).await
    }

    async fn read_logs_of(&self, request: LogsRequest) -> Result<Vec<LogChunk>> {
        let read = move |conn: &Connection| read_logs_of(conn, &request);
        self.read_of(Reads::Piece, "read the logs", read).await
    }

    async fn log_tail(&self, request: LogRequest, lines: u32) -> Result<LogCursor> {
        let read = move |conn: &Connection| log_tail(conn, &request, lines);
        self.read_of(Reads::Scan, "read the log", read).await
    }
}
