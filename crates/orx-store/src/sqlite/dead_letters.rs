//! Dead letters.

use async_trait::async_trait;
use orx_model::{JobId, Timestamp};
use rusqlite::Connection;

use super::db_error::DbResult;
use super::writer::Tx;
use super::{Sqlite, TOO_BROAD, WriteKind, row};
use crate::budget::Reads;
use crate::walk::{Found, Walk};
use crate::{DeadLetterRow, DeadLetters, ListRequest, Page, Result};

fn dead_letter_count(conn: &Connection, most: u64) -> DbResult<u64> {
    let mut read = conn.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE dead IS NOT NULL LIMIT ?1)",
    )?;
    Ok(read.query_row([row::integer(most)], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

pub(super) fn delete_dead_letters(tx: &mut Tx<'_>, ids: &[JobId]) -> DbResult<Vec<bool>> {
    let mut forget = tx.conn.prepare_cached(
        "UPDATE jobs SET dead = NULL, dead_at = NULL WHERE id = ?1 AND dead IS NOT NULL",
    )?;
    let mut answers = Vec::with_capacity(ids.len());
    for id in ids {
        answers.push(forget.execute([id.0])? > 0);
    }
    Ok(answers)
}

#[async_trait]
impl DeadLetters for Sqlite {
    async fn dead_letters(
        &self,
        request: ListRequest,
        now: Timestamp,
    ) -> Result<Page<DeadLetterRow>> {
        let walk = self.walk("read the dead letters", Walk::page(request, now), true).await?;
        walk.into_page(Found::letter).ok_or(TOO_BROAD)
    }

    async fn dead_letter_count(&self, most: u64) -> Result<u64> {
        let read = move |conn: &Connection| dead_letter_count(conn, most);
        self.read_of(Reads::Piece, "count the dead letters", read).await
    }

    async fn delete_dead_letters(&self, ids: Vec<JobId>) -> Result<Vec<bool>> {
        let weight = ids.len();
        let run = move |tx: &mut Tx<'_>| delete_dead_letters(tx, &ids);
        self.write("delete the dead letters", WriteKind::Durable, weight, run).await
    }
}
