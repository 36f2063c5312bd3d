//! Cancel and retry: named jobs, or all that match a filter.

use orx_client::ClientError;
use orx_model::wire::{Change, ChangeAnswer, ChangeRequest, Changed, Rest};
use orx_model::{Code, Problem};

use super::{FilterArgs, Session, references};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Format, Row};

/// Which jobs, and how carefully.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Jobs: `1423`, `@last`, `key:…`, or `-` for ids on standard input
    #[arg(value_name = "JOB")]
    pub(crate) jobs: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Why, for whoever looks later
    #[arg(long, value_name = "R")]
    pub(crate) reason: Option<String>,
    /// Change nothing; say what would be
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Change nothing if it would be more than this
    #[arg(long, value_name = "N")]
    pub(crate) max_affected: Option<u64>,
    /// Do not ask
    #[arg(short = 'y', long)]
    pub(crate) yes: bool,
}

/// Cancel jobs
///
/// What waits never starts. What runs gets SIGTERM, then SIGKILL after the worker's grace; if it
/// succeeds first, that counts.
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::CANCEL)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    change: Args,
    /// Record it at once, without waiting for the worker
    #[arg(long)]
    force: bool,
}

/// Run jobs again that have ended, with a new budget of retries
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::RETRY)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    change: Args,
}

pub(crate) async fn cancel(args: CancelArgs, session: &Session) -> Result<Exit, CliError> {
    let mut request = request(&args.change, session, "cancel").await?;
    request.force = args.force;
    let call = |piece| async move { session.client.cancel(&piece).await };
    if !careful(&args.change, session, &request, "cancel", |dry| in_pieces(dry, call)).await? {
        return Ok(Exit::Done);
    }
    report(session, &in_pieces(request, call).await?, Subject::Jobs).await
}

pub(crate) async fn retry(args: RetryArgs, session: &Session) -> Result<Exit, CliError> {
    let request = request(&args.change, session, "retry").await?;
    let call = |piece| async move { session.client.retry(&piece).await };
    if !careful(&args.change, session, &request, "retry", |dry| in_pieces(dry, call)).await? {
        return Ok(Exit::Done);
    }
    report(session, &in_pieces(request, call).await?, Subject::Jobs).await
}

/// Ids of one request: far from what a body may be.
const PIECE: usize = 10_000;

/// Asks for a change of many named jobs piece by piece. What fails in the middle keeps nothing of
/// what was answered before from being told, and the rest is named.
pub(crate) async fn in_pieces<F>(
    mut request: ChangeRequest,
    call: impl Fn(ChangeRequest) -> F,
) -> Result<ChangeAnswer, CliError>
where
    F: Future<Output = Result<ChangeAnswer, ClientError>>,
{
    if request.ids.len() <= PIECE {
        return Ok(call(request).await?);
    }
    let mut seen = std::collections::HashSet::new();
    request.ids.retain(|id| seen.insert(*id));
    let ids = std::mem::take(&mut request.ids);
    // Of all of them, not of each piece.
    if let Some(most) = request.max_affected.take().filter(|most| ids.len() as u64 > *most) {
        let detail = format!("this would change {} jobs, at most {most} are allowed", ids.len());
        let problem = Problem::new(Code::TooMany, detail);
        return Err(problem.hint("nothing was changed; raise `--max-affected`").into());
    }
    let mut whole: Option<ChangeAnswer> = None;
    for (place, piece) in ids.chunks(PIECE).enumerate() {
        let after = (place * PIECE + piece.len()).min(ids.len());
        let answer = call(ChangeRequest { ids: piece.to_vec(), ..request.clone() }).await;
        let cut = match (answer, &mut whole) {
            (Ok(mut answer), whole) => {
                let rest = answer.rest.take();
                match whole {
                    Some(whole) => {
                        whole.affected += answer.affected;
                        whole.jobs.extend(answer.jobs);
                    }
                    None => *whole = Some(answer),
                }
                rest.map(|rest| (rest.problem, rest.jobs))
            }
            (Err(error), None) => return Err(error.into()),
            (Err(ClientError::Problem(problem)), Some(_)) => Some((*problem, piece.to_vec())),
            (Err(error), Some(_)) => {
                Some((Problem::new(Code::Unavailable, error.to_string()), piece.to_vec()))
            }
        };
        if let (Some((problem, mut jobs)), Some(whole)) = (cut, &mut whole) {
            jobs.extend(&ids[after..]);
            whole.rest = Some(Rest { problem, count: jobs.len() as u64, jobs });
            break;
        }
    }
    whole.ok_or_else(|| CliError::usage("no jobs were named"))
}

/// Jobs that a question or a dry run names.
const SAMPLE: usize = 5;

/// The request that the arguments make.
pub(crate) async fn request(
    args: &Args,
    session: &Session,
    verb: &str,
) -> Result<ChangeRequest, CliError> {
    let mut ids = Vec::new();
    for job in references(session, &args.jobs)? {
        ids.push(job.id(&session.client).await?);
    }
    let filter = args.filter.expression(&session.ui)?;
    match (ids.is_empty(), &filter) {
        (true, None) if args.jobs.is_empty() => {
            return Err(CliError::usage(format!("name jobs to {verb}, or give a filter")));
        }
        (false, Some(_)) => {
            return Err(CliError::usage("name jobs, or give a filter, not both"));
        }
        _ => {}
    }
    Ok(ChangeRequest {
        ids,
        filter,
        reason: args.reason.clone(),
        dry_run: args.dry_run,
        max_affected: args.max_affected,
        ..ChangeRequest::default()
    })
}

/// With a filter, or many ids from standard input, asks first. Answers whether to go on.
pub(crate) async fn careful<F>(
    args: &Args,
    session: &Session,
    request: &ChangeRequest,
    verb: &str,
    dry_run: impl Fn(ChangeRequest) -> F,
) -> Result<bool, CliError>
where
    F: Future<Output = Result<ChangeAnswer, CliError>>,
{
    if request.ids.is_empty() && request.filter.is_none() {
        session.ui.note("nothing named, nothing changed");
        return Ok(false);
    }
    let many =
        request.filter.is_some() || (request.ids.len() > 1 && args.jobs.contains(&"-".into()));
    if args.dry_run || args.yes || !many {
        return Ok(true);
    }
    let would = dry_run(ChangeRequest { dry_run: true, ..request.clone() }).await?;
    if would.affected == 0 {
        session.ui.note("no jobs match, nothing changed");
        return Ok(false);
    }
    let first: Vec<String> = sample(&would).map(|job| job.id.to_string()).collect();
    let more = if would.affected > first.len() as u64 { " …" } else { "" };
    // An answer names the first of many only, none of which need be one that would change.
    let named =
        if first.is_empty() { String::new() } else { format!(" ({}{more})", first.join(", ")) };
    session.ui.confirm(&format!("{verb} {}{named}?", counted(would.affected)))
}

/// The first of those that a dry run would change.
fn sample(answer: &ChangeAnswer) -> impl Iterator<Item = &Changed> {
    answer.jobs.iter().filter(|job| job.change == Change::Would).take(SAMPLE)
}

fn counted(jobs: u64) -> String {
    if jobs == 1 { "1 job".to_owned() } else { format!("{jobs} jobs") }
}

/// What a command changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Jobs,
    /// Removing a dead letter leaves its job.
    DeadLetters,
}

/// How many would change, and some of them.
async fn would_change(session: &Session, answer: &ChangeAnswer, subject: Subject) -> String {
    let mut text = match subject {
        Subject::Jobs => format!("would change {}\n", counted(answer.affected)),
        Subject::DeadLetters => format!("would remove {}\n", letters(answer.affected)),
    };
    let mut shown = 0;
    for job in sample(answer) {
        shown += 1;
        // One that is forgotten meanwhile has no name any more.
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

/// In the place of what became of a job, where a change was cut short.
const NOT_KNOWN: &str = "not_known";

/// What became of each.
pub(crate) async fn report(
    session: &Session,
    answer: &ChangeAnswer,
    subject: Subject,
) -> Result<Exit, CliError> {
    let ui = &session.ui;
    if ui.format.is_human() {
        if !ui.quiet {
            if answer.dry_run {
                ui.raw(would_change(session, answer, subject).await.as_bytes())?;
            }
            ui.raw(in_words(answer, subject).as_bytes())?;
        }
    } else if ui.format == Format::Json {
        ui.one(answer, "", &[])?;
    } else {
        let row = |changed: &Changed| -> Result<Row, CliError> {
            let json = serde_json::to_value(changed)?;
            let word = |name: &str| Cell::new(json[name].as_str().unwrap_or_default());
            let (change, status) = (word("change"), word("status"));
            let id = changed.id.to_string();
            Ok(Row { cells: vec![Cell::new(id.clone()), change, status], id, json })
        };
        let rows: Result<Vec<Row>, CliError> = answer.jobs.iter().map(row).collect();
        let mut rows = rows?;
        for id in answer.rest.iter().flat_map(|rest| &rest.jobs) {
            let json = serde_json::json!({"id": id, "change": NOT_KNOWN});
            let id = id.to_string();
            let cells = vec![Cell::new(id.clone()), Cell::new(NOT_KNOWN), Cell::new("")];
            rows.push(Row { cells, id, json });
        }
        ui.list(&[("ID", false), ("CHANGE", false), ("STATUS", false)], &rows)?;
    }
    if let Some(rest) = &answer.rest {
        let named: Vec<String> = rest.jobs.iter().take(10).map(ToString::to_string).collect();
        let more = if rest.count > named.len() as u64 { " …" } else { "" };
        let (jobs, named) = (counted(rest.count), named.join(", "));
        let why = &rest.problem.detail;
        ui.warn(&format!("cut short, {jobs} not tried or not known ({named}{more}): {why}"));
        return Ok(Exit::Partial);
    }
    let left = answer.jobs.iter().filter(|job| is_left(job.change)).count();
    let missing = answer.jobs.iter().filter(|job| job.change == Change::NotFound).count();
    Ok(match (answer.affected, left) {
        (_, 0) => Exit::Done,
        (0, _) if missing == answer.jobs.len() => Exit::NotFound,
        (0, _) => Exit::Conflict,
        _ => Exit::Partial,
    })
}

fn is_left(change: Change) -> bool {
    match change {
        Change::AlreadyFinal | Change::NotInState | Change::NotFound => true,
        Change::Cancelled
        | Change::Cancelling
        | Change::Retried
        | Change::Deleted
        | Change::Would => false,
    }
}

fn in_words(answer: &ChangeAnswer, subject: Subject) -> String {
    let mut text = String::new();
    let missing = match subject {
        Subject::Jobs => "not found:",
        Subject::DeadLetters => "no dead letter:",
    };
    let words = [
        (Change::Cancelled, "cancelled"),
        (Change::Cancelling, "cancelling"),
        (Change::Retried, "retrying"),
        (Change::Deleted, "removed the dead letter of"),
        (Change::AlreadyFinal, "left, already ended:"),
        (Change::NotInState, "left, not in a state for it:"),
        (Change::NotFound, missing),
    ];
    let done: Vec<Change> =
        answer.jobs.iter().map(|job| job.change).filter(|change| !is_left(*change)).collect();
    let mixed = done.iter().any(|change| Some(change) != done.first());
    // The answer names the first of many; its count is of all.
    let unnamed = answer.affected.saturating_sub(done.len() as u64);
    for (change, word) in words {
        let ids: Vec<String> = answer
            .jobs
            .iter()
            .filter(|job| job.change == change)
            .map(|job| match job.status {
                Some(status) if is_left(change) => format!("{} ({})", job.id, status.words()),
                _ => job.id.to_string(),
            })
            .collect();
        match ids.len() {
            0 => {}
            1..=10 => text.push_str(&format!("{word} {}\n", ids.join(", "))),
            count => {
                let more = if is_left(change) || mixed { 0 } else { unnamed };
                text.push_str(&format!("{word} {} jobs\n", count as u64 + more));
            }
        }
    }
    if done.contains(&Change::Deleted) {
        let kept = match answer.affected {
            1 => "the job stays: `orx show` and `orx retry` find it",
            _ => "the jobs stay: `orx show` and `orx retry` find them",
        };
        text.push_str(&format!("{kept}\n"));
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
    fn removing_dead_letters_says_what_went_and_that_the_jobs_stay() {
        use Change::{Deleted, NotFound};
        let both = in_words(&answer(&[Deleted, Deleted, NotFound], 2), Subject::DeadLetters);
        assert_eq!(
            both,
            "removed the dead letter of 5, 6\nno dead letter: 7\n\
             the jobs stay: `orx show` and `orx retry` find them\n"
        );
        let many = in_words(&answer(&[Deleted; 20], 1_200), Subject::DeadLetters);
        assert!(many.starts_with("removed the dead letter of 1200 jobs\n"), "{many}");
        let none = in_words(&answer(&[NotFound], 0), Subject::DeadLetters);
        assert_eq!(none, "no dead letter: 5\n");
    }
}
