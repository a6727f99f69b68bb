//! What the interface answers, as far as pages read it.

use serde::Deserialize;

use super::money::Amount;
use super::when::{self, Moment};

/// A ticket.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    pub id: String,
    pub title: String,
    pub price: Amount,
    pub currency: String,
    pub user_id: String,
    pub version: u64,
    pub status: String,
    pub next_price: Option<Amount>,
    pub event_name: Option<String>,
    pub venue: Option<String>,
    pub section: Option<String>,
    pub row: Option<String>,
    pub seat: Option<String>,
    pub starts_at: Option<Moment>,
    pub sale_ends_at: Option<Moment>,
    pub order_id: Option<String>,
    /// While it is locked or offered.
    pub reserved_until: Option<Moment>,
    #[serde(default)]
    pub line_length: u64,
}

impl Ticket {
    pub fn price(&self) -> String {
        self.price.shown(&self.currency)
    }

    pub fn next_price(&self) -> Option<String> {
        self.next_price.as_ref().map(|price| price.shown(&self.currency))
    }

    /// `Section 12 · Row 4 · Seat 7`; empty where none is given.
    pub fn place(&self) -> String {
        seat_words(&self.section, &self.row, &self.seat)
    }

    /// Event and venue in one line; empty where neither is given.
    pub fn event(&self) -> String {
        event_words(&self.event_name, &self.venue)
    }

    pub fn is(&self, status: &str) -> bool {
        self.status == status
    }

    /// The state in words.
    pub fn state(&self) -> &'static str {
        match self.status.as_str() {
            "available" => "Available",
            "locked" => "Held by a buyer",
            "offered" => "Offered to the line",
            "sold" => "Sold",
            _ => "Off sale",
        }
    }
}

/// One ticket of an order, as it was locked.
#[derive(Debug, Clone, Deserialize)]
pub struct Line {
    pub id: String,
    pub title: String,
    pub price: Amount,
}

/// An order.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    pub id: String,
    pub user_id: String,
    pub status: String,
    pub version: u64,
    pub expires_at: Moment,
    pub tickets: Vec<Line>,
    pub total: Amount,
    pub currency: String,
    pub expires_in_seconds: u64,
    pub extensions_left: u32,
    pub reason: Option<String>,
    pub payment_id: Option<String>,
    pub created_at: Moment,
}

impl Order {
    pub fn total(&self) -> String {
        self.total.shown(&self.currency)
    }

    /// For the provider's form: the amount in its smallest unit, and the currency in lower case.
    pub fn total_minor(&self) -> u64 {
        self.total.minor(&self.currency).unwrap_or_default()
    }

    pub fn currency_lower(&self) -> String {
        self.currency.to_ascii_lowercase()
    }

    pub fn line_price(&self, line: &Line) -> String {
        line.price.shown(&self.currency)
    }

    pub fn title(&self) -> String {
        match self.tickets.as_slice() {
            [] => "Order".into(),
            [line] => line.title.clone(),
            [line, rest @ ..] => format!("{} and {} more", line.title, rest.len()),
        }
    }

    pub fn is(&self, status: &str) -> bool {
        self.status == status
    }

    pub fn is_because(&self, reason: &str) -> bool {
        self.reason.as_deref() == Some(reason)
    }

    /// The lock holds and nothing was paid yet.
    pub fn is_payable(&self) -> bool {
        self.is("created") && self.expires_in_seconds > 0
    }

    /// The lock has run out, whether the ledger has tidied it up or not.
    pub fn is_over(&self) -> bool {
        self.is("created") && self.expires_in_seconds == 0 || self.is_because("expired")
    }

    pub fn countdown(&self) -> String {
        when::countdown(self.expires_in_seconds)
    }

    /// The state in words.
    pub fn state(&self) -> &'static str {
        match (self.status.as_str(), self.reason.as_deref()) {
            ("created", _) if self.expires_in_seconds == 0 => "Ran out",
            ("created", _) => "Waiting for payment",
            ("awaiting:payment", _) => "Bank is asked",
            ("complete", _) => "Paid",
            (_, Some("buyer")) => "Cancelled by you",
            (_, Some("expired")) => "Ran out",
            (_, Some("payment_failed")) => "Payment declined",
            (_, Some("withdrawn")) => "Taken off sale",
            (_, Some("operator")) => "Released by an operator",
            _ => "Cancelled",
        }
    }

    /// How the state is coloured.
    pub fn tone(&self) -> &'static str {
        match self.status.as_str() {
            "complete" => "good",
            "created" | "awaiting:payment" if !self.is_over() => "wait",
            _ => "off",
        }
    }
}

/// A payment.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    pub status: String,
    pub failure: Option<String>,
    pub next_action: Option<NextAction>,
}

/// What the buyer has to do before the bank answers.
#[derive(Debug, Clone, Deserialize)]
pub struct NextAction {
    pub url: String,
}

impl Payment {
    pub fn is(&self, status: &str) -> bool {
        self.status == status
    }

    /// Why the bank said no, in words.
    pub fn reason(&self) -> &'static str {
        decline_words(self.failure.as_deref().unwrap_or_default())
    }
}

/// A provider's decline code in words.
pub fn decline_words(code: &str) -> &'static str {
    match code {
        "insufficient_funds" => "The account has not enough money on it.",
        "lost_card" | "stolen_card" => "The card was reported lost or stolen.",
        "expired_card" => "The card has expired.",
        "incorrect_cvc" => "The security code is wrong.",
        "processing_error" => "The bank could not process the payment.",
        "card_velocity_exceeded" => "The card was used too often in a short time.",
        "fraudulent" => "The bank refused the payment for safety.",
        "authentication_failed" | "authentication_required" | "payment_intent_authentication_failure" => {
            "You were not confirmed as the owner of the card."
        }
        _ => "The bank gave no reason.",
    }
}

/// The visitor's place in a ticket's line.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    pub ticket_id: String,
    #[serde(default)]
    pub title: String,
    pub status: String,
    pub position: Option<u64>,
    pub line_length: u64,
    pub offer_expires_in_seconds: Option<u64>,
}

impl Place {
    pub fn is(&self, status: &str) -> bool {
        self.status == status
    }

    pub fn position(&self) -> u64 {
        self.position.unwrap_or_default()
    }

    pub fn offer_s(&self) -> u64 {
        self.offer_expires_in_seconds.unwrap_or_default()
    }

    pub fn countdown(&self) -> String {
        when::countdown(self.offer_s())
    }
}

/// A bought ticket: signed, so that anybody can check it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bought {
    pub ticket_id: String,
    pub title: String,
    pub event_name: Option<String>,
    pub venue: Option<String>,
    pub section: Option<String>,
    pub row: Option<String>,
    pub seat: Option<String>,
    pub starts_at: Option<Moment>,
    pub token: String,
    pub qr: String,
    pub file: String,
}

impl Bought {
    pub fn place(&self) -> String {
        seat_words(&self.section, &self.row, &self.seat)
    }

    pub fn event(&self) -> String {
        event_words(&self.event_name, &self.venue)
    }
}

/// One change in a history.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub event: String,
    pub log_index: u64,
    pub time: Moment,
    pub order_id: Option<String>,
}

impl Change {
    /// What happened, in words.
    pub fn words(&self) -> &str {
        match self.event.as_str() {
            "ticket:created" => "Put on sale",
            "ticket:updated" if self.order_id.is_some() => "Locked by a buyer",
            "ticket:updated" => "Changed, released or sold",
            "order:created" => "Tickets locked for you",
            "order:updated" => "Changed: more time, or the bank was asked",
            "order:cancelled" => "Cancelled: the tickets are free again",
            "order:completed" => "Paid: the tickets are yours",
            "order:reinstated" => "Paid just after time ran out: the tickets were still free and are yours",
            "expiration:complete" => "Time ran out",
            other => other,
        }
    }
}

pub fn seat_words(section: &Option<String>, row: &Option<String>, seat: &Option<String>) -> String {
    let parts = [("Section", section), ("Row", row), ("Seat", seat)];
    let given = parts.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}")));
    given.collect::<Vec<_>>().join(" · ")
}

pub fn event_words(event: &Option<String>, venue: &Option<String>) -> String {
    [event, venue].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ")
}
