//! Parses a crontab into schedules, with the meaning of crontab(5).
//!
//! Each line becomes the argv `SHELL -c LINE`, with the variables above it as environment. `%` is
//! crontab's: the first without a backslash ends the command, the rest is its standard input with
//! each further `%` as a newline, and `\%` is a `%`. `CRON_TZ` is the zone of the times below
//! it. Lines have five fields, or an alias: seconds are an extension of orx, and `6 * * * * *` in a
//! crontab is five fields and a command that starts with `*`.
//!
//! An entry's id is the name of its script or program and a hash of its command, so it stays the same
//! when lines around it, its time or its variables change. Of several lines with one command the later
//! ones are numbered; [`crate::reconcile`] finds which of them is which when the file has changed.
//!
//! Parts without a counterpart (MAILTO, the user of a system crontab) are dropped with a note. A line that
//! cannot be parsed is an error, and all errors are reported together. Lines whose meaning depends on a
//! wrong one, such as those below a wrong `CRON_TZ`, are held back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use orx_model::job::Command;
use orx_model::schedule::{CatchUp, Imported, Overlap, ScheduleSpec, When};
use orx_model::wire::EnqueueRequest;
use orx_model::{Name, limits};
use serde::Serialize;

use crate::cron::{Cron, CronError, CronField};
use crate::imported::{fingerprint, program_of};
use crate::program::program;
use crate::spec::Schedule;
use crate::timing::{hash, mix};
use crate::zone::NamedZone;

/// The most lines of a crontab.
pub const LINES: usize = 10_000;
/// The longest line, in bytes.
pub const LINE_BYTES: usize = 16 * 1024;
/// Minutes of `RANDOM_DELAY`: a day.
const DELAY_MINUTES: u64 = 24 * 60;

/// Whether a sixth column names the user, as in `/etc/crontab` and `/etc/cron.d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserColumn {
    /// Unknown: a line that appears to have one is an error.
    #[default]
    Unsaid,
    /// There is a user column.
    Yes,
    /// There is no user column.
    No,
}

/// Options for parsing a crontab.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether the crontab has a column of users.
    pub user_column: UserColumn,
    /// Users of the host, to recognise a user column; `root` always counts.
    pub users: BTreeSet<String>,
    /// The user that runs the commands, if known: a line for another user is an error.
    pub run_as: Option<String>,
    /// Accept lines for other users, and ignore the user.
    pub ignore_user: bool,
    /// Time zone without `CRON_TZ`: that of the crontab's host.
    pub zone: NamedZone,
    /// Prefix of every id; may be empty.
    pub prefix: String,
    /// Working directory of commands without `HOME`.
    pub home: Option<String>,
    /// Variables set before the first line.
    pub variables: BTreeMap<String, String>,
    /// Overlap policy of every schedule; `None`: the default.
    pub overlap: Option<Overlap>,
    /// Catch-up policy of every schedule; `None`: the default.
    pub catch_up: Option<CatchUp>,
    /// Alert for lines whose failures cron would mail: all except those below `MAILTO=""`.
    pub on_failure: Option<Name>,
}

/// A line that became a schedule.
#[derive(Debug, Clone, Serialize)]
pub struct CrontabEntry {
    /// Line number, from 1.
    pub line: usize,
    /// Program and hash of its command: equal for lines with the same command.
    pub key: String,
    /// The schedule.
    pub spec: ScheduleSpec,
}

impl CrontabEntry {
    /// The name of its program.
    pub(crate) fn program(&self) -> &str {
        program_of(&self.key)
    }

    /// The schedule as an import from this source writes it.
    pub(crate) fn written(self, id: Name, source: &str) -> ScheduleSpec {
        let mut spec = ScheduleSpec { id, ..self.spec };
        let fingerprint = fingerprint(&spec);
        spec.imported = Some(Imported {
            source: source.to_owned(),
            line: self.line as u64,
            key: self.key,
            fingerprint,
        });
        spec
    }
}

/// A part of a crontab that is not imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Line number, from 1.
    pub line: usize,
    /// The part that is dropped, and its replacement.
    pub text: String,
}

/// A parsed crontab.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Crontab {
    /// The entries, in the order of lines.
    pub entries: Vec<CrontabEntry>,
    /// The parts that are not imported, in order.
    pub notes: Vec<Note>,
    /// Valid lines whose meaning depends on a wrong line above.
    pub held: Vec<LineError>,
}

/// A line that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct LineError {
    /// Line number, from 1.
    pub line: usize,
    /// The wrong field of the time, if any.
    pub field: Option<CronField>,
    /// What was expected, and what was found.
    pub text: String,
    /// The line is `@reboot`, which is valid but has no schedule.
    #[serde(skip)]
    pub at_start: bool,
}

/// All errors, in the order of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrontabErrors(pub Vec<LineError>);

impl fmt::Display for CrontabErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for CrontabErrors {}

/// Parses a whole crontab: returns every entry, or every error.
///
/// # Errors
///
/// Every line that cannot be parsed, or a text larger than a request may be.
pub fn parse(text: &str, options: &Options) -> Result<Crontab, CrontabErrors> {
    let (crontab, errors) = read(text, options)?;
    if errors.is_empty() { Ok(crontab) } else { Err(CrontabErrors(errors)) }
}

/// Parses the valid part of a crontab and returns the errors of the rest.
///
/// # Errors
///
/// A text larger than a request may be.
pub fn read(text: &str, options: &Options) -> Result<(Crontab, Vec<LineError>), CrontabErrors> {
    let whole =
        |text| CrontabErrors(vec![LineError { line: 1, field: None, text, at_start: false }]);
    if text.len() > limits::BODY_BYTES {
        let (most, found) = (limits::BODY_BYTES, text.len());
        return Err(whole(format!("a crontab is at most {most} bytes, found {found}")));
    }
    let mut reader = CrontabParser::new(options);
    for (place, line) in text.lines().enumerate() {
        if place >= LINES {
            return Err(whole(format!("a crontab is at most {LINES} lines")));
        }
        reader.line = place + 1;
        if let Err((field, text)) = reader.read(line) {
            let time = line.split_whitespace().next().unwrap_or_default();
            let at_start = time.eq_ignore_ascii_case("@reboot");
            reader.errors.push(LineError { line: place + 1, field, text, at_start });
        }
    }
    Ok((reader.crontab, reader.errors))
}

type Wrong = (Option<CronField>, String);

struct CrontabParser<'a> {
    options: &'a Options,
    line: usize,
    zone: NamedZone,
    shell: Option<String>,
    jitter_ms: u64,
    /// Cron would mail failures.
    mails: bool,
    /// Settings that could not be parsed, with their lines.
    wrong: BTreeMap<String, usize>,
    variables: Variables,
    ids: BTreeSet<String>,
    crontab: Crontab,
    errors: Vec<LineError>,
}

/// The variables above a line, shared by lines that have the same.
#[derive(Debug, Default, Clone)]
struct Variables(Arc<BTreeMap<String, String>>);

impl<'a> CrontabParser<'a> {
    fn new(options: &'a Options) -> Self {
        Self {
            options,
            line: 0,
            zone: options.zone.clone(),
            shell: options.variables.get("SHELL").filter(|shell| !shell.is_empty()).cloned(),
            jitter_ms: 0,
            mails: true,
            wrong: BTreeMap::new(),
            variables: Variables(Arc::new(options.variables.clone())),
            ids: BTreeSet::new(),
            crontab: Crontab::default(),
            errors: Vec::new(),
        }
    }

    fn note(&mut self, text: impl Into<String>) {
        self.crontab.notes.push(Note { line: self.line, text: text.into() });
    }

    fn read(&mut self, line: &str) -> Result<(), Wrong> {
        if line.len() > LINE_BYTES {
            return Err((
                None,
                format!("a line is at most {LINE_BYTES} bytes, found {}", line.len()),
            ));
        }
        if line.contains('\0') {
            return Err((None, "expected text, found a null byte".to_owned()));
        }
        // A comment has a line of its own: `#` later in a line is part of it.
        let line = line.trim_start_matches([' ', '\t']);
        if line.trim_end().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        match variable(line) {
            Ok(Some((name, value))) => {
                let set = self.set(&name, value);
                match set {
                    Ok(()) => self.wrong.remove(&name),
                    Err(_) => self.wrong.insert(name, self.line),
                };
                set
            }
            Ok(None) => self.entry(line),
            Err((name, text)) => {
                self.wrong.insert(name, self.line);
                Err((None, text))
            }
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Wrong> {
        match name {
            "CRON_TZ" => {
                self.zone = if value.is_empty() {
                    self.options.zone.clone()
                } else {
                    value.parse().map_err(|error| (None, format!("`CRON_TZ`: {error}")))?
                };
                return Ok(());
            }
            "MAILTO" => {
                self.mails = !value.is_empty();
                if self.mails && self.options.on_failure.is_none() {
                    self.note(
                        "`MAILTO` is left out: orx stores output with the job and mails none; \
                         `--on-failure NAME` enqueues a job of that type when a run fails",
                    );
                }
                return Ok(());
            }
            "MAILFROM" | "CONTENT_TYPE" | "CONTENT_TRANSFER_ENCODING" => {
                self.note(format!("`{name}` is left out: orx stores output with the job and mails none"));
                return Ok(());
            }
            "RANDOM_DELAY" => {
                let minutes = value.parse::<u64>().ok().filter(|most| *most <= DELAY_MINUTES);
                let minutes = minutes.ok_or_else(|| {
                    let expected = format!("minutes, 0 to {DELAY_MINUTES}");
                    (None, format!("`RANDOM_DELAY`: expected {expected}, found `{}`", cut(&value)))
                })?;
                self.jitter_ms = minutes * 60_000;
                return Ok(());
            }
            "SHELL" => {
                if value.is_empty() {
                    return Err((None, "`SHELL`: expected a program, found nothing".to_owned()));
                }
                self.shell = Some(value.clone());
            }
            "TZ" => self.note(
                "`TZ` is set for the commands only, as cron has it; `CRON_TZ` is the zone of the times",
            ),
            _ => {}
        }
        let variables = Arc::make_mut(&mut self.variables.0);
        // Limited, because the variables are copied to every entry.
        if variables.len() >= limits::TAGS * 4 && !variables.contains_key(name) {
            return Err((None, format!("expected at most {} variables", limits::TAGS * 4)));
        }
        variables.insert(name.to_owned(), value);
        Ok(())
    }

    fn entry(&mut self, line: &str) -> Result<(), Wrong> {
        let fields = if line.starts_with('@') { 1 } else { 5 };
        let (time, rest) = split_fields(line, fields)
            .ok_or_else(|| (None, shape(line, "a time and a command", fields)))?;
        let cron: Cron =
            time.parse().map_err(|error: CronError| (error.field(), error.to_string()))?;
        let mut rest = rest;
        match self.options.user_column {
            UserColumn::Yes => {
                let (user, command) = split_fields(rest, 1).ok_or_else(|| {
                    (None, shape(line, "a time, a user and a command", fields + 1))
                })?;
                self.user(user)?;
                rest = command;
            }
            UserColumn::Unsaid => {
                let first = split_fields(rest, 1).map(|(first, _)| first);
                let user = |first: &&str| *first == "root" || self.options.users.contains(*first);
                if let Some(user) = first.filter(user) {
                    return Err((
                        None,
                        format!(
                            "`{user}` looks like the user column of a system crontab: \
                             `--user-column` says that it is one, `--no-user-column` that it is the \
                             command"
                        ),
                    ));
                }
            }
            UserColumn::No => {}
        }
        let (command, stdin) = percent(rest);
        let command = command.trim_end_matches(['\r', '\n']);
        if command.trim().is_empty() {
            return Err((None, shape(line, "a command after the time", fields)));
        }
        if stdin.as_ref().is_some_and(|stdin| stdin.len() > limits::STDIN_BYTES) {
            let most = limits::STDIN_BYTES;
            return Err((None, format!("standard input after `%` is at most {most} bytes")));
        }
        let program = program(command);
        let (id, key) = self.id(&program, command);
        let shell = self.shell.clone().unwrap_or_else(|| "sh".to_owned());
        let job = EnqueueRequest {
            name: Some(Name::from_any(&program)),
            command: Some(Command {
                argv: vec![shell, "-c".to_owned(), command.to_owned()],
                // Cron starts a command in HOME.
                cwd: self.variables.0.get("HOME").or(self.options.home.as_ref()).cloned(),
                env: self.variables.0.as_ref().clone(),
                stdin: stdin.map(|text| base64::engine::general_purpose::STANDARD.encode(text)),
                ..Command::default()
            }),
            ..EnqueueRequest::default()
        };
        let mut spec = ScheduleSpec::new(id, When::Cron(cron.expr().clone()), job);
        spec.zone = self.zone.name().clone();
        spec.jitter_ms = self.jitter_ms;
        spec.overlap = self.options.overlap.unwrap_or(spec.overlap);
        spec.catch_up = self.options.catch_up.unwrap_or(spec.catch_up);
        spec.on_failure = self.options.on_failure.clone().filter(|_| self.mails);
        let checked = Schedule::checked(spec).map_err(|problems| (None, problems.to_string()))?;
        if let Some((name, line)) = self.wrong.first_key_value() {
            let text =
                format!("`{name}` in line {line} above is not understood, and it counts here");
            self.crontab.held.push(LineError {
                line: self.line,
                field: None,
                text,
                at_start: false,
            });
            return Ok(());
        }
        self.crontab.entries.push(CrontabEntry { line: self.line, key, spec: checked.into() });
        Ok(())
    }

    fn user(&mut self, user: &str) -> Result<(), Wrong> {
        let own = self.options.run_as.as_deref();
        if own == Some(user) {
            return Ok(());
        }
        let user = cut(user);
        match own {
            Some(own) if !self.options.ignore_user => Err((
                None,
                format!(
                    "it is for the user `{user}`, and commands run as the user of their worker, \
                     `{own}`: `--ignore-user` takes it all the same, `--run-as NAME` says who that is"
                ),
            )),
            _ => {
                self.note(format!(
                    "the user `{user}` is left out: a command runs as the worker's user"
                ));
                Ok(())
            }
        }
    }

    fn id(&mut self, program: &str, command: &str) -> (Name, String) {
        // Leaves space for the suffix that makes the id unique.
        let base: String = format!("{}{program}", self.options.prefix).chars().take(100).collect();
        let base = Name::from_any(&base);
        let hash = mix(hash(command.as_bytes())) & 0xff_ffff;
        let key = format!("{}-{hash:06x}", program.chars().take(100).collect::<String>());
        let base = format!("{}-{hash:06x}", base.as_str().trim_end_matches('-'));
        let mut id = base.clone();
        let mut number = 1;
        while self.ids.contains(&id) {
            number += 1;
            id = format!("{base}-{number}");
        }
        self.ids.insert(id.clone());
        (Name::from_any(&id), key)
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

fn shape(line: &str, expected: &str, fields: usize) -> String {
    let found = line.split_ascii_whitespace().count();
    let columns = if found == 1 { "column" } else { "columns" };
    format!(
        "expected {expected}: more than {fields} columns, found {found} {columns} in `{}`",
        cut(line.trim_end())
    )
}

/// The first words, and the text after them; `None` where there is no such text.
fn split_fields(line: &str, fields: usize) -> Option<(&str, &str)> {
    let blank = [' ', '\t'];
    let mut rest = line;
    for _ in 0..fields {
        rest = rest.trim_start_matches(blank);
        rest = &rest[rest.find(blank)?..];
    }
    let time = line[..line.len() - rest.len()].trim_matches(blank);
    let rest = rest.trim_start_matches(blank);
    (!rest.trim_end().is_empty()).then_some((time, rest))
}

/// Parses `NAME = value`, each optionally in quotes, without expansion. `None` for a line that is not a
/// setting; for a wrong one, its name and the error.
fn variable(line: &str) -> Result<Option<(String, String)>, (String, String)> {
    let quoted = |text: &str| text.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (name, rest) = match quoted(line) {
        Some(quote) => match line[1..].split_once(quote) {
            Some(parts) => parts,
            None => return Ok(None),
        },
        None => match line.find(|c: char| c == '=' || c.is_ascii_whitespace()) {
            Some(end) => line.split_at(end),
            None => return Ok(None),
        },
    };
    let Some(value) = rest.trim_start().strip_prefix('=') else { return Ok(None) };
    let right = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !right {
        return Ok(None);
    }
    let value = value.trim();
    let value = match quoted(value) {
        None => value,
        // Cron rejects both, and reports it only in its log.
        Some(quote) => match value[1..].split_once(quote) {
            Some((value, "")) => value,
            Some((_, after)) => {
                let after = cut(after.trim());
                let text = format!("`{name}`: expected nothing after the quotes, found `{after}`");
                return Err((name.to_owned(), text));
            }
            None => {
                let text = format!("`{name}`: expected a closing `{quote}`, found none");
                return Err((name.to_owned(), text));
            }
        },
    };
    Ok(Some((name.to_owned(), value.to_owned())))
}

/// The command, and the text after its first `%`.
fn percent(line: &str) -> (String, Option<String>) {
    let mut command = String::new();
    let mut chars = line.chars();
    let mut escaped = false;
    let mut stdin = None;
    for c in chars.by_ref() {
        match c {
            '%' if escaped => {
                command.pop();
                command.push('%');
            }
            '%' => {
                stdin = Some(String::new());
                break;
            }
            _ => command.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    if let Some(input) = &mut stdin {
        let mut escaped = false;
        for c in chars {
            match c {
                '%' if escaped => {
                    input.pop();
                    input.push('%');
                }
                '%' => input.push('\n'),
                _ => input.push(c),
            }
            escaped = c == '\\';
        }
        // As cron does: the last line ends too.
        if !input.ends_with('\n') && !input.is_empty() {
            input.push('\n');
        }
    }
    (command, stdin)
}
