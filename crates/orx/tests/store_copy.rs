//! From one machine to a fleet and back: `orx store copy` takes everything along, ids kept.

mod common;

use common::{Machine, Said, until};
use orx_testkit::servers::Database;
use serde_json::Value;

/// All that can be seen of the jobs of a running server.
fn seen(machine: &Machine) -> Vec<Value> {
    let mut seen = Vec::new();
    let jobs = machine.json(["jobs"]);
    for job in jobs.as_array().expect("a list") {
        let id = job["id"].to_string();
        seen.push(machine.json(["show", &id]));
        seen.push(machine.orx(["logs", &id]).out.into());
        seen.push(machine.orx(["result", &id]).out.into());
    }
    seen.push(machine.json(["dlq", "list"]));
    seen.push(machine.json(["queue", "list"]));
    for schedule in machine.json(["schedule", "list"]).as_array().expect("a list") {
        let id = schedule["id"].as_str().expect("an id");
        seen.push(schedule.clone());
        seen.push(machine.json(["schedule", "runs", id]));
    }
    seen
}

/// A configuration whose store is the database.
fn config(machine: &Machine, url: &str) -> String {
    let path = machine.path("pg.toml");
    std::fs::write(&path, format!("[store]\nurl = \"{url}\"\n")).expect("written");
    path.to_str().expect("text").to_owned()
}

fn copy(machine: &Machine, from: &str, to: &str) -> Said {
    machine.orx(["store", "copy", from, to, "-o", "json"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_to_postgresql_and_back_with_nothing_lost_and_every_id_kept() {
    let database = Database::new().await;
    let url = database.url();
    let mut machine = Machine::with_server();
    let folder = machine.state().to_str().expect("text").to_owned();
    for script in ["echo one; echo two >&2", "exit 3", "orx ctx result '{\"n\": 1.0}'"] {
        machine.orx(["run", "--", "sh", "-c", script]);
    }
    machine.orx(["run", "--detach", "--in", "1h", "--key", "k", "--", "true"]);
    machine.orx(["enqueue", "nobody.runs.this", "a=1", "--priority", "high", "-q", "media"]);
    machine.orx(["cancel", "5", "--reason", "why"]);
    machine.orx(["schedule", "add", "short", "--every", "1s", "--max-runs", "1", "orx.noop"]);
    machine.orx(["schedule", "add", "nightly", "--cron", "30 2 * * *", "nobody.runs.this"]);
    machine.orx(["schedule", "pause", "nightly", "--reason", "why"]);
    until("the schedule ran", || {
        machine.json(["schedule", "show", "short"])["last_run"]["status"] == "completed"
    });
    let before = seen(&machine);
    assert!(before.len() > 20, "{before:?}");

    let busy = copy(&machine, &folder, &url);
    assert!(busy.code == 4 && busy.err.contains("held"), "{busy:?}");
    assert_eq!(machine.stop(), 0, "{}", machine.log());
    let copied = copy(&machine, &folder, &url);
    assert_eq!(copied.code, 0, "{copied:?}");
    let told: Value = serde_json::from_str(&copied.out).expect("json");
    assert_eq!((&told["jobs"], &told["next_job"]), (&6.into(), &7.into()), "{told}");
    assert_eq!(told["schedules"], 2, "{told}");
    let again = copy(&machine, &folder, &url);
    assert!(again.code == 4 && again.err.contains("not empty"), "{again:?}");
    let resumed = machine.orx(["store", "copy", &folder, &url, "--resume", "-o", "json"]);
    let told: Value = serde_json::from_str(&resumed.out).expect("json");
    assert_eq!((resumed.code, &told["jobs"]), (0, &0.into()), "{resumed:?}");

    // The token that was made there is known here too: it was taken along.
    let config = config(&machine, &url);
    let token = std::fs::read(machine.state().join("token")).expect("a token");
    machine.start(&["--config", &config]);
    assert_eq!(machine.json(["cluster", "status"])["store"], "postgres");
    assert_eq!(std::fs::read(machine.state().join("token")).expect("a token"), token);
    assert_eq!(seen(&machine), before);
    let known = machine.orx(["run", "--detach", "--in", "1h", "--key", "k", "--", "true"]);
    assert_eq!(known.out.trim(), "4", "{known:?}");
    let ran = machine.orx(["run", "--", "echo", "on"]);
    assert_eq!((ran.out.as_str(), ran.code), ("on\n", 0), "{ran:?}");
    let used = copy(&machine, &url, &folder);
    assert!(used.code == 4 && used.err.contains("in use"), "{used:?}");
    let before = seen(&machine);
    assert_eq!(machine.stop(), 0, "{}", machine.log());

    let back = machine.path("back");
    std::fs::create_dir(&back).expect("a folder");
    let back = back.to_str().expect("text");
    let mut copied = copy(&machine, &url, back);
    // The node says goodbye to the database; until that is done it is in use.
    until("the database is free", || {
        if copied.code == 4 {
            copied = copy(&machine, &url, back);
        }
        copied.code != 4
    });
    assert_eq!(copied.code, 0, "{copied:?}");
    std::fs::remove_file(machine.state().join("orx.db")).expect("the old one goes");
    std::fs::copy(machine.path("back/orx.db"), machine.state().join("orx.db")).expect("copied");
    machine.start(&[]);
    assert_eq!(machine.json(["cluster", "status"])["store"], "sqlite");
    assert_eq!(seen(&machine), before);
}
