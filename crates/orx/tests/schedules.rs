//! `orx schedule` through the real binary: effects, output and exit codes.

mod common;

use common::{CommandResult, LATER, Machine, ids, result_of, value};
use serde_json::{Value, json};

/// A caller with this token and nothing else.
fn with(machine: &Machine, token: &str, args: &[&str]) -> CommandResult {
    let mut command = machine.command(args);
    command.env("ORX_URL", machine.url()).env("ORX_TOKEN", token);
    result_of(command.env("ORX_STATE", machine.path("elsewhere")).output().expect("orx runs"))
}

fn token(machine: &Machine, scope: &str) -> String {
    let made = machine.orx(["token", "create", "--scope", scope]);
    assert_eq!(made.code, 0, "{made:?}");
    made.out.trim().to_owned()
}

#[test]
fn a_schedule_is_made_shown_and_removed() {
    let machine = Machine::with_server();
    let made = machine.json([
        "schedule",
        "add",
        "nightly",
        "--cron",
        "30 2 * * mon-fri",
        "--zone",
        "Europe/Berlin",
        "--overlap",
        "queue-one",
        "--catch-up",
        "all:3",
        "orx.noop",
        "kind=full",
    ]);
    assert_eq!((&made["change"], &made["version"]), (&json!("created"), &json!(1)));
    assert_eq!(made["id"], "nightly");
    assert!(made["next"]["slot"].is_string() && made["next"]["fire_at"].is_string(), "{made}");
    let ran = machine.orx(["schedule", "add", "sync", "--every", "15m", "--", "true"]);
    assert!(ran.code == 0 && ran.out.starts_with("sync created, next "), "{ran:?}");

    let list = machine.json(["schedule", "list"]);
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), 2);
    let nightly = machine.json(["schedule", "show", "nightly"]);
    assert_eq!(list[0], nightly);
    assert_eq!((&nightly["state"], &nightly["version"]), (&json!("active"), &json!(1)));
    assert_eq!(nightly["spec"]["timing"], json!({"cron": "30 2 * * mon-fri"}));
    assert_eq!(nightly["spec"]["overlap"], "queue_one");
    assert_eq!(nightly["spec"]["catch_up"], "all:3");
    assert_eq!(nightly["spec"]["job"]["args"], json!({"kind": "full"}));
    assert_eq!((&nightly["runs"], &nightly["missed"]), (&json!(0), &json!(0)));
    assert_eq!(nightly["overdue"], false);
    assert_eq!(nightly["next"], made["next"]);
    assert_eq!(nightly["by"], nightly["spec"]["job"]["by"], "who made it");
    let work = machine.path("work").canonicalize().expect("a folder").display().to_string();
    assert_eq!(list[1]["spec"]["job"]["command"]["cwd"], Value::from(work));
    let shown = machine.orx(["schedule", "show", "nightly", "-n", "2"]);
    assert_eq!(shown.out.lines().filter(|line| line.starts_with("next ")).count(), 2, "{shown:?}");
    let made = ["schedule", "set", "sync", "--env", "A=1", "-t", "of=night", "--retries", "3"];
    assert_eq!(machine.orx(made).code, 0);
    let shown = machine.orx(["schedule", "show", "sync", "-o", "tsv"]).out;
    for line in ["job\ttrue\n", "env\tA=1\n", "retries\t3\n", "tags\tof=night\n"] {
        assert!(shown.contains(line), "{line:?} in {shown}");
    }
    for format in ["table", "wide", "jsonl", "tsv", "id"] {
        let ran = machine.orx(["schedule", "list", "-o", format]);
        assert!(ran.code == 0 && ran.out.contains("nightly"), "{format}: {ran:?}");
    }
    assert_eq!(machine.orx(["schedule", "runs", "nightly", "-o", "json"]).out, "[]\n");

    assert_eq!(machine.orx(["schedule", "rm", "nightly", "--version", "2"]).code, 4);
    let gone = machine.json(["schedule", "rm", "nightly", "--version", "1"]);
    assert_eq!(gone[0]["change"], "removed");
    assert_eq!(ids(&machine), ["sync"]);
    assert_eq!(machine.orx(["schedule", "show", "nightly"]).code, 3);
}

#[test]
fn several_are_removed_paused_or_resumed_all_or_none() {
    let machine = Machine::with_server();
    for id in ["a1", "b1"] {
        let [at, time] = LATER;
        assert_eq!(machine.orx(["schedule", "add", id, at, time, "orx.noop"]).code, 0);
    }
    for verb in ["pause", "resume", "rm"] {
        let ran = machine.orx(["schedule", verb, "a1", "b2"]);
        assert!(ran.code == 3 && ran.err.contains("did you mean `b1`?"), "{ran:?}");
    }
    assert_eq!(machine.json(["schedule", "show", "a1"])["state"], "active");
    let paused = machine.json(["schedule", "pause", "a1", "b1"]);
    assert_eq!((&paused[0]["state"], &paused[1]["state"]), (&json!("paused"), &json!("paused")));
    let asked = machine.orx(["schedule", "rm", "a1", "b1"]);
    assert!(asked.code == 2 && asked.err.contains("--yes"), "{asked:?}");
    assert!(!asked.err.contains("--dry-run"), "{asked:?}");
    assert_eq!(ids(&machine), ["a1", "b1"]);
    let gone = machine.json(["schedule", "rm", "a1", "b1", "--yes"]);
    assert_eq!(gone.as_array().map(Vec::len), Some(2), "one value: {gone}");
    assert_eq!(ids(&machine), [""; 0]);
}

#[test]
fn set_changes_what_is_named_and_nothing_else() {
    let machine = Machine::with_server();
    let add = machine.orx([
        "schedule",
        "add",
        "nightly",
        "--cron",
        "30 2 * * *",
        "--zone",
        "Europe/Berlin",
        "--max-runs",
        "9",
        "--jitter",
        "1m",
        "--retries",
        "2",
        "-t",
        "team=a",
        "orx.noop",
        "n=1",
    ]);
    assert_eq!(add.code, 0, "{add:?}");
    let before = machine.json(["schedule", "show", "nightly"])["spec"].clone();
    let dry = machine.json(["schedule", "set", "nightly", "--overlap", "allow", "--dry-run"]);
    let field = json!([{"field": "overlap", "old": "skip", "new": "allow"}]);
    assert_eq!((&dry["dry_run"], &dry["fields"]), (&json!(true), &field));
    assert_eq!(machine.json(["schedule", "show", "nightly"])["spec"], before);

    let set = machine.json(["schedule", "set", "nightly", "--overlap", "allow", "--version", "1"]);
    assert_eq!((&set["change"], &set["version"]), (&json!("changed"), &json!(2)));
    assert_eq!(set["fields"], field);
    let mut wanted = before.clone();
    wanted["overlap"] = json!("allow");
    assert_eq!(machine.json(["schedule", "show", "nightly"])["spec"], wanted);

    let same = machine.json(["schedule", "set", "nightly", "--overlap", "allow"]);
    assert_eq!((&same["change"], &same["version"]), (&json!("unchanged"), &json!(2)));
    let old = machine.orx(["schedule", "set", "nightly", "--jitter", "0", "--version", "1"]);
    assert!(old.code == 4 && old.err.contains("version 2, not at 1"), "{old:?}");
    let nothing = machine.orx(["schedule", "set", "nightly"]);
    assert!(nothing.code == 2 && nothing.err.contains("nothing to change"), "{nothing:?}");

    let set = machine.orx(["schedule", "set", "nightly", "n:=2", "--clear", "max-runs,tags"]);
    assert_eq!(set.code, 0, "{set:?}");
    wanted["job"]["args"] = json!({"n": 2});
    wanted["job"].as_object_mut().expect("a job").remove("tags");
    wanted.as_object_mut().expect("a schedule").remove("max_runs");
    assert_eq!(machine.json(["schedule", "show", "nightly"])["spec"], wanted);
    let wrong = machine.orx(["schedule", "set", "nightly", "--clear", "max-rums"]);
    assert!(wrong.code == 2 && wrong.err.contains("did you mean `max-runs`?"), "{wrong:?}");

    // A change of the time moves the next due time.
    let moved = machine.json(["schedule", "set", "nightly", "--at", "2999-01-01T00:00:00Z"]);
    assert_eq!(moved["next"]["slot"], "2999-01-01T00:00:00.000Z");
    let never = machine.orx(["schedule", "set", "nightly", "--at", "2001-01-01T00:00:00Z"]);
    assert!(never.code == 2 && never.err.contains("never due"), "{never:?}");
    assert_eq!(machine.json(["schedule", "show", "nightly"])["version"], 4);
}

#[test]
fn set_changes_one_part_of_a_value_and_the_other_parts_stay() {
    let machine = Machine::with_server();
    let orx = |args: &str| machine.orx(args.split(' ').collect::<Vec<_>>());
    for add in [
        "off --every 1h --offset 5s -t a=b -t c=d --require x=y orx.noop n=1 m=2",
        "s2 --every 1h --cwd /usr --env A=1 -- echo hi",
        "daily --cron @daily orx.noop",
    ] {
        let ran = orx(&format!("schedule add {add}"));
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let set = |args: &str| {
        let ran = orx(&format!("schedule set {args}"));
        assert_eq!(ran.code, 0, "{args}: {ran:?}");
        let id = args.split(' ').next().unwrap_or_default();
        machine.json(["schedule", "show", id])["spec"].clone()
    };
    let interval =
        |every: u64, offset: u64| json!({"interval": {"every_ms": every, "offset_ms": offset}});
    assert_eq!(set("off --every 20s")["timing"], interval(20_000, 5_000));
    assert_eq!(set("off --offset 3s")["timing"], interval(20_000, 3_000));
    let job = set("off -t e=f -t a=z --require m=n p=9 n:=3")["job"].clone();
    assert_eq!(job["tags"], json!({"a": "z", "c": "d", "e": "f"}));
    assert_eq!(job["require"], json!({"x": "y", "m": "n"}));
    assert_eq!(job["args"], json!({"n": 3, "m": "2", "p": "9"}));
    std::fs::write(machine.path("work/args.json"), r#"{"whole": true}"#).expect("a file");
    assert_eq!(set("off @args.json")["job"]["args"], json!({"whole": true}));
    assert_eq!(set("off --clear tags -t g=h")["job"]["tags"], json!({"g": "h"}));

    let command = |args: &str| set(args)["job"]["command"].clone();
    let wanted =
        |argv: [&str; 2], cwd: &str, env: Value| json!({"argv": argv, "cwd": cwd, "env": env});
    assert_eq!(command("s2 -- echo ho"), wanted(["echo", "ho"], "/usr", json!({"A": "1"})));
    let both = json!({"A": "1", "B": "2"});
    assert_eq!(command("s2 --env B=2"), wanted(["echo", "ho"], "/usr", both.clone()));
    assert_eq!(command("s2 --cwd /tmp"), wanted(["echo", "ho"], "/tmp", both));
    let anew = command("s2 --clear env --env C=3 -- echo hu");
    assert_eq!(anew, wanted(["echo", "hu"], "/tmp", json!({"C": "3"})));
    // The first command runs in the caller's folder, as with `add`.
    let work = machine.path("work").canonicalize().expect("a folder").display().to_string();
    assert_eq!(command("daily -- echo hi")["cwd"], Value::from(work));

    for (args, part) in [
        ("daily --offset 3s", "only an interval has one"),
        ("off --env B=2", "no command to change"),
        ("off --cwd /tmp", "no command to change"),
    ] {
        let ran = orx(&format!("schedule set {args}"));
        assert!(ran.code == 2 && ran.err.contains(part), "{args}: {ran:?}");
    }
    for (args, part) in [
        ("x --offset 3s orx.noop", "--every"),
        ("x --offset 3s --at 2999-01-01 orx.noop", "only an interval has one"),
        ("x --every 1h --cwd /tmp orx.noop", "required"),
        ("x --every 1h --env B=2 orx.noop", "required"),
    ] {
        let ran = orx(&format!("schedule add {args}"));
        assert!(ran.code == 2 && ran.err.contains(part), "{args}: {ran:?}");
    }
}

#[test]
fn impossible_schedules_are_rejected_with_a_reason_and_change_nothing() {
    let machine = Machine::with_server();
    let [at, time] = LATER;
    assert_eq!(machine.orx(["schedule", "add", "nightly", at, time, "orx.noop"]).code, 0);
    let before = machine.json(["schedule", "list"]);
    let cron = ["--cron", "0 0 * * *"];
    let cases: [(&[&str], &[&str], i32, &str); 17] = [
        (&["nightly", at, time], &["x"], 4, "`orx schedule set nightly` changes it"),
        (&["bad", "--cron", "0 0 30 2 *"], &["x"], 2, "never due"),
        (&["bad", "--cron", "0 25 * * *"], &["x"], 2, "0 to 23 in the hour field, found `25`"),
        (&["bad", "--cron", "* * * *"], &["x"], 2, "field"),
        (&["bad", "--cron", "@dayly"], &["x"], 2, "`@daily`"),
        (&["bad", "--cron", "@reboot"], &["x"], 2, "init system"),
        (&["bad", cron[0], cron[1], "--zone", "Europa/Berlin"], &["x"], 2, "`Europe/Berlin`?"),
        (&["bad", "--at", "2020-01-01T00:00:00Z"], &["x"], 2, "all of its due times have passed"),
        (&["bad", "--at", "soon"], &["x"], 2, "`soon`"),
        (&["bad", "--every", "500ms"], &["x"], 2, "an interval of 1 s"),
        (&["bad", "--every", "1h", "--offset", "2h"], &["x"], 2, "less than `every_ms`"),
        (&["bad", cron[0], cron[1], "--catch-up", "some"], &["x"], 2, "`all:N`"),
        (&["bad", cron[0], cron[1], "--overlap", "queue"], &["x"], 2, "queue-one"),
        (&["bad", cron[0], cron[1], "--end", "2020-01-01"], &["x"], 2, "never due"),
        (&["bad", cron[0], cron[1], "--max-runs", "0"], &["x"], 2, "`max_runs`"),
        (&["bad", cron[0], cron[1]], &[], 2, "a job type, or a command"),
        (&["bad"], &["x"], 2, "`--cron`, `--every` or `--at`"),
    ];
    for (args, job, code, part) in cases {
        let all: Vec<&str> = ["schedule", "add"].iter().chain(args).chain(job).copied().collect();
        let ran = machine.orx(&all);
        assert!(ran.code == code && ran.err.contains(part), "{all:?}: {ran:?}");
        assert!(ran.out.is_empty(), "{all:?}: {ran:?}");
    }
    for args in [
        ["show", "nigthly"].as_slice(),
        &["set", "nigthly", "--jitter", "1m"],
        &["pause", "nigthly"],
        &["resume", "nigthly"],
        &["trigger", "nigthly"],
        &["rm", "nigthly"],
        &["runs", "nigthly"],
        &["preview", "nigthly"],
        &["backfill", "nigthly", "--from", "1h"],
    ] {
        let all: Vec<&str> = ["schedule"].iter().chain(args).copied().collect();
        let ran = machine.orx(&all);
        assert!(ran.code == 3 && ran.err.contains("did you mean `nightly`?"), "{all:?}: {ran:?}");
    }
    let error = machine.orx(["schedule", "show", "nigthly", "-o", "json"]);
    let error: Value = serde_json::from_str(&error.err).expect("json");
    assert_eq!(error["error"]["code"], "not_found");
    assert_eq!(machine.json(["schedule", "list"]), before);
}

#[test]
fn preview_and_lint_need_no_server_and_mark_the_days_whose_clock_changes() {
    let machine = Machine::new();
    let offline = |args: &[&str]| {
        let mut command = machine.command(args);
        result_of(command.env_remove("ORX_STATE").output().expect("orx runs"))
    };
    let berlin = ["--cron", "30 2 * * *", "--zone", "Europe/Berlin"];
    let from = ["schedule", "preview", berlin[0], berlin[1], berlin[2], berlin[3], "--from"];
    let ask = |day: &str, count: &str| {
        let args: Vec<&str> =
            from.iter().copied().chain([day, "-n", count, "-o", "json"]).collect();
        let ran = offline(&args);
        assert_eq!(ran.code, 0, "{ran:?}");
        value(&ran)
    };
    let spring = ask("2027-03-27T12:00:00Z", "2");
    assert_eq!(spring[0]["slot"], "2027-03-28T01:00:00.000Z");
    assert_eq!(spring[0]["local"], "2027-03-28 03:00:00 +02:00");
    assert_eq!(spring[0]["effect"]["mark"], "skipped");
    assert_eq!(spring[0]["effect"]["wanted"], "2027-03-28 02:30");
    assert!(spring[1]["effect"].is_null(), "{spring}");
    let autumn = ask("2027-10-30T12:00:00Z", "2");
    assert_eq!(autumn[0]["slot"], "2027-10-31T00:30:00.000Z");
    assert_eq!(autumn[0]["effect"]["mark"], "repeated");
    assert_eq!(autumn[1]["slot"], "2027-11-01T01:30:00.000Z");
    let args: Vec<&str> = from.iter().copied().chain(["2027-03-27T12:00:00Z"]).collect();
    let table = offline(&args);
    assert!(table.code == 0 && table.out.contains("skipped 2027-03-28 02:30"), "{table:?}");

    let warned = offline(&["schedule", "lint", berlin[0], berlin[1], berlin[2], berlin[3]]);
    assert!(warned.code == 1 && warned.out.contains("clock_skips"), "{warned:?}");
    let all = ["schedule", "lint", berlin[0], berlin[1], berlin[2], berlin[3], "-o", "json"];
    let codes = value(&offline(&all));
    let codes: Vec<&str> =
        codes.as_array().expect("a list").iter().filter_map(|one| one["code"].as_str()).collect();
    assert_eq!(codes, ["clock_skips", "clock_repeats"]);
    let fine = offline(&["schedule", "lint", "--cron", "0 5 * * *", "--zone", "UTC", "-o", "json"]);
    assert_eq!((fine.code, fine.out.as_str()), (0, "[]\n"));
    std::fs::write(machine.path("work/tab"), "0 0 31 * * true\n").expect("written");
    let tab = offline(&["schedule", "lint", "--crontab", "tab", "-o", "json"]);
    assert!(tab.code == 1 && value(&tab)[0]["code"] == "short_months", "{tab:?}");
    let file = "[[schedule]]\nid = \"uneven\"\ncron = \"*/7 * * * *\"\njob.name = \"x\"\n";
    std::fs::write(machine.path("work/s.toml"), file).expect("written");
    let file = offline(&["schedule", "lint", "-f", "s.toml", "-o", "json"]);
    assert!(file.code == 1 && value(&file)[0]["code"] == "uneven_step", "{file:?}");

    for wrong in [
        ["schedule", "preview", "--cron", "0 0 31 2 *"].as_slice(),
        &["schedule", "preview"],
        &["schedule", "preview", "--every", "1h", "-n", "1000000"],
        &["schedule", "lint", "--every", "1ms"],
        &["schedule", "lint"],
        &["schedule", "lint", "-f", "nothing"],
    ] {
        let ran = offline(wrong);
        assert!(ran.code == 2 && ran.out.is_empty(), "{wrong:?}: {ran:?}");
    }
    let nothing = offline(&["schedule", "lint"]);
    assert!(!nothing.err.contains("name a schedule"), "it takes none: {nothing:?}");
    assert!(nothing.err.contains("--cron") && nothing.err.contains("--crontab"), "{nothing:?}");
    let home: Vec<_> = std::fs::read_dir(machine.path("home")).expect("a folder").collect();
    assert!(home.is_empty() && !machine.state().exists(), "nothing was made: {home:?}");
}

#[test]
fn a_preview_of_a_schedule_is_what_the_server_will_do() {
    let machine = Machine::with_server();
    let made =
        machine.json(["schedule", "add", "j", "--every", "1h", "--jitter", "20m", "orx.noop"]);
    let preview = machine.json(["schedule", "preview", "j", "-n", "3"]);
    assert_eq!(preview.as_array().map(Vec::len), Some(3));
    assert_eq!(preview[0]["slot"], made["next"]["slot"]);
    assert_eq!(preview[0]["fire_at"], made["next"]["fire_at"]);
}

#[test]
fn the_help_explains_when_a_due_time_is_late_and_what_is_reported() {
    let machine = Machine::new();
    for verb in ["add", "set"] {
        let help = machine.orx(["schedule", verb, "--help"]).out;
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("if at most 60 s late, counts as on time"), "{help}");
        assert!(words.contains("were missed, or ran later than the tolerance"), "{help}");
    }
}

#[test]
fn commands_need_the_scope_exec_and_pausing_needs_admin() {
    let machine = Machine::with_server();
    let (reader, service) = (token(&machine, "read"), token(&machine, "service"));
    let exec = token(&machine, "service,exec");
    let [at, time] = LATER;
    let code = |token: &str, args: &[&str]| {
        let all: Vec<&str> = ["schedule"].iter().chain(args).copied().collect();
        with(&machine, token, &all).code
    };
    let command = ["add", "cmd", at, time, "--", "true"];
    assert_eq!((code(&reader, &command), code(&service, &command)), (5, 5));
    assert_eq!(ids(&machine), [""; 0]);
    assert_eq!(code(&exec, &command), 0);
    assert_eq!(code(&service, &["add", "job", at, time, "orx.noop"]), 0);
    assert_eq!(code(&service, &["trigger", "job"]), 0);
    assert_eq!(code(&service, &["set", "job", "--jitter", "1m"]), 0);
    // A caller without the right to run commands may not control a schedule that runs one.
    for args in [
        ["trigger", "cmd"].as_slice(),
        &["set", "cmd", "--jitter", "1m"],
        &["set", "job", "--", "true"],
        &["backfill", "cmd", "--from", "1h"],
    ] {
        assert_eq!(code(&service, args), 5, "{args:?}");
    }
    std::fs::write(machine.path("work/tab"), "0 0 * * * true\n").expect("written");
    assert_eq!(code(&service, &["import", "tab", "--yes"]), 5);
    assert_eq!(code(&exec, &["import", "tab", "--yes"]), 0);
    assert_eq!(code(&exec, &["trigger", "cmd"]), 0);
    for verb in ["pause", "resume"] {
        assert_eq!((code(&service, &[verb, "job"]), code(&exec, &[verb, "job"])), (5, 5));
        let ran = machine.orx(["schedule", verb, "job"]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    for view in [["list"].as_slice(), &["show", "cmd"], &["runs", "cmd"], &["preview", "cmd"]] {
        assert_eq!((code(&reader, view), code(&service, view)), (0, 0), "{view:?}");
    }
    for args in [["trigger", "job"].as_slice(), &["rm", "job"], &["set", "job", "--jitter", "0"]] {
        assert_eq!(code(&reader, args), 5, "{args:?}");
    }
    let refused = with(&machine, &service, &["schedule", "trigger", "cmd"]);
    assert!(refused.err.contains("scope `exec`"), "{refused:?}");
}

#[test]
fn secrets_of_a_schedule_turn_up_in_no_view_no_difference_and_no_log() {
    const CANARIES: [&str; 7] = [
        "c4n4ry-arg",
        "c4n4ry-deep",
        "c4n4ry-env",
        "c4n4ry-dsn",
        "c4n4ry-word",
        "c4n4ry-stdin",
        "YzRuNHJ5LXN0ZGlu",
    ];
    let mut machine = Machine::new();
    machine.start(&["-v"]);
    let clean = |what: &str, text: &str| {
        for canary in CANARIES {
            assert!(!text.contains(canary), "`{canary}` is in {what}:\n{text}");
        }
    };
    let go = |args: &[&str], code: i32| {
        for format in ["table", "wide", "json", "jsonl", "tsv"] {
            let all: Vec<&str> =
                ["schedule"].iter().chain(args).chain(&["-v", "-o", format]).copied().collect();
            let ran = machine.orx(&all);
            assert_eq!(ran.code, code, "{all:?}: {ran:?}");
            clean(&format!("{all:?}"), &format!("{}{}", ran.out, ran.err));
        }
    };
    let [at, time] = LATER;
    let deep = "db:={\"nested\":[{\"api_key\":\"c4n4ry-deep\"}],\"dsn\":\"pg://u:c4n4ry-dsn@h/d\"}";
    let add = ["schedule", "add", "job", at, time, "orx.noop", "password=c4n4ry-arg", deep];
    let ran = machine.orx(add);
    assert_eq!(ran.code, 0, "{ran:?}");
    clean("add", &format!("{}{}", ran.out, ran.err));
    let toml = r#"
[[schedule]]
id = "cmd"
every = "1h"
[schedule.job]
retries = 0
[schedule.job.command]
argv = ["sh", "-c", "cat >/dev/null; exit 4", "--password=c4n4ry-word"]
stdin = "c4n4ry-stdin"
env = { API_TOKEN = "c4n4ry-env", DATABASE_URL = "pg://u:c4n4ry-dsn@h/d" }
[[schedule]]
id = "job"
at = 2999-01-01T00:00:00Z
[schedule.job]
name = "orx.noop"
args = { password = "c4n4ry-arg", api_key = "c4n4ry-deep" }
"#;
    std::fs::write(machine.path("work/s.toml"), toml).expect("written");
    go(&["diff", "-f", "s.toml"], 1);
    go(&["apply", "-f", "s.toml", "--dry-run"], 0);
    go(&["apply", "-f", "s.toml"], 0);
    // Other secrets, and no secret.
    std::fs::write(machine.path("work/s.toml"), toml.replace("c4n4ry", "c4n4ry-old"))
        .expect("written");
    assert_eq!(machine.orx(["schedule", "apply", "-f", "s.toml"]).code, 0);
    std::fs::write(machine.path("work/s.toml"), toml).expect("written");
    go(&["diff", "-f", "s.toml"], 1);
    go(&["apply", "-f", "s.toml"], 0);
    go(&["list"], 0);
    go(&["show", "job"], 0);
    go(&["show", "cmd"], 0);
    go(&["set", "cmd", "--dry-run", "--", "true"], 0);
    go(&["set", "job", "--dry-run", "password=c4n4ry-word"], 0);
    go(&["set", "job", "--dry-run", "--clear", "args"], 0);
    go(&["trigger", "cmd", "--wait"], 4);
    go(&["lint", "-f", "s.toml"], 0);
    go(&["pause", "cmd"], 0);
    for wrong in [
        toml.replace("stdin =", "stdni ="),
        toml.replace("\"c4n4ry-stdin\"", "[\"c4n4ry-stdin\"]"),
        toml.replace("env = {", "env = \"c4n4ry-env\" #"),
        toml.replace("\"c4n4ry-stdin\"", "c4n4ry-stdin"),
        toml.replace("id = \"cmd\"", "password = \"c4n4ry-env\""),
    ] {
        std::fs::write(machine.path("work/s.toml"), wrong).expect("written");
        go(&["apply", "-f", "s.toml"], 2);
    }
    let tab = "API_TOKEN=c4n4ry-env\n0 0 * * * cat%c4n4ry-stdin\n";
    std::fs::write(machine.path("work/tab"), tab).expect("written");
    go(&["import", "tab", "--dry-run"], 0);
    go(&["import", "tab", "--yes"], 0);
    std::fs::write(machine.path("work/tab"), "0 0 * * * cat%c4n4ry-word\n").expect("written");
    go(&["import", "tab", "--dry-run"], 0);
    let wrong = "API_TOKEN=c4n4ry-env\n0 25 * * * cat%c4n4ry-stdin\n";
    std::fs::write(machine.path("work/tab"), wrong).expect("written");
    go(&["import", "tab", "--yes"], 2);
    for job in ["1", "2"] {
        for format in ["table", "json"] {
            let ran = machine.orx(["show", job, "-o", format]);
            assert_eq!(ran.code, 0, "{ran:?}");
            clean("show", &format!("{}{}", ran.out, ran.err));
        }
    }
    let jobs = machine.orx(["jobs", "-o", "json"]);
    clean("jobs", &jobs.out);
    assert_eq!(machine.stop(), 0);
    clean("the server's log", &machine.log());
}
