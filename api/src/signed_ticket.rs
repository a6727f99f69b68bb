//! What a buyer gets: a signed ticket, a compact JWS that anybody can check with the public keys.
//!
//! It says which order completed which ticket for whom, and the log index that decided. It holds no personal data and never
//! expires; whether it is still good is asked at the door ([`verify`]), because an order can be refunded. A node's key stays
//! in the ledger when it is retired, so that tickets which it has signed can still be checked; what it signs of new tokens is
//! refused.
//!
//! The same ticket signed twice by one node is the same text: its time is the order's, and Ed25519 draws no randomness.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use holdfast_ledger::entities::{Order, OrderStatus, PaymentStatus, PaymentStep, Ticket};
use holdfast_ledger::event::EventType;
use holdfast_ledger::id::{OrderId, TicketId, UserId};
use holdfast_ledger::limits::PAGE_ROWS_MAX;
use holdfast_ledger::money::Currency;
use holdfast_ledger::query;
use holdfast_ledger::store::StoreError;
use holdfast_raft::node::Consistency;
use http::{HeaderValue, StatusCode, header};
use qrcode::render::svg::Color;
use qrcode::{EcLevel, QrCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, Ledger};
use crate::body::JsonBody;
use crate::error::Fault;
use crate::fields::{self, Raw, path_id, price_json};
use crate::headers::json;
use crate::openapi::{Amount, CurrencyCode, EntityId, Problem, Time};
use crate::orders::owned;
use crate::router::{Fresh, PathText, PathTexts, QueryOf, ReadQuery};
use crate::session::{self, Caller};
use crate::time::{Rfc3339, rfc3339};
use crate::token::Purpose;

/// The side of a QR code, in pixels at least.
const QR_PIXELS_MIN: u32 = 320;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(of_order)).routes(routes!(file)).routes(routes!(verify, verify_sent))
}

/// What a signed ticket says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claims {
    order: OrderId,
    ticket: TicketId,
    /// The buyer.
    sub: UserId,
    /// The log index of the entry that completed the order.
    index: u64,
}

/// A complete order, as far as its tickets need it.
struct Bought {
    order: Order,
    tickets: BTreeMap<TicketId, Ticket>,
    completed_index: u64,
    completed_ms: u64,
}

impl Bought {
    fn token(&self, app: &App, id: OrderId, ticket: TicketId) -> String {
        let claims = Claims { order: id, ticket, sub: self.order.user, index: self.completed_index };
        app.tokens.sign(Purpose::Ticket, claims, self.completed_ms / 1_000, None)
    }
}

/// A ticket of a complete order on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = BoughtTicket)]
#[serde(rename_all = "camelCase")]
struct BoughtView<'a> {
    #[schema(value_type = EntityId)]
    ticket_id: TicketId,
    #[schema(value_type = EntityId)]
    order_id: OrderId,
    title: &'a str,
    #[schema(value_type = Amount)]
    price: Box<RawValue>,
    #[schema(value_type = CurrencyCode)]
    currency: Currency,
    #[serde(flatten)]
    place: PlaceView<'a>,
    /// The signed ticket: a compact JWS.
    token: String,
    /// Where its QR code is: an SVG image of the address at which anybody can check it.
    qr: String,
    /// Where it can be downloaded.
    file: String,
}

/// Where and when.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PlaceView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    venue: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seat: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    starts_at: Option<Rfc3339>,
}

impl<'a> PlaceView<'a> {
    fn new(ticket: &'a Ticket) -> PlaceView<'a> {
        let details = &ticket.details;
        PlaceView {
            event_name: details.event_name.as_deref(),
            venue: details.venue.as_deref(),
            section: details.section.as_deref(),
            row: details.row.as_deref(),
            seat: details.seat.as_deref(),
            starts_at: details.starts_ms.map(rfc3339),
        }
    }
}

/// `GET /api/orders/:orderId/tickets`: the signed tickets of the caller's own complete order.
#[utoipa::path(
    get, path = "/api/orders/{id}/tickets", tag = "orders", security(("session" = [])), params(ReadQuery),
    responses(
        (status = 200, description = "A signed ticket for each ticket of the order", body = Vec<BoughtView>),
        (status = 409, description = "The order is not complete, or was refunded", body = Problem),
    )
)]
async fn of_order(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    Fresh(freshness): Fresh,
) -> Result<Response, Fault> {
    let id: OrderId = path_id(&id, "orderId")?;
    let (bought, index) = bought(&app, &caller, id, freshness).await?;
    let view = |line: &'_ holdfast_ledger::entities::OrderLine| {
        let ticket = bought.tickets.get(&line.ticket)?;
        Some(BoughtView {
            ticket_id: line.ticket,
            order_id: id,
            title: &ticket.title,
            price: price_json(line.price_minor, bought.order.currency),
            currency: bought.order.currency,
            place: PlaceView::new(ticket),
            token: bought.token(&app, id, line.ticket),
            qr: format!("/api/orders/{id}/tickets/{}.svg", line.ticket),
            file: format!("/api/orders/{id}/tickets/{}.jws", line.ticket),
        })
    };
    let views: Vec<_> = bought.order.lines.iter().filter_map(view).collect();
    Ok(json(StatusCode::OK, &views, index))
}

/// The order, if it is the caller's and complete, and the log index that was read.
async fn bought(app: &App, caller: &Caller, id: OrderId, freshness: Consistency) -> Result<(Bought, u64), Fault> {
    let seen = app.read(freshness, |state| Ok((query::order(state, id)?, found(state, id)?))).await?;
    let (order, found) = seen.value;
    let order = owned(order, caller, seen.index)?;
    let conflict = |code, message| Fault::conflict(code, message).member("orderId", &id).log_index(seen.index);
    if order.status != OrderStatus::Complete {
        return Err(conflict("order_not_complete", "The order is not complete; its tickets come when it is"));
    }
    match found {
        Some(Found { bought, is_refunded: false }) => Ok((bought, seen.index)),
        _ => Err(conflict("order_refunded", "The order was refunded; its tickets are void")),
    }
}

/// A complete order as it is found in the state.
struct Found {
    bought: Bought,
    is_refunded: bool,
}

fn found(state: &Ledger, id: OrderId) -> Result<Option<Found>, StoreError> {
    let Some(order) = query::order(state, id)?.filter(|order| order.status == OrderStatus::Complete) else {
        return Ok(None);
    };
    let mut tickets = BTreeMap::new();
    for line in &order.lines {
        tickets.extend(query::ticket(state, line.ticket)?.map(|ticket| (line.ticket, ticket)));
    }
    let mut is_refunded = false;
    for payment in &order.payments {
        let payment = query::payment(state, *payment)?;
        is_refunded |= payment.is_some_and(|payment| {
            payment.status == PaymentStatus::Refunded || payment.next == Some(PaymentStep::Refund)
        });
    }
    let history = query::history(state, id.0, None, PAGE_ROWS_MAX)?;
    let completes = |event_type| matches!(event_type, EventType::OrderCompleted | EventType::OrderReinstated);
    let completed = history.rows.iter().rev().find(|(_, change)| completes(change.event_type));
    // An order has few changes, and all are kept; its lock stands in for one that is not.
    let (completed_index, completed_ms) =
        completed.map_or((order.fence.index, order.created_ms), |(_, change)| (change.index, change.time_ms));
    Ok(Some(Found { bought: Bought { order, tickets, completed_index, completed_ms }, is_refunded }))
}

/// `GET /api/orders/:orderId/tickets/:file`: one signed ticket of the caller's own order, as `{ticket}.svg`, a QR code of
/// the address at which anybody can check it, or as `{ticket}.jws`, a file to keep.
#[utoipa::path(
    get, path = "/api/orders/{id}/tickets/{file}", tag = "orders", security(("session" = [])),
    responses(
        (status = 200, description = "The image or the file", content(
            (String = "image/svg+xml"),
            (String = "application/jose"),
        )),
        (status = 409, description = "The order is not complete, or was refunded", body = Problem),
    )
)]
async fn file(State(app): State<App>, caller: Caller, PathTexts(id, file): PathTexts) -> Result<Response, Fault> {
    let id: OrderId = path_id(&id, "orderId")?;
    let (ticket, kind) = file.rsplit_once('.').ok_or_else(|| Fault::not_found("file_not_found"))?;
    let ticket: TicketId = path_id(ticket, "ticketId")?;
    let (bought, _) = bought(&app, &caller, id, Consistency::Linearizable).await?;
    if !bought.tickets.contains_key(&ticket) {
        return Err(Fault::not_found("ticket_not_found"));
    }
    let token = bought.token(&app, id, ticket);
    let attachment = format!("attachment; filename=\"ticket-{ticket}.jws\"");
    let (content_type, disposition, body) = match kind {
        "svg" => ("image/svg+xml", "inline".to_string(), qr(&app, &token)?),
        "jws" => ("application/jose", attachment, token),
        _ => return Err(Fault::not_found("file_not_found")),
    };
    let disposition = HeaderValue::try_from(disposition).expect("an id is a header value");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
    ];
    Ok((headers, body).into_response())
}

/// The address at which a ticket can be checked, as a QR code.
fn qr(app: &App, token: &str) -> Result<String, Fault> {
    let address = format!("{}/verify?token={token}", app.settings.public_url.trim_end_matches('/'));
    let code = QrCode::with_error_correction_level(address, EcLevel::L)
        .map_err(|_| Fault::busy("qr_too_long", "The address of this server is too long for a QR code"))?;
    Ok(code.render::<Color>().min_dimensions(QR_PIXELS_MIN, QR_PIXELS_MIN).build())
}

/// The answer at the door.
#[derive(Serialize, ToSchema)]
#[schema(as = Verification)]
#[serde(rename_all = "camelCase")]
struct VerificationView<'a> {
    valid: bool,
    /// Why it is not: `malformed`, `forged`, `unknown_order`, `not_complete`, `refunded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EntityId>)]
    order_id: Option<OrderId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EntityId>)]
    ticket_id: Option<TicketId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    place: Option<PlaceView<'a>>,
    /// The log index of the entry that completed the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at_index: Option<u64>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct VerifyQuery {
    /// The signed ticket.
    token: Option<String>,
}

/// A signed ticket to check.
#[derive(Deserialize, ToSchema)]
struct VerifyBody<'a> {
    #[serde(borrow)]
    #[schema(value_type = String)]
    token: Raw<'a>,
}

/// `GET /api/tickets/verify`: tells anybody whether a signed ticket is good: signed by a node of this cluster, its order
/// complete and not refunded.
#[utoipa::path(
    get, path = "/api/tickets/verify", tag = "tickets", params(VerifyQuery),
    responses((status = 200, description = "Whether it is good", body = VerificationView))
)]
async fn verify(State(app): State<App>, QueryOf(query): QueryOf<VerifyQuery>) -> Result<Response, Fault> {
    check(&app, query.token.as_deref().unwrap_or_default().trim()).await
}

/// `POST /api/tickets/verify`: the same, for a ticket that is not to stand in logs of addresses.
#[utoipa::path(
    post, path = "/api/tickets/verify", tag = "tickets", request_body = VerifyBody,
    responses((status = 200, description = "Whether it is good", body = VerificationView))
)]
async fn verify_sent(State(app): State<App>, body: JsonBody) -> Result<Response, Fault> {
    let token = {
        let body: VerifyBody = body.parse()?;
        fields::text(body.token).unwrap_or_default().trim().to_string()
    };
    check(&app, &token).await
}

async fn check(app: &App, token: &str) -> Result<Response, Fault> {
    if app.tokens.key_id(token).is_none() {
        return Ok(not_good(app.node.status().applied_index, "malformed", None));
    }
    let Some(claims) = session::read_token::<Claims>(app, Purpose::Ticket, token).await? else {
        return Ok(not_good(app.node.status().applied_index, "forged", None));
    };
    let find = |state: &Ledger| Ok((query::order(state, claims.order)?, found(state, claims.order)?));
    let seen = app.read(Consistency::Linearizable, find).await?;
    let (order, found) = seen.value;
    // A restored ledger may know nothing of it.
    let Some(order) = order.filter(|order| order.user == claims.sub) else {
        return Ok(not_good(seen.index, "unknown_order", Some(&claims)));
    };
    let Some(Found { bought, is_refunded }) = found else {
        assert!(order.status != OrderStatus::Complete, "a complete order is found");
        return Ok(not_good(seen.index, "not_complete", Some(&claims)));
    };
    let Some(ticket) = bought.tickets.get(&claims.ticket) else {
        return Ok(not_good(seen.index, "unknown_order", Some(&claims)));
    };
    if is_refunded {
        return Ok(not_good(seen.index, "refunded", Some(&claims)));
    }
    let view = VerificationView {
        valid: true,
        reason: None,
        order_id: Some(claims.order),
        ticket_id: Some(claims.ticket),
        title: Some(&ticket.title),
        place: Some(PlaceView::new(ticket)),
        completed_at_index: Some(claims.index),
    };
    Ok(json(StatusCode::OK, &view, seen.index))
}

fn not_good(index: u64, reason: &'static str, claims: Option<&Claims>) -> Response {
    let view = VerificationView {
        valid: false,
        reason: Some(reason),
        order_id: claims.map(|claims| claims.order),
        ticket_id: claims.map(|claims| claims.ticket),
        title: None,
        place: None,
        completed_at_index: None,
    };
    json(StatusCode::OK, &view, index)
}
