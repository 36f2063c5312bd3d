//! Starting a program with a umask of its own.
//!
//! A umask is of the whole process, so it is changed for the moment of the start: no other program is
//! started in it, and what this process itself makes meanwhile names its mode and is for its owner
//! only, from whom no usual umask takes anything.

use std::sync::OnceLock;

use parking_lot::RwLock;
use rustix::fs::Mode;
use tokio::process::{Child, Command};

/// Held to read while a program starts with this process's umask, to write with another.
static START: RwLock<()> = RwLock::new(());

/// Starts a program with this umask; without one, with this process's own.
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

/// As it was before the first start: read, since asking the kernel for it means to change it.
fn own() -> Option<u32> {
    static OWN: OnceLock<Option<u32>> = OnceLock::new();
    *OWN.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let text = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(text.trim(), 8).ok()
    })
}
