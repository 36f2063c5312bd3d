//! Goes to a screen, opens what is under the cursor, and goes back.

use orx_model::{JobId, JobStatus};

use super::prompts;
use crate::api::LogRequest;
use crate::options::{Screen, Theme};
use crate::state::details::{Detail, JobPane, JobTab, SchedulePane, WorkerPane};
use crate::state::grid::Grid;
use crate::state::log::{LineKind, LineRef, Log};
use crate::state::scroll::Scroll;
use crate::state::{App, Effect, OverviewBox, Tone};

/// Lines of a log that are read when it is opened.
const TAIL: u32 = 10_000;

/// Goes to a screen.
pub(crate) fn screen(app: &mut App, screen: Screen, effects: &mut Vec<Effect>) {
    close_all(app, effects);
    if app.screen != screen {
        app.screen_before = app.screen;
        app.screen = screen;
    }
    app.message = None;
}

fn close_all(app: &mut App, effects: &mut Vec<Effect>) {
    if app.details.drain(..).any(|detail| matches!(detail, Detail::Job(_))) {
        effects.push(Effect::Unfollow);
    }
}

/// Opens what is under the cursor.
pub(crate) fn open(app: &mut App, effects: &mut Vec<Effect>) {
    if app.screen == Screen::Logs && app.detail().is_none() {
        line(app, effects);
        return;
    }
    let key = match super::keys::grid(app) {
        Some(grid) => grid.cursor().map(str::to_owned),
        None => None,
    };
    let Some(key) = key else { return };
    match app.detail() {
        Some(Detail::Worker(_)) => {
            if let Ok(id) = key.parse() {
                job(app, id, effects);
            }
            return;
        }
        Some(Detail::Schedule(pane)) => {
            let slot = pane.slots.iter().find(|slot| slot.slot.as_millis().to_string() == key);
            if let Some(id) = slot.and_then(|slot| slot.outcome.job()) {
                job(app, id, effects);
            }
            return;
        }
        Some(Detail::Job(_)) => {
            if let Ok(number) = key.parse() {
                follow(app, Some(number), effects);
            }
            return;
        }
        None => {}
    }
    match app.screen {
        Screen::Overview => overview(app, &key, effects),
        Screen::Jobs => {
            if let Ok(id) = key.parse() {
                job(app, id, effects);
            }
        }
        Screen::Queues => {
            screen(app, Screen::Jobs, effects);
            prompts::set_filter(app, format!("queue:{}", quoted(&key)));
        }
        Screen::Workers => {
            let worker = app.workers.rows.iter().find(|one| one.incarnation.to_string() == key);
            let name = worker.map(|one| one.name.to_string()).unwrap_or_default();
            let grid = Grid::default();
            app.details.push(Detail::Worker(WorkerPane {
                incarnation: key,
                name,
                worker: None,
                grid,
            }));
        }
        Screen::Schedules => {
            if let Ok(id) = key.parse() {
                let (slots, grid) = (Vec::new(), Grid::default());
                app.details.push(Detail::Schedule(SchedulePane { id, slots, grid }));
            }
        }
        Screen::Dead if app.dead.single => {
            if let Ok(id) = key.parse() {
                job(app, id, effects);
            }
        }
        Screen::Dead => super::dead::open_cause(app, &key),
        Screen::Cluster | Screen::Logs => {}
        Screen::Events => event(app, &key, effects),
        Screen::Settings => setting(app, &key, effects),
    }
}

/// Opens the job of the line under the cursor, at that line.
fn line(app: &mut App, effects: &mut Vec<Effect>) {
    let Some(line) = app.logs.log.at_cursor() else { return };
    let (id, is_gap) = (line.job, line.kind == LineKind::Gap);
    let wanted = LineRef { attempt: line.attempt, seq: line.seq, text: line.text.clone() };
    job(app, id, effects);
    if let Some(Detail::Job(pane)) = app.details.last_mut() {
        pane.goes_to = Some(wanted).filter(|_| !is_gap);
    }
}

/// Goes to what an event is about.
fn event(app: &mut App, key: &str, effects: &mut Vec<Effect>) {
    use orx_model::KnownEvent as E;
    use orx_model::event::EventBody;
    let line = app.events.iter().find(|line| line.id.to_string() == key);
    let Some(EventBody::Known(event)) = line.map(|line| line.what.clone()) else { return };
    match event {
        E::WorkerMoved { worker, .. }
        | E::WorkerLost { worker }
        | E::WorkerOrdered { worker, .. } => {
            screen(app, Screen::Workers, effects);
            app.workers.grid.go_to_key(&worker.incarnation.to_string());
        }
        E::QueueChanged { .. } => screen(app, Screen::Queues, effects),
        E::ScheduleChanged { schedule, .. } => {
            screen(app, Screen::Schedules, effects);
            app.schedules.grid.go_to_key(schedule.as_str());
        }
        E::NodeChanged { .. } => screen(app, Screen::Cluster, effects),
        other => {
            if let Some(id) = other.job().map(|of| of.id) {
                job(app, id, effects);
            }
        }
    }
}

/// A word of a filter, in quotes where it needs them.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("\"{word}\"") }
}

fn overview(app: &mut App, key: &str, effects: &mut Vec<Effect>) {
    match app.overview.focus {
        OverviewBox::Recent => {
            if let Ok(id) = key.parse() {
                job(app, id, effects);
            }
        }
        OverviewBox::Queues => {
            screen(app, Screen::Jobs, effects);
            prompts::set_filter(app, format!("queue:{}", quoted(key)));
        }
        OverviewBox::Counters => {
            let place: Option<usize> = key.parse().ok();
            if let Some(status) = place.and_then(|place| JobStatus::ALL.get(place)) {
                screen(app, Screen::Jobs, effects);
                prompts::set_filter(app, format!("status:{status}"));
            }
        }
        OverviewBox::Attention => {
            let alerts = app.facts.as_ref().map(|facts| &facts.attention);
            let place: Option<usize> = key.parse().ok();
            let alert = alerts.zip(place).and_then(|(alerts, place)| alerts.get(place));
            if let Some(to) = alert.map(|(screen, _)| *screen) {
                screen(app, to, effects);
            }
        }
    }
}

/// The screen that shows more about an alert of the server.
pub(crate) fn screen_of(alert: &str) -> Screen {
    let about = |words: &[&str]| words.iter().any(|word| alert.contains(word));
    if about(&["schedule"]) {
        Screen::Schedules
    } else if about(&["dead letter"]) {
        Screen::Dead
    } else if about(&["node", "leader", "store", "clock", "zone", "link", "leads"]) {
        Screen::Cluster
    } else if about(&["worker"]) {
        Screen::Workers
    } else if about(&["queue"]) {
        Screen::Queues
    } else {
        Screen::Jobs
    }
}

/// Opens a job at its log.
pub(crate) fn job(app: &mut App, id: JobId, effects: &mut Vec<Effect>) {
    let (mut log, mut scroll) = (Log::new(None), Scroll::new(false));
    (log.scroll.wrap, scroll.wrap) = (app.wrap, app.wrap);
    app.details.push(Detail::Job(Box::new(JobPane {
        id,
        job: None,
        tab: JobTab::Log,
        log,
        follows: 0,
        goes_to: None,
        attempts: Grid::default(),
        audit: Vec::new(),
        scroll,
    })));
    app.message = None;
    follow(app, None, effects);
}

/// Follows the log of the open job, of one attempt or of all.
fn follow(app: &mut App, attempt: Option<u32>, effects: &mut Vec<Effect>) {
    let generation = app.next_number();
    let Some(Detail::Job(pane)) = app.details.last_mut() else { return };
    let (wrap, level) = (pane.log.scroll.wrap, pane.log.level);
    pane.log = Log::new(attempt);
    (pane.log.scroll.wrap, pane.log.level) = (wrap, level);
    (pane.follows, pane.tab) = (generation, JobTab::Log);
    let request = LogRequest { job: pane.id, attempt, tail: TAIL };
    effects.push(Effect::Follow { generation, request });
}

/// Shows the log of the attempt before or after; after the last, of all.
pub(crate) fn attempt(app: &mut App, by: i64, effects: &mut Vec<Effect>) {
    let Some(Detail::Job(pane)) = app.detail() else { return };
    let last = pane.job.as_ref().map_or(0, |job| job.job.state.attempt);
    // All attempts stand after the last one.
    let at = i64::from(pane.log.attempt.unwrap_or(last.saturating_add(1)));
    let to = (at + by).clamp(1, i64::from(last) + 1);
    if to != at {
        follow(app, u32::try_from(to).ok().filter(|number| *number <= last), effects);
    }
}

/// Goes one step back: the search, the marks, the filter, the detail.
pub(crate) fn back(app: &mut App, effects: &mut Vec<Effect>) {
    if let Some(export) = app.export.take() {
        let text = format!(
            "stopped: the first {} {} are in {}",
            crate::columns::thousands(export.count),
            export.noun,
            export.path
        );
        app.notify(Tone::Plain, text);
        effects.push(Effect::StopExport);
    } else if let Some(scroll) = super::text::scroll_of(app)
        && scroll.search.is_some()
    {
        scroll.search = None;
    } else if !app.details.is_empty() {
        close_or_quit(app, effects);
    } else if super::keys::grid(app).is_some_and(|grid| grid.has_marks()) {
        if let Some(grid) = super::keys::grid(app) {
            grid.unmark();
        }
    } else if !prompts::filter_of(app).is_empty() {
        prompts::set_filter(app, String::new());
    } else if app.screen == Screen::Dead && app.dead.single {
        super::dead::by_cause(app);
    } else if app.screen != Screen::Overview {
        screen(app, Screen::Overview, effects);
    } else {
        app.message = None;
    }
}

/// What [`back`] does next, for the hint line.
pub(crate) fn back_hint(app: &App) -> Option<&'static str> {
    if app.export.is_some() {
        return Some("stop writing");
    }
    match app.detail() {
        Some(Detail::Job(pane)) => {
            let scroll = if pane.tab == JobTab::Log { &pane.log.scroll } else { &pane.scroll };
            return Some(if scroll.search.is_some() { "end search" } else { "back" });
        }
        Some(_) => return Some("back"),
        None => {}
    }
    let marked = match app.screen {
        Screen::Jobs => app.jobs.grid.has_marks(),
        Screen::Dead => app.dead.grid.has_marks(),
        _ => false,
    };
    match app.screen {
        Screen::Logs if app.logs.log.scroll.search.is_some() => Some("end search"),
        _ if marked => Some("unmark"),
        _ if !prompts::filter_of(app).is_empty() => Some("clear filter"),
        Screen::Dead if app.dead.single => Some("by cause"),
        Screen::Overview => None,
        _ => Some("overview"),
    }
}

/// Leaves the open detail.
pub(crate) fn close_or_quit(app: &mut App, effects: &mut Vec<Effect>) {
    if let Some(Detail::Job(_)) = app.details.pop() {
        effects.push(Effect::Unfollow);
    }
    app.message = None;
}

/// Changes a setting of the dashboard.
fn setting(app: &mut App, key: &str, effects: &mut Vec<Effect>) {
    match key {
        "time" => super::keys::next_time(app),
        "theme" => {
            app.look.theme = match app.look.theme {
                Theme::Ansi => Theme::Safe,
                Theme::Safe => Theme::Mono,
                Theme::Mono => Theme::Ansi,
            };
        }
        "signs" => app.look.ascii = !app.look.ascii,
        "mouse" => super::mouse::toggle(app, effects),
        _ => {}
    }
}
