//! Claims ready jobs for workers with free slots or prefetch.
//!
//! Reads each lane in the order of dispatch, a few rows at a time, and merges the lanes, so that the
//! order holds over all of them. It does not read a lane that no worker takes.

use orx_model::outcome::ALONE_FROM;
use orx_model::{ExecutionId, Incarnation, JobEvent, JobId, JobSpec, JobStatus, Timestamp, next};
use rusqlite::params;

use super::db_error::DbResult;
use super::finish::{CancelWords, Ending, finish};
use super::row::{self, status_code};
use super::writer::Tx;
use crate::codec::{self, over};
use crate::lane_merge::{Given, LaneWindow, Merge, Next, ReadyOrder};
use crate::{ClaimRequest, Claimed};

/// Expired jobs that one claim cancels, at most. It bounds a claim if every pending job has expired; the
/// next claim continues.
const EXPIRED_MAX: usize = 1_000;
/// Rows that one read of a lane returns: lower and upper bound.
const READ_ROWS: (usize, usize) = (8, 256);

/// A claimed job with its spec as text. The calling task parses the spec, so that the writer does not.
#[derive(Debug)]
pub(super) struct Taken {
    worker: Incarnation,
    job: i64,
    attempt: u32,
    execution: ExecutionId,
    run_at: Timestamp,
    failed: u32,
    alone: bool,
    spec: Option<Vec<u8>>,
}

impl Taken {
    /// `None` for an unreadable spec: the leader then handles the claim as a lost dispatch.
    pub(super) fn dispatch(self) -> Option<Claimed> {
        let spec: JobSpec = codec::readable(JobId(self.job), self.spec.as_deref())?;
        let dispatch = codec::dispatch(
            JobId(self.job),
            self.attempt,
            self.execution,
            self.run_at,
            self.failed,
            spec,
        );
        Some(Claimed { worker: self.worker, dispatch, alone: self.alone })
    }
}

pub(super) const READY: &str = include_str!("ready.sql");

/// Returns what was claimed, and which jobs were cancelled because their time was over.
pub(super) fn claim(
    tx: &mut Tx<'_>,
    requests: &[ClaimRequest],
    epoch: u64,
    now: Timestamp,
) -> DbResult<(Vec<Taken>, Vec<JobId>)> {
    let lanes = tx
        .cache
        .lanes
        .iter()
        .zip(1..)
        .filter(|(entry, _)| entry.maybe_pending && !tx.cache.is_paused(entry));
    let mut merge = Merge::new(requests, lanes.map(|(entry, lane)| (&entry.lane, lane)));
    let rows = (merge.left() / merge.lanes().max(1) + 1).clamp(READ_ROWS.0, READ_ROWS.1);
    let to = next(JobStatus::Pending, JobEvent::Claim)?;
    let mut find = tx.conn.prepare_cached(
        "SELECT j.attempt, j.failed, max(j.server_lost, j.lost), j.expire_at, j.deadline, s.spec \
         FROM jobs j LEFT JOIN specs s ON s.job = j.id WHERE j.id = ?1",
    )?;
    let mut take = tx.conn.prepare_cached(
        "UPDATE jobs SET status = ?2, attempt = attempt + 1, execution = ?3, worker = ?4, \
         worker_name = ?5, claimed_at = ?6, epoch = ?7, expire_at = NULL WHERE id = ?1",
    )?;
    let mut taken = Vec::with_capacity(merge.left());
    let mut expired = Vec::new();
    while expired.len() < EXPIRED_MAX {
        while let Some(want) = merge.want() {
            let places = read_on(tx, &want, rows)?;
            let ended = places.len() < rows;
            merge.feed(want.number, places, ended);
        }
        let Some(next_job) = merge.next() else { break };
        let Next { job, run_at, lane, .. } = next_job;
        let found = find.query_row([job], |row| {
            let claimed = Taken {
                worker: Incarnation(0),
                job,
                attempt: row.get(0)?,
                execution: ExecutionId(0),
                run_at: Timestamp::from_millis(run_at),
                failed: row.get(1)?,
                alone: row.get::<_, u32>(2)? >= ALONE_FROM,
                spec: row.get_ref(5)?.as_bytes_or_null()?.map(<[u8]>::to_vec),
            };
            Ok((claimed, row::optional_time(row, 3)?, row::optional_time(row, 4)?))
        });
        let (mut claimed, expire_at, deadline) = match found {
            // The job stays pending, and the claim continues with the next one.
            Err(error) if row::is_unreadable(&error) => {
                tx.cache.tell_unreadable(job, &error);
                continue;
            }
            found => found?,
        };
        if expire_at.is_some_and(|at| at <= now) {
            let words = CancelWords { reason: Some(over(deadline, now)), by: Some("orx") };
            let of = (lane, JobStatus::Pending);
            finish(tx, JobId(job), of, JobEvent::Cancel, now, &Ending::Wait(words))?;
            expired.push(JobId(job));
        } else if let Some(Given { request, execution }) = merge.give(next_job, claimed.alone) {
            let ClaimRequest { worker, worker_name, executions, .. } = &requests[request];
            claimed.worker = *worker;
            claimed.execution = executions[execution];
            claimed.attempt += 1;
            take.execute(params![
                job,
                status_code(to),
                claimed.execution.to_bytes(),
                worker.to_bytes(),
                worker_name.as_str(),
                now.as_millis(),
                row::integer(epoch),
            ])?;
            tx.cache.moved(lane, Some(JobStatus::Pending), Some(to));
            taken.push(claimed);
        }
    }
    for lane in merge.emptied() {
        tx.cache.emptied(*lane);
    }
    Ok((taken, expired))
}

fn read_on(tx: &Tx<'_>, want: &LaneWindow, rows: usize) -> DbResult<Vec<ReadyOrder>> {
    let (priority_rank, run_at, id) = want.after;
    let mut read = tx.conn.prepare_cached(READY)?;
    let found = read
        .query_map(params![want.lane, priority_rank, run_at, id, rows as i64], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    Ok(found.collect::<Result<_, _>>()?)
}
