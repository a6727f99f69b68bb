//! `SignOut`: ends one of the user's own sessions. Ending one that is over already changes nothing.
//!
//! Story: "signed out is signed out".

use super::unchanged;
use crate::entry::{Caller, Decided, Entry};
use crate::id::SessionId;
use crate::keys;
use crate::outcome::Reply;
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, session: SessionId) -> Decided {
    let id = caller.user()?;
    let key = keys::pair(id.0, session.0);
    if entry.state.store.get(Table::Sessions, &key)?.is_none() {
        return unchanged();
    }
    let mut user = entry.user_required(id)?;
    entry.close_session(&key, &mut user)?;
    entry.put_user(id, &user);
    Ok(Reply::Done)
}
