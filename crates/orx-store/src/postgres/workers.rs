//! Workers: their reports, their secrets and their orders.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use orx_model::message::WorkerDirective;
use orx_model::{Incarnation, SecretHash, Timestamp};

use super::db_error::{DbError, DbResult};
use super::executor::MessageKind;
use super::row::{self, PgColumns, wrong};
use super::sql::{self, Statement};
use super::{PgBudget, Postgres, leases};
use crate::codec::{integer, order_of, unreadable_worker, worker_state};
use crate::columns::Row as _;
use crate::{Result, WorkerPut, WorkerRecord, WorkerRemoval, WorkerReport, Workers};

/// Maximum number of rounds in which another node inserts the same workers first.
const UNSEEN_MAX: usize = 3;

impl PgBudget {
    async fn put_workers(
        &self,
        workers: &[(SecretHash, WorkerReport)],
    ) -> DbResult<Vec<WorkerPut>> {
        let mut answers = vec![WorkerPut::Stored(None); workers.len()];
        let mut left: Vec<usize> = (0..workers.len()).collect();
        let mut unseen = 0;
        while !left.is_empty() {
            // Two reports of one worker are written in two rounds.
            let mut seen = HashSet::new();
            let of = |index: &usize| workers[*index].1.registration.incarnation;
            let (now, later): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|index| seen.insert(of(index)));
            let reports: Vec<_> = now.iter().map(|index| &workers[*index]).collect();
            let rows = self.rows(MessageKind::Advisory, workers_statement(&reports)?).await?;
            let mut written: HashMap<Incarnation, WorkerPut> = HashMap::new();
            for row in &rows {
                let row = PgColumns(row);
                let answer = if row.bool(2)? {
                    WorkerPut::Stored(row.optional_str(1)?.and_then(order_of))
                } else {
                    WorkerPut::OtherSecret
                };
                written.insert(row.incarnation(0)?, answer);
            }
            let added = |index: &usize| match written.get(&of(index)) {
                Some(answer) => {
                    answers[*index] = *answer;
                    false
                }
                None if workers[*index].1.heartbeat > 0 => {
                    answers[*index] = WorkerPut::Unregistered;
                    false
                }
                None => true,
            };
            // Another node inserted these rows after the statement began; the next statement sees them.
            let added: Vec<usize> = now.into_iter().filter(added).collect();
            if !added.is_empty() {
                unseen += 1;
            }
            if unseen > UNSEEN_MAX {
                return Err(DbError::Busy);
            }
            left = added.into_iter().chain(later).collect();
        }
        Ok(answers)
    }

    async fn worker_secret(&self, worker: Incarnation) -> DbResult<Option<SecretHash>> {
        let message = sql::fill(
            "select secret from workers where incarnation = :worker and secret is not null",
            [("worker", sql::id(worker.0))],
        );
        let rows = self.rows(MessageKind::Read, message).await?;
        let bytes = rows.first().map(|row| PgColumns(row).bytes(0)).transpose()?;
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(SecretHash))
    }

    async fn workers(&self) -> DbResult<Vec<WorkerRecord>> {
        let message = include_str!("workers.sql");
        let record = |row: &_| {
            let row = PgColumns(row);
            let state = row.str(1)?;
            let seen_at = row.time(7)?;
            let registration = match row.json(0) {
                Err(DbError::Unreadable(error)) => {
                    unreadable_worker(row.incarnation(10)?, row.str(11)?, seen_at, &error)
                }
                read => read?,
            };
            Ok(WorkerRecord {
                report: WorkerReport {
                    registration,
                    state: worker_state(state).ok_or_else(|| wrong(1, state))?,
                    capacity: row.count(2)?,
                    heartbeat: row.unsigned(3)?,
                    load: match row.optional_str(4)? {
                        // The load is only displayed, so it may be missing.
                        Some(_) => row.json(4).ok(),
                        None => None,
                    },
                    hosted_by: row.optional_id(5)?.map(orx_model::Incarnation),
                    node: row.optional_id(6)?.map(orx_model::Incarnation),
                },
                seen_at,
                silent: leases::left(row, 9)?,
                order: match row.optional_str(8)? {
                    Some(text) => Some(order_of(text).ok_or_else(|| wrong(8, text))?),
                    None => None,
                },
            })
        };
        row::readable("a worker", &self.rows(MessageKind::Read, message).await?, record)
    }

    async fn order_workers(
        &self,
        workers: &[Incarnation],
        order: Option<WorkerDirective>,
    ) -> DbResult<Vec<bool>> {
        let values = [
            ("workers", sql::ids(workers.iter().map(|worker| worker.0))),
            ("ordered", sql::optional_text(order.map(WorkerDirective::as_str))),
        ];
        let message = sql::fill(include_str!("order_workers.sql"), values);
        let rows = self.rows(MessageKind::Repeatable, message).await?;
        let ordered = rows.iter().map(|row| PgColumns(row).incarnation(0));
        let ordered = ordered.collect::<DbResult<HashSet<_>>>()?;
        Ok(workers.iter().map(|worker| ordered.contains(worker)).collect())
    }

    async fn remove_workers(
        &self,
        workers: &[Incarnation],
        removal: WorkerRemoval,
    ) -> DbResult<()> {
        // The same condition as `WorkerRemoval::spares`.
        let stays = match removal {
            WorkerRemoval::Stopped => "and w.ordered is distinct from 'fence'",
            WorkerRemoval::Lost => "and w.ordered is null",
            WorkerRemoval::Gone => "",
        };
        let message = sql::fill(
            &format!(
                "delete from workers where incarnation in (select w.incarnation from workers w, \
                 (:settings) s where w.incarnation = any(:workers) {stays} order by 1 for update of w)"
            ),
            [("workers", sql::ids(workers.iter().map(|worker| worker.0)))],
        );
        self.rows(MessageKind::Advisory, message).await.map(drop)
    }
}

fn workers_statement(workers: &[&(SecretHash, WorkerReport)]) -> DbResult<Statement> {
    let reports = || workers.iter().map(|(_, report)| report);
    let registrations = reports()
        .map(|report| serde_json::to_string(&report.registration))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let loads = reports()
        .map(|report| report.load.as_ref().map(serde_json::to_string).transpose())
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let registered = || reports().map(|report| &report.registration);
    let values = [
        ("incarnations", sql::ids(registered().map(|it| it.incarnation.0))),
        ("names", sql::texts(registered().map(|it| it.name.as_str()))),
        ("registrations", sql::texts(registrations.iter().map(String::as_str))),
        ("states", sql::texts(reports().map(|report| report.state.as_str()))),
        ("capacities", sql::ints(reports().map(|report| i64::from(report.capacity)))),
        ("heartbeats", sql::ints(reports().map(|report| integer(report.heartbeat)))),
        ("loads", sql::texts(loads.iter().map(Option::as_deref))),
        ("hosts", sql::ids(reports().map(|report| report.hosted_by.map(|it| it.0)))),
        ("nodes", sql::ids(reports().map(|report| report.node.map(|it| it.0)))),
        ("secrets", sql::byte_strings(workers.iter().map(|(secret, _)| secret.0.as_slice()))),
    ];
    Ok(sql::fill(include_str!("put_workers.sql"), values))
}

#[async_trait]
impl Workers for Postgres {
    /// Uses the clock of the server, not `now`.
    async fn put_workers(
        &self,
        workers: Vec<(SecretHash, WorkerReport)>,
        _now: Timestamp,
    ) -> Result<Vec<WorkerPut>> {
        self.inner.write("record the workers", self.inner.put_workers(&workers)).await
    }

    async fn worker_secret(&self, worker: Incarnation) -> Result<Option<SecretHash>> {
        let read = self.inner.worker_secret(worker);
        self.inner.read("read the secret of a worker", read).await
    }

    async fn workers(&self, _now: Timestamp) -> Result<Vec<WorkerRecord>> {
        self.inner.read("read the workers", self.inner.workers()).await
    }

    async fn order_workers(
        &self,
        workers: Vec<Incarnation>,
        order: Option<WorkerDirective>,
    ) -> Result<Vec<bool>> {
        self.inner.write("order the workers", self.inner.order_workers(&workers, order)).await
    }

    async fn remove_workers(
        &self,
        workers: Vec<Incarnation>,
        removal: WorkerRemoval,
    ) -> Result<()> {
        self.inner.write("delete the workers", self.inner.remove_workers(&workers, removal)).await
    }
}
