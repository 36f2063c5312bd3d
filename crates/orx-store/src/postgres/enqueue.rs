//! Accepts jobs: inserts them, and finds the holders of keys that are in use.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use orx_model::{JobId, JobStatus, Lane, Timestamp};

use super::db_error::{DbError, DbResult};
use super::executor::MessageKind;
use super::group::{Group, Groups, Part, ROW_BYTES};
use super::lanes::LaneId;
use super::row::PgColumns;
use super::sql::{SqlValue, Statement};
use super::{PgBudget, sql};
use crate::Enqueued;
use crate::codec::{integer, millis, priority_rank, status_code};
use crate::columns::Row as _;
use crate::prepared_job::{PreparedJob, SpecText};

#[derive(Debug)]
pub(super) struct Enqueue {
    pub(super) jobs: Vec<PreparedJob>,
    pub(super) now: Timestamp,
}

/// For batches without keys, for those with keys, for those whose jobs have keys and differ in little else, and
/// for a single job with a key.
const TEMPLATES: [&str; 4] = [
    include_str!("enqueue_plain.sql"),
    include_str!("enqueue.sql"),
    include_str!("enqueue_alike.sql"),
    include_str!("enqueue_one.sql"),
];
const PLAIN: usize = 0;
const KEYED: usize = 1;
const ALIKE: usize = 2;
const ONE: usize = 3;
/// Attempts to write jobs whose keys other transactions take or free meanwhile.
const ROUNDS: usize = 6;

impl Part for Enqueue {
    type Answer = Vec<Enqueued>;
    const ACTION: &'static str = "accept the jobs";

    fn weight(&self) -> usize {
        self.jobs.iter().map(|job| 1 + job.bytes() / ROW_BYTES).sum()
    }

    fn group(groups: &Groups) -> &Group<Self> {
        &groups.enqueue
    }

    async fn write(inner: &Arc<PgBudget>, parts: &[Self]) -> DbResult<Vec<Vec<Enqueued>>> {
        let mut lanes: Vec<&Lane> =
            parts.iter().flat_map(|part| &part.jobs).map(|job| &job.lane).collect();
        lanes.dedup();
        inner.add_lanes(lanes).await?;
        let mut jobs: Vec<JobRow<'_>> = Vec::new();
        for part in parts {
            for job in &part.jobs {
                // Jobs of one lane often follow each other.
                let lane = match jobs.last() {
                    Some(before) if before.job.lane == job.lane => before.lane,
                    _ => inner.lane_id(&job.lane)?,
                };
                jobs.push(JobRow::new(job, lane, part.now));
            }
        }
        let mut answers: Vec<Option<Enqueued>> = vec![None; jobs.len()];
        for round in 0..ROUNDS {
            let done = answers.iter().any(Option::is_some);
            let added = inner.add_new(&jobs, &mut answers).await;
            added.map_err(|failure| failure.after(done))?;
            if answers.iter().all(Option::is_some) {
                break;
            }
            let done = answers.iter().any(Option::is_some);
            let known = inner.look_up_known(&jobs, &mut answers).await;
            known.map_err(|failure| failure.after(done))?;
            if answers.iter().all(Option::is_some) {
                break;
            }
            // In the first round the other keys were free: they only came with one that exists.
            if round > 0 {
                let done = answers.iter().any(Option::is_some);
                let freed = inner.free_keys(&jobs, &answers).await;
                freed.map_err(|failure| failure.after(done))?;
            }
        }
        let all = answers.into_iter().collect::<Option<Vec<_>>>().ok_or(DbError::Late)?;
        let mut all = all.into_iter();
        Ok(parts.iter().map(|part| all.by_ref().take(part.jobs.len()).collect()).collect())
    }
}

/// A job of the batch, with the values of its row.
struct JobRow<'j> {
    job: &'j PreparedJob,
    lane: LaneId,
    status: JobStatus,
    run_at: Timestamp,
    now: Timestamp,
    /// With U+0000 replaced, as the column stores it.
    key: Option<Cow<'j, str>>,
}

impl<'j> JobRow<'j> {
    fn new(job: &'j PreparedJob, lane: LaneId, now: Timestamp) -> Self {
        let (status, run_at) = match job.run_at {
            Some(run_at) if run_at > now => (JobStatus::Scheduled, run_at),
            _ => (JobStatus::Pending, now),
        };
        Self { job, lane, status, run_at, now, key: job.key.as_deref().map(sql::held) }
    }
}

/// The job that holds a key.
struct KeyHolder {
    id: JobId,
    hash: Option<String>,
    status: JobStatus,
}

/// Indexes of the jobs without an answer; of several with the same key, the first.
fn unanswered(jobs: &[JobRow<'_>], answers: &[Option<Enqueued>]) -> Vec<usize> {
    let mut keys: HashSet<&str> = HashSet::new();
    let left = (0..jobs.len()).filter(|index| answers[*index].is_none());
    left.filter(|index| jobs[*index].key.as_deref().is_none_or(|key| keys.insert(key))).collect()
}

/// Answers the jobs whose keys have a holder.
fn answer_by_key(
    jobs: &[JobRow<'_>],
    holders: &HashMap<&str, KeyHolder>,
    answers: &mut [Option<Enqueued>],
) {
    for (job, answer) in jobs.iter().zip(answers) {
        let holder = job.key.as_deref().and_then(|key| holders.get(key));
        if let (None, Some(KeyHolder { id, hash, status })) = (&answer, holder) {
            *answer = Some(if *hash == job.job.key_hash {
                Enqueued::Existing { id: *id, status: *status }
            } else {
                Enqueued::KeyConflict { id: *id, status: *status, hash: hash.clone() }
            });
        }
    }
}

impl PgBudget {
    /// Inserts the unanswered jobs whose keys are free.
    async fn add_new(
        self: &Arc<Self>,
        jobs: &[JobRow<'_>],
        answers: &mut [Option<Enqueued>],
    ) -> DbResult<()> {
        let left = unanswered(jobs, answers);
        let rows = self.rows(MessageKind::Durable, statement(jobs, &left)).await?;
        self.count();
        for row in rows.iter().map(PgColumns) {
            for (index, id) in row.ints(0)?.into_iter().zip(row.ints(1)?) {
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                let (Some(answer), Some(job)) = (answers.get_mut(index), jobs.get(index)) else {
                    continue;
                };
                *answer = Some(Enqueued::New { id: JobId(id), status: job.status });
            }
        }
        if answers.iter().all(Option::is_some) {
            return Ok(());
        }
        let mut holders = HashMap::new();
        for (job, answer) in jobs.iter().zip(&*answers) {
            if let (Some(key), Some(Enqueued::New { id, status })) = (job.key.as_deref(), answer) {
                let (id, hash, status) = (*id, job.job.key_hash.clone(), *status);
                holders.insert(key, KeyHolder { id, hash, status });
            }
        }
        answer_by_key(jobs, &holders, answers);
        Ok(())
    }

    /// Finds the holders of the keys that are in use.
    async fn look_up_known(
        &self,
        jobs: &[JobRow<'_>],
        answers: &mut [Option<Enqueued>],
    ) -> DbResult<()> {
        let left = unanswered(jobs, answers);
        let keys = left.iter().map(|index| jobs[*index].key.as_deref());
        let values = [
            ("ords", sql::ints(left.iter().map(|index| *index as i64))),
            ("keys", sql::texts(keys)),
            ("now", sql::int(earliest(left.iter().map(|index| &jobs[*index])))),
        ];
        let mut holders = HashMap::new();
        let rows =
            self.rows(MessageKind::Read, sql::fill(include_str!("known.sql"), values)).await?;
        for row in rows.iter().map(PgColumns) {
            let job = jobs.get(row.count(0)? as usize);
            if let Some(key) = job.and_then(|job| job.key.as_deref()) {
                let (id, hash, status) = (row.job(1)?, row.optional_text(2)?, row.status(3)?);
                holders.insert(key, KeyHolder { id, hash, status });
            }
        }
        answer_by_key(jobs, &holders, answers);
        Ok(())
    }

    /// Deletes the keys of the unanswered jobs that pruned jobs held and whose time is over.
    async fn free_keys(&self, jobs: &[JobRow<'_>], answers: &[Option<Enqueued>]) -> DbResult<()> {
        let left = unanswered(jobs, answers);
        let values = [
            ("keys", sql::texts(left.iter().map(|index| jobs[*index].key.as_deref()))),
            ("now", sql::int(earliest(left.iter().map(|index| &jobs[*index])))),
        ];
        let message = sql::fill(include_str!("free_keys.sql"), values);
        self.rows(MessageKind::Unsynced, message).await.map(drop)
    }
}

/// The earliest `now` of the batch: a retained key that has expired by then is free for every caller.
fn earliest<'c>(jobs: impl Iterator<Item = &'c JobRow<'c>>) -> i64 {
    jobs.map(|job| job.now.as_millis()).min().unwrap_or_default()
}

/// The columns of specs; null where there is no spec.
pub(super) fn spec_values<'t>(
    texts: impl Iterator<Item = Option<&'t SpecText>>,
) -> [(&'static str, SqlValue); 3] {
    let texts: Vec<_> = texts.collect();
    let of = || texts.iter().copied();
    // Each is an array of its own length, so it is passed as text; null if it is empty.
    let terms = of().map(|text| Some(&text?.terms).filter(|terms| !terms.is_empty()));
    let terms = terms.map(|terms| Some(sql::elements(terms?.iter().map(String::as_str))));
    let terms: Vec<Option<String>> = terms.collect();
    [
        ("specs", sql::texts(of().map(|text| text.map(|text| text.spec.as_str())))),
        ("heads", sql::texts(of().map(|text| text?.head.as_deref()))),
        ("terms", sql::texts(terms.iter().map(Option::as_deref))),
    ]
}

/// Removes the part of a template that writes terms.
fn without_terms(template: &str) -> String {
    match (template.find("found as ("), template.find("counted as (")) {
        (Some(from), Some(to)) if from < to => [&template[..from], &template[to..]].concat(),
        _ => template.to_owned(),
    }
}

/// What the jobs of [`ALIKE`] share.
type AlikeColumns = (LaneId, [i64; 2], [Option<i64>; 3]);

impl JobRow<'_> {
    fn shared(&self) -> AlikeColumns {
        (
            self.lane,
            [status_code(self.status), priority_rank(self.job.priority)],
            [
                millis(self.job.expire_at),
                millis(self.job.deadline),
                self.job.timeout_ms.map(integer),
            ],
        )
    }
}

fn statement(jobs: &[JobRow<'_>], places: &[usize]) -> Statement {
    static WITHOUT_TERMS: LazyLock<[String; TEMPLATES.len()]> =
        LazyLock::new(|| TEMPLATES.map(without_terms));
    let rows: Vec<&JobRow<'_>> = places.iter().map(|index| &jobs[*index]).collect();
    let all_keyed = rows.iter().all(|job| job.key.is_some());
    let alike = || {
        let same =
            |job: &&JobRow<'_>| job.job.text.head.is_none() && job.shared() == rows[0].shared();
        rows.iter().all(same)
    };
    let (template, values) = match rows[..] {
        [job] if all_keyed => (ONE, one_values(job, places[0])),
        [..] if all_keyed && !rows.is_empty() && alike() => (ALIKE, alike_values(&rows, places)),
        [..] if rows.iter().any(|job| job.key.is_some()) => (KEYED, values(&rows, places, true)),
        [..] => (PLAIN, values(&rows, places, false)),
    };
    match rows.iter().all(|job| job.job.text.terms.is_empty()) {
        true => sql::fill_again(&WITHOUT_TERMS[template], values),
        false => sql::fill_again(TEMPLATES[template], values),
    }
}

type Values = Vec<(&'static str, SqlValue)>;

fn shared_values(job: &JobRow<'_>) -> Values {
    let (lane, [status, priority_rank], [expire_at, deadline, timeout_ms]) = job.shared();
    vec![
        ("lane", sql::int(lane.lane)),
        ("queue", sql::int(lane.queue)),
        ("status", sql::int(status)),
        ("priority_rank", sql::int(priority_rank)),
        ("expire_at", sql::optional_int(expire_at)),
        ("deadline", sql::optional_int(deadline)),
        ("timeout_ms", sql::optional_int(timeout_ms)),
    ]
}

fn one_values(job: &JobRow<'_>, place: usize) -> Values {
    let text = &job.job.text;
    let terms = text.terms.iter().map(String::as_str);
    let mut values = shared_values(job);
    values.extend([
        ("ord", sql::int(place as i64)),
        ("run_at", sql::int(job.run_at.as_millis())),
        ("created_at", sql::int(job.now.as_millis())),
        ("key", sql::optional_text(job.key.as_deref())),
        ("hash", sql::optional_text(job.job.key_hash.as_deref())),
        ("spec", sql::text(&text.spec)),
        ("head", sql::optional_text(text.head.as_deref())),
        ("terms", SqlValue::Text((!text.terms.is_empty()).then(|| sql::elements(terms)))),
    ]);
    values
}

fn alike_values(rows: &[&JobRow<'_>], places: &[usize]) -> Values {
    let mut values = shared_values(rows[0]);
    values.extend([
        ("run_ats", sql::ints(rows.iter().map(|job| job.run_at.as_millis()))),
        ("created_ats", sql::ints(rows.iter().map(|job| job.now.as_millis()))),
    ]);
    values.extend(key_values(rows, places));
    values.extend(spec_values(rows.iter().map(|job| Some(&job.job.text))));
    values
}

fn key_values(rows: &[&JobRow<'_>], places: &[usize]) -> [(&'static str, SqlValue); 5] {
    let keys = || rows.iter().filter_map(|job| job.key.as_deref());
    [
        // In the order of bytes, as the column.
        ("least", sql::optional_text(keys().min())),
        ("greatest", sql::optional_text(keys().max())),
        ("ords", sql::ints(places.iter().map(|index| *index as i64))),
        ("keys", sql::texts(rows.iter().map(|job| job.key.as_deref()))),
        ("hashes", sql::texts(rows.iter().map(|job| job.job.key_hash.as_deref()))),
    ]
}

fn values(rows: &[&JobRow<'_>], places: &[usize], keyed: bool) -> Values {
    let of = || rows.iter().copied();
    let time = |at: Timestamp| at.as_millis();
    let mut values = vec![
        ("lanes", sql::ints(of().map(|job| job.lane.lane))),
        ("statuses", sql::ints(of().map(|job| status_code(job.status)))),
        ("priority_ranks", sql::ints(of().map(|job| priority_rank(job.job.priority)))),
        ("run_ats", sql::ints(of().map(|job| time(job.run_at)))),
        ("expire_ats", sql::ints(of().map(|job| millis(job.job.expire_at)))),
        ("created_ats", sql::ints(of().map(|job| time(job.now)))),
        ("deadlines", sql::ints(of().map(|job| millis(job.job.deadline)))),
        ("timeouts", sql::ints(of().map(|job| job.job.timeout_ms.map(integer)))),
    ];
    values.extend(spec_values(of().map(|job| Some(&job.job.text))));
    values.extend(key_values(rows, places));
    if keyed {
        values.push(("queues", sql::ints(of().map(|job| job.lane.queue))));
    } else {
        // Every job is new, so the counts are known here.
        let mut counts: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        for job in of() {
            *counts.entry((job.lane.queue, status_code(job.status))).or_default() += 1;
        }
        values.extend([
            ("queues", sql::ints(counts.keys().map(|(queue, _)| *queue))),
            ("counted", sql::ints(counts.keys().map(|(_, status)| *status))),
            ("counts", sql::ints(counts.values().copied())),
        ]);
    }
    values
}
