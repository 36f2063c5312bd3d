//! Children die with their worker, also when it is killed: a second process of the same program
//! holds one end of a pipe, is told of every process group, and ends them all when the pipe closes.
//!
//! The pipe closes however the worker dies: a child that is being started holds it open until it
//! runs its program, and can be found by its environment from then on. The guard stands in a process group of its own, so what
//! is sent to the worker's group does not reach it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Mutex;

use crate::process::{WORKER_VAR, signal_by_environment, signal_group};

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

/// The worker's end of the pipe.
pub(crate) struct Guard {
    program: Vec<OsString>,
    worker: String,
    child: Mutex<Option<(Child, ChildStdin)>>,
}

impl Guard {
    /// `program` is the command line of a process that calls [`run`]; empty for no guard. The
    /// worker's incarnation is added to it.
    pub(crate) fn new(program: Vec<OsString>, worker: String) -> Self {
        Self { program, worker, child: Mutex::new(None) }
    }

    /// Before anything is started that it is to end: a worker that is killed right after leaves a
    /// guard behind, which finds by environment what it was not told of.
    pub(crate) async fn stand(&self) {
        if self.program.is_empty() {
            return;
        }
        let mut child = self.child.lock().await;
        let stands = match child.as_mut() {
            Some((process, _)) => matches!(process.try_wait(), Ok(None)),
            None => false,
        };
        if !stands {
            *child = self.start();
        }
    }

    pub(crate) async fn add(&self, group: u32) {
        self.tell(format!("+{group}\n")).await;
    }

    pub(crate) async fn remove(&self, group: u32) {
        self.tell(format!("-{group}\n")).await;
    }

    async fn tell(&self, line: String) {
        if self.program.is_empty() {
            return;
        }
        let mut child = self.child.lock().await;
        for _ in 0..2 {
            if child.is_none() {
                *child = self.start();
            }
            let Some((_, pipe)) = child.as_mut() else { return };
            if pipe.write_all(line.as_bytes()).await.is_ok() {
                return;
            }
            // It died: a new one does not know the groups before, but finds them by environment.
            tracing::warn!("the guard of child processes died: starting another");
            *child = None;
        }
    }

    fn start(&self) -> Option<(Child, ChildStdin)> {
        let (program, arguments) = self.program.split_first()?;
        let spawned = Command::new(program)
            .args(arguments)
            .arg(&self.worker)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        match spawned {
            Ok(mut child) => child.stdin.take().map(|pipe| (child, pipe)),
            Err(error) => {
                tracing::warn!(%error, "no guard: children would outlive a killed worker");
                None
            }
        }
    }
}
