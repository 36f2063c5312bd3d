//! What a schedule does, on its way into a database.

use orx_model::JobSpec;
use orx_model::schedule::Slot;

use crate::new_job::NewJob;
use crate::{Basis, Fire, Position, RunAfter, SchedulePlan, ScheduleRecord, Settle, Watched};

/// Made ready for its rows by the caller, so that the writer only writes.
#[derive(Debug)]
pub(crate) struct NewFire {
    pub(crate) basis: Basis,
    pub(crate) runs: Vec<NewRun>,
    pub(crate) rows: Vec<Slot>,
    pub(crate) alerts: Vec<NewJob>,
    pub(crate) to: Option<Position>,
}

#[derive(Debug)]
pub(crate) struct NewRun {
    pub(crate) job: NewJob,
    pub(crate) after: RunAfter,
    pub(crate) row: Option<Slot>,
    pub(crate) on_failure: Option<String>,
}

fn text(spec: Option<&JobSpec>) -> Result<Option<String>, serde_json::Error> {
    spec.map(serde_json::to_string).transpose()
}

impl NewFire {
    pub(crate) fn new(fire: Fire) -> Result<Self, serde_json::Error> {
        let run = |run: crate::Run| {
            Ok(NewRun {
                on_failure: text(run.on_failure.as_ref())?,
                job: NewJob::new(run.job)?,
                after: run.after,
                row: run.row,
            })
        };
        Ok(Self {
            basis: fire.basis,
            runs: fire.runs.into_iter().map(run).collect::<Result<_, serde_json::Error>>()?,
            rows: fire.rows,
            alerts: fire.alerts.into_iter().map(NewJob::new).collect::<Result<_, _>>()?,
            to: fire.to,
        })
    }

    pub(crate) fn all(fires: Vec<Fire>) -> Result<Vec<Self>, serde_json::Error> {
        fires.into_iter().map(Self::new).collect()
    }

    /// About the rows that it writes.
    pub(crate) fn weight(&self) -> usize {
        2 + self.rows.len() + 3 * (self.runs.len() + self.alerts.len())
    }
}

/// A plan as its columns have it.
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

/// A schedule as it stood elsewhere, its plan made ready, and its ledger.
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

/// Each with its alert as its column has it.
pub(crate) fn watched(
    all: Vec<Watched>,
) -> Result<Vec<(Watched, Option<String>)>, serde_json::Error> {
    let one = |it: Watched| {
        let alert = text(it.on_failure.as_ref())?;
        Ok((it, alert))
    };
    all.into_iter().map(one).collect()
}

#[derive(Debug)]
pub(crate) enum NewSettle {
    Release(i64),
    End(i64, Option<NewJob>),
}

impl NewSettle {
    pub(crate) fn all(settles: Vec<Settle>) -> Result<Vec<Self>, serde_json::Error> {
        let one = |settle| {
            Ok(match settle {
                Settle::Release { job } => Self::Release(job.0),
                Settle::End { job, alert } => Self::End(job.0, alert.map(NewJob::new).transpose()?),
            })
        };
        settles.into_iter().map(one).collect()
    }
}
