//! The faults of one run, and how long its calls and messages take.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::Instant;

/// The fate of a call to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Applied,
    /// The change is made, and the answer is lost.
    AnswerLost,
    /// The call is not answered in time, and the change is made after that.
    Late,
    /// The call is not answered in time, and reaches the store soon after the node does so again, at
    /// the given time, when its term is over. If the node reaches the store sooner, its connection is a
    /// new one and the call is lost.
    Stranded(Instant),
    /// The change is never made.
    Lost,
    Busy,
    Failed,
    /// The node does not reach the store.
    Unreachable,
}

/// One call to the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trip {
    pub(crate) applies_at: Instant,
    pub(crate) answers_at: Instant,
    pub(crate) fate: Fate,
}

impl Trip {
    pub(crate) fn is_immediate(&self) -> bool {
        self.fate == Fate::Applied && self.answers_at <= Instant::now()
    }
}

/// A leader's write without an answer takes effect within this after its timeout: the store's own deadline.
pub(crate) const LATE: Duration = Duration::from_secs(10);
/// A call that is sent while the link to the store is cut may arrive when the link is back. After this long
/// its term is over.
pub(crate) const AFTER_TERM: Duration = Duration::from_secs(35);
/// The writes of a leader.
pub(crate) const LED: [&str; 5] =
    ["claim_ready", "fire", "record_outcomes_as_leader", "promote_due", "release"];

/// How fast and how reliably the store answers in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    AtOnce,
    /// Within 10 ms.
    Quick,
    /// 200 ms a call.
    Slow,
    /// Quick most of the time; some calls take seconds, some are lost, some fail.
    Rough,
}

impl Pace {
    pub(crate) fn some(rng: &mut StdRng) -> Self {
        match rng.random_range(0..10) {
            0..2 => Self::AtOnce,
            2..5 => Self::Quick,
            5 => Self::Slow,
            _ => Self::Rough,
        }
    }

    pub(crate) fn trip(self, rng: &mut StdRng) -> (Duration, Duration, Fate) {
        let ms = Duration::from_millis;
        let quick = |rng: &mut StdRng| ms(rng.random_range(0..5));
        match self {
            Self::AtOnce => (Duration::ZERO, Duration::ZERO, Fate::Applied),
            Self::Quick => (quick(rng), quick(rng), Fate::Applied),
            Self::Slow => {
                let before = rng.random_range(0..200);
                (ms(before), ms(200 - before), Fate::Applied)
            }
            Self::Rough => {
                let fate = match rng.random_range(0..100) {
                    0..2 => Fate::AnswerLost,
                    2 => Fate::Lost,
                    3 => Fate::Busy,
                    4 => Fate::Failed,
                    5 => Fate::Late,
                    _ => Fate::Applied,
                };
                let is_long = rng.random_bool(0.02);
                let part = |rng: &mut StdRng| match is_long {
                    true => ms(rng.random_range(0..4_000)),
                    false => quick(rng),
                };
                (part(rng), part(rng), fate)
            }
        }
    }
}

/// The delay of each copy of a message that arrives: none for a lost message, two for a duplicated one.
pub(crate) fn copies(rng: &mut StdRng, faulty: bool) -> Vec<Duration> {
    let ms = Duration::from_millis;
    let way = |rng: &mut StdRng| match rng.random_range(0..100) {
        0..4 if faulty => ms(rng.random_range(0..40_000)),
        4..20 if faulty => ms(rng.random_range(0..1_000)),
        _ => ms(rng.random_range(0..10)),
    };
    let count = match rng.random_range(0..100) {
        0..12 if faulty => 0,
        12..20 if faulty => 2,
        _ => 1,
    };
    (0..count).map(|_| way(rng)).collect()
}

/// The kinds of faults in a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kinds {
    /// Messages and calls between processes are lost, duplicated and late.
    pub(crate) messages: bool,
    /// Workers and nodes die, stop, are suspended, and are cut off.
    pub(crate) deaths: bool,
    /// Clocks are wrong, and jump.
    pub(crate) clocks: bool,
}

impl Kinds {
    pub(crate) const NONE: Self = Self { messages: false, deaths: false, clocks: false };

    /// Most runs have all kinds. Some checks apply only in runs with a single kind.
    pub(crate) fn some(rng: &mut StdRng) -> Self {
        match rng.random_range(0..10) {
            0 => Self::NONE,
            1 => Self { messages: true, ..Self::NONE },
            2 => Self { deaths: true, ..Self::NONE },
            3 => Self { clocks: true, ..Self::NONE },
            _ => Self { messages: true, deaths: true, clocks: true },
        }
    }
}
