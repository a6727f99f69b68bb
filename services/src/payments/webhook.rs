//! Webhooks of the provider: hints that something has happened to a charge.
//!
//! A hint is believed only so far as its signature goes (`Stripe-Signature: t=…,v1=…`, HMAC-SHA256 over `t.body`, at most
//! 300 s old), and then only that it is worth looking: the saga takes the payment up and asks ledger and provider. So a hint
//! that is late, comes twice or in the wrong order changes nothing that it should not. Ids that were handled are dropped
//! without a look; one whose payment could not be looked at is answered 503, so that the provider sends it again.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use holdfast_ledger::id::PaymentId;
use serde::Deserialize;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::saga::{Saga, Taken};
use crate::WallClock;

/// How old a signature may be, and how far ahead of our clock, in seconds.
pub const TOLERANCE_S: u64 = 300;
/// The longest body that is read, in bytes.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Handled ids that are remembered; the oldest go first.
const SEEN_MAX: usize = 10_000;
/// How long the provider waits for our answer, at most.
const LOOK_WAIT: Duration = Duration::from_secs(10);
/// The longest id of an event that is remembered, in bytes.
const EVENT_ID_BYTES_MAX: usize = 255;

/// Why a webhook is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    #[error("no Stripe-Signature header that can be read")]
    Malformed,
    #[error("the signature is too old")]
    Stale,
    #[error("the signature does not fit the body")]
    Forged,
}

/// Checks a `Stripe-Signature` header against `secret` and the clock (seconds since the Unix epoch). Signatures of other
/// schemes than `v1` are passed over.
pub fn check_signature(secret: &[u8], header: &str, body: &[u8], now_s: u64) -> Result<(), Unsigned> {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let time = parts().find_map(|(name, value)| (name == "t").then_some(value)).ok_or(Unsigned::Malformed)?;
    let time_s: u64 = time.parse().map_err(|_| Unsigned::Malformed)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signed = [time.as_bytes(), b".", body].concat();
    let mut signatures = parts().filter(|(name, _)| *name == "v1").filter_map(|(_, hex)| from_hex(hex)).peekable();
    signatures.peek().ok_or(Unsigned::Malformed)?;
    if !signatures.any(|signature| hmac::verify(&key, &signed, &signature).is_ok()) {
        return Err(Unsigned::Forged);
    }
    if now_s.abs_diff(time_s) > TOLERANCE_S { Err(Unsigned::Stale) } else { Ok(()) }
}

/// The `Stripe-Signature` header for a body, as the provider makes it.
pub fn sign(secret: &[u8], body: &[u8], time_s: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, &[time_s.to_string().as_bytes(), b".", body].concat());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time_s},v1={hex}")
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// Ids that were handled.
#[derive(Default)]
struct Inbox {
    known: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Inbox {
    fn remember(&mut self, id: String) {
        if self.known.insert(id.clone()) {
            self.order.push_back(id);
        }
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// The endpoint.
#[derive(Clone)]
pub struct Webhooks(Arc<Shared>);

struct Shared {
    saga: Saga,
    secret: Vec<u8>,
    clock: WallClock,
    inbox: Mutex<Inbox>,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(default)]
    data: Option<EventData>,
}

#[derive(Deserialize)]
struct EventData {
    object: EventObject,
}

#[derive(Deserialize, Default)]
struct EventObject {
    #[serde(default)]
    metadata: EventMetadata,
}

#[derive(Deserialize, Default)]
struct EventMetadata {
    #[serde(default)]
    payment: Option<String>,
}

impl Webhooks {
    /// `secret`: what the provider signs with.
    pub fn new(saga: Saga, secret: &[u8], clock: WallClock) -> Webhooks {
        Webhooks(Arc::new(Shared { saga, secret: secret.to_vec(), clock, inbox: Mutex::default() }))
    }

    /// `POST /webhooks/stripe`.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/webhooks/stripe", post(receive))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self)
    }
}

async fn receive(State(webhooks): State<Webhooks>, headers: HeaderMap, body: Bytes) -> Response {
    let (status, said) = handle(&webhooks.0, &headers, &body).await;
    metrics::counter!("holdfast_payments_webhooks_total", "status" => status.as_u16().to_string()).increment(1);
    (status, axum::Json(serde_json::json!({ "result": said }))).into_response()
}

async fn handle(shared: &Shared, headers: &HeaderMap, body: &[u8]) -> (StatusCode, String) {
    let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Err(unsigned) = check_signature(&shared.secret, header, body, (shared.clock)() / 1_000) {
        warn!(%unsigned, "a webhook is refused");
        return (StatusCode::BAD_REQUEST, unsigned.to_string());
    }
    let event: Event = match serde_json::from_slice(body) {
        Ok(event) => event,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("not an event: {error}")),
    };
    if event.id.is_empty() || event.id.len() > EVENT_ID_BYTES_MAX {
        return (StatusCode::BAD_REQUEST, "not an event: its id".into());
    }
    if shared.inbox.lock().expect("no panic while ids are remembered").known.contains(&event.id) {
        return (StatusCode::OK, "seen before".into());
    }
    let payment = event.data.and_then(|data| data.object.metadata.payment).and_then(|id| id.parse::<PaymentId>().ok());
    let said = match payment {
        None => "not about a payment of ours",
        Some(payment) => match timeout(LOOK_WAIT, shared.saga.take_up(payment)).await {
            Ok(Taken::Done | Taken::Waits) => "looked at",
            Ok(Taken::Unknown) => "no payment of this ledger",
            Ok(Taken::Busy) => {
                return (StatusCode::SERVICE_UNAVAILABLE, "this payment is in hand; send it again".into());
            }
            Ok(Taken::Away(why)) => {
                debug!(%payment, %why, "a webhook's payment could not be looked at");
                return (StatusCode::SERVICE_UNAVAILABLE, "send it again".into());
            }
            Err(_) => return (StatusCode::SERVICE_UNAVAILABLE, "it takes longer; send it again".into()),
        },
    };
    shared.inbox.lock().expect("no panic while ids are remembered").remember(event.id);
    (StatusCode::OK, said.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_for_one_body_one_secret_and_five_minutes() {
        let header = sign(b"whsec_1", b"{}", 1_000);
        let check = |secret: &[u8], header: &str, body: &[u8], now_s| check_signature(secret, header, body, now_s);
        assert_eq!(check(b"whsec_1", &header, b"{}", 1_000 + TOLERANCE_S), Ok(()));
        assert_eq!(check(b"whsec_1", &header, b"{}", 1_001 + TOLERANCE_S), Err(Unsigned::Stale));
        assert_eq!(check(b"whsec_1", &header, b"{ }", 1_000), Err(Unsigned::Forged));
        assert_eq!(check(b"whsec_2", &header, b"{}", 1_000), Err(Unsigned::Forged));
        // A new time under an old signature.
        let moved = header.replace("t=1000", "t=2000");
        assert_eq!(check(b"whsec_1", &moved, b"{}", 2_000), Err(Unsigned::Forged));
        for bad in ["", "t=1000", "v1=00", "t=x,v1=00", "t=1000,v0=00", "t=1000,v1=zz"] {
            assert_eq!(check(b"whsec_1", bad, b"{}", 1_000), Err(Unsigned::Malformed), "{bad}");
        }
        // While a secret is being replaced there are two signatures.
        let two = format!("{header},v1={}", "00".repeat(32));
        assert_eq!(check(b"whsec_1", &two, b"{}", 1_000), Ok(()));
    }

    #[test]
    fn remembered_ids_are_bounded() {
        let mut inbox = Inbox::default();
        (0..SEEN_MAX + 5).for_each(|n| inbox.remember(n.to_string()));
        assert_eq!((inbox.known.len(), inbox.order.len()), (SEEN_MAX, SEEN_MAX));
        assert!(!inbox.known.contains("4") && inbox.known.contains("5"));
    }
}
