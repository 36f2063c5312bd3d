//! Fires schedules, makes jobs ready, and releases runs of schedules whose dependency ended. A pass
//! does everything that is due by now. A part that fails stops no other part.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orx_model::event::{JobRef, KnownEvent, ScheduleEvent};
use orx_model::message::{ExecutionRef, Message};
use orx_model::{JobId, JobSpec, JobStatus, Name, Timestamp};
use orx_store::{
    CancelAnswer, CancelCommand, DependencyResult, DependencyStep, Fired, Firing, Result, Run,
    RunAfter, ScheduleRecord, SlotRequest, StoreError, Term,
};
use tokio_util::sync::CancellationToken;

use super::clock_state::{CLOCK_EVERY, ClockState};
use super::plan::{self, RunStep};
use crate::health::RETRY;
use crate::leader::{is_over, pause};
use crate::{Context, Now};

/// Scheduled jobs made ready in one transaction.
const PROMOTE_MOST: u32 = 2_000;
/// Schedules fired in one transaction.
pub(super) const FIRE_MOST: u32 = 500;
/// Jobs and ledger rows that one transaction writes at most, unless a single schedule has more: any
/// database does this well within a call's deadline.
const FIRE_WRITES: usize = 5_000;
/// Pause before a schedule is decided again that a person changed while it fired.
const FIRE_AGAIN: Duration = Duration::from_millis(20);
/// Runs whose dependencies are changed in one transaction, and the shortest time between two passes over them.
const RECHECK_MOST: u32 = 500;
const RECHECK_EVERY: Duration = Duration::from_millis(100);
/// Rows of a ledger read at once.
const RAN_PAGE: u32 = 100;

/// Runs as long as its term.
pub struct Scheduler {
    pub(super) context: Arc<Context>,
    pub(super) term: Term,
    /// When a job becomes due next, as far as known.
    pub(super) next_due: Option<Timestamp>,
    /// When a schedule fires next, as far as known.
    pub(super) next_fire: Option<Timestamp>,
    /// When both are read from the store again, since a notification may be lost, on the monotonic clock.
    read_at: Duration,
    /// Schedules whose firing the store could not write. They are left out until the next read.
    left_out: BTreeSet<Name>,
    /// Some run of a schedule waits for another, or has a handler for its failure.
    watching: bool,
    /// When those runs are checked next; `None` while nothing has ended since.
    recheck_at: Option<Timestamp>,
    rechecked_at: Timestamp,
    /// Runs whose cancel was requested for the next run of their schedule.
    cancel_requested: BTreeSet<JobId>,
    pub(super) clock: ClockState,
}

impl Scheduler {
    /// Reads what is due from the store.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn begin(context: Arc<Context>, term: Term) -> Result<Self> {
        let store = &context.store;
        let (next_due, note, watching) =
            tokio::join!(biased; store.next_due(), store.clock(), store.is_watching());
        let (next_due, note, watching) = (next_due?, note?, watching?);
        let now = context.now();
        let mut clock = ClockState::default();
        if let Some(retain_until) = clock.begin(note, now) {
            context.retain_until(retain_until);
        }
        Ok(Self {
            term,
            next_due,
            // The first pass reads every schedule that is due, however long ago.
            next_fire: Some(now.wall),
            read_at: now.mono + context.settings.monitor,
            left_out: BTreeSet::new(),
            watching,
            recheck_at: watching.then_some(now.wall),
            rechecked_at: Timestamp::default(),
            cancel_requested: BTreeSet::new(),
            clock,
            context,
        })
    }

    /// Runs until the term is over.
    ///
    /// # Errors
    /// The store refuses the term, or can be used no longer.
    pub(crate) async fn run(mut self, over: CancellationToken) -> Result<()> {
        let mut backoff = RETRY;
        loop {
            match self.pass().await? {
                None => backoff.succeeded(),
                Some(error) => {
                    self.context.health.failed(&error, self.context.now());
                    pause(&over, backoff.failed()).await;
                    if over.is_cancelled() {
                        return Ok(());
                    }
                    continue;
                }
            }
            let wait = self.wait();
            if wait.is_zero() && !over.is_cancelled() {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                biased;
                () = over.cancelled() => return Ok(()),
                () = self.context.wakes.scheduler.notified() => {}
                () = self.context.wakeups.wait_for_due() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// When something becomes due next, as far as known.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        [self.next_due, self.next_fire, self.recheck_at].into_iter().flatten().min()
    }

    fn wait(&self) -> Duration {
        let now = self.context.now();
        let wait = self.read_at.min(self.clock.note_at).saturating_sub(now.mono);
        match self.next_due() {
            Some(due) => wait.min(due.saturating_since(now.wall)),
            None => wait,
        }
    }

    /// Does everything that is due by now. Returns the first error of what has to be tried again.
    ///
    /// # Errors
    /// The store refuses the term, or can be used no longer.
    pub(crate) async fn pass(&mut self) -> Result<Option<StoreError>> {
        let now = self.context.now();
        if self.context.lead.term(now.mono) != Some(self.term) {
            return Err(StoreError::Deposed);
        }
        self.take_wakeups();
        let mut unfinished = None;
        if now.mono >= self.read_at {
            collect_error(self.read_afresh(now).await, &mut unfinished)?;
        }
        collect_error(self.fire(now).await, &mut unfinished)?;
        collect_error(self.promote(now).await, &mut unfinished)?;
        collect_error(self.recheck_dependencies(now).await, &mut unfinished)?;
        self.context.idle.scheduler(self.next_due().is_none());
        Ok(unfinished)
    }

    /// Takes over what other services and nodes reported: due times, and jobs that ended.
    pub fn take_wakeups(&mut self) {
        let due = [self.context.wakeups.take_due(), self.context.wakes.take_due()];
        due.into_iter().flatten().for_each(|due| self.due_at(due));
        if self.context.wakes.take_ended() {
            self.recheck_runs(self.context.now());
        }
    }

    fn due_at(&mut self, at: Timestamp) {
        for next in [&mut self.next_due, &mut self.next_fire] {
            *next = Some(next.map_or(at, |known| known.min(at)));
        }
    }

    /// Reads from the store what is due, since a notification may be lost.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn read_afresh(&mut self, now: Now) -> Result<()> {
        let store = &self.context.store;
        let ever = Timestamp::from_millis(i64::MIN);
        let outlook = store.outlook(ever).await?;
        (self.next_due, self.next_fire) = (outlook.next_due, outlook.next_fire);
        self.watching = outlook.watching;
        if outlook.ready {
            self.jobs_became_ready();
        }
        self.left_out.clear();
        self.recheck_runs(now);
        self.read_at = now.mono + self.context.settings.monitor;
        Ok(())
    }

    /// Makes jobs ready whose time has come.
    ///
    /// # Errors
    /// Some of it was not done.
    pub async fn promote(&mut self, now: Now) -> Result<()> {
        if self.next_due.is_none_or(|due| due > now.wall) {
            return Ok(());
        }
        let store = Arc::clone(&self.context.store);
        let promoted = store.promote_due(self.term, now.wall, PROMOTE_MOST).await?;
        if !promoted.due.is_empty() {
            self.jobs_became_ready();
        }
        if !promoted.expired.is_empty() {
            self.recheck_runs(now);
        }
        let due = promoted
            .due
            .iter()
            .map(|id| moved(*id, Some(JobStatus::Scheduled), JobStatus::Pending));
        let expired = promoted.expired.iter().map(|id| moved(*id, None, JobStatus::Cancelled));
        self.context.publish(due.chain(expired), now);
        self.next_due = if promoted.more { Some(now.wall) } else { store.next_due().await? };
        Ok(())
    }

    /// Wakes the dispatcher.
    pub(super) fn jobs_became_ready(&self) {
        self.context.slots().jobs_ready();
        self.context.wakes.dispatcher.notify_one();
    }

    /// Fires a batch of the schedules that are due; the rest comes with the next pass.
    ///
    /// # Errors
    /// Some of it was not done.
    pub async fn fire(&mut self, now: Now) -> Result<()> {
        self.check_clock(now);
        match self.apply_clock(now).await {
            // Schedules fire all the same.
            Err(error @ StoreError::Backend { .. }) => {
                tracing::error!(%error, "could not adjust waits and schedules to the clock");
                self.clock.note_at = now.mono + CLOCK_EVERY;
            }
            applied => applied?,
        }
        if self.next_fire.is_none_or(|at| at > now.wall) {
            return Ok(());
        }
        let (mut due, mut more) = self.due_schedules(now).await?;
        // A manual run of a person may have added dependencies.
        if !self.watching {
            self.watching = self.context.store.is_watching().await?;
            self.recheck_runs(now);
        }
        let held =
            if self.watching && !due.is_empty() { self.held().await? } else { BTreeSet::new() };
        self.clock.retried = std::mem::take(&mut self.clock.unfired);
        let (mut fires, mut writes): (Vec<Firing>, usize) = (Vec::new(), 0);
        for record in &due {
            let fire = self.decide(record, &held, now).await?;
            writes += fire.runs.len() + fire.rows.len();
            if !fires.is_empty() && writes > FIRE_WRITES {
                break;
            }
            fires.push(fire);
        }
        more |= fires.len() < due.len();
        due.truncate(fires.len());
        let watches = |run: &Run| run.on_failure.is_some() || run.after != RunAfter::Nothing;
        let watched = fires.iter().flat_map(|fire| &fire.runs).any(watches);
        let runs = fires.iter().any(|fire| !fire.runs.is_empty() || !fire.alerts.is_empty());
        let fired = match self.fire_all(fires, now).await {
            Err(StoreError::Backend { .. }) => self.fire_singly(&due, &held, now).await?,
            fired => fired?,
        };
        if runs {
            self.jobs_became_ready();
        }
        if watched {
            self.watching = true;
            self.recheck_runs(now);
        }
        // These are decided again with the slots that ran; a schedule that was, waits a moment.
        let retry = self.clock.unfired.iter().any(|id| !self.clock.retried.contains(id));
        self.next_fire = if more || retry {
            Some(now.wall)
        } else if fired < due.len() {
            Some(now.wall.saturating_add(FIRE_AGAIN))
        } else {
            self.clock.forward_by = None;
            self.context.store.next_fire(now.wall).await?
        };
        Ok(())
    }

    /// Decides what a due schedule does.
    async fn decide(
        &mut self,
        record: &ScheduleRecord,
        held: &BTreeSet<JobId>,
        now: Now,
    ) -> Result<Firing> {
        let again = self.clock.retried.contains(record.id()) || plan::is_again(record);
        let mut fire = plan::decide(record, held, &BTreeSet::new(), now.wall);
        // Where rows are written, slots that made a job before are left out.
        if again || !fire.rows.is_empty() || plan::is_late(&fire) {
            let ran = self.ran(record, record.plan.position.handled, now).await?;
            fire = plan::decide(record, held, &ran, now.wall);
        }
        if let Some(by_ms) = self.clock.forward_by
            && plan::is_late(&fire)
        {
            fire.rows.push(plan::clock_set(record, by_ms, now.wall));
        }
        Ok(fire)
    }

    /// Slots after `after` that made a job, up to [`plan::horizon`].
    pub(super) async fn ran(
        &self,
        record: &ScheduleRecord,
        after: Timestamp,
        now: Now,
    ) -> Result<BTreeSet<Timestamp>> {
        let until = plan::horizon(record, now.wall);
        let mut before = Some(until.saturating_add(Duration::from_millis(1)));
        let mut ran = BTreeSet::new();
        loop {
            let (id, limit) = (record.id().clone(), RAN_PAGE);
            let request = SlotRequest { id, before, missed: false, limit };
            let rows = self.context.store.slots(request).await?;
            let newer = rows.iter().filter(|row| row.slot > after && row.outcome.job().is_some());
            ran.extend(newer.map(|row| row.slot));
            before = rows.last().map(|row| row.slot);
            let is_last = rows.len() < RAN_PAGE as usize;
            if is_last || before.is_none_or(|before| before <= after) {
                return Ok(ran);
            }
        }
    }

    /// See [`plan::held`].
    async fn held(&self) -> Result<BTreeSet<JobId>> {
        let mut most = RECHECK_MOST;
        loop {
            let watched = self.context.store.watched(most).await?;
            if watched.len() < most as usize {
                return Ok(plan::held(&watched));
            }
            most = most.saturating_mul(4);
        }
    }

    /// A batch of due schedules, and whether there may be more. Skips those that are left out.
    async fn due_schedules(&self, now: Now) -> Result<(Vec<ScheduleRecord>, bool)> {
        let mut most = FIRE_MOST;
        loop {
            let mut due = self.context.store.due_schedules(now.wall, most).await?;
            let full = due.len() >= most as usize;
            due.retain(|record| !self.left_out.contains(record.id()));
            if !due.is_empty() || !full {
                let more = full || due.len() > FIRE_MOST as usize;
                due.truncate(FIRE_MOST as usize);
                return Ok((due, more));
            }
            most = most.saturating_mul(4);
        }
    }

    /// Fires schedules in one transaction. Returns how many fired.
    async fn fire_all(&mut self, fires: Vec<Firing>, now: Now) -> Result<usize> {
        if fires.is_empty() {
            return Ok(0);
        }
        let about = |fire: &Firing| {
            let of = |job: &JobSpec| (job.name.clone(), job.queue.clone());
            let jobs = fire.runs.iter().map(|run| &run.job).chain(&fire.alerts).map(of);
            (fire.basis.id.clone(), jobs.collect::<Vec<_>>())
        };
        let about: Vec<_> = fires.iter().map(about).collect();
        let answers = self.context.store.fire(fires, Some(self.term), now.wall).await?;
        let (mut fired, mut events) = (0, Vec::new());
        for ((schedule, jobs), answer) in about.into_iter().zip(answers) {
            let Some(Fired { runs, alerts }) = answer else {
                self.clock.unfired.insert(schedule);
                continue;
            };
            fired += 1;
            events.push(KnownEvent::ScheduleChanged { schedule, change: ScheduleEvent::Fired });
            let made = runs.into_iter().chain(alerts);
            events.extend(made.zip(jobs).map(|(id, (name, queue))| {
                let job = JobRef { id, name: Some(name), queue: Some(queue) };
                KnownEvent::JobAccepted { job, to: None }
            }));
        }
        self.context.publish(events, now);
        Ok(fired)
    }

    /// Fires each schedule alone. One whose firing the store cannot write is left out until the next read.
    async fn fire_singly(
        &mut self,
        due: &[ScheduleRecord],
        held: &BTreeSet<JobId>,
        now: Now,
    ) -> Result<usize> {
        let mut fired = 0;
        for record in due {
            let fire = self.decide(record, held, now).await?;
            match self.fire_all(vec![fire], now).await {
                Ok(done) => fired += done,
                Err(error @ StoreError::Backend { .. }) => {
                    tracing::error!(schedule = %record.id(), %error, "a schedule could not fire");
                    self.left_out.insert(record.id().clone());
                    fired += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(fired)
    }

    /// The steps for runs with a dependency or a failure handler, and whether there may be more.
    async fn steps(&mut self) -> Result<(Vec<RunStep>, bool)> {
        let mut most = RECHECK_MOST;
        loop {
            let watched = self.context.store.watched(most).await?;
            let mut steps = plan::steps(&watched);
            let asked = |step: &RunStep| match step {
                RunStep::Cancel(job) => Some(*job),
                RunStep::DependencyStep(_) => None,
            };
            let wanted: BTreeSet<JobId> = steps.iter().filter_map(asked).collect();
            self.cancel_requested.retain(|job| wanted.contains(job));
            steps
                .retain(|step| asked(step).is_none_or(|job| !self.cancel_requested.contains(&job)));
            let full = watched.len() >= most as usize;
            // Those for which there is nothing to do yet must not hide others.
            if !steps.is_empty() || !full {
                return Ok((steps, full));
            }
            most = most.saturating_mul(4);
        }
    }

    /// A job ended, and a run may wait for it.
    fn recheck_runs(&mut self, now: Now) {
        if self.watching {
            let at = now.wall.max(self.rechecked_at.saturating_add(RECHECK_EVERY));
            // After the clock was set back, `rechecked_at` may be hours ahead of it.
            let at = at.min(now.wall.saturating_add(RECHECK_EVERY));
            self.recheck_at = Some(self.recheck_at.map_or(at, |known| known.min(at)));
        }
    }

    /// Releases runs whose predecessor has ended, cancels predecessors, and makes alert jobs for failed runs.
    ///
    /// # Errors
    /// Some of it was not done.
    pub async fn recheck_dependencies(&mut self, now: Now) -> Result<()> {
        if self.recheck_at.is_none_or(|at| at > now.wall) {
            return Ok(());
        }
        let (steps, full) = self.steps().await?;
        let mut dependency_steps = Vec::new();
        let mut cancels: BTreeSet<JobId> = BTreeSet::new();
        for step in steps {
            match step {
                RunStep::DependencyStep(step) => dependency_steps.push(step),
                RunStep::Cancel(job) => _ = cancels.insert(job),
            }
        }
        let again = full || !dependency_steps.is_empty() || !cancels.is_empty();
        let store = Arc::clone(&self.context.store);
        if !dependency_steps.is_empty() {
            let jobs: Vec<JobId> = dependency_steps.iter().map(DependencyStep::job).collect();
            let results =
                store.apply_dependency_steps(dependency_steps, self.term, now.wall).await?;
            self.jobs_became_ready();
            let event = |(job, result): (JobId, DependencyResult)| match result {
                DependencyResult::Admitted => {
                    Some(moved(job, Some(JobStatus::Created), JobStatus::Pending))
                }
                DependencyResult::Alerted(alert) => Some(KnownEvent::JobAccepted {
                    job: alert.into(),
                    to: Some(JobStatus::Pending),
                }),
                DependencyResult::Unchanged | DependencyResult::Changed => None,
            };
            self.context.publish(jobs.into_iter().zip(results).filter_map(event), now);
        }
        if !cancels.is_empty() {
            let command = |id: &JobId| CancelCommand {
                id: *id,
                reason: Some("the next run of its schedule is due".to_owned()),
                by: Some("orx".to_owned()),
                force: false,
                expected: None,
            };
            let commands = cancels.iter().map(command).collect();
            let answers = store.cancel(commands, now.wall).await?;
            self.cancel_requested.extend(&cancels);
            let (mut orders, mut events) = (Vec::new(), Vec::new());
            for (job, answer) in cancels.into_iter().zip(answers) {
                match answer {
                    CancelAnswer::Cancelling { worker, execution, .. } => {
                        let executions = vec![ExecutionRef { job, execution }];
                        orders.push((worker, Message::JobCancel { executions }));
                        events.push(KnownEvent::JobCancelling { job: job.into() });
                    }
                    CancelAnswer::Cancelled { .. } => {
                        events.push(moved(job, None, JobStatus::Cancelled))
                    }
                    _ => {}
                }
            }
            self.context.post.send(orders, now.wall);
            self.context.publish(events, now);
        }
        self.rechecked_at = now.wall;
        self.recheck_at = None;
        self.watching = store.is_watching().await?;
        if again {
            self.recheck_runs(now);
        }
        Ok(())
    }
}

fn moved(job: JobId, from: Option<JobStatus>, to: JobStatus) -> KnownEvent {
    KnownEvent::JobMoved { job: job.into(), from, to, attempt: None }
}

/// Collects an error, so that the rest of a pass is done. Returns one that ends the term.
fn collect_error(answer: Result<()>, unfinished: &mut Option<StoreError>) -> Result<()> {
    match answer {
        Err(error) if is_over(&error) => Err(error),
        Err(error) => {
            unfinished.get_or_insert(error);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
