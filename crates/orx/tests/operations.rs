//! Operations over many jobs: carried out by the server, whatever becomes of it and of the command.

mod common;

use std::time::Duration;

use common::{Machine, ended, signal, until};
use serde_json::Value;

/// Enqueues jobs that no worker takes.
fn enqueue(machine: &Machine, count: usize) {
    let lines = "{\"name\":\"nobody\"}\n".repeat(count);
    assert_eq!(machine.orx_in(["enqueue", "--batch", "-"], lines.as_bytes()).code, 0);
}

fn coordinator() -> Machine {
    let mut machine = Machine::new();
    machine.coordinate("127.0.0.1:0");
    machine
}

/// Numbers of waiting and of cancelled jobs.
fn counts(machine: &Machine) -> (u64, u64) {
    let queue = machine.json(["queue", "show", "default"]);
    let queue = if queue.is_array() { queue[0].clone() } else { queue };
    let count = |status: &str| queue["counts"][status].as_u64().unwrap_or_default();
    (count("pending"), count("cancelled"))
}

fn operation(machine: &Machine, id: &str) -> Value {
    machine.json(["operation", "show", id])
}

fn number(operation: &Value, field: &str) -> u64 {
    operation[field].as_u64().unwrap_or_default()
}

#[test]
fn a_killed_server_continues_operations_exactly_where_they_stopped() {
    let mut machine = coordinator();
    enqueue(&machine, 2_000);
    let args = ["cancel", "--name", "nobody", "--yes", "--rate", "500", "--detach"];
    let started = machine.orx(args);
    assert_eq!((started.code, started.out.as_str()), (0, "1\n"), "{started:?}");
    // They match, but did not exist at the start.
    enqueue(&machine, 50);
    for kills in 1..=2 {
        until("a part is done", || number(&operation(&machine, "1"), "changed") >= 500 * kills);
        machine.kill();
        machine.coordinate("127.0.0.1:0");
    }
    let running = operation(&machine, "1");
    assert!(number(&running, "changed") < 2_000, "it ended before the kills: {running}");
    until("it is done", || operation(&machine, "1")["status"] == "done");
    let done = operation(&machine, "1");
    assert_eq!(number(&done, "changed"), 2_000, "{done}");
    assert_eq!(done["matched"]["count"], 2_000);
    assert!(done["left_alone"].as_object().expect("reasons").values().all(|count| *count == 0));
    assert_eq!(counts(&machine), (50, 2_000));

    // The same for a retry, in which a job that is reached twice would be seen as left alone.
    let retried =
        machine.orx(["retry", "--status", "cancelled", "--yes", "--rate", "800", "--detach"]);
    assert_eq!(retried.out, "2\n", "{retried:?}");
    until("a part is done", || number(&operation(&machine, "2"), "changed") > 0);
    machine.kill();
    machine.coordinate("127.0.0.1:0");
    until("it is done", || operation(&machine, "2")["status"] == "done");
    let done = operation(&machine, "2");
    assert_eq!(number(&done, "changed"), 2_000, "{done}");
    assert_eq!(counts(&machine), (2_050, 0));
    let actions = machine.json(["audit"]);
    let actions: Vec<&str> = actions
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| entry["action"].as_str())
        .collect();
    let of_one = ["end_operation", "start_operation"];
    assert_eq!(actions, [of_one, of_one].concat());
}

#[test]
fn an_interrupt_cancels_the_operation_and_reports_what_it_changed() {
    let machine = coordinator();
    enqueue(&machine, 300);
    let cancel = machine.begin(["cancel", "--name", "nobody", "--yes", "--rate", "50"]);
    let first = || machine.json(["operation", "list"])[0].clone();
    until("a part is done", || number(&first(), "changed") >= 50);
    signal(cancel.id(), "INT");
    let ran = ended(cancel);
    assert_eq!(ran.code, 130, "{ran:?}");
    assert!(ran.out.contains("operation 1 was cancelled before its end"), "{ran:?}");
    let shown = operation(&machine, "1");
    let changed = number(&shown, "changed");
    assert!(ran.out.starts_with(&format!("cancelled {changed} jobs;")), "{ran:?}");
    assert_eq!(shown["status"], "cancelled");
    assert_eq!(counts(&machine), (300 - changed, changed));
    // Cancelled once more, it stays as it is; an operation that is done cannot be cancelled.
    assert_eq!(machine.orx(["operation", "cancel", "1"]).code, 0);
    assert_eq!(machine.orx(["cancel", "--name", "nobody", "--yes"]).code, 0);
    let late = machine.orx(["operation", "cancel", "2"]);
    assert!(late.code == 4 && late.err.contains("has ended: done"), "{late:?}");
    let listed = machine.orx(["operation", "list", "-o", "id"]);
    assert_eq!(listed.out, "2\n1\n");
    assert_eq!(machine.orx(["operation", "show", "9"]).code, 3);
}

#[test]
fn a_rate_bounds_the_changes_of_a_second() {
    let machine = coordinator();
    enqueue(&machine, 100);
    let began = std::time::Instant::now();
    let ran = machine.orx(["cancel", "--name", "nobody", "--yes", "--rate", "50"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "cancelled 100 jobs\n"), "{ran:?}");
    // The second half comes a second after the first.
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let refused = machine.orx(["cancel", "--name", "nobody", "--yes", "--rate", "0"]);
    assert!(refused.code == 2 && refused.err.contains("`rate` is 1 to"), "{refused:?}");
}

#[test]
fn more_than_the_allowed_number_is_refused_before_anything_changes() {
    let machine = coordinator();
    enqueue(&machine, 20);
    let args = ["cancel", "--name", "nobody", "--yes", "--max-affected", "19"];
    let refused = machine.orx(args);
    assert!(refused.code != 0 && refused.err.contains("20 jobs, at most 19"), "{refused:?}");
    assert_eq!(counts(&machine), (20, 0));
    assert_eq!(machine.orx(["operation", "list", "-o", "id"]).out, "");
    let dry = machine.json(["cancel", "--name", "nobody", "--dry-run"]);
    assert_eq!(dry["by_status"]["pending"], 20, "{dry}");
    assert_eq!(dry["examples"].as_array().map(Vec::len), Some(5));
    assert_eq!(machine.orx(["operation", "list", "-o", "id"]).out, "");
    let all = machine.orx(["cancel", "--name", "nobody", "--yes", "--max-affected", "20"]);
    assert_eq!(all.code, 0, "{all:?}");
}

#[test]
fn ended_jobs_are_deleted_and_others_are_left_alone() {
    let machine = coordinator();
    enqueue(&machine, 5);
    machine.orx(["enqueue", "nobody", "--key", "k"]);
    machine.orx(["cancel", "1", "6"]);
    let rm = machine.orx(["rm", "1", "2", "6", "9"]);
    assert_eq!(rm.code, 7, "{rm:?}");
    let lines =
        "deleted 1, 6\nunchanged, the status does not allow it: 2 (pending)\nnot found: 9\n";
    assert_eq!(rm.out, lines);
    assert!(rm.err.contains("`orx cancel` ends them first"), "{rm:?}");
    assert_eq!(machine.orx(["show", "1"]).code, 3);
    assert_eq!(machine.orx(["rm", "2"]).code, 4);
    // The key is free again.
    assert_eq!(machine.orx(["enqueue", "nobody", "--key", "k", "-o", "id"]).out, "7\n");
    machine.orx(["cancel", "3", "4"]);
    let none = machine.orx(["rm", "--queue", "default"]);
    assert!(none.err.contains("delete 2 jobs (3, 4)?"), "{none:?}");
    let rm = machine.json(["rm", "--queue", "default", "--yes"]);
    assert_eq!((number(&rm, "changed"), number(&rm, "affected")), (2, 2), "{rm}");
    assert_eq!(counts(&machine), (3, 0));
}

#[test]
fn a_list_of_many_ids_is_one_operation_that_reports_what_is_missing() {
    let machine = coordinator();
    enqueue(&machine, 700);
    let ids: String = (1..=720).map(|id| format!("{id}\n")).collect();
    let ran = machine.orx_in(["cancel", "-", "--yes"], ids.as_bytes());
    assert_eq!(ran.code, 7, "{ran:?}");
    assert_eq!(ran.out, "cancelled 700 jobs; left 20 alone: 20 not found\n");
}
