//! `orx dlq`: dead letters, the jobs that used up their retries.

mod causes;
mod export;
mod retry;

use orx_model::JobId;
use orx_model::wire::{ChangeRequest, DeadLetter, ListQuery, OperationAction, OperationRequest};

use super::change::{SelectionArgs, Subject, confirmed, report, request, send_in_chunks};
use super::operation::{self, ManyArgs};
use super::{FilterArgs, JobReference, Session, why};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, HUMAN_ROWS, ListRow, Ui};

/// List, retry and remove dead letters: jobs that used up their retries
#[derive(Debug, clap::Subcommand)]
pub(crate) enum DlqSubcommand {
    /// List the causes of dead letters, the most frequent first
    ///
    /// Errors of one job type that differ only in numbers, ids, addresses and quoted data are one cause.
    /// `--cause ID` selects its dead letters.
    #[command(after_long_help = super::help::DLQ_TOP)]
    Top(causes::TopArgs),
    /// List dead letters, newest first
    #[command(after_long_help = super::help::DLQ)]
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// Print all, not only the newest
        #[arg(long)]
        all: bool,
    },
    /// Show one dead letter
    #[command(after_long_help = super::help::DLQ)]
    Show {
        /// The job
        job: String,
    },
    /// Run the jobs of dead letters again
    ///
    /// With `--canary N` the N oldest run first. Only if all of them complete, the rest runs too.
    #[command(after_long_help = super::help::DLQ_RETRY)]
    Retry(Box<retry::RetryArgs>),
    /// Remove dead letters; their jobs stay in the history
    #[command(after_long_help = super::help::DLQ)]
    Rm(Box<RmArgs>),
    /// Write dead letters as JSON, one a line
    #[command(after_long_help = super::help::DLQ_EXPORT)]
    Export(export::ExportArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    selection: DeadLetterSelection,
    #[command(flatten)]
    many: ManyArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeadLetterSelection {
    #[command(flatten)]
    change: SelectionArgs,
    /// All dead letters that match the filter flags
    #[arg(long, conflicts_with = "jobs")]
    all: bool,
}

const COLUMNS: [Column; 8] = [
    ("ID", false),
    ("REASON", false),
    ("NAME", false),
    ("QUEUE", false),
    ("DIED", false),
    ("TRIES", false),
    ("WHY", false),
    ("CAUSE", true),
];

pub(crate) async fn run(command: DlqSubcommand, session: &Session) -> Result<Exit, CliError> {
    match command {
        DlqSubcommand::List { filter, all } => list(session, filter, all).await,
        DlqSubcommand::Show { job } => {
            let reference = JobReference::parse(&job, &session.state)?;
            let detail = session.client.job(&reference.api_text()).await?;
            if detail.job.state.dead.is_none() {
                let error = format!("job `{}` is not a dead letter", detail.job.id);
                return Err(CliError::new(Exit::NotFound, "not_found", error)
                    .hint("`orx dlq list` lists them; `orx show` shows any job"));
            }
            super::show::print_job(&session.ui, &detail.job)?;
            if session.ui.format.is_human() {
                note_cause(session, detail.job.id).await?;
            }
            Ok(Exit::Success)
        }
        DlqSubcommand::Top(args) => causes::run(args, session).await,
        DlqSubcommand::Retry(args) => retry::run(*args, session).await,
        DlqSubcommand::Export(args) => export::run(args, session).await,
        DlqSubcommand::Rm(args) => rm(&args, session).await,
    }
}

async fn rm(args: &RmArgs, session: &Session) -> Result<Exit, CliError> {
    let RmArgs { selection, many } = args;
    let request = selection_request(selection, session).await?;
    if many.needs_operation(&request) {
        let ask = selection.change.asks_first(&request);
        let request = many_letters(OperationAction::RemoveDeadLetters, request, many);
        return operation::start(session, request, ask, many.detach).await;
    }
    let call = |chunk| async move { session.client.delete_dead(&chunk).await };
    let dry_run = |request| send_in_chunks(request, call);
    let verb = "remove the dead letters of";
    if !confirmed(&selection.change, session, &request, verb, dry_run).await? {
        return Ok(Exit::Success);
    }
    report(session, &send_in_chunks(request, call).await?, Subject::DeadLetters).await
}

/// The operation for a change of many dead letters.
fn many_letters(
    action: OperationAction,
    request: ChangeRequest,
    many: &ManyArgs,
) -> OperationRequest {
    let dead = request.filter.is_some();
    OperationRequest { dead, ..many.operation(action, request) }
}

async fn selection_request(
    selection: &DeadLetterSelection,
    session: &Session,
) -> Result<ChangeRequest, CliError> {
    if !selection.all {
        return request(&selection.change, session).await;
    }
    let filter = selection.change.filter.expression(&session.ui)?;
    let filter = filter.unwrap_or_else(|| "id>0".to_owned());
    Ok(ChangeRequest {
        filter: Some(filter),
        dry_run: selection.change.dry_run,
        max_affected: selection.change.max_affected,
        by: Some(super::enqueue::user()),
        ..ChangeRequest::default()
    })
}

/// The name of the cause, to see and retry the dead letters that have it too.
async fn note_cause(session: &Session, job: JobId) -> Result<(), CliError> {
    let query = ListQuery { filter: Some(format!("id:{job}")), ..ListQuery::default() };
    let page = session.client.dead_letters(&query).await?;
    let letter = page.dead_letters.first();
    if let Some((id, text)) = letter.and_then(|it| it.cause_id.zip(it.cause.as_ref())) {
        session
            .ui
            .note(&format!("cause {id}: {text}; `orx dlq list --cause {id}` lists the others"));
    }
    Ok(())
}

async fn list(session: &Session, filter: FilterArgs, all: bool) -> Result<Exit, CliError> {
    let ui = &session.ui;
    let most = if ui.format.is_human() && !all { HUMAN_ROWS } else { usize::MAX };
    let mut query = ListQuery { filter: filter.expression(&session.ui)?, ..ListQuery::default() };
    let mut rows = Vec::new();
    loop {
        query.limit = Some((most - rows.len()).clamp(1, orx_model::limits::PAGE_ROWS) as u32);
        let page = session.client.dead_letters(&query).await?;
        for letter in &page.dead_letters {
            rows.push(row(ui, letter)?);
        }
        query.cursor = page.next;
        if query.cursor.is_none() || rows.len() >= most {
            break;
        }
    }
    ui.list(&COLUMNS, &rows)?;
    if query.cursor.is_some() {
        ui.note(&format!("the newest {}; `--all` prints all", rows.len()));
    }
    if rows.is_empty() && ui.format.is_human() {
        ui.note("no dead letters");
    }
    Ok(Exit::Success)
}

fn row(ui: &Ui, letter: &DeadLetter) -> Result<ListRow, CliError> {
    let job = &letter.job;
    Ok(ListRow {
        json: serde_json::to_value(letter)?,
        id: job.id.to_string(),
        cells: vec![
            Cell::new(job.id.to_string()),
            Cell::new(letter.reason.as_str()),
            Cell::new(job.spec.name.to_string()),
            Cell::new(job.spec.queue.to_string()),
            Cell::new(ui.age(letter.at)),
            Cell::new(job.state.attempt.to_string()),
            Cell::new(why(job.state.status, job.state.cancel.as_ref(), job.state.error.as_deref())),
            Cell::option(letter.cause_id),
        ],
    })
}
