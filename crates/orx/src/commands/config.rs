//! `orx config`: checks the configuration, and prints the effective settings.

use orx_model::wire::{ServerSetting, SettingOrigin};
use serde_json::{Map, Value, json};

use super::Session;
use crate::config::{Config, Layer};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, ListRow, Ui};

/// Reports that the configuration is valid: loading it has returned an error otherwise.
pub(crate) fn check(config: &Config, ui: &Ui) -> Result<Exit, CliError> {
    let file = config.file.as_ref().map(|file| file.path.display().to_string());
    if !ui.format.is_human() {
        let cell = Cell::option(file.as_ref());
        let shown = file.as_deref().unwrap_or_default();
        ui.one(&json!({ "file": file }), shown, &[("file", cell)])?;
        return Ok(Exit::Success);
    }
    let text = match file {
        Some(file) => format!("`{file}` is valid\n"),
        None => "there is no configuration file; the environment and the defaults are valid\n"
            .to_owned(),
    };
    if !ui.quiet {
        ui.raw(text.as_bytes())?;
    }
    Ok(Exit::Success)
}

/// A setting to print: its table (empty: none), key, value, and where it comes from.
struct Line {
    table: &'static str,
    key: String,
    value: toml::Value,
    origin: Layer,
}

/// Tables of which each entry is a table of its own.
const TABLES_OF_TABLES: [&str; 3] = ["handler", "job", "context"];

/// Settings that only clients use.
fn is_of_clients(table: &str, key: &str) -> bool {
    matches!((table, key), ("top" | "context", _) | ("", "output" | "color" | "context"))
}

/// The settings of a daemon with their origins, for callers of its API, secrets masked.
pub(crate) fn in_force(config: &Config, with_worker: bool) -> Vec<ServerSetting> {
    let mut all = Vec::new();
    let origin = |origin| setting_origin(config, origin);
    let path = |path: &std::path::Path| json!(path.display().to_string());
    for (name, value, from) in [
        ("file", config.file.as_ref().map(|file| path(&file.path)), config.file.origin()),
        ("state", config.state.as_ref().map(|state| path(state)), config.state.origin()),
        ("log", Some(json!(*config.log)), config.log.origin()),
    ] {
        let value = value.unwrap_or(Value::Null);
        all.push(ServerSetting { name: name.to_owned(), value, origin: origin(from) });
    }
    config.each(&mut |table, key, setting| {
        if is_of_clients(table, key) || !with_worker && matches!(table, "worker" | "handler") {
            return;
        }
        // A value that has no notation is not shown; `orx config show` on the machine says why.
        let shown = setting.shown().ok().and_then(|value| serde_json::to_value(value).ok());
        if let Some(value) = shown {
            let name = full_key(table, key);
            all.push(ServerSetting { name, value, origin: origin(setting.origin()) });
        }
    });
    all
}

/// Prints the settings in force at the server that answers.
pub(crate) async fn show_server(session: &Session) -> Result<Exit, CliError> {
    let answer = session.client.settings().await?;
    if session.ui.format.is_json() {
        session.ui.one(&answer, "", &[])?;
        return Ok(Exit::Success);
    }
    let row = |setting: &ServerSetting| -> Result<ListRow, CliError> {
        let value = match &setting.value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Ok(ListRow {
            json: serde_json::to_value(setting)?,
            id: setting.name.clone(),
            cells: vec![
                Cell::new(setting.name.clone()),
                Cell::new(value),
                Cell::new(setting.origin.to_string()),
            ],
        })
    };
    let rows: Result<Vec<ListRow>, CliError> = answer.settings.iter().map(row).collect();
    let columns: [Column; 3] = [("SETTING", false), ("VALUE", false), ("ORIGIN", false)];
    session.ui.list(&columns, &rows?)?;
    Ok(Exit::Success)
}

pub(crate) fn show(config: &Config, with_origin: bool, ui: &Ui) -> Result<Exit, CliError> {
    let mut lines = Vec::new();
    let mut failed = None;
    config.each(&mut |table, key, setting| match setting.shown() {
        Ok(value) => {
            lines.push(Line { table, key: key.to_owned(), value, origin: setting.origin() })
        }
        Err(error) => failed = Some(error),
    });
    if let Some(error) = failed {
        return Err(CliError::new(Exit::Failed, "config", "could not print the configuration")
            .cause(error.to_string()));
    }
    let outside = outside_the_file(config)?;
    if ui.format.is_json() {
        ui.one(&as_json(config, &lines, &outside)?, "", &[])?;
    } else {
        ui.raw(as_toml(config, &lines, &outside, with_origin).as_bytes())?;
    }
    Ok(Exit::Success)
}

/// Settings that no key of the file has, as JSON.
fn outside_the_file(config: &Config) -> Result<Vec<(&'static str, Value, Layer)>, CliError> {
    let path =
        |path: Option<&std::path::PathBuf>| json!(path.map(|path| path.display().to_string()));
    let mut all = vec![
        ("file", path(config.file.as_ref().map(|file| &file.path)), config.file.origin()),
        ("state", path(config.state.as_ref()), config.state.origin()),
        ("log", json!(*config.log), config.log.origin()),
    ];
    // An unknown context is an error only for commands that use it.
    if let Ok(connection) = config.connection() {
        let token = connection.token.as_ref().map(|_| "***");
        let (token_file, ca_file) = (&connection.token_file, &connection.ca_file);
        all.extend([
            ("urls", json!(*connection.urls), connection.urls.origin()),
            ("token", json!(token), connection.token.origin()),
            ("token_file", path(token_file.as_ref()), token_file.origin()),
            ("ca_file", path(ca_file.as_ref()), ca_file.origin()),
            ("read_only", json!(*connection.read_only), connection.read_only.origin()),
        ]);
    }
    Ok(all)
}

/// `--output`, `ORX_URL`, `/etc/orx/config.toml:12`, or `default`.
pub(crate) fn origin_text(config: &Config, origin: Layer) -> String {
    setting_origin(config, origin).to_string()
}

fn setting_origin(config: &Config, origin: Layer) -> SettingOrigin {
    match (origin, &*config.file) {
        (Layer::Flag(name), _) => SettingOrigin::Flag { name: name.to_owned() },
        (Layer::Variable(name), _) => SettingOrigin::Variable { name: name.to_owned() },
        (Layer::File(byte), Some(file)) => SettingOrigin::File {
            file: file.path.display().to_string(),
            line: file.line(byte) as u64,
        },
        (Layer::File(_), None) | (Layer::Default, _) => SettingOrigin::Default {},
    }
}

fn as_json(
    config: &Config,
    lines: &[Line],
    outside: &[(&'static str, Value, Layer)],
) -> Result<Value, CliError> {
    let (mut all, mut origins) = (Map::new(), Map::new());
    for table in TABLES_OF_TABLES {
        // The key `context` is the name of the context in use.
        let table = if table == "context" { "contexts" } else { table };
        all.insert(table.to_owned(), json!({}));
    }
    for Line { table, key, value, origin } in lines {
        let value = serde_json::to_value(value)?;
        let (name, origin) =
            (full_key(table, key), serde_json::to_value(setting_origin(config, *origin))?);
        match *table {
            "" => drop(all.insert(key.clone(), value)),
            table => {
                let table = if table == "context" { "contexts" } else { table };
                let inner = all.entry(table).or_insert_with(|| json!({}));
                inner[key.as_str()] = value;
            }
        }
        origins.insert(name, origin);
    }
    for (name, value, origin) in outside {
        all.insert((*name).to_owned(), value.clone());
        origins.insert((*name).to_owned(), serde_json::to_value(setting_origin(config, *origin))?);
    }
    all.insert("zone_data".to_owned(), serde_json::to_value(orx_schedule::rules::source().data())?);
    all.insert("origins".to_owned(), Value::Object(origins));
    Ok(Value::Object(all))
}

/// `worker.slots`, `handler."report.daily"`.
fn full_key(table: &str, key: &str) -> String {
    match table {
        "" => key.to_owned(),
        table if TABLES_OF_TABLES.contains(&table) => format!("{table}.{}", quoted(key)),
        table => format!("{table}.{key}"),
    }
}

fn quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match key.is_empty() || !key.chars().all(bare) {
        true => toml::Value::from(key).to_string(),
        false => key.to_owned(),
    }
}

/// The settings as a configuration file; those without a key in the file are comments.
fn as_toml(
    config: &Config,
    lines: &[Line],
    outside: &[(&'static str, Value, Layer)],
    with_origin: bool,
) -> String {
    let after = |origin: Layer| match with_origin {
        true => format!("  # {}", origin_text(config, origin)),
        false => String::new(),
    };
    let zones = orx_schedule::rules::source().data();
    let mut text = format!("# time zones: {}, {}\n", zones.source, zones.version_text());
    for (name, value, origin) in outside {
        let value = match value {
            Value::String(value) => value.clone(),
            Value::Null => continue,
            value => value.to_string(),
        };
        text += &format!("# {name}: {value}{}\n", after(*origin));
    }
    let mut section = "";
    for Line { table, key, value, origin } in lines {
        if let Some(entries) = value.as_table().filter(|_| TABLES_OF_TABLES.contains(table)) {
            text += &format!("\n[{}]{}\n", full_key(table, key), after(*origin));
            for (key, value) in entries {
                text += &format!("{} = {value}\n", quoted(key));
            }
            continue;
        }
        if *table != section {
            section = table;
            text += &format!("\n[{section}]\n");
        }
        // TOML allows no key beside tables of the same name.
        let comment = key == "context" && !config.contexts.named.is_empty();
        let comment = if comment { "# " } else { "" };
        text += &format!("{comment}{key} = {value}{}\n", after(*origin));
    }
    text
}
