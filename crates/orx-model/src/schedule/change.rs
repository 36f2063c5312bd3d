//! Partial changes of a schedule, and the differences that they make.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::catch_up::CatchUp;
use super::overlap::Overlap;
use super::spec::ScheduleSpec;
use super::when::{When, ZoneName};
use crate::ids::Name;
use crate::job::{Command, Json, Labels};
use crate::mask::{MASK, is_secret_key, mask_value};
use crate::policy::{OnLost, Priority};
use crate::text::clean_line;
use crate::time::Timestamp;
use crate::wire::EnqueueRequest;

/// A partial change of a schedule. Absent fields stay as they are; `null`, where it is allowed, removes the
/// value. Units and ranges are those of [`super::ScheduleSpec`]; the server checks the result.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpecChange {
    /// What makes it due.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub timing: Option<When>,
    /// The interval alone, milliseconds. The offset of an existing interval stays.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// The offset of the interval alone, milliseconds.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub offset_ms: Option<u64>,
    /// Time zone of its cron expression.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// Longest random delay after the due time, milliseconds.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<u64>,
    /// Not due before.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub start: Option<Option<Timestamp>>,
    /// Not due after.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub end: Option<Option<Timestamp>>,
    /// Number of runs after which it ends.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub max_runs: Option<Option<u64>>,
    /// How many missed due times it catches up.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// Age up to which missed due times are caught up, milliseconds.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    /// What it does while its previous run has not ended.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// How late a due time may be before it is reported as missed, milliseconds.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub tolerance_ms: Option<u64>,
    /// Job type that is enqueued for missed due times.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub on_missed: Option<Option<Name>>,
    /// Job type that is enqueued when a run fails for good.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Option<Name>>,
    /// Changes of its job.
    #[serde(skip_serializing_if = "JobChange::is_empty")]
    pub job: JobChange,
}

/// A partial change of a schedule's job. A removed value becomes the server's default; `args`, `command`,
/// `require` and `tags` replace the whole value, and `set_args`, `set_command`, `set_require` and
/// `set_tags` then set single entries in it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobChange {
    /// Job type.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<Option<Name>>,
    /// Arguments, any JSON.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub args: Option<Option<Json>>,
    /// These arguments; the others stay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Value>)]
    pub set_args: BTreeMap<String, Json>,
    /// Command.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub command: Option<Option<Command>>,
    /// These parts of the command; the others stay.
    #[serde(skip_serializing_if = "CommandChange::is_empty")]
    pub set_command: CommandChange,
    /// Queue.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub queue: Option<Option<Name>>,
    /// Priority.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub priority: Option<Option<Priority>>,
    /// Further tries after the first.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub retries: Option<Option<u32>>,
    /// Wait before the first retry, milliseconds.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<Option<u64>>,
    /// Longest run of an attempt, milliseconds; 0 is without limit.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<Option<u64>>,
    /// Time after acceptance within which the job must start, milliseconds.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<Option<u64>>,
    /// What happens when its worker or server is lost.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub on_lost: Option<Option<OnLost>>,
    /// Labels that the worker must have.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub require: Option<Labels>,
    /// These required labels; the others stay.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub set_require: Labels,
    /// Tags.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub tags: Option<Labels>,
    /// These tags; the others stay.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub set_tags: Labels,
    /// Correlation id; `corr` in JSON.
    #[serde(rename = "corr", deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Option<String>>,
}

/// A partial change of a schedule's command. Without `argv`, the schedule must have a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommandChange {
    /// Program and arguments.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// Working directory; `null` is the worker's.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Option<String>>,
    /// Working directory for a new command without `cwd`.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub first_cwd: Option<String>,
    /// All environment variables, replaced.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// These variables; the others stay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set_env: BTreeMap<String, String>,
    /// Standard input, base64, as in [`Command`].
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Option<String>>,
}

/// Deserializes a field that must not be `null`; an absent field gets its default.
fn value<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Deserializes a field that may be `null`; an absent field gets its default.
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

/// One error in a [`ScheduleSpec`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("`{field}`: {text}")]
pub struct SpecProblem {
    /// The field in JSON: `window_ms`, `job.name`.
    pub field: &'static str,
    /// What was expected, and what was found.
    pub text: String,
}

impl SpecChange {
    /// The schedule with the change applied. The result is not checked; the id stays.
    ///
    /// # Errors
    ///
    /// The change sets a part of something absent, such as the offset of a cron expression or the folder of
    /// a missing command.
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

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Serialization writes exactly the fields that are present.
        serde_json::to_value(self).is_ok_and(|value| value == Value::Object(Map::new()))
    }
}

impl JobChange {
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
        put(self.correlation_id.as_ref(), &mut job.correlation_id);
        Ok(())
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        serde_json::to_value(self).is_ok_and(|value| value == Value::Object(Map::new()))
    }
}

impl CommandChange {
    fn apply(&self, command: &mut Option<Command>) -> Result<(), SpecProblem> {
        let CommandChange { argv, cwd, first_cwd, env, set_env, stdin } = self;
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

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
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

/// A field in which two schedules differ. Fields and values are those of a schedule file
/// (`orx schedule export`): `window`, `job.timeout`, `job.command.env.PATH`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldChange {
    /// The field, as a schedule file names it.
    pub field: String,
    /// The value before; absent where it was not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub old: Option<Value>,
    /// The value after; absent where it is no longer set.
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

/// For people: `window: 7d > 1d`. Secrets are masked.
impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (old, new) = (self.text(self.old.as_ref()), self.text(self.new.as_ref()));
        write!(f, "{}: {old} > {new}", clean_line(&self.field))
    }
}
