//! A sale over HTTP, seen from outside: buyers who race for tickets, a seller who raises prices, and the audit afterwards.
//!
//! `demo`, the replay driver and the crash tests share it. Nothing here looks inside a node: what is counted was answered to
//! somebody, and what is audited is read from the API afresh.

mod audit;
mod buyer;
mod seller;
mod views;

pub use audit::{Audit, audit};
pub use buyer::{Attempt, Buyer, Purchase};
pub use seller::{Edit, Seller, bulk_results};
pub use views::{Offer, OrderView, PaymentView};

use std::sync::atomic::{AtomicU64, Ordering};

/// What happened so far, counted by everybody at once.
#[derive(Debug, Default)]
pub struct Tally {
    /// Purchases that were acknowledged with 201.
    pub bought: AtomicU64,
    /// Orders refused because somebody else has the ticket.
    pub lost: AtomicU64,
    /// Orders refused because the price is not the one that was seen.
    pub price_changed: AtomicU64,
    /// Locks that ended without a purchase: declined, expired or cancelled.
    pub unpaid: AtomicU64,
    /// Requests for a lock or a payment that had to be sent more than once, and were answered then.
    pub resent: AtomicU64,
    /// Price edits that were made.
    pub edits: AtomicU64,
    /// Price edits refused because the ticket was locked or sold.
    pub edits_refused: AtomicU64,
}

impl Tally {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
