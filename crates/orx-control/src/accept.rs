//! Enqueues jobs. A request is validated completely before the store sees it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use orx_model::event::{Event, JobRef, KnownEvent};
use orx_model::job::{Command, Json, json_null};
use orx_model::json::{self, Unfit};
use orx_model::text::nearest;
use orx_model::wire::{BatchLine, Condition, EnqueueAnswer, EnqueueRequest, V};
use orx_model::{
    Capabilities, Code, JobId, JobSpec, JobStatus, Name, NewJob, Problem, RetryPolicy, Timestamp,
    limits,
};
use orx_store::{Enqueued, StoreError};
use serde_json::value::RawValue;

use crate::key::{self, OmittedValues};
use crate::{Caller, ControlPanel, Defaults, Result, Scope, check_labels, store_problem};

/// How long the capabilities of live workers are cached, for warnings.
const CAPABILITIES_MS: i64 = 1_000;

impl ControlPanel {
    /// Enqueues one job. A request with an idempotency key that made a job already answers that job.
    ///
    /// # Errors
    /// [`Code::BadRequest`], [`Code::TooLarge`], [`Code::NotAllowed`], [`Code::KeyConflict`], and
    /// errors of the store.
    pub async fn enqueue(&self, caller: &Caller, request: EnqueueRequest) -> Result<EnqueueAnswer> {
        let keyed = request.key.is_some().then(|| request.clone());
        let now = self.now();
        let job = self.job_from_request(caller, request, now)?;
        let name = job.spec.handler().cloned();
        let head = AcceptedHead::of(&job);
        let answers =
            self.store().enqueue(vec![job], now).await.map_err(|error| self.write_error(error))?;
        let answer = answers.into_iter().next().ok_or_else(no_answer)?;
        self.publish_accepted([(&answer, &head)], now);
        let (id, status, created) = self.accepted(answer, keyed.as_ref()).await?;
        let warning = match name {
            Some(name) if created => self.warning(&name).await,
            _ => None,
        };
        Ok(EnqueueAnswer { v: V, id, status, created, warning })
    }

    /// Enqueues at most [`limits::BATCH_JOBS`] jobs in one transaction. A wrong line does not affect the
    /// others. `first_line` is the number of the first line.
    pub async fn enqueue_batch(
        &self,
        caller: &Caller,
        lines: Vec<Result<EnqueueRequest>>,
        first_line: u64,
    ) -> Vec<BatchLine> {
        let mut answers: Vec<BatchLine> = Vec::with_capacity(lines.len());
        let mut jobs = Vec::new();
        let mut accepted = Vec::new();
        let now = self.now();
        for (line, request) in (first_line..).zip(lines) {
            let checked = request.and_then(|request| {
                let keyed = request.key.is_some().then(|| request.clone());
                Ok((self.job_from_request(caller, request, now)?, keyed))
            });
            let mut answer = BatchLine { line, id: None, created: None, error: None };
            match checked {
                Ok((job, keyed)) => {
                    accepted.push((answers.len(), AcceptedHead::of(&job), keyed));
                    jobs.push(job);
                }
                Err(problem) => answer.error = Some(problem),
            }
            answers.push(answer);
        }
        if jobs.is_empty() {
            return answers;
        }
        match self.store().enqueue(jobs, now).await {
            Ok(enqueued) => {
                let heads = accepted.iter().map(|(_, head, _)| head);
                self.publish_accepted(enqueued.iter().zip(heads), now);
                for (enqueued, (index, _, keyed)) in enqueued.into_iter().zip(accepted) {
                    match self.accepted(enqueued, keyed.as_ref()).await {
                        Ok((id, _, created)) => {
                            answers[index].id = Some(id);
                            answers[index].created = Some(created);
                        }
                        Err(problem) => answers[index].error = Some(problem),
                    }
                }
            }
            Err(error) => {
                let problem = self.write_error(error);
                for (index, _, _) in accepted {
                    answers[index].error = Some(problem.clone());
                }
            }
        }
        answers
    }

    /// The problem for a failed write. Records a full disk, which callers that wait for jobs then see.
    fn write_error(&self, error: StoreError) -> Problem {
        if let StoreError::Full = error {
            self.inner.wakeups.set_store_condition(Condition::StoreFull);
        }
        store_problem(error)
    }

    /// Wakes the dispatcher and the scheduler, and publishes an event for each new job.
    fn publish_accepted<'e>(
        &self,
        enqueued: impl IntoIterator<Item = (&'e Enqueued, &'e AcceptedHead)>,
        now: Timestamp,
    ) {
        let mut ready = false;
        let mut events = Vec::new();
        for (answer, head) in enqueued {
            if let Enqueued::New { id, status } = answer {
                ready |= *status == JobStatus::Pending;
                if let Some(due) = head.due {
                    self.inner.wakeups.due(due);
                }
                let (name, queue) = (Some(head.name.clone()), Some(head.queue.clone()));
                let job = JobRef { id: *id, name, queue };
                let accepted = KnownEvent::JobAccepted { job, to: Some(*status) };
                events.push(Event::new(now, accepted));
            }
        }
        if ready {
            self.inner.wakeups.work();
        }
        self.feed().publish(events);
    }

    /// The id and status of the job, and whether this request made it.
    async fn accepted(
        &self,
        answer: Enqueued,
        keyed: Option<&EnqueueRequest>,
    ) -> Result<(JobId, JobStatus, bool)> {
        let (id, status, hash) = match answer {
            Enqueued::New { id, status } => return Ok((id, status, true)),
            Enqueued::Existing { id, status } => return Ok((id, status, false)),
            Enqueued::KeyConflict { id, status, hash } => (id, status, hash),
        };
        let same = keyed.zip(hash);
        if let Some((request, hash)) = &same
            && let Some(name) = name_of(request)
            && key::is_as_sent(request, &name, hash)
        {
            return Ok((id, status, false));
        }
        if let Some((request, hash)) = same
            && key::is_version_1(&hash)
        {
            let made = self.store().job(id).await.map_err(store_problem)?;
            let by = made.and_then(|job| job.spec.by);
            if key::matches_version_1(request, by.as_deref(), &hash) {
                return Ok((id, status, false));
            }
        }
        let key = keyed.and_then(|request| request.key.as_deref()).unwrap_or_default();
        let detail = format!("the key `{key}` was used for another request");
        Err(Problem::new(Code::KeyConflict, detail)
            .cause(format!("it made the job `{id}`"))
            .hint("use a new key for a new job; `orx show` shows the one it made"))
    }

    pub(crate) fn job_from_request(
        &self,
        caller: &Caller,
        request: EnqueueRequest,
        now: Timestamp,
    ) -> Result<NewJob> {
        caller.need(Scope::Service)?;
        let bad = |detail: String| Problem::new(Code::BadRequest, detail);
        if let Some(command) = &request.command {
            self.check_command(caller, command)?;
        }
        let name = name_of(&request)
            .ok_or_else(|| bad("a job needs a `name`, or a `command`".to_owned()))?;
        if let Some(args) = &request.args {
            check_json("args", args, limits::ARGS_BYTES)?;
        }
        check_labels("tags", &request.tags)?;
        check_labels("required labels", &request.require)?;
        for (what, text) in
            [("key", &request.key), ("corr", &request.correlation_id), ("by", &request.by)]
        {
            let most = limits::KEY_BYTES;
            if text.as_ref().is_some_and(|text| text.is_empty() || text.len() > most) {
                return Err(bad(format!("`{what}` is 1 to {most} bytes")));
            }
            if text.as_ref().is_some_and(|text| text.contains(char::is_control)) {
                return Err(bad(format!("`{what}` cannot contain control characters")));
            }
        }
        let span = |what: &str, ms: u64| {
            let span = Duration::from_millis(ms);
            if span > limits::DELAY_MAX {
                return Err(bad(format!("`{what}` is at most ten years")));
            }
            Ok(span)
        };
        let run_at = match (request.run_at, request.delay_ms) {
            (Some(_), Some(_)) => {
                return Err(bad("`run_at` and `delay_ms` exclude each other".to_owned()));
            }
            (Some(at), None) => {
                if at.saturating_since(now) > limits::DELAY_MAX {
                    let most = now.saturating_add(limits::DELAY_MAX);
                    let detail =
                        format!("`run_at` is at most ten years from now, `{most}`, found `{at}`");
                    return Err(bad(detail));
                }
                Some(at)
            }
            (None, Some(ms)) => Some(now.saturating_add(span("delay_ms", ms)?)),
            (None, None) => None,
        };
        let expires_at = match request.expires_ms {
            Some(0) => return Err(bad("`expires_ms` must be more than 0".to_owned())),
            Some(ms) => Some(now.saturating_add(span("expires_ms", ms)?)),
            None => None,
        };
        if let Some(deadline) = request.deadline.filter(|deadline| *deadline <= now) {
            return Err(bad(format!("the deadline `{deadline}` has passed")));
        }
        let omitted = self.omitted_values(&name, request.command.is_some());
        let key_hash = request.key.is_some().then(|| key::hash(&request, &name, &omitted));
        let args = request.args.unwrap_or_else(empty_args);
        let command = request.command;
        let mut retry = omitted.retry;
        retry.retries = request.retries.unwrap_or(retry.retries);
        retry.backoff_ms = request.backoff_ms.unwrap_or(retry.backoff_ms);
        retry.backoff_max_ms = retry.backoff_max_ms.max(retry.backoff_ms);
        retry.check().map_err(bad)?;
        let timeout_ms = match request.timeout_ms {
            Some(0) => None,
            Some(ms) => Some(span("timeout_ms", ms)?.as_millis() as u64),
            None => omitted.timeout_ms,
        };
        let spec = JobSpec {
            queue: request.queue.unwrap_or(omitted.queue),
            priority: request.priority.unwrap_or(omitted.priority),
            name,
            args,
            command,
            retry,
            timeout_ms,
            deadline: request.deadline,
            expires_at,
            on_lost: request.on_lost.unwrap_or_default(),
            require: request.require,
            tags: request.tags,
            correlation_id: request.correlation_id,
            key: request.key,
            by: request.by.or_else(|| Some(caller.name.clone())),
            schedule: None,
        };
        Ok(NewJob { spec, run_at, key_hash })
    }

    fn defaults(&self, name: &Name) -> Defaults {
        let all = &self.inner.settings.defaults;
        let own = self.inner.settings.by_name.get(name).cloned().unwrap_or_default();
        Defaults {
            queue: own.queue.or_else(|| all.queue.clone()),
            priority: own.priority.or(all.priority),
            retry: own.retry.or(all.retry),
            timeout_ms: own.timeout_ms.or(all.timeout_ms),
        }
    }

    /// The values of a job of this name for the fields that its request omits.
    fn omitted_values(&self, name: &Name, is_command: bool) -> OmittedValues {
        let defaults = self.defaults(name);
        OmittedValues {
            queue: defaults.queue.unwrap_or_else(default_queue),
            priority: defaults.priority.unwrap_or_default(),
            // A command that a person gave is not retried and has no timeout, unless the request asks.
            retry: match defaults.retry {
                _ if is_command => RetryPolicy::none(),
                Some(retry) => retry,
                None => RetryPolicy::default(),
            },
            timeout_ms: defaults.timeout_ms.filter(|_| !is_command),
        }
    }

    fn check_command(&self, caller: &Caller, command: &Command) -> Result<()> {
        let bad = |detail: String| Problem::new(Code::BadRequest, detail);
        if !self.inner.settings.allow_commands {
            let detail = "this server does not accept commands given with jobs";
            return Err(Problem::new(Code::NotAllowed, detail)
                .hint("`[worker] commands = true` in its configuration allows them"));
        }
        caller.need(Scope::Exec)?;
        if command.argv.first().is_none_or(String::is_empty) {
            return Err(bad("the command names no program".to_owned()));
        }
        if let Some(name) =
            command.caller_env.keys().find(|name| !Command::CALLER_ENV.contains(&name.as_str()))
        {
            let shown: String = name.chars().take(80).collect();
            let known = Command::CALLER_ENV.join("`, `");
            return Err(bad(format!("`caller_env` may contain `{known}`, found `{shown}`")));
        }
        command.umask().map_err(bad)?;
        if command.argv.len() + command.env.len() > limits::COMMAND_WORDS {
            let most = limits::COMMAND_WORDS;
            return Err(Problem::new(
                Code::TooLarge,
                format!("a command has at most {most} arguments and variables"),
            ));
        }
        let variables = command.env.values().chain(command.caller_env.values());
        let words = command.argv.iter().chain(command.env.keys()).chain(variables);
        let bytes: usize = words.clone().map(String::len).sum();
        if bytes > limits::ARGS_BYTES {
            let most = limits::ARGS_BYTES;
            return Err(Problem::new(
                Code::TooLarge,
                format!("a command with its environment is at most {most} bytes, found {bytes}"),
            ));
        }
        if words.chain(&command.cwd).any(|word| word.contains('\0')) {
            return Err(bad("a command cannot contain NUL".to_owned()));
        }
        if let Some(cwd) = command.cwd.as_ref().filter(|cwd| !cwd.starts_with('/')) {
            let shown: String = cwd.chars().take(80).collect();
            let detail = format!("`cwd` of a command must be an absolute path, found `{shown}`");
            return Err(bad(detail));
        }
        if let Some(name) = command.env.keys().find(|name| name.is_empty() || name.contains('=')) {
            return Err(bad(format!("`{name}` is not a name of a variable")));
        }
        if let Some(stdin) = &command.stdin {
            let decoded = base64::engine::general_purpose::STANDARD
                .decode(stdin)
                .map_err(|_| bad("`stdin` of a command must be base64".to_owned()))?;
            if decoded.len() > limits::STDIN_BYTES {
                let (most, found) = (limits::STDIN_BYTES, decoded.len());
                return Err(Problem::new(
                    Code::TooLarge,
                    format!("standard input is at most {most} bytes, found {found}"),
                ));
            }
        }
        Ok(())
    }

    /// A warning if no live worker has a handler for the job type.
    pub(crate) async fn warning(&self, name: &Name) -> Option<String> {
        let all = self.live_capabilities().await?;
        if all.iter().any(|worker| worker.handlers.contains(name)) {
            return None;
        }
        let known = all.iter().flat_map(|worker| &worker.handlers).map(Name::as_str);
        let near = nearest(name.as_str(), known);
        let near = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        Some(format!("no live worker has a handler `{name}`{near}"))
    }

    /// `None` if they cannot be read: a missing warning is no error.
    async fn live_capabilities(&self) -> Option<Arc<Vec<Capabilities>>> {
        let now = self.now();
        let cached = {
            let cached = self.inner.capabilities.lock();
            cached.clone()
        };
        if let Some((at, all)) = cached
            && (0..CAPABILITIES_MS).contains(&(now.as_millis() - at.as_millis()))
        {
            return Some(all);
        }
        let workers = self.live_workers().await.ok()?;
        let all: Vec<Capabilities> =
            workers.into_iter().map(|worker| worker.report.registration.offer).collect();
        let all = Arc::new(all);
        let mut cached = self.inner.capabilities.lock();
        *cached = Some((now, Arc::clone(&all)));
        Some(all)
    }
}

/// Checks JSON of a client or worker.
fn check_json(what: &str, json: &Json, most: usize) -> Result<()> {
    json::check(json.get(), most).map_err(|unfit| {
        let code = match unfit {
            Unfit::TooLarge { .. } => Code::TooLarge,
            Unfit::TooDeep
            | Unfit::HalfCharacter { .. }
            | Unfit::Number { .. }
            | Unfit::Syntax { .. } => Code::BadRequest,
        };
        let problem = Problem::new(code, format!("`{what}`: {unfit}"));
        match unfit.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    })
}

/// What the event of an accepted job contains, and when the scheduler must wake for it.
struct AcceptedHead {
    name: Name,
    queue: Name,
    /// The earliest of its due time, expiry and deadline.
    due: Option<Timestamp>,
}

impl AcceptedHead {
    fn of(job: &NewJob) -> Self {
        let spec = &job.spec;
        let due = [job.run_at, spec.expires_at, spec.deadline].into_iter().flatten().min();
        Self { name: spec.name.clone(), queue: spec.queue.clone(), due }
    }
}

pub(crate) fn no_answer() -> Problem {
    Problem::new(Code::Internal, "the store did not answer for the job")
}

pub(crate) fn empty_args() -> Json {
    RawValue::from_string("{}".to_owned()).map_or_else(|_| json_null(), Json::from)
}

fn default_queue() -> Name {
    Name::from_any("default")
}

fn name_of(request: &EnqueueRequest) -> Option<Name> {
    request.name.clone().or_else(|| request.command.as_ref().map(command_name))
}

fn command_name(command: &Command) -> Name {
    let program = command.argv.first().map(String::as_str).unwrap_or_default();
    Name::from_any(program.rsplit('/').next().unwrap_or(program))
}
