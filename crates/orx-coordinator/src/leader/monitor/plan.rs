//! Who has been silent for too long, and which attempts are past their time. No I/O.
//!
//! All of it is measured on the monotonic clock of this node, from when it learned of something. The
//! times in rows are of other clocks, or of this one before it was set.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orx_model::message::WorkerDirective;
use orx_model::{ExecutionId, Incarnation, LostWith, Outcome, OutcomeKind, Timestamp};
use orx_store::{Live, WorkerRecord};

use crate::{Now, Settings};

#[derive(Debug, Clone, Copy)]
struct Known {
    order: Option<WorkerDirective>,
    /// When it was last heard of, here or by another node.
    seen: Duration,
    /// What its row said last of when it was heard. Only that this changes says that it lives: how
    /// long ago it was depends on a clock that may have been set.
    told: Timestamp,
    /// It was lost since then. Its row stays, for an order that still holds if it comes back.
    lost: bool,
}

/// Since when this node knows of a live attempt.
#[derive(Debug, Clone, Copy)]
struct Learned {
    since: Duration,
    /// That it has started.
    started: Option<Duration>,
    /// What was left to its deadline then.
    left: Option<Duration>,
}

/// What is known of all workers and live attempts, by what the store said of them round after round.
#[derive(Debug)]
pub struct Watchlist {
    settings: Settings,
    workers: BTreeMap<Incarnation, Known>,
    /// Workers that have live attempts, by the last reading.
    holding: BTreeSet<Incarnation>,
    /// From when silence counts: the start of this term, or the end of a time in which nobody could be
    /// heard.
    counting_from: Duration,
    /// When the rows of workers were last read.
    looked: Option<Duration>,
    learned: BTreeMap<(Incarnation, ExecutionId), Learned>,
}

impl Watchlist {
    /// A term begins: what was silent before it is nobody's fault yet.
    #[must_use]
    pub fn new(settings: Settings, now: Now) -> Self {
        Self {
            settings,
            workers: BTreeMap::new(),
            holding: BTreeSet::new(),
            counting_from: now.mono,
            looked: None,
            learned: BTreeMap::new(),
        }
    }

    /// Until then nobody could be heard, so nobody was silent: the store could not be reached, or this
    /// process stood still.
    pub fn store_was_unreachable(&mut self, until: Duration) {
        self.counting_from = self.counting_from.max(until);
    }

    /// The rows of all workers, as they are now.
    pub fn rows_are(&mut self, rows: &[WorkerRecord], now: Now) {
        let is_known: BTreeSet<Incarnation> =
            rows.iter().map(|row| row.report.registration.incarnation).collect();
        self.workers.retain(|worker, _| is_known.contains(worker));
        for row in rows {
            let seen = now.mono.saturating_sub(row.silent);
            // Of what is new since the last look it was heard since then.
            let seen = self.looked.map_or(seen, |looked| seen.max(looked));
            let known = Known { order: row.order, seen, told: row.seen_at, lost: false };
            let worker = row.report.registration.incarnation;
            let known = self.workers.entry(worker).or_insert(known);
            known.order = row.order;
            if known.told != row.seen_at {
                known.told = row.seen_at;
                known.lost = false;
                known.seen = known.seen.max(seen);
            }
        }
        self.looked = Some(now.mono);
    }

    /// All live attempts, as they are now.
    pub fn live_is(&mut self, live: &[Live], now: Now) {
        self.holding = live.iter().map(|attempt| attempt.worker).collect();
        for attempt in live {
            let left = attempt.deadline.map(|deadline| deadline.saturating_since(now.wall));
            let new = Learned { since: now.mono, started: None, left };
            let learned = self.learned.entry((attempt.worker, attempt.execution)).or_insert(new);
            if attempt.started_at.is_some() && learned.started.is_none() {
                learned.started = Some(now.mono);
            }
        }
        let alive: BTreeSet<_> = live.iter().map(|it| (it.worker, it.execution)).collect();
        self.learned.retain(|key, _| alive.contains(key));
    }

    /// Workers whose lease is over, and those that nobody knows and that have attempts. What a fenced
    /// worker had is given up whether it is silent or not.
    #[must_use]
    pub fn lost(&self, now: Now) -> Vec<Incarnation> {
        let silent_since = |seen: Duration| now.mono.saturating_sub(seen.max(self.counting_from));
        let known = self.workers.iter().filter(|(worker, known)| {
            silent_since(known.seen) > self.settings.lease
                && match known.order {
                    Some(WorkerDirective::Fence) => false,
                    // Its row stays when it is lost, which happens once.
                    Some(WorkerDirective::Drain) => {
                        !known.lost
                            && (known.seen >= self.counting_from || self.holding.contains(*worker))
                    }
                    None => true,
                }
        });
        let strangers = self.holding.iter().filter(|worker| {
            !self.workers.contains_key(worker)
                && silent_since(self.counting_from) > self.settings.lease
        });
        known.map(|(worker, _)| *worker).chain(strangers.copied()).collect()
    }

    /// What a worker that is given up died of. One that was heard of in this term died by itself;
    /// one that fell silent while nobody led may have died with a node.
    #[must_use]
    pub fn lost_with(&self, worker: Incarnation) -> LostWith {
        match self.workers.get(&worker) {
            Some(known) if known.order == Some(WorkerDirective::Fence) => LostWith::Fence,
            Some(known) if known.seen >= self.counting_from => LostWith::Worker,
            _ => LostWith::Server,
        }
    }

    /// Workers that a person gave up.
    #[must_use]
    pub fn fenced(&self) -> Vec<Incarnation> {
        let fenced =
            self.workers.iter().filter(|(_, known)| known.order == Some(WorkerDirective::Fence));
        fenced.map(|(worker, _)| *worker).collect()
    }

    /// It had attempts, by the last reading.
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
        self.learned.retain(|(of, _), _| *of != worker);
    }

    /// Of the attempts read last, those that outlived their timeout or deadline so far that their worker
    /// is not believed to end them any more. Their worker times them; here they are timed from when this
    /// node learned of them, and of their start: no clock that may be set decides it, and none of
    /// another machine.
    #[must_use]
    pub fn overdue<'a>(&self, live: &'a [Live], now: Now) -> Vec<&'a Live> {
        let over = |attempt: &&Live| {
            let Some(learned) = self.learned.get(&(attempt.worker, attempt.execution)) else {
                return false;
            };
            let for_longer = |since: Duration, than: Duration| {
                now.mono.saturating_sub(since) > than.saturating_add(self.settings.timeout_margin)
            };
            let timeout = attempt.timeout_ms.map(Duration::from_millis);
            let started = learned.started.unwrap_or(learned.since);
            // A deadline is of the calendar: it has to have passed by the calendar as well.
            let deadline = learned.left.zip(attempt.deadline);
            timeout.is_some_and(|timeout| for_longer(started, timeout))
                || deadline
                    .is_some_and(|(left, at)| for_longer(learned.since, left) && at < now.wall)
        };
        live.iter().filter(over).collect()
    }
}

/// The attempt ran past its time.
#[must_use]
pub fn timed_out(attempt: &Live, now: Timestamp) -> Outcome {
    let why = "ran past its time, and its worker did not end it";
    over(attempt, OutcomeKind::TimedOut, why, now)
}

/// The attempt of a worker that is gone.
#[must_use]
pub fn lost(attempt: &Live, with: LostWith, why: &str, now: Timestamp) -> Outcome {
    over(attempt, OutcomeKind::Lost { with }, why, now)
}

fn over(attempt: &Live, kind: OutcomeKind, why: &str, now: Timestamp) -> Outcome {
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
