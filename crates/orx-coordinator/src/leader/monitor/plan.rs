//! Decides which workers are lost and which attempts are overdue, without I/O.
//!
//! Every duration here is measured on the monotonic clock of this node, from the moment of the read that
//! showed the change. The times in rows come from other clocks, or from this one before it was set.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orx_model::message::WorkerDirective;
use orx_model::{ExecutionId, Incarnation, LostWith, Outcome, OutcomeKind, Timestamp};
use orx_store::{Live, WorkerRecord};

use crate::{Now, Settings};

/// A worker that has a row in the store.
#[derive(Debug, Clone, Copy)]
struct WatchedWorker {
    directive: Option<WorkerDirective>,
    /// When it sent its last heartbeat, to this node or another.
    seen: Duration,
    /// `seen_at` of its row. A change of it shows that the worker lives; its value does not, because it
    /// depends on a clock that may have been set.
    row_seen_at: Timestamp,
    /// It was lost and has sent nothing since. Its row keeps the directive for its return.
    lost: bool,
}

/// A live attempt, as the reads of this node showed it.
#[derive(Debug, Clone, Copy)]
struct WatchedAttempt {
    /// When a read first showed the attempt, on the monotonic clock.
    since: Duration,
    /// When a read first showed it as started.
    started: Option<Duration>,
    /// The time to its deadline, at `since`.
    left: Option<Duration>,
}

/// All workers and live attempts, as the store showed them round after round.
#[derive(Debug)]
pub struct Watchlist {
    settings: Settings,
    workers: BTreeMap<Incarnation, WatchedWorker>,
    /// Workers that have live attempts, by the last read.
    holding: BTreeSet<Incarnation>,
    /// Workers that have live attempts but no row, and since when at most. One that registers while the
    /// store is being read is here until the next round.
    without_row: BTreeMap<Incarnation, Duration>,
    /// From when silence counts: the start of this term, or the end of a time in which no heartbeat could
    /// be recorded.
    counting_from: Duration,
    /// When the rows of workers were last read, and the time before.
    rows_read: Option<Duration>,
    rows_read_before: Option<Duration>,
    attempts: BTreeMap<(Incarnation, ExecutionId), WatchedAttempt>,
}

impl Watchlist {
    /// A term begins. Silence before it does not count.
    #[must_use]
    pub fn new(settings: Settings, now: Now) -> Self {
        Self {
            settings,
            workers: BTreeMap::new(),
            holding: BTreeSet::new(),
            without_row: BTreeMap::new(),
            counting_from: now.mono,
            rows_read: None,
            rows_read_before: None,
            attempts: BTreeMap::new(),
        }
    }

    /// No heartbeat could be recorded before `until`: the store did not answer, or this process was
    /// suspended. Silence until then does not count.
    pub(crate) fn count_silence_from(&mut self, until: Duration) {
        self.counting_from = self.counting_from.max(until);
    }

    /// Takes over the rows of all workers.
    pub fn update_workers(&mut self, rows: &[WorkerRecord], now: Now) {
        let known: BTreeSet<Incarnation> =
            rows.iter().map(|row| row.report.registration.incarnation).collect();
        self.workers.retain(|worker, _| known.contains(worker));
        self.without_row.retain(|worker, _| !known.contains(worker));
        for row in rows {
            let seen = now.mono.saturating_sub(row.silent);
            // A change of a row happened after the rows were last read.
            let seen = self.rows_read.map_or(seen, |read| seen.max(read));
            let new =
                WatchedWorker { directive: row.order, seen, row_seen_at: row.seen_at, lost: false };
            let worker = row.report.registration.incarnation;
            let worker = self.workers.entry(worker).or_insert(new);
            worker.directive = row.order;
            if worker.row_seen_at != row.seen_at {
                worker.row_seen_at = row.seen_at;
                worker.lost = false;
                worker.seen = worker.seen.max(seen);
            }
        }
        self.rows_read_before = self.rows_read.replace(now.mono);
    }

    /// Takes over all live attempts.
    pub fn update_attempts(&mut self, live: &[Live], now: Now) {
        self.holding = live.iter().map(|attempt| attempt.worker).collect();
        let (holding, workers) = (&self.holding, &self.workers);
        self.without_row.retain(|worker, _| holding.contains(worker));
        // It may have registered after the newest read of the rows, and had no row in the one before.
        let since = self.rows_read_before.unwrap_or(now.mono);
        for worker in holding.iter().filter(|worker| !workers.contains_key(worker)) {
            self.without_row.entry(*worker).or_insert(since);
        }
        for attempt in live {
            let left = attempt.deadline.map(|deadline| deadline.saturating_since(now.wall));
            let new = WatchedAttempt { since: now.mono, started: None, left };
            let watched = self.attempts.entry((attempt.worker, attempt.execution)).or_insert(new);
            if attempt.started_at.is_some() && watched.started.is_none() {
                watched.started = Some(now.mono);
            }
        }
        let alive: BTreeSet<_> = live.iter().map(|it| (it.worker, it.execution)).collect();
        self.attempts.retain(|key, _| alive.contains(key));
    }

    /// Workers whose lease has run out, and workers that have attempts but had no row for a lease. Not
    /// fenced workers, whose attempts are lost at once ([`Self::fenced`]).
    #[must_use]
    pub fn lost(&self, now: Now) -> Vec<Incarnation> {
        let lapsed = |since: Duration| {
            now.mono.saturating_sub(since.max(self.counting_from)) > self.settings.lease
        };
        let known = self.workers.iter().filter(|(worker, known)| {
            lapsed(known.seen)
                && match known.directive {
                    Some(WorkerDirective::Fence) => false,
                    // Its row stays when it is lost, which is reported once.
                    Some(WorkerDirective::Drain) => {
                        !known.lost
                            && (known.seen >= self.counting_from || self.holding.contains(*worker))
                    }
                    None => true,
                }
        });
        let without_row = self.without_row.iter().filter(|(_, since)| lapsed(**since));
        let without_row = without_row.map(|(worker, _)| worker);
        known.map(|(worker, _)| worker).chain(without_row).copied().collect()
    }

    /// The cause of a worker's loss. A worker that sent a heartbeat in this term died by itself; one
    /// that fell silent while no node led may have died with a node.
    #[must_use]
    pub(crate) fn lost_with(&self, worker: Incarnation) -> LostWith {
        match self.workers.get(&worker) {
            Some(known) if known.directive == Some(WorkerDirective::Fence) => LostWith::Fence,
            Some(known) if known.seen >= self.counting_from => LostWith::Worker,
            _ => LostWith::Server,
        }
    }

    /// Workers that a person fenced.
    #[must_use]
    pub fn fenced(&self) -> Vec<Incarnation> {
        let fenced = self
            .workers
            .iter()
            .filter(|(_, known)| known.directive == Some(WorkerDirective::Fence));
        fenced.map(|(worker, _)| *worker).collect()
    }

    /// Whether it had live attempts, by the last read.
    #[must_use]
    pub fn holds(&self, worker: Incarnation) -> bool {
        self.holding.contains(&worker)
    }

    /// The worker was lost, and its attempts with it.
    pub fn lose(&mut self, worker: Incarnation) {
        if let Some(known) = self.workers.get_mut(&worker) {
            known.lost = true;
        }
        self.holding.remove(&worker);
        self.without_row.remove(&worker);
        self.attempts.retain(|(of, _), _| *of != worker);
    }

    /// The attempts of the last read that outlived their timeout or deadline by so much that their worker
    /// will not end them. A worker times its attempts; the leader times them from the reads that first
    /// showed them and their start, so neither a clock that is set nor another machine's clock decides it.
    #[must_use]
    pub fn overdue<'a>(&self, live: &'a [Live], now: Now) -> Vec<&'a Live> {
        let is_overdue = |attempt: &&Live| {
            let Some(watched) = self.attempts.get(&(attempt.worker, attempt.execution)) else {
                return false;
            };
            let for_longer = |since: Duration, than: Duration| {
                now.mono.saturating_sub(since) > than.saturating_add(self.settings.timeout_margin)
            };
            let timeout = attempt.timeout_ms.map(Duration::from_millis);
            let started = watched.started.unwrap_or(watched.since);
            // A deadline is a time of the calendar: it must have passed by the calendar as well.
            let deadline = watched.left.zip(attempt.deadline);
            timeout.is_some_and(|timeout| for_longer(started, timeout))
                || deadline
                    .is_some_and(|(left, at)| for_longer(watched.since, left) && at < now.wall)
        };
        live.iter().filter(is_overdue).collect()
    }
}

/// The outcome of an overdue attempt.
#[must_use]
pub(crate) fn timed_out(attempt: &Live, now: Timestamp) -> Outcome {
    let why = "ran past its time, and its worker did not end it";
    ended(attempt, OutcomeKind::TimedOut, why, now)
}

/// The outcome of an attempt whose worker was lost. `why` is shown to people.
#[must_use]
pub(crate) fn lost(attempt: &Live, with: LostWith, why: &str, now: Timestamp) -> Outcome {
    ended(attempt, OutcomeKind::Lost { with }, why, now)
}

fn ended(attempt: &Live, kind: OutcomeKind, why: &str, now: Timestamp) -> Outcome {
    Outcome {
        job: attempt.job,
        execution: attempt.execution,
        kind,
        started_at: attempt.started_at,
        ended_at: now,
        error: Some(why.to_owned()),
        exit: None,
    }
}
