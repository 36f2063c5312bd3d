//! Dead letters by cause, and canaries of their retry.

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::{Machine, until};

/// Fails with its own number in the error, until the file `fixed` exists.
const FAILS: &str = "test -e fixed || \"$0\" ctx fail \"row $1 of order-$1 is bad\"";

/// Adds jobs that fail until the file `fixed` exists; returns their ids.
fn fail(machine: &Machine, numbers: std::ops::Range<u32>) -> Vec<String> {
    let folder = machine.path("");
    let add = |number: u32| {
        let mut command = machine.command(["run", "--detach", "-o", "id", "--retries", "0", "--"]);
        command.args(["sh", "-c", FAILS]).arg(common::orx()).arg(number.to_string());
        command.current_dir(&folder);
        let ran = command.output().expect("orx runs");
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    };
    let ids: Vec<String> = numbers.map(add).collect();
    until("they have failed", || ids.iter().all(|id| machine.status(id) == "failed"));
    ids
}

#[test]
fn errors_that_differ_in_numbers_are_one_cause_which_lists_and_exports_select() {
    let machine = Machine::with_server();
    let ids = fail(&machine, 10..13);
    machine.orx(["run", "--retries", "0", "--", "sh", "-c", "echo lost >&2; exit 3"]);
    let causes = machine.json(["dlq", "top"]);
    let counts = causes.as_array().expect("causes").iter();
    let counts: Vec<_> = counts.map(|cause| cause["count"].as_u64()).collect();
    assert_eq!(counts, [Some(3), Some(1)], "{causes}");
    let id = causes[0]["cause_id"].as_str().expect("an id");
    let table = machine.orx(["dlq", "top"]);
    assert!(table.out.starts_with("COUNT") && table.out.contains(id), "{table:?}");
    let listed = machine.orx(["dlq", "list", "--cause", id, "-o", "id"]).out;
    let mut listed: Vec<&str> = listed.lines().collect();
    listed.reverse();
    assert_eq!(listed, ids);
    let shown = machine.orx(["dlq", "show", &ids[0]]);
    assert!(shown.err.contains(&format!("orx dlq list --cause {id}")), "{shown:?}");
    let refused = machine.orx(["dlq", "list", "--filter", "cause:oom"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("orx dlq top"), "{}", refused.err);

    let path = machine.path("dead.jsonl");
    let name = path.display().to_string();
    let export = machine.orx(["dlq", "export", "--cause", id, "--out", &name]);
    assert_eq!(export.code, 0, "{export:?}");
    assert_eq!(path.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    let lines = std::fs::read_to_string(&path).expect("the export");
    let exported: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line of JSON"))
        .map(|line| line["job"]["id"].to_string())
        .collect();
    assert_eq!(exported, ids);
    let again = machine.orx(["dlq", "export", "--out", &name]);
    assert_eq!(again.code, 4, "{again:?}");
    assert_eq!(std::fs::read_to_string(&path).expect("the export"), lines);
    assert_eq!(machine.orx(["dlq", "export"]).out.lines().count(), 4);

    let removed = machine.orx(["dlq", "rm", "--cause", id, "--yes"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    let left = machine.json(["dlq", "top"]);
    assert_eq!(left.as_array().map(Vec::len), Some(1), "{left}");
}

#[test]
fn a_canary_that_fails_leaves_the_rest_and_one_that_completes_is_followed_by_it() {
    let machine = Machine::with_server();
    let ids = fail(&machine, 1..5);
    let id = machine.json(["dlq", "top"])[0]["cause_id"].as_str().expect("an id").to_owned();
    let dry = machine.orx(["dlq", "retry", "--cause", &id, "--canary", "1", "--dry-run"]);
    assert_eq!(dry.code, 0);
    assert!(dry.out.contains("would change 4 jobs"), "{dry:?}");

    let failed = machine.orx(["dlq", "retry", "--cause", &id, "--canary", "1", "--yes"]);
    assert_eq!(failed.code, 7, "{failed:?}");
    assert!(failed.err.contains(&format!("{} failed", ids[0])), "{}", failed.err);
    assert!(failed.err.contains("the other 3 dead letters are as they were"), "{}", failed.err);
    let attempts = |id: &str| machine.json(["show", id])["attempt"].as_u64();
    assert_eq!(attempts(&ids[0]), Some(2));
    assert!(ids[1..].iter().all(|id| attempts(id) == Some(1)));

    std::fs::write(machine.path("fixed"), "").expect("a file");
    let retried =
        machine.orx(["dlq", "retry", "--cause", &id, "--canary", "2", "--rate", "50", "--yes"]);
    assert_eq!(retried.code, 0, "{retried:?}");
    until("all have completed", || ids.iter().all(|id| machine.status(id) == "completed"));
    assert!(ids.iter().all(|id| attempts(id).is_some_and(|attempts| attempts >= 2)));
    assert_eq!(machine.json(["dlq", "top"]), serde_json::json!([]));
}
