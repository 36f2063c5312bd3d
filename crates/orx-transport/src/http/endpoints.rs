//! Selects the coordinator that a worker calls: one URL of a list, or the leader that a coordinator
//! names.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;

/// For this long a leader is not tried again after its URL could not be reached from here.
const UNREACHABLE: Duration = Duration::from_secs(60);
/// For this long a coordinator that did not answer is not tried as the leader: the usual length of a
/// leader's lease.
const SILENT: Duration = Duration::from_secs(30);

/// The coordinator in use, and how to choose the next.
pub(super) struct EndpointSelector {
    urls: Vec<String>,
    current: watch::Sender<String>,
    leaders: Mutex<Leaders>,
}

/// What is known about leaders that coordinators named. A coordinator may know the leader by a URL that
/// is not reachable from here: a worker that followed each such answer would never stop moving.
#[derive(Default)]
struct Leaders {
    /// The URL of the leader that is in use and has not answered yet.
    tried: Option<String>,
    /// Until when each URL is not followed.
    avoided: HashMap<String, Instant>,
}

impl EndpointSelector {
    /// `None` if there is no URL. The first is used first.
    pub(super) fn new(urls: &[String]) -> Option<Self> {
        let urls: Vec<String> = urls.iter().map(|url| url.trim_end_matches('/').into()).collect();
        let first = urls.first()?.clone();
        Some(Self { urls, current: watch::channel(first).0, leaders: Mutex::default() })
    }

    /// The URL in use.
    pub(super) fn current(&self) -> String {
        self.current.borrow().clone()
    }

    /// The URL in use, as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<String> {
        self.current.subscribe()
    }

    /// Moves on from a URL that failed to the next of the list, unless another caller did already.
    ///
    /// A `silent` coordinator, one that did not answer in time, is avoided as a leader for a while: each
    /// call to it costs the whole timeout, and other coordinators may name it as the leader until its
    /// lease ends. A coordinator that has ended refuses the connection at once.
    pub(super) fn move_on(&self, from: &str, silent: bool, now: Instant) {
        let mut leaders = self.leaders();
        let tried = leaders.tried.take_if(|tried| tried == from).is_some();
        if tried || silent {
            let until = now + if tried { UNREACHABLE } else { SILENT };
            leaders.avoided.insert(from.to_owned(), until);
        }
        drop(leaders);
        if tried {
            tracing::warn!(
                url = from,
                "the leader cannot be reached at the URL that it advertises"
            );
        }
        self.current.send_if_modified(|current| {
            if current != from {
                return false;
            }
            let index = self.urls.iter().position(|url| url == from);
            let next = index.map_or(0, |index| (index + 1) % self.urls.len());
            let changed = self.urls[next] != *current;
            current.clone_from(&self.urls[next]);
            changed
        });
    }

    /// The coordinator at `asked` named the leader: uses the leader, unless its URL is avoided.
    pub(super) fn follow(&self, asked: &str, leader: &str, now: Instant) {
        let leader = leader.trim_end_matches('/');
        let mut leaders = self.leaders();
        leaders.avoided.retain(|_, until| *until > now);
        if leaders.avoided.contains_key(leader) {
            return;
        }
        self.current.send_if_modified(|current| {
            let moves = current == asked && current != leader;
            if moves {
                leader.clone_into(current);
                leaders.tried = Some(leader.to_owned());
            }
            moves
        });
    }

    /// The coordinator at `url` answered.
    pub(super) fn reached(&self, url: &str) {
        let mut leaders = self.leaders();
        if leaders.tried.as_deref() == Some(url) {
            leaders.tried = None;
        }
    }

    fn leaders(&self) -> MutexGuard<'_, Leaders> {
        // No holder of this lock can panic between changes that belong together.
        self.leaders.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "http://listed:1";
    const LEADER: &str = "http://leader:1";

    fn endpoints() -> EndpointSelector {
        EndpointSelector::new(&[LISTED.to_owned()]).expect("a URL")
    }

    #[test]
    fn a_leader_that_could_not_be_reached_is_not_tried_again_for_a_while() {
        let (endpoints, now) = (endpoints(), Instant::now());
        endpoints.follow(LISTED, LEADER, now);
        assert_eq!(endpoints.current(), LEADER);
        endpoints.move_on(LEADER, false, now);
        assert_eq!(endpoints.current(), LISTED);
        endpoints.follow(LISTED, "http://leader:1/", now);
        assert_eq!(endpoints.current(), LISTED);
        endpoints.follow(LISTED, "http://other:1", now);
        assert_eq!(endpoints.current(), "http://other:1", "another leader is not avoided");
        endpoints.move_on("http://other:1", false, now);
        endpoints.follow(LISTED, LEADER, now + UNREACHABLE);
        assert_eq!(endpoints.current(), LEADER, "it may be reachable by now");
    }

    #[test]
    fn a_leader_that_was_reached_and_ended_is_followed_when_it_leads_again() {
        let (endpoints, now) = (endpoints(), Instant::now());
        endpoints.follow(LISTED, LEADER, now);
        endpoints.reached(LEADER);
        endpoints.move_on(LEADER, false, now);
        endpoints.follow(LISTED, LEADER, now);
        assert_eq!(endpoints.current(), LEADER);
    }

    #[test]
    fn a_leader_that_was_reached_and_fell_silent_is_avoided_while_others_may_still_name_it() {
        let (endpoints, now) = (endpoints(), Instant::now());
        endpoints.follow(LISTED, LEADER, now);
        endpoints.reached(LEADER);
        endpoints.move_on(LEADER, true, now);
        endpoints.follow(LISTED, LEADER, now);
        assert_eq!(endpoints.current(), LISTED);
        endpoints.follow(LISTED, LEADER, now + SILENT);
        assert_eq!(endpoints.current(), LEADER);
    }
}
