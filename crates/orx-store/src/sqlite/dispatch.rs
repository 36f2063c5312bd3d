//! From ready to ended: claims, starts, outcomes, due times.

use std::collections::BTreeMap;

use orx_model::log::{LogChunk, Stream};
use orx_model::message::{Dispatch, ExecutionProgress, Started};
use orx_model::settle::{self, settle};
use orx_model::{
    ExecutionId, JobEvent, JobId, JobSpec, JobStatus, Outcome, OutcomeKind, Timestamp, next,
};

use super::jobs::Ended;
use super::rows::{self, status_number};
use super::writer::{Tx, failed};
use crate::{ClaimRequest, Claimed, Promoted, Recorded, Result, StoreError, WorkerRecord};

/// A ready job, in the order of dispatch.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Ready {
    /// Highest first.
    priority: std::cmp::Reverse<u8>,
    run_at: i64,
    id: i64,
    lane: i64,
    attempt: u32,
    failed: u32,
    expire_at: Option<i64>,
}

pub(super) const READY: &str = "SELECT id, priority, run_at, expire_at, attempt, failed FROM jobs \
     WHERE lane = ?1 AND status = 1 ORDER BY priority DESC, run_at, id LIMIT ?2";

impl Tx<'_> {
    pub(super) fn claim_ready(
        &mut self,
        requests: &[ClaimRequest],
        now: Timestamp,
    ) -> Result<Vec<Claimed>> {
        let mut claimed = Vec::new();
        let mut used = vec![0; requests.len()];
        // Again only where expired jobs stood in front: they leave the ready order.
        while self.claim_once(requests, &mut used, &mut claimed, now)? {}
        Ok(claimed)
    }

    fn claim_once(
        &mut self,
        requests: &[ClaimRequest],
        used: &mut [usize],
        claimed: &mut Vec<Claimed>,
        now: Timestamp,
    ) -> Result<bool> {
        let room = |place: usize, used: &[usize]| requests[place].executions.len() - used[place];
        // Who takes which lane, and how many of it at most.
        let mut takers: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (lane, entry) in &self.lanes()?.by_id {
            if entry.maybe_ready {
                let fits = |place: &usize| {
                    room(*place, used) > 0 && requests[*place].offer.takes(&entry.lane)
                };
                let places: Vec<usize> = (0..requests.len()).filter(fits).collect();
                if !places.is_empty() {
                    takers.insert(*lane, places);
                }
            }
        }
        let mut ready = Vec::new();
        for (lane, places) in &takers {
            let most: usize = places.iter().map(|place| room(*place, used)).sum();
            let found = self.ready(*lane, most)?;
            if found.is_empty()
                && let Some(entry) = self.lanes()?.by_id.get_mut(lane)
            {
                entry.maybe_ready = false;
            }
            ready.extend(found);
        }
        if takers.len() > 1 {
            ready.sort_unstable();
        }
        let mut expired = false;
        for job in ready {
            if job.expire_at.is_some_and(|at| at <= now.as_millis()) {
                self.expire(JobId(job.id), now)?;
                expired = true;
                continue;
            }
            let fitting = takers.get(&job.lane).into_iter().flatten().copied();
            let most_room =
                fitting.filter(|p| room(*p, used) > 0).max_by_key(|p| (room(*p, used), std::cmp::Reverse(*p)));
            let Some(place) = most_room else { continue };
            let request = &requests[place];
            let execution = request.executions[used[place]];
            used[place] += 1;
            claimed.push(self.claim_one(&job, request, execution, now)?);
        }
        Ok(expired)
    }

    fn ready(&self, lane: i64, most: usize) -> Result<Vec<Ready>> {
        let read = || {
            self.db
                .prepare_cached(READY)?
                .query_map((lane, most as i64), |row| {
                    Ok(Ready {
                        priority: std::cmp::Reverse(row.get(1)?),
                        run_at: row.get(2)?,
                        id: row.get(0)?,
                        lane,
                        attempt: row.get(4)?,
                        failed: row.get(5)?,
                        expire_at: row.get(3)?,
                    })
                })?
                .collect::<rusqlite::Result<_>>()
        };
        read().map_err(|error| failed("read what is ready", error))
    }

    fn claim_one(
        &mut self,
        job: &Ready,
        request: &ClaimRequest,
        execution: ExecutionId,
        now: Timestamp,
    ) -> Result<Claimed> {
        let to = next(JobStatus::Pending, JobEvent::Claim).map_err(|_| StoreError::Unknown)?;
        let write = || {
            self.db
                .prepare_cached(
                    "UPDATE jobs SET status = ?2, attempt = attempt + 1, execution = ?3, \
                     worker = ?4, worker_name = ?5, claimed_at = ?6, expire_at = NULL \
                     WHERE id = ?1 AND status = 1",
                )?
                .execute((
                    job.id,
                    status_number(to),
                    execution.to_bytes(),
                    request.worker.to_bytes(),
                    request.worker_name.as_str(),
                    now.as_millis(),
                ))?;
            self.spec(JobId(job.id))
        };
        let spec = write().map_err(|error| failed("claim a job", error))?;
        self.count(job.lane, Some(JobStatus::Pending), Some(to))?;
        let dispatch = Dispatch {
            job: JobId(job.id),
            attempt: job.attempt + 1,
            execution,
            name: spec.name,
            queue: spec.queue,
            priority: spec.priority,
            args: spec.args,
            command: spec.command,
            timeout_ms: spec.timeout_ms,
            deadline: spec.deadline,
            run_at: Timestamp::from_millis(job.run_at),
            retry: job.failed,
            corr: spec.corr,
            tags: spec.tags,
        };
        Ok(Claimed { worker: request.worker, dispatch })
    }

    fn spec(&self, id: JobId) -> rusqlite::Result<JobSpec> {
        self.db
            .prepare_cached("SELECT spec FROM specs WHERE id = ?1")?
            .query_row([id.0], |row| rows::json(row.get_ref(0)?.as_str()?))
    }

    /// Its time to start is over.
    fn expire(&mut self, id: JobId, now: Timestamp) -> Result<()> {
        let Some(job) = self.standing(id)? else { return Ok(()) };
        let deadline = self
            .spec(id)
            .map_err(|error| failed("read a job", error))?
            .deadline
            .is_some_and(|deadline| deadline <= now);
        let reason = if deadline { "deadline passed" } else { "expired" };
        self.db
            .prepare_cached(
                "UPDATE jobs SET cancel_at = ?2, cancel_reason = ?3, cancel_by = 'orx' \
                 WHERE id = ?1",
            )
            .and_then(|mut update| update.execute((id.0, now.as_millis(), reason)))
            .map_err(|error| failed("expire a job", error))?;
        self.finish_waiting(&job, now)
    }

    pub(super) fn promote_due(&mut self, now: Timestamp, limit: u32) -> Result<Promoted> {
        let read = |sql: &str| {
            self.db
                .prepare_cached(sql)?
                .query_map((now.as_millis(), limit), |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<Vec<(i64, i64)>>>()
        };
        let expired = read(
            "SELECT id, lane FROM jobs WHERE expire_at IS NOT NULL AND expire_at <= ?1 \
             ORDER BY expire_at, id LIMIT ?2",
        )
        .map_err(|error| failed("look for expired jobs", error))?;
        for (id, _) in &expired {
            self.expire(JobId(*id), now)?;
        }
        // After the expired ones, which are not to become ready.
        let due = read(
            "SELECT id, lane FROM jobs WHERE status = 2 AND run_at <= ?1 \
             ORDER BY run_at, id LIMIT ?2",
        )
        .map_err(|error| failed("look for due jobs", error))?;
        let to = next(JobStatus::Scheduled, JobEvent::Due).map_err(|_| StoreError::Unknown)?;
        for (id, lane) in &due {
            self.db
                .prepare_cached("UPDATE jobs SET status = ?2 WHERE id = ?1 AND status = 2")
                .and_then(|mut update| update.execute((id, status_number(to))))
                .map_err(|error| failed("make a job ready", error))?;
            self.count(*lane, Some(JobStatus::Scheduled), Some(to))?;
        }
        let full = limit as usize;
        Ok(Promoted {
            due: due.len() as u64,
            expired: expired.len() as u64,
            more: due.len() >= full || expired.len() >= full,
        })
    }

    pub(super) fn mark_started(&mut self, all: &[Started]) -> Result<()> {
        let to = next(JobStatus::Dispatched, JobEvent::Start).map_err(|_| StoreError::Unknown)?;
        for started in all {
            let lane: Option<i64> = {
                use rusqlite::OptionalExtension;
                self.db
                    .prepare_cached(
                        "UPDATE jobs SET status = ?2, started_at = ?3 \
                         WHERE id = ?1 AND execution = ?4 AND status = 3 RETURNING lane",
                    )
                    .and_then(|mut update| {
                        update
                            .query_row(
                                (
                                    started.job.0,
                                    status_number(to),
                                    started.at.as_millis(),
                                    started.execution.to_bytes(),
                                ),
                                |row| row.get(0),
                            )
                            .optional()
                    })
                    .map_err(|error| failed("mark a job started", error))?
            };
            if let Some(lane) = lane {
                self.count(lane, Some(JobStatus::Dispatched), Some(to))?;
            }
        }
        Ok(())
    }

    pub(super) fn record_progress(&self, all: &[ExecutionProgress]) -> Result<()> {
        for told in all {
            self.db
                .prepare_cached(
                    "UPDATE jobs SET percent = ?3, progress = ?4 WHERE id = ?1 AND execution = ?2",
                )
                .and_then(|mut update| {
                    update.execute((
                        told.job.0,
                        told.execution.to_bytes(),
                        told.progress.percent,
                        &told.progress.text,
                    ))
                })
                .map_err(|error| failed("keep progress", error))?;
        }
        Ok(())
    }

    pub(super) fn record_outcomes(
        &mut self,
        outcomes: &[Outcome],
        draws: &[f64],
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        let draws = draws.iter().copied().chain(std::iter::repeat(0.5));
        outcomes.iter().zip(draws).map(|(outcome, draw)| self.record(outcome, draw, now)).collect()
    }

    fn record(&mut self, outcome: &Outcome, draw: f64, now: Timestamp) -> Result<Recorded> {
        let Some(job) = self.standing(outcome.job)? else { return Ok(Recorded::Missing) };
        if job.execution != Some(outcome.execution) {
            return Ok(Recorded::Stale { status: job.status });
        }
        let settlement = match &outcome.kind {
            // A success needs nothing of the request.
            OutcomeKind::Succeeded { .. } => settle::Settlement {
                event: JobEvent::Succeed,
                ends: job.ends,
                run_at: None,
                dead: None,
            },
            kind => {
                let spec =
                    self.spec(job.id).map_err(|error| failed("read a job", error))?;
                let standing = settle::Standing {
                    ends: job.ends,
                    retry: spec.retry,
                    on_lost: spec.on_lost,
                    deadline: spec.deadline,
                    cancel_requested: job.cancel_requested,
                };
                settle(&standing, kind, now, draw)
            }
        };
        let ended = Ended {
            status: outcome.kind.status(),
            started_at: outcome.started_at,
            ended_at: outcome.ended_at,
            error: outcome.error.as_deref(),
            exit: outcome.exit,
        };
        let (event, run_at) = (settlement.event, settlement.run_at);
        let status = self.end_attempt(&job, event, &ended, settlement.ends, run_at)?;
        if let OutcomeKind::Succeeded { result: Some(result) } = &outcome.kind {
            self.db
                .prepare_cached("INSERT OR REPLACE INTO results (id, result) VALUES (?1, ?2)")
                .and_then(|mut insert| insert.execute((job.id.0, result.get())))
                .map_err(|error| failed("keep a result", error))?;
        }
        if let Some(reason) = settlement.dead {
            self.bury(job.id, reason, now)?;
        }
        Ok(Recorded::Applied { status, run_at })
    }

    pub(super) fn append_logs(&self, chunks: &[LogChunk]) -> Result<()> {
        for chunk in chunks {
            self.db
                .prepare_cached(
                    // A chunk of an unknown job is nobody's; one that is there already, the same.
                    "INSERT OR IGNORE INTO logs \
                     (job, attempt, seq, execution, stream, at, dropped, bytes) \
                     SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM jobs WHERE id = ?1",
                )
                .and_then(|mut insert| {
                    insert.execute((
                        chunk.job.0,
                        chunk.attempt,
                        chunk.seq as i64,
                        chunk.execution.to_bytes(),
                        stream_number(chunk.stream),
                        chunk.at.as_millis(),
                        chunk.dropped_bytes as i64,
                        &chunk.bytes,
                    ))
                })
                .map_err(|error| failed("keep a log", error))?;
        }
        Ok(())
    }

    pub(super) fn put_workers(&self, workers: &[WorkerRecord]) -> Result<()> {
        for worker in workers {
            let write = || {
                let record = rows::to_json(&(
                    &worker.registration,
                    worker.state,
                    worker.seen_at,
                    worker.hosted_by,
                ))?;
                self.db
                    .prepare_cached(
                        "INSERT OR REPLACE INTO workers (incarnation, record) VALUES (?1, ?2)",
                    )?
                    .execute((worker.registration.incarnation.to_bytes(), record))
            };
            write().map_err(|error| failed("keep a worker", error))?;
        }
        Ok(())
    }
}

pub(super) fn stream_number(stream: Stream) -> u8 {
    stream as u8
}
