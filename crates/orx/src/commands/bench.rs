//! `orx bench`: measures a running server, and the limits of its machine in the same run.

mod jobs;
mod machine;

use clap::ValueEnum;
use serde::Serialize;

use super::Session;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, ListRow};

/// Measure a running server with jobs that do nothing
///
/// Its finished jobs stay in the queue `orx.bench`. The same run measures the machine: synced
/// writes of 4 KiB, processes spawned, and HTTP calls that need no work of the server.
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::BENCH)]
pub(crate) struct BenchArgs {
    /// Number of jobs in each measurement
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    jobs: u32,
    /// Run only these measurements, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<Measurement>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measurement {
    Machine,
    Http,
    Enqueue,
    Bulk,
    Drain,
    Producers,
    Idle,
    Logs,
}

#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

pub(crate) async fn run(args: BenchArgs, session: &Session) -> Result<Exit, CliError> {
    let jobs = args.jobs.clamp(100, 1_000_000);
    let calls = jobs.min(5_000);
    let selected = |what| args.only.is_empty() || args.only.contains(&what);
    let mut figures = Vec::new();
    let mut add = |name: &str, value: f64, unit| {
        session.ui.note(&format!("{name}: {value:.1} {unit}"));
        figures.push(Figure { name: name.to_owned(), value, unit });
    };
    if selected(Measurement::Machine) {
        add("machine: synced writes of 4 KiB", machine::synced_writes(session)?, "1/s");
        add("machine: processes spawned", machine::spawned().await?, "1/s");
    }
    if selected(Measurement::Http) {
        for connections in [1, 8] {
            let name = format!("HTTP calls without work, {}", connections_text(connections));
            add(&name, jobs::empty_calls(session, connections, calls).await?, "1/s");
        }
        for connections in [1, 8] {
            let name = format!("lists without a row, {}", connections_text(connections));
            add(&name, jobs::empty_lists(session, connections, calls).await?, "1/s");
        }
    }
    if selected(Measurement::Enqueue) {
        for connections in [1, 8] {
            let name = format!("durable enqueue, keyed, {}", connections_text(connections));
            add(&name, jobs::enqueue(session, connections, jobs).await?, "1/s");
        }
    }
    if selected(Measurement::Bulk) {
        for connections in [1, 4] {
            let over = connections_text(connections);
            let name = format!("durable enqueue, keyed, 1,000 a request, {over}");
            add(&name, jobs::bulk(session, connections, jobs * 4).await?, "1/s");
        }
    }
    if selected(Measurement::Drain) {
        add("drain of no-op jobs", jobs::drain(session, jobs * 4).await?, "1/s");
    }
    if selected(Measurement::Producers) {
        let name = "enqueue to outcome, 8 connections, keyed";
        add(name, jobs::producers(session, jobs).await?, "1/s");
    }
    if selected(Measurement::Idle) {
        let (start, seen) = jobs::latency(session).await?;
        add("idle latency, enqueue to start, median", start, "ms");
        add("idle latency, enqueue to outcome seen, median", seen, "ms");
    }
    if selected(Measurement::Logs) {
        let name = "line printed to line followed, 95th percentile";
        add(name, jobs::log_lines(session).await?, "ms");
    }
    let columns: [Column; 3] = [("FIGURE", false), ("VALUE", false), ("UNIT", false)];
    let row = |figure: &Figure| -> Result<ListRow, CliError> {
        Ok(ListRow {
            json: serde_json::to_value(figure)?,
            id: figure.name.clone(),
            cells: vec![
                Cell::new(figure.name.clone()),
                Cell::new(format!("{:.1}", figure.value)),
                Cell::new(figure.unit),
            ],
        })
    };
    let rows: Result<Vec<ListRow>, CliError> = figures.iter().map(row).collect();
    session.ui.list(&columns, &rows?)?;
    Ok(Exit::Success)
}

fn connections_text(connections: u32) -> String {
    match connections {
        1 => "1 connection".to_owned(),
        more => format!("{more} connections"),
    }
}
