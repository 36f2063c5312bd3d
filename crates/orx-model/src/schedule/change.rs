//! Changes of a schedule that name only what they change, and what they changed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::catch_up::CatchUp;
use super::overlap::Overlap;
use super::when::{When, ZoneName};
use crate::ids::Name;
use crate::job::{Command, Json, Labels};
use crate::mask::{MASK, is_secret_key, mask_value};
use crate::policy::{OnLost, Priority};
use crate::text::clean_line;
use crate::time::Timestamp;

/// What to change of a schedule. What is left out stays as it is; `null`, where it is allowed, takes
/// the value away. Units and ranges are those of
/// [`super::ScheduleSpec`]; the server checks what comes of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpecChange {
    /// What makes it due.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub timing: Option<When>,
    /// Milliseconds: the interval alone. One that is there keeps its offset.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// Milliseconds: the offset of the interval alone.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub offset_ms: Option<u64>,
    /// Zone of its cron expression.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// Milliseconds after the due time within which it fires.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<u64>,
    /// Not due before.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub start: Option<Option<Timestamp>>,
    /// Not due after.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub end: Option<Option<Timestamp>>,
    /// Ends after so many runs.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub max_runs: Option<Option<u64>>,
    /// How many missed due times it runs afterwards.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// Nothing older is caught up, milliseconds.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    /// What it does while its previous run goes on.
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
    /// What to change of its job.
    #[serde(skip_serializing_if = "JobChange::is_empty")]
    pub job: JobChange,
}

/// What to change of a schedule's job. A value taken away is the server's default again; `args`,
/// `command`, `require` and `tags` are replaced whole, and then what `set_args`, `set_command`,
/// `set_require` and `set_tags` name is put into them.
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
    /// Not started later than so long after it was accepted, milliseconds.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<Option<u64>>,
    /// What happens when its worker or server dies under it.
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
    /// `corr` in JSON.
    #[serde(rename = "corr", deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Option<String>>,
}

/// What to change of a schedule's command. Without an `argv` there must be one already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommandChange {
    /// Program and arguments.
    #[serde(deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// Working directory; absent is the worker's.
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

impl SpecChange {
    /// Names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // All that is named is written, and nothing else.
        serde_json::to_value(self).is_ok_and(|value| value == Value::Object(Map::new()))
    }
}

impl JobChange {
    /// Names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        serde_json::to_value(self).is_ok_and(|value| value == Value::Object(Map::new()))
    }
}

impl CommandChange {
    /// Names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A field in which two schedules differ. Fields and values are those of a schedule file
/// (`orx schedule export`): `window`, `job.timeout`, `job.command.env.PATH`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldChange {
    /// The field, as a schedule file names it.
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
