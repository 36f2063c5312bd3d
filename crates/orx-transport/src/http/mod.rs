//! `direct` between processes, over HTTP: [`HttpTransport`] is a worker's side, [`PeerTransport`] a coordinator's. What
//! is sent and answered stands in [`orx_model::wire`]; the server's side of it is `orx-api`'s.
//!
//! A request that was cut off may have been taken: what is sent is safe to send again.

mod http_transport;
mod peer_transport;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use orx_model::secret::WORKER_SECRET;
use orx_model::{Problem, WorkerSecret};
use reqwest::header::HeaderValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use http_transport::{HttpTransport, HttpTransportOptions};
pub use peer_transport::PeerTransport;

/// What proves who asks. Shown nowhere.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What a call shows of its caller.
#[derive(Clone, Copy)]
struct Who<'a> {
    token: &'a Token,
    /// Of a worker, once it has registered.
    secret: Option<&'a WorkerSecret>,
}

impl Who<'_> {
    fn shown(self, call: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
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

/// Why a call was not answered with what it asks for.
#[derive(Debug)]
enum CallError {
    /// No answer, or none that is one of ours: elsewhere, or later, there may be one.
    Away(String),
    /// No answer in the time that there was: it may be frozen.
    Silent,
    Problem(Box<Problem>),
}

impl CallError {
    fn is_silent(&self) -> bool {
        matches!(self, Self::Silent)
    }

    fn why(&self) -> String {
        match self {
            Self::Away(why) => why.clone(),
            Self::Silent => "it says nothing".to_owned(),
            Self::Problem(problem) => problem.to_string(),
        }
    }
}

async fn post<T: DeserializeOwned>(
    http: &reqwest::Client,
    url: &str,
    path: &str,
    who: Who<'_>,
    body: &impl Serialize,
    within: Duration,
) -> Result<T, CallError> {
    let call = async {
        let response = who
            .shown(http.post(format!("{url}{path}")))
            .json(body)
            .send()
            .await
            .map_err(|error| CallError::Away(innermost(&error)))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| CallError::Away(innermost(&error)))?;
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .map_err(|error| CallError::Away(format!("not the answer of an orx: {error}")));
        }
        Err(refused(status.as_u16(), &bytes))
    };
    match tokio::time::timeout(within, call).await {
        Ok(answered) => answered,
        Err(_) => Err(CallError::Silent),
    }
}

fn refused(status: u16, bytes: &[u8]) -> CallError {
    match serde_json::from_slice::<Problem>(bytes) {
        Ok(problem) => CallError::Problem(Box::new(problem)),
        Err(_) => CallError::Away(format!("it answered {status}")),
    }
}

/// The innermost cause says most: `connection refused`. Never the URL, which may hold a password.
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
