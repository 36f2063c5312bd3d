//! `orx dlq top`: the causes of dead letters.

use orx_model::limits::PAGE_ROWS;
use orx_model::wire::{CauseGroup, CausesQuery};

use super::{FilterArgs, Session};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, HUMAN_ROWS, ListRow, Ui};

#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Print all, not only the most frequent
    #[arg(long)]
    all: bool,
}

const COLUMNS: [Column; 9] = [
    ("COUNT", false),
    ("CAUSE", false),
    ("NAME", false),
    ("LAST", false),
    ("FIRST", false),
    ("QUEUES", false),
    ("SAMPLE", false),
    ("ID", false),
    ("REASONS", true),
];

pub(crate) async fn run(args: TopArgs, session: &Session) -> Result<Exit, CliError> {
    let ui = &session.ui;
    let most = if ui.format.is_human() && !args.all { HUMAN_ROWS } else { usize::MAX };
    let filter = args.filter.expression(ui)?;
    let mut query = CausesQuery { filter, ..CausesQuery::default() };
    let mut rows = Vec::new();
    loop {
        query.limit = Some((most - rows.len()).clamp(1, PAGE_ROWS) as u32);
        let page = session.client.causes(&query).await?;
        for cause in &page.causes {
            rows.push(row(ui, cause)?);
        }
        query.cursor = page.next;
        if query.cursor.is_none() || rows.len() >= most {
            break;
        }
    }
    ui.list(&COLUMNS, &rows)?;
    if query.cursor.is_some() {
        ui.note(&format!("the {} most frequent; `--all` prints all", rows.len()));
    }
    if rows.is_empty() && ui.format.is_human() {
        ui.note("no dead letters");
    }
    Ok(Exit::Success)
}

fn row(ui: &Ui, cause: &CauseGroup) -> Result<ListRow, CliError> {
    let id = cause.cause_id.to_string();
    let queues: Vec<&str> = cause.queues.iter().map(|queue| queue.as_str()).collect();
    let reasons: Vec<&str> = cause.reasons.iter().map(|reason| reason.as_str()).collect();
    Ok(ListRow {
        json: serde_json::to_value(cause)?,
        cells: vec![
            Cell::new(cause.count.to_string()),
            Cell::new(cause.cause.as_str()),
            Cell::new(cause.name.to_string()),
            Cell::new(ui.age(cause.last)),
            Cell::new(ui.age(cause.first)),
            Cell::new(queues.join(",")),
            Cell::new(cause.sample.to_string()),
            Cell::new(id.clone()),
            Cell::new(reasons.join(",")),
        ],
        id,
    })
}
