//! Until when the jobs that were dispatched to this worker are exclusively its own.
//!
//! A leader declares a worker lost when the worker's lease expires: one lease after its last heartbeat
//! arrived. The worker counts the lease from when it *sent* that heartbeat, less a margin, on its own
//! monotonic clock. So the worker stops first, however long messages take, whatever the wall clocks
//! show, and even if the process was suspended in between.

use std::collections::VecDeque;
use std::time::Duration;

/// The margin as a part of the lease: 5 s of 30 s.
const MARGIN_PART: u32 = 6;

/// All times are on the monotonic clock of the protocol.
#[derive(Debug)]
pub(super) struct Fence {
    /// For this long after a heartbeat no other worker may get this worker's jobs.
    lease_window: Duration,
    exclusive_until: Duration,
    /// Number of the newest heartbeat that was answered.
    answered: u64,
    /// When each heartbeat was sent, by number; 0 is the registration. Without those whose window has
    /// ended.
    sent: VecDeque<(u64, Duration)>,
}

impl Fence {
    pub(super) fn new(registered_at: Duration) -> Self {
        Self {
            lease_window: Duration::ZERO,
            exclusive_until: registered_at,
            answered: 0,
            sent: VecDeque::from([(0, registered_at)]),
        }
    }

    /// A heartbeat is sent now.
    pub(super) fn sent(&mut self, heartbeat: u64, now: Duration) {
        while self.sent.front().is_some_and(|(_, at)| at.saturating_add(self.lease_window) <= now) {
            self.sent.pop_front();
        }
        self.sent.push_back((heartbeat, now));
    }

    /// A coordinator received this heartbeat and extends the lease by `lease`. An answer to an older
    /// heartbeat than the newest one answered changes nothing.
    pub(super) fn answered(&mut self, heartbeat: u64, lease: Duration) {
        if heartbeat < self.answered {
            return;
        }
        self.answered = heartbeat;
        self.lease_window = lease - lease / MARGIN_PART;
        if let Some(until) = self.window_of(heartbeat) {
            self.exclusive_until = until;
        }
    }

    /// Whether this worker may still start a job whose dispatch is based on this heartbeat.
    ///
    /// The dispatch may have been delayed for long: by a broken connection, or because this process was
    /// suspended. The leader may have declared this worker lost since, even if the worker is connected
    /// again: another worker may run the job, or it may be cancelled.
    pub(super) fn accepts(&mut self, heartbeat: u64, now: Duration) -> bool {
        let Some(until) = self.window_of(heartbeat).filter(|until| now < *until) else {
            return false;
        };
        // The dispatch proves that the leader received that heartbeat, even if the answer is lost.
        self.exclusive_until = self.exclusive_until.max(until);
        true
    }

    /// From then on no job starts, unless a later heartbeat is answered.
    pub(super) fn exclusive_until(&self) -> Duration {
        self.exclusive_until
    }

    fn window_of(&self, heartbeat: u64) -> Option<Duration> {
        let (_, at) = self.sent.iter().find(|(number, _)| *number == heartbeat)?;
        Some(at.saturating_add(self.lease_window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn registered() -> Fence {
        let mut fence = Fence::new(at(0));
        fence.answered(0, LEASE);
        fence
    }

    #[test]
    fn a_window_begins_when_the_heartbeat_was_sent_and_ends_before_the_lease() {
        let mut fence = registered();
        assert_eq!(fence.exclusive_until(), at(25));
        fence.sent(1, at(10));
        assert_eq!(fence.exclusive_until(), at(25));
        // However late the answer is.
        fence.answered(1, LEASE);
        assert_eq!(fence.exclusive_until(), at(35));
    }

    #[test]
    fn before_an_answer_nothing_is_exclusive() {
        let mut fence = Fence::new(at(5));
        assert_eq!(fence.exclusive_until(), at(5));
        assert!(!fence.accepts(0, at(5)));
    }

    #[test]
    fn the_answer_to_an_older_heartbeat_changes_nothing() {
        let mut fence = registered();
        fence.sent(1, at(10));
        fence.sent(2, at(20));
        fence.answered(2, at(12));
        fence.answered(1, LEASE);
        assert_eq!(fence.exclusive_until(), at(30));
    }

    #[test]
    fn a_dispatch_is_accepted_within_the_window_of_the_heartbeat_it_is_based_on() {
        let mut fence = registered();
        fence.sent(1, at(10));
        assert!(fence.accepts(1, at(34)));
        // That heartbeat arrived, though its answer is lost.
        assert_eq!(fence.exclusive_until(), at(35));
        assert!(!fence.accepts(1, at(35)));
        // After the next heartbeat, a dispatch that old is still rejected.
        fence.sent(2, at(36));
        fence.answered(2, LEASE);
        assert!(!fence.accepts(1, at(37)));
        assert!(fence.accepts(2, at(37)));
        assert!(!fence.accepts(3, at(37)));
    }

    #[test]
    fn a_heartbeat_is_remembered_until_its_window_ends() {
        let mut fence = registered();
        fence.sent(1, at(10));
        fence.sent(2, at(20));
        fence.sent(3, at(34));
        assert!(fence.accepts(1, at(34)));
        fence.sent(4, at(35));
        assert_eq!(fence.sent.front(), Some(&(2, at(20))));
    }

    #[test]
    fn heartbeats_whose_window_has_ended_are_forgotten() {
        let mut fence = registered();
        for number in 1..1_000 {
            fence.sent(number, at(number));
        }
        assert!(fence.sent.len() <= 25);
    }
}
