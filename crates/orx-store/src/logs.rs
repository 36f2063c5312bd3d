//! The output of jobs in a store.

use async_trait::async_trait;
use orx_model::JobId;
use orx_model::log::{LogChunk, LogCursor, Stream};

use crate::Result;

/// A part of a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRequest {
    /// The job to read the log of.
    pub job: JobId,
    /// Only chunks after this cursor.
    pub after: LogCursor,
    /// Only this attempt.
    pub attempt: Option<u32>,
    /// Only these streams; empty means all.
    pub streams: Vec<Stream>,
    /// Reading stops after the chunk that reaches this many bytes, so it returns at least one chunk.
    pub limit_bytes: usize,
}

/// A piece of the logs of several jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsRequest {
    /// The jobs, each once, with the cursor after which its chunks are read.
    pub jobs: Vec<(JobId, LogCursor)>,
    /// Most chunks of one job.
    pub chunks: u32,
    /// The last chunks of each job; else the first after its cursor.
    pub newest: bool,
    /// Reading stops after the chunk that reaches this many bytes, so it returns at least one chunk.
    pub limit_bytes: usize,
}

/// Stores and reads the output of jobs.
#[async_trait]
pub trait Logs: Send + Sync {
    /// Advisory. Ignores a chunk that the store already has, and chunks of unknown jobs. Stores chunks
    /// of an execution that has ended.
    async fn append_logs(&self, chunks: Vec<LogChunk>) -> Result<()>;

    /// Ordered by attempt, then sequence.
    async fn read_logs(&self, request: LogRequest) -> Result<Vec<LogChunk>>;

    /// Ordered as the request names the jobs, then by attempt and sequence. One read, however many jobs
    /// it names.
    async fn read_logs_of(&self, request: LogsRequest) -> Result<Vec<LogChunk>>;

    /// The cursor after which about the last `lines` lines begin, counted as newlines of the requested
    /// streams; [`LogRequest::after`] if there are fewer.
    async fn log_tail(&self, request: LogRequest, lines: u32) -> Result<LogCursor>;
}
