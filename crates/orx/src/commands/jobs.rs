//! `orx jobs`: lists of jobs.

use orx_model::JobSummary;
use orx_model::time::format_duration;
use orx_model::wire::ListQuery;

use super::{FilterArgs, Session, tries, why};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, HUMAN_ROWS, ListRow, Ui};

/// List jobs, newest first
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::JOBS)]
pub(crate) struct JobsArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Print at most N jobs
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print all that match
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Print the oldest first
    #[arg(long)]
    oldest: bool,
}

const COLUMNS: [Column; 14] = [
    ("ID", false),
    ("STATUS", false),
    ("NAME", false),
    ("QUEUE", false),
    ("TRY", false),
    ("AGE", false),
    ("TOOK", false),
    ("WORKER", false),
    ("WHY", false),
    ("PRIORITY", true),
    ("PROGRESS", true),
    ("KEY", true),
    ("TAGS", true),
    ("BY", true),
];

pub(crate) async fn run(args: JobsArgs, session: &Session) -> Result<Exit, CliError> {
    let ui = &session.ui;
    let max_rows = match (args.limit, args.all) {
        (Some(limit), _) => limit,
        (None, true) => usize::MAX,
        (None, false) if ui.format.is_human() => HUMAN_ROWS,
        (None, false) => usize::MAX,
    };
    let mut query = ListQuery {
        filter: args.filter.expression(&session.ui)?,
        oldest_first: args.oldest.then_some(true),
        count: ui.format.is_human().then_some(true),
        ..ListQuery::default()
    };
    let mut rows = Vec::new();
    let mut count = None;
    loop {
        let left = max_rows - rows.len();
        query.limit = Some(left.clamp(1, orx_model::limits::PAGE_ROWS) as u32);
        let page = session.client.list(&query).await?;
        count = count.or(page.count);
        for job in page.jobs.iter().take(left) {
            rows.push(row(ui, job)?);
        }
        query.cursor = page.next;
        query.count = None;
        if ui.format == crate::ui::Format::Jsonl {
            // Printed page by page, so that a reader can start at once.
            ui.list(&COLUMNS, &rows)?;
            if query.cursor.is_none() || rows.len() >= max_rows {
                return Ok(Exit::Success);
            }
            rows.clear();
            continue;
        }
        if query.cursor.is_none() || rows.len() >= max_rows {
            break;
        }
    }
    ui.list(&COLUMNS, &rows)?;
    if let Some(count) = count.filter(|count| count.count > rows.len() as u64) {
        let about = if count.exact { "" } else { "more than " };
        ui.note(&format!("{} of {about}{}; `--all` prints all", rows.len(), count.count));
    }
    if rows.is_empty() && ui.format.is_human() {
        ui.note("no jobs match");
    }
    Ok(Exit::Success)
}

fn row(ui: &Ui, job: &JobSummary) -> Result<ListRow, CliError> {
    let now = crate::clock::wall();
    let live = job.state.live.as_ref();
    let started = live.map_or(job.state.started_at, |live| live.started_at);
    let ended = if live.is_some() { now } else { job.state.finished_at.unwrap_or(now) };
    let took = started.filter(|_| live.is_some() || job.state.finished_at.is_some());
    let took = took.map(|started| format_duration(ended.saturating_since(started)));
    let worker = live.map(|live| &live.worker_name).or(job.state.worker.as_ref());
    let progress = live.and_then(|live| live.progress.as_ref());
    let tags: Vec<String> =
        job.spec.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(ListRow {
        json: serde_json::to_value(job)?,
        id: job.id.to_string(),
        cells: vec![
            Cell::new(job.id.to_string()),
            ui.status(job.state.status),
            Cell::new(job.spec.name.to_string()),
            Cell::new(job.spec.queue.to_string()),
            Cell::new(tries(job.state.attempt, &job.spec.retry, "/")),
            Cell::new(ui.age(job.state.created_at)),
            Cell::option(took),
            Cell::option(worker),
            Cell::new(why(job.state.status, job.state.cancel.as_ref(), job.state.error.as_deref())),
            Cell::new(job.spec.priority.to_string()),
            Cell::option(progress.map(|progress| format!("{:.0}%", progress.percent))),
            Cell::option(job.spec.key.as_ref()),
            Cell::new(tags.join(" ")),
            Cell::option(job.spec.by.as_ref()),
        ],
    })
}
