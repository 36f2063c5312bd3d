//! The lease of the leader, and the nodes.

use std::time::Duration;

use async_trait::async_trait;
use orx_model::{Incarnation, Timestamp};
use rusqlite::{Connection, params};

use super::cache::Lease;
use super::db_error::DbResult;
use super::writer::Tx;
use super::{Sqlite, WriteKind, row};
use crate::{Lead, LeadRequest, Leases, NodeRecord, NodeReport, Result, Term};

fn lead(tx: &mut Tx<'_>, request: &LeadRequest, now: Timestamp) -> DbResult<Lead> {
    let mut lease = tx.cache.lease();
    let current = lease.held.filter(|(_, until)| *until > now);
    if let Some((holder, until)) = current.filter(|(holder, _)| *holder != request.node) {
        let leader = Term { node: holder, epoch: lease.epoch };
        return Ok(Lead::Following { leader, left: until.saturating_since(now) });
    }
    if current.is_none() {
        if drains(tx.conn, request.node)? {
            return Ok(Lead::Barred);
        }
        let seconds = now.as_millis().div_euclid(1_000).max(0).unsigned_abs();
        lease.epoch = lease.epoch.max(request.above).max(seconds) + 1;
    }
    lease.held = Some((request.node, now.saturating_add(request.ttl)));
    tx.cache.set_lease(tx.conn, lease)?;
    Ok(Lead::Leading(Term { node: request.node, epoch: lease.epoch }))
}

fn drains(conn: &Connection, node: Incarnation) -> DbResult<bool> {
    let mut read =
        conn.prepare_cached("SELECT 1 FROM nodes WHERE node = ?1 AND draining_since IS NOT NULL")?;
    Ok(read.exists([node.to_bytes()])?)
}

fn drain_node(tx: &mut Tx<'_>, node: Incarnation, drain: bool, now: Timestamp) -> DbResult<bool> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE nodes SET draining_since = CASE WHEN ?2 THEN ?3 END \
             WHERE node = ?1 AND (draining_since IS NULL) = ?2",
        )?
        .execute(params![node.to_bytes(), drain, now.as_millis()])?;
    Ok(changed > 0)
}

fn step_down(tx: &mut Tx<'_>, term: Term) -> DbResult<bool> {
    let led = tx.cache.leads(term);
    if led {
        let lease = Lease { held: None, ..tx.cache.lease() };
        tx.cache.set_lease(tx.conn, lease)?;
    }
    Ok(led)
}

fn leader(tx: &Tx<'_>, now: Timestamp) -> Option<(Term, Duration)> {
    let lease = tx.cache.lease();
    let (node, until) = lease.held.filter(|(_, until)| *until > now)?;
    Some((Term { node, epoch: lease.epoch }, until.saturating_since(now)))
}

fn put_node(tx: &mut Tx<'_>, node: &NodeReport, now: Timestamp) -> DbResult<()> {
    tx.conn
        .prepare_cached(
            "INSERT INTO nodes (node, name, url, version, started_at, seen_at, zone_version) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT (node) DO UPDATE SET name = excluded.name, url = excluded.url, \
             version = excluded.version, started_at = excluded.started_at, \
             seen_at = excluded.seen_at, zone_version = excluded.zone_version",
        )?
        .execute(params![
            node.node.to_bytes(),
            node.name.as_str(),
            node.url,
            node.version,
            node.started_at.as_millis(),
            now.as_millis(),
            node.zone_version,
        ])?;
    Ok(())
}

fn nodes(conn: &Connection, now: Timestamp) -> DbResult<Vec<NodeRecord>> {
    let mut read = conn.prepare_cached(
        "SELECT node, name, url, version, started_at, seen_at, zone_version, draining_since FROM nodes \
         ORDER BY name, node",
    )?;
    let rows = read.query_map([], |row| {
        let seen_at = row::time(row, 5)?;
        Ok(NodeRecord {
            report: NodeReport {
                node: row::incarnation(row, 0)?,
                name: row::name(row, 1)?,
                url: row.get(2)?,
                version: row.get(3)?,
                started_at: row::time(row, 4)?,
                zone_version: row.get(6)?,
            },
            seen_at,
            silent: now.saturating_since(seen_at),
            draining_since: row::optional_time(row, 7)?,
        })
    })?;
    Ok(row::readable("a node", rows)?)
}

fn remove_nodes(tx: &mut Tx<'_>, nodes: &[Incarnation]) -> DbResult<()> {
    let mut remove = tx.conn.prepare_cached("DELETE FROM nodes WHERE node = ?1")?;
    for node in nodes {
        remove.execute([node.to_bytes()])?;
    }
    Ok(())
}

#[async_trait]
impl Leases for Sqlite {
    async fn lead(&self, request: LeadRequest, now: Timestamp) -> Result<Lead> {
        let run = move |tx: &mut Tx<'_>| lead(tx, &request, now);
        self.write("take the lead", WriteKind::Durable, 1, run).await
    }

    async fn step_down(&self, term: Term) -> Result<bool> {
        let run = move |tx: &mut Tx<'_>| step_down(tx, term);
        self.write("step down", WriteKind::Durable, 1, run).await
    }

    async fn leader(&self, now: Timestamp) -> Result<Option<(Term, Duration)>> {
        // The lease is in the memory of the writer. This command writes nothing.
        let run = move |tx: &mut Tx<'_>| Ok(leader(tx, now));
        self.write("read the leader", WriteKind::Advisory, 1, run).await
    }

    async fn put_node(&self, node: NodeReport, now: Timestamp) -> Result<()> {
        let run = move |tx: &mut Tx<'_>| put_node(tx, &node, now);
        self.write("record the node", WriteKind::Advisory, 1, run).await
    }

    async fn drain_node(&self, node: Incarnation, drain: bool, now: Timestamp) -> Result<bool> {
        let run = move |tx: &mut Tx<'_>| drain_node(tx, node, drain, now);
        self.write("drain the node", WriteKind::Durable, 1, run).await
    }

    async fn nodes(&self, now: Timestamp) -> Result<Vec<NodeRecord>> {
        self.read("read the nodes", move |conn| nodes(conn, now)).await
    }

    async fn remove_nodes(&self, nodes: Vec<Incarnation>) -> Result<()> {
        let weight = nodes.len();
        let run = move |tx: &mut Tx<'_>| remove_nodes(tx, &nodes);
        self.write("delete the nodes", WriteKind::Advisory, weight, run).await
    }
}
