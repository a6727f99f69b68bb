//! `SetRoles`: what a user may do beyond buying, set by an operator or the cluster.
//!
//! The epoch rises, so nothing that was authenticated with the old roles counts any more; sessions end with it.
//!
//! Story: "demoted operator is refused".

use super::unchanged;
use crate::entities::Roles;
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::id::UserId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: UserId, roles: Roles) -> Decided {
    caller.operator()?;
    let mut user = entry.user(id)?.filter(|user| !user.erased).ok_or(Refusal::UserNotFound)?;
    if user.roles == roles {
        return unchanged();
    }
    entry.close_sessions(id, &mut user)?;
    entry.update_user(id, &mut user, EventType::UserUpdated, |user| {
        user.roles = roles;
        user.epoch += 1;
    })?;
    Ok(Reply::Done)
}
