//! Bugs that are put where the parts of a cluster meet, to see that the simulation finds each.

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
    /// I6: the store lets whoever once led go on.
    NoFencing,
    /// I6: the store compares who leads, and not in which term.
    NoEpoch,
    /// G8: a leader's lease holds for an hour.
    LeaseForEver,
    /// I12: a worker starts what it was given however long ago that was.
    NoWorkerFence,
    /// G1: outcomes are answered before they are recorded.
    AnswerFirst,
    /// G1: of several outcomes in a batch the last is passed over.
    BatchLosesOne,
    /// I4: the outcome of an old execution ends the one that is live.
    OldOutcome,
    /// I13: a cancel is answered, and not kept.
    CancelForgotten,
    /// I12: a waiting job is answered as cancelled, and is not.
    CancelNotMade,
    /// I13: answers to heartbeats leave out what is to be cancelled.
    CancelUntold,
    /// I17: answers to heartbeats leave out what is to be stopped.
    StopUntold,
    /// I17: nobody is asked about what was given to it.
    NeverAsked,
    /// R4: nobody is asked for outcomes that are missing.
    NeverResent,
    /// I10: a slot makes two jobs.
    SlotTwice,
    /// I20: a worker is given more than it takes.
    RoomWrong,
    /// I18: a queue is served before the other, whatever waits in it.
    NoPriority,
    /// I35: losses are not counted.
    LossesFree,
    /// I5: failures are not counted.
    RetriesFree,
    /// I1: a job is accepted, and not kept.
    EnqueueLost,
    /// I2: a key is not compared.
    KeyIgnored,
    /// I30: attempts are given up before their time.
    TimedOutEarly,
    /// G1: outcomes are acknowledged while they are on their way into the store.
    AckBeforeCommit,
    /// G1: of a batch that was split because of a bad part, the good part is passed over.
    SplitLosesGood,
    /// I14: an old heartbeat that comes late counts as a new one, so whoever is dead stays in contact.
    LateBeatRevives,
    /// I30: how long a worker was silent is measured with the clocks of two machines.
    ClocksCompared,
    /// I9: a worker counts its lease from the answer to its heartbeat, not from when it sent it.
    LeaseFromAnswer,
    /// I6: a node goes on leading though its lease is another's.
    LostLeaseLeads,
    /// I7: a new leader goes on with the epoch of the last.
    EpochNotRaised,
    /// I10: a new leader fires the last slot of the one before again.
    SlotAfterFailover,
    /// I4: an outcome told again, to another node after a restart, is recorded again.
    OutcomeTwice,
    /// I35: deaths of a whole server are not counted.
    ServerDeathsFree,
    /// I20: nobody hears that a worker drains.
    DrainUnheard,
    /// I17: nobody sees that a worker is fenced.
    FenceUnseen,
    /// I17: what has a time is not made ready when it comes.
    DueForgotten,
    /// I20: a claim whose answer was lost is forgotten.
    ClaimForgotten,
}

/// What a bug remembers.
#[derive(Default)]
pub(crate) struct Remembered {
    /// What was good of batches that were refused.
    split: BTreeSet<ExecutionId>,
    /// Who recorded what.
    recorded: BTreeMap<ExecutionId, Incarnation>,
    /// Of each schedule the last run, and in which epoch it was fired.
    fired: BTreeMap<Name, (u64, JobSpec)>,
    /// What was asked for by claims whose answers were lost.
    unheard: BTreeSet<ExecutionId>,
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
        Self::CancelUntold,
        Self::StopUntold,
        Self::NeverAsked,
        Self::NeverResent,
        Self::SlotTwice,
        Self::RoomWrong,
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
        Self::DrainUnheard,
        Self::FenceUnseen,
        Self::DueForgotten,
        Self::ClaimForgotten,
    ];
}

/// The term that is compared.
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

/// What a node is answered that asks for the lease, after that term.
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

/// What a node hears of a worker.
pub(crate) fn said(world: &World, heartbeat: WorkerHeartbeat) -> WorkerHeartbeat {
    match world.bug {
        Some(Bug::DrainUnheard) if heartbeat.state == WorkerState::Draining => {
            WorkerHeartbeat { state: WorkerState::Running, capacity: 2, ..heartbeat }
        }
        _ => heartbeat,
    }
}

/// By how much the clock is ahead with which a worker counts its lease.
pub(crate) fn lease_clock(world: &World) -> Duration {
    let is_late = world.bug == Some(Bug::LeaseFromAnswer);
    if is_late { Duration::from_secs(20) } else { Duration::ZERO }
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
        Some(Bug::FenceUnseen) => {
            for answer in &mut answers {
                if *answer == WorkerPut::Kept(Some(WorkerDirective::Fence)) {
                    *answer = WorkerPut::Kept(None);
                }
            }
        }
        _ => {}
    }
    Ok(answers)
}

/// What a node reads of workers, whose own clock shows that.
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
            Some(Bug::FenceUnseen) if row.order == Some(WorkerDirective::Fence) => row.order = None,
            _ => {}
        }
    }
    rows
}

/// What a worker makes of an answer.
pub(crate) fn answer(world: &World, answer: HeartbeatAnswer) -> HeartbeatAnswer {
    match world.bug {
        Some(Bug::NoWorkerFence) => HeartbeatAnswer { lease_ms: 3_600_000, ..answer },
        Some(Bug::NeverAsked) => HeartbeatAnswer { asked: Vec::new(), ..answer },
        Some(Bug::NeverResent) => HeartbeatAnswer { resend: Vec::new(), ..answer },
        _ => answer,
    }
}

/// What a coordinator answers.
pub(crate) fn answers(world: &World, answer: HeartbeatAnswer) -> HeartbeatAnswer {
    match world.bug {
        Some(Bug::CancelUntold) => HeartbeatAnswer { cancel: Vec::new(), ..answer },
        Some(Bug::StopUntold) => HeartbeatAnswer { stop: Vec::new(), ..answer },
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
    let unkept = |cancel: &CancelCommand| -> Option<CancelAnswer> {
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
    let early: Vec<_> = cancels.iter().filter_map(unkept).collect();
    if early.len() == cancels.len() {
        return Ok(early);
    }
    done(world.memory.cancel(cancels, now))
}

pub(crate) fn claims(world: &World, requests: &[ClaimRequest]) -> Vec<ClaimRequest> {
    let mut requests = requests.to_vec();
    match world.bug {
        Some(Bug::RoomWrong) => {
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

/// What is recorded in place of these.
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

/// Said of outcomes before they are recorded.
pub(crate) fn answered_early(world: &World, outcomes: &[Outcome]) -> Option<Vec<Recorded>> {
    let early = match world.bug {
        Some(Bug::AnswerFirst) => world.draw(|rng| rng.random_bool(0.1)),
        Some(Bug::SplitLosesGood) => {
            let remembered = world.remembered();
            outcomes.iter().all(|outcome| remembered.split.contains(&outcome.execution))
        }
        _ => false,
    };
    early.then(|| all_applied(outcomes))
}

/// Said of outcomes that are recorded later.
pub(crate) fn answered_meanwhile(world: &World, outcomes: &[Outcome]) -> Option<Vec<Recorded>> {
    (world.bug == Some(Bug::AckBeforeCommit)).then(|| all_applied(outcomes))
}

fn all_applied(outcomes: &[Outcome]) -> Vec<Recorded> {
    let applied = Recorded::Applied { status: JobStatus::Completed, run_at: None };
    vec![applied; outcomes.len()]
}

/// A batch is refused because of some that cannot be written.
pub(crate) fn refused(world: &World, outcomes: &[Outcome]) {
    let mut remembered = world.remembered();
    let unwritable = world.unwritable.lock();
    let good = outcomes.iter().filter(|outcome| !unwritable.contains(&outcome.job));
    remembered.split.extend(good.map(|outcome| outcome.execution));
}

pub(crate) fn record(
    world: &World,
    node: Incarnation,
    told: &[Outcome],
    draws: Vec<f64>,
    now: Timestamp,
) -> Result<Vec<Recorded>> {
    let mut changed = outcomes(world, told);
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
            let mut remembered = world.remembered();
            for (outcome, answer) in told.iter().zip(&mut answers) {
                let by = *remembered.recorded.entry(outcome.execution).or_insert(node);
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

/// The answer to that claim is lost.
pub(crate) fn claim_unheard(world: &World, asked: Vec<ExecutionId>) {
    world.remembered().unheard.extend(asked);
}

pub(crate) fn live(world: &World, mut live: Vec<Live>) -> Vec<Live> {
    match world.bug {
        Some(Bug::TimedOutEarly) => {
            for attempt in &mut live {
                attempt.timeout_ms = attempt.timeout_ms.map(|_| 0);
            }
        }
        Some(Bug::ClaimForgotten) => {
            let remembered = world.remembered();
            live.retain(|attempt| !remembered.unheard.contains(&attempt.execution));
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
                    let before = world.remembered().fired.insert(fire.basis.id.clone(), fired);
                    let others = before.filter(|(epoch, _)| *epoch != term.epoch);
                    again.extend(others.map(|(_, job)| job));
                }
                _ => {}
            }
        }
    }
    if !again.is_empty() {
        let _ = done(world.memory.enqueue(again.into_iter().map(NewJob::from).collect(), now))
            .expect("kept");
    }
}

pub(crate) fn promotes(world: &World) -> bool {
    world.bug != Some(Bug::DueForgotten)
}

/// Whoever leads, by the store.
pub(crate) fn leader(world: &World) -> Option<Incarnation> {
    let leader = done(world.memory.leader(world.wall())).expect("read");
    leader.map(|(term, _)| term.node)
}
