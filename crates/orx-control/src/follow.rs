//! Waiting for a job, and following its log: woken by the feed, never by polling. What the feed tells
//! is whether to look; what is answered was read in the store.

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
/// A quiet link says so often that it lives.
const PING: Duration = Duration::from_secs(5);
/// Read of a log at once.
const READ_BYTES: usize = 256 * 1024;
/// An event may be lost where many nodes share a store: then the store is read after this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Where events were lost, each of many readers looks, but not more often than this.
const RESET_PAUSE: Duration = Duration::from_millis(200);
/// Events looked at at once.
const EVENTS: usize = 100;

/// What the events of a job say to those who follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    Nothing,
    /// Its log alone.
    Log,
    /// The job, then its log.
    Job,
}

/// When to look at the store, and at what.
struct JobWatch {
    reader: FeedReader,
    read_at: Instant,
    look: Look,
    look_at: Instant,
}

impl JobWatch {
    /// Before the job is read for the first time.
    fn begin(panel: &ControlPanel, job: JobId) -> Self {
        let reader = panel.feed().read(FeedFilter::job(job));
        let now = Instant::now();
        Self { reader, read_at: now, look: Look::Job, look_at: now }
    }

    /// From now on what is there is read.
    fn looks(&mut self) {
        (self.read_at, self.look) = (Instant::now(), Look::Nothing);
        self.look_at = self.read_at + LOOK_AGAIN;
    }

    /// Takes what the feed tells until there is something to look at, and it is time to. Answers
    /// what.
    async fn until_look(&mut self, of: impl Fn(&Event) -> Look) -> Look {
        loop {
            // Not by the timer below: that is a millisecond late.
            if self.look_at <= Instant::now() {
                // With nothing told for so long, something may have been lost.
                return if self.look == Look::Nothing { Look::Job } else { self.look };
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.look_at) => {}
                news = self.reader.next(EVENTS) => match news {
                    News::Events(events) => {
                        let look = events.iter().map(|one| of(&one.event)).max();
                        let look = look.unwrap_or(Look::Nothing);
                        if look != Look::Nothing {
                            self.look = self.look.max(look);
                            self.look_at = Instant::now();
                        }
                    }
                    News::Reset => {
                        self.look = Look::Job;
                        self.look_at = self.look_at.min(self.read_at + RESET_PAUSE);
                    }
                },
            }
        }
    }
}

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
        let deadline = Instant::now() + most.min(limits::WAIT_MAX);
        let awaited = |status: JobStatus| status.is_final() || query.status == Some(status);
        let (mut job, mut watch) = self.watched(reference).await?;
        let id = job.id;
        loop {
            let reached = awaited(job.status);
            let over = Instant::now() >= deadline;
            let condition = self.inner.wakeups.condition();
            let news = query.known.is_some_and(|known| known != condition);
            if reached || over || news {
                return Ok(WaitAnswer { v: V, reached, condition, job: masked(job) });
            }
            let decides = |event: &Event| match event.known() {
                Some(KnownEvent::JobMoved { to, .. }) if awaited(*to) => Look::Job,
                Some(KnownEvent::JobChanged { .. }) => Look::Job,
                _ => Look::Nothing,
            };
            tokio::select! {
                biased;
                _ = self.inner.wakeups.condition_changed(condition) => {}
                () = tokio::time::sleep_until(deadline) => {}
                _ = watch.until_look(decides) => {}
            }
            watch.looks();
            let read = self.store().job(id).await.map_err(store_problem)?;
            job = read.ok_or_else(|| no_job(id))?;
        }
    }

    /// A job as it is, and what tells of all that happens to it from then on.
    async fn watched(&self, reference: &str) -> Result<(Job, JobWatch)> {
        let named = reference.parse().ok();
        let of_attempt = || reference.parse().ok().map(|attempt: AttemptId| attempt.job);
        if let Some(id) = named.or_else(of_attempt) {
            let mut watch = JobWatch::begin(self, id);
            watch.looks();
            return Ok((self.find(reference).await?, watch));
        }
        let id = self.find(reference).await?.id;
        let mut watch = JobWatch::begin(self, id);
        watch.looks();
        let job = self.store().job(id).await.map_err(store_problem)?;
        Ok((job.ok_or_else(|| no_job(id))?, watch))
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
        let (job, watch) = self.watched(reference).await?;
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
            look: Some(Look::Log),
            request,
            follow: query.follow.unwrap_or(false),
            told: None,
            condition: Condition::Well,
            live: false,
            ready: VecDeque::new(),
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
    /// As it was read last.
    job: Job,
    watch: JobWatch,
    /// At once, before anything is waited for.
    look: Option<Look>,
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

/// What an event says to those who follow a log.
fn look_of(event: &Event) -> Look {
    match event.known() {
        Some(KnownEvent::JobMoved { .. } | KnownEvent::JobChanged { .. }) => Look::Job,
        Some(KnownEvent::JobLogGrew { .. }) => Look::Log,
        _ => Look::Nothing,
    }
}

impl LogFollower {
    async fn next(mut self) -> Option<(Result<LogEvent>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if self.over {
                return None;
            }
            let look = match self.look.take() {
                Some(look) => look,
                None => tokio::select! {
                    biased;
                    condition = self.panel.inner.wakeups.condition_changed(self.condition) => {
                        self.condition = condition;
                        return Some((Ok(self.ping()), self));
                    }
                    look = self.watch.until_look(look_of) => look,
                    () = tokio::time::sleep(PING) => return Some((Ok(self.ping()), self)),
                },
            };
            if let Err(problem) = self.read(look).await {
                self.over = true;
                return Some((Err(problem), self));
            }
        }
    }

    fn ping(&self) -> LogEvent {
        LogEvent::Ping { condition: self.condition }
    }

    async fn read(&mut self, look: Look) -> Result<()> {
        self.watch.looks();
        // The job first: if it has ended, its whole log was stored before, and is read after.
        if look == Look::Job {
            let id = self.request.job;
            let job = self.panel.store().job(id).await.map_err(store_problem)?;
            self.job = job.ok_or_else(|| no_job(id))?;
        }
        let status = (self.job.status, self.job.attempt);
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
        if !all {
            // There is more already.
            self.look = Some(Look::Log);
        } else if !self.follow || self.job.status.is_final() {
            let cursor = self.request.after.to_string();
            self.ready.push_back(LogEvent::End { cursor, job: Box::new(masked(self.job.clone())) });
            self.over = true;
        }
        Ok(())
    }
}
