//! `RecordVoided`: the provider has let the money go.
//!
//! It answers a void that was asked for, or the provider's own end of an attempt that nobody waits for any more. An order that
//! still waits for the payment takes it as a failure.
//!
//! Story: "late authorisation is voided".

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
        (PaymentStatus::Requested, _) | (PaymentStatus::Authorized, Some(PaymentStep::Void)) => {}
        (PaymentStatus::Voided, _) => return unchanged(),
        _ => return Err(Refusal::PaymentConflict.into()),
    }
    entry.reclaim_user(payment.user)?;
    entry.update_payment(id, &mut payment, EventType::PaymentUpdated, |payment| {
        payment.status = PaymentStatus::Voided;
        payment.next = None;
    })?;
    entry.payment_failed(payment.order, id)?;
    Ok(Reply::Done)
}
