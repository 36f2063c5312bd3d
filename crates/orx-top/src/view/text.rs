//! Texts: the log of a job, and lines that do not grow.

use std::borrow::Cow;

use orx_model::log::Level;
use orx_model::text::cells;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::placeholder;
use crate::ansi;
use crate::options::Theme;
use crate::state::App;
use crate::state::details::JobPane;
use crate::state::log::{Line as LogLine, LineKind};
use crate::state::scroll::Scroll;

/// A line to draw: what stands before it, and its text.
pub(super) struct Row<'a> {
    head: Vec<Span<'a>>,
    body: Vec<Span<'a>>,
    plain: Cow<'a, str>,
    /// The cursor is on it.
    at_cursor: bool,
}

impl Row<'_> {
    /// The same, with the cursor on it or not.
    pub(super) fn with_cursor(self, at_cursor: bool) -> Self {
        Self { at_cursor, ..self }
    }

    fn head_cells(&self) -> usize {
        self.head.iter().map(|span| cells(&span.content)).sum()
    }

    /// The lines of the screen that it takes.
    fn height(&self, width: usize, wrap: bool) -> usize {
        if !wrap {
            return 1;
        }
        let room = width.saturating_sub(self.head_cells()).max(1);
        cells(&self.plain).div_ceil(room).max(1)
    }
}

/// Draws the log of a job.
pub(crate) fn log(app: &App, pane: &JobPane, area: Rect, buffer: &mut Buffer) {
    let shown = pane.log.shown();
    if shown.is_empty() {
        let text = match (pane.log.ended || pane.log.live, pane.log.ended) {
            (_, true) => "it has printed nothing",
            (true, false) => "nothing printed yet; new lines appear here",
            (false, false) if app.link.is_down() => "no server answers",
            (false, false) => "loading …",
        };
        placeholder(app, area, text, buffer);
        return;
    }
    let narrow = area.width < 60;
    let many =
        pane.log.attempt.is_none() && shown.iter().any(|line| line.attempt != shown[0].attempt);
    let row = |place: usize| {
        let at_cursor = |line: &LogLine| pane.log.cursor == Some(line.number);
        let line = shown.get(place)?;
        Some(log_row(app, line, narrow, many).with_cursor(at_cursor(line)))
    };
    draw(app, shown.len(), &row, &pane.log.scroll, area, buffer);
}

/// The style of the words that say where a line comes from.
pub(super) fn source_style(app: &App, kind: LineKind) -> Style {
    let look = app.look;
    match kind {
        LineKind::Out | LineKind::Unfinished | LineKind::Log(Level::Info) => Style::new(),
        LineKind::Err | LineKind::Log(Level::Warn) => look.warning(),
        LineKind::Log(Level::Error) => look.bad(),
        LineKind::Log(Level::Debug | Level::Trace) => look.dim(),
        LineKind::Gap => look.trouble(),
    }
}

fn log_row<'a>(app: &App, line: &'a LogLine, narrow: bool, many: bool) -> Row<'a> {
    let look = app.look;
    let (level, source) = line.kind.words();
    let (source, style) =
        (if level.is_empty() { source } else { level }, source_style(app, line.kind));
    let mut head = if narrow { Vec::new() } else { vec![Span::raw(" ")] };
    if !narrow {
        let time = look.clock(line.at, app.server_now(), &*app.options.zone);
        let millis = line.at.as_millis().rem_euclid(1_000);
        head.push(Span::styled(format!("{time}.{millis:03} "), look.dim()));
    }
    if many {
        head.push(Span::styled(format!(".{} ", line.attempt), look.dim()));
    }
    head.push(Span::styled(format!("{source:<5} "), style));
    line_row(app, line, head)
}

/// The text of a line, behind this head.
pub(super) fn line_row<'a>(app: &App, line: &'a LogLine, head: Vec<Span<'a>>) -> Row<'a> {
    let look = app.look;
    let coloured = look.theme != Theme::Mono;
    let base = if line.kind == LineKind::Gap { look.dim() } else { Style::new() };
    let mut body = ansi::spans(&line.text, base, coloured);
    let mut plain = ansi::plain(&line.text);
    if line.kind == LineKind::Gap {
        let dots = look.sign("⋯", "...");
        let text = format!("{dots} {} {dots}", line.text);
        body = vec![Span::styled(text.clone(), base)];
        plain = Cow::Owned(text);
    }
    Row { head, body, plain, at_cursor: false }
}

/// Draws lines that do not grow.
pub(crate) fn plain(app: &App, lines: &[String], scroll: &Scroll, area: Rect, buffer: &mut Buffer) {
    let row = |place: usize| {
        lines.get(place).map(|line| Row {
            head: vec![Span::raw(" ")],
            body: vec![Span::raw(line.as_str())],
            plain: Cow::Borrowed(line.as_str()),
            at_cursor: false,
        })
    };
    draw(app, lines.len(), &row, scroll, area, buffer);
}

pub(super) fn draw<'a>(
    app: &App,
    total: usize,
    row: &dyn Fn(usize) -> Option<Row<'a>>,
    scroll: &Scroll,
    area: Rect,
    buffer: &mut Buffer,
) {
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    if width == 0 || height == 0 {
        return;
    }
    let mut skip = 0;
    let mut place = scroll.top;
    if scroll.follow {
        // From the end back, until the area is full.
        place = total;
        let mut used = 0;
        while place > 0 && used < height {
            place -= 1;
            used += row(place).map_or(1, |row| row.height(width, scroll.wrap));
        }
        skip = used.saturating_sub(height);
    }
    let mut y = area.y;
    while y < area.bottom()
        && let Some(line) = row(place)
    {
        let lines = line.height(width, scroll.wrap);
        for part in 0..lines {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            if y >= area.bottom() {
                break;
            }
            draw_row(app, &line, scroll, part, Rect { y, height: 1, ..area }, buffer);
            y += 1;
        }
        place += 1;
    }
}

/// Draws one line of the screen: the part of a row that is in view.
fn draw_row(
    app: &App,
    row: &Row<'_>,
    scroll: &Scroll,
    part: usize,
    area: Rect,
    buffer: &mut Buffer,
) {
    let head = row.head_cells();
    let room = usize::from(area.width).saturating_sub(head);
    if part == 0 {
        super::line_at(app, &Line::from(row.head.clone()), area.x, area.y, area.width, buffer);
    }
    let from = if scroll.wrap { part * room } else { scroll.left };
    let left = area.x.saturating_add(u16::try_from(head).unwrap_or(u16::MAX));
    let mut cell = 0;
    for span in &row.body {
        for one in span.styled_graphemes(Style::new()) {
            let wide = cells(one.symbol);
            let at = cell;
            cell += wide;
            if at < from || at + wide > from + room || wide == 0 {
                continue;
            }
            let x = left.saturating_add(u16::try_from(at - from).unwrap_or(u16::MAX));
            if x < area.right() {
                buffer.set_stringn(x, area.y, one.symbol, wide, one.style);
            }
        }
    }
    if !scroll.wrap && cell > from + room && room > 0 {
        let sign = app.look.sign("…", "~");
        buffer.set_string(area.right() - 1, area.y, sign, app.look.dim());
    }
    if row.at_cursor {
        buffer.set_style(area, app.look.reverse());
        buffer.set_string(area.x, area.y, app.look.sign("▌", ">"), Style::new());
    }
    if let Some(search) = &scroll.search {
        for range in search.matches(&row.plain) {
            let start = cells(&row.plain[..range.start]);
            let end = start + cells(&row.plain[range]);
            let (start, end) = (start.max(from), end.min(from + room));
            if start < end {
                let x = left.saturating_add(u16::try_from(start - from).unwrap_or(u16::MAX));
                let wide = u16::try_from(end - start).unwrap_or(0);
                let spot = Rect { x, y: area.y, width: wide, height: 1 };
                buffer.set_style(spot.intersection(area), app.look.reverse());
            }
        }
    }
}
