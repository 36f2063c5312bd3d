//! Selects the transport between nodes and workers.

use std::sync::Arc;

use orx_transport::http::{BearerToken, HttpTransport, PeerTransport};
use orx_transport::{Direct, Gateway, Links, PeerNodes, PeerServer, Transport};

/// The transport in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransportKind {
    /// Channels in the process, HTTP between processes.
    Direct,
}

impl TransportKind {
    /// # Errors
    /// The configured transport is unknown; the text does not contain passwords.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "direct" {
            return Ok(Self::Direct);
        }
        let found = crate::config::shown_url(text);
        Err(format!("`transport.url` must be `direct`, found `{found}`"))
    }

    /// The name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
        }
    }
}

/// The transport of a node.
pub(crate) struct NodeTransport {
    pub(crate) transport: Arc<dyn Transport>,
    /// Receives messages that other nodes publish over HTTP, where no broker connects them.
    pub(crate) peers: Option<Arc<dyn PeerServer>>,
}

/// `http` is the client for other nodes, and `token` authenticates this node to them.
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

/// The transport and registration of a worker in its own process.
pub(crate) fn of_worker(
    kind: TransportKind,
    http: HttpTransport,
) -> (Arc<dyn Transport>, Arc<dyn Gateway>) {
    let gateway: Arc<dyn Gateway> = Arc::new(http.clone());
    match kind {
        TransportKind::Direct => (Arc::new(http), gateway),
    }
}
