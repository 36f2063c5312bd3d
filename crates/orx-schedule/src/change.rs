//! Applies partial changes to schedules, and compares schedules.

use std::collections::{BTreeMap, BTreeSet};

use orx_model::job::{Command, Json};
use orx_model::schedule::{
    CommandChange, FieldChange, Imported, JobChange, ScheduleSpec, SpecChange, When,
};
use orx_model::wire::EnqueueRequest;
use serde_json::Value;

use crate::file::FileSchedule;
use crate::spec::SpecProblem;

fn put<T: Clone>(change: Option<&T>, value: &mut T) {
    if let Some(new) = change {
        value.clone_from(new);
    }
}

/// The schedule with the change applied. The result is not checked; the id stays.
///
/// # Errors
///
/// The change sets a part of something absent, such as the offset of a cron expression or the folder of
/// a missing command.
pub fn apply(change: &SpecChange, spec: &ScheduleSpec) -> Result<ScheduleSpec, SpecProblem> {
    let mut new = spec.clone();
    put(change.timing.as_ref(), &mut new.timing);
    if let Some(every_ms) = change.every_ms {
        let offset_ms = match new.timing {
            When::Interval { offset_ms, .. } => offset_ms,
            When::Cron(_) | When::Once(_) => 0,
        };
        new.timing = When::Interval { every_ms, offset_ms };
    }
    if let Some(new_ms) = change.offset_ms {
        match &mut new.timing {
            When::Interval { offset_ms, .. } => *offset_ms = new_ms,
            When::Cron(_) | When::Once(_) => {
                let text = "only an interval has one".to_owned();
                return Err(SpecProblem { field: "offset_ms", text });
            }
        }
    }
    put(change.zone.as_ref(), &mut new.zone);
    put(change.jitter_ms.as_ref(), &mut new.jitter_ms);
    put(change.start.as_ref(), &mut new.start);
    put(change.end.as_ref(), &mut new.end);
    put(change.max_runs.as_ref(), &mut new.max_runs);
    put(change.catch_up.as_ref(), &mut new.catch_up);
    put(change.window_ms.as_ref(), &mut new.window_ms);
    put(change.overlap.as_ref(), &mut new.overlap);
    put(change.tolerance_ms.as_ref(), &mut new.tolerance_ms);
    put(change.on_missed.as_ref(), &mut new.on_missed);
    put(change.on_failure.as_ref(), &mut new.on_failure);
    apply_to_job(&change.job, &mut new.job)?;
    Ok(new)
}

fn apply_to_job(change: &JobChange, job: &mut EnqueueRequest) -> Result<(), SpecProblem> {
    put(change.name.as_ref(), &mut job.name);
    put(change.args.as_ref(), &mut job.args);
    if !change.set_args.is_empty() {
        job.args = Some(with_args(job.args.as_ref(), &change.set_args)?);
    }
    put(change.command.as_ref(), &mut job.command);
    apply_to_command(&change.set_command, &mut job.command)?;
    put(change.queue.as_ref(), &mut job.queue);
    put(change.priority.as_ref(), &mut job.priority);
    put(change.retries.as_ref(), &mut job.retries);
    put(change.backoff_ms.as_ref(), &mut job.backoff_ms);
    put(change.timeout_ms.as_ref(), &mut job.timeout_ms);
    put(change.expires_ms.as_ref(), &mut job.expires_ms);
    put(change.on_lost.as_ref(), &mut job.on_lost);
    put(change.require.as_ref(), &mut job.require);
    job.require.extend(change.set_require.clone());
    put(change.tags.as_ref(), &mut job.tags);
    job.tags.extend(change.set_tags.clone());
    put(change.correlation_id.as_ref(), &mut job.correlation_id);
    Ok(())
}

/// The arguments with these set. Each value stays unchanged JSON text, so that no number loses a digit.
fn with_args(old: Option<&Json>, set: &BTreeMap<String, Json>) -> Result<Json, SpecProblem> {
    let wrong = |text: &str| SpecProblem { field: "job.set_args", text: text.to_owned() };
    let mut args: BTreeMap<String, Json> = match old.map(|args| args.get()) {
        None | Some("null") => BTreeMap::new(),
        Some(text) => serde_json::from_str(text).map_err(|_| {
            wrong("the arguments are no JSON object: replace them whole, or remove them first")
        })?,
    };
    args.extend(set.iter().map(|(name, value)| (name.clone(), value.clone())));
    let text = serde_json::value::to_raw_value(&args);
    text.map(Json::from).map_err(|_| wrong("these are no arguments"))
}

fn apply_to_command(
    change: &CommandChange,
    command: &mut Option<Command>,
) -> Result<(), SpecProblem> {
    let CommandChange { argv, cwd, first_cwd, env, set_env, stdin } = change;
    if change.is_empty() {
        return Ok(());
    }
    let command = match (command, argv) {
        (Some(command), _) => command,
        (none, Some(argv)) => none.insert(Command {
            argv: argv.clone(),
            cwd: first_cwd.clone(),
            ..Command::default()
        }),
        (None, None) => {
            let text = "the schedule has no command to change: give one after `--`".to_owned();
            return Err(SpecProblem { field: "job.command", text });
        }
    };
    put(argv.as_ref(), &mut command.argv);
    put(cwd.as_ref(), &mut command.cwd);
    put(env.as_ref(), &mut command.env);
    command.env.extend(set_env.clone());
    put(stdin.as_ref(), &mut command.stdin);
    Ok(())
}

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
