//! Decides what a due schedule does, and which alert follows the end of a run. No I/O.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orx_model::job::Json;
use orx_model::schedule::{Due, Slot, SlotOutcome};
use orx_model::{JobId, JobSpec, JobStatus, Timestamp};
use orx_schedule::overlap::{Decision, PreviousRuns, decide_all};
use orx_schedule::{CatchUpPlan, MissedRange, Timing, missed};
use orx_store::{
    Firing, FollowUp, Position, Release, Rewind, Run, RunAfter, RunAlert, ScheduleRecord,
};
use serde::Serialize;

/// Decides what a schedule does now: which slots run, which the ledger records as skipped or missed, and
/// when the schedule fires next. Empty if the schedule is not due.
///
/// `ran`: the slots up to [`horizon`] that already made a job, by the
/// ledger. The clock shows them again after it was set back, and none of them runs twice.
#[must_use]
pub fn decide(record: &ScheduleRecord, ran: &BTreeSet<Timestamp>, now: Timestamp) -> Firing {
    let (plan, position) = (&record.plan, record.plan.position);
    let spec = &plan.spec;
    let timing = spec.timing();
    let mut due = missed(timing, position.handled, now, spec.rule());
    let newest = due.fire.last().map(|firing| firing.slot);
    let newest = newest.max(due.missed.last().copied()).max(due.range.map(|range| range.last));
    remove_ran(&mut due, timing, ran);
    let row = |slot: Timestamp, outcome: SlotOutcome| Slot::of(slot, outcome, now);
    let (mut runs, mut rows) = (Vec::new(), Vec::new());
    if let Some(range) = &due.range {
        let last = (range.last != range.first).then_some(range.last);
        let missed = row(range.first, SlotOutcome::Missed);
        rows.push(Slot { last, count: range.count, exact: range.exact, ..missed });
    }
    rows.extend(due.missed.iter().map(|slot| row(*slot, SlotOutcome::Missed)));

    let left = spec.max_runs.map(|most| most.saturating_sub(record.runs));
    let decided = decide_all(spec.overlap, &due.fire, before(record), left);
    let tolerance = u128::from(spec.tolerance_ms);
    let mut late = rows.clone();
    for (firing, decision) in &decided.slots {
        let after = match decision {
            Decision::Skip(reason) => {
                let outcome = SlotOutcome::Skipped { reason: *reason };
                rows.push(row(firing.slot, outcome));
                continue;
            }
            Decision::Run => RunAfter::Nothing,
            Decision::Wait if runs.is_empty() => RunAfter::Last { cancel: false },
            // Waits until the cancelled run has ended, so that the two never run at the same time.
            Decision::CancelThenRun if runs.is_empty() => RunAfter::Last { cancel: true },
            Decision::Wait | Decision::CancelThenRun => RunAfter::Before,
        };
        let late_by = now.saturating_since(firing.fire_at);
        let (job, late_ms) = (JobId(0), u64::try_from(late_by.as_millis()).unwrap_or(u64::MAX));
        let outcome = match firing.caught_up {
            true => SlotOutcome::CaughtUp { job, late_ms },
            false => SlotOutcome::Ran { job, late_ms },
        };
        if late_by.as_millis() > tolerance {
            late.push(row(firing.slot, outcome));
        }
        runs.push(Run {
            job: record.job_for(Some(firing.slot), now),
            after,
            row: Some(row(firing.slot, outcome)),
            on_failure: plan.templates.on_failure.clone(),
        });
    }
    let newest = newest.max(due.fire.last().map(|firing| firing.slot));
    let to = Position {
        handled: newest.map_or(position.handled, |newest| newest.max(position.handled)),
        next: due.next.filter(|_| !decided.ended),
    };
    let alert = plan.templates.on_missed.as_ref().filter(|_| !late.is_empty());
    let alerts = alert.map(|alert| missed_alert(alert, record, &late));
    Firing {
        expected: record.expected(),
        runs,
        rows,
        alerts: alerts.into_iter().collect(),
        to: Some(to),
    }
}

/// Removes the slots that ran. A schedule with [`Timing::repeats`] runs again when the clock shows a time
/// again: at a new slot, the first unused millisecond after the slot that ran.
fn remove_ran(due: &mut CatchUpPlan, timing: &Timing, ran: &BTreeSet<Timestamp>) {
    if ran.is_empty() {
        return;
    }
    due.missed.retain(|slot| !ran.contains(slot));
    due.fire
        .retain(|firing| !ran.contains(&firing.slot) || (timing.repeats() && !firing.caught_up));
    for firing in &mut due.fire {
        let slot = unused(firing.slot, ran);
        firing.fire_at = shifted(firing.fire_at, firing.slot, slot);
        firing.slot = slot;
    }
    due.range = due.range.and_then(|range| {
        let is_own = |slot: &&Timestamp| timing.next_after(just_before(**slot)) == Some(**slot);
        let ran_of_it = ran.range(range.first..=range.last).filter(is_own).count() as u64;
        let mut first = Some(range.first);
        while let Some(slot) = first.filter(|slot| ran.contains(slot)) {
            first = timing.next_after(slot);
        }
        let first = first.filter(|first| *first <= range.last)?;
        let count = range.count.saturating_sub(ran_of_it).max(1);
        Some(MissedRange { first, count, ..range })
    });
    due.next = next_unused(timing, due.next, ran);
}

/// The first due time from `next` on that did not run.
fn next_unused(timing: &Timing, next: Option<Due>, ran: &BTreeSet<Timestamp>) -> Option<Due> {
    let mut next = next;
    while let Some(due) = next.filter(|due| ran.contains(&due.slot)) {
        if timing.repeats() {
            let slot = unused(due.slot, ran);
            return Some(Due { slot, fire_at: shifted(due.fire_at, due.slot, slot) });
        }
        next = timing.next_due(due.slot);
    }
    next
}

/// The first millisecond from `slot` on at which no slot ran.
fn unused(slot: Timestamp, ran: &BTreeSet<Timestamp>) -> Timestamp {
    let mut at = slot;
    while ran.contains(&at) {
        at = at.saturating_add(Duration::from_millis(1));
    }
    at
}

/// `fire_at`, as much later as `to` is after `from`.
fn shifted(fire_at: Timestamp, from: Timestamp, to: Timestamp) -> Timestamp {
    fire_at.saturating_add(to.saturating_since(from))
}

/// The last slot that [`decide`] has to know of as `ran`.
#[must_use]
pub fn horizon(record: &ScheduleRecord, now: Timestamp) -> Timestamp {
    let timing = record.plan.spec.timing();
    let next = timing.next_after(now.max(record.plan.position.handled));
    match next {
        // A repeated slot uses a millisecond of the second that follows its due time.
        Some(slot) if timing.repeats() => slot.saturating_add(Duration::from_millis(999)),
        _ => Timestamp::from_millis(i64::MAX - 1),
    }
}

/// Whether the next slot is the repetition of one that ran: it is not a due time of the schedule.
#[must_use]
pub(crate) fn is_again(record: &ScheduleRecord) -> bool {
    let Some(next) = record.plan.position.next else { return false };
    record.plan.spec.timing().next_after(just_before(next.slot)) != Some(next.slot)
}

fn just_before(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_sub(1))
}

/// Whether a slot was missed or is caught up. After the clock was set back, such a slot may have run before.
#[must_use]
pub(crate) fn is_late(fire: &Firing) -> bool {
    let runs = fire.runs.iter().filter_map(|run| run.row.as_ref());
    let late =
        |row: &Slot| matches!(row.outcome, SlotOutcome::Missed | SlotOutcome::CaughtUp { .. });
    fire.rows.iter().chain(runs).any(late)
}

/// Sets a schedule whose position is after the clock back to `now`. Its next due time is the first one from
/// now on that did not run. The ledger gets a row for the jump of `by_ms` milliseconds.
#[must_use]
pub(crate) fn rewind(
    record: &ScheduleRecord,
    ran: &BTreeSet<Timestamp>,
    by_ms: i64,
    now: Timestamp,
) -> Rewind {
    let (plan, spec) = (&record.plan, &record.plan.spec);
    let timing = spec.timing();
    let left = spec.max_runs.is_none_or(|most| record.runs < most);
    let next = next_unused(timing, timing.next_due(now), ran);
    let next = next.filter(|_| plan.paused.is_none() && left);
    Rewind {
        expected: record.expected(),
        row: clock_set(record, by_ms, now),
        to: Position { handled: now, next },
    }
}

/// The ledger row for a jump of `by_ms` milliseconds, at a time that is no due time of the schedule.
#[must_use]
pub(crate) fn clock_set(record: &ScheduleRecord, by_ms: i64, now: Timestamp) -> Slot {
    let timing = record.plan.spec.timing();
    let mut at = now;
    while timing.next_after(just_before(at)) == Some(at) {
        at = at.saturating_add(Duration::from_millis(1));
    }
    Slot::of(at, SlotOutcome::ClockSet { by_ms }, now)
}

/// The state of the schedule's previous run.
fn before(record: &ScheduleRecord) -> PreviousRuns {
    match record.last_run {
        Some(run) if run.has_ended() => PreviousRuns::Ended,
        Some(run) if run.status == Some(JobStatus::Created) => PreviousRuns::Waiting,
        // It goes on, or an earlier run does that it depends on.
        Some(_) => PreviousRuns::Running,
        None => PreviousRuns::Ended,
    }
}

/// Whether the last run has ended, but depends on an earlier run. That run may have ended too: the store
/// knows once its end has been followed up.
#[must_use]
pub(crate) fn may_have_ended(record: &ScheduleRecord) -> bool {
    record.last_run.is_some_and(|run| run.depends && run.status.is_none_or(JobStatus::is_final))
}

/// The release of the jobs that wait for a job that ended, with its alert if it failed.
#[must_use]
pub(crate) fn release(ended: &FollowUp) -> Release {
    let failed = matches!(ended.status, JobStatus::Failed | JobStatus::TimedOut);
    let alert = ended.alert.as_ref().filter(|_| failed);
    Release { job: ended.job, alert: alert.map(|alert| failure_alert(alert, ended.status)) }
}

/// The arguments of an `--on-missed` job.
#[derive(Serialize)]
struct MissedArgs<'a> {
    schedule: &'a str,
    /// Number of missed or late slots.
    slots: u64,
    /// The oldest and the newest of them.
    first: Timestamp,
    last: Timestamp,
}

fn missed_alert(alert: &JobSpec, record: &ScheduleRecord, late: &[Slot]) -> JobSpec {
    let first = late.iter().map(|slot| slot.slot).min().unwrap_or_default();
    let last = late.iter().map(|slot| slot.last.unwrap_or(slot.slot)).max().unwrap_or_default();
    let slots = late.iter().map(|slot| slot.count).sum();
    let args = MissedArgs { schedule: record.id().as_str(), slots, first, last };
    with_args(alert, &args)
}

/// The arguments of an `--on-failure` job.
#[derive(Serialize)]
struct FailureArgs<'a> {
    schedule: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<Timestamp>,
    job: JobId,
    status: JobStatus,
}

fn failure_alert(alert: &RunAlert, status: JobStatus) -> JobSpec {
    let RunAlert { job, schedule, slot, on_failure } = alert;
    let schedule = schedule.as_str();
    with_args(on_failure, &FailureArgs { schedule, slot: *slot, job: *job, status })
}

fn with_args(alert: &JobSpec, args: &impl Serialize) -> JobSpec {
    // Names, numbers and times always serialize to JSON.
    let args = serde_json::value::to_raw_value(args).map(Json::from);
    JobSpec { args: args.unwrap_or_else(|_| Arc::clone(&alert.args)), ..alert.clone() }
}
