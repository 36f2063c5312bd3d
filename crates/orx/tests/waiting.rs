//! A command that waits for a job reports what delays the job, and continues at the next server.

mod common;

use std::fs::File;
use std::io::{BufRead as _, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{Machine, SmallDisk, get, is_running, read, signal, until};

/// A command with its messages in a file, readable while it runs.
struct Waiter {
    child: Child,
    err: PathBuf,
}

fn wait(machine: &Machine, name: &str, args: &[&str]) -> Waiter {
    let err = machine.path(name);
    let mut command = machine.command(args);
    let file = File::create(&err).expect("a file");
    let child = command.stdout(Stdio::null()).stderr(file).spawn().expect("orx runs");
    Waiter { child, err }
}

impl Waiter {
    fn reports(&self, what: &str) {
        until(what, || read(&self.err).contains(what));
    }

    /// Whether the command has a connection to the server.
    fn is_connected(&self) {
        let fds = format!("/proc/{}/fd", self.child.id());
        until("it is connected", || {
            let tcp = read("/proc/net/tcp");
            let inode =
                |line: &str| line.split_whitespace().nth(9).map(|n| format!("socket:[{n}]"));
            let connected: Vec<String> = tcp.lines().filter_map(inode).collect();
            let Ok(open) = std::fs::read_dir(&fds) else { return false };
            let links = open.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
            links.map(|to| to.to_string_lossy().into_owned()).any(|to| connected.contains(&to))
        });
    }

    fn code(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().expect("ended").code();
        (code, read(&self.err))
    }
}

#[test]
fn a_wait_goes_on_with_the_next_server_though_the_first_dies_before_it_has_answered() {
    let mut machine = Machine::with_server();
    assert_eq!(machine.orx(["enqueue", "nobody", "-o", "id"]).out, "1\n");
    let waits = wait(&machine, "wait", &["wait", "1"]);
    waits.is_connected();
    machine.kill();
    waits.reports("reconnecting");
    machine.start(&[]);
    waits.reports("reconnected");
    assert_eq!(machine.orx(["cancel", "1"]).code, 0);
    let (code, err) = waits.code();
    assert_eq!(code, Some(6), "{err}");
}

#[test]
fn a_waiting_command_learns_at_once_that_the_server_is_stopping() {
    let mut machine = Machine::with_server();
    let script = "while ! test -e go; do sleep 0.05; done";
    let run = ["run", "--", "sh", "-c", script];
    let runs = wait(&machine, "run", &run);
    until("it runs", || machine.orx(["show", "1"]).code == 0 && machine.status("1") == "running");
    assert_eq!(machine.orx(["enqueue", "nobody", "-o", "id"]).out, "2\n");
    let waits = wait(&machine, "wait", &["wait", "2"]);
    let follows = wait(&machine, "logs", &["logs", "-f", "2"]);
    for waiter in [&waits, &follows] {
        waiter.is_connected();
    }
    let server = machine.address_pid().expect("a server");
    signal(server, "TERM");
    for waiter in [&runs, &waits, &follows] {
        waiter.reports("the server is stopping");
    }
    assert!(is_running(server), "what runs has its grace");
    assert!(get(&machine, "/readyz").contains(" 503 "));
    std::fs::write(machine.path("work/go"), "").expect("written");
    let (code, err) = runs.code();
    assert_eq!(code, Some(0), "{err}");
    until("it has ended", || !is_running(server));
    machine.start(&[]);
    assert_eq!(machine.orx(["cancel", "2"]).code, 0);
    for waiter in [waits, follows] {
        let (code, err) = waiter.code();
        assert_eq!(code, Some(6), "{err}");
        assert_eq!(err.matches("stopping").count(), 1, "{err}");
    }
}

#[test]
fn a_full_disk_and_its_end_show_in_the_status_and_to_waiting_commands() {
    let mut machine = Machine::new();
    let _disk = SmallDisk::at(&machine);
    let state = machine.state();
    machine.start(&[]);
    assert_eq!(machine.orx(["enqueue", "nobody", "-o", "id"]).out, "1\n");
    let waits = wait(&machine, "wait", &["wait", "1"]);
    let follows = wait(&machine, "logs", &["logs", "-f", "1"]);
    // The job prints all the time, and continues even if its output is lost.
    let script = "while ! test -e go; do head -c 50000 /dev/zero; sleep 0.1; done; echo end";
    let prints = machine.orx(["run", "--detach", "--", "sh", "-c", script]).out;
    until("it runs", || machine.status(prints.trim()) == "running");
    let attention = || {
        let status = machine.json(["cluster", "status"]);
        status["attention"].to_string().contains("disk of the store is full")
    };
    assert!(!attention() && get(&machine, "/readyz").contains(" 200 "));
    let filler = state.join("filler");
    let mut file = File::create(&filler).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
    for waiter in [&waits, &follows] {
        waiter.reports("store is full");
    }
    assert!(attention() && get(&machine, "/readyz").contains(" 507 "));
    drop(file);
    std::fs::remove_file(&filler).expect("removed");
    for waiter in [&waits, &follows] {
        waiter.reports("accepts writes again");
    }
    until("nothing stands in the way", || !attention());
    assert!(get(&machine, "/readyz").contains(" 200 "));
    std::fs::write(machine.path("work/go"), "").expect("written");
    assert_eq!(machine.orx(["wait", prints.trim()]).code, 0, "{}", machine.log());
    assert_eq!(machine.orx(["cancel", "1"]).code, 0);
    for waiter in [waits, follows] {
        let (code, err) = waiter.code();
        assert_eq!(code, Some(6), "{err}");
    }
}

/// A log chunk that the store's table rejects represents any chunk that cannot be stored.
#[test]
fn output_that_the_store_cannot_take_delays_no_outcome_and_is_marked() {
    let machine = Machine::with_server();
    let script = "while ! test -e go; do echo line; sleep 0.01; done";
    let prints = machine.orx(["run", "--detach", "--", "sh", "-c", script]).out;
    let prints = prints.trim();
    until("it prints", || !machine.orx(["logs", prints]).out.is_empty());
    let sql = |text: &str| {
        let python = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=30); \
                      db.executescript(sys.argv[2]); db.commit()";
        let store = machine.state().join("orx.db");
        let done = Command::new("python3").args(["-c", python]).arg(store).arg(text).output();
        let done = done.expect("python3 runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    sql(&format!(
        "create trigger refuse before insert on logs when new.job = {prints} \
         and length(new.bytes) > 0 begin select raise(abort, 'refused'); end"
    ));
    until("its output is refused", || machine.log().contains("output is dropped"));
    for _ in 0..5 {
        let other = machine.orx(["run", "--", "echo", "other"]);
        assert_eq!((other.code, other.out.as_str()), (0, "other\n"), "{}", machine.log());
    }
    assert_eq!(machine.status(prints), "running");
    std::fs::write(machine.path("work/go"), "").expect("written");
    assert_eq!(machine.orx(["wait", prints, "--timeout", "30s"]).code, 0, "{}", machine.log());
    until("what is missing is marked", || {
        let logs = machine.json(["logs", prints]);
        let dropped = |part: &serde_json::Value| part["dropped_bytes"].as_u64() > Some(0);
        logs.as_array().is_some_and(|parts| parts.iter().any(dropped))
    });
}

/// A server that rejects every request.
fn refuses(detail: &str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let problem = orx_model::Problem::new(orx_model::Code::Unavailable, detail);
    let body = serde_json::to_string(&problem).expect("json");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = std::io::BufReader::new(stream.try_clone().expect("a stream"));
            let mut line = String::new();
            while request.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                line.clear();
            }
            let answer = format!(
                "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            // The client may have disconnected.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn a_command_that_waits_at_a_busy_server_reports_that_and_not_an_outage() {
    let machine = Machine::new();
    let url = refuses("10 requests wait or follow already, which is the most");
    for command in [&["wait", "1"][..], &["logs", "-f", "1"]] {
        let mut args = vec!["--url", &url];
        args.extend(command);
        let mut waits = wait(&machine, command[0], &args);
        waits.reports("10 requests wait or follow already, which is the most");
        assert!(!read(&waits.err).contains("lost the connection"), "{}", read(&waits.err));
        waits.child.kill().expect("killed");
        waits.child.wait().expect("ended");
    }
}
