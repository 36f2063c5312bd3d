//! A job: what was asked for ([`JobSpec`]) and what became of it ([`JobState`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{Object, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::attempt::Exit;
use crate::ids::{ExecutionId, Incarnation, JobId, Name};
use crate::policy::{OnLost, Priority, RetryPolicy};
use crate::settle::ALONE_FROM;
use crate::status::JobStatus;
use crate::time::Timestamp;

/// Names to values: tags of a job, labels of a worker, labels a job requires.
pub type Labels = BTreeMap<String, String>;

/// The name that is shown of what cannot be read.
pub const UNREADABLE: &str = "cannot-be-read";

/// JSON text kept as it came, shared rather than copied.
pub type Json = Arc<RawValue>;

/// The JSON text `null`.
#[must_use]
pub fn json_null() -> Json {
    Arc::from(RawValue::NULL.to_owned())
}

/// A command given with its job: an argv, never a shell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program, then its arguments.
    pub argv: Vec<String>,
    /// Working directory, from `/` on; without one, the worker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Environment beside the worker's own few variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What it reads on standard input, base64; without it, the end of file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Of the few variables that a worker passes on, those of the caller, in place of the worker's:
    /// `PATH`, `LANG`, `LC_ALL` and `TZ`. Where a command is given, not what it is: the same request
    /// from another terminal may differ in them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub caller_env: BTreeMap<String, String>,
    /// The caller's umask in octal, `0022`; the worker's if left out. As `caller_env` no part of
    /// what the command is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "0022")]
    pub umask: Option<String>,
}

impl Command {
    /// Variables of a caller that a command may be given beside its own.
    pub const CALLER_ENV: [&str; 4] = ["PATH", "LANG", "LC_ALL", "TZ"];

    /// The caller's umask as a number.
    ///
    /// # Errors
    /// It is no umask in octal; what was found.
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
    /// What was asked for, complete and checked. It never changes. Built by the control panel from
    /// [`crate::wire::EnqueueRequest`] and the defaults in force.
    #[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
    pub struct JobSpec;

    /// The part of a [`JobSpec`] that lists show.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
    pub struct SpecSummary;

    in_lists {
        /// The job type, `video.process`.
        pub name: Name,
        /// Where it waits for a worker.
        pub queue: Name,
        /// Which of the ready jobs start first.
        pub priority: Priority,
        /// How often it is tried again, and after how long.
        pub retry: RetryPolicy,
        /// For people and filters.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub tags: Labels,
        /// Correlation id, passed on to the handler. `corr` in JSON.
        #[serde(rename = "corr", default, skip_serializing_if = "Option::is_none")]
        pub correlation_id: Option<String>,
        /// Idempotency key: the same key gives the same job.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub key: Option<String>,
        /// Who asked, `user@host` or a token's name; for people only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<String>,
        /// The schedule that made it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub schedule: Option<Origin>,
    }

    not_in_lists {
        /// What the handler gets.
        #[schema(value_type = Value)]
        pub args: Json,
        /// With it the job needs no handler but a worker that accepts commands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub command: Option<Command>,
        /// Longest time of one attempt, milliseconds from its start; `None` is without limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub timeout_ms: Option<u64>,
        /// No attempt starts, and none goes on, after it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub deadline: Option<Timestamp>,
        /// Cancelled if not started before it.
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
    /// One with no args and every setting at its default.
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

    /// What is shown in place of a stored spec that cannot be read. Nothing of it is tried again.
    #[must_use]
    pub fn unreadable() -> Self {
        let name = Name::from_any(UNREADABLE);
        Self { retry: RetryPolicy::none(), on_lost: OnLost::Fail, ..Self::new(name.clone(), name) }
    }

    /// The same without its args and its command, which may be large.
    #[must_use]
    pub fn without_payload(self) -> Self {
        Self { args: json_null(), command: None, ..self }
    }

    /// What the handler side of [`crate::lane::Lane`] is for this job: its type, or a command.
    #[must_use]
    pub fn handler(&self) -> Option<&Name> {
        self.command.is_none().then_some(&self.name)
    }
}

/// A request to accept a job: what a store is given.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// What the job is, and stays.
    pub spec: JobSpec,
    /// Not before then; `None` is at once.
    pub run_at: Option<Timestamp>,
    /// Hash of what the job is, compared when its key comes again.
    pub key_hash: Option<String>,
}

impl From<JobSpec> for NewJob {
    /// To run at once.
    fn from(spec: JobSpec) -> Self {
        Self { spec, run_at: None, key_hash: None }
    }
}

/// The schedule that made a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Origin {
    /// The schedule's id.
    pub id: Name,
    /// The due time that it was made for; none where a person triggered it.
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
    /// Of the leader that gave it out.
    #[serde(default)]
    pub epoch: u64,
    /// When it was claimed for the worker.
    pub claimed_at: Timestamp,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// What the attempt last reported of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// What an attempt reported of how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Progress {
    /// 0 to 100.
    pub percent: f64,
    /// In words of the handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Why nothing more is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// Every retry was used up.
    Exhausted,
    /// The handler said that another try is useless.
    NotRetryable,
    /// Its worker died under it too often.
    Poison,
    /// Given back by workers too often.
    Returned,
    /// Lost with its worker, or ended by that worker's stop, and it must not run twice.
    Lost,
    /// Its deadline has passed.
    Deadline,
}

impl DeadReason {
    /// The name as JSON has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::NotRetryable => "not_retryable",
            Self::Poison => "poison",
            Self::Returned => "returned",
            Self::Lost => "lost",
            Self::Deadline => "deadline",
        }
    }
}

/// Ends of attempts since the job was accepted, or last retried by a person.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
pub struct AttemptCounts {
    /// Failed or timed out: these use up retries.
    pub failed: u32,
    /// Its worker died while its coordinator lived.
    pub lost: u32,
    /// Its whole server died. That says less about the job than `lost`: whatever ran on that server
    /// was lost with it.
    #[serde(default)]
    pub server_lost: u32,
    /// Interrupted or refused.
    pub returned: u32,
}

impl AttemptCounts {
    /// Its server, or its worker, died under it so often that it starts only where nothing else runs: if
    /// that one dies too, it was this job.
    #[must_use]
    pub fn runs_alone(&self) -> bool {
        self.server_lost.max(self.lost) >= ALONE_FROM
    }
}

/// Who asked to cancel a job that runs, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CancelRequest {
    /// When, by the clock of whoever wrote it.
    pub at: Timestamp,
    /// Why, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who asked, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What became of a job. Only the store writes it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobState {
    /// Changes along [`crate::status::next`] only.
    pub status: JobStatus,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it is, or was, due.
    pub run_at: Timestamp,
    /// Number of the newest attempt; 0 before the first claim.
    pub attempt: u32,
    /// The attempt that a dispatched or running job has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveAttempt>,
    /// How its attempts ended, counted.
    #[serde(default)]
    pub ends: AttemptCounts,
    /// A cancel that waits for the attempt's end, or brought it about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelRequest>,
    /// When the final status was reached.
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
    pub exit: Option<Exit>,
    /// What the handler returned. No list has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub result: Option<Json>,
    /// Set while a dead letter is kept for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<DeadReason>,
    /// What is kept of it cannot be read, and why: a newer version wrote it, say. Then only its id,
    /// its status and its times are its own, and no worker gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl JobState {
    /// Of a job that no worker has had yet.
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

/// A job as the store knows it; also what the API shows of one, all fields beside each other.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    /// Given by the store, and never used again.
    pub id: JobId,
    /// What was asked for.
    #[serde(flatten)]
    pub spec: JobSpec,
    /// What became of it.
    #[serde(flatten)]
    pub state: JobState,
}

impl Job {
    /// What is shown of a job that cannot be read.
    #[must_use]
    pub fn unreadable(id: JobId, status: JobStatus, created_at: Timestamp, why: String) -> Self {
        let state = JobState {
            error: Some(format!("what is kept of it cannot be read: {why}")),
            unreadable: Some(why),
            ..JobState::new(status, created_at, created_at)
        };
        Self { id, spec: JobSpec::unreadable(), state }
    }
}

/// A job as lists show it: what [`Job`] has but for its args, command and result, which may be large,
/// and its settings.
#[derive(Debug, Clone, Serialize)]
pub struct JobSummary {
    /// As in [`Job`].
    pub id: JobId,
    /// Part of what was asked for.
    #[serde(flatten)]
    pub spec: SpecSummary,
    /// What became of it, without its result.
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
    /// About as many as it takes as JSON.
    #[must_use]
    pub fn bytes(&self) -> usize {
        /// Names of fields, ids, times and numbers.
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

/// Reads the parts of a job from one text, each from all of it: serde reads flattened parts through a
/// buffer that cannot hold JSON as text, and makes other numbers of large ones.
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

/// The schema of an object that has an id and the properties of these two beside each other.
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

/// What the properties of [`flat_schema`] refer to.
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
