//! Schedule files, with durations as text and the names of the command line.
//!
//! These are plain serde types without a format of their own; they are meant for TOML:
//!
//! ```toml
//! [[schedule]]
//! id = "nightly-report"
//! cron = "30 2 * * mon-fri"  # or every = "15m", offset = "5m"; or at = "2026-12-31T22:00:00Z"
//! zone = "Europe/Berlin"
//! overlap = "queue-one"
//!
//! [schedule.job]
//! name = "report.make"
//! args = { customer = 42 }
//! timeout = "1h"
//! ```
//!
//! Reading and writing a file preserves its meaning ([`crate::diff`] finds nothing). Two fields hold what
//! TOML cannot: `args_json` for arguments with `null` or the largest numbers, and `stdin_base64` for input
//! that is not text.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orx_model::job::{Command, Json, Labels};
use orx_model::policy::{OnLost, Priority};
use orx_model::schedule::{CatchUp, CronExpr, Overlap, ScheduleSpec, SpecProblem, When, ZoneName};
use orx_model::time::{format_exact, parse_duration};
use orx_model::wire::EnqueueRequest;
use orx_model::{Name, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, value::RawValue};

use crate::cron::Cron;
use crate::spec::Schedule;
use crate::zone::NamedZone;

/// A file of schedules.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleFile {
    /// The schedules, in the order of the file.
    #[serde(default)]
    pub schedule: Vec<FileSchedule>,
}

/// The error of one schedule of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("schedule `{id}`: {problem}")]
pub struct FileProblem {
    /// The schedule.
    pub id: Name,
    /// The error.
    pub problem: SpecProblem,
}

impl ScheduleFile {
    /// The file that holds these schedules.
    #[must_use]
    pub fn new<'a>(specs: impl IntoIterator<Item = &'a ScheduleSpec>) -> Self {
        Self { schedule: specs.into_iter().map(FileSchedule::from).collect() }
    }

    /// Parses and checks its schedules.
    ///
    /// # Errors
    ///
    /// The errors of all schedules, and duplicate ids.
    pub fn specs(&self) -> Result<Vec<ScheduleSpec>, Vec<FileProblem>> {
        let (mut specs, mut problems) = (Vec::new(), Vec::new());
        let mut ids = BTreeSet::new();
        for schedule in &self.schedule {
            let id = &schedule.id;
            let mut add = |problem| problems.push(FileProblem { id: id.clone(), problem });
            if !ids.insert(id) {
                let text = "expected an id of its own, found that of a schedule above".to_owned();
                add(SpecProblem { field: "id", text });
            }
            match schedule.spec() {
                Err(problem) => add(problem),
                Ok(spec) => match Schedule::checked(spec) {
                    Err(found) => found.0.into_iter().for_each(|problem| {
                        // Here a duration has its unit in its value.
                        let field = problem.field;
                        let field = field.strip_suffix("_ms").unwrap_or(field);
                        add(SpecProblem { field, ..problem });
                    }),
                    Ok(schedule) => specs.push(schedule.into()),
                },
            }
        }
        if problems.is_empty() { Ok(specs) } else { Err(problems) }
    }
}

/// A duration as people write it: `90s`, `2h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDuration(pub Duration);

impl FileDuration {
    fn of(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    fn ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Serialize for FileDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_exact(self.0))
    }
}

impl<'de> Deserialize<'de> for FileDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// One schedule of a file; [`ScheduleSpec`] documents the fields. Exactly one of `cron`, `every`
/// and `at` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSchedule {
    /// Its id.
    pub id: Name,
    /// Cron expression.
    #[serde(default, deserialize_with = "cron", skip_serializing_if = "Option::is_none")]
    pub cron: Option<CronExpr>,
    /// Interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<FileDuration>,
    /// Offset of the interval; with `every` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<FileDuration>,
    /// One instant.
    #[serde(default, deserialize_with = "instant", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The zone of a cron expression's wall clock.
    #[serde(default, deserialize_with = "zone")]
    pub zone: ZoneName,
    /// Longest random delay after the due time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<FileDuration>,
    /// Time before which it is not due.
    #[serde(default, deserialize_with = "instant", skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Time after which it is not due.
    #[serde(default, deserialize_with = "instant", skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Number of runs after which it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_runs: Option<u64>,
    /// How many missed due times it catches up.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// Age up to which missed due times are caught up.
    #[serde(default = "window_default")]
    pub window: FileDuration,
    /// What it does while its previous run has not ended.
    #[serde(default, serialize_with = "typed")]
    pub overlap: Overlap,
    /// How late a due time may be before it is reported as missed.
    #[serde(default = "tolerance_default")]
    pub tolerance: FileDuration,
    /// Job type that is enqueued for missed due times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_missed: Option<Name>,
    /// Job type that is enqueued when a run fails for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Name>,
    /// The job that each due time creates.
    pub job: FileJob,
}

fn window_default() -> FileDuration {
    FileDuration::of(ScheduleSpec::WINDOW_MS)
}

fn tolerance_default() -> FileDuration {
    FileDuration::of(ScheduleSpec::TOLERANCE_MS)
}

/// Parsed here, so that an error has its position in the file.
fn cron<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<CronExpr>, D::Error> {
    Cron::deserialize(deserializer).map(|cron| Some(cron.expr().clone()))
}

/// Parsed here, so that an error has its position in the file.
fn zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ZoneName, D::Error> {
    NamedZone::deserialize(deserializer).map(|zone| zone.name().clone())
}

/// As text, or as TOML writes times itself.
fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    const EXPECTED: &str = "expected a time such as `2026-12-31T22:00:00Z`";
    match plain_dates(&Value::deserialize(deserializer)?) {
        Value::String(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
        _ => Err(serde::de::Error::custom(EXPECTED)),
    }
}

/// As it is typed on a command line: `queue-one`.
fn typed<S: Serializer>(overlap: &Overlap, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(overlap.as_str())
}

/// The job of a schedule of a file; [`EnqueueRequest`] documents the fields.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileJob {
    /// Job type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Name>,
    /// The priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Further tries after the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Wait before the first retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<FileDuration>,
    /// Longest run of an attempt; `0s` is without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<FileDuration>,
    /// Time after the due time within which the job must start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<FileDuration>,
    /// What happens when its worker or server is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_lost: Option<OnLost>,
    /// Correlation id; `corr` in the file.
    #[serde(rename = "corr", skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Who sent the request, for people to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Arguments as JSON text, for values that TOML does not have. Not together with `args`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_json: Option<String>,
    /// Arguments, where TOML can hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Value>,
    /// Labels that the worker must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub require: Labels,
    /// Tags: names and values for filters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Labels,
    /// Command, for a job without a type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<FileCommand>,
}

/// A command of a file; [`Command`] documents the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileCommand {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Working directory; the worker's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Standard input, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Standard input that is not text, base64. Not together with `stdin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin_base64: Option<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

fn problem(field: &'static str, text: impl Into<String>) -> SpecProblem {
    SpecProblem { field, text: text.into() }
}

impl FileSchedule {
    /// Converts to a schedule, unchecked.
    ///
    /// # Errors
    ///
    /// Not exactly one of `cron`, `every` and `at`, or invalid JSON arguments.
    pub fn spec(&self) -> Result<ScheduleSpec, SpecProblem> {
        let timing = match (&self.cron, self.every, self.at) {
            (Some(cron), None, None) => When::Cron(cron.clone()),
            (None, Some(every), None) => {
                let offset_ms = self.offset.map_or(0, FileDuration::ms);
                When::Interval { every_ms: every.ms(), offset_ms }
            }
            (None, None, Some(at)) => When::Once(at),
            (None, None, None) => {
                return Err(problem(
                    "cron",
                    "expected one of `cron`, `every` and `at`, found none",
                ));
            }
            _ => {
                let text = "expected one of `cron`, `every` and `at`, found several";
                return Err(problem("cron", text));
            }
        };
        if self.offset.is_some() && self.every.is_none() {
            return Err(problem("offset", "expected it with `every` alone"));
        }
        Ok(ScheduleSpec {
            id: self.id.clone(),
            timing,
            zone: self.zone.clone(),
            jitter_ms: self.jitter.map_or(0, FileDuration::ms),
            start: self.start,
            end: self.end,
            max_runs: self.max_runs,
            catch_up: self.catch_up,
            window_ms: self.window.ms(),
            overlap: self.overlap,
            tolerance_ms: self.tolerance.ms(),
            on_missed: self.on_missed.clone(),
            on_failure: self.on_failure.clone(),
            // A schedule from a file is no longer imported.
            imported: None,
            job: self.job.request()?,
        })
    }
}

impl FileJob {
    fn request(&self) -> Result<EnqueueRequest, SpecProblem> {
        let args = match (&self.args, &self.args_json) {
            (Some(_), Some(_)) => {
                return Err(problem("job.args_json", "expected `args` or `args_json`, found both"));
            }
            (Some(args), None) => Some(plain_dates(args).to_string()),
            (None, text) => text.clone(),
        };
        let args = args.map(RawValue::from_string).transpose().map_err(|error| {
            problem("job.args_json", format!("expected JSON text, found none: {error}"))
        })?;
        Ok(EnqueueRequest {
            name: self.name.clone(),
            args: args.map(Json::from),
            command: self.command.as_ref().map(FileCommand::command).transpose()?,
            queue: self.queue.clone(),
            priority: self.priority,
            retries: self.retries,
            backoff_ms: self.backoff.map(FileDuration::ms),
            timeout_ms: self.timeout.map(FileDuration::ms),
            expires_ms: self.expires.map(FileDuration::ms),
            on_lost: self.on_lost,
            require: self.require.clone(),
            tags: self.tags.clone(),
            correlation_id: self.correlation_id.clone(),
            by: self.by.clone(),
            ..EnqueueRequest::default()
        })
    }
}

impl FileCommand {
    fn command(&self) -> Result<Command, SpecProblem> {
        let stdin = match (&self.stdin, &self.stdin_base64) {
            (Some(_), Some(_)) => {
                let text = "expected `stdin` or `stdin_base64`, found both";
                return Err(problem("job.command.stdin", text));
            }
            (Some(text), None) => Some(STANDARD.encode(text)),
            (None, encoded) => encoded.clone(),
        };
        let (argv, cwd, env) = (self.argv.clone(), self.cwd.clone(), self.env.clone());
        Ok(Command { argv, cwd, env, stdin, ..Command::default() })
    }
}

impl From<&ScheduleSpec> for FileSchedule {
    fn from(spec: &ScheduleSpec) -> Self {
        let (mut cron, mut every, mut offset, mut at) = (None, None, None, None);
        match &spec.timing {
            When::Cron(expr) => cron = Some(expr.clone()),
            When::Interval { every_ms, offset_ms } => {
                every = Some(FileDuration::of(*every_ms));
                offset = (*offset_ms > 0).then(|| FileDuration::of(*offset_ms));
            }
            When::Once(instant) => at = Some(*instant),
        }
        Self {
            id: spec.id.clone(),
            cron,
            every,
            offset,
            at,
            zone: spec.zone.clone(),
            jitter: (spec.jitter_ms > 0).then(|| FileDuration::of(spec.jitter_ms)),
            start: spec.start,
            end: spec.end,
            max_runs: spec.max_runs,
            catch_up: spec.catch_up,
            window: FileDuration::of(spec.window_ms),
            overlap: spec.overlap,
            tolerance: FileDuration::of(spec.tolerance_ms),
            on_missed: spec.on_missed.clone(),
            on_failure: spec.on_failure.clone(),
            job: FileJob::from(&spec.job),
        }
    }
}

impl From<&EnqueueRequest> for FileJob {
    fn from(job: &EnqueueRequest) -> Self {
        let text = job.args.as_ref().map(|args| args.get());
        let args = text.and_then(|text| serde_json::from_str(text).ok()).filter(is_plain);
        let args_json = if args.is_some() { None } else { text.map(ToOwned::to_owned) };
        Self {
            name: job.name.clone(),
            queue: job.queue.clone(),
            priority: job.priority,
            retries: job.retries,
            backoff: job.backoff_ms.map(FileDuration::of),
            timeout: job.timeout_ms.map(FileDuration::of),
            expires: job.expires_ms.map(FileDuration::of),
            on_lost: job.on_lost,
            correlation_id: job.correlation_id.clone(),
            by: job.by.clone(),
            args_json,
            args,
            require: job.require.clone(),
            tags: job.tags.clone(),
            command: job.command.as_ref().map(FileCommand::from),
        }
    }
}

impl From<&Command> for FileCommand {
    fn from(command: &Command) -> Self {
        let bytes = command.stdin.as_ref().and_then(|encoded| STANDARD.decode(encoded).ok());
        let stdin = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let stdin_base64 = if stdin.is_some() { None } else { command.stdin.clone() };
        let (argv, cwd, env) = (command.argv.clone(), command.cwd.clone(), command.env.clone());
        Self { argv, cwd, stdin, stdin_base64, env }
    }
}

/// What a date of TOML looks like to serde.
const TOML_DATE: &str = "$__toml_private_datetime";

/// TOML has it too, and it comes back as it was.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => number.is_i64() || number.is_f64(),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Object(map) => {
            map.iter().all(|(key, value)| !key.starts_with('$') && is_plain(value))
        }
    }
}

/// Dates of TOML as the text they are.
fn plain_dates(value: &Value) -> Value {
    match value {
        Value::Object(map) => match map.get(TOML_DATE) {
            Some(date) if map.len() == 1 => date.clone(),
            _ => map.iter().map(|(key, value)| (key.clone(), plain_dates(value))).collect(),
        },
        Value::Array(items) => items.iter().map(plain_dates).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
