//! Extracts callers and inputs from requests, and makes responses. Every rejection is a problem
//! document.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use orx_control::{Caller, Scope};
use orx_model::{Code, Problem, limits, wire};
use serde::de::DeserializeOwned;

use crate::App;
use crate::peers::PeerAddrs;
use crate::request_body::TooSlow;

/// A problem as the response to a request.
pub(crate) struct ProblemResponse(pub(crate) Problem);

impl From<Problem> for ProblemResponse {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for ProblemResponse {
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
        // The middleware adds the request id to the document.
        response.extensions_mut().insert(self.0);
        response
    }
}

pub(crate) type HandlerResult<T> = Result<T, ProblemResponse>;

/// The caller, authenticated by the token in `Authorization: Bearer …`.
pub(crate) struct Auth(pub(crate) Caller);

impl FromRequestParts<App> for Auth {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> HandlerResult<Self> {
        let token = bearer(&parts.headers).ok_or_else(|| {
            Problem::new(Code::Unauthenticated, "there is no token in the request")
                .hint("send `Authorization: Bearer TOKEN`; `orx` finds the local one by itself")
        })?;
        let peer = parts.extensions.get::<PeerAddrs>().map(|addrs| addrs.peer);
        let (access, now) = (&app.access, (app.settings.now)());
        let barred = peer.and_then(|peer| access.failures.barred(peer, now, &access.limits));
        // Many callers may share one address, so a valid token is accepted even from a barred one. The
        // semaphore bounds what wrong tokens cost.
        let permit = match barred {
            Some(_) => access.token_lookups.acquire().await.ok(),
            None => None,
        };
        let found = app.panel.authenticate(token).await;
        drop(permit);
        let wrong = found.as_ref().is_err_and(|problem| problem.code == Code::Unauthenticated);
        if wrong && barred.is_some() {
            let detail = "too many wrong tokens came from this address, and this one is wrong";
            return Err(Problem::new(Code::RateLimited, detail)
                .hint("check the token, and try again no sooner than `Retry-After` allows")
                .into());
        }
        if let Some(peer) = peer
            && wrong
            && access.failures.record(peer, now, &access.limits)
        {
            tracing::warn!(%peer, "too many wrong tokens: the address is rate limited");
        }
        let address = peer.map(|peer| peer.to_string());
        Ok(Self(Caller { address, ..found? }))
    }
}

/// As [`Auth`], for a route with a body: checks the scope before any of the body is read.
async fn caller_with(scope: Scope, parts: &mut Parts, app: &App) -> HandlerResult<Caller> {
    let Auth(caller) = Auth::from_request_parts(parts, app).await?;
    caller.need(scope)?;
    Ok(caller)
}

/// A caller with the scope `service`.
pub(crate) struct ServiceCaller(pub(crate) Caller);

impl FromRequestParts<App> for ServiceCaller {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> HandlerResult<Self> {
        caller_with(Scope::Service, parts, app).await.map(Self)
    }
}

/// A caller with the scope `admin`.
pub(crate) struct AdminCaller(pub(crate) Caller);

impl FromRequestParts<App> for AdminCaller {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> HandlerResult<Self> {
        caller_with(Scope::Admin, parts, app).await.map(Self)
    }
}

/// A caller with the scope `worker`. Its secret proves which worker it is.
pub(crate) struct WorkerCaller;

impl FromRequestParts<App> for WorkerCaller {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> HandlerResult<Self> {
        caller_with(Scope::Worker, parts, app).await.map(|_| Self)
    }
}

/// A caller with the scope `node`.
pub(crate) struct NodeCaller;

impl FromRequestParts<App> for NodeCaller {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> HandlerResult<Self> {
        caller_with(Scope::Node, parts, app).await.map(|_| Self)
    }
}

/// Takes over the header `idempotency-key` as the `key` of a request.
pub(crate) fn take_key(headers: &HeaderMap, key: &mut Option<String>) -> HandlerResult<()> {
    let Some(header) = headers.get(wire::IDEMPOTENCY_KEY) else { return Ok(()) };
    let header = header.to_str().map_err(|_| {
        Problem::new(Code::BadRequest, "the header `idempotency-key` is not plain text")
    })?;
    if key.as_deref().is_some_and(|own| own != header) {
        let detail = "the header `idempotency-key` and `key` differ";
        return Err(Problem::new(Code::BadRequest, detail).into());
    }
    *key = Some(header.to_owned());
    Ok(())
}

pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// A JSON body of many messages.
pub(crate) struct LargeJson<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for LargeJson<T> {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, _: &App) -> HandlerResult<Self> {
        Ok(Self(body(request, limits::PUBLISH_BODY_BYTES).await?))
    }
}

async fn body<T: DeserializeOwned>(request: Request, most: usize) -> HandlerResult<T> {
    need_type(request.headers(), "application/json")?;
    // A body that is announced as too large is rejected before it arrives.
    if request.body().size_hint().lower() > most as u64 {
        return Err(over(most).into());
    }
    let bytes = axum::body::to_bytes(request.into_body(), most)
        .await
        .map_err(|error| too_large(&error, most))?;
    Ok(parse(&bytes)?)
}

/// A JSON body.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, _: &App) -> HandlerResult<Self> {
        Ok(Self(body(request, limits::BODY_BYTES).await?))
    }
}

pub(crate) fn need_type(headers: &HeaderMap, wanted: &str) -> HandlerResult<()> {
    for coding in headers.get_all(CONTENT_ENCODING) {
        if !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity") {
            let shown: String =
                String::from_utf8_lossy(coding.as_bytes()).chars().take(80).collect();
            let detail = format!("expected a body without encoding, found `{shown}`");
            return Err(Problem::new(Code::UnsupportedMediaType, detail)
                .hint("omit `Content-Encoding` and send the body uncompressed")
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
            let detail = "the body of the request came too slowly";
            return Problem::new(Code::SlowRequest, detail);
        }
        inner = cause.source();
    }
    if source.is_some_and(|source| source.to_string().contains("length limit")) {
        return over(most);
    }
    Problem::new(Code::BadRequest, "the body is incomplete")
}

/// Parses a JSON object.
///
/// # Errors
/// [`Code::BadRequest`], with the place in the JSON.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let parsed = orx_model::json::object(&mut from).and_then(|parsed| from.end().map(|()| parsed));
    parsed.map_err(|error| {
        let detail = if error.is_data() {
            "the JSON does not have the expected form"
        } else {
            "the body is not valid JSON"
        };
        Problem::new(Code::BadRequest, detail).cause(error.to_string())
    })
}

/// The query of a URL.
pub(crate) struct QueryParams<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for QueryParams<T> {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> HandlerResult<Self> {
        Query::<T>::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|error| {
            Problem::new(Code::BadRequest, "the query of the URL does not have the expected form")
                .cause(error.body_text())
                .into()
        })
    }
}

/// The parameter in the path.
pub(crate) struct PathParam(pub(crate) String);

impl FromRequestParts<App> for PathParam {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> HandlerResult<Self> {
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
        Err(error) => {
            ProblemResponse(Problem::new(Code::Internal, format!("could not answer: {error}")))
                .into_response()
        }
    }
}

pub(crate) fn ok<T: serde::Serialize>(value: &T) -> Response {
    json(StatusCode::OK, value)
}
