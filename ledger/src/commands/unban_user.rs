//! `UnbanUser`: he may sign in again. By an operator or the cluster.
//!
//! Story: "ban releases locks".

use super::unchanged;
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::id::UserId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: UserId) -> Decided {
    caller.operator()?;
    let mut user = entry.user(id)?.ok_or(Refusal::UserNotFound)?;
    if !user.banned {
        return unchanged();
    }
    entry.update_user(id, &mut user, EventType::UserUpdated, |user| user.banned = false)?;
    Ok(Reply::Done)
}
