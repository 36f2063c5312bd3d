//! Keys of the small windows: help, recent actions, what to copy.

use crossterm::event::{KeyCode, KeyEvent};

use crate::keys::key_name;
use crate::state::grid::Grid;
use crate::state::prompt::{Prompt, PromptKind};
use crate::state::{App, Effect, Popup};

/// Takes a key of an open window.
pub(crate) fn key(app: &mut App, key: &KeyEvent, effects: &mut Vec<Effect>) {
    let name = key_name(key).unwrap_or_default();
    let by = match name.as_str() {
        "j" | "Down" | "Ctrl-n" => Some(1_isize),
        "k" | "Up" | "Ctrl-p" => Some(-1),
        "PgDn" | "Ctrl-d" | "Space" => Some(10),
        "PgUp" | "Ctrl-u" => Some(-10),
        "g" | "Home" => Some(isize::MIN),
        "G" | "End" => Some(isize::MAX),
        _ => None,
    };
    let Some(popup) = &mut app.popup else { return };
    match popup {
        Popup::Help { top, .. } => match (name.as_str(), by) {
            (_, Some(by)) => *top = top.saturating_add_signed(by).min(200),
            ("/", _) => app.prompt = Some(Prompt::new(PromptKind::Help, "")),
            ("?" | "q" | "F1", _) => app.popup = None,
            _ if key.code == KeyCode::Esc => app.popup = None,
            _ => {}
        },
        Popup::Actions(grid) => match (name.as_str(), by) {
            (_, Some(by)) => grid.step(by),
            ("y" | "Enter", _) => {
                let place: Option<usize> = grid.cursor().and_then(|key| key.parse().ok());
                if let Some(change) = place.and_then(|place| app.changes.get(place)) {
                    let text = change.command.clone();
                    effects.push(Effect::Copy { what: "the command".to_owned(), text });
                    app.popup = None;
                }
            }
            ("!" | "q" | "Esc", _) => app.popup = None,
            _ => {}
        },
        Popup::Sort { choices, grid, .. } => match (name.as_str(), by) {
            (_, Some(by)) => grid.step(by),
            ("Enter", _) => {
                let place: Option<usize> = grid.cursor().and_then(|key| key.parse().ok());
                let order = place.and_then(|place| choices.get(place)).map(|(_, order)| *order);
                app.popup = None;
                if let Some(order) = order {
                    super::sorts::choose(app, order);
                }
            }
            ("S", _) => {
                app.popup = None;
                super::sorts::reverse(app);
            }
            ("s" | "q" | "Esc", _) => app.popup = None,
            _ => {}
        },
        Popup::Copy { choices, grid } => match (name.as_str(), by) {
            (_, Some(by)) => grid.step(by),
            ("Enter" | "y", _) => {
                let place: Option<usize> = grid.cursor().and_then(|key| key.parse().ok());
                if let Some((what, text)) = place.and_then(|place| choices.get(place)) {
                    effects.push(Effect::Copy { what: what.clone(), text: text.clone() });
                }
                app.popup = None;
            }
            ("Y" | "q" | "Esc", _) => app.popup = None,
            _ => {}
        },
    }
}

/// Shows the recent changes, the last first.
pub(crate) fn open_actions(app: &mut App) {
    let mut grid = Grid::default();
    grid.set_height(usize::from(app.size.1).saturating_sub(8));
    grid.set_rows((0..app.changes.len()).rev().map(|place| place.to_string()).collect());
    app.popup = Some(Popup::Actions(grid));
}
