//! `EraseUser`: blanks a user's personal data, by himself, an operator or the cluster.
//!
//! - The address and the password hash go, and the address is free again. Sessions, requests, watches and places
//!   in lines end.
//! - Live orders are cancelled; orders and tickets stay, under an id that names nobody. His tickets are refused to whoever
//!   wants to lock them, as a banned seller's are.
//!
//! Stories: "erased user leaves orders and no name", "a ban or an erasure gives the place up".

use super::unchanged;
use crate::email;
use crate::entities::{CancelReason, LeftReason, Personal};
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::id::UserId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: UserId) -> Decided {
    if caller.user() != Ok(id) {
        caller.operator()?;
    }
    if entry.user(id)?.ok_or(Refusal::UserNotFound)?.erased {
        return unchanged();
    }
    entry.reclaim_user(id)?;
    entry.leave_lines(id, LeftReason::Erased)?;
    entry.cancel_orders_of(id, CancelReason::Buyer)?;
    entry.unwatch_all(id)?;
    let personal: Personal = entry.state.row_required(Table::Personal, id.as_bytes())?;
    entry.state.remove(Table::Personal, id.as_bytes())?;
    entry.state.remove(Table::UsersByEmail, email::folded(&personal.email).as_bytes())?;
    let mut user = entry.user_required(id)?;
    entry.close_sessions(id, &mut user)?;
    entry.drop_requests(id, &mut user, |_| true)?;
    entry.update_user(id, &mut user, EventType::UserUpdated, |user| {
        user.erased = true;
        user.verified = false;
        user.epoch += 1;
    })?;
    Ok(Reply::Done)
}
