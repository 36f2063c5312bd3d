//! The clock of the machine is set while work goes on: forward, back, to and fro.

mod common;

use std::time::Duration;

use common::{Machine, until};
use orx_model::Timestamp;

const HOUR: i64 = 3_600;
/// The server looks at what runs so often; here more often than by default.
const LOOKS: &str = "[cluster]\nmonitor = \"100ms\"\n";
/// In so long it has looked, also on a busy machine. What should not happen cannot be awaited.
const LOOKED: Duration = Duration::from_millis(800);

fn machine(config: &str) -> Machine {
    let mut machine = Machine::with_clock();
    let folder = machine.path("home/.config/orx");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("config.toml"), config).expect("a file");
    machine.start(&[]);
    machine
}

/// Until the server reads the clock as it is set now.
fn clock_is(machine: &Machine, ahead: i64) {
    until("the server reads its clock", || {
        let now = machine.json(["cluster", "status"])["now"].as_str().map(str::to_owned);
        let now: Timestamp = now.expect("a time").parse().expect("a time");
        let real = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let real = real.expect("after 1970").as_secs() as i64;
        (now.as_millis() / 1_000 - real - ahead).abs() < 60
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
    for ahead in [600, 10 * 365 * 24 * HOUR, -2 * HOUR, 0, 600] {
        machine.set_clock(ahead);
        clock_is(&machine, ahead);
        assert_eq!(machine.status("1"), "running", "ahead by {ahead} s");
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
