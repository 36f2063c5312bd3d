//! Rates from the counts that the dashboard has seen since it started.

use std::collections::VecDeque;
use std::time::Duration;

use orx_model::JobStatus;
use orx_model::wire::StatusCounts;

/// Time that the rates cover.
pub(crate) const SPAN: Duration = Duration::from_secs(300);

/// What was counted at one time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Duration,
    total: u64,
    done: u64,
    failed: u64,
}

/// Changes of one kind: a value for each step of time, oldest first, and the rate of late.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    pub(crate) values: Vec<u64>,
    pub(crate) per_second: f64,
}

/// The counts of the last minutes.
#[derive(Debug, Default)]
pub(crate) struct RateHistory {
    samples: VecDeque<Sample>,
}

impl RateHistory {
    pub(crate) fn add(&mut self, at: Duration, counts: &StatusCounts) {
        let sum = |all: &[JobStatus]| all.iter().map(|status| counts.of(*status)).sum();
        let sample = Sample {
            at,
            total: sum(&JobStatus::ALL),
            done: counts.completed,
            failed: sum(&[JobStatus::Failed, JobStatus::TimedOut]),
        };
        self.samples.push_back(sample);
        while self.samples.front().is_some_and(|first| at.saturating_sub(first.at) > SPAN) {
            self.samples.pop_front();
        }
    }

    /// The time that the samples cover.
    pub(crate) fn span(&self) -> Duration {
        match (self.samples.front(), self.samples.back()) {
            (Some(first), Some(last)) => last.at.saturating_sub(first.at),
            _ => Duration::ZERO,
        }
    }

    /// New, completed and failed jobs, in this many steps.
    pub(crate) fn series(&self, steps: usize) -> [Series; 3] {
        [|s: &Sample| s.total, |s: &Sample| s.done, |s: &Sample| s.failed]
            .map(|of| self.one(steps, of))
    }

    fn one(&self, steps: usize, of: impl Fn(&Sample) -> u64) -> Series {
        let mut values = vec![0_u64; steps];
        let Some(last) = self.samples.back() else { return Series { values, per_second: 0.0 } };
        let step = SPAN.as_secs_f64() / steps.max(1) as f64;
        let (mut recent, mut since) = (0, last.at);
        for (one, next) in self.samples.iter().zip(self.samples.iter().skip(1)) {
            // Jobs that are pruned lower a count; that is no change of the rate.
            let change = of(next).saturating_sub(of(one));
            let age = last.at.saturating_sub(next.at);
            if let Some(back) = steps.checked_sub(1 + (age.as_secs_f64() / step) as usize) {
                values[back] += change;
            }
            if last.at.saturating_sub(one.at) <= Duration::from_secs(20) {
                recent += change;
                since = since.min(one.at);
            }
        }
        let span = last.at.saturating_sub(since).as_secs_f64();
        Series { values, per_second: if span > 0.0 { recent as f64 / span } else { 0.0 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_change_of_a_count_and_a_pruned_count_is_none() {
        let mut rates = RateHistory::default();
        let mut counts = StatusCounts { completed: 1_000, ..StatusCounts::default() };
        for second in 0..10 {
            rates.add(Duration::from_secs(second), &counts);
            counts.completed += 3;
            if second == 5 {
                counts.completed = 500;
            }
        }
        let [_, done, failed] = rates.series(10);
        assert!((done.per_second - 24.0 / 9.0).abs() < 0.01, "{done:?}");
        assert_eq!((done.values[9], failed.per_second), (24, 0.0));
    }
}
