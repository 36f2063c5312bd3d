//! Dead letters.

use std::collections::BTreeSet;

use async_trait::async_trait;
use orx_model::cause::cause_text;
use orx_model::job::DeadReason;
use orx_model::{Cause, CauseId, JobId, Name, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::db_error::DbResult;
use super::writer::Tx;
use super::{Sqlite, TOO_BROAD, WriteKind, row};
use crate::budget::Reads;
use crate::cause_groups::is_counted;
use crate::codec::{self, dead_reason};
use crate::columns::Row as _;
use crate::filter_pushdown::CAUSELESS;
use crate::walk::{Found, Walk};
use crate::{
    CauseRow, CausesPage, CausesRequest, DeadLetterRow, DeadLetters, ListRequest, Page, Result,
    Term,
};

fn dead_letter_count(conn: &Connection, most: u64) -> DbResult<u64> {
    let mut read = conn.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE dead IS NOT NULL LIMIT ?1)",
    )?;
    Ok(read.query_row([row::integer(most)], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

pub(super) fn delete_dead_letters(tx: &mut Tx<'_>, ids: &[JobId]) -> DbResult<Vec<bool>> {
    let mut forget = tx.conn.prepare_cached(
        "UPDATE jobs SET dead = NULL, dead_at = NULL, cause = NULL WHERE id = ?1 AND dead IS NOT NULL",
    )?;
    let mut answers = Vec::with_capacity(ids.len());
    for id in ids {
        answers.push(forget.execute([id.0])? > 0);
    }
    Ok(answers)
}

/// The page of causes after `after`, from the counts.
fn causes(conn: &Connection, request: &CausesRequest) -> DbResult<CausesPage> {
    let among = request.filter.causes().map(|causes| {
        let ids: Vec<String> = causes.iter().map(|id| id.to_signed().to_string()).collect();
        format!("WHERE cause IN ({})", ids.join(", "))
    });
    let sql = format!(
        "SELECT cause, sum(letters) AS count FROM cause_counts {} GROUP BY cause \
         HAVING count > 0 AND (count < ?1 OR count = ?1 AND cause > ?2) \
         ORDER BY count DESC, cause LIMIT ?3",
        among.unwrap_or_default()
    );
    // No cause comes before the first page.
    let (count, after) = request
        .after
        .map_or((i64::MAX, i64::MIN), |(count, id)| (row::integer(count), id.to_signed()));
    let mut page = conn.prepare_cached(&sql)?;
    let found = page.query_map(params![count, after, i64::from(request.limit) + 1], |row| {
        Ok((CauseId::from_signed(row.get(0)?), row.get::<_, i64>(1)?.unsigned_abs()))
    })?;
    let mut found: Vec<(CauseId, u64)> = found.collect::<rusqlite::Result<_>>()?;
    let more = found.len() > request.limit as usize;
    found.truncate(request.limit as usize);
    let next = found.last().filter(|_| more).map(|(id, count)| (*count, *id));
    let mut rows = Vec::with_capacity(found.len());
    for (id, count) in found {
        rows.extend(cause_row(conn, id, count)?);
    }
    Ok(CausesPage { rows, next })
}

fn cause_row(conn: &Connection, id: CauseId, count: u64) -> DbResult<Option<CauseRow>> {
    let cause = id.to_signed();
    // SQLite seeks only a minimum or maximum that stands alone.
    let mut ends = conn.prepare_cached(
        "SELECT (SELECT min(dead_at) FROM jobs WHERE cause = ?1), \
                (SELECT max(dead_at) FROM jobs WHERE cause = ?1), \
                (SELECT max(id) FROM jobs WHERE cause = ?1)",
    )?;
    let (first, last, sample) = ends.query_row([cause], |row| {
        let sample: Option<i64> = row.get(2)?;
        Ok((row::optional_time(row, 0)?, row::optional_time(row, 1)?, sample.map(JobId)))
    })?;
    // The last letter went after its count was read.
    let (Some(first), Some(last), Some(sample)) = (first, last, sample) else { return Ok(None) };
    let mut read = conn.prepare_cached(
        "SELECT coalesce(h.head, s.spec), j.last_error, j.dead FROM jobs j \
         LEFT JOIN specs s ON s.job = j.id LEFT JOIN heads h ON h.job = j.id WHERE j.id = ?1",
    )?;
    let sampled = read.query_row([sample.0], |row| letter(sample, row, 0)).optional()?;
    let Some(CausePart { name, error, reason }) = sampled else { return Ok(None) };
    let text = cause_text(error.as_deref(), reason);
    let mut parts = conn.prepare_cached(
        "SELECT q.name, c.reason FROM cause_counts c JOIN lanes l ON l.id = c.lane \
         JOIN queues q ON q.id = l.queue WHERE c.cause = ?1",
    )?;
    let (mut queues, mut reasons) = (BTreeSet::new(), BTreeSet::new());
    let mut parts = parts.query([cause])?;
    while let Some(part) = parts.next()? {
        queues.extend(row::SqliteColumns(part).name(0).ok());
        reasons.extend(dead_reason(&part.get::<_, String>(1)?));
    }
    Ok(Some(CauseRow { id, name, text, count, queues, reasons, first, last, sample }))
}

/// The part of a dead letter that its cause is computed from, in three columns: spec, error, reason.
fn letter(job: JobId, row: &Row<'_>, first: usize) -> rusqlite::Result<CausePart> {
    let spec = row.get_ref(first)?.as_bytes_or_null()?;
    let reason = row.get::<_, Option<String>>(first + 2)?;
    Ok(CausePart {
        name: codec::policy(job, spec).name,
        error: row.get(first + 1)?,
        reason: reason.as_deref().and_then(dead_reason).unwrap_or(DeadReason::NotRetryable),
    })
}

struct CausePart {
    name: Name,
    error: Option<String>,
    reason: DeadReason,
}

fn assign_causes(tx: &mut Tx<'_>, limit: u32) -> DbResult<u64> {
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT id, ifnull((SELECT head FROM heads WHERE job = id), \
         (SELECT spec FROM specs WHERE job = id)), last_error, dead FROM jobs \
         WHERE {CAUSELESS} ORDER BY id LIMIT ?1"
    ))?;
    let found = find.query_map([limit], |row| {
        let id = JobId(row.get(0)?);
        let CausePart { name, error, reason } = letter(id, row, 1)?;
        Ok((id, Cause::new(&name, error.as_deref(), reason).id))
    })?;
    let found: Vec<(JobId, CauseId)> = found.collect::<rusqlite::Result<_>>()?;
    let mut set =
        tx.conn.prepare_cached("UPDATE jobs SET cause = ?2 WHERE id = ?1 AND dead IS NOT NULL")?;
    for (id, cause) in &found {
        set.execute(params![id.0, cause.to_signed()])?;
    }
    Ok(found.len() as u64)
}

#[async_trait]
impl DeadLetters for Sqlite {
    async fn dead_letters(
        &self,
        request: ListRequest,
        now: Timestamp,
    ) -> Result<Page<DeadLetterRow>> {
        let walk = self.walk("read the dead letters", Walk::page(request, now), true).await?;
        walk.into_page(Found::letter).ok_or(TOO_BROAD)
    }

    async fn dead_letter_count(&self, most: u64) -> Result<u64> {
        let read = move |conn: &Connection| dead_letter_count(conn, most);
        self.read_of(Reads::Piece, "count the dead letters", read).await
    }

    async fn causes(&self, request: CausesRequest, now: Timestamp) -> Result<CausesPage> {
        let action = "count the causes of dead letters";
        if is_counted(&request.filter) {
            let read = move |conn: &Connection| causes(conn, &request);
            return self.read_of(Reads::Piece, action, read).await;
        }
        let walk = self.walk(action, Walk::causes(request.filter.clone(), now), true).await?;
        walk.into_causes(&request).ok_or(TOO_BROAD)
    }

    async fn assign_causes(&self, limit: u32, term: Term) -> Result<u64> {
        let run = move |tx: &mut Tx<'_>| assign_causes(tx, limit);
        let action = "compute the causes of dead letters";
        self.lead_write(action, WriteKind::Durable, limit as usize, term, run).await
    }

    async fn delete_dead_letters(&self, ids: Vec<JobId>) -> Result<Vec<bool>> {
        let weight = ids.len();
        let run = move |tx: &mut Tx<'_>| delete_dead_letters(tx, &ids);
        self.write("delete the dead letters", WriteKind::Durable, weight, run).await
    }
}
