//! `BanUser`: one entry ends all that a user may do, by an operator or the cluster.
//!
//! - The epoch rises and the sessions end: what was authenticated before does not count.
//! - His places in lines end; what is offered to him goes to the next.
//! - His live locks are released and their orders cancelled. A payment that was begun for one stays open until the provider
//!   has answered; an authorisation that comes then is voided. What is complete stays, for an operator to decide.
//! - His tickets stay listed as they are and are refused to whoever wants to lock them.
//!
//! Stories: "ban releases locks", "a ban or an erasure gives the place up".

use super::unchanged;
use crate::entities::{CancelReason, LeftReason};
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::id::UserId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: UserId) -> Decided {
    caller.operator()?;
    if entry.user(id)?.ok_or(Refusal::UserNotFound)?.banned {
        return unchanged();
    }
    entry.reclaim_user(id)?;
    entry.leave_lines(id, LeftReason::Banned)?;
    entry.cancel_orders_of(id, CancelReason::Banned)?;
    let mut user = entry.user_required(id)?;
    entry.close_sessions(id, &mut user)?;
    entry.update_user(id, &mut user, EventType::UserBanned, |user| {
        user.banned = true;
        user.epoch += 1;
    })?;
    Ok(Reply::Done)
}
