//! `SignIn`: a session for a user whose password the proposer has checked, for anybody.
//!
//! - The check was made under an epoch; if a ban, a change of roles or an erasure came in between, it does not count.
//! - The oldest session ends where there would be too many.
//!
//! Story: "banned after authentication".

use crate::entry::{Decided, Entry};
use crate::id::UserId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, id: UserId, epoch: u32, agent: &str) -> Decided {
    let mut user = entry.user(id)?.filter(|user| !user.erased).ok_or(Refusal::UserNotFound)?;
    if user.banned {
        return Err(Refusal::Banned.into());
    }
    if user.epoch != epoch {
        return Err(Refusal::NotSignedIn.into());
    }
    let session = entry.open_session(id, &mut user, agent)?;
    entry.put_user(id, &user);
    Ok(Reply::SignedIn { user: id, session, epoch })
}
