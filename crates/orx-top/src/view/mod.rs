//! Draws the state. Nothing here changes it.

pub(crate) mod chrome;
pub(crate) mod cluster;
pub(crate) mod detail;
pub(crate) mod job;
pub(crate) mod lists;
pub(crate) mod logs;
pub(crate) mod overview;
pub(crate) mod popup;
pub(crate) mod question;
pub(crate) mod settings;
pub(crate) mod table;
pub(crate) mod text;

use orx_model::text::truncate_cells;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use crate::columns::Context;
use crate::layout::{self, Class};
use crate::options::Screen;
use crate::state::App;
use crate::state::details::Detail;

/// Draws everything. Returns where the cursor of the terminal is, if a line is being edited.
pub(crate) fn draw(app: &App, buffer: &mut Buffer) -> Option<Position> {
    let class = layout::class(app.size);
    if class == Class::Tiny {
        tiny(app, buffer);
        return None;
    }
    let areas = layout::areas(app.size);
    chrome::header(app, areas.header, buffer);
    if areas.tabs.height > 0 {
        chrome::tabs(app, areas.tabs, buffer);
    }
    body(app, areas.body, class, buffer);
    if app.link.stale(app.now.mono).is_some() || (app.link.is_down() && app.facts.is_some()) {
        buffer.set_style(areas.body, app.look.dim());
    }
    let cursor = chrome::bottom(app, &areas, buffer);
    let over = popup::draw(app, &areas, buffer);
    let asked = question::draw(app, &areas, buffer);
    asked.or(over).or(cursor)
}

fn body(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    match app.detail() {
        Some(Detail::Job(pane)) => return job::draw(app, pane, class, buffer),
        Some(Detail::Worker(pane)) => return detail::worker(app, pane, area, class, buffer),
        Some(Detail::Schedule(pane)) => return detail::schedule(app, pane, area, class, buffer),
        None => {}
    }
    match app.screen {
        Screen::Overview => overview::draw(app, area, class, buffer),
        Screen::Jobs => lists::jobs(app, area, class, buffer),
        Screen::Queues => lists::queues(app, area, class, buffer),
        Screen::Workers => lists::workers(app, area, class, buffer),
        Screen::Schedules => lists::schedules(app, area, class, buffer),
        Screen::Dead => lists::dead(app, area, class, buffer),
        Screen::Cluster => cluster::draw(app, area, class, buffer),
        Screen::Logs => logs::draw(app, area, class, buffer),
        Screen::Events => lists::events(app, area, class, buffer),
        Screen::Settings => settings::settings(app, area, class, buffer),
    }
}

/// A terminal too small for any list.
fn tiny(app: &App, buffer: &mut Buffer) {
    let (link, _) = chrome::link(app);
    let text = match &app.facts {
        None => link,
        Some(facts) => {
            let counts = &facts.counts;
            let (run, wait) = (counts.running + counts.dispatched, counts.pending);
            let bad = if app.link.is_down() || app.link.stale(app.now.mono).is_some() {
                format!("{link} ")
            } else {
                String::new()
            };
            format!("{bad}{run} run {wait} wait {} dead", facts.dead_letters)
        }
    };
    let area = Rect::new(0, 0, app.size.0, app.size.1);
    let lines = [Line::raw(text), Line::raw("40x8 shows a list"), Line::raw("q quits")];
    self::lines(app, lines, area, buffer);
}

/// What cells depend on beside their row.
pub(crate) fn context(app: &App) -> Context<'_> {
    Context { look: app.look, now: app.server_now(), zone: &*app.options.zone }
}

/// A box with a title, and what is inside. The narrow layouts draw no border.
pub(crate) fn boxed(
    app: &App,
    title: Line<'_>,
    focused: bool,
    area: Rect,
    class: Class,
    buffer: &mut Buffer,
) -> Rect {
    if area.is_empty() {
        return area;
    }
    if class >= Class::Compact {
        let border = if focused { Style::new() } else { app.look.dim() };
        let mut spans = vec![Span::raw(" ")];
        let most = usize::from(area.width).saturating_sub(4);
        let mut used = 0;
        for span in title.spans {
            let text = truncate_cells(&span.content, most.saturating_sub(used), app.look.ascii);
            used += orx_model::text::cells(&text);
            spans.push(Span::styled(text.into_owned(), span.style));
        }
        spans.push(Span::raw(" "));
        let mut block = Block::bordered().border_set(app.look.border()).border_style(border);
        if used > 0 {
            block = block.title(Line::from(spans));
        }
        block.render(area, buffer);
    }
    layout::inside(area, class)
}

/// Lines of text from the top of an area, each cut to its width.
pub(crate) fn lines<'a>(
    app: &App,
    lines: impl IntoIterator<Item = Line<'a>>,
    area: Rect,
    buffer: &mut Buffer,
) {
    for (y, line) in (area.y..area.bottom()).zip(lines) {
        line_at(app, &line, area.x, y, area.width, buffer);
    }
}

/// A line of text at a place, cut to a width with `…`.
pub(crate) fn line_at(app: &App, line: &Line<'_>, x: u16, y: u16, width: u16, buffer: &mut Buffer) {
    let mut left = usize::from(width);
    let mut at = x;
    for span in &line.spans {
        if left == 0 {
            break;
        }
        let text = truncate_cells(&span.content, left, app.look.ascii);
        let (end, _) = buffer.set_stringn(at, y, &text, left, line.style.patch(span.style));
        left = left.saturating_sub(usize::from(end.saturating_sub(at)));
        at = end;
    }
}

/// Words in place of data that is not there: loading, refused, or nothing.
pub(crate) fn placeholder(app: &App, area: Rect, text: &str, buffer: &mut Buffer) {
    let text = match app.look.ascii {
        true => text.replace('…', "..."),
        false => text.to_owned(),
    };
    let words: Vec<Line<'_>> =
        text.lines().map(|line| Line::styled(line, app.look.dim())).collect();
    let inner = Rect { x: area.x + 1.min(area.width), width: area.width.saturating_sub(2), ..area };
    lines(app, words, inner, buffer);
}
