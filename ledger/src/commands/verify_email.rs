//! `VerifyEmail`: the address is proved, for anybody: the proposer has checked what the mail carried. Every open verification is
//! used up with it.
//!
//! Story: "another address has to be proved again".

use crate::entities::Purpose;
use crate::entry::{Decided, Entry};
use crate::event::EventType;
use crate::id::{RequestId, UserId};
use crate::outcome::{Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, id: UserId, request: RequestId) -> Decided {
    let mut user = entry.user(id)?.filter(|user| !user.erased).ok_or(Refusal::UserNotFound)?;
    entry.check_request(id, request, Purpose::Verify)?;
    entry.drop_requests(id, &mut user, |request| request.purpose == Purpose::Verify)?;
    entry.update_user(id, &mut user, EventType::UserUpdated, |user| user.verified = true)?;
    Ok(Reply::Done)
}
