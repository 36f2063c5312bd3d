//! Attempts that are over: how they ended is recorded in the store, and whoever waits for that hears of
//! it. The recorder, the gateway and the monitor record through this.

use std::collections::{BTreeMap, BTreeSet};

use orx_model::event::KnownEvent;
use orx_model::message::Message;
use orx_model::{ExecutionId, Incarnation, JobStatus, Outcome, OutcomeKind, Timestamp, policy};
use orx_store::{Recorded, Result, StoreError, Term};
use rand::rngs::StdRng;

use crate::{Context, Now};

impl Context {
    /// With a term, as its leader gives attempts up; without, as a worker told of them. Answers which of
    /// them came too late. After an error it is unknown whether they are recorded.
    pub(crate) async fn record(
        &self,
        told: &[(Incarnation, Outcome)],
        term: Option<Term>,
        rng: &mut StdRng,
        now: Now,
    ) -> Result<BTreeSet<ExecutionId>> {
        if told.is_empty() {
            return Ok(BTreeSet::new());
        }
        // The places count as free for claims beside this: one transaction may do both.
        {
            let mut slots = self.slots();
            for (from, outcome) in told {
                slots.outcome_sent(*from, outcome.execution);
                if matches!(outcome.kind, OutcomeKind::HandedBack) {
                    slots.stop_prefetch(*from);
                }
            }
        }
        if self.term().is_some() {
            self.wakes.dispatcher.notify_one();
        }
        let draws = told.iter().map(|_| policy::draw(rng)).collect();
        let outcomes: Vec<Outcome> = told.iter().map(|(_, outcome)| outcome.clone()).collect();
        let answers = match term {
            Some(term) => self.store.give_up(outcomes, draws, term, now.wall).await,
            None => self.store.record_outcomes(outcomes, draws, now.wall).await,
        };
        let answers = match answers {
            Ok(answers) if answers.len() == told.len() => answers,
            failed => {
                let mut slots = self.slots();
                told.iter()
                    .for_each(|(from, outcome)| slots.outcome_failed(*from, outcome.execution));
                drop(slots);
                // What was claimed for their places waits for this.
                self.wakes.dispatcher.notify_one();
                return Err(failed.err().unwrap_or(StoreError::Unknown));
            }
        };
        Ok(self.recorded(told, &answers, now))
    }

    /// It is in the store: tells whoever waits for it.
    fn recorded(
        &self,
        told: &[(Incarnation, Outcome)],
        answers: &[Recorded],
        now: Now,
    ) -> BTreeSet<ExecutionId> {
        {
            let mut slots = self.slots();
            told.iter()
                .for_each(|(from, outcome)| slots.outcome_recorded(*from, outcome.execution));
        }
        let (mut stale, mut moved) = (BTreeSet::new(), Vec::new());
        let (mut due, mut ready, mut over): (Option<Timestamp>, _, _) = (None, false, false);
        for ((_, outcome), answer) in told.iter().zip(answers) {
            match answer {
                Recorded::Applied { status, run_at } => {
                    let (job, to) = (outcome.job.into(), *status);
                    let event = KnownEvent::JobMoved { job, from: None, to, attempt: None };
                    moved.push(event);
                    match (status, run_at) {
                        (JobStatus::Pending, _) => ready = true,
                        (_, Some(at)) => due = due.into_iter().chain([*at]).min(),
                        (_, None) => over = true,
                    }
                }
                Recorded::Stale { .. } | Recorded::Missing => {
                    stale.insert(outcome.execution);
                }
            }
        }
        let ended = told.iter().map(|(from, outcome)| (*from, outcome.execution));
        // Applied, stale or of an unknown job: all are final, the worker may forget it.
        self.post.send(acks(ended.clone()), now.wall);
        if self.term().is_some() {
            if let Some(at) = due {
                self.wakes.due(at);
            }
            if over {
                self.wakes.ended();
            }
            if ready {
                self.slots().jobs_ready();
            }
            self.wakes.dispatcher.notify_one();
            self.look_idle();
        } else {
            if let Some(at) = due {
                self.wakeups.due(at);
            }
            if ready {
                self.wakeups.work();
            }
            self.wakeups.attempts_ended(ended);
        }
        self.publish(moved, now);
        stale
    }
}

/// One message to each worker.
pub(crate) fn acks(
    outcomes: impl Iterator<Item = (Incarnation, ExecutionId)>,
) -> impl Iterator<Item = (Incarnation, Message)> {
    let mut by_worker: BTreeMap<Incarnation, Vec<ExecutionId>> = BTreeMap::new();
    for (to, execution) in outcomes {
        by_worker.entry(to).or_default().push(execution);
    }
    by_worker.into_iter().map(|(to, executions)| (to, Message::JobResultAck { executions }))
}
