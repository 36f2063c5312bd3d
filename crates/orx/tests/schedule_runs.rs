//! What a schedule runs, through the real binary: due times, triggered runs, backfills, and runs that fail.

mod common;

use common::{LATER, Machine, until};
use serde_json::{Value, json};

#[test]
fn a_run_knows_its_due_time_and_its_job_knows_its_schedule() {
    let machine = Machine::with_server();
    // Far enough apart that each run ends before the next is due.
    let add = ["schedule", "add", "tick", "--every", "3s", "--max-runs", "2", "--", "sh", "-c"];
    let args: Vec<&str> = add.iter().copied().chain(["echo $ORX_SCHEDULED_AT"]).collect();
    assert_eq!(machine.orx(&args).code, 0);
    until("it has run twice and ended", || {
        let view = machine.json(["schedule", "show", "tick"]);
        view["state"] == "ended" && view["last_run"]["status"] == "completed"
    });
    assert_eq!(machine.orx(["schedule", "runs", "tick", "--limit", "0", "-o", "json"]).out, "[]\n");
    let runs = machine.json(["schedule", "runs", "tick"]);
    let rows = runs.as_array().expect("a list");
    assert_eq!(rows.len(), 2, "{runs}");
    let slot = |row: &Value| row["slot"].as_str().expect("a time").to_owned();
    assert!(slot(&rows[0]) > slot(&rows[1]), "newest first: {runs}");
    for row in rows {
        assert_eq!(row["outcome"], "ran");
        assert!(row["late_ms"].is_u64() && row["recorded_at"].is_string(), "{row}");
        let job = row["job"].to_string();
        let out = machine.orx(["logs", &job, "--stream", "out"]).out;
        assert_eq!(out.trim(), slot(row));
        let shown = machine.json(["show", &job]);
        assert_eq!(shown["schedule"], json!({"id": "tick", "slot": slot(row)}));
        let text = machine.orx(["show", &job]).out;
        assert!(text.contains(&format!("tick, due {}", slot(row))), "{text}");
    }
    let view = machine.json(["schedule", "show", "tick"]);
    assert_eq!((&view["runs"], &view["last_run"]["job"]), (&json!(2), &rows[0]["job"]));
    assert!(view["next"].is_null(), "{view}");
    let one = machine.json(["schedule", "runs", "tick", "--limit", "1"]);
    assert_eq!(one, json!([rows[0]]));
    assert_eq!(machine.orx(["schedule", "runs", "tick", "--missed", "-o", "json"]).out, "[]\n");
    // With more runs allowed, it continues.
    assert_eq!(machine.orx(["schedule", "set", "tick", "--max-runs", "3"]).code, 0);
    until("it has run once more", || machine.json(["schedule", "show", "tick"])["runs"] == 3);

    let once = machine.orx(["schedule", "add", "once", "--at", "now", "orx.noop"]);
    assert_eq!(once.code, 2, "{once:?}");
}

#[test]
fn a_triggered_run_is_followed_to_its_end_and_is_no_due_time() {
    let machine = Machine::with_server();
    let [at, time] = LATER;
    let add =
        ["schedule", "add", "job", at, time, "--retries", "0", "--", "sh", "-c", "echo up; exit 3"];
    assert_eq!(machine.orx(add).code, 0);
    let follow = machine.orx(["schedule", "trigger", "job", "--follow"]);
    assert_eq!((follow.code, follow.out.as_str()), (3, "up\n"), "{follow:?}");
    assert_eq!(machine.orx(["schedule", "trigger", "job", "--wait"]).code, 3);
    let answer = machine.json(["schedule", "trigger", "job"]);
    assert_eq!((&answer["id"], &answer["job"]), (&json!("job"), &json!(3)));
    assert_eq!(machine.orx(["wait", "@last"]).code, 3);
    let shown = machine.json(["show", "@last"]);
    assert_eq!(shown["schedule"], json!({"id": "job"}));
    assert_eq!(machine.orx(["schedule", "runs", "job", "-o", "json"]).out, "[]\n");
    let view = machine.json(["schedule", "show", "job"]);
    assert_eq!(
        (&view["runs"], &view["last_run"]),
        (&json!(0), &json!({"job": 3, "status": "failed"}))
    );
    // The jobs stay after the schedule is removed.
    assert_eq!(machine.orx(["schedule", "rm", "job"]).code, 0);
    assert_eq!(machine.json(["show", "3"])["schedule"]["id"], "job");
}

#[test]
fn a_run_that_fails_for_good_makes_the_job_that_was_asked_for() {
    let machine = Machine::with_server();
    let [at, time] = LATER;
    // No worker runs such a job, so it stays.
    let alert = ["--on-failure", "page.me", "--retries", "0"];
    for (id, command) in [("good", "true"), ("bad", "false")] {
        let add = ["schedule", "add", id, at, time];
        let all: Vec<&str> = add.iter().chain(&alert).chain(&["--", command]).copied().collect();
        assert_eq!(machine.orx(&all).code, 0);
        let _ = machine.orx(["schedule", "trigger", id, "--wait"]);
    }
    let alerts = || {
        let list = machine.json(["jobs"]).as_array().expect("a list").clone();
        list.into_iter().filter(|job| job["name"] == "page.me").collect::<Vec<Value>>()
    };
    until("it is reported", || !alerts().is_empty());
    let alerts = alerts();
    assert_eq!(alerts.len(), 1);
    let shown = machine.json(["show", &alerts[0]["id"].to_string()]);
    assert_eq!(shown["args"], json!({"schedule": "bad", "job": 2, "status": "failed"}));
}

#[test]
fn a_paused_schedule_shows_who_paused_it_and_why_and_skips_its_due_times() {
    let machine = Machine::with_server();
    let add = ["schedule", "add", "tick", "--every", "1s", "--overlap", "allow", "orx.noop"];
    assert_eq!(machine.orx(add).code, 0);
    let paused = machine.json(["schedule", "pause", "tick", "--reason", "the disk is full"]);
    assert_eq!(paused[0]["state"], "paused");
    assert_eq!(paused[0]["paused"]["reason"], "the disk is full");
    assert!(paused[0]["paused"]["by"].is_string() && paused[0]["paused"]["at"].is_string());
    let shown = machine.orx(["schedule", "show", "tick"]).out;
    assert!(shown.contains(": the disk is full"), "{shown}");
    let again = machine.json(["schedule", "pause", "tick", "--reason", "another"]);
    assert_eq!(again[0]["paused"], paused[0]["paused"], "the first reason stays");
    let before = machine.json(["schedule", "show", "tick"])["runs"].clone();
    // A manual run works all the same.
    assert_eq!(machine.orx(["schedule", "trigger", "tick", "--wait"]).code, 0);
    let at = paused[0]["paused"]["at"].as_str().expect("a time").to_owned();
    let later = |text: &str, seconds: i64| {
        let at: orx_model::Timestamp = text.parse().expect("a time");
        orx_model::Timestamp::from_millis(at.as_millis() + seconds * 1_000).to_string()
    };
    let due = later(&at, 2);
    until("two due times have passed", || {
        machine.json(["cluster", "status"])["now"].as_str().is_some_and(|now| now > due.as_str())
    });
    assert_eq!(machine.json(["schedule", "show", "tick"])["runs"], before);
    let resumed = machine.json(["schedule", "resume", "tick"]);
    assert_eq!(resumed[0]["state"], "active");
    assert!(resumed[0]["paused"].is_null() && resumed[0]["next"]["slot"].is_string());
    let runs = machine.json(["schedule", "runs", "tick"]);
    let skipped = runs.as_array().expect("a list").iter().find(|row| row["outcome"] == "skipped");
    let skipped = skipped.unwrap_or_else(|| panic!("a skipped row: {runs}"));
    assert_eq!(skipped["reason"], "paused");
    assert!(skipped["count"].as_u64().is_some_and(|count| count >= 2), "{skipped}");
}

#[test]
fn a_backfill_runs_what_made_no_job_and_only_once() {
    let machine = Machine::with_server();
    let add = [
        "schedule",
        "add",
        "yearly",
        "--every",
        "365d",
        "--",
        "sh",
        "-c",
        "echo $ORX_SCHEDULED_AT",
    ];
    assert_eq!(machine.orx(add).code, 0);
    let dry = machine.json(["schedule", "backfill", "yearly", "--from", "1095d", "--dry-run"]);
    assert_eq!((&dry["dry_run"], &dry["ran_before"]), (&json!(true), &json!(0)));
    let slots = dry["runs"].as_array().expect("a list").clone();
    assert!(slots.len() == 3 && slots.iter().all(|run| run["job"].is_null()), "{dry}");
    assert_eq!(machine.orx(["schedule", "runs", "yearly", "-o", "json"]).out, "[]\n");
    let from = slots[0]["slot"].as_str().expect("a time");
    let to = slots[2]["slot"].as_str().expect("a time");
    let done = machine.json(["schedule", "backfill", "yearly", "--from", from, "--to", to]);
    let jobs: Vec<String> =
        done["runs"].as_array().expect("a list").iter().map(|run| run["job"].to_string()).collect();
    assert_eq!(jobs, ["1", "2", "3"], "{done}");
    assert_eq!(machine.orx(["wait", "1", "2", "3"]).code, 0);
    let runs = machine.json(["schedule", "runs", "yearly"]);
    let rows = runs.as_array().expect("a list");
    assert_eq!(rows.len(), 3);
    for (row, (run, job)) in rows.iter().rev().zip(slots.iter().zip(&jobs)) {
        assert_eq!((&row["slot"], row["job"].to_string()), (&run["slot"], job.clone()));
        assert_eq!(row["outcome"], "caught_up");
        let out = machine.orx(["logs", job, "--stream", "out"]).out;
        assert_eq!(out.trim(), run["slot"].as_str().expect("a time"));
    }
    let again = machine.json(["schedule", "backfill", "yearly", "--from", from, "--to", to]);
    assert_eq!((&again["runs"], &again["ran_before"]), (&json!([]), &json!(3)));
    let future = machine.orx(["schedule", "backfill", "yearly", "--from", "2999-01-01"]);
    assert!(future.code == 2 && future.err.contains("nothing to backfill"), "{future:?}");
    assert_eq!(machine.json(["jobs"]).as_array().map(Vec::len), Some(3));
    assert_eq!(machine.orx(["schedule", "add", "hourly", "--every", "1h", "orx.noop"]).code, 0);
    let most = machine.orx(["schedule", "backfill", "hourly", "--from", "2000h"]);
    assert!(most.code != 0 && most.err.contains("at most 1000 due times"), "{most:?}");
    let wrong = machine.orx(["schedule", "backfill", "yearly", "--from", "soon"]);
    assert!(wrong.code == 2 && wrong.err.contains("`soon`"), "{wrong:?}");
}

#[test]
fn a_backfill_takes_no_more_runs_than_are_left_and_the_last_one_ends_the_schedule() {
    let machine = Machine::with_server();
    let orx = |args: &str| machine.orx(args.split(' ').collect::<Vec<_>>());
    let ran = orx("schedule add three --every 365d --max-runs 3 orx.noop");
    assert_eq!(ran.code, 0, "{ran:?}");
    let shown = || machine.json(["schedule", "show", "three"]);
    for more in ["", " --dry-run"] {
        let ran = orx(&format!("schedule backfill three --from 1825d{more}"));
        assert!(ran.code == 4 && ran.err.contains("3 of its 3 runs are left"), "{ran:?}");
        assert!(ran.err.contains("--max-runs"), "{ran:?}");
    }
    assert_eq!((&shown()["runs"], &shown()["state"]), (&json!(0), &json!("active")));
    let two = machine.json(["schedule", "backfill", "three", "--from", "730d"]);
    assert_eq!(two["runs"].as_array().map(Vec::len), Some(2), "{two}");
    assert_eq!((&shown()["runs"], &shown()["state"]), (&json!(2), &json!("active")));
    let third = machine.json(["schedule", "backfill", "three", "--from", "1095d"]);
    assert_eq!(third["runs"].as_array().map(Vec::len), Some(1), "{third}");
    let ended = shown();
    assert_eq!((&ended["runs"], &ended["state"]), (&json!(3), &json!("ended")), "{ended}");
    assert!(ended["next"].is_null(), "{ended}");
    let ran = orx("schedule backfill three --from 1460d");
    assert!(ran.code == 4 && ran.err.contains("0 of its 3 runs are left"), "{ran:?}");
    assert_eq!(orx("schedule set three --max-runs 5").code, 0);
    assert_eq!(shown()["state"], "active");
}
