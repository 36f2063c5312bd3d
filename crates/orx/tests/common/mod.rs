//! A user's machine in a folder: an empty home, a state folder, and the real binary.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Time limit for every expected event, also on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The binary: the one that `ORX_BIN` names, which is the release build in `tests/run`.
pub(crate) fn orx() -> PathBuf {
    std::env::var_os("ORX_BIN").map_or_else(|| env!("CARGO_BIN_EXE_orx").into(), PathBuf::from)
}

pub(crate) struct Machine {
    folder: tempfile::TempDir,
    server: Option<Child>,
    /// The daemons of this machine read a clock that is set by [`Machine::set_clock`].
    clock: bool,
}

/// The output and end of a command, which a failing test prints whole.
#[derive(Debug)]
pub(crate) struct CommandResult {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) bytes: Vec<u8>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for inner in ["home", "work"] {
            std::fs::create_dir(folder.path().join(inner)).expect("a folder");
        }
        Self { folder, server: None, clock: false }
    }

    /// A machine with a server, which is killed at the end.
    pub(crate) fn with_server() -> Self {
        let mut machine = Self::new();
        machine.start(&[]);
        machine
    }

    /// A machine with a server of this configuration.
    pub(crate) fn with_config(text: &str) -> Self {
        let mut machine = Self::new();
        machine.configure(text);
        machine.start(&[]);
        machine
    }

    /// A machine with daemons on an adjustable clock.
    pub(crate) fn with_clock() -> Self {
        let mut machine = Self::new();
        machine.clock = true;
        machine.set_clock(0);
        machine
    }

    /// Sets the clock of its daemons forward by this many seconds.
    pub(crate) fn set_clock(&self, offset: i64) {
        let (new, file) = (self.path("clock.new"), self.path("clock"));
        std::fs::write(&new, format!("{offset:+}")).expect("a file");
        std::fs::rename(new, file).expect("a file");
    }

    /// The environment of daemons beside that of every command.
    fn daemon_env(&self, command: &mut Command) {
        if self.clock {
            command
                .env("LD_PRELOAD", faketime())
                .env("FAKETIME_TIMESTAMP_FILE", self.path("clock"))
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A command with none of the caller's environment but the path of programs.
    pub(crate) fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(orx());
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("ORX_STATE", self.state())
            .env("TZ", "UTC")
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        command
    }

    /// Writes the configuration for all later processes.
    pub(crate) fn configure(&self, text: &str) {
        let folder = self.path("home/.config/orx");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("config.toml"), text).expect("written");
    }

    /// Runs a command to its end.
    pub(crate) fn orx(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> CommandResult {
        result_of(self.command(args).output().expect("orx runs"))
    }

    /// Starts a command; [`ended`] waits for its end.
    pub(crate) fn begin(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Child {
        begin(&mut self.command(args))
    }

    /// Runs a command with this standard input.
    pub(crate) fn orx_in<const N: usize>(&self, args: [&str; N], input: &[u8]) -> CommandResult {
        use std::io::Write;
        let mut child = begin(self.command(args).stdin(Stdio::piped()));
        let mut pipe = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        let writing = std::thread::spawn(move || {
            // A command that does not read its input closes the pipe.
            let _ = pipe.write_all(&input);
        });
        let ran = ended(child);
        writing.join().expect("the writer");
        ran
    }

    /// A machine with a coordinator on the state folder, and no worker.
    pub(crate) fn coordinate(&mut self, listen: &str) {
        self.coordinate_with(listen, &[]);
    }

    pub(crate) fn coordinate_with(&mut self, listen: &str, more: &[&str]) {
        self.spawn(&["daemon", "coordinator", "--listen", listen], more);
    }

    /// A machine with a coordinator of this name on a PostgreSQL, and further configuration.
    pub(crate) fn coordinate_on(&mut self, store: &str, name: &str, more: &str) {
        self.configure(&format!("[store]\nurl = \"{store}\"\n{more}"));
        self.coordinate_with("127.0.0.1:0", &["--name", name]);
    }

    pub(crate) fn start(&mut self, more: &[&str]) {
        let loopback = ["daemon", "server", "--listen", "127.0.0.1:0"];
        let daemon = if more.contains(&"--listen") { &loopback[..2] } else { &loopback[..] };
        self.spawn(daemon, more);
    }

    fn spawn(&mut self, daemon: &[&str], more: &[&str]) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("server.log"))
            .expect("a log");
        let mut command = self.command(daemon);
        self.daemon_env(&mut command);
        let child = command.args(more).stdout(Stdio::null()).stderr(log).spawn().expect("orx runs");
        let pid = child.id();
        self.server = Some(child);
        until("the server is ready", || self.address_pid() == Some(pid) || self.server_ended());
        assert!(!self.server_ended(), "the server ended:\n{}", self.log());
    }

    fn server_ended(&self) -> bool {
        // Checks whether the child exists without reaping it.
        let Some(child) = &self.server else { return true };
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()));
        stat.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|s| s.starts_with(" Z")))
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    /// The process that wrote the address file.
    pub(crate) fn address_pid(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.state().join("server.json")).ok()?;
        let value: serde_json::Value = serde_json::from_str(&text).ok()?;
        u32::try_from(value["pid"].as_u64()?).ok()
    }

    pub(crate) fn url(&self) -> String {
        let text = std::fs::read_to_string(self.state().join("server.json")).expect("an address");
        let value: serde_json::Value = serde_json::from_str(&text).expect("json");
        value["url"].as_str().expect("a url").to_owned()
    }

    /// Kills the server with SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.server.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    /// Stops the server in good order; returns its exit code.
    pub(crate) fn stop(&mut self) -> i32 {
        let mut child = self.server.take().expect("a server");
        signal(child.id(), "TERM");
        child.wait().expect("ended").code().unwrap_or(-1)
    }

    pub(crate) fn json<const N: usize>(&self, args: [&str; N]) -> serde_json::Value {
        let mut all: Vec<&str> = args.to_vec();
        all.extend(["-o", "json"]);
        let ran = result_of(self.command(all).output().expect("orx runs"));
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    pub(crate) fn status(&self, job: &str) -> String {
        self.json(["show", job])["status"].as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
        // A server that a command started in the background.
        if let Some(pid) = self.address_pid() {
            signal(pid, "KILL");
        }
    }
}

/// The library that changes the wall clock of a program, and not its monotonic clock.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("libraries").flatten();
    let file = |at: std::fs::DirEntry| at.path().join("faketime/libfaketimeMT.so.1");
    let found = folders.map(file).find(|file| file.exists());
    found.expect("libfaketime was not found: install faketime (`tests/run` does it as root)")
}

/// A disk that a test can fill: its own mount where it may mount, else the shared memory of a container,
/// which is small by default.
pub(crate) struct SmallDisk {
    path: PathBuf,
    mounted: bool,
}

impl SmallDisk {
    pub(crate) fn at(machine: &Machine) -> Self {
        let path = machine.state();
        std::fs::create_dir(&path).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=12m,mode=0700", "tmpfs"]).arg(&path);
        if mount.output().is_ok_and(|done| done.status.success()) {
            return Self { path, mounted: true };
        }
        std::fs::remove_dir(&path).expect("removed");
        let folder = PathBuf::from(format!("/dev/shm/orx-test-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a folder in /dev/shm");
        let size = result_of(
            Command::new("df").args(["-m", "--output=size"]).arg(&folder).output().expect("df"),
        );
        let mb: u64 =
            size.out.lines().last().and_then(|mb| mb.trim().parse().ok()).unwrap_or(u64::MAX);
        if mb > 512 {
            std::fs::remove_dir(&folder).expect("removed");
            panic!("a small disk is needed: run the tests as root, or where /dev/shm is small");
        }
        std::os::unix::fs::symlink(&folder, &path).expect("a link");
        Self { path: folder, mounted: false }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A failed clean-up is not a second failure.
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(&self.path).output();
        } else {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Status of a response to a request without a token.
pub(crate) fn get(machine: &Machine, path: &str) -> String {
    let url = machine.url();
    let address = url.trim_start_matches("http://");
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

pub(crate) fn signal(pid: u32, name: &str) {
    // The process may have ended by itself: the error does not matter.
    let _ = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).output();
}

pub(crate) fn result_of(output: Output) -> CommandResult {
    CommandResult {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        bytes: output.stdout,
    }
}

/// Two coordinators on one PostgreSQL, `n1` and `n2`, which know of each other.
pub(crate) fn two_nodes(store: &str, more: &str) -> (Machine, Machine) {
    let (mut first, mut second) = (Machine::new(), Machine::new());
    first.coordinate_on(store, "n1", more);
    second.coordinate_on(store, "n2", more);
    until("both are there", || {
        let nodes = first.json(["cluster", "status"])["nodes"].clone();
        nodes.as_array().is_some_and(|nodes| nodes.len() == 2)
    });
    (first, second)
}

/// Starts a command; [`ended`] collects its output.
pub(crate) fn begin(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
}

pub(crate) fn ended(child: Child) -> CommandResult {
    result_of(child.wait_with_output().expect("it ends"))
}

/// The one JSON value that a command printed, whatever its exit code.
pub(crate) fn value(ran: &CommandResult) -> serde_json::Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// Arguments of a schedule that is never due within a test.
pub(crate) const LATER: [&str; 2] = ["--at", "2999-01-01T00:00:00Z"];

/// Of all schedules.
pub(crate) fn ids(machine: &Machine) -> Vec<String> {
    let list = machine.orx(["schedule", "list", "-o", "id"]);
    assert_eq!(list.code, 0, "{list:?}");
    list.out.lines().map(str::to_owned).collect()
}

/// Waits for a condition that depends on other processes.
pub(crate) fn until(what: &str, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < SOON, "not within {SOON:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

pub(crate) fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|state| state.starts_with(" Z")))
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
