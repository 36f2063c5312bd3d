//! Requests end with the token that they came with, also those that are long under way.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::{StreamExt, future};
use http_body::Body as _;
use orx_control::ControlPanel;

use crate::extract::bearer;

/// How often a long request's token is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Ends when the token of the request is no longer valid; never for one without.
pub(crate) async fn ended(panel: ControlPanel, token: Option<String>) {
    let Some(token) = token else { return future::pending().await };
    loop {
        tokio::time::sleep(LOOK).await;
        let asked = panel.authenticate(&token).await;
        // A store that is away says nothing of the token.
        if asked.is_err_and(|problem| problem.code == orx_model::Code::Unauthenticated) {
            return;
        }
    }
}

/// The token of a request, to be looked at later.
pub(crate) fn token(headers: &HeaderMap) -> Option<String> {
    bearer(headers).map(str::to_owned)
}

/// A streamed answer that breaks off when the token ends: its reader asks again, and is told why.
pub(crate) fn streamed(response: Response, panel: ControlPanel, token: Option<String>) -> Response {
    let whole = response.body().size_hint().exact().is_some();
    if whole || token.is_none() {
        return response;
    }
    response.map(|body| {
        let pieces = body.into_data_stream().map(|piece| piece.map_err(std::io::Error::other));
        Body::from_stream(pieces.take_until(ended(panel, token)))
    })
}
