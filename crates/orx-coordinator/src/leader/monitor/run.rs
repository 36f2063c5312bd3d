//! Compares workers and attempts with the store, in a round at each period and whenever workers changed, and
//! records the outcomes of lost and overdue attempts.

use std::sync::Arc;
use std::time::Duration;

use orx_model::event::{KnownEvent, ScheduleEvent, WorkerRef};
use orx_model::filter::Filter;
use orx_model::job::DeadReason;
use orx_model::time::UtcClock;
use orx_model::{Incarnation, JobId, JobSummary, LostWith, Name};
use orx_store::{
    ListRequest, Live, Paused, Position, Result, SchedulePlan, ScheduleUpdate, StoreError, Term,
    WorkerRecord, WorkerRemoval,
};
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Watchlist};
use crate::health::RETRY;
use crate::leader::dispatcher::plan::LiveReader;
use crate::leader::is_over;
use crate::{Context, Now};

/// The shortest time between two reads of the workers, however many change.
const READ_EVERY: Duration = Duration::from_millis(50);
/// A directive outlives the last heartbeat of its worker by this: it still holds for a process that was
/// suspended, or disconnected, for less.
const DIRECTIVE_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// Runs of a schedule that are read to find the one that ended before a poisonous run.
const RUNS_READ: u32 = 50;

/// Runs as long as its term.
pub struct Monitor {
    context: Arc<Context>,
    term: Term,
    rng: StdRng,
    watchlist: Watchlist,
    /// When the last round was made, on the monotonic clock.
    last_round: Duration,
}

impl Monitor {
    /// Reads workers and live attempts from the store, which all duties of the term rely on.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn begin(context: Arc<Context>, term: Term, rng: StdRng) -> Result<Self> {
        let asked = context.now();
        context.slots().begin_term(term.epoch, asked);
        let (rows, live) = tokio::join!(
            biased;
            context.store.workers(asked.wall),
            context.store.live_attempts(),
        );
        let (rows, live) = (rows?, live?);
        let now = context.now();
        let mut watchlist = Watchlist::new(context.settings.clone(), now);
        watchlist.update_workers(&rows, now);
        watchlist.update_attempts(&live, now);
        {
            let mut slots = context.slots();
            slots.update_workers(&rows, now);
            slots.finish_read(LiveReader::Monitor, &live, now);
        }
        Ok(Self { last_round: now.mono, context, term, rng, watchlist })
    }

    /// Runs until the term is over.
    ///
    /// # Errors
    /// The store refuses the term, or is usable no longer.
    pub(crate) async fn run(mut self, over: CancellationToken) -> Result<()> {
        let mut backoff = RETRY;
        loop {
            let wait = (self.last_round + self.context.settings.monitor)
                .saturating_sub(self.context.now().mono);
            let woken = tokio::select! {
                biased;
                () = over.cancelled() => return Ok(()),
                () = self.context.wakes.monitor.notified() => true,
                () = self.context.wakeups.wait_for_workers() => true,
                () = tokio::time::sleep(wait) => false,
            };
            let began = self.notice_suspension();
            let all = self.context.wakes.take_round() || !woken;
            let done = if all { self.round(began).await } else { self.read_workers().await };
            match done {
                Ok(()) => backoff.succeeded(),
                Err(error) if is_over(&error) => return Err(error),
                Err(error) => {
                    self.context.health.failed(&error, self.context.now());
                    self.context.wakes.make_round();
                    tokio::time::sleep(backoff.failed()).await;
                }
            }
            if woken {
                tokio::time::sleep(READ_EVERY).await;
            }
        }
    }

    /// Records as lost the attempts of workers that ran in an earlier server process. Only for a store
    /// whose lock proves that no other process uses it: those workers died with that process.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub async fn rescue_hosted(&mut self) -> Result<()> {
        let context = Arc::clone(&self.context);
        let now = context.now();
        let rows = context.store.workers(now.wall).await?;
        let hosted =
            |row: &&WorkerRecord| row.report.hosted_by.is_some_and(|host| host != context.node);
        let dead: Vec<Incarnation> =
            rows.iter().filter(hosted).map(|row| row.report.registration.incarnation).collect();
        let why = "the server ended under it";
        for worker in &dead {
            self.lose_worker(*worker, LostWith::Server, why, now).await?;
        }
        if !dead.is_empty() {
            context.store.remove_workers(dead, WorkerRemoval::Gone).await?;
        }
        let nodes = context.store.nodes(now.wall).await?;
        let gone = nodes.iter().map(|node| node.report.node).filter(|node| *node != context.node);
        let gone: Vec<Incarnation> = gone.collect();
        if gone.is_empty() { Ok(()) } else { context.store.remove_nodes(gone).await }
    }

    /// Reads the rows of workers, which hold heartbeats that came to other nodes, and directives of operators.
    ///
    /// # Errors
    /// The store cannot be read, or the result cannot be recorded.
    pub async fn read_workers(&mut self) -> Result<()> {
        let context = Arc::clone(&self.context);
        self.watchlist.count_silence_from(context.health.back_at());
        let rows = context.store.workers(context.now().wall).await?;
        let now = context.now();
        self.watchlist.update_workers(&rows, now);
        context.slots().update_workers(&rows, now);
        context.wakes.dispatcher.notify_one();
        for worker in self.watchlist.fenced() {
            let holds = context.slots().worker(worker).is_some_and(|load| load.active() > 0);
            if holds || self.watchlist.holds(worker) {
                tracing::warn!(worker = %worker, "worker fenced: its attempts are lost");
                self.lose_worker(worker, LostWith::Fence, "its worker was fenced", now).await?;
            }
        }
        let old = rows.iter().filter(|row| {
            row.order.is_some()
                && row.silent > DIRECTIVE_RETENTION
                && context.may_delete_by_age(now)
        });
        let old: Vec<_> = old.map(|row| row.report.registration.incarnation).collect();
        if !old.is_empty() {
            context.store.remove_workers(old, WorkerRemoval::Gone).await?;
        }
        Ok(())
    }

    /// The round: leases, timeouts, and a comparison with the store. `began`: when the caller last knew that
    /// this process was not suspended, on the monotonic clock.
    ///
    /// # Errors
    /// Of the store, from a read or a write. The caller repeats the round.
    pub async fn round(&mut self, began: Duration) -> Result<()> {
        let context = Arc::clone(&self.context);
        if context.lead.term(context.now().mono) != Some(self.term) {
            return Err(StoreError::Deposed);
        }
        self.read_workers().await?;
        context.slots().begin_read(LiveReader::Monitor, context.now());
        let live = context.store.live_attempts().await?;
        let now = context.now();
        context.slots().finish_read(LiveReader::Monitor, &live, now);
        context.wakes.dispatcher.notify_one();
        self.watchlist.update_attempts(&live, now);
        let heartbeat = context.settings.heartbeat;
        if now.mono.saturating_sub(began) >= heartbeat {
            // The reads took too long, or this process was suspended during one. What they show is old.
            self.watchlist.count_silence_from(now.mono);
        }
        // A write that took long may have ended after the rows were read.
        self.watchlist.count_silence_from(context.health.back_at());
        // While heartbeats wait to be recorded, silence proves nothing.
        if !context.health.holds_up_heartbeats(now.mono, heartbeat) {
            for worker in self.watchlist.lost(now) {
                tracing::warn!(worker = %worker, "worker lost: no heartbeat within its lease");
                let with = self.watchlist.lost_with(worker);
                let why = "its worker sent no more heartbeats";
                let name = context.slots().worker(worker).map(|load| load.name().clone());
                self.lose_worker(worker, with, why, now).await?;
                // A directive outlives the loss of its worker, also one that was given just now.
                context.store.remove_workers(vec![worker], WorkerRemoval::Lost).await?;
                let worker = WorkerRef { incarnation: worker, name };
                context.publish([KnownEvent::WorkerLost { worker }], now);
            }
        }
        let overdue = self.watchlist.overdue(&live, now);
        let timed_out = |attempt: &&Live| (attempt.worker, plan::timed_out(attempt, now.wall));
        let overdue: Vec<_> = overdue.iter().map(timed_out).collect();
        context.record(&overdue, Some(self.term), &mut self.rng, now).await?;
        self.last_round = now.mono;
        Ok(())
    }

    /// Detects that this process was suspended: more than its period has passed since the last round. It
    /// could not record heartbeats meanwhile. Returns the time of the check, on the monotonic clock.
    fn notice_suspension(&mut self) -> Duration {
        let (now, settings) = (self.context.now(), &self.context.settings);
        if now.mono > self.last_round + settings.monitor + settings.heartbeat {
            let ms = now.mono.saturating_sub(self.last_round).as_millis();
            tracing::warn!(ms, "this process was suspended: the leases of workers begin anew");
            self.watchlist.count_silence_from(now.mono);
        }
        now.mono
    }

    /// Records that the attempts of a worker are lost, and removes the worker from the tables of this node.
    async fn lose_worker(
        &mut self,
        worker: Incarnation,
        with: LostWith,
        why: &str,
        now: Now,
    ) -> Result<()> {
        let context = Arc::clone(&self.context);
        let held = context.store.live_attempts_of(vec![worker]).await?;
        let lost = held.iter().map(|attempt| (worker, plan::lost(attempt, with, why, now.wall)));
        let lost: Vec<_> = lost.collect();
        context.record(&lost, Some(self.term), &mut self.rng, now).await?;
        context.slots().remove(worker);
        context.worker_table().remove(worker);
        self.watchlist.lose(worker);
        let jobs = held.iter().map(|attempt| attempt.job).collect();
        self.pause_poisonous(jobs, now).await
    }

    /// Pauses a schedule of which two runs in a row killed their worker or server, until a person resumes
    /// it. One run alone is no proof: another cause that kills servers often hits a long run.
    async fn pause_poisonous(&self, jobs: Vec<JobId>, now: Now) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        let store = &self.context.store;
        for job in store.jobs(jobs).await? {
            let Some(origin) =
                job.spec.schedule.filter(|_| job.state.dead == Some(DeadReason::Poison))
            else {
                continue;
            };
            let Some(record) = store.schedule(&origin.id).await? else { continue };
            if record.plan.paused.is_some() {
                continue;
            }
            let Some(before) = self.run_before(&origin.id, job.id, now).await? else { continue };
            if before.state.dead != Some(DeadReason::Poison) {
                continue;
            }
            let reason = format!(
                "its runs {} and {} are dead letters with the reason `poison`",
                before.id, job.id
            );
            tracing::error!(schedule = %record.id(), job = %job.id, "paused: {reason}");
            let by = Some("orx".to_owned());
            let paused = Some(Paused { at: now.wall, reason: Some(reason), by });
            let position = Position { next: None, ..record.plan.position };
            let plan = SchedulePlan { paused, position, ..record.plan.clone() };
            let handled = record.plan.position.handled;
            // A schedule that was changed meanwhile stays as it is; its next run decides.
            let changed =
                store.change_schedule(record.version, handled, plan, None, now.wall).await?;
            if matches!(changed, ScheduleUpdate::Applied { .. }) {
                let (schedule, change) = (record.id().clone(), ScheduleEvent::Paused);
                let event = KnownEvent::ScheduleChanged { schedule, change };
                self.context.publish([event], now);
            }
        }
        Ok(())
    }

    /// The newest ended run of a schedule among those made before `job`.
    async fn run_before(
        &self,
        schedule: &Name,
        job: JobId,
        now: Now,
    ) -> Result<Option<JobSummary>> {
        let filter = Filter::parse(&format!("schedule:{schedule}"), now.wall, &UtcClock);
        let Ok(filter) = filter else { return Ok(None) };
        let request =
            ListRequest { filter, oldest_first: false, after: Some(job), limit: RUNS_READ };
        let page = self.context.store.list(request, now.wall).await?;
        Ok(page.rows.into_iter().find(|run| run.state.status.is_final()))
    }
}
