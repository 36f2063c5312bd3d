//! Routes for tokens.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orx_model::Problem;
use orx_model::token::{RevokeAnswer, RevokeRequest, TokenList, TokenMade, TokenRequest, path};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::{AdminCaller, Auth, HandlerResult, JsonBody, json, ok};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_token, list_tokens)).routes(routes!(revoke_tokens))
}

/// Make a token. Its text is in this answer and nowhere else.
#[utoipa::path(
    post, path = path::TOKENS, tag = "admin", request_body = TokenRequest,
    responses(
        (status = 201, body = TokenMade, description = "the token with its text"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn create_token(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    JsonBody(request): JsonBody<TokenRequest>,
) -> HandlerResult<Response> {
    let made = app.panel.create_token(&caller, request).await?;
    let mut response = json(StatusCode::CREATED, &made);
    let no_store = axum::http::HeaderValue::from_static("no-store");
    response.headers_mut().insert(axum::http::header::CACHE_CONTROL, no_store);
    Ok(response)
}

/// Every token, without its text.
#[utoipa::path(
    get, path = path::TOKENS, tag = "admin",
    responses(
        (status = 200, body = TokenList, description = "every token"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn list_tokens(State(app): State<App>, Auth(caller): Auth) -> HandlerResult<Response> {
    Ok(ok(&app.panel.list_tokens(&caller).await?))
}

/// Revoke tokens: at this server at once, at other servers within a second.
#[utoipa::path(
    post, path = path::TOKENS_REVOKE, tag = "admin", request_body = RevokeRequest,
    responses(
        (status = 200, body = RevokeAnswer, description = "the tokens, revoked"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn revoke_tokens(
    State(app): State<App>,
    AdminCaller(caller): AdminCaller,
    JsonBody(request): JsonBody<RevokeRequest>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.revoke_tokens(&caller, request).await?))
}
