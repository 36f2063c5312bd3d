//! `orx schedule preview` and `lint`, which need no server.

use std::path::PathBuf;

use orx_model::Name;
use orx_model::schedule::ScheduleSpec;
use orx_model::wire::EnqueueRequest;
use orx_schedule::{
    PREVIEW_MAX, Schedule, SpecProblem, SpecProblems, Warning, lint as warnings,
    preview as due_times,
};

use super::super::future_time;
use super::args::TimeArgs;
use super::{files, import};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, ListRow, Ui};

#[derive(Debug, clap::Args)]
#[command(mut_arg("offset", |arg| arg.requires("every")))]
pub(crate) struct PreviewArgs {
    /// Id of a schedule on the server; without it, the flags must give a timing
    #[arg(value_name = "ID", conflicts_with_all = ["cron", "every", "at"])]
    id: Option<String>,
    #[command(flatten)]
    time: TimeArgs,
    /// Number of due times to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    next: usize,
    /// Show due times after this time; default: now
    #[arg(long, value_name = "T")]
    from: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(mut_arg("offset", |arg| arg.requires("every")))]
pub(crate) struct LintArgs {
    #[command(flatten)]
    time: TimeArgs,
    /// TOML file or folder of schedules, as for `orx schedule apply`
    #[arg(short = 'f', long, value_name = "PATH", conflicts_with_all = ["cron", "every", "at"])]
    file: Vec<PathBuf>,
    /// Crontab file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cron", "every", "at", "file"])]
    crontab: Option<PathBuf>,
}

impl PreviewArgs {
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Previews the timing flags; `None` if a schedule of the server is named.
    pub(super) fn offline(&self, ui: &Ui) -> Option<Result<Exit, CliError>> {
        if self.id.is_some() {
            return None;
        }
        let missing = "name a schedule, or give a timing: `--cron`, `--every` or `--at`";
        Some(spec_of_flags(&self.time, missing, ui).and_then(|spec| preview(&spec, self, ui)))
    }
}

/// A schedule with the timing of the flags and a placeholder for its job. `missing` is the error if
/// the flags give no timing.
fn spec_of_flags(time: &TimeArgs, missing: &str, ui: &Ui) -> Result<Schedule, CliError> {
    let timing = time.timing(ui)?.ok_or_else(|| CliError::usage(missing))?;
    let name = Name::from_any("preview");
    let job = EnqueueRequest { name: Some(name.clone()), ..EnqueueRequest::default() };
    let spec = ScheduleSpec::new(name, timing, job);
    let change = super::args::SpecArgs::default().change(time, &[], ui)?;
    let zone = time.zone(ui)?.name().clone();
    let spec = change
        .apply(&ScheduleSpec { zone, ..spec })
        .map_err(|problem: SpecProblem| CliError::usage(problem.to_string()))?;
    Schedule::checked(spec).map_err(invalid_spec)
}

fn invalid_spec(problems: SpecProblems) -> CliError {
    CliError::usage(problems.to_string())
}

/// Previews a schedule of the server, with this machine's time zone database.
pub(super) fn preview_known(
    spec: ScheduleSpec,
    args: &PreviewArgs,
    ui: &Ui,
) -> Result<Exit, CliError> {
    preview(&Schedule::new(spec).map_err(invalid_spec)?, args, ui)
}

fn preview(schedule: &Schedule, args: &PreviewArgs, ui: &Ui) -> Result<Exit, CliError> {
    if args.next > PREVIEW_MAX {
        return Err(CliError::usage(format!(
            "`--next {}` is too large: at most {PREVIEW_MAX} due times are shown",
            args.next
        )));
    }
    let from = match args.from.as_deref() {
        Some(text) => future_time(text, ui)?,
        None => crate::clock::wall(),
    };
    let mut rows = Vec::new();
    for one in due_times(schedule.timing(), from, args.next) {
        let effect = one.effect.as_ref().map(|effect| {
            let wanted = effect.wanted.as_ref().map(|at| format!(" {at}")).unwrap_or_default();
            format!("{}{wanted} (clock {} > {})", effect.mark.as_str(), effect.from, effect.to)
        });
        rows.push(ListRow {
            json: serde_json::to_value(&one)?,
            id: one.slot.to_string(),
            cells: vec![
                Cell::new(one.local.clone()),
                Cell::new(one.slot.to_string()),
                Cell::new(one.fire_at.to_string()),
                Cell::option(effect),
            ],
        });
    }
    let columns: [Column; 4] =
        [("LOCAL", false), ("UTC", false), ("FIRES", true), ("CLOCK CHANGE", false)];
    ui.list(&columns, &rows)?;
    Ok(Exit::Success)
}

/// Prints warnings; exits with 1 if there are any.
pub(super) fn lint(args: &LintArgs, ui: &Ui) -> Result<Exit, CliError> {
    let now = crate::clock::wall();
    let schedules = match &args.crontab {
        Some(path) => {
            let zone = args.time.zone(ui)?;
            let read = import::read_crontab(ui, path, zone)?;
            for note in &read.notes {
                ui.note(&format!("line {}: {}", note.line, note.text));
            }
            understood(read.entries.into_iter().map(|entry| entry.spec))?
        }
        None if !args.file.is_empty() => {
            understood(files::read_specs(&args.file)?.into_iter().map(|it| it.spec))?
        }
        None => {
            let missing = "give a timing: `--cron`, `--every` or `--at`; or name a file: `-f PATH` \
                           or `--crontab FILE`";
            vec![spec_of_flags(&args.time, missing, ui)?]
        }
    };
    let mut rows = Vec::new();
    for schedule in &schedules {
        for warning in warnings(schedule, now) {
            rows.push(row(schedule, &warning));
        }
    }
    if rows.is_empty() {
        if ui.format.is_human() {
            ui.note("no warnings");
        } else {
            ui.list(&COLUMNS, &rows)?;
        }
        return Ok(Exit::Success);
    }
    ui.list(&COLUMNS, &rows)?;
    Ok(Exit::Failed)
}

fn understood(specs: impl Iterator<Item = ScheduleSpec>) -> Result<Vec<Schedule>, CliError> {
    specs.map(|spec| Schedule::new(spec).map_err(invalid_spec)).collect()
}

const COLUMNS: [Column; 4] =
    [("SCHEDULE", false), ("WHEN", false), ("WARNING", false), ("WHAT", false)];

fn row(spec: &ScheduleSpec, warning: &Warning) -> ListRow {
    let (id, when) = (spec.id.to_string(), spec.when_text());
    ListRow {
        json: serde_json::json!({
            "schedule": id, "when": when, "code": warning.code, "text": warning.text,
        }),
        cells: vec![
            Cell::new(id.clone()),
            Cell::new(when),
            Cell::new(warning.code.as_str()),
            Cell::new(warning.text.clone()),
        ],
        id,
    }
}
