//! The one table of keys: it makes the keymap, the hint line, the help and the documentation.

use std::collections::BTreeMap;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use orx_model::text::nearest;

/// What a key does. The name in `[top.keys]` is that of the binding in `BINDINGS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The next row or line.
    Down,
    /// The row or line before.
    Up,
    /// The first row; loads what is new.
    First,
    /// The last row.
    Last,
    /// Half a page on.
    HalfDown,
    /// Half a page back.
    HalfUp,
    /// A page on.
    PageDown,
    /// A page back.
    PageUp,
    /// Half a width to the left.
    Left,
    /// Half a width to the right.
    Right,
    /// The screen with this number.
    Screen(u8),
    /// The screen before the present one.
    LastScreen,
    /// The next box.
    NextBox,
    /// The box before.
    PreviousBox,
    /// The next tab of a detail.
    NextTab,
    /// The tab before.
    PreviousTab,
    /// Opens the thing under the cursor.
    Open,
    /// One step back.
    Back,
    /// Leaves the detail, or ends the program.
    Quit,
    /// Ends the program at once.
    QuitNow,
    /// Marks a row, or takes its mark off.
    Mark,
    /// Marks the rows from the last mark to the cursor.
    MarkRange,
    /// Marks everything that matches the filter.
    MarkAll,
    /// Takes all marks off.
    Unmark,
    /// Cancels jobs.
    Cancel,
    /// Retries jobs or dead letters.
    Retry,
    /// Pauses, or resumes what is paused.
    Pause,
    /// Runs a schedule's job now.
    Trigger,
    /// Drains, or takes the drain back.
    Drain,
    /// Deletes.
    Delete,
    /// Copies the id.
    Copy,
    /// Chooses what to copy.
    CopyMenu,
    /// Follows a log, or stops following.
    Follow,
    /// The least level of the lines that are shown.
    Level,
    /// The attempt before.
    OlderAttempt,
    /// The attempt after.
    NewerAttempt,
    /// Opens the text in the pager.
    Pager,
    /// Writes to a file.
    Export,
    /// The filter of a list, or the search in a text.
    Filter,
    /// The filter of the jobs whose logs are shown.
    FilterJobs,
    /// The next match of a search.
    NextMatch,
    /// The match before.
    PreviousMatch,
    /// Clears the filter.
    ClearFilter,
    /// The command palette.
    Palette,
    /// The keys.
    Help,
    /// The recent actions.
    History,
    /// Chooses the order of a list.
    Sort,
    /// Reverses the order.
    Reverse,
    /// Wide columns, or wrapped text.
    Wide,
    /// The style of times.
    Time,
    /// Freezes and thaws what is shown.
    Freeze,
    /// Asks the server anew now.
    Reload,
    /// Draws the whole screen again.
    Redraw,
    /// Suspends the program.
    Suspend,
}

/// Where a binding works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Everywhere.
    Any,
    /// On every list.
    List,
    /// On a list whose rows are marked: jobs and dead letters.
    Marks,
    /// Where rows can be opened.
    Opens,
    /// On lists that the program sorts itself.
    Sorts,
    /// On the list of jobs.
    Jobs,
    /// Where a job that can be cancelled is meant.
    Cancels,
    /// Where a job that can be retried is meant.
    Retries,
    /// On the list of schedules.
    Schedules,
    /// On the list of queues.
    Queues,
    /// On the list of workers.
    Workers,
    /// On the list of nodes.
    Nodes,
    /// On the dead letters.
    Dead,
    /// Where something can be deleted.
    Deletes,
    /// In a job.
    Job,
    /// In a text: a log, args, a result.
    Text,
    /// In the log of a job.
    Log,
    /// In the logs of all jobs.
    Logs,
    /// On the events.
    Events,
    /// On the overview.
    Overview,
    /// On a screen that opens something on `Esc`.
    Detail,
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) action: Action,
    /// Its name in `[top.keys]`.
    pub(crate) name: &'static str,
    /// Its keys; the first is the one in the hint line.
    pub(crate) keys: &'static [&'static str],
    pub(crate) scope: Scope,
    /// For the hint line; empty for keys that everybody tries unasked.
    pub(crate) hint: &'static str,
    pub(crate) description: &'static str,
    /// It asks for a change, which `--read-only` takes off the table.
    pub(crate) writes: bool,
}

const fn bind(
    action: Action,
    name: &'static str,
    keys: &'static [&'static str],
    scope: Scope,
    hint: &'static str,
    description: &'static str,
) -> Binding {
    Binding { action, name, keys, scope, hint, description, writes: false }
}

const fn write(
    action: Action,
    name: &'static str,
    keys: &'static [&'static str],
    scope: Scope,
    hint: &'static str,
    description: &'static str,
) -> Binding {
    Binding { writes: true, ..bind(action, name, keys, scope, hint, description) }
}

/// The keys, in the order of the hint line: most useful first.
#[rustfmt::skip]
pub(crate) static BINDINGS: &[Binding] = &[
    bind(Action::Open, "open", &["Enter"], Scope::Opens, "open", "open what is under the cursor"),
    bind(Action::Mark, "mark", &["Space"], Scope::Marks, "mark", "mark the row, or take its mark off"),
    bind(Action::Follow, "follow", &["f"], Scope::Logs, "follow", "follow the logs, or stop"),
    bind(Action::FilterJobs, "filter-jobs", &["F"], Scope::Logs, "filter jobs", "filter the jobs whose logs are shown"),
    bind(Action::Follow, "follow", &["f"], Scope::Log, "follow", "follow the log, or stop"),
    write(Action::Cancel, "cancel", &["c"], Scope::Cancels, "cancel", "cancel: the marked jobs, else the one under the cursor"),
    write(Action::Retry, "retry", &["r"], Scope::Retries, "retry", "retry: what is marked, else what is under the cursor"),
    write(Action::Pause, "pause", &["p"], Scope::Schedules, "pause/resume", "pause the schedule, or resume it"),
    write(Action::Pause, "pause", &["p"], Scope::Queues, "pause/resume", "pause the queue, or resume it"),
    write(Action::Trigger, "trigger", &["t"], Scope::Schedules, "trigger", "run the schedule's job now"),
    write(Action::Drain, "drain", &["d"], Scope::Workers, "drain", "drain the worker, or take the drain back"),
    write(Action::Drain, "drain", &["d"], Scope::Nodes, "drain", "drain the node, or take the drain back"),
    bind(Action::NextBox, "next-box", &["Tab"], Scope::Overview, "next box", "go to the next box"),
    bind(Action::PreviousBox, "previous-box", &["Shift-Tab"], Scope::Overview, "", "go to the box before"),
    bind(Action::NextTab, "next-tab", &["]", "Tab"], Scope::Detail, "tab", "next tab"),
    bind(Action::PreviousTab, "previous-tab", &["[", "Shift-Tab"], Scope::Detail, "", "tab before"),
    bind(Action::Filter, "filter", &["/"], Scope::Jobs, "filter", "filter the list"),
    bind(Action::Filter, "filter", &["/"], Scope::Dead, "filter", "filter the list"),
    bind(Action::Filter, "filter", &["/"], Scope::Text, "search", "search: text, or a regular expression between slashes"),
    write(Action::Delete, "delete", &["x"], Scope::Deletes, "delete", "delete: what is marked, else what is under the cursor"),
    bind(Action::NextMatch, "next-match", &["n"], Scope::Text, "", "next match"),
    bind(Action::PreviousMatch, "previous-match", &["N"], Scope::Text, "", "match before"),
    bind(Action::ClearFilter, "clear-filter", &["\\"], Scope::Jobs, "", "clear the filter"),
    bind(Action::ClearFilter, "clear-filter", &["\\"], Scope::Dead, "", "clear the filter"),
    bind(Action::ClearFilter, "clear-filter", &["\\"], Scope::Logs, "", "clear the filter of the jobs"),
    bind(Action::Wide, "wide", &["w"], Scope::Dead, "single", "single dead letters, or grouped by cause"),
    bind(Action::Wide, "wide", &["w"], Scope::Text, "wrap", "wrap long lines"),
    bind(Action::Level, "level", &["L"], Scope::Logs, "level", "least level of structured lines"),
    bind(Action::Level, "level", &["L"], Scope::Log, "level", "least level of structured lines"),
    bind(Action::OlderAttempt, "older-attempt", &["<"], Scope::Log, "", "log of the attempt before"),
    bind(Action::NewerAttempt, "newer-attempt", &[">"], Scope::Log, "", "log of the attempt after, then of all"),
    bind(Action::Sort, "sort", &["s"], Scope::Sorts, "sort", "choose the order of the list"),
    bind(Action::Sort, "sort", &["s"], Scope::Jobs, "sort", "choose the order of the list"),
    bind(Action::Reverse, "reverse", &["S"], Scope::Sorts, "", "reverse the order"),
    bind(Action::Reverse, "reverse", &["S"], Scope::Jobs, "", "oldest first, or newest first"),
    bind(Action::Palette, "palette", &[":"], Scope::Any, "command", "go to a screen, or run a command"),
    bind(Action::Copy, "copy", &["y"], Scope::Opens, "copy", "copy the id"),
    bind(Action::Copy, "copy", &["y"], Scope::Job, "copy", "copy the id"),
    bind(Action::CopyMenu, "copy-menu", &["Y"], Scope::Jobs, "", "copy the id, the error, the JSON or the command line"),
    bind(Action::CopyMenu, "copy-menu", &["Y"], Scope::Job, "", "copy the id, the error, the JSON or the command line"),
    bind(Action::Pager, "pager", &["o"], Scope::Text, "pager", "open the text in the pager"),
    bind(Action::Export, "export", &["e"], Scope::Jobs, "", "write the jobs that match to a file"),
    bind(Action::Export, "export", &["e"], Scope::Dead, "", "write the dead letters that match to a file"),
    bind(Action::Export, "export", &["e"], Scope::Sorts, "", "write the list to a file"),
    bind(Action::Export, "export", &["e"], Scope::Events, "", "write the events to a file"),
    bind(Action::Export, "export", &["e"], Scope::Text, "", "write the text to a file"),
    bind(Action::Freeze, "freeze", &["z"], Scope::Any, "freeze", "freeze what is shown, and thaw it"),
    bind(Action::Time, "time", &["T"], Scope::Any, "time", "times: relative, local, UTC"),
    bind(Action::History, "history", &["!"], Scope::Any, "", "recent actions, with the `orx` command for each"),
    bind(Action::Down, "down", &["j", "Down", "Ctrl-n"], Scope::Any, "", "next row"),
    bind(Action::Up, "up", &["k", "Up", "Ctrl-p"], Scope::Any, "", "row before"),
    bind(Action::First, "first", &["g", "Home"], Scope::Any, "", "first row, and load what is new"),
    bind(Action::Last, "last", &["G", "End"], Scope::Any, "", "last row"),
    bind(Action::HalfDown, "half-down", &["Ctrl-d"], Scope::Any, "", "half a page on"),
    bind(Action::HalfUp, "half-up", &["Ctrl-u"], Scope::Any, "", "half a page back"),
    bind(Action::PageDown, "page-down", &["PgDn"], Scope::Any, "", "a page on"),
    bind(Action::PageUp, "page-up", &["PgUp"], Scope::Any, "", "a page back"),
    bind(Action::Left, "left", &["h", "Left"], Scope::Text, "", "half a width to the left"),
    bind(Action::Right, "right", &["l", "Right"], Scope::Text, "", "half a width to the right"),
    bind(Action::MarkRange, "mark-range", &["v"], Scope::Marks, "", "mark from the last mark to the cursor"),
    bind(Action::MarkAll, "mark-all", &["*"], Scope::Marks, "", "mark everything that matches the filter"),
    bind(Action::Unmark, "unmark", &["u"], Scope::Marks, "", "take all marks off"),
    bind(Action::Screen(1), "overview", &["1"], Scope::Any, "", "overview"),
    bind(Action::Screen(2), "jobs", &["2"], Scope::Any, "", "jobs"),
    bind(Action::Screen(3), "queues", &["3"], Scope::Any, "", "queues"),
    bind(Action::Screen(4), "workers", &["4"], Scope::Any, "", "workers"),
    bind(Action::Screen(5), "schedules", &["5"], Scope::Any, "", "schedules"),
    bind(Action::Screen(6), "dead-letters", &["6"], Scope::Any, "", "dead letters"),
    bind(Action::Screen(7), "cluster", &["7"], Scope::Any, "", "cluster"),
    bind(Action::Screen(8), "logs", &["8"], Scope::Any, "", "logs"),
    bind(Action::Screen(9), "events", &["9"], Scope::Any, "", "events"),
    bind(Action::Screen(0), "settings", &["0"], Scope::Any, "", "settings"),
    bind(Action::LastScreen, "last-screen", &["-"], Scope::Any, "", "the screen before this one"),
    bind(Action::Back, "back", &["Esc"], Scope::Any, "", "one step back"),
    bind(Action::Quit, "quit", &["q"], Scope::Any, "quit", "leave the detail, or quit"),
    bind(Action::QuitNow, "quit-now", &["Ctrl-c"], Scope::Any, "", "quit now"),
    bind(Action::Reload, "reload", &["Ctrl-r"], Scope::Any, "", "reload and reconnect now"),
    bind(Action::Redraw, "redraw", &["Ctrl-l"], Scope::Any, "", "draw the screen again"),
    bind(Action::Suspend, "suspend", &["Ctrl-z"], Scope::Any, "", "suspend; `fg` comes back"),
    bind(Action::Help, "help", &["?", "F1"], Scope::Any, "", "this help; `/` searches it"),
];

/// The name of a key as the table writes it. `None` for keys that no binding can have.
#[must_use]
pub(crate) fn key_name(key: &KeyEvent) -> Option<String> {
    let plain = match key.code {
        KeyCode::Char(' ') => "Space".to_owned(),
        KeyCode::Char(c) if key.modifiers.contains(KeyModifiers::CONTROL) => {
            return Some(format!("Ctrl-{}", c.to_ascii_lowercase()));
        }
        KeyCode::Char(c) if key.modifiers.contains(KeyModifiers::ALT) => {
            return Some(format!("Alt-{c}"));
        }
        KeyCode::Char(c) => c.to_string(),
        KeyCode::Enter => "Enter".to_owned(),
        KeyCode::Esc => "Esc".to_owned(),
        KeyCode::Tab => "Tab".to_owned(),
        KeyCode::BackTab => "Shift-Tab".to_owned(),
        KeyCode::Up => "Up".to_owned(),
        KeyCode::Down => "Down".to_owned(),
        KeyCode::Left => "Left".to_owned(),
        KeyCode::Right => "Right".to_owned(),
        KeyCode::Home => "Home".to_owned(),
        KeyCode::End => "End".to_owned(),
        KeyCode::PageUp => "PgUp".to_owned(),
        KeyCode::PageDown => "PgDn".to_owned(),
        KeyCode::F(number) => format!("F{number}"),
        _ => return None,
    };
    Some(plain)
}

/// A setting of `[top.keys]` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No action has this name.
    #[error("`top.keys` has no action `{name}`{}", suggest(.near.as_deref()))]
    UnknownAction {
        /// The name that was found.
        name: String,
        /// The nearest name of an action.
        near: Option<&'static str>,
    },
    /// Two actions of one screen have the same key.
    #[error("`top.keys` gives `{key}` to `{first}` and to `{second}`")]
    Clash {
        /// The key.
        key: String,
        /// One of the actions.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
}

fn suggest(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// The keys in force: the table, with what `[top.keys]` changes.
#[derive(Debug, Default)]
pub struct Keymap {
    /// By the name of the action.
    changed: BTreeMap<String, Vec<String>>,
}

impl Keymap {
    /// # Errors
    /// An action has no such name, or two actions that work at the same place share a key.
    pub fn new(changed: BTreeMap<String, Vec<String>>) -> Result<Self, KeyError> {
        for name in changed.keys() {
            if !BINDINGS.iter().any(|binding| binding.name == name) {
                let near = nearest(name, BINDINGS.iter().map(|binding| binding.name));
                let near = BINDINGS.iter().map(|binding| binding.name).find(|n| Some(*n) == near);
                return Err(KeyError::UnknownAction { name: name.clone(), near });
            }
        }
        let it = Self { changed };
        for (index, binding) in BINDINGS.iter().enumerate() {
            for other in &BINDINGS[index + 1..] {
                let meet = binding.scope == other.scope
                    || matches!((binding.scope, other.scope), (Scope::Any, _) | (_, Scope::Any));
                let keys = it.keys(binding);
                let shared = it.keys(other).into_iter().find(|key| keys.contains(key));
                if let (true, true, Some(key)) = (meet, binding.name != other.name, shared) {
                    let key = key.to_owned();
                    return Err(KeyError::Clash { key, first: binding.name, second: other.name });
                }
            }
        }
        Ok(it)
    }

    /// The keys of a binding.
    pub(crate) fn keys<'a>(&'a self, binding: &'a Binding) -> Vec<&'a str> {
        match self.changed.get(binding.name) {
            Some(keys) => keys.iter().map(String::as_str).collect(),
            None => binding.keys.to_vec(),
        }
    }

    /// The bindings that work in these scopes, in the order of the table.
    pub(crate) fn active(
        &self,
        scopes: &[Scope],
        read_only: bool,
    ) -> impl Iterator<Item = &'static Binding> {
        BINDINGS.iter().filter(move |binding| {
            (binding.scope == Scope::Any || scopes.contains(&binding.scope))
                && !(read_only && binding.writes)
        })
    }

    /// The action of a key in these scopes.
    pub(crate) fn action(
        &self,
        key: &KeyEvent,
        scopes: &[Scope],
        read_only: bool,
    ) -> Option<Action> {
        let name = key_name(key)?;
        let bound = |binding: &&Binding| self.keys(binding).contains(&name.as_str());
        self.active(scopes, read_only).find(bound).map(|binding| binding.action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_clash_and_no_write_on_a_chord() {
        Keymap::new(BTreeMap::new()).expect("no clash");
        for binding in BINDINGS.iter().filter(|binding| binding.writes) {
            assert!(binding.keys.iter().all(|key| key.chars().count() == 1), "{}", binding.name);
        }
        let taken = |key: &str| BINDINGS.iter().any(|binding| binding.keys.contains(&key));
        assert!(!taken("Ctrl-a") && !taken("Ctrl-b"), "terminal multiplexers use these");
    }

    #[test]
    fn a_changed_key_replaces_the_old_one_and_errors_name_what_to_do() {
        let changed = |name: &str, key: &str| {
            Keymap::new(BTreeMap::from([(name.to_owned(), vec![key.to_owned()])]))
        };
        let keys = changed("cancel", "K").expect("a keymap");
        let key = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
        assert_eq!(keys.action(&key('K'), &[Scope::Cancels], false), Some(Action::Cancel));
        assert_eq!(keys.action(&key('c'), &[Scope::Cancels], false), None);
        assert_eq!(keys.action(&key('K'), &[Scope::Cancels], true), None);
        let error = changed("cancle", "K").expect_err("unknown").to_string();
        assert_eq!(error, "`top.keys` has no action `cancle`; did you mean `cancel`?");
        let error = changed("cancel", "q").expect_err("a clash").to_string();
        assert_eq!(error, "`top.keys` gives `q` to `cancel` and to `quit`");
    }
}
