//! `RecordAction`: the bank wants to ask the buyer himself (3-D Secure), and this is where he has to go.
//!
//! The same address again changes nothing; another one takes its place. It is erased with the token once the bank has decided.
//!
//! Story: "the bank asks the buyer himself".

use super::unchanged;
use crate::entities::PaymentStatus;
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::id::PaymentId;
use crate::limits::ACTION_URL_BYTES_MAX;
use crate::outcome::{Field, Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: PaymentId, url: &str) -> Decided {
    caller.payments()?;
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    if !is_web || url.len() > ACTION_URL_BYTES_MAX || url.chars().any(char::is_control) {
        return Err(Refusal::Invalid { field: Field::Url }.into());
    }
    let mut payment = entry.payment(id)?.ok_or(Refusal::PaymentNotFound)?;
    if payment.status != PaymentStatus::Requested {
        return Err(Refusal::PaymentConflict.into());
    }
    if payment.action_url.as_deref() == Some(url) {
        return unchanged();
    }
    entry.update_payment(id, &mut payment, EventType::PaymentUpdated, |payment| {
        payment.action_url = Some(url.to_string());
    })?;
    Ok(Reply::Done)
}
