//! The topic of the output of all jobs that match a filter.
//!
//! Events of the feed name the jobs whose logs have grown; each round reads what is new of some of them at
//! once. A reader that falls behind gets the end of each log instead of all of it: it never costs the store
//! more than a few bounded reads a second. Ids are positions in the logs, which every node knows.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use orx_feed::{FeedFilter, FeedReader, News};
use orx_model::event::{EventKind, KnownEvent};
use orx_model::filter::Filter;
use orx_model::log::{LogChunk, LogCursor};
use orx_model::wire::live::{
    FilteredLogsReceived, JobLogPart, LiveEvent, LiveFilteredLogsQuery, LogLive, Slow,
};
use orx_model::wire::{LogPart, V};
use orx_model::{JobId, Name, Timestamp};
use orx_store::{ListRequest, LogsRequest};
use tokio::time::Instant;

use super::pacer::Pacer;
use super::{Frame, Frames, RETRY, UNCONCERNED, problem_frame};
use crate::change::parse_filter;
use crate::{ControlPanel, Result, store_problem};

/// The pace of frames.
const GAP: Duration = Duration::from_millis(250);
const BURST: u32 = 4;
/// Events taken from the feed under one lock.
const EVENTS: usize = 1_000;
/// Jobs whose logs are read at the start: the running ones, and the newest.
const START_JOBS: u32 = 50;
/// Output that is read at the start, about.
const START_BYTES: usize = 512 * 1024;
/// Jobs of one round.
const ROUND_JOBS: usize = 100;
/// Output of one round, about: what a client holds for each frame that it has not taken in.
const ROUND_BYTES: usize = 64 * 1024;
/// Chunks of one job in a round.
const CHUNKS: u32 = 16;
/// Chunks of a job whose log is read from its end.
const LAST_CHUNKS: u32 = 8;
/// Jobs that are remembered, and that wait for a round.
const JOBS: usize = 1_000;
/// Jobs whose position is in an id.
const NAMED: usize = 64;
/// For this long the filter is not applied again to a job that prints.
const CHECKED: Duration = Duration::from_secs(2);

/// A job that printed.
struct LogSource {
    name: Name,
    matches: bool,
    checked_at: Instant,
    /// Number of the round that read it last.
    used: u64,
}

struct FilteredLogReader {
    panel: ControlPanel,
    filter: Filter,
    feed: FeedReader,
    pacer: Pacer,
    sources: BTreeMap<JobId, LogSource>,
    /// What was read of each log. A job that is not here is read from the end of its log.
    positions: BTreeMap<JobId, LogCursor>,
    /// Jobs beyond this one are new: their logs are read from the start.
    newest: JobId,
    pending: VecDeque<JobId>,
    waiting: HashSet<JobId>,
    /// The list of jobs must be read: at the start, and where events are missing.
    lists: bool,
    /// The last round left output unread.
    behind: bool,
    live: bool,
    failed: bool,
    rounds: u64,
    unsent: VecDeque<Frame>,
}

/// The frames of the logs of all jobs that match. An id of another topic is no position: the stream then
/// begins with the end of the logs.
///
/// # Errors
/// [`orx_model::Code::BadRequest`] for a filter that cannot be parsed.
pub(crate) async fn frames(
    panel: &ControlPanel,
    query: &LiveFilteredLogsQuery,
    last_event_id: Option<&str>,
) -> Result<Frames> {
    let filter = parse_filter(query.filter.as_deref(), query.tz.as_deref(), panel.now())?;
    let positions = last_event_id.and_then(parse_positions).unwrap_or_default();
    let feed = panel.feed().read(FeedFilter::all().kinds([EventKind::Log, EventKind::Job]));
    let mut reader = FilteredLogReader {
        panel: panel.clone(),
        filter,
        feed,
        pacer: Pacer::new(GAP, BURST),
        sources: BTreeMap::new(),
        newest: positions.keys().next_back().copied().unwrap_or(JobId(i64::MAX)),
        positions,
        pending: VecDeque::new(),
        waiting: HashSet::new(),
        lists: true,
        behind: false,
        live: false,
        failed: false,
        rounds: 0,
        unsent: VecDeque::new(),
    };
    // A filter that the store refuses is an answer, not the first event of a stream.
    reader.list().await?;
    Ok(Box::pin(futures_util::stream::unfold(reader, FilteredLogReader::next)))
}

/// `1423:2:17,1424:1:3`.
fn parse_positions(text: &str) -> Option<BTreeMap<JobId, LogCursor>> {
    let one = |text: &str| {
        let (job, cursor) = text.split_once(':')?;
        Some((job.parse().ok()?, cursor.parse().ok()?))
    };
    text.split(',').take(NAMED).map(one).collect()
}

impl FilteredLogReader {
    async fn next(mut self) -> Option<(Frame, Self)> {
        loop {
            if let Some(frame) = self.unsent.pop_front() {
                return Some((frame, self));
            }
            if self.failed {
                tokio::time::sleep(RETRY).await;
            } else if self.pending.is_empty() && !self.lists {
                if !self.live {
                    self.live = true;
                    self.unsent.push_back(Frame::new(None, &LiveEvent::LogLive(LogLive { v: V })));
                    continue;
                }
                self.feed.ready().await;
            }
            if self.live {
                self.drain();
                if self.pending.is_empty() && !self.lists {
                    // Events of other kinds wake this reader too.
                    tokio::time::sleep(UNCONCERNED).await;
                    continue;
                }
                self.pacer.wait().await;
                self.drain();
            }
            match self.round().await {
                Ok(()) => self.failed = false,
                Err(problem) => {
                    if !std::mem::replace(&mut self.failed, true) {
                        self.unsent.push_back(problem_frame(problem));
                    }
                }
            }
        }
    }

    fn drain(&mut self) {
        let mut skipped = 0;
        while let Some(news) = self.feed.try_next(EVENTS) {
            let News::Events(events) = news else {
                self.lists = true;
                continue;
            };
            for event in &events {
                if let Some(KnownEvent::JobLogGrew { job } | KnownEvent::JobChanged { job }) =
                    event.event.known()
                {
                    skipped += u64::from(!self.add(job.id));
                }
            }
        }
        if skipped > 0 {
            let slow = LiveEvent::Slow(Slow { v: V, skipped });
            self.unsent.push_back(Frame::new(None, &slow));
        }
    }

    /// Notes that the log of a job has grown. Returns whether there is still a place for it.
    fn add(&mut self, id: JobId) -> bool {
        if self.waiting.contains(&id) {
            return true;
        }
        if self.pending.len() >= JOBS {
            return false;
        }
        self.waiting.insert(id);
        self.pending.push_back(id);
        true
    }

    /// Notes the jobs that run and the newest, and where events are missing those that printed before.
    async fn list(&mut self) -> Result<()> {
        let now = self.panel.now();
        let mut running = self.filter.clone();
        let live = parse_filter(Some("status:running,dispatched"), None, now)?;
        running.terms.extend(live.terms);
        let mut found = Vec::new();
        for filter in [running, self.filter.clone()] {
            let request =
                ListRequest { filter, oldest_first: false, after: None, limit: START_JOBS };
            let page = self.panel.store().list(request, now).await.map_err(store_problem)?;
            found.extend(page.rows);
        }
        let newest = found.iter().map(|job| job.id).max().unwrap_or(JobId(0));
        self.newest = self.newest.min(newest);
        let known: Vec<JobId> = self.positions.keys().rev().copied().collect();
        for id in known.into_iter().chain(found.iter().map(|job| job.id)) {
            self.add(id);
        }
        for job in found {
            self.put_source(job.id, job.spec.name, true);
        }
        self.lists = false;
        Ok(())
    }

    fn put_source(&mut self, id: JobId, name: Name, matches: bool) {
        let (checked_at, used) = (Instant::now(), self.rounds);
        self.sources.insert(id, LogSource { name, matches, checked_at, used });
    }

    /// Applies the filter to jobs that were not seen lately. Returns those whose logs are wanted.
    async fn select(&mut self, ids: &[JobId]) -> Result<Vec<JobId>> {
        let is_fresh =
            |source: &LogSource| self.filter.is_empty() || source.checked_at.elapsed() < CHECKED;
        let unknown: Vec<JobId> =
            ids.iter().filter(|id| !self.sources.get(id).is_some_and(is_fresh)).copied().collect();
        if !unknown.is_empty() {
            let now = self.panel.now();
            let jobs = self.panel.store().jobs(unknown).await.map_err(store_problem)?;
            for job in jobs {
                let args = job.spec.args.clone();
                let job = orx_model::JobSummary::from(job);
                let matches = self.filter.matches(&job, Some(&args), now);
                self.put_source(job.id, job.spec.name, matches);
            }
        }
        let wanted = |id: &&JobId| self.sources.get(id).is_some_and(|source| source.matches);
        Ok(ids.iter().filter(wanted).copied().collect())
    }

    /// Reads what is new of some logs, and sends it.
    async fn round(&mut self) -> Result<()> {
        if self.lists {
            self.list().await?;
        }
        self.rounds += 1;
        let ids: Vec<JobId> = self.pending.iter().take(ROUND_JOBS).copied().collect();
        let wanted = self.select(&ids).await?;
        let newest = self.newest;
        let place = |id: JobId| match self.positions.get(&id) {
            Some(position) => Some(*position),
            None => (id > newest).then(LogCursor::default),
        };
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for id in wanted {
            match place(id) {
                Some(position) => known.push((id, position)),
                None => unknown.push((id, LogCursor::default())),
            }
        }
        let limit_bytes = if self.live { ROUND_BYTES } else { START_BYTES };
        let mut rest = HashSet::new();
        let mut chunks = Vec::new();
        for (jobs, newest) in [(known, self.behind), (unknown, true)] {
            if jobs.is_empty() {
                continue;
            }
            let most = if newest { LAST_CHUNKS } else { CHUNKS };
            let request = LogsRequest { jobs, chunks: most, newest, limit_bytes };
            let read = self.panel.store().read_logs_of(request.clone()).await;
            let read = read.map_err(store_problem)?;
            rest.extend(unread(&request, &read));
            // Where all was read, a job without output is known to have none.
            for (id, position) in request.jobs {
                if !rest.contains(&id) {
                    self.positions.entry(id).or_insert(position);
                }
            }
            chunks.extend(read);
        }
        for chunk in &chunks {
            let at = LogCursor { attempt: chunk.attempt, seq: chunk.seq };
            self.positions.insert(chunk.job, at);
            if let Some(source) = self.sources.get_mut(&chunk.job) {
                source.used = self.rounds;
            }
        }
        self.behind = self.live && !rest.is_empty();
        for id in ids {
            self.pending.pop_front();
            self.waiting.remove(&id);
        }
        for id in rest {
            self.add(id);
        }
        self.send(chunks);
        self.forget();
        Ok(())
    }

    fn send(&mut self, chunks: Vec<LogChunk>) {
        if chunks.is_empty() {
            return;
        }
        // By time over all jobs, where the clock of a worker does not put a job's own out of order.
        let mut last = BTreeMap::<JobId, Timestamp>::new();
        let mut timed: Vec<(Timestamp, LogChunk)> = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let at = last.entry(chunk.job).or_default();
            *at = chunk.at.max(*at);
            timed.push((*at, chunk));
        }
        timed.sort_by_key(|(at, _)| *at);
        let part = |(_, chunk): (Timestamp, LogChunk)| {
            let name = self.sources.get(&chunk.job)?.name.clone();
            let at = LogCursor { attempt: chunk.attempt, seq: chunk.seq };
            let part = LogPart {
                cursor: at.to_string(),
                attempt: chunk.attempt,
                stream: chunk.stream,
                at: chunk.at,
                dropped_bytes: chunk.dropped_bytes,
                data: chunk.bytes,
            };
            Some(JobLogPart { job: chunk.job, name, part })
        };
        let logs = timed.into_iter().filter_map(part).collect();
        let event = LiveEvent::FilteredLogsReceived(FilteredLogsReceived { v: V, logs });
        self.unsent.push_back(Frame::new(Some(self.id()), &event));
    }

    /// The positions in the logs of the jobs that printed last.
    fn id(&self) -> String {
        let used = |id: &JobId| self.sources.get(id).map_or(0, |source| source.used);
        let mut recent: Vec<(&JobId, &LogCursor)> = self.positions.iter().collect();
        recent.sort_by_key(|(id, _)| std::cmp::Reverse((used(id), **id)));
        let texts = recent.iter().take(NAMED).map(|(id, position)| format!("{id}:{position}"));
        texts.collect::<Vec<_>>().join(",")
    }

    /// Keeps what is remembered within its bounds: the jobs that printed last.
    fn forget(&mut self) {
        if self.sources.len() <= JOBS {
            return;
        }
        let mut rounds: Vec<u64> = self.sources.values().map(|source| source.used).collect();
        rounds.sort_unstable();
        let middle = rounds[rounds.len() / 2];
        self.sources.retain(|_, source| source.used > middle);
        let sources = &self.sources;
        // A job that is forgotten and prints again is read from the end of its log, as an unknown one.
        self.newest =
            self.newest.max(self.positions.keys().next_back().copied().unwrap_or(JobId(0)));
        self.positions.retain(|id, _| sources.contains_key(id));
    }
}

/// The jobs of which there may be more than was read.
fn unread(request: &LogsRequest, read: &[LogChunk]) -> Vec<JobId> {
    let bytes: usize = read.iter().map(|chunk| chunk.bytes.len().max(1)).sum();
    let of_job = |id: JobId| read.iter().filter(|chunk| chunk.job == id).count();
    if bytes >= request.limit_bytes {
        let last =
            read.last().and_then(|last| request.jobs.iter().position(|(id, _)| *id == last.job));
        return request.jobs.iter().skip(last.unwrap_or(0)).map(|(id, _)| *id).collect();
    }
    let jobs = request.jobs.iter().map(|(id, _)| *id);
    jobs.filter(|id| !request.newest && of_job(*id) >= request.chunks as usize).collect()
}
