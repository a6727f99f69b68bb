//! `ClaimOperator`: who has the bootstrap token becomes an operator, once in a cluster's life. By a user.
//!
//! His roles change, so the epoch rises and his other sessions end; the one that asks goes on under the new epoch.
//!
//! Story: "the first operator claims his role once".

use crate::entities::{Bootstrap, Roles};
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, token_hash: &[u8]) -> Decided {
    let (id, session) = caller.session()?;
    let bootstrap: Option<Bootstrap> = entry.state.row(Table::Bootstrap, &[])?;
    let bootstrap = bootstrap.ok_or(Refusal::BootstrapRefused)?;
    if bootstrap.claimed_by.is_some() {
        return Err(Refusal::BootstrapClaimed.into());
    }
    if bootstrap.token_hash != token_hash {
        return Err(Refusal::BootstrapRefused.into());
    }
    entry.state.put(Table::Bootstrap, &[], &Bootstrap { claimed_by: Some(id), ..bootstrap })?;
    let mut user = entry.user_required(id)?;
    entry.close_other_sessions(id, &mut user, session)?;
    entry.update_user(id, &mut user, EventType::UserUpdated, |user| {
        user.roles = Roles { operator_read: true, operator_admin: true, ..user.roles };
        user.epoch += 1;
    })?;
    Ok(Reply::SignedIn { user: id, session, epoch: user.epoch })
}
