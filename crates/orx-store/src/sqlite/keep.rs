//! Writes of logs, workers, the lease, nodes, tokens and the clock, and pruning.

use std::time::Duration;

use orx_model::job::Labels;
use orx_model::log::LogChunk;
use orx_model::message::WorkerDirective;
use orx_model::{Incarnation, JobId, JobStatus, Name, Origin, SecretHash, Timestamp, limits};
use rusqlite::{OptionalExtension, Row, params};
use serde::de::IgnoredAny;

use super::cache::Lease;
use super::db_error::DbResult;
use super::row::{self, millis, status_code, stream_code};
use super::writer::Tx;
use crate::codec::{clock_values, readable};
use crate::filter_pushdown;
use crate::{
    ClockNote, Lead, LeadRequest, NodeReport, PruneRequest, Pruned, Term, TokenRecord, WorkerPut,
    WorkerRemoval, WorkerReport,
};

pub(super) fn append_logs(tx: &mut Tx<'_>, chunks: &[LogChunk]) -> DbResult<()> {
    let mut known = tx.conn.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?;
    let mut insert = tx.conn.prepare_cached(
        "INSERT OR IGNORE INTO logs \
         (job, attempt, seq, execution, stream, at, dropped_bytes, bytes) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    // Consecutive chunks usually belong to one job.
    let mut last: Option<(JobId, bool)> = None;
    for chunk in chunks {
        let exists = match last {
            Some((job, exists)) if job == chunk.job => exists,
            _ => known.exists([chunk.job.0])?,
        };
        last = Some((chunk.job, exists));
        if exists {
            insert.execute(params![
                chunk.job.0,
                chunk.attempt,
                i64::try_from(chunk.seq).unwrap_or(i64::MAX),
                chunk.execution.to_bytes(),
                stream_code(chunk.stream),
                chunk.at.as_millis(),
                i64::try_from(chunk.dropped_bytes).unwrap_or(i64::MAX),
                chunk.bytes,
            ])?;
        }
    }
    Ok(())
}

/// A worker report, serialized for its row.
#[derive(Debug)]
pub(super) struct WorkerRow {
    incarnation: Incarnation,
    secret: SecretHash,
    name: String,
    registration: String,
    state: &'static str,
    capacity: u32,
    heartbeat: i64,
    load: Option<String>,
    hosted_by: Option<Incarnation>,
    node: Option<Incarnation>,
}

impl WorkerRow {
    pub(super) fn new(
        (secret, report): &(SecretHash, WorkerReport),
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            incarnation: report.registration.incarnation,
            secret: *secret,
            name: report.registration.name.to_string(),
            registration: serde_json::to_string(&report.registration)?,
            state: report.state.as_str(),
            capacity: report.capacity,
            heartbeat: row::integer(report.heartbeat),
            load: report.load.as_ref().map(serde_json::to_string).transpose()?,
            hosted_by: report.hosted_by,
            node: report.node,
        })
    }
}

pub(super) fn put_workers(
    tx: &mut Tx<'_>,
    workers: &[WorkerRow],
    now: Timestamp,
) -> DbResult<Vec<WorkerPut>> {
    let mut find = tx
        .conn
        .prepare_cached("SELECT heartbeat, ordered, secret FROM workers WHERE incarnation = ?1")?;
    let mut seen =
        tx.conn.prepare_cached("UPDATE workers SET seen_at = ?2 WHERE incarnation = ?1")?;
    let mut put = tx.conn.prepare_cached(include_str!("put_worker.sql"))?;
    let mut answers = Vec::with_capacity(workers.len());
    for worker in workers {
        let incarnation = worker.incarnation.to_bytes();
        let known = find
            .query_row([incarnation], |row| {
                let secret = row.get::<_, Option<[u8; 32]>>(2)?;
                Ok((row.get::<_, i64>(0)?, row::order(row, 1)?, secret))
            })
            .optional()?;
        if worker.heartbeat > 0 && known.is_none() {
            answers.push(WorkerPut::Unregistered);
            continue;
        }
        if known.is_some_and(|(_, _, kept)| kept.is_some_and(|kept| kept != worker.secret.0)) {
            answers.push(WorkerPut::OtherSecret);
            continue;
        }
        let order = known.and_then(|(_, order, _)| order);
        let newest = worker.heartbeat == 0
            || known.is_none_or(|(heartbeat, _, _)| worker.heartbeat >= heartbeat);
        if order == Some(WorkerDirective::Fence) {
            answers.push(WorkerPut::Kept(order));
            continue;
        }
        if newest {
            put.execute(params![
                incarnation,
                worker.name,
                worker.registration,
                worker.state,
                worker.capacity,
                worker.heartbeat,
                worker.load,
                now.as_millis(),
                worker.hosted_by.map(Incarnation::to_bytes),
                worker.node.map(Incarnation::to_bytes),
                worker.secret.0,
            ])?;
        } else {
            seen.execute(params![incarnation, now.as_millis()])?;
        }
        answers.push(WorkerPut::Kept(order));
    }
    Ok(answers)
}

pub(super) fn order_workers(
    tx: &mut Tx<'_>,
    workers: &[Incarnation],
    order: Option<WorkerDirective>,
) -> DbResult<Vec<bool>> {
    let mut give = tx.conn.prepare_cached(
        "UPDATE workers SET ordered = ?2 WHERE incarnation = ?1 \
         AND (ordered IS NOT 'fence' OR ?2 IS 'fence')",
    )?;
    let mut answers = Vec::with_capacity(workers.len());
    for worker in workers {
        let word = order.map(WorkerDirective::as_str);
        answers.push(give.execute(params![worker.to_bytes(), word])? > 0);
    }
    Ok(answers)
}

pub(super) fn remove_workers(
    tx: &mut Tx<'_>,
    workers: &[Incarnation],
    removal: WorkerRemoval,
) -> DbResult<()> {
    let mut find = tx.conn.prepare_cached("SELECT ordered FROM workers WHERE incarnation = ?1")?;
    let mut remove = tx.conn.prepare_cached("DELETE FROM workers WHERE incarnation = ?1")?;
    for worker in workers {
        let worker = worker.to_bytes();
        let order = find.query_row([worker], |row| row::order(row, 0)).optional()?;
        if order.is_some_and(|order| !removal.spares(order)) {
            remove.execute([worker])?;
        }
    }
    Ok(())
}

pub(super) fn lead(tx: &mut Tx<'_>, request: &LeadRequest, now: Timestamp) -> DbResult<Lead> {
    let mut lease = tx.cache.lease();
    let current = lease.held.filter(|(_, until)| *until > now);
    if let Some((holder, until)) = current.filter(|(holder, _)| *holder != request.node) {
        let leader = Term { node: holder, epoch: lease.epoch };
        return Ok(Lead::Following { leader, left: until.saturating_since(now) });
    }
    if current.is_none() {
        let seconds = now.as_millis().div_euclid(1_000).max(0).unsigned_abs();
        lease.epoch = lease.epoch.max(request.above).max(seconds) + 1;
    }
    lease.held = Some((request.node, now.saturating_add(request.ttl)));
    tx.cache.set_lease(tx.conn, lease)?;
    Ok(Lead::Leading(Term { node: request.node, epoch: lease.epoch }))
}

pub(super) fn step_down(tx: &mut Tx<'_>, term: Term) -> DbResult<bool> {
    let led = tx.cache.leads(term);
    if led {
        let lease = Lease { held: None, ..tx.cache.lease() };
        tx.cache.set_lease(tx.conn, lease)?;
    }
    Ok(led)
}

pub(super) fn leader(tx: &Tx<'_>, now: Timestamp) -> Option<(Term, Duration)> {
    let lease = tx.cache.lease();
    let (node, until) = lease.held.filter(|(_, until)| *until > now)?;
    Some((Term { node, epoch: lease.epoch }, until.saturating_since(now)))
}

pub(super) fn put_node(tx: &mut Tx<'_>, node: &NodeReport, now: Timestamp) -> DbResult<()> {
    tx.conn
        .prepare_cached(
            "INSERT OR REPLACE INTO nodes (node, name, url, version, started_at, seen_at, zone_version) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            node.node.to_bytes(),
            node.name.as_str(),
            node.url,
            node.version,
            node.started_at.as_millis(),
            now.as_millis(),
            node.zone_version,
        ])?;
    Ok(())
}

pub(super) fn remove_nodes(tx: &mut Tx<'_>, nodes: &[Incarnation]) -> DbResult<()> {
    let mut remove = tx.conn.prepare_cached("DELETE FROM nodes WHERE node = ?1")?;
    for node in nodes {
        remove.execute([node.to_bytes()])?;
    }
    Ok(())
}

pub(super) fn put_token(tx: &mut Tx<'_>, token: &TokenRecord) -> DbResult<()> {
    tx.conn
        .prepare_cached(
            "INSERT OR REPLACE INTO tokens \
             (id, hash, scopes, created_at, expires_at, revoked_at, note) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            token.id,
            token.hash,
            serde_json::to_string(&token.scopes)?,
            token.created_at.as_millis(),
            millis(token.expires_at),
            millis(token.revoked_at),
            token.note,
        ])?;
    Ok(())
}

pub(super) fn forget_tokens(tx: &mut Tx<'_>, ended_before: Timestamp) -> DbResult<u64> {
    let gone = tx
        .conn
        .prepare_cached("DELETE FROM tokens WHERE revoked_at < ?1 OR expires_at < ?1")?
        .execute([ended_before.as_millis()])?;
    Ok(gone as u64)
}

/// A job to prune: id, lane, status (`None` if it cannot be read), when it finished.
type Prunable = (i64, i64, Option<JobStatus>, i64);

pub(super) fn prune(tx: &mut Tx<'_>, request: &PruneRequest) -> DbResult<Pruned> {
    let mut gone = pick(
        tx,
        "SELECT id, lane, status, finished_at FROM jobs \
         WHERE status = 5 AND finished_at < ?1 ORDER BY finished_at, id LIMIT ?2",
        request.completed_before,
        request.limit,
    )?;
    gone.extend(pick(
        tx,
        "SELECT id, lane, status, finished_at FROM jobs \
         WHERE status > 5 AND dead IS NULL AND finished_at < ?1 ORDER BY finished_at, id LIMIT ?2",
        request.others_before,
        request.limit,
    )?);
    // Prunes the oldest of both first.
    gone.sort_unstable_by_key(|&(id, _, _, finished_at)| (finished_at, id));
    gone.truncate(request.limit as usize);
    tx.cache.keep_next_job(tx.conn)?;
    let mut spec = tx.conn.prepare_cached("SELECT spec FROM specs WHERE job = ?1")?;
    let mut keep_key = tx.conn.prepare_cached(
        "UPDATE keys SET status = ?2, kept_until = ?3 WHERE key = ?1 AND job = ?4",
    )?;
    let mut delete_term =
        tx.conn.prepare_cached("DELETE FROM terms WHERE term = ?1 AND job = ?2")?;
    let mut delete_logs = tx.conn.prepare_cached(DELETE_LOGS)?;
    let mut deletes = [
        tx.conn.prepare_cached("DELETE FROM jobs WHERE id = ?1")?,
        tx.conn.prepare_cached("DELETE FROM specs WHERE job = ?1")?,
        tx.conn.prepare_cached("DELETE FROM heads WHERE job = ?1")?,
        tx.conn.prepare_cached("DELETE FROM results WHERE job = ?1")?,
        tx.conn.prepare_cached("DELETE FROM attempts WHERE job = ?1")?,
    ];
    let (mut jobs, mut chunks) = (0, request.chunks as usize);
    for &(id, lane, status, finished_at) in &gone {
        chunks -= delete_logs.execute(params![id, chunks as i64])?;
        if chunks == 0 {
            break;
        }
        let kept_until = Timestamp::from_millis(finished_at).saturating_add(limits::KEY_KEPT);
        let code = status_code(status.unwrap_or(JobStatus::Failed));
        let kept_until = kept_until.as_millis();
        let read = |row: &Row<'_>| Ok(readable(JobId(id), Some(row.get_ref(0)?.as_bytes()?)));
        match spec.query_row([id], read).optional()?.flatten() {
            Some(Named { key, name, command, tags, schedule }) => {
                if let Some(key) = key {
                    keep_key.execute(params![key, code, kept_until, id])?;
                }
                let schedule = schedule.as_ref().map(|origin| origin.id.as_str());
                for term in filter_pushdown::terms_of(&name, command.is_some(), schedule, &tags) {
                    delete_term.execute(params![term, id])?;
                }
            }
            // The spec does not show the key and terms of the job: searches all of them.
            None => {
                tx.conn
                    .prepare_cached("UPDATE keys SET status = ?1, kept_until = ?2 WHERE job = ?3")?
                    .execute(params![code, kept_until, id])?;
                tx.conn.prepare_cached("DELETE FROM terms WHERE job = ?1")?.execute([id])?;
            }
        }
        for delete in &mut deletes {
            delete.execute([id])?;
        }
        tx.cache.moved(lane, status, None);
        jobs += 1;
    }
    Ok(Pruned { jobs, more: chunks == 0 || jobs == u64::from(request.limit) })
}

/// Deletes the first chunks of a job's log.
pub(super) const DELETE_LOGS: &str = "DELETE FROM logs WHERE (job, attempt, seq) IN \
     (SELECT job, attempt, seq FROM logs WHERE job = ?1 ORDER BY attempt, seq LIMIT ?2)";

pub(super) fn forget_keys(tx: &mut Tx<'_>, now: Timestamp, limit: u32) -> DbResult<u64> {
    let gone = tx
        .conn
        .prepare_cached(
            "DELETE FROM keys WHERE key IN (SELECT key FROM keys \
             WHERE kept_until IS NOT NULL AND kept_until <= ?1 LIMIT ?2)",
        )?
        .execute(params![now.as_millis(), limit])?;
    Ok(gone as u64)
}

/// The part of a spec that other tables hold too: the key and the terms.
#[derive(serde::Deserialize)]
struct Named {
    key: Option<String>,
    name: Name,
    command: Option<IgnoredAny>,
    #[serde(default)]
    tags: Labels,
    schedule: Option<Origin>,
}

fn pick(tx: &Tx<'_>, sql: &str, before: Timestamp, limit: u32) -> DbResult<Vec<Prunable>> {
    let mut statement = tx.conn.prepare_cached(sql)?;
    let rows = statement.query_map(params![before.as_millis(), limit], |row| {
        Ok((row.get(0)?, row.get(1)?, row::status(row, 2).ok(), row.get(3)?))
    })?;
    Ok(row::readable("a job", rows)?)
}

/// A write without content. It fails whenever other writes fail.
pub(super) fn touch(tx: &mut Tx<'_>) -> DbResult<()> {
    tx.conn.prepare_cached("UPDATE meta SET value = value + 1 WHERE key = 'synced'")?.execute([])?;
    Ok(())
}

pub(super) fn note_clock(tx: &mut Tx<'_>, note: &ClockNote) -> DbResult<()> {
    let mut put =
        tx.conn.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?;
    for (key, value) in clock_values(note) {
        put.execute(params![key, value])?;
    }
    Ok(())
}
