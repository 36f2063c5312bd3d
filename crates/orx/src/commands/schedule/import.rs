//! A crontab taken over, and taken over again when it has changed.

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
    NamedZone, ParseZoneError, Previewed, Schedule, Step, There, What, preview, reconcile,
};

use super::super::{Session, folder, read_stdin, variables};
use super::{args, every_schedule, print, put};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, Row, Ui};

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// The crontab; `-` or nothing reads standard input, as from `crontab -l`
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Zone of its times where no CRON_TZ stands; that of --tz or of this machine if left out
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Starts the id of each schedule
    #[arg(long, value_name = "TEXT", default_value = "cron-")]
    prefix: String,
    /// What the crontab is called; an import changes and removes only what came from the same
    /// source. Machine and path, or machine and user, if left out
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// A sixth column names the user, as in /etc/crontab
    #[arg(long, conflicts_with = "no_user_column")]
    user_column: bool,
    /// No column names the user, also where the command looks like one
    #[arg(long)]
    no_user_column: bool,
    /// User that the workers run commands as; yours if left out
    #[arg(long, value_name = "USER")]
    run_as: Option<String>,
    /// Take lines for other users too: they run as the user of their worker
    #[arg(long)]
    ignore_user: bool,
    /// Take the other lines where some cannot be understood
    #[arg(long)]
    skip_bad: bool,
    /// Remove what this import made from lines that have gone
    #[arg(long)]
    prune: bool,
    /// Also change and remove what somebody changed since it was imported
    #[arg(long)]
    overwrite: bool,
    /// For all lines, while the previous run goes on: skip, allow (as cron), queue-one, cancel-old
    #[arg(long, value_name = "POLICY")]
    overlap: Option<Overlap>,
    /// For all lines, what was missed while nothing ran: none (as cron), one, all or all:N
    #[arg(long, value_name = "POLICY")]
    catch_up: Option<CatchUp>,
    /// For all lines but those below an empty MAILTO: enqueue a job of this type when a run fails
    #[arg(long, value_name = "NAME")]
    on_failure: Option<Name>,
    /// Folder of the commands where no HOME stands; yours if left out
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Variable that all commands get where the crontab does not set it, PATH or SHELL say
    #[arg(long, value_name = "K[=V]")]
    env: Vec<String>,
    /// Only show what it would do; needs no server, and without one says what the lines are
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(short = 'y', long)]
    yes: bool,
}

/// Due times that a dry run shows.
const SHOWN: usize = 3;
/// `/etc/passwd` and the like.
const FILE_BYTES: usize = 1 << 20;

impl ImportArgs {
    fn options(&self, ui: &Ui) -> Result<Options, CliError> {
        let zone = match self.zone.as_deref() {
            Some(text) => {
                text.parse().map_err(|error: ParseZoneError| CliError::usage(error.to_string()))?
            }
            None => args::here(ui)?,
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
            users: users_that_are_no_programs(),
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

    /// What runs otherwise than cron would run it, with what makes it the same.
    fn differences(&self, crontab: &Crontab, home: Option<&str>) -> Vec<String> {
        let commands = || crontab.entries.iter().filter_map(|it| it.spec.job.command.as_ref());
        let mut all = Vec::new();
        if self.overlap.is_none() {
            all.push(
                "while a run goes on, the next is skipped; cron runs both: `--overlap allow`"
                    .to_owned(),
            );
        }
        if self.catch_up.is_none() {
            let ours = CatchUp::default();
            all.push(format!(
                "of what comes due while no server runs, `{ours}` is caught up; cron leaves it out: \
                 `--catch-up none`"
            ));
        }
        if commands().any(|command| !command.env.contains_key("PATH")) {
            all.push(
                "commands have the PATH of their worker; that of cron: \
                 `--env PATH=/usr/bin:/bin`"
                    .to_owned(),
            );
        }
        if let Some(home) = home.filter(|_| self.cwd.is_none())
            && commands().any(|command| !command.env.contains_key("HOME"))
        {
            all.push(format!(
                "where no HOME stands, commands run in your `{home}`; `--cwd DIR` says another"
            ));
        }
        all
    }
}

/// Names and numbers of the users of this machine.
fn users() -> Vec<(String, String)> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |line: &str| {
        let mut parts = line.split(':');
        Some((parts.next()?.to_owned(), parts.nth(1)?.to_owned()))
    };
    text.get(..text.len().min(FILE_BYTES)).unwrap_or_default().lines().filter_map(user).collect()
}

fn own_user() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let own = users().into_iter().find(|(_, id)| *id == uid).map(|(name, _)| name);
    own.or_else(|| std::env::var("USER").ok()).unwrap_or(uid)
}

/// `mail` and `sync` are users on many machines, and commands in many crontabs.
fn users_that_are_no_programs() -> BTreeSet<String> {
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

fn not_understood(shown: &str, errors: &[LineError]) -> CliError {
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    CliError::usage(format!("{shown} cannot be taken over"))
        .cause(all.join("\n"))
        .hint("mend these lines, or leave them out with `--skip-bad`: nothing was changed")
}

/// For `lint`.
pub(super) fn read_crontab(ui: &Ui, path: &Path, zone: NamedZone) -> Result<Crontab, CliError> {
    let (text, shown) = read_text(ui, path)?;
    let options = Options { zone, users: users_that_are_no_programs(), ..Options::default() };
    crontab::parse(&text, &options).map_err(|errors| not_understood(&shown, &errors.0))
}

/// A step, and what it does or did.
struct Done {
    step: Step,
    answer: ScheduleChangeAnswer,
}

pub(super) async fn import(args: ImportArgs, session: &Session) -> Result<Exit, CliError> {
    let ui = &session.ui;
    let path = args.file.clone().unwrap_or_else(|| PathBuf::from("-"));
    let options = args.options(ui)?;
    let (text, shown) = read_text(ui, &path)?;
    let (crontab, mut bad) =
        crontab::read(&text, &options).map_err(|errors| not_understood(&shown, &errors.0))?;
    if !bad.is_empty() && !args.skip_bad {
        return Err(not_understood(&shown, &bad));
    }
    if args.prune && crontab.entries.is_empty() {
        return Err(CliError::usage(format!("{shown} has no line: nothing is removed for that"))
            .hint("`orx schedule rm` removes schedules by their ids"));
    }
    bad.extend(crontab.held.iter().cloned());
    bad.sort_by_key(|error| error.line);
    // What a line made that cannot be understood any more looks as if its line had gone.
    let unknown: Vec<LineError> = bad.iter().filter(|error| !error.at_start).cloned().collect();
    if args.prune && !unknown.is_empty() {
        let all: Vec<String> = unknown.iter().map(ToString::to_string).collect();
        return Err(CliError::usage(format!(
            "{shown} has lines that cannot be understood: what they made cannot be told from what \
             has gone"
        ))
        .cause(all.join("\n"))
        .hint(
            "mend these lines or make comments of them; or leave out `--prune`, and end what has \
             gone with `orx schedule rm`",
        ));
    }
    for error in &bad {
        ui.warn(&format!("left out, {error}"));
    }
    for note in &crontab.notes {
        ui.note(&format!("line {}: {}", note.line, note.text));
    }
    let there = match every_schedule(session).await {
        Err(error) if args.dry_run && error.exit == Exit::NoServer => None,
        there => Some(there?),
    };
    let differences = args.differences(&crontab, options.home.as_deref());
    let source = args.source(&path);
    let steps = reconcile(crontab.entries, &source, &standing(there.as_deref()));
    let mut would = plan(&args, steps, there.is_some(), session).await?;
    let differ = would.iter().filter(|it| it.answer.change != ScheduleChanged::Unchanged).count();
    if args.dry_run || would.iter().any(|it| it.answer.change == ScheduleChanged::Created) {
        for difference in differences {
            ui.note(&format!("unlike cron: {difference}"));
        }
    }
    if there.is_none() {
        ui.note("no server was reached: what is there already is not known");
    }
    say_what_stays(ui, &would, !unknown.is_empty());
    let conflicts = would.iter().any(|it| it.step.what == What::Conflict && !args.overwrite);
    let exit = if conflicts { Exit::Partial } else { Exit::Done };
    if args.dry_run || differ == 0 {
        would.iter_mut().for_each(|it| it.answer.dry_run = args.dry_run);
        report(ui, &would, args.dry_run)?;
        return Ok(if args.dry_run { Exit::Done } else { exit });
    }
    if !args.yes {
        if ui.format.is_human() {
            report(ui, &would, true)?;
        }
        if path == Path::new("-") {
            return Err(CliError::usage("the crontab came from standard input: nobody can answer")
                .hint("`--yes` does it, `--dry-run` shows what it would do"));
        }
        if !ui.confirm(&format!("make, change or remove {differ} schedules?"))? {
            return Ok(Exit::Done);
        }
    }
    for place in 0..would.len() {
        match carry_out(&would[place], session).await {
            Ok(answer) => would[place].answer = answer,
            Err(error) => {
                // What was done is told, and where it ended.
                report(ui, &would[..place], false)?;
                let rest = would.len() - place - 1;
                let id = &would[place].step.spec.id;
                ui.warn(&format!("it ended at {id}; {rest} after it were not tried"));
                return Err(error);
            }
        }
    }
    report(ui, &would, false)?;
    Ok(exit)
}

async fn carry_out(one: &Done, session: &Session) -> Result<ScheduleChangeAnswer, CliError> {
    Ok(match one.answer.change {
        ScheduleChanged::Unchanged => ScheduleChangeAnswer { dry_run: false, ..one.answer.clone() },
        ScheduleChanged::Removed => {
            let query = RemoveScheduleQuery { version: one.step.version };
            session.client.remove_schedule(one.step.spec.id.as_str(), &query).await?
        }
        ScheduleChanged::Created | ScheduleChanged::Changed => {
            session.client.put_schedule(&write(&one.step, false)).await?
        }
    })
}

fn standing(there: Option<&[ScheduleView]>) -> Vec<There<'_>> {
    let there = there.unwrap_or_default().iter();
    there
        .map(|view| There { spec: &view.spec, version: view.version, edited: view.edited })
        .collect()
}

/// Only if it stands as it was looked at: what somebody changes meanwhile is not undone.
fn write(step: &Step, dry_run: bool) -> PutScheduleRequest {
    PutScheduleRequest { version: step.version, ..put(step.spec.clone(), dry_run) }
}

/// Of a schedule of the server that this machine does not understand, nothing is known.
fn next_due(spec: &ScheduleSpec) -> Option<Due> {
    Schedule::new(spec.clone()).ok()?.timing().next_due(crate::clock::wall())
}

/// What each step would do, before anything is done.
async fn plan(
    args: &ImportArgs,
    steps: Vec<Step>,
    server: bool,
    session: &Session,
) -> Result<Vec<Done>, CliError> {
    let mut all = Vec::new();
    let mut refused = Vec::new();
    for step in steps {
        let stays = |change| ScheduleChangeAnswer {
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
            What::Write if !server => stays(ScheduleChanged::Created),
            What::Write => session.client.put_schedule(&write(&step, true)).await?,
            What::Edited | What::Conflict if args.overwrite => {
                session.client.put_schedule(&write(&step, true)).await?
            }
            What::Stranger => {
                let answer = session.client.put_schedule(&write(&step, true)).await?;
                let same = answer.fields.iter().all(|it| it.field.starts_with("imported."));
                if !same && !args.overwrite {
                    refused.push(format!(
                        "line {line}: the schedule `{id}` is there and came from no import"
                    ));
                }
                answer
            }
            What::Foreign => {
                refused.push(format!(
                    "line {line}: the schedule `{id}` is there and was imported from elsewhere"
                ));
                continue;
            }
            What::Gone if args.prune => stays(ScheduleChanged::Removed),
            What::GoneEdited if args.prune && args.overwrite => stays(ScheduleChanged::Removed),
            What::Edited | What::Conflict | What::Gone | What::GoneEdited => {
                stays(ScheduleChanged::Unchanged)
            }
        };
        all.push(Done { step, answer });
    }
    if refused.is_empty() {
        return Ok(all);
    }
    Err(CliError::new(Exit::Conflict, "state_conflict", "these lines would change schedules of others")
        .cause(refused.join("\n"))
        .hint(
            "`--prefix web2-` gives them ids of their own, `--source NAME` says what they were \
             imported from (`orx schedule show` has it), `--overwrite` takes over what came from no \
             import",
        ))
}

/// What the file does not decide, and how to end it.
fn say_what_stays(ui: &Ui, all: &[Done], some_left_out: bool) {
    for one in all.iter().filter(|it| it.answer.change == ScheduleChanged::Unchanged) {
        let id = &one.step.spec.id;
        match one.step.what {
            What::Edited => ui.note(&format!(
                "{id} was changed since it was imported, and its line was not: it stays as it is"
            )),
            What::Conflict => ui.warn(&format!(
                "{id} was changed since it was imported, and so was its line: it stays as it is; \
                 `--overwrite` makes it be as the line says"
            )),
            What::Gone | What::GoneEdited if some_left_out => {
                ui.warn(&format!("{id} stays: its line has gone, or is one of those left out"))
            }
            What::Gone => ui.warn(&format!(
                "{id} stays and runs on: its line has gone; `--prune` removes it, as \
                 `orx schedule rm {id}` does"
            )),
            What::GoneEdited => ui.warn(&format!(
                "{id} stays and runs on: its line has gone, and it was changed since it was \
                 imported; `orx schedule rm {id}` removes it"
            )),
            What::Write | What::Stranger | What::Foreign => {}
        }
    }
}

/// Why a schedule stays as it is, for programs.
fn kept(one: &Done) -> Option<&'static str> {
    match one.step.what {
        _ if one.answer.change != ScheduleChanged::Unchanged => None,
        What::Edited => Some("edited"),
        What::Conflict => Some("conflict"),
        What::Gone | What::GoneEdited => Some("gone"),
        What::Write | What::Stranger | What::Foreign => None,
    }
}

fn command_text(spec: &ScheduleSpec) -> String {
    let mut words = spec.job.command.as_ref().map(|it| it.argv.clone()).unwrap_or_default();
    mask_words(&mut words);
    // Cron's shell goes without saying.
    let words = if words.len() == 3 && words[1] == "-c" { &words[2..] } else { &words[..] };
    words.iter().map(|word| mask_text(word).into_owned()).collect::<Vec<_>>().join(" ")
}

fn report(ui: &Ui, all: &[Done], details: bool) -> Result<(), CliError> {
    for one in all {
        if let Some(warning) = &one.answer.warning {
            ui.warn(&format!("{}: {warning}", one.answer.id));
        }
    }
    let now = crate::clock::wall();
    let due = |spec: &ScheduleSpec| -> Vec<Previewed> {
        let schedule = Schedule::new(spec.clone());
        schedule.map_or_else(|_| Vec::new(), |it| preview(it.timing(), now, SHOWN))
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
            let folder = cwd(spec).unwrap_or_else(|| "that of the worker".to_owned());
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
        let (same, gone) = (count(ScheduleChanged::Unchanged), count(ScheduleChanged::Removed));
        let dry = if all.iter().any(|it| it.answer.dry_run) { "would be: " } else { "" };
        let mut text = format!("{dry}{created} created, {other} changed, {same} unchanged");
        if gone > 0 {
            text.push_str(&format!(", {gone} removed"));
        }
        ui.note(&text);
        return Ok(());
    }
    let row = |one: &Done| -> Result<Row, CliError> {
        let spec = &one.step.spec;
        let due: Vec<_> = due(spec).into_iter().map(|one| one.slot).collect();
        let mut json = serde_json::to_value(&one.answer)?;
        let more: BTreeMap<&str, serde_json::Value> = BTreeMap::from([
            ("line", serde_json::to_value(one.step.line)?),
            ("kept", serde_json::to_value(kept(one))?),
            ("zone", serde_json::to_value(&spec.zone)?),
            ("when", spec.timing.to_string().into()),
            ("due", serde_json::to_value(&due)?),
            ("command", command_text(spec).into()),
            ("folder", serde_json::to_value(cwd(spec))?),
        ]);
        if let Some(object) = json.as_object_mut() {
            object.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        Ok(Row {
            json,
            id: one.answer.id.to_string(),
            cells: vec![
                Cell::option(one.step.line),
                Cell::new(one.answer.id.to_string()),
                Cell::new(one.answer.change.as_str()),
                Cell::option(kept(one)),
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
    let rows: Result<Vec<Row>, CliError> = all.iter().map(row).collect();
    ui.list(&COLUMNS, &rows?)
}
