//! One coordinator: its engine and its election, driven as its task drives them, but for what a
//! moment of a real one can do to it: it stands still between two lines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orx_coordinator::leader::election::{Election, Turn};
use orx_coordinator::recorder::plan::Events;
use orx_coordinator::{Now, Settings};
use orx_model::message::Hint;
use orx_model::{Incarnation, Timestamp};
use orx_store::{Lead, Leases, Memory, Store, StoreError, Term};

use super::now;
use super::world::START;
use crate::stepped::{Outbox, Stepped};

pub(crate) struct Node {
    pub(crate) engine: Stepped,
    pub(crate) election: Election,
    settings: Settings,
    /// The store's answer is on its way, to a question asked at that moment.
    asked: Option<(Duration, Lead)>,
    /// Another node heard of workers.
    workers: bool,
    /// Another node told of ends, and did not name them all.
    count: bool,
    monitored: Duration,
}

/// How a pass comes about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pass {
    /// The monitor's time has come, whatever its period.
    pub(crate) monitor: bool,
    /// The store takes the question who leads, and its answer comes late.
    pub(crate) slow: bool,
    /// It stood still after it had seen that its lease is good.
    pub(crate) stopped: bool,
}

/// What became of a pass.
#[derive(Default)]
pub(crate) struct Passed {
    pub(crate) outboxes: Vec<Outbox>,
    /// What the last of them gives out, and the room that each worker had before.
    pub(crate) before: BTreeMap<Incarnation, usize>,
    pub(crate) won: Option<Term>,
    /// The store refused what it did in an old term.
    pub(crate) deposed: bool,
    /// What was told was not taken, and comes again.
    pub(crate) again: bool,
}

impl Node {
    pub(crate) fn new(store: &Arc<Memory>, id: Incarnation, seed: u64, at: Now) -> Self {
        let shared: Arc<dyn Store> = Arc::<Memory>::clone(store);
        let settings = Settings::default();
        Self {
            engine: Stepped::new(shared, settings.clone(), id, seed, at),
            election: Election::new(id, settings.clone()),
            settings,
            asked: None,
            workers: false,
            count: false,
            monitored: at.mono,
        }
    }

    /// Its question is under way: until the answer it does nothing else.
    pub(crate) fn waits(&self) -> bool {
        self.asked.is_some()
    }

    pub(crate) fn pass(&mut self, store: &Memory, events: Events, how: Pass, at: Now) -> Passed {
        let mut passed = Passed::default();
        if !how.stopped {
            if !self.elect(store, how.slow, at, &mut passed) {
                passed.again = true;
                return passed;
            }
            self.trust(at);
        }
        match self.round(events, how.monitor, at, &mut passed) {
            Ok(()) => {}
            Err(StoreError::Deposed) => {
                (passed.deposed, passed.again) = (true, true);
                self.election.over(at.mono);
                self.trust(at);
            }
            Err(error) => panic!("the reference store failed: {error}"),
        }
        passed
    }

    /// `false` while the answer is awaited.
    fn elect(&mut self, store: &Memory, slow: bool, at: Now, passed: &mut Passed) -> bool {
        if self.asked.is_none() && self.election.ask_at() <= at.mono {
            // Leases are by the store's clock, whatever a node's shows.
            let clock = Timestamp::from_millis(START + at.mono.as_millis() as i64);
            let answer = now(store.lead(self.election.request(), clock)).expect("answered");
            self.asked = Some((at.mono, answer));
            if slow {
                return false;
            }
        }
        if let Some((asked_at, answer)) = self.asked.take()
            && let Turn::Won(term) = self.election.answered(asked_at, at.mono, answer)
        {
            self.engine.lead(term, at).expect("leads");
            passed.won = Some(term);
        }
        true
    }

    fn trust(&mut self, at: Now) {
        if self.engine.term().is_some() && self.election.leads(at.mono) != self.engine.term() {
            self.engine.follow();
            self.election.ask_now(at.mono);
        }
    }

    fn round(
        &mut self,
        events: Events,
        monitor: bool,
        at: Now,
        passed: &mut Passed,
    ) -> Result<(), StoreError> {
        self.engine.fire(at)?;
        self.engine.promote(at)?;
        if std::mem::take(&mut self.workers) {
            passed.outboxes.push(self.engine.refresh(at)?);
        }
        let monitor = std::mem::take(&mut self.count) || monitor;
        if monitor || at.mono >= self.monitored + self.settings.monitor {
            passed.outboxes.push(self.engine.monitor(at)?);
            self.monitored = at.mono;
        }
        passed.before = self.engine.rooms().all();
        let mut outbox = self.engine.round(events, at);
        match outbox.failed.take() {
            None => {}
            Some(StoreError::Deposed) => {
                passed.deposed = true;
                self.election.over(at.mono);
            }
            Some(error) => return Err(error),
        }
        if let Some(error) = outbox.again.take() {
            return Err(error);
        }
        passed.outboxes.push(outbox);
        Ok(())
    }

    /// What another node tells.
    pub(crate) fn heard(&mut self, hint: &Hint, at: Now) {
        self.engine.heard(hint, at);
        self.workers |= hint.workers;
        self.count |= hint.room && !hint.all_ended;
        if hint.nodes {
            self.election.ask_now(at.mono);
        }
    }

    /// It ends in good order.
    pub(crate) fn goodbye(&self, store: &Memory) {
        if let Some(term) = self.engine.term() {
            now(store.step_down(term)).expect("answered");
        }
    }
}
