//! Sessions of a user: opened by signing up and in, a bounded number each.

use crate::entities::{Session, User};
use crate::entry::Entry;
use crate::id::{SessionId, UserId};
use crate::keys;
use crate::limits::AGENT_BYTES_MAX;
use crate::rows::decode;
use crate::store::{Order, StoreError, Write, prefix_end};
use crate::tables::Table;

impl<S: Write> Entry<'_, S> {
    /// Opens a session, after ending those that ran out, and the oldest where there are too many. Counts it in `user`, which
    /// the caller writes.
    pub fn open_session(&mut self, id: UserId, user: &mut User, agent: &str) -> Result<SessionId, StoreError> {
        self.make_room(id, user)?;
        let session = SessionId(self.mint());
        let created_ms = self.now_ms();
        let expires_ms = created_ms + self.state.meta.policy.session_ttl_ms;
        let row = Session { created_ms, refreshed_ms: created_ms, expires_ms, agent: label(agent).into() };
        self.state.insert(Table::Sessions, &keys::pair(id.0, session.0), &row)?;
        user.sessions += 1;
        Ok(session)
    }

    fn make_room(&mut self, id: UserId, user: &mut User) -> Result<(), StoreError> {
        if user.sessions == 0 {
            return Ok(());
        }
        let to = prefix_end(id.as_bytes());
        let limit = user.sessions as usize;
        let rows = self.state.store.range(Table::Sessions, id.as_bytes(), to.as_deref(), Order::Ascending, limit)?;
        let mut live = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            let session: Session = decode(Table::Sessions, &key, &row)?;
            if session.expires_ms <= self.now_ms() {
                self.close_session(&key, user)?;
            } else {
                live.push(key);
            }
        }
        let excess = (live.len() + 1).saturating_sub(self.state.meta.policy.sessions_per_user_max as usize);
        live.iter().take(excess).try_for_each(|key| self.close_session(key, user))
    }

    /// Ends the session under this key of the table. Counts it in `user`, which the caller writes.
    pub fn close_session(&mut self, key: &[u8], user: &mut User) -> Result<(), StoreError> {
        self.state.remove(Table::Sessions, key)?;
        user.sessions -= 1;
        Ok(())
    }

    /// Ends all sessions of a user but one. Counts it in `user`, which the caller writes.
    pub fn close_other_sessions(&mut self, id: UserId, user: &mut User, kept: SessionId) -> Result<(), StoreError> {
        let kept = keys::pair(id.0, kept.0);
        for key in self.state.keys(Table::Sessions, id.as_bytes(), user.sessions as usize)? {
            if key[..] != kept {
                self.close_session(&key, user)?;
            }
        }
        Ok(())
    }

    /// Ends all sessions of a user. Counts it in `user`, which the caller writes.
    pub fn close_sessions(&mut self, id: UserId, user: &mut User) -> Result<(), StoreError> {
        for key in self.state.keys(Table::Sessions, id.as_bytes(), user.sessions as usize)? {
            self.close_session(&key, user)?;
        }
        Ok(())
    }
}

/// As much of a label as is kept.
fn label(agent: &str) -> &str {
    let cut = (0..=AGENT_BYTES_MAX.min(agent.len())).rev().find(|at| agent.is_char_boundary(*at));
    &agent[..cut.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_cut_between_letters() {
        assert_eq!(label("Firefox on Linux"), "Firefox on Linux");
        assert_eq!(label(&"x".repeat(1_000)).len(), AGENT_BYTES_MAX);
        assert_eq!(label(&"\u{20ac}".repeat(1_000)).len(), AGENT_BYTES_MAX - AGENT_BYTES_MAX % 3);
    }
}
