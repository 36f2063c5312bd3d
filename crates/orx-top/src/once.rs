//! The overview as text, for a script or a glance.

use orx_model::JobStatus;
use orx_model::text::{cells, clean_line};
use orx_model::wire::{ClusterStatus, JobPage, ListQuery, QueueList};
use serde::Serialize;

use crate::api::{Answer, Failure, FailureKind, Request, ServerCommands};
use crate::columns::{Column, Context, QUEUES_SHORT, RECENT, thousands};
use crate::look::Look;
use crate::options::{Theme, TopOptions};

/// Jobs that the overview names.
const RECENT_JOBS: u32 = 10;

/// What the overview shows.
#[derive(Debug, Serialize)]
pub struct OverviewReport {
    /// Version of the format: 1.
    pub v: u32,
    /// The cluster.
    pub cluster: ClusterStatus,
    /// The queues.
    pub queues: QueueList,
    /// The newest jobs.
    pub recent: JobPage,
}

fn unexpected() -> Failure {
    Failure::new(FailureKind::Answered, "the server answered with something else")
}

/// Asks for what the overview shows.
///
/// # Errors
/// A request has no answer.
pub async fn overview(commands: &dyn ServerCommands) -> Result<OverviewReport, Failure> {
    let Answer::Cluster(cluster) = commands.call(&Request::Cluster).await? else {
        return Err(unexpected());
    };
    let Answer::Queues(queues) = commands.call(&Request::Queues).await? else {
        return Err(unexpected());
    };
    let query = ListQuery { limit: Some(RECENT_JOBS), ..ListQuery::default() };
    let Answer::Jobs(recent) = commands.call(&Request::Jobs(query)).await? else {
        return Err(unexpected());
    };
    Ok(OverviewReport { v: 1, cluster: *cluster, queues, recent })
}

/// The overview as lines of text without colours or control codes.
#[must_use]
pub fn overview_text(report: &OverviewReport, options: &TopOptions) -> String {
    let cluster = &report.cluster;
    let look = Look {
        ascii: options.ascii,
        theme: Theme::Mono,
        time: orx_model::time::TimeStyle::Relative,
    };
    let context = Context { look, now: cluster.now, zone: &*options.zone };
    let leader = cluster.nodes.iter().find(|node| Some(node.node) == cluster.leader);
    let leader = match (leader, cluster.leader) {
        (Some(node), _) => format!("leader {}, epoch {}", node.name, cluster.epoch),
        (None, Some(node)) => format!("leader {node}, epoch {}", cluster.epoch),
        (None, None) => "no leader".to_owned(),
    };
    let mut lines = vec![
        format!(
            "{}   {leader}   workers {}   slots {}/{}   dead letters {}",
            options.context,
            cluster.workers_live,
            cluster.active,
            cluster.slots,
            thousands(cluster.dead_letters)
        ),
        String::new(),
    ];
    for status in JobStatus::ALL {
        let (sign, _) = look.status(status);
        lines.push(format!(
            "{sign} {:<11}{:>10}",
            status.words(),
            thousands(cluster.counts.of(status))
        ));
    }
    lines.push(String::new());
    lines.extend(table(QUEUES_SHORT, &report.queues.queues, &context));
    lines.push(String::new());
    lines.extend(table(RECENT, &report.recent.jobs, &context));
    if !cluster.attention.is_empty() {
        lines.push(String::new());
        lines.extend(cluster.attention.iter().map(|alert| format!("! {alert}")));
    }
    let lines = lines.iter().map(|line| format!("{}\n", clean_line(line.trim_end())));
    lines.collect()
}

/// A table as wide as its content.
fn table<R>(columns: &[Column<R>], rows: &[R], context: &Context<'_>) -> Vec<String> {
    let text = |column: &Column<R>, row: &R| (column.cell)(row, context).text;
    let wide = |column: &Column<R>| {
        let all = rows.iter().map(|row| cells(&text(column, row)));
        all.max().unwrap_or(0).max(cells(column.title))
    };
    let widths: Vec<usize> = columns.iter().map(wide).collect();
    let line = |texts: Vec<String>| {
        let mut line = String::new();
        for ((text, column), width) in texts.iter().zip(columns).zip(&widths) {
            let space = " ".repeat(width.saturating_sub(cells(text)));
            let cell =
                if column.right { format!("{space}{text}") } else { format!("{text}{space}") };
            line.push_str(&cell);
            line.push_str("  ");
        }
        line
    };
    let mut lines = vec![line(columns.iter().map(|column| column.title.to_owned()).collect())];
    lines.extend(
        rows.iter().map(|row| line(columns.iter().map(|column| text(column, row)).collect())),
    );
    lines
}
