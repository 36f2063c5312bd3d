//! The writer's cache: the id counter, queues with their counts, lanes, the lease.
//!
//! Commands of a batch change it; [`Cache::rolled_back`] restores the state of the last commit. Only
//! the writer writes the file, so the cache never goes stale.

use std::collections::{HashMap, HashSet};

use orx_model::job::{Labels, UNREADABLE};
use orx_model::{Incarnation, JobStatus, Lane, Name, Timestamp};
use rusqlite::{Connection, params};

use super::db_error::{DbError, DbResult};
use crate::Term;

pub(super) type Counts = [i64; JobStatus::ALL.len()];

#[derive(Debug)]
struct Queue {
    name: Name,
    counts: Counts,
    committed: Counts,
    changed: bool,
    paused: bool,
    committed_paused: bool,
}

#[derive(Debug)]
pub(super) struct LaneEntry {
    pub(super) lane: Lane,
    queue: usize,
    /// `false` only if a claim found no pending job and none was added since.
    pub(super) maybe_pending: bool,
}

/// Ids of queues and lanes start at 1, have no gaps and are never removed, so the index in the vector
/// is the id minus 1.
#[derive(Debug, Default)]
pub(super) struct Cache {
    next_job: i64,
    committed_next_job: i64,
    queues: Vec<Queue>,
    committed_queues: usize,
    queue_of: HashMap<Name, usize>,
    pub(super) lanes: Vec<LaneEntry>,
    committed_lanes: usize,
    lane_of: HashMap<Lane, usize>,
    lease: Lease,
    committed_lease: Lease,
    /// Unreadable ready jobs that are logged already: every claim finds them again.
    unreadable: HashSet<i64>,
}

/// Unreadable ready jobs that the writer logs, at most.
const UNREADABLE_MOST: usize = 1_000;

/// The leader's lease. Its holder is in memory only, because only this process can hold it; the epoch
/// is also in the file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lease {
    pub(super) epoch: u64,
    pub(super) held: Option<(Incarnation, Timestamp)>,
}

impl Cache {
    pub(super) fn load(conn: &Connection) -> DbResult<Self> {
        let next_job = conn.query_row(
            "SELECT max((SELECT value FROM meta WHERE key = 'next_job'), \
             (SELECT ifnull(max(id), 0) + 1 FROM jobs))",
            [],
            |row| row.get(0),
        )?;
        let epoch: i64 =
            conn.query_row("SELECT value FROM meta WHERE key = 'epoch'", [], |row| row.get(0))?;
        let lease = Lease { epoch: epoch.unsigned_abs(), held: None };
        let mut cache = Self {
            next_job,
            committed_next_job: next_job,
            lease,
            committed_lease: lease,
            ..Self::default()
        };
        let mut statement = conn.prepare("SELECT id, name FROM queues ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            in_order(row.get(0)?, cache.queues.len())?;
            let name =
                super::row::name(row, 1).or_else(|error| unreadable("a queue", row, error))?;
            cache.push_queue(name);
        }
        let mut statement = conn.prepare("SELECT queue, status, jobs FROM counts")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (queue, status): (u32, u32) = (row.get(0)?, row.get(1)?);
            let queue = cache.queues.get_mut((queue as usize).wrapping_sub(1));
            if let Some(slot) = queue.and_then(|queue| queue.counts.get_mut(status as usize)) {
                *slot = row.get(2)?;
            }
        }
        let mut statement = conn.prepare("SELECT queue FROM queue_pauses")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let queue = (row.get::<_, u32>(0)? as usize).wrapping_sub(1);
            if let Some(queue) = cache.queues.get_mut(queue) {
                queue.paused = true;
            }
        }
        let mut statement =
            conn.prepare("SELECT id, queue, handler, require FROM lanes ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            in_order(row.get(0)?, cache.lanes.len())?;
            let queue = (row.get::<_, u32>(1)? as usize).wrapping_sub(1);
            let name = cache.queues.get(queue).map(|queue| queue.name.clone());
            let lane = Lane {
                queue: name.ok_or_else(|| DbError::Command("a lane without its queue".into()))?,
                handler: super::row::optional_name(row, 2)
                    .or_else(|error| unreadable("a lane", row, error).map(Some))?,
                // A label that no worker has keeps its jobs from being dispatched.
                require: super::row::json(row, 3).or_else(|error| {
                    let name = unreadable("a lane", row, error)?;
                    Ok::<_, rusqlite::Error>(Labels::from([(name.to_string(), String::new())]))
                })?,
            };
            cache.push_lane(lane, queue);
        }
        cache.committed();
        Ok(cache)
    }

    pub(super) fn next_job(&mut self) -> i64 {
        let id = self.next_job;
        self.next_job += 1;
        id
    }

    pub(super) fn peek_next_job(&self) -> i64 {
        self.next_job
    }

    pub(super) fn skip_jobs(&mut self, next: i64) {
        self.next_job = self.next_job.max(next);
    }

    pub(super) fn lease(&self) -> Lease {
        self.lease
    }

    /// Whether the node of the term leads, in that term.
    pub(super) fn leads(&self, term: Term) -> bool {
        self.lease.held.is_some_and(|(node, _)| node == term.node) && self.lease.epoch == term.epoch
    }

    pub(super) fn set_lease(&mut self, conn: &Connection, lease: Lease) -> DbResult<()> {
        if lease.epoch != self.lease.epoch {
            conn.prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'epoch'")?
                .execute([i64::try_from(lease.epoch).unwrap_or(i64::MAX)])?;
        }
        self.lease = lease;
        Ok(())
    }

    /// Writes the id counter. Must run before jobs are deleted, because then the highest id in the file
    /// no longer shows the next one.
    pub(super) fn keep_next_job(&self, conn: &Connection) -> DbResult<()> {
        conn.prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'next_job'")?
            .execute([self.next_job])?;
        Ok(())
    }

    /// The id of a lane; inserts a new lane.
    pub(super) fn lane(&mut self, conn: &Connection, lane: &Lane) -> DbResult<i64> {
        if let Some(&place) = self.lane_of.get(lane) {
            return Ok(place as i64 + 1);
        }
        let queue = match self.queue_of.get(&lane.queue) {
            Some(&place) => place,
            None => {
                let place = self.push_queue(lane.queue.clone());
                conn.execute(
                    "INSERT INTO queues (id, name) VALUES (?1, ?2)",
                    params![place as i64 + 1, lane.queue.as_str()],
                )?;
                place
            }
        };
        let place = self.push_lane(lane.clone(), queue);
        conn.execute(
            "INSERT INTO lanes (id, queue, handler, require) VALUES (?1, ?2, ?3, ?4)",
            params![
                place as i64 + 1,
                queue as i64 + 1,
                lane.handler.as_ref().map(Name::as_str),
                crate::labels_key(&lane.require)
            ],
        )?;
        Ok(place as i64 + 1)
    }

    /// Counts a job of the lane that was inserted (`from` is `None`), changed its status, or was deleted
    /// (`to` is `None`).
    pub(super) fn moved(&mut self, lane: i64, from: Option<JobStatus>, to: Option<JobStatus>) {
        let Some(entry) = self.lanes.get_mut((lane - 1) as usize) else { return };
        if to == Some(JobStatus::Pending) {
            entry.maybe_pending = true;
        }
        let Some(queue) = self.queues.get_mut(entry.queue) else { return };
        queue.changed = true;
        if let Some(from) = from {
            queue.counts[super::row::status_code(from) as usize] -= 1;
        }
        if let Some(to) = to {
            queue.counts[super::row::status_code(to) as usize] += 1;
        }
    }

    /// Logs an unreadable job once.
    pub(super) fn tell_unreadable(&mut self, job: i64, error: &rusqlite::Error) {
        if self.unreadable.len() < UNREADABLE_MOST && self.unreadable.insert(job) {
            tracing::error!(job, %error, "cannot read a ready job; it is not dispatched");
        }
    }

    /// A claim found no further job in the lane.
    pub(super) fn emptied(&mut self, lane: i64) {
        if let Some(entry) = self.lanes.get_mut((lane - 1) as usize) {
            entry.maybe_pending = false;
        }
    }

    /// Writes the changed counts, at the end of a batch.
    pub(super) fn write(&self, conn: &Connection) -> DbResult<()> {
        let mut statement = conn.prepare_cached(
            "INSERT INTO counts (queue, status, jobs) VALUES (?1, ?2, ?3) \
             ON CONFLICT DO UPDATE SET jobs = excluded.jobs",
        )?;
        for (place, queue) in self.queues.iter().enumerate().filter(|(_, queue)| queue.changed) {
            let pairs = queue.counts.iter().zip(queue.committed);
            for (status, (now, before)) in pairs.enumerate() {
                if *now != before {
                    statement.execute(params![place as i64 + 1, status as i64, now])?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn committed(&mut self) {
        self.committed_next_job = self.next_job;
        self.committed_lease = self.lease;
        self.committed_queues = self.queues.len();
        self.committed_lanes = self.lanes.len();
        for queue in &mut self.queues {
            queue.committed_paused = queue.paused;
            if std::mem::take(&mut queue.changed) {
                queue.committed = queue.counts;
            }
        }
    }

    pub(super) fn rolled_back(&mut self) {
        self.next_job = self.committed_next_job;
        self.lease = self.committed_lease;
        for queue in self.queues.drain(self.committed_queues..) {
            self.queue_of.remove(&queue.name);
        }
        for entry in self.lanes.drain(self.committed_lanes..) {
            self.lane_of.remove(&entry.lane);
        }
        for queue in &mut self.queues {
            queue.paused = queue.committed_paused;
            if std::mem::take(&mut queue.changed) {
                queue.counts = queue.committed;
            }
        }
        // A lane that a claim of the batch emptied has its jobs again.
        for entry in &mut self.lanes {
            entry.maybe_pending = true;
        }
    }

    /// Pauses or resumes a queue. Returns its id; `None` for an unknown queue.
    pub(super) fn set_paused(&mut self, queue: &Name, paused: bool) -> Option<i64> {
        let place = *self.queue_of.get(queue)?;
        self.queues[place].paused = paused;
        Some(place as i64 + 1)
    }

    pub(super) fn is_paused(&self, lane: &LaneEntry) -> bool {
        self.queues.get(lane.queue).is_some_and(|queue| queue.paused)
    }

    fn push_queue(&mut self, name: Name) -> usize {
        let place = self.queues.len();
        self.queue_of.insert(name.clone(), place);
        // `changed`, so that `committed` takes over the loaded counts.
        let counts = Counts::default();
        let (paused, committed_paused, changed) = (false, false, true);
        let committed = counts;
        self.queues.push(Queue { name, counts, committed, changed, paused, committed_paused });
        place
    }

    fn push_lane(&mut self, lane: Lane, queue: usize) -> usize {
        let place = self.lanes.len();
        self.lane_of.insert(lane.clone(), place);
        self.lanes.push(LaneEntry { lane, queue, maybe_pending: true });
        place
    }
}

/// A unique name in place of an unreadable one, so that the row matches no other.
fn unreadable(
    what: &str,
    row: &rusqlite::Row<'_>,
    error: rusqlite::Error,
) -> rusqlite::Result<Name> {
    if !super::row::is_unreadable(&error) {
        return Err(error);
    }
    let id: i64 = row.get(0)?;
    tracing::error!(what, id, %error, "cannot read a row; its jobs are not dispatched");
    Ok(Name::from_any(&format!("{UNREADABLE}-{id}")))
}

fn in_order(id: i64, place: usize) -> DbResult<()> {
    if id == place as i64 + 1 {
        return Ok(());
    }
    Err(DbError::Command(format!("expected row {}, found {id}", place + 1).into()))
}
