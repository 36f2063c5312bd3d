//! Where things are, by the size of the terminal. The view draws there, and the update scrolls by it.

use ratatui::layout::{Constraint, Layout, Rect};

use crate::options::Screen;
use crate::state::details::Detail;
use crate::state::{App, OverviewBox};

/// A kind of layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Counters and the size that would show more.
    Tiny,
    /// A header, a list, a hint line.
    Narrow,
    /// Boxes below each other.
    Compact,
    /// Boxes beside each other.
    Full,
}

/// The layout for a size.
pub(crate) fn class((width, height): (u16, u16)) -> Class {
    match (width, height) {
        (110.., 30..) => Class::Full,
        (80.., 20..) => Class::Compact,
        (40.., 8..) => Class::Narrow,
        _ => Class::Tiny,
    }
}

/// The lines of the screen. An area that a layout does not have is empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Areas {
    pub(crate) header: Rect,
    pub(crate) tabs: Rect,
    pub(crate) body: Rect,
    pub(crate) message: Rect,
    pub(crate) hints: Rect,
}

pub(crate) fn areas(size: (u16, u16)) -> Areas {
    let whole = Rect::new(0, 0, size.0, size.1);
    let lines = match class(size) {
        Class::Tiny | Class::Narrow => [1, 0, 0, 1],
        Class::Compact | Class::Full => [1, 1, 1, 1],
    };
    let [header, tabs, message, hints] = lines.map(Constraint::Length);
    let [header, tabs, body, message, hints] =
        Layout::vertical([header, tabs, Constraint::Min(0), message, hints]).areas(whole);
    Areas { header, tabs, body, message, hints }
}

/// The boxes of the overview.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverviewAreas {
    pub(crate) counters: Rect,
    pub(crate) rates: Rect,
    pub(crate) queues: Rect,
    pub(crate) recent: Rect,
    pub(crate) attention: Rect,
}

pub(crate) fn overview(body: Rect, class: Class, alerts: u16) -> OverviewAreas {
    let none = Rect::new(body.x, body.y, 0, 0);
    match class {
        Class::Full => {
            let [upper, lower] =
                Layout::vertical([Constraint::Length(12), Constraint::Min(0)]).areas(body);
            let [counters, rates, queues] = Layout::horizontal([
                Constraint::Length(26),
                Constraint::Length(38),
                Constraint::Min(0),
            ])
            .areas(upper);
            let [recent, attention] =
                Layout::horizontal([Constraint::Min(0), Constraint::Length(36)]).areas(lower);
            OverviewAreas { counters, rates, queues, recent, attention }
        }
        Class::Compact => {
            let alerts = alerts.clamp(1, 3) + 2;
            let [counters, queues, attention, recent] = Layout::vertical([
                Constraint::Length(2),
                Constraint::Length(6),
                Constraint::Length(alerts),
                Constraint::Min(0),
            ])
            .areas(body);
            OverviewAreas { counters, rates: none, queues, recent, attention }
        }
        Class::Narrow | Class::Tiny => {
            let [counters, recent] =
                Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(body);
            OverviewAreas { counters, rates: none, queues: none, recent, attention: none }
        }
    }
}

/// The parts of an open job: its fields, the tabs, the text.
pub(crate) fn job(body: Rect, class: Class, progress: bool) -> [Rect; 3] {
    let fields = match class {
        Class::Full => 5 + u16::from(progress),
        Class::Compact => 6 + u16::from(progress),
        Class::Narrow | Class::Tiny => 1,
    };
    let parts = [Constraint::Length(fields), Constraint::Length(1), Constraint::Min(0)];
    Layout::vertical(parts).areas(body)
}

/// The parts of an open worker or schedule: its fields, and the list below.
pub(crate) fn fields_and_list(body: Rect, class: Class) -> [Rect; 2] {
    let fields = match class {
        Class::Full | Class::Compact => 6,
        Class::Narrow | Class::Tiny => 2,
    };
    Layout::vertical([Constraint::Length(fields), Constraint::Min(0)]).areas(body)
}

/// What is inside the border of a box, which the narrow layouts do without.
pub(crate) fn inside(area: Rect, class: Class) -> Rect {
    match class {
        Class::Full | Class::Compact => Rect {
            x: area.x + u16::from(area.width > 0),
            y: area.y + u16::from(area.height > 0),
            width: area.width.saturating_sub(2),
            height: area.height.saturating_sub(2),
        },
        Class::Narrow | Class::Tiny => area,
    }
}

/// The rows of a list with a line of titles in a box.
pub(crate) fn rows(area: Rect, class: Class) -> usize {
    let titles = u16::from(class >= Class::Compact);
    usize::from(inside(area, class).height.saturating_sub(titles))
}

/// Whether a list has a line of titles; the narrow list of jobs does without.
pub(crate) fn has_titles(first: &str, class: Class) -> bool {
    class >= Class::Compact || !first.is_empty()
}

/// The parts of the open job, as they are now.
pub(crate) fn job_areas(app: &App) -> [Rect; 3] {
    let progress = match app.detail() {
        Some(Detail::Job(pane)) => pane.job.as_ref().is_some_and(|job| {
            job.job.state.live.as_ref().is_some_and(|live| live.progress.is_some())
        }),
        _ => false,
    };
    job(areas(app.size).body, class(app.size), progress)
}

/// The text that is open, inside its box: columns and lines.
pub(crate) fn text_size(app: &App) -> (usize, usize) {
    if app.screen == Screen::Logs && app.detail().is_none() {
        let class = class(app.size);
        let text = inside(areas(app.size).body, class);
        let titles = u16::from(class >= Class::Compact);
        return (usize::from(text.width), usize::from(text.height.saturating_sub(titles)));
    }
    let text = inside(job_areas(app)[2], class(app.size));
    (usize::from(text.width), usize::from(text.height))
}

/// Tells every list how many rows fit.
pub(crate) fn fit(app: &mut App) {
    let class = class(app.size);
    let body = areas(app.size).body;
    let whole = usize::from(inside(body, class).height.saturating_sub(1));
    let alerts = app.facts.as_ref().map_or(0, |facts| facts.attention.len());
    let boxes = overview(body, class, u16::try_from(alerts).unwrap_or(u16::MAX));
    let list = fields_and_list(body, class)[1];
    let list = usize::from(inside(list, class).height.saturating_sub(1));
    let text = text_size(app).1.saturating_sub(1);
    app.overview.counters.set_height(usize::from(inside(boxes.counters, class).height).max(9));
    app.overview.queues.set_height(rows(boxes.queues, class));
    app.overview.recent.set_height(rows(boxes.recent, class));
    app.overview.attention.set_height(usize::from(inside(boxes.attention, class).height));
    app.jobs.grid.set_height(rows(body, class));
    app.queues.grid.set_height(whole);
    app.workers.grid.set_height(whole);
    app.schedules.grid.set_height(whole);
    app.dead.grid.set_height(whole);
    let nodes = inside(crate::view::cluster::nodes_area(body, class), class);
    app.nodes.set_height(usize::from(nodes.height.saturating_sub(1)));
    app.settings.set_height(whole);
    app.events_grid.set_height(whole);
    match app.details.last_mut() {
        Some(Detail::Job(pane)) => pane.attempts.set_height(text),
        Some(Detail::Worker(pane)) => pane.grid.set_height(list),
        Some(Detail::Schedule(pane)) => pane.grid.set_height(list),
        None => {}
    }
}

/// The boxes of the overview that are on the screen, in the order of Tab.
pub(crate) fn overview_boxes(class: Class) -> &'static [OverviewBox] {
    match class {
        Class::Full | Class::Compact => &OverviewBox::ALL,
        Class::Narrow | Class::Tiny => &[OverviewBox::Recent],
    }
}
