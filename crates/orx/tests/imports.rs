//! Crontabs through the real binary, imported again and again.

mod common;

use common::{Machine, Said, said};
use serde_json::{Value, json};

fn value(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

fn import(machine: &Machine, tab: &str, more: &[&str]) -> Said {
    std::fs::write(machine.path("work/tab"), tab).expect("written");
    let args = [&["schedule", "import", "tab", "--zone", "UTC"], more].concat();
    said(machine.command(args).output().expect("orx runs"))
}

/// Of each schedule when it is due and what it runs.
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
fn a_crontab_imported_again_gives_what_the_file_says() {
    let machine = Machine::with_server();
    let first = "0 1 * * * /x/run a\n0 2 * * * /x/run a\n0 3 * * * /x/other\n0 4 * * * /x/third\n";
    let made = import(&machine, first, &["--yes"]);
    assert_eq!(made.code, 0, "{made:?}");
    // One of two alike has gone, one is edited; without `--prune` what has gone stays, and is named.
    let second = "0 2 * * * /x/run a\n0 3 * * * /x/other --more\n0 4 * * * /x/third\n";
    let dry = import(&machine, second, &["--dry-run"]);
    assert!(dry.err.contains("stays and runs on") && dry.err.contains("--prune"), "{dry:?}");
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

    // What somebody changed stays, whatever the file says, until it is told otherwise.
    let third = again[2]["id"].as_str().expect("an id");
    assert_eq!(machine.orx(["schedule", "set", third, "--cron", "5 4 * * *"]).code, 0);
    let shown = machine.json(["schedule", "show", third]);
    assert_eq!(shown["edited"], true, "{shown}");
    assert_eq!(shown["spec"]["imported"]["line"], 3, "{shown}");
    let kept = import(&machine, second, &["--yes"]);
    assert!(kept.code == 0 && kept.err.contains("it stays as it is"), "{kept:?}");
    let both = second.replace("third", "third -v");
    let conflict = import(&machine, &both, &["--yes"]);
    assert!(conflict.code == 7 && conflict.err.contains("--overwrite"), "{conflict:?}");
    assert!(runs(&machine).contains(&"5 4 * * * /x/third".to_owned()));
    let taken = import(&machine, &both, &["--yes", "--overwrite"]);
    assert_eq!(taken.code, 0, "{taken:?}");
    assert!(runs(&machine).contains(&"0 4 * * * /x/third -v".to_owned()));

    // A file of another name owns nothing of it.
    std::fs::write(machine.path("work/tab2"), first).expect("written");
    let other = machine.orx(["schedule", "import", "tab2", "--zone", "UTC", "--yes", "--prune"]);
    assert!(other.code == 4 && other.err.contains("imported from elsewhere"), "{other:?}");
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
    let said = import(&machine, tab, &["--dry-run"]);
    for part in ["line 2: cron-backup.sh-", "next 2", "in UTC", "folder "] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    for part in ["no server was reached", "--overlap allow", "--catch-up none", "--cwd DIR"] {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
    let home = machine.path("home");
    assert!(said.out.contains(home.to_str().expect("text")), "{said:?}");
    let same = ["--dry-run", "--overlap", "allow", "--catch-up", "none", "--cwd", "/"];
    let said = import(&machine, tab, &same);
    assert!(!said.err.contains("unlike cron"), "{said:?}");
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
fn what_cannot_be_understood_is_left_out_when_asked_with_what_hangs_on_it() {
    let machine = Machine::with_server();
    let tab = "@reboot /x/start\n0 25 * * * /x/late\n0 1 * * * /x/fine\nCRON_TZ=Mars/Base\n\
               0 2 * * * /x/where\nCRON_TZ=Asia/Tokyo\n0 3 * * * /x/there\n";
    let refused = import(&machine, tab, &["--yes"]);
    assert!(refused.code == 2 && refused.err.contains("--skip-bad"), "{refused:?}");
    let done = import(&machine, tab, &["--yes", "--skip-bad", "-o", "json"]);
    assert_eq!(done.code, 0, "{done:?}");
    for line in [1, 2, 4, 5] {
        assert!(done.err.contains(&format!("left out, line {line}: ")), "{line}: {done:?}");
    }
    assert_eq!(runs(&machine), ["0 1 * * * /x/fine", "0 3 * * * /x/there"]);
    let pruned = import(&machine, tab, &["--yes", "--skip-bad", "--prune"]);
    assert!(pruned.code == 2 && pruned.err.contains("make comments of them"), "{pruned:?}");
    assert!(!pruned.err.contains("line 1: "), "nothing is wrong with line 1: {pruned:?}");
    // What that hint says can be done.
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
    // From then on the file has it: that is all that differs.
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

    // What a server does not tell cannot be written back by mistake.
    let fine = machine.orx(["schedule", "list", "-o", "id"]).out;
    let fine = fine.lines().find(|id| id.contains("fine")).expect("an id");
    let file = machine.orx(["schedule", "export", fine]);
    assert!(file.code == 7 && file.err.contains("masked"), "{file:?}");
    std::fs::write(machine.path("work/all.toml"), &file.out).expect("written");
    let refused = machine.orx(["schedule", "apply", "-f", "all.toml"]);
    assert!(refused.code == 2 && refused.err.contains("masked"), "{refused:?}");
}
