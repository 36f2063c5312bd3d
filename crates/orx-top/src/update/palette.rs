//! The palette: screens and settings by name, and the changes of the keys as commands on the marks or on
//! ids. It is no shell.

use orx_model::text::nearest;

use super::{keys, open, prompts, writes};
use crate::keys::Action;
use crate::options::{Screen, Theme};
use crate::state::{App, Effect};

/// Commands beside the names of screens, and what each does.
pub(crate) const COMMANDS: [(&str, &str, bool); 13] = [
    ("show", "open a job: `show 1423`", false),
    ("cancel", "cancel the marked jobs, or `cancel 1423 …`", true),
    ("retry", "retry the marked jobs, or `retry 1423 …`", true),
    ("pause", "pause the queue or schedule under the cursor", true),
    ("resume", "resume the queue or schedule under the cursor", true),
    ("trigger", "run the schedule under the cursor now", true),
    ("drain", "drain the worker or node under the cursor, or take its drain back", true),
    ("context", "go to another cluster: `context staging`", false),
    ("theme", "`theme ansi`, `theme safe` or `theme mono`", false),
    ("time", "times: relative, local, UTC", false),
    ("mouse", "turn the mouse on or off", false),
    ("freeze", "freeze what is shown, and thaw it", false),
    ("quit", "quit", false),
];

/// Runs a line.
///
/// # Errors
/// Nothing has this name, or it does not apply here; the text says what is near.
pub(crate) fn run(app: &mut App, line: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
    let line = line.trim().trim_start_matches("orx ").trim();
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    if word.is_empty() {
        return Ok(());
    }
    if let Some(screen) = Screen::named(word) {
        open::screen(app, screen, effects);
        if matches!(screen, Screen::Jobs | Screen::Dead | Screen::Logs) {
            prompts::set_filter(app, rest.to_owned());
        }
        return Ok(());
    }
    let writes = COMMANDS.iter().any(|(name, _, writes)| *name == word && *writes);
    if writes && app.is_read_only() {
        return Err(format!("`{word}` changes something, and this dashboard is read-only"));
    }
    match word {
        "show" => {
            let id = rest.parse().map_err(|_| format!("`{rest}` is no id of a job"))?;
            open::job(app, id, effects);
        }
        "cancel" => jobs(app, Action::Cancel, rest, effects)?,
        "retry" => jobs(app, Action::Retry, rest, effects)?,
        "pause" | "resume" if app.screen == Screen::Queues => {
            writes::ask(app, Action::Pause, effects);
        }
        "pause" | "resume" => on_screen(app, Screen::Schedules, Action::Pause, word, effects)?,
        "trigger" => on_screen(app, Screen::Schedules, Action::Trigger, word, effects)?,
        "drain" if app.screen == Screen::Cluster => writes::ask(app, Action::Drain, effects),
        "drain" => on_screen(app, Screen::Workers, Action::Drain, word, effects)?,
        "context" => context(app, rest, effects)?,
        "theme" => {
            let theme = Theme::named(rest);
            app.look.theme = theme.ok_or("the themes are `ansi`, `safe` and `mono`")?;
        }
        "time" => keys::next_time(app),
        "mouse" => super::mouse::toggle(app, effects),
        "freeze" => super::toggle_freeze(app, effects),
        "quit" | "q" => effects.push(Effect::Quit),
        _ => return Err(unknown(app, word)),
    }
    Ok(())
}

fn context(app: &App, name: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
    let Some(contexts) = &app.options.contexts else {
        return Err("a session that is recorded or played stays with its cluster".to_owned());
    };
    let names = contexts.names();
    if names.iter().any(|one| one == name) {
        effects.push(Effect::Enter(name.to_owned()));
        return Ok(());
    }
    let all = names.join(", ");
    if name.is_empty() {
        return Err(format!("name one of {all}"));
    }
    Err(match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("there is no context `{name}`; did you mean `{near}`?"),
        None => format!("there is no context `{name}`; there are {all}"),
    })
}

fn jobs(app: &mut App, action: Action, ids: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
    if ids.is_empty() {
        if !matches!(app.screen, Screen::Jobs | Screen::Overview | Screen::Dead) {
            return Err("no job is marked here; ids may follow the command".to_owned());
        }
        if app.screen == Screen::Dead && action == Action::Cancel {
            return Err("dead letters have ended: there is nothing to cancel".to_owned());
        }
        writes::ask(app, action, effects);
        return Ok(());
    }
    let parse = |id: &str| id.parse().map_err(|_| format!("`{id}` is no id of a job"));
    let ids = ids.split_whitespace().map(parse).collect::<Result<Vec<_>, _>>()?;
    writes::ask_for_jobs(app, action, &ids, effects);
    Ok(())
}

fn on_screen(
    app: &mut App,
    screen: Screen,
    action: Action,
    word: &str,
    effects: &mut Vec<Effect>,
) -> Result<(), String> {
    if app.screen != screen {
        return Err(format!("`{word}` works on the screen `{}`", screen.name()));
    }
    writes::ask(app, action, effects);
    Ok(())
}

fn unknown(app: &App, word: &str) -> String {
    if app.options.commands.contains_key(word) {
        return format!("`orx {word}` is a command of the shell, not of this dashboard");
    }
    let names = Screen::ALL.into_iter().map(Screen::name);
    let names = names.chain(COMMANDS.iter().map(|(name, ..)| *name));
    match nearest(word, names) {
        Some(near) => format!("there is no `{word}`; did you mean `{near}`?"),
        None => format!("there is no `{word}`; Tab completes"),
    }
}

/// What the line can go on with.
pub(crate) fn candidates(app: &App, line: &str) -> Vec<String> {
    if line.starts_with("theme ") {
        return ["ansi", "safe", "mono"].map(str::to_owned).to_vec();
    }
    if line.starts_with("context ") {
        let contexts = app.options.contexts.as_ref();
        return contexts.map(|contexts| contexts.names()).unwrap_or_default();
    }
    if line.contains(' ') {
        return Vec::new();
    }
    let screens = Screen::ALL.into_iter().map(|screen| screen.name().to_owned());
    let allowed = |command: &&(&str, &str, bool)| !(command.2 && app.is_read_only());
    let commands = COMMANDS.iter().filter(allowed).map(|(name, ..)| (*name).to_owned());
    screens.chain(commands).collect()
}

fn described(line: &str, name: &str) -> String {
    let kind = line.split_once(' ').map_or("screen", |(command, _)| command);
    format!("{kind}: {name}")
}

/// The candidates for the present line, each with what it does, for the view.
pub(crate) fn suggestions(app: &App, line: &str) -> Vec<(String, String)> {
    let describe = |name: String| {
        let command = COMMANDS.iter().find(|(one, ..)| *one == name);
        let text =
            command.map_or_else(|| described(line, &name), |(_, text, _)| (*text).to_owned());
        (name, text)
    };
    let word = line.rsplit(' ').next().unwrap_or_default().to_owned();
    let fits = |name: &String| name.starts_with(&word);
    candidates(app, line).into_iter().filter(fits).map(describe).collect()
}
