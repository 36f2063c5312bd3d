//! A command that waits for a job of a fleet continues at another coordinator, and reports what delays
//! jobs in its store.

mod common;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use common::{Machine, get, read, signal, two_nodes, until};
use orx_testkit::servers::{OwnPostgres, SmallTablespace, TestDatabase};

/// A command with output and messages that can be read while it runs.
struct Client {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Client {
    fn start(machine: &Machine, name: &str, args: &[&str]) -> Self {
        let (out, err) =
            (machine.path(&format!("{name}.out")), machine.path(&format!("{name}.err")));
        let file = |path: &PathBuf| File::create(path).expect("a file");
        let mut command = machine.command(args);
        let command = command.stdout(file(&out)).stderr(file(&err));
        Self { child: command.spawn().expect("orx runs"), out, err }
    }

    fn reports(&self, what: &str) {
        until(what, || read(&self.err).contains(what));
    }

    fn ended(mut self) -> (Option<i32>, String, String) {
        (self.child.wait().expect("ended").code(), read(&self.out), read(&self.err))
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two coordinators on one database, a worker at the second, and a configuration that names both, the
/// first one first.
struct Fleet {
    first: Machine,
    second: Machine,
    config: String,
    _worker: Killed,
    _database: TestDatabase,
}

impl Fleet {
    async fn start() -> Self {
        let database = TestDatabase::new().await;
        let (first, second) = two_nodes(&database.url(), "");
        let mut worker = second.command(["daemon", "worker", "--name", "w1"]);
        let worker = Killed(worker.stderr(Stdio::null()).spawn().expect("orx runs"));
        until("the worker is there", || {
            second.json(["worker", "list"]).as_array().is_some_and(|list| list.len() == 1)
        });
        // Both machines made a token: each node knows both.
        let path = first.path("fleet.toml");
        let token = first.state().join("token");
        let text = format!(
            "[context.fleet]\nurls = [\"{}\", \"{}\"]\ntoken_file = \"{}\"\n",
            first.url(),
            second.url(),
            token.display()
        );
        std::fs::write(&path, text).expect("written");
        let config = path.to_str().expect("text").to_owned();
        Self { first, second, config, _worker: worker, _database: database }
    }

    fn client(&self, name: &str, args: &[&str]) -> Client {
        let mut all = vec!["--config", &self.config, "--context", "fleet"];
        all.extend(args);
        Client::start(&self.first, name, &all)
    }

    /// `run`, `wait` and `logs -f` of one job, which ends once a file exists.
    fn clients(&self) -> Vec<Client> {
        let go = self.first.path("work/go");
        let script =
            format!("echo one; until [ -e {} ]; do sleep 0.02; done; echo two", go.display());
        let run = self.client("run", &["run", "--", "sh", "-c", &script]);
        until("it runs", || {
            let err = read(&run.err);
            assert!(!err.contains("error"), "{err}");
            read(&run.out).contains("one")
        });
        let id = self.second.orx(["jobs", "-o", "id"]).out;
        let logs = self.client("logs", &["logs", "-f", id.trim()]);
        let wait = self.client("wait", &["wait", id.trim()]);
        until("it follows", || read(&logs.out).contains("one"));
        vec![run, logs, wait]
    }

    fn goes_on(&self, clients: Vec<Client>) {
        std::fs::write(self.first.path("work/go"), "").expect("written");
        for (client, out) in clients.into_iter().zip(["one\ntwo\n", "one\ntwo\n", "1 completed\n"])
        {
            let (code, ran, err) = client.ended();
            assert_eq!((code, ran.as_str()), (Some(0), out), "{err}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_command_continues_at_the_next_coordinator_when_the_first_is_killed() {
    let mut fleet = Fleet::start().await;
    let clients = fleet.clients();
    fleet.first.kill();
    for client in &clients[..2] {
        client.reports("reconnected");
    }
    fleet.goes_on(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_command_learns_that_a_coordinator_is_stopping_and_continues_at_the_next() {
    let mut fleet = Fleet::start().await;
    let clients = fleet.clients();
    signal(fleet.first.address_pid().expect("a server"), "TERM");
    for client in &clients[..2] {
        client.reports("the server is stopping");
    }
    assert_eq!(fleet.first.stop(), 0, "{}", fleet.first.log());
    fleet.goes_on(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_database_and_its_end_show_in_the_status_and_to_waiting_commands() {
    let server = OwnPostgres::start();
    let database = TestDatabase::on(&server.url()).await;
    let small = SmallTablespace::on(&server.url(), 32).await;
    small.take(&database).await;
    let mut machine = Machine::new();
    let path = machine.path("pg.toml");
    std::fs::write(&path, format!("[store]\nurl = \"{}\"\n", database.url())).expect("written");
    machine.start(&["--config", path.to_str().expect("text")]);
    assert_eq!(machine.orx(["enqueue", "nobody", "-o", "id"]).out, "1\n");
    let waits = Client::start(&machine, "wait", &["wait", "1"]);
    let follows = Client::start(&machine, "logs", &["logs", "-f", "1"]);
    let attention = || {
        machine.json(["cluster", "status"])["attention"]
            .to_string()
            .contains("disk of the store is full")
    };
    let ready = || get(&machine, "/readyz");
    assert!(!attention() && ready().contains(" 200 "));
    let filler = small.fill();
    // The tables have some free space, until it is used up.
    let large = format!("text={}", "x".repeat(100_000));
    let mut refused = machine.orx(["enqueue", "nobody", &large]);
    for _ in 0..200 {
        if refused.code != 0 {
            break;
        }
        refused = machine.orx(["enqueue", "nobody", &large]);
    }
    assert!(refused.code == 75 && refused.err.contains("disk of the store is full"), "{refused:?}");
    for client in [&waits, &follows] {
        client.reports("store is full");
    }
    assert!(attention(), "{}", machine.log());
    assert!(ready().contains(" 507 "), "{}", ready());
    std::fs::remove_file(&filler).expect("removed");
    for client in [&waits, &follows] {
        client.reports("accepts writes again");
    }
    until("nothing stands in the way", || !attention());
    assert!(ready().contains(" 200 "));
    assert_eq!(machine.orx(["enqueue", "nobody", &large]).code, 0);
    assert_eq!(machine.orx(["cancel", "1"]).code, 0);
    for client in [waits, follows] {
        assert_eq!(client.ended().0, Some(6));
    }
}
