//! Random schedules on random days, most of them with a clock change, fired by nodes that die, are replaced
//! and have wrong clocks. The ledger and the jobs must be those of the oracle (I10, I11).
//!
//! `ORX_SIM_SEEDS` sets the number of runs; `ORX_SIM_SEED` replays one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use orx_coordinator::Now;
use orx_coordinator::leader::scheduler::plan::decide;
use orx_model::schedule::{CatchUp, Due, Overlap, ScheduleSpec, Slot, SlotOutcome, When, ZoneName};
use orx_model::{JobId, JobStatus, Timestamp};
use orx_store::{CancelCommand, Jobs, Schedules};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::oracle::{self, Expected, Minutes, Row};
use crate::shim::Shim;
use crate::stepped::Stepped;
use crate::world::{
    HOUR, MINUTE, SECOND, done, engine, is_deposed, ledger, ms, plan, spec, take_lead,
};

/// Zones with the time of a clock change: by an hour, by half an hour, at midnight, by a day.
const CHANGES: [(&str, &str); 11] = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("America/Santiago", "2026-04-05T03:00:00Z"),
    ("America/Santiago", "2026-09-06T04:00:00Z"),
    ("Africa/Casablanca", "2026-02-15T02:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("Asia/Kathmandu", "2026-06-01T00:00:00Z"),
];

const EXPRESSIONS: [&str; 24] = [
    "*/30 * * * *",
    "0 * * * *",
    "15,45 */2 * * *",
    "*/20 1-3 * * *",
    "*/7 2 * * *",
    "30 2 * * *",
    "30 1 * * *",
    "0 2 * * *",
    "0 3 * * *",
    "0 0 * * *",
    "59 23 * * *",
    "5 0-4 * * *",
    "10,50 1,2 * * *",
    "0 12 * * 1-5",
    "0 6 29 * 0",
    "0 */5 * * 0,6",
    "30 2 * 3,10 *",
    "0 9 1-7,29 * 7",
    "45 2 29 3 *",
    "20 30 2 * * *",
    "10,40 0 1-2 * * *",
    "*/20 0 3 * * *",
    "0,30 59 */6 * * *",
    "0 15 */3 * * *",
];

/// The days around one change, minute by minute.
struct Days {
    change: i64,
    zones: [(ZoneName, Minutes); 2],
    /// A cache of the due times of expressions, by zone and expression.
    walked: HashMap<(usize, &'static str), Vec<i64>>,
}

impl Days {
    fn of(zone: &str, change: &str) -> Self {
        let change = change.parse::<Timestamp>().expect("a time").as_millis() / 1_000;
        let day = 24 * 3_600;
        let minutes = |zone: &str| {
            let named = zone.parse().expect("a zone");
            (named, Minutes::of(zone, change - 3 * day, change + 6 * day))
        };
        let zones = [minutes(zone), minutes("UTC")];
        Self { change, zones, walked: HashMap::new() }
    }

    fn walk(&mut self, zone: usize, expr: &'static str) -> &[i64] {
        let minutes = &self.zones[zone].1;
        self.walked.entry((zone, expr)).or_insert_with(|| oracle::walk(expr, minutes))
    }
}

struct Node {
    engine: Stepped,
    number: u128,
}

struct Sim {
    rng: StdRng,
    store: Arc<Shim>,
    leader: Node,
    /// Former leaders that have not noticed the end of their term.
    stale: Vec<Node>,
    clock: i64,
    mono: Duration,
    schedules: Vec<(ScheduleSpec, Expected)>,
    trace: Vec<String>,
}

fn random_spec(rng: &mut StdRng, id: &str, days: &mut Days, base: i64) -> (ScheduleSpec, Vec<i64>) {
    let mut cron = Vec::new();
    let mut zone = ZoneName::default();
    let timing = match rng.random_range(0..10) {
        0..7 => {
            let place = usize::from(rng.random_bool(0.2));
            let expr = EXPRESSIONS[rng.random_range(0..EXPRESSIONS.len())];
            zone = days.zones[place].0.clone();
            cron = days.walk(place, expr).to_vec();
            When::Cron(expr.parse().expect("an expression"))
        }
        7..9 => {
            let all = [7 * MINUTE, 20 * MINUTE, 90 * MINUTE, HOUR, 25 * HOUR];
            let every = all[rng.random_range(0..all.len())];
            let offset = rng.random_range(0..every / SECOND) * SECOND;
            When::Interval { every_ms: every as u64, offset_ms: offset as u64 }
        }
        _ => When::Once(ms(base + rng.random_range(-HOUR..40 * HOUR))),
    };
    let near = |rng: &mut StdRng| ms(base + rng.random_range(-5..60) * 30 * MINUTE);
    let mut it = spec(id, timing);
    it.zone = zone;
    it.jitter_ms = [0, 0, 500, 90_000, HOUR as u64][rng.random_range(0..5)];
    it.start = rng.random_bool(0.2).then(|| near(rng));
    it.end = rng.random_bool(0.2).then(|| near(rng));
    it.max_runs = rng.random_bool(0.2).then(|| rng.random_range(1..8));
    it.catch_up = match rng.random_range(0..7) {
        0..2 => CatchUp::None,
        2..4 => CatchUp::One,
        4 => CatchUp::All(CatchUp::ALL_MAX),
        _ => CatchUp::All(rng.random_range(1..5)),
    };
    let windows = [0, 2 * MINUTE as u64, HOUR as u64, 6 * HOUR as u64, ScheduleSpec::WINDOW_MS];
    it.window_ms = windows[rng.random_range(0..5)];
    it.overlap = Overlap::ALL[rng.random_range(0..4)];
    (it, cron)
}

impl Sim {
    fn new(seed: u64, days: &mut Days) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let store = Shim::new();
        let clock = days.change * SECOND - rng.random_range(6 * HOUR..36 * HOUR);
        let at = Now { wall: ms(clock), mono: Duration::ZERO };
        let leader = Node { engine: engine(&store, 1, at), number: 1 };
        let mut trace = Vec::new();
        let mut schedules = Vec::new();
        for number in 0..rng.random_range(1..4) {
            let (spec, cron) = random_spec(&mut rng, &format!("s{number}"), days, clock);
            // Includes due times before its creation: the clock may be set back to them.
            let slots = oracle::slots(&spec, &cron, clock - 30 * HOUR, clock + 110 * HOUR);
            let due = oracle::fire_times(&spec, &slots);
            let mut later = due.iter().filter(|(slot, _)| *slot > clock);
            let next = later.next().map(|(slot, at)| Due { slot: ms(*slot), fire_at: ms(*at) });
            let plan = plan(spec.clone(), clock, next);
            assert!(done(store.add_schedule(plan, at.wall)).expect("added"));
            trace.push(format!("{spec:?}"));
            let expected = Expected::new(&spec, due, clock);
            schedules.push((spec, expected));
        }
        let (stale, mono) = (Vec::new(), Duration::ZERO);
        let mut sim = Self { rng, store, leader, stale, clock, mono, schedules, trace };
        sim.take_over(1);
        sim
    }

    fn now(&self) -> Now {
        Now { wall: ms(self.clock), mono: self.mono }
    }

    fn log(&mut self, what: &str) {
        self.trace.push(format!("{} {what}", ms(self.clock)));
    }

    fn pass(&mut self, for_ms: i64) {
        self.clock += for_ms;
        self.mono += Duration::from_millis(for_ms.max(0) as u64);
    }

    /// Lets the oracle decide the pass.
    fn expect(&mut self) {
        let now = ms(self.clock);
        self.schedules.iter_mut().for_each(|(spec, expected)| expected.look(spec, now));
    }

    /// A node leads from now on, and does a pass.
    fn take_over(&mut self, number: u128) {
        self.log(&format!("{number} leads"));
        let at = self.now();
        let mut engine = engine(&self.store, number, at);
        let term = take_lead(&self.store, number, at.wall);
        engine.lead(term, at).expect("leads");
        let before = std::mem::replace(&mut self.leader, Node { engine, number });
        self.stale.push(before);
        self.look();
    }

    fn look(&mut self) {
        let at = self.now();
        self.leader.engine.fire(at).expect("fired");
        // A slot that already ran is found in a second pass.
        if self.leader.engine.next_due().is_some_and(|due| due <= at.wall) {
            self.leader.engine.fire(at).expect("fired");
        }
        self.expect();
        self.trace.push(format!("{} a pass", at.wall));
    }

    fn next(&self) -> Option<i64> {
        self.schedules.iter().filter_map(|(_, expected)| expected.next()).min()
    }

    fn step(&mut self) -> Result<(), String> {
        match self.rng.random_range(0..100) {
            0..55 => self.wake()?,
            55..60 => {
                let at = self.now();
                self.log("the monitor");
                self.leader.engine.monitor(at).expect("a round");
                self.look();
            }
            60..68 => {
                let for_ms = match self.rng.random_range(0..3) {
                    0 => self.rng.random_range(0..3 * MINUTE),
                    1 => self.rng.random_range(0..4 * HOUR),
                    _ => self.rng.random_range(0..20 * HOUR),
                };
                self.log("the leader dies");
                self.stale.clear();
                self.pass(for_ms);
                self.take_over(self.leader.number + 1);
                self.stale.clear();
            }
            68..73 => {
                let for_ms = self.rng.random_range(0..HOUR);
                self.pass(for_ms);
                self.take_over(self.leader.number + 1);
            }
            73..79 => self.replaced_while_it_fires(),
            79..84 => {
                self.log("the leader dies between reading and firing");
                let now = ms(self.clock);
                let due = done(self.store.due_schedules(now, 500)).expect("read");
                let ran = BTreeSet::new();
                let decided = due.iter().map(|it| decide(it, &ran, now));
                self.trace.push(format!("{} were due", decided.count()));
                let for_ms = self.rng.random_range(0..2 * MINUTE);
                self.pass(for_ms);
                self.take_over(self.leader.number + 1);
                self.stale.clear();
            }
            84..89 => self.stale_leaders_act()?,
            89..92 => {
                let jump = [HOUR, -HOUR, -HOUR / 4, 3 * HOUR][self.rng.random_range(0..4)];
                self.log(&format!("the clock jumps by {jump} ms"));
                self.clock += jump;
                self.look();
            }
            92..97 => self.all_runs_end(),
            _ => {
                let for_ms = self.rng.random_range(0..10 * MINUTE);
                self.pass(for_ms);
                self.look();
            }
        }
        if self.rng.random_bool(0.5) {
            self.follow_up()?;
        }
        Ok(())
    }

    /// The leader wakes at the next due time, or a little later.
    fn wake(&mut self) -> Result<(), String> {
        let Some(next) = self.next() else {
            self.pass(HOUR);
            return Ok(());
        };
        let known = self.leader.engine.next_due();
        if known.is_none_or(|known| known > ms(next)) {
            return Err(format!("it sleeps until {known:?}, and should fire at {}", ms(next)));
        }
        let late = match self.rng.random_range(0..10) {
            0..6 => 0,
            6..8 => self.rng.random_range(0..=2 * SECOND),
            8 => self.rng.random_range(0..=60) * SECOND,
            _ => self.rng.random_range(0..120 * SECOND),
        };
        let wait = (next + late - self.clock).max(0);
        self.pass(wait);
        self.look();
        Ok(())
    }

    /// Another node takes over and fires after the leader has read the due schedules.
    fn replaced_while_it_fires(&mut self) {
        let wait = self.next().map_or(0, |next| (next - self.clock).clamp(0, 20 * HOUR));
        self.pass(wait);
        self.log("the leader is replaced between reading and firing");
        let (at, number) = (self.now(), self.leader.number + 1);
        let mut other = engine(&self.store, number, at);
        let led = Arc::new(Mutex::new(None));
        let (slot, store) = (Arc::clone(&led), Arc::clone(&self.store));
        self.store.meanwhile(move || {
            let term = take_lead(&store, number, at.wall);
            other.lead(term, at).expect("leads");
            other.fire(at).expect("fired");
            if other.next_due().is_some_and(|due| due <= at.wall) {
                other.fire(at).expect("fired");
            }
            *slot.lock() = Some(other);
        });
        let answer = self.leader.engine.fire(at);
        if let Some(engine) = led.lock().take() {
            assert!(answer.is_ok() || is_deposed(answer), "nothing fired, or deposed");
            let before = std::mem::replace(&mut self.leader, Node { engine, number });
            self.stale.push(before);
        } else {
            // No schedule was due, so the leader did not read.
            answer.expect("fired");
            *self.store.meanwhile.lock() = None;
        }
        self.expect();
    }

    fn stale_leaders_act(&mut self) -> Result<(), String> {
        if let Some(next) = self.next() {
            let wait = (next - self.clock).clamp(0, HOUR);
            self.pass(wait);
        }
        self.log("former leaders act");
        let at = self.now();
        for node in &mut self.stale {
            node.engine.monitor(at).ok();
            let before = self.store.memory.all_jobs().len();
            let fired = node.engine.fire(at);
            let checked = node.engine.follow_up(at).map(drop);
            for answer in [fired, checked] {
                if answer.is_err() && !is_deposed(answer) {
                    return Err("a stale leader gets another error than `Deposed`".into());
                }
            }
            if self.store.memory.all_jobs().len() != before {
                return Err("a stale leader made a job".into());
            }
        }
        self.look();
        Ok(())
    }

    fn all_runs_end(&mut self) {
        self.log("all runs end");
        let jobs = self.store.memory.all_jobs().into_iter();
        let open = jobs.filter(|job| !job.state.status.is_final()).map(|job| job.id);
        let cancel = |id| CancelCommand { id, reason: None, by: None, force: true, expected: None };
        done(self.store.cancel(open.map(cancel).collect(), ms(self.clock))).expect("cancelled");
        self.schedules.iter_mut().for_each(|(_, expected)| expected.all_ended());
    }

    /// Releases waiting runs. No two runs of a schedule go on together unless its overlap policy allows it.
    fn follow_up(&mut self) -> Result<(), String> {
        self.log("follows up ends");
        for _ in 0..self.rng.random_range(1..4) {
            self.pass(200);
            let at = self.now();
            self.leader.engine.follow_up(at).expect("checked");
        }
        let mut going: BTreeMap<&str, Vec<JobId>> = BTreeMap::new();
        let jobs = self.store.memory.all_jobs();
        for job in jobs.iter().filter(|job| job.state.status == JobStatus::Pending) {
            let id =
                job.spec.schedule.as_ref().map(|origin| origin.id.as_str()).unwrap_or_default();
            going.entry(id).or_default().push(job.id);
        }
        for (spec, _) in &self.schedules {
            let going = going.get(spec.id.as_str()).map_or(&[][..], Vec::as_slice);
            if spec.overlap != Overlap::Allow && going.len() > 1 {
                return Err(format!("{going:?} of `{}` run side by side", spec.id));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let jobs = self.store.memory.all_jobs();
        for (spec, expected) in &self.schedules {
            let id = spec.id.as_str();
            let rows = ledger(&self.store, id);
            let found: BTreeMap<i64, Row> =
                rows.iter().filter_map(|slot| Some((slot.slot.as_millis(), row(slot)?))).collect();
            let slots = found.keys().chain(expected.rows.keys());
            for slot in slots {
                let (found, expected) = (found.get(slot), expected.rows.get(slot));
                if found != expected {
                    return Err(format!("I11: `{id}` {}: {found:?} for {expected:?}", ms(*slot)));
                }
            }
            // Each slot made at most one job, whatever the clock showed.
            let of = |job: &orx_model::Job| {
                let origin = job.spec.schedule.as_ref().filter(|origin| origin.id == spec.id)?;
                origin.slot.map(|slot| (slot, job.id))
            };
            let mut made: Vec<(Timestamp, JobId)> = jobs.iter().filter_map(of).collect();
            made.sort_unstable();
            let rows = rows.iter().filter_map(|row| row.outcome.job().map(|job| (row.slot, job)));
            if made != rows.collect::<Vec<_>>() || !made.is_sorted_by(|a, b| a.0 < b.0) {
                return Err(format!("I10: `{id}` made {made:?}"));
            }
            let record = done(self.store.schedule(&spec.id)).expect("read").expect("the schedule");
            let next = record.plan.position.next.map(|due| due.fire_at.as_millis());
            let near = |next: &i64| *next < self.clock + 20 * HOUR;
            // The scheduler may wake a moment earlier, if it finds only then that the slot already ran.
            let close = |(found, right): (i64, i64)| (0..1_000).contains(&(right - found));
            let pair = next.filter(near).zip(expected.next().filter(near));
            if next.filter(near) != expected.next().filter(near) && !pair.is_some_and(close) {
                let expected = expected.next().map(ms);
                return Err(format!("I11: `{id}` fires next at {next:?}, not {expected:?}"));
            }
            if record.runs != made.len() as u64 {
                return Err(format!("`{id}` counts {} runs, not {}", record.runs, made.len()));
            }
        }
        Ok(())
    }
}

/// `None` for a clock jump.
fn row(slot: &Slot) -> Option<Row> {
    Some(match slot.outcome {
        SlotOutcome::ClockSet { .. } => return None,
        SlotOutcome::Ran { late_ms, .. } => Row::Ran { late_ms: late_ms as i64 },
        SlotOutcome::CaughtUp { late_ms, .. } => Row::CaughtUp { late_ms: late_ms as i64 },
        SlotOutcome::Skipped { reason } => Row::Skipped(reason),
        SlotOutcome::Missed => {
            let last = slot.last.unwrap_or(slot.slot).as_millis();
            // A range that the clock was set back into has no exact count any more.
            assert!(slot.exact || slot.count == 1, "the count of a range is not exact");
            Row::Missed { last, count: slot.count }
        }
    })
}

fn simulate(seed: u64, all: &mut [Days]) -> Result<[usize; 4], (String, Vec<String>)> {
    let place = seed as usize % all.len();
    let mut sim = Sim::new(seed, &mut all[place]);
    let until = sim.clock + sim.rng.random_range(12 * HOUR..60 * HOUR);
    let steps = sim.rng.random_range(10..60);
    for _ in 0..steps {
        if sim.clock >= until {
            break;
        }
        if let Err(error) = sim.step().and_then(|()| sim.check()) {
            return Err((error, sim.trace));
        }
    }
    let mut seen = [0; 4];
    for row in sim.schedules.iter().flat_map(|(_, expected)| expected.rows.values()) {
        let place = match row {
            Row::Ran { .. } => 0,
            Row::CaughtUp { .. } => 1,
            Row::Skipped(_) => 2,
            Row::Missed { .. } => 3,
        };
        seen[place] += 1;
    }
    Ok(seen)
}

#[test]
fn each_due_time_fires_once_or_has_a_row_whatever_happens_to_the_nodes() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("ORX_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ORX_SIM_SEEDS").unwrap_or(3_000),
    };
    let many = seeds.end - seeds.start > 1_000;
    let mut all: Vec<Days> = CHANGES.iter().map(|(zone, at)| Days::of(zone, at)).collect();
    let mut seen = [0; 4];
    for seed in seeds {
        match simulate(seed, &mut all) {
            Ok(rows) => seen.iter_mut().zip(rows).for_each(|(all, rows)| *all += rows),
            Err((error, trace)) => panic!("ORX_SIM_SEED={seed}: {error}\n{}", trace.join("\n")),
        }
    }
    assert!(!many || seen.iter().all(|rows| *rows > 1_000), "too little happened: {seen:?}");
}
