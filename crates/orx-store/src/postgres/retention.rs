//! Retention: deletes old jobs with their logs, and old keys.

use std::sync::Arc;

use orx_model::{Timestamp, limits};

use super::PgBudget;
use super::db_error::{DbError, DbResult};
use super::executor::MessageKind;
use super::row::PgColumns;
use super::sql::{self, SqlValue};
use crate::columns::Row as _;
use crate::{PruneRequest, Pruned, Term};

impl PgBudget {
    pub(super) async fn prune(
        self: &Arc<Self>,
        request: &PruneRequest,
        term: Term,
    ) -> DbResult<Pruned> {
        let key_kept = i64::try_from(limits::KEY_KEPT.as_millis()).unwrap_or(i64::MAX);
        let values = [
            ("lease", SqlValue::Lease(Some(term))),
            ("completed_before", sql::int(request.completed_before.as_millis())),
            ("others_before", sql::int(request.others_before.as_millis())),
            ("limit", sql::int(i64::from(request.limit))),
            ("chunks", sql::int(i64::from(request.chunks))),
            ("key_kept", sql::int(key_kept)),
        ];
        let message = sql::fill(include_str!("prune.sql"), values);
        let rows = self.rows(MessageKind::Durable, message).await?;
        let row = PgColumns(rows.first().ok_or(DbError::Deposed)?);
        let (jobs, chunks) = (row.unsigned(0)?, row.unsigned(1)?);
        self.sum_counts().await?;
        let more = jobs == u64::from(request.limit) || chunks == u64::from(request.chunks);
        Ok(Pruned { jobs, more })
    }

    pub(super) async fn forget_keys(
        &self,
        now: Timestamp,
        limit: u32,
        term: Term,
    ) -> DbResult<u64> {
        let values = [
            ("lease", SqlValue::Lease(Some(term))),
            ("now", sql::int(now.as_millis())),
            ("limit", sql::int(i64::from(limit))),
        ];
        let message = sql::fill(include_str!("forget_keys.sql"), values);
        let rows = self.rows(MessageKind::Durable, message).await?;
        PgColumns(rows.first().ok_or(DbError::Deposed)?).unsigned(0)
    }
}
