//! `UnwatchTicket`: a user wants to be told no longer. Where he did not watch, nothing changes.
//!
//! Story: "a ticket is watched for its price".

use super::unchanged;
use crate::entry::{Caller, Decided, Entry};
use crate::id::TicketId;
use crate::keys;
use crate::outcome::Reply;
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: TicketId) -> Decided {
    let user_id = caller.user()?;
    if entry.state.store.get(Table::WatchesByUser, &keys::pair(user_id.0, id.0))?.is_none() {
        return unchanged();
    }
    entry.unwatch(user_id, id)?;
    Ok(Reply::Done)
}
