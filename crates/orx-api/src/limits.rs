//! Limits on connections and requests: how many, how large and how slow. Tests make them small.

use std::time::Duration;

/// Bounds on connections and requests; sizes of bodies are in `orx_model::limits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most connections in total. A further connection closes an idle one; if none is idle, it waits
    /// until one ends.
    pub connections: usize,
    /// Most connections from one address. A further connection closes an idle one of the address; if
    /// none is idle, it is rejected.
    pub connections_per_peer: usize,
    /// From the start of a connection to the end of the TLS handshake.
    pub handshake_within: Duration,
    /// From the end of one request to the last header of the next. An idle connection ends after this.
    pub headers_within: Duration,
    /// Most headers of one request.
    pub headers: usize,
    /// Most bytes of the request line and headers.
    pub header_bytes: usize,
    /// The minimum speed of a body, once [`Self::body_grace`] has passed.
    pub body_bytes_per_second: u32,
    /// How long a body may take regardless of its speed.
    pub body_grace: Duration,
    /// From the end of the headers to the start of the answer. It includes the longest poll.
    pub answer_within: Duration,
    /// A connection ends when a write makes no progress for this long.
    pub reader_within: Duration,
    /// Most long polls and streams at once.
    pub watchers: usize,
    /// How many wrong tokens within [`Self::failures_within`] bar an address.
    pub failures: u32,
    /// The window in which wrong tokens are counted, from the first one.
    pub failures_within: Duration,
    /// Most addresses whose wrong tokens are counted.
    pub failing_peers: usize,
    /// How long answers in flight may take when the server ends.
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
