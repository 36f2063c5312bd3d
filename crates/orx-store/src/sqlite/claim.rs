//! Ready jobs go to workers with room.
//!
//! Every lane is read in the order of dispatch, a few rows at a time, and the lanes are merged: so
//! the order holds over all of them, and a lane that nobody serves costs nothing.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use orx_model::job::Ends;
use orx_model::message::Dispatch;
use orx_model::{ExecutionId, Incarnation, JobEvent, JobId, JobSpec, JobStatus, Timestamp, next};
use rusqlite::params;

use super::change::{CancelWords, cancel_waiting, over};
use super::row::{self, status_code};
use super::trouble::Done;
use super::writer::Tx;
use crate::{ClaimRequest, Claimed};

/// Jobs cancelled by one claim because their time was over: a claim has an end also where all that
/// waits has expired. The rest is left to the next one.
const EXPIRED_MAX: usize = 1_000;
/// Rows read of a lane at once, at least and at most.
const READ_ROWS: (usize, usize) = (8, 256);

/// A claim as its rows say it; its spec is read by the caller, beside the writer.
#[derive(Debug)]
pub(super) struct Taken {
    worker: Incarnation,
    job: i64,
    attempt: u32,
    execution: ExecutionId,
    run_at: Timestamp,
    ends: Ends,
    spec: String,
}

impl Taken {
    pub(super) fn dispatch(self) -> Result<Claimed, serde_json::Error> {
        let spec: JobSpec = serde_json::from_str(&self.spec)?;
        let dispatch = Dispatch {
            job: JobId(self.job),
            attempt: self.attempt,
            execution: self.execution,
            name: spec.name,
            queue: spec.queue,
            priority: spec.priority,
            args: spec.args,
            command: spec.command,
            timeout_ms: spec.timeout_ms,
            deadline: spec.deadline,
            run_at: self.run_at,
            retry: self.ends.failed,
            corr: spec.corr,
            tags: spec.tags,
        };
        Ok(Claimed { worker: self.worker, dispatch })
    }
}

/// A job's place in the order of dispatch: urgency, due time, id.
type Place = (i64, i64, i64);

/// A lane while it is read.
struct Reader {
    lane: usize,
    /// The requests whose offer takes the lane, in their order.
    fits: Vec<usize>,
    rows: VecDeque<Place>,
    last: Option<Place>,
    ended: bool,
}

pub(super) const READY: &str = include_str!("ready.sql");

impl Reader {
    /// The next place, or `None` where the lane has ended.
    fn next(&mut self, tx: &mut Tx<'_>, rows: usize) -> Done<Option<Place>> {
        if self.rows.is_empty() && !self.ended {
            let from = self.last.unwrap_or((i64::MIN, i64::MIN, i64::MIN));
            let mut read = tx.conn.prepare_cached(READY)?;
            let found = read.query_map(
                params![self.lane as i64 + 1, from.0, from.1, from.2, rows as i64],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?;
            self.rows = found.collect::<Result<_, _>>()?;
            self.last = self.rows.back().copied();
            self.ended = self.rows.len() < rows;
        }
        let place = self.rows.pop_front();
        if place.is_none() {
            tx.cache.lanes[self.lane].maybe_pending = false;
        }
        Ok(place)
    }
}

pub(super) fn claim(
    tx: &mut Tx<'_>,
    requests: &[ClaimRequest],
    epoch: u64,
    now: Timestamp,
) -> Done<Vec<Taken>> {
    let mut room: Vec<usize> = requests.iter().map(|request| request.executions.len()).collect();
    let mut left: usize = room.iter().sum();
    let mut readers = readers(tx, requests);
    if left == 0 || readers.is_empty() {
        return Ok(Vec::new());
    }
    let rows = (left / readers.len() + 1).clamp(READ_ROWS.0, READ_ROWS.1);
    let mut heads = BinaryHeap::with_capacity(readers.len());
    for (number, reader) in readers.iter_mut().enumerate() {
        if let Some(place) = reader.next(tx, rows)? {
            heads.push(Reverse((place, number)));
        }
    }
    let to = next(JobStatus::Pending, JobEvent::Claim)?;
    let mut find = tx.conn.prepare_cached(
        "SELECT j.attempt, j.failed, j.lost, j.returned, j.expire_at, j.deadline, s.spec \
         FROM jobs j JOIN specs s ON s.job = j.id WHERE j.id = ?1",
    )?;
    let mut take = tx.conn.prepare_cached(
        "UPDATE jobs SET status = ?2, attempt = attempt + 1, execution = ?3, worker = ?4, \
         worker_name = ?5, claimed_at = ?6, epoch = ?7, expire_at = NULL WHERE id = ?1",
    )?;
    let mut taken = Vec::with_capacity(left);
    let mut expired = 0;
    while left > 0 && expired < EXPIRED_MAX {
        let Some(Reverse((place, number))) = heads.pop() else { break };
        let reader = &mut readers[number];
        // The most room left; of equals, the first. A lane without any is read no further.
        let fits = reader.fits.iter().copied().filter(|request| room[*request] > 0);
        let Some(request) = fits.max_by_key(|request| (room[*request], Reverse(*request))) else {
            continue;
        };
        let (_, run_at, job) = place;
        let (mut claimed, expire_at, deadline) = find.query_row([job], |row| {
            let claimed = Taken {
                worker: requests[request].worker,
                job,
                attempt: row.get(0)?,
                execution: ExecutionId(0),
                run_at: Timestamp::from_millis(run_at),
                ends: Ends { failed: row.get(1)?, lost: row.get(2)?, returned: row.get(3)? },
                spec: row.get(6)?,
            };
            Ok((claimed, row::optional_time(row, 4)?, row::optional_time(row, 5)?))
        })?;
        let lane = reader.lane as i64 + 1;
        if expire_at.is_some_and(|at| at <= now) {
            let words = CancelWords { reason: Some(over(deadline, now)), by: Some("orx") };
            cancel_waiting(tx, JobId(job), lane, JobStatus::Pending, &words, now)?;
            expired += 1;
        } else {
            let ClaimRequest { worker, worker_name, executions, .. } = &requests[request];
            claimed.execution = executions[executions.len() - room[request]];
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
            room[request] -= 1;
            left -= 1;
        }
        if let Some(place) = reader.next(tx, rows)? {
            heads.push(Reverse((place, number)));
        }
    }
    Ok(taken)
}

/// The lanes that may hold something for somebody.
fn readers(tx: &Tx<'_>, requests: &[ClaimRequest]) -> Vec<Reader> {
    let lanes = tx.cache.lanes.iter().enumerate().filter(|(_, entry)| entry.maybe_pending);
    let readers = lanes.filter_map(|(lane, entry)| {
        let fits = requests.iter().enumerate().filter(|(_, request)| {
            !request.executions.is_empty() && request.offer.takes(&entry.lane)
        });
        let fits: Vec<usize> = fits.map(|(place, _)| place).collect();
        (!fits.is_empty()).then(|| Reader {
            lane,
            fits,
            rows: VecDeque::new(),
            last: None,
            ended: false,
        })
    });
    readers.collect()
}
