//! Starts a server in the background, detached from the command that needs it.
//!
//! The server serves later callers too, so it inherits as little as possible from the first one: no
//! descriptor, terminal, session, working directory, umask, priority, lowered limit or ignored
//! signal, and only a few variables of the environment. Each job carries what it needs from its own
//! caller.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::SignalKind;

use crate::state::StateDir;

/// A background server ends after this long without jobs or requests.
const IDLE: &str = "10s";
/// A larger log is renamed before a new server writes to it.
const LOG_BYTES: u64 = 4 * 1024 * 1024;
const LOG: &str = "server.log";
/// Bytes of the log that an error message quotes.
const LOG_TAIL: usize = 2_000;

/// Variables that the server inherits: the user, the locations of configuration and store, and
/// settings for networks, time zones and logs.
const INHERITED_VARIABLES: [&str; 14] = [
    "HOME",
    "USER",
    "LOGNAME",
    "XDG_CONFIG_HOME",
    "ORX_STORE_URL",
    "ORX_LOG",
    "TZDIR",
    "PGPASSFILE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
];
/// PATH, LANG and umask as a login sets them.
const LOGIN_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LOGIN_LANG: &str = "C.UTF-8";
const LOGIN_UMASK: Mode = Mode::from_raw_mode(0o022);

/// Soft limits that programs expect at these values; all others are raised to the hard limit.
const LOGIN_SOFT_LIMITS: [(Resource, u64); 3] =
    [(Resource::Nofile, 1024), (Resource::Stack, 8 << 20), (Resource::Core, 0)];

/// Every resource limit, with its name in `/proc/PID/limits`.
const LIMITS: [(Resource, &str); 16] = [
    (Resource::Cpu, "Max cpu time"),
    (Resource::Fsize, "Max file size"),
    (Resource::Data, "Max data size"),
    (Resource::Stack, "Max stack size"),
    (Resource::Core, "Max core file size"),
    (Resource::Rss, "Max resident set"),
    (Resource::Nproc, "Max processes"),
    (Resource::Nofile, "Max open files"),
    (Resource::Memlock, "Max locked memory"),
    (Resource::As, "Max address space"),
    (Resource::Locks, "Max file locks"),
    (Resource::Sigpending, "Max pending signals"),
    (Resource::Msgqueue, "Max msgqueue size"),
    (Resource::Nice, "Max nice priority"),
    (Resource::Rtprio, "Max realtime priority"),
    (Resource::Rttime, "Max realtime timeout"),
];

/// A server process that this one started, and its part of the log.
pub(crate) struct BackgroundServer {
    pub(crate) child: Child,
    log: PathBuf,
    /// Offset in the log at which this server's lines begin.
    log_from: u64,
}

/// Starts a server on a state folder.
///
/// # Errors
/// The log cannot be opened, or the process cannot be started.
pub(crate) fn start(state: &StateDir, config: Option<&Path>) -> std::io::Result<BackgroundServer> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = state.file(LOG);
    if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_BYTES) {
        // At most one older log exists, so both stay bounded.
        std::fs::rename(&path, state.file("server.log.1"))?;
    }
    let log = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
    let log_from = log.metadata()?.len();
    let program = std::env::current_exe()?;
    let inherited =
        INHERITED_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(&program);
    command
        .args(["daemon", "server", "--background", "--listen", "127.0.0.1:0"])
        .args(["--exit-when-idle", IDLE, "--state"])
        .arg(state.path())
        .env_clear()
        .envs(inherited)
        .env("PATH", path_with(&program))
        .env("LANG", LOGIN_LANG)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    if let Some(config) = config {
        command.arg("--config").arg(std::path::absolute(config)?);
    }
    close_inherited_descriptors_on_exec();
    // If this process inherited SIGCHLD as ignored, `try_wait` could not see the server's end.
    let _ = tokio::signal::unix::signal(SignalKind::child());
    Ok(BackgroundServer { child: command.spawn()?, log: path, log_from })
}

impl BackgroundServer {
    /// The last lines of this server's own part of the log.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let since = usize::try_from(self.log_from).ok().and_then(|from| bytes.get(from..));
        let since = since.unwrap_or_default();
        let tail = &since[since.len().saturating_sub(LOG_TAIL)..];
        orx_model::text::clean_text(tail).trim().to_owned()
    }
}

/// Path of the log of a background server.
pub(crate) fn log_path(state: &StateDir) -> PathBuf {
    state.file(LOG)
}

/// A login's PATH and the folder of `orx`, so that jobs find `orx ctx`.
fn path_with(program: &Path) -> std::ffi::OsString {
    let mut path = std::ffi::OsString::from(LOGIN_PATH);
    if let Some(folder) = program.parent() {
        path.push(":");
        path.push(folder);
    }
    path
}

/// Marks all descriptors that this process inherited as close-on-exec. Otherwise a long-lived child
/// would hold the caller's locks and keep its pipes open.
pub(crate) fn close_inherited_descriptors_on_exec() {
    close_fds::set_fds_cloexec_threadsafe(3, &[]);
}

/// Gives jobs the default action for each signal that this daemon inherited as ignored.
///
/// A child inherits ignored signals, but not handlers: so the daemon installs a handler that does
/// nothing. For SIGCHLD the handler also lets the daemon learn how its children end.
///
/// Call it in the daemon's runtime, before the first program is started.
pub(crate) fn reset_ignored_signals() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for number in ignored_signals(&status) {
        // The standard library ignores SIGPIPE in this process and resets it in each child.
        if number == Signal::PIPE.as_raw() {
            continue;
        }
        if let Err(error) = tokio::signal::unix::signal(SignalKind::from_raw(number)) {
            tracing::warn!(%error, "jobs inherit signal {number} as ignored");
        }
    }
}

/// The ignored signals in the text of `/proc/PID/status`, without the two that the C library
/// reserves.
pub(crate) fn ignored_signals(status: &str) -> Vec<i32> {
    let digits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let set = digits.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    let is_ignored = |number: &i32| set.unwrap_or(0) >> (number - 1) & 1 == 1;
    (1..=64).filter(|number| !matches!(number, 32 | 33)).filter(is_ignored).collect()
}

/// Detaches the background server from its caller: session, umask, priority, processors, OOM score,
/// limits. Logs a warning for each part that it cannot change.
///
/// Call it first in the server's process, while that has one thread.
pub(crate) fn detach() {
    // The leader of the caller's session still has the limits that the login set.
    let session = rustix::process::getsid(None).map(|leader| leader.as_raw_nonzero().get());
    let session = session.ok();
    let of_login = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", session?)).ok();
    let login = of_login("limits").unwrap_or_default();
    // The server outlives its caller's terminal. The call fails only for a leader of a process
    // group, which this process is not.
    if let Err(error) = rustix::process::setsid() {
        tracing::warn!(%error, "this server could not start a session of its own");
    }
    rustix::process::umask(LOGIN_UMASK);
    if rustix::process::getpriority_process(None).is_ok_and(|nice| nice > 0)
        && rustix::process::setpriority_process(None, 0).is_err()
    {
        tracing::warn!(
            "the caller ran under `nice`; this server and its jobs keep that priority until the \
             server ends"
        );
    }
    use_all_processors();
    reset_oom_score(of_login("oom_score_adj").as_deref());
    warn_of_scheduling_class();
    for (resource, name) in LIMITS {
        raise_limit(resource, name, hard_limit(&login, name));
    }
}

/// Lifts the caller's CPU affinity. The kernel ignores the bits of processors that do not exist.
fn use_all_processors() {
    let mut all = rustix::thread::CpuSet::new();
    (0..rustix::thread::CpuSet::MAX_CPU).for_each(|processor| all.set(processor));
    if let Err(error) = rustix::thread::sched_setaffinity(None, &all) {
        tracing::warn!(%error, "this server keeps its caller's processors until it ends");
    }
}

const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// Sets the OOM score to the login's, so that the kernel does not prefer this server because of its
/// caller's score.
fn reset_oom_score(login: Option<&str>) {
    let wanted = login.unwrap_or("0").trim();
    let own = std::fs::read_to_string(OOM_SCORE);
    if own.is_ok_and(|own| own.trim() != wanted) && std::fs::write(OOM_SCORE, wanted).is_err() {
        tracing::warn!("this server and its jobs keep the caller's {OOM_SCORE}");
    }
}

/// Warns if the scheduling class is not the default: a process cannot always change it back.
fn warn_of_scheduling_class() {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The policy is field 41 of the line; two fields come before the last bracket.
    let policy = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(38));
    if policy.is_some_and(|policy| policy != "0") {
        tracing::warn!(
            "the caller ran in a scheduling class other than the default (see `chrt -p`); this \
             server and its jobs keep it until the server ends"
        );
    }
}

/// Raises the hard limit to the login's, where that is allowed, and the soft limit to the hard one,
/// or to the value that programs expect. Never lowers a limit.
fn raise_limit(resource: Resource, name: &str, login: Option<Option<u64>>) {
    let own = getrlimit(resource);
    let hard = match (own.maximum, login) {
        (Some(own), Some(login)) if login.is_none_or(|login| login > own) => login,
        (own, _) => own,
    };
    let usual = LOGIN_SOFT_LIMITS.iter().find(|(of, _)| *of == resource).map(|(_, limit)| *limit);
    let soft = |hard: Option<u64>| match (own.current, usual) {
        (None, _) => hard,
        (Some(own), Some(usual)) => Some(hard.map_or(usual, |hard| usual.min(hard)).max(own)),
        (Some(_), None) => hard,
    };
    let wanted = Rlimit { current: soft(hard), maximum: hard };
    if wanted == own || setrlimit(resource, wanted).is_ok() {
        return;
    }
    let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |most| most.to_string());
    let (current, login) = (shown(own.maximum), shown(hard));
    tracing::warn!(
        "{name}: the caller's hard limit {current} holds for this server and its jobs until the \
         server ends; raising it to the login's {login} needs privilege"
    );
    let within = Rlimit { current: soft(own.maximum), maximum: own.maximum };
    if let Err(error) = setrlimit(resource, within) {
        tracing::warn!(%error, "{name}: this server keeps its caller's limit");
    }
}

/// The hard limit `name` in the text of `/proc/PID/limits`. The outer `None`: the text does not
/// contain it. The inner `None`: unlimited.
fn hard_limit(limits: &str, name: &str) -> Option<Option<u64>> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_limits_are_parsed() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max cpu time              unlimited            unlimited            seconds   \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(hard_limit(text, "Max open files"), Some(Some(524_288)));
        assert_eq!(hard_limit(text, "Max cpu time"), Some(None));
        assert_eq!(hard_limit(text, "Max file size"), None);
    }

    #[test]
    fn ignored_signals_are_parsed() {
        assert_eq!(
            ignored_signals("SigBlk:\t01\nSigIgn:\t0000000000011006\nSigCgt:\t00\n"),
            [2, 3, 13, 17]
        );
        assert_eq!(ignored_signals("SigIgn:\t8000000180000000\n"), [64]);
        assert!(ignored_signals("").is_empty());
    }

    #[test]
    fn proc_lists_every_limit_by_its_name() {
        let text = std::fs::read_to_string("/proc/self/limits").expect("limits");
        for (resource, name) in LIMITS {
            let hard = hard_limit(&text, name);
            assert_eq!(hard, Some(getrlimit(resource).maximum), "{name}");
        }
    }
}
