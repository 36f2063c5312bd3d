//! `orx top` in a terminal of its own, whose screen is read back.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::Failed;
use crate::server::Server;

const ROWS: u16 = 36;
const COLUMNS: u16 = 120;
/// Pieces of output that wait to be parsed.
const PIECES: usize = 4_096;
/// After this time an answer is on the screen, and its last piece parsed.
const SETTLE: Duration = Duration::from_millis(500);
/// Nothing that is measured takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A piece of output, and when it came.
type Piece = (Instant, Vec<u8>);

/// A running dashboard.
pub(crate) struct Top {
    child: Box<dyn Child + Send + Sync>,
    write: Box<dyn Write + Send>,
    pieces: Receiver<Piece>,
    parser: vt100::Parser,
    /// Keeps the terminal open.
    _master: Box<dyn MasterPty + Send>,
    pid: u32,
    /// Just before the program was started.
    pub(crate) began: Instant,
    /// Bytes that it wrote.
    pub(crate) bytes: usize,
}

impl Top {
    pub(crate) fn start(server: &Server, args: &[&str]) -> Result<Self, Failed> {
        let size = PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size)?;
        let mut command = CommandBuilder::new(&server.orx);
        command.arg("top");
        if !args.contains(&"--screen") {
            // Else it begins on the screen that the session before ended on.
            command.args(["--screen", "overview"]);
        }
        command.args(args);
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        server.environment().into_iter().for_each(|(name, value)| command.env(name, value));
        command.env_remove("ORX_URL");
        command.env_remove("ORX_TOKEN");
        let mut read = pair.master.try_clone_reader()?;
        let write = pair.master.take_writer()?;
        let (to, pieces) = sync_channel(PIECES);
        let began = Instant::now();
        let child = pair.slave.spawn_command(command)?;
        drop(pair.slave);
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok(count) = read.read(&mut buffer) {
                if count == 0 || to.send((Instant::now(), buffer[..count].to_vec())).is_err() {
                    return;
                }
            }
        });
        let pid = child.process_id().ok_or("the dashboard has no process id")?;
        let parser = vt100::Parser::new(ROWS, COLUMNS, 0);
        let master = pair.master;
        Ok(Self { child, write, pieces, parser, _master: master, pid, began, bytes: 0 })
    }

    fn take(&mut self, wait: Duration) -> Result<Option<Instant>, Failed> {
        match self.pieces.recv_timeout(wait) {
            Ok((at, piece)) => {
                self.bytes += piece.len();
                self.parser.process(&piece);
                Ok(Some(at))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(format!("the dashboard ended:\n{}", self.text()).into())
            }
        }
    }

    /// The screen as text.
    pub(crate) fn text(&self) -> String {
        self.parser.screen().contents()
    }

    /// Waits until the screen satisfies `there`; returns when the piece came that made it so.
    pub(crate) fn until(
        &mut self,
        what: &str,
        there: impl Fn(&str) -> bool,
    ) -> Result<Instant, Failed> {
        let until = Instant::now() + PATIENCE;
        let mut at = Instant::now();
        loop {
            if there(&self.text()) {
                return Ok(at);
            }
            if Instant::now() > until {
                return Err(format!("never saw {what}:\n{}", self.text()).into());
            }
            if let Some(came) = self.take(Duration::from_millis(200))? {
                at = came;
            }
        }
    }

    /// Waits until the screen has this text.
    pub(crate) fn shows(&mut self, text: &str) -> Result<Instant, Failed> {
        self.until(text, |screen| screen.contains(text))
    }

    /// Parses what comes for this long.
    pub(crate) fn watch(&mut self, span: Duration) -> Result<(), Failed> {
        let until = Instant::now() + span;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.take(left)?;
        }
    }

    /// Types keys, and returns when.
    pub(crate) fn keys(&mut self, keys: &str) -> Result<Instant, Failed> {
        let at = Instant::now();
        self.write.write_all(keys.as_bytes())?;
        self.write.flush()?;
        Ok(at)
    }

    /// Types keys once the screen has settled; returns the time until it satisfies `there`, which is made from
    /// the screen before the keys.
    pub(crate) fn time<P: Fn(&str) -> bool>(
        &mut self,
        keys: &str,
        what: &str,
        there: impl FnOnce(&str) -> P,
    ) -> Result<Duration, Failed> {
        self.watch(SETTLE)?;
        let there = there(&self.text());
        if there(&self.text()) {
            return Err(format!("the screen has {what} already:\n{}", self.text()).into());
        }
        let at = self.keys(keys)?;
        Ok(self.until(what, there)?.saturating_duration_since(at))
    }

    /// The row of the screen that the cursor of the list is in.
    pub(crate) fn cursor(&self) -> Option<usize> {
        cursor(&self.text())
    }

    /// Time on a processor so far, of all threads.
    pub(crate) fn cpu(&self) -> Result<Duration, Failed> {
        let mut all = Duration::ZERO;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // A thread may end meanwhile.
            let stat = std::fs::read_to_string(thread?.path().join("schedstat"));
            let spent = stat.ok().and_then(|stat| stat.split(' ').next()?.parse().ok());
            all += Duration::from_nanos(spent.unwrap_or(0));
        }
        Ok(all)
    }

    /// Resident memory in MiB: now, and at most so far.
    pub(crate) fn memory(&self) -> Result<(f64, f64), Failed> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            kib.unwrap_or(0.0) / 1024.0
        };
        Ok((of("VmRSS:"), of("VmHWM:")))
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The row of a screen that the cursor of the list is in.
pub(crate) fn cursor(screen: &str) -> Option<usize> {
    screen.lines().position(|line| line.contains('▌'))
}

/// The first ids of the rows of a list of jobs.
pub(crate) fn has_job(screen: &str, id: &str) -> bool {
    let ids = screen
        .lines()
        .filter_map(|line| line.trim_start_matches(['│', '▌', '•', ' ']).split_whitespace().next());
    ids.into_iter().any(|found| found == id)
}
