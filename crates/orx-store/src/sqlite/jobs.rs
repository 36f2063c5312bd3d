//! What people and services do with jobs: enqueue, cancel, retry, forget.

use orx_model::job::DeadReason;
use orx_model::{
    AttemptStatus, Exit, ExecutionId, Incarnation, JobEvent, JobId, JobSpec, JobStatus, Lane,
    Timestamp, next,
};
use rusqlite::OptionalExtension;

use super::rows::{self, exit_columns, status_number, to_json};
use super::writer::{Tx, failed};
use crate::{
    CancelAnswer, CancelCommand, Enqueued, PruneRequest, Result, RetryAnswer, StoreError,
};

impl Tx<'_> {
    pub(super) fn enqueue(&mut self, jobs: &[JobSpec], now: Timestamp) -> Result<Vec<Enqueued>> {
        let first = self.new_jobs(jobs.len())?;
        let mut answers = Vec::with_capacity(jobs.len());
        for (id, spec) in (first..).zip(jobs) {
            if let Some(known) = self.known_key(spec)? {
                answers.push(known);
                continue;
            }
            let status = match spec.run_at {
                Some(run_at) if run_at > now => JobStatus::Scheduled,
                _ => JobStatus::Pending,
            };
            let run_at = spec.run_at.map_or(now, |run_at| run_at.max(now));
            let expire_at = [spec.expires_at, spec.deadline].into_iter().flatten().min();
            let lane = self.lane_id(&Lane {
                queue: spec.queue.clone(),
                handler: spec.command.is_none().then(|| spec.name.clone()),
                require: spec.require.clone(),
            })?;
            let insert = || {
                self.db
                    .prepare_cached(
                        "INSERT INTO jobs (id, lane, status, priority, run_at, expire_at, \
                         created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    )?
                    .execute((
                        id,
                        lane,
                        status_number(status),
                        spec.priority.rank(),
                        run_at.as_millis(),
                        expire_at.map(Timestamp::as_millis),
                        now.as_millis(),
                    ))?;
                self.db
                    .prepare_cached("INSERT INTO specs (id, spec) VALUES (?1, ?2)")?
                    .execute((id, to_json(spec)?))?;
                if let Some(key) = &spec.key {
                    self.db
                        .prepare_cached("INSERT INTO keys (key, job, hash) VALUES (?1, ?2, ?3)")?
                        .execute((key, id, &spec.key_hash))?;
                }
                Ok(())
            };
            insert().map_err(|error| failed("keep a job", error))?;
            self.count(lane, None, Some(status))?;
            answers.push(Enqueued::New { id: JobId(id), status });
        }
        Ok(answers)
    }

    fn known_key(&self, spec: &JobSpec) -> Result<Option<Enqueued>> {
        let Some(key) = &spec.key else { return Ok(None) };
        let read = || {
            self.db
                .prepare_cached(
                    "SELECT k.job, k.hash, j.status FROM keys k JOIN jobs j ON j.id = k.job \
                     WHERE k.key = ?1",
                )?
                .query_row([key], |row| {
                    let status = rows::status(row.get(2)?)?;
                    Ok((JobId(row.get(0)?), row.get::<_, Option<String>>(1)?, status))
                })
                .optional()
        };
        let known = read().map_err(|error| failed("look for a key", error))?;
        Ok(known.map(|(id, hash, status)| {
            if hash == spec.key_hash {
                Enqueued::Existing { id, status }
            } else {
                Enqueued::KeyConflict { id }
            }
        }))
    }

    pub(super) fn standing(&self, id: JobId) -> Result<Option<Standing>> {
        let read = || {
            self.db
                .prepare_cached(
                    "SELECT lane, status, attempt, execution, worker, worker_name, claimed_at, \
                     started_at, failed, lost, returned, cancel_at FROM jobs WHERE id = ?1",
                )?
                .query_row([id.0], |row| {
                    let execution: Option<[u8; 16]> = row.get(3)?;
                    let worker: Option<[u8; 16]> = row.get(4)?;
                    Ok(Standing {
                        id,
                        lane: row.get(0)?,
                        status: rows::status(row.get(1)?)?,
                        attempt: row.get(2)?,
                        execution: execution.map(ExecutionId::from_bytes),
                        worker: worker.map(Incarnation::from_bytes),
                        worker_name: row.get(5)?,
                        claimed_at: row.get(6)?,
                        started_at: row.get(7)?,
                        ends: orx_model::job::Ends {
                            failed: row.get(8)?,
                            lost: row.get(9)?,
                            returned: row.get(10)?,
                        },
                        cancel_requested: row.get::<_, Option<i64>>(11)?.is_some(),
                    })
                })
                .optional()
        };
        read().map_err(|error| failed("read a job", error))
    }

    pub(super) fn cancel(
        &mut self,
        cancels: &[CancelCommand],
        now: Timestamp,
    ) -> Result<Vec<CancelAnswer>> {
        cancels.iter().map(|cancel| self.cancel_one(cancel, now)).collect()
    }

    fn cancel_one(&mut self, cancel: &CancelCommand, now: Timestamp) -> Result<CancelAnswer> {
        let Some(job) = self.standing(cancel.id)? else { return Ok(CancelAnswer::Missing) };
        let status = job.status;
        if cancel.expected.is_some_and(|expected| expected != status) {
            return Ok(CancelAnswer::NotInState { status });
        }
        if status.is_final() {
            return Ok(CancelAnswer::AlreadyFinal { status });
        }
        if !job.cancel_requested {
            self.db
                .prepare_cached(
                    "UPDATE jobs SET cancel_at = ?2, cancel_reason = ?3, cancel_by = ?4 \
                     WHERE id = ?1",
                )
                .and_then(|mut update| {
                    update.execute((cancel.id.0, now.as_millis(), &cancel.reason, &cancel.by))
                })
                .map_err(|error| failed("keep a cancel", error))?;
        }
        if next(status, JobEvent::Cancel).is_ok() {
            self.finish_waiting(&job, now)?;
            return Ok(CancelAnswer::Cancelled { stop: None });
        }
        let (Some(execution), Some(worker)) = (job.execution, job.worker) else {
            return Err(StoreError::Unknown);
        };
        if !cancel.force {
            return Ok(CancelAnswer::Cancelling { worker, execution, status });
        }
        let why = Some("cancelled by force");
        let ended = Ended {
            status: AttemptStatus::Cancelled,
            started_at: job.started_at.map(Timestamp::from_millis),
            ended_at: now,
            error: why,
            exit: None,
        };
        self.end_attempt(&job, JobEvent::Stopped, &ended, job.ends, None)?;
        Ok(CancelAnswer::Cancelled { stop: Some((worker, execution)) })
    }

    /// A waiting job is cancelled.
    pub(super) fn finish_waiting(&mut self, job: &Standing, now: Timestamp) -> Result<()> {
        let to = next(job.status, JobEvent::Cancel).map_err(|_| StoreError::Unknown)?;
        self.db
            .prepare_cached(
                "UPDATE jobs SET status = ?2, finished_at = ?3, expire_at = NULL \
                 WHERE id = ?1 AND status = ?4",
            )
            .and_then(|mut update| {
                let from = status_number(job.status);
                update.execute((job.id.0, status_number(to), now.as_millis(), from))
            })
            .map_err(|error| failed("cancel a job", error))?;
        self.count(job.lane, Some(job.status), Some(to))
    }

    /// The live attempt ends, and the job moves by `event`.
    pub(super) fn end_attempt(
        &mut self,
        job: &Standing,
        event: JobEvent,
        ended: &Ended<'_>,
        ends: orx_model::job::Ends,
        run_at: Option<Timestamp>,
    ) -> Result<JobStatus> {
        let to = next(job.status, event).map_err(|_| StoreError::Unknown)?;
        let error = ended.error.map(|text| cut(text, orx_model::limits::ERROR_BYTES));
        let (code, signal) = exit_columns(ended.exit);
        let started_at = ended.started_at.map(Timestamp::as_millis).or(job.started_at);
        let write = || {
            self.db
                .prepare_cached(
                    "INSERT INTO attempts (job, number, execution, worker, worker_name, status, \
                     claimed_at, started_at, ended_at, error, exit_code, exit_signal) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                )?
                .execute((
                    job.id.0,
                    job.attempt,
                    job.execution.map(ExecutionId::to_bytes),
                    job.worker.map(Incarnation::to_bytes),
                    &job.worker_name,
                    ended.status.as_str(),
                    job.claimed_at,
                    started_at,
                    ended.ended_at.as_millis(),
                    error,
                    code,
                    signal,
                ))?;
            self.db
                .prepare_cached(
                    "UPDATE jobs SET status = ?2, run_at = coalesce(?3, run_at), \
                     execution = NULL, worker = NULL, worker_name = NULL, claimed_at = NULL, \
                     started_at = NULL, percent = NULL, progress = NULL, \
                     failed = ?4, lost = ?5, returned = ?6, finished_at = ?7, \
                     last_started_at = ?8, last_worker = ?9, error = ?10, exit_code = ?11, \
                     exit_signal = ?12 \
                     WHERE id = ?1 AND execution = ?13 AND status = ?14",
                )?
                .execute(rusqlite::params![
                    job.id.0,
                    status_number(to),
                    run_at.map(Timestamp::as_millis),
                    ends.failed,
                    ends.lost,
                    ends.returned,
                    to.is_final().then(|| ended.ended_at.as_millis()),
                    started_at,
                    &job.worker_name,
                    error,
                    code,
                    signal,
                    job.execution.map(ExecutionId::to_bytes),
                    status_number(job.status),
                ])
        };
        let changed = write().map_err(|error| failed("end an attempt", error))?;
        if changed != 1 {
            return Err(StoreError::Unknown);
        }
        self.count(job.lane, Some(job.status), Some(to))?;
        Ok(to)
    }

    pub(super) fn bury(&self, id: JobId, reason: DeadReason, now: Timestamp) -> Result<()> {
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO dead_letters (job, reason, at) VALUES (?1, ?2, ?3)",
            )
            .and_then(|mut insert| insert.execute((id.0, reason.as_str(), now.as_millis())))
            .map(drop)
            .map_err(|error| failed("keep a dead letter", error))
    }

    pub(super) fn retry(&mut self, ids: &[JobId], now: Timestamp) -> Result<Vec<RetryAnswer>> {
        let one = |tx: &mut Self, id: JobId| {
            let Some(job) = tx.standing(id)? else { return Ok(RetryAnswer::Missing) };
            let Ok(to) = next(job.status, JobEvent::Revive) else {
                return Ok(RetryAnswer::NotInState { status: job.status });
            };
            let write = || {
                tx.db
                    .prepare_cached(
                        "UPDATE jobs SET status = ?2, run_at = ?3, finished_at = NULL, \
                         failed = 0, lost = 0, returned = 0, cancel_at = NULL, \
                         cancel_reason = NULL, cancel_by = NULL, error = NULL, \
                         exit_code = NULL, exit_signal = NULL \
                         WHERE id = ?1 AND status = ?4",
                    )?
                    .execute((
                        id.0,
                        status_number(to),
                        now.as_millis(),
                        status_number(job.status),
                    ))?;
                tx.db.prepare_cached("DELETE FROM results WHERE id = ?1")?.execute([id.0])?;
                tx.db.prepare_cached("DELETE FROM dead_letters WHERE job = ?1")?.execute([id.0])
            };
            write().map_err(|error| failed("retry a job", error))?;
            tx.count(job.lane, Some(job.status), Some(to))?;
            Ok(RetryAnswer::Retried)
        };
        ids.iter().map(|id| one(self, *id)).collect()
    }

    pub(super) fn delete_dead_letters(&self, ids: &[JobId]) -> Result<Vec<bool>> {
        let one = |id: &JobId| {
            self.db
                .prepare_cached("DELETE FROM dead_letters WHERE job = ?1")?
                .execute([id.0])
                .map(|changed| changed == 1)
        };
        let all: rusqlite::Result<_> = ids.iter().map(one).collect();
        all.map_err(|error| failed("delete a dead letter", error))
    }

    pub(super) fn prune(&mut self, request: PruneRequest) -> Result<u64> {
        let read = || {
            self.db
                .prepare_cached(
                    "SELECT id, lane, status FROM jobs \
                     WHERE finished_at IS NOT NULL AND finished_at < max(?1, ?2) \
                     AND finished_at < CASE status WHEN 5 THEN ?1 ELSE ?2 END \
                     AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.job = jobs.id) \
                     ORDER BY finished_at, id LIMIT ?3",
                )?
                .query_map(
                    (
                        request.completed_before.as_millis(),
                        request.others_before.as_millis(),
                        request.limit,
                    ),
                    |row| Ok((row.get(0)?, row.get(1)?, rows::status(row.get(2)?)?)),
                )?
                .collect::<rusqlite::Result<Vec<(i64, i64, JobStatus)>>>()
        };
        let old = read().map_err(|error| failed("look for old jobs", error))?;
        for (id, lane, status) in &old {
            let forget = || -> rusqlite::Result<()> {
                // By the key of the job: the keys have no index by job.
                self.db
                    .prepare_cached(
                        "DELETE FROM keys WHERE job = ?1 AND key = \
                         (SELECT json_extract(spec, '$.key') FROM specs WHERE id = ?1)",
                    )?
                    .execute([id])?;
                for sql in [
                    "DELETE FROM jobs WHERE id = ?1",
                    "DELETE FROM specs WHERE id = ?1",
                    "DELETE FROM results WHERE id = ?1",
                    "DELETE FROM attempts WHERE job = ?1",
                    "DELETE FROM logs WHERE job = ?1",
                ] {
                    self.db.prepare_cached(sql)?.execute([id])?;
                }
                Ok(())
            };
            forget().map_err(|error| failed("forget a job", error))?;
            self.count(*lane, Some(*status), None)?;
        }
        Ok(old.len() as u64)
    }
}

/// What of a job decides its next move.
pub(super) struct Standing {
    pub(super) id: JobId,
    pub(super) lane: i64,
    pub(super) status: JobStatus,
    pub(super) attempt: u32,
    pub(super) execution: Option<ExecutionId>,
    pub(super) worker: Option<Incarnation>,
    pub(super) worker_name: Option<String>,
    pub(super) claimed_at: Option<i64>,
    pub(super) started_at: Option<i64>,
    pub(super) ends: orx_model::job::Ends,
    pub(super) cancel_requested: bool,
}

/// How a live attempt ended.
pub(super) struct Ended<'a> {
    pub(super) status: AttemptStatus,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Timestamp,
    pub(super) error: Option<&'a str>,
    pub(super) exit: Option<Exit>,
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
