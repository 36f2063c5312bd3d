//! `orx cluster nodes` and `orx cluster drain`: the nodes of a cluster.

use std::time::Duration;

use orx_model::wire::{NodeDrain, NodeDrainAnswer, NodeDrainRequest, NodeView};

use super::{Session, wait_timed_out};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, ListRow};

/// How often `--wait` reads the state of the node.
const READ_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
pub(crate) struct DrainArgs {
    /// Name, or the first digits of its incarnation id
    node: String,
    /// Take the drain back
    #[arg(long)]
    undo: bool,
    /// Reason, recorded with the change
    #[arg(long, value_name = "R")]
    reason: Option<String>,
    /// Wait until the node is drained
    #[arg(long, conflicts_with = "undo")]
    wait: bool,
    /// Stop waiting after this time; the node goes on draining
    #[arg(long, value_name = "D", value_parser = crate::duration, requires = "wait")]
    timeout: Option<Duration>,
}

const COLUMNS: [Column; 9] = [
    ("NODE", false),
    ("ROLE", false),
    ("STATE", false),
    ("SEEN", false),
    ("UPTIME", false),
    ("ADDRESS", false),
    ("VERSION", true),
    ("ZONES", true),
    ("INCARNATION", true),
];

pub(crate) async fn list(session: &Session) -> Result<Exit, CliError> {
    let nodes = session.client.cluster().await?.nodes;
    let ui = &session.ui;
    let row = |node: &NodeView| -> Result<ListRow, CliError> {
        let state = match (node.live, node.drain) {
            (false, _) => "silent",
            (true, None) => "live",
            (true, Some(drain)) => drain.as_str(),
        };
        Ok(ListRow {
            json: serde_json::to_value(node)?,
            id: node.node.to_string(),
            cells: vec![
                Cell::new(node.name.to_string()),
                Cell::new(if node.leads { "leader" } else { "follower" }),
                Cell::new(state),
                Cell::new(ui.age(node.seen_at)),
                Cell::new(ui.age(node.started_at)),
                Cell::option(node.url.as_ref()),
                Cell::new(node.version.clone()),
                Cell::option(node.zone_version.as_ref()),
                Cell::new(node.node.to_string()),
            ],
        })
    };
    let rows: Result<Vec<ListRow>, CliError> = nodes.iter().map(row).collect();
    ui.list(&COLUMNS, &rows?)?;
    Ok(Exit::Success)
}

pub(crate) async fn drain(args: DrainArgs, session: &Session) -> Result<Exit, CliError> {
    let request = NodeDrainRequest { reason: args.reason, by: Some(super::enqueue::user()) };
    let client = &session.client;
    let mut answer = match args.undo {
        true => client.resume_node(&args.node, &request).await?,
        false => client.drain_node(&args.node, &request).await?,
    };
    if args.wait {
        let waiting = until_drained(session, &answer.node);
        match crate::within(args.timeout, waiting).await? {
            Some(node) => answer.node = node,
            None => {
                let note = "`--timeout` has passed; the node goes on draining";
                return wait_timed_out(&session.ui, note);
            }
        }
    }
    show(&answer, session)?;
    Ok(Exit::Success)
}

fn show(answer: &NodeDrainAnswer, session: &Session) -> Result<(), CliError> {
    let (ui, node) = (&session.ui, &answer.node);
    let state = node.drain.map_or("takes workers and may lead", NodeDrain::as_str);
    if !ui.format.is_human() {
        let lines = vec![("node", Cell::new(node.name.to_string())), ("state", Cell::new(state))];
        ui.one(answer, &node.node.to_string(), &lines)?;
    } else if !ui.quiet {
        let already = if answer.changed { "" } else { " already" };
        ui.raw(format!("{} {state}{already}\n", node.name).as_bytes())?;
    }
    Ok(())
}

/// Waits until a node is drained, or has ended.
async fn until_drained(session: &Session, node: &NodeView) -> Result<NodeView, CliError> {
    let mut last = node.clone();
    loop {
        match last.drain {
            Some(NodeDrain::Drained) => return Ok(last),
            Some(NodeDrain::Draining) => {}
            None => {
                let text = format!("the drain of node `{}` was taken back", last.name);
                return Err(CliError::new(Exit::Conflict, "resumed", text));
            }
        }
        tokio::time::sleep(READ_EVERY).await;
        let nodes = session.client.cluster().await?.nodes;
        match nodes.into_iter().find(|one| one.node == node.node) {
            Some(found) => last = found,
            // It was stopped, which is what a drained node is for.
            None => {
                return Ok(NodeView {
                    drain: Some(NodeDrain::Drained),
                    leads: false,
                    live: false,
                    ..last
                });
            }
        }
    }
}
