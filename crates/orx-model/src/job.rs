//! A job: the request ([`JobSpec`]) and the state ([`JobState`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{Object, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::attempt::ProcessExit;
use crate::ids::{ExecutionId, Incarnation, JobId, Name};
use crate::names;
use crate::outcome::ALONE_FROM;
use crate::policy::{OnLost, Priority, RetryPolicy};
use crate::status::JobStatus;
use crate::time::Timestamp;

/// Names to values: tags of a job, labels of a worker, labels a job requires.
pub type Labels = BTreeMap<String, String>;

/// The name that is shown for a stored record that cannot be read.
pub const UNREADABLE: &str = "cannot-be-read";

/// Unchanged JSON text, shared rather than copied.
pub type Json = Arc<RawValue>;

/// The JSON text `null`.
#[must_use]
pub fn json_null() -> Json {
    Arc::from(RawValue::NULL.to_owned())
}

/// A command that is part of a job: an argv, never a shell line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program, then its arguments.
    pub argv: Vec<String>,
    /// Working directory, from `/` on; without one, the worker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Environment variables beside the few that the worker passes on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Standard input, base64; absent for an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// The caller's `PATH`, `LANG`, `LC_ALL` and `TZ`, which replace the worker's own. They are not part
    /// of the command's identity: the same request from another terminal may differ in them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub caller_env: BTreeMap<String, String>,
    /// The caller's umask in octal, `0022`; the worker's if left out. As `caller_env`,
    /// not part of the command's identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "0022")]
    pub umask: Option<String>,
}

impl Command {
    /// The names allowed in `caller_env`.
    pub const CALLER_ENV: [&str; 4] = ["PATH", "LANG", "LC_ALL", "TZ"];

    /// The caller's umask as a number.
    ///
    /// # Errors
    /// The text is not an octal umask; the error is the text.
    pub fn umask(&self) -> Result<Option<u32>, String> {
        let Some(text) = &self.umask else { return Ok(None) };
        let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|b| b.is_ascii_digit());
        let mask = u32::from_str_radix(text, 8).ok().filter(|mask| digits && *mask <= 0o777);
        mask.map(Some)
            .ok_or_else(|| format!("expected a umask in octal such as `0022`, found `{text}`"))
    }
}

/// Defines the spec of a job, and from the same list of fields the part of it that lists show, so that
/// a field is written once.
macro_rules! spec_and_summary {
    (
        $(#[$spec_meta:meta])* pub struct $spec:ident;
        $(#[$summary_meta:meta])* pub struct $summary:ident;
        in_lists { $($(#[$meta:meta])* pub $field:ident: $type:ty,)* }
        not_in_lists { $($(#[$other_meta:meta])* pub $other:ident: $other_type:ty,)* }
    ) => {
        $(#[$spec_meta])*
        pub struct $spec {
            $($(#[$meta])* pub $field: $type,)*
            $($(#[$other_meta])* pub $other: $other_type,)*
        }

        $(#[$summary_meta])*
        pub struct $summary {
            $($(#[$meta])* pub $field: $type,)*
        }

        impl From<$spec> for $summary {
            fn from(spec: $spec) -> Self {
                Self { $($field: spec.$field,)* }
            }
        }
    };
}

spec_and_summary! {
    /// The request, complete and checked. It never changes. The control panel builds it from
    /// [`crate::wire::EnqueueRequest`] and the defaults in force.
    #[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
    pub struct JobSpec;

    /// The part of a [`JobSpec`] that lists show.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
    pub struct SpecSummary;

    in_lists {
        /// The job type, `video.process`.
        pub name: Name,
        /// The queue in which it waits for a worker.
        pub queue: Name,
        /// The priority among ready jobs.
        pub priority: Priority,
        /// How often and when it is tried again.
        pub retry: RetryPolicy,
        /// Tags: names and values for filters.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub tags: Labels,
        /// Correlation id, for the handler and for filters. `corr` in JSON.
        #[serde(rename = "corr", default, skip_serializing_if = "Option::is_none")]
        pub correlation_id: Option<String>,
        /// Idempotency key: the same key returns the same job.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub key: Option<String>,
        /// Who sent the request, `user@host` or a token's name; for people to read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<String>,
        /// The schedule that created it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub schedule: Option<Origin>,
    }

    not_in_lists {
        /// The arguments for the handler, any JSON.
        #[schema(value_type = Value)]
        pub args: Json,
        /// The command to run, on a worker that accepts commands; absent for a job with a handler.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub command: Option<Command>,
        /// Longest time of one attempt, milliseconds from its start; `None` is without limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub timeout_ms: Option<u64>,
        /// No attempt starts or continues after this time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub deadline: Option<Timestamp>,
        /// The job is cancelled if it has not started before this time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub expires_at: Option<Timestamp>,
        /// Whether a lost attempt is tried again.
        #[serde(default)]
        pub on_lost: OnLost,
        /// Labels a worker must have.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub require: Labels,
    }
}

impl JobSpec {
    /// A spec without args and with every setting at its default.
    #[must_use]
    pub fn new(name: Name, queue: Name) -> Self {
        Self {
            name,
            queue,
            priority: Priority::default(),
            retry: RetryPolicy::default(),
            tags: Labels::new(),
            correlation_id: None,
            key: None,
            by: None,
            schedule: None,
            args: json_null(),
            command: None,
            timeout_ms: None,
            deadline: None,
            expires_at: None,
            on_lost: OnLost::default(),
            require: Labels::new(),
        }
    }

    /// The placeholder for a stored spec that cannot be read. It has no retries.
    #[must_use]
    pub fn unreadable() -> Self {
        let name = Name::from_any(UNREADABLE);
        Self { retry: RetryPolicy::none(), on_lost: OnLost::Fail, ..Self::new(name.clone(), name) }
    }

    /// The spec without its args and command, which may be large.
    #[must_use]
    pub fn without_payload(self) -> Self {
        Self { args: json_null(), command: None, ..self }
    }

    /// The handler of its [`crate::lane::Lane`]: its type, or `None` for a command.
    #[must_use]
    pub fn handler(&self) -> Option<&Name> {
        self.command.is_none().then_some(&self.name)
    }
}

/// A job for the store to add.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The spec of the job.
    pub spec: JobSpec,
    /// Time before which it does not start; `None`: at once.
    pub run_at: Option<Timestamp>,
    /// Hash of the request, compared when its key is used again.
    pub key_hash: Option<String>,
}

impl From<JobSpec> for NewJob {
    /// A job to run at once, without a key hash.
    fn from(spec: JobSpec) -> Self {
        Self { spec, run_at: None, key_hash: None }
    }
}

/// The schedule that created a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Origin {
    /// The schedule's id.
    pub id: Name,
    /// The due time that it was created for; absent for a manual run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Timestamp>,
}

/// The attempt that a dispatched or running job has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiveAttempt {
    /// Its execution id.
    pub execution: ExecutionId,
    /// The incarnation of its worker.
    pub worker: Incarnation,
    /// The name of its worker.
    pub worker_name: Name,
    /// Epoch of the leader that dispatched it.
    #[serde(default)]
    pub epoch: u64,
    /// When it was claimed for the worker.
    pub claimed_at: Timestamp,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The progress that the attempt reported last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// Progress of an attempt, as its handler reported it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Progress {
    /// Percent done, 0 to 100.
    pub percent: f64,
    /// A text of the handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

names! {
    /// Why a job is a dead letter.
    #[derive(PartialOrd, Ord, utoipa::ToSchema)]
    pub enum DeadReason {
        /// Every retry was used up.
        Exhausted = "exhausted",
        /// The handler reported that another try is useless.
        NotRetryable = "not_retryable",
        /// Its worker or server was lost too often.
        Poison = "poison",
        /// Workers interrupted or refused it too often.
        Returned = "returned",
        /// Lost with its worker, or interrupted by that worker's stop, and it must not run twice.
        Lost = "lost",
        /// Its deadline has passed.
        Deadline = "deadline",
    }
}

/// How attempts ended since the job was accepted or last retried manually.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
pub struct AttemptCounts {
    /// Failed or timed out: these use up retries.
    pub failed: u32,
    /// Its worker was lost while the leader was running.
    pub lost: u32,
    /// Its whole server was lost. That is weaker evidence against the job than `lost`: all jobs on that
    /// server were lost with it.
    #[serde(default)]
    pub server_lost: u32,
    /// Interrupted or refused.
    pub returned: u32,
}

impl AttemptCounts {
    /// Whether it was lost so often that it starts only on a worker without other jobs: a further loss is
    /// then due to this job.
    #[must_use]
    pub fn runs_alone(&self) -> bool {
        self.server_lost.max(self.lost) >= ALONE_FROM
    }
}

/// A cancel request: who sent it, when and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CancelRequest {
    /// When, by the clock of the node that recorded it.
    pub at: Timestamp,
    /// The reason, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who sent the request, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The state of a job. Only the store writes it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobState {
    /// The status; it changes by [`crate::status::next`] only.
    pub status: JobStatus,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it is, or was, due.
    pub run_at: Timestamp,
    /// Number of the latest attempt; 0 before the first claim.
    pub attempt: u32,
    /// The attempt that a dispatched or running job has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveAttempt>,
    /// How often its attempts ended in each way.
    #[serde(default)]
    pub ends: AttemptCounts,
    /// The cancel request, pending or carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelRequest>,
    /// When it reached its final status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When the attempt that ended last had started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Name of the worker of the attempt that ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Name>,
    /// Error of the attempt that ended last, if it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How the process of the attempt that ended last ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ProcessExit>,
    /// What the handler returned. Lists do not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub result: Option<Json>,
    /// Why it is a dead letter; absent while it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<DeadReason>,
    /// Why its stored record cannot be read, for example because a newer version wrote it. Only its id,
    /// status and times are then valid, and no worker gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl JobState {
    /// The state of a new job.
    #[must_use]
    pub fn new(status: JobStatus, created_at: Timestamp, run_at: Timestamp) -> Self {
        Self {
            status,
            created_at,
            run_at,
            attempt: 0,
            live: None,
            ends: AttemptCounts::default(),
            cancel: None,
            finished_at: None,
            started_at: None,
            worker: None,
            error: None,
            exit: None,
            result: None,
            dead: None,
            unreadable: None,
        }
    }
}

/// A job in the store. The API shows all its fields in one flat object.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    /// The id, which the store assigns and never reuses.
    pub id: JobId,
    /// The request.
    #[serde(flatten)]
    pub spec: JobSpec,
    /// The state.
    #[serde(flatten)]
    pub state: JobState,
}

impl Job {
    /// The placeholder for a stored job that cannot be read.
    #[must_use]
    pub fn unreadable(id: JobId, status: JobStatus, created_at: Timestamp, why: String) -> Self {
        let state = JobState {
            error: Some(format!("the stored job cannot be read: {why}")),
            unreadable: Some(why),
            ..JobState::new(status, created_at, created_at)
        };
        Self { id, spec: JobSpec::unreadable(), state }
    }
}

/// A job as lists show it: a [`Job`] without its args, command and result, which may be large, and without
/// some settings.
#[derive(Debug, Clone, Serialize)]
pub struct JobSummary {
    /// The id, as in [`Job`].
    pub id: JobId,
    /// Part of the request.
    #[serde(flatten)]
    pub spec: SpecSummary,
    /// The state, without the result.
    #[serde(flatten)]
    pub state: JobState,
}

impl From<Job> for JobSummary {
    fn from(job: Job) -> Self {
        let state = JobState { result: None, ..job.state };
        Self { id: job.id, spec: job.spec.into(), state }
    }
}

impl JobSummary {
    /// Its approximate size as JSON, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        /// Field names, ids, times and numbers.
        const FIXED: usize = 768;
        let Self { spec, state, .. } = self;
        let len = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let tags: usize = spec.tags.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
        let cancel = state.cancel.as_ref().map_or(0, |it| len(&it.reason) + len(&it.by));
        let progress = state.live.as_ref().and_then(|live| live.progress.as_ref());
        let texts = [&spec.correlation_id, &spec.key, &spec.by, &state.error, &state.unreadable];
        FIXED
            + spec.name.as_str().len()
            + spec.queue.as_str().len()
            + tags
            + cancel
            + progress.map_or(0, |progress| len(&progress.text))
            + texts.into_iter().map(len).sum::<usize>()
    }
}

/// Reads each part of a job from the whole text: serde reads flattened parts through a buffer that cannot
/// hold raw JSON text and that changes large numbers.
fn parts<'de, D, Spec>(deserializer: D) -> Result<(JobId, Spec, JobState), D::Error>
where
    D: Deserializer<'de>,
    Spec: DeserializeOwned,
{
    #[derive(Deserialize)]
    struct Identity {
        id: JobId,
    }
    let text = Box::<RawValue>::deserialize(deserializer)?;
    let read = || -> serde_json::Result<_> {
        let Identity { id } = serde_json::from_str(text.get())?;
        Ok((id, serde_json::from_str(text.get())?, serde_json::from_str(text.get())?))
    };
    read().map_err(serde::de::Error::custom)
}

impl<'de> Deserialize<'de> for Job {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (id, spec, state) = parts(deserializer)?;
        Ok(Self { id, spec, state })
    }
}

impl<'de> Deserialize<'de> for JobSummary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (id, spec, state) = parts(deserializer)?;
        Ok(Self { id, spec, state })
    }
}

/// The schema of a flat object with an id and the properties of two schemas.
fn flat_schema<Spec: PartialSchema>(description: &str) -> Object {
    let mut all = Object::new();
    all.description = Some(description.to_owned());
    all.required.push("id".to_owned());
    all.properties.insert("id".to_owned(), Ref::from_schema_name(JobId::name()).into());
    for part in [Spec::schema(), JobState::schema()] {
        if let RefOr::T(Schema::Object(part)) = part {
            all.required.extend(part.required);
            all.properties.extend(part.properties);
        }
    }
    all
}

type Schemas = Vec<(String, RefOr<Schema>)>;

/// The schemas to which the properties of [`flat_schema`] refer.
fn referred<Spec: ToSchema>(schemas: &mut Schemas) {
    schemas.push((JobId::name().into_owned(), JobId::schema()));
    Spec::schemas(schemas);
    JobState::schemas(schemas);
}

impl PartialSchema for Job {
    fn schema() -> RefOr<Schema> {
        flat_schema::<JobSpec>("A job as the store knows it.").into()
    }
}

impl ToSchema for Job {
    fn schemas(schemas: &mut Schemas) {
        referred::<JobSpec>(schemas);
    }
}

impl PartialSchema for JobSummary {
    fn schema() -> RefOr<Schema> {
        let mut schema = flat_schema::<SpecSummary>(
            "A job as lists show it: without args, command and result, which may be large, and without \
             its settings.",
        );
        schema.properties.remove("result");
        schema.into()
    }
}

impl ToSchema for JobSummary {
    fn schemas(schemas: &mut Schemas) {
        referred::<SpecSummary>(schemas);
    }
}
