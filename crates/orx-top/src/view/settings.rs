//! The settings: of this dashboard, and those in force at the server.

use orx_model::text::clean_line;
use orx_model::time::TimeStyle;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::boxed;
use super::lists::{never, title};
use super::table::{List, draw};
use crate::columns::Column;
use crate::layout::Class;
use crate::state::App;

/// A line of the screen of settings.
pub(crate) struct ShownSetting {
    pub(crate) key: String,
    name: String,
    value: String,
    origin: String,
}

/// The settings: those of this dashboard, which Enter changes, those of the client, those of the server.
pub(crate) fn all_settings(app: &App) -> Vec<ShownSetting> {
    let look = app.look;
    let own = |key: &str, name: &str, value: &str| ShownSetting {
        key: key.to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
        origin: "Enter changes it".to_owned(),
    };
    let time = match look.time {
        TimeStyle::Relative => "relative",
        TimeStyle::Local => "local",
        TimeStyle::Utc | TimeStyle::Unix => "UTC",
    };
    let mut all = vec![
        own("time", "times", time),
        own("theme", "theme", look.theme.as_str()),
        own("signs", "signs", if look.ascii { "ASCII" } else { "Unicode" }),
        own("mouse", "mouse", if app.mouse { "on" } else { "off" }),
    ];
    for line in &app.options.settings {
        all.push(ShownSetting {
            key: format!("client {}", line.name),
            name: line.name.clone(),
            value: line.value.clone(),
            origin: line.origin.clone(),
        });
    }
    if let Some(server) = &app.server_settings {
        for setting in &server.settings {
            let value = match &setting.value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            all.push(ShownSetting {
                key: format!("server {}", setting.name),
                name: setting.name.clone(),
                value,
                origin: format!("server, {}", setting.origin),
            });
        }
        return all;
    }
    // A caller without the scope, and a server of an older version, get the intervals only.
    if let Some(cluster) = &app.cluster {
        for (name, ms) in &cluster.settings_ms {
            all.push(ShownSetting {
                key: format!("server {name}"),
                name: name.clone(),
                value: orx_model::time::format_exact(std::time::Duration::from_millis(*ms)),
                origin: "in force at the server".to_owned(),
            });
        }
    }
    all
}

static SETTINGS: &[Column<ShownSetting>] = &[
    Column {
        title: "SETTING",
        width: 18,
        grows: 1,
        rank: 1,
        right: false,
        cell: |setting, _| foreign(&setting.name),
        order: None,
    },
    Column {
        title: "VALUE",
        width: 14,
        grows: 2,
        rank: 2,
        right: false,
        cell: |setting, _| foreign(&setting.value),
        order: None,
    },
    Column {
        title: "FROM",
        width: 18,
        grows: 2,
        rank: 3,
        right: false,
        cell: |setting, _| foreign(&setting.origin),
        order: None,
    },
];

fn foreign(text: &str) -> crate::columns::Cell {
    crate::columns::Cell { text: clean_line(text).into_owned(), style: Style::new() }
}

/// The settings.
pub(crate) fn settings(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let inside = boxed(app, title(app, "Settings", Vec::new()), true, area, class, buffer);
    let all = all_settings(app);
    let list = List {
        columns: SETTINGS,
        rows: all.iter().collect(),
        grid: &app.settings,
        focused: true,
        sorted: None,
        key: |setting| setting.key.clone(),
        gone: &never,
    };
    draw(app, &list, inside, class, buffer);
}
