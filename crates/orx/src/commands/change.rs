//! `orx cancel`, `orx retry` and `orx rm`, for named jobs or for all that match a filter.

use orx_client::ClientError;
use orx_model::wire::{Change, ChangeAnswer, ChangeRequest, Changed, OperationAction, Rest};
use orx_model::{Code, Problem};

use super::operation::{self, ManyArgs};
use super::{FilterArgs, Session, jobs_and_filter, no_job_named, references};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Format, ListRow};

/// Flags of commands that change jobs: which jobs, and with what safeguards.
#[derive(Debug, clap::Args)]
pub(crate) struct SelectionArgs {
    /// Jobs: `1423`, `@last`, `key:…`, or `-` for ids on standard input
    #[arg(value_name = "JOB")]
    pub(crate) jobs: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Reason, recorded with the change
    #[arg(long, value_name = "R")]
    pub(crate) reason: Option<String>,
    /// Change nothing; print what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Change nothing if more than this many jobs would change
    #[arg(long, value_name = "N")]
    pub(crate) max_affected: Option<u64>,
    /// Do not ask for confirmation
    #[arg(short = 'y', long)]
    pub(crate) yes: bool,
}

impl SelectionArgs {
    /// Whether to ask first: those who name each job know what they change.
    pub(crate) fn asks_first(&self, request: &ChangeRequest) -> bool {
        let piped = request.ids.len() > 1 && self.jobs.contains(&"-".into());
        (request.filter.is_some() || piped) && !self.yes
    }
}

/// Cancel jobs
///
/// A waiting job never starts. A running job gets SIGTERM, and SIGKILL after the worker's grace. A
/// job that succeeds before the signal stays completed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::CANCEL)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    change: SelectionArgs,
    #[command(flatten)]
    many: ManyArgs,
    /// Record the cancellation at once, without waiting for the worker
    #[arg(long)]
    force: bool,
}

/// Run ended jobs again, with a new budget of retries
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::RETRY)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    change: SelectionArgs,
    #[command(flatten)]
    many: ManyArgs,
}

/// Delete ended jobs with their logs, attempts, keys and dead letters
///
/// A job that has not ended is left alone: cancel it first. A deleted job cannot be restored, and a new
/// job can take its key.
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::RM)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    change: SelectionArgs,
    #[command(flatten)]
    many: ManyArgs,
}

pub(crate) async fn cancel(args: CancelArgs, session: &Session) -> Result<Exit, CliError> {
    let mut request = request(&args.change, session).await?;
    request.force = args.force;
    if args.many.needs_operation(&request) {
        let action = OperationAction::Cancel;
        let done = operation::change(session, action, request.clone(), &args.change, &args.many);
        match done.await {
            // An operation needs the scope `admin`; a token of `service` cancels with one request.
            Err(error) if error.exit == Exit::NotAllowed && !args.force => {}
            done => return done,
        }
    }
    let call = |chunk| async move { session.client.cancel(&chunk).await };
    let dry_run = |request| send_in_chunks(request, call);
    if !confirmed(&args.change, session, &request, "cancel", dry_run).await? {
        return Ok(Exit::Success);
    }
    report(session, &send_in_chunks(request, call).await?, Subject::Jobs).await
}

pub(crate) async fn retry(args: RetryArgs, session: &Session) -> Result<Exit, CliError> {
    let request = request(&args.change, session).await?;
    if args.many.needs_operation(&request) {
        let action = OperationAction::Retry;
        return operation::change(session, action, request, &args.change, &args.many).await;
    }
    let call = |chunk| async move { session.client.retry(&chunk).await };
    let dry_run = |request| send_in_chunks(request, call);
    if !confirmed(&args.change, session, &request, "retry", dry_run).await? {
        return Ok(Exit::Success);
    }
    report(session, &send_in_chunks(request, call).await?, Subject::Jobs).await
}

pub(crate) async fn rm(args: RmArgs, session: &Session) -> Result<Exit, CliError> {
    let request = request(&args.change, session).await?;
    if args.many.needs_operation(&request) {
        let action = OperationAction::Remove;
        return operation::change(session, action, request, &args.change, &args.many).await;
    }
    let call = |chunk| async move { session.client.delete_jobs(&chunk).await };
    let dry_run = |request| send_in_chunks(request, call);
    if !confirmed(&args.change, session, &request, "delete", dry_run).await? {
        return Ok(Exit::Success);
    }
    let answer = send_in_chunks(request, call).await?;
    let exit = report(session, &answer, Subject::DeletedJobs).await?;
    if answer.jobs.iter().any(|job| job.change == Change::NotInState) {
        session.ui.note("only jobs that have ended are deleted; `orx cancel` ends them first");
    }
    Ok(exit)
}

/// Ids in one request; well below the size limit of a body.
const CHUNK_IDS: usize = 10_000;

/// Sends a change of many named jobs in chunks and merges the answers. If a chunk fails, the result
/// still holds the answers so far, and lists the remaining jobs in `rest`.
///
/// # Errors
/// The first request failed, or there are more jobs than `max_affected` allows.
pub(crate) async fn send_in_chunks<F>(
    mut request: ChangeRequest,
    call: impl Fn(ChangeRequest) -> F,
) -> Result<ChangeAnswer, CliError>
where
    F: Future<Output = Result<ChangeAnswer, ClientError>>,
{
    if request.ids.len() <= CHUNK_IDS {
        return Ok(call(request).await?);
    }
    let mut seen = std::collections::HashSet::new();
    request.ids.retain(|id| seen.insert(*id));
    let ids = std::mem::take(&mut request.ids);
    // The limit holds for all ids together, so no single request can check it.
    if let Some(limit) = request.max_affected.take().filter(|limit| ids.len() as u64 > *limit) {
        let detail = format!("this would change {} jobs, at most {limit} are allowed", ids.len());
        let problem = Problem::new(Code::TooMany, detail);
        return Err(problem.hint("nothing was changed; raise `--max-affected`").into());
    }
    let mut merged: Option<ChangeAnswer> = None;
    for (index, chunk) in ids.chunks(CHUNK_IDS).enumerate() {
        let after = (index * CHUNK_IDS + chunk.len()).min(ids.len());
        let answer = call(ChangeRequest { ids: chunk.to_vec(), ..request.clone() }).await;
        let failed = match (answer, &mut merged) {
            (Ok(mut answer), merged) => {
                let rest = answer.rest.take();
                match merged {
                    Some(merged) => {
                        merged.affected += answer.affected;
                        merged.jobs.extend(answer.jobs);
                    }
                    None => *merged = Some(answer),
                }
                rest.map(|rest| (rest.problem, rest.jobs))
            }
            (Err(error), None) => return Err(error.into()),
            (Err(ClientError::Problem(problem)), Some(_)) => Some((*problem, chunk.to_vec())),
            (Err(error), Some(_)) => {
                Some((Problem::new(Code::Unavailable, error.to_string()), chunk.to_vec()))
            }
        };
        if let (Some((problem, mut jobs)), Some(merged)) = (failed, &mut merged) {
            jobs.extend(&ids[after..]);
            merged.rest = Some(Rest { problem, count: jobs.len() as u64, jobs });
            break;
        }
    }
    merged.ok_or_else(|| CliError::usage("no jobs were named"))
}

/// Number of jobs that a confirmation or a dry run lists.
const SAMPLE: usize = 5;

/// Builds the request from the arguments.
pub(crate) async fn request(
    args: &SelectionArgs,
    session: &Session,
) -> Result<ChangeRequest, CliError> {
    let mut ids = Vec::new();
    for job in references(session, &args.jobs)? {
        ids.push(job.id(&session.client).await?);
    }
    let filter = args.filter.expression(&session.ui)?;
    match (ids.is_empty(), &filter) {
        (true, None) if args.jobs.is_empty() => {
            return Err(no_job_named());
        }
        (false, Some(_)) => {
            return Err(jobs_and_filter());
        }
        _ => {}
    }
    Ok(ChangeRequest {
        ids,
        filter,
        reason: args.reason.clone(),
        dry_run: args.dry_run,
        max_affected: args.max_affected,
        by: Some(super::enqueue::user()),
        ..ChangeRequest::default()
    })
}

/// Asks for confirmation if the jobs come from a filter, or from standard input. Returns whether to
/// make the change.
///
/// # Errors
/// A confirmation is needed and cannot be asked for, or the dry run failed.
pub(crate) async fn confirmed<F>(
    args: &SelectionArgs,
    session: &Session,
    request: &ChangeRequest,
    verb: &str,
    dry_run: impl Fn(ChangeRequest) -> F,
) -> Result<bool, CliError>
where
    F: Future<Output = Result<ChangeAnswer, CliError>>,
{
    if request.ids.is_empty() && request.filter.is_none() {
        session.ui.note("no jobs named, nothing changed");
        return Ok(false);
    }
    if args.dry_run || !args.asks_first(request) {
        return Ok(true);
    }
    let would = dry_run(ChangeRequest { dry_run: true, ..request.clone() }).await?;
    if would.affected == 0 {
        session.ui.note("no jobs match, nothing changed");
        return Ok(false);
    }
    let first: Vec<String> = sample(&would).map(|job| job.id.to_string()).collect();
    let more = if would.affected > first.len() as u64 { " …" } else { "" };
    // The answer lists only the first of many jobs; perhaps none of those would change.
    let named =
        if first.is_empty() { String::new() } else { format!(" ({}{more})", first.join(", ")) };
    session.ui.confirm(&format!("{verb} {}{named}?", counted(would.affected)))
}

/// The first jobs that would change, according to a dry run.
fn sample(answer: &ChangeAnswer) -> impl Iterator<Item = &Changed> {
    answer.jobs.iter().filter(|job| job.change == Change::Would).take(SAMPLE)
}

pub(crate) fn counted(jobs: u64) -> String {
    if jobs == 1 { "1 job".to_owned() } else { format!("{jobs} jobs") }
}

/// What a command changes, for its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Jobs,
    DeletedJobs,
    /// Removing a dead letter leaves its job.
    DeadLetters,
}

/// Text of a dry run: how many would change, and the first of them.
async fn dry_run_text(session: &Session, answer: &ChangeAnswer, subject: Subject) -> String {
    let mut text = match subject {
        Subject::Jobs => format!("would change {}\n", counted(answer.affected)),
        Subject::DeletedJobs => format!("would delete {}\n", counted(answer.affected)),
        Subject::DeadLetters => format!("would remove {}\n", letters(answer.affected)),
    };
    let mut shown = 0;
    for job in sample(answer) {
        shown += 1;
        // A job that retention has just removed has no name any more.
        let detail = session.client.job(&job.id.to_string()).await;
        let name = detail.map(|detail| format!(" {}", detail.job.spec.name)).unwrap_or_default();
        let status = job.status.map(|status| format!(" ({})", status.words())).unwrap_or_default();
        text.push_str(&format!("  {}{name}{status}\n", job.id));
    }
    if shown > 0 && answer.affected > shown {
        text.push_str(&format!("  and {} more\n", answer.affected - shown));
    }
    text
}

fn letters(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

/// Outcome of jobs that an interrupted change did not answer.
const NOT_KNOWN: &str = "not_known";

/// Prints the outcome for each job, and returns the exit code.
pub(crate) async fn report(
    session: &Session,
    answer: &ChangeAnswer,
    subject: Subject,
) -> Result<Exit, CliError> {
    let ui = &session.ui;
    if ui.format.is_human() {
        if !ui.quiet {
            if answer.dry_run {
                ui.raw(dry_run_text(session, answer, subject).await.as_bytes())?;
            }
            ui.raw(answer_text(answer, subject).as_bytes())?;
        }
    } else if ui.format == Format::Json {
        ui.one(answer, "", &[])?;
    } else {
        let row = |changed: &Changed| -> Result<ListRow, CliError> {
            let json = serde_json::to_value(changed)?;
            let word = |name: &str| Cell::new(json[name].as_str().unwrap_or_default());
            let (change, status) = (word("change"), word("status"));
            let id = changed.id.to_string();
            Ok(ListRow { cells: vec![Cell::new(id.clone()), change, status], id, json })
        };
        let rows: Result<Vec<ListRow>, CliError> = answer.jobs.iter().map(row).collect();
        let mut rows = rows?;
        for id in answer.rest.iter().flat_map(|rest| &rest.jobs) {
            let json = serde_json::json!({"id": id, "change": NOT_KNOWN});
            let id = id.to_string();
            let cells = vec![Cell::new(id.clone()), Cell::new(NOT_KNOWN), Cell::new("")];
            rows.push(ListRow { cells, id, json });
        }
        ui.list(&[("ID", false), ("CHANGE", false), ("STATUS", false)], &rows)?;
    }
    if let Some(rest) = &answer.rest {
        let named: Vec<String> = rest.jobs.iter().take(10).map(ToString::to_string).collect();
        let more = if rest.count > named.len() as u64 { " …" } else { "" };
        let (jobs, named) = (counted(rest.count), named.join(", "));
        let why = &rest.problem.detail;
        ui.warn(&format!(
            "the change was interrupted; not tried or outcome unknown: {jobs} ({named}{more}): {why}"
        ));
        return Ok(Exit::Partial);
    }
    let unchanged = answer.jobs.iter().filter(|job| is_unchanged(job.change)).count();
    let missing = answer.jobs.iter().filter(|job| job.change == Change::NotFound).count();
    Ok(match (answer.affected, unchanged) {
        (_, 0) => Exit::Success,
        (0, _) if missing == answer.jobs.len() => Exit::NotFound,
        (0, _) => Exit::Conflict,
        _ => Exit::Partial,
    })
}

/// The job stays as it was.
fn is_unchanged(change: Change) -> bool {
    match change {
        Change::AlreadyFinal | Change::NotInState | Change::InUse | Change::NotFound => true,
        Change::Cancelled
        | Change::Cancelling
        | Change::Retried
        | Change::Deleted
        | Change::Would => false,
    }
}

fn answer_text(answer: &ChangeAnswer, subject: Subject) -> String {
    let mut text = String::new();
    let missing = match subject {
        Subject::Jobs | Subject::DeletedJobs => "not found:",
        Subject::DeadLetters => "no dead letter:",
    };
    let deleted = match subject {
        Subject::DeadLetters => "removed the dead letter of",
        Subject::Jobs | Subject::DeletedJobs => "deleted",
    };
    let words = [
        (Change::Cancelled, "cancelled"),
        (Change::Cancelling, "cancelling"),
        (Change::Retried, "retrying"),
        (Change::Deleted, deleted),
        (Change::AlreadyFinal, "unchanged, already ended:"),
        (Change::NotInState, "unchanged, the status does not allow it:"),
        (Change::InUse, "unchanged, jobs still wait for its end:"),
        (Change::NotFound, missing),
    ];
    let done: Vec<Change> =
        answer.jobs.iter().map(|job| job.change).filter(|change| !is_unchanged(*change)).collect();
    let mixed = done.iter().any(|change| Some(change) != done.first());
    // The answer lists only the first of many jobs, but counts all of them.
    let unnamed = answer.affected.saturating_sub(done.len() as u64);
    for (change, word) in words {
        let ids: Vec<String> = answer
            .jobs
            .iter()
            .filter(|job| job.change == change)
            .map(|job| match job.status {
                Some(status) if is_unchanged(change) => format!("{} ({})", job.id, status.words()),
                _ => job.id.to_string(),
            })
            .collect();
        match ids.len() {
            0 => {}
            1..=10 => text.push_str(&format!("{word} {}\n", ids.join(", "))),
            count => {
                let more = if is_unchanged(change) || mixed { 0 } else { unnamed };
                text.push_str(&format!("{word} {} jobs\n", count as u64 + more));
            }
        }
    }
    if subject == Subject::DeadLetters && done.contains(&Change::Deleted) {
        let note = match answer.affected {
            1 => "the job stays; `orx show` and `orx retry` find it",
            _ => "the jobs stay; `orx show` and `orx retry` find them",
        };
        text.push_str(&format!("{note}\n"));
    }
    if mixed && unnamed > 0 {
        text.push_str(&format!("changed {} jobs in all\n", answer.affected));
    }
    if text.is_empty() && !answer.dry_run {
        text.push_str("nothing changed\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use orx_model::JobId;

    use super::*;

    fn answer(changes: &[Change], affected: u64) -> ChangeAnswer {
        let changed =
            |(id, change): (i64, &Change)| Changed { id: JobId(id), change: *change, status: None };
        ChangeAnswer {
            v: 1,
            dry_run: false,
            affected,
            jobs: (5..).zip(changes).map(changed).collect(),
            rest: None,
        }
    }

    #[test]
    fn removing_dead_letters_reports_what_was_removed_and_that_the_jobs_stay() {
        use Change::{Deleted, NotFound};
        let both = answer_text(&answer(&[Deleted, Deleted, NotFound], 2), Subject::DeadLetters);
        assert_eq!(
            both,
            "removed the dead letter of 5, 6\nno dead letter: 7\n\
             the jobs stay; `orx show` and `orx retry` find them\n"
        );
        let many = answer_text(&answer(&[Deleted; 20], 1_200), Subject::DeadLetters);
        assert!(many.starts_with("removed the dead letter of 1200 jobs\n"), "{many}");
        let none = answer_text(&answer(&[NotFound], 0), Subject::DeadLetters);
        assert_eq!(none, "no dead letter: 5\n");
    }
}
