//! The time limits that the checker applies.

use super::facts::Ms;

/// The settings of the daemons in the run, and the time limits that the checker applies.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// A worker without a heartbeat for this long is lost.
    pub lease: Ms,
    /// Time between two heartbeats of a worker.
    pub heartbeat: Ms,
    /// Time between two searches for lost workers.
    pub monitor: Ms,
    /// Time from the signal to stop to the kill of a job's process.
    pub kill_grace: Ms,
    /// How long the lease of a leader lasts without renewal.
    pub leader_lease: Ms,
    /// The longest time between two tries of a follower to lead.
    pub follower_poll: Ms,
    /// Limit from the last fault until every job has ended.
    pub all_ended: Ms,
    /// Limit from SIGTERM until the process ends.
    pub shutdown: Ms,
    /// Tolerance for process scheduling and for writing facts.
    pub margin: Ms,
    /// The processes on which all others depend: coordinators and their database.
    pub shared: Vec<String>,
    /// The database. Its kill may lose recent claims and starts, which no promise covers.
    pub database: String,
    /// The age up to which such a claim may be lost.
    pub unsynced: Ms,
}
