//! `orx schedule import`: imports a crontab, and imports it again after changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use orx_model::Name;
use orx_model::limits;
use orx_model::mask::{mask_text, mask_words};
use orx_model::schedule::wire::{
    PutScheduleRequest, RemoveScheduleQuery, ScheduleChangeAnswer, ScheduleChanged, ScheduleView,
};
use orx_model::schedule::{CatchUp, Due, Overlap, ScheduleSpec};
use orx_schedule::crontab::{self, Crontab, LineError, Options, UserColumn};
use orx_schedule::{
    ExistingSchedule, ImportAction, ImportStep, NamedZone, ParseZoneError, Previewed, Schedule,
    preview, reconcile,
};

use super::super::{Session, folder, read_stdin, variables};
use super::{args, every_schedule, print, put_request};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, ListRow, Ui};

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// Crontab file; default, or `-`: standard input, for example from `crontab -l`
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Time zone of lines without CRON_TZ; default: --tz, else this machine's zone
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Prefix for the id of each schedule
    #[arg(long, value_name = "TEXT", default_value = "cron-")]
    prefix: String,
    /// Name of the crontab; an import changes and removes only schedules from the same source.
    /// Default: machine and path, or machine and user
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// A sixth column names the user, as in /etc/crontab
    #[arg(long, conflicts_with = "no_user_column")]
    user_column: bool,
    /// No column names the user, even if the command looks like a user name
    #[arg(long)]
    no_user_column: bool,
    /// User that the workers run commands as; default: yours
    #[arg(long, value_name = "USER")]
    run_as: Option<String>,
    /// Import lines for other users too: they run as the user of their worker
    #[arg(long)]
    ignore_user: bool,
    /// Skip lines that cannot be parsed, and import the others
    #[arg(long)]
    skip_bad: bool,
    /// Remove schedules of this source whose lines are gone
    #[arg(long)]
    prune: bool,
    /// Also change and remove schedules that somebody changed since the import
    #[arg(long)]
    overwrite: bool,
    /// For all lines, if the previous run has not ended: skip, allow (as cron), queue-one or
    /// cancel-old
    #[arg(long, value_name = "POLICY")]
    overlap: Option<Overlap>,
    /// For all lines, due times to run that passed while no server ran: none (as cron), one, all or
    /// all:N
    #[arg(long, value_name = "POLICY")]
    catch_up: Option<CatchUp>,
    /// For all lines except those below an empty MAILTO: enqueue a job of this type when a run
    /// fails
    #[arg(long, value_name = "NAME")]
    on_failure: Option<Name>,
    /// Folder for commands of lines without HOME; default: your home
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Variable for all commands, such as PATH or SHELL, where the crontab does not set it;
    /// repeatable
    #[arg(long, value_name = "K[=V]")]
    env: Vec<String>,
    /// Change nothing; print what would change. Without a server, print the lines as read
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short = 'y', long)]
    yes: bool,
}

/// Number of due times that a dry run prints for each schedule.
const DUE_TIMES: usize = 3;
/// Limit for the part of `/etc/passwd` that is read.
const PASSWD_BYTES: usize = 1 << 20;

impl ImportArgs {
    fn options(&self, ui: &Ui) -> Result<Options, CliError> {
        let zone = match self.zone.as_deref() {
            Some(text) => {
                text.parse().map_err(|error: ParseZoneError| CliError::usage(error.to_string()))?
            }
            None => args::local_zone(ui)?,
        };
        let own = std::env::var("HOME").ok().filter(|home| home.starts_with('/'));
        let home = match &self.cwd {
            Some(cwd) => Some(folder(Some(cwd))?),
            None => own,
        };
        Ok(Options {
            user_column: match (self.user_column, self.no_user_column) {
                (true, _) => UserColumn::Yes,
                (_, true) => UserColumn::No,
                (false, false) => UserColumn::Unsaid,
            },
            users: users_without_a_program(),
            run_as: Some(self.run_as.clone().unwrap_or_else(own_user)),
            ignore_user: self.ignore_user,
            zone,
            prefix: self.prefix.clone(),
            home,
            variables: variables(&self.env)?,
            overlap: self.overlap,
            catch_up: self.catch_up,
            on_failure: self.on_failure.clone(),
        })
    }

    fn source(&self, path: &Path) -> String {
        if let Some(source) = &self.source {
            return source.clone();
        }
        let host = crate::daemon::host_name();
        if path == Path::new("-") {
            return format!("{host}: crontab of {}", own_user());
        }
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        format!("{host}:{}", path.display())
    }

    /// How the runs will differ from cron's, each with the flag that makes them equal.
    fn differences(&self, crontab: &Crontab, home: Option<&str>) -> Vec<String> {
        let commands = || crontab.entries.iter().filter_map(|it| it.spec.job.command.as_ref());
        let mut all = Vec::new();
        if self.overlap.is_none() {
            all.push(
                "while a run has not ended, the next one is skipped; cron runs both: `--overlap \
                 allow`"
                    .to_owned(),
            );
        }
        if self.catch_up.is_none() {
            let ours = CatchUp::default();
            all.push(format!(
                "of the due times that pass while no server runs, `{ours}` is caught up; cron \
                 skips them: `--catch-up none`"
            ));
        }
        if commands().any(|command| !command.env.contains_key("PATH")) {
            all.push(
                "commands get the PATH of their worker; cron's is `--env PATH=/usr/bin:/bin`"
                    .to_owned(),
            );
        }
        if let Some(home) = home.filter(|_| self.cwd.is_none())
            && commands().any(|command| !command.env.contains_key("HOME"))
        {
            all.push(format!(
                "commands of lines without HOME run in your `{home}`; `--cwd DIR` names another \
                 folder"
            ));
        }
        all
    }
}

/// Names and uids of this machine's users.
fn users() -> Vec<(String, String)> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |line: &str| {
        let mut parts = line.split(':');
        Some((parts.next()?.to_owned(), parts.nth(1)?.to_owned()))
    };
    text.get(..text.len().min(PASSWD_BYTES)).unwrap_or_default().lines().filter_map(user).collect()
}

fn own_user() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let own = users().into_iter().find(|(_, id)| *id == uid).map(|(name, _)| name);
    own.or_else(|| std::env::var("USER").ok()).unwrap_or(uid)
}

/// Users whose name is not also a program's. `mail` and `sync` are users on many machines, and
/// commands in many crontabs.
fn users_without_a_program() -> BTreeSet<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = || path.split(':').chain(["/usr/bin", "/bin", "/usr/sbin", "/sbin"]);
    let is_program = |name: &str| folders().any(|folder| Path::new(folder).join(name).is_file());
    users().into_iter().map(|(name, _)| name).filter(|name| !is_program(name)).collect()
}

fn read_text(ui: &Ui, path: &Path) -> Result<(String, String), CliError> {
    if path == Path::new("-") {
        let bytes = read_stdin(ui, limits::BODY_BYTES)?;
        let text =
            String::from_utf8(bytes).map_err(|_| CliError::usage("standard input is not UTF-8"))?;
        return Ok((text, "standard input".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        CliError::usage(format!("could not read `{}`", path.display())).cause(error.to_string())
    })?;
    Ok((text, format!("`{}`", path.display())))
}

fn unparsable(shown: &str, errors: &[LineError]) -> CliError {
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    CliError::usage(format!("could not import {shown}; nothing was changed"))
        .cause(all.join("\n"))
        .hint("correct these lines, or skip them with `--skip-bad`")
}

/// Reads a crontab for `lint`.
pub(super) fn read_crontab(ui: &Ui, path: &Path, zone: NamedZone) -> Result<Crontab, CliError> {
    let (text, shown) = read_text(ui, path)?;
    let options = Options { zone, users: users_without_a_program(), ..Options::default() };
    crontab::parse(&text, &options).map_err(|errors| unparsable(&shown, &errors.0))
}

/// A step of the import, and the change that it would make or has made.
struct StepChange {
    step: ImportStep,
    answer: ScheduleChangeAnswer,
}

pub(super) async fn import(args: ImportArgs, session: &Session) -> Result<Exit, CliError> {
    let ui = &session.ui;
    let path = args.file.clone().unwrap_or_else(|| PathBuf::from("-"));
    let options = args.options(ui)?;
    let (text, shown) = read_text(ui, &path)?;
    let (crontab, mut bad) =
        crontab::read(&text, &options).map_err(|errors| unparsable(&shown, &errors.0))?;
    if !bad.is_empty() && !args.skip_bad {
        return Err(unparsable(&shown, &bad));
    }
    if args.prune && crontab.entries.is_empty() {
        return Err(CliError::usage(format!(
            "{shown} has no lines, and `--prune` does not remove all schedules of a source"
        ))
        .hint("`orx schedule rm` removes schedules by their ids"));
    }
    bad.extend(crontab.held.iter().cloned());
    bad.sort_by_key(|error| error.line);
    // If a line of an earlier import no longer parses, its schedule looks as if the line were gone.
    let unparsed: Vec<LineError> = bad.iter().filter(|error| !error.at_start).cloned().collect();
    if args.prune && !unparsed.is_empty() {
        let all: Vec<String> = unparsed.iter().map(ToString::to_string).collect();
        return Err(CliError::usage(format!(
            "{shown} has lines that cannot be parsed, so `--prune` cannot know which schedules to \
             remove"
        ))
        .cause(all.join("\n"))
        .hint(
            "correct these lines or comment them out; or omit `--prune`, and remove schedules \
             with `orx schedule rm`",
        ));
    }
    for error in &bad {
        ui.warn(&format!("skipped {error}"));
    }
    for note in &crontab.notes {
        ui.note(&format!("line {}: {}", note.line, note.text));
    }
    let existing = match every_schedule(session).await {
        Err(error) if args.dry_run && error.exit == Exit::NoServer => None,
        schedules => Some(schedules?),
    };
    let differences = args.differences(&crontab, options.home.as_deref());
    let source = args.source(&path);
    let steps = reconcile(crontab.entries, &source, &as_reconcile_input(existing.as_deref()));
    let mut changes = plan(&args, steps, existing.is_some(), session).await?;
    let differing =
        changes.iter().filter(|it| it.answer.change != ScheduleChanged::Unchanged).count();
    if args.dry_run || changes.iter().any(|it| it.answer.change == ScheduleChanged::Created) {
        for difference in differences {
            ui.note(&format!("unlike cron: {difference}"));
        }
    }
    if existing.is_none() {
        ui.note("no server was reached, so the existing schedules are unknown");
    }
    report_unchanged(ui, &changes, !unparsed.is_empty());
    let conflicts =
        changes.iter().any(|it| it.step.what == ImportAction::Conflict && !args.overwrite);
    let exit = if conflicts { Exit::Partial } else { Exit::Success };
    if args.dry_run || differing == 0 {
        changes.iter_mut().for_each(|it| it.answer.dry_run = args.dry_run);
        report(ui, &changes, args.dry_run)?;
        return Ok(if args.dry_run { Exit::Success } else { exit });
    }
    if !args.yes {
        if ui.format.is_human() {
            report(ui, &changes, true)?;
        }
        if path == Path::new("-") {
            return Err(CliError::usage(
                "this change needs a confirmation, and standard input is the crontab",
            )
            .hint("`--yes` confirms it; `--dry-run` shows what it would change"));
        }
        if !ui.confirm(&format!("create, change or remove {differing} schedules?"))? {
            return Ok(Exit::Success);
        }
    }
    for index in 0..changes.len() {
        match carry_out(&changes[index], session).await {
            Ok(answer) => changes[index].answer = answer,
            Err(error) => {
                // Report the changes so far, and where the import stopped.
                report(ui, &changes[..index], false)?;
                let rest = changes.len() - index - 1;
                let id = &changes[index].step.spec.id;
                ui.warn(&format!("the import stopped at {id}; {rest} after it were not tried"));
                return Err(error);
            }
        }
    }
    report(ui, &changes, false)?;
    Ok(exit)
}

async fn carry_out(one: &StepChange, session: &Session) -> Result<ScheduleChangeAnswer, CliError> {
    Ok(match one.answer.change {
        ScheduleChanged::Unchanged => ScheduleChangeAnswer { dry_run: false, ..one.answer.clone() },
        ScheduleChanged::Removed => {
            let query = RemoveScheduleQuery { version: one.step.version };
            session.client.remove_schedule(one.step.spec.id.as_str(), &query).await?
        }
        ScheduleChanged::Created | ScheduleChanged::Changed => {
            session.client.put_schedule(&versioned_request(&one.step, false)).await?
        }
    })
}

fn as_reconcile_input(existing: Option<&[ScheduleView]>) -> Vec<ExistingSchedule<'_>> {
    let existing = existing.unwrap_or_default().iter();
    existing
        .map(|view| ExistingSchedule {
            spec: &view.spec,
            version: view.version,
            edited: view.edited,
        })
        .collect()
}

/// The request for a step. The server rejects it if somebody has changed the schedule since it was
/// read.
fn versioned_request(step: &ImportStep, dry_run: bool) -> PutScheduleRequest {
    PutScheduleRequest { version: step.version, ..put_request(step.spec.clone(), dry_run) }
}

/// The next due time; `None` if this machine cannot parse the schedule's timing.
fn next_due(spec: &ScheduleSpec) -> Option<Due> {
    Schedule::new(spec.clone()).ok()?.timing().next_due(crate::clock::wall())
}

/// Asks the server what each step would change, before anything is changed.
///
/// # Errors
/// A line would change a schedule that did not come from this source.
async fn plan(
    args: &ImportArgs,
    steps: Vec<ImportStep>,
    server: bool,
    session: &Session,
) -> Result<Vec<StepChange>, CliError> {
    let mut all = Vec::new();
    let mut refused = Vec::new();
    for step in steps {
        let without_server = |change| ScheduleChangeAnswer {
            v: orx_model::wire::V,
            id: step.spec.id.clone(),
            change,
            dry_run: true,
            version: step.version.unwrap_or(1),
            fields: Vec::new(),
            next: next_due(&step.spec),
            warning: None,
        };
        let id = &step.spec.id;
        let line = step.line.unwrap_or_default();
        let answer = match step.what {
            ImportAction::Write if !server => without_server(ScheduleChanged::Created),
            ImportAction::Write => {
                session.client.put_schedule(&versioned_request(&step, true)).await?
            }
            ImportAction::Edited | ImportAction::Conflict if args.overwrite => {
                session.client.put_schedule(&versioned_request(&step, true)).await?
            }
            ImportAction::Stranger => {
                let answer = session.client.put_schedule(&versioned_request(&step, true)).await?;
                let same = answer.fields.iter().all(|it| it.field.starts_with("imported."));
                if !same && !args.overwrite {
                    refused.push(format!(
                        "line {line}: the schedule `{id}` exists and was not imported"
                    ));
                }
                answer
            }
            ImportAction::Foreign => {
                refused.push(format!(
                    "line {line}: the schedule `{id}` exists and was imported from another source"
                ));
                continue;
            }
            ImportAction::Gone if args.prune => without_server(ScheduleChanged::Removed),
            ImportAction::GoneEdited if args.prune && args.overwrite => {
                without_server(ScheduleChanged::Removed)
            }
            ImportAction::Edited
            | ImportAction::Conflict
            | ImportAction::Gone
            | ImportAction::GoneEdited => without_server(ScheduleChanged::Unchanged),
        };
        all.push(StepChange { step, answer });
    }
    if refused.is_empty() {
        return Ok(all);
    }
    let message = "some lines would change schedules that do not belong to this import";
    Err(CliError::new(Exit::Conflict, "state_conflict", message).cause(refused.join("\n")).hint(
        "`--prefix web2-` gives the lines other ids; `--source NAME` names the source that the \
         schedules were imported from (see `orx schedule show`); `--overwrite` takes over \
         schedules that were not imported",
    ))
}

/// Reports schedules that stay although the crontab differs, and how to change or remove them.
fn report_unchanged(ui: &Ui, all: &[StepChange], some_skipped: bool) {
    for one in all.iter().filter(|it| it.answer.change == ScheduleChanged::Unchanged) {
        let id = &one.step.spec.id;
        match one.step.what {
            ImportAction::Edited => ui.note(&format!(
                "{id} stays as it is: it was changed since the import, and its line was not"
            )),
            ImportAction::Conflict => ui.warn(&format!(
                "{id} stays as it is: both it and its line were changed since the import; \
                 `--overwrite` changes it to match the line"
            )),
            ImportAction::Gone | ImportAction::GoneEdited if some_skipped => {
                ui.warn(&format!("{id} stays: its line is gone, or is one of the skipped lines"))
            }
            ImportAction::Gone => ui.warn(&format!(
                "{id} stays and still runs, although its line is gone; `--prune` or `orx schedule \
                 rm {id}` removes it"
            )),
            ImportAction::GoneEdited => ui.warn(&format!(
                "{id} stays and still runs, although its line is gone, because it was changed \
                 since the import; `orx schedule rm {id}` removes it"
            )),
            ImportAction::Write | ImportAction::Stranger | ImportAction::Foreign => {}
        }
    }
}

/// Why a schedule stays as it is, for programs.
fn kept_reason(one: &StepChange) -> Option<&'static str> {
    match one.step.what {
        _ if one.answer.change != ScheduleChanged::Unchanged => None,
        ImportAction::Edited => Some("edited"),
        ImportAction::Conflict => Some("conflict"),
        ImportAction::Gone | ImportAction::GoneEdited => Some("gone"),
        ImportAction::Write | ImportAction::Stranger | ImportAction::Foreign => None,
    }
}

fn command_text(spec: &ScheduleSpec) -> String {
    let mut words = spec.job.command.as_ref().map(|it| it.argv.clone()).unwrap_or_default();
    mask_words(&mut words);
    // Leave out the `sh -c` that runs every line.
    let words = if words.len() == 3 && words[1] == "-c" { &words[2..] } else { &words[..] };
    words.iter().map(|word| mask_text(word).into_owned()).collect::<Vec<_>>().join(" ")
}

/// Prints the changes; `details` adds timing, next due times, command and folder.
fn report(ui: &Ui, all: &[StepChange], details: bool) -> Result<(), CliError> {
    for one in all {
        if let Some(warning) = &one.answer.warning {
            ui.warn(&format!("{}: {warning}", one.answer.id));
        }
    }
    let now = crate::clock::wall();
    let due = |spec: &ScheduleSpec| -> Vec<Previewed> {
        let schedule = Schedule::new(spec.clone());
        schedule.map_or_else(|_| Vec::new(), |it| preview(it.timing(), now, DUE_TIMES))
    };
    let cwd = |spec: &ScheduleSpec| spec.job.command.as_ref().and_then(|it| it.cwd.clone());
    if ui.format.is_human() {
        for one in all.iter().filter(|it| details || it.answer.change != ScheduleChanged::Unchanged)
        {
            let (line, spec) = (one.step.line, &one.step.spec);
            let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            ui.raw(format!("{line}{}", print::change_text(ui, &one.answer)).as_bytes())?;
            if !details || one.step.line.is_none() {
                continue;
            }
            let next: Vec<String> = due(spec).into_iter().map(|one| one.local).collect();
            let folder = cwd(spec).unwrap_or_else(|| "the worker's".to_owned());
            let lines = [
                format!("{} in {}", spec.timing, spec.zone),
                format!("next {}", next.join(", ")),
                format!("runs {}", command_text(spec)),
                format!("folder {folder}"),
            ];
            for line in lines {
                ui.raw(format!("    {}\n", orx_model::text::clean_line(&line)).as_bytes())?;
            }
        }
        let count = |change| all.iter().filter(|it| it.answer.change == change).count();
        let (created, other) = (count(ScheduleChanged::Created), count(ScheduleChanged::Changed));
        let (same, removed) = (count(ScheduleChanged::Unchanged), count(ScheduleChanged::Removed));
        let dry = if all.iter().any(|it| it.answer.dry_run) { "would be: " } else { "" };
        let mut text = format!("{dry}{created} created, {other} changed, {same} unchanged");
        if removed > 0 {
            text.push_str(&format!(", {removed} removed"));
        }
        ui.note(&text);
        return Ok(());
    }
    let row = |one: &StepChange| -> Result<ListRow, CliError> {
        let spec = &one.step.spec;
        let due: Vec<_> = due(spec).into_iter().map(|one| one.slot).collect();
        let mut json = serde_json::to_value(&one.answer)?;
        let more: BTreeMap<&str, serde_json::Value> = BTreeMap::from([
            ("line", serde_json::to_value(one.step.line)?),
            ("kept", serde_json::to_value(kept_reason(one))?),
            ("zone", serde_json::to_value(&spec.zone)?),
            ("when", spec.timing.to_string().into()),
            ("due", serde_json::to_value(&due)?),
            ("command", command_text(spec).into()),
            ("folder", serde_json::to_value(cwd(spec))?),
        ]);
        if let Some(object) = json.as_object_mut() {
            object.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        Ok(ListRow {
            json,
            id: one.answer.id.to_string(),
            cells: vec![
                Cell::option(one.step.line),
                Cell::new(one.answer.id.to_string()),
                Cell::new(one.answer.change.as_str()),
                Cell::option(kept_reason(one)),
                Cell::new(spec.timing.to_string()),
                Cell::new(spec.zone.to_string()),
                Cell::option(due.first()),
                Cell::new(command_text(spec)),
                Cell::option(cwd(spec)),
            ],
        })
    };
    const COLUMNS: [Column; 9] = [
        ("LINE", false),
        ("SCHEDULE", false),
        ("CHANGE", false),
        ("KEPT", false),
        ("WHEN", false),
        ("ZONE", false),
        ("NEXT", false),
        ("COMMAND", false),
        ("FOLDER", false),
    ];
    let rows: Result<Vec<ListRow>, CliError> = all.iter().map(row).collect();
    ui.list(&COLUMNS, &rows?)
}
