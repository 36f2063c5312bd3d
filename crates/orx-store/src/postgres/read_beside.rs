//! Reads of logs, workers and tokens, and exports.

use std::collections::HashMap;

use orx_model::log::{LogChunk, LogCursor, Stream};
use orx_model::{Attempt, JobId};
use sqlx::postgres::PgRow;

use super::db_error::{DbError, DbResult};
use super::executor::Kind;
use super::row::{self, ATTEMPT, Columns, JOB, wrong};
use super::sql::Value;
use super::{Inner, lease, sql};
use crate::codec::{integer, order_of, stream_code, stream_of, unreadable_worker, worker_state};
use crate::columns::{JobColumn, Row as _};
use crate::{
    JobExport, LogRequest, RetainedKey, RowCounts, TokenRecord, WorkerRecord, WorkerReport,
};

/// Maximum number of chunks per read of the end of a log.
const TAIL_CHUNKS: i64 = 500;

impl Inner {
    pub(super) async fn read_logs(&self, request: &LogRequest) -> DbResult<Vec<LogChunk>> {
        let limit = i64::try_from(request.limit_bytes).unwrap_or(i64::MAX);
        let mut values = log_values(request);
        values.push(("limit", sql::int(limit.max(1))));
        let rows = self.rows(Kind::Piece, sql::fill(include_str!("read_logs.sql"), values)).await?;
        let chunk = |row: &_| {
            let row = Columns(row);
            Ok(LogChunk {
                job: request.job,
                attempt: row.count(0)?,
                execution: row.execution(2)?,
                seq: row.unsigned(1)?,
                stream: stream(row, 3)?,
                at: row.time(4)?,
                dropped_bytes: row.unsigned(5)?,
                bytes: row.bytes(6)?,
            })
        };
        row::readable("a chunk of a log", &rows, chunk)
    }

    pub(super) async fn log_tail(&self, request: &LogRequest, lines: u32) -> DbResult<LogCursor> {
        // One more than `lines`: the newline before the first line ends another one.
        let mut left = u64::from(lines) + 1;
        let mut before = LogCursor { attempt: u32::MAX, seq: u64::MAX };
        loop {
            let mut values = log_values(request);
            values.extend([
                ("before_attempt", sql::int(i64::from(before.attempt))),
                ("before_seq", sql::int(integer(before.seq))),
                ("chunks", sql::int(TAIL_CHUNKS)),
            ]);
            let message = sql::fill(include_str!("log_tail.sql"), values);
            let rows = self.rows(Kind::Scan, message).await?;
            for row in &rows {
                let row = Columns(row);
                let newlines = row.unsigned(2)?;
                before = LogCursor { attempt: row.count(0)?, seq: row.unsigned(1)? };
                if newlines >= left {
                    let seq = before.seq.saturating_sub(1);
                    return Ok(LogCursor { seq, ..before }.max(request.after));
                }
                left -= newlines;
            }
            if (rows.len() as i64) < TAIL_CHUNKS {
                return Ok(request.after);
            }
        }
    }

    pub(super) async fn workers(&self) -> DbResult<Vec<WorkerRecord>> {
        let message = include_str!("workers.sql");
        let record = |row: &_| {
            let row = Columns(row);
            let state = row.str(1)?;
            let seen_at = row.time(7)?;
            let registration = match row.json(0) {
                Err(DbError::Unreadable(error)) => {
                    unreadable_worker(row.incarnation(10)?, row.str(11)?, seen_at, &error)
                }
                read => read?,
            };
            Ok(WorkerRecord {
                report: WorkerReport {
                    registration,
                    state: worker_state(state).ok_or_else(|| wrong(1, state))?,
                    capacity: row.count(2)?,
                    heartbeat: row.unsigned(3)?,
                    load: match row.optional_str(4)? {
                        // The load is only displayed, so it may be missing.
                        Some(_) => row.json(4).ok(),
                        None => None,
                    },
                    hosted_by: row.optional_id(5)?.map(orx_model::Incarnation),
                    node: row.optional_id(6)?.map(orx_model::Incarnation),
                },
                seen_at,
                silent: lease::left(row, 9)?,
                order: match row.optional_str(8)? {
                    Some(text) => Some(order_of(text).ok_or_else(|| wrong(8, text))?),
                    None => None,
                },
            })
        };
        row::readable("a worker", &self.rows(Kind::Read, message).await?, record)
    }

    pub(super) async fn token(&self, id: &str) -> DbResult<Option<TokenRecord>> {
        let message = sql::fill(&format!("{TOKEN} where id = :id"), [("id", sql::text(id))]);
        self.rows(Kind::Read, message).await?.first().map(token).transpose()
    }

    pub(super) async fn tokens(&self) -> DbResult<Vec<TokenRecord>> {
        let rows = self.rows(Kind::Read, format!("{TOKEN} order by id")).await?;
        row::readable("a token", &rows, token)
    }

    /// Jobs above `after` with their attempts and keys, by id.
    pub(super) async fn export(&self, after: i64, limit: u32) -> DbResult<Vec<JobExport>> {
        let values = [("after", sql::int(after)), ("limit", sql::int(i64::from(limit)))];
        let ids = "SELECT id FROM jobs WHERE id > :after ORDER BY id LIMIT :limit";
        // Several reads are safe: nothing else uses the store during an export.
        let jobs = format!("{JOB} WHERE j.id IN ({ids}) ORDER BY j.id");
        let jobs = self.rows(Kind::Scan, sql::fill(&jobs, values.clone())).await?;
        let ended = format!("{ATTEMPT} WHERE a.job IN ({ids}) ORDER BY a.job, a.number");
        let mut attempts: HashMap<JobId, Vec<Attempt>> = HashMap::new();
        for row in &self.rows(Kind::Scan, sql::fill(&ended, values)).await? {
            for attempt in row::readable("an attempt", std::slice::from_ref(row), row::attempt)? {
                attempts.entry(attempt.job).or_default().push(attempt);
            }
        }
        let export = |row| {
            let (job, row) = (row::job_or_stub(row)?, Columns(row));
            Ok(JobExport {
                attempts: attempts.remove(&job.id).unwrap_or_default(),
                job,
                key_hash: None,
                expire_at: row.optional_time(JobColumn::expire_at)?,
                dead_at: row.optional_time(JobColumn::dead_at)?,
            })
        };
        let mut exports = jobs.iter().map(export).collect::<DbResult<Vec<_>>>()?;
        let keys = exports.iter().filter_map(|export| export.job.spec.key.as_deref());
        let hashes = sql::fill(
            "select key, hash from keys where key = any(:keys)",
            [("keys", sql::texts(keys))],
        );
        let mut by_key = HashMap::new();
        for row in &self.rows(Kind::Scan, hashes).await? {
            by_key.insert(Columns(row).text(0)?, Columns(row).optional_text(1)?);
        }
        for export in &mut exports {
            let key = export.job.spec.key.as_deref();
            export.key_hash = key.and_then(|key| by_key.remove(key)).flatten();
        }
        Ok(exports)
    }

    pub(super) async fn row_counts(&self) -> DbResult<RowCounts> {
        let rows = self.rows(Kind::Scan, include_str!("../row_counts.sql")).await?;
        let row = Columns(rows.first().ok_or_else(|| wrong(0, "no row"))?);
        Ok(RowCounts {
            attempts: row.unsigned(0)?,
            log_chunks: row.unsigned(1)?,
            keys: row.unsigned(2)?,
            slots: row.unsigned(3)?,
            watched: row.unsigned(4)?,
            tokens: row.unsigned(5)?,
        })
    }

    pub(super) async fn kept_keys(&self, after: &str, limit: u32) -> DbResult<Vec<RetainedKey>> {
        let key = |row: &_| {
            let row = Columns(row);
            Ok(RetainedKey {
                key: row.text(0)?,
                job: row.job(1)?,
                hash: row.optional_text(2)?,
                status: row.status(3)?,
                kept_until: row.time(4)?,
            })
        };
        let mut after = after.to_owned();
        loop {
            let values = [("after", sql::text(&after)), ("limit", sql::int(i64::from(limit)))];
            let message = sql::fill(
                "select key, job, hash, status, kept_until from keys \
                 where kept_until is not null and key > :after order by key limit :limit",
                values,
            );
            let rows = self.rows(Kind::Scan, message).await?;
            let keys = row::readable("a key", &rows, key)?;
            // A page of only unreadable keys is not the end.
            match rows.last().filter(|_| keys.is_empty()) {
                Some(last) => after = Columns(last).text(0)?,
                None => return Ok(keys),
            }
        }
    }

    pub(super) async fn next_job(&self) -> DbResult<i64> {
        let message =
            "select case when is_called then last_value + 1 else last_value end from job_ids";
        let rows = self.rows(Kind::Read, message).await?;
        rows.first().map(|row| Columns(row).int(0)).transpose().map(|next| next.unwrap_or(1))
    }
}

fn log_values(request: &LogRequest) -> Vec<(&'static str, Value)> {
    let all = request.streams.is_empty();
    let streams = if all { &Stream::ALL[..] } else { &request.streams };
    vec![
        ("job", sql::int(request.job.0)),
        ("after_attempt", sql::int(i64::from(request.after.attempt))),
        ("after_seq", sql::int(integer(request.after.seq))),
        ("attempt", sql::optional_int(request.attempt.map(i64::from))),
        ("streams", sql::ints(streams.iter().map(|stream| stream_code(*stream)))),
    ]
}

fn stream(row: Columns<'_>, column: usize) -> DbResult<Stream> {
    stream_of(row.int(column)?).ok_or_else(|| wrong(column, "not a stream"))
}

const TOKEN: &str = "select id, hash, scopes, created_at, expires_at, revoked_at, note from tokens";

fn token(row: &PgRow) -> DbResult<TokenRecord> {
    let row = Columns(row);
    Ok(TokenRecord {
        id: row.text(0)?,
        hash: row.bytes(1)?.try_into().map_err(|_| wrong(1, "not a hash"))?,
        scopes: row.json(2)?,
        created_at: row.time(3)?,
        expires_at: row.optional_time(4)?,
        revoked_at: row.optional_time(5)?,
        note: row.text(6)?,
    })
}
