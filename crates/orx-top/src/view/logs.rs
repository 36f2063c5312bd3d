//! The logs of all jobs that match a filter.

use orx_model::text::clean_line;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::text::{Row, line_row, source_style};
use super::{boxed, line_at, placeholder};
use crate::columns::thousands;
use crate::layout::Class;
use crate::state::App;
use crate::state::log::Line as LogLine;

/// Draws the screen.
pub(crate) fn draw(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let (logs, log) = (&app.logs, &app.logs.log);
    let on = |on: bool| if on { "on" } else { "off" };
    let level = match log.level {
        orx_model::log::Level::Trace => "all",
        other => other.as_str(),
    };
    let facts = vec![
        logs.filter.clone(),
        format!("follow {}", on(log.scroll.follow)),
        format!("wrap {}", on(log.scroll.wrap)),
        format!("level {level}"),
    ];
    let title = super::lists::title(app, "Logs", facts);
    let mut inside = boxed(app, title, true, area, class, buffer);
    let shown = log.shown();
    if shown.is_empty() {
        placeholder(app, inside, &empty(app), buffer);
        return;
    }
    if class >= Class::Compact && inside.height > 0 {
        let titles = format!(" {:<12} LEVEL {:<10} SOURCE TEXT", "TIME", "JOB");
        let line = Line::styled(titles, app.look.dim());
        line_at(app, &line, inside.x, inside.y, inside.width, buffer);
        inside = Rect { y: inside.y + 1, height: inside.height - 1, ..inside };
    }
    let cursor = log.cursor_place();
    let row = |place: usize| {
        let line = shown.get(place)?;
        Some(row(app, line, class).with_cursor(cursor == Some(place)))
    };
    super::text::draw(app, shown.len(), &row, &log.scroll, inside, buffer);
}

/// Why there is no line.
fn empty(app: &App) -> String {
    let logs = &app.logs;
    if let Some(failure) = &logs.failure {
        let hint = failure.hint.as_deref().unwrap_or_default();
        return format!("{}\n{}", clean_line(&failure.message), clean_line(hint));
    }
    if logs.log.len() > 0 {
        return "no line of this level; `L` changes the level".to_owned();
    }
    match (logs.log.live, app.link.is_down()) {
        (false, true) => "no server answers".to_owned(),
        (false, false) => "loading …".to_owned(),
        (true, _) if logs.filter.is_empty() => {
            "the newest jobs have printed nothing; new lines appear here".to_owned()
        }
        (true, _) => {
            "no job that matches has printed anything; new lines appear here, `\\` clears the filter"
                .to_owned()
        }
    }
}

fn row<'a>(app: &App, line: &'a LogLine, class: Class) -> Row<'a> {
    let (level, source) = line.kind.words();
    let style = source_style(app, line.kind);
    let job = format!("{}.{}", line.job, line.attempt);
    let mut head = vec![Span::raw(" ")];
    if class >= Class::Compact {
        let time = app.look.clock(line.at, app.server_now(), &*app.options.zone);
        let millis = line.at.as_millis().rem_euclid(1_000);
        head.push(Span::styled(format!("{time}.{millis:03} "), app.look.dim()));
        head.push(Span::styled(format!("{level:<5} "), style));
        head.push(Span::raw(format!("{job:<10} ")));
        head.push(Span::styled(format!("{source:<6} "), style));
    } else {
        head.push(Span::styled(format!("{job:<8} "), style));
    }
    line_row(app, line, head)
}

/// What the message line says about the logs.
pub(crate) fn status(app: &App) -> Vec<String> {
    let log = &app.logs.log;
    if log.len() == 0 {
        return Vec::new();
    }
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{} {one}s", thousands(number as u64)),
    };
    let first = if log.cut { "the last " } else { "" };
    let jobs = count(app.logs.jobs(), "job");
    let mut parts = vec![format!("{first}{} of {jobs}", count(log.len(), "line"))];
    if log.unseen > 0 {
        parts.push(format!("{} new below, f follows", thousands(log.unseen as u64)));
    }
    if let Some(search) = &log.scroll.search {
        parts.push(format!("search {}", clean_line(&search.text)));
    }
    if let Some(failure) = &app.logs.failure {
        parts.push(format!("the stream ended: {}", clean_line(&failure.message)));
    }
    parts
}
