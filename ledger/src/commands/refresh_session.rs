//! `RefreshSession`: a session that is used goes on for its whole time from now. By its user.
//!
//! At most once a minute: whoever asks more often is answered that nothing had to be changed.
//!
//! Story: "sessions are listed refreshed and ended".

use super::unchanged;
use crate::entities::Session;
use crate::entry::{Caller, Decided, Entry};
use crate::keys;
use crate::outcome::Reply;
use crate::store::Write;
use crate::tables::Table;

const REFRESH_INTERVAL_MS: u64 = 60_000;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller) -> Decided {
    let (user, id) = caller.session()?;
    let key = keys::pair(user.0, id.0);
    let session: Session = entry.state.row_required(Table::Sessions, &key)?;
    let refreshed_ms = entry.now_ms();
    if refreshed_ms < session.refreshed_ms + REFRESH_INTERVAL_MS {
        return unchanged();
    }
    let expires_ms = refreshed_ms + entry.state.meta.policy.session_ttl_ms;
    entry.state.put(Table::Sessions, &key, &Session { refreshed_ms, expires_ms, ..session })?;
    Ok(Reply::Done)
}
