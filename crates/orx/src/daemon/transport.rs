//! What carries messages between nodes and workers.

use std::sync::Arc;

use orx_transport::http::{BearerToken, HttpTransport, PeerTransport};
use orx_transport::{Direct, Gateway, Links, PeerNodes, PeerServer, Transport};

/// As the configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransportKind {
    /// Channels in the process, HTTP between processes.
    Direct,
}

impl TransportKind {
    /// # Errors
    /// In words: it names something else. What it names may hold a password, and is shown without it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "direct" {
            return Ok(Self::Direct);
        }
        let found = crate::config::shown_url(text);
        Err(format!("`transport.url` must be `direct`, found `{found}`"))
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
        }
    }
}

/// What carries to and from a node.
pub(crate) struct NodeTransport {
    pub(crate) transport: Arc<dyn Transport>,
    /// What other nodes publish to this one over HTTP, where nothing else carries between them.
    pub(crate) peers: Option<Arc<dyn PeerServer>>,
}

/// `http` is how other nodes are called, and `token` what they are shown.
pub(crate) fn of_node(
    kind: TransportKind,
    peers: PeerNodes,
    links: Links,
    http: reqwest::Client,
    token: BearerToken,
) -> NodeTransport {
    match kind {
        TransportKind::Direct => {
            let local = Arc::new(Direct::new());
            let carries = Arc::new(PeerTransport::new(local, peers, links, http, token));
            NodeTransport {
                transport: Arc::clone(&carries) as Arc<dyn Transport>,
                peers: Some(carries),
            }
        }
    }
}

/// What carries to and from a worker in a process of its own, and how it registers.
pub(crate) fn of_worker(
    kind: TransportKind,
    http: HttpTransport,
) -> (Arc<dyn Transport>, Arc<dyn Gateway>) {
    let gateway: Arc<dyn Gateway> = Arc::new(http.clone());
    match kind {
        TransportKind::Direct => (Arc::new(http), gateway),
    }
}
