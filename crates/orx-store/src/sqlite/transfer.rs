//! Exports and imports of jobs and keys, unchanged, and the home of the store.

use async_trait::async_trait;
use orx_model::{Cause, Job, JobId, Lane};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::db_error::DbResult;
use super::row::{self, exit_columns, integer, millis, priority_rank, status_code};
use super::writer::Tx;
use super::{ROW_BYTES, Sqlite, WriteKind, enqueue};
use crate::budget::Reads;
use crate::columns::{JobColumn, Row as _};
use crate::error::prepared;
use crate::prepared_job::SpecText;
use crate::{Home, JobExport, Result, RetainedKey, RowCounts, StoreCopy};

/// An exported job, serialized for its rows.
#[derive(Debug)]
struct PreparedImport {
    export: JobExport,
    text: SpecText,
}

impl PreparedImport {
    fn new(export: JobExport) -> std::result::Result<Self, serde_json::Error> {
        Ok(Self { text: SpecText::new(&export.job.spec)?, export })
    }

    fn bytes(&self) -> usize {
        self.text.spec.len()
    }
}

/// Jobs and their attempts, ordered by id, above `after`.
fn export(conn: &Connection, after: i64, limit: u32) -> DbResult<Vec<JobExport>> {
    let sql = format!("{} WHERE j.id > ?1 ORDER BY j.id LIMIT ?2", row::JOB);
    let mut read = conn.prepare_cached(&sql)?;
    let rows = read.query_map(params![after, limit], |row| {
        Ok(JobExport {
            job: row::job_or_stub(row)?,
            key_hash: None,
            expire_at: row::SqliteColumns(row).optional_time(JobColumn::expire_at)?,
            dead_at: row::SqliteColumns(row).optional_time(JobColumn::dead_at)?,
            attempts: Vec::new(),
        })
    })?;
    let mut exports = rows.collect::<std::result::Result<Vec<_>, _>>()?;
    let mut ended =
        conn.prepare_cached(&format!("{} WHERE a.job = ?1 ORDER BY a.number", row::ATTEMPT))?;
    let mut hash = conn.prepare_cached("SELECT hash FROM keys WHERE key = ?1")?;
    for export in &mut exports {
        let id = export.job.id;
        if let Some(key) = &export.job.spec.key {
            export.key_hash = hash.query_row([key], |row| row.get(0)).optional()?.flatten();
        }
        let attempts = ended.query_map([id.0], row::attempt)?;
        export.attempts = row::readable("an attempt", attempts)?;
    }
    Ok(exports)
}

fn row_counts(conn: &Connection) -> DbResult<RowCounts> {
    let mut read = conn.prepare_cached(include_str!("../row_counts.sql"))?;
    let count = |row: &Row<'_>, column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    Ok(read.query_row([], |row| {
        Ok(RowCounts {
            attempts: count(row, 0)?,
            log_chunks: count(row, 1)?,
            keys: count(row, 2)?,
            slots: count(row, 3)?,
            dependencies: count(row, 4)?,
            tokens: count(row, 5)?,
        })
    })?)
}

fn import(tx: &mut Tx<'_>, imports: &[PreparedImport]) -> DbResult<u64> {
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
        priority_rank(job.spec.priority),
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
        dead.map(|reason| {
            Cause::new(&job.spec.name, job.state.error.as_deref(), reason).id.to_signed()
        }),
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

fn kept_keys(conn: &Connection, after: &str, limit: u32) -> DbResult<Vec<RetainedKey>> {
    let mut read = conn.prepare_cached(
        "SELECT key, job, hash, status, kept_until FROM keys \
         WHERE kept_until IS NOT NULL AND key > ?1 ORDER BY key",
    )?;
    let mut rows = read.query([after])?;
    let mut keys = Vec::new();
    while keys.len() < limit as usize
        && let Some(row) = rows.next()?
    {
        keys.extend(row::readable("a key", std::iter::once(kept_key(row)))?);
    }
    Ok(keys)
}

fn kept_key(row: &Row<'_>) -> rusqlite::Result<RetainedKey> {
    Ok(RetainedKey {
        key: row.get(0)?,
        job: JobId(row.get(1)?),
        hash: row.get(2)?,
        status: row::status(row, 3)?,
        kept_until: row::time(row, 4)?,
    })
}

fn import_keys(tx: &mut Tx<'_>, keys: &[RetainedKey]) -> DbResult<()> {
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

fn skip_jobs(tx: &mut Tx<'_>, next: i64) -> DbResult<()> {
    tx.cache.skip_jobs(next);
    tx.cache.keep_next_job(tx.conn)
}

fn home(conn: &Connection) -> DbResult<Home> {
    let mut home = Home::default();
    let mut facts = conn.prepare_cached("SELECT key, value FROM home")?;
    let mut rows = facts.query([])?;
    while let Some(row) = rows.next()? {
        home.set(&row.get::<_, String>(0)?, row.get(1)?);
    }
    Ok(home)
}

fn put_home(tx: &mut Tx<'_>, home: &Home) -> DbResult<()> {
    tx.conn.execute("DELETE FROM home WHERE key <> 'id'", [])?;
    for (key, value) in home.facts() {
        tx.conn.execute("INSERT INTO home (key, value) VALUES (?1, ?2)", [key, value])?;
    }
    Ok(())
}

#[async_trait]
impl StoreCopy for Sqlite {
    async fn row_counts(&self) -> Result<RowCounts> {
        self.read_of(Reads::Scan, "count the rows", row_counts).await
    }

    async fn export(&self, after: Option<JobId>, limit: u32) -> Result<Vec<JobExport>> {
        let after = after.map_or(0, |after| after.0);
        let read = move |conn: &Connection| export(conn, after, limit);
        self.read_of(Reads::Scan, "read the jobs", read).await
    }

    async fn import(&self, jobs: Vec<JobExport>) -> Result<u64> {
        let action = "import the jobs";
        let imports = jobs.into_iter().map(PreparedImport::new);
        let imports = imports.collect::<std::result::Result<Vec<_>, _>>();
        let imports = prepared(action, imports)?;
        let weight = imports.iter().map(|one| 1 + one.bytes() / ROW_BYTES).sum();
        let run = move |tx: &mut Tx<'_>| import(tx, &imports);
        self.write(action, WriteKind::Durable, weight, run).await
    }

    async fn export_keys(&self, after: Option<String>, limit: u32) -> Result<Vec<RetainedKey>> {
        let after = after.unwrap_or_default();
        let read = move |conn: &Connection| kept_keys(conn, &after, limit);
        self.read_of(Reads::Scan, "read the keys", read).await
    }

    async fn home(&self) -> Result<Home> {
        self.read("read where the store is served", home).await
    }

    async fn put_home(&self, home: Home) -> Result<()> {
        let run = move |tx: &mut Tx<'_>| put_home(tx, &home);
        self.write("record where the store is served", WriteKind::Durable, 1, run).await
    }

    async fn import_keys(&self, keys: Vec<RetainedKey>) -> Result<()> {
        let weight = keys.len();
        let run = move |tx: &mut Tx<'_>| import_keys(tx, &keys);
        self.write("import the keys", WriteKind::Durable, weight, run).await
    }

    async fn next_job(&self) -> Result<JobId> {
        let run = |tx: &mut Tx<'_>| Ok(JobId(tx.cache.peek_next_job()));
        self.write("read the next id", WriteKind::Advisory, 1, run).await
    }

    async fn skip_jobs(&self, next: JobId) -> Result<()> {
        let run = move |tx: &mut Tx<'_>| skip_jobs(tx, next.0);
        self.write("skip ids", WriteKind::Durable, 1, run).await
    }
}
