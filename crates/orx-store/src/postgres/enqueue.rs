//! Accepts jobs: inserts them, and finds the holders of keys that are in use.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use orx_model::{JobId, JobStatus, Lane, Timestamp};

use super::db_error::{DbError, DbResult};
use super::executor::Kind;
use super::group::{Group, Groups, Part, ROW_BYTES};
use super::lanes::LaneId;
use super::row::Columns;
use super::sql::{Statement, Value};
use super::{Inner, sql};
use crate::Enqueued;
use crate::codec::{integer, millis, status_code, urgency};
use crate::columns::Row as _;
use crate::prepared_job::{PreparedJob, SpecText};

#[derive(Debug)]
pub(super) struct Enqueue {
    pub(super) jobs: Vec<PreparedJob>,
    pub(super) now: Timestamp,
}

/// For batches in which no job has a key, and for others.
const TEMPLATES: [&str; 2] = [include_str!("enqueue_plain.sql"), include_str!("enqueue.sql")];
/// Attempts to write jobs whose keys other transactions take or free meanwhile.
const ROUNDS: usize = 4;

impl Part for Enqueue {
    type Answer = Vec<Enqueued>;
    const ACTION: &'static str = "accept the jobs";

    fn weight(&self) -> usize {
        self.jobs.iter().map(|job| 1 + job.bytes() / ROW_BYTES).sum()
    }

    fn group(groups: &Groups) -> &Group<Self> {
        &groups.enqueue
    }

    async fn write(inner: &Arc<Inner>, parts: &[Self]) -> DbResult<Vec<Vec<Enqueued>>> {
        let lanes: Vec<&Lane> =
            parts.iter().flat_map(|part| &part.jobs).map(|job| &job.lane).collect();
        inner.add_lanes(lanes).await?;
        let mut jobs = Vec::new();
        for part in parts {
            for job in &part.jobs {
                jobs.push(JobRow::new(inner, job, part.now)?);
            }
        }
        let mut answers: Vec<Option<Enqueued>> = vec![None; jobs.len()];
        for _ in 0..ROUNDS {
            let done = answers.iter().any(Option::is_some);
            let round = inner.add_new(&jobs, &mut answers).await;
            round.map_err(|failure| failure.after(done))?;
            if answers.iter().all(Option::is_some) {
                break;
            }
            let done = answers.iter().any(Option::is_some);
            let round = inner.look_up_known(&jobs, &mut answers).await;
            round.map_err(|failure| failure.after(done))?;
            if answers.iter().all(Option::is_some) {
                break;
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
    key: Option<String>,
}

impl<'j> JobRow<'j> {
    fn new(inner: &Inner, job: &'j PreparedJob, now: Timestamp) -> DbResult<Self> {
        let (status, run_at) = match job.run_at {
            Some(run_at) if run_at > now => (JobStatus::Scheduled, run_at),
            _ => (JobStatus::Pending, now),
        };
        let (lane, key) = (inner.lane_id(&job.lane)?, job.key.as_deref().map(sql::held));
        Ok(Self { job, lane, status, run_at, now, key })
    }
}

/// The job that holds a key.
struct Holder {
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
    holders: &HashMap<&str, Holder>,
    answers: &mut [Option<Enqueued>],
) {
    for (job, answer) in jobs.iter().zip(answers) {
        let holder = job.key.as_deref().and_then(|key| holders.get(key));
        if let (None, Some(Holder { id, hash, status })) = (&answer, holder) {
            *answer = Some(if *hash == job.job.key_hash {
                Enqueued::Existing { id: *id, status: *status }
            } else {
                Enqueued::KeyConflict { id: *id, status: *status, hash: hash.clone() }
            });
        }
    }
}

impl Inner {
    /// Inserts the unanswered jobs whose keys are free.
    async fn add_new(
        self: &Arc<Self>,
        jobs: &[JobRow<'_>],
        answers: &mut [Option<Enqueued>],
    ) -> DbResult<()> {
        let left = unanswered(jobs, answers);
        let rows = self.rows(Kind::Durable, statement(jobs, &left)).await?;
        self.count();
        let mut holders = HashMap::new();
        for row in rows.iter().map(Columns) {
            let (index, id) = (row.count(0)? as usize, row.job(1)?);
            let (Some(answer), Some(job)) = (answers.get_mut(index), jobs.get(index)) else {
                continue;
            };
            *answer = Some(Enqueued::New { id, status: job.status });
            if let Some(key) = job.key.as_deref() {
                let (hash, status) = (job.job.key_hash.clone(), job.status);
                holders.insert(key, Holder { id, hash, status });
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
        let rows = self.rows(Kind::Read, sql::fill(include_str!("known.sql"), values)).await?;
        for row in rows.iter().map(Columns) {
            let job = jobs.get(row.count(0)? as usize);
            if let Some(key) = job.and_then(|job| job.key.as_deref()) {
                let (id, hash, status) = (row.job(1)?, row.optional_text(2)?, row.status(3)?);
                holders.insert(key, Holder { id, hash, status });
            }
        }
        answer_by_key(jobs, &holders, answers);
        Ok(())
    }
}

/// The earliest `now` of the batch: a retained key that has expired by then is free for every caller.
fn earliest<'c>(jobs: impl Iterator<Item = &'c JobRow<'c>>) -> i64 {
    jobs.map(|job| job.now.as_millis()).min().unwrap_or_default()
}

/// The columns of specs; null where there is no spec.
pub(super) fn spec_values<'t>(
    texts: impl Iterator<Item = Option<&'t SpecText>>,
) -> [(&'static str, Value); 3] {
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

fn statement(jobs: &[JobRow<'_>], places: &[usize]) -> Statement {
    static WITHOUT_TERMS: LazyLock<[String; 2]> = LazyLock::new(|| TEMPLATES.map(without_terms));
    let of = || places.iter().map(|index| &jobs[*index]);
    let keyed = of().any(|job| job.key.is_some());
    let time = |at: Timestamp| at.as_millis();
    let mut values = vec![
        ("ords", sql::ints(places.iter().map(|index| *index as i64))),
        ("lanes", sql::ints(of().map(|job| job.lane.lane))),
        ("statuses", sql::ints(of().map(|job| status_code(job.status)))),
        ("urgencies", sql::ints(of().map(|job| urgency(job.job.priority)))),
        ("run_ats", sql::ints(of().map(|job| time(job.run_at)))),
        ("expire_ats", sql::ints(of().map(|job| millis(job.job.expire_at)))),
        ("created_ats", sql::ints(of().map(|job| time(job.now)))),
        ("deadlines", sql::ints(of().map(|job| millis(job.job.deadline)))),
        ("timeouts", sql::ints(of().map(|job| job.job.timeout_ms.map(integer)))),
    ];
    values.extend(spec_values(of().map(|job| Some(&job.job.text))));
    if keyed {
        values.extend([
            ("queues", sql::ints(of().map(|job| job.lane.queue))),
            ("keys", sql::texts(of().map(|job| job.key.as_deref()))),
            ("hashes", sql::texts(of().map(|job| job.job.key_hash.as_deref()))),
            ("now", sql::int(earliest(of()))),
        ]);
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
    match of().all(|job| job.job.text.terms.is_empty()) {
        true => sql::fill(&WITHOUT_TERMS[usize::from(keyed)], values),
        false => sql::fill(TEMPLATES[usize::from(keyed)], values),
    }
}
