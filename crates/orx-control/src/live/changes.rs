//! What changed since a stream sent last, gathered from the events of the feed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use orx_feed::{FeedEvent, FeedReader, News};
use orx_model::event::{EventKind, KnownEvent};
use orx_model::wire::live::EventLine;
use orx_model::{JobId, JobStatus, Name};

use super::OBJECTS;

/// Events taken from the feed under one lock.
const EVENTS: usize = 1_000;

/// Changes that are not sent yet. Bounded: of many changed objects only their number.
#[derive(Default)]
pub(crate) struct Changes {
    /// Number of events.
    pub(crate) count: u64,
    /// Events are missing: anything may have changed.
    pub(crate) gap: bool,
    /// Changed jobs; `true` if more than their progress changed.
    jobs: BTreeMap<JobId, bool>,
    schedules: BTreeSet<Name>,
    /// More objects changed than an event may name.
    pub(crate) many: bool,
    /// A job failed for good, was deleted, or something else happened that can concern dead letters.
    pub(crate) dead: bool,
    /// A node or worker changed.
    pub(crate) members: bool,
    /// The newest changes of nodes.
    pub(crate) nodes: VecDeque<EventLine>,
}

impl Changes {
    /// Takes what is in the feed.
    pub(crate) fn drain(&mut self, reader: &mut FeedReader) {
        while let Some(news) = reader.try_next(EVENTS) {
            match news {
                News::Reset => {
                    self.count += 1;
                    self.gap = true;
                    self.members = true;
                    self.dead = true;
                }
                News::Events(events) => events.iter().for_each(|event| self.add(event)),
            }
        }
    }

    fn add(&mut self, event: &FeedEvent) {
        self.count += 1;
        let Some(known) = event.event.known() else { return };
        match known {
            KnownEvent::JobProgressed { job } => self.add_job(job.id, false),
            KnownEvent::ScheduleChanged { schedule, .. } => {
                if self.schedules.len() < OBJECTS {
                    self.schedules.insert(schedule.clone());
                } else if !self.schedules.contains(schedule) {
                    self.many = true;
                }
            }
            KnownEvent::NodeChanged { .. } => {
                self.members = true;
                if self.nodes.len() == OBJECTS {
                    self.nodes.pop_front();
                }
                self.nodes.push_back(line(event));
            }
            KnownEvent::WorkerMoved { .. }
            | KnownEvent::WorkerLost { .. }
            | KnownEvent::WorkerOrdered { .. } => self.members = true,
            KnownEvent::JobMoved { job, to, .. } => {
                // A retry of a dead letter makes its job pending.
                self.dead |=
                    matches!(to, JobStatus::Failed | JobStatus::TimedOut | JobStatus::Pending);
                self.add_job(job.id, true);
            }
            KnownEvent::JobChanged { job } => {
                self.dead = true;
                self.add_job(job.id, true);
            }
            KnownEvent::JobAccepted { job, .. } | KnownEvent::JobCancelling { job } => {
                self.add_job(job.id, true);
            }
            KnownEvent::JobLogGrew { .. } | KnownEvent::QueueChanged { .. } => {}
        }
    }

    fn add_job(&mut self, job: JobId, moved: bool) {
        if let Some(known) = self.jobs.get_mut(&job) {
            *known |= moved;
        } else if self.jobs.len() < OBJECTS {
            self.jobs.insert(job, moved);
        } else {
            self.many = true;
        }
    }

    /// The changed jobs and whether more than their progress changed. `None`: they are too many, or unknown.
    pub(crate) fn jobs(&self) -> Option<&BTreeMap<JobId, bool>> {
        (!self.many && !self.gap).then_some(&self.jobs)
    }

    /// The changed schedules. `None`: they are too many, or unknown.
    pub(crate) fn schedules(&self) -> Option<&BTreeSet<Name>> {
        (!self.many && !self.gap).then_some(&self.schedules)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// An event as a stream sends it.
pub(crate) fn line(event: &FeedEvent) -> EventLine {
    EventLine {
        id: event.cursor,
        at: event.event.at,
        node: event.origin,
        what: event.event.what.clone(),
    }
}

/// Parses a list of kinds, separated by commas.
pub(crate) fn parse_kinds(text: &str) -> std::result::Result<Vec<EventKind>, String> {
    let parse = |kind: &str| kind.trim().parse().map_err(|error| format!("{error}"));
    text.split(',').map(parse).collect::<std::result::Result<_, String>>()
}
