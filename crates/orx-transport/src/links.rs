//! The links of a node: the subscriptions read at this node, each with the state of its connection.
//! They answer whether workers and peers reach the node, and whether the node reaches its workers.

use std::collections::HashMap;
use std::sync::Arc;

use orx_model::Incarnation;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{ConnectionState, SubscriptionState};

/// Most closed links whose end is remembered.
const ENDED_MAX: usize = 1_000;

/// Which subscription a link belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkOf {
    /// The events of workers, read by this node.
    Events,
    /// The notifications of other nodes, read by this node.
    Broadcast,
    /// The inbox of a worker, read by the worker. Known only at the node that hosts that inbox.
    Inbox(Incarnation),
}

/// The open links of a node, and those that closed lately. All clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Links {
    known: Arc<Mutex<LinkTable>>,
}

#[derive(Debug, Default)]
struct LinkTable {
    /// Each with the number of its newest reader.
    open: HashMap<LinkOf, (u64, watch::Receiver<SubscriptionState>)>,
    /// When each closed.
    ended: HashMap<LinkOf, Instant>,
    /// How many readers were numbered so far.
    count: u64,
}

/// Keeps its link open until it is dropped.
#[derive(Debug)]
pub struct OpenLink {
    links: Links,
    of: LinkOf,
    number: u64,
}

impl Links {
    /// Opens a link whose state follows `state`. It replaces an open link of the same subscription.
    #[must_use]
    pub fn open(&self, of: LinkOf, state: watch::Receiver<SubscriptionState>) -> OpenLink {
        let mut known = self.known();
        known.count += 1;
        let number = known.count;
        known.open.insert(of, (number, state));
        known.ended.remove(&of);
        OpenLink { links: self.clone(), of, number }
    }

    /// Whether the subscription has a reader now.
    #[must_use]
    pub fn is_open(&self, of: LinkOf) -> bool {
        self.known().open.contains_key(&of)
    }

    /// `None`: the subscription had no reader at this node lately.
    #[must_use]
    pub fn state(&self, of: LinkOf) -> Option<SubscriptionState> {
        let known = self.known();
        if let Some((_, state)) = known.open.get(&of) {
            return Some(state.borrow().clone());
        }
        let since = *known.ended.get(&of)?;
        let why = "nobody reads it".to_owned();
        let connection = ConnectionState::Reconnecting { since, why };
        Some(SubscriptionState { connection, last_echo: None })
    }

    fn known(&self) -> MutexGuard<'_, LinkTable> {
        // No holder of this lock can panic between changes that belong together.
        self.known.lock()
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        let mut known = self.links.known();
        // A newer reader may have taken over.
        if known.open.get(&self.of).is_some_and(|(number, _)| *number == self.number) {
            known.open.remove(&self.of);
            if known.ended.len() >= ENDED_MAX {
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
        let connection = ConnectionState::Reconnecting { since: Instant::now(), why };
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
