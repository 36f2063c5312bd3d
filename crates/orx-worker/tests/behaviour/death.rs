//! The processes of a worker die with it, even if it is killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use orx_worker::process::signal_group;
use rustix::process::Signal;

use crate::coordinator::{Setup, script};
use crate::processes::{all_end, as_role, eventually, is_gone};

/// A process that runs a worker with a guard and one attempt, prints the attempt's process ids, and
/// waits to be killed.
pub(crate) fn worker() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let guard = as_role("guard").into_iter().map(Into::into).collect();
        let coordinator = Setup { guard, ..Setup::default() }.start().await;
        let job = script(
            "trap '' TERM; setsid sleep 1000 >/dev/null 2>&1 & own=$!; sleep 1001 & \
             echo $$ $own $!; wait",
        );
        coordinator.dispatch(&job).await;
        let pids = coordinator.first_line(&job).await.join(" ");
        writeln!(std::io::stdout(), "\npids: {pids}").expect("standard output");
        std::future::pending::<()>().await;
    });
}

/// With the attempt's process ids.
fn start_worker() -> (Child, Vec<u32>) {
    let words = as_role("worker");
    let mut worker = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a worker");
    let out = BufReader::new(worker.stdout.take().expect("a pipe"));
    let line = out
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("pids: ").map(str::to_owned));
    let line = line.expect("the worker's children");
    let pids: Vec<u32> =
        line.split_whitespace().map(|pid| pid.parse().expect("a process id")).collect();
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|pid| !is_gone(*pid)));
    (worker, pids)
}

#[test]
fn the_processes_of_a_killed_worker_are_killed() {
    let (mut worker, pids) = start_worker();
    worker.kill().expect("SIGKILL");
    worker.wait().expect("its end");
    all_end(&pids);
}

/// The guard of that worker, which is its child.
fn guard_of(worker: u32) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").expect("the processes").flatten();
    let mut pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    pids.find(|pid: &u32| {
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        let after_name = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned());
        let parent = after_name.and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let role = read("environ").split(|byte| *byte == 0).any(|it| it == b"ORX_TEST_ROLE=guard");
        parent == Some(worker) && role && !is_gone(*pid)
    })
}

#[test]
fn a_killed_guard_is_replaced_while_attempts_run() {
    let (mut worker, pids) = start_worker();
    for _ in 0..2 {
        eventually("a guard", || guard_of(worker.id()).is_some());
        let guard = guard_of(worker.id()).expect("a guard");
        signal_group(guard, Signal::KILL);
        all_end(&[guard]);
    }
    eventually("a guard", || guard_of(worker.id()).is_some());
    assert!(pids.iter().all(|pid| !is_gone(*pid)), "what runs goes on");
    worker.kill().expect("SIGKILL");
    worker.wait().expect("its end");
    all_end(&pids);
}
