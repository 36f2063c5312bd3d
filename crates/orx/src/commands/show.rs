//! `orx show` and `orx result`: everything about one job.

use std::collections::BTreeMap;

use orx_model::text::format_bytes;
use orx_model::time::format_duration;
use orx_model::{Attempt, Job};

use super::{JobReference, Session, tries, why};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Format, Ui};

/// Show a job and its attempts
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::SHOW)]
pub(crate) struct ShowArgs {
    /// `1423`, `1423.2`, `@last`, or `key:…`
    job: String,
}

pub(crate) async fn run(args: ShowArgs, session: &Session) -> Result<Exit, CliError> {
    let reference = JobReference::parse(&args.job, &session.state)?;
    let detail = session.client.job(&reference.api_text()).await?;
    let ui = &session.ui;
    if !ui.format.is_human() {
        ui.one(&detail, &detail.job.id.to_string(), &lines(ui, &detail.job))?;
        return Ok(Exit::Success);
    }
    let mut all = lines(ui, &detail.job);
    let wanted = |attempt: &&Attempt| reference.attempt.is_none_or(|only| only == attempt.number);
    for attempt in detail.attempts.iter().filter(wanted) {
        all.push(("attempt", Cell::new(attempt_line(ui, attempt))));
    }
    if detail.attempts.is_empty() {
        // `--fields attempt` is valid for a job without attempts, too.
        all.push(("attempt", Cell::default()));
    }
    ui.one(&detail, "", &all)?;
    Ok(Exit::Success)
}

/// Prints a job in the chosen format.
pub(crate) fn print_job(ui: &Ui, job: &Job) -> Result<(), CliError> {
    ui.one(job, &job.id.to_string(), &lines(ui, job))
}

fn lines(ui: &Ui, job: &Job) -> Vec<(&'static str, Cell)> {
    let time = |at: Option<orx_model::Timestamp>| Cell::option(at.map(|at| ui.time(at)));
    let live = job.state.live.as_ref();
    let waits = (job.state.run_at != job.state.created_at && !job.state.status.is_final())
        .then_some(job.state.run_at);
    let command = job.spec.command.as_ref().map(|command| command.argv.join(" "));
    let args =
        (job.spec.args.get() != "{}" && job.spec.args.get() != "null").then(|| job.spec.args.get());
    let progress = live.and_then(|live| live.progress.as_ref()).map(|progress| {
        let text = progress.text.as_deref().unwrap_or_default();
        format!("{:.0}% {text}", progress.percent)
    });
    vec![
        ("id", Cell::new(job.id.to_string())),
        ("status", ui.status(job.state.status)),
        (
            "why",
            Cell::new(why(job.state.status, job.state.cancel.as_ref(), job.state.error.as_deref())),
        ),
        ("name", Cell::new(job.spec.name.to_string())),
        ("queue", Cell::new(job.spec.queue.to_string())),
        ("priority", Cell::new(job.spec.priority.to_string())),
        ("command", Cell::option(command)),
        ("args", Cell::option(args)),
        ("progress", Cell::option(progress)),
        ("tries", Cell::new(tries(job.state.attempt, &job.spec.retry, " of "))),
        (
            "timeout",
            Cell::option(
                job.spec.timeout_ms.map(|ms| format_duration(std::time::Duration::from_millis(ms))),
            ),
        ),
        ("deadline", time(job.spec.deadline)),
        ("created", time(Some(job.state.created_at))),
        ("due", time(waits)),
        ("started", time(live.map_or(job.state.started_at, |live| live.started_at))),
        ("finished", time(job.state.finished_at)),
        ("worker", Cell::option(live.map(|live| &live.worker_name).or(job.state.worker.as_ref()))),
        ("exit", Cell::option(job.state.exit)),
        ("result", Cell::option(job.state.result.as_ref().map(|result| result.get()))),
        ("dead letter", Cell::option(job.state.dead.map(|reason| reason.as_str()))),
        ("key", Cell::option(job.spec.key.as_ref())),
        ("tags", pairs(&job.spec.tags)),
        ("requires", pairs(&job.spec.require)),
        ("correlation", Cell::option(job.spec.correlation_id.as_ref())),
        ("schedule", Cell::option(job.spec.schedule.as_ref().map(|it| from(ui, it)))),
        ("by", Cell::option(job.spec.by.as_ref())),
    ]
}

/// `name=value` pairs, separated by spaces.
pub(super) fn pairs(all: &BTreeMap<String, String>) -> Cell {
    let pairs: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Cell::new(pairs.join(" "))
}

fn from(ui: &Ui, origin: &orx_model::Origin) -> String {
    match origin.slot {
        Some(slot) => format!("{}, due {}", origin.id, ui.exact(slot)),
        None => format!("{}, triggered", origin.id),
    }
}

fn attempt_line(ui: &Ui, attempt: &Attempt) -> String {
    let mut text = format!("{}.{} {}", attempt.job, attempt.number, attempt.status);
    text.push_str(&format!(" on {}", attempt.worker_name));
    if let (Some(started), Some(ended)) = (attempt.started_at, attempt.ended_at) {
        text.push_str(&format!(", took {}", format_duration(ended.saturating_since(started))));
    } else if let Some(started) = attempt.started_at {
        text.push_str(&format!(", started {}", ui.time(started)));
    }
    if attempt.dropped_bytes > 0 {
        let bytes = format_bytes(attempt.dropped_bytes);
        text.push_str(&format!(", {bytes} of its output not stored"));
    }
    if let Some(error) = &attempt.error {
        text.push_str(&format!(": {error}"));
    }
    text
}

/// Print the result of a job, as JSON
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::RESULT)]
pub(crate) struct ResultArgs {
    /// `1423`, `@last`, or `key:…`
    job: String,
}

pub(crate) async fn result(args: ResultArgs, session: &Session) -> Result<Exit, CliError> {
    let reference = JobReference::parse(&args.job, &session.state)?;
    let answer = session.client.result(&reference.api_text()).await?;
    if session.ui.format.is_json() {
        session.ui.one(&answer, &answer.id.to_string(), &[])?;
        return Ok(Exit::Success);
    }
    match (&answer.result, session.ui.format) {
        (_, Format::Id) => session.ui.raw(format!("{}\n", answer.id).as_bytes())?,
        (Some(result), _) => {
            let text = format!("{}\n", orx_model::text::escape_json(result.get()));
            session.ui.raw(text.as_bytes())?;
        }
        (None, _) if !answer.status.is_final() => {
            let error =
                format!("job `{}` has not ended: it is {}", answer.id, answer.status.words());
            return Err(CliError::new(Exit::Conflict, "not_ended", error)
                .hint(format!("`orx wait {}` waits for it", answer.id)));
        }
        (None, _) => session.ui.note(&format!("job {} has no result", answer.id)),
    }
    Ok(Exit::Success)
}
