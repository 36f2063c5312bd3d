//! Dispatches ready jobs to workers with free slots.
//!
//! A claim for a single worker is one statement, fenced by the lease: the first ready jobs of its lanes. A claim for
//! several workers, or one that meets an expired job or one that must run alone, reads the lanes without locks
//! and merges them ([`crate::lane_merge`]). One statement then claims the chosen jobs that are still pending. It
//! skips the others.

use std::collections::HashMap;
use std::sync::Arc;

use orx_model::outcome::ALONE_FROM;
use orx_model::{JobEvent, JobId, JobSpec, JobStatus, Timestamp, next};

use super::db_error::{DbError, DbResult};
use super::executor::MessageKind;
use super::row::PgColumns;
use super::sql::{SqlValue, Statement};
use super::{PgBudget, sql};
use crate::codec::{self, integer, over, status_code};
use crate::columns::Row as _;
use crate::lane_merge::{Given, LaneWindow, Merge, ReadyOrder};
use crate::{ClaimRequest, Claimed, Claims, Term};

/// Maximum number of expired jobs that one claim cancels, so that a claim ends even if every ready job has
/// expired. The next claim continues.
const EXPIRED_MAX: usize = 1_000;
/// Minimum and maximum number of rows per read of a lane.
const READ_ROWS: (usize, usize) = (16, 1_024);
/// Maximum number of reads per claim: with the rows of each, more than any claim needs.
const READS_MAX: usize = 1_000;

/// A ready job to dispatch or to cancel, as it was read.
pub(super) struct Chosen {
    pub(super) job: i64,
    pub(super) run_at: i64,
    /// The worker that gets the job. `None` if the job has expired.
    pub(super) gets: Option<Given>,
    pub(super) deadline: Option<Timestamp>,
    pub(super) alone: bool,
}

/// Further columns of a ready job.
#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    expire_at: Option<Timestamp>,
    deadline: Option<Timestamp>,
    alone: bool,
}

impl PgBudget {
    pub(super) async fn claim(
        self: &Arc<Self>,
        requests: &[ClaimRequest],
        term: Term,
        now: Timestamp,
    ) -> DbResult<Claims> {
        if let Some(claims) = self.claim_first(requests, term, now).await? {
            return Ok(claims);
        }
        let (chosen, leads) = self.choose(requests, term, now).await?;
        if chosen.is_empty() && leads {
            return Ok(Claims::default());
        }
        let rows =
            self.rows(MessageKind::Unsynced, statement(&chosen, requests, term, now)?).await?;
        if rows.is_empty() {
            return Err(DbError::Deposed);
        }
        if chosen.is_empty() {
            return Ok(Claims::default());
        }
        self.count();
        let (mut taken, mut expired) = (HashMap::new(), Vec::new());
        for row in &rows {
            let row = PgColumns(row);
            if let Some(job) = row.optional_int(0)? {
                if row.optional_int(1)?.is_none() {
                    expired.push(JobId(job));
                    continue;
                }
                // A job with an unreadable spec is claimed but not returned: the leader later treats it as a
                // lost dispatch.
                let spec = row.optional_str(3)?.map(str::as_bytes);
                let Some(spec) = codec::readable::<JobSpec>(JobId(job), spec) else { continue };
                taken.insert(job, (row.count(1)?, row.count(2)?, spec));
            }
        }
        // `chosen` has the order of dispatch.
        let claimed = chosen.iter().filter_map(|chosen| {
            let Given { request, execution } = chosen.gets?;
            let (attempt, failed, spec) = taken.remove(&chosen.job)?;
            let request = &requests[request];
            let dispatch = codec::dispatch(
                JobId(chosen.job),
                attempt,
                request.executions[execution],
                Timestamp::from_millis(chosen.run_at),
                failed,
                spec,
            );
            Some(Claimed { worker: request.worker, dispatch, alone: chosen.alone })
        });
        Ok(Claims { claimed: claimed.collect(), expired })
    }

    /// Claims jobs for a single worker in one statement. `None`: nothing was claimed, and the caller has to read
    /// the ready jobs.
    async fn claim_first(
        self: &Arc<Self>,
        requests: &[ClaimRequest],
        term: Term,
        now: Timestamp,
    ) -> DbResult<Option<Claims>> {
        let [request] = requests else { return Ok(None) };
        let merge = self.merge(requests);
        let (lanes, most) = (merge.wants(), merge.left());
        if lanes.is_empty() || most == 0 || lanes.len() * most > READ_ROWS.1 {
            return Ok(None);
        }
        let (known, queues) = {
            let known = self.common.lanes.read();
            let queue = |lane| known.values().find(|id| id.lane == lane).map(|id| id.queue);
            (known.len(), lanes.iter().map(|want| queue(want.lane)).collect::<Vec<_>>())
        };
        let dispatched = next(JobStatus::Pending, JobEvent::Claim)?;
        let values = [
            ("lease", SqlValue::Lease(Some(term))),
            ("lanes", sql::ints(lanes.iter().map(|want| want.lane))),
            ("queues", sql::ints(queues)),
            ("known_lanes", sql::int(known as i64)),
            ("most", sql::int(most as i64)),
            ("now", sql::int(now.as_millis())),
            ("alone_from", sql::int(i64::from(ALONE_FROM))),
            ("pending", sql::int(status_code(JobStatus::Pending))),
            ("dispatched", sql::int(status_code(dispatched))),
            ("executions", sql::ids(request.executions.iter().map(|execution| execution.0))),
            ("worker", sql::id(request.worker.0)),
            ("worker_name", sql::text(request.worker_name.as_str())),
            ("epoch", sql::int(integer(term.epoch))),
        ];
        let message = sql::fill_again(include_str!("claim_first.sql"), values);
        let rows = self.rows(MessageKind::Unsynced, message).await?;
        let first = PgColumns(rows.first().ok_or(DbError::Deposed)?);
        let mut claimed = Vec::new();
        for row in rows.iter().map(PgColumns) {
            let Some(job) = row.optional_int(1)?.map(JobId) else { continue };
            let (attempt, failed) = (row.count(2)?, row.count(3)?);
            // As in `claim`, a job with an unreadable spec is claimed but not returned.
            let spec = row.optional_str(4)?.map(str::as_bytes);
            let Some(spec) = codec::readable::<JobSpec>(job, spec) else { continue };
            let place = usize::try_from(row.int(6)? - 1).unwrap_or(usize::MAX);
            let Some(execution) = request.executions.get(place) else { continue };
            let dispatch = codec::dispatch(job, attempt, *execution, row.time(5)?, failed, spec);
            claimed.push((place, Claimed { worker: request.worker, dispatch, alone: false }));
        }
        if !first.bool(0)? {
            return Ok(None);
        }
        claimed.sort_by_key(|(place, _)| *place);
        let claimed: Vec<Claimed> = claimed.into_iter().map(|(_, claimed)| claimed).collect();
        if !claimed.is_empty() {
            self.count();
        }
        Ok(Some(Claims { claimed, expired: Vec::new() }))
    }

    /// Chooses jobs. Also returns whether the caller held the lease at the last read.
    async fn choose(
        &self,
        requests: &[ClaimRequest],
        term: Term,
        now: Timestamp,
    ) -> DbResult<(Vec<Chosen>, bool)> {
        let mut facts: HashMap<i64, Facts> = HashMap::new();
        let mut merge = self.merge(requests);
        let (mut chosen, mut expired, mut first, mut leads) = (Vec::new(), 0, true, false);
        for _ in 0..READS_MAX {
            // Reads at least once: the cache may lack the only lane.
            let wants = merge.wants();
            if (wants.is_empty() && !first) || merge.left() == 0 {
                break;
            }
            let rows =
                (2 * merge.left() / merge.lanes().max(1) + 8).clamp(READ_ROWS.0, READ_ROWS.1);
            let lanes;
            (lanes, leads) = self.read_on(&wants, rows, term, &mut merge, &mut facts).await?;
            if std::mem::take(&mut first) && lanes != self.common.lanes.read().len() {
                self.refresh_lanes().await?;
                merge = self.merge(requests);
                continue;
            }
            while expired < EXPIRED_MAX
                && let Some(next) = merge.next()
            {
                let Facts { expire_at, deadline, alone } =
                    facts.get(&next.job).copied().unwrap_or_default();
                let gets = if expire_at.is_some_and(|at| at <= now) {
                    expired += 1;
                    None
                } else {
                    let given = merge.give(next, alone);
                    if given.is_none() {
                        continue;
                    }
                    given
                };
                chosen.push(Chosen { job: next.job, run_at: next.run_at, gets, deadline, alone });
            }
            if expired >= EXPIRED_MAX {
                break;
            }
        }
        Ok((chosen, leads))
    }

    fn merge(&self, requests: &[ClaimRequest]) -> Merge {
        Merge::new(requests, self.common.lanes.read().iter().map(|(lane, id)| (lane, id.lane)))
    }

    /// Reads the next rows of lanes. Returns the number of lanes, and whether the caller holds the lease.
    async fn read_on(
        &self,
        wants: &[LaneWindow],
        rows: usize,
        term: Term,
        merge: &mut Merge,
        facts: &mut HashMap<i64, Facts>,
    ) -> DbResult<(usize, bool)> {
        let values = [
            ("numbers", sql::ints(wants.iter().map(|want| want.number as i64))),
            ("lanes", sql::ints(wants.iter().map(|want| want.lane))),
            ("priority_ranks", sql::ints(wants.iter().map(|want| want.after.0))),
            ("run_ats", sql::ints(wants.iter().map(|want| want.after.1))),
            ("ids", sql::ints(wants.iter().map(|want| want.after.2))),
            ("rows", sql::int(rows as i64)),
            ("node", sql::id(term.node.0)),
            ("epoch", sql::int(integer(term.epoch))),
        ];
        let found = self
            .rows(MessageKind::Read, sql::fill_again(include_str!("ready.sql"), values))
            .await?;
        let mut read: HashMap<usize, Vec<ReadyOrder>> = HashMap::new();
        for row in found.iter().map(PgColumns) {
            let Some(job) = row.optional_int(4)? else { continue };
            let order = (row.int(2)?, row.int(3)?, job);
            read.entry(row.count(1)? as usize).or_default().push(order);
            let (expire_at, deadline) = (row.optional_time(5)?, row.optional_time(6)?);
            let alone = row.count(7)? >= ALONE_FROM;
            facts.insert(order.2, Facts { expire_at, deadline, alone });
        }
        for want in wants {
            let orders = read.remove(&want.number).unwrap_or_default();
            let ended = orders.len() < rows;
            merge.feed(want.number, orders, ended);
        }
        let first = PgColumns(found.first().ok_or_else(|| DbError::Unreadable("no row".into()))?);
        Ok((first.count(0)? as usize, first.bool(8)?))
    }
}

pub(super) fn statement(
    chosen: &[Chosen],
    requests: &[ClaimRequest],
    term: Term,
    now: Timestamp,
) -> DbResult<Statement> {
    let dispatched = next(JobStatus::Pending, JobEvent::Claim)?;
    let cancelled = next(JobStatus::Pending, JobEvent::Cancel)?;
    let given = || {
        chosen.iter().map(|chosen| {
            let Given { request, execution } = chosen.gets?;
            let request = &requests[request];
            Some((request, request.executions[execution]))
        })
    };
    let reason = |chosen: &Chosen| chosen.gets.is_none().then(|| over(chosen.deadline, now));
    let values = [
        ("lease", SqlValue::Lease(Some(term))),
        ("jobs", sql::ints(chosen.iter().map(|chosen| chosen.job))),
        ("pending", sql::int(status_code(JobStatus::Pending))),
        ("dispatched", sql::int(status_code(dispatched))),
        ("cancelled", sql::int(status_code(cancelled))),
        ("now", sql::int(now.as_millis())),
        ("epoch", sql::int(integer(term.epoch))),
        ("executions", sql::ids(given().map(|given| Some(given?.1.0)))),
        ("workers", sql::ids(given().map(|given| Some(given?.0.worker.0)))),
        ("names", sql::texts(given().map(|given| Some(given?.0.worker_name.as_str())))),
        ("reasons", sql::texts(chosen.iter().map(reason))),
    ];
    match chosen.iter().all(|chosen| chosen.gets.is_some()) {
        true => Ok(sql::fill_again(include_str!("claim.sql"), values)),
        false => Ok(sql::fill_again(include_str!("claim_expired.sql"), values)),
    }
}
