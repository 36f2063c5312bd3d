//! Keys: first to what is open on top, then through the keymap to an action.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use orx_model::time::TimeStyle;

use super::{copy, open, polls, popups, prompts, sorts, text, writes};
use crate::keys::{Action, Scope};
use crate::options::Screen;
use crate::state::details::{Detail, JobTab};
use crate::state::grid::Grid;
use crate::state::prompt::PromptKind;
use crate::state::{App, Effect, OverviewBox, Popup, Tone};

/// Takes a key.
pub(crate) fn key(app: &mut App, key: &KeyEvent, effects: &mut Vec<Effect>) {
    if key.kind == KeyEventKind::Release {
        return;
    }
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        effects.push(Effect::Quit);
    } else if app.question.is_some() {
        writes::key(app, key, effects);
    } else if app.prompt.is_some() {
        prompts::key(app, key, effects);
    } else if app.popup.is_some() {
        popups::key(app, key, effects);
    } else if let Some(action) = app.options.keys.action(key, &scopes(app), app.is_read_only()) {
        act(app, action, effects);
    }
}

/// The scopes whose bindings work now.
pub(crate) fn scopes(app: &App) -> Vec<Scope> {
    match app.detail() {
        Some(Detail::Job(pane)) => {
            let mut all = vec![Scope::Job, Scope::Detail];
            let finals = pane.job.as_ref().map(|job| job.job.state.status.is_final());
            match finals {
                Some(true) => all.extend([Scope::Retries, Scope::Deletes]),
                Some(false) => all.push(Scope::Cancels),
                None => {}
            }
            match pane.tab {
                JobTab::Log => all.extend([Scope::Text, Scope::Log]),
                JobTab::Args | JobTab::Result | JobTab::Events | JobTab::Why => {
                    all.push(Scope::Text);
                }
                JobTab::Attempts => all.push(Scope::Opens),
            }
            return all;
        }
        Some(Detail::Worker(_)) => return vec![Scope::Opens, Scope::Workers],
        Some(Detail::Schedule(_)) => return vec![Scope::Opens, Scope::Schedules],
        None => {}
    }
    let jobs = [Scope::Cancels, Scope::Retries, Scope::Deletes, Scope::Opens];
    let mut all = vec![Scope::List];
    match app.screen {
        Screen::Overview => {
            all.extend([Scope::Overview, Scope::Opens]);
            if app.overview.focus == OverviewBox::Recent {
                all.extend([Scope::Cancels, Scope::Retries]);
            }
        }
        Screen::Jobs => all.extend(jobs.into_iter().chain([Scope::Jobs, Scope::Marks])),
        Screen::Queues => all.extend([Scope::Opens, Scope::Sorts, Scope::Queues]),
        Screen::Workers => all.extend([Scope::Opens, Scope::Sorts, Scope::Workers]),
        Screen::Schedules => {
            all.extend([Scope::Opens, Scope::Sorts, Scope::Schedules, Scope::Deletes]);
        }
        Screen::Dead => {
            all.extend([Scope::Opens, Scope::Dead, Scope::Marks, Scope::Retries, Scope::Deletes])
        }
        Screen::Cluster => all.push(Scope::Nodes),
        Screen::Logs => all = vec![Scope::Opens, Scope::Logs, Scope::Text],
        Screen::Events => all.extend([Scope::Opens, Scope::Events]),
        Screen::Settings => all.push(Scope::Opens),
    }
    all
}

/// The list that the cursor is in.
pub(crate) fn grid(app: &mut App) -> Option<&mut Grid> {
    match app.details.last_mut() {
        Some(Detail::Job(pane)) => {
            return (pane.tab == JobTab::Attempts).then_some(&mut pane.attempts);
        }
        Some(Detail::Worker(pane)) => return Some(&mut pane.grid),
        Some(Detail::Schedule(pane)) => return Some(&mut pane.grid),
        None => {}
    }
    Some(match app.screen {
        Screen::Overview => match app.overview.focus {
            OverviewBox::Counters => &mut app.overview.counters,
            OverviewBox::Queues => &mut app.overview.queues,
            OverviewBox::Recent => &mut app.overview.recent,
            OverviewBox::Attention => &mut app.overview.attention,
        },
        Screen::Jobs => &mut app.jobs.grid,
        Screen::Queues => &mut app.queues.grid,
        Screen::Workers => &mut app.workers.grid,
        Screen::Schedules => &mut app.schedules.grid,
        Screen::Dead => &mut app.dead.grid,
        Screen::Cluster => &mut app.nodes,
        Screen::Logs => return None,
        Screen::Events => &mut app.events_grid,
        Screen::Settings => &mut app.settings,
    })
}

/// Carries an action out.
pub(crate) fn act(app: &mut App, action: Action, effects: &mut Vec<Effect>) {
    match action {
        Action::Down
        | Action::Up
        | Action::First
        | Action::Last
        | Action::HalfDown
        | Action::HalfUp
        | Action::PageDown
        | Action::PageUp => move_by(app, action),
        Action::Left => text::sideways(app, -1),
        Action::Right => text::sideways(app, 1),
        Action::Screen(digit) => {
            if let Some(screen) = Screen::ALL.into_iter().find(|one| one.digit() == digit) {
                open::screen(app, screen, effects);
            }
        }
        Action::LastScreen => open::screen(app, app.screen_before, effects),
        Action::NextBox => next_box(app, 1),
        Action::PreviousBox => next_box(app, -1),
        Action::NextTab => next_tab(app, 1),
        Action::PreviousTab => next_tab(app, -1),
        Action::Open => open::open(app, effects),
        Action::Back => open::back(app, effects),
        Action::Quit if app.details.is_empty() => effects.push(Effect::Quit),
        Action::Quit => open::close_or_quit(app, effects),
        Action::QuitNow => effects.push(Effect::Quit),
        Action::Mark => with_grid(app, Grid::toggle_mark),
        Action::MarkRange => with_grid(app, Grid::mark_range),
        Action::MarkAll => with_grid(app, |grid| {
            grid.unmark();
            grid.all_marked = true;
        }),
        Action::Unmark => with_grid(app, Grid::unmark),
        Action::Cancel
        | Action::Retry
        | Action::Pause
        | Action::Trigger
        | Action::Drain
        | Action::Delete => writes::ask(app, action, effects),
        Action::Copy => copy::id(app, effects),
        Action::CopyMenu => copy::menu(app),
        Action::Follow => text::toggle_follow(app),
        Action::Level => text::next_level(app),
        Action::OlderAttempt => open::attempt(app, -1, effects),
        Action::NewerAttempt => open::attempt(app, 1, effects),
        Action::Pager => text::pager(app, effects),
        Action::Export => prompts::open_export(app),
        Action::Filter => prompts::open(app, filter_or_search(app)),
        Action::FilterJobs => prompts::open(app, PromptKind::Filter),
        Action::NextMatch => text::next_match(app, true),
        Action::PreviousMatch => text::next_match(app, false),
        Action::ClearFilter => prompts::set_filter(app, String::new()),
        Action::Palette => prompts::open(app, PromptKind::Palette),
        Action::Help => app.popup = Some(Popup::Help { filter: String::new(), top: 0 }),
        Action::History => popups::open_actions(app),
        Action::Sort => sorts::open(app),
        Action::Reverse => sorts::reverse(app),
        Action::Wide => wide(app),
        Action::Time => next_time(app),
        Action::Freeze => super::toggle_freeze(app, effects),
        Action::Reload => {
            app.jobs.pages.loaded &= !app.jobs.pages.is_from_end();
            app.streams.anew = true;
            polls::reload(app);
        }
        Action::Redraw => effects.push(Effect::Redraw),
        Action::Suspend => effects.push(Effect::Suspend),
    }
}

fn filter_or_search(app: &App) -> PromptKind {
    let is_text = app.detail().is_some() || app.screen == Screen::Logs;
    if is_text { PromptKind::Search } else { PromptKind::Filter }
}

fn with_grid(app: &mut App, change: impl FnOnce(&mut Grid)) {
    if let Some(grid) = grid(app) {
        change(grid);
    }
}

fn move_by(app: &mut App, action: Action) {
    let on_jobs = app.screen == Screen::Jobs && app.detail().is_none();
    // The ends of the list of jobs may not be loaded.
    match action {
        Action::First if on_jobs => {
            let pages = &mut app.jobs.pages;
            let (filter, oldest_first) = (pages.filter.clone(), pages.oldest_first);
            if pages.is_from_end() || pages.waiting > 0 || app.jobs.grid.top() > 0 {
                pages.restart(filter, oldest_first, false);
            }
            app.jobs.grid.go_to(0);
            return;
        }
        Action::Last if on_jobs && !app.jobs.pages.holds_end() => {
            let pages = &mut app.jobs.pages;
            let (filter, oldest_first) = (pages.filter.clone(), pages.oldest_first);
            pages.restart(filter, oldest_first, true);
            return;
        }
        _ => {}
    }
    let Some(grid) = grid(app) else {
        text::scroll(app, action);
        return;
    };
    let height = isize::try_from(grid.height()).unwrap_or(1);
    match action {
        Action::Down => grid.step(1),
        Action::Up => grid.step(-1),
        Action::HalfDown => grid.step((height / 2).max(1)),
        Action::HalfUp => grid.step(-(height / 2).max(1)),
        Action::PageDown => grid.step(height),
        Action::PageUp => grid.step(-height),
        Action::First => grid.go_to(0),
        _ => grid.go_to(usize::MAX),
    }
}

fn next_box(app: &mut App, by: isize) {
    let boxes = crate::layout::overview_boxes(crate::layout::class(app.size));
    let at = boxes.iter().position(|one| *one == app.overview.focus).unwrap_or(0);
    let next = at.saturating_add_signed(by + boxes.len() as isize) % boxes.len();
    app.overview.focus = boxes[next];
}

fn next_tab(app: &mut App, by: isize) {
    let Some(Detail::Job(pane)) = app.details.last_mut() else { return };
    let tabs = JobTab::ALL;
    let at = tabs.iter().position(|one| *one == pane.tab).unwrap_or(0);
    pane.tab = tabs[at.saturating_add_signed(by + tabs.len() as isize) % tabs.len()];
    let wrap = pane.scroll.wrap;
    // The newest event is the last.
    pane.scroll = crate::state::scroll::Scroll::new(pane.tab == JobTab::Events);
    pane.scroll.wrap = wrap;
}

fn wide(app: &mut App) {
    if app.detail().is_some() || app.screen == Screen::Logs {
        text::toggle_wrap(app);
    } else if app.screen == Screen::Dead {
        super::dead::toggle(app);
    }
}

/// The next style of times.
pub(crate) fn next_time(app: &mut App) {
    let (next, word) = match app.look.time {
        TimeStyle::Relative => (TimeStyle::Local, "local"),
        TimeStyle::Local => (TimeStyle::Utc, "UTC"),
        TimeStyle::Utc | TimeStyle::Unix => (TimeStyle::Relative, "relative"),
    };
    app.look.time = next;
    app.notify(Tone::Plain, format!("times are {word}"));
}
