//! A server in the background: how a command starts one, and that it has nothing of that command.
//!
//! It serves whoever comes later too, so nothing of its first caller sticks to it: no descriptor, no
//! terminal, no session, no working directory, no umask, no priority, no lowered limit, no
//! signal that is ignored, and of the environment only who the user is. What a job is to have of its
//! own caller comes with the job.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::SignalKind;

use crate::state::StateDir;

/// A server that was started ends by itself after so long without work or requests.
const IDLE: &str = "10s";
/// A log larger than this is put aside before a new server writes to it.
const LOG_BYTES: u64 = 4 * 1024 * 1024;
const LOG: &str = "server.log";
const LOG_TAIL: usize = 2_000;

/// What it keeps of its caller's environment: who the user is, where the configuration and the
/// store are, and what it is told of networks, zones and logs.
const KEPT: [&str; 14] = [
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
/// As a login sets it.
const PLAIN_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PLAIN_LANG: &str = "C.UTF-8";
const PLAIN_UMASK: Mode = Mode::from_raw_mode(0o022);

/// Soft limits that are not raised as far as the system allows: what programs expect them to be.
const PLAIN_LIMITS: [(Resource, u64); 3] =
    [(Resource::Nofile, 1024), (Resource::Stack, 8 << 20), (Resource::Core, 0)];

/// Every limit, by the name it has in `/proc/PID/limits`.
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

/// A server that was started, and where in the log its own lines begin.
pub(crate) struct Started {
    pub(crate) child: Child,
    log: PathBuf,
    log_from: u64,
}

/// Starts a server on a state folder.
pub(crate) fn start(state: &StateDir, config: Option<&Path>) -> std::io::Result<Started> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = state.file(LOG);
    if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_BYTES) {
        // One older log is kept: neither grows without a bound.
        std::fs::rename(&path, state.file("server.log.1"))?;
    }
    let log = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
    let log_from = log.metadata()?.len();
    let program = std::env::current_exe()?;
    let kept = KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(&program);
    command
        .args(["daemon", "server", "--background", "--listen", "127.0.0.1:0"])
        .args(["--exit-when-idle", IDLE, "--state"])
        .arg(state.path())
        .env_clear()
        .envs(kept)
        .env("PATH", plain_path(&program))
        .env("LANG", PLAIN_LANG)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    if let Some(config) = config {
        command.arg("--config").arg(std::path::absolute(config)?);
    }
    keep_descriptors_here();
    // Where this one ignores the end of its children, nobody would see that the server has ended.
    let _ = tokio::signal::unix::signal(SignalKind::child());
    Ok(Started { child: command.spawn()?, log: path, log_from })
}

impl Started {
    /// The end of what it logged; what older servers said would mislead.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let since = usize::try_from(self.log_from).ok().and_then(|from| bytes.get(from..));
        let since = since.unwrap_or_default();
        let tail = &since[since.len().saturating_sub(LOG_TAIL)..];
        orx_model::text::clean_text(tail).trim().to_owned()
    }
}

pub(crate) fn log_of(state: &StateDir) -> PathBuf {
    state.file(LOG)
}

/// Jobs find `orx` too, for `orx ctx`.
fn plain_path(program: &Path) -> std::ffi::OsString {
    let mut path = std::ffi::OsString::from(PLAIN_PATH);
    if let Some(folder) = program.parent() {
        path.push(":");
        path.push(folder);
    }
    path
}

/// What a caller left open is not passed on to any program that is started from here: a lock would
/// be held, and a pipe kept open, by whatever lives longest.
pub(crate) fn keep_descriptors_here() {
    close_fds::set_fds_cloexec_threadsafe(3, &[]);
}

/// What whoever started a daemon ignored goes on to do nothing to it, and in its jobs does what it
/// does by default: a program keeps what was ignored before it, but not a handler. Of children whose
/// end is ignored nobody could say how they ended.
///
/// Called in the daemon's runtime, before it starts any program.
pub(crate) fn ignore_no_signal_in_jobs() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for number in ignored(&status) {
        // The standard library ignores this one in every program, and not in what it starts.
        if number == Signal::PIPE.as_raw() {
            continue;
        }
        if let Err(error) = tokio::signal::unix::signal(SignalKind::from_raw(number)) {
            tracing::warn!(%error, "the signal {number} is ignored as by the caller, in jobs too");
        }
    }
}

/// The signals that the text of `/proc/PID/status` says are ignored, without the two that the C library
/// has for itself and lets nobody set.
fn ignored(status: &str) -> Vec<i32> {
    let digits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let set = digits.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    let is_ignored = |number: &i32| set.unwrap_or(0) >> (number - 1) & 1 == 1;
    (1..=64).filter(|number| !matches!(number, 32 | 33)).filter(is_ignored).collect()
}

/// Called first in the server itself, while it has one thread. What cannot be put right is told in
/// the log.
pub(crate) fn detach() {
    // Whoever leads the caller's session has the limits of the login.
    let session = rustix::process::getsid(None).map(|leader| leader.as_raw_nonzero().get());
    let session = session.ok();
    let of_login = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", session?)).ok();
    let login = of_login("limits").unwrap_or_default();
    // It outlives its caller's terminal. It leads no process group yet, so this does not fail.
    if let Err(error) = rustix::process::setsid() {
        tracing::warn!(%error, "no session of its own");
    }
    rustix::process::umask(PLAIN_UMASK);
    if rustix::process::getpriority_process(None).is_ok_and(|nice| nice > 0)
        && rustix::process::setpriority_process(None, 0).is_err()
    {
        tracing::warn!("the caller was `nice`, and so are this server and its jobs until it ends");
    }
    use_all_processors();
    spare(of_login("oom_score_adj").as_deref());
    warn_of_class();
    for (resource, name) in LIMITS {
        raise(resource, name, hard_limit(&login, name));
    }
}

/// Not only those that its caller was confined to. The kernel keeps those that there are.
fn use_all_processors() {
    let mut all = rustix::thread::CpuSet::new();
    (0..rustix::thread::CpuSet::MAX_CPU).for_each(|processor| all.set(processor));
    if let Err(error) = rustix::thread::sched_setaffinity(None, &all) {
        tracing::warn!(%error, "the caller's processors are this server's until it ends");
    }
}

const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// As the login where the system is short of memory: not the first to be killed since its caller was
/// to be.
fn spare(login: Option<&str>) {
    let wanted = login.unwrap_or("0").trim();
    let own = std::fs::read_to_string(OOM_SCORE);
    if own.is_ok_and(|own| own.trim() != wanted) && std::fs::write(OOM_SCORE, wanted).is_err() {
        tracing::warn!("{OOM_SCORE} stays as the caller's for this server and its jobs");
    }
}

/// The class of scheduling cannot be changed from here: that it is not the plain one is told.
fn warn_of_class() {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Of the 41 fields of the line, two stand before the last bracket.
    let policy = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(38));
    if policy.is_some_and(|policy| policy != "0") {
        tracing::warn!(
            "the caller had another scheduling class than the plain one (`chrt -p`), and so have \
             this server and its jobs until it ends"
        );
    }
}

/// Soft limits up to the hard one, or to what programs expect; the hard one up to the login's, where
/// that is allowed. No limit is lowered.
fn raise(resource: Resource, name: &str, login: Option<Option<u64>>) {
    let own = getrlimit(resource);
    let hard = match (own.maximum, login) {
        (Some(own), Some(login)) if login.is_none_or(|login| login > own) => login,
        (own, _) => own,
    };
    let plain = PLAIN_LIMITS.iter().find(|(plain, _)| *plain == resource).map(|(_, most)| *most);
    let soft = |hard: Option<u64>| match (own.current, plain) {
        (None, _) => hard,
        (Some(own), Some(plain)) => Some(hard.map_or(plain, |hard| plain.min(hard)).max(own)),
        (Some(_), None) => hard,
    };
    let wanted = Rlimit { current: soft(hard), maximum: hard };
    if wanted == own || setrlimit(resource, wanted).is_ok() {
        return;
    }
    let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |most| most.to_string());
    let (left, of) = (shown(own.maximum), shown(hard));
    tracing::warn!(
        "{name}: the caller's hard limit {left} holds for this server and its jobs until it ends; \
         to raise it to the login's {of} needs privilege"
    );
    let within = Rlimit { current: soft(own.maximum), maximum: own.maximum };
    if let Err(error) = setrlimit(resource, within) {
        tracing::warn!(%error, "{name} stays as the caller's");
    }
}

/// The hard limit of this name in the text of `/proc/PID/limits`: the outer `None` where it does not
/// stand there, the inner where it is unlimited.
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
    fn hard_limits_are_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max cpu time              unlimited            unlimited            seconds   \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(hard_limit(text, "Max open files"), Some(Some(524_288)));
        assert_eq!(hard_limit(text, "Max cpu time"), Some(None));
        assert_eq!(hard_limit(text, "Max file size"), None);
    }

    #[test]
    fn ignored_signals_are_read() {
        assert_eq!(
            ignored("SigBlk:\t01\nSigIgn:\t0000000000011006\nSigCgt:\t00\n"),
            [2, 3, 13, 17]
        );
        assert_eq!(ignored("SigIgn:\t8000000180000000\n"), [64]);
        assert!(ignored("").is_empty());
    }

    #[test]
    fn every_limit_stands_in_proc_by_its_name() {
        let text = std::fs::read_to_string("/proc/self/limits").expect("limits");
        for (resource, name) in LIMITS {
            let hard = hard_limit(&text, name);
            assert_eq!(hard, Some(getrlimit(resource).maximum), "{name}");
        }
    }
}
