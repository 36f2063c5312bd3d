//! Bugs that are put where the parts of a cluster meet, to see that the simulation finds each.

use orx_model::job::Origin;
use orx_model::message::HeartbeatAnswer;
use orx_model::{
    ExecutionId, Incarnation, JobId, JobSpec, JobStatus, Outcome, OutcomeKind, Timestamp,
};
use orx_store::{
    CancelAnswer, CancelCommand, ClaimRequest, Dispatching, Enqueued, Fire, Jobs, LeadRequest,
    Leases, Live, Recorded, Result, Term,
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
}

impl Bug {
    pub(crate) const ALL: [Self; 21] = [
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
        Some(Bug::LeaseForEver) => {
            LeadRequest { ttl: std::time::Duration::from_secs(3_600), ..request }
        }
        _ => request,
    }
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

pub(crate) fn enqueue(world: &World, jobs: Vec<JobSpec>, now: Timestamp) -> Result<Vec<Enqueued>> {
    match world.bug {
        Some(Bug::EnqueueLost) if world.draw(|rng| rng.random_bool(0.1)) => {
            let id = JobId(1_000_000);
            Ok(jobs.iter().map(|_| Enqueued::New { id, status: JobStatus::Pending }).collect())
        }
        Some(Bug::KeyIgnored) => {
            let keyless = |job: JobSpec| {
                let known = job
                    .key
                    .as_ref()
                    .is_some_and(|key| done(world.memory.job_by_key(key)).expect("read").is_some());
                if known { JobSpec { key: None, ..job } } else { job }
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
        match (world.bug?, job.live) {
            (Bug::CancelForgotten, Some(live)) if !cancel.force => Some(CancelAnswer::Cancelling {
                worker: live.worker,
                execution: live.execution,
                status: job.status,
            }),
            (Bug::CancelNotMade, None) if !job.status.is_final() => {
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
            (Some(Bug::LossesFree), OutcomeKind::Lost { .. }) => OutcomeKind::HandedBack,
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
    if world.bug != Some(Bug::AnswerFirst) || !world.draw(|rng| rng.random_bool(0.1)) {
        return None;
    }
    let applied = Recorded::Applied { status: JobStatus::Completed, run_at: None };
    Some(vec![applied; outcomes.len()])
}

pub(crate) fn record(
    world: &World,
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
                if let Some(live) = job.and_then(|job| job.live) {
                    outcome.execution = live.execution;
                }
            }
        }
        _ => {}
    }
    done(world.memory.record_outcomes(changed, draws, now))
}

pub(crate) fn live(world: &World, mut live: Vec<Live>) -> Vec<Live> {
    if let Some(Bug::TimedOutEarly) = world.bug {
        for attempt in &mut live {
            attempt.timeout_ms = attempt.timeout_ms.map(|_| 0);
        }
    }
    live
}

/// A second job for each slot.
pub(crate) fn fire_again(world: &World, fires: &[Fire], now: Timestamp) {
    if world.bug != Some(Bug::SlotTwice) {
        return;
    }
    let jobs = fires.iter().flat_map(|fire| &fire.runs).map(|run| run.job.clone());
    let slot = |job: &JobSpec| matches!(&job.schedule, Some(Origin { slot: Some(_), .. }));
    let jobs: Vec<JobSpec> = jobs.filter(slot).collect();
    done(world.memory.enqueue(jobs, now)).expect("kept");
}

/// Whoever leads, by the store.
pub(crate) fn leader(world: &World) -> Option<Incarnation> {
    let leader = done(world.memory.leader(world.wall())).expect("read");
    leader.map(|(term, _)| term.node)
}
