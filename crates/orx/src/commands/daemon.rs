//! The server on this machine's state folder: whether it runs, and its end.

use std::time::{Duration, Instant};

use orx_model::Timestamp;
use orx_model::time::{TimeStyle, format_time};
use serde::Serialize;

use super::not_in_time;
use crate::background;
use crate::clock::wall;
use crate::daemon::end_process;
use crate::error::{CliError, Exit};
use crate::state::{Address, StateDir};
use crate::ui::{Cell, Ui};

/// A server that holds the folder and tells no address starts or ends.
const NO_ADDRESS_WAIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A server that has let its folder go ends within this.
const LAST_MOMENT: Duration = Duration::from_secs(5);
/// A stop that takes longer says what it waits for.
const SAY_AFTER: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Status {
    v: u32,
    running: bool,
    /// It was told to end.
    stopping: bool,
    /// Started by a command that needed one; it ends by itself.
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
    // What may not be looked at is not known to be free.
    state.check_readable()?;
    let address = state.address();
    let running = address.is_some() || state.is_held();
    let background = address.as_ref().is_some_and(|address| address.background);
    let folder = state.path().display().to_string();
    let status = Status {
        v: 1,
        running,
        stopping: address.as_ref().is_some_and(|address| address.stopping),
        background,
        log: background::log_of(state).display().to_string(),
        pid: address.as_ref().map(|address| address.pid),
        url: address.as_ref().map(|address| address.url.clone()),
        version: address.as_ref().map(|address| address.version.clone()),
        started_at: address.as_ref().map(|address| address.started_at),
        state: folder.clone(),
    };
    if !running && ui.format.is_human() {
        ui.raw(format!("no server runs on `{folder}`\n").as_bytes())?;
        return Ok(Exit::NotFound);
    }
    let server = match &address {
        Some(address) => format!("orx {}, process {}", address.version, address.pid),
        None => "it starts, or ends: it tells no address".to_owned(),
    };
    let kind = match &address {
        Some(Address { stopping: true, .. }) => "stopping: what it runs has its grace",
        Some(Address { background: true, .. }) => {
            "in the background: it ends 10 s after the last job and request"
        }
        Some(_) => "started by hand, or by a service manager",
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
    Ok(if running { Exit::Done } else { Exit::NotFound })
}

fn since(ui: &Ui, at: Timestamp) -> Result<String, CliError> {
    Ok(format_time(at, ui.time.unwrap_or(TimeStyle::Local), wall(), ui.zone()?))
}

/// A process that has ended may still be listed until its parent has read its end.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|state| state.starts_with(" Z")))
}

#[derive(Serialize)]
struct Stopped {
    v: u32,
    /// There was one, and it has ended.
    stopped: bool,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
}

pub(crate) fn stop(state: &StateDir, within: Option<Duration>, ui: &Ui) -> Result<Exit, CliError> {
    // As for the status.
    state.check_readable()?;
    let folder = state.path().display().to_string();
    let began = Instant::now();
    let mut told: Option<Address> = None;
    let mut noted = false;
    // Until nobody holds the folder, or another does.
    while state.is_held() {
        if within.is_some_and(|within| began.elapsed() >= within) {
            return not_in_time(ui, "it has not ended in time; it goes on to end");
        }
        match (state.address(), &told) {
            (Some(found), Some(ours)) if found.node != ours.node => break,
            (Some(found), None) => {
                if !state.is_held_by(found.pid) {
                    let said = format!("the server on `{folder}` cannot be told to end from here");
                    return Err(CliError::new(Exit::NotAllowed, "not_ours", said)
                        .cause(format!("process {} is not seen, or is another user's", found.pid))
                        .hint("run this as the same user, and in the same container"));
                }
                if !found.stopping {
                    end_process(found.pid)?;
                }
                told = Some(found);
            }
            (None, None) if began.elapsed() >= NO_ADDRESS_WAIT => {
                let said = format!("the server on `{folder}` tells no address");
                return Err(CliError::new(Exit::TryLater, "no_address", said)
                    .hint("it starts or ends, or another program holds the folder"));
            }
            _ => {}
        }
        if let Some(ours) = told.as_ref().filter(|_| !noted && began.elapsed() >= SAY_AFTER) {
            noted = true;
            ui.note(&format!("process {} is stopping: what it runs has its grace", ours.pid));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let pid = told.map(|ours| ours.pid);
    // It has let the folder go, and does nothing any more but end.
    let let_go = Instant::now();
    while pid.is_some_and(runs) && let_go.elapsed() < LAST_MOMENT {
        std::thread::sleep(LOOK_EVERY);
    }
    let stopped = Stopped { v: 1, stopped: pid.is_some(), state: folder.clone(), pid };
    if ui.format.is_human() {
        let said = match pid {
            Some(pid) => format!("process {pid} has ended\n"),
            None => format!("no server runs on `{folder}`\n"),
        };
        if !ui.quiet {
            ui.raw(said.as_bytes())?;
        }
        return Ok(Exit::Done);
    }
    let shown = pid.map(|pid| pid.to_string()).unwrap_or_default();
    ui.one(&stopped, &shown, &[("stopped", Cell::new(stopped.stopped.to_string()))])?;
    Ok(Exit::Done)
}
