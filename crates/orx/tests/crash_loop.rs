//! A server killed again and again at random moments, under enqueues, runs and cancels.
//!
//! `ORX_CRASH_SEED` and `ORX_CRASH_ROUNDS` choose another run.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Machine, read, result_of, until};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn chosen(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The responses that a client got.
#[derive(Default)]
struct Answered {
    jobs: BTreeSet<String>,
    /// Cancelled jobs, with the number of their starts at the time of the response.
    cancelled: BTreeMap<String, usize>,
}

#[test]
fn no_acknowledged_job_is_lost_and_no_cancelled_one_starts_after_any_kill() {
    let seed = chosen("ORX_CRASH_SEED", 20_260_131);
    let rounds = chosen("ORX_CRASH_ROUNDS", 8);
    // A failure shows the seed to reproduce it.
    let again = format!("ORX_CRASH_SEED={seed} ORX_CRASH_ROUNDS={rounds}\n");
    std::io::stderr().write_all(again.as_bytes()).expect("ran");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut machine = Machine::with_server();
    std::fs::create_dir(machine.path("work/starts")).expect("a folder");
    let answered = Arc::new(Mutex::new(Answered::default()));
    for round in 0..rounds {
        let over = AtomicBool::new(false);
        let after = Duration::from_millis(rng.random_range(50..900));
        let seeds: Vec<u64> = (0..3).map(|_| rng.random()).collect();
        std::thread::scope(|scope| {
            for seed in seeds {
                let (machine, answered, over) = (&machine, &answered, &over);
                scope.spawn(move || inject_faults(machine, answered, over, seed));
            }
            std::thread::park_timeout(after);
            // The kill interrupts them at a random point.
            let pid = machine.address_pid().expect("a server");
            common::signal(pid, "KILL");
            over.store(true, Ordering::Release);
        });
        machine.kill();
        machine.start(&[]);
        check(&machine, &answered.lock(), round);
    }
    until("all ends", || {
        let counts = machine.json(["cluster", "status"])["counts"].clone();
        ["pending", "scheduled", "dispatched", "running"].iter().all(|status| counts[status] == 0)
    });
    let answered = answered.lock();
    check(&machine, &answered, rounds);
    assert!(answered.jobs.len() as u64 > rounds, "too little happened to show anything");
    assert_eq!(machine.stop(), 0, "{}", machine.log());
}

/// Enqueues and cancels until `over`; a failed request was not acknowledged.
fn inject_faults(machine: &Machine, answered: &Mutex<Answered>, over: &AtomicBool, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    while !over.load(Ordering::Acquire) {
        // A job leaves a mark as its first action.
        let nap = rng.random_range(0..4) as f64 / 20.0;
        let script = format!("echo x >> starts/$ORX_JOB_ID; sleep {nap}");
        let delay = if rng.random_bool(0.3) { "200ms" } else { "0" };
        let run = ["run", "--no-start", "--detach", "--in", delay, "--", "sh", "-c", &script];
        let enqueued = result_of(machine.command(run).output().expect("orx runs"));
        if enqueued.code != 0 {
            continue;
        }
        let id = enqueued.out.trim().to_owned();
        answered.lock().jobs.insert(id.clone());
        if rng.random_bool(0.4) {
            let cancel = machine.command(["cancel", &id, "-o", "jsonl"]).output();
            let cancelled = result_of(cancel.expect("orx runs"));
            if cancelled.code == 0 && cancelled.out.contains("\"cancelled\"") {
                let starts = starts(machine, &id);
                answered.lock().cancelled.insert(id, starts);
            }
        }
    }
}

fn starts(machine: &Machine, id: &str) -> usize {
    read(machine.path("work/starts").join(id)).lines().count()
}

fn check(machine: &Machine, answered: &Answered, round: u64) {
    // Reads the starts first: a job that starts meanwhile is in the list that is read later.
    let started: BTreeMap<String, usize> = std::fs::read_dir(machine.path("work/starts"))
        .expect("a folder")
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|id| (id.clone(), starts(machine, &id)))
        .collect();
    let jobs = machine.json(["jobs"]);
    let known: BTreeMap<String, &serde_json::Value> =
        jobs.as_array().expect("a list").iter().map(|job| (job["id"].to_string(), job)).collect();
    for id in &answered.jobs {
        assert!(known.contains_key(id), "round {round}: job {id} was acknowledged and is missing");
    }
    for (id, before) in &answered.cancelled {
        assert_eq!(known[id]["status"], "cancelled", "round {round}: job {id}");
        assert_eq!(
            starts(machine, id),
            *before,
            "round {round}: job {id} started after its cancel"
        );
    }
    for (id, job) in &known {
        let attempts = job["attempt"].as_u64().expect("a number") as usize;
        let started = started.get(id).copied().unwrap_or_default();
        assert!(started <= attempts, "round {round}: job {id} started {started}, tried {attempts}");
        if job["status"] == "completed" {
            let detail = machine.json(["show", id]);
            let succeeded = detail["attempts"]
                .as_array()
                .expect("a list")
                .iter()
                .filter(|attempt| attempt["status"] == "succeeded")
                .count();
            assert_eq!(succeeded, 1, "round {round}: job {id}");
        }
    }
}
