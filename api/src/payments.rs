//! Payments: one request asks for the whole path from authorisation to capture, and waits a while for its decision.
//!
//! The request only begins the payment; the payments service carries it through, by the routes in
//! [`services`](crate::services). What is waited for here is the ledger's decision, on whichever node made it,
//! so a repeat of the request, on any node, finds the same payment.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::command::Command;
use holdfast_ledger::entities::{CancelReason, Order, OrderStatus, Payment, PaymentStatus, PaymentStep};
use holdfast_ledger::id::{OrderId, PaymentId};
use holdfast_ledger::limits::PROVIDER_TEXT_BYTES_MAX;
use holdfast_ledger::money::Currency;
use holdfast_ledger::outcome::Reply;
use holdfast_ledger::query;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::body::JsonBody;
use crate::cards;
use crate::error::{Fault, payment_refused};
use crate::fields::{self, Complaints, Raw, path_id, price_json};
use crate::headers::{IDEMPOTENCY_REPLAYED, LOG_INDEX, etag, json, not_modified};
use crate::idempotency;
use crate::openapi::{Amount, CurrencyCode, EntityId, IdempotencyParam, IfNoneMatchParam, Problem, Time};
use crate::orders::status_name;
use crate::router::{Fresh, PathText, ReadQuery};
use crate::session::Caller;
use crate::time::{Rfc3339, rfc3339};

/// The shortest time between two looks at a payment that is waited for: under load every entry would wake every waiter.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// When a client whose payment is undecided should ask again, in seconds.
const ASK_AGAIN_S: u64 = 2;
/// The original's words.
const BAD_VALUE: &str = "Invalid value";

#[derive(Deserialize, ToSchema)]
#[schema(as = NewPayment, example = json!({"orderId": "000000000000000100000000", "token": "tok_visa"}))]
struct PayBody<'a> {
    #[serde(borrow)]
    #[schema(value_type = String)]
    token: Raw<'a>,
    #[serde(borrow, rename = "orderId")]
    #[schema(value_type = EntityId)]
    order_id: Raw<'a>,
}

/// A payment on the wire. The token is never shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Payment)]
#[serde(rename_all = "camelCase")]
struct PaymentView<'a> {
    #[schema(value_type = EntityId)]
    id: PaymentId,
    #[schema(value_type = EntityId)]
    order_id: OrderId,
    status: &'static str,
    order_status: &'static str,
    #[schema(value_type = Amount)]
    amount: Box<RawValue>,
    amount_minor: u64,
    #[schema(value_type = CurrencyCode)]
    currency: Currency,
    attempt: u32,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent_id: Option<&'a str>,
    /// Where the buyer has to go before his bank decides (3-D Secure).
    #[serde(skip_serializing_if = "Option::is_none")]
    next_action: Option<NextAction<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
    #[schema(value_type = Time)]
    created_at: Rfc3339,
}

#[derive(Serialize, ToSchema)]
struct NextAction<'a> {
    url: &'a str,
}

impl<'a> PaymentView<'a> {
    fn new(id: PaymentId, payment: &'a Payment, order: &Order) -> PaymentView<'a> {
        PaymentView {
            id,
            order_id: payment.order,
            status: payment_status_name(payment.status),
            order_status: status_name(order.status),
            amount: price_json(payment.amount_minor, payment.currency),
            amount_minor: payment.amount_minor,
            currency: payment.currency,
            attempt: payment.attempt,
            version: payment.version,
            intent_id: payment.intent_id.as_deref(),
            next_action: payment.action_url.as_deref().map(|url| NextAction { url }),
            failure: payment.failure.as_deref(),
            created_at: rfc3339(payment.created_ms),
        }
    }
}

pub fn payment_status_name(status: PaymentStatus) -> &'static str {
    match status {
        PaymentStatus::Requested => "requested",
        PaymentStatus::Authorized => "authorized",
        PaymentStatus::Captured => "captured",
        PaymentStatus::CaptureFailed => "capture_failed",
        PaymentStatus::Declined => "declined",
        PaymentStatus::Voided => "voided",
        PaymentStatus::Refunded => "refunded",
    }
}

/// Where a payment stands for the buyer who waits.
enum Decision {
    Open,
    Complete,
    Declined(String),
    /// The money is given back: the lock ran out, or the buyer was banned, while the bank was asked.
    TooLate(OrderStatus),
}

fn decision(payment: &Payment, order: &Order) -> Decision {
    match payment.status {
        PaymentStatus::Declined => Decision::Declined(payment.failure.clone().unwrap_or_else(|| "declined".into())),
        PaymentStatus::Voided => Decision::TooLate(order.status),
        _ if payment.next == Some(PaymentStep::Void) => Decision::TooLate(order.status),
        PaymentStatus::Requested => Decision::Open,
        _ => Decision::Complete,
    }
}

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(pay)).routes(routes!(show))
}

/// `POST /api/payments` `{token, orderId}`: 201 when the order is complete, 402 when declined, 202 when it takes longer.
#[utoipa::path(
    post, path = "/api/payments", tag = "payments", security(("session" = [])), params(IdempotencyParam),
    request_body = PayBody,
    responses(
        (status = 201, description = "The order is complete", body = PaymentView),
        (status = 202, description = "The bank has not answered yet: ask again at Location", body = PaymentView),
        (status = 402, description = "Declined", body = Problem),
        (status = 409, description = "The order ran out while the bank was asked", body = Problem),
    )
)]
pub async fn pay(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Fault> {
    let (order, token) = {
        let body: PayBody = body.parse()?;
        let mut complaints = Complaints::default();
        let token = token(body.token, &mut complaints);
        let order = complaints.require(fields::id::<OrderId>(body.order_id), "orderId", BAD_VALUE);
        complaints.settle(order.zip(token))?
    };
    let command = Command::BeginPayment { order, token };
    let done = match idempotency::once(&app, &caller, &headers, command).await? {
        Ok(done) => done,
        Err(refused) => {
            return Err(payment_refused(&refused.refusal, refused.now_ms).log_index(refused.decided_at));
        }
    };
    let Reply::Payment { payment: id, .. } = done.reply else { unreachable!("a payment begun is answered with it") };
    let mut response = wait_for_decision(&app, id, done.index).await?;
    if done.replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// A provider's token. A card number is refused before anything could keep it.
fn token(raw: Raw, complaints: &mut Complaints) -> Option<String> {
    let token = fields::text(raw).filter(|token| !token.trim().is_empty() && token.len() <= PROVIDER_TEXT_BYTES_MAX);
    let token = complaints.require(token, "token", BAD_VALUE)?;
    if cards::has_number(&token) {
        let message = "Send a provider's token, never a card number";
        complaints.add("token", "raw_card_number", message);
        return None;
    }
    let is_token = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    complaints.require(is_token(&token).then(|| token.into_owned()), "token", BAD_VALUE)
}

/// Waits until the ledger has decided about a payment, at most as long as the settings say.
async fn wait_for_decision(app: &App, id: PaymentId, begun_at: u64) -> Result<Response, Fault> {
    let deadline = Instant::now() + app.settings.payment_wait;
    let mut index = begun_at;
    loop {
        let seen = app.read_own(index, |state| payment_and_order(state, id)).await?;
        let (payment, order) = seen.value.ok_or_else(|| Fault::not_found("payment_not_found"))?;
        match decision(&payment, &order) {
            Decision::Complete => {
                return Ok(json(StatusCode::CREATED, &PaymentView::new(id, &payment, &order), seen.index));
            }
            Decision::Declined(failure) => {
                return Err(Fault::declined(&failure).member("paymentId", &id).log_index(seen.index));
            }
            Decision::TooLate(status) => return Err(too_late(status).member("paymentId", &id).log_index(seen.index)),
            Decision::Open => {}
        }
        index = seen.index;
        let left = deadline.saturating_duration_since(Instant::now());
        if timeout(left, app.node.applied_beyond(index)).await.is_err() {
            return Ok(undecided(&PaymentView::new(id, &payment, &order), id, seen.index));
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn too_late(status: OrderStatus) -> Fault {
    match status {
        OrderStatus::Cancelled(CancelReason::Banned) => Fault::not_signed_in(),
        _ => Fault::expired_while_paying(),
    }
}

/// 202: the bank has not answered yet.
fn undecided(view: &PaymentView, id: PaymentId, log_index: u64) -> Response {
    let mut response = json(StatusCode::ACCEPTED, view, log_index);
    let location = HeaderValue::try_from(format!("/api/payments/{id}")).expect("an id is a header value");
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::RETRY_AFTER, ASK_AGAIN_S.into());
    response
}

pub type Found = Option<(Payment, Order)>;

pub fn payment_and_order(
    state: &crate::app::Ledger,
    id: PaymentId,
) -> Result<Found, holdfast_ledger::store::StoreError> {
    let Some(payment) = query::payment(state, id)? else { return Ok(None) };
    Ok(query::order(state, payment.order)?.map(|order| (payment, order)))
}

/// `GET /api/payments/:id`: the caller's own.
#[utoipa::path(
    get, path = "/api/payments/{id}", tag = "payments", security(("session" = [])),
    params(ReadQuery, IfNoneMatchParam),
    responses((status = 200, description = "Done", body = PaymentView), (status = 304, description = "Not changed"))
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    headers: HeaderMap,
    Fresh(freshness): Fresh,
) -> Result<Response, Fault> {
    let id: PaymentId = path_id(&id, "id")?;
    let seen = app.read(freshness, |state| payment_and_order(state, id)).await?;
    let found = seen.value.ok_or_else(|| Fault::not_found("payment_not_found").log_index(seen.index));
    let (payment, order) = found?;
    if payment.user != caller.signed_in.user {
        return Err(Fault::not_owner().log_index(seen.index));
    }
    if let Some(response) = not_modified(&headers, payment.version, seen.index) {
        return Ok(response);
    }
    let mut response = json(StatusCode::OK, &PaymentView::new(id, &payment, &order), seen.index);
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag(payment.version));
    headers.insert(LOG_INDEX, seen.index.into());
    Ok(response)
}
