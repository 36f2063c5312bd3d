//! Dead letters: jobs that used up their tries.

use orx_model::wire::{ChangeRequest, DeadLetter, ListQuery};

use super::change::{Args as ChangeArgs, Subject, careful, in_pieces, report, request};
use super::{FilterArgs, JobRef, Session, why};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, HUMAN_ROWS, Row, Ui};

/// Dead letters: jobs that used up their tries
#[derive(Debug, clap::Subcommand)]
pub(crate) enum DlqSubcommand {
    /// List them, newest first
    #[command(after_long_help = super::help::DLQ)]
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// All that match
        #[arg(long)]
        all: bool,
    },
    /// Show one
    #[command(after_long_help = super::help::DLQ)]
    Show {
        /// The job
        job: String,
    },
    /// Run their jobs again
    #[command(after_long_help = super::help::DLQ)]
    Retry(Box<Chosen>),
    /// Forget them; the jobs stay in the history
    #[command(after_long_help = super::help::DLQ)]
    Rm(Box<Chosen>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Chosen {
    #[command(flatten)]
    change: ChangeArgs,
    /// All of them
    #[arg(long, conflicts_with = "jobs")]
    all: bool,
}

const COLUMNS: [Column; 7] = [
    ("ID", false),
    ("REASON", false),
    ("NAME", false),
    ("QUEUE", false),
    ("DIED", false),
    ("TRIES", false),
    ("WHY", false),
];

pub(crate) async fn run(command: DlqSubcommand, session: &Session) -> Result<Exit, CliError> {
    match command {
        DlqSubcommand::List { filter, all } => list(session, filter, all).await,
        DlqSubcommand::Show { job } => {
            let reference = JobRef::parse(&job, &session.state)?;
            let detail = session.client.job(&reference.asked()).await?;
            if detail.job.state.dead.is_none() {
                let error = format!("job `{}` is no dead letter", detail.job.id);
                return Err(CliError::new(Exit::NotFound, "not_found", error)
                    .hint("`orx dlq list` lists them; `orx show` shows any job"));
            }
            super::show::print_job(&session.ui, &detail.job)?;
            Ok(Exit::Done)
        }
        DlqSubcommand::Retry(chosen) => {
            let request = chosen_request(&chosen, session, "retry").await?;
            let call = |piece| async move { session.client.retry_dead(&piece).await };
            let dry_run = |dry| in_pieces(dry, call);
            if !careful(&chosen.change, session, &request, "retry", dry_run).await? {
                return Ok(Exit::Done);
            }
            report(session, &in_pieces(request, call).await?, Subject::Jobs).await
        }
        DlqSubcommand::Rm(chosen) => {
            let request = chosen_request(&chosen, session, "forget").await?;
            let call = |piece| async move { session.client.delete_dead(&piece).await };
            let dry_run = |dry| in_pieces(dry, call);
            if !careful(&chosen.change, session, &request, "forget", dry_run).await? {
                return Ok(Exit::Done);
            }
            report(session, &in_pieces(request, call).await?, Subject::DeadLetters).await
        }
    }
}

async fn chosen_request(
    chosen: &Chosen,
    session: &Session,
    verb: &str,
) -> Result<ChangeRequest, CliError> {
    if !chosen.all {
        return request(&chosen.change, session, verb).await;
    }
    let filter = chosen.change.filter.expression(&session.ui)?.unwrap_or_else(|| "id>0".to_owned());
    Ok(ChangeRequest {
        filter: Some(filter),
        dry_run: chosen.change.dry_run,
        max_affected: chosen.change.max_affected,
        ..ChangeRequest::default()
    })
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
        ui.note(&format!("the newest {}, --all shows all", rows.len()));
    }
    if rows.is_empty() && ui.format.is_human() {
        ui.note("no dead letters");
    }
    Ok(Exit::Done)
}

fn row(ui: &Ui, letter: &DeadLetter) -> Result<Row, CliError> {
    let job = &letter.job;
    Ok(Row {
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
        ],
    })
}
