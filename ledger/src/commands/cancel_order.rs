//! `CancelOrder`: the buyer gives his lock back.
//!
//! While the bank is asked it is too late to cancel and too early to refund: he is told to wait. A complete order is
//! refunded by an operator, never cancelled.
//!
//! Stories: "cancel while the bank is asked", "cancel after paid".

use crate::entities::{CancelReason, OrderStatus};
use crate::entry::{Caller, Decided, Entry};
use crate::id::OrderId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: OrderId, version: Option<u64>) -> Decided {
    let user = caller.user()?;
    let mut order = entry.order(id)?.ok_or(Refusal::OrderNotFound)?;
    if order.user != user {
        return Err(Refusal::NotOwner.into());
    }
    match order.status {
        OrderStatus::Created => {}
        OrderStatus::AwaitingPayment => return Err(Refusal::PaymentInProgress { order: id }.into()),
        ended => return Err(ended.refusal(id).into()),
    }
    if version.is_some_and(|version| version != order.version) {
        return Err(Refusal::VersionMismatch { version: order.version }.into());
    }
    entry.cancel_order(id, &mut order, CancelReason::Buyer)?;
    Ok(Reply::Order { order: id, version: order.version })
}
