//! Fires schedules, makes jobs ready, and follows up the ends of jobs: releases the jobs that wait for them,
//! and enqueues the alerts of failed runs. A pass does everything that is due by now. A part that fails
//! stops no other part.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orx_model::event::{JobRef, KnownEvent, ScheduleEvent};
use orx_model::message::{ExecutionRef, Message};
use orx_model::{JobId, JobSpec, JobStatus, Name, Timestamp};
use orx_store::{
    CancelAnswer, CancelCommand, Fired, Firing, FollowUp, Released, Result, Run, RunAfter,
    ScheduleRecord, SlotRequest, StoreError, Term,
};
use tokio_util::sync::CancellationToken;

use super::clock_state::{CLOCK_EVERY, ClockState};
use super::plan;
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
/// Jobs whose end is followed up in one transaction.
const FOLLOW_UP_MOST: u32 = 500;
/// Transactions that follow up the ends of jobs before due schedules are decided, at most.
const FOLLOW_UP_ROUNDS: usize = 20;
/// Shortest time between two reads of the jobs that ended, so that many ends share one.
const FOLLOW_UP_EVERY: Duration = Duration::from_millis(20);
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
    /// Some job waits for another, or has an alert.
    has_dependencies: bool,
    /// When the ends of jobs are followed up next; `None` while no job has ended since.
    follow_up_at: Option<Timestamp>,
    followed_up_at: Timestamp,
    pub(super) clock: ClockState,
}

impl Scheduler {
    /// Reads what is due from the store.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn begin(context: Arc<Context>, term: Term) -> Result<Self> {
        let store = &context.store;
        let (next_due, note, has_dependencies) =
            tokio::join!(biased; store.next_due(), store.clock(), store.has_dependencies());
        let (next_due, note, has_dependencies) = (next_due?, note?, has_dependencies?);
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
            has_dependencies,
            follow_up_at: has_dependencies.then_some(now.wall),
            followed_up_at: Timestamp::default(),
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
        [self.next_due, self.next_fire, self.follow_up_at].into_iter().flatten().min()
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
        collect_error(self.follow_up(now).await, &mut unfinished)?;
        self.context.idle.scheduler(self.next_due().is_none());
        Ok(unfinished)
    }

    /// Takes over what other services and nodes reported: due times, and jobs that ended.
    pub fn take_wakeups(&mut self) {
        let due = [self.context.wakeups.take_due(), self.context.wakes.take_due()];
        due.into_iter().flatten().for_each(|due| self.due_at(due));
        if self.context.wakes.take_ended() {
            self.job_ended(self.context.now());
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
        self.has_dependencies = outlook.dependencies;
        if outlook.ready {
            self.jobs_became_ready();
        }
        self.left_out.clear();
        self.job_ended(now);
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
            self.job_ended(now);
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
        if !self.has_dependencies {
            self.has_dependencies = self.context.store.has_dependencies().await?;
            self.job_ended(now);
        }
        if due.iter().any(plan::may_have_ended) {
            self.release_all(now).await?;
            (due, more) = self.due_schedules(now).await?;
        }
        self.clock.retried = std::mem::take(&mut self.clock.unfired);
        let (mut fires, mut writes): (Vec<Firing>, usize) = (Vec::new(), 0);
        for record in &due {
            let fire = self.decide(record, now).await?;
            writes += fire.runs.len() + fire.rows.len();
            if !fires.is_empty() && writes > FIRE_WRITES {
                break;
            }
            fires.push(fire);
        }
        more |= fires.len() < due.len();
        due.truncate(fires.len());
        let depends = |run: &Run| run.on_failure.is_some() || run.after != RunAfter::Nothing;
        let depend = fires.iter().flat_map(|fire| &fire.runs).any(depends);
        let runs = fires.iter().any(|fire| !fire.runs.is_empty() || !fire.alerts.is_empty());
        let fired = match self.fire_all(fires, now).await {
            Err(StoreError::Backend { .. }) => self.fire_singly(&due, now).await?,
            fired => fired?,
        };
        if runs {
            self.jobs_became_ready();
        }
        if depend {
            self.has_dependencies = true;
            self.job_ended(now);
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
    async fn decide(&mut self, record: &ScheduleRecord, now: Now) -> Result<Firing> {
        let again = self.clock.retried.contains(record.id()) || plan::is_again(record);
        let mut fire = plan::decide(record, &BTreeSet::new(), now.wall);
        // Where rows are written, slots that made a job before are left out.
        if again || !fire.rows.is_empty() || plan::is_late(&fire) {
            let ran = self.ran(record, record.plan.position.handled, now).await?;
            fire = plan::decide(record, &ran, now.wall);
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
            (fire.expected.id.clone(), jobs.collect::<Vec<_>>())
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
    async fn fire_singly(&mut self, due: &[ScheduleRecord], now: Now) -> Result<usize> {
        let mut fired = 0;
        for record in due {
            let fire = self.decide(record, now).await?;
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

    /// A job ended, and another may wait for it.
    fn job_ended(&mut self, now: Now) {
        if self.has_dependencies {
            let at = now.wall.max(self.followed_up_at.saturating_add(FOLLOW_UP_EVERY));
            // After the clock was set back, `followed_up_at` may be hours later than it.
            let at = at.min(now.wall.saturating_add(FOLLOW_UP_EVERY));
            self.follow_up_at = Some(self.follow_up_at.map_or(at, |known| known.min(at)));
        }
    }

    /// Releases the jobs that wait for jobs that ended, enqueues the alerts of failed runs, and cancels
    /// previous runs.
    ///
    /// # Errors
    /// Some of it was not done.
    pub async fn follow_up(&mut self, now: Now) -> Result<()> {
        if self.follow_up_at.is_none_or(|at| at > now.wall) {
            return Ok(());
        }
        let released = self.release_ended(now).await?;
        let cancelled = self.cancel_previous(now).await?;
        self.followed_up_at = now.wall;
        self.follow_up_at = None;
        self.has_dependencies = self.context.store.has_dependencies().await?;
        if released || cancelled {
            self.job_ended(now);
        }
        Ok(())
    }

    /// Follows up every end of a job that the store shows now, within bounds.
    async fn release_all(&mut self, now: Now) -> Result<()> {
        for _ in 0..FOLLOW_UP_ROUNDS {
            if !self.release_ended(now).await? {
                break;
            }
        }
        Ok(())
    }

    /// Follows up the ends of a batch of jobs. Returns whether there may be more.
    async fn release_ended(&mut self, now: Now) -> Result<bool> {
        let store = Arc::clone(&self.context.store);
        let ended: Vec<FollowUp> = store.follow_ups(FOLLOW_UP_MOST).await?;
        if ended.is_empty() {
            return Ok(false);
        }
        let releases = ended.iter().map(plan::release).collect();
        let Released { admitted, alerts } = store.release(releases, self.term, now.wall).await?;
        if !admitted.is_empty() || !alerts.is_empty() {
            self.jobs_became_ready();
        }
        let admitted = admitted
            .into_iter()
            .map(|job| moved(job, Some(JobStatus::Created), JobStatus::Pending));
        let alerts = alerts.into_iter().map(|alert| KnownEvent::JobAccepted {
            job: alert.into(),
            to: Some(JobStatus::Pending),
        });
        self.context.publish(admitted.chain(alerts), now);
        Ok(true)
    }

    /// Cancels previous runs for the next runs of their schedules. Returns whether there may be more.
    async fn cancel_previous(&mut self, now: Now) -> Result<bool> {
        let store = Arc::clone(&self.context.store);
        let jobs = store.jobs_to_cancel(FOLLOW_UP_MOST).await?;
        if jobs.is_empty() {
            return Ok(false);
        }
        let command = |id: &JobId| CancelCommand {
            id: *id,
            reason: Some("the next run of its schedule is due".to_owned()),
            by: Some("orx".to_owned()),
            force: false,
            expected: None,
        };
        let answers = store.cancel(jobs.iter().map(command).collect(), now.wall).await?;
        let (mut orders, mut events) = (Vec::new(), Vec::new());
        for (job, answer) in jobs.into_iter().zip(answers) {
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
        Ok(true)
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
