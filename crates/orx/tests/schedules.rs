//! `orx schedule` through the real binary: what it does, what it says, and its exit codes.

mod common;

use common::{Machine, Said, said, until};
use serde_json::{Value, json};

/// Any code, and one JSON value.
fn value(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

fn with_input(machine: &Machine, args: &[&str]) -> Said {
    said(machine.command(args).output().expect("orx runs"))
}

/// As somebody who has this token and nothing else.
fn with(machine: &Machine, token: &str, args: &[&str]) -> Said {
    let mut command = machine.command(args);
    command.env("ORX_URL", machine.url()).env("ORX_TOKEN", token);
    said(command.env("ORX_STATE", machine.path("elsewhere")).output().expect("orx runs"))
}

fn token(machine: &Machine, scope: &str) -> String {
    let made = machine.orx(["token", "create", "--scope", scope]);
    assert_eq!(made.code, 0, "{made:?}");
    made.out.trim().to_owned()
}

fn ids(machine: &Machine) -> Vec<String> {
    let list = machine.orx(["schedule", "list", "-o", "id"]);
    assert_eq!(list.code, 0, "{list:?}");
    list.out.lines().map(str::to_owned).collect()
}

/// Never due within a test.
const LATER: [&str; 2] = ["--at", "2999-01-01T00:00:00Z"];

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
    let said = machine.orx(["schedule", "add", "sync", "--every", "15m", "--", "true"]);
    assert!(said.code == 0 && said.out.starts_with("sync created, next "), "{said:?}");

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
        let said = machine.orx(["schedule", "list", "-o", format]);
        assert!(said.code == 0 && said.out.contains("nightly"), "{format}: {said:?}");
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
        let said = machine.orx(["schedule", verb, "a1", "b2"]);
        assert!(said.code == 3 && said.err.contains("did you mean `b1`?"), "{said:?}");
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

    // The time moves, and with it what comes next.
    let moved = machine.json(["schedule", "set", "nightly", "--at", "2999-01-01T00:00:00Z"]);
    assert_eq!(moved["next"]["slot"], "2999-01-01T00:00:00.000Z");
    let never = machine.orx(["schedule", "set", "nightly", "--at", "2001-01-01T00:00:00Z"]);
    assert!(never.code == 2 && never.err.contains("never due"), "{never:?}");
    assert_eq!(machine.json(["schedule", "show", "nightly"])["version"], 4);
}

#[test]
fn set_changes_one_part_of_a_value_and_the_other_parts_stay() {
    let machine = Machine::with_server();
    let orx = |args: &str| with_input(&machine, &args.split(' ').collect::<Vec<_>>());
    for add in [
        "off --every 1h --offset 5s -t a=b -t c=d --require x=y orx.noop n=1 m=2",
        "s2 --every 1h --cwd /usr --env A=1 -- echo hi",
        "daily --cron @daily orx.noop",
    ] {
        let said = orx(&format!("schedule add {add}"));
        assert_eq!(said.code, 0, "{said:?}");
    }
    let set = |args: &str| {
        let said = orx(&format!("schedule set {args}"));
        assert_eq!(said.code, 0, "{args}: {said:?}");
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
    // The first command runs where it was typed, as with `add`.
    let work = machine.path("work").canonicalize().expect("a folder").display().to_string();
    assert_eq!(command("daily -- echo hi")["cwd"], Value::from(work));

    for (args, part) in [
        ("daily --offset 3s", "only an interval has one"),
        ("off --env B=2", "no command to change"),
        ("off --cwd /tmp", "no command to change"),
    ] {
        let said = orx(&format!("schedule set {args}"));
        assert!(said.code == 2 && said.err.contains(part), "{args}: {said:?}");
    }
    for (args, part) in [
        ("x --offset 3s orx.noop", "--every"),
        ("x --offset 3s --at 2999-01-01 orx.noop", "only an interval has one"),
        ("x --every 1h --cwd /tmp orx.noop", "required"),
        ("x --every 1h --env B=2 orx.noop", "required"),
    ] {
        let said = orx(&format!("schedule add {args}"));
        assert!(said.code == 2 && said.err.contains(part), "{args}: {said:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_reason_and_nothing_changes() {
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
    for (args, job, code, says) in cases {
        let all: Vec<&str> = ["schedule", "add"].iter().chain(args).chain(job).copied().collect();
        let said = with_input(&machine, &all);
        assert!(said.code == code && said.err.contains(says), "{all:?}: {said:?}");
        assert!(said.out.is_empty(), "{all:?}: {said:?}");
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
        let said = with_input(&machine, &all);
        assert!(
            said.code == 3 && said.err.contains("did you mean `nightly`?"),
            "{all:?}: {said:?}"
        );
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
        said(command.env_remove("ORX_STATE").output().expect("orx runs"))
    };
    let berlin = ["--cron", "30 2 * * *", "--zone", "Europe/Berlin"];
    let from = ["schedule", "preview", berlin[0], berlin[1], berlin[2], berlin[3], "--from"];
    let ask = |day: &str, count: &str| {
        let args: Vec<&str> =
            from.iter().copied().chain([day, "-n", count, "-o", "json"]).collect();
        let said = offline(&args);
        assert_eq!(said.code, 0, "{said:?}");
        value(&said)
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
        let said = offline(wrong);
        assert!(said.code == 2 && said.out.is_empty(), "{wrong:?}: {said:?}");
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

const CRONTAB: &str = "\
# what the machine does at night
SHELL=/bin/bash
GREETING=\"hello there\"
MAILTO=me@example.org
CRON_TZ=Europe/Berlin
30 2 * * mon-fri echo \"$GREETING ${BASH_VERSION:+bash}\"; pwd; cat%one%two\\%
CRON_TZ=
0 0 * * 7 echo plain
";

#[test]
fn a_crontab_is_shown_then_taken_over_and_means_what_cron_means() {
    let machine = Machine::with_server();
    std::fs::write(machine.path("work/tab"), CRONTAB).expect("written");
    let dry = machine.orx(["schedule", "import", "tab", "--zone", "UTC", "--dry-run"]);
    assert!(dry.code == 0 && dry.out.matches("would be created").count() == 2, "{dry:?}");
    assert!(dry.err.contains("line 4: `MAILTO` is left out"), "{dry:?}");
    let asked = machine.orx(["schedule", "import", "tab", "--zone", "UTC"]);
    assert!(asked.code == 2 && asked.err.contains("--yes"), "{asked:?}");
    let piped = machine.orx_in(["schedule", "import", "--zone", "UTC"], CRONTAB.as_bytes());
    assert!(piped.code == 2 && piped.err.contains("nobody can answer"), "{piped:?}");
    assert_eq!(ids(&machine), [""; 0]);

    let import = ["schedule", "import", "--zone", "UTC", "--yes", "-o", "json"];
    let made = machine.orx_in(import, CRONTAB.as_bytes());
    assert_eq!(made.code, 0, "{made:?}");
    let made = value(&made);
    assert!(made.as_array().expect("a list").iter().all(|one| one["change"] == "created"));
    let id = made[0]["id"].as_str().expect("an id").to_owned();
    let first = machine.json(["schedule", "show", &id]);
    assert_eq!(first["spec"]["zone"], "Europe/Berlin");
    let command = &first["spec"]["job"]["command"];
    let line = r#"echo "$GREETING ${BASH_VERSION:+bash}"; pwd; cat"#;
    assert_eq!(command["argv"], json!(["/bin/bash", "-c", line]));
    assert_eq!(command["env"], json!({"GREETING": "hello there", "SHELL": "/bin/bash"}));
    let second = made[1]["id"].as_str().expect("an id");
    assert_eq!(machine.json(["schedule", "show", second])["spec"]["zone"], "UTC");

    let again = value(&machine.orx_in(import, CRONTAB.as_bytes()));
    for one in again.as_array().expect("a list") {
        assert_eq!((&one["change"], &one["version"]), (&json!("unchanged"), &json!(1)));
        assert!(one["dry_run"].is_null(), "{one}");
    }
    // Another time of the same command is the same schedule, changed.
    let moved = value(&machine.orx_in(import, CRONTAB.replace("30 2", "31 2").as_bytes()));
    assert_eq!((&moved[0]["id"], &moved[0]["change"]), (&json!(id), &json!("changed")));
    assert_eq!(moved[0]["fields"][0]["field"], "cron");
    assert_eq!(moved[1]["change"], "unchanged");

    let run = machine.orx(["schedule", "trigger", &id, "--follow"]);
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!((lines[0], &lines[2..]), ("hello there bash", ["one", "two%"].as_slice()));
}

#[test]
fn a_crontab_that_cannot_be_understood_is_refused_line_by_line() {
    let machine = Machine::with_server();
    let tab = "@reboot echo x\n5 25 * * * echo x\n* * * *\n@dayly x\nCRON_TZ=Mars/Base\n\
               0 0 * * mon-sat-sun x\n0 0 1 1 * fine\n";
    std::fs::write(machine.path("work/tab"), tab).expect("written");
    for more in ["--yes", "--dry-run"] {
        let said = machine.orx(["schedule", "import", "tab", more]);
        assert_eq!(said.code, 2, "{said:?}");
        for says in [
            "line 1: ",
            "`@reboot`: a schedule has due times",
            "line 2: expected 0 to 23 in the hour field, found `25`",
            "line 3: ",
            "found 4 columns in `* * * *`",
            "line 4: ",
            "`@daily`",
            "line 5: `CRON_TZ`: ",
            "`Mars/Base`",
            "line 6: ",
            "day of week field",
        ] {
            assert!(said.err.contains(says), "{says}: {}", said.err);
        }
        assert!(!said.err.contains("line 7"), "{}", said.err);
    }
    let error = machine.orx(["schedule", "import", "tab", "--yes", "-o", "json"]);
    let error: Value = serde_json::from_str(&error.err).expect("one value");
    assert_eq!(error["error"]["code"], "usage");
    assert_eq!(machine.orx(["schedule", "import", "nothing"]).code, 2);
    assert_eq!(ids(&machine), [""; 0]);
}

const FILE: &str = r#"
[[schedule]]
id = "nightly"
cron = "30 2 * * mon-fri"
zone = "Europe/Berlin"
overlap = "queue-one"
[schedule.job]
name = "orx.noop"
args = { customer = 42 }
timeout = "1h"

[[schedule]]
id = "hourly"
every = "1h"
offset = "5m"
job.command.argv = ["true"]
"#;

#[test]
fn files_are_applied_once_and_diff_says_whether_anything_differs() {
    let machine = Machine::with_server();
    let [at, time] = LATER;
    assert_eq!(machine.orx(["schedule", "add", "stranger", at, time, "orx.noop"]).code, 0);
    std::fs::create_dir(machine.path("work/d")).expect("a folder");
    std::fs::write(machine.path("work/d/a.toml"), FILE).expect("written");
    std::fs::write(machine.path("work/d/notes.txt"), "no schedules").expect("written");
    let diff = machine.orx(["schedule", "diff", "-f", "d"]);
    assert!(diff.code == 1 && diff.out.contains("nightly would be created"), "{diff:?}");
    let dry = machine.orx(["schedule", "apply", "-f", "d", "--dry-run"]);
    assert!(dry.code == 0 && dry.err.contains("would be: 2 created"), "{dry:?}");
    assert_eq!(ids(&machine), ["stranger"]);

    let done = machine.orx(["schedule", "apply", "-f", "d"]);
    assert!(
        done.code == 0 && done.err.contains("\n2 created, 0 changed")
            || done.err.starts_with("2 created, 0 changed"),
        "{done:?}"
    );
    assert_eq!(ids(&machine), ["hourly", "nightly", "stranger"]);
    let same = machine.orx(["schedule", "diff", "-f", "d", "-o", "json"]);
    assert_eq!((same.code, same.out.as_str()), (0, "[]\n"), "{same:?}");
    let same = machine.orx(["schedule", "diff", "-f", "d"]);
    assert_eq!(same.err, "would be: 0 created, 0 changed, 2 unchanged\n", "{same:?}");
    let again = machine.json(["schedule", "apply", "-f", "d"]);
    for one in again.as_array().expect("a list") {
        assert_eq!((&one["change"], &one["version"]), (&json!("unchanged"), &json!(1)));
        assert!(one["dry_run"].is_null(), "{one}");
    }
    let said = machine.orx(["schedule", "apply", "-f", "d"]);
    assert_eq!((said.code, said.err.as_str()), (0, "0 created, 0 changed, 2 unchanged\n"));

    std::fs::write(machine.path("work/d/a.toml"), FILE.replace("42", "43")).expect("written");
    let diff = machine.orx(["schedule", "diff", "-f", "d", "-o", "json"]);
    let change = json!([{"field": "job.args", "old": {"customer": 42}, "new": {"customer": 43}}]);
    assert_eq!(diff.code, 1);
    let diff = value(&diff);
    assert_eq!((&diff[0]["id"], &diff[0]["fields"]), (&json!("nightly"), &change));
    assert_eq!(diff.as_array().map(Vec::len), Some(1));
    let done = machine.json(["schedule", "apply", "-f", "d"]);
    assert_eq!((&done[0]["change"], &done[0]["version"]), (&json!("changed"), &json!(2)));

    let more = machine.orx(["schedule", "diff", "-f", "d", "--prune"]);
    assert!(more.code == 1 && more.out == "stranger would be removed\n", "{more:?}");
    let asked = machine.orx(["schedule", "apply", "-f", "d", "--prune"]);
    assert!(asked.code == 2 && asked.err.contains("stranger"), "{asked:?}");
    assert_eq!(ids(&machine).len(), 3);
    let pruned = machine.orx(["schedule", "apply", "-f", "d", "--prune", "--yes"]);
    assert_eq!((pruned.code, pruned.out.as_str()), (0, "stranger removed\n"), "{pruned:?}");
    assert_eq!(pruned.err, "0 created, 0 changed, 2 unchanged, 1 removed\n");
    assert_eq!(ids(&machine), ["hourly", "nightly"]);
}

#[test]
fn a_schedule_of_a_file_that_the_server_refuses_is_named_with_its_place() {
    let machine = Machine::with_server();
    let past = format!(
        "{FILE}\n[[schedule]]\nat = \"2001-01-01T00:00:00Z\"\nid = \"past\"\n\
                        job.name = \"orx.noop\"\n"
    );
    std::fs::write(machine.path("work/past.toml"), past).expect("written");
    for verb in ["apply", "diff"] {
        let said = machine.orx(["schedule", verb, "-f", "past.toml"]);
        assert!(
            said.code == 2 && said.err.contains("all of its due times have passed"),
            "{said:?}"
        );
        assert!(said.err.contains("past.toml: line 20: schedule `past`: "), "{said:?}");
    }
    assert_eq!(ids(&machine), [""; 0]);
    // That no server is there has nothing to do with the schedule.
    let path = machine.path("work/past.toml").display().to_string();
    let nobody = Machine::new().orx(["schedule", "apply", "-f", path.as_str()]);
    assert!(nobody.code == 69 && nobody.err.starts_with("error: no server"), "{nobody:?}");
}

#[test]
fn the_file_that_the_help_shows_can_be_applied() {
    let machine = Machine::with_server();
    let help = machine.orx(["schedule", "apply", "--help"]).out;
    let (_, rest) = help.split_once("holds schedules:\n").expect("an example");
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("  "));
    let file: Vec<&str> = lines.collect();
    std::fs::write(machine.path("work/shown.toml"), file.join("\n")).expect("written");
    let said = machine.orx(["schedule", "apply", "-f", "shown.toml"]);
    assert!(
        said.code == 0 && said.err.ends_with("2 created, 0 changed, 0 unchanged\n"),
        "{said:?}"
    );
    assert_eq!(ids(&machine), ["nightly-report", "sync"]);
    let job = machine.json(["schedule", "show", "nightly-report"])["spec"]["job"].clone();
    assert_eq!((&job["tags"], &job["args"]), (&json!({"team": "data"}), &json!({"kind": "full"})));
}

#[test]
fn the_help_says_when_a_due_time_is_late_and_who_is_told() {
    let machine = Machine::new();
    for verb in ["add", "set"] {
        let help = machine.orx(["schedule", verb, "--help"]).out;
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("up to 60 s late counts as on time"), "{help}");
        assert!(words.contains("were missed, or ran later than the tolerance"), "{help}");
    }
}

#[test]
fn files_with_anything_wrong_change_nothing() {
    let machine = Machine::with_server();
    std::fs::create_dir(machine.path("work/d")).expect("a folder");
    let file = |name: &str, text: &str| {
        std::fs::write(machine.path("work/d").join(name), text).expect("written");
    };
    file("a.toml", FILE);
    for (text, says) in [
        (
            "[[schedule]]\nid = \"x\"\ncorn = \"* * * * *\"\njob.name = \"x\"\n",
            "b.toml: line 3: unknown field `corn`",
        ),
        ("[[schedule]]\nid = \"x\"\njob.name = \"x\"\n", "found none"),
        ("[[schedule]]\nid = \"x\"\nevery = \"1ms\"\njob.name = \"x\"\n", "schedule `x`: `timing`"),
        ("[[schedule]]\nid = \"hourly\"\nevery = \"1h\"\njob.name = \"x\"\n", "is in two files"),
        ("[[schedule]]\nid = \"x\"\nevery = \"1h\"\njob = {}\n", "a job type, or a `command`"),
    ] {
        file("b.toml", text);
        for verb in ["apply", "diff"] {
            let said = machine.orx(["schedule", verb, "-f", "d"]);
            assert!(said.code == 2 && said.err.contains(says), "{text}: {said:?}");
            assert!(said.err.contains("b.toml"), "{text}: {said:?}");
        }
    }
    assert_eq!(machine.orx(["schedule", "apply", "-f", "nowhere"]).code, 2);
    // What only the server finds out: no other is made either.
    file("b.toml", "[[schedule]]\nid = \"x\"\nat = 2001-01-01T00:00:00Z\njob.name = \"x\"\n");
    let said = machine.orx(["schedule", "apply", "-f", "d"]);
    assert!(said.code == 2 && said.err.contains("have passed"), "{said:?}");
    assert_eq!(ids(&machine), [""; 0]);
}

#[test]
fn a_run_knows_its_due_time_and_its_job_knows_its_schedule() {
    let machine = Machine::with_server();
    // So far apart that each run has ended when the next is due.
    let add = ["schedule", "add", "tick", "--every", "3s", "--max-runs", "2", "--", "sh", "-c"];
    let args: Vec<&str> = add.iter().copied().chain(["echo $ORX_SCHEDULED_AT"]).collect();
    assert_eq!(with_input(&machine, &args).code, 0);
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
    // More runs, and it goes on.
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
    // The jobs stay when the schedule goes.
    assert_eq!(machine.orx(["schedule", "rm", "job"]).code, 0);
    assert_eq!(machine.json(["show", "3"])["schedule"]["id"], "job");
}

#[test]
fn a_run_that_fails_for_good_makes_the_job_that_was_asked_for() {
    let machine = Machine::with_server();
    let [at, time] = LATER;
    // Nobody takes such a job: it stays to be looked at.
    let alert = ["--on-failure", "page.me", "--retries", "0"];
    for (id, command) in [("good", "true"), ("bad", "false")] {
        let add = ["schedule", "add", id, at, time];
        let all: Vec<&str> = add.iter().chain(&alert).chain(&["--", command]).copied().collect();
        assert_eq!(with_input(&machine, &all).code, 0);
        let _ = machine.orx(["schedule", "trigger", id, "--wait"]);
    }
    let alerts = || {
        let list = machine.json(["jobs"]).as_array().expect("a list").clone();
        list.into_iter().filter(|job| job["name"] == "page.me").collect::<Vec<Value>>()
    };
    until("it is told", || !alerts().is_empty());
    let alerts = alerts();
    assert_eq!(alerts.len(), 1);
    let shown = machine.json(["show", &alerts[0]["id"].to_string()]);
    assert_eq!(shown["args"], json!({"schedule": "bad", "job": 2, "status": "failed"}));
}

#[test]
fn a_paused_schedule_says_who_and_why_and_what_came_due_is_skipped() {
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
    // A run by hand goes all the same.
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
    let orx = |args: &str| with_input(&machine, &args.split(' ').collect::<Vec<_>>());
    let said = orx("schedule add three --every 365d --max-runs 3 orx.noop");
    assert_eq!(said.code, 0, "{said:?}");
    let shown = || machine.json(["schedule", "show", "three"]);
    for more in ["", " --dry-run"] {
        let said = orx(&format!("schedule backfill three --from 1825d{more}"));
        assert!(said.code == 4 && said.err.contains("3 of its 3 runs are left"), "{said:?}");
        assert!(said.err.contains("--max-runs"), "{said:?}");
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
    let said = orx("schedule backfill three --from 1460d");
    assert!(said.code == 4 && said.err.contains("0 of its 3 runs are left"), "{said:?}");
    assert_eq!(orx("schedule set three --max-runs 5").code, 0);
    assert_eq!(shown()["state"], "active");
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
    // What runs a command is not to be steered by who may run none.
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
        let said = machine.orx(["schedule", verb, "job"]);
        assert_eq!(said.code, 0, "{said:?}");
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
            let said = with_input(&machine, &all);
            assert_eq!(said.code, code, "{all:?}: {said:?}");
            clean(&format!("{all:?}"), &format!("{}{}", said.out, said.err));
        }
    };
    let [at, time] = LATER;
    let deep = "db:={\"nested\":[{\"api_key\":\"c4n4ry-deep\"}],\"dsn\":\"pg://u:c4n4ry-dsn@h/d\"}";
    let add = ["schedule", "add", "job", at, time, "orx.noop", "password=c4n4ry-arg", deep];
    let said = machine.orx(add);
    assert_eq!(said.code, 0, "{said:?}");
    clean("add", &format!("{}{}", said.out, said.err));
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
    // Other secrets, and none.
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
            let said = machine.orx(["show", job, "-o", format]);
            assert_eq!(said.code, 0, "{said:?}");
            clean("show", &format!("{}{}", said.out, said.err));
        }
    }
    let jobs = machine.orx(["jobs", "-o", "json"]);
    clean("jobs", &jobs.out);
    assert_eq!(machine.stop(), 0);
    clean("the server's log", &machine.log());
}
