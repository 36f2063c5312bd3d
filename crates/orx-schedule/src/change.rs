//! Compares schedules.

use std::collections::{BTreeMap, BTreeSet};

use orx_model::schedule::{FieldChange, Imported, ScheduleSpec};
use serde_json::Value;

use crate::file::FileSchedule;

/// Every field in which two schedules differ, ordered by name. Empty for equal meaning, as of `{"n":1}`
/// and `{ "n": 1 }`.
#[must_use]
pub fn diff(old: &ScheduleSpec, new: &ScheduleSpec) -> Vec<FieldChange> {
    let (was, is) = (old.imported.as_ref(), new.imported.as_ref());
    let (mut old, mut new) = (fields(old), fields(new));
    let mut put = |name: &str, of: fn(&Imported) -> Value| {
        let one = |fields: &mut BTreeMap<String, Value>, imported: Option<&Imported>| {
            fields.extend(imported.map(|imported| (format!("imported.{name}"), of(imported))));
        };
        one(&mut old, was);
        one(&mut new, is);
    };
    put("source", |imported| imported.source.clone().into());
    put("line", |imported| imported.line.into());
    if old == new {
        // A user already made the change that the import makes, so the import adopts it.
        let put = |fields: &mut BTreeMap<String, Value>, imported: Option<&Imported>| {
            let value = imported.map(|imported| imported.fingerprint.clone().into());
            fields.extend(value.map(|value| ("imported.fingerprint".to_owned(), value)));
        };
        put(&mut old, was);
        put(&mut new, is);
    }
    let names: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    names
        .into_iter()
        .map(|field| {
            let (old, new) = (old.remove(&field), new.remove(&field));
            FieldChange { field, old, new }
        })
        .filter(|change| change.old != change.new)
        .collect()
}

/// The fields of a file by name, with single entries for those of the job and its labels.
fn fields(spec: &ScheduleSpec) -> BTreeMap<String, Value> {
    const TABLES: [&str; 5] = ["job", "job.require", "job.tags", "job.command", "job.command.env"];
    let mut fields = BTreeMap::new();
    let mut open = vec![(String::new(), serde_json::to_value(FileSchedule::from(spec)))];
    while let Some((name, value)) = open.pop() {
        match value {
            Ok(Value::Object(map)) if name.is_empty() || TABLES.contains(&name.as_str()) => {
                let dot = if name.is_empty() { "" } else { "." };
                open.extend(
                    map.into_iter().map(|(key, value)| (format!("{name}{dot}{key}"), Ok(value))),
                );
            }
            // Two ways to write one value in a file count as one field.
            Ok(Value::String(text)) if name == "job.args_json" => {
                let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                fields.insert("job.args".to_owned(), value);
            }
            Ok(value) => {
                fields.insert(name, value);
            }
            // All types here serialize without errors.
            Err(_) => {}
        }
    }
    fields
}
