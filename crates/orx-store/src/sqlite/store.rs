//! What belongs to the whole store: whether it can be written, the note of its clock, its end.

use std::collections::HashMap;

use async_trait::async_trait;
use orx_model::Timestamp;
use rusqlite::{Connection, params};

use super::db_error::DbResult;
use super::writer::Tx;
use super::{Sqlite, WriteKind, open, retention};
use crate::codec::{clock_note, clock_values};
use crate::{
    ClockNote, Durability, PruneRequest, Pruned, Result, StoreError, StoreInfo, Term, Upkeep,
};

/// With less free space on its disk a store counts as full: the largest write might fail.
const MIN_FREE_BYTES: u64 = 1024 * 1024;

/// Bytes that this process can still write to the disk; `None` if the system does not report them.
fn free_bytes(path: &std::path::Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    let free = if rustix::process::geteuid().is_root() { disk.f_bfree } else { disk.f_bavail };
    Some(free.saturating_mul(disk.f_frsize))
}

/// A write without content. It fails whenever other writes fail.
fn touch(tx: &mut Tx<'_>) -> DbResult<()> {
    tx.conn.prepare_cached("UPDATE meta SET value = value + 1 WHERE key = 'synced'")?.execute([])?;
    Ok(())
}

fn clock(conn: &Connection) -> DbResult<Option<ClockNote>> {
    let mut read = conn.prepare_cached("SELECT key, value FROM meta WHERE key LIKE 'clock_%'")?;
    let rows = read.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let values: HashMap<String, i64> = rows.collect::<std::result::Result<_, _>>()?;
    Ok(clock_note(&values))
}

fn note_clock(tx: &mut Tx<'_>, note: &ClockNote) -> DbResult<()> {
    let mut put =
        tx.conn.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?;
    for (key, value) in clock_values(note) {
        put.execute(params![key, value])?;
    }
    Ok(())
}

#[async_trait]
impl Upkeep for Sqlite {
    fn info(&self) -> StoreInfo {
        let durability = match self.shared.options.durability {
            Durability::Full => "full",
            Durability::Relaxed => "may lose the last moments at power loss",
        };
        StoreInfo { kind: "sqlite", durability, schema: open::SCHEMA }
    }

    async fn look(&self) -> Result<()> {
        self.usable()?;
        // The small row of `check_writable` may still fit on a disk that is full for other writes.
        if free_bytes(&self.shared.options.path).is_some_and(|free| free < MIN_FREE_BYTES) {
            return Err(StoreError::Full);
        }
        Ok(())
    }

    async fn check_writable(&self) -> Result<()> {
        self.look().await?;
        self.write("write to the store", WriteKind::Durable, 1, touch).await
    }

    async fn prune(&self, request: PruneRequest, term: Term) -> Result<Pruned> {
        let run = move |tx: &mut Tx<'_>| retention::prune(tx, &request);
        let (action, weight) =
            ("delete old jobs", request.limit.saturating_add(request.chunks) as usize);
        self.lead_write(action, WriteKind::Durable, weight, term, run).await
    }

    async fn forget_keys(&self, now: Timestamp, limit: u32, term: Term) -> Result<u64> {
        let run = move |tx: &mut Tx<'_>| retention::forget_keys(tx, now, limit);
        let (action, weight) = ("delete old keys", limit as usize);
        self.lead_write(action, WriteKind::Durable, weight, term, run).await
    }

    async fn clock(&self) -> Result<Option<ClockNote>> {
        self.read("read the clock note", clock).await
    }

    async fn note_clock(&self, note: ClockNote, term: Term) -> Result<()> {
        let run = move |tx: &mut Tx<'_>| note_clock(tx, &note);
        self.lead_write("record the clock", WriteKind::Advisory, 1, term, run).await
    }

    async fn close(&self) -> Result<()> {
        self.shared.end().await
    }
}
