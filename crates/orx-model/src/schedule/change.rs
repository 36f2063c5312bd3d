//! Changes of a schedule that name only what they change, and the difference of two schedules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::catch_up::CatchUp;
use super::file::FileSchedule;
use super::imported::Imported;
use super::overlap::Overlap;
use super::spec::{ScheduleSpec, SpecProblem};
use super::timing::When;
use super::zone::ZoneName;
use crate::ids::Name;
use crate::job::{Command, Json, Labels};
use crate::mask::{MASK, is_secret_key, mask_value};
use crate::policy::{OnLost, Priority};
use crate::text::clean_line;
use crate::time::Timestamp;
use crate::wire::EnqueueRequest;

/// What to change of a schedule. What is left out stays as it is; `null`, where it is allowed, takes
/// the value away. Units and ranges are those of [`ScheduleSpec`], and [`ScheduleSpec::check`] tells
/// whether the outcome is right.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpecChange {
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub timing: Option<When>,
    /// Milliseconds: the interval alone. One that is there keeps its offset.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// Milliseconds: the offset of the interval alone.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub offset_ms: Option<u64>,
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<u64>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub start: Option<Option<Timestamp>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub end: Option<Option<Timestamp>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub max_runs: Option<Option<u64>>,
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub tolerance_ms: Option<u64>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub on_missed: Option<Option<Name>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Option<Name>>,
    #[serde(skip_serializing_if = "JobChange::is_empty")]
    pub job: JobChange,
}

/// What to change of a schedule's job. A value taken away is the server's default again; `args`,
/// `command`, `require` and `tags` are replaced whole, and then what `set_args`, `set_command`,
/// `set_require` and `set_tags` name is put into them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobChange {
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<Option<Name>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub args: Option<Option<Json>>,
    /// These arguments; the others stay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Value>)]
    pub set_args: BTreeMap<String, Json>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub command: Option<Option<Command>>,
    /// These parts of the command; the others stay.
    #[serde(skip_serializing_if = "CommandChange::is_empty")]
    pub set_command: CommandChange,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub queue: Option<Option<Name>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub priority: Option<Option<Priority>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub retries: Option<Option<u32>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<Option<u64>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<Option<u64>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<Option<u64>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub on_lost: Option<Option<OnLost>>,
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub require: Option<Labels>,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub set_require: Labels,
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub tags: Option<Labels>,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub set_tags: Labels,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub corr: Option<Option<String>>,
}

/// What to change of a schedule's command. Without an `argv` there must be one already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommandChange {
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Option<String>>,
    /// Working directory of a command where there was none before and `cwd` names none.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub first_cwd: Option<String>,
    /// All of them anew.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// These variables; the others stay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set_env: BTreeMap<String, String>,
    /// Base64, as in [`Command`].
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Option<String>>,
}

/// A field that is there and no `null`; one that is left out keeps its default.
fn value<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// A field that is there, `null` or not; one that is left out keeps its default.
fn given<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

fn put<T: Clone>(change: Option<&T>, value: &mut T) {
    if let Some(new) = change {
        value.clone_from(new);
    }
}

impl SpecChange {
    /// Names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // All that is named is written, and nothing else.
        serde_json::to_value(self).is_ok_and(|value| value == Value::Object(Map::new()))
    }

    /// The schedule with the change made. Not checked; the id stays.
    ///
    /// # Errors
    ///
    /// A part is to be set of what is not there: the offset of a cron expression, the folder of a
    /// command where there is none.
    pub fn apply(&self, spec: &ScheduleSpec) -> Result<ScheduleSpec, SpecProblem> {
        let mut new = spec.clone();
        put(self.timing.as_ref(), &mut new.timing);
        if let Some(every_ms) = self.every_ms {
            let offset_ms = match new.timing {
                When::Interval { offset_ms, .. } => offset_ms,
                When::Cron(_) | When::Once(_) => 0,
            };
            new.timing = When::Interval { every_ms, offset_ms };
        }
        if let Some(new_ms) = self.offset_ms {
            match &mut new.timing {
                When::Interval { offset_ms, .. } => *offset_ms = new_ms,
                When::Cron(_) | When::Once(_) => {
                    let text = "only an interval has one".to_owned();
                    return Err(SpecProblem { field: "offset_ms", text });
                }
            }
        }
        put(self.zone.as_ref(), &mut new.zone);
        put(self.jitter_ms.as_ref(), &mut new.jitter_ms);
        put(self.start.as_ref(), &mut new.start);
        put(self.end.as_ref(), &mut new.end);
        put(self.max_runs.as_ref(), &mut new.max_runs);
        put(self.catch_up.as_ref(), &mut new.catch_up);
        put(self.window_ms.as_ref(), &mut new.window_ms);
        put(self.overlap.as_ref(), &mut new.overlap);
        put(self.tolerance_ms.as_ref(), &mut new.tolerance_ms);
        put(self.on_missed.as_ref(), &mut new.on_missed);
        put(self.on_failure.as_ref(), &mut new.on_failure);
        self.job.apply(&mut new.job)?;
        Ok(new)
    }
}

impl JobChange {
    /// Names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        serde_json::to_value(self).is_ok_and(|value| value == Value::Object(Map::new()))
    }

    fn apply(&self, job: &mut EnqueueRequest) -> Result<(), SpecProblem> {
        put(self.name.as_ref(), &mut job.name);
        put(self.args.as_ref(), &mut job.args);
        if !self.set_args.is_empty() {
            job.args = Some(with_args(job.args.as_ref(), &self.set_args)?);
        }
        put(self.command.as_ref(), &mut job.command);
        self.set_command.apply(&mut job.command)?;
        put(self.queue.as_ref(), &mut job.queue);
        put(self.priority.as_ref(), &mut job.priority);
        put(self.retries.as_ref(), &mut job.retries);
        put(self.backoff_ms.as_ref(), &mut job.backoff_ms);
        put(self.timeout_ms.as_ref(), &mut job.timeout_ms);
        put(self.expires_ms.as_ref(), &mut job.expires_ms);
        put(self.on_lost.as_ref(), &mut job.on_lost);
        put(self.require.as_ref(), &mut job.require);
        job.require.extend(self.set_require.clone());
        put(self.tags.as_ref(), &mut job.tags);
        job.tags.extend(self.set_tags.clone());
        put(self.corr.as_ref(), &mut job.corr);
        Ok(())
    }
}

/// The arguments with these set. Each stays the JSON text that it is: no number loses a digit.
fn with_args(old: Option<&Json>, set: &BTreeMap<String, Json>) -> Result<Json, SpecProblem> {
    let wrong = |text: &str| SpecProblem { field: "job.set_args", text: text.to_owned() };
    let mut args: BTreeMap<String, Json> = match old.map(|args| args.get()) {
        None | Some("null") => BTreeMap::new(),
        Some(text) => serde_json::from_str(text).map_err(|_| {
            wrong("the arguments are no JSON object: give them whole, or take them away first")
        })?,
    };
    args.extend(set.iter().map(|(name, value)| (name.clone(), value.clone())));
    let text = serde_json::value::to_raw_value(&args);
    text.map(Json::from).map_err(|_| wrong("these are no arguments"))
}

impl CommandChange {
    /// Names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn apply(&self, command: &mut Option<Command>) -> Result<(), SpecProblem> {
        let Self { argv, cwd, first_cwd, env, set_env, stdin } = self;
        if self.is_empty() {
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
}

/// A field in which two schedules differ. Fields and values are those of a schedule file
/// ([`super::ScheduleFile`]): `window`, `job.timeout`, `job.command.env.PATH`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldChange {
    pub field: String,
    /// Absent where it was not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub old: Option<Value>,
    /// Absent where it is not set any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub new: Option<Value>,
}

impl FieldChange {
    fn text(&self, value: Option<&Value>) -> String {
        let name = self.field.rsplit('.').next().unwrap_or(&self.field);
        match value {
            None => "(not set)".to_owned(),
            Some(_) if is_secret_key(name) => MASK.to_owned(),
            Some(value) => {
                let mut value = value.clone();
                mask_value(&mut value);
                if let Value::String(text) = &value {
                    return clean_line(text).into_owned();
                }
                value.to_string()
            }
        }
    }
}

/// For people: `window: 7d > 1d`. What looks secret is masked.
impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (old, new) = (self.text(self.old.as_ref()), self.text(self.new.as_ref()));
        write!(f, "{}: {old} > {new}", clean_line(&self.field))
    }
}

/// Every field in which two schedules differ, in the order of the names. Empty where they mean the
/// same: `{"n":1}` and `{ "n": 1 }` do.
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
        // Somebody made the change that the import makes: the import takes it for its own.
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

/// Fields of a file by their names, those of the job and of its labels each by itself.
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
            // What a file writes in one way or the other is one field.
            Ok(Value::String(text)) if name == "job.args_json" => {
                let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                fields.insert("job.args".to_owned(), value);
            }
            Ok(value) => {
                fields.insert(name, value);
            }
            // No type here refuses to be written.
            Err(_) => {}
        }
    }
    fields
}
