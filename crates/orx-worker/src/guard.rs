//! Children die with their worker, also when it is killed: a second process of the same program
//! holds one end of a pipe, is told of every process group, and ends them all when the pipe closes.
//!
//! The pipe closes however the worker dies: a child that is being started holds it open until it
//! runs its program, and can be found by its environment from then on. The guard stands in a process group of its own, so what
//! is sent to the worker's group does not reach it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, ErrorKind};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::process::{WORKER_VAR, signal_by_environment, signal_group};
use crate::runtime::at;

/// The guard's own part: reads until the worker is gone, then ends what it left. `worker` is the
/// worker's incarnation, which its children carry in their environment.
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
    // Also what was spawned in the very moment of death, and what left its group. Twice, for what
    // was being forked during the first look.
    for _ in 0..2 {
        signal_by_environment(WORKER_VAR, worker, Signal::KILL);
    }
}

/// A guard that does not read is replaced after this.
const WRITE_WAIT: Duration = Duration::from_secs(1);
/// One that cannot be started, or that ended sooner than this after its start, is started again after
/// this, and then after twice the time.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Orders of attempts that wait to be carried out.
const ORDERS: usize = 64;

/// The worker's end of the pipe. A guard that is killed, or reads no more, is replaced by another,
/// which is told of every group that there is.
pub(crate) struct Guard {
    /// `None` for no guard.
    orders: Option<mpsc::Sender<(Order, oneshot::Sender<()>)>>,
}

enum Order {
    Stand,
    Add(u32),
    Remove(u32),
}

impl Guard {
    /// `program` is the command line of a process that calls [`run`]; empty for no guard. The
    /// worker's incarnation is added to it. Spawns a task, which ends with this.
    pub(crate) fn new(program: Vec<OsString>, worker: String) -> Self {
        if program.is_empty() {
            return Self { orders: None };
        }
        let (orders, ordered) = mpsc::channel(ORDERS);
        let keeper = Keeper {
            program,
            worker,
            groups: BTreeSet::new(),
            process: None,
            start_at: None,
            pause: PAUSE,
        };
        tokio::spawn(keeper.run(ordered));
        Self { orders: Some(orders) }
    }

    /// Before anything is started that it is to end: a worker that is killed right after leaves a
    /// guard behind, which finds by environment what it was not told of.
    pub(crate) async fn stand(&self) {
        self.order(Order::Stand).await;
    }

    pub(crate) async fn add(&self, group: u32) {
        self.order(Order::Add(group)).await;
    }

    pub(crate) async fn remove(&self, group: u32) {
        self.order(Order::Remove(group)).await;
    }

    /// Returns when it was carried out, as far as it could be.
    async fn order(&self, order: Order) {
        let Some(orders) = &self.orders else { return };
        let (done, carried_out) = oneshot::channel();
        if orders.send((order, done)).await.is_ok() {
            let _ = carried_out.await;
        }
    }
}

/// Keeps a guard standing.
struct Keeper {
    program: Vec<OsString>,
    worker: String,
    groups: BTreeSet<u32>,
    process: Option<Process>,
    /// When one is started that could not be before.
    start_at: Option<Instant>,
    pause: Duration,
}

struct Process {
    child: Child,
    pipe: ChildStdin,
    since: Instant,
}

impl Keeper {
    async fn run(mut self, mut orders: mpsc::Receiver<(Order, oneshot::Sender<()>)>) {
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some((order, done)) = order else { return };
                    self.carry_out(order).await;
                    // Whoever ordered it may be gone.
                    let _ = done.send(());
                }
                () = ended(&mut self.process) => self.replace("ended").await,
                () = at(self.start_at) => self.start().await,
            }
        }
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Stand => {
                let ended = |process: &mut Process| !matches!(process.child.try_wait(), Ok(None));
                if self.process.as_mut().is_none_or(ended) {
                    self.start().await;
                }
            }
            Order::Add(group) => {
                self.groups.insert(group);
                self.tell(&format!("+{group}\n")).await;
            }
            Order::Remove(group) => {
                self.groups.remove(&group);
                self.tell(&format!("-{group}\n")).await;
            }
        }
    }

    /// Without a guard it is told when there is one again.
    async fn tell(&mut self, lines: &str) {
        let Some(process) = &mut self.process else { return };
        let told = tokio::time::timeout(WRITE_WAIT, process.pipe.write_all(lines.as_bytes()));
        if !matches!(told.await, Ok(Ok(()))) {
            self.replace("reads no more").await;
        }
    }

    async fn replace(&mut self, why: &str) {
        tracing::warn!("the guard of child processes {why}: starting another");
        if self.stop().is_none_or(|since| since.elapsed() < PAUSE) {
            self.start_later();
        } else {
            self.pause = PAUSE;
            self.start().await;
        }
    }

    fn start_later(&mut self) {
        self.start_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// Kills the guard before its pipe closes, or it would end all there is. Answers since when it
    /// stood.
    fn stop(&mut self) -> Option<Instant> {
        let mut process = self.process.take()?;
        // It may have ended.
        let _ = process.child.start_kill();
        Some(process.since)
    }

    async fn start(&mut self) {
        self.stop();
        self.start_at = None;
        let known: String = self.groups.iter().map(|group| format!("+{group}\n")).collect();
        match self.spawn() {
            Ok(mut process) => {
                let told = process.pipe.write_all(known.as_bytes());
                if matches!(tokio::time::timeout(WRITE_WAIT, told).await, Ok(Ok(()))) {
                    self.process = Some(process);
                    return;
                }
                let _ = process.child.start_kill();
            }
            Err(error) => {
                tracing::warn!(%error, "no guard: children would outlive a killed worker");
            }
        }
        self.start_later();
    }

    fn spawn(&self) -> std::io::Result<Process> {
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
        Ok(Process { child, pipe, since: Instant::now() })
    }
}

/// Never, without one.
async fn ended(process: &mut Option<Process>) {
    match process {
        // What cannot be observed is replaced, too.
        Some(process) => drop(process.child.wait().await),
        None => std::future::pending().await,
    }
}
