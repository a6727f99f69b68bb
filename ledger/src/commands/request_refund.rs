//! `RequestRefund`: an operator gives the money of a complete order back. The order stays complete and the tickets sold: a
//! refund belongs to the charge, not to the seat.
//!
//! Story: "refund is asked for by an operator".

use super::unchanged;
use crate::entities::{OrderStatus, PaymentStatus, PaymentStep};
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::id::OrderId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: OrderId) -> Decided {
    caller.operator()?;
    let order = entry.order(id)?.ok_or(Refusal::OrderNotFound)?;
    let refused = Refusal::NotRefundable { order: id };
    let paid_by = match order.status {
        OrderStatus::Complete => *order.payments.last().ok_or_else(|| refused.clone())?,
        _ => return Err(refused.into()),
    };
    let mut payment = entry.payment(paid_by)?.ok_or(Refusal::PaymentNotFound)?;
    match (payment.status, payment.next) {
        (PaymentStatus::Captured, None) => {}
        (PaymentStatus::Captured, Some(PaymentStep::Refund)) | (PaymentStatus::Refunded, _) => return unchanged(),
        _ => return Err(refused.into()),
    }
    entry.update_payment(paid_by, &mut payment, EventType::PaymentUpdated, |payment| {
        payment.next = Some(PaymentStep::Refund);
    })?;
    Ok(Reply::Payment { payment: paid_by, order: id })
}
