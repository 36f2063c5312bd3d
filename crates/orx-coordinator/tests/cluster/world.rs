//! The shared state of a simulated cluster: the store, the time, randomness, the nodes and workers, and the
//! checks that run whenever a job changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use orx_model::message::{Body, Dispatch, Envelope, HeartbeatAnswer, Message};
use orx_model::{ExecutionId, Incarnation, JobId, LostWith, Outcome, OutcomeKind, Timestamp};
use orx_store::{Dispatching, Leases, Live, Memory, Recorded, Term};
use parking_lot::{Mutex, MutexGuard};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::bug::{self, Bug};
use crate::checker::Checker;
use crate::faults::{AFTER_TERM, Fate, Kinds, LATE, LED, Pace, Trip, copies};
use crate::net::Call;
use crate::node::Node;
use crate::store::done;
use crate::watch::Watch;
use crate::worker::{ALONE, Worker};

/// Without faults a new node leads within this: a lease of 30 s, a poll of 5 s, and the calls to the store.
const NO_LEADER: Duration = Duration::from_secs(30 + 5 + 10);

pub(crate) const START: i64 = 1_800_000_000_000;

/// How often each kind of event happened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) runs: u32,
    pub(crate) terms: u32,
    /// Writes of an old term that the store rejected.
    pub(crate) deposed: u32,
    pub(crate) starts: u32,
    /// Attempts of running workers that were recorded as lost.
    pub(crate) lost: u32,
    pub(crate) late: u32,
    pub(crate) timed_out: u32,
    pub(crate) fired: u32,
    pub(crate) handed_back: u32,
}

/// The current faults.
struct Faults {
    pace: Pace,
    kinds: Kinds,
    /// When the last call of each ordered kind takes effect, by node.
    last: BTreeMap<(Incarnation, &'static str), Instant>,
    /// Since when the only faults are wrong clocks.
    calm: Duration,
    is_over: bool,
    /// When a job last killed its worker.
    death: Duration,
    /// When a node last started or ended.
    nodes: Duration,
}

pub(crate) struct World {
    pub(crate) start: Instant,
    pub(crate) memory: Memory,
    /// One node at a time, with the exclusive lock of the store.
    pub(crate) alone: bool,
    pub(crate) bug: Option<Bug>,
    rng: Mutex<StdRng>,
    faults: Mutex<Faults>,
    checked: Mutex<(Watch, Checker)>,
    /// A job changed since the last check of the rows.
    moved: Mutex<bool>,
    nodes: Mutex<BTreeMap<Incarnation, Arc<Node>>>,
    workers: Mutex<BTreeMap<Incarnation, Arc<Worker>>>,
    trace: Mutex<Vec<String>>,
    failure: Mutex<Option<String>>,
    counts: Mutex<Counts>,
    /// When a lease was claimed or renewed.
    leases: Mutex<Vec<Duration>>,
    /// Jobs with outcomes that the store rejects.
    pub(crate) unwritable: Mutex<BTreeSet<JobId>>,
    /// Number of unanswered requests of people.
    requests: Arc<AtomicU32>,
    /// State of the bug.
    bug_state: Mutex<bug::BugState>,
}

/// Counts as an unanswered request until it is dropped.
pub(crate) struct Request(Arc<AtomicU32>);

impl Drop for Request {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.terms += other.terms;
        self.deposed += other.deposed;
        self.starts += other.starts;
        self.lost += other.lost;
        self.late += other.late;
        self.timed_out += other.timed_out;
        self.fired += other.fired;
        self.handed_back += other.handed_back;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

impl World {
    pub(crate) fn by_seed(seed: u64, alone: bool, bug: Option<Bug>) -> Arc<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let (pace, kinds) = (Pace::some(&mut rng), Kinds::some(&mut rng));
        Self::new(rng, alone, bug, pace, kinds)
    }

    pub(crate) fn new(
        rng: StdRng,
        alone: bool,
        bug: Option<Bug>,
        pace: Pace,
        kinds: Kinds,
    ) -> Arc<Self> {
        let faults = Faults {
            pace,
            kinds,
            last: BTreeMap::new(),
            calm: Duration::ZERO,
            is_over: false,
            death: Duration::ZERO,
            nodes: Duration::ZERO,
        };
        Arc::new(Self {
            start: Instant::now(),
            memory: Memory::new(),
            alone,
            bug,
            rng: Mutex::new(rng),
            faults: Mutex::new(faults),
            checked: Mutex::default(),
            moved: Mutex::default(),
            nodes: Mutex::default(),
            workers: Mutex::default(),
            trace: Mutex::default(),
            failure: Mutex::default(),
            counts: Mutex::default(),
            leases: Mutex::default(),
            unwritable: Mutex::default(),
            requests: Arc::default(),
            bug_state: Mutex::default(),
        })
    }

    pub(crate) fn request(&self) -> Request {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Request(Arc::clone(&self.requests))
    }

    pub(crate) fn has_requests(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The time of a correct clock.
    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp::from_millis(START + self.elapsed().as_millis() as i64)
    }

    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut lock(&self.rng))
    }

    pub(crate) fn log(&self, what: impl FnOnce() -> String) {
        let at = self.elapsed().as_millis();
        lock(&self.trace).push(format!("{at:>7} {}", what()));
    }

    pub(crate) fn take_trace(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.trace))
    }

    /// Fails the run. The first failure is the one that is reported.
    pub(crate) fn fail(&self, why: String) {
        self.log(|| format!("FAILED: {why}"));
        lock(&self.failure).get_or_insert(why);
    }

    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut lock(&self.counts));
    }

    pub(crate) fn all_counts(&self) -> Counts {
        *lock(&self.counts)
    }

    pub(crate) fn nodes(&self) -> MutexGuard<'_, BTreeMap<Incarnation, Arc<Node>>> {
        lock(&self.nodes)
    }

    pub(crate) fn workers(&self) -> MutexGuard<'_, BTreeMap<Incarnation, Arc<Worker>>> {
        lock(&self.workers)
    }

    pub(crate) fn worker(&self, id: Incarnation) -> Option<Arc<Worker>> {
        self.workers().get(&id).cloned()
    }

    pub(crate) fn some_node(&self) -> Option<Arc<Node>> {
        let open: Vec<_> = self.nodes().values().filter(|node| node.is_open()).cloned().collect();
        self.some(&open).cloned()
    }

    pub(crate) fn some_worker(&self) -> Option<Arc<Worker>> {
        let all: Vec<_> = self.workers().values().cloned().collect();
        self.some(&all).cloned()
    }

    pub(crate) fn some<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        (!of.is_empty()).then(|| &of[self.draw(|rng| rng.random_range(0..of.len()))])
    }

    /// The node of a worker; a random other one if that node is gone.
    pub(crate) fn node_of(&self, worker: &Worker) -> Option<Arc<Node>> {
        let link = *lock(&worker.link);
        let linked = link.and_then(|link| self.nodes().get(&link).cloned());
        if let Some(node) = linked.filter(|node| node.is_open() || worker.is_hosted) {
            return Some(node);
        }
        let node = self.some_node()?;
        *lock(&worker.link) = Some(node.id);
        Some(node)
    }

    pub(crate) fn node_at(&self, url: Option<&str>) -> Option<Incarnation> {
        let id = url?.strip_prefix("http://")?.parse().ok().map(Incarnation)?;
        self.nodes().contains_key(&id).then_some(id)
    }

    pub(crate) fn kinds(&self) -> Kinds {
        lock(&self.faults).kinds
    }

    /// Stops all faults.
    pub(crate) fn end_faults(&self) {
        let mut faults = lock(&self.faults);
        (faults.pace, faults.kinds, faults.is_over) = (Pace::Quick, Kinds::NONE, true);
    }

    /// When a job last killed its worker.
    pub(crate) fn last_death(&self) -> Duration {
        lock(&self.faults).death
    }

    /// Whether the faults have ended.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.faults).is_over
    }

    /// Notes a fault other than a wrong clock, for `time` from now on.
    pub(crate) fn disturbed(&self, time: Duration) {
        let until = self.elapsed() + time;
        let mut faults = lock(&self.faults);
        faults.calm = faults.calm.max(until);
    }

    pub(crate) fn calm(&self) -> Duration {
        lock(&self.faults).calm
    }

    pub(crate) fn nodes_changed(&self) {
        lock(&self.faults).nodes = self.elapsed();
    }

    pub(crate) fn bug_state(&self) -> MutexGuard<'_, bug::BugState> {
        lock(&self.bug_state)
    }

    pub(crate) fn newest_term(&self) -> Option<Term> {
        lock(&self.checked).0.newest_term()
    }

    pub(crate) fn term_before(&self, term: Term) -> Option<Term> {
        lock(&self.checked).0.term_before(term)
    }

    /// For `time` the store rejects the outcomes of a job.
    pub(crate) fn cannot_write(self: &Arc<Self>, job: JobId, time: Duration) {
        lock(&self.unwritable).insert(job);
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(time).await;
            lock(&world.unwritable).remove(&job);
        });
    }

    pub(crate) fn copies(&self) -> Vec<Duration> {
        let faulty = self.kinds().messages;
        self.draw(|rng| copies(rng, faulty))
    }

    pub(crate) fn trip(&self, node: &Node, what: &'static str) -> Trip {
        let now = Instant::now();
        let mut faults = lock(&self.faults);
        let (before, after, mut fate) = faults.pace.trip(&mut lock(&self.rng));
        let cut = lock(&node.no_store_until).filter(|until| now < *until);
        if let Some(until) = cut {
            let is_under_way = LED.contains(&what) && until > now + AFTER_TERM;
            if is_under_way && self.draw(|rng| rng.random_bool(0.5)) {
                self.log(|| format!("{} {what}: stranded", node.id.0));
                let late = self.draw(|rng| rng.random_range(0..LATE.as_millis() as u64));
                let applies_at = until + Duration::from_millis(late);
                return Trip { applies_at, answers_at: now + LATE, fate: Fate::Stranded(until) };
            }
            fate = Fate::Unreachable;
        }
        if fate == Fate::Late {
            if LED.contains(&what) {
                self.log(|| format!("{} {what}: {fate:?}", node.id.0));
                let answers_at = now + before + after;
                let late = self.draw(|rng| rng.random_range(0..LATE.as_millis() as u64));
                let applies_at = answers_at + Duration::from_millis(late);
                return Trip { applies_at, answers_at, fate };
            }
            fate = Fate::AnswerLost;
        }
        if before + after > Duration::from_secs(1) {
            faults.calm = faults.calm.max(self.elapsed() + before + after);
        }
        let mut applies_at = now + before;
        let in_order =
            ["enqueue", "record_outcomes", "append_logs", "mark_started", "record_progress"];
        if in_order.contains(&what) && faults.pace != Pace::AtOnce {
            let last = faults.last.insert((node.id, what), applies_at);
            if let Some(last) = last.filter(|last| *last >= applies_at) {
                applies_at = last + Duration::from_millis(1);
                faults.last.insert((node.id, what), applies_at);
            }
        }
        if fate != Fate::Applied {
            self.log(|| format!("{} {what}: {fate:?}", node.id.0));
        }
        Trip { applies_at, answers_at: applies_at + after, fate }
    }

    /// Runs a check, and fails the run if it fails.
    pub(crate) fn check(&self, check: impl FnOnce(&mut Watch, &mut Checker) -> Result<(), String>) {
        let result = {
            let mut checked = lock(&self.checked);
            let (watch, checker) = &mut *checked;
            check(watch, checker)
        };
        if let Err(why) = result {
            self.fail(why);
        }
    }

    /// Checks the changes of jobs since the last call.
    pub(crate) fn check_changes(&self) {
        let history = self.memory.take_history();
        if history.is_empty() {
            return;
        }
        let clock = self.elapsed();
        *lock(&self.moved) = true;
        self.check(|watch, checker| {
            checker.clock = clock;
            history.iter().try_for_each(|it| {
                watch.moved(it, clock)?;
                checker.transition(it)
            })
        });
        self.check_leaders();
    }

    /// I6: each node that counts itself as leader has the newest term.
    fn check_leaders(&self) {
        let believes = |node: &Arc<Node>| Some((node.id, node.coordinator()?.term()?));
        let leaders: Vec<_> = self.nodes().values().filter_map(believes).collect();
        self.check(|watch, _| {
            leaders.iter().try_for_each(|(node, term)| watch.leads(*node, *term))
        });
    }

    /// I14: dead workers and their attempts are lost in time, and a node leads.
    fn check_lost_workers(&self) {
        let (clock, calm) = (self.elapsed(), self.calm());
        let led = lock(&self.leases).last().copied().unwrap_or_default();
        let leader = done(self.memory.leader(self.wall())).expect("read");
        let nodes = self.nodes().clone();
        let Some((term, _)) = leader else {
            let could = nodes.values().any(|node| node.is_open() && node.is_running());
            let since = led.max(calm).max(lock(&self.faults).nodes);
            if could && clock > since + NO_LEADER {
                self.fail(format!("I14: no node leads since {led:?}"));
            }
            return;
        };
        if nodes.get(&term.node).is_some_and(|node| node.is_open()) {
            let live = self.live();
            self.check(|watch, _| watch.lost_in_time(&live, calm, clock));
        }
    }

    /// Checks the leaders, the workers, and, if a job changed, the rows of all jobs.
    pub(crate) fn check_rows(&self) {
        self.check_leaders();
        self.check_lost_workers();
        if std::mem::take(&mut *lock(&self.moved)) {
            let jobs = self.memory.all_jobs();
            self.check(|watch, checker| {
                checker.rows(&jobs)?;
                watch.rows(&jobs)
            });
        }
    }

    pub(crate) fn leases(&self) -> Vec<Duration> {
        lock(&self.leases).clone()
    }

    pub(crate) fn elected(&self, term: Term) {
        lock(&self.leases).push(self.elapsed());
        let mut is_new = false;
        let clock = self.elapsed();
        self.check(|watch, _| {
            is_new = watch.is_new(term);
            watch.elected(term, clock)
        });
        if is_new {
            self.count(|counts| counts.terms += 1);
            self.log(|| format!("{} leads in {}", term.node.0, term.epoch));
        }
    }

    pub(crate) fn takes(&self, outcomes: &[Outcome]) -> bool {
        let unwritable = lock(&self.unwritable);
        !outcomes.iter().any(|outcome| unwritable.contains(&outcome.job))
    }

    pub(crate) fn live(&self) -> Vec<Live> {
        done(self.memory.live_attempts()).expect("read")
    }

    pub(crate) fn live_workers(&self) -> BTreeMap<ExecutionId, Incarnation> {
        self.live().into_iter().map(|live| (live.execution, live.worker)).collect()
    }

    /// A leader recorded these outcomes: lost or timed out.
    pub(crate) fn leader_recorded(
        &self,
        outcomes: &[Outcome],
        answers: &[Recorded],
        holders: &BTreeMap<ExecutionId, Incarnation>,
    ) {
        let (clock, calm) = (self.elapsed(), self.calm());
        self.check(|watch, _| watch.recorded(outcomes, answers, holders));
        for (outcome, answer) in outcomes.iter().zip(answers) {
            let Recorded::Applied { status, .. } = answer else { continue };
            self.log(|| format!("leader recorded: {} {status} {:?}", outcome.job, outcome.kind));
            let Some(worker) = holders.get(&outcome.execution) else { continue };
            match outcome.kind {
                OutcomeKind::Lost { with: LostWith::Worker | LostWith::Server }
                    if self.workers().contains_key(worker) =>
                {
                    self.count(|counts| counts.lost += 1);
                    self.check(|watch, _| watch.lost(*worker, clock, calm));
                }
                OutcomeKind::TimedOut => self.count(|counts| counts.timed_out += 1),
                // A person fenced the worker: a dispatch that is under way may still start.
                OutcomeKind::Lost { with: LostWith::Fence } => self.check(|_, checker| {
                    checker.forced.insert(outcome.execution);
                    Ok(())
                }),
                _ => {}
            }
        }
    }

    /// A node sends a message to a worker.
    pub(crate) fn sends(&self, to: Incarnation, message: &Message) {
        let (live, clock) = (self.live(), self.elapsed());
        self.check(|watch, checker| watch.sends(to, message, &live, checker, clock));
    }

    /// A node acknowledges an envelope.
    pub(crate) fn answered(&self, envelope: &Envelope) {
        let Body::Known(Message::JobResult { outcomes }) = &envelope.body else { return };
        let executions: Vec<_> = outcomes.iter().map(|outcome| outcome.execution).collect();
        let live = self.live();
        self.check(|_, _| Watch::acknowledged(envelope.from, &executions, &live));
    }

    /// A worker publishes a message.
    pub(crate) fn reports(&self, from: Incarnation, message: &Message) {
        let Message::JobResult { outcomes } = message else { return };
        for outcome in outcomes {
            match outcome.kind {
                OutcomeKind::HandedBack => self.count(|counts| counts.handed_back += 1),
                OutcomeKind::Interrupted if outcome.started_at.is_none() => {
                    self.count(|counts| counts.late += 1);
                }
                _ => {}
            }
        }
        self.check(|_, checker| {
            outcomes.iter().for_each(|outcome| checker.reports(from, outcome.execution));
            Ok(())
        });
    }

    /// A call of a worker reached a node.
    pub(crate) fn reached(&self, call: &Call) {
        let clock = self.elapsed();
        self.check(|watch, _| watch.reached(call.by(), clock));
    }

    /// A heartbeat was answered.
    pub(crate) fn beat_answered(
        &self,
        worker: &Worker,
        sent_at: Instant,
        running: &[ExecutionId],
        answer: &HeartbeatAnswer,
    ) {
        let (sent_at, clock) = (sent_at - self.start, self.elapsed());
        self.check(|watch, _| watch.beat_answered(worker.id, sent_at, clock, running, answer));
    }

    /// I9, I12 and I19: a worker starts an attempt.
    pub(crate) fn starts(&self, worker: &Worker, dispatch: &Dispatch) {
        self.count(|counts| counts.starts += 1);
        let running = lock(&worker.running).len();
        self.check(|watch, checker| {
            watch.fits(worker.id, running)?;
            checker.start(worker.id, dispatch)
        });
        if dispatch.name.as_str() != ALONE {
            return;
        }
        let others: Vec<_> = self.workers().values().cloned().collect();
        for other in others.iter().filter(|other| other.id != worker.id && !other.is_suspended()) {
            let mut is_fenced = false;
            self.check(|watch, _| {
                is_fenced = watch.is_fenced(other.id);
                Ok(())
            });
            if is_fenced {
                // By the fence, a person confirmed that the worker is gone.
                continue;
            }
            let beside = |it: &crate::worker::Attempt| it.job == dispatch.job && !it.stopping;
            if lock(&other.running).values().any(beside) {
                let (job, first, second) = (dispatch.job, other.id.0, worker.id.0);
                self.fail(format!("I9: {job} runs at {first}, and starts at {second}"));
            }
        }
    }

    /// Kills the worker after `after`, if it still runs that job.
    pub(crate) fn dies_of(self: &Arc<Self>, worker: Arc<Worker>, job: JobId, after: Duration) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(after).await;
            if !lock(&worker.running).values().any(|attempt| attempt.job == job) {
                return;
            }
            world.log(|| format!("{} dies of {job}", worker.id.0));
            lock(&world.faults).death = world.elapsed();
            if worker.is_hosted {
                world.server_dies();
            } else {
                worker.die();
            }
        });
    }

    /// Kills the only node with all workers that it hosts.
    pub(crate) fn server_dies(&self) {
        let nodes: Vec<_> = self.nodes().values().cloned().collect();
        nodes.iter().for_each(|node| node.die());
        self.nodes().clear();
        let hosted: Vec<_> =
            self.workers().values().filter(|worker| worker.is_hosted).cloned().collect();
        hosted.iter().for_each(|worker| worker.die());
    }
}
