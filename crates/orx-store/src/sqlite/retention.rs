//! Retention: deletes old jobs with their logs, and old keys. Spares jobs whose end has not been followed
//! up, and jobs that depend on unfinished ones.

use orx_model::job::Labels;
use orx_model::{JobId, JobStatus, Name, Origin, Timestamp, limits};
use rusqlite::{OptionalExtension, Row, params};
use serde::de::IgnoredAny;

use super::db_error::DbResult;
use super::outcomes::{JobSnapshot, seen};
use super::row::{self, status_code};
use super::writer::Tx;
use crate::codec::readable;
use crate::{DeleteAnswer, PruneRequest, Pruned, filter_pushdown};

/// A job to prune: id, lane, status (`None` if it cannot be read), when it finished.
type Prunable = (i64, i64, Option<JobStatus>, i64);

pub(super) fn prune(tx: &mut Tx<'_>, request: &PruneRequest) -> DbResult<Pruned> {
    let mut gone = pick(
        tx,
        "SELECT id, lane, status, finished_at FROM jobs \
         WHERE status = 5 AND finished_at < ?1 AND NOT follow_up \
         AND NOT EXISTS (SELECT 1 FROM dependencies WHERE child = id) \
         ORDER BY finished_at, id LIMIT ?2",
        request.completed_before,
        request.limit,
    )?;
    gone.extend(pick(
        tx,
        "SELECT id, lane, status, finished_at FROM jobs \
         WHERE status > 5 AND dead IS NULL AND finished_at < ?1 AND NOT follow_up \
         AND NOT EXISTS (SELECT 1 FROM dependencies WHERE child = id) \
         ORDER BY finished_at, id LIMIT ?2",
        request.others_before,
        request.limit,
    )?);
    // Prunes the oldest of both first.
    gone.sort_unstable_by_key(|&(id, _, _, finished_at)| (finished_at, id));
    gone.truncate(request.limit as usize);
    tx.cache.keep_next_job(tx.conn)?;
    let mut delete_logs = tx.conn.prepare_cached(DELETE_LOGS)?;
    let (mut jobs, mut chunks) = (0, request.chunks as usize);
    for &(id, lane, status, finished_at) in &gone {
        chunks -= delete_logs.execute(params![id, chunks as i64])?;
        if chunks == 0 {
            break;
        }
        let kept_until = Timestamp::from_millis(finished_at).saturating_add(limits::KEY_KEPT);
        delete_job(tx, (id, lane, status), Some(kept_until))?;
        jobs += 1;
    }
    Ok(Pruned { jobs, more: chunks == 0 || jobs == u64::from(request.limit) })
}

/// Deletes a final job whose log is deleted already. Its key stays until `kept_until`, or goes with it.
pub(super) fn delete_job(
    tx: &mut Tx<'_>,
    (id, lane, status): (i64, i64, Option<JobStatus>),
    kept_until: Option<Timestamp>,
) -> DbResult<()> {
    let code = status_code(status.unwrap_or(JobStatus::Failed));
    let read = |row: &Row<'_>| Ok(readable(JobId(id), Some(row.get_ref(0)?.as_bytes()?)));
    let mut spec = tx.conn.prepare_cached("SELECT spec FROM specs WHERE job = ?1")?;
    let named = spec.query_row([id], read).optional()?.flatten();
    let known = match &named {
        Some(Named { key: None, .. }) => None,
        Some(Named { key: Some(key), .. }) => Some(("key = ?2 AND job = ?1", Some(key))),
        // The spec does not show the key of the job: searches all of them.
        None => Some(("?2 IS NULL AND job = ?1", None)),
    };
    match (known, kept_until.map(Timestamp::as_millis)) {
        (None, _) => {}
        (Some((condition, key)), Some(until)) => {
            let sql = format!("UPDATE keys SET status = ?3, kept_until = ?4 WHERE {condition}");
            tx.conn.prepare_cached(&sql)?.execute(params![id, key, code, until])?;
        }
        (Some((condition, key)), None) => {
            let sql = format!("DELETE FROM keys WHERE {condition}");
            tx.conn.prepare_cached(&sql)?.execute(params![id, key])?;
        }
    }
    match named {
        Some(Named { name, command, tags, schedule, .. }) => {
            let mut delete =
                tx.conn.prepare_cached("DELETE FROM terms WHERE term = ?1 AND job = ?2")?;
            let schedule = schedule.as_ref().map(|origin| origin.id.as_str());
            for term in filter_pushdown::terms_of(&name, command.is_some(), schedule, &tags) {
                delete.execute(params![term, id])?;
            }
        }
        None => {
            tx.conn.prepare_cached("DELETE FROM terms WHERE job = ?1")?.execute([id])?;
        }
    }
    for sql in [
        "DELETE FROM jobs WHERE id = ?1",
        "DELETE FROM specs WHERE job = ?1",
        "DELETE FROM heads WHERE job = ?1",
        "DELETE FROM results WHERE job = ?1",
        "DELETE FROM attempts WHERE job = ?1",
    ] {
        tx.conn.prepare_cached(sql)?.execute([id])?;
    }
    tx.cache.moved(lane, status, None);
    Ok(())
}

/// Whether a final job must stay: its end has to be followed up, or it depends on a job.
pub(super) fn is_in_use(tx: &Tx<'_>, id: i64) -> DbResult<bool> {
    let sql = "SELECT 1 FROM jobs WHERE id = ?1 AND (follow_up \
         OR EXISTS (SELECT 1 FROM dependencies WHERE child = id))";
    Ok(tx.conn.prepare_cached(sql)?.exists([id])?)
}

/// What became of a job that a person deletes. `None`: its log has more chunks than were left to delete.
pub(super) fn delete_one(
    tx: &mut Tx<'_>,
    id: JobId,
    expected: Option<JobStatus>,
    chunks: &mut usize,
) -> DbResult<Option<DeleteAnswer>> {
    let Some(JobSnapshot { status, lane, .. }) = seen(tx, id)? else {
        return Ok(Some(DeleteAnswer::Missing));
    };
    if !status.is_final() || expected.is_some_and(|expected| expected != status) {
        return Ok(Some(DeleteAnswer::NotInState { status }));
    }
    if is_in_use(tx, id.0)? {
        return Ok(Some(DeleteAnswer::InUse { status }));
    }
    *chunks -= tx.conn.prepare_cached(DELETE_LOGS)?.execute(params![id.0, *chunks as i64])?;
    if *chunks == 0 {
        return Ok(None);
    }
    delete_job(tx, (id.0, lane, Some(status)), None)?;
    Ok(Some(DeleteAnswer::Deleted))
}

/// Deletes the first chunks of a job's log.
pub(super) const DELETE_LOGS: &str = "DELETE FROM logs WHERE (job, attempt, seq) IN \
     (SELECT job, attempt, seq FROM logs WHERE job = ?1 ORDER BY attempt, seq LIMIT ?2)";

pub(super) fn forget_keys(tx: &mut Tx<'_>, now: Timestamp, limit: u32) -> DbResult<u64> {
    let gone = tx
        .conn
        .prepare_cached(
            "DELETE FROM keys WHERE key IN (SELECT key FROM keys \
             WHERE kept_until IS NOT NULL AND kept_until <= ?1 LIMIT ?2)",
        )?
        .execute(params![now.as_millis(), limit])?;
    Ok(gone as u64)
}

/// The part of a spec that other tables hold too: the key and the terms.
#[derive(serde::Deserialize)]
struct Named {
    key: Option<String>,
    name: Name,
    command: Option<IgnoredAny>,
    #[serde(default)]
    tags: Labels,
    schedule: Option<Origin>,
}

fn pick(tx: &Tx<'_>, sql: &str, before: Timestamp, limit: u32) -> DbResult<Vec<Prunable>> {
    let mut statement = tx.conn.prepare_cached(sql)?;
    let rows = statement.query_map(params![before.as_millis(), limit], |row| {
        Ok((row.get(0)?, row.get(1)?, row::status(row, 2).ok(), row.get(3)?))
    })?;
    Ok(row::readable("a job", rows)?)
}
