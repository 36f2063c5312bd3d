//! Dispatch: due times, expiry, live attempts and their holders, and a clock that was set.

use std::sync::Arc;

use async_trait::async_trait;
use orx_model::message::{ExecutionProgress, ExecutionRef, Started};
use orx_model::outcome::ALONE_FROM;
use orx_model::{ExecutionId, Incarnation, JobEvent, JobStatus, Outcome, Timestamp};
use sqlx::postgres::PgRow;

use super::db_error::{DbError, DbResult};
use super::executor::MessageKind;
use super::jobs::sources_and_target;
use super::outcomes::Record;
use super::row::{self, PgColumns};
use super::sql::{self, SqlValue};
use super::{PgBudget, Postgres};
use crate::codec::{over, status_code};
use crate::columns::Row as _;
use crate::{
    ClaimRequest, Claims, ClockJump, Dispatching, Holder, Live, Promoted, Recorded, Result, Term,
};

impl PgBudget {
    async fn promote(
        self: &Arc<Self>,
        term: Term,
        now: Timestamp,
        limit: u32,
    ) -> DbResult<Promoted> {
        let (_, due) = sources_and_target(JobEvent::Due)?;
        let (_, cancelled) = sources_and_target(JobEvent::Cancel)?;
        let values = [
            ("lease", SqlValue::Lease(Some(term))),
            ("now", sql::int(now.as_millis())),
            ("limit", sql::int(i64::from(limit))),
            ("pending", sql::int(status_code(due))),
            ("scheduled", sql::int(status_code(JobStatus::Scheduled))),
            ("cancelled", sql::int(status_code(cancelled))),
            // The reason after a deadline, and the reason otherwise.
            ("late", sql::text(over(Some(now), now))),
            ("expired", sql::text(over(None, now))),
        ];
        let message = sql::fill(include_str!("promote.sql"), values);
        let rows = self.rows(MessageKind::Durable, message).await?;
        let row = PgColumns(rows.first().ok_or(DbError::Deposed)?);
        let (expired, due) = (row.jobs(0)?, row.jobs(1)?);
        if !expired.is_empty() || !due.is_empty() {
            self.count();
        }
        let more = due.len() >= limit as usize || expired.len() >= limit as usize;
        Ok(Promoted { due, expired, more })
    }

    async fn clock_was_set(&self, jump: ClockJump, term: Term, now: Timestamp) -> DbResult<u64> {
        let values = [
            ("lease", SqlValue::Lease(Some(term))),
            ("before", sql::int(jump.before.as_millis())),
            ("by", sql::int(jump.by_ms)),
            ("now", sql::int(now.as_millis())),
        ];
        let message = sql::fill(include_str!("clock_was_set.sql"), values);
        let rows = self.rows(MessageKind::Durable, message).await?;
        PgColumns(rows.first().ok_or(DbError::Deposed)?).unsigned(0)
    }

    async fn next_due(&self) -> DbResult<Option<Timestamp>> {
        let rows = self.rows(MessageKind::Read, include_str!("next_due.sql")).await?;
        Ok(rows.first().map(|row| PgColumns(row).optional_time(0)).transpose()?.flatten())
    }

    async fn live_attempts(&self) -> DbResult<Vec<Live>> {
        // `status <> 5` makes the server use the index `jobs_status`.
        let message = format!("{LIVE} where status in (3, 4) and status <> 5 order by id");
        row::readable("a live attempt", &self.rows(MessageKind::Piece, message).await?, live)
    }

    async fn live_attempts_of(&self, workers: &[Incarnation]) -> DbResult<Vec<Live>> {
        let query = format!("{LIVE} where worker = any(:workers) order by id");
        let workers = sql::ids(workers.iter().map(|worker| worker.0));
        let message = sql::fill(&query, [("workers", workers)]);
        row::readable("a live attempt", &self.rows(MessageKind::Read, message).await?, live)
    }

    async fn holders(&self, executions: &[ExecutionRef]) -> DbResult<Vec<Option<Holder>>> {
        let values = [
            ("jobs", sql::ints(executions.iter().map(|of| of.job.0))),
            ("executions", sql::ids(executions.iter().map(|of| of.execution.0))),
        ];
        let message = sql::fill_again(include_str!("holders.sql"), values);
        let holder = |row| {
            let row = PgColumns(row);
            match row.optional_id(0)? {
                Some(worker) => {
                    Ok(Some(Holder { worker: Incarnation(worker), attempt: row.count(1)? }))
                }
                None => Ok(None),
            }
        };
        self.rows(MessageKind::Read, message).await?.iter().map(holder).collect()
    }
}

const LIVE: &str = "select id, attempt, execution, worker, status, claimed_at, started_at, \
     timeout_ms, deadline, cancel_at, greatest(server_lost, lost) from jobs";

fn live(row: &PgRow) -> DbResult<Live> {
    let row = PgColumns(row);
    Ok(Live {
        job: row.job(0)?,
        attempt: row.count(1)?,
        execution: ExecutionId(row.id(2)?),
        worker: row.incarnation(3)?,
        status: row.status(4)?,
        claimed_at: row.time(5)?,
        started_at: row.optional_time(6)?,
        timeout_ms: row.optional_int(7)?.and_then(|ms| u64::try_from(ms).ok()),
        deadline: row.optional_time(8)?,
        cancel_requested: !row.is_null(9)?,
        alone: row.count(10)? >= ALONE_FROM,
    })
}

#[async_trait]
impl Dispatching for Postgres {
    async fn claim_ready(
        &self,
        requests: Vec<ClaimRequest>,
        term: Term,
        now: Timestamp,
    ) -> Result<Claims> {
        self.inner.write("claim jobs", self.inner.claim(&requests, term, now)).await
    }

    async fn promote_due(&self, term: Term, now: Timestamp, limit: u32) -> Result<Promoted> {
        self.inner.write("promote due jobs", self.inner.promote(term, now, limit)).await
    }

    async fn clock_was_set(&self, jump: ClockJump, term: Term, now: Timestamp) -> Result<u64> {
        let set = self.inner.clock_was_set(jump, term, now);
        self.inner.write("adjust the waits of jobs", set).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.inner.read("read the due times", self.inner.next_due()).await
    }

    async fn mark_started(&self, mut started: Vec<Started>, now: Timestamp) -> Result<()> {
        for one in &mut started {
            one.at = one.at.min(now);
        }
        self.inner.gather(started).await
    }

    async fn record_progress(&self, progress: Vec<ExecutionProgress>) -> Result<()> {
        self.inner.gather(progress).await
    }

    async fn record_outcomes(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        self.inner.gather(Record { outcomes, draws, now }).await
    }

    async fn record_outcomes_as_leader(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        term: Term,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        let record = Record { outcomes, draws, now };
        self.inner
            .write("record lost attempts", self.inner.record_outcomes_as_leader(&record, term))
            .await
    }

    async fn live_attempts(&self) -> Result<Vec<Live>> {
        self.inner.read("read the live attempts", self.inner.live_attempts()).await
    }

    async fn live_attempts_of(&self, workers: Vec<Incarnation>) -> Result<Vec<Live>> {
        self.inner.read("read the live attempts", self.inner.live_attempts_of(&workers)).await
    }

    async fn holders(&self, executions: Vec<ExecutionRef>) -> Result<Vec<Option<Holder>>> {
        let read = self.inner.holders(&executions);
        self.inner.read("read the holders of executions", read).await
    }
}
