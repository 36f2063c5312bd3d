//! What ends a command from outside: Ctrl-C, SIGTERM, and SIGHUP of a terminal that closes.

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Those signals that this process was not told to ignore: `nohup` means SIGHUP, and a script that
/// starts a command with `&` means Ctrl-C.
pub(crate) struct Interrupts {
    int: Option<Signal>,
    term: Option<Signal>,
    hup: Option<Signal>,
}

impl Interrupts {
    /// From here on the process does not end by them.
    pub(crate) fn new() -> std::io::Result<Self> {
        let ignored = ignored();
        let listen = |kind: SignalKind, number: Number| {
            let ignored = ignored & (1 << (number.as_raw() - 1)) != 0;
            if ignored { Ok(None) } else { signal(kind).map(Some) }
        };
        Ok(Self {
            int: listen(SignalKind::interrupt(), Number::INT)?,
            term: listen(SignalKind::terminate(), Number::TERM)?,
            hup: listen(SignalKind::hangup(), Number::HUP)?,
        })
    }

    /// The number of the next one.
    pub(crate) async fn next(&mut self) -> i32 {
        tokio::select! {
            () = received(&mut self.int) => Number::INT.as_raw(),
            () = received(&mut self.term) => Number::TERM.as_raw(),
            () = received(&mut self.hup) => Number::HUP.as_raw(),
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// A bit for each signal that is ignored, the lowest for 1.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or_default()
}
