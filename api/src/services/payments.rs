//! Payments, as the payments service sees and records them.
//!
//! Every record is a command that is idempotent by state, so it needs no key: one that comes again changes nothing, and one
//! that comes too late is refused with a code that says where the payment stands.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::command::{Actor, Command, Service};
use holdfast_ledger::entities::{Fence, Order, Payment, PaymentStep};
use holdfast_ledger::id::{OrderId, PaymentId, UserId};
use holdfast_ledger::money::Currency;
use holdfast_ledger::query::{self, Cursor, Page};
use holdfast_ledger::store::StoreError;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ServiceCaller;
use crate::app::{App, Ledger, Seen};
use crate::body::JsonBody;
use crate::error::Fault;
use crate::fields::{self, Complaints, Raw, path_id};
use crate::headers::json;
use crate::openapi::{CurrencyCode, EntityId, Time};
use crate::orders::status_name;
use crate::paging::Listing;
use crate::payments::{payment_and_order, payment_status_name};
use crate::router::{Fresh, PageQuery, PathText, PathTexts, QueryOf, ReadQuery};
use crate::time::{Rfc3339, rfc3339};

/// A payment with all that the service needs, the provider's token included.
#[derive(Serialize, ToSchema)]
#[schema(as = ServicePayment)]
#[serde(rename_all = "camelCase")]
struct PaymentRow<'a> {
    #[schema(value_type = EntityId)]
    id: PaymentId,
    #[schema(value_type = EntityId)]
    order_id: OrderId,
    #[schema(value_type = EntityId)]
    user_id: UserId,
    order_status: &'static str,
    status: &'static str,
    /// `authorize`, `capture`, `void`, `refund`: what is to be done; none where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'static str>,
    attempt: u32,
    amount_minor: u64,
    #[schema(value_type = CurrencyCode)]
    currency: Currency,
    /// Opaque; to be sent back with the authorisation.
    fence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
    version: u64,
    #[schema(value_type = Time)]
    created_at: Rfc3339,
    /// Since it was begun, by ledger time.
    age_ms: u64,
}

impl<'a> PaymentRow<'a> {
    fn new(id: PaymentId, payment: &'a Payment, order: &Order, now_ms: u64) -> PaymentRow<'a> {
        PaymentRow {
            id,
            order_id: payment.order,
            user_id: payment.user,
            order_status: status_name(order.status),
            status: payment_status_name(payment.status),
            next: payment.next.map(step_name),
            attempt: payment.attempt,
            amount_minor: payment.amount_minor,
            currency: payment.currency,
            fence: fence_text(payment.fence),
            token: payment.token.as_deref(),
            intent_id: payment.intent_id.as_deref(),
            action_url: payment.action_url.as_deref(),
            failure: payment.failure.as_deref(),
            version: payment.version,
            created_at: rfc3339(payment.created_ms),
            age_ms: now_ms.saturating_sub(payment.created_ms),
        }
    }
}

fn step_name(step: PaymentStep) -> &'static str {
    match step {
        PaymentStep::Authorize => "authorize",
        PaymentStep::Capture => "capture",
        PaymentStep::Void => "void",
        PaymentStep::Refund => "refund",
    }
}

fn fence_text(fence: Fence) -> String {
    format!("{}.{}", fence.index, fence.ordinal)
}

fn parse_fence(text: &str) -> Option<Fence> {
    let (index, ordinal) = text.split_once('.')?;
    Some(Fence { index: index.parse().ok()?, ordinal: ordinal.parse().ok()? })
}

/// Which payments, and which page of them.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// `open`: those with something to do. Otherwise all.
    state: Option<String>,
}

/// `GET /api/services/payments`: open ones (`state=open`), or all of them, oldest first.
#[utoipa::path(
    get, path = "/api/services/payments", tag = "services", security(("service" = [])),
    params(ListQuery, PageQuery),
    responses((status = 200, description = "A page of payments", body = Vec<PaymentRow>))
)]
pub async fn list(
    State(app): State<App>,
    caller: ServiceCaller,
    QueryOf(query): QueryOf<ListQuery>,
    listing: Listing,
) -> Result<Response, Fault> {
    caller.require(Service::Payments)?;
    let only_open = match query.state.as_deref() {
        None => false,
        Some("open") => true,
        Some(_) => return Err(Fault::bad_field("state", "invalid", "state is open, or nothing")),
    };
    let seen = listing.read(&app, |state, after, limit| page_of(state, only_open, after, limit)).await?;
    Ok(listing.answer(&seen, |(id, payment, order)| PaymentRow::new(*id, payment, order, seen.now_ms)))
}

type Rows = Page<(PaymentId, Payment, Order)>;

fn page_of(state: &Ledger, only_open: bool, after: Option<&Cursor>, limit: usize) -> Result<Rows, StoreError> {
    let page = match only_open {
        true => query::payments_open(state, after, limit)?,
        false => query::payments(state, after, limit)?,
    };
    let mut rows = Vec::with_capacity(page.rows.len());
    for (id, payment) in page.rows {
        let order = query::order(state, payment.order)?;
        rows.extend(order.map(|order| (id, payment, order)));
    }
    Ok(Page { rows, next: page.next })
}

/// `GET /api/services/payments/:id`: one payment, anybody's.
#[utoipa::path(
    get, path = "/api/services/payments/{id}", tag = "services", security(("service" = [])), params(ReadQuery),
    responses((status = 200, description = "The payment", body = PaymentRow))
)]
pub async fn show(
    State(app): State<App>,
    caller: ServiceCaller,
    PathText(id): PathText,
    Fresh(freshness): Fresh,
) -> Result<Response, Fault> {
    caller.require(Service::Payments)?;
    let id: PaymentId = path_id(&id, "id")?;
    let seen = app.read(freshness, |state| payment_and_order(state, id)).await?;
    shown(id, seen)
}

fn shown(id: PaymentId, seen: Seen<Option<(Payment, Order)>>) -> Result<Response, Fault> {
    let not_found = || Fault::not_found("payment_not_found").log_index(seen.index);
    let (payment, order) = seen.value.as_ref().ok_or_else(not_found)?;
    Ok(json(StatusCode::OK, &PaymentRow::new(id, payment, order, seen.now_ms), seen.index))
}

/// What a step says: `intentId` with `intent`, `url` with `action`, `fence` with `authorized`, `failure` with `declined` and `capture-failed`.
#[derive(Deserialize, ToSchema)]
#[schema(as = PaymentRecord)]
struct RecordBody<'a> {
    #[serde(borrow, rename = "intentId")]
    #[schema(value_type = Option<String>)]
    intent_id: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    url: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    fence: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    failure: Raw<'a>,
}

impl RecordBody<'_> {
    /// The command of a step; `None` for a step that there is not.
    fn command(&self, payment: PaymentId, step: &str) -> Result<Option<Command>, Fault> {
        let mut complaints = Complaints::default();
        let mut text = |raw, field| {
            let text = complaints.require(fields::text(raw), field, "Invalid value");
            text.map(|text| text.into_owned())
        };
        let command = match step {
            "intent" => text(self.intent_id, "intentId").map(|intent_id| Command::RecordIntent { payment, intent_id }),
            "action" => text(self.url, "url").map(|url| Command::RecordAction { payment, url }),
            "authorized" => {
                let fence = fields::text(self.fence).and_then(|text| parse_fence(&text));
                let fence = complaints.require(fence, "fence", "Invalid value");
                fence.map(|fence| Command::RecordAuthorized { payment, fence })
            }
            "declined" => text(self.failure, "failure").map(|failure| Command::RecordDeclined { payment, failure }),
            "captured" => Some(Command::RecordCaptured { payment }),
            "capture-failed" => {
                text(self.failure, "failure").map(|failure| Command::RecordCaptureFailed { payment, failure })
            }
            "voided" => Some(Command::RecordVoided { payment }),
            "refunded" => Some(Command::RecordRefunded { payment }),
            _ => return Ok(None),
        };
        complaints.settle(command).map(Some)
    }
}

/// `POST /api/services/payments/:id/:step`: records what the provider has done, and answers with the payment as it is then.
///
/// Steps: `intent`, `action`, `authorized`, `declined`, `captured`, `capture-failed`, `voided`, `refunded`. 409 where the payment or the
/// lock stands elsewhere.
#[utoipa::path(
    post, path = "/api/services/payments/{id}/{step}", tag = "services", security(("service" = [])),
    request_body = RecordBody,
    responses((status = 200, description = "Recorded, now or before", body = PaymentRow))
)]
pub async fn record(
    State(app): State<App>,
    caller: ServiceCaller,
    PathTexts(id, step): PathTexts,
    body: JsonBody,
) -> Result<Response, Fault> {
    caller.require(Service::Payments)?;
    let id: PaymentId = path_id(&id, "id")?;
    let command = body.parse::<RecordBody>()?.command(id, &step)?.ok_or_else(|| Fault::not_found("not_found"))?;
    let done = app.propose(Actor::Service(caller.0), None, command).await??;
    shown(id, app.read_own(done.index, |state| payment_and_order(state, id)).await?)
}
