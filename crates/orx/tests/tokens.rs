//! Tokens through the real binary: created, shown once, used, listed, revoked.

mod common;

use common::{CommandResult, Machine, read, result_of, until};

/// A caller with this token and nothing else.
fn with(machine: &Machine, token: &str, args: &[&str]) -> CommandResult {
    let mut command = machine.command(args);
    command.env("ORX_URL", machine.url()).env("ORX_TOKEN", token);
    result_of(command.env("ORX_STATE", machine.path("elsewhere")).output().expect("orx runs"))
}

fn token(machine: &Machine, scope: &str) -> String {
    let made = machine.orx(["token", "create", "--scope", scope, "--note", "test"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.out.starts_with("orx_") && made.out.lines().count() == 1, "{made:?}");
    assert!(!made.err.contains(made.out.trim()), "{made:?}");
    made.out.trim().to_owned()
}

/// All tokens except those of nodes.
fn tokens(machine: &Machine) -> Vec<serde_json::Value> {
    let mut list = machine.json(["token", "list"]).as_array().cloned().expect("a list");
    list.retain(|one| !one["note"].as_str().is_some_and(|note| note.starts_with("node ")));
    list
}

fn id(token: &str) -> &str {
    token.split('_').nth(2).expect("an id")
}

#[test]
fn a_token_allows_its_scopes_and_no_more() {
    let machine = Machine::with_server();
    assert_eq!(machine.orx(["enqueue", "orx.noop", "password=canary", "--wait"]).code, 0);
    let (reader, service) = (token(&machine, "read"), token(&machine, "service"));
    let (exec, worker) = (token(&machine, "service,exec"), token(&machine, "worker"));
    let node = token(&machine, "node");
    let code = |token: &str, args: &[&str]| with(&machine, token, args).code;
    assert_eq!((code(&reader, &["jobs"]), code(&reader, &["enqueue", "x"])), (0, 5));
    assert_eq!((code(&service, &["enqueue", "x"]), code(&service, &["queue", "list"])), (0, 5));
    assert_eq!(code(&service, &["run", "--", "true"]), 5);
    assert_eq!(code(&exec, &["run", "--", "sh", "-c", "exit 3"]), 3);
    for token in [&worker, &node] {
        for args in [
            ["enqueue", "x"].as_slice(),
            &["jobs"],
            &["show", "1"],
            &["result", "1"],
            &["logs", "1"],
            &["wait", "1"],
            &["cancel", "1"],
            &["token", "list"],
        ] {
            let ran = with(&machine, token, args);
            assert!(ran.code == 5 && !ran.err.contains("canary"), "{args:?}: {ran:?}");
        }
    }
    for token in [&reader, &service, &exec] {
        assert_eq!(code(token, &["token", "create", "--scope", "read"]), 5);
    }
    let not_allowed = with(&machine, &reader, &["enqueue", "x"]);
    assert!(not_allowed.err.contains("scope `service`"), "{not_allowed:?}");
}

#[test]
fn a_revoked_token_is_refused_at_once_and_an_expired_one_in_its_time() {
    let machine = Machine::with_server();
    let revoked = token(&machine, "read");
    assert_eq!(with(&machine, &revoked, &["jobs"]).code, 0);
    let ran = machine.orx(["token", "revoke", id(&revoked)]);
    assert_eq!((ran.code, ran.out.as_str()), (0, &*format!("revoked {}\n", id(&revoked))));
    assert_eq!(with(&machine, &revoked, &["jobs"]).code, 5);
    let made = machine.orx(["token", "create", "--scope", "read", "--expires", "6s"]);
    let ends = made.out.trim();
    assert_eq!(with(&machine, ends, &["jobs"]).code, 0);
    until("the token has expired", || with(&machine, ends, &["jobs"]).code == 5);
    let list = tokens(&machine);
    let states: Vec<&str> = list.iter().filter_map(|one| one["state"].as_str()).collect();
    assert_eq!(states, ["valid", "revoked", "expired"]);
    assert!(list[1]["last_used_at"].is_string(), "{list:?}");
}

#[test]
fn a_follower_whose_token_is_revoked_is_let_go() {
    let machine = Machine::with_server();
    let reader = token(&machine, "read");
    machine.orx(["run", "--detach", "--", "sleep", "60"]);
    let mut command = machine.command(["logs", "-f", "1"]);
    command.env("ORX_URL", machine.url()).env("ORX_TOKEN", &reader);
    let mut following = command.spawn().expect("orx runs");
    until("it follows", || {
        let list = machine.json(["token", "list"]);
        list.as_array().is_some_and(|all| {
            all.iter().any(|one| one["id"] == id(&reader) && one["last_used_at"].is_string())
        })
    });
    machine.orx(["token", "revoke", id(&reader)]);
    assert_eq!(following.wait().expect("it ends").code(), Some(5));
}

#[test]
fn a_token_goes_into_a_new_file_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::with_server();
    let path = machine.path("ci.token").display().to_string();
    let made = machine.orx(["token", "create", "--scope", "read", "--out", &path]);
    assert!(made.code == 0 && made.out.is_empty() && made.err.contains(&path), "{made:?}");
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = read(&path);
    assert_eq!(with(&machine, text.trim(), &["jobs"]).code, 0);
    let again = machine.orx(["token", "create", "--scope", "read", "--out", &path]);
    assert!(again.code == 4 && again.err.contains("exists already"), "{again:?}");
    assert_eq!(read(&path), text);
    // A rejected request creates no token and no file.
    assert_eq!(tokens(&machine).len(), 2);
    let other = machine.path("other.token").display().to_string();
    let wrong = machine.orx(["token", "create", "--scope", "raed", "--out", &other]);
    assert!(wrong.code == 2 && wrong.err.contains("did you mean `read`?"), "{wrong:?}");
    assert!(!machine.path("other.token").exists());
    for fields in ["id", "id,tokn"] {
        let args = ["token", "create", "--scope", "read", "-o", "json", "--fields", fields];
        let lost = machine.orx(args);
        assert!(lost.code == 2 && lost.out.is_empty(), "{fields}: {lost:?}");
    }
    assert_eq!(tokens(&machine).len(), 2);
    let lost = machine.orx(["token", "create", "--scope", "read", "-o", "id"]);
    assert_eq!(lost.code, 2, "{lost:?}");
    let config = format!("[context.here]\nurl = \"{}\"\ntoken_file = \"{path}\"\n", machine.url());
    std::fs::write(machine.path("orx.toml"), config).expect("written");
    let file = machine.path("orx.toml").display().to_string();
    assert_eq!(machine.orx(["--config", &file, "-c", "here", "jobs"]).code, 0);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
    let open = machine.orx(["--config", &file, "-c", "here", "jobs"]);
    assert!(open.code == 5 && open.err.contains("chmod 600"), "{open:?}");
}

#[test]
fn the_last_admin_token_cannot_be_revoked_and_no_token_is_shown_again() {
    let machine = Machine::with_server();
    let known = read(machine.state().join("token")).trim().to_owned();
    let last = machine.orx(["token", "revoke", id(&known)]);
    assert!(last.code == 4 && last.err.contains("last valid token"), "{last:?}");
    assert_eq!(machine.orx(["token", "revoke", "0000000000000000"]).code, 3);
    let whole = machine.orx(["token", "revoke", &known]);
    let secret = known.rsplit('_').next().expect("a secret");
    assert!(whole.code == 2 && !whole.err.contains(secret), "{whole:?}");
    for format in ["table", "wide", "json", "jsonl", "tsv", "id"] {
        let list = machine.orx(["token", "list", "-o", format]);
        assert!(list.code == 0 && list.out.contains(id(&known)), "{format}: {list:?}");
        assert!(!list.out.contains(secret), "{format}: {list:?}");
    }
}

#[test]
fn a_caller_that_guesses_tokens_must_wait_and_one_that_has_one_need_not() {
    let machine = Machine::with_server();
    assert_eq!(machine.orx(["jobs"]).code, 0);
    let wrong = format!("orx_admin_{}_{}", "0".repeat(16), "0".repeat(64));
    let mut last = None;
    until("the address is rate limited", || {
        let ran = with(&machine, &wrong, &["jobs"]);
        let waits = ran.code == 75;
        assert!(waits || ran.code == 5, "{ran:?}");
        last = Some(ran);
        waits
    });
    let last = last.expect("ran");
    assert!(last.err.contains("too many wrong tokens"), "{last:?}");
    assert_eq!(machine.orx(["jobs"]).code, 0);
    assert!(machine.log().contains("the address is rate limited"), "{}", machine.log());
}
