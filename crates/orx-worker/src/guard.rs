//! The guard kills the processes of a worker that dies, even if the worker was killed. It is a second
//! process of the same program: it reads one end of a pipe, learns of every process group through it,
//! and kills them all when the pipe closes.
//!
//! The pipe closes however the worker dies. A child that is being spawned holds the pipe open until it
//! runs its program; from then on its environment identifies it. The guard has a process group of its
//! own, so signals to the worker's group do not reach it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, ErrorKind};
use std::process::Stdio;
use std::time::Duration;

use orx_model::Backoff;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::process::{WORKER_VAR, signal_by_environment, signal_group};
use crate::runtime::at;

/// The guard process: reads until the worker has ended, then kills the processes that it left. `worker`
/// is the worker's incarnation, which the environment of its children contains.
pub fn run(input: impl std::io::Read, worker: &str) {
    let mut groups = BTreeSet::new();
    for line in BufReader::new(input).lines() {
        let Ok(line) = line else { break };
        match (line.get(..1), line.get(1..).and_then(|rest| rest.parse::<u32>().ok())) {
            (Some("+"), Some(group)) => {
                groups.insert(group);
            }
            (Some("-"), Some(group)) => {
                groups.remove(&group);
            }
            _ => {}
        }
    }
    for group in groups {
        signal_group(group, Signal::KILL);
    }
    // Also a process that was spawned when the worker died, and processes that left their group. Twice,
    // for processes that were forked during the first pass.
    for _ in 0..2 {
        signal_by_environment(WORKER_VAR, worker, Signal::KILL);
    }
}

/// How long a guard may take to read before it is replaced.
const WRITE_WAIT: Duration = Duration::from_secs(1);
/// A guard that ended sooner than this after its start is started again with a pause.
const EARLY_END: Duration = Duration::from_secs(1);
/// Between starts of a guard that could not start, or that ended early.
const RESTART: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// Most commands of attempts that wait.
const COMMANDS: usize = 64;

/// Commands the guard. A guard that ended or stopped reading is replaced by another, which receives
/// every current group.
pub(crate) struct GuardHandle {
    /// `None` for no guard.
    commands: Option<mpsc::Sender<(GuardCommand, oneshot::Sender<()>)>>,
}

enum GuardCommand {
    EnsureRunning,
    Add(u32),
    Remove(u32),
}

impl GuardHandle {
    /// `program` is the command line of a process that calls [`run`], to which the worker's incarnation
    /// is added; empty for no guard. Spawns a task that ends with the handle.
    pub(crate) fn new(program: Vec<OsString>, worker: String) -> Self {
        if program.is_empty() {
            return Self { commands: None };
        }
        let (commands, received) = mpsc::channel(COMMANDS);
        let supervisor = GuardSupervisor {
            program,
            worker,
            groups: BTreeSet::new(),
            process: None,
            start_at: None,
            backoff: RESTART,
        };
        tokio::spawn(supervisor.run(received));
        Self { commands: Some(commands) }
    }

    /// Call it before a process is spawned: if the worker is killed right after that, the guard finds
    /// the process by its environment.
    pub(crate) async fn ensure_running(&self) {
        self.command(GuardCommand::EnsureRunning).await;
    }

    pub(crate) async fn add(&self, group: u32) {
        self.command(GuardCommand::Add(group)).await;
    }

    pub(crate) async fn remove(&self, group: u32) {
        self.command(GuardCommand::Remove(group)).await;
    }

    /// Returns once the command was carried out or failed.
    async fn command(&self, command: GuardCommand) {
        let Some(commands) = &self.commands else { return };
        let (done, carried_out) = oneshot::channel();
        if commands.send((command, done)).await.is_ok() {
            let _ = carried_out.await;
        }
    }
}

/// Starts the guard, and another whenever it ends.
struct GuardSupervisor {
    program: Vec<OsString>,
    worker: String,
    groups: BTreeSet<u32>,
    process: Option<GuardProcess>,
    /// When to start a guard after a failure.
    start_at: Option<Instant>,
    backoff: Backoff,
}

struct GuardProcess {
    child: Child,
    pipe: ChildStdin,
    started_at: Instant,
}

impl GuardSupervisor {
    async fn run(mut self, mut commands: mpsc::Receiver<(GuardCommand, oneshot::Sender<()>)>) {
        loop {
            tokio::select! {
                command = commands.recv() => {
                    let Some((command, done)) = command else { return };
                    self.carry_out(command).await;
                    // The sender may have been cancelled.
                    let _ = done.send(());
                }
                () = ended(&mut self.process) => self.replace("ended").await,
                () = at(self.start_at) => self.start().await,
            }
        }
    }

    async fn carry_out(&mut self, command: GuardCommand) {
        match command {
            GuardCommand::EnsureRunning => {
                let ended =
                    |process: &mut GuardProcess| !matches!(process.child.try_wait(), Ok(None));
                if self.process.as_mut().is_none_or(ended) {
                    self.start().await;
                }
            }
            GuardCommand::Add(group) => {
                self.groups.insert(group);
                self.write(&format!("+{group}\n")).await;
            }
            GuardCommand::Remove(group) => {
                self.groups.remove(&group);
                self.write(&format!("-{group}\n")).await;
            }
        }
    }

    /// Does nothing without a guard: the next one receives all groups at its start.
    async fn write(&mut self, lines: &str) {
        let Some(process) = &mut self.process else { return };
        let written = tokio::time::timeout(WRITE_WAIT, process.pipe.write_all(lines.as_bytes()));
        if !matches!(written.await, Ok(Ok(()))) {
            self.replace("stopped reading").await;
        }
    }

    async fn replace(&mut self, why: &str) {
        tracing::warn!("the guard of child processes {why}; starting another");
        if self.stop().is_none_or(|started_at| started_at.elapsed() < EARLY_END) {
            self.start_later();
        } else {
            self.backoff.succeeded();
            self.start().await;
        }
    }

    fn start_later(&mut self) {
        self.start_at = Some(Instant::now() + self.backoff.failed());
    }

    /// Kills the guard before its pipe closes, or else it would kill all processes. Returns when it was
    /// started.
    fn stop(&mut self) -> Option<Instant> {
        let mut process = self.process.take()?;
        // It fails if the guard has ended.
        let _ = process.child.start_kill();
        Some(process.started_at)
    }

    async fn start(&mut self) {
        self.stop();
        self.start_at = None;
        let known: String = self.groups.iter().map(|group| format!("+{group}\n")).collect();
        match self.spawn() {
            Ok(mut process) => {
                let written = process.pipe.write_all(known.as_bytes());
                if matches!(tokio::time::timeout(WRITE_WAIT, written).await, Ok(Ok(()))) {
                    self.process = Some(process);
                    return;
                }
                let _ = process.child.start_kill();
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the guard of child processes cannot start: processes would outlive a killed worker"
                );
            }
        }
        self.start_later();
    }

    fn spawn(&self) -> std::io::Result<GuardProcess> {
        let (program, arguments) = self.program.split_first().ok_or(ErrorKind::NotFound)?;
        let mut child = Command::new(program)
            .args(arguments)
            .arg(&self.worker)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take().ok_or(ErrorKind::BrokenPipe)?;
        Ok(GuardProcess { child, pipe, started_at: Instant::now() })
    }
}

/// Resolves when the process has ended; never for `None`.
async fn ended(process: &mut Option<GuardProcess>) {
    match process {
        // A guard whose status cannot be read is replaced too.
        Some(process) => drop(process.child.wait().await),
        None => std::future::pending().await,
    }
}
