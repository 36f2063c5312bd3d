//! Coordinators and workers over one store, and everything that may happen to them, in an order
//! that a seed decides. Each coordinator and each worker is the real one; the rest is played.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orx_coordinator::Now;
use orx_coordinator::recorder::plan::Events;
use orx_model::message::{ExecutionRef, HeartbeatAnswer, Hint, Message, WorkerHeartbeat};
use orx_model::{Incarnation, Job, JobId, SecretHash, Timestamp};
use orx_store::{
    CancelAnswer, CancelCommand, Dispatching, Enqueued, Jobs, Leases, Memory, RetryAnswer,
};
use orx_worker::protocol::{Input, WAITS_MOST};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::node::{Node, Pass, Passed};
use super::{Checker, Told, Worker, a_job, now};
use crate::stepped::Outbox;

/// A message on its way.
#[derive(Clone)]
enum Mail {
    ToWorker(Incarnation, Message),
    /// From a worker, to the node that it talks to, or to another.
    ToNode(Incarnation, Message),
    Heartbeat(Incarnation, WorkerHeartbeat),
    /// To a worker, by a node, to the heartbeat of that number.
    Answer(Incarnation, Incarnation, HeartbeatAnswer, u64),
    /// From one node to another.
    Hint(Incarnation, Hint),
}

/// How often a thing happened that a simulation is for.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) runs: u32,
    pub(crate) terms: u32,
    /// A leader of an old term acted, and the store refused it.
    pub(crate) deposed: u32,
    /// A worker had no slot for what was sent ahead to it.
    pub(crate) handed_back: u32,
}

pub(crate) struct World {
    rng: StdRng,
    store: Arc<Memory>,
    /// How many coordinators it is made for. A single one hosts its workers.
    most: usize,
    nodes: BTreeMap<Incarnation, Node>,
    /// Each with the node that it talks to.
    workers: BTreeMap<Incarnation, (Worker, Incarnation)>,
    mail: Vec<Mail>,
    clock: Duration,
    /// By how many milliseconds the clock of a node or worker is wrong.
    ahead: BTreeMap<Incarnation, i64>,
    checker: Checker,
    trace: Vec<String>,
    /// Messages are lost and doubled, and things die.
    trouble: bool,
    /// Something moved since the rows were last compared.
    moved: bool,
    ids: u128,
    pub(crate) seen: Seen,
}

pub(crate) const START: i64 = 1_800_000_000_000;
/// Clocks are wrong by up to so much, either way.
const AHEAD_MS: i64 = 600_000;

/// Within so long after the last trouble a leader is lost and another found, who finds that a
/// worker is lost: a lease each, the period by which each is looked at, and the time after which a
/// dispatch is asked about.
const CONVERGED: Duration = Duration::from_secs(30 + 30 + 15 + 20);

impl World {
    pub(crate) fn new(seed: u64, most: usize) -> Self {
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed),
            store: Arc::new(Memory::new()),
            most,
            nodes: BTreeMap::new(),
            workers: BTreeMap::new(),
            mail: Vec::new(),
            clock: Duration::ZERO,
            ahead: BTreeMap::new(),
            checker: Checker::default(),
            trace: Vec::new(),
            trouble: true,
            moved: false,
            ids: 0,
            seen: Seen::default(),
        };
        for _ in 0..most {
            world.add_node();
        }
        world.ids = 100;
        for _ in 0..3 {
            world.add_worker();
        }
        world
    }

    /// All of it, up to rest.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.random_range(20..220) {
            self.step()?;
        }
        self.settle()
    }

    pub(crate) fn into_trace(self) -> Vec<String> {
        self.trace
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(START + self.clock.as_millis() as i64)
    }

    /// What the clocks of a node or worker show.
    fn instant(&self, of: Incarnation) -> Now {
        let ahead = self.ahead.get(&of).copied().unwrap_or_default();
        let wall = Timestamp::from_millis(self.wall().as_millis() + ahead);
        Now { wall, mono: self.clock }
    }

    /// The clock of a node or worker is set.
    fn set_clock(&mut self) {
        let all: Vec<_> = self.nodes.keys().chain(self.workers.keys()).copied().collect();
        let place = self.rng.random_range(0..all.len());
        let ahead = self.rng.random_range(-AHEAD_MS..AHEAD_MS);
        self.say(format!("the clock of {} is ahead by {ahead} ms", all[place].0));
        self.ahead.insert(all[place], ahead);
    }

    fn say(&mut self, what: String) {
        self.trace.push(what);
    }

    fn alone(&self) -> bool {
        self.most == 1
    }

    fn chance(&mut self, of: f64) -> bool {
        self.trouble && self.rng.random_bool(of)
    }

    fn some_node(&mut self) -> Incarnation {
        let place = self.rng.random_range(0..self.nodes.len());
        *self.nodes.keys().nth(place).expect("a place")
    }

    fn some_worker(&mut self) -> Option<Incarnation> {
        let place = self.rng.random_range(0..self.workers.len().max(1));
        self.workers.keys().nth(place).copied()
    }

    fn add_node(&mut self) {
        self.ids += 1;
        let (id, at) = (Incarnation(self.ids), self.instant(Incarnation(self.ids)));
        let seed = self.rng.random();
        let mut node = Node::new(&self.store, id, seed, at);
        if self.alone() {
            // The store's lock proves that whoever had it is gone.
            if let Some((term, _)) = now(self.store.leader(at.wall)).expect("read") {
                now(self.store.step_down(term)).expect("stepped down");
            }
            let passed = node.pass(&self.store, Events::default(), Pass::default(), at);
            self.nodes.insert(id, node);
            self.follows(id, passed).expect("nobody has a job yet");
            let node = self.nodes.get_mut(&id).expect("the node");
            let rescued = node.engine.rescue_hosted(at).expect("rescued");
            self.deliver(id, rescued);
        } else {
            self.nodes.insert(id, node);
            self.hint(id, Hint { nodes: true, ..Hint::default() });
        }
    }

    fn add_worker(&mut self) {
        self.ids += 1;
        let of = Incarnation(self.ids);
        let slots = self.rng.random_range(1..4);
        let worker = Worker::new(of, slots, self.instant(of));
        let node = self.some_node();
        self.workers.insert(of, (worker, node));
        if let Some(answer) = self.register(of) {
            let registered = self.step_worker(of, Input::Answered { heartbeat: 0, answer });
            registered.expect("nobody has a job yet");
        }
    }

    fn register(&mut self, of: Incarnation) -> Option<HeartbeatAnswer> {
        let to = self.node_of(of);
        let at = self.instant(to);
        let (Some((worker, _)), Some(node)) = (self.workers.get_mut(&of), self.nodes.get_mut(&to))
        else {
            return None;
        };
        let registration = worker.registration.clone();
        let secret = (self.most != 1).then_some(SecretHash([7; 32]));
        let told = node.engine.register(registration, secret, at);
        self.deliver(to, told.1);
        Some(told.0)
    }

    /// The node that a worker talks to: another where that one is gone, and now and then for no
    /// reason.
    fn node_of(&mut self, worker: Incarnation) -> Incarnation {
        let other = self.some_node();
        let moves = self.chance(0.1);
        let Some((_, node)) = self.workers.get_mut(&worker) else { return other };
        if moves || !self.nodes.contains_key(node) {
            *node = other;
        }
        *node
    }

    fn deliver(&mut self, from: Incarnation, outbox: Outbox) {
        for (to, message) in outbox.send {
            self.post(Mail::ToWorker(to, message));
        }
        if let Some(hint) = outbox.hint.filter(|hint| !hint.is_empty()) {
            self.hint(from, hint);
        }
    }

    fn hint(&mut self, from: Incarnation, hint: Hint) {
        let others: Vec<_> = self.nodes.keys().copied().filter(|node| *node != from).collect();
        for to in others {
            self.post(Mail::Hint(to, hint.clone()));
        }
    }

    fn post(&mut self, mail: Mail) {
        if self.chance(0.15) {
            self.say("lost a message".into());
            return;
        }
        if self.chance(0.1) {
            self.mail.push(mail.clone());
        }
        self.mail.push(mail);
    }

    fn step_worker(&mut self, of: Incarnation, input: Input) -> Result<(), String> {
        self.moved |= self.look()?;
        let at = self.instant(of);
        let Some((worker, _)) = self.workers.get_mut(&of) else { return Ok(()) };
        for told in worker.step(input, at, &mut self.checker, &mut self.trace)? {
            match told {
                Told::Coordinator(message) => self.post(Mail::ToNode(of, message)),
                Told::Heartbeat(heartbeat) => self.send_heartbeat(of, heartbeat),
                Told::Register => {
                    if let Some(answer) = self.register(of) {
                        self.step_worker(of, Input::Registered(answer))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn heartbeat(&mut self, of: Incarnation) {
        let at = self.clock;
        let heartbeat = self.workers.get_mut(&of).map(|(worker, _)| worker.core.heartbeat(at));
        if let Some(heartbeat) = heartbeat {
            self.send_heartbeat(of, heartbeat);
        }
    }

    fn send_heartbeat(&mut self, of: Incarnation, heartbeat: WorkerHeartbeat) {
        let to = self.node_of(of);
        self.post(Mail::Heartbeat(to, heartbeat));
    }

    fn end_attempt(&mut self, of: Incarnation) -> Result<(), String> {
        let at = self.instant(of);
        let Some((worker, _)) = self.workers.get_mut(&of) else { return Ok(()) };
        match worker.end_one(&mut self.rng, at) {
            Some(Input::Ended(outcome)) => {
                let (job, how) = (outcome.job, outcome.kind.status());
                self.say(format!("{} ends {job} {how}", of.0));
                self.step_worker(of, Input::Ended(outcome))
            }
            _ => Ok(()),
        }
    }

    /// One pass of a node. Answers whether it took the events.
    fn pass(&mut self, id: Incarnation, events: Events, how: Pass) -> Result<bool, String> {
        let at = self.instant(id);
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(false) };
        let passed = node.pass(&self.store, events, how, at);
        let taken = !passed.again;
        self.follows(id, passed)?;
        Ok(taken)
    }

    fn follows(&mut self, id: Incarnation, passed: Passed) -> Result<(), String> {
        self.moved |= self.look()?;
        if let Some(term) = passed.won {
            self.seen.terms += 1;
            self.say(format!("{} leads in {}", id.0, term.epoch));
            self.hint(id, Hint { nodes: true, ..Hint::default() });
        }
        if passed.deposed {
            self.seen.deposed += 1;
            self.say(format!("{} is refused", id.0));
        }
        if let Some(outbox) = passed.outboxes.last() {
            self.check_dispatches(id, outbox, &passed.before)?;
        }
        for outbox in passed.outboxes {
            self.deliver(id, outbox);
        }
        Ok(())
    }

    /// I18 and I20: what is given out goes by priority, due time and id, within the room.
    fn check_dispatches(
        &self,
        by: Incarnation,
        outbox: &Outbox,
        before: &BTreeMap<Incarnation, usize>,
    ) -> Result<(), String> {
        let live = now(self.store.live_attempts()).expect("read");
        for (to, message) in &outbox.send {
            let Message::JobDispatch { jobs, .. } = message else { continue };
            let order: Vec<_> = jobs
                .iter()
                .map(|job| (std::cmp::Reverse(job.priority), job.run_at, job.job))
                .collect();
            if !order.is_sorted() {
                return Err(format!("I18: {} got {order:?}", to.0));
            }
            let capacity = self
                .nodes
                .get(&by)
                .and_then(|node| node.engine.rooms().seat(*to).map(|seat| seat.capacity()));
            let capacity = capacity.ok_or("I20: a dispatch to a stranger")?;
            let of_worker = || live.iter().filter(|attempt| attempt.worker == *to);
            let held = of_worker().count();
            if held > 1 && of_worker().any(|attempt| attempt.alone) {
                return Err(format!("I35: {} holds {held}, and one that runs alone", to.0));
            }
            let most = (capacity as usize).max(before.get(to).copied().unwrap_or_default());
            if held > most {
                return Err(format!("I20: {} holds {held} of {most}", to.0));
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        match self.rng.random_range(0..100) {
            0..14 => self.enqueue(),
            14..44 => self.take_mail()?,
            44..56 => {
                if let Some(of) = self.some_worker() {
                    self.end_attempt(of)?;
                }
            }
            56..66 => {
                let id = self.some_node();
                let slow = !self.alone() && self.chance(0.2);
                self.pass(id, Events::default(), Pass { slow, ..Pass::default() })?;
            }
            66..74 => {
                if let Some(of) = self.some_worker() {
                    self.heartbeat(of);
                }
            }
            74..82 => {
                let seconds = self.rng.random_range(0..12);
                self.clock += Duration::from_millis(seconds * 1_000 + 7);
                self.say(format!("{} ms", self.clock.as_millis()));
            }
            82..86 => {
                let id = self.some_node();
                self.pass(id, Events::default(), Pass { monitor: true, ..Pass::default() })?;
            }
            86..90 => self.cancel(),
            90 => self.set_clock(),
            91..93 => self.retry(),
            93..95 => {
                if let Some(of) = self.some_worker().filter(|_| self.trouble) {
                    self.say(format!("{} dies", of.0));
                    self.workers.remove(&of);
                    self.add_worker();
                }
            }
            95 => {
                if let Some(of) = self.some_worker().filter(|_| self.trouble) {
                    self.say(format!("{} stops", of.0));
                    let how = if self.rng.random_bool(0.5) { Input::Drain } else { Input::Stop };
                    self.step_worker(of, how)?;
                    self.heartbeat(of);
                    self.add_worker();
                }
            }
            96 if self.alone() => self.crash(),
            96..98 if !self.alone() => self.lose_node(),
            98.. if !self.alone() => self.act_late()?,
            _ => self.hand_back()?,
        }
        self.check()
    }

    fn enqueue(&mut self) {
        let at = self.wall();
        let by = self.some_node();
        let spec = a_job(&mut self.rng, at);
        let due = [spec.run_at, spec.expires_at, spec.deadline].into_iter().flatten().min();
        if let Enqueued::New { id, .. } = now(self.store.enqueue(vec![spec], at)).expect("kept")[0]
        {
            self.checker.accepted.insert(id);
            self.say(format!("accepted {id}"));
        }
        if let (Some(due), Some(node)) = (due, self.nodes.get_mut(&by)) {
            node.engine.due_at(due);
        }
        self.hint(by, Hint { work: true, due, ..Hint::default() });
    }

    fn take_mail(&mut self) -> Result<(), String> {
        if self.mail.is_empty() {
            return Ok(());
        }
        // Any of them: late and out of order.
        let place = self.rng.random_range(0..self.mail.len());
        match self.mail.swap_remove(place) {
            Mail::ToWorker(to, message) => self.step_worker(to, Input::Message(message)),
            Mail::ToNode(from, message) => {
                let to = self.node_of(from);
                let mut events = Events::default();
                events.add(from, message.clone());
                if !self.pass(to, events, Pass::default())? {
                    // Unanswered: the worker tells it again.
                    self.mail.push(Mail::ToNode(from, message));
                }
                Ok(())
            }
            Mail::Heartbeat(to, heartbeat) => {
                let at = self.instant(to);
                let Some(node) = self.nodes.get_mut(&to).filter(|node| !node.waits()) else {
                    return Ok(());
                };
                let secret = (self.most != 1).then_some(SecretHash([7; 32]));
                let told = node.engine.heartbeat(&heartbeat, secret, at);
                self.deliver(to, told.1);
                self.post(Mail::Answer(heartbeat.incarnation, to, told.0, heartbeat.seq));
                Ok(())
            }
            Mail::Answer(to, by, answer, number) => {
                if let Some((_, node)) = self.workers.get_mut(&to)
                    && answer.register
                {
                    *node = by;
                }
                self.step_worker(to, Input::Answered { heartbeat: number, answer })
            }
            Mail::Hint(to, hint) => {
                let at = self.instant(to);
                if let Some(node) = self.nodes.get_mut(&to) {
                    node.heard(&hint, at);
                }
                self.pass(to, Events::default(), Pass::default()).map(|_| ())
            }
        }
    }

    /// The time of what waits at workers for a slot is over. Nothing is left there that waited for
    /// longer, and it went back to its place.
    fn hand_back(&mut self) -> Result<(), String> {
        self.clock += WAITS_MOST;
        for of in self.workers.keys().copied().collect::<Vec<_>>() {
            let waits = |world: &Self| world.workers.get(&of)?.0.core.hand_back_at();
            if waits(self).is_none_or(|at| at > self.clock) {
                continue;
            }
            self.seen.handed_back += 1;
            self.step_worker(of, Input::Overdue)?;
            if waits(self).is_some_and(|at| at <= self.clock) {
                return Err(format!("I18: {} hoards what it has no slot for", of.0));
            }
        }
        Ok(())
    }

    fn some_job(&mut self) -> Option<JobId> {
        let count = self.checker.accepted.len();
        if count == 0 {
            return None;
        }
        let place = self.rng.random_range(0..count);
        self.checker.accepted.iter().nth(place).copied()
    }

    fn cancel(&mut self) {
        let Some(id) = self.some_job() else { return };
        let force = self.rng.random_bool(0.2);
        let cancel = CancelCommand { id, reason: None, by: None, force, expected: None };
        let answer = now(self.store.cancel(vec![cancel], self.wall())).expect("answered")[0];
        self.say(format!("cancel {id}: {answer:?}"));
        let stop = match answer {
            CancelAnswer::Cancelled { stop } => stop,
            CancelAnswer::Cancelling { worker, execution, .. } => Some((worker, execution)),
            _ => None,
        };
        let is_done = matches!(answer, CancelAnswer::Cancelled { .. });
        if is_done {
            self.checker.promised(id);
        }
        if let Some((worker, execution)) = stop {
            if is_done {
                self.checker.forced.insert(execution);
            }
            let executions = vec![ExecutionRef { job: id, execution }];
            self.post(Mail::ToWorker(worker, Message::JobCancel { executions }));
        }
    }

    fn retry(&mut self) {
        let Some(id) = self.some_job() else { return };
        let answer = now(self.store.retry(vec![id], self.wall())).expect("answered")[0];
        if answer == RetryAnswer::Retried {
            self.say(format!("retry {id}"));
        }
    }

    /// The only server with all that it hosts; the store is what is left.
    fn crash(&mut self) {
        if !self.trouble {
            return;
        }
        self.say("the server dies".into());
        self.mail.clear();
        self.workers.clear();
        self.nodes.clear();
        self.add_node();
        for _ in 0..2 {
            self.add_worker();
        }
    }

    /// One of several ends, the leader more often than others, or one comes back.
    fn lose_node(&mut self) {
        if !self.trouble {
            return;
        }
        if self.nodes.len() < self.most {
            self.add_node();
            return;
        }
        let leads = self.nodes.iter().find(|(_, node)| node.engine.term().is_some());
        let leader = leads.map(|(id, _)| *id);
        let some = self.some_node();
        let id = leader.filter(|_| self.rng.random_bool(0.6)).unwrap_or(some);
        let Some(node) = self.nodes.remove(&id) else { return };
        if self.rng.random_bool(0.3) {
            self.say(format!("node {} ends", id.0));
            node.goodbye(&self.store);
            self.hint(id, Hint { nodes: true, ..Hint::default() });
        } else {
            self.say(format!("node {} dies", id.0));
        }
    }

    /// A node that leads, or led, is stopped between its look at its lease and what follows from
    /// it, for about as long as the lease; the others go on.
    fn act_late(&mut self) -> Result<(), String> {
        let leads = self.nodes.iter().find(|(_, node)| node.engine.term().is_some());
        let Some(id) = leads.map(|(id, _)| *id).filter(|_| self.trouble) else { return Ok(()) };
        self.say(format!("{} stands still", id.0));
        let others: Vec<_> = self.nodes.keys().copied().filter(|other| *other != id).collect();
        for _ in 0..self.rng.random_range(1..5) {
            self.clock += Duration::from_millis(self.rng.random_range(5_000..20_000));
            for other in &others {
                self.pass(*other, Events::default(), Pass::default())?;
            }
        }
        self.say(format!("{} goes on", id.0));
        let monitor = self.rng.random_bool(0.5);
        let how = Pass { monitor, stopped: true, ..Pass::default() };
        self.pass(id, Events::default(), how).map(|_| ())
    }

    /// What moved since this was last asked. Answers whether something did.
    fn look(&mut self) -> Result<bool, String> {
        let history = self.store.take_history();
        self.checker.clock = self.clock;
        history.iter().try_for_each(|transition| self.checker.transition(transition))?;
        Ok(!history.is_empty())
    }

    /// After each step.
    fn check(&mut self) -> Result<(), String> {
        let lead = self.nodes.values().filter_map(|node| node.election.leads(self.clock));
        let lead: Vec<_> = lead.collect();
        if lead.len() > 1 {
            return Err(format!("I6: at one moment more than one leads: {lead:?}"));
        }
        self.moved |= self.look()?;
        if std::mem::take(&mut self.moved) {
            self.checker.rows(&self.store.all_jobs())?;
        }
        Ok(())
    }

    /// I17: without trouble, everything ends within a bounded number of periods.
    fn settle(&mut self) -> Result<(), String> {
        self.trouble = false;
        self.say("the trouble is over".into());
        self.ahead.clear();
        self.add_worker();
        let over = self.clock;
        // Enough for every retry of every job to come due, each with a lease or two in between.
        for _ in 0..400 {
            self.clock += Duration::from_secs(10);
            for of in self.workers.keys().copied().collect::<Vec<_>>() {
                self.heartbeat(of);
            }
            for id in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.pass(id, Events::default(), Pass { monitor: true, ..Pass::default() })?;
            }
            while !self.mail.is_empty() {
                self.take_mail()?;
            }
            self.hand_back()?;
            for of in self.workers.keys().copied().collect::<Vec<_>>() {
                while self.workers.get(&of).is_some_and(|(worker, _)| !worker.running.is_empty()) {
                    self.end_attempt(of)?;
                }
            }
            while !self.mail.is_empty() {
                self.take_mail()?;
            }
            self.check()?;
            let jobs = self.store.all_jobs();
            if self.clock > over + CONVERGED {
                self.checker.converged(&jobs, self.clock - CONVERGED)?;
            }
            let open = jobs.iter().any(|job| !job.status.is_final());
            if !open && self.workers.values().all(|(worker, _)| worker.core.is_idle()) {
                let all = |job: &Job| now(self.store.attempts(job.id)).expect("read");
                return jobs.iter().try_for_each(|job| self.checker.timed_out(job, &all(job)));
            }
        }
        let open: Vec<String> = self
            .store
            .all_jobs()
            .iter()
            .filter(|job| !job.status.is_final())
            .map(|job| format!("{} {} {:?}", job.id, job.status, job.live))
            .collect();
        Err(format!("I17: it does not come to rest: {}", open.join(", ")))
    }
}
