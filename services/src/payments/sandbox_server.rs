//! The sandbox as a program of its own: the part of Stripe's HTTP API that [`stripe`](super::stripe) speaks.
//!
//! Workers that share it share one book, so one that dies in the middle of a step is taken over from by another as it would be
//! with the real provider. Steps are idempotent by the charge's state, as the sandbox is; a key names the intent.
//!
//! What this deliberately does not do: be Stripe. What the client does not use is 404.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use holdfast_ledger::money::Currency;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::provider::{Charge, Intent, PaymentProvider, ProviderError, Standing};
use super::sandbox::{ChargeLine, Sandbox};

/// The longest body that is read, in bytes.
const BODY_BYTES_MAX: usize = 16 << 10;

/// One charge, as `GET /sandbox/charges` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeView {
    pub intent_id: String,
    /// 24 hex digits.
    pub order: Option<String>,
    /// 0 where this sandbox did not make the intent.
    pub amount_minor: u64,
    /// The money was taken, and not given back.
    pub captured: bool,
    /// The money is reserved, and neither taken nor let go.
    pub held: bool,
    /// How often money was taken. More than once is a fault.
    pub captures: u32,
}

impl From<ChargeLine> for ChargeView {
    fn from(line: ChargeLine) -> ChargeView {
        ChargeView {
            order: line.order_id(),
            amount_minor: line.amount_minor,
            captured: line.standing == Standing::Captured,
            held: line.standing == Standing::Held,
            captures: line.captures,
            intent_id: line.intent_id,
        }
    }
}

/// The routes. Free of sockets: put them on a listener.
pub fn routes(sandbox: Arc<Sandbox>) -> Router {
    Router::new()
        .route("/v1/payment_intents", post(create).get(list))
        .route("/v1/payment_intents/{id}", get(show))
        .route("/v1/payment_intents/{id}/{step}", post(step))
        .route("/v1/refunds", post(refund))
        .route("/livez", get(|| async { "ok" }))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(sandbox.clone())
        .merge(bank(sandbox.clone()))
        .merge(book(sandbox))
}

/// `/sandbox/bank/{id}`: the page at which the bank asks a buyer whether it is him (3-D Secure).
pub fn bank(sandbox: Arc<Sandbox>) -> Router {
    let page = get(ask_buyer).post(decide).layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    Router::new().route("/sandbox/bank/{id}", page.with_state(sandbox))
}

/// `GET /sandbox/charges`: the book.
pub fn book(sandbox: Arc<Sandbox>) -> Router {
    Router::new().route("/sandbox/charges", get(charges).with_state(sandbox))
}

/// An error in Stripe's shape.
struct Refused(StatusCode, &'static str, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Refused(status, kind, code) = self;
        let error = match kind {
            "card_error" => json!({ "type": kind, "code": "card_declined", "decline_code": code }),
            _ => json!({ "type": kind, "code": code }),
        };
        (status, Json(json!({ "error": error }))).into_response()
    }
}

impl From<ProviderError> for Refused {
    fn from(error: ProviderError) -> Refused {
        match error {
            ProviderError::Refused(code) if code == "payment_intent_unexpected_state" || code == "resource_missing" => {
                Refused(StatusCode::BAD_REQUEST, "invalid_request_error", code)
            }
            ProviderError::Refused(code) => Refused(StatusCode::PAYMENT_REQUIRED, "card_error", code),
            ProviderError::Unreachable(why) => Refused(StatusCode::SERVICE_UNAVAILABLE, "api_error", why),
        }
    }
}

fn invalid(code: &str) -> Refused {
    Refused(StatusCode::BAD_REQUEST, "invalid_request_error", code.into())
}

type Fields = Vec<(String, String)>;

/// A member of a form.
fn field<'a>(form: &'a Fields, name: &str) -> Option<&'a str> {
    form.iter().find_map(|(key, value)| (key == name).then_some(value.as_str()))
}

/// Everybody with something that looks like a secret key may ask.
fn signed_in(headers: &HeaderMap) -> Result<(), Refused> {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer sk_"));
    let refused = || Refused(StatusCode::UNAUTHORIZED, "invalid_request_error", "api_key_missing".into());
    bearer.map(|_| ()).ok_or_else(refused)
}

fn view(intent: &Intent, headers: &HeaderMap) -> Value {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let action = (intent.standing == Standing::Waits).then(|| {
        let url = format!("http://{host}/sandbox/bank/{}", intent.id);
        json!({ "type": "redirect_to_url", "redirect_to_url": { "url": url } })
    });
    let status = match intent.standing {
        Standing::Created if intent.payment.is_some() => "requires_confirmation",
        Standing::Created | Standing::Declined => "requires_payment_method",
        Standing::Waits => "requires_action",
        Standing::Held => "requires_capture",
        Standing::Captured | Standing::Refunded => "succeeded",
        Standing::Voided => "canceled",
    };
    let error = intent.failure.as_ref().map(|code| json!({ "type": "card_error", "decline_code": code }));
    json!({
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount_minor,
        "currency": intent.currency.to_ascii_lowercase(),
        "status": status,
        "metadata": { "payment": intent.payment, "order": intent.order },
        "last_payment_error": error,
        "next_action": action,
        "latest_charge": { "refunded": intent.standing == Standing::Refunded },
    })
}

async fn shown(sandbox: &Sandbox, id: &str, headers: &HeaderMap) -> Result<Json<Value>, Refused> {
    Ok(Json(view(&sandbox.inspect(id).await?, headers)))
}

/// Asks a buyer, or tells him that he has answered.
async fn ask_buyer(State(sandbox): State<Arc<Sandbox>>, Path(id): Path<String>) -> Result<Html<String>, Refused> {
    let intent = sandbox.inspect(&id).await?;
    let amount = match intent.currency.parse::<Currency>() {
        Ok(currency) => format!("{} {currency}", currency.display(intent.amount_minor)),
        Err(_) => intent.currency.clone(),
    };
    let asks = "<p>Is it you who pays? No money moves.</p><form method=post><button name=answer value=yes>Yes, it is me</button> \
        <button name=answer value=no>No, it is not</button></form>";
    let answered = match sandbox.order_page(&id) {
        Some(url) => format!("<p>You have answered. <a href=\"{url}\">Back to your order</a></p>"),
        None => "<p>You have answered. Go back to your order.</p>".into(),
    };
    let rest = if intent.standing == Standing::Waits { asks } else { &answered };
    Ok(Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
        <meta name=color-scheme content=\"light dark\"><title>Sandbox bank</title>\
        <main><h1>Sandbox bank</h1><p>A payment of {amount}.</p>{rest}</main></html>"
    )))
}

/// Takes the answer, and sends the buyer back to his order.
async fn decide(
    State(sandbox): State<Arc<Sandbox>>,
    Path(id): Path<String>,
    Form(form): Form<Fields>,
) -> Result<Response, Refused> {
    sandbox.decide(&id, field(&form, "answer") == Some("yes"));
    match sandbox.order_page(&id) {
        Some(url) => Ok(Redirect::to(&url).into_response()),
        None => Ok(ask_buyer(State(sandbox), Path(id)).await?.into_response()),
    }
}

async fn create(
    State(sandbox): State<Arc<Sandbox>>,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Result<Json<Value>, Refused> {
    signed_in(&headers)?;
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let text = |name: &str| field(&form, name).ok_or_else(|| invalid("parameter_missing"));
    let token = field(&form, "payment_method").or(field(&form, "payment_method_data[card][token]"));
    let charge = Charge {
        payment: text("metadata[payment]")?.parse().map_err(|_| invalid("parameter_invalid"))?,
        order: text("metadata[order]")?.parse().map_err(|_| invalid("parameter_invalid"))?,
        amount_minor: text("amount")?.parse().map_err(|_| invalid("parameter_invalid_integer"))?,
        currency: text("currency")?.to_ascii_uppercase().parse().map_err(|_| invalid("invalid_currency"))?,
        token: token.ok_or_else(|| invalid("parameter_missing"))?.to_string(),
    };
    let id = sandbox.create_intent(key, &charge).await?;
    shown(&sandbox, &id, &headers).await
}

async fn show(
    State(sandbox): State<Arc<Sandbox>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    signed_in(&headers)?;
    shown(&sandbox, &id, &headers).await
}

async fn step(
    State(sandbox): State<Arc<Sandbox>>,
    headers: HeaderMap,
    Path((id, step)): Path<(String, String)>,
) -> Result<Json<Value>, Refused> {
    signed_in(&headers)?;
    sandbox.inspect(&id).await?;
    match step.as_str() {
        "confirm" => {
            let token = sandbox.token(&id).ok_or_else(|| invalid("resource_missing"))?;
            sandbox.authorize("", &id, &token).await?;
        }
        "capture" => sandbox.capture("", &id).await?,
        "cancel" => sandbox.void("", &id).await?,
        _ => return Err(Refused(StatusCode::NOT_FOUND, "invalid_request_error", "resource_missing".into())),
    }
    shown(&sandbox, &id, &headers).await
}

async fn refund(
    State(sandbox): State<Arc<Sandbox>>,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Result<Json<Value>, Refused> {
    signed_in(&headers)?;
    let id = field(&form, "payment_intent").ok_or_else(|| invalid("parameter_missing"))?;
    sandbox.inspect(id).await?;
    sandbox.refund("", id).await?;
    Ok(Json(json!({ "object": "refund", "payment_intent": id, "status": "succeeded" })))
}

#[derive(Deserialize)]
struct Page {
    starting_after: Option<String>,
}

async fn list(
    State(sandbox): State<Arc<Sandbox>>,
    headers: HeaderMap,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Refused> {
    signed_in(&headers)?;
    let intents = sandbox.list(page.starting_after.as_deref()).await?;
    Ok(Json(
        json!({ "object": "list", "data": intents.iter().map(|intent| view(intent, &headers)).collect::<Vec<_>>() }),
    ))
}

async fn charges(State(sandbox): State<Arc<Sandbox>>) -> Json<Vec<ChargeView>> {
    Json(sandbox.charges().into_iter().map(ChargeView::from).collect())
}
