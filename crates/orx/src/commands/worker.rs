//! `orx worker`: workers, and directives to them.

use orx_model::time::format_duration;
use orx_model::wire::{WorkerCommand, WorkerDetail, WorkerView, WorkersOrderRequest};
use orx_model::{Name, Timestamp};

use super::Session;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, ListRow, Ui};

/// List, show, drain, resume and fence workers
#[derive(Debug, clap::Subcommand)]
pub(crate) enum WorkerSubcommand {
    /// List all workers
    #[command(after_long_help = super::help::WORKER)]
    List,
    /// Show one worker and what it runs
    #[command(after_long_help = super::help::WORKER)]
    Show {
        /// Name, or the first digits of its incarnation id
        worker: String,
    },
    /// Let workers finish their jobs and take no new ones; they keep running
    #[command(after_long_help = super::help::WORKER_DIRECTIVE)]
    Drain(DirectiveArgs),
    /// Let drained workers take jobs again
    #[command(after_long_help = super::help::WORKER_DIRECTIVE)]
    Resume(DirectiveArgs),
    /// Declare workers lost at once; other workers run their jobs again
    ///
    /// For a worker that is known to be dead, or must not continue. The server rejects all its
    /// later reports. If it is alive, it stops its jobs and registers anew. A fence is permanent.
    #[command(after_long_help = super::help::WORKER_DIRECTIVE)]
    Fence(DirectiveArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct DirectiveArgs {
    /// Names (each stands for all its live workers), or the first digits of incarnation ids
    #[arg(required = true, value_name = "WORKER")]
    workers: Vec<String>,
    /// Reason, recorded with the directive
    #[arg(long, value_name = "R")]
    reason: Option<String>,
    /// Change nothing; print what would change
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short = 'y', long)]
    yes: bool,
}

const COLUMNS: [Column; 14] = [
    ("WORKER", false),
    ("STATE", false),
    ("ACTIVE", false),
    ("QUEUES", false),
    ("SEEN", false),
    ("CPU", false),
    ("MEM", false),
    ("HANDLERS", false),
    ("UPTIME", true),
    ("LABELS", true),
    ("VERSION", true),
    ("HOST", true),
    ("PID", true),
    ("INCARNATION", true),
];

pub(crate) async fn run(command: WorkerSubcommand, session: &Session) -> Result<Exit, CliError> {
    match command {
        WorkerSubcommand::List => list(session).await,
        WorkerSubcommand::Show { worker } => show(&worker, session).await,
        WorkerSubcommand::Drain(args) => direct(WorkerCommand::Drain, args, session).await,
        WorkerSubcommand::Resume(args) => direct(WorkerCommand::Resume, args, session).await,
        WorkerSubcommand::Fence(args) => direct(WorkerCommand::Fence, args, session).await,
    }
}

async fn list(session: &Session) -> Result<Exit, CliError> {
    let workers = session.client.workers().await?.workers;
    let rows: Result<Vec<ListRow>, CliError> =
        workers.iter().map(|worker| row(&session.ui, worker)).collect();
    session.ui.list(&COLUMNS, &rows?)?;
    Ok(Exit::Success)
}

fn row(ui: &Ui, worker: &WorkerView) -> Result<ListRow, CliError> {
    let (cpu, memory) = load(worker);
    Ok(ListRow {
        json: serde_json::to_value(worker)?,
        id: worker.incarnation.to_string(),
        cells: vec![
            Cell::new(worker.name.to_string()),
            Cell::new(state(worker)),
            Cell::new(format!("{}/{}", worker.active, worker.slots)),
            Cell::new(names(&worker.offer.queues, "all")),
            Cell::new(ui.age(worker.seen_at)),
            Cell::new(cpu),
            Cell::new(memory),
            Cell::new(handlers(worker)),
            Cell::new(ui.age(worker.started_at)),
            Cell::new(labels(worker)),
            Cell::new(worker.version.clone()),
            Cell::new(worker.host.clone()),
            Cell::new(worker.pid.to_string()),
            Cell::new(worker.incarnation.to_string()),
        ],
    })
}

fn names(all: &std::collections::BTreeSet<Name>, none: &str) -> String {
    if all.is_empty() {
        return none.to_owned();
    }
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Used slots, and prefetched jobs that wait at the worker for one.
pub(super) fn slots_text(active: u32, slots: u32, prefetched: u32) -> String {
    let waiting =
        if prefetched == 0 { String::new() } else { format!(", {prefetched} prefetched") };
    format!("{active} of {slots} busy{waiting}")
}

/// A directive takes precedence over the state that the worker reports.
fn state(worker: &WorkerView) -> &'static str {
    use orx_model::message::WorkerDirective::{Drain, Fence};
    match (worker.order, worker.live) {
        (Some(Fence), _) => "fenced",
        (_, false) => "silent",
        (Some(Drain), true) if worker.active == 0 => "drained",
        (Some(Drain), true) => "draining",
        (None, true) => worker.state.as_str(),
    }
}

fn handlers(worker: &WorkerView) -> String {
    let handlers = names(&worker.offer.handlers, "");
    if !worker.offer.commands {
        return handlers;
    }
    let comma = if handlers.is_empty() { "" } else { "," };
    format!("{handlers}{comma}commands")
}

fn labels(worker: &WorkerView) -> String {
    let labels = worker.offer.labels.iter().map(|(name, value)| format!("{name}={value}"));
    labels.collect::<Vec<_>>().join(" ")
}

/// Load of the worker's machine: processors and memory.
fn load(worker: &WorkerView) -> (String, String) {
    match worker.load {
        None => ("-".to_owned(), "-".to_owned()),
        Some(load) => {
            let share = load.memory_used_bytes as f64 / load.memory_bytes.max(1) as f64;
            (format!("{:.0}%", load.cpu * 100.0), format!("{:.0}%", share * 100.0))
        }
    }
}

async fn show(worker: &str, session: &Session) -> Result<Exit, CliError> {
    let detail: WorkerDetail = session.client.worker(worker).await?;
    let ui = &session.ui;
    let one = &detail.worker;
    let (cpu, memory) = load(one);
    let mut lines = vec![
        ("worker", Cell::new(one.name.to_string())),
        ("state", Cell::new(state(one))),
        ("incarnation", Cell::new(one.incarnation.to_string())),
        ("host", Cell::new(format!("{}, pid {}, orx {}", one.host, one.pid, one.version))),
        ("started", Cell::new(ui.time(one.started_at))),
        ("seen", Cell::new(ui.time(one.seen_at))),
        (
            "slots",
            Cell::new(format!(
                "{}, accepts up to {}",
                slots_text(one.active, one.slots, one.prefetched),
                one.capacity
            )),
        ),
        ("machine", Cell::new(format!("cpu {cpu}, memory {memory}"))),
        ("queues", Cell::new(names(&one.offer.queues, "all"))),
        ("handlers", Cell::new(handlers(one))),
        ("labels", Cell::new(labels(one))),
    ];
    for attempt in &detail.attempts {
        let since = since(attempt.started_at.unwrap_or(attempt.claimed_at), one.seen_at);
        let cancel = if attempt.cancel_requested { ", cancel requested" } else { "" };
        let text = format!(
            "{}.{} {}, {} for {since}{cancel}",
            attempt.job,
            attempt.attempt,
            attempt.name,
            attempt.status.words()
        );
        lines.push(("runs", Cell::new(text)));
    }
    ui.one(&detail, &one.incarnation.to_string(), &lines)?;
    Ok(Exit::Success)
}

fn since(at: Timestamp, seen_at: Timestamp) -> String {
    format_duration(seen_at.saturating_since(at))
}

async fn direct(
    command: WorkerCommand,
    args: DirectiveArgs,
    session: &Session,
) -> Result<Exit, CliError> {
    let mut request = WorkersOrderRequest {
        command,
        workers: args.workers,
        reason: args.reason,
        by: Some(super::enqueue::user()),
        dry_run: true,
    };
    // A fence is permanent, so it needs a confirmation that names its cost.
    if command == WorkerCommand::Fence && !args.yes && !args.dry_run {
        let would = session.client.order_workers(&request).await?.workers;
        let active: u32 = would.iter().map(|worker| worker.active).sum();
        let question =
            format!("fence {} workers and lose their {active} running attempts?", would.len());
        if !session.ui.confirm(&question)? {
            return Ok(Exit::Success);
        }
    }
    request.dry_run = args.dry_run;
    let answer = session.client.order_workers(&request).await?;
    let done = match (command, answer.dry_run) {
        (WorkerCommand::Drain, false) => "draining",
        (WorkerCommand::Resume, false) => "takes jobs again",
        (WorkerCommand::Fence, false) => "fenced",
        (WorkerCommand::Drain, true) => "would drain",
        (WorkerCommand::Resume, true) => "would take jobs again",
        (WorkerCommand::Fence, true) => "would be fenced",
    };
    let mut rows = Vec::new();
    for worker in &answer.workers {
        rows.push(ListRow {
            json: serde_json::to_value(worker)?,
            id: worker.incarnation.to_string(),
            cells: vec![
                Cell::new(worker.name.to_string()),
                Cell::new(if worker.done { done } else { "unchanged: lost or fenced already" }),
                Cell::new(worker.active.to_string()),
                Cell::new(worker.incarnation.to_string()),
            ],
        });
    }
    let columns: [Column; 4] =
        [("WORKER", false), ("ORDER", false), ("ACTIVE", false), ("INCARNATION", true)];
    session.ui.list(&columns, &rows)?;
    let all = answer.workers.iter().all(|worker| worker.done);
    Ok(if all { Exit::Success } else { Exit::Partial })
}
