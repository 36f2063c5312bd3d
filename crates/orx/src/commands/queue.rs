//! `orx queue`: queues, their counts, and their pauses.

use orx_model::JobStatus;
use orx_model::wire::{QueueOrder, QueueView};

use super::Session;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, ListRow, Ui};

/// List, show, pause and resume queues
#[derive(Debug, clap::Subcommand)]
pub(crate) enum QueueSubcommand {
    /// List all queues with their counts
    #[command(after_long_help = super::help::QUEUE)]
    List,
    /// Show one queue
    #[command(after_long_help = super::help::QUEUE)]
    Show {
        /// Name of the queue
        queue: String,
    },
    /// Pause queues: none of their jobs starts
    #[command(after_long_help = super::help::QUEUE_PAUSE)]
    Pause(PauseArgs),
    /// Resume queues
    #[command(after_long_help = super::help::QUEUE_PAUSE)]
    Resume(PauseArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    /// Names of the queues
    #[arg(value_name = "QUEUE", required = true)]
    queues: Vec<String>,
    /// Reason, recorded with the change
    #[arg(long, value_name = "R")]
    reason: Option<String>,
}

const COLUMNS: [Column; 10] = [
    ("QUEUE", false),
    ("STATE", false),
    ("WAIT", false),
    ("SCHEDULED", false),
    ("RUN", false),
    ("OLDEST", false),
    ("COMPLETED", false),
    ("FAILED", false),
    ("CANCELLED", true),
    ("TIMED-OUT", true),
];

pub(crate) async fn run(command: QueueSubcommand, session: &Session) -> Result<Exit, CliError> {
    let queues = match command {
        QueueSubcommand::List => session.client.queues().await?.queues,
        QueueSubcommand::Show { queue } => vec![session.client.queue(&queue).await?],
        QueueSubcommand::Pause(args) => return set_paused(args, session, true).await,
        QueueSubcommand::Resume(args) => return set_paused(args, session, false).await,
    };
    list(session, &queues)
}

/// Every name is checked before the first queue changes.
async fn set_paused(args: PauseArgs, session: &Session, pause: bool) -> Result<Exit, CliError> {
    for name in &args.queues {
        session.client.queue(name).await?;
    }
    let order = QueueOrder { reason: args.reason, by: Some(super::enqueue::user()) };
    let mut changed = Vec::new();
    for name in &args.queues {
        changed.push(match pause {
            true => session.client.pause_queue(name, &order).await?,
            false => session.client.resume_queue(name, &order).await?,
        });
    }
    if !session.ui.format.is_human() {
        return list(session, &changed);
    }
    if !session.ui.quiet {
        // Jobs of a resumed queue start at once, so their number says nothing.
        let line = |view: &QueueView| match pause {
            true => format!("paused {}: {} jobs wait\n", view.queue, view.counts.pending),
            false => format!("resumed {}\n", view.queue),
        };
        session.ui.raw(changed.iter().map(line).collect::<String>().as_bytes())?;
    }
    Ok(Exit::Success)
}

fn list(session: &Session, queues: &[QueueView]) -> Result<Exit, CliError> {
    let rows: Result<Vec<ListRow>, CliError> =
        queues.iter().map(|queue| row(&session.ui, queue)).collect();
    session.ui.list(&COLUMNS, &rows?)?;
    Ok(Exit::Success)
}

fn row(ui: &Ui, view: &QueueView) -> Result<ListRow, CliError> {
    let of = |status| Cell::new(view.counts.of(status).to_string());
    let running = view.counts.dispatched + view.counts.running;
    Ok(ListRow {
        json: serde_json::to_value(view)?,
        id: view.queue.to_string(),
        cells: vec![
            Cell::new(view.queue.to_string()),
            Cell::new(state(ui, view)),
            of(JobStatus::Pending),
            of(JobStatus::Scheduled),
            Cell::new(running.to_string()),
            Cell::option(view.oldest_due.map(|due| ui.age(due))),
            of(JobStatus::Completed),
            of(JobStatus::Failed),
            of(JobStatus::Cancelled),
            of(JobStatus::TimedOut),
        ],
    })
}

/// `ok`, or since when, by whom and why it is paused.
fn state(ui: &Ui, view: &QueueView) -> String {
    let Some(paused) = &view.paused else { return "ok".to_owned() };
    let by = paused.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let reason = paused.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("paused {}{by}{reason}", ui.age(paused.at))
}
