//! Lists of jobs and dead letters, and counts of what matches a filter.

use orx_model::filter::Filter;
use orx_model::wire::Count;
use orx_model::{JobId, JobSummary, Timestamp};
use sqlx::postgres::PgRow;
use tokio::time::{Instant, timeout_at};

use super::PgBudget;
use super::db_error::{DbError, DbResult};
use super::executor::MessageKind;
use super::row::{self, COLUMNS, PgColumns};
use super::sql::{self, Statement};
use crate::budget::Reads;
use crate::columns::{JobColumn, Row as _};
use crate::filter_pushdown::{self, Dialect, LANES_MAX, LaneRow, Plan, Source, SourceSql};
use crate::walk::{Found, WINDOW_BYTES, Walk, Window, WindowRequest};
use crate::{ListRequest, Page};

impl PgBudget {
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
    pub(super) async fn walk(&self, mut walk: Walk, dead: bool) -> DbResult<Walk> {
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
            let rows = match timeout_at(until, self.rows(MessageKind::read(want.reads), statement))
                .await
            {
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
        let rows = self.rows(MessageKind::Read, message).await?;
        row::readable("a lane", &rows, |row| {
            let row = PgColumns(row);
            let handler = Some(row.text(2)?).filter(|handler| !handler.is_empty());
            Ok(LaneRow { id: row.int(0)?, queue: row.text(1)?, handler })
        })
    }
}

/// A window of a page: one row per job read, in the order of the page. After the columns of the job come its
/// id and whether its spec fits within the window's bytes. The columns of a job that cannot match are null,
/// and a spec that does not fit is not read.
pub(super) fn page_statement(plan: &Plan, walk: &Walk, want: WindowRequest) -> Statement {
    let Statement { text: ids, values } = ids(plan, walk.oldest_first, want);
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

fn page(rows: &[PgRow], want: WindowRequest, with_args: bool) -> DbResult<Window> {
    let mut window = Window { found: Vec::new(), looked: 0, last: None, ended: false };
    for row in rows {
        let columns = PgColumns(row);
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
    let dead_at = PgColumns(row).optional_time(JobColumn::dead_at).ok().flatten();
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
pub(super) fn window_statement(plan: &Plan, walk: &Walk, want: WindowRequest) -> Statement {
    let Statement { text: ids, values } = ids(plan, walk.oldest_first, want);
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
pub(super) fn ids(plan: &Plan, oldest_first: bool, want: WindowRequest) -> Statement {
    let Plan { sources, upto, .. } = plan;
    let beyond = if oldest_first { i64::MIN } else { i64::MAX };
    let after = want.after.map_or(beyond, |after| after.0);
    let rows = want.rows.to_string();
    let named = filter_pushdown::ids::<InPostgres>(sources, *upto, oldest_first, "$1", &rows);
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

fn window(rows: &[PgRow], want: WindowRequest, with_args: bool) -> DbResult<Window> {
    let mut window = Window { found: Vec::new(), looked: 0, last: None, ended: true };
    let Some(first) = rows.first().map(PgColumns) else { return Ok(window) };
    window.looked = first.unsigned(COLUMNS)?;
    window.last = first.optional_int(COLUMNS + 1)?.map(JobId);
    window.ended = window.looked < want.rows;
    let matching = first.unsigned(COLUMNS + 2)?;
    for row in rows.iter().filter(|row| matches!(PgColumns(row).is_null(0), Ok(false))) {
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
enum InPostgres {}

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
