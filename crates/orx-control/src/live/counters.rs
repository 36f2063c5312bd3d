//! Counts accepted and ended jobs from the events of the feed, and measures how long jobs wait and run.
//! All of it is bounded, whatever the number of jobs.

use std::collections::HashMap;

use orx_model::event::{Event, KnownEvent};
use orx_model::wire::{Percentiles, Rates, StatusCounts};
use orx_model::{JobId, JobStatus, Timestamp};

use super::durations::Histogram;

/// Length of a bucket of the rates.
pub(crate) const BUCKET_MS: u64 = 10_000;
/// 5 minutes.
const BUCKETS: usize = 30;
/// 1 hour.
const MINUTES: usize = 60;
/// 5 minutes, and the current one.
const HISTOGRAMS: usize = 6;
/// Buckets of the current rate: 30 s.
const CURRENT: usize = 3;
/// Open jobs whose times are remembered, at most.
const OPEN_MOST: usize = 16_384;

/// Slots of equal length, of which the newest `N` are remembered.
struct TimeBuckets<T, const N: usize> {
    length_ms: u64,
    /// Number of the newest slot since 1970.
    newest: u64,
    slots: Vec<T>,
}

impl<T: Default + Clear, const N: usize> TimeBuckets<T, N> {
    fn new(length_ms: u64) -> Self {
        Self { length_ms, newest: 0, slots: (0..N).map(|_| T::default()).collect() }
    }

    /// Clears the slots that began since the last call. After a step back of the clock it stays where it is.
    fn advance(&mut self, now: Timestamp) {
        let number = u64::try_from(now.as_millis()).unwrap_or_default() / self.length_ms;
        let first = (self.newest + 1).max(number.saturating_sub(N as u64 - 1));
        for begun in first..=number {
            self.slots[begun as usize % N].clear();
        }
        self.newest = self.newest.max(number);
    }

    fn current(&mut self) -> &mut T {
        &mut self.slots[self.newest as usize % N]
    }

    /// Oldest first.
    fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        (1..=N).map(|age| &self.slots[(self.newest as usize + age) % N])
    }
}

trait Clear {
    fn clear(&mut self);
}

/// Changes within one bucket.
#[derive(Default)]
struct Bucket {
    accepted: u32,
    completed: u32,
    failed: u32,
    partial: bool,
}

impl Clear for Bucket {
    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Clear for StatusCounts {
    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// How long jobs waited and ran.
#[derive(Default)]
struct Durations {
    wait: Histogram,
    run: Histogram,
}

impl Clear for Durations {
    fn clear(&mut self) {
        self.wait.clear();
        self.run.clear();
    }
}

/// What is known of an open job.
#[derive(Default)]
struct Times {
    ready: Option<Timestamp>,
    dispatched: Option<Timestamp>,
    started: Option<Timestamp>,
}

/// The counters of one node.
pub(crate) struct Counters {
    since: Timestamp,
    buckets: TimeBuckets<Bucket, BUCKETS>,
    minutes: TimeBuckets<StatusCounts, MINUTES>,
    durations: TimeBuckets<Durations, HISTOGRAMS>,
    open: HashMap<JobId, Times>,
    /// Of 2^`thinned` open jobs, one is remembered, so that a long backlog does not fill the memory.
    thinned: u32,
}

impl Counters {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            buckets: TimeBuckets::new(BUCKET_MS),
            minutes: TimeBuckets::new(60_000),
            durations: TimeBuckets::new(60_000),
            open: HashMap::new(),
            thinned: 0,
        }
    }

    fn advance(&mut self, now: Timestamp) {
        self.buckets.advance(now);
        self.minutes.advance(now);
        self.durations.advance(now);
    }

    /// Events did not reach this node.
    pub(crate) fn gap(&mut self, now: Timestamp) {
        self.advance(now);
        self.buckets.current().partial = true;
        // Times of jobs whose end was not seen would stay for ever.
        self.open.clear();
    }

    /// Counts events that were read at `now`.
    pub(crate) fn count<'a>(&mut self, events: impl Iterator<Item = &'a Event>, now: Timestamp) {
        self.advance(now);
        for event in events {
            match event.known() {
                Some(KnownEvent::JobAccepted { job, to }) => {
                    self.buckets.current().accepted += 1;
                    let ready = (*to == Some(JobStatus::Pending)).then_some(event.at);
                    self.remember(job.id, |times| times.ready = ready);
                }
                Some(KnownEvent::JobMoved { job, to, .. }) => self.moved(job.id, *to, event.at),
                _ => {}
            }
        }
    }

    fn moved(&mut self, job: JobId, to: JobStatus, at: Timestamp) {
        match to {
            JobStatus::Created | JobStatus::Scheduled => {
                self.ended(job, at);
            }
            JobStatus::Pending => {
                self.ended(job, at);
                self.remember(job, |times| times.ready = Some(at));
            }
            JobStatus::Dispatched => {
                if let Some(times) = self.open.get_mut(&job) {
                    times.dispatched = Some(at);
                }
            }
            JobStatus::Running => {
                // The start can be published after the end of a short attempt: then the job is not open.
                if let Some(times) = self.open.get_mut(&job) {
                    times.started = Some(at);
                }
            }
            JobStatus::Completed
            | JobStatus::Failed
            | JobStatus::TimedOut
            | JobStatus::Cancelled => {
                self.ended(job, at);
                *self.minutes.current().slot(to) += 1;
                match to {
                    JobStatus::Completed => self.buckets.current().completed += 1,
                    JobStatus::Failed | JobStatus::TimedOut => self.buckets.current().failed += 1,
                    _ => {}
                }
            }
        }
    }

    /// The attempt of a job has ended, if it had one.
    fn ended(&mut self, job: JobId, at: Timestamp) {
        let Some(times) = self.open.remove(&job) else { return };
        let Some(started) = times.started.or(times.dispatched) else { return };
        let durations = self.durations.current();
        let ms = |from: Timestamp, to: Timestamp| to.saturating_since(from).as_millis() as u64;
        if let Some(ready) = times.ready {
            durations.wait.add(ms(ready, started));
        }
        durations.run.add(ms(started, at));
    }

    fn remember(&mut self, job: JobId, set: impl FnOnce(&mut Times)) {
        if !is_sample(job, self.thinned) {
            return;
        }
        if self.open.len() >= OPEN_MOST && !self.open.contains_key(&job) {
            self.thinned += 1;
            let thinned = self.thinned;
            self.open.retain(|job, _| is_sample(*job, thinned));
            if !is_sample(job, thinned) {
                return;
            }
        } else if self.thinned > 0 && self.open.len() < OPEN_MOST / 8 {
            self.thinned -= 1;
        }
        set(self.open.entry(job).or_default());
    }

    /// The rates, the jobs that ended within the last hour, and how long jobs waited and ran.
    pub(crate) fn read(
        &mut self,
        now: Timestamp,
    ) -> (Rates, StatusCounts, Percentiles, Percentiles) {
        self.advance(now);
        let list = |of: fn(&Bucket) -> u32| -> Vec<u32> { self.buckets.iter().map(of).collect() };
        // The current bucket has only begun.
        let into_bucket = now.as_millis().rem_euclid(BUCKET_MS as i64) as f64;
        let seconds = (into_bucket + (CURRENT as u64 * BUCKET_MS) as f64) / 1_000.0;
        let known = now.saturating_since(self.since).as_secs_f64().max(1.0);
        let seconds = seconds.min(known);
        let per_s = |all: &[u32]| {
            let newest: u32 = all.iter().rev().take(CURRENT + 1).sum();
            (f64::from(newest) / seconds * 100.0).round() / 100.0
        };
        let (accepted, completed, failed) =
            (list(|it| it.accepted), list(|it| it.completed), list(|it| it.failed));
        let rates = Rates {
            bucket_ms: BUCKET_MS,
            since: self.since,
            partial: self.buckets.iter().any(|bucket| bucket.partial),
            accepted_per_s: per_s(&accepted),
            completed_per_s: per_s(&completed),
            failed_per_s: per_s(&failed),
            accepted,
            completed,
            failed,
        };
        let mut last_hour = StatusCounts::default();
        self.minutes.iter().for_each(|minute| last_hour.add(minute));
        let wait = Histogram::percentiles(self.durations.iter().map(|it| &it.wait));
        let run = Histogram::percentiles(self.durations.iter().map(|it| &it.run));
        (rates, last_hour, wait, run)
    }
}

/// Spreads the ids, so that the sample does not follow a pattern of a caller.
fn is_sample(job: JobId, thinned: u32) -> bool {
    let spread = (job.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    thinned == 0 || spread >> (64 - thinned.min(63)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_800_000_000_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(START + ms)
    }

    fn accepted(id: i64, ms: i64) -> Event {
        let to = Some(JobStatus::Pending);
        Event::new(at(ms), KnownEvent::JobAccepted { job: JobId(id).into(), to })
    }

    fn moved(id: i64, to: JobStatus, ms: i64) -> Event {
        let job = JobId(id).into();
        Event::new(at(ms), KnownEvent::JobMoved { job, from: None, to, attempt: None })
    }

    #[test]
    fn changes_are_counted_by_the_time_they_were_read_and_forgotten_later() {
        let mut counters = Counters::new(at(0));
        let events: Vec<Event> = (0..60).map(|id| accepted(id, 0)).collect();
        counters.count(events.iter(), at(1_000));
        counters.count(
            [moved(1, JobStatus::Completed, 5), moved(2, JobStatus::TimedOut, 5)].iter(),
            at(25_000),
        );
        let (rates, last_hour, _, _) = counters.read(at(30_000));
        assert_eq!((rates.accepted.len(), rates.accepted[BUCKETS - 4]), (BUCKETS, 60));
        assert_eq!(rates.accepted_per_s, 2.0);
        assert_eq!((rates.completed[BUCKETS - 2], rates.failed[BUCKETS - 2]), (1, 1));
        assert_eq!((last_hour.completed, last_hour.timed_out), (1, 1));
        let (rates, last_hour, _, _) = counters.read(at(400_000));
        assert_eq!((rates.accepted.iter().sum::<u32>(), last_hour.completed), (0, 1));
        assert_eq!(counters.read(at(2 * 3_600_000)).1, StatusCounts::default());
        // A clock that was set back changes nothing that was counted.
        counters.count([accepted(9, 0)].iter(), at(0));
        assert_eq!(counters.read(at(0)).0.accepted.iter().sum::<u32>(), 1);
    }

    #[test]
    fn a_wait_ends_with_the_start_and_a_run_with_the_end_of_the_attempt() {
        use JobStatus::{Completed, Dispatched, Pending, Running, Scheduled};
        let mut counters = Counters::new(at(0));
        let events = [
            accepted(1, 0),
            moved(1, Dispatched, 90),
            moved(1, Running, 100),
            moved(1, Scheduled, 1_100),
            moved(1, Pending, 5_000),
            // A short attempt: its start is published after its end.
            moved(1, Dispatched, 5_100),
            moved(1, Completed, 6_100),
            moved(1, Running, 6_100),
        ];
        counters.count(events.iter(), at(7_000));
        let (_, _, wait, run) = counters.read(at(7_000));
        assert_eq!((wait.count, wait.max_ms), (2, 100));
        assert_eq!((run.count, run.max_ms), (2, 1_000));
        assert!(counters.open.is_empty());
    }

    #[test]
    fn a_long_backlog_is_sampled_within_a_bound() {
        let mut counters = Counters::new(at(0));
        for id in 0..400_000 {
            counters.count([accepted(id, 0)].iter(), at(0));
        }
        assert!(counters.open.len() <= OPEN_MOST && counters.open.len() > OPEN_MOST / 4);
        counters.gap(at(1));
        assert!(counters.open.is_empty() && counters.read(at(1)).0.partial);
    }
}
