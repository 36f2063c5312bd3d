//! Workers: their reports, their secrets and their orders.

use async_trait::async_trait;
use orx_model::message::{WorkerDirective, WorkerState};
use orx_model::{Incarnation, SecretHash, Timestamp};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::db_error::DbResult;
use super::writer::Tx;
use super::{Sqlite, WriteKind, row};
use crate::error::prepared;
use crate::{Result, WorkerPut, WorkerRecord, WorkerRemoval, WorkerReport, Workers, codec};

/// A worker report, serialized for its row.
#[derive(Debug)]
struct WorkerRow {
    incarnation: Incarnation,
    secret: SecretHash,
    name: String,
    registration: String,
    state: &'static str,
    capacity: u32,
    heartbeat: i64,
    load: Option<String>,
    hosted_by: Option<Incarnation>,
    node: Option<Incarnation>,
}

impl WorkerRow {
    fn new(
        (secret, report): &(SecretHash, WorkerReport),
    ) -> std::result::Result<Self, serde_json::Error> {
        Ok(Self {
            incarnation: report.registration.incarnation,
            secret: *secret,
            name: report.registration.name.to_string(),
            registration: serde_json::to_string(&report.registration)?,
            state: report.state.as_str(),
            capacity: report.capacity,
            heartbeat: row::integer(report.heartbeat),
            load: report.load.as_ref().map(serde_json::to_string).transpose()?,
            hosted_by: report.hosted_by,
            node: report.node,
        })
    }
}

fn put_workers(tx: &mut Tx<'_>, workers: &[WorkerRow], now: Timestamp) -> DbResult<Vec<WorkerPut>> {
    let mut find = tx
        .conn
        .prepare_cached("SELECT heartbeat, ordered, secret FROM workers WHERE incarnation = ?1")?;
    let mut seen =
        tx.conn.prepare_cached("UPDATE workers SET seen_at = ?2 WHERE incarnation = ?1")?;
    let mut put = tx.conn.prepare_cached(include_str!("put_worker.sql"))?;
    let mut answers = Vec::with_capacity(workers.len());
    for worker in workers {
        let incarnation = worker.incarnation.to_bytes();
        let known = find
            .query_row([incarnation], |row| {
                let secret = row.get::<_, Option<[u8; 32]>>(2)?;
                Ok((row.get::<_, i64>(0)?, row::order(row, 1)?, secret))
            })
            .optional()?;
        if worker.heartbeat > 0 && known.is_none() {
            answers.push(WorkerPut::Unregistered);
            continue;
        }
        if known
            .is_some_and(|(_, _, stored)| stored.is_some_and(|stored| stored != worker.secret.0))
        {
            answers.push(WorkerPut::OtherSecret);
            continue;
        }
        let order = known.and_then(|(_, order, _)| order);
        let newest = worker.heartbeat == 0
            || known.is_none_or(|(heartbeat, _, _)| worker.heartbeat >= heartbeat);
        if order == Some(WorkerDirective::Fence) {
            answers.push(WorkerPut::Stored(order));
            continue;
        }
        if newest {
            put.execute(params![
                incarnation,
                worker.name,
                worker.registration,
                worker.state,
                worker.capacity,
                worker.heartbeat,
                worker.load,
                now.as_millis(),
                worker.hosted_by.map(Incarnation::to_bytes),
                worker.node.map(Incarnation::to_bytes),
                worker.secret.0,
            ])?;
        } else {
            seen.execute(params![incarnation, now.as_millis()])?;
        }
        answers.push(WorkerPut::Stored(order));
    }
    Ok(answers)
}

fn order_workers(
    tx: &mut Tx<'_>,
    workers: &[Incarnation],
    order: Option<WorkerDirective>,
) -> DbResult<Vec<bool>> {
    let mut give = tx.conn.prepare_cached(
        "UPDATE workers SET ordered = ?2 WHERE incarnation = ?1 \
         AND (ordered IS NOT 'fence' OR ?2 IS 'fence')",
    )?;
    let mut answers = Vec::with_capacity(workers.len());
    for worker in workers {
        let word = order.map(WorkerDirective::as_str);
        answers.push(give.execute(params![worker.to_bytes(), word])? > 0);
    }
    Ok(answers)
}

fn remove_workers(
    tx: &mut Tx<'_>,
    workers: &[Incarnation],
    removal: WorkerRemoval,
) -> DbResult<()> {
    let mut find = tx.conn.prepare_cached("SELECT ordered FROM workers WHERE incarnation = ?1")?;
    let mut remove = tx.conn.prepare_cached("DELETE FROM workers WHERE incarnation = ?1")?;
    for worker in workers {
        let worker = worker.to_bytes();
        let order = find.query_row([worker], |row| row::order(row, 0)).optional()?;
        if order.is_some_and(|order| !removal.spares(order)) {
            remove.execute([worker])?;
        }
    }
    Ok(())
}

fn worker_secret(conn: &Connection, worker: Incarnation) -> DbResult<Option<SecretHash>> {
    let mut read = conn.prepare_cached("SELECT secret FROM workers WHERE incarnation = ?1")?;
    let stored = read.query_row([worker.to_bytes()], |row| row.get::<_, Option<[u8; 32]>>(0));
    Ok(stored.optional()?.flatten().map(SecretHash))
}

fn workers(conn: &Connection, now: Timestamp) -> DbResult<Vec<WorkerRecord>> {
    let mut read = conn.prepare_cached(
        "SELECT registration, state, capacity, heartbeat, load, hosted_by, node, seen_at, ordered, \
         incarnation, name FROM workers ORDER BY name, incarnation",
    )?;
    let rows = read.query_map([], |row| {
        let incarnation = |column| -> rusqlite::Result<Option<Incarnation>> {
            Ok(row.get::<_, Option<_>>(column)?.map(Incarnation::from_bytes))
        };
        let seen_at = row::time(row, 7)?;
        let registration = match row::json(row, 0) {
            Err(error) if row::is_unreadable(&error) => {
                let (worker, name) = (row::incarnation(row, 9)?, row.get_ref(10)?.as_str()?);
                codec::unreadable_worker(worker, name, seen_at, &error)
            }
            read => read?,
        };
        Ok(WorkerRecord {
            report: WorkerReport {
                registration,
                state: worker_state(row, 1)?,
                capacity: row.get(2)?,
                heartbeat: row.get::<_, i64>(3)?.unsigned_abs(),
                load: match row.get_ref(4)? {
                    ValueRef::Null => None,
                    // Only shown to people, so an unreadable load is left out.
                    _ => row::json(row, 4).ok(),
                },
                hosted_by: incarnation(5)?,
                node: incarnation(6)?,
            },
            seen_at,
            silent: now.saturating_since(seen_at),
            order: row::order(row, 8)?,
        })
    })?;
    Ok(row::readable("a worker", rows)?)
}

fn worker_state(row: &Row<'_>, column: usize) -> rusqlite::Result<WorkerState> {
    let text = row.get_ref(column)?.as_str()?;
    crate::codec::worker_state(text).ok_or_else(|| row::wrong(column, Type::Text, text))
}

#[async_trait]
impl Workers for Sqlite {
    async fn put_workers(
        &self,
        workers: Vec<(SecretHash, WorkerReport)>,
        now: Timestamp,
    ) -> Result<Vec<WorkerPut>> {
        let action = "record the workers";
        let rows = workers.iter().map(WorkerRow::new).collect::<std::result::Result<Vec<_>, _>>();
        let rows = prepared(action, rows)?;
        let weight = rows.len();
        let run = move |tx: &mut Tx<'_>| put_workers(tx, &rows, now);
        self.write(action, WriteKind::Advisory, weight, run).await
    }

    async fn worker_secret(&self, worker: Incarnation) -> Result<Option<SecretHash>> {
        let read = move |conn: &Connection| worker_secret(conn, worker);
        self.read("read the secret of a worker", read).await
    }

    async fn workers(&self, now: Timestamp) -> Result<Vec<WorkerRecord>> {
        self.read("read the workers", move |conn| workers(conn, now)).await
    }

    async fn order_workers(
        &self,
        workers: Vec<Incarnation>,
        order: Option<WorkerDirective>,
    ) -> Result<Vec<bool>> {
        let weight = workers.len();
        let run = move |tx: &mut Tx<'_>| order_workers(tx, &workers, order);
        self.write("order the workers", WriteKind::Durable, weight, run).await
    }

    async fn remove_workers(
        &self,
        workers: Vec<Incarnation>,
        removal: WorkerRemoval,
    ) -> Result<()> {
        let weight = workers.len();
        let run = move |tx: &mut Tx<'_>| remove_workers(tx, &workers, removal);
        self.write("delete the workers", WriteKind::Advisory, weight, run).await
    }
}
