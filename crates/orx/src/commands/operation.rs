//! `orx operation`: operations over many jobs. Also starts them for the commands that change many jobs, and
//! follows them to their end.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use orx_client::ClientError;
use orx_model::time::format_duration;
use orx_model::wire::{
    ChangeRequest, Count, OperationAction, OperationAnswer, OperationRequest, OperationStatus,
    OperationView, OperationsQuery,
};
use orx_model::{Code, OperationId};

use super::Session;
use super::change::{SelectionArgs, counted};
use super::interrupt::Interrupts;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, ListRow, Ui};

/// Named jobs up to this many are changed by one request, which answers for each.
const FEW: usize = 100;
/// How often a running operation is read: at first, and at most.
const READ_FIRST: Duration = Duration::from_millis(50);
const READ_EVERY: Duration = Duration::from_millis(500);

/// Flags of commands that may change many jobs.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct ManyArgs {
    /// Change at most this many jobs a second
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<u32>,
    /// Print the id of the operation, and do not wait for its end
    #[arg(long)]
    pub(crate) detach: bool,
}

impl ManyArgs {
    /// Whether the change is one for an operation.
    pub(crate) fn needs_operation(&self, request: &ChangeRequest) -> bool {
        let many = request.filter.is_some() || request.ids.len() > FEW;
        many || self.rate.is_some() || self.detach
    }

    /// The change as an operation.
    pub(crate) fn operation(
        &self,
        action: OperationAction,
        change: ChangeRequest,
    ) -> OperationRequest {
        OperationRequest {
            ids: change.ids,
            filter: change.filter,
            tz: change.tz,
            force: change.force,
            dry_run: change.dry_run,
            max_affected: change.max_affected,
            rate: self.rate,
            reason: change.reason,
            by: change.by,
            ..OperationRequest::new(action)
        }
    }
}

/// List, show and cancel operations over many jobs
///
/// A cancel, retry or deletion with a filter is an operation: the leader carries it out batch by batch, also
/// when the command ends or a server stops.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum OperationSubcommand {
    /// List operations, newest first
    #[command(after_long_help = super::help::OPERATION)]
    List {
        /// Rows to show at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Show one operation
    #[command(after_long_help = super::help::OPERATION)]
    Show {
        /// The operation
        #[arg(value_name = "ID")]
        id: OperationId,
    },
    /// Cancel an operation; the jobs that it changed stay changed
    #[command(after_long_help = super::help::OPERATION)]
    Cancel {
        /// The operation
        #[arg(value_name = "ID")]
        id: OperationId,
    },
}

const COLUMNS: [Column; 11] = [
    ("ID", false),
    ("ACTION", false),
    ("STATUS", false),
    ("CHANGED", false),
    ("LEFT", false),
    ("MATCHED", false),
    ("STARTED", false),
    ("WHO", false),
    ("JOBS", false),
    ("RATE", true),
    ("REASON", true),
];

pub(crate) async fn run(command: OperationSubcommand, session: &Session) -> Result<Exit, CliError> {
    match command {
        OperationSubcommand::List { limit } => list(session, limit).await,
        OperationSubcommand::Show { id } => {
            let view = session.client.operation(id).await?;
            session.ui.one(&view, &id.to_string(), &lines(&session.ui, &view))?;
            Ok(Exit::Success)
        }
        OperationSubcommand::Cancel { id } => {
            let view = session.client.cancel_operation(id).await?;
            report(session, &view)?;
            Ok(Exit::Success)
        }
    }
}

async fn list(session: &Session, limit: u32) -> Result<Exit, CliError> {
    let (mut query, mut rows) = (OperationsQuery::default(), Vec::new());
    let mut left = limit;
    while left > 0 {
        query.limit = Some(left.min(orx_model::limits::PAGE_ROWS as u32));
        let page = session.client.operations(&query).await?;
        left = left.saturating_sub(page.operations.len() as u32);
        for view in &page.operations {
            rows.push(row(&session.ui, view)?);
        }
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    session.ui.list(&COLUMNS, &rows)?;
    Ok(Exit::Success)
}

fn row(ui: &Ui, view: &OperationView) -> Result<ListRow, CliError> {
    Ok(ListRow {
        json: serde_json::to_value(view)?,
        id: view.id.to_string(),
        cells: vec![
            Cell::new(view.id.to_string()),
            Cell::new(view.action.as_str()),
            Cell::new(view.status.as_str()),
            Cell::new(view.changed.to_string()),
            Cell::new(view.left_alone.total().to_string()),
            Cell::new(matched(view.matched)),
            Cell::new(ui.age(view.created_at)),
            Cell::new(view.by.clone().unwrap_or_else(|| view.token.clone())),
            Cell::new(view.filter.clone().unwrap_or_else(|| "named by id".to_owned())),
            Cell::option(view.rate.map(|rate| format!("{rate}/s"))),
            Cell::option(view.reason.clone()),
        ],
    })
}

fn lines(ui: &Ui, view: &OperationView) -> Vec<(&'static str, Cell)> {
    let left = &view.left_alone;
    let count = |count: u64| Cell::option((count > 0).then_some(count));
    let took = view.ended_at.map(|at| format_duration(at.saturating_since(view.created_at)));
    vec![
        ("id", Cell::new(view.id.to_string())),
        ("action", Cell::new(view.action.as_str())),
        ("status", Cell::new(view.status.as_str())),
        ("problem", Cell::option(view.problem.as_ref())),
        ("jobs", Cell::option(view.filter.as_ref())),
        ("force", Cell::option(view.force.then_some("yes"))),
        ("matched", Cell::new(matched(view.matched))),
        ("changed", Cell::new(view.changed.to_string())),
        ("stopping", count(view.stopping)),
        ("already ended", count(left.already_ended)),
        ("not ended", count(left.not_ended)),
        ("not found", count(left.not_found)),
        ("in use", count(left.in_use)),
        ("reached", Cell::new(format!("job {} of {}", view.reached, view.upto))),
        ("rate", Cell::option(view.rate.map(|rate| format!("{rate} a second")))),
        ("started", Cell::new(ui.time(view.created_at))),
        ("ended", Cell::option(view.ended_at.map(|at| ui.time(at)))),
        ("took", Cell::option(took)),
        ("cancelled by", Cell::option(view.ended_by.as_ref())),
        ("by", Cell::option(view.by.as_ref())),
        ("token", Cell::new(view.token.clone())),
        ("from", Cell::option(view.address.as_ref())),
        ("reason", Cell::option(view.reason.as_ref())),
    ]
}

fn matched(count: Count) -> String {
    format!("{}{}", count.count, if count.exact { "" } else { "+" })
}

/// Makes an operation of a change: asks, starts it, and follows it to its end.
///
/// # Errors
/// A confirmation is needed and cannot be asked for, or the server refuses the operation.
pub(crate) async fn change(
    session: &Session,
    action: OperationAction,
    change: ChangeRequest,
    args: &SelectionArgs,
    many: &ManyArgs,
) -> Result<Exit, CliError> {
    let ask = args.asks_first(&change);
    start(session, many.operation(action, change), ask, many.detach).await
}

/// Starts an operation, after a question if `ask`, and follows it to its end unless `detach`.
///
/// # Errors
/// As [`change`].
pub(crate) async fn start(
    session: &Session,
    request: OperationRequest,
    ask: bool,
    detach: bool,
) -> Result<Exit, CliError> {
    let ui = &session.ui;
    if request.dry_run {
        let answer = session.client.start_operation(request).await?;
        if ui.format.is_human() {
            if !ui.quiet {
                ui.raw(dry_run_text(&answer).as_bytes())?;
            }
        } else {
            ui.one(&with_affected(&answer, answer.matched.count)?, "", &[])?;
        }
        return Ok(Exit::Success);
    }
    if ask {
        let dry_run = OperationRequest { dry_run: true, ..request.clone() };
        let answer = session.client.start_operation(dry_run).await?;
        if answer.matched.count == 0 {
            ui.note("no jobs match, nothing changed");
            return Ok(Exit::Success);
        }
        let verb = match request.action {
            OperationAction::Cancel => "cancel",
            OperationAction::Retry => "retry",
            OperationAction::Remove => "delete",
            OperationAction::RemoveDeadLetters => "remove the dead letters of",
        };
        let first: Vec<String> = answer.examples.iter().map(|job| job.id.to_string()).collect();
        let more = if answer.matched.count > first.len() as u64 { " …" } else { "" };
        let jobs = jobs(answer.matched);
        if !ui.confirm(&format!("{verb} {jobs} ({}{more})?", first.join(", ")))? {
            return Ok(Exit::Success);
        }
    }
    let answer = session.client.start_operation(request).await?;
    let Some(view) = answer.operation else {
        return Err(CliError::new(Exit::Failed, "unexpected", "the server started no operation"));
    };
    if detach {
        if ui.format.is_json() {
            ui.one(&view, "", &[])?;
        } else {
            ui.raw(format!("{}\n", view.id).as_bytes())?;
            ui.note(&format!("`orx operation show {}` shows its progress", view.id));
        }
        return Ok(Exit::Success);
    }
    follow(session, view).await
}

/// Waits for the end of an operation and reports it. A signal cancels the operation.
async fn follow(session: &Session, mut view: OperationView) -> Result<Exit, CliError> {
    let mut interrupts = Interrupts::new()?;
    let (id, mut wait, mut lost) = (view.id, READ_FIRST, false);
    let mut progress = Progress::new(&session.ui);
    while view.status == OperationStatus::Running {
        progress.show(&view);
        let read = async {
            tokio::time::sleep(wait).await;
            session.client.operation(id).await
        };
        let answer = tokio::select! {
            answer = read => answer,
            signal = interrupts.next() => {
                progress.clear();
                return cancel(session, id, signal).await;
            }
        };
        wait = (wait * 2).min(READ_EVERY);
        match answer {
            Ok(now) => {
                if std::mem::take(&mut lost) {
                    session.ui.note("reconnected");
                }
                view = now;
            }
            // The operation does not depend on this command: it goes on with the next leader.
            Err(error) if is_away(&error) => {
                if !std::mem::replace(&mut lost, true) {
                    progress.clear();
                    let note = "lost the connection to the server; operation";
                    session.ui.note(&format!("{note} {id} continues there; reconnecting"));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    progress.clear();
    report(session, &view)
}

fn is_away(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::NoServer { .. } => true,
        ClientError::Problem(problem) => {
            matches!(problem.code, Code::Unavailable | Code::TimedOut)
        }
        ClientError::Untrusted { .. } | ClientError::UnexpectedAnswer { .. } => false,
    }
}

async fn cancel(session: &Session, id: OperationId, signal: i32) -> Result<Exit, CliError> {
    let view = match session.client.cancel_operation(id).await {
        Ok(view) => view,
        // It ended just before.
        Err(ClientError::Problem(problem)) if problem.code == Code::StateConflict => {
            let view = session.client.operation(id).await?;
            return report(session, &view);
        }
        Err(error) => {
            session
                .ui
                .warn(&format!("operation {id} continues; `orx operation cancel {id}` stops it"));
            return Err(error.into());
        }
    };
    report(session, &view)?;
    Ok(Exit::Interrupted(signal))
}

/// Prints what an operation did, and returns the exit code.
fn report(session: &Session, view: &OperationView) -> Result<Exit, CliError> {
    let ui = &session.ui;
    if ui.format.is_human() {
        if !ui.quiet {
            ui.raw(format!("{}\n", summary(view)).as_bytes())?;
        }
    } else {
        let json = with_affected(view, view.changed)?;
        ui.one(&json, &view.id.to_string(), &lines(ui, view))?;
    }
    let left = view.left_alone.total();
    Ok(match view.status {
        OperationStatus::Failed if view.changed == 0 => Exit::Failed,
        OperationStatus::Failed | OperationStatus::Cancelled => Exit::Partial,
        OperationStatus::Running | OperationStatus::Done => match (view.changed, left) {
            (_, 0) => Exit::Success,
            (0, left) if left == view.left_alone.not_found => Exit::NotFound,
            (0, _) => Exit::Conflict,
            _ => Exit::Partial,
        },
    })
}

/// The JSON of a change: scripts find the number of changed jobs where the answer to a change of named jobs
/// has it.
fn with_affected(of: &impl serde::Serialize, affected: u64) -> Result<serde_json::Value, CliError> {
    let mut json = serde_json::to_value(of)?;
    if let Some(fields) = json.as_object_mut() {
        fields.insert("affected".to_owned(), affected.into());
    }
    Ok(json)
}

/// What an operation did, in a line.
fn summary(view: &OperationView) -> String {
    let mut text = match view.changed {
        0 => "nothing changed".to_owned(),
        changed => format!("{} {}", view.action.done(), counted(changed)),
    };
    if view.stopping > 0 {
        text.push_str(&format!(", {} of them stop with their workers", view.stopping));
    }
    let left = &view.left_alone;
    let reasons: Vec<String> = [
        (left.already_ended, "already ended"),
        (left.not_ended, not_ended(view.action)),
        (left.not_found, "not found"),
        (left.in_use, "still needed by jobs that wait for it"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, why)| format!("{count} {why}"))
    .collect();
    if !reasons.is_empty() {
        text.push_str(&format!("; left {} alone: {}", left.total(), reasons.join(", ")));
    }
    match view.status {
        OperationStatus::Running | OperationStatus::Done => {}
        OperationStatus::Cancelled => {
            text.push_str(&format!("; operation {} was cancelled before its end", view.id));
        }
        OperationStatus::Failed => {
            let why = view.problem.as_deref().unwrap_or("no reason is known");
            text.push_str(&format!("; operation {} failed: {why}", view.id));
        }
    }
    text
}

fn not_ended(action: OperationAction) -> &'static str {
    match action {
        OperationAction::RemoveDeadLetters => "without a dead letter",
        _ => "not ended",
    }
}

fn jobs(count: Count) -> String {
    let jobs = counted(count.count);
    if count.exact { jobs } else { format!("at least {jobs}") }
}

/// Text of a dry run: how many would change, by status, and the first of them.
fn dry_run_text(answer: &OperationAnswer) -> String {
    let counts = answer.by_status.unwrap_or_default();
    let all = orx_model::JobStatus::ALL.map(|status| (counts.of(status), status));
    let all: Vec<String> = all
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, status)| format!("{count} {}", status.words()))
        .collect();
    let by_status = if all.len() > 1 { format!(": {}", all.join(", ")) } else { String::new() };
    let mut text = format!("would change {}{by_status}\n", jobs(answer.matched));
    for job in &answer.examples {
        text.push_str(&format!("  {} {} ({})\n", job.id, job.name, job.status.words()));
    }
    let shown = answer.examples.len() as u64;
    if shown > 0 && answer.matched.count > shown {
        text.push_str(&format!("  and {} more\n", answer.matched.count - shown));
    }
    text
}

/// A line on stderr that shows how far an operation is, only on a terminal.
struct Progress {
    shows: bool,
    is_shown: bool,
}

impl Progress {
    fn new(ui: &Ui) -> Self {
        let shows = !ui.quiet && std::io::stderr().is_terminal();
        Self { shows, is_shown: false }
    }

    fn show(&mut self, view: &OperationView) {
        if !self.shows {
            return;
        }
        let done = view.changed + view.left_alone.total();
        let percent = match view.matched {
            Count { count, exact: true } if count > 0 => {
                format!(" ({}%)", (done.min(count) * 100) / count)
            }
            _ => String::new(),
        };
        let (action, of) = (view.action.done(), matched(view.matched));
        let line = format!("{action} {} of {of}{percent}; Ctrl-C cancels", view.changed);
        let _ = write!(std::io::stderr().lock(), "\r\u{1b}[K{line}");
        self.is_shown = true;
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(std::io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
