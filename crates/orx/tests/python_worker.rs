//! The worker protocol works for others: a worker in Python, with the standard library only, runs jobs for
//! a coordinator, and continues after a kill of the coordinator.

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Machine, signal, until};

fn worker(machine: &Machine) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/worker.py");
    let log = std::fs::File::create(machine.path("python.log")).expect("a log");
    Command::new("python3")
        .arg(script)
        .args(["--url", &machine.url(), "--token-file"])
        .arg(machine.state().join("token"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("python3 runs")
}

fn workers(machine: &Machine) -> Vec<String> {
    let list = machine.json(["worker", "list"]);
    let live = list.as_array().expect("a list").iter().filter(|worker| worker["live"] == true);
    live.map(|worker| worker["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_worker_in_python_runs_cancels_and_reports_and_outlives_its_coordinator() {
    let mut machine = Machine::new();
    machine.coordinate("127.0.0.1:0");
    let mut python = worker(&machine);
    until("the worker is there", || workers(&machine) == ["python"]);

    let sum = machine.orx(["enqueue", "python.sum", "numbers:=[1,2,39]", "--wait", "-o", "id"]);
    assert_eq!(sum.code, 0, "{sum:?}");
    assert_eq!(machine.orx(["result", "@last"]).out.trim(), "42");
    let wrong = ["enqueue", "python.sum", "numbers:=5", "--retries", "0", "--wait"];
    let wrong = machine.orx(wrong);
    assert!(wrong.code == 1 && wrong.out.contains("TypeError"), "{wrong:?}");

    let count = ["enqueue", "python.count", "to:=1000", "-o", "id"];
    let long = machine.orx(count).out.trim().to_owned();
    until("it runs", || machine.status(&long) == "running");
    machine.orx(["cancel", &long]);
    until("it is cancelled", || machine.status(&long) == "cancelled");

    let limited = ["enqueue", "python.count", "to:=1000", "--job-timeout", "1s", "--retries", "0"];
    assert_eq!(machine.orx(limited).code, 0);
    assert_eq!(machine.orx(["wait", "@last", "--timeout", "60s"]).code, 1);
    assert_eq!(machine.status("@last"), "timed_out");

    // Some seconds long; the coordinator is killed meanwhile and restarts at the same address.
    let count = ["enqueue", "python.count", "to:=30", "-o", "id"];
    let job = machine.orx(count).out.trim().to_owned();
    until("it runs", || machine.status(&job) == "running");
    let address = machine.url().trim_start_matches("http://").to_owned();
    machine.kill();
    machine.coordinate(&address);
    let waited = machine.orx(["wait", &job, "--timeout", "60s"]);
    assert_eq!(waited.code, 0, "{waited:?}");
    let shown = machine.json(["show", &job]);
    assert_eq!((&shown["status"], &shown["attempt"]), (&"completed".into(), &1.into()));
    let lines = machine.orx(["logs", &job]).out;
    assert_eq!(lines.lines().count(), 30, "{lines}");

    // In an orderly stop it releases its attempts and deregisters: its lease need not expire.
    let count = ["enqueue", "python.count", "to:=1000", "-o", "id"];
    let last = machine.orx(count).out.trim().to_owned();
    until("it runs", || machine.status(&last) == "running");
    signal(python.id(), "TERM");
    assert!(python.wait().expect("ended").success());
    assert_eq!(workers(&machine), [""; 0]);
    let shown = machine.json(["show", &last]);
    assert_eq!(shown["attempts"][0]["status"], "interrupted", "{shown}");
}
