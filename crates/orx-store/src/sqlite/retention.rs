//! Retention: deletes old jobs with their logs, and old keys. Spares jobs whose end has not been followed
//! up, and jobs that depend on unfinished ones.

use orx_model::job::Labels;
use orx_model::{JobId, JobStatus, Name, Origin, Timestamp, limits};
use rusqlite::{OptionalExtension, Row, params};
use serde::de::IgnoredAny;

use super::db_error::DbResult;
use super::row::{self, status_code};
use super::writer::Tx;
use crate::codec::readable;
use crate::{PruneRequest, Pruned, filter_pushdown};

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
    let mut spec = tx.conn.prepare_cached("SELECT spec FROM specs WHERE job = ?1")?;
    let mut keep_key = tx.conn.prepare_cached(
        "UPDATE keys SET status = ?2, kept_until = ?3 WHERE key = ?1 AND job = ?4",
    )?;
    let mut delete_term =
        tx.conn.prepare_cached("DELETE FROM terms WHERE term = ?1 AND job = ?2")?;
    let mut delete_logs = tx.conn.prepare_cached(DELETE_LOGS)?;
    let mut deletes = [
        tx.conn.prepare_cached("DELETE FROM jobs WHERE id = ?1")?,
        tx.conn.prepare_cached("DELETE FROM specs WHERE job = ?1")?,
        tx.conn.prepare_cached("DELETE FROM heads WHERE job = ?1")?,
        tx.conn.prepare_cached("DELETE FROM results WHERE job = ?1")?,
        tx.conn.prepare_cached("DELETE FROM attempts WHERE job = ?1")?,
    ];
    let (mut jobs, mut chunks) = (0, request.chunks as usize);
    for &(id, lane, status, finished_at) in &gone {
        chunks -= delete_logs.execute(params![id, chunks as i64])?;
        if chunks == 0 {
            break;
        }
        let kept_until = Timestamp::from_millis(finished_at).saturating_add(limits::KEY_KEPT);
        let code = status_code(status.unwrap_or(JobStatus::Failed));
        let kept_until = kept_until.as_millis();
        let read = |row: &Row<'_>| Ok(readable(JobId(id), Some(row.get_ref(0)?.as_bytes()?)));
        match spec.query_row([id], read).optional()?.flatten() {
            Some(Named { key, name, command, tags, schedule }) => {
                if let Some(key) = key {
                    keep_key.execute(params![key, code, kept_until, id])?;
                }
                let schedule = schedule.as_ref().map(|origin| origin.id.as_str());
                for term in filter_pushdown::terms_of(&name, command.is_some(), schedule, &tags) {
                    delete_term.execute(params![term, id])?;
                }
            }
            // The spec does not show the key and terms of the job: searches all of them.
            None => {
                tx.conn
                    .prepare_cached("UPDATE keys SET status = ?1, kept_until = ?2 WHERE job = ?3")?
                    .execute(params![code, kept_until, id])?;
                tx.conn.prepare_cached("DELETE FROM terms WHERE job = ?1")?.execute([id])?;
            }
        }
        for delete in &mut deletes {
            delete.execute([id])?;
        }
        tx.cache.moved(lane, status, None);
        jobs += 1;
    }
    Ok(Pruned { jobs, more: chunks == 0 || jobs == u64::from(request.limit) })
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
