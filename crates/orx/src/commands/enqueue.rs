//! Accept jobs: one from the command line, or many from standard input.

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
    Session, coming, exit_of, interruptible, link_note, not_in_time, open_stdin, pair, read_stdin,
    resume,
};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Format, Ui};

/// Options of a job, shared by `enqueue` and `run`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct JobArgs {
    /// Queue; the server's default if left out
    #[arg(short, long, value_name = "QUEUE")]
    pub(crate) queue: Option<Name>,
    /// low, normal, high or critical
    #[arg(short, long, value_name = "PRIO")]
    pub(crate) priority: Option<Priority>,
    /// Not before this time
    #[arg(long, value_name = "T", conflicts_with = "delay")]
    pub(crate) at: Option<String>,
    /// Not before so long from now
    #[arg(long = "in", id = "delay", value_name = "D")]
    pub(crate) delay: Option<String>,
    /// Idempotency key: the same key gives the same job
    #[arg(long, value_name = "K")]
    pub(crate) key: Option<String>,
    /// Cancelled if not started within this time
    #[arg(long, value_name = "D")]
    pub(crate) expires: Option<String>,
    /// No attempt starts or goes on after this time
    #[arg(long, value_name = "T")]
    pub(crate) deadline: Option<String>,
    /// Longest time of one attempt; 0 is without limit
    #[arg(long, value_name = "D")]
    pub(crate) job_timeout: Option<String>,
    /// Further tries after a failure
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
    /// If its worker or server dies, or is stopped, under it: run it again, or let it fail
    #[arg(long, value_name = "retry|fail")]
    pub(crate) on_lost: Option<String>,
    /// Label that the worker must have
    #[arg(long, value_name = "LABEL=V")]
    pub(crate) require: Vec<String>,
    /// Tag
    #[arg(short = 't', long = "tag", value_name = "K=V")]
    pub(crate) tags: Vec<String>,
    /// Correlation id, passed on to the handler
    #[arg(long, value_name = "ID")]
    pub(crate) corr: Option<String>,
}

impl JobArgs {
    /// Fills what the flags say into a request.
    pub(crate) fn apply(self, request: &mut EnqueueRequest, ui: &Ui) -> Result<(), CliError> {
        let usage = |error: String| CliError::usage(error);
        let span = |text: &str| -> Result<u64, CliError> {
            parse_duration(text)
                .map(|span| span.as_millis() as u64)
                .map_err(|error| usage(error.to_string()))
        };
        let time = |text: &str| coming(text, ui);
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
                return Err(usage(format!("`--on-lost` is `retry` or `fail`, found `{other}`")));
            }
        };
        let pairs = |all: &[String]| {
            all.iter().map(|text| pair(text)).collect::<Result<BTreeMap<_, _>, _>>()
        };
        request.require = pairs(&self.require)?;
        request.tags = pairs(&self.tags)?;
        request.corr = self.corr;
        request.by = Some(user());
        Ok(())
    }
}

/// Who asks, for people: `user@host`.
pub(crate) fn user() -> String {
    let name = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name =
        name.unwrap_or_else(|| "uid".to_owned() + &rustix::process::getuid().as_raw().to_string());
    format!("{name}@{}", host.trim())
}

/// Accept a job, kept safe before this command ends
///
/// The arguments of the job are `key=text` and `key:=json`, or a whole JSON value from `@FILE`, or
/// from standard input with `-`. With `--batch -` standard input is NDJSON, a job a line.
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::ENQUEUE)]
pub(crate) struct Args {
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
    /// Wait for the end, and end with its code
    #[arg(long)]
    wait: bool,
    /// Print what it prints, wait for the end, and end with its code
    #[arg(long)]
    follow: bool,
    /// Give up waiting after this time; the job goes on
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    timeout: Option<Duration>,
}

/// A key outlives its job. Of a job that was forgotten, all that is known is how it ended.
pub(crate) fn or_forgotten(
    ui: &Ui,
    answer: &EnqueueAnswer,
    ended: Result<Exit, CliError>,
) -> Result<Exit, CliError> {
    match ended {
        Err(error)
            if error.exit == Exit::NotFound && !answer.created && answer.status.is_final() =>
        {
            let (id, status) = (answer.id, answer.status.words());
            ui.note(&format!("known by its key {id} ({status}), which was forgotten since"));
            Ok(match answer.status {
                JobStatus::Completed => Exit::Done,
                JobStatus::Cancelled => Exit::Cancelled,
                _ => Exit::Failed,
            })
        }
        ended => ended,
    }
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Exit, CliError> {
    if let Some(from) = &args.batch {
        if from != "-" {
            return Err(CliError::usage(format!("`--batch` takes `-`, found `{from}`")));
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
        let resume = resume("logs -f", "follows", &jobs, &session.state);
        let ended = interruptible(&session.ui, Some(resume), following).await;
        return or_forgotten(&session.ui, &answer, ended);
    }
    if args.wait {
        let resume = resume("wait", "waits for", &jobs, &session.state);
        let waiting = session.client.wait(&reference, None, link_note(&session.ui));
        let waiting = async {
            let Some(job) = crate::within(args.timeout, waiting).await? else {
                return not_in_time(&session.ui, &resume);
            };
            super::show::print_job(&session.ui, &job)?;
            Ok(exit_of(&job))
        };
        let ended = interruptible(&session.ui, Some(resume.clone()), waiting).await;
        return or_forgotten(&session.ui, &answer, ended);
    }
    let said = if answer.created { "enqueued" } else { "known by its key" };
    match session.ui.format {
        Format::Table | Format::Wide => {
            let line = format!("{said} {reference} ({})\n", answer.status.words());
            if !session.ui.quiet {
                session.ui.raw(line.as_bytes())?;
            }
        }
        _ => session.ui.one(&answer, &reference, &[("id", Cell::new(reference.clone()))])?,
    }
    Ok(Exit::Done)
}

pub(crate) fn job_args(ui: &Ui, given: &[String]) -> Result<Option<Json>, CliError> {
    let parse = |text: &str, from: &str| -> Result<Value, CliError> {
        serde_json::from_str(text).map_err(|error| {
            CliError::usage(format!("{from} is no valid JSON")).cause(error.to_string())
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
                // The first `=` decides, so that a text may contain `:=`.
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
                return Err(CliError::usage(format!("`{text}` names no key")));
            }
            fields.insert(name.to_owned(), value);
            None
        };
        if let Some(value) = value
            && whole.replace(value).is_some()
        {
            return Err(CliError::usage(
                "the args come from one file, or from standard input, once",
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
            return Err(CliError::usage("`key=text` can be added to a JSON object only"));
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

/// A batch, and around its answers what makes them one value where that was asked for.
async fn batch(session: &Session, job: JobArgs) -> Result<Exit, CliError> {
    if session.ui.format != Format::Json {
        return batch_lines(session, job).await;
    }
    session.ui.raw(b"[")?;
    let ended = batch_lines(session, job).await;
    // Closed after a failure too: what was answered until then can be read.
    let closed = session.ui.raw(b"]\n");
    let exit = ended?;
    closed?;
    Ok(exit)
}

/// A piece of the lines at a time, answered line by line in order.
async fn batch_lines(session: &Session, job: JobArgs) -> Result<Exit, CliError> {
    let mut flags = EnqueueRequest::default();
    job.apply(&mut flags, &session.ui)?;
    if flags.key.is_some() {
        return Err(CliError::usage(
            "`--key` is for one job; in a batch each line has its own `key`",
        ));
    }
    let mut lines = open_stdin(&session.ui)?;
    let mut told = BatchReport { ui: &session.ui, done: 0, refused: 0, first_refusal: None };
    let mut number = 0;
    loop {
        let Piece { requests, places, wrong, ended } = read_piece(&mut lines, &mut number, &flags)?;
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
                told.first_refusal.get_or_insert(error.exit);
                let problem = not_known(&error);
                let line = |_| BatchLine {
                    line: 0,
                    id: None,
                    created: None,
                    error: Some(problem.clone()),
                };
                places.iter().map(line).collect()
            }
        };
        let answers = answers.into_iter().zip(&places);
        let mut all: Vec<BatchLine> =
            answers.map(|(answer, line)| BatchLine { line: *line, ..answer }).collect();
        all.extend(wrong);
        all.sort_by_key(|answer| answer.line);
        if failed && !ended {
            let detail = "this line and what follows it were not tried";
            let problem = Problem::new(Code::Unavailable, detail);
            let (line, error) = (number + 1, Some(problem));
            all.push(BatchLine { line, id: None, created: None, error });
        }
        told.print(&all)?;
        if ended || failed {
            break;
        }
    }
    if session.ui.format.is_human() {
        session.ui.note(&format!("enqueued {}, refused {}", told.done, told.refused));
    }
    Ok(match (told.done, told.first_refusal) {
        (_, None) => Exit::Done,
        (0, Some(exit)) => exit,
        _ => Exit::Partial,
    })
}

/// What became of lines, so far.
struct BatchReport<'u> {
    ui: &'u Ui,
    done: u64,
    refused: u64,
    first_refusal: Option<Exit>,
}

impl BatchReport<'_> {
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

/// Of a request that failed as a whole.
fn not_known(error: &CliError) -> Problem {
    let detail = format!("it is not known whether the line was accepted: {}", error.message);
    Problem::new(Code::Unavailable, detail)
}

/// Lines for one request.
struct Piece {
    requests: Vec<EnqueueRequest>,
    /// The lines of the requests.
    places: Vec<u64>,
    wrong: Vec<BatchLine>,
    ended: bool,
}

fn read_piece(
    lines: &mut impl BufRead,
    number: &mut u64,
    flags: &EnqueueRequest,
) -> Result<Piece, CliError> {
    let (requests, places, wrong) = (Vec::new(), Vec::new(), Vec::new());
    let mut piece = Piece { requests, places, wrong, ended: false };
    let mut bytes = 0;
    // One more line must fit.
    while bytes < orx_client::BATCH_BYTES - limits::BODY_BYTES
        && piece.requests.len() < limits::BATCH_JOBS
        && piece.wrong.len() < limits::BATCH_JOBS
    {
        let mut line = Vec::new();
        // A line that is too long is read to its end, and not kept.
        let most = limits::BODY_BYTES as u64 + 1;
        if lines.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            piece.ended = true;
            break;
        }
        let long = line.len() as u64 == most && line.last() != Some(&b'\n');
        if long {
            lines.skip_until(b'\n')?;
        }
        // As an editor counts them, so that a line that is wrong can be found.
        *number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let parsed = if long {
            let most = limits::BODY_BYTES;
            Err(Problem::new(Code::TooLarge, format!("a line is at most {most} bytes")))
        } else {
            parsed(&line)
        };
        match parsed {
            Ok(request) => {
                bytes += line.len();
                piece.requests.push(merged(request, flags));
                piece.places.push(*number);
            }
            Err(problem) => {
                let error = Some(problem);
                piece.wrong.push(BatchLine { line: *number, id: None, created: None, error });
            }
        }
    }
    Ok(piece)
}

fn parsed(line: &[u8]) -> Result<EnqueueRequest, Problem> {
    let mut from = serde_json::Deserializer::from_slice(line);
    let request = orx_model::json::object(&mut from).and_then(|it| from.end().map(|()| it));
    request.map_err(|error| {
        Problem::new(Code::BadRequest, "the line is no job").cause(error.to_string())
    })
}

fn merged(mut request: EnqueueRequest, flags: &EnqueueRequest) -> EnqueueRequest {
    let flags = flags.clone();
    // What a line says itself stands; its key is drawn here, so that it can be sent again.
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
    request.corr = request.corr.or(flags.corr);
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
    fn what_is_no_json_or_no_pair_is_refused() {
        for given in [&["a"][..], &["a:={"], &["=x"], &["@/nowhere"]] {
            assert_eq!(args(given).expect_err("refused").exit, Exit::Usage, "{given:?}");
        }
    }

    #[test]
    fn a_batch_is_read_in_pieces_that_fit_and_no_line_is_passed_over() {
        let line = format!("{{\"name\":\"x\",\"args\":\"{}\"}}\n", "y".repeat(250_000));
        let mut text = line.repeat(70);
        text.push_str("\n[\"x\"]\n");
        text.push_str(&format!("{{\"name\":\"{}\"}}\n", "z".repeat(3 << 20)));
        text.push_str("{\"name\":\"last\"}");
        let mut lines = std::io::Cursor::new(text);
        let (mut number, mut taken, mut wrong, mut pieces) = (0, Vec::new(), Vec::new(), 0);
        loop {
            let flags = EnqueueRequest::default();
            let piece = read_piece(&mut lines, &mut number, &flags).expect("a piece");
            let bytes: usize = piece
                .requests
                .iter()
                .map(|request| serde_json::to_vec(request).expect("json").len() + 1)
                .sum();
            assert!(bytes <= orx_client::BATCH_BYTES, "{bytes}");
            pieces += 1;
            taken.extend(piece.places);
            wrong.extend(piece.wrong.iter().map(|answer| answer.line));
            if piece.ended {
                break;
            }
        }
        assert!(pieces > 1);
        assert_eq!(taken, (1..=70).chain([74]).collect::<Vec<u64>>());
        assert_eq!(wrong, [72, 73]);
    }
}
