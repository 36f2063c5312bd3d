//! Schedules, firings and run dependencies, serialized for a database.

use orx_model::JobSpec;
use orx_model::schedule::Slot;

use crate::prepared_job::PreparedJob;
use crate::{
    DependencyStep, ExpectedVersion, Firing, Position, RunAfter, RunDependency, SchedulePlan,
    ScheduleRecord,
};

/// A [`Firing`] that the calling task has serialized, so that the writer only writes.
#[derive(Debug)]
pub(crate) struct PreparedFiring {
    pub(crate) basis: ExpectedVersion,
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
            basis: fire.basis,
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

/// Each dependency with its serialized alert.
pub(crate) fn watched(
    all: Vec<RunDependency>,
) -> Result<Vec<(RunDependency, Option<String>)>, serde_json::Error> {
    let one = |it: RunDependency| {
        let alert = text(it.on_failure.as_ref())?;
        Ok((it, alert))
    };
    all.into_iter().map(one).collect()
}

#[derive(Debug)]
pub(crate) enum PreparedStep {
    Release(i64),
    End(i64, Option<PreparedJob>),
}

impl PreparedStep {
    pub(crate) fn all(steps: Vec<DependencyStep>) -> Result<Vec<Self>, serde_json::Error> {
        let one = |step| {
            Ok(match step {
                DependencyStep::Release { job } => Self::Release(job.0),
                DependencyStep::End { job, alert } => {
                    Self::End(job.0, alert.map(PreparedJob::new).transpose()?)
                }
            })
        };
        steps.into_iter().map(one).collect()
    }
}
