//! `ResetPassword`: a new password under a request, for anybody: the proposer has checked what the mail carried.
//!
//! The epoch rises and all sessions end. Every open reset is used up with it. The mail has arrived, so the address is proved.
//!
//! Story: "a lost password is set anew by mail".

use crate::entities::{Personal, Purpose};
use crate::entry::{Decided, Entry};
use crate::event::EventType;
use crate::id::{RequestId, UserId};
use crate::outcome::{Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;
use crate::wording::check_password_hash;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, id: UserId, request: RequestId, password_hash: &str) -> Decided {
    check_password_hash(password_hash)?;
    let mut user = entry.user(id)?.filter(|user| !user.erased).ok_or(Refusal::UserNotFound)?;
    if user.banned {
        return Err(Refusal::Banned.into());
    }
    entry.check_request(id, request, Purpose::Reset)?;
    let personal: Personal = entry.state.row_required(Table::Personal, id.as_bytes())?;
    let personal = Personal { password_hash: password_hash.to_string(), ..personal };
    entry.state.put(Table::Personal, id.as_bytes(), &personal)?;
    entry.drop_requests(id, &mut user, |request| request.purpose == Purpose::Reset)?;
    entry.close_sessions(id, &mut user)?;
    entry.update_user(id, &mut user, EventType::UserUpdated, |user| {
        user.verified = true;
        user.epoch += 1;
    })?;
    Ok(Reply::Done)
}
