//! `orx logs`: the output of jobs. Their two streams stay apart; control codes are removed on a
//! terminal, and unchanged for a program.

mod select;

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use orx_model::log::{Level, Stream};
use orx_model::text::{Cleaner, Styles, format_bytes};
use orx_model::time::{TimeStyle, Toward, format_time, parse_duration, parse_time};
use orx_model::wire::{LogEvent, LogPart, LogsQuery};
use orx_model::{Job, Timestamp, limits};
use regex::bytes::Regex;

use self::select::{LogSelection, Unfinished, readable};
use super::{
    FilterArgs, JobReference, Session, connection_notes, exit_of, jobs_and_filter, matching,
    no_job_named, references,
};
use crate::error::{CliError, Exit};
use crate::state::StateDir;
use crate::ui::{Format, Ui};

const SINCE: &str = "Only output printed since a time, or since a duration ago";

/// Print the output of jobs
///
/// The store keeps the first 16 MiB and the last 256 KiB of each attempt. A mark on standard error
/// shows where bytes are missing and how many; `orx show` shows the sum for each attempt.
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::LOGS, mut_arg("since", |since| since.help(SINCE)))]
pub(crate) struct LogsArgs {
    /// Jobs: `1423`, `1423.2`, `@last`, `key:…`, or `-` for ids on standard input
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Follow until the job has ended, across restarts of the server too
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines; with `-f`, the last N of those printed so far, then the new ones
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// Only this attempt
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Only this stream
    #[arg(long, value_name = "out|err|log")]
    stream: Option<Stream>,
    /// Only structured log lines of this level and above, no printed output
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "RE")]
    grep: Option<Regex>,
    /// Print time, job and stream before each line
    #[arg(long)]
    prefix: bool,
    /// Start after this cursor, as printed with `-o json`
    #[arg(long, value_name = "C")]
    cursor: Option<String>,
    /// Print the bytes unchanged, control codes included
    #[arg(long)]
    raw: bool,
}

/// How to print a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sink {
    /// Print the bytes unchanged, on a terminal too.
    pub(crate) raw: bool,
    /// Keep stdout to what the command printed there: log lines go to stderr.
    pub(crate) plain: bool,
    /// The job's name for the prefix of each line; `None` prints no prefix.
    pub(crate) prefix: Option<String>,
    /// Print both streams to stdout, in order; else the job's stderr goes to stderr.
    pub(crate) together: bool,
    /// Print a line before its end has arrived.
    pub(crate) live: bool,
}

impl LogsArgs {
    /// The note to print if following is interrupted.
    pub(crate) fn resume_note(&self, state: &StateDir) -> Option<String> {
        self.follow.then(|| super::resume_note("logs -f", "follows", &self.jobs, state))
    }

    fn select(&self, since: Option<Timestamp>) -> LogSelection {
        LogSelection::new(since, self.level, self.grep.clone(), self.tail)
    }

    fn query(&self, job: &JobReference, select: &LogSelection) -> LogsQuery {
        LogsQuery {
            cursor: self.cursor.clone(),
            attempt: self.attempt.or(job.attempt),
            stream: match (self.stream, self.level) {
                (Some(stream), _) => Some(stream.to_string()),
                (None, Some(_)) => Some(Stream::Log.to_string()),
                (None, None) => None,
            },
            tail: self.tail.filter(|_| select.accepts_all()),
            follow: Some(self.follow),
        }
    }
}

/// Parses `--since`: a duration such as `5m`, which counts back from now, or a time.
fn since(text: &str, ui: &Ui) -> Result<Timestamp, CliError> {
    let now = crate::clock::wall();
    if let Ok(ago) = parse_duration(text) {
        return Ok(now.saturating_sub(ago));
    }
    parse_time(text, now, ui.zone()?, Toward::Past)
        .map_err(|error| CliError::usage(format!("--since: {error}")))
}

pub(crate) async fn run(mut args: LogsArgs, session: &Session) -> Result<Exit, CliError> {
    let from = args.filter.since.take().map(|text| since(&text, &session.ui)).transpose()?;
    let jobs = references(session, &args.jobs)?;
    let jobs = match (jobs.is_empty(), args.filter.expression(&session.ui)?) {
        (false, None) => jobs,
        (true, Some(filter)) => matching(session, filter).await?,
        (true, None) => return Err(no_job_named()),
        (false, Some(_)) => return Err(jobs_and_filter()),
    };
    let many = jobs.len() > 1;
    // With `-o json` the output of all jobs is one array.
    let mut all = (session.ui.format == Format::Json).then(Vec::new);
    if session.ui.format == Format::Tsv && session.ui.header {
        session.ui.raw(b"job\tattempt\tstream\tat\ttext\n")?;
    }
    let mut exit = Exit::Success;
    for job in jobs {
        let select = args.select(from);
        let query = args.query(&job, &select);
        let ended = match session.ui.format {
            Format::Json | Format::Jsonl => {
                print_json(session, &job, query, select, all.as_mut()).await?
            }
            Format::Tsv => print_tsv(session, &job, query, select).await?,
            Format::Table | Format::Wide | Format::Id => {
                let sink = Sink {
                    raw: args.raw,
                    prefix: (args.prefix || many).then(|| job.text.clone()),
                    together: !args.follow || args.prefix || many,
                    live: args.follow,
                    ..Sink::default()
                };
                print(session, &job.api_text(), query, select, sink).await?.0
            }
        };
        if args.follow {
            exit = exit_of(&ended);
        }
    }
    if let Some(all) = all {
        let text = serde_json::Value::from(all).to_string();
        session.ui.raw(format!("{}\n", orx_model::text::escape_json(&text)).as_bytes())?;
    }
    Ok(exit)
}

/// Prints the output of a job until it has ended; returns the exit code for it.
pub(crate) async fn follow(
    session: &Session,
    reference: &str,
    sink: Sink,
    timeout: Option<Duration>,
) -> Result<Exit, CliError> {
    let query = LogsQuery { follow: Some(true), ..LogsQuery::default() };
    let sink = Sink { live: true, ..sink };
    let printing = print(session, reference, query, LogSelection::default(), sink);
    let Some((job, dropped)) = crate::within(timeout, printing).await? else {
        let jobs = [reference.to_owned()];
        let note = super::resume_note("logs -f", "follows", &jobs, &session.state);
        return super::wait_timed_out(&session.ui, &note);
    };
    let why = super::why(job.state.status, job.state.cancel.as_ref(), job.state.error.as_deref());
    let exit = exit_of(&job);
    // A command that failed by itself has explained its failure in its output.
    let explained =
        matches!(exit, Exit::Command(code) if !matches!(code, 126 | 127)) && job.state.attempt < 2;
    if !why.is_empty() && exit != Exit::Success && !explained {
        session.ui.note(&format!("{} {}: {why}", job.id, job.state.status.words()));
    }
    if dropped > 0 {
        session.ui.note(&format!(
            "{}: {} of its output not stored; the store keeps the first {} and the last {} of an \
             attempt, and drops what it cannot write in time",
            job.id,
            format_bytes(dropped),
            format_bytes(limits::LOG_HEAD_BYTES),
            format_bytes(limits::LOG_TAIL_BYTES),
        ));
    }
    Ok(exit)
}

/// Passes the selected parts to `show`, in order, until the log has ended; then returns the job.
async fn for_each_part(
    session: &Session,
    reference: &str,
    query: LogsQuery,
    mut select: LogSelection,
    mut show: impl FnMut(&LogPart) -> std::io::Result<()>,
) -> Result<Job, CliError> {
    let mut failed = None;
    let each = |event: LogEvent| {
        let parts = match event {
            LogEvent::Chunk(part) => select.part(part).into_iter().collect(),
            LogEvent::Live {} => select.live(),
            LogEvent::Ping { .. } | LogEvent::Status { .. } | LogEvent::End { .. } => Vec::new(),
        };
        match parts.iter().try_for_each(&mut show) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let ended =
        session.client.follow(reference, query, each, connection_notes(&session.ui)).await?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    select.end().iter().try_for_each(&mut show)?;
    ended.ok_or_else(|| {
        CliError::new(Exit::Failed, "cut_off", "the server ended the log before the job's end")
    })
}

/// Prints a log as text. Returns the job, and the number of bytes missing in its log.
async fn print(
    session: &Session,
    reference: &str,
    query: LogsQuery,
    select: LogSelection,
    sink: Sink,
) -> Result<(Job, u64), CliError> {
    let mut printer = LogPrinter::new(&session.ui, sink);
    let ended = for_each_part(session, reference, query, select, |part| printer.part(part)).await?;
    printer.finish()?;
    Ok((ended, printer.dropped))
}

/// Prints a log as lines of JSON, or collects the objects in `all`.
async fn print_json(
    session: &Session,
    job: &JobReference,
    query: LogsQuery,
    select: LogSelection,
    mut all: Option<&mut Vec<serde_json::Value>>,
) -> Result<Job, CliError> {
    let mut unfinished = Unfinished::default();
    let mut show = |part: &LogPart, data: &str| {
        let value = serde_json::json!({
            "v": 1, "job": job.text, "attempt": part.attempt, "stream": part.stream, "at": part.at,
            "cursor": part.cursor, "dropped_bytes": part.dropped_bytes, "data": data,
        });
        if let Some(all) = &mut all {
            all.push(value);
            return Ok(());
        }
        let line = orx_model::text::escape_json(&value.to_string()).into_owned();
        writeln!(std::io::stdout().lock(), "{line}")
    };
    let each = |part: &LogPart| show(part, &unfinished.characters(part));
    let ended = for_each_part(session, &job.api_text(), query, select, each).await?;
    for part in unfinished.take() {
        show(&part, &String::from_utf8_lossy(&part.data))?;
    }
    Ok(ended)
}

/// Prints a log as tab-separated values, one row for each line.
async fn print_tsv(
    session: &Session,
    job: &JobReference,
    query: LogsQuery,
    select: LogSelection,
) -> Result<Job, CliError> {
    let ui = &session.ui;
    let mut unfinished = Unfinished::default();
    let show = |part: &LogPart, lines: &[u8]| {
        let mut rows = String::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let read = (part.stream == Stream::Log).then(|| readable(line)).flatten();
            let at = read.as_ref().and_then(|(line, _)| line.at).unwrap_or(part.at);
            let text = read.map_or_else(|| String::from_utf8_lossy(line).into_owned(), |it| it.1);
            let cells =
                [&part.attempt.to_string(), part.stream.as_str(), &time_text(ui, at), &text];
            let cells = cells.map(|cell| ui.tsv(cell));
            rows.push_str(&format!("{}\t{}\n", ui.tsv(&job.text), cells.join("\t")));
        }
        put(false, rows.as_bytes())
    };
    let each = |part: &LogPart| show(part, &unfinished.lines(part));
    let ended = for_each_part(session, &job.api_text(), query, select, each).await?;
    for part in unfinished.take() {
        show(&part, &part.data)?;
    }
    Ok(ended)
}

fn time_text(ui: &Ui, at: Timestamp) -> String {
    let style = ui.time.unwrap_or(TimeStyle::Utc);
    format_time(at, style, crate::clock::wall(), ui.shown_zone())
}

/// State of one output stream of this process.
struct OutputStream {
    cleaner: Option<Cleaner>,
    /// The last line printed has no line end yet.
    mid_line: bool,
}

struct LogPrinter {
    ui: Ui,
    sink: Sink,
    out: OutputStream,
    err: OutputStream,
    /// Lines that have not ended yet; only used with a prefix.
    unfinished: Unfinished,
    /// Number of bytes missing in the log.
    dropped: u64,
}

impl LogPrinter {
    fn new(ui: &Ui, sink: Sink) -> Self {
        let stream = |tty: bool| OutputStream {
            cleaner: (tty && !sink.raw)
                .then(|| Cleaner::new(if ui.color { Styles::Keep } else { Styles::Drop })),
            mid_line: false,
        };
        Self {
            out: stream(ui.out_tty),
            err: stream(std::io::stderr().is_terminal()),
            ui: ui.clone(),
            unfinished: Unfinished::default(),
            dropped: 0,
            sink,
        }
    }

    fn part(&mut self, part: &LogPart) -> std::io::Result<()> {
        if part.dropped_bytes > 0 {
            self.dropped = self.dropped.saturating_add(part.dropped_bytes);
            self.ui.note(&format!("⋯ {} bytes dropped ⋯", part.dropped_bytes));
        }
        let to_err = match part.stream {
            Stream::Out => false,
            Stream::Err => !self.sink.together,
            Stream::Log => self.sink.plain || !self.sink.together,
        };
        if part.stream == Stream::Log {
            let mut text = self.log_lines(&part.data, part.at);
            if self.cleans(to_err) {
                // A carriage return would overwrite the line's time and level.
                text = text.replace('\r', " ");
            }
            return self.write(to_err, text.as_bytes());
        }
        match &self.sink.prefix {
            None => self.write(to_err, &part.data),
            Some(_) => {
                let lines = self.unfinished.lines(part);
                self.prefixed(to_err, part, &lines)
            }
        }
    }

    fn prefixed(&mut self, to_err: bool, part: &LogPart, lines: &[u8]) -> std::io::Result<()> {
        let job = self.sink.prefix.as_deref().unwrap_or_default();
        let head = self.head(job, part.stream.as_str(), part.at);
        let cleaned = self.cleans(to_err);
        let mut text = Vec::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            text.extend_from_slice(head.as_bytes());
            // A carriage return would overwrite the prefix.
            text.extend_from_slice(if cleaned { after_last_return(line) } else { line });
        }
        self.write(to_err, &text)
    }

    fn cleans(&self, to_err: bool) -> bool {
        if to_err { self.err.cleaner.is_some() } else { self.out.cleaner.is_some() }
    }

    fn head(&self, job: &str, stream: &str, at: Timestamp) -> String {
        format!("{} {job} {stream}  ", time_text(&self.ui, at))
    }

    fn log_lines(&self, data: &[u8], at: Timestamp) -> String {
        let mut shown = String::new();
        for line in data.split(|byte| *byte == b'\n') {
            let Some((line, text)) = readable(line) else { continue };
            if let Some(job) = &self.sink.prefix {
                shown.push_str(&self.head(job, "log", line.at.unwrap_or(at)));
            }
            shown.push_str(&text);
            shown.push('\n');
        }
        shown
    }

    fn write(&mut self, to_err: bool, bytes: &[u8]) -> std::io::Result<()> {
        let stream = if to_err { &mut self.err } else { &mut self.out };
        if let Some(last) = bytes.last() {
            stream.mid_line = *last != b'\n';
        }
        let mut text = String::new();
        let bytes = match &mut stream.cleaner {
            Some(cleaner) => {
                cleaner.push(bytes, &mut text);
                if self.sink.live {
                    cleaner.flush(&mut text);
                }
                text.as_bytes()
            }
            None => bytes,
        };
        put(to_err, bytes)
    }

    fn finish(&mut self) -> std::io::Result<()> {
        for mut part in self.unfinished.take() {
            let mut line = std::mem::take(&mut part.data);
            line.push(b'\n');
            let to_err = part.stream == Stream::Err && !self.sink.together;
            self.prefixed(to_err, &part, &line)?;
        }
        for (to_err, stream) in [(false, &mut self.out), (true, &mut self.err)] {
            if let Some(cleaner) = &mut stream.cleaner {
                let mut text = String::new();
                cleaner.finish(&mut text);
                if stream.mid_line {
                    // The shell's prompt starts on a line of its own.
                    text.push('\n');
                }
                put(to_err, text.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// The last part of a line that overwrites itself with carriage returns.
fn after_last_return(line: &[u8]) -> &[u8] {
    let text = line.trim_ascii_end();
    let start = text.iter().rposition(|byte| *byte == b'\r').map_or(0, |last| last + 1);
    &line[start..]
}

fn put(to_err: bool, bytes: &[u8]) -> std::io::Result<()> {
    if to_err {
        let mut err = std::io::stderr().lock();
        err.write_all(bytes)?;
        return err.flush();
    }
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
