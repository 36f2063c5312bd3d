//! The signals that interrupt a command: SIGINT (Ctrl-C), SIGTERM, SIGHUP (its terminal closes).

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::background::ignored_signals;

/// Receives these signals, except those that this process inherited as ignored: `nohup` ignores
/// SIGHUP, and a shell ignores SIGINT for a command that a script starts with `&`.
pub(crate) struct Interrupts {
    int: Option<Signal>,
    term: Option<Signal>,
    hup: Option<Signal>,
}

impl Interrupts {
    /// From this call on the signals no longer end the process.
    pub(crate) fn new() -> std::io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = ignored_signals(&status);
        let listen = |kind: SignalKind, number: Number| {
            if ignored.contains(&number.as_raw()) { Ok(None) } else { signal(kind).map(Some) }
        };
        Ok(Self {
            int: listen(SignalKind::interrupt(), Number::INT)?,
            term: listen(SignalKind::terminate(), Number::TERM)?,
            hup: listen(SignalKind::hangup(), Number::HUP)?,
        })
    }

    /// Waits for the next signal and returns its number.
    pub(crate) async fn next(&mut self) -> i32 {
        tokio::select! {
            () = received(&mut self.int) => Number::INT.as_raw(),
            () = received(&mut self.term) => Number::TERM.as_raw(),
            () = received(&mut self.hup) => Number::HUP.as_raw(),
        }
    }
}

/// Waits for the signal, or for ever where there is none to wait for.
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}
