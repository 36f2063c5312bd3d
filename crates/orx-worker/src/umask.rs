//! Spawns a program with a umask of its own.
//!
//! A umask belongs to the whole process, so it is changed while the program is spawned. No other program
//! is spawned meanwhile. Files that this process itself creates meanwhile are unaffected: it names their
//! mode, which grants access to the owner only, and no usual umask removes that.

use std::sync::OnceLock;

use parking_lot::RwLock;
use rustix::fs::Mode;
use tokio::process::{Child, Command};

/// Locked for reading while a program is spawned with this process's umask, for writing with another.
static START: RwLock<()> = RwLock::new(());

/// Spawns a program with this umask; `None` for this process's own.
pub(crate) fn spawn(command: &mut Command, umask: Option<u32>) -> std::io::Result<Child> {
    let Some(umask) = umask.filter(|umask| Some(*umask) != own()).and_then(Mode::from_bits) else {
        let _others = START.read();
        return command.spawn();
    };
    let _alone = START.write();
    let own = rustix::process::umask(umask);
    let spawned = command.spawn();
    rustix::process::umask(own);
    spawned
}

/// The umask before the first spawn. Read from `/proc`: the system call that returns it also changes it.
fn own() -> Option<u32> {
    static OWN: OnceLock<Option<u32>> = OnceLock::new();
    *OWN.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let text = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(text.trim(), 8).ok()
    })
}
