//! `ReleaseLock`: an operator ends a live lock. By an operator or the cluster.
//!
//! Where the bank is asked already, an authorisation that comes later is voided.
//!
//! Story: "an operator releases a lock".

use crate::entities::CancelReason;
use crate::entry::{Caller, Decided, Entry};
use crate::id::OrderId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: OrderId) -> Decided {
    caller.operator()?;
    let order = entry.order(id)?.ok_or(Refusal::OrderNotFound)?;
    entry.reclaim_user(order.user)?;
    let mut order = entry.order_required(id)?;
    if !order.status.holds_tickets() {
        return Err(order.status.refusal(id).into());
    }
    entry.cancel_order(id, &mut order, CancelReason::Operator)?;
    Ok(Reply::Order { order: id, version: order.version })
}
