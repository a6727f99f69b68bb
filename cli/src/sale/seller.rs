//! The seller: puts tickets on sale and changes prices.

use serde_json::{Value, json};

use super::Tally;
use super::views::Offer;
use crate::client::{Account, Ask, Client};
use crate::failure::Failure;
use crate::money;

/// Tickets of one bulk request.
pub const BULK_TICKETS: usize = 500;

/// A seller with an account.
pub struct Seller {
    pub account: Account,
    client: Client,
}

/// What became of a price edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    Made,
    /// The ticket is locked or sold.
    Refused,
}

impl Seller {
    pub async fn sign_up(client: &Client, email: &str, password: &str) -> Result<Seller, Failure> {
        Ok(Seller { account: client.account(email, password, 0).await?, client: client.clone() })
    }

    /// Creates tickets, in pages; each of `tickets` is a body of the bulk route. Their ids, in the same order.
    pub async fn create(&self, tickets: &[Value]) -> Result<Vec<String>, Failure> {
        let mut ids = Vec::with_capacity(tickets.len());
        for (number, page) in tickets.chunks(BULK_TICKETS).enumerate() {
            let ask = Ask::post("/api/tickets/bulk", Value::Array(page.to_vec())).by(&self.account).at(number);
            let reply = self.client.send(ask).await?;
            for result in bulk_results(&reply)? {
                ids.push(result.map_err(Failure::failed)?.0);
            }
        }
        Ok(ids)
    }

    /// Sets a ticket's price to `price_minor`.
    pub async fn edit(&self, offer: &Offer, price_minor: u64, node: usize, tally: &Tally) -> Result<Edit, Failure> {
        let body = json!({ "title": offer.title, "price": money::price(price_minor, offer.currency) });
        let reply = self
            .client
            .send(Ask::put(format!("/api/tickets/{}", offer.ticket), body).by(&self.account).at(node))
            .await?;
        match (reply.status, reply.code()) {
            (200, _) => {
                Tally::count(&tally.edits);
                Ok(Edit::Made)
            }
            (400, "ticket_not_editable") => {
                Tally::count(&tally.edits_refused);
                Ok(Edit::Refused)
            }
            _ => Err(Failure::failed(format!("edit of {}: {} {}", offer.ticket, reply.status, reply.complaint()))),
        }
    }
}

/// One line of a bulk creation: the ticket's id and whether it is new, or why it was refused.
pub type BulkResult = Result<(String, bool), String>;

/// Each ticket's id and whether it is new, or why it was refused, from the answer to a bulk request.
pub fn bulk_results(reply: &crate::client::Reply) -> Result<Vec<BulkResult>, Failure> {
    let results = match (&reply.body, reply.status) {
        (Value::Array(results), 200 | 201) => results,
        _ => return Err(Failure::failed(format!("bulk: {}", reply.complaint()))),
    };
    Ok(results.iter().map(bulk_result).collect())
}

fn bulk_result(result: &Value) -> BulkResult {
    match result["id"].as_str() {
        Some(id) => Ok((id.to_string(), result["created"].as_bool().unwrap_or(true))),
        None => {
            let error = &result["errors"][0];
            let message = error["message"].as_str().unwrap_or("refused");
            match error["field"].as_str() {
                Some(field) => Err(format!("{field}: {message}")),
                None => Err(message.to_string()),
            }
        }
    }
}
