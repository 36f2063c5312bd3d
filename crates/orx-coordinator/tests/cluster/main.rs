//! Simulates whole clusters: real coordinators, the real decisions of workers, and faults in an order that a
//! seed decides.
//!
//! The store is slow and answers in any order; messages are lost, duplicated and late; workers and nodes
//! die, stop, are suspended and are cut off; clocks are wrong. Time is virtual: a run of minutes takes
//! milliseconds. Each change of a job checks the invariants; at the end of the faults the cluster must
//! converge.
//!
//! The check of each invariant of the product, after each step unless the table says otherwise:
//!
//! | invariant | where |
//! |---|---|
//! | I1 accepted is not lost | `Checker::rows` |
//! | I2 rejected does not run, a key gives one job | `Watch::rows`, `Watch::enqueued` |
//! | I3 legal transitions | `Checker::transition` |
//! | I4 one completion | `Checker::transition`, `Watch::recorded`; G1 `Watch::acknowledged` |
//! | I5 count of attempts | `Checker::transition`, `Checker::rows` |
//! | I6 one leader writes, one node is leader | `Checker::transition`, `Watch::led`, `Watch::leads` |
//! | I7 epochs grow | `Watch::elected` |
//! | I8 one live execution | `Checker::transition`, `Checker::rows` |
//! | I9 bounded overlap | `World::starts` |
//! | I10 one job a slot | `Watch::rows` |
//! | I11 every slot, by an independent oracle | `tests/schedules`; here at the end `Watch::goes_on` |
//! | I12 cancelled before its start, never starts | `Checker::start`, `Checker::transition` |
//! | I13 a cancel is stored, and arrives | `Watch::rows`, `Watch::moved`, `Watch::beat_answered` |
//! | I14 dead workers are lost, and a node leads | `World::check_lost_workers`, `Watch::lost_in_time` |
//! | I15 owners of shards | no node owns a shard yet: any node records, I4 guards |
//! | I16 an event counts once | outcomes: `Watch::recorded`; output: the contract suite of stores |
//! | I17 converges | `Watch::beat_answered`; at the end `Checker::converged`, `Run::come_to_rest` |
//! | I18 priority | `Watch::claimed`, `Watch::sends`, `Runtime::step` |
//! | I19 slots | `Watch::fits` |
//! | I20 free slots | `Watch::claimed`, `Watch::takes`, `Watch::sends` |
//! | I23 an end is bounded | `node::live` |
//! | I29 no caller delays another | `isolation` |
//! | I30 clocks | `Watch::lost`; at the end `Checker::timed_out`, `Watch::goes_on` |
//! | I35 bounded starts | `Watch::rows`, `Watch::sends` |
//!
//! `ORX_SIM_SEEDS` sets the number of runs, `ORX_SIM_SEED` replays one, `ORX_SIM_BUG` names the only bug to
//! test.

mod bug;
mod checker;
mod faults;
mod isolation;
mod net;
mod node;
mod people;
mod run;
mod store;
mod watch;
mod worker;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use orx_model::Name;

use crate::bug::Bug;
use crate::run::{Outcome, simulate};
use crate::world::Counts;

/// Runs without a bug, and most runs to find a bug.
const RUNS: u64 = 200;

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs seeds until one fails, on as many threads as there are cores. Returns the counts of all runs, or the
/// lowest seed that failed with the reason.
fn simulate_many(most: u64, bug: Option<Bug>) -> Result<Counts, (u64, String)> {
    let seeds = match number("ORX_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ORX_SIM_SEEDS").unwrap_or(most),
    };
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let run = || {
        let (mut all, mut first) = (Counts::default(), None);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            // Lower seeds than the failed one still run, so that each time the same seed is returned.
            if seed >= seeds.end || seed > failed.load(Ordering::Relaxed) {
                return (all, first);
            }
            let Outcome { result, trace } = simulate(seed, bug);
            match result {
                Ok(counts) => all.add(counts),
                Err(why) => {
                    failed.fetch_min(seed, Ordering::Relaxed);
                    let most = if number("ORX_SIM_SEED").is_some() { usize::MAX } else { 80 };
                    let last = &trace[trace.len().saturating_sub(most)..];
                    first = Some((seed, format!("{why}\n{}", last.join("\n"))));
                    return (all, first);
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut all = Counts::default();
    outcomes.iter().for_each(|(counts, _)| all.add(*counts));
    match outcomes.into_iter().filter_map(|(_, failed)| failed).min() {
        Some(failed) => Err(failed),
        None => Ok(all),
    }
}

#[test]
fn the_invariants_hold_whatever_happens() {
    let counts = simulate_many(RUNS, None)
        .unwrap_or_else(|(seed, why)| panic!("ORX_SIM_SEED={seed}: {why}"));
    // Each kind of recovery has to happen in some of the runs.
    let tried = [counts.lost, counts.late, counts.timed_out, counts.handed_back];
    let often = tried.iter().all(|times| *times > counts.runs / 50);
    let replayed = std::env::var_os("ORX_SIM_SEED").is_some();
    // A leader checks its lease before it acts, so the store rarely has to reject its writes.
    assert!(replayed || (often && counts.deposed > 0), "{counts:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..6 {
        assert_eq!(simulate(seed, None), simulate(seed, None), "{seed}");
    }
}

/// Each bug violates an invariant within the number of runs that a build without bugs passes.
#[test]
fn each_seeded_bug_is_found() {
    let found = |bug: &Bug| {
        let (seed, why) = simulate_many(RUNS, Some(*bug)).err()?;
        Some((seed, why.lines().next().unwrap_or_default().to_owned()))
    };
    let wanted = std::env::var("ORX_SIM_BUG").ok();
    let is_wanted = |bug: &&Bug| wanted.as_ref().is_none_or(|it| *it == format!("{bug:?}"));
    let all: Vec<_> = Bug::ALL.iter().filter(is_wanted).map(|bug| (bug, found(bug))).collect();
    assert!(all.iter().all(|(_, found)| found.is_some()), "{all:#?}");
}
