//! Output of jobs in the reference model.

use async_trait::async_trait;
use orx_model::log::{LogChunk, LogCursor};

use super::{Memory, State};
use crate::{LogRequest, Logs, LogsRequest, Result};

#[async_trait]
impl Logs for Memory {
    async fn append_logs(&self, chunks: Vec<LogChunk>) -> Result<()> {
        let mut state = self.state()?;
        for chunk in chunks {
            if state.jobs.contains_key(&chunk.job) {
                let place = (chunk.job, chunk.attempt, chunk.seq);
                state.logs.entry(place).or_insert(chunk);
            }
        }
        Ok(())
    }

    async fn read_logs(&self, request: LogRequest) -> Result<Vec<LogChunk>> {
        let state = self.state()?;
        let mut bytes = 0;
        let mut read = Vec::new();
        for chunk in wanted(&state, &request) {
            let after = LogCursor { attempt: chunk.attempt, seq: chunk.seq } > request.after;
            if after && bytes < request.limit_bytes.max(1) {
                bytes += chunk.bytes.len().max(1);
                read.push(chunk.clone());
            }
        }
        Ok(read)
    }

    async fn read_logs_of(&self, request: LogsRequest) -> Result<Vec<LogChunk>> {
        let state = self.state()?;
        let (most, mut bytes, mut read) = (request.chunks as usize, 0, Vec::new());
        for (job, after) in &request.jobs {
            let first = (*job, after.attempt, after.seq.saturating_add(1));
            let all: Vec<&LogChunk> =
                state.logs.range(first..=(*job, u32::MAX, u64::MAX)).map(|(_, it)| it).collect();
            let from = if request.newest { all.len().saturating_sub(most) } else { 0 };
            for chunk in all.into_iter().skip(from).take(most) {
                if bytes < request.limit_bytes.max(1) {
                    bytes += chunk.bytes.len().max(1);
                    read.push(chunk.clone());
                }
            }
        }
        Ok(read)
    }

    async fn log_tail(&self, request: LogRequest, lines: u32) -> Result<LogCursor> {
        let state = self.state()?;
        let mut left = u64::from(lines) + 1;
        for chunk in wanted(&state, &request).collect::<Vec<_>>().into_iter().rev() {
            let newlines = chunk.bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            if newlines >= left {
                let before = LogCursor { attempt: chunk.attempt, seq: chunk.seq - 1 };
                return Ok(before.max(request.after));
            }
            left -= newlines;
        }
        Ok(request.after)
    }
}

fn wanted<'s>(
    state: &'s State,
    request: &'s LogRequest,
) -> impl Iterator<Item = &'s LogChunk> + use<'s> {
    let whole = (request.job, 0, 0)..=(request.job, u32::MAX, u64::MAX);
    state.logs.range(whole).map(|(_, chunk)| chunk).filter(|chunk| {
        request.attempt.is_none_or(|only| only == chunk.attempt)
            && (request.streams.is_empty() || request.streams.contains(&chunk.stream))
    })
}
