//! The input line: filter, search and palette.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::time::Duration;

use tui_input::{Input, InputRequest};

/// Lines that each history holds.
const HISTORY: usize = 50;
/// A pasted text is cut to this many characters.
const PASTE: usize = 2_000;

/// Edits a line. Returns whether its text changed.
pub(crate) fn edit(input: &mut Input, key: &KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    let request = match key.code {
        KeyCode::Char('w') if control => InputRequest::DeletePrevWord,
        KeyCode::Char('u') if control => InputRequest::DeleteFromStart,
        KeyCode::Char('k') if control => InputRequest::DeleteTillEnd,
        KeyCode::Char('e') if control => InputRequest::GoToEnd,
        KeyCode::Char('y') if control => InputRequest::Yank,
        KeyCode::Char('b') if alt => InputRequest::GoToPrevWord,
        KeyCode::Char('f') if alt => InputRequest::GoToNextWord,
        KeyCode::Char(_) if control || alt => return false,
        KeyCode::Char(c) => InputRequest::InsertChar(c),
        KeyCode::Backspace => InputRequest::DeletePrevChar,
        KeyCode::Delete => InputRequest::DeleteNextChar,
        KeyCode::Left if control => InputRequest::GoToPrevWord,
        KeyCode::Right if control => InputRequest::GoToNextWord,
        KeyCode::Left => InputRequest::GoToPrevChar,
        KeyCode::Right => InputRequest::GoToNextChar,
        KeyCode::Home => InputRequest::GoToStart,
        KeyCode::End => InputRequest::GoToEnd,
        _ => return false,
    };
    input.handle(request).is_some_and(|changed| changed.value)
}

/// Inserts a pasted text as one line.
pub(crate) fn paste(input: &mut Input, text: &str) {
    for c in text.trim_end().chars().take(PASTE) {
        let c = if c.is_control() { ' ' } else { c };
        input.handle(InputRequest::InsertChar(c));
    }
}

/// What an input line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PromptKind {
    Filter,
    Search,
    Palette,
    /// The search in the help.
    Help,
    /// The name of the file to write.
    Export,
}

impl PromptKind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Filter, Self::Search, Self::Palette, Self::Help, Self::Export];

    /// The name under which its lines are saved.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Search => "search",
            Self::Palette => "palette",
            Self::Help => "help",
            Self::Export => "export",
        }
    }
}

/// An open input line.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) kind: PromptKind,
    pub(crate) input: Input,
    /// What was in force before, which Esc puts back.
    pub(crate) before: String,
    /// Where in the history the line is from.
    place: Option<usize>,
    pub(crate) error: Option<String>,
    /// When the text changed last, while that is not applied yet.
    pub(crate) changed_at: Option<Duration>,
}

impl Prompt {
    pub(crate) fn new(kind: PromptKind, text: &str) -> Self {
        Self {
            kind,
            input: Input::new(text.to_owned()),
            before: text.to_owned(),
            place: None,
            error: None,
            changed_at: None,
        }
    }

    /// Walks the history: back, or forth.
    pub(crate) fn walk(&mut self, history: &InputHistory, back: bool) {
        let lines = history.lines();
        let place = match (self.place, back) {
            (None, true) => lines.len().checked_sub(1),
            (Some(place), true) => Some(place.saturating_sub(1)),
            (Some(place), false) => Some(place + 1).filter(|place| *place < lines.len()),
            (None, false) => None,
        };
        if place != self.place || place.is_some() {
            self.place = place;
            let line = place.and_then(|place| lines.get(place)).map(String::as_str);
            self.input = Input::new(line.unwrap_or_default().to_owned());
        }
    }
}

/// The lines that were entered before, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct InputHistory(Vec<String>);

impl InputHistory {
    pub(crate) fn add(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        self.0.retain(|one| one != line);
        self.0.push(line.to_owned());
        if self.0.len() > HISTORY {
            self.0.remove(0);
        }
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.0
    }
}
