//! `orx audit`: the changes that people and programs made.

use orx_model::wire::{AuditEntry, AuditQuery};

use super::Session;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, ListRow, Ui};

/// Show who changed what, from where, and why
///
/// Newest first. Changes are stored for 90 days, and 100000 at most.
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::AUDIT)]
pub(crate) struct AuditArgs {
    /// Only this action, such as pause_queue
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Rows to show at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

const COLUMNS: [Column; 8] = [
    ("TIME", false),
    ("WHO", false),
    ("WHAT", false),
    ("OBJECT", false),
    ("CHANGED", false),
    ("REASON", false),
    ("TOKEN", true),
    ("FROM", true),
];

pub(crate) async fn run(args: AuditArgs, session: &Session) -> Result<Exit, CliError> {
    let mut query = AuditQuery { action: args.action, ..AuditQuery::default() };
    let (mut rows, mut left) = (Vec::new(), args.limit);
    while left > 0 {
        query.limit = Some(left.min(orx_model::limits::PAGE_ROWS as u32));
        let page = session.client.audit(&query).await?;
        left = left.saturating_sub(page.entries.len() as u32);
        for entry in &page.entries {
            rows.push(row(&session.ui, entry)?);
        }
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    session.ui.list(&COLUMNS, &rows)?;
    Ok(Exit::Success)
}

fn row(ui: &Ui, entry: &AuditEntry) -> Result<ListRow, CliError> {
    let who = entry.by.as_ref().unwrap_or(&entry.token);
    Ok(ListRow {
        json: serde_json::to_value(entry)?,
        id: entry.id.to_string(),
        cells: vec![
            Cell::new(ui.time(entry.at)),
            Cell::new(who.clone()),
            Cell::new(entry.action.clone()),
            Cell::new(entry.object.clone()),
            Cell::new(entry.changed.to_string()),
            Cell::option(entry.reason.clone()),
            Cell::new(entry.token.clone()),
            Cell::option(entry.address.clone()),
        ],
    })
}
