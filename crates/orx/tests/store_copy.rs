//! From one machine to a fleet and back: `orx store copy` copies everything, with the same ids.

mod common;

use common::{CommandResult, Machine, until};
use orx_testkit::servers::TestDatabase;
use serde_json::Value;

/// Everything that a running server shows of its jobs.
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

/// A configuration with the database as its store.
fn config(machine: &Machine, url: &str) -> String {
    let path = machine.path("pg.toml");
    std::fs::write(&path, format!("[store]\nurl = \"{url}\"\n")).expect("written");
    path.to_str().expect("text").to_owned()
}

fn copy(machine: &Machine, from: &str, to: &str) -> CommandResult {
    machine.orx(["store", "copy", from, to, "-o", "json"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_to_postgresql_and_back_with_nothing_lost_and_the_same_ids() {
    let database = TestDatabase::new().await;
    let url = database.url();
    let mut machine = Machine::with_server();
    let folder = machine.state().to_str().expect("text").to_owned();
    for script in ["echo one; echo two >&2", "exit 3", "orx ctx result '{\"n\": 1.0}'"] {
        machine.orx(["run", "--", "sh", "-c", script]);
    }
    machine.orx(["run", "--detach", "--in", "1h", "--key", "k", "--", "true"]);
    machine.orx(["enqueue", "nobody.runs.this", "a=1", "--priority", "high", "-q", "media"]);
    machine.orx(["queue", "pause", "media", "--reason", "why"]);
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
    let report: Value = serde_json::from_str(&copied.out).expect("json");
    assert_eq!((&report["jobs"], &report["next_job"]), (&6.into(), &7.into()), "{report}");
    assert_eq!(report["schedules"], 2, "{report}");
    let resume = machine.orx(["store", "copy", &folder, &url, "--resume"]);
    for again in [copy(&machine, &folder, &url), resume] {
        assert!(again.code == 4 && again.err.contains("has moved to"), "{again:?}");
    }
    let forced = machine.orx(["store", "copy", &folder, &url, "--force-source"]);
    assert!(forced.code == 4 && forced.err.contains("not empty"), "{forced:?}");
    let resumed =
        machine.orx(["store", "copy", &folder, &url, "--resume", "--force-source", "-o", "json"]);
    let report: Value = serde_json::from_str(&resumed.out).expect("json");
    assert_eq!((resumed.code, &report["jobs"]), (0, &0.into()), "{resumed:?}");

    // No server serves the folder any more, and a new one names the new place.
    let (place, set) = ("has moved to `postgres://", "ORX_STORE_URL=postgres://");
    let served = machine.orx(["daemon", "server", "--listen", "127.0.0.1:0"]);
    assert!(served.code == 4 && served.err.contains(place), "{served:?}");
    assert!(served.err.contains(set) && served.err.contains("--force-source"), "{served:?}");
    let ran = machine.orx(["run", "--", "true"]);
    assert!(ran.code == 69 && ran.err.contains(place) && ran.err.contains(set), "{ran:?}");

    // The token that was created there is valid here too.
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
    let empty = self::folder(&machine, "empty");
    let used = copy(&machine, &url, &empty);
    assert!(used.code == 4 && used.err.contains("in use"), "{used:?}");
    let before = seen(&machine);
    assert_eq!(machine.stop(), 0, "{}", machine.log());

    let back = machine.path("back");
    std::fs::create_dir(&back).expect("a folder");
    let back = back.to_str().expect("text");
    let mut copied = copy(&machine, &url, back);
    // The node deregisters from the database; until that is done the database is in use.
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
    assert_eq!(machine.stop(), 0, "{}", machine.log());

    // Nor is the database.
    let coordinator = machine
        .command(["daemon", "coordinator", "--listen", "127.0.0.1:0", "--config", &config])
        .env("ORX_STATE", machine.path("other"))
        .output();
    let refused = common::result_of(coordinator.expect("orx runs"));
    assert!(refused.code == 4 && refused.err.contains("has moved to `"), "{refused:?}");
}

fn folder(machine: &Machine, name: &str) -> String {
    let path = machine.path(name);
    std::fs::create_dir_all(&path).expect("a folder");
    path.to_str().expect("text").to_owned()
}

/// The error of a server that may not serve this state folder.
fn refused(machine: &Machine, state: &str) -> CommandResult {
    let refused = machine.orx(["daemon", "server", "--listen", "127.0.0.1:0", "--state", state]);
    assert_eq!(refused.code, 4, "{refused:?}");
    refused
}

async fn change_home(state: &str, change: impl FnOnce(&mut orx_store::Home)) {
    use orx_store::{Sqlite, SqliteOptions, StoreCopy, Upkeep};
    let options = SqliteOptions::new(std::path::Path::new(state).join("orx.db"));
    let store = Sqlite::open(options, orx_model::Timestamp::default()).expect("open");
    let mut home = store.home().await.expect("read");
    change(&mut home);
    store.put_home(home).await.expect("put");
    store.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_broken_off_leaves_no_two_homes_and_can_be_gone_on_with() {
    let mut machine = Machine::with_server();
    let here = machine.state().to_str().expect("text").to_owned();
    let there = folder(&machine, "there");
    machine.orx(["run", "--", "true"]);
    assert_eq!(machine.stop(), 0, "{}", machine.log());
    let copied = copy(&machine, &here, &there);
    assert_eq!(copied.code, 0, "{copied:?}");
    let moved = refused(&machine, &here);
    assert!(moved.err.contains(&format!("has moved to `{there}`")), "{moved:?}");
    assert!(moved.err.contains(&format!("ORX_STATE={there}")), "{moved:?}");

    // As if it was interrupted between its last two marks: neither is served.
    change_home(&there, |home| home.copying_from = Some(here.clone())).await;
    let half = refused(&machine, &there);
    assert!(half.err.contains("a copy that is not whole"), "{half:?}");
    assert!(half.err.contains(&format!("orx store copy --resume {here} {there}")), "{half:?}");
    refused(&machine, &here);
    let other = folder(&machine, "other");
    assert_eq!(copy(&machine, &there, &other).code, 4);
    assert_eq!(copy(&machine, &here, &there).code, 0);
    refused(&machine, &here);

    // And before them: the source is served as before.
    change_home(&there, |home| home.copying_from = Some(here.clone())).await;
    change_home(&here, |home| home.moved_to = None).await;
    refused(&machine, &there);
    machine.start(&[]);
    assert_eq!(machine.status("1"), "completed");
    assert_eq!(machine.stop(), 0, "{}", machine.log());
    let unsaid = copy(&machine, &here, &there);
    assert!(unsaid.code == 4 && unsaid.err.contains("--resume"), "{unsaid:?}");
    let resumed = machine.orx(["store", "copy", &here, &there, "--resume"]);
    assert_eq!(resumed.code, 0, "{resumed:?}");
    refused(&machine, &here);

    // The operator chooses the old one all the same: it is the home again.
    machine.start(&["--force-source"]);
    assert_eq!(machine.stop(), 0, "{}", machine.log());
    machine.start(&[]);
    assert_eq!(machine.status("1"), "completed");
}

/// A store with one row that cannot be read of each kind, beside one that can.
fn damaged(machine: &mut Machine) {
    for script in ["echo one", "echo two", "echo three"] {
        machine.orx(["run", "--", "sh", "-c", script]);
    }
    machine.orx(["enqueue", "nobody.runs.this", "--key", "copied"]);
    for id in ["good", "bad"] {
        let made =
            machine.orx(["schedule", "add", id, "--every", "1s", "--max-runs", "2", "orx.noop"]);
        assert_eq!(made.code, 0, "{made:?}");
        until("both runs", || machine.json(["schedule", "show", id])["runs"] == 2);
    }
    machine.orx(["token", "create", "--scope", "read", "--note", "damage"]);
    machine.orx(["wait", "5", "6", "7", "8"]);
    assert_eq!(machine.stop(), 0, "{}", machine.log());
    let file = rusqlite::Connection::open(machine.state().join("orx.db")).expect("the file");
    file.pragma_update(None, "ignore_check_constraints", true).expect("set");
    for sql in [
        "update specs set spec = '{' where job = 1",
        "update attempts set execution = x'00' where job = 2",
        "update logs set execution = x'00' where job = 3",
        "update schedule_plans set spec = '{' where id = 'bad'",
        "update slots set outcome = 'x' where schedule = 'good' and slot = \
         (select min(slot) from slots where schedule = 'good')",
        "update tokens set scopes = '{' where note = 'damage'",
    ] {
        assert_eq!(file.execute(sql, []).expect("damaged"), 1, "{sql}");
    }
}

#[test]
fn unreadable_rows_are_named_and_the_rest_is_copied() {
    let mut machine = Machine::with_server();
    let here = machine.state().to_str().expect("text").to_owned();
    let there = folder(&machine, "there");
    damaged(&mut machine);
    let copied = copy(&machine, &here, &there);
    assert_eq!(copied.code, 7, "{copied:?}");
    let report: Value = serde_json::from_str(&copied.out).expect("json");
    assert_eq!((&report["jobs"], &report["schedules"]), (&7.into(), &1.into()), "{report}");
    let unreadable = &report["unreadable"];
    assert_eq!(unreadable["jobs"][0]["id"], 1, "{report}");
    assert_eq!(unreadable["schedules"][0]["id"], "bad", "{report}");
    // Also the records of the job and the schedule that were not copied.
    let counts = ["job_count", "schedule_count", "attempts", "log_chunks", "slots", "tokens"];
    let counts = counts.map(|key| unreadable[key].as_u64().expect("a count"));
    assert_eq!(counts, [1, 1, 2, 2, 3, 1], "{report}");
    for ran in ["did not copy job 1", "is not marked as moved", "--resume --skip-unreadable"] {
        assert!(copied.err.contains(ran), "{copied:?}");
    }

    // The source still is the home and shows them; the copy is not one yet.
    refused(&machine, &there);
    machine.start(&[]);
    let shown = machine.json(["show", "1"]);
    assert!(shown["unreadable"].is_string(), "{shown}");
    assert_eq!(machine.stop(), 0, "{}", machine.log());

    let moved = machine.orx(["store", "copy", "--resume", "--skip-unreadable", &here, &there]);
    assert_eq!(moved.code, 0, "{moved:?}");
    assert!(moved.out.contains("1 jobs"), "{moved:?}");
    refused(&machine, &here);
    std::fs::rename(machine.path("there/orx.db"), machine.state().join("orx.db")).expect("moved");
    machine.start(&[]);
    let jobs = machine.json(["jobs", "--limit", "50"]);
    assert_eq!(jobs.as_array().map(Vec::len), Some(7), "{jobs}");
    assert_eq!(machine.orx(["show", "1"]).code, 3);
    assert_eq!(machine.orx(["logs", "2"]).out, "two\n");
    assert_eq!(machine.stop(), 0, "{}", machine.log());
}

#[test]
fn a_copied_folder_is_refused_beside_the_one_it_was_copied_from() {
    let mut machine = Machine::with_server();
    machine.orx(["run", "--", "true"]);
    assert_eq!(machine.stop(), 0, "{}", machine.log());
    let (here, there) = (machine.state(), machine.path("there"));
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let copied = std::process::Command::new("cp").arg("-a").arg(&here).arg(&there).status();
    assert!(copied.expect("cp").success());
    let copy = refused(&machine, &text(&there));
    assert!(copy.err.contains("is a copy of") && copy.err.contains("still there"), "{copy:?}");

    // The source is served as before, and a file with two names under its first.
    let link = folder(&machine, "link");
    std::fs::hard_link(here.join("orx.db"), machine.path("link/orx.db")).expect("a link");
    machine.start(&[]);
    assert!(refused(&machine, &link).err.contains("held by another server"));
    assert_eq!(machine.stop(), 0, "{}", machine.log());
    assert!(refused(&machine, &link).err.contains("by another name"));

    // A folder that was moved or restored from a backup is the home where it is; the first one is then the
    // copy.
    let gone = machine.path("gone");
    std::fs::rename(&here, &gone).expect("moved");
    std::fs::rename(&there, &here).expect("moved");
    machine.start(&[]);
    assert_eq!(machine.status("1"), "completed");
    assert_eq!(machine.stop(), 0, "{}", machine.log());
    let copy = refused(&machine, &text(&gone));
    assert!(copy.err.contains("is a copy of") && copy.err.contains("--force-source"), "{copy:?}");
    let listen = ["daemon", "server", "--listen", "127.0.0.1:0", "--exit-when-idle", "1ms"];
    let forced = machine.command(listen).args(["--force-source", "--state", &text(&gone)]).output();
    let forced = common::result_of(forced.expect("orx runs"));
    assert_eq!(forced.code, 0, "{forced:?}");
}
