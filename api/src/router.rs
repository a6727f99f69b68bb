//! The routes, and the extractors that read a path or a query without ever answering for themselves.

use axum::Router;
use axum::extract::{FromRequestParts, Path, Query};
use axum::middleware::from_fn_with_state;
use holdfast_raft::node::Consistency;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::error::Fault;
use crate::headers::freshness;
use crate::{
    cluster, events, health, line, live, middleware, openapi, operator, orders, pages, payments, sales, services,
    signed_ticket, tickets, users, watch,
};

/// All routes, each with its description.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(users::routes())
        .merge(tickets::routes())
        .merge(orders::routes())
        .merge(live::routes())
        .merge(signed_ticket::routes())
        .merge(watch::routes())
        .merge(line::routes())
        .merge(sales::routes())
        .merge(operator::routes())
        .merge(events::routes())
        .merge(payments::routes())
        .merge(services::routes())
        .routes(routes!(cluster::status))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::version))
        .merge(openapi::routes())
}

/// All routes, ready to serve. Free of sockets: put it on a listener, or call it as a service.
pub fn router(app: App) -> Router {
    let (router, _) = routes().split_for_parts();
    let api = router
        .fallback(no_route)
        .method_not_allowed_fallback(no_route)
        .layer(from_fn_with_state(app.clone(), middleware::outermost))
        .with_state(app.clone());
    pages::around(api, app)
}

/// Every method on every path that is none of ours: 404, as the original's catch-all.
async fn no_route() -> Fault {
    Fault::not_found("not_found")
}

/// The one variable part of a path. What is no text at all cannot be an id either, and is left to the handler as such.
pub struct PathText(pub String);

impl FromRequestParts<App> for PathText {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<PathText, Infallible> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        Ok(PathText(path.map(|Path(text)| text).unwrap_or_default()))
    }
}

/// The two variable parts of a path.
pub struct PathTexts(pub String, pub String);

impl FromRequestParts<App> for PathTexts {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<PathTexts, Infallible> {
        let path = Path::<(String, String)>::from_request_parts(parts, app).await;
        let (first, second) = path.map(|Path(texts)| texts).unwrap_or_default();
        Ok(PathTexts(first, second))
    }
}

/// The query string; a malformed one is a 400.
pub struct QueryOf<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for QueryOf<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<QueryOf<T>, Fault> {
        let malformed = |_| Fault::bad_field("query", "malformed_query", "The query string cannot be read");
        Query::try_from_uri(&parts.uri).map(|Query(query)| QueryOf(query)).map_err(malformed)
    }
}

/// How fresh a read of one entity is to be.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReadQuery {
    pub consistency: Option<String>,
    #[serde(rename = "min-index")]
    pub min_index: Option<String>,
}

/// How fresh the caller wants a read of one entity.
pub struct Fresh(pub Consistency);

impl FromRequestParts<App> for Fresh {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Fresh, Fault> {
        let QueryOf(query) = QueryOf::<ReadQuery>::from_request_parts(parts, app).await?;
        freshness(&parts.headers, query.consistency.as_deref(), query.min_index.as_deref()).map(Fresh)
    }
}

/// Which page of a list, and how fresh.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    pub limit: Option<String>,
    pub cursor: Option<String>,
    pub consistency: Option<String>,
    #[serde(rename = "min-index")]
    pub min_index: Option<String>,
}
