//! How calls share connections, so that API requests never slow the control plane.
//!
//! A store has two handles. Opening returns the handle of the control plane (election, claims,
//! outcomes, heartbeats); `callers` returns the handle of API requests. Each handle has its own
//! connections and its own queue for writes, so neither waits for the other.
//!
//! Reads of API requests are bounded in rows, bytes and time. They are of three kinds by the amount
//! that they read, and each kind has its own connections. Scans have few connections and release them
//! after each window. So endless scans of many clients occupy at most half of the cores, and a read of
//! one job, or of a page that an index yields in order, never waits for a scan.

/// How much a read looks at. Decides which connections it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Rows found by key, or next to each other in an index: reads about as many as it returns.
    Point,
    /// A bounded part of a log, or a small table such as counts and schedules.
    Piece,
    /// A window of jobs that a filter has to match one by one, or a page of whole jobs.
    Scan,
}

/// Concurrent scans, and concurrent reads of pieces: half of the cores.
pub(crate) fn half_of_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}
