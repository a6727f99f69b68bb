//! Locks and orders, whoever's they are: found, released, refunded.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::command::Command;
use holdfast_ledger::entities::Order;
use holdfast_ledger::id::{Id, OrderId, UserId};
use holdfast_ledger::query::{self, Cursor, Page};
use holdfast_ledger::store::StoreError;
use holdfast_raft::node::Consistency;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Onlooker, Operator};
use crate::app::{App, Ledger};
use crate::error::Fault;
use crate::fields::path_id;
use crate::headers::{etag, json};
use crate::idempotency;
use crate::openapi::{IdempotencyParam, Problem};
use crate::orders::{OrderView, status_name};
use crate::paging::Listing;
use crate::router::{PageQuery, PathText, QueryOf};

/// What an order can be, on the wire.
const STATUSES: [&str; 4] = ["created", "awaiting:payment", "complete", "cancelled"];

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OrdersQuery {
    /// The id of an order, of a ticket or of a user, or a whole address.
    q: Option<String>,
    /// `created`, `awaiting:payment`, `complete` or `cancelled`.
    status: Option<String>,
}

/// Which orders are looked for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    status: Option<&'a str>,
    /// Of an order, a ticket or a user: ids are of one kind to look at.
    id: Option<Id>,
}

impl Wanted<'_> {
    fn has(&self, order: &Order) -> bool {
        let concerns = |id: Id| order.user.0 == id || order.lines.iter().any(|line| line.ticket.0 == id);
        self.status.is_none_or(|status| status == status_name(order.status)) && self.id.is_none_or(concerns)
    }
}

type Found = Page<(OrderId, Order)>;

impl OrdersQuery {
    fn status(&self) -> Result<Option<&str>, Fault> {
        let status = self.status.as_deref().filter(|status| !status.is_empty());
        if status.is_some_and(|status| !STATUSES.contains(&status)) {
            return Err(Fault::bad_field("status", "invalid", format!("Statuses are {}", STATUSES.join(", "))));
        }
        Ok(status)
    }

    /// What is looked for, if anything.
    fn q(&self) -> Option<&str> {
        self.q.as_deref().map(str::trim).filter(|q| !q.is_empty())
    }
}

/// `GET /api/operator/locks`: live locks, the one that runs out first comes first.
#[utoipa::path(
    get, path = "/api/operator/locks", tag = "operators", security(("session" = ["operator-read"])),
    params(OrdersQuery, PageQuery),
    responses((status = 200, description = "A page of the orders that hold them", body = Vec<OrderView>))
)]
pub async fn locks(
    State(app): State<App>,
    _: Onlooker,
    QueryOf(query): QueryOf<OrdersQuery>,
    listing: Listing,
) -> Result<Response, Fault> {
    list(&app, &listing, &query, |state, wanted, after, limit| {
        let mut page = query::locks_live(state, after, limit)?;
        page.rows.retain(|(id, order)| wanted.has(order) || wanted.id == Some(id.0));
        Ok(page)
    })
    .await
}

/// `GET /api/operator/orders`: anybody's orders, newest first. A page may have fewer rows than asked for and still a next
/// one, as only so many orders are looked at for it.
#[utoipa::path(
    get, path = "/api/operator/orders", tag = "operators", security(("session" = ["operator-read"])),
    params(OrdersQuery, PageQuery),
    responses((status = 200, description = "A page of them", body = Vec<OrderView>))
)]
pub async fn search(
    State(app): State<App>,
    _: Onlooker,
    QueryOf(query): QueryOf<OrdersQuery>,
    listing: Listing,
) -> Result<Response, Fault> {
    list(&app, &listing, &query, |state, wanted, after, limit| {
        let Some(id) = wanted.id else { return query::orders(state, |order| wanted.has(order), after, limit) };
        if let Some(order) = query::order(state, OrderId(id))? {
            return Ok(Page { rows: vec![(OrderId(id), order)], next: None });
        }
        if query::user(state, UserId(id))?.is_none() {
            return query::orders(state, |order| wanted.has(order), after, limit);
        }
        let mut page = query::orders_of_user(state, UserId(id), after, limit)?;
        page.rows.retain(|(_, order)| wanted.has(order));
        Ok(page)
    })
    .await
}

/// A page of orders that `find` finds.
async fn list(
    app: &App,
    listing: &Listing,
    query: &OrdersQuery,
    find: impl Fn(&Ledger, Wanted, Option<&Cursor>, usize) -> Result<Found, StoreError> + Send + Sync,
) -> Result<Response, Fault> {
    let (status, q) = (query.status()?, query.q());
    let find = |state: &Ledger, after: Option<&Cursor>, limit| {
        let id = match q {
            None => None,
            Some(q) => match q.parse().ok() {
                Some(id) => Some(id),
                None => match query::user_by_email(state, q)? {
                    Some((user, ..)) => Some(user.0),
                    None => return Ok(Page { rows: Vec::new(), next: None }),
                },
            },
        };
        find(state, Wanted { status, id }, after, limit)
    };
    let seen = listing.read(app, find).await?;
    Ok(listing.answer(&seen, |(id, order)| OrderView::new(*id, order, seen.now_ms, seen.extensions_max)))
}

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
    operator: Operator,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let order = path_id(&id, "orderId")?;
    act(&app, operator, &headers, order, Command::ReleaseLock { order }, StatusCode::OK).await
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
    operator: Operator,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let order = path_id(&id, "orderId")?;
    act(&app, operator, &headers, order, Command::RequestRefund { order }, StatusCode::ACCEPTED).await
}

/// Does something with an order, and answers with it as it is then.
async fn act(
    app: &App,
    Operator(caller): Operator,
    headers: &HeaderMap,
    order: OrderId,
    command: Command,
    status: StatusCode,
) -> Result<Response, Fault> {
    let done = idempotency::once(app, &caller, headers, command).await??;
    answer(app, status, order, Consistency::AtLeast(done.index)).await
}

async fn answer(app: &App, status: StatusCode, id: OrderId, freshness: Consistency) -> Result<Response, Fault> {
    let seen = app.read(freshness, |state| query::order(state, id)).await?;
    let order = seen.value.ok_or_else(|| Fault::not_found("order_not_found").log_index(seen.index))?;
    let mut response = json(status, &OrderView::new(id, &order, seen.now_ms, seen.extensions_max), seen.index);
    response.headers_mut().insert(header::ETAG, etag(order.version));
    Ok(response)
}
