//! Inserts new jobs.

use orx_model::{JobId, JobStatus, Timestamp};
use rusqlite::params;

use super::db_error::DbResult;
use super::row::{self, millis, priority_rank, status_code};
use super::writer::Tx;
use crate::Enqueued;
use crate::prepared_job::{PreparedJob, SpecText};

pub(super) fn enqueue(
    tx: &mut Tx<'_>,
    jobs: &[PreparedJob],
    now: Timestamp,
) -> DbResult<Vec<Enqueued>> {
    let mut answers = Vec::with_capacity(jobs.len());
    for job in jobs {
        if let Some(key) = &job.key
            && !take_key(tx, key, job)?
            && let Some(known) = known_key(tx, key, job, now)?
        {
            answers.push(known);
            continue;
        }
        let status = match job.run_at {
            Some(run_at) if run_at > now => JobStatus::Scheduled,
            _ => JobStatus::Pending,
        };
        let id = insert(tx, job, status, now)?;
        answers.push(Enqueued::New { id, status });
    }
    Ok(answers)
}

/// Inserts a job; its caller has stored the key.
pub(super) fn insert(
    tx: &mut Tx<'_>,
    job: &PreparedJob,
    status: JobStatus,
    now: Timestamp,
) -> DbResult<JobId> {
    let lane = tx.cache.lane(tx.conn, &job.lane)?;
    let id = tx.cache.next_job();
    tx.conn
        .prepare_cached(
            "INSERT INTO jobs (id, status, priority_rank, lane, run_at, expire_at, created_at, \
             deadline, timeout_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            id,
            status_code(status),
            priority_rank(job.priority),
            lane,
            job.run_at.map_or(now, |run_at| run_at.max(now)).as_millis(),
            millis(job.expire_at),
            now.as_millis(),
            millis(job.deadline),
            job.timeout_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
        ])?;
    describe(tx, id, &job.text)?;
    tx.cache.moved(lane, None, Some(status));
    Ok(JobId(id))
}

pub(super) fn describe(tx: &Tx<'_>, job: i64, text: &SpecText) -> DbResult<()> {
    tx.conn
        .prepare_cached("INSERT INTO specs (job, spec) VALUES (?1, ?2)")?
        .execute(params![job, text.spec])?;
    if let Some(head) = &text.head {
        tx.conn
            .prepare_cached("INSERT INTO heads (job, head) VALUES (?1, ?2)")?
            .execute(params![job, head])?;
    }
    for term in &text.terms {
        tx.conn
            .prepare_cached("INSERT INTO terms (term, job) VALUES (?1, ?2)")?
            .execute(params![term, job])?;
    }
    Ok(())
}

/// Reserves the key for the next job id. `false`: another job has it.
fn take_key(tx: &Tx<'_>, key: &str, job: &PreparedJob) -> DbResult<bool> {
    let mut take = tx.conn.prepare_cached(
        "INSERT INTO keys (key, job, hash) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?;
    Ok(take.execute(params![key, tx.cache.peek_next_job(), job.key_hash])? > 0)
}

/// The job that has the key. Reserves an expired key for the next job id and returns `None`.
fn known_key(
    tx: &Tx<'_>,
    key: &str,
    job: &PreparedJob,
    now: Timestamp,
) -> DbResult<Option<Enqueued>> {
    let mut find = tx.conn.prepare_cached(
        "SELECT k.job, k.hash, k.kept_until, ifnull(j.status, k.status) \
         FROM keys k LEFT JOIN jobs j ON j.id = k.job WHERE k.key = ?1",
    )?;
    let (id, hash, kept_until, status) = find.query_row([key], |row| {
        let hash: Option<String> = row.get(1)?;
        Ok((JobId(row.get(0)?), hash, row::optional_time(row, 2)?, row::status(row, 3)?))
    })?;
    if kept_until.is_some_and(|kept_until| kept_until <= now) {
        tx.conn.prepare_cached("DELETE FROM keys WHERE key = ?1")?.execute([key])?;
        take_key(tx, key, job)?;
        return Ok(None);
    }
    Ok(Some(if hash == job.key_hash {
        Enqueued::Existing { id, status }
    } else {
        Enqueued::KeyConflict { id, status, hash }
    }))
}
