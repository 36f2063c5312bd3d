//! The daemons: turns a configuration into a running server, coordinator or worker. The only place
//! that links the server's crates and selects store and transport.

pub(crate) mod copy;
mod home;
pub(crate) mod net;
mod node;
pub(crate) mod store;
mod transport;
mod worker;

use std::time::Duration;

use orx_client::Trust;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::background;
use crate::error::{CliError, Exit};

pub(crate) use node::{NodeOptions, end_process, node};
pub(crate) use transport::TransportKind;
pub(crate) use worker::{WorkerDaemonOptions, worker};

/// Runs a future on a new runtime.
fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| failed("could not start", error))?;
    let ended = runtime.block_on(work);
    // A stuck blocking call must not keep the process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// The signals that end a daemon. SIGHUP, of a terminal that closes, does not.
struct ShutdownSignals {
    term: Signal,
    int: Signal,
    hup: Signal,
    /// Called on SIGHUP.
    reload: Box<dyn Fn() + Send + Sync>,
}

impl ShutdownSignals {
    /// Must be called before the daemon starts any program.
    fn new() -> Result<Self, CliError> {
        background::reset_ignored_signals();
        let handle =
            |kind| signal(kind).map_err(|error| failed("could not wait for signals", error));
        Ok(Self {
            term: handle(SignalKind::terminate())?,
            int: handle(SignalKind::interrupt())?,
            hup: handle(SignalKind::hangup())?,
            reload: Box::new(|| ()),
        })
    }

    async fn end(&mut self) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.int.recv() => return,
                _ = self.hup.recv() => {
                    tracing::info!("SIGHUP: going on");
                    (self.reload)();
                }
            }
        }
    }
}

/// How this process calls coordinators.
fn http_client(trust: Option<&Trust>) -> Result<reqwest::Client, CliError> {
    orx_client::daemon_client(trust)
        .map_err(|error| CliError::new(Exit::Failed, "start", "could not set up HTTP").cause(error))
}

/// The name of this machine, for people.
pub(crate) fn host_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    host.trim().to_owned()
}

fn failed(what: &str, error: std::io::Error) -> CliError {
    CliError::new(Exit::Failed, "start", what).cause(error.to_string())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
