//! Imports jobs and keys of another store unchanged, and reads and writes the home of the store.

use orx_model::{Job, Lane};
use rusqlite::{Connection, params};

use super::db_error::DbResult;
use super::enqueue;
use super::row::{exit_columns, integer, millis, status_code, urgency};
use super::writer::Tx;
use crate::prepared_job::SpecText;
use crate::{Home, JobExport, RetainedKey};

/// An exported job, serialized for its rows.
#[derive(Debug)]
pub(super) struct PreparedImport {
    export: JobExport,
    text: SpecText,
}

impl PreparedImport {
    pub(super) fn new(export: JobExport) -> Result<Self, serde_json::Error> {
        Ok(Self { text: SpecText::new(&export.job.spec)?, export })
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.spec.len()
    }
}

pub(super) fn import(tx: &mut Tx<'_>, imports: &[PreparedImport]) -> DbResult<u64> {
    let mut known = tx.conn.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?;
    let mut new = 0;
    for PreparedImport { export, text } in imports {
        let job = &export.job;
        if known.exists([job.id.0])? {
            continue;
        }
        new += 1;
        let handler = job.spec.handler().cloned();
        let lane =
            Lane { queue: job.spec.queue.clone(), handler, require: job.spec.require.clone() };
        let lane = tx.cache.lane(tx.conn, &lane)?;
        insert(tx, export, lane)?;
        enqueue::describe(tx, job.id.0, text)?;
        if let Some(result) = &job.state.result {
            tx.conn
                .prepare_cached("INSERT INTO results (job, result) VALUES (?1, ?2)")?
                .execute(params![job.id.0, result.get()])?;
        }
        if let Some(key) = &job.spec.key {
            tx.conn
                .prepare_cached("INSERT OR IGNORE INTO keys (key, job, hash) VALUES (?1, ?2, ?3)")?
                .execute(params![key, job.id.0, export.key_hash])?;
        }
        attempts(tx, export)?;
        tx.cache.skip_jobs(job.id.0 + 1);
        tx.cache.moved(lane, None, Some(job.state.status));
    }
    Ok(new)
}

fn insert(tx: &Tx<'_>, export: &JobExport, lane: i64) -> DbResult<()> {
    let job: &Job = &export.job;
    let live = job.state.live.as_ref();
    let progress = live.and_then(|live| live.progress.as_ref());
    let cancel = job.state.cancel.as_ref();
    let (exit_code, exit_signal) = exit_columns(job.state.exit);
    let dead = job.state.dead.filter(|_| export.dead_at.is_some());
    tx.conn.prepare_cached(include_str!("import.sql"))?.execute(params![
        job.id.0,
        status_code(job.state.status),
        urgency(job.spec.priority),
        lane,
        job.state.run_at.as_millis(),
        millis(export.expire_at),
        job.state.created_at.as_millis(),
        millis(job.spec.deadline),
        job.spec.timeout_ms.map(integer),
        job.state.attempt,
        job.state.ends.failed,
        job.state.ends.lost,
        job.state.ends.returned,
        live.map(|live| live.execution.to_bytes()),
        live.map(|live| live.worker.to_bytes()),
        live.map(|live| live.worker_name.as_str()),
        live.map(|live| live.claimed_at.as_millis()),
        millis(live.and_then(|live| live.started_at)),
        live.map(|live| integer(live.epoch)),
        progress.map(|progress| progress.percent),
        progress.and_then(|progress| progress.text.as_deref()),
        cancel.map(|cancel| cancel.at.as_millis()),
        cancel.and_then(|cancel| cancel.reason.as_deref()),
        cancel.and_then(|cancel| cancel.by.as_deref()),
        millis(job.state.finished_at),
        millis(job.state.started_at),
        job.state.worker.as_ref().map(|name| name.as_str()),
        job.state.error,
        exit_code,
        exit_signal,
        dead.map(|reason| reason.as_str()),
        millis(export.dead_at.filter(|_| dead.is_some())),
        job.state.ends.server_lost,
    ])?;
    Ok(())
}

fn attempts(tx: &Tx<'_>, export: &JobExport) -> DbResult<()> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO attempts (job, number, execution, worker, worker_name, status, claimed_at, \
         started_at, ended_at, error, exit_code, exit_signal, epoch) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    for attempt in &export.attempts {
        let (exit_code, exit_signal) = exit_columns(attempt.exit);
        insert.execute(params![
            export.job.id.0,
            attempt.number,
            attempt.execution.to_bytes(),
            attempt.worker.to_bytes(),
            attempt.worker_name.as_str(),
            attempt.status.as_str(),
            attempt.claimed_at.as_millis(),
            millis(attempt.started_at),
            attempt.ended_at.unwrap_or(attempt.claimed_at).as_millis(),
            attempt.error,
            exit_code,
            exit_signal,
            integer(attempt.epoch),
        ])?;
    }
    Ok(())
}

pub(super) fn import_keys(tx: &mut Tx<'_>, keys: &[RetainedKey]) -> DbResult<()> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT OR IGNORE INTO keys (key, job, hash, status, kept_until) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for key in keys {
        insert.execute(params![
            key.key,
            key.job.0,
            key.hash,
            status_code(key.status),
            key.kept_until.as_millis()
        ])?;
    }
    Ok(())
}

pub(super) fn skip_jobs(tx: &mut Tx<'_>, next: i64) -> DbResult<()> {
    tx.cache.skip_jobs(next);
    tx.cache.keep_next_job(tx.conn)
}

pub(super) fn home(conn: &Connection) -> DbResult<Home> {
    let mut home = Home::default();
    let mut facts = conn.prepare_cached("SELECT key, value FROM home")?;
    let mut rows = facts.query([])?;
    while let Some(row) = rows.next()? {
        home.set(&row.get::<_, String>(0)?, row.get(1)?);
    }
    Ok(home)
}

pub(super) fn put_home(tx: &mut Tx<'_>, home: &Home) -> DbResult<()> {
    tx.conn.execute("DELETE FROM home WHERE key <> 'id'", [])?;
    for (key, value) in home.facts() {
        tx.conn.execute("INSERT INTO home (key, value) VALUES (?1, ?2)", [key, value])?;
    }
    Ok(())
}
