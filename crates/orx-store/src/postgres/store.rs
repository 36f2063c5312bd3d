//! What belongs to the whole store: whether it can be written, the note of its clock, its end.

use async_trait::async_trait;
use orx_model::Timestamp;

use super::db_error::{DbError, DbResult};
use super::executor::MessageKind;
use super::row::PgColumns;
use super::sql::{self, SqlValue};
use super::{PgBudget, Postgres, open};
use crate::codec::{clock_note, clock_values};
use crate::columns::Row as _;
use crate::{ClockNote, Durability, PruneRequest, Pruned, Result, StoreInfo, Term, Upkeep};

impl PgBudget {
    async fn clock(&self) -> DbResult<Option<ClockNote>> {
        let message = "select key, value from meta where key like 'clock_%'";
        let rows = self.rows(MessageKind::Read, message).await?;
        let value = |row| Ok((PgColumns(row).text(0)?, PgColumns(row).int(1)?));
        Ok(clock_note(&rows.iter().map(value).collect::<DbResult<_>>()?))
    }

    async fn note_clock(&self, note: &ClockNote, term: Term) -> DbResult<()> {
        let values = clock_values(note);
        let values = [
            ("lease", SqlValue::Lease(Some(term))),
            ("keys", sql::texts(values.iter().map(|(key, _)| *key))),
            ("values", sql::ints(values.iter().map(|(_, value)| *value))),
        ];
        let message = sql::fill(
            "with l as materialized (:lease), noted as (insert into meta (key, value) \
             select t.key, t.value from unnest(:keys, :values) as t(key, value), l \
             order by 1 on conflict (key) do update set value = excluded.value) \
             select 1 from l",
            values,
        );
        let rows = self.rows(MessageKind::Advisory, message).await?;
        rows.first().map(drop).ok_or(DbError::Deposed)
    }
}

#[async_trait]
impl Upkeep for Postgres {
    fn info(&self) -> StoreInfo {
        let durability = match self.inner.options.durability {
            Durability::Full => "full",
            Durability::Relaxed => "may lose the last moments when the database server crashes",
        };
        StoreInfo { kind: "postgres", durability, schema: open::SCHEMA }
    }

    async fn look(&self) -> Result<()> {
        self.inner.read("check the store", self.inner.look()).await
    }

    async fn check_writable(&self) -> Result<()> {
        self.inner.write("write to the store", self.inner.check_writable()).await
    }

    async fn prune(&self, request: PruneRequest, term: Term) -> Result<Pruned> {
        self.inner.write("delete old jobs", self.inner.prune(&request, term)).await
    }

    async fn forget_keys(&self, now: Timestamp, limit: u32, term: Term) -> Result<u64> {
        self.inner.write("delete old keys", self.inner.forget_keys(now, limit, term)).await
    }

    async fn clock(&self) -> Result<Option<ClockNote>> {
        self.inner.read("read the clock note", self.inner.clock()).await
    }

    async fn note_clock(&self, note: ClockNote, term: Term) -> Result<()> {
        self.inner.write("record the clock", self.inner.note_clock(&note, term)).await
    }

    async fn close(&self) -> Result<()> {
        self.end().await
    }
}
