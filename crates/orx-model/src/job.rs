//! A job: what was asked for ([`JobSpec`]) and what became of it ([`Job`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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

/// A request for a job, complete and checked: what a store keeps. Built by the control panel from
/// [`crate::wire::EnqueueRequest`] and the defaults in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobSpec {
    /// The job type, `video.process`.
    pub name: Name,
    pub queue: Name,
    pub priority: Priority,
    pub args: Json,
    /// With it the job needs no handler but a worker that accepts commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// Not before; `None` is at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    pub retry: RetryPolicy,
    /// Longest time of one attempt, milliseconds from its start; `None` is without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// No attempt starts, and none goes on, after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Cancelled if not started before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    #[serde(default)]
    pub on_lost: OnLost,
    /// Labels a worker must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub require: Labels,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Labels,
    /// Correlation id, passed on to the handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corr: Option<String>,
    /// Idempotency key: the same key gives the same job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Hash of what the job is, compared when its key comes again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_hash: Option<String>,
    /// Who asked, `user@host` or a token's name; for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Origin>,
}

/// The schedule that made a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Origin {
    pub id: Name,
    /// The due time that it was made for; none where a person triggered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Timestamp>,
}

/// The attempt that a dispatched or running job has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiveAttempt {
    pub execution: ExecutionId,
    pub worker: Incarnation,
    pub worker_name: Name,
    /// Of the leader that gave it out.
    #[serde(default)]
    pub epoch: u64,
    pub claimed_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Progress {
    /// 0 to 100.
    pub percent: f64,
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CancelRequest {
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A job as lists show it: what [`Job`] has but for its args, command and result, which may be large,
/// and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobSummary {
    pub id: JobId,
    pub name: Name,
    pub queue: Name,
    pub priority: Priority,
    pub status: JobStatus,
    pub created_at: Timestamp,
    /// When it is, or was, due.
    pub run_at: Timestamp,
    /// Number of the newest attempt; 0 before the first claim.
    pub attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveAttempt>,
    #[serde(default)]
    pub ends: AttemptCounts,
    pub retry: RetryPolicy,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corr: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The schedule that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Origin>,
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
    /// Set while a dead letter is kept for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<DeadReason>,
    /// What is kept of it cannot be read, and why: a newer version wrote it, say. Then only its id,
    /// its status and its times are its own, and no worker gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl JobSummary {
    /// About as many as it takes as JSON.
    #[must_use]
    pub fn bytes(&self) -> usize {
        /// Names of fields, ids, times and numbers.
        const FIXED: usize = 768;
        let len = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let tags: usize = self.tags.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
        let cancel = self.cancel.as_ref().map_or(0, |it| len(&it.reason) + len(&it.by));
        let progress = self.live.as_ref().and_then(|live| live.progress.as_ref());
        let texts = [&self.corr, &self.key, &self.by, &self.error, &self.unreadable];
        FIXED
            + self.name.as_str().len()
            + self.queue.as_str().len()
            + tags
            + cancel
            + progress.map_or(0, |progress| len(&progress.text))
            + texts.into_iter().map(len).sum::<usize>()
    }
}

impl From<Job> for JobSummary {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            name: job.name,
            queue: job.queue,
            priority: job.priority,
            status: job.status,
            created_at: job.created_at,
            run_at: job.run_at,
            attempt: job.attempt,
            live: job.live,
            ends: job.ends,
            retry: job.retry,
            tags: job.tags,
            corr: job.corr,
            key: job.key,
            by: job.by,
            schedule: job.schedule,
            cancel: job.cancel,
            finished_at: job.finished_at,
            started_at: job.started_at,
            worker: job.worker,
            error: job.error,
            exit: job.exit,
            dead: job.dead,
            unreadable: job.unreadable,
        }
    }
}

/// A job as the store knows it; also what the API shows of one.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Job {
    pub id: JobId,
    pub name: Name,
    pub queue: Name,
    pub priority: Priority,
    pub status: JobStatus,
    #[schema(value_type = Value)]
    pub args: Json,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    pub created_at: Timestamp,
    /// When it is, or was, due.
    pub run_at: Timestamp,
    /// Number of the newest attempt; 0 before the first claim.
    pub attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveAttempt>,
    #[serde(default)]
    pub ends: AttemptCounts,
    pub retry: RetryPolicy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    #[serde(default)]
    pub on_lost: OnLost,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub require: Labels,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corr: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The schedule that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Origin>,
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

impl JobSpec {
    /// The same without its args and its command, for those who only look.
    #[must_use]
    pub fn without_payload(self) -> Self {
        Self { args: json_null(), command: None, ..self }
    }
}

impl Job {
    /// What is shown of a job that cannot be read.
    #[must_use]
    pub fn unreadable(id: JobId, status: JobStatus, created_at: Timestamp, why: String) -> Self {
        Self {
            id,
            name: Name::from_any(UNREADABLE),
            queue: Name::from_any(UNREADABLE),
            priority: Priority::default(),
            status,
            args: json_null(),
            command: None,
            created_at,
            run_at: created_at,
            attempt: 0,
            live: None,
            ends: AttemptCounts::default(),
            retry: RetryPolicy::none(),
            timeout_ms: None,
            deadline: None,
            expires_at: None,
            on_lost: OnLost::Fail,
            require: Labels::new(),
            tags: Labels::new(),
            corr: None,
            key: None,
            by: None,
            schedule: None,
            cancel: None,
            finished_at: None,
            started_at: None,
            worker: None,
            error: Some(format!("what is kept of it cannot be read: {why}")),
            exit: None,
            result: None,
            dead: None,
            unreadable: Some(why),
        }
    }

    /// What the handler side of [`crate::lane::Lane`] is for this job: its type, or a command.
    #[must_use]
    pub fn handler(&self) -> Option<&Name> {
        self.command.is_none().then_some(&self.name)
    }
}
