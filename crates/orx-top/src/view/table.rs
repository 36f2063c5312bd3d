//! A list with columns, a cursor and marks.

use orx_model::text::{cells, truncate_cells};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::context;
use crate::columns::{Column, GAP, fit};
use crate::layout::{self, Class};
use crate::state::App;
use crate::state::grid::Grid;

/// Cells before the first column: the cursor and the mark.
const MARGIN: u16 = 2;

/// A list to draw.
pub(crate) struct List<'a, R: 'static> {
    pub(crate) columns: &'static [Column<R>],
    pub(crate) rows: Vec<&'a R>,
    pub(crate) grid: &'a Grid,
    /// The keys go to this list.
    pub(crate) focused: bool,
    /// The title of the column that it is sorted by, and whether in reverse.
    pub(crate) sorted: Option<(&'static str, bool)>,
    pub(crate) key: fn(&R) -> String,
    /// Rows that do not belong here any more.
    pub(crate) gone: &'a dyn Fn(&R) -> bool,
}

/// Draws the rows in view.
pub(crate) fn draw<R>(
    app: &App,
    list: &List<'_, R>,
    area: Rect,
    class: Class,
    buffer: &mut Buffer,
) {
    if area.height == 0 || area.width <= MARGIN {
        return;
    }
    let columns = fit(list.columns, area.width.saturating_sub(MARGIN + 1));
    let mut y = area.y;
    if layout::has_titles(list.columns[0].title, class) {
        titles(app, list, &columns, area, y, buffer);
        y += 1;
    }
    let context = context(app);
    let cursor = list.grid.cursor();
    for row in list.rows.iter().skip(list.grid.top()).take(usize::from(area.bottom() - y)) {
        let key = (list.key)(row);
        let at_cursor = cursor == Some(key.as_str());
        let dim = if (list.gone)(row) { app.look.dim() } else { Style::new() };
        let mut x = area.x + MARGIN;
        for (column, width) in &columns {
            let cell = (column.cell)(row, &context);
            let text = truncate_cells(&cell.text, usize::from(*width), app.look.ascii);
            let shift =
                if column.right { usize::from(*width).saturating_sub(cells(&text)) } else { 0 };
            let at = x.saturating_add(u16::try_from(shift).unwrap_or(0));
            buffer.set_stringn(at, y, &text, usize::from(*width), cell.style.patch(dim));
            x = x.saturating_add(*width + GAP);
        }
        if list.grid.is_marked(&key) {
            buffer.set_string(area.x + 1, y, app.look.sign("•", "*"), app.look.bold());
        }
        if at_cursor && list.focused {
            let line = Rect { y, height: 1, ..area };
            buffer.set_style(line, Style::new().add_modifier(Modifier::REVERSED));
            buffer.set_string(area.x, y, app.look.sign("▌", ">"), Style::new());
        }
        y += 1;
    }
}

fn titles<R>(
    app: &App,
    list: &List<'_, R>,
    columns: &[(&'static Column<R>, u16)],
    area: Rect,
    y: u16,
    buffer: &mut Buffer,
) {
    let mut x = area.x + MARGIN;
    for (column, width) in columns {
        let mut title = column.title.to_owned();
        if let Some((sorted, reverse)) = list.sorted
            && sorted == column.title
        {
            let sign = if reverse { app.look.sign("▼", "v") } else { app.look.sign("▲", "^") };
            title.push_str(sign);
        }
        let shift =
            if column.right { usize::from(*width).saturating_sub(cells(&title)) } else { 0 };
        let at = x.saturating_add(u16::try_from(shift).unwrap_or(0));
        buffer.set_stringn(at, y, &title, usize::from(*width), app.look.dim());
        x = x.saturating_add(*width + GAP);
    }
}
