//! `orx queue`: queues and their counts.

use orx_model::JobStatus;
use orx_model::wire::QueueView;

use super::Session;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, ListRow, Ui};

/// List queues, or show one
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
}

const COLUMNS: [Column; 9] = [
    ("QUEUE", false),
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
    };
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
