//! Waiting for jobs.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use orx_model::{Job, JobStatus};

use super::{
    FilterArgs, JobRef, Session, exit_of, link_note, matching, not_in_time, references, resume,
};
use crate::error::{CliError, Exit};
use crate::state::StateDir;

/// Wait until jobs have ended, and end with their code
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::WAIT)]
pub(crate) struct Args {
    /// Jobs: `1423`, `@last`, `key:…`, or `-` for ids on standard input
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Until they are in this status, or have ended
    #[arg(long = "for", value_name = "STATUS")]
    until: Option<JobStatus>,
    /// Until one of them is there
    #[arg(long)]
    any: bool,
    /// Give up after this time; else it waits on, also for the next server where one has gone
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    timeout: Option<Duration>,
}

impl Args {
    /// What to say when the wait is broken off.
    pub(crate) fn resume(&self, state: &StateDir) -> String {
        resume("wait", "waits for", &self.jobs, state)
    }
}

/// Long polls open at once.
const AT_ONCE: usize = 32;

pub(crate) async fn run(args: Args, session: &Session) -> Result<Exit, CliError> {
    let jobs = references(session, &args.jobs)?;
    let jobs = match (jobs.is_empty(), args.filter.expression(&session.ui)?) {
        (false, None) => jobs,
        (true, Some(filter)) => matching(session, filter).await?,
        (true, None) if !args.jobs.is_empty() => return Ok(Exit::Done),
        (true, None) => return Err(CliError::usage("name a job, or give a filter")),
        (false, Some(_)) => return Err(CliError::usage("name jobs, or give a filter, not both")),
    };
    let Some(ended) = crate::within(args.timeout, wait_all(session, &jobs, &args)).await? else {
        return not_in_time(&session.ui, "not there in time; the jobs go on");
    };
    if session.ui.format.is_human() {
        for job in &ended {
            if !session.ui.quiet {
                session.ui.raw(format!("{} {}\n", job.id, job.state.status.words()).as_bytes())?;
            }
        }
    } else {
        let row = |job: &Job| {
            Ok(crate::ui::Row {
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
        ([], _) => Exit::Done,
        ([one], 1) => exit_of(one),
        (missed, _) if missed.iter().all(|job| job.state.status == JobStatus::Cancelled) => {
            Exit::Cancelled
        }
        _ => Exit::Failed,
    })
}

async fn wait_all(session: &Session, jobs: &[JobRef], args: &Args) -> Result<Vec<Job>, CliError> {
    let mut left = jobs.iter();
    let mut waiting = FuturesUnordered::new();
    let mut ended = Vec::new();
    let wait = |job: &JobRef| {
        let text = job.asked();
        async move { session.client.wait(&text, args.until, link_note(&session.ui)).await }
    };
    // To see the first of any, all are watched; else a few at a time, for the others are seen later.
    let at_once = if args.any { jobs.len() } else { AT_ONCE };
    waiting.extend(left.by_ref().take(at_once).map(wait));
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
