//! The topic of events: changes as they were published, in order.

use std::collections::VecDeque;
use std::time::Duration;

use orx_feed::{FeedFilter, FeedReader, News};
use orx_model::event::EventKind;
use orx_model::wire::V;
use orx_model::wire::live::{
    EventLine, EventsReceived, LiveEvent, LiveEventsQuery, LiveState, ResetReason,
};
use orx_model::{Code, Problem};

use super::changes::{line, parse_kinds};
use super::pacer::Pacer;
use super::{Frame, Frames, OBJECTS, Resume, UNCONCERNED, reset_frame};
use crate::{ControlPanel, Result};

const GAP: Duration = Duration::from_millis(250);
const BURST: u32 = 4;
/// Events of the snapshot.
const PAST: usize = 100;
/// Events taken from the feed under one lock.
const EVENTS: usize = 1_000;

struct EventReader {
    panel: ControlPanel,
    filter: FeedFilter,
    reader: FeedReader,
    pacer: Pacer,
    resume: Option<Resume>,
    unsent: VecDeque<Frame>,
}

pub(crate) fn frames(
    panel: &ControlPanel,
    query: &LiveEventsQuery,
    resume: Resume,
) -> Result<Frames> {
    let kinds = match &query.kinds {
        Some(kinds) => parse_kinds(kinds).map_err(|error| Problem::new(Code::BadRequest, error))?,
        None => {
            let of_jobs = |kind: &EventKind| matches!(kind, EventKind::Job | EventKind::Log);
            EventKind::ALL.into_iter().filter(|kind| !of_jobs(kind)).collect()
        }
    };
    let filter = FeedFilter::all().kinds(kinds);
    let reader = match resume {
        Resume::After(after) => panel.feed().resume(after, filter.clone()),
        Resume::Start | Resume::Unknown => panel.feed().replay(filter.clone()),
    };
    let (panel, pacer) = (panel.clone(), Pacer::new(GAP, BURST));
    let unsent = VecDeque::new();
    let reader = EventReader { panel, filter, reader, pacer, resume: Some(resume), unsent };
    Ok(Box::pin(futures_util::stream::unfold(reader, EventReader::next)))
}

impl EventReader {
    async fn next(mut self) -> Option<(Frame, Self)> {
        loop {
            if let Some(frame) = self.unsent.pop_front() {
                return Some((frame, self));
            }
            match self.resume.take() {
                None => self.reader.ready().await,
                Some(Resume::After(_)) => {}
                Some(Resume::Unknown) => self.start_over(ResetReason::OtherNode),
                Some(Resume::Start) => self.begin(),
            }
            if !self.unsent.is_empty() {
                continue;
            }
            let (lines, skipped, gap) = self.gather(OBJECTS);
            if gap {
                self.start_over(ResetReason::Gap);
            } else if let Some(last) = lines.back() {
                let id = last.id.to_string();
                let received = EventsReceived { v: V, events: lines.into(), skipped };
                let event = LiveEvent::EventsReceived(received);
                self.unsent.push_back(Frame::new(Some(id), &event));
                // After the first: events that come meanwhile go into the next frame.
                self.pacer.wait().await;
            } else {
                // Events of other kinds wake this reader too.
                tokio::time::sleep(UNCONCERNED).await;
            }
        }
    }

    fn start_over(&mut self, why: ResetReason) {
        self.unsent.push_back(reset_frame(why));
        self.reader = self.panel.feed().replay(self.filter.clone());
        self.begin();
    }

    /// Sends the newest events that the feed holds.
    fn begin(&mut self) {
        let (lines, skipped, _) = self.gather(PAST);
        let cursor = self.reader.cursor();
        let state = LiveState::Events(EventsReceived { v: V, events: lines.into(), skipped });
        self.unsent.push_back(self.panel.snapshot(state, cursor));
    }

    /// The newest `most` events, the number of older ones, and whether some are missing.
    fn gather(&mut self, most: usize) -> (VecDeque<EventLine>, u64, bool) {
        let (mut lines, mut skipped, mut gap) = (VecDeque::new(), 0, false);
        while let Some(news) = self.reader.try_next(EVENTS) {
            let News::Events(events) = news else {
                gap = true;
                continue;
            };
            for event in &events {
                if lines.len() == most {
                    lines.pop_front();
                    skipped += 1;
                }
                lines.push_back(line(event));
            }
        }
        (lines, skipped, gap)
    }
}
