//! Stops a long poll or a stream when the token of its request expires or is revoked.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::StreamExt;
use http_body::Body as _;
use orx_control::ControlPanel;
use orx_model::{Code, Problem};
use tokio::time::Instant;

use crate::extract::bearer;

/// How often the token of a long request is checked.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// Resolves when the token is no longer valid or the time is over, to the problem to answer. One timer
/// serves both, because every request that waits for the store sets it.
pub(crate) async fn over(panel: ControlPanel, token: Option<String>, within: Duration) -> Problem {
    let until = Instant::now() + within;
    loop {
        tokio::time::sleep_until(until.min(Instant::now() + CHECK_EVERY)).await;
        if Instant::now() >= until {
            let detail = "the request took too long; it may have been carried out";
            return Problem::new(Code::TimedOut, detail);
        }
        if let Some(token) = &token
            && has_ended(&panel, token).await
        {
            let detail = "the token became invalid while the request was in flight";
            return Problem::new(Code::Unauthenticated, detail);
        }
    }
}

async fn ended(panel: ControlPanel, token: String) {
    loop {
        tokio::time::sleep(CHECK_EVERY).await;
        if has_ended(&panel, &token).await {
            return;
        }
    }
}

async fn has_ended(panel: &ControlPanel, token: &str) -> bool {
    // Another error, such as an unreachable store, does not mean that the token is invalid.
    let found = panel.authenticate(token).await;
    found.is_err_and(|problem| problem.code == Code::Unauthenticated)
}

/// The token of a request, to check it later.
pub(crate) fn token(headers: &HeaderMap) -> Option<String> {
    bearer(headers).map(str::to_owned)
}

/// Makes a streamed answer break off when the token becomes invalid. Its reader then tries again and
/// gets the reason.
pub(crate) fn streamed(response: Response, panel: ControlPanel, token: Option<String>) -> Response {
    let whole = response.body().size_hint().exact().is_some();
    let token = match token {
        Some(token) if !whole => token,
        _ => return response,
    };
    response.map(|body| {
        let pieces = body.into_data_stream().map(|piece| piece.map_err(std::io::Error::other));
        Body::from_stream(pieces.take_until(ended(panel, token)))
    })
}
