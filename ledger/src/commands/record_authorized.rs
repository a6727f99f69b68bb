//! `RecordAuthorized`: the provider holds the money, and the ledger decides what becomes of it.
//!
//! - The order still waits for this payment: it is complete, the tickets are sold, a capture is asked for.
//! - The order ran out meanwhile, and every ticket is still free, on sale and at the locked price, and buyer and seller are
//!   in good standing: it is reinstated, complete at the locked price.
//! - Otherwise somebody else was faster, or something changed: a void is asked for.
//! - The result of an older grant of the lock is refused, and a void asked for. It is the one refusal that writes something:
//!   the money is held, and must be let go.
//!
//! A repeat changes nothing.
//!
//! Stories: "pay and complete", "lock runs out while the bank is slow and the seat is still free", "lock runs out while the
//! bank is slow and the seat is sold to another", "late authorisation is voided".

use super::unchanged;
use crate::entities::{CancelReason, Fence, Holding, Order, OrderStatus, Payment, PaymentStatus, PaymentStep};
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::id::PaymentId;
use crate::outcome::{Refusal, Reply};
use crate::planted::{Bug, at_work};
use crate::store::{StoreError, Write};

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: PaymentId, fence: Fence) -> Decided {
    caller.payments()?;
    let mut payment = entry.payment(id)?.ok_or(Refusal::PaymentNotFound)?;
    match payment.status {
        PaymentStatus::Requested => {}
        PaymentStatus::Declined => return Err(Refusal::PaymentConflict.into()),
        _ => return unchanged(),
    }
    let order_id = payment.order;
    entry.reclaim_user(payment.user)?;
    let mut order = entry.order_required(order_id)?;
    if fence != order.fence {
        authorized(entry, id, &mut payment, PaymentStep::Void)?;
        return Err(Refusal::StaleFence.into());
    }
    let stale_is_fine = at_work(Bug::AcceptStaleFence) && order.status != OrderStatus::Complete;
    if stale_is_fine || awaits(&order, id) || may_be_reinstated(entry, &order, id, &payment)? {
        entry.complete_order(order_id, &mut order)?;
        authorized(entry, id, &mut payment, PaymentStep::Capture)?;
    } else {
        authorized(entry, id, &mut payment, PaymentStep::Void)?;
    }
    Ok(Reply::Payment { payment: id, order: order_id })
}

fn awaits(order: &Order, id: PaymentId) -> bool {
    order.status == OrderStatus::AwaitingPayment && order.payments.last() == Some(&id)
}

fn may_be_reinstated<S: Write>(
    entry: &mut Entry<S>,
    order: &Order,
    id: PaymentId,
    payment: &Payment,
) -> Result<bool, StoreError> {
    let expired = order.status == OrderStatus::Cancelled(CancelReason::Expired);
    let begun_in_time = order.payments.last() == Some(&id) && payment.created_ms < order.deadline_ms;
    if !expired || !begun_in_time || !entry.user_required(order.user)?.in_good_standing() {
        return Ok(false);
    }
    for line in &order.lines {
        let ticket = entry.ticket_seen(line.ticket)?.filter(|ticket| {
            ticket.holding == Holding::Free && !ticket.withdrawn && ticket.price_minor == line.price_minor
        });
        let Some(ticket) = ticket else { return Ok(false) };
        if !entry.user_required(ticket.seller)?.in_good_standing() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The original's `payment:created` says that an order is paid; an authorisation that is voided is not one.
fn authorized<S: Write>(
    entry: &mut Entry<S>,
    id: PaymentId,
    payment: &mut Payment,
    next: PaymentStep,
) -> Result<(), StoreError> {
    let completes = next == PaymentStep::Capture;
    let event_type = if completes { EventType::PaymentCreated } else { EventType::PaymentUpdated };
    entry.update_payment(id, payment, event_type, |payment| {
        payment.status = PaymentStatus::Authorized;
        payment.next = Some(next).filter(|_| completes || !at_work(Bug::ForgetVoid));
    })
}
