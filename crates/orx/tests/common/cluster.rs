//! Coordinators, workers and their store as separate processes in a folder, which a test can kill, stop,
//! cut off and restart. They record their history for [`orx_testkit::history::check`].

#![allow(dead_code, reason = "each test file uses a part of it")]

#[path = "cluster_client.rs"]
mod client;
#[path = "link.rs"]
mod link;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use orx_testkit::history::{Bounds, Fact, History, How, check};
use orx_testkit::servers::{OwnPostgres, free_port, run};
use parking_lot::Mutex;

use crate::common::{SOON, is_running, orx, read, signal, until};
use link::NetworkLink;

/// Short, so that a fault can last longer than a lease; long enough for a busy machine.
const TIMES: &str = "
[cluster]
lease = \"4s\"
heartbeat = \"800ms\"
ask_after = \"2s\"
monitor = \"500ms\"
leader_lease = \"4s\"
leader_renew = \"1s\"
leader_margin = \"500ms\"
node_heartbeat = \"1s\"

[worker]
commands = true
kill_grace = \"1s\"

[defaults]
retries = 3
backoff = \"200ms\"
backoff_max = \"1s\"
";
pub(crate) const LEASE: Duration = Duration::from_secs(4);

pub(crate) fn bounds() -> Bounds {
    Bounds {
        lease: 4_000,
        heartbeat: 800,
        monitor: 500,
        kill_grace: 1_000,
        leader_lease: 4_000,
        follower_poll: 1_000,
        all_ended: 60_000,
        shutdown: 60_000,
        margin: 2_000,
        shared: ["c1", "c2", "db"].map(str::to_owned).into(),
        database: "db".to_owned(),
        unsynced: 1_000,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One coordinator.
    Sqlite,
    /// Two.
    Postgres,
}

pub(crate) struct Cluster {
    pub(crate) kind: Kind,
    folder: tempfile::TempDir,
    pub(crate) history: History,
    database: Option<Mutex<OwnPostgres>>,
    ports: Vec<u16>,
    coordinators: Vec<Mutex<Option<Child>>>,
    workers: Vec<Mutex<Option<Child>>>,
    link: Option<NetworkLink>,
    stop_grace: Duration,
    /// Records the end of job processes that were killed.
    watch: Option<Watch>,
}

struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Cluster {
    /// Starts the cluster with two workers. With `linked`, the second has its own network.
    pub(crate) fn start(kind: Kind, linked: bool) -> Self {
        Self::start_with(kind, linked, Duration::from_secs(2))
    }

    pub(crate) fn start_with(kind: Kind, linked: bool, stop_grace: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for inner in ["home", "work"] {
            std::fs::create_dir(folder.path().join(inner)).expect("a folder");
        }
        let count = if kind == Kind::Sqlite { 1 } else { 2 };
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let mut cluster = Self {
            kind,
            watch: None,
            history: History::new(folder.path().join("history.jsonl")),
            database: (kind == Kind::Postgres).then(|| Mutex::new(OwnPostgres::start())),
            coordinators: ports.iter().map(|_| Mutex::default()).collect(),
            workers: vec![Mutex::default(), Mutex::default()],
            link: linked.then(|| NetworkLink::make(&ports)),
            ports,
            stop_grace,
            folder,
        };
        cluster.write_files();
        cluster.watch = Some(Watch::begin(cluster.path("pids"), cluster.history.clone()));
        if let Some(database) = &cluster.database {
            let url = format!("{}/postgres", database.lock().url());
            let runtime = tokio_runtime();
            runtime.block_on(run(&url, "create database orx template template0 encoding 'UTF8'"));
        }
        for node in 0..count {
            cluster.start_coordinator(node);
            // The first creates the schema; the others would wait for it as well.
            cluster.await_coordinator(node);
        }
        for worker in 0..2 {
            cluster.start_worker(worker);
        }
        until("both workers are there", || cluster.live_workers() == 2);
        cluster
    }

    fn write_files(&self) {
        let history = self.history.path().display();
        let pids = self.path("pids");
        std::fs::create_dir(&pids).expect("a folder");
        // A signal to the whole group ends `date` too.
        let script = format!(
            "note() {{ t=; while [ -z \"$t\" ]; do t=$(date +%s%3N); done; printf \
             '{{\"at\":%s,\"fact\":{{\"%s\":{{\"job\":%s,\"execution\":\"%s\"}}}}}}\\n' \
             \"$t\" \"$1\" \"$ORX_JOB_ID\" \"$ORX_EXECUTION_ID\" >>'{history}'; }}\n\
             # $1: how long in seconds, or a file to wait for; $2: its exit code; $3: whether it\n\
             # ends on SIGTERM\n\
             if [ \"$3\" = deaf ]; then trap '' TERM; else trap 'note ended; exit 1' TERM; fi\n\
             echo $$ $ORX_JOB_ID >\"{0}/$ORX_EXECUTION_ID.new\"\n\
             note started\n\
             mv \"{0}/$ORX_EXECUTION_ID.new\" \"{0}/$ORX_EXECUTION_ID\"\n\
             case \"$1\" in\n\
             /*) until [ -e \"$1\" ]; do sleep 0.05; done ;;\n\
             *) sleep \"$1\" & wait $! ;;\n\
             esac\n\
             [ \"$3\" != deaf ] || sleep \"$1\"\n\
             note ended\n\
             exit \"$2\"\n",
            pids.display()
        );
        std::fs::write(self.path("job.sh"), script).expect("a script");
        let grace = self.stop_grace.as_millis();
        let store = match &self.database {
            Some(database) => format!("{}/orx", database.lock().url()),
            None => String::new(),
        };
        let times = TIMES.replace("kill_grace", &format!("stop_grace = \"{grace}ms\"\nkill_grace"));
        let hosts = self.link.as_ref().map(|link| format!("\"{}\"", link.host));
        let hosts = hosts.unwrap_or_default();
        let config = format!(
            "{times}\n[server]\nhosts = [{hosts}]\n\n[store]\nurl = \"{store}\"\n\n[handler.mark]\n\
             cmd = [\"sh\", \"{}\", \"{{args.time}}\", \"{{args.code}}\", \"no\"]\n",
            self.path("job.sh").display()
        );
        std::fs::write(self.path("config.toml"), config).expect("a configuration");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn url(&self, node: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[node])
    }

    pub(crate) fn nodes(&self) -> usize {
        self.ports.len()
    }

    fn base(&self) -> Command {
        let mut command = Command::new(orx());
        self.clean(&mut command);
        command
    }

    fn clean(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("ORX_CONFIG", self.path("config.toml"))
            .env("TZ", "UTC")
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
    }

    fn log(&self, who: &str) -> std::fs::File {
        let path = self.path(&format!("{who}.log"));
        std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a log")
    }

    pub(crate) fn start_coordinator(&self, node: usize) {
        let who = coordinator(node);
        let child = self
            .base()
            .args(["daemon", "coordinator", "--name", &who, "--listen"])
            .arg(format!("127.0.0.1:{}", self.ports[node]))
            .arg("--state")
            .arg(self.path(&who))
            .stdout(Stdio::null())
            .stderr(self.log(&who))
            .spawn();
        *self.coordinators[node].lock() = Some(child.expect("orx runs"));
    }

    pub(crate) fn await_coordinator(&self, node: usize) {
        let who = coordinator(node);
        until(&format!("{who} is ready"), || {
            if !is_running(self.pid(&who)) {
                let log = self.log_of(&who);
                let unavailable =
                    log.lines().rev().take(4).any(|line| line.contains("is unavailable"));
                assert!(unavailable, "{who} ended: {log}");
                // As a service manager does while the database is not up yet.
                self.start_coordinator(node);
            }
            self.ask(node, &["cluster", "status", "-o", "json"]).code == 0
        });
    }

    pub(crate) fn start_worker(&self, worker: usize) {
        let who = worker_name(worker);
        let linked = self.link.as_ref().filter(|_| worker == 1);
        let mut command = match linked {
            Some(link) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &link.name]).arg(orx());
                self.clean(&mut command);
                command
            }
            None => self.base(),
        };
        command.args(["daemon", "worker", "--name", &who, "--slots", "4", "--token-file"]);
        command.arg(self.path("c1/token"));
        for (node, port) in self.ports.iter().enumerate() {
            let url = match linked {
                Some(link) => format!("http://{}:{}", link.host, link.ports[node]),
                None => format!("http://127.0.0.1:{port}"),
            };
            command.args(["--coordinator", &url]);
        }
        let child = command.stdout(Stdio::null()).stderr(self.log(&who)).spawn();
        *self.workers[worker].lock() = Some(child.expect("orx runs"));
    }

    fn slot(&self, who: &str) -> &Mutex<Option<Child>> {
        let number: usize = who[1..].parse().expect("a number");
        match &who[..1] {
            "c" => &self.coordinators[number - 1],
            _ => &self.workers[number - 1],
        }
    }

    fn pid(&self, who: &str) -> u32 {
        self.slot(who).lock().as_ref().map(Child::id).expect("it runs")
    }

    pub(crate) fn kill(&self, who: &str) {
        let how = How::Killed;
        self.history.add(Fact::Down { who: who.to_owned(), how });
        if who == "db" {
            self.database.as_ref().expect("a database").lock().kill();
            return;
        }
        let mut child = self.slot(who).lock().take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    pub(crate) fn restart(&self, who: &str) {
        match (&who[..1], who[1..].parse::<usize>()) {
            ("c", Ok(number)) => {
                self.start_coordinator(number - 1);
                self.await_coordinator(number - 1);
            }
            ("w", Ok(number)) => self.start_worker(number - 1),
            _ => self.database.as_ref().expect("a database").lock().restart(),
        }
        self.history.add(Fact::Back { who: who.to_owned() });
    }

    /// Suspends the process: connections stay open, and nothing answers.
    pub(crate) fn stop(&self, who: &str) {
        self.history.add(Fact::Down { who: who.to_owned(), how: How::Stopped });
        match &self.database {
            Some(database) if who == "db" => database.lock().freeze(),
            _ => signal(self.pid(who), "STOP"),
        }
    }

    pub(crate) fn resume(&self, who: &str) {
        match &self.database {
            Some(database) if who == "db" => database.lock().thaw(),
            _ => signal(self.pid(who), "CONT"),
        }
        self.history.add(Fact::Back { who: who.to_owned() });
    }

    /// The second worker's network.
    pub(crate) fn cut(&self) {
        self.history.add(Fact::Down { who: "w2".to_owned(), how: How::Cut });
        self.link.as_ref().expect("a link").set("down");
    }

    pub(crate) fn heal(&self) {
        self.link.as_ref().expect("a link").set("up");
        self.history.add(Fact::Back { who: "w2".to_owned() });
    }

    /// Sends SIGTERM; [`Self::ended`] records the end.
    pub(crate) fn terminate(&self, who: &str) {
        self.history.add(Fact::StopSignal { who: who.to_owned() });
        signal(self.pid(who), "TERM");
    }

    /// Its exit code, once it has ended after [`Self::terminate`].
    pub(crate) fn ended(&self, who: &str) -> i32 {
        let mut child = self.slot(who).lock().take().expect("it runs");
        let limit = Instant::now() + SOON + Duration::from_secs(10);
        let code = loop {
            if let Some(status) = child.try_wait().expect("a status") {
                break status.code().unwrap_or(-1);
            }
            if Instant::now() > limit {
                child.kill().expect("killed");
                child.wait().expect("ended");
                panic!("{who} did not end: {}", self.log_of(who));
            }
            pause(Duration::from_millis(10));
        };
        self.history.add(Fact::Exited { who: who.to_owned() });
        code
    }

    pub(crate) fn log_of(&self, who: &str) -> String {
        read(self.path(&format!("{who}.log")))
    }

    /// # Panics
    /// With every broken promise and the jobs that show it.
    pub(crate) fn check(&self, bounds: &Bounds) {
        let (records, view) = (self.history.read(), self.view());
        if let Err(broken) = check(&records, &view, bounds) {
            let lines: Vec<String> =
                view.iter().map(|job| serde_json::to_string(job).expect("json")).collect();
            std::fs::write(self.path("view.jsonl"), lines.join("\n")).expect("written");
            panic!("{broken}");
        }
    }

    /// Moves the files of a failed test to a lasting folder.
    fn keep(&self) {
        static KEPT: AtomicU32 = AtomicU32::new(0);
        let number = KEPT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("orx-faults-{}-{number}", std::process::id()));
        let list = self.ask(0, &["jobs", "--limit", "100000", "-o", "jsonl"]);
        drop(std::fs::write(self.path("jobs.jsonl"), list.bytes));
        drop(std::fs::create_dir_all(&folder));
        for entry in std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                drop(std::fs::copy(entry.path(), folder.join(entry.file_name())));
            }
        }
        let ran = format!("history and logs of all are in {}\n", folder.display());
        drop(std::io::stderr().write_all(ran.as_bytes()));
    }
}

impl Watch {
    fn begin(pids: PathBuf, history: History) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Acquire) {
                for entry in std::fs::read_dir(&pids).into_iter().flatten().flatten() {
                    let Ok(execution) = entry.file_name().to_string_lossy().parse() else {
                        continue;
                    };
                    let text = read(entry.path());
                    let mut words = text.split_whitespace();
                    let (Some(pid), Some(job)) = (words.next(), words.next()) else { continue };
                    if is_running(pid.parse().expect("a pid")) {
                        continue;
                    }
                    history.add(Fact::Ended { job: job.parse().expect("an id"), execution });
                    std::fs::remove_file(entry.path()).expect("removed");
                }
                pause(Duration::from_millis(100));
            }
        });
        Self { over, thread }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.over.store(true, Ordering::Release);
            drop(watch.thread.join());
        }
        if std::thread::panicking() {
            self.keep();
        }
        for slot in self.workers.iter().chain(&self.coordinators) {
            if let Some(mut child) = slot.lock().take() {
                // Also one that is stopped.
                drop(child.kill());
                drop(child.wait());
            }
        }
    }
}

/// Runs a future to its end; other threads unpark this one.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

pub(crate) fn coordinator(node: usize) -> String {
    format!("c{}", node + 1)
}

pub(crate) fn worker_name(worker: usize) -> String {
    format!("w{}", worker + 1)
}

pub(crate) fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
