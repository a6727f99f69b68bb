//! Locks and orders: what holds tickets now, and what an operator may do about it.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::Uri;
use serde_json::json;

use super::{Asked, Desk, ROWS, done};
use crate::pages::api::{encoded, query};
use crate::pages::chrome::{Chrome, ok, page};
use crate::pages::form::Form;
use crate::pages::problem::Problem;
use crate::pages::views::Order;
use crate::pages::visit::Visit;

#[derive(Template)]
#[template(path = "operator_orders.html")]
struct OrdersPage {
    chrome: Chrome,
    desk: Desk,
    asked: Asked,
    orders: Vec<Order>,
    next: Option<String>,
}

/// `GET /operator/locks`: soonest deadline first.
pub async fn locks(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let (chrome, desk) = Desk::new(&visit, "locks", &uri)?;
    let asked = Asked::of(&uri);
    let path = format!("/api/operator/locks{}", query(&[("limit", ROWS), ("cursor", &asked.cursor)]));
    let answer = visit.api.get(path).send().await?;
    let next = answer.next_cursor().map(|cursor| format!("/operator/locks{}", query(&[("cursor", &cursor)])));
    ok(&OrdersPage { chrome, desk, asked, orders: answer.json()?, next })
}

/// `GET /operator/orders`: by id of order, ticket or user, by address, or by status.
pub async fn search(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let (chrome, mut desk) = Desk::new(&visit, "orders", &uri)?;
    let asked = Asked::of(&uri);
    let (q, status) = (asked.q.trim(), asked.status.as_str());
    let pairs = [("q", q), ("status", status), ("limit", ROWS), ("cursor", &asked.cursor)];
    let (orders, next) = match visit.api.get(format!("/api/operator/orders{}", query(&pairs))).send().await {
        Ok(answer) => (answer.json()?, answer.next_cursor()),
        Err(problem) if problem.is_mendable() => {
            desk.alert(&problem);
            (Vec::new(), None)
        }
        Err(problem) => return Err(problem),
    };
    let link = |cursor: String| query(&[("q", q), ("status", status), ("cursor", &cursor)]);
    let next = next.map(|cursor| format!("/operator/orders{}", link(cursor)));
    ok(&OrdersPage { chrome, desk, asked, orders, next })
}

#[derive(Template)]
#[template(path = "operator_order.html")]
struct OrderPage {
    chrome: Chrome,
    desk: Desk,
    order: Order,
}

async fn found(visit: &Visit, id: &str, uri: &Uri) -> Result<OrderPage, Problem> {
    let (chrome, desk) = Desk::new(visit, "orders", uri)?;
    let order = visit.api.get(format!("/api/operator/orders/{}", encoded(id))).json().await?;
    Ok(OrderPage { chrome, desk, order })
}

/// `GET /operator/orders/{id}`
pub async fn show(visit: Visit, Path(id): Path<String>, uri: Uri) -> Result<Response, Problem> {
    ok(&found(&visit, &id, &uri).await?)
}

/// `POST /operator/orders/{id}/release`
pub async fn release(visit: Visit, Path(id): Path<String>, uri: Uri, _: Form) -> Result<Response, Problem> {
    act(&visit, &id, &uri, "release", "released").await
}

/// `POST /operator/orders/{id}/refund`
pub async fn refund(visit: Visit, Path(id): Path<String>, uri: Uri, _: Form) -> Result<Response, Problem> {
    act(&visit, &id, &uri, "refund", "refund").await
}

async fn act(visit: &Visit, id: &str, uri: &Uri, action: &str, what: &str) -> Result<Response, Problem> {
    visit.signed_in()?;
    match visit.api.post(format!("/api/operator/orders/{}/{action}", encoded(id)), json!({})).send().await {
        Ok(_) => done(&format!("/operator/orders/{}", encoded(id)), what),
        Err(problem) if problem.is_mendable() => {
            let mut order = found(visit, id, uri).await?;
            order.desk.alert(&problem);
            page(problem.status, &order)
        }
        Err(problem) => Err(problem),
    }
}
