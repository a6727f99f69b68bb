//! `ChangeEmail`: another address for an account, by its user.
//!
//! It must look like an address and be nobody else's. It is not proved yet, and what was mailed to the old one counts no longer;
//! where only the case of letters changes, both stay as they were.
//!
//! Story: "another address has to be proved again".

use super::unchanged;
use crate::email;
use crate::entities::Personal;
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::outcome::{Field, Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, email: &str) -> Decided {
    let id = caller.user()?;
    if !email::is_plausible(email) {
        return Err(Refusal::Invalid { field: Field::Email }.into());
    }
    let personal: Personal = entry.state.row_required(Table::Personal, id.as_bytes())?;
    if personal.email == email {
        return unchanged();
    }
    let (before, folded) = (email::folded(&personal.email), email::folded(email));
    let mut user = entry.user_required(id)?;
    if folded != before {
        if entry.state.store.get(Table::UsersByEmail, folded.as_bytes())?.is_some() {
            return Err(Refusal::EmailInUse.into());
        }
        entry.state.remove(Table::UsersByEmail, before.as_bytes())?;
        entry.state.insert(Table::UsersByEmail, folded.as_bytes(), &id)?;
        entry.drop_requests(id, &mut user, |_| true)?;
    }
    entry.state.put(Table::Personal, id.as_bytes(), &Personal { email: email.to_string(), ..personal })?;
    entry.update_user(id, &mut user, EventType::UserUpdated, |user| user.verified &= folded == before)?;
    Ok(Reply::Done)
}
