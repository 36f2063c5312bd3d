//! The link to the server: whether it is up, how old the data is, and when the next try is.

use std::time::Duration;

use crate::api::{Failure, FailureKind};

/// The data is asked for this often while there is no stream of changes.
pub(crate) const POLL: Duration = Duration::from_secs(2);
/// No message for this long: what is shown is stale.
pub(crate) const STALE: Duration = Duration::from_secs(7);
const FIRST_RETRY: Duration = Duration::from_millis(250);
const RETRY_MOST: Duration = Duration::from_secs(5);
/// After a minute without a server the tries become rarer.
const RETRY_MOST_LATER: Duration = Duration::from_secs(10);

/// Why there is no link, and when it is tried again.
#[derive(Debug, Clone)]
pub(crate) struct LinkOutage {
    pub(crate) since: Duration,
    pub(crate) tries: u32,
    pub(crate) retry_at: Duration,
    pub(crate) failure: Failure,
}

/// The state of the link in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkState {
    Connecting,
    Live,
    Polling,
    Stale,
    Offline,
    Refused,
}

impl LinkState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Polling => "polling",
            Self::Stale => "stale",
            Self::Offline => "offline",
            Self::Refused => "refused",
        }
    }
}

/// The link. All times are of the monotonic clock of the program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Link {
    /// When the server answered last.
    pub(crate) last_message: Option<Duration>,
    pub(crate) outage: Option<LinkOutage>,
    /// The server sends changes by itself.
    pub(crate) streams: bool,
    /// The state that the log names last.
    pub(crate) logged: Option<LinkState>,
}

impl Link {
    pub(crate) fn answered(&mut self, now: Duration) {
        self.last_message = Some(now);
        self.outage = None;
    }

    /// A request found no server. `jitter` is from 0 to 1.
    pub(crate) fn failed(&mut self, failure: Failure, now: Duration, jitter: f64) {
        let (since, tries) = match &self.outage {
            Some(outage) => (outage.since, outage.tries + 1),
            None => (now, 1),
        };
        let long = now.saturating_sub(since) > Duration::from_secs(60);
        let most = if long { RETRY_MOST_LATER } else { RETRY_MOST };
        let pause = FIRST_RETRY.saturating_mul(1 << (tries - 1).min(10)).min(most);
        // A refused token or certificate does not get better by itself.
        let pause = match failure.kind {
            FailureKind::Refused => Duration::MAX,
            FailureKind::Link | FailureKind::Answered => pause.mul_f64(0.75 + jitter / 4.0),
        };
        self.outage =
            Some(LinkOutage { since, tries, retry_at: now.saturating_add(pause), failure });
    }

    /// The state in a word.
    pub(crate) fn state(&self, now: Duration) -> LinkState {
        match (&self.outage, self.last_message) {
            (Some(outage), _) if outage.failure.kind == FailureKind::Refused => LinkState::Refused,
            (Some(_), _) => LinkState::Offline,
            (None, None) => LinkState::Connecting,
            (None, Some(_)) if self.stale(now).is_some() => LinkState::Stale,
            (None, Some(_)) if self.streams => LinkState::Live,
            (None, Some(_)) => LinkState::Polling,
        }
    }

    /// Whether nothing may be asked at present.
    pub(crate) fn waits(&self, now: Duration) -> bool {
        self.outage.as_ref().is_some_and(|outage| outage.retry_at > now)
    }

    pub(crate) fn is_down(&self) -> bool {
        self.outage.is_some()
    }

    /// The age of the data, once it is stale.
    pub(crate) fn stale(&self, now: Duration) -> Option<Duration> {
        let age = now.saturating_sub(self.last_message?);
        (age >= STALE).then_some(age)
    }

    /// Tries again now.
    pub(crate) fn retry_now(&mut self, now: Duration) {
        if let Some(outage) = &mut self.outage {
            outage.retry_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, "connection refused")
    }

    #[test]
    fn tries_become_rarer_and_never_end() {
        let mut link = Link::default();
        let mut now = Duration::from_secs(100);
        let mut pauses = Vec::new();
        for _ in 0..20 {
            link.failed(failure(FailureKind::Link), now, 1.0);
            let retry_at = link.outage.as_ref().expect("an outage").retry_at;
            pauses.push((retry_at - now).as_millis());
            now = retry_at;
        }
        assert_eq!(pauses[..6], [250, 500, 1_000, 2_000, 4_000, 5_000]);
        assert_eq!(pauses.last(), Some(&10_000));
        link.answered(now);
        assert!(!link.is_down());
    }

    #[test]
    fn a_refused_token_is_tried_again_only_when_asked() {
        let (mut link, now) = (Link::default(), Duration::from_secs(100));
        link.failed(failure(FailureKind::Refused), now, 0.5);
        assert!(link.waits(now + Duration::from_secs(1_000_000)));
        link.retry_now(now);
        assert!(!link.waits(now));
    }
}
