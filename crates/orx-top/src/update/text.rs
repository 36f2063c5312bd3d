//! Scrolls and searches the text that is open.

use orx_model::log::Level;

use crate::keys::Action;
use crate::layout::text_size;
use crate::options::Screen;
use crate::state::details::{Detail, JobTab};
use crate::state::log::{Line, Log};
use crate::state::scroll::Scroll;
use crate::state::{App, Effect, Tone};

/// The place in the text that is open.
pub(crate) fn scroll_of(app: &mut App) -> Option<&mut Scroll> {
    if app.details.is_empty() {
        return (app.screen == Screen::Logs).then_some(&mut app.logs.log.scroll);
    }
    match app.details.last_mut()? {
        Detail::Job(pane) => match pane.tab {
            JobTab::Log => Some(&mut pane.log.scroll),
            JobTab::Args | JobTab::Result | JobTab::Events | JobTab::Why => Some(&mut pane.scroll),
            JobTab::Attempts => None,
        },
        Detail::Worker(_) | Detail::Schedule(_) => None,
    }
}

/// The log that is open: of a job, or of all.
fn log_of(app: &App) -> Option<&Log> {
    match app.detail() {
        Some(Detail::Job(pane)) => (pane.tab == JobTab::Log).then_some(&pane.log),
        Some(_) => None,
        None => (app.screen == Screen::Logs).then_some(&app.logs.log),
    }
}

fn log_of_mut(app: &mut App) -> Option<&mut Log> {
    match app.details.last_mut() {
        Some(Detail::Job(pane)) => (pane.tab == JobTab::Log).then_some(&mut pane.log),
        Some(_) => None,
        None => (app.screen == Screen::Logs).then_some(&mut app.logs.log),
    }
}

/// The lines of the text that is open, without colours.
pub(crate) fn lines(app: &App) -> Vec<String> {
    let plain = |line: &&Line| crate::ansi::plain(&line.text).into_owned();
    match (log_of(app), app.detail()) {
        (Some(log), _) => log.shown().iter().map(plain).collect(),
        (None, Some(Detail::Job(pane))) => crate::texts::lines(app, pane),
        (None, _) => Vec::new(),
    }
}

/// The lines for a file or the pager: those of many jobs with their time, job and source.
pub(crate) fn whole_lines(app: &App) -> Vec<String> {
    if app.screen != Screen::Logs || app.detail().is_some() {
        return lines(app);
    }
    let whole = |line: &&Line| {
        let (level, source) = line.kind.words();
        let text = crate::ansi::plain(&line.text);
        let job = format!("{}.{}", line.job, line.attempt);
        format!("{} {level:<5} {job:<10} {source:<3} {text}", line.at)
    };
    app.logs.log.shown().iter().map(whole).collect()
}

fn count(app: &App) -> usize {
    match (log_of(app), app.detail()) {
        (Some(log), _) => log.shown().len(),
        (None, Some(Detail::Job(pane))) => crate::texts::lines(app, pane).len(),
        (None, _) => 0,
    }
}

/// Puts the cursor of the logs of all jobs on a line, and the line in view.
fn put_cursor(app: &mut App, place: usize) {
    let height = text_size(app).1.max(1);
    let log = &mut app.logs.log;
    let shown = log.shown();
    let Some(last) = shown.len().checked_sub(1) else { return };
    let place = place.min(last);
    let number = shown[place].number;
    let before =
        if log.scroll.follow { shown.len().saturating_sub(height) } else { log.scroll.top };
    log.cursor = Some(number);
    log.scroll.follow = false;
    // Wrapped lines have any height: the one under the cursor is the first.
    log.scroll.top = match log.scroll.wrap {
        true => place,
        false => before.clamp((place + 1).saturating_sub(height), place),
    };
}

/// Moves the text by lines.
pub(crate) fn scroll(app: &mut App, action: Action) {
    let (total, height) = (count(app), text_size(app).1);
    let on_logs = app.screen == Screen::Logs && app.detail().is_none();
    let cursor = app.logs.log.cursor_place().unwrap_or(0);
    let Some(scroll) = scroll_of(app) else { return };
    let page = isize::try_from(height.max(1)).unwrap_or(1);
    let most = total.saturating_sub(height);
    if scroll.follow {
        scroll.top = most;
    }
    let by = match action {
        Action::Down => 1,
        Action::Up => -1,
        Action::HalfDown => (page / 2).max(1),
        Action::HalfUp => -(page / 2).max(1),
        Action::PageDown => page,
        Action::PageUp => -page,
        Action::First => isize::MIN,
        _ => isize::MAX,
    };
    if on_logs {
        let last = total.saturating_sub(1);
        let to = cursor.saturating_add_signed(by).min(last);
        put_cursor(app, to);
        set_follow(app, by > 0 && to == last);
        return;
    }
    scroll.top = scroll.top.saturating_add_signed(by).min(most);
    let at_end = scroll.top == most && by > 0;
    set_follow(app, at_end);
}

/// The end of a log, or of the events of a job, stays in view while it is followed; other texts do not grow.
fn set_follow(app: &mut App, follow: bool) {
    if let Some(log) = log_of_mut(app) {
        log.scroll.follow = follow;
        if follow {
            (log.unseen, log.cursor) = (0, None);
        }
    } else if let Some(Detail::Job(pane)) = app.details.last_mut() {
        pane.scroll.follow = follow && pane.tab == JobTab::Events;
    }
}

/// Follows the log, or stops at what is in view.
pub(crate) fn toggle_follow(app: &mut App) {
    let (total, height) = (count(app), text_size(app).1);
    let Some(scroll) = scroll_of(app) else { return };
    let follow = !scroll.follow;
    if !follow {
        scroll.top = total.saturating_sub(height);
    }
    if !follow && app.screen == Screen::Logs && app.detail().is_none() {
        put_cursor(app, total.saturating_sub(1));
    }
    set_follow(app, follow);
}

pub(crate) fn toggle_wrap(app: &mut App) {
    if let Some(scroll) = scroll_of(app) {
        (scroll.wrap, scroll.left) = (!scroll.wrap, 0);
        app.wrap = scroll.wrap;
    }
}

/// Half a width to the left or to the right.
pub(crate) fn sideways(app: &mut App, by: isize) {
    let half = isize::try_from(text_size(app).0 / 2).unwrap_or(1).max(1);
    if let Some(scroll) = scroll_of(app)
        && !scroll.wrap
    {
        scroll.left = scroll.left.saturating_add_signed(by * half).min(16 * 1024);
    }
}

/// The next level of structured lines, from all to errors alone.
pub(crate) fn next_level(app: &mut App) {
    let Some(log) = log_of_mut(app) else { return };
    let at = Level::ALL.iter().position(|level| *level == log.level).unwrap_or(0);
    log.level = Level::ALL[(at + 1) % Level::ALL.len()];
    log.scroll.top = 0;
    (log.scroll.follow, log.cursor) = (true, None);
}

/// Goes to the next line that the search finds, or the one before.
pub(crate) fn next_match(app: &mut App, forward: bool) {
    let all = lines(app);
    let height = text_size(app).1;
    let most = all.len().saturating_sub(height);
    let Some(scroll) = scroll_of(app) else { return };
    let Some(search) = scroll.search.clone() else {
        app.notify(Tone::Plain, "nothing was searched for; `/` searches");
        return;
    };
    // From the match before, else from what is in view.
    let top = if scroll.follow { most } else { scroll.top };
    let from = search.at.filter(|at| *at < all.len()).unwrap_or(top.saturating_sub(1));
    let found = |at: &usize| search.is_in(&all[*at]);
    let round = (from + 1..all.len()).chain(0..=from.min(all.len().saturating_sub(1)));
    let mut round = round.filter(|at| *at < all.len());
    let at = if forward { round.find(found) } else { round.rev().skip(1).find(found) };
    match at {
        None => {
            let text = format!("`{}` is not in this text", search.text);
            app.notify(Tone::Plain, text);
        }
        Some(at) => {
            let in_view = !scroll.follow && (scroll.top..scroll.top + height).contains(&at);
            if !in_view {
                scroll.top = at.saturating_sub(height / 3).min(most);
            }
            scroll.follow = false;
            if let Some(search) = &mut scroll.search {
                search.at = Some(at);
            }
            if app.screen == Screen::Logs && app.detail().is_none() {
                put_cursor(app, at);
            }
            let lines = all.iter().filter(|line| search.is_in(line)).count();
            app.notify(Tone::Plain, format!("line {}, {lines} lines match", at + 1));
        }
    }
}

/// Opens the text in the pager.
pub(crate) fn pager(app: &mut App, effects: &mut Vec<Effect>) {
    let mut text = whole_lines(app).join("\n");
    text.push('\n');
    effects.push(Effect::Pager(text));
}
