//! Where a server is: the endpoint, and the trait that finds it.

use async_trait::async_trait;

use crate::{Result, Trust};

/// The address of a server and the token for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As [`ServerUrl`](crate::ServerUrl) accepts it: `http://127.0.0.1:7070`, without a slash at the end.
    pub url: String,
    /// `None` for calls without a token.
    pub token: Option<String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the token and without a password in the URL.
        let url = orx_model::mask::without_userinfo(&self.url);
        f.debug_struct("Endpoint").field("url", &url).finish_non_exhaustive()
    }
}

/// Finds the server. The client calls it at the start, and again whenever the server cannot be reached:
/// a restarted server may have another address.
#[async_trait]
pub trait Locate: Send + Sync {
    /// The endpoint to call next.
    ///
    /// # Errors
    /// [`ClientError::NoServer`](crate::ClientError::NoServer): no server was found, or none could be
    /// started.
    async fn endpoint(&self) -> Result<Endpoint>;

    /// How many servers there are to choose from. A call tries this many endpoints that refuse the
    /// connection before it fails.
    fn candidates(&self) -> usize {
        1
    }

    /// Whether the client rejects calls that could change something.
    fn read_only(&self) -> bool {
        false
    }

    /// Whether a server was found and is expected to come back if it does not answer.
    fn expects_return(&self) -> bool {
        false
    }

    /// The server at the last endpoint reports that it stops: wait for another rather than start one.
    fn server_stops(&self) {}

    /// Which certificates to trust if the last endpoint is `https://`.
    fn trust(&self) -> Trust {
        Trust::System
    }
}

#[async_trait]
impl Locate for Endpoint {
    async fn endpoint(&self) -> Result<Endpoint> {
        Ok(self.clone())
    }
}
