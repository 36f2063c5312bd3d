//! What the parts of a simulated cluster share: the store, the time, chance, who is there, and what is
//! checked whenever something moves.

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
use crate::net::Call;
use crate::node::Node;
use crate::store::done;
use crate::trouble::{AFTER_TERM, Fate, Kinds, LATE, LED, Pace, Trip, copies};
use crate::watch::Watch;
use crate::worker::{ALONE, Worker};

/// Without trouble a lease is over, and somebody has asked for it, after this: 30 s and a poll of 5 s, and
/// what the store takes for it.
const NOBODY_LEADS: Duration = Duration::from_secs(30 + 5 + 10);

pub(crate) const START: i64 = 1_800_000_000_000;

/// How often a thing happened that a simulation is for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) runs: u32,
    pub(crate) terms: u32,
    /// A leader of an old term acted, and the store refused it.
    pub(crate) deposed: u32,
    pub(crate) starts: u32,
    /// Workers that lived, and were given up.
    pub(crate) lost: u32,
    pub(crate) late: u32,
    pub(crate) timed_out: u32,
    pub(crate) fired: u32,
    pub(crate) handed_back: u32,
}

/// What is wrong now.
struct Weather {
    pace: Pace,
    kinds: Kinds,
    /// When the last call of a kind that keeps its order takes effect.
    last: BTreeMap<(Incarnation, &'static str), Instant>,
    /// Since when nothing but clocks was wrong.
    calm: Duration,
    is_over: bool,
    /// Of whoever died last.
    death: Duration,
    /// When a node last came or went.
    nodes: Duration,
}

pub(crate) struct World {
    pub(crate) start: Instant,
    pub(crate) memory: Memory,
    /// One node at a time, which has the store for itself.
    pub(crate) alone: bool,
    pub(crate) bug: Option<Bug>,
    rng: Mutex<StdRng>,
    weather: Mutex<Weather>,
    checked: Mutex<(Watch, Checker)>,
    /// Something moved since the rows were last looked at.
    moved: Mutex<bool>,
    nodes: Mutex<BTreeMap<Incarnation, Arc<Node>>>,
    workers: Mutex<BTreeMap<Incarnation, Arc<Worker>>>,
    trace: Mutex<Vec<String>>,
    failure: Mutex<Option<String>>,
    seen: Mutex<Seen>,
    /// When leases were given or renewed.
    leases: Mutex<Vec<Duration>>,
    /// Jobs whose outcomes the store cannot take.
    pub(crate) unwritable: Mutex<BTreeSet<JobId>>,
    /// Of people, not yet answered.
    requests: Arc<AtomicU32>,
    /// What the bug remembers.
    remembered: Mutex<bug::Remembered>,
}

/// While it is held, somebody waits for an answer.
pub(crate) struct Request(Arc<AtomicU32>);

impl Drop for Request {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Seen {
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
        let weather = Weather {
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
            weather: Mutex::new(weather),
            checked: Mutex::default(),
            moved: Mutex::default(),
            nodes: Mutex::default(),
            workers: Mutex::default(),
            trace: Mutex::default(),
            failure: Mutex::default(),
            seen: Mutex::default(),
            leases: Mutex::default(),
            unwritable: Mutex::default(),
            requests: Arc::default(),
            remembered: Mutex::default(),
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

    /// By a clock that is right.
    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp::from_millis(START + self.elapsed().as_millis() as i64)
    }

    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut lock(&self.rng))
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        let at = self.elapsed().as_millis();
        lock(&self.trace).push(format!("{at:>7} {}", what()));
    }

    pub(crate) fn take_trace(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.trace))
    }

    /// The first failure is the one that counts.
    pub(crate) fn fail(&self, why: String) {
        self.say(|| format!("FAILED: {why}"));
        lock(&self.failure).get_or_insert(why);
    }

    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    pub(crate) fn seen(&self, count: impl FnOnce(&mut Seen)) {
        count(&mut lock(&self.seen));
    }

    pub(crate) fn all_seen(&self) -> Seen {
        *lock(&self.seen)
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

    /// The node that a worker talks to: another, where that one is gone.
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
        lock(&self.weather).kinds
    }

    /// From now on nothing goes wrong.
    pub(crate) fn clears_up(&self) {
        let mut weather = lock(&self.weather);
        (weather.pace, weather.kinds, weather.is_over) = (Pace::Quick, Kinds::NONE, true);
    }

    /// When a job killed its worker last.
    pub(crate) fn last_death(&self) -> Duration {
        lock(&self.weather).death
    }

    /// The trouble.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.weather).is_over
    }

    /// Something else than a clock is wrong, for so long.
    pub(crate) fn disturbed(&self, time: Duration) {
        let until = self.elapsed() + time;
        let mut weather = lock(&self.weather);
        weather.calm = weather.calm.max(until);
    }

    pub(crate) fn calm(&self) -> Duration {
        lock(&self.weather).calm
    }

    pub(crate) fn nodes_changed(&self) {
        lock(&self.weather).nodes = self.elapsed();
    }

    pub(crate) fn remembered(&self) -> MutexGuard<'_, bug::Remembered> {
        lock(&self.remembered)
    }

    pub(crate) fn newest_term(&self) -> Option<Term> {
        lock(&self.checked).0.newest_term()
    }

    pub(crate) fn term_before(&self, term: Term) -> Option<Term> {
        lock(&self.checked).0.term_before(term)
    }

    /// For so long the outcomes of a job cannot be written.
    pub(crate) fn cannot_write(self: &Arc<Self>, job: JobId, time: Duration) {
        lock(&self.unwritable).insert(job);
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(time).await;
            lock(&world.unwritable).remove(&job);
        });
    }

    pub(crate) fn copies(&self) -> Vec<Duration> {
        let trouble = self.kinds().messages;
        self.draw(|rng| copies(rng, trouble))
    }

    pub(crate) fn trip(&self, node: &Node, what: &'static str) -> Trip {
        let now = Instant::now();
        let mut weather = lock(&self.weather);
        let (before, after, mut fate) = weather.pace.trip(&mut lock(&self.rng));
        let away = lock(&node.away_until).filter(|until| now < *until);
        if let Some(until) = away {
            let is_under_way = LED.contains(&what) && until > now + AFTER_TERM;
            if is_under_way && self.draw(|rng| rng.random_bool(0.5)) {
                self.say(|| format!("{} {what}: under way for long", node.id.0));
                let late = self.draw(|rng| rng.random_range(0..LATE.as_millis() as u64));
                let applies_at = until + Duration::from_millis(late);
                return Trip { applies_at, answers_at: now + LATE, fate: Fate::Stranded(until) };
            }
            fate = Fate::Away;
        }
        if fate == Fate::Late {
            if LED.contains(&what) {
                self.say(|| format!("{} {what}: {fate:?}", node.id.0));
                let answers_at = now + before + after;
                let late = self.draw(|rng| rng.random_range(0..LATE.as_millis() as u64));
                let applies_at = answers_at + Duration::from_millis(late);
                return Trip { applies_at, answers_at, fate };
            }
            fate = Fate::AnswerLost;
        }
        if before + after > Duration::from_secs(1) {
            weather.calm = weather.calm.max(self.elapsed() + before + after);
        }
        let mut applies_at = now + before;
        let in_order =
            ["enqueue", "record_outcomes", "append_logs", "mark_started", "record_progress"];
        if in_order.contains(&what) && weather.pace != Pace::AtOnce {
            let last = weather.last.insert((node.id, what), applies_at);
            if let Some(last) = last.filter(|last| *last >= applies_at) {
                applies_at = last + Duration::from_millis(1);
                weather.last.insert((node.id, what), applies_at);
            }
        }
        if fate != Fate::Done {
            self.say(|| format!("{} {what}: {fate:?}", node.id.0));
        }
        Trip { applies_at, answers_at: applies_at + after, fate }
    }

    /// What must hold.
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

    /// What moved since this was last asked.
    pub(crate) fn look(&self) {
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
        self.look_at_leaders();
    }

    /// I6: who believes to lead does, and nobody else.
    fn look_at_leaders(&self) {
        let believes = |node: &Arc<Node>| Some((node.id, node.coordinator()?.term()?));
        let leaders: Vec<_> = self.nodes().values().filter_map(believes).collect();
        self.check(|watch, _| {
            leaders.iter().try_for_each(|(node, term)| watch.leads(*node, *term))
        });
    }

    /// I14: whoever is dead is found, and what it had is given up; and somebody leads.
    fn look_at_the_dead(&self) {
        let (clock, calm) = (self.elapsed(), self.calm());
        let led = lock(&self.leases).last().copied().unwrap_or_default();
        let leader = done(self.memory.leader(self.wall())).expect("read");
        let nodes = self.nodes().clone();
        let Some((term, _)) = leader else {
            let could = nodes.values().any(|node| node.is_open() && node.is_going());
            let since = led.max(calm).max(lock(&self.weather).nodes);
            if could && clock > since + NOBODY_LEADS {
                self.fail(format!("I14: nobody leads since {led:?}"));
            }
            return;
        };
        if nodes.get(&term.node).is_some_and(|node| node.is_open()) {
            let live = self.live();
            self.check(|watch, _| watch.given_up(&live, calm, clock));
        }
    }

    /// The rows of all jobs, if something moved.
    pub(crate) fn look_at_rows(&self) {
        self.look_at_leaders();
        self.look_at_the_dead();
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
            self.seen(|seen| seen.terms += 1);
            self.say(|| format!("{} leads in {}", term.node.0, term.epoch));
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

    /// A leader let go of these.
    pub(crate) fn gave_up(
        &self,
        outcomes: &[Outcome],
        answers: &[Recorded],
        holders: &BTreeMap<ExecutionId, Incarnation>,
    ) {
        let (clock, calm) = (self.elapsed(), self.calm());
        self.check(|watch, _| watch.recorded(outcomes, answers, holders));
        for (outcome, answer) in outcomes.iter().zip(answers) {
            let Recorded::Applied { status, .. } = answer else { continue };
            self.say(|| format!("given up: {} {status} {:?}", outcome.job, outcome.kind));
            let Some(worker) = holders.get(&outcome.execution) else { continue };
            match outcome.kind {
                OutcomeKind::Lost { with: LostWith::Worker | LostWith::Server }
                    if self.workers().contains_key(worker) =>
                {
                    self.seen(|seen| seen.lost += 1);
                    self.check(|watch, _| watch.lost(*worker, clock, calm));
                }
                OutcomeKind::TimedOut => self.seen(|seen| seen.timed_out += 1),
                // A person took it off its worker: what is under way to there may start.
                OutcomeKind::Lost { with: LostWith::Fence } => self.check(|_, checker| {
                    checker.forced.insert(outcome.execution);
                    Ok(())
                }),
                _ => {}
            }
        }
    }

    /// A node sends it to a worker.
    pub(crate) fn sends(&self, to: Incarnation, message: &Message) {
        let (live, clock) = (self.live(), self.elapsed());
        self.check(|watch, checker| watch.sends(to, message, &live, checker, clock));
    }

    /// A node says that it has it.
    pub(crate) fn answered(&self, envelope: &Envelope) {
        let Body::Known(Message::JobResult { outcomes }) = &envelope.body else { return };
        let executions: Vec<_> = outcomes.iter().map(|outcome| outcome.execution).collect();
        let live = self.live();
        self.check(|_, _| Watch::acknowledged(envelope.from, &executions, &live));
    }

    /// A worker says something.
    pub(crate) fn tells(&self, from: Incarnation, message: &Message) {
        let Message::JobResult { outcomes } = message else { return };
        for outcome in outcomes {
            match outcome.kind {
                OutcomeKind::HandedBack => self.seen(|seen| seen.handed_back += 1),
                OutcomeKind::Interrupted if outcome.started_at.is_none() => {
                    self.seen(|seen| seen.late += 1);
                }
                _ => {}
            }
        }
        self.check(|_, checker| {
            outcomes.iter().for_each(|outcome| checker.tells(from, outcome.execution));
            Ok(())
        });
    }

    /// What a worker says reached a node.
    pub(crate) fn reached(&self, call: &Call) {
        let clock = self.elapsed();
        self.check(|watch, _| watch.reached(call.by(), clock));
    }

    /// A worker was answered.
    pub(crate) fn heard(
        &self,
        worker: &Worker,
        sent_at: Instant,
        running: &[ExecutionId],
        answer: &HeartbeatAnswer,
    ) {
        let (sent_at, clock) = (sent_at - self.start, self.elapsed());
        self.check(|watch, _| watch.heard(worker.id, sent_at, clock, running, answer));
    }

    /// I9, I12 and I19: a worker starts it.
    pub(crate) fn starts(&self, worker: &Worker, dispatch: &Dispatch) {
        self.seen(|seen| seen.starts += 1);
        let running = lock(&worker.running).len();
        self.check(|watch, checker| {
            watch.fits(worker.id, running)?;
            checker.start(worker.id, dispatch)
        });
        if dispatch.name.as_str() != ALONE {
            return;
        }
        let others: Vec<_> = self.workers().values().cloned().collect();
        for other in others.iter().filter(|other| other.id != worker.id && !other.is_still()) {
            let mut is_fenced = false;
            self.check(|watch, _| {
                is_fenced = watch.is_fenced(other.id);
                Ok(())
            });
            if is_fenced {
                // A person says that it is gone.
                continue;
            }
            let beside = |it: &crate::worker::Attempt| it.job == dispatch.job && !it.stopping;
            if lock(&other.running).values().any(beside) {
                let (job, first, second) = (dispatch.job, other.id.0, worker.id.0);
                self.fail(format!("I9: {job} runs at {first}, and starts at {second}"));
            }
        }
    }

    /// Whoever runs that job dies of it.
    pub(crate) fn dies_of(self: &Arc<Self>, worker: Arc<Worker>, job: JobId, after: Duration) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(after).await;
            if !lock(&worker.running).values().any(|attempt| attempt.job == job) {
                return;
            }
            world.say(|| format!("{} dies of {job}", worker.id.0));
            lock(&world.weather).death = world.elapsed();
            if worker.is_hosted {
                world.server_dies();
            } else {
                worker.die();
            }
        });
    }

    /// The only node, with all that it hosts.
    pub(crate) fn server_dies(&self) {
        let nodes: Vec<_> = self.nodes().values().cloned().collect();
        nodes.iter().for_each(|node| node.die());
        self.nodes().clear();
        let hosted: Vec<_> =
            self.workers().values().filter(|worker| worker.is_hosted).cloned().collect();
        hosted.iter().for_each(|worker| worker.die());
    }
}
