//! The input line: opened, edited, applied.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use orx_model::JobStatus;
use orx_model::filter::Filter;

use super::{palette, text};
use crate::export;
use crate::options::Screen;
use crate::state::details::{Detail, JobTab};
use crate::state::prompt::{Prompt, PromptKind, edit};
use crate::state::scroll::Search;
use crate::state::{App, Effect, Export, Exported, Popup, Tone};

/// A filter is applied when no key came for this long.
pub(crate) const QUIET: Duration = Duration::from_millis(150);

/// Keys of the filter language that are completed.
const FILTER_KEYS: [&str; 15] = [
    "status:",
    "queue:",
    "name:",
    "worker:",
    "schedule:",
    "priority:",
    "error:",
    "key:",
    "tag.",
    "arg.",
    "age>",
    "took>",
    "attempts>=",
    "since:",
    "by:",
];

/// The filter of the list that is shown.
pub(crate) fn filter_of(app: &App) -> &str {
    match app.screen {
        Screen::Jobs => &app.jobs.pages.filter,
        Screen::Dead => &app.dead.filter,
        Screen::Logs => &app.logs.filter,
        _ => "",
    }
}

/// Puts a filter in force.
pub(crate) fn set_filter(app: &mut App, filter: String) {
    if filter == filter_of(app) {
        return;
    }
    match app.screen {
        Screen::Jobs => {
            let oldest_first = app.jobs.pages.oldest_first;
            app.jobs.pages.restart(filter, oldest_first, false);
            app.jobs.grid.unmark();
        }
        Screen::Dead => {
            app.dead.filter = filter;
            app.dead.generation += 1;
            app.dead.grid.unmark();
        }
        Screen::Logs => app.logs.restart(filter),
        _ => {}
    }
}

/// Opens an input line.
pub(crate) fn open(app: &mut App, kind: PromptKind) {
    let text = match kind {
        PromptKind::Filter => filter_of(app).to_owned(),
        PromptKind::Search | PromptKind::Palette | PromptKind::Help | PromptKind::Export => {
            String::new()
        }
    };
    app.prompt = Some(Prompt::new(kind, &text));
    app.message = None;
}

/// Asks for the name of the file to write.
pub(crate) fn open_export(app: &mut App) {
    let name = match app.detail() {
        Some(Detail::Job(pane)) => {
            let extension = match pane.tab {
                JobTab::Args | JobTab::Result => "json",
                JobTab::Log | JobTab::Attempts | JobTab::Events | JobTab::Why => "txt",
            };
            format!("job-{}-{}.{extension}", pane.id, pane.tab.title().to_lowercase())
        }
        _ if app.screen == Screen::Logs => "logs.txt".to_owned(),
        _ => format!("{}.jsonl", app.screen.name()),
    };
    app.prompt = Some(Prompt::new(PromptKind::Export, &name));
    app.message = None;
}

/// Takes a pasted text in, if a line is open for it.
pub(crate) fn paste(app: &mut App, pasted: &str) {
    let now = app.now.mono;
    if let Some(question) = &mut app.question {
        if question.focus == crate::state::question::Focus::Reason {
            crate::state::prompt::paste(&mut question.reason, pasted);
        }
    } else if let Some(prompt) = &mut app.prompt {
        crate::state::prompt::paste(&mut prompt.input, pasted);
        prompt.changed_at = Some(now);
    }
}

/// Takes a key of an open line.
pub(crate) fn key(app: &mut App, key: &KeyEvent, effects: &mut Vec<Effect>) {
    let now = app.now.mono;
    let Some(prompt) = &mut app.prompt else { return };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Esc => cancel(app),
        KeyCode::Enter => enter(app, effects),
        KeyCode::Up => walk(app, true),
        KeyCode::Down => walk(app, false),
        KeyCode::Char('p') if control => walk(app, true),
        KeyCode::Char('n') if control => walk(app, false),
        KeyCode::Tab => complete(app),
        _ => {
            if edit(&mut prompt.input, key) {
                (prompt.changed_at, prompt.error) = (Some(now), None);
            }
        }
    }
}

fn walk(app: &mut App, back: bool) {
    let now = app.now.mono;
    let Some(prompt) = &mut app.prompt else { return };
    let history = app.histories.entry(prompt.kind).or_default();
    prompt.walk(history, back);
    prompt.changed_at = Some(now);
}

/// Puts back what was in force.
fn cancel(app: &mut App) {
    let Some(prompt) = app.prompt.take() else { return };
    match prompt.kind {
        PromptKind::Filter => set_filter(app, prompt.before),
        PromptKind::Search => {
            if let Some(scroll) = text::scroll_of(app) {
                scroll.search = None;
            }
        }
        PromptKind::Help => {
            if let Some(Popup::Help { filter, .. }) = &mut app.popup {
                filter.clear();
            }
        }
        PromptKind::Palette | PromptKind::Export => {}
    }
}

fn enter(app: &mut App, effects: &mut Vec<Effect>) {
    if !apply(app) {
        return;
    }
    let Some(prompt) = app.prompt.take() else { return };
    let line = prompt.input.value().trim().to_owned();
    app.histories.entry(prompt.kind).or_default().add(&line);
    match prompt.kind {
        PromptKind::Filter | PromptKind::Help => {}
        PromptKind::Search => {
            if !line.is_empty() {
                text::next_match(app, true);
            }
        }
        PromptKind::Palette => {
            if let Err(error) = palette::run(app, &line, effects) {
                let mut prompt = Prompt::new(PromptKind::Palette, &line);
                prompt.error = Some(error);
                app.prompt = Some(prompt);
            }
        }
        PromptKind::Export => export(app, line, effects),
    }
}

fn export(app: &mut App, path: String, effects: &mut Vec<Effect>) {
    if path.is_empty() {
        return;
    }
    let what = match app.screen {
        _ if app.detail().is_some() => None,
        Screen::Jobs => Some(Exported::Jobs(app.jobs.pages.filter.clone())),
        Screen::Dead => Some(Exported::DeadLetters(app.dead.filter.clone())),
        _ => None,
    };
    let Some(what) = what else {
        let text = whole_text(app);
        effects.push(Effect::Write { path, text });
        return;
    };
    if let Some(running) = &app.export {
        let text = format!("{} is being written; `Esc` stops it", running.path);
        app.notify(Tone::Bad, text);
        return;
    }
    let number = app.next_number();
    app.export = Some(Export { number, path: path.clone(), noun: what.noun(), count: 0 });
    effects.push(Effect::Export { number, path, what });
}

/// What is on the screen, for a file.
fn whole_text(app: &App) -> String {
    if app.detail().is_none() {
        match app.screen {
            Screen::Queues => return export::lines(&app.queues.rows),
            Screen::Workers => return export::lines(&app.workers.rows),
            Screen::Schedules => return export::lines(&app.schedules.rows),
            // Oldest first, as they happened.
            Screen::Events => return export::lines(app.events.iter().rev()),
            _ => {}
        }
    }
    let mut text = text::whole_lines(app).join("\n");
    text.push('\n');
    text
}

/// Applies a line that has not changed for a while.
pub(crate) fn apply_when_quiet(app: &mut App) {
    let now = app.now.mono;
    let quiet = |at: Duration| now.saturating_sub(at) >= QUIET;
    if app.prompt.as_ref().is_some_and(|prompt| prompt.changed_at.is_some_and(quiet)) {
        apply(app);
    }
}

/// Applies the open line. Returns whether it can be applied; if not, the line says why.
fn apply(app: &mut App) -> bool {
    let now = app.server_now();
    let Some(prompt) = &mut app.prompt else { return false };
    prompt.changed_at = None;
    let line = prompt.input.value().trim().to_owned();
    match prompt.kind {
        PromptKind::Filter => match Filter::parse(&line, now, &*app.options.zone) {
            Err(error) => {
                let hint = error.hint.as_deref().map(|hint| format!("; {hint}"));
                prompt.error = Some(format!("{}{}", error.message, hint.unwrap_or_default()));
                false
            }
            Ok(_) => {
                prompt.error = None;
                set_filter(app, line);
                true
            }
        },
        PromptKind::Search => {
            let search = if line.is_empty() { Ok(None) } else { Search::new(&line).map(Some) };
            match search {
                Err(error) => {
                    prompt.error = Some(error);
                    false
                }
                Ok(search) => {
                    if let Some(scroll) = text::scroll_of(app) {
                        scroll.search = search;
                    }
                    true
                }
            }
        }
        PromptKind::Help => {
            if let Some(Popup::Help { filter, top }) = &mut app.popup {
                (*filter, *top) = (line, 0);
            }
            true
        }
        PromptKind::Palette | PromptKind::Export => true,
    }
}

/// Completes the last word of the line.
fn complete(app: &mut App) {
    let Some(prompt) = &app.prompt else { return };
    let line = prompt.input.value().to_owned();
    let candidates = match prompt.kind {
        PromptKind::Filter => filter_candidates(app, &line),
        PromptKind::Palette => palette::candidates(app, &line),
        PromptKind::Search | PromptKind::Help | PromptKind::Export => return,
    };
    let start = line.rfind(' ').map_or(0, |at| at + 1);
    let word = &line[start..];
    let fitting: Vec<&String> =
        candidates.iter().filter(|one| one.starts_with(word) && *one != word).collect();
    let now = app.now.mono;
    let Some(prompt) = &mut app.prompt else { return };
    let Some(first) = fitting.first() else { return };
    let common = fitting.iter().fold(first.as_str(), |common, one| {
        let same = common.char_indices().zip(one.chars()).find(|((_, a), b)| a != b);
        let end = same.map_or(common.len().min(one.len()), |((at, _), _)| at);
        &common[..end]
    });
    let taken = if common.len() > word.len() { common } else { first.as_str() };
    prompt.input = tui_input::Input::new(format!("{}{taken}", &line[..start]));
    prompt.changed_at = Some(now);
}

/// Keys of the filter language, and the values that are on the screen.
fn filter_candidates(app: &App, line: &str) -> Vec<String> {
    let mut all: Vec<String> = FILTER_KEYS.iter().map(|key| (*key).to_owned()).collect();
    let word = line.rsplit(' ').next().unwrap_or_default();
    let Some((key, _)) = word.split_once(':') else { return all };
    let rows = app.jobs.pages.rows();
    let values: std::collections::BTreeSet<String> = match key.trim_start_matches('-') {
        "status" => JobStatus::ALL.iter().map(|one| one.as_str().replace('_', "")).collect(),
        "queue" => app.queues.rows.iter().map(|one| one.queue.to_string()).collect(),
        "name" => rows.iter().map(|row| row.spec.name.to_string()).collect(),
        "worker" => app.workers.rows.iter().map(|one| one.name.to_string()).collect(),
        "schedule" => app.schedules.rows.iter().map(|one| one.id.to_string()).collect(),
        _ => return all,
    };
    all = values.into_iter().map(|value| format!("{key}:{value}")).collect();
    all
}
