//! Newline-delimited JSON: a JSON text a line. Does no I/O.

use serde::Serialize;

/// Splits bytes that arrive in pieces into lines.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// Start of the first line that was not returned.
    start: usize,
    /// Where the search for the end of that line continues: a long line arrives in many pieces.
    searched: usize,
}

impl LineBuffer {
    /// Adds a piece.
    pub fn push(&mut self, piece: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.bytes.extend_from_slice(piece);
    }

    /// Returns the next whole line, without its newline.
    pub fn next_line(&mut self) -> Option<Vec<u8>> {
        let end = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| self.searched + end) else {
            self.searched = self.bytes.len();
            return None;
        };
        let line = self.bytes[self.start..end].to_vec();
        self.start = end + 1;
        self.searched = self.start;
        Some(line)
    }

    /// Returns the bytes after the last newline, if any: the last line of a text without a final newline.
    pub fn take_unfinished(&mut self) -> Option<Vec<u8>> {
        let rest = self.bytes.split_off(self.start);
        *self = Self::default();
        (!rest.is_empty()).then_some(rest)
    }

    /// How many bytes were not returned: after [`Self::next_line`] returned `None`, those of an unfinished
    /// line.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.bytes.len() - self.start
    }
}

/// One line for each value; skips values that are not JSON.
#[must_use]
pub fn to_lines<T: Serialize>(values: &[T]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in values.iter().filter_map(|value| serde_json::to_vec(value).ok()) {
        text.extend_from_slice(&line);
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_unfinished_line_waits_and_can_be_taken() {
        let mut lines = LineBuffer::default();
        lines.push(b"{}\n\n12");
        assert_eq!(lines.next_line().as_deref(), Some(&b"{}"[..]));
        assert_eq!(lines.next_line().as_deref(), Some(&b""[..]));
        assert_eq!((lines.next_line(), lines.waiting_bytes()), (None, 2));
        lines.push(b"3");
        assert_eq!(lines.take_unfinished().as_deref(), Some(&b"123"[..]));
        assert_eq!(
            (lines.take_unfinished(), lines.next_line(), lines.waiting_bytes()),
            (None, None, 0)
        );
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_text_is_cut(
            text in "[ab\n]{0,60}", cuts in prop::collection::vec(0_usize..60, 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let (mut lines, mut found, mut from) = (LineBuffer::default(), Vec::new(), 0);
            for cut in cuts.into_iter().chain([text.len()]) {
                lines.push(&text.as_bytes()[from..cut]);
                from = cut;
                found.extend(std::iter::from_fn(|| lines.next_line()));
            }
            found.extend(lines.take_unfinished());
            let expected: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
