//! The record of changes.

use async_trait::async_trait;

use super::db_error::DbResult;
use super::executor::MessageKind;
use super::row::{self, PgColumns};
use super::{PgBudget, Postgres, sql};
use crate::audit::{AUDIT_FOR, AUDIT_FORGET, AUDIT_MOST};
use crate::codec::integer;
use crate::columns::Row as _;
use crate::{Audit, AuditRecord, AuditRequest, Result};

impl PgBudget {
    async fn record_change(&self, record: &AuditRecord) -> DbResult<()> {
        let values = [
            ("at", sql::int(record.at.as_millis())),
            ("action", sql::text(&record.action)),
            ("object", sql::text(&record.object)),
            ("changed", sql::int(integer(record.changed))),
            ("token", sql::text(&record.token)),
            ("address", sql::optional_text(record.address.as_deref())),
            ("person", sql::optional_text(record.person.as_deref())),
            ("reason", sql::optional_text(record.reason.as_deref())),
            ("since", sql::int(record.at.saturating_sub(AUDIT_FOR).as_millis())),
            ("most", sql::int(integer(AUDIT_MOST))),
            ("forget", sql::int(i64::from(AUDIT_FORGET))),
        ];
        let message = sql::fill(include_str!("record_change.sql"), values);
        self.rows(MessageKind::Durable, message).await.map(drop)
    }

    async fn audit(&self, request: &AuditRequest) -> DbResult<Vec<AuditRecord>> {
        let values = [
            ("before", sql::int(request.before.map_or(i64::MAX, integer))),
            ("action", sql::optional_text(request.action.as_deref())),
            ("limit", sql::int(i64::from(request.limit))),
        ];
        let message = sql::fill(
            "select id, at, action, object, changed, token, address, person, reason from audit \
             where id < :before and (:action is null or action = :action) \
             order by id desc limit :limit",
            values,
        );
        let rows = self.rows(MessageKind::Read, message).await?;
        row::readable("a record of a change", &rows, |row| {
            let row = PgColumns(row);
            let text = |column| -> DbResult<Option<String>> {
                Ok(row.optional_str(column)?.map(str::to_owned))
            };
            Ok(AuditRecord {
                id: row.unsigned(0)?,
                at: row.time(1)?,
                action: row.text(2)?,
                object: row.text(3)?,
                changed: row.unsigned(4)?,
                token: row.text(5)?,
                address: text(6)?,
                person: text(7)?,
                reason: text(8)?,
            })
        })
    }
}

#[async_trait]
impl Audit for Postgres {
    async fn record_change(&self, record: AuditRecord) -> Result<()> {
        self.inner.write("record the change", self.inner.record_change(&record)).await
    }

    async fn audit(&self, request: AuditRequest) -> Result<Vec<AuditRecord>> {
        self.inner.read("read the record of changes", self.inner.audit(&request)).await
    }
}
