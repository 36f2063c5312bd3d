//! Power loss under load: every acknowledged write is there afterwards.
//!
//! The files of the store lie on a file system of their own, in an image on a loop device, which is
//! shut down in the middle of enqueues and cancels: from that moment nothing reaches the image, data
//! in memory is lost, and every call fails. Then the test kills the daemons and mounts the image again,
//! which replays its journal, and a new daemon opens the store.
//!
//! This shows that the store syncs the right files and folders before it responds. It does not cover a
//! disk that reports a sync it has not done, or one that tears a sector.
//!
//! Only the test's own processes see the mount, in a mount namespace, so the test needs root,
//! `mkfs.xfs`, `mkfs.ext4` and `xfs_io`, which `tests/run` installs.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{orx, read, result_of, signal, until};
use orx_testkit::servers::{free_port, pg_program};
use parking_lot::Mutex;

/// A shell in its own mount namespace, which runs everything that uses the disk.
struct DiskNamespace {
    shell: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    started: Vec<u32>,
}

impl DiskNamespace {
    fn new(mkfs: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut shell = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let stdin = shell.stdin.take().expect("a pipe");
        let stdout = BufReader::new(shell.stdout.take().expect("a pipe"));
        let mut namespace = Self { shell, stdin, stdout, folder, started: Vec::new() };
        namespace.must(&format!("mkdir disk && truncate -s 400M image && {mkfs} image"));
        namespace.must("mount -o loop image disk && chmod 777 . disk");
        namespace
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Its exit code, and what it printed.
    fn run(&mut self, line: &str) -> (i32, String) {
        let script = format!("{{ {line}\n}} 2>&1; echo \"=$?\"\n");
        self.stdin.write_all(script.as_bytes()).expect("the shell listens");
        let mut text = String::new();
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).expect("the shell answers");
            assert!(read > 0, "the shell has ended: {text}");
            match line.trim_end().rsplit_once('=').and_then(|(_, code)| code.parse().ok()) {
                Some(code) if line.starts_with('=') => return (code, text),
                _ => text.push_str(&line),
            }
        }
    }

    /// # Panics
    /// Where the command fails.
    fn must(&mut self, line: &str) {
        let (code, text) = self.run(line);
        assert!(
            code == 0,
            "no disk whose power can be cut: `{line}`: {text}\nThe test needs root, loop devices, \
             xfsprogs and e2fsprogs, and a kernel with xfs and ext4."
        );
    }

    /// Starts a program that uses the disk, and returns its process.
    fn start(&mut self, line: &str, log: &str) -> u32 {
        let (code, text) = self.run(&format!("{line} >>{log} 2>&1 & echo $! >pid"));
        assert_eq!(code, 0, "{text}");
        let pid = read(self.folder.path().join("pid")).trim().parse().expect("a pid");
        self.started.push(pid);
        pid
    }

    fn kill_all(&mut self) {
        for pid in self.started.drain(..) {
            signal(pid, "KILL");
        }
    }

    fn lose_power(&mut self) {
        self.must("xfs_io -x -c shutdown disk");
    }

    fn power_is_back(&mut self) {
        until("no process holds the disk", || self.run("umount disk").0 == 0);
        self.must("mount -o loop image disk");
    }

    fn log(&self, name: &str) -> String {
        read(self.folder.path().join(name))
    }
}

impl Drop for DiskNamespace {
    fn drop(&mut self) {
        self.kill_all();
        // The mount, and its loop device, end with the last of its processes.
        drop(self.shell.kill());
        drop(self.shell.wait());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Power {
    #[default]
    On,
    /// A sync in progress may report success with data only in memory: a property of this kind of shutdown,
    /// not of disks.
    Failing,
    Off,
}

/// The acknowledged writes, except those whose sync may have been in progress at the power loss.
#[derive(Default)]
struct Answered {
    power: Power,
    jobs: BTreeMap<String, String>,
    cancelled: BTreeSet<String>,
    /// Requests without a response.
    unanswered: usize,
}

impl Answered {
    /// Whether a request sent under this power and acknowledged now must survive.
    fn counts(&self, asked_under: Power) -> bool {
        self.power == Power::On || asked_under == Power::Off
    }

    fn job(&mut self, asked_under: Power, id: &str, key: String) -> bool {
        let counts = self.counts(asked_under);
        if counts {
            self.jobs.insert(id.to_owned(), key);
        }
        counts
    }
}

struct Server {
    port: u16,
    token: String,
}

impl Server {
    fn start(namespace: &mut DiskNamespace, state: &Path, store: &str) -> Self {
        let port = free_port();
        let orx = orx();
        let line = format!(
            "env -i PATH=\"$PATH\" HOME={0} ORX_STORE_URL={store} {1} daemon server --listen \
             127.0.0.1:{port} --state {2}",
            namespace.folder.path().display(),
            orx.display(),
            state.display()
        );
        let pid = namespace.start(&line, "server.log");
        let mut token = String::new();
        until("the server is ready", || {
            assert!(common::is_running(pid), "{}", namespace.log("server.log"));
            // Only the shell sees the disk.
            let path = state.join("token");
            token =
                namespace.run(&format!("cat {} 2>/dev/null", path.display())).1.trim().to_owned();
            let server = Self { port, token: token.clone() };
            !token.is_empty() && server.ask(&["cluster", "status"]).code == 0
        });
        Self { port, token }
    }

    fn ask(&self, args: &[&str]) -> common::CommandResult {
        let mut command = Command::new("timeout");
        command.args(["5"]).arg(orx()).args(args).env_clear();
        command.env("ORX_URL", format!("http://127.0.0.1:{}", self.port));
        command.env("ORX_TOKEN", &self.token).env("HOME", "/nonexistent").stdin(Stdio::null());
        result_of(command.output().expect("orx runs"))
    }

    /// Enqueues and cancels until the end; a failed request was not acknowledged.
    fn load(&self, answered: &Mutex<Answered>, over: &AtomicBool, who: usize) {
        let mut number = 0;
        while !over.load(Ordering::Acquire) {
            number += 1;
            let key = format!("key-{who}-{number}");
            // Some run, some wait for a handler that no worker has.
            let name = if number % 3 == 0 { "nobody.does" } else { "noop" };
            let power = answered.lock().power;
            let enqueued = self.ask(&["enqueue", name, "--key", &key, "-o", "id"]);
            if enqueued.code != 0 {
                answered.lock().unanswered += 1;
                continue;
            }
            let id = enqueued.out.trim().to_owned();
            if !answered.lock().job(power, &id, key) {
                continue;
            }
            if number % 2 == 0 {
                let power = answered.lock().power;
                let cancelled = self.ask(&["cancel", &id, "-o", "jsonl"]);
                let mut answered = answered.lock();
                let counts = cancelled.code == 0 && answered.counts(power);
                if counts && cancelled.out.contains("\"cancelled\"") {
                    answered.cancelled.insert(id);
                }
            }
        }
    }

    /// Checks that every acknowledged write is there.
    fn check(&self, answered: &Answered, round: usize) {
        let list = self.ask(&["jobs", "--limit", "100000", "-o", "json"]);
        let list: serde_json::Value = serde_json::from_str(&list.out).expect("json");
        let known: BTreeMap<String, &serde_json::Value> = list
            .as_array()
            .expect("a list")
            .iter()
            .map(|job| (job["id"].to_string(), job))
            .collect();
        for (id, key) in &answered.jobs {
            let job = known.get(id);
            let job =
                job.unwrap_or_else(|| panic!("round {round}: job {id} was answered and is gone"));
            assert_eq!(job["key"], *key, "round {round}: job {id} is another");
        }
        for id in &answered.cancelled {
            assert_eq!(known[id]["status"], "cancelled", "round {round}: job {id}");
        }
    }
}

/// Loses power a few times under load.
fn rounds(namespace: &mut DiskNamespace, mut begin: impl FnMut(&mut DiskNamespace) -> Server) {
    let answered = Mutex::new(Answered::default());
    for round in 0..3 {
        let server = begin(namespace);
        server.check(&answered.lock(), round);
        let over = AtomicBool::new(false);
        let before = answered.lock().jobs.len();
        std::thread::scope(|scope| {
            for who in 0..3 {
                let (server, answered, over) = (&server, &answered, &over);
                scope.spawn(move || server.load(answered, over, round * 10 + who));
            }
            until("much was answered", || answered.lock().jobs.len() >= before + 60 + round * 17);
            answered.lock().power = Power::Failing;
            namespace.lose_power();
            {
                let mut answered = answered.lock();
                (answered.power, answered.unanswered) = (Power::Off, 0);
            }
            // Responses sent meanwhile, without power, count as well.
            until("the loss is felt", || answered.lock().unanswered > 0);
            over.store(true, Ordering::Release);
        });
        namespace.kill_all();
        namespace.power_is_back();
        answered.lock().power = Power::On;
    }
    let server = begin(namespace);
    let answered = answered.lock();
    server.check(&answered, 3);
    assert!(answered.cancelled.len() > 10, "too little happened to show anything");
}

fn on_sqlite(mkfs: &str) {
    let mut namespace = DiskNamespace::new(mkfs);
    let state = namespace.disk().join("state");
    rounds(&mut namespace, |namespace| Server::start(namespace, &state, "''"));
}

fn on_postgres(mkfs: &str) {
    let mut namespace = DiskNamespace::new(mkfs);
    let (data, state) = (namespace.disk().join("pg"), namespace.folder.path().join("state"));
    let as_nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups";
    let initdb = pg_program("initdb");
    namespace.must(&format!(
        "mkdir {0} && chown nobody:nogroup {0} && {as_nobody} {1} -D {0} -U orx -A trust -E UTF8 \
         --locale=C.UTF-8 >initdb.log",
        data.display(),
        initdb.display()
    ));
    let mut made = false;
    rounds(&mut namespace, |namespace| {
        let port = free_port();
        let line = format!(
            "{as_nobody} {} -D {} -p {port} -c listen_addresses=127.0.0.1 -c \
             unix_socket_directories=",
            pg_program("postgres").display(),
            data.display()
        );
        let pid = namespace.start(&line, "pg.log");
        let url = format!("postgres://orx@127.0.0.1:{port}");
        until("the database is there", || {
            assert!(common::is_running(pid), "{}", namespace.log("pg.log"));
            let ready = Command::new(pg_program("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
                .status();
            ready.is_ok_and(|status| status.success())
        });
        if !made {
            let psql = pg_program("psql");
            namespace.must(&format!("{} {url}/postgres -qc 'create database orx'", psql.display()));
            made = true;
        }
        Server::start(namespace, &state, &format!("{url}/orx"))
    });
}

#[test]
fn writes_acknowledged_on_sqlite_survive_power_loss_on_xfs() {
    on_sqlite("mkfs.xfs -q -f");
}

#[test]
fn what_sqlite_answered_survives_the_loss_of_power_on_ext4() {
    on_sqlite("mkfs.ext4 -q -F");
}

#[test]
fn writes_acknowledged_on_postgres_survive_power_loss_on_xfs() {
    on_postgres("mkfs.xfs -q -f");
}

#[test]
fn what_postgres_answered_survives_the_loss_of_power_on_ext4() {
    on_postgres("mkfs.ext4 -q -F");
}
