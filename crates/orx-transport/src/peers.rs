//! The other nodes of the cluster. The coordinator reads them from the store and writes them here;
//! transports read them to send.

use std::sync::Arc;

use orx_model::Incarnation;
use parking_lot::Mutex;

/// Another coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its incarnation.
    pub node: Incarnation,
    /// `http://host:port`, without a slash at the end.
    pub url: String,
}

/// The live nodes, as one read of the store found them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerList {
    /// The live nodes without this one.
    pub peers: Vec<Peer>,
    /// The leader, which may be this node. `None` while there is none.
    pub leader: Option<Incarnation>,
}

/// The current [`PeerList`]. All clones share one list.
#[derive(Debug, Clone, Default)]
pub struct PeerNodes {
    list: Arc<Mutex<Arc<PeerList>>>,
}

impl PeerNodes {
    /// Replaces the list.
    pub fn set(&self, list: PeerList) {
        *self.list.lock() = Arc::new(list);
    }

    /// The list as it was set last; empty before that.
    #[must_use]
    pub fn get(&self) -> Arc<PeerList> {
        Arc::clone(&self.list.lock())
    }

    /// The URL of the leader, if another node leads.
    #[must_use]
    pub fn leader_url(&self) -> Option<String> {
        let list = self.get();
        let leader = list.leader?;
        list.peers.iter().find(|peer| peer.node == leader).map(|peer| peer.url.clone())
    }
}
