//! Wraps every route: checks the head of the request, adds a request id, counts the request, and turns a
//! panic into a problem document.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, ORIGIN, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use orx_model::secret::WORKER_SECRET;
use orx_model::{Code, MessageId, Problem, wire};

use crate::extract::ProblemResponse;
use crate::peers::PeerAddrs;
use crate::request_body::UnreadBody;
use crate::{App, token_expiry};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(crate) async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let in_flight = app.settings.tracker.begin();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().clone();
    let addrs = request.extensions().get::<PeerAddrs>().copied();
    let checked = check_head(&request)
        .and_then(|()| check_host(request.headers(), &app.settings.hosts, addrs));
    let (request, unread) = UnreadBody::of(request, &app.access.limits);
    let mut response = match checked {
        Err(problem) => {
            drop(request);
            ProblemResponse(problem).into_response()
        }
        Ok(()) => match AssertUnwindSafe(run(&app, request, next)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                tracing::error!(route = route.as_deref(), "the handler of a request panicked");
                let detail = "the handler of this request panicked; the server continues";
                ProblemResponse(Problem::new(Code::Internal, detail)).into_response()
            }
        },
    };
    drop(in_flight);
    if let Some(unread) = unread
        && !unread.read_rest().await
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let id = MessageId::random(&mut rand::rng()).to_string();
    if let Some(mut problem) = response.extensions_mut().remove::<Problem>() {
        problem.request_id = Some(id.clone());
        *response.body_mut() = Body::from(serde_json::to_string(&problem).unwrap_or_default());
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(&REQUEST_ID, id);
    }
    let code = response.status().as_u16();
    if code == Code::RateLimited.http_status() {
        let now = (app.settings.now)();
        let failures = &app.access.failures;
        let barred = addrs.and_then(|it| failures.barred(it.peer, now, &app.access.limits));
        let seconds = barred.unwrap_or_default().as_secs() + 1;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    // Unknown routes share one label, so that callers cannot add labels.
    app.metrics.request(route.as_deref().unwrap_or("other"), &method, code, started.elapsed());
    response
}

/// The answer of the route, or a problem if the token expires or the time is over before.
async fn run(app: &App, request: Request, next: Next) -> Response {
    let token = token_expiry::token(request.headers());
    let answer_within = app.access.limits.answer_within;
    tokio::select! {
        // In this order, so that a quick answer sets no timer.
        biased;
        response = next.run(request) => token_expiry::streamed(response, app.panel.clone(), token),
        problem = token_expiry::over(app.panel.clone(), token.clone(), answer_within) => {
            ProblemResponse(problem).into_response()
        }
    }
}

/// Rejects a request that two programs could understand differently.
fn check_head(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let once = [HOST, AUTHORIZATION, CONTENT_TYPE];
    let ours = [wire::IDEMPOTENCY_KEY, WORKER_SECRET, wire::live::LAST_EVENT_ID]
        .map(HeaderName::from_static);
    for name in once.iter().chain(&ours) {
        if headers.get_all(name).iter().count() > 1 {
            let detail = format!("the request has the header `{name}` more than once");
            return Err(Problem::new(Code::BadRequest, detail).hint("send it once"));
        }
    }
    if request.version() == Version::HTTP_11 && !headers.contains_key(HOST) {
        return Err(Problem::new(Code::BadRequest, "the request has no `Host`")
            .hint("send the name and port of the server"));
    }
    let named = request.uri().authority().map(axum::http::uri::Authority::as_str);
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    if named.is_some_and(|named| host != Some(named.as_bytes())) {
        let detail = "the request line names another server than `Host` does";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    Ok(())
}

/// Rejects requests of web pages, with or without a token: a browser on this machine can reach loopback
/// for any page. Such a request has an `Origin`, or the name of the page's server in `Host`.
fn check_host(
    headers: &HeaderMap,
    hosts: &[String],
    addrs: Option<PeerAddrs>,
) -> Result<(), Problem> {
    if headers.contains_key(ORIGIN) {
        return Err(Problem::new(
            Code::ForeignOrigin,
            "requests with an `Origin` come from web pages, and are refused",
        ));
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let loopback = ["localhost", "127.0.0.1", "[::1]"];
    // A page cannot choose the address to which the connection was made.
    let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let own = matches!((literal, addrs), (Ok(ip), Some(addrs)) if ip.to_canonical() == addrs.own);
    if own || loopback.contains(&name) || hosts.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let shown: String = host.chars().take(80).collect();
    Err(Problem::new(Code::ForeignOrigin, format!("this server is not called `{shown}`"))
        .hint("use its address, or add the name to `[server] hosts` in its configuration"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use orx_control::ControlPanel;
    use orx_model::Timestamp;
    use orx_store::Memory;
    use orx_testkit::make::control_settings;
    use orx_transport::{Direct, Wakeups};
    use tower::ServiceExt;

    use super::*;
    use crate::{ApiSettings, RequestTracker};

    fn app() -> App {
        let now: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(Timestamp::default);
        let settings = control_settings();
        let (store, transport) = (Arc::new(Memory::new()), Arc::new(Direct::new()));
        let panel = ControlPanel::new(store, transport, Wakeups::new(), Arc::clone(&now), settings);
        let tracker = Arc::new(RequestTracker::default());
        let closing = tokio_util::sync::CancellationToken::new();
        let settings =
            ApiSettings { hosts: Vec::new(), tracker, worker_gateway: None, closing, now };
        let access = crate::AccessControl::new(crate::Limits::default());
        App { panel, settings, metrics: Arc::default(), access }
    }

    async fn panics() -> &'static str {
        panic!("on purpose")
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_a_problem_and_the_server_goes_on() {
        let app = app();
        let router = axum::Router::new()
            .route("/panics", get(panics))
            .route("/works", get(|| async { "fine" }))
            .layer(axum::middleware::from_fn_with_state(app.clone(), around))
            .with_state(app.clone());
        let call = |path: &str| {
            let request = Request::builder().uri(path).header("host", "localhost");
            router.clone().oneshot(request.body(Body::empty()).expect("a request"))
        };
        let answer = call("/panics").await.expect("an answer");
        assert_eq!(answer.status(), 500);
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 16).await.expect("a body");
        let problem: Problem = serde_json::from_slice(&bytes).expect("a problem");
        assert!(problem.code == Code::Internal && problem.request_id.is_some(), "{problem:?}");
        assert_eq!(call("/works").await.expect("an answer").status(), 200);
        assert_eq!(app.settings.tracker.open(), 0);
    }
}
