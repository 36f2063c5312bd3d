//! Exports and imports of jobs and keys, unchanged, and the home of the store.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use orx_model::job::{CancelRequest, Progress};
use orx_model::{Attempt, Cause, Job, JobId, Lane, LiveAttempt};

use super::db_error::DbResult;
use super::enqueue::spec_values;
use super::executor::MessageKind;
use super::row::{self, ATTEMPT, JOB, PgColumns, wrong};
use super::sql::{self, Statement};
use super::{PgBudget, Postgres};
use crate::codec::{exit_columns, integer, millis, priority_rank, status_code};
use crate::columns::{JobColumn, Row as _};
use crate::prepared_job::SpecText;
use crate::{Home, JobExport, Result, RetainedKey, RowCounts, StoreCopy};

impl PgBudget {
    /// Jobs above `after` with their attempts and keys, by id.
    async fn export(&self, after: i64, limit: u32) -> DbResult<Vec<JobExport>> {
        let values = [("after", sql::int(after)), ("limit", sql::int(i64::from(limit)))];
        let ids = "SELECT id FROM jobs WHERE id > :after ORDER BY id LIMIT :limit";
        // Several reads are safe: nothing else uses the store during an export.
        let jobs = format!("{JOB} WHERE j.id IN ({ids}) ORDER BY j.id");
        let jobs = self.rows(MessageKind::Scan, sql::fill(&jobs, values.clone())).await?;
        let ended = format!("{ATTEMPT} WHERE a.job IN ({ids}) ORDER BY a.job, a.number");
        let mut attempts: HashMap<JobId, Vec<Attempt>> = HashMap::new();
        for row in &self.rows(MessageKind::Scan, sql::fill(&ended, values)).await? {
            for attempt in row::readable("an attempt", std::slice::from_ref(row), row::attempt)? {
                attempts.entry(attempt.job).or_default().push(attempt);
            }
        }
        let export = |row| {
            let (job, row) = (row::job_or_stub(row)?, PgColumns(row));
            Ok(JobExport {
                attempts: attempts.remove(&job.id).unwrap_or_default(),
                job,
                key_hash: None,
                expire_at: row.optional_time(JobColumn::expire_at)?,
                dead_at: row.optional_time(JobColumn::dead_at)?,
            })
        };
        let mut exports = jobs.iter().map(export).collect::<DbResult<Vec<_>>>()?;
        let keys = exports.iter().filter_map(|export| export.job.spec.key.as_deref());
        let hashes = sql::fill(
            "select key, hash from keys where key = any(:keys)",
            [("keys", sql::texts(keys))],
        );
        let mut by_key = HashMap::new();
        for row in &self.rows(MessageKind::Scan, hashes).await? {
            by_key.insert(PgColumns(row).text(0)?, PgColumns(row).optional_text(1)?);
        }
        for export in &mut exports {
            let key = export.job.spec.key.as_deref();
            export.key_hash = key.and_then(|key| by_key.remove(key)).flatten();
        }
        Ok(exports)
    }

    async fn row_counts(&self) -> DbResult<RowCounts> {
        let rows = self.rows(MessageKind::Scan, include_str!("../row_counts.sql")).await?;
        let row = PgColumns(rows.first().ok_or_else(|| wrong(0, "no row"))?);
        Ok(RowCounts {
            attempts: row.unsigned(0)?,
            log_chunks: row.unsigned(1)?,
            keys: row.unsigned(2)?,
            slots: row.unsigned(3)?,
            dependencies: row.unsigned(4)?,
            tokens: row.unsigned(5)?,
        })
    }

    async fn import(self: &Arc<Self>, exports: &[JobExport]) -> DbResult<u64> {
        let lane = |export: &JobExport| Lane {
            queue: export.job.spec.queue.clone(),
            handler: export.job.spec.handler().cloned(),
            require: export.job.spec.require.clone(),
        };
        let lanes: Vec<Lane> = exports.iter().map(lane).collect();
        self.add_lanes(lanes.iter().collect()).await?;
        let lanes = lanes.iter().map(|lane| Ok(self.lane_id(lane)?.lane));
        let lanes = lanes.collect::<DbResult<Vec<_>>>()?;
        let rows = self.rows(MessageKind::Durable, statement(exports, lanes)?).await?;
        self.count();
        rows.first()
            .map(|row| PgColumns(row).unsigned(0))
            .transpose()
            .map(Option::unwrap_or_default)
    }

    async fn kept_keys(&self, after: &str, limit: u32) -> DbResult<Vec<RetainedKey>> {
        let key = |row: &_| {
            let row = PgColumns(row);
            Ok(RetainedKey {
                key: row.text(0)?,
                job: row.job(1)?,
                hash: row.optional_text(2)?,
                status: row.status(3)?,
                kept_until: row.time(4)?,
            })
        };
        let mut after = after.to_owned();
        loop {
            let values = [("after", sql::text(&after)), ("limit", sql::int(i64::from(limit)))];
            let message = sql::fill(
                "select key, job, hash, status, kept_until from keys \
                 where kept_until is not null and key > :after order by key limit :limit",
                values,
            );
            let rows = self.rows(MessageKind::Scan, message).await?;
            let keys = row::readable("a key", &rows, key)?;
            // A page of only unreadable keys is not the end.
            match rows.last().filter(|_| keys.is_empty()) {
                Some(last) => after = PgColumns(last).text(0)?,
                None => return Ok(keys),
            }
        }
    }

    async fn import_keys(&self, keys: &[RetainedKey]) -> DbResult<()> {
        let values = [
            ("keys", sql::texts(keys.iter().map(|key| key.key.as_str()))),
            ("jobs", sql::ints(keys.iter().map(|key| key.job.0))),
            ("hashes", sql::texts(keys.iter().map(|key| key.hash.as_deref()))),
            ("statuses", sql::ints(keys.iter().map(|key| status_code(key.status)))),
            ("retained", sql::ints(keys.iter().map(|key| key.kept_until.as_millis()))),
        ];
        let message = sql::fill(
            "insert into keys (key, job, hash, status, kept_until) \
             select t.* from unnest(:keys, :jobs, :hashes, :statuses, :retained) \
             as t(key, job, hash, status, kept_until), (:settings) s \
             order by key on conflict do nothing",
            values,
        );
        self.rows(MessageKind::Repeatable, message).await.map(drop)
    }

    async fn next_job(&self) -> DbResult<i64> {
        let message =
            "select case when is_called then last_value + 1 else last_value end from job_ids";
        let rows = self.rows(MessageKind::Read, message).await?;
        rows.first().map(|row| PgColumns(row).int(0)).transpose().map(|next| next.unwrap_or(1))
    }

    async fn skip_jobs(&self, next: i64) -> DbResult<()> {
        let message = sql::fill(
            "select setval('job_ids', greatest(:next, case when is_called then last_value + 1 \
             else last_value end), false) from job_ids, (:settings) s",
            [("next", sql::int(next))],
        );
        self.rows(MessageKind::Repeatable, message).await.map(drop)
    }

    async fn home(&self) -> DbResult<Home> {
        let rows = self.rows(MessageKind::Read, "select key, value from home").await?;
        let mut home = Home::default();
        for row in &rows {
            home.set(PgColumns(row).str(0)?, PgColumns(row).text(1)?);
        }
        Ok(home)
    }

    async fn put_home(&self, home: &Home) -> DbResult<()> {
        let (keys, values): (Vec<&str>, Vec<&str>) = home.facts().unzip();
        let values = [("keys", sql::texts(keys)), ("facts", sql::texts(values))];
        let message = sql::fill(
            "with gone as ( \
                 delete from home using (:settings) s where key <> 'id' and key <> all(:keys) \
             ) \
             insert into home (key, value) \
             select t.* from unnest(:keys, :facts) as t(key, value), (:settings) s \
             on conflict (key) do update set value = excluded.value",
            values,
        );
        self.rows(MessageKind::Repeatable, message).await.map(drop)
    }
}

fn statement(exports: &[JobExport], lanes: Vec<i64>) -> DbResult<Statement> {
    let specs = exports
        .iter()
        .map(|export| SpecText::new(&export.job.spec))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let jobs = || exports.iter().map(|export| &export.job);
    let live = || jobs().map(|job| job.state.live.as_ref());
    let progress = || live().map(|live| live.and_then(|live| live.progress.as_ref()));
    let cancels = || jobs().map(|job| job.state.cancel.as_ref());
    let exits = || jobs().map(|job| exit_columns(job.state.exit));
    let dead = |export: &JobExport| export.job.state.dead.zip(export.dead_at);
    let ended = || exports.iter().flat_map(|export| &export.attempts);
    let ended_exits = || ended().map(|attempt| exit_columns(attempt.exit));
    let job_ints = |of: fn(&Job) -> Option<i64>| sql::ints(jobs().map(of));
    let live_ints =
        |of: fn(&LiveAttempt) -> Option<i64>| sql::ints(live().map(move |live| live.and_then(of)));
    let cancel_texts = |of: fn(&CancelRequest) -> Option<&str>| {
        sql::texts(cancels().map(move |cancel| cancel.and_then(of)))
    };
    let ended_ints = |of: fn(&Attempt) -> Option<i64>| sql::ints(ended().map(of));
    let mut values = vec![
        ("ids", job_ints(|job| Some(job.id.0))),
        ("lanes", sql::ints(lanes)),
        ("run_ats", job_ints(|job| Some(job.state.run_at.as_millis()))),
        ("expire_ats", sql::ints(exports.iter().map(|export| millis(export.expire_at)))),
        ("created_ats", job_ints(|job| Some(job.state.created_at.as_millis()))),
        ("deadlines", job_ints(|job| millis(job.spec.deadline))),
        ("timeouts", job_ints(|job| job.spec.timeout_ms.map(integer))),
        ("statuses", job_ints(|job| Some(status_code(job.state.status)))),
        ("priority_ranks", job_ints(|job| Some(priority_rank(job.spec.priority)))),
        ("attempts", job_ints(|job| Some(i64::from(job.state.attempt)))),
        ("failed", job_ints(|job| Some(i64::from(job.state.ends.failed)))),
        ("lost", job_ints(|job| Some(i64::from(job.state.ends.lost)))),
        ("server_lost", job_ints(|job| Some(i64::from(job.state.ends.server_lost)))),
        ("returned", job_ints(|job| Some(i64::from(job.state.ends.returned)))),
        ("executions", sql::ids(live().map(|live| live.map(|live| live.execution.0)))),
        ("workers", sql::ids(live().map(|live| live.map(|live| live.worker.0)))),
        ("worker_names", sql::texts(live().map(|live| live.map(|it| it.worker_name.as_str())))),
        ("epochs", live_ints(|live| Some(integer(live.epoch)))),
        ("claimed_ats", live_ints(|live| Some(live.claimed_at.as_millis()))),
        ("started_ats", live_ints(|live| millis(live.started_at))),
        ("percents", sql::floats(progress().map(|it| it.map(|progress| progress.percent)))),
        ("progress", sql::texts(progress().map(|it| it.and_then(progress_text)))),
        ("cancel_ats", sql::ints(cancels().map(|it| it.map(|cancel| cancel.at.as_millis())))),
        ("cancel_reasons", cancel_texts(|cancel| cancel.reason.as_deref())),
        ("cancel_bys", cancel_texts(|cancel| cancel.by.as_deref())),
        ("finished_ats", job_ints(|job| millis(job.state.finished_at))),
        ("last_started_ats", job_ints(|job| millis(job.state.started_at))),
        (
            "last_workers",
            sql::texts(jobs().map(|job| job.state.worker.as_ref().map(|it| it.as_str()))),
        ),
        ("last_errors", sql::texts(jobs().map(|job| job.state.error.as_deref()))),
        ("last_codes", sql::ints(exits().map(|(code, _)| code.map(i64::from)))),
        ("last_signals", sql::ints(exits().map(|(_, signal)| signal.map(i64::from)))),
        ("dead", sql::texts(exports.iter().map(|it| dead(it).map(|(why, _)| why.as_str())))),
        ("dead_ats", sql::ints(exports.iter().map(|it| dead(it).map(|(_, at)| at.as_millis())))),
        ("causes", sql::ints(exports.iter().map(|it| dead(it).and(cause(&it.job))))),
        ("keys", sql::texts(jobs().map(|job| job.spec.key.as_deref()))),
        ("hashes", sql::texts(exports.iter().map(|export| export.key_hash.as_deref()))),
        ("results", sql::texts(jobs().map(|job| job.state.result.as_ref().map(|json| json.get())))),
        ("of", ended_ints(|attempt| Some(attempt.job.0))),
        ("numbers", ended_ints(|attempt| Some(i64::from(attempt.number)))),
        ("ended_executions", sql::ids(ended().map(|attempt| attempt.execution.0))),
        ("ended_workers", sql::ids(ended().map(|attempt| attempt.worker.0))),
        ("ended_names", sql::texts(ended().map(|attempt| attempt.worker_name.as_str()))),
        ("ended_epochs", ended_ints(|attempt| Some(integer(attempt.epoch)))),
        ("ended_statuses", sql::texts(ended().map(|attempt| attempt.status.as_str()))),
        ("ended_claimed", ended_ints(|attempt| Some(attempt.claimed_at.as_millis()))),
        ("ended_started", ended_ints(|attempt| millis(attempt.started_at))),
        ("ended_ats", ended_ints(|it| millis(it.ended_at.or(Some(it.claimed_at))))),
        ("errors", sql::texts(ended().map(|attempt| attempt.error.as_deref()))),
        ("codes", sql::ints(ended_exits().map(|(code, _)| code.map(i64::from)))),
        ("signals", sql::ints(ended_exits().map(|(_, signal)| signal.map(i64::from)))),
    ];
    values.extend(spec_values(specs.iter().map(Some)));
    Ok(sql::fill(include_str!("import.sql"), values))
}

fn cause(job: &Job) -> Option<i64> {
    let (name, error) = (&job.spec.name, job.state.error.as_deref());
    job.state.dead.map(|reason| Cause::new(name, error, reason).id.to_signed())
}

fn progress_text(progress: &Progress) -> Option<&str> {
    progress.text.as_deref()
}

#[async_trait]
impl StoreCopy for Postgres {
    async fn row_counts(&self) -> Result<RowCounts> {
        self.inner.read("count the rows", self.inner.row_counts()).await
    }

    async fn export(&self, after: Option<JobId>, limit: u32) -> Result<Vec<JobExport>> {
        let after = after.map_or(0, |after| after.0);
        self.inner.read("read the jobs", self.inner.export(after, limit)).await
    }

    async fn import(&self, exports: Vec<JobExport>) -> Result<u64> {
        self.inner.write("import the jobs", self.inner.import(&exports)).await
    }

    async fn export_keys(&self, after: Option<String>, limit: u32) -> Result<Vec<RetainedKey>> {
        let after = after.unwrap_or_default();
        self.inner.read("read the keys", self.inner.kept_keys(&after, limit)).await
    }

    async fn home(&self) -> Result<Home> {
        self.inner.read("read where the store is served", self.inner.home()).await
    }

    async fn put_home(&self, home: Home) -> Result<()> {
        self.inner.write("record where the store is served", self.inner.put_home(&home)).await
    }

    async fn import_keys(&self, keys: Vec<RetainedKey>) -> Result<()> {
        self.inner.write("import the keys", self.inner.import_keys(&keys)).await
    }

    async fn next_job(&self) -> Result<JobId> {
        self.inner.read("read the next id", self.inner.next_job()).await.map(JobId)
    }

    async fn skip_jobs(&self, next: JobId) -> Result<()> {
        self.inner.write("skip ids", self.inner.skip_jobs(next.0)).await
    }
}
