//! Priorities, and retry policies for attempts that did not succeed.

use std::str::FromStr;
use std::time::Duration;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::names;

names! {
    /// Priority of a job. Strict: no job of a lower priority starts while one of a higher priority is ready and
    /// a worker can run it.
    #[derive(PartialOrd, Ord, Default, utoipa::ToSchema)]
    pub enum Priority {
        /// Starts when no job of a higher priority is ready.
        Low = "low",
        /// The default.
        #[default]
        Normal = "normal",
        /// Before normal jobs.
        High = "high",
        /// Before all others.
        Critical = "critical",
    }
}

impl Priority {
    /// The priority rank: 0 (low) to 3 (critical), as stores write it.
    #[must_use]
    pub fn rank(self) -> u8 {
        self as u8
    }

    /// The priority of a rank; `None` above 3.
    #[must_use]
    pub fn from_rank(rank: u8) -> Option<Self> {
        Self::ALL.get(usize::from(rank)).copied()
    }
}

/// The text is not a priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a priority: `low`, `normal`, `high` or `critical`, found `{found}`")]
pub struct ParsePriorityError {
    /// The text that was found, cut to 80 characters.
    pub found: String,
}

impl FromStr for Priority {
    type Err = ParsePriorityError;

    fn from_str(text: &str) -> Result<Self, ParsePriorityError> {
        Self::of_name(&text.to_ascii_lowercase())
            .ok_or_else(|| ParsePriorityError { found: text.chars().take(80).collect() })
    }
}

/// What happens to a job whose worker or server was lost.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Run again: at least once.
    #[default]
    Retry,
    /// End as failed: at most once, for jobs that must not run twice. A job that had started when its
    /// worker was stopped also ends as failed.
    Fail,
}

/// How often and when a job is tried again after a failed or timed-out attempt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Further tries after the first; 0 to 1000.
    pub retries: u32,
    /// Wait before the first retry, in milliseconds.
    pub backoff_ms: u64,
    /// Factor from each wait to the next; 1 to 100.
    pub factor: f64,
    /// Longest wait, in milliseconds.
    pub backoff_max_ms: u64,
    /// Share of the wait that is drawn at random, 0 to 1: at 0.2 a wait of 10 s is 8 to 12 s.
    pub jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 3, backoff_ms: 10_000, factor: 2.0, backoff_max_ms: 600_000, jitter: 0.2 }
    }
}

impl RetryPolicy {
    /// Most retries that a policy may have.
    pub const RETRIES_MAX: u32 = 1_000;

    /// No retry at all.
    #[must_use]
    pub fn none() -> Self {
        Self { retries: 0, ..Self::default() }
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    ///
    /// A text about the first value out of range.
    pub fn check(&self) -> Result<(), String> {
        if self.retries > Self::RETRIES_MAX {
            return Err(format!(
                "retries must be 0 to {}, found {}",
                Self::RETRIES_MAX,
                self.retries
            ));
        }
        if !(1.0..=100.0).contains(&self.factor) {
            return Err(format!("factor must be 1 to 100, found {}", self.factor));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(format!("jitter must be 0 to 1, found {}", self.jitter));
        }
        let most = crate::limits::DELAY_MAX.as_millis() as u64;
        if self.backoff_ms > most || self.backoff_max_ms > most {
            return Err("a backoff is at most ten years".to_owned());
        }
        Ok(())
    }

    /// Wait before retry number `retry` (from 1). `draw` is uniform in 0..1.
    #[must_use]
    pub fn backoff(&self, retry: u32, draw: f64) -> Duration {
        let power = self.factor.powi(retry.saturating_sub(1).min(1_000) as i32);
        let plain = (self.backoff_ms as f64 * power).min(self.backoff_max_ms as f64);
        let spread = 1.0 + self.jitter * (2.0 * draw.clamp(0.0, 1.0) - 1.0);
        Duration::from_millis((plain * spread).min(self.backoff_max_ms as f64).max(0.0) as u64)
    }
}

/// A uniform draw for [`RetryPolicy::backoff`].
pub fn draw(rng: &mut (impl Rng + ?Sized)) -> f64 {
    rng.random::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let policy = RetryPolicy { jitter: 0.0, ..RetryPolicy::default() };
        let waits: Vec<u64> = (1..=9).map(|n| policy.backoff(n, 0.5).as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
    }

    #[test]
    fn jitter_stays_within_its_share_and_under_the_longest() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.backoff(1, 0.0), Duration::from_secs(8));
        assert_eq!(policy.backoff(1, 1.0), Duration::from_secs(12));
        assert_eq!(policy.backoff(50, 1.0), Duration::from_secs(600));
    }

    #[test]
    fn a_priority_reads_as_it_prints_and_orders_by_rank() {
        for priority in Priority::ALL {
            assert_eq!(priority.to_string().parse(), Ok(priority));
            assert_eq!(Priority::from_rank(priority.rank()), Some(priority));
        }
        assert!(Priority::Critical > Priority::Low);
    }
}
