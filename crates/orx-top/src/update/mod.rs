//! What happens to the state: a plain function from a message to effects. It waits for nothing and calls
//! nobody.

pub(crate) mod answers;
pub(crate) mod copy;
pub(crate) mod dead;
pub(crate) mod keys;
pub(crate) mod live;
pub(crate) mod mouse;
pub(crate) mod open;
mod operations;
pub(crate) mod palette;
pub(crate) mod polls;
pub(crate) mod popups;
pub(crate) mod prompts;
pub(crate) mod sorts;
pub(crate) mod text;
pub(crate) mod writes;

use std::collections::VecDeque;
use std::time::Duration;

use orx_model::wire::live::LiveEvent;

use crate::api::LiveNews;
use crate::options::Screen;
use crate::state::question::DryRun;
use crate::state::{App, Effect, Frozen, Msg, Purpose, Tone, UpdateTime};

/// Messages that are held while what is shown is frozen.
const HELD: usize = 2_000;
/// Output of jobs that is held while what is shown is frozen.
const HELD_BYTES: usize = 8 * 1024 * 1024;
/// A message stays for this long.
const MESSAGE: Duration = Duration::from_secs(20);

/// Takes a message in, and returns what is to be done.
pub(crate) fn update(app: &mut App, now: UpdateTime, msg: Msg) -> Vec<Effect> {
    app.now = now;
    let mut effects = Vec::new();
    match msg {
        Msg::Resize(width, height) => app.size = (width, height),
        Msg::Key(key) => keys::key(app, &key, &mut effects),
        Msg::Paste(text) => prompts::paste(app, &text),
        Msg::Mouse(event) => mouse::mouse(app, &event, &mut effects),
        Msg::Tick => {}
        Msg::ExportedSoFar(number, count) => {
            if let Some(export) = app.export.as_mut().filter(|one| one.number == number) {
                export.count = count;
            }
        }
        Msg::ExportEnded(number, ended) => {
            // A stop of the export showed its own message.
            if app.export.take_if(|one| one.number == number).is_some() {
                match ended {
                    Ok(text) => app.notify(Tone::Good, text),
                    Err(text) => app.notify(Tone::Bad, text),
                }
            }
        }
        Msg::Entered(context) => {
            let text = format!("this is `{}` now", context.name);
            app.enter(context);
            app.notify(Tone::Plain, text);
        }
        Msg::Finished(Ok(text)) => app.notify(Tone::Good, text),
        Msg::Finished(Err(text)) => app.notify(Tone::Bad, text),
        held @ (Msg::Answer { .. } | Msg::Log { .. } | Msg::Live { .. }) => {
            data(app, held, &mut effects)
        }
    }
    if app.message.as_ref().is_some_and(|message| now.mono.saturating_sub(message.at) > MESSAGE) {
        app.message = None;
    }
    prompts::apply_when_quiet(app);
    if app.screen == Screen::Settings {
        let keys = crate::view::settings::all_settings(app).into_iter().map(|one| one.key);
        app.settings.set_rows(keys.collect());
    }
    app.fit();
    app.link.streams = live::is_alive(app, &crate::api::Topic::Overview);
    log_link(app, &mut effects);
    live::watch(app, &mut effects);
    polls::ask(app, &mut effects);
    effects
}

/// Logs each change of the state of the link.
fn log_link(app: &mut App, effects: &mut Vec<Effect>) {
    let state = app.link.state(app.now.mono);
    if app.options.state.is_none() || app.link.logged == Some(state) {
        return;
    }
    app.link.logged = Some(state);
    let failure = app.link.outage.as_ref().map(|outage| &outage.failure);
    let why = failure.map_or_else(String::new, |failure| {
        let cause = failure.cause.as_deref().map(|cause| format!(": {cause}"));
        format!("  {}{}", failure.message, cause.unwrap_or_default())
    });
    let line = format!("{}  {}  {}{why}", app.now.wall, app.options.context, state.word());
    effects.push(Effect::Log(orx_model::text::clean_line(&line).into_owned()));
}

/// An answer changes what is shown, unless that is frozen.
fn data(app: &mut App, msg: Msg, effects: &mut Vec<Effect>) {
    let asked_for = match &msg {
        Msg::Answer { purpose, .. } => {
            matches!(purpose, Purpose::Change(_) | Purpose::DryRun(_))
        }
        _ => false,
    };
    if app.frozen.is_none() || asked_for {
        answers::take(app, msg, effects);
        return;
    }
    answers::note(app, &msg);
    let Some(frozen) = &mut app.frozen else { return };
    frozen.count += 1;
    frozen.bytes += output_bytes(&msg);
    if let Msg::Answer { purpose, .. } = &msg {
        let same =
            |one: &Msg| matches!(one, Msg::Answer { purpose: other, .. } if other == purpose);
        frozen.waiting.retain(|one| !same(one));
    }
    frozen.waiting.push_back(msg);
    if frozen.waiting.len() > HELD || frozen.bytes > HELD_BYTES {
        // Too much to take in one by one: everything is asked for anew when it thaws.
        frozen.waiting.clear();
        frozen.bytes = 0;
        app.streams.anew = true;
        app.calls.answered.clear();
    }
}

/// The output of jobs in a message.
fn output_bytes(msg: &Msg) -> usize {
    let Msg::Live { news: LiveNews::Event(event), .. } = msg else { return 0 };
    let LiveEvent::FilteredLogsReceived(received) = &**event else { return 0 };
    received.logs.iter().map(|one| one.part.data.len()).sum()
}

/// Freezes what is shown, or thaws it and takes in what came meanwhile.
pub(crate) fn toggle_freeze(app: &mut App, effects: &mut Vec<Effect>) {
    match app.frozen.take() {
        Some(frozen) => {
            for msg in frozen.waiting {
                answers::take(app, msg, effects);
            }
        }
        None => {
            let waiting = VecDeque::new();
            app.frozen = Some(Frozen { since: app.now, waiting, count: 0, bytes: 0 });
        }
    }
}

/// How long nothing that is shown changes by itself. `None`: for ever.
pub(crate) fn next_wake(app: &App) -> Option<Duration> {
    let now = app.now.mono;
    // Ages are shown in whole seconds of the server's clock.
    let second = 1_000 - app.server_now().as_millis().rem_euclid(1_000).unsigned_abs();
    let ages = app.frozen.is_none().then(|| Duration::from_millis(second.max(20)));
    let down = (app.link.is_down() || app.frozen.is_some()).then(|| Duration::from_secs(1));
    let typed = app.prompt.as_ref().and_then(|prompt| prompt.changed_at);
    let typed = typed.map(|at| (at + prompts::QUIET).saturating_sub(now));
    let retry = app.link.outage.as_ref().map(|outage| outage.retry_at.saturating_sub(now));
    let asked = app.question.as_ref().map(|question| match question.dry_run {
        DryRun::Asked => Duration::from_millis(200),
        _ => Duration::from_secs(1),
    });
    let poll = polls::next(app);
    [ages, down, typed, retry, asked, poll].into_iter().flatten().min()
}
