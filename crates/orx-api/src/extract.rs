//! Requests in, answers out: every rejection is a problem document.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use orx_control::{Caller, Scope};
use orx_model::{Code, Problem, limits};
use serde::de::DeserializeOwned;

use crate::App;
use crate::peers::PeerAddrs;
use crate::slow::TooSlow;

/// A refusal, as the answer to a request.
pub(crate) struct Refusal(pub(crate) Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = matches!(self.0.code, Code::Unavailable | Code::StoreFull);
        let text = serde_json::to_string(&self.0).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let kind = axum::http::HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, kind);
        if retry {
            headers.insert("retry-after", axum::http::HeaderValue::from_static("1"));
        }
        // The gate writes the request's id into the document.
        response.extensions_mut().insert(self.0);
        response
    }
}

pub(crate) type Answer<T> = Result<T, Refusal>;

/// Who asks, by the token in `Authorization: Bearer …`.
pub(crate) struct Auth(pub(crate) Caller);

impl FromRequestParts<App> for Auth {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        let token = bearer(&parts.headers).ok_or_else(|| {
            Problem::new(Code::Unauthenticated, "there is no token in the request")
                .hint("send `Authorization: Bearer TOKEN`; `orx` finds the local one by itself")
        })?;
        let peer = parts.extensions.get::<PeerAddrs>().map(|ends| ends.peer);
        let (guard, now) = (&app.guard, (app.settings.now)());
        let barred = peer.and_then(|peer| guard.failures.barred(peer, now, &guard.limits));
        // Many may stand behind one address, and a right token is right whoever else calls from
        // there. What wrong ones cost is bounded: so many are looked up at once, in turn.
        let turn = match barred {
            Some(_) => guard.look_ups.acquire().await.ok(),
            None => None,
        };
        let asked = app.panel.authenticate(token).await;
        drop(turn);
        let wrong = asked.as_ref().is_err_and(|problem| problem.code == Code::Unauthenticated);
        if wrong && barred.is_some() {
            let detail = "too many wrong tokens came from this address, and this one is wrong";
            return Err(Problem::new(Code::RateLimited, detail)
                .hint("check the token, and ask again no sooner than `Retry-After` says")
                .into());
        }
        if let Some(peer) = peer
            && wrong
            && guard.failures.note(peer, now, &guard.limits)
        {
            tracing::warn!(%peer, "too many wrong tokens: the address must wait with others");
        }
        Ok(Self(asked?))
    }
}

/// As [`Auth`], for a route that takes a body: the scope is asked for before any of it is read.
async fn caller_with(scope: Scope, parts: &mut Parts, app: &App) -> Answer<Caller> {
    let Auth(caller) = Auth::from_request_parts(parts, app).await?;
    caller.need(scope)?;
    Ok(caller)
}

/// Who may enqueue, cancel and schedule.
pub(crate) struct Service(pub(crate) Caller);

impl FromRequestParts<App> for Service {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        caller_with(Scope::Service, parts, app).await.map(Self)
    }
}

pub(crate) struct Admin(pub(crate) Caller);

impl FromRequestParts<App> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        caller_with(Scope::Admin, parts, app).await.map(Self)
    }
}

/// A worker, as far as its token says.
pub(crate) struct Worker;

impl FromRequestParts<App> for Worker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        caller_with(Scope::Worker, parts, app).await.map(|_| Self)
    }
}

/// Another coordinator.
pub(crate) struct Node;

impl FromRequestParts<App> for Node {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        caller_with(Scope::Node, parts, app).await.map(|_| Self)
    }
}

pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// A JSON body of many messages.
pub(crate) struct Large<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Large<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &App) -> Answer<Self> {
        Ok(Self(body(request, limits::PUBLISH_BODY_BYTES).await?))
    }
}

async fn body<T: DeserializeOwned>(request: Request, most: usize) -> Answer<T> {
    need_type(request.headers(), "application/json")?;
    // One that says that it is too long is refused by its word: it is not waited for.
    if request.body().size_hint().lower() > most as u64 {
        return Err(over(most).into());
    }
    let bytes = axum::body::to_bytes(request.into_body(), most)
        .await
        .map_err(|error| too_large(&error, most))?;
    Ok(parse(&bytes)?)
}

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &App) -> Answer<Self> {
        Ok(Self(body(request, limits::BODY_BYTES).await?))
    }
}

pub(crate) fn need_type(headers: &HeaderMap, wanted: &str) -> Answer<()> {
    for coding in headers.get_all(CONTENT_ENCODING) {
        if !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity") {
            let shown: String =
                String::from_utf8_lossy(coding.as_bytes()).chars().take(80).collect();
            let detail = format!("expected a body as it is, found one encoded with `{shown}`");
            return Err(Problem::new(Code::UnsupportedMediaType, detail)
                .hint("leave `Content-Encoding` out, and send the body uncompressed")
                .into());
        }
    }
    let found = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = found.split(';').next().unwrap_or("").trim();
    if kind.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    let shown: String = found.chars().take(80).collect();
    let detail = format!("expected a body of type `{wanted}`, found `{shown}`");
    Err(Problem::new(Code::UnsupportedMediaType, detail).into())
}

fn over(most: usize) -> Problem {
    Problem::new(Code::TooLarge, format!("a body is at most {most} bytes"))
}

fn too_large(error: &axum::Error, most: usize) -> Problem {
    let source = std::error::Error::source(error);
    let mut inner = source;
    while let Some(cause) = inner {
        if cause.is::<TooSlow>() {
            let detail = "the body of the request came too slowly, and was not waited for";
            return Problem::new(Code::SlowRequest, detail);
        }
        inner = cause.source();
    }
    if source.is_some_and(|source| source.to_string().contains("length limit")) {
        return over(most);
    }
    Problem::new(Code::BadRequest, "the body did not come whole")
}

/// # Errors
/// Says where in the JSON it went wrong.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let parsed = orx_model::json::object(&mut from).and_then(|parsed| from.end().map(|()| parsed));
    parsed.map_err(|error| {
        let detail = if error.is_data() {
            "the JSON is not what this takes"
        } else {
            "the body is no valid JSON"
        };
        Problem::new(Code::BadRequest, detail).cause(error.to_string())
    })
}

/// The query of a URL.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Answer<Self> {
        Query::<T>::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|error| {
            Problem::new(Code::BadRequest, "the query of the URL is not what this takes")
                .cause(error.body_text())
                .into()
        })
    }
}

/// One part of the path.
pub(crate) struct Part(pub(crate) String);

impl FromRequestParts<App> for Part {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        axum::extract::Path::<String>::from_request_parts(parts, app)
            .await
            .map(|part| Self(part.0))
            .map_err(|error| Problem::new(Code::BadRequest, error.body_text()).into())
    }
}

/// An answer as JSON.
pub(crate) fn json<T: serde::Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let kind = [(CONTENT_TYPE, "application/json")];
            (status, kind, bytes).into_response()
        }
        Err(error) => Refusal(Problem::new(Code::Internal, format!("could not answer: {error}")))
            .into_response(),
    }
}

pub(crate) fn ok<T: serde::Serialize>(value: &T) -> Response {
    json(StatusCode::OK, value)
}
