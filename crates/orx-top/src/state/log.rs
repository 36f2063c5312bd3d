//! The log of a job, or of many, as the dashboard holds it: cleaned lines, bounded in number and bytes.

use std::collections::{BTreeMap, VecDeque};

use orx_model::log::{Level, LogLine as Structured, Stream};
use orx_model::text::{Cleaner, Styles, clean_line, format_bytes};
use orx_model::wire::LogPart;
use orx_model::{JobId, Timestamp};

use super::scroll::Scroll;

/// Lines that are held at most.
pub(crate) const LINES: usize = 50_000;
/// Bytes that they have at most.
const BYTES: usize = 32 * 1024 * 1024;
/// Streams of which the start of a line is held. A job that has ended leaves such a start behind.
const STREAMS: usize = 200;

/// One output of one attempt.
type StreamKey = (JobId, u32, Stream);

/// One line. Its text holds no control code but colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Grows with each line.
    pub(crate) number: u64,
    pub(crate) job: JobId,
    pub(crate) attempt: u32,
    /// The chunk of the attempt that the line ends in.
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) kind: LineKind,
    pub(crate) text: String,
}

/// Which line of a job's log is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineRef {
    pub(crate) attempt: u32,
    pub(crate) seq: u64,
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

impl LineKind {
    /// The level, where there is one, and the source.
    pub(crate) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Out | Self::Unfinished => ("", "out"),
            Self::Err => ("", "err"),
            Self::Log(Level::Error) => ("ERROR", "log"),
            Self::Log(Level::Warn) => ("WARN", "log"),
            Self::Log(Level::Info) => ("INFO", "log"),
            Self::Log(Level::Debug) => ("DEBUG", "log"),
            Self::Log(Level::Trace) => ("TRACE", "log"),
            Self::Gap => ("", "gap"),
        }
    }
}

/// The log of a job, or of many.
#[derive(Debug)]
pub(crate) struct Log {
    lines: VecDeque<Line>,
    bytes: usize,
    cleaners: BTreeMap<StreamKey, Cleaner>,
    /// The line of a stream that has not ended: with what it stands at the end.
    unfinished: Option<StreamKey>,
    /// The number of the next line.
    next: u64,
    /// The number of the line under the cursor, where there is one.
    pub(crate) cursor: Option<u64>,
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
            next: 0,
            cursor: None,
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

    /// Takes a piece of the output of a job in.
    pub(crate) fn push(&mut self, job: JobId, part: &LogPart) {
        self.remove_unfinished();
        if part.dropped_bytes > 0 {
            self.dropped_bytes += part.dropped_bytes;
            let text = format!("{} not kept", format_bytes(part.dropped_bytes));
            self.add_line(job, part, LineKind::Gap, text);
        }
        let key = (job, part.attempt, part.stream);
        let mut text = String::new();
        if self.cleaners.len() >= STREAMS && !self.cleaners.contains_key(&key) {
            // The oldest jobs print least likely.
            self.cleaners.pop_first();
        }
        let cleaner = self.cleaners.entry(key).or_insert_with(|| Cleaner::new(Styles::Keep));
        cleaner.push(&part.data, &mut text);
        for line in text.lines() {
            let (kind, text) = Self::line(part.stream, line);
            self.add_line(job, part, kind, text);
        }
        let rest = self.cleaners.get(&key).map(Cleaner::unfinished).unwrap_or_default();
        if !rest.is_empty() && part.stream != Stream::Log {
            let text = rest.to_owned();
            self.add_line(job, part, LineKind::Unfinished, text);
            self.unfinished = Some(key);
        }
    }

    /// Marks that output of a job is missing before this piece.
    pub(crate) fn push_gap(&mut self, job: JobId, part: &LogPart, text: &str) {
        self.remove_unfinished();
        self.cleaners.remove(&(job, part.attempt, part.stream));
        self.add_line(job, part, LineKind::Gap, text.to_owned());
    }

    fn line(stream: Stream, text: &str) -> (LineKind, String) {
        match stream {
            Stream::Out => (LineKind::Out, text.to_owned()),
            Stream::Err => (LineKind::Err, text.to_owned()),
            Stream::Log => match serde_json::from_str::<Structured>(text) {
                Ok(line) => (LineKind::Log(line.level), clean_line(&line.message).into_owned()),
                Err(_) => (LineKind::Log(Level::Info), text.to_owned()),
            },
        }
    }

    fn add_line(&mut self, job: JobId, part: &LogPart, kind: LineKind, text: String) {
        let seq = part.position().map_or(0, |at| at.seq);
        let number = self.next;
        self.next += 1;
        self.add(Line { number, job, attempt: part.attempt, seq, at: part.at, kind, text });
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

    /// The place of the line under the cursor among [`Self::shown`]; the last line while it is followed.
    pub(crate) fn cursor_place(&self) -> Option<usize> {
        let shown = self.shown();
        let last = shown.len().checked_sub(1)?;
        let Some(cursor) = self.cursor.filter(|_| !self.scroll.follow) else { return Some(last) };
        Some(shown.partition_point(|line| line.number < cursor).min(last))
    }

    /// The line under the cursor.
    pub(crate) fn at_cursor(&self) -> Option<&Line> {
        self.shown().get(self.cursor_place()?).copied()
    }

    /// The place of a line among [`Self::shown`].
    pub(crate) fn find(&self, wanted: &LineRef) -> Option<usize> {
        let is = |line: &&Line| {
            line.attempt == wanted.attempt && line.seq == wanted.seq && line.text == wanted.text
        };
        self.shown().iter().position(is)
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
        log.push(JobId(1), &part(Stream::Out, "one\n10%"));
        assert_eq!(texts(&log), ["one", "10%"]);
        log.push(JobId(1), &part(Stream::Out, "\r50%"));
        assert_eq!(texts(&log), ["one", "50%"]);
        log.push(JobId(1), &part(Stream::Err, "warning\n"));
        log.push(JobId(1), &part(Stream::Out, "\rdone\n"));
        assert_eq!(texts(&log), ["one", "warning", "done"]);
    }

    #[test]
    fn structured_lines_have_a_level_and_can_be_left_out() {
        let mut log = Log::new(None);
        log.push(
            JobId(1),
            &part(Stream::Log, "{\"level\":\"debug\",\"message\":\"a\\u001b[2Jb\"}\n"),
        );
        log.push(JobId(1), &part(Stream::Log, "{\"level\":\"warn\",\"message\":\"c\"}\n"));
        assert_eq!(texts(&log), ["a␛b", "c"]);
        log.level = Level::Info;
        assert_eq!(texts(&log), ["c"]);
    }

    #[test]
    fn old_lines_go_and_the_place_stays() {
        let mut log = Log::new(None);
        let many: String = (0..LINES).map(|n| format!("{n}\n")).collect();
        log.push(JobId(1), &part(Stream::Out, &many));
        (log.scroll.follow, log.scroll.top) = (false, 30_000);
        log.push(JobId(1), &part(Stream::Out, &many[..2_000]));
        assert_eq!(log.len(), LINES);
        assert_eq!(log.shown()[log.scroll.top].text, "30000");
        assert!(log.cut);
    }
}
