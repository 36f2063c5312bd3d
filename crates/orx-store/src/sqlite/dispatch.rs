//! Dispatch: due times, expiry, live attempts and their holders, and a clock that was set.

use async_trait::async_trait;
use orx_model::message::{ExecutionProgress, ExecutionRef, Started};
use orx_model::outcome::ALONE_FROM;
use orx_model::{
    ExecutionId, Incarnation, JobEvent, JobId, JobStatus, Outcome, OutcomeKind, Timestamp, next,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::claim::{self, Taken};
use super::db_error::DbResult;
use super::finish::{CancelWords, Ending, finish};
use super::row::{self, status_code};
use super::writer::Tx;
use super::{ROW_BYTES, Sqlite, WriteKind, outcomes};
use crate::budget::Reads;
use crate::codec::over;
use crate::{
    ClaimRequest, Claims, ClockJump, Dispatching, Holder, Live, Promoted, Recorded, Result, Term,
};

fn next_due(conn: &Connection) -> DbResult<Option<Timestamp>> {
    let mut read = conn.prepare_cached(include_str!("next_due.sql"))?;
    Ok(read.query_row([], |row| row::optional_time(row, 0))?)
}

const LIVE: &str = "SELECT id, attempt, execution, worker, status, claimed_at, started_at, \
     timeout_ms, deadline, cancel_at, max(server_lost, lost) FROM jobs";

fn live_attempts(conn: &Connection) -> DbResult<Vec<Live>> {
    let sql = format!("{LIVE} WHERE status IN (3, 4) AND status <> 5 ORDER BY id");
    let mut read = conn.prepare_cached(&sql)?;
    let rows = read.query_map([], live)?;
    Ok(row::readable("a live attempt", rows)?)
}

fn live_attempts_of(conn: &Connection, workers: &[Incarnation]) -> DbResult<Vec<Live>> {
    let mut read = conn.prepare_cached(&format!("{LIVE} WHERE worker = ?1 ORDER BY id"))?;
    let mut all = Vec::new();
    for worker in workers {
        let rows = read.query_map([worker.to_bytes()], live)?;
        all.extend(row::readable("a live attempt", rows)?);
    }
    all.sort_by_key(|attempt| attempt.job);
    Ok(all)
}

fn live(row: &rusqlite::Row<'_>) -> rusqlite::Result<Live> {
    Ok(Live {
        job: JobId(row.get(0)?),
        attempt: row.get(1)?,
        execution: ExecutionId::from_bytes(row.get(2)?),
        worker: Incarnation::from_bytes(row.get(3)?),
        status: row::status(row, 4)?,
        claimed_at: row::time(row, 5)?,
        started_at: row::optional_time(row, 6)?,
        timeout_ms: row.get::<_, Option<i64>>(7)?.and_then(|ms| u64::try_from(ms).ok()),
        deadline: row::optional_time(row, 8)?,
        cancel_requested: row.get::<_, Option<i64>>(9)?.is_some(),
        alone: row.get::<_, u32>(10)? >= ALONE_FROM,
    })
}

fn holders(conn: &Connection, executions: &[ExecutionRef]) -> DbResult<Vec<Option<Holder>>> {
    let mut read = conn.prepare_cached(
        "SELECT worker, attempt FROM jobs WHERE id = ?1 AND execution = ?2 \
         UNION ALL SELECT worker, number FROM attempts WHERE job = ?1 AND execution = ?2 LIMIT 1",
    )?;
    let mut holders = Vec::with_capacity(executions.len());
    for of in executions {
        let holder = read.query_row(params![of.job.0, of.execution.to_bytes()], |row| {
            Ok(Holder { worker: Incarnation::from_bytes(row.get(0)?), attempt: row.get(1)? })
        });
        holders.push(match holder.optional() {
            // An unreadable holder counts as unknown.
            Err(error) if row::is_unreadable(&error) => None,
            holder => holder?,
        });
    }
    Ok(holders)
}

fn promote(tx: &mut Tx<'_>, now: Timestamp, limit: u32) -> DbResult<Promoted> {
    let to = next(JobStatus::Scheduled, JobEvent::Due)?;

    // Expired jobs first: a job that is due and expired is cancelled, never pending.
    let over_jobs = pick(
        tx,
        "SELECT id, lane, status, deadline FROM jobs \
         WHERE expire_at IS NOT NULL AND expire_at <= ?1 AND +status IN (0, 1, 2) \
         ORDER BY expire_at, id LIMIT ?2",
        now,
        limit,
    )?;
    for (id, lane, status, deadline) in &over_jobs {
        let words = CancelWords { reason: Some(over(*deadline, now)), by: Some("orx") };
        finish(tx, *id, (*lane, *status), JobEvent::Cancel, now, &Ending::Wait(words))?;
    }
    let due = pick(
        tx,
        "SELECT id, lane, status, deadline FROM jobs \
         WHERE status = 2 AND run_at <= ?1 ORDER BY run_at, id LIMIT ?2",
        now,
        limit,
    )?;
    let mut update = tx.conn.prepare_cached("UPDATE jobs SET status = ?2 WHERE id = ?1")?;
    for (id, lane, status, _) in &due {
        update.execute(params![id.0, status_code(to)])?;
        tx.cache.moved(*lane, Some(*status), Some(to));
    }
    let more = over_jobs.len() == limit as usize || due.len() == limit as usize;
    let ids = |picked: &[Picked]| {
        let mut ids: Vec<JobId> = picked.iter().map(|(id, ..)| *id).collect();
        ids.sort_unstable();
        ids
    };
    Ok(Promoted { due: ids(&due), expired: ids(&over_jobs), more })
}

type Picked = (JobId, i64, JobStatus, Option<Timestamp>);

fn pick(tx: &Tx<'_>, sql: &str, now: Timestamp, limit: u32) -> DbResult<Vec<Picked>> {
    let mut statement = tx.conn.prepare_cached(sql)?;
    let rows = statement.query_map(params![now.as_millis(), limit], |row| {
        let deadline = row::optional_time(row, 3)?;
        Ok((JobId(row.get(0)?), row.get(1)?, row::status(row, 2)?, deadline))
    })?;
    Ok(row::readable("a job", rows)?)
}

/// See [`crate::Dispatching::clock_was_set`].
fn clock_was_set(tx: &mut Tx<'_>, jump: ClockJump, now: Timestamp) -> DbResult<u64> {
    let (before, by, now) = (jump.before.as_millis(), jump.by_ms, now.as_millis());
    let waits = tx
        .conn
        .prepare_cached(
            "UPDATE jobs SET run_at = max(run_at + ?2, ?3) \
             WHERE status = 2 AND attempt > 0 AND run_at > ?1",
        )?
        .execute([before, by, now])?;
    if by < 0 {
        tx.conn
            .prepare_cached("UPDATE jobs SET run_at = ?1 WHERE status = 1 AND run_at > ?1")?
            .execute([now])?;
    }
    tx.conn
        .prepare_cached(
            "UPDATE jobs SET claimed_at = claimed_at + ?1, started_at = started_at + ?1 \
             WHERE worker IS NOT NULL",
        )?
        .execute([by])?;
    Ok(waits as u64)
}

fn outcomes_weight(outcomes: &[Outcome]) -> usize {
    let weight = outcomes.iter().map(|outcome| match &outcome.kind {
        OutcomeKind::Succeeded { result: Some(result) } => 1 + result.get().len() / ROW_BYTES,
        _ => 1,
    });
    weight.sum()
}

#[async_trait]
impl Dispatching for Sqlite {
    async fn claim_ready(
        &self,
        requests: Vec<ClaimRequest>,
        term: Term,
        now: Timestamp,
    ) -> Result<Claims> {
        let action = "claim jobs";
        let weight = requests.iter().map(|request| request.executions.len()).sum();
        let run = move |tx: &mut Tx<'_>| claim::claim(tx, &requests, term.epoch, now);
        let (taken, expired) =
            self.lead_write(action, WriteKind::Advisory, weight, term, run).await?;
        let claimed = taken.into_iter().filter_map(Taken::dispatch).collect();
        Ok(Claims { claimed, expired })
    }

    async fn promote_due(&self, term: Term, now: Timestamp, limit: u32) -> Result<Promoted> {
        let run = move |tx: &mut Tx<'_>| promote(tx, now, limit);
        let (action, weight) = ("promote due jobs", limit as usize);
        self.lead_write(action, WriteKind::Durable, weight, term, run).await
    }

    async fn clock_was_set(&self, jump: ClockJump, term: Term, now: Timestamp) -> Result<u64> {
        let run = move |tx: &mut Tx<'_>| clock_was_set(tx, jump, now);
        self.lead_write("adjust the waits of jobs", WriteKind::Durable, 1, term, run).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.read("read the due times", next_due).await
    }

    async fn mark_started(&self, started: Vec<Started>, now: Timestamp) -> Result<()> {
        let weight = started.len();
        let run = move |tx: &mut Tx<'_>| outcomes::mark_started(tx, &started, now);
        self.write("record the started attempts", WriteKind::Advisory, weight, run).await
    }

    async fn record_progress(&self, progress: Vec<ExecutionProgress>) -> Result<()> {
        let weight = progress.len();
        let run = move |tx: &mut Tx<'_>| outcomes::record_progress(tx, &progress);
        self.write("record progress", WriteKind::Advisory, weight, run).await
    }

    async fn record_outcomes(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        let weight = outcomes_weight(&outcomes);
        let run = move |tx: &mut Tx<'_>| outcomes::record(tx, &outcomes, &draws, now);
        self.write("record the outcomes", WriteKind::Durable, weight, run).await
    }

    async fn record_outcomes_as_leader(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        term: Term,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        let weight = outcomes_weight(&outcomes);
        let run = move |tx: &mut Tx<'_>| outcomes::record(tx, &outcomes, &draws, now);
        self.lead_write("record lost attempts", WriteKind::Durable, weight, term, run).await
    }

    async fn live_attempts(&self) -> Result<Vec<Live>> {
        self.read_of(Reads::Piece, "read the live attempts", live_attempts).await
    }

    async fn live_attempts_of(&self, workers: Vec<Incarnation>) -> Result<Vec<Live>> {
        let read = move |conn: &Connection| live_attempts_of(conn, &workers);
        self.read("read the live attempts", read).await
    }

    async fn holders(&self, executions: Vec<ExecutionRef>) -> Result<Vec<Option<Holder>>> {
        let read = move |conn: &Connection| holders(conn, &executions);
        self.read("read the holders of executions", read).await
    }
}
