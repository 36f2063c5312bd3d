//! The configuration: what is wrong with it, and what is in force.

use crate::args::Global;
use crate::config::Loaded;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Ui};

pub(crate) fn check(global: &Global) -> Result<Exit, CliError> {
    let loaded = crate::config::load(global.config.as_deref())?;
    let ui = crate::make_ui(global, &loaded.config)?;
    let file = loaded.file.as_ref().map(|file| file.display().to_string());
    if !ui.format.is_human() {
        let cell = Cell::option(file.as_ref());
        let shown = file.as_deref().unwrap_or_default();
        ui.one(&serde_json::json!({ "file": file }), shown, &[("file", cell)])?;
        return Ok(Exit::Done);
    }
    let said = match file {
        Some(file) => format!("`{file}` is right\n"),
        None => "there is no configuration file: all are defaults\n".to_owned(),
    };
    if !ui.quiet {
        ui.raw(said.as_bytes())?;
    }
    Ok(Exit::Done)
}

pub(crate) fn show(loaded: &Loaded, origin: bool, ui: &Ui) -> Result<Exit, CliError> {
    if ui.format.is_json() {
        let mut value = serde_json::to_value(&loaded.config)?;
        if let Some(object) = value.as_object_mut() {
            let contexts = serde_json::to_value(&loaded.config.contexts)?;
            object.insert("contexts".to_owned(), contexts);
            let zones = serde_json::to_value(orx_model::zone::source().data())?;
            object.insert("zone_data".to_owned(), zones);
        }
        ui.one(&value, "", &[])?;
        return Ok(Exit::Done);
    }
    let wrong = |error: toml::ser::Error| {
        CliError::new(Exit::Failed, "config", "could not print it").cause(error.to_string())
    };
    let zones = orx_model::zone::source().data();
    let text = toml::to_string(&loaded.config).map_err(wrong)?;
    let text = format!("# time zones: {}, {}\n{text}", zones.source, zones.version_text());
    if !origin {
        ui.raw(text.as_bytes())?;
        return Ok(Exit::Done);
    }
    let file = match &loaded.file {
        Some(path) => std::fs::read_to_string(path)?,
        None => String::new(),
    };
    let said: toml::Table = toml::from_str(&file).unwrap_or_default();
    let from_file = loaded.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let mut out = String::new();
    let mut section: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.split('.').map(|part| part.trim_matches('"').to_owned()).collect();
        }
        match line.split_once(" = ") {
            Some((key, _)) => {
                let mut at = Some(&said);
                for part in &section {
                    at = at.and_then(|table| table.get(part)).and_then(toml::Value::as_table);
                }
                let set = at.is_some_and(|table| table.contains_key(key));
                let origin = if set { from_file.as_str() } else { "default" };
                out.push_str(&format!("{line}  # {origin}\n"));
            }
            None => out.push_str(&format!("{line}\n")),
        }
    }
    ui.raw(out.as_bytes())?;
    Ok(Exit::Done)
}
