//! Jobs come in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

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
use crate::prepared_job::{PreparedJob, SpecText};

#[derive(Debug)]
pub(super) struct Enqueue {
    pub(super) jobs: Vec<PreparedJob>,
    pub(super) now: Timestamp,
}

/// Tries of jobs whose keys come and go meanwhile.
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
                jobs.push(Coming::new(inner, job, part.now)?);
            }
        }
        let mut answers: Vec<Option<Enqueued>> = vec![None; jobs.len()];
        for _ in 0..ROUNDS {
            let done = answers.iter().any(Option::is_some);
            let round = inner.enqueue_round(&jobs, &mut answers).await;
            round.map_err(|trouble| trouble.after(done))?;
            if answers.iter().all(Option::is_some) {
                break;
            }
        }
        let all = answers.into_iter().collect::<Option<Vec<_>>>().ok_or(DbError::Late)?;
        let mut all = all.into_iter();
        Ok(parts.iter().map(|part| all.by_ref().take(part.jobs.len()).collect()).collect())
    }
}

struct Coming<'j> {
    job: &'j PreparedJob,
    lane: LaneId,
    status: JobStatus,
    run_at: Timestamp,
    now: Timestamp,
}

impl<'j> Coming<'j> {
    fn new(inner: &Inner, job: &'j PreparedJob, now: Timestamp) -> DbResult<Self> {
        let (status, run_at) = match job.run_at {
            Some(run_at) if run_at > now => (JobStatus::Scheduled, run_at),
            _ => (JobStatus::Pending, now),
        };
        Ok(Self { job, lane: inner.lane_id(&job.lane)?, status, run_at, now })
    }

    /// As a column holds it.
    fn key(&self) -> Option<String> {
        self.job.key.as_deref().map(sql::held)
    }
}

/// Whose a key is.
struct Holder {
    id: JobId,
    hash: Option<String>,
    status: JobStatus,
}

impl Inner {
    /// Writes the jobs that have no answer yet, of each key the first.
    async fn enqueue_round(
        self: &Arc<Self>,
        jobs: &[Coming<'_>],
        answers: &mut [Option<Enqueued>],
    ) -> DbResult<()> {
        let mut firsts: HashMap<String, usize> = HashMap::new();
        let left: Vec<usize> = (0..jobs.len())
            .filter(|place| answers[*place].is_none())
            .filter(|place| match jobs[*place].key() {
                Some(key) => *firsts.entry(key).or_insert(*place) == *place,
                None => true,
            })
            .collect();
        let keyed = !firsts.is_empty();
        let rows = self.rows(Kind::Durable, statement(jobs, &left, keyed)).await?;
        self.count();
        let mut holders = HashMap::new();
        for row in &rows {
            let row = Columns(row);
            let (place, is_new, id) = (row.count(0)? as usize, row.bool(1)?, row.job(2)?);
            let (Some(answer), Some(job)) = (answers.get_mut(place), jobs.get(place)) else {
                continue;
            };
            let holder = if is_new {
                *answer = Some(Enqueued::New { id, status: job.status });
                Holder { id, hash: job.job.key_hash.clone(), status: job.status }
            } else {
                Holder { id, hash: row.optional_text(3)?, status: row.status(4)? }
            };
            if let Some(key) = job.key() {
                holders.insert(key, holder);
            }
        }
        for (place, job) in jobs.iter().enumerate() {
            let holder = job.key().and_then(|key| holders.get(&key));
            if let (None, Some(Holder { id, hash, status })) = (&answers[place], holder) {
                answers[place] = Some(if *hash == job.job.key_hash {
                    Enqueued::Existing { id: *id, status: *status }
                } else {
                    Enqueued::KeyConflict { id: *id, status: *status, hash: hash.clone() }
                });
            }
        }
        Ok(())
    }
}

/// The columns of specs.
pub(super) fn spec_values<'t>(
    texts: impl Iterator<Item = Option<&'t SpecText>>,
) -> [(&'static str, Value); 3] {
    let texts: Vec<_> = texts.collect();
    let of = || texts.iter().copied();
    // Each is an array in itself, of another length: as text, and none where it would be empty.
    let terms = of().map(|text| Some(&text?.terms).filter(|terms| !terms.is_empty()));
    let terms = terms.map(|terms| Some(sql::elements(terms?.iter().map(String::as_str))));
    let terms: Vec<Option<String>> = terms.collect();
    [
        ("specs", sql::texts(of().map(|text| text.map(|text| text.spec.as_str())))),
        ("heads", sql::texts(of().map(|text| text?.head.as_deref()))),
        ("terms", sql::texts(terms.iter().map(Option::as_deref))),
    ]
}

fn statement(jobs: &[Coming<'_>], places: &[usize], keyed: bool) -> Statement {
    let of = || places.iter().map(|place| &jobs[*place]);
    let time = |at: Timestamp| at.as_millis();
    let mut values = vec![
        ("ords", sql::ints(places.iter().map(|place| *place as i64))),
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
    if !keyed {
        // Each of them is new.
        let mut counts: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        for job in of() {
            *counts.entry((job.lane.queue, status_code(job.status))).or_default() += 1;
        }
        values.extend([
            ("queues", sql::ints(counts.keys().map(|(queue, _)| *queue))),
            ("counted", sql::ints(counts.keys().map(|(_, status)| *status))),
            ("counts", sql::ints(counts.values().copied())),
        ]);
        return sql::fill(include_str!("enqueue_plain.sql"), values);
    }
    // A key whose time is over is free; by the caller that is earliest, it is for all.
    let now = of().map(|job| time(job.now)).min().unwrap_or_default();
    values.extend([
        ("keys", sql::texts(of().map(|job| job.job.key.as_deref()))),
        ("hashes", sql::texts(of().map(|job| job.job.key_hash.as_deref()))),
        ("now", sql::int(now)),
    ]);
    sql::fill(include_str!("enqueue.sql"), values)
}
