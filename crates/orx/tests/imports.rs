//! Crontabs through the real binary, imported again and again.

mod common;

use common::{CommandResult, Machine, ids, value};
use serde_json::{Value, json};

fn import(machine: &Machine, tab: &str, more: &[&str]) -> CommandResult {
    std::fs::write(machine.path("work/tab"), tab).expect("written");
    let args = [&["schedule", "import", "tab", "--zone", "UTC"], more].concat();
    machine.orx(args)
}

/// For each schedule, when it is due and what it runs.
fn runs(machine: &Machine) -> Vec<String> {
    let all = machine.json(["schedule", "list"]);
    let run = |one: &Value| {
        let spec = &one["spec"];
        let words = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let job = words(&spec["job"]["command"]["argv"][2]);
        format!("{} {job}", words(&spec["timing"]["cron"]))
    };
    let mut all: Vec<String> = all.as_array().expect("a list").iter().map(run).collect();
    all.sort();
    all
}

#[test]
fn a_crontab_imported_again_makes_schedules_equal_to_the_file() {
    let machine = Machine::with_server();
    let first = "0 1 * * * /x/run a\n0 2 * * * /x/run a\n0 3 * * * /x/other\n0 4 * * * /x/third\n";
    let made = import(&machine, first, &["--yes"]);
    assert_eq!(made.code, 0, "{made:?}");
    // One of two equal lines is removed, one is edited; without `--prune` the removed one stays and is named.
    let second = "0 2 * * * /x/run a\n0 3 * * * /x/other --more\n0 4 * * * /x/third\n";
    let dry = import(&machine, second, &["--dry-run"]);
    assert!(dry.err.contains("stays and still runs") && dry.err.contains("--prune"), "{dry:?}");
    let dry = import(&machine, second, &["--dry-run", "--prune"]);
    assert!(dry.code == 0 && dry.out.matches("would be removed").count() == 1, "{dry:?}");
    assert_eq!(runs(&machine).len(), 4);
    let done = import(&machine, second, &["--yes", "--prune", "-o", "json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let wanted = ["0 2 * * * /x/run a", "0 3 * * * /x/other --more", "0 4 * * * /x/third"];
    assert_eq!(runs(&machine), wanted);
    let again = value(&import(&machine, second, &["--yes", "--prune", "-o", "json"]));
    for one in again.as_array().expect("a list") {
        assert_eq!(one["change"], "unchanged", "{one}");
    }

    // A change by `schedule set` stays, whatever the file contains, until `--overwrite`.
    let third = again[2]["id"].as_str().expect("an id");
    assert_eq!(machine.orx(["schedule", "set", third, "--cron", "5 4 * * *"]).code, 0);
    let shown = machine.json(["schedule", "show", third]);
    assert_eq!(shown["edited"], true, "{shown}");
    assert_eq!(shown["spec"]["imported"]["line"], 3, "{shown}");
    let again = import(&machine, second, &["--yes"]);
    assert!(again.code == 0 && again.err.contains("stays as it is"), "{again:?}");
    let both = second.replace("third", "third -v");
    let conflict = import(&machine, &both, &["--yes"]);
    assert!(conflict.code == 7 && conflict.err.contains("--overwrite"), "{conflict:?}");
    assert!(runs(&machine).contains(&"5 4 * * * /x/third".to_owned()));
    let taken = import(&machine, &both, &["--yes", "--overwrite"]);
    assert_eq!(taken.code, 0, "{taken:?}");
    assert!(runs(&machine).contains(&"0 4 * * * /x/third -v".to_owned()));

    // A file of another name owns none of these schedules.
    std::fs::write(machine.path("work/tab2"), first).expect("written");
    let other = machine.orx(["schedule", "import", "tab2", "--zone", "UTC", "--yes", "--prune"]);
    assert!(other.code == 4 && other.err.contains("imported from another source"), "{other:?}");
    let empty = import(&machine, "# nothing\n", &["--yes", "--prune"]);
    assert!(empty.code == 2 && empty.err.contains("has no line"), "{empty:?}");
    assert_eq!(runs(&machine).len(), 3);
}

#[test]
fn a_dry_run_needs_no_server_and_shows_each_line() {
    let machine = Machine::new();
    let tab = "PATH=/bin\n30 2 * * * cd /srv && ./backup.sh --all\nHOME=/srv\n@daily ./other\n";
    let dry = import(&machine, tab, &["--dry-run", "-o", "json", "--cwd", "/opt"]);
    assert_eq!(dry.code, 0, "{dry:?}");
    let dry = value(&dry);
    let first = &dry[0];
    assert_eq!(first["line"], 2);
    assert!(first["id"].as_str().is_some_and(|id| id.starts_with("cron-backup.sh-")), "{first}");
    assert_eq!((&first["zone"], &first["folder"]), (&json!("UTC"), &json!("/opt")));
    assert_eq!(first["command"], "cd /srv && ./backup.sh --all");
    assert_eq!(first["due"].as_array().map(Vec::len), Some(3));
    assert_eq!(dry[1]["folder"], "/srv");
    let ran = import(&machine, tab, &["--dry-run"]);
    for part in ["line 2: cron-backup.sh-", "next 2", "in UTC", "folder "] {
        assert!(ran.out.contains(part), "{part}: {ran:?}");
    }
    for part in ["no server was reached", "--overlap allow", "--catch-up none", "--cwd DIR"] {
        assert!(ran.err.contains(part), "{part}: {ran:?}");
    }
    let home = machine.path("home");
    assert!(ran.out.contains(home.to_str().expect("text")), "{ran:?}");
    let same = ["--dry-run", "--overlap", "allow", "--catch-up", "none", "--cwd", "/"];
    let ran = import(&machine, tab, &same);
    assert!(!ran.err.contains("unlike cron"), "{ran:?}");
}

#[test]
fn a_user_column_is_recognised_and_lines_of_others_are_refused() {
    let machine = Machine::new();
    let tab = "17 * * * * root run-parts /etc/cron.hourly\n";
    let asked = import(&machine, tab, &["--dry-run"]);
    assert!(asked.code == 2 && asked.err.contains("line 1: `root` looks like"), "{asked:?}");
    assert!(asked.err.contains("--user-column"), "{asked:?}");
    let own = import(&machine, tab, &["--dry-run", "--user-column", "--run-as", "root"]);
    assert!(own.code == 0 && own.out.contains("cron-cron.hourly-"), "{own:?}");
    let other = ["--dry-run", "--user-column", "--run-as", "alice"];
    let refused = import(&machine, tab, &other);
    assert!(refused.code == 2 && refused.err.contains("--ignore-user"), "{refused:?}");
    let taken = import(&machine, tab, &[&other[..], &["--ignore-user"]].concat());
    assert!(taken.code == 0 && taken.err.contains("`root` is left out"), "{taken:?}");
    let command = import(&machine, tab, &["--dry-run", "--no-user-column"]);
    assert!(command.code == 0 && command.out.contains("cron-root-"), "{command:?}");
}

#[test]
fn invalid_lines_are_skipped_on_request_with_the_lines_that_depend_on_them() {
    let machine = Machine::with_server();
    let tab = "@reboot /x/start\n0 25 * * * /x/late\n0 1 * * * /x/fine\nCRON_TZ=Mars/Base\n\
               0 2 * * * /x/where\nCRON_TZ=Asia/Tokyo\n0 3 * * * /x/there\n";
    let refused = import(&machine, tab, &["--yes"]);
    assert!(refused.code == 2 && refused.err.contains("--skip-bad"), "{refused:?}");
    let done = import(&machine, tab, &["--yes", "--skip-bad", "-o", "json"]);
    assert_eq!(done.code, 0, "{done:?}");
    for line in [1, 2, 4, 5] {
        assert!(done.err.contains(&format!("skipped line {line}: ")), "{line}: {done:?}");
    }
    assert_eq!(runs(&machine), ["0 1 * * * /x/fine", "0 3 * * * /x/there"]);
    let pruned = import(&machine, tab, &["--yes", "--skip-bad", "--prune"]);
    assert!(pruned.code == 2 && pruned.err.contains("comment them out"), "{pruned:?}");
    assert!(!pruned.err.contains("line 1: "), "nothing is wrong with line 1: {pruned:?}");
    // The hint's advice works.
    let tab = "@reboot /x/start\n0 1 * * * /x/fine\n";
    let pruned = import(&machine, tab, &["--yes", "--skip-bad", "--prune"]);
    assert_eq!(pruned.code, 0, "{pruned:?}");
    assert_eq!(runs(&machine), ["0 1 * * * /x/fine"]);
}

#[test]
fn an_export_is_what_apply_reads() {
    let machine = Machine::with_server();
    let tab = "MAILTO=ops\nA=b\n0 1 * * * /x/fine%in\nMAILTO=\n0 2 * * * /x/quiet\n";
    let made = import(&machine, tab, &["--yes", "--on-failure", "page.me", "--overlap", "allow"]);
    assert_eq!(made.code, 0, "{made:?}");
    let all = machine.json(["schedule", "list"]);
    let alerts: Vec<&Value> =
        all.as_array().expect("a list").iter().map(|one| &one["spec"]["on_failure"]).collect();
    assert!(alerts.contains(&&json!("page.me")) && alerts.contains(&&Value::Null), "{all}");
    let quiet = machine.orx(["schedule", "list", "-o", "id"]).out;
    let quiet = quiet.lines().find(|id| id.contains("quiet")).expect("an id");
    let file = machine.orx(["schedule", "export", quiet]);
    assert_eq!(file.code, 0, "{file:?}");
    std::fs::write(machine.path("work/all.toml"), &file.out).expect("written");
    // From then on the schedule belongs to the file, which is the only difference.
    let diff = value(&machine.orx(["schedule", "diff", "-f", "all.toml", "-o", "json"]));
    let fields: Vec<&str> = diff[0]["fields"]
        .as_array()
        .expect("fields")
        .iter()
        .map(|field| field["field"].as_str().expect("a name"))
        .collect();
    assert_eq!(fields, ["imported.line", "imported.source"]);
    assert_eq!(machine.orx(["schedule", "apply", "-f", "all.toml"]).code, 0);
    assert_eq!(machine.orx(["schedule", "diff", "-f", "all.toml"]).code, 0);

    // A value that a server masks cannot be written back by mistake.
    let fine = machine.orx(["schedule", "list", "-o", "id"]).out;
    let fine = fine.lines().find(|id| id.contains("fine")).expect("an id");
    let file = machine.orx(["schedule", "export", fine]);
    assert!(file.code == 7 && file.err.contains("masked"), "{file:?}");
    std::fs::write(machine.path("work/all.toml"), &file.out).expect("written");
    let refused = machine.orx(["schedule", "apply", "-f", "all.toml"]);
    assert!(refused.code == 2 && refused.err.contains("masked"), "{refused:?}");
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
    assert!(piped.code == 2 && piped.err.contains("standard input is the crontab"), "{piped:?}");
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
        let ran = machine.orx(["schedule", "import", "tab", more]);
        assert_eq!(ran.code, 2, "{ran:?}");
        for part in [
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
            assert!(ran.err.contains(part), "{part}: {}", ran.err);
        }
        assert!(!ran.err.contains("line 7"), "{}", ran.err);
    }
    let error = machine.orx(["schedule", "import", "tab", "--yes", "-o", "json"]);
    let error: Value = serde_json::from_str(&error.err).expect("one value");
    assert_eq!(error["error"]["code"], "usage");
    assert_eq!(machine.orx(["schedule", "import", "nothing"]).code, 2);
    assert_eq!(ids(&machine), [""; 0]);
}
