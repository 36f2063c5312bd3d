//! The lease of the leader, and the nodes, by the clock of the server.

use std::time::Duration;

use async_trait::async_trait;
use orx_model::{Incarnation, Timestamp};

use super::db_error::{DbError, DbResult};
use super::executor::MessageKind;
use super::row::{self, PgColumns};
use super::{PgBudget, Postgres, sql};
use crate::codec::integer;
use crate::columns::Row as _;
use crate::{
    Lead, LeadRequest, Leases, NodeRecord, NodeReport, Result, StoreCopy, StoreError, Term,
};

/// A column of milliseconds.
pub(super) fn left(row: PgColumns<'_>, column: usize) -> DbResult<Duration> {
    row.unsigned(column).map(Duration::from_millis)
}

impl PgBudget {
    async fn lead(&self, request: &LeadRequest) -> DbResult<Lead> {
        let ttl = i64::try_from(request.ttl.as_millis()).unwrap_or(i64::MAX);
        let values = || {
            [
                ("node", sql::id(request.node.0)),
                ("above", sql::int(integer(request.above))),
                ("ttl", sql::int(ttl.min(TTL_MAX))),
            ]
        };
        for _ in 0..LEAD_TRIES {
            let statement = sql::fill(include_str!("lead.sql"), values());
            let rows = self.rows(MessageKind::Repeatable, statement).await?;
            if let Some(row) = rows.first().map(PgColumns) {
                let term = Term { node: row.incarnation(1)?, epoch: row.unsigned(2)? };
                return Ok(match row.bool(0)? {
                    true => Lead::Leading(term),
                    false => Lead::Following { leader: term, left: left(row, 3)? },
                });
            }
            // The lease changed hands meanwhile, or was released.
            if let Some((leader, left)) = self.leader().await? {
                return Ok(Lead::Following { leader, left });
            }
        }
        Err(DbError::Busy)
    }

    async fn step_down(&self, term: Term) -> DbResult<bool> {
        let message = sql::fill(
            "update lease set holder = null, expires_at = null from (:settings) s \
             where holder = :node and epoch = :epoch returning 1",
            [("node", sql::id(term.node.0)), ("epoch", sql::int(integer(term.epoch)))],
        );
        Ok(!self.rows(MessageKind::Durable, message).await?.is_empty())
    }

    async fn leader(&self) -> DbResult<Option<(Term, Duration)>> {
        let rows = self.rows(MessageKind::Read, include_str!("leader.sql")).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let row = PgColumns(row);
        let term = Term { node: row.incarnation(0)?, epoch: row.unsigned(1)? };
        Ok(Some((term, left(row, 2)?)))
    }

    async fn put_node(&self, node: &NodeReport) -> DbResult<()> {
        let values = [
            ("node", sql::id(node.node.0)),
            ("name", sql::text(node.name.as_str())),
            ("url", sql::optional_text(node.url.as_deref())),
            ("version", sql::text(&node.version)),
            ("zone_version", sql::optional_text(node.zone_version.as_deref())),
            ("started_at", sql::int(node.started_at.as_millis())),
        ];
        let message = sql::fill(include_str!("put_node.sql"), values);
        self.rows(MessageKind::Advisory, message).await.map(drop)
    }

    async fn drain_node(&self, node: Incarnation, drain: bool) -> DbResult<bool> {
        let values = [("node", sql::id(node.0)), ("drain", sql::int(drain.into()))];
        let message = sql::fill(include_str!("drain_node.sql"), values);
        Ok(!self.rows(MessageKind::Durable, message).await?.is_empty())
    }

    async fn drains(&self, node: Incarnation) -> DbResult<bool> {
        let message = sql::fill(
            "select 1 from nodes where node = :node and draining_since is not null",
            [("node", sql::id(node.0))],
        );
        Ok(!self.rows(MessageKind::Read, message).await?.is_empty())
    }

    async fn nodes(&self) -> DbResult<Vec<NodeRecord>> {
        let message = "select node, name, url, version, started_at, seen_at, \
             greatest(0, (extract(epoch from clock_timestamp()) * 1000)::bigint - seen_at), zone_version, \
             draining_since \
             from nodes order by name, node";
        let rows = self.rows(MessageKind::Read, message).await?;
        let record = |row: &_| {
            let row = PgColumns(row);
            Ok(NodeRecord {
                report: NodeReport {
                    node: row.incarnation(0)?,
                    name: row.name(1)?,
                    url: row.optional_text(2)?,
                    version: row.text(3)?,
                    started_at: row.time(4)?,
                    zone_version: row.optional_text(7)?,
                },
                seen_at: row.time(5)?,
                silent: left(row, 6)?,
                draining_since: row.optional_time(8)?,
            })
        };
        row::readable("a node", &rows, record)
    }

    async fn remove_nodes(&self, nodes: &[Incarnation]) -> DbResult<()> {
        let message = sql::fill(
            "delete from nodes using (:settings) s where node = any(:nodes)",
            [("nodes", sql::ids(nodes.iter().map(|node| node.0)))],
        );
        self.rows(MessageKind::Advisory, message).await.map(drop)
    }
}

/// Attempts to take a lease that other nodes release meanwhile.
const LEAD_TRIES: usize = 3;

/// Maximum lease in milliseconds: about 3,000 years, within the range of the server's timestamps.
const TTL_MAX: i64 = 100_000_000_000_000;

#[async_trait]
impl Leases for Postgres {
    /// Uses the clock of the server, not `now`.
    async fn lead(&self, request: LeadRequest, _now: Timestamp) -> Result<Lead> {
        let answer = self.inner.write("take the lead", self.all.electing.lead(&request)).await;
        if let Err(StoreError::Busy) = &answer {
            if let Some(to) = self.home().await?.moved_to {
                return Err(StoreError::Moved { store: self.inner.name.clone(), to });
            }
            let drains = self.all.electing.drains(request.node);
            if self.inner.read("read the drain of the node", drains).await? {
                return Ok(Lead::Barred);
            }
        }
        answer
    }

    async fn step_down(&self, term: Term) -> Result<bool> {
        self.inner.write("step down", self.all.electing.step_down(term)).await
    }

    async fn leader(&self, _now: Timestamp) -> Result<Option<(Term, Duration)>> {
        self.inner.read("read the leader", self.inner.leader()).await
    }

    async fn put_node(&self, node: NodeReport, _now: Timestamp) -> Result<()> {
        self.inner.write("record the node", self.inner.put_node(&node)).await
    }

    async fn drain_node(&self, node: Incarnation, drain: bool, _now: Timestamp) -> Result<bool> {
        self.inner.write("drain the node", self.inner.drain_node(node, drain)).await
    }

    async fn nodes(&self, _now: Timestamp) -> Result<Vec<NodeRecord>> {
        self.inner.read("read the nodes", self.inner.nodes()).await
    }

    async fn remove_nodes(&self, nodes: Vec<Incarnation>) -> Result<()> {
        self.inner.write("delete the nodes", self.inner.remove_nodes(&nodes)).await
    }
}
