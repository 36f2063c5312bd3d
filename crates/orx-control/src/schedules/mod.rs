//! Schedules: reads here, changes in `change`, runs by hand in `run`.

mod change;
mod ranges;
mod run;

use std::collections::BTreeMap;
use std::time::Duration;

use orx_model::event::{Event, KnownEvent, ScheduleEvent};
use orx_model::mask::MASK;
use orx_model::schedule::ScheduleSpec;
use orx_model::schedule::wire::{
    PauseView, RunView, ScheduleAnswer, ScheduleCounts, SchedulePage, ScheduleState, ScheduleView,
    SchedulesQuery, SlotPage, SlotsQuery,
};
use orx_model::text::nearest;
use orx_model::wire::{Attention, AttentionKind, AuditAction, V};
use orx_model::{Code, Name, Problem, Timestamp};
use orx_schedule::is_edited;
use orx_store::{ScheduleRecord, SlotRequest};

use crate::audit::MadeChange;
use crate::view::{mask_request, rows};
use crate::{Caller, ControlPanel, Result, store_problem};

/// How often a change is decided again that finds the schedule changed since it was read.
const TRIES: usize = 8;
/// For this long missed slots are shown.
const MISSED_SHOWN: Duration = Duration::from_secs(24 * 60 * 60);
/// Most overdue schedules that the status of the cluster counts.
const OVERDUE_MAX: u32 = 1_000;
/// Most ids searched for one that is near to an unknown id.
const NEAR_MAX: u32 = 10_000;

impl ControlPanel {
    fn publish_schedule(&self, id: &Name, change: ScheduleEvent, now: Timestamp) {
        let schedule = id.clone();
        let changed = KnownEvent::ScheduleChanged { schedule, change };
        self.feed().publish(vec![Event::new(now, changed)]);
    }

    async fn record_schedule(
        &self,
        caller: &Caller,
        action: AuditAction,
        id: &Name,
        by: Option<&str>,
        reason: Option<&str>,
    ) {
        let object = id.to_string();
        self.record_change(caller, MadeChange { action, object, changed: 1, by, reason }).await;
    }

    /// A page of schedules, by id.
    ///
    /// # Errors
    /// [`Code::BadRequest`], [`Code::NotAllowed`], and errors of the store.
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

    /// One schedule.
    ///
    /// # Errors
    /// [`Code::NotFound`], with the nearest id; [`Code::NotAllowed`], and errors of the store.
    pub async fn schedule(&self, caller: &Caller, id: &str) -> Result<ScheduleAnswer> {
        self.need_view(caller)?;
        self.answer(self.record(id).await?).await
    }

    /// One schedule, if it exists.
    pub(crate) async fn schedule_view(&self, id: &Name) -> Result<Option<ScheduleView>> {
        let Some(record) = self.store().schedule(id).await.map_err(store_problem)? else {
            return Ok(None);
        };
        Ok(Some(view(record, &self.missed().await?, self.now())))
    }

    async fn answer(&self, record: ScheduleRecord) -> Result<ScheduleAnswer> {
        let missed = self.missed().await?;
        Ok(ScheduleAnswer { v: V, schedule: view(record, &missed, self.now()) })
    }

    /// A page of a schedule's ledger: what became of its slots, newest first.
    ///
    /// # Errors
    /// As [`Self::schedule`].
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

    /// The counts of missed slots and overdue schedules, and what needs attention.
    pub(crate) async fn schedule_attention(&self) -> Result<(ScheduleCounts, Vec<Attention>)> {
        let missed = self.missed().await?;
        let now = self.now();
        let due = self.store().due_schedules(now, OVERDUE_MAX).await.map_err(store_problem)?;
        let overdue: Vec<String> = due
            .iter()
            .filter(|record| is_overdue(record, now))
            .map(|record| record.id().to_string())
            .collect();
        let mut attention = Vec::new();
        if let Some(first) = overdue.first() {
            let others = and_others(overdue.len());
            let text = format!("schedule {first}{others} is overdue: it has not fired");
            let (kind, object) = (AttentionKind::ScheduleOverdue, Some(first.clone()));
            attention.push(Attention { kind, object, text });
        }
        let slots: u64 = missed.values().sum();
        if let Some((first, _)) = missed.iter().next() {
            let others = and_others(missed.len());
            let slots = if slots == 1 { "a run".to_owned() } else { format!("{slots} runs") };
            let text = format!("schedule {first}{others} missed {slots} in 24h");
            let (kind, object) = (AttentionKind::SlotsMissed, Some(first.to_string()));
            attention.push(Attention { kind, object, text });
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

    /// Like [`Self::record`], for an operation that needs the whole schedule.
    async fn readable(&self, id: &str) -> Result<ScheduleRecord> {
        let record = self.record(id).await?;
        let Some(why) = &record.unreadable else { return Ok(record) };
        let detail = format!("the stored schedule `{id}` cannot be read");
        Err(Problem::new(Code::StateConflict, detail).cause(why.clone()).hint(format!(
            "`orx schedule rm {id}` removes it, and `orx schedule add` adds it again; if a newer orx \
             wrote it, upgrade this one"
        )))
    }

    async fn no_schedule(&self, id: &str) -> Problem {
        let shown: String = id.chars().take(80).collect();
        let problem = Problem::new(Code::NotFound, format!("there is no schedule `{shown}`"));
        let known = self.store().schedules(None, NEAR_MAX).await.unwrap_or_default();
        match nearest(id, known.iter().map(|record| record.id().as_str())) {
            Some(near) => {
                problem.hint(format!("did you mean `{near}`?")).candidates([near.to_owned()])
            }
            None => problem.hint("`orx schedule list` lists them"),
        }
    }
}

/// Continues a text that names the first of `all`.
fn and_others(all: usize) -> String {
    if all > 1 { format!(" and {} others", all - 1) } else { String::new() }
}

fn changing(id: &str) -> Problem {
    let detail = format!("the schedule `{id}` changed or fired during each try to change it");
    Problem::new(Code::StateConflict, detail).hint("try again")
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
        // Shows that there is an input: a person who copies the schedule then knows what is missing.
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
