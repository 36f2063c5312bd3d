//! What is kept of schedules: what was asked for, how far each has come, and its ledger.

use std::time::Duration;

use async_trait::async_trait;
use orx_model::job::UNREADABLE;
use orx_model::schedule::{Due, Overlap, Slot, SlotOutcome};
use orx_model::wire::EnqueueRequest;
use orx_model::{JobId, JobSpec, JobStatus, Name, Origin, Timestamp};
use orx_schedule::Schedule;
use serde::{Deserialize, Serialize};

use crate::{Dispatching, Result, Term};

/// Rows of a ledger that are kept, at most; see [`Schedules::prune_slots`].
pub const SLOTS_KEPT: u32 = 10_000;

/// What a schedule enqueues: requests made complete when it was made or changed, so that they stand
/// as they were checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Templates {
    pub job: JobSpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_missed: Option<JobSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<JobSpec>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    pub at: Timestamp,
    pub reason: Option<String>,
    pub by: Option<String>,
}

/// How far a schedule has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// What became of every slot up to here is decided. Moves back only where the clock went back:
    /// slots that ran before are not run again, see [`Schedules::fire`].
    pub handled: Timestamp,
    /// `None` while it is paused, and after its last slot.
    pub next: Option<Due>,
}

/// The run that a schedule made last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRun {
    pub job: JobId,
    /// `None`: it was forgotten, and so had ended.
    pub status: Option<JobStatus>,
}

impl LastRun {
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.status.is_none_or(JobStatus::is_final)
    }
}

/// What a person decides of a schedule.
#[derive(Debug, Clone)]
pub struct SchedulePlan {
    pub spec: Schedule,
    pub templates: Templates,
    pub paused: Option<Paused>,
    pub position: Position,
    /// Who made or changed it.
    pub by: Option<String>,
}

#[derive(Debug, Clone)]
pub struct ScheduleRecord {
    pub plan: SchedulePlan,
    /// 1, and one more with each change of the plan.
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Slots that made a job.
    pub runs: u64,
    pub last_run: Option<LastRun>,
    /// Its plan cannot be read, and why. Then nothing of the plan but its id and position is its own.
    pub unreadable: Option<String>,
}

impl ScheduleRecord {
    /// What is shown of one that cannot be read.
    pub(crate) fn unreadable(id: Name, handled: Timestamp, why: String) -> Self {
        let name = Name::from_any(UNREADABLE);
        let job = EnqueueRequest { name: Some(name), ..EnqueueRequest::default() };
        Self {
            plan: SchedulePlan {
                spec: Schedule::once(id, handled, job),
                templates: Templates {
                    job: JobSpec::unreadable(),
                    on_missed: None,
                    on_failure: None,
                },
                paused: None,
                position: Position { handled, next: None },
                by: None,
            },
            version: 0,
            created_at: handled,
            updated_at: handled,
            runs: 0,
            last_run: None,
            unreadable: Some(why),
        }
    }

    #[must_use]
    pub fn id(&self) -> &Name {
        &self.plan.spec.id
    }

    /// The job of a run: for a slot, or by a person.
    #[must_use]
    pub fn job_for(&self, slot: Option<Timestamp>, now: Timestamp) -> JobSpec {
        let wait = self.plan.spec.job.expires_ms.map(Duration::from_millis);
        JobSpec {
            expires_at: wait.map(|wait| now.saturating_add(wait)),
            schedule: Some(Origin { id: self.id().clone(), slot }),
            ..self.plan.templates.job.clone()
        }
    }

    /// What is done for a person who runs it now. The run waits for none; but whatever has to wait for
    /// the schedule's runs waits for this one, and for those that go on beside it.
    #[must_use]
    pub fn manual(&self, by: String, now: Timestamp) -> Firing {
        let run = Run {
            job: JobSpec { by: Some(by), ..self.job_for(None, now) },
            after: match self.plan.spec.overlap {
                Overlap::Allow => RunAfter::Nothing,
                Overlap::Skip | Overlap::QueueOne | Overlap::CancelOld => RunAfter::Beside,
            },
            row: None,
            on_failure: self.plan.templates.on_failure.clone(),
        };
        let (rows, alerts) = (Vec::new(), Vec::new());
        Firing { basis: self.basis(), runs: vec![run], rows, alerts, to: None }
    }

    /// What a decision about it rests on.
    #[must_use]
    pub fn basis(&self) -> ExpectedVersion {
        ExpectedVersion {
            id: self.id().clone(),
            version: self.version,
            handled: self.plan.position.handled,
            last_run: self.last_run.map(|run| (run.job, run.has_ended())),
        }
    }
}

/// A schedule as it was when something was decided about it. Where it no longer stands so, nothing
/// is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedVersion {
    pub id: Name,
    pub version: u64,
    pub handled: Timestamp,
    /// The last run, and whether it had ended.
    pub last_run: Option<(JobId, bool)>,
}

/// What a new run waits for before it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunAfter {
    Nothing,
    /// The last run. With `cancel`, which is cancelled for it.
    Last {
        cancel: bool,
    },
    /// Nothing; but while the last run goes on, whatever waits for this one waits for that too.
    Beside,
    /// The run before it in the same [`Firing`].
    Before,
}

/// A job that a schedule makes.
#[derive(Debug, Clone)]
pub struct Run {
    pub job: JobSpec,
    pub after: RunAfter,
    /// Its row, whose outcome gets the job's id. `None`: a person triggered it.
    pub row: Option<Slot>,
    /// Enqueued should the run fail for good.
    pub on_failure: Option<JobSpec>,
}

/// What is done for one schedule, whole or not at all.
#[derive(Debug, Clone)]
pub struct Firing {
    pub basis: ExpectedVersion,
    /// Oldest slot first.
    pub runs: Vec<Run>,
    /// Slots that make no job.
    pub rows: Vec<Slot>,
    /// Alerts: jobs that are no runs.
    pub alerts: Vec<JobSpec>,
    /// `None`: it stays, as what a person runs is beside the slots, or was decided before.
    pub to: Option<Position>,
}

/// A schedule that stands ahead of the clock, which was ahead when it came so far, stands at it again.
#[derive(Debug, Clone)]
pub struct Rewind {
    pub basis: ExpectedVersion,
    /// Says in the ledger that the clock was set.
    pub row: Slot,
    pub to: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    Done {
        version: u64,
    },
    /// Nothing was changed: it is not as it was read.
    Stale,
    Missing,
}

/// A run about which something is to be done.
#[derive(Debug, Clone)]
pub struct RunDependency {
    pub job: JobId,
    pub schedule: Name,
    pub slot: Option<Timestamp>,
    /// `None`: forgotten.
    pub status: Option<JobStatus>,
    /// The run that it waits for, and its status.
    pub after: Option<(JobId, Option<JobStatus>)>,
    /// That run is to be cancelled.
    pub cancel: bool,
    pub on_failure: Option<JobSpec>,
}

/// What is done about a watched run.
#[derive(Debug, Clone)]
pub enum DependencyStep {
    /// What it waited for has ended. It is watched on if it may yet fail.
    Release { job: JobId },
    /// It has ended: it is watched no more, and its alert enqueued.
    End { job: JobId, alert: Option<JobSpec> },
}

impl DependencyStep {
    #[must_use]
    pub fn job(&self) -> JobId {
        match self {
            Self::Release { job } | Self::End { job, .. } => *job,
        }
    }
}

/// What became of a [`DependencyStep`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It was not watched any more, or did not wait: nothing was changed.
    Nothing,
    /// It was watched, and the status of no job changed.
    Done,
    /// It was created, and is pending now.
    Admitted,
    /// Its alert became this job.
    Alerted(JobId),
}

impl Settled {
    #[must_use]
    pub fn is_done(self) -> bool {
        self != Self::Nothing
    }
}

/// How a run begins, with or without one that it is after.
pub(crate) fn first_status(how: RunAfter, is_after: bool) -> JobStatus {
    match how {
        RunAfter::Nothing | RunAfter::Beside => JobStatus::Pending,
        RunAfter::Last { .. } | RunAfter::Before if is_after => JobStatus::Created,
        RunAfter::Last { .. } | RunAfter::Before => JobStatus::Pending,
    }
}

/// The row of a run, once its job has an id.
pub(crate) fn with_job(outcome: SlotOutcome, job: JobId) -> SlotOutcome {
    match outcome {
        SlotOutcome::Ran { late_ms, .. } => SlotOutcome::Ran { job, late_ms },
        SlotOutcome::CaughtUp { late_ms, .. } => SlotOutcome::CaughtUp { job, late_ms },
        other @ (SlotOutcome::Skipped { .. }
        | SlotOutcome::Missed
        | SlotOutcome::ClockSet { .. }) => other,
    }
}

/// Which rows of a ledger to read, newest first.
#[derive(Debug, Clone)]
pub struct SlotRequest {
    pub id: Name,
    /// Only older slots.
    pub before: Option<Timestamp>,
    /// Only those that were missed.
    pub missed: bool,
    pub limit: u32,
}

/// The answers of [`Dispatching::next_due`], [`Schedules::next_fire`] and [`Schedules::is_watching`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// When a scheduled job becomes due next, or the waiting of one is over.
    pub next_due: Option<Timestamp>,
    /// When a schedule fires next.
    pub next_fire: Option<Timestamp>,
    /// There are watched runs.
    pub watching: bool,
    /// A job may be ready. False only where none is.
    pub ready: bool,
}

#[async_trait]
pub trait Schedules: Dispatching {
    /// Durable. Answers `false` where the id is in use.
    async fn add_schedule(&self, plan: SchedulePlan, now: Timestamp) -> Result<bool>;

    /// One that cannot be read is answered as such, here and in lists.
    async fn schedule(&self, id: &Name) -> Result<Option<ScheduleRecord>>;

    /// By id, from above `after`.
    async fn schedules(&self, after: Option<Name>, limit: u32) -> Result<Vec<ScheduleRecord>>;

    /// Durable. The new plan of a schedule that stands at this version and has come so far;
    /// `row` goes into its ledger.
    async fn change_schedule(
        &self,
        version: u64,
        handled: Timestamp,
        plan: SchedulePlan,
        row: Option<Slot>,
        now: Timestamp,
    ) -> Result<Changed>;

    /// Durable. With its ledger; the jobs that it made stay. With a version, only if it stands there.
    async fn remove_schedule(&self, id: &Name, version: Option<u64>) -> Result<Changed>;

    /// Those that should have fired by now, longest due first. Those that cannot be read are passed
    /// over, take nobody's place, and are said in the log.
    async fn due_schedules(&self, now: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>>;

    /// When one fires next, of those that fire after then.
    async fn next_fire(&self, after: Timestamp) -> Result<Option<Timestamp>>;

    /// Those that have come further than then, by id. One that cannot be read is passed over.
    async fn schedules_ahead(&self, of: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>>;

    /// A leader's. Durable. What the ledger says of slots after the new position that made no job is
    /// forgotten, and what was recorded later counts as recorded then. Answers for each whether its
    /// basis stood, and it was done.
    async fn rewind(&self, rewinds: Vec<Rewind>, term: Term, now: Timestamp) -> Result<Vec<bool>>;

    /// Durable. A leader's, with a term; without, a person's. For each, in order, the jobs of its
    /// runs; `None` where its basis no longer stands, or a slot of its runs made a job before, and
    /// nothing was done: no slot runs twice. A row takes the place of one of the same slot that made
    /// no job. Of one schedule only the first of a batch is looked at.
    async fn fire(
        &self,
        fires: Vec<Firing>,
        term: Option<Term>,
        now: Timestamp,
    ) -> Result<Vec<Option<Vec<JobId>>>>;

    /// The ledger. A row for a range of slots stands at its first.
    async fn slots(&self, request: SlotRequest) -> Result<Vec<Slot>>;

    /// Slots that were recorded as missed since then, by schedule.
    async fn missed_since(&self, since: Timestamp) -> Result<Vec<(Name, u64)>>;

    /// There are watched runs.
    async fn is_watching(&self) -> Result<bool>;

    /// What the leader looks at once a round, in case that nobody reported it, in one read where the store
    /// can do so. `after` is that of [`Self::next_fire`].
    async fn outlook(&self, after: Timestamp) -> Result<Outlook> {
        Ok(Outlook {
            next_due: self.next_due().await?,
            next_fire: self.next_fire(after).await?,
            watching: self.is_watching().await?,
            ready: true,
        })
    }

    /// Watched runs about which something can be done now: what they wait for has ended, or is to be
    /// cancelled and nobody has asked for it, or they have ended. By job.
    async fn watched(&self, limit: u32) -> Result<Vec<RunDependency>>;

    /// A leader's. Durable. Answers what became of each.
    async fn settle(
        &self,
        settles: Vec<DependencyStep>,
        term: Term,
        now: Timestamp,
    ) -> Result<Vec<Settled>>;

    /// A leader's. Durable. Forgets rows that were recorded before then, and the oldest of a ledger
    /// with many more than [`SLOTS_KEPT`]; at most about `limit`. Answers how many.
    async fn prune_slots(&self, before: Timestamp, limit: u32, term: Term) -> Result<u64>;

    /// For stores that nobody else uses meanwhile: schedules as they stood, with the ledger of each.
    /// Durable. One whose id is there already is passed over.
    async fn import_schedules(&self, schedules: Vec<(ScheduleRecord, Vec<Slot>)>) -> Result<()>;

    /// Likewise, every watched run that can be read, ready to be settled or not.
    async fn all_watched(&self) -> Result<Vec<RunDependency>>;

    /// Likewise.
    async fn import_watched(&self, watched: Vec<RunDependency>) -> Result<()>;
}
