//! Who shares connections with whom, so that no caller slows what others rely on.
//!
//! A store is asked through two handles. The one that opening gives is the control plane's: electing,
//! claiming, recording, heartbeats. The other (`callers`) is for whoever asks from outside. Each has
//! connections and room in the queue of its own, so neither waits for the other. What callers read is
//! bounded in rows, bytes and time, and of three kinds by how much that may be. Those that may look at
//! much have few connections, and give them back after each slice: however many clients scan without
//! end, the rest of the cores is left to everything else, and nobody who asks for one job, or for a page
//! that an index gives, waits for a scan.

/// What a caller's read has to look at, and so which connections it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Some rows, found by their key or the next of an index: it looks at about as many as it answers.
    Point,
    /// A bounded piece: of a log, or of what is summed up or small (counts, schedules).
    Piece,
    /// A slice of as many jobs as a filter has to be asked of, or whole jobs by the page.
    Scan,
}

/// Scans at once, and as many reads of pieces: half of the cores.
pub(crate) fn half_of_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}
