//! What a schedule does when it is due, and what becomes of runs that wait or are watched. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use orx_model::job::Json;
use orx_model::schedule::{Due, Slot, SlotOutcome};
use orx_model::{JobId, JobSpec, JobStatus, Timestamp};
use orx_schedule::overlap::{Before, Decision, decide_all};
use orx_schedule::{MissedRange, Plan, Timing, missed};
use orx_store::{
    DependencyStep, Firing, Position, Rewind, Run, RunAfter, RunDependency, ScheduleRecord,
};
use serde::Serialize;

/// Everything that is to be done now for a schedule as it was read: which slots run, which are
/// skipped or missed, and what comes next. Nothing where it is not due. `held` is of [`held`].
///
/// No slot runs that made a job before, by the ledger: `ran`, of those up to [`horizon`]. Where the
/// clock went back, they come again.
#[must_use]
pub fn decide(
    record: &ScheduleRecord,
    held: &BTreeSet<JobId>,
    ran: &BTreeSet<Timestamp>,
    now: Timestamp,
) -> Firing {
    let (plan, position) = (&record.plan, record.plan.position);
    let spec = &plan.spec;
    let timing = spec.timing();
    let mut due = missed(timing, position.handled, now, spec.rule());
    let newest = due.fire.last().map(|firing| firing.slot);
    let newest = newest.max(due.missed.last().copied()).max(due.range.map(|range| range.last));
    pass_over(&mut due, timing, ran);
    let row = |slot: Timestamp, outcome: SlotOutcome| Slot::of(slot, outcome, now);
    let (mut runs, mut rows) = (Vec::new(), Vec::new());
    if let Some(range) = &due.range {
        let last = (range.last != range.first).then_some(range.last);
        let missed = row(range.first, SlotOutcome::Missed);
        rows.push(Slot { last, count: range.count, exact: range.exact, ..missed });
    }
    rows.extend(due.missed.iter().map(|slot| row(*slot, SlotOutcome::Missed)));

    let left = spec.max_runs.map(|most| most.saturating_sub(record.runs));
    let decided = decide_all(spec.overlap, &due.fire, before(record, held), left);
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
            // It waits for the end of what is cancelled: so the two never run side by side.
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
    Firing { basis: record.basis(), runs, rows, alerts: alerts.into_iter().collect(), to: Some(to) }
}

/// Leaves out what ran before. What is due every so often runs again while the clock shows those times
/// again, as a slot of its own beside the one that ran.
fn pass_over(due: &mut Plan, timing: &Timing, ran: &BTreeSet<Timestamp>) {
    if ran.is_empty() {
        return;
    }
    due.missed.retain(|slot| !ran.contains(slot));
    due.fire
        .retain(|firing| !ran.contains(&firing.slot) || (timing.repeats() && !firing.caught_up));
    for firing in &mut due.fire {
        let slot = free(firing.slot, ran);
        firing.fire_at = later(firing.fire_at, firing.slot, slot);
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
    due.next = next_free(timing, due.next, ran);
}

/// The first that does not run already, of a due time and those after it.
fn next_free(timing: &Timing, next: Option<Due>, ran: &BTreeSet<Timestamp>) -> Option<Due> {
    let mut next = next;
    while let Some(due) = next.filter(|due| ran.contains(&due.slot)) {
        if timing.repeats() {
            let slot = free(due.slot, ran);
            return Some(Due { slot, fire_at: later(due.fire_at, due.slot, slot) });
        }
        next = timing.next_due(due.slot);
    }
    next
}

/// The slot, or where it ran before the first instant after it at which nothing did.
fn free(slot: Timestamp, ran: &BTreeSet<Timestamp>) -> Timestamp {
    let mut at = slot;
    while ran.contains(&at) {
        at = at.saturating_add(Duration::from_millis(1));
    }
    at
}

fn later(fire_at: Timestamp, from: Timestamp, to: Timestamp) -> Timestamp {
    fire_at.saturating_add(to.saturating_since(from))
}

/// Up to where a decision asks which slots ran.
#[must_use]
pub fn horizon(record: &ScheduleRecord, now: Timestamp) -> Timestamp {
    let timing = record.plan.spec.timing();
    let next = timing.next_after(now.max(record.plan.position.handled));
    match next {
        // Beside a slot stand those of the times at which it came again.
        Some(slot) if timing.repeats() => slot.saturating_add(Duration::from_millis(999)),
        _ => Timestamp::from_millis(i64::MAX - 1),
    }
}

/// It fires next at a time that is none of its own: what comes ran before.
#[must_use]
pub fn is_again(record: &ScheduleRecord) -> bool {
    let Some(next) = record.plan.position.next else { return false };
    record.plan.spec.timing().next_after(just_before(next.slot)) != Some(next.slot)
}

fn just_before(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_sub(1))
}

/// Something of it was missed, or is caught up: what the clock went back over may be among it, and ran.
#[must_use]
pub fn is_late(fire: &Firing) -> bool {
    let runs = fire.runs.iter().filter_map(|run| run.row.as_ref());
    let late =
        |row: &Slot| matches!(row.outcome, SlotOutcome::Missed | SlotOutcome::CaughtUp { .. });
    fire.rows.iter().chain(runs).any(late)
}

/// A schedule that is ahead of the clock goes on from now: with the next due time that did not run,
/// as the ledger knows from now on.
#[must_use]
pub fn rewind(
    record: &ScheduleRecord,
    ran: &BTreeSet<Timestamp>,
    by_ms: i64,
    now: Timestamp,
) -> Rewind {
    let (plan, spec) = (&record.plan, &record.plan.spec);
    let timing = spec.timing();
    let left = spec.max_runs.is_none_or(|most| record.runs < most);
    let next = next_free(timing, timing.next_due(now), ran);
    let next = next.filter(|_| plan.paused.is_none() && left);
    Rewind {
        basis: record.basis(),
        row: clock_set(record, by_ms, now),
        to: Position { handled: now, next },
    }
}

/// Says in the ledger that the clock was set. It stands at no slot.
#[must_use]
pub fn clock_set(record: &ScheduleRecord, by_ms: i64, now: Timestamp) -> Slot {
    let timing = record.plan.spec.timing();
    let mut at = now;
    while timing.next_after(just_before(at)) == Some(at) {
        at = at.saturating_add(Duration::from_millis(1));
    }
    Slot::of(at, SlotOutcome::ClockSet { by_ms }, now)
}

/// What goes on of earlier firings.
fn before(record: &ScheduleRecord, held: &BTreeSet<JobId>) -> Before {
    match record.last_run {
        Some(run) if held.contains(&run.job) => Before::Running,
        Some(run) if run.has_ended() => Before::Ended,
        Some(run) if run.status == Some(JobStatus::Created) => Before::Waiting,
        Some(_) => Before::Running,
        None => Before::Ended,
    }
}

/// What is to be done about a watched run.
#[derive(Debug)]
pub enum Step {
    DependencyStep(DependencyStep),
    /// The run that it waits for is to be cancelled.
    Cancel(JobId),
}

/// What is to be done about watched runs, of which something can be done about each alone.
///
/// A run that was cancelled before its turn came stays watched until what it waited for has ended:
/// whatever waits for it waits for that too. So a run that is replaced while it waits lets nobody
/// start beside the one that still goes on.
#[must_use]
pub fn steps(watched: &[RunDependency]) -> Vec<Step> {
    let known = by_job(watched);
    watched.iter().filter_map(|run| step(run, &known)).collect()
}

/// Runs that ended before their turn came, while what they waited for goes on.
#[must_use]
pub fn held(watched: &[RunDependency]) -> BTreeSet<JobId> {
    let known = by_job(watched);
    let held = watched.iter().filter(|run| ended(run.status) && goes_on(run, &known).is_some());
    held.map(|run| run.job).collect()
}

fn step(watched: &RunDependency, known: &BTreeMap<JobId, &RunDependency>) -> Option<Step> {
    if let Some(before) = goes_on(watched, known) {
        return watched.cancel.then_some(Step::Cancel(before));
    }
    if ended(watched.status) {
        let failed = matches!(watched.status, Some(JobStatus::Failed | JobStatus::TimedOut));
        let alert = watched.on_failure.as_ref().filter(|_| failed);
        let alert = alert.map(|alert| failure_alert(alert, watched));
        return Some(Step::DependencyStep(DependencyStep::End { job: watched.job, alert }));
    }
    watched.after.map(|_| Step::DependencyStep(DependencyStep::Release { job: watched.job }))
}

/// The run that has to end before this one starts.
fn goes_on(run: &RunDependency, known: &BTreeMap<JobId, &RunDependency>) -> Option<JobId> {
    let mut after = run.after;
    while let Some((job, status)) = after {
        if !ended(status) {
            return Some(job);
        }
        // A run waits for older ones only.
        let before = known.get(&job).and_then(|before| before.after);
        after = before.filter(|(before, _)| *before < job);
    }
    None
}

fn by_job(watched: &[RunDependency]) -> BTreeMap<JobId, &RunDependency> {
    watched.iter().map(|run| (run.job, run)).collect()
}

fn ended(status: Option<JobStatus>) -> bool {
    status.is_none_or(JobStatus::is_final)
}

/// What the handler of `--on-missed` is told.
#[derive(Serialize)]
struct MissedArgs<'a> {
    schedule: &'a str,
    /// How many slots, and the oldest and newest of them.
    slots: u64,
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

/// What the handler of `--on-failure` is told.
#[derive(Serialize)]
struct FailureArgs<'a> {
    schedule: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<Timestamp>,
    job: JobId,
    status: JobStatus,
}

fn failure_alert(alert: &JobSpec, watched: &RunDependency) -> JobSpec {
    let status = watched.status.unwrap_or(JobStatus::Failed);
    let schedule = watched.schedule.as_str();
    with_args(alert, &FailureArgs { schedule, slot: watched.slot, job: watched.job, status })
}

fn with_args(alert: &JobSpec, args: &impl Serialize) -> JobSpec {
    // Of names, numbers and times, which always are JSON.
    let args = serde_json::value::to_raw_value(args).map(Json::from);
    JobSpec { args: args.unwrap_or_else(|_| Arc::clone(&alert.args)), ..alert.clone() }
}
