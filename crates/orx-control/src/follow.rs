//! Waits for a job and follows its log. Events of the feed decide when to read the store; answers
//! contain only what was read there.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::Stream;
use orx_feed::{FeedFilter, FeedReader, News};
use orx_model::event::{Event, KnownEvent};
use orx_model::log::{LogCursor, Stream as LogStream};
use orx_model::wire::{Condition, LogEvent, LogPart, LogsQuery, V, WaitAnswer, WaitQuery};
use orx_model::{AttemptId, Code, Job, JobId, JobStatus, Problem, limits};
use orx_store::LogRequest;
use tokio::time::Instant;

use crate::view::masked;
use crate::{Caller, ControlPanel, Result, Scope, no_job, store_problem};

const WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// How often an idle log stream sends a ping.
const PING: Duration = Duration::from_secs(5);
/// How many bytes of a log are read at once.
const READ_BYTES: usize = 256 * 1024;
/// After this the store is read even without an event: where many nodes share a store, one may be lost.
const REREAD_AFTER: Duration = Duration::from_secs(10);
/// The shortest time between two reads after a reset of the feed, which affects many readers at once.
const RESET_PAUSE: Duration = Duration::from_millis(200);
/// Most events taken at once.
const EVENTS: usize = 100;

/// What to read again after an event of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reread {
    Nothing,
    /// Only its log.
    Log,
    /// The job, then its log.
    Job,
}

/// When to read the store again, and what.
struct JobWatch {
    reader: FeedReader,
    read_at: Instant,
    reread: Reread,
    reread_at: Instant,
}

impl JobWatch {
    /// Call it before the job is read for the first time, so that no change is missed.
    fn begin(panel: &ControlPanel, job: JobId) -> Self {
        let reader = panel.feed().read(FeedFilter::job(job));
        let now = Instant::now();
        Self { reader, read_at: now, reread: Reread::Job, reread_at: now }
    }

    /// A read of the store begins now.
    fn reads(&mut self) {
        (self.read_at, self.reread) = (Instant::now(), Reread::Nothing);
        self.reread_at = self.read_at + REREAD_AFTER;
    }

    /// Waits until something must be read again, and returns what. `of` decides for each event.
    async fn until_reread(&mut self, of: impl Fn(&Event) -> Reread) -> Reread {
        loop {
            // Checked here, because the timer below fires a millisecond late.
            if self.reread_at <= Instant::now() {
                // Without an event for so long, one may have been lost.
                return if self.reread == Reread::Nothing { Reread::Job } else { self.reread };
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.reread_at) => {}
                news = self.reader.next(EVENTS) => match news {
                    News::Events(events) => {
                        let reread = events.iter().map(|one| of(&one.event)).max();
                        let reread = reread.unwrap_or(Reread::Nothing);
                        if reread != Reread::Nothing {
                            self.reread = self.reread.max(reread);
                            self.reread_at = Instant::now();
                        }
                    }
                    News::Reset => {
                        self.reread = Reread::Job;
                        self.reread_at = self.reread_at.min(self.read_at + RESET_PAUSE);
                    }
                },
            }
        }
    }
}

impl ControlPanel {
    /// Waits until the job is in the awaited status or final, the condition of this server differs from
    /// the one the caller knows, or the timeout expires.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::BadRequest`], [`Code::NotAllowed`], and errors of the store.
    pub async fn wait(
        &self,
        caller: &Caller,
        reference: &str,
        query: &WaitQuery,
    ) -> Result<WaitAnswer> {
        self.need_reader(caller)?;
        let most = query.timeout_ms.map_or(WAIT_DEFAULT, Duration::from_millis);
        let deadline = Instant::now() + most.min(limits::WAIT_MAX);
        let awaited = |status: JobStatus| status.is_final() || query.status == Some(status);
        let (mut job, mut watch) = self.watch(reference).await?;
        let id = job.id;
        loop {
            let reached = awaited(job.state.status);
            let over = Instant::now() >= deadline;
            let condition = self.inner.wakeups.condition();
            let news = query.known.is_some_and(|known| known != condition);
            if reached || over || news {
                return Ok(WaitAnswer { v: V, reached, condition, job: masked(job) });
            }
            let decides = |event: &Event| match event.known() {
                Some(KnownEvent::JobMoved { to, .. }) if awaited(*to) => Reread::Job,
                Some(KnownEvent::JobChanged { .. }) => Reread::Job,
                _ => Reread::Nothing,
            };
            tokio::select! {
                biased;
                _ = self.inner.wakeups.condition_changed(condition) => {}
                () = tokio::time::sleep_until(deadline) => {}
                _ = watch.until_reread(decides) => {}
            }
            watch.reads();
            let read = self.store().job(id).await.map_err(store_problem)?;
            job = read.ok_or_else(|| no_job(id))?;
        }
    }

    /// Reads a job, and watches every later change of it.
    async fn watch(&self, reference: &str) -> Result<(Job, JobWatch)> {
        let named = reference.parse().ok();
        let of_attempt = || reference.parse().ok().map(|attempt: AttemptId| attempt.job);
        if let Some(id) = named.or_else(of_attempt) {
            let mut watch = JobWatch::begin(self, id);
            watch.reads();
            return Ok((self.find(reference).await?, watch));
        }
        let id = self.find(reference).await?.id;
        let mut watch = JobWatch::begin(self, id);
        watch.reads();
        let job = self.store().job(id).await.map_err(store_problem)?;
        Ok((job.ok_or_else(|| no_job(id))?, watch))
    }

    /// The log from a cursor on. A follower receives it until the job is final and all of it was sent.
    ///
    /// # Errors
    /// As [`Self::wait`], also for each item of the stream; an error is the last item.
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
        let (job, watch) = self.watch(reference).await?;
        let attempt = query.attempt;
        let mut request =
            LogRequest { job: job.id, after, attempt, streams, limit_bytes: READ_BYTES };
        if let Some(lines) = query.tail {
            let tail = self.store().log_tail(request.clone(), lines).await;
            request.after = tail.map_err(store_problem)?;
        }
        let follower = LogFollower {
            panel: self.clone(),
            job,
            watch,
            reread: Some(Reread::Log),
            request,
            follow: query.follow.unwrap_or(false),
            sent_status: None,
            condition: Condition::Well,
            live: false,
            unsent: VecDeque::new(),
            over: false,
        };
        Ok(futures_util::stream::unfold(follower, LogFollower::next))
    }

    fn need_reader(&self, caller: &Caller) -> Result<()> {
        if caller.may(Scope::Service) { Ok(()) } else { caller.need(Scope::Read) }
    }
}

struct LogFollower {
    panel: ControlPanel,
    /// As of the last read.
    job: Job,
    watch: JobWatch,
    /// What to read at once, without waiting.
    reread: Option<Reread>,
    request: LogRequest,
    follow: bool,
    /// The status and attempt that were sent last.
    sent_status: Option<(JobStatus, u32)>,
    /// The condition of this server that was sent last.
    condition: Condition,
    /// Whether everything printed before the stream began was sent.
    live: bool,
    unsent: VecDeque<LogEvent>,
    over: bool,
}

/// What a follower of a log reads again after an event.
fn reread_for_log(event: &Event) -> Reread {
    match event.known() {
        Some(KnownEvent::JobMoved { .. } | KnownEvent::JobChanged { .. }) => Reread::Job,
        Some(KnownEvent::JobLogGrew { .. }) => Reread::Log,
        _ => Reread::Nothing,
    }
}

impl LogFollower {
    async fn next(mut self) -> Option<(Result<LogEvent>, Self)> {
        loop {
            if let Some(event) = self.unsent.pop_front() {
                return Some((Ok(event), self));
            }
            if self.over {
                return None;
            }
            let reread = match self.reread.take() {
                Some(reread) => reread,
                None => tokio::select! {
                    biased;
                    condition = self.panel.inner.wakeups.condition_changed(self.condition) => {
                        self.condition = condition;
                        return Some((Ok(self.ping()), self));
                    }
                    reread = self.watch.until_reread(reread_for_log) => reread,
                    () = tokio::time::sleep(PING) => return Some((Ok(self.ping()), self)),
                },
            };
            if let Err(problem) = self.read(reread).await {
                self.over = true;
                return Some((Err(problem), self));
            }
        }
    }

    fn ping(&self) -> LogEvent {
        LogEvent::Ping { condition: self.condition }
    }

    async fn read(&mut self, reread: Reread) -> Result<()> {
        self.watch.reads();
        // The job first: if it is final, its whole log was stored before, and is read below.
        if reread == Reread::Job {
            let id = self.request.job;
            let job = self.panel.store().job(id).await.map_err(store_problem)?;
            self.job = job.ok_or_else(|| no_job(id))?;
        }
        let status = (self.job.state.status, self.job.state.attempt);
        if self.follow && self.sent_status != Some(status) {
            self.sent_status = Some(status);
            self.unsent.push_back(LogEvent::Status { status: status.0, attempt: status.1 });
        }
        let chunks = self.panel.store().read_logs(self.request.clone()).await;
        let chunks = chunks.map_err(store_problem)?;
        let all = chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>() < READ_BYTES;
        for chunk in chunks {
            let at = LogCursor { attempt: chunk.attempt, seq: chunk.seq };
            self.request.after = at;
            self.unsent.push_back(LogEvent::Chunk(LogPart {
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
            self.unsent.push_back(LogEvent::Live {});
        }
        if !all {
            self.reread = Some(Reread::Log);
        } else if !self.follow || self.job.state.status.is_final() {
            let cursor = self.request.after.to_string();
            self.unsent
                .push_back(LogEvent::End { cursor, job: Box::new(masked(self.job.clone())) });
            self.over = true;
        }
        Ok(())
    }
}
