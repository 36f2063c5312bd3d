//! Taking jobs in: a request is checked whole before anything is kept.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use orx_model::job::{Command, Json, json_null};
use orx_model::text::nearest;
use orx_model::wire::{BatchLine, EnqueueAnswer, EnqueueRequest, V};
use orx_model::{Code, JobSpec, Name, Offer, Problem, RetryPolicy, limits};
use orx_store::Enqueued;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{Caller, ControlPanel, Defaults, Result, Scope, check_labels, store_problem};

/// How old what is known of live workers may be, for a warning.
const OFFERS_MS: i64 = 1_000;
/// Arrays and objects in args, one in the other: less than what JSON readers give up at.
const NESTING: usize = 64;

impl ControlPanel {
    /// # Errors
    /// [`Code::BadRequest`], [`Code::TooLarge`], [`Code::NotAllowed`], [`Code::KeyConflict`], and
    /// what the store refuses.
    pub async fn enqueue(&self, caller: &Caller, request: EnqueueRequest) -> Result<EnqueueAnswer> {
        let spec = self.spec(caller, request)?;
        let name = spec.command.is_none().then(|| spec.name.clone());
        let due = wake_at(&spec);
        let key = spec.key.clone();
        let now = self.now();
        let answers = self.store().enqueue(vec![spec], now).await.map_err(store_problem)?;
        let answer = answers.first().copied().ok_or_else(no_answer)?;
        self.wake([(answer, due)]);
        let (id, status, created) = accepted(answer, key.as_deref())?;
        let warning = match name {
            Some(name) if created => self.warning(&name).await,
            _ => None,
        };
        Ok(EnqueueAnswer { v: V, id, status, created, warning })
    }

    /// At most [`limits::BATCH_JOBS`], in one transaction; a line that is wrong does not sink the
    /// others. `first_line` is the number of the first.
    pub async fn enqueue_batch(
        &self,
        caller: &Caller,
        lines: Vec<Result<EnqueueRequest>>,
        first_line: u64,
    ) -> Vec<BatchLine> {
        let mut answers: Vec<BatchLine> = Vec::with_capacity(lines.len());
        let mut specs = Vec::new();
        let mut places = Vec::new();
        for (line, request) in (first_line..).zip(lines) {
            let checked = request.and_then(|request| self.spec(caller, request));
            let mut answer = BatchLine { line, id: None, created: None, error: None };
            match checked {
                Ok(spec) => {
                    places.push((answers.len(), wake_at(&spec), spec.key.clone()));
                    specs.push(spec);
                }
                Err(problem) => answer.error = Some(problem),
            }
            answers.push(answer);
        }
        if specs.is_empty() {
            return answers;
        }
        let now = self.now();
        match self.store().enqueue(specs, now).await {
            Ok(kept) => {
                self.wake(kept.iter().zip(&places).map(|(kept, (_, due, _))| (*kept, *due)));
                for (kept, (place, _, key)) in kept.into_iter().zip(places) {
                    match accepted(kept, key.as_deref()) {
                        Ok((id, _, created)) => {
                            answers[place].id = Some(id);
                            answers[place].created = Some(created);
                        }
                        Err(problem) => answers[place].error = Some(problem),
                    }
                }
            }
            Err(error) => {
                let problem = store_problem(error);
                for (place, _, _) in places {
                    answers[place].error = Some(problem.clone());
                }
            }
        }
        answers
    }

    fn wake(&self, kept: impl IntoIterator<Item = (Enqueued, Option<orx_model::Timestamp>)>) {
        let mut ready = false;
        for (answer, due) in kept {
            if let Enqueued::New { status, .. } = answer {
                ready |= status == orx_model::JobStatus::Pending;
                if let Some(due) = due {
                    self.inner.notices.due(due);
                }
            }
        }
        if ready {
            self.inner.notices.work();
        }
    }

    pub(crate) fn spec(&self, caller: &Caller, request: EnqueueRequest) -> Result<JobSpec> {
        caller.need(Scope::Service)?;
        let bad = |detail: String| Problem::new(Code::BadRequest, detail);
        let now = self.now();
        let key_hash = request.key.is_some().then(|| request_hash(&request));
        let command = request.command;
        if let Some(command) = &command {
            self.check_command(caller, command)?;
        }
        let name = match (&request.name, &command) {
            (Some(name), _) => name.clone(),
            (None, Some(command)) => command_name(command),
            (None, None) => return Err(bad("a job needs a `name`, or a `command`".to_owned())),
        };
        let args = request.args.unwrap_or_else(empty_args);
        if args.get().len() > limits::ARGS_BYTES {
            let (most, found) = (limits::ARGS_BYTES, args.get().len());
            let detail = format!("args are at most {most} bytes, found {found}");
            return Err(Problem::new(Code::TooLarge, detail)
                .hint("keep large data in a file or object store, and pass its name"));
        }
        if nesting(args.get()) > NESTING {
            return Err(bad(format!("args are nested at most {NESTING} deep")));
        }
        if let Some(wrong) = unreadable_number(args.get()) {
            return Err(bad("args hold a number that few programs can read".to_owned())
                .cause(wrong)
                .hint("give it as text"));
        }
        check_labels("tags", &request.tags)?;
        check_labels("required labels", &request.require)?;
        for (what, text) in [("key", &request.key), ("corr", &request.corr), ("by", &request.by)] {
            let most = limits::KEY_BYTES;
            if text.as_ref().is_some_and(|text| text.is_empty() || text.len() > most) {
                return Err(bad(format!("`{what}` is 1 to {most} bytes")));
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
                span("run_at", at.saturating_since(now).as_millis() as u64)?;
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
        let defaults = self.defaults(&name);
        let mut retry = match (&command, defaults.retry) {
            // What someone runs by hand is not run again unless told.
            (Some(_), _) => RetryPolicy::none(),
            (None, Some(retry)) => retry,
            (None, None) => RetryPolicy::default(),
        };
        retry.retries = request.retries.unwrap_or(retry.retries);
        retry.backoff_ms = request.backoff_ms.unwrap_or(retry.backoff_ms);
        retry.backoff_max_ms = retry.backoff_max_ms.max(retry.backoff_ms);
        retry.check().map_err(bad)?;
        let timeout_ms = match request.timeout_ms {
            Some(0) => None,
            Some(ms) => Some(span("timeout_ms", ms)?.as_millis() as u64),
            None if command.is_some() => None,
            None => defaults.timeout_ms,
        };
        Ok(JobSpec {
            queue: request.queue.or(defaults.queue).unwrap_or_else(default_queue),
            priority: request.priority.or(defaults.priority).unwrap_or_default(),
            name,
            args,
            command,
            run_at,
            retry,
            timeout_ms,
            deadline: request.deadline,
            expires_at,
            on_lost: request.on_lost.unwrap_or_default(),
            require: request.require,
            tags: request.tags,
            corr: request.corr,
            key: request.key,
            key_hash,
            by: request.by.or_else(|| Some(caller.name.clone())),
            schedule: None,
        })
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

    fn check_command(&self, caller: &Caller, command: &Command) -> Result<()> {
        let bad = |detail: String| Problem::new(Code::BadRequest, detail);
        if !self.inner.settings.allow_commands {
            let detail = "this server takes no commands with jobs";
            return Err(Problem::new(Code::NotAllowed, detail)
                .hint("`[worker] commands = true` in its configuration allows them"));
        }
        caller.need(Scope::Exec)?;
        if command.argv.first().is_none_or(String::is_empty) {
            return Err(bad("the command names no program".to_owned()));
        }
        if command.argv.len() + command.env.len() > limits::COMMAND_WORDS {
            let most = limits::COMMAND_WORDS;
            return Err(Problem::new(
                Code::TooLarge,
                format!("a command has at most {most} arguments and variables"),
            ));
        }
        let words = command.argv.iter().chain(command.env.keys()).chain(command.env.values());
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
        if let Some(name) = command.env.keys().find(|name| name.is_empty() || name.contains('=')) {
            return Err(bad(format!("`{name}` is no name of a variable")));
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

    /// The job is accepted, but nobody here runs such.
    pub(crate) async fn warning(&self, name: &Name) -> Option<String> {
        let offers = self.live_offers().await?;
        if offers.iter().any(|offer| offer.handlers.contains(name)) {
            return None;
        }
        let known = offers.iter().flat_map(|offer| &offer.handlers).map(Name::as_str);
        let near = nearest(name.as_str(), known);
        let near = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        Some(format!("no live worker has a handler `{name}`{near}"))
    }

    /// `None` where it cannot be had: a warning is not worth an error.
    pub(crate) async fn live_offers(&self) -> Option<Arc<Vec<Offer>>> {
        let now = self.now();
        let known = {
            let known = self.inner.offers.lock().unwrap_or_else(PoisonError::into_inner);
            known.clone()
        };
        if let Some((at, offers)) = known
            && (0..OFFERS_MS).contains(&(now.as_millis() - at.as_millis()))
        {
            return Some(offers);
        }
        let workers = self.live_workers().await.ok()?;
        let offers: Vec<Offer> =
            workers.into_iter().map(|worker| worker.report.registration.offer).collect();
        let offers = Arc::new(offers);
        let mut known = self.inner.offers.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((now, Arc::clone(&offers)));
        Some(offers)
    }
}

/// How deep arrays and objects of valid JSON stand in each other.
fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A number of valid JSON beyond what a double-precision float holds, which readers of JSON refuse,
/// `jq` and this program's own views among them. Read as values only where one may stand.
fn unreadable_number(json: &str) -> Option<String> {
    const DIGITS: usize = 300;
    let bytes = json.as_bytes();
    let exponent = |pair: &[u8]| pair[0].is_ascii_digit() && pair[1].eq_ignore_ascii_case(&b'e');
    let long = || bytes.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let suspect = bytes.windows(2).any(exponent) || long().any(|run| run.len() > DIGITS);
    suspect.then(|| serde_json::from_str::<serde_json::Value>(json).err())?.map(|e| e.to_string())
}

/// When the dispatcher must look at the job, if not at once.
fn wake_at(spec: &JobSpec) -> Option<orx_model::Timestamp> {
    [spec.run_at, spec.expires_at, spec.deadline].into_iter().flatten().min()
}

fn accepted(
    answer: Enqueued,
    key: Option<&str>,
) -> Result<(orx_model::JobId, orx_model::JobStatus, bool)> {
    match answer {
        Enqueued::New { id, status } => Ok((id, status, true)),
        Enqueued::Existing { id, status } => Ok((id, status, false)),
        Enqueued::KeyConflict { id } => {
            let key = key.unwrap_or_default();
            let detail = format!("the key `{key}` was used for another request");
            Err(Problem::new(Code::KeyConflict, detail)
                .cause(format!("it made the job `{id}`"))
                .hint("use a new key for a new job; `orx show` shows the one it made"))
        }
    }
}

pub(crate) fn no_answer() -> Problem {
    Problem::new(Code::Internal, "the store did not answer for the job")
}

fn empty_args() -> Json {
    RawValue::from_string("{}".to_owned()).map_or_else(|_| json_null(), Json::from)
}

fn default_queue() -> Name {
    Name::from_any("default")
}

fn command_name(command: &Command) -> Name {
    let program = command.argv.first().map(String::as_str).unwrap_or_default();
    Name::from_any(program.rsplit('/').next().unwrap_or(program))
}

/// Of all that was asked for but the key, in a form that does not depend on how it was written.
fn request_hash(request: &EnqueueRequest) -> String {
    let mut plain = request.clone();
    plain.key = None;
    let value = serde_json::to_value(&plain).unwrap_or_default();
    let hash = Sha256::digest(value.to_string().as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
