//! `ExtendLock`: more time for a buyer who has not begun to pay, as often as policy allows (once by default).
//!
//! Story: "extension once".

use crate::entities::OrderStatus;
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::id::OrderId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: OrderId) -> Decided {
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
    let (max, extension_ms) = (entry.state.meta.policy.lock_extensions_max, entry.state.meta.policy.lock_extension_ms);
    if order.extensions >= max {
        return Err(Refusal::ExtensionsUsedUp { max }.into());
    }
    entry.update_order(id, &mut order, EventType::OrderUpdated, |order| {
        order.deadline_ms += extension_ms;
        order.extensions += 1;
    })?;
    Ok(Reply::Order { order: id, version: order.version })
}
