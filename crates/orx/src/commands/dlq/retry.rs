//! `orx dlq retry`: runs the jobs of dead letters again, perhaps a few of them first, or slowly.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use orx_model::limits::PAGE_ROWS;
use orx_model::wire::{ChangeAnswer, ChangeRequest, ListQuery, Rest};
use orx_model::{Code, Job, JobId, JobStatus, Problem};

use super::{DeadLetterSelection, Session, selection_request};
use crate::commands::change::{Subject, confirmed, report, send_in_chunks};
use crate::commands::connection_notes;
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
    /// Retry at most this many a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
}

pub(crate) async fn run(args: RetryArgs, session: &Session) -> Result<Exit, CliError> {
    let request = selection_request(&args.selection, session).await?;
    let call = |chunk| async move { session.client.retry_dead(&chunk).await };
    let dry_run = |request| send_in_chunks(request, call);
    let verb = match args.canary {
        Some(first) => format!("retry {first} first, and if all complete the rest of"),
        None => "retry".to_owned(),
    };
    if !confirmed(&args.selection.change, session, &request, &verb, dry_run).await? {
        return Ok(Exit::Success);
    }
    if request.dry_run || (args.canary.is_none() && args.rate.is_none()) {
        return report(session, &send_in_chunks(request, call).await?, Subject::Jobs).await;
    }
    // Refuses more than `max_affected` before the first job changes.
    send_in_chunks(ChangeRequest { dry_run: true, ..request.clone() }, call).await?;
    let mut letters = letters(session, &request).await?;
    let mut answer = ChangeAnswer {
        v: orx_model::wire::V,
        dry_run: false,
        affected: 0,
        jobs: Vec::new(),
        rest: None,
    };
    if let Some(first) = args.canary {
        let rest = letters.split_off(letters.len().min(first as usize));
        let canaries = ChangeRequest { filter: None, ids: letters, ..request.clone() };
        if !canaries.ids.is_empty() {
            answer = call(canaries.clone()).await?;
            let ended = ends(session, &canaries.ids, args.canary_timeout).await?;
            check(&canaries.ids, &ended, rest.len(), args.canary_timeout)?;
        }
        letters = rest;
    }
    let every = args.rate.map_or(usize::MAX, |rate| rate as usize);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut left = letters.as_slice();
    while !left.is_empty() {
        let (now, later) = left.split_at(left.len().min(every));
        if args.rate.is_some() {
            second.tick().await;
        }
        let part = ChangeRequest {
            filter: None,
            ids: now.to_vec(),
            max_affected: None,
            ..request.clone()
        };
        match send_in_chunks(part, call).await {
            Ok(part) => {
                answer.affected += part.affected;
                answer.jobs.extend(part.jobs);
                answer.rest = part.rest.map(|rest| and_later(rest, later));
            }
            Err(error) if answer.affected == 0 => return Err(error),
            Err(error) => {
                let problem = Problem::new(Code::Unavailable, error.message);
                let rest = Rest { problem, count: now.len() as u64, jobs: now.to_vec() };
                answer.rest = Some(and_later(rest, later));
            }
        }
        if answer.rest.is_some() {
            break;
        }
        left = later;
    }
    report(session, &answer, Subject::Jobs).await
}

fn and_later(mut rest: Rest, later: &[JobId]) -> Rest {
    rest.count += later.len() as u64;
    rest.jobs.extend(later);
    rest
}

/// The dead letters of a request, the oldest jobs first.
async fn letters(session: &Session, request: &ChangeRequest) -> Result<Vec<JobId>, CliError> {
    if request.filter.is_none() {
        let mut ids = request.ids.clone();
        ids.sort_unstable();
        ids.dedup();
        return Ok(ids);
    }
    let mut query = ListQuery {
        filter: request.filter.clone(),
        limit: Some(PAGE_ROWS as u32),
        oldest_first: Some(true),
        ..ListQuery::default()
    };
    let mut ids = Vec::new();
    loop {
        let page = session.client.dead_letters(&query).await?;
        ids.extend(page.dead_letters.iter().map(|letter| letter.job.id));
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(ids);
        }
    }
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
fn check(
    canaries: &[JobId],
    ended: &[Job],
    rest: usize,
    timeout: Duration,
) -> Result<(), CliError> {
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
