//! Payments that hang: open for longer than a bank takes.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::entities::{Payment, PaymentStep};
use holdfast_ledger::id::{OrderId, PaymentId, UserId};
use holdfast_ledger::money::Currency;
use holdfast_ledger::query;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::Onlooker;
use crate::app::App;
use crate::error::Fault;
use crate::fields::price_json;
use crate::openapi::{Amount, CurrencyCode, EntityId, Time};
use crate::paging::Listing;
use crate::payments::payment_status_name;
use crate::router::{PageQuery, QueryOf};
use crate::time::{Rfc3339, rfc3339};

/// Open for so long is stuck, where the caller does not say.
const STUCK_S: u64 = 60;
/// The longest time that can be asked for: a year.
const STUCK_S_MAX: u64 = 366 * 86_400;

/// A payment for which the payments service has something to do.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenPayment)]
#[serde(rename_all = "camelCase")]
struct OpenPaymentView<'a> {
    #[schema(value_type = EntityId)]
    id: PaymentId,
    #[schema(value_type = EntityId)]
    order_id: OrderId,
    #[schema(value_type = EntityId)]
    user_id: UserId,
    status: &'static str,
    /// What is to be done: `authorize`, `capture`, `void` or `refund`.
    next: Option<&'static str>,
    #[schema(value_type = Amount)]
    amount: Box<RawValue>,
    #[schema(value_type = CurrencyCode)]
    currency: Currency,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
    /// Since its last change, by ledger time.
    open_for_seconds: u64,
    #[schema(value_type = Time)]
    created_at: Rfc3339,
}

impl<'a> OpenPaymentView<'a> {
    fn new(id: PaymentId, payment: &'a Payment, now_ms: u64) -> OpenPaymentView<'a> {
        OpenPaymentView {
            id,
            order_id: payment.order,
            user_id: payment.user,
            status: payment_status_name(payment.status),
            next: payment.next.map(|step| match step {
                PaymentStep::Authorize => "authorize",
                PaymentStep::Capture => "capture",
                PaymentStep::Void => "void",
                PaymentStep::Refund => "refund",
            }),
            amount: price_json(payment.amount_minor, payment.currency),
            currency: payment.currency,
            attempt: payment.attempt,
            intent_id: payment.intent_id.as_deref(),
            failure: payment.failure.as_deref(),
            open_for_seconds: now_ms.saturating_sub(payment.changed_ms) / 1_000,
            created_at: rfc3339(payment.created_ms),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct StuckQuery {
    /// Open for at least so long; 60 where it is not said.
    #[param(value_type = Option<u64>)]
    open_for_seconds: Option<String>,
}

/// `GET /api/operator/payments`: payments that are open for long, oldest first.
#[utoipa::path(
    get, path = "/api/operator/payments", tag = "operators", security(("session" = ["operator-read"])),
    params(StuckQuery, PageQuery),
    responses((status = 200, description = "A page of them", body = Vec<OpenPaymentView>))
)]
pub async fn stuck(
    State(app): State<App>,
    _: Onlooker,
    QueryOf(query): QueryOf<StuckQuery>,
    listing: Listing,
) -> Result<Response, Fault> {
    let open_s = match query.open_for_seconds.as_deref() {
        None | Some("") => STUCK_S,
        Some(text) => text.parse().ok().filter(|seconds| *seconds <= STUCK_S_MAX).ok_or_else(|| {
            Fault::bad_field("openForSeconds", "invalid", format!("openForSeconds is 0 to {STUCK_S_MAX}"))
        })?,
    };
    let find = |state: &_, after: Option<&_>, limit| query::payments_stuck(state, open_s * 1_000, after, limit);
    let seen = listing.read(&app, find).await?;
    Ok(listing.answer(&seen, |(id, payment)| OpenPaymentView::new(*id, payment, seen.now_ms)))
}
