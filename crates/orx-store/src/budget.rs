//! Who shares connections with whom, so that no caller slows what others rely on.
//!
//! A store is asked through two handles. The one that opening gives is the control plane's: electing,
//! claiming, recording, heartbeats. The other (`callers`) is for whoever asks from outside. Each has
//! connections and room in the queue of its own, so neither waits for the other. Callers' own reads are
//! of three kinds, each with a few connections: however many clients list without end, the rest of the
//! cores is left to everything else, and nobody who asks for one job waits for a list.

/// What a caller's read has to look at, and so which connections it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Some rows, found by their key.
    Point,
    /// A bounded piece: of a log, or of what is summed up or small (counts, schedules).
    Piece,
    /// As many jobs as a filter has to be asked of, or whole jobs by the page.
    Scan,
}

/// Scans at once, and as many reads of pieces: half of the cores.
pub(crate) fn half_of_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}
