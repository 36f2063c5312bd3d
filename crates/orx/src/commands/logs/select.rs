//! Which parts of a log are shown: since when, from which level on, which lines, how many of them.

use std::collections::{BTreeMap, VecDeque};

use orx_model::Timestamp;
use orx_model::log::{Level, LogLine, Stream};
use orx_model::wire::LogPart;
use regex::bytes::Regex;

/// A line without an end is shown in pieces of this.
const LINE_MOST: usize = 256 * 1024;

/// What was begun in one part of a stream and ends in the next: chunks are cut by size and time,
/// not where lines and characters end.
#[derive(Default)]
pub(super) struct Begun(BTreeMap<(u32, &'static str), LogPart>);

impl Begun {
    /// What was begun before, and this.
    fn with(&mut self, part: &LogPart) -> Vec<u8> {
        let begun = self.0.remove(&(part.attempt, part.stream.as_str()));
        let mut bytes = begun.map(|begun| begun.data).unwrap_or_default();
        bytes.extend_from_slice(&part.data);
        bytes
    }

    fn keep(&mut self, part: &LogPart, rest: Vec<u8>) {
        if !rest.is_empty() {
            let rest = LogPart { dropped_bytes: 0, ..with_data(part, rest) };
            self.0.insert((part.attempt, part.stream.as_str()), rest);
        }
    }

    /// The lines that are there whole, each with its end.
    pub(super) fn lines(&mut self, part: &LogPart) -> Vec<u8> {
        let mut bytes = self.with(part);
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if bytes.len() - end > LINE_MOST {
            bytes.push(b'\n');
            return bytes;
        }
        let rest = bytes.split_off(end);
        self.keep(part, rest);
        bytes
    }

    /// The text up to where a character is cut in two.
    pub(super) fn characters(&mut self, part: &LogPart) -> String {
        let mut bytes = self.with(part);
        let cut = bytes.utf8_chunks().last().map_or(0, |last| {
            let begun = std::str::from_utf8(last.invalid());
            let is_begun = begun.is_err_and(|error| error.error_len().is_none());
            if is_begun { last.invalid().len() } else { 0 }
        });
        let rest = bytes.split_off(bytes.len() - cut);
        self.keep(part, rest);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What never ended.
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

/// A structured line as a person reads it, without its end. `None`: it is none.
pub(super) fn readable(line: &[u8]) -> Option<(LogLine, String)> {
    let line: LogLine = serde_json::from_slice(line).ok()?;
    let text = format!("{} {}", line.level.as_str().to_uppercase(), line.message);
    Some((line, text))
}

#[derive(Default)]
pub(super) struct Select {
    since: Option<Timestamp>,
    level: Option<Level>,
    grep: Option<Regex>,
    begun: Begun,
    tail: Option<Tail>,
}

impl Select {
    /// `tail`: only so many lines of what was printed before.
    pub(super) fn new(
        since: Option<Timestamp>,
        level: Option<Level>,
        grep: Option<Regex>,
        tail: Option<u32>,
    ) -> Self {
        let tail = tail.map(|lines| Tail { lines: lines as usize, held: VecDeque::new() });
        Self { since, level, grep, begun: Begun::default(), tail }
    }

    /// All parts count: so the server may leave out what comes before the tail.
    pub(super) fn takes_all(&self) -> bool {
        self.since.is_none() && self.level.is_none() && self.grep.is_none()
    }

    /// What is to be shown now of what came.
    pub(super) fn part(&mut self, part: LogPart) -> Option<LogPart> {
        let part = self.sift(part)?;
        match &mut self.tail {
            Some(tail) => {
                tail.push(part);
                None
            }
            None => Some(part),
        }
    }

    /// Everything that was printed until now has come: what follows is shown as it comes.
    pub(super) fn live(&mut self) -> Vec<LogPart> {
        self.tail.take().map(Tail::cut).unwrap_or_default()
    }

    /// Nothing comes any more.
    pub(super) fn end(&mut self) -> Vec<LogPart> {
        let begun: Vec<LogPart> = self.begun.take().collect();
        let mut rest = Vec::new();
        for mut part in begun {
            if self.wants(part.stream, &part.data) {
                part.data.push(b'\n');
                rest.push(part);
            }
        }
        let Some(tail) = &mut self.tail else { return rest };
        rest.into_iter().for_each(|part| tail.push(part));
        self.live()
    }

    fn sift(&mut self, part: LogPart) -> Option<LogPart> {
        if self.since.is_some_and(|since| part.at < since) {
            return None;
        }
        if self.grep.is_none() && self.level.is_none() {
            return Some(part);
        }
        let lines = self.begun.lines(&part);
        let wanted = lines.split_inclusive(|byte| *byte == b'\n');
        let wanted = wanted.filter(|line| self.wants(part.stream, line.trim_ascii_end()));
        let data: Vec<u8> = wanted.flatten().copied().collect();
        (!data.is_empty() || part.dropped_bytes > 0).then(|| with_data(&part, data))
    }

    fn wants(&self, stream: Stream, line: &[u8]) -> bool {
        let matches = |text: &[u8]| self.grep.as_ref().is_none_or(|grep| grep.is_match(text));
        match (stream, readable(line)) {
            (Stream::Log, Some((line, text))) => {
                self.level.is_none_or(|least| line.level >= least) && matches(text.as_bytes())
            }
            _ => matches(line),
        }
    }
}

/// Parts held back until it is known which lines are the last.
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

    /// Whole chunks came: the tail is cut to lines here.
    fn cut(self) -> Vec<LogPart> {
        let total: usize = self.held.iter().map(|part| count_lines(&part.data)).sum();
        let last = self.held.iter().rev().find(|part| !part.data.is_empty());
        let open = last.is_some_and(|part| !part.data.ends_with(b"\n"));
        let mut skip = (total + usize::from(open)).saturating_sub(self.lines);
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

    fn grep(pattern: &str, tail: Option<u32>) -> Select {
        Select::new(None, None, Some(Regex::new(pattern).expect("a pattern")), tail)
    }

    fn tail(lines: u32) -> Select {
        Select::new(None, None, None, Some(lines))
    }

    #[test]
    fn a_tail_is_of_what_was_printed_before_it_is_followed() {
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
    fn a_tail_holds_no_more_than_it_may_show() {
        let mut held = Tail { lines: 3, held: VecDeque::new() };
        for at in 0..1_000 {
            held.push(out(at, "line\n"));
        }
        assert!(held.held.len() <= 4, "{}", held.held.len());
    }

    #[test]
    fn a_line_matches_whole_though_it_comes_in_pieces() {
        let mut select = grep("^good$", None);
        assert_eq!(select.part(out(1, "bad\ngo")), None);
        assert_eq!(shown(select.part(out(2, "od\nno good\ngoo"))), "good\n");
        assert_eq!(select.part(out(3, "d")), None);
        assert_eq!(shown(select.end()), "good\n");
    }

    #[test]
    fn the_last_lines_that_match_are_the_tail() {
        let mut select = grep("o", Some(2));
        for text in ["one\ntwo\n", "three\nfour\nfive\n", "no"] {
            assert_eq!(select.part(out(1, text)), None);
        }
        assert_eq!(shown(select.end()), "four\nno\n");
    }

    #[test]
    fn levels_are_of_log_lines_which_match_as_they_are_read() {
        let lines =
            "{\"level\":\"info\",\"message\":\"a\"}\n{\"level\":\"error\",\"message\":\"b\"}\n";
        let mut select = Select::new(None, Some(Level::Warn), None, None);
        let kept = shown(select.part(part(Stream::Log, 1, lines)));
        assert!(kept.contains("\"b\"") && !kept.contains("\"a\""), "{kept}");
        let kept = shown(grep("^INFO a$", None).part(part(Stream::Log, 1, lines)));
        assert!(kept.contains("\"a\"") && !kept.contains("\"b\""), "{kept}");
    }

    #[test]
    fn since_leaves_out_what_came_before() {
        let since = Some(Timestamp::from_millis(2_000));
        let mut select = Select::new(since, None, None, None);
        assert_eq!(select.part(out(1, "a\n")), None);
        assert_eq!(shown(select.part(out(2, "b\n"))), "b\n");
    }
}
