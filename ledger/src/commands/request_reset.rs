//! `RequestReset`: a mail for who has lost his password, for anybody.
//!
//! Whoever asks knows an address and nothing more, so nothing changes but that a mail is asked for. A few at a time.
//!
//! Story: "a lost password is set anew by mail".

use crate::entities::Purpose;
use crate::entry::{Decided, Entry};
use crate::event::EventType;
use crate::id::UserId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, id: UserId) -> Decided {
    let mut user = entry.user(id)?.filter(|user| !user.erased).ok_or(Refusal::UserNotFound)?;
    if user.banned {
        return Err(Refusal::Banned.into());
    }
    let (request, row) = entry.open_request(id, &mut user, Purpose::Reset)?;
    entry.update_user_asking(id, &mut user, EventType::UserResetRequested, request, row.expires_ms)?;
    Ok(Reply::Request { user: id, request, expires_ms: row.expires_ms })
}
