//! Logs of attempts, in chunks.

use std::sync::Arc;

use async_trait::async_trait;
use orx_model::JobId;
use orx_model::log::{LogChunk, LogCursor, Stream};

use super::db_error::DbResult;
use super::executor::MessageKind;
use super::group::{Group, Groups, Part, ROW_BYTES};
use super::row::{self, PgColumns, wrong};
use super::sql::{self, SqlValue};
use super::{PgBudget, Postgres};
use crate::codec::{integer, stream_code, stream_of};
use crate::columns::Row as _;
use crate::{LogRequest, Logs, LogsRequest, Result};

impl Part for Vec<LogChunk> {
    type Answer = ();
    const ACTION: &'static str = "store the log";

    fn weight(&self) -> usize {
        self.iter().map(|chunk| 1 + chunk.bytes.len() / ROW_BYTES).sum()
    }

    fn group(groups: &Groups) -> &Group<Self> {
        &groups.logs
    }

    async fn write(inner: &Arc<PgBudget>, parts: &[Self]) -> DbResult<Vec<()>> {
        let chunks = || parts.iter().flatten();
        let values = [
            ("jobs", sql::ints(chunks().map(|chunk| chunk.job.0))),
            ("attempts", sql::ints(chunks().map(|chunk| i64::from(chunk.attempt)))),
            ("seqs", sql::ints(chunks().map(|chunk| integer(chunk.seq)))),
            ("executions", sql::ids(chunks().map(|chunk| chunk.execution.0))),
            ("streams", sql::ints(chunks().map(|chunk| stream_code(chunk.stream)))),
            ("ats", sql::ints(chunks().map(|chunk| chunk.at.as_millis()))),
            ("dropped", sql::ints(chunks().map(|chunk| integer(chunk.dropped_bytes)))),
            ("bytes", sql::byte_strings(chunks().map(|chunk| chunk.bytes.as_slice()))),
        ];
        inner
            .rows(MessageKind::Advisory, sql::fill_again(include_str!("append_logs.sql"), values))
            .await?;
        Ok(vec![(); parts.len()])
    }
}

/// Maximum number of chunks per read of the end of a log.
const TAIL_CHUNKS: i64 = 500;

impl PgBudget {
    async fn read_logs(&self, request: &LogRequest) -> DbResult<Vec<LogChunk>> {
        let limit = i64::try_from(request.limit_bytes).unwrap_or(i64::MAX);
        let mut values = log_values(request);
        values.push(("limit", sql::int(limit.max(1))));
        let rows =
            self.rows(MessageKind::Piece, sql::fill(include_str!("read_logs.sql"), values)).await?;
        row::readable("a chunk of a log", &rows, |row| chunk(request.job, PgColumns(row), 0))
    }

    async fn read_logs_of(&self, request: &LogsRequest) -> DbResult<Vec<LogChunk>> {
        let limit = i64::try_from(request.limit_bytes).unwrap_or(i64::MAX);
        let jobs = || request.jobs.iter();
        let values = [
            ("jobs", sql::ints(jobs().map(|(job, _)| job.0))),
            ("attempts", sql::ints(jobs().map(|(_, after)| i64::from(after.attempt)))),
            ("seqs", sql::ints(jobs().map(|(_, after)| integer(after.seq)))),
            ("chunks", sql::int(i64::from(request.chunks))),
            ("newest", sql::int(i64::from(request.newest))),
            ("limit", sql::int(limit.max(1))),
        ];
        let message = sql::fill(include_str!("read_logs_of.sql"), values);
        let rows = self.rows(MessageKind::Piece, message).await?;
        row::readable("a chunk of a log", &rows, |row| {
            let row = PgColumns(row);
            chunk(JobId(row.int(0)?), row, 1)
        })
    }

    async fn log_tail(&self, request: &LogRequest, lines: u32) -> DbResult<LogCursor> {
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
            let rows = self.rows(MessageKind::Scan, message).await?;
            for row in &rows {
                let row = PgColumns(row);
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
}

fn log_values(request: &LogRequest) -> Vec<(&'static str, SqlValue)> {
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

/// The chunk of a row whose columns from `at` on are those of a chunk.
fn chunk(job: JobId, row: PgColumns<'_>, at: usize) -> DbResult<LogChunk> {
    Ok(LogChunk {
        job,
        attempt: row.count(at)?,
        execution: row.execution(at + 2)?,
        seq: row.unsigned(at + 1)?,
        stream: stream(row, at + 3)?,
        at: row.time(at + 4)?,
        dropped_bytes: row.unsigned(at + 5)?,
        bytes: row.bytes(at + 6)?,
    })
}

fn stream(row: PgColumns<'_>, column: usize) -> DbResult<Stream> {
    stream_of(row.int(column)?).ok_or_else(|| wrong(column, "not a stream"))
}

#[async_trait]
impl Logs for Postgres {
    async fn append_logs(&self, chunks: Vec<LogChunk>) -> Result<()> {
        self.inner.gather(chunks).await
    }

    async fn read_logs(&self, request: LogRequest) -> Result<Vec<LogChunk>> {
        self.inner.read("read the log", self.inner.read_logs(&request)).await
    }

    async fn read_logs_of(&self, request: LogsRequest) -> Result<Vec<LogChunk>> {
        self.inner.read("read the logs", self.inner.read_logs_of(&request)).await
    }

    async fn log_tail(&self, request: LogRequest, lines: u32) -> Result<LogCursor> {
        self.inner.read("read the log", self.inner.log_tail(&request, lines)).await
    }
}
