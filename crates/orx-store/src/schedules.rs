//! Schedules in a store: the plan, the position and the ledger of each, and the dependencies of its runs.
//!
//! A run that waits is `created`, with a [`Dependency`] on each job that it waits for. The write that makes a
//! job final also puts it into the index that [`Schedules::follow_ups`] reads, if other jobs wait for it or it
//! has a [`RunAlert`]. The leader then releases its children. So neither the end of a job nor a pass of the
//! leader costs more if more runs wait.

use std::time::Duration;

use async_trait::async_trait;
use orx_model::job::UNREADABLE;
use orx_model::schedule::{Due, Overlap, Slot, SlotOutcome};
use orx_model::wire::EnqueueRequest;
use orx_model::{JobId, JobSpec, JobStatus, Name, Origin, Timestamp};
use orx_schedule::Schedule;
use serde::{Deserialize, Serialize};

use crate::{Dispatching, Result, Term};

/// Rows that pruning leaves of a ledger, at most; see [`Schedules::prune_slots`].
pub const SLOTS_KEPT: u32 = 10_000;

/// The jobs that a schedule enqueues, validated and completed when a person created or changed it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Templates {
    /// The job of each run.
    pub job: JobSpec,
    /// The alert for missed slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_missed: Option<JobSpec>,
    /// The alert for a run that fails for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<JobSpec>,
}

/// The pause of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// Since when it is paused.
    pub at: Timestamp,
    /// Free text of the person who paused it.
    pub reason: Option<String>,
    /// The person who paused it.
    pub by: Option<String>,
}

/// How far a schedule has progressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Every slot up to this time has an outcome. Moves back only after the clock was set back; slots
    /// that have run do not run again, see [`Schedules::fire`].
    pub handled: Timestamp,
    /// `None` while the schedule is paused, and after its last slot.
    pub next: Option<Due>,
}

/// The latest run of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRun {
    /// The job of the run.
    pub job: JobId,
    /// `None` for a pruned job, which had ended.
    pub status: Option<JobStatus>,
    /// It has a [`Dependency`] on an earlier run: it waits for that run, waited for it when it was
    /// cancelled, or was started alongside it.
    pub depends: bool,
}

impl LastRun {
    /// Whether the job is final or pruned, and so are the earlier runs that it depends on.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !self.depends && self.status.is_none_or(JobStatus::is_final)
    }
}

/// The part of a schedule that people create and change.
#[derive(Debug, Clone)]
pub struct SchedulePlan {
    /// The schedule as requested.
    pub spec: Schedule,
    /// The jobs that it enqueues.
    pub templates: Templates,
    /// `None` for an active schedule.
    pub paused: Option<Paused>,
    /// How far it has progressed.
    pub position: Position,
    /// The person who created it or changed it last.
    pub by: Option<String>,
}

/// A schedule as stored.
#[derive(Debug, Clone)]
pub struct ScheduleRecord {
    /// As a person wrote it last.
    pub plan: SchedulePlan,
    /// Starts at 1 and grows by 1 with each change of the plan.
    pub version: u64,
    /// When a person created it.
    pub created_at: Timestamp,
    /// When a person created it or changed its plan last.
    pub updated_at: Timestamp,
    /// Slots that became a job.
    pub runs: u64,
    /// `None` before the first run.
    pub last_run: Option<LastRun>,
    /// Why the plan cannot be read. If set, only the id and position in `plan` are real.
    pub unreadable: Option<String>,
}

impl ScheduleRecord {
    /// Stands in for a schedule whose row cannot be read.
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

    /// The id that a person chose.
    #[must_use]
    pub fn id(&self) -> &Name {
        &self.plan.spec.id
    }

    /// The job of a run: for a slot, or for `None` the manual run of a person.
    #[must_use]
    pub fn job_for(&self, slot: Option<Timestamp>, now: Timestamp) -> JobSpec {
        let wait = self.plan.spec.job.expires_ms.map(Duration::from_millis);
        JobSpec {
            expires_at: wait.map(|wait| now.saturating_add(wait)),
            schedule: Some(Origin { id: self.id().clone(), slot }),
            ..self.plan.templates.job.clone()
        }
    }

    /// The firing for a person who runs the schedule now. The run starts at once; later runs wait for it
    /// and for the previous run, unless runs may overlap.
    #[must_use]
    pub fn manual(&self, by: String, now: Timestamp) -> Firing {
        let run = Run {
            job: JobSpec { by: Some(by), ..self.job_for(None, now) },
            after: match self.plan.spec.overlap {
                Overlap::Allow => RunAfter::Nothing,
                Overlap::Skip | Overlap::QueueOne | Overlap::CancelOld => RunAfter::AlongsideLast,
            },
            row: None,
            on_failure: self.plan.templates.on_failure.clone(),
        };
        let (rows, alerts) = (Vec::new(), Vec::new());
        Firing { expected: self.expected(), runs: vec![run], rows, alerts, to: None }
    }

    /// The state of the schedule that a change based on this record requires.
    #[must_use]
    pub fn expected(&self) -> ExpectedVersion {
        ExpectedVersion {
            id: self.id().clone(),
            version: self.version,
            handled: self.plan.position.handled,
            last_run: self.last_run.map(|run| (run.job, run.has_ended())),
        }
    }
}

/// The state of a schedule that a change requires. If the stored schedule differs, the store changes
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedVersion {
    /// Id of the schedule.
    pub id: Name,
    /// As [`ScheduleRecord::version`].
    pub version: u64,
    /// As [`Position::handled`].
    pub handled: Timestamp,
    /// The latest run, and whether it had ended.
    pub last_run: Option<(JobId, bool)>,
}

/// The run that a new run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunAfter {
    /// Starts now.
    Nothing,
    /// Waits for the schedule's previous run.
    Last {
        /// The leader cancels that run.
        cancel: bool,
    },
    /// Starts now. Its successors also wait for the previous run.
    AlongsideLast,
    /// Waits for the run before it in the same [`Firing`].
    Before,
}

/// A job that a schedule enqueues for a slot or a person.
#[derive(Debug, Clone)]
pub struct Run {
    /// The job to enqueue.
    pub job: JobSpec,
    /// The run that it waits for.
    pub after: RunAfter,
    /// The row of its slot in the ledger; the store adds the job's id. `None` for a manual run.
    pub row: Option<Slot>,
    /// The alert, enqueued if the run fails for good.
    pub on_failure: Option<JobSpec>,
}

/// All changes of one schedule's firing. The store makes all of them, or none.
#[derive(Debug, Clone)]
pub struct Firing {
    /// The state that the firing requires.
    pub expected: ExpectedVersion,
    /// Oldest slot first.
    pub runs: Vec<Run>,
    /// Ledger rows of slots without a job.
    pub rows: Vec<Slot>,
    /// Alerts to enqueue now; they do not count as runs.
    pub alerts: Vec<JobSpec>,
    /// The new position. `None` leaves it, for a manual run and for slots that are handled already.
    pub to: Option<Position>,
}

/// The jobs that a firing made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fired {
    /// In the order of its runs.
    pub runs: Vec<JobId>,
    /// In the order of its alerts.
    pub alerts: Vec<JobId>,
}

/// Sets the position of a schedule back after the clock was set back.
#[derive(Debug, Clone)]
pub struct Rewind {
    /// The state that the rewind requires.
    pub expected: ExpectedVersion,
    /// The ledger row that records the change of the clock.
    pub row: Slot,
    /// The new position.
    pub to: Position,
}

/// The result of changing or removing a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleUpdate {
    /// The schedule was changed or removed.
    Applied {
        /// The new version, or the version that was removed.
        version: u64,
    },
    /// The schedule has another version or position. Nothing was changed.
    Stale,
    /// The store has no schedule with this id.
    Missing,
}

/// A job that waits for another job. It stands until the leader has followed up the end of the parent.
///
/// The parent is final, and has children, if it ended before the leader released them. The child is not
/// always `created`: a run that is cancelled while it waits, and a run that starts alongside the previous
/// one, keep their dependencies, and runs after them wait for the parents of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency {
    /// The job that has to end first.
    pub parent: JobId,
    /// The job that waits.
    pub child: JobId,
    /// The leader cancels the parent.
    pub cancel: bool,
}

/// The alert for the failure of a run.
#[derive(Debug, Clone)]
pub struct RunAlert {
    /// The job of the run.
    pub job: JobId,
    /// The schedule of the run.
    pub schedule: Name,
    /// The slot of the run; `None` for a manual run.
    pub slot: Option<Timestamp>,
    /// The job to enqueue if the run fails for good.
    pub on_failure: JobSpec,
}

/// A final job that other jobs wait for, or that has an alert.
#[derive(Debug, Clone)]
pub struct FollowUp {
    /// The job that ended.
    pub job: JobId,
    /// Its final status.
    pub status: JobStatus,
    /// The alert of the run, unless it cannot be read.
    pub alert: Option<RunAlert>,
}

/// Follows up the end of a job.
#[derive(Debug, Clone)]
pub struct Release {
    /// [`FollowUp::job`].
    pub job: JobId,
    /// The alert to enqueue, if the job still has a [`RunAlert`].
    pub alert: Option<JobSpec>,
}

/// The jobs that [`Schedules::release`] changed and made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Released {
    /// Jobs that were created and are pending now, ordered by id.
    pub admitted: Vec<JobId>,
    /// The alerts that were enqueued, in the order of their releases.
    pub alerts: Vec<JobId>,
}

/// The first status of a run. `is_after`: the run that it waits for exists.
pub(crate) fn first_status(how: RunAfter, is_after: bool) -> JobStatus {
    match how {
        RunAfter::Nothing | RunAfter::AlongsideLast => JobStatus::Pending,
        RunAfter::Last { .. } | RunAfter::Before if is_after => JobStatus::Created,
        RunAfter::Last { .. } | RunAfter::Before => JobStatus::Pending,
    }
}

/// The outcome of a slot with the id of its job.
pub(crate) fn with_job(outcome: SlotOutcome, job: JobId) -> SlotOutcome {
    match outcome {
        SlotOutcome::Ran { late_ms, .. } => SlotOutcome::Ran { job, late_ms },
        SlotOutcome::CaughtUp { late_ms, .. } => SlotOutcome::CaughtUp { job, late_ms },
        other @ (SlotOutcome::Skipped { .. }
        | SlotOutcome::Missed
        | SlotOutcome::ClockSet { .. }) => other,
    }
}

/// A part of a ledger, newest slot first.
#[derive(Debug, Clone)]
pub struct SlotRequest {
    /// Id of the schedule.
    pub id: Name,
    /// Only older slots.
    pub before: Option<Timestamp>,
    /// Only missed slots.
    pub missed: bool,
    /// Rows to return, at most.
    pub limit: u32,
}

/// The results of [`Dispatching::next_due`], [`Schedules::next_fire`] and [`Schedules::has_dependencies`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// When a scheduled job becomes due next, or a waiting one expires or misses its deadline.
    pub next_due: Option<Timestamp>,
    /// When a schedule fires next.
    pub next_fire: Option<Timestamp>,
    /// The store has a [`Dependency`] or a [`RunAlert`].
    pub dependencies: bool,
    /// A job may be ready. False only if none is.
    pub ready: bool,
}

/// Stores and fires schedules.
#[async_trait]
pub trait Schedules: Dispatching {
    /// Durable. Returns `false`, and changes nothing, if the id is in use.
    async fn add_schedule(&self, plan: SchedulePlan, now: Timestamp) -> Result<bool>;

    /// A schedule whose row cannot be read has its field `unreadable` set, here and in lists.
    async fn schedule(&self, id: &Name) -> Result<Option<ScheduleRecord>>;

    /// Ordered by id, above `after`.
    async fn schedules(&self, after: Option<Name>, limit: u32) -> Result<Vec<ScheduleRecord>>;

    /// Durable. Replaces the plan of the schedule `plan.spec.id` if it has this version and
    /// [`Position::handled`]. Adds `row` to its ledger.
    async fn change_schedule(
        &self,
        version: u64,
        handled: Timestamp,
        plan: SchedulePlan,
        row: Option<Slot>,
        now: Timestamp,
    ) -> Result<ScheduleUpdate>;

    /// Durable. Removes the schedule and its ledger; its jobs stay. With a version, only if the schedule
    /// has it.
    async fn remove_schedule(&self, id: &Name, version: Option<u64>) -> Result<ScheduleUpdate>;

    /// Schedules that are due by `now`, longest due first. Logs and skips unreadable ones; they do not
    /// count towards `limit`.
    async fn due_schedules(&self, now: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>>;

    /// The first time after `after` at which a schedule fires.
    async fn next_fire(&self, after: Timestamp) -> Result<Option<Timestamp>>;

    /// Schedules with [`Position::handled`] after `of`, ordered by id. Logs and skips unreadable ones.
    async fn schedules_ahead(&self, of: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>>;

    /// Leader only. Durable. Deletes ledger rows without a job after the new position, and moves later
    /// recording times back to it. Returns for each rewind, in order, whether its expected version held and it was
    /// made.
    async fn rewind(&self, rewinds: Vec<Rewind>, term: Term, now: Timestamp) -> Result<Vec<bool>>;

    /// Durable. Leader only with a term; without one, for a person. Returns for each firing, in order,
    /// the jobs that it made. `None`: the expected version is not the current one, or a slot of its runs has a job, and
    /// nothing was changed; so no slot runs twice. A row replaces a row of the same slot that has no
    /// job. If a batch has several firings of one schedule, only the first takes effect.
    async fn fire(
        &self,
        fires: Vec<Firing>,
        term: Option<Term>,
        now: Timestamp,
    ) -> Result<Vec<Option<Fired>>>;

    /// Rows of the ledger. A row for a range of slots has the time of its first slot.
    async fn slots(&self, request: SlotRequest) -> Result<Vec<Slot>>;

    /// Number of slots that were recorded as missed since then, by schedule.
    async fn missed_since(&self, since: Timestamp) -> Result<Vec<(Name, u64)>>;

    /// Whether the store has a [`Dependency`] or a [`RunAlert`].
    async fn has_dependencies(&self) -> Result<bool>;

    /// The reads of one pass of the leader, in one statement if the store can do that. The leader polls
    /// them because notifications can be lost. `after` is that of [`Self::next_fire`].
    async fn outlook(&self, after: Timestamp) -> Result<Outlook> {
        Ok(Outlook {
            next_due: self.next_due().await?,
            next_fire: self.next_fire(after).await?,
            dependencies: self.has_dependencies().await?,
            ready: true,
        })
    }

    /// Final jobs that other jobs wait for or that have an alert, ordered by id. The cost depends on their
    /// number, not on the number of jobs that wait.
    async fn follow_ups(&self, limit: u32) -> Result<Vec<FollowUp>>;

    /// Unfinished jobs that a [`Dependency`] cancels, and whose cancel nobody has requested; ordered by id.
    /// The cost depends on their number, as in [`Self::follow_ups`].
    async fn jobs_to_cancel(&self, limit: u32) -> Result<Vec<JobId>>;

    /// Leader only. Durable. For each job, if it is final and has not been followed up: removes its alert
    /// and enqueues the given one instead; removes the dependencies on the job; and makes each child
    /// pending that is `created` and has no dependency left. If the job itself depends on unfinished jobs,
    /// its children then depend on those.
    ///
    /// A job that changes while the store writes may be left to the next call.
    async fn release(&self, releases: Vec<Release>, term: Term, now: Timestamp)
    -> Result<Released>;

    /// Leader only. Durable. Deletes ledger rows that were recorded before then, and the oldest rows of
    /// a ledger with many more than [`SLOTS_KEPT`]; about `limit` rows at most. Returns how many.
    async fn prune_slots(&self, before: Timestamp, limit: u32, term: Term) -> Result<u64>;

    /// Durable. Imports schedules and their ledgers unchanged; skips existing ids. No one else may use
    /// the store meanwhile.
    async fn import_schedules(&self, schedules: Vec<(ScheduleRecord, Vec<Slot>)>) -> Result<()>;

    /// Every dependency, ordered by parent and child, and every readable alert, ordered by job. No one else may use
    /// the store meanwhile.
    async fn dependencies(&self) -> Result<(Vec<Dependency>, Vec<RunAlert>)>;

    /// Durable. Imports dependencies and alerts unchanged, after their jobs; skips those that exist, and
    /// those whose jobs do not. A job that was created and has no dependency left becomes pending. No one
    /// else may use the store meanwhile.
    async fn import_dependencies(
        &self,
        dependencies: Vec<Dependency>,
        alerts: Vec<RunAlert>,
    ) -> Result<()>;
}
