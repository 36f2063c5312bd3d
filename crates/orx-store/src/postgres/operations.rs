//! Operations over many jobs.

use std::sync::Arc;

use async_trait::async_trait;
use orx_model::wire::OperationAction;
use orx_model::{
    AttemptStatus, ExecutionId, Incarnation, JobEvent, JobId, OperationId, Timestamp, limits,
};
use sqlx::postgres::PgRow;

use super::db_error::{DbError, DbResult};
use super::executor::MessageKind;
use super::jobs::{codes, final_codes, sources_and_target};
use super::row::{self, PgColumns};
use super::sql::{self, SqlValue, Statement};
use super::{PgBudget, Postgres};
use crate::codec::{FORCED, capped, integer, status_code};
use crate::columns::{OperationColumn as C, Row as _, operation, operation_columns};
use crate::operations::{pieces, targets_after};
use crate::{
    AddedOperation, BatchAnswer, BatchOutcome, BatchedJob, NewOperation, OperationBatch,
    OperationEnd, OperationRecord, Operations, Result, Term,
};

const OPERATION: &str = concat!("select ", operation_columns!(), " from operations o");

impl PgBudget {
    async fn add_operation(&self, new: &NewOperation, now: Timestamp) -> DbResult<AddedOperation> {
        let pieces = pieces(&new.ids);
        let last = new.filter.is_none().then(|| new.ids.last().map_or(0, |id| id.0));
        let (key, hash) = (new.key.as_ref()).map(|(key, hash)| (&**key, &**hash)).unzip();
        let values = [
            ("key", sql::optional_text(key)),
            ("hash", sql::optional_text(hash)),
            ("action", sql::text(new.action.as_str())),
            ("filter", sql::optional_text(new.filter.as_deref())),
            ("zone", sql::optional_text(new.zone.as_deref())),
            ("dead", sql::int(new.dead.into())),
            ("force", sql::int(new.force.into())),
            ("rate", sql::optional_int(new.rate.map(Into::into))),
            ("matched", sql::int(integer(new.matched.count))),
            ("exact", sql::int(new.matched.exact.into())),
            ("last", sql::optional_int(last)),
            ("reason", sql::optional_text(new.reason.as_deref())),
            ("person", sql::optional_text(new.person.as_deref())),
            ("token", sql::text(&new.token)),
            ("address", sql::optional_text(new.address.as_deref())),
            ("now", sql::int(now.as_millis())),
            ("lasts", sql::ints(pieces.iter().map(|(last, _)| *last))),
            ("pieces", sql::texts(pieces.iter().map(|(_, jobs)| jobs.as_str()))),
        ];
        let message = sql::fill(include_str!("add_operation.sql"), values);
        let rows = self.rows(MessageKind::Durable, message).await?;
        if let Some(row) = rows.first() {
            return Ok(AddedOperation::New(operation(PgColumns(row))?));
        }
        let find = format!("{OPERATION} where o.key = :key");
        let message = sql::fill(&find, [("key", sql::optional_text(key))]);
        let rows = self.rows(MessageKind::Read, message).await?;
        // Deleted since then: the caller may send the request again.
        let row = rows.first().ok_or(DbError::Busy)?;
        let record = operation(PgColumns(row))?;
        let known = "select 1 from operations where id = :id and hash = :hash";
        let values = [("id", sql::int(record.id.0)), ("hash", sql::optional_text(hash))];
        let same = !self.rows(MessageKind::Read, sql::fill(known, values)).await?.is_empty();
        Ok(match same {
            true => AddedOperation::Existing(record),
            false => AddedOperation::KeyConflict(record.id),
        })
    }

    async fn operation(&self, id: OperationId) -> DbResult<Option<OperationRecord>> {
        let query = format!("{OPERATION} where o.id = :id");
        let rows =
            self.rows(MessageKind::Read, sql::fill(&query, [("id", sql::int(id.0))])).await?;
        rows.first().map(|row| operation(PgColumns(row))).transpose()
    }

    async fn operations(
        &self,
        before: Option<OperationId>,
        limit: u32,
    ) -> DbResult<Vec<OperationRecord>> {
        let query = format!("{OPERATION} where o.id < :before order by o.id desc limit :limit");
        let before = before.map_or(i64::MAX, |before| before.0);
        let values = [("before", sql::int(before)), ("limit", sql::int(limit.into()))];
        let rows = self.rows(MessageKind::Read, sql::fill(&query, values)).await?;
        row::readable("an operation", &rows, |row| operation(PgColumns(row)))
    }

    async fn running_operations(&self, limit: u32) -> DbResult<Vec<OperationRecord>> {
        let query = format!("{OPERATION} where o.status = 'running' order by o.id limit :limit");
        let message = sql::fill(&query, [("limit", sql::int(limit.into()))]);
        let rows = self.rows(MessageKind::Read, message).await?;
        row::readable("an operation", &rows, |row| operation(PgColumns(row)))
    }

    async fn operation_targets(&self, id: OperationId, after: JobId) -> DbResult<Vec<JobId>> {
        let message = sql::fill(
            "select jobs from operation_targets where operation = :id and last > :after \
             order by last limit 1",
            [("id", sql::int(id.0)), ("after", sql::int(after.0))],
        );
        let rows = self.rows(MessageKind::Read, message).await?;
        let piece = rows.first().map(|row| PgColumns(row).str(0)).transpose()?;
        Ok(targets_after(piece, after))
    }

    async fn run_batch(
        self: &Arc<Self>,
        batch: &OperationBatch,
        now: Timestamp,
        term: Term,
    ) -> DbResult<BatchAnswer> {
        let rows = self.rows(MessageKind::Durable, statement(batch, now, term)?).await?;
        self.count();
        let first = rows.first().ok_or(DbError::Deposed)?;
        if PgColumns(first).optional_int(C::id)?.is_none() {
            return Ok(BatchAnswer::Stale);
        }
        let reached =
            |row: &&PgRow| PgColumns(row).optional_int(C::job).is_ok_and(|id| id.is_some());
        let jobs = rows.iter().filter(reached).map(|row| {
            let row = PgColumns(row);
            let held = row.optional_id(C::worker)?.zip(row.optional_id(C::execution)?);
            Ok(BatchedJob {
                job: row.job(C::job)?,
                outcome: row.with(C::outcome, BatchOutcome::of_name)?,
                held: held.map(|(worker, execution)| (Incarnation(worker), ExecutionId(execution))),
            })
        });
        let jobs = jobs.collect::<DbResult<Vec<_>>>()?;
        Ok(BatchAnswer::Done { operation: Box::new(operation(PgColumns(first))?), jobs })
    }

    async fn end_operation(
        &self,
        id: OperationId,
        end: &OperationEnd,
        now: Timestamp,
    ) -> DbResult<Option<(OperationRecord, bool)>> {
        let (status, error, by) = end.parts();
        let values = [
            ("operation", sql::int(id.0)),
            ("status", sql::text(status.as_str())),
            ("error", sql::optional_text(error)),
            ("by", sql::optional_text(by)),
            ("now", sql::int(now.as_millis())),
        ];
        let message = sql::fill(include_str!("end_operation.sql"), values);
        let rows = self.rows(MessageKind::Durable, message).await?;
        match rows.first() {
            Some(row) => Ok(Some((operation(PgColumns(row))?, true))),
            None => Ok(self.operation(id).await?.map(|record| (record, false))),
        }
    }

    async fn forget_operations(
        &self,
        ended_before: Timestamp,
        limit: u32,
        term: Term,
    ) -> DbResult<u64> {
        let values = [
            ("lease", SqlValue::Lease(Some(term))),
            ("before", sql::int(ended_before.as_millis())),
            ("retained", sql::int(integer(limits::OPERATIONS_KEPT))),
            ("limit", sql::int(i64::from(limit))),
        ];
        let message = sql::fill(include_str!("forget_operations.sql"), values);
        let rows = self.rows(MessageKind::Durable, message).await?;
        PgColumns(rows.first().ok_or(DbError::Deposed)?).unsigned(0)
    }
}

/// The statement of a batch.
fn statement(batch: &OperationBatch, now: Timestamp, term: Term) -> DbResult<Statement> {
    let operation = &batch.operation;
    let mut values = vec![
        ("lease", SqlValue::Lease(Some(term))),
        ("operation", sql::int(operation.id.0)),
        ("cursor", sql::int(operation.cursor.0)),
        ("jobs", sql::ints(batch.jobs.iter().map(|target| target.job.0))),
        ("seen", sql::ints(batch.jobs.iter().map(|target| target.seen.map(status_code)))),
        ("upto", sql::int(batch.upto.0)),
        ("now", sql::int(now.as_millis())),
    ];
    let template = match operation.action {
        OperationAction::Cancel => {
            let (waiting, cancelled) = sources_and_target(JobEvent::Cancel)?;
            let (live, stopped) = sources_and_target(JobEvent::Stopped)?;
            let by = operation.by();
            values.extend([
                ("force", sql::int(operation.force.into())),
                ("reason", sql::optional_text(operation.reason.as_deref().map(capped))),
                ("by", sql::optional_text(by.as_deref().map(capped))),
                ("waiting", codes(&waiting)),
                ("live", codes(&live)),
                ("cancelled", sql::int(status_code(cancelled))),
                ("stopped", sql::int(status_code(stopped))),
                ("ended", sql::text(AttemptStatus::Cancelled.as_str())),
                ("error", sql::text(FORCED)),
            ]);
            include_str!("operation_cancel.sql")
        }
        OperationAction::Retry => {
            let (from, to) = sources_and_target(JobEvent::Revive)?;
            values.extend([("from", codes(&from)), ("to", sql::int(status_code(to)))]);
            include_str!("operation_retry.sql")
        }
        OperationAction::Remove => {
            let chunks = sql::int(i64::from(batch.chunks));
            values.extend([("final", final_codes()), ("chunks", chunks)]);
            include_str!("operation_remove.sql")
        }
        OperationAction::RemoveDeadLetters => include_str!("operation_remove_dead.sql"),
    };
    Ok(sql::fill(template, values))
}

#[async_trait]
impl Operations for Postgres {
    async fn add_operation(&self, new: NewOperation, now: Timestamp) -> Result<AddedOperation> {
        self.inner.write("start the operation", self.inner.add_operation(&new, now)).await
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRecord>> {
        self.inner.read("read the operation", self.inner.operation(id)).await
    }

    async fn operations(
        &self,
        before: Option<OperationId>,
        limit: u32,
    ) -> Result<Vec<OperationRecord>> {
        self.inner.read("read the operations", self.inner.operations(before, limit)).await
    }

    async fn running_operations(&self, limit: u32) -> Result<Vec<OperationRecord>> {
        self.inner.read("read the operations", self.inner.running_operations(limit)).await
    }

    async fn operation_targets(&self, id: OperationId, after: JobId) -> Result<Vec<JobId>> {
        self.inner.read("read the operation", self.inner.operation_targets(id, after)).await
    }

    async fn run_batch(
        &self,
        batch: OperationBatch,
        now: Timestamp,
        term: Term,
    ) -> Result<BatchAnswer> {
        self.inner.write("change the jobs", self.inner.run_batch(&batch, now, term)).await
    }

    async fn end_operation(
        &self,
        id: OperationId,
        end: OperationEnd,
        now: Timestamp,
    ) -> Result<Option<(OperationRecord, bool)>> {
        self.inner.write("end the operation", self.inner.end_operation(id, &end, now)).await
    }

    async fn forget_operations(
        &self,
        ended_before: Timestamp,
        limit: u32,
        term: Term,
    ) -> Result<u64> {
        let forget = self.inner.forget_operations(ended_before, limit, term);
        self.inner.write("delete old operations", forget).await
    }
}
