//! `RecordCaptured`: the money has moved. Only after the order was complete, since only then a capture is asked for.
//!
//! It also ends a capture that had failed: an operator had it tried again.
//!
//! Story: "pay and complete".

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
        (PaymentStatus::Authorized, Some(PaymentStep::Capture)) | (PaymentStatus::CaptureFailed, _) => {}
        (PaymentStatus::Captured | PaymentStatus::Refunded, _) => return unchanged(),
        _ => return Err(Refusal::PaymentConflict.into()),
    }
    entry.update_payment(id, &mut payment, EventType::PaymentUpdated, |payment| {
        payment.status = PaymentStatus::Captured;
        payment.next = None;
        payment.failure = None;
    })?;
    Ok(Reply::Done)
}
