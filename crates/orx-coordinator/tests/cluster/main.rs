//! Whole clusters, simulated: real coordinators, the real decisions of workers, and everything that may
//! happen to them, in an order that a seed decides.
//!
//! The store takes its time and answers in any order; messages are lost, doubled and late; workers and
//! nodes die, end, stand still and are cut off; clocks are wrong. Time is virtual: a run of minutes takes
//! milliseconds. The invariants are checked whenever something moves, and that all converges once the
//! trouble is over.
//!
//! What covers which invariant of the product, after each step unless it says otherwise:
//!
//! | invariant | where |
//! |---|---|
//! | I1 accepted is not lost | `Checker::rows` |
//! | I2 rejected does not run, a key gives one job | `Watch::rows`, `Watch::enqueued` |
//! | I3 legal transitions | `Checker::transition` |
//! | I4 one completion | `Checker::transition`, `Watch::recorded`; G1 `Watch::acknowledged` |
//! | I5 count of attempts | `Checker::transition`, `Checker::rows` |
//! | I6 one leader writes, and one believes to lead | `Checker::transition`, `Watch::led`, `Watch::leads` |
//! | I7 epochs grow | `Watch::elected` |
//! | I8 one live execution | `Checker::transition`, `Checker::rows` |
//! | I9 bounded overlap | `World::starts` |
//! | I10 one job a slot | `Watch::rows` |
//! | I11 every slot, by an independent oracle | `tests/schedules`; here at the end `Watch::goes_on` |
//! | I12 cancelled before its start, never starts | `Checker::start`, `Checker::transition` |
//! | I13 a cancel is kept, and told in time | `Watch::rows`, `Watch::moved`, `Watch::heard` |
//! | I14 the dead are found, and somebody leads | `World::look_at_the_dead`, `Watch::given_up` |
//! | I15 owners of shards | no node owns a shard yet: any node records, I4 guards |
//! | I16 an event counts once | outcomes: `Watch::recorded`; output: the contract suite of stores |
//! | I17 converges | `Watch::heard`; at the end `Checker::converged`, `Run::come_to_rest` |
//! | I18 priority | `Watch::claimed`, `Watch::sends`, `Runtime::step` |
//! | I19 slots | `Watch::fits` |
//! | I20 free slots | `Watch::claimed`, `Watch::takes`, `Watch::sends` |
//! | I23 an end is bounded | `node::live` |
//! | I29 nobody delays another | `isolation` |
//! | I30 clocks | `Watch::lost`; at the end `Checker::timed_out`, `Watch::goes_on` |
//! | I35 bounded starts | `Watch::rows`, `Watch::sends` |
//!
//! `ORX_SIM_SEEDS` says how many runs, `ORX_SIM_SEED` replays one, `ORX_SIM_BUG` names the only bug to
//! look for.

mod bug;
mod checker;
mod isolation;
mod net;
mod node;
mod people;
mod run;
mod store;
mod trouble;
mod watch;
mod worker;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use orx_model::Name;

use crate::bug::Bug;
use crate::run::{Outcome, simulate};
use crate::world::Seen;

/// Runs without a bug, and at most to find one.
const RUNS: u64 = 200;

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs seeds until one fails, on as many threads as there are cores. Answers what was seen, or the
/// first that failed and why.
fn simulate_many(most: u64, bug: Option<Bug>) -> Result<Seen, (u64, String)> {
    let seeds = match number("ORX_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ORX_SIM_SEEDS").unwrap_or(most),
    };
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let run = || {
        let (mut all, mut first) = (Seen::default(), None);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            // Those before the one that failed go on, so that the answer is the same each time.
            if seed >= seeds.end || seed > failed.load(Ordering::Relaxed) {
                return (all, first);
            }
            let Outcome { result, trace } = simulate(seed, bug);
            match result {
                Ok(seen) => all.add(seen),
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
    let mut all = Seen::default();
    outcomes.iter().for_each(|(seen, _)| all.add(*seen));
    match outcomes.into_iter().filter_map(|(_, failed)| failed).min() {
        Some(failed) => Err(failed),
        None => Ok(all),
    }
}

#[test]
fn the_invariants_hold_whatever_happens() {
    let seen = simulate_many(RUNS, None)
        .unwrap_or_else(|(seed, why)| panic!("ORX_SIM_SEED={seed}: {why}"));
    // Else nothing of what this is for was tried.
    let tried = [seen.lost, seen.late, seen.timed_out, seen.handed_back];
    let often = tried.iter().all(|times| *times > seen.runs / 50);
    let replayed = std::env::var_os("ORX_SIM_SEED").is_some();
    // A leader looks at its lease before it acts, so the store has to refuse it seldom.
    assert!(replayed || (often && seen.deposed > 0), "{seen:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..6 {
        assert_eq!(simulate(seed, None), simulate(seed, None), "{seed}");
    }
}

/// Each bug breaks a promise, and is found by no more runs than are made without one.
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
