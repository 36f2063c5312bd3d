//! What jobs print: on two streams as they did, raw where a program reads, cleaned where a person
//! does.

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

use self::select::{Begun, Select, readable};
use super::{FilterArgs, JobRef, Session, exit_of, link_note, matching, references};
use crate::error::{CliError, Exit};
use crate::state::StateDir;
use crate::ui::{Format, Ui};

const SINCE: &str = "Only what was printed since a time, or so long ago";

/// Print what jobs printed
///
/// Of each attempt the first 16 MiB and the last 256 KiB are kept; where something is left out, a mark
/// on standard error says how much. `orx show` has the sum of each attempt.
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::LOGS, mut_arg("since", |since| since.help(SINCE)))]
pub(crate) struct Args {
    /// Jobs: `1423`, `1423.2`, `@last`, `key:…`, or `-` for ids on standard input
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Stay until the job has ended, also with the next server where one has gone
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines; with `-f`, of those printed before
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// Only this attempt
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Only this stream
    #[arg(long, value_name = "out|err|log")]
    stream: Option<Stream>,
    /// Only log lines of this level and above; leaves out what was printed
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "RE")]
    grep: Option<Regex>,
    /// Put time, job and stream before each line
    #[arg(long)]
    prefix: bool,
    /// Start after this place, as printed with `-o json`
    #[arg(long, value_name = "C")]
    cursor: Option<String>,
    /// Pass the bytes to the terminal as they are
    #[arg(long)]
    raw: bool,
}

/// How a log is printed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sink {
    pub(crate) raw: bool,
    /// As the command itself would print: no log lines between its output.
    pub(crate) plain: bool,
    pub(crate) prefix: Option<String>,
    /// All on stdout, in order; else stderr's to stderr.
    pub(crate) together: bool,
    /// Somebody watches: a line is shown before it has ended.
    pub(crate) live: bool,
}

impl Args {
    /// What to say when following is broken off.
    pub(crate) fn resume(&self, state: &StateDir) -> Option<String> {
        self.follow.then(|| super::resume("logs -f", "follows", &self.jobs, state))
    }

    fn select(&self, since: Option<Timestamp>) -> Select {
        Select::new(since, self.level, self.grep.clone(), self.tail)
    }

    fn query(&self, job: &JobRef, select: &Select) -> LogsQuery {
        LogsQuery {
            cursor: self.cursor.clone(),
            attempt: self.attempt.or(job.attempt),
            stream: match (self.stream, self.level) {
                (Some(stream), _) => Some(stream.to_string()),
                (None, Some(_)) => Some(Stream::Log.to_string()),
                (None, None) => None,
            },
            tail: self.tail.filter(|_| select.takes_all()),
            follow: Some(self.follow),
        }
    }
}

/// `5m`: that long ago; or a time.
fn since(text: &str, ui: &Ui) -> Result<Timestamp, CliError> {
    let now = crate::clock::wall();
    if let Ok(ago) = parse_duration(text) {
        return Ok(now.saturating_sub(ago));
    }
    parse_time(text, now, ui.zone()?, Toward::Past)
        .map_err(|error| CliError::usage(format!("--since: {error}")))
}

pub(crate) async fn run(mut args: Args, session: &Session) -> Result<Exit, CliError> {
    let from = args.filter.since.take().map(|text| since(&text, &session.ui)).transpose()?;
    let jobs = references(session, &args.jobs)?;
    let jobs = match (jobs.is_empty(), args.filter.expression(&session.ui)?) {
        (false, None) => jobs,
        (true, Some(filter)) => matching(session, filter).await?,
        (true, None) => return Err(CliError::usage("name a job, or give a filter")),
        (false, Some(_)) => return Err(CliError::usage("name jobs, or give a filter, not both")),
    };
    let many = jobs.len() > 1;
    // One value holds what all of the jobs printed.
    let mut all = (session.ui.format == Format::Json).then(Vec::new);
    if session.ui.format == Format::Tsv && session.ui.header {
        session.ui.raw(b"job\tattempt\tstream\tat\ttext\n")?;
    }
    let mut exit = Exit::Done;
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
                print(session, &job.asked(), query, select, sink).await?.0
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

/// Follows a job to its end; ends with its code.
pub(crate) async fn follow(
    session: &Session,
    reference: &str,
    sink: Sink,
    timeout: Option<Duration>,
) -> Result<Exit, CliError> {
    let query = LogsQuery { follow: Some(true), ..LogsQuery::default() };
    let sink = Sink { live: true, ..sink };
    let printing = print(session, reference, query, Select::default(), sink);
    let Some((job, dropped)) = crate::within(timeout, printing).await? else {
        let jobs = [reference.to_owned()];
        let goes_on = super::resume("logs -f", "follows", &jobs, &session.state);
        return super::not_in_time(&session.ui, &goes_on);
    };
    let why = super::why(job.state.status, job.state.cancel.as_ref(), job.state.error.as_deref());
    let exit = exit_of(&job);
    // A command's own failure is its own to explain.
    let own =
        matches!(exit, Exit::Command(code) if !matches!(code, 126 | 127)) && job.state.attempt < 2;
    if !why.is_empty() && exit != Exit::Done && !own {
        session.ui.note(&format!("{} {}: {why}", job.id, job.state.status.words()));
    }
    if dropped > 0 {
        session.ui.note(&format!(
            "{}: {} of its output not kept: of an attempt the first {} and the last {} are, as far \
             as they are taken in time",
            job.id,
            format_bytes(dropped),
            format_bytes(limits::LOG_HEAD_BYTES),
            format_bytes(limits::LOG_TAIL_BYTES),
        ));
    }
    Ok(exit)
}

/// Hands on the parts that are wanted, in their order, until the log has been read: then the job.
async fn parts(
    session: &Session,
    reference: &str,
    query: LogsQuery,
    mut select: Select,
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
    let ended = session.client.follow(reference, query, each, link_note(&session.ui)).await?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    select.end().iter().try_for_each(&mut show)?;
    ended.ok_or_else(|| CliError::new(Exit::Failed, "cut_off", "the log was cut off"))
}

/// Answers the job, and how many bytes its log lacks.
async fn print(
    session: &Session,
    reference: &str,
    query: LogsQuery,
    select: Select,
    sink: Sink,
) -> Result<(Job, u64), CliError> {
    let mut printer = Printer::new(&session.ui, sink);
    let ended = parts(session, reference, query, select, |part| printer.part(part)).await?;
    printer.finish()?;
    Ok((ended, printer.dropped))
}

/// Lines of JSON, or values for one list.
async fn print_json(
    session: &Session,
    job: &JobRef,
    query: LogsQuery,
    select: Select,
    mut all: Option<&mut Vec<serde_json::Value>>,
) -> Result<Job, CliError> {
    let mut begun = Begun::default();
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
    let each = |part: &LogPart| show(part, &begun.characters(part));
    let ended = parts(session, &job.asked(), query, select, each).await?;
    for part in begun.take() {
        show(&part, &String::from_utf8_lossy(&part.data))?;
    }
    Ok(ended)
}

/// A row a line.
async fn print_tsv(
    session: &Session,
    job: &JobRef,
    query: LogsQuery,
    select: Select,
) -> Result<Job, CliError> {
    let ui = &session.ui;
    let mut begun = Begun::default();
    let show = |part: &LogPart, lines: &[u8]| {
        let mut rows = String::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let read = (part.stream == Stream::Log).then(|| readable(line)).flatten();
            let at = read.as_ref().and_then(|(line, _)| line.at).unwrap_or(part.at);
            let text = read.map_or_else(|| String::from_utf8_lossy(line).into_owned(), |it| it.1);
            let cells = [&part.attempt.to_string(), part.stream.as_str(), &shown_at(ui, at), &text];
            let cells = cells.map(|cell| ui.tsv(cell));
            rows.push_str(&format!("{}\t{}\n", ui.tsv(&job.text), cells.join("\t")));
        }
        put(false, rows.as_bytes())
    };
    let each = |part: &LogPart| show(part, &begun.lines(part));
    let ended = parts(session, &job.asked(), query, select, each).await?;
    for part in begun.take() {
        show(&part, &part.data)?;
    }
    Ok(ended)
}

fn shown_at(ui: &Ui, at: Timestamp) -> String {
    let style = ui.time.unwrap_or(TimeStyle::Utc);
    format_time(at, style, crate::clock::wall(), ui.shown_zone())
}

/// One stream of this process.
struct Side {
    cleaner: Option<Cleaner>,
    /// A line was begun and not ended.
    open: bool,
}

struct Printer {
    ui: Ui,
    sink: Sink,
    out: Side,
    err: Side,
    /// Lines that have not ended yet, where each gets a prefix.
    begun: Begun,
    /// Bytes that the log lacks.
    dropped: u64,
}

impl Printer {
    fn new(ui: &Ui, sink: Sink) -> Self {
        let side = |tty: bool| Side {
            cleaner: (tty && !sink.raw)
                .then(|| Cleaner::new(if ui.color { Styles::Keep } else { Styles::Drop })),
            open: false,
        };
        Self {
            out: side(ui.out_tty),
            err: side(std::io::stderr().is_terminal()),
            ui: ui.clone(),
            begun: Begun::default(),
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
                // Its time and level are not to be written over.
                text = text.replace('\r', " ");
            }
            return self.write(to_err, text.as_bytes());
        }
        match &self.sink.prefix {
            None => self.write(to_err, &part.data),
            Some(_) => {
                let lines = self.begun.lines(part);
                self.prefixed(to_err, part, &lines)
            }
        }
    }

    fn prefixed(&mut self, to_err: bool, part: &LogPart, lines: &[u8]) -> std::io::Result<()> {
        let job = self.sink.prefix.as_deref().unwrap_or_default();
        let head = self.head(job, part.stream.as_str(), part.at);
        let shown = self.cleans(to_err);
        let mut text = Vec::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            text.extend_from_slice(head.as_bytes());
            // Written over, it would take the head with it.
            text.extend_from_slice(if shown { last_part(line) } else { line });
        }
        self.write(to_err, &text)
    }

    fn cleans(&self, to_err: bool) -> bool {
        if to_err { self.err.cleaner.is_some() } else { self.out.cleaner.is_some() }
    }

    fn head(&self, job: &str, stream: &str, at: Timestamp) -> String {
        format!("{} {job} {stream}  ", shown_at(&self.ui, at))
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
        let side = if to_err { &mut self.err } else { &mut self.out };
        if let Some(last) = bytes.last() {
            side.open = *last != b'\n';
        }
        let mut text = String::new();
        let bytes = match &mut side.cleaner {
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
        for mut part in self.begun.take() {
            let mut line = std::mem::take(&mut part.data);
            line.push(b'\n');
            let to_err = part.stream == Stream::Err && !self.sink.together;
            self.prefixed(to_err, &part, &line)?;
        }
        for (to_err, side) in [(false, &mut self.out), (true, &mut self.err)] {
            if let Some(cleaner) = &mut side.cleaner {
                let mut text = String::new();
                cleaner.finish(&mut text);
                if side.open {
                    // The prompt does not stand behind a line of the job's.
                    text.push('\n');
                }
                put(to_err, text.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// Of a line that was written over, with its end.
fn last_part(line: &[u8]) -> &[u8] {
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
