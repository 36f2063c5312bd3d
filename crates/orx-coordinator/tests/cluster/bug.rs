//! Bugs between the parts of a cluster. A test shows that the simulation finds each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orx_model::job::Origin;
use orx_model::message::{HeartbeatAnswer, WorkerDirective, WorkerHeartbeat, WorkerState};
use orx_model::{
    ExecutionId, Incarnation, JobId, JobSpec, JobStatus, LostWith, Name, NewJob, Outcome,
    OutcomeKind, SecretHash, Timestamp,
};
use orx_store::{
    CancelAnswer, CancelCommand, ClaimRequest, Dispatching, Enqueued, Firing, Jobs, Lead,
    LeadRequest, Leases, Live, Recorded, Result, Term, WorkerPut, WorkerRecord, WorkerReport,
    Workers,
};
use rand::RngExt;

use crate::name;
use crate::store::done;
use crate::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// I6: the store accepts writes of every former leader.
    NoFencing,
    /// I6: the store compares the node of a term, and not the epoch.
    NoEpoch,
    /// G8: a leader's lease holds for an hour.
    LeaseForEver,
    /// I12: a worker starts a dispatch however old it is.
    NoWorkerFence,
    /// G1: outcomes are answered before they are recorded.
    AnswerFirst,
    /// G1: the last of several outcomes in a batch is not recorded.
    BatchLosesOne,
    /// I4: the outcome of an old execution ends the live one.
    OldOutcome,
    /// I13: a cancel is accepted, and not stored.
    CancelForgotten,
    /// I12: a waiting job is reported as cancelled, and is not.
    CancelNotMade,
    /// I13: answers to heartbeats omit the attempts to cancel.
    CancelOmitted,
    /// I17: answers to heartbeats omit the attempts to stop.
    StopOmitted,
    /// I17: no worker is asked about attempts that it does not report.
    NeverAsked,
    /// R4: no worker is asked to resend missing outcomes.
    NeverResent,
    /// I10: a slot makes two jobs.
    SlotTwice,
    /// I20: a worker gets more jobs than its capacity.
    CapacityIgnored,
    /// I18: the jobs of one queue are claimed before those of the other, whatever their priority.
    NoPriority,
    /// I35: losses are not counted.
    LossesFree,
    /// I5: failures are not counted.
    RetriesFree,
    /// I1: a job is accepted, and not stored.
    EnqueueLost,
    /// I2: a key is not compared.
    KeyIgnored,
    /// I30: attempts time out too early.
    TimedOutEarly,
    /// G1: outcomes are acknowledged before their transaction commits.
    AckBeforeCommit,
    /// G1: of a batch that was split because of a bad part, the good part is not recorded.
    SplitLosesGood,
    /// I14: a late old heartbeat counts as a new one, so a dead worker counts as alive.
    LateBeatRevives,
    /// I30: the silence of a worker is the difference between the clocks of two machines.
    ClocksCompared,
    /// I9: a worker counts its lease from the answer to its heartbeat, not from when it sent it.
    LeaseFromAnswer,
    /// I6: a node goes on leading after another node got the lease.
    LostLeaseLeads,
    /// I7: a new leader goes on with the epoch of the last.
    EpochNotRaised,
    /// I10: a new leader fires the last slot of the one before again.
    SlotAfterFailover,
    /// I4: an outcome that is reported again, to another node, is recorded again.
    OutcomeTwice,
    /// I35: deaths of a whole server are not counted.
    ServerDeathsFree,
    /// I20: nodes ignore that a worker drains.
    DrainIgnored,
    /// I17: nodes ignore that a worker is fenced.
    FenceUnread,
    /// I17: due jobs are not made ready.
    DueForgotten,
    /// I20: a claim whose answer was lost is forgotten.
    ClaimForgotten,
}

/// The state of a bug.
#[derive(Default)]
pub(crate) struct BugState {
    /// The good outcomes of rejected batches.
    split: BTreeSet<ExecutionId>,
    /// The node that recorded each outcome.
    recorded: BTreeMap<ExecutionId, Incarnation>,
    /// The last run of each schedule, with the epoch in which it fired.
    fired: BTreeMap<Name, (u64, JobSpec)>,
    /// The executions of unanswered claims.
    unanswered: BTreeSet<ExecutionId>,
}

impl Bug {
    pub(crate) const ALL: [Self; 35] = [
        Self::NoFencing,
        Self::NoEpoch,
        Self::LeaseForEver,
        Self::NoWorkerFence,
        Self::AnswerFirst,
        Self::BatchLosesOne,
        Self::OldOutcome,
        Self::CancelForgotten,
        Self::CancelNotMade,
        Self::CancelOmitted,
        Self::StopOmitted,
        Self::NeverAsked,
        Self::NeverResent,
        Self::SlotTwice,
        Self::CapacityIgnored,
        Self::NoPriority,
        Self::LossesFree,
        Self::RetriesFree,
        Self::EnqueueLost,
        Self::KeyIgnored,
        Self::TimedOutEarly,
        Self::AckBeforeCommit,
        Self::SplitLosesGood,
        Self::LateBeatRevives,
        Self::ClocksCompared,
        Self::LeaseFromAnswer,
        Self::LostLeaseLeads,
        Self::EpochNotRaised,
        Self::SlotAfterFailover,
        Self::OutcomeTwice,
        Self::ServerDeathsFree,
        Self::DrainIgnored,
        Self::FenceUnread,
        Self::DueForgotten,
        Self::ClaimForgotten,
    ];
}

/// The term that the store compares.
pub(crate) fn term(world: &World, given: Term) -> Term {
    let Some((leads, _)) = done(world.memory.leader(world.wall())).expect("read") else {
        return given;
    };
    match world.bug {
        Some(Bug::NoFencing) => leads,
        Some(Bug::NoEpoch) if leads.node == given.node => leads,
        _ => given,
    }
}

pub(crate) fn lead(world: &World, request: LeadRequest) -> LeadRequest {
    match world.bug {
        Some(Bug::LeaseForEver) => LeadRequest { ttl: Duration::from_secs(3_600), ..request },
        _ => request,
    }
}

/// The answer to a node's request for the lease; `before`: the newest term before the request.
pub(crate) fn led(world: &World, node: Incarnation, before: Option<Term>, answer: Lead) -> Lead {
    match (world.bug, answer, before) {
        (Some(Bug::LostLeaseLeads), Lead::Following { leader, .. }, _) => {
            let lost = world.term_before(leader).filter(|lost| lost.node == node);
            lost.map_or(answer, Lead::Leading)
        }
        (Some(Bug::EpochNotRaised), Lead::Leading(term), Some(before)) if term != before => {
            Lead::Leading(Term { epoch: before.epoch, ..term })
        }
        (_, answer, _) => answer,
    }
}

/// The heartbeat as a node receives it.
pub(crate) fn beat(world: &World, heartbeat: WorkerHeartbeat) -> WorkerHeartbeat {
    match world.bug {
        Some(Bug::DrainIgnored) if heartbeat.state == WorkerState::Draining => {
            WorkerHeartbeat { state: WorkerState::Running, capacity: 2, ..heartbeat }
        }
        _ => heartbeat,
    }
}

/// How fast the clock is with which a worker times its lease. After a slow write the leader grants leases anew, so a
/// worker that is wrong by less than a lease is rarely found out.
pub(crate) fn lease_clock(world: &World) -> Duration {
    let is_late = world.bug == Some(Bug::LeaseFromAnswer);
    if is_late { Duration::from_secs(40) } else { Duration::ZERO }
}

pub(crate) fn put_workers(
    world: &World,
    workers: Vec<(SecretHash, WorkerReport)>,
) -> Result<Vec<WorkerPut>> {
    let mut answers = done(world.memory.put_workers(workers, world.wall()))?;
    match world.bug {
        Some(Bug::LateBeatRevives) => {
            for row in done(world.memory.workers(world.wall()))? {
                let worker = row.report.registration.incarnation;
                if world.worker(worker).is_none()
                    && let Some(secret) = done(world.memory.worker_secret(worker))?
                {
                    let again = vec![(secret, row.report)];
                    let _ = done(world.memory.put_workers(again, world.wall()))?;
                }
            }
        }
        Some(Bug::FenceUnread) => {
            for answer in &mut answers {
                if *answer == WorkerPut::Stored(Some(WorkerDirective::Fence)) {
                    *answer = WorkerPut::Stored(None);
                }
            }
        }
        _ => {}
    }
    Ok(answers)
}

/// The rows of workers as a node reads them; `clock`: the node's own clock.
pub(crate) fn rows(
    world: &World,
    mut rows: Vec<WorkerRecord>,
    clock: Timestamp,
) -> Vec<WorkerRecord> {
    for row in &mut rows {
        match world.bug {
            Some(Bug::ClocksCompared)
                if clock.saturating_since(world.wall()) > Duration::from_secs(30) =>
            {
                row.seen_at = Timestamp::from_millis(0);
            }
            Some(Bug::FenceUnread) if row.order == Some(WorkerDirective::Fence) => row.order = None,
            _ => {}
        }
    }
    rows
}

/// The answer as a worker receives it.
pub(crate) fn answer(world: &World, answer: HeartbeatAnswer) -> HeartbeatAnswer {
    match world.bug {
        Some(Bug::NoWorkerFence) => HeartbeatAnswer { lease_ms: 3_600_000, ..answer },
        Some(Bug::NeverAsked) => HeartbeatAnswer { asked: Vec::new(), ..answer },
        Some(Bug::NeverResent) => HeartbeatAnswer { resend: Vec::new(), ..answer },
        _ => answer,
    }
}

/// The answer as a coordinator sends it.
pub(crate) fn answers(world: &World, answer: HeartbeatAnswer) -> HeartbeatAnswer {
    match world.bug {
        Some(Bug::CancelOmitted) => HeartbeatAnswer { cancel: Vec::new(), ..answer },
        Some(Bug::StopOmitted) => HeartbeatAnswer { stop: Vec::new(), ..answer },
        _ => answer,
    }
}

pub(crate) fn enqueue(world: &World, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Enqueued>> {
    match world.bug {
        Some(Bug::EnqueueLost) if world.draw(|rng| rng.random_bool(0.1)) => {
            let id = JobId(1_000_000);
            Ok(jobs.iter().map(|_| Enqueued::New { id, status: JobStatus::Pending }).collect())
        }
        Some(Bug::KeyIgnored) => {
            let keyless = |mut job: NewJob| {
                let known =
                    job.spec.key.as_ref().is_some_and(|key| {
                        done(world.memory.job_by_key(key)).expect("read").is_some()
                    });
                job.spec.key = job.spec.key.filter(|_| !known);
                job
            };
            done(world.memory.enqueue(jobs.into_iter().map(keyless).collect(), now))
        }
        _ => done(world.memory.enqueue(jobs, now)),
    }
}

pub(crate) fn cancel(
    world: &World,
    cancels: Vec<CancelCommand>,
    now: Timestamp,
) -> Result<Vec<CancelAnswer>> {
    let ignored = |cancel: &CancelCommand| -> Option<CancelAnswer> {
        let job = done(world.memory.job(cancel.id)).expect("read")?;
        match (world.bug?, job.state.live) {
            (Bug::CancelForgotten, Some(live)) if !cancel.force => Some(CancelAnswer::Cancelling {
                worker: live.worker,
                execution: live.execution,
                status: job.state.status,
            }),
            (Bug::CancelNotMade, None) if !job.state.status.is_final() => {
                Some(CancelAnswer::Cancelled { stop: None })
            }
            _ => None,
        }
    };
    let early: Vec<_> = cancels.iter().filter_map(ignored).collect();
    if early.len() == cancels.len() {
        return Ok(early);
    }
    done(world.memory.cancel(cancels, now))
}

pub(crate) fn claims(world: &World, requests: &[ClaimRequest]) -> Vec<ClaimRequest> {
    let mut requests = requests.to_vec();
    match world.bug {
        Some(Bug::CapacityIgnored) => {
            for request in &mut requests {
                let more = request.held;
                world.draw(|rng| {
                    request.executions.extend((0..more).map(|_| ExecutionId(rng.random())));
                });
            }
        }
        Some(Bug::NoPriority) => {
            for request in &mut requests {
                request.offer.queues = [name("a")].into();
            }
        }
        _ => {}
    }
    requests
}

/// The outcomes that the store records in place of these.
pub(crate) fn outcomes(world: &World, outcomes: &[Outcome]) -> Vec<Outcome> {
    let free = |outcome: &Outcome| {
        let kind = match (&world.bug, &outcome.kind) {
            (Some(Bug::LossesFree), OutcomeKind::Lost { .. })
            | (Some(Bug::ServerDeathsFree), OutcomeKind::Lost { with: LostWith::Server }) => {
                OutcomeKind::HandedBack
            }
            (Some(Bug::RetriesFree), OutcomeKind::Failed { retryable: true, .. }) => {
                OutcomeKind::HandedBack
            }
            (_, kind) => kind.clone(),
        };
        Outcome { kind, ..outcome.clone() }
    };
    outcomes.iter().map(free).collect()
}

/// The answer to outcomes that are never recorded, or not yet.
pub(crate) fn answered_early(world: &World, outcomes: &[Outcome]) -> Option<Vec<Recorded>> {
    let early = match world.bug {
        Some(Bug::AnswerFirst) => world.draw(|rng| rng.random_bool(0.1)),
        Some(Bug::SplitLosesGood) => {
            let bug_state = world.bug_state();
            outcomes.iter().all(|outcome| bug_state.split.contains(&outcome.execution))
        }
        _ => false,
    };
    early.then(|| all_applied(outcomes))
}

/// The answer to outcomes that are recorded later.
pub(crate) fn answered_meanwhile(world: &World, outcomes: &[Outcome]) -> Option<Vec<Recorded>> {
    (world.bug == Some(Bug::AckBeforeCommit)).then(|| all_applied(outcomes))
}

fn all_applied(outcomes: &[Outcome]) -> Vec<Recorded> {
    let applied = Recorded::Applied { status: JobStatus::Completed, run_at: None };
    vec![applied; outcomes.len()]
}

/// The store rejected a batch because of some of its outcomes.
pub(crate) fn refused(world: &World, outcomes: &[Outcome]) {
    let mut bug_state = world.bug_state();
    let unwritable = world.unwritable.lock();
    let good = outcomes.iter().filter(|outcome| !unwritable.contains(&outcome.job));
    bug_state.split.extend(good.map(|outcome| outcome.execution));
}

pub(crate) fn record(
    world: &World,
    node: Incarnation,
    reported: &[Outcome],
    draws: Vec<f64>,
    now: Timestamp,
) -> Result<Vec<Recorded>> {
    let mut changed = outcomes(world, reported);
    match world.bug {
        Some(Bug::BatchLosesOne) if changed.len() > 1 => {
            changed.pop();
            let mut answers = done(world.memory.record_outcomes(changed, draws, now))?;
            answers.push(Recorded::Applied { status: JobStatus::Completed, run_at: None });
            return Ok(answers);
        }
        Some(Bug::OldOutcome) => {
            for outcome in &mut changed {
                let job = done(world.memory.job(outcome.job))?;
                if let Some(live) = job.and_then(|job| job.state.live) {
                    outcome.execution = live.execution;
                }
            }
        }
        Some(Bug::OutcomeTwice) => {
            let mut answers = done(world.memory.record_outcomes(changed, draws, now))?;
            let mut bug_state = world.bug_state();
            for (outcome, answer) in reported.iter().zip(&mut answers) {
                let by = *bug_state.recorded.entry(outcome.execution).or_insert(node);
                if by != node {
                    *answer = Recorded::Applied { status: JobStatus::Completed, run_at: None };
                }
            }
            return Ok(answers);
        }
        _ => {}
    }
    done(world.memory.record_outcomes(changed, draws, now))
}

/// The answer to a claim was lost.
pub(crate) fn claim_unanswered(world: &World, asked: Vec<ExecutionId>) {
    world.bug_state().unanswered.extend(asked);
}

pub(crate) fn live(world: &World, mut live: Vec<Live>) -> Vec<Live> {
    match world.bug {
        Some(Bug::TimedOutEarly) => {
            for attempt in &mut live {
                attempt.timeout_ms = attempt.timeout_ms.map(|_| 0);
            }
        }
        Some(Bug::ClaimForgotten) => {
            let bug_state = world.bug_state();
            live.retain(|attempt| !bug_state.unanswered.contains(&attempt.execution));
        }
        _ => {}
    }
    live
}

/// A second job for a slot.
pub(crate) fn fire_again(world: &World, fires: &[Firing], term: Term, now: Timestamp) {
    let slot = |job: &JobSpec| matches!(&job.schedule, Some(Origin { slot: Some(_), .. }));
    let mut again = Vec::new();
    for fire in fires {
        for job in fire.runs.iter().map(|run| &run.job).filter(|job| slot(job)) {
            match world.bug {
                Some(Bug::SlotTwice) => again.push(job.clone()),
                Some(Bug::SlotAfterFailover) => {
                    let fired = (term.epoch, job.clone());
                    let before = world.bug_state().fired.insert(fire.expected.id.clone(), fired);
                    let others = before.filter(|(epoch, _)| *epoch != term.epoch);
                    again.extend(others.map(|(_, job)| job));
                }
                _ => {}
            }
        }
    }
    if !again.is_empty() {
        let _ = done(world.memory.enqueue(again.into_iter().map(NewJob::from).collect(), now))
            .expect("stored");
    }
}

pub(crate) fn promotes(world: &World) -> bool {
    world.bug != Some(Bug::DueForgotten)
}

/// The leader, by the store.
pub(crate) fn leader(world: &World) -> Option<Incarnation> {
    let leader = done(world.memory.leader(world.wall())).expect("read");
    leader.map(|(term, _)| term.node)
}
