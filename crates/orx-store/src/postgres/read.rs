//! Reads of jobs: by id, by key, lists, counts, live attempts.

use orx_model::filter::Filter;
use orx_model::message::ExecutionRef;
use orx_model::settle::ALONE_FROM;
use orx_model::wire::{Count, StatusCounts};
use orx_model::{
    Attempt, AttemptStatus, ExecutionId, Incarnation, Job, JobId, JobSummary, Name, Timestamp,
};
use sqlx::postgres::PgRow;
use tokio::time::{Instant, timeout_at};

use super::db_error::{DbError, DbResult};
use super::executor::Kind;
use super::row::{self, COLUMNS, Columns, JOB};
use super::sql::{Statement, Value};
use super::{Inner, sql};
use crate::budget::Reads;
use crate::codec::integer;
use crate::columns::{JobColumn, Row as _};
use crate::filter_pushdown::{self, Dialect, LANES_MAX, LaneRow, Plan, Source, SourceSql};
use crate::walk::{Found, WINDOW_BYTES, Walk, Want, Window};
use crate::{DeadLetterRow, Holder, ListRequest, Live, Page};

impl Inner {
    pub(super) async fn job(&self, id: JobId) -> DbResult<Option<Job>> {
        self.one_job(&format!("{JOB} WHERE j.id = :id"), [("id", sql::int(id.0))]).await
    }

    pub(super) async fn jobs(&self, ids: &[JobId]) -> DbResult<Vec<Job>> {
        let query = format!("{JOB} WHERE j.id = any(:ids) ORDER BY j.id");
        let message = sql::fill(&query, [("ids", sql::ints(ids.iter().map(|id| id.0)))]);
        self.rows(Kind::Scan, message).await?.iter().map(row::job_or_stub).collect()
    }

    pub(super) async fn job_by_key(&self, key: &str) -> DbResult<Option<Job>> {
        let query = format!("{JOB} WHERE j.id = (SELECT job FROM keys WHERE key = :key)");
        self.one_job(&query, [("key", sql::text(key))]).await
    }

    async fn one_job(
        &self,
        query: &str,
        values: [(&'static str, Value); 1],
    ) -> DbResult<Option<Job>> {
        let rows = self.rows(Kind::Read, sql::fill(query, values)).await?;
        rows.first().map(row::job_or_stub).transpose()
    }

    pub(super) async fn attempts(&self, id: JobId) -> DbResult<Vec<Attempt>> {
        let values = [
            ("job", sql::int(id.0)),
            ("running", sql::text(AttemptStatus::Running.as_str())),
            ("dispatched", sql::text(AttemptStatus::Dispatched.as_str())),
        ];
        let message = sql::fill(include_str!("attempts.sql"), values);
        row::readable("an attempt", &self.rows(Kind::Read, message).await?, row::attempt)
    }

    /// `None` if the filter would have to read too many jobs.
    pub(super) async fn list(
        &self,
        request: ListRequest,
        now: Timestamp,
    ) -> DbResult<Option<Page<JobSummary>>> {
        let walk = self.walk(Walk::page(request, now), false).await?;
        Ok(walk.into_page(|found| found.job))
    }

    /// `None` if the filter would have to read too many jobs.
    pub(super) async fn dead_letters(
        &self,
        request: ListRequest,
        now: Timestamp,
    ) -> DbResult<Option<Page<DeadLetterRow>>> {
        let walk = self.walk(Walk::page(request, now), true).await?;
        Ok(walk.into_page(Found::letter))
    }

    /// `None` if the filter would have to read too many jobs.
    pub(super) async fn count_jobs(
        &self,
        filter: Filter,
        most: u64,
        now: Timestamp,
    ) -> DbResult<Option<Count>> {
        if filter_pushdown::is_counted(&filter) {
            let count = filter_pushdown::counted(&filter, &self.queue_counts().await?);
            return Ok(Some(Count { count: count.min(most), exact: count <= most }));
        }
        let walk = self.walk(Walk::count(filter, most, now), false).await?;
        Ok(walk.into_count())
    }

    /// Reads window by window, each from the end of the last one. There is no cursor on the server, and
    /// whether a job that is added meanwhile is included is unspecified.
    async fn walk(&self, mut walk: Walk, dead: bool) -> DbResult<Walk> {
        let until = Instant::now() + self.options.read_deadline;
        let Some(plan) = self.plan(walk.filter(), dead).await? else {
            walk.nothing();
            return Ok(walk);
        };
        while let Some(want) = walk.want() {
            let is_page = want.reads == Reads::Point;
            let statement = match is_page {
                true => page_statement(&plan, &walk, want),
                false => window_statement(&plan, &walk, want),
            };
            let rows = match timeout_at(until, self.rows(Kind::read(want.reads), statement)).await {
                Ok(Err(DbError::Busy | DbError::Late)) | Err(_) => {
                    walk.stop();
                    break;
                }
                Ok(rows) => rows?,
            };
            // Parsing and filtering thousands of rows would block other tasks.
            let fed = tokio::task::spawn_blocking(move || {
                let read = if is_page { page } else { window };
                walk.feed(read(&rows, want, walk.needs_args())?);
                Ok::<Walk, DbError>(walk)
            });
            walk = fed.await.map_err(|error| DbError::Command(error.into()))??;
        }
        Ok(walk)
    }

    /// How to read the jobs of a filter; `None` if no job can match.
    pub(super) async fn plan(&self, filter: &Filter, dead: bool) -> DbResult<Option<Plan>> {
        let lanes = match filter_pushdown::needs_lanes(filter) {
            true => Some(self.lane_rows().await?).filter(|lanes| lanes.len() <= LANES_MAX),
            false => None,
        };
        let counts = match filter_pushdown::needs_counts(filter) {
            true => self.queue_counts().await?,
            false => Vec::new(),
        };
        Ok(filter_pushdown::plan::<InPostgres>(filter, dead, lanes.as_deref(), &counts))
    }

    /// The lanes as they are now, since another node may have added some. One row beyond the limit shows
    /// that there are too many.
    async fn lane_rows(&self) -> DbResult<Vec<LaneRow>> {
        let message = format!(
            "select l.id, q.name, l.handler from lanes l join queues q on q.id = l.queue limit {}",
            LANES_MAX + 1
        );
        let rows = self.rows(Kind::Read, message).await?;
        row::readable("a lane", &rows, |row| {
            let row = Columns(row);
            let handler = Some(row.text(2)?).filter(|handler| !handler.is_empty());
            Ok(LaneRow { id: row.int(0)?, queue: row.text(1)?, handler })
        })
    }

    pub(super) async fn queue_counts(&self) -> DbResult<Vec<(Name, StatusCounts)>> {
        let message = include_str!("queue_counts.sql");
        let mut queues: Vec<(Name, StatusCounts)> = Vec::new();
        for row in &self.rows(Kind::Piece, message).await? {
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

    pub(super) async fn oldest_due(&self) -> DbResult<Vec<(Name, Timestamp)>> {
        let rows = self.rows(Kind::Piece, include_str!("oldest_due.sql")).await?;
        row::readable("a queue", &rows, |row| Ok((Columns(row).name(0)?, Columns(row).time(1)?)))
    }

    pub(super) async fn next_due(&self) -> DbResult<Option<Timestamp>> {
        let rows = self.rows(Kind::Read, include_str!("next_due.sql")).await?;
        Ok(rows.first().map(|row| Columns(row).optional_time(0)).transpose()?.flatten())
    }

    pub(super) async fn live_attempts(&self) -> DbResult<Vec<Live>> {
        // `status <> 5` makes the server use the index `jobs_status`.
        let message = format!("{LIVE} where status in (3, 4) and status <> 5 order by id");
        row::readable("a live attempt", &self.rows(Kind::Piece, message).await?, live)
    }

    pub(super) async fn live_attempts_of(&self, workers: &[Incarnation]) -> DbResult<Vec<Live>> {
        let query = format!("{LIVE} where worker = any(:workers) order by id");
        let workers = sql::ids(workers.iter().map(|worker| worker.0));
        let message = sql::fill(&query, [("workers", workers)]);
        row::readable("a live attempt", &self.rows(Kind::Read, message).await?, live)
    }

    pub(super) async fn holders(
        &self,
        executions: &[ExecutionRef],
    ) -> DbResult<Vec<Option<Holder>>> {
        let values = [
            ("jobs", sql::ints(executions.iter().map(|of| of.job.0))),
            ("executions", sql::ids(executions.iter().map(|of| of.execution.0))),
        ];
        let message = sql::fill(include_str!("holders.sql"), values);
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

    pub(super) async fn dead_letter_count(&self, most: u64) -> DbResult<u64> {
        let message = format!(
            "select count(*) from (select from jobs where dead is not null limit {}) letters",
            integer(most)
        );
        let rows = self.rows(Kind::Piece, message).await?;
        Ok(rows.first().map(|row| Columns(row).unsigned(0)).transpose()?.unwrap_or(0))
    }
}

/// A window of a page: one row per job read, in the order of the page. After the columns of the job come its
/// id and whether its spec fits within the window's bytes. The columns of a job that cannot match are null,
/// and a spec that does not fit is not read.
pub(super) fn page_statement(plan: &Plan, walk: &Walk, want: Want) -> Statement {
    let Statement { text: ids, values } = ids(&plan.sources, walk.oldest_first, want);
    let order = if walk.oldest_first { "asc" } else { "desc" };
    let (columns, spec) = columns(walk);
    let conditions = &plan.conditions;
    let bytes = format!("coalesce(octet_length({spec}), 0)");
    let fits = format!("sum({bytes}) over up_to - {bytes} < {WINDOW_BYTES}");
    let columns = columns.replacen(spec, &format!("case when {fits} then {spec} end"), 1);
    let text = format!(
        "select {columns}, l.id, {fits} \
         from ({ids}) l \
         left join (jobs j left join specs s on s.job = j.id) on j.id = l.id{conditions} \
         window up_to as (order by l.id {order}) order by l.id {order}"
    );
    Statement { text, values }
}

fn page(rows: &[PgRow], want: Want, with_args: bool) -> DbResult<Window> {
    let mut window = Window { found: Vec::new(), looked: 0, last: None, ended: false };
    for row in rows {
        let columns = Columns(row);
        // The next window starts with this job.
        if !columns.bool(COLUMNS + 1)? {
            return Ok(window);
        }
        window.looked += 1;
        window.last = Some(columns.job(COLUMNS)?);
        if !columns.is_null(0)? {
            window.found.push(found(row, with_args)?);
        }
    }
    window.ended = window.looked < want.rows;
    Ok(window)
}

fn found(row: &PgRow, with_args: bool) -> DbResult<Found> {
    let dead_at = Columns(row).optional_time(JobColumn::dead_at).ok().flatten();
    Ok(Found::new(row::job_or_stub(row)?, dead_at, with_args))
}

/// The columns of each job, and the expression for its spec among them.
fn columns(walk: &Walk) -> (&'static str, &'static str) {
    match walk.needs_args() {
        true => (row::WITH_ARGS, "s.spec"),
        false => (row::SUMMARY, "coalesce(s.head, s.spec)"),
    }
}

/// A window of a scan: one row per job that may match. It is one statement, so that the jobs it counts are
/// the jobs it returns. It returns at least one row; the last columns of each are the number of jobs read,
/// the last of them, and the number of matches.
pub(super) fn window_statement(plan: &Plan, walk: &Walk, want: Want) -> Statement {
    let Statement { text: ids, values } = ids(&plan.sources, walk.oldest_first, want);
    let (order, last) = if walk.oldest_first { ("asc", "max") } else { ("desc", "min") };
    let (columns, spec) = columns(walk);
    let conditions = &plan.conditions;
    let text = format!(
        "with looked as materialized ({ids}), \
         matching as materialized ( \
             select j.id from looked l join jobs j on j.id = l.id where true{conditions} \
         ), \
         sized as ( \
             select m.id, coalesce(octet_length({spec}), 0) as bytes \
             from matching m left join specs s on s.job = m.id \
         ), \
         summed as (select id, bytes, sum(bytes) over (order by id {order}) as up_to from sized), \
         taken as materialized (select id from summed where up_to - bytes < {WINDOW_BYTES}) \
         select {columns}, a.looked, a.last, a.matching \
         from ( \
             select (select count(*) from looked) as looked, \
                    (select {last}(id) from looked) as last, \
                    (select count(*) from matching) as matching \
         ) a \
         left join (taken t join jobs j on j.id = t.id left join specs s on s.job = j.id) on true \
         order by j.id {order}"
    );
    Statement { text, values }
}

/// See [`filter_pushdown::ids`].
pub(super) fn ids(sources: &[Source], oldest_first: bool, want: Want) -> Statement {
    let beyond = if oldest_first { i64::MIN } else { i64::MAX };
    let after = want.after.map_or(beyond, |after| after.0);
    let rows = want.rows.to_string();
    let named = filter_pushdown::ids::<InPostgres>(sources, oldest_first, "$1", &rows);
    let mut terms = sources.iter().filter_map(|source| match source {
        Source::Term(term) => Some(sql::text(term)),
        _ => None,
    });
    let mut ids = Statement::from("");
    ids.values.push(sql::int(after));
    // Each term occurs once, in the order of the sources.
    for (place, part) in named.split(TERM).enumerate() {
        if place > 0 {
            ids.values.extend(terms.next());
            ids.text.push_str(&format!("${}", ids.values.len()));
        }
        ids.text.push_str(part);
    }
    ids
}

/// Placeholder of a term.
const TERM: &str = ":term";

fn window(rows: &[PgRow], want: Want, with_args: bool) -> DbResult<Window> {
    let mut window = Window { found: Vec::new(), looked: 0, last: None, ended: true };
    let Some(first) = rows.first().map(Columns) else { return Ok(window) };
    window.looked = first.unsigned(COLUMNS)?;
    window.last = first.optional_int(COLUMNS + 1)?.map(JobId);
    window.ended = window.looked < want.rows;
    let matching = first.unsigned(COLUMNS + 2)?;
    for row in rows.iter().filter(|row| matches!(Columns(row).is_null(0), Ok(false))) {
        window.found.push(found(row, with_args)?);
    }
    // Not all matches fit within the bytes of a window: the next window starts after the last of these.
    if (window.found.len() as u64) < matching
        && let Some(last) = window.found.last()
    {
        (window.last, window.ended) = (Some(last.job.id), false);
    }
    Ok(window)
}

/// The dialect of PostgreSQL. Its indexes are on `specs`, which is written once, so that a change of status
/// does not pay for them.
pub(super) enum InPostgres {}

impl Dialect for InPostgres {
    const LANES_OF_ALL: bool = false;

    fn lane(lane: i64) -> SourceSql {
        SourceSql::new("specs", "job", format!("lane = {lane}"))
    }

    fn term(_: &str) -> SourceSql {
        SourceSql::new("terms", "job", format!("term = {TERM}"))
    }

    fn unindexed() -> SourceSql {
        SourceSql::new("specs", "job", "lane IS NULL".to_owned())
    }

    fn union(parts: &[String], end: &str) -> String {
        let parts: Vec<String> = parts.iter().map(|part| format!("({part} {end})")).collect();
        format!("SELECT id FROM ({}) parts {end}", parts.join(" UNION "))
    }
}

const LIVE: &str = "select id, attempt, execution, worker, status, claimed_at, started_at, \
     timeout_ms, deadline, cancel_at, greatest(server_lost, lost) from jobs";

fn live(row: &PgRow) -> DbResult<Live> {
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
        cancel_requested: !row.is_null(9)?,
        alone: row.count(10)? >= ALONE_FROM,
    })
}
