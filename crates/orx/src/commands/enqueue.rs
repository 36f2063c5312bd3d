//! `orx enqueue`: one job from the command line, or many from standard input.

use std::collections::BTreeMap;
use std::io::{BufRead, Read as _, Write};
use std::time::Duration;

use orx_model::job::Json;
use orx_model::policy::OnLost;
use orx_model::time::parse_duration;
use orx_model::wire::{BatchLine, EnqueueAnswer, EnqueueRequest};
use orx_model::{Code, JobStatus, Name, Priority, Problem, limits};
use serde_json::{Map, Value};

use super::logs::{Sink, follow};
use super::{
    Session, connection_notes, exit_of, future_time, interruptible, open_stdin, pair, read_stdin,
    resume_note, wait_timed_out,
};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Format, Ui};

/// Flags of a job, shared by `enqueue` and `run`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct JobArgs {
    /// Queue; default: the server's default queue
    #[arg(short, long, value_name = "QUEUE")]
    pub(crate) queue: Option<Name>,
    /// low, normal, high or critical
    #[arg(short, long, value_name = "PRIO")]
    pub(crate) priority: Option<Priority>,
    /// Start no earlier than this time
    #[arg(long, value_name = "T", conflicts_with = "delay")]
    pub(crate) at: Option<String>,
    /// Start no earlier than this long from now
    #[arg(long = "in", id = "delay", value_name = "D")]
    pub(crate) delay: Option<String>,
    /// Idempotency key: the same key gives the same job
    #[arg(long, value_name = "K")]
    pub(crate) key: Option<String>,
    /// Cancel the job if it has not started within this time
    #[arg(long, value_name = "D")]
    pub(crate) expires: Option<String>,
    /// No attempt starts or continues after this time
    #[arg(long, value_name = "T")]
    pub(crate) deadline: Option<String>,
    /// Longest time for one attempt; 0 means no limit
    #[arg(long, value_name = "D")]
    pub(crate) job_timeout: Option<String>,
    /// Number of retries after failures
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
    /// If the job's worker or server dies or stops: run the job again, or let it fail
    #[arg(long, value_name = "retry|fail")]
    pub(crate) on_lost: Option<String>,
    /// Label that the worker must have; repeatable
    #[arg(long, value_name = "LABEL=V")]
    pub(crate) require: Vec<String>,
    /// Tag; repeatable
    #[arg(short = 't', long = "tag", value_name = "K=V")]
    pub(crate) tags: Vec<String>,
    /// Correlation id, passed on to the handler
    #[arg(long = "corr", value_name = "ID")]
    pub(crate) correlation_id: Option<String>,
}

impl JobArgs {
    /// Copies the flags into a request.
    ///
    /// # Errors
    /// A time, duration, policy, label or tag is malformed.
    pub(crate) fn apply(self, request: &mut EnqueueRequest, ui: &Ui) -> Result<(), CliError> {
        let usage = |error: String| CliError::usage(error);
        let span = |text: &str| -> Result<u64, CliError> {
            parse_duration(text)
                .map(|span| span.as_millis() as u64)
                .map_err(|error| usage(error.to_string()))
        };
        let time = |text: &str| future_time(text, ui);
        request.queue = self.queue;
        request.priority = self.priority;
        request.run_at = self.at.as_deref().map(time).transpose()?;
        request.delay_ms = self.delay.as_deref().map(span).transpose()?;
        request.key = self.key;
        request.expires_ms = self.expires.as_deref().map(span).transpose()?;
        request.deadline = self.deadline.as_deref().map(time).transpose()?;
        request.timeout_ms = self.job_timeout.as_deref().map(span).transpose()?;
        request.retries = self.retries;
        request.on_lost = match self.on_lost.as_deref() {
            None => None,
            Some("retry") => Some(OnLost::Retry),
            Some("fail") => Some(OnLost::Fail),
            Some(other) => {
                return Err(usage(format!(
                    "`--on-lost` must be `retry` or `fail`, found `{other}`"
                )));
            }
        };
        let pairs = |all: &[String]| {
            all.iter().map(|text| pair(text)).collect::<Result<BTreeMap<_, _>, _>>()
        };
        request.require = pairs(&self.require)?;
        request.tags = pairs(&self.tags)?;
        request.correlation_id = self.correlation_id;
        request.by = Some(user());
        Ok(())
    }
}

/// The caller as people read it: `user@host`.
pub(crate) fn user() -> String {
    let name = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name =
        name.unwrap_or_else(|| "uid".to_owned() + &rustix::process::getuid().as_raw().to_string());
    format!("{name}@{}", host.trim())
}

/// Enqueue a job; it is on disk when this command ends
///
/// Arguments of the job are `key=text` and `key:=json`, or a whole JSON value from `@FILE` or, with
/// `-`, from standard input. With `--batch -` standard input is NDJSON, one job a line.
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::ENQUEUE)]
pub(crate) struct EnqueueArgs {
    /// The job type
    #[arg(required_unless_present = "batch")]
    name: Option<Name>,
    /// `k=v`, `k:=json`, `@file`, or `-`
    #[arg(value_name = "ARG")]
    args: Vec<String>,
    #[command(flatten)]
    job: JobArgs,
    /// Read jobs from standard input, one JSON object a line
    #[arg(long, value_name = "-", conflicts_with_all = ["name", "args", "wait", "follow"])]
    batch: Option<String>,
    /// Wait until the job has ended, and exit with its code
    #[arg(long)]
    wait: bool,
    /// Print the job's output, wait until it has ended, and exit with its code
    #[arg(long)]
    follow: bool,
    /// Stop waiting after this time; the job continues
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    timeout: Option<Duration>,
}

/// Replaces "not found" for the job of a reused key. A key outlives its job: once retention has
/// removed the job, only its final status is known.
pub(crate) fn or_removed(
    ui: &Ui,
    answer: &EnqueueAnswer,
    ended: Result<Exit, CliError>,
) -> Result<Exit, CliError> {
    match ended {
        Err(error)
            if error.exit == Exit::NotFound && !answer.created && answer.status.is_final() =>
        {
            let (id, status) = (answer.id, answer.status.words());
            ui.note(&format!("the key belongs to job {id} ({status}), which was removed since"));
            Ok(match answer.status {
                JobStatus::Completed => Exit::Success,
                JobStatus::Cancelled => Exit::Cancelled,
                _ => Exit::Failed,
            })
        }
        ended => ended,
    }
}

pub(crate) async fn run(args: EnqueueArgs, session: &Session) -> Result<Exit, CliError> {
    if let Some(from) = &args.batch {
        if from != "-" {
            return Err(CliError::usage(format!("`--batch` reads only `-`, found `{from}`"))
                .hint("`--batch - < FILE` reads a file"));
        }
        return batch(session, args.job).await;
    }
    let mut request = EnqueueRequest { name: args.name, ..EnqueueRequest::default() };
    request.args = job_args(&session.ui, &args.args)?;
    args.job.apply(&mut request, &session.ui)?;
    let answer = session.client.enqueue(request).await?;
    session.state.remember_last(answer.id);
    if let Some(warning) = &answer.warning {
        session.ui.warn(warning);
    }
    let reference = answer.id.to_string();
    let jobs = [reference.clone()];
    if args.follow {
        let following = follow(session, &reference, Sink::default(), args.timeout);
        let resume_note = resume_note("logs -f", "follows", &jobs, &session.state);
        let ended = interruptible(&session.ui, Some(resume_note), following).await;
        return or_removed(&session.ui, &answer, ended);
    }
    if args.wait {
        let resume_note = resume_note("wait", "waits for", &jobs, &session.state);
        let waiting = session.client.wait(&reference, None, connection_notes(&session.ui));
        let waiting = async {
            let Some(job) = crate::within(args.timeout, waiting).await? else {
                return wait_timed_out(&session.ui, &resume_note);
            };
            super::show::print_job(&session.ui, &job)?;
            Ok(exit_of(&job))
        };
        let ended = interruptible(&session.ui, Some(resume_note.clone()), waiting).await;
        return or_removed(&session.ui, &answer, ended);
    }
    let what = if answer.created { "enqueued" } else { "the key belongs to job" };
    match session.ui.format {
        Format::Table | Format::Wide => {
            let line = format!("{what} {reference} ({})\n", answer.status.words());
            if !session.ui.quiet {
                session.ui.raw(line.as_bytes())?;
            }
        }
        _ => session.ui.one(&answer, &reference, &[("id", Cell::new(reference.clone()))])?,
    }
    Ok(Exit::Success)
}

/// Parses the arguments of a job; `None` if there are none.
///
/// # Errors
/// An argument is malformed, or a file or standard input is not JSON.
pub(crate) fn job_args(ui: &Ui, given: &[String]) -> Result<Option<Json>, CliError> {
    let parse = |text: &str, from: &str| -> Result<Value, CliError> {
        serde_json::from_str(text).map_err(|error| {
            CliError::usage(format!("{from} is not valid JSON")).cause(error.to_string())
        })
    };
    let mut fields = Map::new();
    let mut whole = None;
    for text in given {
        let value = if text == "-" || text == "@-" {
            let bytes = read_stdin(ui, limits::ARGS_BYTES)?;
            Some(parse(&String::from_utf8_lossy(&bytes), "standard input")?)
        } else if let Some(path) = text.strip_prefix('@') {
            let text = std::fs::read_to_string(path).map_err(|error| {
                CliError::usage(format!("could not read `{path}`")).cause(error.to_string())
            })?;
            Some(parse(&text, &format!("`{path}`"))?)
        } else {
            let (name, value) = match (text.split_once(":="), text.split_once('=')) {
                // The first `=` decides, so that a value may contain `:=`.
                (Some((name, json)), Some((plain, _))) if plain.len() == name.len() + 1 => {
                    (name, parse(json, &format!("`{name}`"))?)
                }
                (_, Some((name, value))) => (name, Value::from(value)),
                (_, None) => {
                    let error =
                        format!("expected `key=text`, `key:=json`, `@file` or `-`, found `{text}`");
                    return Err(CliError::usage(error));
                }
            };
            if name.is_empty() {
                return Err(CliError::usage(format!("`{text}` has no key before the `=`")));
            }
            fields.insert(name.to_owned(), value);
            None
        };
        if let Some(value) = value
            && whole.replace(value).is_some()
        {
            return Err(CliError::usage(
                "more than one argument is a whole JSON value (`@file` or `-`); give one",
            ));
        }
    }
    let value = match whole {
        None if given.is_empty() => return Ok(None),
        None => Value::Object(fields),
        Some(Value::Object(mut object)) => {
            object.extend(fields);
            Value::Object(object)
        }
        Some(other) if fields.is_empty() => other,
        Some(_) => {
            return Err(CliError::usage("`key=text` can only be added to a JSON object"));
        }
    };
    let raw = serde_json::value::to_raw_value(&value)?;
    orx_model::json::check(raw.get(), limits::ARGS_BYTES).map_err(|unfit| {
        let error = CliError::usage(format!("args: {unfit}"));
        match unfit.hint() {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })?;
    Ok(Some(Json::from(raw)))
}

/// Enqueues a batch. With `-o json` the answers form one array.
async fn batch(session: &Session, job: JobArgs) -> Result<Exit, CliError> {
    if session.ui.format != Format::Json {
        return batch_lines(session, job).await;
    }
    session.ui.raw(b"[")?;
    let ended = batch_lines(session, job).await;
    // Close the array after a failure too, so that the answers so far are valid JSON.
    let closed = session.ui.raw(b"]\n");
    let exit = ended?;
    closed?;
    Ok(exit)
}

/// Sends the lines in chunks; answers are printed line by line, in order.
async fn batch_lines(session: &Session, job: JobArgs) -> Result<Exit, CliError> {
    let mut flags = EnqueueRequest::default();
    job.apply(&mut flags, &session.ui)?;
    if flags.key.is_some() {
        return Err(CliError::usage(
            "`--key` is for a single job; in a batch each line has its own `key`",
        ));
    }
    let mut lines = open_stdin(&session.ui)?;
    let mut summary = BatchSummary { ui: &session.ui, done: 0, refused: 0, first_refusal: None };
    let mut number = 0;
    loop {
        let BatchChunk { requests, line_numbers, malformed, ended } =
            read_chunk(&mut lines, &mut number, &flags)?;
        let answers = if requests.is_empty() {
            Ok(Vec::new())
        } else {
            session.client.enqueue_batch(&requests).await
        };
        let failed = answers.is_err();
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                let error = CliError::from(error);
                summary.first_refusal.get_or_insert(error.exit);
                let problem = outcome_unknown(&error);
                let line = |_| BatchLine {
                    line: 0,
                    id: None,
                    created: None,
                    error: Some(problem.clone()),
                };
                line_numbers.iter().map(line).collect()
            }
        };
        let answers = answers.into_iter().zip(&line_numbers);
        let mut all: Vec<BatchLine> =
            answers.map(|(answer, line)| BatchLine { line: *line, ..answer }).collect();
        all.extend(malformed);
        all.sort_by_key(|answer| answer.line);
        if failed && !ended {
            let detail = "this line and all after it were not sent";
            let problem = Problem::new(Code::Unavailable, detail);
            let (line, error) = (number + 1, Some(problem));
            all.push(BatchLine { line, id: None, created: None, error });
        }
        summary.print(&all)?;
        if ended || failed {
            break;
        }
    }
    if session.ui.format.is_human() {
        session.ui.note(&format!("enqueued {}, refused {}", summary.done, summary.refused));
    }
    Ok(match (summary.done, summary.first_refusal) {
        (_, None) => Exit::Success,
        (0, Some(exit)) => exit,
        _ => Exit::Partial,
    })
}

/// Outcomes of the lines so far.
struct BatchSummary<'u> {
    ui: &'u Ui,
    done: u64,
    refused: u64,
    first_refusal: Option<Exit>,
}

impl BatchSummary<'_> {
    fn print(&mut self, answers: &[BatchLine]) -> Result<(), CliError> {
        for answer in answers {
            let first = self.done + self.refused == 0;
            match &answer.error {
                Some(problem) => {
                    self.refused += 1;
                    self.first_refusal.get_or_insert_with(|| CliError::from(problem.clone()).exit);
                }
                None => self.done += 1,
            }
            print_line(self.ui, answer, first)?;
        }
        Ok(())
    }
}

/// The problem of each line in a request that got no answer.
fn outcome_unknown(error: &CliError) -> Problem {
    let detail = format!("unknown whether the server accepted the line: {}", error.message);
    Problem::new(Code::Unavailable, detail)
}

/// The lines of one request.
struct BatchChunk {
    requests: Vec<EnqueueRequest>,
    /// Line number of each request, counted from 1.
    line_numbers: Vec<u64>,
    /// Answers for lines that are not sent, because they are malformed or too long.
    malformed: Vec<BatchLine>,
    /// The input has ended.
    ended: bool,
}

fn read_chunk(
    lines: &mut impl BufRead,
    number: &mut u64,
    flags: &EnqueueRequest,
) -> Result<BatchChunk, CliError> {
    let (requests, line_numbers, malformed) = (Vec::new(), Vec::new(), Vec::new());
    let mut chunk = BatchChunk { requests, line_numbers, malformed, ended: false };
    let mut bytes = 0;
    // There must be space for one more line of the largest size.
    while bytes < orx_client::BATCH_BYTES - limits::BODY_BYTES
        && chunk.requests.len() < limits::BATCH_JOBS
        && chunk.malformed.len() < limits::BATCH_JOBS
    {
        let mut line = Vec::new();
        // The rest of a line that is too long is read and dropped.
        let max_bytes = limits::BODY_BYTES as u64 + 1;
        if lines.by_ref().take(max_bytes).read_until(b'\n', &mut line)? == 0 {
            chunk.ended = true;
            break;
        }
        let long = line.len() as u64 == max_bytes && line.last() != Some(&b'\n');
        if long {
            lines.skip_until(b'\n')?;
        }
        // Empty lines count too, so that the number is the one that an editor shows.
        *number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let parsed = if long {
            let limit = limits::BODY_BYTES;
            let detail = format!("the line is longer than {limit} bytes");
            Err(Problem::new(Code::TooLarge, detail))
        } else {
            parse_line(&line)
        };
        match parsed {
            Ok(request) => {
                bytes += line.len();
                chunk.requests.push(with_defaults(request, flags));
                chunk.line_numbers.push(*number);
            }
            Err(problem) => {
                let error = Some(problem);
                chunk.malformed.push(BatchLine { line: *number, id: None, created: None, error });
            }
        }
    }
    Ok(chunk)
}

fn parse_line(line: &[u8]) -> Result<EnqueueRequest, Problem> {
    let mut from = serde_json::Deserializer::from_slice(line);
    let request = orx_model::json::object(&mut from).and_then(|it| from.end().map(|()| it));
    request.map_err(|error| {
        Problem::new(Code::BadRequest, "the line is not a job").cause(error.to_string())
    })
}

/// Fills fields that the line leaves out from the flags. A random key makes it safe to send the
/// line again.
fn with_defaults(mut request: EnqueueRequest, flags: &EnqueueRequest) -> EnqueueRequest {
    let flags = flags.clone();
    request.queue = request.queue.or(flags.queue);
    request.priority = request.priority.or(flags.priority);
    if request.run_at.is_none() && request.delay_ms.is_none() {
        (request.run_at, request.delay_ms) = (flags.run_at, flags.delay_ms);
    }
    request.expires_ms = request.expires_ms.or(flags.expires_ms);
    request.deadline = request.deadline.or(flags.deadline);
    request.timeout_ms = request.timeout_ms.or(flags.timeout_ms);
    request.retries = request.retries.or(flags.retries);
    request.on_lost = request.on_lost.or(flags.on_lost);
    for (name, value) in flags.tags {
        request.tags.entry(name).or_insert(value);
    }
    for (name, value) in flags.require {
        request.require.entry(name).or_insert(value);
    }
    request.correlation_id = request.correlation_id.or(flags.correlation_id);
    request.by = request.by.or(flags.by);
    request.key.get_or_insert_with(orx_client::new_key);
    request
}

fn print_line(ui: &Ui, answer: &BatchLine, first: bool) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match (&answer.error, answer.id, ui.format) {
        (_, _, Format::Json) => {
            let comma = if first { "" } else { ",\n" };
            write!(out, "{comma}{}", ui.json_text(answer)?)?;
        }
        (_, _, Format::Jsonl) => writeln!(out, "{}", ui.json_text(answer)?)?,
        (None, Some(id), _) => writeln!(out, "{id}")?,
        (Some(problem), ..) => {
            let cause = problem.cause.as_deref().map(|c| format!(": {c}")).unwrap_or_default();
            let text = format!("line {}: {}{cause}", answer.line, problem.detail);
            let mut err = std::io::stderr().lock();
            writeln!(err, "error: {}", orx_model::text::clean_line(&text))?;
        }
        (None, None, _) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ui() -> Ui {
        Ui {
            format: Format::Table,
            fields: None,
            header: true,
            color: false,
            ascii: false,
            out_tty: false,
            columns: None,
            quiet: false,
            no_input: true,
            time: None,
            zone: Ok(orx_schedule::Zone::Utc),
        }
    }

    fn args(given: &[&str]) -> Result<Option<String>, CliError> {
        let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
        Ok(job_args(&ui(), &given)?.map(|json| json.get().to_owned()))
    }

    #[test]
    fn pairs_become_an_object_of_text_and_json() {
        let made = args(&["a=1", "b:=[1,2]", "c=x:=y", "d="]).expect("args");
        assert_eq!(made.as_deref(), Some(r#"{"a":"1","b":[1,2],"c":"x:=y","d":""}"#));
        assert_eq!(args(&[]).expect("args"), None);
    }

    #[test]
    fn an_argument_that_is_neither_json_nor_a_pair_is_rejected() {
        for given in [&["a"][..], &["a:={"], &["=x"], &["@/nowhere"]] {
            assert_eq!(args(given).expect_err("refused").exit, Exit::Usage, "{given:?}");
        }
    }

    #[test]
    fn a_batch_is_read_in_chunks_of_limited_size_and_no_line_is_skipped() {
        let line = format!("{{\"name\":\"x\",\"args\":\"{}\"}}\n", "y".repeat(250_000));
        let mut text = line.repeat(70);
        text.push_str("\n[\"x\"]\n");
        text.push_str(&format!("{{\"name\":\"{}\"}}\n", "z".repeat(3 << 20)));
        text.push_str("{\"name\":\"last\"}");
        let mut lines = std::io::Cursor::new(text);
        let (mut number, mut sent, mut malformed, mut chunks) = (0, Vec::new(), Vec::new(), 0);
        loop {
            let flags = EnqueueRequest::default();
            let chunk = read_chunk(&mut lines, &mut number, &flags).expect("a chunk");
            let bytes: usize = chunk
                .requests
                .iter()
                .map(|request| serde_json::to_vec(request).expect("json").len() + 1)
                .sum();
            assert!(bytes <= orx_client::BATCH_BYTES, "{bytes}");
            chunks += 1;
            sent.extend(chunk.line_numbers);
            malformed.extend(chunk.malformed.iter().map(|answer| answer.line));
            if chunk.ended {
                break;
            }
        }
        assert!(chunks > 1);
        assert_eq!(sent, (1..=70).chain([74]).collect::<Vec<u64>>());
        assert_eq!(malformed, [72, 73]);
    }
}
