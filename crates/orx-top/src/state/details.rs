//! What is open over a screen: a job, a worker or a schedule.

use orx_model::schedule::Slot;
use orx_model::wire::{AuditEntry, JobDetail, WorkerDetail};
use orx_model::{JobId, Name};

use super::grid::Grid;
use super::log::{LineRef, Log};
use super::scroll::Scroll;

/// A tab of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobTab {
    Log,
    Attempts,
    Args,
    Result,
    Events,
    Why,
}

impl JobTab {
    pub(crate) const ALL: [Self; 6] =
        [Self::Log, Self::Attempts, Self::Args, Self::Result, Self::Events, Self::Why];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Log => "Log",
            Self::Attempts => "Attempts",
            Self::Args => "Args",
            Self::Result => "Result",
            Self::Events => "Events",
            Self::Why => "Why",
        }
    }
}

/// A job.
#[derive(Debug)]
pub(crate) struct JobPane {
    pub(crate) id: JobId,
    pub(crate) job: Option<JobDetail>,
    pub(crate) tab: JobTab,
    pub(crate) log: Log,
    /// News of a log that was followed before have another number.
    pub(crate) follows: u64,
    /// The line to go to, once it has come.
    pub(crate) goes_to: Option<LineRef>,
    pub(crate) attempts: Grid,
    /// The newest changes by people, for the events.
    pub(crate) audit: Vec<AuditEntry>,
    /// The place in the args, the result, the events or the reasons.
    pub(crate) scroll: Scroll,
}

/// A worker, with the attempts that it holds.
#[derive(Debug)]
pub(crate) struct WorkerPane {
    /// Its incarnation: another one of the same name is another worker.
    pub(crate) incarnation: String,
    pub(crate) name: String,
    pub(crate) worker: Option<WorkerDetail>,
    pub(crate) grid: Grid,
}

/// A schedule, with its ledger.
#[derive(Debug)]
pub(crate) struct SchedulePane {
    pub(crate) id: Name,
    pub(crate) slots: Vec<Slot>,
    pub(crate) grid: Grid,
}

/// What is open over a screen.
#[derive(Debug)]
pub(crate) enum Detail {
    Job(Box<JobPane>),
    Worker(WorkerPane),
    Schedule(SchedulePane),
}

impl Detail {
    /// For the path in the header.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Job(pane) => pane.id.to_string(),
            Self::Worker(pane) => pane.name.clone(),
            Self::Schedule(pane) => pane.id.to_string(),
        }
    }
}
