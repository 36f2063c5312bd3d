//! Random operations on a store.

use orx_model::job::Json;
use orx_model::schedule::{Due, ScheduleSpec, SkipReason, Slot, SlotOutcome, When};
use orx_model::wire::EnqueueRequest;
use orx_model::{
    JobId, JobSpec, JobStatus, LostWith, NewJob, OnLost, OutcomeKind, Priority, RetryPolicy,
    Timestamp,
};
use orx_schedule::Schedule;
use orx_store::{Paused, Position, RunAfter, SchedulePlan, Templates};
use orx_testkit::make::{NOW, job, json, name};
use proptest::prelude::*;

#[derive(Debug, Clone)]
pub(crate) struct PreparedJob {
    pub(crate) lane: u8,
    pub(crate) priority: u8,
    pub(crate) run_in: Option<i64>,
    pub(crate) expires_in: Option<i64>,
    pub(crate) deadline_in: Option<i64>,
    pub(crate) retries: u32,
    pub(crate) must_not_repeat: bool,
    pub(crate) key: Option<(u8, bool)>,
}

#[derive(Debug, Clone)]
pub(crate) struct NewRun {
    pub(crate) after: RunAfter,
    /// `None`: a manual run.
    pub(crate) slot: Option<u8>,
    pub(crate) alerts: bool,
    pub(crate) expires_in: Option<i64>,
}

/// Which part of the expected version differs from the schedule.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stale {
    Version,
    Handled,
    LastRun,
    Ended,
    Forgotten,
}

#[derive(Debug, Clone)]
pub(crate) struct PreparedFiring {
    pub(crate) schedule: u8,
    pub(crate) stale: Option<Stale>,
    pub(crate) runs: Vec<NewRun>,
    pub(crate) rows: Vec<(u8, u8)>,
    pub(crate) alerts: u8,
    pub(crate) to: Option<Option<i64>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Enqueue(Vec<PreparedJob>),
    Claim {
        free_slots: Vec<u8>,
    },
    /// Indexes of claimed attempts, newest first; an index beyond them is an unknown execution.
    Start(Vec<u8>),
    End(Vec<(u8, u8)>),
    Progress(u8),
    Log {
        place: u8,
        seq: u8,
        bytes: Vec<u8>,
    },
    Cancel {
        job: u8,
        force: bool,
        expected: Option<JobStatus>,
    },
    Retry(Vec<u8>),
    Later(i64),
    Promote,
    DeleteDead(u8),
    Prune(u32),
    AddSchedule {
        schedule: u8,
        next_in: Option<i64>,
    },
    ChangeSchedule {
        schedule: u8,
        stale: Option<Stale>,
        next_in: Option<i64>,
        row: Option<(u8, u8)>,
    },
    RemoveSchedule {
        schedule: u8,
        version: Option<u64>,
    },
    Firing {
        fires: Vec<PreparedFiring>,
        by_person: bool,
    },
    /// Indexes of run dependencies; an index beyond them is a job without one.
    Release(Vec<(u8, bool)>),
    PruneSlots(i64),
    Reopen,
    Crash,
}

fn seconds() -> impl Strategy<Value = i64> {
    -5..40_i64
}

fn prepared_job() -> impl Strategy<Value = PreparedJob> {
    let times = (
        proptest::option::weighted(0.3, seconds()),
        proptest::option::weighted(0.2, 1..40_i64),
        proptest::option::weighted(0.2, 1..60_i64),
    );
    let key = proptest::option::weighted(0.3, (0..4_u8, any::<bool>()));
    (0..4_u8, 0..4_u8, times, 0..3_u32, any::<bool>(), key).prop_map(
        |(lane, priority, (run_in, expires_in, deadline_in), retries, must_not_repeat, key)| {
            PreparedJob {
                lane,
                priority,
                run_in,
                expires_in,
                deadline_in,
                retries,
                must_not_repeat,
                key,
            }
        },
    )
}

fn stale() -> impl Strategy<Value = Option<Stale>> {
    use Stale as S;
    let stale = vec![S::Version, S::Handled, S::LastRun, S::Ended, S::Forgotten];
    proptest::option::weighted(0.2, proptest::sample::select(stale))
}

/// A slot, as an index, and its outcome.
fn row() -> impl Strategy<Value = (u8, u8)> {
    (0..12_u8, 0..4_u8)
}

fn new_run() -> impl Strategy<Value = NewRun> {
    let after = prop_oneof![
        2 => Just(RunAfter::Nothing),
        3 => any::<bool>().prop_map(|cancel| RunAfter::Last { cancel }),
        2 => Just(RunAfter::Before),
        2 => Just(RunAfter::AlongsideLast),
    ];
    let slot = proptest::option::weighted(0.8, 0..12_u8);
    let expires_in = proptest::option::weighted(0.2, 1..40_i64);
    (after, slot, any::<bool>(), expires_in).prop_map(|(after, slot, alerts, expires_in)| NewRun {
        after,
        slot,
        alerts,
        expires_in,
    })
}

fn prepared_firing() -> impl Strategy<Value = PreparedFiring> {
    let runs = proptest::collection::vec(new_run(), 0..4);
    let rows = proptest::collection::vec(row(), 0..3);
    let to = proptest::option::weighted(0.7, proptest::option::weighted(0.8, seconds()));
    (0..4_u8, stale(), runs, rows, 0..2_u8, to).prop_map(
        |(schedule, stale, runs, rows, alerts, to)| PreparedFiring {
            schedule,
            stale,
            runs,
            rows,
            alerts,
            to,
        },
    )
}

fn schedule_op() -> impl Strategy<Value = Op> {
    let next_in = || proptest::option::weighted(0.8, seconds());
    let release = (0..6_u8, any::<bool>());
    prop_oneof![
        3 => (0..3_u8, next_in())
            .prop_map(|(schedule, next_in)| Op::AddSchedule { schedule, next_in }),
        2 => (0..4_u8, stale(), next_in(), proptest::option::of(row())).prop_map(
            |(schedule, stale, next_in, row)| Op::ChangeSchedule { schedule, stale, next_in, row }
        ),
        1 => (0..4_u8, proptest::option::of(1..3_u64))
            .prop_map(|(schedule, version)| Op::RemoveSchedule { schedule, version }),
        8 => (proptest::collection::vec(prepared_firing(), 1..4), proptest::bool::weighted(0.2))
            .prop_map(|(fires, by_person)| Op::Firing { fires, by_person }),
        5 => proptest::collection::vec(release, 1..4).prop_map(Op::Release),
        1 => (0..60_i64).prop_map(Op::PruneSlots),
    ]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![3 => job_op(), 2 => schedule_op()]
}

fn job_op() -> impl Strategy<Value = Op> {
    let status = proptest::sample::select(JobStatus::ALL.to_vec());
    prop_oneof![
        6 => proptest::collection::vec(prepared_job(), 1..5).prop_map(Op::Enqueue),
        8 => proptest::collection::vec(0..4_u8, 1..4).prop_map(|free_slots| Op::Claim { free_slots }),
        3 => proptest::collection::vec(0..8_u8, 1..4).prop_map(Op::Start),
        8 => proptest::collection::vec((0..8_u8, 0..13_u8), 1..5).prop_map(Op::End),
        1 => (0..8_u8).prop_map(Op::Progress),
        2 => (0..8_u8, 1..5_u8, proptest::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(place, seq, bytes)| Op::Log { place, seq, bytes }),
        4 => (0..20_u8, any::<bool>(), proptest::option::weighted(0.3, status))
            .prop_map(|(job, force, expected)| Op::Cancel { job, force, expected }),
        2 => proptest::collection::vec(0..20_u8, 1..3).prop_map(Op::Retry),
        4 => (1..30_i64).prop_map(Op::Later),
        // Longer than the key of a pruned job is retained.
        1 => (86_000..200_000_i64).prop_map(Op::Later),
        3 => Just(Op::Promote),
        1 => (0..20_u8).prop_map(Op::DeleteDead),
        2 => (1..4_u32).prop_map(Op::Prune),
        1 => Just(Op::Reopen),
        2 => Just(Op::Crash),
    ]
}

pub(crate) fn accepted(new: &PreparedJob, now: Timestamp) -> NewJob {
    let after = |seconds: i64| Timestamp::from_millis(now.as_millis() + seconds * 1_000);
    let spec = JobSpec {
        queue: name(if new.lane.is_multiple_of(2) { "a" } else { "b" }),
        name: name(if new.lane < 3 { "work" } else { "other" }),
        priority: Priority::from_rank(new.priority).unwrap_or_default(),
        expires_at: new.expires_in.map(after),
        deadline: new.deadline_in.map(after),
        retry: RetryPolicy { retries: new.retries, ..RetryPolicy::default() },
        on_lost: if new.must_not_repeat { OnLost::Fail } else { OnLost::Retry },
        key: new.key.map(|(key, _)| format!("k{key}")),
        ..job()
    };
    NewJob {
        run_at: new.run_in.map(after),
        key_hash: new.key.map(|(_, same)| if same { "same" } else { "other" }.to_owned()),
        ..spec.into()
    }
}

pub(crate) fn kind(choice: u8) -> OutcomeKind {
    let result: Json = json(r#"{"n":1.0}"#);
    match choice {
        0 | 1 => OutcomeKind::Succeeded { result: Some(result) },
        2 => OutcomeKind::Failed { retryable: true, retry_after_ms: None },
        3 => OutcomeKind::Failed { retryable: true, retry_after_ms: Some(3_000) },
        4 => OutcomeKind::Failed { retryable: false, retry_after_ms: None },
        5 => OutcomeKind::TimedOut,
        6 => OutcomeKind::Interrupted,
        7 => OutcomeKind::Refused,
        8 => OutcomeKind::Lost { with: LostWith::Worker },
        9 => OutcomeKind::Lost { with: LostWith::Fence },
        10 => OutcomeKind::HandedBack,
        _ => OutcomeKind::Lost { with: LostWith::Server },
    }
}

pub(crate) const SCHEDULES: [&str; 4] = ["a", "b", "c", "never"];

pub(crate) fn plan(schedule: u8, now: Timestamp, next_in: Option<i64>) -> SchedulePlan {
    let target = EnqueueRequest { name: Some(name("work")), ..EnqueueRequest::default() };
    let when = When::Cron("0 2 * * *".parse().expect("an expression"));
    let id = name(SCHEDULES[usize::from(schedule)]);
    SchedulePlan {
        spec: Schedule::new(ScheduleSpec::new(id, when, target)).expect("a schedule"),
        templates: Templates { job: job(), on_missed: None, on_failure: None },
        paused: next_in.is_none().then_some(Paused { at: now, reason: None, by: None }),
        position: position(now, next_in),
        by: None,
    }
}

pub(crate) fn position(now: Timestamp, next_in: Option<i64>) -> Position {
    let slot = next_in.map(|next| Timestamp::from_millis(now.as_millis() + next * 1_000));
    Position { handled: now, next: slot.map(|slot| Due { slot, fire_at: slot }) }
}

pub(crate) fn ledger_row((slot, outcome): (u8, u8), now: Timestamp) -> Slot {
    let outcome = match outcome {
        0 => SlotOutcome::Missed,
        1 => SlotOutcome::Skipped { reason: SkipReason::Overlap },
        2 => SlotOutcome::Ran { job: JobId(7), late_ms: 5 },
        _ => SlotOutcome::CaughtUp { job: JobId(8), late_ms: 5 },
    };
    let slot = Timestamp::from_millis(NOW.as_millis() + i64::from(slot) * 60_000);
    Slot { slot, last: None, count: 1, exact: true, outcome, recorded_at: now }
}

pub(crate) fn make_stale(expected: &mut orx_store::ExpectedVersion, stale: Option<Stale>) {
    match stale {
        None => {}
        Some(Stale::Version) => expected.version += 1,
        Some(Stale::Handled) => {
            expected.handled = Timestamp::from_millis(expected.handled.as_millis() - 1);
        }
        Some(Stale::LastRun) => expected.last_run = Some((JobId(1), true)),
        Some(Stale::Ended) => {
            expected.last_run = expected.last_run.map(|(job, ended)| (job, !ended));
        }
        Some(Stale::Forgotten) => expected.last_run = None,
    }
}
