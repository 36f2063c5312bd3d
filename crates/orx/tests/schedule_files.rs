//! Schedules in files, through the real binary: `apply` and `diff`.

mod common;

use common::{LATER, Machine, ids, value};
use serde_json::json;

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
fn files_are_applied_once_and_diff_shows_whether_anything_differs() {
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
    let ran = machine.orx(["schedule", "apply", "-f", "d"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, "0 created, 0 changed, 2 unchanged\n"));

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
        let ran = machine.orx(["schedule", verb, "-f", "past.toml"]);
        assert!(ran.code == 2 && ran.err.contains("all of its due times have passed"), "{ran:?}");
        assert!(ran.err.contains("past.toml: line 20: schedule `past`: "), "{ran:?}");
    }
    assert_eq!(ids(&machine), [""; 0]);
    // A missing server is not an error of the schedule.
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
    let ran = machine.orx(["schedule", "apply", "-f", "shown.toml"]);
    assert!(ran.code == 0 && ran.err.ends_with("2 created, 0 changed, 0 unchanged\n"), "{ran:?}");
    assert_eq!(ids(&machine), ["nightly-report", "sync"]);
    let job = machine.json(["schedule", "show", "nightly-report"])["spec"]["job"].clone();
    assert_eq!((&job["tags"], &job["args"]), (&json!({"team": "data"}), &json!({"kind": "full"})));
}

#[test]
fn files_with_anything_wrong_change_nothing() {
    let machine = Machine::with_server();
    std::fs::create_dir(machine.path("work/d")).expect("a folder");
    let file = |name: &str, text: &str| {
        std::fs::write(machine.path("work/d").join(name), text).expect("written");
    };
    file("a.toml", FILE);
    for (text, part) in [
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
            let ran = machine.orx(["schedule", verb, "-f", "d"]);
            assert!(ran.code == 2 && ran.err.contains(part), "{text}: {ran:?}");
            assert!(ran.err.contains("b.toml"), "{text}: {ran:?}");
        }
    }
    assert_eq!(machine.orx(["schedule", "apply", "-f", "nowhere"]).code, 2);
    // An error that only the server finds: no other schedule is created either.
    file("b.toml", "[[schedule]]\nid = \"x\"\nat = 2001-01-01T00:00:00Z\njob.name = \"x\"\n");
    let ran = machine.orx(["schedule", "apply", "-f", "d"]);
    assert!(ran.code == 2 && ran.err.contains("have passed"), "{ran:?}");
    assert_eq!(ids(&machine), [""; 0]);
}
