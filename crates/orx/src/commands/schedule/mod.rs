//! `orx schedule`: schedules, their due times, and the outcome of each.

mod args;
mod files;
mod import;
mod offline;
mod print;

use orx_model::Name;
use orx_model::schedule::wire::{
    BackfillRequest, PutScheduleRequest, RemoveScheduleQuery, ScheduleChangeAnswer, ScheduleOrder,
    ScheduleView, SchedulesQuery, SetScheduleRequest, SlotsQuery,
};
use orx_model::time::{Toward, parse_time};
use orx_model::{Timestamp, limits};

use self::args::{SpecArgs, TimeArgs};
use super::logs::{Sink, follow};
use super::{Session, connection_notes, exit_of, interruptible, resume_note};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, Format, ListRow, Ui};

/// Create and manage schedules, and show the outcome of each due time
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ScheduleSubcommand {
    /// Create a schedule for a job type, or for a command after `--`
    #[command(after_long_help = super::help::SCHEDULE_ADD)]
    Add(Box<AddArgs>),
    /// List all schedules
    #[command(after_long_help = super::help::SCHEDULE)]
    List,
    /// Show one schedule with its next due times
    #[command(after_long_help = super::help::SCHEDULE)]
    Show {
        /// Id of the schedule
        #[arg(value_name = "ID")]
        id: String,
        /// Number of due times to show
        #[arg(short = 'n', long, value_name = "N", default_value_t = 5)]
        next: usize,
    },
    /// Change a schedule; what no flag names stays as it is
    #[command(after_long_help = super::help::SCHEDULE_SET)]
    Set(Box<SetArgs>),
    /// Pause schedules: they do not fire
    #[command(after_long_help = super::help::SCHEDULE_ORDER)]
    Pause(PauseArgs),
    /// Resume schedules; due times that passed meanwhile are skipped
    #[command(after_long_help = super::help::SCHEDULE_ORDER)]
    Resume(PauseArgs),
    /// Run a schedule now, in addition to its due times
    #[command(after_long_help = super::help::SCHEDULE_ORDER)]
    Trigger(TriggerArgs),
    /// Remove schedules with their ledgers; the jobs they made stay
    #[command(after_long_help = super::help::SCHEDULE_ORDER)]
    Rm(RemoveArgs),
    /// Show the outcome of each due time
    #[command(after_long_help = super::help::SCHEDULE_RUNS)]
    Runs {
        /// Id of the schedule
        #[arg(value_name = "ID")]
        id: String,
        /// Only missed due times
        #[arg(long)]
        missed: bool,
        /// Print at most N
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Print all, on a terminal too
        #[arg(long, conflicts_with = "limit")]
        all: bool,
    },
    /// Show the next due times of a schedule, or of the timing that flags give, without a server
    #[command(after_long_help = super::help::SCHEDULE_PREVIEW)]
    Preview(offline::PreviewArgs),
    /// Warn of timings that are valid but probably not intended; needs no server
    #[command(after_long_help = super::help::SCHEDULE_PREVIEW)]
    Lint(offline::LintArgs),
    /// Run the due times of a period that made no job
    #[command(after_long_help = super::help::SCHEDULE_BACKFILL)]
    Backfill {
        /// Id of the schedule
        #[arg(value_name = "ID")]
        id: String,
        /// Start of the period: a time, or a duration that counts back from now
        #[arg(long, value_name = "T|D")]
        from: String,
        /// End of the period; default: now
        #[arg(long, value_name = "T|D")]
        to: Option<String>,
        /// Change nothing; print what would run
        #[arg(long)]
        dry_run: bool,
    },
    /// Import a crontab: each line becomes a schedule
    #[command(after_long_help = super::help::SCHEDULE_IMPORT)]
    Import(import::ImportArgs),
    /// Create and change schedules so that they match files
    #[command(after_long_help = super::help::SCHEDULE_APPLY)]
    Apply(files::ApplyArgs),
    /// Print schedules as `apply` reads them: all, or those named
    #[command(after_long_help = super::help::SCHEDULE_EXPORT)]
    Export {
        /// Ids of the schedules
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
    /// Show what `apply` would change; exits with 1 if anything differs
    #[command(after_long_help = super::help::SCHEDULE_APPLY)]
    Diff(files::DiffArgs),
}

// `add` requires the flags that these belong to; for `set` the existing schedule has them.
#[derive(Debug, clap::Args)]
#[command(mut_arg("offset", |arg| arg.requires("every")))]
#[command(mut_arg("cwd", |arg| arg.requires("command")))]
#[command(mut_arg("env", |arg| arg.requires("command")))]
#[command(mut_arg("stdin", |arg| arg.requires("command")))]
pub(crate) struct AddArgs {
    /// Id of the schedule: letters, digits, `.`, `_`, `-`
    #[arg(value_name = "ID")]
    id: Name,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    spec: SpecArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// Id of the schedule
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    spec: SpecArgs,
    /// Reset these fields, separated by commas: start, end, queue, args, tags, env, …
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    clear: Vec<String>,
    /// Change it only if this is its version
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Change nothing; print what would change
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    /// Ids of the schedules
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Reason, recorded with the change
    #[arg(long, value_name = "R")]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TriggerArgs {
    /// Id of the schedule
    #[arg(value_name = "ID")]
    id: String,
    /// Wait until the job has ended, and exit with its code
    #[arg(long)]
    wait: bool,
    /// Print the job's output, wait until it has ended, and exit with its code
    #[arg(long)]
    follow: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// Ids of the schedules
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Remove it only if this is its version
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Do not ask for confirmation
    #[arg(short = 'y', long)]
    yes: bool,
}

impl ScheduleSubcommand {
    /// Runs a command that needs no server; `None` if this one needs one.
    pub(crate) fn offline(&self, ui: &Ui) -> Option<Result<Exit, CliError>> {
        match self {
            Self::Preview(args) => args.offline(ui),
            Self::Lint(args) => Some(offline::lint(args, ui)),
            _ => None,
        }
    }
}

pub(crate) async fn run(command: ScheduleSubcommand, session: &Session) -> Result<Exit, CliError> {
    match command {
        ScheduleSubcommand::Add(args) => add(*args, session).await,
        ScheduleSubcommand::List => list(session).await,
        ScheduleSubcommand::Show { id, next } => {
            let view = session.client.schedule(&id).await?.schedule;
            print::show(&session.ui, &view, next)?;
            Ok(Exit::Success)
        }
        ScheduleSubcommand::Set(args) => set(*args, session).await,
        ScheduleSubcommand::Pause(args) => set_paused(args, session, true).await,
        ScheduleSubcommand::Resume(args) => set_paused(args, session, false).await,
        ScheduleSubcommand::Trigger(args) => trigger(args, session).await,
        ScheduleSubcommand::Rm(args) => remove(args, session).await,
        ScheduleSubcommand::Runs { id, missed, limit, all } => {
            runs(&id, missed, limit, all, session).await
        }
        ScheduleSubcommand::Preview(args) => {
            let id = args.id().unwrap_or_default();
            let view = session.client.schedule(id).await?.schedule;
            offline::preview_known(view.spec, &args, &session.ui)
        }
        ScheduleSubcommand::Lint(args) => offline::lint(&args, &session.ui),
        ScheduleSubcommand::Backfill { id, from, to, dry_run } => {
            backfill(&id, &from, to.as_deref(), dry_run, session).await
        }
        ScheduleSubcommand::Import(args) => import::import(args, session).await,
        ScheduleSubcommand::Export { ids } => files::export(&ids, session).await,
        ScheduleSubcommand::Apply(args) => files::apply(args, session).await,
        ScheduleSubcommand::Diff(args) => files::diff(args, session).await,
    }
}

async fn add(args: AddArgs, session: &Session) -> Result<Exit, CliError> {
    let ui = &session.ui;
    let timing = args.time.timing(ui)?.ok_or_else(|| {
        CliError::usage("the schedule has no timing: add `--cron`, `--every` or `--at`")
            .hint("`--cron '30 2 * * *'` fires every night at 02:30")
    })?;
    let spec = args.spec.spec(args.id, timing, &args.time, ui)?;
    let answer = session.client.add_schedule(&spec).await?;
    if let Some(warning) = &answer.warning {
        ui.warn(warning);
    }
    print_change(ui, &answer)?;
    Ok(Exit::Success)
}

async fn set(args: SetArgs, session: &Session) -> Result<Exit, CliError> {
    let ui = &session.ui;
    let change = args.spec.change(&args.time, &args.clear, ui)?;
    let request = SetScheduleRequest {
        change,
        version: args.version,
        dry_run: args.dry_run,
        by: Some(super::enqueue::user()),
    };
    let answer = session.client.set_schedule(&args.id, &request).await?;
    print_change(ui, &answer)?;
    Ok(Exit::Success)
}

/// Prints the answer to a change in the chosen format.
fn print_change(ui: &Ui, answer: &ScheduleChangeAnswer) -> Result<(), CliError> {
    if !ui.format.is_human() {
        let lines = [
            ("id", Cell::new(answer.id.to_string())),
            ("change", Cell::new(answer.change.as_str())),
            ("version", Cell::new(answer.version.to_string())),
            ("next", Cell::option(answer.next.map(|next| ui.time(next.fire_at)))),
        ];
        return ui.one(answer, answer.id.as_str(), &lines);
    }
    if ui.quiet {
        return Ok(());
    }
    ui.raw(print::change_text(ui, answer).as_bytes())
}

async fn list(session: &Session) -> Result<Exit, CliError> {
    let schedules = every_schedule(session).await?;
    print::list(&session.ui, &schedules)?;
    Ok(Exit::Success)
}

/// All schedules, in order of their ids.
async fn every_schedule(session: &Session) -> Result<Vec<ScheduleView>, CliError> {
    let limit = Some(limits::PAGE_ROWS as u32);
    let mut query = SchedulesQuery { limit, cursor: None };
    let mut all = Vec::new();
    loop {
        let page = session.client.schedules(&query).await?;
        all.extend(page.schedules);
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(all);
        }
    }
}

async fn set_paused(args: PauseArgs, session: &Session, pause: bool) -> Result<Exit, CliError> {
    check_ids(&args.ids, session).await?;
    let order = ScheduleOrder { reason: args.reason, by: Some(super::enqueue::user()) };
    let mut rows = Vec::new();
    for id in &args.ids {
        let answer = match pause {
            true => session.client.pause_schedule(id, &order).await?,
            false => session.client.resume_schedule(id, &order).await?,
        };
        rows.push(answer.schedule);
    }
    if session.ui.format.is_human() {
        if !session.ui.quiet {
            let lines: String =
                rows.iter().map(|view| print::state_line(&session.ui, view)).collect();
            session.ui.raw(lines.as_bytes())?;
        }
    } else {
        print::list(&session.ui, &rows)?;
    }
    Ok(Exit::Success)
}

async fn trigger(args: TriggerArgs, session: &Session) -> Result<Exit, CliError> {
    let order = ScheduleOrder { reason: None, by: Some(super::enqueue::user()) };
    let answer = session.client.trigger_schedule(&args.id, &order).await?;
    session.state.remember_last(answer.job);
    let reference = answer.job.to_string();
    let ui = &session.ui;
    if args.follow {
        let following = follow(session, &reference, Sink::default(), None);
        let resume_note =
            resume_note("logs -f", "follows", std::slice::from_ref(&reference), &session.state);
        return interruptible(ui, Some(resume_note), following).await;
    }
    if args.wait {
        let resume_note =
            resume_note("wait", "waits for", std::slice::from_ref(&reference), &session.state);
        let waiting = async {
            let job = session.client.wait(&reference, None, connection_notes(ui)).await?;
            super::show::print_job(ui, &job)?;
            Ok(exit_of(&job))
        };
        return interruptible(ui, Some(resume_note), waiting).await;
    }
    match ui.format {
        Format::Table | Format::Wide if ui.quiet => {}
        Format::Table | Format::Wide => {
            ui.raw(format!("{} runs as {reference}\n", answer.id).as_bytes())?;
        }
        _ => ui.one(&answer, &reference, &[("job", Cell::new(reference.clone()))])?,
    }
    Ok(Exit::Success)
}

async fn remove(args: RemoveArgs, session: &Session) -> Result<Exit, CliError> {
    if args.version.is_some() && args.ids.len() > 1 {
        return Err(CliError::usage("`--version` is for a single schedule, but several are named"));
    }
    check_ids(&args.ids, session).await?;
    if args.ids.len() > 1 && !args.yes {
        let question = format!("remove {} schedules with their ledgers?", args.ids.len());
        if !session.ui.can_ask() {
            return Err(CliError::usage(
                "removing more than one schedule needs a confirmation, which cannot be asked for \
                 here",
            )
            .cause(question)
            .hint("`--yes` confirms it"));
        }
        if !session.ui.confirm(&question)? {
            return Ok(Exit::Success);
        }
    }
    let query = RemoveScheduleQuery { version: args.version };
    let mut rows = Vec::new();
    for id in &args.ids {
        rows.push(session.client.remove_schedule(id, &query).await?);
    }
    if session.ui.format.is_human() {
        rows.iter().try_for_each(|answer| print_change(&session.ui, answer))?;
    } else {
        files::report(&session.ui, &rows)?;
    }
    Ok(Exit::Success)
}

/// Of several ids, a misspelt one is an error before any schedule is changed.
async fn check_ids(ids: &[String], session: &Session) -> Result<(), CliError> {
    if ids.len() > 1 {
        for id in ids {
            session.client.schedule(id).await?;
        }
    }
    Ok(())
}

async fn runs(
    id: &str,
    missed: bool,
    limit: Option<usize>,
    all: bool,
    session: &Session,
) -> Result<Exit, CliError> {
    let ui = &session.ui;
    let human = ui.format.is_human() && !all;
    let max_rows = limit.unwrap_or(if human { crate::ui::HUMAN_ROWS } else { usize::MAX });
    let mut slots = Vec::new();
    let mut cursor = None;
    let more = loop {
        let left = max_rows - slots.len();
        let page = (left as u64).min(limits::PAGE_ROWS as u64).max(1) as u32;
        let query = SlotsQuery { missed: missed.then_some(true), limit: Some(page), cursor };
        let page = session.client.schedule_slots(id, &query).await?;
        // `--limit 0` still requests a page of one.
        slots.extend(page.slots.into_iter().take(left));
        cursor = page.next;
        if cursor.is_none() || slots.len() >= max_rows {
            break cursor.is_some();
        }
    };
    print::slots(ui, &slots)?;
    if more && limit.is_none() {
        ui.note(&format!("the newest {max_rows}; `--all` prints all"));
    }
    Ok(Exit::Success)
}

async fn backfill(
    id: &str,
    from: &str,
    to: Option<&str>,
    dry_run: bool,
    session: &Session,
) -> Result<Exit, CliError> {
    let ui = &session.ui;
    let request = BackfillRequest {
        from: past_time(from, ui)?,
        to: to.map(|to| past_time(to, ui)).transpose()?,
        dry_run,
        by: Some(super::enqueue::user()),
    };
    let answer = session.client.backfill_schedule(id, &request).await?;
    if !ui.format.is_json() {
        let rows: Result<Vec<ListRow>, CliError> = answer
            .runs
            .iter()
            .map(|run| {
                Ok(ListRow {
                    json: serde_json::to_value(run)?,
                    id: run.job.map(|job| job.to_string()).unwrap_or_default(),
                    cells: vec![
                        Cell::new(ui.exact(run.slot)),
                        Cell::option(run.job.map(|job| job.to_string())),
                    ],
                })
            })
            .collect();
        let columns: [Column; 2] = [("SLOT", false), ("JOB", false)];
        ui.list(&columns, &rows?)?;
        if ui.format.is_human() {
            let verb = if dry_run { "would be enqueued" } else { "enqueued" };
            let (count, before) = (answer.runs.len(), answer.ran_before);
            ui.note(&format!("{count} {verb}; {before} had run before"));
        }
        return Ok(Exit::Success);
    }
    ui.one(&answer, answer.id.as_str(), &[])?;
    Ok(Exit::Success)
}

/// Parses a time, or a duration that counts back from now, like `--since` elsewhere.
fn past_time(text: &str, ui: &Ui) -> Result<Timestamp, CliError> {
    let now = crate::clock::wall();
    if let Ok(ago) = crate::duration(text) {
        return Ok(now.saturating_sub(ago));
    }
    parse_time(text, now, ui.zone()?, Toward::Past)
        .map_err(|error| CliError::usage(error.to_string()).hint("`3d` is three days ago"))
}

/// The request that creates a schedule, or changes it to `spec`.
fn put_request(spec: orx_model::schedule::ScheduleSpec, dry_run: bool) -> PutScheduleRequest {
    PutScheduleRequest { spec, version: None, dry_run, by: Some(super::enqueue::user()) }
}
