//! `orx cluster`: the state of the whole cluster.

use orx_model::JobStatus;
use orx_model::time::{format_duration, jump_words};
use orx_model::wire::ZoneData;
use orx_model::wire::{ClusterStatus, StepDownRequest};

use super::Session;
use super::worker::slots_text;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Ui};

/// Show the state of the whole cluster
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ClusterSubcommand {
    /// Show counts, workers, nodes, and what needs attention
    #[command(after_long_help = super::help::CLUSTER)]
    Status,
    /// List the nodes
    #[command(after_long_help = super::help::NODES)]
    Nodes,
    /// Drain a node: another node leads, and its workers move to other nodes
    ///
    /// The node answers requests as before, except that `/readyz` does not call it ready. It is drained once
    /// it does not lead and no worker is connected to it; then it may be stopped. A node that starts anew
    /// does not drain.
    #[command(after_long_help = super::help::NODE_DRAIN)]
    Drain(super::node::DrainArgs),
    /// Ask the leader to step down, so that another node leads
    #[command(after_long_help = super::help::STEP_DOWN)]
    StepDown {
        /// Reason, recorded with the change
        #[arg(long, value_name = "R")]
        reason: Option<String>,
    },
}

pub(crate) async fn run(command: ClusterSubcommand, session: &Session) -> Result<Exit, CliError> {
    match command {
        ClusterSubcommand::Status => status(session).await,
        ClusterSubcommand::Nodes => super::node::list(session).await,
        ClusterSubcommand::Drain(args) => super::node::drain(args, session).await,
        ClusterSubcommand::StepDown { reason } => step_down(reason, session).await,
    }
}

async fn status(session: &Session) -> Result<Exit, CliError> {
    let status = session.client.cluster().await?;
    let counts: Vec<String> = JobStatus::ALL
        .into_iter()
        .filter(|one| status.counts.of(*one) > 0)
        .map(|one| format!("{} {}", status.counts.of(one), one.words()))
        .collect();
    let up = format_duration(status.now.saturating_since(status.started_at));
    let settings: Vec<String> = status
        .settings_ms
        .iter()
        .map(|(name, ms)| {
            format!("{name} {}", format_duration(std::time::Duration::from_millis(*ms)))
        })
        .collect();
    let store = format!("{}, durability {}", status.store, status.durability);
    let mut lines = vec![
        ("server", Cell::new(format!("orx {}, up {up}", status.version))),
        ("store", Cell::new(store)),
        ("transport", Cell::new(status.transport.clone())),
        ("zones", Cell::option(status.zone_data.as_ref().map(zones))),
        ("leader", Cell::new(leader(&status))),
        ("workers", Cell::new(format!("{} live", status.workers_live))),
        ("slots", Cell::new(slots_text(status.active, status.slots, status.prefetched))),
        ("jobs", Cell::new(if counts.is_empty() { "none".to_owned() } else { counts.join(", ") })),
        ("dead letters", Cell::new(status.dead_letters.to_string())),
        ("links", Cell::new(links(&status))),
        ("clock", Cell::new(clock(&status, &session.ui))),
        ("times", Cell::new(settings.join(", "))),
    ];
    for node in status.nodes.iter().filter(|_| status.nodes.len() > 1) {
        let drain = node.drain.map(|drain| format!(", {drain}")).unwrap_or_default();
        let url = node.url.as_deref().unwrap_or("no address");
        let zones = node.zone_version.as_deref();
        let zones = zones.map(|version| format!(", zones {version}")).unwrap_or_default();
        lines.push((
            "node",
            Cell::new(format!("{} {}{drain}, {url}{zones}", node.name, node.role())),
        ));
    }
    for alert in &status.attention {
        lines.push(("attention", Cell::new(format!("! {alert}"))));
    }
    session.ui.one(&status, &status.node.to_string(), &lines)?;
    Ok(Exit::Success)
}

fn zones(data: &ZoneData) -> String {
    format!("{}, {}", data.source, data.version_text())
}

/// The counts only: `attention` names the links that are not connected.
fn links(status: &ClusterStatus) -> String {
    let connected = status.links.iter().filter(|link| link.connected).count();
    match status.links.len() - connected {
        0 => format!("{connected} connected"),
        others => format!("{connected} connected, {others} reconnecting"),
    }
}

fn clock(status: &ClusterStatus, ui: &Ui) -> String {
    let last = status
        .clock
        .as_ref()
        .and_then(|clock| Some((clock.jumps, clock.last_at?, jump_words(clock.last_by_ms?))));
    let Some((jumps, at, words)) = last else { return "steady".to_owned() };
    let before = if jumps > 1 { format!(", {jumps} times in all") } else { String::new() };
    format!("set {words} at {}{before}", ui.exact(at))
}

fn leader(status: &ClusterStatus) -> String {
    let Some(leader) = status.leader else { return "none".to_owned() };
    let name = status.nodes.iter().find(|node| node.node == leader);
    let name = name.map_or_else(|| leader.to_string(), |node| node.name.to_string());
    format!("{name}, epoch {}", status.epoch)
}

async fn step_down(reason: Option<String>, session: &Session) -> Result<Exit, CliError> {
    let request = StepDownRequest { reason, by: Some(super::enqueue::user()) };
    let answer = session.client.step_down(&request).await?;
    let ui = &session.ui;
    if !ui.format.is_human() {
        let to = Cell::option(answer.to.as_ref());
        let lines = vec![("from", Cell::new(answer.from.to_string())), ("to", to)];
        ui.one(&answer, answer.from.as_str(), &lines)?;
    } else if !ui.quiet {
        let text = match &answer.to {
            Some(to) => {
                format!("{} stepped down, {to} leads, epoch {}\n", answer.from, answer.epoch)
            }
            None => format!("{} stepped down, and no node leads yet\n", answer.from),
        };
        ui.raw(text.as_bytes())?;
    }
    Ok(if answer.to.is_some() { Exit::Success } else { Exit::TryLater })
}
