//! What is read, on connections of its own: a reader never waits for the writer.

use std::collections::BTreeMap;

use orx_model::filter::{Filter, Test};
use orx_model::log::{LogChunk, LogCursor, Stream};
use orx_model::wire::{Count, StatusCounts};
use orx_model::{Attempt, AttemptStatus, Job, JobId, JobStatus, Name, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::dispatch::stream_number;
use super::rows::{self, JOB, status_number};
use super::writer::failed;
use crate::{
    DeadLetterRow, ListRequest, Live, LogRequest, Page, Result, StoreError, TokenRecord,
    WorkerRecord,
};

/// Rows looked at for one page.
const SCAN_ROWS: u64 = 200_000;

pub(super) fn job(db: &Connection, id: JobId) -> Result<Option<Job>> {
    let read = || {
        db.prepare_cached(&format!("{JOB} WHERE j.id = ?1"))?.query_row([id.0], rows::job).optional()
    };
    read().map_err(|error| failed("read a job", error))
}

pub(super) fn job_by_key(db: &Connection, key: &str) -> Result<Option<Job>> {
    let read = || {
        db.prepare_cached(&format!("{JOB} WHERE j.id = (SELECT job FROM keys WHERE key = ?1)"))?
            .query_row([key], rows::job)
            .optional()
    };
    read().map_err(|error| failed("read a job", error))
}

pub(super) fn attempts(db: &Connection, id: JobId) -> Result<Vec<Attempt>> {
    let read = || {
        let mut all: Vec<Attempt> = db
            .prepare_cached("SELECT * FROM attempts WHERE job = ?1 ORDER BY number")?
            .query_map([id.0], rows::attempt)?
            .collect::<rusqlite::Result<_>>()?;
        let job = db
            .prepare_cached(&format!("{JOB} WHERE j.id = ?1"))?
            .query_row([id.0], rows::job)
            .optional()?;
        if let Some((attempt, live)) = job.and_then(|job| Some((job.attempt, job.live?))) {
            all.push(Attempt {
                job: id,
                number: attempt,
                execution: live.execution,
                worker: live.worker,
                worker_name: live.worker_name,
                status: match live.started_at {
                    Some(_) => AttemptStatus::Running,
                    None => AttemptStatus::Dispatched,
                },
                claimed_at: live.claimed_at,
                started_at: live.started_at,
                ended_at: None,
                error: None,
                exit: None,
            });
        }
        Ok(all)
    };
    read().map_err(|error| failed("read attempts", error))
}

/// The part of a filter that SQLite can decide, as SQL; the rest is [`Filter::matches`].
fn narrowed(filter: &Filter) -> String {
    let mut sql = String::new();
    if let Some(statuses) = filter.statuses() {
        let numbers: Vec<String> =
            statuses.iter().map(|status| status_number(*status).to_string()).collect();
        sql.push_str(&format!(" AND j.status IN ({})", numbers.join(",")));
        // Said as the partial indexes say it, or they are not used.
        if statuses.iter().all(|status| *status > JobStatus::Completed) {
            sql.push_str(" AND j.status >= 6");
        }
        if statuses.iter().all(|status| status.is_live()) {
            sql.push_str(" AND j.execution IS NOT NULL");
        }
    }
    for term in filter.terms.iter().filter(|term| !term.negated) {
        if let Test::Since(at) = term.test {
            sql.push_str(&format!(" AND j.created_at >= {}", at.as_millis()));
        }
        if let Test::Until(at) = term.test {
            sql.push_str(&format!(" AND j.created_at < {}", at.as_millis()));
        }
    }
    if filter.queue().is_some() {
        sql.push_str(" AND j.lane IN (SELECT id FROM lanes WHERE queue = :queue COLLATE NOCASE)");
    }
    sql
}

pub(super) fn list(db: &Connection, request: &ListRequest, now: Timestamp) -> Result<Page<Job>> {
    let (order, side) = if request.oldest_first { ("ASC", ">") } else { ("DESC", "<") };
    let from = match (request.after, request.oldest_first) {
        (Some(after), _) => after.0,
        (None, true) => 0,
        (None, false) => i64::MAX,
    };
    let sql = format!(
        "{JOB} WHERE j.id {side} :from{} ORDER BY j.id {order}",
        narrowed(&request.filter)
    );
    let queue = request.filter.queue();
    let mut scanned = 0_u64;
    let mut read = || -> rusqlite::Result<Option<Page<Job>>> {
        let mut statement = db.prepare_cached(&sql)?;
        let mut found = match queue {
            Some(queue) => statement.query(rusqlite::named_params! {":from": from, ":queue": queue})?,
            None => statement.query(rusqlite::named_params! {":from": from})?,
        };
        let mut page = Vec::new();
        while let Some(row) = found.next()? {
            scanned += 1;
            let job = rows::job(row)?;
            if request.filter.matches(&job, now) {
                if page.len() >= request.limit as usize {
                    let next = page.last().map(|job: &Job| job.id);
                    return Ok(Some(Page { rows: page, next }));
                }
                page.push(job);
            }
            if scanned >= SCAN_ROWS {
                return Ok(None);
            }
        }
        Ok(Some(Page { rows: page, next: None }))
    };
    read()
        .map_err(|error| failed("list jobs", error))?
        .ok_or(StoreError::TooBroad { limit: SCAN_ROWS })
}

pub(super) fn count(db: &Connection, filter: &Filter, most: u64, now: Timestamp) -> Result<Count> {
    let by_counts = filter.terms.iter().all(|term| matches!(term.test, Test::Status(_)));
    if by_counts {
        let allowed = filter.statuses();
        let mut count = 0;
        for (_, counts) in queue_counts(db)? {
            for status in JobStatus::ALL {
                if allowed.as_ref().is_none_or(|allowed| allowed.contains(&status)) {
                    count += counts.of(status);
                }
            }
        }
        return Ok(if count > most {
            Count { count: most, exact: false }
        } else {
            Count { count, exact: true }
        });
    }
    let sql = format!("{JOB} WHERE j.id > 0{}", narrowed(filter));
    let queue = filter.queue();
    let read = || -> rusqlite::Result<Count> {
        let mut statement = db.prepare_cached(&sql)?;
        let mut found = match queue {
            Some(queue) => statement.query(rusqlite::named_params! {":queue": queue})?,
            None => statement.query([])?,
        };
        let (mut scanned, mut count) = (0_u64, 0_u64);
        while let Some(row) = found.next()? {
            scanned += 1;
            if filter.matches(&rows::job(row)?, now) {
                if count == most {
                    return Ok(Count { count, exact: false });
                }
                count += 1;
            }
            if scanned >= SCAN_ROWS {
                return Ok(Count { count, exact: false });
            }
        }
        Ok(Count { count, exact: true })
    };
    read().map_err(|error| failed("count jobs", error))
}

pub(super) fn queue_counts(db: &Connection) -> Result<Vec<(Name, StatusCounts)>> {
    let read = || {
        let mut queues: BTreeMap<Name, StatusCounts> = BTreeMap::new();
        let mut statement = db.prepare_cached("SELECT queue, status, n FROM counts")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let queue = Name::from_any(row.get_ref(0)?.as_str()?);
            let status = rows::status(row.get(1)?)?;
            let n: i64 = row.get(2)?;
            *queues.entry(queue).or_default().slot(status) = n.max(0) as u64;
        }
        Ok(queues.into_iter().collect())
    };
    read().map_err(|error| failed("read the counts", error))
}

pub(super) fn oldest_due(db: &Connection) -> Result<Vec<(Name, Timestamp)>> {
    let read = || {
        let mut oldest: BTreeMap<Name, Timestamp> = BTreeMap::new();
        // The first of each priority of a lane, by the index of what is ready.
        let mut statement = db.prepare_cached(
            "SELECT queue, (SELECT run_at FROM jobs WHERE lane = lanes.id AND status = 1 \
             AND priority = p ORDER BY run_at LIMIT 1) AS first FROM lanes, \
             (SELECT 0 AS p UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3)",
        )?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            if let Some(first) = row.get::<_, Option<i64>>(1)? {
                let first = Timestamp::from_millis(first);
                let queue = Name::from_any(row.get_ref(0)?.as_str()?);
                let known = oldest.entry(queue).or_insert(first);
                *known = (*known).min(first);
            }
        }
        Ok(oldest.into_iter().collect())
    };
    read().map_err(|error| failed("read the oldest ready jobs", error))
}

pub(super) fn next_due(db: &Connection) -> Result<Option<Timestamp>> {
    let read = || {
        let due: Option<i64> = db
            .prepare_cached("SELECT run_at FROM jobs WHERE status = 2 ORDER BY run_at LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        let over: Option<i64> = db
            .prepare_cached(
                "SELECT expire_at FROM jobs WHERE expire_at IS NOT NULL ORDER BY expire_at LIMIT 1",
            )?
            .query_row([], |row| row.get(0))
            .optional()?;
        Ok([due, over].into_iter().flatten().min().map(Timestamp::from_millis))
    };
    read().map_err(|error| failed("read what is due next", error))
}

pub(super) fn live_attempts(db: &Connection) -> Result<Vec<Live>> {
    let read = || {
        db.prepare_cached(
            "SELECT j.id, attempt, execution, worker, status, claimed_at, started_at, cancel_at, \
             json_extract(s.spec, '$.timeout_ms') AS timeout_ms, \
             json_extract(s.spec, '$.deadline') AS deadline \
             FROM jobs j JOIN specs s ON s.id = j.id WHERE execution IS NOT NULL ORDER BY j.id",
        )?
        .query_map([], |row| {
            let deadline: Option<String> = row.get("deadline")?;
            Ok(Live {
                job: JobId(row.get("id")?),
                attempt: row.get("attempt")?,
                execution: rows::execution(row, "execution")?,
                worker: rows::incarnation(row, "worker")?,
                status: rows::status(row.get("status")?)?,
                claimed_at: rows::time(row, "claimed_at")?,
                started_at: rows::time_if(row, "started_at")?,
                timeout_ms: row.get::<_, Option<i64>>("timeout_ms")?.map(|ms| ms as u64),
                deadline: deadline.and_then(|text| text.parse().ok()),
                cancel_requested: row.get::<_, Option<i64>>("cancel_at")?.is_some(),
            })
        })?
        .collect::<rusqlite::Result<_>>()
    };
    read().map_err(|error| failed("read live attempts", error))
}

pub(super) fn logs(db: &Connection, request: &LogRequest) -> Result<Vec<LogChunk>> {
    let read = || {
        let mut statement = db.prepare_cached(
            "SELECT * FROM logs WHERE job = ?1 AND (attempt, seq) > (?2, ?3) \
             ORDER BY attempt, seq",
        )?;
        let after = (request.job.0, request.after.attempt, request.after.seq as i64);
        let mut found = statement.query(after)?;
        let mut chunks = Vec::new();
        let mut bytes = 0;
        while let Some(row) = found.next()? {
            let chunk = chunk(row)?;
            if wanted(request, chunk.attempt, chunk.stream) {
                bytes += chunk.bytes.len();
                chunks.push(chunk);
                if bytes >= request.limit_bytes {
                    break;
                }
            }
        }
        Ok(chunks)
    };
    read().map_err(|error| failed("read a log", error))
}

fn wanted(request: &LogRequest, attempt: u32, stream: Stream) -> bool {
    request.attempt.is_none_or(|only| only == attempt)
        && (request.streams.is_empty() || request.streams.contains(&stream))
}

fn chunk(row: &rusqlite::Row<'_>) -> rusqlite::Result<LogChunk> {
    let stream: u8 = row.get("stream")?;
    let known = Stream::ALL.into_iter().find(|known| stream_number(*known) == stream);
    Ok(LogChunk {
        job: JobId(row.get("job")?),
        attempt: row.get("attempt")?,
        execution: rows::execution(row, "execution")?,
        seq: row.get::<_, i64>("seq")? as u64,
        stream: known.ok_or_else(|| rows::strange("a log's stream"))?,
        at: rows::time(row, "at")?,
        dropped_bytes: row.get::<_, i64>("dropped")? as u64,
        bytes: row.get("bytes")?,
    })
}

pub(super) fn log_tail(db: &Connection, request: &LogRequest, lines: u32) -> Result<LogCursor> {
    let read = || {
        let mut statement = db.prepare_cached(
            "SELECT * FROM logs WHERE job = ?1 ORDER BY attempt DESC, seq DESC",
        )?;
        let mut found = statement.query([request.job.0])?;
        // The newline that ends the last line begins no other.
        let mut left = u64::from(lines) + 1;
        while let Some(row) = found.next()? {
            let chunk = chunk(row)?;
            if !wanted(request, chunk.attempt, chunk.stream) {
                continue;
            }
            let newlines = chunk.bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            if newlines >= left {
                let before = LogCursor { attempt: chunk.attempt, seq: chunk.seq - 1 };
                return Ok(before.max(request.after));
            }
            left -= newlines;
        }
        Ok(request.after)
    };
    read().map_err(|error| failed("read a log", error))
}

pub(super) fn workers(db: &Connection) -> Result<Vec<WorkerRecord>> {
    let read = || {
        let record = |row: &rusqlite::Row<'_>| {
            let (registration, state, seen_at, hosted_by) =
                rows::json(row.get_ref(0)?.as_str()?)?;
            Ok(WorkerRecord { registration, state, seen_at, hosted_by })
        };
        let mut workers: Vec<WorkerRecord> = db
            .prepare_cached("SELECT record FROM workers")?
            .query_map([], record)?
            .collect::<rusqlite::Result<_>>()?;
        workers.sort_by(|a, b| {
            let key = |w: &WorkerRecord| (w.registration.name.clone(), w.registration.incarnation);
            key(a).cmp(&key(b))
        });
        Ok(workers)
    };
    read().map_err(|error| failed("read the workers", error))
}

pub(super) fn dead_letters(
    db: &Connection,
    after: Option<JobId>,
    limit: u32,
) -> Result<Page<DeadLetterRow>> {
    let read = || {
        let sql = format!(
            "{} WHERE d.job < ?1 ORDER BY d.job DESC LIMIT ?2",
            JOB.replace("d.reason", "d.reason, d.at AS dead_at")
                .replace("LEFT JOIN dead_letters d", "JOIN dead_letters d")
        );
        let mut rows: Vec<DeadLetterRow> = db
            .prepare_cached(&sql)?
            .query_map((after.map_or(i64::MAX, |after| after.0), i64::from(limit) + 1), |row| {
                let reason = rows::dead_reason(row.get_ref("reason")?.as_str()?)?;
                Ok(DeadLetterRow { job: rows::job(row)?, reason, at: rows::time(row, "dead_at")? })
            })?
            .collect::<rusqlite::Result<_>>()?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|row| row.job.id);
        Ok(Page { rows, next })
    };
    read().map_err(|error| failed("list dead letters", error))
}

pub(super) fn dead_letter_count(db: &Connection) -> Result<u64> {
    db.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get::<_, i64>(0))
        .map(|count| count as u64)
        .map_err(|error| failed("count dead letters", error))
}

pub(super) fn tokens(db: &Connection, id: Option<&str>) -> Result<Vec<TokenRecord>> {
    let read = || {
        let record = |row: &rusqlite::Row<'_>| {
            let (scopes, created_at, expires_at, revoked_at, note) =
                rows::json(row.get_ref("record")?.as_str()?)?;
            Ok(TokenRecord {
                id: row.get("id")?,
                hash: row.get("hash")?,
                scopes,
                created_at,
                expires_at,
                revoked_at,
                note,
            })
        };
        db.prepare_cached("SELECT * FROM tokens WHERE ?1 IS NULL OR id = ?1 ORDER BY id")?
            .query_map([id], record)?
            .collect::<rusqlite::Result<_>>()
    };
    read().map_err(|error| failed("read a token", error))
}
