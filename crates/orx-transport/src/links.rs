//! What a node reads, and how each of it stands with whatever carries: for those who ask whether the
//! node hears its workers and its peers, and whether its workers hear it.

use std::collections::HashMap;
use std::sync::Arc;

use orx_model::Incarnation;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Connection, SubscriptionState};

/// Workers of which is remembered since when they read no more here.
const ENDED: usize = 1_000;

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkOf {
    /// What workers tell, by this node.
    Events,
    /// What nodes tell each other, by this node.
    Broadcast,
    /// What is sent to a worker, by it. Known where this node carries that.
    Inbox(Incarnation),
}

/// Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Links {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Each with the number of its newest reader.
    open: HashMap<LinkOf, (u64, watch::Receiver<SubscriptionState>)>,
    ended: HashMap<LinkOf, Instant>,
    count: u64,
}

/// Its link is open while it lives.
#[derive(Debug)]
pub struct OpenLink {
    links: Links,
    of: LinkOf,
    number: u64,
}

impl Links {
    #[must_use]
    pub fn open(&self, of: LinkOf, state: watch::Receiver<SubscriptionState>) -> OpenLink {
        let mut known = self.known();
        known.count += 1;
        let number = known.count;
        known.open.insert(of, (number, state));
        known.ended.remove(&of);
        OpenLink { links: self.clone(), of, number }
    }

    /// Somebody reads that.
    #[must_use]
    pub fn is_open(&self, of: LinkOf) -> bool {
        self.known().open.contains_key(&of)
    }

    /// `None`: it was not read here lately.
    #[must_use]
    pub fn state(&self, of: LinkOf) -> Option<SubscriptionState> {
        let known = self.known();
        if let Some((_, state)) = known.open.get(&of) {
            return Some(state.borrow().clone());
        }
        let since = *known.ended.get(&of)?;
        let why = "nobody reads it".to_owned();
        let connection = Connection::Reconnecting { since, why };
        Some(SubscriptionState { connection, last_echo: None })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // No code that holds this lock can leave its data half-changed.
        self.known.lock()
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        let mut known = self.links.known();
        // A newer one may have taken over.
        if known.open.get(&self.of).is_some_and(|(number, _)| *number == self.number) {
            known.open.remove(&self.of);
            if known.ended.len() >= ENDED {
                known.ended.clear();
            }
            known.ended.insert(self.of, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INBOX: LinkOf = LinkOf::Inbox(Incarnation(1));

    #[tokio::test]
    async fn a_link_is_as_its_newest_reader_and_remembered_when_that_is_gone() {
        let links = Links::default();
        assert_eq!(links.state(INBOX), None);
        let connected = SubscriptionState::connected(Instant::now());
        let state = watch::Sender::new(connected.clone());
        let first = links.open(INBOX, state.subscribe());
        assert_eq!(links.state(INBOX), Some(connected));
        let why = "it restarts".to_owned();
        let connection = Connection::Reconnecting { since: Instant::now(), why };
        let restarting = SubscriptionState { connection, last_echo: None };
        state.send_replace(restarting.clone());
        assert_eq!(links.state(INBOX), Some(restarting.clone()));
        let second = links.open(INBOX, state.subscribe());
        drop(first);
        assert!(links.is_open(INBOX));
        assert_eq!(links.state(INBOX), Some(restarting));
        drop(second);
        assert!(!links.is_open(INBOX));
        assert!(links.state(INBOX).is_some_and(|state| !state.is_connected()));
    }
}
