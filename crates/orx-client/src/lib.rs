//! The HTTP client of orx: the operations of the API as functions.
//!
//! Depends on `orx-model` only. It must not know terminals or files, and links no server code.
//!
//! A call whose answer is lost may have been carried out. The client repeats reads by itself, and
//! enqueues too: they carry an idempotency key, so a repeated one yields the same job. It repeats other
//! changes only where a second one changes nothing more. [`Client::wait`] and [`Client::follow`] continue
//! across restarts of a server that has answered once, and neither lose nor repeat anything.

mod address;
mod batch;
mod error;
mod follow;
mod key;
mod lines;
mod live;
mod locate;
mod operations;
mod reconnect;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use orx_model::{Backoff, Code, Problem};
use parking_lot::Mutex;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use address::ServerUrl;
pub use batch::BATCH_BYTES;
pub use error::ClientError;
pub use key::new_key;
pub use live::{LiveStream, LiveUpdate};
pub use locate::{Endpoint, Locate};
pub use reconnect::ConnectionEvent;
pub use tls::Trust;

/// How long an answer that is not streamed may take, in addition to [`POLL`].
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long one request of a wait lasts.
const POLL: Duration = Duration::from_secs(25);
/// How long a server may take to accept a connection, TLS included.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Between tries of a call, and of connections to a server that does not answer.
const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
/// How often a repeatable call is tried.
const TRIES: u32 = 4;

/// The result of a call.
pub type Result<T> = std::result::Result<T, ClientError>;

/// Calls a server. All clones share its connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Made for the first call to an `https://` address, and again for another trust.
    https: Arc<Mutex<Option<(Trust, reqwest::Client)>>>,
    locate: Arc<dyn Locate>,
    /// The endpoint in use; `None` before the first call and after a failure.
    endpoint: Arc<Mutex<Option<Endpoint>>>,
    patience: Duration,
    /// Whether a server has answered, with whatever status. Only then it is expected to come back.
    reached: Arc<AtomicBool>,
}

impl Client {
    /// `locate` finds the server. `patience` is how long [`Self::follow`] and [`Self::wait`] try to reach
    /// a server that never answered, or that cannot be started. They wait without limit for a server
    /// that has answered once.
    ///
    /// # Errors
    /// [`ClientError::NoServer`]: the HTTP library cannot be set up.
    pub fn new(locate: Arc<dyn Locate>, patience: Duration) -> Result<Self> {
        let http = http_client(tls::none(), false)?;
        Ok(Self {
            http,
            https: Arc::default(),
            locate,
            endpoint: Arc::default(),
            patience,
            reached: Arc::default(),
        })
    }

    async fn get<T: DeserializeOwned>(&self, route: &str, query: &impl Serialize) -> Result<T> {
        self.repeated(Method::GET, route, |call| call.query(query)).await
    }

    /// Makes a call that is safe to repeat, and repeats it after a transient error.
    async fn repeated<T: DeserializeOwned>(
        &self,
        method: Method,
        route: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<T> {
        let mut backoff = RETRY;
        for _ in 1..TRIES {
            match self.once(method.clone(), route, &build).await {
                Err(error) if error.is_transient() => {
                    self.forget_endpoint();
                    tokio::time::sleep(backoff.failed()).await;
                }
                answered => return answered,
            }
        }
        self.once(method, route, build).await
    }

    /// Makes a call once.
    async fn once<T: DeserializeOwned>(
        &self,
        method: Method,
        route: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<T> {
        let whole = async {
            let response = self.send(method, route, build).await?;
            let url = response.url().to_string();
            let bytes =
                response.bytes().await.map_err(|error| unreachable_at(&url, &chain(&error)))?;
            serde_json::from_slice(&bytes).map_err(|error| unexpected(&url, error))
        };
        match tokio::time::timeout(ANSWER_WITHIN + POLL, whole).await {
            Ok(answered) => answered,
            Err(_) => Err(unreachable_at(route, "no answer in time")),
        }
    }

    /// Sends a request and returns its answer if the status is 2xx. The body is not read yet.
    async fn send(
        &self,
        method: Method,
        route: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response> {
        if method != Method::GET && self.locate.read_only() {
            let detail = "this context is read-only";
            let problem = Problem::new(Code::NotAllowed, detail)
                .hint("another context, or `read_only = false` in this one, allows changes");
            return Err(problem.into());
        }
        let mut tried = 0;
        let (endpoint, response) = loop {
            let endpoint = self.endpoint().await?;
            let url = format!("{}{route}", endpoint.url);
            let mut call = self.http_for(&endpoint)?.request(method.clone(), &url);
            if let Some(token) = &endpoint.token {
                call = call.bearer_auth(token);
            }
            tried += 1;
            match build(call).send().await {
                Ok(response) => break (endpoint, response),
                // Nothing was sent, so any request may go to another server.
                Err(error) if error.is_connect() && tried < self.locate.candidates() => {
                    self.forget_endpoint();
                }
                Err(error) => {
                    if !error.is_connect() && !error.is_builder() {
                        // The server accepted the connection and ended before it answered.
                        self.reached.store(true, Ordering::Relaxed);
                    }
                    return Err(not_sent(&endpoint.url, &error, tried));
                }
            }
        };
        self.reached.store(true, Ordering::Relaxed);
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(problem.into()),
            Err(_) => Err(unexpected(&endpoint.url, format!("it answered {status}"))),
        }
    }

    async fn endpoint(&self) -> Result<Endpoint> {
        let lock = || self.endpoint.lock();
        if let Some(known) = lock().clone() {
            return Ok(known);
        }
        let found = self.locate.endpoint().await?;
        ServerUrl::parse(&found.url).map_err(ClientError::no_server)?;
        *lock() = Some(found.clone());
        Ok(found)
    }

    fn http_for(&self, endpoint: &Endpoint) -> Result<reqwest::Client> {
        if !endpoint.url.starts_with("https:") {
            return Ok(self.http.clone());
        }
        let trust = self.locate.trust();
        let mut https = self.https.lock();
        if let Some((known, client)) = &*https
            && *known == trust
        {
            return Ok(client.clone());
        }
        let local = ServerUrl::parse(&endpoint.url).is_ok_and(|url| url.is_loopback());
        let client = http_client(tls::config(&trust), !local)?;
        *https = Some((trust, client.clone()));
        Ok(client)
    }

    fn forget_endpoint(&self) {
        *self.endpoint.lock() = None;
    }
}

/// `proxied`: through the proxy that `HTTPS_PROXY` names, unless `NO_PROXY` excepts the server.
fn http_client(
    config: std::result::Result<rustls::ClientConfig, String>,
    proxied: bool,
) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(config.map_err(ClientError::no_server)?)
        .connect_timeout(CONNECT_WITHIN)
        // A redirect would send the token to another server.
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .user_agent(concat!("orx/", env!("CARGO_PKG_VERSION")));
    if !proxied {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| ClientError::no_server(chain(&error)))
}

/// The HTTP client with which daemons call each other, without a proxy. `None` if they do not use TLS:
/// then no TLS is set up.
///
/// # Errors
/// A text for people: the authorities cannot be used.
pub fn daemon_client(trust: Option<&Trust>) -> std::result::Result<reqwest::Client, String> {
    let config = trust.map_or_else(tls::none, tls::config);
    http_client(config, false).map_err(|error| error.to_string())
}

/// The error of a request that got no answer.
fn not_sent(url: &str, error: &reqwest::Error, tried: usize) -> ClientError {
    if let Some((cause, hint)) = tls::explain(error) {
        return ClientError::Untrusted { url: url.to_owned(), cause, hint };
    }
    let mut cause = if error.is_timeout() { "no answer in time".to_owned() } else { chain(error) };
    if tried > 1 {
        cause = format!("{cause}; nor any other of {tried} addresses");
    }
    unreachable_at(url, &cause)
}

/// Fills a parameter of a route, escaped.
fn fill(route: &str, parameter: &str, value: &str) -> String {
    let mut escaped = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    route.replace(parameter, &escaped)
}

fn unreachable_at(url: &str, cause: &str) -> ClientError {
    ClientError::Unreachable { url: url.to_owned(), cause: cause.to_owned() }
}

fn unexpected(url: &str, cause: impl ToString) -> ClientError {
    ClientError::UnexpectedAnswer { url: url.to_owned(), cause: cause.to_string() }
}

/// The innermost cause, which tells most: `connection refused`.
fn chain(error: &reqwest::Error) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    source.to_string()
}

/// Used by [`lines`].
pub(crate) async fn next_piece(
    stream: &mut (impl futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Unpin),
) -> Option<std::result::Result<bytes::Bytes, String>> {
    stream.next().await.map(|piece| piece.map_err(|error| chain(&error)))
}
