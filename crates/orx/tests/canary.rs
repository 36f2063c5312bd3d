//! Secrets do not leak: a canary in args, environment, command line, token, URL and standard input appears
//! in no log, view, error or metric.

mod common;

use std::io::{Read, Write};

use common::{CommandResult, Machine, read, result_of, until};

/// Each place has its own canary, so that a failing line names the place that leaked.
const CANARIES: [&str; 9] = [
    "c4n4ry-arg",
    "c4n4ry-deep",
    "c4n4ry-env",
    "c4n4ry-dsn",
    "c4n4ry-word",
    "c4n4ry-url",
    "c4n4ry-stdin",
    "c4n4ry-plain-token",
    // A token must look valid to get past the check of its form.
    "0c4a4e40c4a4e40c4a4e40c4a4e40c4a4e40c4a4e40c4a4e40c4a4e40c4a4e40",
];

fn clean(what: &str, text: &str) {
    // In base64 too, as standard input is stored.
    let stdin = "YzRuNHJ5LXN0ZGlu";
    for canary in CANARIES.into_iter().chain([stdin]) {
        assert!(!text.contains(canary), "`{canary}` is in {what}:\n{text}");
    }
}

struct Canary {
    machine: Machine,
    token: String,
}

impl Canary {
    /// Runs a command with canaries in its environment, and checks all that it prints.
    fn orx(&self, args: &[&str], env: &[(&str, &str)], input: &str) -> CommandResult {
        let mut command = self.machine.command(args);
        command.arg("-v").envs(env.iter().copied());
        command.stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("orx runs");
        // A command that does not read its input closes the pipe.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let ran = result_of(child.wait_with_output().expect("orx ends"));
        clean(&format!("{args:?}, {env:?}"), &format!("{}\n{}", ran.out, ran.err));
        ran
    }

    fn quiet(&self, args: &[&str]) -> i32 {
        self.orx(args, &[], "").code
    }

    fn http(&self, path: &str) -> String {
        let url = self.machine.url();
        let host = url.trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(host).expect("connected");
        let token = &self.token;
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    }
}

#[test]
fn a_canary_put_in_every_place_for_secrets_turns_up_nowhere() {
    let mut machine = Machine::new();
    let config = "[handler.greet]\ncmd = [\"sh\", \"-c\", \"exit 4\", \"{args.who}\"]\n\
                  [job.greet]\nretries = 0\n\
                  [job.gone]\nretries = 0\n\
                  [handler.gone]\ncmd = [\"/nowhere/at/all\", \"{args.password}\"]\n";
    std::fs::write(machine.path("orx.toml"), config).expect("written");
    let path = machine.path("orx.toml").display().to_string();
    machine.start(&["--config", &path, "-v"]);
    let token = read(machine.state().join("token")).trim().to_owned();
    let canary = Canary { machine, token };

    // Args of jobs that succeed, that fail, without a handler, and invalid ones.
    let deep = "db:={\"nested\":[{\"api_key\":\"c4n4ry-deep\"}],\"dsn\":\"pg://u:c4n4ry-dsn@h/d\"}";
    let args = ["password=c4n4ry-arg", deep];
    for name in ["orx.noop", "greet", "gone"] {
        let mut all = vec!["enqueue", name, "who=x", "--wait"];
        all.extend(args);
        canary.quiet(&all);
    }
    let mut unhandled = vec!["enqueue", "nobody"];
    unhandled.extend(args);
    canary.quiet(&unhandled);
    let large = format!("@{}", canary.machine.path("large.json").display());
    let text = format!("{{\"password\":\"c4n4ry-arg{}\"}}", "x".repeat(300 * 1024));
    std::fs::write(canary.machine.path("large.json"), text).expect("written");
    for wrong in ["password:={\"c4n4ry-arg\"", "password:=c4n4ry-arg", &large] {
        assert_eq!(canary.quiet(&["enqueue", "greet", wrong]), 2);
    }
    let json = "{\"token\":\"c4n4ry-stdin\"}";
    canary.orx(&["enqueue", "greet", "-", "--wait"], &[], json);
    assert_eq!(canary.orx(&["enqueue", "greet", "-"], &[], "{\"token\":\"c4n4ry-stdin").code, 2);
    let batch = "{\"name\":\"greet\",\"args\":{\"secret\":\"c4n4ry-stdin\"}}\n\
                 {\"name\":\"bad name\",\"args\":{\"secret\":\"c4n4ry-stdin\"}}\n\
                 {\"name\":\"greet\",\"args\":{\"secret\":\"c4n4ry-stdin\"\n";
    canary.orx(&["enqueue", "--batch", "-"], &[], batch);
    let key = ["enqueue", "greet", "password=c4n4ry-arg", "--key", "k"];
    canary.quiet(&key);
    let other = ["enqueue", "greet", "password=c4n4ry-arg2", "--key", "k"];
    assert_eq!(canary.quiet(&other), 4);

    // Commands: environment, words, standard input; one that fails, one that is not there, one that
    // is stopped.
    let env = [("API_TOKEN", "c4n4ry-env"), ("DATABASE_URL", "pg://u:c4n4ry-dsn@h/d")];
    for (script, timeout) in [("cat >/dev/null", "9s"), ("exit 3", "9s"), ("sleep 60", "1s")] {
        let args = [
            "run",
            "--stdin",
            "--env",
            "API_TOKEN",
            "--env",
            "DATABASE_URL",
            "--job-timeout",
            timeout,
            "--",
            "sh",
            "-c",
            script,
            "sh",
            "--password=c4n4ry-word",
            "--token",
            "c4n4ry-word",
            "http://u:c4n4ry-url@h/",
        ];
        canary.orx(&args, &env, "c4n4ry-stdin");
    }
    let gone =
        ["run", "--env", "API_TOKEN", "--stdin", "--", "/nowhere/at/all", "KEY_TOKEN=c4n4ry-word"];
    assert_eq!(canary.orx(&gone, &env, "c4n4ry-stdin").code, 127);

    // Tokens: wrong ones, in the environment and in a place for ids.
    let wrong = format!("orx_admin_0123456789abcdef_{}", CANARIES[8]);
    let url = canary.machine.url();
    for token in ["c4n4ry-plain-token", &wrong] {
        let env = [("ORX_TOKEN", token), ("ORX_URL", &url)];
        for format in ["table", "json"] {
            assert_eq!(canary.orx(&["jobs", "-o", format], &env, "").code, 5);
        }
        canary.quiet(&["token", "revoke", token.split('_').next().unwrap_or("x")]);
    }
    assert_eq!(canary.quiet(&["token", "revoke", &wrong]), 2);
    let file = canary.machine.path("new.token").display().to_string();
    assert_eq!(canary.quiet(&["token", "create", "--scope", "read", "--out", &file]), 0);

    // Addresses with a password: by flag, environment and context; reachable or not.
    let with_user = url.replace("://", "://user:c4n4ry-url@");
    for url in [
        &*with_user,
        "http://user:c4n4ry-url@127.0.0.1:1",
        "https://c4n4ry-url@127.0.0.1:1/",
        "http://user:c4n4ry-url/x@127.0.0.1:1",
        "user:c4n4ry-url@127.0.0.1:1",
    ] {
        for format in ["table", "json"] {
            assert_eq!(canary.quiet(&["jobs", "--url", url, "-o", format]), 2);
            assert_eq!(canary.orx(&["jobs", "-o", format], &[("ORX_URL", url)], "").code, 2);
        }
        let file = canary.machine.path("context.toml");
        std::fs::write(&file, format!("[context.x]\nurl = \"{url}\"\n")).expect("written");
        let file = file.display().to_string();
        for args in [["config", "check"], ["config", "show"]] {
            let ran = canary.orx(&[args[0], args[1], "--config", &file], &[], "");
            assert_eq!(ran.code, 2);
        }
    }
    let down = [("ORX_URL", "http://127.0.0.1:1"), ("ORX_TOKEN", "c4n4ry-plain-token")];
    assert_eq!(canary.orx(&["jobs"], &down, "").code, 69);

    // Every view, once these jobs have ended.
    until("the jobs have ended", || {
        let ran = canary.machine.orx(["jobs", "--status", "running,dispatched", "-o", "id"]);
        ran.code == 0 && ran.out.is_empty()
    });
    let ids = canary.machine.orx(["jobs", "-o", "id", "--all"]).out;
    assert!(ids.lines().count() >= 10, "{ids}");
    for format in ["table", "wide", "json", "jsonl", "tsv", "id"] {
        for view in
            ["jobs --all", "dlq list", "queue list", "worker list", "cluster status", "token list"]
        {
            let mut args: Vec<&str> = view.split(' ').collect();
            args.extend(["-o", format]);
            assert_eq!(canary.quiet(&args), 0, "{args:?}");
        }
        for id in ids.lines() {
            canary.quiet(&["show", id, "-o", format]);
            canary.quiet(&["logs", id, "-o", format]);
            canary.quiet(&["wait", id, "-o", format, "--timeout", "10ms"]);
        }
    }
    // A filter must not reveal by its matches what a view masks.
    for filter in ["arg.password:c4n4ry*", "arg.db:*c4n4ry*", "c4n4ry"] {
        let ran = canary.machine.orx(["jobs", "--filter", filter, "-o", "id"]);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{filter}");
    }
    let jobs = canary.http("/api/v1/jobs?limit=100");
    assert!(jobs.starts_with("HTTP/1.1 200"), "{jobs}");
    clean("/api/v1/jobs", &jobs);
    let shown: Vec<String> =
        ids.lines().map(|id| canary.http(&format!("/api/v1/jobs/{id}"))).collect();
    assert!(shown.iter().any(|job| job.contains("***")), "{shown:?}");
    shown.iter().for_each(|job| clean("a job", job));
    for path in ["/metrics", "/admin/v1/dead-letters", "/admin/v1/workers", "/admin/v1/tokens"] {
        clean(path, &canary.http(path));
    }
    clean("/api/v1/jobs", &jobs);
    let address = read(canary.machine.state().join("server.json"));
    clean("the address file", &address);
    let secret = canary.token.rsplit('_').next().expect("a secret").to_owned();
    let (log, mut machine) = (canary.machine.log(), canary.machine);
    assert!(log.contains("ready"), "{log}");
    assert_eq!(machine.stop(), 0);
    clean("the server's log", &machine.log());
    assert!(!machine.log().contains(&secret));
}
