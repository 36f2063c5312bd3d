//! What jobs print: on two streams as they did, raw where a program reads, cleaned where a person
//! does.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use orx_model::log::{Level, LogLine, Stream};
use orx_model::text::{Cleaner, Styles};
use orx_model::wire::{LogEvent, LogPart, LogsQuery};
use orx_model::{Job, Timestamp};

use super::{FilterArgs, JobRef, Session, exit_of, link_note, matching, references};
use crate::error::{CliError, Exit};
use crate::ui::Ui;

/// Print what jobs printed
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::LOGS)]
pub(crate) struct Args {
    /// Jobs: `1423`, `1423.2`, `@last`, `key:…`, or `-` for ids on standard input
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Stay until the job has ended
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines
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
    pub(crate) level: Option<Level>,
    /// All on stdout, in order; else stderr's to stderr.
    pub(crate) together: bool,
    pub(crate) tail: Option<u32>,
}

impl Args {
    /// What to say when following is broken off.
    pub(crate) fn resume(&self) -> Option<String> {
        self.follow.then(|| super::resume("logs -f", "follows", &self.jobs))
    }
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Exit, CliError> {
    let jobs = references(session, &args.jobs)?;
    let jobs = match (jobs.is_empty(), args.filter.expression(session.ui.zone)?) {
        (false, None) => jobs,
        (true, Some(filter)) => matching(session, filter).await?,
        (true, None) => return Err(CliError::usage("name a job, or give a filter")),
        (false, Some(_)) => return Err(CliError::usage("name jobs, or give a filter, not both")),
    };
    let many = jobs.len() > 1;
    // One value holds what all of the jobs printed.
    let mut all = (session.ui.format == crate::ui::Format::Json).then(Vec::new);
    let mut exit = Exit::Done;
    for job in jobs {
        let prefix = (args.prefix || many).then(|| job.text.clone());
        let query = LogsQuery {
            cursor: args.cursor.clone(),
            attempt: args.attempt.or(job.attempt),
            stream: match (args.stream, args.level) {
                (Some(stream), _) => Some(stream.to_string()),
                (None, Some(_)) => Some(Stream::Log.to_string()),
                (None, None) => None,
            },
            tail: args.tail,
            follow: Some(args.follow),
        };
        if session.ui.format.is_json() {
            let ended = print_json(session, &job, query, all.as_mut()).await?;
            exit = if args.follow { exit_of(&ended) } else { exit };
            continue;
        }
        let sink = Sink {
            raw: args.raw,
            prefix,
            level: args.level,
            together: !args.follow || args.prefix || many,
            tail: args.tail,
            ..Sink::default()
        };
        let ended = print(session, &job.text, query, sink).await?;
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
    let printing = print(session, reference, query, sink);
    let Some(job) = crate::within(timeout, printing).await? else {
        session.ui.note(&format!("{reference} goes on: `orx logs -f {reference}` follows it"));
        return Ok(Exit::TimedOut);
    };
    let why = super::why(&job);
    let exit = exit_of(&job);
    // A command's own failure is its own to explain.
    let own = matches!(exit, Exit::Command(code) if !matches!(code, 126 | 127)) && job.attempt < 2;
    if !why.is_empty() && exit != Exit::Done && !own {
        session.ui.note(&format!("{} {}: {why}", job.id, job.status.words()));
    }
    Ok(exit)
}

async fn print(
    session: &Session,
    reference: &str,
    query: LogsQuery,
    sink: Sink,
) -> Result<Job, CliError> {
    let mut printer = Printer::new(&session.ui, sink);
    let mut failed = None;
    let each = |event: LogEvent| match event {
        LogEvent::Chunk(part) => match printer.part(&part) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
        LogEvent::Ping {} | LogEvent::Status { .. } | LogEvent::End { .. } => {
            ControlFlow::Continue(())
        }
    };
    let ended = session.client.follow(reference, query, each, link_note(&session.ui)).await?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    printer.finish()?;
    ended.ok_or_else(|| CliError::new(Exit::Failed, "cut_off", "the log was cut off"))
}

/// Lines of JSON, or values for one list.
async fn print_json(
    session: &Session,
    job: &JobRef,
    query: LogsQuery,
    mut all: Option<&mut Vec<serde_json::Value>>,
) -> Result<Job, CliError> {
    let mut failed = None;
    let mut begun = Begun::default();
    let value = |part: &LogPart, data: &str| {
        serde_json::json!({
            "v": 1, "job": job.text, "attempt": part.attempt, "stream": part.stream, "at": part.at,
            "cursor": part.cursor, "dropped_bytes": part.dropped_bytes, "data": data,
        })
    };
    let mut show = |value: serde_json::Value| {
        if let Some(all) = &mut all {
            all.push(value);
            return Ok(());
        }
        let line = orx_model::text::escape_json(&value.to_string()).into_owned();
        writeln!(std::io::stdout().lock(), "{line}")
    };
    let each = |event: LogEvent| {
        let LogEvent::Chunk(part) = event else { return ControlFlow::Continue(()) };
        match show(value(&part, &begun.characters(&part))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let ended = session.client.follow(&job.text, query, each, link_note(&session.ui)).await?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    for part in begun.take() {
        show(value(&part, &String::from_utf8_lossy(&part.data)))?;
    }
    ended.ok_or_else(|| CliError::new(Exit::Failed, "cut_off", "the log was cut off"))
}

/// What was begun in one part of a stream and ends in the next: chunks are cut by size and time,
/// not where lines and characters end.
#[derive(Default)]
struct Begun(BTreeMap<(u32, &'static str), LogPart>);

/// A line without an end is shown in pieces of this.
const LINE_MOST: usize = 256 * 1024;

impl Begun {
    /// What was begun before, and this.
    fn with(&mut self, part: &LogPart) -> Vec<u8> {
        let begun = self.0.remove(&(part.attempt, part.stream.as_str()));
        let mut bytes = begun.map(|begun| begun.data).unwrap_or_default();
        bytes.extend_from_slice(&part.data);
        bytes
    }

    fn keep(&mut self, part: &LogPart, rest: Vec<u8>) {
        if !rest.is_empty() {
            let (attempt, stream, at) = (part.attempt, part.stream, part.at);
            let cursor = part.cursor.clone();
            let rest = LogPart { cursor, attempt, stream, at, dropped_bytes: 0, data: rest };
            self.0.insert((attempt, stream.as_str()), rest);
        }
    }

    /// The lines that are there whole, each with its end.
    fn lines(&mut self, part: &LogPart) -> Vec<u8> {
        let mut bytes = self.with(part);
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if bytes.len() - end > LINE_MOST {
            bytes.push(b'\n');
            return bytes;
        }
        let rest = bytes.split_off(end);
        self.keep(part, rest);
        bytes
    }

    /// The text up to where a character is cut in two.
    fn characters(&mut self, part: &LogPart) -> String {
        let mut bytes = self.with(part);
        let cut = bytes.utf8_chunks().last().map_or(0, |last| {
            let begun = std::str::from_utf8(last.invalid());
            let is_begun = begun.is_err_and(|error| error.error_len().is_none());
            if is_begun { last.invalid().len() } else { 0 }
        });
        let rest = bytes.split_off(bytes.len() - cut);
        self.keep(part, rest);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What never ended.
    fn take(&mut self) -> impl Iterator<Item = LogPart> + use<> {
        std::mem::take(&mut self.0).into_values()
    }
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
    /// Lines held back until the end, for an exact tail.
    held: Option<Vec<(bool, Vec<u8>)>>,
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
            held: sink.tail.map(|_| Vec::new()),
            sink,
        }
    }

    fn part(&mut self, part: &LogPart) -> std::io::Result<()> {
        if part.dropped_bytes > 0 {
            self.ui.note(&format!("⋯ {} bytes dropped ⋯", part.dropped_bytes));
        }
        let to_err = match part.stream {
            Stream::Out => false,
            Stream::Err => !self.sink.together,
            Stream::Log => self.sink.plain || !self.sink.together,
        };
        if part.stream == Stream::Log {
            let text = self.log_lines(&part.data, part.at);
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
        let mut text = Vec::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            text.extend_from_slice(head.as_bytes());
            text.extend_from_slice(line);
        }
        self.write(to_err, &text)
    }

    fn head(&self, job: &str, stream: &str, at: Timestamp) -> String {
        let style = self.ui.time.unwrap_or(orx_model::time::TimeStyle::Utc);
        let at = orx_model::time::format_time(at, style, crate::daemon::wall(), self.ui.zone);
        format!("{at} {job} {stream}  ")
    }

    fn log_lines(&self, data: &[u8], at: Timestamp) -> String {
        let mut text = String::new();
        for line in String::from_utf8_lossy(data).lines() {
            let Ok(line) = serde_json::from_str::<LogLine>(line) else { continue };
            if self.sink.level.is_some_and(|least| line.level < least) {
                continue;
            }
            if let Some(job) = &self.sink.prefix {
                text.push_str(&self.head(job, "log", line.at.unwrap_or(at)));
            }
            let level = line.level.as_str().to_uppercase();
            text.push_str(&format!("{level} {}\n", line.message));
        }
        text
    }

    fn write(&mut self, to_err: bool, bytes: &[u8]) -> std::io::Result<()> {
        if let Some(held) = &mut self.held {
            held.push((to_err, bytes.to_vec()));
            return Ok(());
        }
        let side = if to_err { &mut self.err } else { &mut self.out };
        if let Some(last) = bytes.last() {
            side.open = *last != b'\n';
        }
        let mut text = String::new();
        let bytes = match &mut side.cleaner {
            Some(cleaner) => {
                cleaner.push(bytes, &mut text);
                cleaner.flush(&mut text);
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
        if let (Some(held), Some(lines)) = (self.held.take(), self.sink.tail) {
            // Whole chunks came; the tail is cut to lines here.
            let total: usize = held.iter().map(|(_, bytes)| count_lines(bytes)).sum();
            let open = held.last().is_some_and(|(_, bytes)| !bytes.ends_with(b"\n"));
            let mut skip = (total + usize::from(open)).saturating_sub(lines as usize);
            for (to_err, bytes) in held {
                let mut rest = bytes.as_slice();
                while skip > 0 {
                    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                        rest = &[];
                        break;
                    };
                    rest = &rest[end + 1..];
                    skip -= 1;
                }
                self.write(to_err, rest)?;
            }
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

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
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
