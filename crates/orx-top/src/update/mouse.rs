//! The mouse: the wheel, rows and tabs.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

use super::{keys, open};
use crate::keys::Action;
use crate::layout::{self, Class};
use crate::options::Screen;
use crate::state::{App, Effect, OverviewBox, Tone};

/// Turns the mouse on or off.
pub(crate) fn toggle(app: &mut App, effects: &mut Vec<Effect>) {
    app.mouse = !app.mouse;
    effects.push(Effect::Mouse(app.mouse));
    let state = if app.mouse { "on; Shift selects text" } else { "off" };
    app.notify(Tone::Plain, format!("the mouse is {state}"));
}

/// Takes an event of the mouse in.
pub(crate) fn mouse(app: &mut App, event: &MouseEvent, effects: &mut Vec<Effect>) {
    if app.question.is_some() || app.prompt.is_some() || app.popup.is_some() {
        return;
    }
    match event.kind {
        MouseEventKind::ScrollDown => (0..3).for_each(|_| keys::act(app, Action::Down, effects)),
        MouseEventKind::ScrollUp => (0..3).for_each(|_| keys::act(app, Action::Up, effects)),
        MouseEventKind::Down(MouseButton::Left) => click(app, event.column, event.row, effects),
        _ => {}
    }
}

fn click(app: &mut App, column: u16, row: u16, effects: &mut Vec<Effect>) {
    let class = layout::class(app.size);
    let areas = layout::areas(app.size);
    if row == areas.tabs.y && areas.tabs.height > 0 {
        let tabs = crate::view::chrome::tab_areas(app, areas.tabs);
        if let Some((screen, _)) = tabs.iter().find(|(_, area)| area.contains((column, row).into()))
        {
            open::screen(app, *screen, effects);
        }
        return;
    }
    if app.detail().is_some() {
        return;
    }
    let mut area = areas.body;
    if app.screen == Screen::Overview {
        let alerts = app.facts.as_ref().map_or(0, |facts| facts.attention.len());
        let boxes = layout::overview(areas.body, class, u16::try_from(alerts).unwrap_or(u16::MAX));
        let all = [
            (OverviewBox::Counters, boxes.counters),
            (OverviewBox::Queues, boxes.queues),
            (OverviewBox::Recent, boxes.recent),
            (OverviewBox::Attention, boxes.attention),
        ];
        let hit = all.into_iter().find(|(_, area)| area.contains((column, row).into()));
        let Some((focus, found)) = hit else { return };
        app.overview.focus = focus;
        if matches!(focus, OverviewBox::Counters | OverviewBox::Attention) {
            return;
        }
        area = found;
    }
    let inside = layout::inside(area, class);
    let untitled = matches!(app.screen, Screen::Overview | Screen::Jobs);
    let titles = u16::from(class >= Class::Compact || !untitled);
    if !inside.contains((column, row).into()) || row < inside.y + titles {
        return;
    }
    let Some(grid) = keys::grid(app) else { return };
    let place = grid.top() + usize::from(row - inside.y - titles);
    if place >= grid.len() {
        return;
    }
    // A click on the row under the cursor opens it.
    if grid.cursor().is_some() && grid.index() == place {
        open::open(app, effects);
    } else {
        grid.go_to(place);
    }
}
