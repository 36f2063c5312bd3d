//! Until when nobody else may have what coordinators gave to this worker.
//!
//! A leader gives a worker up once it has not heard of it for a lease. The worker counts the same
//! time from when it *sent* the newest heartbeat that was heard, less a margin, on its own monotonic
//! clock. So it stops first, however long messages are under way, whatever the clocks show, and though
//! the process stood still in between.

use std::collections::VecDeque;
use std::time::Duration;

/// This part of a lease is left unused: 5 s of 30 s.
const MARGIN_PART: u32 = 6;

#[derive(Debug)]
pub(super) struct Fence {
    /// For so long after a heartbeat that was heard no other worker may get this one's jobs.
    lease_window: Duration,
    exclusive_until: Duration,
    /// The newest heartbeat that was answered.
    answered: u64,
    /// When heartbeats were sent, by their numbers; 0 is the registration. Those that are too old to
    /// mean anything are forgotten.
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

    pub(super) fn sends(&mut self, heartbeat: u64, now: Duration) {
        while self.sent.front().is_some_and(|(_, at)| at.saturating_add(self.lease_window) <= now) {
            self.sent.pop_front();
        }
        self.sent.push_back((heartbeat, now));
    }

    /// A coordinator heard that heartbeat, and lets it count for that long. The answer to an older
    /// heartbeat than the last one answered says nothing new.
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

    /// Answers whether what a leader gave out when it had heard that heartbeat is still this worker's.
    ///
    /// It may have been under way for long: on a link that was cut, or in front of a process that was
    /// stopped. The leader may have given this worker up since, and that the worker is in contact again
    /// says nothing of that: the job may be another's, or cancelled.
    pub(super) fn takes(&mut self, heartbeat: u64, now: Duration) -> bool {
        let Some(until) = self.window_of(heartbeat).filter(|until| now < *until) else {
            return false;
        };
        // The answer to that heartbeat may be lost: the leader heard it all the same.
        self.exclusive_until = self.exclusive_until.max(until);
        true
    }

    /// Nothing new starts from then on, unless a later heartbeat is heard.
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
    fn a_window_counts_from_when_the_heartbeat_was_sent_and_ends_before_the_lease() {
        let mut fence = registered();
        assert_eq!(fence.exclusive_until(), at(25));
        fence.sends(1, at(10));
        assert_eq!(fence.exclusive_until(), at(25));
        // However late the answer is.
        fence.answered(1, LEASE);
        assert_eq!(fence.exclusive_until(), at(35));
    }

    #[test]
    fn before_an_answer_nothing_is_exclusive() {
        let mut fence = Fence::new(at(5));
        assert_eq!(fence.exclusive_until(), at(5));
        assert!(!fence.takes(0, at(5)));
    }

    #[test]
    fn the_answer_to_an_older_heartbeat_says_nothing_new() {
        let mut fence = registered();
        fence.sends(1, at(10));
        fence.sends(2, at(20));
        fence.answered(2, at(12));
        fence.answered(1, LEASE);
        assert_eq!(fence.exclusive_until(), at(30));
    }

    #[test]
    fn a_dispatch_is_taken_within_the_window_of_the_heartbeat_that_it_is_based_on() {
        let mut fence = registered();
        fence.sends(1, at(10));
        assert!(fence.takes(1, at(34)));
        // That heartbeat was heard, though its answer is lost.
        assert_eq!(fence.exclusive_until(), at(35));
        assert!(!fence.takes(1, at(35)));
        // In contact again, what is that old is still not taken.
        fence.sends(2, at(36));
        fence.answered(2, LEASE);
        assert!(!fence.takes(1, at(37)));
        assert!(fence.takes(2, at(37)));
        assert!(!fence.takes(3, at(37)));
    }

    #[test]
    fn heartbeats_that_mean_nothing_any_more_are_forgotten() {
        let mut fence = registered();
        for number in 1..1_000 {
            fence.sends(number, at(number));
        }
        assert!(fence.sent.len() <= 25);
    }
}
