//! The small windows over the screen: help, recent actions, what to copy, and what the palette offers.

use orx_model::text::{cells, clean_line};
use orx_model::time::format_duration;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use super::{boxed, lines};
use crate::keys::Binding;
use crate::layout::{Areas, Class};
use crate::state::grid::Grid;
use crate::state::prompt::PromptKind;
use crate::state::{App, Order, Popup};
use crate::update::keys::scopes;
use crate::update::{palette, writes};

/// Draws what is open.
pub(crate) fn draw(app: &App, areas: &Areas, buffer: &mut Buffer) -> Option<Position> {
    match &app.popup {
        Some(Popup::Help { filter, top }) => help(app, filter, *top, areas, buffer),
        Some(Popup::Actions(grid)) => actions(app, grid, areas, buffer),
        Some(Popup::Copy { choices, grid }) => copy(app, choices, grid, areas, buffer),
        Some(Popup::Sort { choices, note, grid }) => {
            sort(app, choices, note, grid, areas, buffer);
        }
        None => {}
    }
    if let Some(prompt) = app.prompt.as_ref().filter(|one| one.kind == PromptKind::Palette) {
        suggestions(app, prompt.input.value(), areas, buffer);
    }
    None
}

/// A window in the middle of the body, for this many lines. Returns what is inside.
fn window(
    app: &App,
    title: &str,
    size: (usize, usize),
    areas: &Areas,
    buffer: &mut Buffer,
) -> Rect {
    let body = areas.body;
    let width = u16::try_from(size.0 + 4).unwrap_or(u16::MAX).min(body.width);
    let height = u16::try_from(size.1 + 2).unwrap_or(u16::MAX).min(body.height);
    let area = Rect {
        x: body.x + (body.width - width) / 2,
        y: body.y + (body.height - height) / 2,
        width,
        height,
    };
    Clear.render(area, buffer);
    let title = Line::styled(title.to_owned(), app.look.bold());
    let inside = boxed(app, title, true, area, Class::Full, buffer);
    Rect { x: inside.x + 1.min(inside.width), width: inside.width.saturating_sub(2), ..inside }
}

fn help(app: &App, filter: &str, top: usize, areas: &Areas, buffer: &mut Buffer) {
    let words = filter.to_lowercase();
    let line = |binding: &Binding| {
        let keys = app.options.keys.keys(binding).join(" ");
        let found = format!("{keys} {} {}", binding.name, binding.description).to_lowercase();
        let writes = if binding.writes { "  (asks first)" } else { "" };
        found.contains(&words).then(|| {
            Line::from(vec![
                Span::styled(format!("{keys:<17}"), app.look.bold()),
                Span::raw(binding.description),
                Span::styled(writes, app.look.dim()),
            ])
        })
    };
    let all: Vec<Line<'_>> =
        app.options.keys.active(&scopes(app), app.is_read_only()).filter_map(line).collect();
    let wide = all.iter().map(Line::width).max().unwrap_or(0).max(60);
    let title = match filter.is_empty() {
        true => "Keys here   / searches, Esc closes".to_owned(),
        false => format!("Keys with `{}`", clean_line(filter)),
    };
    let inside = window(app, &title, (wide, all.len().max(1)), areas, buffer);
    if all.is_empty() {
        super::placeholder(app, inside, "no key fits", buffer);
        return;
    }
    let most = all.len().saturating_sub(usize::from(inside.height));
    let top = top.min(most);
    lines(app, all.into_iter().skip(top), inside, buffer);
    if top < most {
        let more = app.look.sign("▼", "v");
        buffer.set_string(inside.right(), inside.bottom().saturating_sub(1), more, app.look.dim());
    }
}

fn actions(app: &App, grid: &Grid, areas: &Areas, buffer: &mut Buffer) {
    let now = app.server_now();
    let rows: Vec<(String, Line<'_>)> = app
        .changes
        .iter()
        .enumerate()
        .rev()
        .map(|(place, change)| {
            let age = crate::look::short(now.max(change.at), change.at);
            let span = format_duration(app.now.mono.saturating_sub(change.started));
            let became = match change.open {
                0 => writes::outcome(change, &span).1,
                _ => "under way".to_owned(),
            };
            // How long ago it was is not how long it took.
            let became = became.replace(&format!(" ({span})"), "");
            let line = Line::from(vec![
                Span::styled(format!("{age:>6} ago  "), app.look.dim()),
                Span::styled(clean_line(&change.command).into_owned(), app.look.bold()),
                Span::raw(format!("   {}", clean_line(&became))),
            ]);
            (place.to_string(), line)
        })
        .collect();
    let wide = rows.iter().map(|(_, line)| line.width()).max().unwrap_or(0).max(50);
    let title = "Recent actions   y copies the command, Esc closes";
    let inside = window(app, title, (wide, rows.len().max(1)), areas, buffer);
    if rows.is_empty() {
        super::placeholder(app, inside, "nothing has been changed from here", buffer);
        return;
    }
    choice(app, rows, grid, inside, buffer);
}

fn copy(app: &App, choices: &[(String, String)], grid: &Grid, areas: &Areas, buffer: &mut Buffer) {
    let row = |(place, (name, text)): (usize, &(String, String))| {
        let text = clean_line(text).into_owned();
        let line =
            Line::from(vec![Span::styled(format!("{name:<18}"), app.look.bold()), Span::raw(text)]);
        (place.to_string(), line)
    };
    let rows: Vec<_> = choices.iter().enumerate().map(row).collect();
    let inside = window(app, "Copy   Enter copies, Esc closes", (70, rows.len()), areas, buffer);
    choice(app, rows, grid, inside, buffer);
}

fn sort(
    app: &App,
    choices: &[(String, Order)],
    note: &str,
    grid: &Grid,
    areas: &Areas,
    buffer: &mut Buffer,
) {
    let rows: Vec<_> = choices
        .iter()
        .enumerate()
        .map(|(place, (name, _))| (place.to_string(), Line::raw(name.clone())))
        .collect();
    let width = usize::from(areas.body.width).saturating_sub(4).min(64);
    let notes = wrapped(note, width);
    let size = (width, rows.len() + notes.len());
    let title = "Order   Enter chooses, S reverses, Esc closes";
    let inside = window(app, title, size, areas, buffer);
    let below = u16::try_from(notes.len()).unwrap_or(0).min(inside.height);
    let list = Rect { height: inside.height - below, ..inside };
    choice(app, rows, grid, list, buffer);
    let area = Rect { y: list.bottom(), height: below, ..inside };
    let notes = notes.into_iter().map(|line| Line::styled(line, app.look.dim()));
    lines(app, notes, area, buffer);
}

/// The words of a text in lines of this width.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match all.last_mut().filter(|line| cells(line) + 1 + cells(word) <= width) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => all.push(word.to_owned()),
        }
    }
    all
}

fn choice(app: &App, rows: Vec<(String, Line<'_>)>, grid: &Grid, area: Rect, buffer: &mut Buffer) {
    let height = usize::from(area.height);
    let top = (grid.index() + 1).saturating_sub(height);
    for (y, (key, line)) in (area.y..area.bottom()).zip(rows.iter().skip(top)) {
        super::line_at(app, line, area.x, y, area.width, buffer);
        if grid.cursor() == Some(key.as_str()) {
            buffer.set_style(Rect { y, height: 1, ..area }, app.look.reverse());
        }
    }
}

fn suggestions(app: &App, line: &str, areas: &Areas, buffer: &mut Buffer) {
    let all = palette::suggestions(app, line);
    if all.is_empty() {
        return;
    }
    let body = areas.body;
    let height = u16::try_from(all.len() + 2).unwrap_or(u16::MAX).min(body.height);
    let wide = all.iter().map(|(_, text)| cells(text)).max().unwrap_or(0) + 22;
    let width = u16::try_from(wide).unwrap_or(u16::MAX).min(body.width);
    let area = Rect { x: body.x, y: body.bottom() - height, width, height };
    Clear.render(area, buffer);
    let title = Line::styled("Tab completes, Enter runs", app.look.dim());
    let inside = boxed(app, title, true, area, Class::Full, buffer);
    let room = usize::from(inside.height);
    let fits = if all.len() > room { room.saturating_sub(1) } else { room };
    let more = all.len().saturating_sub(fits);
    let shown = all.iter().take(fits).map(|(name, text)| {
        Line::from(vec![
            Span::styled(format!(" {name:<16}"), app.look.bold()),
            Span::raw(text.clone()),
        ])
    });
    let dots = app.look.sign("…", "...");
    let more = (more > 0)
        .then(|| Line::styled(format!(" {dots} {more} more: typing narrows them"), app.look.dim()));
    lines(app, shown.chain(more), inside, buffer);
}
