//! Dead letters.

use std::collections::HashSet;

use async_trait::async_trait;
use orx_model::{JobId, Timestamp};

use super::db_error::DbResult;
use super::executor::MessageKind;
use super::row::PgColumns;
use super::{PgBudget, Postgres, TOO_BROAD, sql};
use crate::codec::integer;
use crate::columns::Row as _;
use crate::walk::{Found, Walk};
use crate::{DeadLetterRow, DeadLetters, ListRequest, Page, Result};

impl PgBudget {
    /// `None` if the filter would have to read too many jobs.
    async fn dead_letters(
        &self,
        request: ListRequest,
        now: Timestamp,
    ) -> DbResult<Option<Page<DeadLetterRow>>> {
        let walk = self.walk(Walk::page(request, now), true).await?;
        Ok(walk.into_page(Found::letter))
    }

    async fn dead_letter_count(&self, most: u64) -> DbResult<u64> {
        let message = format!(
            "select count(*) from (select from jobs where dead is not null limit {}) letters",
            integer(most)
        );
        let rows = self.rows(MessageKind::Piece, message).await?;
        Ok(rows.first().map(|row| PgColumns(row).unsigned(0)).transpose()?.unwrap_or(0))
    }

    async fn delete_dead_letters(&self, ids: &[JobId]) -> DbResult<Vec<bool>> {
        let message = sql::fill(
            include_str!("delete_dead.sql"),
            [("jobs", sql::ints(ids.iter().map(|id| id.0)))],
        );
        let rows = self.rows(MessageKind::Durable, message).await?;
        let forgotten = rows.iter().map(|row| PgColumns(row).job(0));
        let mut forgotten: HashSet<JobId> = forgotten.collect::<DbResult<_>>()?;
        // A job has one dead letter, so the first of equal ids gets it.
        Ok(ids.iter().map(|id| forgotten.remove(id)).collect())
    }
}

#[async_trait]
impl DeadLetters for Postgres {
    async fn dead_letters(
        &self,
        request: ListRequest,
        now: Timestamp,
    ) -> Result<Page<DeadLetterRow>> {
        let found = self.inner.dead_letters(request, now);
        self.inner.read("read the dead letters", found).await?.ok_or(TOO_BROAD)
    }

    async fn dead_letter_count(&self, most: u64) -> Result<u64> {
        self.inner.read("count the dead letters", self.inner.dead_letter_count(most)).await
    }

    async fn delete_dead_letters(&self, ids: Vec<JobId>) -> Result<Vec<bool>> {
        self.inner.write("delete the dead letters", self.inner.delete_dead_letters(&ids)).await
    }
}
