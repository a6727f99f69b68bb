//! Locks and orders, whoever's they are: found, released, refunded.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::command::Command;
use holdfast_ledger::id::OrderId;
use holdfast_ledger::query;
use holdfast_raft::node::Consistency;
use http::{HeaderMap, StatusCode, header};

use super::{Onlooker, Operator};
use crate::app::App;
use crate::error::Fault;
use crate::fields::path_id;
use crate::headers::{etag, json};
use crate::idempotency;
use crate::openapi::{IdempotencyParam, Problem};
use crate::orders::OrderView;
use crate::router::PathText;

/// `GET /api/operator/orders/:orderId`: anybody's order.
#[utoipa::path(
    get, path = "/api/operator/orders/{id}", tag = "operators", security(("session" = ["operator-read"])),
    responses((status = 200, description = "The order", body = OrderView))
)]
pub async fn show(State(app): State<App>, _: Onlooker, PathText(id): PathText) -> Result<Response, Fault> {
    let id: OrderId = path_id(&id, "orderId")?;
    answer(&app, StatusCode::OK, id, Consistency::Linearizable).await
}

/// `POST /api/operator/orders/:orderId/release`: ends a live lock. Where the bank is asked already, what it authorises is
/// voided.
#[utoipa::path(
    post, path = "/api/operator/orders/{id}/release", tag = "operators", security(("session" = ["operator-admin"])),
    params(IdempotencyParam),
    responses(
        (status = 200, description = "The order, cancelled", body = OrderView),
        (status = 409, description = "Its lock is over already", body = Problem),
    )
)]
pub async fn release(
    State(app): State<App>,
    Operator(caller): Operator,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let id: OrderId = path_id(&id, "orderId")?;
    let command = Command::ReleaseLock { order: id };
    let key = idempotency::key(&headers, &command)?;
    let done = app.propose(caller.actor(), key, command).await??;
    answer(&app, StatusCode::OK, id, Consistency::AtLeast(done.index)).await
}

/// `POST /api/operator/orders/:orderId/refund`: asks the payments service to give the money back.
#[utoipa::path(
    post, path = "/api/operator/orders/{id}/refund", tag = "operators", security(("session" = ["operator-admin"])),
    params(IdempotencyParam),
    responses(
        (status = 202, description = "The refund is asked for", body = OrderView),
        (status = 409, description = "Nothing of it was captured, or it was refunded already", body = Problem),
    )
)]
pub async fn refund(
    State(app): State<App>,
    Operator(caller): Operator,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let id: OrderId = path_id(&id, "orderId")?;
    let command = Command::RequestRefund { order: id };
    let key = idempotency::key(&headers, &command)?;
    let done = app.propose(caller.actor(), key, command).await??;
    answer(&app, StatusCode::ACCEPTED, id, Consistency::AtLeast(done.index)).await
}

async fn answer(app: &App, status: StatusCode, id: OrderId, freshness: Consistency) -> Result<Response, Fault> {
    let seen = app.read(freshness, |state| query::order(state, id)).await?;
    let order = seen.value.ok_or_else(|| Fault::not_found("order_not_found").log_index(seen.index))?;
    let mut response = json(status, &OrderView::new(id, &order, seen.now_ms), seen.index);
    response.headers_mut().insert(header::ETAG, etag(order.version));
    Ok(response)
}
