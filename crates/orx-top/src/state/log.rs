//! The log of a job as the dashboard holds it: cleaned lines, bounded in number and bytes.

use std::collections::{BTreeMap, VecDeque};

use orx_model::Timestamp;
use orx_model::log::{Level, LogLine as Structured, Stream};
use orx_model::text::{Cleaner, Styles, clean_line, format_bytes};
use orx_model::wire::LogPart;

use super::scroll::Scroll;

/// Lines that are held at most.
pub(crate) const LINES: usize = 50_000;
/// Bytes that they have at most.
const BYTES: usize = 32 * 1024 * 1024;

/// One line. Its text holds no control code but colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) attempt: u32,
    pub(crate) at: Timestamp,
    pub(crate) kind: LineKind,
    pub(crate) text: String,
}

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineKind {
    Out,
    Err,
    Log(Level),
    /// Output that is missing here.
    Gap,
    /// The line so far, of a program that has not ended it.
    Unfinished,
}

/// The log of a job.
#[derive(Debug)]
pub(crate) struct Log {
    lines: VecDeque<Line>,
    bytes: usize,
    cleaners: BTreeMap<(u32, Stream), Cleaner>,
    /// The line of a stream that has not ended: with what it stands at the end.
    unfinished: Option<(u32, Stream)>,
    pub(crate) scroll: Scroll,
    /// Only lines of a level are left out below it; what a program prints has none.
    pub(crate) level: Level,
    /// Only this attempt; `None`: all.
    pub(crate) attempt: Option<u32>,
    pub(crate) dropped_bytes: u64,
    /// Lines that came since the user scrolled up.
    pub(crate) unseen: usize,
    /// Everything that was there has arrived.
    pub(crate) live: bool,
    pub(crate) ended: bool,
    /// The link of this stream is down.
    pub(crate) lost: bool,
    /// Lines at the start were let go of, to stay within the bounds.
    pub(crate) cut: bool,
}

impl Log {
    pub(crate) fn new(attempt: Option<u32>) -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            cleaners: BTreeMap::new(),
            unfinished: None,
            scroll: Scroll::new(true),
            level: Level::Trace,
            attempt,
            dropped_bytes: 0,
            unseen: 0,
            live: false,
            ended: false,
            lost: false,
            cut: false,
        }
    }

    /// Takes a piece of output in.
    pub(crate) fn push(&mut self, part: &LogPart) {
        self.remove_unfinished();
        if part.dropped_bytes > 0 {
            self.dropped_bytes += part.dropped_bytes;
            let text = format!("{} not kept", format_bytes(part.dropped_bytes));
            self.add(Line { attempt: part.attempt, at: part.at, kind: LineKind::Gap, text });
        }
        let key = (part.attempt, part.stream);
        let mut text = String::new();
        let cleaner = self.cleaners.entry(key).or_insert_with(|| Cleaner::new(Styles::Keep));
        cleaner.push(&part.data, &mut text);
        for line in text.lines() {
            let line = Self::line(part.attempt, part.stream, part.at, line);
            self.add(line);
        }
        let rest = self.cleaners.get(&key).map(Cleaner::unfinished).unwrap_or_default();
        if !rest.is_empty() && part.stream != Stream::Log {
            let text = rest.to_owned();
            let kind = LineKind::Unfinished;
            self.add(Line { attempt: part.attempt, at: part.at, kind, text });
            self.unfinished = Some(key);
        }
    }

    fn line(attempt: u32, stream: Stream, at: Timestamp, text: &str) -> Line {
        let (kind, text) = match stream {
            Stream::Out => (LineKind::Out, text.to_owned()),
            Stream::Err => (LineKind::Err, text.to_owned()),
            Stream::Log => match serde_json::from_str::<Structured>(text) {
                Ok(line) => (LineKind::Log(line.level), clean_line(&line.message).into_owned()),
                Err(_) => (LineKind::Log(Level::Info), text.to_owned()),
            },
        };
        Line { attempt, at, kind, text }
    }

    fn add(&mut self, line: Line) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
        if !self.scroll.follow {
            self.unseen += 1;
        }
        while self.lines.len() > LINES || self.bytes > BYTES {
            let Some(gone) = self.lines.pop_front() else { break };
            self.bytes -= gone.text.len();
            self.scroll.top = self.scroll.top.saturating_sub(1);
            self.cut = true;
        }
    }

    fn remove_unfinished(&mut self) {
        if self.unfinished.take().is_some()
            && let Some(line) = self.lines.pop_back()
        {
            self.bytes -= line.text.len();
            self.unseen = self.unseen.saturating_sub(1);
        }
    }

    /// The lines of the level that is shown, or above it.
    pub(crate) fn shown(&self) -> Vec<&Line> {
        let least = self.level;
        let shown = |line: &&Line| match line.kind {
            LineKind::Log(level) => level >= least,
            _ => true,
        };
        self.lines.iter().filter(shown).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(stream: Stream, data: &str) -> LogPart {
        LogPart {
            cursor: "1:1".to_owned(),
            attempt: 1,
            stream,
            at: Timestamp::from_millis(0),
            dropped_bytes: 0,
            data: data.as_bytes().to_vec(),
        }
    }

    fn texts(log: &Log) -> Vec<&str> {
        log.shown().iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_line_without_an_end_is_shown_and_then_replaced() {
        let mut log = Log::new(None);
        log.push(&part(Stream::Out, "one\n10%"));
        assert_eq!(texts(&log), ["one", "10%"]);
        log.push(&part(Stream::Out, "\r50%"));
        assert_eq!(texts(&log), ["one", "50%"]);
        log.push(&part(Stream::Err, "warning\n"));
        log.push(&part(Stream::Out, "\rdone\n"));
        assert_eq!(texts(&log), ["one", "warning", "done"]);
    }

    #[test]
    fn structured_lines_have_a_level_and_can_be_left_out() {
        let mut log = Log::new(None);
        log.push(&part(Stream::Log, "{\"level\":\"debug\",\"message\":\"a\\u001b[2Jb\"}\n"));
        log.push(&part(Stream::Log, "{\"level\":\"warn\",\"message\":\"c\"}\n"));
        assert_eq!(texts(&log), ["a␛b", "c"]);
        log.level = Level::Info;
        assert_eq!(texts(&log), ["c"]);
    }

    #[test]
    fn old_lines_go_and_the_place_stays() {
        let mut log = Log::new(None);
        let many: String = (0..LINES).map(|n| format!("{n}\n")).collect();
        log.push(&part(Stream::Out, &many));
        (log.scroll.follow, log.scroll.top) = (false, 30_000);
        log.push(&part(Stream::Out, &many[..2_000]));
        assert_eq!(log.len(), LINES);
        assert_eq!(log.shown()[log.scroll.top].text, "30000");
        assert!(log.cut);
    }
}
