//! Operations over many jobs in the reference model.

use std::collections::BTreeMap;

use async_trait::async_trait;
use orx_model::wire::{OperationAction, OperationStatus};
use orx_model::{JobId, OperationId, Timestamp, limits};

use super::{Memory, State};
use crate::{
    AddedOperation, BatchAnswer, BatchOutcome, BatchedJob, CancelCommand, NewOperation,
    OperationBatch, OperationEnd, OperationRecord, Operations, Result, Term,
};

/// Operations with the ids that they name, and their idempotency keys with the hashes of the requests.
#[derive(Default)]
pub(super) struct OperationTable {
    last: i64,
    rows: BTreeMap<OperationId, (OperationRecord, Vec<JobId>)>,
    keys: BTreeMap<String, (OperationId, String)>,
}

#[async_trait]
impl Operations for Memory {
    async fn add_operation(&self, new: NewOperation, now: Timestamp) -> Result<AddedOperation> {
        let mut state = self.state()?;
        let last_job = JobId(state.next_job);
        let table = &mut state.operations;
        if let Some((key, hash)) = &new.key
            && let Some((id, known)) = table.keys.get(key)
        {
            let row = table.rows.get(id).map(|(row, _)| row.clone());
            return Ok(match row.filter(|_| known == hash) {
                Some(row) => AddedOperation::Existing(row),
                None => AddedOperation::KeyConflict(*id),
            });
        }
        table.last += 1;
        let id = OperationId(table.last);
        if let Some((key, hash)) = new.key.clone() {
            table.keys.insert(key, (id, hash));
        }
        let upto = match &new.filter {
            Some(_) => last_job,
            None => new.ids.last().copied().unwrap_or(JobId(0)),
        };
        let ids = new.ids.clone();
        let record = new.record(id, upto, now);
        table.rows.insert(id, (record.clone(), ids));
        Ok(AddedOperation::New(record))
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRecord>> {
        Ok(self.state()?.operations.rows.get(&id).map(|(row, _)| row.clone()))
    }

    async fn operations(
        &self,
        before: Option<OperationId>,
        limit: u32,
    ) -> Result<Vec<OperationRecord>> {
        let state = self.state()?;
        let rows = state.operations.rows.iter().rev();
        let rows = rows.filter(|(id, _)| before.is_none_or(|before| **id < before));
        Ok(rows.take(limit as usize).map(|(_, (row, _))| row.clone()).collect())
    }

    async fn running_operations(&self, limit: u32) -> Result<Vec<OperationRecord>> {
        let state = self.state()?;
        let rows = state.operations.rows.values().map(|(row, _)| row);
        let running = rows.filter(|row| row.status == OperationStatus::Running);
        Ok(running.take(limit as usize).cloned().collect())
    }

    async fn operation_targets(&self, id: OperationId, after: JobId) -> Result<Vec<JobId>> {
        let state = self.state()?;
        let Some((_, ids)) = state.operations.rows.get(&id) else { return Ok(Vec::new()) };
        let next = ids.iter().copied().filter(|job| *job > after);
        Ok(next.take(limits::OPERATION_BATCH).collect())
    }

    async fn run_batch(
        &self,
        batch: OperationBatch,
        now: Timestamp,
        term: Term,
    ) -> Result<BatchAnswer> {
        let mut state = self.state()?;
        state.leads(term)?;
        let (id, cursor) = (batch.operation.id, batch.operation.cursor);
        let Some((row, _)) = state.operations.rows.get(&id) else { return Ok(BatchAnswer::Stale) };
        if row.status != OperationStatus::Running || row.cursor != cursor {
            return Ok(BatchAnswer::Stale);
        }
        let mut chunks = batch.chunks as usize;
        let (mut jobs, mut reached) = (Vec::new(), batch.upto);
        for target in &batch.jobs {
            let before = JobId(target.job.0 - 1);
            let entry = state.jobs.get(&target.job).map(|entry| &entry.job.state);
            let status = entry.map(|job| job.status);
            let live = entry.and_then(|job| job.live.as_ref());
            let held = live.map(|live| (live.worker, live.execution));
            if status.is_some_and(|status| target.seen.is_some_and(|seen| seen != status)) {
                reached = before;
                break;
            }
            if batch.operation.action == OperationAction::Remove
                && state.deletable(target.job).is_ok()
            {
                chunks -= state.delete_chunks(target.job, chunks);
                if chunks == 0 {
                    reached = before;
                    break;
                }
            }
            let outcome = state.change_one(&batch.operation, target.job, now)?;
            jobs.push(BatchedJob { job: target.job, outcome, held });
        }
        let Some((row, _)) = state.operations.rows.get_mut(&id) else {
            return Ok(BatchAnswer::Stale);
        };
        row.advance(&jobs, reached, now);
        Ok(BatchAnswer::Done { operation: Box::new(row.clone()), jobs })
    }

    async fn end_operation(
        &self,
        id: OperationId,
        end: OperationEnd,
        now: Timestamp,
    ) -> Result<Option<(OperationRecord, bool)>> {
        let mut state = self.state()?;
        let Some((row, _)) = state.operations.rows.get_mut(&id) else { return Ok(None) };
        if row.status != OperationStatus::Running {
            return Ok(Some((row.clone(), false)));
        }
        let (status, error, by) = end.parts();
        row.status = status;
        row.error = error.map(str::to_owned);
        row.ended_by = by.map(str::to_owned);
        row.ended_at = Some(now);
        Ok(Some((row.clone(), true)))
    }

    async fn forget_operations(
        &self,
        ended_before: Timestamp,
        limit: u32,
        term: Term,
    ) -> Result<u64> {
        let mut state = self.state()?;
        state.leads(term)?;
        let table = &mut state.operations;
        let beyond = table.last - orx_model::limits::OPERATIONS_KEPT as i64;
        let old = |row: &OperationRecord| {
            row.ended_at.is_some_and(|at| at < ended_before || row.id.0 <= beyond)
        };
        let rows = table.rows.values().map(|(row, _)| row).filter(|row| old(row));
        let gone: Vec<OperationId> = rows.map(|row| row.id).take(limit as usize).collect();
        for id in &gone {
            table.rows.remove(id);
        }
        table.keys.retain(|_, (id, _)| !gone.contains(id));
        Ok(gone.len() as u64)
    }
}

impl State {
    fn change_one(
        &mut self,
        operation: &OperationRecord,
        job: JobId,
        now: Timestamp,
    ) -> Result<BatchOutcome> {
        Ok(match operation.action {
            OperationAction::Cancel => {
                let command = CancelCommand {
                    id: job,
                    reason: operation.reason.clone(),
                    by: operation.by(),
                    force: operation.force,
                    expected: None,
                };
                self.cancel_one(command, now)?.outcome()
            }
            OperationAction::Retry => self.retry_one(job, now)?.outcome(),
            OperationAction::Remove => match self.deletable(job) {
                Ok(_) => {
                    self.delete_row(job);
                    BatchOutcome::Changed
                }
                Err(answer) => answer.outcome(),
            },
            OperationAction::RemoveDeadLetters => {
                match (self.jobs.contains_key(&job), self.dead.remove(&job)) {
                    (_, Some(_)) => BatchOutcome::Changed,
                    (true, None) => BatchOutcome::NotEnded,
                    (false, None) => BatchOutcome::NotFound,
                }
            }
        })
    }
}
