//! Prints schedules, their changes and their ledgers.

use std::fmt::Write as _;
use std::time::Duration;

use orx_model::schedule::wire::{
    ScheduleChangeAnswer, ScheduleChanged, ScheduleState, ScheduleView,
};
use orx_model::schedule::{ScheduleSpec, Slot, SlotOutcome, When};
use orx_model::time::{format_exact, jump_words};
use orx_schedule::{Schedule, preview};

use super::super::show::pairs;
use crate::error::CliError;
use crate::ui::{Cell, Column, ListRow, Ui};

const COLUMNS: [Column; 16] = [
    ("SCHEDULE", false),
    ("STATE", false),
    ("NEXT", false),
    ("LAST", false),
    ("MISSED", false),
    ("WHEN", false),
    ("ZONE", false),
    ("OVERLAP", false),
    ("CATCH-UP", false),
    ("JOB", false),
    ("RUNS", true),
    ("JITTER", true),
    ("WINDOW", true),
    ("TOLERANCE", true),
    ("VERSION", true),
    ("BY", true),
];

pub(super) fn list(ui: &Ui, schedules: &[ScheduleView]) -> Result<(), CliError> {
    let rows: Result<Vec<ListRow>, CliError> = schedules.iter().map(|view| row(ui, view)).collect();
    ui.list(&COLUMNS, &rows?)
}

fn row(ui: &Ui, view: &ScheduleView) -> Result<ListRow, CliError> {
    let spec = &view.spec;
    let span = |ms: u64| format_exact(Duration::from_millis(ms));
    Ok(ListRow {
        json: serde_json::to_value(view)?,
        id: view.id.to_string(),
        cells: vec![
            Cell::new(view.id.to_string()),
            Cell::new(state(view)),
            Cell::option(view.next.map(|next| ui.time(next.fire_at))),
            Cell::new(last_run(view)),
            Cell::new(view.missed.to_string()),
            Cell::new(spec.timing.to_string()),
            Cell::new(zone(spec)),
            Cell::new(spec.overlap.as_str()),
            Cell::new(spec.catch_up.to_string()),
            Cell::new(job(spec)),
            Cell::new(view.runs.to_string()),
            Cell::new(span(spec.jitter_ms)),
            Cell::new(span(spec.window_ms)),
            Cell::new(span(spec.tolerance_ms)),
            Cell::new(view.version.to_string()),
            Cell::option(view.by.as_ref()),
        ],
    })
}

fn state(view: &ScheduleView) -> &'static str {
    match view.state {
        ScheduleState::Active if view.overdue => "overdue",
        state => state.as_str(),
    }
}

fn last_run(view: &ScheduleView) -> String {
    match view.last_run {
        None => String::new(),
        Some(run) => match run.status {
            Some(status) => format!("{} {}", run.job, status.words()),
            None => run.job.to_string(),
        },
    }
}

/// The zone of a cron expression; other timings have none.
fn zone(spec: &ScheduleSpec) -> String {
    match spec.timing {
        When::Cron(_) => spec.zone.to_string(),
        When::Interval { .. } | When::Once(_) => String::new(),
    }
}

/// The job's command or type.
fn job(spec: &ScheduleSpec) -> String {
    match (&spec.job.command, &spec.job.name) {
        (Some(command), _) => command.argv.join(" "),
        (None, Some(name)) => name.to_string(),
        (None, None) => String::new(),
    }
}

/// The source of an imported schedule, and whether somebody has changed it since.
fn imported(view: &ScheduleView) -> Option<String> {
    let imported = view.spec.imported.as_ref()?;
    let edited = if view.edited { ", changed since" } else { "" };
    Some(format!("{}, line {}{edited}", imported.source, imported.line))
}

pub(super) fn show(ui: &Ui, view: &ScheduleView, next: usize) -> Result<(), CliError> {
    let spec = &view.spec;
    let span = |ms: u64| format_exact(Duration::from_millis(ms));
    let paused = view.paused.as_ref().map(|paused| {
        let mut text = ui.time(paused.at);
        if let Some(by) = &paused.by {
            let _ = write!(text, " by {by}");
        }
        if let Some(reason) = &paused.reason {
            let _ = write!(text, ": {reason}");
        }
        text
    });
    let args = spec.job.args.as_ref().map(|args| args.get().to_owned());
    let command = spec.job.command.as_ref();
    let mut lines = vec![
        ("schedule", Cell::new(view.id.to_string())),
        ("state", Cell::new(state(view))),
        ("paused", Cell::option(paused)),
        ("when", Cell::new(spec.timing.to_string())),
        ("zone", Cell::new(zone(spec))),
        ("job", Cell::new(job(spec))),
        ("args", Cell::option(args)),
        ("folder", Cell::option(command.and_then(|command| command.cwd.as_ref()))),
        ("env", command.map_or(Cell::new(""), |command| pairs(&command.env))),
        ("queue", Cell::option(spec.job.queue.as_ref())),
        ("priority", Cell::option(spec.job.priority)),
        ("retries", Cell::option(spec.job.retries)),
        ("timeout", Cell::option(spec.job.timeout_ms.map(span))),
        ("expires", Cell::option(spec.job.expires_ms.map(span))),
        ("requires", pairs(&spec.job.require)),
        ("tags", pairs(&spec.job.tags)),
        ("correlation", Cell::option(spec.job.correlation_id.as_ref())),
        ("overlap", Cell::new(spec.overlap.as_str())),
        ("catch-up", Cell::new(format!("{}, within {}", spec.catch_up, span(spec.window_ms)))),
        ("jitter", Cell::option((spec.jitter_ms > 0).then(|| span(spec.jitter_ms)))),
        ("start", Cell::option(spec.start.map(|at| ui.exact(at)))),
        ("end", Cell::option(spec.end.map(|at| ui.exact(at)))),
        (
            "runs",
            Cell::new(match spec.max_runs {
                Some(most) => format!("{} of {most}", view.runs),
                None => view.runs.to_string(),
            }),
        ),
        ("last run", Cell::new(last_run(view))),
        ("missed", Cell::new(format!("{} in 24h", view.missed))),
        ("tolerance", Cell::new(span(spec.tolerance_ms))),
        ("on missed", Cell::option(spec.on_missed.as_ref())),
        ("on failure", Cell::option(spec.on_failure.as_ref())),
        ("imported", Cell::option(imported(view))),
        ("version", Cell::new(view.version.to_string())),
        ("created", Cell::new(ui.time(view.created_at))),
        ("changed", Cell::new(ui.time(view.updated_at))),
        ("by", Cell::option(view.by.as_ref())),
    ];
    // A schedule with an unknown zone here is shown without its due times.
    let schedule = Schedule::new(spec.clone()).ok().filter(|_| ui.format.is_human());
    if let Some((due, schedule)) = view.next.zip(schedule) {
        let before = orx_model::Timestamp::from_millis(due.slot.as_millis().saturating_sub(1));
        for one in preview(schedule.timing(), before, next) {
            lines.push(("next", Cell::new(one.to_string())));
        }
    }
    ui.one(view, view.id.as_str(), &lines)
}

/// The state as a sentence, such as `nightly is paused`; for an active schedule with the next due
/// time.
pub(super) fn state_line(ui: &Ui, view: &ScheduleView) -> String {
    let id = &view.id;
    match (view.state, view.next) {
        (ScheduleState::Active, Some(next)) => {
            format!("{id} is active, next {}\n", ui.time(next.fire_at))
        }
        (state, _) => format!("{id} is {}\n", state.as_str()),
    }
}

/// A change as text, with a line for each changed field.
pub(super) fn change_text(ui: &Ui, answer: &ScheduleChangeAnswer) -> String {
    let verb = match (answer.dry_run, answer.change) {
        (true, ScheduleChanged::Created) => "would be created",
        (true, ScheduleChanged::Changed) => "would be changed",
        (true, ScheduleChanged::Removed) => "would be removed",
        (_, change) => change.as_str(),
    };
    let mut text = format!("{} {verb}", answer.id);
    let due = matches!(answer.change, ScheduleChanged::Created | ScheduleChanged::Changed);
    if let Some(next) = answer.next.filter(|_| due) {
        let _ = write!(text, ", next {}", ui.time(next.fire_at));
    }
    text.push('\n');
    for field in &answer.fields {
        let _ = writeln!(text, "  {}", orx_model::text::clean_line(&field.to_string()));
    }
    text
}

const SLOTS: [Column; 6] = [
    ("SLOT", false),
    ("OUTCOME", false),
    ("JOB", false),
    ("LATE", false),
    ("WHY", false),
    ("RECORDED", true),
];

pub(super) fn slots(ui: &Ui, slots: &[Slot]) -> Result<(), CliError> {
    let row = |slot: &Slot| -> Result<ListRow, CliError> {
        let late = match slot.outcome {
            SlotOutcome::Ran { late_ms, .. } | SlotOutcome::CaughtUp { late_ms, .. } => {
                format_exact(Duration::from_millis(late_ms))
            }
            SlotOutcome::Skipped { .. } | SlotOutcome::Missed | SlotOutcome::ClockSet { .. } => {
                String::new()
            }
        };
        let job = slot.outcome.job().map(|job| job.to_string());
        let why = match (slot.outcome, slot.last) {
            (SlotOutcome::Skipped { reason }, None) => reason.words().to_owned(),
            (SlotOutcome::ClockSet { by_ms }, _) => jump_words(by_ms),
            (outcome, Some(last)) => {
                let more = if slot.exact { "" } else { " or more" };
                let why = match outcome {
                    SlotOutcome::Skipped { reason } => format!(": {}", reason.words()),
                    _ => String::new(),
                };
                format!("{}{more} due times, to {}{why}", slot.count, ui.exact(last))
            }
            _ => String::new(),
        };
        Ok(ListRow {
            json: serde_json::to_value(slot)?,
            id: job.clone().unwrap_or_default(),
            cells: vec![
                Cell::new(ui.exact(slot.slot)),
                Cell::new(slot.outcome.as_str().replace('_', " ")),
                Cell::option(job),
                Cell::new(late),
                Cell::new(why),
                Cell::new(ui.time(slot.recorded_at)),
            ],
        })
    };
    let rows: Result<Vec<ListRow>, CliError> = slots.iter().map(row).collect();
    ui.list(&SLOTS, &rows?)
}
