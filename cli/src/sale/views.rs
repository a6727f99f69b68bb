//! What the API's bodies say, as far as a sale needs it.

use holdfast_ledger::money::Currency;
use serde_json::Value;

use crate::failure::Failure;
use crate::money;

/// A ticket as a buyer sees it: the price is what he will insist on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub ticket: String,
    pub title: String,
    pub price_minor: u64,
    pub currency: Currency,
}

/// An order, read from the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderView {
    pub id: String,
    pub status: String,
    /// Ticket and locked price, minor units.
    pub tickets: Vec<(String, u64)>,
    /// The last payment.
    pub payment: Option<String>,
}

/// A payment, read from the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentView {
    pub order: String,
    pub status: String,
    pub amount_minor: u64,
}

impl Offer {
    pub fn parse(ticket: &Value) -> Result<Offer, Failure> {
        let currency = currency(ticket);
        let read = || {
            Some(Offer {
                ticket: ticket["id"].as_str()?.to_string(),
                title: ticket["title"].as_str()?.to_string(),
                price_minor: money::minor(&ticket["price"], currency)?,
                currency,
            })
        };
        read().ok_or_else(|| Failure::failed(format!("not a ticket: {ticket}")))
    }
}

impl OrderView {
    pub fn parse(order: &Value) -> Result<OrderView, Failure> {
        let currency = currency(order);
        let line =
            |ticket: &Value| Some((ticket["id"].as_str()?.to_string(), money::minor(&ticket["price"], currency)?));
        let read = || {
            Some(OrderView {
                id: order["id"].as_str()?.to_string(),
                status: order["status"].as_str()?.to_string(),
                tickets: order["tickets"].as_array()?.iter().map(line).collect::<Option<_>>()?,
                payment: order["paymentId"].as_str().map(str::to_string),
            })
        };
        read().ok_or_else(|| Failure::failed(format!("not an order: {order}")))
    }

    /// What the buyer is to pay.
    pub fn total_minor(&self) -> u64 {
        self.tickets.iter().map(|(_, price_minor)| price_minor).sum()
    }
}

impl PaymentView {
    pub fn parse(payment: &Value) -> Result<PaymentView, Failure> {
        let read = || {
            Some(PaymentView {
                order: payment["orderId"].as_str()?.to_string(),
                status: payment["status"].as_str()?.to_string(),
                amount_minor: money::minor(&payment["amount"], currency(payment))?,
            })
        };
        read().ok_or_else(|| Failure::failed(format!("not a payment: {payment}")))
    }
}

fn currency(entity: &Value) -> Currency {
    entity["currency"].as_str().and_then(|code| code.parse().ok()).unwrap_or(Currency::USD)
}
