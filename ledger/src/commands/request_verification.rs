//! `RequestVerification`: a mail that proves the address, by its user. A few at a time.
//!
//! Story: "another address has to be proved again".

use super::unchanged;
use crate::entities::Purpose;
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::outcome::Reply;
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller) -> Decided {
    let id = caller.user()?;
    let mut user = entry.user_required(id)?;
    if user.verified {
        return unchanged();
    }
    let (request, row) = entry.open_request(id, &mut user, Purpose::Verify)?;
    entry.update_user_asking(id, &mut user, EventType::UserVerificationRequested, request, row.expires_ms)?;
    Ok(Reply::Request { user: id, request, expires_ms: row.expires_ms })
}
