//! Pauses of queues.

use async_trait::async_trait;
use orx_model::Name;
use rusqlite::{Connection, params};

use super::db_error::DbResult;
use super::row;
use super::writer::Tx;
use super::{Sqlite, WriteKind};
use crate::{Paused, Queues, Result};

fn pause_queue(tx: &mut Tx<'_>, queue: &Name, pause: &Paused) -> DbResult<bool> {
    let Some(id) = tx.cache.set_paused(queue, true) else { return Ok(false) };
    tx.conn
        .prepare_cached(
            "INSERT INTO queue_pauses (queue, paused_at, reason, paused_by) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO UPDATE SET reason = excluded.reason, paused_by = excluded.paused_by",
        )?
        .execute(params![id, pause.at.as_millis(), pause.reason, pause.by])?;
    Ok(true)
}

fn resume_queue(tx: &mut Tx<'_>, queue: &Name) -> DbResult<bool> {
    let Some(id) = tx.cache.set_paused(queue, false) else { return Ok(false) };
    let mut delete = tx.conn.prepare_cached("DELETE FROM queue_pauses WHERE queue = ?1")?;
    Ok(delete.execute([id])? > 0)
}

fn paused_queues(conn: &Connection) -> DbResult<Vec<(Name, Paused)>> {
    let mut read = conn.prepare_cached(
        "SELECT q.name, p.paused_at, p.reason, p.paused_by \
         FROM queue_pauses p JOIN queues q ON q.id = p.queue ORDER BY q.name",
    )?;
    let rows = read.query_map([], |row| {
        let pause = Paused { at: row::time(row, 1)?, reason: row.get(2)?, by: row.get(3)? };
        Ok((row::name(row, 0)?, pause))
    })?;
    Ok(row::readable("the pause of a queue", rows)?)
}

#[async_trait]
impl Queues for Sqlite {
    async fn pause_queue(&self, queue: Name, pause: Paused) -> Result<bool> {
        let run = move |tx: &mut Tx<'_>| pause_queue(tx, &queue, &pause);
        self.write("pause the queue", WriteKind::Durable, 1, run).await
    }

    async fn resume_queue(&self, queue: Name) -> Result<bool> {
        let run = move |tx: &mut Tx<'_>| resume_queue(tx, &queue);
        self.write("resume the queue", WriteKind::Durable, 1, run).await
    }

    async fn paused_queues(&self) -> Result<Vec<(Name, Paused)>> {
        self.read("read the paused queues", paused_queues).await
    }
}
