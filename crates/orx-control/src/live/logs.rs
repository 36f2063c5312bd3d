//! The topic of a job's output. Its ids are positions in the log, which every node knows.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use orx_model::log::LogCursor;
use orx_model::wire::live::{LiveEvent, LiveLogsQuery, LogEnded, LogLive, LogReceived};
use orx_model::wire::{LogEvent, LogPart, LogsQuery, V};

use super::pacer::Pacer;
use super::{Frame, Frames, problem_frame};
use crate::{Caller, ControlPanel, Result};

/// The pace of output, once all earlier output was sent.
const GAP: Duration = Duration::from_millis(250);
const BURST: u32 = 4;
/// Output of one event, about.
const BYTES: usize = 256 * 1024;

struct LogReader {
    events: Pin<Box<dyn Stream<Item = Result<LogEvent>> + Send>>,
    pacer: Pacer,
    live: bool,
    unsent: VecDeque<Frame>,
    over: bool,
}

pub(crate) async fn frames(
    panel: &ControlPanel,
    caller: &Caller,
    reference: &str,
    query: &LiveLogsQuery,
    last_event_id: Option<&str>,
) -> Result<Frames> {
    // An id that is no position is of another topic: the log then begins as the query says.
    let last = last_event_id.filter(|id| id.parse::<LogCursor>().is_ok());
    let query = LogsQuery {
        cursor: last.map(str::to_owned).or_else(|| query.cursor.clone()),
        attempt: query.attempt,
        stream: query.stream.clone(),
        tail: if last.is_some() { None } else { query.tail },
        follow: Some(true),
    };
    let events = Box::pin(panel.logs(caller, reference, &query).await?);
    let pacer = Pacer::new(GAP, BURST);
    let reader = LogReader { events, pacer, live: false, unsent: VecDeque::new(), over: false };
    Ok(Box::pin(futures_util::stream::unfold(reader, LogReader::next)))
}

impl LogReader {
    async fn next(mut self) -> Option<(Frame, Self)> {
        loop {
            if let Some(frame) = self.unsent.pop_front() {
                return Some((frame, self));
            }
            if self.over {
                return None;
            }
            let event = self.events.next().await?;
            let mut parts = Vec::new();
            let mut bytes = 0;
            self.take(event, &mut parts, &mut bytes);
            // What is ready goes into the same event.
            while !parts.is_empty()
                && bytes < BYTES
                && !self.over
                && let Some(Some(event)) = self.events.next().now_or_never()
            {
                self.take(event, &mut parts, &mut bytes);
            }
            self.flush(&mut parts);
            if self.live && self.unsent.front().is_some_and(|frame| frame.name == "log_received") {
                self.pacer.wait().await;
            }
        }
    }

    fn take(&mut self, event: Result<LogEvent>, parts: &mut Vec<LogPart>, bytes: &mut usize) {
        match event {
            Ok(LogEvent::Chunk(part)) => {
                *bytes += part.data.len();
                parts.push(part);
            }
            // The stream has pings of its own, and the topic of the job sends its status.
            Ok(LogEvent::Ping { .. } | LogEvent::Status { .. }) => {}
            Ok(LogEvent::Live {}) => {
                self.flush(parts);
                self.live = true;
                self.unsent.push_back(Frame::new(None, &LiveEvent::LogLive(LogLive { v: V })));
            }
            Ok(LogEvent::End { cursor, job }) => {
                self.flush(parts);
                let ended = LogEnded { v: V, cursor: cursor.clone(), status: job.state.status };
                self.unsent.push_back(Frame::new(Some(cursor), &LiveEvent::LogEnded(ended)));
                self.over = true;
            }
            Err(problem) => {
                self.flush(parts);
                self.unsent.push_back(problem_frame(problem));
                self.over = true;
            }
        }
    }

    fn flush(&mut self, parts: &mut Vec<LogPart>) {
        let Some(last) = parts.last() else { return };
        let id = last.cursor.clone();
        let received = LogReceived { v: V, parts: std::mem::take(parts) };
        self.unsent.push_back(Frame::new(Some(id), &LiveEvent::LogReceived(received)));
    }
}
