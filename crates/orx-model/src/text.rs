//! Makes text from jobs, users and servers safe for a terminal: no control code gets through. All output
//! to a terminal passes one cleaner.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Longest line shown, in bytes; the bytes beyond are counted.
pub const LINE_BYTES: usize = 16 * 1024;
/// A longer sequence, in bytes, is not an escape sequence.
const ESCAPE_BYTES: usize = 4 * 1024;
const TAB: usize = 8;

/// The treatment of colours in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Styles {
    /// Removed.
    Drop,
    /// Rewritten, as weight, underline and colours only.
    Keep,
}

/// Turns any bytes into text that is safe to show. State carries over between chunks, so that a sequence
/// split over two chunks is recognised.
#[derive(Debug)]
pub struct Cleaner {
    styles: Styles,
    escape: Escape,
    /// First bytes of a character that is not complete yet.
    partial: Vec<u8>,
    line: String,
    /// [`Self::flush`] has written a part of the line.
    flushed: bool,
    cells: usize,
    cut_bytes: usize,
    /// After `\r`: the next character other than `\n` starts the line anew.
    returned: bool,
    styled: bool,
}

/// Clears the part of a line that was written before, to show its last part.
const START_LINE_ANEW: &str = "\r\u{1b}[K";

#[derive(Debug)]
enum Escape {
    None,
    /// After ESC.
    Start,
    /// After `ESC [`, with the bytes since.
    Csi(Vec<u8>),
    /// A string (OSC, DCS, APC, PM, SOS): bytes so far, and whether the last was ESC.
    Text(usize, bool),
    /// `ESC (` and the like take one more.
    One,
}

impl Cleaner {
    /// A cleaner at the start of a text.
    #[must_use]
    pub fn new(styles: Styles) -> Self {
        Self {
            styles,
            escape: Escape::None,
            partial: Vec::new(),
            line: String::new(),
            flushed: false,
            cells: 0,
            cut_bytes: 0,
            returned: false,
            styled: false,
        }
    }

    /// Appends whole lines to `out`; an unfinished line stays until its end or [`Self::flush`].
    pub fn push(&mut self, bytes: &[u8], out: &mut String) {
        let mut joined;
        let mut rest = bytes;
        if !self.partial.is_empty() {
            joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(bytes);
            self.decode(&joined, out);
            return;
        }
        self.decode(std::mem::take(&mut rest), out);
    }

    fn decode(&mut self, mut bytes: &[u8], out: &mut String) {
        loop {
            match std::str::from_utf8(bytes) {
                Ok(text) => {
                    text.chars().for_each(|c| self.char(c, out));
                    return;
                }
                Err(error) => {
                    let (good, bad) = bytes.split_at(error.valid_up_to());
                    if let Ok(text) = std::str::from_utf8(good) {
                        text.chars().for_each(|c| self.char(c, out));
                    }
                    let Some(bad_len) = error.error_len() else {
                        // The rest may be in the next chunk.
                        self.partial = bad.to_vec();
                        return;
                    };
                    bad[..bad_len].iter().for_each(|byte| self.invalid(*byte));
                    bytes = &bad[bad_len..];
                }
            }
        }
    }

    /// Appends the line so far to `out`, for a prompt without a newline. Where the line is overwritten
    /// later, as by a progress bar, the terminal clears the earlier part.
    pub fn flush(&mut self, out: &mut String) {
        out.push_str(&self.line);
        self.flushed |= !self.line.is_empty();
        self.line.clear();
    }

    /// The line so far, without its end: what a program shows that writes a prompt or a progress bar.
    #[must_use]
    pub fn unfinished(&self) -> &str {
        &self.line
    }

    /// Appends the rest of the text, with a note where bytes were cut.
    pub fn finish(&mut self, out: &mut String) {
        for byte in std::mem::take(&mut self.partial) {
            self.invalid(byte);
        }
        if !matches!(self.escape, Escape::None) {
            self.escape = Escape::None;
            self.put('␛');
        }
        self.end_line();
        out.push_str(&self.line);
        self.line.clear();
    }

    fn invalid(&mut self, byte: u8) {
        self.write_over();
        for c in format!("\\x{byte:02X}").chars() {
            self.put(c);
        }
    }

    fn char(&mut self, c: char, out: &mut String) {
        match &mut self.escape {
            Escape::None => self.plain(c, out),
            _ if c == '\n' => {
                // A newline ends any sequence.
                self.escape = Escape::None;
                self.put('␛');
                self.plain(c, out);
            }
            Escape::Start => {
                self.escape = match c {
                    '[' => Escape::Csi(Vec::new()),
                    ']' | 'P' | '_' | '^' | 'X' => Escape::Text(0, false),
                    '(' | ')' | '*' | '+' | '-' | '.' | '/' | '#' | '%' | ' ' => Escape::One,
                    '\u{1b}' => {
                        self.put('␛');
                        Escape::Start
                    }
                    _ => {
                        self.put('␛');
                        Escape::None
                    }
                };
            }
            Escape::One => {
                self.escape = Escape::None;
                self.put('␛');
            }
            Escape::Csi(bytes) => match c {
                '\u{40}'..='\u{7e}' => {
                    let bytes = std::mem::take(bytes);
                    self.escape = Escape::None;
                    if c == 'm' { self.sgr(&bytes) } else { self.put('␛') }
                }
                '\u{20}'..='\u{3f}' if bytes.len() < ESCAPE_BYTES => bytes.push(c as u8),
                _ => {
                    self.escape = Escape::None;
                    self.put('␛');
                    self.plain(c, out);
                }
            },
            Escape::Text(length, escaped) => {
                let ended = c == '\u{7}' || c == '\u{9c}' || (*escaped && c == '\\');
                *escaped = c == '\u{1b}';
                *length += c.len_utf8();
                if ended || *length > ESCAPE_BYTES {
                    self.escape = Escape::None;
                    self.put('␛');
                }
            }
        }
    }

    fn plain(&mut self, c: char, out: &mut String) {
        match c {
            '\n' => {
                self.end_line();
                self.line.push('\n');
                out.push_str(&self.line);
                self.line.clear();
                self.flushed = false;
                self.cells = 0;
                return;
            }
            '\r' => {
                self.returned = true;
                return;
            }
            _ => {}
        }
        self.write_over();
        match c {
            '\u{1b}' => self.escape = Escape::Start,
            '\u{9b}' => self.escape = Escape::Csi(Vec::new()),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => {
                self.escape = Escape::Text(0, false);
            }
            '\t' => {
                for _ in 0..TAB - self.cells % TAB {
                    self.put(' ');
                }
            }
            c if is_unsafe(c) => self.put('\u{fffd}'),
            c => self.put(c),
        }
    }

    /// After a `\r`: discards the line so far, so that only its last part is shown.
    fn write_over(&mut self) {
        if !std::mem::take(&mut self.returned) {
            return;
        }
        self.line.clear();
        (self.cells, self.cut_bytes) = (0, 0);
        if self.flushed {
            self.line.push_str(START_LINE_ANEW);
        }
        if std::mem::take(&mut self.styled) {
            self.line.push_str("\u{1b}[0m");
        }
    }

    fn put(&mut self, c: char) {
        if self.line.len() + c.len_utf8() > LINE_BYTES {
            self.cut_bytes += c.len_utf8();
            return;
        }
        self.line.push(c);
        self.cells += c.width().unwrap_or(0);
    }

    fn sgr(&mut self, parameters: &[u8]) {
        if self.styles == Styles::Drop || self.cut_bytes > 0 {
            return;
        }
        let known = parameters.iter().all(|b| b.is_ascii_digit() || matches!(b, b';' | b':'));
        if let (true, Ok(text)) = (known && parameters.len() <= 64, std::str::from_utf8(parameters))
        {
            let hidden = text.split([';', ':']).any(|number| matches!(number, "8" | "5" | "6"))
                && !text.contains("38")
                && !text.contains("48");
            if !hidden {
                self.line.push_str("\u{1b}[");
                self.line.push_str(text);
                self.line.push('m');
                self.styled = !matches!(text, "" | "0");
            }
        }
    }

    fn end_line(&mut self) {
        if self.cut_bytes > 0 {
            let kib = self.cut_bytes.div_ceil(1024);
            self.line.push_str(&format!("… +{kib} KiB"));
            self.cut_bytes = 0;
        }
        if std::mem::take(&mut self.styled) {
            self.line.push_str("\u{1b}[0m");
        }
        self.returned = false;
    }
}

/// Whether a character could act on a terminal or hide text: controls, direction marks, characters without
/// width or ink (soft hyphen, fillers, tags), and unusual line breaks. Joiners and variation selectors stay,
/// because scripts and emoji need them.
fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}'
        | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
        | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e00ff}')
}

/// Any bytes as safe text without colours.
#[must_use]
pub fn clean_text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut cleaner = Cleaner::new(Styles::Drop);
    cleaner.push(bytes, &mut out);
    cleaner.finish(&mut out);
    out
}

/// Any text as one safe line, for a field of a table or an error.
#[must_use]
pub fn clean_line(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| !is_unsafe(c)) {
        return Cow::Borrowed(text);
    }
    let joined: String =
        text.trim_end().chars().map(|c| if "\n\t\r".contains(c) { ' ' } else { c }).collect();
    Cow::Owned(clean_text(joined.as_bytes()))
}

/// A size for people: `83.7 MiB`.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut shown = bytes as f64 / 1024.0;
    let mut unit = 0;
    // It would round to 1024.
    while shown >= 1023.95 && unit + 1 < UNITS.len() {
        shown /= 1024.0;
        unit += 1;
    }
    format!("{shown:.1} {}", UNITS[unit])
}

/// Width in a terminal, in cells.
#[must_use]
pub fn cells(text: &str) -> usize {
    text.width()
}

/// The longest start of the text that ends at a character and has at most `most` bytes.
#[must_use]
pub fn truncate_bytes(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Cuts a text to at most `most` cells, at a character, with `…`, or `~` in ASCII.
#[must_use]
pub fn truncate_cells(text: &str, most: usize, ascii: bool) -> Cow<'_, str> {
    if text.width() <= most {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::new();
    let mut used = 0;
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if used + width + 1 > most {
            break;
        }
        used += width;
        cleaned.push(c);
    }
    if most > 0 {
        cleaned.push(if ascii { '~' } else { '…' });
    }
    Cow::Owned(cleaned)
}

/// Equal JSON text that is safe to show: unsafe characters that JSON allows are escaped.
#[must_use]
pub fn escape_json(json: &str) -> Cow<'_, str> {
    // Newlines of pretty JSON are between tokens; inside strings JSON escapes them itself.
    if !json.chars().any(|c| c != '\n' && is_unsafe(c)) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if c != '\n' && is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The most similar candidate, if one is similar enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let most = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clean(bytes: &[u8]) -> String {
        clean_text(bytes)
    }

    #[test]
    fn nothing_that_acts_on_a_terminal_gets_through() {
        assert_eq!(clean(b"a\x1b[2Jb"), "a␛b");
        assert_eq!(clean(b"a\x1b]0;title\x07b"), "a␛b");
        assert_eq!(clean(b"a\x1b]8;;http://x\x1b\\b"), "a␛b");
        assert_eq!(clean(b"a\x1bPq#0\x1b\\b"), "a␛b");
        assert_eq!(clean(b"a\x1bcb"), "a␛b");
        assert_eq!(clean(b"a\x00\x07b"), "a\u{fffd}\u{fffd}b");
        assert_eq!(clean("a\u{9b}2Jb\u{202e}c".as_bytes()), "a␛b\u{fffd}c");
        assert_eq!(clean(b"a\xffb"), "a\\xFFb");
        assert_eq!(clean(b"\x1b]never ended\nnext"), "␛\nnext");
    }

    #[test]
    fn the_last_part_of_a_progress_bar_is_shown() {
        assert_eq!(clean(b"10%\r50%\r100%\r\nok\n"), "100%\nok\n");
    }

    /// The lines of a terminal after this output.
    fn on_a_terminal(written: &str) -> String {
        let mut lines = String::new();
        for line in written.split_inclusive('\n') {
            lines.push_str(line.rsplit(START_LINE_ANEW).next().unwrap_or_default());
        }
        lines
    }

    #[test]
    fn a_flushed_progress_bar_is_overwritten_by_its_last_part() {
        let mut cleaner = Cleaner::new(Styles::Drop);
        let mut shown = String::new();
        for (part, on_screen) in [
            ("start\n10%", "start\n10%"),
            ("\r50%", "start\n50%"),
            ("\r", "start\n50%"),
            ("1", "start\n1"),
            ("00%\rdone", "start\ndone"),
            ("\r\n", "start\ndone\n"),
            ("ne", "start\ndone\nne"),
            ("xt\r1%\r2%\rlast\n", "start\ndone\nlast\n"),
        ] {
            cleaner.push(part.as_bytes(), &mut shown);
            cleaner.flush(&mut shown);
            assert_eq!(on_a_terminal(&shown), on_screen, "after {part:?}");
        }
        assert!(!clean(b"10%\r50%").contains('\r'), "text without a flush has no part to clear");
    }

    #[test]
    fn characters_without_ink_are_replaced() {
        for hidden in "\u{ad}\u{34f}\u{180e}\u{2062}\u{3164}\u{e0000}\u{e0041}\u{e007f}".chars() {
            assert_eq!(clean(format!("a{hidden}b").as_bytes()), "a\u{fffd}b", "{hidden:?}");
            assert_eq!(clean_line(&format!("a{hidden}b")), "a\u{fffd}b", "{hidden:?}");
            let json = serde_json::to_string(&hidden).expect("json");
            let shown = escape_json(&json);
            assert!(shown.is_ascii(), "{shown}");
            assert_eq!(serde_json::from_str::<char>(&shown).expect("json"), hidden);
        }
        for needed in ["नि\u{200d}", "می\u{200c}خواهم", "👩\u{200d}🔬", "❤\u{fe0f}"]
        {
            assert_eq!(clean(needed.as_bytes()), needed);
        }
    }

    #[test]
    fn colours_stay_only_on_request_and_end_with_the_line() {
        assert_eq!(clean(b"\x1b[31mred\x1b[0m"), "red");
        let mut out = String::new();
        let mut cleaner = Cleaner::new(Styles::Keep);
        cleaner.push(b"\x1b[31mred\nplain", &mut out);
        cleaner.finish(&mut out);
        assert_eq!(out, "\u{1b}[31mred\u{1b}[0m\nplain");
    }

    #[test]
    fn a_sequence_or_character_cut_in_two_is_recognised() {
        let whole = "ä\u{1b}[2Jö\u{1b}]0;x\u{7}end\n".as_bytes();
        for cut in 0..whole.len() {
            let mut out = String::new();
            let mut cleaner = Cleaner::new(Styles::Drop);
            cleaner.push(&whole[..cut], &mut out);
            cleaner.push(&whole[cut..], &mut out);
            cleaner.finish(&mut out);
            assert_eq!(out, "ä␛ö␛end\n", "cut at {cut}");
        }
    }

    #[test]
    fn a_long_line_is_cut_and_shows_by_how_much() {
        let shown = clean(&[b'x'; LINE_BYTES + 5_000]);
        assert!(shown.ends_with("… +5 KiB"), "{}", &shown[shown.len() - 20..]);
    }

    #[test]
    fn a_field_is_one_line_and_is_cut_at_a_character() {
        assert_eq!(clean_line("a\nb\tc\u{1b}[1m"), "a b c");
        assert_eq!(truncate_cells("日本語テキスト", 7, false), "日本語…");
        assert_eq!(truncate_cells("abc", 3, true), "abc");
        assert_eq!(truncate_cells("abcd", 3, true), "ab~");
    }

    #[test]
    fn sizes_are_printed_in_a_short_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (87_765_811, "83.7 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(format_bytes(bytes), text);
        }
    }

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(nearest("cancle", ["cancel", "enqueue"]), Some("cancel"));
        assert_eq!(nearest("zzz", ["cancel", "enqueue"]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_safe_text(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0_usize..200,
        ) {
            let whole = clean(&bytes);
            prop_assert!(whole.chars().all(|c| c == '\n' || !is_unsafe(c)));
            let cut = cut.min(bytes.len());
            let mut out = String::new();
            let mut cleaner = Cleaner::new(Styles::Drop);
            cleaner.push(&bytes[..cut], &mut out);
            cleaner.push(&bytes[cut..], &mut out);
            cleaner.finish(&mut out);
            prop_assert_eq!(&out, &whole);

            let mut out = String::new();
            let mut cleaner = Cleaner::new(Styles::Drop);
            cleaner.push(&bytes[..cut], &mut out);
            cleaner.flush(&mut out);
            cleaner.push(&bytes[cut..], &mut out);
            cleaner.finish(&mut out);
            prop_assert_eq!(on_a_terminal(&out), whole);
        }

        #[test]
        fn escaped_json_is_equal_json(text in any::<String>()) {
            let json = serde_json::to_string(&text).expect("json");
            let shown = escape_json(&json);
            prop_assert!(shown.chars().all(|c| !is_unsafe(c)));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).expect("json"), text);
        }
    }
}
