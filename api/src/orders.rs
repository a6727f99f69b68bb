//! Orders: locking tickets, watching and extending the lock, giving it up.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::command::{Command, Seen, Wanted};
use holdfast_ledger::entities::{CancelReason, Order, OrderStatus};
use holdfast_ledger::id::{OrderId, PaymentId, TicketId, UserId};
use holdfast_ledger::limits::ORDER_TICKETS_MAX;
use holdfast_ledger::money::Currency;
use holdfast_ledger::outcome::{Refusal, Reply};
use holdfast_ledger::query;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, Done};
use crate::body::JsonBody;
use crate::error::Fault;
use crate::fields::{self, Complaints, Raw, path_id, price_json};
use crate::headers::{IDEMPOTENCY_REPLAYED, etag, if_match, json, no_content, not_modified};
use crate::history;
use crate::idempotency;
use crate::openapi::{Amount, CurrencyCode, EntityId, IdempotencyParam, IfMatchParam, IfNoneMatchParam, Problem, Time};
use crate::paging::Listing;
use crate::router::{Fresh, PageQuery, PathText, ReadQuery};
use crate::session::Caller;
use crate::time::{Rfc3339, rfc3339};

/// The original's words.
const BAD_TICKET_ID: &str = "TicketId must be provided";

/// One ticket of an order on the wire, as it was locked.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = OrderLine)]
struct LineView<'a> {
    #[schema(value_type = EntityId)]
    id: TicketId,
    title: &'a str,
    #[schema(value_type = Amount)]
    price: Box<RawValue>,
    version: u64,
}

/// An order on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = Order)]
#[serde(rename_all = "camelCase")]
pub struct OrderView<'a> {
    #[schema(value_type = EntityId)]
    id: OrderId,
    status: &'static str,
    #[schema(value_type = EntityId)]
    user_id: UserId,
    #[schema(value_type = Time)]
    expires_at: Rfc3339,
    version: u64,
    /// For an order of one ticket, as clients of the original expect.
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<LineView<'a>>,
    tickets: Vec<LineView<'a>>,
    #[schema(value_type = Amount)]
    total: Box<RawValue>,
    #[schema(value_type = CurrencyCode)]
    currency: Currency,
    /// By ledger time; 0 once the lock is over.
    expires_in_seconds: u64,
    /// How often the buyer can still ask for more time.
    extensions_left: u32,
    #[schema(value_type = Time)]
    server_time: Rfc3339,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EntityId>)]
    payment_id: Option<PaymentId>,
    #[schema(value_type = Time)]
    created_at: Rfc3339,
}

impl<'a> OrderView<'a> {
    pub fn new(id: OrderId, order: &'a Order, now_ms: u64, extensions_max: u32) -> OrderView<'a> {
        let line = |line: &'a holdfast_ledger::entities::OrderLine| LineView {
            id: line.ticket,
            title: &line.title,
            price: price_json(line.price_minor, order.currency),
            version: line.ticket_version,
        };
        let tickets: Vec<_> = order.lines.iter().map(line).collect();
        let left_ms = if order.status.holds_tickets() { order.deadline_ms.saturating_sub(now_ms) } else { 0 };
        OrderView {
            id,
            status: status_name(order.status),
            user_id: order.user,
            expires_at: rfc3339(order.deadline_ms),
            version: order.version,
            ticket: if tickets.len() == 1 { tickets.first().cloned() } else { None },
            tickets,
            total: price_json(order.total_minor(), order.currency),
            currency: order.currency,
            expires_in_seconds: left_ms.div_ceil(1_000),
            extensions_left: match order.status {
                OrderStatus::Created if left_ms > 0 => extensions_max.saturating_sub(order.extensions),
                _ => 0,
            },
            server_time: rfc3339(now_ms),
            reason: reason_name(order.status),
            payment_id: order.payments.last().copied(),
            created_at: rfc3339(order.created_ms),
        }
    }
}

/// The original's names.
pub fn status_name(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Created => "created",
        OrderStatus::AwaitingPayment => "awaiting:payment",
        OrderStatus::Complete => "complete",
        OrderStatus::Cancelled(_) => "cancelled",
    }
}

fn reason_name(status: OrderStatus) -> Option<&'static str> {
    match status {
        OrderStatus::Cancelled(CancelReason::Buyer) => Some("buyer"),
        OrderStatus::Cancelled(CancelReason::Expired) => Some("expired"),
        OrderStatus::Cancelled(CancelReason::PaymentFailed) => Some("payment_failed"),
        OrderStatus::Cancelled(CancelReason::Banned) => Some("banned"),
        OrderStatus::Cancelled(CancelReason::Withdrawn) => Some("withdrawn"),
        OrderStatus::Cancelled(CancelReason::Operator) => Some("operator"),
        _ => None,
    }
}

/// What is asked for: `ticketId` with what the buyer saw, or `tickets`, a list of the same.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewOrder, example = json!({"ticketId": "000000000000000100000000", "max_price": 20}))]
struct PlaceBody<'a> {
    #[serde(borrow, rename = "ticketId")]
    #[schema(value_type = Option<EntityId>)]
    ticket_id: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<Amount>)]
    price: Raw<'a>,
    #[serde(borrow, alias = "maxPrice")]
    #[schema(value_type = Option<Amount>)]
    max_price: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<u64>)]
    version: Raw<'a>,
    #[serde(borrow, default)]
    tickets: Option<Vec<PlaceLine<'a>>>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = NewOrderLine)]
struct PlaceLine<'a> {
    #[serde(borrow, rename = "ticketId")]
    #[schema(value_type = EntityId)]
    ticket_id: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<Amount>)]
    price: Raw<'a>,
    #[serde(borrow, alias = "maxPrice")]
    #[schema(value_type = Option<Amount>)]
    max_price: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<u64>)]
    version: Raw<'a>,
}

impl PlaceLine<'_> {
    fn wanted(&self, complaints: &mut Complaints) -> Option<Wanted> {
        let ticket = complaints.require(fields::id(self.ticket_id), "ticketId", BAD_TICKET_ID);
        let seen = self.seen(complaints);
        Some(Wanted { ticket: ticket?, seen: seen? })
    }

    fn seen(&self, complaints: &mut Complaints) -> Option<Seen> {
        let price = "Must be an amount such as 20.00";
        match (self.price, self.max_price, self.version) {
            (None, None, None) => Some(Seen::Nothing),
            (Some(_), None, None) => complaints.require(fields::decimal(self.price), "price", price).map(Seen::Price),
            (None, Some(_), None) => {
                complaints.require(fields::decimal(self.max_price), "max_price", price).map(Seen::PriceMax)
            }
            (None, None, Some(_)) => {
                let version = fields::unsigned(self.version);
                complaints.require(version, "version", "Must be a ticket's version").map(Seen::Version)
            }
            _ => {
                complaints.add("price", "ambiguous", "Give one of price, max_price and version");
                None
            }
        }
    }
}

impl<'a> PlaceBody<'a> {
    fn wanted(self) -> Result<Vec<Wanted>, Fault> {
        let mut complaints = Complaints::default();
        let PlaceBody { ticket_id, price, max_price, version, tickets } = self;
        let Some(lines) = tickets else {
            let line = PlaceLine { ticket_id, price, max_price, version };
            let wanted = line.wanted(&mut complaints);
            return complaints.settle(wanted.map(|wanted| vec![wanted]));
        };
        if ticket_id.is_some() || price.is_some() || max_price.is_some() || version.is_some() {
            complaints.add("tickets", "ambiguous", "Give either ticketId or tickets");
        }
        if !(1..=ORDER_TICKETS_MAX).contains(&lines.len()) {
            complaints.add("tickets", "invalid", format!("Give 1 to {ORDER_TICKETS_MAX} tickets"));
        }
        let lines = lines.iter().take(ORDER_TICKETS_MAX);
        let wanted: Option<Vec<Wanted>> = lines.map(|line| line.wanted(&mut complaints)).collect();
        complaints.settle(wanted)
    }
}

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, place))
        .routes(routes!(show, cancel))
        .routes(routes!(extend))
        .routes(routes!(history::of_order))
}

/// `POST /api/orders`: locks the tickets, all or none.
#[utoipa::path(
    post, path = "/api/orders", tag = "orders", security(("session" = [])), params(IdempotencyParam),
    request_body = PlaceBody,
    responses(
        (status = 201, description = "The tickets are locked", body = OrderView),
        (status = 409, description = "The price has changed, or another rule of the sale", body = Problem),
        (status = 410, description = "Taken off sale", body = Problem),
    )
)]
pub async fn place(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Fault> {
    let command = Command::PlaceOrder { tickets: body.parse::<PlaceBody>()?.wanted()? };
    let done = idempotency::once(&app, &caller, &headers, command).await??;
    answer(&app, StatusCode::CREATED, &done).await
}

/// `POST /api/orders/:orderId/extend`: more time for a live lock, as often as the policy allows.
#[utoipa::path(
    post, path = "/api/orders/{id}/extend", tag = "orders", security(("session" = [])), params(IdempotencyParam),
    responses(
        (status = 200, description = "Done", body = OrderView),
        (status = 409, description = "Conflict", body = Problem),
    )
)]
pub async fn extend(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let command = Command::ExtendLock { order: path_id(&id, "orderId")? };
    let done = idempotency::once(&app, &caller, &headers, command).await??;
    answer(&app, StatusCode::OK, &done).await
}

/// `DELETE /api/orders/:orderId`: gives the lock up. What is cancelled already stays so: 204 again.
#[utoipa::path(
    delete, path = "/api/orders/{id}", tag = "orders", security(("session" = [])),
    params(IdempotencyParam, IfMatchParam),
    responses(
        (status = 204, description = "The lock is given up"),
        (status = 409, description = "The bank is being asked, or the order is complete", body = Problem),
        (status = 412, description = "Changed meanwhile", body = Problem),
    )
)]
pub async fn cancel(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let command = Command::CancelOrder { order: path_id(&id, "orderId")?, version: if_match(&headers)? };
    let decided_at = match idempotency::once(&app, &caller, &headers, command).await? {
        Ok(done) => done.decided_at,
        Err(refused) => match refused.refusal {
            Refusal::OrderCancelled { .. } | Refusal::OrderExpired { .. } => refused.decided_at,
            _ => return Err(refused.into()),
        },
    };
    Ok(no_content(decided_at))
}

/// The order that a command made or changed, as it is now.
async fn answer(app: &App, status: StatusCode, done: &Done) -> Result<Response, Fault> {
    let Reply::Order { order: id, .. } = done.reply else { unreachable!("a change of an order is answered with it") };
    let seen = app.read_own(done.index, |state| query::order(state, id)).await?;
    let order = seen.value.ok_or_else(|| Fault::not_found("order_not_found"))?;
    let mut response = json(status, &OrderView::new(id, &order, seen.now_ms, seen.extensions_max), done.decided_at);
    response.headers_mut().insert(header::ETAG, etag(order.version));
    if done.replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// `GET /api/orders/:orderId`: the caller's own.
#[utoipa::path(
    get, path = "/api/orders/{id}", tag = "orders", security(("session" = [])), params(ReadQuery, IfNoneMatchParam),
    responses((status = 200, description = "Done", body = OrderView), (status = 304, description = "Not changed"))
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    headers: HeaderMap,
    Fresh(freshness): Fresh,
) -> Result<Response, Fault> {
    let id = path_id(&id, "orderId")?;
    let seen = app.read(freshness, |state| query::order(state, id)).await?;
    let order = owned(seen.value, &caller, seen.index)?;
    if let Some(response) = not_modified(&headers, order.version, seen.index) {
        return Ok(response);
    }
    let mut response = json(StatusCode::OK, &OrderView::new(id, &order, seen.now_ms, seen.extensions_max), seen.index);
    response.headers_mut().insert(header::ETAG, etag(order.version));
    Ok(response)
}

/// The order, if there is one and it is the caller's.
pub fn owned(order: Option<Order>, caller: &Caller, log_index: u64) -> Result<Order, Fault> {
    let order = order.ok_or_else(|| Fault::not_found("order_not_found").log_index(log_index))?;
    if order.user != caller.signed_in.user {
        return Err(Fault::not_owner().log_index(log_index));
    }
    Ok(order)
}

/// `GET /api/orders`: the caller's own of every status, newest first.
#[utoipa::path(
    get, path = "/api/orders", tag = "orders", security(("session" = [])), params(PageQuery),
    responses((status = 200, description = "Done", body = Vec<OrderView>))
)]
pub async fn list(State(app): State<App>, caller: Caller, listing: Listing) -> Result<Response, Fault> {
    let user = caller.signed_in.user;
    let seen = listing.read(&app, |state, after, limit| query::orders_of_user(state, user, after, limit)).await?;
    Ok(listing.answer(&seen, |(id, order)| OrderView::new(*id, order, seen.now_ms, seen.extensions_max)))
}
