//! The commands, one file each, and what they share.

pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod change;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod ctx;
pub(crate) mod daemon;
pub(crate) mod dlq;
pub(crate) mod enqueue;
pub(crate) mod help;
pub(crate) mod interrupt;
pub(crate) mod jobs;
pub(crate) mod logs;
pub(crate) mod node;
pub(crate) mod operation;
pub(crate) mod queue;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod show;
pub(crate) mod store;
pub(crate) mod token;
pub(crate) mod top;
pub(crate) mod wait;
pub(crate) mod worker;

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Read};

use base64::Engine as _;
use orx_client::{Client, ConnectionEvent};
use orx_model::filter::Filter;
use orx_model::job::CancelRequest;
use orx_model::time::{Toward, parse_time};
use orx_model::wire::Condition;
use orx_model::{
    AttemptId, CauseId, Command, Job, JobId, JobStatus, RetryPolicy, Timestamp, limits,
};

use self::interrupt::Interrupts;
use crate::error::{CliError, Exit};
use crate::state::StateDir;
use crate::ui::Ui;

/// What a client command works with: its output, its server, its state folder.
pub(crate) struct Session {
    pub(crate) ui: Ui,
    pub(crate) client: Client,
    pub(crate) state: StateDir,
}

/// A filter expression, and the flags that abbreviate its terms.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct FilterArgs {
    /// Filter expression; `orx help filters` explains it
    #[arg(long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,
    /// Only jobs in these statuses, separated by commas
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<String>,
    /// Only jobs of this queue
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: Option<String>,
    /// Only jobs of this type; `*` stands for any text
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Only jobs accepted since a time, or since a duration ago
    #[arg(long, value_name = "T")]
    pub(crate) since: Option<String>,
    /// Only dead letters of this cause; `orx dlq top` lists the causes
    #[arg(long, value_name = "ID")]
    pub(crate) cause: Option<CauseId>,
    /// Only jobs with this tag, `name=value`
    #[arg(short = 't', long = "tag", value_name = "K=V")]
    pub(crate) tags: Vec<String>,
}

impl FilterArgs {
    /// The filter in the form that the server expects: times in the caller's zone become absolute.
    /// `None` if no filter is given.
    ///
    /// # Errors
    /// A tag has no value, or the expression does not parse.
    pub(crate) fn expression(&self, ui: &Ui) -> Result<Option<String>, CliError> {
        let mut terms: Vec<String> = self.filter.iter().cloned().collect();
        if let Some(status) = &self.status {
            terms.push(format!("status:{status}"));
        }
        let quoted = |key: &str, value: &str| format!("{key}:\"{}\"", value.replace('"', ""));
        for (key, value) in [("queue", &self.queue), ("name", &self.name), ("since", &self.since)] {
            if let Some(value) = value {
                terms.push(quoted(key, value));
            }
        }
        terms.extend(self.cause.map(|cause| format!("cause:{cause}")));
        for tag in &self.tags {
            let (name, value) = pair(tag)?;
            terms.push(quoted(&format!("tag.{name}"), &value));
        }
        if terms.is_empty() {
            return Ok(None);
        }
        let text = terms.join(" ");
        let filter = Filter::parse(&text, crate::clock::wall(), ui.zone()?).map_err(|error| {
            let hint = error.hint.clone();
            CliError::usage(error.message.clone())
                .cause(error.caret(&text))
                .hint(hint.unwrap_or_else(|| "`orx help filters` explains the language".into()))
        })?;
        Ok(Some(filter.to_string()))
    }
}

/// Splits `name=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), CliError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(CliError::usage(format!("expected `name=value`, found `{text}`"))),
    }
}

/// Parses a time; an ambiguous one such as `09:00` is the next such time.
pub(crate) fn future_time(text: &str, ui: &Ui) -> Result<Timestamp, CliError> {
    parse_time(text, crate::clock::wall(), ui.zone()?, Toward::Future)
        .map_err(|error| CliError::usage(error.to_string()))
}

/// The command of a job. `cwd` defaults to the caller's folder; `env` lists the variables that the
/// command gets. `stdin` reads this process's standard input and passes it to the command.
pub(crate) fn command(
    argv: Vec<String>,
    cwd: Option<&str>,
    env: &[String],
    stdin: bool,
    ui: &Ui,
) -> Result<Command, CliError> {
    let stdin = stdin.then(|| stdin_base64(ui)).transpose()?;
    let (cwd, env) = (Some(folder(cwd)?), variables(env)?);
    Ok(Command { argv, cwd, env, stdin, ..Command::default() })
}

/// Adds what `orx run` passes on from its caller: umask, PATH, locale and time zone.
pub(crate) fn with_caller_settings(command: Command) -> Command {
    // A value that is not UTF-8 cannot be sent: the worker's value is used.
    let variable = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
    Command {
        caller_env: Command::CALLER_ENV.into_iter().filter_map(variable).collect(),
        umask: umask(),
        ..command
    }
}

/// This process's umask in octal. The system call that returns it also changes it, so it is read
/// from `/proc`.
fn umask() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let text = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    Some(text.trim().to_owned())
}

/// All variables of this process that are UTF-8, except `ORX_TOKEN`.
pub(crate) fn whole_environment() -> BTreeMap<String, String> {
    let all = std::env::vars_os();
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name != "ORX_TOKEN")
        .collect()
}

/// Absolute path of the named folder, else of the caller's working directory.
pub(crate) fn folder(named: Option<&str>) -> Result<String, CliError> {
    let folder = match named {
        Some(named) => std::path::absolute(named),
        None => std::env::current_dir(),
    };
    Ok(folder.map_err(|error| no_folder(&error))?.to_string_lossy().into_owned())
}

/// The working directory has no path, for example because it was removed.
fn no_folder(error: &std::io::Error) -> CliError {
    let link = std::fs::read_link("/proc/self/cwd").unwrap_or_default();
    let link = link.to_string_lossy();
    let message = match link.strip_suffix(" (deleted)") {
        Some(removed) => format!("the working directory `{removed}` was removed"),
        None => format!("cannot determine the path of the working directory `{link}`"),
    };
    CliError::new(Exit::Failed, "folder", message)
        .cause(error.to_string())
        .hint("`cd` to an existing folder, or name one with `--cwd` and an absolute path")
}

/// Parses `K=V`, or `K`, which takes the caller's value.
pub(crate) fn variables(env: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let variable = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => match std::env::var(text) {
            Ok(value) => Ok((text.clone(), value)),
            Err(_) => Err(CliError::usage(format!("the variable `{text}` is not set"))
                .hint(format!("`{text}=VALUE` gives it a value"))),
        },
    };
    env.iter().map(variable).collect()
}

/// This process's standard input, encoded for the API.
pub(crate) fn stdin_base64(ui: &Ui) -> Result<String, CliError> {
    let bytes = read_stdin(ui, limits::STDIN_BYTES)?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// A job as it is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobReference {
    /// The job: an id, or `key:…`.
    pub(crate) text: String,
    /// The attempt, if the reference is one, such as `1423.2`.
    pub(crate) attempt: Option<u32>,
}

impl JobReference {
    /// `1423`, `1423.2`, `@last`, `key:order-42`.
    pub(crate) fn parse(text: &str, state: &StateDir) -> Result<Self, CliError> {
        if text == "@last" {
            let last = state.last().ok_or_else(|| {
                CliError::new(Exit::NotFound, "not_found", "`@last` stands for no job yet")
                    .hint("`orx jobs` lists the newest jobs")
            })?;
            return Ok(Self { text: last.to_string(), attempt: None });
        }
        if text.starts_with("key:") {
            return Ok(Self { text: text.to_owned(), attempt: None });
        }
        if let Ok(attempt) = text.parse::<AttemptId>() {
            let number = Some(attempt.number.get());
            return Ok(Self { text: attempt.job.to_string(), attempt: number });
        }
        let id: JobId = text.parse().map_err(|_| {
            CliError::usage(format!("`{text}` does not name a job"))
                .hint("a job is an id such as `1423`, `@last`, or `key:` and its key")
        })?;
        Ok(Self { text: id.to_string(), attempt: None })
    }

    /// The reference as the API expects it. It includes the attempt, so that the server answers
    /// "not found" for an attempt that does not exist.
    pub(crate) fn api_text(&self) -> String {
        match self.attempt {
            Some(attempt) => format!("{}.{attempt}", self.text),
            None => self.text.clone(),
        }
    }

    /// The job's id; asks the server if the reference is a key or an attempt.
    pub(crate) async fn id(&self, client: &Client) -> Result<JobId, CliError> {
        let text = self.api_text();
        match text.parse() {
            Ok(id) => Ok(id),
            Err(_) => Ok(client.job(&text).await?.job.id),
        }
    }
}

/// The jobs named on the command line; `-` reads them from standard input, one a line.
pub(crate) fn references(
    session: &Session,
    named: &[String],
) -> Result<Vec<JobReference>, CliError> {
    let mut all = Vec::new();
    for text in named {
        if text == "-" {
            for line in open_stdin(&session.ui)?.lines() {
                let line = line?;
                if !line.trim().is_empty() {
                    all.push(JobReference::parse(line.trim(), &session.state)?);
                }
            }
        } else {
            all.push(JobReference::parse(text, &session.state)?);
        }
    }
    Ok(all)
}

/// Neither a job nor a filter is given.
pub(crate) fn no_job_named() -> CliError {
    CliError::usage("no job is named, and no filter is given")
        .hint("name jobs by id, or give a filter such as `--status` or `--filter`")
}

/// Both jobs and a filter are given.
pub(crate) fn jobs_and_filter() -> CliError {
    CliError::usage("jobs are named and a filter is given")
        .hint("name jobs, or give a filter, not both")
}

/// All jobs that match a filter, oldest first.
pub(crate) async fn matching(
    session: &Session,
    filter: String,
) -> Result<Vec<JobReference>, CliError> {
    let mut query = orx_model::wire::ListQuery {
        filter: Some(filter),
        limit: Some(orx_model::limits::PAGE_ROWS as u32),
        oldest_first: Some(true),
        ..Default::default()
    };
    let mut jobs = Vec::new();
    loop {
        let page = session.client.list(&query).await?;
        jobs.extend(
            page.jobs.iter().map(|job| JobReference { text: job.id.to_string(), attempt: None }),
        );
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(jobs);
        }
    }
}

/// Opens standard input. Commands read it only where an argument asks for it.
pub(crate) fn open_stdin(ui: &Ui) -> Result<std::io::StdinLock<'static>, CliError> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        ui.note("reading from the terminal; Ctrl-D ends the input");
    }
    Ok(stdin.lock())
}

/// Reads all of standard input.
///
/// # Errors
/// It is longer than `max_bytes`, or cannot be read.
pub(crate) fn read_stdin(ui: &Ui, max_bytes: usize) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    open_stdin(ui)?.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes {
        return Err(CliError::usage(format!("standard input is longer than {max_bytes} bytes")));
    }
    Ok(bytes)
}

/// Exit code of a command that waited for this job.
#[must_use]
pub(crate) fn exit_of(job: &Job) -> Exit {
    match job.state.status {
        JobStatus::Completed => Exit::Success,
        JobStatus::Cancelled => Exit::Cancelled,
        JobStatus::Failed | JobStatus::TimedOut => {
            if job.spec.command.is_none() {
                return Exit::Failed;
            }
            match (job.state.status, job.state.exit, job.state.dead) {
                (_, _, Some(orx_model::job::DeadReason::Lost)) => Exit::RunFailed,
                // The code of timeout(1), whatever code the program chose after SIGTERM.
                (JobStatus::TimedOut, _, _) => Exit::TimedOut,
                (_, Some(exit), _) => match u8::try_from(exit.shell_code()).unwrap_or(1) {
                    // The program reported a failure with `orx ctx fail` and exited with 0.
                    0 => Exit::Failed,
                    code => Exit::Command(code),
                },
                (_, None, _) => Exit::RunFailed,
            }
        }
        JobStatus::Created
        | JobStatus::Pending
        | JobStatus::Scheduled
        | JobStatus::Dispatched
        | JobStatus::Running => Exit::Failed,
    }
}

/// `--timeout` has passed: a note for people, an error object for programs that read JSON.
pub(crate) fn wait_timed_out(ui: &Ui, note: &str) -> Result<Exit, CliError> {
    if ui.format.is_json() {
        return Err(CliError::new(Exit::TimedOut, "timed_out", "`--timeout` has passed")
            .hint(note.to_owned()));
    }
    ui.note(note);
    Ok(Exit::TimedOut)
}

/// The note after an interrupted wait: which commands resume the wait, or cancel the jobs. It names
/// ids, because `@last` may stand for another job by then.
#[must_use]
pub(crate) fn resume_note(command: &str, does: &str, jobs: &[String], state: &StateDir) -> String {
    let id = |job: &String| match (job.as_str(), state.last()) {
        ("@last", Some(last)) => last.to_string(),
        (named, _) => named.to_owned(),
    };
    if jobs.is_empty() || jobs.iter().any(|job| job == "-") {
        return format!("the jobs continue; the same command {does} them again");
    }
    let named = jobs.iter().map(id).collect::<Vec<_>>().join(" ");
    let (subject, them) = match jobs {
        [_] => (format!("{named} continues"), "it"),
        _ => ("the jobs continue".to_owned(), "them"),
    };
    format!("{subject}; `orx {command} {named}` {does} {them}, `orx cancel {named}` cancels {them}")
}

/// Runs a command until it ends or a signal interrupts it. A signal leaves the jobs as they are;
/// the note names the command that resumes.
pub(crate) async fn interruptible(
    ui: &Ui,
    resume_note: Option<String>,
    command: impl Future<Output = Result<Exit, CliError>>,
) -> Result<Exit, CliError> {
    let mut interrupts = Interrupts::new()?;
    tokio::select! {
        ended = command => ended,
        signal = interrupts.next() => {
            if let Some(note) = resume_note {
                ui.note(&note);
            }
            Ok(Exit::Interrupted(signal))
        }
    }
}

/// Prints a note for each change of the connection to the server, and of the server's condition.
pub(crate) fn connection_notes(ui: &Ui) -> impl FnMut(ConnectionEvent) + use<> {
    let ui = ui.clone();
    move |event| match event {
        ConnectionEvent::Lost => ui.note("lost the connection to the server; reconnecting"),
        ConnectionEvent::Refused(why) => {
            ui.note(&format!("the server refuses the request for now ({why}); trying again"))
        }
        ConnectionEvent::Back => ui.note("reconnected"),
        ConnectionEvent::Server(condition) => ui.note(match condition {
            Condition::Stopping => "the server is stopping; waiting for the next one",
            Condition::StoreFull => {
                "the disk of the server's store is full; waiting for free space"
            }
            Condition::StoreAway => "the server's store accepts no writes; waiting until it does",
            Condition::Well => "the server's store accepts writes again",
            Condition::Other => return,
        }),
    }
}

/// Number of the attempt, and how many the retry policy allows. Lost attempts do not count against
/// the policy and `orx retry` resets the count, so the number can exceed the limit; then only the
/// number is shown.
pub(crate) fn tries(attempt: u32, retry: &RetryPolicy, separator: &str) -> String {
    let limit = u64::from(retry.retries) + 1;
    if u64::from(attempt) > limit {
        return attempt.to_string();
    }
    format!("{attempt}{separator}{limit}")
}

/// The reason for a job's status, for people: that of the cancel, else the error.
#[must_use]
pub(crate) fn why(
    status: JobStatus,
    cancel: Option<&CancelRequest>,
    error: Option<&str>,
) -> String {
    let reason = cancel.and_then(|cancel| cancel.reason.as_deref());
    let why = match (status, reason) {
        (JobStatus::Cancelled, Some(reason)) => reason,
        (JobStatus::Completed, _) => "",
        _ => error.unwrap_or_default(),
    };
    why.to_owned()
}
