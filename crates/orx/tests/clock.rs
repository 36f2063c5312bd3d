//! The host's clock is set while jobs run: forward, back, and repeatedly.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Machine, until};
use orx_model::Timestamp;

const HOUR: i64 = 3_600;
/// Time between two checks of the server, shorter than by default.
const LOOKS: &str = "[cluster]\nmonitor = \"100ms\"\n";
/// Time after which the server has checked, also on a busy machine: the absence of an event cannot be
/// awaited.
const LOOKED: Duration = Duration::from_millis(800);

fn machine(config: &str) -> Machine {
    let mut machine = Machine::with_clock();
    machine.configure(config);
    machine.start(&[]);
    machine
}

/// Waits until the server reads the new time.
fn clock_is(machine: &Machine, offset: i64) {
    until("the server reads its clock", || {
        let now = machine.json(["cluster", "status"])["now"].as_str().map(str::to_owned);
        let now: Timestamp = now.expect("a time").parse().expect("a time");
        let real = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let real = real.expect("after 1970").as_secs() as i64;
        (now.as_millis() / 1_000 - real - offset).abs() < 60
    });
    std::thread::sleep(LOOKED);
}

#[test]
fn a_clock_that_is_set_ends_no_attempt_and_costs_no_outcome() {
    let machine = machine(LOOKS);
    let go = machine.path("go");
    let script = format!("until [ -e '{}' ]; do sleep 0.05; done", go.display());
    let run = ["run", "--detach", "--job-timeout", "60s", "--", "sh", "-c", &script];
    let accepted = machine.orx(run);
    assert_eq!(accepted.code, 0, "{accepted:?}");
    until("it runs", || machine.status("1") == "running");

    // By ten minutes, by years and back, by hours behind, and right again.
    for offset in [600, 10 * 365 * 24 * HOUR, -2 * HOUR, 0, 600] {
        machine.set_clock(offset);
        clock_is(&machine, offset);
        assert_eq!(machine.status("1"), "running", "fast by {offset} s");
    }
    std::fs::write(go, "").expect("a file");

    let waited = machine.orx(["wait", "1"]);
    assert_eq!(waited.code, 0, "{waited:?}");
    let job = machine.json(["show", "1"]);
    assert_eq!((&job["status"], &job["attempt"]), (&"completed".into(), &1.into()), "{job}");
    let at = |name: &str| {
        let at: Timestamp = job[name].as_str().expect("a time").parse().expect("a time");
        at.as_millis()
    };
    let took = at("finished_at") - at("started_at");
    assert!((0..60_000).contains(&took), "it took {took} ms");
}

/// The runs of a schedule in its ledger: slot and job.
fn runs(machine: &Machine, id: &str) -> Vec<(i64, i64)> {
    let rows = machine.json(["schedule", "runs", id, "--all"]);
    let run = |row: &serde_json::Value| {
        let slot: Timestamp = row["slot"].as_str()?.parse().ok()?;
        Some((slot.as_millis(), row["job"].as_i64()?))
    };
    rows.as_array().expect("rows").iter().filter_map(run).collect()
}

/// Waits for this many further runs of the schedule; no slot may run twice.
fn runs_on(machine: &Machine, id: &str, more: usize) {
    let before = runs(machine, id).len();
    until("the schedule goes on", || runs(machine, id).len() >= before + more);
    let runs = runs(machine, id);
    let slots: BTreeSet<i64> = runs.iter().map(|(slot, _)| *slot).collect();
    let jobs: BTreeSet<i64> = runs.iter().map(|(_, job)| *job).collect();
    assert_eq!((slots.len(), jobs.len()), (runs.len(), runs.len()), "{id}: {runs:?}");
}

/// The clock is years fast for a while, with and without a restart before it is correct again, and is set
/// back by two hours: schedules continue within their period.
fn schedules_go_on(mut machine: Machine) {
    let add = ["schedule", "add", "often", "--every", "1s", "--overlap", "allow", "orx.noop"];
    let added = machine.orx(add);
    assert_eq!(added.code, 0, "{added:?}");
    runs_on(&machine, "often", 2);

    for restart in [false, true] {
        machine.set_clock(10 * 365 * 24 * HOUR);
        clock_is(&machine, 10 * 365 * 24 * HOUR);
        runs_on(&machine, "often", 1);
        if restart {
            machine.kill();
            machine.set_clock(0);
            machine.start(&[]);
        } else {
            machine.set_clock(0);
        }
        clock_is(&machine, 0);
        runs_on(&machine, "often", 3);
        let next = machine.json(["schedule", "show", "often"])["next"]["slot"].clone();
        let next: Timestamp = next.as_str().expect("a time").parse().expect("a time");
        let real = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let real = real.expect("after 1970").as_millis() as i64;
        assert!((next.as_millis() - real).abs() < 60_000, "next is {next}");
    }
    machine.set_clock(-2 * HOUR);
    clock_is(&machine, -2 * HOUR);
    runs_on(&machine, "often", 3);

    let status = machine.json(["cluster", "status"]);
    assert!(status["clock"]["jumps"].as_u64() >= Some(5), "{status}");
    let by = status["clock"]["last_by_ms"].as_i64().expect("a jump");
    assert!((by + 2 * HOUR * 1_000).abs() < 60_000, "{status}");
    let text = machine.orx(["cluster", "status"]).out;
    assert!(text.contains("set back by 2h at "), "{text}");
    let ledger = machine.orx(["schedule", "runs", "often", "--all"]).out;
    assert!(ledger.contains("clock set") && ledger.contains("back by 2h"), "{ledger}");
    assert!(machine.log().contains("the clock of this machine was set back by 2h"));
}

#[test]
fn schedules_go_on_from_the_right_time_once_the_clock_is_right() {
    schedules_go_on(machine(LOOKS));
}

#[test]
fn schedules_in_postgresql_go_on_from_the_right_time_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let database = runtime.block_on(orx_testkit::servers::TestDatabase::new());
    // A short lease, so that the server leads soon after a kill.
    let lease = "leader_lease = \"4s\"\nleader_renew = \"1s\"\nleader_margin = \"500ms\"\n";
    let store = format!("[store]\nurl = \"{}\"\n{LOOKS}{lease}", database.url());
    schedules_go_on(machine(&store));
}
