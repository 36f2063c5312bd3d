//! Selects the parts of a log to print: by time, level, pattern, and number of lines.

use std::collections::{BTreeMap, VecDeque};

use orx_model::Timestamp;
use orx_model::log::{Level, LogLine, Stream};
use orx_model::wire::LogPart;
use regex::bytes::Regex;

/// A longer line is split here.
const LINE_BYTES: usize = 256 * 1024;

/// Per attempt and stream, the bytes of a line or character that ends in a later part: workers cut
/// chunks by size and time, not at the ends of lines and characters.
#[derive(Default)]
pub(super) struct Unfinished(BTreeMap<(u32, &'static str), LogPart>);

impl Unfinished {
    /// The unfinished bytes, followed by those of `part`.
    fn with(&mut self, part: &LogPart) -> Vec<u8> {
        let start = self.0.remove(&(part.attempt, part.stream.as_str()));
        let mut bytes = start.map(|start| start.data).unwrap_or_default();
        bytes.extend_from_slice(&part.data);
        bytes
    }

    fn keep(&mut self, part: &LogPart, rest: Vec<u8>) {
        if !rest.is_empty() {
            let rest = LogPart { dropped_bytes: 0, ..with_data(part, rest) };
            self.0.insert((part.attempt, part.stream.as_str()), rest);
        }
    }

    /// The complete lines, with their ends. The rest waits for the next part.
    pub(super) fn lines(&mut self, part: &LogPart) -> Vec<u8> {
        let mut bytes = self.with(part);
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if bytes.len() - end > LINE_BYTES {
            bytes.push(b'\n');
            return bytes;
        }
        let rest = bytes.split_off(end);
        self.keep(part, rest);
        bytes
    }

    /// The complete characters. The bytes of an incomplete one wait for the next part.
    pub(super) fn characters(&mut self, part: &LogPart) -> String {
        let mut bytes = self.with(part);
        let cut = bytes.utf8_chunks().last().map_or(0, |last| {
            let end = std::str::from_utf8(last.invalid());
            let is_incomplete = end.is_err_and(|error| error.error_len().is_none());
            if is_incomplete { last.invalid().len() } else { 0 }
        });
        let rest = bytes.split_off(bytes.len() - cut);
        self.keep(part, rest);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Takes all unfinished bytes, once the log has ended.
    pub(super) fn take(&mut self) -> impl Iterator<Item = LogPart> + use<> {
        std::mem::take(&mut self.0).into_values()
    }
}

fn with_data(part: &LogPart, data: Vec<u8>) -> LogPart {
    LogPart {
        cursor: part.cursor.clone(),
        attempt: part.attempt,
        stream: part.stream,
        at: part.at,
        dropped_bytes: part.dropped_bytes,
        data,
    }
}

/// A structured log line, and its text for people without a line end. `None` if the line is not
/// structured.
pub(super) fn readable(line: &[u8]) -> Option<(LogLine, String)> {
    let line: LogLine = serde_json::from_slice(line).ok()?;
    let text = format!("{} {}", line.level.as_str().to_uppercase(), line.message);
    Some((line, text))
}

#[derive(Default)]
pub(super) struct LogSelection {
    since: Option<Timestamp>,
    level: Option<Level>,
    grep: Option<Regex>,
    unfinished: Unfinished,
    tail: Option<Tail>,
}

impl LogSelection {
    /// `tail` limits the number of lines of the output so far; later output is not limited.
    pub(super) fn new(
        since: Option<Timestamp>,
        level: Option<Level>,
        grep: Option<Regex>,
        tail: Option<u32>,
    ) -> Self {
        let tail = tail.map(|lines| Tail { lines: lines as usize, held: VecDeque::new() });
        Self { since, level, grep, unfinished: Unfinished::default(), tail }
    }

    /// No part is filtered out, so the server can apply the tail.
    pub(super) fn accepts_all(&self) -> bool {
        self.since.is_none() && self.level.is_none() && self.grep.is_none()
    }

    /// Takes the next part of the log. Returns what to print of it now.
    pub(super) fn part(&mut self, part: LogPart) -> Option<LogPart> {
        let part = self.filter(part)?;
        match &mut self.tail {
            Some(tail) => {
                tail.push(part);
                None
            }
            None => Some(part),
        }
    }

    /// All output so far has arrived: returns the tail. Later parts are printed as they arrive.
    pub(super) fn live(&mut self) -> Vec<LogPart> {
        self.tail.take().map(Tail::cut).unwrap_or_default()
    }

    /// The log has ended: returns what is left to print.
    pub(super) fn end(&mut self) -> Vec<LogPart> {
        let unfinished: Vec<LogPart> = self.unfinished.take().collect();
        let mut rest = Vec::new();
        for mut part in unfinished {
            if self.matches(part.stream, &part.data) {
                part.data.push(b'\n');
                rest.push(part);
            }
        }
        let Some(tail) = &mut self.tail else { return rest };
        rest.into_iter().for_each(|part| tail.push(part));
        self.live()
    }

    fn filter(&mut self, part: LogPart) -> Option<LogPart> {
        if self.since.is_some_and(|since| part.at < since) {
            return None;
        }
        if self.grep.is_none() && self.level.is_none() {
            return Some(part);
        }
        let lines = self.unfinished.lines(&part);
        let lines = lines.split_inclusive(|byte| *byte == b'\n');
        let lines = lines.filter(|line| self.matches(part.stream, line.trim_ascii_end()));
        let data: Vec<u8> = lines.flatten().copied().collect();
        (!data.is_empty() || part.dropped_bytes > 0).then(|| with_data(&part, data))
    }

    fn matches(&self, stream: Stream, line: &[u8]) -> bool {
        let matches = |text: &[u8]| self.grep.as_ref().is_none_or(|grep| grep.is_match(text));
        match (stream, readable(line)) {
            (Stream::Log, Some((line, text))) => {
                self.level.is_none_or(|least| line.level >= least) && matches(text.as_bytes())
            }
            _ => matches(line),
        }
    }
}

/// Parts that are held back until the last lines of the output so far are known.
struct Tail {
    lines: usize,
    held: VecDeque<LogPart>,
}

impl Tail {
    fn push(&mut self, part: LogPart) {
        self.held.push_back(part);
        let mut lines = self.held.iter().map(|part| count_lines(&part.data)).sum::<usize>();
        while let Some(first) = self.held.front().map(|part| count_lines(&part.data))
            && lines - first > self.lines
        {
            self.held.pop_front();
            lines -= first;
        }
    }

    /// Cuts the parts, which are whole chunks, to the last lines.
    fn cut(self) -> Vec<LogPart> {
        let total: usize = self.held.iter().map(|part| count_lines(&part.data)).sum();
        let last = self.held.iter().rev().find(|part| !part.data.is_empty());
        let mid_line = last.is_some_and(|part| !part.data.ends_with(b"\n"));
        let mut skip = (total + usize::from(mid_line)).saturating_sub(self.lines);
        let mut shown = Vec::new();
        for mut part in self.held {
            while skip > 0 && !part.data.is_empty() {
                let end = part.data.iter().position(|byte| *byte == b'\n');
                skip -= usize::from(end.is_some());
                part.data.drain(..end.map_or(part.data.len(), |end| end + 1));
                part.dropped_bytes = 0;
            }
            if !part.data.is_empty() || part.dropped_bytes > 0 {
                shown.push(part);
            }
        }
        shown
    }
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(stream: Stream, seconds: i64, text: &str) -> LogPart {
        LogPart {
            cursor: format!("1:{seconds}"),
            attempt: 1,
            stream,
            at: Timestamp::from_millis(seconds * 1_000),
            dropped_bytes: 0,
            data: text.into(),
        }
    }

    fn out(seconds: i64, text: &str) -> LogPart {
        part(Stream::Out, seconds, text)
    }

    fn shown(parts: impl IntoIterator<Item = LogPart>) -> String {
        let bytes: Vec<u8> = parts.into_iter().flat_map(|part| part.data).collect();
        String::from_utf8(bytes).expect("text")
    }

    fn grep(pattern: &str, tail: Option<u32>) -> LogSelection {
        LogSelection::new(None, None, Some(Regex::new(pattern).expect("a pattern")), tail)
    }

    fn tail(lines: u32) -> LogSelection {
        LogSelection::new(None, None, None, Some(lines))
    }

    #[test]
    fn a_tail_limits_what_was_printed_before_following() {
        let mut select = tail(2);
        for (at, text) in ["1\n2\n", "3\n", "4\n5\n"].into_iter().enumerate() {
            assert_eq!(select.part(out(at as i64, text)), None);
        }
        assert_eq!(shown(select.live()), "4\n5\n");
        assert_eq!(shown(select.part(out(9, "6\n"))), "6\n");
        assert_eq!(shown(select.end()), "");
    }

    #[test]
    fn a_tail_counts_a_line_that_has_not_ended_and_cuts_within_a_part() {
        for (lines, expected) in [(0, ""), (1, "d"), (2, "c\nd"), (3, "b\nc\nd"), (9, "a\nb\nc\nd")]
        {
            let mut select = tail(lines);
            assert_eq!(select.part(out(1, "a\nb\nc\n")), None);
            assert_eq!(select.part(out(2, "d")), None);
            assert_eq!(shown(select.end()), expected, "{lines}");
        }
    }

    #[test]
    fn a_tail_holds_only_what_it_may_print() {
        let mut held = Tail { lines: 3, held: VecDeque::new() };
        for at in 0..1_000 {
            held.push(out(at, "line\n"));
        }
        assert!(held.held.len() <= 4, "{}", held.held.len());
    }

    #[test]
    fn a_line_that_arrives_in_parts_is_matched_as_a_whole() {
        let mut select = grep("^good$", None);
        assert_eq!(select.part(out(1, "bad\ngo")), None);
        assert_eq!(shown(select.part(out(2, "od\nno good\ngoo"))), "good\n");
        assert_eq!(select.part(out(3, "d")), None);
        assert_eq!(shown(select.end()), "good\n");
    }

    #[test]
    fn a_tail_counts_only_lines_that_match() {
        let mut select = grep("o", Some(2));
        for text in ["one\ntwo\n", "three\nfour\nfive\n", "no"] {
            assert_eq!(select.part(out(1, text)), None);
        }
        assert_eq!(shown(select.end()), "four\nno\n");
    }

    #[test]
    fn a_level_filters_log_lines_and_a_pattern_matches_their_text() {
        let lines =
            "{\"level\":\"info\",\"message\":\"a\"}\n{\"level\":\"error\",\"message\":\"b\"}\n";
        let mut select = LogSelection::new(None, Some(Level::Warn), None, None);
        let found = shown(select.part(part(Stream::Log, 1, lines)));
        assert!(found.contains("\"b\"") && !found.contains("\"a\""), "{found}");
        let found = shown(grep("^INFO a$", None).part(part(Stream::Log, 1, lines)));
        assert!(found.contains("\"a\"") && !found.contains("\"b\""), "{found}");
    }

    #[test]
    fn since_leaves_out_earlier_parts() {
        let since = Some(Timestamp::from_millis(2_000));
        let mut select = LogSelection::new(since, None, None, None);
        assert_eq!(select.part(out(1, "a\n")), None);
        assert_eq!(shown(select.part(out(2, "b\n"))), "b\n");
    }
}
