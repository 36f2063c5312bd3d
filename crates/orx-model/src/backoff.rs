//! Waits between repeated tries. Reads no clock and does not sleep.

use std::time::Duration;

/// Waits that double: the first after a failure is `first`, and no wait is longer than `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts at `first`.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// How long to wait after a failure. The next failure waits twice as long.
    pub fn failed(&mut self) -> Duration {
        let wait = self.next.min(self.most);
        self.next = wait.saturating_mul(2).min(self.most);
        wait
    }

    /// How long the next failure waits.
    #[must_use]
    pub fn peek(&self) -> Duration {
        self.next.min(self.most)
    }

    /// After a success: the next failure waits `first` again.
    pub fn succeeded(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(300), Duration::from_secs(1));
        let waits: Vec<u128> = (0..4).map(|_| backoff.failed().as_millis()).collect();
        assert_eq!(waits, [300, 600, 1_000, 1_000]);
        assert_eq!(backoff.peek(), Duration::from_secs(1));
        backoff.succeeded();
        assert_eq!(backoff.failed(), Duration::from_millis(300));
    }
}
