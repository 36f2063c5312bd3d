//! Does what is due. A pass does everything that is due by now, and answers what could not be done; the
//! rest of it is done all the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orx_model::event::{JobRef, KnownEvent, ScheduleEvent};
use orx_model::message::{ExecutionRef, Message};
use orx_model::{JobId, JobStatus, Name, Timestamp};
use orx_store::{
    CancelAnswer, CancelCommand, ClockJump, ClockNote, DependencyStep, Firing, Result, Run,
    RunAfter, ScheduleRecord, Settled, SlotRequest, StoreError, Term,
};
use tokio_util::sync::CancellationToken;

use super::clock::{self, Jump};
use super::plan::{self, Step};
use crate::health::Backoff;
use crate::leader::{is_over, pause};
use crate::{Context, Now};

/// Scheduled jobs made ready in one transaction.
const PROMOTE_MOST: u32 = 2_000;
/// Schedules fired in one transaction.
const FIRE_MOST: u32 = 500;
/// Jobs and rows that a transaction of firings writes, unless one schedule alone has more: what any
/// database does well within a call's deadline.
const FIRE_WRITES: usize = 5_000;
/// A schedule that a person changed while it fired is looked at again after this.
const FIRE_AGAIN: Duration = Duration::from_millis(20);
/// Watched runs settled in one transaction, and how often they are looked at.
const SETTLE_MOST: u32 = 500;
const SETTLE_EVERY: Duration = Duration::from_millis(100);
/// What the clock shows is noted so often, and schedules ahead of it are looked for.
const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// After the clock was set ahead, or where nobody led for longer than [`AWAY_LONG`], nothing is
/// forgotten for so long: if it is wrong, that shows by then.
const KEEP_FOR: Duration = Duration::from_secs(60 * 60);
const AWAY_LONG: Duration = Duration::from_secs(24 * 60 * 60);
/// Rows of a ledger read at once.
const RAN_PAGE: u32 = 100;

/// Runs while its term does.
pub struct Scheduler {
    context: Arc<Context>,
    term: Term,
    /// When something falls due next, as far as known.
    next_due: Option<Timestamp>,
    /// When a schedule fires next, as far as known.
    next_fire: Option<Timestamp>,
    /// When both are read afresh, in case that nobody told of something, on the monotonic clock.
    read_at: Duration,
    /// Schedules that the store could not take, until they are read afresh.
    passed_over: BTreeSet<Name>,
    /// Runs of schedules wait for others, or are to be told of when they fail.
    watching: bool,
    /// When to look at them next; `None` once nothing has ended since.
    settle_at: Option<Timestamp>,
    settled_at: Timestamp,
    /// Runs cancelled for the next of their schedule, which nobody need ask again.
    asked_to_cancel: BTreeSet<JobId>,
    clock: ClockKeeping,
}

/// What follows from a clock that is set.
#[derive(Debug, Default)]
struct ClockKeeping {
    watch: clock::Watch,
    /// Noticed, and not yet acted on.
    jump: Option<Jump>,
    note: ClockNote,
    /// When what is noted, and schedules ahead of the clock, are looked at next.
    look_at: Duration,
    /// Schedules that did not fire as they were read: one of their slots ran before, perhaps.
    unfired: BTreeSet<Name>,
    /// Of those, the ones that are looked at again in this pass.
    tried: BTreeSet<Name>,
    /// It was set ahead by so much, and what that made due was not decided yet.
    ahead_by: Option<i64>,
}

impl Scheduler {
    /// What a term rests on is read anew.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn begin(context: Arc<Context>, term: Term) -> Result<Self> {
        let store = &context.store;
        let (next_due, note, watching) =
            tokio::join!(biased; store.next_due(), store.clock(), store.is_watching());
        let (next_due, note, watching) = (next_due?, note?, watching?);
        let now = context.now();
        let mut clock = ClockKeeping::default();
        if let Some(keep_until) = clock.begins(note, now) {
            context.keep_until(keep_until);
        }
        Ok(Self {
            term,
            next_due,
            // Whatever is due, and however long it has been, is looked at first.
            next_fire: Some(now.wall),
            read_at: now.mono + context.settings.monitor,
            passed_over: BTreeSet::new(),
            watching,
            settle_at: watching.then_some(now.wall),
            settled_at: Timestamp::default(),
            asked_to_cancel: BTreeSet::new(),
            clock,
            context,
        })
    }

    /// Until the term is over.
    ///
    /// # Errors
    /// The store refuses the term, or is of no use any more.
    pub async fn run(mut self, over: CancellationToken) -> Result<()> {
        let mut backoff = Backoff::default();
        loop {
            match self.pass().await? {
                None => backoff.reset(),
                Some(error) => {
                    self.context.health.failed(&error, self.context.now());
                    pause(&over, backoff.next()).await;
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

    /// When it has something to do next, as far as known.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        [self.next_due, self.next_fire, self.settle_at].into_iter().flatten().min()
    }

    fn wait(&self) -> Duration {
        let now = self.context.now();
        let wait = self.read_at.min(self.clock.look_at).saturating_sub(now.mono);
        match self.next_due() {
            Some(due) => wait.min(due.saturating_since(now.wall)),
            None => wait,
        }
    }

    /// All that is due by now. Answers the error of what is to be tried again.
    ///
    /// # Errors
    /// The store refuses the term, or is of no use any more.
    pub async fn pass(&mut self) -> Result<Option<StoreError>> {
        let now = self.context.now();
        if self.context.lead.term(now.mono) != Some(self.term) {
            return Err(StoreError::Deposed);
        }
        self.hear();
        let mut unfinished = None;
        if now.mono >= self.read_at {
            collect_error(self.read_afresh(now).await, &mut unfinished)?;
        }
        collect_error(self.fire(now).await, &mut unfinished)?;
        collect_error(self.promote(now).await, &mut unfinished)?;
        collect_error(self.settle(now).await, &mut unfinished)?;
        self.context.idle.scheduler(self.next_due().is_none());
        Ok(unfinished)
    }

    /// Takes in what others told: that something is due, or has ended.
    pub fn hear(&mut self) {
        let told = [self.context.wakeups.take_due(), self.context.wakes.take_due()];
        told.into_iter().flatten().for_each(|due| self.due_at(due));
        if self.context.wakes.take_ended() {
            self.recheck_runs(self.context.now());
        }
    }

    fn due_at(&mut self, at: Timestamp) {
        for next in [&mut self.next_due, &mut self.next_fire] {
            *next = Some(next.map_or(at, |known| known.min(at)));
        }
    }

    /// In case that nobody told of something.
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
            self.work_came();
        }
        // Those that should have fired, too.
        self.passed_over.clear();
        self.recheck_runs(now);
        self.read_at = now.mono + self.context.settings.monitor;
        Ok(())
    }

    /// Jobs whose time has come become ready.
    ///
    /// # Errors
    /// Not all of it was done.
    pub async fn promote(&mut self, now: Now) -> Result<()> {
        if self.next_due.is_none_or(|due| due > now.wall) {
            return Ok(());
        }
        let store = Arc::clone(&self.context.store);
        let promoted = store.promote_due(self.term, now.wall, PROMOTE_MOST).await?;
        if !promoted.due.is_empty() {
            self.work_came();
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

    /// Something became ready.
    fn work_came(&self) {
        self.context.slots().jobs_ready();
        self.context.wakes.dispatcher.notify_one();
    }

    /// Fires a batch of the schedules that are due; the rest comes with the next pass.
    ///
    /// # Errors
    /// Not all of it was done.
    pub async fn fire(&mut self, now: Now) -> Result<()> {
        self.look_at_clock(now);
        match self.keep_clock(now).await {
            // What cannot be stored of it keeps no schedule from firing.
            Err(error @ StoreError::Backend { .. }) => {
                tracing::error!(%error, "what follows from the clock could not be done");
                self.clock.look_at = now.mono + CLOCK_EVERY;
            }
            kept => kept?,
        }
        if self.next_fire.is_none_or(|at| at > now.wall) {
            return Ok(());
        }
        let (mut due, mut more) = self.due_schedules(now).await?;
        // A person ran one by hand, perhaps: such runs are watched too.
        if !self.watching {
            self.watching = self.context.store.is_watching().await?;
            self.recheck_runs(now);
        }
        let held =
            if self.watching && !due.is_empty() { self.held().await? } else { BTreeSet::new() };
        self.clock.tried = std::mem::take(&mut self.clock.unfired);
        let (mut fires, mut writes): (Vec<Firing>, usize) = (Vec::new(), 0);
        for record in &due {
            let fire = self.decided(record, &held, now).await?;
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
            self.work_came();
        }
        if watched {
            self.watching = true;
            self.recheck_runs(now);
        }
        // Those look at what ran before next time; who does so already waits a moment.
        let unlooked = self.clock.unfired.iter().any(|id| !self.clock.tried.contains(id));
        self.next_fire = if more || unlooked {
            Some(now.wall)
        } else if fired < due.len() {
            Some(now.wall.saturating_add(FIRE_AGAIN))
        } else {
            self.clock.ahead_by = None;
            self.context.store.next_fire(now.wall).await?
        };
        Ok(())
    }

    /// What is to be done for a schedule that is due.
    async fn decided(
        &mut self,
        record: &ScheduleRecord,
        held: &BTreeSet<JobId>,
        now: Now,
    ) -> Result<Firing> {
        let again = self.clock.tried.contains(record.id()) || plan::is_again(record);
        let mut fire = plan::decide(record, held, &BTreeSet::new(), now.wall);
        // A row of a slot that made a job would tell nothing of the time that comes again.
        if again || !fire.rows.is_empty() || plan::is_late(&fire) {
            let ran = self.ran(record, record.plan.position.handled, now).await?;
            fire = plan::decide(record, held, &ran, now.wall);
        }
        if let Some(by_ms) = self.clock.ahead_by
            && plan::is_late(&fire)
        {
            fire.rows.push(plan::clock_set(record, by_ms, now.wall));
        }
        Ok(fire)
    }

    /// Slots after then that made a job, as far as a decision asks.
    async fn ran(
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

    /// Schedules that stand ahead of the clock go on from now.
    async fn set_back(&mut self, by_ms: Option<i64>, now: Now) -> Result<()> {
        let ahead_of = now.wall.saturating_add(clock::NOTICED);
        loop {
            let ahead = self.context.store.schedules_ahead(ahead_of, FIRE_MOST).await?;
            let mut rewinds = Vec::with_capacity(ahead.len());
            for record in &ahead {
                let ran = self.ran(record, now.wall, now).await?;
                let stood = record.plan.position.handled.as_millis();
                let apart = now.wall.as_millis().saturating_sub(stood);
                let by_ms = by_ms.filter(|by_ms| *by_ms < 0).unwrap_or(apart);
                rewinds.push(plan::rewind(record, &ran, by_ms, now.wall));
            }
            if rewinds.is_empty() {
                return Ok(());
            }
            tracing::warn!(
                schedules = rewinds.len(),
                "schedules stood ahead of the clock: their next due times are found anew"
            );
            let done = self.context.store.rewind(rewinds, self.term, now.wall).await?;
            self.next_fire = Some(now.wall);
            // Those that others changed meanwhile are looked at with the next note.
            if ahead.len() < FIRE_MOST as usize || !done.contains(&true) {
                return Ok(());
            }
        }
    }

    /// Runs that ended before their turn came, while what they waited for goes on.
    async fn held(&self) -> Result<BTreeSet<JobId>> {
        let mut most = SETTLE_MOST;
        loop {
            let watched = self.context.store.watched(most).await?;
            if watched.len() < most as usize {
                return Ok(plan::held(&watched));
            }
            most = most.saturating_mul(4);
        }
    }

    /// A batch, and whether there may be more. Those that are passed over hide no others.
    async fn due_schedules(&self, now: Now) -> Result<(Vec<ScheduleRecord>, bool)> {
        let mut most = FIRE_MOST;
        loop {
            let mut due = self.context.store.due_schedules(now.wall, most).await?;
            let full = due.len() >= most as usize;
            due.retain(|record| !self.passed_over.contains(record.id()));
            if !due.is_empty() || !full {
                let more = full || due.len() > FIRE_MOST as usize;
                due.truncate(FIRE_MOST as usize);
                return Ok((due, more));
            }
            most = most.saturating_mul(4);
        }
    }

    /// Answers for how many it was done.
    async fn fire_all(&mut self, fires: Vec<Firing>, now: Now) -> Result<usize> {
        if fires.is_empty() {
            return Ok(0);
        }
        let about = |fire: &Firing| {
            let run = |run: &Run| (run.job.name.clone(), run.job.queue.clone());
            (fire.basis.id.clone(), fire.runs.iter().map(run).collect::<Vec<_>>())
        };
        let about: Vec<_> = fires.iter().map(about).collect();
        let answers = self.context.store.fire(fires, Some(self.term), now.wall).await?;
        let (mut fired, mut events) = (0, Vec::new());
        for ((schedule, runs), answer) in about.into_iter().zip(answers) {
            let Some(jobs) = answer else {
                self.clock.unfired.insert(schedule);
                continue;
            };
            fired += 1;
            events.push(KnownEvent::ScheduleChanged { schedule, change: ScheduleEvent::Fired });
            events.extend(jobs.into_iter().zip(runs).map(|(id, (name, queue))| {
                let job = JobRef { id, name: Some(name), queue: Some(queue) };
                KnownEvent::JobAccepted { job, to: None }
            }));
        }
        self.context.publish(events, now);
        Ok(fired)
    }

    /// One that the store cannot take is passed over until the monitor's next round.
    async fn fire_singly(
        &mut self,
        due: &[ScheduleRecord],
        held: &BTreeSet<JobId>,
        now: Now,
    ) -> Result<usize> {
        let mut fired = 0;
        for record in due {
            let fire = self.decided(record, held, now).await?;
            match self.fire_all(vec![fire], now).await {
                Ok(done) => fired += done,
                Err(error @ StoreError::Backend { .. }) => {
                    tracing::error!(schedule = %record.id(), %error, "a schedule could not fire");
                    self.passed_over.insert(record.id().clone());
                    fired += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(fired)
    }

    /// What is to be done now about watched runs, and whether there may be more.
    async fn steps(&mut self) -> Result<(Vec<Step>, bool)> {
        let mut most = SETTLE_MOST;
        loop {
            let watched = self.context.store.watched(most).await?;
            let mut steps = plan::steps(&watched);
            let asked = |step: &Step| match step {
                Step::Cancel(job) => Some(*job),
                Step::DependencyStep(_) => None,
            };
            let wanted: BTreeSet<JobId> = steps.iter().filter_map(asked).collect();
            self.asked_to_cancel.retain(|job| wanted.contains(job));
            steps.retain(|step| asked(step).is_none_or(|job| !self.asked_to_cancel.contains(&job)));
            let full = watched.len() >= most as usize;
            // Those for which there is nothing to do yet must not hide others.
            if !steps.is_empty() || !full {
                return Ok((steps, full));
            }
            most = most.saturating_mul(4);
        }
    }

    /// Whether the clock was set since the last pass.
    fn look_at_clock(&mut self, now: Now) {
        let Some(jump) = self.clock.watch.look(now) else { return };
        tracing::warn!(by_ms = jump.by_ms, "the clock of this machine was set {}", jump.words());
        if let Some(keep_until) = self.clock.noticed(jump, now) {
            self.context.keep_until(keep_until);
        }
    }

    /// Once the clock was set, waits are as long as before, and schedules go on from the right now; and
    /// what the clock shows is noted, for who leads next.
    async fn keep_clock(&mut self, now: Now) -> Result<()> {
        let jump = self.clock.jump;
        if jump.is_none() && now.mono < self.clock.look_at {
            return Ok(());
        }
        let store = Arc::clone(&self.context.store);
        if let Some(Jump { before, by_ms }) = jump {
            let waits =
                store.clock_was_set(ClockJump { before, by_ms }, self.term, now.wall).await?;
            if waits > 0 {
                tracing::info!(waits, "waits of jobs go on as if the clock had not been set");
                self.work_came();
            }
            self.clock.note.jumps += 1;
            self.clock.note.last = Some((now.wall, by_ms));
            self.clock.jump = None;
            self.next_due = store.next_due().await?;
            self.next_fire = Some(now.wall);
        }
        self.clock.note.seen = now.wall;
        store.note_clock(self.clock.note, self.term).await?;
        self.set_back(jump.map(|jump| jump.by_ms), now).await?;
        self.clock.look_at = now.mono + CLOCK_EVERY;
        Ok(())
    }

    /// Something ended that a run may wait for.
    fn recheck_runs(&mut self, now: Now) {
        if self.watching {
            let at = now.wall.max(self.settled_at.saturating_add(SETTLE_EVERY));
            // Where the clock was put back, that is too far away.
            let at = at.min(now.wall.saturating_add(SETTLE_EVERY));
            self.settle_at = Some(self.settle_at.map_or(at, |known| known.min(at)));
        }
    }

    /// Lets runs go on whose predecessors have ended, cancels predecessors, and tells of failures.
    ///
    /// # Errors
    /// Not all of it was done.
    pub async fn settle(&mut self, now: Now) -> Result<()> {
        if self.settle_at.is_none_or(|at| at > now.wall) {
            return Ok(());
        }
        let (steps, full) = self.steps().await?;
        let mut settles = Vec::new();
        let mut cancels: BTreeSet<JobId> = BTreeSet::new();
        for step in steps {
            match step {
                Step::DependencyStep(settle) => settles.push(settle),
                Step::Cancel(job) => _ = cancels.insert(job),
            }
        }
        let again = full || !settles.is_empty() || !cancels.is_empty();
        let store = Arc::clone(&self.context.store);
        if !settles.is_empty() {
            let jobs: Vec<JobId> = settles.iter().map(DependencyStep::job).collect();
            let settled = store.settle(settles, self.term, now.wall).await?;
            self.work_came();
            let event = |(job, settled): (JobId, Settled)| match settled {
                Settled::Admitted => Some(moved(job, Some(JobStatus::Created), JobStatus::Pending)),
                Settled::Alerted(alert) => Some(KnownEvent::JobAccepted {
                    job: alert.into(),
                    to: Some(JobStatus::Pending),
                }),
                Settled::Nothing | Settled::Done => None,
            };
            self.context.publish(jobs.into_iter().zip(settled).filter_map(event), now);
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
            self.asked_to_cancel.extend(&cancels);
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
        self.settled_at = now.wall;
        self.settle_at = None;
        self.watching = store.is_watching().await?;
        if again {
            self.recheck_runs(now);
        }
        Ok(())
    }
}

impl ClockKeeping {
    /// A term begins; `note` is what the leader before it left. Answers until when nothing is to be
    /// forgotten.
    fn begins(&mut self, note: Option<ClockNote>, now: Now) -> Option<Duration> {
        self.look_at = now.mono;
        let note = note?;
        self.note = note;
        let mut keep_until = None;
        if let Some((at, 1..)) = note.last {
            let left = KEEP_FOR.saturating_sub(now.wall.saturating_since(at));
            keep_until = Some(now.mono + left);
        }
        match Jump::between(note.seen, now.wall) {
            Some(jump) if jump.is_back() => {
                let by_ms = jump.by_ms;
                tracing::warn!(by_ms, "the clock went {} since somebody led last", jump.words());
                self.jump = Some(jump);
            }
            Some(_) if now.wall.saturating_since(note.seen) > AWAY_LONG => {
                keep_until = Some(now.mono + KEEP_FOR);
            }
            Some(_) | None => {}
        }
        keep_until
    }

    /// As [`Self::begins`].
    fn noticed(&mut self, jump: Jump, now: Now) -> Option<Duration> {
        self.jump = match self.jump {
            Some(first) => Jump::between(first.before, now.wall),
            None => Some(jump),
        };
        self.ahead_by = Some(jump.by_ms).filter(|_| !jump.is_back());
        (!jump.is_back()).then_some(now.mono + KEEP_FOR)
    }
}

fn moved(job: JobId, from: Option<JobStatus>, to: JobStatus) -> KnownEvent {
    KnownEvent::JobMoved { job: job.into(), from, to, attempt: None }
}

/// The answer, or its error kept for later. Those after which the term is over are not.
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
