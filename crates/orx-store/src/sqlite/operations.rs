//! Operations over many jobs.

use async_trait::async_trait;
use orx_model::wire::{OperationAction, OperationStatus};
use orx_model::{ExecutionId, Incarnation, JobId, OperationId, Timestamp, limits};
use rusqlite::{Connection, OptionalExtension, params};

use super::db_error::DbResult;
use super::outcomes::seen;
use super::row::{self, SqliteColumns};
use super::writer::Tx;
use super::{Sqlite, WriteKind, dead_letters, jobs, retention};
use crate::columns::{self, operation_columns};
use crate::operations::{pieces, targets_after};
use crate::{
    AddedOperation, BatchAnswer, BatchOutcome, BatchedJob, CancelCommand, NewOperation,
    OperationBatch, OperationEnd, OperationRecord, Operations, Result, Term,
};

/// Rows that one transaction deletes with an operation, at most: pieces of its ids.
const PIECES: usize = limits::OPERATION_IDS / limits::OPERATION_BATCH;
const OPERATION: &str = concat!("SELECT ", operation_columns!(), " FROM operations o");

fn operation(conn: &Connection, id: OperationId) -> DbResult<Option<OperationRecord>> {
    let mut find = conn.prepare_cached(&format!("{OPERATION} WHERE o.id = ?1"))?;
    Ok(find.query_row([id.0], |row| columns::operation(SqliteColumns(row))).optional()?)
}

fn add(tx: &mut Tx<'_>, new: &NewOperation, now: Timestamp) -> DbResult<AddedOperation> {
    if let Some((key, hash)) = &new.key {
        let mut find = tx.conn.prepare_cached("SELECT id, hash FROM operations WHERE key = ?1")?;
        let found = find.query_row([key], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)));
        if let Some((id, known)) = found.optional()? {
            let id = OperationId(id);
            return Ok(match operation(tx.conn, id)?.filter(|_| known == *hash) {
                Some(record) => AddedOperation::Existing(record),
                None => AddedOperation::KeyConflict(id),
            });
        }
    }
    let upto = match &new.filter {
        Some(_) => JobId(tx.cache.peek_next_job() - 1),
        None => new.ids.last().copied().unwrap_or(JobId(0)),
    };
    let (key, hash) = new.key.clone().unzip();
    tx.conn
        .prepare_cached(
            "INSERT INTO operations (key, hash, action, filter, zone, dead, force, rate, matched, \
             matched_exact, upto, reason, person, token, address, created_at) VALUES \
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            key,
            hash,
            new.action.as_str(),
            new.filter,
            new.zone,
            new.dead,
            new.force,
            new.rate,
            row::integer(new.matched.count),
            new.matched.exact,
            upto.0,
            new.reason,
            new.person,
            new.token,
            new.address,
            now.as_millis(),
        ])?;
    let id = OperationId(tx.conn.last_insert_rowid());
    let mut piece = tx.conn.prepare_cached("INSERT INTO operation_targets VALUES (?1, ?2, ?3)")?;
    for (last, jobs) in pieces(&new.ids) {
        piece.execute(params![id.0, last, jobs])?;
    }
    Ok(AddedOperation::New(new.clone().record(id, upto, now)))
}

fn operations(
    conn: &Connection,
    before: Option<OperationId>,
    limit: u32,
) -> DbResult<Vec<OperationRecord>> {
    let sql = format!("{OPERATION} WHERE o.id < ?1 ORDER BY o.id DESC LIMIT ?2");
    let mut read = conn.prepare_cached(&sql)?;
    let before = before.map_or(i64::MAX, |before| before.0);
    let rows =
        read.query_map(params![before, limit], |row| columns::operation(SqliteColumns(row)))?;
    Ok(row::readable("an operation", rows)?)
}

fn running(conn: &Connection, limit: u32) -> DbResult<Vec<OperationRecord>> {
    let sql = format!("{OPERATION} WHERE o.status = 'running' ORDER BY o.id LIMIT ?1");
    let mut read = conn.prepare_cached(&sql)?;
    let rows = read.query_map([limit], |row| columns::operation(SqliteColumns(row)))?;
    Ok(row::readable("an operation", rows)?)
}

fn targets(conn: &Connection, id: OperationId, after: JobId) -> DbResult<Option<String>> {
    let mut read = conn.prepare_cached(
        "SELECT jobs FROM operation_targets WHERE operation = ?1 AND last > ?2 ORDER BY last LIMIT 1",
    )?;
    Ok(read.query_row([id.0, after.0], |row| row.get(0)).optional()?)
}

fn run_batch(tx: &mut Tx<'_>, batch: &OperationBatch, now: Timestamp) -> DbResult<BatchAnswer> {
    let found = operation(tx.conn, batch.operation.id)?;
    let runs = |it: &OperationRecord| {
        it.status == OperationStatus::Running && it.cursor == batch.operation.cursor
    };
    let Some(mut record) = found.filter(runs) else { return Ok(BatchAnswer::Stale) };
    let (mut jobs, mut reached) = (Vec::with_capacity(batch.jobs.len()), batch.upto);
    let mut chunks = batch.chunks as usize;
    if record.action == OperationAction::Remove {
        // The id of a deleted job is not used again.
        tx.cache.keep_next_job(tx.conn)?;
    }
    for target in &batch.jobs {
        let job = target.job;
        let before = seen(tx, job)?;
        let status = before.as_ref().map(|job| job.status);
        let changed = status.is_some_and(|status| target.seen.is_some_and(|seen| seen != status));
        let outcome = match changed {
            true => None,
            false => change(tx, &record, job, &mut chunks, now)?,
        };
        let Some(outcome) = outcome else {
            reached = JobId(job.0 - 1);
            break;
        };
        let held = before.and_then(|job| Some((job.worker?, job.execution?)));
        let held: Option<(Incarnation, ExecutionId)> =
            held.map(|(worker, execution)| (Incarnation::from_bytes(worker), execution));
        jobs.push(BatchedJob { job, outcome, held });
    }
    record.advance(&jobs, reached, now);
    let left = &record.left;
    tx.conn
        .prepare_cached(
            "UPDATE operations SET cursor = ?2, status = ?3, changed = ?4, stopping = ?5, \
             already_ended = ?6, not_ended = ?7, not_found = ?8, in_use = ?9, ended_at = ?10 \
             WHERE id = ?1",
        )?
        .execute(params![
            record.id.0,
            record.cursor.0,
            record.status.as_str(),
            row::integer(record.changed),
            row::integer(record.stopping),
            row::integer(left.already_ended),
            row::integer(left.not_ended),
            row::integer(left.not_found),
            row::integer(left.in_use),
            record.ended_at.map(Timestamp::as_millis),
        ])?;
    Ok(BatchAnswer::Done { operation: Box::new(record), jobs })
}

/// `None`: the log of the job has more chunks than the batch may delete.
fn change(
    tx: &mut Tx<'_>,
    operation: &OperationRecord,
    job: JobId,
    chunks: &mut usize,
    now: Timestamp,
) -> DbResult<Option<BatchOutcome>> {
    Ok(match operation.action {
        OperationAction::Cancel => {
            let command = CancelCommand {
                id: job,
                reason: operation.reason.clone(),
                by: operation.by(),
                force: operation.force,
                expected: None,
            };
            Some(jobs::cancel_one(tx, &command, now)?.outcome())
        }
        OperationAction::Retry => Some(jobs::retry_one(tx, job, now)?.outcome()),
        OperationAction::Remove => {
            retention::delete_one(tx, job, None, chunks)?.map(|answer| answer.outcome())
        }
        OperationAction::RemoveDeadLetters => {
            let deleted = dead_letters::delete_dead_letters(tx, &[job])?;
            Some(match (deleted.first(), seen(tx, job)?) {
                (Some(true), _) => BatchOutcome::Changed,
                (_, Some(_)) => BatchOutcome::NotEnded,
                (_, None) => BatchOutcome::NotFound,
            })
        }
    })
}

fn end(
    tx: &mut Tx<'_>,
    id: OperationId,
    end: &OperationEnd,
    now: Timestamp,
) -> DbResult<Option<(OperationRecord, bool)>> {
    let (status, error, by) = end.parts();
    let ended = tx
        .conn
        .prepare_cached(
            "UPDATE operations SET status = ?2, error = ?3, ended_by = ?4, ended_at = ?5 \
             WHERE id = ?1 AND status = 'running'",
        )?
        .execute(params![id.0, status.as_str(), error, by, now.as_millis()])?;
    Ok(operation(tx.conn, id)?.map(|record| (record, ended > 0)))
}

fn forget(tx: &mut Tx<'_>, ended_before: Timestamp, limit: u32) -> DbResult<u64> {
    let mut find = tx.conn.prepare_cached(
        "SELECT id FROM operations WHERE ended_at < ?1 \
         UNION SELECT id FROM operations WHERE ended_at IS NOT NULL \
         AND id <= (SELECT max(id) FROM operations) - ?2 ORDER BY id LIMIT ?3",
    )?;
    let kept = row::integer(limits::OPERATIONS_KEPT);
    let gone = find.query_map(params![ended_before.as_millis(), kept, limit], |row| row.get(0))?;
    let gone: Vec<i64> = gone.collect::<rusqlite::Result<_>>()?;
    for id in &gone {
        for sql in [
            "DELETE FROM operation_targets WHERE operation = ?1",
            "DELETE FROM operations WHERE id = ?1",
        ] {
            tx.conn.prepare_cached(sql)?.execute([id])?;
        }
    }
    Ok(gone.len() as u64)
}

#[async_trait]
impl Operations for Sqlite {
    async fn add_operation(&self, new: NewOperation, now: Timestamp) -> Result<AddedOperation> {
        let weight = 1 + new.ids.len() / limits::OPERATION_BATCH;
        let run = move |tx: &mut Tx<'_>| add(tx, &new, now);
        self.write("start the operation", WriteKind::Durable, weight, run).await
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRecord>> {
        self.read("read the operation", move |conn| operation(conn, id)).await
    }

    async fn operations(
        &self,
        before: Option<OperationId>,
        limit: u32,
    ) -> Result<Vec<OperationRecord>> {
        self.read("read the operations", move |conn| operations(conn, before, limit)).await
    }

    async fn running_operations(&self, limit: u32) -> Result<Vec<OperationRecord>> {
        self.read("read the operations", move |conn| running(conn, limit)).await
    }

    async fn operation_targets(&self, id: OperationId, after: JobId) -> Result<Vec<JobId>> {
        let piece = self.read("read the operation", move |conn| targets(conn, id, after)).await?;
        Ok(targets_after(piece.as_deref(), after))
    }

    async fn run_batch(
        &self,
        batch: OperationBatch,
        now: Timestamp,
        term: Term,
    ) -> Result<BatchAnswer> {
        let chunks = match batch.operation.action {
            OperationAction::Remove => batch.chunks as usize,
            _ => 0,
        };
        let weight = batch.jobs.len() + chunks;
        let run = move |tx: &mut Tx<'_>| run_batch(tx, &batch, now);
        self.lead_write("change the jobs", WriteKind::Durable, weight, term, run).await
    }

    async fn end_operation(
        &self,
        id: OperationId,
        why: OperationEnd,
        now: Timestamp,
    ) -> Result<Option<(OperationRecord, bool)>> {
        let run = move |tx: &mut Tx<'_>| end(tx, id, &why, now);
        self.write("end the operation", WriteKind::Durable, 1, run).await
    }

    async fn forget_operations(
        &self,
        ended_before: Timestamp,
        limit: u32,
        term: Term,
    ) -> Result<u64> {
        let weight = limit as usize * (1 + PIECES);
        let run = move |tx: &mut Tx<'_>| forget(tx, ended_before, limit);
        self.lead_write("delete old operations", WriteKind::Durable, weight, term, run).await
    }
}
