//! The commands, a file each, and what they share.

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
pub(crate) mod queue;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod show;
pub(crate) mod store;
pub(crate) mod token;
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
use orx_model::{AttemptId, Command, Job, JobId, JobStatus, RetryPolicy, Timestamp, limits};

use self::interrupt::Interrupts;
use crate::error::{CliError, Exit};
use crate::state::StateDir;
use crate::ui::Ui;

/// What a command works with.
pub(crate) struct Session {
    pub(crate) ui: Ui,
    pub(crate) client: Client,
    pub(crate) state: StateDir,
}

/// A filter expression and the flags that are short for it.
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
    /// Only jobs accepted since a time, or so long ago
    #[arg(long, value_name = "T")]
    pub(crate) since: Option<String>,
    /// Only jobs with this tag, `name=value`
    #[arg(short = 't', long = "tag", value_name = "K=V")]
    pub(crate) tags: Vec<String>,
}

impl FilterArgs {
    /// As the server takes it: times of the caller's clock and zone are made absolute here.
    ///
    /// # Errors
    /// A tag without a value, or an expression that is wrong.
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

/// `name=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), CliError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(CliError::usage(format!("expected `name=value`, found `{text}`"))),
    }
}

/// A time to come, as it is typed.
pub(crate) fn coming(text: &str, ui: &Ui) -> Result<Timestamp, CliError> {
    parse_time(text, crate::clock::wall(), ui.zone()?, Toward::Future)
        .map_err(|error| CliError::usage(error.to_string()))
}

/// A command as a job gets it: the folder is the caller's if none is named, and of the caller's
/// environment only what is. With `stdin`, this one's standard input is read.
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

/// What a command that `orx run` gives has of its caller beside its folder.
pub(crate) fn of_caller(command: Command) -> Command {
    // One that is no text cannot be sent: the worker's stands.
    let variable = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
    Command {
        caller_env: Command::CALLER_ENV.into_iter().filter_map(variable).collect(),
        umask: umask(),
        ..command
    }
}

/// This process's own, in octal. To ask the kernel for it means to change it, so it is read.
fn umask() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let text = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    Some(text.trim().to_owned())
}

/// Of this process's environment all that is text and no secret of its own.
pub(crate) fn whole_environment() -> BTreeMap<String, String> {
    let all = std::env::vars_os();
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name != "ORX_TOKEN")
        .collect()
}

/// The folder that is named, else the caller's.
pub(crate) fn folder(named: Option<&str>) -> Result<String, CliError> {
    let folder = match named {
        Some(named) => std::path::absolute(named),
        None => std::env::current_dir(),
    };
    Ok(folder.map_err(|error| no_folder(&error))?.to_string_lossy().into_owned())
}

/// The folder that this process is in cannot be named: it was removed, say.
fn no_folder(error: &std::io::Error) -> CliError {
    let link = std::fs::read_link("/proc/self/cwd").unwrap_or_default();
    let link = link.to_string_lossy();
    let message = match link.strip_suffix(" (deleted)") {
        Some(gone) => format!("the folder `{gone}`, where this runs, was removed"),
        None => format!("cannot name the folder `{link}`, where this runs"),
    };
    CliError::new(Exit::Failed, "folder", message)
        .cause(error.to_string())
        .hint("`cd` to a folder that is there, or name one with `--cwd`, from `/` on")
}

/// `K=V`, or `K` with the caller's value.
pub(crate) fn variables(env: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let variable = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => match std::env::var(text) {
            Ok(value) => Ok((text.clone(), value)),
            Err(_) => Err(CliError::usage(format!("the variable `{text}` is not set here"))),
        },
    };
    env.iter().map(variable).collect()
}

/// This one's standard input, as a job gets it.
pub(crate) fn stdin_base64(ui: &Ui) -> Result<String, CliError> {
    let bytes = read_stdin(ui, limits::STDIN_BYTES)?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// A job as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobRef {
    /// The job itself: an id, or `key:…`.
    pub(crate) text: String,
    /// With `1423.2`, the attempt.
    pub(crate) attempt: Option<u32>,
}

impl JobRef {
    /// `1423`, `1423.2`, `@last`, `key:order-42`.
    pub(crate) fn parse(text: &str, state: &StateDir) -> Result<Self, CliError> {
        if text == "@last" {
            let last = state.last().ok_or_else(|| {
                CliError::new(Exit::NotFound, "not_found", "there is no last job yet")
                    .hint("`orx jobs` lists the newest")
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
            CliError::usage(format!("`{text}` is no job"))
                .hint("a job is an id such as `1423`, `@last`, or `key:` and its key")
        })?;
        Ok(Self { text: id.to_string(), attempt: None })
    }

    /// As the API is asked: with the attempt, so that one that was never made is not found.
    pub(crate) fn asked(&self) -> String {
        match self.attempt {
            Some(attempt) => format!("{}.{attempt}", self.text),
            None => self.text.clone(),
        }
    }

    pub(crate) async fn id(&self, client: &Client) -> Result<JobId, CliError> {
        let asked = self.asked();
        match asked.parse() {
            Ok(id) => Ok(id),
            Err(_) => Ok(client.job(&asked).await?.job.id),
        }
    }
}

/// The jobs named on the command line; `-` reads them from standard input, one a line.
pub(crate) fn references(session: &Session, named: &[String]) -> Result<Vec<JobRef>, CliError> {
    let mut all = Vec::new();
    for text in named {
        if text == "-" {
            for line in open_stdin(&session.ui)?.lines() {
                let line = line?;
                if !line.trim().is_empty() {
                    all.push(JobRef::parse(line.trim(), &session.state)?);
                }
            }
        } else {
            all.push(JobRef::parse(text, &session.state)?);
        }
    }
    Ok(all)
}

/// All jobs that a filter matches, the oldest first.
pub(crate) async fn matching(session: &Session, filter: String) -> Result<Vec<JobRef>, CliError> {
    let mut query = orx_model::wire::ListQuery {
        filter: Some(filter),
        limit: Some(orx_model::limits::PAGE_ROWS as u32),
        oldest_first: Some(true),
        ..Default::default()
    };
    let mut jobs = Vec::new();
    loop {
        let page = session.client.list(&query).await?;
        jobs.extend(page.jobs.iter().map(|job| JobRef { text: job.id.to_string(), attempt: None }));
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(jobs);
        }
    }
}

/// Standard input, which is read only when asked for.
pub(crate) fn open_stdin(ui: &Ui) -> Result<std::io::StdinLock<'static>, CliError> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        ui.note("reading from the terminal; Ctrl-D ends it");
    }
    Ok(stdin.lock())
}

/// All of standard input, up to a bound.
pub(crate) fn read_stdin(ui: &Ui, most: usize) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    open_stdin(ui)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(CliError::usage(format!("standard input is over {most} bytes")));
    }
    Ok(bytes)
}

/// How a command ends that waited for one job.
#[must_use]
pub(crate) fn exit_of(job: &Job) -> Exit {
    match job.state.status {
        JobStatus::Completed => Exit::Done,
        JobStatus::Cancelled => Exit::Cancelled,
        JobStatus::Failed | JobStatus::TimedOut => {
            if job.spec.command.is_none() {
                return Exit::Failed;
            }
            match (job.state.status, job.state.exit, job.state.dead) {
                (_, _, Some(orx_model::job::DeadReason::Lost)) => Exit::RunFailed,
                // As `timeout` ends, whatever code the program gave when it was told to.
                (JobStatus::TimedOut, _, _) => Exit::TimedOut,
                (_, Some(exit), _) => match u8::try_from(exit.shell_code()).unwrap_or(1) {
                    // It ended well and said that it failed: no success for who waits.
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

/// The time to wait is over: told to a person, and an error for a program that reads JSON.
pub(crate) fn not_in_time(ui: &Ui, said: &str) -> Result<Exit, CliError> {
    if ui.format.is_json() {
        return Err(CliError::new(Exit::TimedOut, "timed_out", "it was not there in time")
            .hint(said.to_owned()));
    }
    ui.note(said);
    Ok(Exit::TimedOut)
}

/// What to say when waiting is broken off: the commands that take it up again, and that end the
/// jobs. By their ids: `@last` may be another's by then.
#[must_use]
pub(crate) fn resume(command: &str, does: &str, jobs: &[String], state: &StateDir) -> String {
    let id = |job: &String| match (job.as_str(), state.last()) {
        ("@last", Some(last)) => last.to_string(),
        (named, _) => named.to_owned(),
    };
    if jobs.is_empty() || jobs.iter().any(|job| job == "-") {
        return format!("the jobs go on: the same command {does} them again");
    }
    let named = jobs.iter().map(id).collect::<Vec<_>>().join(" ");
    let (subject, them) = match jobs {
        [_] => (format!("{named} goes on"), "it"),
        _ => ("the jobs go on".to_owned(), "them"),
    };
    format!("{subject}: `orx {command} {named}` {does} {them}, `orx cancel {named}` cancels {them}")
}

/// Ctrl-C and its like leave the jobs as they are, and say how to go on.
pub(crate) async fn interruptible(
    ui: &Ui,
    resume: Option<String>,
    command: impl Future<Output = Result<Exit, CliError>>,
) -> Result<Exit, CliError> {
    let mut interrupts = Interrupts::new()?;
    tokio::select! {
        ended = command => ended,
        signal = interrupts.next() => {
            if let Some(resume) = resume {
                ui.note(&resume);
            }
            Ok(Exit::Interrupted(signal))
        }
    }
}

/// Says when the link is lost and when it is back.
pub(crate) fn link_note(ui: &Ui) -> impl FnMut(ConnectionEvent) + use<> {
    let ui = ui.clone();
    move |link| match link {
        ConnectionEvent::Lost => ui.note("the server is away: reconnecting"),
        ConnectionEvent::Refused(why) => {
            ui.note(&format!("the server takes no more now: {why}: asking again"))
        }
        ConnectionEvent::Back => ui.note("reconnected"),
        ConnectionEvent::Server(condition) => ui.note(match condition {
            Condition::Stopping => "the server is stopping: waiting for the next one",
            Condition::StoreFull => "no room on the disk of the server's store: waiting for room",
            Condition::StoreAway => "the server's store takes no writes: waiting until it does",
            Condition::Well => "the server's store takes writes again",
            Condition::Other => return,
        }),
    }
}

/// How often it was tried, of how many. A lost try costs none of those, and `orx retry` gives more:
/// beyond them only the first number says something.
pub(crate) fn tries(attempt: u32, retry: &RetryPolicy, of: &str) -> String {
    let most = u64::from(retry.retries) + 1;
    if u64::from(attempt) > most {
        return attempt.to_string();
    }
    format!("{attempt}{of}{most}")
}

/// What a person sees of why a job ended so.
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
