//! Workers.

use super::Session;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, Row};

/// Workers
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List every worker
    #[command(after_long_help = super::help::WORKER)]
    List,
}

const COLUMNS: [Column; 10] = [
    ("WORKER", false),
    ("STATE", false),
    ("ACTIVE", false),
    ("QUEUES", false),
    ("SEEN", false),
    ("HANDLERS", false),
    ("LABELS", true),
    ("VERSION", true),
    ("HOST", true),
    ("PID", true),
];

pub(crate) async fn run(command: Command, session: &Session) -> Result<Exit, CliError> {
    let Command::List = command;
    let workers = session.client.workers().await?.workers;
    let mut rows = Vec::new();
    for worker in &workers {
        let names = |all: &std::collections::BTreeSet<orx_model::Name>, none: &str| {
            if all.is_empty() {
                return none.to_owned();
            }
            all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        let state = if worker.live { worker.state.as_str() } else { "silent" };
        let mut handlers = names(&worker.offer.handlers, "");
        if worker.offer.commands {
            let comma = if handlers.is_empty() { "" } else { "," };
            handlers = format!("{handlers}{comma}commands");
        }
        let labels: Vec<String> =
            worker.offer.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        rows.push(Row {
            json: serde_json::to_value(worker)?,
            id: worker.incarnation.to_string(),
            cells: vec![
                Cell::new(worker.name.to_string()),
                Cell::new(state),
                Cell::new(format!("{}/{}", worker.active, worker.slots)),
                Cell::new(names(&worker.offer.queues, "all")),
                Cell::new(session.ui.age(worker.seen_at)),
                Cell::new(handlers),
                Cell::new(labels.join(" ")),
                Cell::new(worker.version.clone()),
                Cell::new(worker.host.clone()),
                Cell::new(worker.pid.to_string()),
            ],
        });
    }
    session.ui.list(&COLUMNS, &rows)?;
    Ok(Exit::Done)
}
