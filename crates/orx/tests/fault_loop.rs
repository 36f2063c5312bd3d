//! Coordinators, workers and their database are killed, stopped and cut off at random moments, under
//! enqueues, runs and cancels, on SQLite and on PostgreSQL. One checker compares their recorded history
//! with the final content of the store.
//!
//! `ORX_FAULT_SEED` and `ORX_FAULT_ROUNDS` choose another run.

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cluster::{Cluster, Kind, LEASE, bounds, coordinator, pause, worker_name};
use common::{SOON, until};
use orx_testkit::history::Fact;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn chosen(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn every_promise_holds_on_sqlite_whatever_is_killed_stopped_or_cut_off() {
    run(Kind::Sqlite);
}

#[test]
fn every_promise_holds_on_postgres_whatever_is_killed_stopped_or_cut_off() {
    run(Kind::Postgres);
}

/// A fault, its target and its duration.
#[derive(Debug, Clone)]
enum Fault {
    Kill { who: String, outage: Duration },
    Stop { who: String, outage: Duration },
    Cut { outage: Duration },
}

impl Fault {
    fn draw(kind: Kind, rng: &mut StdRng) -> Self {
        let nodes = if kind == Kind::Sqlite { 1 } else { 2 };
        let node = coordinator(rng.random_range(0..nodes));
        let worker = worker_name(rng.random_range(0..2));
        let short = Duration::from_millis(rng.random_range(0..1_500));
        // Shorter and longer than a lease.
        let long = LEASE.mul_f64(rng.random_range(0.3..1.6));
        match rng.random_range(0..if kind == Kind::Postgres { 13 } else { 10 }) {
            0..3 => Self::Kill { who: node, outage: short },
            3..5 => Self::Kill { who: worker, outage: short },
            5 => Self::Stop { who: node, outage: long },
            6..8 => Self::Stop { who: worker, outage: long },
            8..10 => Self::Cut { outage: long },
            10..12 => Self::Kill { who: "db".to_owned(), outage: short },
            _ => Self::Stop { who: "db".to_owned(), outage: long },
        }
    }

    fn befall(&self, cluster: &Cluster) {
        match self {
            Self::Kill { who, outage } => {
                cluster.kill(who);
                pause(*outage);
                cluster.restart(who);
            }
            Self::Stop { who, outage } => {
                cluster.stop(who);
                pause(*outage);
                cluster.resume(who);
            }
            Self::Cut { outage } => {
                cluster.cut();
                pause(*outage);
                cluster.heal();
            }
        }
    }

    fn whom(&self) -> &str {
        match self {
            Self::Kill { who, .. } | Self::Stop { who, .. } => who,
            Self::Cut { .. } => "w2",
        }
    }
}

fn run(kind: Kind) {
    let seed = chosen("ORX_FAULT_SEED", 20_260_217);
    let rounds = chosen("ORX_FAULT_ROUNDS", 7);
    // A failure shows the seed to reproduce it.
    let again = format!("{kind:?}: ORX_FAULT_SEED={seed} ORX_FAULT_ROUNDS={rounds}\n");
    std::io::stderr().write_all(again.as_bytes()).expect("ran");
    let mut rng = StdRng::seed_from_u64(seed);
    let cluster = Cluster::start(kind, true);
    let (over, rest, jobs) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        // The other threads end with this one, also on failure.
        let (end, rests) = (SetOnDrop(&over), SetOnDrop(&rest));
        for _ in 0..2 {
            let seed = rng.random();
            let (cluster, over, jobs) = (&cluster, &over, &jobs);
            scope.spawn(move || inject_faults(cluster, over, jobs, seed));
        }
        let (watched, rest) = (&cluster, &rest);
        scope.spawn(move || watch(watched, rest));
        for round in 0..rounds {
            pause(Duration::from_millis(rng.random_range(100..1_000)));
            let first = Fault::draw(kind, &mut rng);
            let second = Fault::draw(kind, &mut rng);
            let both = rng.random_bool(0.3) && first.whom() != second.whom();
            let ran = format!(
                "{kind:?} {round}: {first:?}{}\n",
                if both { format!(" {second:?}") } else { String::new() }
            );
            std::io::stderr().write_all(ran.as_bytes()).expect("ran");
            std::thread::scope(|scope| {
                if both {
                    scope.spawn(|| second.befall(&cluster));
                }
                first.befall(&cluster);
            });
            cluster.look();
        }
        drop(end);
        cluster.history.add(Fact::Quiet {});
        // This job runs only under a leader, so the successor of a killed leader is observed.
        until("a last job is accepted", || cluster.enqueue(0, "last", "0", "0").is_some());
        until("every job has ended", || cluster.all_jobs_ended());
        cluster.history.add(Fact::AllEnded {});
        for node in 0..cluster.nodes() {
            cluster.note_leader(node);
        }
        drop(rests);
    });
    all_end_on_sigterm(&cluster, &jobs);
    assert!(jobs.load(Ordering::Relaxed) > rounds * 2, "too little happened to show anything");
    cluster.check(&bounds());
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Enqueues, retries without a response, and cancels, until the end.
fn inject_faults(cluster: &Cluster, over: &AtomicBool, jobs: &AtomicU64, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut known: Vec<String> = Vec::new();
    while !over.load(Ordering::Acquire) {
        let number = jobs.fetch_add(1, Ordering::Relaxed);
        let key = format!("key-{number}");
        // Most are short; some are longer than a lease.
        let seconds = match rng.random_range(0..15) {
            0..9 => rng.random_range(0.0..0.6),
            9..14 => rng.random_range(0.5..2.5),
            _ => LEASE.as_secs_f64() * 1.5,
        };
        let (seconds, typed) = (format!("{seconds:.2}"), rng.random_bool(0.5));
        let code = if rng.random_bool(0.15) { "1" } else { "0" };
        let mut ask = || {
            let node = rng.random_range(0..cluster.nodes());
            if typed {
                cluster.enqueue(node, &key, &seconds, code)
            } else {
                cluster.detach(node, &key, &seconds, "")
            }
        };
        // With the same key, at any node: once more, or until there is a response.
        let first = ask();
        let again = rng_again(number);
        let id = if first.is_none() || again { ask().or(first) } else { first };
        known.extend(id);
        if rng.random_bool(0.35) && !known.is_empty() {
            let place = known.len() - 1 - rng.random_range(0..known.len().min(3));
            let node = rng.random_range(0..cluster.nodes());
            cluster.cancel(node, &known[place]);
        }
        pause(Duration::from_millis(rng.random_range(200..800)));
    }
}

fn rng_again(number: u64) -> bool {
    number.is_multiple_of(7)
}

/// Records the leader.
fn watch(cluster: &Cluster, over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        for node in 0..cluster.nodes() {
            cluster.note_leader(node);
        }
        pause(Duration::from_millis(400));
    }
}

/// Each daemon gets SIGTERM while jobs that ignore it run and clients keep sending requests. Every accepted
/// job is there after the restart.
fn all_end_on_sigterm(cluster: &Cluster, jobs: &AtomicU64) {
    let stuck = (0..cluster.nodes()).find_map(|node| cluster.detach(node, "stuck", "300", "deaf"));
    let stuck = stuck.expect("accepted");
    until("the deaf job runs", || cluster.status(&stuck) == "running");
    let mut all: Vec<String> = (0..cluster.nodes()).map(coordinator).collect();
    all.extend([worker_name(0), worker_name(1)]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || inject_faults(cluster, over, jobs, 1));
        let end = SetOnDrop(over);
        for who in &all {
            cluster.terminate(who);
        }
        std::thread::scope(|scope| {
            for who in &all {
                scope.spawn(move || {
                    let code = cluster.ended(who);
                    assert_eq!(code, 0, "{who}: {}", cluster.log_of(who));
                });
            }
        });
        drop(end);
    });
    for node in 0..cluster.nodes() {
        cluster.start_coordinator(node);
        cluster.await_coordinator(node);
    }
    let cancelled = cluster.ask(0, &["cancel", &stuck, "--force", "-y"]);
    assert_eq!(cancelled.code, 0, "{cancelled:?}");
    for worker in 0..2 {
        cluster.start_worker(worker);
    }
    let began = std::time::Instant::now();
    until("every job has ended again", || cluster.all_jobs_ended());
    assert!(began.elapsed() < SOON);
}
