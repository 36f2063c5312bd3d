//! Workers in the reference model.

use async_trait::async_trait;
use orx_model::message::WorkerDirective;
use orx_model::{Incarnation, SecretHash, Timestamp};

use super::{Memory, StoredWorker};
use crate::{Result, WorkerPut, WorkerRecord, WorkerRemoval, WorkerReport, Workers};

#[async_trait]
impl Workers for Memory {
    async fn put_workers(
        &self,
        workers: Vec<(SecretHash, WorkerReport)>,
        now: Timestamp,
    ) -> Result<Vec<WorkerPut>> {
        let mut state = self.state()?;
        let mut answers = Vec::new();
        for (secret, report) in workers {
            let incarnation = report.registration.incarnation;
            if report.heartbeat > 0 && !state.workers.contains_key(&incarnation) {
                answers.push(WorkerPut::Unregistered);
                continue;
            }
            let row = state.workers.entry(incarnation).or_insert_with(|| StoredWorker {
                report: report.clone(),
                secret,
                seen_at: now,
                order: None,
            });
            if row.secret != secret {
                answers.push(WorkerPut::OtherSecret);
                continue;
            }
            if row.order != Some(WorkerDirective::Fence) {
                if report.heartbeat == 0 || report.heartbeat >= row.report.heartbeat {
                    row.report = report;
                }
                row.seen_at = now;
            }
            answers.push(WorkerPut::Stored(row.order));
        }
        Ok(answers)
    }

    async fn worker_secret(&self, worker: Incarnation) -> Result<Option<SecretHash>> {
        Ok(self.state()?.workers.get(&worker).map(|row| row.secret))
    }

    async fn workers(&self, now: Timestamp) -> Result<Vec<WorkerRecord>> {
        let state = self.state()?;
        let mut workers: Vec<WorkerRecord> = state
            .workers
            .values()
            .map(|row| WorkerRecord {
                report: row.report.clone(),
                seen_at: row.seen_at,
                silent: now.saturating_since(row.seen_at),
                order: row.order,
            })
            .collect();
        workers.sort_by_key(|worker| {
            let registration = &worker.report.registration;
            (registration.name.clone(), registration.incarnation)
        });
        Ok(workers)
    }

    async fn order_workers(
        &self,
        workers: Vec<Incarnation>,
        order: Option<WorkerDirective>,
    ) -> Result<Vec<bool>> {
        let mut state = self.state()?;
        let mut give = |worker: &Incarnation| {
            let Some(row) = state.workers.get_mut(worker) else { return false };
            if row.order != Some(WorkerDirective::Fence) {
                row.order = order;
            }
            row.order == order
        };
        Ok(workers.iter().map(&mut give).collect())
    }

    async fn remove_workers(
        &self,
        workers: Vec<Incarnation>,
        removal: WorkerRemoval,
    ) -> Result<()> {
        let mut state = self.state()?;
        state.workers.retain(|incarnation, worker| {
            removal.spares(worker.order) || !workers.contains(incarnation)
        });
        Ok(())
    }
}
