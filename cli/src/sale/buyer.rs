//! One buyer: sees a price, locks at that price, pays.

use reqwest::Method;
use serde_json::json;

use super::Tally;
use super::views::{Offer, OrderView};
use crate::client::{Account, Ask, Client};
use crate::failure::Failure;
use crate::money;

/// A buyer with an account. His requests are numbered: the number makes the idempotency key, and picks the node.
pub struct Buyer {
    pub account: Account,
    client: Client,
    number: usize,
    requests: u64,
}

/// A purchase that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    pub ticket: String,
    pub order: String,
    pub payment: String,
    /// What the buyer saw and insisted on.
    pub seen_minor: u64,
    /// What the answer to the lock said he would pay.
    pub locked_minor: u64,
}

/// What became of one attempt to buy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    Bought(Purchase),
    /// Somebody else has it.
    Lost,
    /// The price is another one than the buyer saw.
    PriceChanged,
    /// He had the lock and the purchase did not complete.
    Unpaid {
        code: String,
    },
}

impl Buyer {
    pub async fn sign_up(client: &Client, number: usize, email: &str, password: &str) -> Result<Buyer, Failure> {
        let account = client.account(email, password, number).await?;
        Ok(Buyer { account, client: client.clone(), number, requests: 0 })
    }

    /// Tries to buy what `offer` shows, at the price it shows.
    pub async fn buy(&mut self, offer: &Offer, tally: &Tally) -> Result<Attempt, Failure> {
        match self.lock(offer, tally).await? {
            Ok(order) => self.pay(offer, &order, tally).await,
            Err(attempt) => Ok(attempt),
        }
    }

    /// Locks the ticket at the price seen.
    pub async fn lock(&mut self, offer: &Offer, tally: &Tally) -> Result<Result<OrderView, Attempt>, Failure> {
        let body = json!({ "ticketId": offer.ticket, "price": money::price(offer.price_minor, offer.currency) });
        let (key, node) = self.next();
        let reply = self.client.send(Ask::post("/api/orders", body).key(key).by(&self.account).at(node)).await?;
        if reply.resent > 0 {
            Tally::count(&tally.resent);
        }
        match (reply.status, reply.code()) {
            (201, _) => OrderView::parse(&reply.body).map(Ok),
            // Sold, locked by somebody else, or no longer on sale: for him it is the same.
            (400, "ticket_reserved" | "ticket_sold" | "ticket_withdrawn") => {
                Tally::count(&tally.lost);
                Ok(Err(Attempt::Lost))
            }
            (409, "price_changed") => {
                Tally::count(&tally.price_changed);
                Ok(Err(Attempt::PriceChanged))
            }
            _ => Err(Failure::failed(format!("order of {}: {} {}", offer.ticket, reply.status, reply.complaint()))),
        }
    }

    /// Pays for the locked order.
    pub async fn pay(&mut self, offer: &Offer, order: &OrderView, tally: &Tally) -> Result<Attempt, Failure> {
        let body = json!({ "token": "tok_visa", "orderId": order.id });
        let (key, node) = self.next();
        let mut reply = self.client.send(Ask::post("/api/payments", body).key(key).by(&self.account).at(node)).await?;
        if reply.resent > 0 {
            Tally::count(&tally.resent);
        }
        let payment = reply.body["id"].as_str().unwrap_or_default().to_string();
        if reply.status == 202 {
            reply = self.wait_for_payment(&payment, node).await?;
        }
        match reply.status {
            200 | 201 => {
                Tally::count(&tally.bought);
                Ok(Attempt::Bought(Purchase {
                    ticket: offer.ticket.clone(),
                    order: order.id.clone(),
                    payment,
                    seen_minor: offer.price_minor,
                    locked_minor: order.total_minor(),
                }))
            }
            400..500 => {
                Tally::count(&tally.unpaid);
                Ok(Attempt::Unpaid { code: reply.code().to_string() })
            }
            _ => Err(Failure::failed(format!("payment of {}: {} {}", order.id, reply.status, reply.complaint()))),
        }
    }

    /// Asks for the decision about a payment that took longer than its request.
    async fn wait_for_payment(&mut self, payment: &str, node: usize) -> Result<crate::client::Reply, Failure> {
        const LOOKS_MAX: usize = 600;
        for _ in 0..LOOKS_MAX {
            let ask = Ask::new(Method::GET, format!("/api/payments/{payment}")).by(&self.account).at(node);
            let mut reply = self.client.send(ask).await?;
            // The order's status is the decision; the capture may come later.
            match reply.body["orderStatus"].as_str() {
                Some("complete") => return Ok(reply),
                Some("awaiting:payment") => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                _ => {
                    reply.status = 402;
                    return Ok(reply);
                }
            }
        }
        Err(Failure::failed(format!("payment {payment}: no decision")))
    }

    /// The key of the next request, and the node it goes to first.
    fn next(&mut self) -> (String, usize) {
        self.requests += 1;
        (format!("{}-{}", self.account.email, self.requests), self.number + self.requests as usize)
    }
}
