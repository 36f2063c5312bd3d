//! Signals processes: a process group, and the processes of an attempt that left their group.

use std::fs;
use std::io::Read;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The variable that marks the processes of an attempt with its execution id.
pub(crate) const EXECUTION_VAR: &str = "ORX_EXECUTION_ID";
/// The variable that marks the processes of a worker with its incarnation.
pub(crate) const WORKER_VAR: &str = "ORX_WORKER_ID";

/// How many bytes of an environment are searched.
const ENVIRON_BYTES: u64 = 1024 * 1024;

/// Signals a process group. Returns whether it has any process.
pub fn signal_group(pgid: u32, signal: Signal) -> bool {
    let pid = i32::try_from(pgid).ok().and_then(Pid::from_raw);
    // Group 1 and below would be every process.
    pid.filter(|pid| pid.as_raw_nonzero().get() > 1)
        .is_some_and(|pid| kill_process_group(pid, signal).is_ok())
}

/// Signals every process whose environment contains `name=value`, and returns how many. This finds
/// processes that left their group, unless they changed their environment. Reads `/proc`: it blocks for some
/// milliseconds.
pub(crate) fn signal_by_environment(name: &str, value: &str, signal: Signal) -> usize {
    let mark = format!("{name}={value}");
    let own = std::process::id();
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let mut found = 0;
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        if pid as u32 == own || !has_environment(pid, mark.as_bytes()) {
            continue;
        }
        if Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, signal).is_ok()) {
            found += 1;
        }
    }
    found
}

fn has_environment(pid: i32, mark: &[u8]) -> bool {
    let Ok(file) = fs::File::open(format!("/proc/{pid}/environ")) else { return false };
    let mut environ = Vec::new();
    // Reading the environment of a process that ends meanwhile fails or yields nothing.
    if file.take(ENVIRON_BYTES).read_to_end(&mut environ).is_err() {
        return false;
    }
    environ.split(|byte| *byte == 0).any(|entry| entry == mark)
}

/// The name by which people know a signal: `SIGTERM` for 15.
pub(crate) fn signal_name(number: i32) -> &'static str {
    match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        _ => "a signal",
    }
}
