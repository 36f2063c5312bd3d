//! Bad input gets a clear error, a stable code and the documented exit code, and changes nothing.

mod common;

use std::io::{Seek, SeekFrom, Write};

use common::{Machine, SmallDisk, read, result_of, until};

/// The exit code, and a text that the error must contain.
fn refused(machine: &Machine, args: &[&str], code: i32, names: &str) {
    let ran = result_of(machine.command(args).output().expect("orx runs"));
    assert_eq!(ran.code, code, "{args:?}: {ran:?}");
    assert!(ran.err.contains(names), "{args:?} does not name `{names}`: {ran:?}");
    assert!(ran.out.is_empty(), "{args:?}: {ran:?}");
}

#[test]
fn unknown_names_are_rejected_with_the_nearest_name() {
    let machine = Machine::with_server();
    refused(
        &machine,
        &["jobz"],
        2,
        "error: there is no command `jobz`\n  hint: did you mean `jobs`?\n",
    );
    refused(&machine, &["jobs", "--statuss", "x"], 2, "error: there is no flag `--statuss`");
    refused(&machine, &["jobs", "--statuss", "x"], 2, "hint: did you mean `--status`?\n");
    refused(&machine, &["jobs", "-o", "tabel"], 2, "hint: did you mean `table`?\n");
    refused(&machine, &["jobs", "--status", "faild"], 2, "did you mean `failed`?");
    refused(&machine, &["jobs", "--filter", "quue:x"], 2, "did you mean `queue`?");
    refused(&machine, &["jobs", "--fields", "nope"], 2, "this output has no field `nope`");
    refused(&machine, &["jobs", "--fields", "statuss"], 2, "did you mean `status`?");
    assert_eq!(machine.orx(["jobs", "-o", "json", "--fields", "nope"]).out, "[]\n");
    refused(&machine, &["queue", "show", "defalt"], 3, "there is no queue `defalt`");
    refused(&machine, &["show", "12.x"], 2, "`12.x` does not name a job");
    refused(&machine, &["show", "999"], 3, "there is no job `999`");
    refused(&machine, &["show", "key:none"], 3, "key `none`");
    refused(&machine, &["show", "@last"], 3, "stands for no job");
    refused(&machine, &["cancel", "video"], 2, "`video` does not name a job");
    refused(&machine, &["cancel"], 2, "name jobs");
    refused(&machine, &["help", "filterz"], 2, "did you mean `filters`?");
    refused(&machine, &["--context", "prod", "jobs"], 2, "there is no context `prod`");
    assert_eq!(machine.json(["jobs"]).as_array().map(Vec::len), Some(0));
}

#[test]
fn a_job_that_is_wrong_is_refused_before_anything_is_stored() {
    let machine = Machine::with_server();
    let large = "x".repeat(300 * 1024);
    std::fs::write(machine.path("work/large.json"), format!("\"{large}\"")).expect("written");
    refused(&machine, &["enqueue"], 2, "required");
    refused(&machine, &["enqueue", "bad name"], 2, "bad name");
    refused(&machine, &["enqueue", "x", "a:={"], 2, "not valid JSON");
    refused(&machine, &["enqueue", "x", "@nowhere.json"], 2, "nowhere.json");
    refused(&machine, &["enqueue", "x", "@large.json"], 2, "at most 262144 bytes");
    refused(&machine, &["enqueue", "x", "--in", "10"], 2, "10");
    refused(&machine, &["enqueue", "x", "--in", "3651d"], 2, "at most ten years (`3650d`)");
    refused(&machine, &["enqueue", "x", "--at", "noon"], 2, "noon");
    refused(
        &machine,
        &["enqueue", "x", "--at", "2999-01-01"],
        2,
        "at most ten years from now, `20",
    );
    refused(&machine, &["enqueue", "x", "-p", "urgent"], 2, "urgent");
    refused(&machine, &["enqueue", "x", "--retries", "9999"], 2, "retries must be 0 to 1000");
    refused(&machine, &["enqueue", "x", "--on-lost", "panic"], 2, "panic");
    refused(&machine, &["run", "--env", "NOT_SET_HERE", "--", "true"], 2, "NOT_SET_HERE");
    assert_eq!(machine.json(["jobs"]).as_array().map(Vec::len), Some(0));
    let key = ["enqueue", "x", "n=1", "--key", "k"];
    assert_eq!(machine.orx(key).code, 0);
    refused(&machine, &["enqueue", "x", "n=2", "--key", "k"], 4, "the key `k`");
}

#[test]
fn an_attempt_that_was_not_made_is_not_found() {
    let machine = Machine::with_server();
    assert_eq!(machine.orx(["enqueue", "nobody"]).code, 0);
    assert_eq!(machine.orx(["run", "--", "echo", "out"]).code, 0);
    for command in ["show", "wait", "logs", "result", "cancel"] {
        refused(&machine, &[command, "1.1"], 3, "there is no attempt `1.1`\n  hint: ");
        refused(&machine, &[command, "2.2"], 3, "hint: the last is `2.1`");
    }
    assert_eq!(machine.status("1"), "pending");
    assert_eq!(machine.orx(["wait", "2.1"]).code, 0);
    assert_eq!(machine.orx(["logs", "2.1"]).out, "out\n");
    assert!(machine.orx(["logs", "2.1", "-o", "jsonl"]).out.contains("\"job\":\"2\""));
}

#[test]
fn an_error_is_one_object_where_json_is_asked_for() {
    let machine = Machine::with_server();
    let missing = machine.orx(["show", "999", "-o", "json"]);
    let error: serde_json::Value = serde_json::from_str(&missing.err).expect("json");
    assert_eq!((missing.code, &error["error"]["code"]), (3, &"not_found".into()));
    assert!(error["error"]["request_id"].is_string());
    let job = machine.orx(["enqueue", "nobody", "-o", "id"]).out;
    for format in ["json", "jsonl"] {
        let late = machine.orx(["wait", job.trim(), "--timeout", "50ms", "-o", format]);
        let error: serde_json::Value = serde_json::from_str(&late.err).expect("json");
        assert_eq!((late.code, &error["error"]["code"]), (124, &"timed_out".into()), "{late:?}");
    }
    let mut bare = machine.command(["queue"]);
    let bare = result_of(bare.env("ORX_OUTPUT", "json").output().expect("orx runs"));
    assert!(bare.code == 2 && bare.err.contains("the subcommand is missing"), "{bare:?}");
    let words: [&[&str]; 4] =
        [&["jobz", "-o", "json"], &["jobz", "-ojson"], &["jobz", "--output=jsonl"], &["jobz"]];
    for args in words {
        let mut command = machine.command(args);
        let usage = result_of(command.env("ORX_OUTPUT", "json").output().expect("orx runs"));
        let error: serde_json::Value = serde_json::from_str(&usage.err).expect("json");
        assert_eq!((usage.code, &error["error"]["code"]), (2, &"usage".into()), "{args:?}");
        assert_eq!(error["error"]["hint"], "did you mean `jobs`?", "{args:?}");
    }
}

#[test]
fn a_token_that_is_missing_wrong_or_open_to_others_is_not_allowed() {
    let machine = Machine::with_server();
    let url = machine.url();
    let with = |token: &str| {
        let mut command = machine.command(["jobs"]);
        result_of(command.env("ORX_URL", &url).env("ORX_TOKEN", token).output().expect("orx runs"))
    };
    let known = read(machine.state().join("token")).trim().to_owned();
    assert_eq!(with(&known).code, 0);
    let mut wrong = known.clone();
    wrong.replace_range(wrong.len() - 1.., if wrong.ends_with('0') { "1" } else { "0" });
    assert_eq!(with(&wrong).code, 5);
    assert_eq!(with("nonsense").code, 5);
    let elsewhere = machine.path("elsewhere");
    let mut bare = machine.command(["jobs"]);
    let bare =
        result_of(bare.env("ORX_URL", &url).env("ORX_STATE", elsewhere).output().expect("runs"));
    assert_eq!(bare.code, 5, "{bare:?}");
    let token = machine.state().join("token");
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(&token, mode(0o644)).expect("chmod");
    refused(&machine, &["jobs"], 5, "other users can read");
    std::fs::set_permissions(&token, mode(0o600)).expect("chmod");
    assert!(!bare.err.contains(&known));
}

#[test]
fn a_wrong_configuration_is_refused_with_its_line() {
    let machine = Machine::new();
    let config = machine.path("orx.toml");
    let check = |text: &str| {
        std::fs::write(&config, text).expect("written");
        let path = config.display().to_string();
        result_of(
            machine.command(["config", "check", "--config", &path]).output().expect("orx runs"),
        )
    };
    let unknown = check("[server]\nlisen = \"127.0.0.1:1\"\n");
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("line 2") && unknown.err.contains("did you mean `listen`?"));
    assert_eq!(check("[worker]\nslots = 0\n").code, 2);
    assert_eq!(check("nonsense").code, 2);
    assert_eq!(check("[worker]\nslots = 3\n").code, 0);
    let path = config.display().to_string();
    assert_eq!(machine.json(["config", "check", "--config", &path])["file"], path);
    assert_eq!(machine.json(["config", "check"])["v"], 1);
    let nowhere = machine.orx(["config", "check", "--config", "/nowhere.toml"]);
    assert_eq!(nowhere.code, 2);
}

#[test]
fn a_server_that_cannot_start_prints_why_and_leaves_all_as_it_is() {
    let mut machine = Machine::with_server();
    let port = machine.url().rsplit(':').next().expect("a port").to_owned();
    let state = machine.state().display().to_string();
    let held = machine.orx(["daemon", "server", "--listen", "127.0.0.1:0"]);
    assert_eq!(held.code, 4, "{held:?}");
    assert!(held.err.contains("is held by another server") && held.err.contains(&state));
    let other = machine.path("other").display().to_string();
    let listen = format!("127.0.0.1:{port}");
    let in_use = machine.orx(["daemon", "server", "--listen", &listen, "--state", &other]);
    assert!(in_use.code == 1 && in_use.err.contains(&listen), "{in_use:?}");
    let open = machine.orx(["daemon", "server", "--listen", "0.0.0.0:0", "--state", &other]);
    assert!(open.code == 2 && open.err.contains("not on loopback"), "{open:?}");
    std::fs::write(machine.path("file"), "").expect("written");
    let file = machine.path("file/state").display().to_string();
    let no_folder = machine.orx(["daemon", "server", "--listen", "127.0.0.1:0", "--state", &file]);
    assert!(no_folder.code == 1 && no_folder.err.contains(&file), "{no_folder:?}");
    assert_eq!(machine.orx(["run", "--", "true"]).code, 0);
    assert_eq!(machine.stop(), 0);
}

#[test]
fn a_background_server_that_cannot_start_shows_its_own_reason_and_no_older_one() {
    let machine = Machine::new();
    std::fs::create_dir(machine.state()).expect("a folder");
    std::fs::write(machine.state().join("server.log"), "of an older server\n").expect("written");
    std::fs::write(machine.state().join("orx.db"), [7; 8192]).expect("written");
    let damaged = machine.orx(["run", "--", "true"]);
    assert!(damaged.code == 69 && damaged.err.contains("cause: error: the store `"), "{damaged:?}");
    assert!(!damaged.err.contains("of an older server"), "{damaged:?}");
    assert!(!damaged.err.contains("hint: `orx daemon server` starts one here"), "{damaged:?}");
    std::fs::write(machine.path("file"), "").expect("written");
    let file = machine.path("file/state").display().to_string();
    let mut command = machine.command(["enqueue", "x"]);
    let no_folder = result_of(command.env("ORX_STATE", &file).output().expect("orx runs"));
    assert!(no_folder.code == 69 && no_folder.err.contains(&file), "{no_folder:?}");
    assert!(no_folder.err.contains("hint: name another folder with `ORX_STATE`"), "{no_folder:?}");
}

#[test]
fn a_newer_or_damaged_store_is_left_alone() {
    let mut machine = Machine::with_server();
    assert_eq!(machine.orx(["run", "--", "true"]).code, 0);
    assert_eq!(machine.stop(), 0);
    let path = machine.state().join("orx.db");
    let good = std::fs::read(&path).expect("the store");
    let write = |at: u64, bytes: &[u8]| {
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).expect("the store");
        file.seek(SeekFrom::Start(at)).expect("a place");
        file.write_all(bytes).expect("written");
    };
    // The schema's number is in the header: https://www.sqlite.org/fileformat.html, offset 60.
    write(60, &99_u32.to_be_bytes());
    let newer = machine.orx(["daemon", "server", "--listen", "127.0.0.1:0"]);
    assert!(newer.code == 4 && newer.err.contains("schema 99"), "{newer:?}");
    let background = machine.orx(["run", "--", "true"]);
    assert!(background.code == 69 && background.err.contains("schema 99"), "{background:?}");
    let log = common::read(machine.state().join("server.log"));
    assert_eq!(log.matches("schema 99").count(), 1, "it is started once: {log}");
    write(0, b"this is no database at all, or no more");
    let damaged = machine.orx(["daemon", "server", "--listen", "127.0.0.1:0"]);
    assert!(damaged.code == 1 && damaged.err.contains("is damaged"), "{damaged:?}");
    let background = machine.orx(["run", "--", "true"]);
    assert!(background.code == 69 && background.err.contains("is damaged"), "{background:?}");
    std::fs::write(&path, good).expect("written");
    machine.start(&[]);
    assert_eq!(machine.status("1"), "completed");
}

#[test]
fn on_a_full_disk_nothing_is_accepted_and_all_goes_on_when_there_is_room() {
    let mut machine = Machine::new();
    let _disk = SmallDisk::at(&machine);
    let state = machine.state();
    machine.start(&[]);
    assert_eq!(machine.orx(["run", "--", "true"]).code, 0);
    let filler = state.join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    let large = format!("\"{}\"", "x".repeat(200 * 1024));
    let mut refusal = None;
    until("an enqueue is refused", || {
        let ran = machine.orx_in(["enqueue", "x", "-"], large.as_bytes());
        refusal = (ran.code != 0).then_some(ran);
        refusal.is_some()
    });
    let refusal = refusal.expect("a refusal");
    assert!(refusal.code == 75 && refusal.err.contains("disk of the store is full"), "{refusal:?}");
    let batch = format!("{{\"name\":\"x\",\"args\":{large}}}\n");
    let many = machine.orx_in(["enqueue", "--batch", "-"], batch.as_bytes());
    assert!(many.code == 75 && many.err.contains("disk of the store is full"), "{many:?}");
    let before = machine.json(["jobs"]).as_array().map(Vec::len);
    std::fs::remove_file(&filler).expect("removed");
    let again = machine.orx(["run", "--", "echo", "on"]);
    assert_eq!((again.code, again.out.as_str()), (0, "on\n"), "{}", machine.log());
    assert_eq!(machine.json(["jobs"]).as_array().map(Vec::len), before.map(|n| n + 1));
    assert_eq!(machine.stop(), 0, "{}", machine.log());
}

#[test]
fn a_folder_that_was_removed_under_a_command_is_named() {
    let machine = Machine::new();
    let gone = machine.path("work/gone");
    std::fs::create_dir(&gone).expect("a folder");
    let script = format!("cd gone; rmdir ../gone; exec {} run -- true", common::orx().display());
    let mut sh = std::process::Command::new("sh");
    sh.args(["-c", &script]).env_clear().current_dir(machine.path("work"));
    for (name, value) in machine.command([""; 0]).get_envs() {
        sh.env(name, value.unwrap_or_default());
    }
    let ran = common::result_of(sh.output().expect("sh runs"));
    assert!(ran.code != 0 && ran.err.contains("work/gone` was removed"), "{ran:?}");
}

#[test]
fn a_start_on_a_full_disk_reports_that_the_disk_is_full() {
    let machine = Machine::new();
    let _disk = SmallDisk::at(&machine);
    // Reading needs no disk space, but the shared memory of the store's connections does.
    assert_eq!(machine.orx(["run", "--", "true"]).code, 0);
    assert_eq!(machine.orx(["daemon", "stop"]).code, 0);
    let mut filler = std::fs::File::create(machine.state().join("filler")).expect("a file");
    while filler.write_all(&[0; 4096]).is_ok() {}
    let ran = machine.orx(["daemon", "server", "--listen", "127.0.0.1:0"]);
    assert!(ran.code == 75 && ran.err.contains("disk of the store is full"), "{ran:?}");
}
