//! Dead letters.

use std::collections::{BTreeSet, HashSet};

use async_trait::async_trait;
use orx_model::cause::cause_text;
use orx_model::job::DeadReason;
use orx_model::{Cause, CauseId, JobId, Name, Timestamp};

use super::db_error::{DbError, DbResult};
use super::executor::MessageKind;
use super::row::PgColumns;
use super::sql::SqlValue;
use super::{PgBudget, Postgres, TOO_BROAD, sql};
use crate::cause_groups::is_counted;
use crate::codec::{dead_reason, integer, policy};
use crate::columns::Row as _;
use crate::filter_pushdown::CAUSELESS;
use crate::walk::{Found, Walk};
use crate::{
    CauseRow, CausesPage, CausesRequest, DeadLetterRow, DeadLetters, ListRequest, Page, Result,
    Term,
};

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

    /// `None` if the filter would have to read too many dead letters.
    async fn causes(&self, request: CausesRequest, now: Timestamp) -> DbResult<Option<CausesPage>> {
        if is_counted(&request.filter) {
            return self.counted_causes(&request).await.map(Some);
        }
        let walk = self.walk(Walk::causes(request.filter.clone(), now), true).await?;
        Ok(walk.into_causes(&request))
    }

    /// A page of causes, from the counts.
    async fn counted_causes(&self, request: &CausesRequest) -> DbResult<CausesPage> {
        let among = request.filter.causes();
        let ids = among.iter().flatten().map(|id| Some(id.to_signed()));
        // No cause comes before the first page.
        let (count, after) = request
            .after
            .map_or((i64::MAX, i64::MIN), |(count, id)| (integer(count), id.to_signed()));
        let values = [
            ("every", sql::int(i64::from(among.is_none()))),
            ("causes", sql::ints(ids)),
            ("count", sql::int(count)),
            ("after", sql::int(after)),
            ("limit", sql::int(i64::from(request.limit) + 1)),
        ];
        let message = sql::fill(include_str!("causes.sql"), values);
        let found = self.rows(MessageKind::Piece, message).await?;
        let mut rows: Vec<CauseRow> = Vec::new();
        for row in &found {
            let row = PgColumns(row);
            let id = CauseId::from_signed(row.int(0)?);
            if rows.last().is_none_or(|last| last.id != id) {
                let (name, error, reason) = letter(row, 4)?;
                rows.push(CauseRow {
                    id,
                    name,
                    text: cause_text(error, reason),
                    count: row.unsigned(1)?,
                    queues: BTreeSet::new(),
                    reasons: BTreeSet::new(),
                    first: row.time(2)?,
                    last: row.time(3)?,
                    sample: row.job(4)?,
                });
            }
            if let Some(last) = rows.last_mut() {
                last.queues.extend(row.optional_name(8)?);
                last.reasons.extend(row.optional_str(9)?.and_then(dead_reason));
            }
        }
        let more = rows.len() > request.limit as usize;
        rows.truncate(request.limit as usize);
        let next = rows.last().filter(|_| more).map(|row| (row.count, row.id));
        Ok(CausesPage { rows, next })
    }

    async fn assign_causes(&self, limit: u32, term: Term) -> DbResult<u64> {
        let message = format!(
            "select j.id, coalesce(s.head, s.spec), j.last_error, j.dead \
             from jobs j left join specs s on s.job = j.id \
             where {CAUSELESS} order by j.id limit {limit}"
        );
        let found = self.rows(MessageKind::Scan, message).await?;
        let (mut jobs, mut causes) = (Vec::new(), Vec::new());
        for row in &found {
            let row = PgColumns(row);
            let (name, error, reason) = letter(row, 0)?;
            jobs.push(Some(row.int(0)?));
            let is_dead = row.optional_str(3)?.is_some();
            causes.push(is_dead.then(|| Cause::new(&name, error, reason).id.to_signed()));
        }
        let values = [
            ("lease", SqlValue::Lease(Some(term))),
            ("jobs", sql::ints(jobs)),
            ("causes", sql::ints(causes)),
        ];
        let message = sql::fill(include_str!("assign_causes.sql"), values);
        let rows = self.rows(MessageKind::Durable, message).await?;
        if rows.is_empty() { Err(DbError::Deposed) } else { Ok(found.len() as u64) }
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

/// What the cause of a dead letter is computed from: the columns job, spec, error and reason.
fn letter(row: PgColumns<'_>, first: usize) -> DbResult<(Name, Option<&str>, DeadReason)> {
    let spec = row.optional_str(first + 1)?.map(str::as_bytes);
    let reason = row.optional_str(first + 3)?.and_then(dead_reason);
    let name = policy(row.job(first)?, spec).name;
    Ok((name, row.optional_str(first + 2)?, reason.unwrap_or(DeadReason::NotRetryable)))
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

    async fn causes(&self, request: CausesRequest, now: Timestamp) -> Result<CausesPage> {
        let found = self.inner.causes(request, now);
        self.inner.read("count the causes of dead letters", found).await?.ok_or(TOO_BROAD)
    }

    async fn assign_causes(&self, limit: u32, term: Term) -> Result<u64> {
        let assigned = self.inner.assign_causes(limit, term);
        self.inner.write("compute the causes of dead letters", assigned).await
    }

    async fn delete_dead_letters(&self, ids: Vec<JobId>) -> Result<Vec<bool>> {
        self.inner.write("delete the dead letters", self.inner.delete_dead_letters(&ids)).await
    }
}
