//! Records outcomes of attempts in the store, and wakes the services and nodes that wait for them. The
//! recorder, the gateway and the monitor record through [`Context::record`].

use std::collections::{BTreeMap, BTreeSet};

use orx_model::event::KnownEvent;
use orx_model::message::Message;
use orx_model::{ExecutionId, Incarnation, JobStatus, Outcome, OutcomeKind, Timestamp, policy};
use orx_store::{Recorded, Result, StoreError, Term};
use rand::rngs::StdRng;

use crate::{Context, Now};

impl Context {
    /// Records outcomes, each with the worker of its attempt. `term` is set where this node decided them
    /// as the leader (lost, timed out), and not set where a worker reported them. Returns the executions
    /// whose outcome came too late and changed nothing.
    ///
    /// # Errors
    /// Of the store. Whether the outcomes are recorded is unknown then.
    pub(crate) async fn record(
        &self,
        outcomes: &[(Incarnation, Outcome)],
        term: Option<Term>,
        rng: &mut StdRng,
        now: Now,
    ) -> Result<BTreeSet<ExecutionId>> {
        if outcomes.is_empty() {
            return Ok(BTreeSet::new());
        }
        if term.is_none() {
            self.outcomes_sent(outcomes);
        }
        let draws = outcomes.iter().map(|_| policy::draw(rng)).collect();
        let bare: Vec<Outcome> = outcomes.iter().map(|(_, outcome)| outcome.clone()).collect();
        let answers = match term {
            Some(term) => self.store.record_outcomes_as_leader(bare, draws, term, now.wall).await,
            None => self.store.record_outcomes(bare, draws, now.wall).await,
        };
        match answers {
            Ok(answers) if answers.len() == outcomes.len() => {
                Ok(self.outcomes_recorded(outcomes, &answers, term, now))
            }
            failed => {
                if term.is_none() {
                    self.outcomes_failed(outcomes);
                }
                Err(failed.err().unwrap_or(StoreError::Unknown))
            }
        }
    }

    /// The slots count as free before the outcomes are recorded, so that one transaction can record them
    /// and claim for the slots.
    fn outcomes_sent(&self, outcomes: &[(Incarnation, Outcome)]) {
        {
            let mut slots = self.slots();
            for (worker, outcome) in outcomes {
                slots.outcome_sent(*worker, outcome.execution);
                if matches!(outcome.kind, OutcomeKind::HandedBack) {
                    slots.stop_prefetch(*worker);
                }
            }
        }
        if self.term().is_some() {
            self.wakes.dispatcher.notify_one();
        }
    }

    fn outcomes_failed(&self, outcomes: &[(Incarnation, Outcome)]) {
        {
            let mut slots = self.slots();
            for (worker, outcome) in outcomes {
                slots.outcome_failed(*worker, outcome.execution);
            }
        }
        // It may hold back a dispatch for one of these slots.
        self.wakes.dispatcher.notify_one();
    }

    fn outcomes_recorded(
        &self,
        outcomes: &[(Incarnation, Outcome)],
        answers: &[Recorded],
        term: Option<Term>,
        now: Now,
    ) -> BTreeSet<ExecutionId> {
        {
            let mut slots = self.slots();
            for (worker, outcome) in outcomes {
                match term {
                    Some(_) => slots.attempt_ended(*worker, outcome.execution),
                    None => slots.outcome_recorded(*worker, outcome.execution),
                }
            }
        }
        let (mut stale, mut moved) = (BTreeSet::new(), Vec::new());
        let (mut due, mut ready, mut is_final): (Option<Timestamp>, _, _) = (None, false, false);
        for ((_, outcome), answer) in outcomes.iter().zip(answers) {
            match answer {
                Recorded::Applied { status, run_at } => {
                    let (job, to) = (outcome.job.into(), *status);
                    let event = KnownEvent::JobMoved { job, from: None, to, attempt: None };
                    moved.push(event);
                    match (status, run_at) {
                        (JobStatus::Pending, _) => ready = true,
                        (_, Some(at)) => due = due.into_iter().chain([*at]).min(),
                        (_, None) => is_final = true,
                    }
                }
                Recorded::Stale { .. } | Recorded::Missing => {
                    stale.insert(outcome.execution);
                }
            }
        }
        let ended = outcomes.iter().map(|(worker, outcome)| (*worker, outcome.execution));
        // Applied, stale or of an unknown job: nothing changes it any more, so the worker may drop it.
        self.post.send(acks(ended.clone()), now.wall);
        if self.term().is_some() {
            if let Some(at) = due {
                self.wakes.due(at);
            }
            if is_final {
                self.wakes.ended();
            }
            if ready {
                self.slots().jobs_ready();
            }
            self.wakes.dispatcher.notify_one();
            self.update_idle();
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

/// Acknowledgements of outcomes, one message to each worker.
pub(crate) fn acks(
    outcomes: impl Iterator<Item = (Incarnation, ExecutionId)>,
) -> impl Iterator<Item = (Incarnation, Message)> {
    let mut by_worker: BTreeMap<Incarnation, Vec<ExecutionId>> = BTreeMap::new();
    for (to, execution) in outcomes {
        by_worker.entry(to).or_default().push(execution);
    }
    by_worker.into_iter().map(|(to, executions)| (to, Message::JobResultAck { executions }))
}
