//! `orx wait`: waits for jobs.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use orx_model::{Job, JobStatus};

use super::{
    FilterArgs, JobReference, Session, connection_notes, exit_of, jobs_and_filter, matching,
    no_job_named, references, resume_note, wait_timed_out,
};
use crate::error::{CliError, Exit};
use crate::state::StateDir;

/// Wait until jobs have ended, and exit with their code
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::WAIT)]
pub(crate) struct WaitArgs {
    /// Jobs: `1423`, `@last`, `key:…`, or `-` for ids on standard input
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Wait until they have reached this status, or have ended
    #[arg(long = "for", value_name = "STATUS")]
    until: Option<JobStatus>,
    /// Wait for one of them, not for all
    #[arg(long)]
    any: bool,
    /// Stop waiting after this time; without it, wait on, across restarts of the server too
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    timeout: Option<Duration>,
}

impl WaitArgs {
    /// The note to print if the wait is interrupted.
    pub(crate) fn resume_note(&self, state: &StateDir) -> String {
        resume_note("wait", "waits for", &self.jobs, state)
    }
}

/// Number of concurrent long polls.
const CONCURRENT_WAITS: usize = 32;

pub(crate) async fn run(args: WaitArgs, session: &Session) -> Result<Exit, CliError> {
    let jobs = references(session, &args.jobs)?;
    let jobs = match (jobs.is_empty(), args.filter.expression(&session.ui)?) {
        (false, None) => jobs,
        (true, Some(filter)) => matching(session, filter).await?,
        (true, None) if !args.jobs.is_empty() => return Ok(Exit::Success),
        (true, None) => return Err(no_job_named()),
        (false, Some(_)) => return Err(jobs_and_filter()),
    };
    let Some(ended) = crate::within(args.timeout, wait_all(session, &jobs, &args)).await? else {
        return wait_timed_out(&session.ui, "`--timeout` has passed; the jobs continue");
    };
    if session.ui.format.is_human() {
        for job in &ended {
            if !session.ui.quiet {
                session.ui.raw(format!("{} {}\n", job.id, job.state.status.words()).as_bytes())?;
            }
        }
    } else {
        let row = |job: &Job| {
            Ok(crate::ui::ListRow {
                json: serde_json::to_value(job)?,
                cells: vec![
                    crate::ui::Cell::new(job.id.to_string()),
                    crate::ui::Cell::new(job.state.status.as_str()),
                ],
                id: job.id.to_string(),
            })
        };
        let rows: Result<Vec<_>, CliError> = ended.iter().map(row).collect();
        session.ui.list(&[("ID", false), ("STATUS", false)], &rows?)?;
    }
    let reached = |job: &Job| {
        args.until == Some(job.state.status) || job.state.status == JobStatus::Completed
    };
    let missed: Vec<&Job> = ended.iter().filter(|job| !reached(job)).collect();
    Ok(match (missed.as_slice(), ended.len()) {
        ([], _) => Exit::Success,
        ([one], 1) => exit_of(one),
        (missed, _) if missed.iter().all(|job| job.state.status == JobStatus::Cancelled) => {
            Exit::Cancelled
        }
        _ => Exit::Failed,
    })
}

async fn wait_all(
    session: &Session,
    jobs: &[JobReference],
    args: &WaitArgs,
) -> Result<Vec<Job>, CliError> {
    let mut left = jobs.iter();
    let mut waiting = FuturesUnordered::new();
    let mut ended = Vec::new();
    let wait = |job: &JobReference| {
        let text = job.api_text();
        async move { session.client.wait(&text, args.until, connection_notes(&session.ui)).await }
    };
    // With `--any` all are awaited at once, because any of them may be the first. Without it a few
    // at a time are enough: a job that ends early is seen when its turn comes.
    let concurrent = if args.any { jobs.len() } else { CONCURRENT_WAITS };
    waiting.extend(left.by_ref().take(concurrent).map(wait));
    while let Some(job) = waiting.next().await {
        ended.push(job?);
        if args.any {
            break;
        }
        waiting.extend(left.next().map(wait));
    }
    ended.sort_by_key(|job| job.id);
    Ok(ended)
}
