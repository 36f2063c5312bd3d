//! Children die with their worker, also when it is killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::coordinator::{Setup, script};
use crate::processes::{all_end, as_role, is_gone};

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

#[test]
fn a_killed_worker_takes_its_children_with_it() {
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

    worker.kill().expect("SIGKILL");
    worker.wait().expect("its end");
    all_end(&pids);
}
