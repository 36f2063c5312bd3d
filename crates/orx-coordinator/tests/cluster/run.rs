//! One run: a cluster, trouble by seed, and how it comes to rest.

use std::sync::Arc;
use std::time::Duration;

use orx_model::message::WorkerDirective;
use orx_model::{Incarnation, Job, JobId, Name};
use orx_store::{Jobs, Schedules, SlotRequest};
use rand::RngExt;
use tokio::time::{Instant, sleep};

use crate::bug::{self, Bug};
use crate::node::Node;
use crate::people;
use crate::store::done;
use crate::watch::Watch;
use crate::worker::{ENDLESS, Order, Worker};
use crate::world::{Seen, World};

/// Clocks are wrong by up to so much, either way.
const AHEAD_MS: i64 = 600_000;
/// Within so long after the last trouble a leader is lost and another found, who finds that a worker is
/// lost: a lease each, the period by which each is looked at, and the time after which a dispatch is
/// asked about.
const CONVERGED: Duration = Duration::from_secs(30 + 30 + 15 + 20);
/// All retries, losses and returns of all jobs take less.
const AT_REST: Duration = Duration::from_secs(1_800);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Seen, String>,
    pub(crate) trace: Vec<String>,
}

/// On one thread, and in virtual time: it goes on by itself when all wait.
pub(crate) fn in_virtual_time<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(what)
}

pub(crate) fn simulate(seed: u64, bug: Option<Bug>) -> Outcome {
    in_virtual_time(async {
        let mut run = Run::new(seed, bug);
        let result = match run.live().await {
            Ok(()) => Ok(Seen { runs: 1, ..run.world.all_seen() }),
            Err(why) => Err(why),
        };
        Outcome { result, trace: run.world.take_trace() }
    })
}

struct Run {
    world: Arc<World>,
    most: usize,
    ids: u128,
    jobs: u32,
    schedules: Vec<(Name, Duration)>,
}

impl Run {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let most = 1 + (seed % 3) as usize;
        let world = World::by_seed(seed, most == 1, bug);
        Self { world, most, ids: 0, jobs: 0, schedules: Vec::new() }
    }

    fn failed(&self) -> Result<(), String> {
        self.world.failure().map_or(Ok(()), Err)
    }

    fn roll(&self, most: u64) -> u64 {
        self.world.draw(|rng| rng.random_range(0..most))
    }

    async fn live(&mut self) -> Result<(), String> {
        for number in 0..self.roll(3) {
            let schedule = people::schedule(&self.world, number as u32);
            self.schedules.push(schedule);
        }
        for _ in 0..10 + self.roll(60) {
            self.populate().await;
            self.step();
            let most = if self.roll(3) == 0 { 200 } else { 5_000 };
            sleep(Duration::from_millis(self.roll(most))).await;
            self.world.look_at_rows();
            self.failed()?;
        }
        // What stands still or is cut off by now mostly outlives its lease.
        for _ in 0..self.roll(3) * 6 {
            self.populate().await;
            sleep(Duration::from_secs(5)).await;
            self.world.look_at_rows();
            self.failed()?;
        }
        self.come_to_rest().await
    }

    fn next_id(&mut self) -> Incarnation {
        self.ids += 1;
        Incarnation(self.ids)
    }

    fn ahead(&self) -> i64 {
        if self.world.kinds().clocks && self.roll(3) > 0 {
            self.world.draw(|rng| rng.random_range(-AHEAD_MS..AHEAD_MS))
        } else {
            0
        }
    }

    /// As many as there should be, of each.
    async fn populate(&mut self) {
        while self.world.nodes().len() < self.most {
            let (id, ahead) = (self.next_id(), self.ahead());
            Node::start(&self.world, id, ahead).await;
        }
        // In the end one more, so that what comes takes everything.
        while self.world.workers().len() < 3 + usize::from(self.world.is_over()) {
            let (id, ahead) = (self.next_id(), self.ahead());
            Worker::start(&self.world, id, ahead);
        }
    }

    fn some_job(&self) -> Option<JobId> {
        let jobs: Vec<JobId> = self.world.memory.all_jobs().iter().map(|job| job.id).collect();
        self.world.some(&jobs).copied()
    }

    /// People ask for something, or something goes wrong.
    fn step(&mut self) {
        let kinds = self.world.kinds();
        match self.roll(100) {
            0..40 => {
                for _ in 0..1 + self.roll(4) {
                    self.jobs += 1;
                    people::enqueue(&self.world, self.jobs);
                }
            }
            40..48 => {
                if let Some(job) = self.some_job() {
                    people::cancel(&self.world, job, self.roll(5) == 0);
                }
            }
            48..51 => {
                if let Some(job) = self.some_job() {
                    people::retry(&self.world, job);
                }
            }
            51..54 => {
                let Some(worker) = self.world.some_worker() else { return };
                let order = match self.roll(5) {
                    0 => Some(WorkerDirective::Fence),
                    1 | 2 => Some(WorkerDirective::Drain),
                    _ => None,
                };
                people::order(&self.world, worker.id, order);
            }
            54..64 if kinds.clocks => self.set_a_clock(),
            64.. if kinds.deaths => self.lose_something(),
            _ => {}
        }
    }

    fn set_a_clock(&self) {
        let ahead = self.ahead();
        if self.roll(2) == 0 {
            let Some(node) = self.world.some_node() else { return };
            self.world.say(|| format!("the clock of node {} is ahead by {ahead} ms", node.id.0));
            node.set_clock(ahead);
        } else {
            let Some(worker) = self.world.some_worker() else { return };
            self.world.say(|| format!("the clock of {} is ahead by {ahead} ms", worker.id.0));
            worker.set_clock(ahead);
        }
    }

    /// The leader more often than others.
    fn some_node(&self) -> Option<Arc<Node>> {
        let leader = bug::leader(&self.world);
        let leader = leader.and_then(|leader| self.world.nodes().get(&leader).cloned());
        leader.filter(|node| node.is_open() && self.roll(2) == 0).or_else(|| self.world.some_node())
    }

    /// One with something long under way more often than others.
    fn some_worker(&self) -> Option<Arc<Worker>> {
        let long = Instant::now() + Duration::from_secs(30);
        let is_long = |worker: &Arc<Worker>| {
            let running = worker.running.lock();
            running.values().any(|attempt| attempt.ends_at > long)
        };
        let all: Vec<_> = self.world.workers().values().filter(|it| is_long(it)).cloned().collect();
        let busy = self.world.some(&all).cloned();
        busy.filter(|_| self.roll(2) == 0).or_else(|| self.world.some_worker())
    }

    fn lose_something(&self) {
        let world = &self.world;
        let (Some(node), Some(worker)) = (self.some_node(), self.some_worker()) else { return };
        let time = Duration::from_millis(self.roll(60_000));
        let until = Instant::now() + time;
        match self.roll(22) {
            0..2 if !worker.is_hosted => worker.die(),
            2..5 if !worker.is_hosted => {
                world.say(|| format!("{} stands still for {time:?}", worker.id.0));
                worker.stand_still(until);
            }
            5..9 if !worker.is_hosted => {
                world.say(|| format!("{} is cut off for {time:?}", worker.id.0));
                worker.cut_off(until);
            }
            9 => {
                world.say(|| format!("{} is told to stop", worker.id.0));
                worker.order(if self.roll(2) == 0 { Order::Drain } else { Order::Stop });
            }
            10..12 if world.alone => {
                world.say(|| "the server dies".to_owned());
                world.server_dies();
            }
            10..12 => {
                world.say(|| format!("node {} dies", node.id.0));
                node.die();
            }
            12..14 if !world.alone => {
                world.say(|| format!("node {} is told to end", node.id.0));
                node.end();
            }
            14..17 => {
                world.say(|| format!("node {} stands still for {time:?}", node.id.0));
                world.disturbed(time);
                node.stand_still(until);
            }
            17..19 => {
                world.say(|| format!("node {} does not reach the store for {time:?}", node.id.0));
                world.disturbed(time);
                node.loses_store(until);
            }
            19 => {
                world.say(|| format!("the store is away for {time:?}"));
                world.disturbed(time);
                world.nodes().values().for_each(|node| node.loses_store(until));
            }
            20.. => {
                let live: Vec<JobId> = world.live().iter().map(|live| live.job).collect();
                let Some(job) = world.some(&live).copied() else { return };
                world.say(|| format!("outcomes of {job} cannot be written for {time:?}"));
                world.cannot_write(job, time);
            }
            _ => {}
        }
    }

    fn clear_up(&self) {
        self.world.say(|| "the trouble is over".to_owned());
        self.world.clears_up();
        self.world.unwritable.lock().clear();
        let now = Instant::now();
        for node in self.world.nodes().values() {
            node.set_clock(0);
            node.stand_still(now);
            node.loses_store(now);
        }
        let workers: Vec<_> = self.world.workers().values().cloned().collect();
        for worker in workers {
            worker.set_clock(0);
            worker.stand_still(now);
            worker.cut_off(now);
            people::order(&self.world, worker.id, None);
        }
    }

    /// I17: without trouble, everything ends within a bounded time.
    async fn come_to_rest(&mut self) -> Result<(), String> {
        self.clear_up();
        // One that takes everything.
        let id = self.next_id();
        Worker::start(&self.world, id, 0);
        let over = self.world.elapsed();
        let longest = self.schedules.iter().map(|(_, every)| *every).max().unwrap_or_default();
        let mut until = (!self.schedules.is_empty()).then_some(over + CONVERGED + longest);
        loop {
            self.populate().await;
            sleep(Duration::from_secs(5)).await;
            self.world.look_at_rows();
            self.failed()?;
            let (clock, jobs) = (self.world.elapsed(), self.world.memory.all_jobs());
            for job in jobs.iter().filter(|job| !job.state.status.is_final()) {
                // Once: that has to do.
                if job.spec.name.as_str() == ENDLESS && job.state.cancel.is_none() {
                    people::cancel(&self.world, job.id, false);
                }
            }
            if clock > over.max(self.world.last_death()) + CONVERGED {
                let due = self.world.wall().saturating_sub(CONVERGED);
                self.world.check(|_, checker| checker.converged(&jobs, clock - CONVERGED, due));
            }
            if until.is_some_and(|until| clock > until) {
                until = None;
                self.end_schedules();
            }
            if until.is_none() && self.is_at_rest(&jobs) {
                break;
            }
            if clock > over + AT_REST {
                return Err(format!("I17: it does not come to rest: {}", open(&jobs)));
            }
        }
        self.world.look_at_rows();
        self.timed_out();
        self.failed()
    }

    fn is_at_rest(&self, jobs: &[Job]) -> bool {
        let idle = |worker: &Arc<Worker>| worker.running.lock().is_empty();
        jobs.iter().all(|job| job.state.status.is_final())
            && self.world.workers().values().all(idle)
            && !self.world.has_requests()
    }

    fn end_schedules(&self) {
        for (id, every) in &self.schedules {
            let request = SlotRequest { id: id.clone(), before: None, missed: false, limit: 1 };
            let newest = done(self.world.memory.slots(request)).expect("read");
            let newest = newest.first().map(|row| row.last.unwrap_or(row.slot));
            let since = *every + Duration::from_secs(10);
            let at_least = self.world.wall().saturating_sub(since);
            let record = done(self.world.memory.schedule(id)).expect("read");
            // A run of it was there each time that its server died.
            if record.is_none_or(|record| record.plan.paused.is_none()) {
                self.world.check(|_, _| Watch::goes_on(id, newest, at_least));
            }
            done(self.world.memory.remove_schedule(id, None)).expect("removed");
        }
    }

    fn timed_out(&self) {
        for job in self.world.memory.all_jobs() {
            let attempts = done(self.world.memory.attempts(job.id)).expect("read");
            self.world.check(|_, checker| checker.timed_out(&job, &attempts));
        }
    }
}

fn open(jobs: &[Job]) -> String {
    let open = jobs.iter().filter(|job| !job.state.status.is_final());
    let open: Vec<String> = open
        .map(|job| {
            format!("{} {} {} {:?}", job.id, job.spec.name, job.state.status, job.state.live)
        })
        .collect();
    open.join(", ")
}
