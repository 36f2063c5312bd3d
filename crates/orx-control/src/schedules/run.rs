//! Runs of schedules that a person asks for: trigger and backfill.

use std::collections::BTreeSet;

use orx_model::event::{Event, JobRef, KnownEvent, ScheduleEvent};
use orx_model::schedule::wire::{
    BackfillAnswer, BackfillRequest, Backfilled, ScheduleOrder, TriggerAnswer,
};
use orx_model::schedule::{Overlap, Slot, SlotOutcome};
use orx_model::wire::{AuditAction, V};
use orx_model::{Code, JobId, Name, Problem, Timestamp, limits};
use orx_schedule::Timing;
use orx_store::{Firing, Position, Run, RunAfter, ScheduleRecord, SlotRequest};

use super::ranges::rest_of_ranges;
use super::{TRIES, changing};
use crate::accept::no_answer;
use crate::{Caller, ControlPanel, Result, Scope, store_problem};

/// Most slots of one backfill.
const BACKFILL_MAX: usize = 1_000;

impl ControlPanel {
    /// Runs the schedule now, in addition to its due times, even beside another run.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::NotAllowed`], [`Code::StateConflict`], and errors of the store.
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
            if let Some(jobs) = self.fire_manually(record.manual(by, now), now).await? {
                let job = jobs.first().copied().ok_or_else(no_answer)?;
                let action = AuditAction::TriggerSchedule;
                let (by, reason) = (order.by.as_deref(), order.reason.as_deref());
                self.record_schedule(caller, action, record.id(), by, reason).await;
                return Ok(TriggerAnswer { v: V, id: record.id().clone(), job });
            }
        }
        Err(changing(id))
    }

    async fn fire_manually(&self, fire: Firing, now: Timestamp) -> Result<Option<Vec<JobId>>> {
        let schedule = fire.expected.id.clone();
        let runs: Vec<(Name, Name)> =
            fire.runs.iter().map(|run| (run.job.name.clone(), run.job.queue.clone())).collect();
        let fired = self.store().fire(vec![fire], None, now).await.map_err(store_problem)?;
        let jobs = fired.into_iter().next().flatten().map(|fired| fired.runs);
        if let Some(jobs) = &jobs {
            self.inner.wakeups.work();
            // The leader may have to follow the new runs.
            self.inner.wakeups.due(now);
            let accepted = |(id, (name, queue)): (&JobId, (Name, Name))| {
                let job = JobRef { id: *id, name: Some(name), queue: Some(queue) };
                Event::new(now, KnownEvent::JobAccepted { job, to: None })
            };
            self.feed().publish(jobs.iter().zip(runs).map(accepted).collect());
            self.publish_schedule(&schedule, ScheduleEvent::Fired, now);
        }
        Ok(jobs)
    }

    /// Runs the slots of a time range that made no job: one after the other, unless runs of the schedule
    /// may overlap.
    ///
    /// # Errors
    /// [`Code::TooMany`] for more slots than one backfill may have; [`Code::StateConflict`] for more than
    /// the runs that are left; [`Code::BadRequest`] if the range is empty or in the future;
    /// [`Code::NotFound`], [`Code::NotAllowed`], and errors of the store.
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
                    .hint("a backfill runs past slots: `--from` before `--to`, and before now"));
            }
            // The leader decides about later slots.
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
                expected: record.expected(),
                runs: backfill_runs(&record, &wanted, now),
                rows: rest_of_ranges(record.plan.spec.timing(), &ledger, &wanted),
                alerts: Vec::new(),
                // The last of its runs ends a schedule.
                to: (left == Some(0)).then_some(Position { next: None, ..record.plan.position }),
            };
            if let Some(jobs) = self.fire_manually(fire, now).await? {
                for (run, job) in answer.runs.iter_mut().zip(jobs) {
                    run.job = Some(job);
                }
                let action = AuditAction::BackfillSchedule;
                self.record_schedule(caller, action, record.id(), None, None).await;
                return Ok(answer);
            }
        }
        Err(changing(id))
    }

    /// The rows of the ledger that cover any slot of the range.
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
            // The next older row may be a range that reaches into this one.
            if whole || reached {
                return Ok(all);
            }
        }
    }

    /// A schedule with a command needs the scope `exec`, whoever added it.
    fn need_for(&self, caller: &Caller, record: &ScheduleRecord) -> Result<()> {
        match record.plan.spec.job.command {
            Some(_) => caller.need(Scope::Exec),
            None => Ok(()),
        }
    }
}

fn slots_between(timing: &Timing, from: Timestamp, to: Timestamp) -> Result<Vec<Timestamp>> {
    let mut slots = Vec::new();
    let mut at = Timestamp::from_millis(from.as_millis().saturating_sub(1));
    while let Some(slot) = timing.next_after(at).filter(|slot| *slot <= to) {
        if slots.len() == BACKFILL_MAX {
            let detail = format!("a backfill runs at most {BACKFILL_MAX} due times");
            return Err(Problem::new(Code::TooMany, detail)
                .hint(format!("end this one at `{at}`, and begin the next after it")));
        }
        slots.push(slot);
        at = slot;
    }
    Ok(slots)
}

/// How many runs are left after `wanted` more; `None` without a limit.
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
    let run = |(index, slot): (usize, &Timestamp)| {
        let late_ms = u64::try_from(now.saturating_since(*slot).as_millis()).unwrap_or(u64::MAX);
        Run {
            job: record.job_for(Some(*slot), now),
            after: match index {
                _ if overlap => RunAfter::Nothing,
                // Even if the last run has ended: a run beside it may go on.
                0 => RunAfter::Last { cancel: false },
                _ => RunAfter::Before,
            },
            row: Some(Slot::of(*slot, SlotOutcome::CaughtUp { job: JobId(0), late_ms }, now)),
            on_failure: record.plan.templates.on_failure.clone(),
        }
    };
    slots.iter().enumerate().map(run).collect()
}
