//! `RecordRefunded`: the money is back with the buyer.
//!
//! Story: "refund is asked for by an operator".

use super::unchanged;
use crate::entities::{PaymentStatus, PaymentStep};
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::id::PaymentId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: PaymentId) -> Decided {
    caller.payments()?;
    let mut payment = entry.payment(id)?.ok_or(Refusal::PaymentNotFound)?;
    match (payment.status, payment.next) {
        (PaymentStatus::Captured, Some(PaymentStep::Refund)) => {}
        (PaymentStatus::Refunded, _) => return unchanged(),
        _ => return Err(Refusal::PaymentConflict.into()),
    }
    entry.update_payment(id, &mut payment, EventType::PaymentUpdated, |payment| {
        payment.status = PaymentStatus::Refunded;
        payment.next = None;
    })?;
    Ok(Reply::Done)
}
