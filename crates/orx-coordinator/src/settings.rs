use std::time::Duration;

/// Durations that a coordinator works by. The defaults are what the product promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A worker whose heartbeats stop for this long is lost.
    pub lease: Duration,
    /// How often a worker sends a heartbeat.
    pub heartbeat: Duration,
    /// A worker is asked about an attempt that its heartbeats do not list for this long.
    pub ask_after: Duration,
    /// How often the leader compares timeouts, leases and due times with the store, also when nothing wakes
    /// it.
    pub monitor: Duration,
    /// How much longer than its timeout an attempt may live before the leader ends it: the worker's kill
    /// grace, and a round of the monitor.
    pub timeout_margin: Duration,
    /// A write that the store does not answer takes effect within this, or never.
    pub store_deadline: Duration,
    /// A leader that does not renew its lease for this long leads no longer.
    pub leader_lease: Duration,
    /// How often a leader renews its lease.
    pub leader_renew: Duration,
    /// A leader stops this long before its lease ends, unless it renewed the lease.
    pub leader_margin: Duration,
    /// How often a node writes its own row. A node whose row is three times as old does not count as live.
    pub node_heartbeat: Duration,
    /// Completed jobs are deleted at this age.
    pub keep_completed: Duration,
    /// Jobs that ended otherwise are deleted at this age, except those with a dead letter.
    pub keep_others: Duration,
    /// Rows of a schedule's ledger are deleted at this age.
    pub keep_slots: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            ask_after: Duration::from_secs(15),
            monitor: Duration::from_secs(5),
            timeout_margin: Duration::from_secs(40),
            store_deadline: orx_store::WRITE_DEADLINE,
            leader_lease: Duration::from_secs(30),
            leader_renew: Duration::from_secs(10),
            leader_margin: Duration::from_secs(5),
            node_heartbeat: Duration::from_secs(10),
            keep_completed: day * 7,
            keep_others: day * 30,
            keep_slots: day * 90,
        }
    }
}
