//! Changes of schedules: add, put, set, remove, pause and resume.

use orx_model::event::ScheduleEvent;
use orx_model::mask::{MASK, is_secret_key, mask_value};
use orx_model::schedule::wire::{
    PutScheduleRequest, ScheduleAnswer, ScheduleChangeAnswer, ScheduleChanged, ScheduleOrder,
    SetScheduleRequest,
};
use orx_model::schedule::{Due, FieldChange, ScheduleSpec, SkipReason, Slot, SlotOutcome};
use orx_model::wire::{AuditAction, EnqueueRequest, V};
use orx_model::{Code, JobSpec, Name, Problem, Timestamp, limits};
use orx_schedule::{CatchUpRule, Schedule, SpecProblem, SpecProblems, Timing, diff};
use orx_store::{Paused, Position, SchedulePlan, ScheduleRecord, ScheduleUpdate, Templates};

use super::{TRIES, changing};
use crate::{Caller, ControlPanel, Result, Scope, store_problem};

impl ControlPanel {
    /// Adds a schedule.
    ///
    /// # Errors
    /// [`Code::StateConflict`] if the id is in use; [`Code::BadRequest`] and other errors of its job;
    /// [`Code::NotAllowed`], and errors of the store.
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
        let detail = format!("the schedule `{id}` exists already");
        Err(Problem::new(Code::StateConflict, detail)
            .hint(format!("`orx schedule set {id}` changes it, `orx schedule show {id}` shows it")))
    }

    /// Adds a schedule unless it exists. Returns whether it was added.
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
        let person = by.clone();
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
            self.publish_schedule(&id, ScheduleEvent::Added, now);
            let action = AuditAction::AddSchedule;
            self.record_schedule(caller, action, &id, person.as_deref(), None).await;
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

    /// Replaces a schedule, or adds it if there is none.
    ///
    /// # Errors
    /// As [`Self::add_schedule`]; [`Code::StateConflict`] if the schedule has another version than the
    /// request names, or [`Code::NotFound`] if it names one and there is none.
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

    /// Changes some fields of a schedule.
    ///
    /// # Errors
    /// As [`Self::put_schedule`]; [`Code::NotFound`] if there is none.
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
                change.apply(spec).map_err(wrong)
            };
            let by = by.as_deref();
            if let Some(answer) = self.change(caller, &record, to, version, by, dry_run).await? {
                return Ok(answer);
            }
        }
        Err(changing(id))
    }

    /// `None` if the schedule changed since it was read.
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
            ScheduleUpdate::Applied { version } => answer.version = version,
            ScheduleUpdate::Stale => return Ok(None),
            ScheduleUpdate::Missing => return Err(self.no_schedule(id.as_str()).await),
        }
        if let Some(next) = next {
            self.inner.wakeups.due(next.fire_at);
        }
        self.publish_schedule(&id, ScheduleEvent::Changed, now);
        self.record_schedule(caller, AuditAction::ChangeSchedule, &id, by, None).await;
        Ok(Some(answer))
    }

    /// Removes a schedule and its ledger. Its jobs stay.
    ///
    /// # Errors
    /// [`Code::NotFound`]; [`Code::StateConflict`] if it has another version; [`Code::NotAllowed`], and
    /// errors of the store.
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
            ScheduleUpdate::Applied { version } => {
                self.publish_schedule(&name, ScheduleEvent::Removed, self.now());
                let action = AuditAction::RemoveSchedule;
                self.record_schedule(caller, action, &name, None, None).await;
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
            ScheduleUpdate::Stale => {
                let detail = format!("the schedule `{id}` is at another version");
                Err(Problem::new(Code::StateConflict, detail)
                    .hint(format!("look at it again: `orx schedule show {id}`")))
            }
            ScheduleUpdate::Missing => Err(self.no_schedule(id).await),
        }
    }

    /// Pauses a schedule. A paused one stays unchanged, with its reason.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::TooLarge`], [`Code::NotAllowed`], and errors of the store.
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
        self.change_state(caller, &order, id, |record, now| {
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

    /// Resumes a paused schedule. Slots that were due meanwhile are recorded as skipped.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::NotAllowed`], and errors of the store.
    pub async fn resume_schedule(
        &self,
        caller: &Caller,
        id: &str,
        order: ScheduleOrder,
    ) -> Result<ScheduleAnswer> {
        caller.need(Scope::Admin)?;
        self.change_state(caller, &order, id, |record, now| {
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

    /// Pauses or resumes: `to` returns the new plan, with a row for the ledger, or `None` for no change.
    async fn change_state(
        &self,
        caller: &Caller,
        order: &ScheduleOrder,
        id: &str,
        to: impl Fn(&ScheduleRecord, Timestamp) -> Option<(SchedulePlan, Option<Slot>)>,
    ) -> Result<ScheduleAnswer> {
        for _ in 0..TRIES {
            let record = self.readable(id).await?;
            let now = self.now();
            let Some((plan, row)) = to(&record, now) else { return self.answer(record).await };
            let (next, handled) = (plan.position.next, record.plan.position.handled);
            let (change, action) = match plan.paused {
                Some(_) => (ScheduleEvent::Paused, AuditAction::PauseSchedule),
                None => (ScheduleEvent::Resumed, AuditAction::ResumeSchedule),
            };
            let changed = self.store().change_schedule(record.version, handled, plan, row, now);
            match changed.await.map_err(store_problem)? {
                ScheduleUpdate::Applied { .. } => {
                    if let Some(next) = next {
                        self.inner.wakeups.due(next.fire_at);
                    }
                    self.publish_schedule(record.id(), change, now);
                    let (by, reason) = (order.by.as_deref(), order.reason.as_deref());
                    self.record_schedule(caller, action, record.id(), by, reason).await;
                    return self.answer(self.record(id).await?).await;
                }
                ScheduleUpdate::Stale => {}
                ScheduleUpdate::Missing => return Err(self.no_schedule(id).await),
            }
        }
        Err(changing(id))
    }

    /// The valid schedule and the jobs that it makes, which are validated as if they were enqueued now.
    fn checked(&self, caller: &Caller, spec: ScheduleSpec) -> Result<(Schedule, Templates)> {
        caller.need(Scope::Service)?;
        let wrong = |wrong: SpecProblems| Problem::new(Code::BadRequest, wrong.to_string());
        let spec = Schedule::checked(spec).map_err(wrong)?;
        let job = self.job_from_request(caller, spec.job.clone(), self.now())?.spec;
        let alert = |name: &Option<Name>| {
            let name = name.clone()?;
            let request = EnqueueRequest { name: Some(name), ..Default::default() };
            Some(self.job_from_request(caller, request, self.now()).map(|job| job.spec))
        };
        let templates = Templates {
            job: JobSpec { expires_at: None, ..job },
            on_missed: alert(&spec.on_missed).transpose()?,
            on_failure: alert(&spec.on_failure).transpose()?,
        };
        Ok((spec, templates))
    }
}

/// Fails if the schedule is never due after `now`.
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

/// The position of a changed schedule.
fn moved(record: &ScheduleRecord, spec: &Schedule, now: Timestamp) -> Result<Position> {
    let old = &record.plan.spec;
    let before = record.plan.position;
    let ended = before.next.is_none() && record.plan.paused.is_none();
    let same = old.timing == spec.timing && old.zone == spec.zone;
    // Past due times of a new timing were not missed.
    let handled = if same && !ended { before.handled } else { before.handled.max(now) };
    let left = runs_left(record, spec);
    let next = spec.timing().next_due(handled).filter(|_| left);
    if next.is_none() && !ended && left {
        first_due(spec, now)?;
    }
    let paused = record.plan.paused.is_some();
    Ok(Position { handled, next: next.filter(|_| !paused) })
}

/// The row for the slots that were due while the schedule was paused.
fn skipped(timing: &Timing, after: Timestamp, until: Timestamp) -> Option<Slot> {
    let first = timing.next_after(after).filter(|slot| *slot <= until)?;
    let (mut last, mut count, mut exact) = (first, 1, true);
    while let Some(slot) = timing.next_after(last).filter(|slot| *slot <= until) {
        if count >= CatchUpRule::COUNT_MAX {
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

/// A changed field with secrets masked.
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
