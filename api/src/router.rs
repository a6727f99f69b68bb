//! The routes, and the extractors that read a path or a query without ever answering for themselves.

use axum::Router;
use axum::extract::{FromRequestParts, Path, Query};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;

use crate::app::App;
use crate::error::Fault;
use crate::{cluster, health, history, middleware, orders, payments, tickets, users};

/// All routes. Free of sockets: put it on a listener, or call it as a service.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/api/users/signup", post(users::sign_up))
        .route("/api/users/signin", post(users::sign_in))
        .route("/api/users/signout", post(users::sign_out))
        .route("/api/users/refresh", post(users::refresh))
        .route("/api/users/currentuser", get(users::current_user))
        .route("/.well-known/jwks.json", get(users::jwks))
        .route("/api/tickets", get(tickets::list).post(tickets::create))
        .route("/api/tickets/bulk", post(tickets::create_many))
        .route("/api/tickets/{id}", get(tickets::show).put(tickets::edit).delete(tickets::withdraw))
        .route("/api/tickets/{id}/next-price", put(tickets::schedule_price))
        .route("/api/tickets/{id}/history", get(history::of_ticket))
        .route("/api/orders", get(orders::list).post(orders::place))
        .route("/api/orders/{id}", get(orders::show).delete(orders::cancel))
        .route("/api/orders/{id}/extend", post(orders::extend))
        .route("/api/orders/{id}/history", get(history::of_order))
        .route("/api/payments", post(payments::pay))
        .route("/api/payments/{id}", get(payments::show))
        .route("/api/cluster", get(cluster::status))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/version", get(health::version))
        .fallback(no_route)
        .method_not_allowed_fallback(no_route)
        .layer(from_fn_with_state(app.clone(), middleware::outermost))
        .with_state(app)
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
#[derive(Deserialize)]
pub struct ReadQuery {
    pub consistency: Option<String>,
    #[serde(rename = "min-index")]
    pub min_index: Option<String>,
}

/// Which page of a list, and how fresh.
#[derive(Deserialize)]
pub struct PageQuery {
    pub limit: Option<String>,
    pub cursor: Option<String>,
    pub consistency: Option<String>,
    #[serde(rename = "min-index")]
    pub min_index: Option<String>,
}
