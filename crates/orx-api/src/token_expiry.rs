//! Requests end with the token that they came with, also those that are long under way.

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

/// How often a long request's token is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Ends when the token of the request is no longer valid, or the time is over; says which. One timer
/// for both: every request that waits for the store sets it.
pub(crate) async fn over(panel: ControlPanel, token: Option<String>, within: Duration) -> Problem {
    let until = Instant::now() + within;
    loop {
        tokio::time::sleep_until(until.min(Instant::now() + LOOK)).await;
        if Instant::now() >= until {
            let detail = "no answer was found in time; what was asked may have been done";
            return Problem::new(Code::TimedOut, detail);
        }
        if let Some(token) = &token
            && has_ended(&panel, token).await
        {
            let detail = "the token has ended while the request was under way";
            return Problem::new(Code::Unauthenticated, detail);
        }
    }
}

async fn ended(panel: ControlPanel, token: String) {
    loop {
        tokio::time::sleep(LOOK).await;
        if has_ended(&panel, &token).await {
            return;
        }
    }
}

async fn has_ended(panel: &ControlPanel, token: &str) -> bool {
    // A store that is away says nothing of the token.
    let asked = panel.authenticate(token).await;
    asked.is_err_and(|problem| problem.code == Code::Unauthenticated)
}

/// The token of a request, to be looked at later.
pub(crate) fn token(headers: &HeaderMap) -> Option<String> {
    bearer(headers).map(str::to_owned)
}

/// A streamed answer that breaks off when the token ends: its reader asks again, and is told why.
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
