//! One run: a cluster, faults by seed, and its convergence after them.

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
use crate::world::{Counts, World};

/// Largest deviation of a clock, either way.
const AHEAD_MS: i64 = 600_000;
/// Within this after the last fault a new node leads and detects a lost worker: a lease each, the period of
/// their checks, and the time after which a worker is asked about a dispatch.
const CONVERGED: Duration = Duration::from_secs(30 + 30 + 15 + 20);
/// All retries, losses and returns of all jobs take less.
const AT_REST: Duration = Duration::from_secs(1_800);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Counts, String>,
    pub(crate) trace: Vec<String>,
}

/// Runs a future on one thread in virtual time, which advances when all tasks wait.
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
            Ok(()) => Ok(Counts { runs: 1, ..run.world.all_counts() }),
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
            self.world.check_rows();
            self.failed()?;
        }
        // A process that is suspended or cut off by now mostly stays so beyond its lease.
        for _ in 0..self.roll(3) * 6 {
            self.populate().await;
            sleep(Duration::from_secs(5)).await;
            self.world.check_rows();
            self.failed()?;
        }
        self.come_to_rest().await
    }

    fn next_id(&mut self) -> Incarnation {
        self.ids += 1;
        Incarnation(self.ids)
    }

    fn offset(&self) -> i64 {
        if self.world.kinds().clocks && self.roll(3) > 0 {
            self.world.draw(|rng| rng.random_range(-AHEAD_MS..AHEAD_MS))
        } else {
            0
        }
    }

    /// Starts nodes and workers until their numbers are complete.
    async fn populate(&mut self) {
        while self.world.nodes().len() < self.most {
            let (id, offset) = (self.next_id(), self.offset());
            Node::start(&self.world, id, offset).await;
        }
        // At the end one more worker, which takes every job.
        while self.world.workers().len() < 3 + usize::from(self.world.is_over()) {
            let (id, offset) = (self.next_id(), self.offset());
            Worker::start(&self.world, id, offset);
        }
    }

    fn some_job(&self) -> Option<JobId> {
        let jobs: Vec<JobId> = self.world.memory.all_jobs().iter().map(|job| job.id).collect();
        self.world.some(&jobs).copied()
    }

    /// A request of a person, or a fault.
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
        let offset = self.offset();
        if self.roll(2) == 0 {
            let Some(node) = self.world.some_node() else { return };
            self.world.log(|| format!("the clock of node {} is fast by {offset} ms", node.id.0));
            node.set_clock(offset);
        } else {
            let Some(worker) = self.world.some_worker() else { return };
            self.world.log(|| format!("the clock of {} is fast by {offset} ms", worker.id.0));
            worker.set_clock(offset);
        }
    }

    /// A random node, the leader more often than others.
    fn some_node(&self) -> Option<Arc<Node>> {
        let leader = bug::leader(&self.world);
        let leader = leader.and_then(|leader| self.world.nodes().get(&leader).cloned());
        leader.filter(|node| node.is_open() && self.roll(2) == 0).or_else(|| self.world.some_node())
    }

    /// A random worker, one with a long attempt more often than others.
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
                world.log(|| format!("{} is suspended for {time:?}", worker.id.0));
                worker.suspend(until);
            }
            5..9 if !worker.is_hosted => {
                world.log(|| format!("{} is cut off for {time:?}", worker.id.0));
                worker.cut_off(until);
            }
            9 => {
                world.log(|| format!("{} drains or stops", worker.id.0));
                worker.order(if self.roll(2) == 0 { Order::Drain } else { Order::Stop });
            }
            10..12 if world.alone => {
                world.log(|| "the server dies".to_owned());
                world.server_dies();
            }
            10..12 => {
                world.log(|| format!("node {} dies", node.id.0));
                node.die();
            }
            12..14 if !world.alone => {
                world.log(|| format!("node {} stops", node.id.0));
                node.end();
            }
            14..17 => {
                world.log(|| format!("node {} is suspended for {time:?}", node.id.0));
                world.disturbed(time);
                node.suspend(until);
            }
            17..19 => {
                world.log(|| format!("node {} does not reach the store for {time:?}", node.id.0));
                world.disturbed(time);
                node.loses_store(until);
            }
            19 => {
                world.log(|| format!("no node reaches the store for {time:?}"));
                world.disturbed(time);
                world.nodes().values().for_each(|node| node.loses_store(until));
            }
            20.. => {
                let live: Vec<JobId> = world.live().iter().map(|live| live.job).collect();
                let Some(job) = world.some(&live).copied() else { return };
                world.log(|| format!("outcomes of {job} cannot be written for {time:?}"));
                world.cannot_write(job, time);
            }
            _ => {}
        }
    }

    fn end_faults(&self) {
        self.world.log(|| "the faults end".to_owned());
        self.world.end_faults();
        self.world.unwritable.lock().clear();
        let now = Instant::now();
        for node in self.world.nodes().values() {
            node.set_clock(0);
            node.suspend(now);
            node.loses_store(now);
        }
        let workers: Vec<_> = self.world.workers().values().cloned().collect();
        for worker in workers {
            worker.set_clock(0);
            worker.suspend(now);
            worker.cut_off(now);
            people::order(&self.world, worker.id, None);
        }
    }

    /// I17: without faults, every job ends within a bounded time.
    async fn come_to_rest(&mut self) -> Result<(), String> {
        self.end_faults();
        // This worker takes every job.
        let id = self.next_id();
        Worker::start(&self.world, id, 0);
        let over = self.world.elapsed();
        let longest = self.schedules.iter().map(|(_, every)| *every).max().unwrap_or_default();
        let mut until = (!self.schedules.is_empty()).then_some(over + CONVERGED + longest);
        loop {
            self.populate().await;
            sleep(Duration::from_secs(5)).await;
            self.world.check_rows();
            self.failed()?;
            let (clock, jobs) = (self.world.elapsed(), self.world.memory.all_jobs());
            for job in jobs.iter().filter(|job| !job.state.status.is_final()) {
                // One cancel has to suffice.
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
                return Err(format!("I17: jobs do not end: {}", open(&jobs)));
            }
        }
        self.world.check_rows();
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
            // A schedule is paused if its runs were live at each death of their server.
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
