use std::time::Duration;

/// Times by which a coordinator works. The defaults are the product's promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A worker not heard of for so long is lost.
    pub lease: Duration,
    /// How often workers should be heard.
    pub heartbeat: Duration,
    /// A dispatch of which nothing was heard for so long is asked about.
    pub ask_after: Duration,
    /// How often timeouts, leases and due times are looked at, woken or not.
    pub monitor: Duration,
    /// How much longer than its timeout an attempt may live before it is given up here: the
    /// worker's kill grace and a monitor's round.
    pub timeout_margin: Duration,
    /// A write of which the store does not say what became of it takes effect within this, or never.
    pub store_deadline: Duration,
    /// Who leads and is not heard of by the store for so long leads no more.
    pub leader_lease: Duration,
    /// How often a leader renews.
    pub leader_renew: Duration,
    /// A leader stops so long before its lease ends, unless it was renewed.
    pub leader_margin: Duration,
    /// How often a node says that it lives. One that is silent for three times as long does not
    /// count as live.
    pub node_heartbeat: Duration,
    /// Completed jobs are kept so long.
    pub keep_completed: Duration,
    /// Jobs that ended otherwise are kept so long; those with a dead letter for ever.
    pub keep_others: Duration,
    /// Rows of a schedule's ledger are kept so long.
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
