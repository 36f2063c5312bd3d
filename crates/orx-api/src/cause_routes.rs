//! The route of the causes of dead letters.

use axum::extract::State;
use axum::response::Response;
use orx_model::Problem;
use orx_model::wire::{CausePage, CausesQuery, path};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::extract::{Auth, HandlerResult, QueryParams, ok};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(causes))
}

/// Dead letters by cause, the most frequent first, by pages.
#[utoipa::path(
    get, path = path::DEAD_LETTERS_CAUSES, tag = "admin", params(CausesQuery),
    responses(
        (status = 200, body = CausePage, description = "a page of causes with their counts"),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "refused: a problem document with a stable `code`"),
    ),
)]
async fn causes(
    State(app): State<App>,
    Auth(caller): Auth,
    QueryParams(query): QueryParams<CausesQuery>,
) -> HandlerResult<Response> {
    Ok(ok(&app.panel.causes(&caller, &query).await?))
}
