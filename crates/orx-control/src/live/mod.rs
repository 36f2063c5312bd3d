//! Live streams: the data of a dashboard, continuously updated.
//!
//! A stream begins with the state of its topic, and goes on with the objects that changed. Events of the
//! feed decide when to read the store; streams contain what was read there. Many changes at once cost a
//! bounded number of reads and frames, and a reader that is too slow starts over: it never holds up others.

pub(crate) mod attention;
mod changes;
mod counters;
mod counting;
mod durations;
mod events;
mod filtered_logs;
mod jobs;
mod logs;
mod one_job;
mod overview;
mod pacer;
mod reader;
mod shared;
mod source;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use orx_model::event::EventCursor;
use orx_model::wire::live::{
    LiveEvent, LivePing, LiveSnapshot, LiveState, LiveTopic, Reset, ResetReason,
};
use orx_model::wire::{Condition, Overview, V};
use orx_model::{Code, Problem};
use tokio::time::{Interval, MissedTickBehavior};

use crate::{Caller, ControlPanel, Result, Scope};
use reader::SharedReader;
use shared::{Topic, TopicHub};

/// Objects that one event names, at most.
const OBJECTS: usize = 25;
/// How often a stream sends a ping, whatever else it sends.
const PING: Duration = Duration::from_secs(4);
/// How often a store that cannot be read is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The pause after events that do not concern a stream: they wake its reader too.
const UNCONCERNED: Duration = Duration::from_millis(20);

/// The live part of a control panel.
#[derive(Default)]
pub(crate) struct LiveStreams {
    hub: TopicHub,
    counters: counting::Counting,
}

/// An event of a stream, encoded. A clone shares the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The id to resume from; `None` if the event has none.
    pub id: Option<Arc<str>>,
    /// The name of the event.
    pub name: &'static str,
    /// Its JSON, on one line.
    pub data: Arc<str>,
}

impl Frame {
    fn new(id: Option<String>, event: &LiveEvent) -> Self {
        let data = event.data().unwrap_or_else(|error| {
            tracing::error!(%error, name = event.name(), "could not encode an event");
            "null".to_owned()
        });
        Self { id: id.map(Into::into), name: event.name(), data: data.into() }
    }
}

fn problem_frame(problem: Problem) -> Frame {
    Frame::new(None, &LiveEvent::Problem(problem))
}

fn reset_frame(why: ResetReason) -> Frame {
    Frame::new(None, &LiveEvent::Reset(Reset { v: V, why }))
}

type Frames = Pin<Box<dyn Stream<Item = Frame> + Send>>;

/// Where a client wants to go on.
#[derive(Debug, Clone, Copy)]
enum Resume {
    /// It has nothing yet.
    Start,
    /// After this event of this node.
    After(EventCursor),
    /// After an event that this node does not know.
    Unknown,
}

impl ControlPanel {
    /// The events of a topic. `last_event_id` is the id of the last event that the caller received. The
    /// stream ends only for the output of a job that has ended.
    ///
    /// # Errors
    /// [`Code::BadRequest`], [`Code::NotFound`], [`Code::NotAllowed`], and errors of the store.
    pub async fn live(
        &self,
        caller: &Caller,
        topic: &LiveTopic,
        last_event_id: Option<&str>,
    ) -> Result<impl Stream<Item = Frame> + Send + use<>> {
        self.count_events();
        let resume = self.resume(last_event_id);
        let shared = |topic| SharedReader::new(self, topic, resume).frames();
        let frames: Frames = match topic {
            LiveTopic::Jobs(_)
            | LiveTopic::Job(_)
            | LiveTopic::Logs(..)
            | LiveTopic::FilteredLogs(_) => {
                self.need_view(caller)?;
                match topic {
                    LiveTopic::Jobs(query) => SharedReader::of_jobs(self, query, resume)?.frames(),
                    LiveTopic::Job(reference) => one_job::frames(self, reference, resume).await?,
                    LiveTopic::Logs(reference, query) => {
                        logs::frames(self, caller, reference, query, last_event_id).await?
                    }
                    LiveTopic::FilteredLogs(query) => {
                        filtered_logs::frames(self, query, last_event_id).await?
                    }
                    _ => return Err(Problem::new(Code::Internal, "no topic of jobs")),
                }
            }
            other => {
                caller.need(Scope::Read)?;
                match other {
                    LiveTopic::Overview => shared(Topic::Overview),
                    LiveTopic::Workers => shared(Topic::Workers),
                    LiveTopic::Queues => shared(Topic::Queues),
                    LiveTopic::Schedules => shared(Topic::Schedules),
                    LiveTopic::DeadLetters => shared(Topic::DeadLetters),
                    LiveTopic::Cluster => shared(Topic::Cluster),
                    LiveTopic::Events(query) => events::frames(self, query, resume)?,
                    _ => return Err(Problem::new(Code::Internal, "no shared topic")),
                }
            }
        };
        Ok(futures_util::stream::unfold(WithPings::new(self.clone(), frames), WithPings::next))
    }

    /// The overview of the cluster, as its stream sends it.
    ///
    /// # Errors
    /// [`Code::NotAllowed`], and errors of the store.
    pub async fn overview(&self, caller: &Caller) -> Result<Overview> {
        caller.need(Scope::Read)?;
        self.count_events();
        let shared = self.inner.live.hub.topic(self, Topic::Overview);
        let (mut batches, mut current) = shared.subscribe();
        loop {
            if let Some(state) = current
                && let LiveState::Overview(overview) = &*state.state
            {
                return Ok((**overview).clone());
            }
            let problem = |text: &str| Problem::new(Code::Unavailable, text);
            let batch = batches.recv().await;
            let batch = batch.map_err(|_| problem("the overview is not available"))?;
            if let shared::LiveBatch::Frame(frame) = &*batch
                && frame.name == "problem"
            {
                let found = serde_json::from_str(&frame.data);
                return Err(found.unwrap_or_else(|_| problem("the overview could not be read")));
            }
            current = shared.subscribe().1;
        }
    }

    fn resume(&self, last_event_id: Option<&str>) -> Resume {
        match last_event_id.map(str::parse::<EventCursor>) {
            None => Resume::Start,
            Some(Ok(after)) if after.node == self.feed().node() => Resume::After(after),
            Some(_) => Resume::Unknown,
        }
    }

    fn snapshot(&self, state: LiveState, cursor: EventCursor) -> Frame {
        let snapshot = LiveSnapshot { v: V, now: self.now(), state };
        Frame::new(Some(cursor.to_string()), &LiveEvent::Snapshot(snapshot))
    }
}

/// Adds pings to a stream.
struct WithPings {
    panel: ControlPanel,
    frames: Frames,
    interval: Interval,
    condition: Condition,
}

impl WithPings {
    fn new(panel: ControlPanel, frames: Frames) -> Self {
        let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { panel, frames, interval, condition: Condition::Well }
    }

    async fn next(mut self) -> Option<(Frame, Self)> {
        let wakeups = &self.panel.inner.wakeups;
        tokio::select! {
            biased;
            _ = self.interval.tick() => {}
            condition = wakeups.condition_changed(self.condition) => self.condition = condition,
            frame = self.frames.next() => return frame.map(|frame| (frame, self)),
        }
        let (now, condition) = (self.panel.now(), self.condition);
        let ping = LiveEvent::Ping(LivePing { v: V, now, condition });
        Some((Frame::new(None, &ping), self))
    }
}
