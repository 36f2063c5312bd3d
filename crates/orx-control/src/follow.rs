//! Waiting for a job, and following its log: woken by notices, never by polling.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::Stream;
use orx_model::log::{LogCursor, Stream as LogStream};
use orx_model::wire::{Condition, LogEvent, LogPart, LogsQuery, V, WaitAnswer, WaitQuery};
use orx_model::{Code, Job, JobId, JobStatus, Problem, limits};
use orx_store::LogRequest;
use orx_transport::notice::Watch;

use crate::view::masked;
use crate::{Caller, ControlPanel, Result, Scope, no_job, store_problem};

const WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// A quiet link says so often that it lives.
const PING: Duration = Duration::from_secs(5);
/// Read of a log at once.
const READ_BYTES: usize = 256 * 1024;
/// A notice may be lost where many nodes share a store: then the store is read after this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

impl ControlPanel {
    /// Answers when the job is in the awaited status, or has ended, or the time is over.
    pub async fn wait(
        &self,
        caller: &Caller,
        reference: &str,
        query: &WaitQuery,
    ) -> Result<WaitAnswer> {
        self.need_reader(caller)?;
        let most = query.timeout_ms.map_or(WAIT_DEFAULT, Duration::from_millis);
        let deadline = tokio::time::Instant::now() + most.min(limits::WAIT_MAX);
        let id = self.find(reference).await?.id;
        let watch = self.inner.notices.watch(id);
        loop {
            let changed = watch.changed();
            let job = self.store().job(id).await.map_err(store_problem)?;
            let job = job.ok_or_else(|| no_job(id))?;
            let reached = job.status.is_final() || query.status == Some(job.status);
            let over = tokio::time::Instant::now() >= deadline;
            let condition = self.inner.notices.condition();
            let news = query.known.is_some_and(|known| known != condition);
            if reached || over || news {
                return Ok(WaitAnswer { v: V, reached, condition, job: masked(job) });
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                _ = self.inner.notices.condition_not(condition) => {}
            }
        }
    }

    /// The log from a place on. While following, until the job has ended and all of it was sent.
    pub async fn logs(
        &self,
        caller: &Caller,
        reference: &str,
        query: &LogsQuery,
    ) -> Result<impl Stream<Item = Result<LogEvent>> + Send + use<>> {
        self.need_reader(caller)?;
        let bad = |detail: String| Problem::new(Code::BadRequest, detail);
        let after: LogCursor =
            query.cursor.as_deref().map_or(Ok(LogCursor::default()), str::parse).map_err(bad)?;
        let mut streams: Vec<LogStream> = Vec::new();
        for stream in query.stream.iter().flat_map(|text| text.split(',')) {
            streams.push(stream.parse().map_err(bad)?);
        }
        let id = self.find(reference).await?.id;
        let watch = self.inner.notices.watch(id);
        let attempt = query.attempt;
        let mut request = LogRequest { job: id, after, attempt, streams, limit_bytes: READ_BYTES };
        if let Some(lines) = query.tail {
            let tail = self.store().log_tail(request.clone(), lines).await;
            request.after = tail.map_err(store_problem)?;
        }
        let reader = Reader {
            panel: self.clone(),
            watch,
            request,
            follow: query.follow.unwrap_or(false),
            told: None,
            condition: Condition::Well,
            live: false,
            ready: VecDeque::new(),
            over: false,
        };
        Ok(futures_util::stream::unfold(reader, Reader::next))
    }

    fn need_reader(&self, caller: &Caller) -> Result<()> {
        if caller.may(Scope::Service) { Ok(()) } else { caller.need(Scope::Read) }
    }
}

struct Reader {
    panel: ControlPanel,
    watch: Watch,
    request: LogRequest,
    follow: bool,
    /// The status that was told last.
    told: Option<(JobStatus, u32)>,
    /// Told last of this server.
    condition: Condition,
    /// What was printed before was sent.
    live: bool,
    ready: VecDeque<LogEvent>,
    over: bool,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<LogEvent>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if self.over {
                return None;
            }
            let changed = self.watch.changed();
            match self.read().await {
                Ok(true) => {}
                Ok(false) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep(PING) => return Some((Ok(self.ping()), self)),
                        condition = self.panel.inner.notices.condition_not(self.condition) => {
                            self.condition = condition;
                            return Some((Ok(self.ping()), self));
                        }
                    }
                }
                Err(problem) => {
                    self.over = true;
                    return Some((Err(problem), self));
                }
            }
        }
    }

    fn ping(&self) -> LogEvent {
        LogEvent::Ping { condition: self.condition }
    }

    /// Answers `false` when there is nothing to tell now.
    async fn read(&mut self) -> Result<bool> {
        let id: JobId = self.request.job;
        // The job first: if it has ended, its whole log was stored before, and is read after.
        let job = self.panel.store().job(id).await.map_err(store_problem)?;
        let job: Job = job.ok_or_else(|| no_job(id))?;
        let status = (job.status, job.attempt);
        if self.follow && self.told != Some(status) {
            self.told = Some(status);
            self.ready.push_back(LogEvent::Status { status: status.0, attempt: status.1 });
        }
        let chunks = self.panel.store().read_logs(self.request.clone()).await;
        let chunks = chunks.map_err(store_problem)?;
        let all = chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>() < READ_BYTES;
        for chunk in chunks {
            let at = LogCursor { attempt: chunk.attempt, seq: chunk.seq };
            self.request.after = at;
            self.ready.push_back(LogEvent::Chunk(LogPart {
                cursor: at.to_string(),
                attempt: chunk.attempt,
                stream: chunk.stream,
                at: chunk.at,
                dropped_bytes: chunk.dropped_bytes,
                data: chunk.bytes,
            }));
        }
        if all && self.follow && !self.live {
            self.live = true;
            self.ready.push_back(LogEvent::Live {});
        }
        if all && (!self.follow || job.status.is_final()) {
            let cursor = self.request.after.to_string();
            self.ready.push_back(LogEvent::End { cursor, job: Box::new(masked(job)) });
            self.over = true;
        }
        Ok(!self.ready.is_empty())
    }
}
