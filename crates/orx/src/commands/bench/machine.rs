//! Measurements of the machine: the limits of what a server can reach.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use crate::commands::Session;
use crate::error::CliError;

/// Synced writes per second into the state folder, so to the disk of a local store.
pub(super) fn synced_writes(session: &Session) -> Result<f64, CliError> {
    let path = session.state.file(&format!(".bench.{}", std::process::id()));
    let mut file = std::fs::File::create(&path)?;
    file.write_all(&vec![0; 1 << 20])?;
    file.sync_all()?;
    let page = [1_u8; 4096];
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < Duration::from_secs(1) {
        file.write_all_at(&page, u64::from(count % 256) * 4096)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}

/// Processes spawned per second, eight at a time.
pub(super) async fn spawned() -> Result<f64, CliError> {
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < Duration::from_secs(1) {
        let one = || tokio::process::Command::new("/bin/true").status();
        let eight = futures_util::future::join_all((0..8).map(|_| one())).await;
        for status in eight {
            status?;
            count += 1;
        }
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}
