//! Which other nodes there are: written by the coordinator, which reads them from the store, and read
//! by whoever sends to them.

use std::sync::Arc;

use orx_model::Incarnation;
use parking_lot::Mutex;

/// Another coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub node: Incarnation,
    /// `http://host:port`, without a slash at the end.
    pub url: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerList {
    /// All that live, but the reader itself.
    pub peers: Vec<Peer>,
    pub leader: Option<Incarnation>,
}

/// Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct PeerNodes {
    list: Arc<Mutex<Arc<PeerList>>>,
}

impl PeerNodes {
    pub fn set(&self, list: PeerList) {
        *self.list.lock() = Arc::new(list);
    }

    #[must_use]
    pub fn get(&self) -> Arc<PeerList> {
        Arc::clone(&self.list.lock())
    }

    /// Where the leader is, if it is another node.
    #[must_use]
    pub fn leader_url(&self) -> Option<String> {
        let list = self.get();
        let leader = list.leader?;
        list.peers.iter().find(|peer| peer.node == leader).map(|peer| peer.url.clone())
    }
}
