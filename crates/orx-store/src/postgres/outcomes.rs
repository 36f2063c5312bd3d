//! Records starts, progress and outcomes of attempts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use orx_model::job::AttemptCounts;
use orx_model::message::{ExecutionProgress, Started};
use orx_model::outcome::{RetryInputs, resolve_outcome};
use orx_model::{
    Cause, CauseId, ExecutionId, JobEvent, JobId, JobStatus, Name, Outcome, OutcomeKind,
    RetryPolicy, Timestamp, next,
};

use super::db_error::{DbError, DbResult};
use super::executor::MessageKind;
use super::group::{Group, Groups, Part, ROW_BYTES};
use super::row::PgColumns;
use super::sql::{SqlValue, Statement};
use super::{PgBudget, sql};
use crate::codec::{capped, exit_columns, millis, policy, status_code};
use crate::columns::Row as _;
use crate::{Recorded, Term};

#[derive(Debug)]
pub(super) struct Record {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) draws: Vec<f64>,
    pub(super) now: Timestamp,
}

/// An outcome that waits to be recorded.
struct PendingOutcome<'o> {
    outcome: &'o Outcome,
    draw: f64,
    now: Timestamp,
}

impl Record {
    fn pending(&self) -> impl Iterator<Item = PendingOutcome<'_>> {
        let draws = self.draws.iter().copied().chain(std::iter::repeat(0.5));
        let drawn = self.outcomes.iter().zip(draws);
        drawn.map(|(outcome, draw)| PendingOutcome { outcome, draw, now: self.now })
    }
}

/// Maximum number of rounds that record nothing because jobs changed between the read and the write.
const FUTILE_MAX: usize = 20;

impl Part for Record {
    type Answer = Vec<Recorded>;
    const ACTION: &'static str = "record the outcomes";

    fn weight(&self) -> usize {
        let weight = self.outcomes.iter().map(|outcome| match &outcome.kind {
            OutcomeKind::Succeeded { result: Some(result) } => 1 + result.get().len() / ROW_BYTES,
            _ => 1,
        });
        weight.sum()
    }

    fn group(groups: &Groups) -> &Group<Self> {
        &groups.record
    }

    async fn write(inner: &Arc<PgBudget>, parts: &[Self]) -> DbResult<Vec<Vec<Recorded>>> {
        let pending: Vec<PendingOutcome<'_>> = parts.iter().flat_map(Record::pending).collect();
        let mut all = inner.record(&pending, None).await?.into_iter();
        Ok(parts.iter().map(|part| all.by_ref().take(part.outcomes.len()).collect()).collect())
    }
}

/// The state of a job that a transition is computed from.
struct TransitionInputs {
    status: JobStatus,
    execution: Option<ExecutionId>,
    name: Name,
    inputs: RetryInputs,
}

/// The columns that an outcome changes.
struct EndColumns<'o> {
    index: usize,
    pending: &'o PendingOutcome<'o>,
    status: JobStatus,
    run_at: Option<Timestamp>,
    /// `None` for a success, which depends on no snapshot.
    decided: Option<Decided>,
}

struct Decided {
    was: RetryInputs,
    ends: AttemptCounts,
    dead: Option<(&'static str, CauseId)>,
}

impl PgBudget {
    pub(super) async fn record_outcomes_as_leader(
        self: &Arc<Self>,
        record: &Record,
        term: Term,
    ) -> DbResult<Vec<Recorded>> {
        let pending: Vec<PendingOutcome<'_>> = record.pending().collect();
        self.record(&pending, Some(term)).await
    }

    /// Records outcomes in rounds, one outcome per job and round.
    async fn record(
        self: &Arc<Self>,
        pending: &[PendingOutcome<'_>],
        term: Option<Term>,
    ) -> DbResult<Vec<Recorded>> {
        let mut answers: Vec<Option<Recorded>> = vec![None; pending.len()];
        let mut futile = 0;
        loop {
            let mut jobs = HashSet::new();
            let left: Vec<usize> = (0..pending.len())
                .filter(|index| {
                    answers[*index].is_none() && jobs.insert(pending[*index].outcome.job)
                })
                .collect();
            if left.is_empty() && (term.is_none() || !pending.is_empty()) {
                break;
            }
            let done = answers.iter().any(Option::is_some);
            let seen = self.snapshots(pending, &left).await.map_err(|it| it.after(done))?;
            let endings: Vec<EndColumns<'_>> = left
                .iter()
                .map(|index| EndColumns::new(*index, &pending[*index], &seen))
                .collect::<DbResult<_>>()?;
            let round = self.record_round(&endings, term, &mut answers).await;
            if round.map_err(|it| it.after(done))? == 0 {
                futile += 1;
            }
            if pending.is_empty() {
                break;
            }
            if futile > FUTILE_MAX {
                return Err(DbError::Busy.after(done));
            }
        }
        answers.into_iter().collect::<Option<Vec<_>>>().ok_or(DbError::Busy)
    }

    /// Reads the jobs whose attempts did not succeed.
    async fn snapshots(
        &self,
        pending: &[PendingOutcome<'_>],
        places: &[usize],
    ) -> DbResult<HashMap<JobId, TransitionInputs>> {
        let failed = places.iter().map(|index| pending[*index].outcome).filter(|it| !succeeded(it));
        let jobs: Vec<i64> = failed.map(|outcome| outcome.job.0).collect();
        if jobs.is_empty() {
            return Ok(HashMap::new());
        }
        let message = sql::fill(
            "select j.id, j.status, j.execution, j.failed, j.lost, j.returned, j.deadline, \
             j.cancel_at is not null, s.spec, j.server_lost \
             from jobs j left join specs s on s.job = j.id where j.id = any(:jobs)",
            [("jobs", sql::ints(jobs))],
        );
        let mut seen = HashMap::new();
        for row in &self.rows(MessageKind::Read, message).await? {
            let row = PgColumns(row);
            let policy = policy(row.job(0)?, row.optional_str(8)?.map(str::as_bytes));
            let inputs = RetryInputs {
                ends: AttemptCounts {
                    failed: row.count(3)?,
                    lost: row.count(4)?,
                    server_lost: row.count(9)?,
                    returned: row.count(5)?,
                },
                retry: policy.retry,
                on_lost: policy.on_lost,
                deadline: row.optional_time(6)?,
                cancel_requested: row.bool(7)?,
            };
            let execution = row.optional_id(2)?.map(ExecutionId);
            seen.insert(
                row.job(0)?,
                TransitionInputs { status: row.status(1)?, execution, name: policy.name, inputs },
            );
        }
        Ok(seen)
    }

    /// Runs one round. Returns the number of outcomes that got their answer.
    async fn record_round(
        self: &Arc<Self>,
        endings: &[EndColumns<'_>],
        term: Option<Term>,
        answers: &mut [Option<Recorded>],
    ) -> DbResult<usize> {
        let plain = |ending: &EndColumns<'_>| {
            let signal = exit_columns(ending.pending.outcome.exit).1;
            ending.decided.is_none() && signal.is_none()
        };
        let succeeded = !endings.is_empty() && endings.iter().all(plain);
        let message = match succeeded {
            true => success_statement(endings, term),
            false => statement(endings, term),
        };
        let rows = self.rows(MessageKind::Durable, message).await?;
        self.count();
        if rows.is_empty() {
            return Err(DbError::Deposed);
        }
        let by_index: HashMap<usize, &EndColumns<'_>> =
            endings.iter().map(|ending| (ending.index, ending)).collect();
        let mut answered = 0;
        let mut missing: HashSet<usize> = by_index.keys().copied().collect();
        for row in &rows {
            let row = PgColumns(row);
            let Some(index) = row.optional_int(0)? else { continue };
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            let Some(ending) = by_index.get(&index) else { continue };
            missing.remove(&index);
            let answer = match row.optional_int(2)? {
                None => Some(Recorded::Missing),
                Some(_) if row.bool(1)? => {
                    Some(Recorded::Applied { status: ending.status, run_at: ending.run_at })
                }
                // The execution is still live, but the job changed after its snapshot: another round.
                Some(_) if row.optional_bool(3)? == Some(true) => None,
                Some(_) => Some(Recorded::Stale { status: row.status(2)? }),
            };
            if let Some(slot) = answers.get_mut(index) {
                answered += usize::from(answer.is_some());
                *slot = answer;
            }
        }
        for index in missing {
            if let Some(slot) = answers.get_mut(index) {
                answered += 1;
                *slot = Some(Recorded::Missing);
            }
        }
        Ok(answered)
    }
}

fn succeeded(outcome: &Outcome) -> bool {
    matches!(outcome.kind, OutcomeKind::Succeeded { .. })
}

impl<'o> EndColumns<'o> {
    fn new(
        index: usize,
        pending: &'o PendingOutcome<'o>,
        seen: &HashMap<JobId, TransitionInputs>,
    ) -> DbResult<Self> {
        let outcome = pending.outcome;
        if succeeded(outcome) {
            // Both live statuses lead to the same status.
            let status = next(JobStatus::Running, JobEvent::Succeed)?;
            return Ok(Self { index, pending, status, run_at: None, decided: None });
        }
        let live = seen
            .get(&outcome.job)
            .filter(|seen| seen.execution == Some(outcome.execution) && seen.status.is_live());
        let Some(TransitionInputs { status, name, inputs, .. }) = live else {
            // Stale: impossible counts keep the statement from recording it, and it returns the job's status.
            let none = AttemptCounts { failed: u32::MAX, ..AttemptCounts::default() };
            let was = RetryInputs {
                ends: none,
                retry: RetryPolicy::default(),
                on_lost: orx_model::OnLost::default(),
                deadline: None,
                cancel_requested: false,
            };
            let decided = Some(Decided { was, ends: none, dead: None });
            let status = next(JobStatus::Running, JobEvent::Stopped)?;
            return Ok(Self { index, pending, status, run_at: None, decided });
        };
        let resolved = resolve_outcome(inputs, outcome, pending.now, pending.draw);
        Ok(Self {
            index,
            pending,
            status: next(*status, resolved.event)?,
            run_at: resolved.run_at,
            decided: Some(Decided {
                was: *inputs,
                ends: resolved.ends,
                dead: resolved.dead.map(|reason| {
                    let error = outcome.error.as_deref().map(capped);
                    (reason.as_str(), Cause::new(name, error, reason).id)
                }),
            }),
        })
    }

    fn error(&self) -> Option<&str> {
        let outcome = self.pending.outcome;
        if succeeded(outcome) { None } else { outcome.error.as_deref().map(capped) }
    }

    fn result(&self) -> Option<&str> {
        match &self.pending.outcome.kind {
            OutcomeKind::Succeeded { result: Some(result) } => Some(result.get()),
            _ => None,
        }
    }
}

fn statement(endings: &[EndColumns<'_>], term: Option<Term>) -> Statement {
    let pending = || endings.iter().map(|ending| ending.pending);
    let outcomes = || pending().map(|pending| pending.outcome);
    let decided = |of: fn(&Decided) -> u32| {
        sql::ints(endings.iter().map(move |ending| ending.decided.as_ref().map(of).map(i64::from)))
    };
    let deadline = |ending: &EndColumns<'_>| {
        let deadline = ending.decided.as_ref().and_then(|decided| decided.was.deadline);
        deadline.filter(|_| !ending.status.is_final()).map(Timestamp::as_millis)
    };
    let dead = |ending: &EndColumns<'_>| ending.decided.as_ref().and_then(|decided| decided.dead);
    let dead_at = |ending: &EndColumns<'_>| dead(ending).map(|_| ending.pending.now.as_millis());
    let exits = || outcomes().map(|outcome| exit_columns(outcome.exit));
    let cancelled = endings
        .iter()
        .map(|ending| ending.decided.as_ref().is_some_and(|decided| decided.was.cancel_requested));
    let values = [
        ("lease", SqlValue::Lease(term)),
        ("ords", sql::ints(endings.iter().map(|ending| ending.index as i64))),
        ("jobs", sql::ints(outcomes().map(|outcome| outcome.job.0))),
        ("executions", sql::ids(outcomes().map(|outcome| outcome.execution.0))),
        ("statuses", sql::ints(endings.iter().map(|ending| status_code(ending.status)))),
        ("run_ats", sql::ints(endings.iter().map(|ending| millis(ending.run_at)))),
        ("expire_ats", sql::ints(endings.iter().map(deadline))),
        ("failed", decided(|decided| decided.ends.failed)),
        ("lost", decided(|decided| decided.ends.lost)),
        ("server_lost", decided(|decided| decided.ends.server_lost)),
        ("returned", decided(|decided| decided.ends.returned)),
        ("was_failed", decided(|decided| decided.was.ends.failed)),
        ("was_lost", decided(|decided| decided.was.ends.lost)),
        ("was_server_lost", decided(|decided| decided.was.ends.server_lost)),
        ("was_returned", decided(|decided| decided.was.ends.returned)),
        ("was_cancelled", sql::bools(cancelled)),
        ("started_ats", sql::ints(outcomes().map(|outcome| millis(outcome.started_at)))),
        ("errors", sql::texts(endings.iter().map(EndColumns::error))),
        ("codes", sql::ints(exits().map(|(code, _)| code.map(i64::from)))),
        ("signals", sql::ints(exits().map(|(_, signal)| signal.map(i64::from)))),
        ("dead", sql::texts(endings.iter().map(|it| dead(it).map(|(reason, _)| reason)))),
        ("dead_ats", sql::ints(endings.iter().map(dead_at))),
        ("causes", sql::ints(endings.iter().map(|it| dead(it).map(|(_, id)| id.to_signed())))),
        ("outcomes", sql::texts(outcomes().map(|outcome| outcome.kind.status().as_str()))),
        ("ended_ats", sql::ints(pending().map(|it| it.outcome.ended_at.min(it.now).as_millis()))),
        ("results", sql::texts(endings.iter().map(EndColumns::result))),
    ];
    sql::fill_again(include_str!("record.sql"), values)
}

/// The statement for attempts that all succeeded: without the columns that depend on the job.
fn success_statement(endings: &[EndColumns<'_>], term: Option<Term>) -> Statement {
    static WITHOUT_RESULTS: LazyLock<String> = LazyLock::new(|| {
        let template = include_str!("record_ok.sql");
        match (template.find("stored as ("), template.find("moves as (")) {
            (Some(from), Some(to)) if from < to => [&template[..from], &template[to..]].concat(),
            _ => template.to_owned(),
        }
    });
    let pending = || endings.iter().map(|ending| ending.pending);
    let outcomes = || pending().map(|pending| pending.outcome);
    let codes = outcomes().map(|outcome| exit_columns(outcome.exit).0.map(i64::from));
    let kind = OutcomeKind::Succeeded { result: None };
    let values = [
        ("lease", SqlValue::Lease(term)),
        ("ords", sql::ints(endings.iter().map(|ending| ending.index as i64))),
        ("jobs", sql::ints(outcomes().map(|outcome| outcome.job.0))),
        ("executions", sql::ids(outcomes().map(|outcome| outcome.execution.0))),
        ("status", sql::int(status_code(endings[0].status))),
        ("started_ats", sql::ints(outcomes().map(|outcome| millis(outcome.started_at)))),
        ("ended", sql::text(kind.status().as_str())),
        ("ended_ats", sql::ints(pending().map(|it| it.outcome.ended_at.min(it.now).as_millis()))),
        ("codes", sql::ints(codes)),
        ("results", sql::texts(endings.iter().map(EndColumns::result))),
    ];
    match endings.iter().all(|ending| ending.result().is_none()) {
        true => sql::fill_again(&WITHOUT_RESULTS, values),
        false => sql::fill_again(include_str!("record_ok.sql"), values),
    }
}

impl Part for Vec<Started> {
    type Answer = ();
    const ACTION: &'static str = "record the started attempts";

    fn weight(&self) -> usize {
        self.len()
    }

    fn group(groups: &Groups) -> &Group<Self> {
        &groups.started
    }

    async fn write(inner: &Arc<PgBudget>, parts: &[Self]) -> DbResult<Vec<()>> {
        // The first report of an execution counts.
        let mut firsts: BTreeMap<(JobId, ExecutionId), Timestamp> = BTreeMap::new();
        for started in parts.iter().flatten() {
            firsts.entry((started.job, started.execution)).or_insert(started.at);
        }
        let values = [
            ("jobs", sql::ints(firsts.keys().map(|(job, _)| job.0))),
            ("executions", sql::ids(firsts.keys().map(|(_, execution)| execution.0))),
            ("ats", sql::ints(firsts.values().map(|at| at.as_millis()))),
            ("from", sql::int(status_code(JobStatus::Dispatched))),
            ("to", sql::int(status_code(next(JobStatus::Dispatched, JobEvent::Start)?))),
        ];
        inner
            .rows(MessageKind::Advisory, sql::fill_again(include_str!("start.sql"), values))
            .await?;
        inner.count();
        Ok(vec![(); parts.len()])
    }
}

impl Part for Vec<ExecutionProgress> {
    type Answer = ();
    const ACTION: &'static str = "record progress";

    fn weight(&self) -> usize {
        self.len()
    }

    fn group(groups: &Groups) -> &Group<Self> {
        &groups.progress
    }

    async fn write(inner: &Arc<PgBudget>, parts: &[Self]) -> DbResult<Vec<()>> {
        // The last report of an execution counts.
        let mut lasts = BTreeMap::new();
        for report in parts.iter().flatten() {
            lasts.insert((report.job, report.execution), &report.progress);
        }
        let texts = lasts.values().map(|progress| progress.text.as_deref().map(capped));
        let values = [
            ("jobs", sql::ints(lasts.keys().map(|(job, _)| job.0))),
            ("executions", sql::ids(lasts.keys().map(|(_, execution)| execution.0))),
            ("percents", sql::floats(lasts.values().map(|progress| progress.percent))),
            ("texts", sql::texts(texts)),
        ];
        inner
            .rows(MessageKind::Advisory, sql::fill_again(include_str!("progress.sql"), values))
            .await?;
        Ok(vec![(); parts.len()])
    }
}
