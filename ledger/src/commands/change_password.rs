//! `ChangePassword`: by the user, who is signed in and whose old password the proposer has checked.
//!
//! The epoch rises and his other sessions end; the one that asks goes on under the new epoch. A reset that was mailed before
//! counts no longer.
//!
//! Story: "a changed password ends the other sessions".

use crate::entities::{Personal, Purpose};
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::outcome::Reply;
use crate::store::Write;
use crate::tables::Table;
use crate::wording::check_password_hash;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, password_hash: &str) -> Decided {
    let (id, session) = caller.session()?;
    check_password_hash(password_hash)?;
    let personal: Personal = entry.state.row_required(Table::Personal, id.as_bytes())?;
    let personal = Personal { password_hash: password_hash.to_string(), ..personal };
    entry.state.put(Table::Personal, id.as_bytes(), &personal)?;
    let mut user = entry.user_required(id)?;
    entry.close_other_sessions(id, &mut user, session)?;
    entry.drop_requests(id, &mut user, |request| request.purpose == Purpose::Reset)?;
    entry.update_user(id, &mut user, EventType::UserUpdated, |user| user.epoch += 1)?;
    Ok(Reply::SignedIn { user: id, session, epoch: user.epoch })
}
