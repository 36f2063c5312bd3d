//! The transport `direct` between processes, over HTTP: [`HttpTransport`] is a worker's side,
//! [`PeerTransport`] a coordinator's. Requests and answers are defined in [`orx_model::wire`]; `orx-api`
//! serves them.
//!
//! A request whose answer is lost may have been processed, so every request is safe to repeat.

mod endpoints;
mod http_transport;
mod inbox;
mod outbox;
mod peer_transport;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use orx_model::secret::WORKER_SECRET;
use orx_model::{Backoff, Code, Problem, WorkerSecret};
use reqwest::header::HeaderValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use http_transport::{HttpTransport, HttpTransportOptions};
pub use peer_transport::PeerTransport;

/// How long a publisher waits for space, and a subscriber for its connection.
const PUBLISH_WAIT: Duration = Duration::from_secs(5);
/// Between tries of a request.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// The token that authenticates a caller. Its `Debug` output hides it.
#[derive(Clone)]
pub struct BearerToken(Arc<str>);

impl BearerToken {
    /// From the text of the token.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

/// Authenticates a request.
#[derive(Clone, Copy)]
struct Credentials<'a> {
    token: &'a BearerToken,
    /// The secret of a worker that has registered.
    secret: Option<&'a WorkerSecret>,
}

impl Credentials<'_> {
    fn authenticate(self, call: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let call = call.bearer_auth(&*self.token.0);
        let secret = self.secret.and_then(|secret| HeaderValue::from_str(secret.expose()).ok());
        match secret {
            Some(mut secret) => {
                secret.set_sensitive(true);
                call.header(WORKER_SECRET, secret)
            }
            None => call,
        }
    }
}

/// Why a call failed.
#[derive(Debug)]
enum CallError {
    /// The connection failed, or the answer is not one of orx. A later call, or one to another node, may
    /// succeed. Holds the reason.
    NoAnswer(String),
    /// No answer came within the timeout: the peer may hang.
    TimedOut,
    /// The peer answered with a problem.
    Problem(Box<Problem>),
}

impl CallError {
    fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut)
    }

    fn why(&self) -> String {
        match self {
            Self::NoAnswer(why) => why.clone(),
            Self::TimedOut => "no answer in time".to_owned(),
            Self::Problem(problem) => problem.to_string(),
        }
    }
}

/// Whether repeating a call that was answered with this code is useless.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthenticated
            | Code::NotAllowed
            | Code::NotThisWorker
            | Code::ForeignOrigin
            | Code::BadRequest
            | Code::UnsupportedMediaType
    )
}

async fn post<T: DeserializeOwned>(
    http: &reqwest::Client,
    url: &str,
    path: &str,
    credentials: Credentials<'_>,
    body: &impl Serialize,
    timeout: Duration,
) -> Result<T, CallError> {
    let call = async {
        let response = credentials
            .authenticate(http.post(format!("{url}{path}")))
            .json(body)
            .send()
            .await
            .map_err(|error| CallError::NoAnswer(innermost(&error)))?;
        let status = response.status();
        let bytes =
            response.bytes().await.map_err(|error| CallError::NoAnswer(innermost(&error)))?;
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .map_err(|error| CallError::NoAnswer(format!("not an answer of orx: {error}")));
        }
        Err(rejection(status.as_u16(), &bytes))
    };
    match tokio::time::timeout(timeout, call).await {
        Ok(answered) => answered,
        Err(_) => Err(CallError::TimedOut),
    }
}

/// The error of an answer that is not a success.
fn rejection(status: u16, bytes: &[u8]) -> CallError {
    match serde_json::from_slice::<Problem>(bytes) {
        Ok(problem) => CallError::Problem(Box::new(problem)),
        Err(_) => CallError::NoAnswer(format!("status {status} without a problem document")),
    }
}

/// The innermost cause, which tells most: `connection refused`. Never the URL: it may hold a password.
fn innermost(error: &reqwest::Error) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    if std::ptr::eq(source, error as &dyn std::error::Error) {
        return "the request failed".to_owned();
    }
    source.to_string()
}
