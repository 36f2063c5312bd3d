//! Coordinators, workers and their store as processes of their own, in a folder: to be killed,
//! stopped, cut off from each other and started again. All that happens is written down for
//! [`orx_testkit::history::check`].

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use orx_model::wire::JobDetail;
use orx_testkit::history::{Bounds, Fact, History, How, check};
use orx_testkit::servers::{OwnPostgres, free_port, run};
use parking_lot::Mutex;

use crate::common::{SOON, Said, is_running, orx, read, said, signal, until};

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
/// A client gives up after this: what it asked for may have been done.
const ANSWER: Duration = Duration::from_secs(4);

pub(crate) fn bounds() -> Bounds {
    Bounds {
        lease: 4_000,
        heartbeat: 800,
        monitor: 500,
        kill_grace: 1_000,
        leader_lease: 4_000,
        follower_poll: 1_000,
        settle: 60_000,
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
    link: Option<Link>,
    stop_grace: Duration,
    /// Tells of jobs whose processes are gone, and were not asked.
    watch: Option<Watch>,
}

struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Cluster {
    /// Running and ready, with two workers. The second has a network of its own if `linked`.
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
            link: linked.then(|| Link::make(&ports)),
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
            // The first makes what the others find; they would wait for it as well.
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
            "say() {{ t=; while [ -z \"$t\" ]; do t=$(date +%s%3N); done; printf \
             '{{\"at\":%s,\"fact\":{{\"%s\":{{\"job\":%s,\"execution\":\"%s\"}}}}}}\\n' \
             \"$t\" \"$1\" \"$ORX_JOB_ID\" \"$ORX_EXECUTION_ID\" >>'{history}'; }}\n\
             # $1: how long in seconds, or a file to wait for; $2: its exit code; $3: whether it\n\
             # heeds what it is told\n\
             if [ \"$3\" = deaf ]; then trap '' TERM; else trap 'say ended; exit 1' TERM; fi\n\
             echo $$ $ORX_JOB_ID >\"{0}/$ORX_EXECUTION_ID.new\"\n\
             say started\n\
             mv \"{0}/$ORX_EXECUTION_ID.new\" \"{0}/$ORX_EXECUTION_ID\"\n\
             case \"$1\" in\n\
             /*) until [ -e \"$1\" ]; do sleep 0.05; done ;;\n\
             *) sleep \"$1\" & wait $! ;;\n\
             esac\n\
             [ \"$3\" != deaf ] || sleep \"$1\"\n\
             say ended\n\
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
                let away = log.lines().rev().take(4).any(|line| line.contains("is away"));
                assert!(away, "{who} ended: {log}");
                // As what starts daemons does, where their database comes later.
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
        self.history.add(Fact::Away { who: who.to_owned(), how });
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

    /// It takes what comes, and answers nothing.
    pub(crate) fn stop(&self, who: &str) {
        self.history.add(Fact::Away { who: who.to_owned(), how: How::Stopped });
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
        self.history.add(Fact::Away { who: "w2".to_owned(), how: How::Cut });
        self.link.as_ref().expect("a link").set("down");
    }

    pub(crate) fn heal(&self) {
        self.link.as_ref().expect("a link").set("up");
        self.history.add(Fact::Back { who: "w2".to_owned() });
    }

    /// SIGTERM, and its end is written down by whoever [`Self::ended`] is called by.
    pub(crate) fn tell(&self, who: &str) {
        self.history.add(Fact::Told { who: who.to_owned() });
        signal(self.pid(who), "TERM");
    }

    /// Its exit code, once it has ended after [`Self::tell`].
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

    pub(crate) fn client(&self, node: usize, args: &[&str]) -> Command {
        let mut command = self.base();
        command
            .args(args)
            .env("ORX_URL", self.url(node))
            .env("ORX_TOKEN", read(self.path("c1/token")).trim())
            .env("ORX_STATE", self.path("client"));
        command
    }

    /// What a node says, or code -1 where it says nothing in time.
    pub(crate) fn ask(&self, node: usize, args: &[&str]) -> Said {
        let mut child = self
            .client(node, args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("orx runs");
        // It says little enough for a pipe, but for lists, which are read while it runs.
        let (pid, over) = (child.id(), Instant::now() + ANSWER);
        let done = std::sync::atomic::AtomicBool::new(false);
        let mut killed = false;
        let output = std::thread::scope(|scope| {
            let done = &done;
            let watch = scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    if Instant::now() > over {
                        signal(pid, "KILL");
                        return true;
                    }
                    pause(Duration::from_millis(5));
                }
                false
            });
            let mut output = (Vec::new(), Vec::new());
            use std::io::Read;
            if let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) {
                out.read_to_end(&mut output.0).expect("read");
                err.read_to_end(&mut output.1).expect("read");
            }
            let status = child.wait().expect("ended");
            done.store(true, Ordering::Release);

            killed = watch.join().expect("the watch");
            std::process::Output { status, stdout: output.0, stderr: output.1 }
        });
        let mut answer = said(output);
        if killed {
            answer.code = -1;
        }
        answer
    }

    pub(crate) fn json(&self, args: &[&str]) -> Option<serde_json::Value> {
        (0..self.nodes()).find_map(|node| {
            let mut all = args.to_vec();
            all.extend(["-o", "json"]);
            serde_json::from_str(&self.ask(node, &all).out).ok()
        })
    }

    pub(crate) fn show(&self, job: &str) -> JobDetail {
        let mut found = None;
        until(&format!("job {job} is shown"), || {
            found = (0..self.nodes()).find_map(|node| {
                let said = self.ask(node, &["show", job, "-o", "json"]);
                serde_json::from_str(&said.out).ok()
            });
            found.is_some()
        });
        found.expect("a job")
    }

    pub(crate) fn status(&self, job: &str) -> String {
        self.show(job).job.status.to_string()
    }

    pub(crate) fn live_workers(&self) -> usize {
        let list = self.json(&["worker", "list"]);
        let list = list.and_then(|list| list.as_array().cloned()).unwrap_or_default();
        list.iter().filter(|worker| worker["live"] == true).count()
    }

    /// Every job, with its attempts, in the end.
    pub(crate) fn view(&self) -> Vec<JobDetail> {
        let mut ids = Vec::new();
        until("the jobs are listed", || {
            let list = self.ask(0, &["jobs", "--limit", "100000", "-o", "id"]);
            ids = list.out.split_whitespace().map(str::to_owned).collect();
            list.code == 0
        });
        ids.iter().map(|id| self.show(id)).collect()
    }

    /// Writes down what is seen of every job.
    pub(crate) fn look(&self) {
        let Some(list) = self.json(&["jobs", "--limit", "100000"]) else { return };
        for job in list.as_array().into_iter().flatten() {
            let seen = serde_json::json!({"seen": {
                "job": job["id"], "status": job["status"], "attempt": job["attempt"]
            }});
            self.history.add(serde_json::from_value(seen).expect("a fact"));
        }
    }

    /// Who leads, in the words of one node.
    pub(crate) fn leader(&self, node: usize) -> Option<(String, u64)> {
        let said = self.ask(node, &["cluster", "status", "-o", "json"]);
        let status: serde_json::Value = serde_json::from_str(&said.out).ok()?;
        let nodes = status["nodes"].as_array()?;
        let leads = nodes.iter().find(|node| node["node"] == status["leader"])?;
        Some((leads["name"].as_str()?.to_owned(), status["epoch"].as_u64()?))
    }

    pub(crate) fn note_leader(&self, node: usize) {
        if let Some((who, epoch)) = self.leader(node) {
            self.history.add(Fact::Leads { who, epoch });
        }
    }

    /// A job that says when it starts and ends; answers its id where it was accepted.
    pub(crate) fn enqueue(
        &self,
        node: usize,
        key: &str,
        seconds: &str,
        code: &str,
    ) -> Option<String> {
        let (time, code) = (format!("time={seconds}"), format!("code={code}"));
        let args = ["enqueue", "mark", &time, &code, "--key", key, "-o", "id"];
        self.accepted(node, key, &args)
    }

    /// The same as a command given with its job. Instead of seconds it takes a file: the job ends
    /// once that is there.
    pub(crate) fn detach(
        &self,
        node: usize,
        key: &str,
        seconds: &str,
        how: &str,
    ) -> Option<String> {
        let script = self.path("job.sh");
        let script = script.to_str().expect("a path");
        let run = ["run", "--no-start", "--detach", "--key", key];
        let args: Vec<&str> =
            run.into_iter().chain(["--", "sh", script, seconds, "0", how]).collect();
        self.accepted(node, key, &args)
    }

    fn accepted(&self, node: usize, key: &str, args: &[&str]) -> Option<String> {
        let answer = self.ask(node, args);
        let key = key.to_owned();
        let job = answer.out.trim().to_owned();
        match answer.code {
            0 => {
                let id = job.parse().unwrap_or_else(|error| panic!("{error}: {answer:?}"));
                self.history.add(Fact::Accepted { key, job: id });
                return Some(job);
            }
            2..=5 => self.history.add(Fact::Refused { key }),
            _ => self.history.add(Fact::Unanswered { key }),
        }
        None
    }

    pub(crate) fn cancel(&self, node: usize, job: &str) {
        let answer = self.ask(node, &["cancel", job, "-o", "jsonl"]);
        let Ok(answer) = serde_json::from_str::<serde_json::Value>(&answer.out) else { return };
        let id = job.parse().expect("an id");
        match answer["change"].as_str() {
            Some("cancelled") => self.history.add(Fact::Cancelled { job: id }),
            Some("cancelling") => self.history.add(Fact::Cancelling { job: id }),
            _ => {}
        }
    }

    /// Whether every job has ended.
    pub(crate) fn is_settled(&self) -> bool {
        let Some(status) = self.json(&["cluster", "status"]) else { return false };
        let counts = &status["counts"];
        ["created", "pending", "scheduled", "dispatched", "running"]
            .iter()
            .all(|status| counts.get(status).is_none_or(|count| *count == 0))
    }

    /// # Panics
    /// With every promise that was broken, and what the daemons said.
    pub(crate) fn check(&self, bounds: &Bounds) {
        let (records, view) = (self.history.read(), self.view());
        if let Err(broken) = check(&records, &view, bounds) {
            let lines: Vec<String> =
                view.iter().map(|job| serde_json::to_string(job).expect("json")).collect();
            std::fs::write(self.path("view.jsonl"), lines.join("\n")).expect("written");
            panic!("{broken}");
        }
    }

    /// Puts what a failed test leaves where it stays.
    fn keep(&self) {
        static KEPT: AtomicU32 = AtomicU32::new(0);
        let number = KEPT.fetch_add(1, Ordering::Relaxed);
        let kept = std::env::temp_dir().join(format!("orx-faults-{}-{number}", std::process::id()));
        let list = self.ask(0, &["jobs", "--limit", "100000", "-o", "jsonl"]);
        drop(std::fs::write(self.path("jobs.jsonl"), list.bytes));
        drop(std::fs::create_dir_all(&kept));
        for entry in std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                drop(std::fs::copy(entry.path(), kept.join(entry.file_name())));
            }
        }
        let said = format!("history and logs of all are in {}\n", kept.display());
        drop(std::io::stderr().write_all(said.as_bytes()));
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

/// To its end: a thread that is parked is woken by others.
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

/// A network of its own for one worker, with one cable to this one. Coordinators listen on loopback
/// alone: at this end of the cable a relay passes on to them.
struct Link {
    name: String,
    cable: String,
    host: IpAddr,
    ports: Vec<u16>,
}

static LINKS: AtomicU32 = AtomicU32::new(0);

impl Link {
    /// # Panics
    /// Where the kernel, or the rights of the one who tests, give no network namespaces: what they
    /// would show is not shown then.
    fn make(ports: &[u16]) -> Self {
        let number = LINKS.fetch_add(1, Ordering::Relaxed);
        let id = (std::process::id() % 4_000) * 4 + number % 4;
        let octet = |bits: u32| u8::try_from(bits & 255).expect("a byte");
        let host = Ipv4Addr::new(100, 64 + octet(id >> 14), octet(id >> 6), octet(id << 2) + 1);
        let peer = Ipv4Addr::new(100, 64 + octet(id >> 14), octet(id >> 6), octet(id << 2) + 2);
        let (name, cable) = (format!("orx-{id}"), format!("orxa{id}"));
        let other = format!("orxb{id}");
        // One of a process that was killed.
        drop(Command::new("ip").args(["link", "del", &cable]).output());
        drop(Command::new("ip").args(["netns", "del", &name]).output());
        ip(&["netns", "add", &name]);
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", &other, "netns", &name]);
        ip(&["addr", "add", &format!("{host}/30"), "dev", &cable]);
        ip(&["link", "set", &cable, "up"]);
        ip(&["-n", &name, "addr", "add", &format!("{peer}/30"), "dev", &other]);
        ip(&["-n", &name, "link", "set", &other, "up"]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        let relays = ports.iter().map(|port| relay(host, *port)).collect();
        Self { name, cable, host: IpAddr::V4(host), ports: relays }
    }

    fn set(&self, state: &str) {
        ip(&["link", "set", &self.cable, state]);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Its cable goes with it.
        drop(Command::new("ip").args(["netns", "del", &self.name]).output());
        drop(Command::new("ip").args(["link", "del", &self.cable]).output());
    }
}

fn ip(args: &[&str]) {
    let done = Command::new("ip").args(args).output();
    let why = match &done {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    panic!(
        "no network namespaces here: `ip {}`: {why}. Links between daemons are cut with them: run \
         the tests as root, with iproute2, on a kernel that has them",
        args.join(" ")
    );
}

/// Ends with this process: its threads hold nothing but connections.
fn relay(host: Ipv4Addr, port: u16) -> u16 {
    let listener = TcpListener::bind((host, 0)).expect("the end of the cable");
    let own = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
                drop((client.set_nodelay(true), server.set_nodelay(true)));
                let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else { return };
                let asks = std::thread::spawn(move || carry(from, to));
                carry(server, client);
                drop(asks.join());
            });
        }
    });
    own
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    drop(std::io::copy(&mut from, &mut to));
    drop(to.flush());
    drop((to.shutdown(std::net::Shutdown::Both), from.shutdown(std::net::Shutdown::Both)));
}
