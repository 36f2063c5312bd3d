//! What is read of jobs.

use orx_model::filter::Filter;
use orx_model::job::DeadReason;
use orx_model::message::ExecutionRef;
use orx_model::settle::ALONE_FROM;
use orx_model::wire::{Count, StatusCounts};
use orx_model::{
    Attempt, AttemptStatus, ExecutionId, Incarnation, Job, JobId, JobStatus, Name, Timestamp,
};
use sqlx::postgres::PgRow;
use tokio::time::{Instant, timeout_at};

use super::call::Kind;
use super::row::{self, Columns, JOB};
use super::trouble::{Done, Trouble};
use super::{Inner, sql};
use crate::plan::{self, SCAN_MAX, Statuses};
use crate::words::status_code;
use crate::{DeadLetterRow, Holder, ListRequest, Live, Page};

/// Jobs read at once while a filter is asked of them, at first and at most.
const PAGE_ROWS: (u64, u64) = (64, 2_000);

impl Inner {
    pub(super) async fn job(&self, id: JobId) -> Done<Option<Job>> {
        self.one_job(&format!("{JOB} WHERE j.id = :id"), &[("id", sql::int(id.0))]).await
    }

    pub(super) async fn jobs(&self, ids: &[JobId]) -> Done<Vec<Job>> {
        let query = format!("{JOB} WHERE j.id = any(:ids) ORDER BY j.id");
        let message = sql::fill(&query, &[("ids", sql::ints(ids.iter().map(|id| id.0)))]);
        self.rows(Kind::Read, message).await?.iter().map(row::job_or_stub).collect()
    }

    pub(super) async fn job_by_key(&self, key: &str) -> Done<Option<Job>> {
        let query = format!("{JOB} WHERE j.id = (SELECT job FROM keys WHERE key = :key)");
        self.one_job(&query, &[("key", sql::text(key))]).await
    }

    async fn one_job(&self, query: &str, values: &[(&str, String)]) -> Done<Option<Job>> {
        let rows = self.rows(Kind::Read, sql::fill(query, values)).await?;
        rows.first().map(row::job_or_stub).transpose()
    }

    pub(super) async fn attempts(&self, id: JobId) -> Done<Vec<Attempt>> {
        let values = [
            ("job", sql::int(id.0)),
            ("running", sql::text(AttemptStatus::Running.as_str())),
            ("dispatched", sql::text(AttemptStatus::Dispatched.as_str())),
        ];
        let message = sql::fill(include_str!("attempts.sql"), &values);
        row::readable("an attempt", &self.rows(Kind::Read, message).await?, row::attempt)
    }

    /// `None` where too many jobs would have to be looked at.
    pub(super) async fn list(
        &self,
        request: &ListRequest,
        now: Timestamp,
    ) -> Done<Option<Page<Job>>> {
        let limit = request.limit as usize;
        let mut rows: Vec<Job> = Vec::new();
        let mut more = false;
        let take = |job: Job| {
            if request.filter.matches(&job, now) {
                more = rows.len() == limit;
                if !more {
                    rows.push(job);
                }
            }
            !more
        };
        let ListRequest { filter, oldest_first, after, .. } = request;
        let first = u64::from(request.limit) + 1;
        let ended = self.scan(filter, *oldest_first, *after, first, take).await?;
        // A full page stands, also where it was not found out whether another row follows.
        if !ended && rows.len() < limit {
            return Ok(None);
        }
        let next = rows.last().filter(|_| more || !ended).map(|job| job.id);
        Ok(Some(Page { rows, next }))
    }

    /// `None` where too many jobs would have to be looked at.
    pub(super) async fn count_jobs(
        &self,
        filter: &Filter,
        most: u64,
        now: Timestamp,
    ) -> Done<Option<Count>> {
        if plan::is_counted(filter) {
            let count = plan::counted(filter, &self.queue_counts().await?);
            return Ok(Some(Count { count: count.min(most), exact: count <= most }));
        }
        let mut count = 0;
        let take = |job: Job| {
            count += u64::from(filter.matches(&job, now));
            count <= most
        };
        let ended = self.scan(filter, false, None, PAGE_ROWS.1, take).await?;
        let known = ended || count > most;
        Ok(known.then_some(Count { count: count.min(most), exact: count <= most }))
    }

    /// Gives every job that may match to `take`, by id, until it says `false`. Answers whether all
    /// were given or `take` had enough, rather than [`SCAN_MAX`] or the deadline reached.
    ///
    /// Page by page, each from where the last one ended: no cursor is held, and a job that comes
    /// meanwhile is seen or not, as it happens.
    async fn scan(
        &self,
        filter: &Filter,
        oldest_first: bool,
        after: Option<JobId>,
        first: u64,
        mut take: impl FnMut(Job) -> bool,
    ) -> Done<bool> {
        let until = Instant::now() + self.options.read_deadline;
        let (mut after, mut seen) = (after, 0);
        let mut limit = first.clamp(PAGE_ROWS.0, PAGE_ROWS.1);
        loop {
            let limited = limit.min(SCAN_MAX - seen);
            let Some(message) = page(filter, oldest_first, after, limited) else {
                return Ok(true);
            };
            let rows = match timeout_at(until, self.rows(Kind::Read, message)).await {
                Ok(Err(Trouble::Busy | Trouble::Late)) | Err(_) => return Ok(false),
                Ok(rows) => rows?,
            };
            for row in &rows {
                let job = row::job_or_stub(row)?;
                after = Some(job.id);
                if !take(job) {
                    return Ok(true);
                }
            }
            seen += rows.len() as u64;
            if (rows.len() as u64) < limited {
                return Ok(true);
            }
            if seen >= SCAN_MAX {
                return Ok(false);
            }
            limit = PAGE_ROWS.1;
        }
    }

    pub(super) async fn queue_counts(&self) -> Done<Vec<(Name, StatusCounts)>> {
        let message = include_str!("queue_counts.sql").to_owned();
        let mut queues: Vec<(Name, StatusCounts)> = Vec::new();
        for row in &self.rows(Kind::Read, message).await? {
            let row = Columns(row);
            let Ok(name) = row.name(0) else { continue };
            if queues.last().is_none_or(|(last, _)| *last != name) {
                queues.push((name, StatusCounts::default()));
            }
            if let (Some((_, counts)), Some(_)) = (queues.last_mut(), row.optional_int(1)?) {
                *counts.slot(row.status(1)?) = row.unsigned(2)?;
            }
        }
        Ok(queues)
    }

    pub(super) async fn oldest_due(&self) -> Done<Vec<(Name, Timestamp)>> {
        let rows = self.rows(Kind::Read, include_str!("oldest_due.sql").to_owned()).await?;
        row::readable("a queue", &rows, |row| Ok((Columns(row).name(0)?, Columns(row).time(1)?)))
    }

    pub(super) async fn next_due(&self) -> Done<Option<Timestamp>> {
        let rows = self.rows(Kind::Read, include_str!("next_due.sql").to_owned()).await?;
        Ok(rows.first().map(|row| Columns(row).optional_time(0)).transpose()?.flatten())
    }

    pub(super) async fn live_attempts(&self) -> Done<Vec<Live>> {
        // `status <> 5` names the index.
        let message = format!("{LIVE} where status in (3, 4) and status <> 5 order by id");
        row::readable("a live attempt", &self.rows(Kind::Read, message).await?, live)
    }

    pub(super) async fn live_attempts_of(&self, workers: &[Incarnation]) -> Done<Vec<Live>> {
        let query = format!("{LIVE} where worker = any(:workers) order by id");
        let workers = sql::ids(workers.iter().map(|worker| worker.0));
        let message = sql::fill(&query, &[("workers", workers)]);
        row::readable("a live attempt", &self.rows(Kind::Read, message).await?, live)
    }

    pub(super) async fn holders(&self, executions: &[ExecutionRef]) -> Done<Vec<Option<Holder>>> {
        let values = [
            ("jobs", sql::ints(executions.iter().map(|of| of.job.0))),
            ("executions", sql::ids(executions.iter().map(|of| of.execution.0))),
        ];
        let message = sql::fill(include_str!("holders.sql"), &values);
        let holder = |row| {
            let row = Columns(row);
            match row.optional_id(0)? {
                Some(worker) => {
                    Ok(Some(Holder { worker: Incarnation(worker), attempt: row.count(1)? }))
                }
                None => Ok(None),
            }
        };
        self.rows(Kind::Read, message).await?.iter().map(holder).collect()
    }

    pub(super) async fn dead_letters(
        &self,
        after: Option<JobId>,
        limit: u32,
    ) -> Done<Page<DeadLetterRow>> {
        let query = format!(
            "{JOB} WHERE j.dead IS NOT NULL AND j.id < :after ORDER BY j.id DESC LIMIT :limit"
        );
        let values = [
            ("after", sql::int(after.map_or(i64::MAX, |after| after.0))),
            ("limit", sql::int(i64::from(limit) + 1)),
        ];
        let rows = self.rows(Kind::Read, sql::fill(&query, &values)).await?;
        let mut letters = Vec::new();
        for row in &rows {
            let job = row::job_or_stub(row)?;
            let at = Columns(row).time(28).unwrap_or(job.created_at);
            let reason = job.dead.unwrap_or(DeadReason::NotRetryable);
            letters.push(DeadLetterRow { job, reason, at });
        }
        let more = letters.len() > limit as usize;
        letters.truncate(limit as usize);
        let next = letters.last().filter(|_| more).map(|row| row.job.id);
        Ok(Page { rows: letters, next })
    }

    pub(super) async fn dead_letter_count(&self) -> Done<u64> {
        let message = "select count(*) from jobs where dead is not null".to_owned();
        let rows = self.rows(Kind::Read, message).await?;
        Ok(rows.first().map(|row| Columns(row).unsigned(0)).transpose()?.unwrap_or(0))
    }
}

/// A page of jobs that may match, by id. `None`: nothing matches.
fn page(filter: &Filter, oldest_first: bool, after: Option<JobId>, limit: u64) -> Option<String> {
    let ids = ids(filter, oldest_first, after, limit)?;
    let order = if oldest_first { "ASC" } else { "DESC" };
    Some(format!("{JOB} WHERE j.id IN ({ids}) ORDER BY j.id {order}"))
}

pub(super) fn ids(
    filter: &Filter,
    oldest_first: bool,
    after: Option<JobId>,
    limit: u64,
) -> Option<String> {
    let order = if oldest_first { "ASC" } else { "DESC" };
    let and = plan::conditions(filter, oldest_first, after, &mut Written);
    let end = format!("ORDER BY id {order} LIMIT {limit}");
    Some(match plan::statuses(filter) {
        Statuses::None => return None,
        Statuses::Any => format!("SELECT id FROM jobs WHERE true{and} {end}"),
        Statuses::Many(statuses) => {
            let codes: Vec<String> =
                statuses.iter().map(|status| status_code(*status).to_string()).collect();
            format!("SELECT id FROM jobs WHERE status IN ({}){and} {end}", codes.join(", "))
        }
        // Each in its order; so many of each are enough.
        Statuses::Few(statuses) => {
            let part = |status: &JobStatus| {
                let code = status_code(*status);
                format!("(SELECT id FROM jobs WHERE status = {code} AND status <> 5{and} {end})")
            };
            let parts: Vec<String> = statuses.iter().map(part).collect();
            format!("SELECT id FROM ({}) parts {end}", parts.join(" UNION ALL "))
        }
    })
}

/// Values in the statement itself.
struct Written;

impl plan::Values for Written {
    fn int(&mut self, value: i64) -> String {
        sql::int(value)
    }

    fn float(&mut self, value: f64) -> String {
        sql::float(value)
    }

    fn text(&mut self, value: &str) -> String {
        sql::text(value)
    }
}

const LIVE: &str = "select id, attempt, execution, worker, status, claimed_at, started_at, \
     timeout_ms, deadline, cancel_at, server_lost from jobs";

fn live(row: &PgRow) -> Done<Live> {
    let row = Columns(row);
    Ok(Live {
        job: row.job(0)?,
        attempt: row.count(1)?,
        execution: ExecutionId(row.id(2)?),
        worker: row.incarnation(3)?,
        status: row.status(4)?,
        claimed_at: row.time(5)?,
        started_at: row.optional_time(6)?,
        timeout_ms: row.optional_int(7)?.and_then(|ms| u64::try_from(ms).ok()),
        deadline: row.optional_time(8)?,
        cancel_requested: row.optional(9)?.is_some(),
        alone: row.count(10)? >= ALONE_FROM,
    })
}
