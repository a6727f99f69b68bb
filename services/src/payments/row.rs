//! A payment of the ledger, as the routes for services show it.

use holdfast_ledger::entities::{PaymentStatus, PaymentStep};
use holdfast_ledger::id::{OrderId, PaymentId};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// One attempt to pay for an order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRow {
    pub id: PaymentId,
    pub order_id: OrderId,
    /// In the original's words.
    pub order_status: String,
    #[serde(deserialize_with = "status")]
    pub status: PaymentStatus,
    #[serde(default, deserialize_with = "step")]
    pub next: Option<PaymentStep>,
    pub attempt: u32,
    pub amount_minor: u64,
    /// Three letters, upper case.
    pub currency: String,
    /// Opaque; goes back with the authorisation.
    pub fence: String,
    /// Only while it is needed.
    #[serde(default)]
    pub token: Option<String>,
    #[serde(default)]
    pub intent_id: Option<String>,
    /// Where the buyer was told to go.
    #[serde(default)]
    pub action_url: Option<String>,
    #[serde(default)]
    pub failure: Option<String>,
    /// Since it was begun, by ledger time.
    pub age_ms: u64,
}

impl PaymentRow {
    /// The order still waits for this payment.
    pub fn is_awaited(&self) -> bool {
        self.order_status == "awaiting:payment"
    }
}

/// A status by its name on the wire.
pub fn status_named(name: &str) -> Option<PaymentStatus> {
    use PaymentStatus::*;
    let all = [
        ("requested", Requested),
        ("authorized", Authorized),
        ("captured", Captured),
        ("capture_failed", CaptureFailed),
        ("declined", Declined),
        ("voided", Voided),
        ("refunded", Refunded),
    ];
    all.into_iter().find_map(|(known, status)| (known == name).then_some(status))
}

/// A step by its name on the wire.
pub fn step_named(name: &str) -> Option<PaymentStep> {
    use PaymentStep::*;
    let all = [("authorize", Authorize), ("capture", Capture), ("void", Void), ("refund", Refund)];
    all.into_iter().find_map(|(known, step)| (known == name).then_some(step))
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PaymentStatus, D::Error> {
    let name = String::deserialize(deserializer)?;
    status_named(&name).ok_or_else(|| D::Error::custom(format!("no status of a payment: {name}")))
}

fn step<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PaymentStep>, D::Error> {
    let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    step_named(&name).map(Some).ok_or_else(|| D::Error::custom(format!("no step of a payment: {name}")))
}
