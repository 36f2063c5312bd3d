//! The screens that are one list.

use orx_model::text::clean_line;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::table::{List, draw};
use super::{boxed, placeholder};
use crate::columns::{
    CAUSES, Column, EVENTS, JOBS, LETTERS, NARROW_JOBS, QUEUES, SCHEDULES, WORKERS, thousands,
};
use crate::layout::Class;
use crate::options::Screen;
use crate::state::details::Detail;
use crate::state::grid::Grid;
use crate::state::{App, Listed, Purpose};

pub(super) fn never<R>(_: &R) -> bool {
    false
}

/// Why a list has no rows: it is loading, refused or empty.
pub(crate) fn empty_text(
    app: &App,
    purpose: Option<&Purpose>,
    loaded: bool,
    empty: &str,
) -> String {
    let failed = purpose.and_then(|purpose| app.calls.failed.get(purpose));
    if let Some(failure) = failed {
        let hint = failure.hint.as_deref().unwrap_or_default();
        return format!("{}\n{}", clean_line(&failure.message), clean_line(hint));
    }
    if !loaded {
        return match app.link.is_down() {
            true => "no server answers".to_owned(),
            false => "loading …".to_owned(),
        };
    }
    empty.to_owned()
}

pub(crate) fn title<'a>(app: &App, name: &'a str, facts: Vec<String>) -> Line<'a> {
    let mut spans = vec![Span::styled(name, app.look.bold())];
    for fact in facts.into_iter().filter(|fact| !fact.is_empty()) {
        spans.push(Span::raw(format!("  {}", clean_line(&fact))));
    }
    Line::from(spans)
}

/// The list of jobs.
pub(crate) fn jobs(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let pages = &app.jobs.pages;
    let found = pages.count.map(|count| match count.exact {
        true => format!("{} found", thousands(count.count)),
        false => format!("more than {} found", thousands(count.count)),
    });
    let order = if pages.oldest_first { "oldest first" } else { "newest first" };
    let facts = vec![pages.filter.clone(), found.unwrap_or_default(), order.to_owned()];
    let inside = boxed(app, title(app, "Jobs", facts), true, area, class, buffer);
    let rows = pages.rows();
    if rows.is_empty() {
        let failed = app.calls.failed.keys().find(|one| matches!(one, Purpose::Jobs(_)));
        let empty = match pages.filter.is_empty() {
            true => "no jobs yet; `orx enqueue` and `orx run` add some".to_owned(),
            false => "no job matches the filter; `\\` clears it".to_owned(),
        };
        placeholder(app, inside, &empty_text(app, failed, pages.loaded, &empty), buffer);
        return;
    }
    let columns: &'static [Column<_>] = if class == Class::Narrow { NARROW_JOBS } else { JOBS };
    let gone = |job: &orx_model::JobSummary| pages.is_gone(job.id);
    let list = List {
        columns,
        rows,
        grid: &app.jobs.grid,
        focused: true,
        sorted: None,
        key: |job| job.id.to_string(),
        gone: &gone,
    };
    draw(app, &list, inside, class, buffer);
}

/// The title of the column that a list is sorted by.
fn sorted<R>(list: &Listed<R>, columns: &'static [Column<R>]) -> Option<(&'static str, bool)> {
    let mut ordered = columns.iter().filter(|column| column.order.is_some());
    ordered.nth(list.sort?).map(|column| (column.title, list.reverse))
}

struct Simple<'a, R: 'static> {
    name: &'a str,
    list: &'a Listed<R>,
    columns: &'static [Column<R>],
    purpose: Purpose,
    key: fn(&R) -> String,
    empty: &'a str,
}

fn simple<R>(app: &App, simple: &Simple<'_, R>, area: Rect, class: Class, buffer: &mut Buffer) {
    let (list, columns) = (simple.list, simple.columns);
    let facts = vec![thousands(list.rows.len() as u64)];
    let inside = boxed(app, title(app, simple.name, facts), true, area, class, buffer);
    if list.rows.is_empty() {
        let loaded = app.calls.answered.contains_key(&simple.purpose);
        let text = empty_text(app, Some(&simple.purpose), loaded, simple.empty);
        placeholder(app, inside, &text, buffer);
        return;
    }
    let shown = List {
        columns,
        rows: list.rows.iter().collect(),
        grid: &list.grid,
        focused: true,
        sorted: sorted(list, columns),
        key: simple.key,
        gone: &never,
    };
    draw(app, &shown, inside, class, buffer);
}

/// The queues.
pub(crate) fn queues(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let it = Simple {
        name: "Queues",
        list: &app.queues,
        columns: QUEUES,
        purpose: Purpose::Queues,
        key: |queue| queue.queue.to_string(),
        empty: "no queue has jobs",
    };
    simple(app, &it, area, class, buffer);
}

/// The workers.
pub(crate) fn workers(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let it = Simple {
        name: "Workers",
        list: &app.workers,
        columns: WORKERS,
        purpose: Purpose::Workers,
        key: |worker| worker.incarnation.to_string(),
        empty: "no worker is known; `orx daemon worker` starts one",
    };
    simple(app, &it, area, class, buffer);
}

/// The schedules.
pub(crate) fn schedules(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let it = Simple {
        name: "Schedules",
        list: &app.schedules,
        columns: SCHEDULES,
        purpose: Purpose::Schedules,
        key: |schedule| schedule.id.to_string(),
        empty: "no schedules yet; `orx schedule add` adds one",
    };
    simple(app, &it, area, class, buffer);
}

/// The dead letters.
pub(crate) fn dead(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let dead = &app.dead;
    let rows = if dead.single { dead.letters.len() } else { dead.causes.len() };
    let loaded = thousands(rows as u64);
    let cause = dead.cause.and_then(|id| dead.causes.iter().find(|one| one.cause_id == id));
    let of = cause.map(|cause| format!("{}: {}", cause.name, cause.cause));
    let facts = vec![
        dead.filter.clone(),
        match (dead.single, dead.cause) {
            (false, _) => "by cause".to_owned(),
            (true, None) => "one by one".to_owned(),
            (true, Some(id)) => of.unwrap_or_else(|| format!("cause {id}")),
        },
        match (dead.more, dead.single) {
            (false, _) => loaded,
            (true, true) => format!("the newest {loaded}"),
            (true, false) => format!("the {loaded} most frequent"),
        },
    ];
    let inside = boxed(app, title(app, "Dead letters", facts), true, area, class, buffer);
    if rows == 0 {
        let purpose = Purpose::Dead(dead.generation);
        let loaded = app.calls.answered.contains_key(&purpose);
        let empty = match dead.filter.is_empty() {
            true => "no dead letters: no job has used up its tries",
            false => "no dead letter matches the filter; `\\` clears it",
        };
        placeholder(app, inside, &empty_text(app, Some(&purpose), loaded, empty), buffer);
    } else if dead.single {
        let list = List {
            columns: LETTERS,
            rows: dead.letters.iter().collect(),
            grid: &dead.grid,
            focused: true,
            sorted: None,
            key: |letter| letter.job.id.to_string(),
            gone: &never,
        };
        draw(app, &list, inside, class, buffer);
    } else {
        let list = List {
            columns: CAUSES,
            rows: dead.causes.iter().collect(),
            grid: &dead.grid,
            focused: true,
            sorted: None,
            key: |cause| cause.cause_id.to_string(),
            gone: &never,
        };
        draw(app, &list, inside, class, buffer);
    }
}

/// The changes of workers, queues, schedules and nodes.
pub(crate) fn events(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let facts = vec!["newest first".to_owned()];
    let inside = boxed(app, title(app, "Events", facts), true, area, class, buffer);
    if app.events.is_empty() {
        let text = match app.streams.last_messages.contains_key(&crate::api::Topic::Events) {
            true => "nothing has happened since the node started",
            false if app.link.is_down() => "no server answers",
            false => "waiting for the stream of events …",
        };
        placeholder(app, inside, text, buffer);
        return;
    }
    let list = List {
        columns: EVENTS,
        rows: app.events.iter().collect(),
        grid: &app.events_grid,
        focused: true,
        sorted: None,
        key: |line| line.id.to_string(),
        gone: &never,
    };
    draw(app, &list, inside, class, buffer);
}

/// What stands in the message line while nothing else does: marks, the row, and what waits above.
pub(crate) fn status_line(app: &App) -> String {
    let mut parts = Vec::new();
    if let Some(export) = &app.export {
        let count = thousands(export.count);
        parts.push(format!("writing {}: {count} {} so far", export.path, export.noun));
    }
    let some_row = |grid: &Grid| {
        let place = grid.cursor().map(|_| (grid.index() + 1).to_string());
        let place = place.unwrap_or_else(|| "-".to_owned());
        (grid.len() > 0).then(|| format!("row {place} of {}", thousands(grid.len() as u64)))
    };
    let marks = |grid: &Grid| match (grid.all_marked, grid.marks().len()) {
        (true, _) => Some("everything that matches is marked".to_owned()),
        (false, 0) => None,
        (false, count) => Some(format!("{} marked", thousands(count as u64))),
    };
    match (app.detail(), app.screen) {
        (Some(Detail::Worker(pane)), _) => parts.extend(some_row(&pane.grid)),
        (Some(Detail::Schedule(pane)), _) => parts.extend(some_row(&pane.grid)),
        (Some(_), _) => {}
        (None, Screen::Jobs) => {
            let pages = &app.jobs.pages;
            parts.extend(marks(&app.jobs.grid));
            match pages.is_whole() {
                true => parts.extend(some_row(&app.jobs.grid)),
                false => parts.push("part of the list".to_owned()),
            }
            if pages.waiting > 0 {
                let sign = app.look.sign("▲", "^");
                let plus =
                    if pages.waiting >= crate::state::pages::PAGE as usize { "+" } else { "" };
                parts.push(format!("{sign} {}{plus} new above, g loads", pages.waiting));
            }
        }
        (None, Screen::Queues) => parts.extend(some_row(&app.queues.grid)),
        (None, Screen::Workers) => parts.extend(some_row(&app.workers.grid)),
        (None, Screen::Schedules) => parts.extend(some_row(&app.schedules.grid)),
        (None, Screen::Dead) => {
            parts.extend(marks(&app.dead.grid));
            parts.extend(some_row(&app.dead.grid));
        }
        (None, Screen::Settings) => parts.extend(some_row(&app.settings)),
        (None, Screen::Events) => parts.extend(some_row(&app.events_grid)),
        (None, Screen::Logs) => parts.extend(super::logs::status(app)),
        (None, Screen::Overview | Screen::Cluster) => {}
    }
    parts.join(app.look.separator())
}
