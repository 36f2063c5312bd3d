//! Due times over which the server is stopped or killed: each is in the ledger exactly once.
//!
//! `ORX_CRASH_SEED` and `ORX_CRASH_ROUNDS` choose another run.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use common::{Machine, result_of, signal, until};
use orx_model::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

fn chosen(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn millis(time: &Value) -> i64 {
    let time: Timestamp = time.as_str().expect("a time").parse().expect("a time");
    time.as_millis()
}

fn wall() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_millis()).expect("a time")
}

fn run(machine: &Machine, args: &[&str]) -> Value {
    let all: Vec<&str> = ["-o", "json"].iter().chain(args).copied().collect();
    let ran = result_of(machine.command(&all).output().expect("orx runs"));
    assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// A schedule of the test, with its due times: from its creation on at a fixed distance.
struct Made {
    id: &'static str,
    first: i64,
    step: i64,
}

fn add(machine: &Machine, id: &'static str, step: i64, args: &[&str]) -> Made {
    let all: Vec<&str> = ["schedule", "add", id].iter().chain(args).copied().collect();
    let made = run(machine, &all);
    Made { id, first: millis(&made["next"]["slot"]), step }
}

/// The ledger's row of one due time.
#[derive(Debug, Clone)]
struct LedgerRow {
    slot: i64,
    outcome: String,
    job: Option<i64>,
    recorded_at: i64,
}

impl Made {
    /// The ledger, oldest first, with each range expanded to its slots.
    fn ledger(&self, machine: &Machine) -> Vec<LedgerRow> {
        let mut all = Vec::new();
        for row in run(machine, &["schedule", "runs", self.id]).as_array().expect("a list") {
            let slot = millis(&row["slot"]);
            let last = if row["last"].is_null() { slot } else { millis(&row["last"]) };
            let count = row["count"].as_i64().unwrap_or(1);
            assert!(row["exact"].is_null(), "{}: {row}", self.id);
            assert_eq!((last - slot) / self.step + 1, count, "{}: {row}", self.id);
            all.extend((slot..=last).step_by(self.step as usize).map(|slot| LedgerRow {
                slot,
                outcome: row["outcome"].as_str().expect("an outcome").to_owned(),
                job: row["job"].as_i64(),
                recorded_at: millis(&row["recorded_at"]),
            }));
        }
        all.sort_by_key(|row| row.slot);
        all
    }

    fn newest(&self, machine: &Machine) -> i64 {
        let page = run(machine, &["schedule", "runs", self.id, "--limit", "1"]);
        page.get(0).map_or(0, |row| {
            millis(if row["last"].is_null() { &row["slot"] } else { &row["last"] })
        })
    }

    /// Each due time from the first one on, exactly once, with its job.
    fn check(&self, machine: &Machine, jobs: &Jobs) -> Vec<LedgerRow> {
        let ledger = self.ledger(machine);
        let slots: Vec<i64> = ledger.iter().map(|row| row.slot).collect();
        let newest = slots.last().copied().unwrap_or_default();
        let due: Vec<i64> = (self.first..=newest).step_by(self.step as usize).collect();
        assert_eq!(slots, due, "{}", self.id);
        for row in &ledger {
            let made = jobs.by_slot.get(&(self.id.to_owned(), row.slot));
            let made: Vec<i64> = made.into_iter().flatten().copied().collect();
            let slot_jobs: Vec<i64> = row.job.into_iter().collect();
            assert_eq!(made, slot_jobs, "{}: {row:?}", self.id);
            let ran = matches!(row.outcome.as_str(), "ran" | "caught_up");
            assert_eq!(ran, row.job.is_some(), "{}: {row:?}", self.id);
        }
        let known: BTreeSet<i64> = due.into_iter().collect();
        for (id, slot) in jobs.by_slot.keys() {
            assert!(id != self.id || known.contains(slot), "{id} has a job for {slot}, not due");
        }
        ledger
    }
}

/// Jobs by their due time.
struct Jobs {
    by_slot: BTreeMap<(String, i64), Vec<i64>>,
}

fn jobs(machine: &Machine) -> Jobs {
    let mut by_slot: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for job in run(machine, &["jobs"]).as_array().expect("a list") {
        let origin = &job["schedule"];
        if !origin["slot"].is_null() {
            let id = origin["id"].as_str().expect("an id").to_owned();
            let slots = by_slot.entry((id, millis(&origin["slot"]))).or_default();
            slots.push(job["id"].as_i64().expect("an id"));
        }
    }
    Jobs { by_slot }
}

/// Time after which the ledger no longer changes.
fn rest(machine: &Machine, all: &[Made]) {
    let ids: Vec<&str> = all.iter().map(|made| made.id).collect();
    let args: Vec<&str> = ["schedule", "pause"].iter().chain(&ids).copied().collect();
    run(machine, &args);
}

#[test]
fn due_times_during_downtime_are_reported_once_each_by_the_policy() {
    let mut machine = Machine::with_server();
    let every = ["--every", "1s", "--overlap", "allow", "--catch-up"];
    let add = |id, policy: &[&str]| {
        let args: Vec<&str> = every.iter().chain(policy).chain(&["orx.noop"]).copied().collect();
        add(&machine, id, 1_000, &args)
    };
    let all = [
        add("none", &["none"]),
        add("one", &["one"]),
        add("three", &["all:3"]),
        add("window", &["all", "--window", "3s"]),
        // No worker runs such a job, so it stays.
        add("alerts", &["none", "--on-missed", "page.me"]),
    ];
    for made in &all {
        until("it has run", || made.newest(&machine) > made.first);
    }
    assert_eq!(machine.stop(), 0, "{}", machine.log());
    let stopped = wall();
    // The downtime: longer than the limit for on time, and three due times more.
    std::thread::park_timeout(Duration::from_secs(7));
    machine.start(&[]);
    let started = wall();
    for made in &all {
        until("it goes on", || made.newest(&machine) > started + 1_000);
    }
    rest(&machine, &all);
    let jobs = jobs(&machine);
    for made in &all {
        let ledger = made.check(&machine, &jobs);
        // The first decision after the start, which is one transaction.
        let at = ledger.iter().map(|row| row.recorded_at).filter(|at| *at >= stopped).min();
        let first: Vec<&LedgerRow> =
            ledger.iter().filter(|row| Some(row.recorded_at) == at).collect();
        let outcomes: Vec<&str> = first.iter().map(|row| row.outcome.as_str()).collect();
        let many = |outcome| outcomes.iter().filter(|one| **one == outcome).count();
        let (missed, caught_up, ran) = (many("missed"), many("caught_up"), many("ran"));
        assert!(first[0].slot <= stopped + 1_000, "{}: {first:?}", made.id);
        assert_eq!(missed + caught_up + ran, outcomes.len(), "{}: {outcomes:?}", made.id);
        // The oldest are missed, the newest on time.
        let wanted = [("missed", missed), ("caught_up", caught_up), ("ran", ran)];
        let wanted: Vec<&str> =
            wanted.iter().flat_map(|(outcome, n)| std::iter::repeat_n(*outcome, *n)).collect();
        assert_eq!(outcomes, wanted, "{}", made.id);
        assert!((1..=4).contains(&ran), "{}: {outcomes:?}", made.id);
        match made.id {
            // For `one`, the run that is due now stands for all.
            "none" | "one" | "alerts" => assert!(missed >= 3 && caught_up == 0, "{outcomes:?}"),
            "three" => assert!(missed >= 1 && caught_up == 3, "{outcomes:?}"),
            _ => assert!(missed >= 2 && (1..=2).contains(&caught_up), "{outcomes:?}"),
        }
    }

    // The miss is reported by a job and in the views.
    let missed = |made: &Made| {
        let ledger = made.ledger(&machine).into_iter();
        ledger.filter(|row| row.outcome == "missed").map(|row| row.slot).collect::<Vec<i64>>()
    };
    let list = run(&machine, &["jobs"]);
    let alerts: Vec<&Value> =
        list.as_array().expect("a list").iter().filter(|job| job["name"] == "page.me").collect();
    let args = run(&machine, &["show", &alerts[0]["id"].to_string()])["args"].clone();
    let slots = missed(&all[4]);
    assert_eq!((&args["schedule"], millis(&args["first"])), (&Value::from("alerts"), slots[0]));
    assert!(args["slots"].as_u64().is_some_and(|n| n >= 3 && n <= slots.len() as u64), "{args}");
    let status = run(&machine, &["cluster", "status"]);
    let total: usize = all.iter().map(|made| missed(made).len()).sum();
    assert_eq!(status["schedules"]["missed"], total as u64, "{status}");
    let attention = status["attention"].to_string();
    assert!(attention.contains("and 4 others missed") && attention.contains("in 24h"), "{status}");

    // Missed slots can be run later, also from the middle of a range.
    let made = &all[3];
    let missed = missed(made);
    let at = Timestamp::from_millis(missed[1]).to_string();
    let answer = run(&machine, &["schedule", "backfill", made.id, "--from", &at, "--to", &at]);
    assert_eq!(answer["runs"].as_array().map(Vec::len), Some(1), "{answer}");
    let ledger = made.check(&machine, &self::jobs(&machine));
    let row = ledger.iter().find(|row| row.slot == missed[1]).expect("a row");
    assert_eq!(row.outcome, "caught_up");
    assert_eq!(ledger.iter().filter(|row| row.outcome == "missed").count(), missed.len() - 1);
    let view = run(&machine, &["schedule", "show", made.id]);
    assert_eq!(view["missed"], (missed.len() - 1) as u64, "{view}");
}

#[test]
fn a_server_killed_in_the_moment_of_firing_fires_no_due_time_twice_and_loses_none() {
    let seed = chosen("ORX_CRASH_SEED", 20_260_205);
    let rounds = chosen("ORX_CRASH_ROUNDS", 12);
    // A failure shows the seed to reproduce it.
    let again = format!("ORX_CRASH_SEED={seed} ORX_CRASH_ROUNDS={rounds}\n");
    std::io::stderr().write_all(again.as_bytes()).expect("ran");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut machine = Machine::with_server();
    let (every, cron) = (["--every", "1s"], ["--cron", "* * * * * *"]);
    let all = [
        add(&machine, "allow", 1_000, &[every[0], every[1], "--overlap", "allow", "orx.noop"]),
        add(
            &machine,
            "all",
            1_000,
            &[cron[0], cron[1], "--overlap", "allow", "--catch-up", "all", "orx.noop"],
        ),
        add(
            &machine,
            "skip",
            1_000,
            &[cron[0], cron[1], "--catch-up", "all:2", "--", "sleep", "0.2"],
        ),
        add(
            &machine,
            "none",
            1_000,
            &[
                every[0],
                every[1],
                "--offset",
                "500ms",
                "--catch-up",
                "none",
                "--window",
                "2s",
                "orx.noop",
            ],
        ),
        add(
            &machine,
            "queue",
            1_000,
            &[every[0], every[1], "--overlap", "queue-one", "--", "sleep", "1.2"],
        ),
        add(
            &machine,
            "cancel",
            2_000,
            &["--every", "2s", "--overlap", "cancel-old", "--", "sleep", "3"],
        ),
        add(
            &machine,
            "jitter",
            1_000,
            &[
                every[0],
                every[1],
                "--jitter",
                "900ms",
                "--on-failure",
                "orx.noop",
                "--retries",
                "0",
                "--",
                "false",
            ],
        ),
    ];
    for round in 0..rounds {
        std::thread::park_timeout(Duration::from_millis(rng.random_range(0..900)));
        if rng.random_bool(0.7) {
            // Some milliseconds around the full or half second.
            let to_full = 1_000 - wall() % 1_000 + if rng.random_bool(0.2) { 500 } else { 0 };
            let to = to_full + rng.random_range(-5..60);
            std::thread::park_timeout(Duration::from_millis(u64::try_from(to).unwrap_or(0)));
        }
        signal(machine.address_pid().expect("a server"), "KILL");
        machine.kill();
        // Sometimes longer than the limit for on time.
        let down =
            if round % 4 == 3 { rng.random_range(3_200..4_500) } else { rng.random_range(0..400) };
        std::thread::park_timeout(Duration::from_millis(down));
        machine.start(&[]);
    }
    let over = wall();
    for made in &all {
        until("it goes on", || made.newest(&machine) > over);
    }
    rest(&machine, &all);
    let jobs = jobs(&machine);
    let mut outcomes = BTreeMap::<String, usize>::new();
    for made in &all {
        for row in made.check(&machine, &jobs) {
            *outcomes.entry(row.outcome).or_default() += 1;
        }
        let view = run(&machine, &["schedule", "show", made.id]);
        let ran = jobs.by_slot.keys().filter(|(id, _)| id == made.id).count();
        assert_eq!(view["runs"], ran as u64, "{view}");
    }
    for outcome in ["ran", "skipped", "missed", "caught_up"] {
        assert!(outcomes.contains_key(outcome), "too little happened: {outcomes:?}");
    }
    // No run waits for ever for one that was lost with the server.
    run(&machine, &["schedule", "rm", "allow", "all", "none", "--yes"]);
    until("all runs end", || {
        let counts = run(&machine, &["cluster", "status"])["counts"].clone();
        ["created", "pending", "scheduled", "dispatched", "running"]
            .iter()
            .all(|status| counts[status] == 0)
    });
    assert_eq!(machine.stop(), 0, "{}", machine.log());
}
