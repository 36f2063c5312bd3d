//! `orx daemon status` and `orx daemon stop`: the server on this machine's state folder.

use std::time::{Duration, Instant};

use orx_model::Timestamp;
use orx_model::time::{TimeStyle, format_time};
use serde::Serialize;

use super::wait_timed_out;
use crate::background::log_path;
use crate::clock::wall;
use crate::daemon::end_process;
use crate::error::{CliError, Exit};
use crate::state::{Address, StateDir};
use crate::ui::{Cell, Ui};

/// A server that holds the folder but has no address file is starting or ending; it may take this
/// long.
const NO_ADDRESS_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// A server that has released its folder ends within this.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
/// A stop that takes longer prints what it waits for.
const NOTE_AFTER: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct DaemonStatus {
    v: u32,
    running: bool,
    stopping: bool,
    /// A command started it in the background; it ends by itself.
    background: bool,
    state: String,
    log: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
}

pub(crate) fn status(state: &StateDir, ui: &Ui) -> Result<Exit, CliError> {
    // In a folder that cannot be read, the lock looks free even if a server holds it.
    state.check_readable()?;
    let address = state.address();
    let running = address.is_some() || state.is_held();
    let background = address.as_ref().is_some_and(|address| address.background);
    let folder = state.path().display().to_string();
    let status = DaemonStatus {
        v: 1,
        running,
        stopping: address.as_ref().is_some_and(|address| address.stopping),
        background,
        log: log_path(state).display().to_string(),
        pid: address.as_ref().map(|address| address.pid),
        url: address.as_ref().map(|address| address.url.clone()),
        version: address.as_ref().map(|address| address.version.clone()),
        started_at: address.as_ref().map(|address| address.started_at),
        state: folder.clone(),
    };
    if !running && ui.format.is_human() {
        ui.raw(format!("no server runs on the state folder `{folder}`\n").as_bytes())?;
        return Ok(Exit::NotFound);
    }
    let server = match &address {
        Some(address) => format!("orx {}, process {}", address.version, address.pid),
        None => "starting or ending: it has no address yet, or no longer".to_owned(),
    };
    let kind = match &address {
        Some(Address { stopping: true, .. }) => "stopping: its running jobs have their grace",
        Some(Address { background: true, .. }) => {
            "in the background: ends 10 s after the last job and request"
        }
        Some(_) => "started by hand or by a service manager",
        None => "",
    };
    let mut lines = vec![
        ("server", Cell::new(server)),
        ("kind", Cell::new(kind)),
        ("url", Cell::option(status.url.as_ref())),
        ("since", Cell::new(status.started_at.map_or(Ok(String::new()), |at| since(ui, at))?)),
        ("state", Cell::new(folder)),
    ];
    if background {
        lines.push(("log", Cell::new(status.log.clone())));
    }
    ui.one(&status, &status.pid.map(|pid| pid.to_string()).unwrap_or_default(), &lines)?;
    Ok(if running { Exit::Success } else { Exit::NotFound })
}

fn since(ui: &Ui, at: Timestamp) -> Result<String, CliError> {
    Ok(format_time(at, ui.time.unwrap_or(TimeStyle::Local), wall(), ui.zone()?))
}

/// Whether the process runs. `/proc` lists an ended process as a zombie until its parent waits for
/// it.
fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|state| state.starts_with(" Z")))
}

#[derive(Serialize)]
struct Stopped {
    v: u32,
    /// A server ran, and it has ended.
    stopped: bool,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
}

/// Sends SIGTERM to the server and waits until it has ended.
///
/// # Errors
/// The server belongs to another user or container, or has no address file.
pub(crate) fn stop(state: &StateDir, timeout: Option<Duration>, ui: &Ui) -> Result<Exit, CliError> {
    // See `status`.
    state.check_readable()?;
    let folder = state.path().display().to_string();
    let began = Instant::now();
    let mut signalled: Option<Address> = None;
    let mut noted = false;
    // Until the folder is free, or another server holds it.
    while state.is_held() {
        if timeout.is_some_and(|timeout| began.elapsed() >= timeout) {
            return wait_timed_out(
                ui,
                "the server has not ended within `--timeout`; it is still stopping",
            );
        }
        match (state.address(), &signalled) {
            (Some(found), Some(server)) if found.node != server.node => break,
            (Some(found), None) => {
                if !state.is_held_by(found.pid) {
                    let message = format!("cannot stop the server on `{folder}` from here");
                    return Err(CliError::new(Exit::NotAllowed, "not_ours", message)
                        .cause(format!(
                            "process {} is not visible here, or belongs to another user",
                            found.pid
                        ))
                        .hint("run this command as the same user, and in the same container"));
                }
                if !found.stopping {
                    end_process(found.pid)?;
                }
                signalled = Some(found);
            }
            (None, None) if began.elapsed() >= NO_ADDRESS_TIMEOUT => {
                let message = format!("the server on `{folder}` has no address file");
                return Err(CliError::new(Exit::TryLater, "no_address", message)
                    .cause("it is starting or ending, or another program holds the folder")
                    .hint("try again in a moment"));
            }
            _ => {}
        }
        if let Some(server) = signalled.as_ref().filter(|_| !noted && began.elapsed() >= NOTE_AFTER)
        {
            noted = true;
            ui.note(&format!(
                "process {} is stopping; its running jobs have their grace",
                server.pid
            ));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    let pid = signalled.map(|server| server.pid);
    // It has released the folder; only the exit of its process is left.
    let released = Instant::now();
    while pid.is_some_and(is_running) && released.elapsed() < EXIT_TIMEOUT {
        std::thread::sleep(POLL_INTERVAL);
    }
    let stopped = Stopped { v: 1, stopped: pid.is_some(), state: folder.clone(), pid };
    if ui.format.is_human() {
        let line = match pid {
            Some(pid) => format!("process {pid} has ended\n"),
            None => format!("no server runs on the state folder `{folder}`\n"),
        };
        if !ui.quiet {
            ui.raw(line.as_bytes())?;
        }
        return Ok(Exit::Success);
    }
    let shown = pid.map(|pid| pid.to_string()).unwrap_or_default();
    ui.one(&stopped, &shown, &[("stopped", Cell::new(stopped.stopped.to_string()))])?;
    Ok(Exit::Success)
}
