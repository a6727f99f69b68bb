//! The audit after a sale: everything is read again from the API, and compared with what was acknowledged.

use std::collections::BTreeMap;

use super::buyer::{Buyer, Purchase};
use super::views::{OrderView, PaymentView};
use holdfast_services::payments::sandbox_server::ChargeView;

use crate::client::{Ask, Client};
use crate::failure::Failure;

/// Orders of one buyer that the audit reads. More would be left out, so more are an error.
const ORDERS_MAX: usize = 100_000;

/// What the audit found. It is clean where everything but `sold` and `charges_compared` is zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Tickets in complete orders.
    pub sold: u64,
    /// Tickets in more than one complete order.
    pub double_sold: u64,
    /// Acknowledged purchases whose order is not complete, or not there.
    pub lost: u64,
    /// Purchases where the price seen, the price locked and the amount charged are not all the same.
    pub other_price: u64,
    /// Charges that the provider captured for orders that are not complete.
    pub charged_for_nothing: u64,
    /// Amounts of the provider's own book that were compared. No finding.
    pub charges_compared: u64,
    /// One line for each finding.
    pub findings: Vec<String>,
}

impl Audit {
    pub fn is_clean(&self) -> bool {
        self.double_sold + self.lost + self.other_price + self.charged_for_nothing == 0
    }
}

/// Reads all orders of `buyers` and the payments of their complete ones, and compares them with the purchases that were
/// acknowledged to each, and with what the provider says that it charged.
pub async fn audit(
    client: &Client,
    buyers: &[(Buyer, Vec<Purchase>)],
    charges: &[ChargeView],
) -> Result<Audit, Failure> {
    let mut audit = Audit::default();
    let mut prices: BTreeMap<String, u64> = BTreeMap::new();
    let mut owners: BTreeMap<String, u64> = BTreeMap::new();
    for (buyer, purchases) in buyers {
        let orders = client.list("/api/orders", Some(&buyer.account), ORDERS_MAX).await?;
        let orders: Vec<OrderView> = orders.iter().map(OrderView::parse).collect::<Result<_, _>>()?;
        if orders.len() >= ORDERS_MAX {
            return Err(Failure::failed(format!("{}: too many orders to audit", buyer.account.email)));
        }
        let mut acknowledged: BTreeMap<&str, &Purchase> =
            purchases.iter().map(|purchase| (purchase.order.as_str(), purchase)).collect();
        for order in orders.iter().filter(|order| order.status == "complete") {
            for (ticket, _) in &order.tickets {
                *owners.entry(ticket.clone()).or_default() += 1;
            }
            prices.insert(order.id.clone(), order.total_minor());
            audit.check_price(client, buyer, acknowledged.remove(order.id.as_str()), order).await?;
        }
        audit.lost += acknowledged.len() as u64;
        audit.findings.extend(acknowledged.keys().map(|id| format!("order {id} was acknowledged and is not complete")));
    }
    charges.iter().for_each(|charge| audit.check_charge(charge, &prices));
    audit.sold = owners.len() as u64;
    for (ticket, orders) in owners.iter().filter(|(_, orders)| **orders > 1) {
        audit.double_sold += 1;
        audit.findings.push(format!("ticket {ticket} is in {orders} complete orders"));
    }
    Ok(audit)
}

impl Audit {
    /// Compares what the buyer saw and was told, what the order says, and what the payment says.
    async fn check_price(
        &mut self,
        client: &Client,
        buyer: &Buyer,
        purchase: Option<&Purchase>,
        order: &OrderView,
    ) -> Result<(), Failure> {
        let Some(id) = &order.payment else {
            self.other_price += 1;
            self.findings.push(format!("order {} is complete without a payment", order.id));
            return Ok(());
        };
        let reply = client.send(Ask::get(format!("/api/payments/{id}")).by(&buyer.account)).await?;
        let payment = PaymentView::parse(&reply.expect(200, "payment")?)?;
        let locked_minor = order.total_minor();
        let told =
            purchase.is_none_or(|p| p.seen_minor == locked_minor && p.locked_minor == locked_minor && p.payment == *id);
        let charged =
            payment.amount_minor == locked_minor && matches!(payment.status.as_str(), "authorized" | "captured");
        if !told || !charged || payment.order != order.id {
            self.other_price += 1;
            self.findings.push(format!("order {order:?}: bought as {purchase:?}, paid as {payment:?}"));
        }
        Ok(())
    }

    /// Compares a line of the provider's book with the complete orders and their locked prices.
    fn check_charge(&mut self, charge: &ChargeView, prices: &BTreeMap<String, u64>) {
        match charge.order.as_deref().and_then(|order| prices.get(order)) {
            Some(price_minor) if charge.amount_minor != 0 => {
                self.charges_compared += 1;
                if charge.amount_minor != *price_minor {
                    self.other_price += 1;
                    self.findings.push(format!("{charge:?}: the locked price is {price_minor}"));
                }
            }
            Some(_) => {}
            None if charge.captured => {
                self.charged_for_nothing += 1;
                self.findings.push(format!("{charge:?}: its order is not complete"));
            }
            None => {}
        }
    }
}
