//! Schedules, firings and run dependencies, serialized for a database.

use orx_model::JobSpec;
use orx_model::schedule::Slot;

use crate::prepared_job::PreparedJob;
use crate::{
    ExpectedVersion, Firing, Position, Release, RunAfter, RunAlert, SchedulePlan, ScheduleRecord,
};

/// A [`Firing`] that the calling task has serialized, so that the writer only writes.
#[derive(Debug)]
pub(crate) struct PreparedFiring {
    pub(crate) expected: ExpectedVersion,
    pub(crate) runs: Vec<NewRun>,
    pub(crate) rows: Vec<Slot>,
    pub(crate) alerts: Vec<PreparedJob>,
    pub(crate) to: Option<Position>,
}

#[derive(Debug)]
pub(crate) struct NewRun {
    pub(crate) job: PreparedJob,
    pub(crate) after: RunAfter,
    pub(crate) row: Option<Slot>,
    pub(crate) on_failure: Option<String>,
}

fn text(spec: Option<&JobSpec>) -> Result<Option<String>, serde_json::Error> {
    spec.map(serde_json::to_string).transpose()
}

impl PreparedFiring {
    pub(crate) fn new(fire: Firing) -> Result<Self, serde_json::Error> {
        let run = |run: crate::Run| {
            Ok(NewRun {
                on_failure: text(run.on_failure.as_ref())?,
                job: PreparedJob::new(run.job)?,
                after: run.after,
                row: run.row,
            })
        };
        Ok(Self {
            expected: fire.expected,
            runs: fire.runs.into_iter().map(run).collect::<Result<_, serde_json::Error>>()?,
            rows: fire.rows,
            alerts: fire.alerts.into_iter().map(PreparedJob::new).collect::<Result<_, _>>()?,
            to: fire.to,
        })
    }

    pub(crate) fn all(fires: Vec<Firing>) -> Result<Vec<Self>, serde_json::Error> {
        fires.into_iter().map(Self::new).collect()
    }

    /// Estimate of the rows that it writes.
    pub(crate) fn weight(&self) -> usize {
        2 + self.rows.len() + 3 * (self.runs.len() + self.alerts.len())
    }
}

/// A plan, serialized for its columns.
#[derive(Debug)]
pub(crate) struct NewPlan {
    pub(crate) plan: SchedulePlan,
    pub(crate) spec: String,
    pub(crate) templates: String,
}

impl NewPlan {
    pub(crate) fn new(plan: SchedulePlan) -> Result<Self, serde_json::Error> {
        Ok(Self {
            spec: serde_json::to_string(&plan.spec)?,
            templates: serde_json::to_string(&plan.templates)?,
            plan,
        })
    }
}

/// A schedule of another store, its serialized plan, and its ledger.
pub(crate) type Import = (ScheduleRecord, NewPlan, Vec<Slot>);

pub(crate) fn imports(
    all: Vec<(ScheduleRecord, Vec<Slot>)>,
) -> Result<Vec<Import>, serde_json::Error> {
    let one = |(record, slots): (ScheduleRecord, Vec<Slot>)| {
        let plan = NewPlan::new(record.plan.clone())?;
        Ok((record, plan, slots))
    };
    all.into_iter().map(one).collect()
}

/// Each alert with its serialized job.
pub(crate) fn alerts(all: Vec<RunAlert>) -> Result<Vec<(RunAlert, String)>, serde_json::Error> {
    let one = |alert: RunAlert| {
        let job = serde_json::to_string(&alert.on_failure)?;
        Ok((alert, job))
    };
    all.into_iter().map(one).collect()
}

/// A [`Release`] that the calling task has serialized.
#[derive(Debug)]
pub(crate) struct PreparedRelease {
    pub(crate) job: i64,
    pub(crate) alert: Option<PreparedJob>,
}

impl PreparedRelease {
    pub(crate) fn all(releases: Vec<Release>) -> Result<Vec<Self>, serde_json::Error> {
        let one = |Release { job, alert }: Release| {
            Ok(Self { job: job.0, alert: alert.map(PreparedJob::new).transpose()? })
        };
        releases.into_iter().map(one).collect()
    }
}
