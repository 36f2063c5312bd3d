//! Writes of logs, workers, tokens and the clock, and the deletion of old jobs, keys and tokens.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use orx_model::log::LogChunk;
use orx_model::message::WorkerDirective;
use orx_model::{Incarnation, SecretHash, Timestamp, limits};

use super::db_error::{DbError, DbResult};
use super::executor::Kind;
use super::group::{Group, Groups, Part, ROW_BYTES};
use super::row::Columns;
use super::sql::{Statement, Value};
use super::{Inner, sql};
use crate::codec::{clock_note, clock_values, integer, millis, order_of, stream_code};
use crate::columns::Row as _;
use crate::{
    ClockJump, ClockNote, PruneRequest, Pruned, Term, TokenRecord, WorkerPut, WorkerRemoval,
    WorkerReport,
};

/// Maximum number of rounds in which another node inserts the same workers first.
const UNSEEN_MAX: usize = 3;

impl Part for Vec<LogChunk> {
    type Answer = ();
    const ACTION: &'static str = "store the log";

    fn weight(&self) -> usize {
        self.iter().map(|chunk| 1 + chunk.bytes.len() / ROW_BYTES).sum()
    }

    fn group(groups: &Groups) -> &Group<Self> {
        &groups.logs
    }

    async fn write(inner: &Arc<Inner>, parts: &[Self]) -> DbResult<Vec<()>> {
        let chunks = || parts.iter().flatten();
        let values = [
            ("jobs", sql::ints(chunks().map(|chunk| chunk.job.0))),
            ("attempts", sql::ints(chunks().map(|chunk| i64::from(chunk.attempt)))),
            ("seqs", sql::ints(chunks().map(|chunk| integer(chunk.seq)))),
            ("executions", sql::ids(chunks().map(|chunk| chunk.execution.0))),
            ("streams", sql::ints(chunks().map(|chunk| stream_code(chunk.stream)))),
            ("ats", sql::ints(chunks().map(|chunk| chunk.at.as_millis()))),
            ("dropped", sql::ints(chunks().map(|chunk| integer(chunk.dropped_bytes)))),
            ("bytes", sql::byte_strings(chunks().map(|chunk| chunk.bytes.as_slice()))),
        ];
        inner.rows(Kind::Advisory, sql::fill(include_str!("append_logs.sql"), values)).await?;
        Ok(vec![(); parts.len()])
    }
}

impl Inner {
    pub(super) async fn put_workers(
        &self,
        workers: &[(SecretHash, WorkerReport)],
    ) -> DbResult<Vec<WorkerPut>> {
        let mut answers = vec![WorkerPut::Kept(None); workers.len()];
        let mut left: Vec<usize> = (0..workers.len()).collect();
        let mut unseen = 0;
        while !left.is_empty() {
            // Two reports of one worker are written in two rounds.
            let mut seen = HashSet::new();
            let of = |index: &usize| workers[*index].1.registration.incarnation;
            let (now, later): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|index| seen.insert(of(index)));
            let reports: Vec<_> = now.iter().map(|index| &workers[*index]).collect();
            let rows = self.rows(Kind::Advisory, workers_statement(&reports)?).await?;
            let mut written: HashMap<Incarnation, WorkerPut> = HashMap::new();
            for row in &rows {
                let row = Columns(row);
                let answer = if row.bool(2)? {
                    WorkerPut::Kept(row.optional_str(1)?.and_then(order_of))
                } else {
                    WorkerPut::OtherSecret
                };
                written.insert(row.incarnation(0)?, answer);
            }
            let added = |index: &usize| match written.get(&of(index)) {
                Some(answer) => {
                    answers[*index] = *answer;
                    false
                }
                None if workers[*index].1.heartbeat > 0 => {
                    answers[*index] = WorkerPut::Unregistered;
                    false
                }
                None => true,
            };
            // Another node inserted these rows after the statement began; the next statement sees them.
            let added: Vec<usize> = now.into_iter().filter(added).collect();
            if !added.is_empty() {
                unseen += 1;
            }
            if unseen > UNSEEN_MAX {
                return Err(DbError::Busy);
            }
            left = added.into_iter().chain(later).collect();
        }
        Ok(answers)
    }

    pub(super) async fn worker_secret(&self, worker: Incarnation) -> DbResult<Option<SecretHash>> {
        let message = sql::fill(
            "select secret from workers where incarnation = :worker and secret is not null",
            [("worker", sql::id(worker.0))],
        );
        let rows = self.rows(Kind::Read, message).await?;
        let bytes = rows.first().map(|row| Columns(row).bytes(0)).transpose()?;
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(SecretHash))
    }

    pub(super) async fn order_workers(
        &self,
        workers: &[Incarnation],
        order: Option<WorkerDirective>,
    ) -> DbResult<Vec<bool>> {
        let values = [
            ("workers", sql::ids(workers.iter().map(|worker| worker.0))),
            ("ordered", sql::optional_text(order.map(WorkerDirective::as_str))),
        ];
        let message = sql::fill(include_str!("order_workers.sql"), values);
        let rows = self.rows(Kind::Repeatable, message).await?;
        let ordered = rows.iter().map(|row| Columns(row).incarnation(0));
        let ordered = ordered.collect::<DbResult<HashSet<_>>>()?;
        Ok(workers.iter().map(|worker| ordered.contains(worker)).collect())
    }

    pub(super) async fn remove_workers(
        &self,
        workers: &[Incarnation],
        removal: WorkerRemoval,
    ) -> DbResult<()> {
        // The same condition as `WorkerRemoval::spares`.
        let stays = match removal {
            WorkerRemoval::Stopped => "and w.ordered is distinct from 'fence'",
            WorkerRemoval::Lost => "and w.ordered is null",
            WorkerRemoval::Gone => "",
        };
        let message = sql::fill(
            &format!(
                "delete from workers where incarnation in (select w.incarnation from workers w, \
                 (:settings) s where w.incarnation = any(:workers) {stays} order by 1 for update of w)"
            ),
            [("workers", sql::ids(workers.iter().map(|worker| worker.0)))],
        );
        self.rows(Kind::Advisory, message).await.map(drop)
    }

    pub(super) async fn put_token(&self, token: &TokenRecord) -> DbResult<()> {
        let values = [
            ("id", sql::text(&token.id)),
            ("hash", sql::bytes(&token.hash)),
            ("scopes", sql::text(&serde_json::to_string(&token.scopes)?)),
            ("created_at", sql::int(token.created_at.as_millis())),
            ("expires_at", sql::optional_int(millis(token.expires_at))),
            ("revoked_at", sql::optional_int(millis(token.revoked_at))),
            ("note", sql::text(&token.note)),
        ];
        let message = sql::fill(include_str!("put_token.sql"), values);
        self.rows(Kind::Repeatable, message).await.map(drop)
    }

    pub(super) async fn forget_tokens(&self, ended_before: Timestamp) -> DbResult<u64> {
        let message = sql::fill(
            "with gone as (delete from tokens using (:settings) s \
             where revoked_at < :before or expires_at < :before returning 1) \
             select count(*) from gone",
            [("before", sql::int(ended_before.as_millis()))],
        );
        let rows = self.rows(Kind::Repeatable, message).await?;
        rows.first().map_or(Ok(0), |row| Columns(row).unsigned(0))
    }

    pub(super) async fn prune(
        self: &Arc<Self>,
        request: &PruneRequest,
        term: Term,
    ) -> DbResult<Pruned> {
        let key_kept = i64::try_from(limits::KEY_KEPT.as_millis()).unwrap_or(i64::MAX);
        let values = [
            ("lease", Value::Lease(Some(term))),
            ("completed_before", sql::int(request.completed_before.as_millis())),
            ("others_before", sql::int(request.others_before.as_millis())),
            ("limit", sql::int(i64::from(request.limit))),
            ("chunks", sql::int(i64::from(request.chunks))),
            ("key_kept", sql::int(key_kept)),
        ];
        let message = sql::fill(include_str!("prune.sql"), values);
        let rows = self.rows(Kind::Durable, message).await?;
        let row = Columns(rows.first().ok_or(DbError::Deposed)?);
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
            ("lease", Value::Lease(Some(term))),
            ("now", sql::int(now.as_millis())),
            ("limit", sql::int(i64::from(limit))),
        ];
        let message = sql::fill(include_str!("forget_keys.sql"), values);
        let rows = self.rows(Kind::Durable, message).await?;
        Columns(rows.first().ok_or(DbError::Deposed)?).unsigned(0)
    }

    pub(super) async fn clock(&self) -> DbResult<Option<ClockNote>> {
        let message = "select key, value from meta where key like 'clock_%'";
        let rows = self.rows(Kind::Read, message).await?;
        let value = |row| Ok((Columns(row).text(0)?, Columns(row).int(1)?));
        Ok(clock_note(&rows.iter().map(value).collect::<DbResult<_>>()?))
    }

    pub(super) async fn note_clock(&self, note: &ClockNote, term: Term) -> DbResult<()> {
        let values = clock_values(note);
        let values = [
            ("lease", Value::Lease(Some(term))),
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
        let rows = self.rows(Kind::Advisory, message).await?;
        rows.first().map(drop).ok_or(DbError::Deposed)
    }

    pub(super) async fn clock_was_set(
        &self,
        jump: ClockJump,
        term: Term,
        now: Timestamp,
    ) -> DbResult<u64> {
        let values = [
            ("lease", Value::Lease(Some(term))),
            ("before", sql::int(jump.before.as_millis())),
            ("by", sql::int(jump.by_ms)),
            ("now", sql::int(now.as_millis())),
        ];
        let message = sql::fill(include_str!("clock_was_set.sql"), values);
        let rows = self.rows(Kind::Durable, message).await?;
        Columns(rows.first().ok_or(DbError::Deposed)?).unsigned(0)
    }
}

fn workers_statement(workers: &[&(SecretHash, WorkerReport)]) -> DbResult<Statement> {
    let reports = || workers.iter().map(|(_, report)| report);
    let registrations = reports()
        .map(|report| serde_json::to_string(&report.registration))
        .collect::<Result<Vec<_>, _>>()?;
    let loads = reports()
        .map(|report| report.load.as_ref().map(serde_json::to_string).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let registered = || reports().map(|report| &report.registration);
    let values = [
        ("incarnations", sql::ids(registered().map(|it| it.incarnation.0))),
        ("names", sql::texts(registered().map(|it| it.name.as_str()))),
        ("registrations", sql::texts(registrations.iter().map(String::as_str))),
        ("states", sql::texts(reports().map(|report| report.state.as_str()))),
        ("capacities", sql::ints(reports().map(|report| i64::from(report.capacity)))),
        ("heartbeats", sql::ints(reports().map(|report| integer(report.heartbeat)))),
        ("loads", sql::texts(loads.iter().map(Option::as_deref))),
        ("hosts", sql::ids(reports().map(|report| report.hosted_by.map(|it| it.0)))),
        ("nodes", sql::ids(reports().map(|report| report.node.map(|it| it.0)))),
        ("secrets", sql::byte_strings(workers.iter().map(|(secret, _)| secret.0.as_slice()))),
    ];
    Ok(sql::fill(include_str!("put_workers.sql"), values))
}
