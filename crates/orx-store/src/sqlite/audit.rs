//! The record of changes.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::db_error::DbResult;
use super::row;
use super::writer::Tx;
use super::{Sqlite, WriteKind};
use crate::audit::{AUDIT_FOR, AUDIT_FORGET, AUDIT_MOST};
use crate::{Audit, AuditRecord, AuditRequest, Result};

fn record_change(tx: &mut Tx<'_>, record: &AuditRecord) -> DbResult<()> {
    let AuditRecord { id: _, at, action, object, changed, token, address, person, reason } = record;
    tx.conn
        .prepare_cached(
            "INSERT INTO audit (at, action, object, changed, token, address, person, reason) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            at.as_millis(),
            action,
            object,
            row::integer(*changed),
            token,
            address,
            person,
            reason
        ])?;
    let last = tx.conn.last_insert_rowid();
    let since = at.saturating_sub(AUDIT_FOR).as_millis();
    let most = row::integer(AUDIT_MOST);
    tx.conn
        .prepare_cached(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ?1 \
             UNION ALL SELECT id FROM audit WHERE id <= ?2 LIMIT ?3)",
        )?
        .execute(params![since, last - most, AUDIT_FORGET])?;
    Ok(())
}

fn audit(conn: &Connection, request: &AuditRequest) -> DbResult<Vec<AuditRecord>> {
    let mut read = conn.prepare_cached(
        "SELECT id, at, action, object, changed, token, address, person, reason FROM audit \
         WHERE id < ?1 AND (?2 IS NULL OR action = ?2) ORDER BY id DESC LIMIT ?3",
    )?;
    let before = request.before.map_or(i64::MAX, row::integer);
    let rows = read.query_map(params![before, request.action, request.limit], |row| {
        Ok(AuditRecord {
            id: row.get::<_, i64>(0)?.unsigned_abs(),
            at: row::time(row, 1)?,
            action: row.get(2)?,
            object: row.get(3)?,
            changed: row.get::<_, i64>(4)?.unsigned_abs(),
            token: row.get(5)?,
            address: row.get(6)?,
            person: row.get(7)?,
            reason: row.get(8)?,
        })
    })?;
    Ok(row::readable("a record of a change", rows)?)
}

#[async_trait]
impl Audit for Sqlite {
    async fn record_change(&self, record: AuditRecord) -> Result<()> {
        let run = move |tx: &mut Tx<'_>| record_change(tx, &record);
        self.write("record the change", WriteKind::Durable, 1, run).await
    }

    async fn audit(&self, request: AuditRequest) -> Result<Vec<AuditRecord>> {
        self.read("read the record of changes", move |conn| audit(conn, &request)).await
    }
}
