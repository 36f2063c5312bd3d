//! `orx dlq retry`: runs the jobs of dead letters again, perhaps a few of them first, or slowly.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use orx_model::wire::{Change, ChangeRequest, ListQuery, OperationAction, OperationRequest};
use orx_model::{Job, JobId, JobStatus};

use super::{DeadLetterSelection, Session, many_letters, selection_request};
use crate::commands::change::{Subject, confirmed, report, send_in_chunks};
use crate::commands::connection_notes;
use crate::commands::operation::{self, ManyArgs};
use crate::error::{CliError, Exit};

/// Canaries at most: each is awaited on its own.
const CANARY_MAX: u32 = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    selection: DeadLetterSelection,
    /// Retry the N oldest first, and the rest only if all of these complete
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(CANARY_MAX)))]
    canary: Option<u32>,
    /// Wait this long for the ends of the first ones
    #[arg(long, value_name = "D", value_parser = crate::duration, default_value = "10m", requires = "canary")]
    canary_timeout: Duration,
    #[command(flatten)]
    many: ManyArgs,
}

pub(crate) async fn run(args: RetryArgs, session: &Session) -> Result<Exit, CliError> {
    let RetryArgs { selection, many, .. } = &args;
    let request = selection_request(selection, session).await?;
    let ask = selection.change.asks_first(&request);
    let Some(first) = args.canary.filter(|_| !request.dry_run) else {
        if many.needs_operation(&request) {
            let request = many_letters(OperationAction::Retry, request, many);
            return operation::start(session, request, ask, many.detach).await;
        }
        let call = |chunk| async move { session.client.retry_dead(&chunk).await };
        let dry_run = |request| send_in_chunks(request, call);
        if !confirmed(&selection.change, session, &request, "retry", dry_run).await? {
            return Ok(Exit::Success);
        }
        return report(session, &send_in_chunks(request, call).await?, Subject::Jobs).await;
    };
    // Refuses more than `max_affected` before the first job changes.
    let whole = many_letters(OperationAction::Retry, request.clone(), many);
    let dry_run = OperationRequest { dry_run: true, ..whole.clone() };
    let found = session.client.start_operation(dry_run).await?.matched.count;
    if found == 0 {
        session.ui.note("no dead letters match, nothing changed");
        return Ok(Exit::Success);
    }
    let question =
        format!("retry {first} of {found} dead letters first, and if they complete the rest?");
    if ask && !session.ui.confirm(&question)? {
        return Ok(Exit::Success);
    }
    let canaries = oldest(session, &request, first).await?;
    let named = ChangeRequest { filter: None, ids: canaries.clone(), ..request };
    let answer = session.client.retry_dead(&named).await?;
    let retried = answer.jobs.iter().filter(|job| job.change == Change::Retried);
    let retried: Vec<JobId> = retried.map(|job| job.id).collect();
    let rest = found.saturating_sub(canaries.len() as u64);
    let ended = ends(session, &retried, args.canary_timeout).await?;
    check(&retried, &ended, rest, args.canary_timeout)?;
    let mut whole = whole;
    whole.ids.retain(|id| !canaries.contains(id));
    if rest == 0 || (whole.filter.is_none() && whole.ids.is_empty()) {
        return report(session, &answer, Subject::Jobs).await;
    }
    session.ui.note("the first completed; the rest follows");
    operation::start(session, whole, false, many.detach).await
}

/// The first dead letters of a request, the oldest jobs first.
async fn oldest(
    session: &Session,
    request: &ChangeRequest,
    count: u32,
) -> Result<Vec<JobId>, CliError> {
    if request.filter.is_none() {
        let mut ids = request.ids.clone();
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(count as usize);
        return Ok(ids);
    }
    let query = ListQuery {
        filter: request.filter.clone(),
        limit: Some(count),
        oldest_first: Some(true),
        ..ListQuery::default()
    };
    let page = session.client.dead_letters(&query).await?;
    Ok(page.dead_letters.iter().map(|letter| letter.job.id).collect())
}

/// The jobs that ended in time.
async fn ends(session: &Session, jobs: &[JobId], timeout: Duration) -> Result<Vec<Job>, CliError> {
    let named: Vec<String> = jobs.iter().map(ToString::to_string).collect();
    session.ui.note(&format!("retrying {} first; waiting for the end", named.join(", ")));
    let wait = |job: &String| {
        let job = job.clone();
        async move { session.client.wait(&job, None, connection_notes(&session.ui)).await }
    };
    let mut waiting: FuturesUnordered<_> = named.iter().map(wait).collect();
    let late = tokio::time::sleep(timeout);
    tokio::pin!(late);
    let mut ended = Vec::new();
    loop {
        tokio::select! {
            () = &mut late => return Ok(ended),
            job = waiting.next() => match job {
                Some(job) => ended.push(job?),
                None => return Ok(ended),
            },
        }
    }
}

/// # Errors
/// Not all canaries completed: the rest must stay.
fn check(canaries: &[JobId], ended: &[Job], rest: u64, timeout: Duration) -> Result<(), CliError> {
    let failed = |id: &JobId| {
        let Some(job) = ended.iter().find(|job| job.id == *id) else {
            let timeout = orx_model::time::format_duration(timeout);
            return Some(format!("{id} has not ended after {timeout}"));
        };
        if job.state.status == JobStatus::Completed {
            return None;
        }
        let error = job.state.error.as_deref().unwrap_or_default();
        let error = error.lines().next().unwrap_or_default();
        let words = job.state.status.words();
        Some(if error.is_empty() {
            format!("{id} {words}")
        } else {
            format!("{id} {words}: {error}")
        })
    };
    let failed: Vec<String> = canaries.iter().filter_map(failed).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let message = format!("{} of {} first jobs did not complete", failed.len(), canaries.len());
    let hint = match rest {
        0 => "`orx logs JOB` shows what a job wrote".to_owned(),
        rest => format!(
            "the other {rest} dead letters are as they were; `orx logs JOB` shows what a job wrote"
        ),
    };
    Err(CliError::new(Exit::Partial, "canary_failed", message).cause(failed.join("; ")).hint(hint))
}
