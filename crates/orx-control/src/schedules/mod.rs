//! Schedules: made, changed, paused, run by hand, looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orx_model::event::{Event, JobRef, KnownEvent, ScheduleEvent};
use orx_model::mask::{MASK, is_secret_key, mask_value};
use orx_model::schedule::wire::{
    BackfillAnswer, BackfillRequest, Backfilled, PauseView, PutScheduleRequest, RunView,
    ScheduleAnswer, ScheduleChangeAnswer, ScheduleChanged, ScheduleCounts, ScheduleOrder,
    SchedulePage, ScheduleState, ScheduleView, SchedulesQuery, SetScheduleRequest, SlotPage,
    SlotsQuery, TriggerAnswer,
};
use orx_model::schedule::{Due, FieldChange, Overlap, ScheduleSpec, SkipReason, Slot, SlotOutcome};
use orx_model::text::nearest;
use orx_model::wire::{EnqueueRequest, V};
use orx_model::{Code, JobId, JobSpec, Name, Problem, Timestamp, limits};
use orx_schedule::{Rule, Schedule, SpecProblem, SpecProblems, Timing, apply, diff, is_edited};
use orx_store::{
    Changed, Firing, Paused, Position, Run, RunAfter, SchedulePlan, ScheduleRecord, SlotRequest,
    Templates,
};

use crate::accept::no_answer;
use crate::view::{mask_request, rows};
use crate::{Caller, ControlPanel, Result, Scope, store_problem};

/// Slots of one backfill.
const BACKFILL_MOST: usize = 1_000;
/// A change that finds the schedule otherwise than it read it is decided again.
const TRIES: usize = 8;
/// What was missed is shown for so long.
const MISSED_SHOWN: Duration = Duration::from_secs(24 * 60 * 60);
/// Schedules that are due and were not fired, looked at for the whole.
const OVERDUE_MOST: u32 = 1_000;
/// Ids looked at for one that was meant.
const NEAR_MOST: u32 = 10_000;

impl ControlPanel {
    /// # Errors
    /// [`Code::StateConflict`] where the id is in use; what is wrong with the schedule.
    pub async fn add_schedule(
        &self,
        caller: &Caller,
        spec: ScheduleSpec,
    ) -> Result<ScheduleChangeAnswer> {
        let (id, by) = (spec.id.clone(), spec.job.by.clone());
        let (answer, added) = self.make_schedule(caller, spec, by, false).await?;
        if added {
            return Ok(answer);
        }
        let detail = format!("the schedule `{id}` is there already");
        Err(Problem::new(Code::StateConflict, detail)
            .hint(format!("`orx schedule set {id}` changes it, `orx schedule show {id}` shows it")))
    }

    /// With whether it was made, and was not there before.
    async fn make_schedule(
        &self,
        caller: &Caller,
        spec: ScheduleSpec,
        by: Option<String>,
        dry_run: bool,
    ) -> Result<(ScheduleChangeAnswer, bool)> {
        let (spec, templates) = self.checked(caller, spec)?;
        let now = self.now();
        let next = first_due(&spec, now)?;
        let id = spec.id.clone();
        let plan = SchedulePlan {
            templates,
            paused: None,
            position: Position { handled: now, next: Some(next) },
            by: by.or_else(|| Some(caller.name.clone())),
            spec,
        };
        let name = plan.templates.job.command.is_none().then(|| plan.spec.job.name.clone());
        let added = dry_run || self.store().add_schedule(plan, now).await.map_err(store_problem)?;
        if added && !dry_run {
            self.inner.wakeups.due(next.fire_at);
            self.report_schedule(&id, ScheduleEvent::Added, now);
        }
        let warning = match name.flatten().filter(|_| added) {
            Some(name) => self.warning(&name).await,
            None => None,
        };
        let answer = ScheduleChangeAnswer {
            v: V,
            id,
            change: ScheduleChanged::Created,
            dry_run,
            version: 1,
            fields: Vec::new(),
            next: Some(next),
            warning,
        };
        Ok((answer, added))
    }

    /// # Errors
    /// What is wrong with the schedule; [`Code::StateConflict`] where it stands at another version.
    pub async fn put_schedule(
        &self,
        caller: &Caller,
        id: &str,
        request: PutScheduleRequest,
    ) -> Result<ScheduleChangeAnswer> {
        caller.need(Scope::Service)?;
        let PutScheduleRequest { spec, version, dry_run, by } = request;
        if spec.id.as_str() != id {
            let detail = format!("the path names the schedule `{id}`, the body `{}`", spec.id);
            return Err(Problem::new(Code::BadRequest, detail));
        }
        for _ in 0..TRIES {
            let found = self.store().schedule(&spec.id).await.map_err(store_problem)?;
            let Some(record) = found else {
                if version.is_some() {
                    return Err(self.no_schedule(id).await);
                }
                let made = self.make_schedule(caller, spec.clone(), by.clone(), dry_run).await?;
                match made {
                    (answer, true) => return Ok(answer),
                    (_, false) => continue,
                }
            };
            let to = |_: &ScheduleSpec| Ok(spec.clone());
            let by = by.as_deref();
            if let Some(answer) = self.change(caller, &record, to, version, by, dry_run).await? {
                return Ok(answer);
            }
        }
        Err(changing(id))
    }

    /// # Errors
    /// As [`Self::put_schedule`]; [`Code::NotFound`].
    pub async fn set_schedule(
        &self,
        caller: &Caller,
        id: &str,
        request: SetScheduleRequest,
    ) -> Result<ScheduleChangeAnswer> {
        caller.need(Scope::Service)?;
        let SetScheduleRequest { change, version, dry_run, by } = request;
        if change.is_empty() {
            return Err(Problem::new(Code::BadRequest, "the request names nothing to change"));
        }
        for _ in 0..TRIES {
            let record = self.readable(id).await?;
            let to = |spec: &ScheduleSpec| {
                let wrong = |wrong: SpecProblem| Problem::new(Code::BadRequest, wrong.to_string());
                apply(&change, spec).map_err(wrong)
            };
            let by = by.as_deref();
            if let Some(answer) = self.change(caller, &record, to, version, by, dry_run).await? {
                return Ok(answer);
            }
        }
        Err(changing(id))
    }

    /// `None` where it is no longer as it was read.
    async fn change(
        &self,
        caller: &Caller,
        record: &ScheduleRecord,
        to: impl Fn(&ScheduleSpec) -> Result<ScheduleSpec>,
        version: Option<u64>,
        by: Option<&str>,
        dry_run: bool,
    ) -> Result<Option<ScheduleChangeAnswer>> {
        let id = record.id().clone();
        if let Some(version) = version.filter(|version| *version != record.version) {
            let found = record.version;
            let detail = format!("the schedule `{id}` is at version {found}, not at {version}");
            return Err(Problem::new(Code::StateConflict, detail)
                .hint(format!("look at it again: `orx schedule show {id}`")));
        }
        let old = &record.plan.spec;
        let (spec, templates) = self.checked(caller, to(old)?)?;
        let fields = diff(old, &spec);
        let now = self.now();
        let plan = SchedulePlan {
            position: moved(record, &spec, now)?,
            templates,
            paused: record.plan.paused.clone(),
            by: Some(by.unwrap_or(&caller.name).to_owned()),
            spec,
        };
        let next = plan.position.next;
        let mut answer = ScheduleChangeAnswer {
            v: V,
            id: id.clone(),
            change: ScheduleChanged::Changed,
            dry_run,
            version: record.version,
            fields: fields.into_iter().map(masked_field).collect(),
            next,
            warning: None,
        };
        if answer.fields.is_empty() {
            answer.change = ScheduleChanged::Unchanged;
            answer.next = record.plan.position.next;
            return Ok(Some(answer));
        }
        if dry_run {
            return Ok(Some(answer));
        }
        let handled = record.plan.position.handled;
        let changed = self.store().change_schedule(record.version, handled, plan, None, now);
        match changed.await.map_err(store_problem)? {
            Changed::Done { version } => answer.version = version,
            Changed::Stale => return Ok(None),
            Changed::Missing => return Err(self.no_schedule(id.as_str()).await),
        }
        if let Some(next) = next {
            self.inner.wakeups.due(next.fire_at);
        }
        self.report_schedule(&id, ScheduleEvent::Changed, now);
        Ok(Some(answer))
    }

    /// Its ledger goes with it; the jobs that it made stay.
    ///
    /// # Errors
    /// [`Code::NotFound`]; [`Code::StateConflict`] where it stands at another version.
    pub async fn remove_schedule(
        &self,
        caller: &Caller,
        id: &str,
        version: Option<u64>,
    ) -> Result<ScheduleChangeAnswer> {
        caller.need(Scope::Service)?;
        let Ok(name) = id.parse::<Name>() else { return Err(self.no_schedule(id).await) };
        let removed = self.store().remove_schedule(&name, version).await.map_err(store_problem)?;
        match removed {
            Changed::Done { version } => {
                self.report_schedule(&name, ScheduleEvent::Removed, self.now());
                Ok(ScheduleChangeAnswer {
                    v: V,
                    id: name,
                    change: ScheduleChanged::Removed,
                    dry_run: false,
                    version,
                    fields: Vec::new(),
                    next: None,
                    warning: None,
                })
            }
            Changed::Stale => {
                let detail = format!("the schedule `{id}` is at another version");
                Err(Problem::new(Code::StateConflict, detail)
                    .hint(format!("look at it again: `orx schedule show {id}`")))
            }
            Changed::Missing => Err(self.no_schedule(id).await),
        }
    }

    /// One that is paused stays as it is.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub async fn pause_schedule(
        &self,
        caller: &Caller,
        id: &str,
        order: ScheduleOrder,
    ) -> Result<ScheduleAnswer> {
        caller.need(Scope::Admin)?;
        if order.reason.as_ref().is_some_and(|reason| reason.len() > limits::ERROR_BYTES) {
            let most = limits::ERROR_BYTES;
            return Err(Problem::new(Code::TooLarge, format!("a reason is at most {most} bytes")));
        }
        self.turn(id, |record, now| {
            if record.plan.paused.is_some() {
                return None;
            }
            let by = order.by.clone().or_else(|| Some(caller.name.clone()));
            let paused = Some(Paused { at: now, reason: order.reason.clone(), by });
            let position = Position { next: None, ..record.plan.position };
            Some((SchedulePlan { paused, position, ..record.plan.clone() }, None))
        })
        .await
    }

    /// What came due meanwhile is recorded as skipped. One that is not paused stays as it is.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub async fn resume_schedule(
        &self,
        caller: &Caller,
        id: &str,
        order: ScheduleOrder,
    ) -> Result<ScheduleAnswer> {
        caller.need(Scope::Admin)?;
        self.turn(id, |record, now| {
            record.plan.paused.as_ref()?;
            let spec = &record.plan.spec;
            let row = skipped(spec.timing(), record.plan.position.handled, now);
            let handled = record.plan.position.handled.max(now);
            let next = spec.timing().next_due(handled).filter(|_| runs_left(record, spec));
            let by = order.by.clone().or_else(|| Some(caller.name.clone()));
            let position = Position { handled, next };
            Some((SchedulePlan { paused: None, position, by, ..record.plan.clone() }, row))
        })
        .await
    }

    async fn turn(
        &self,
        id: &str,
        to: impl Fn(&ScheduleRecord, Timestamp) -> Option<(SchedulePlan, Option<Slot>)>,
    ) -> Result<ScheduleAnswer> {
        for _ in 0..TRIES {
            let record = self.readable(id).await?;
            let now = self.now();
            let Some((plan, row)) = to(&record, now) else { return self.answer(record).await };
            let (next, handled) = (plan.position.next, record.plan.position.handled);
            let change = match plan.paused {
                Some(_) => ScheduleEvent::Paused,
                None => ScheduleEvent::Resumed,
            };
            let changed = self.store().change_schedule(record.version, handled, plan, row, now);
            match changed.await.map_err(store_problem)? {
                Changed::Done { .. } => {
                    if let Some(next) = next {
                        self.inner.wakeups.due(next.fire_at);
                    }
                    self.report_schedule(record.id(), change, now);
                    return self.answer(self.record(id).await?).await;
                }
                Changed::Stale => {}
                Changed::Missing => return Err(self.no_schedule(id).await),
            }
        }
        Err(changing(id))
    }

    /// A run at once, beside the due times, whatever else of it runs.
    ///
    /// # Errors
    /// [`Code::NotFound`]; [`Code::NotAllowed`].
    pub async fn trigger_schedule(
        &self,
        caller: &Caller,
        id: &str,
        order: ScheduleOrder,
    ) -> Result<TriggerAnswer> {
        caller.need(Scope::Service)?;
        for _ in 0..TRIES {
            let record = self.readable(id).await?;
            self.need_for(caller, &record)?;
            let now = self.now();
            let by = order.by.clone().unwrap_or_else(|| caller.name.clone());
            if let Some(jobs) = self.fire_by_hand(record.manual(by, now), now).await? {
                let job = jobs.first().copied().ok_or_else(no_answer)?;
                return Ok(TriggerAnswer { v: V, id: record.id().clone(), job });
            }
        }
        Err(changing(id))
    }

    async fn fire_by_hand(&self, fire: Firing, now: Timestamp) -> Result<Option<Vec<JobId>>> {
        let schedule = fire.basis.id.clone();
        let runs: Vec<(Name, Name)> =
            fire.runs.iter().map(|run| (run.job.name.clone(), run.job.queue.clone())).collect();
        let fired = self.store().fire(vec![fire], None, now).await.map_err(store_problem)?;
        let jobs = fired.into_iter().next().flatten();
        if let Some(jobs) = &jobs {
            self.inner.wakeups.work();
            // The leader may have to watch the new runs.
            self.inner.wakeups.due(now);
            let accepted = |(id, (name, queue)): (&JobId, (Name, Name))| {
                let job = JobRef { id: *id, name: Some(name), queue: Some(queue) };
                Event::new(now, KnownEvent::JobAccepted { job, to: None })
            };
            self.feed().publish(jobs.iter().zip(runs).map(accepted).collect());
            self.report_schedule(&schedule, ScheduleEvent::Fired, now);
        }
        Ok(jobs)
    }

    fn report_schedule(&self, id: &Name, change: ScheduleEvent, now: Timestamp) {
        let schedule = id.clone();
        let changed = KnownEvent::ScheduleChanged { schedule, change };
        self.feed().publish(vec![Event::new(now, changed)]);
    }

    /// Runs what made no job: one after the other, unless runs of the schedule may overlap.
    ///
    /// # Errors
    /// [`Code::TooMany`] for more slots than one backfill takes; [`Code::StateConflict`] for more
    /// than runs are left; [`Code::NotFound`]; [`Code::BadRequest`] where the stretch is empty or in the future.
    pub async fn backfill_schedule(
        &self,
        caller: &Caller,
        id: &str,
        request: BackfillRequest,
    ) -> Result<BackfillAnswer> {
        caller.need(Scope::Service)?;
        for _ in 0..TRIES {
            let record = self.readable(id).await?;
            self.need_for(caller, &record)?;
            let now = self.now();
            let to = request.to.unwrap_or(now).min(record.plan.position.handled.max(now));
            if request.from > to {
                let (from, to) = (request.from, to);
                let detail = format!("there is nothing to backfill between `{from}` and `{to}`");
                return Err(Problem::new(Code::BadRequest, detail)
                    .hint("a backfill runs what is past: `--from` before `--to`, and before now"));
            }
            // What is not decided yet is the leader's.
            let to = to.min(record.plan.position.handled);
            let slots = slots_between(record.plan.spec.timing(), request.from, to)?;
            let ledger = self.ledger(&record, request.from, to).await?;
            let ran: BTreeSet<Timestamp> = ledger
                .iter()
                .filter(|row| row.outcome.job().is_some())
                .map(|row| row.slot)
                .collect();
            let wanted: Vec<Timestamp> =
                slots.iter().copied().filter(|slot| !ran.contains(slot)).collect();
            let left = left_for(&record, wanted.len())?;
            let mut answer = BackfillAnswer {
                v: V,
                id: record.id().clone(),
                dry_run: request.dry_run,
                ran_before: (slots.len() - wanted.len()) as u64,
                runs: wanted.iter().map(|slot| Backfilled { slot: *slot, job: None }).collect(),
            };
            if request.dry_run || wanted.is_empty() {
                return Ok(answer);
            }
            let fire = Firing {
                basis: record.basis(),
                runs: backfill_runs(&record, &wanted, now),
                rows: rest_of_ranges(record.plan.spec.timing(), &ledger, &wanted),
                alerts: Vec::new(),
                // With the last of its runs a schedule ends.
                to: (left == Some(0)).then_some(Position { next: None, ..record.plan.position }),
            };
            if let Some(jobs) = self.fire_by_hand(fire, now).await? {
                for (run, job) in answer.runs.iter_mut().zip(jobs) {
                    run.job = Some(job);
                }
                return Ok(answer);
            }
        }
        Err(changing(id))
    }

    /// Rows that tell of any slot of the stretch.
    async fn ledger(
        &self,
        record: &ScheduleRecord,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Slot>> {
        let mut all = Vec::new();
        let mut before = Some(Timestamp::from_millis(to.as_millis().saturating_add(1)));
        loop {
            let limit = limits::PAGE_ROWS as u32;
            let request = SlotRequest { id: record.id().clone(), before, missed: false, limit };
            let page = self.store().slots(request).await.map_err(store_problem)?;
            let whole = page.len() < limit as usize;
            before = page.last().map(|row| row.slot);
            let reached = before.is_none_or(|before| before < from);
            all.extend(page.into_iter().filter(|row| row.last.unwrap_or(row.slot) >= from));
            // A range that began before it may reach into it: the next older row tells.
            if whole || reached {
                return Ok(all);
            }
        }
    }

    /// # Errors
    /// What the store refuses.
    pub async fn schedules(&self, caller: &Caller, query: &SchedulesQuery) -> Result<SchedulePage> {
        self.need_view(caller)?;
        let limit = rows(query.limit)?;
        let bad = |_| Problem::new(Code::BadRequest, "`cursor` is not the `next` of a page");
        let after = query.cursor.as_deref().map(str::parse).transpose().map_err(bad)?;
        let mut records = self.store().schedules(after, limit + 1).await.map_err(store_problem)?;
        let more = records.len() > limit as usize;
        records.truncate(limit as usize);
        let next = records.last().filter(|_| more).map(|record| record.id().to_string());
        let missed = self.missed().await?;
        let now = self.now();
        let schedules = records.into_iter().map(|record| view(record, &missed, now)).collect();
        Ok(SchedulePage { v: V, schedules, next })
    }

    /// # Errors
    /// [`Code::NotFound`], with the nearest id.
    pub async fn schedule(&self, caller: &Caller, id: &str) -> Result<ScheduleAnswer> {
        self.need_view(caller)?;
        self.answer(self.record(id).await?).await
    }

    async fn answer(&self, record: ScheduleRecord) -> Result<ScheduleAnswer> {
        let missed = self.missed().await?;
        Ok(ScheduleAnswer { v: V, schedule: view(record, &missed, self.now()) })
    }

    /// # Errors
    /// [`Code::NotFound`].
    pub async fn schedule_slots(
        &self,
        caller: &Caller,
        id: &str,
        query: &SlotsQuery,
    ) -> Result<SlotPage> {
        self.need_view(caller)?;
        let limit = rows(query.limit)?;
        let id = self.record(id).await?.id().clone();
        let request = SlotRequest {
            id: id.clone(),
            before: query.cursor,
            missed: query.missed.unwrap_or(false),
            limit: limit + 1,
        };
        let mut slots = self.store().slots(request).await.map_err(store_problem)?;
        let more = slots.len() > limit as usize;
        slots.truncate(limit as usize);
        let next = slots.last().filter(|_| more).map(|slot| slot.slot);
        Ok(SlotPage { v: V, id, slots, next })
    }

    pub(crate) async fn schedule_counts(&self) -> Result<(ScheduleCounts, Vec<String>)> {
        let missed = self.missed().await?;
        let now = self.now();
        let due = self.store().due_schedules(now, OVERDUE_MOST).await.map_err(store_problem)?;
        let overdue: Vec<String> = due
            .iter()
            .filter(|record| is_overdue(record, now))
            .map(|record| record.id().to_string())
            .collect();
        let mut attention = Vec::new();
        if let Some(first) = overdue.first() {
            let others = and_others(overdue.len());
            attention.push(format!("schedule {first}{others} is due and does not fire"));
        }
        let slots: u64 = missed.values().sum();
        if let Some((first, _)) = missed.iter().next() {
            let others = and_others(missed.len());
            let slots = if slots == 1 { "a run".to_owned() } else { format!("{slots} runs") };
            attention.push(format!("schedule {first}{others} missed {slots} in 24h"));
        }
        Ok((ScheduleCounts { missed: slots, overdue: overdue.len() as u64 }, attention))
    }

    async fn missed(&self) -> Result<BTreeMap<Name, u64>> {
        let since = self.now().saturating_sub(MISSED_SHOWN);
        let missed = self.store().missed_since(since).await.map_err(store_problem)?;
        Ok(missed.into_iter().collect())
    }

    async fn record(&self, id: &str) -> Result<ScheduleRecord> {
        if let Ok(name) = id.parse()
            && let Some(record) = self.store().schedule(&name).await.map_err(store_problem)?
        {
            return Ok(record);
        }
        Err(self.no_schedule(id).await)
    }

    /// One of which something is to be done.
    async fn readable(&self, id: &str) -> Result<ScheduleRecord> {
        let record = self.record(id).await?;
        let Some(why) = &record.unreadable else { return Ok(record) };
        let detail = format!("what is kept of the schedule `{id}` cannot be read");
        Err(Problem::new(Code::StateConflict, detail).cause(why.clone()).hint(format!(
            "`orx schedule rm {id}` removes it, and `orx schedule add` makes it anew; if a newer orx \
             wrote it, upgrade this one"
        )))
    }

    async fn no_schedule(&self, id: &str) -> Problem {
        let shown: String = id.chars().take(80).collect();
        let problem = Problem::new(Code::NotFound, format!("there is no schedule `{shown}`"));
        let known = self.store().schedules(None, NEAR_MOST).await.unwrap_or_default();
        match nearest(id, known.iter().map(|record| record.id().as_str())) {
            Some(near) => {
                problem.hint(format!("did you mean `{near}`?")).candidates([near.to_owned()])
            }
            None => problem.hint("`orx schedule list` lists them"),
        }
    }

    /// What runs commands needs the right to, whoever wrote them down.
    fn need_for(&self, caller: &Caller, record: &ScheduleRecord) -> Result<()> {
        match record.plan.spec.job.command {
            Some(_) => caller.need(Scope::Exec),
            None => Ok(()),
        }
    }

    /// A schedule that is right, and its jobs, checked as if they were enqueued now.
    fn checked(&self, caller: &Caller, spec: ScheduleSpec) -> Result<(Schedule, Templates)> {
        caller.need(Scope::Service)?;
        let wrong = |wrong: SpecProblems| Problem::new(Code::BadRequest, wrong.to_string());
        let spec = Schedule::checked(spec).map_err(wrong)?;
        let job = self.spec(caller, spec.job.clone())?;
        let alert = |name: &Option<Name>| {
            let name = name.clone()?;
            Some(self.spec(caller, EnqueueRequest { name: Some(name), ..Default::default() }))
        };
        let templates = Templates {
            job: JobSpec { expires_at: None, ..job },
            on_missed: alert(&spec.on_missed).transpose()?,
            on_failure: alert(&spec.on_failure).transpose()?,
        };
        Ok((spec, templates))
    }
}

/// After the first of them.
fn and_others(all: usize) -> String {
    if all > 1 { format!(" and {} others", all - 1) } else { String::new() }
}

fn changing(id: &str) -> Problem {
    let detail = format!("the schedule `{id}` is being changed by others, or fires all the time");
    Problem::new(Code::StateConflict, detail).hint("try again")
}

/// A schedule that would never be due is refused.
fn first_due(spec: &Schedule, now: Timestamp) -> Result<Due> {
    spec.timing().next_due(now).ok_or_else(|| {
        let when = spec.when_text();
        let problem = Problem::new(Code::BadRequest, format!("the schedule is never due: {when}"));
        match spec.timing().next_due(Timestamp::from_millis(0)) {
            Some(_) => problem.cause("all of its due times have passed"),
            None => problem,
        }
    })
}

fn runs_left(record: &ScheduleRecord, spec: &Schedule) -> bool {
    spec.max_runs.is_none_or(|most| record.runs < most)
}

/// Where a changed schedule goes on.
fn moved(record: &ScheduleRecord, spec: &Schedule, now: Timestamp) -> Result<Position> {
    let old = &record.plan.spec;
    let before = record.plan.position;
    let ended = before.next.is_none() && record.plan.paused.is_none();
    let same = old.timing == spec.timing && old.zone == spec.zone;
    // Due times that it did not have then are none that were missed.
    let handled = if same && !ended { before.handled } else { before.handled.max(now) };
    let left = runs_left(record, spec);
    let next = spec.timing().next_due(handled).filter(|_| left);
    if next.is_none() && !ended && left {
        first_due(spec, now)?;
    }
    let paused = record.plan.paused.is_some();
    Ok(Position { handled, next: next.filter(|_| !paused) })
}

/// The row for what came due while it was paused.
fn skipped(timing: &Timing, after: Timestamp, until: Timestamp) -> Option<Slot> {
    let first = timing.next_after(after).filter(|slot| *slot <= until)?;
    let (mut last, mut count, mut exact) = (first, 1, true);
    while let Some(slot) = timing.next_after(last).filter(|slot| *slot <= until) {
        if count >= Rule::COUNT_MAX {
            exact = false;
            last = until;
            break;
        }
        (last, count) = (slot, count + 1);
    }
    let paused = SlotOutcome::Skipped { reason: SkipReason::Paused };
    let last = (last != first).then_some(last);
    Some(Slot { last, count, exact, ..Slot::of(first, paused, until) })
}

fn slots_between(timing: &Timing, from: Timestamp, to: Timestamp) -> Result<Vec<Timestamp>> {
    let mut slots = Vec::new();
    let mut at = Timestamp::from_millis(from.as_millis().saturating_sub(1));
    while let Some(slot) = timing.next_after(at).filter(|slot| *slot <= to) {
        if slots.len() == BACKFILL_MOST {
            let detail = format!("a backfill takes at most {BACKFILL_MOST} due times");
            return Err(Problem::new(Code::TooMany, detail)
                .hint(format!("end this one at `{at}`, and begin the next after it")));
        }
        slots.push(slot);
        at = slot;
    }
    Ok(slots)
}

/// Runs that are left after so many more; `None` where they are without limit.
fn left_for(record: &ScheduleRecord, wanted: usize) -> Result<Option<u64>> {
    let Some(most) = record.plan.spec.max_runs else { return Ok(None) };
    let (left, wanted) = (most.saturating_sub(record.runs), wanted as u64);
    if wanted <= left {
        return Ok(Some(left - wanted));
    }
    let id = record.id();
    let detail = format!("this is {wanted} due times, and {left} of its {most} runs are left");
    Err(Problem::new(Code::StateConflict, detail).hint(format!(
        "take a smaller range, or allow more: `orx schedule set {id} --max-runs {}`",
        record.runs + wanted
    )))
}

fn backfill_runs(record: &ScheduleRecord, slots: &[Timestamp], now: Timestamp) -> Vec<Run> {
    let overlap = record.plan.spec.overlap == Overlap::Allow;
    let run = |(place, slot): (usize, &Timestamp)| {
        let late_ms = u64::try_from(now.saturating_since(*slot).as_millis()).unwrap_or(u64::MAX);
        Run {
            job: record.job_for(Some(*slot), now),
            after: match place {
                _ if overlap => RunAfter::Nothing,
                // Also where it has ended: what went on beside it may go on still.
                0 => RunAfter::Last { cancel: false },
                _ => RunAfter::Before,
            },
            row: Some(Slot::of(*slot, SlotOutcome::CaughtUp { job: JobId(0), late_ms }, now)),
            on_failure: record.plan.templates.on_failure.clone(),
        }
    };
    slots.iter().enumerate().map(run).collect()
}

/// Rows for what is left of ranges out of which slots run now: what is older than they, which stays
/// where the range stood, and what is newer.
fn rest_of_ranges(timing: &Timing, ledger: &[Slot], wanted: &[Timestamp]) -> Vec<Slot> {
    let mut rows = Vec::new();
    for range in ledger {
        let Some(last) = range.last else { continue };
        let from = wanted.partition_point(|slot| *slot < range.slot);
        let to = wanted.partition_point(|slot| *slot <= last);
        if let [first, ..] = wanted[from..to] {
            let newest = wanted[to - 1];
            rows.extend(split(timing, range, last, (first, newest), (to - from) as u64));
        }
    }
    rows
}

/// A range without the slots from `first` to `newest`, of which there are `taken`.
fn split(
    timing: &Timing,
    range: &Slot,
    last: Timestamp,
    (first, newest): (Timestamp, Timestamp),
    taken: u64,
) -> Vec<Slot> {
    let mut rows = Vec::new();
    let mut older = 0;
    if range.slot < first {
        let (mut end, mut exact) = (range.slot, true);
        older = 1;
        while let Some(slot) = timing.next_after(end).filter(|slot| *slot < first) {
            if older >= Rule::COUNT_MAX {
                (end, exact) = (Timestamp::from_millis(first.as_millis() - 1), false);
                break;
            }
            (end, older) = (slot, older + 1);
        }
        let last = (end != range.slot).then_some(end);
        rows.push(Slot { last, count: older, exact, ..*range });
    }
    if let Some(slot) = timing.next_after(newest).filter(|slot| *slot <= last) {
        let count = range.count.saturating_sub(older + taken).max(1);
        rows.push(Slot { slot, last: (slot != last).then_some(last), count, ..*range });
    }
    rows
}

fn is_overdue(record: &ScheduleRecord, now: Timestamp) -> bool {
    let tolerance = Duration::from_millis(record.plan.spec.tolerance_ms);
    let next = record.plan.position.next;
    next.is_some_and(|next| now.saturating_since(next.fire_at) > tolerance)
}

fn view(record: ScheduleRecord, missed: &BTreeMap<Name, u64>, now: Timestamp) -> ScheduleView {
    let overdue = is_overdue(&record, now);
    let ScheduleRecord { plan, version, created_at, updated_at, runs, last_run, unreadable } =
        record;
    let state = match (&plan.paused, plan.position.next) {
        (Some(_), _) => ScheduleState::Paused,
        (None, Some(_)) => ScheduleState::Active,
        (None, None) => ScheduleState::Ended,
    };
    let mut spec = ScheduleSpec::from(plan.spec);
    let edited = is_edited(&spec);
    let input = spec.job.command.as_ref().is_some_and(|command| command.stdin.is_some());
    mask_request(&mut spec.job);
    if let Some(command) = spec.job.command.as_mut().filter(|_| input) {
        // That there is one is no secret: who writes this down elsewhere knows what is lacking.
        command.stdin = Some(MASK.to_owned());
    }
    ScheduleView {
        missed: missed.get(&spec.id).copied().unwrap_or_default(),
        id: spec.id.clone(),
        unreadable,
        state,
        version,
        spec,
        next: plan.position.next,
        overdue,
        edited,
        runs,
        last_run: last_run.map(|run| RunView { job: run.job, status: run.status }),
        paused: plan.paused.map(|it| PauseView { at: it.at, reason: it.reason, by: it.by }),
        created_at,
        updated_at,
        by: plan.by,
    }
}

/// What a difference may show.
fn masked_field(mut change: FieldChange) -> FieldChange {
    let name = change.field.rsplit('.').next().unwrap_or_default();
    let secret = is_secret_key(name) || name.starts_with("stdin");
    for value in [&mut change.old, &mut change.new].into_iter().flatten() {
        if secret {
            *value = serde_json::Value::from(MASK);
        } else {
            mask_value(value);
        }
    }
    change
}

#[cfg(test)]
mod tests {
    use orx_schedule::{NamedZone, Pattern};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn range(first: i64, last: i64, count: u64) -> Slot {
        Slot {
            slot: at(first),
            last: Some(at(last)),
            count,
            exact: true,
            outcome: SlotOutcome::Missed,
            recorded_at: at(1_000_000),
        }
    }

    fn left(ledger: &[Slot], wanted: &[i64]) -> Vec<(i64, i64, u64)> {
        let timing =
            Timing::new(Pattern::Interval { every_ms: 10_000, offset_ms: 0 }, NamedZone::default());
        let wanted: Vec<Timestamp> = wanted.iter().map(|seconds| at(*seconds)).collect();
        let rows = rest_of_ranges(&timing, ledger, &wanted);
        let seconds = |at: Timestamp| at.as_millis() / 1_000;
        rows.iter()
            .map(|row| (seconds(row.slot), seconds(row.last.unwrap_or(row.slot)), row.count))
            .collect()
    }

    #[test]
    fn what_runs_out_of_a_range_leaves_each_other_slot_in_one_row() {
        let ten = [range(100, 190, 10)];
        assert_eq!(left(&ten, &[]), []);
        assert_eq!(left(&ten, &[80, 90]), []);
        assert_eq!(left(&ten, &[90, 100, 110]), [(120, 190, 8)]);
        assert_eq!(left(&ten, &[130]), [(100, 120, 3), (140, 190, 6)]);
        assert_eq!(left(&ten, &[110, 120, 130]), [(100, 100, 1), (140, 190, 6)]);
        assert_eq!(left(&ten, &[180, 190, 200]), [(100, 170, 8)]);
        let all: Vec<i64> = (100..200).step_by(10).collect();
        assert_eq!(left(&ten, &all), []);
        let two = [range(200, 290, 10), range(100, 190, 10)];
        assert_eq!(left(&two, &[180, 190, 200]), [(210, 290, 9), (100, 170, 8)]);
    }

    #[test]
    fn the_older_part_of_a_range_is_counted_up_to_a_bound() {
        let first = i64::try_from(Rule::COUNT_MAX).expect("a number") * 20 + 100;
        let long = [Slot { exact: false, ..range(100, first + 1_000, Rule::COUNT_MAX) }];
        assert_eq!(
            left(&long, &[first]),
            [(100, first - 1, Rule::COUNT_MAX), (first + 10, first + 1_000, 1)]
        );
    }
}
