//! One reader of a shared topic.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use orx_feed::FeedFilter;
use orx_model::event::EventKind;
use orx_model::filter::Filter;
use orx_model::limits;
use orx_model::schedule::wire::SchedulesQuery;
use orx_model::wire::live::{LiveEvent, LiveJobsQuery, LiveState, Refetch, ResetReason, Slow};
use orx_model::wire::{ListQuery, V};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::changes::Changes;
use super::jobs::ChangedJobs;
use super::shared::{CurrentState, LiveBatch, SharedTopic, Topic};
use super::{Frame, Frames, RETRY, Resume, problem_frame, reset_frame};
use crate::change::parse_filter;
use crate::view::rows;
use crate::{Caller, ControlPanel, Result};

/// The shortest time between two `refetch` to one reader.
const REFETCH_GAP: Duration = Duration::from_secs(1);

/// One reader of a shared topic.
pub(crate) struct SharedReader {
    panel: ControlPanel,
    topic: Topic,
    shared: Arc<SharedTopic>,
    batches: Receiver<Arc<LiveBatch>>,
    /// The state when the reader joined, where the topic keeps it.
    current: Option<CurrentState>,
    jobs: LiveJobsQuery,
    filter: Filter,
    /// What to send before anything else; `None` once the stream has begun.
    begin: Option<Resume>,
    unsent: VecDeque<Frame>,
    refetched_at: Option<Instant>,
    /// Left out so far, with the number of changes.
    refetch: Option<(Frame, u64)>,
}

impl SharedReader {
    pub(crate) fn new(panel: &ControlPanel, topic: Topic, resume: Resume) -> Self {
        let shared = panel.inner.live.hub.topic(panel, topic);
        let (batches, current) = shared.subscribe();
        Self {
            panel: panel.clone(),
            topic,
            shared,
            batches,
            current,
            jobs: LiveJobsQuery::default(),
            filter: Filter::default(),
            begin: Some(resume),
            unsent: VecDeque::new(),
            refetched_at: None,
            refetch: None,
        }
    }

    pub(crate) fn of_jobs(
        panel: &ControlPanel,
        query: &LiveJobsQuery,
        resume: Resume,
    ) -> Result<Self> {
        rows(query.limit)?;
        let filter = parse_filter(query.filter.as_deref(), query.tz.as_deref(), panel.now())?;
        Ok(Self { jobs: query.clone(), filter, ..Self::new(panel, Topic::Jobs, resume) })
    }

    pub(crate) fn frames(self) -> Frames {
        Box::pin(futures_util::stream::unfold(self, Self::next))
    }

    async fn next(mut self) -> Option<(Frame, Self)> {
        loop {
            if let Some(frame) = self.unsent.pop_front() {
                return Some((frame, self));
            }
            if let Some(resume) = self.begin {
                self.begin(resume).await;
                continue;
            }
            let due = self.refetched_at.map_or_else(Instant::now, |at| at + REFETCH_GAP);
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due), if self.refetch.is_some() => {
                    self.refetched_at = Some(Instant::now());
                    self.unsent.extend(self.refetch.take().map(|(frame, _)| frame));
                }
                batch = self.batches.recv() => match batch {
                    Ok(batch) => self.take(&batch),
                    Err(RecvError::Lagged(skipped)) => self.start_over(skipped),
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    fn take(&mut self, batch: &LiveBatch) {
        let frames = match batch {
            LiveBatch::Frame(frame) => vec![frame.clone()],
            LiveBatch::Jobs(changed) => changed.frames(&self.filter, self.panel.now()),
            LiveBatch::FirstState => Vec::new(),
        };
        for frame in frames {
            if frame.name == "refetch" {
                self.add_refetch(frame);
            } else {
                self.unsent.push_back(frame);
            }
        }
    }

    /// Several become one, with the number of all their changes.
    fn add_refetch(&mut self, frame: Frame) {
        let parsed = LiveEvent::parse(frame.name, &frame.data);
        let changed = match parsed {
            Ok(Some(LiveEvent::Refetch(refetch))) => refetch.changed,
            _ => 0,
        };
        self.refetch = Some(match self.refetch.take() {
            None => (frame, changed),
            Some((_, before)) if before == 0 || changed == 0 => (frame, 0),
            Some((_, before)) => {
                let changed = before + changed;
                let event = LiveEvent::Refetch(Refetch { v: V, changed });
                (Frame { id: frame.id, ..Frame::new(None, &event) }, changed)
            }
        });
    }

    fn start_over(&mut self, skipped: u64) {
        (self.batches, self.current) = self.shared.subscribe();
        self.refetch = None;
        let slow = LiveEvent::Slow(Slow { v: V, skipped });
        self.unsent.push_back(Frame::new(None, &slow));
        self.unsent.push_back(reset_frame(ResetReason::Slow));
        self.begin = Some(Resume::Start);
    }

    /// Sends the state of the topic, or what changed since the caller's last event.
    async fn begin(&mut self, resume: Resume) {
        if let Resume::Unknown = resume {
            self.unsent.push_back(reset_frame(ResetReason::OtherNode));
            self.begin = Some(Resume::Start);
            return;
        }
        if let (Topic::Jobs, Resume::After(_)) = (self.topic, resume) {
            self.catch_up(resume).await;
            return;
        }
        let cursor = self.panel.feed().cursor();
        let local = Caller::local();
        let state = match self.topic {
            Topic::Jobs => {
                let query = ListQuery {
                    filter: self.jobs.filter.clone(),
                    tz: self.jobs.tz.clone(),
                    limit: self.jobs.limit,
                    ..ListQuery::default()
                };
                self.panel.list(&local, &query).await.map(LiveState::Jobs)
            }
            Topic::Schedules => {
                let limit = Some(limits::PAGE_ROWS as u32);
                let query = SchedulesQuery { limit, cursor: None };
                self.panel.schedules(&local, &query).await.map(LiveState::Schedules)
            }
            Topic::DeadLetters => self
                .panel
                .dead_letters(&local, &ListQuery::default())
                .await
                .map(LiveState::DeadLetters),
            Topic::Overview | Topic::Workers | Topic::Queues | Topic::Cluster => {
                return self.begin_with_current().await;
            }
        };
        match state {
            Ok(state) => {
                self.begin = None;
                self.unsent.push_back(self.panel.snapshot(state, cursor));
            }
            Err(problem) => {
                self.unsent.push_back(problem_frame(problem));
                // The frame is sent first: the pause is for the next try.
                self.begin = Some(Resume::Start);
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn begin_with_current(&mut self) {
        loop {
            if let Some(current) = self.current.take() {
                self.begin = None;
                let snapshot = self.panel.snapshot((*current.state).clone(), current.cursor);
                self.unsent.push_back(snapshot);
                return;
            }
            // The first read of the topic is under way.
            let problem = match self.batches.recv().await {
                Ok(batch) => match &*batch {
                    LiveBatch::Frame(frame) if frame.name == "problem" => Some(frame.clone()),
                    LiveBatch::Frame(_) | LiveBatch::Jobs(_) | LiveBatch::FirstState => None,
                },
                Err(_) => None,
            };
            (self.batches, self.current) = self.shared.subscribe();
            if let Some(problem) = problem {
                self.unsent.push_back(problem);
                return;
            }
        }
    }

    /// Sends the jobs that changed since an event of this node.
    async fn catch_up(&mut self, resume: Resume) {
        let Resume::After(after) = resume else { return };
        let filter = FeedFilter::all().kinds([EventKind::Job]);
        let mut reader = self.panel.feed().resume(after, filter);
        let mut changes = Changes::default();
        changes.drain(&mut reader);
        if changes.gap {
            self.unsent.push_back(reset_frame(ResetReason::Past));
            self.begin = Some(Resume::Start);
            return;
        }
        if changes.is_empty() {
            self.begin = None;
            return;
        }
        let cursor = reader.cursor();
        match ChangedJobs::read(&self.panel, &changes, cursor).await {
            Ok(changed) => {
                self.begin = None;
                self.take(&LiveBatch::Jobs(changed));
            }
            Err(problem) => {
                self.unsent.push_back(problem_frame(problem));
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
