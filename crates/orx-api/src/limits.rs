//! How much a server takes from strangers at once, and how slowly. All of it can be made small for
//! a test.

use std::time::Duration;

/// Bounds on connections and requests; sizes of bodies are in `orx_model::limits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all. For a further one, one that has no request under way is closed; where
    /// there is none, it waits until one ends.
    pub connections: usize,
    /// Connections from one address. For a further one, one of its own that has no request under
    /// way is closed; where there is none, the further one is.
    pub connections_per_peer: usize,
    /// From the start of a connection to the end of the TLS handshake.
    pub handshake_within: Duration,
    /// From the end of one request to the last header of the next: an idle connection ends after
    /// this too.
    pub headers_within: Duration,
    /// Headers of one request.
    pub headers: usize,
    /// Request line and headers, bytes.
    pub header_bytes: usize,
    /// A body may come as slowly as this, bytes a second, once [`Self::body_grace`] has passed.
    pub body_bytes_per_second: u32,
    pub body_grace: Duration,
    /// From the end of the headers to the start of the answer, the longest poll included.
    pub answer_within: Duration,
    /// An answer whose reader takes nothing for so long is given up.
    pub reader_within: Duration,
    /// Long polls and streams at once.
    pub watchers: usize,
    /// Tokens that one address may get wrong within [`Self::failures_within`].
    pub failures: u32,
    pub failures_within: Duration,
    /// Addresses whose failures are remembered.
    pub failing_peers: usize,
    /// What is under way when the server ends gets so long.
    pub last_answers: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connections: 768,
            connections_per_peer: 256,
            handshake_within: seconds(10),
            headers_within: seconds(10),
            headers: 64,
            header_bytes: 32 * 1024,
            body_bytes_per_second: 4 * 1024,
            body_grace: seconds(20),
            answer_within: orx_model::limits::WAIT_MAX + seconds(30),
            reader_within: seconds(30),
            watchers: 672,
            failures: 20,
            failures_within: seconds(60),
            failing_peers: 1_024,
            last_answers: seconds(10),
        }
    }
}
