//! `SignUp`: an account and its first session, for anybody.
//!
//! - The address must look like one; it is unique whatever its case.
//! - The password arrives hashed: hashing is slow and salted, so it is done by whoever proposes.
//!
//! Story: "one account per address".

use crate::email;
use crate::entities::{Personal, Roles, User};
use crate::entry::{Decided, Entry};
use crate::id::UserId;
use crate::outcome::{Field, Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;
use crate::wording::check_password_hash;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, email: &str, password_hash: &str, agent: &str) -> Decided {
    if !email::is_plausible(email) {
        return Err(Refusal::Invalid { field: Field::Email }.into());
    }
    check_password_hash(password_hash)?;
    let folded = email::folded(email);
    if entry.state.store.get(Table::UsersByEmail, folded.as_bytes())?.is_some() {
        return Err(Refusal::EmailInUse.into());
    }
    let id = UserId(entry.mint());
    let personal = Personal { email: email.to_string(), password_hash: password_hash.to_string() };
    entry.state.insert(Table::Personal, id.as_bytes(), &personal)?;
    entry.state.insert(Table::UsersByEmail, folded.as_bytes(), &id)?;
    let mut user = new_user(entry.now_ms());
    let session = entry.open_session(id, &mut user, agent)?;
    entry.create_user(id, &user)?;
    Ok(Reply::SignedIn { user: id, session, epoch: user.epoch })
}

fn new_user(created_ms: u64) -> User {
    User {
        version: 0,
        roles: Roles::default(),
        banned: false,
        erased: false,
        verified: false,
        epoch: 0,
        created_ms,
        locks_live: 0,
        idempotency_records: 0,
        sessions: 0,
        requests: 0,
        watches: 0,
        places: 0,
        expiries_in_row: 0,
        cooldown_until_ms: 0,
    }
}
